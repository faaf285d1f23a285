// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container behind the paravirtual IOMMU does all that type1 does: DMA, MAP_DMA and UNMAP_DMA
 * with all their errors, and what it tells about itself. With the backend unloaded, the same
 * tests run on stock type1, which shows that the expectations are right.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE
#define BUFFER_PAGES	16
#define BUFFER_SIZE	(BUFFER_PAGES * PAGE)
#define SIZE_2M		0x200000ULL
#define MSI_PAGE	0xfee00000ULL	/* where an x86 machine takes interrupts */

FIXTURE(container)
{
	struct guest_vfio g;
	struct dma_window window;
	char *buffer;
};

FIXTURE_VARIANT(container)
{
	unsigned int type;
};

FIXTURE_VARIANT_ADD(container, type1)
{
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(container, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(container, pv)
{
	.type = VFIO_PV_IOMMU,
};

FIXTURE_SETUP(container)
{
	guest_setup(&self->g, variant->type, 0);
	guest_setup_window(&self->g, &self->window);
	self->buffer = guest_memory(BUFFER_SIZE);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(container)
{
	guest_vfio_close(&self->g);
}

/* ------------------------------------------------------------------ */
/* DMA */

TEST_F(container, dma_both_ways)
{
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, BUFFER_SIZE, true));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + BUFFER_SIZE - PAGE,
			       self->buffer + BUFFER_SIZE - PAGE, &self->window));
}

TEST_F(container, dma_across_pages)
{
	struct dma_reach reach;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, BUFFER_SIZE, true));
	ASSERT_EQ(0, dma_try(&self->g.dev, GUEST_IOVA + PAGE + 0xc00, self->buffer + PAGE + 0xc00,
			     0x800, &(struct dma_window){ GUEST_IOVA, self->buffer }, &reach));
	EXPECT_TRUE(reach.read);
	EXPECT_TRUE(reach.wrote);
}

TEST_F(container, dma_nothing_mapped)
{
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

TEST_F(container, dma_read_only)
{
	struct dma_reach reach;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, false));
	ASSERT_EQ(0, dma_try(&self->g.dev, GUEST_IOVA, self->buffer, 64, &self->window, &reach));
	EXPECT_TRUE(reach.read);
	EXPECT_FALSE(reach.wrote);
	EXPECT_FALSE(reach.damaged);
}

TEST_F(container, dma_after_unmap)
{
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, BUFFER_SIZE, true));
	ASSERT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, BUFFER_SIZE, NULL));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* After a new MAP_DMA the device reaches the new page, and not the old one. */
TEST_F(container, dma_after_remap)
{
	char *other = self->buffer + PAGE;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	ASSERT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, other, PAGE, true));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, other, &self->window));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

TEST_F(container, dma_large_page)
{
	char *area, *huge;

	area = mmap(NULL, 2 * SIZE_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	huge = (char *)(((uintptr_t)area + SIZE_2M - 1) & ~(SIZE_2M - 1));
	madvise(huge, SIZE_2M, MADV_HUGEPAGE);
	memset(huge, 1, SIZE_2M);

	ASSERT_EQ(0, vfio_map_dma(self->g.container, SIZE_2M * 32, huge, SIZE_2M, true));
	EXPECT_EQ(1, dma_works(&self->g.dev, SIZE_2M * 32 + 123 * PAGE, huge + 123 * PAGE,
			       &self->window));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, SIZE_2M * 32, SIZE_2M, NULL));
	EXPECT_EQ(1, dma_refused(&self->g.dev, SIZE_2M * 32 + 123 * PAGE, huge + 123 * PAGE,
				 &self->window));
}

/* ------------------------------------------------------------------ */
/* MAP_DMA */

#define RW	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* Stands for guest_wrap_error() */
#define WRAPS	1

struct map_case {
	const char *name;
	__u32 argsz;		/* 0: the size of the structure */
	__u32 flags;
	__u64 vaddr;		/* added to the buffer's address, unless @absolute */
	__u64 iova;
	__u64 size;
	int ret;
	int pv_ret;		/* of VFIO_PV_IOMMU, if it differs */
	bool absolute;
};

