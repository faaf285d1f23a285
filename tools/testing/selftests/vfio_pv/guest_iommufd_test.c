// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd on the paravirtual IOMMU: a device used by its own file, address spaces, moving it
 * from one to another while it works, the dirty log, and iommufd in the place of a container.
 *
 * Needs a kernel with iommufd, and sets its parameter allow_unsafe_interrupts: iommufd can't
 * be told that the host isolates interrupts.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <linux/iommufd.h>

#include "lib/guest_fault.h"
#include "lib/guest_iface.h"
#include "lib/guest_ram.h"
#include "lib/guest_test.h"
#include "lib/edu.h"
#include "lib/pv_sys.h"

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

/* Skip all tests if the kernel has no iommufd */
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

/* Open the device's own file, whose name is that of a folder in sysfs */
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
	struct iommu_ioas_alloc arg = { .size = sizeof(arg) };
	int ret = guest_ioctl(fd, IOMMU_IOAS_ALLOC, &arg);

	*id = arg.out_ioas_id;
	return ret;
}

static int map(int fd, __u32 ioas, __u64 iova, void *vaddr, __u64 size, bool writable)
{
	struct iommu_ioas_map arg = {
		.size = sizeof(arg),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 (writable ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = ioas,
		.user_va = (uintptr_t)vaddr,
		.length = size,
		.iova = iova,
	};

	return guest_ioctl(fd, IOMMU_IOAS_MAP, &arg);
}

static int unmap(int fd, __u32 ioas, __u64 iova, __u64 size, __u64 *removed)
{
	struct iommu_ioas_unmap arg = { sizeof(arg), ioas, iova, size };
	int ret = guest_ioctl(fd, IOMMU_IOAS_UNMAP, &arg);

	if (removed)
		*removed = arg.length;
	return ret;
}

static int attach(const struct vfiopv_dev *dev, __u32 pt)
{
	struct vfio_device_attach_iommufd_pt arg = { .argsz = sizeof(arg), .pt_id = pt };

	return guest_ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg);
}

static int detach(const struct vfiopv_dev *dev)
{
	struct vfio_device_detach_iommufd_pt arg = { .argsz = sizeof(arg) };

	return guest_ioctl(dev->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg);
}

static int region(const struct vfiopv_dev *dev, unsigned int index, off_t *offset)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	int ret = guest_ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info);

	*offset = info.offset;
	return ret;
}

/* Open the device @bdf and bind it to an iommufd of its own */
static int open_bound(struct vfiopv_dev *dev, const char *bdf, int *fd, __u32 *dev_id)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	int ret;

	*dev = (struct vfiopv_dev) { .group = -1, .fd = -1 };
	strcpy(dev->bdf, bdf);
	*fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	dev->fd = open_device_file(bdf);
	if (dev->fd < 0)
		return -ENOENT;
	bind.iommufd = *fd;
	ret = guest_ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	*dev_id = bind.out_devid;
	return ret;
}

static int enable(struct vfiopv_dev *dev)
{
	return region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &dev->config) ?:
	       region(dev, VFIO_PCI_BAR0_REGION_INDEX, &dev->bar0) ?:
	       vfio_dev_enable(dev, true, true);
}

