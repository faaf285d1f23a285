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
	if (map->loan)
		list_add_tail(&map->lent, &map->loan->limbo);
}

/* Give back all that a mapping has but itself, which is about to be freed */
static void mapping_release(struct pviommu_domain *domain,
			    struct pviommu_mapping *map)
{
	bool dirty = map->prot & PVIOMMU_PROT_WRITE;
	struct pviommu_vm *vm = domain->vm;
	u32 i;

	pviommu_count(vm, PVIOMMU_NR_MAPPINGS, -1);
	if (map->loan) {
		pviommu_loan_return(map);
		pviommu_uncharge(vm, 0);
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
		cond_resched();
	}
}

/* The range of an INVALIDATE, checked; one of a PASID goes with a PASID, of a domain without */
static int inv_range(struct pviommu_op_ctx *ctx, const struct pviommu_op *op, u64 *iova,
		     u64 *last)
{
	u64 addr = le64_to_cpu(op->inv.addr), size = le64_to_cpu(op->inv.size);
	bool has_pasid = le32_to_cpu(op->pasid) != PVIOMMU_PASID_NONE;
	u32 granularity = le32_to_cpu(op->inv.granularity);
	bool by_pasid = granularity == PVIOMMU_INV_PASID;

	if ((has_pasid || by_pasid) && !(ctx->features & PVIOMMU_F_PASID))
		return -EOPNOTSUPP;

	if (op->inv.reserved0 || op->inv.reserved)
		return -EINVAL;
	switch (granularity) {
	case PVIOMMU_INV_DOMAIN:
	case PVIOMMU_INV_PASID:
		if (addr || size || has_pasid != by_pasid)
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

/* Is the domain the one that is attached at the PASID that the op names, if it names one? */
static bool pasid_matches(struct pviommu_op_ctx *ctx, const struct pviommu_op *op,
			  const struct pviommu_domain *domain)
{
	u32 pasid = le32_to_cpu(op->pasid);

	/* What has begun comes to its end, whoever detaches it meanwhile */
	return ctx->resumed || pasid == PVIOMMU_PASID_NONE ||
	       pviommu_pasid_leads_to(ctx->vm, pasid, domain);
}

/*
 * Look at the table, then flush all that the look has removed: that may be beside the range,
 * in a large page of which a part was asked for. Also when the look was of no success. It
 * does not look again, then, once unpinning has made room: how large doorbells are makes no
 * difference to the guest.
 */
static int look_and_flush(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			  struct pviommu_op *op, u64 *result)
{
	int ret;

	if (ctx->resumed && !pviommu_flush_finish(domain, ctx->budget))
		return -EINPROGRESS;
	if (ctx->failed) {
		/* The range is what the look has made of it */
		*result = le64_to_cpu(op->inv.addr) + ctx->done;
		return ctx->failed;
	}
	ret = pviommu_table_look(ctx, domain, op, result);
	if (ret == -EINPROGRESS)
		return ret;
	mutex_lock(&domain->lock);
	pviommu_flush(domain, 0, U64_MAX);
	mutex_unlock(&domain->lock);
	if (pviommu_flush_finish(domain, ctx->budget))
		return ret;
	ctx->failed = ret;
	return -EINPROGRESS;
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

	ret = inv_range(ctx, op, &iova, &last);
	if (ret)
		return ret;
	/* The fixed domains never have anything to flush */
	if (id < PVIOMMU_DOMAIN_FIRST)
		return 0;
	domain = pviommu_domain_get(ctx->vm, id);
	if (!domain)
		return -ENOENT;
	if (!pasid_matches(ctx, op, domain))
		ret = -EINVAL;
	else if (domain->table)
		ret = look_and_flush(ctx, domain, op, result);
	else
		ret = flush_range(ctx, domain, iova, last);
	pviommu_domain_put(domain);
	return ret;
}
