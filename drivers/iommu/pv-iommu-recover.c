// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: recovery of devices that the host has cut off.
 *
 * A guest does not see PCIe errors of a device that was passed through. The host handles
 * them, moves the device's group to the blocked domain, and sends an event. Then this
 * driver does, with the group as a whole, what the PCI core would do if it had seen the
 * error: drivers are told to stop (error_detected), devices are reset and attached to
 * their domain again, which still has all its mappings, and drivers are told to go on
 * (slot_reset, resume). If one of the drivers can't recover, the group stays blocked until
 * all its devices have been unbound and one is bound to a driver again.
 *
 * As in the PCI core, the devices' locks are dropped while the host still handles the
 * error, and a driver may be unbound then.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/*
 * How long to wait until the host has handled an error, and how often to ask it. It gives up
 * itself after a minute and a half.
 */
#define HANDLED_MAX	(100 * HZ)
#define HANDLED_AGAIN	(HZ / 4)

/* How often, and at which interval, to ask it while a driver waits to be bound */
#define BOUND_TRIES	100
#define BOUND_MS	100

/**
 * struct recovery - a group that is being recovered
 * @pv: the interface
 * @group: the host's number of the group
 * @n: how many @dev
 * @dev: its devices, in the order of the bus, in which they are locked
 * @dev.pdev: the device, referenced
 * @dev.err: the error handlers of its driver, if that can recover; or NULL
 */
struct recovery {
	struct pviommu *pv;
	u32 group;
	unsigned int n;
	struct {
		struct pci_dev *pdev;
		const struct pci_error_handlers *err;
	} dev[];
};

/* --- records ------------------------------------------------------------- */

/* Clear the requests to recover a group, as somebody does. Return: how many endpoints it has */
static unsigned int take_group(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;
	unsigned int n = 0;

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group)
			continue;
		ep->to_recover = false;
		ep->recover_again = false;
		n++;
	}
	return n;
}

/* Take the next group that is to be recovered. Return: how many endpoints it has, 0 for none */
static unsigned int next_group(struct pviommu *pv, u32 *group)
{
	struct pviommu_endpoint *ep;
	unsigned int n = 0;

	mutex_lock(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (!ep->to_recover)
			continue;
		*group = ep->group;
		n = take_group(pv, ep->group);
		break;
	}
	mutex_unlock(&pv->lock);
	return n;
}

/* The host needs more time: recover the group again later. False if its time is up. */
static bool group_again(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;
	bool again = false;

	mutex_lock(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group || time_after(jiffies, ep->recover_until))
			continue;
		ep->recover_again = true;
		again = true;
	}
	mutex_unlock(&pv->lock);
	return again;
}

/* Somebody else holds the lock of one of its devices: the host has not been asked yet */
static void group_later(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group)
			continue;
		ep->recover_again = true;
		ep->recover_until = jiffies + HANDLED_MAX;
	}
	mutex_unlock(&pv->lock);
}

/* Now it has had some time */
static void groups_again(struct pviommu *pv)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (!ep->recover_again)
			continue;
		ep->recover_again = false;
		ep->to_recover = true;
	}
	mutex_unlock(&pv->lock);
}

/* Not where the IOMMU core has attached it: cut off, or attaching it again has failed */
static bool is_displaced(const struct pviommu_endpoint *ep)
{
	return !ep->gone && (ep->isolated || (ep->wanted && ep->wanted != ep->domain));
}

/* Whether nobody else has recovered the group meanwhile. Locks of its devices are held. */
static bool still_needed(struct recovery *r)
{
	struct pviommu_endpoint *ep;
	bool needed = false;

	mutex_lock(&r->pv->lock);
	pviommu_events_flush(r->pv);
	list_for_each_entry(ep, &r->pv->endpoints, node) {
		if (ep->group == r->group)
			needed |= is_displaced(ep) || ep->told;
	}
	mutex_unlock(&r->pv->lock);
	return needed;
}

