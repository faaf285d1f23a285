// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DMA driver in user space, for QEMU's "edu" device in a guest with the paravirtual
 * IOMMU. It maps memory, has the device copy data to it and from it, and shows that the
 * device reaches what is mapped and nothing else: with one range, and with a batch of
 * ranges. It also reads events from the host.
 *
 *	echo vfio-pci >/sys/bus/pci/devices/<BDF>/driver_override
 *	echo <BDF> >/sys/bus/pci/drivers/vfio-pci/bind
 *	pvdma [--type1] [BDF]
 *
 * With --type1 it is an ordinary VFIO program, which works with any IOMMU.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vfiopv.h>

#define PAGE		4096ULL
#define RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* A program chooses its IOVAs itself: below 256 MiB, also a device with 28 bits reaches them. */
#define IOVA_WINDOW	0x1000000ULL	/* mapped all the time */
#define IOVA_BUFFER	0x2000000ULL
#define IOVA_BATCH	0x4000000ULL	/* every second page */
#define IOVA_NOTHING	0x8000000ULL	/* never mapped */
#define BUFFER_SIZE	(1024 * 1024)
#define BATCH		64
#define EVENTS		32
#define STATS		"/sys/kernel/debug/pv-iommu/stats"

struct pvdma {
	struct vfiopv c;
	struct vfiopv_dev dev;
	unsigned char *window;	/* a page */
	unsigned char *buffer;	/* BUFFER_SIZE */
	int eventfd;
	int failed;
};

static void check(struct pvdma *p, bool good, const char *what)
{
	printf("  %-6s %s\n", good ? "ok" : "FAILED", what);
	p->failed += !good;
}

/* ------------------------------------------------------------------ */
/* The device: it copies between a buffer of its own and memory */

#define EDU_VENDOR_DEVICE	0x11e81234
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_RUN		1
#define EDU_DMA_TO_RAM		2
#define EDU_BUFFER		0x40000
/* Half of the buffer: QEMU 7.2 aborts on a transfer that reaches its end */
#define EDU_LEN			2048

static volatile __u64 *edu_reg(const struct vfiopv_dev *dev, unsigned int reg)
{
	return (volatile __u64 *)((volatile char *)dev->mmio + reg);
}

/* Takes 0.1 s. The device does not tell whether memory could be reached. */
static bool edu_dma(const struct vfiopv_dev *dev, __u64 src, __u64 dst, unsigned int cmd)
{
	int i;

	*edu_reg(dev, EDU_DMA_SRC) = src;
	*edu_reg(dev, EDU_DMA_DST) = dst;
	*edu_reg(dev, EDU_DMA_COUNT) = EDU_LEN;
	*edu_reg(dev, EDU_DMA_CMD) = cmd | EDU_DMA_RUN;
	for (i = 0; i < 2000; i++) {
		if (!(*edu_reg(dev, EDU_DMA_CMD) & EDU_DMA_RUN))
			return true;
		usleep(5000);
	}
	return false;
}

static bool edu_from_ram(const struct vfiopv_dev *dev, __u64 iova)
{
	return edu_dma(dev, iova, EDU_BUFFER, 0);
}

static bool edu_to_ram(const struct vfiopv_dev *dev, __u64 iova)
{
	return edu_dma(dev, EDU_BUFFER, iova, EDU_DMA_TO_RAM);
}

static bool is_edu(const struct vfiopv_dev *dev)
{
	__u32 id;

	return !vfiopv_config_read(dev, 0, &id, sizeof(id)) && id == EDU_VENDOR_DEVICE &&
	       dev->mmio;
}

/* ------------------------------------------------------------------ */
/* What the device reaches */

/* Fill memory with a pattern that differs each time */
static void pattern(unsigned char *memory)
{
	size_t i;

	for (i = 0; i < EDU_LEN; i++)
		memory[i] = random();
}

/*
 * Have the device write to @iova, read from there, and write that to the window, which is known
 * to be mapped. @memory is the memory that should be at @iova.
 */
