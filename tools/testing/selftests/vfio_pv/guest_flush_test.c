// SPDX-License-Identifier: GPL-2.0-only
/*
 * What VFIO_PV_IOMMU adds to type 1: unmapping without a flush, the INVALIDATE ioctl, and how
 * long the arguments of its ioctls may be.
 */
#include <stdint.h>
#include <sys/mman.h>

#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE
#define BUFFER_PAGES	8
#define BUFFER_SIZE	(BUFFER_PAGES * PAGE)
#define NO_FLUSH	VFIO_PV_UNMAP_FLAG_NO_FLUSH

FIXTURE(flush)
{
	struct guest_vfio g;
	struct dma_window window;
	char *buffer;
	long locked;		/* KiB, before @buffer is mapped */
};

FIXTURE_SETUP(flush)
{
	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	guest_setup_window(&self->g, &self->window);
	self->buffer = guest_memory(BUFFER_SIZE);
	ASSERT_NE(NULL, self->buffer);
	self->locked = guest_locked_kb();
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, BUFFER_SIZE, true));
	/* The IOMMU has used the IOVA then, and may have cached it */
	ASSERT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

FIXTURE_TEARDOWN(flush)
{
	guest_vfio_close(&self->g);
}

static int map_page(const struct guest_vfio *g, __u64 iova, void *memory)
{
	return vfio_map_dma(g->container, iova, memory, PAGE, true);
}

static long long pages_pinned(void)
{
	struct guest_stats stats;

	return guest_stats(&stats) ? -1 : stats.pages_pinned;
}

/* ------------------------------------------------------------------ */
/* Semantics */

TEST_F(flush, refused_after_invalidate)
{
	__u64 removed;

	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, &removed));
	EXPECT_EQ(BUFFER_SIZE, removed);
	ASSERT_EQ(0, guest_invalidate(&self->g, GUEST_IOVA, BUFFER_SIZE));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

TEST_F(flush, pinned_until_invalidate)
{
	const long kb = BUFFER_SIZE >> 10;
	long long pinned = pages_pinned();

	EXPECT_EQ(self->locked + kb, guest_locked_kb());
	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, NULL));
	EXPECT_EQ(self->locked + kb, guest_locked_kb());
	EXPECT_EQ(pinned, pages_pinned());
	ASSERT_EQ(0, guest_invalidate(&self->g, GUEST_IOVA, BUFFER_SIZE));
	EXPECT_EQ(self->locked, guest_locked_kb());
	EXPECT_EQ(pinned - BUFFER_PAGES, pages_pinned());
}

TEST_F(flush, busy_until_invalidate)
{
	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, NULL));
	EXPECT_EQ(-EBUSY, map_page(&self->g, GUEST_IOVA, self->buffer));
	EXPECT_EQ(-EBUSY, map_page(&self->g, GUEST_IOVA + BUFFER_SIZE - PAGE, self->buffer));
	EXPECT_EQ(0, map_page(&self->g, GUEST_IOVA + BUFFER_SIZE, self->buffer));

	/* An INVALIDATE of another range does not help */
	ASSERT_EQ(0, guest_invalidate(&self->g, GUEST_IOVA + BUFFER_SIZE, PAGE));
	EXPECT_EQ(-EBUSY, map_page(&self->g, GUEST_IOVA, self->buffer));

	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	EXPECT_EQ(0, map_page(&self->g, GUEST_IOVA, self->buffer));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* A second unmap finds nothing, and does not flush what the first one has unmapped. */
TEST_F(flush, unmap_again)
{
	__u64 removed;

	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, NULL));
	EXPECT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, &removed));
	EXPECT_EQ(0, removed);
	EXPECT_EQ(0, guest_invalidate(&self->g, GUEST_IOVA, BUFFER_SIZE));
	EXPECT_EQ(self->locked, guest_locked_kb());
	/* Nothing is left to do */
	EXPECT_EQ(0, guest_invalidate(&self->g, GUEST_IOVA, BUFFER_SIZE));
}

