// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: attaching endpoints to domains.
 *
 * The IOMMU core attaches devices one by one. The host moves a group as a whole, and
 * after an error it moves a group to the blocked domain on its own. So there are two
 * records for each endpoint: the domain that it is attached to at the host (@domain), and
 * the one that the IOMMU core has attached (@wanted). They differ for as long as the host,
 * or a reset, keeps the endpoint from being attached there.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>

#include "pv-iommu.h"

/**
 * pviommu_attach_errno() - convert an error for the IOMMU core
 * @error: 0 or a negative errno
 *
 * Return: @error if the core gives it the same meaning, else -ENODEV.
 */
int pviommu_attach_errno(int error)
{
	switch (error) {
	case 0:
	case -ENOMEM:
	case -EINVAL:
	case -EBUSY:
	case -ENOSPC:
		return error;
	default:
		return -ENODEV;
	}
}

/* A restart takes no lock, as nothing else runs then, and interrupts are disabled */
static void assert_ours(struct pviommu *pv)
{
	lockdep_assert(irqs_disabled() || lockdep_is_held(&pv->lock));
}

/* Note that the host has moved a group, with all its endpoints */
static void group_moved(struct pviommu *pv, u32 group,
			struct iommu_domain *domain)
{
	struct pviommu_endpoint *ep;

	assert_ours(pv);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group == group)
			ep->domain = domain;
	}
}

/* The host's number of a domain */
static u32 domain_number(struct iommu_domain *domain)
{
	if (domain->type & __IOMMU_DOMAIN_PAGING)
		return to_pviommu_domain(domain)->id;
	return domain->type == IOMMU_DOMAIN_IDENTITY ? PVIOMMU_DOMAIN_BYPASS :
						       PVIOMMU_DOMAIN_BLOCKED;
}

/* ATTACH or DETACH */
static int endpoint_request(struct pviommu_endpoint *ep, u16 code, u32 domain)
{
	return pviommu_pasid_request(ep, code, domain, PVIOMMU_PASID_NONE);
}

/* After -ENOENT: is it the endpoint that the host does not know? Does not move anything. */
static bool endpoint_is_gone(struct pviommu_endpoint *ep)
{
	return endpoint_request(ep, PVIOMMU_OP_DETACH,
				PVIOMMU_DOMAIN_BLOCKED) == -ENOENT;
}

/* After an error: was the host unable to leave it where it was? Does not move anything. */
static bool endpoint_is_blocked(struct pviommu_endpoint *ep)
{
	return !endpoint_request(ep, PVIOMMU_OP_DETACH, PVIOMMU_DOMAIN_BLOCKED);
}

/* Note that the host has moved a group to the blocked domain and holds it there */
static void group_isolated(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;

	group_moved(pv, group, &pviommu_blocked_domain);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group != group)
			continue;
		ep->isolated = true;
		ep->pasids_lost = true;
		ep->stale = READ_ONCE(ep->dev->driver);
	}
}

/*
 * The host refuses to attach an endpoint because it was cut off, and the event for that was
 * lost or is still to come: recover it, then try again.
 */
static int attach_missed(struct pviommu_endpoint *ep, u32 domain)
{
	int ret;

	group_isolated(ep->pv, ep->group);
	ret = pviommu_recover_endpoint(ep);
	return ret ?: endpoint_request(ep, PVIOMMU_OP_ATTACH, domain);
}

static bool was_missed(struct pviommu_endpoint *ep, int error)
{
	return error == -EACCES && (ep->pv->features & PVIOMMU_F_RECOVER);
}

/* ATTACH. A domain that the host has not made again after a restart is made first. */
static int attach_request(struct pviommu_endpoint *ep,
			  struct iommu_domain *domain)
{
	int ret = 0;

