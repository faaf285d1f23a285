// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two devices that the host has in one isolation group are in one group of the guest, too:
 * a user of VFIO has both, or none, and an error cuts both off. Needs three edu devices
 * bound to vfio-pci, the last two of them with a root port above them, and host_error.sh at
 * the host level.
 */
#include <dirent.h>
#include <stdio.h>

#include "lib/edu.h"
#include "lib/guest_ask.h"
#include "lib/guest_test.h"

#define OTHER	0
#define ONE	1
#define TWIN	2
#define WAIT_MS	60000

static int group_of(const char *bdf)
{
	char path[80], link[128] = "";

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -1;
	return atoi(strrchr(link, '/') + 1);
}

static int devices_in(int group)
{
	struct dirent *entry;
	char path[80];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices", group);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

FIXTURE(group)
{
	struct vfiopv c;
	struct vfiopv_dev one, twin;
	struct dma_window window;
	void *memory;
	char bdf[3][16];
	int group;
};

/* Both, by one container; the group is open once */
static int open_both(struct vfiopv *c, struct vfiopv_dev *one, struct vfiopv_dev *twin,
		     const char *bdf, const char *twin_bdf)
{
	int ret = vfiopv_open(c, VFIO_PV_IOMMU) ?: vfiopv_dev_open(c, one, bdf);

	if (ret) {
		vfiopv_close(c);
		return ret;
	}
	*twin = (struct vfiopv_dev) { .group = one->group, .fd = -1 };
	strcpy(twin->bdf, twin_bdf);
	ret = vfiopv_dev_get(twin);
	return ret ?: vfiopv_dev_enable(one, true, true) ?:
	       vfiopv_dev_enable(twin, true, true);
}

static void close_both(struct vfiopv *c, struct vfiopv_dev *one, struct vfiopv_dev *twin)
{
	vfiopv_dev_put(twin);
	vfiopv_dev_close(one);
	vfiopv_close(c);
}

#define READ_WRITE	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

#define map_both() do {								\
	ASSERT_EQ(0, vfiopv_map(&self->c, self->window.iova, self->window.memory,	\
				GUEST_PAGE, READ_WRITE));			\
	ASSERT_EQ(0, vfiopv_map(&self->c, GUEST_IOVA, self->memory, GUEST_PAGE,	\
				READ_WRITE));					\
} while (0)

FIXTURE_SETUP(group)
{
	int i;

	for (i = 0; i < 3; i++)
		if (guest_find_edu(i, self->bdf[i]))
			SKIP(return, "needs three edu devices bound to vfio-pci");
	self->group = group_of(self->bdf[ONE]);
	if (self->group != group_of(self->bdf[TWIN]))
		SKIP(return, "needs two devices in one isolation group");
	self->window.iova = GUEST_IOVA_WINDOW;
	self->window.memory = guest_memory(GUEST_PAGE);
	self->memory = guest_memory(GUEST_PAGE);
	ASSERT_NE(NULL, self->window.memory);
	ASSERT_NE(NULL, self->memory);
	ASSERT_EQ(0, open_both(&self->c, &self->one, &self->twin, self->bdf[ONE],
			       self->bdf[TWIN]));
	map_both();
}

FIXTURE_TEARDOWN(group)
{
	close_both(&self->c, &self->one, &self->twin);
}

TEST_F(group, both_reach_what_is_mapped)
{
	struct dma_window *window = &self->window;
	struct guest_vfio other;
	__u64 removed = 0;

	EXPECT_EQ(2, devices_in(self->group));
	EXPECT_EQ(1, dma_works(&self->one, GUEST_IOVA, self->memory, window));
	EXPECT_EQ(1, dma_works(&self->twin, GUEST_IOVA, self->memory, window));
	/* The group is taken; another one is free, and has mappings of its own */
	EXPECT_EQ(-EBUSY, vfiopv_group_open(self->bdf[TWIN]));
	ASSERT_EQ(0, guest_vfio_open(&other, VFIO_PV_IOMMU, self->bdf[OTHER]));
	ASSERT_EQ(0, vfio_map_dma(other.container, window->iova, window->memory, GUEST_PAGE,
				  true));
	EXPECT_EQ(1, dma_refused(&other.dev, GUEST_IOVA, self->memory, window));
	guest_vfio_close(&other);

	ASSERT_EQ(0, vfiopv_unmap(&self->c, GUEST_IOVA, GUEST_PAGE, 0, &removed));
	EXPECT_EQ(GUEST_PAGE, removed);
	EXPECT_EQ(1, dma_refused(&self->one, GUEST_IOVA, self->memory, window));
	EXPECT_EQ(1, dma_refused(&self->twin, GUEST_IOVA, self->memory, window));
}

/* One that is given back leaves the other to work */
TEST_F(group, one_is_closed)
{
	vfiopv_dev_put(&self->twin);
	EXPECT_EQ(1, dma_works(&self->one, GUEST_IOVA, self->memory, &self->window));
	ASSERT_EQ(0, vfiopv_dev_get(&self->twin));
	ASSERT_EQ(0, vfiopv_dev_enable(&self->twin, true, true));
	EXPECT_EQ(1, dma_works(&self->twin, GUEST_IOVA, self->memory, &self->window));
}

static bool hears_of_it(const struct vfiopv *c, unsigned int group)
{
	struct vfio_pv_event event;
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 100, usleep(100000))
		while (vfiopv_read_events(c, &event, 1) == 1)
			if (event.type == VFIO_PV_EVENT_ISOLATED)
				return event.group == group;
	return false;
}

/* Nothing arrives of what the device sends, whether or not it can send at all */
static bool is_cut_off(const struct vfiopv_dev *dev, void *memory)
{
	static unsigned char was[GUEST_PAGE];

	dma_pattern(memory, GUEST_PAGE);
	memcpy(was, memory, GUEST_PAGE);
	edu_to_ram(dev, GUEST_IOVA, 0, EDU_BUFFER_SIZE);
	return !memcmp(was, memory, GUEST_PAGE);
}

TEST_F_TIMEOUT(group, error_cuts_off_both, 1800)
{
	const char *port = getenv("ERROR_PORT");
	int ms, ret = -EBUSY;

	if (!port)
		SKIP(return, "needs host_error.sh, and the number of the root port");
	ASSERT_TRUE(share_raise_error(atoi(port), "group"));
	EXPECT_TRUE(hears_of_it(&self->c, self->group));
	EXPECT_TRUE(is_cut_off(&self->one, self->memory));
	EXPECT_TRUE(is_cut_off(&self->twin, self->memory));
	vfiopv_dev_enable(&self->one, true, true);
	vfiopv_dev_enable(&self->twin, true, true);
	EXPECT_TRUE(is_cut_off(&self->one, self->memory));
	EXPECT_TRUE(is_cut_off(&self->twin, self->memory));

	/* The next user has both; while the host is at the error there is none */
	close_both(&self->c, &self->one, &self->twin);
	for (ms = 0; ret == -EBUSY && ms < WAIT_MS; ms += 500) {
		usleep(500000);
		ret = open_both(&self->c, &self->one, &self->twin, self->bdf[ONE],
				self->bdf[TWIN]);
	}
	ASSERT_EQ(0, ret);
	map_both();
	EXPECT_EQ(1, dma_works(&self->one, GUEST_IOVA, self->memory, &self->window));
	EXPECT_EQ(1, dma_works(&self->twin, GUEST_IOVA, self->memory, &self->window));
}

TEST_HARNESS_MAIN
