// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: rings, doorbells, waiting. No other file
 * issues hypercalls.
 *
 * Each ring has its own lock; a CPU uses the ring of its number. Mapping and
 * unmapping only append to a ring. The doorbell is rung when a result is needed:
 *
 *  - a sync of mappings drains the rings that hold maps of its range
 *  - a sync of unmaps drains the rings that hold unmaps of its range, the last
 *    of them with the INVALIDATE appended, so that one doorbell does for both
 *  - appending to a ring that is full drains it first
 *
 * The ops of one ring are executed in order, ops of different rings are not. That
 * matters when the same IOVA is mapped and unmapped by way of two rings. Whoever
 * does the second of these first drains what other rings hold of the first, see
 * pviommu_drain_maps() and pviommu_drain_unmaps().
 *
 * UNMAP is not chained to the INVALIDATE behind it: if one of several unmaps was
 * refused, the chain would cancel the flush for all of them.
 *
 * Nothing is printed here: see struct pviommu_report.
 */
#include <linux/ktime.h>
#include <linux/processor.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>

#include "pv-iommu.h"

/*
 * How many doorbells in a row may have no effect before the host is taken for dead. A host
 * that works serves each doorbell, however long an op may take, and never claims to have
 * done more ops than there were. After the first one that is not served, config space is
 * used, in case the doorbell page does not work any more.
 */
#define UNSERVED_MAX	16

/* Is count @a before count @b; counts are free-running */
static bool before(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}

static int error_to_errno(u32 status)
{
	switch (status) {
	case PVIOMMU_ENOENT:
		return -ENOENT;
	case PVIOMMU_ENOMEM:
		return -ENOMEM;
	case PVIOMMU_EACCES:
		return -EACCES;
	case PVIOMMU_EFAULT:
		return -EFAULT;
	case PVIOMMU_EBUSY:
		return -EBUSY;
	case PVIOMMU_EEXIST:
		return -EEXIST;
	case PVIOMMU_EINVAL:
		return -EINVAL;
	case PVIOMMU_ENOSPC:
		return -ENOSPC;
	case PVIOMMU_ERANGE:
		return -ERANGE;
	case PVIOMMU_EOPNOTSUPP:
		return -EOPNOTSUPP;
	case PVIOMMU_ECANCELED:
		return -ECANCELED;
	default:
		return -EIO;
	}
}

static int status_to_errno(u32 status)
{
	return status == PVIOMMU_OK ? 0 : error_to_errno(status);
}

/* --- what the host has finished ------------------------------------------ */

static void pending_dec(u16 *count)
{
	/* Pairs with ring_pending(): a thread that sees this also sees the store changed */
	smp_store_release(count, *count - 1);
}

static void map_done(struct pviommu_ring *ring, struct pviommu_slot *slot,
		     int error)
{
	if (error && slot->batch)
		slot->batch->error = error;
	else if (error)
		pviommu_store_fail(slot->dom, slot->iova, slot->size, error);
	if (slot->list >= 0)
		__set_bit(slot->list, &ring->free_lists);
	pending_dec(&slot->dom->pending[ring->id].maps);
}

static void unmap_incomplete(struct pviommu_ring *ring, struct pviommu_slot *slot,
			     int error, u64 result)
{
	/* The host has no such domain, so nothing is mapped */
	if (error == -ENOENT)
		return;
	if (error)
		WRITE_ONCE(slot->dom->unmap_refused, true);
	/*
	 * Unmapping less than was asked for is to be expected after a restart, see
	 * pviommu_unmap_pages(), and for an owner, who also unmaps what the host has
	 * revoked or not mapped.
	 */
	if (!error && (ring->pv->restarts || slot->dom->owner_ops ||
		       READ_ONCE(slot->dom->revoked)))
		return;
	if (!READ_ONCE(ring->pv->broken))
		pviommu_report_removal(slot->dom, slot->iova, slot->size,
				       result, error);
}

static void unmap_done(struct pviommu_ring *ring, struct pviommu_slot *slot,
		       int error, u64 result)
{
	if (error || result != slot->size)
		unmap_incomplete(ring, slot, error, result);
	pending_dec(&slot->dom->pending[ring->id].unmaps);
}