FIXTURE_SETUP(fd)
{
	char bdf[16];

	if (guest_find_edu(0, bdf))
		SKIP(return, "needs an edu device bound to vfio-pci");
	ASSERT_EQ(0, open_bound(&self->dev, bdf, &self->fd, &self->dev_id));
	ASSERT_EQ(0, new_ioas(self->fd, &self->ioas));
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
	ASSERT_EQ(0, enable(&self->dev));
	self->window = (struct dma_window) { GUEST_IOVA_WINDOW, guest_memory(PAGE) };
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

/* Move the device to another address space and back, each in one step */
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

/* Without an address space the device reaches nothing */
TEST_F(fd, detach)
{
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	memset(self->buffer, 0x5a, PAGE);
	ASSERT_EQ(0, detach(&self->dev));
	EXPECT_TRUE(edu_to_ram(&self->dev, GUEST_IOVA, 0, 64));
	EXPECT_EQ(0x5a, self->buffer[0]);
	EXPECT_EQ(0x5a, self->buffer[63]);
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

/* Closing all files leaves nothing mapped or pinned at the host */
TEST_F(fd, leaves_nothing)
{
	struct guest_stats before, mapped, after;

	ASSERT_EQ(0, guest_stats(&before));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, guest_stats(&mapped));
	EXPECT_EQ(before.pages_mapped + PAGES, mapped.pages_mapped);
	EXPECT_EQ(before.pages_pinned + PAGES, mapped.pages_pinned);
	close(self->dev.fd);
	close(self->fd);
	self->dev.fd = -1;
	self->fd = -1;
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(before.pages_mapped - 1, after.pages_mapped);	/* nor the window */
	EXPECT_EQ(before.pages_pinned - 1, after.pages_pinned);
}

/* A domain of one's own in an address space, which stays when the device is closed */
static int new_domain(int fd, __u32 dev_id, __u32 ioas, __u32 *id)
{
	struct iommu_hwpt_alloc arg = { .size = sizeof(arg), .dev_id = dev_id, .pt_id = ioas };
	int ret = guest_ioctl(fd, IOMMU_HWPT_ALLOC, &arg);

	*id = arg.out_hwpt_id;
	return ret;
}

/* Remove all devices of pvvm from the guest, find them again, and bind @bdf. True on success */
static bool plug_all_again(const char *bdf)
{
	const char *devices = getenv("PVVM_DEVICES");
	char path[64], *word, *list = strdup(devices ?: "");

	for (word = strtok(list, " "); word; word = strtok(NULL, " ")) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove",
			 strchr(word, ':') + 1);
		if (pv_write_file(path, "1"))
			return false;
	}
	free(list);
	snprintf(path, sizeof(path), "pvvm-bind vfio-pci %s", bdf);
	return !pv_write_file("/sys/bus/pci/rescan", "1") && !system(path);
}

/* Bind the device anew to the iommufd, and attach it to @pt */
static int come_back(struct vfiopv_dev *dev, int fd, __u32 pt)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = fd };

	dev->fd = open_device_file(dev->bdf);
	return guest_ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) ?: attach(dev, pt) ?:
	       enable(dev);
}

/* The interface stops with the last device, and forgets domains, which their user goes on using */
TEST_F(fd, domain_outlives_all_devices)
{
	__u32 domain;

	ASSERT_EQ(0, new_domain(self->fd, self->dev_id, self->ioas, &domain));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	close(self->dev.fd);
	ASSERT_TRUE(plug_all_again(self->dev.bdf));
	EXPECT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA * 2, self->buffer, SIZE, true));
	ASSERT_EQ(0, come_back(&self->dev, self->fd, domain));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA * 2, self->buffer, &self->window));
}

#define MUCH		(32ULL << 20)
#define LEFT_KB		(16L << 10)	/* less memory than that may be missing at the end */

/* Memory that the host refuses to map again after a restart is unpinned when it is unmapped */
TEST_F(fd, refused_is_unpinned)
{
	unsigned long before = ram_free_kb();
	char *memory = guest_memory(MUCH);
	__u64 removed = 0;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, memory, MUCH, true));
	if (!getenv("PVVM_SHARE"))
		SKIP(return, "needs host_limits.sh at the host level");
	ASSERT_TRUE(host_limit("max_mappings", "0"));
	iface_restart();
	ASSERT_TRUE(host_limit("max_mappings", "67108864"));
	EXPECT_EQ(0, unmap(self->fd, self->ioas, GUEST_IOVA, MUCH, &removed));
	EXPECT_EQ(MUCH, removed);
	guest_memory_free(memory, MUCH);
	EXPECT_GT(LEFT_KB, (long)(before - ram_free_kb()));
}

/* ------------------------------------------------------------------ */
/*
 * Whatever fails leaves all as it was; a device is where it was. Not so if the answer can't be
 * copied to the user: then iommufd has mapped or unmapped, and VFIO lets go of the device.
 */

#define LONG	600

#define can_fail() do {								\
	const char *__missing = pv_fault_missing();				\
										\
	if (__missing)								\
		SKIP(return, "%s", __missing);					\
	ASSERT_TRUE(pv_fault_begin_kernel());					\
} while (0)

