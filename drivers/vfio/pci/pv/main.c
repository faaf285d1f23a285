// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO PCI driver for devices behind the paravirtual IOMMU.
 *
 * Works as vfio-pci does. When the device is opened through a container that
 * the host engine serves, it is an endpoint of the VM's paravirtual IOMMU: it
 * shows a capability in its config space, through which the guest finds and
 * starts the interface, and the engine is told when the VMM resets the device
 * or the PCI core reports an error of it.
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

/* More than the PCI core waits for a device that was reset: a minute */
#define PV_VFIO_ERROR_TIMEOUT	(90 * HZ)

/* Errors of all devices so far: which ones did a reset come after? */
static atomic64_t pv_vfio_errors = ATOMIC64_INIT(0);

/**
 * struct pv_vfio_pci - a device bound to this driver
 * @core: the device as vfio_pci_core knows it
 * @ep_lock: keeps the device from being closed while the PCI error handler uses
 *	it. Taken before all locks of the engine.
 * @idle_state: what is saved of its config space, of the time when it was bound
 * @open: the core has it open, with the state that it saved at that time; @ep_lock
 * @frozen: the last error was fatal; @ep_lock
 * @last_error: the number of the last error; @ep_lock
 * @ep: the endpoint, NULL while the device is closed or is plain vfio-pci.
 *	Changes in open and close only, so that the callbacks which the VFIO
 *	core runs between these read it without @ep_lock.
 * @cap: the endpoint's capability
 * @error_timeout: an error that the PCI core began to handle has not come to an end;
 *	queued only while @ep is there
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

/* Once it is not open any more, no PCI error handler uses what the core frees */
static void pv_vfio_set_open(struct pv_vfio_pci *pv, bool open)
{
	mutex_lock(&pv->ep_lock);
	pv->open = open;
	mutex_unlock(&pv->ep_lock);
}

/*
 * Whether the VMM itself does this and not a vCPU. A guest clears bus
 * mastering whenever a driver lets go of a device, and can reset the device
 * by way of the bridge above it: neither must stop the interface, on which its
 * other drivers depend. What the guest does is done by vCPU threads, whereas a
 * VMM resets its VM from its main loop, which is the first thread.
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
 * The core resets the device before the engine moves it to another domain, so
 * that no DMA of the old user goes on there.
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

/* The bit is the device's own; one that does not answer reads as all ones */
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
 * The VMM has reset an open device, which ends the errors that it had before. For one that
 * came since, the device is still in the hands of the PCI core.
 */
static void pv_vfio_was_reset_by_vmm(struct pv_vfio_pci *pv, s64 errors)
{
	mutex_lock(&pv->ep_lock);
	if (pv->ep && pv->last_error <= errors)
		pviommu_endpoint_handled(pv->ep);
	mutex_unlock(&pv->ep_lock);
	/* The VM may be waited for now: without the lock, which the PCI core waits for */
	if (pv->ep)
		pviommu_endpoint_reset(pv->ep);
}

/* All devices of the slot have been reset, of which each may be ours and open */
static void pv_vfio_set_was_reset(struct vfio_device_set *set, s64 errors)
{
	struct vfio_device *vdev;

	/* None is opened or closed meanwhile */
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
 * A driver hears no more of an error that the PCI core could not recover from. The VMM,
 * which may not know of it yet, is told; whether the device still works is the guest's to
 * find out.
 */
static void pv_vfio_error_timeout(struct work_struct *work)
{
	struct pv_vfio_pci *pv = container_of(to_delayed_work(work), struct pv_vfio_pci,
					      error_timeout);
	bool given_up;

	mutex_lock(&pv->ep_lock);
	/* Is there another error by now, with a time of its own? */
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

/* Devices that vfio-pci refuses: a user can bring the host down with them */
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

	/* The core takes it to be its own device, which comes first in ours */
	dev_set_drvdata(&pdev->dev, &pv->core);
	/* Now it is awake, and as the PCI core has set it up */
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

/* With ep_lock held; true if the guest was told and recovers the device itself */
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
 * The group is cut off before anyone hears of the error. A guest that recovers
 * devices itself is told by an event; the VMM, which would only stop the VM, is not.
 * The answer is for the device's sake, also while nobody has it open: what a reset takes
 * from it is to be given back.
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
 * Was the device reset? After a fatal error it was. After another one it depends on the
 * kernel, and on what the drivers beside us wanted; a device that neither decodes nor
 * does DMA may be set up as one that was.
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

/* BARs and interrupts become what they were when it was opened, or else when it was bound */
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