/* The first page at GUEST_IOVA is mapped when these are tried */
static const struct map_case map_cases[] = {
	{ "argsz short", 31, RW, 0, GUEST_IOVA * 2, PAGE, -EINVAL },
	{ "argsz 0xffffffff", ~0U, RW, 0, GUEST_IOVA * 3, PAGE, 0 },
	{ "flags 0", 0, 0, 0, GUEST_IOVA * 2, PAGE, -EINVAL },
	{ "unknown flag", 0, RW | 1 << 16, 0, GUEST_IOVA * 2, PAGE, -EINVAL, -EOPNOTSUPP },
	{ "size 0", 0, RW, 0, GUEST_IOVA * 2, 0, -EINVAL },
	{ "size misaligned", 0, RW, 0, GUEST_IOVA * 2, PAGE + 1, -EINVAL },
	{ "iova misaligned", 0, RW, 0, GUEST_IOVA * 2 + 8, PAGE, -EINVAL },
	{ "vaddr misaligned", 0, RW, 8, GUEST_IOVA * 2, PAGE, -EINVAL },
	{ "iova wraps", 0, RW, 0, -2 * PAGE, 3 * PAGE, WRAPS },
	{ "vaddr wraps", 0, RW, -2 * PAGE, GUEST_IOVA * 2, 3 * PAGE, WRAPS, 0, true },
	{ "wraps, two kinds of flags", 0, RW | VFIO_DMA_MAP_FLAG_VADDR, 0, -2 * PAGE, 3 * PAGE,
	  WRAPS },
	{ "two kinds of flags", 0, RW | VFIO_DMA_MAP_FLAG_VADDR, 0, GUEST_IOVA, PAGE, -EINVAL },
	{ "the last page of all", 0, RW, 0, -PAGE, PAGE, -EINVAL },
	{ "size of all", 0, RW, 0, 0, -PAGE, WRAPS },	/* vaddr does */
	{ "beyond the address width", 0, RW, 0, 1ULL << 60, PAGE, -EINVAL },
	{ "where interrupts go", 0, RW, 0, MSI_PAGE, PAGE, -EINVAL },
	{ "across where interrupts go", 0, RW, 0, MSI_PAGE - PAGE, 2 * PAGE, -EINVAL },
	{ "same again", 0, RW, 0, GUEST_IOVA, PAGE, -EEXIST },
	{ "overlap at the end", 0, RW, 0, GUEST_IOVA - PAGE, 2 * PAGE, -EEXIST },
	{ "overlap at the start", 0, RW, 0, GUEST_IOVA, 2 * PAGE, -EEXIST },
	{ "overlap around", 0, RW, 0, GUEST_IOVA - PAGE, 3 * PAGE, -EEXIST },
	{ "no memory at vaddr", 0, RW, PAGE, GUEST_IOVA * 2, PAGE, -EFAULT, 0, true },
	{ "adjacent is no overlap", 0, RW, 0, GUEST_IOVA + PAGE, PAGE, 0 },
};

static int run_map(const struct guest_vfio *g, const struct map_case *c, char *buffer)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = c->argsz ?: sizeof(map),
		.flags = c->flags,
		.vaddr = c->vaddr + (c->absolute ? 0 : (uintptr_t)buffer),
		.iova = c->iova,
		.size = c->size,
	};

	return guest_ioctl(g->container, VFIO_IOMMU_MAP_DMA, &map);
}