static int map_or_not(int fd, __u32 ioas, void *vaddr)
{
	int ret = map(fd, ioas, GUEST_IOVA, vaddr, SIZE, true);

	if (ret == -EFAULT)
		unmap(fd, ioas, GUEST_IOVA, SIZE, NULL);
	return ret;
}

static int unmap_or_not(int fd, __u32 ioas, void *vaddr)
{
	int ret = unmap(fd, ioas, GUEST_IOVA, SIZE, NULL);

	if (ret == -EFAULT)
		map(fd, ioas, GUEST_IOVA, vaddr, SIZE, true);
	return ret;
}

static int replace_or_not(const struct vfiopv_dev *dev, __u32 from, __u32 to)
{
	int ret = attach(dev, to);

	if (ret == -EFAULT)
		attach(dev, from);
	return ret;
}

TEST_F_TIMEOUT(fd, failures_of_map_and_unmap, LONG)
{
	can_fail();
	guest_each_failure("IOAS_MAP", 5, map_or_not(self->fd, self->ioas, self->buffer),
			   EXPECT_EQ(0, unmap(self->fd, self->ioas, GUEST_IOVA, SIZE, NULL)));
	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	guest_each_failure("IOAS_UNMAP", 0, unmap_or_not(self->fd, self->ioas, self->buffer),
			   EXPECT_EQ(0, map_or_not(self->fd, self->ioas, self->buffer)));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

TEST_F_TIMEOUT(fd, failures_of_attach_and_detach, LONG)
{
	can_fail();
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	guest_each_failure("DETACH", 0, detach(&self->dev),
			   EXPECT_EQ(0, attach(&self->dev, self->ioas)));
	ASSERT_EQ(0, detach(&self->dev));
	guest_each_failure("ATTACH", 10, attach(&self->dev, self->ioas),
			   EXPECT_EQ(0, detach(&self->dev)));
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

/* It reaches what it is attached to also after that could not be changed */
TEST_F_TIMEOUT(fd, failures_of_replace, LONG)
{
	__u32 other;

	can_fail();
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, new_ioas(self->fd, &other));
	ASSERT_EQ(0, map(self->fd, other, GUEST_IOVA, self->buffer + SIZE, SIZE, true));
	ASSERT_EQ(0, map(self->fd, other, GUEST_IOVA_WINDOW, self->window.memory, PAGE, true));
	guest_each_failure("ATTACH to another", 10,
			   replace_or_not(&self->dev, self->ioas, other),
			   EXPECT_EQ(0, attach(&self->dev, self->ioas)));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, attach(&self->dev, other));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer + SIZE, &self->window));
}

static int set_dirty(int fd, __u32 hwpt, __u32 flags)
{
	struct iommu_hwpt_set_dirty_tracking arg = {
		.size = sizeof(arg),
		.flags = flags,
		.hwpt_id = hwpt,
	};

	return guest_ioctl(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &arg);
}

static int get_dirty(int fd, __u32 hwpt, __u64 iova, __u64 *bits)
{
	struct iommu_hwpt_get_dirty_bitmap arg = {
		.size = sizeof(arg),
		.hwpt_id = hwpt,
		.iova = iova,
		.length = SIZE,
		.page_size = PAGE,
		.data = (uintptr_t)bits,
	};

	return guest_ioctl(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &arg);
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
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.dev_id = self->dev_id,
		.pt_id = self->ioas,
	};
	__u64 bits[2] = {};

	ASSERT_EQ(0, guest_ioctl(self->fd, IOMMU_HWPT_ALLOC, &alloc));
	ASSERT_EQ(0, attach(&self->dev, alloc.out_hwpt_id));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, map(self->fd, self->ioas, GUEST_IOVA * 2, self->buffer, SIZE, false));
	/* With the log off, nothing is dirty; iommufd reports no error */
	get_dirty(self->fd, alloc.out_hwpt_id, GUEST_IOVA, bits);
	EXPECT_EQ(0, count(bits));
	ASSERT_EQ(0, set_dirty(self->fd, alloc.out_hwpt_id, IOMMU_HWPT_DIRTY_TRACKING_ENABLE));
	ASSERT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, get_dirty(self->fd, alloc.out_hwpt_id, GUEST_IOVA, bits));
	EXPECT_EQ(PAGES, count(bits));
	memset(bits, 0, sizeof(bits));
	ASSERT_EQ(0, get_dirty(self->fd, alloc.out_hwpt_id, GUEST_IOVA * 2, bits));
	EXPECT_EQ(0, count(bits));
	EXPECT_EQ(0, set_dirty(self->fd, alloc.out_hwpt_id, 0));
	get_dirty(self->fd, alloc.out_hwpt_id, GUEST_IOVA, bits);
	EXPECT_EQ(0, count(bits));
	ASSERT_EQ(0, attach(&self->dev, self->ioas));
}

