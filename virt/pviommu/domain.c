// SPDX-License-Identifier: GPL-2.0-only
/*
 * Creating and freeing domains, and removing mappings from them.
 *
 * A domain of the guest is in vm->domains from ALLOC to FREE. It is referenced by each
 * group and each PASID that it is attached to, and by the ops that use it. A bypass domain
 * is created when a group needs one, and freed when the last group leaves it.
 */
#include <linux/slab.h>

#include "pviommu_private.h"

static struct pviommu_domain *domain_alloc(struct pviommu_vm *vm,
					   enum pviommu_domain_kind kind,
					   struct iommu_domain *hw)
{
	struct pviommu_domain *domain;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);
	if (!domain)
		return NULL;
	kref_init(&domain->kref);
	mutex_init(&domain->lock);
	INIT_LIST_HEAD(&domain->bypass_entry);
	INIT_LIST_HEAD(&domain->limbo);
	INIT_LIST_HEAD(&domain->flushed);
	domain->mappings = RB_ROOT_CACHED;
	domain->vm = vm;
	domain->kind = kind;
	domain->hw = hw;
	iommu_iotlb_gather_init(&domain->gather);
	/* Drivers must not flush on their own: see pviommu_hw_sync() */
	domain->gather.queued = PVIOMMU_GATHER_QUEUED;
	domain->gather_start = U64_MAX;
	return domain;
}

static int bypass_fill(struct pviommu_domain *domain)
{
	struct pviommu_vm *vm = domain->vm;
	struct interval_tree_node *node, *undo;
	int ret;

	for (node = interval_tree_iter_first(&vm->slots, 0, U64_MAX); node;
	     node = interval_tree_iter_next(node, 0, U64_MAX)) {
		ret = pviommu_bypass_map(domain,
					 container_of(node, struct pviommu_slot, it));
		if (ret)
			goto err_unmap;
	}
	return 0;

err_unmap:
	for (undo = interval_tree_iter_first(&vm->slots, 0, U64_MAX); undo != node;
	     undo = interval_tree_iter_next(undo, 0, U64_MAX))
		pviommu_bypass_unmap(domain,
				     container_of(undo, struct pviommu_slot, it));
	return ret;
}

static void bypass_drain(struct pviommu_domain *domain)
{
	struct interval_tree_node *node;

	for (node = interval_tree_iter_first(&domain->vm->slots, 0, U64_MAX); node;
	     node = interval_tree_iter_next(node, 0, U64_MAX))
		pviommu_bypass_unmap(domain,
				     container_of(node, struct pviommu_slot, it));
}

/**
 * pviommu_domain_create() - create a domain that has no id yet
 * @vm: the VM, cfg_lock and mem_lock held
 * @kind: what it is for; all memory of the VM is mapped in a bypass domain
 * @dev: a device that will be attached
 * @flags: see pviommu_hw_alloc()
 *
 * Return: the domain with one reference, or ERR_PTR; on failure nothing stays pinned.
 */
struct pviommu_domain *pviommu_domain_create(struct pviommu_vm *vm,
					     enum pviommu_domain_kind kind,
					     struct device *dev, u32 *flags)
{
	struct pviommu_domain *domain;
	struct iommu_domain *hw;
	int ret = -ENOMEM;

	lockdep_assert_held(&vm->cfg_lock);
	lockdep_assert_held(&vm->mem_lock);

	hw = pviommu_hw_alloc(dev, flags);
	if (IS_ERR(hw))
		return ERR_CAST(hw);
	domain = domain_alloc(vm, kind, hw);
	if (!domain)
		goto err_free_hw;
	if (kind == PVIOMMU_KIND_BYPASS) {
		domain->id = PVIOMMU_DOMAIN_BYPASS;
		ret = bypass_fill(domain);
		if (ret)
			goto err_free;
		list_add_tail(&domain->bypass_entry, &vm->bypass);
		pviommu_faults_watch(domain);
	} else {
		/* No leaf larger than what the guest can ask for */
		hw->pgsize_bitmap &= PVIOMMU_PGSIZES;
	}
	pviommu_count(vm, PVIOMMU_NR_DOMAINS, 1);
	return domain;

err_free:
	kfree(domain);
err_free_hw:
	iommu_domain_free(hw);
	return ERR_PTR(ret);
}

