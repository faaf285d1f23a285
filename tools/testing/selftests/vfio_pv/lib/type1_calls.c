// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include <linux/vfio.h>

#include "type1_calls.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096ULL
#define RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define MSI_PAGE	0xfee00000ULL

/* Ranges to unmap later, mapped or not */
#define RECENT		24

struct maker {
	__u64 seed;
	bool dirty;
	struct call recent[RECENT];
	unsigned int nr_recent;
};

static __u64 rnd(struct maker *m, __u64 below)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return (m->seed >> 11) % below;
}

static bool chance(struct maker *m, unsigned int percent)
{
	return rnd(m, 100) < percent;
}

static __u64 some_iova(struct maker *m)
{
	return CALLS_IOVA + rnd(m, CALLS_IOVA_PAGES) * PAGE;
}

static __u64 some_size(struct maker *m)
{
	return (1 + rnd(m, 8)) * PAGE;
}

static const struct call *some_recent(struct maker *m)
{
	return &m->recent[rnd(m, RECENT)];
}

/* Sizes of arguments, also of older and newer programs */
static __u32 some_argsz(struct maker *m)
{
	static const __u32 sizes[] = { 1, 4, 8, 15, 16, 20, 23, 24, 31, 32, 33, 64, 4096, ~0U };

	return sizes[rnd(m, ARRAY_LEN(sizes))];
}

/* Make one thing about a range invalid, or odd */
static void spoil_range(struct maker *m, struct call *c)
{
	switch (rnd(m, 12)) {
	case 0:
		c->size = 0;
		break;
	case 1:
		c->size += 1 + rnd(m, PAGE - 1);
		break;
	case 2:
		c->iova += 1 + rnd(m, PAGE - 1);
		break;
	case 3:
		c->iova = -c->size;
		break;
	case 4:
		c->iova = -PAGE;
		c->size = 2 * PAGE;
		break;
	case 5:
		c->iova = 1ULL << (39 + rnd(m, 25));
		break;
	case 6:
		c->iova = MSI_PAGE - rnd(m, 2) * PAGE;
		break;
	case 7:
		c->size = 1ULL << (30 + rnd(m, 34));
		break;
	case 8:
		c->size = -PAGE;
		break;
	case 9:
		c->iova = 0;
		c->size = -PAGE;
		break;
	case 10:
		c->iova = 0;
		break;
	case 11:
		c->size = 1ULL << 63;
		c->iova = 1ULL << 63;
		break;
	}
}

static void spoil_map(struct maker *m, struct call *c)
{
	switch (rnd(m, 9)) {
	case 0:
		c->argsz = some_argsz(m);
		break;
	case 1:
		c->flags = 0;
		break;
	case 2:
		c->flags |= 1U << (3 + rnd(m, 29));
		break;
	case 3:
		c->flags |= VFIO_DMA_MAP_FLAG_VADDR;
		break;
	case 4:
		c->vaddr += 1 + rnd(m, PAGE - 1);
		break;
	case 5:
		c->vaddr = -rnd(m, 4) * PAGE;
		break;
	case 6:
		c->vaddr = 0xffff888000000000ULL;
		break;
	default:
		spoil_range(m, c);
		break;
	}
}

static void make_map(struct maker *m, struct call *c)
{
	c->kind = CALL_MAP;
	c->iova = some_iova(m);
	c->size = some_size(m);
	c->vaddr = CALLS_POOL + rnd(m, CALLS_PLAIN_PAGES - 8) * PAGE;
	c->flags = m->dirty ? RW : 1 + rnd(m, 3);
	if (chance(m, 25))
		c->vaddr = CALLS_POOL + rnd(m, CALLS_POOL_PAGES) * PAGE;
	if (chance(m, 2)) {
		c->vaddr = CALLS_HUGE;
		c->size = CALLS_HUGE_SIZE;
		c->iova = CALLS_HUGE_SIZE * (64 + rnd(m, 4));
	}
	c->child = chance(m, 1);
	if (chance(m, 12))
		spoil_map(m, c);
	if (!c->child)
		m->recent[m->nr_recent++ % RECENT] = *c;
}

/* Give a mapping another user address */
static void make_new_vaddr(struct maker *m, struct call *c)
{
	*c = *some_recent(m);
	c->kind = CALL_MAP;
	c->argsz = 0;
	c->flags = VFIO_DMA_MAP_FLAG_VADDR;
	if (chance(m, 10))
		spoil_map(m, c);
}

static void make_unmap(struct maker *m, struct call *c)
{
	const struct call *recent = some_recent(m);

	c->kind = CALL_UNMAP;
	c->iova = recent->iova;
	c->size = recent->size;
	if (chance(m, 35)) {
		c->iova = some_iova(m);
		c->size = 2 * some_size(m);
	}
	if (chance(m, 4)) {
		c->flags = VFIO_DMA_UNMAP_FLAG_ALL;
		c->iova = 0;
		c->size = 0;
	}
	if (chance(m, 8))
		c->flags |= VFIO_DMA_UNMAP_FLAG_VADDR;
	if (chance(m, 2))
		c->flags |= 1U << rnd(m, 31);
	if (chance(m, 3))
		c->argsz = some_argsz(m);
	if (chance(m, 5))
		spoil_range(m, c);
}

