// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO_PV_MAP_FLAG_FOREIGN where nothing was granted: each refusal, its errno, and that it
 * leaves nothing. With grants: guest_lent_test.
 */
#include <stdint.h>
#include <sys/mman.h>

#include "lib/guest_test.h"
#include "lib/nobody.h"

#define READ	VFIO_DMA_MAP_FLAG_READ
#define WRITE	VFIO_DMA_MAP_FLAG_WRITE
#define FOREIGN	VFIO_PV_MAP_FLAG_FOREIGN

#define OTHER_VM	77
#define GPA		0x100000ULL

FIXTURE(foreign)
{
	struct guest_vfio g;
	struct vfiopv c;
	struct vfio_pv_dma_map map;
};

FIXTURE_SETUP(foreign)
{
	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	self->c = (struct vfiopv) { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	self->map = (struct vfio_pv_dma_map) {
		.argsz = sizeof(self->map),
		.flags = FOREIGN | READ | WRITE,
		.vaddr = GPA,
		.iova = GUEST_IOVA,
		.size = 4 * GUEST_PAGE,
		.vm = OTHER_VM,
	};
}

FIXTURE_TEARDOWN(foreign)
{
	guest_vfio_close(&self->g);
}

static int map(int container, struct vfio_pv_dma_map arg)
{
	return guest_ioctl(container, VFIO_IOMMU_MAP_DMA, &arg);
}

TEST_F(foreign, is_told_of)
{
	struct vfio_pv_info_cap_limits limits;

	ASSERT_EQ(0, vfiopv_limits(&self->c, &limits));
	EXPECT_EQ(2, limits.header.version);
	EXPECT_TRUE(limits.features & VFIO_PV_INFO_FOREIGN);
}

/* The errno does not tell which VMs and which memory there are */
TEST_F(foreign, nothing_without_a_grant)
{
	static const __u32 vms[] = { 1, 2, 3, OTHER_VM, 0x7fffffff, 0xffffffff };
	static const __u64 gpas[] = { 0, GPA, 0x7ff00000, 1ULL << 40, 1ULL << 51 };
	struct guest_stats before, after;
	struct vfio_pv_dma_map arg = self->map;
	unsigned int i, j;

	ASSERT_EQ(0, guest_stats(&before));
	for (i = 0; i < ARRAY_SIZE(vms); i++) {
		for (j = 0; j < ARRAY_SIZE(gpas); j++) {
			arg.vm = vms[i];
			arg.vaddr = gpas[j];
			EXPECT_EQ(-EACCES, map(self->g.container, arg));
			arg.flags = FOREIGN | READ;
			EXPECT_EQ(-EACCES, map(self->g.container, arg));
			arg.flags = self->map.flags;
		}
	}
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(before.pages_pinned, after.pages_pinned);
	EXPECT_EQ(before.mappings, after.mappings);
	/* Nothing is mapped at these IOVAs */
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, guest_memory(GUEST_PAGE),
				  GUEST_PAGE, true));
}

TEST_F(foreign, bad_values)
{
	struct vfio_pv_dma_map bad = self->map;
	int fd = self->g.container;

	bad.vm = 0;
	EXPECT_EQ(-EINVAL, map(fd, bad));
	bad = self->map;
	bad.reserved = 1;
	EXPECT_EQ(-EINVAL, map(fd, bad));
	bad = self->map;
	bad.flags = FOREIGN;
	EXPECT_EQ(-EINVAL, map(fd, bad));
	bad = self->map;
	bad.flags |= VFIO_DMA_MAP_FLAG_VADDR;
	EXPECT_EQ(-EINVAL, map(fd, bad));
	bad = self->map;
	bad.flags |= 1U << 30;
	EXPECT_EQ(-EOPNOTSUPP, map(fd, bad));
	bad = self->map;
	bad.vaddr += 8;
	EXPECT_EQ(-EINVAL, map(fd, bad));
	bad = self->map;
	bad.vaddr = -GUEST_PAGE;
	EXPECT_EQ(guest_wrap_error(), map(fd, bad));
	bad = self->map;
	bad.size = 0;
	EXPECT_EQ(-EINVAL, map(fd, bad));
	bad = self->map;
	bad.iova = -GUEST_PAGE;
	EXPECT_EQ(guest_wrap_error(), map(fd, bad));
}

