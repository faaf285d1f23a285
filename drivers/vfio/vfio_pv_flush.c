// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: mappings that are unmapped but not flushed.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/sched.h>

#include "vfio_pv_priv.h"

/*
 * Take all unflushed mappings. They are taken at once, though it takes a while to set the
 * state of each: threads that want to flush some meanwhile wait (@sweeping). And this waits
 * until no other thread is flushing, so that on success all that was unflushed has been
 * flushed.
 */
static int vfio_pv_take_all_unflushed(struct vfio_pv_container *c,
				      struct list_head *taken)
{
	struct vfio_pv_dma *dma;
	unsigned int n = 0;
	int ret = 0;

	spin_lock(&c->tree_lock);
	while (!ret && (c->nr_flushing || c->sweeping))
		ret = vfio_pv_settle(c, true);
	if (!ret) {
		c->sweeping = true;
		list_splice_init(&c->unflushed, taken);
		list_for_each_entry(dma, taken, link) {
			vfio_pv_set_state(c, dma, VFIO_PV_FLUSHING);
			if (!(++n % VFIO_PV_TREE_BATCH))
				cond_resched_lock(&c->tree_lock);
		}
		c->sweeping = false;
		vfio_pv_wake(c);
	}
	spin_unlock(&c->tree_lock);
	return ret;
}

/*
 * Take the unflushed mappings that overlap a range, and widen the range to cover them: more
 * may be flushed than was asked for, never less.
 */
static int vfio_pv_take_unflushed(struct vfio_pv_container *c,
				  unsigned long *start, unsigned long *last,
				  struct list_head *taken)
{
	const struct vfio_pv_pick pick = {
		.start = *start,
		.last = *last,
		.high = ULONG_MAX,
		.from = VFIO_PV_UNFLUSHED,
		.to = VFIO_PV_FLUSHING,
		.busy = VFIO_PV_FLUSHING,
		.wait = true,
	};
	struct vfio_pv_dma *dma;
	int ret = 0;

	spin_lock(&c->tree_lock);
	if (c->nr_flushing || !list_empty(&c->unflushed))
		ret = vfio_pv_pick_all(c, &pick, taken);
	spin_unlock(&c->tree_lock);
	list_for_each_entry(dma, taken, link) {
		*start = min(*start, dma->node.start);
		*last = max(*last, dma->node.last);
	}
	return ret;
}

static int vfio_pv_invalidate_all(struct vfio_pv_container *c, u32 flags,
				  struct list_head *taken)
{
	int ret = vfio_pv_take_all_unflushed(c, taken);

	return ret ?: vfio_pv_flush_domains(c, PVIOMMU_INV_DOMAIN, 0, 0, flags);
}

static int vfio_pv_invalidate_range(struct vfio_pv_container *c, u64 addr,
				    u64 size, u32 flags, struct list_head *taken)
{
	unsigned long start = addr, last = addr + size - 1;
	int ret = vfio_pv_take_unflushed(c, &start, &last, taken);

	return ret ?: vfio_pv_flush_domains(c, PVIOMMU_INV_PAGE, start,
					    last - start + 1, flags);
}

static int vfio_pv_do_invalidate(struct vfio_pv_container *c,
				 const struct vfio_pv_iommu_invalidate *inv)
{
	u32 flags = inv->flags & VFIO_PV_INV_FLAG_LEAF ? PVIOMMU_INV_F_LEAF : 0;
	LIST_HEAD(taken);
	int ret;

	if (inv->granularity == VFIO_PV_INV_PAGE)
		ret = vfio_pv_invalidate_range(c, inv->addr, inv->size, flags,
					       &taken);
	else
		ret = vfio_pv_invalidate_all(c, flags, &taken);
	if (list_empty(&taken))
		return ret;
	if (ret)
		vfio_pv_give_back(c, &taken, VFIO_PV_UNFLUSHED);
	else
		vfio_pv_forget(c, &taken);
	return ret;
}

/**
 * vfio_pv_invalidate() - VFIO_PV_IOMMU_INVALIDATE
 * @c: the container
 * @inv: from the user; flags, granularity and PASID are valid, and the range
 *	does not wrap
 *
 * Unflushed mappings in the range are flushed and unpinned.
 *
 * Context: process, may sleep.
 * Return: 0; -EINVAL for bad alignment; -EINTR; or as pv_iommu_invalidate(). After an error
 * nothing is unpinned.
 */
int vfio_pv_invalidate(struct vfio_pv_container *c,
		       const struct vfio_pv_iommu_invalidate *inv)
{
	int ret;

	if (down_read_killable(&c->lock))
		return -EINTR;
	if ((inv->addr | inv->size) & (vfio_pv_min_pgsize(&c->layout) - 1)) {
		ret = vfio_pv_refuse(-EINVAL, "INVALIDATE", "misaligned, address", inv->addr);
	} else {
		ret = vfio_pv_do_invalidate(c, inv);
		if (ret)
			vfio_pv_refuse(ret, "INVALIDATE", "the host refuses, address",
				       inv->addr);
	}
	up_read(&c->lock);
	return ret;
}

/**
 * vfio_pv_drop_unflushed() - unpin and free all mappings that are unflushed
 * @c: the container, locked for writing; no device is attached any more
 */
void vfio_pv_drop_unflushed(struct vfio_pv_container *c)
{
	LIST_HEAD(taken);

	lockdep_assert_held_write(&c->lock);
	spin_lock(&c->tree_lock);
	list_splice_init(&c->unflushed, &taken);
	spin_unlock(&c->tree_lock);
	if (list_empty(&taken))
		return;

	/* If the host does not answer, devices may not be detached either */
	if (vfio_pv_flush_domains(c, PVIOMMU_INV_DOMAIN, 0, 0, 0))
		vfio_pv_all_stuck(&taken);
	vfio_pv_forget(c, &taken);
}
