// SPDX-License-Identifier: GPL-2.0-only
/*
 * Isolation groups: which ones a VM was given, and which domain each is attached to.
 *
 * Groups exist on the host before any VM. The VMM adds them to its container. The guest
 * moves them between domains, by way of their endpoints, but can neither make nor change
 * them. A group is always in exactly one domain, of which "blocked" is one.
 */
#include <linux/device/driver.h>
#include <linux/error-injection.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/* All groups of all VMs, to find the VM that a device belongs to */
static DEFINE_MUTEX(pviommu_groups_lock);
static LIST_HEAD(pviommu_groups);
static struct device_driver *variant_driver;

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Accept groups whose interrupts the platform does not isolate");

int pviommu_host_register_driver(struct device_driver *drv)
{
	int ret = 0;

	mutex_lock(&pviommu_groups_lock);
	if (variant_driver)
		ret = -EBUSY;
	else
		variant_driver = drv;
	mutex_unlock(&pviommu_groups_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(pviommu_host_register_driver);

void pviommu_host_unregister_driver(struct device_driver *drv)
{
	mutex_lock(&pviommu_groups_lock);
	if (variant_driver == drv)
		variant_driver = NULL;
	mutex_unlock(&pviommu_groups_lock);
}
EXPORT_SYMBOL_GPL(pviommu_host_unregister_driver);

/* Which drivers the devices of a group are bound to */
struct group_scan {
	struct device *ours;	/* the first one that is bound to our driver, referenced */
	bool others;		/* another driver has one of them */
};

static int scan_device(struct device *dev, void *data)
{
	const struct device_driver *drv = READ_ONCE(dev->driver);
	struct group_scan *scan = data;

	if (drv && drv == variant_driver)
		scan->ours = scan->ours ?: get_device(dev);
	else if (drv && !(dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev))))
		scan->others = true;
	return 0;
}

/* A device of the group that is bound to our driver, referenced; NULL if others have one */
static struct device *group_device(struct iommu_group *group)
{
	struct group_scan scan = {};

	lockdep_assert_held(&pviommu_groups_lock);

	iommu_group_for_each_dev(group, &scan, scan_device);
	if (!scan.others)
		return scan.ours;
	put_device(scan.ours);
	return NULL;
}

/* Takes any device of the group, even one without a driver; referenced, as it may be unplugged */
static int first_device(struct device *dev, void *data)
{
	*(struct device **)data = get_device(dev);
	return 1;
}

static bool region_counts(const struct iommu_resv_region *region)
{
	return region->type != IOMMU_RESV_DIRECT_RELAXABLE;
}

/**
 * pviommu_range_reserved() - does a range of IOVAs overlap a reserved region
 * @vm: the VM, mem_lock held
 * @iova: first IOVA
 * @last: last IOVA
 *
 * Return: true if it overlaps one of any group of the VM, and so can't be mapped.
 */
bool pviommu_range_reserved(struct pviommu_vm *vm, u64 iova, u64 last)
{
	const struct iommu_resv_region *region;
	const struct pviommu_group *grp;

	lockdep_assert_held(&vm->mem_lock);

	list_for_each_entry(grp, &vm->groups, entry)
		list_for_each_entry(region, &grp->regions, list)
			if (region_counts(region) && last >= region->start &&
			    iova <= region->start + region->length - 1)
				return true;
	return false;
}

/**
 * pviommu_domain_conflicts() - does a mapping overlap a reserved region of a group
 * @domain: the domain, locked
 * @grp: the group
 *
 * Return: true if one does, and the group can't be attached.
 */
bool pviommu_domain_conflicts(struct pviommu_domain *domain,
			      const struct pviommu_group *grp)
{
	const struct iommu_resv_region *region;

	lockdep_assert_held(&domain->lock);

	list_for_each_entry(region, &grp->regions, list)
		if (region_counts(region) &&
		    pviommu_mapping_first(domain, region->start,
					  region->start + region->length - 1))
			return true;
	return false;
}

/**
 * pviommu_group_is_cut() - has a group been cut off, or is it being, and is not settled yet
 * @grp: the group
 *
 * Context: any; but what it says stays true only with attach_lock held.
 * Return: true from pviommu_group_cut() to pviommu_group_settle(). Until then no domain
 * can be attached to it.
 */
