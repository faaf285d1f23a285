// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains that translate what a guest-owned page table says: the host's mirror of it.
 *
 * The physical IOMMU never uses the guest's table, as its own tables hold host
 * addresses. INVALIDATE makes the host walk ("look at") a range of the guest's table,
 * and pin and map what it finds there as MAP would: the domain's mappings are the
 * mirror. Mappings that are up to date are left alone, so that devices which use them
 * are not disturbed. A bad entry maps nothing, and the guest gets an event.
 *
 * The guest may have asked for the pages of the table to be watched. Then each store to
 * them makes the host look as well, but only for new entries: what a store removes or
 * changes may stay in use until an INVALIDATE, as with any IOMMU that caches.
 *
 * table->lock is held from the time an entry is read until it is mapped. So if two walks
 * read the same entry, the one that saw the newer value maps last.
 */
#include <linux/delay.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "pviommu_private.h"

#define NO_FRAME	U64_MAX

/* Retries when a page can't be watched now: another one is being watched, or memory changes */
#define LOOK_TRIES	20
#define LOOK_AGAIN_US	50

/* A position in the mirror, which makes it cheap to look up consecutive IOVAs */
struct cursor {
	struct pviommu_domain *domain;
	const struct pviommu_mapping *map;
	const struct pviommu_run *run;
	u64 offset;
};

/**
 * pviommu_table_create() - create the record of a table that a domain will mirror
 * @vm: the VM, mem_lock held
 * @format: PVIOMMU_TABLE_*
 * @root: GPA of its first page
 * @watch: whether its pages are to be watched, each from the first look at it on
 *
 * Return: the table; ERR_PTR: -EOPNOTSUPP the format, -EINVAL alignment, -EFAULT
 * the root is not RAM of the guest, -ENOMEM.
 */
struct pviommu_table *pviommu_table_create(struct pviommu_vm *vm, u32 format, u64 root,
					   bool watch)
{
	struct pviommu_table *table;
	u64 probe;

	if (format != PVIOMMU_TABLE_X86_64_4 && format != PVIOMMU_TABLE_X86_64_5)
		return ERR_PTR(-EOPNOTSUPP);
	if (!PAGE_ALIGNED(root))
		return ERR_PTR(-EINVAL);
	if (pviommu_guest_read_words(vm, root, &probe, 1))
		return ERR_PTR(-EFAULT);
	table = kzalloc(sizeof(*table), GFP_KERNEL_ACCOUNT);
	if (!table)
		return ERR_PTR(-ENOMEM);
	if (watch) {
		table->scratch = kvmalloc(sizeof(*table->scratch), GFP_KERNEL_ACCOUNT);
		if (!table->scratch) {
			kfree(table);
			return ERR_PTR(-ENOMEM);
		}
	}
	mutex_init(&table->lock);
	xa_init_flags(&table->places, XA_FLAGS_ACCOUNT);
	table->root = root;
	table->levels = format == PVIOMMU_TABLE_X86_64_5 ? 5 : 4;
	return table;
}

/**
 * pviommu_table_free() - undo pviommu_table_create()
 * @table: the table, or NULL
 */
void pviommu_table_free(struct pviommu_table *table)
{
	if (!table)
		return;
	xa_destroy(&table->places);
	mutex_destroy(&table->lock);
	kvfree(table->scratch);
	kfree(table);
}

/* The last IOVA that the format can translate */
static u64 table_last(const struct pviommu_table *table)
{
	return (1ULL << (PAGE_SHIFT + 9 * table->levels)) - 1;
}

/* ---- what the mirror has ------------------------------------------- */

/* The frame that the mirror maps at an IOVA, or NO_FRAME; IOVAs are asked for in order */
static u64 mirrored(struct cursor *cur, u64 iova)
{
	if (!cur->map || iova > cur->map->it.last) {
		cur->map = pviommu_mapping_first(cur->domain, iova, iova);
		if (!cur->map)
			return NO_FRAME;
		cur->run = pviommu_mapping_run(cur->map,
					       (iova - cur->map->it.start) >> PAGE_SHIFT,
					       &cur->offset);
	} else if (++cur->offset == cur->run->npages) {
		cur->run++;
		cur->offset = 0;
	}
	return cur->run->gfn + cur->offset;
}

