// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: endpoints, and what the IOMMU core wants to
 * know of them.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/* The interface of this VM; set before and cleared after it is registered */
struct pviommu *pviommu_instance;

/* --- what an endpoint can do --------------------------------------------- */

static bool pviommu_capable(struct device *dev, enum iommu_cap cap)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);

	switch (cap) {
	case IOMMU_CAP_CACHE_COHERENCY:
		/* Else the host's VFIO would not have given it to the VM */
		return true;
	case IOMMU_CAP_ENFORCE_CACHE_COHERENCY:
		return ep->flags & PVIOMMU_PROBE_COHERENT;
	case IOMMU_CAP_NOEXEC:
		return ep->flags & PVIOMMU_PROBE_NOEXEC;
	case IOMMU_CAP_DEFERRED_FLUSH:
		return true;
#ifdef PVIOMMU_HAVE_DIRTY_OPS
	case IOMMU_CAP_DIRTY_TRACKING:
		return ep->pv->features & PVIOMMU_F_DIRTY;
#endif
	default:
		return false;
	}
}

static void pviommu_get_resv_regions(struct device *dev,
				     struct list_head *head)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);
	struct iommu_resv_region *region;
	u32 i;

	for (i = 0; i < ep->nr_regions; i++) {
		u64 start = le64_to_cpu(ep->regions[i].start);
		u64 last = le64_to_cpu(ep->regions[i].last);
		bool msi = le32_to_cpu(ep->regions[i].type) ==
			   PVIOMMU_REGION_MSI;

		region = iommu_alloc_resv_region(start, last - start + 1,
						 msi ? IOMMU_WRITE |
						       IOMMU_NOEXEC |
						       IOMMU_MMIO : 0,
						 msi ? IOMMU_RESV_MSI :
						       IOMMU_RESV_RESERVED,
						 GFP_KERNEL);
		if (!region)
			return;
		list_add_tail(&region->list, head);
	}
}

/*
 * The DMA addresses that an early driver has handed out are physical ones, and
 * remain so until it is unbound.
 */
static int pviommu_def_domain_type(struct device *dev)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);

	return READ_ONCE(ep->adopted) ? IOMMU_DOMAIN_IDENTITY : 0;
}

static struct iommu_domain identity_domain;
static struct iommu_domain blocked_domain;

/* --- moving -------------------------------------------------------------- */

static int attach_errno(int error)
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
	struct pviommu_op op;

	pviommu_op_init(&op, code);
	op.domain = cpu_to_le32(domain);
	op.endpoint = cpu_to_le32(ep->id);
	return pviommu_request(ep->pv, &op, NULL);
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

	group_moved(pv, group, &blocked_domain);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->group == group)
			ep->isolated = true;
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
	return attach_missed(ep, domain_number(domain));
}

/* How often, and in which distance, a device that the host is resetting is tried */
#define RESET_TRIES	20
#define RESET_MS	50

/* The host's kernel moves no device that it is resetting: that will be over soon */
static int attach_patiently(struct pviommu_endpoint *ep, struct iommu_domain *domain)
{
	int tries, ret;

	for (tries = 1;; tries++) {
		ret = attach_request(ep, domain);
		if (ret != -EBUSY || ep->isolated || tries == RESET_TRIES)
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
	if (ret && attach_pretended(ep, domain))
		ret = 0;
	if (ret || ep->isolated)
		return ret;
	ep->domain = domain;
	if (domain->type != IOMMU_DOMAIN_BLOCKED)
		thaw(ep);
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
	return attach_errno(ret);
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
	if (!ret && ep->wanted)
		ret = attach_locked(ep, ep->wanted);
	/* It works again, also where it is to be in no domain */
	if (!ret && !ep->isolated)
		thaw(ep);
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
	struct iommu_domain *domain = ep->domain ?: &blocked_domain;
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
		return 0;
	}
	dev_err(ep->dev, "can't be put back into its domain, is blocked: %d\n",
		ret);
	if (!endpoint_request(ep, PVIOMMU_OP_ATTACH, PVIOMMU_DOMAIN_BLOCKED))
		group_moved(ep->pv, ep->group, &blocked_domain);
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
		group_moved(pv, ep->group, &blocked_domain);
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

static const struct iommu_domain_ops pviommu_static_ops = {
	.attach_dev = pviommu_static_attach,
};

static struct iommu_domain identity_domain = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &pviommu_static_ops,
};

