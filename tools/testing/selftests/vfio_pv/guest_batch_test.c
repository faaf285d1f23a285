// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches: many ranges in one call. The result of each range, the number of hypercalls, and
 * that batches of several threads over the same ranges do not block each other.
 */
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE
#define MANY		300	/* more than share hypercalls */
#define RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define CONTINUE	VFIO_PV_BATCH_FLAG_CONTINUE
#define NO_FLUSH	VFIO_PV_BATCH_FLAG_NO_FLUSH

FIXTURE(batch)
{
	struct guest_vfio g;
	struct vfiopv c;
	struct dma_window window;
	char *buffer;		/* MANY pages, scattered */
	struct vfio_pv_batch_entry entry[MANY];
};

FIXTURE_VARIANT(batch)
{
	unsigned int type;
};

/* On type 1, the library makes a call for each range */
FIXTURE_VARIANT_ADD(batch, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(batch, pv)
{
	.type = VFIO_PV_IOMMU,
};

/* Entry i is a page of its own, with a hole behind it */
static void fill(struct vfio_pv_batch_entry *entry, char *buffer, int count)
{
	int i;

	for (i = 0; i < count; i++)
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = GUEST_IOVA + 2 * i * PAGE,
			.vaddr = (uintptr_t)buffer + i * PAGE,
			.size = PAGE,
			.flags = RW,
			.result = INT_MAX,
		};
}

static void to_unmap(struct vfio_pv_batch_entry *entry, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		entry[i].vaddr = 0;
		entry[i].flags = 0;
		entry[i].result = INT_MAX;
	}
}

FIXTURE_SETUP(batch)
{
	guest_setup(&self->g, variant->type, 0);
	guest_setup_window(&self->g, &self->window);
	self->c = (struct vfiopv) { .fd = self->g.container, .type = variant->type };
	self->buffer = guest_scattered(MANY * PAGE);
	ASSERT_NE(NULL, self->buffer);
	fill(self->entry, self->buffer, MANY);
}

FIXTURE_TEARDOWN(batch)
{
	guest_vfio_close(&self->g);
}

TEST_F(batch, map_and_unmap)
{
	long locked = guest_locked_kb();
	int i;

	ASSERT_EQ(MANY, vfiopv_map_many(&self->c, self->entry, MANY, 0));
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(0, self->entry[i].result);
	EXPECT_EQ(locked + MANY * 4, guest_locked_kb());
	EXPECT_EQ(1, dma_works(&self->g.dev, self->entry[0].iova, self->buffer, &self->window));
	EXPECT_EQ(1, dma_works(&self->g.dev, self->entry[MANY - 1].iova,
			       self->buffer + (MANY - 1) * PAGE, &self->window));

	to_unmap(self->entry, MANY);
	ASSERT_EQ(MANY, vfiopv_unmap_many(&self->c, self->entry, MANY, 0));
	for (i = 0; i < MANY; i++) {
		EXPECT_EQ(0, self->entry[i].result);
		EXPECT_EQ(PAGE, self->entry[i].size);
	}
	EXPECT_EQ(locked, guest_locked_kb());
	EXPECT_EQ(1, dma_refused(&self->g.dev, self->entry[MANY - 1].iova,
				 self->buffer + (MANY - 1) * PAGE, &self->window));
}

/* An entry that fails ends the batch. Entries behind it may have been done before. */
TEST_F(batch, stops)
{
	int done, i, good = 0;

	self->entry[3].size = 1;
	self->entry[200].size = 1;
	done = vfiopv_map_many(&self->c, self->entry, MANY, 0);
	EXPECT_LE(3, done);
	EXPECT_EQ(0, self->entry[2].result);
	EXPECT_EQ(-EINVAL, self->entry[3].result);
	for (i = 0; i < MANY; i++) {
		EXPECT_NE(INT_MAX, self->entry[i].result);
		good += !self->entry[i].result;
	}
	EXPECT_EQ(done, good);
	EXPECT_EQ(-ECANCELED, self->entry[200].result);
}

