// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: dirty page logging. The host keeps the log;
 * it is switched on for a domain, and read range by range.
 */
#include <linux/io.h>
#include <linux/iova_bitmap.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "pv-iommu.h"

/* Whether the host can log dirty pages of a domain */
static int dirty_check(struct iommu_domain *domain)
{
	if (!pviommu_domain_is_ours(domain))
		return -EINVAL;
	return to_pviommu_domain(domain)->pv->features & PVIOMMU_F_DIRTY ?
	       0 : -EOPNOTSUPP;
}

static int dirty_request(struct iommu_domain *domain, u16 code)
{
	struct pviommu_domain *dom = to_pviommu_domain(domain);
	struct pviommu_op op;
	int ret = dirty_check(domain);

	if (ret)
		return ret;
	pviommu_op_init(&op, code);
	/* Also called in a restart, which must not sleep. One doorbell does it. */
	return pviommu_ask(dom, &op, false);
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
	int ret;

	if (!npages || npages > PV_IOMMU_DIRTY_PAGES)
		return -EINVAL;
	ret = dirty_check(domain);
	if (ret)
		return ret;
	/* Maps that are still queued would not be reported */
	pviommu_drain_maps(dom, iova, (u64)npages << PVIOMMU_PAGE_SHIFT, true);
	pviommu_op_init(&op, PVIOMMU_OP_DIRTY_READ);
	op.dirty.iova = cpu_to_le64(iova);
	op.dirty.size = cpu_to_le64((u64)npages << PVIOMMU_PAGE_SHIFT);
	op.dirty.gpa = cpu_to_le64(virt_to_phys(bits));
	op.dirty.pgshift = PVIOMMU_PAGE_SHIFT;
	return pviommu_ask(dom, &op, true);
}
EXPORT_SYMBOL_GPL(pv_iommu_dirty_read);

/* --- for iommufd --------------------------------------------------------- */

#ifdef PVIOMMU_HAVE_DIRTY_OPS

static int pviommu_set_dirty_tracking(struct iommu_domain *domain, bool enabled)
{
	return enabled ? pv_iommu_dirty_start(domain) :
			 pv_iommu_dirty_stop(domain);
}

/* Record runs of bits that are set. The host's log is not cleared, so nothing to flush. */
static void dirty_record(const __le64 *bits, unsigned long iova,
			 unsigned long npages, struct iova_bitmap *to)
{
	unsigned long i, first = npages;

	for (i = 0; i <= npages; i++) {
		bool set = i < npages && (le64_to_cpu(bits[i / 64]) >> i % 64 & 1);

		if (set && first == npages)
			first = i;
		if (set || first == npages)
			continue;
		iova_bitmap_set(to, iova + (first << PVIOMMU_PAGE_SHIFT),
				(i - first) << PVIOMMU_PAGE_SHIFT);
		first = npages;
	}
}

static int pviommu_read_and_clear_dirty(struct iommu_domain *domain,
					unsigned long iova, size_t size,
					unsigned long flags,
					struct iommu_dirty_bitmap *dirty)
{
	unsigned long npages = size >> PVIOMMU_PAGE_SHIFT, n;
	__le64 *bits;
	int ret = 0;

	/* Asks to clear the log, in which there is nothing to clear */
	if (!dirty->bitmap)
		return 0;
	if (!READ_ONCE(to_pviommu_domain(domain)->dirty))
		return -EINVAL;
	bits = kzalloc(PV_IOMMU_DIRTY_PAGES / BITS_PER_BYTE, GFP_KERNEL_ACCOUNT);
	if (!bits)
		return -ENOMEM;
	for (; npages && !ret; npages -= n) {
		n = min_t(unsigned long, npages, PV_IOMMU_DIRTY_PAGES);
		ret = pv_iommu_dirty_read(domain, iova, n, bits);
		if (!ret)
			dirty_record(bits, iova, n, dirty->bitmap);
		iova += n << PVIOMMU_PAGE_SHIFT;
		cond_resched();
	}
	kfree(bits);
	return ret;
}

static const struct iommu_dirty_ops pviommu_dirty_ops = {
	.set_dirty_tracking = pviommu_set_dirty_tracking,
	.read_and_clear_dirty = pviommu_read_and_clear_dirty,
};

static bool has_pasids(struct device *dev)
{
	struct pviommu_endpoint *ep = dev ? dev_iommu_priv_get(dev) : NULL;

	return ep && ep->pasid_bits && (ep->pv->features & PVIOMMU_F_PASID);
}

/**
 * pviommu_domain_alloc_flags() - create a domain for iommufd
 * @dev: the device
 * @flags: IOMMU_HWPT_ALLOC_*
 * @user_data: parameters of another IOMMU's domains
 *
 * Return: the domain or an ERR_PTR().
 */
struct iommu_domain *
pviommu_domain_alloc_flags(struct device *dev, u32 flags,
			   const struct iommu_user_data *user_data)
{
	struct iommu_domain *domain;

	if (user_data ||
	    (flags & ~(IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_PASID)))
		return ERR_PTR(-EOPNOTSUPP);
	/* Any domain can be attached by PASID, if the device has PASIDs */
	if ((flags & IOMMU_HWPT_ALLOC_PASID) && !has_pasids(dev))
		return ERR_PTR(-EOPNOTSUPP);
	domain = pviommu_domain_alloc_paging(dev);
	if (IS_ERR(domain))
		return domain;
	/* The IOMMU core would set these, but iommufd calls this directly */
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->ops = &pviommu_paging_ops;
	if (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING)
		domain->dirty_ops = &pviommu_dirty_ops;
	return domain;
}

COMPAT_IMPORT_IOMMUFD;

#endif