TEST_F(fd, what_is_told)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = self->dev_id };
	struct iommu_iova_range range[16];
	struct iommu_ioas_iova_ranges ranges = {
		.size = sizeof(ranges),
		.ioas_id = self->ioas,
		.num_iovas = 16,
		.allowed_iovas = (uintptr_t)range,
	};
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
		.dev_id = self->dev_id,
		.pt_id = self->ioas,
	};

	ASSERT_EQ(0, guest_ioctl(self->fd, IOMMU_GET_HW_INFO, &info));
	/* There is no type number for this IOMMU */
	EXPECT_EQ(IOMMU_HW_INFO_TYPE_NONE, info.out_data_type);
	EXPECT_TRUE(info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	ASSERT_EQ(0, guest_ioctl(self->fd, IOMMU_IOAS_IOVA_RANGES, &ranges));
	EXPECT_EQ(PAGE, ranges.out_iova_alignment);
	EXPECT_LE(2, ranges.num_iovas);	/* below and above where interrupts go */
	EXPECT_GT(0xfee00000, range[0].last);
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(self->fd, IOMMU_HWPT_ALLOC, &alloc));
}

/* ------------------------------------------------------------------ */
/*
 * PASIDs. The device issues none, but the host's IOMMU treats its requests as requests with
 * PASID 1 (see pviommu_test_pasid), so only what is attached to that has an effect.
 */

/* Not yet in the headers */
#define HWPT_ALLOC_PASID	8
#define ATTACH_PASID		1

struct pasid_arg {
	__u32 argsz;
	__u32 flags;
	__u32 pt_id;
	__u32 pasid;
};

static int attach_pasid(const struct vfiopv_dev *dev, __u32 pt, __u32 pasid)
{
	struct pasid_arg arg = { sizeof(arg), ATTACH_PASID, pt, pasid };

	return guest_ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg);
}

static int detach_pasid(const struct vfiopv_dev *dev, __u32 pasid)
{
	/* This structure has no pt_id: the PASID is in its place */
	struct pasid_arg arg = { sizeof(arg) - sizeof(__u32), ATTACH_PASID, pasid };

	return guest_ioctl(dev->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg);
}

static __u32 max_pasid_log2(int fd, __u32 dev_id)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = dev_id };

	return guest_ioctl(fd, IOMMU_GET_HW_INFO, &info) ? 0 : info.out_max_pasid_log2;
}

static int new_hwpt(int fd, __u32 dev_id, __u32 ioas, __u32 flags, __u32 *hwpt)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = flags, .dev_id = dev_id, .pt_id = ioas,
	};
	int ret = guest_ioctl(fd, IOMMU_HWPT_ALLOC, &alloc);

	*hwpt = alloc.out_hwpt_id;
	return ret;
}

FIXTURE(pasid)
{
	int fd;
	struct vfiopv_dev dev;
	__u32 dev_id;
	__u32 ioas[2];
	__u32 hwpt[2];
	struct dma_window window;
	char *buffer;
};

FIXTURE_SETUP(pasid)
{
	char bdf[16];
	int i;

	if (guest_find_edu(0, bdf))
		SKIP(return, "needs an edu device bound to vfio-pci");
	ASSERT_EQ(0, open_bound(&self->dev, bdf, &self->fd, &self->dev_id));
	if (!max_pasid_log2(self->fd, self->dev_id))
		SKIP(return, "the device has no PASIDs");
	ASSERT_EQ(0, enable(&self->dev));
	self->window = (struct dma_window) { GUEST_IOVA_WINDOW, guest_memory(PAGE) };
	self->buffer = guest_memory(2 * SIZE);
	ASSERT_NE(NULL, self->buffer);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, new_ioas(self->fd, &self->ioas[i]));
		ASSERT_EQ(0, new_hwpt(self->fd, self->dev_id, self->ioas[i], HWPT_ALLOC_PASID,
				      &self->hwpt[i]));
		ASSERT_EQ(0, map(self->fd, self->ioas[i], GUEST_IOVA_WINDOW,
				 self->window.memory, PAGE, true));
		ASSERT_EQ(0, map(self->fd, self->ioas[i], GUEST_IOVA, self->buffer + i * SIZE,
				 SIZE, true));
	}
}