TEST_F(batch, continues)
{
	char *hole = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	self->entry[0].size = 0;
	self->entry[1].iova = self->entry[5].iova;	/* 5 comes too late */
	self->entry[2].vaddr = (uintptr_t)hole;
	self->entry[3].flags = 0;
	self->entry[4].iova = GUEST_IOVA_WINDOW;
	self->entry[MANY - 1].iova = ~0ULL << 12;
	EXPECT_EQ(MANY - 6, vfiopv_map_many(&self->c, self->entry, MANY, CONTINUE));
	EXPECT_EQ(-EINVAL, self->entry[0].result);
	EXPECT_EQ(0, self->entry[1].result);
	EXPECT_EQ(-EFAULT, self->entry[2].result);
	EXPECT_EQ(-EINVAL, self->entry[3].result);
	EXPECT_EQ(-EEXIST, self->entry[4].result);
	EXPECT_EQ(-EEXIST, self->entry[5].result);
	EXPECT_EQ(0, self->entry[6].result);
	EXPECT_EQ(-EINVAL, self->entry[MANY - 1].result);
	EXPECT_EQ(1, dma_works(&self->g.dev, self->entry[1].iova, self->buffer + PAGE,
			       &self->window));

	/* Two entries for one mapping, one entry for two mappings, one that would cut a mapping */
	to_unmap(self->entry, MANY);
	self->entry[7] = self->entry[6];
	self->entry[8].size = 3 * PAGE;
	self->entry[10].size = PAGE;
	ASSERT_EQ(0, vfio_map_dma(self->g.container, 4 * GUEST_IOVA, self->buffer, 2 * PAGE, true));
	self->entry[11].iova = 4 * GUEST_IOVA;
	EXPECT_EQ(6, vfiopv_unmap_many(&self->c, self->entry + 5, 7, CONTINUE));
	EXPECT_EQ(PAGE, self->entry[6].size);
	EXPECT_EQ(0, self->entry[7].size);
	EXPECT_EQ(2 * PAGE, self->entry[8].size);
	EXPECT_EQ(0, self->entry[9].size);
	EXPECT_EQ(-EINVAL, self->entry[11].result);
}

/* The number of doorbells depends on the number of groups, not of entries. */
TEST_F(batch, few_hypercalls)
{
	struct guest_stats before, mapped, after;
	struct vfio_pv_info_cap_limits limits;
	int groups;

	if (variant->type != VFIO_PV_IOMMU) {
		EXPECT_EQ(-ENOENT, vfiopv_limits(&self->c, &limits));
		return;
	}
	ASSERT_EQ(0, vfiopv_limits(&self->c, &limits));
	ASSERT_LT(0, limits.group_batch);
	groups = (MANY + limits.group_batch - 1) / limits.group_batch;
	/* Each CPU has a ring of its own */
	ASSERT_TRUE(guest_stay_here());
	ASSERT_EQ(0, guest_stats(&before));
	ASSERT_EQ(MANY, vfiopv_map_many(&self->c, self->entry, MANY, 0));
	ASSERT_EQ(0, guest_stats(&mapped));
	to_unmap(self->entry, MANY);
	ASSERT_EQ(MANY, vfiopv_unmap_many(&self->c, self->entry, MANY, 0));
	ASSERT_EQ(0, guest_stats(&after));
	TH_LOG("%d entries: %lld doorbells to map, %lld to unmap", MANY,
	       guest_kicks(&before, &mapped), guest_kicks(&mapped, &after));
	EXPECT_GE(2 * groups, guest_kicks(&before, &mapped));
	EXPECT_GE(2 * groups, guest_kicks(&mapped, &after));
}

TEST_F(batch, no_flush)
{
	long locked;

	ASSERT_EQ(MANY, vfiopv_map_many(&self->c, self->entry, MANY, 0));
	locked = guest_locked_kb();
	to_unmap(self->entry, MANY);
	ASSERT_EQ(MANY, vfiopv_unmap_many(&self->c, self->entry, MANY, NO_FLUSH));
	/* The same program on type 1: unmapping has flushed, the second step does nothing */
	if (variant->type != VFIO_PV_IOMMU) {
		EXPECT_EQ(locked - MANY * 4, guest_locked_kb());
		EXPECT_EQ(0, vfiopv_invalidate(&self->c, 0, 0));
		fill(self->entry, self->buffer, 1);
		ASSERT_EQ(1, vfiopv_map_many(&self->c, self->entry, 1, 0));
		EXPECT_EQ(0, vfiopv_unmap(&self->c, GUEST_IOVA, PAGE, VFIO_PV_UNMAP_FLAG_NO_FLUSH,
					  NULL));
		EXPECT_EQ(0, vfiopv_invalidate(&self->c, GUEST_IOVA, PAGE));
		return;
	}
	EXPECT_EQ(locked, guest_locked_kb());
	fill(self->entry, self->buffer, MANY);
	EXPECT_EQ(0, vfiopv_map_many(&self->c, self->entry, MANY, CONTINUE));
	EXPECT_EQ(-EBUSY, self->entry[MANY - 1].result);
	ASSERT_EQ(0, vfiopv_invalidate(&self->c, 0, 0));
	EXPECT_EQ(locked - MANY * 4, guest_locked_kb());
	EXPECT_EQ(MANY, vfiopv_map_many(&self->c, self->entry, MANY, CONTINUE));
}