/* Take the outcome of an op. slot->dom must not be used after this: it may be freed. */
static void slot_done(struct pviommu_ring *ring, struct pviommu_slot *slot,
		      u32 status, u64 result)
{
	int error = status_to_errno(status);

	switch (slot->code) {
	case PVIOMMU_OP_MAP:
	case PVIOMMU_OP_MAP_LIST:
		map_done(ring, slot, error);
		break;
	case PVIOMMU_OP_UNMAP:
		unmap_done(ring, slot, error, result);
		break;
	}
	if (slot->req) {
		slot->req->status = status;
		slot->req->result = result;
		if (slot->req->answer)
			*slot->req->answer = *pviommu_slot_op(ring, slot);
		slot->req = NULL;
	}
}

/* How many ops the host claims to have done */
static u32 ring_cons(struct pviommu_ring *ring)
{
	return ring->base + le32_to_cpu(READ_ONCE(ring->hdr.cons));
}

/* More than were published, or less than before, is nonsense */
static bool cons_valid(struct pviommu_ring *ring, u32 cons)
{
	return cons - ring->cons <= ring->pub - ring->cons;
}

/* Take the outcome of the ops that the host has finished; false if there are none */
static bool ring_reap(struct pviommu_ring *ring)
{
	u32 cons = ring_cons(ring);
	u32 events = le32_to_cpu(READ_ONCE(ring->hdr.events));
	u32 first = ring->cons;

	if (events != ring->events) {
		ring->events = events;
		pviommu_events_check(ring->pv);
	}
	/* Nonsense counts as no progress, which ends in giving up the host */
	if (!cons_valid(ring, cons))
		return false;

	/* Statuses and results were written before cons */
	dma_rmb();
	while (ring->cons != cons) {
		unsigned int i = pviommu_slot_index(ring->cons);
		struct pviommu_op *op = &ring->ops[i];

		slot_done(ring, &ring->slots[i],
			  le32_to_cpu(READ_ONCE(op->status)),
			  le64_to_cpu(READ_ONCE(op->result)));
		ring->cons++;
	}
	return cons != first;
}

/* The host does not answer: fail everything that is queued */
static void ring_abort(struct pviommu_ring *ring)
{
	while (ring->cons != ring->prod) {
		slot_done(ring, &ring->slots[pviommu_slot_index(ring->cons)],
			  PVIOMMU_EIO, 0);
		ring->cons++;
	}
	ring->pub = ring->prod;
}

/*
 * The status of an op that was queued when the host has forgotten everything. Then all
 * is unmapped and flushed, and what was to be mapped will be replayed. Ops that ask for
 * something have failed, as they got no answer.
 */
static u32 forgotten_status(const struct pviommu_slot *slot)
{
	switch (slot->code) {
	case PVIOMMU_OP_MAP:
	case PVIOMMU_OP_MAP_LIST:
	case PVIOMMU_OP_UNMAP:
	case PVIOMMU_OP_INVALIDATE:
		return slot->dom ? PVIOMMU_OK : PVIOMMU_EIO;
	default:
		return PVIOMMU_EIO;
	}
}

/**
 * pviommu_ring_discard() - end all ops that are queued, without the host
 * @ring: the ring; nobody else uses it
 * @done: the host was reset, and has neither mappings nor domains any more; if false, all
 *	ops fail
 */
void pviommu_ring_discard(struct pviommu_ring *ring, bool done)
{
	if (!done)
		return ring_abort(ring);
	while (ring->cons != ring->prod) {
		struct pviommu_slot *slot =
			&ring->slots[pviommu_slot_index(ring->cons)];

		slot_done(ring, slot, forgotten_status(slot), slot->size);
		ring->cons++;
	}
	ring->pub = ring->prod;
}

static void interface_broken(struct pviommu_ring *ring)
{
	if (!xchg(&ring->pv->broken, true))
		pviommu_report_broken(ring);
}

/* --- doorbells ----------------------------------------------------------- */

static void ring_kick(struct pviommu_ring *ring, bool tracked)
{
	u32 value = PVIOMMU_DOORBELL(ring->id);

	/* The host must see ops and lists before prod, */
	dma_wmb();
	WRITE_ONCE(ring->hdr.prod, cpu_to_le32(ring->prod - ring->base));
	ring->pub = ring->prod;
	/* and prod before the doorbell */
	wmb();

	if (tracked) {
		ring->nr_tracked++;
		WRITE_ONCE(*ring->pv->doorbell, cpu_to_le32(value));
	} else {
		ring->nr_config++;
		pviommu_cap_doorbell(ring->pv, value);
	}
}

/* The page had no effect, but config space had right after it: don't use the page any more */
static void page_is_dead(struct pviommu *pv)
{
	WRITE_ONCE(pv->tracked, false);
	pviommu_report_no_page(pv);
}

