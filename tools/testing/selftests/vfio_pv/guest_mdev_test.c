// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mediated devices in a container behind the paravirtual IOMMU: they pin pages, have memory
 * copied, and are told before pages that they have pinned are unmapped. The device is that of
 * the module vfio_pv_test. With vfio_pv unloaded, the same tests run on stock type1.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/guest_test.h"
#include "modules/vfio_pv_test.h"

#define PAGE		GUEST_PAGE
#define PAGES		16
#define SIZE		(PAGES * PAGE)
#define READ		1
#define WRITE		2
#define DEVICE		"/sys/devices/platform/vfio-pv-test"

FIXTURE(mdev)
{
	struct guest_vfio g;
	int group;
	int fd;
	char *buffer;
};

FIXTURE_VARIANT(mdev)
{
	unsigned int type;
};

FIXTURE_VARIANT_ADD(mdev, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(mdev, pv)
{
	.type = VFIO_PV_IOMMU,
};

/* ------------------------------------------------------------------ */
/* The device */

static int pin(int fd, __u64 iova, __u32 npage, __u32 prot)
{
	struct pv_test_pages arg = { iova, npage, prot };

	return guest_ioctl(fd, PV_TEST_PIN, &arg);
}

static int unpin(int fd, __u64 iova, __u32 npage)
{
	struct pv_test_pages arg = { iova, npage, 0 };

	return guest_ioctl(fd, PV_TEST_UNPIN, &arg);
}

static int copy(int fd, __u64 iova, void *data, __u32 len, __u32 flags)
{
	struct pv_test_copy arg = { iova, (uintptr_t)data, len, flags };

	return guest_ioctl(fd, PV_TEST_COPY, &arg);
}

static struct pv_test_state state(int fd)
{
	struct pv_test_state state = { .unmaps = ~0U };

	guest_ioctl(fd, PV_TEST_STATE, &state);
	return state;
}

/* The group of a real device joins first, and decides which driver has the container */
FIXTURE_SETUP(mdev)
{
	if (access(DEVICE, F_OK) && system("pvvm-load vfio_pv_test"))
		SKIP(return, "needs the module vfio_pv_test");
	guest_setup(&self->g, variant->type, 0);
	self->buffer = guest_memory(SIZE);
	ASSERT_NE(NULL, self->buffer);
	self->group = guest_open_group_of(DEVICE);
	ASSERT_LE(0, self->group);
	ASSERT_EQ(0, vfio_group_set_container(self->group, self->g.container));
	self->fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, "vfio-pv-test");
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(mdev)
{
	close(self->fd);
	close(self->group);
	guest_vfio_close(&self->g);
}

/* ------------------------------------------------------------------ */
/* Pages that the device has pinned */

TEST_F(mdev, held_pages_are_the_users)
{
	char sent[64], got[64] = "";

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	dma_pattern(self->buffer, SIZE);
	ASSERT_EQ(PAGES, pin(self->fd, GUEST_IOVA, PAGES, READ | WRITE));
	EXPECT_EQ(PAGES, state(self->fd).held);
	EXPECT_EQ(0, copy(self->fd, GUEST_IOVA + 5 * PAGE + 17, got, sizeof(got), PV_TEST_PINNED));
	EXPECT_EQ(0, memcmp(got, self->buffer + 5 * PAGE + 17, sizeof(got)));
	dma_pattern(sent, sizeof(sent));
	EXPECT_EQ(0, copy(self->fd, GUEST_IOVA + SIZE - 64, sent, sizeof(sent),
			  PV_TEST_PINNED | PV_TEST_WRITE));
	EXPECT_EQ(0, memcmp(sent, self->buffer + SIZE - 64, sizeof(sent)));
	EXPECT_EQ(0, unpin(self->fd, GUEST_IOVA, PAGES));
	EXPECT_EQ(0, state(self->fd).held);
}

TEST_F(mdev, pin_errors)
{
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, 4 * PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA + 4 * PAGE,
				  self->buffer + 4 * PAGE, PAGE, false));
	EXPECT_EQ(-EINVAL, pin(self->fd, GUEST_IOVA - PAGE, 1, READ));
	EXPECT_EQ(-EINVAL, pin(self->fd, GUEST_IOVA - PAGE, 2, READ));
	EXPECT_EQ(-EINVAL, pin(self->fd, GUEST_IOVA + 3 * PAGE, 3, READ));
	EXPECT_EQ(-EPERM, pin(self->fd, GUEST_IOVA + 3 * PAGE, 2, READ | WRITE));
	EXPECT_EQ(-EINVAL, pin(self->fd, GUEST_IOVA, 0, READ));
	EXPECT_EQ(guest_wrap_error(), pin(self->fd, -PAGE, 2, READ));
	/* Pins that failed half-way have pinned nothing, so the device is not told of an unmap */
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, 8 * PAGE, NULL));
	EXPECT_EQ(0, state(self->fd).unmaps);
}

