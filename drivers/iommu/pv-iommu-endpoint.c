// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: endpoints, and the iommu_ops that are about
 * devices.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

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
		/* The host's VFIO gives no other devices to a VM */
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
 * A driver that was bound before this module was loaded uses physical addresses for DMA, and
 * goes on with them until it is unbound.
 */
static int pviommu_def_domain_type(struct device *dev)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);

	return READ_ONCE(ep->adopted) ? IOMMU_DOMAIN_IDENTITY : 0;
}

/* --- endpoints come and go ----------------------------------------------- */

#define PROBE_MAX_REGIONS \
	((PAGE_SIZE - sizeof(struct pviommu_probe)) / \
	 sizeof(struct pviommu_region))

/* Page sizes that we can use; 0 if none */
static u64 usable_pgsizes(u64 pgsizes)
{
	/* Without multi-index entries the store can't hold large pages */
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

		/* Nor the whole address space, whose length is not a u64 */
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
	ep->pasid_bits = le32_to_cpu(probe->pasid_bits);
}

/* Create an endpoint from the answer of PROBE; NULL: no memory, or the answer is nonsense */
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
	xa_init(&ep->pasids);
	endpoint_set(ep, id, probe);
	if (le32_to_cpu(probe->domain) == PVIOMMU_DOMAIN_BYPASS)
		ep->domain = &pviommu_identity_domain;
	else if (le32_to_cpu(probe->domain) == PVIOMMU_DOMAIN_BLOCKED)
		ep->domain = &pviommu_blocked_domain;
	return ep;
}

/* PROBE an endpoint id; @probe is a page */
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
 * pviommu_endpoint_again() - probe an endpoint again in a restart
 * @ep: the endpoint; the interface has just been started, and nobody else uses it
 *
 * The VM that wakes up may have been created anew, with other numbers. Reserved regions are
 * not updated, as the IOMMU core would not ask for them again.
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
 * The interface was stopped when the last endpoint was removed: the next one starts it again.
 * Events are handled first, as an endpoint that is gone may have had the number that the new
 * one has now.
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
		/* A domain that can't be made without an endpoint is when there is one */
		if (!READ_ONCE(pv->broken))
			ret = 0;
	}
	mutex_unlock(&pv->lock);
	return ret;
}

/*
 * Domains that the host could not make again after a restart, as there was no endpoint that they
 * suit, can be now: their users may map before they attach anything.
 */
static void make_missing_domains(struct pviommu_endpoint *ep)
{
	struct pviommu_domain *dom;

	lockdep_assert_held(&ep->pv->lock);
	list_for_each_entry(dom, &ep->pv->domains, node)
		if (dom->id == U32_MAX && pviommu_domain_suits(dom, ep))
			pviommu_domain_restart_live(dom, ep->id);
}

/*
 * A device without our capability, or that the host refuses, is not behind this IOMMU: on
 * -ENODEV the core goes on without it.
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
	WRITE_ONCE(pv->asked, true);
	id = device_endpoint_id(to_pci_dev(dev), &regs);
	if (!id)
		return ERR_PTR(-ENODEV);
	/* The driver can't change meanwhile: see candidates_lock() */
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
	make_missing_domains(ep);
	mutex_unlock(&pv->lock);
	dev_iommu_priv_set(dev, ep);
	pviommu_pasids_enable(ep);
	return &pv->iommu;
}

static void pviommu_release_device(struct device *dev)
{
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);
	struct pviommu *pv = ep->pv;

	pviommu_recover_unbound(pv, dev);
	pviommu_pasids_disable(ep);
	mutex_lock(&pv->lock);
	pviommu_leave(ep);
	list_del_rcu(&ep->node);
	if (list_empty(&pv->endpoints))
		pviommu_stop(pv); /* while there is a device to do it by */
	mutex_unlock(&pv->lock);
	pviommu_door_leave(pv, ep);

	if (ep->pinned)
		module_put(THIS_MODULE);
	kfree(ep);
}

/*
 * Groups are those of the host. An endpoint that is on the list has a group, as
 * release_device() takes it off the list before the core drops the group.
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

#ifndef PVIOMMU_HAVE_BLOCKED_PASID
static void pviommu_remove_dev_pasid(struct device *dev, ioasid_t pasid,
				     struct iommu_domain *domain)
{
	pviommu_pasid_detach(dev_iommu_priv_get(dev), pasid);
}
#endif

const struct iommu_ops pviommu_ops = {
	.capable = pviommu_capable,
	.identity_domain = &pviommu_identity_domain,
	.blocked_domain = &pviommu_blocked_domain,
#ifdef PVIOMMU_HAVE_DIRTY_OPS
	.domain_alloc_paging_flags = pviommu_domain_alloc_flags,
#else
	.domain_alloc_paging = pviommu_domain_alloc_paging,
#endif
	.probe_device = pviommu_probe_device,
	.release_device = pviommu_release_device,
	.device_group = pviommu_device_group,
#ifndef PVIOMMU_HAVE_BLOCKED_PASID
	.remove_dev_pasid = pviommu_remove_dev_pasid,
#endif
	.get_resv_regions = pviommu_get_resv_regions,
	.def_domain_type = pviommu_def_domain_type,
	.default_domain_ops = &pviommu_paging_ops,
};

/**
 * pviommu_candidate() - may a device become an endpoint
 * @pdev: any PCI device
 *
 * Return: whether it has the capability and is not behind another IOMMU.
 */
bool pviommu_candidate(struct pci_dev *pdev)
{
	u16 regs;

	return !pdev->dev.iommu_group && device_endpoint_id(pdev, &regs);
}

/**
 * pviommu_find_endpoint() - find the endpoint of a device
 * @pv: the interface, its lock held
 * @dev: any device
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
 * pviommu_manages_dma() - does a device's driver manage DMA itself
 * @dev: a PCI device that has a driver, or is about to be bound to one; locked
 *
 * Return: true if it does, as VFIO, and so does not use the DMA API.
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