/*
 * The host works on an op, and its progress can't be seen. So there is no timeout, but it is
 * reported now and then.
 */
static void ring_slow(struct pviommu_ring *ring, u64 *since)
{
	u64 now = ktime_get_mono_fast_ns();

	if (!*since)
		*since = now;
	if (now - *since < PVIOMMU_SLOW_SECONDS * NSEC_PER_SEC)
		return;
	*since = now;
	pviommu_report_slow(ring->pv);
}

/* Ring once more, after *@unserved doorbells that were not served; false to give up the host */
static bool ring_round(struct pviommu_ring *ring, unsigned int *unserved, u64 *since)
{
	struct pviommu *pv = ring->pv;
	__le32 served = READ_ONCE(ring->hdr.served);
	bool done, at_work;

	ring_kick(ring, !*unserved && READ_ONCE(pv->tracked));
	done = ring_reap(ring);
	at_work = READ_ONCE(ring->hdr.served) != served && cons_valid(ring, ring_cons(ring));
	if (done)
		*since = 0;
	else if (at_work)
		ring_slow(ring, since);
	if (done || at_work) {
		if (*unserved && READ_ONCE(pv->tracked))
			page_is_dead(pv);
		*unserved = 0;
		return true;
	}
	return ++*unserved < UNSERVED_MAX && !READ_ONCE(ring->hdr.error) &&
	       !pviommu_cap_stopped(pv);
}

/**
 * pviommu_ring_drain() - have ops finished
 * @ring: the ring, locked
 * @end: the ops up to this count
 * @hold: how the ring is locked
 *
 * On return the ops are finished, or have failed because the interface is broken.
 *
 * Context: any. The lock is dropped between two doorbells, as each of them is a VM exit
 * that may take long; and sleeps then, if @hold says so.
 */
void pviommu_ring_drain(struct pviommu_ring *ring, u32 end,
			struct pviommu_hold *hold)
	__must_hold(&ring->lock)
{
	unsigned int unserved = 0;
	u64 since = 0;

	lockdep_assert_held(&ring->lock);
	while (before(ring->cons, end)) {
		if (READ_ONCE(ring->pv->broken)) {
			ring_abort(ring);
			return;
		}
		if (!ring_round(ring, &unserved, &since)) {
			interface_broken(ring);
			continue;
		}
		if (before(ring->cons, end)) {
			spin_unlock_irqrestore(&ring->lock, hold->flags);
			if (hold->may_sleep)
				cond_resched();
			else
				cpu_relax();
			spin_lock_irqsave(&ring->lock, hold->flags);
		}
	}
}

/**
 * pviommu_ring_append() - queue an op
 * @ring: the ring, locked
 * @code: PVIOMMU_OP_*
 * @dom: the domain that it is about, or NULL
 * @hold: how the ring is locked
 *
 * A ring that is full is drained first. The caller fills in the rest of the op,
 * see pviommu_slot_op(), before it drops the lock.
 *
 * Context: as pviommu_ring_drain().
 * Return: the slot of the op, cleared but for its code and domain; NULL if the
 * interface is broken.
 */
struct pviommu_slot *pviommu_ring_append(struct pviommu_ring *ring, u16 code,
					 struct pviommu_domain *dom,
					 struct pviommu_hold *hold)
{
	struct pviommu_slot *slot;
	unsigned int i;

	lockdep_assert_held(&ring->lock);

	while (ring->prod - ring->cons == PVIOMMU_RING_SIZE)
		pviommu_ring_drain(ring, ring->prod, hold);
	if (READ_ONCE(ring->pv->broken))
		return NULL;

	i = pviommu_slot_index(ring->prod);
	slot = &ring->slots[i];
	*slot = (struct pviommu_slot){
		.dom = dom,
		.code = code,
		.list = -1,
	};
	pviommu_op_init(&ring->ops[i], code);
	/* Not earlier: while the lock was dropped, a restart may have changed the number */
	if (dom)
		ring->ops[i].domain = cpu_to_le32(dom->id);
	ring->prod++;
	ring->nr_ops++;
	return slot;
}

/**
 * pviommu_doorbell_only() - ring the doorbell once, so that the host moves on its events
 * @pv: the interface
 *
 * Ops of the ring that is named are done as well, as far as one doorbell goes.
 *
 * Context: any.
 */
void pviommu_doorbell_only(struct pviommu *pv)
{
	struct pviommu_ring *ring = pviommu_ring_mine(pv);
	unsigned long flags;

	spin_lock_irqsave(&ring->lock, flags);
	if (!READ_ONCE(pv->broken)) {
		ring_kick(ring, READ_ONCE(pv->tracked));
		ring_reap(ring);
	}
	spin_unlock_irqrestore(&ring->lock, flags);
}

