// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: events from the host.
 *
 * There is no interrupt for them. The event ring is checked after each doorbell, which
 * costs one read, and a few times a second by a deferrable timer. The work that handles
 * events also prints what could not be printed while a ring was locked.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/ratelimit.h>
#include <linux/string_choices.h>

#include "pv-iommu.h"

#define EVENT_POLL	(HZ / 4)

/* As many events as the ring holds are handled before the host is asked for more; a limit */
#define EVENT_BATCH	PVIOMMU_EVENT_SLOTS
#define EVENT_ROUNDS	128

static struct pviommu_endpoint *event_endpoint(struct pviommu *pv,
					       const struct pviommu_event *ev)
{
	struct pviommu_endpoint *ep;
	u32 id = le32_to_cpu(ev->endpoint);

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->id == id && !ep->gone)
			return ep;
	}
	return NULL;
}

static struct pviommu_domain *event_domain(struct pviommu *pv,
					   const struct pviommu_event *ev)
{
	struct pviommu_domain *dom;
	u32 id = le32_to_cpu(ev->domain);

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(dom, &pv->domains, node) {
		if (dom->id == id)
			return dom;
	}
	return NULL;
}

/* Call the event handler of a domain; false if it has none */
static bool event_tell(struct pviommu_domain *dom,
		       const struct pv_iommu_event *event)
{
	lockdep_assert_held(&dom->pv->lock);
	if (!dom->event_fn)
		return false;
	dom->event_fn(dom->event_token, event);
	return true;
}

/*
 * The paging domain whose user has an endpoint: the one that it is attached to; or, if the
 * host has cut it off or it is being reset, the one that it will be attached to again.
 */
static struct pviommu_domain *endpoint_domain(struct pviommu_endpoint *ep)
{
	struct iommu_domain *where[] = { ep->domain, ep->wanted, ep->left };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(where); i++) {
		if (where[i] && pviommu_domain_is_ours(where[i]))
			return to_pviommu_domain(where[i]);
	}
	return NULL;
}

/* Call the event handler of whoever has an endpoint; false if there is none */
static bool event_tell_endpoint(struct pviommu_endpoint *ep,
				struct pv_iommu_event *event)
{
	struct pviommu_domain *dom = endpoint_domain(ep);

	event->dev = ep->dev;
	return dom && event_tell(dom, event);
}

/*
 * A device can fault without limit. A slow console takes a second for a line, so the default
 * limit of two lines per second would make events wait for the console.
 */
static DEFINE_RATELIMIT_STATE(fault_limit, 60 * HZ, DEFAULT_RATELIMIT_BURST);
/* For the same reason, as memory may leave in many pieces */
static DEFINE_RATELIMIT_STATE(revoked_limit, 60 * HZ, DEFAULT_RATELIMIT_BURST);

/* Not a DMA that was refused, but a bad entry that the host has found in a domain's table */
static void event_entry(struct pviommu *pv, const struct pviommu_event *ev)
{
	struct pviommu_domain *dom = event_domain(pv, ev);
	struct pv_iommu_event event = {
		.type = PVIOMMU_EV_FAULT,
		.bad = PVIOMMU_EV_REASON(le16_to_cpu(ev->flags)),
		.pasid = le32_to_cpu(ev->pasid),
		.iova = le64_to_cpu(ev->addr),
		.gpa = le64_to_cpu(ev->gpa),
		.size = le64_to_cpu(ev->size),
	};

	if (!dom || !event.bad || event_tell(dom, &event))
		return;
	if (__ratelimit(&fault_limit))
		pr_err("domain %u: 0x%llx bytes at 0x%llx lead nowhere, the entry at 0x%llx is bad (%u)\n",
		       dom->id, event.size, event.iova, event.gpa, event.bad);
}

