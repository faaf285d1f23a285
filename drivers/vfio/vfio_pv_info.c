// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: ioctls that return information about a container.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/capability.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

/**
 * vfio_pv_has_emulated() - does a container have mediated devices
 * @c: the container
 *
 * Return: true if it has.
 */
bool vfio_pv_has_emulated(struct vfio_pv_container *c)
{
	bool emulated;

	down_read(&c->lock);
	emulated = !list_empty(&c->emulated);
	up_read(&c->lock);
	return emulated;
}

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

static int vfio_pv_add_migration(struct vfio_pv_container *c,
				 struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_cap_migration cap;

	/* It has padding at its end, which the user will see */
	memset(&cap, 0, sizeof(cap));
	cap.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION;
	cap.header.version = 1;
	cap.pgsize_bitmap = vfio_pv_min_pgsize(&c->layout);
	cap.max_dirty_bitmap_size = vfio_pv_dirty_max();
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

/* VFIO_PV_INFO_*. All devices are behind the same host, so any domain will do. */
static u64 vfio_pv_features(struct vfio_pv_container *c)
{
	struct vfio_pv_domain *d;
	u64 from, features = 0;

	d = list_first_entry_or_null(&c->domains, struct vfio_pv_domain, link);
	if (!d)
		return 0;
	from = pv_iommu_features(d->domain);
	if (from & PVIOMMU_F_FOREIGN)
		features |= VFIO_PV_INFO_FOREIGN;
	if (from & PVIOMMU_F_TABLES)
		features |= VFIO_PV_INFO_TABLES;
	return features;
}

static int vfio_pv_add_limits(struct vfio_pv_container *c,
			      struct vfio_info_cap *caps)
{
	const struct vfio_pv_layout *layout = &c->layout;
	struct vfio_pv_info_cap_limits cap = {
		.header.id = VFIO_PV_INFO_CAP_LIMITS,
		.header.version = 2,
		.max_batch = VFIO_PV_BATCH_MAX,
		.group_batch = VFIO_PV_BATCH_GROUP,
		.max_mappings = c->max_mappings,
		.max_events = VFIO_PV_MAX_EVENTS,
		.granularities = BIT(VFIO_PV_INV_DOMAIN) | BIT(VFIO_PV_INV_PAGE),
		.window_last = ULONG_MAX,
		.features = vfio_pv_features(c),
	};

	if (!c->pv)
		return 0;
	if (layout->nr) {
		cap.window_start = layout->ranges[0].start;
		cap.window_last = layout->ranges[layout->nr - 1].last;
	}
	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

/* Fill in everything but cap_offset, and collect the capabilities. */
static int vfio_pv_collect(struct vfio_pv_container *c,
			   struct vfio_iommu_type1_info *info,
			   struct vfio_info_cap *caps)
{
	int ret;

	if (down_read_killable(&c->lock))
		return -EINTR;
	info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info->iova_pgsizes = c->layout.pgsizes;
	ret = vfio_pv_add_migration(c, caps);
	if (!ret)
		ret = vfio_pv_add_avail(c, caps);
	if (!ret)
		ret = vfio_pv_add_ranges(c, caps);
	if (!ret)
		ret = vfio_pv_add_limits(c, caps);
	up_read(&c->lock);
	if (ret)
		vfio_pv_refuse(ret, "GET_INFO", "no memory for capabilities, argsz", info->argsz);
	return ret;
}

/*
 * If the user's buffer is too small for the capabilities, argsz is set to the size that is
 * needed, and the rest is returned all the same.
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
		return vfio_pv_refuse(-EFAULT, "GET_INFO", "can't write capabilities at", arg);
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
		return vfio_pv_refuse(-EFAULT, "GET_INFO", "can't read its argument at", arg);
	if (info.argsz < minsz)
		return vfio_pv_refuse(-EINVAL, "GET_INFO", "argsz is too small,", info.argsz);
	size = min_t(size_t, info.argsz, sizeof(info));

	ret = vfio_pv_collect(c, &info, &caps);
	if (!ret)
		ret = vfio_pv_copy_caps(&info, &caps, arg);
	if (!ret && copy_to_user((void __user *)arg, &info, size))
		ret = vfio_pv_refuse(-EFAULT, "GET_INFO", "can't write its argument at", arg);
	kfree(caps.buf);
	return ret;
}

static u32 vfio_pv_lookup_flags(const struct vfio_pv_dma *dma)
{
	switch (dma->state) {
	case VFIO_PV_MAPPED:
		return 0;
	case VFIO_PV_UNFLUSHED:
		return VFIO_PV_LOOKUP_UNFLUSHED;
	default:
		return VFIO_PV_LOOKUP_BUSY;
	}
}

/* What the container has mapped at an IOVA */
static int vfio_pv_lookup_tree(struct vfio_pv_container *c,
			       struct vfio_pv_iommu_lookup *look)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->tree_lock);
	dma = vfio_pv_first(c, look->iova, look->iova, ~0U);
	if (!dma)
		return -ENOENT;
	look->flags = vfio_pv_lookup_flags(dma);
	look->start = dma->node.start;
	look->size = vfio_pv_dma_size(dma);
	look->vaddr = dma->mem.vaddr;
	look->vm = dma->mem.vm;
	look->phys = 0;
	look->prot = (dma->prot & IOMMU_READ ? VFIO_DMA_MAP_FLAG_READ : 0) |
		     (dma->prot & IOMMU_WRITE ? VFIO_DMA_MAP_FLAG_WRITE : 0);
	return 0;
}

