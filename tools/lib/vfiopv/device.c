// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvfiopv: devices, their config space and BAR 0.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "vfiopv.h"

static int compare_bdf(const void *a, const void *b)
{
	return strcmp(a, b);
}

int vfiopv_find(const char *driver, char bdfs[][16], int max)
{
	struct dirent *entry;
	char path[128];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s", driver);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (n < max && (entry = readdir(dir)))
		if (strlen(entry->d_name) == 12 && entry->d_name[4] == ':')
			strcpy(bdfs[n++], entry->d_name);
	closedir(dir);
	qsort(bdfs, n, sizeof(bdfs[0]), compare_bdf);
	return n;
}

int vfiopv_group_open(const char *bdf)
{
	char path[128], link[256], dev[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = 0;
	snprintf(dev, sizeof(dev), "/dev/vfio/%s", strrchr(link, '/') + 1);
	fd = open(dev, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int region(const struct vfiopv_dev *dev, unsigned int index, off_t *offset, size_t *size,
		  __u32 *flags)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	*offset = info.offset;
	*size = info.size;
	*flags = info.flags;
	return 0;
}

int vfiopv_dev_get(struct vfiopv_dev *dev)
{
	size_t config_size;
	__u32 flags = 0;
	int ret;

	dev->mmio = NULL;
	dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
	if (dev->fd < 0)
		return -errno;
	ret = region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &dev->config, &config_size, &flags) ?:
	      region(dev, VFIO_PCI_BAR0_REGION_INDEX, &dev->bar0, &dev->bar0_size, &flags);
	if (ret)
		return ret;
	if (flags & VFIO_REGION_INFO_FLAG_MMAP) {
		dev->mmio = mmap(NULL, dev->bar0_size, PROT_READ | PROT_WRITE, MAP_SHARED,
				 dev->fd, dev->bar0);
		if (dev->mmio == MAP_FAILED)
			dev->mmio = NULL;
	}
	return 0;
}

void vfiopv_dev_put(struct vfiopv_dev *dev)
{
	if (dev->mmio)
		munmap(dev->mmio, dev->bar0_size);
	dev->mmio = NULL;
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

void vfiopv_dev_close(struct vfiopv_dev *dev)
{
	vfiopv_dev_put(dev);
	if (dev->group >= 0)
		close(dev->group);
	dev->group = -1;
}

int vfiopv_config_read(const struct vfiopv_dev *dev, unsigned int off, void *buf, size_t len)
{
	ssize_t n = pread(dev->fd, buf, len, dev->config + off);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

int vfiopv_config_write(const struct vfiopv_dev *dev, unsigned int off, const void *buf, size_t len)
{
	ssize_t n = pwrite(dev->fd, buf, len, dev->config + off);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

int vfiopv_dev_enable(const struct vfiopv_dev *dev, bool memory, bool master)
{
	__u16 command;
	int ret;

	ret = vfiopv_config_read(dev, PCI_COMMAND, &command, sizeof(command));
	if (ret)
		return ret;
	command &= ~(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	command |= (memory ? PCI_COMMAND_MEMORY : 0) | (master ? PCI_COMMAND_MASTER : 0);
	return vfiopv_config_write(dev, PCI_COMMAND, &command, sizeof(command));
}
