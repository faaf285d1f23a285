// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: events, from the IOMMU driver to the user.
 *
 * A container keeps a limited number of events. Those that find no room are counted,
 * and as soon as there is room an event with this count takes their place: so events
 * are never lost silently.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/eventfd.h>
#include <linux/iommu.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

/* How many events to copy to the user at a time, by way of the stack */
#define VFIO_PV_EVENT_BATCH	8

/**
 * struct vfio_pv_events - the events of a container
 * @read_lock: one reader at a time; before @lock
 * @lock: all that follows
 * @eventfd: signalled for each event, or NULL
 * @seq: number of the event that came last
 * @lost: events that found no room since @queue had any
 * @head: free-running count of events put into @queue
 * @tail: free-running count of events taken from it
 * @queue: event n is at n modulo its length
 */
struct vfio_pv_events {
	struct mutex read_lock; /* one reader at a time */
	spinlock_t lock; /* all that follows */
	struct eventfd_ctx *eventfd;
	u64 seq;
	u64 lost;
	u32 head;
	u32 tail;
	struct vfio_pv_event queue[VFIO_PV_MAX_EVENTS];
};

static u32 vfio_pv_events_room(const struct vfio_pv_events *e)
{
	return VFIO_PV_MAX_EVENTS - (e->head - e->tail);
}

static void vfio_pv_events_push(struct vfio_pv_events *e,
				const struct vfio_pv_event *event)
{
	lockdep_assert_held(&e->lock);
	e->queue[e->head++ % VFIO_PV_MAX_EVENTS] = *event;
}

/* If events were lost and there is room now, put an event that says so into the queue. */
static void vfio_pv_events_push_lost(struct vfio_pv_events *e)
{
	struct vfio_pv_event event = {
		.seq = e->seq - e->lost + 1,
		.type = VFIO_PV_EVENT_LOST,
		.size = e->lost,
		.pasid = VFIO_PV_PASID_NONE,
		.group = VFIO_PV_NO_GROUP,
	};

	lockdep_assert_held(&e->lock);
	if (!e->lost || !vfio_pv_events_room(e))
		return;
	vfio_pv_events_push(e, &event);
	e->lost = 0;
}

static void vfio_pv_events_post(struct vfio_pv_events *e,
				struct vfio_pv_event *event)
{
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	vfio_pv_events_push_lost(e);
	event->seq = ++e->seq;
	if (e->lost || !vfio_pv_events_room(e))
		e->lost++;
	else
		vfio_pv_events_push(e, event);
	if (e->eventfd)
		eventfd_signal(e->eventfd);
	spin_unlock_irqrestore(&e->lock, flags);
}

static u32 vfio_pv_event_type(u16 type)
{
	switch (type) {
	case PVIOMMU_EV_FAULT:
		return VFIO_PV_EVENT_FAULT;
	case PVIOMMU_EV_REVOKED:
		return VFIO_PV_EVENT_REVOKED;
	case PVIOMMU_EV_RELEASE:
		return VFIO_PV_EVENT_RELEASE;
	case PVIOMMU_EV_ISOLATED:
		return VFIO_PV_EVENT_ISOLATED;
	case PVIOMMU_EV_GONE:
		return VFIO_PV_EVENT_GONE;
	default:
		return VFIO_PV_EVENT_LOST;
	}
}

static u32 vfio_pv_group_number(struct device *dev)
{
	struct iommu_group *group = dev ? iommu_group_get(dev) : NULL;
	u32 id = VFIO_PV_NO_GROUP;

	if (group) {
		id = iommu_group_id(group);
		iommu_group_put(group);
	}
	return id;
}

/* Called by the IOMMU driver, see pv_iommu_event_fn */
static void vfio_pv_handle_event(void *token, const struct pv_iommu_event *from)
{
	struct vfio_pv_event event = {
		.type = vfio_pv_event_type(from->type),
		.flags = from->write ? VFIO_PV_EVENT_FLAG_WRITE : 0,
		.iova = from->iova,
		.size = from->size,
		.pasid = from->pasid,
		.group = vfio_pv_group_number(from->dev),
		.vm = from->vm,
	};

	if (from->bad)
		event.flags |= VFIO_PV_EVENT_FLAG_ENTRY | from->bad << 8;
	/* Don't disclose where the user's own memory is; the user of a table knows that anyway */
	if (from->vm || from->bad)
		event.gpa = from->gpa;
	vfio_pv_events_post(token, &event);
}

/**
 * vfio_pv_events_alloc() - allocate the event queue of a container
 *
 * Return: to be freed by vfio_pv_events_free(); NULL for no memory.
 */
struct vfio_pv_events *vfio_pv_events_alloc(void)
{
	struct vfio_pv_events *e = kvzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);

	if (!e)
		return NULL;
	mutex_init(&e->read_lock);
	spin_lock_init(&e->lock);
	return e;
}

/**
 * vfio_pv_events_free() - undo vfio_pv_events_alloc()
 * @e: the queue, which no domain uses any more; or NULL
 */
void vfio_pv_events_free(struct vfio_pv_events *e)
{
	if (e && e->eventfd)
		eventfd_ctx_put(e->eventfd);
	kvfree(e);
}

/**
 * vfio_pv_events_watch() - queue the events of a domain in the container
 * @c: the container
 * @domain: the domain
 *
 * Nothing happens for a container that is not of type VFIO_PV_IOMMU.
 */
void vfio_pv_events_watch(struct vfio_pv_container *c, struct iommu_domain *domain)
{
	if (c->events)
		pv_iommu_set_event_handler(domain, vfio_pv_handle_event, c->events);
}

