// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host tells the guest unasked: the event ring, and the counters.
 *
 * The event ring is one page that stays pinned, because events come from
 * contexts that can't reach the VMM's memory. It is not waited for: an event
 * that finds no room is counted as lost, in the ring too.
 */
#include "pviommu_private.h"

/* What is read of the ring's header, at once, and how many words that is */
struct event_ring_head {
	__le64 cookie;
	__le32 prod;
	__le32 cons;
};

#define HEAD_WORDS	(sizeof(struct event_ring_head) / sizeof(u64))
#define EVENT_WORDS	(sizeof(struct pviommu_event) / sizeof(u64))

/**
 * pviommu_events_start() - begin to write events
 * @vm: the VM, control_lock and mem_lock held
 * @gpa: the event ring, page aligned
 * @cookie: must stand in the ring
 *
 * Return: 0, -EFAULT, -ENOMEM.
 */
int pviommu_events_start(struct pviommu_vm *vm, u64 gpa, u64 cookie)
{
	struct pviommu_events *events = &vm->events;
	int ret = pviommu_window_open(vm, &events->ring, gpa, PAGE_SIZE);

	if (ret)
		return ret;
	spin_lock_irq(&events->lock);
	events->on = true;
	events->cookie = cookie;
	events->prod = 0;
	events->lost = 0;
	events->seq = 0;
	spin_unlock_irq(&events->lock);
	return 0;
}

/**
 * pviommu_events_stop() - write no more events, let go of the page
 * @vm: the VM, mem_lock held, for writing or with control_lock
 */
void pviommu_events_stop(struct pviommu_vm *vm)
{
	struct pviommu_events *events = &vm->events;

	lockdep_assert_held(&vm->mem_lock);

	spin_lock_irq(&events->lock);
	events->on = false;
	spin_unlock_irq(&events->lock);
	pviommu_window_close(vm, &events->ring);
}

/**
 * pviommu_events_leave() - memory leaves, and perhaps the event ring with it
 * @vm: the VM, mem_lock held for writing
 * @slot: the memory
 */
void pviommu_events_leave(struct pviommu_vm *vm, struct pviommu_slot *slot)
{
	lockdep_assert_held_write(&vm->mem_lock);

	if (vm->events.on && vm->events.ring.gpa >= slot->it.start &&
	    vm->events.ring.gpa <= slot->it.last)
		pviommu_events_stop(vm);
}

/* Put an event into the ring if that is a ring and has room */
static bool ring_put(struct pviommu_events *events, const struct pviommu_event *ev)
{
	u32 slot = events->prod % PVIOMMU_EVENT_SLOTS;
	struct event_ring_head head;

	lockdep_assert_held(&events->lock);

	pviommu_window_read(&events->ring, 0, &head, HEAD_WORDS);
	if (le64_to_cpu(head.cookie) != events->cookie)
		return false;
	if (events->prod - le32_to_cpu(head.cons) >= PVIOMMU_EVENT_SLOTS) {
		pviommu_window_publish(&events->ring,
				       offsetof(struct pviommu_event_ring, lost),
				       cpu_to_le32(++events->lost));
		return false;
	}
	pviommu_window_write(&events->ring,
			     offsetof(struct pviommu_event_ring, ev[slot]),
			     ev, EVENT_WORDS);
	pviommu_window_publish(&events->ring,
			       offsetof(struct pviommu_event_ring, prod),
			       cpu_to_le32(++events->prod));
	return true;
}

/**
 * pviommu_event_post() - tell the guest
 * @vm: the VM
 * @ev: the event, but for its number
 *
 * Context: any.
 * Return: true if it is in the guest's ring; false if it is lost, or there is no ring.
 */
bool pviommu_event_post(struct pviommu_vm *vm, const struct pviommu_event *ev)
{
	struct pviommu_events *events = &vm->events;
	struct pviommu_event copy = *ev;
	unsigned long flags;
	bool put = false;

	spin_lock_irqsave(&events->lock, flags);
	if (events->on) {
		copy.seq = cpu_to_le64(events->seq++);
		put = ring_put(events, &copy);
		if (!put)
			pviommu_count(vm, PVIOMMU_NR_EVENTS_LOST, 1);
	}
	spin_unlock_irqrestore(&events->lock, flags);
	return put;
}

/**
 * pviommu_fault() - the physical IOMMU refused a DMA
 * @hw: its domain
 * @dev: the device
 * @iova: where to
 * @flags: IOMMU_FAULT_*
 * @token: our domain
 *
 * Only some IOMMU drivers of Linux report faults (AMD's does, Intel's doesn't).
 * Context: any.
 * Return: 0, the fault is taken care of: the guest hears of it.
 */
int pviommu_fault(struct iommu_domain *hw, struct device *dev,
		  unsigned long iova, int flags, void *token)
{
	struct pviommu_domain *domain = token;
	struct pviommu_vm *vm = domain->vm;
	struct pviommu_event ev = {
		.type = cpu_to_le16(PVIOMMU_EV_FAULT),
		.flags = cpu_to_le16(flags & IOMMU_FAULT_WRITE ?
				     PVIOMMU_EV_F_WRITE : 0),
		.endpoint = cpu_to_le32(pviommu_endpoint_by_dev(vm, dev)),
		.domain = cpu_to_le32(domain->id),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.addr = cpu_to_le64(iova),
	};

	pviommu_count(vm, PVIOMMU_NR_FAULTS, 1);
	pviommu_event_post(vm, &ev);
	return 0;
}

/**
 * pviommu_op_stats() - STATS
 * @ctx: where
 * @op: the op
 * @result: set to the bytes that the answer has
 *
 * Return: 0, -EINVAL, -EFAULT.
 */
int pviommu_op_stats(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result)
{
	struct pviommu_stats stats = {};
	__le64 *field = &stats.kicks_tracked;
	u32 i;
	int ret;

	static_assert(sizeof(stats) >= PVIOMMU_NR_COUNTERS * sizeof(__le64));
	static_assert(offsetof(struct pviommu_stats, pages_lent) ==
		      PVIOMMU_NR_PAGES_LENT * sizeof(__le64));

	if (op->buf.reserved0 ||
	    memchr_inv(op->buf.reserved, 0, sizeof(op->buf.reserved)))
		return -EINVAL;
	for (i = 0; i < PVIOMMU_NR_COUNTERS; i++)
		field[i] = cpu_to_le64(atomic64_read(&ctx->vm->counters[i]));
	ret = pviommu_guest_write(ctx->vm, le64_to_cpu(op->buf.gpa), &stats,
				  min_t(u64, sizeof(stats),
					le32_to_cpu(op->buf.size)));
	if (!ret)
		*result = sizeof(stats);
	return ret;
}
