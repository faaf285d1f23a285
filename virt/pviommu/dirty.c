// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty page logging: which pages of a domain may a device have written to?
 *
 * The answer must not leave out a page that was written. Dirty bits of the physical IOMMU
 * are not used: every page that is mapped writable is reported each time. So a page stays
 * dirty for as long as it is mapped, and there is nothing to clear.
 */
#include "pviommu_private.h"

/* The bits of one DIRTY_READ are put together in the ring's scratch page */
static_assert(PVIOMMU_LIST_MAX * BITS_PER_TYPE(__le64) == PVIOMMU_DIRTY_PAGES);

static int dirty_switch(struct pviommu_op_ctx *ctx, struct pviommu_op *op, bool on)
{
	struct pviommu_domain *domain;
	int ret = pviommu_op_no_args(op);

	if (ret)
		return ret;
	domain = pviommu_domain_named(ctx->vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	pviommu_domain_lock(domain);
	domain->dirty = on;
	mutex_unlock(&domain->lock);
	pviommu_domain_put(domain);
	return 0;
}

/**
 * pviommu_op_dirty_start() - DIRTY_START
 * @ctx: context of the op
 * @op: the op
 * @result: unused
 *
 * Return: 0, also if it has been started; -EINVAL; -ENOENT.
 */
int pviommu_op_dirty_start(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			   u64 *result)
{
	return dirty_switch(ctx, op, true);
}

/**
 * pviommu_op_dirty_stop() - DIRTY_STOP
 * @ctx: context of the op
 * @op: the op
 * @result: unused
 *
 * Return: 0, also if it was not started; -EINVAL; -ENOENT.
 */
int pviommu_op_dirty_stop(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			  u64 *result)
{
	return dirty_switch(ctx, op, false);
}

static int dirty_check(const struct pviommu_op *op, u64 *last)
{
	u64 iova = le64_to_cpu(op->dirty.iova), size = le64_to_cpu(op->dirty.size);

	if (op->dirty.pgshift != PAGE_SHIFT ||
	    memchr_inv(op->dirty.reserved, 0, sizeof(op->dirty.reserved)) ||
	    !size || !PAGE_ALIGNED(iova | size) ||
	    !IS_ALIGNED(le64_to_cpu(op->dirty.gpa), sizeof(__le64)))
		return -EINVAL;
	if (size >> PAGE_SHIFT > PVIOMMU_DIRTY_PAGES ||
	    check_add_overflow(iova, size - 1, last))
		return -ERANGE;
	return 0;
}

/* Set the bits, from @iova on, of what is mapped writable in [pos, last]; return: how many */
static u64 dirty_collect(struct pviommu_domain *domain, u64 iova, u64 pos, u64 last,
			 __le64 *bits)
{
	struct interval_tree_node *node;
	u64 found = 0, first, end, i;

	lockdep_assert_held(&domain->lock);
	for (node = interval_tree_iter_first(&domain->mappings, pos, last); node;
	     node = interval_tree_iter_next(node, pos, last)) {
		if (!(container_of(node, struct pviommu_mapping, it)->prot &
		      PVIOMMU_PROT_WRITE))
			continue;
		first = (max(node->start, pos) - iova) >> PAGE_SHIFT;
		end = ((min(node->last, last) - iova) >> PAGE_SHIFT) + 1;
		for (i = first; i < end; i++)
			bits[i / 64] |= cpu_to_le64(1ULL << i % 64);
		found += end - first;
	}
	return found;
}

/*
 * Collect the bits of a range, a part at a time. Others get the lock in between; what they unmap
 * then may be reported or not, as if that had been done before or after. -EINVAL: the log is off
 */
static int dirty_scan(struct pviommu_domain *domain, u64 iova, u64 last, __le64 *bits,
		      u64 *found)
{
	const u64 part = (u64)PVIOMMU_HOLD << PAGE_SHIFT;
	u64 pos, end = iova - 1;
	int ret = 0;

	do {
		pos = end + 1;
		end = last - pos < part ? last : pos + part - 1;
		pviommu_domain_lock(domain);
		if (domain->dirty)
			*found += dirty_collect(domain, iova, pos, end, bits);
		else
			ret = -EINVAL;
		mutex_unlock(&domain->lock);
		cond_resched();
	} while (!ret && end != last);
	return ret;
}

/**
 * pviommu_op_dirty_read() - DIRTY_READ
 * @ctx: context of the op
 * @op: the op
 * @result: set to how many pages are dirty
 *
 * The work is bounded by the size of the range.
 *
 * Return: 0; -EINVAL, also if it was not started; -ERANGE; -ENOENT; -EFAULT.
 */
int pviommu_op_dirty_read(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			  u64 *result)
{
	u64 iova = le64_to_cpu(op->dirty.iova), last, npages, found = 0;
	__le64 *bits = ctx->scratch->list;
	struct pviommu_domain *domain;
	int ret = dirty_check(op, &last);

	if (ret)
		return ret;
	domain = pviommu_domain_named(ctx->vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	npages = ((last - iova) >> PAGE_SHIFT) + 1;
	memset(bits, 0, DIV_ROUND_UP(npages, 64) * sizeof(*bits));
	ret = dirty_scan(domain, iova, last, bits, &found);
	pviommu_spend(ctx->budget, DIV_ROUND_UP(npages, 64) + found);
	if (!ret)
		ret = pviommu_guest_write(ctx->vm, le64_to_cpu(op->dirty.gpa), bits,
					  DIV_ROUND_UP(npages, 64) * sizeof(*bits));
	if (!ret)
		*result = found;
	pviommu_domain_put(domain);
	return ret;
}
