// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ops that make, remove and look up mappings.
 *
 * MAP works in chunks of up to PVIOMMU_CHUNK pages, each a mapping of its own: pin the
 * pages, then check for overlap and map them with the domain locked. A MAP of several
 * chunks that fails is undone as a whole, which may take several doorbells, as making it
 * may have.
 */
#include <linux/overflow.h>
#include <linux/slab.h>

#include "pviommu_private.h"

static bool any_set(const u8 reserved[3])
{
	return reserved[0] | reserved[1] | reserved[2];
}

static int check_prot(u32 prot)
{
	if (prot & ~(PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE | PVIOMMU_PROT_NOEXEC))
		return -EOPNOTSUPP;
	return prot & (PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE) ? 0 : -EINVAL;
}

static int check_pgshift(u8 pgshift)
{
	return pgshift < 64 && (PVIOMMU_PGSIZES & (1ULL << pgshift)) ? 0 : -EINVAL;
}

static int check_iova(struct pviommu_vm *vm, struct pviommu_domain *domain,
		      const struct pviommu_map_args *args)
{
	const struct iommu_domain_geometry *geo = &domain->hw->geometry;

	if (args->iova < geo->aperture_start || args->last > geo->aperture_end)
		return -ERANGE;
	return pviommu_range_reserved(vm, args->iova, args->last) ? -ERANGE : 0;
}

/* Put a mapping into the page table and the tree */
static int insert_mapping(struct pviommu_domain *domain,
			  struct pviommu_mapping *map)
{
	int ret;

	lockdep_assert_held(&domain->lock);

	if (domain->dead)
		return -ENOENT;
	if (pviommu_mapping_first(domain, map->it.start, map->it.last))
		return -EEXIST;
	ret = pviommu_hw_map(domain, map);
	if (ret)
		return ret;
	interval_tree_insert(&map->it, &domain->mappings);
	pviommu_count(domain->vm, PVIOMMU_NR_MAPPINGS, 1);
	pviommu_count(domain->vm, PVIOMMU_NR_PAGES_MAPPED, map->npages);
	return 0;
}

static int pin_range(struct pviommu_vm *vm, const struct pviommu_map_args *args, u64 gfn,
		     u32 n, struct page **pages)
{
	bool write = args->prot & PVIOMMU_PROT_WRITE;

	if (args->borrow)
		return pviommu_borrow_pin(vm, args->borrow, gfn, n, write, pages);
	return pviommu_pin_guest(vm, gfn, n, write, pages);
}

static void put_pinned(struct pviommu_vm *vm, const struct pviommu_map_args *args,
		       const u64 *gfns, u64 gfn, struct page **pages, u32 n)
{
	u32 i;

	for (i = 0; i < n && !args->borrow; i++)
		pviommu_slot_put_pins(vm, gfns ? gfns[i] : gfn + i, 1);
	pviommu_unpin_pages(vm, pages, n);
}

/* Pinned pages that become one mapping, as pviommu_map_pinned() is told */
struct chunk {
	struct pviommu_domain *domain;
	const struct pviommu_map_args *args;
	u64 iova;
	const u64 *gfns;
	u64 gfn;
	struct page **pages;
	u32 n;
	struct pviommu_mapping *room;	/* memory for the mapping, or NULL */
};

static int map_locked(struct chunk *c, struct pviommu_loan *loan)
{
	struct pviommu_domain *domain = c->domain;
	struct pviommu_mapping *map;
	int ret = -ENOMEM;

	lockdep_assert_held(&domain->lock);

	map = pviommu_mapping_make(domain, c->iova, c->gfns, c->gfn, c->pages, c->n, c->room);
	if (map) {
		c->room = NULL;
		map->pgshift = c->args->pgshift;
		map->prot = c->args->prot;
		map->loan = loan;
		ret = insert_mapping(domain, map);
	}
	if (ret)
		pviommu_mapping_free(domain, map);
	return ret;
}

static int map_own(struct chunk *c)
{
	int ret;

	pviommu_domain_lock(c->domain);
	ret = map_locked(c, NULL);
	mutex_unlock(&c->domain->lock);
	return ret;
}