TEST_F(container, map_errors)
{
	bool pv = variant->type == VFIO_PV_IOMMU;
	size_t i;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	for (i = 0; i < ARRAY_SIZE(map_cases); i++) {
		const struct map_case *c = &map_cases[i];
		int want = pv && c->pv_ret ? c->pv_ret : c->ret;

		if (want == WRAPS)
			want = guest_wrap_error();
		EXPECT_EQ(want, run_map(&self->g, c, self->buffer)) {
			TH_LOG("%s", c->name);
		}
	}
	EXPECT_EQ(-EFAULT, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, NULL));
	/* After all that, the first mapping works as it did. */
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* An argument that is longer than we know: its tail is ignored. */
TEST_F(container, map_argsz_long)
{
	struct {
		struct vfio_iommu_type1_dma_map map;
		char more[64];
	} arg = {
		.map = {
			.argsz = sizeof(arg),
			.flags = RW,
			.vaddr = (uintptr_t)self->buffer,
			.iova = GUEST_IOVA,
			.size = PAGE,
		},
	};

	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, &arg));
	arg.map.iova += PAGE;
	memset(arg.more, 0xaa, sizeof(arg.more));
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, &arg));
}

TEST_F(container, map_not_writable)
{
	char *memory = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(-EFAULT, vfio_map_dma(self->g.container, GUEST_IOVA, memory, PAGE, true));
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, memory, PAGE, false));
}

/* A map that fails in the middle leaves nothing behind. */
TEST_F(container, map_fails_half_way)
{
	long locked = guest_locked_kb();

	ASSERT_EQ(0, munmap(self->buffer + 10 * PAGE, PAGE));
	EXPECT_EQ(-EFAULT, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer,
					BUFFER_SIZE, true));
	EXPECT_EQ(locked, guest_locked_kb());
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, 10 * PAGE, true));
}

/* ------------------------------------------------------------------ */
/* UNMAP_DMA */

struct unmap_case {
	const char *name;
	__u32 argsz;
	__u32 flags;
	__u64 iova;
	__u64 size;
	int ret;
	int pv_ret;
};

static const struct unmap_case unmap_cases[] = {
	{ "argsz short", 23, 0, GUEST_IOVA, PAGE, -EINVAL },
	{ "unknown flag", 0, 1 << 16, GUEST_IOVA, PAGE, -EINVAL, -EOPNOTSUPP },
	{ "size 0", 0, 0, GUEST_IOVA, 0, -EINVAL },
	{ "size misaligned", 0, 0, GUEST_IOVA, PAGE - 1, -EINVAL },
	{ "iova misaligned", 0, 0, GUEST_IOVA + 1, PAGE, -EINVAL },
	{ "wraps", 0, 0, -2 * PAGE, 3 * PAGE, WRAPS },
	{ "all, with iova", 0, VFIO_DMA_UNMAP_FLAG_ALL, GUEST_IOVA, 0, -EINVAL },
	{ "all, with size", 0, VFIO_DMA_UNMAP_FLAG_ALL, 0, PAGE, -EINVAL },
};

static int run_unmap(const struct guest_vfio *g, const struct unmap_case *c)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = c->argsz ?: sizeof(unmap),
		.flags = c->flags,
		.iova = c->iova,
		.size = c->size,
	};

	return guest_ioctl(g->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

TEST_F(container, unmap_errors)
{
	bool pv = variant->type == VFIO_PV_IOMMU;
	size_t i;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	for (i = 0; i < ARRAY_SIZE(unmap_cases); i++) {
		const struct unmap_case *c = &unmap_cases[i];
		int want = pv && c->pv_ret ? c->pv_ret : c->ret;

		if (want == WRAPS)
			want = guest_wrap_error();
		EXPECT_EQ(want, run_unmap(&self->g, c)) {
			TH_LOG("%s", c->name);
		}
	}
	EXPECT_EQ(-EFAULT, guest_ioctl(self->g.container, VFIO_IOMMU_UNMAP_DMA, NULL));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

TEST_F(container, unmap_argsz_long)
{
	struct {
		struct vfio_iommu_type1_dma_unmap unmap;
		char more[64];
	} arg = {
		.unmap = { .argsz = sizeof(arg), .iova = GUEST_IOVA, .size = PAGE },
	};

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(PAGE, arg.unmap.size);
	memset(arg.more, 0xaa, sizeof(arg.more));
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(0, arg.unmap.size);
}

TEST_F(container, unmap_sizes)
{
	__u64 removed = 1;

	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, 8 * PAGE, &removed));
	EXPECT_EQ(0, removed);

	/* Two mappings with a hole between them, and a larger range around */
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA + 3 * PAGE, self->buffer,
				  2 * PAGE, true));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA - PAGE, 16 * PAGE, &removed));
	EXPECT_EQ(3 * PAGE, removed);
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA - PAGE, 16 * PAGE, &removed));
	EXPECT_EQ(0, removed);
}

