// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: setting up mappings, and freeing them.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/sched.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

/* How many freed mappings a container keeps for reuse */
#define VFIO_PV_MAX_SPARE	64

/**
 * vfio_pv_take_spare() - take a struct vfio_pv_dma that was kept for reuse
 * @c: the container; the caller holds its tree lock
 *
 * Return: it, or NULL if there is none.
 */
struct vfio_pv_dma *vfio_pv_take_spare(struct vfio_pv_container *c)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->tree_lock);
	dma = hlist_entry_safe(c->spare.first, struct vfio_pv_dma, spare);
	if (dma) {
		hlist_del(&dma->spare);
		c->nr_spare--;
	}
	return dma;
}

/* Keep an unused mapping for reuse, or free it. */
static void vfio_pv_dma_put(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	lockdep_assert_held(&c->tree_lock);
	if (c->nr_spare < VFIO_PV_MAX_SPARE) {
		hlist_add_head(&dma->spare, &c->spare);
		c->nr_spare++;
	} else {
		kfree(dma);
	}
}

/**
 * vfio_pv_drop_spare() - free all mappings that are kept for reuse
 * @c: the container, about to be freed
 */
void vfio_pv_drop_spare(struct vfio_pv_container *c)
{
	struct vfio_pv_dma *dma;
	struct hlist_node *next;

	hlist_for_each_entry_safe(dma, next, &c->spare, spare)
		kfree(dma);
}

/**
 * vfio_pv_dma_init() - set up a mapping that is not in the tree yet
 * @dma: filled in
 * @map: the request to map; checked
 */
void vfio_pv_dma_init(struct vfio_pv_dma *dma,
		      const struct vfio_pv_dma_map *map)
{
	bool write = map->flags & VFIO_DMA_MAP_FLAG_WRITE;

	vfio_pv_mem_init(&dma->mem, vfio_pv_map_is_foreign(map) ? map->vm : 0,
			 map->vaddr, map->size, write);
	dma->node.start = map->iova;
	dma->node.last = map->iova + map->size - 1;
	dma->prot = map->flags & VFIO_DMA_MAP_FLAG_READ ? IOMMU_READ : 0;
	if (write)
		dma->prot |= IOMMU_WRITE;
	dma->state = 0;
	dma->vaddr_invalid = false;
	dma->uncharged = false;
	dma->stuck = false;
	dma->nr_held = 0;
	INIT_LIST_HEAD(&dma->link);
	xa_init(&dma->holds);
}

/* Release the memory behind a mapping. */
static void vfio_pv_dma_empty(struct vfio_pv_dma *dma)
{
	if (dma->stuck)
		pr_err_ratelimited("%lu pages at IOVA %#lx stay pinned, they may still be in use\n",
				   dma->mem.npages, dma->node.start);
	vfio_pv_mem_release(&dma->mem, !dma->stuck);
}

/**
 * vfio_pv_forget() - unpin and free mappings
 * @c: the container
 * @dmas: the mappings, busy; flushed, or never mapped. Freed on return.
 *
 * Their IOVAs can be mapped again once their pages have been unpinned.
 *
 * Context: process, may sleep; takes c->tree_lock.
 */
void vfio_pv_forget(struct vfio_pv_container *c, struct list_head *dmas)
{
	struct vfio_pv_dma *dma, *next;
	unsigned int n = 0;

	list_for_each_entry(dma, dmas, link) {
		vfio_pv_dma_empty(dma);
		if (!list_is_last(&dma->link, dmas))
			cond_resched();
	}

	spin_lock(&c->tree_lock);
	list_for_each_entry_safe(dma, next, dmas, link) {
		interval_tree_remove(&dma->node, &c->tree);
		/* Only if a mediated device has not unpinned its pages in time */
		if (!xa_empty(&dma->holds))
			xa_destroy(&dma->holds);
		vfio_pv_set_state(c, dma, 0);
		c->avail++;
		c->nr_uncharged -= dma->uncharged;
		c->nr_vaddr_invalid -= dma->vaddr_invalid;
		vfio_pv_dma_put(c, dma);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	vfio_pv_wake(c);
	spin_unlock(&c->tree_lock);
}