static struct iommu_domain blocked_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &pviommu_static_ops,
};

/* --- endpoints come and go ----------------------------------------------- */

#define PROBE_MAX_REGIONS \
	((PAGE_SIZE - sizeof(struct pviommu_probe)) / \
	 sizeof(struct pviommu_region))

/* Page sizes that we can use; 0 if none */
static u64 usable_pgsizes(u64 pgsizes)
{
	/* The store has one entry for a large page only with this */
	if (!IS_ENABLED(CONFIG_XARRAY_MULTI))
		return pgsizes & SZ_4K;
	return pgsizes & GENMASK_ULL(38, PVIOMMU_PAGE_SHIFT);
}

static bool probe_valid(const struct pviommu_probe *probe)
{
	const struct pviommu_region *regions = (const void *)(probe + 1);
	u32 n = le32_to_cpu(probe->nr_regions), i;

	if (n > PROBE_MAX_REGIONS ||
	    !usable_pgsizes(le64_to_cpu(probe->pgsizes)) ||
	    le64_to_cpu(probe->window_start) >= le64_to_cpu(probe->window_last))
		return false;
	for (i = 0; i < n; i++) {
		u64 start = le64_to_cpu(regions[i].start);
		u64 last = le64_to_cpu(regions[i].last);

		/* Not all of it either: that has no length */
		if (start > last || last - start == U64_MAX)
			return false;
	}
	return true;
}

static void endpoint_set(struct pviommu_endpoint *ep, u32 id,
			 const struct pviommu_probe *probe)
{
	ep->id = id;
	ep->group = le32_to_cpu(probe->group);
	ep->flags = le32_to_cpu(probe->flags);
	ep->pgsizes = usable_pgsizes(le64_to_cpu(probe->pgsizes));
	ep->window_start = le64_to_cpu(probe->window_start);
	ep->window_last = le64_to_cpu(probe->window_last);
}

/* Make an endpoint of what PROBE has told; NULL: no memory or nonsense */
static struct pviommu_endpoint *
endpoint_create(struct pviommu *pv, struct device *dev, u32 id,
		const struct pviommu_probe *probe)
{
	u32 n = le32_to_cpu(probe->nr_regions);
	struct pviommu_endpoint *ep;

	if (!probe_valid(probe))
		return NULL;

	ep = kzalloc(struct_size(ep, regions, n), GFP_KERNEL);
	if (!ep)
		return NULL;
	ep->nr_regions = n;
	memcpy(ep->regions, probe + 1, n * sizeof(*ep->regions));
	ep->pv = pv;
	ep->dev = dev;
	endpoint_set(ep, id, probe);
	if (le32_to_cpu(probe->domain) == PVIOMMU_DOMAIN_BYPASS)
		ep->domain = &identity_domain;
	else if (le32_to_cpu(probe->domain) == PVIOMMU_DOMAIN_BLOCKED)
		ep->domain = &blocked_domain;
	return ep;
}

/* Ask the host about an endpoint id; the answer needs a page */
static int probe_request(struct pviommu *pv, u32 id,
			 struct pviommu_probe *probe)
{
	struct pviommu_op op;

	pviommu_op_init(&op, PVIOMMU_OP_PROBE);
	op.endpoint = cpu_to_le32(id);
	op.buf.gpa = cpu_to_le64(virt_to_phys(probe));
	op.buf.size = cpu_to_le32(PAGE_SIZE);
	return pviommu_request(pv, &op, NULL);
}

static struct pviommu_endpoint *endpoint_probe(struct pviommu *pv,
					       struct device *dev, u32 id)
{
	struct pviommu_endpoint *ep = NULL;
	struct pviommu_probe *probe;
	int ret;

	probe = (void *)get_zeroed_page(GFP_KERNEL);
	if (!probe)
		return NULL;
	ret = probe_request(pv, id, probe);
	if (!ret) {
		ep = endpoint_create(pv, dev, id, probe);
		if (!ep)
			ret = -EINVAL;
	}
	if (ret)
		dev_warn(dev, "left alone: endpoint %u can't be used: %d\n",
			 id, ret);
	free_page((unsigned long)probe);
	return ep;
}