bool pviommu_group_is_cut(const struct pviommu_group *grp)
{
	return atomic_read(&grp->cut) != PVIOMMU_CUT_NONE;
}

/* The kernel uses the handle of the current domain until the next one is in place */
static int hw_replace(struct pviommu_group *grp, struct iommu_domain *hw)
{
	int ret = iommu_replace_group_handle(grp->group, hw,
					     &grp->handles[grp->next_handle]);

	if (!ret)
		grp->next_handle ^= 1;
	return ret;
}

/* Fault injection can make it fail */
static noinline __noclone int hw_move_group(struct pviommu_group *grp,
					    struct iommu_domain *hw)
{
	return grp->domain ? hw_replace(grp, hw) :
			     iommu_attach_group(hw, grp->group);
}
ALLOW_ERROR_INJECTION(hw_move_group, ERRNO);

/*
 * The domain is locked, as VT-d may remove a level from its page table to fit the device:
 * nobody may map or unmap at that time.
 */
static int hw_attach(struct pviommu_group *grp, struct pviommu_domain *domain)
{
	int ret = -ERANGE;

	pviommu_domain_lock(domain);
	mutex_lock(&grp->vm->attach_lock);
	if (pviommu_domain_conflicts(domain, grp))
		goto out_unlock;
	/* A cut that has not begun by now waits for attach_lock */
	ret = pviommu_group_is_cut(grp) ? -EBUSY : hw_move_group(grp, domain->hw);
	if (ret && ret != -EINVAL && ret != -ENOMEM && ret != -EBUSY)
		ret = -EIO;
out_unlock:
	mutex_unlock(&grp->vm->attach_lock);
	mutex_unlock(&domain->lock);
	return ret;
}

static void hw_detach(struct pviommu_group *grp, struct pviommu_domain *domain)
{
	mutex_lock(&grp->vm->attach_lock);
	iommu_detach_group_handle(domain->hw, grp->group);
	mutex_unlock(&grp->vm->attach_lock);
}

/*
 * VT-d and AMD-Vi block a device before they find that they can't attach it. Some kernels take
 * it to be where it was nevertheless, so it has to leave that domain before it can be attached
 * again. Not if nothing was tried (-ERANGE, -EBUSY), and not if a cut has come: then it must stay
 * blocked. Return: 0, or a negative errno, and then the group is blocked.
 */
static int hw_put_back(struct pviommu_group *grp, struct pviommu_domain *old, int error)
{
	int ret = 0;

	if (!COMPAT_ATTACH_MAY_BLOCK || !old || error == -ERANGE || error == -EBUSY)
		return 0;
	pviommu_domain_lock(old);
	mutex_lock(&grp->vm->attach_lock);
	if (!pviommu_group_is_cut(grp)) {
		iommu_detach_group_handle(old->hw, grp->group);
		ret = iommu_attach_group(old->hw, grp->group);
	}
	mutex_unlock(&grp->vm->attach_lock);
	mutex_unlock(&old->lock);
	return ret;
}

/**
 * pviommu_group_attach() - move a group to another domain, in one step
 * @grp: the group
 * @domain: where to; NULL for blocked, which can't fail
 *
 * Context: process, vm->cfg_lock and vm->mem_lock held; takes domain->lock and
 * vm->attach_lock.
 * Return: 0; -ENOENT the domain is being freed; -ERANGE it has mappings in
 * reserved regions of the group; -EINVAL it does not fit the group's physical IOMMU;
 * -EBUSY the group is being cut off, or the host's kernel is resetting a device of it;
 * -ENOMEM; -EIO. On failure the group is where it was, or has been cut off; or it is blocked, if
 * the kernel can't put it back either.
 */
int pviommu_group_attach(struct pviommu_group *grp,
			 struct pviommu_domain *domain)
{
	struct pviommu_domain *old = grp->domain;
	int ret = 0;

	lockdep_assert_held(&grp->vm->cfg_lock);
	lockdep_assert_held(&grp->vm->mem_lock);