static void event_fault(struct pviommu *pv, const struct pviommu_event *ev)
{
	struct pviommu_endpoint *ep = event_endpoint(pv, ev);
	bool write = le16_to_cpu(ev->flags) & PVIOMMU_EV_F_WRITE;
	u64 addr = le64_to_cpu(ev->addr);
	struct pv_iommu_event event = {
		.type = PVIOMMU_EV_FAULT,
		.write = write,
		.pasid = le32_to_cpu(ev->pasid),
		.iova = addr,
	};

	if (le16_to_cpu(ev->flags) & PVIOMMU_EV_F_ENTRY)
		return event_entry(pv, ev);
	if (!ep || event_tell_endpoint(ep, &event))
		return;
	/* 0: a fault handler has handled it */
	if (ep->domain && (ep->domain->type & __IOMMU_DOMAIN_PAGING) &&
	    !report_iommu_fault(ep->domain, ep->dev, addr,
				write ? IOMMU_FAULT_WRITE : IOMMU_FAULT_READ))
		return;
	if (__ratelimit(&fault_limit))
		dev_err(ep->dev, "DMA %s at 0x%llx was refused\n", str_write_read(write), addr);
}

/* Memory has left, or is about to */
static void event_memory(struct pviommu *pv, const struct pviommu_event *ev)
{
	struct pviommu_domain *dom = event_domain(pv, ev);
	struct pv_iommu_event event = {
		.type = le16_to_cpu(ev->type),
		.pasid = PVIOMMU_PASID_NONE,
		.vm = le32_to_cpu(ev->vm),
		.iova = le64_to_cpu(ev->addr),
		.gpa = le64_to_cpu(ev->gpa),
		.size = le64_to_cpu(ev->size),
	};

	if (!dom || !event.size || event.iova + (event.size - 1) < event.iova)
		return;
	if (event.type == PVIOMMU_EV_REVOKED && !dom->owner_ops)
		pviommu_store_revoke(dom, event.iova, event.size, event.gpa);
	event_tell(dom, &event);
	if (event.type == PVIOMMU_EV_REVOKED && __ratelimit(&revoked_limit))
		pr_warn("domain %u: 0x%llx bytes at 0x%llx lead nowhere any more, their memory at 0x%llx of VM %u is gone\n",
			dom->id, event.size, event.iova, event.gpa, event.vm);
}

static void event_isolated(struct pviommu *pv, const struct pviommu_event *ev)
{
	struct pviommu_endpoint *ep = event_endpoint(pv, ev);
	struct pv_iommu_event event = {
		.type = PVIOMMU_EV_ISOLATED,
		.pasid = PVIOMMU_PASID_NONE,
	};

	if (!ep)
		return;
	event_tell_endpoint(ep, &event);
	pviommu_isolated(ep);
	dev_err(ep->dev, "the host has cut this device off after an error\n");
}

static void event_gone(struct pviommu *pv, const struct pviommu_event *ev)
{
	struct pviommu_endpoint *ep = event_endpoint(pv, ev);
	struct pv_iommu_event event = {
		.type = PVIOMMU_EV_GONE,
		.pasid = PVIOMMU_PASID_NONE,
	};

	if (!ep)
		return;
	event_tell_endpoint(ep, &event);
	ep->gone = true;
	dev_warn(ep->dev, "the host has taken this device away\n");
}

static void event_handle(struct pviommu *pv, const struct pviommu_event *ev)
{
	switch (le16_to_cpu(ev->type)) {
	case PVIOMMU_EV_FAULT:
		return event_fault(pv, ev);
	case PVIOMMU_EV_REVOKED:
	case PVIOMMU_EV_RELEASE:
		return event_memory(pv, ev);
	case PVIOMMU_EV_RELEASED:
		return pviommu_release_done(pv, le64_to_cpu(ev->addr),
					    le64_to_cpu(ev->size));
	case PVIOMMU_EV_ISOLATED:
		return event_isolated(pv, ev);
	case PVIOMMU_EV_GONE:
		return event_gone(pv, ev);
	}
}

