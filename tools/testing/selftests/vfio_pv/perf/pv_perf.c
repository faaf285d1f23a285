// SPDX-License-Identifier: GPL-2.0-only
/*
 * What mapping and unmapping cost, with any IOMMU that VFIO supports. The program uses
 * libvfiopv, as a driver in user space may.
 *
 *	pv_perf [ROUNDS [LARGE_ROUNDS]]
 *
 * The machine may be slow, shared or emulated, so times alone say little. Each round measures
 * an empty exit (CPUID, which leaves the guest and returns at once), an ioctl that does nothing,
 * and MAP_DMA and UNMAP_DMA of one page, and computes their ratios. Of all times and ratios, the
 * median over the rounds is printed, and the quartiles.
 *
 * Lines for programs: "perf NAME UNIT MEDIAN LOW HIGH".
 */
#if __has_include("cpuid.h")
#include <cpuid.h>
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <vfiopv.h>

/* The device, scattered memory, and the counters of the guest driver */
#include "../lib/guest_vfio.h"

#define IOVA		0x1000000ULL
#define IOVA_LARGE	0x40000000ULL
#define SIZE_LARGE	(64ULL << 20)
#define BATCH		50
#define MAX_ROUNDS	10000
#define READ_WRITE	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

struct series {
	const char *name;
	const char *unit;
	double value[MAX_ROUNDS];
	int n;
};

static struct series series[] = {
	{ "empty_exit", "ns" },
	{ "empty_ioctl", "ns" },
	{ "map_4k", "ns" },
	{ "unmap_4k", "ns" },
	{ "map_4k", "exits" },
	{ "unmap_4k", "exits" },
	{ "map_64m", "ms" },
	{ "unmap_64m", "ms" },
	{ "map_64m", "kicks" },
	{ "unmap_64m", "kicks" },
};

enum {
	EXIT, IOCTL, MAP, UNMAP, MAP_EXITS, UNMAP_EXITS,
	MAP_LARGE, UNMAP_LARGE, MAP_KICKS, UNMAP_KICKS, NR_SERIES,
};

static void add(int which, double value)
{
	struct series *s = &series[which];

	if (s->n < MAX_ROUNDS)
		s->value[s->n++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_all(void)
{
	int i;

	for (i = 0; i < NR_SERIES; i++) {
		struct series *s = &series[i];

		if (!s->n)
			continue;
		qsort(s->value, s->n, sizeof(s->value[0]), compare);
		printf("perf %-12s %-6s %10.2f %10.2f %10.2f\n", s->name, s->unit,
		       s->value[s->n / 2], s->value[s->n / 4], s->value[s->n * 3 / 4]);
	}
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Exits from any guest; outside of a guest it is only slow */
static void empty_exit(void)
{
#ifdef __cpuid
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
#endif
}

/* ------------------------------------------------------------------ */

/* One round; 0 or a negative errno */
static int small_round(const struct vfiopv *c, void *page)
{
	double start, exit_ns, map_ns, unmap_ns;
	int i, ret = 0;

	start = now_ns();
	for (i = 0; i < BATCH; i++)
		empty_exit();
	exit_ns = (now_ns() - start) / BATCH;

	start = now_ns();
	for (i = 0; i < BATCH; i++)
		ioctl(c->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
	add(IOCTL, (now_ns() - start) / BATCH);

	start = now_ns();
	for (i = 0; !ret && i < BATCH; i++)
		ret = vfiopv_map(c, IOVA + i * GUEST_PAGE, page, GUEST_PAGE, READ_WRITE);
	map_ns = (now_ns() - start) / BATCH;

	start = now_ns();
	for (i = 0; !ret && i < BATCH; i++)
		ret = vfiopv_unmap(c, IOVA + i * GUEST_PAGE, GUEST_PAGE, 0, NULL);
	unmap_ns = (now_ns() - start) / BATCH;

	add(EXIT, exit_ns);
	add(MAP, map_ns);
	add(UNMAP, unmap_ns);
	add(MAP_EXITS, map_ns / exit_ns);
	add(UNMAP_EXITS, unmap_ns / exit_ns);
	return ret;
}

static int large_round(const struct vfiopv *c)
{
	struct guest_stats before, mapped, after;
	char *memory = guest_scattered(SIZE_LARGE);
	bool counted = !guest_stats(&before);
	double start = now_ns();
	int ret;

	if (!memory)
		return -ENOMEM;
	ret = vfiopv_map(c, IOVA_LARGE, memory, SIZE_LARGE, READ_WRITE);
	add(MAP_LARGE, (now_ns() - start) / 1e6);
	counted = counted && !guest_stats(&mapped);

	start = now_ns();
	if (!ret)
		ret = vfiopv_unmap(c, IOVA_LARGE, SIZE_LARGE, 0, NULL);
	add(UNMAP_LARGE, (now_ns() - start) / 1e6);
	if (counted && !guest_stats(&after)) {
		add(MAP_KICKS, guest_kicks(&before, &mapped));
		add(UNMAP_KICKS, guest_kicks(&mapped, &after));
	}
	guest_memory_free(memory, SIZE_LARGE);
	return ret;
}

static int rounds_from(const char *text, int otherwise)
{
	int n = text ? atoi(text) : otherwise;

	return n < 0 ? 0 : n > MAX_ROUNDS ? MAX_ROUNDS : n;
}

int main(int argc, char **argv)
{
	int rounds = rounds_from(argc > 1 ? argv[1] : NULL, 200);
	int large = rounds_from(argc > 2 ? argv[2] : NULL, 5);
	void *page = guest_memory(GUEST_PAGE);
	struct vfiopv_dev dev;
	struct vfiopv c;
	char bdf[16];
	int ret, i;

	if (!page)
		return 1;
	ret = guest_find_edu(0, bdf) ?: vfiopv_open(&c, VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = vfiopv_dev_open(&c, &dev, bdf);
	for (i = 0; !ret && i < rounds; i++)
		ret = small_round(&c, page);
	for (i = 0; !ret && i < large; i++)
		ret = large_round(&c);
	if (ret) {
		fprintf(stderr, "pv_perf: %s\n", strerror(-ret));
		return 1;
	}
	print_all();
	return 0;
}
