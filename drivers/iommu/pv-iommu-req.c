// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: ops, rings, doorbells. No other file issues
 * hypercalls.
 *
 * Each ring has its own lock; a CPU uses the ring of its number. Who maps or
 * unmaps only appends to a ring. The doorbell is rung by who needs the result:
 *
 *  - a sync of mappings drains the rings that hold maps of its range
 *  - a sync of unmaps drains the rings that hold unmaps of its range, the last
 *    of them with the INVALIDATE appended, so that one doorbell does for both
 *  - who finds a ring full drains it
 *
 * Ops in one ring are executed in order, ops in two rings are not. That matters
 * when a page is mapped and unmapped: the one who does the second thing first
 * drains what other rings hold of the first, see pviommu_drain_maps() and
 * pviommu_drain_unmaps().
 *
 * UNMAP is not chained to the INVALIDATE behind it. The chain would cancel the
 * flush of all unmaps before it because one of them was refused.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/log2.h>
#include <linux/processor.h>
#include <linux/smp.h>

#include "pv-iommu.h"

/*
 * Doorbells in a row after which the host has not finished one op more. It may
 * take several for a large op. After the first limit the doorbell page is
 * suspected not to work, after the second one the host.
 */
#define IDLE_TRACKED	16
#define IDLE_CONFIG	1024

/* Runs of pages shorter than this are put into a list, others are a MAP each */
#define LIST_RUN	8

static struct pviommu_ring *ring_mine(struct pviommu *pv)
{
	return &pv->rings[raw_smp_processor_id() % pv->nr_rings];
}

static unsigned int slot_index(u32 n)
{
	return n & (PVIOMMU_RING_SIZE - 1);
}

/* Is count @a before count @b; counts are free-running */
static bool before(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}

static int status_to_errno(u32 status)
{
	switch (status) {
	case PVIOMMU_OK:
		return 0;
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

/**
 * pviommu_op_init() - an op with nothing in it
 * @op: the op
 * @code: PVIOMMU_OP_*
 */
void pviommu_op_init(struct pviommu_op *op, u16 code)
{
	memset(op, 0, sizeof(*op));
	op->code = cpu_to_le16(code);
	op->status = cpu_to_le32(PVIOMMU_STATUS_PENDING);
	op->pasid = cpu_to_le32(PVIOMMU_PASID_NONE);
	op->vm = cpu_to_le32(PVIOMMU_VM_SELF);
}

/* --- what the host has finished ------------------------------------------ */

/* Release: who sees the count drop sees the failure in the store */
static void pending_dec(u16 *count)
{
	smp_store_release(count, *count - 1);
}

static void map_done(struct pviommu_ring *ring, struct pviommu_slot *slot,
		     int error)
{
	if (error)
		pviommu_store_fail(slot->dom, slot->iova, slot->size, error);
	if (slot->list >= 0)
		__set_bit(slot->list, &ring->free_lists);
	pending_dec(&slot->dom->pending[ring->id].maps);
}

static void unmap_done(struct pviommu_ring *ring, struct pviommu_slot *slot,
		       int error, u64 result)
{
	if (error && !READ_ONCE(ring->pv->broken))
		pr_err_ratelimited("domain %u: the host did not unmap 0x%llx bytes at 0x%llx: %d\n",
				   slot->dom->id, slot->size, slot->iova, error);
	else if (!error && result != slot->size)
		pr_warn_ratelimited("domain %u: the host had 0x%llx of 0x%llx bytes to unmap at 0x%llx\n",
				    slot->dom->id, result, slot->size,
				    slot->iova);
	pending_dec(&slot->dom->pending[ring->id].unmaps);
}

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
		slot->req = NULL;
	}
}

/* Take the outcome of what the host has finished; was there anything */
static bool ring_reap(struct pviommu_ring *ring)
{
	u32 cons = le32_to_cpu(READ_ONCE(ring->hdr->cons));
	u32 first = ring->cons;

	/* Nonsense is no progress, and that has an end */
	if (cons - first > ring->pub - first)
		return false;

	dma_rmb(); /* statuses and results were written before cons */
	while (ring->cons != cons) {
		unsigned int i = slot_index(ring->cons);
		struct pviommu_op *op = &ring->ops[i];

		slot_done(ring, &ring->slots[i],
			  le32_to_cpu(READ_ONCE(op->status)),
			  le64_to_cpu(READ_ONCE(op->result)));
		ring->cons++;
	}
	return cons != first;
}

