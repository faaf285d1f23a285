// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: mapping.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

static int vfio_pv_check_map(struct vfio_pv_container *c,
			     const struct vfio_pv_dma_map *map)
{
	unsigned long mask = vfio_pv_min_pgsize(&c->layout) - 1;

	if ((map->size | map->iova | map->vaddr) & mask)
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "misaligned, IOVA", map->iova);
	return 0;
}

/* Check the flags: either to map, or to give a new user address and nothing else */
static int vfio_pv_check_kind(const struct vfio_pv_dma_map *map)
{
	if (map->flags & VFIO_DMA_MAP_FLAG_VADDR)
		return map->flags == VFIO_DMA_MAP_FLAG_VADDR ? 0 :
			vfio_pv_refuse(-EINVAL, "MAP_DMA", "VADDR with other flags",
				       map->flags);
	if (!(map->flags & (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)))
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "neither READ nor WRITE, IOVA",
				      map->iova);
	return 0;
}

/* In the order of type1, which checks for a range that wraps first */
static int vfio_pv_check_words(const struct vfio_pv_dma_map *map)
{
	if (map->size != (size_t)map->size ||
	    map->vaddr != (unsigned long)map->vaddr ||
	    map->iova != (unsigned long)map->iova)
		return vfio_pv_refuse(-COMPAT_EWRAPS, "MAP_DMA", "more than a word, IOVA",
				      map->iova);
	if (!map->size)
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "size 0, IOVA", map->iova);
	if (map->iova + map->size - 1 < map->iova ||
	    map->vaddr + map->size - 1 < map->vaddr)
		return vfio_pv_refuse(-COMPAT_EWRAPS, "MAP_DMA", "a range wraps, IOVA",
				      map->iova);
	return vfio_pv_check_kind(map);
}

/*
 * Check a request to map another VM's memory. The grant is for this VM as a whole, so only
 * those may use it who have access to everybody's memory anyway.
 */
static int vfio_pv_check_foreign(struct vfio_pv_container *c,
				 const struct vfio_pv_dma_map *map)
{
	if (likely(!vfio_pv_map_is_foreign(map)))
		return 0;
	if (!capable(CAP_SYS_ADMIN))
		return vfio_pv_refuse(-EPERM, "MAP_DMA", "no CAP_SYS_ADMIN for another VM, IOVA",
				      map->iova);
	if (map->vm == PVIOMMU_VM_SELF)
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "VM 0, IOVA", map->iova);
	/* The host alone can map that memory, and it can't for mediated devices */
	if (list_empty(&c->domains))
		return vfio_pv_refuse(-EOPNOTSUPP, "MAP_DMA", "no device to map for, IOVA",
				      map->iova);
	return 0;
}

static int vfio_pv_may_map(struct vfio_pv_container *c, unsigned long start,
			   unsigned long last, bool wait)
{
	struct vfio_pv_dma *dma;
	int ret;

	while ((dma = vfio_pv_walk(c, start, last))) {
		if (dma->state == VFIO_PV_MAPPED)
			return vfio_pv_refuse(-EEXIST, "MAP_DMA",
					      "overlaps a mapping, IOVA", start);
		if (dma->state == VFIO_PV_UNFLUSHED)
			return vfio_pv_refuse(-EBUSY, "MAP_DMA",
					      "overlaps what is not flushed, IOVA",
					      start);
		ret = vfio_pv_settle(c, wait);
		if (ret)
			return ret;
	}
	if (!c->avail)
		return vfio_pv_refuse(-ENOSPC, "MAP_DMA", "dma_entry_limit reached, IOVA",
				      start);
	if (!vfio_pv_layout_allows(&c->layout, start, last))
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "no such IOVA, or reserved",
				      start);
	return 0;
}

/*
 * Insert a mapping for the range. -ENOBUFS: the caller has to allocate *dma, which can't be
 * done here; -EAGAIN: the range is busy and @wait is false.
 */
static int vfio_pv_try_reserve(struct vfio_pv_container *c,
			       const struct vfio_pv_dma_map *map,
			       bool wait, struct vfio_pv_dma **dma)
{
	unsigned long start = map->iova, last = map->iova + map->size - 1;
	int ret;

	lockdep_assert_held(&c->tree_lock);
	ret = vfio_pv_may_map(c, start, last, wait);
	if (ret)
		return ret;
	if (!*dma)
		*dma = vfio_pv_take_spare(c);
	if (!*dma)
		return -ENOBUFS;
	vfio_pv_dma_init(*dma, map);
	interval_tree_insert(&(*dma)->node, &c->tree);
	vfio_pv_set_state(c, *dma, VFIO_PV_MAPPING);
	c->avail--;
	return 0;
}

