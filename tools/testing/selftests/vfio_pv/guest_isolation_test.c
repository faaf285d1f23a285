// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two devices: in a container each, together in one container, and one that moves in and out
 * of its domain while the other one does DMA.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/pv_iommu.h>

#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE

FIXTURE(two)
{
	struct guest_vfio a, b;
	struct dma_window window_a, window_b;
	char *memory_a, *memory_b;
};

FIXTURE_VARIANT(two)
{
	unsigned int type;
};

FIXTURE_VARIANT_ADD(two, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(two, pv)
{
	.type = VFIO_PV_IOMMU,
};

FIXTURE_SETUP(two)
{
	guest_setup(&self->a, variant->type, 0);
	guest_setup(&self->b, variant->type, 1);
	guest_setup_window(&self->a, &self->window_a);
	guest_setup_window(&self->b, &self->window_b);
	self->memory_a = guest_memory(PAGE);
	self->memory_b = guest_memory(PAGE);
	ASSERT_NE(NULL, self->memory_a);
	ASSERT_NE(NULL, self->memory_b);
}

FIXTURE_TEARDOWN(two)
{
	guest_vfio_close(&self->b);
	guest_vfio_close(&self->a);
}

TEST_F(two, each_sees_its_own)
{
	ASSERT_EQ(0, vfio_map_dma(self->a.container, GUEST_IOVA, self->memory_a, PAGE, true));
	EXPECT_EQ(1, dma_works(&self->a.dev, GUEST_IOVA, self->memory_a, &self->window_a));
	EXPECT_EQ(1, dma_refused(&self->b.dev, GUEST_IOVA, self->memory_a, &self->window_b));

	/* The same IOVA leads each device to its own memory. */
	ASSERT_EQ(0, vfio_map_dma(self->b.container, GUEST_IOVA, self->memory_b, PAGE, true));
	EXPECT_EQ(1, dma_works(&self->b.dev, GUEST_IOVA, self->memory_b, &self->window_b));
	EXPECT_EQ(1, dma_works(&self->a.dev, GUEST_IOVA, self->memory_a, &self->window_a));

	ASSERT_EQ(0, vfio_unmap_dma(self->a.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_EQ(1, dma_refused(&self->a.dev, GUEST_IOVA, self->memory_a, &self->window_a));
	EXPECT_EQ(1, dma_works(&self->b.dev, GUEST_IOVA, self->memory_b, &self->window_b));
}

/* Closing one container does not affect the other one. */
TEST_F(two, close_one)
{
	ASSERT_EQ(0, vfio_map_dma(self->b.container, GUEST_IOVA, self->memory_b, PAGE, true));
	guest_vfio_close(&self->a);
	EXPECT_EQ(1, dma_works(&self->b.dev, GUEST_IOVA, self->memory_b, &self->window_b));
}

/* A device that joins a container reaches what was mapped before. */
TEST_F(two, join_one_container)
{
	char bdf[16];

	strcpy(bdf, self->b.dev.bdf);
	guest_vfio_close(&self->b);
	ASSERT_EQ(0, vfio_map_dma(self->a.container, GUEST_IOVA, self->memory_a, PAGE, true));
	ASSERT_EQ(0, guest_vfio_join(&self->b, &self->a, bdf));
	EXPECT_EQ(1, dma_works(&self->b.dev, GUEST_IOVA, self->memory_a, &self->window_a));
	EXPECT_EQ(1, dma_works(&self->a.dev, GUEST_IOVA, self->memory_a, &self->window_a));

	/* The first device leaves, the mappings stay. */
	vfio_dev_close(&self->a.dev);
	close(self->a.dev.group);
	self->a.dev.group = -1;
	EXPECT_EQ(1, dma_works(&self->b.dev, GUEST_IOVA, self->memory_a, &self->window_a));
	ASSERT_EQ(0, vfio_unmap_dma(self->a.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_EQ(1, dma_refused(&self->b.dev, GUEST_IOVA, self->memory_a, &self->window_a));
}

/*
 * A user who was given a device can write to the registers of the interface in its config
 * space. That must neither stop the interface nor start another one.
 */
TEST_F(two, registers_are_not_the_users)
{
	unsigned int cap = guest_find_capability(&self->a.dev), i;
	__u32 running;

	ASSERT_NE(0, cap);
	running = vfio_config_read32(&self->a.dev, cap + PVIOMMU_CAP_CONTROL_OFF);
	ASSERT_EQ(PVIOMMU_STATE_RUNNING, PVIOMMU_CONTROL_STATE(running));
	ASSERT_EQ(0, vfio_map_dma(self->b.container, GUEST_IOVA, self->memory_b, PAGE, true));

	for (i = 0; i < 3; i++) {
		vfio_config_write32(&self->a.dev, cap + PVIOMMU_CAP_GPA_LO_OFF, i << 12);
		vfio_config_write32(&self->a.dev, cap + PVIOMMU_CAP_GPA_HI_OFF, 0);
		vfio_config_write32(&self->a.dev, cap + PVIOMMU_CAP_CONTROL_OFF, i);
		vfio_config_write32(&self->a.dev, cap + PVIOMMU_CAP_DOORBELL_OFF,
				    PVIOMMU_DOORBELL(i));
	}
	running = vfio_config_read32(&self->a.dev, cap + PVIOMMU_CAP_CONTROL_OFF);
	EXPECT_EQ(PVIOMMU_STATE_RUNNING, PVIOMMU_CONTROL_STATE(running));
	EXPECT_EQ(1, dma_refused(&self->a.dev, GUEST_IOVA, self->memory_a, &self->window_a));
	EXPECT_EQ(1, dma_works(&self->b.dev, GUEST_IOVA, self->memory_b, &self->window_b));
}

/* ------------------------------------------------------------------ */
/* One device does DMA all the time, the other one enters and leaves its domain. */

#define MOVE_SECONDS	15

/* Return: 0 if all went well */
static int dma_loop(unsigned int type, unsigned int nr, time_t end)
{
	struct dma_window window = { GUEST_IOVA_WINDOW, guest_memory(PAGE) };
	char *memory = guest_memory(PAGE), bdf[16];
	struct guest_vfio g;

	if (guest_find_edu(nr, bdf) || guest_vfio_open(&g, type, bdf) ||
	    vfio_map_dma(g.container, window.iova, window.memory, PAGE, true))
		return 1;
	while (time(NULL) < end) {
		if (vfio_map_dma(g.container, GUEST_IOVA, memory, PAGE, true))
			return 2;
		if (dma_works(&g.dev, GUEST_IOVA, memory, &window) != 1)
			return 3;
		if (vfio_unmap_dma(g.container, GUEST_IOVA, PAGE, NULL))
			return 4;
	}
	return 0;
}

/* Open and close a container; sometimes with DMA; always with memory that is still mapped. */
static int move_loop(unsigned int type, unsigned int nr, time_t end, int *rounds)
{
	struct dma_window window = { GUEST_IOVA_WINDOW, guest_memory(PAGE) };
	char *memory = guest_scattered(64 * PAGE), bdf[16];
	struct guest_vfio g;

	if (guest_find_edu(nr, bdf))
		return 1;
	for (*rounds = 0; time(NULL) < end; (*rounds)++) {
		if (guest_vfio_open(&g, type, bdf))
			return 2;
		if (vfio_map_dma(g.container, window.iova, window.memory, PAGE, true) ||
		    vfio_map_dma(g.container, GUEST_IOVA, memory, 64 * PAGE, true))
			return 3;
		if (*rounds % 8 == 0 &&
		    dma_works(&g.dev, GUEST_IOVA + 63 * PAGE, memory + 63 * PAGE, &window) != 1)
			return 4;
		guest_vfio_close(&g);
	}
	return 0;
}

TEST(move_under_load)
{
	time_t end = time(NULL) + MOVE_SECONDS;
	char bdf[16];
	int rounds, status;
	pid_t child;

	if (guest_find_edu(1, bdf))
		SKIP(return, "needs 2 edu devices bound to vfio-pci");
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(dma_loop(VFIO_TYPE1v2_IOMMU, 0, end));
	EXPECT_EQ(0, move_loop(VFIO_TYPE1v2_IOMMU, 1, end, &rounds));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	TH_LOG("%d moves", rounds);
	EXPECT_LT(1, rounds);
}

TEST_HARNESS_MAIN
