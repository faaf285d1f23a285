// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: queueing of mappings and removals.
 *
 * As long as an op has not been published to the host it can still grow. What
 * continues the last op of a ring becomes part of it: contiguous memory one MAP,
 * scattered memory one MAP_LIST, removals one UNMAP.
 */
#include <linux/bitops.h>
#include <linux/io.h>

#include "pv-iommu.h"

/* Runs shorter than this, in pages, go into a list; others are a MAP each */
#define LIST_RUN	8

/* The last op if it can still be changed */
static struct pviommu_slot *ring_last(struct pviommu_ring *ring)
{
	if (ring->prod == ring->pub)
		return NULL;
	return &ring->slots[pviommu_slot_index(ring->prod - 1)];
}

static void list_append(struct pviommu_ring *ring, struct pviommu_slot *slot,
			u64 gpa, size_t count)
{
	size_t n = slot->size >> slot->pgshift;
	__le64 *list = ring->lists[slot->list];
	u64 frame = gpa >> slot->pgshift;

	slot->size += (u64)count << slot->pgshift;
	pviommu_slot_op(ring, slot)->list.count = cpu_to_le32(n + count);
	while (count--)
		list[n++] = cpu_to_le64(frame++);
}

/* Make a MAP of few pages a MAP_LIST of them; false without a list page */
static bool map_to_list(struct pviommu_ring *ring, struct pviommu_slot *slot)
{
	struct pviommu_op *op = pviommu_slot_op(ring, slot);
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

/* Whether @run may be added to @slot, which is a list, or a MAP that may become one */
static bool run_fits_list(struct pviommu_ring *ring, struct pviommu_slot *slot,
			  const struct pviommu_map_run *run)
{
	size_t count = slot->size >> slot->pgshift;

	if (!(ring->pv->features & PVIOMMU_F_MAP_LIST))
		return false;
	if (slot->code == PVIOMMU_OP_MAP && count >= LIST_RUN)
		return false;
	return run->count < LIST_RUN && count + run->count <= PVIOMMU_LIST_MAX;
}

/* Make @run a part of the last op, if it continues that */
static bool map_coalesce(struct pviommu_ring *ring, const struct pviommu_map_run *run,
			 struct pviommu_hold *hold)
{
	struct pviommu_slot *slot = ring_last(ring);

	if (!slot || slot->dom != run->dom || slot->batch != run->batch ||
	    slot->prot != run->prot || slot->pgshift != run->pgshift ||
	    slot->vm != run->vm ||
	    slot->iova + slot->size != run->iova)
		return false;

	if (slot->code == PVIOMMU_OP_MAP && slot->gpa + slot->size == run->gpa) {
		slot->size += (u64)run->count << run->pgshift;
		pviommu_slot_op(ring, slot)->map.size = cpu_to_le64(slot->size);
		return true;
	}

	if (!run_fits_list(ring, slot, run)) {
		/*
		 * The last list is full. All lists of the ring are as many pages as one
		 * doorbell maps: with another MAP behind them it would take two doorbells.
		 */
		if (slot->code == PVIOMMU_OP_MAP_LIST && !ring->free_lists)
			pviommu_ring_drain(ring, ring->prod, hold);
		return false;
	}
	if (slot->code == PVIOMMU_OP_MAP && !map_to_list(ring, slot)) {
		/* All lists are in use: better one doorbell than many MAPs */
		pviommu_ring_drain(ring, ring->prod, hold);
		return false;
	}
	list_append(ring, slot, run->gpa, run->count);
	return true;
}

static int map_append(struct pviommu_ring *ring, const struct pviommu_map_run *run,
		      struct pviommu_hold *hold)
{
	u64 size = (u64)run->count << run->pgshift;
	struct pviommu_slot *slot;
	struct pviommu_op *op;

	slot = pviommu_ring_append(ring, PVIOMMU_OP_MAP, run->dom, hold);
	if (!slot)
		return -EIO;
	op = pviommu_slot_op(ring, slot);
	op->vm = cpu_to_le32(run->vm);
	op->map.iova = cpu_to_le64(run->iova);
	op->map.gpa = cpu_to_le64(run->gpa);
	op->map.size = cpu_to_le64(size);
	op->map.prot = cpu_to_le32(run->prot);
	op->map.pgshift = run->pgshift;

	slot->batch = run->batch;
	slot->iova = run->iova;
	slot->gpa = run->gpa;
	slot->vm = run->vm;
	slot->size = size;
	slot->prot = run->prot;
	slot->pgshift = run->pgshift;
	WRITE_ONCE(run->dom->pending[ring->id].maps,
		   run->dom->pending[ring->id].maps + 1);
	return 0;
}

/**
 * pviommu_queue_map() - queue a mapping of contiguous pages
 * @run: the pages, which are recorded in the domain's store, or by its owner
 * @may_sleep: the caller may sleep
 *
 * If the host refuses, that is noted in the batch, or the entries in the store become
 * failed ones.
 *
 * Context: any, with no ring locked. May ring the doorbell.
 * Return: 0; -EIO the interface is broken, and nothing is queued.
 */
int pviommu_queue_map(const struct pviommu_map_run *run, bool may_sleep)
{
	struct pviommu_ring *ring = pviommu_ring_mine(run->dom->pv);
	struct pviommu_hold hold = { .may_sleep = may_sleep };
	int ret = 0;

	spin_lock_irqsave(&ring->lock, hold.flags);
	if (map_coalesce(ring, run, &hold))
		ring->nr_coalesced++;
	else
		ret = map_append(ring, run, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret;
}

/**
 * pviommu_map_now() - have contiguous pages mapped
 * @run: the pages, of a domain with an owner; nothing else belongs to its batch
 *
 * The same as queueing and draining, but faster.
 *
 * Context: process, with no ring locked; may sleep.
 * Return: 0 or a negative errno; then a part may be mapped.
 */
int pviommu_map_now(const struct pviommu_map_run *run)
{
	struct pviommu_ring *ring = pviommu_ring_mine(run->dom->pv);
	struct pviommu_hold hold = { .may_sleep = true };
	int ret;

	spin_lock_irqsave(&ring->lock, hold.flags);
	ret = map_append(ring, run, &hold);
	if (!ret)
		pviommu_ring_drain(ring, ring->prod, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret ?: run->batch->error;
}

/* Make an unmap a part of the last op, if they are adjacent */
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

	op = pviommu_slot_op(ring, slot);
	op->unmap.iova = cpu_to_le64(slot->iova);
	op->unmap.size = cpu_to_le64(slot->size);
	return true;
}

static int unmap_append(struct pviommu_ring *ring, struct pviommu_domain *dom,
			u64 iova, u64 size, struct pviommu_hold *hold)
{
	struct pviommu_slot *slot;
	struct pviommu_op *op;

	slot = pviommu_ring_append(ring, PVIOMMU_OP_UNMAP, dom, hold);
	if (!slot)
		return -EIO;
	op = pviommu_slot_op(ring, slot);
	op->unmap.iova = cpu_to_le64(iova);
	op->unmap.size = cpu_to_le64(size);

	slot->iova = iova;
	slot->size = size;
	WRITE_ONCE(dom->pending[ring->id].unmaps,
		   dom->pending[ring->id].unmaps + 1);
	return 0;
}

/**
 * pviommu_queue_unmap() - queue a removal
 * @dom: the domain; the pages have been removed from its store, if it has no owner
 * @iova: where
 * @size: bytes, whole pages; all of it is mapped if the domain has no owner
 * @may_sleep: the caller may sleep
 *
 * Context: any, with no ring locked. May ring the doorbell.
 * Return: 0; -EIO the interface is broken, and nothing is queued.
 */
int pviommu_queue_unmap(struct pviommu_domain *dom, u64 iova, u64 size,
			bool may_sleep)
{
	struct pviommu_ring *ring = pviommu_ring_mine(dom->pv);
	struct pviommu_hold hold = { .may_sleep = may_sleep };
	int ret = 0;

	spin_lock_irqsave(&ring->lock, hold.flags);
	if (unmap_coalesce(ring, dom, iova, size))
		ring->nr_coalesced++;
	else
		ret = unmap_append(ring, dom, iova, size, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret;
}

/**
 * pviommu_unmap_now() - have a removal done and flushed
 * @dom: the domain, which has an owner; no removal in the range is queued
 * @iova: where
 * @size: bytes, whole pages
 *
 * The same as queueing and pviommu_invalidate(), but faster.
 *
 * Context: process, with no ring locked; may sleep.
 * Return: as pviommu_invalidate().
 */
int pviommu_unmap_now(struct pviommu_domain *dom, u64 iova, u64 size)
{
	struct pviommu_ring *ring = pviommu_ring_mine(dom->pv);
	struct pviommu_hold hold = { .may_sleep = true };
	struct pviommu_op op;
	int ret;

	pviommu_op_invalidate(&op, PVIOMMU_INV_PAGE, iova, size);
	spin_lock_irqsave(&ring->lock, hold.flags);
	ret = unmap_append(ring, dom, iova, size, &hold);
	if (!ret)
		ret = pviommu_ring_request(ring, &op, dom, NULL, NULL, &hold);
	spin_unlock_irqrestore(&ring->lock, hold.flags);
	return ret;
}
