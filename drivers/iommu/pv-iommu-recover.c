// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: devices that the host has cut off after an error.
 *
 * A guest sees no PCIe error of a device that was passed through: the host handles it,
 * puts the device's group into the blocked domain, and tells by an event. What the PCI
 * core would do here if it had seen the error is done instead, with the group as a whole:
 * its drivers are told to stop, its devices are reset, put back into their domain, where
 * all that was mapped still is, and their drivers are told to go on. If one of the drivers
 * can't do that the group reaches nothing until all its devices have been let go of and a
 * driver is bound again.
 *
 * As the PCI core does, this lets go of the devices' locks while the host is not done: a
 * driver may leave then.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/*
 * How long the host may be at an error, and how often it is asked. It gives up after a
 * minute and a half.
 */
#define HANDLED_MAX	(100 * HZ)
#define HANDLED_AGAIN	(HZ / 4)

/* How often, and in which distance, it is asked while a driver is waiting to be bound */
#define BOUND_TRIES	100
#define BOUND_MS	100

/**
 * struct recovery - a group that is brought back
 * @pv: the interface
 * @group: the host's number of the group
 * @n: how many @dev
 * @dev: its devices, in the order of the bus, in which they are locked
 * @dev.pdev: the device, referenced
 * @dev.err: what its driver can do if it is able to recover it; or NULL
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

/* Somebody looks after a group; how many endpoints it has */
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

/* A group that nobody has looked after yet; how many endpoints it has, or 0 */
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

/* The host needs time for a group; false if it has had enough */
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

/* One of its devices is somebody else's at the moment: the host has not been asked yet */
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

/* It has had some */
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

/* Cut off, or recovered, but then it could not be put back */
static bool is_displaced(const struct pviommu_endpoint *ep)
{
	return !ep->gone && (ep->isolated || (ep->wanted && ep->wanted != ep->domain));
}

/* Somebody else may have brought it back; with the locks of its devices held */
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

/* While devices are reset the IOMMU core may move them, one by one: not yet */
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

/* Nobody need try to reach its devices: as the PCI core does, before any driver is told */
static void freeze_group(struct recovery *r)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&r->pv->lock);
	list_for_each_entry(ep, &r->pv->endpoints, node) {
		struct pci_dev *pdev = to_pci_dev(ep->dev);

		if (ep->group != r->group)
			continue;
		/* Also who has come since: it is told of the error from now on */
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

/* Ask it about all endpoints of a group */
static int recover_endpoints(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;
	int ret = -ENODEV;

	lockdep_assert_held(&pv->lock);
	/* What it has told until now is what it is asked to end */
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
	/* After another error its devices have to be reset once more first */
	pviommu_events_flush(pv);
	list_for_each_entry(ep, &pv->endpoints, node)
		if (ep->group == group && !ep->gone && ep->isolated)
			return -EBUSY;
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group || ep->gone)
			continue;
		ret = pviommu_attach_wanted(ep);
		/* Cut off again meanwhile, at this moment by an event */
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

/* Its endpoint, which remains one while the device is locked and has a driver; or NULL */
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

/* Tell the driver; can it go on after a reset? */
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

/* One for VFIO that no user has in a domain has nothing that could be lost */
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

/* Return: 0, also if nobody has a driver; -EOPNOTSUPP one of them can't recover */
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

/* They hear no more of this error, which is over if they are back */
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

/* Who has no driver that will set it up does no DMA */
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

/* Their devices stay frozen until they are back in a domain */
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

/* All devices are reset before any of them can reach memory again */
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

/* With the locks of its devices held: their drivers stay. False: it is not done. */
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
 * Awake, too: a device that sleeps is not to be reached, and its driver may sleep.
 *
 * A lock is not waited for: vfio-pci holds that of a device that is unplugged until its
 * user has closed it, which may be never, and other groups are to be brought back.
 *
 * Return: false if one of the locks is taken; then none is.
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

/* False: the host is not done with it, or somebody else has one of its devices */
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
 * Devices may come and go meanwhile, and this is waited for with the lock held that
 * would prevent it: see pviommu_init(). What is cut off may be what memory would be
 * freed to, and drivers allocate some: no I/O for that.
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
 * pviommu_recover_later() - have the work bring a group back
 * @pv: the interface, its lock held; or nothing else runs and interrupts are disabled
 * @group: the host's number of the group
 *
 * From now on the host has some time to be done with the error.
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

/* Has another device of its group a driver that does not know of the error? */
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
		/* When the driver is bound, which it may be in vain, the work looks again */
		if (ret == -EBUSY && tries == BOUND_TRIES - 1)
			pviommu_recover_later(pv, group);
		mutex_unlock(&pv->lock);
	}
	return ret;
}

/**
 * pviommu_recover_bound() - a driver is about to be bound to a device
 * @pv: the interface
 * @dev: the device, its lock held
 *
 * If it is not where the IOMMU core has put it, it comes back: the new driver expects a
 * domain that works. Not so if its group has another device whose driver had it when it
 * was cut off, which would come back as it is.
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
	/* It remains an endpoint: its device is locked and has a driver */
	ret = bring_back_bound(ep);
	if (ret)
		dev_err(dev, "remains cut off%s: %d\n", ret == -EPERM ?
			", another device of its group has a driver since before" : "", ret);
}

/**
 * pviommu_recover_unbound() - a driver is gone, or was not bound after all
 * @pv: the interface
 * @dev: the device, its lock held unless it has no driver any more
 *
 * Also if the device ceases to be an endpoint. The next one has not been told of anything.
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
 * pviommu_recover_init() - prepare the work
 * @pv: the interface, just allocated
 *
 * It has a thread of its own: what is cut off may be what memory would be freed to, from
 * which the threads of other work would be made. And it does not run while the system
 * goes to sleep: devices are asleep before us.
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
	/* Some kernels have done it already */
	wake_up_process(worker->task);
	pv->recover_worker = worker;
	return 0;
}

/**
 * pviommu_recover_stop() - let the work run no more
 * @pv: the interface; it has no endpoints any more
 */
void pviommu_recover_stop(struct pviommu *pv)
{
	kthread_cancel_delayed_work_sync(&pv->recover_work);
}

/**
 * pviommu_recover_destroy() - end the work's thread
 * @pv: the interface; nobody wants the work to run any more
 */
void pviommu_recover_destroy(struct pviommu *pv)
{
	if (pv->recover_worker)
		kthread_destroy_worker(pv->recover_worker);
}
