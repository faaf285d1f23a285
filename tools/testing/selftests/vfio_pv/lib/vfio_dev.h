/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO as a user of devices needs it: container, group, device, config space,
 * BAR 0. Functions return 0 (or a file descriptor) or a negative errno.
 */
#ifndef VFIO_DEV_H
#define VFIO_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/types.h>

#define VFIO_DEV_MAX	8

struct vfio_dev {
	char bdf[16];
	int group;		/* file descriptors, -1 when closed */
	int fd;
	off_t config;		/* offset of config space in fd */
	off_t bar0;		/* offset of BAR 0 in fd */
	size_t bar0_size;
	void *mmio;		/* BAR 0, mapped; NULL when it can't be */
};

/* Devices bound to @driver, in the order of their addresses; how many */
int vfio_find_devices(const char *driver, char bdfs[][16], int max);

int vfio_container_open(void);
int vfio_group_open(const char *bdf);
int vfio_group_set_container(int group, int container);

/* @dev->group must be in a container that has its IOMMU type */
int vfio_dev_open(struct vfio_dev *dev);
void vfio_dev_close(struct vfio_dev *dev);

int vfio_config_read(const struct vfio_dev *dev, unsigned int off, void *buf, size_t len);
int vfio_config_write(const struct vfio_dev *dev, unsigned int off, const void *buf,
		      size_t len);
__u32 vfio_config_read32(const struct vfio_dev *dev, unsigned int off);
int vfio_config_write32(const struct vfio_dev *dev, unsigned int off, __u32 value);
/* Memory space and bus mastering, on or off */
int vfio_dev_enable(const struct vfio_dev *dev, bool memory, bool master);

/* MAP_DMA and UNMAP_DMA as a well-behaved user calls them */
int vfio_map_dma(int container, __u64 iova, void *vaddr, __u64 size, bool writable);
int vfio_unmap_dma(int container, __u64 iova, __u64 size, __u64 *removed);

#endif /* VFIO_DEV_H */
