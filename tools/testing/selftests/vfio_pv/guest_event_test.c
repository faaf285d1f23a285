// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VFIO_PV_IOMMU container tells its user: events, in order, with a count of those that
 * were lost; LOOKUP; limits.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <linux/pv_iommu.h>

#include "lib/guest_iface.h"
#include "lib/guest_test.h"
#include "lib/nobody.h"

#define PAGE		GUEST_PAGE
#define SOME		2048

FIXTURE(event)
{
	struct guest_vfio g;
	struct vfiopv c;
	struct vfio_pv_info_cap_limits limits;
	struct vfio_pv_event event[SOME];
	char *memory;
};

FIXTURE_SETUP(event)
{
	if (access(IFACE_INJECT, W_OK))
		SKIP(return, "needs the paravirtual IOMMU's debugfs");
	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	self->c = (struct vfiopv) { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	ASSERT_EQ(0, vfiopv_limits(&self->c, &self->limits));
	self->memory = guest_memory(4 * PAGE);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(event)
{
	guest_vfio_close(&self->g);
}

static int inject(int type, __u64 iova, int count)
{
	return iface_inject(type, iova, count, 0);
}

static bool signalled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

TEST_F(event, none)
{
	EXPECT_EQ(0, vfiopv_read_events(&self->c, self->event, SOME));
}

TEST_F(event, fault)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char group[16], link[256] = {}, path[128];
	eventfd_t n = 0;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vfiopv_set_eventfd(&self->c, fd));
	EXPECT_FALSE(signalled(fd));
	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x123000, 2));
	EXPECT_TRUE(signalled(fd));
	EXPECT_EQ(0, eventfd_read(fd, &n));
	EXPECT_EQ(2, n);

	ASSERT_EQ(2, vfiopv_read_events(&self->c, self->event, SOME));
	EXPECT_EQ(1, self->event[0].seq);
	EXPECT_EQ(2, self->event[1].seq);
	EXPECT_EQ(VFIO_PV_EVENT_FAULT, self->event[0].type);
	EXPECT_EQ(0, self->event[0].flags);
	EXPECT_EQ(0x123000, self->event[0].iova);
	EXPECT_EQ(VFIO_PV_PASID_NONE, self->event[0].pasid);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", self->g.dev.bdf);
	ASSERT_LT(0, readlink(path, link, sizeof(link) - 1));
	snprintf(group, sizeof(group), "%u", self->event[0].group);
	EXPECT_STREQ(strrchr(link, '/') + 1, group);
	EXPECT_EQ(0, vfiopv_read_events(&self->c, self->event, SOME));

	/* Without an eventfd nothing is signalled */
	ASSERT_EQ(0, vfiopv_set_eventfd(&self->c, -1));
	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x123000, 1));
	EXPECT_FALSE(signalled(fd));
	/* A new eventfd is signalled at once if events are waiting */
	ASSERT_EQ(0, vfiopv_set_eventfd(&self->c, fd));
	EXPECT_TRUE(signalled(fd));
	close(fd);
}

TEST_F(event, revoked)
{
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	ASSERT_EQ(0, inject(PVIOMMU_EV_REVOKED, GUEST_IOVA, 1));
	ASSERT_EQ(1, vfiopv_read_events(&self->c, self->event, SOME));
	EXPECT_EQ(VFIO_PV_EVENT_REVOKED, self->event[0].type);
	EXPECT_EQ(GUEST_IOVA, self->event[0].iova);
	EXPECT_EQ(PAGE, self->event[0].size);
	EXPECT_EQ(VFIO_PV_NO_GROUP, self->event[0].group);
}

/* Sequence numbers have no gaps: a LOST event stands for as many numbers as events were lost. */
TEST_F(event, lost_with_a_word)
{
	int max = self->limits.max_events, n, i, lost = 0;
	__u64 next = 1;

	ASSERT_LE(max + 40, SOME);
	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x1000, max + 20));
	/* Read a few, which makes room for events behind those that were lost */
	n = vfiopv_read_events(&self->c, self->event, 5);
	ASSERT_EQ(5, n);
	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x2000, 3));
	n += vfiopv_read_events(&self->c, self->event + n, SOME - n);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(next, self->event[i].seq);
		if (self->event[i].type == VFIO_PV_EVENT_LOST) {
			lost += self->event[i].size;
			next += self->event[i].size;
		} else {
			next++;
		}
	}
	EXPECT_EQ(max + 20 + 3, (int)next - 1);
	EXPECT_EQ(20, lost);
	EXPECT_EQ(0x2000, self->event[n - 1].iova);
	EXPECT_EQ(0, vfiopv_read_events(&self->c, self->event, SOME));
}

TEST_F(event, lost_last)
{
	int max = self->limits.max_events, n;

	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x1000, max + 7));
	n = vfiopv_read_events(&self->c, self->event, SOME);
	ASSERT_EQ(max + 1, n);
	EXPECT_EQ(VFIO_PV_EVENT_LOST, self->event[max].type);
	EXPECT_EQ(7, self->event[max].size);
	EXPECT_EQ(max + 1, self->event[max].seq);
	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x1000, 1));
	ASSERT_EQ(1, vfiopv_read_events(&self->c, self->event, SOME));
	EXPECT_EQ(max + 8, self->event[0].seq);
}

