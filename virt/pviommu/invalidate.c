// SPDX-License-Identifier: GPL-2.0-only
/*
 * Flushing, and the unpinning that has to wait for it.
 *
 * A mapping that was removed from the page table is in its domain's limbo until the
 * IOTLB has been flushed, then on its list of flushed mappings, from which it is
 * unpinned and freed. A flush covers everything in limbo: page table pages that became
 * free may have served neighbouring mappings, too, so a partial flush is not safe.
 */
#include "pviommu_private.h"

/**
 * pviommu_limbo_add() - keep a mapping until the domain has been flushed
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

/* Unpin and uncharge the pages of a mapping that is about to be freed */
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
 * pviommu_flush() - flush the IOTLB for what was unmapped
 * @domain: the domain, locked
 * @iova: first IOVA that must be flushed
 * @last: last IOVA that must be flushed
 *
 * If anything in the range may be in limbo, all of the limbo is flushed. Then devices
 * reach none of it, and its pages can be unpinned by pviommu_flush_finish().
 *
 * Context: process; takes vm->attach_lock.
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
 * @domain: the domain
 * @budget: work that may be done, reduced by what was; NULL for all
 *
 * Context: process, vm->mem_lock held; domain->lock not held. May sleep.
 * Return: false if the budget did not suffice for all of it.
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

/* Check an INVALIDATE, and work out its range. Only granularities PASID and PAGE take a PASID */
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

/* If the op names a PASID, whether the domain is the one that is attached there */
static bool pasid_matches(struct pviommu_op_ctx *ctx, const struct pviommu_op *op,
			  const struct pviommu_domain *domain)
{
	u32 pasid = le32_to_cpu(op->pasid);

	/* An op that has begun is finished even if the PASID is detached meanwhile */
	return ctx->resumed || pasid == PVIOMMU_PASID_NONE ||
	       pviommu_pasid_leads_to(ctx->vm, pasid, domain);
}

/*
 * Look at the table, then flush everything that this has removed, which may be outside the
 * range if that covers a part of a large page. A look that fails has removed mappings, too,
 * so it is flushed as well. It is not tried again when the op is resumed, although
 * unpinning may have made room by then: the outcome must not depend on the budget.
 */
static int look_and_flush(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			  struct pviommu_op *op, u64 *result)
{
	int ret;

	if (ctx->resumed && !pviommu_flush_finish(domain, ctx->budget))
		return -EINPROGRESS;
	if (ctx->failed) {
		/* In our copy of the op, the range is the one that was looked at */
		*result = le64_to_cpu(op->inv.addr) + ctx->done;
		return ctx->failed;
	}
	ret = pviommu_table_look(ctx, domain, op, result);
	if (ret == -EINPROGRESS)
		return ret;
	pviommu_domain_lock(domain);
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
		pviommu_domain_lock(domain);
		pviommu_flush(domain, iova, last);
		mutex_unlock(&domain->lock);
	}
	return pviommu_flush_finish(domain, ctx->budget) ? 0 : -EINPROGRESS;
}

/**
 * pviommu_op_invalidate() - INVALIDATE
 * @ctx: context of the op
 * @op: the op
 * @result: of a guest-owned table: set to the IOVA where the look failed, or 0
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
	/* The fixed domains never have anything in limbo */
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
