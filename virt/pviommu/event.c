// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events and counters: what the host tells the guest.
 *
 * The event ring is one page that stays pinned, because events come from contexts that
 * can't reach the VMM's memory. Nobody waits for room in it. Events that find the ring
 * full are kept in a backlog, and move on into the ring with each doorbell and each new
 * event. The backlog is allocated with the interface: some contexts can't allocate, and
 * the others must not fail for lack of memory. It has room for max_events, plus one for
 * the end of each release, as nothing else tells a guest what has become of the pages
 * that it released. An event that finds the backlog full, too, is counted as lost, also
 * in the ring. So is a refused DMA that finds the ring full, as a device can cause these
 * without limit.
 */
#include <linux/slab.h>

#include "pviommu_private.h"

/* The part of the ring's header that is read, in one go */
struct event_ring_head {
	__le64 cookie;
	__le32 prod;
	__le32 cons;
};

#define HEAD_WORDS	(sizeof(struct event_ring_head) / sizeof(u64))
#define EVENT_WORDS	(sizeof(struct pviommu_event) / sizeof(u64))

/**
 * pviommu_events_start() - start writing events
 * @vm: the VM, control_lock and mem_lock held
 * @gpa: the event ring, page aligned
 * @cookie: what the ring's header has to hold for as long as it is used
 *
 * Return: 0; -EFAULT it is not writable RAM; -ENOMEM. After an error no events are written.
 */
int pviommu_events_start(struct pviommu_vm *vm, u64 gpa, u64 cookie)
{
	u32 room = pviommu_max_events() + PVIOMMU_MAX_RELEASES;
	struct pviommu_events *events = &vm->events;
	struct pviommu_event *backlog;
	int ret;

	lockdep_assert_held(&vm->control_lock);
	lockdep_assert_held(&vm->mem_lock);

	backlog = kvmalloc_array(room, sizeof(*backlog), GFP_KERNEL_ACCOUNT);
	if (!backlog)
		return -ENOMEM;
	ret = pviommu_window_open(vm, &events->ring, gpa, PAGE_SIZE);
	if (ret) {
		kvfree(backlog);
		return ret;
	}
	spin_lock_irq(&events->lock);
	events->on = true;
	events->cookie = cookie;
	WRITE_ONCE(events->prod, 0);
	events->lost = 0;
	events->seq = 0;
	events->backlog = backlog;
	events->room = room;
	events->first = 0;
	WRITE_ONCE(events->waiting, 0);
	events->waiting_told = 0;
	WRITE_ONCE(events->ends_waiting, 0);
	spin_unlock_irq(&events->lock);
	return 0;
}

/**
 * pviommu_events_stop() - stop writing events, and unpin the ring
 * @vm: the VM, mem_lock held, either for writing or together with control_lock
 */
void pviommu_events_stop(struct pviommu_vm *vm)
{
	struct pviommu_events *events = &vm->events;
	struct pviommu_event *backlog;

	lockdep_assert_held(&vm->mem_lock);

	spin_lock_irq(&events->lock);
	events->on = false;
	backlog = events->backlog;
	events->backlog = NULL;
	WRITE_ONCE(events->waiting, 0);
	WRITE_ONCE(events->ends_waiting, 0);
	spin_unlock_irq(&events->lock);
	kvfree(backlog);
	pviommu_window_close(vm, &events->ring);
}

/**
 * pviommu_events_leave() - stop writing events if the ring is in memory that leaves
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

/* How many events the ring has room for; -1 if the guest has overwritten its cookie */
static int ring_room(struct pviommu_events *events)
{
	struct event_ring_head head;
	u32 used;

	lockdep_assert_held(&events->lock);

	pviommu_window_read(&events->ring, 0, &head, HEAD_WORDS);
	if (le64_to_cpu(head.cookie) != events->cookie)
		return -1;
	used = events->prod - le32_to_cpu(head.cons);
	return used < PVIOMMU_EVENT_SLOTS ? PVIOMMU_EVENT_SLOTS - used : 0;
}