/* The host will not answer: all that is queued has failed */
static void ring_abort(struct pviommu_ring *ring)
{
	while (ring->cons != ring->prod) {
		slot_done(ring, &ring->slots[slot_index(ring->cons)],
			  PVIOMMU_EIO, 0);
		ring->cons++;
	}
	ring->pub = ring->prod;
}

static void interface_broken(struct pviommu_ring *ring)
{
	struct pviommu *pv = ring->pv;

	if (!xchg(&pv->broken, true))
		pr_err("the host has stopped answering (ring %u, error %u): no mapping can be changed any more\n",
		       ring->id, le32_to_cpu(READ_ONCE(ring->hdr->error)));
}

/* --- doorbells ----------------------------------------------------------- */

static void ring_kick(struct pviommu_ring *ring, bool tracked)
{
	u32 value = PVIOMMU_DOORBELL(ring->id);

	dma_wmb(); /* ops and lists before prod */
	WRITE_ONCE(ring->hdr->prod, cpu_to_le32(ring->prod));
	ring->pub = ring->prod;
	wmb(); /* prod before the doorbell */

	if (tracked) {
		ring->nr_tracked++;
		WRITE_ONCE(*ring->pv->doorbell, cpu_to_le32(value));
	} else {
		ring->nr_config++;
		pviommu_cap_doorbell(ring->pv, value);
	}
	pviommu_events_check(ring->pv);
}

/*
 * The page did nothing where config space did. A large op may have looked like
 * that, so ask for the smallest one: if a doorbell does not finish it, none
 * does. The ring is empty.
 */
static void doorbell_verify(struct pviommu_ring *ring)
{
	unsigned int i = slot_index(ring->prod);

	pviommu_op_init(&ring->ops[i], PVIOMMU_OP_NOP);
	ring->slots[i] = (struct pviommu_slot){ .list = -1 };
	ring->prod++;
	ring_kick(ring, true);
	if (ring_reap(ring))
		return;
	WRITE_ONCE(ring->pv->tracked, false);
	pr_warn("the doorbell page does not work any more, using config space\n");
	ring_kick(ring, false);
	ring_reap(ring);
}

/*
 * One doorbell more and the bookkeeping of progress; false when it is hopeless.
 */
static bool ring_round(struct pviommu_ring *ring, unsigned int *idle)
{
	bool tracked = READ_ONCE(ring->pv->tracked) && *idle < IDLE_TRACKED;

	ring_kick(ring, tracked);
	if (!ring_reap(ring)) {
		++*idle;
		return !READ_ONCE(ring->hdr->error) &&
		       *idle < IDLE_TRACKED + IDLE_CONFIG;
	}
	if (*idle >= IDLE_TRACKED && READ_ONCE(ring->pv->tracked) &&
	    ring->cons == ring->prod)
		doorbell_verify(ring);
	*idle = 0;
	return true;
}

/*
 * Have the ops before count @upto finished, or failed because the interface is
 * broken. The ring's lock, which the caller has taken with @flags, is let go
 * between two doorbells: one of them is one exit, and may be a long one.
 */
static void ring_drain(struct pviommu_ring *ring, u32 upto,
		       unsigned long *flags)
{
	unsigned int idle = 0;

	lockdep_assert_held(&ring->lock);
	while (before(ring->cons, upto)) {
		if (READ_ONCE(ring->pv->broken)) {
			ring_abort(ring);
			return;
		}
		if (!ring_round(ring, &idle)) {
			interface_broken(ring);
			continue;
		}
		if (before(ring->cons, upto)) {
			spin_unlock_irqrestore(&ring->lock, *flags);
			cpu_relax();
			spin_lock_irqsave(&ring->lock, *flags);
		}
	}
}

/* --- queueing ------------------------------------------------------------ */

/* The last op if it can still be changed */
static struct pviommu_slot *ring_last(struct pviommu_ring *ring)
{
	if (ring->prod == ring->pub)
		return NULL;
	return &ring->slots[slot_index(ring->prod - 1)];
}

/*
 * Append an op; its slot is cleared but for the code. NULL when the interface
 * is broken.
 */
static struct pviommu_slot *ring_append(struct pviommu_ring *ring,
					const struct pviommu_op *op,
					unsigned long *flags)
{
	struct pviommu_slot *slot;
	unsigned int i;

	while (ring->prod - ring->cons == PVIOMMU_RING_SIZE)
		ring_drain(ring, ring->prod, flags);
	if (READ_ONCE(ring->pv->broken))
		return NULL;

	i = slot_index(ring->prod);
	slot = &ring->slots[i];
	*slot = (struct pviommu_slot){
		.code = le16_to_cpu(op->code),
		.list = -1,
	};
	ring->ops[i] = *op;
	ring->prod++;
	ring->nr_ops++;
	return slot;
}