/**
 * vfio_pv_events_unwatch() - undo vfio_pv_events_watch()
 * @c: the container
 * @domain: the domain; no event of it comes after this
 */
void vfio_pv_events_unwatch(struct vfio_pv_container *c, struct iommu_domain *domain)
{
	if (c->events)
		pv_iommu_set_event_handler(domain, NULL, NULL);
}

static bool vfio_pv_events_waiting(const struct vfio_pv_events *e)
{
	return e->head != e->tail || e->lost;
}

/**
 * vfio_pv_set_eventfd() - VFIO_PV_IOMMU_EVENTFD
 * @c: the container, of VFIO_PV_IOMMU
 * @arg: user address of a struct vfio_pv_iommu_eventfd
 *
 * Return: 0 or a negative errno, and then the old eventfd stays.
 */
long vfio_pv_set_eventfd(struct vfio_pv_container *c, unsigned long arg)
{
	struct vfio_pv_iommu_eventfd set;
	struct vfio_pv_events *e = c->events;
	struct eventfd_ctx *eventfd = NULL;
	int ret = vfio_pv_copy_arg(&set, sizeof(set), arg, "EVENTFD");

	if (ret)
		return ret;
	if (set.flags)
		return vfio_pv_refuse(-EOPNOTSUPP, "EVENTFD", "unknown flag", set.flags);
	if (set.reserved || set.fd < -1)
		return vfio_pv_refuse(-EINVAL, "EVENTFD", "bad fd or reserved field", set.fd);
	if (set.fd >= 0)
		eventfd = eventfd_ctx_fdget(set.fd);
	if (IS_ERR(eventfd))
		return vfio_pv_refuse(PTR_ERR(eventfd), "EVENTFD", "no eventfd", set.fd);

	spin_lock_irq(&e->lock);
	swap(e->eventfd, eventfd);
	if (e->eventfd && vfio_pv_events_waiting(e))
		eventfd_signal(e->eventfd);
	spin_unlock_irq(&e->lock);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	return 0;
}

/* Copy the oldest events, without removing them. */
static u32 vfio_pv_events_peek(struct vfio_pv_events *e,
			       struct vfio_pv_event *to, u32 max)
{
	u32 i, n;

	spin_lock_irq(&e->lock);
	vfio_pv_events_push_lost(e);
	n = min(max, e->head - e->tail);
	for (i = 0; i < n; i++)
		to[i] = e->queue[(e->tail + i) % VFIO_PV_MAX_EVENTS];
	spin_unlock_irq(&e->lock);
	return n;
}

static void vfio_pv_events_drop(struct vfio_pv_events *e, u32 n)
{
	spin_lock_irq(&e->lock);
	e->tail += n;
	vfio_pv_events_push_lost(e);
	spin_unlock_irq(&e->lock);
}

/* Copy events to the user. Return: how many, or a negative errno if none could be copied. */
static long vfio_pv_events_copy(struct vfio_pv_events *e,
				struct vfio_pv_event __user *to, u32 room)
{
	struct vfio_pv_event some[VFIO_PV_EVENT_BATCH];
	u32 done = 0, n;

	lockdep_assert_held(&e->read_lock);
	while (done < room) {
		n = vfio_pv_events_peek(e, some, min_t(u32, room - done,
						       ARRAY_SIZE(some)));
		if (!n)
			break;
		if (copy_to_user(to + done, some, n * sizeof(*some)))
			return done ? (long)done : -EFAULT;
		vfio_pv_events_drop(e, n);
		done += n;
	}
	return done;
}

/**
 * vfio_pv_read_events() - VFIO_PV_IOMMU_READ_EVENTS
 * @c: the container, of VFIO_PV_IOMMU
 * @arg: user address of a struct vfio_pv_iommu_events
 *
 * Return: 0 or a negative errno.
 */
long vfio_pv_read_events(struct vfio_pv_container *c, unsigned long arg)
{
	struct vfio_pv_iommu_events __user *uarg = (void __user *)arg;
	struct vfio_pv_events *e = c->events;
	struct vfio_pv_iommu_events read;
	int ret = vfio_pv_copy_arg(&read, sizeof(read), arg, "READ_EVENTS");
	long n;

	if (ret)
		return ret;
	if (read.flags)
		return vfio_pv_refuse(-EOPNOTSUPP, "READ_EVENTS", "unknown flag", read.flags);
	if (!IS_ALIGNED(read.events, sizeof(u64)))
		return vfio_pv_refuse(-EINVAL, "READ_EVENTS", "misaligned array", read.events);
	/* Before any event is taken: the user has to learn how many there are */
	if (put_user(0, &uarg->count) || put_user(0, &uarg->left))
		return vfio_pv_refuse(-EFAULT, "READ_EVENTS", "can't write its argument at",
				      arg);
	if (mutex_lock_killable(&e->read_lock))
		return -EINTR;
	/* A bound, as new events may come all the time: they are for the next call */
	n = vfio_pv_events_copy(e, u64_to_user_ptr(read.events),
				min_t(u32, read.count, 2 * VFIO_PV_MAX_EVENTS));
	spin_lock_irq(&e->lock);
	read.left = e->head - e->tail + !!e->lost;
	spin_unlock_irq(&e->lock);
	mutex_unlock(&e->read_lock);
	if (n < 0)
		return vfio_pv_refuse(n, "READ_EVENTS", "can't write the array at", read.events);
	if (put_user(n, &uarg->count) || put_user(read.left, &uarg->left))
		return vfio_pv_refuse(-EFAULT, "READ_EVENTS", "can't write its argument at",
				      arg);
	return 0;
}