/* Write an event, for which there is room, behind @n others that are not published yet */
static void ring_write(struct pviommu_events *events, u32 n, const struct pviommu_event *ev)
{
	u32 slot = (events->prod + n) % PVIOMMU_EVENT_SLOTS;

	pviommu_window_write(&events->ring,
			     offsetof(struct pviommu_event_ring, ev[slot]),
			     ev, EVENT_WORDS);
}

/* Publish @n more events */
static void ring_publish_prod(struct pviommu_events *events, u32 n)
{
	u32 prod = events->prod + n;

	pviommu_window_publish(&events->ring,
			       offsetof(struct pviommu_event_ring, prod),
			       cpu_to_le32(prod));
	/* After that: publish_events() reads it without the lock */
	smp_store_release(&events->prod, prod);
}

static void ring_publish_waiting(struct pviommu_events *events)
{
	if (events->waiting == events->waiting_told)
		return;
	events->waiting_told = events->waiting;
	pviommu_window_publish(&events->ring,
			       offsetof(struct pviommu_event_ring, waiting),
			       cpu_to_le32(events->waiting));
}

static bool is_end_of_release(const struct pviommu_event *ev)
{
	return ev->type == cpu_to_le16(PVIOMMU_EV_RELEASED);
}

static bool is_refused_dma(const struct pviommu_event *ev)
{
	return ev->type == cpu_to_le16(PVIOMMU_EV_FAULT) &&
	       !(ev->flags & cpu_to_le16(PVIOMMU_EV_F_ENTRY));
}

/* How many events may be in the backlog for another one of this kind to be added */
static u32 backlog_room(const struct pviommu_events *events, const struct pviommu_event *ev)
{
	if (is_refused_dma(ev))
		return 0;
	return is_end_of_release(ev) ? events->room : events->room - PVIOMMU_MAX_RELEASES;
}

static void backlog_add(struct pviommu_events *events, const struct pviommu_event *ev)
{
	events->backlog[(events->first + events->waiting) % events->room] = *ev;
	WRITE_ONCE(events->waiting, events->waiting + 1);
	if (is_end_of_release(ev))
		WRITE_ONCE(events->ends_waiting, events->ends_waiting + 1);
}

/* Move what there is room for from the backlog to the ring */
static void backlog_move(struct pviommu_events *events)
{
	u32 n = min_t(u32, max(ring_room(events), 0), events->waiting), i;

	if (!n)
		return;
	for (i = 0; i < n; i++) {
		const struct pviommu_event *ev = &events->backlog[events->first];

		ring_write(events, i, ev);
		events->first = (events->first + 1) % events->room;
		WRITE_ONCE(events->waiting, events->waiting - 1);
		if (is_end_of_release(ev))
			WRITE_ONCE(events->ends_waiting, events->ends_waiting - 1);
	}
	ring_publish_prod(events, n);
}

/*
 * The guest makes room first, then looks whether events are waiting. Here it is the other
 * way round: publish that events are waiting, then look for room again. So at least one of
 * the two sees what the other has done.
 */
static void backlog_serve(struct pviommu_events *events)
{
	lockdep_assert_held(&events->lock);

	backlog_move(events);
	ring_publish_waiting(events);
	if (!events->waiting)
		return;
	/* Pairs with the guest's barrier between cons and waiting */
	smp_mb();
	backlog_move(events);
	ring_publish_waiting(events);
}

/* Put an event behind all others, into the ring or the backlog; false: it is lost */
static bool event_put(struct pviommu_events *events, const struct pviommu_event *ev)
{
	int room;

	if (events->waiting)
		backlog_serve(events);
	room = ring_room(events);
	if (room < 0)
		return false;
	if (room && !events->waiting) {
		ring_write(events, 0, ev);
		ring_publish_prod(events, 1);
		return true;
	}
	if (events->waiting < backlog_room(events, ev)) {
		backlog_add(events, ev);
		backlog_serve(events);
		return true;
	}
	pviommu_window_publish(&events->ring,
			       offsetof(struct pviommu_event_ring, lost),
			       cpu_to_le32(++events->lost));
	return false;
}

