// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO PCI driver for devices behind the paravirtual IOMMU.
 *
 * This driver works as vfio-pci does. But if a device is opened through a container
 * that the host engine serves, it becomes an endpoint of the VM's paravirtual IOMMU:
 * it has a capability in its config space by which the guest finds and starts the
 * interface, and the engine is told when the VMM resets the device, or when the PCI
 * core reports an error.
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pv_iommu_host.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>

#include "vcap.h"

static bool enable_sriov;
module_param(enable_sriov, bool, 0644);
MODULE_PARM_DESC(enable_sriov, "Allow a device's virtual functions to be enabled while it is bound to this driver");

/* The PCI core waits up to a minute for a device that was reset; this is longer */
#define PV_VFIO_ERROR_TIMEOUT	(90 * HZ)

/* Number of the last error of any device, to tell which errors were before a reset */
static atomic64_t pv_vfio_errors = ATOMIC64_INIT(0);

/**
 * struct pv_vfio_pci - a device bound to this driver
 * @core: the device as vfio_pci_core knows it
 * @ep_lock: keeps the device from being closed while the PCI error handler uses
 *	it. Taken before all locks of the engine.
 * @idle_state: its config space, as saved when it was bound
 * @open: the core has it open, and has saved its config space then; @ep_lock
 * @frozen: the last error was fatal; @ep_lock
 * @last_error: the number of the last error; @ep_lock
 * @ep: the endpoint, NULL while the device is closed or is plain vfio-pci.
 *	Changes in open and close only, so that the callbacks which the VFIO
 *	core runs between these read it without @ep_lock.
 * @cap: the endpoint's capability
 * @error_timeout: gives up an error that the PCI core has not finished handling; queued only
 *	while there is an @ep
 */
struct pv_vfio_pci {
	struct vfio_pci_core_device core;
	struct pci_saved_state *idle_state;
	struct mutex ep_lock; /* what says so above; the use of ep by the PCI error handler */
	bool open;
	bool frozen;
	s64 last_error;
	struct pviommu_endpoint *ep;
	struct pv_vcap cap;
	struct delayed_work error_timeout;
};

static const struct vfio_device_ops pv_vfio_ops;

static struct pv_vfio_pci *to_pv(struct vfio_device *vdev)
{
	return container_of(vdev, struct pv_vfio_pci, core.vdev);
}

static struct pviommu_endpoint *pv_vfio_set_endpoint(struct pv_vfio_pci *pv,
						     struct pviommu_endpoint *ep)
{
	mutex_lock(&pv->ep_lock);
	swap(pv->ep, ep);
	mutex_unlock(&pv->ep_lock);
	return ep;
}

/* After it is set to false, no PCI error handler uses the saved state that the core frees */
static void pv_vfio_set_open(struct pv_vfio_pci *pv, bool open)
{
	mutex_lock(&pv->ep_lock);
	pv->open = open;
	mutex_unlock(&pv->ep_lock);
}

/*
 * Whether the VMM does this on its own, and not a vCPU thread for the guest. A guest disables
 * bus mastering whenever a driver is unbound, and may reset the device by way of the bridge
 * above it. Neither must stop the interface, on which its other drivers depend. A VMM resets
 * its VM from its main loop, which is the first thread.
 */
static bool pv_vfio_called_by_vmm(void)
{
	return thread_group_leader(current);
}

/* --- device file ------------------------------------------------------- */

static int pv_vfio_open_device(struct vfio_device *vdev)
{
	struct pv_vfio_pci *pv = to_pv(vdev);
	struct pviommu_endpoint *ep;
	int ret;

	ret = vfio_pci_core_enable(&pv->core);
	if (ret)
		return ret;

	ep = pviommu_endpoint_open(vdev);
	if (IS_ERR(ep)) {
		vfio_pci_core_disable(&pv->core);
		return PTR_ERR(ep);
	}
	if (ep && !pv_vcap_place(&pv->cap, &pv->core, pviommu_endpoint_pasid_bits(ep)))
		pci_info(pv->core.pdev,
			 "no room in config space: the guest will not find its paravirtual IOMMU\n");
	pv_vfio_set_endpoint(pv, ep);

	vfio_pci_core_finish_enable(&pv->core);
	pv_vfio_set_open(pv, true);
	return 0;
}

/*
 * The core resets the device before the engine moves it to another domain, so that DMA of the
 * old user can't continue there.
 */
