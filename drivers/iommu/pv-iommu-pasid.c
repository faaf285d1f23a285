// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: domains that are attached by PASID.
 *
 * The IOMMU core attaches devices one by one, the host a group as a whole: of the devices
 * of a group the first one makes the host do it, and the others find that it is done. What
 * the core has attached to an endpoint is in our record. The host ends all of it when it
 * cuts the group off and when it forgets everything; then it is attached again from the
 * record.
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

/* It can't be refused: what is not there, or has been cut off, leads nowhere */
static void pasid_block(struct pviommu_endpoint *ep, u32 pasid)
{
	int ret;

	if (ep->gone)
		return;
	ret = pviommu_pasid_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED, pasid);
	if (ret && ret != -ENOENT && !READ_ONCE(ep->pv->broken))
		dev_err(ep->dev, "PASID %u: the host has not detached it: %d\n", pasid, ret);
}

/* And -EOPNOTSUPP, by which the IOMMU core says itself that there are no PASIDs */
static int pasid_errno(int error)
{
	return error == -EOPNOTSUPP ? error : pviommu_attach_errno(error);
}

/*
 * The IOMMU core brings back, after the reset of a device, what it had taken away before,
 * and can't be told that this is not the time: it is attached with all others.
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

/* While a group is cut off nothing is attached: who wants it can wait, or be told */
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
	ret = pasid_attach(ep, domain, pasid);
	if (!ret)
		return 0;
	/* EACCES: it was cut off, of which the event is still to come, or was lost */
	if (ret == -EACCES) {
		pviommu_isolated(ep);
		return -EBUSY;
	}
	/* The host may have lost the old one over it */
	if (old && pasid_attach(ep, old, pasid))
		dev_err(ep->dev, "PASID %u is blocked\n", pasid);
	return ret;
}

/**
 * pviommu_pasid_attach() - attach a domain to an endpoint, and its group, by PASID
 * @ep: the endpoint
 * @domain: a paging domain that suits it
 * @pasid: the PASID; what was attached there is attached no more
 * @from: where the IOMMU core believes it to be; NULL: it has not been attached
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
 * pviommu_pasid_detach() - detach what is attached to an endpoint by PASID
 * @ep: the endpoint
 * @pasid: the PASID
 *
 * The IOMMU core does that to all devices of a group.
 */
void pviommu_pasid_detach(struct pviommu_endpoint *ep, u32 pasid)
{
	mutex_lock(&ep->pv->lock);
	if (xa_erase(&ep->pasids, pasid))
		pasid_block(ep, pasid);
	mutex_unlock(&ep->pv->lock);
}

/**
 * pviommu_pasids_reattach() - have the host attach again what it has forgotten
 * @ep: the endpoint, which can be attached; pviommu.lock held, or nothing else runs
 *
 * What it refuses leads nowhere from then on, which is reported; it is tried again when
 * the endpoint is attached next, if that may help.
 *
 * Return: 0, or why one was refused.
 */
int pviommu_pasids_reattach(struct pviommu_endpoint *ep)
{
	struct iommu_domain *domain;
	unsigned long pasid;
	int ret = 0, err;

	/* Its number may be another device's by now */
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
 * pviommu_pasids_forget() - a domain is about to be freed
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
 * pviommu_pasids_leave() - an endpoint ceases to be one
 * @ep: the endpoint; pviommu.lock held
 * @last: of its group
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
 * pviommu_pasids_enable() - switch PASIDs on in a device that has become an endpoint
 * @ep: the endpoint
 *
 * So the PCI core has it, and drivers look there. To the device itself it does nothing: the
 * host has done that.
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