	/* The device was reset before this error, and has to be reset again */
	if (ep->restoring && ep->isolated)
		return -EBUSY;
	if (domain->type != IOMMU_DOMAIN_BLOCKED)
		ret = pviommu_recover_endpoint(ep);
	if (!ret && domain_number(domain) == U32_MAX)
		ret = pviommu_domain_restart_live(to_pviommu_domain(domain),
						  ep->id);
	ret = ret ?: endpoint_request(ep, PVIOMMU_OP_ATTACH, domain_number(domain));
	if (!was_missed(ep, ret))
		return ret;
	/* The event for that, if it is not lost, has been written before the answer */
	pviommu_events_flush(ep->pv);
	if (!ep->restoring)
		return attach_missed(ep, domain_number(domain));
	group_isolated(ep->pv, ep->group);
	pviommu_recover_later(ep->pv, ep->group);
	return -EBUSY;
}

/* How often, and at which interval, to try to attach a device that the host is resetting */
#define RESET_TRIES	60
#define RESET_MS	50

/* The host's kernel can't attach a device while it resets it, which takes a while */
static int attach_with_retries(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	int tries, ret;

	for (tries = 1;; tries++) {
		ret = attach_request(ep, domain);
		if (ret != -EBUSY || ep->isolated || ep->restoring || tries == RESET_TRIES)
			return ret;
		msleep(RESET_MS);
		pviommu_events_flush(ep->pv);
	}
}

/* Have the host attach an endpoint, unless that has been done */
static int attach_at_host(struct pviommu_endpoint *ep,
			  struct iommu_domain *domain)
{
	struct pviommu *pv = ep->pv;
	int ret;

	lockdep_assert_held(&pv->lock);
	pviommu_events_flush(pv);
	/*
	 * It is there if another endpoint of the group was attached before; or if the
	 * IOMMU core goes back after a failure, which usually has not moved it.
	 */
	if (ep->gone || ep->domain == domain)
		return 0;
	ret = attach_with_retries(ep, domain);
	if (ret == -ENOENT && endpoint_is_gone(ep)) {
		ep->gone = true;
		return 0;
	}
	/* Handle events from before the move, which must not change the record later */
	pviommu_events_flush(pv);
	/* If it was cut off since the move, recover_work has been scheduled */
	if (!ret && !ep->isolated)
		group_moved(pv, ep->group, domain);
	else if (ret && endpoint_is_blocked(ep))
		group_moved(pv, ep->group, &pviommu_blocked_domain);
	return ret;
}

/*
 * The IOMMU core goes back to a domain of its own, which must not fail. If the host does
 * not have that domain, or does not answer, pretend that it has been attached. Nothing can
 * be mapped there, so the device's driver will not work. A restart attaches it, unless that
 * failed before in a recovery: then it stays blocked until a driver is bound again.
 */
static bool attach_pretended(struct pviommu_endpoint *ep,
			     struct iommu_domain *domain)
{
	if (domain->type == IOMMU_DOMAIN_UNMANAGED)
		return false;
	if (READ_ONCE(ep->pv->broken)) {
		dev_err_ratelimited(ep->dev, "remains as it is, the host does not answer\n");
		return true;
	}
	if (domain_number(domain) != U32_MAX)
		return false;
	dev_err_ratelimited(ep->dev, "is blocked, the host does not make its domain again\n");
	return !endpoint_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED);
}

/* Undo freeze_group(): the device can be used again */
static void thaw(struct pviommu_endpoint *ep)
{
	struct pci_dev *pdev = to_pci_dev(ep->dev);

	if (ep->frozen && pdev->error_state == pci_channel_io_frozen)
		pdev->error_state = pci_channel_io_normal;
	ep->frozen = false;
}

static int attach_locked(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	int ret;

	lockdep_assert_held(&ep->pv->lock);
	ret = attach_at_host(ep, domain);
	/* Who brings it back after an error is not the IOMMU core, and has to know */
	if (ret && !ep->restoring && attach_pretended(ep, domain))
		ret = 0;
	if (ret || ep->isolated)
		return ret;
	ep->domain = domain;
	if (domain->type != IOMMU_DOMAIN_BLOCKED)
		thaw(ep);
	if (ep->pasids_lost)
		pviommu_pasids_reattach(ep);
	return 0;
}

/*
 * An endpoint whose device is being reset is attached to its domain after that. For the
 * IOMMU core, which moves it to the blocked domain and back, that counts as success. A user
 * of VFIO who attaches another domain gets an error.
 */