static u32 device_endpoint_id(struct pci_dev *pdev, u16 *regs)
{
	u32 id;

	*regs = pviommu_cap_find(pdev);
	if (!*regs)
		return 0;
	id = pviommu_cap_read(pdev, *regs, PVIOMMU_CAP_ENDPOINT_OFF);
	return id == ~0U ? 0 : id;
}

/**
 * pviommu_endpoint_again() - ask again who an endpoint is
 * @ep: the endpoint; the interface has just started, nobody else uses it
 *
 * The machine that wakes up may have been made anew. Reserved regions are not
 * asked for: the IOMMU core would not ask us again.
 */
void pviommu_endpoint_again(struct pviommu_endpoint *ep)
{
	u16 regs;
	u32 id = device_endpoint_id(ep->door.pdev, &regs);

	memset(ep->pv->probe, 0, PAGE_SIZE);
	ep->gone = !id || probe_request(ep->pv, id, ep->pv->probe) ||
		   !probe_valid(ep->pv->probe);
	if (ep->gone)
		dev_err(ep->dev, "is not behind the paravirtual IOMMU any more\n");
	else
		endpoint_set(ep, id, ep->pv->probe);
	if (regs)
		ep->door.regs = regs;
}

/*
 * When the last endpoint went, we stopped. The first to come starts again. One
 * that went may have had the number of the one that comes: let it be known gone.
 */
static int start_again(struct pviommu *pv, struct pci_dev *pdev, u16 regs)
{
	int ret = 0;

	mutex_lock(&pv->lock);
	pviommu_events_flush(pv);
	if (list_empty(&pv->endpoints)) {
		pviommu_door_first(pv, pdev, regs);
		if (READ_ONCE(pv->broken) || pviommu_cap_stopped(pv))
			ret = pviommu_restart_live(pv);
		/* A domain that nobody is in is made again when somebody is */
		if (!READ_ONCE(pv->broken))
			ret = 0;
	}
	mutex_unlock(&pv->lock);
	return ret;
}

/*
 * What is not ours, and what the host does not let us have, is no device of
 * this IOMMU: -ENODEV lets the core go on.
 */
static struct iommu_device *pviommu_probe_device(struct device *dev)
{
	struct pviommu *pv = pviommu_instance;
	struct pviommu_endpoint *ep;
	bool adopt;
	u16 regs;
	u32 id;

	if (!pv || !dev_is_pci(dev))
		return ERR_PTR(-ENODEV);
	id = device_endpoint_id(to_pci_dev(dev), &regs);
	if (!id)
		return ERR_PTR(-ENODEV);
	/* See candidates_lock(): a driver neither comes nor goes meanwhile */
	adopt = dev->driver && !pviommu_manages_dma(dev);
	if (adopt && !(pv->features & PVIOMMU_F_BYPASS)) {
		dev_warn(dev, "left alone: it has a driver already, and the host does not allow bypass\n");
		return ERR_PTR(-ENODEV);
	}
	if (start_again(pv, to_pci_dev(dev), regs))
		return ERR_PTR(-ENODEV);
	ep = endpoint_probe(pv, dev, id);
	if (!ep)
		return ERR_PTR(-ENODEV);

	ep->door.pdev = to_pci_dev(dev);
	ep->door.regs = regs;
	ep->adopted = adopt;
	mutex_lock(&pv->lock);
	list_add_tail_rcu(&ep->node, &pv->endpoints);
	pviommu_door_enter(pv, ep);
	mutex_unlock(&pv->lock);
	dev_iommu_priv_set(dev, ep);
	return &pv->iommu;
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

/*
 * The last one of a group leaves its domain, which may be freed, for the blocked
 * one; a driver in bypass goes on. For the others a move of the group would go
 * too far, and the core keeps its domain. That is why there is no release_domain.
 *
 * DETACH names the domain, too: should the endpoint's number have become another
 * one's, that one stays where it is.
 */
static void endpoint_leave(struct pviommu_endpoint *ep)
{
	int ret;

	pviommu_events_flush(ep->pv);
	if (ep->gone || group_has_others(ep) || ep->domain == &identity_domain ||
	    ep->domain == &blocked_domain)
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

static void pviommu_release_device(struct device *dev)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);
	struct pviommu *pv = ep->pv;