/* A container stays open while its devices are closed and opened again */
TEST_F(batch, reopen)
{
	unsigned int type = variant->type == VFIO_PV_IOMMU ? VFIOPV_BEST : variant->type;
	struct vfiopv_dev dev, second;
	char bdf[16], other[16];
	struct vfiopv c;
	int i;

	guest_vfio_close(&self->g);
	ASSERT_EQ(0, guest_find_edu(0, bdf));
	ASSERT_EQ(0, vfiopv_open(&c, type));
	EXPECT_EQ(-ENOENT, vfiopv_dev_open(&c, &dev, "ffff:ff:1f.7"));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vfiopv_dev_open(&c, &dev, bdf));
		EXPECT_EQ(variant->type, c.type);
		/* What was mapped before is gone */
		EXPECT_EQ(0, vfiopv_map(&c, GUEST_IOVA, self->buffer, PAGE, RW));
		EXPECT_EQ(-EBUSY, vfiopv_dev_open(&c, &second, bdf));
		if (!guest_find_edu(1, other)) {
			ASSERT_EQ(0, vfiopv_dev_open(&c, &second, other));
			vfiopv_dev_close(&second);
			EXPECT_EQ(-EEXIST, vfiopv_map(&c, GUEST_IOVA, self->buffer, PAGE, RW));
		}
		vfiopv_dev_close(&dev);
	}
	vfiopv_close(&c);
}

TEST_F(batch, errors)
{
	struct vfio_pv_iommu_batch arg = {
		.argsz = sizeof(arg),
		.entries = (uintptr_t)self->entry,
		.count = 1,
	}, bad;
	int fd = self->g.container;

	if (variant->type != VFIO_PV_IOMMU) {
		EXPECT_EQ(-ENOTTY, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &arg));
		EXPECT_EQ(-ENOTTY, guest_ioctl(fd, VFIO_PV_IOMMU_UNMAP, &arg));
		return;
	}
	bad = arg;
	bad.argsz--;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &bad));
	bad = arg;
	bad.flags = NO_FLUSH;
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &bad));
	bad = arg;
	bad.flags = 1 << 31;
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(fd, VFIO_PV_IOMMU_UNMAP, &bad));
	bad = arg;
	bad.count = 0;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &bad));
	bad = arg;
	bad.count = VFIO_PV_BATCH_MAX + 1;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &bad));
	bad = arg;
	bad.entries++;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &bad));
	bad = arg;
	bad.entries = PAGE;
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &bad));
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, NULL));
	/* An entry to unmap has neither flags nor an address */
	bad = arg;
	EXPECT_EQ(0, guest_ioctl(fd, VFIO_PV_IOMMU_UNMAP, &bad));
	EXPECT_EQ(0, bad.done);
	EXPECT_EQ(-EOPNOTSUPP, self->entry[0].result);
	self->entry[0].flags = 0;
	EXPECT_EQ(0, guest_ioctl(fd, VFIO_PV_IOMMU_UNMAP, &bad));
	EXPECT_EQ(-EINVAL, self->entry[0].result);
	EXPECT_EQ(0, guest_ioctl(fd, VFIO_PV_IOMMU_MAP, &arg));
}

/*
 * Part of the array is not there: of what is, each entry says what became of it, those that
 * were not tried, too, be they before or behind the part. The array is half a page of
 * entries, a page that is not there, and half a page.
 */
