// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: what a container tells about itself.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

/**
 * vfio_pv_all_coherent() - do all domains make DMA snoop CPU caches
 * @c: the container
 *
 * Return: true if they do, or there is none.
 */
bool vfio_pv_all_coherent(struct vfio_pv_container *c)
{
	struct vfio_pv_domain *d;
	bool coherent = true;

	down_read(&c->lock);
	list_for_each_entry(d, &c->domains, link)
		coherent &= d->coherent;
	up_read(&c->lock);
	return coherent;
}

static int vfio_pv_add_avail(struct vfio_pv_container *c,
			     struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_dma_avail cap = {
		.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
		.header.version = 1,
	};

	spin_lock(&c->tree_lock);
	cap.avail = c->avail;
	spin_unlock(&c->tree_lock);
	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

static int vfio_pv_add_ranges(struct vfio_pv_container *c,
			      struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	const struct vfio_pv_layout *layout = &c->layout;
	size_t size = struct_size(cap, iova_ranges, layout->nr);
	unsigned int i;
	int ret;

	if (!layout->nr)
		return 0;
	cap = kzalloc(size, GFP_KERNEL);
	if (!cap)
		return -ENOMEM;
	cap->header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	cap->header.version = 1;
	cap->nr_iovas = layout->nr;
	for (i = 0; i < layout->nr; i++) {
		cap->iova_ranges[i].start = layout->ranges[i].start;
		cap->iova_ranges[i].end = layout->ranges[i].last;
	}
	ret = vfio_info_add_capability(caps, &cap->header, size);
	kfree(cap);
	return ret;
}

/* Fill in all but where the capabilities go. */
static int vfio_pv_collect(struct vfio_pv_container *c,
			   struct vfio_iommu_type1_info *info,
			   struct vfio_info_cap *caps)
{
	int ret;

	if (down_read_killable(&c->lock))
		return -EINTR;
	info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info->iova_pgsizes = c->layout.pgsizes;
	ret = vfio_pv_add_avail(c, caps);
	if (!ret)
		ret = vfio_pv_add_ranges(c, caps);
	up_read(&c->lock);
	return ret;
}

/*
 * A user whose buffer is too small for the capabilities is told how large it
 * has to be, and gets the rest.
 */
static int vfio_pv_copy_caps(struct vfio_iommu_type1_info *info,
			     struct vfio_info_cap *caps, unsigned long arg)
{
	size_t need = sizeof(*info) + caps->size;

	if (info->argsz < need) {
		info->argsz = need;
		return 0;
	}
	vfio_info_cap_shift(caps, sizeof(*info));
	info->cap_offset = sizeof(*info);
	if (copy_to_user((void __user *)arg + sizeof(*info), caps->buf, caps->size))
		return -EFAULT;
	return 0;
}

/**
 * vfio_pv_get_info() - VFIO_IOMMU_GET_INFO
 * @c: the container
 * @arg: user address of a struct vfio_iommu_type1_info
 *
 * Return: 0 or a negative errno.
 */
long vfio_pv_get_info(struct vfio_pv_container *c, unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	struct vfio_iommu_type1_info info = {};
	struct vfio_info_cap caps = {};
	size_t size;
	int ret;

	if (copy_from_user(&info, (void __user *)arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	size = min_t(size_t, info.argsz, sizeof(info));

	ret = vfio_pv_collect(c, &info, &caps);
	if (!ret)
		ret = vfio_pv_copy_caps(&info, &caps, arg);
	if (!ret && copy_to_user((void __user *)arg, &info, size))
		ret = -EFAULT;
	kfree(caps.buf);
	return ret;
}
