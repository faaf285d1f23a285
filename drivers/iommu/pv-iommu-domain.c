// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: paging domains.
 *
 * A mapping is entered into the domain's store, then queued for the host; a
 * removal is taken out of the store, then queued. So the store is what the user
 * of the domain has asked for. If the host refuses a mapping, its entry becomes a
 * failed one. The user learns of that from iotlb_sync_map and then unmaps, which
 * removes the failed entries together with the good ones.
 *
 * A domain with an owner has no store: see pv-iommu-owned.c.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/module.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/* --- mapping ------------------------------------------------------------- */

/**
 * pviommu_prot() - convert the permissions of a mapping for the host
 * @dom: the domain
 * @prot: IOMMU_READ and so on
 *
 * Return: PVIOMMU_PROT_*; 0 if it allows nothing, or is for MMIO: the host maps
 * memory of the guest and nothing else.
 */
u8 pviommu_prot(struct pviommu_domain *dom, int prot)
{
	u8 out = 0;

	if (prot & IOMMU_READ)
		out |= PVIOMMU_PROT_READ;
	if (prot & IOMMU_WRITE)
		out |= PVIOMMU_PROT_WRITE;
	if (!out || (prot & IOMMU_MMIO))
		return 0;
	if ((prot & IOMMU_NOEXEC) && dom->noexec)
		out |= PVIOMMU_PROT_NOEXEC;
	return out;
}

/* Sets *mapped to how much is in the store, also on failure. */
static int pviommu_map_pages(struct iommu_domain *domain, unsigned long iova,
			     phys_addr_t paddr, size_t pgsize, size_t pgcount,
			     int prot, gfp_t gfp, size_t *mapped)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_map_run run = {
		.dom = dom,
		.iova = iova,
		.gpa = paddr,
		.count = pgcount,
		.pgshift = ilog2(pgsize),
		.prot = pviommu_prot(dom, prot),
	};
	bool may_sleep = gfpflags_allow_blocking(gfp);
	int ret, err;

	*mapped = 0;
	if (dom->table_format || (prot & IOMMU_MMIO))
		return -EOPNOTSUPP;
	if (!run.prot || dom->owner_ops)
		return -EINVAL;
	if (READ_ONCE(dom->pv->broken))
		return -EIO;

	/*
	 * Other users than the DMA API, which reuses an IOVA only after a flush, may map
	 * where they have just unmapped.
	 */
	if (!iommu_is_dma_domain(domain))
		pviommu_drain_unmaps(dom, iova, pgsize * pgcount, may_sleep);

	ret = pviommu_store_insert(&run, gfp, &run.count);
	*mapped = run.count * pgsize;
	if (!run.count)
		return ret;

	err = pviommu_queue_map(&run, may_sleep);
	if (err)
		pviommu_store_fail(dom, iova, *mapped, err);
	return ret ?: err;
}

static int pviommu_iotlb_sync_map(struct iommu_domain *domain,
				  unsigned long iova, size_t size)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (!size)
		return 0;
	pviommu_drain_maps(dom, iova, size, false);
	return pviommu_store_error(dom, iova, size);
}

static size_t pviommu_unmap_pages(struct iommu_domain *domain,
				  unsigned long iova, size_t pgsize,
				  size_t pgcount,
				  struct iommu_iotlb_gather *gather)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	size_t size = pgsize * pgcount, done = 0, erased;
	bool failed;

	/*
	 * There are maps to drain only when a mapping is undone that was not synced. One
	 * that failed later would turn an entry into a failed one, that may be another
	 * mapping's by then.
	 */
	pviommu_drain_maps(dom, iova, size, false);

	while (done < size) {
		erased = pviommu_store_erase(dom, iova + done, size - done,
					     &failed);
		if (!erased)
			break;
		/*
		 * Where a mapping has failed the host has nothing, with three exceptions.
		 * A restart may have replayed a mapping that was in the store but not yet
		 * queued, which then failed with EEXIST. Of a large page only a part may
		 * have been revoked. And what was revoked may have been mapped again, to
		 * the same page, before the event arrived.
		 */
		if (!failed || READ_ONCE(dom->pv->restarts) ||
		    READ_ONCE(dom->revoked)) {
			/* A broken interface has said so already */
			pviommu_queue_unmap(dom, iova + done, erased, false);
			if (!iommu_iotlb_gather_queued(gather))
				iommu_iotlb_gather_add_range(gather,
							     iova + done,
							     erased);
		}
		done += erased;
	}
	return done;
}

