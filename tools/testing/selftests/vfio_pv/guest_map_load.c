// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load for tests that watch from outside: maps and unmaps a page, each by an ioctl.
 *
 *	guest_map_load PAIRS [MIB]
 *
 * PAIRS is the number of MAP_DMA and UNMAP_DMA calls; 0 is without end. MIB of scattered memory
 * are mapped all the time; without end they are unmapped and mapped again now and then. Prints
 * "ready" when the container is open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/guest_vfio.h"

#define IOVA_PAIRS	0x1000000ULL
#define IOVA_HELD	0x40000000ULL

static int hold(const struct guest_vfio *g, void *memory, size_t size)
{
	if (!size)
		return 0;
	return vfio_unmap_dma(g->container, IOVA_HELD, size, NULL) ?:
	       vfio_map_dma(g->container, IOVA_HELD, memory, size, true);
}

static int pair(const struct guest_vfio *g, void *page, unsigned long nr)
{
	__u64 iova = IOVA_PAIRS + nr % 1024 * GUEST_PAGE;

	return vfio_map_dma(g->container, iova, page, GUEST_PAGE, true) ?:
	       vfio_unmap_dma(g->container, iova, GUEST_PAGE, NULL);
}

int main(int argc, char **argv)
{
	unsigned long pairs = argc > 1 ? strtoul(argv[1], NULL, 0) : 0, i;
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 0) << 20 : 0;
	void *page = guest_memory(GUEST_PAGE), *held = guest_scattered(size ?: GUEST_PAGE);
	struct guest_vfio g;
	char bdf[16];
	int ret;

	ret = guest_find_edu(0, bdf) ?: guest_vfio_open(&g, VFIO_TYPE1v2_IOMMU, bdf);
	if (!ret)
		ret = page && held ? hold(&g, held, size) : -1;
	if (!ret) {
		printf("ready\n");
		fflush(stdout);
	}
	for (i = 0; !ret && (!pairs || i < pairs); i++) {
		ret = pair(&g, page, i);
		if (!ret && !pairs && i % 1000 == 999)
			ret = hold(&g, held, size);
	}
	if (ret)
		fprintf(stderr, "guest_map_load: after %lu pairs: %s\n", i, strerror(-ret));
	return ret != 0;
}
