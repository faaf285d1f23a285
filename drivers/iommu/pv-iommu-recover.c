// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: devices that the host has cut off after an error.
 *
 * A guest sees no PCIe error of a device that was passed through: the host handles it,
 * puts the device's group into the blocked domain, and tells by an event. What the PCI
 * core would do here if it had seen the error is done instead: the device's driver is
 * told to stop, the device is reset, put back into its domain, where all that was mapped
 * still is, and its driver is told to go on. A driver that can't do that keeps a device
 * that reaches nothing until a driver is bound to it again.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>
#include <linux/pci.h>

#include "pv-iommu.h"

/* How long the host may take to handle an error, and how often it is asked */
#define HANDLED_TRIES	100
#define HANDLED_MS	100

/* How to ask the host something about an endpoint, with pviommu.lock held */
typedef int (*ask_fn)(struct pviommu_endpoint *ep);

/* Ask it; waits until the host has handled the error */
static int ask_host(struct pviommu *pv, struct pviommu_endpoint *ep, ask_fn ask)
{
	int tries, ret = -EBUSY;

	for (tries = 0; ret == -EBUSY && tries < HANDLED_TRIES; tries++) {
		if (tries)
			msleep(HANDLED_MS);
		mutex_lock(&pv->lock);
		ret = ep->gone ? -ENODEV : ask(ep);
		mutex_unlock(&pv->lock);
	}
	return ret;
}

/* Tell the driver; true if it wants to go on after a reset */
static bool stop_driver(struct pci_dev *pdev, const struct pci_error_handlers *err)
{
	pci_ers_result_t result = PCI_ERS_RESULT_NONE;

	if (err && err->error_detected)
		result = err->error_detected(pdev, pci_channel_io_frozen);
	return err && err->slot_reset &&
	       (result == PCI_ERS_RESULT_NEED_RESET || result == PCI_ERS_RESULT_CAN_RECOVER);
}

static bool restart_driver(struct pci_dev *pdev, const struct pci_error_handlers *err)
{
	pci_ers_result_t result = err->slot_reset(pdev);

	if (result != PCI_ERS_RESULT_NONE && result != PCI_ERS_RESULT_RECOVERED)
		return false;
	if (err->resume)
		err->resume(pdev);
	return true;
}

/* With the device's lock held: its driver stays */
static void recover_device(struct pviommu *pv, struct pviommu_endpoint *ep)
{
	struct pci_dev *pdev = to_pci_dev(ep->dev);
	const struct pci_error_handlers *err;
	int ret;

	device_lock_assert(ep->dev);
	if (!pdev->driver)
		return;
	err = pdev->driver->err_handler;
	if (!stop_driver(pdev, err)) {
		pci_err(pdev, "remains cut off until a driver is bound again: this one can't recover\n");
		return;
	}
	/* Before the reset: a kernel that blocks devices meanwhile attaches them again */
	ret = ask_host(pv, ep, pviommu_recover_endpoint);
	if (!ret && __pci_reset_function_locked(pdev))
		pci_warn(pdev, "can't be reset\n");
	ret = ret ?: ask_host(pv, ep, pviommu_attach_wanted);
	if (ret) {
		err->error_detected(pdev, pci_channel_io_perm_failure);
		pci_err(pdev, "remains cut off, its mappings were not restored: %d\n", ret);
		return;
	}
	if (restart_driver(pdev, err))
		pci_info(pdev, "back in its domain after an error, with its mappings\n");
	else
		pci_err(pdev, "back in its domain after an error, but its driver has given up\n");
}

static struct pviommu_endpoint *next_endpoint(struct pviommu *pv)
{
	struct pviommu_endpoint *ep, *found = NULL;

	mutex_lock(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->to_recover) {
			ep->to_recover = false;
			found = ep;
			break;
		}
	}
	mutex_unlock(&pv->lock);
	return found;
}

/* No endpoint goes away meanwhile */
static void recover_work(struct work_struct *work)
{
	struct pviommu *pv = container_of(work, struct pviommu, recover_work);
	struct pviommu_endpoint *ep;

	pci_lock_rescan_remove();
	while ((ep = next_endpoint(pv))) {
		device_lock(ep->dev);
		recover_device(pv, ep);
		device_unlock(ep->dev);
	}
	pci_unlock_rescan_remove();
}

/**
 * pviommu_recover_bound() - a driver is about to be bound to a device
 * @pv: the interface
 * @dev: the device, its lock held
 *
 * If it is cut off it comes back: the new driver expects a domain that works.
 */
void pviommu_recover_bound(struct pviommu *pv, struct device *dev)
{
	struct pviommu_endpoint *ep;
	bool isolated;
	int ret;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, dev);
	isolated = ep && ep->isolated;
	if (isolated)
		ep->to_recover = false;
	mutex_unlock(&pv->lock);
	if (!isolated)
		return;
	ret = ask_host(pv, ep, pviommu_attach_wanted);
	if (ret)
		dev_err(dev, "remains cut off: %d\n", ret);
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