/**
 * pviommu_events_inject() - handle made-up events, for tests
 * @pv: the interface
 * @type: PVIOMMU_EV_FAULT, or PVIOMMU_EV_REVOKED for one page
 * @addr: IOVA
 * @count: how many for each endpoint that has a paging domain
 * @gpa: the page that was revoked
 *
 * Context: process, may sleep; takes pviommu.lock.
 * Return: 0, or -EINVAL for another type.
 */
int pviommu_events_inject(struct pviommu *pv, u16 type, u64 addr,
			  unsigned int count, u64 gpa)
{
	struct pviommu_event ev = {
		.type = cpu_to_le16(type),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.addr = cpu_to_le64(addr),
		.gpa = cpu_to_le64(gpa),
		.size = cpu_to_le64(1 << PVIOMMU_PAGE_SHIFT),
	};
	struct pviommu_endpoint *ep;
	unsigned int i;

	if (type != PVIOMMU_EV_FAULT && type != PVIOMMU_EV_REVOKED)
		return -EINVAL;
	mutex_lock(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (!ep->domain || !pviommu_domain_is_ours(ep->domain))
			continue;
		ev.endpoint = cpu_to_le32(ep->id);
		ev.domain = cpu_to_le32(to_pviommu_domain(ep->domain)->id);
		for (i = 0; i < count; i++)
			event_handle(pv, &ev);
	}
	mutex_unlock(&pv->lock);
	return 0;
}

/* Tell all users that events were lost, which may be of any domain; 0: how many is unknown */
static void tell_all_lost(struct pviommu *pv, u32 nr)
{
	const struct pv_iommu_event event = { .pasid = PVIOMMU_PASID_NONE, .size = nr };
	struct pviommu_domain *dom;

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(dom, &pv->domains, node)
		event_tell(dom, &event);
}

static void events_report_lost(struct pviommu *pv)
{
	u32 lost = le32_to_cpu(READ_ONCE(pv->events->lost));

	if (lost == pv->events_lost)
		return;
	tell_all_lost(pv, lost - pv->events_lost);
	pr_warn_ratelimited("%u events of the host were lost\n",
			    lost - pv->events_lost);
	pv->events_lost = lost;
}

/*
 * Freezable: the ring of events begins anew when the machine wakes up, which must not
 * happen while a work is taking some.
 */
static void event_work_queue(struct pviommu *pv)
{
	queue_work(system_freezable_wq, &pv->event_work);
}

static void report_that(struct pviommu *pv, bool *what)
{
	unsigned long flags;

	spin_lock_irqsave(&pv->report.lock, flags);
	*what = true;
	spin_unlock_irqrestore(&pv->report.lock, flags);
	event_work_queue(pv);
}

static bool events_waiting(struct pviommu *pv)
{
	return READ_ONCE(pv->events->prod) != READ_ONCE(pv->events->cons) ||
	       READ_ONCE(pv->events->waiting);
}

/* Handle the events that are in the ring */
static void events_take_batch(struct pviommu *pv)
{
	struct pviommu_event_ring *ring = pv->events;
	u32 cons = le32_to_cpu(ring->cons);
	u32 prod = le32_to_cpu(READ_ONCE(ring->prod));
	struct pviommu_event ev;
	unsigned int n;

	/* Events were written before prod */
	dma_rmb();
	for (n = 0; cons != prod && n < EVENT_BATCH; n++) {
		ev = ring->ev[cons % PVIOMMU_EVENT_SLOTS];
		event_handle(pv, &ev);
		cons++;
		/* The event must have been read before its place is free */
		dma_mb();
		WRITE_ONCE(ring->cons, cpu_to_le32(cons));
	}
}

/**
 * pviommu_events_flush() - handle all events that the host has sent until now
 * @pv: the interface, its lock held
 *
 * Context: process, may sleep.
 */