static void frame_bounds(const u64 *gfns, u32 n, u64 *first, u64 *last)
{
	u32 i;

	*first = gfns[0];
	*last = gfns[0];
	for (i = 1; i < n; i++) {
		*first = min(*first, gfns[i]);
		*last = max(*last, gfns[i]);
	}
}

static int map_borrowed(struct chunk *c)
{
	u64 first = c->gfn, last = c->gfn + c->n - 1;
	struct pviommu_borrow *borrow = c->args->borrow;
	struct pviommu_loan *loan;
	int ret;

	if (c->gfns)
		frame_bounds(c->gfns, c->n, &first, &last);
	loan = pviommu_loan_begin(borrow, c->domain, c->iova, c->n, first, last);
	if (IS_ERR(loan))
		return PTR_ERR(loan);
	ret = map_locked(c, loan);
	pviommu_loan_end(borrow, loan, ret);
	return ret;
}

/**
 * pviommu_map_pinned() - map pages that are pinned
 * @domain: the domain
 * @args: page size, protection, and of which VM the pages are
 * @iova: where
 * @gfns: their frames, or NULL
 * @gfn: without @gfns, the first of contiguous frames
 * @pages: the pages, as pinned by pviommu_pin_list() or pviommu_pin_guest()
 * @n: how many, up to PVIOMMU_CHUNK
 *
 * Context: process, vm->mem_lock held; domain->lock not held.
 * Return: 0; -ENOENT the domain is being freed; -EEXIST overlap; -ENOMEM; -EIO. For pages
 * of another VM also -EACCES the grant was taken back; -EAGAIN its memory has changed. On
 * failure nothing is mapped, and the pages are unpinned.
 */
int pviommu_map_pinned(struct pviommu_domain *domain, const struct pviommu_map_args *args,
		       u64 iova, const u64 *gfns, u64 gfn, struct page **pages, u32 n)
{
	struct chunk c = {
		.domain = domain,
		.args = args,
		.iova = iova,
		.gfns = gfns,
		.gfn = gfn,
		.pages = pages,
		.n = n,
	};
	u32 tries = 0;
	int ret;

	for (;;) {
		ret = args->borrow ? map_borrowed(&c) : map_own(&c);
		if (!pviommu_try_again(ret, &tries))
			break;
		if (!c.room)
			c.room = pviommu_mapping_room(gfns, pages, n);
		if (!c.room)
			break;
	}
	kvfree(c.room);
	if (ret)
		put_pinned(domain->vm, args, gfns, gfn, pages, n);
	return ret;
}

/* The owner's memory is changing: pin anew with the next doorbell */
static int retry_later(const struct pviommu_map_args *args, u32 *budget)
{
	args->borrow->epoch = 0;
	*budget = 0;
	return -EINPROGRESS;
}

/*
 * Unmap a chunk of a MAP that fails. Another ring may have mapped a large page across one of
 * its bounds since. That page stays, as half of it can't be unmapped.
 */
static void undo_chunk(struct pviommu_domain *domain, u64 iova, u64 size, u32 *budget)
{
	u64 end = iova + size;

	pviommu_domain_lock(domain);
	while (iova < end && pviommu_mapping_cuts_page(domain, iova))
		iova += PAGE_SIZE;
	while (iova < end && pviommu_mapping_cuts_page(domain, end))
		end -= PAGE_SIZE;
	if (iova < end)
		pviommu_domain_unmap(domain, iova, end - 1, NULL);
	mutex_unlock(&domain->lock);
	pviommu_spend(budget, PVIOMMU_COST_UNMAP * (size >> PAGE_SHIFT));
}

/*
 * Undo the chunks of a MAP at @iova that fails with @ret, the last one first: unmap, flush,
 * unpin, as far as the budget allows. Where chunks have been unmapped, others may map
 * meanwhile. Return: @ret, or -EINPROGRESS.
 */
static int undo_map(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain, u64 iova,
		    int ret)
{
	u64 chunk;

	if (!ctx->done && !ctx->failed)
		return ret;
	ctx->failed = ret;
	while (ctx->done) {
		if (!*ctx->budget)
			return -EINPROGRESS;
		chunk = min_t(u64, ctx->done, (u64)PVIOMMU_CHUNK << PAGE_SHIFT);
		ctx->done -= chunk;
		undo_chunk(domain, iova + ctx->done, chunk, ctx->budget);
		cond_resched();
	}
	pviommu_domain_lock(domain);
	pviommu_flush(domain, 0, U64_MAX);
	mutex_unlock(&domain->lock);
	return pviommu_flush_finish(domain, ctx->budget) ? ret : -EINPROGRESS;
}