TEST_F(flush, all_without_flush)
{
	ASSERT_EQ(0, map_page(&self->g, GUEST_IOVA * 2, self->buffer));
	ASSERT_EQ(0, guest_unmap(&self->g, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL | NO_FLUSH, NULL));
	EXPECT_EQ(-EBUSY, map_page(&self->g, GUEST_IOVA * 2, self->buffer));
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	EXPECT_EQ(self->locked - (long)(PAGE >> 10), guest_locked_kb());
	guest_setup_window(&self->g, &self->window);
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* Closing the container flushes and unpins what was not flushed. */
TEST_F(flush, close_unflushed)
{
	struct guest_stats before, after;

	ASSERT_EQ(0, guest_stats(&before));
	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, NULL));
	guest_vfio_close(&self->g);
	/* The window is mapped and pinned too */
	EXPECT_EQ(self->locked - (long)(PAGE >> 10), guest_locked_kb());
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(before.mappings - 2, after.mappings);
	EXPECT_EQ(before.pages_pinned - BUFFER_PAGES - 1, after.pages_pinned);
}

#define MANY	20000

/* A user address can be given to mappings only, however many ranges wait for a flush */
TEST_F(flush, no_vaddr_for_unflushed)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_VADDR,
		.vaddr = (uintptr_t)self->buffer,
		.iova = GUEST_IOVA * 2,
		.size = MANY * PAGE,
	};
	int i;

	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, map_page(&self->g, GUEST_IOVA * 2 + i * PAGE, self->buffer));
	ASSERT_EQ(0, guest_unmap(&self->g, map.iova, map.size, NO_FLUSH, NULL));
	EXPECT_EQ(-ENOENT, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, &map));
	/* A mapping behind all of them is found */
	ASSERT_EQ(0, map_page(&self->g, map.iova + map.size, self->buffer));
	map.size += PAGE;
	EXPECT_EQ(-EINVAL, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, &map));
	map.iova += MANY * PAGE;
	map.size = PAGE;
	ASSERT_EQ(0, guest_unmap(&self->g, map.iova, PAGE, VFIO_DMA_UNMAP_FLAG_VADDR, NULL));
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, &map));
	EXPECT_EQ(0, guest_invalidate(&self->g, 0, 0));
}

/* ------------------------------------------------------------------ */
/* The ioctl */

struct inv_case {
	const char *name;
	__u32 argsz;		/* 0: the size of the structure */
	__u32 flags;
	__u32 granularity;
	__u32 pasid;
	__u64 addr;
	__u64 size;
	int ret;
};

#define NONE VFIO_PV_PASID_NONE

static const struct inv_case inv_cases[] = {
	{ "domain", 0, 0, VFIO_PV_INV_DOMAIN, NONE, 0, 0, 0 },
	{ "domain, leaf", 0, VFIO_PV_INV_FLAG_LEAF, VFIO_PV_INV_DOMAIN, NONE, 0, 0, 0 },
	{ "page", 0, 0, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA, PAGE, 0 },
	{ "page, leaf", 0, VFIO_PV_INV_FLAG_LEAF, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA, PAGE, 0 },
	{ "pages where nothing is", 0, 0, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA * 3, 9 * PAGE, 0 },
	{ "argsz 0", ~0U, 0, VFIO_PV_INV_DOMAIN, NONE, 0, 0, -EINVAL },
	{ "argsz short", 31, 0, VFIO_PV_INV_DOMAIN, NONE, 0, 0, -EINVAL },
	{ "argsz of the first version and a bit", 4, 0, VFIO_PV_INV_DOMAIN, NONE, 0, 0, -EINVAL },
	{ "unknown flag", 0, 1 << 1, VFIO_PV_INV_DOMAIN, NONE, 0, 0, -EOPNOTSUPP },
	{ "unknown high flag", 0, 1U << 31, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA, PAGE, -EOPNOTSUPP },
	{ "unknown granularity", 0, 0, 3, NONE, 0, 0, -EOPNOTSUPP },
	{ "granularity -1", 0, 0, ~0U, NONE, 0, 0, -EOPNOTSUPP },
	{ "PASID granularity", 0, 0, VFIO_PV_INV_PASID, 1, 0, 0, -EOPNOTSUPP },
	{ "PASID with pages", 0, 0, VFIO_PV_INV_PAGE, 0, GUEST_IOVA, PAGE, -EOPNOTSUPP },
	{ "PASID with domain", 0, 0, VFIO_PV_INV_DOMAIN, 1, 0, 0, -EOPNOTSUPP },
	{ "domain with addr", 0, 0, VFIO_PV_INV_DOMAIN, NONE, PAGE, 0, -EINVAL },
	{ "domain with size", 0, 0, VFIO_PV_INV_DOMAIN, NONE, 0, PAGE, -EINVAL },
	{ "page, size 0", 0, 0, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA, 0, -EINVAL },
	{ "page, size misaligned", 0, 0, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA, 1, -EINVAL },
	{ "page, addr misaligned", 0, 0, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA + 1, PAGE, -EINVAL },
	{ "page, wraps", 0, 0, VFIO_PV_INV_PAGE, NONE, -PAGE, 2 * PAGE, -EOVERFLOW },
};

