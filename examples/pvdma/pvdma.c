// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DMA driver in user space, for QEMU's "edu" device in a guest that has the
 * paravirtual IOMMU. It maps memory, lets the device copy data to and fro, and
 * shows that the device reaches what is mapped and nothing else.
 *
 *	echo vfio-pci >/sys/bus/pci/devices/<BDF>/driver_override
 *	echo <BDF> >/sys/bus/pci/drivers/vfio-pci/bind
 *	pvdma [--type1] [BDF]
 *
 * With --type1 it is an ordinary VFIO program and needs no more than any IOMMU.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "edu.h"
#include "guest_dma.h"
#include "guest_vfio.h"

/* IOVAs are ours to choose: below 256 MiB even a device with 28 bits gets there. */
#define IOVA_WINDOW	0x1000000ULL	/* mapped all the time */
#define IOVA_BUFFER	0x2000000ULL
#define IOVA_NOTHING	0x8000000ULL	/* never mapped */
#define BUFFER_SIZE	(1024 * 1024)

struct pvdma {
	struct guest_vfio vfio;
	bool pv;		/* VFIO_PV_IOMMU, not type 1 */
	struct dma_window window;
	__u8 *buffer;		/* BUFFER_SIZE */
	int failed;
};

static void check(struct pvdma *p, bool good, const char *what)
{
	printf("  %-6s %s\n", good ? "ok" : "FAILED", what);
	p->failed += !good;
}

/* ------------------------------------------------------------------ */
/* The steps */

/* Pattern after pattern through the device, from one page to the next one */
static bool copy_through_device(struct pvdma *p)
{
	const struct vfio_dev *dev = &p->vfio.dev;
	const size_t len = EDU_BUFFER_SIZE;
	size_t from, to;

	for (from = 0; from < 8 * GUEST_PAGE; from += 2 * GUEST_PAGE) {
		to = from + GUEST_PAGE;
		dma_pattern(p->buffer + from, 2 * GUEST_PAGE);
		if (!edu_from_ram(dev, IOVA_BUFFER + from, 0, len) ||
		    !edu_to_ram(dev, IOVA_BUFFER + to, 0, len) ||
		    memcmp(p->buffer + from, p->buffer + to, len))
			return false;
	}
	return true;
}

/* Between UNMAP_DMA and the flush a device may still get there, not after it. */
static int unmap_and_flush(struct pvdma *p)
{
	int ret;

	if (!p->pv)
		return guest_unmap(&p->vfio, IOVA_BUFFER, BUFFER_SIZE, 0, NULL);
	ret = guest_unmap(&p->vfio, IOVA_BUFFER, BUFFER_SIZE, VFIO_PV_UNMAP_FLAG_NO_FLUSH, NULL);
	return ret ?: guest_invalidate(&p->vfio, IOVA_BUFFER, BUFFER_SIZE);
}

static void run(struct pvdma *p)
{
	const struct vfio_dev *dev = &p->vfio.dev;
	void *page = p->buffer + BUFFER_SIZE - GUEST_PAGE;
	__u64 iova = IOVA_BUFFER + BUFFER_SIZE - GUEST_PAGE;

	check(p, copy_through_device(p), "the device copies data between pages of the buffer");
	check(p, dma_works(dev, iova, page, &p->window) == 1,
	      "the device reads and writes the buffer's last page");
	check(p, dma_refused(dev, IOVA_NOTHING, page, &p->window) == 1,
	      "DMA to an IOVA that nothing is mapped at is refused");
	check(p, !unmap_and_flush(p), p->pv ?
	      "UNMAP_DMA without flush, then VFIO_PV_IOMMU_INVALIDATE" : "UNMAP_DMA");
	check(p, dma_refused(dev, iova, page, &p->window) == 1,
	      "DMA to the page that was mapped is refused now");
	if (vfio_map_dma(p->vfio.container, iova, p->buffer, GUEST_PAGE, true))
		page = NULL;
	check(p, page && dma_works(dev, iova, p->buffer, &p->window) == 1,
	      "with another page mapped there, the device reaches that one");
}