/* Called with vm->mem_lock held, and for a bypass domain also vm->cfg_lock */
static void domain_release(struct kref *kref)
{
	struct pviommu_domain *domain = container_of(kref, struct pviommu_domain,
						     kref);

	if (domain->kind == PVIOMMU_KIND_BYPASS) {
		list_del(&domain->bypass_entry);
		bypass_drain(domain);
	}
	pviommu_count(domain->vm, PVIOMMU_NR_DOMAINS, -1);
	pviommu_mapping_drop_spare(domain);
	pviommu_table_free(domain->table);
	iommu_domain_free(domain->hw);
	mutex_destroy(&domain->lock);
	kfree(domain);
}

/**
 * pviommu_domain_get() - look up a domain of the guest
 * @vm: the VM
 * @id: its id
 *
 * Return: the domain with a reference, or NULL.
 */
struct pviommu_domain *pviommu_domain_get(struct pviommu_vm *vm, u32 id)
{
	XA_STATE(xas, &vm->domains, id);
	struct pviommu_domain *domain;

	xas_lock(&xas);
	domain = xas_load(&xas);
	if (domain)
		kref_get(&domain->kref);
	xas_unlock(&xas);
	return domain;
}

/**
 * pviommu_domain_named() - look up the domain of the guest that an op names
 * @vm: the VM
 * @op: the op, which changes what the domain translates: so it can't be a fixed one
 *
 * Return: the domain with a reference; ERR_PTR: -EINVAL a fixed domain, -ENOENT.
 */
struct pviommu_domain *pviommu_domain_named(struct pviommu_vm *vm,
					    const struct pviommu_op *op)
{
	u32 id = le32_to_cpu(op->domain);
	struct pviommu_domain *domain;

	if (id < PVIOMMU_DOMAIN_FIRST)
		return ERR_PTR(-EINVAL);
	domain = pviommu_domain_get(vm, id);
	return domain ?: ERR_PTR(-ENOENT);
}

/**
 * pviommu_domain_next() - find the next domain of the guest
 * @vm: the VM
 * @id: lowest id to look for; set to the domain's id
 *
 * Return: the domain with a reference, or NULL.
 */
struct pviommu_domain *pviommu_domain_next(struct pviommu_vm *vm,
					   unsigned long *id)
{
	struct pviommu_domain *domain;

	xa_lock(&vm->domains);
	domain = xa_find(&vm->domains, id, ULONG_MAX, XA_PRESENT);
	if (domain)
		kref_get(&domain->kref);
	xa_unlock(&vm->domains);
	return domain;
}

/**
 * pviommu_domain_put() - drop a reference
 * @domain: the domain
 *
 * Context: vm->mem_lock held; for a bypass domain vm->cfg_lock too.
 */
void pviommu_domain_put(struct pviommu_domain *domain)
{
	lockdep_assert_held(&domain->vm->mem_lock);

	kref_put(&domain->kref, domain_release);
}

/**
 * pviommu_domain_drop() - take a mapping out of its tree and put it into limbo
 * @domain: the domain, locked
 * @map: the mapping, which has been removed from the page table
 */
void pviommu_domain_drop(struct pviommu_domain *domain, struct pviommu_mapping *map)
{
	lockdep_assert_held(&domain->lock);

	interval_tree_remove(&map->it, &domain->mappings);
	pviommu_limbo_add(domain, map);
	/* NR_MAPPINGS counts it until it is freed */
	pviommu_count(domain->vm, PVIOMMU_NR_PAGES_MAPPED, -(s64)map->npages);
}

/**
 * pviommu_domain_cut() - make a part of a mapping a mapping of its own
 * @domain: the domain, locked
 * @map: the mapping, in its tree
 * @iova: first IOVA of the part, or less than that of the mapping
 * @last: last IOVA of the part, or more than that of the mapping
 *
 * Can't fail, as pviommu_mapping_split(). All parts stay in the tree.
 *
 * Return: the mapping of the part.
 */
struct pviommu_mapping *pviommu_domain_cut(struct pviommu_domain *domain,
					   struct pviommu_mapping *map, u64 iova, u64 last)
{
	struct pviommu_mapping *rest;

	lockdep_assert_held(&domain->lock);