	/* Before the test for @old: the group has left it, whatever the records say */
	if (domain && pviommu_group_is_cut(grp))
		return -EBUSY;
	if (old == domain)
		return 0;
	if (domain && domain->dead)
		return -ENOENT;
	if (domain)
		ret = hw_attach(grp, domain);
	else
		hw_detach(grp, old);
	if (ret && !hw_put_back(grp, old, ret))
		return ret;
	if (ret)
		domain = NULL;
	if (domain) {
		kref_get(&domain->kref);
		domain->nr_groups++;
	}
	grp->domain = domain;
	if (old) {
		old->nr_groups--;
		pviommu_domain_put(old);
	}
	return ret;
}

/**
 * pviommu_group_cut() - stop a group's DMA without waiting for the VMM
 * @grp: the group
 * @dev: a device of it that is open
 *
 * A holder of any other lock may be waiting for memory of the VMM, which can take as
 * long as the VMM likes: only attach_lock is taken. It orders this and an attach, so
 * that the later of the two sees the other. On return the group can't be attached
 * before pviommu_group_settle().
 *
 * Context: process, may sleep. Devices of a group may be cut off concurrently.
 */
void pviommu_group_cut(struct pviommu_group *grp, struct device *dev)
{
	atomic_set(&grp->cut, PVIOMMU_CUT_BEGUN);
	mutex_lock(&grp->vm->attach_lock);
	/* Again: a concurrent cut may have been done, and even settled, meanwhile */
	atomic_set(&grp->cut, PVIOMMU_CUT_BEGUN);
	iommu_detach_group_handle(NULL, grp->group);
	pviommu_pasids_cut(grp, dev);
	atomic_set_release(&grp->cut, PVIOMMU_CUT_DONE);
	mutex_unlock(&grp->vm->attach_lock);
	schedule_work(&grp->cut_work);
}

/**
 * pviommu_group_settle() - bring the records of a group up to date after a cut
 * @grp: the group
 *
 * From then on it is in the blocked domain like any other group there, but held: it has to
 * be recovered before it can leave. Nothing happens if it was not cut off.
 *
 * Context: process, vm->cfg_lock and vm->mem_lock held.
 */
void pviommu_group_settle(struct pviommu_group *grp)
{
	lockdep_assert_held(&grp->vm->cfg_lock);

	/* Not while another cut is in progress, which will queue the work again */
	if (atomic_cmpxchg(&grp->cut, PVIOMMU_CUT_DONE, PVIOMMU_CUT_NONE) !=
	    PVIOMMU_CUT_DONE)
		return;
	pviommu_group_attach(grp, NULL);
	pviommu_pasids_end(grp);
	grp->held = true;
}

static void cut_work(struct work_struct *work)
{
	struct pviommu_group *grp = container_of(work, struct pviommu_group, cut_work);

	down_read(&grp->vm->mem_lock);
	mutex_lock(&grp->vm->cfg_lock);
	pviommu_group_settle(grp);
	mutex_unlock(&grp->vm->cfg_lock);
	up_read(&grp->vm->mem_lock);
}

/**
 * pviommu_group_isolated() - has a group been cut off after an error
 * @grp: the group, its VM's cfg_lock held
 *
 * Return: true from the cut until the group is recovered.
 */
bool pviommu_group_isolated(const struct pviommu_group *grp)
{
	lockdep_assert_held(&grp->vm->cfg_lock);

	return grp->held || pviommu_group_is_cut(grp);
}

/**
 * pviommu_group_domain_id() - the id of the domain that a group is in
 * @grp: the group, its VM's cfg_lock held
 *
 * Return: the id for guest and administrator. For a group that was cut off that is
 * PVIOMMU_DOMAIN_BLOCKED, even if it is not settled yet.
 */
u32 pviommu_group_domain_id(const struct pviommu_group *grp)
{
	lockdep_assert_held(&grp->vm->cfg_lock);

	return grp->domain && !pviommu_group_isolated(grp) ? grp->domain->id :
							      PVIOMMU_DOMAIN_BLOCKED;
}

/**
 * pviommu_group_bypass() - move a group to bypass
 * @grp: the group
 *
 * A VM has one bypass domain, unless its groups need different ones.
 *
 * Context: process, vm->cfg_lock and vm->mem_lock held. May pin all memory of the VM.
 * Return: 0, or a negative errno; then the group is where it was, or blocked as after
 * pviommu_group_attach().
 */
