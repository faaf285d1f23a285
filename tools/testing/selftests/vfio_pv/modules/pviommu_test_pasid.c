// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gives a device of the emulator a PASID capability, which none of its devices has.
 *
 * A conventional device on the root bus is removed and found again. From then on, reads of its
 * config space show a root complex integrated endpoint of PCI Express with PASIDs. The kernel
 * does all the rest: it finds the capabilities, and its IOMMU driver makes a PASID table and
 * enables PASIDs. The device itself does not know; its requests have no PASID.
 *
 * To use PASIDs nevertheless, the IOMMU can be told (action=redirect) to treat requests of the
 * device without a PASID as requests with PASID 1. There is a field for that in the context
 * entry, which the kernel leaves 0.
 *
 * action=error, resume: tell the driver of a non-fatal error, as the PCI core does, and that it is
 * over.
 */
#include <linux/acpi.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#define FAKE_EXP	0x80	/* where to show the PCI Express capability */
#define FAKE_PASID	0x100	/* where to show the PASID capability */
#define FAKE_PASID_CTRL	(FAKE_PASID + PCI_PASID_CTRL)

/* VT-d, scalable mode */
#define RTADDR		0x20
#define ENTRY_ADDRESS	GENMASK_ULL(51, 12)
#define CTX_SIZE	32	/* bytes of a context entry, a table has those of 128 functions */
#define RID_PASID	GENMASK_ULL(19, 0)

static char *device = "0000:00:10.0";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "The device that gets a PASID capability");

static uint width = 8;
module_param(width, uint, 0444);
MODULE_PARM_DESC(width, "The width of its PASIDs");

static struct pci_bus *bus;
static unsigned int devfn;
static struct pci_ops *real_ops, fake_ops;
static u8 fake_next, fake_ctrl;

/* ---- config space ------------------------------------------------------ */

/* A byte of config space to show instead of the device's own; false if that is shown */
static bool fake_byte(int where, u8 *val)
{
	static const u8 exp[PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2] = {
		[PCI_CAP_LIST_ID] = PCI_CAP_ID_EXP,
		[PCI_EXP_FLAGS] = PCI_EXP_TYPE_RC_END << 4 | 2,
		/* PASIDs need end-to-end TLP prefixes */
		[PCI_EXP_DEVCAP2 + 2] = PCI_EXP_DEVCAP2_EE_PREFIX >> 16,
	};
	const u8 pasid[] = {
		PCI_EXT_CAP_ID_PASID, 0, 1, 0, 0, width, fake_ctrl, 0,
	};

	if (where == PCI_CAPABILITY_LIST)
		*val = FAKE_EXP;
	else if (where == FAKE_EXP + PCI_CAP_LIST_NEXT)
		*val = fake_next;
	else if (where >= FAKE_EXP && where < FAKE_EXP + (int)sizeof(exp))
		*val = exp[where - FAKE_EXP];
	else if (where >= FAKE_PASID && where < FAKE_PASID + (int)sizeof(pasid))
		*val = pasid[where - FAKE_PASID];
	else if (where >= PCI_CFG_SPACE_SIZE)
		*val = 0;
	else
		return false;
	return true;
}

static int fake_read(struct pci_bus *b, unsigned int fn, int where, int size, u32 *val)
{
	int ret = real_ops->read(b, fn, where, size, val), i;
	u8 byte;

	if (fn != devfn)
		return ret;
	for (i = 0; i < size; i++)
		if (fake_byte(where + i, &byte)) {
			*val &= ~(0xffU << 8 * i);
			*val |= (u32)byte << 8 * i;
		}
	return PCIBIOS_SUCCESSFUL;
}

static int fake_write(struct pci_bus *b, unsigned int fn, int where, int size, u32 val)
{
	u8 byte;

	if (fn != devfn || !fake_byte(where, &byte))
		return real_ops->write(b, fn, where, size, val);
	if (where == FAKE_PASID_CTRL)
		fake_ctrl = val & (PCI_PASID_CTRL_ENABLE | PCI_PASID_CTRL_EXEC |
				   PCI_PASID_CTRL_PRIV);
	return PCIBIOS_SUCCESSFUL;
}