	if (map->it.start < iova)
		pviommu_mapping_split(domain, map, iova, &map);
	if (map->it.last > last)
		map = pviommu_mapping_split(domain, map, last + 1, &rest);
	return map;
}

/**
 * pviommu_domain_unmap() - remove mappings from the page table and put them into limbo
 * @domain: the domain, locked
 * @iova: first IOVA; does not cut a page that is mapped
 * @last: last IOVA; does not cut a page that is mapped
 * @budget: work that may be done, reduced by what was; NULL for all
 *
 * Return: bytes removed. If @budget is used up there may be more to remove.
 */
u64 pviommu_domain_unmap(struct pviommu_domain *domain, u64 iova, u64 last,
			 u32 *budget)
{
	struct pviommu_mapping *map;
	u64 done = 0;

	lockdep_assert_held(&domain->lock);

	while ((!budget || *budget) &&
	       (map = pviommu_mapping_first(domain, iova, last))) {
		map = pviommu_domain_cut(domain, map, iova, last);
		done += map->npages << PAGE_SHIFT;
		pviommu_spend(budget, PVIOMMU_COST_UNMAP * map->npages);
		pviommu_hw_unmap(domain, map);
		pviommu_domain_drop(domain, map);
		if (iova + done - 1 != last)
			cond_resched();
	}
	return done;
}

/**
 * pviommu_domain_unmap_some() - a part of pviommu_domain_unmap(), after which to drop the lock
 * @domain: the domain, locked
 * @iova: first IOVA; does not cut a page that is mapped
 * @last: last IOVA; does not cut a page that is mapped
 * @budget: work that may be done, reduced by what was; NULL for any amount
 *
 * Return: bytes removed, of not many more than PVIOMMU_HOLD pages.
 */
u64 pviommu_domain_unmap_some(struct pviommu_domain *domain, u64 iova, u64 last, u32 *budget)
{
	u32 part = budget ? min(*budget, PVIOMMU_HOLD) : PVIOMMU_HOLD;
	u64 done = pviommu_domain_unmap(domain, iova, last, &part);

	pviommu_spend(budget, PVIOMMU_COST_UNMAP * (done >> PAGE_SHIFT));
	return done;
}

/* Remove everything from a domain that is freed; false if the budget did not suffice */
static bool domain_empty(struct pviommu_domain *domain, u32 *budget)
{
	bool more;

	do {
		pviommu_domain_lock(domain);
		domain->dead = true;
		pviommu_domain_unmap_some(domain, 0, U64_MAX, budget);
		more = pviommu_mapping_first(domain, 0, U64_MAX);
		if (!more)
			pviommu_flush(domain, 0, U64_MAX);
		mutex_unlock(&domain->lock);
		cond_resched();
	} while (more && (!budget || *budget));
	if (more || !pviommu_flush_finish(domain, budget))
		return false;
	pviommu_loans_settle(domain);
	return true;
}

/**
 * pviommu_domains_destroy() - free all domains of the guest
 * @vm: the VM, cfg_lock and mem_lock held; no group is attached to any
 */
void pviommu_domains_destroy(struct pviommu_vm *vm)
{
	struct pviommu_domain *domain;
	unsigned long id;

	lockdep_assert_held(&vm->cfg_lock);
	lockdep_assert_held(&vm->mem_lock);

	xa_for_each(&vm->domains, id, domain) {
		pviommu_watch_end(domain, NULL);
		domain_empty(domain, NULL);
		xa_erase(&vm->domains, id);
		pviommu_domain_put(domain);
	}
}

/* The record of the table that ALLOC names; NULL if it asks for a paging domain */
static struct pviommu_table *alloc_table(struct pviommu_op_ctx *ctx,
					 const struct pviommu_op *op)
{
	u32 format = le32_to_cpu(op->alloc.format);
	u64 root = le64_to_cpu(op->alloc.root);
	bool watch = le16_to_cpu(op->flags) & PVIOMMU_ALLOC_F_WATCH;

	lockdep_assert_held(&ctx->vm->iface_lock);

	switch (le32_to_cpu(op->alloc.type)) {
	case PVIOMMU_TYPE_PAGING:
		return format || root || watch ? ERR_PTR(-EINVAL) : NULL;
	case PVIOMMU_TYPE_TABLE:
		if (!(ctx->features & PVIOMMU_F_TABLES) ||
		    (watch && !ctx->vm->iface->doorbell))
			return ERR_PTR(-EOPNOTSUPP);
		return pviommu_table_create(ctx->vm, format, root, watch);
	default:
		return ERR_PTR(-EOPNOTSUPP);
	}
}

