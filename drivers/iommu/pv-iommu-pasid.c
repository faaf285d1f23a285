// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: domains that are attached by PASID.
 *
 * The IOMMU core attaches a domain to each device of a group, the host to a group as a
 * whole. So the first device makes the host do it, and for the others it is done already.
 * Each endpoint has a record of what the core has attached (@pasids). The host detaches all
 * of it when it cuts the group off, or forgets everything. Then it is attached again from
 * the record.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/pci-ats.h>

#include "pv-iommu.h"

/**
 * pviommu_pasid_request() - ATTACH or DETACH
 * @ep: the endpoint
 * @code: which of them
 * @domain: the host's number of the domain
 * @pasid: the PASID; PVIOMMU_PASID_NONE: the endpoint itself, and with it its group
 *
 * Return: 0 or a negative errno.
 */
int pviommu_pasid_request(struct pviommu_endpoint *ep, u16 code, u32 domain, u32 pasid)
{
	struct pviommu_op op;

	pviommu_op_init(&op, code);
	op.domain = cpu_to_le32(domain);
	op.endpoint = cpu_to_le32(ep->id);
	op.pasid = cpu_to_le32(pasid);
	return pviommu_request(ep->pv, &op, NULL);
}

static int pasid_attach(struct pviommu_endpoint *ep, struct iommu_domain *domain, u32 pasid)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (dom->id == U32_MAX)
		return -ENODEV;
	return pviommu_pasid_request(ep, PVIOMMU_OP_ATTACH, dom->id, pasid);
}

/* Detaching can't fail: an endpoint that is gone or was cut off reaches nothing anyway */
static void pasid_block(struct pviommu_endpoint *ep, u32 pasid)
{
	int ret;

	if (ep->gone)
		return;
	ret = pviommu_pasid_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED, pasid);
	if (ret && ret != -ENOENT && !READ_ONCE(ep->pv->broken))
		dev_err(ep->dev, "PASID %u: the host has not detached it: %d\n", pasid, ret);
}

/* The core itself returns -EOPNOTSUPP for a device without PASIDs, so that can be passed on */
static int pasid_errno(int error)
{
	return error == -EOPNOTSUPP ? error : pviommu_attach_errno(error);
}

/*
 * After the reset of a device the IOMMU core attaches again what it had detached before,
 * which must not fail. If it can't be attached now it will be, with the rest of the record.
 */
static bool pasid_later(struct pviommu_endpoint *ep, const struct iommu_domain *from)
{
	if (!from || from->type != IOMMU_DOMAIN_BLOCKED)
		return false;
	if (!ep->gone && !ep->isolated && !ep->recovering)
		return false;
	ep->pasids_lost = true;
	return true;
}

/* Attach at the host. While a group is cut off this fails, and the caller may try again. */
static int pasid_move(struct pviommu_endpoint *ep, struct iommu_domain *domain, u32 pasid,
		      struct iommu_domain *old)
{
	int ret;

	lockdep_assert_held(&ep->pv->lock);
	pviommu_events_flush(ep->pv);
	if (ep->gone)
		return -ENODEV;
	if (ep->isolated || ep->recovering)
		return -EBUSY;
	/* The host has not made it again after a restart */
	if (to_pviommu_domain(domain)->id == U32_MAX)
		pviommu_domain_restart_live(to_pviommu_domain(domain), ep->id);
	ret = pasid_attach(ep, domain, pasid);
	if (!ret)
		return 0;
	/* -EACCES: it was cut off, and the event for that is still to come, or was lost */
	if (ret == -EACCES) {
		pviommu_isolated(ep);
		return -EBUSY;
	}
	/* The host may have detached the old one and failed to put it back */
	if (old && pasid_attach(ep, old, pasid))
		dev_err(ep->dev, "PASID %u is blocked\n", pasid);
	return ret;
}

/**
 * pviommu_pasid_attach() - attach a domain to an endpoint, and its group, by PASID
 * @ep: the endpoint
 * @domain: a paging domain that suits it
 * @pasid: the PASID; replaces the domain that is attached there
 * @from: the domain that it has according to the IOMMU core; NULL for none
 *
 * Return: 0, -ENOMEM, -EINVAL, -EBUSY, -ENOSPC, -EOPNOTSUPP or -ENODEV. After an error it
 * is as it was.
 */
