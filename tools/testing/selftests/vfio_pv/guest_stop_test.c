// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface stops while a VFIO user is at work, or is restarted. Mappings come back or lead
 * nowhere, what can't be flushed stays pinned, and everything works afterwards.
 *
 * Root can stop the interface by its cookie, as a driver of another kernel would, and start it
 * again by a file in debugfs. host_limits.sh changes limits of the host on request, which takes
 * pvvm's --share.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <linux/pv_iommu.h>

#include "lib/edu.h"
#include "lib/guest_balloon.h"
#include "lib/guest_iface.h"
#include "lib/guest_ram.h"
#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE
#define SOME		4	/* pages */
/* A driver must give up a host that does not answer after so many doorbells */
#define KICKS_MAX	64
#define NOT_COUNTED	"this kernel does not count what is pinned"

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
	if (access(IFACE_RESTART, W_OK))
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

/* Whether a new user finds everything in order */
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
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->memory, &self->window));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->memory, &self->window));
}

/* The device may still reach the page, which can't be flushed: so it is not unpinned */
TEST_F(stop, not_flushed_not_unpinned)
{
	long long before;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	before = ram_pinned();
	if (before < 0)
		SKIP(return, NOT_COUNTED);
	ASSERT_TRUE(iface_stop(&self->g.dev));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_LE(before, ram_pinned());
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->memory, &self->window));
}

/* The user closes everything while the host can't be told to detach the device */
TEST_F(stop, closed_while_stopped)
{
	struct guest_stats from, to;
	char bdf[16];

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	ASSERT_EQ(0, guest_stats(&from));
	ASSERT_TRUE(iface_stop(&self->g.dev));
	EXPECT_EQ(-EIO, vfio_map_dma(self->g.container, GUEST_IOVA + PAGE, self->memory, PAGE,
				     true));
	ASSERT_EQ(0, guest_stats(&to));
	EXPECT_GE(KICKS_MAX, guest_kicks(&from, &to));

	strcpy(bdf, self->g.dev.bdf);
	guest_vfio_close(&self->g);
	EXPECT_NE(0, guest_vfio_open(&self->g, variant->type, bdf));
	guest_vfio_close(&self->g);
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(1, works_again(variant->type));
}

/* Stop the interface, and have the driver find out: what it maps then may stay pinned */
static bool stop_and_tell(const struct guest_vfio *g, char *memory)
{
	return iface_stop(&g->dev) &&
	       vfio_map_dma(g->container, GUEST_IOVA, memory, PAGE, true) == -EIO;
}

/* A map of which the driver knows that it will fail takes no memory */
TEST_F(stop, no_pins_while_stopped)
{
	const struct vfiopv c = { .fd = self->g.container, .type = variant->type };
	struct vfio_pv_batch_entry entry[2];
	long long before;
	unsigned int i;

	ASSERT_TRUE(stop_and_tell(&self->g, self->memory));
	before = ram_pinned();
	for (i = 0; i < ARRAY_SIZE(entry); i++) {
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = GUEST_IOVA + (1 + i) * PAGE,
			.vaddr = (uintptr_t)self->memory,
			.size = PAGE,
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		};
		EXPECT_EQ(-EIO, vfio_map_dma(self->g.container, entry[i].iova, self->memory,
					     PAGE, true));
	}
	EXPECT_EQ(0, vfiopv_map_many(&c, entry, 2, VFIO_PV_BATCH_FLAG_CONTINUE));
	EXPECT_EQ(-EIO, entry[0].result);
	EXPECT_EQ(-EIO, entry[1].result);
	EXPECT_EQ(before, ram_pinned());

	guest_vfio_close(&self->g);
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(1, works_again(variant->type));
}

/* Nor does a balloon that can't grow */
TEST_F(stop, no_balloon_while_stopped)
{
	unsigned long before;
	int i;

	ASSERT_TRUE(stop_and_tell(&self->g, self->memory));
	before = ram_free_kb();
	for (i = 0; i < 20; i++)
		EXPECT_EQ(-ENODEV, balloon_set(HUGE_SIZE));
	EXPECT_GT(ram_free_kb() + 20 * 1024, before);

	guest_vfio_close(&self->g);
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(0, balloon_set(HUGE_SIZE));
	EXPECT_EQ(0, balloon_set(0));
}

/* Wait for the event that not all is mapped that was; type 1 has no events */
static bool told_of_loss(const struct vfiopv *c, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct vfio_pv_event event[8];
	int i, n;

	if (c->type != VFIO_PV_IOMMU)
		return true;
	if (poll(&p, 1, 5000) != 1)
		return false;
	n = vfiopv_read_events(c, event, ARRAY_SIZE(event));
	for (i = 0; i < n; i++)
		if (event[i].type == VFIO_PV_EVENT_LOST && !event[i].size)
			return true;
	return false;
}

