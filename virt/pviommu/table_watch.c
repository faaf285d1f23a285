// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-owned page tables whose pages are watched: which pages these are, and where a
 * store to one has us look.
 *
 * A place is where a look has found a table: a level, and the first IOVA that the
 * table there translates. A page may be in several places, of one domain or of more.
 * Places only tell where to look. A look walks from the root, and so a place that is
 * out of date (an entry above it was changed, and nobody asked us to look) does no harm.
 *
 * All is under types.change_lock, which also keeps a server's pages and these apart.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/* More places than that of a page would make a store to it too much work */
#define MAX_PLACES	8

/* Pages of one VM; memory that leaves lets go of what KVM has, but not of places */
#define MAX_TABLES	65536

struct table_page {
	u64 gfn;
	u32 nr_places;
	struct list_head places;
};

struct place {
	struct list_head entry;		/* entry of page->places */
	struct table_page *page;
	struct pviommu_domain *domain;	/* not referenced: it ends its places first */
	u64 iova;
	u8 level;			/* 1: its entries are pages of 4 KiB */
};

/* What one store has us look at */
struct table_range {
	struct pviommu_domain *domain;
	u64 iova;
	u64 last;
};

/* By IOVA, and of one IOVA by level: all in a range of IOVAs are together */
static unsigned long place_key(u64 iova, u32 level)
{
	return iova >> pviommu_level_shift(2) << 3 | level;
}

/* ---- pages ------------------------------------------------------------ */

/* Have a page watched; it may have been, and have left the VM meanwhile */
static int watch_page(struct pviommu_op_ctx *ctx, u64 gfn)
{
	struct pviommu_iface *iface = ctx->vm->iface;
	u64 gpa = gfn << PAGE_SHIFT;
	unsigned long tag;

	lockdep_assert_held(&ctx->vm->iface_lock);
	lockdep_assert_held(&ctx->vm->types.change_lock);

	tag = iface->doorbell_ops->watched(iface->doorbell, gpa);
	if (tag == PVIOMMU_TAG_TABLE)
		return 0;
	if (tag && pviommu_page_wanted(ctx->vm, tag))
		return -EBUSY;
	pviommu_spend(ctx->budget, PVIOMMU_COST_WATCH);
	return iface->doorbell_ops->watch(iface->doorbell, gpa, PVIOMMU_TAG_TABLE);
}

static void unwatch_page(struct pviommu_vm *vm, u64 gfn)
{
	struct pviommu_iface *iface = vm->iface;
	u64 gpa = gfn << PAGE_SHIFT;

	/* When the interface goes, all that is watched has gone before */
	if (iface && iface->doorbell &&
	    iface->doorbell_ops->watched(iface->doorbell, gpa) == PVIOMMU_TAG_TABLE)
		iface->doorbell_ops->unwatch(iface->doorbell, gpa);
}

static struct table_page *page_get(struct pviommu_vm *vm, u64 gfn)
{
	struct table_page *page = xa_load(&vm->types.tables, gfn);
	int ret;

	if (page)
		return page->nr_places < MAX_PLACES ? page : ERR_PTR(-EBUSY);
	if (vm->types.nr_tables >= MAX_TABLES)
		return ERR_PTR(-ENOSPC);
	page = kzalloc(sizeof(*page), GFP_KERNEL_ACCOUNT);
	if (!page)
		return ERR_PTR(-ENOMEM);
	page->gfn = gfn;
	INIT_LIST_HEAD(&page->places);
	ret = xa_err(xa_store(&vm->types.tables, gfn, page, GFP_KERNEL_ACCOUNT));
	if (ret) {
		kfree(page);
		return ERR_PTR(ret);
	}
	vm->types.nr_tables++;
	return page;
}

/* Let go of a page that is in no place (any more) */
static void page_put(struct pviommu_vm *vm, struct table_page *page)
{
	if (page->nr_places)
		return;
	unwatch_page(vm, page->gfn);
	xa_erase(&vm->types.tables, page->gfn);
	vm->types.nr_tables--;
	kfree(page);
}

/* ---- places ----------------------------------------------------------- */