void pviommu_events_flush(struct pviommu *pv)
{
	unsigned int rounds;

	lockdep_assert_held(&pv->lock);
	if (!events_waiting(pv))
		return;
	for (rounds = 0; rounds < EVENT_ROUNDS; rounds++) {
		events_take_batch(pv);
		/*
		 * Either the host sees cons, or this reads what the host wrote before it
		 * looked there. The host is another CPU even for a kernel without SMP.
		 */
		virt_mb();
		if (!READ_ONCE(pv->events->waiting))
			break;
		pviommu_doorbell_only(pv);
		/* The host did not serve the doorbell */
		if (READ_ONCE(pv->events->prod) == READ_ONCE(pv->events->cons))
			break;
		/* Thousands may be waiting at the host, each ringful takes a doorbell */
		cond_resched();
	}
	events_report_lost(pv);
}

/**
 * pviommu_events_drop() - have users told of events that a restart drops
 * @pv: the interface, which was stopped and is about to be started again
 *
 * What these events are about is not known, so all users of domains are told.
 *
 * Context: nothing else runs, interrupts are disabled.
 */
void pviommu_events_drop(struct pviommu *pv)
{
	if (events_waiting(pv) || le32_to_cpu(READ_ONCE(pv->events->lost)) != pv->events_lost)
		report_that(pv, &pv->report.dropped);
}

static void events_take(struct pviommu *pv)
{
	mutex_lock(&pv->lock);
	pviommu_events_flush(pv);
	mutex_unlock(&pv->lock);
}

static void report_print(const struct pviommu_report *report)
{
	if (report->broken)
		pr_err("the host has stopped answering (ring %u, error %u): no mapping can be changed any more\n",
		       report->ring, report->error);
	if (report->no_page)
		pr_warn("the doorbell page does not work any more, using config space\n");
	if (report->slow)
		pr_warn_ratelimited("the host is at work, but has not finished an op for %u seconds\n",
				    PVIOMMU_SLOW_SECONDS);
	if (report->nr_removals)
		pr_err_ratelimited("the host has not done %u removals as it should; the first: domain %u, 0x%llx of 0x%llx bytes at 0x%llx, error %d\n",
				   report->nr_removals, report->domain,
				   report->done, report->size, report->iova,
				   report->removal_error);
}

/* A restart has dropped events */
static void events_dropped(struct pviommu *pv)
{
	mutex_lock(&pv->lock);
	tell_all_lost(pv, 0);
	mutex_unlock(&pv->lock);
	pr_warn_ratelimited("events of the host were lost in a restart\n");
}

/* Print the report, and clear it */
static void report_take(struct pviommu *pv)
{
	struct pviommu_report *report = &pv->report, copy;
	unsigned long flags;

	spin_lock_irqsave(&report->lock, flags);
	copy = *report;
	report->broken = false;
	report->no_page = false;
	report->slow = false;
	report->dropped = false;
	report->nr_removals = 0;
	spin_unlock_irqrestore(&report->lock, flags);
	report_print(&copy);
	if (copy.dropped)
		events_dropped(pv);
}

/* Tell users of domains that have lost mappings in a restart; which ones is not known */
static void domains_lost(struct pviommu *pv)
{
	const struct pv_iommu_event event = { .pasid = PVIOMMU_PASID_NONE };
	struct pviommu_domain *dom;
	int error;

	mutex_lock(&pv->lock);
	list_for_each_entry(dom, &pv->domains, node) {
		error = xchg(&dom->lost_error, 0);
		if (!error)
			continue;
		event_tell(dom, &event);
		pr_err("domain %u: the host has not taken all that was mapped before, error %d\n",
		       dom->id, error);
	}
	mutex_unlock(&pv->lock);
}

static void event_poll_queue(struct pviommu *pv)
{
	queue_delayed_work(system_freezable_wq, &pv->event_poll, EVENT_POLL);
}

static void events_work(struct work_struct *work)
{
	struct pviommu *pv = container_of(work, struct pviommu, event_work);

	report_take(pv);
	domains_lost(pv);
	events_take(pv);
}

static void events_poll(struct work_struct *work)
{
	struct pviommu *pv = container_of(to_delayed_work(work),
					  struct pviommu, event_poll);

	if (events_waiting(pv))
		events_take(pv);
	event_poll_queue(pv);
}