int pviommu_pasid_attach(struct pviommu_endpoint *ep, struct iommu_domain *domain, u32 pasid,
			 const struct iommu_domain *from)
{
	struct pviommu *pv = ep->pv;
	struct iommu_domain *old;
	int ret;

	if (!(pv->features & PVIOMMU_F_PASID) || !ep->pasid_bits)
		return -EOPNOTSUPP;
	mutex_lock(&pv->lock);
	old = xa_load(&ep->pasids, pasid);
	/* Recovery needs the lock, and the disk to swap to may be what is recovered */
	ret = xa_reserve(&ep->pasids, pasid, GFP_NOIO);
	if (!ret && !pasid_later(ep, from))
		ret = pasid_move(ep, domain, pasid, old);
	if (!ret)
		xa_store(&ep->pasids, pasid, domain, GFP_KERNEL);
	else
		xa_release(&ep->pasids, pasid);
	mutex_unlock(&pv->lock);
	if (ret)
		dev_dbg(ep->dev, "PASID %u not attached to domain %u: %d\n", pasid,
			to_pviommu_domain(domain)->id, ret);
	return pasid_errno(ret);
}

/**
 * pviommu_pasid_detach() - detach what is attached to an endpoint, and its group, by PASID
 * @ep: the endpoint
 * @pasid: the PASID
 *
 * The IOMMU core does this to all devices of a group. Takes pviommu.lock.
 */
void pviommu_pasid_detach(struct pviommu_endpoint *ep, u32 pasid)
{
	mutex_lock(&ep->pv->lock);
	if (xa_erase(&ep->pasids, pasid))
		pasid_block(ep, pasid);
	mutex_unlock(&ep->pv->lock);
}

/**
 * pviommu_pasids_reattach() - attach everything in the record of an endpoint again
 * @ep: the endpoint, which can be attached; pviommu.lock held, or nothing else runs
 *
 * A PASID that the host refuses is blocked, which is logged. If it may work later it is tried
 * again when the endpoint is attached next.
 *
 * Return: 0, or the negative errno of the first one that was refused.
 */
int pviommu_pasids_reattach(struct pviommu_endpoint *ep)
{
	struct iommu_domain *domain;
	unsigned long pasid;
	int ret = 0, err;

	/* Its number may belong to another device by now */
	if (ep->gone)
		return 0;
	ep->pasids_lost = false;
	xa_for_each(&ep->pasids, pasid, domain) {
		err = pasid_attach(ep, domain, pasid);
		if (err == -EBUSY || err == -ENOMEM || err == -ENODEV)
			ep->pasids_lost = true;
		if (err)
			dev_err(ep->dev, "PASID %lu can't be put back into its domain, is blocked: %d\n",
				pasid, err);
		ret = ret ?: err;
	}
	return ret;
}

/**
 * pviommu_pasids_find() - is a domain attached to an endpoint by any PASID
 * @ep: the endpoint; pviommu.lock held, or nothing else runs
 * @domain: the domain
 *
 * Return: whether it is.
 */
bool pviommu_pasids_find(struct pviommu_endpoint *ep, const struct iommu_domain *domain)
{
	struct iommu_domain *at;
	unsigned long pasid;

	xa_for_each(&ep->pasids, pasid, at)
		if (at == domain)
			return true;
	return false;
}

/**
 * pviommu_pasids_forget() - remove a domain that is about to be freed from the record
 * @ep: an endpoint; pviommu.lock held
 * @domain: the domain, which the IOMMU core has detached
 */
void pviommu_pasids_forget(struct pviommu_endpoint *ep, const struct iommu_domain *domain)
{
	struct iommu_domain *at;
	unsigned long pasid;

	lockdep_assert_held(&ep->pv->lock);
	xa_for_each(&ep->pasids, pasid, at)
		if (at == domain)
			xa_erase(&ep->pasids, pasid);
}

/**
 * pviommu_pasids_leave() - clear the record of an endpoint that is being released
 * @ep: the endpoint; pviommu.lock held
 * @last: it is the last one of its group, so the host is to detach all of it
 */
void pviommu_pasids_leave(struct pviommu_endpoint *ep, bool last)
{
	struct iommu_domain *domain;
	unsigned long pasid;

	lockdep_assert_held(&ep->pv->lock);
	xa_for_each(&ep->pasids, pasid, domain) {
		if (last)
			pasid_block(ep, pasid);
		xa_erase(&ep->pasids, pasid);
	}
	xa_destroy(&ep->pasids);
}

/**
 * pviommu_pasids_enable() - enable PASIDs of a device that has become an endpoint
 * @ep: the endpoint
 *
 * For the PCI core, whose state drivers look at. The device itself has been set up by the
 * host.
 */
void pviommu_pasids_enable(struct pviommu_endpoint *ep)
{
	if (ep->pasid_bits && (ep->pv->features & PVIOMMU_F_PASID))
		ep->pasids_on = !pci_enable_pasid(to_pci_dev(ep->dev), 0);
}

/**
 * pviommu_pasids_disable() - undo pviommu_pasids_enable()
 * @ep: the endpoint
 */
void pviommu_pasids_disable(struct pviommu_endpoint *ep)
{
	if (ep->pasids_on)
		pci_disable_pasid(to_pci_dev(ep->dev));
	ep->pasids_on = false;
}
