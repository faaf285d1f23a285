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
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/* How long the host may take to handle an error, and how often it is asked */
#define HANDLED_TRIES	100
#define HANDLED_MS	100

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

/* --- the host ------------------------------------------------------------ */

/* How to ask the host something about an endpoint, with pviommu.lock held */
typedef int (*ask_fn)(struct pviommu_endpoint *ep);

static int ask_once(struct pviommu *pv, u32 group, ask_fn ask)
{
	struct pviommu_endpoint *ep;
	int ret = -ENODEV;

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group || ep->gone)
			continue;
		ret = ask(ep);
		if (ret)
			break;
	}
	return ret;
}

/* Ask it about all endpoints of a group; waits until it has handled their errors */
static int ask_host(struct pviommu *pv, u32 group, ask_fn ask)
{
	int tries, ret = -EBUSY;

	for (tries = 0; ret == -EBUSY && tries < HANDLED_TRIES; tries++) {
		if (tries)
			msleep(HANDLED_MS);
		mutex_lock(&pv->lock);
		ret = ask_once(pv, group, ask);
		mutex_unlock(&pv->lock);
	}
	return ret;
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

static bool in_group(struct pviommu *pv, u32 group, struct pci_dev *pdev)
{
	struct pviommu_endpoint *ep;
	bool in;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, &pdev->dev);
	in = ep && ep->group == group;
	mutex_unlock(&pv->lock);
	return in;
}

/* --- drivers, each with its device's lock held --------------------------- */

/* Tell the driver; what it can do, if it wants to go on after a reset */
static const struct pci_error_handlers *stop_driver(struct pci_dev *pdev)
{
	const struct pci_error_handlers *err = pdev->driver->err_handler;
	pci_ers_result_t result = PCI_ERS_RESULT_NONE;

	device_lock_assert(&pdev->dev);
	if (err && err->error_detected)
		result = err->error_detected(pdev, pci_channel_io_frozen);
	if (!err || !err->slot_reset)
		return NULL;
	return result == PCI_ERS_RESULT_NEED_RESET ||
	       result == PCI_ERS_RESULT_CAN_RECOVER ? err : NULL;
}

/* Return: 0, also if nobody has a driver; -EOPNOTSUPP one of them can't recover */
static int stop_drivers(struct recovery *r)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < r->n; i++) {
		struct pci_dev *pdev = r->dev[i].pdev;

		/* What has a driver remains an endpoint while it is locked */
		if (!pdev->driver || !in_group(r->pv, r->group, pdev))
			continue;
		r->dev[i].err = stop_driver(pdev);
		if (r->dev[i].err)
			continue;
		pci_err(pdev, "remains cut off until a driver is bound again: this one can't recover\n");
		ret = -EOPNOTSUPP;
	}
	return ret;
}

static bool has_able_driver(const struct recovery *r)
{
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		if (r->dev[i].err)
			return true;
	}
	return false;
}

static void reset_group(struct recovery *r)
{
	unsigned int i;

	for (i = 0; i < r->n; i++) {
		if (r->dev[i].err && __pci_reset_function_locked(r->dev[i].pdev))
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
	ret = ask_host(r->pv, r->group, pviommu_recover_endpoint);
	if (!ret)
		reset_group(r);
	hold_group(r, false);
	return ret ?: ask_host(r->pv, r->group, pviommu_attach_wanted);
}

/* With the locks of its devices held: their drivers stay */
static void recover_group(struct recovery *r)
{
	int ret = stop_drivers(r);

	if (!has_able_driver(r))
		return;
	ret = ret ?: bring_back(r);
	if (ret)
		give_up(r, ret);
	else
		restart_drivers(r);
}

static void recovery_lock(struct recovery *r)
{
	unsigned int i;

	for (i = 0; i < r->n; i++)
		device_lock(&r->dev[i].pdev->dev);
}

static void recovery_unlock(struct recovery *r)
{
	unsigned int i;

	for (i = r->n; i; i--)
		device_unlock(&r->dev[i - 1].pdev->dev);
}

static void recovery_free(struct recovery *r)
{
	while (r->n)
		pci_dev_put(r->dev[--r->n].pdev);
	kfree(r);
}

/* NULL without memory. What is cut off may be what memory would be freed to. */
static struct recovery *recovery_create(struct pviommu *pv, u32 group, unsigned int max)
{
	struct pci_dev *pdev = NULL;
	struct recovery *r;

	r = kzalloc(struct_size(r, dev, max), GFP_NOIO);
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

/*
 * Devices may come and go meanwhile, and this is waited for with the lock held that
 * would prevent it: see pviommu_init().
 */
static void recover_work(struct work_struct *work)
{
	struct pviommu *pv = container_of(work, struct pviommu, recover_work);
	struct recovery *r;
	unsigned int n;
	u32 group;

	while ((n = next_group(pv, &group))) {
		r = recovery_create(pv, group, n);
		if (!r) {
			pr_err("no memory, group %u remains cut off\n", group);
			continue;
		}
		recovery_lock(r);
		recover_group(r);
		recovery_unlock(r);
		recovery_free(r);
	}
}

/* Has another device of its group a driver, with which nobody has dealt? */
static bool others_bound(struct pviommu_endpoint *ep)
{
	struct pviommu_endpoint *other;

	lockdep_assert_held(&ep->pv->lock);
	list_for_each_entry(other, &ep->pv->endpoints, node) {
		if (other != ep && other->group == ep->group && READ_ONCE(other->dev->driver))
			return true;
	}
	return false;
}

/* Cut off, or recovered, but then it could not be put back */
static bool is_displaced(const struct pviommu_endpoint *ep)
{
	return ep->isolated || (ep->wanted && ep->wanted != ep->domain);
}

/**
 * pviommu_recover_bound() - a driver is about to be bound to a device
 * @pv: the interface
 * @dev: the device, its lock held
 *
 * If it is not where the IOMMU core has put it, it comes back: the new driver expects a
 * domain that works. Not so if its group has another device with a driver, which would
 * come back as it is.
 */
void pviommu_recover_bound(struct pviommu *pv, struct device *dev)
{
	struct pviommu_endpoint *ep;
	bool displaced, others;
	u32 group = 0;
	int ret;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, dev);
	displaced = ep && !ep->gone && is_displaced(ep);
	others = displaced && others_bound(ep);
	if (displaced)
		group = ep->group;
	if (displaced && !others)
		take_group(pv, group);
	mutex_unlock(&pv->lock);
	if (!displaced)
		return;
	ret = others ? -EBUSY : ask_host(pv, group, pviommu_attach_wanted);
	if (ret)
		dev_err(dev, "remains cut off%s: %d\n",
			others ? ", another device of its group has a driver" : "", ret);
}

/**
 * pviommu_recover_init() - prepare the work
 * @pv: the interface, just allocated
 */
void pviommu_recover_init(struct pviommu *pv)
{
	INIT_WORK(&pv->recover_work, recover_work);
}

/**
 * pviommu_recover_stop() - let the work run no more
 * @pv: the interface; it has no endpoints any more
 */
void pviommu_recover_stop(struct pviommu *pv)
{
	cancel_work_sync(&pv->recover_work);
}