	pviommu_recover_unbound(pv, dev);
	mutex_lock(&pv->lock);
	thaw(ep);
	endpoint_leave(ep);
	list_del_rcu(&ep->node);
	if (list_empty(&pv->endpoints))
		pviommu_stop(pv); /* before there is nobody to do it by */
	mutex_unlock(&pv->lock);
	pviommu_door_leave(pv, ep);

	if (ep->pinned)
		module_put(THIS_MODULE);
	kfree(ep);
}

/*
 * The host's groups are the groups. An endpoint on the list has its group as
 * long as it is there: release_device() takes it off before the core lets go.
 */
static struct iommu_group *pviommu_device_group(struct device *dev)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev), *other;
	struct pviommu *pv = ep->pv;
	struct iommu_group *group = NULL;

	mutex_lock(&pv->lock);
	list_for_each_entry(other, &pv->endpoints, node) {
		if (other == ep || other->group != ep->group)
			continue;
		group = iommu_group_get(other->dev);
		if (group)
			break;
	}
	mutex_unlock(&pv->lock);
	return group ?: iommu_group_alloc();
}

const struct iommu_ops pviommu_ops = {
	.capable = pviommu_capable,
	.identity_domain = &identity_domain,
	.blocked_domain = &blocked_domain,
#ifdef PVIOMMU_HAVE_DIRTY_OPS
	.domain_alloc_paging_flags = pviommu_domain_alloc_flags,
#else
	.domain_alloc_paging = pviommu_domain_alloc_paging,
#endif
	.probe_device = pviommu_probe_device,
	.release_device = pviommu_release_device,
	.device_group = pviommu_device_group,
	.get_resv_regions = pviommu_get_resv_regions,
	.def_domain_type = pviommu_def_domain_type,
	.default_domain_ops = &pviommu_paging_ops,
};

/**
 * pviommu_candidate() - is a device ours to take
 * @pdev: any PCI device
 *
 * Return: whether it has the capability and no other IOMMU.
 */
bool pviommu_candidate(struct pci_dev *pdev)
{
	u16 regs;

	return !pdev->dev.iommu_group && device_endpoint_id(pdev, &regs);
}

/**
 * pviommu_find_endpoint() - the endpoint that a device is
 * @pv: the interface, its lock held
 * @dev: the device
 *
 * Return: the endpoint or NULL.
 */
struct pviommu_endpoint *pviommu_find_endpoint(struct pviommu *pv,
					       struct device *dev)
{
	struct pviommu_endpoint *ep;

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->dev == dev)
			return ep;
	}
	return NULL;
}

/**
 * pviommu_manages_dma() - does a device's driver do without the DMA API
 * @dev: a PCI device that is bound, or about to be, and locked
 *
 * Return: whether it does, as VFIO.
 */
bool pviommu_manages_dma(struct device *dev)
{
	return to_pci_driver(dev->driver)->driver_managed_dma;
}

/* --- for other modules, see <linux/pv_iommu.h> --------------------------- */

static bool device_is_ours(struct device *dev)
{
	struct iommu_device *iommu = dev->iommu ? dev->iommu->iommu_dev : NULL;

	return iommu && iommu->ops->default_domain_ops == &pviommu_paging_ops;
}

struct group_query {
	unsigned int devices;
	unsigned int ours;
	unsigned int isolated;
};

static int group_query_one(struct device *dev, void *data)
{
	struct group_query *query = data;
	struct pviommu_endpoint *ep;

	query->devices++;
	if (!device_is_ours(dev))
		return 0;
	ep = dev_iommu_priv_get(dev);
	query->ours++;
	if (ep->flags & PVIOMMU_PROBE_MSI_ISOLATED)
		query->isolated++;
	return 0;
}

bool pv_iommu_group(struct iommu_group *group)
{
	struct group_query query = { };

	iommu_group_for_each_dev(group, &query, group_query_one);
	return query.devices && query.ours == query.devices;
}
EXPORT_SYMBOL_GPL(pv_iommu_group);

bool pv_iommu_msi_isolated(struct iommu_group *group)
{
	struct group_query query = { };

	iommu_group_for_each_dev(group, &query, group_query_one);
	return query.devices && query.isolated == query.devices;
}
EXPORT_SYMBOL_GPL(pv_iommu_msi_isolated);