/* Whether a page of a view is in the mirror already, with the same size and protection */
static bool page_alike(struct cursor *cur, const struct pviommu_view *view, u32 page)
{
	return mirrored(cur, view->iova + ((u64)page << PAGE_SHIFT)) == view->gfns[page] &&
	       cur->map->pgshift == view->pgshift && cur->map->prot == view->prot;
}

static u32 view_pages(const struct pviommu_view *view)
{
	return (view->last - view->iova + 1) >> PAGE_SHIFT;
}

/*
 * How many pages of a view, from @page on, have the same answer to: is it in the mirror
 * already? That answer is @alike.
 */
static u32 compare(struct pviommu_domain *domain, const struct pviommu_view *view,
		   u32 page, bool *alike)
{
	struct cursor cur = { .domain = domain };
	u32 npages = view_pages(view), n = 1;

	mutex_lock(&domain->lock);
	*alike = page_alike(&cur, view, page);
	while (page + n < npages && page_alike(&cur, view, page + n) == *alike)
		n++;
	mutex_unlock(&domain->lock);
	/* A large page is replaced as a whole */
	if (view->pgshift != PAGE_SHIFT && n < npages) {
		*alike = false;
		n = npages;
	}
	return n;
}

/* ---- changing it ---------------------------------------------------- */

/* Widen a range to whole pages, of the sizes that are mapped at its ends */
static void widen_to_pages(struct pviommu_domain *domain, u64 *iova, u64 *last)
{
	struct pviommu_mapping *map;

	lockdep_assert_held(&domain->lock);

	map = pviommu_mapping_first(domain, *iova, *iova);
	if (map)
		*iova = round_down(*iova, 1ULL << map->pgshift);
	map = pviommu_mapping_first(domain, *last, *last);
	if (map)
		*last |= (1ULL << map->pgshift) - 1;
}

/*
 * Whether the 2 MiB around an IOVA hold a page that is left of a large one that was split.
 * The answer may be true although the guest has small pages there by now: a look may be
 * interrupted, and then can't check them all.
 */
static bool was_split(struct pviommu_domain *domain, u64 iova)
{
	u64 first = round_down(iova, SZ_2M), last = iova | (SZ_2M - 1);
	struct interval_tree_node *node;

	lockdep_assert_held(&domain->lock);

	for (node = interval_tree_iter_first(&domain->mappings, first, last); node;
	     node = interval_tree_iter_next(node, first, last))
		if (container_of(node, struct pviommu_mapping, it)->was_large)
			return true;
	return false;
}

/* Widen a range to the bounds of large pages that were split, at its ends */
static void widen_to_split_pages(struct pviommu_domain *domain, u64 *iova, u64 *last)
{
	lockdep_assert_held(&domain->lock);

	if (!domain->table->has_split)
		return;
	if (was_split(domain, *iova))
		*iova = round_down(*iova, SZ_2M);
	if (was_split(domain, *last))
		*last |= SZ_2M - 1;
}

/* Remove a range from the mirror; false if the budget did not suffice for all of it */
static bool forget(struct pviommu_domain *domain, u64 iova, u64 last, u32 *budget)
{
	bool done;

	mutex_lock(&domain->lock);
	widen_to_pages(domain, &iova, &last);
	pviommu_domain_unmap(domain, iova, last, budget);
	done = !pviommu_mapping_first(domain, iova, last);
	mutex_unlock(&domain->lock);
	return done;
}

static void post_bad(struct pviommu_domain *domain, u64 iova, u64 last, u64 entry,
		     u16 reason)
{
	struct pviommu_event ev = {
		.type = cpu_to_le16(PVIOMMU_EV_FAULT),
		.flags = cpu_to_le16(PVIOMMU_EV_F_ENTRY | reason << 8),
		.domain = cpu_to_le32(domain->id),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.addr = cpu_to_le64(iova),
		.gpa = cpu_to_le64(entry),
		.size = cpu_to_le64(last - iova + 1),
	};

	pviommu_count(domain->vm, PVIOMMU_NR_FAULTS, 1);
	pviommu_event_post(domain->vm, &ev);
}