static int run_inv(const struct guest_vfio *g, const struct inv_case *c)
{
	struct vfio_pv_iommu_invalidate inv = {
		.argsz = c->argsz == ~0U ? 0 : c->argsz ?: sizeof(inv),
		.flags = c->flags,
		.granularity = c->granularity,
		.pasid = c->pasid,
		.addr = c->addr,
		.size = c->size,
	};

	return guest_ioctl(g->container, VFIO_PV_IOMMU_INVALIDATE, &inv);
}

TEST_F(flush, ioctl_errors)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(inv_cases); i++) {
		EXPECT_EQ(inv_cases[i].ret, run_inv(&self->g, &inv_cases[i])) {
			TH_LOG("%s", inv_cases[i].name);
		}
	}
	EXPECT_EQ(-EFAULT, guest_ioctl(self->g.container, VFIO_PV_IOMMU_INVALIDATE, NULL));
	EXPECT_EQ(-ENOTTY, guest_ioctl(self->g.container, _IO(VFIO_TYPE, VFIO_BASE + 99), NULL));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* An INVALIDATE that fails unpins nothing. */
TEST_F(flush, failure_releases_nothing)
{
	const struct inv_case wrong = { "", 0, 2, VFIO_PV_INV_PAGE, NONE, GUEST_IOVA, PAGE, 0 };
	long locked = guest_locked_kb();

	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, BUFFER_SIZE, NO_FLUSH, NULL));
	EXPECT_EQ(-EOPNOTSUPP, run_inv(&self->g, &wrong));
	EXPECT_EQ(locked, guest_locked_kb());
	EXPECT_EQ(-EBUSY, map_page(&self->g, GUEST_IOVA, self->buffer));
}

/* ------------------------------------------------------------------ */
/* Argument lengths, of each ioctl with a structure of ours */

struct length_case {
	const char *name;
	unsigned int cmd;
	__u32 size;		/* of the structure */
	int want;		/* with an argument of the right length */
};

static const struct length_case length_cases[] = {
	{ "INVALIDATE", VFIO_PV_IOMMU_INVALIDATE, sizeof(struct vfio_pv_iommu_invalidate), 0 },
	{ "MAP", VFIO_PV_IOMMU_MAP, sizeof(struct vfio_pv_iommu_batch), 0 },
	{ "UNMAP", VFIO_PV_IOMMU_UNMAP, sizeof(struct vfio_pv_iommu_batch), 0 },
	{ "EVENTFD", VFIO_PV_IOMMU_EVENTFD, sizeof(struct vfio_pv_iommu_eventfd), 0 },
	{ "READ_EVENTS", VFIO_PV_IOMMU_READ_EVENTS, sizeof(struct vfio_pv_iommu_events), 0 },
	{ "LOOKUP", VFIO_PV_IOMMU_LOOKUP, sizeof(struct vfio_pv_iommu_lookup), -ENOENT },
	{ "BIND_TABLE", VFIO_PV_IOMMU_BIND_TABLE, sizeof(struct vfio_pv_iommu_bind_table),
	  -EBUSY },
	{ "MAP_DMA, foreign", VFIO_IOMMU_MAP_DMA, sizeof(struct vfio_pv_dma_map), -EACCES },
};

union length_arg {
	__u32 argsz;
	struct vfio_pv_iommu_invalidate inv;
	struct vfio_pv_iommu_batch batch;
	struct vfio_pv_iommu_eventfd eventfd;
	struct vfio_pv_iommu_events events;
	struct vfio_pv_iommu_lookup look;
	struct vfio_pv_iommu_bind_table bind;
	struct vfio_pv_dma_map map;
};

