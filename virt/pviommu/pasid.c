// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains that are attached to a group by PASID.
 *
 * A device that has PASIDs can tag a request with one. The physical IOMMU then translates
 * the request by the domain that is attached at this PASID, whichever domain the group
 * itself is in. If none is attached there, the request is blocked. The kernel attaches a
 * PASID to a group as a whole, so this is done here, too; devices of the group that have no
 * PASIDs are not affected.
 *
 * An attachment has two sides. The record, which holds a reference on the domain, changes
 * with vm->cfg_lock held. The IOMMU's side changes with vm->attach_lock held as well. As
 * no other lock of the engine is taken under attach_lock, a group can be cut off, with its
 * PASIDs, under that lock alone. What is left then are records that are not attached, until
 * the group is settled.
 */
#include <linux/error-injection.h>
#include <linux/log2.h>
#include <linux/pci-ats.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/* To the kernel, PASID 0 stands for requests without a PASID */
#define PASID_FIRST	1

/*
 * IOMMU drivers keep tables for all PASIDs that were ever attached, as long as the device is
 * there, and charge them to nobody: VT-d's driver a page for each 64 PASIDs.
 */
#define PASID_MAX_BITS	16

struct pviommu_pasid {
	struct pviommu_domain *domain;	/* a reference, and counted in its nr_pasids */
	bool attached;			/* the IOMMU has it; vm->attach_lock */
	struct iommu_attach_handle handle;
};

static bool pasid_enabled(struct device *dev)
{
	int status = dev_is_pci(dev) ? pci_pasid_status(to_pci_dev(dev)) : 0;

	return status > 0 && (status & PCI_PASID_CTRL_ENABLE);
}

#ifdef PVIOMMU_HAVE_BLOCKED_PASID
static bool pasids_flushable(struct device *dev)
{
	return true;
}
#else
/*
 * VT-d's driver of these kernels decides when a PASID is attached whether it will flush the
 * device's translation cache (ATS), by whether that is on at this time. Which depends on the
 * domain that the group is in, so flushes would be left out later on.
 */
static bool pasids_flushable(struct device *dev)
{
	return !dev_is_pci(dev) || !pci_ats_supported(to_pci_dev(dev));
}
#endif

/* The number of PASIDs of a group is the least that any of its devices with PASIDs has */
static int scan_pasids(struct device *dev, void *data)
{
	u32 max = dev->iommu->max_pasids, *least = data;

	if (max)
		*least = pasids_flushable(dev) ? min(*least, max) : 0;
	return 0;
}

/**
 * pviommu_pasids_learn() - find out how many PASIDs a group has
 * @grp: the group, which is not known to others yet; its pasid_bits are set
 * @hw: a domain that the group is attached to for the moment
 * @dev: a device of the group that is bound to our driver
 *
 * A PASID is attached and detached again, as only this tells whether the IOMMU's driver
 * supports it.
 */
void pviommu_pasids_learn(struct pviommu_group *grp, struct iommu_domain *hw,
			  struct device *dev)
{
	u32 max = U32_MAX;

	iommu_group_for_each_dev(grp->group, &max, scan_pasids);
	if (max == U32_MAX || max <= PASID_FIRST)
		return;
	if (iommu_attach_device_pasid(hw, dev, PASID_FIRST, &grp->handles[0]))
		return;
	iommu_detach_device_pasid(hw, dev, PASID_FIRST);
	grp->pasid_bits = min(ilog2(max), PASID_MAX_BITS);
}

/**
 * pviommu_endpoint_learn_pasids() - find out whether an endpoint has PASIDs
 * @ep: the endpoint, just opened; its pasid_bits are set
 *
 * Not to be asked later, when an error may have switched PASIDs off for a while.
 */
void pviommu_endpoint_learn_pasids(struct pviommu_endpoint *ep)
{
	ep->pasid_bits = pasid_enabled(ep->dev) ? ep->group->pasid_bits : 0;
}

u32 pviommu_endpoint_pasid_bits(const struct pviommu_endpoint *ep)
{
	return ep->pasid_bits;
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_pasid_bits);

/**
 * pviommu_pasid_check() - can a domain be attached to an endpoint by a PASID
 * @ep: the endpoint
 * @pasid: the PASID
 *
 * Return: 0; -EOPNOTSUPP the endpoint has no PASIDs; -ERANGE not this one.
 */
int pviommu_pasid_check(const struct pviommu_endpoint *ep, u32 pasid)
{
	if (!ep->pasid_bits)
		return -EOPNOTSUPP;
	return pasid < PASID_FIRST || pasid >> ep->pasid_bits ? -ERANGE : 0;
}

/**
 * pviommu_pasid_domain() - the domain that is attached at a PASID of a group
 * @grp: the group, its VM's cfg_lock held
 * @pasid: the PASID
 *
 * Return: the domain, or NULL: blocked.
 */
