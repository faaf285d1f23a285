// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: domains with an owner, for other modules.
 *
 * A module that keeps a record of all mappings anyway, as the VFIO backend does,
 * does not need the domain's store as a second one: for a single page the store is a
 * good part of what mapping costs. Instead
 *
 *  - if the host refuses a map, that is noted in the batch that it belongs to,
 *  - an unmap asks the host to unmap the whole range, whatever is mapped there,
 *  - after the host has forgotten everything, the owner replays its mappings, and
 *  - iova_to_phys asks the owner.
 *
 * If there was a restart while a batch was being mapped, a part of it may be lost:
 * see pv_iommu_restarts().
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
	/* A reader that sees the ops also sees the owner */
	smp_store_release(&dom->owner_ops, ops);
	return 0;
}
EXPORT_SYMBOL_GPL(pv_iommu_own);

u32 pv_iommu_restarts(struct iommu_domain *domain)
{
	return READ_ONCE(to_pviommu_domain(domain)->pv->restarts);
}
EXPORT_SYMBOL_GPL(pv_iommu_restarts);

bool pv_iommu_broken(struct iommu_domain *domain)
{
	return READ_ONCE(to_pviommu_domain(domain)->pv->broken);
}
EXPORT_SYMBOL_GPL(pv_iommu_broken);

/* A run that begins at @iova; run_choose() sets its length and page size */
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

/* Whether a run of @size bytes can be mapped: alignment, and permissions */
static bool run_good(const struct pviommu_map_run *run, size_t size)
{
	unsigned long pgsize = 1UL << __ffs(run->dom->domain.pgsize_bitmap);

	return run->prot && IS_ALIGNED(run->iova | run->gpa | size, pgsize);
}

/*
 * Choose how to map the beginning of a range of @size bytes, which run_good() has approved:
 * with the largest page size that fits, up to where a larger one fits or the range ends.
 * Return: bytes.
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

/* Queue a range, in runs with pages of the sizes that fit; @run has everything else */
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
	/* Not for memory of this VM, which nobody would have pinned */
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

/* 0 only if it is certain that no device reaches what was removed */
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

	/* Devices reach nothing in a domain that the host does not have */
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
 * pviommu_owned_restart() - have the owner replay what was mapped, in a restart
 * @dom: the domain, of which the host has nothing
 *
 * What can't be mapped again is reported.
 *
 * Context: no other CPU runs and interrupts are disabled.
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
