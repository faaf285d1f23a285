// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: what is unmapped but not flushed.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/sched.h>

#include "vfio_pv_priv.h"

/*
 * All of them are ours at once, though it takes a while to say so of each:
 * whoever wants to flush some meanwhile waits. None that was unflushed when we
 * began is left to others, who may be done later than we.
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
 * Make the unflushed mappings in the range ours, and the range as large as
 * they are: more may be flushed than was asked for, never less.
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
 * @inv: from the user; flags, granularity and PASID are good, and the range
 *	does not wrap
 *
 * Return: 0, -EINVAL for bad alignment, or what pv_iommu_invalidate() says;
 * then nothing is unpinned.
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
 * vfio_pv_drop_unflushed() - release all mappings that wait to be flushed
 * @c: the container, with no device that could reach a domain
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

	/* A host that does not answer may not have let the devices leave, too */
	if (vfio_pv_flush_domains(c, PVIOMMU_INV_DOMAIN, 0, 0, 0))
		vfio_pv_all_stuck(&taken);
	vfio_pv_forget(c, &taken);
}