/**
 * pviommu_events_check() - schedule the work if there are new events
 * @pv: the interface
 *
 * Context: any.
 */
void pviommu_events_check(struct pviommu *pv)
{
	u32 prod = le32_to_cpu(READ_ONCE(pv->events->prod));

	if (prod == READ_ONCE(pv->events_seen))
		return;
	WRITE_ONCE(pv->events_seen, prod);
	event_work_queue(pv);
}

/**
 * pviommu_report_broken() - report that the host does not answer
 * @ring: the ring that has found out, locked
 */
void pviommu_report_broken(struct pviommu_ring *ring)
{
	struct pviommu_report *report = &ring->pv->report;
	unsigned long flags;

	spin_lock_irqsave(&report->lock, flags);
	report->broken = true;
	report->ring = ring->id;
	report->error = le32_to_cpu(READ_ONCE(ring->hdr.error));
	spin_unlock_irqrestore(&report->lock, flags);
	event_work_queue(ring->pv);
}

/**
 * pviommu_report_no_page() - report that the doorbell page does not work
 * @pv: the interface
 */
void pviommu_report_no_page(struct pviommu *pv)
{
	report_that(pv, &pv->report.no_page);
}

/**
 * pviommu_report_slow() - report that the host takes long for an op
 * @pv: the interface
 */
void pviommu_report_slow(struct pviommu *pv)
{
	report_that(pv, &pv->report.slow);
}

/**
 * pviommu_report_lost() - have a domain's user told that some mappings are lost
 * @dom: the domain
 * @error: negative errno
 *
 * Context: any, as all these reports.
 */
void pviommu_report_lost(struct pviommu_domain *dom, int error)
{
	xchg(&dom->lost_error, error);
	event_work_queue(dom->pv);
}

/**
 * pviommu_report_removal() - report that UNMAP or INVALIDATE failed, or was not complete
 * @dom: the domain
 * @iova: where
 * @size: bytes
 * @done: bytes that the host has unmapped
 * @error: negative errno; 0 if it has unmapped less than @size
 */
void pviommu_report_removal(struct pviommu_domain *dom, u64 iova, u64 size,
			    u64 done, int error)
{
	struct pviommu_report *report = &dom->pv->report;
	unsigned long flags;

	spin_lock_irqsave(&report->lock, flags);
	if (!report->nr_removals++) {
		report->domain = dom->id;
		report->iova = iova;
		report->size = size;
		report->done = done;
		report->removal_error = error;
	}
	spin_unlock_irqrestore(&report->lock, flags);
	event_work_queue(dom->pv);
}

int pv_iommu_set_event_handler(struct iommu_domain *domain, pv_iommu_event_fn fn,
			       void *token)
{
	struct pviommu_domain *dom;

	if (!pviommu_domain_is_ours(domain))
		return -EINVAL;
	dom = to_pviommu_domain(domain);
	mutex_lock(&dom->pv->lock);
	dom->event_fn = fn;
	dom->event_token = token;
	mutex_unlock(&dom->pv->lock);
	return 0;
}
EXPORT_SYMBOL_GPL(pv_iommu_set_event_handler);

/**
 * pviommu_events_init() - set up the works
 * @pv: the interface, just allocated
 */
void pviommu_events_init(struct pviommu *pv)
{
	spin_lock_init(&pv->report.lock);
	INIT_WORK(&pv->event_work, events_work);
	INIT_DEFERRABLE_WORK(&pv->event_poll, events_poll);
}

/**
 * pviommu_events_start() - start polling
 * @pv: the interface, started
 */
void pviommu_events_start(struct pviommu *pv)
{
	if (pv->features & PVIOMMU_F_EVENTS)
		event_poll_queue(pv);
}

/**
 * pviommu_events_stop() - cancel the works, and wait for them
 * @pv: the interface; nobody but the works rings a doorbell any more
 */
void pviommu_events_stop(struct pviommu *pv)
{
	cancel_delayed_work_sync(&pv->event_poll);
	cancel_work_sync(&pv->event_work);
}