/* While devices are reset, attaching by the IOMMU core, which does that, is put off */
static void hold_group(struct recovery *r, bool hold)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&r->pv->lock);
	list_for_each_entry(ep, &r->pv->endpoints, node) {
		if (ep->group == r->group)
			ep->recovering = hold;
	}
	mutex_unlock(&r->pv->lock);
}

/* Mark the devices as not accessible, as the PCI core does before it tells any driver */
static void freeze_group(struct recovery *r)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&r->pv->lock);
	list_for_each_entry(ep, &r->pv->endpoints, node) {
		struct pci_dev *pdev = to_pci_dev(ep->dev);

		if (ep->group != r->group)
			continue;
		/* Also one that was bound since: it will be told of the error as well */
		ep->stale |= !!pdev->driver;
		if (pdev->error_state != pci_channel_io_normal)
			continue;
		pdev->error_state = pci_channel_io_frozen;
		ep->frozen = true;
	}
	mutex_unlock(&r->pv->lock);
}

static struct pviommu_endpoint *in_group(struct pviommu *pv, u32 group,
					 struct pci_dev *pdev)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, &pdev->dev);
	if (ep && ep->group != group)
		ep = NULL;
	mutex_unlock(&pv->lock);
	return ep;
}

/* --- the host ------------------------------------------------------------ */

/* Have the host allow that a group is attached again */
static int recover_endpoints(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;
	int ret = -ENODEV;

	lockdep_assert_held(&pv->lock);
	/* Handle all events first: RECOVER is for what the host has told until now */
	pviommu_events_flush(pv);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group || ep->gone)
			continue;
		ret = pviommu_recover_endpoint(ep);
		if (ret)
			return ret;
	}
	take_group(pv, group);
	return ret;
}

static int attach_endpoints(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;
	int ret = -ENODEV;

	lockdep_assert_held(&pv->lock);
	/* If there was another error meanwhile, the devices have to be reset again first */
	pviommu_events_flush(pv);
	list_for_each_entry(ep, &pv->endpoints, node)
		if (ep->group == group && !ep->gone && ep->isolated)
			return -EBUSY;
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group || ep->gone)
			continue;
		ret = pviommu_attach_wanted(ep);
		/* Cut off again, as an event that was handled just now says */
		if (!ret && ep->isolated)
			ret = -EBUSY;
		if (ret)
			break;
	}
	return ret;
}

static int ask_host(struct recovery *r, int (*ask)(struct pviommu *pv, u32 group))
{
	int ret;

	mutex_lock(&r->pv->lock);
	ret = ask(r->pv, r->group);
	mutex_unlock(&r->pv->lock);
	return ret;
}

/* --- drivers, each with its device's lock held --------------------------- */

/*
 * The endpoint of a device that has a driver, else NULL. It stays an endpoint while the device
 * is locked.
 */
static struct pviommu_endpoint *bound(struct recovery *r, struct pci_dev *pdev)
{
	device_lock_assert(&pdev->dev);
	return pdev->driver ? in_group(r->pv, r->group, pdev) : NULL;
}

static void set_told(struct pviommu_endpoint *ep, bool told)
{
	if (ep->told == told)
		return;
	device_lock_assert(ep->dev);
	ep->told = told;
	if (told)
		pm_runtime_get_noresume(ep->dev);
	else
		pm_runtime_put_noidle(ep->dev);
}

static void clear_stale(struct pviommu_endpoint *ep)
{
	mutex_lock(&ep->pv->lock);
	ep->stale = ep->isolated && ep->stale;
	mutex_unlock(&ep->pv->lock);
}

/* Tell the driver of the error; whether it can recover after a reset */
static bool stop_driver(struct pci_dev *pdev)
{
	const struct pci_error_handlers *err = pdev->driver->err_handler;
	pci_ers_result_t result = PCI_ERS_RESULT_NONE;

	if (err && err->error_detected)
		result = err->error_detected(pdev, pci_channel_io_frozen);
	if (!err || !err->slot_reset)
		return false;
	return result == PCI_ERS_RESULT_NEED_RESET ||
	       result == PCI_ERS_RESULT_CAN_RECOVER;
}