static bool reaches(struct pvdma *p, __u64 iova, unsigned char *memory)
{
	pattern(p->window);
	memset(memory, 0, EDU_LEN);
	if (!edu_from_ram(&p->dev, IOVA_WINDOW) || !edu_to_ram(&p->dev, iova) ||
	    memcmp(memory, p->window, EDU_LEN))
		return false;
	pattern(memory);
	return edu_from_ram(&p->dev, iova) && edu_to_ram(&p->dev, IOVA_WINDOW) &&
	       !memcmp(memory, p->window, EDU_LEN);
}

/* The device must neither write to @memory at @iova, nor read it */
static bool is_kept_out(struct pvdma *p, __u64 iova, unsigned char *memory)
{
	unsigned char saved[EDU_LEN];

	pattern(p->window);
	pattern(memory);
	memcpy(saved, memory, EDU_LEN);
	return edu_from_ram(&p->dev, IOVA_WINDOW) && edu_to_ram(&p->dev, iova) &&
	       !memcmp(memory, saved, EDU_LEN) &&
	       edu_from_ram(&p->dev, iova) && edu_to_ram(&p->dev, IOVA_WINDOW) &&
	       memcmp(p->window, saved, EDU_LEN);
}

/* ------------------------------------------------------------------ */
/* The steps */

static void one_range(struct pvdma *p)
{
	unsigned char *page = p->buffer + BUFFER_SIZE - PAGE;
	__u64 iova = IOVA_BUFFER + BUFFER_SIZE - PAGE;
	int ret;

	pattern(p->buffer);
	check(p, edu_from_ram(&p->dev, IOVA_BUFFER) && edu_to_ram(&p->dev, IOVA_BUFFER + PAGE) &&
	      !memcmp(p->buffer, p->buffer + PAGE, EDU_LEN),
	      "the device copies data between pages of the buffer");
	check(p, reaches(p, iova, page), "the device reads and writes the buffer's last page");
	check(p, is_kept_out(p, IOVA_NOTHING, page),
	      "DMA to an IOVA that nothing is mapped at is refused");

	/* Until the flush, the device may still reach the memory; not after it */
	ret = vfiopv_unmap(&p->c, IOVA_BUFFER, BUFFER_SIZE, VFIO_PV_UNMAP_FLAG_NO_FLUSH, NULL) ?:
	      vfiopv_invalidate(&p->c, IOVA_BUFFER, BUFFER_SIZE);
	check(p, !ret, p->c.type == VFIO_PV_IOMMU ?
	      "UNMAP_DMA without flush, then VFIO_PV_IOMMU_INVALIDATE" : "UNMAP_DMA");
	check(p, is_kept_out(p, iova, page), "DMA to the page that was mapped is refused now");
	check(p, !vfiopv_map(&p->c, iova, p->buffer, PAGE, RW) && reaches(p, iova, p->buffer),
	      "with another page mapped there, the device reaches that one");
}

/* Map the pages of the buffer at every second IOVA, by one system call */
static void many_ranges(struct pvdma *p)
{
	struct vfio_pv_batch_entry entry[BATCH];
	__u64 last = IOVA_BATCH + 2 * (BATCH - 1) * PAGE;
	unsigned char *page = p->buffer + (BATCH - 1) * PAGE;
	int i;

	for (i = 0; i < BATCH; i++)
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = IOVA_BATCH + 2 * i * PAGE,
			.vaddr = (unsigned long)p->buffer + i * PAGE,
			.size = PAGE,
			.flags = RW,
		};
	check(p, vfiopv_map_many(&p->c, entry, BATCH, 0) == BATCH, "a batch of maps");
	check(p, reaches(p, last, page), "the device reaches the last one of them");

	/* Each entry has a result; one that fails need not stop the others */
	for (i = 0; i < 2; i++) {
		entry[i].vaddr = (unsigned long)p->buffer;
		entry[i].flags = RW;
	}
	entry[1].iova = IOVA_BATCH + PAGE;
	check(p, vfiopv_map_many(&p->c, entry, 2, VFIO_PV_BATCH_FLAG_CONTINUE) == 1 &&
	      entry[0].result == -EEXIST && !entry[1].result,
	      "of two more, the one that overlaps is refused");

	for (i = 0; i < BATCH; i++)
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = IOVA_BATCH + 2 * i * PAGE,
			.size = i ? PAGE : 2 * PAGE,
		};
	check(p, vfiopv_unmap_many(&p->c, entry, BATCH, VFIO_PV_BATCH_FLAG_NO_FLUSH) == BATCH &&
	      !vfiopv_invalidate(&p->c, 0, 0), "a batch of unmaps, and one flush");
	check(p, is_kept_out(p, last, page), "DMA to the last one of them is refused now");
}

