// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: where endpoints are, and how they get elsewhere.
 *
 * The IOMMU core moves devices one by one; the host moves a group as a whole, and by
 * itself into the blocked domain after an error. So there are two records of each
 * endpoint: the domain in which the host has it, and the one in which the IOMMU core
 * believes it to be. They differ as long as the host, or a reset, keeps it from going
 * there.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>

#include "pv-iommu.h"

/**
 * pviommu_attach_errno() - what the IOMMU core is told
 * @error: 0 or a negative errno
 *
 * Return: @error if it means to the core what it means to us, else -ENODEV.
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

/* A restart does without the lock: nothing else runs, and interrupts are disabled */
static void assert_ours(struct pviommu *pv)
{
	lockdep_assert(irqs_disabled() || lockdep_is_held(&pv->lock));
}

/* The host moves a group as a whole */
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

/* Is it the endpoint that does not exist? This moves nothing. */
static bool endpoint_is_gone(struct pviommu_endpoint *ep)
{
	return endpoint_request(ep, PVIOMMU_OP_DETACH,
				PVIOMMU_DOMAIN_BLOCKED) == -ENOENT;
}

/* The host has moved the group to the blocked domain and holds it there */
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
 * The event that told that it was cut off has been lost, or the wish has overtaken it:
 * this answer takes its place.
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

/* ATTACH; a domain that could not be made again before may be by now */
static int attach_request(struct pviommu_endpoint *ep,
			  struct iommu_domain *domain)
{
	int ret = 0;

	/* The reset was before this error: another one is needed */
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
	/* Its event, if there is one, is older than this answer */
	pviommu_events_flush(ep->pv);
	if (!ep->restoring)
		return attach_missed(ep, domain_number(domain));
	group_isolated(ep->pv, ep->group);
	pviommu_recover_later(ep->pv, ep->group);
	return -EBUSY;
}

/* How often, and in which distance, a device that the host is resetting is tried */
#define RESET_TRIES	60
#define RESET_MS	50

/* The host's kernel moves no device that it is resetting: that will be over soon */
static int attach_patiently(struct pviommu_endpoint *ep, struct iommu_domain *domain)
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

/* Have the host do it, unless there is nothing to be done */
static int attach_at_host(struct pviommu_endpoint *ep,
			  struct iommu_domain *domain)
{
	struct pviommu *pv = ep->pv;
	int ret;

	lockdep_assert_held(&pv->lock);
	pviommu_events_flush(pv);
	/*
	 * Being there is done: another endpoint of the group has taken it along,
	 * or the IOMMU core goes back, after a failure, to where it has stayed.
	 */
	if (ep->gone || ep->domain == domain)
		return 0;
	ret = attach_patiently(ep, domain);
	if (ret == -ENOENT && endpoint_is_gone(ep)) {
		ep->gone = true;
		return 0;
	}
	/* What the host tells from before the move says nothing of now */
	pviommu_events_flush(pv);
	/* But since the move it may have been cut off: the work sees to that */
	if (!ret && !ep->isolated)
		group_moved(pv, ep->group, domain);
	return ret;
}

/*
 * The IOMMU core goes back to its own domain and can't be told that there is no
 * such domain any more, or no host to ask. No mapping can be made there, so that
 * its driver will not work. The wish is noted for a restart.
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

/* Whoever uses it from now on finds a device that it need not take for broken */
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
 * Its device is being reset, and it comes to where it belongs afterwards: that is good
 * enough for the IOMMU core, which goes there and back, not for who wants to know.
 */
static int attach_in_reset(const struct pviommu_endpoint *ep,
			   const struct iommu_domain *domain)
{
	return domain->type != IOMMU_DOMAIN_UNMANAGED || domain == ep->left ||
	       domain == ep->wanted ? 0 : -EBUSY;
}

