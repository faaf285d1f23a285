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

int pv_iommu_own(struct iommu_domain *domain,
		 const struct pv_iommu_owner_ops *ops, void *owner)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	if (!pviommu_domain_is_ours(domain) || dom->owner_ops || dom->table_format)
		return -EINVAL;
	dom->owner = owner;
	/* Who sees the ops sees the owner */
	smp_store_release(&dom->owner_ops, ops);
	return 0;
}
EXPORT_SYMBOL_GPL(pv_iommu_own);

u32 pv_iommu_restarts(struct iommu_domain *domain)
{
	return READ_ONCE(to_pviommu_domain(domain)->pv->restarts);
}
EXPORT_SYMBOL_GPL(pv_iommu_restarts);

/* A run that begins at @iova; how far it goes, run_choose() finds */
static struct pviommu_map_run run_at(struct iommu_domain *domain,
				     struct pv_iommu_batch *batch,
				     unsigned long iova, u64 gpa, int prot)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);

	return (struct pviommu_map_run) {
		.dom = dom,
		.batch = batch,
		.iova = iova,
		.gpa = gpa,
		.prot = pviommu_prot(dom, prot),
	};
}

/* Are these the bounds of something that can be mapped */
static bool run_good(const struct pviommu_map_run *run, size_t size)
{
	unsigned long pgsize = 1UL << __ffs(run->dom->domain.pgsize_bitmap);

	return run->prot && IS_ALIGNED(run->iova | run->gpa | size, pgsize);
}

/*
 * How to map the beginning of a range of @size bytes, not 0: the largest page size
 * that fits, and how many pages until a larger one does or the range ends. Its
 * bounds are good. Returns bytes.
 */
static size_t run_choose(struct pviommu_map_run *run, size_t size)
{
	unsigned long sizes = run->dom->domain.pgsize_bitmap, fit;
	u64 iova = run->iova, gpa = run->gpa, to_boundary, larger;

	fit = sizes & GENMASK(__fls(size), 0);
	if (iova | gpa)
		fit &= GENMASK(__ffs(iova | gpa), 0);
	run->pgshift = __fls(fit);

	fit = sizes & ~GENMASK(run->pgshift, 0);
	if (fit) {
		larger = 1ULL << __ffs(fit);
		to_boundary = larger - (iova & (larger - 1));
		if (!((iova ^ gpa) & (larger - 1)) && to_boundary < size &&
		    size - to_boundary >= larger)
			size = to_boundary;
	}
	run->count = size >> run->pgshift;
	return run->count << run->pgshift;
}

int pv_iommu_map(struct iommu_domain *domain, unsigned long iova,
		 phys_addr_t paddr, size_t size, int prot)
{
	struct pv_iommu_batch batch = {};
	struct pviommu_map_run run = run_at(domain, &batch, iova, paddr, prot);

	if (!run_good(&run, size))
		return -EINVAL;
	if (run_choose(&run, size) != size)
		return -EAGAIN;
	return pviommu_map_now(&run);
}
EXPORT_SYMBOL_GPL(pv_iommu_map);

/* In pages of the sizes that fit; @run has all but these */
static int run_queue(struct pviommu_map_run *run, size_t size, bool may_sleep)
{
	size_t chosen;
	int ret;

	if (!run_good(run, size))
		return -EINVAL;

	while (size) {
		chosen = run_choose(run, size);
		ret = pviommu_queue_map(run, may_sleep);
		if (ret)
			return ret;
		run->iova += chosen;
		run->gpa += chosen;
		size -= chosen;
	}
	return 0;
}

int pv_iommu_map_nosync(struct iommu_domain *domain,
			struct pv_iommu_batch *batch, unsigned long iova,
			phys_addr_t paddr, size_t size, int prot, bool may_sleep)
{
	struct pviommu_map_run run = run_at(domain, batch, iova, paddr, prot);

	return run_queue(&run, size, may_sleep);
}
EXPORT_SYMBOL_GPL(pv_iommu_map_nosync);

int pv_iommu_map_foreign_nosync(struct iommu_domain *domain,
				struct pv_iommu_batch *batch, unsigned long iova,
				u32 vm, u64 gpa, size_t size, int prot,
				bool may_sleep)
{
	struct pviommu_map_run run = run_at(domain, batch, iova, gpa, prot);

	if (!(pv_iommu_features(domain) & PVIOMMU_F_FOREIGN))
		return -EOPNOTSUPP;
	/* Our own memory is not to be had by this: nobody would have pinned it */
	if (vm == PVIOMMU_VM_SELF)
		return -EINVAL;
	run.vm = vm;
	return run_queue(&run, size, may_sleep);
}
EXPORT_SYMBOL_GPL(pv_iommu_map_foreign_nosync);

u64 pv_iommu_features(struct iommu_domain *domain)
{
	return to_pviommu_domain(domain)->pv->features;
}
EXPORT_SYMBOL_GPL(pv_iommu_features);

int pv_iommu_sync_map(struct iommu_domain *domain,
		      const struct pv_iommu_batch *batch, unsigned long iova,
		      size_t size)
{
	pviommu_drain_maps(to_pviommu_domain(domain), iova, size, true);
	return batch->error;
}
EXPORT_SYMBOL_GPL(pv_iommu_sync_map);

int pv_iommu_unmap_nosync(struct iommu_domain *domain, unsigned long iova,
			  size_t size)
{
	return pviommu_queue_unmap(to_pviommu_domain(domain), iova, size, true);
}
EXPORT_SYMBOL_GPL(pv_iommu_unmap_nosync);

/* Is it certain that no device reaches what was removed */
static int flush_result(struct pviommu_domain *dom, int ret)
{
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

int pv_iommu_unmap(struct iommu_domain *domain, unsigned long iova, size_t size)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	int ret = pviommu_unmap_now(dom, iova, size);

	/* No device reaches anything in a domain that the host does not have */
	return flush_result(dom, ret == -ENOENT ? 0 : ret);
}
EXPORT_SYMBOL_GPL(pv_iommu_unmap);

int pv_iommu_lookup(struct iommu_domain *domain, u64 iova, phys_addr_t *paddr)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_op op;
	int ret;

	pviommu_op_init(&op, PVIOMMU_OP_LOOKUP);
	op.lookup.iova = cpu_to_le64(iova);
	ret = pviommu_ask(dom, &op, true);
	if (!ret)
		*paddr = le64_to_cpu(op.lookup.gpa);
	return !ret || ret == -ENOENT ? ret : -EIO;
}
EXPORT_SYMBOL_GPL(pv_iommu_lookup);

int pv_iommu_invalidate(struct iommu_domain *domain,
			enum pviommu_granularity granularity, u32 pasid,
			u64 addr, u64 size, u32 flags)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	int ret;

	if ((flags & ~PVIOMMU_INV_F_LEAF) ||
	    (granularity == PVIOMMU_INV_PAGE &&
	     (!size || addr + (size - 1) < addr)))
		return -EINVAL;
	ret = pviommu_domain_invalidate(dom, granularity, pasid, addr, size,
					flags, true);
	return flush_result(dom, ret);
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