int pviommu_group_bypass(struct pviommu_group *grp)
{
	struct pviommu_domain *domain;
	struct device *dev = NULL;
	int ret;

	if (grp->domain && grp->domain->kind == PVIOMMU_KIND_BYPASS)
		return 0;
	list_for_each_entry(domain, &grp->vm->bypass, bypass_entry) {
		ret = pviommu_group_attach(grp, domain);
		/* Only -EINVAL means that the group needs another domain */
		if (ret != -EINVAL)
			return ret;
	}

	iommu_group_for_each_dev(grp->group, &dev, first_device);
	if (!dev)
		return -EIO;
	domain = pviommu_domain_create(grp->vm, PVIOMMU_KIND_BYPASS, dev,
				       &grp->flags);
	put_device(dev);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	ret = pviommu_group_attach(grp, domain);
	/* The group has a reference now; if attaching it failed, this frees the domain */
	pviommu_domain_put(domain);
	return ret;
}

/**
 * pviommu_group_default() - move a group to where it is without a guest driver
 * @grp: the group
 *
 * That is bypass; or blocked, if the administrator wants that (default_blocked), if bypass
 * is not possible, or if the group was cut off after an error. What is attached by PASID
 * is detached.
 *
 * Context: process, vm->cfg_lock and vm->mem_lock held. May pin all memory of the VM.
 * Return: 0; or a negative errno: why it is blocked instead of in bypass.
 */
int pviommu_group_default(struct pviommu_group *grp)
{
	bool blocked = pviommu_default_blocked || pviommu_group_isolated(grp);
	int ret = 0;

	pviommu_group_settle(grp);
	pviommu_pasids_end(grp);
	if (!blocked)
		ret = pviommu_group_bypass(grp);
	if (ret || blocked)
		pviommu_group_attach(grp, NULL);
	return ret;
}

/**
 * pviommu_groups_default() - move all groups to where they are without a guest driver
 * @vm: the VM, mem_lock and cfg_lock held
 * @warn: about a group whose bypass failed; if not, it is to be tried again
 *
 * Return: whether any group is blocked because bypass failed.
 */
bool pviommu_groups_default(struct pviommu_vm *vm, bool warn)
{
	struct pviommu_group *grp;
	bool failed = false;

	lockdep_assert_held(&vm->cfg_lock);

	list_for_each_entry(grp, &vm->groups, entry) {
		int ret = pviommu_group_default(grp);

		failed |= ret;
		if (ret && warn)
			pr_warn_ratelimited("VM %u: group %d is blocked, as bypass failed: %d\n",
					    vm->id, iommu_group_id(grp->group), ret);
	}
	return failed;
}

/**
 * pviommu_groups_block() - move all groups to the blocked domain
 * @vm: the VM, mem_lock and cfg_lock held
 */
void pviommu_groups_block(struct pviommu_vm *vm)
{
	struct pviommu_group *grp;

	lockdep_assert_held(&vm->cfg_lock);

	list_for_each_entry(grp, &vm->groups, entry) {
		pviommu_pasids_end(grp);
		pviommu_group_attach(grp, NULL);
	}
}

static int group_check(struct pviommu_group *grp)
{
	struct device *dev = group_device(grp->group);

	if (!dev)
		return -ENODEV;
	put_device(dev);
	if (iommu_group_has_isolated_msi(grp->group)) {
		grp->flags |= PVIOMMU_PROBE_MSI_ISOLATED;
		return 0;
	}
	if (allow_unsafe_interrupts)
		return 0;
	pr_warn_ratelimited("interrupts of group %d are not isolated, refused: see allow_unsafe_interrupts of pviommu_host\n",
			    iommu_group_id(grp->group));
	return -EPERM;
}

/*
 * Find out which IOVAs domains of this group can translate, by attaching one: some IOMMU
 * drivers set the width of a domain only when a device is attached.
 */
