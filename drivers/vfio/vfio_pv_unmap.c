// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: taking mappings, to unmap or to change them.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/mm.h>
#include <linux/sched.h>

#include "vfio_pv_priv.h"

static int vfio_pv_check_unmap(struct vfio_pv_container *c,
			       const struct vfio_iommu_type1_dma_unmap *unmap)
{
	unsigned long mask = vfio_pv_min_pgsize(&c->layout) - 1;

	if (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return !unmap->iova && !unmap->size ? 0 :
			vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "ALL takes no range, IOVA",
				       unmap->iova);
	if (!unmap->size || (unmap->iova | unmap->size) & mask)
		return vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "size 0 or misaligned, IOVA",
				      unmap->iova);
	if (unmap->iova + unmap->size - 1 < unmap->iova || unmap->size > SIZE_MAX)
		return vfio_pv_refuse(-COMPAT_EWRAPS, "UNMAP_DMA", "the range wraps, IOVA",
				      unmap->iova);
	return 0;
}

/**
 * vfio_pv_unmap_check() - what vfio_pv_unmap() checks of its arguments
 * @c: the container, locked for reading
 * @unmap: flags are known ones, other fields are unchecked
 *
 * Return: 0, -EINVAL or, for a range that wraps, -COMPAT_EWRAPS.
 */
int vfio_pv_unmap_check(struct vfio_pv_container *c,
			const struct vfio_iommu_type1_dma_unmap *unmap)
{
	lockdep_assert_held(&c->lock);
	if (unmap->iova != (unsigned long)unmap->iova)
		return vfio_pv_refuse(-COMPAT_EWRAPS, "UNMAP_DMA", "more than a word, IOVA",
				      unmap->iova);
	return vfio_pv_check_unmap(c, unmap);
}

/* ------------------------------------------------------------------ */
/* Whose mappings these are */

/* Find the mapping at an IOVA, waiting while it is being made, changed or removed */
static int vfio_pv_at(struct vfio_pv_container *c, unsigned long iova, bool wait,
		      struct vfio_pv_dma **dma)
{
	int ret = 0;

	while (!ret) {
		*dma = vfio_pv_walk(c, iova, iova);
		if (!*dma || !((*dma)->state & VFIO_PV_CLAIMED))
			break;
		ret = vfio_pv_settle(c, wait);
	}
	return ret;
}

/*
 * Version 2 of the interface refuses a range that cuts a mapping. Version 1 accepts any
 * range: if a mapping begins before it, nothing is removed and that is no error; a mapping
 * that ends after it is removed as a whole.
 */
static int vfio_pv_check_bounds(struct vfio_pv_container *c,
				unsigned long start, unsigned long last,
				bool wait)
{
	struct vfio_pv_dma *dma;
	int ret;

	ret = vfio_pv_at(c, start, wait, &dma);
	if (ret)
		return ret;
	if (dma && dma->state == VFIO_PV_MAPPED && dma->node.start != start)
		return c->v2 ? vfio_pv_refuse(-EINVAL, "UNMAP_DMA",
					      "cuts a mapping at IOVA", start) :
			       -ENOENT;
	if (!c->v2)
		return 0;
	ret = vfio_pv_at(c, last, wait, &dma);
	if (ret)
		return ret;
	if (dma && dma->state == VFIO_PV_MAPPED && dma->node.last != last)
		return vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "cuts a mapping at IOVA", last);
	return 0;
}

/* The common case: the range is exactly one mapping. Takes it; false if it is not that case. */
static bool vfio_pv_take_one(struct vfio_pv_container *c, unsigned long start,
			     unsigned long last, struct list_head *taken)
{
	struct vfio_pv_dma *dma;
	bool good;

	spin_lock(&c->tree_lock);
	dma = vfio_pv_walk(c, start, last);
	good = dma && dma->state == VFIO_PV_MAPPED &&
	       dma->node.start == start && dma->node.last == last;
	if (good) {
		vfio_pv_set_state(c, dma, VFIO_PV_UNMAPPING);
		list_add(&dma->link, taken);
	}
	spin_unlock(&c->tree_lock);
	return good;
}