/* Go on with a MAP, from ctx->done on; a failure is for the caller to undo */
static int map_range(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		     const struct pviommu_map_args *args, u64 gpa)
{
	u64 size = args->npages << PAGE_SHIFT;
	struct page **pages = ctx->scratch->pages;
	int ret;

	while (ctx->done < size) {
		u64 gfn = (gpa + ctx->done) >> PAGE_SHIFT;
		u32 n = min_t(u64, PVIOMMU_CHUNK, (size - ctx->done) >> PAGE_SHIFT);

		if (!*ctx->budget)
			return -EINPROGRESS;
		pviommu_spend(ctx->budget, PVIOMMU_COST_MAP * n);
		ret = pviommu_quota_mappings(ctx->vm, 1);
		if (!ret)
			ret = pin_range(ctx->vm, args, gfn, n, pages);
		if (!ret)
			ret = pviommu_map_pinned(domain, args, args->iova + ctx->done,
						 NULL, gfn, pages, n);
		if (ret == -EAGAIN)
			return retry_later(args, ctx->budget);
		if (ret)
			return ret;
		ctx->done += (u64)n << PAGE_SHIFT;
		cond_resched();
	}
	return 0;
}

static int map_args(const struct pviommu_op *op, struct pviommu_map_args *args)
{
	u64 iova = le64_to_cpu(op->map.iova), gpa = le64_to_cpu(op->map.gpa);
	u64 size = le64_to_cpu(op->map.size), sum;
	int ret;

	ret = check_prot(le32_to_cpu(op->map.prot)) ?:
	      check_pgshift(op->map.pgshift);
	if (ret)
		return ret;
	if (any_set(op->map.reserved) || !size ||
	    !IS_ALIGNED(iova | gpa | size, 1ULL << op->map.pgshift))
		return -EINVAL;
	if (check_add_overflow(iova, size - 1, &args->last) ||
	    check_add_overflow(gpa, size - 1, &sum))
		return -ERANGE;
	args->iova = iova;
	args->npages = size >> PAGE_SHIFT;
	args->pgshift = op->map.pgshift;
	args->prot = le32_to_cpu(op->map.prot);
	return 0;
}

/* The domain of a mapping op, with a reference */
static struct pviommu_domain *map_domain(struct pviommu_vm *vm,
					 const struct pviommu_op *op)
{
	struct pviommu_domain *domain = pviommu_domain_named(vm, op);

	/* Mappings of such a domain come from the guest's table alone */
	if (!IS_ERR(domain) && domain->table) {
		pviommu_domain_put(domain);
		return ERR_PTR(-EOPNOTSUPP);
	}
	return domain;
}

static int check_vm(const struct pviommu_op_ctx *ctx, const struct pviommu_op *op)
{
	return op->vm && !(ctx->features & PVIOMMU_F_FOREIGN) ? -EACCES : 0;
}

/*
 * Find the grant by which the VM may map [gpa, last] of the VM that the op names, if it
 * names one. The guest can't tell why it has none.
 */
static int find_owner(struct pviommu_vm *vm, const struct pviommu_op *op,
		      struct pviommu_map_args *args, struct pviommu_borrow *borrow,
		      u64 gpa, u64 last)
{
	if (!op->vm)
		return 0;
	borrow->grant = pviommu_grant_find(vm, le32_to_cpu(op->vm), gpa, last,
					   args->prot);
	if (!borrow->grant)
		return -EACCES;
	args->borrow = borrow;
	return 0;
}

static void put_owner(const struct pviommu_map_args *args)
{
	if (args->borrow)
		pviommu_grant_release(args->borrow->grant);
}

/**
 * pviommu_op_map() - MAP
 * @ctx: context of the op
 * @op: the op
 * @result: set to the bytes mapped
 *
 * Return: 0, -EINPROGRESS, -EINVAL, -EOPNOTSUPP, -ERANGE, -ENOENT, -EEXIST,
 * -EFAULT, -EACCES, -ENOSPC, -ENOMEM, -EIO.
 */