/* ------------------------------------------------------------------ */
/* Unmapping pages that are pinned */

TEST_F(mdev, told_before_unmap)
{
	struct pv_test_state told;
	__u64 removed = 0;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA * 2, self->buffer, SIZE, true));
	ASSERT_EQ(3, pin(self->fd, GUEST_IOVA + PAGE, 3, READ));
	ASSERT_EQ(1, pin(self->fd, GUEST_IOVA * 2, 1, READ));
	/* A page that is pinned twice is unpinned twice */
	ASSERT_EQ(1, pin(self->fd, GUEST_IOVA + PAGE, 1, READ));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE, &removed));
	EXPECT_EQ(SIZE, removed);
	told = state(self->fd);
	EXPECT_EQ(1, told.unmaps);
	EXPECT_EQ(GUEST_IOVA, told.iova);
	EXPECT_EQ(SIZE, told.size);
	EXPECT_EQ(1, told.held);

	EXPECT_EQ(0, guest_unmap(&self->g, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &removed));
	EXPECT_EQ(SIZE, removed);
	EXPECT_EQ(0, state(self->fd).held);
}

TEST_F(mdev, told_of_nothing_that_is_not_held)
{
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(2, pin(self->fd, GUEST_IOVA, 2, READ));
	ASSERT_EQ(0, unpin(self->fd, GUEST_IOVA, 2));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE, NULL));
	EXPECT_EQ(0, state(self->fd).unmaps);
}

/*
 * A device that does not unpin its pages is told ten times. Then the unmap succeeds, and these
 * pages stay pinned and accounted for good. Stock type1 stops the machine.
 */
TEST_F(mdev, device_that_keeps_pages)
{
	__u64 removed = 0;
	long locked = guest_locked_kb();

	if (!guest_has_backend())
		SKIP(return, "type1 stops the machine");
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(1, pin(self->fd, GUEST_IOVA, 1, READ | WRITE));
	ASSERT_EQ(0, guest_ioctl(self->fd, PV_TEST_KEEP, (void *)1L));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE, &removed));
	EXPECT_EQ(SIZE, removed);
	EXPECT_EQ(10, state(self->fd).unmaps);
	/* The device can still write to them, so nobody else may get these pages */
	EXPECT_EQ(0, copy(self->fd, GUEST_IOVA, "kept", 4, PV_TEST_PINNED | PV_TEST_WRITE));
	EXPECT_EQ(0, memcmp("kept", self->buffer, 4));
	EXPECT_EQ(locked + (long)(SIZE >> 10), guest_locked_kb());
	/* The IOVA range is free */
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	EXPECT_EQ(0, unpin(self->fd, GUEST_IOVA, 1));
}

/* ------------------------------------------------------------------ */
/* Copies */

TEST_F(mdev, copies)
{
	static char data[3 * PAGE];

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, 2 * PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA + 2 * PAGE,
				  self->buffer + 8 * PAGE, 2 * PAGE, true));
	/* Across pages, and from one mapping to the next */
	dma_pattern(data, sizeof(data));
	ASSERT_EQ(0, copy(self->fd, GUEST_IOVA + 100, data, sizeof(data), PV_TEST_WRITE));
	EXPECT_EQ(0, memcmp(self->buffer + 100, data, 2 * PAGE - 100));
	EXPECT_EQ(0, memcmp(self->buffer + 8 * PAGE, data + 2 * PAGE - 100, PAGE + 100));
	dma_pattern(self->buffer, 2 * PAGE);
	ASSERT_EQ(0, copy(self->fd, GUEST_IOVA + 1, data, PAGE, 0));
	EXPECT_EQ(0, memcmp(self->buffer + 1, data, PAGE));
}

