// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbell through KVM: by KVM's page write tracking, the guest's stores to one page of its
 * memory reach the engine, in the vCPU's thread. So do stores to pages that are watched for
 * a server, or as a guest-owned table.
 *
 * KVM counts the trackers of each page of a memory slot. The count is freed with the
 * slot, and to remove a tracker from a page whose count is zero is a bug that KVM warns
 * about. Hence the invariant for @tracked: it is true if, and only if, the slot that is at
 * the page now has our count, or that slot has just been deleted and we have not been told
 * yet.
 *
 * - It is set with slots_lock held, so that no slot is being deleted.
 * - KVM tells us of a deletion with slots_lock held, so no other slot can take
 *   the place before we have cleared @tracked. Until then the page is in the slot that has
 *   our count or in none, and to remove a tracker from none is harmless.
 * - KVM does not move slots while there are notifiers.
 * - KVM also tells us of slots of the address space of system management mode. The counts
 *   are those of the other address space, whose slots stay in this case.
 *
 * The same holds for each page in @pages, which are the other pages that are watched. They
 * are added while a doorbell is served, under KVM's SRCU, where slots_lock can only be
 * tried: its holder may be waiting for that SRCU. If it is not free the guest has to try
 * again.
 *
 * Locks: slots_lock, or the SRCU read locks that a vCPU holds, or none; then
 * those that the engine takes in pviommu_doorbell_write(); then @lock; then
 * kvm->srcu for reading and mmu_lock, or the engine's spinlock in
 * pviommu_page_wanted() and pviommu_pages_lost(); in these nothing waits. What the engine
 * holds when it creates or destroys a doorbell comes before slots_lock. SRCU
 * is waited for in pv_kvm_destroy() and, when it fails, pv_kvm_create() only.
 */
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/kvm_host.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pv_iommu_host.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/xarray.h>

#include <asm/kvm_page_track.h>

#ifndef CONFIG_KVM_EXTERNAL_WRITE_TRACKING
#error "this kernel's KVM does not let other modules track writes"
#endif

/**
 * struct pv_kvm_doorbell - a page that is watched
 * @node: our entry in the VM's list of notifiers, which holds a reference on
 *	the VM
 * @kvm: the VM
 * @gpa: address of the page
 * @ctx: whom to tell
 * @lock: protects @tracked; @pages and @nr_pages change
 * @tracked: whether KVM counts us among the trackers of the page
 * @pages: the tags of watched pages, by frame number
 * @nr_pages: how many there are
 */
struct pv_kvm_doorbell {
	struct kvm_page_track_notifier_node node;
	struct kvm *kvm;
	gpa_t gpa;
	void *ctx;
	struct mutex lock; /* for the rest */
	bool tracked;
	struct xarray pages;
	unsigned int nr_pages;
};

/* How many pages are looked at without dropping the lock */
#define LOOK_PAGES	64

static uint max_watched = 65536;
module_param(max_watched, uint, 0644);
MODULE_PARM_DESC(max_watched,
		 "Number of pages of one VM that may be watched, besides the doorbell page");

static int pv_kvm_track(struct pv_kvm_doorbell *db)
{
	int ret;

	guard(mutex)(&db->kvm->slots_lock);
	guard(mutex)(&db->lock);
	ret = kvm_write_track_add_gfn(db->kvm, gpa_to_gfn(db->gpa));
	if (ret)
		return ret;
	WRITE_ONCE(db->tracked, true);
	return 0;
}

/* Returns whether the page was tracked until now */
static bool pv_kvm_untrack(struct pv_kvm_doorbell *db)
{
	guard(mutex)(&db->lock);
	if (!db->tracked)
		return false;
	WRITE_ONCE(db->tracked, false);
	kvm_write_track_remove_gfn(db->kvm, gpa_to_gfn(db->gpa));
	return true;
}

/* ---- pages that are watched ------------------------------------------- */

static int watch_locked(struct pv_kvm_doorbell *db, gfn_t gfn, unsigned long tag)
{
	bool was = xa_load(&db->pages, gfn);
	int ret;

	lockdep_assert_held(&db->lock);

	if (!was && db->nr_pages >= READ_ONCE(max_watched))
		return -ENOSPC;
	ret = xa_err(xa_store(&db->pages, gfn, xa_mk_value(tag), GFP_KERNEL_ACCOUNT));
	if (ret || was)
		return ret;
	ret = kvm_write_track_add_gfn(db->kvm, gfn);
	if (ret)
		xa_erase(&db->pages, gfn);
	else
		WRITE_ONCE(db->nr_pages, db->nr_pages + 1);
	return ret;
}

