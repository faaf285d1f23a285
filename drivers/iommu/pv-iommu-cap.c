// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: the capability in PCI config space.
 *
 * The registers are in a vendor-specific capability of each endpoint, or in a
 * vendor-specific extended one where the first 256 bytes had no room for it.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/slab.h>

#include "pv-iommu.h"

static bool cap_is_ours(struct pci_dev *pdev, u16 regs)
{
	return pviommu_cap_read(pdev, regs, PVIOMMU_CAP_SIGNATURE_OFF) ==
	       PVIOMMU_CAP_SIGNATURE;
}

/**
 * pviommu_cap_find() - find our capability
 * @pdev: any PCI device
 *
 * Return: where PVIOMMU_CAP_ID_OFF is in config space, 0 if there is none.
 */
u16 pviommu_cap_find(struct pci_dev *pdev)
{
	u16 pos;

	for (pos = pci_find_capability(pdev, PCI_CAP_ID_VNDR); pos;
	     pos = pci_find_next_capability(pdev, pos, PCI_CAP_ID_VNDR)) {
		if (cap_is_ours(pdev, pos))
			return pos;
	}

	/* The extended header is 4 bytes longer: offsets count from there */
	pos = pci_find_vsec_capability(pdev, pdev->vendor, PVIOMMU_VSEC_ID);
	if (pos && cap_is_ours(pdev, pos + 4))
		return pos + 4;
	return 0;
}

/**
 * pviommu_cap_read() - read a register
 * @pdev: the device
 * @regs: what pviommu_cap_find() returned
 * @reg: PVIOMMU_CAP_*_OFF
 *
 * Return: its value, all ones if the device does not answer.
 */
u32 pviommu_cap_read(struct pci_dev *pdev, u16 regs, unsigned int reg)
{
	u32 value;

	if (pci_read_config_dword(pdev, regs + reg, &value))
		return ~0U;
	return value;
}

/* Command and answer by one device; returns -EIO for any refusal */
static int door_command(struct pviommu_door *door, u32 command, u64 gpa)
{
	struct pci_dev *pdev = door->pdev;
	u32 want = command == PVIOMMU_CMD_START ? PVIOMMU_STATE_RUNNING :
						  PVIOMMU_STATE_STOPPED;
	u32 control;

	pci_write_config_dword(pdev, door->regs + PVIOMMU_CAP_GPA_LO_OFF,
			       lower_32_bits(gpa));
	pci_write_config_dword(pdev, door->regs + PVIOMMU_CAP_GPA_HI_OFF,
			       upper_32_bits(gpa));
	pci_write_config_dword(pdev, door->regs + PVIOMMU_CAP_CONTROL_OFF,
			       command);
	control = pviommu_cap_read(pdev, door->regs, PVIOMMU_CAP_CONTROL_OFF);
	if (PVIOMMU_CONTROL_STATE(control) == want &&
	    !PVIOMMU_CONTROL_ERROR(control))
		return 0;

	if (control == ~0U)
		pci_err(pdev, "does not answer any more\n");
	else
		pci_err(pdev, "the host refuses to %s the paravirtual IOMMU: error %u\n",
			command == PVIOMMU_CMD_START ? "start" : "stop",
			PVIOMMU_CONTROL_ERROR(control));
	return -EIO;
}

/**
 * pviommu_cap_command() - write the control register
 * @pv: the interface
 * @command: PVIOMMU_CMD_*
 * @gpa: its argument
 *
 * Nothing else may use the capability at the same time.
 *
 * Return: 0, -ENODEV without a device to ask by, -EIO if the host refuses.
 */
int pviommu_cap_command(struct pviommu *pv, u32 command, u64 gpa)
{
	struct pviommu_door *door;
	int ret = -ENODEV;

	rcu_read_lock();
	door = rcu_dereference(pv->door);
	if (door)
		ret = door_command(door, command, gpa);
	rcu_read_unlock();
	return ret;
}

/**
 * pviommu_cap_running() - does the host still serve the interface
 * @pv: the interface
 *
 * Callable in any context.
 *
 * Return: whether its control register says so.
 */
bool pviommu_cap_running(struct pviommu *pv)
{
	struct pviommu_door *door;
	u32 control = ~0U;

	rcu_read_lock();
	door = rcu_dereference(pv->door);
	if (door)
		control = pviommu_cap_read(door->pdev, door->regs,
					   PVIOMMU_CAP_CONTROL_OFF);
	rcu_read_unlock();
	return PVIOMMU_CONTROL_STATE(control) == PVIOMMU_STATE_RUNNING;
}

/**
 * pviommu_cap_doorbell() - ring by config space
 * @pv: the interface
 * @value: PVIOMMU_DOORBELL()
 *
 * Slow, goes by way of the VMM; works where no page can be tracked.
 */
void pviommu_cap_doorbell(struct pviommu *pv, u32 value)
{
	struct pviommu_door *door;

	rcu_read_lock();
	door = rcu_dereference(pv->door);
	if (door)
		pci_write_config_dword(door->pdev,
				       door->regs + PVIOMMU_CAP_DOORBELL_OFF,
				       value);
	rcu_read_unlock();
}

static void door_replace(struct pviommu *pv, struct pviommu_door *door)
{
	struct pviommu_door *old;

	old = rcu_replace_pointer(pv->door, door, true);
	if (!old)
		return;
	synchronize_rcu();
	pci_dev_put(old->pdev);
	kfree(old);
}

/**
 * pviommu_door_set() - choose the device whose capability is used
 * @pv: the interface, its lock held once it is shared
 * @pdev: the device
 * @regs: what pviommu_cap_find() returned
 *
 * Return: 0 or -ENOMEM, then nothing has changed.
 */
int pviommu_door_set(struct pviommu *pv, struct pci_dev *pdev, u16 regs)
{
	struct pviommu_door *door;

	door = kzalloc(sizeof(*door), GFP_KERNEL);
	if (!door)
		return -ENOMEM;
	door->pdev = pci_dev_get(pdev);
	door->regs = regs;
	door_replace(pv, door);
	return 0;
}

/**
 * pviommu_door_clear() - let go of the device
 * @pv: the interface, no longer in use
 */
void pviommu_door_clear(struct pviommu *pv)
{
	door_replace(pv, NULL);
}
