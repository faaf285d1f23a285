// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd on the paravirtual IOMMU: a device by its own file, address spaces,
 * moving from one to another while it works, and the log of dirty pages. Needs a
 * kernel that has iommufd, and its parameter allow_unsafe_interrupts: that the
 * host isolates interrupts can't be told to it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/guest_test.h"
#include "lib/edu.h"
#include "lib/iommufd.h"

#define PAGE		GUEST_PAGE
#define PAGES		100
#define SIZE		(PAGES * PAGE)

FIXTURE(fd)
{
	int fd;
	struct vfiopv_dev dev;
	__u32 dev_id;
	__u32 ioas;
	struct dma_window window;
	char *buffer;
};

#define UNSAFE	"/sys/module/iommufd/parameters/allow_unsafe_interrupts"

/* Where there is no iommufd there is nothing to be tested */
__attribute__((constructor)) static void need_iommufd(void)
{
	int fd;

	if (access("/dev/iommu", R_OK | W_OK)) {
		ksft_print_header();
		ksft_exit_skip("this kernel has no iommufd\n");
	}
	fd = open(UNSAFE, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		ksft_exit_fail_msg("%s can't be set\n", UNSAFE);
	close(fd);
}

/* The device file of a device: its name is in a folder of the device */
static int open_device_file(const char *bdf)
{
	char path[300];
	struct dirent *entry;
	DIR *dir;
	int fd = -1;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

static int new_ioas(int fd, __u32 *id)
{
	struct fd_ioas_alloc arg = { .size = sizeof(arg) };
	int ret = guest_ioctl(fd, FD_IOAS_ALLOC, &arg);

	*id = arg.out_id;
	return ret;
}

static int map(int fd, __u32 ioas, __u64 iova, void *vaddr, __u64 size, bool writable)
{
	struct fd_ioas_map arg = {
		.size = sizeof(arg),
		.flags = FD_MAP_FIXED | FD_MAP_READABLE | (writable ? FD_MAP_WRITEABLE : 0),
		.ioas = ioas,
		.vaddr = (uintptr_t)vaddr,
		.length = size,
		.iova = iova,
	};

	return guest_ioctl(fd, FD_IOAS_MAP, &arg);
}

static int unmap(int fd, __u32 ioas, __u64 iova, __u64 size, __u64 *removed)
{
	struct fd_ioas_unmap arg = { sizeof(arg), ioas, iova, size };
	int ret = guest_ioctl(fd, FD_IOAS_UNMAP, &arg);

	if (removed)
		*removed = arg.length;
	return ret;
}

static int attach(const struct vfiopv_dev *dev, __u32 pt)
{
	struct cdev_attach arg = { .argsz = sizeof(arg), .pt = pt };

	return guest_ioctl(dev->fd, CDEV_ATTACH, &arg);
}

static int region(const struct vfiopv_dev *dev, unsigned int index, off_t *offset)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	int ret = guest_ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info);

	*offset = info.offset;
	return ret;
}

FIXTURE_SETUP(fd)
{
	struct cdev_bind bind = { .argsz = sizeof(bind) };
	char bdf[16];

	if (guest_find_edu(0, bdf))
		SKIP(return, "needs an edu device bound to vfio-pci");
	self->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->dev = (struct vfiopv_dev) { .group = -1 };
	strcpy(self->dev.bdf, bdf);
	self->dev.fd = open_device_file(bdf);
	ASSERT_LE(0, self->dev.fd);
	bind.iommufd = self->fd;
	ASSERT_EQ(0, guest_ioctl(self->dev.fd, CDEV_BIND, &bind));
	self->dev_id = bind.out_dev;
	ASSERT_EQ(0, new_ioas(self->fd, &self->ioas));
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
	ASSERT_EQ(0, region(&self->dev, VFIO_PCI_CONFIG_REGION_INDEX, &self->dev.config));
	ASSERT_EQ(0, region(&self->dev, VFIO_PCI_BAR0_REGION_INDEX, &self->dev.bar0));
	ASSERT_EQ(0, vfio_dev_enable(&self->dev, true, true));
	self->window.iova = GUEST_IOVA_WINDOW;
	self->window.memory = guest_memory(PAGE);
	self->buffer = guest_memory(2 * SIZE);
	ASSERT_NE(NULL, self->buffer);
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA_WINDOW, self->window.memory, PAGE, true));
}

FIXTURE_TEARDOWN(fd)
{
	close(self->dev.fd);
	close(self->fd);
}