static void pv_vfio_close_device(struct vfio_device *vdev)
{
	struct pv_vfio_pci *pv = to_pv(vdev);
	struct pviommu_endpoint *ep;

	pv_vfio_set_open(pv, false);
	vfio_pci_core_close_device(vdev);
	ep = pv_vfio_set_endpoint(pv, NULL);
	if (!ep)
		return;
	cancel_delayed_work_sync(&pv->error_timeout);
	pv_vcap_remove(&pv->cap);
	pviommu_endpoint_close(ep);
}

static ssize_t pv_vfio_read(struct vfio_device *vdev, char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct pv_vfio_pci *pv = to_pv(vdev);

	if (pv_vcap_covers(&pv->cap, *ppos, count))
		return pv_vcap_read(&pv->cap, &pv->core, pv->ep, buf, count,
				    ppos);
	return vfio_pci_core_read(vdev, buf, count, ppos);
}

static bool pv_vfio_is_command(loff_t ppos, size_t count)
{
	loff_t pos = ppos & VFIO_PCI_OFFSET_MASK;

	return VFIO_PCI_OFFSET_TO_INDEX(ppos) == VFIO_PCI_CONFIG_REGION_INDEX &&
	       pos <= PCI_COMMAND && pos + count > PCI_COMMAND;
}

/* Read the bit from the device itself. If it does not answer it reads as set. */
static void pv_vfio_report_command(struct pv_vfio_pci *pv)
{
	u16 command;

	if (!pv->ep || !pv_vfio_called_by_vmm())
		return;
	if (pci_read_config_word(pv->core.pdev, PCI_COMMAND, &command))
		return;
	pviommu_endpoint_command(pv->ep, command & PCI_COMMAND_MASTER);
}

static ssize_t pv_vfio_write(struct vfio_device *vdev, const char __user *buf,
			     size_t count, loff_t *ppos)
{
	struct pv_vfio_pci *pv = to_pv(vdev);
	loff_t start = *ppos;
	ssize_t ret;

	if (pv_vcap_covers(&pv->cap, start, count))
		ret = pv_vcap_write(&pv->cap, &pv->core, pv->ep, buf, count,
				    ppos);
	else
		ret = vfio_pci_core_write(vdev, buf, count, ppos);

	if (ret > 0 && pv_vfio_is_command(start, ret))
		pv_vfio_report_command(pv);
	return ret;
}

/*
 * The VMM has reset an open device, which ends the errors up to number @errors. An error that
 * came later is still being handled by the PCI core.
 */
static void pv_vfio_was_reset_by_vmm(struct pv_vfio_pci *pv, s64 errors)
{
	mutex_lock(&pv->ep_lock);
	if (pv->ep && pv->last_error <= errors)
		pviommu_endpoint_handled(pv->ep);
	mutex_unlock(&pv->ep_lock);
	/* This may wait for the VM, so not with the lock held, for which the PCI core waits */
	if (pv->ep)
		pviommu_endpoint_reset(pv->ep);
}

/* A hot reset has reset all devices of a set; some may be bound to this driver and open */
static void pv_vfio_set_was_reset(struct vfio_device_set *set, s64 errors)
{
	struct vfio_device *vdev;

	/* This keeps them from being opened or closed meanwhile */
	mutex_lock(&set->lock);
	list_for_each_entry(vdev, &set->device_list, dev_set_list) {
		if (vdev->ops == &pv_vfio_ops)
			pv_vfio_was_reset_by_vmm(to_pv(vdev), errors);
	}
	mutex_unlock(&set->lock);
}

static long pv_vfio_ioctl(struct vfio_device *vdev, unsigned int cmd,
			  unsigned long arg)
{
	struct pv_vfio_pci *pv = to_pv(vdev);
	s64 errors = atomic64_read(&pv_vfio_errors);
	long ret;

	ret = vfio_pci_core_ioctl(vdev, cmd, arg);
	if (ret || !pv->ep || !pv_vfio_called_by_vmm())
		return ret;

	switch (cmd) {
	case VFIO_DEVICE_RESET:
		pv_vfio_was_reset_by_vmm(pv, errors);
		break;
	case VFIO_DEVICE_PCI_HOT_RESET:
		pv_vfio_set_was_reset(vdev->dev_set, errors);
		break;
	}
	return 0;
}

/*
 * If the PCI core can't recover from an error, it does not tell drivers. So the error is
 * given up after a while. The VMM, which may not know of it yet, is told. Whether the device
 * still works is for the guest to find out.
 */