static u64 page_iova(const struct pviommu_view *view, u32 page)
{
	return view->iova + ((u64)page << PAGE_SHIFT);
}

static void post_bad_pages(struct pviommu_domain *domain, const struct pviommu_view *view,
			   u32 page, u32 n, u16 reason)
{
	post_bad(domain, page_iova(view, page), page_iova(view, page + n) - 1,
		 view->entry + page * sizeof(u64), reason);
}

/*
 * Map @n pages of a view from @page on, where nothing is mapped, as one mapping. Return: a
 * negative errno; or 0 with *reason 0 on success, or PVIOMMU_BAD_* if one of them is bad.
 */
static int mirror_together(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			   const struct pviommu_view *view, u32 page, u32 n, u16 *reason)
{
	struct pviommu_map_args args = { .pgshift = view->pgshift, .prot = view->prot };
	const u64 *gfns = view->gfns + page;
	u64 iova = page_iova(view, page);
	int ret;

	*reason = 0;
	pviommu_spend(ctx->budget, PVIOMMU_COST_MAP * n);
	if (pviommu_range_reserved(ctx->vm, iova, page_iova(view, page + n) - 1)) {
		*reason = PVIOMMU_BAD_IOVA;
		return 0;
	}
	ret = pviommu_quota_mappings(ctx->vm, 1) ?:
	      pviommu_pin_list(ctx->vm, &args, gfns, n, ctx->scratch->pages);
	if (ret == -EFAULT || ret == -EACCES) {
		*reason = PVIOMMU_BAD_PAGE;
		return 0;
	}
	if (ret)
		return ret;
	return pviommu_map_pinned(domain, &args, iova, gfns, 0, ctx->scratch->pages, n);
}

/*
 * Map pages one by one, as one of them is bad. Neighbours that are bad for the same
 * reason are reported by one event.
 */
static int mirror_singly(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			 const struct pviommu_view *view, u32 page, u32 n)
{
	u16 reason, last_reason = 0;
	u32 bad = 0, i;
	int ret = 0;

	/* The last @bad pages before @i are bad, for @last_reason, and not reported yet */
	for (i = 0; i < n && !ret; i++) {
		ret = mirror_together(ctx, domain, view, page + i, 1, &reason);
		if (bad && (ret || reason != last_reason)) {
			post_bad_pages(domain, view, page + i - bad, bad, last_reason);
			bad = 0;
		}
		last_reason = reason;
		bad += !ret && reason;
	}
	if (bad)
		post_bad_pages(domain, view, page + n - bad, bad, last_reason);
	return ret;
}

/* Map @n pages of a view from @page on where nothing is mapped */
static int mirror_pages(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			const struct pviommu_view *view, u32 page, u32 n)
{
	u16 reason;
	int ret;

	ret = mirror_together(ctx, domain, view, page, n, &reason);
	if (ret || !reason)
		return ret;
	if (n > 1 && view->pgshift == PAGE_SHIFT)
		return mirror_singly(ctx, domain, view, page, n);
	post_bad_pages(domain, view, page, n, reason);
	return 0;
}