/* And what the host has */
static int vfio_pv_do_lookup(struct vfio_pv_container *c,
			     struct vfio_pv_iommu_lookup *look)
{
	struct vfio_pv_domain *d;
	phys_addr_t phys = 0;
	int ret, tree;

	lockdep_assert_held(&c->lock);
	d = list_first_entry_or_null(&c->domains, struct vfio_pv_domain, link);
	ret = d ? pv_iommu_lookup(d->domain, look->iova, &phys) : 0;

	spin_lock(&c->tree_lock);
	tree = vfio_pv_lookup_tree(c, look);
	spin_unlock(&c->tree_lock);
	if (tree || look->flags)
		return tree;
	if (ret == -ENOENT)
		look->flags = VFIO_PV_LOOKUP_REVOKED;
	look->phys = phys;
	return ret == -ENOENT ? 0 : ret;
}

/**
 * vfio_pv_lookup_iova() - VFIO_PV_IOMMU_LOOKUP
 * @c: the container
 * @arg: user address of a struct vfio_pv_iommu_lookup
 *
 * Return: 0, -EPERM, -ENOENT, -EIO, or the errors of a bad argument.
 */
long vfio_pv_lookup_iova(struct vfio_pv_container *c, unsigned long arg)
{
	struct vfio_pv_iommu_lookup look;
	int ret;

	if (!capable(CAP_SYS_ADMIN))
		return vfio_pv_refuse(-EPERM, "LOOKUP", "needs CAP_SYS_ADMIN,", arg);
	ret = vfio_pv_copy_arg(&look, sizeof(look), arg, "LOOKUP");
	if (ret)
		return ret;
	if (look.flags)
		return vfio_pv_refuse(-EOPNOTSUPP, "LOOKUP", "unknown flag", look.flags);
	if (look.vm || look.iova != (unsigned long)look.iova)
		return vfio_pv_refuse(-EINVAL, "LOOKUP", "bad field, IOVA", look.iova);
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_do_lookup(c, &look);
	up_read(&c->lock);
	if (ret)
		return vfio_pv_refuse(ret, "LOOKUP", "nothing mapped, or no answer, IOVA",
				      look.iova);
	if (copy_to_user((void __user *)arg, &look, sizeof(look)))
		return vfio_pv_refuse(-EFAULT, "LOOKUP", "can't write its argument at", arg);
	return 0;
}