/**
 * pviommu_event_post() - send an event to the guest
 * @vm: the VM
 * @ev: the event; its sequence number is filled in here
 *
 * Context: any, including interrupts.
 * Return: true if it is in the guest's ring, or will be once the guest has made room;
 * false if it is lost, or there is no ring.
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
		put = event_put(events, &copy);
		if (!put)
			pviommu_count(vm, PVIOMMU_NR_EVENTS_LOST, 1);
	}
	spin_unlock_irqrestore(&events->lock, flags);
	return put;
}

/**
 * pviommu_events_serve() - move events from the backlog to the ring, as a doorbell rang
 * @vm: the VM
 *
 * Context: any.
 */
void pviommu_events_serve(struct pviommu_vm *vm)
{
	struct pviommu_events *events = &vm->events;
	unsigned long flags;

	/* A guest that rings because events are waiting has seen this number */
	if (!READ_ONCE(events->waiting))
		return;
	spin_lock_irqsave(&events->lock, flags);
	if (events->on)
		backlog_serve(events);
	spin_unlock_irqrestore(&events->lock, flags);
}

/*
 * The fault handler is given ids, not pointers. An IOMMU driver may look up a device's domain
 * without a lock, just before the device is detached and the domain is freed.
 */
#define FAULT_DOMAIN_BITS	16

static int report_fault(struct iommu_domain *hw, struct device *dev,
			unsigned long iova, int flags, void *token)
{
	unsigned long ids = (unsigned long)token;
	struct pviommu_vm *vm = pviommu_vm_get(ids >> FAULT_DOMAIN_BITS);
	struct pviommu_event ev = {
		.type = cpu_to_le16(PVIOMMU_EV_FAULT),
		.flags = cpu_to_le16(flags & IOMMU_FAULT_WRITE ?
				     PVIOMMU_EV_F_WRITE : 0),
		.domain = cpu_to_le32(ids & GENMASK(FAULT_DOMAIN_BITS - 1, 0)),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.addr = cpu_to_le64(iova),
	};

	if (!vm)
		return -ENOENT;
	ev.endpoint = cpu_to_le32(pviommu_endpoint_by_dev(vm, dev));
	pviommu_count(vm, PVIOMMU_NR_FAULTS, 1);
	pviommu_event_post(vm, &ev);
	pviommu_vm_put(vm);
	return 0;
}

/**
 * pviommu_faults_watch() - have the guest told of DMA that its IOMMU refuses
 * @domain: a domain that has its id, and is attached nowhere yet
 *
 * Only some IOMMU drivers of Linux report faults, from their interrupt's thread (AMD's
 * does, Intel's doesn't). A fault that is reported when the domain is gone counts for its
 * id; one of a VM that is gone is left to the driver.
 */
void pviommu_faults_watch(struct pviommu_domain *domain)
{
	unsigned long token = (unsigned long)domain->vm->id << FAULT_DOMAIN_BITS |
			      domain->id;

	BUILD_BUG_ON(BITS_PER_LONG < 31 + FAULT_DOMAIN_BITS);
	iommu_set_fault_handler(domain->hw, report_fault, (void *)token);
}

/**
 * pviommu_op_stats() - STATS
 * @ctx: context of the op
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
	int ret = pviommu_op_check_buf(op);

	static_assert(sizeof(stats) >= PVIOMMU_NR_COUNTERS * sizeof(__le64));
	static_assert(offsetof(struct pviommu_stats, pages_lent) ==
		      PVIOMMU_NR_PAGES_LENT * sizeof(__le64));

	if (ret)
		return ret;
	for (i = 0; i < PVIOMMU_NR_COUNTERS; i++)
		field[i] = cpu_to_le64(atomic64_read(&ctx->vm->counters[i]));
	return pviommu_op_fill_buf(ctx, op, &stats, sizeof(stats), result);
}
