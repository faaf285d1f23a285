// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every failure that there can be in the guest's kernel, one after the other: each allocation
 * and each copy on the way of what a container and its groups are told is made to fail once.
 * What fails leaves all as it was, at the host too. What iommufd is told, see
 * guest_iommufd_test; needs a kernel that can be made to fail.
 */
#include "lib/guest_fault.h"

#define PAGE	GUEST_PAGE
#define SIZE	(200 * PAGE)
#define LONG	600

FIXTURE(fault)
{
	struct guest_vfio g;
	struct dma_window window;
	char *buffer;
};

FIXTURE_SETUP(fault)
{
	const char *missing = pv_fault_missing();

	if (missing)
		SKIP(return, "%s", missing);
	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	guest_setup_window(&self->g, &self->window);
	self->buffer = guest_scattered(SIZE);
	ASSERT_NE(NULL, self->buffer);
	ASSERT_TRUE(pv_fault_begin_kernel());
}

FIXTURE_TEARDOWN(fault)
{
	guest_vfio_close(&self->g);
}

#define map()	vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true)
#define unmap()	vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE, NULL)
#define works()	dma_works(&self->g.dev, GUEST_IOVA + SIZE - PAGE, self->buffer + SIZE - PAGE, \
			  &self->window)

TEST_F_TIMEOUT(fault, map, LONG)
{
	guest_each_failure("MAP_DMA", 1, map(), EXPECT_EQ(0, unmap()));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, map());
	EXPECT_EQ(1, works());
}

/* There is nothing in it that can fail */
TEST_F_TIMEOUT(fault, unmap, LONG)
{
	ASSERT_EQ(0, map());
	guest_each_failure("UNMAP_DMA", 0, unmap(), EXPECT_EQ(0, map()));
	EXPECT_EQ(1, works());
}

/* The group of the second device, which is in no container */
static int second_group(char bdf[16])
{
	return guest_find_edu(1, bdf) ? -ENODEV : vfio_group_open(bdf);
}

static int leave(int group)
{
	return guest_ioctl(group, VFIO_GROUP_UNSET_CONTAINER, NULL);
}

/* A second device is attached to what is mapped already */
TEST_F_TIMEOUT(fault, join, LONG)
{
	struct guest_vfio second;
	char bdf[16];
	int group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	ASSERT_EQ(0, map());
	guest_each_failure("SET_CONTAINER", 5,
			   vfio_group_set_container(group, self->g.container),
			   EXPECT_EQ(0, leave(group)));
	close(group);
	EXPECT_EQ(1, works());
	ASSERT_EQ(0, guest_vfio_join(&second, &self->g, bdf));
	EXPECT_EQ(1, dma_works(&second.dev, GUEST_IOVA, self->buffer, &self->window));
	guest_vfio_close(&second);
}

/* To leave is done whatever fails */
TEST_F_TIMEOUT(fault, leave, LONG)
{
	char bdf[16];
	int group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	ASSERT_EQ(0, map());
	ASSERT_EQ(0, vfio_group_set_container(group, self->g.container));
	guest_each_failure("UNSET_CONTAINER", 0, leave(group), {
		EXPECT_EQ(0, vfio_group_set_container(group, self->g.container));
	});
	close(group);
	EXPECT_EQ(1, works());
}

/* The first group of a container, for which a domain is made */
TEST_F_TIMEOUT(fault, set_iommu, LONG)
{
	char bdf[16];
	int container, group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	container = vfio_container_open();
	ASSERT_LE(0, container);
	ASSERT_EQ(0, vfio_group_set_container(group, container));
	guest_each_failure("SET_IOMMU", 5,
			   guest_ioctl(container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU), {
		EXPECT_EQ(0, leave(group));
		EXPECT_EQ(0, vfio_group_set_container(group, container));
	});
	EXPECT_EQ(0, guest_ioctl(container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU));
	close(group);
	close(container);
}

static int log_dirty(int container, __u32 flag)
{
	struct vfio_iommu_type1_dirty_bitmap arg = { sizeof(arg), flag };

	return guest_ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

TEST_F_TIMEOUT(fault, dirty_log, LONG)
{
	ASSERT_EQ(0, map());
	guest_each_failure("DIRTY_PAGES", 1,
			   log_dirty(self->g.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
			   EXPECT_EQ(0, log_dirty(self->g.container,
						  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP)));
	EXPECT_EQ(1, works());
}

TEST_HARNESS_MAIN