/* Events from the host, such as DMA that was refused, if the host's IOMMU reports that */
static void print_events(struct pvdma *p)
{
	struct pollfd wait = { .fd = p->eventfd, .events = POLLIN };
	struct vfio_pv_event event[EVENTS];
	int n, i;

	if (p->eventfd < 0)
		return;
	n = poll(&wait, 1, 100) > 0 ? vfiopv_read_events(&p->c, event, EVENTS) : 0;
	check(p, n >= 0, "the events that have come are read");
	for (i = 0; i < n; i++)
		printf("         event %llu: type %u, IOVA %#llx\n",
		       (unsigned long long)event[i].seq, event[i].type,
		       (unsigned long long)event[i].iova);
}

/* ------------------------------------------------------------------ */
/* Numbers */

struct stats {
	long long tracked, config, ops, mapped, pinned;
};

static bool read_stats(struct stats *s)
{
	FILE *file = fopen(STATS, "r");
	char line[128], name[64];
	bool good = file;
	long long value;

	*s = (struct stats) { 0 };
	while (good && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63[a-z_]%*[: ]%lld", name, &value) != 2)
			continue;
		s->tracked = !strcmp(name, "kicks_tracked") ? value : s->tracked;
		s->config = !strcmp(name, "kicks_config") ? value : s->config;
		s->ops = !strcmp(name, "ops_queued") ? value : s->ops;
		s->mapped = !strcmp(name, "host_pages_mapped") ? value : s->mapped;
		s->pinned = !strcmp(name, "host_pages_pinned") ? value : s->pinned;
	}
	if (good)
		fclose(file);
	return good;
}

static void print_stats(const struct stats *before, const struct stats *mapped,
			const struct stats *after)
{
	long long tracked = after->tracked - before->tracked;
	long long config = after->config - before->config;

	/* Reading the counters takes a doorbell, which has been done twice */
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
	       before->mapped, mapped->mapped, after->mapped);
	printf("    pinned by the host            %8lld  %8lld  %8lld\n",
	       before->pinned, mapped->pinned, after->pinned);
}

/* ------------------------------------------------------------------ */
/* Setting up */

/* The kernel takes a page when it is touched: first the even pages, then the odd ones */
static unsigned char *scattered(size_t size)
{
	unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at;

	if (memory == MAP_FAILED)
		return NULL;
	/* Fails if the kernel has no huge pages, which is fine */
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (at = 0; at < size; at += 2 * PAGE)
		memory[at] = 1;
	for (at = PAGE; at < size; at += 2 * PAGE)
		memory[at] = 1;
	return memory;
}

static int open_device(struct pvdma *p, const char *bdf)
{
	int ret = vfiopv_dev_open(&p->c, &p->dev, bdf);

	if (ret)
		return ret;
	ret = vfiopv_dev_enable(&p->dev, true, true);
	if (!ret && !is_edu(&p->dev))
		ret = -ENODEV;
	if (ret)
		vfiopv_dev_close(&p->dev);
	return ret;
}