static struct pviommu_op *slot_op(struct pviommu_ring *ring,
				  struct pviommu_slot *slot)
{
	return &ring->ops[slot - ring->slots];
}

static void list_append(struct pviommu_ring *ring, struct pviommu_slot *slot,
			u64 gpa, size_t count)
{
	size_t n = slot->size >> slot->pgshift;
	__le64 *list = ring->lists[slot->list];
	u64 frame = gpa >> slot->pgshift;

	slot->size += (u64)count << slot->pgshift;
	slot_op(ring, slot)->list.count = cpu_to_le32(n + count);
	while (count--)
		list[n++] = cpu_to_le64(frame++);
}

/* Make a MAP of few pages a MAP_LIST of them; false without a list page */
static bool map_to_list(struct pviommu_ring *ring, struct pviommu_slot *slot)
{
	struct pviommu_op *op = slot_op(ring, slot);
	size_t count = slot->size >> slot->pgshift;

	if (!ring->free_lists)
		return false;
	slot->list = __ffs(ring->free_lists);
	__clear_bit(slot->list, &ring->free_lists);

	slot->code = PVIOMMU_OP_MAP_LIST;
	op->code = cpu_to_le16(PVIOMMU_OP_MAP_LIST);
	op->list.list = cpu_to_le64(virt_to_phys(ring->lists[slot->list]));
	op->list.reserved0 = 0;
	slot->size = 0;
	list_append(ring, slot, slot->gpa, count);
	return true;
}

/* What is to be mapped: @count pages that lie one after the other */
struct map_run {
	struct pviommu_domain *dom;
	u64 iova;
	u64 gpa;
	size_t count;
	unsigned int pgshift;
	u8 prot;
};

/* May @run go into the list that @slot is, or can become */
static bool run_fits_list(struct pviommu_ring *ring, struct pviommu_slot *slot,
			  const struct map_run *run)
{
	size_t count = slot->size >> slot->pgshift;

	if (!(ring->pv->features & PVIOMMU_F_MAP_LIST))
		return false;
	if (slot->code == PVIOMMU_OP_MAP && count >= LIST_RUN)
		return false;
	return run->count < LIST_RUN && count + run->count <= PVIOMMU_LIST_MAX;
}

/* Put @run into the last op if it goes on where that one ends */
static bool map_coalesce(struct pviommu_ring *ring, const struct map_run *run,
			 unsigned long *flags)
{
	struct pviommu_slot *slot = ring_last(ring);

	if (!slot || slot->dom != run->dom || slot->prot != run->prot ||
	    slot->pgshift != run->pgshift ||
	    slot->iova + slot->size != run->iova)
		return false;

	if (slot->code == PVIOMMU_OP_MAP && slot->gpa + slot->size == run->gpa) {
		slot->size += (u64)run->count << run->pgshift;
		slot_op(ring, slot)->map.size = cpu_to_le64(slot->size);
		return true;
	}

	if (!run_fits_list(ring, slot, run))
		return false;
	if (slot->code == PVIOMMU_OP_MAP && !map_to_list(ring, slot)) {
		/* All lists are in use: better one doorbell than many MAPs */
		ring_drain(ring, ring->prod, flags);
		return false;
	}
	list_append(ring, slot, run->gpa, run->count);
	return true;
}

static int map_append(struct pviommu_ring *ring, const struct map_run *run,
		      unsigned long *flags)
{
	struct pviommu_slot *slot;
	struct pviommu_op op;

	pviommu_op_init(&op, PVIOMMU_OP_MAP);
	op.domain = cpu_to_le32(run->dom->id);
	op.map.iova = cpu_to_le64(run->iova);
	op.map.gpa = cpu_to_le64(run->gpa);
	op.map.size = cpu_to_le64((u64)run->count << run->pgshift);
	op.map.prot = cpu_to_le32(run->prot);
	op.map.pgshift = run->pgshift;

	slot = ring_append(ring, &op, flags);
	if (!slot)
		return -EIO;
	slot->dom = run->dom;
	slot->iova = run->iova;
	slot->gpa = run->gpa;
	slot->size = (u64)run->count << run->pgshift;
	slot->prot = run->prot;
	slot->pgshift = run->pgshift;
	WRITE_ONCE(run->dom->pending[ring->id].maps,
		   run->dom->pending[ring->id].maps + 1);
	return 0;
}

