// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: the tree of mappings, and their states.
 *
 * The tree lock is a spinlock. A thread that works on many mappings drops it now and
 * then, and goes on behind the last one.
 */
#include <linux/sched/signal.h>

#include "vfio_pv_priv.h"

/**
 * vfio_pv_walk() - the first mapping in a range, whatever its state
 * @c: the container; the caller holds its tree lock
 * @start: first IOVA
 * @last: last IOVA, inclusive
 *
 * Return: the mapping or NULL.
 */
struct vfio_pv_dma *vfio_pv_walk(struct vfio_pv_container *c,
				 unsigned long start, unsigned long last)
{
	lockdep_assert_held(&c->tree_lock);
	return vfio_pv_dma_of(interval_tree_iter_first(&c->tree, start, last));
}

static struct vfio_pv_dma *vfio_pv_next(struct vfio_pv_dma *dma,
					unsigned long start, unsigned long last)
{
	return vfio_pv_dma_of(interval_tree_iter_next(&dma->node, start, last));
}

/**
 * vfio_pv_first() - the first mapping in a range that is in one of some states
 * @c: the container; the caller holds its tree lock
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @states: one or more of enum vfio_pv_state
 *
 * Does not drop the lock, so the range must be a single IOVA, or small.
 *
 * Return: the mapping or NULL.
 */
struct vfio_pv_dma *vfio_pv_first(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last,
				  unsigned int states)
{
	struct vfio_pv_dma *dma;

	for (dma = vfio_pv_walk(c, start, last); dma;
	     dma = vfio_pv_next(dma, start, last))
		if (dma->state & states)
			return dma;
	return NULL;
}

/**
 * vfio_pv_set_state() - set the state of a mapping
 * @c: the container; the caller holds its tree lock
 * @dma: the mapping, which belongs to the caller
 * @state: the new state; 0 when it is removed from the tree
 */
void vfio_pv_set_state(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
		       enum vfio_pv_state state)
{
	lockdep_assert_held(&c->tree_lock);
	c->nr_flushing += (state == VFIO_PV_FLUSHING) -
			  (dma->state == VFIO_PV_FLUSHING);
	dma->state = state;
}

/**
 * vfio_pv_wake() - wake threads in vfio_pv_settle(), as a mapping is not busy any more
 * @c: the container; the caller holds its tree lock
 */
void vfio_pv_wake(struct vfio_pv_container *c)
{
	lockdep_assert_held(&c->tree_lock);
	WRITE_ONCE(c->settled, c->settled + 1);
	if (wq_has_sleeper(&c->wait))
		wake_up_all(&c->wait);
}

/**
 * vfio_pv_settle() - wait until some mapping is not busy any more
 * @c: the container; the caller holds its tree lock, which is dropped to sleep
 * @wait: if false, return -EAGAIN instead of waiting
 *
 * There is no deadlock, as a thread that makes several mappings busy does so in
 * ascending order, or does not wait but gets -EAGAIN.
 *
 * Return: 0, -EAGAIN, or -EINTR for a fatal signal.
 */
int vfio_pv_settle(struct vfio_pv_container *c, bool wait)
	__must_hold(&c->tree_lock)
{
	unsigned int seen = c->settled;
	int ret;

	lockdep_assert_held(&c->tree_lock);
	if (!wait)
		return -EAGAIN;
	spin_unlock(&c->tree_lock);
	ret = wait_event_killable(c->wait, READ_ONCE(c->settled) != seen);
	spin_lock(&c->tree_lock);
	return ret ? -EINTR : 0;
}

static void vfio_pv_pick_one(struct vfio_pv_container *c,
			     const struct vfio_pv_pick *pick,
			     struct vfio_pv_dma *dma, struct list_head *taken)
{
	if (dma->state != pick->from || dma->node.start < pick->low ||
	    dma->node.last > pick->high)
		return;
	vfio_pv_set_state(c, dma, pick->to);
	list_move_tail(&dma->link, taken);
}

/**
 * vfio_pv_pick_all() - take many mappings
 * @c: the container; the caller holds its tree lock, which is dropped now and then
 * @pick: which ones
 * @taken: they are added here, in ascending order
 *
 * Return: 0, -EAGAIN or -EINTR; then some may be on the list.
 */
int vfio_pv_pick_all(struct vfio_pv_container *c,
		     const struct vfio_pv_pick *pick, struct list_head *taken)
{
	unsigned long start = pick->start;
	struct vfio_pv_dma *dma;
	unsigned int n = 0;
	int ret;

	while ((dma = vfio_pv_walk(c, start, pick->last))) {
		if (dma->state & pick->busy ||
		    (pick->from == VFIO_PV_UNFLUSHED && c->sweeping)) {
			start = max(start, dma->node.start);
			ret = vfio_pv_settle(c, pick->wait);
			if (ret)
				return ret;
			continue;
		}
		vfio_pv_pick_one(c, pick, dma, taken);
		if (dma->node.last >= pick->last)
			break;
		start = dma->node.last + 1;
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	return 0;
}

/**
 * vfio_pv_give_back() - end the busy state of mappings
 * @c: the container
 * @dmas: the mappings; empty on return
 * @state: their new state: VFIO_PV_MAPPED; or VFIO_PV_UNFLUSHED, which puts them on the list
 *	of those
 *
 * Context: process; takes c->tree_lock.
 */
void vfio_pv_give_back(struct vfio_pv_container *c, struct list_head *dmas,
		       enum vfio_pv_state state)
{
	struct vfio_pv_dma *dma;
	unsigned int n = 0;

	spin_lock(&c->tree_lock);
	while ((dma = list_first_entry_or_null(dmas, struct vfio_pv_dma, link))) {
		vfio_pv_set_state(c, dma, state);
		if (state == VFIO_PV_UNFLUSHED)
			list_move_tail(&dma->link, &c->unflushed);
		else
			list_del_init(&dma->link);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	vfio_pv_wake(c);
	spin_unlock(&c->tree_lock);
}