/* Events that could not be copied to the user are still there. */
TEST_F(event, read_errors)
{
	struct vfio_pv_iommu_events arg = {
		.argsz = sizeof(arg),
		.events = (uintptr_t)self->event,
		.count = SOME,
	}, bad;
	int fd = self->g.container;

	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x1000, 3));
	bad = arg;
	bad.argsz--;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, &bad));
	bad = arg;
	bad.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, &bad));
	bad = arg;
	bad.events += 4;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, &bad));
	bad = arg;
	bad.events = PAGE;
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, &bad));
	bad = arg;
	bad.count = 1;
	EXPECT_EQ(0, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, &bad));
	EXPECT_EQ(1, bad.count);
	EXPECT_EQ(2, bad.left);
	EXPECT_EQ(0, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, &arg));
	EXPECT_EQ(2, arg.count);
	EXPECT_EQ(0, arg.left);
}

/* So are events that were copied, if their number could not be written. */
TEST_F(event, read_only_argument)
{
	struct vfio_pv_iommu_events *arg;
	int fd = self->g.container;

	arg = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, arg);
	*arg = (struct vfio_pv_iommu_events) {
		.argsz = sizeof(*arg),
		.events = (uintptr_t)self->event,
		.count = SOME,
	};
	ASSERT_EQ(0, inject(PVIOMMU_EV_FAULT, 0x1000, 3));
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, guest_ioctl(fd, VFIO_PV_IOMMU_READ_EVENTS, arg));
	munmap(arg, PAGE);
	EXPECT_EQ(3, vfiopv_read_events(&self->c, self->event, SOME));
}

TEST_F(event, eventfd_errors)
{
	struct vfio_pv_iommu_eventfd arg = { .argsz = sizeof(arg), .fd = -1 }, bad;
	int fd = self->g.container;

	bad = arg;
	bad.argsz--;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &bad));
	bad = arg;
	bad.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &bad));
	bad = arg;
	bad.reserved = 1;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &bad));
	bad = arg;
	bad.fd = -2;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &bad));
	bad = arg;
	bad.fd = 999;
	EXPECT_EQ(-EBADF, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &bad));
	bad = arg;
	bad.fd = fd;
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &bad));
	EXPECT_EQ(0, guest_ioctl(fd, VFIO_PV_IOMMU_EVENTFD, &arg));
}

/* ------------------------------------------------------------------ */

/* The physical address of a page of this process, as the kernel says */
static __u64 phys_of(void *memory)
{
	__u64 entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)memory / PAGE * 8) != 8)
		entry = 0;
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

TEST_F(event, lookup)
{
	struct vfio_pv_iommu_lookup look;
	int fd = self->g.container;

	EXPECT_EQ(-ENOENT, guest_look_up(fd, &look, GUEST_IOVA));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->memory, 4 * PAGE, false));
	ASSERT_EQ(0, guest_look_up(fd, &look, GUEST_IOVA + 2 * PAGE + 5));
	EXPECT_EQ(GUEST_IOVA, look.start);
	EXPECT_EQ(4 * PAGE, look.size);
	EXPECT_EQ((uintptr_t)self->memory, look.vaddr);
	EXPECT_EQ(phys_of(self->memory + 2 * PAGE) + 5, look.phys);
	EXPECT_EQ(VFIO_DMA_MAP_FLAG_READ, look.prot);
	EXPECT_EQ(0, look.flags);
	EXPECT_EQ(-ENOENT, guest_look_up(fd, &look, GUEST_IOVA - 1));
	EXPECT_EQ(-ENOENT, guest_look_up(fd, &look, GUEST_IOVA + 4 * PAGE));

	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, 4 * PAGE, VFIO_PV_UNMAP_FLAG_NO_FLUSH,
				 NULL));
	ASSERT_EQ(0, guest_look_up(fd, &look, GUEST_IOVA));
	EXPECT_EQ(VFIO_PV_LOOKUP_UNFLUSHED, look.flags);
	EXPECT_EQ(0, look.phys);

	look = (struct vfio_pv_iommu_lookup) { .argsz = sizeof(look), .flags = 1 };
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(fd, VFIO_PV_IOMMU_LOOKUP, &look));
	look = (struct vfio_pv_iommu_lookup) { .argsz = sizeof(look), .vm = 1 };
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_LOOKUP, &look));
	look = (struct vfio_pv_iommu_lookup) { .argsz = sizeof(look) - 1 };
	EXPECT_EQ(-EINVAL, guest_ioctl(fd, VFIO_PV_IOMMU_LOOKUP, &look));
}

TEST_F(event, lookup_is_privileged)
{
	struct vfio_pv_iommu_lookup look;

	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->memory, PAGE, true));
	ASSERT_EQ(0, drop_sys_admin());
	EXPECT_EQ(-EPERM, guest_look_up(self->g.container, &look, GUEST_IOVA));
}

TEST_F(event, limits)
{
	struct vfio_iova_range range[16];
	int n = vfiopv_ranges(&self->c, range, 16);

	ASSERT_LT(0, n);
	ASSERT_GE(16, n);
	EXPECT_EQ(range[0].start, self->limits.window_start);
	EXPECT_EQ(range[n - 1].end, self->limits.window_last);
	EXPECT_EQ(VFIO_PV_BATCH_MAX, self->limits.max_batch);
	EXPECT_EQ(1 << VFIO_PV_INV_DOMAIN | 1 << VFIO_PV_INV_PAGE, self->limits.granularities);
	EXPECT_LT(0, self->limits.max_mappings);
}

TEST_HARNESS_MAIN