static void pv_vfio_error_timeout(struct work_struct *work)
{
	struct pv_vfio_pci *pv = container_of(to_delayed_work(work), struct pv_vfio_pci,
					      error_timeout);
	bool given_up;

	mutex_lock(&pv->ep_lock);
	/* If it is pending, there is another error by now, with a timeout of its own */
	given_up = pv->ep && !delayed_work_pending(&pv->error_timeout) &&
		   pviommu_endpoint_handled(pv->ep);
	mutex_unlock(&pv->ep_lock);
	if (!given_up)
		return;
	pci_warn(pv->core.pdev, "the host could not recover it from its error\n");
	vfio_pci_core_aer_err_detected(pv->core.pdev, pci_channel_io_perm_failure);
}

static int pv_vfio_init_device(struct vfio_device *vdev)
{
	struct pv_vfio_pci *pv = to_pv(vdev);

	mutex_init(&pv->ep_lock);
	mutex_init(&pv->cap.lock);
	INIT_DELAYED_WORK(&pv->error_timeout, pv_vfio_error_timeout);
	return vfio_pci_core_init_dev(vdev);
}

static void pv_vfio_release_device(struct vfio_device *vdev)
{
	struct pv_vfio_pci *pv = to_pv(vdev);

	vfio_pci_core_release_dev(vdev);
	kfree(pv->idle_state);
	mutex_destroy(&pv->cap.lock);
	mutex_destroy(&pv->ep_lock);
}

static const struct vfio_device_ops pv_vfio_ops = {
	.name = "pviommu-vfio-pci",
	.init = pv_vfio_init_device,
	.release = pv_vfio_release_device,
	.open_device = pv_vfio_open_device,
	.close_device = pv_vfio_close_device,
	.ioctl = pv_vfio_ioctl,
#ifdef PVIOMMU_HAVE_GET_REGION_INFO_CAPS
	.get_region_info_caps = vfio_pci_ioctl_get_region_info,
#endif
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = pv_vfio_read,
	.write = pv_vfio_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
#ifdef PVIOMMU_HAVE_MATCH_TOKEN_UUID
	.match_token_uuid = vfio_pci_core_match_token_uuid,
#endif
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
};

/* --- PCI driver -------------------------------------------------------- */

/* Devices that vfio-pci refuses, too: by them a user can bring the host down */
static const struct pci_device_id pv_vfio_denied[] = {
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C3XXX) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C3XXX_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C62X) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C62X_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_DH895XCC) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_DH895XCC_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_DSA_SPR0) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_IAX_SPR0) },
	{}
};

static int pv_vfio_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pv_vfio_pci *pv;
	int ret;

	if (pci_match_id(pv_vfio_denied, pdev)) {
		pci_warn(pdev, "not safe in the hands of a user, refused\n");
		return -EINVAL;
	}

	pv = vfio_alloc_device(pv_vfio_pci, core.vdev, &pdev->dev, &pv_vfio_ops);
	if (IS_ERR(pv))
		return PTR_ERR(pv);

	/* The core expects its own structure here */
	dev_set_drvdata(&pdev->dev, &pv->core);
	/* At this time it is awake, and as the PCI core has set it up */
	pv_vcap_find_filled(&pv->cap, pdev);
	pci_save_state(pdev);
	pv->idle_state = pci_store_saved_state(pdev);
	ret = -ENOMEM;
	if (!pv->idle_state)
		goto out_put;
	ret = vfio_pci_core_register_device(&pv->core);
	if (ret)
		goto out_put;
	return 0;

out_put:
	vfio_put_device(&pv->core.vdev);
	return ret;
}

static struct pv_vfio_pci *pv_vfio_drvdata(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);

	return container_of(core, struct pv_vfio_pci, core);
}

static void pv_vfio_remove(struct pci_dev *pdev)
{
	struct pv_vfio_pci *pv = pv_vfio_drvdata(pdev);

	vfio_pci_core_unregister_device(&pv->core);
	vfio_put_device(&pv->core.vdev);
}

static int pv_vfio_sriov_configure(struct pci_dev *pdev, int nr_virtfn)
{
	if (!READ_ONCE(enable_sriov))
		return -ENOENT;
	return vfio_pci_core_sriov_configure(&pv_vfio_drvdata(pdev)->core, nr_virtfn);
}