static struct vfio_pv_batch_entry *array_with_hole(__u32 *count)
{
	char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || munmap(pages + PAGE, PAGE))
		return NULL;
	*count = 2 * PAGE / sizeof(struct vfio_pv_batch_entry);
	return (struct vfio_pv_batch_entry *)(pages + PAGE / 2);
}

TEST_F(batch, array_with_a_hole)
{
	struct vfio_pv_iommu_batch arg = { .argsz = sizeof(arg) };
	struct vfio_pv_batch_entry *entry;
	__u32 half, i;

	if (variant->type != VFIO_PV_IOMMU)
		return;
	entry = array_with_hole(&arg.count);
	ASSERT_NE(NULL, entry);
	arg.entries = (uintptr_t)entry;
	half = arg.count / 4;
	fill(entry, self->buffer, half);
	fill(entry + 3 * half, self->buffer, half);
	EXPECT_EQ(-EFAULT, guest_ioctl(self->g.container, VFIO_PV_IOMMU_MAP, &arg));
	EXPECT_EQ(0, arg.done);
	for (i = 0; i < half; i++) {
		ASSERT_EQ(-ECANCELED, entry[i].result);
		ASSERT_EQ(-ECANCELED, entry[3 * half + i].result);
	}
	munmap((char *)entry - PAGE / 2, 3 * PAGE);
}

/*
 * The library makes two calls for an array that is larger than one may be. The second one finds
 * that the end of the array is not there: what is, says what has been done.
 */
TEST_F(batch, large_array_without_its_end)
{
	const unsigned int count = VFIO_PV_BATCH_MAX + 200, last = PAGE / sizeof(*self->entry);
	struct vfio_pv_batch_entry *entry;
	unsigned int i, good = 0;
	char *array;

	if (variant->type != VFIO_PV_IOMMU)
		return;
	array = mmap(NULL, (count / last + 2) * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, array);
	/* The last page of it has the last 40 entries */
	entry = (void *)(array + PAGE) - (count - 40) % last * sizeof(*entry);
	fill(entry, self->buffer, count);
	to_unmap(entry, count);
	ASSERT_EQ(0, munmap(entry + count - 40, PAGE));

	EXPECT_LE(VFIO_PV_BATCH_MAX, vfiopv_unmap_many(&self->c, entry, count, 0));
	for (i = 0; i < count - 40; i++) {
		ASSERT_NE(INT_MAX, entry[i].result);
		good += !entry[i].result;
	}
	EXPECT_LE(VFIO_PV_BATCH_MAX, good);
	EXPECT_EQ(-ECANCELED, entry[count - 41].result);
	munmap(array, (count / last + 2) * PAGE);
}

/* ------------------------------------------------------------------ */
/* Threads */

#define ROUNDS		20
#define SHARED		64

struct worker {
	pthread_t thread;
	struct vfiopv c;
	char *buffer;
	bool backwards;
	int wrong;
};

static void *map_and_unmap(void *arg)
{
	struct vfio_pv_batch_entry entry[SHARED], swap;
	struct worker *w = arg;
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		fill(entry, w->buffer, SHARED);
		for (i = 0; w->backwards && i < SHARED / 2; i++) {
			swap = entry[i];
			entry[i] = entry[SHARED - 1 - i];
			entry[SHARED - 1 - i] = swap;
		}
		if (vfiopv_map_many(&w->c, entry, SHARED, CONTINUE) < 0)
			w->wrong++;
		for (i = 0; i < SHARED; i++)
			w->wrong += entry[i].result && entry[i].result != -EEXIST;
		to_unmap(entry, SHARED);
		if (vfiopv_unmap_many(&w->c, entry, SHARED, CONTINUE) != SHARED)
			w->wrong++;
	}
	return NULL;
}

/* Two threads lock the same ranges in opposite order. */
TEST_F(batch, crosswise)
{
	struct worker w[2];
	long locked = guest_locked_kb();
	int i;

	for (i = 0; i < 2; i++) {
		w[i] = (struct worker) { .c = self->c, .buffer = self->buffer, .backwards = i };
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, map_and_unmap, &w[i]));
	}
	for (i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(0, w[i].wrong);
	}
	EXPECT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, 2 * SHARED * PAGE, 0, NULL));
	EXPECT_EQ(locked, guest_locked_kb());
}

TEST_HARNESS_MAIN
