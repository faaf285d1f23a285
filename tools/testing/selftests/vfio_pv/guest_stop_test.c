// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface stops beneath a VFIO user, or starts again: what was mapped comes
 * back or leads nowhere, what can't be flushed stays pinned, and all works
 * afterwards.
 *
 * Root can stop the interface by its cookie, as a driver of another kernel would,
 * and start it again by a file in debugfs. host_limits.sh lowers limits of the
 * host on demand; needs pvvm's --share for that.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include <linux/pv_iommu.h>

#include "lib/edu.h"
#include "lib/guest_test.h"
#include "lib/pv_sys.h"

#define PAGE		GUEST_PAGE
#define COOKIE		"/sys/module/pviommu_guest/parameters/cookie"
#define RESTART		"/sys/kernel/debug/pv-iommu/restart"
/* Doorbells after which a host that is not there must have been given up */
#define KICKS_MAX	64

FIXTURE(stop)
{
	struct guest_vfio g;
	struct dma_window window;
	char *memory;
};

FIXTURE_VARIANT(stop)
{
	unsigned int type;
};

FIXTURE_VARIANT_ADD(stop, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(stop, pv)
{
	.type = VFIO_PV_IOMMU,
};

FIXTURE_SETUP(stop)
{
	if (access(RESTART, W_OK))
		SKIP(return, "needs root, and pv-iommu with debugfs");
	guest_setup(&self->g, variant->type, 0);
	guest_setup_window(&self->g, &self->window);
	self->memory = guest_memory(PAGE);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(stop)
{
	guest_vfio_close(&self->g);
}

static int restart(void)
{
	int fd = open(RESTART, O_WRONLY | O_CLOEXEC);
	int ret = write(fd, "1", 1) == 1 ? 0 : -errno;

	close(fd);
	return ret;
}

static unsigned long long cookie(void)
{
	FILE *file = fopen(COOKIE, "re");
	unsigned long long value = 0;

	if (file && fscanf(file, "%llu", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	return value;
}

/* Stop the interface behind the driver's back; is it stopped */
static bool stop_interface(const struct vfio_dev *dev)
{
	unsigned int cap = guest_find_capability(dev);
	unsigned long long secret = cookie();
	__u32 control;

	vfio_config_write32(dev, cap + PVIOMMU_CAP_GPA_LO_OFF, secret);
	vfio_config_write32(dev, cap + PVIOMMU_CAP_GPA_HI_OFF, secret >> 32);
	vfio_config_write32(dev, cap + PVIOMMU_CAP_CONTROL_OFF, PVIOMMU_CMD_RESET);
	control = vfio_config_read32(dev, cap + PVIOMMU_CAP_CONTROL_OFF);
	return cap && secret && PVIOMMU_CONTROL_STATE(control) == PVIOMMU_STATE_STOPPED;
}

/* Pages that are pinned in this machine, for DMA and the like; -1: not counted */
static long long pinned(void)
{
	long long acquired = -1, released = 0, value;
	char name[64];
	FILE *file;

	/* The CPUs count for themselves, and add that up only when asked to */
	pv_write_file("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/vmstat", "re");

	while (file && fscanf(file, "%63s %lld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	if (file)
		fclose(file);
	return acquired < 0 ? -1 : acquired - released;
}

static __u64 physical(const void *memory)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (pread(fd, &entry, sizeof(entry), (unsigned long)memory / PAGE * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

/* Have the host level set a limit; is it done */
static bool host_limit(const char *name, const char *value)
{
	const char *share = getenv("PVVM_SHARE");
	char ask[256], tmp[256];
	FILE *file;
	int i;

	if (!share || !*share)
		return false;
	snprintf(ask, sizeof(ask), "%s/limit-ask", share);
	snprintf(tmp, sizeof(tmp), "%s/limit-ask.new", share);
	file = fopen(tmp, "we");
	if (!file)
		return false;
	fprintf(file, "%s %s\n", name, value);
	fclose(file);
	if (rename(tmp, ask))
		return false;
	/* It is taken away when it has been done */
	for (i = 0; i < 300 && !access(ask, F_OK); i++)
		usleep(100000);
	return access(ask, F_OK);
}

/* A user who begins anew finds all in order */
static int works_again(unsigned int type)
{
	struct dma_window window = { GUEST_IOVA_WINDOW, guest_memory(PAGE) };
	char *memory = guest_memory(PAGE), bdf[16];
	struct guest_vfio g;
	int ret;

	ret = guest_find_edu(0, bdf) ?: guest_vfio_open(&g, type, bdf);
	if (ret)
		return ret;
	ret = vfio_map_dma(g.container, window.iova, window.memory, PAGE, true) ?:
	      vfio_map_dma(g.container, GUEST_IOVA, memory, PAGE, true) ?:
	      dma_works(&g.dev, GUEST_IOVA, memory, &window);
	guest_vfio_close(&g);
	return ret;
}

TEST_F(stop, mappings_come_back)
{
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	ASSERT_EQ(0, restart());
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->memory, &self->window));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->memory, &self->window));
}

/* Nobody can say that the device does not reach the page: it is never given back */
TEST_F(stop, not_flushed_not_unpinned)
{
	long long before;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	before = pinned();
	if (before < 0)
		SKIP(return, "this kernel does not count what is pinned");
	ASSERT_TRUE(stop_interface(&self->g.dev));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_LE(before, pinned());
	ASSERT_EQ(0, restart());
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->memory, &self->window));
}

/* The user leaves a domain that the host does not let it leave */
TEST_F(stop, closed_while_stopped)
{
	struct guest_stats from, to;
	char bdf[16];

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	ASSERT_EQ(0, guest_stats(&from));
	ASSERT_TRUE(stop_interface(&self->g.dev));
	EXPECT_EQ(-EIO, vfio_map_dma(self->g.container, GUEST_IOVA + PAGE, self->memory, PAGE,
				     true));
	ASSERT_EQ(0, guest_stats(&to));
	EXPECT_GE(KICKS_MAX, guest_kicks(&from, &to));

	strcpy(bdf, self->g.dev.bdf);
	guest_vfio_close(&self->g);
	EXPECT_NE(0, guest_vfio_open(&self->g, variant->type, bdf));
	guest_vfio_close(&self->g);
	ASSERT_EQ(0, restart());
	EXPECT_EQ(1, works_again(variant->type));
}

/* A domain that can't be made again is no reason to leave the device in bypass */
TEST_F(stop, blocked_without_domain)
{
	char before[64];
	int ret;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	if (!host_limit("max_domains", "0"))
		SKIP(return, "needs host_limits.sh at the host level");
	dma_pattern(self->window.memory, sizeof(before));
	ASSERT_TRUE(edu_from_ram(&self->g.dev, self->window.iova, 0, sizeof(before)));
	dma_pattern(self->memory, sizeof(before));
	memcpy(before, self->memory, sizeof(before));

	ret = restart();
	ASSERT_TRUE(host_limit("max_domains", "1024"));
	EXPECT_NE(0, ret);
	ASSERT_NE(0, physical(self->memory));
	EXPECT_TRUE(edu_to_ram(&self->g.dev, GUEST_IOVA, 0, sizeof(before)));
	EXPECT_EQ(0, memcmp(before, self->memory, sizeof(before)));
	EXPECT_TRUE(edu_to_ram(&self->g.dev, physical(self->memory), 0, sizeof(before)));
	EXPECT_EQ(0, memcmp(before, self->memory, sizeof(before)));

	guest_vfio_close(&self->g);
	ASSERT_EQ(0, restart());
	EXPECT_EQ(1, works_again(variant->type));
}

TEST_HARNESS_MAIN
