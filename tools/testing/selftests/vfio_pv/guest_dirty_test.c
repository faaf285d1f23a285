// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty page logging of a container, and changing the user addresses of mappings. The tests
 * expect what type 1 does: with the backend unloaded they run on it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE
#define PAGES		200
#define SIZE		(PAGES * PAGE)
#define WORDS		((PAGES + 63) / 64)

#define START		VFIO_IOMMU_DIRTY_PAGES_FLAG_START
#define STOP		VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP
#define GET		VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP

FIXTURE(dirty)
{
	struct guest_vfio g;
	struct dma_window window;
	char *buffer;
	__u64 bits[WORDS];
};

FIXTURE_VARIANT(dirty)
{
	unsigned int type;
};

FIXTURE_VARIANT_ADD(dirty, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(dirty, pv)
{
	.type = VFIO_PV_IOMMU,
};

FIXTURE_SETUP(dirty)
{
	guest_setup(&self->g, variant->type, 0);
	guest_setup_window(&self->g, &self->window);
	self->buffer = guest_memory(SIZE);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(dirty)
{
	guest_vfio_close(&self->g);
}

struct get {
	struct vfio_iommu_type1_dirty_bitmap head;
	struct vfio_iommu_type1_dirty_bitmap_get range;
};

struct unmap_get {
	struct vfio_iommu_type1_dma_unmap head;
	struct vfio_bitmap bitmap;
};

static int set(int fd, __u32 flags)
{
	struct vfio_iommu_type1_dirty_bitmap arg = { .argsz = sizeof(arg), .flags = flags };

	return guest_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

static void fill_get(struct get *arg, __u64 iova, __u64 size, __u64 *bits, size_t bytes)
{
	memset(arg, 0, sizeof(*arg));
	arg->head.argsz = sizeof(*arg);
	arg->head.flags = GET;
	arg->range.iova = iova;
	arg->range.size = size;
	arg->range.bitmap.pgsize = PAGE;
	arg->range.bitmap.size = bytes;
	arg->range.bitmap.data = bits;
}

static int get(int fd, __u64 iova, __u64 size, __u64 *bits, size_t bytes)
{
	struct get arg;

	fill_get(&arg, iova, size, bits, bytes);
	return guest_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

static int count(const __u64 *bits, int n)
{
	int i, found = 0;

	for (i = 0; i < n; i++)
		found += bits[i / 64] >> i % 64 & 1;
	return found;
}

TEST_F(dirty, what_was_written)
{
	int fd = self->g.container;

	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, true));
	EXPECT_EQ(-EINVAL, get(fd, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits)));
	ASSERT_EQ(0, set(fd, START));
	EXPECT_EQ(0, set(fd, START));
	ASSERT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + 100 * PAGE, self->buffer + 100 * PAGE,
			       &self->window));
	EXPECT_EQ(0, get(fd, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits)));
	EXPECT_TRUE(self->bits[100 / 64] >> 100 % 64 & 1);
	/* The IOMMU has no dirty bits, so every page that the device may write to is dirty */
	EXPECT_EQ(PAGES, count(self->bits, PAGES));
	EXPECT_EQ(0, set(fd, STOP));
	EXPECT_EQ(0, set(fd, STOP));
	EXPECT_EQ(-EINVAL, get(fd, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits)));
}

/* One bitmap over several mappings and holes */
TEST_F(dirty, holes)
{
	int fd = self->g.container, i;

	ASSERT_EQ(0, set(fd, START));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA + 3 * PAGE, self->buffer, PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA + 62 * PAGE, self->buffer, 4 * PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA + 199 * PAGE, self->buffer, PAGE, true));
	ASSERT_EQ(0, get(fd, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits)));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(i == 3 || (i >= 62 && i < 66) || i == 199,
			  self->bits[i / 64] >> i % 64 & 1);
}

/* A page that no device may write to is not dirty. Type 1 reports it all the same. */
TEST_F(dirty, read_only)
{
	int fd = self->g.container;

	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, false));
	ASSERT_EQ(0, set(fd, START));
	ASSERT_EQ(0, get(fd, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits)));
	EXPECT_EQ(guest_has_backend() ? 0 : PAGES, count(self->bits, PAGES));
}