int pviommu_op_map(struct pviommu_op_ctx *ctx, struct pviommu_op *op, u64 *result)
{
	u64 gpa = le64_to_cpu(op->map.gpa), size = le64_to_cpu(op->map.size);
	struct pviommu_borrow borrow = {};
	struct pviommu_domain *domain;
	struct pviommu_map_args args = {};
	int ret;

	ret = check_vm(ctx, op) ?: map_args(op, &args);
	if (ret)
		return ret;
	domain = map_domain(ctx->vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	ret = ctx->failed ?: check_iova(ctx->vm, domain, &args) ?:
	      find_owner(ctx->vm, op, &args, &borrow, gpa, gpa + size - 1) ?:
	      map_range(ctx, domain, &args, gpa);
	if (!ret)
		*result = ctx->done;
	else if (ret != -EINPROGRESS)
		ret = undo_map(ctx, domain, args.iova, ret);
	put_owner(&args);
	pviommu_domain_put(domain);
	return ret;
}

static int list_args(const struct pviommu_op *op, struct pviommu_map_args *args)
{
	u64 iova = le64_to_cpu(op->list.iova), list = le64_to_cpu(op->list.list);
	u32 count = le32_to_cpu(op->list.count);
	u64 size;
	int ret;

	ret = check_prot(le32_to_cpu(op->list.prot)) ?:
	      check_pgshift(op->list.pgshift);
	if (ret)
		return ret;
	if (op->list.reserved0 || any_set(op->list.reserved) ||
	    !count || count > PVIOMMU_LIST_MAX || !PAGE_ALIGNED(list) ||
	    !IS_ALIGNED(iova, 1ULL << op->list.pgshift))
		return -EINVAL;
	size = (u64)count << op->list.pgshift;
	if (check_add_overflow(iova, size - 1, &args->last))
		return -ERANGE;
	args->iova = iova;
	args->npages = size >> PAGE_SHIFT;
	args->pgshift = op->list.pgshift;
	args->prot = le32_to_cpu(op->list.prot);
	return 0;
}

/* Read the guest's list, and convert it in place to frames of 4 KiB */
static int read_list(struct pviommu_op_ctx *ctx, const struct pviommu_op *op,
		     const struct pviommu_map_args *args, u32 count)
{
	u8 shift = args->pgshift - PAGE_SHIFT;
	__le64 *list = ctx->scratch->list;
	u64 *gfns = (u64 *)list;
	u32 i;
	int ret;

	ret = pviommu_guest_read(ctx->vm, le64_to_cpu(op->list.list), list,
				 count * sizeof(*list));
	if (ret)
		return ret;
	for (i = 0; i < count; i++) {
		u64 gfn = le64_to_cpu(list[i]);

		/* The address would overflow, so it is not RAM */
		if (gfn >> (64 - args->pgshift))
			return -EFAULT;
		gfns[i] = gfn << shift;
	}
	return 0;
}

/**
 * pviommu_pin_list() - pin scattered pages, runs of contiguous ones at a time
 * @vm: the VM that maps them, mem_lock held
 * @args: whether devices may write to them, and of which VM they are
 * @gfns: their frames
 * @count: how many
 * @pages: filled with the pages
 *
 * Return: as pviommu_pin_guest(), or pviommu_borrow_pin() for pages of another VM. On
 * failure none is pinned.
 */
int pviommu_pin_list(struct pviommu_vm *vm, const struct pviommu_map_args *args,
		     const u64 *gfns, u32 count, struct page **pages)
{
	u32 i, n;
	int ret;

	for (i = 0; i < count; i += n) {
		for (n = 1; i + n < count && gfns[i + n] == gfns[i] + n; n++)
			;
		ret = pin_range(vm, args, gfns[i], n, pages + i);
		if (ret) {
			if (i)
				put_pinned(vm, args, gfns, 0, pages, i);
			return ret;
		}
	}
	return 0;
}

static int map_small_list(struct pviommu_op_ctx *ctx,
			  struct pviommu_domain *domain,
			  const struct pviommu_map_args *args, const u64 *gfns, u32 count)
{
	struct page **pages = ctx->scratch->pages;
	int ret;

	pviommu_spend(ctx->budget, PVIOMMU_COST_MAP * count);
	ret = pviommu_pin_list(ctx->vm, args, gfns, count, pages);
	if (!ret)
		ret = pviommu_map_pinned(domain, args, args->iova, gfns, 0, pages,
					 count);
	return ret == -EAGAIN ? retry_later(args, ctx->budget) : ret;
}

/* Map large pages one by one */
static int map_large_list(struct pviommu_op_ctx *ctx,
			  struct pviommu_domain *domain,
			  const struct pviommu_map_args *args, const u64 *gfns, u32 count)
{
	struct pviommu_map_args one = *args;
	u64 size = 1ULL << args->pgshift;
	u32 i;
	int ret;

	for (i = ctx->done >> args->pgshift; i < count; i++) {
		u64 done = ctx->done;

		if (!*ctx->budget)
			return -EINPROGRESS;
		one.iova = args->iova + done;
		one.npages = size >> PAGE_SHIFT;
		/* A large page is one chunk, and so never done in part */
		ctx->done = 0;
		ret = map_range(ctx, domain, &one, gfns[i] << PAGE_SHIFT);
		ctx->done = done;
		if (ret)
			return ret;
		ctx->done += size;
	}
	return 0;
}

/* As find_owner(): one grant has to cover all pages of a list */
static int find_list_owner(struct pviommu_vm *vm, const struct pviommu_op *op,
			   struct pviommu_map_args *args, struct pviommu_borrow *borrow,
			   const u64 *gfns, u32 count)
{
	u64 first, last;

	if (!op->vm)
		return 0;
	frame_bounds(gfns, count, &first, &last);
	return find_owner(vm, op, args, borrow, first << PAGE_SHIFT,
			  (last << PAGE_SHIFT) + ((1ULL << args->pgshift) - 1));
}

/**
 * pviommu_op_map_list() - MAP_LIST
 * @ctx: context of the op
 * @op: the op
 * @result: set to the bytes mapped
 *
 * If it takes several doorbells, each reads the list again. Only what a doorbell has read
 * counts for it.
 *
 * Return: as pviommu_op_map().
 */
int pviommu_op_map_list(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			u64 *result)
{
	u32 count = le32_to_cpu(op->list.count);
	struct pviommu_borrow borrow = {};
	struct pviommu_domain *domain;
	struct pviommu_map_args args = {};
	u64 *gfns = (u64 *)ctx->scratch->list;
	int ret;

	ret = check_vm(ctx, op) ?: list_args(op, &args);
	if (ret)
		return ret;
	domain = map_domain(ctx->vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	ret = ctx->failed ?: check_iova(ctx->vm, domain, &args) ?:
	      pviommu_quota_mappings(ctx->vm, 1) ?:
	      read_list(ctx, op, &args, count) ?:
	      find_list_owner(ctx->vm, op, &args, &borrow, gfns, count);
	if (!ret && args.pgshift == PAGE_SHIFT)
		ret = map_small_list(ctx, domain, &args, gfns, count);
	else if (!ret)
		ret = map_large_list(ctx, domain, &args, gfns, count);
	if (!ret)
		*result = args.npages << PAGE_SHIFT;
	else if (ret != -EINPROGRESS)
		ret = undo_map(ctx, domain, args.iova, ret);
	put_owner(&args);
	pviommu_domain_put(domain);
	return ret;
}

/* Whether unmapping a range would cut a large page at one of its ends */
static bool unmap_cuts_page(struct pviommu_domain *domain, u64 iova, u64 last)
{
	struct pviommu_mapping *map = pviommu_mapping_first(domain, iova, last);

	/* The common cases: the range is one whole mapping, or nothing is mapped there */
	if (!map || (map->it.start >= iova && map->it.last == last))
		return false;
	return pviommu_mapping_cuts_page(domain, iova) ||
	       (last != U64_MAX && pviommu_mapping_cuts_page(domain, last + 1));
}

/* Unmap a part of a range; -EINPROGRESS: there is more */
static int unmap_some(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain, u64 iova,
		      u64 last)
{
	int ret = 0;

	pviommu_domain_lock(domain);
	if (unmap_cuts_page(domain, iova, last)) {
		ret = -EINVAL;
	} else {
		ctx->done += pviommu_domain_unmap_some(domain, iova, last, ctx->budget);
		if (pviommu_mapping_first(domain, iova, last))
			ret = -EINPROGRESS;
	}
	mutex_unlock(&domain->lock);
	return ret;
}

/**
 * pviommu_op_unmap() - UNMAP
 * @ctx: context of the op
 * @op: the op
 * @result: set to the bytes removed
 *
 * Return: 0, -EINPROGRESS, -EINVAL, -ERANGE, -ENOENT.
 */
int pviommu_op_unmap(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result)
{
	u64 iova = le64_to_cpu(op->unmap.iova), size = le64_to_cpu(op->unmap.size);
	bool all = le16_to_cpu(op->flags) & PVIOMMU_UNMAP_F_ALL;
	struct pviommu_domain *domain;
	u64 last = U64_MAX;
	int ret;

	if (op->unmap.reserved[0] || op->unmap.reserved[1] ||
	    (all ? iova || size : !size || !PAGE_ALIGNED(iova | size)))
		return -EINVAL;
	if (!all && check_add_overflow(iova, size - 1, &last))
		return -ERANGE;
	domain = map_domain(ctx->vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);

	do {
		ret = unmap_some(ctx, domain, iova, last);
		cond_resched();
	} while (ret == -EINPROGRESS && *ctx->budget);
	*result = ctx->done;
	pviommu_domain_put(domain);
	return ret;
}

static int lookup_bypass(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			 u64 iova)
{
	struct pviommu_slot *slot = pviommu_slot_find(ctx->vm, iova);

	if (!slot || !slot->ram)
		return -ENOENT;
	ctx->answered = true;
	op->lookup.gpa = cpu_to_le64(iova);
	op->lookup.size = cpu_to_le64(PAGE_SIZE - offset_in_page(iova));
	op->lookup.pgshift = PAGE_SHIFT;
	op->lookup.prot = cpu_to_le32(slot->prot);
	return 0;
}

static int lookup_domain(struct pviommu_domain *domain, struct pviommu_op *op,
			 u64 iova)
{
	const struct pviommu_mapping *map;
	const struct pviommu_run *run;
	u64 offset, mask;
	int ret = -ENOENT;

	pviommu_domain_lock(domain);
	map = pviommu_mapping_first(domain, iova, iova);
	if (map) {
		run = pviommu_mapping_run(map, (iova - map->it.start) >> PAGE_SHIFT,
					  &offset);
		mask = (1ULL << map->pgshift) - 1;
		op->lookup.gpa = cpu_to_le64(((run->gfn + offset) << PAGE_SHIFT) +
					     offset_in_page(iova));
		op->lookup.size = cpu_to_le64(mask + 1 - (iova & mask));
		op->lookup.pgshift = map->pgshift;
		op->lookup.prot = cpu_to_le32(map->prot | (map->loan ?
							   PVIOMMU_PROT_FOREIGN : 0));
		ret = 0;
	}
	mutex_unlock(&domain->lock);
	return ret;
}

/**
 * pviommu_op_lookup() - LOOKUP
 * @ctx: context of the op
 * @op: the op; the answer is put into it
 * @result: unused
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int pviommu_op_lookup(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		      u64 *result)
{
	u64 iova = le64_to_cpu(op->lookup.iova);
	u32 id = le32_to_cpu(op->domain);
	struct pviommu_domain *domain;
	int ret;

	if (op->lookup.gpa || op->lookup.size || op->lookup.prot ||
	    op->lookup.pgshift ||
	    memchr_inv(op->lookup.reserved, 0, sizeof(op->lookup.reserved)))
		return -EINVAL;
	if (id == PVIOMMU_DOMAIN_BYPASS)
		return lookup_bypass(ctx, op, iova);
	if (id == PVIOMMU_DOMAIN_BLOCKED)
		return -ENOENT;
	domain = pviommu_domain_get(ctx->vm, id);
	if (!domain)
		return -ENOENT;
	ret = lookup_domain(domain, op, iova);
	ctx->answered = !ret;
	pviommu_domain_put(domain);
	return ret;
}