/* A restart that the host refuses: the user is told */
TEST_F(stop, told_without_restart)
{
	const struct vfiopv c = { .fd = self->g.container, .type = variant->type };
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_LE(0, fd);
	if (c.type == VFIO_PV_IOMMU)
		ASSERT_EQ(0, vfiopv_set_eventfd(&c, fd));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	if (!getenv("PVVM_SHARE"))
		SKIP(return, "needs host_limits.sh at the host level");
	ASSERT_TRUE(host_limit("max_domains", "0"));
	EXPECT_NE(0, iface_restart());
	ASSERT_TRUE(host_limit("max_domains", "1024"));
	EXPECT_TRUE(told_of_loss(&c, fd));
	close(fd);
}

/* If the domain can't be made again after a restart, the device must be blocked, not in bypass */
TEST_F(stop, blocked_without_domain)
{
	char before[64];
	int ret;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	if (!getenv("PVVM_SHARE"))
		SKIP(return, "needs host_limits.sh at the host level");
	ASSERT_TRUE(host_limit("max_domains", "0"));
	dma_pattern(self->window.memory, sizeof(before));
	ASSERT_TRUE(edu_from_ram(&self->g.dev, self->window.iova, 0, sizeof(before)));
	dma_pattern(self->memory, sizeof(before));
	memcpy(before, self->memory, sizeof(before));

	ret = iface_restart();
	ASSERT_TRUE(host_limit("max_domains", "1024"));
	EXPECT_NE(0, ret);
	ASSERT_NE(0, ram_gpa_of(self->memory));
	EXPECT_TRUE(edu_to_ram(&self->g.dev, GUEST_IOVA, 0, sizeof(before)));
	EXPECT_EQ(0, memcmp(before, self->memory, sizeof(before)));
	EXPECT_TRUE(edu_to_ram(&self->g.dev, ram_gpa_of(self->memory), 0, sizeof(before)));
	EXPECT_EQ(0, memcmp(before, self->memory, sizeof(before)));

	guest_vfio_close(&self->g);
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(1, works_again(variant->type));
}

/* ------------------------------------------------------------------ */
/* Pages whose mapping does not lead anywhere any more are unpinned, too */

/* The device writes, and the data does not arrive */
static int dma_nowhere(const struct vfio_dev *dev, __u64 iova, char *memory)
{
	char before[64];

	dma_pattern(memory, sizeof(before));
	memcpy(before, memory, sizeof(before));
	return edu_to_ram(dev, iova, 0, sizeof(before)) && !memcmp(before, memory, sizeof(before));
}

static int map_some(const struct guest_vfio *g, char **memory)
{
	*memory = guest_memory(SOME * PAGE);
	return *memory ? vfio_map_dma(g->container, GUEST_IOVA, *memory, SOME * PAGE, true) :
			 -ENOMEM;
}

static int unmap_some(const struct guest_vfio *g, long long before)
{
	__u64 removed = 0;
	int ret = vfio_unmap_dma(g->container, GUEST_IOVA, SOME * PAGE, &removed);

	if (ret || removed != SOME * PAGE)
		return ret ?: -EIO;
	return ram_pinned() == before ? 0 : -ENOTEMPTY;
}

TEST_F(stop, refused_is_unpinned)
{
	long long before = ram_pinned();
	char *memory;

	if (before < 0)
		SKIP(return, NOT_COUNTED);
	ASSERT_EQ(0, map_some(&self->g, &memory));
	ASSERT_EQ(before + SOME, ram_pinned());
	if (!getenv("PVVM_SHARE"))
		SKIP(return, "needs host_limits.sh at the host level");
	ASSERT_TRUE(host_limit("max_mappings", "0"));
	iface_restart();
	ASSERT_TRUE(host_limit("max_mappings", "67108864"));
	EXPECT_EQ(1, dma_nowhere(&self->g.dev, GUEST_IOVA, memory));
	EXPECT_EQ(0, unmap_some(&self->g, before));

	guest_vfio_close(&self->g);
	EXPECT_EQ(1, works_again(variant->type));
}

TEST_F(stop, revoked_is_unpinned)
{
	long long before = ram_pinned();
	char *memory;

	if (before < 0)
		SKIP(return, NOT_COUNTED);
	ASSERT_EQ(0, map_some(&self->g, &memory));
	ASSERT_EQ(0, iface_inject(PVIOMMU_EV_REVOKED, GUEST_IOVA + PAGE, 1,
				  ram_gpa_of(memory + PAGE)));
	EXPECT_EQ(0, unmap_some(&self->g, before));
}

TEST_HARNESS_MAIN