/* --- flushing ------------------------------------------------------------ */

/**
 * pviommu_domain_invalidate() - have the host flush
 * @dom: the domain
 * @granularity: PVIOMMU_INV_*
 * @pasid: PVIOMMU_PASID_NONE or a PASID
 * @addr: first IOVA, for PVIOMMU_INV_PAGE
 * @size: bytes, for PVIOMMU_INV_PAGE
 * @flags: PVIOMMU_INV_F_*
 * @may_sleep: the caller may sleep
 *
 * Return: 0 or a negative errno, -EIO if the interface is broken.
 */
int pviommu_domain_invalidate(struct pviommu_domain *dom, u32 granularity,
			      u32 pasid, u64 addr, u64 size, u16 flags,
			      bool may_sleep)
{
	struct pviommu_op op;
	int ret;

	pviommu_op_invalidate(&op, granularity, addr, size);
	op.flags = cpu_to_le16(flags);
	op.pasid = cpu_to_le32(pasid);
	ret = pviommu_invalidate(dom, &op, may_sleep);
	/* Devices reach nothing in a domain that the host does not have */
	return ret == -ENOENT ? 0 : ret;
}

/* For callers that don't handle failures: these are reported to the log */
static void domain_flush(struct pviommu_domain *dom, u32 granularity,
			 u64 addr, u64 size)
{
	int ret = pviommu_domain_invalidate(dom, granularity,
					    PVIOMMU_PASID_NONE, addr, size, 0,
					    false);

	if (ret && !READ_ONCE(dom->pv->broken))
		pviommu_report_removal(dom, addr, size, 0, ret);
}

static void pviommu_flush_iotlb_all(struct iommu_domain *domain)
{
	domain_flush(to_pviommu_domain(domain), PVIOMMU_INV_DOMAIN, 0, 0);
}

static void pviommu_iotlb_sync(struct iommu_domain *domain,
			       struct iommu_iotlb_gather *gather)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (gather->start > gather->end)
		return; /* nothing was unmapped */
	if (gather->start <= domain->geometry.aperture_start &&
	    gather->end >= domain->geometry.aperture_end)
		domain_flush(dom, PVIOMMU_INV_DOMAIN, 0, 0);
	else
		domain_flush(dom, PVIOMMU_INV_PAGE, gather->start,
			     gather->end - gather->start + 1);
}

/* --- looking ------------------------------------------------------------- */

static phys_addr_t pviommu_iova_to_phys(struct iommu_domain *domain,
					dma_addr_t iova)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (dom->owner_ops)
		return dom->owner_ops->iova_to_phys(dom->owner, iova);
	return pviommu_store_lookup(dom, iova);
}

static bool pviommu_enforce_cache_coherency(struct iommu_domain *domain)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (dom->coherent)
		dom->enforced = true;
	return dom->coherent;
}

/* --- attaching ----------------------------------------------------------- */

/**
 * pviommu_domain_suits() - can an endpoint be attached to a domain
 * @dom: the domain
 * @ep: the endpoint
 *
 * Return: whether the endpoint has all properties that the domain has.
 */
bool pviommu_domain_suits(struct pviommu_domain *dom,
			  struct pviommu_endpoint *ep)
{
	const struct iommu_domain_geometry *geo = &dom->domain.geometry;

	if (dom->pv != ep->pv || (dom->domain.pgsize_bitmap & ~ep->pgsizes))
		return false;
	if (geo->aperture_start < ep->window_start ||
	    geo->aperture_end > ep->window_last)
		return false;
	if (dom->noexec && !(ep->flags & PVIOMMU_PROBE_NOEXEC))
		return false;
	return !dom->enforced || (ep->flags & PVIOMMU_PROBE_COHERENT);
}

/*
 * A domain that user space has may outlive the driver binding of the device that it was
 * made for, and this module's code is needed to free it. So a domain holds a reference on
 * the module. A domain of the DMA API must not, as it is freed with its group when this
 * module is unloaded. Which of the two it is, is known when it is attached.
 */
