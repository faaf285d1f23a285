/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO for tests: other names for the functions of tools/lib/vfiopv, and a few more. Functions
 * return 0 (or a file descriptor) or a negative errno.
 */
#ifndef VFIO_DEV_H
#define VFIO_DEV_H

#include <errno.h>
#include <sys/ioctl.h>

#include <vfiopv.h>

#define VFIO_DEV_MAX	8

#define vfio_dev		vfiopv_dev
#define vfio_find_devices	vfiopv_find
#define vfio_group_open		vfiopv_group_open
#define vfio_config_read	vfiopv_config_read
#define vfio_config_write	vfiopv_config_write
#define vfio_dev_enable		vfiopv_dev_enable
/* @dev->group must be, and stays, in a container that has its IOMMU type */
#define vfio_dev_open		vfiopv_dev_get
#define vfio_dev_close		vfiopv_dev_put

static inline int vfio_container_open(void)
{
	struct vfiopv c;

	return vfiopv_open(&c, VFIOPV_BEST) ?: c.fd;
}

static inline int vfio_group_set_container(int group, int container)
{
	return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ? -errno : 0;
}

static inline __u32 vfio_config_read32(const struct vfio_dev *dev, unsigned int off)
{
	__u32 value = 0xdeadbeef;

	vfio_config_read(dev, off, &value, sizeof(value));
	return value;
}

static inline int vfio_config_write32(const struct vfio_dev *dev, unsigned int off, __u32 value)
{
	return vfio_config_write(dev, off, &value, sizeof(value));
}

/* MAP_DMA and UNMAP_DMA with valid arguments */
static inline int vfio_map_dma(int container, __u64 iova, void *vaddr, __u64 size, bool writable)
{
	struct vfiopv c = { .fd = container };

	return vfiopv_map(&c, iova, vaddr, size, VFIO_DMA_MAP_FLAG_READ |
			  (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0));
}

static inline int vfio_unmap_dma(int container, __u64 iova, __u64 size, __u64 *removed)
{
	struct vfiopv c = { .fd = container };

	return vfiopv_unmap(&c, iova, size, 0, removed);
}

#endif /* VFIO_DEV_H */