/* A driver of VFIO whose device is in no user's domain has nothing to recover */
static bool is_idle(struct recovery *r, struct pviommu_endpoint *ep)
{
	bool idle;

	if (!pviommu_manages_dma(ep->dev))
		return false;
	mutex_lock(&r->pv->lock);
	idle = !ep->wanted || ep->wanted->type != IOMMU_DOMAIN_UNMANAGED;
	mutex_unlock(&r->pv->lock);
	return idle;
}

/* Tell all drivers. Return: 0; -EOPNOTSUPP if one of them can't recover */
static int stop_drivers(struct recovery *r)
{
	unsigned int i;
	int ret = 0;

	freeze_group(r);
	for (i = 0; i < r->n; i++) {
		struct pci_dev *pdev = r->dev[i].pdev;
		struct pviommu_endpoint *ep = bound(r, pdev);

		if (!ep)
			continue;
		if (!ep->told)
			ep->able = stop_driver(pdev);
		set_told(ep, ep->able);
		if (ep->able)
			r->dev[i].err = pdev->driver->err_handler;
		if (ep->able || is_idle(r, ep))
			continue;
		pci_err(pdev, "remains cut off until a driver is bound again: this one can't recover\n");
		ret = -EOPNOTSUPP;
	}
	return ret;
}

/* Drivers hear no more of this error. If the group is @back in its domain, it is over. */
static void drivers_done(struct recovery *r, bool back)
{
	struct pviommu_endpoint *ep;
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		ep = bound(r, r->dev[i].pdev);
		if (!ep)
			continue;
		set_told(ep, false);
		if (back)
			clear_stale(ep);
	}
}

/* Reset the devices; one without a driver to set it up again just has bus mastering disabled */
static void reset_group(struct recovery *r)
{
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		if (!r->dev[i].err)
			pviommu_master_off(r->dev[i].pdev);
		else if (__pci_reset_function_locked(r->dev[i].pdev))
			pci_warn(r->dev[i].pdev, "can't be reset\n");
	}
}

static void restart_drivers(struct recovery *r)
{
	pci_ers_result_t result;
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		if (!r->dev[i].err)
			continue;
		result = r->dev[i].err->slot_reset(r->dev[i].pdev);
		if (result == PCI_ERS_RESULT_NONE || result == PCI_ERS_RESULT_RECOVERED)
			continue;
		pci_err(r->dev[i].pdev, "back in its domain after an error, but its driver has given up\n");
		r->dev[i].err = NULL;
	}
	for (i = 0; i < r->n; i++) {
		if (!r->dev[i].err)
			continue;
		if (r->dev[i].err->resume)
			r->dev[i].err->resume(r->dev[i].pdev);
		pci_info(r->dev[i].pdev, "back in its domain after an error, with its mappings\n");
	}
}

/* Tell drivers that recovery has failed. Devices stay frozen until they are attached again. */
static void give_up(struct recovery *r, int error)
{
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		if (!r->dev[i].err)
			continue;
		r->dev[i].err->error_detected(r->dev[i].pdev, pci_channel_io_perm_failure);
		pci_err(r->dev[i].pdev, "remains cut off, its mappings were not restored: %d\n",
			error);
	}
}

/* --- a group ------------------------------------------------------------- */

/* Attach the group again; before that, all its devices are reset */
static int bring_back(struct recovery *r)
{
	int ret;

	hold_group(r, true);
	ret = ask_host(r, recover_endpoints);
	if (!ret)
		reset_group(r);
	hold_group(r, false);
	return ret ?: ask_host(r, attach_endpoints);
}

/* Called with the devices locked, so that their drivers stay. False: try again later. */
static bool recover_group(struct recovery *r)
{
	int ret;

	if (!still_needed(r))
		return true;
	ret = stop_drivers(r) ?: bring_back(r);
	if (ret == -EBUSY && group_again(r->pv, r->group))
		return false;
	if (ret)
		give_up(r, ret);
	else
		restart_drivers(r);
	drivers_done(r, !ret);
	return true;
}

