// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: memory that gets another user address, or belongs
 * to another process, while it stays mapped.
 *
 * A program that execs, or hands its devices to another program, gives up the user
 * addresses of its mappings (VFIO_DMA_UNMAP_FLAG_VADDR). New ones are set later
 * (VFIO_DMA_MAP_FLAG_VADDR). The pages stay pinned and mapped all the time.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include "vfio_pv_priv.h"

static int vfio_pv_vaddr_drop_range(struct vfio_pv_container *c,
				    unsigned long start, unsigned long last,
				    u64 *size)
{
	struct vfio_pv_dma *dma;
	LIST_HEAD(taken);
	int ret;

	ret = vfio_pv_take(c, start, last, true, &taken, size);
	if (ret)
		return ret;
	list_for_each_entry(dma, &taken, link) {
		if (!dma->vaddr_invalid)
			continue;
		ret = vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "has no vaddr already, IOVA",
				     dma->node.start);
		break;
	}
	list_for_each_entry(dma, &taken, link) {
		if (ret)
			break;
		/* Another VM's memory never had an address here */
		if (dma->mem.vm)
			continue;
		spin_lock(&c->tree_lock);
		dma->vaddr_invalid = true;
		c->nr_vaddr_invalid++;
		spin_unlock(&c->tree_lock);
	}
	if (!list_empty(&taken))
		vfio_pv_untake(c, &taken);
	return ret;
}

/**
 * vfio_pv_vaddr_drop() - VFIO_IOMMU_UNMAP_DMA with VFIO_DMA_UNMAP_FLAG_VADDR
 * @c: the container
 * @unmap: from the user; flags are valid, other fields are unchecked
 * @size: set to the bytes of the mappings that were affected
 *
 * Return: 0, the errors of vfio_pv_unmap(), -EBUSY with mediated devices; nothing
 * is changed on failure.
 */
int vfio_pv_vaddr_drop(struct vfio_pv_container *c,
		       const struct vfio_iommu_type1_dma_unmap *unmap, u64 *size)
{
	bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
	unsigned long last = all ? ULONG_MAX : unmap->iova + unmap->size - 1;
	int ret;

	*size = 0;
	if (down_read_killable(&c->lock))
		return -EINTR;
	if (!list_empty(&c->emulated))
		ret = vfio_pv_refuse(-EBUSY, "UNMAP_DMA",
				     "mediated devices need addresses, IOVA",
				     unmap->iova);
	else
		ret = vfio_pv_unmap_check(c, unmap);
	if (!ret)
		ret = vfio_pv_vaddr_drop_range(c, unmap->iova, last, size);
	up_read(&c->lock);
	return ret;
}

static int vfio_pv_vaddr_check(const struct vfio_pv_dma *dma,
			       const struct vfio_pv_dma_map *map)
{
	if (!dma)
		return vfio_pv_refuse(-ENOENT, "MAP_DMA", "no mapping for a vaddr, IOVA",
				      map->iova);
	if (!dma->vaddr_invalid || dma->node.start != map->iova ||
	    vfio_pv_dma_size(dma) != map->size)
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "mapping wants no vaddr, IOVA",
				      map->iova);
	return 0;
}

static int vfio_pv_vaddr_set_locked(struct vfio_pv_container *c,
				    const struct vfio_pv_dma_map *map)
{
	unsigned long last = map->iova + map->size - 1;
	struct vfio_pv_dma *dma;
	LIST_HEAD(taken);
	int ret;

	lockdep_assert_held(&c->lock);
	dma = vfio_pv_claim(c, map->iova, last);
	if (IS_ERR(dma))
		return PTR_ERR(dma);
	ret = vfio_pv_vaddr_check(dma, map);
	if (!ret) {
		ret = vfio_pv_mem_move(&dma->mem, map->vaddr);
		if (ret)
			vfio_pv_refuse(ret, "MAP_DMA", "may not lock the memory, vaddr",
				       map->vaddr);
	}
	if (!ret) {
		spin_lock(&c->tree_lock);
		dma->vaddr_invalid = false;
		c->nr_vaddr_invalid--;
		spin_unlock(&c->tree_lock);
	}
	if (dma) {
		list_add(&dma->link, &taken);
		vfio_pv_untake(c, &taken);
	}
	return ret;
}

/**
 * vfio_pv_vaddr_set() - VFIO_IOMMU_MAP_DMA with VFIO_DMA_MAP_FLAG_VADDR
 * @c: the container
 * @map: from the user; flags are known ones and include that one, other fields are
 *	unchecked
 *
 * The pages are accounted to this process from now on.
 *
 * Return: 0; -ENOENT nothing is mapped there; -EINVAL; -ENOMEM RLIMIT_MEMLOCK;
 * nothing is changed on failure.
 */
int vfio_pv_vaddr_set(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map)
{
	int ret;

	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_map_check(c, map);
	if (!ret)
		ret = vfio_pv_vaddr_set_locked(c, map);
	up_read(&c->lock);
	return ret;
}
