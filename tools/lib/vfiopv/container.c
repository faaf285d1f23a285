// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvfiopv: containers, and one range at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vfiopv.h"

int vfiopv_open(struct vfiopv *c, unsigned int type)
{
	*c = (struct vfiopv) { .type = type, .asked = type };
	c->fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	return c->fd < 0 ? -errno : 0;
}

void vfiopv_close(struct vfiopv *c)
{
	if (c->fd >= 0)
		close(c->fd);
	*c = (struct vfiopv) { .fd = -1 };
}

/*
 * A container has a type while it has devices. The kernel knows whether it has one now, as other
 * devices may be closed meanwhile.
 */
static bool has_type(const struct vfiopv *c)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

	return !ioctl(c->fd, VFIO_IOMMU_GET_INFO, &info);
}

static int set_type(struct vfiopv *c, unsigned int type)
{
	if (ioctl(c->fd, VFIO_SET_IOMMU, type))
		return -errno;
	c->type = type;
	return 0;
}

/* The groups decide which types can be set; VFIO_CHECK_EXTENSION does not tell. */
static int set_best_type(struct vfiopv *c)
{
	int ret = set_type(c, VFIO_PV_IOMMU);

	/* These do not mean that the type is the wrong one */
	if (!ret || ret == -EBUSY || ret == -ENOMEM || ret == -EINTR)
		return ret;
	return set_type(c, VFIO_TYPE1v2_IOMMU);
}

/* The kernel can't be asked which version of type 1 it is */
static unsigned int found_type(const struct vfiopv *c)
{
	struct vfio_pv_info_cap_limits limits;

	if (!vfiopv_limits(c, &limits))
		return VFIO_PV_IOMMU;
	return c->asked == VFIO_TYPE1_IOMMU ? VFIO_TYPE1_IOMMU : VFIO_TYPE1v2_IOMMU;
}

/*
 * iommufd in the place of a container seems to have a type as soon as it has a group, but has yet
 * to be told which version. A container that has a type refuses another one.
 */
static int enter(struct vfiopv *c, int group)
{
	bool pv = c->asked == VFIO_PV_IOMMU, is_pv;
	unsigned int type;
	int ret;

	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &c->fd))
		return -errno;
	ret = c->asked == VFIOPV_BEST ? set_best_type(c) : set_type(c, c->asked);
	if (ret != -EINVAL || !has_type(c))
		return ret;
	/* The type was set for another group: by this program, another thread or another program */
	type = found_type(c);
	is_pv = type == VFIO_PV_IOMMU;
	if (c->asked != VFIOPV_BEST && is_pv != pv)
		return -EINVAL;
	c->type = type;
	return 0;
}

int vfiopv_dev_open(struct vfiopv *c, struct vfiopv_dev *dev, const char *bdf)
{
	unsigned int i;
	int ret;

	*dev = (struct vfiopv_dev) { .group = -1, .fd = -1 };
	for (i = 0; bdf[i] && i < sizeof(dev->bdf) - 1; i++)
		dev->bdf[i] = bdf[i];
	dev->group = vfiopv_group_open(dev->bdf);
	if (dev->group < 0)
		return dev->group;
	ret = enter(c, dev->group) ?: vfiopv_dev_get(dev);
	if (ret)
		vfiopv_dev_close(dev);
	return ret;
}

/* Not VFIOPV_BEST, which stands for a type to be found out */
static bool is_type1(const struct vfiopv *c)
{
	return c->type == VFIO_TYPE1_IOMMU || c->type == VFIO_TYPE1v2_IOMMU;
}

int vfiopv_map(const struct vfiopv *c, __u64 iova, void *vaddr, __u64 size, __u32 flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (unsigned long)vaddr,
		.iova = iova,
		.size = size,
	};

	return ioctl(c->fd, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

int vfiopv_map_foreign(const struct vfiopv *c, __u64 iova, __u32 vm, __u64 gpa, __u64 size,
		       __u32 flags)
{
	struct vfio_pv_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags | VFIO_PV_MAP_FLAG_FOREIGN,
		.vaddr = gpa,
		.iova = iova,
		.size = size,
		.vm = vm,
	};

	if (c->type != VFIO_PV_IOMMU)
		return -EOPNOTSUPP;
	return ioctl(c->fd, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

int vfiopv_unmap(const struct vfiopv *c, __u64 iova, __u64 size, __u32 flags, __u64 *removed)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = flags,
		.iova = iova,
		.size = size,
	};

	/* Type 1 always flushes, which is more than was asked for */
	if (is_type1(c))
		unmap.flags &= ~VFIO_PV_UNMAP_FLAG_NO_FLUSH;
	if (ioctl(c->fd, VFIO_IOMMU_UNMAP_DMA, &unmap))
		return -errno;
	if (removed)
		*removed = unmap.size;
	return 0;
}

int vfiopv_invalidate(const struct vfiopv *c, __u64 iova, __u64 size)
{
	struct vfio_pv_iommu_invalidate inv = {
		.argsz = sizeof(inv),
		.granularity = size ? VFIO_PV_INV_PAGE : VFIO_PV_INV_DOMAIN,
		.pasid = VFIO_PV_PASID_NONE,
		.addr = iova,
		.size = size,
	};

	/* Nothing waits to be flushed */
	if (is_type1(c))
		return 0;
	return ioctl(c->fd, VFIO_PV_IOMMU_INVALIDATE, &inv) ? -errno : 0;
}