/* --- waiting ------------------------------------------------------------- */

static bool slot_touches(struct pviommu_slot *slot, struct pviommu_domain *dom,
			 bool unmaps, u64 iova, u64 size)
{
	bool unmap = slot->code == PVIOMMU_OP_UNMAP;

	if (slot->dom != dom || slot->code == PVIOMMU_OP_INVALIDATE ||
	    unmap != unmaps)
		return false;
	return pviommu_overlap(slot->iova, slot->size, iova, size);
}

/* Whether a ring holds a map, or an unmap, of @dom that overlaps the range */
static bool ring_holds(struct pviommu_ring *ring, struct pviommu_domain *dom,
		       bool unmaps, u64 iova, u64 size)
{
	u32 n;

	for (n = ring->prod; n != ring->cons; n--) {
		if (slot_touches(&ring->slots[pviommu_slot_index(n - 1)], dom,
				 unmaps, iova, size))
			return true;
	}
	return false;
}

static bool ring_pending(struct pviommu_domain *dom, unsigned int id,
			 bool unmaps)
{
	u16 *count = unmaps ? &dom->pending[id].unmaps : &dom->pending[id].maps;

	/* Pairs with pending_dec() */
	return smp_load_acquire(count);
}

static void drain_range(struct pviommu_domain *dom, bool unmaps, u64 iova,
			u64 size, bool may_sleep)
{
	struct pviommu_hold hold = { .may_sleep = may_sleep };
	struct pviommu *pv = dom->pv;
	unsigned int i;

	for (i = 0; i < pv->nr_rings; i++) {
		struct pviommu_ring *ring = &pv->rings[i];

		if (!ring_pending(dom, i, unmaps))
			continue;
		spin_lock_irqsave(&ring->lock, hold.flags);
		if (ring_holds(ring, dom, unmaps, iova, size))
			pviommu_ring_drain(ring, ring->prod, &hold);
		spin_unlock_irqrestore(&ring->lock, hold.flags);
	}
}

/**
 * pviommu_drain_maps() - have queued mappings of a range done
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes, not 0
 * @may_sleep: the caller may sleep
 *
 * Context: any, with no ring locked. The outcome is in the store or the batches.
 */
void pviommu_drain_maps(struct pviommu_domain *dom, u64 iova, u64 size,
			bool may_sleep)
{
	drain_range(dom, false, iova, size, may_sleep);
}

/**
 * pviommu_drain_unmaps() - have queued removals of a range done, but not flushed
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes, not 0
 * @may_sleep: the caller may sleep
 *
 * Context: any, with no ring locked.
 */
void pviommu_drain_unmaps(struct pviommu_domain *dom, u64 iova, u64 size,
			  bool may_sleep)
{
	drain_range(dom, true, iova, size, may_sleep);
}

/**
 * pviommu_drain_domain() - have everything done that is queued for a domain
 * @dom: the domain; unless more is queued, no ring has it on return
 * @may_sleep: the caller may sleep
 *
 * Context: any, with no ring locked.
 */
void pviommu_drain_domain(struct pviommu_domain *dom, bool may_sleep)
{
	drain_range(dom, false, 0, U64_MAX, may_sleep);
	drain_range(dom, true, 0, U64_MAX, may_sleep);
}

/**
 * pviommu_ring_request() - queue an op and wait for it
 * @ring: the ring, locked
 * @op: the op
 * @dom: the domain that it is about, which @op need not name; or NULL
 * @result: where to put its result, or NULL
 * @answer: where to copy the op as the host has changed it, or NULL; may be @op
 * @hold: how the ring is locked
 *
 * Context: as pviommu_ring_drain().
 * Return: as pviommu_request().
 */
int pviommu_ring_request(struct pviommu_ring *ring, const struct pviommu_op *op,
			 struct pviommu_domain *dom, u64 *result,
			 struct pviommu_op *answer, struct pviommu_hold *hold)
{
	struct pviommu_req req = {
		.status = PVIOMMU_STATUS_PENDING,
		.answer = answer,
	};
	struct pviommu_slot *slot;
	struct pviommu_op *queued;
	__le32 domain;

	slot = pviommu_ring_append(ring, le16_to_cpu(op->code), dom, hold);
	if (!slot)
		return -EIO;
	slot->req = &req;
	queued = pviommu_slot_op(ring, slot);
	domain = dom ? queued->domain : op->domain;
	*queued = *op;
	queued->domain = domain;
	pviommu_ring_drain(ring, ring->prod, hold);
	if (result)
		*result = req.result;
	return status_to_errno(req.status);
}