struct pviommu_domain *pviommu_pasid_domain(struct pviommu_group *grp, u32 pasid)
{
	const struct pviommu_pasid *at = xa_load(&grp->pasids, pasid);

	lockdep_assert_held(&grp->vm->cfg_lock);

	return at ? at->domain : NULL;
}

/**
 * pviommu_pasids_attached() - count the PASIDs of a group that have a domain
 * @grp: the group, its VM's cfg_lock held
 *
 * Return: how many; 0 if the group was cut off, even if it is not settled yet.
 */
u32 pviommu_pasids_attached(struct pviommu_group *grp)
{
	struct pviommu_pasid *at;
	unsigned long pasid;
	u32 n = 0;

	lockdep_assert_held(&grp->vm->cfg_lock);

	if (pviommu_group_isolated(grp))
		return 0;
	xa_for_each(&grp->pasids, pasid, at)
		n++;
	return n;
}

/**
 * pviommu_pasid_leads_to() - is a domain attached at a PASID of any group of the VM
 * @vm: the VM, mem_lock held
 * @pasid: the PASID
 * @domain: the domain
 *
 * Return: whether it is.
 */
bool pviommu_pasid_leads_to(struct pviommu_vm *vm, u32 pasid,
			    const struct pviommu_domain *domain)
{
	struct pviommu_group *grp;
	bool found = false;

	lockdep_assert_held(&vm->mem_lock);

	mutex_lock(&vm->cfg_lock);
	list_for_each_entry(grp, &vm->groups, entry)
		found |= pviommu_pasid_domain(grp, pasid) == domain;
	mutex_unlock(&vm->cfg_lock);
	return found;
}

static void hw_detach_pasid(struct pviommu_group *grp, struct device *dev, u32 pasid,
			    struct pviommu_pasid *at)
{
	lockdep_assert_held(&grp->vm->attach_lock);

	if (!at->attached)
		return;
	iommu_detach_device_pasid(at->domain->hw, dev, pasid);
	at->attached = false;
}

#ifdef PVIOMMU_HAVE_REPLACE_PASID
static int hw_replace_pasid(struct pviommu_group *grp, struct device *dev, u32 pasid,
			    struct pviommu_pasid *old, struct pviommu_pasid *new)
{
	int ret = iommu_replace_device_pasid(new->domain->hw, dev, pasid, &new->handle);

	if (!ret)
		old->attached = false;
	return ret;
}
#else
/* For a moment nothing is attached. On failure the old domain is put back, if possible. */
static int hw_replace_pasid(struct pviommu_group *grp, struct device *dev, u32 pasid,
			    struct pviommu_pasid *old, struct pviommu_pasid *new)
{
	int ret;

	hw_detach_pasid(grp, dev, pasid, old);
	ret = iommu_attach_device_pasid(new->domain->hw, dev, pasid, &new->handle);
	if (ret)
		old->attached = !iommu_attach_device_pasid(old->domain->hw, dev, pasid,
							   &old->handle);
	return ret;
}
#endif

/* Fault injection can make it fail */
static noinline __noclone int hw_attach_pasid(struct pviommu_group *grp, struct device *dev,
					      u32 pasid, struct pviommu_pasid *old,
					      struct pviommu_pasid *new)
{
	return old ? hw_replace_pasid(grp, dev, pasid, old, new) :
		     iommu_attach_device_pasid(new->domain->hw, dev, pasid, &new->handle);
}
ALLOW_ERROR_INJECTION(hw_attach_pasid, ERRNO);

/* The domain is locked for the same reason as in hw_attach() */
static int pasid_move(struct pviommu_group *grp, struct device *dev, u32 pasid,
		      struct pviommu_pasid *old, struct pviommu_pasid *new)
{
	int ret = -ERANGE;

	pviommu_domain_lock(new->domain);
	mutex_lock(&grp->vm->attach_lock);
	if (pviommu_domain_conflicts(new->domain, grp))
		goto out_unlock;
	/* A cut that has not begun by now waits for attach_lock, and then finds the record */
	ret = pviommu_group_is_cut(grp) ? -EBUSY :
					  hw_attach_pasid(grp, dev, pasid, old, new);
	if (!ret) {
		new->attached = true;
		xa_store(&grp->pasids, pasid, new, GFP_KERNEL_ACCOUNT);
	} else if (ret != -EINVAL && ret != -ENOMEM && ret != -EBUSY) {
		ret = -EIO;
	}
out_unlock:
	mutex_unlock(&grp->vm->attach_lock);
	mutex_unlock(&new->domain->lock);
	return ret;
}