/**
 * pviommu_queue_map() - queue a mapping of pages that lie one after the other
 * @dom: the domain; its store has the pages
 * @iova: where
 * @gpa: the first page
 * @pgshift: log2 of the page size
 * @count: how many pages
 * @prot: PVIOMMU_PROT_*
 *
 * If the host refuses, the entries in the store become failed ones.
 *
 * Return: 0 or -EIO, nothing is queued then.
 */
int pviommu_queue_map(struct pviommu_domain *dom, u64 iova, u64 gpa,
		      unsigned int pgshift, size_t count, u8 prot)
{
	struct map_run run = {
		.dom = dom,
		.iova = iova,
		.gpa = gpa,
		.count = count,
		.pgshift = pgshift,
		.prot = prot,
	};
	struct pviommu_ring *ring = ring_mine(dom->pv);
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&ring->lock, flags);
	if (map_coalesce(ring, &run, &flags))
		ring->nr_coalesced++;
	else
		ret = map_append(ring, &run, &flags);
	spin_unlock_irqrestore(&ring->lock, flags);
	return ret;
}

/* Put an unmap into the last op if the two touch */
static bool unmap_coalesce(struct pviommu_ring *ring,
			   struct pviommu_domain *dom, u64 iova, u64 size)
{
	struct pviommu_slot *slot = ring_last(ring);
	struct pviommu_op *op;

	if (!slot || slot->code != PVIOMMU_OP_UNMAP || slot->dom != dom)
		return false;
	if (iova + size == slot->iova)
		slot->iova = iova;
	else if (slot->iova + slot->size != iova)
		return false;
	slot->size += size;

	op = slot_op(ring, slot);
	op->unmap.iova = cpu_to_le64(slot->iova);
	op->unmap.size = cpu_to_le64(slot->size);
	return true;
}

static int unmap_append(struct pviommu_ring *ring, struct pviommu_domain *dom,
			u64 iova, u64 size, unsigned long *flags)
{
	struct pviommu_slot *slot;
	struct pviommu_op op;

	pviommu_op_init(&op, PVIOMMU_OP_UNMAP);
	op.domain = cpu_to_le32(dom->id);
	op.unmap.iova = cpu_to_le64(iova);
	op.unmap.size = cpu_to_le64(size);

	slot = ring_append(ring, &op, flags);
	if (!slot)
		return -EIO;
	slot->dom = dom;
	slot->iova = iova;
	slot->size = size;
	WRITE_ONCE(dom->pending[ring->id].unmaps,
		   dom->pending[ring->id].unmaps + 1);
	return 0;
}

/**
 * pviommu_queue_unmap() - queue a removal
 * @dom: the domain; its store no longer has the pages
 * @iova: where
 * @size: bytes, whole pages without a hole
 *
 * Return: 0 or -EIO, nothing is queued then.
 */
int pviommu_queue_unmap(struct pviommu_domain *dom, u64 iova, u64 size)
{
	struct pviommu_ring *ring = ring_mine(dom->pv);
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&ring->lock, flags);
	if (unmap_coalesce(ring, dom, iova, size))
		ring->nr_coalesced++;
	else
		ret = unmap_append(ring, dom, iova, size, &flags);
	spin_unlock_irqrestore(&ring->lock, flags);
	return ret;
}

/* --- waiting ------------------------------------------------------------- */

static bool slot_touches(struct pviommu_slot *slot, struct pviommu_domain *dom,
			 bool unmaps, u64 iova, u64 size)
{
	return slot->dom == dom && (slot->code == PVIOMMU_OP_UNMAP) == unmaps &&
	       pviommu_overlap(slot->iova, slot->size, iova, size);
}

/* Does the ring hold a map, or an unmap, of @dom that touches the range */
static bool ring_holds(struct pviommu_ring *ring, struct pviommu_domain *dom,
		       bool unmaps, u64 iova, u64 size)
{
	u32 n;

	for (n = ring->prod; n != ring->cons; n--) {
		if (slot_touches(&ring->slots[slot_index(n - 1)], dom, unmaps,
				 iova, size))
			return true;
	}
	return false;
}

/* Acquire: pairs with pending_dec() */
static bool ring_pending(struct pviommu_domain *dom, unsigned int id,
			 bool unmaps)
{
	struct pviommu_pending *pending = &dom->pending[id];

	return smp_load_acquire(unmaps ? &pending->unmaps : &pending->maps);
}