FIXTURE_TEARDOWN(pasid)
{
	close(self->dev.fd);
	close(self->fd);
}

/* Does the device write to the page at @memory? */
static bool arrives(const struct vfiopv_dev *dev, const char *memory)
{
	char before[64];

	memcpy(before, memory, sizeof(before));
	return edu_to_ram(dev, GUEST_IOVA, 0, sizeof(before)) &&
	       memcmp(before, memory, sizeof(before));
}

TEST_F(pasid, attach_and_detach)
{
	EXPECT_EQ(1, max_pasid_log2(self->fd, self->dev_id));
	ASSERT_EQ(0, attach_pasid(&self->dev, self->hwpt[0], 1));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA * 2, self->buffer + PAGE,
				 &self->window));
	/* Mappings that are made and removed while it is attached */
	ASSERT_EQ(0, map(self->fd, self->ioas[0], GUEST_IOVA * 2, self->buffer, PAGE, true));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA * 2, self->buffer, &self->window));
	ASSERT_EQ(0, unmap(self->fd, self->ioas[0], GUEST_IOVA * 2, PAGE, NULL));
	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA * 2, self->buffer, &self->window));
	memset(self->buffer, 0x5a, PAGE);
	ASSERT_EQ(0, detach_pasid(&self->dev, 1));
	EXPECT_FALSE(arrives(&self->dev, self->buffer));
}

/* The device has been moved when the ioctl returns */
TEST_F(pasid, replace)
{
	ASSERT_EQ(0, attach_pasid(&self->dev, self->hwpt[0], 1));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, attach_pasid(&self->dev, self->hwpt[1], 1));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer + SIZE, &self->window));
	EXPECT_EQ(1, dma_refused(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

TEST_F(pasid, refused)
{
	__u32 plain;

	EXPECT_EQ(-EINVAL, attach_pasid(&self->dev, self->hwpt[0], 2));
	/* iommufd's own rule: the domain must have been allocated for PASIDs */
	ASSERT_EQ(0, new_hwpt(self->fd, self->dev_id, self->ioas[0], 0, &plain));
	EXPECT_EQ(-EINVAL, attach_pasid(&self->dev, plain, 1));
}

/* The device itself is attached and detached independently of the PASID */
TEST_F(pasid, apart_from_the_device)
{
	ASSERT_EQ(0, attach(&self->dev, self->hwpt[1]));
	ASSERT_EQ(0, attach_pasid(&self->dev, self->hwpt[0], 1));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, detach(&self->dev));
	EXPECT_EQ(1, dma_works(&self->dev, GUEST_IOVA, self->buffer, &self->window));
}

/* ------------------------------------------------------------------ */
/* iommufd in the place of a container: the answers are the same */

FIXTURE(container)
{
	struct guest_vfio g;
	struct vfiopv c;
	struct dma_window window;
	char *buffer;
};

FIXTURE_VARIANT(container)
{
	const char *path;
};

FIXTURE_VARIANT_ADD(container, of_vfio)
{
	.path = "/dev/vfio/vfio",
};

FIXTURE_VARIANT_ADD(container, of_iommufd)
{
	.path = "/dev/iommu",
};

static int open_container(struct guest_vfio *g, struct vfiopv *c, const char *path)
{
	char bdf[16];

	if (guest_find_edu(0, bdf))
		return -ENODEV;
	*c = (struct vfiopv) {
		.fd = open(path, O_RDWR | O_CLOEXEC),
		.type = VFIO_TYPE1v2_IOMMU,
		.asked = VFIO_TYPE1v2_IOMMU,
	};
	g->container = c->fd;
	if (c->fd < 0)
		return -errno;
	return vfiopv_dev_open(c, &g->dev, bdf) ?: vfiopv_dev_enable(&g->dev, true, true);
}

FIXTURE_SETUP(container)
{
	ASSERT_EQ(0, open_container(&self->g, &self->c, variant->path));
	guest_setup_window(&self->g, &self->window);
	self->buffer = guest_memory(SIZE);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(container)
{
	guest_vfio_close(&self->g);
}

TEST_F(container, dma)
{
	struct dma_reach reach;
	__u64 removed = 0;
	int fd = self->g.container;

	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, SIZE, true));
	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA * 2, self->buffer, PAGE, false));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + SIZE - PAGE,
			       self->buffer + SIZE - PAGE, &self->window));
	ASSERT_EQ(0, dma_try(&self->g.dev, GUEST_IOVA * 2, self->buffer, 64, &self->window,
			     &reach));
	EXPECT_TRUE(reach.read);
	EXPECT_FALSE(reach.wrote);
	ASSERT_EQ(0, vfio_unmap_dma(fd, GUEST_IOVA, SIZE, &removed));
	EXPECT_EQ(SIZE, removed);
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, guest_unmap(&self->g, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &removed));
	EXPECT_EQ(2 * PAGE, removed);		/* the window too */
}