static void domain_unpin(struct pviommu_domain *dom)
{
	if (dom->pinned)
		module_put(THIS_MODULE);
	dom->pinned = false;
}

static int paging_attach(struct iommu_domain *domain, struct device *dev)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);
	int ret;

	if (iommu_is_dma_domain(domain))
		domain_unpin(dom);
	if (!pviommu_domain_suits(dom, ep))
		return -EINVAL;
	ret = pviommu_attach(ep, domain);
	if (!ret && !(ep->flags & PVIOMMU_PROBE_COHERENT))
		dom->coherent = false;
	return ret;
}

#ifdef PVIOMMU_HAVE_ATTACH_OLD
static int pviommu_attach_dev(struct iommu_domain *domain, struct device *dev,
			      struct iommu_domain *old)
{
	return paging_attach(domain, dev);
}
#else
static int pviommu_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	return paging_attach(domain, dev);
}
#endif

/* To the domain, attaching it by PASID is the same as attaching it to the device itself */
static int pviommu_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
				 ioasid_t pasid, struct iommu_domain *old)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);
	int ret;

	if (!pviommu_domain_suits(dom, ep))
		return -EINVAL;
	ret = pviommu_pasid_attach(ep, domain, pasid, old);
	if (!ret && !(ep->flags & PVIOMMU_PROBE_COHERENT))
		dom->coherent = false;
	return ret;
}

/* --- life of a domain ---------------------------------------------------- */

static int domain_alloc_id(struct pviommu_domain *dom, u32 endpoint)
{
	struct pviommu_op op;
	u64 id;
	int ret;

	pviommu_op_init(&op, PVIOMMU_OP_ALLOC);
	op.endpoint = cpu_to_le32(endpoint);
	op.alloc.type = cpu_to_le32(dom->table_format ? PVIOMMU_TYPE_TABLE :
							PVIOMMU_TYPE_PAGING);
	op.alloc.format = cpu_to_le32(dom->table_format);
	op.alloc.root = cpu_to_le64(dom->table_root);
	if (dom->table_watch)
		op.flags = cpu_to_le16(PVIOMMU_ALLOC_F_WATCH);
	ret = pviommu_request(dom->pv, &op, &id);
	if (ret)
		return ret;
	if (id < PVIOMMU_DOMAIN_FIRST || id >= U32_MAX)
		return -EIO;
	dom->id = id;
	return 0;
}

static void domain_free_id(struct pviommu_domain *dom)
{
	struct pviommu_op op;
	int ret;

	if (dom->id == U32_MAX)
		return;
	pviommu_op_init(&op, PVIOMMU_OP_FREE);
	op.domain = cpu_to_le32(dom->id);
	ret = pviommu_request_long(dom->pv, &op, NULL);
	if (ret && !READ_ONCE(dom->pv->broken))
		pr_err("domain %u: the host did not free it: %d\n", dom->id,
		       ret);
}

static void domain_take_limits(struct pviommu_domain *dom,
			       const struct pviommu_endpoint *ep)
{
	dom->domain.pgsize_bitmap = ep->pgsizes;
	dom->domain.geometry.aperture_start = ep->window_start;
	dom->domain.geometry.aperture_end = ep->window_last;
	dom->domain.geometry.force_aperture = true;
	dom->coherent = ep->flags & PVIOMMU_PROBE_COHERENT;
	dom->noexec = ep->flags & PVIOMMU_PROBE_NOEXEC;
}

/**
 * pviommu_domain_alloc_paging() - create a domain that suits a device
 * @dev: the device
 *
 * Context: process, may sleep; takes pviommu.lock.
 * Return: the domain or an ERR_PTR().
 */
struct iommu_domain *pviommu_domain_alloc_paging(struct device *dev)
{
	struct pviommu_endpoint *ep = dev ? dev_iommu_priv_get(dev) : NULL;
	struct pviommu_domain *dom;
	struct pviommu *pv;
	int ret;

	if (!ep)
		return ERR_PTR(-ENODEV);
	pv = ep->pv;

	dom = kzalloc(struct_size(dom, pending, pv->nr_rings), GFP_KERNEL);
	if (!dom)
		return ERR_PTR(-ENOMEM);
	dom->nr_pending = pv->nr_rings;
	dom->pv = pv;
	xa_init_flags(&dom->store, XA_FLAGS_LOCK_IRQ);
	domain_take_limits(dom, ep);