static struct vfio_pv_dma *vfio_pv_reserve(struct vfio_pv_container *c,
					   const struct vfio_pv_dma_map *map,
					   bool wait)
{
	struct vfio_pv_dma *dma = NULL;
	int ret;

	if (vfio_pv_has_table(c))
		return ERR_PTR(vfio_pv_refuse(-EOPNOTSUPP, "MAP_DMA", "a table is bound, IOVA",
					      map->iova));
	for (;;) {
		spin_lock(&c->tree_lock);
		ret = vfio_pv_try_reserve(c, map, wait, &dma);
		spin_unlock(&c->tree_lock);
		if (!ret)
			return dma;
		if (ret == -ENOBUFS) {
			dma = kmalloc(sizeof(*dma), GFP_KERNEL_ACCOUNT);
			ret = dma ? 0 : vfio_pv_refuse(-ENOMEM, "MAP_DMA",
						       "no memory to note it, IOVA",
						       map->iova);
		}
		if (ret) {
			kfree(dma);
			return ERR_PTR(ret);
		}
	}
}

/* Make it MAPPED, to be replayed from now on. False: a restart came first, map it again. */
static bool vfio_pv_publish(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
			    u32 restarts)
{
	bool good;

	spin_lock(&c->tree_lock);
	good = restarts == vfio_pv_restarts(c);
	if (good) {
		vfio_pv_set_state(c, dma, VFIO_PV_MAPPED);
		vfio_pv_wake(c);
	}
	spin_unlock(&c->tree_lock);
	return good;
}

/* Unmap what a restart may have left of a mapping */
static int vfio_pv_unmap_lost(struct vfio_pv_container *c,
			      struct vfio_pv_dma *dma)
{
	LIST_HEAD(lost);

	list_add(&dma->link, &lost);
	vfio_pv_clear_domains(c, &lost, true);
	list_del_init(&dma->link);
	if (dma->stuck)
		return vfio_pv_refuse(-EIO, "MAP_DMA", "lost, and may still be mapped, IOVA",
				      dma->node.start);
	return 0;
}

static int vfio_pv_map_pinned(struct vfio_pv_container *c,
			      struct vfio_pv_dma *dma)
{
	u32 restarts;
	int ret;

	do {
		restarts = vfio_pv_restarts(c);
		ret = vfio_pv_map_domains(c, dma);
		if (ret)
			return vfio_pv_refuse(ret, "MAP_DMA", "the host refuses, IOVA",
					      dma->node.start);
		if (vfio_pv_publish(c, dma, restarts))
			return 0;
		ret = vfio_pv_unmap_lost(c, dma);
	} while (!ret);
	return ret;
}

static void vfio_pv_forget_one(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	LIST_HEAD(failed);

	list_add(&dma->link, &failed);
	vfio_pv_forget(c, &failed);
}

/*
 * Each mapping takes some of the kernel's memory. RLIMIT_MEMLOCK limits how many a user can
 * have, except for those that have no pages: these have a limit of their own. Memory of
 * another VM has no limit, as only privileged users can map it.
 */
static int vfio_pv_charge(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	bool room;

	if (likely(dma->mem.locked) || dma->mem.vm)
		return 0;
	spin_lock(&c->tree_lock);
	room = c->nr_uncharged < VFIO_PV_MAX_UNCHARGED;
	dma->uncharged = room;
	c->nr_uncharged += room;
	spin_unlock(&c->tree_lock);
	if (!room)
		return vfio_pv_refuse(-ENOSPC, "MAP_DMA", "too many without pages, IOVA",
				      dma->node.start);
	return 0;
}

static int vfio_pv_pin(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	int ret;

	/* Also the removal of such a mapping would fail, and its pages would never be unpinned */
	if (vfio_pv_broken(c))
		return vfio_pv_refuse(-EIO, "MAP_DMA", "the host does not answer, IOVA",
				      dma->node.start);
	ret = vfio_pv_mem_pin(&dma->mem);
	if (ret)
		return vfio_pv_refuse(ret, "MAP_DMA", "can't pin, or may not, memory at",
				      dma->mem.vaddr);
	return vfio_pv_charge(c, dma);
}

static int vfio_pv_map_reserved(struct vfio_pv_container *c,
				struct vfio_pv_dma *dma)
{
	int ret = vfio_pv_pin(c, dma) ?: vfio_pv_map_pinned(c, dma);