static struct pviommu_pasid *pasid_alloc(struct pviommu_domain *domain)
{
	struct pviommu_pasid *at = kzalloc(sizeof(*at), GFP_KERNEL_ACCOUNT);

	lockdep_assert_held(&domain->vm->cfg_lock);

	if (!at)
		return NULL;
	kref_get(&domain->kref);
	domain->nr_pasids++;
	domain->vm->nr_pasids++;
	at->domain = domain;
	return at;
}

/* Needs vm->cfg_lock and vm->mem_lock */
static void pasid_free(struct pviommu_pasid *at)
{
	struct pviommu_vm *vm = at->domain->vm;

	lockdep_assert_held(&vm->cfg_lock);

	vm->nr_pasids--;
	at->domain->nr_pasids--;
	pviommu_domain_put(at->domain);
	kfree(at);
}

static void pasid_end(struct pviommu_group *grp, struct device *dev, u32 pasid,
		      struct pviommu_pasid *at)
{
	mutex_lock(&grp->vm->attach_lock);
	hw_detach_pasid(grp, dev, pasid, at);
	xa_erase(&grp->pasids, pasid);
	mutex_unlock(&grp->vm->attach_lock);
	pasid_free(at);
}

/**
 * pviommu_pasid_attach() - attach a domain to the group of an endpoint by PASID
 * @ep: the endpoint
 * @pasid: a PASID that it has, see pviommu_pasid_check()
 * @domain: the domain; NULL for blocked, which can't fail
 *
 * Context: process, vm->cfg_lock and vm->mem_lock held; takes domain->lock and
 * vm->attach_lock.
 * Return: 0; -EBUSY the group is being cut off, or a device of it reset; -ENOENT the
 * domain is being freed; -ENOSPC the quota; -ERANGE the domain has mappings in reserved
 * regions of the group; -EINVAL the physical IOMMU does not take it; -ENOMEM; -EIO.
 * On failure the PASID has the domain that it had, or is blocked.
 */
int pviommu_pasid_attach(struct pviommu_endpoint *ep, u32 pasid,
			 struct pviommu_domain *domain)
{
	struct pviommu_group *grp = ep->group;
	struct pviommu_pasid *old = xa_load(&grp->pasids, pasid), *new;
	int ret;

	lockdep_assert_held(&ep->vm->cfg_lock);

	if (!domain) {
		if (old)
			pasid_end(grp, ep->dev, pasid, old);
		return 0;
	}
	if (pviommu_group_is_cut(grp))
		return -EBUSY;
	if (old && old->domain == domain)
		return 0;
	if (domain->dead)
		return -ENOENT;
	ret = old ? 0 : pviommu_quota_pasids(ep->vm);
	if (ret)
		return ret;
	new = pasid_alloc(domain);
	if (!new)
		return -ENOMEM;
	ret = xa_reserve(&grp->pasids, pasid, GFP_KERNEL_ACCOUNT) ?:
	      pasid_move(grp, ep->dev, pasid, old, new);
	if (!ret) {
		if (old)
			pasid_free(old);
		return 0;
	}
	xa_release(&grp->pasids, pasid);
	pasid_free(new);
	/* The old domain could not be put back, or was cut off: the PASID is blocked */
	if (old && !old->attached)
		pasid_end(grp, ep->dev, pasid, old);
	return ret;
}

/**
 * pviommu_pasids_cut() - detach all PASIDs of a group from the IOMMU, but keep the records
 * @grp: the group, which is being cut off
 * @dev: a device of the group that is open
 *
 * Context: process, vm->attach_lock held; needs no other lock.
 */
void pviommu_pasids_cut(struct pviommu_group *grp, struct device *dev)
{
	struct pviommu_pasid *at;
	unsigned long pasid;

	lockdep_assert_held(&grp->vm->attach_lock);

	xa_for_each(&grp->pasids, pasid, at)
		hw_detach_pasid(grp, dev, pasid, at);
}

/* An open device of the group. While anything is attached by PASID there is one. */
static struct device *open_device(struct pviommu_group *grp)
{
	struct pviommu_endpoint *ep;
	unsigned long id;

	xa_for_each(&grp->vm->endpoints, id, ep)
		if (ep->group == grp)
			return ep->dev;
	return NULL;
}

/**
 * pviommu_pasids_end() - detach all domains that are attached to a group by PASID
 * @grp: the group; one of its devices is open if there are any
 *
 * Context: process, vm->cfg_lock and vm->mem_lock held.
 */
void pviommu_pasids_end(struct pviommu_group *grp)
{
	struct device *dev = open_device(grp);
	struct pviommu_pasid *at;
	unsigned long pasid;

	lockdep_assert_held(&grp->vm->cfg_lock);

	xa_for_each(&grp->pasids, pasid, at)
		pasid_end(grp, dev, pasid, at);
}
