// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ops that make, remove and look up mappings.
 *
 * Memory is worked on in chunks of up to PVIOMMU_CHUNK pages, each its own
 * mapping: pin, then, under the domain's lock, check for overlap and map. A
 * MAP that spans chunks and fails is undone as a whole, over several doorbells
 * if it was made over several.
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

/* Put a mapping into the tree and the page table */
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

static int map_pages(struct pviommu_domain *domain, const struct pviommu_map_args *args,
		     u64 iova, const u64 *gfns, u64 gfn, struct page **pages,
		     u32 n, struct pviommu_loan *loan)
{
	struct pviommu_mapping *map;
	int ret = -ENOMEM;

	mutex_lock(&domain->lock);
	map = pviommu_mapping_make(domain, iova, gfns, gfn, pages, n);
	if (map) {
		map->pgshift = args->pgshift;
		map->prot = args->prot;
		map->loan = loan;
		ret = insert_mapping(domain, map);
	}
	if (ret)
		pviommu_mapping_free(domain, map);
	mutex_unlock(&domain->lock);
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

static int map_borrowed(struct pviommu_domain *domain, const struct pviommu_map_args *args,
			u64 iova, const u64 *gfns, u64 gfn, struct page **pages,
			u32 n)
{
	u64 first = gfn, last = gfn + n - 1;
	struct pviommu_loan *loan;
	int ret;

	if (gfns)
		frame_bounds(gfns, n, &first, &last);
	loan = pviommu_loan_begin(args->borrow, domain, iova, n, first, last);
	if (IS_ERR(loan))
		return PTR_ERR(loan);
	ret = map_pages(domain, args, iova, gfns, gfn, pages, n, loan);
	pviommu_loan_end(args->borrow, loan, ret);
	return ret;
}

/**
 * pviommu_map_pinned() - map pages that are pinned
 * @domain: the domain, not locked; vm->mem_lock held
 * @args: page size and protection
 * @iova: where
 * @gfns: their frames, or NULL
 * @gfn: without @gfns, the first of contiguous frames
 * @pages: the pages, as pviommu_pin_guest() gave them
 * @n: how many, up to PVIOMMU_CHUNK
 *
 * Return: 0, -ENOENT, -EEXIST, -ENOMEM, -EIO; on failure they are unpinned.
 */
int pviommu_map_pinned(struct pviommu_domain *domain, const struct pviommu_map_args *args,
		       u64 iova, const u64 *gfns, u64 gfn, struct page **pages, u32 n)
{
	u32 tries = 0;
	int ret;

	do {
		if (args->borrow)
			ret = map_borrowed(domain, args, iova, gfns, gfn, pages, n);
		else
			ret = map_pages(domain, args, iova, gfns, gfn, pages, n, NULL);
	} while (pviommu_try_again(ret, &tries));
	if (ret)
		put_pinned(domain->vm, args, gfns, gfn, pages, n);
	return ret;
}

/* An owner whose memory is changing: the op goes on with the next doorbell */
static int again(const struct pviommu_map_args *args, u32 *budget)
{
	args->borrow->epoch = 0;
	*budget = 0;
	return -EINPROGRESS;
}

/*
 * Unmap a chunk again. Between chunks, another ring may have put a large page across a
 * bound. That one stays: half of it can't be unmapped.
 */
static void undo_chunk(struct pviommu_domain *domain, u64 iova, u64 size, u32 *budget)
{
	u64 end = iova + size;

	mutex_lock(&domain->lock);
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
 * A MAP at @iova fails: take back what its chunks did, the last one first: unmap, flush,
 * unpin, each for as long as the budget lasts. Where chunks have been unmapped others
 * may map meanwhile. Return: why it fails, or -EINPROGRESS.
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
	mutex_lock(&domain->lock);
	pviommu_flush(domain, 0, U64_MAX);
	mutex_unlock(&domain->lock);
	return pviommu_flush_finish(domain, ctx->budget) ? ret : -EINPROGRESS;
}

/* MAP from ctx->done on, until it is done or the budget is used up; nothing is undone */
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
			return again(args, ctx->budget);
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

	/* What it translates may be in the guest's table */
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
 * Whether the VM may map [gpa, last], and of which VM that is. It makes no
 * difference why it may not.
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
 * @ctx: where and how much
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

/* Turn the guest's list of frames, in place, into frames of our page size */
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

		/* Beyond any address that could be RAM */
		if (gfn >> (64 - args->pgshift))
			return -EFAULT;
		gfns[i] = gfn << shift;
	}
	return 0;
}

/**
 * pviommu_pin_list() - pin scattered pages, contiguous ones together
 * @vm: the VM, mem_lock held
 * @args: whether devices may write to them, and of which VM they are
 * @gfns: their frames
 * @count: how many
 * @pages: filled with the pages
 *
 * Return: as pviommu_pin_guest(), or pviommu_borrow_pin().
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
	return ret == -EAGAIN ? again(args, ctx->budget) : ret;
}

/* Large pages one by one, until the budget is used up */
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
		/* One page is one chunk: it ends in this doorbell */
		ctx->done = 0;
		ret = map_range(ctx, domain, &one, gfns[i] << PAGE_SHIFT);
		ctx->done = done;
		if (ret)
			return ret;
		ctx->done += size;
	}
	return 0;
}

/* All pages of a list lie within one grant */
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
 * @ctx: where and how much
 * @op: the op
 * @result: set to the bytes mapped
 *
 * The list is read once for each doorbell that the op takes.
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

/* Would the removal of a range cut a page at one of its ends */
static bool unmap_cuts_page(struct pviommu_domain *domain, u64 iova, u64 last)
{
	struct pviommu_mapping *map = pviommu_mapping_first(domain, iova, last);

	/* The common case: just what was mapped, or nothing */
	if (!map || (map->it.start >= iova && map->it.last == last))
		return false;
	return pviommu_mapping_cuts_page(domain, iova) ||
	       (last != U64_MAX && pviommu_mapping_cuts_page(domain, last + 1));
}

/**
 * pviommu_op_unmap() - UNMAP
 * @ctx: where and how much
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
	int ret = 0;

	if (op->unmap.reserved[0] || op->unmap.reserved[1] ||
	    (all ? iova || size : !size || !PAGE_ALIGNED(iova | size)))
		return -EINVAL;
	if (!all && check_add_overflow(iova, size - 1, &last))
		return -ERANGE;
	domain = map_domain(ctx->vm, op);
	if (IS_ERR(domain))
		return PTR_ERR(domain);

	mutex_lock(&domain->lock);
	if (unmap_cuts_page(domain, iova, last)) {
		ret = -EINVAL;
	} else {
		ctx->done += pviommu_domain_unmap(domain, iova, last, ctx->budget);
		if (!*ctx->budget && pviommu_mapping_first(domain, iova, last))
			ret = -EINPROGRESS;
	}
	mutex_unlock(&domain->lock);
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
	op->lookup.prot = cpu_to_le32(PVIOMMU_PROT_READ |
				      (slot->writable ? PVIOMMU_PROT_WRITE : 0));
	return 0;
}

static int lookup_domain(struct pviommu_domain *domain, struct pviommu_op *op,
			 u64 iova)
{
	const struct pviommu_mapping *map;
	const struct pviommu_run *run;
	u64 offset, mask;
	int ret = -ENOENT;

	mutex_lock(&domain->lock);
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
 * @ctx: where
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