	if (ret)
		vfio_pv_forget_one(c, dma);
	return ret;
}

/**
 * vfio_pv_map() - VFIO_IOMMU_MAP_DMA
 * @c: the container
 * @map: from the user; flags are known ones, other fields are unchecked
 *
 * Return: 0; the errors of type1; -EBUSY if the range overlaps one that waits
 * to be flushed; -ENODEV if the last group is being detached; -EOPNOTSUPP if a
 * table is bound.
 */
int vfio_pv_map(struct vfio_pv_container *c,
		const struct vfio_pv_dma_map *map)
{
	struct vfio_pv_dma *dma;
	int ret;

	ret = vfio_pv_check_words(map);
	if (ret)
		return ret;
	if (!current->mm)
		return vfio_pv_refuse(-ENODEV, "MAP_DMA", "a thread without memory, IOVA",
				      map->iova);
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_check_map(c, map);
	if (!ret && list_empty(&c->domains) && list_empty(&c->emulated))
		ret = vfio_pv_refuse(-ENODEV, "MAP_DMA", "no group is left, IOVA", map->iova);
	if (!ret)
		ret = vfio_pv_check_foreign(c, map);
	if (!ret) {
		dma = vfio_pv_reserve(c, map, true);
		ret = IS_ERR(dma) ? PTR_ERR(dma) : vfio_pv_map_reserved(c, dma);
	}
	up_read(&c->lock);
	return ret;
}

/**
 * vfio_pv_map_check() - what vfio_pv_map() checks of its arguments
 * @c: the container, locked for reading
 * @map: flags are known ones, other fields are unchecked
 *
 * Return: 0; -EINVAL; -COMPAT_EWRAPS for a range that wraps; for another VM's memory also
 * -EPERM, -EOPNOTSUPP.
 */
int vfio_pv_map_check(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map)
{
	lockdep_assert_held(&c->lock);
	return vfio_pv_check_words(map) ?: vfio_pv_check_map(c, map) ?:
	       vfio_pv_check_foreign(c, map);
}

/**
 * vfio_pv_map_begin() - first half of vfio_pv_map(): pin, and queue for all domains
 * @c: the container, locked for reading
 * @map: has passed vfio_pv_map_check()
 * @wait: wait while the range is busy; only for a caller that has no other mapping between
 *	this and vfio_pv_map_finish()
 * @batch: the batch that the maps belong to, for vfio_pv_sync_domains()
 * @begun: set to the mapping on success, for vfio_pv_map_finish()
 *
 * Return: 0, -EAGAIN if the range is busy and @wait is false, or the errors of
 * vfio_pv_map(); nothing is changed on failure.
 */
int vfio_pv_map_begin(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map, bool wait,
		      struct pv_iommu_batch *batch, struct vfio_pv_dma **begun)
{
	struct vfio_pv_dma *dma;
	int ret;

	lockdep_assert_held(&c->lock);
	if (!current->mm)
		return vfio_pv_refuse(-ENODEV, "MAP_DMA", "a thread without memory, IOVA",
				      map->iova);
	dma = vfio_pv_reserve(c, map, wait);
	if (IS_ERR(dma))
		return PTR_ERR(dma);
	ret = vfio_pv_pin(c, dma);
	if (!ret) {
		ret = vfio_pv_queue_domains(c, dma, batch);
		if (ret)
			vfio_pv_refuse(ret, "MAP_DMA", "the host refuses, IOVA", map->iova);
	}
	if (ret)
		vfio_pv_forget_one(c, dma);
	else
		*begun = dma;
	return ret;
}

/**
 * vfio_pv_map_finish() - second half of vfio_pv_map()
 * @c: the container, locked for reading since vfio_pv_map_begin()
 * @dma: the mapping from that; freed on failure
 * @restarts: vfio_pv_restarts() from before that
 * @good: vfio_pv_sync_domains() has succeeded for the whole batch; if not, this mapping is
 *	unmapped, and mapped again on its own
 *
 * Return: 0 or the errors of vfio_pv_map().
 */
int vfio_pv_map_finish(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
		       u32 restarts, bool good)
{
	int ret;

	lockdep_assert_held(&c->lock);
	if (good && vfio_pv_publish(c, dma, restarts))
		return 0;
	ret = vfio_pv_unmap_lost(c, dma) ?: vfio_pv_map_pinned(c, dma);
	if (ret)
		vfio_pv_forget_one(c, dma);
	return ret;
}
