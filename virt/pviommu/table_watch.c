// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-owned page tables whose pages are watched: which pages these are, and which IOVAs
 * a store to one of them is about.
 *
 * A place is where a walk has found a table: its level, and the first IOVA that it
 * translates. A page may be in several places, of one domain or of several. A place only
 * says where to look. As each look walks from the root, a place that is out of date (an
 * entry above it has changed since) does no harm.
 *
 * types.change_lock protects all of this. It also makes sure that no page is watched both
 * as a table and for a server.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/* Places of one page: each of them is looked at for each store to the page */
#define MAX_PLACES	8

/* Pages of one VM. KVM's limit does not do for them: places outlive memory that leaves */
#define MAX_TABLES	65536

struct table_page {
	u64 gfn;
	u32 nr_places;
	struct list_head places;
};

struct place {
	struct list_head entry;		/* entry of page->places */
	struct table_page *page;
	struct pviommu_domain *domain;	/* no reference: it drops its places before it goes */
	u64 iova;
	u8 level;			/* 1: its entries are pages of 4 KiB */
};

/* IOVAs of a domain that one store is about */
struct table_range {
	struct pviommu_domain *domain;
	u64 iova;
	u64 last;
};

/* Index in table->places: by IOVA, then level, so that a range of IOVAs is a range of keys */
static unsigned long place_key(u64 iova, u32 level)
{
	return iova >> pviommu_level_shift(2) << 3 | level;
}

/* ---- pages ------------------------------------------------------------ */

/* Have a page watched, unless it is: it is not any more if its memory had left the VM */
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

	/* Without a doorbell nothing is watched any more */
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

/* Stop watching a page, and forget it, if it is in no place (any more) */
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
 * pviommu_watch_table() - watch a page of a table that a walk has reached
 * @ctx: context of the op that walks
 * @domain: whose table it is
 * @gpa: the page
 * @iova: the first IOVA that it translates
 * @level: its level; 1: its entries are pages of 4 KiB
 *
 * From now on pviommu_table_written() is called for each store to it by a vCPU.
 *
 * Context: process, vm->iface_lock and the table's lock held; does not wait.
 * Return: 0, also if no vCPU can store there; -EBUSY the page is watched for a server, or
 * is in too many places; -EAGAIN not now, perhaps not before this thread has left KVM;
 * -ENOENT the domain is being freed; -ENOSPC too many pages; -ENOMEM.
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
 * pviommu_watch_forget() - drop the places below a level
 * @domain: whose table it is, table->lock held
 * @iova: first IOVA
 * @last: last IOVA
 * @level: the walk ended at this level: the entries for the range, including those that
 *	it covers in part only, lead to no table
 * @budget: work that may be done, reduced by what was
 *
 * A page that was in no other place is not watched any more, and is plain RAM again.
 *
 * Context: process, vm->iface_lock held.
 * Return: false if the budget did not suffice for all of them.
 */
bool pviommu_watch_forget(struct pviommu_domain *domain, u64 iova, u64 last, u8 level,
			  u32 *budget)
{
	struct mutex *lock = &domain->vm->types.change_lock;
	struct place *place;
	bool done = true;
	unsigned long key;
	u64 entry;

	lockdep_assert_held(&domain->vm->iface_lock);
	lockdep_assert_held(&domain->table->lock);

	if (!domain->table->scratch || level < 2)
		return true;
	/* Whole entries, so that the next part of a range need not look here again */
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
 * pviommu_watch_end() - drop all places of a domain, for good
 * @domain: the domain, which is being freed; it need not have a table
 * @budget: work that may be done, reduced by what was; NULL for all
 *
 * Context: process, vm->iface_lock held, or there is no interface.
 * Return: false if the budget did not suffice for all of them.
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

/* The IOVAs that the entries in [gpa, gpa + len) translate; takes references on domains */
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
 * pviommu_table_written() - a vCPU has stored to a page of a guest-owned table
 * @vm: the VM
 * @gpa: where it stored to
 * @len: bytes, all in one page
 *
 * On return devices reach what new entries there say, if the budget of one doorbell
 * suffices for that; else the guest got an event.
 *
 * Context: the vCPU's thread, under KVM's SRCU read lock; sleeps.
 */
void pviommu_table_written(struct pviommu_vm *vm, u64 gpa, int len)
{
	u32 budget = pviommu_doorbell_budget(), tries = 0, n = 0, i;
	struct table_range ranges[MAX_PLACES];

	down_read(&vm->iface_lock);
	down_read(&vm->mem_lock);
	/* One instruction may store a thousand times: don't hold up a thread that is killed */
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
