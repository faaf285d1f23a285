// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: the capability in PCI config space.
 *
 * The registers are in a vendor-specific capability of each endpoint, or in a
 * vendor-specific extended one where the first 256 bytes had no room for it.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

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

/* --- by which device ----------------------------------------------------- */

/* The control register; all ones if the device does not have it any more */
static u32 door_control(const struct pviommu_door *door)
{
	if (pci_dev_is_disconnected(door->pdev) ||
	    !cap_is_ours(door->pdev, door->regs))
		return ~0U;
	return pviommu_cap_read(door->pdev, door->regs, PVIOMMU_CAP_CONTROL_OFF);
}

/*
 * Find the door, and read its control register. If its device does not answer, another
 * endpoint becomes the door. NULL if none answers. Called under RCU.
 */
static struct pviommu_door *door_find(struct pviommu *pv, u32 *control)
{
	struct pviommu_door *door = rcu_dereference(pv->door);
	struct pviommu_endpoint *ep;

	if (!door)
		return NULL;
	*control = door_control(door);
	if (*control != ~0U)
		return door;
	list_for_each_entry_rcu(ep, &pv->endpoints, node) {
		*control = door_control(&ep->door);
		if (*control == ~0U)
			continue;
		rcu_assign_pointer(pv->door, &ep->door);
		return &ep->door;
	}
	return NULL;
}

/**
 * pviommu_door_first() - set the door while there is no endpoint
 * @pv: the interface, its lock held unless it is not shared (any more)
 * @pdev: the device; NULL for none, which drops the reference on the last one
 * @regs: what pviommu_cap_find() returned
 *
 * Context: process, may sleep.
 */
void pviommu_door_first(struct pviommu *pv, struct pci_dev *pdev, u16 regs)
{
	rcu_assign_pointer(pv->door, NULL);
	synchronize_rcu();
	pci_dev_put(pv->first.pdev);
	pv->first.pdev = pci_dev_get(pdev);
	pv->first.regs = regs;
	if (pdev)
		rcu_assign_pointer(pv->door, &pv->first);
}

/**
 * pviommu_door_enter() - use a new endpoint as the door, instead of a device that is none
 * @pv: the interface, its lock held
 * @ep: the endpoint, on the list
 *
 * When an endpoint is removed, pviommu_door_leave() replaces it; for other devices nobody
 * does that.
 */
void pviommu_door_enter(struct pviommu *pv, struct pviommu_endpoint *ep)
{
	lockdep_assert_held(&pv->lock);
	if (rcu_access_pointer(pv->door) == &pv->first)
		rcu_assign_pointer(pv->door, &ep->door);
}

/**
 * pviommu_door_leave() - replace an endpoint that is about to be freed as the door
 * @pv: the interface, its lock not held
 * @ep: the endpoint, no longer on the list
 *
 * On return nobody uses it as the door.
 *
 * Context: process, may sleep.
 */
void pviommu_door_leave(struct pviommu *pv, struct pviommu_endpoint *ep)
{
	struct pviommu_endpoint *other;

	/* After this door_find() can't find it on the list and make it the door again */
	synchronize_rcu();
	mutex_lock(&pv->lock);
	other = list_first_entry_or_null(&pv->endpoints,
					 struct pviommu_endpoint, node);
	if (rcu_access_pointer(pv->door) == &ep->door)
		rcu_assign_pointer(pv->door, other ? &other->door : NULL);
	mutex_unlock(&pv->lock);
	synchronize_rcu();
}

/* --- commands and doorbells ---------------------------------------------- */

/* Write a command and check the answer; -EIO for any refusal */
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
	control = door_control(door);
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
	u32 control;

	rcu_read_lock();
	door = door_find(pv, &control);
	if (door)
		ret = door_command(door, command, gpa);
	rcu_read_unlock();
	return ret;
}

/**
 * pviommu_cap_stopped() - has the interface been stopped
 * @pv: the interface
 *
 * Looks for another door if the device of the current one does not answer.
 *
 * Context: any.
 * Return: true if a control register says so; false also if no device answers, as the
 * doorbell page may still work then.
 */
bool pviommu_cap_stopped(struct pviommu *pv)
{
	u32 control;
	bool known;

	rcu_read_lock();
	known = door_find(pv, &control);
	rcu_read_unlock();
	return known && PVIOMMU_CONTROL_STATE(control) == PVIOMMU_STATE_STOPPED;
}

/**
 * pviommu_cap_offered() - the features that the host offers now
 * @pv: the interface
 *
 * Return: the low half of PVIOMMU_F_*; 0 if nobody answers.
 */
u32 pviommu_cap_offered(struct pviommu *pv)
{
	struct pviommu_door *door;
	u32 control, offered = 0;

	rcu_read_lock();
	door = door_find(pv, &control);
	if (door)
		offered = pviommu_cap_read(door->pdev, door->regs, PVIOMMU_CAP_FEATURES_OFF);
	rcu_read_unlock();
	return offered;
}

/**
 * pviommu_cap_doorbell() - ring by config space
 * @pv: the interface
 * @value: PVIOMMU_DOORBELL()
 *
 * This is slow, as it goes by way of the VMM, but also works where pages can't be tracked.
 *
 * Context: any.
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