static void spoil_bitmap(struct maker *m, struct call *c)
{
	switch (rnd(m, 6)) {
	case 0:
		c->bitmap_size = rnd(m, 8);
		break;
	case 1:
		c->bitmap_size = 1ULL << (29 + rnd(m, 35));
		break;
	case 2:
		c->pgsize = 1ULL << rnd(m, 64);
		break;
	case 3:
		c->bitmap_off = 1 + rnd(m, 7);
		break;
	case 4:
		c->bitmap_off = 1ULL << 63;
		break;
	case 5:
		c->bitmap_size += 8 * rnd(m, 8);
		break;
	}
}

static void make_bitmap(struct maker *m, struct call *c)
{
	c->pgsize = PAGE;
	c->bitmap_size = (c->size / PAGE + 63) / 64 * 8;
	if (c->bitmap_size > PAGE)
		c->bitmap_size = PAGE;
	if (chance(m, 20))
		spoil_bitmap(m, c);
}

static void make_unmap_dirty(struct maker *m, struct call *c)
{
	make_unmap(m, c);
	c->kind = CALL_UNMAP_DIRTY;
	c->flags |= VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	make_bitmap(m, c);
}

static void make_get_dirty(struct maker *m, struct call *c)
{
	const struct call *recent = some_recent(m);

	c->kind = CALL_GET_DIRTY;
	c->flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
	c->iova = CALLS_IOVA;
	c->size = 2 * CALLS_IOVA_PAGES * PAGE;
	if (chance(m, 50)) {
		c->iova = recent->iova;
		c->size = recent->size;
	}
	if (chance(m, 20)) {
		c->iova = some_iova(m);
		c->size = 4 * some_size(m);
	}
	if (chance(m, 5))
		spoil_range(m, c);
	if (chance(m, 3))
		c->argsz = some_argsz(m);
	make_bitmap(m, c);
}

/* Flags are not 0: type1's behaviour is undefined then */
static void make_dirty(struct maker *m, struct call *c)
{
	c->kind = CALL_DIRTY;
	c->flags = chance(m, 80) ? VFIO_IOMMU_DIRTY_PAGES_FLAG_START :
				   VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
	if (chance(m, 5))
		c->flags = 3 + rnd(m, 0x40);
	if (chance(m, 5))
		c->argsz = some_argsz(m);
}

static void make_other(struct maker *m, struct call *c)
{
	static const __u32 extensions[] = {
		VFIO_TYPE1_IOMMU, VFIO_SPAPR_TCE_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_DMA_CC_IOMMU,
		VFIO_EEH, VFIO_SPAPR_TCE_v2_IOMMU, VFIO_NOIOMMU_IOMMU, VFIO_UNMAP_ALL,
		VFIO_UPDATE_VADDR, 0, 100, 0x7fffffff,
	};

	switch (rnd(m, 4)) {
	case 0:
		c->kind = CALL_INFO;
		c->argsz = chance(m, 50) ? some_argsz(m) : 4096;
		break;
	case 1:
		c->kind = CALL_EXTENSION;
		c->what = extensions[rnd(m, ARRAY_LEN(extensions))];
		break;
	case 2:
		c->kind = CALL_BAD_POINTER;
		c->what = rnd(m, 16);
		break;
	case 3:
		c->kind = CALL_MEMORY;
		c->what = rnd(m, CALLS_PLAIN_PAGES) | rnd(m, 4) << 16;
		break;
	}
}

static void make_one(struct maker *m, struct call *c)
{
	unsigned int dice = rnd(m, 1000);

	if (dice < 480)
		make_map(m, c);
	else if (dice < 500)
		make_new_vaddr(m, c);
	else if (dice < 800)
		make_unmap(m, c);
	else if (dice < 900 && !m->dirty)
		make_map(m, c);
	else if (dice < 850)
		make_get_dirty(m, c);
	else if (dice < 890)
		make_unmap_dirty(m, c);
	else if (dice < 900)
		make_dirty(m, c);
	else if (dice < 990)
		make_other(m, c);
	else if (dice < 998)
		c->kind = CALL_GROUP;
	else
		c->kind = CALL_RENEW;
}

/* DMA takes long, so only some IOVAs are probed, in each program as many. */
#define PROBES	4

void calls_make(struct call *calls, unsigned int n, __u64 seed, bool dirty)
{
	struct maker m = { .seed = seed * 0x9e3779b97f4a7c15ULL + 1, .dirty = dirty };
	unsigned int i;

	for (i = 0; i < n; i++) {
		calls[i] = (struct call){};
		make_one(&m, &calls[i]);
		if (i % (n / PROBES) == n / PROBES - 1)
			calls[i] = (struct call){
				.kind = CALL_PROBE,
				.iova = some_recent(&m)->iova & ~(PAGE - 1),
				.what = i,
			};
	}
}

void call_describe(const struct call *c, char *text, size_t size)
{
	static const char *const names[] = {
		"MAP", "UNMAP", "UNMAP with a bitmap", "DIRTY_PAGES", "GET_BITMAP", "GET_INFO",
		"CHECK_EXTENSION", "bad pointer", "(memory)", "(group)", "(renew)", "(DMA)",
	};

	snprintf(text, size,
		 "%s argsz %u flags %#x what %#x iova %#llx vaddr %#llx size %#llx pgsize %#llx bitmap %#llx+%#llx%s",
		 names[c->kind], c->argsz, c->flags, c->what, c->iova, c->vaddr, c->size,
		 c->pgsize, c->bitmap_off, c->bitmap_size, c->child ? " (child)" : "");
}