/*
 * The host does not let go of it yet. The IOMMU core can't be told, when it goes back to
 * its own domain, or to the one from which it has taken the device for a reset: the
 * endpoint goes there, from the blocked domain, when the host is done.
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

static void set_wanted(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	if (ep->wanted == domain)
		return;
	ep->left = domain->type == IOMMU_DOMAIN_BLOCKED ? ep->wanted : NULL;
	ep->wanted = domain;
}

/**
 * pviommu_attach() - move an endpoint, and with it its group
 * @ep: the endpoint
 * @domain: where to
 *
 * An endpoint that is gone is everywhere. One that is being recovered, or that the host
 * holds in the blocked domain, goes there when that is over; not so if a user of VFIO
 * comes, who hears of it.
 *
 * Return: 0, -ENOMEM, -EINVAL, -EBUSY, -ENOSPC or -ENODEV. After an error the
 * endpoint is where it was.
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
	if (ret && attach_later(ep, domain))
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
 * pviommu_attach_wanted() - put an endpoint that was cut off back
 * @ep: the endpoint, not gone; pviommu.lock held
 *
 * To where the IOMMU core believes that it is. The lock keeps that domain from being
 * changed and freed meanwhile.
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
	/* It works again, also where it is to be in no domain */
	if (!ret && !ep->isolated)
		thaw(ep);
	if (!ret && !ep->isolated && ep->pasids_lost)
		pviommu_pasids_reattach(ep);
	return ret;
}

/**
 * pviommu_reattach() - put an endpoint back where it was
 * @ep: the endpoint; the host has forgotten all, nobody else uses the interface
 *
 * Where that can't be it is blocked: what its domain was to keep it from, bypass
 * would not. If the host has cut it off, and nobody knows, it comes back as well: the
 * machine wakes up, and its driver sets the device up anew.
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
	if (!endpoint_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED))
		group_moved(ep->pv, ep->group, &pviommu_blocked_domain);
	if (ep->isolated)
		pviommu_recover_later(ep->pv, ep->group);
	return ret;
}

/**
 * pviommu_forget_domain() - a domain is about to be freed
 * @pv: the interface, its lock held
 * @domain: the domain
 *
 * The IOMMU core has taken all endpoints from it, but where the host could not
 * be asked they are there in our record.
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
 * pviommu_leave() - an endpoint ceases to be one
 * @ep: the endpoint; pviommu.lock held
 *
 * The last one of a group leaves its domain, which may be freed, for the blocked
 * one; a driver in bypass goes on. For the others a move of the group would go
 * too far, and the core keeps its domain. That is why there is no release_domain.
 *
 * DETACH names the domain, too: should the endpoint's number have become another
 * one's, that one stays where it is.
 */
void pviommu_leave(struct pviommu_endpoint *ep)
{
	int ret;

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

/* Who attaches such a group next has its PASIDs attached, too */
static void group_lost_pasids(struct pviommu *pv, u32 group)
{
	struct pviommu_endpoint *ep;

	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group == group)
			ep->pasids_lost = true;
	}
}

/**
 * pviommu_isolated() - the host has moved an endpoint to the blocked domain
 * @ep: the endpoint; pviommu.lock held
 *
 * And with it its group. The IOMMU core does not know, but its next attach will
 * reach the host.
 */
void pviommu_isolated(struct pviommu_endpoint *ep)
{
	struct pviommu *pv = ep->pv;

	if (!(pv->features & PVIOMMU_F_RECOVER)) {
		group_moved(pv, ep->group, &pviommu_blocked_domain);
		group_lost_pasids(pv, ep->group);
		return;
	}
	group_isolated(pv, ep->group);
	pviommu_recover_later(pv, ep->group);
}

/**
 * pviommu_recover_endpoint() - have the host let an endpoint be attached again
 * @ep: the endpoint; pviommu.lock held, or nothing else runs
 *
 * Return: 0 also if it is not isolated; -EBUSY the host is not done with the error;
 * or another negative errno.
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