TEST_F(container, errors)
{
	int fd = self->g.container;

	ASSERT_EQ(0, vfio_map_dma(fd, GUEST_IOVA, self->buffer, 4 * PAGE, true));
	EXPECT_EQ(-EEXIST, vfio_map_dma(fd, GUEST_IOVA + PAGE, self->buffer, PAGE, true));
	EXPECT_EQ(-EINVAL, vfio_map_dma(fd, GUEST_IOVA * 2, self->buffer, 0, true));
	EXPECT_EQ(-EINVAL, vfio_map_dma(fd, GUEST_IOVA * 2 + 1, self->buffer, PAGE, true));
	EXPECT_EQ(-EINVAL, vfio_map_dma(fd, 0xfee00000, self->buffer, PAGE, true));
	EXPECT_EQ(-EFAULT, vfio_map_dma(fd, GUEST_IOVA * 2, (void *)PAGE, PAGE, true));
	EXPECT_EQ(-EINVAL, guest_unmap(&self->g, PAGE, 0, VFIO_DMA_UNMAP_FLAG_ALL, NULL));
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

/* iommufd is not taken for a container of our type, and does not offer it */
TEST_F(container, of_the_best_type)
{
	bool iommufd = !strcmp(variant->path, "/dev/iommu");
	unsigned int best = iommufd ? VFIO_TYPE1v2_IOMMU : VFIO_PV_IOMMU;
	char bdf[16];

	strcpy(bdf, self->g.dev.bdf);
	EXPECT_EQ(VFIO_TYPE1v2_IOMMU, self->c.type);
	vfiopv_dev_close(&self->g.dev);
	self->c.asked = VFIO_PV_IOMMU;
	EXPECT_EQ(iommufd ? -EINVAL : 0, vfiopv_dev_open(&self->c, &self->g.dev, bdf));
	vfiopv_dev_close(&self->g.dev);
	self->c.asked = VFIOPV_BEST;
	EXPECT_EQ(0, vfiopv_dev_open(&self->c, &self->g.dev, bdf));
	EXPECT_EQ(best, self->c.type);
}

/* Both kinds of containers have the same IOVA ranges */
TEST(containers_have_the_same_ranges)
{
	struct vfio_iova_range ranges[2][16];
	static const char * const paths[] = { "/dev/vfio/vfio", "/dev/iommu" };
	struct guest_vfio g;
	struct vfiopv c;
	int i, n[2];

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, open_container(&g, &c, paths[i]));
		n[i] = vfiopv_ranges(&c, ranges[i], 16);
		guest_vfio_close(&g);
	}
	ASSERT_LE(2, n[0]);
	ASSERT_EQ(n[0], n[1]);
	for (i = 0; i < n[0]; i++) {
		EXPECT_EQ(ranges[0][i].start, ranges[1][i].start);
		EXPECT_EQ(ranges[0][i].end, ranges[1][i].end);
	}
}

TEST_HARNESS_MAIN