/* An argument as short as that of type 1 has no room for the VM. */
TEST_F(foreign, sizes_of_the_argument)
{
	struct {
		struct vfio_pv_dma_map map;
		__u64 more;
	} longer = { .map = self->map };
	unsigned char *pages;
	int fd = self->g.container;

	self->map.argsz = sizeof(struct vfio_iommu_type1_dma_map);
	EXPECT_EQ(-EINVAL, map(fd, self->map));
	self->map.argsz = sizeof(self->map) - 1;
	EXPECT_EQ(-EINVAL, map(fd, self->map));
	longer.map.argsz = sizeof(longer);
	EXPECT_EQ(-EACCES, guest_ioctl(fd, VFIO_IOMMU_MAP_DMA, &longer));
	longer.more = 1;
	EXPECT_EQ(-E2BIG, guest_ioctl(fd, VFIO_IOMMU_MAP_DMA, &longer));
	/* Half of it can't be read */
	pages = mmap(NULL, 2 * GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + GUEST_PAGE, GUEST_PAGE));
	pages += GUEST_PAGE - sizeof(struct vfio_iommu_type1_dma_map);
	self->map.argsz = sizeof(self->map);
	memcpy(pages, &self->map, sizeof(struct vfio_iommu_type1_dma_map));
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_IOMMU_MAP_DMA, pages));
}

TEST_F(foreign, is_not_for_everybody)
{
	EXPECT_TRUE(nobody_sees(map(self->g.container, self->map) == -EPERM));
}

/* A batch goes on behind a refused entry, whose IOVAs stay free */
TEST_F(foreign, in_a_batch)
{
	unsigned char *memory = guest_memory(2 * GUEST_PAGE);
	struct vfio_pv_batch_entry entry[3] = {
		{ .iova = GUEST_IOVA, .vaddr = (uintptr_t)memory, .size = GUEST_PAGE,
		  .flags = READ | WRITE },
		{ .iova = GUEST_IOVA + GUEST_PAGE, .vaddr = GPA, .size = GUEST_PAGE,
		  .flags = FOREIGN | READ, .vm = OTHER_VM },
		{ .iova = GUEST_IOVA + 2 * GUEST_PAGE, .vaddr = (uintptr_t)memory + GUEST_PAGE,
		  .size = GUEST_PAGE, .flags = READ | WRITE },
	};
	struct dma_window window;

	ASSERT_NE(NULL, memory);
	guest_setup_window(&self->g, &window);
	EXPECT_EQ(2, vfiopv_map_many(&self->c, entry, 3, VFIO_PV_BATCH_FLAG_CONTINUE));
	EXPECT_EQ(0, entry[0].result);
	EXPECT_EQ(-EACCES, entry[1].result);
	EXPECT_EQ(0, entry[2].result);
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, memory, &window));
	EXPECT_EQ(1, dma_works(&self->g.dev, entry[2].iova, memory + GUEST_PAGE, &window));
	entry[1].vm = 0;
	EXPECT_EQ(0, vfiopv_map_many(&self->c, entry + 1, 1, 0));
	EXPECT_EQ(-EINVAL, entry[1].result);
	EXPECT_EQ(0, vfio_map_dma(self->g.container, entry[1].iova, memory, GUEST_PAGE, true));
}

/* Type 1 has no such flag */
TEST(type1)
{
	struct vfio_pv_dma_map arg = {
		.argsz = sizeof(arg),
		.flags = FOREIGN | READ,
		.vaddr = GPA,
		.iova = GUEST_IOVA,
		.size = GUEST_PAGE,
		.vm = OTHER_VM,
	};
	struct vfiopv c = { .type = VFIO_TYPE1v2_IOMMU };
	struct guest_vfio g;

	guest_setup(&g, VFIO_TYPE1v2_IOMMU, 0);
	EXPECT_EQ(-EINVAL, map(g.container, arg));
	c.fd = g.container;
	EXPECT_EQ(-EOPNOTSUPP, vfiopv_map_foreign(&c, GUEST_IOVA, OTHER_VM, GPA, GUEST_PAGE, READ));
	guest_vfio_close(&g);
}

TEST_HARNESS_MAIN