	mutex_lock(&pv->lock);
	ret = domain_alloc_id(dom, ep->id);
	if (!ret)
		list_add_tail(&dom->node, &pv->domains);
	mutex_unlock(&pv->lock);
	if (ret) {
		kfree(dom);
		return ERR_PTR(ret);
	}
	dom->pinned = try_module_get(THIS_MODULE);
	return &dom->domain;
}

/**
 * pviommu_domain_restart() - have the host make a domain again that it has forgotten
 * @dom: the domain; nobody else changes what is mapped in it
 * @endpoint: the host's number of an endpoint that it suits; 0 if there is none
 *
 * Mappings that the host refuses become failed entries in the store; for a domain with an
 * owner they are reported. So is it, for any domain, if the host did not make it; unless there
 * is no endpoint, then it is made when there is one.
 *
 * Context: nothing else runs, interrupts are disabled.
 * Return: 0; or a negative errno if the host did not make it, then dom->id is U32_MAX.
 */
int pviommu_domain_restart(struct pviommu_domain *dom, u32 endpoint)
{
	int ret;

	/* The number that it had may belong to another domain by now */
	dom->id = U32_MAX;
	/* Whatever the host has not unmapped then is unmapped now */
	dom->unmap_refused = false;
	ret = domain_alloc_id(dom, endpoint);
	if (ret) {
		if (endpoint)
			pviommu_report_lost(dom, ret);
		return ret;
	}
	/* What was lost before, and not told yet, is tried again */
	xchg(&dom->lost_error, 0);
	if (READ_ONCE(dom->dirty))
		pv_iommu_dirty_start(&dom->domain);
	if (dom->owner_ops)
		pviommu_owned_restart(dom);
	else
		pviommu_store_replay(dom);
	pviommu_drain_domain(dom, false);
	if (dom->table_format)
		domain_flush(dom, PVIOMMU_INV_DOMAIN, 0, 0);
	return 0;
}

static void pviommu_domain_free(struct iommu_domain *domain)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu *pv = dom->pv;

	pviommu_drain_domain(dom, true);

	/* It must be off the list before the host can give its number to another one */
	mutex_lock(&pv->lock);
	pviommu_forget_domain(pv, domain);
	list_del(&dom->node);
	domain_free_id(dom);
	/* What is left of its events is not for the next domain of that number */
	pviommu_events_flush(pv);
	mutex_unlock(&pv->lock);

	pviommu_store_destroy(dom);
	domain_unpin(dom);
	kfree(dom);
}

const struct iommu_domain_ops pviommu_paging_ops = {
	.attach_dev = pviommu_attach_dev,
	.set_dev_pasid = pviommu_set_dev_pasid,
	.map_pages = pviommu_map_pages,
	.unmap_pages = pviommu_unmap_pages,
	.flush_iotlb_all = pviommu_flush_iotlb_all,
	.iotlb_sync_map = pviommu_iotlb_sync_map,
	.iotlb_sync = pviommu_iotlb_sync,
	.iova_to_phys = pviommu_iova_to_phys,
	.enforce_cache_coherency = pviommu_enforce_cache_coherency,
	.free = pviommu_domain_free,
};

/**
 * pviommu_domain_is_ours() - is this a paging domain of ours
 * @domain: any domain
 *
 * Return: true if it is.
 */
bool pviommu_domain_is_ours(struct iommu_domain *domain)
{
	return domain->ops == &pviommu_paging_ops;
}

int pv_iommu_make_table(struct iommu_domain *domain, struct device *dev, u32 format,
			u64 root, bool watch)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_endpoint *ep = dev_iommu_priv_get(dev);
	int ret;

	if (!pviommu_domain_is_ours(domain) || dom->owner_ops || !ep || dom->pv != ep->pv)
		return -EINVAL;
	if (format == PVIOMMU_TABLE_NONE || !(dom->pv->features & PVIOMMU_F_TABLES))
		return -EOPNOTSUPP;
	mutex_lock(&dom->pv->lock);
	domain_free_id(dom);
	dom->id = U32_MAX;
	dom->table_format = format;
	dom->table_root = root;
	dom->table_watch = watch;
	ret = domain_alloc_id(dom, ep->id);
	mutex_unlock(&dom->pv->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(pv_iommu_make_table);