static void unwatch_locked(struct pv_kvm_doorbell *db, gfn_t gfn)
{
	lockdep_assert_held(&db->lock);

	if (!xa_erase(&db->pages, gfn))
		return;
	WRITE_ONCE(db->nr_pages, db->nr_pages - 1);
	kvm_write_track_remove_gfn(db->kvm, gfn);
}

static int pv_kvm_watch(void *doorbell, u64 gpa, unsigned long tag)
{
	struct pv_kvm_doorbell *db = doorbell;
	int ret;

	if (!mutex_trylock(&db->kvm->slots_lock))
		return -EAGAIN;
	scoped_guard(mutex, &db->lock)
		ret = watch_locked(db, gpa_to_gfn(gpa), tag);
	mutex_unlock(&db->kvm->slots_lock);
	return ret;
}

static void pv_kvm_unwatch(void *doorbell, u64 gpa)
{
	struct pv_kvm_doorbell *db = doorbell;

	guard(mutex)(&db->lock);
	unwatch_locked(db, gpa_to_gfn(gpa));
}

static unsigned long pv_kvm_watched(void *doorbell, u64 gpa)
{
	struct pv_kvm_doorbell *db = doorbell;
	void *tag = xa_load(&db->pages, gpa_to_gfn(gpa));

	return tag ? xa_to_value(tag) : 0;
}

static unsigned long pv_kvm_count(void *doorbell, unsigned long tag)
{
	struct pv_kvm_doorbell *db = doorbell;
	unsigned long gfn, count = 0;
	void *entry;

	/* There may be many; xa_for_each() takes the RCU read lock for each step only */
	xa_for_each(&db->pages, gfn, entry) {
		count += entry == xa_mk_value(tag);
		cond_resched();
	}
	return count;
}

/*
 * Whether the slot that has our count of a page is there still, and not being deleted. Called
 * with slots_lock held.
 */
static bool slot_stays(struct kvm *kvm, gfn_t gfn)
{
	return kvm_is_visible_memslot(__gfn_to_memslot(__kvm_memslots(kvm, 0), gfn));
}

/* Whether to unwatch a page. Called with db->lock held, so that tags can't change. */
typedef bool (*pv_kvm_choice)(struct pv_kvm_doorbell *db, gfn_t gfn, unsigned long tag);

static bool is_any(struct pv_kvm_doorbell *db, gfn_t gfn, unsigned long tag)
{
	return true;
}

static bool is_deleted(struct pv_kvm_doorbell *db, gfn_t gfn, unsigned long tag)
{
	return !slot_stays(db->kvm, gfn);
}

static bool is_stale(struct pv_kvm_doorbell *db, gfn_t gfn, unsigned long tag)
{
	return !pviommu_page_wanted(db->ctx, tag);
}

/*
 * Unwatch those of the next LOOK_PAGES pages in [*at, last] that @choice says. No more at a
 * time, as others wait for the lock, pv_kvm_watch() even with slots_lock held. True: there
 * are more, from *at on.
 */
static bool unwatch_some(struct pv_kvm_doorbell *db, gfn_t *at, gfn_t last,
			 pv_kvm_choice choice)
{
	unsigned int left = LOOK_PAGES;
	unsigned long gfn;
	void *entry;

	guard(mutex)(&db->lock);
	xa_for_each_range(&db->pages, gfn, entry, *at, last) {
		if (!left--) {
			*at = gfn;
			return true;
		}
		if (choice(db, gfn, xa_to_value(entry)))
			unwatch_locked(db, gfn);
	}
	return false;
}

static void unwatch_range(struct pv_kvm_doorbell *db, gfn_t first, gfn_t last,
			  pv_kvm_choice choice)
{
	while (unwatch_some(db, &first, last, choice))
		cond_resched();
}

static bool pv_kvm_unwatch_stale(void *doorbell, u64 *gpa)
{
	gfn_t at = gpa_to_gfn(*gpa);
	bool more = unwatch_some(doorbell, &at, ULONG_MAX, is_stale);

	*gpa = gfn_to_gpa(at);
	return more;
}

/* Unwatch a stale page that was written to, unless it has got a new tag meanwhile */
static void unwatch_if(struct pv_kvm_doorbell *db, gfn_t gfn, unsigned long tag)
{
	guard(mutex)(&db->lock);
	if (xa_load(&db->pages, gfn) == xa_mk_value(tag))
		unwatch_locked(db, gfn);
}

/* ---- what KVM tells ---------------------------------------------------- */

/*
 * Called for each store that KVM emulates, to any page, after it was made. A store that
 * crosses into another page comes in two parts.
 */