/* Version 2 refuses to cut a mapping; version 1 unmaps all of it, or nothing. */
TEST_F(container, unmap_cuts)
{
	bool v1 = variant->type == VFIO_TYPE1_IOMMU;
	__u64 removed = 1;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, 4 * PAGE, true));
	EXPECT_EQ(v1 ? 0 : -EINVAL, vfio_unmap_dma(self->g.container, GUEST_IOVA + PAGE,
						   PAGE, &removed));
	EXPECT_EQ(v1 ? 0 : -EINVAL, vfio_unmap_dma(self->g.container, GUEST_IOVA + 3 * PAGE,
						   2 * PAGE, &removed));
	EXPECT_EQ(v1 ? 0 : 1, removed);
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + PAGE, self->buffer + PAGE,
			       &self->window));

	EXPECT_EQ(v1 ? 0 : -EINVAL, vfio_unmap_dma(self->g.container, GUEST_IOVA, 2 * PAGE,
						   &removed));
	EXPECT_EQ(v1 ? 4 * PAGE : 1, removed);
	EXPECT_EQ(v1 ? 1 : 0, dma_refused(&self->g.dev, GUEST_IOVA + 3 * PAGE,
					  self->buffer + 3 * PAGE, &self->window));
}

TEST_F(container, unmap_all)
{
	long locked = guest_locked_kb();
	__u64 removed;
	int i;

	for (i = 0; i < BUFFER_PAGES; i++)
		ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA + 2 * i * PAGE,
					  self->buffer + i * PAGE, PAGE, true));
	ASSERT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + 6 * PAGE, self->buffer + 3 * PAGE,
			       &self->window));
	EXPECT_EQ(locked + (long)(BUFFER_SIZE >> 10), guest_locked_kb());

	EXPECT_EQ(0, guest_unmap(&self->g, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &removed));
	EXPECT_EQ(BUFFER_SIZE + PAGE, removed);		/* the window too */
	EXPECT_EQ(locked - 4, guest_locked_kb());

	guest_memory_free(self->window.memory, PAGE);
	guest_setup_window(&self->g, &self->window);
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA + 6 * PAGE, self->buffer + 3 * PAGE,
				 &self->window));
}

/* ------------------------------------------------------------------ */
/* What the container tells about itself */

struct info {
	struct vfio_iommu_type1_info head;
	char caps[4096 - sizeof(struct vfio_iommu_type1_info)];
};

static int get_info(const struct guest_vfio *g, struct info *info, __u32 argsz)
{
	memset(info, 0, sizeof(*info));
	info->head.argsz = argsz;
	return guest_ioctl(g->container, VFIO_IOMMU_GET_INFO, info);
}

/* Capability @id, or NULL; the chain is walked within bounds. */
static const void *find_cap(const struct info *info, __u16 id)
{
	const struct vfio_info_cap_header *cap;
	__u32 at = info->head.cap_offset;
	int i;

	for (i = 0; at && i < 16; at = cap->next, i++) {
		if (at < sizeof(info->head) || at > sizeof(*info) - sizeof(*cap))
			return NULL;
		cap = (const void *)((const char *)info + at);
		if (cap->id == id)
			return cap;
	}
	return NULL;
}