static int attach_in_reset(const struct pviommu_endpoint *ep,
			   const struct iommu_domain *domain)
{
	return domain->type != IOMMU_DOMAIN_UNMANAGED || domain == ep->left ||
	       domain == ep->wanted ? 0 : -EBUSY;
}

/*
 * The host still handles an error of the device. If the IOMMU core goes back to a domain of
 * its own, or to the one that it has detached for a reset, that must not fail. Then the
 * endpoint stays blocked, and is attached when the host is done.
 */
static bool attach_later(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	if (!ep->isolated)
		return false;
	if (domain->type == IOMMU_DOMAIN_UNMANAGED && domain != ep->left)
		return false;
	pviommu_recover_later(ep->pv, ep->group);
	return true;
}

/* Is another endpoint of the group attached somewhere? To block the group would stop its DMA. */
static bool group_in_use(const struct pviommu_endpoint *ep)
{
	const struct pviommu_endpoint *other;

	list_for_each_entry(other, &ep->pv->endpoints, node) {
		if (other != ep && other->group == ep->group && other->wanted &&
		    other->domain != &pviommu_blocked_domain)
			return true;
	}
	return false;
}

/*
 * Does the IOMMU core attach a domain of its own, to the first endpoint of a group or as it is
 * done with a user of VFIO? Or does it go back, after a failure, to where the endpoint was?
 */
static bool must_not_fail(const struct pviommu_endpoint *ep, const struct iommu_domain *domain)
{
	const struct iommu_domain *from = ep->wanted;

	if (domain == from)
		return true;
	if (domain->type == IOMMU_DOMAIN_UNMANAGED || domain->type == IOMMU_DOMAIN_BLOCKED)
		return false;
	if (!from)
		return !group_in_use(ep);
	return from->type == IOMMU_DOMAIN_UNMANAGED || from->type == IOMMU_DOMAIN_BLOCKED;
}

/*
 * The host refuses a domain where the IOMMU core takes that for a bug of ours. Then the
 * endpoint is blocked, and pviommu_recover_bound() attaches it when a driver is bound.
 */
static bool attach_when_bound(struct pviommu_endpoint *ep, struct iommu_domain *domain,
			      int error)
{
	lockdep_assert_held(&ep->pv->lock);
	if (ep->recovering || !must_not_fail(ep, domain) ||
	    endpoint_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED))
		return false;
	group_moved(ep->pv, ep->group, &pviommu_blocked_domain);
	dev_err_ratelimited(ep->dev, "is blocked until a driver is bound, the host refuses its domain: %d\n",
			    error);
	return true;
}

static void set_wanted(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	if (ep->wanted == domain)
		return;
	ep->left = domain->type == IOMMU_DOMAIN_BLOCKED ? ep->wanted : NULL;
	ep->wanted = domain;
}

/**
 * pviommu_attach() - attach an endpoint, and with it its group, to a domain
 * @ep: the endpoint
 * @domain: the domain
 *
 * For an endpoint that is gone nothing is done. One that is being recovered, or that the
 * host holds in the blocked domain, will be attached when that is over; but if a user of
 * VFIO attaches it, that fails. If the host refuses a domain of the IOMMU core's own that is the
 * endpoint's first, or that follows a user of VFIO, it is blocked, and attached when a driver is
 * bound.
 *
 * Context: process, may sleep; takes pviommu.lock.
 * Return: 0, -ENOMEM, -EINVAL, -EBUSY, -ENOSPC or -ENODEV. After an error the
 * endpoint is where it was, or blocked if the host could not put it back.
 */
int pviommu_attach(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	struct pviommu *pv = ep->pv;
	int ret;

	mutex_lock(&pv->lock);
	if (ep->recovering)
		ret = attach_in_reset(ep, domain);
	else
		ret = attach_locked(ep, domain);
	if (ret && (attach_later(ep, domain) || attach_when_bound(ep, domain, ret)))
		ret = 0;
	if (!ret)
		set_wanted(ep, domain);
	mutex_unlock(&pv->lock);

	if (ret)
		dev_dbg(ep->dev, "not attached to domain %u: %d\n",
			domain_number(domain), ret);
	return pviommu_attach_errno(ret);
}

