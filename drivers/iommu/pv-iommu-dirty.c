// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: dirty page logging. The host keeps the log;
 * it is switched on for a domain, and read range by range.
 */
#include <linux/io.h>
#include <linux/slab.h>

#include "pv-iommu.h"

static int dirty_request(struct iommu_domain *domain, u16 code)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_op op;

	if (!pviommu_domain_is_ours(domain))
		return -EINVAL;
	if (!(dom->pv->features & PVIOMMU_F_DIRTY))
		return -EOPNOTSUPP;
	pviommu_op_init(&op, code);
	op.domain = cpu_to_le32(dom->id);
	return pviommu_request(dom->pv, &op, NULL);
}

int pv_iommu_dirty_start(struct iommu_domain *domain)
{
	int ret = dirty_request(domain, PVIOMMU_OP_DIRTY_START);

	if (!ret)
		WRITE_ONCE(to_pviommu_domain(domain)->dirty, true);
	return ret;
}
EXPORT_SYMBOL_GPL(pv_iommu_dirty_start);

int pv_iommu_dirty_stop(struct iommu_domain *domain)
{
	if (pviommu_domain_is_ours(domain))
		WRITE_ONCE(to_pviommu_domain(domain)->dirty, false);
	return dirty_request(domain, PVIOMMU_OP_DIRTY_STOP);
}
EXPORT_SYMBOL_GPL(pv_iommu_dirty_stop);

int pv_iommu_dirty_read(struct iommu_domain *domain, unsigned long iova,
			size_t npages, __le64 *bits)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_op op;

	if (!pviommu_domain_is_ours(domain) || !npages ||
	    npages > PV_IOMMU_DIRTY_PAGES)
		return -EINVAL;
	if (!(dom->pv->features & PVIOMMU_F_DIRTY))
		return -EOPNOTSUPP;
	/* What is queued must be there to be reported */
	pviommu_drain_maps(dom, iova, (u64)npages << PVIOMMU_PAGE_SHIFT, true);
	pviommu_op_init(&op, PVIOMMU_OP_DIRTY_READ);
	op.domain = cpu_to_le32(dom->id);
	op.dirty.iova = cpu_to_le64(iova);
	op.dirty.size = cpu_to_le64((u64)npages << PVIOMMU_PAGE_SHIFT);
	op.dirty.gpa = cpu_to_le64(virt_to_phys(bits));
	op.dirty.pgshift = PVIOMMU_PAGE_SHIFT;
	return pviommu_request_long(dom->pv, &op);
}
EXPORT_SYMBOL_GPL(pv_iommu_dirty_read);