/* An argument that is valid but for its length, followed by zeroes */
static void length_fill(union length_arg *arg, const struct length_case *c,
			struct vfio_pv_batch_entry *entry)
{
	/* Neither mapped nor valid to map */
	*entry = (struct vfio_pv_batch_entry) { .iova = GUEST_IOVA * 2 };
	memset(arg, 0, PAGE);
	switch (c->cmd) {
	case VFIO_PV_IOMMU_INVALIDATE:
		arg->inv.pasid = VFIO_PV_PASID_NONE;
		break;
	case VFIO_PV_IOMMU_MAP:
	case VFIO_PV_IOMMU_UNMAP:
		arg->batch.entries = (uintptr_t)entry;
		arg->batch.count = 1;
		break;
	case VFIO_PV_IOMMU_EVENTFD:
		arg->eventfd.fd = -1;
		break;
	case VFIO_PV_IOMMU_LOOKUP:
		arg->look.iova = GUEST_IOVA * 2;
		break;
	case VFIO_IOMMU_MAP_DMA:
		arg->map.flags = VFIO_PV_MAP_FLAG_FOREIGN | VFIO_DMA_MAP_FLAG_READ;
		arg->map.iova = GUEST_IOVA * 2;
		arg->map.size = PAGE;
		arg->map.vm = 0x7fffffff;
		break;
	}
}

struct length_try {
	struct guest_vfio *g;
	const struct length_case *c;
	char *memory;		/* a page, behind which there is none */
	struct vfio_pv_batch_entry entry;
};

/* @argsz bytes, of which byte @dirt, unless 0, is not zero; only @room bytes are in memory */
static int length_run(struct length_try *t, __u32 argsz, size_t dirt, size_t room)
{
	char *at = t->memory + PAGE - room;
	char copy[PAGE] __attribute__((aligned(8)));
	union length_arg *arg = (void *)copy;

	length_fill(arg, t->c, &t->entry);
	arg->argsz = argsz;
	if (dirt)
		copy[dirt] = 1;
	memcpy(at, copy, room);
	return guest_ioctl(t->g->container, t->c->cmd, at);
}

TEST_F(flush, argument_lengths)
{
	struct length_try t = { .g = &self->g, .memory = guest_memory(2 * PAGE) };
	const struct length_case *c;

	ASSERT_NE(NULL, t.memory);
	ASSERT_EQ(0, munmap(t.memory + PAGE, PAGE));
	for (c = length_cases; c < length_cases + ARRAY_SIZE(length_cases); c++) {
		t.c = c;
		TH_LOG("%s", c->name);
		EXPECT_EQ(c->want, length_run(&t, c->size, 0, PAGE));
		/* The argument ends where memory ends: not a byte more may be read or written */
		EXPECT_EQ(c->want, length_run(&t, c->size, 0, c->size));
		EXPECT_EQ(-EINVAL, length_run(&t, 0, 0, PAGE));
		EXPECT_EQ(-EINVAL, length_run(&t, 4, 0, PAGE));
		EXPECT_EQ(-EINVAL, length_run(&t, c->size - 1, 0, PAGE));
		EXPECT_EQ(c->want, length_run(&t, c->size + 8, 0, PAGE));
		EXPECT_EQ(c->want, length_run(&t, PAGE, 0, PAGE));
		EXPECT_EQ(-E2BIG, length_run(&t, c->size + 1, c->size, PAGE));
		EXPECT_EQ(-E2BIG, length_run(&t, PAGE, PAGE - 1, PAGE));
		/* Bytes behind argsz are ignored */
		EXPECT_EQ(c->want, length_run(&t, c->size, c->size, PAGE));
		EXPECT_EQ(-E2BIG, length_run(&t, PAGE + 1, 0, PAGE));
		EXPECT_EQ(-E2BIG, length_run(&t, ~0U, 0, PAGE));
		/* Less memory than argsz says */
		EXPECT_EQ(-EFAULT, length_run(&t, c->size, 0, c->size - 8));
		EXPECT_EQ(-EFAULT, length_run(&t, c->size + 8, 0, c->size));
		EXPECT_EQ(-EFAULT, guest_ioctl(t.g->container, c->cmd, (void *)8));
	}
	/* None of these has changed anything */
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* A container of type 1 does not have these ioctls. */
TEST(type1_has_none_of_it)
{
	struct vfio_pv_iommu_invalidate inv = {
		.argsz = sizeof(inv), .pasid = VFIO_PV_PASID_NONE,
	};
	struct guest_vfio g;

	guest_setup(&g, VFIO_TYPE1v2_IOMMU, 0);
	EXPECT_EQ(-ENOTTY, guest_ioctl(g.container, VFIO_PV_IOMMU_INVALIDATE, &inv));
	EXPECT_EQ(-EINVAL, guest_unmap(&g, GUEST_IOVA, PAGE, NO_FLUSH, NULL));
	guest_vfio_close(&g);
}

TEST_HARNESS_MAIN