/*
 * Lock the devices, and wake them: config space of a device that sleeps can't be accessed.
 *
 * This doesn't wait for a lock. vfio-pci holds that of a device that is being unplugged until
 * its user closes the device, which may be never, and other groups must be recovered meanwhile.
 *
 * Return: false if a lock is taken; then none is held.
 */
static bool recovery_lock(struct recovery *r)
{
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		if (!device_trylock(&r->dev[i].pdev->dev))
			goto err_unlock;
	}
	for (i = 0; i < r->n; i++)
		pm_runtime_get_sync(&r->dev[i].pdev->dev);
	return true;

err_unlock:
	while (i)
		device_unlock(&r->dev[--i].pdev->dev);
	return false;
}

static void recovery_unlock(struct recovery *r)
{
	unsigned int i;

	for (i = r->n; i; i--)
		pm_runtime_put(&r->dev[i - 1].pdev->dev);
	for (i = r->n; i; i--)
		device_unlock(&r->dev[i - 1].pdev->dev);
}

static void recovery_free(struct recovery *r)
{
	while (r->n)
		pci_dev_put(r->dev[--r->n].pdev);
	kfree(r);
}

/* NULL without memory */
static struct recovery *recovery_create(struct pviommu *pv, u32 group, unsigned int max)
{
	struct pci_dev *pdev = NULL;
	struct recovery *r;

	r = kzalloc(struct_size(r, dev, max), GFP_KERNEL);
	if (!r)
		return NULL;
	r->pv = pv;
	r->group = group;
	for_each_pci_dev(pdev) {
		if (r->n < max && in_group(pv, group, pdev))
			r->dev[r->n++].pdev = pci_dev_get(pdev);
	}
	return r;
}

/* False: the host still handles the error, or a device is locked; try again later */
static bool recover(struct pviommu *pv, u32 group, unsigned int n)
{
	struct recovery *r = recovery_create(pv, group, n);
	bool done = false;

	if (!r) {
		pr_err("no memory, group %u remains cut off\n", group);
		return true;
	}
	if (recovery_lock(r)) {
		done = recover_group(r);
		recovery_unlock(r);
	} else {
		group_later(pv, group);
	}
	recovery_free(r);
	return done;
}

static void work_after(struct pviommu *pv, unsigned long delay)
{
	kthread_mod_delayed_work(pv->recover_worker, &pv->recover_work, delay);
}

/*
 * This does not take pci_rescan_remove_lock, as it is waited for with that lock held (see
 * pviommu_init()), so devices may come and go. Drivers may allocate memory in their handlers,
 * and a device that is cut off may be the one that memory would be swapped to: hence noio.
 */
static void recover_work(struct kthread_work *work)
{
	struct pviommu *pv = container_of(work, struct pviommu, recover_work.work);
	unsigned int noio = memalloc_noio_save();
	bool again = false;
	unsigned int n;
	u32 group;

	groups_again(pv);
	while ((n = next_group(pv, &group)))
		again |= !recover(pv, group, n);
	memalloc_noio_restore(noio);
	if (again)
		work_after(pv, HANDLED_AGAIN);
}

/**
 * pviommu_recover_later() - schedule the recovery of a group
 * @pv: the interface, its lock held; or nothing else runs and interrupts are disabled
 * @group: the host's number of the group
 *
 * The time that the host has to handle the error begins now.
 */
void pviommu_recover_later(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;

	lockdep_assert(irqs_disabled() || lockdep_is_held(&pv->lock));
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group)
			continue;
		ep->to_recover = true;
		ep->recover_until = jiffies + HANDLED_MAX;
	}
	work_after(pv, 0);
}

/* --- drivers come and go ------------------------------------------------- */