static int adopt_pages(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		       const struct pviommu_view *view)
{
	u32 npages = view_pages(view), page, n;
	bool alike;
	int ret;

	for (page = 0; page < npages; page += n) {
		n = compare(domain, view, page, &alike);
		if (alike)
			continue;
		forget(domain, page_iova(view, page), page_iova(view, page + n) - 1, NULL);
		ret = mirror_pages(ctx, domain, view, page, n);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * How many pages of a view, from @page on, have the same answer to: is anything mapped
 * there? That answer is @has.
 */
static u32 mirror_has(struct pviommu_domain *domain, const struct pviommu_view *view,
		      u32 page, bool *has)
{
	u64 iova = page_iova(view, page), until = view->last + 1;
	struct pviommu_mapping *map;

	mutex_lock(&domain->lock);
	map = pviommu_mapping_first(domain, iova, view->last);
	*has = map && map->it.start <= iova;
	if (*has)
		until = min(map->it.last, view->last) + 1;
	else if (map)
		until = map->it.start;
	mutex_unlock(&domain->lock);
	return (until - iova) >> PAGE_SHIFT;
}

static int mirror_new_pages(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			    const struct pviommu_view *view)
{
	u32 npages = view_pages(view), page, n;
	bool has;
	int ret;

	for (page = 0; page < npages; page += n) {
		n = mirror_has(domain, view, page, &has);
		if (has)
			continue;
		/* A large page needs all of its place, which is not free until an INVALIDATE */
		if (view->pgshift != PAGE_SHIFT && n < npages)
			return 0;
		ret = mirror_pages(ctx, domain, view, page, n);
		if (ret)
			return ret;
	}
	return 0;
}

/* Add what a view shows to the mirror, and keep what is there */
static int add_view(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		    const struct pviommu_view *view)
{
	bool has;

	if (view->kind == PVIOMMU_VIEW_PAGES)
		return mirror_new_pages(ctx, domain, view);
	if (view->kind != PVIOMMU_VIEW_BAD)
		return 0;
	mutex_lock(&domain->lock);
	has = pviommu_mapping_first(domain, view->iova, view->last);
	mutex_unlock(&domain->lock);
	if (!has)
		post_bad(domain, view->iova, view->last, view->entry, view->reason);
	return 0;
}

/* Make the mirror what a view shows; -EINPROGRESS: read the view again with more budget */
static int adopt_view(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		      const struct pviommu_view *view)
{
	/* Reading the entry may have used up the budget: make progress all the same */
	*ctx->budget = max(*ctx->budget, 1U);
	/* Pages below, that are no tables any more */
	if (!pviommu_watch_forget(domain, view->iova, view->last, view->level, ctx->budget))
		return -EINPROGRESS;
	if (view->kind == PVIOMMU_VIEW_PAGES)
		return adopt_pages(ctx, domain, view);
	*ctx->budget = max(*ctx->budget, 1U);
	if (!forget(domain, view->iova, view->last, ctx->budget))
		return -EINPROGRESS;
	if (view->kind == PVIOMMU_VIEW_BAD)
		post_bad(domain, view->iova, view->last, view->entry, view->reason);
	return 0;
}

/*
 * The range to look at: what was asked for, within the domain's aperture, and widened to
 * whole large pages, including those that were split since. It is worked out when the op
 * begins, and kept in our copy of the op. False: there is nothing to look at.
 */
static bool look_range(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		       struct pviommu_op *op, u64 *iova, u64 *last)
{
	const struct iommu_domain_geometry *geo = &domain->hw->geometry;

	*iova = le64_to_cpu(op->inv.addr);
	*last = *iova + le64_to_cpu(op->inv.size) - 1;
	if (le32_to_cpu(op->inv.granularity) == PVIOMMU_INV_DOMAIN)
		*last = U64_MAX;
	/* Also if it has begun: that may have been in another domain that had this id */
	*iova = max_t(u64, *iova, geo->aperture_start);
	*last = min3(*last, (u64)geo->aperture_end, table_last(domain->table));
	if (*iova > *last)
		return false;
	if (ctx->resumed)
		return true;
	mutex_lock(&domain->lock);
	widen_to_pages(domain, iova, last);
	widen_to_split_pages(domain, iova, last);
	mutex_unlock(&domain->lock);
	op->inv.granularity = cpu_to_le32(PVIOMMU_INV_PAGE);
	op->inv.addr = cpu_to_le64(*iova);
	op->inv.size = cpu_to_le64(*last - *iova + 1);
	return true;
}

/*
 * Walk a range, of which @ctx->done bytes have been walked, and hand each view to @use.
 * -EINPROGRESS: the budget is used up.
 */
static int walk_range(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain, u64 iova,
		      u64 last, u64 *gfns,
		      int (*use)(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
				 const struct pviommu_view *view))
{
	struct pviommu_view view = { .gfns = gfns };
	int ret = 0;

	lockdep_assert_held(&domain->table->lock);

	while (!ret && ctx->done <= last - iova) {
		if (!*ctx->budget)
			return -EINPROGRESS;
		ret = pviommu_table_view(ctx, domain, iova + ctx->done, last, &view) ?:
		      use(ctx, domain, &view);
		if (!ret)
			ctx->done = view.last - iova + 1;
		cond_resched();
	}
	return ret;
}

/**
 * pviommu_table_look() - bring the mirror of a range up to date with the table
 * @ctx: context of the op; @ctx->done counts the bytes that were looked at
 * @domain: a domain with a table, not locked
 * @op: our copy of the INVALIDATE, its range checked; the range may be changed
 * @result: when it fails, set to the first IOVA that was not looked at
 *
 * What was removed from the mirror is in limbo: the caller flushes, also on failure.
 *
 * Context: process, a thread of the VMM, vm->mem_lock held; may sleep.
 * Return: 0 all of the range was looked at; -EINPROGRESS call again with more budget;
 * -ENOENT the domain is being freed; -ENOSPC, -ENOMEM, -EIO a good entry could not be
 * mapped. After an error the mirror is up to date below *@result, and from there on as
 * it was.
 */
int pviommu_table_look(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		       struct pviommu_op *op, u64 *result)
{
	struct pviommu_table *table = domain->table;
	u64 iova, last;
	int ret;

	lockdep_assert_held(&ctx->vm->mem_lock);

	if (!look_range(ctx, domain, op, &iova, &last)) {
		/* Nor is there if the op is resumed, to unpin what else was flushed */
		ctx->done = U64_MAX;
		return 0;
	}
	mutex_lock(&table->lock);
	ret = walk_range(ctx, domain, iova, last, (u64 *)ctx->scratch->list, adopt_view);
	mutex_unlock(&table->lock);
	*result = ret ? iova + ctx->done : 0;
	/* Whoever holds slots_lock waits for this thread to leave KVM: try again after that */
	return ret == -EAGAIN ? -EINPROGRESS : ret;
}

/**
 * pviommu_table_add() - mirror new entries of a table that is watched
 * @domain: the domain, not locked
 * @iova: first IOVA
 * @last: last IOVA
 * @budget: work that may be done, reduced by what was
 * @tries: how often this store has waited for others so far; at most LOOK_TRIES
 *
 * What the mirror has already stays as it is. The guest gets an event for bad entries, and
 * one for the range that could not be mirrored now: an INVALIDATE will do that.
 *
 * Context: process, a thread of the VMM, vm->iface_lock and vm->mem_lock held; sleeps.
 */
void pviommu_table_add(struct pviommu_domain *domain, u64 iova, u64 last, u32 *budget,
		       u32 *tries)
{
	const struct iommu_domain_geometry *geo = &domain->hw->geometry;
	struct pviommu_table *table = domain->table;
	struct pviommu_op_ctx ctx = {
		.vm = domain->vm,
		.scratch = table->scratch,
		.budget = budget,
	};
	int ret;

	lockdep_assert_held(&domain->vm->iface_lock);
	lockdep_assert_held(&domain->vm->mem_lock);

	iova = max_t(u64, iova, geo->aperture_start);
	last = min3(last, (u64)geo->aperture_end, table_last(table));
	if (iova > last)
		return;
	do {
		mutex_lock(&table->lock);
		ret = walk_range(&ctx, domain, iova, last, (u64 *)table->scratch->list,
				 add_view);
		mutex_unlock(&table->lock);
		/*
		 * Whoever holds slots_lock may be done soon. If it waits for this thread to
		 * leave KVM, the tries run out and the guest is told.
		 */
		if (ret == -EAGAIN)
			usleep_range(LOOK_AGAIN_US, 2 * LOOK_AGAIN_US);
	} while (ret == -EAGAIN && ++*tries < LOOK_TRIES &&
		 !fatal_signal_pending(current));
	if (ret && ret != -ENOENT)
		post_bad(domain, iova + ctx.done, last, 0, PVIOMMU_BAD_UNSEEN);
}