/* Remove the device and have the kernel find it again */
static void find_again(struct pci_ops *ops)
{
	struct pci_dev *pdev;

	pci_lock_rescan_remove();
	pdev = pci_get_slot(bus, devfn);
	if (pdev)
		pci_stop_and_remove_bus_device(pdev);
	pci_dev_put(pdev);
	pci_bus_set_ops(bus, ops);
	pci_rescan_bus(bus);
	pci_unlock_rescan_remove();
}

/* ---- the IOMMU's context entry ------------------------------------------ */

static u64 root_table(void)
{
	struct acpi_dmar_hardware_unit *unit;
	struct acpi_table_header *dmar;
	void __iomem *regs;
	u64 root = 0;

	if (ACPI_FAILURE(acpi_get_table(ACPI_SIG_DMAR, 0, &dmar)))
		return 0;
	/* The emulator has one VT-d unit, which comes first in the table */
	unit = (void *)dmar + sizeof(struct acpi_table_dmar);
	regs = ioremap(unit->address, PAGE_SIZE);
	if (regs)
		root = readq(regs + RTADDR) & ENTRY_ADDRESS;
	iounmap(regs);
	acpi_put_table(dmar);
	return root;
}

/* Before the device's first request, as the IOMMU may cache the entry */
static int redirect(u32 pasid)
{
	u64 root = root_table(), table, *entry;

	if (!root)
		return -ENODEV;
	/* An entry of the root table names two tables, for half of the functions each */
	entry = phys_to_virt(root);
	table = entry[2 * bus->number + devfn / 128];
	if (!(table & 1))
		return -ENXIO;
	entry = phys_to_virt((table & ENTRY_ADDRESS) + devfn % 128 * CTX_SIZE);
	WRITE_ONCE(entry[1], (entry[1] & ~RID_PASID) | pasid);
	return 0;
}

/* ---- errors --------------------------------------------------------------- */

static int tell_driver(bool error)
{
	struct pci_dev *pdev = pci_get_slot(bus, devfn);
	const struct pci_error_handlers *handlers;
	int ret = -ENODEV;

	if (!pdev)
		return ret;
	device_lock(&pdev->dev);
	handlers = pdev->driver ? pdev->driver->err_handler : NULL;
	if (handlers) {
		ret = 0;
		if (error)
			handlers->error_detected(pdev, pci_channel_io_normal);
		else
			handlers->resume(pdev);
	}
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}

static int action_set(const char *val, const struct kernel_param *kp)
{
	if (!bus)
		return -EAGAIN;
	if (sysfs_streq(val, "redirect"))
		return redirect(1);
	if (sysfs_streq(val, "error"))
		return tell_driver(true);
	if (sysfs_streq(val, "resume"))
		return tell_driver(false);
	return -EINVAL;
}

static const struct kernel_param_ops action_ops = {
	.set = action_set,
};

module_param_cb(action, &action_ops, NULL, 0200);
MODULE_PARM_DESC(action, "redirect, error, resume");

/* ---- module ----------------------------------------------------------------- */

static int __init pviommu_test_pasid_init(void)
{
	unsigned int domain, number, slot, func;
	struct pci_dev *pdev;

	if (sscanf(device, "%x:%x:%x.%x", &domain, &number, &slot, &func) != 4)
		return -EINVAL;
	devfn = PCI_DEVFN(slot, func);
	pdev = pci_get_domain_bus_and_slot(domain, number, devfn);
	if (!pdev)
		return -ENODEV;
	if (!pci_is_root_bus(pdev->bus) || pci_is_pcie(pdev) ||
	    pci_read_config_byte(pdev, PCI_CAPABILITY_LIST, &fake_next)) {
		pci_dev_put(pdev);
		return -EINVAL;
	}
	bus = pdev->bus;
	pci_dev_put(pdev);

	real_ops = bus->ops;
	fake_ops = *real_ops;
	fake_ops.read = fake_read;
	fake_ops.write = fake_write;
	find_again(&fake_ops);
	return 0;
}
module_init(pviommu_test_pasid_init);

static void __exit pviommu_test_pasid_exit(void)
{
	find_again(real_ops);
}
module_exit(pviommu_test_pasid_exit);

MODULE_DESCRIPTION("A device with PASIDs, for tests");
MODULE_LICENSE("GPL");