/* Cut the device's group off. True if the guest was told, and recovers the device itself */
static bool pv_vfio_isolate(struct pv_vfio_pci *pv, pci_channel_state_t state)
{
	bool recovers;

	lockdep_assert_held(&pv->ep_lock);
	pv->last_error = atomic64_inc_return(&pv_vfio_errors);
	recovers = pviommu_endpoint_isolate(pv->ep);
	cancel_delayed_work(&pv->error_timeout);
	if (state != pci_channel_io_perm_failure) {
		schedule_delayed_work(&pv->error_timeout, PV_VFIO_ERROR_TIMEOUT);
		return recovers;
	}
	pviommu_endpoint_handled(pv->ep);
	return false;
}

/*
 * The group is cut off before anybody is told of the error. If the guest recovers devices
 * itself, it gets an event, and the VMM is not told, as it would only stop the VM. The result
 * does not depend on whether the device is open: after a reset, slot_reset has to restore it
 * in any case.
 */
static pci_ers_result_t pv_vfio_error_detected(struct pci_dev *pdev,
					       pci_channel_state_t state)
{
	struct pv_vfio_pci *pv = pv_vfio_drvdata(pdev);
	pci_ers_result_t result = PCI_ERS_RESULT_CAN_RECOVER;
	bool recovers = false;

	mutex_lock(&pv->ep_lock);
	pv->frozen = state == pci_channel_io_frozen;
	if (pv->ep)
		recovers = pv_vfio_isolate(pv, state);
	mutex_unlock(&pv->ep_lock);

	if (!recovers)
		result = vfio_pci_core_aer_err_detected(pdev, state);
	return state == pci_channel_io_frozen ? PCI_ERS_RESULT_NEED_RESET : result;
}

/*
 * Whether the device was reset. After a fatal error it was. After another one that depends on
 * the kernel, and on what other drivers have asked for. A device that neither decodes addresses
 * nor does DMA is taken for one that was: restoring it does no harm.
 */
static bool pv_vfio_was_reset(struct pv_vfio_pci *pv)
{
	const u16 works = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	u16 command;

	lockdep_assert_held(&pv->ep_lock);
	if (pv->frozen)
		return true;
	return !pci_read_config_word(pv->core.pdev, PCI_COMMAND, &command) &&
	       !(command & works);
}

/* Restore config space (BARs, interrupts): as it was when the device was opened, or else bound */
static pci_ers_result_t pv_vfio_slot_reset(struct pci_dev *pdev)
{
	struct pv_vfio_pci *pv = pv_vfio_drvdata(pdev);

	mutex_lock(&pv->ep_lock);
	if (pv_vfio_was_reset(pv) &&
	    !pci_load_saved_state(pdev, pv->open ? pv->core.pci_saved_state : pv->idle_state))
		pci_restore_state(pdev);
	mutex_unlock(&pv->ep_lock);
	return PCI_ERS_RESULT_RECOVERED;
}

static void pv_vfio_error_resume(struct pci_dev *pdev)
{
	struct pv_vfio_pci *pv = pv_vfio_drvdata(pdev);

	mutex_lock(&pv->ep_lock);
	if (pv->ep) {
		cancel_delayed_work(&pv->error_timeout);
		pviommu_endpoint_handled(pv->ep);
	}
	mutex_unlock(&pv->ep_lock);
}

static const struct pci_error_handlers pv_vfio_err_handlers = {
	.error_detected = pv_vfio_error_detected,
	.slot_reset = pv_vfio_slot_reset,
	.resume = pv_vfio_error_resume,
};

static const struct pci_device_id pv_vfio_table[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};

MODULE_DEVICE_TABLE(pci, pv_vfio_table);

static struct pci_driver pv_vfio_driver = {
	.name = "pviommu-vfio-pci",
	.id_table = pv_vfio_table,
	.probe = pv_vfio_probe,
	.remove = pv_vfio_remove,
	.sriov_configure = pv_vfio_sriov_configure,
	.err_handler = &pv_vfio_err_handlers,
	.driver_managed_dma = true,
};

static int __init pv_vfio_init(void)
{
	int ret;

	ret = pviommu_host_register_driver(&pv_vfio_driver.driver);
	if (ret)
		return ret;

	ret = pci_register_driver(&pv_vfio_driver);
	if (ret)
		pviommu_host_unregister_driver(&pv_vfio_driver.driver);
	return ret;
}

static void __exit pv_vfio_exit(void)
{
	pci_unregister_driver(&pv_vfio_driver);
	pviommu_host_unregister_driver(&pv_vfio_driver.driver);
}

module_init(pv_vfio_init);
module_exit(pv_vfio_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO PCI driver for devices behind the paravirtual IOMMU");
