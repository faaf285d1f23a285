// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: loading and unloading, sleep and shutdown.
 *
 * The module can be loaded and unloaded while devices are in use. A device that
 * has a driver when the module is loaded keeps the translation that it has, which is
 * none: it gets an identity domain, which the host calls bypass, and it is in bypass
 * already. When the module is unloaded all endpoints are in bypass again.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/cpumask.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/syscore_ops.h>

#include "pv-iommu.h"

/* While the machine shuts down: how long a reset of a device may take */
#define RESET_US	USEC_PER_SEC
/* And how long the lock may be held: an attach does for up to three seconds */
#define LOCK_US		(5 * USEC_PER_SEC)
#define POLL_US		(10 * USEC_PER_MSEC)

static uint rings = PVIOMMU_MAX_RINGS;
module_param(rings, uint, 0444);
MODULE_PARM_DESC(rings, "Largest number of rings to use; by default one for each CPU");

static bool config_doorbell;
module_param(config_doorbell, bool, 0444);
MODULE_PARM_DESC(config_doorbell, "Use the doorbell in config space only, for tests");

static unsigned long long takeover;
module_param(takeover, ullong, 0);
MODULE_PARM_DESC(takeover,
		 "For a crash kernel: cookie of the kernel before it, which did not stop the interface");

static int cookie_get(char *buffer, const struct kernel_param *kp)
{
	struct pviommu *pv = pviommu_instance;

	return sysfs_emit(buffer, "%llu\n", pv ? pv->cookie : 0);
}

static const struct kernel_param_ops cookie_ops = {
	.get = cookie_get,
};

module_param_cb(cookie, &cookie_ops, NULL, 0400);
MODULE_PARM_DESC(cookie, "Cookie of the running interface, for takeover by a crash kernel; secret");

/* --- who keeps this module loaded ---------------------------------------- */

/*
 * The IOMMU core takes a reference on ops->owner for each device that it probes, and
 * drops it when the device is released. As that only happens when this module is
 * unloaded, the module could never be unloaded. But the core accepts ops without an
 * owner if they are not in a module's memory. So a copy of the ops is registered, and
 * this file takes the references. A device has one while a driver is bound to it, except
 * in the identity domain: there nothing of this module is used, and the driver does not
 * notice when it is unloaded. A driver that manages DMA itself (VFIO) changes the domain
 * while it is bound, so it always has one.
 */
static struct iommu_ops *pviommu_copy_ops(u64 features)
{
	struct iommu_ops *ops;

	ops = kmemdup(&pviommu_ops, sizeof(pviommu_ops), GFP_KERNEL);
	if (ops && !(features & PVIOMMU_F_BYPASS))
		ops->identity_domain = NULL;
	return ops;
}

/* A driver is about to be bound */
static void pviommu_pin(struct pviommu *pv, struct device *dev)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, dev);
	if (ep && !ep->pinned &&
	    (pviommu_manages_dma(dev) || !pviommu_in_bypass(ep))) {
		ep->pinned = try_module_get(THIS_MODULE);
		if (!ep->pinned)
			dev_warn(dev, "gets a driver while its IOMMU driver is unloaded: bind it again if it does not work\n");
	}
	mutex_unlock(&pv->lock);
}

/* A driver is gone, or was not bound after all */
static void pviommu_unpin(struct pviommu *pv, struct device *dev)
{
	struct pviommu_endpoint *ep;

	mutex_lock(&pv->lock);
	ep = pviommu_find_endpoint(pv, dev);
	if (ep)
		WRITE_ONCE(ep->adopted, false);
	if (ep && ep->pinned) {
		ep->pinned = false;
		module_put(THIS_MODULE);
	}
	mutex_unlock(&pv->lock);
}