static void drain_range(struct pviommu_domain *dom, bool unmaps, u64 iova,
			u64 size)
{
	struct pviommu *pv = dom->pv;
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < pv->nr_rings; i++) {
		struct pviommu_ring *ring = &pv->rings[i];

		if (!ring_pending(dom, i, unmaps))
			continue;
		spin_lock_irqsave(&ring->lock, flags);
		if (ring_holds(ring, dom, unmaps, iova, size))
			ring_drain(ring, ring->prod, &flags);
		spin_unlock_irqrestore(&ring->lock, flags);
	}
}

/**
 * pviommu_drain_maps() - have queued mappings of a range done
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes, not 0
 */
void pviommu_drain_maps(struct pviommu_domain *dom, u64 iova, u64 size)
{
	drain_range(dom, false, iova, size);
}

/**
 * pviommu_drain_unmaps() - have queued removals of a range done
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes, not 0
 */
void pviommu_drain_unmaps(struct pviommu_domain *dom, u64 iova, u64 size)
{
	drain_range(dom, true, iova, size);
}

/**
 * pviommu_drain_domain() - have all that is queued for a domain done
 * @dom: the domain; no ring knows of it afterwards if nobody queues more
 */
void pviommu_drain_domain(struct pviommu_domain *dom)
{
	drain_range(dom, false, 0, U64_MAX);
	drain_range(dom, true, 0, U64_MAX);
}

/* Queue an op and wait for it, with the ring's lock held */
static int request_locked(struct pviommu_ring *ring,
			  const struct pviommu_op *op, u64 *result,
			  unsigned long *flags)
{
	struct pviommu_req req = { .status = PVIOMMU_STATUS_PENDING };
	struct pviommu_slot *slot;

	slot = ring_append(ring, op, flags);
	if (!slot)
		return -EIO;
	slot->req = &req;
	ring_drain(ring, ring->prod, flags);
	if (result)
		*result = req.result;
	return status_to_errno(req.status);
}

/**
 * pviommu_request() - have one op done
 * @pv: the interface
 * @op: the op
 * @result: where to put its result, or NULL
 *
 * Callable in any context.
 *
 * Return: 0 or a negative errno, -EIO if the interface is broken.
 */
int pviommu_request(struct pviommu *pv, const struct pviommu_op *op,
		    u64 *result)
{
	struct pviommu_ring *ring = ring_mine(pv);
	unsigned long flags;
	int ret;

	spin_lock_irqsave(&ring->lock, flags);
	ret = request_locked(ring, op, result, &flags);
	spin_unlock_irqrestore(&ring->lock, flags);
	return ret;
}

/*
 * The ring to put an INVALIDATE of a range into: one that holds unmaps of it,
 * so that they need no doorbell of their own. All others are drained.
 */
static struct pviommu_ring *drain_others(struct pviommu_domain *dom, u64 iova,
					 u64 size)
{
	struct pviommu *pv = dom->pv;
	struct pviommu_ring *chosen = NULL;
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < pv->nr_rings; i++) {
		struct pviommu_ring *ring = &pv->rings[i];

		if (!ring_pending(dom, i, true))
			continue;
		spin_lock_irqsave(&ring->lock, flags);
		if (ring_holds(ring, dom, true, iova, size)) {
			if (chosen)
				ring_drain(ring, ring->prod, &flags);
			else
				chosen = ring;
		}
		spin_unlock_irqrestore(&ring->lock, flags);
	}
	return chosen ?: ring_mine(pv);
}

/**
 * pviommu_invalidate() - make removals effective
 * @dom: the domain
 * @op: an INVALIDATE of it
 *
 * Has the queued removals done that it covers. Callable in any context. When it
 * returns 0, no device reaches the removed pages.
 *
 * Return: 0 or a negative errno, -EIO if the interface is broken.
 */
int pviommu_invalidate(struct pviommu_domain *dom, const struct pviommu_op *op)
{
	struct pviommu_ring *ring;
	unsigned long flags;
	int ret;

	if (op->inv.granularity == cpu_to_le32(PVIOMMU_INV_PAGE))
		ring = drain_others(dom, le64_to_cpu(op->inv.addr),
				    le64_to_cpu(op->inv.size));
	else
		ring = drain_others(dom, 0, U64_MAX);

	spin_lock_irqsave(&ring->lock, flags);
	ret = request_locked(ring, op, NULL, &flags);
	spin_unlock_irqrestore(&ring->lock, flags);
	return ret;
}