/**
 * pviommu_attach_wanted() - attach an endpoint that was cut off to its domain again
 * @ep: the endpoint, not gone; pviommu.lock held
 *
 * That is the domain that the IOMMU core has attached. The lock keeps the core from
 * attaching another one, and from freeing it.
 *
 * Return: 0; -EBUSY the host is still handling the error; or another negative errno,
 * then it remains where it is.
 */
int pviommu_attach_wanted(struct pviommu_endpoint *ep)
{
	int ret;

	lockdep_assert_held(&ep->pv->lock);
	ret = pviommu_recover_endpoint(ep);
	ep->restoring = true;
	if (!ret && ep->wanted)
		ret = attach_locked(ep, ep->wanted);
	ep->restoring = false;
	/* Also if the core has attached no domain */
	if (!ret && !ep->isolated)
		thaw(ep);
	if (!ret && !ep->isolated && ep->pasids_lost)
		pviommu_pasids_reattach(ep);
	return ret;
}

/**
 * pviommu_reattach() - attach an endpoint to its domain again in a restart
 * @ep: the endpoint; the host has forgotten everything, and nothing else runs
 *
 * If that fails it is blocked, as in bypass it would reach all memory. An endpoint that
 * the host has cut off, unnoticed until now, is recovered first: the machine is just waking
 * up, and its driver will set the device up anew. The user of a domain that it can't be put
 * back into is told that mappings are lost.
 *
 * Return: 0, or why it is not where it was.
 */
int pviommu_reattach(struct pviommu_endpoint *ep)
{
	struct iommu_domain *domain = ep->domain ?: &pviommu_blocked_domain;
	int ret = -EINVAL;

	if (ep->gone)
		return 0;
	if (!(domain->type & __IOMMU_DOMAIN_PAGING) ||
	    pviommu_domain_suits(to_pviommu_domain(domain), ep))
		ret = endpoint_request(ep, PVIOMMU_OP_ATTACH, domain_number(domain));
	if (was_missed(ep, ret))
		ret = attach_missed(ep, domain_number(domain));
	if (!ret) {
		group_moved(ep->pv, ep->group, domain);
		return pviommu_pasids_reattach(ep);
	}
	dev_err(ep->dev, "can't be put back into its domain, is blocked: %d\n",
		ret);
	if (pviommu_domain_is_ours(domain))
		pviommu_report_lost(to_pviommu_domain(domain), ret);
	if (!endpoint_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED))
		group_moved(ep->pv, ep->group, &pviommu_blocked_domain);
	if (ep->isolated)
		pviommu_recover_later(ep->pv, ep->group);
	return ret;
}

/**
 * pviommu_forget_domain() - remove a domain that is about to be freed from all records
 * @pv: the interface, its lock held
 * @domain: the domain
 *
 * The IOMMU core has detached it from all endpoints. But if the host could not be
 * asked, the records may still have it.
 */
void pviommu_forget_domain(struct pviommu *pv, struct iommu_domain *domain)
{
	struct pviommu_endpoint *ep;

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->domain == domain)
			ep->domain = NULL;
		if (ep->wanted == domain)
			ep->wanted = NULL;
		if (ep->left == domain)
			ep->left = NULL;
		pviommu_pasids_forget(ep, domain);
	}
}

static bool group_has_others(struct pviommu_endpoint *ep)
{
	struct pviommu_endpoint *other;

	lockdep_assert_held(&ep->pv->lock);
	list_for_each_entry(other, &ep->pv->endpoints, node) {
		if (other != ep && other->group == ep->group)
			return true;
	}
	return false;
}

/**
 * pviommu_leave() - detach an endpoint that is being released
 * @ep: the endpoint; pviommu.lock held
 *
 * The last endpoint of a group is moved to the blocked domain, as its domain may be freed;
 * unless it is in bypass, where its driver goes on. Other endpoints stay where they are,
 * as a move would be one of the whole group. That is why there is no release_domain.
 *
 * DETACH names the domain as well. So if the endpoint's number belongs to another device
 * by now, that one is not moved.
 */