static int learn_window(struct pviommu_group *grp)
{
	struct device *dev = group_device(grp->group);
	struct iommu_domain *hw;
	int ret;

	/* The driver may have been unbound since group_check() */
	if (!dev)
		return -ENODEV;
	hw = pviommu_hw_alloc(dev, &grp->flags);
	if (IS_ERR(hw)) {
		ret = PTR_ERR(hw);
		goto out_put;
	}
	ret = iommu_attach_group(hw, grp->group);
	if (!ret) {
		grp->window_start = hw->geometry.aperture_start;
		/* Some page tables have no upper bound */
		grp->window_last = min(hw->geometry.aperture_end, PVIOMMU_IOVA_MAX);
		pviommu_pasids_learn(grp, hw, dev);
		iommu_detach_group(hw, grp->group);
	}
	iommu_domain_free(hw);
out_put:
	put_device(dev);
	return ret;
}

static void group_free(struct pviommu_group *grp)
{
	iommu_put_resv_regions(NULL, &grp->regions);
	xa_destroy(&grp->pasids);
	kfree(grp);
}

/**
 * pviommu_group_add() - a VM is given a group
 * @vm: the VM
 * @group: the group, owned by VFIO
 *
 * Return: 0; -ENODEV its devices are not bound to our driver; -EPERM its
 * interrupts are not isolated; or why it can't be put into its first domain.
 */
int pviommu_group_add(struct pviommu_vm *vm, struct iommu_group *group)
{
	struct pviommu_group *grp;
	int ret;

	grp = kzalloc(sizeof(*grp), GFP_KERNEL_ACCOUNT);
	if (!grp)
		return -ENOMEM;
	INIT_LIST_HEAD(&grp->regions);
	INIT_WORK(&grp->cut_work, cut_work);
	xa_init_flags(&grp->pasids, XA_FLAGS_ACCOUNT);
	grp->vm = vm;
	grp->group = group;

	mutex_lock(&pviommu_groups_lock);
	ret = group_check(grp) ?: learn_window(grp) ?:
	      iommu_get_group_resv_regions(group, &grp->regions);
	mutex_unlock(&pviommu_groups_lock);
	if (ret)
		goto err_free;

	/* Without pviommu_groups_lock, as all memory of this VM may be pinned now */
	down_write(&vm->mem_lock);
	mutex_lock(&vm->cfg_lock);
	/* A number of this VM's own: the guest must not learn of other groups of the host */
	grp->id = ++vm->last_group;
	/* A guest driver that runs will attach it: don't pin all memory for bypass */
	if (!READ_ONCE(vm->iface))
		ret = pviommu_group_default(grp);
	if (!ret) {
		list_add_tail(&grp->entry, &vm->groups);
		WRITE_ONCE(vm->nr_pasid_groups, vm->nr_pasid_groups + !!grp->pasid_bits);
	}
	mutex_unlock(&vm->cfg_lock);
	up_write(&vm->mem_lock);
	if (ret)
		goto err_free;
	mutex_lock(&pviommu_groups_lock);
	list_add_tail(&grp->global_entry, &pviommu_groups);
	mutex_unlock(&pviommu_groups_lock);
	return 0;

err_free:
	group_free(grp);
	return ret;
}

/**
 * pviommu_group_find() - find the record of a group that is in a container of ours
 * @group: the isolation group
 *
 * Return: the record, which stays while a device of the group is open; or NULL.
 */
struct pviommu_group *pviommu_group_find(struct iommu_group *group)
{
	struct pviommu_group *grp, *found = NULL;

	mutex_lock(&pviommu_groups_lock);
	list_for_each_entry(grp, &pviommu_groups, global_entry)
		if (grp->group == group)
			found = grp;
	mutex_unlock(&pviommu_groups_lock);
	return found;
}

/**
 * pviommu_group_remove() - a group is taken from a VM
 * @vm: the VM
 * @group: the group; none of its devices is open
 */
void pviommu_group_remove(struct pviommu_vm *vm, struct iommu_group *group)
{
	struct pviommu_group *grp = pviommu_group_find(group);

	if (!grp || grp->vm != vm)
		return;
	mutex_lock(&pviommu_groups_lock);
	list_del(&grp->global_entry);
	mutex_unlock(&pviommu_groups_lock);

	down_write(&vm->mem_lock);
	mutex_lock(&vm->cfg_lock);
	pviommu_group_attach(grp, NULL);
	list_del(&grp->entry);
	WRITE_ONCE(vm->nr_pasid_groups, vm->nr_pasid_groups - !!grp->pasid_bits);
	mutex_unlock(&vm->cfg_lock);
	up_write(&vm->mem_lock);
	group_free(grp);
}
