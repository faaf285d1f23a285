// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: domains with an owner, for other modules.
 *
 * Who keeps a record of all mappings anyway, as the VFIO backend does, need not
 * have them in the domain's store a second time: for one page that is a good
 * part of what mapping costs. Instead
 *
 *  - the host's refusal of a map is told to the batch that it belongs to,
 *  - an unmap asks the host for the whole range, whatever is mapped there,
 *  - what the host has forgotten is brought back by the owner, and
 *  - the owner is asked where an IOVA leads.
 *
 * When the host was told anew while a batch was being mapped, a part of it may
 * be lost: see pv_iommu_restarts().
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/module.h>

#include "pv-iommu.h"

static struct pviommu_domain *owned(struct iommu_domain *domain)
{
	return to_pviommu_domain(domain);
}

int pv_iommu_own(struct iommu_domain *domain,
		 const struct pv_iommu_owner_ops *ops, void *owner)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (domain->ops != &pviommu_paging_ops || dom->owner_ops)
		return -EINVAL;
	dom->owner = owner;
	/* Who sees the ops sees the owner */
	smp_store_release(&dom->owner_ops, ops);
	return 0;
}
EXPORT_SYMBOL_GPL(pv_iommu_own);

u32 pv_iommu_restarts(struct iommu_domain *domain)
{
	return READ_ONCE(owned(domain)->pv->restarts);
}
EXPORT_SYMBOL_GPL(pv_iommu_restarts);

/*
 * How to map the beginning of a range: the largest page size that fits, and
 * how many pages until a larger one does or the range ends. What is passed is
 * aligned to the smallest page size.
 */
static unsigned int next_pages(struct pviommu_domain *dom, u64 iova, u64 gpa,
			       size_t size, size_t *count)
{
	unsigned long sizes = dom->domain.pgsize_bitmap, fit;
	u64 to_boundary, larger;
	unsigned int shift;

	fit = sizes & GENMASK(__fls(size), 0);
	if (iova | gpa)
		fit &= GENMASK(__ffs(iova | gpa), 0);
	shift = __fls(fit);

	fit = sizes & ~GENMASK(shift, 0);
	if (fit) {
		larger = 1ULL << __ffs(fit);
		to_boundary = larger - (iova & (larger - 1));
		if (!((iova ^ gpa) & (larger - 1)) && to_boundary < size &&
		    size - to_boundary >= larger)
			size = to_boundary;
	}
	*count = size >> shift;
	return shift;
}

int pv_iommu_map_nosync(struct iommu_domain *domain,
			struct pv_iommu_batch *batch, unsigned long iova,
			phys_addr_t paddr, size_t size, int prot, bool may_sleep)
{
	struct pviommu_domain *dom = owned(domain);
	u8 host_prot = pviommu_prot(dom, prot);
	unsigned int shift;
	size_t count;
	int ret;

	if (!host_prot || !IS_ALIGNED(iova | paddr | size,
				      1UL << __ffs(domain->pgsize_bitmap)))
		return -EINVAL;

	while (size) {
		shift = next_pages(dom, iova, paddr, size, &count);
		ret = pviommu_queue_map(dom, batch, iova, paddr, shift, count,
					host_prot, may_sleep);
		if (ret)
			return ret;
		iova += count << shift;
		paddr += count << shift;
		size -= count << shift;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(pv_iommu_map_nosync);

int pv_iommu_sync_map(struct iommu_domain *domain,
		      const struct pv_iommu_batch *batch, unsigned long iova,
		      size_t size)
{
	pviommu_drain_maps(owned(domain), iova, size, true);
	return batch->error;
}
EXPORT_SYMBOL_GPL(pv_iommu_sync_map);

int pv_iommu_unmap_nosync(struct iommu_domain *domain, unsigned long iova,
			  size_t size)
{
	return pviommu_queue_unmap(owned(domain), iova, size, true);
}
EXPORT_SYMBOL_GPL(pv_iommu_unmap_nosync);

int pv_iommu_lookup(struct iommu_domain *domain, u64 iova, phys_addr_t *paddr)
{
	struct pviommu_domain *dom = owned(domain);
	struct pviommu_op op;
	int ret;

	pviommu_op_init(&op, PVIOMMU_OP_LOOKUP);
	op.lookup.iova = cpu_to_le64(iova);
	ret = pviommu_ask(dom, &op);
	if (!ret)
		*paddr = le64_to_cpu(op.lookup.gpa);
	return !ret || ret == -ENOENT ? ret : -EIO;
}
EXPORT_SYMBOL_GPL(pv_iommu_lookup);

int pv_iommu_invalidate(struct iommu_domain *domain,
			enum pviommu_granularity granularity, u32 pasid,
			u64 addr, u64 size, u32 flags)
{
	struct pviommu_domain *dom = owned(domain);
	int ret;

	if ((flags & ~PVIOMMU_INV_F_LEAF) ||
	    (granularity == PVIOMMU_INV_PAGE &&
	     (!size || addr + (size - 1) < addr)))
		return -EINVAL;
	ret = pviommu_domain_invalidate(dom, granularity, pasid, addr, size,
					flags, true);
	if (!ret && READ_ONCE(dom->unmap_refused))
		ret = -EIO;
	switch (ret) {
	case 0:
	case -EOPNOTSUPP:
	case -EINVAL:
		return ret;
	default:
		return -EIO;
	}
}
EXPORT_SYMBOL_GPL(pv_iommu_invalidate);

/**
 * pviommu_owned_restart() - have the owner bring back what was mapped
 * @dom: the domain, of which the host has nothing
 *
 * No other CPU runs and interrupts are disabled.
 */
void pviommu_owned_restart(struct pviommu_domain *dom)
{
	struct pv_iommu_batch batches[PV_IOMMU_REPLAY_BATCHES] = {};
	unsigned int i;
	int ret;

	ret = dom->owner_ops->replay(dom->owner, batches);
	pviommu_drain_domain(dom, false);
	for (i = 0; !ret && i < ARRAY_SIZE(batches); i++)
		ret = batches[i].error;
	if (ret)
		pviommu_report_lost(dom, ret);
}