TEST_F(dirty, second_device)
{
	struct guest_vfio second;
	char bdf[16];
	int fd = self->g.container;

	if (guest_find_edu(1, bdf))
		SKIP(return, "needs two edu devices");
	ASSERT_EQ(0, set(fd, START));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, guest_vfio_join(&second, &self->g, bdf));
	EXPECT_EQ(0, get(fd, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits)));
	EXPECT_EQ(PAGES, count(self->bits, PAGES));
	guest_vfio_close(&second);
}

#define expect_get(ret, field, value) do {					\
	struct get __arg;							\
										\
	fill_get(&__arg, GUEST_IOVA, SIZE, self->bits, sizeof(self->bits));	\
	__arg.field = value;							\
	EXPECT_EQ(ret, guest_ioctl(self->g.container, VFIO_IOMMU_DIRTY_PAGES, &__arg)) { \
		TH_LOG("%s = %s", #field, #value);				\
	}									\
} while (0)

TEST_F(dirty, errors)
{
	int fd = self->g.container;

	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, true));
	EXPECT_EQ(-EINVAL, set(fd, START | STOP));
	EXPECT_EQ(-EINVAL, set(fd, 1 << 3));
	EXPECT_EQ(-EINVAL, set(fd, GET));		/* no range */
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, NULL));
	ASSERT_EQ(0, set(fd, START));
	expect_get(-EINVAL, head.argsz, 7);
	expect_get(-EINVAL, head.argsz, sizeof(struct get) - 1);
	expect_get(-EINVAL, range.iova, GUEST_IOVA + 1);
	expect_get(-EINVAL, range.iova, GUEST_IOVA + PAGE);	/* cuts */
	expect_get(-EINVAL, range.iova, -PAGE);
	expect_get(-EINVAL, range.size, 0);
	expect_get(-EINVAL, range.size, SIZE - 1);
	expect_get(-EINVAL, range.size, SIZE - PAGE);		/* cuts */
	expect_get(-EINVAL, range.bitmap.pgsize, 2 * PAGE);
	expect_get(-EINVAL, range.bitmap.size, 0);
	expect_get(-EINVAL, range.bitmap.size, sizeof(self->bits) - 8);
	expect_get(-EINVAL, range.bitmap.size, 1ULL << 40);
	expect_get(-EFAULT, range.bitmap.data, (void *)PAGE);
	expect_get(0, range.size, SIZE);
}

/* Values that type 1 does not check */
TEST_F(dirty, weak_spots)
{
	if (!guest_has_backend())
		SKIP(return, "type 1 does not define them");
	EXPECT_EQ(-EINVAL, set(self->g.container, 0));
	ASSERT_EQ(0, set(self->g.container, START));
	expect_get(-EINVAL, range.bitmap.pgsize, 0);
}

TEST_F(dirty, unmap_with_bitmap)
{
	struct unmap_get arg = {
		.head = {
			.argsz = sizeof(arg),
			.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
			.iova = GUEST_IOVA,
			.size = SIZE,
		},
		.bitmap = { .pgsize = PAGE, .size = sizeof(self->bits), .data = self->bits },
	}, bad;
	int fd = self->g.container;

	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, true));
	bad = arg;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));	/* not started */
	ASSERT_EQ(0, set(fd, START));
	bad = arg;
	bad.head.flags |= VFIO_DMA_UNMAP_FLAG_ALL;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));
	bad = arg;
	bad.head.argsz = sizeof(bad) - 1;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));
	bad = arg;
	bad.bitmap.size = 8;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));
	bad = arg;
	bad.bitmap.data = (void *)PAGE;
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));
	/* If both the range and the bitmap are bad, the bitmap's error is returned */
	bad = arg;
	bad.head.iova = -PAGE;
	EXPECT_EQ(guest_wrap_error(), guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));
	bad.bitmap.size = 8;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &bad));
	/* All of these were refused, and nothing was unmapped */
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));

	ASSERT_EQ(0, guest_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(SIZE, arg.head.size);
	EXPECT_EQ(PAGES, count(self->bits, PAGES));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* ------------------------------------------------------------------ */
/* User addresses */

static int set_vaddr(int fd, __u64 iova, __u64 size, void *vaddr, __u32 flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_VADDR | flags,
		.iova = iova,
		.size = size,
		.vaddr = (uintptr_t)vaddr,
	};

	return guest_ioctl(fd, VFIO_IOMMU_MAP_DMA, &map);
}