static int place_add(struct pviommu_domain *domain, u64 gfn, u64 iova, u8 level)
{
	struct table_page *page;
	struct place *place;
	int ret;

	page = page_get(domain->vm, gfn);
	if (IS_ERR(page))
		return PTR_ERR(page);
	place = kzalloc(sizeof(*place), GFP_KERNEL_ACCOUNT);
	if (!place) {
		ret = -ENOMEM;
		goto err_put;
	}
	place->page = page;
	place->domain = domain;
	place->iova = iova;
	place->level = level;
	ret = xa_err(xa_store(&domain->table->places, place_key(iova, level), place,
			      GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_free;
	list_add_tail(&place->entry, &page->places);
	page->nr_places++;
	return 0;

err_free:
	kfree(place);
err_put:
	page_put(domain->vm, page);
	return ret;
}

static void place_drop(struct place *place)
{
	struct pviommu_domain *domain = place->domain;
	struct table_page *page = place->page;

	lockdep_assert_held(&domain->vm->types.change_lock);

	xa_erase(&domain->table->places, place_key(place->iova, place->level));
	list_del(&place->entry);
	page->nr_places--;
	page_put(domain->vm, page);
	kfree(place);
}

static int watch_place(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain, u64 gfn,
		       u64 iova, u8 level)
{
	struct place *place;
	int ret;

	if (domain->table->ended)
		return -ENOENT;
	place = xa_load(&domain->table->places, place_key(iova, level));
	if (place && place->page->gfn == gfn)
		return watch_page(ctx, gfn);
	if (place)
		place_drop(place);
	ret = watch_page(ctx, gfn);
	if (ret)
		return ret;
	ret = place_add(domain, gfn, iova, level);
	if (ret && !xa_load(&ctx->vm->types.tables, gfn))
		unwatch_page(ctx->vm, gfn);
	return ret;
}

/**
 * pviommu_watch_table() - a look has come to a table: watch its page
 * @ctx: of the look
 * @domain: whose table
 * @gpa: the page
 * @iova: the first IOVA that it translates
 * @level: what it is a table of; 1: pages of 4 KiB
 *
 * From now on pviommu_table_written() is called for each store to it by a CPU.
 *
 * Context: vm->iface_lock and the table's lock held.
 * Return: 0, also if no CPU can store there; -EBUSY a server watches the page, or it is in
 * too many places; -EAGAIN not now, while this thread is in KVM; -ENOENT the domain goes;
 * -ENOSPC; -ENOMEM.
 */
int pviommu_watch_table(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			u64 gpa, u64 iova, u8 level)
{
	int ret;

	lockdep_assert_held(&ctx->vm->iface_lock);
	lockdep_assert_held(&domain->table->lock);

	mutex_lock(&ctx->vm->types.change_lock);
	ret = watch_place(ctx, domain, gpa >> PAGE_SHIFT, iova, level);
	mutex_unlock(&ctx->vm->types.change_lock);
	return ret == -EINVAL ? 0 : ret;
}

/**
 * pviommu_watch_forget() - there are no tables below a level
 * @domain: whose table, locked
 * @iova: first IOVA
 * @last: last IOVA
 * @level: a look has ended in tables of this level, whose entries there, also those that
 *	are there in part only, lead to no table
 * @budget: work that may be done, reduced by what was
 *
 * Pages that were in this range only have their type back when it is done.
 *
 * Context: vm->iface_lock held.
 * Return: true when it is done.
 */
bool pviommu_watch_forget(struct pviommu_domain *domain, u64 iova, u64 last, u8 level,
			  u32 *budget)
{
	struct mutex *lock = &domain->vm->types.change_lock;
	struct place *place;
	bool done = true;
	unsigned long key;
	u64 entry;

	if (!domain->table->scratch || level < 2)
		return true;
	/* All below an entry, of which a part may be asked for: so none is met twice */
	entry = 1ULL << pviommu_level_shift(level);
	mutex_lock(lock);
	xa_for_each_range(&domain->table->places, key, place,
			  place_key(round_down(iova, entry), 0),
			  place_key(last | (entry - 1), level - 1)) {
		if (place->level >= level)
			continue;
		done = *budget;
		if (!done)
			break;
		pviommu_spend(budget, 1);
		place_drop(place);
	}
	mutex_unlock(lock);
	return done;
}

/**
 * pviommu_watch_end() - watch no page of a domain's table any more
 * @domain: the domain, which goes; it need not have a table
 * @budget: work that may be done, reduced by what was; NULL for all
 *
 * Context: vm->iface_lock held, or there is no interface.
 * Return: true when it is done.
 */
bool pviommu_watch_end(struct pviommu_domain *domain, u32 *budget)
{
	struct mutex *lock = &domain->vm->types.change_lock;
	struct place *place;
	unsigned long key;
	bool done = true;

	if (!domain->table || !domain->table->scratch)
		return true;
	mutex_lock(lock);
	domain->table->ended = true;
	xa_for_each(&domain->table->places, key, place) {
		done = !budget || *budget;
		if (!done)
			break;
		pviommu_spend(budget, 1);
		place_drop(place);
		cond_resched();
	}
	mutex_unlock(lock);
	return done;
}

/* ---- stores ----------------------------------------------------------- */

/* What the entries that were written translate; the domains are referenced */
static u32 find_ranges(struct pviommu_vm *vm, u64 gpa, int len, struct table_range *ranges)
{
	u32 first = offset_in_page(gpa) / sizeof(u64);
	u32 last = offset_in_page(gpa + len - 1) / sizeof(u64);
	struct table_page *page;
	struct place *place;
	u32 n = 0;

	mutex_lock(&vm->types.change_lock);
	page = xa_load(&vm->types.tables, gpa >> PAGE_SHIFT);
	if (page)
		list_for_each_entry(place, &page->places, entry) {
			u32 shift = pviommu_level_shift(place->level);

			kref_get(&place->domain->kref);
			ranges[n++] = (struct table_range) {
				.domain = place->domain,
				.iova = place->iova + ((u64)first << shift),
				.last = place->iova + ((u64)(last + 1) << shift) - 1,
			};
		}
	mutex_unlock(&vm->types.change_lock);
	return n;
}

/**
 * pviommu_table_written() - a vCPU stored to a page that is a table
 * @vm: the VM
 * @gpa: where
 * @len: bytes, all in the page
 *
 * On return devices reach what the entries there say, if that could be done with what
 * one doorbell may use; if not, the guest has been told.
 *
 * Context: the vCPU's thread, under KVM's SRCU read lock; sleeps.
 */
void pviommu_table_written(struct pviommu_vm *vm, u64 gpa, int len)
{
	u32 budget = pviommu_doorbell_budget(), tries = 0, n = 0, i;
	struct table_range ranges[MAX_PLACES];

	down_read(&vm->iface_lock);
	down_read(&vm->mem_lock);
	/* One instruction may store a thousand times; nobody waits for who is killed */
	if (vm->iface && current->mm == vm->mm && !fatal_signal_pending(current))
		n = find_ranges(vm, gpa, len, ranges);
	for (i = 0; i < n; i++) {
		pviommu_table_add(ranges[i].domain, ranges[i].iova, ranges[i].last, &budget,
				  &tries);
		pviommu_domain_put(ranges[i].domain);
	}
	up_read(&vm->mem_lock);
	up_read(&vm->iface_lock);
}