/* From here on the mappings are not replayed in a restart, and can't be given back any more. */
static void vfio_pv_commit(struct vfio_pv_container *c, struct list_head *taken)
{
	struct vfio_pv_dma *dma;
	unsigned int n = 0;

	spin_lock(&c->tree_lock);
	list_for_each_entry(dma, taken, link) {
		vfio_pv_set_state(c, dma, VFIO_PV_UNMAPPING);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	spin_unlock(&c->tree_lock);
}

/**
 * vfio_pv_take() - take all mappings in a range, to unmap or to change them
 * @c: the container, locked
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @wait: wait while mappings in the range are busy; only for a caller that has taken no
 *	others
 * @taken: they are added here, for vfio_pv_unmap_taken() or vfio_pv_untake()
 * @size: set to the sum of their sizes, in bytes
 *
 * Return: 0; -EAGAIN if the range is busy and @wait is false; -EINVAL if the
 * range cuts a mapping; -EINTR. On failure nothing is taken.
 */
int vfio_pv_take(struct vfio_pv_container *c, unsigned long start,
		 unsigned long last, bool wait, struct list_head *taken, u64 *size)
{
	const struct vfio_pv_pick pick = {
		.start = start,
		.last = last,
		.low = start,
		.high = c->v2 ? last : ULONG_MAX,
		.from = VFIO_PV_MAPPED,
		.to = VFIO_PV_TAKEN,
		.busy = VFIO_PV_CLAIMED,
		.wait = wait,
	};
	struct vfio_pv_dma *dma;
	LIST_HEAD(mine);
	u64 sum = 0;
	int ret;

	lockdep_assert_held(&c->lock);

	spin_lock(&c->tree_lock);
	ret = vfio_pv_check_bounds(c, start, last, wait);
	if (!ret)
		ret = vfio_pv_pick_all(c, &pick, &mine);
	spin_unlock(&c->tree_lock);
	if (ret && !list_empty(&mine))
		vfio_pv_give_back(c, &mine, VFIO_PV_MAPPED);
	list_for_each_entry(dma, &mine, link)
		sum += vfio_pv_dma_size(dma);
	*size = sum;
	list_splice_tail(&mine, taken);
	return ret == -ENOENT ? 0 : ret;
}

/**
 * vfio_pv_untake() - undo vfio_pv_take(): the mappings are MAPPED again
 * @c: the container
 * @taken: the mappings; empty on return
 */
void vfio_pv_untake(struct vfio_pv_container *c, struct list_head *taken)
{
	vfio_pv_give_back(c, taken, VFIO_PV_MAPPED);
}

/*
 * Find the first mapping in a range that is MAPPED, waiting for busy ones. Those that are
 * unflushed are skipped, of which there may be any number.
 */
static int vfio_pv_first_mapped(struct vfio_pv_container *c, unsigned long start,
				unsigned long last, struct vfio_pv_dma **dma)
{
	unsigned int n = 0;
	int ret = 0;

	while (!ret && (*dma = vfio_pv_walk(c, start, last))) {
		if ((*dma)->state == VFIO_PV_MAPPED)
			return 0;
		if ((*dma)->state & VFIO_PV_CLAIMED) {
			ret = vfio_pv_settle(c, true);
			continue;
		}
		if ((*dma)->node.last >= last)
			break;
		start = (*dma)->node.last + 1;
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	*dma = NULL;
	return ret;
}

/**
 * vfio_pv_claim() - take the first mapping in a range, to change it
 * @c: the container
 * @start: first IOVA
 * @last: last IOVA, inclusive
 *
 * Return: the mapping, for vfio_pv_untake(); NULL if there is none; -EINTR.
 */
struct vfio_pv_dma *vfio_pv_claim(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last)
{
	struct vfio_pv_dma *dma;
	int ret;

	spin_lock(&c->tree_lock);
	ret = vfio_pv_first_mapped(c, start, last, &dma);
	if (!ret && dma)
		vfio_pv_set_state(c, dma, VFIO_PV_TAKEN);
	spin_unlock(&c->tree_lock);
	return ret ? ERR_PTR(ret) : dma;
}

/* ------------------------------------------------------------------ */
/* Unmap */

/**
 * vfio_pv_unmap_taken() - unmap what vfio_pv_take() has taken
 * @c: the container, locked
 * @taken: the mappings, at least one; on return they are freed, or on another list
 * @flush: flush and unpin; if false, they become unflushed
 *
 * Context: process, may sleep; calls mediated devices.
 */
void vfio_pv_unmap_taken(struct vfio_pv_container *c, struct list_head *taken,
			 bool flush)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->lock);
	if (list_first_entry(taken, struct vfio_pv_dma, link)->state == VFIO_PV_TAKEN)
		vfio_pv_commit(c, taken);
	list_for_each_entry(dma, taken, link)
		if (!vfio_pv_make_devices_unpin(c, dma))
			dma->stuck = true;
	vfio_pv_clear_domains(c, taken, flush);
	if (flush)
		vfio_pv_forget(c, taken);
	else
		vfio_pv_give_back(c, taken, VFIO_PV_UNFLUSHED);
}

/**
 * vfio_pv_unmap() - VFIO_IOMMU_UNMAP_DMA
 * @c: the container
 * @unmap: from the user; flags are known ones, other fields are unchecked
 * @unmapped: how many bytes were unmapped
 *
 * The pages are unpinned on return, unless the flags say not to flush.
 *
 * Context: process, may sleep.
 * Return: 0 or the errors of type1; nothing is changed on failure.
 */
int vfio_pv_unmap(struct vfio_pv_container *c,
		  const struct vfio_iommu_type1_dma_unmap *unmap, u64 *unmapped)
{
	bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
	unsigned long start = unmap->iova;
	unsigned long last = all ? ULONG_MAX : start + unmap->size - 1;
	LIST_HEAD(taken);
	int ret;

	if (unmap->iova != start)
		return vfio_pv_refuse(-COMPAT_EWRAPS, "UNMAP_DMA", "more than a word, IOVA",
				      unmap->iova);
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_check_unmap(c, unmap);
	if (!ret && vfio_pv_take_one(c, start, last, &taken))
		*unmapped = last - start + 1;
	else if (!ret)
		ret = vfio_pv_take(c, start, last, true, &taken, unmapped);
	if (!ret && !list_empty(&taken))
		vfio_pv_unmap_taken(c, &taken,
				    !(unmap->flags & VFIO_PV_UNMAP_FLAG_NO_FLUSH));
	up_read(&c->lock);
	return ret;
}

/**
 * vfio_pv_drop_all() - unmap and unpin everything
 * @c: the container, locked for writing; no device is attached any more
 */
void vfio_pv_drop_all(struct vfio_pv_container *c)
{
	LIST_HEAD(taken);
	u64 size;

	lockdep_assert_held_write(&c->lock);
	vfio_pv_drop_unflushed(c);
	if (!vfio_pv_take(c, 0, ULONG_MAX, true, &taken, &size) && !list_empty(&taken))
		vfio_pv_unmap_taken(c, &taken, true);
}