TEST_F(mdev, copy_errors)
{
	static char data[3 * PAGE];

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, false));
	EXPECT_EQ(0, copy(self->fd, GUEST_IOVA, data, PAGE, 0));
	EXPECT_EQ(-EPERM, copy(self->fd, GUEST_IOVA, data, PAGE, PV_TEST_WRITE));
	EXPECT_EQ(-EINVAL, copy(self->fd, GUEST_IOVA, data, 2 * PAGE, 0));
	EXPECT_EQ(-EINVAL, copy(self->fd, GUEST_IOVA - 1, data, 2, 0));
}

/* ------------------------------------------------------------------ */
/* Together with other features */

TEST_F(mdev, user_addresses_stay)
{
	__u64 removed;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, PAGE, true));
	EXPECT_EQ(0, ioctl(self->g.container, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR));
	EXPECT_EQ(-EBUSY, guest_unmap(&self->g, GUEST_IOVA, PAGE, VFIO_DMA_UNMAP_FLAG_VADDR,
				      &removed));
}

static int dirty_pages(int container, __u32 flags, void *bits)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} arg = {
		.head = { .argsz = sizeof(arg), .flags = flags },
		.get = { GUEST_IOVA, SIZE, { PAGE, sizeof(__u64), bits } },
	};

	return guest_ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

/* Pages that a mediated device has written to are in the dirty log, in either way of writing */
TEST_F(mdev, writes_are_logged)
{
	__u64 bits = 0;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, dirty_pages(self->g.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START, NULL));
	ASSERT_EQ(0, copy(self->fd, GUEST_IOVA + 3 * PAGE, "here", 4, PV_TEST_WRITE));
	ASSERT_EQ(1, pin(self->fd, GUEST_IOVA + 5 * PAGE, 1, READ | WRITE));
	ASSERT_EQ(0, copy(self->fd, GUEST_IOVA + 5 * PAGE, "here", 4,
			  PV_TEST_PINNED | PV_TEST_WRITE));
	EXPECT_EQ(0, dirty_pages(self->g.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, &bits));
	EXPECT_EQ(1 << 3 | 1 << 5, bits & (1 << 3 | 1 << 5));
	EXPECT_EQ(0, bits >> PAGES);
	EXPECT_EQ(0, dirty_pages(self->g.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, NULL));
}

/* When the last real group leaves, mappings and pinned pages stay. */
TEST_F(mdev, last_real_group_goes)
{
	char got[16] = "";

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(1, pin(self->fd, GUEST_IOVA, 1, READ));
	vfio_dev_close(&self->g.dev);
	ASSERT_EQ(0, guest_ioctl(self->g.dev.group, VFIO_GROUP_UNSET_CONTAINER, NULL));

	dma_pattern(self->buffer, SIZE);
	EXPECT_EQ(0, copy(self->fd, GUEST_IOVA, got, sizeof(got), PV_TEST_PINNED));
	EXPECT_EQ(0, memcmp(got, self->buffer, sizeof(got)));
	EXPECT_EQ(0, copy(self->fd, GUEST_IOVA + PAGE, got, sizeof(got), 0));
	EXPECT_EQ(0, memcmp(got, self->buffer + PAGE, sizeof(got)));
	EXPECT_EQ(1, pin(self->fd, GUEST_IOVA + 2 * PAGE, 1, READ));

	/* The group comes back, and its device reaches what has been mapped all the time */
	ASSERT_EQ(0, vfio_group_set_container(self->g.dev.group, self->g.container));
	ASSERT_EQ(0, vfio_dev_open(&self->g.dev));
	ASSERT_EQ(0, vfio_dev_enable(&self->g.dev, true, true));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + 4 * PAGE, self->buffer + 4 * PAGE,
			       &(struct dma_window){ GUEST_IOVA, self->buffer }));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE, NULL));
	EXPECT_EQ(1, state(self->fd).unmaps);
	EXPECT_EQ(0, state(self->fd).held);
}