/* The container has its type, and events, only when a device is in it */
static int watch_events(struct pvdma *p)
{
	p->eventfd = -1;
	if (p->c.type != VFIO_PV_IOMMU)
		return 0;
	p->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return p->eventfd < 0 ? -errno : vfiopv_set_eventfd(&p->c, p->eventfd);
}

static int map(struct pvdma *p)
{
	p->window = scattered(PAGE);
	p->buffer = scattered(BUFFER_SIZE);
	if (!p->window || !p->buffer)
		return -ENOMEM;
	return vfiopv_map(&p->c, IOVA_WINDOW, p->window, PAGE, RW) ?:
	       vfiopv_map(&p->c, IOVA_BUFFER, p->buffer, BUFFER_SIZE, RW);
}

/* Mappings have ended with the last device; the container can be used again */
static void use_again(struct pvdma *p, const char *bdf)
{
	bool good = !open_device(p, bdf);

	good = good && !vfiopv_map(&p->c, IOVA_WINDOW, p->window, PAGE, RW) &&
	       !vfiopv_map(&p->c, IOVA_BUFFER, p->buffer, PAGE, RW) &&
	       reaches(p, IOVA_BUFFER, p->buffer);
	check(p, good, "the device is opened again in the same container");
	vfiopv_dev_close(&p->dev);
}

static int drive(struct pvdma *p, const char *bdf)
{
	struct stats before, mapped, after;
	bool counted = read_stats(&before);
	int ret;

	ret = open_device(p, bdf);
	if (ret) {
		fprintf(stderr, "pvdma: %s: cannot be opened: %s\n", bdf, strerror(-ret));
		return ret;
	}
	ret = watch_events(p) ?: map(p);
	if (ret) {
		fprintf(stderr, "pvdma: cannot watch for events, or map %u KiB: %s\n",
			BUFFER_SIZE / 1024, strerror(-ret));
	} else {
		counted = counted && read_stats(&mapped);
		printf("%s, %s, %u KiB of scattered pages mapped\n", bdf,
		       p->c.type == VFIO_PV_IOMMU ? "VFIO_PV_IOMMU" : "VFIO_TYPE1v2_IOMMU",
		       BUFFER_SIZE / 1024);
		one_range(p);
		many_ranges(p);
		print_events(p);
	}
	vfiopv_dev_close(&p->dev);
	if (!ret && counted && read_stats(&after))
		print_stats(&before, &mapped, &after);
	if (!ret)
		use_again(p, bdf);
	return ret;
}

/* The first edu device that is bound to vfio-pci */
static bool find(char bdf[16])
{
	char found[16][16], path[64], text[16] = "";
	int n = vfiopv_find("vfio-pci", found, 16), i;
	FILE *file;

	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.12s/device", found[i]);
		file = fopen(path, "r");
		if (file && fgets(text, sizeof(text), file) &&
		    strtoul(text, NULL, 0) == EDU_VENDOR_DEVICE >> 16)
			strcpy(bdf, found[i]);
		if (file)
			fclose(file);
		if (bdf[0])
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	unsigned int type = VFIO_PV_IOMMU;
	struct pvdma p = { .failed = 0 };
	char bdf[16] = "";
	int i, ret;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--type1")) {
			type = VFIO_TYPE1v2_IOMMU;
		} else if (argv[i][0] != '-' && strlen(argv[i]) < sizeof(bdf)) {
			strcpy(bdf, argv[i]);
		} else {
			fprintf(stderr, "usage: pvdma [--type1] [BDF]\n");
			return 2;
		}
	}
	if (!bdf[0] && !find(bdf)) {
		fprintf(stderr, "pvdma: no edu device is bound to vfio-pci\n");
		return 1;
	}
	ret = vfiopv_open(&p.c, type);
	if (ret) {
		fprintf(stderr, "pvdma: no container: %s\n", strerror(-ret));
		return 1;
	}
	ret = drive(&p, bdf);
	vfiopv_close(&p.c);
	if (ret)
		return 1;
	printf("\npvdma: %s\n", p.failed ? "FAILED" : "all as it should be");
	return p.failed != 0;
}
