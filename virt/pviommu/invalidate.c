// SPDX-License-Identifier: GPL-2.0-only
/*
 * Flushing, and what waits for it.
 *
 * A mapping that was taken out of the page table sits in its domain's limbo,
 * then (the IOTLB has been flushed) in its flushed list, and is then unpinned
 * and freed. A flush covers everything in limbo: page table pages that became
 * free may be shared by neighbours, so a partial one would not be safe.
 */
#include "pviommu_private.h"

/**
 * pviommu_limbo_add() - a mapping waits for a flush
 * @domain: the domain, locked
 * @map: the mapping, out of the tree and the page table
 */
void pviommu_limbo_add(struct pviommu_domain *domain,
		       struct pviommu_mapping *map)
{
	lockdep_assert_held(&domain->lock);

	list_add_tail(&map->limbo, &domain->limbo);
}

/* Give back all that a mapping has but itself */
static void mapping_release(struct pviommu_domain *domain,
			    struct pviommu_mapping *map)
{
	bool dirty = map->prot & PVIOMMU_PROT_WRITE;
	struct pviommu_vm *vm = domain->vm;
	u32 i;

	if (map->loan) {
		pviommu_loan_return(map);
		return;
	}
	for (i = 0; i < map->nr_runs; i++) {
		struct pviommu_run *run = &map->runs[i];

		pviommu_unpin_pfns(vm, run->hpfn, run->npages, dirty);
		pviommu_slot_put_pins(vm, run->gfn, run->npages);
	}
	pviommu_uncharge(vm, map->npages);
}

/**
 * pviommu_flush() - make removals effective
 * @domain: the domain, locked
 * @iova: first IOVA of what the caller cares for
 * @last: last IOVA
 *
 * When anything in the range is in limbo, all of the limbo is flushed. The
 * pages are unpinned by pviommu_flush_finish().
 */
void pviommu_flush(struct pviommu_domain *domain, u64 iova, u64 last)
{
	lockdep_assert_held(&domain->lock);

	if (iova > domain->gather_last || last < domain->gather_start)
		return;
	pviommu_hw_sync(domain);
	list_splice_tail_init(&domain->limbo, &domain->flushed);
}

/**
 * pviommu_flush_finish() - unpin what has been flushed
 * @domain: the domain, not locked; vm->mem_lock held
 * @budget: work that may be done, reduced by what was; NULL for all
 *
 * Return: true when nothing is left.
 */
bool pviommu_flush_finish(struct pviommu_domain *domain, u32 *budget)
{
	struct pviommu_mapping *map, *done = NULL;

	lockdep_assert_held(&domain->vm->mem_lock);

	for (;;) {
		mutex_lock(&domain->lock);
		pviommu_mapping_free(domain, done);
		map = list_first_entry_or_null(&domain->flushed,
					       struct pviommu_mapping, limbo);
		if (map && (!budget || *budget)) {
			list_del(&map->limbo);
			if (map->loan)
				pviommu_loan_take(map);
		}
		mutex_unlock(&domain->lock);
		if (!map)
			return true;
		if (budget && !*budget)
			return false;
		pviommu_spend(budget, PVIOMMU_COST_UNPIN * map->npages);
		mapping_release(domain, map);
		done = map;
	}
}

/* The range of an INVALIDATE, checked */
static int inv_range(const struct pviommu_op *op, u64 *iova, u64 *last)
{
	u64 addr = le64_to_cpu(op->inv.addr), size = le64_to_cpu(op->inv.size);

	if (op->inv.reserved0 || op->inv.reserved)
		return -EINVAL;
	switch (le32_to_cpu(op->inv.granularity)) {
	case PVIOMMU_INV_DOMAIN:
		if (addr || size)
			return -EINVAL;
		*iova = 0;
		*last = U64_MAX;
		return 0;
	case PVIOMMU_INV_PAGE:
		if (!size || !PAGE_ALIGNED(addr | size))
			return -EINVAL;
		if (check_add_overflow(addr, size - 1, last))
			return -ERANGE;
		*iova = addr;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/*
 * Look at the table, then flush all that the look has removed: that may be beside the range,
 * in a large page of which a part was asked for. Also when the look was of no success. It
 * fails once more, then, with each doorbell that unpinning takes.
 */
static int look_and_flush(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			  struct pviommu_op *op, u64 *result)
{
	int ret;

	if (ctx->resumed && !pviommu_flush_finish(domain, ctx->budget))
		return -EINPROGRESS;
	ret = pviommu_table_look(ctx, domain, op, result);
	if (ret == -EINPROGRESS)
		return ret;
	mutex_lock(&domain->lock);
	pviommu_flush(domain, 0, U64_MAX);
	mutex_unlock(&domain->lock);
	return pviommu_flush_finish(domain, ctx->budget) ? ret : -EINPROGRESS;
}

static int flush_range(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain, u64 iova,
		       u64 last)
{
	if (!ctx->resumed) {
		mutex_lock(&domain->lock);
		pviommu_flush(domain, iova, last);
		mutex_unlock(&domain->lock);
	}
	return pviommu_flush_finish(domain, ctx->budget) ? 0 : -EINPROGRESS;
}

/**
 * pviommu_op_invalidate() - INVALIDATE
 * @ctx: where and how much
 * @op: the op
 * @result: set to where a look at a guest-owned table failed
 *
 * Return: 0, -EINPROGRESS, -EINVAL, -ERANGE, -EOPNOTSUPP, -ENOENT; and of a
 * guest-owned table -ENOSPC, -ENOMEM, -EIO.
 */
int pviommu_op_invalidate(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			  u64 *result)
{
	u32 id = le32_to_cpu(op->domain);
	struct pviommu_domain *domain;
	u64 iova, last;
	int ret;

	if (le32_to_cpu(op->pasid) != PVIOMMU_PASID_NONE)
		return -EOPNOTSUPP;
	ret = inv_range(op, &iova, &last);
	if (ret)
		return ret;
	/* The fixed domains never have anything to flush */
	if (id < PVIOMMU_DOMAIN_FIRST)
		return 0;
	domain = pviommu_domain_get(ctx->vm, id);
	if (!domain)
		return -ENOENT;
	if (domain->table)
		ret = look_and_flush(ctx, domain, op, result);
	else
		ret = flush_range(ctx, domain, iova, last);
	pviommu_domain_put(domain);
	return ret;
}