/* Whether a driver of another device of the group does not know of the error */
static bool others_stale(struct pviommu_endpoint *ep)
{
	struct pviommu_endpoint *other;

	lockdep_assert_held(&ep->pv->lock);
	list_for_each_entry(other, &ep->pv->endpoints, node) {
		if (other != ep && other->group == ep->group && other->stale &&
		    READ_ONCE(other->dev->driver))
			return true;
	}
	return false;
}

static int bring_back_bound(struct pviommu_endpoint *ep)
{
	struct pviommu *pv = ep->pv;
	u32 group = ep->group;
	int tries, ret = -EBUSY;

	for (tries = 0; ret == -EBUSY && tries < BOUND_TRIES; tries++) {
		if (tries)
			msleep(BOUND_MS);
		mutex_lock(&pv->lock);
		if (others_stale(ep))
			ret = -EPERM;
		else
			ret = recover_endpoints(pv, group) ?: attach_endpoints(pv, group);
		/* The driver is bound all the same; the work tries again after that */
		if (ret == -EBUSY && tries == BOUND_TRIES - 1)
			pviommu_recover_later(pv, group);
		mutex_unlock(&pv->lock);
	}
	return ret;
}

/**
 * pviommu_recover_bound() - recover a device that a driver is about to be bound to
 * @pv: the interface
 * @dev: the device, its lock held
 *
 * The new driver expects a domain that works. So if the device was cut off, its group is
 * attached again now. But not if another device of the group still has the driver that it
 * had then: that device would be attached as well, without a reset.
 *
 * Context: process, may sleep for some seconds.
 */
void pviommu_recover_bound(struct pviommu *pv, struct device *dev)
{
	struct pviommu_endpoint *ep;
	bool displaced;
	int ret;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, dev);
	displaced = ep && is_displaced(ep);
	if (displaced)
		ep->stale = false;
	mutex_unlock(&pv->lock);
	if (!displaced)
		return;
	/* It stays an endpoint, as its device is locked and has a driver */
	ret = bring_back_bound(ep);
	if (ret)
		dev_err(dev, "remains cut off%s: %d\n", ret == -EPERM ?
			", another device of its group has a driver since before" : "", ret);
}

/**
 * pviommu_recover_unbound() - forget what a driver was told, as it is gone or was not bound
 * @pv: the interface
 * @dev: the device, its lock held unless it has no driver any more
 *
 * Also called when the device ceases to be an endpoint.
 */
void pviommu_recover_unbound(struct pviommu *pv, struct device *dev)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, dev);
	if (ep) {
		ep->stale = false;
		set_told(ep, false);
	}
	mutex_unlock(&pv->lock);
}

/* --- module -------------------------------------------------------------- */

/**
 * pviommu_recover_init() - set up the work that recovers groups
 * @pv: the interface, just allocated
 *
 * It has a thread of its own. A workqueue may have to create a thread first, and the memory
 * for that may only come from swapping to the very device that is cut off. The thread is
 * frozen while the system sleeps, as the devices sleep then.
 *
 * Return: 0 or a negative errno; pviommu_recover_destroy() may be called then, too.
 */
int pviommu_recover_init(struct pviommu *pv)
{
	struct kthread_worker *worker;

	kthread_init_delayed_work(&pv->recover_work, recover_work);
	worker = kthread_create_worker(KTW_FREEZABLE, "pv-iommu-recover");
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	/* Not all kernels start the thread in kthread_create_worker() */
	wake_up_process(worker->task);
	pv->recover_worker = worker;
	return 0;
}

/**
 * pviommu_recover_stop() - cancel the work, and wait for it
 * @pv: the interface; it has no endpoints any more
 */
void pviommu_recover_stop(struct pviommu *pv)
{
	kthread_cancel_delayed_work_sync(&pv->recover_work);
}

/**
 * pviommu_recover_destroy() - stop the work's thread
 * @pv: the interface; the work is not queued any more
 */
void pviommu_recover_destroy(struct pviommu *pv)
{
	if (pv->recover_worker)
		kthread_destroy_worker(pv->recover_worker);
}