static int request(struct pviommu *pv, const struct pviommu_op *op, u64 *result,
		   bool may_sleep)
{
	struct pviommu_ring *ring = pviommu_ring_mine(pv);
	struct pviommu_hold hold = { .may_sleep = may_sleep };
	int ret;

	spin_lock_irqsave(&ring->lock, hold.flags);
	ret = pviommu_ring_request(ring, op, NULL, result, NULL, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret;
}

/**
 * pviommu_request() - have one op done
 * @pv: the interface
 * @op: the op
 * @result: where to put its result, or NULL
 *
 * Context: any, with no ring locked; does not sleep.
 * Return: 0; a negative errno for the status that the host gave; -EIO also if the interface
 * is broken.
 */
int pviommu_request(struct pviommu *pv, const struct pviommu_op *op,
		    u64 *result)
{
	return request(pv, op, result, false);
}

/**
 * pviommu_request_long() - have one op done that may take many doorbells
 * @pv: the interface
 * @op: the op
 * @result: where to put its result, or NULL
 *
 * Context: process, with no ring locked; may sleep.
 * Return: as pviommu_request().
 */
int pviommu_request_long(struct pviommu *pv, const struct pviommu_op *op,
			 u64 *result)
{
	return request(pv, op, result, true);
}

/**
 * pviommu_ask() - have one op done that has its answer in its arguments
 * @dom: the domain
 * @op: the op, which need not name the domain; replaced by the answer
 * @may_sleep: the caller may sleep
 *
 * Context: any, with no ring locked.
 * Return: as pviommu_request().
 */
int pviommu_ask(struct pviommu_domain *dom, struct pviommu_op *op, bool may_sleep)
{
	struct pviommu_ring *ring = pviommu_ring_mine(dom->pv);
	struct pviommu_hold hold = { .may_sleep = may_sleep };
	int ret;

	spin_lock_irqsave(&ring->lock, hold.flags);
	ret = pviommu_ring_request(ring, op, dom, NULL, op, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret;
}

/*
 * The ring to put an INVALIDATE of a range into: one that holds unmaps of it,
 * so that they need no doorbell of their own. All others are drained.
 */
static struct pviommu_ring *drain_others(struct pviommu_domain *dom, u64 iova,
					 u64 size, struct pviommu_hold *hold)
{
	struct pviommu *pv = dom->pv;
	struct pviommu_ring *chosen = NULL;
	unsigned int i;

	for (i = 0; i < pv->nr_rings; i++) {
		struct pviommu_ring *ring = &pv->rings[i];

		if (!ring_pending(dom, i, true))
			continue;
		spin_lock_irqsave(&ring->lock, hold->flags);
		if (ring_holds(ring, dom, true, iova, size)) {
			if (chosen)
				pviommu_ring_drain(ring, ring->prod, hold);
			else
				chosen = ring;
		}
		spin_unlock_irqrestore(&ring->lock, hold->flags);
	}
	return chosen ?: pviommu_ring_mine(pv);
}

/**
 * pviommu_invalidate() - have removals done and flushed
 * @dom: the domain
 * @op: an INVALIDATE, which need not name the domain
 * @may_sleep: the caller may sleep
 *
 * Queued removals in its range are done first.
 *
 * Context: any, with no ring locked.
 * Return: 0, no device reaches the removed pages any more; or as pviommu_request(), then
 * devices may still reach them.
 */
int pviommu_invalidate(struct pviommu_domain *dom, const struct pviommu_op *op,
		       bool may_sleep)
{
	struct pviommu_hold hold = { .may_sleep = may_sleep };
	struct pviommu_ring *ring;
	int ret;

	/*
	 * After this flush the DMA API frees IOVAs that were unmapped before it began:
	 * their unmaps must be seen in the rings below. Pairs with the barrier after the
	 * unmap in the DMA API's flush queues.
	 */
	smp_mb();
	if (op->inv.granularity == cpu_to_le32(PVIOMMU_INV_PAGE))
		ring = drain_others(dom, le64_to_cpu(op->inv.addr),
				    le64_to_cpu(op->inv.size), &hold);
	else
		ring = drain_others(dom, 0, U64_MAX, &hold);

	spin_lock_irqsave(&ring->lock, hold.flags);
	ret = pviommu_ring_request(ring, op, dom, NULL, NULL, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret;
}