/* Called with the device's lock held. Unloading takes that lock, too, and waits for this. */
static int pviommu_bus_notify(struct notifier_block *nb, unsigned long action,
			      void *data)
{
	switch (action) {
	case BUS_NOTIFY_BIND_DRIVER:
		pviommu_pin(pviommu_instance, data);
		pviommu_recover_bound(pviommu_instance, data);
		break;
	case BUS_NOTIFY_UNBOUND_DRIVER:
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
		pviommu_recover_unbound(pviommu_instance, data);
		pviommu_unpin(pviommu_instance, data);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pviommu_bus_nb = {
	.notifier_call = pviommu_bus_notify,
};

/* --- devices that are bound when we come or go --------------------------- */

/**
 * struct candidates - devices that are, or may become, endpoints
 * @n: how many
 * @dev: each referenced
 */
struct candidates {
	unsigned int n;
	struct device *dev[];
};

static void candidates_free(struct candidates *c)
{
	while (c->n)
		put_device(c->dev[--c->n]);
	kfree(c);
}

/* NULL without memory. A device that is added meanwhile may be left out: it has no driver yet. */
static struct candidates *candidates_find(bool (*match)(struct pci_dev *pdev))
{
	struct pci_dev *pdev = NULL;
	unsigned int max = 0;
	struct candidates *c;

	for_each_pci_dev(pdev)
		max++;
	c = kzalloc(struct_size(c, dev, max), GFP_KERNEL);
	if (!c)
		return NULL;
	for_each_pci_dev(pdev) {
		if (c->n < max && match(pdev))
			c->dev[c->n++] = get_device(&pdev->dev);
	}
	return c;
}

/*
 * With the locks of all endpoints held no driver is bound or unbound. The PCI core also
 * takes several device locks at a time, in the order of the bus, which is the order in
 * which the candidates were found.
 */
static void candidates_lock(struct candidates *c)
{
	unsigned int i;

	for (i = 0; i < c->n; i++)
		device_lock(c->dev[i]);
}

static void candidates_unlock(struct candidates *c)
{
	unsigned int i;

	for (i = c->n; i; i--)
		device_unlock(c->dev[i - 1]);
}

static bool is_endpoint(struct pci_dev *pdev)
{
	bool found;

	mutex_lock(&pviommu_instance->lock);
	found = pviommu_find_endpoint(pviommu_instance, &pdev->dev);
	mutex_unlock(&pviommu_instance->lock);
	return found;
}

static bool is_adopted(struct device *dev)
{
	struct pviommu_endpoint *ep;
	bool adopted;

	mutex_lock(&pviommu_instance->lock);
	ep = pviommu_find_endpoint(pviommu_instance, dev);
	adopted = ep && ep->adopted;
	mutex_unlock(&pviommu_instance->lock);
	return adopted;
}

/*
 * A group counts the bound drivers that use the DMA API, so that its domain is not changed
 * while they do. The bus counts them when it binds and unbinds a device. For a device that
 * was bound before it had a group that is made up for here, in the same way. Without it, the
 * count would become negative when the device is unbound.
 */
static void count_bound_drivers(struct candidates *c)
{
	unsigned int i;

	for (i = 0; i < c->n; i++) {
		struct device *dev = c->dev[i];

		if (is_adopted(dev) && dev->bus->dma_configure(dev))
			dev_warn(dev, "unbind its driver before you change its IOMMU domain\n");
	}
}

/*
 * The reverse, as a group must not be freed while it counts drivers. Only devices in the
 * identity domain should have a driver now: see pviommu_pin().
 */
static void uncount_bound_drivers(struct candidates *c)
{
	unsigned int i;

	for (i = 0; i < c->n; i++) {
		struct device *dev = c->dev[i];

		if (dev->driver)
			dev->bus->dma_cleanup(dev);
	}
}

/* --- sleep and shutdown -------------------------------------------------- */

/*
 * Restore the bus numbers of the bridges above a device: without them its config space can't
 * be accessed, and the PCI core restores them only later.
 */
static void wake_bridges(struct pci_bus *bus)
{
	u32 buses;

	if (pci_is_root_bus(bus))
		return;
	wake_bridges(bus->parent);
	if (!bus->self)
		return; /* made up for virtual functions */
	pci_read_config_dword(bus->self, PCI_PRIMARY_BUS, &buses);
	buses &= 0xff000000;
	buses |= bus->primary | bus->busn_res.start << 8 |
		 bus->busn_res.end << 16;
	pci_write_config_dword(bus->self, PCI_PRIMARY_BUS, buses);
}

/*
 * Devices with a kernel driver are asleep by now; DMA of the others is stopped here. When
 * the machine wakes up, the VMM resets the devices, and with them the interface. But nobody
 * does when a kernel hands over to the image that it has loaded from hibernation, which has
 * another cookie: so the interface is stopped.
 */
static int pviommu_syscore_suspend(void *data)
{
	pviommu_silence(data);
	pviommu_stop(data);
	return 0;
}

/* Devices are still asleep. When they wake up, their domains are as they were. */
static void pviommu_syscore_resume(void *data)
{
	struct pviommu *pv = data;
	struct pviommu_endpoint *ep;
	int ret;

	list_for_each_entry(ep, &pv->endpoints, node)
		wake_bridges(ep->door.pdev->bus);
	ret = pviommu_restart(pv);
	if (ret)
		pr_err("not all could be restored after sleep: %d\n", ret);
}

/*
 * Keep user space from writing to config space of a device for good. A reset in progress would
 * restore it afterwards, so wait for that, within reason.
 */
static void close_config_space(struct pci_dev *pdev)
{
	bool closed;

	if (read_poll_timeout(pci_cfg_access_trylock, closed, closed, POLL_US, RESET_US, false,
			      pdev))
		pci_warn(pdev, "is being reset while the machine shuts down\n");
}

/*
 * Called after all drivers have shut down their devices. Devices that user space has are
 * still running: their DMA is stopped, as in bypass it would go to other memory. Other CPUs are
 * still running, too, so their users must not be able to enable DMA again. A kernel that is
 * started by kexec finds a stopped interface, which uses no memory of this kernel.
 */
static void pviommu_syscore_shutdown(void *data)
{
	struct pviommu *pv = data;
	struct pviommu_endpoint *ep;
	bool locked;

	/* For good: no device comes, goes, or is recovered any more */
	if (read_poll_timeout(mutex_trylock, locked, locked, POLL_US, LOCK_US, false, &pv->lock))
		pr_warn("is busy while the machine shuts down\n");
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (!pviommu_in_bypass(ep))
			close_config_space(ep->door.pdev);
	}
	pviommu_silence(pv);
	pviommu_stop(pv);
}

static const struct syscore_ops pviommu_syscore_ops = {
	.suspend = pviommu_syscore_suspend,
	.resume = pviommu_syscore_resume,
	.shutdown = pviommu_syscore_shutdown,
};

static struct syscore pviommu_syscore = {
	.ops = &pviommu_syscore_ops,
};

/* --- module -------------------------------------------------------------- */

/*
 * The kernel that has crashed did not stop its devices, and without its domains their DMA
 * would go to other memory. A device that has a driver now was set up by this kernel.
 */
static void stop_crashed_dma(struct candidates *c)
{
	unsigned int i;

	for (i = 0; i < c->n; i++) {
		device_lock(c->dev[i]);
		if (!c->dev[i]->driver)
			pviommu_master_off(to_pci_dev(c->dev[i]));
		device_unlock(c->dev[i]);
	}
}

static struct pviommu *start_interface(struct candidates *c)
{
	struct pci_dev *pdev = to_pci_dev(c->dev[0]);
	struct pviommu *pv;
	int ret = -ENOMEM;
	u16 regs;

	pv = pviommu_create(clamp(rings, 1U,
				  min(num_present_cpus(), PVIOMMU_MAX_RINGS)),
			    !config_doorbell);
	if (!pv)
		return ERR_PTR(-ENOMEM);

	regs = pviommu_cap_find(pdev);
	pv->features = pviommu_cap_read(pdev, regs, PVIOMMU_CAP_FEATURES_OFF) &
		       PVIOMMU_WANTED_FEATURES;
	pv->ops = pviommu_copy_ops(pv->features);
	if (pv->features & PVIOMMU_F_PASID)
		pv->iommu.max_pasids = PVIOMMU_MAX_PASIDS;
	pv->cookie = takeover;
	if (takeover)
		stop_crashed_dma(c);
	pviommu_door_first(pv, pdev, regs);
	if (pv->ops)
		ret = pviommu_start(pv);
	if (ret) {
		kfree(pv->ops);
		pviommu_destroy(pv);
		return ERR_PTR(ret);
	}
	return pv;
}

static void stop_interface(struct pviommu *pv)
{
	pviommu_recover_stop(pv);
	pviommu_events_stop(pv);
	if (pviommu_stop(pv)) {
		/* Better leak the memory than have the host write to it after it was freed */
		pr_err("the host may still use our memory, which is not freed\n");
		return;
	}
	kfree(pv->ops);
	pviommu_destroy(pv);
}

/*
 * Where firmware names no IOMMU for a device the core asks the driver that was registered
 * first, and nobody else. Intel's and AMD's are built in, and register before us if the
 * machine has such an IOMMU, whether or not that is in charge of our devices.
 */
static bool core_asks_us(struct pviommu *pv)
{
	if (READ_ONCE(pv->asked))
		return true;
	pr_err("the kernel asks the driver of another IOMMU for all devices, and not this one: boot with intel_iommu=off or amd_iommu=off\n");
	return false;
}

/* With the locks of the candidates held */
static int register_interface(struct pviommu *pv, struct candidates *c)
{
	int ret;

	ret = iommu_device_sysfs_add(&pv->iommu, NULL, NULL, "pv-iommu");
	if (ret)
		return ret;
	ret = iommu_device_register(&pv->iommu, pv->ops, NULL);
	if (ret)
		goto err_sysfs;
	if (!core_asks_us(pv)) {
		ret = -ENODEV;
		goto err_register;
	}
	count_bound_drivers(c);
	return 0;

err_register:
	iommu_device_unregister(&pv->iommu);
err_sysfs:
	iommu_device_sysfs_remove(&pv->iommu);
	return ret;
}

static int setup(struct candidates *c)
{
	struct pviommu *pv;
	int ret;

	pv = start_interface(c);
	if (IS_ERR(pv))
		return PTR_ERR(pv);

	pviommu_instance = pv;
	ret = bus_register_notifier(&pci_bus_type, &pviommu_bus_nb);
	if (ret)
		goto err_stop;

	candidates_lock(c);
	ret = register_interface(pv, c);
	candidates_unlock(c);
	if (ret)
		goto err_notifier;

	pviommu_events_start(pv);
	pviommu_debugfs_add(pv);
	pviommu_syscore.data = pv;
	register_syscore(&pviommu_syscore);
	pr_info("%u rings, doorbell by %s\n", pv->nr_rings,
		pv->tracked ? "page" : "config space");
	return 0;

err_notifier:
	bus_unregister_notifier(&pci_bus_type, &pviommu_bus_nb);
err_stop:
	pviommu_instance = NULL;
	stop_interface(pv);
	return ret;
}

static int __init pviommu_init(void)
{
	struct candidates *c;
	int ret = -ENODEV;

	/* No device is added or removed between being a candidate and being an endpoint */
	pci_lock_rescan_remove();
	c = candidates_find(pviommu_candidate);
	if (!c)
		ret = -ENOMEM;
	else if (c->n)
		ret = setup(c);
	pci_unlock_rescan_remove();
	if (c)
		candidates_free(c);
	return ret;
}
module_init(pviommu_init);

static void __exit pviommu_exit(void)
{
	struct pviommu *pv = pviommu_instance;
	struct candidates *c;

	unregister_syscore(&pviommu_syscore);
	pviommu_debugfs_remove(pv);

	/* No endpoint is added until the IOMMU core does not probe devices for us any more */
	pci_lock_rescan_remove();
	c = candidates_find(is_endpoint);
	if (c) {
		candidates_lock(c);
		uncount_bound_drivers(c);
	}
	iommu_device_unregister(&pv->iommu);
	if (c)
		candidates_unlock(c);
	pci_unlock_rescan_remove();
	if (c)
		candidates_free(c);

	bus_unregister_notifier(&pci_bus_type, &pviommu_bus_nb);
	iommu_device_sysfs_remove(&pv->iommu);
	pviommu_instance = NULL;
	stop_interface(pv);
}
module_exit(pviommu_exit);

MODULE_ALIAS("pv-iommu");
/* Without vfio_pv, VFIO's type1 would need allow_unsafe_interrupts */
MODULE_SOFTDEP("post: vfio_pv");
MODULE_DESCRIPTION("Paravirtual IOMMU, guest driver");
MODULE_LICENSE("GPL");