/* A real group that can't have all mappings is refused, and nothing stays pinned because of it */
TEST_F(mdev, real_group_does_not_fit)
{
	const __u64 last_page = -(__u64)PAGE;
	long locked = guest_locked_kb();

	if (!guest_has_backend())
		SKIP(return, "type1 takes the group, and maps the last page nowhere");
	vfio_dev_close(&self->g.dev);
	ASSERT_EQ(0, guest_ioctl(self->g.dev.group, VFIO_GROUP_UNSET_CONTAINER, NULL));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, 0, self->buffer, PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, last_page, self->buffer, PAGE, true));
	EXPECT_EQ(1, pin(self->fd, 0, 1, READ));
	EXPECT_EQ(-EINVAL, vfio_group_set_container(self->g.dev.group, self->g.container));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, last_page, PAGE, NULL));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, 0, PAGE, NULL));
	EXPECT_EQ(0, state(self->fd).held);
	EXPECT_EQ(locked, guest_locked_kb());
	EXPECT_EQ(0, vfio_group_set_container(self->g.dev.group, self->g.container));
}

#define MAX_WITHOUT_PAGES	65535

/*
 * Mappings without pages, such as of registers of a device, are not locked memory. Without a
 * real group no host counts the mappings either, so they have a limit of their own.
 */
TEST_F(mdev, mappings_without_pages_have_an_end)
{
	struct guest_vfio other;
	int i, ret = 0;

	if (!guest_has_backend())
		SKIP(return, "type1 has one limit for all mappings");
	guest_setup(&other, VFIO_TYPE1v2_IOMMU, 1);
	ASSERT_NE(NULL, other.dev.mmio);
	vfio_dev_close(&self->g.dev);
	ASSERT_EQ(0, guest_ioctl(self->g.dev.group, VFIO_GROUP_UNSET_CONTAINER, NULL));
	for (i = 0; i <= MAX_WITHOUT_PAGES && !ret; i++)
		ret = vfio_map_dma(self->g.container, GUEST_IOVA + i * PAGE, other.dev.mmio, PAGE,
				   false);
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(MAX_WITHOUT_PAGES + 1, i);
	/* Mappings with pages are not limited by it; one that is unmapped makes room for one */
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA / 2, self->buffer, PAGE, false));
	EXPECT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, PAGE, NULL));
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, other.dev.mmio, PAGE, false));
	EXPECT_EQ(-ENOSPC, vfio_map_dma(self->g.container, 0, other.dev.mmio, PAGE, false));
	guest_vfio_close(&other);
}

/* ------------------------------------------------------------------ */
/* Pages are pinned while their range is mapped and unmapped */

struct race {
	int container;
	char *buffer;
	bool stop;
	unsigned int maps;
};

/* The sleeps make each state last for a while, also on a single CPU */
static void *map_and_unmap(void *data)
{
	struct race *race = data;

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		if (vfio_map_dma(race->container, GUEST_IOVA, race->buffer, SIZE, true))
			break;
		usleep(random() % 2000);
		if (vfio_unmap_dma(race->container, GUEST_IOVA, SIZE, NULL))
			break;
		usleep(random() % 200);
		__atomic_add_fetch(&race->maps, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

struct race_counts {
	unsigned int pinned;
	unsigned int refused;
	unsigned int copied;
};

/* Return: false for a result that can't be explained. */
static bool race_once(int fd, unsigned int i, struct race_counts *n)
{
	__u64 iova = GUEST_IOVA + i % PAGES * PAGE;
	char data[64];
	int ret = pin(fd, iova, 2, READ | WRITE);

	/* Two pages from the last one on go beyond the range */
	n->pinned += ret == 2;
	n->refused += ret == -EINVAL;
	n->copied += !copy(fd, iova + 4000, data, sizeof(data), i & 1);
	unpin(fd, iova, 2);
	return ret == 2 || ret == -EINVAL;
}

TEST_F(mdev, race_with_unmap)
{
	struct race race = { .container = self->g.container, .buffer = self->buffer };
	long locked = guest_locked_kb();
	time_t end = time(NULL) + 600;
	struct race_counts n = {};
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, map_and_unmap, &race));
	for (i = 0; time(NULL) < end; i++) {
		EXPECT_TRUE(race_once(self->fd, i, &n));
		if (n.pinned >= 100 && n.refused >= 100 && n.copied >= 100 &&
		    __atomic_load_n(&race.maps, __ATOMIC_RELAXED) >= 20)
			break;
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	TH_LOG("%u mapped, %u held, %u refused, %u copied", race.maps, n.pinned, n.refused,
	       n.copied);
	EXPECT_LE(20, race.maps);
	EXPECT_LE(100, n.pinned);
	EXPECT_LE(100, n.refused);
	EXPECT_LE(100, n.copied);
	EXPECT_EQ(0, state(self->fd).held);
	EXPECT_EQ(locked, guest_locked_kb());
}

/* ------------------------------------------------------------------ */
/* Before the container has its type, groups may join in any order */

static int open_mdev(int group)
{
	return ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "vfio-pv-test");
}