void pviommu_leave(struct pviommu_endpoint *ep)
{
	int ret;

	lockdep_assert_held(&ep->pv->lock);

	thaw(ep);
	pviommu_events_flush(ep->pv);
	pviommu_pasids_leave(ep, !group_has_others(ep));
	if (ep->gone || group_has_others(ep) || ep->domain == &pviommu_identity_domain ||
	    ep->domain == &pviommu_blocked_domain)
		return;
	if (ep->domain)
		ret = endpoint_request(ep, PVIOMMU_OP_DETACH,
				       domain_number(ep->domain));
	else
		ret = endpoint_request(ep, PVIOMMU_OP_ATTACH,
				       PVIOMMU_DOMAIN_BLOCKED);
	if (ret)
		dev_err(ep->dev, "the host has not taken it from its domain: %d\n",
			ret);
}

/* The next attach of a group is to attach its PASIDs again, too */
static void group_lost_pasids(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;

	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group == group)
			ep->pasids_lost = true;
	}
}

/**
 * pviommu_isolated() - handle that the host has cut off an endpoint
 * @ep: the endpoint; pviommu.lock held
 *
 * Its group is in the blocked domain now. The IOMMU core does not know that. recover_work
 * is scheduled, if the host knows RECOVER; else the next attach by the core brings the
 * group back.
 */
void pviommu_isolated(struct pviommu_endpoint *ep)
{
	struct pviommu *pv = ep->pv;

	lockdep_assert_held(&pv->lock);

	if (!(pv->features & PVIOMMU_F_RECOVER)) {
		group_moved(pv, ep->group, &pviommu_blocked_domain);
		group_lost_pasids(pv, ep->group);
		return;
	}
	group_isolated(pv, ep->group);
	pviommu_recover_later(pv, ep->group);
}

/**
 * pviommu_recover_endpoint() - have the host allow that an endpoint is attached again
 * @ep: the endpoint; pviommu.lock held, or nothing else runs
 *
 * Return: 0, also if it is not isolated; -EBUSY the host still handles the error;
 * or another negative errno. After an error it is isolated still.
 */
int pviommu_recover_endpoint(struct pviommu_endpoint *ep)
{
	struct pviommu_endpoint *other;
	struct pviommu_op op;
	int ret;

	assert_ours(ep->pv);
	if (!ep->isolated)
		return 0;
	pviommu_op_init(&op, PVIOMMU_OP_RECOVER);
	op.endpoint = cpu_to_le32(ep->id);
	ret = pviommu_request(ep->pv, &op, NULL);
	if (ret)
		return ret;
	list_for_each_entry(other, &ep->pv->endpoints, node) {
		if (other->group == ep->group)
			other->isolated = false;
	}
	return 0;
}

#ifdef PVIOMMU_HAVE_ATTACH_OLD
static int pviommu_static_attach(struct iommu_domain *domain,
				 struct device *dev, struct iommu_domain *old)
{
	return pviommu_attach(dev_iommu_priv_get(dev), domain);
}
#else
static int pviommu_static_attach(struct iommu_domain *domain,
				 struct device *dev)
{
	return pviommu_attach(dev_iommu_priv_get(dev), domain);
}
#endif

#ifdef PVIOMMU_HAVE_BLOCKED_PASID
static int pviommu_blocked_set_pasid(struct iommu_domain *domain, struct device *dev,
				     ioasid_t pasid, struct iommu_domain *old)
{
	pviommu_pasid_detach(dev_iommu_priv_get(dev), pasid);
	return 0;
}
#endif

static const struct iommu_domain_ops pviommu_identity_ops = {
	.attach_dev = pviommu_static_attach,
};

static const struct iommu_domain_ops pviommu_blocked_ops = {
	.attach_dev = pviommu_static_attach,
#ifdef PVIOMMU_HAVE_BLOCKED_PASID
	.set_dev_pasid = pviommu_blocked_set_pasid,
#endif
};

struct iommu_domain pviommu_identity_domain = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &pviommu_identity_ops,
};

struct iommu_domain pviommu_blocked_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &pviommu_blocked_ops,
};