static void pv_kvm_write(gpa_t gpa, const u8 *data, int bytes,
			 struct kvm_page_track_notifier_node *node)
{
	struct pv_kvm_doorbell *db =
		container_of(node, struct pv_kvm_doorbell, node);
	gpa_t first = max(gpa, db->gpa);
	gpa_t end = min(gpa + bytes, db->gpa + PAGE_SIZE);
	unsigned long tag = pv_kvm_watched(db, gpa);

	if (tag && !pviommu_page_written(db->ctx, tag, gpa, data, bytes))
		unwatch_if(db, gpa_to_gfn(gpa), tag);
	if (first >= end || !READ_ONCE(db->tracked))
		return;
	pviommu_doorbell_write(db->ctx, first - db->gpa, data + (first - gpa),
			       end - first);
}

/* A slot of any address space is being deleted, slots_lock is held */
static void pv_kvm_remove_region(gfn_t gfn, unsigned long nr_pages,
				 struct kvm_page_track_notifier_node *node)
{
	struct pv_kvm_doorbell *db =
		container_of(node, struct pv_kvm_doorbell, node);
	gfn_t ours = gpa_to_gfn(db->gpa);
	unsigned int before;

	before = READ_ONCE(db->nr_pages);
	unwatch_range(db, gfn, gfn + nr_pages - 1, is_deleted);
	/* None was added meanwhile, as that needs slots_lock; others may have removed some */
	if (READ_ONCE(db->nr_pages) != before)
		pviommu_pages_lost(db->ctx, gfn_to_gpa(gfn),
				   gfn_to_gpa(gfn + nr_pages) - 1);
	if (ours < gfn || ours - gfn >= nr_pages || slot_stays(db->kvm, ours))
		return;
	if (pv_kvm_untrack(db))
		pviommu_doorbell_gone(db->ctx);
}

static void pv_kvm_take_down(void *doorbell)
{
	pv_kvm_untrack(doorbell);
}

static void pv_kvm_free(struct pv_kvm_doorbell *db)
{
	xa_destroy(&db->pages);
	mutex_destroy(&db->lock);
	kfree(db);
}

/* Registering fails with -ESRCH in threads of a process that has not made the VM */
static void *pv_kvm_create(struct kvm *kvm, u64 gpa, void *ctx)
{
	struct pv_kvm_doorbell *db;
	int ret;

	if (!PAGE_ALIGNED(gpa))
		return ERR_PTR(-EINVAL);

	db = kzalloc(sizeof(*db), GFP_KERNEL_ACCOUNT);
	if (!db)
		return ERR_PTR(-ENOMEM);

	db->node.track_write = pv_kvm_write;
	db->node.track_remove_region = pv_kvm_remove_region;
	db->kvm = kvm;
	db->gpa = gpa;
	db->ctx = ctx;
	mutex_init(&db->lock);
	xa_init_flags(&db->pages, XA_FLAGS_ACCOUNT);

	/* The first notifier of a VM makes KVM walk its slots, which needs SRCU */
	scoped_guard(srcu, &kvm->srcu)
		ret = kvm_page_track_register_notifier(kvm, &db->node);
	if (ret)
		goto out_free;
	ret = pv_kvm_track(db);
	if (ret)
		goto out_unregister;
	return db;

out_unregister:
	kvm_page_track_unregister_notifier(kvm, &db->node);
out_free:
	pv_kvm_free(db);
	return ERR_PTR(ret);
}

static void pv_kvm_destroy(void *doorbell)
{
	struct pv_kvm_doorbell *db = doorbell;

	pv_kvm_untrack(db);
	unwatch_range(db, 0, ULONG_MAX, is_any);
	kvm_page_track_unregister_notifier(db->kvm, &db->node);
	pv_kvm_free(db);
}

static const struct pviommu_doorbell_ops pv_kvm_ops = {
	.owner = THIS_MODULE,
	.create = pv_kvm_create,
	.take_down = pv_kvm_take_down,
	.watch = pv_kvm_watch,
	.unwatch = pv_kvm_unwatch,
	.watched = pv_kvm_watched,
	.count = pv_kvm_count,
	.unwatch_stale = pv_kvm_unwatch_stale,
	.destroy = pv_kvm_destroy,
};

static int __init pv_kvm_init(void)
{
	return pviommu_register_doorbell(&pv_kvm_ops);
}

static void __exit pv_kvm_exit(void)
{
	pviommu_unregister_doorbell(&pv_kvm_ops);
}

module_init(pv_kvm_init);
module_exit(pv_kvm_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Doorbell of the paravirtual IOMMU through KVM");