TEST_F(dirty, vaddr)
{
	const __u32 drop = VFIO_DMA_UNMAP_FLAG_VADDR;
	int fd = self->g.container;
	__u64 removed = 0;

	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, true));
	EXPECT_EQ(-EINVAL, set_vaddr(fd, GUEST_IOVA, SIZE, self->buffer, 0));
	EXPECT_EQ(-ENOENT, set_vaddr(fd, GUEST_IOVA * 2, SIZE, self->buffer, 0));
	EXPECT_EQ(-EINVAL, guest_unmap(&self->g, GUEST_IOVA + PAGE, PAGE, drop, NULL));
	EXPECT_EQ(-EINVAL, guest_unmap(&self->g, GUEST_IOVA, SIZE, drop |
				       VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, NULL));
	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, SIZE, drop, &removed));
	EXPECT_EQ(SIZE, removed);
	/* The device still reaches the memory */
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	/* A mapping that has no address already, alone or among others: nothing is changed */
	EXPECT_EQ(-EINVAL, guest_unmap(&self->g, 0, 0, drop | VFIO_DMA_UNMAP_FLAG_ALL, NULL));
	EXPECT_EQ(-EINVAL, set_vaddr(fd, GUEST_IOVA_WINDOW, PAGE, self->window.memory, 0));

	EXPECT_EQ(-EINVAL, set_vaddr(fd, GUEST_IOVA, SIZE, self->buffer,
				     VFIO_DMA_MAP_FLAG_READ));
	EXPECT_EQ(-EINVAL, set_vaddr(fd, GUEST_IOVA, SIZE - PAGE, self->buffer, 0));
	EXPECT_EQ(-EINVAL, set_vaddr(fd, GUEST_IOVA + PAGE, SIZE - PAGE, self->buffer, 0));
	EXPECT_EQ(0, set_vaddr(fd, GUEST_IOVA, SIZE, self->buffer, 0));
	EXPECT_EQ(-EINVAL, set_vaddr(fd, GUEST_IOVA, SIZE, self->buffer, 0));
	EXPECT_EQ(0, vfio_unmap_dma(fd, GUEST_IOVA, SIZE, &removed));
	EXPECT_EQ(SIZE, removed);
}

/* The child's new mapping is accounted to the child, until it is unmapped. */
static int take_over(struct guest_vfio *g, char *buffer)
{
	long locked = guest_locked_kb();

	if (set_vaddr(g->container, GUEST_IOVA, SIZE, buffer, 0))
		return 1;
	if (guest_locked_kb() != locked + (long)(SIZE >> 10))
		return 2;
	if (vfio_unmap_dma(g->container, GUEST_IOVA, SIZE, NULL))
		return 3;
	return guest_locked_kb() == locked ? 0 : 4;
}

TEST_F(dirty, vaddr_of_another_process)
{
	long locked = guest_locked_kb();
	int status;
	pid_t pid;

	munmap(self->buffer, SIZE);
	self->buffer = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->buffer);
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, SIZE, VFIO_DMA_UNMAP_FLAG_VADDR, NULL));
	EXPECT_EQ(locked + (long)(SIZE >> 10), guest_locked_kb());
	pid = fork();
	if (!pid)
		_exit(take_over(&self->g, self->buffer));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(locked, guest_locked_kb());
}

/* ------------------------------------------------------------------ */

TEST_F(dirty, migration_capability)
{
	struct {
		struct vfio_iommu_type1_info head;
		char caps[1024];
	} info = { .head.argsz = sizeof(info) };
	const struct vfio_iommu_type1_info_cap_migration *cap;
	__u32 at;

	ASSERT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_GET_INFO, &info));
	for (at = info.head.cap_offset; at; at = cap->header.next) {
		ASSERT_LE(at, sizeof(info) - sizeof(*cap));
		cap = (const void *)((char *)&info + at);
		if (cap->header.id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION)
			break;
	}
	ASSERT_NE(0, at);
	EXPECT_EQ(1, cap->header.version);
	EXPECT_EQ(0, cap->flags);
	EXPECT_EQ(PAGE, cap->pgsize_bitmap);
	EXPECT_EQ(1ULL << 28, cap->max_dirty_bitmap_size);
}

TEST(version_1_has_no_log)
{
	struct guest_vfio g;

	guest_setup(&g, VFIO_TYPE1_IOMMU, 0);
	EXPECT_EQ(-EACCES, set(g.container, START));
	guest_vfio_close(&g);
}

TEST_HARNESS_MAIN