TEST_F(fd, map_and_unmap)
{
	struct dma_reach reach;
	__u64 removed = 0;

	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA * 2, self->buffer, SIZE, false));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA + SIZE - PAGE, self->buffer + SIZE - PAGE,
			       &self->window));
	ASSERT_EQ(0, dma_try(&self->dev, GUEST_IOVA * 2, self->buffer, 64, &self->window, &reach));
	EXPECT_TRUE(reach.read);
	EXPECT_FALSE(reach.wrote);
	EXPECT_EQ(-EEXIST, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, PAGE, true));
	EXPECT_EQ(-EINVAL, map(self->fd, self->ioas, 0xfee00000, self->buffer, PAGE, true));
	ASSERT_EQ(0, unmap(self->fd, self->ioas, GUEST_IOVA, SIZE, &removed));
	EXPECT_EQ(SIZE, removed);
	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

/* To another address space and back in one step each */
TEST_F(fd, replace)
{
	__u32 other;

	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, new_ioas(self->fd, &other));
	ASSERT_EQ(0, map(self->fd, other, GUEST_IOVA, self->buffer + SIZE, SIZE, true));
	ASSERT_EQ(0, map(self->fd, other, GUEST_IOVA_WINDOW, self->window.memory, PAGE, true));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, attach(&self->dev, other));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer + SIZE, &self->window));
	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

static int set_dirty(int fd, __u32 hwpt, __u32 flags)
{
	struct fd_set_dirty arg = { .size = sizeof(arg), .flags = flags, .hwpt = hwpt };

	return guest_ioctl(fd, FD_SET_DIRTY, &arg);
}

static int get_dirty(int fd, __u32 hwpt, __u64 iova, __u64 *bits)
{
	struct fd_get_dirty arg = {
		.size = sizeof(arg),
		.hwpt = hwpt,
		.iova = iova,
		.length = SIZE,
		.page_size = PAGE,
		.data = (uintptr_t)bits,
	};

	return guest_ioctl(fd, FD_GET_DIRTY, &arg);
}

static int count(const __u64 *bits)
{
	int i, found = 0;

	for (i = 0; i < PAGES; i++)
		found += bits[i / 64] >> i % 64 & 1;
	return found;
}

TEST_F(fd, dirty)
{
	struct fd_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = FD_HWPT_DIRTY,
		.dev = self->dev_id,
		.pt = self->ioas,
	};
	__u64 bits[2] = {};

	ASSERT_EQ(0, guest_ioctl(self->fd, FD_HWPT_ALLOC, &alloc));
	ASSERT_EQ(0, attach(&self->dev, alloc.out_id));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA * 2, self->buffer, SIZE, false));
	/* Off, nothing is dirty; iommufd does not tell that it is off */
	get_dirty(self->fd, alloc.out_id, GUEST_IOVA, bits);
	EXPECT_EQ(0, count(bits));
	ASSERT_EQ(0, set_dirty(self->fd, alloc.out_id, FD_DIRTY_ENABLE));
	ASSERT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, get_dirty(self->fd, alloc.out_id, GUEST_IOVA, bits));
	EXPECT_EQ(PAGES, count(bits));
	memset(bits, 0, sizeof(bits));
	ASSERT_EQ(0, get_dirty(self->fd, alloc.out_id, GUEST_IOVA * 2, bits));
	EXPECT_EQ(0, count(bits));
	EXPECT_EQ(0, set_dirty(self->fd, alloc.out_id, 0));
	get_dirty(self->fd, alloc.out_id, GUEST_IOVA, bits);
	EXPECT_EQ(0, count(bits));
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
}

TEST_F(fd, what_is_told)
{
	struct fd_hw_info info = { .size = sizeof(info), .dev = self->dev_id };
	struct vfio_iova_range range[16];
	struct fd_ioas_ranges ranges = {
		.size = sizeof(ranges),
		.ioas = self->ioas,
		.count = 16,
		.ranges = (uintptr_t)range,
	};
	struct fd_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = FD_HWPT_NEST_PARENT,
		.dev = self->dev_id,
		.pt = self->ioas,
	};

	ASSERT_EQ(0, guest_ioctl(self->fd, FD_HW_INFO, &info));
	EXPECT_EQ(0, info.out_type);	/* none of those that have a number */
	EXPECT_TRUE(info.out_capabilities & FD_CAP_DIRTY);
	ASSERT_EQ(0, guest_ioctl(self->fd, FD_IOAS_RANGES, &ranges));
	EXPECT_EQ(PAGE, ranges.out_alignment);
	EXPECT_LE(2, ranges.count);	/* below and above where interrupts go */
	EXPECT_GT(0xfee00000, range[0].end);
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(self->fd, FD_HWPT_ALLOC, &alloc));
}

TEST_HARNESS_MAIN