TEST(any_order_before_the_type)
{
	struct guest_vfio g = { .container = -1 };
	char *memory = guest_memory(PAGE), bdf[16], got[16] = "";
	int groups[2], first, fd;

	if (access(DEVICE, F_OK) && system("pvvm-load vfio_pv_test"))
		SKIP(return, "needs the module vfio_pv_test");
	if (!guest_has_backend())
		SKIP(return, "needs the module vfio_pv");
	ASSERT_EQ(0, guest_find_edu(0, bdf));
	for (first = 0; first < 2; first++) {
		g.container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
		groups[0] = vfiopv_group_open(bdf);
		groups[1] = guest_open_group_of(DEVICE);
		ASSERT_EQ(0, vfio_group_set_container(groups[first], g.container));
		ASSERT_EQ(0, vfio_group_set_container(groups[!first], g.container));
		EXPECT_EQ(0, guest_ioctl(g.container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU));
		EXPECT_EQ(0, vfio_map_dma(g.container, GUEST_IOVA, memory, PAGE, true));
		fd = open_mdev(groups[1]);
		EXPECT_LE(0, fd);
		dma_pattern(memory, PAGE);
		EXPECT_EQ(0, copy(fd, GUEST_IOVA, got, sizeof(got), 0));
		EXPECT_EQ(0, memcmp(got, memory, sizeof(got)));
		close(fd);
		close(groups[0]);
		close(groups[1]);
		close(g.container);
	}
}

/* VFIO_PV_IOMMU can be set with no real device in the container */
TEST(mediated_device_alone)
{
	char *memory = guest_memory(PAGE), got[16] = "";
	int container, group, fd;

	if (access(DEVICE, F_OK) && system("pvvm-load vfio_pv_test"))
		SKIP(return, "needs the module vfio_pv_test");
	if (!guest_has_backend())
		SKIP(return, "needs the module vfio_pv");
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	group = guest_open_group_of(DEVICE);
	ASSERT_EQ(0, vfio_group_set_container(group, container));
	ASSERT_EQ(0, guest_ioctl(container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU));
	fd = open_mdev(group);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vfio_map_dma(container, GUEST_IOVA, memory, PAGE, true));
	dma_pattern(memory, PAGE);
	ASSERT_EQ(1, pin(fd, GUEST_IOVA, 1, READ));
	EXPECT_EQ(0, copy(fd, GUEST_IOVA, got, sizeof(got), PV_TEST_PINNED));
	EXPECT_EQ(0, memcmp(got, memory, sizeof(got)));
	EXPECT_EQ(0, vfio_unmap_dma(container, GUEST_IOVA, PAGE, NULL));
	EXPECT_EQ(1, state(fd).unmaps);
	close(fd);
	close(group);
	close(container);
}

/* With version 1 of type 1, mediated devices can't pin pages */
TEST(version_1_pins_nothing)
{
	struct guest_vfio g;
	int group, fd;

	if (access(DEVICE, F_OK) && system("pvvm-load vfio_pv_test"))
		SKIP(return, "needs the module vfio_pv_test");
	guest_setup(&g, VFIO_TYPE1_IOMMU, 0);
	group = guest_open_group_of(DEVICE);
	ASSERT_EQ(0, vfio_group_set_container(group, g.container));
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "vfio-pv-test");
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EACCES, pin(fd, GUEST_IOVA, 1, READ));
	close(fd);
	close(group);
	guest_vfio_close(&g);
}

TEST_HARNESS_MAIN