/* ------------------------------------------------------------------ */
/* Numbers */

static void print_stats(const struct guest_stats *before, const struct guest_stats *mapped,
			const struct guest_stats *after)
{
	long long tracked = after->kicks_tracked - before->kicks_tracked;
	long long config = after->kicks_config - before->kicks_config;

	/* To read the counters costs one, and we have done that twice since */
	if (tracked >= 2)
		tracked -= 2;
	else
		config -= 2;
	printf("\n  hypercalls                      %8lld\n", tracked + config);
	printf("    to KVM, by write tracking     %8lld\n", tracked);
	printf("    by way of QEMU                %8lld\n", config);
	printf("  operations in them              %8lld\n", after->ops - before->ops - 2);
	printf("\n  4 KiB pages                       before    during     after\n");
	printf("    mapped                        %8lld  %8lld  %8lld\n",
	       before->pages_mapped, mapped->pages_mapped, after->pages_mapped);
	printf("    pinned by the host            %8lld  %8lld  %8lld\n",
	       before->pages_pinned, mapped->pages_pinned, after->pages_pinned);
}

/* ------------------------------------------------------------------ */
/* Setting up */

static int map(struct pvdma *p)
{
	p->window = (struct dma_window) {
		.iova = IOVA_WINDOW,
		.memory = guest_memory(GUEST_PAGE),
	};
	p->buffer = guest_scattered(BUFFER_SIZE);
	if (!p->window.memory || !p->buffer)
		return -ENOMEM;
	return vfio_map_dma(p->vfio.container, IOVA_WINDOW, p->window.memory, GUEST_PAGE, true) ?:
	       vfio_map_dma(p->vfio.container, IOVA_BUFFER, p->buffer, BUFFER_SIZE, true);
}

static int drive(struct pvdma *p, const char *bdf)
{
	struct guest_stats before, mapped, after;
	bool counted = !guest_stats(&before);
	int ret;

	ret = guest_vfio_open(&p->vfio, p->pv ? VFIO_PV_IOMMU : VFIO_TYPE1v2_IOMMU, bdf);
	if (ret) {
		fprintf(stderr, "pvdma: %s: cannot be opened: %s\n", bdf, strerror(-ret));
		return ret;
	}
	ret = map(p);
	if (ret) {
		fprintf(stderr, "pvdma: cannot map %u KiB: %s\n", BUFFER_SIZE / 1024,
			strerror(-ret));
	} else {
		counted = counted && !guest_stats(&mapped);
		printf("%s, %s, %u KiB of scattered pages mapped\n", bdf,
		       p->pv ? "VFIO_PV_IOMMU" : "VFIO_TYPE1v2_IOMMU", BUFFER_SIZE / 1024);
		run(p);
	}
	guest_vfio_close(&p->vfio);
	if (!ret && counted && !guest_stats(&after))
		print_stats(&before, &mapped, &after);
	return ret;
}

int main(int argc, char **argv)
{
	struct pvdma p = { .pv = true };
	char bdf[16] = "";
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--type1")) {
			p.pv = false;
		} else if (argv[i][0] != '-' && strlen(argv[i]) < sizeof(bdf)) {
			strcpy(bdf, argv[i]);
		} else {
			fprintf(stderr, "usage: pvdma [--type1] [BDF]\n");
			return 2;
		}
	}
	if (!bdf[0] && guest_find_edu(0, bdf)) {
		fprintf(stderr, "pvdma: no edu device is bound to vfio-pci\n");
		return 1;
	}
	if (drive(&p, bdf))
		return 1;
	printf("\npvdma: %s\n", p.failed ? "FAILED" : "all as it should be");
	return p.failed != 0;
}