TEST_F(container, info_argsz)
{
	const __u32 min = offsetof(struct vfio_iommu_type1_info, iova_pgsizes) + sizeof(__u64);
	struct info info;
	__u32 need;

	EXPECT_EQ(-EINVAL, get_info(&self->g, &info, min - 1));
	EXPECT_EQ(0, get_info(&self->g, &info, min));
	EXPECT_TRUE(info.head.iova_pgsizes & PAGE);
	EXPECT_EQ(0, info.head.cap_offset);

	/* Too small for the capabilities: told how much it takes */
	EXPECT_EQ(0, get_info(&self->g, &info, sizeof(info.head)));
	EXPECT_EQ(0, info.head.cap_offset);
	EXPECT_LT(sizeof(info.head), info.head.argsz);
	need = info.head.argsz;
	ASSERT_LE(need, sizeof(info));
	EXPECT_EQ(0, get_info(&self->g, &info, need));
	EXPECT_EQ(sizeof(info.head), info.head.cap_offset);
	EXPECT_EQ(0, info.caps[need - sizeof(info.head)]);
	EXPECT_EQ(-EFAULT, guest_ioctl(self->g.container, VFIO_IOMMU_GET_INFO, NULL));
}

TEST_F(container, info_ranges)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct info info;
	__u32 i;

	ASSERT_EQ(0, get_info(&self->g, &info, sizeof(info)));
	EXPECT_TRUE(info.head.flags & VFIO_IOMMU_INFO_PGSIZES);
	EXPECT_TRUE(info.head.flags & VFIO_IOMMU_INFO_CAPS);
	cap = find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	EXPECT_EQ(1, cap->header.version);
	ASSERT_LE(1, cap->nr_iovas);
	for (i = 0; i < cap->nr_iovas; i++) {
		__u64 start = cap->iova_ranges[i].start, last = cap->iova_ranges[i].end;

		EXPECT_LT(start, last);
		if (i)
			EXPECT_GT(start, cap->iova_ranges[i - 1].end);
		/* Not where interrupts go */
		EXPECT_TRUE(last < MSI_PAGE || start > MSI_PAGE);
		/* What it says can be mapped can be mapped. */
		EXPECT_EQ(0, vfio_map_dma(self->g.container, start, self->buffer, PAGE, true));
		EXPECT_EQ(0, vfio_map_dma(self->g.container, last + 1 - PAGE, self->buffer, PAGE,
					  true));
	}
}

static long long available(const struct guest_vfio *g)
{
	const struct vfio_iommu_type1_info_dma_avail *cap;
	struct info info;

	if (get_info(g, &info, sizeof(info)))
		return -1;
	cap = find_cap(&info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	return cap ? (long long)cap->avail : -1;
}

TEST_F(container, info_available)
{
	long long before = available(&self->g);

	ASSERT_LT(0, before);
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA * 2, self->buffer, 2 * PAGE, true));
	EXPECT_EQ(before - 2, available(&self->g));
	EXPECT_EQ(-EEXIST, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	EXPECT_EQ(before - 2, available(&self->g));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA * 2, 2 * PAGE, NULL));
	EXPECT_EQ(before, available(&self->g));
}

TEST_F(container, extensions)
{
	int fd = self->g.container;

	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL));
	EXPECT_EQ(guest_has_backend(), ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_PV_IOMMU));
	EXPECT_EQ(0, ioctl(fd, VFIO_CHECK_EXTENSION, 0x7777));
	EXPECT_EQ(-ENOTTY, guest_ioctl(fd, _IO(VFIO_TYPE, VFIO_BASE + 99), NULL));
	EXPECT_EQ(VFIO_API_VERSION, ioctl(fd, VFIO_GET_API_VERSION));
}

/* The extensions that a container offers before it has a type */
TEST(extensions_of_empty_container)
{
	int fd = vfio_container_open();

	ASSERT_LE(0, fd);
	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(guest_has_backend(), ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_PV_IOMMU));
	EXPECT_EQ(0, ioctl(fd, VFIO_CHECK_EXTENSION, 0x7777));
	EXPECT_GT(0, ioctl(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	close(fd);
}

TEST_HARNESS_MAIN