/* Create a domain for an endpoint, with an id. It owns the table, unless this fails. */
static struct pviommu_domain *alloc_domain(struct pviommu_vm *vm, u32 endpoint,
					   struct pviommu_table *table)
{
	struct pviommu_endpoint *ep = xa_load(&vm->endpoints, endpoint);
	struct pviommu_domain *domain;
	int ret;

	lockdep_assert_held(&vm->cfg_lock);

	if (!ep)
		return ERR_PTR(-ENOENT);
	domain = pviommu_domain_create(vm, table ? PVIOMMU_KIND_TABLE : PVIOMMU_KIND_GUEST,
				       ep->dev, NULL);
	if (IS_ERR(domain))
		return PTR_ERR(domain) == -ENOMEM ? domain : ERR_PTR(-EIO);
	/* Its driver may not know the width of its addresses yet: see learn_window() */
	domain->hw->geometry.aperture_end = min(domain->hw->geometry.aperture_end,
						ep->group->window_last);
	domain->table = table;
	ret = xa_alloc(&vm->domains, &domain->id, domain,
		       XA_LIMIT(PVIOMMU_DOMAIN_FIRST, U16_MAX), GFP_KERNEL_ACCOUNT);
	if (ret) {
		domain->table = NULL;
		pviommu_domain_put(domain);
		return ERR_PTR(ret == -EBUSY ? -ENOSPC : ret);
	}
	pviommu_faults_watch(domain);
	return domain;
}

/**
 * pviommu_op_alloc() - ALLOC
 * @ctx: context of the op
 * @op: the op
 * @result: set to the domain's id
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -EFAULT, -ENOENT, -ENOSPC, -ENOMEM, -EIO.
 */
int pviommu_op_alloc(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result)
{
	struct pviommu_vm *vm = ctx->vm;
	struct pviommu_domain *domain;
	struct pviommu_table *table;

	if (memchr_inv(op->alloc.reserved, 0, sizeof(op->alloc.reserved)))
		return -EINVAL;
	table = alloc_table(ctx, op);
	if (IS_ERR(table))
		return PTR_ERR(table);

	mutex_lock(&vm->cfg_lock);
	domain = ERR_PTR(pviommu_quota_domains(vm));
	if (!domain)
		domain = alloc_domain(vm, le32_to_cpu(op->endpoint), table);
	/* With the lock held: as it has an id, another ring may free it after that */
	if (!IS_ERR(domain))
		*result = domain->id;
	mutex_unlock(&vm->cfg_lock);
	if (!IS_ERR(domain))
		return 0;
	pviommu_table_free(table);
	return PTR_ERR(domain);
}

/**
 * pviommu_op_free() - FREE
 * @ctx: context of the op
 * @op: the op
 * @result: unused
 *
 * Return: 0, -EINPROGRESS, -EINVAL, -ENOENT, -EBUSY.
 */
int pviommu_op_free(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		    u64 *result)
{
	struct pviommu_vm *vm = ctx->vm;
	struct pviommu_domain *domain;
	int ret = pviommu_op_no_args(op);

	if (ret)
		return ret;
	domain = pviommu_domain_named(vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);

	mutex_lock(&vm->cfg_lock);
	if (domain->nr_groups || domain->nr_pasids) {
		ret = -EBUSY;
	} else {
		/* From here on it takes neither mappings nor groups */
		pviommu_domain_lock(domain);
		domain->dead = true;
		mutex_unlock(&domain->lock);
	}
	mutex_unlock(&vm->cfg_lock);
	if (ret)
		goto out_put;

	if (!pviommu_watch_end(domain, ctx->budget) || !domain_empty(domain, ctx->budget))
		ret = -EINPROGRESS;
	else if (xa_cmpxchg(&vm->domains, domain->id, domain, NULL, 0) == domain)
		pviommu_domain_put(domain);
out_put:
	pviommu_domain_put(domain);
	return ret;
}
