// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loans: pages of one VM (the owner) that another VM (the borrower) maps.
 *
 * A loan is created with a mapping. The mapping and the pieces that it is split into later
 * share it. It is in the owner's tree of loans, by GPA, until the last of its pages has
 * been unpinned. So an owner finds all who map its pages without searching other VMs.
 *
 * Either side may end a piece of a loan, without asking the other: the borrower by
 * unmapping it, the owner by a recall. Whoever takes the piece off the borrower's list of
 * flushed mappings unpins it. A recall waits for pieces that the borrower has taken; these
 * are unpinned without waiting for anything. A borrower that frees a domain waits for
 * pieces that a recall has taken.
 */
#include <linux/slab.h>
#include <linux/wait.h>

#include "pviommu_private.h"

/* One wait queue for all loans, as waits are rare and short */
static DECLARE_WAIT_QUEUE_HEAD(loan_wait);

/* Another one for those who give way to a recall */
static DECLARE_WAIT_QUEUE_HEAD(recall_wait);

/* For how long they do so at a time. Much longer than domain->lock is held: see PVIOMMU_HOLD */
#define RECALL_WAIT	(HZ / 10)

/* ---- making -------------------------------------------------------- */

/* The address of the owner's memory in its VMM, and how many pages from there on are there */
static int lent_hva(struct pviommu_vm *owner, u64 gfn, bool write,
		    unsigned long *hva, u64 *room)
{
	u64 gpa = gfn << PAGE_SHIFT;
	struct interval_tree_node *node;
	struct pviommu_slot *slot;

	lockdep_assert_held(&owner->loans_lock);

	node = interval_tree_iter_first(&owner->slots, gpa, gpa);
	if (!node)
		return -EFAULT;
	slot = container_of(node, struct pviommu_slot, it);
	if (!pviommu_slot_is_ram(slot))
		return -EFAULT;
	if (write && !pviommu_slot_writable(slot))
		return -EACCES;
	*hva = slot->hva + (gpa - slot->it.start);
	*room = (slot->it.last - gpa + 1) >> PAGE_SHIFT;
	return 0;
}

/* The same. -EAGAIN if anything was recalled since the first pin: all has to be pinned anew. */
static int borrow_hva(struct pviommu_borrow *borrow, u64 gfn, bool write,
		      unsigned long *hva, u64 *room)
{
	struct pviommu_vm *owner = borrow->grant->from;
	int ret;

	mutex_lock(&owner->loans_lock);
	if (!borrow->epoch)
		borrow->epoch = owner->epoch;
	if (borrow->epoch != owner->epoch)
		ret = -EAGAIN;
	else
		ret = lent_hva(owner, gfn, write, hva, room);
	mutex_unlock(&owner->loans_lock);
	return ret;
}

/**
 * pviommu_borrow_pin() - charge and pin memory of another VM
 * @vm: the borrower, which is charged
 * @borrow: holds the grant, which covers the pages
 * @gfn: first frame
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * No lock of the owner is held while its pages are faulted in. pviommu_loan_begin() finds
 * out whether its memory has changed meanwhile, or the grant was taken back.
 *
 * Context: process; takes the owner's loans_lock. May sleep for long.
 * Return: 0; -EACCES read-only memory; -EFAULT not RAM of the owner (any more);
 * -ENOMEM; -EAGAIN the owner's memory has changed, pin all of it anew. On failure nothing
 * is pinned or charged.
 */
int pviommu_borrow_pin(struct pviommu_vm *vm, struct pviommu_borrow *borrow,
		       u64 gfn, u32 npages, bool write, struct page **pages)
{
	struct pviommu_vm *owner = borrow->grant->from;
	unsigned long hva;
	u32 done = 0;
	u64 room;
	long ret;

	ret = pviommu_charge(vm, npages);
	if (ret)
		return ret;
	while (done < npages) {
		ret = borrow_hva(borrow, gfn + done, write, &hva, &room);
		if (ret)
			goto err_unpin;
		ret = pviommu_pin_ram(owner, hva, min_t(u64, npages - done, room),
				      write, pages + done);
		if (ret < 0)
			goto err_unpin;
		done += ret;
	}
	return 0;

err_unpin:
	unpin_user_pages(pages, done);
	pviommu_uncharge(vm, npages);
	return ret;
}

/* How often to try before the MAP is put off */
#define LOCK_TRIES	16

/*
 * Lock a domain and its owner's loans, without waiting for one of the two with the other held:
 * other VMs wait for loans_lock, and how long the domain is locked is up to its VM. Recalls
 * take loans_lock first.
 */
static int lock_both(struct pviommu_domain *domain, struct pviommu_vm *owner)
{
	u32 i;

	for (i = 0; i < LOCK_TRIES; i++) {
		pviommu_domain_lock(domain);
		if (mutex_trylock(&owner->loans_lock))
			return 0;
		mutex_unlock(&domain->lock);
		mutex_lock(&owner->loans_lock);
		/* Others wait for their turn, too, so make use of it if possible */
		if (!atomic_read(&domain->recalls) && mutex_trylock(&domain->lock))
			return 0;
		mutex_unlock(&owner->loans_lock);
	}
	return -EAGAIN;
}

/**
 * pviommu_loan_begin() - create a loan of pages that are pinned
 * @borrow: as given to pviommu_borrow_pin()
 * @domain: where they will be mapped
 * @iova: where in the domain
 * @npages: how many
 * @first: the lowest of their frames
 * @last: the highest of their frames
 *
 * If it succeeds, pviommu_loan_end() has to follow. Nothing can be recalled in between.
 *
 * Context: process; takes domain->lock and the owner's loans_lock, and on success returns with
 * both held.
 * Return: the loan; ERR_PTR: -EACCES the grant was taken back; -EAGAIN something was
 * recalled, or is in the way, pin anew; -ENOMEM.
 */
struct pviommu_loan *pviommu_loan_begin(struct pviommu_borrow *borrow,
					struct pviommu_domain *domain, u64 iova,
					u32 npages, u64 first, u64 last)
{
	struct pviommu_vm *owner = borrow->grant->from;
	struct pviommu_loan *loan;
	int ret;

	loan = kzalloc(sizeof(*loan), GFP_KERNEL_ACCOUNT);
	if (!loan)
		return ERR_PTR(-ENOMEM);
	loan->it.start = first << PAGE_SHIFT;
	loan->it.last = ((last + 1) << PAGE_SHIFT) - 1;
	loan->grant = borrow->grant;
	loan->domain = domain;
	loan->iova = iova;
	loan->npages = npages;
	INIT_LIST_HEAD(&loan->limbo);
	refcount_set(&loan->pieces, 1);

	ret = lock_both(domain, owner);
	if (ret)
		goto err_free;
	if (!borrow->grant->dead && borrow->epoch == owner->epoch)
		return loan;
	ret = borrow->grant->dead ? -EACCES : -EAGAIN;
	mutex_unlock(&owner->loans_lock);
	mutex_unlock(&domain->lock);
err_free:
	kfree(loan);
	return ERR_PTR(ret);
}

static void count_lent(struct pviommu_loan *loan, s64 npages)
{
	pviommu_count(loan->grant->from, PVIOMMU_NR_PAGES_LENT, npages);
	atomic64_add(npages, &loan->grant->pages);
}

/**
 * pviommu_loan_end() - publish or free a loan, now that mapping the pages has ended
 * @borrow: as given to pviommu_loan_begin()
 * @loan: what that returned; freed unless @ret is 0
 * @ret: 0 if the pages are mapped, by a mapping that has this loan
 *
 * Context: process, domain->lock and the owner's loans_lock held; drops both.
 */
void pviommu_loan_end(struct pviommu_borrow *borrow, struct pviommu_loan *loan,
		      int ret)
{
	struct pviommu_vm *owner = borrow->grant->from;
	struct pviommu_domain *domain = loan->domain;

	lockdep_assert_held(&domain->lock);
	lockdep_assert_held(&owner->loans_lock);

	if (!ret) {
		pviommu_grant_hold(loan->grant);
		atomic_inc(&loan->domain->nr_loans);
		interval_tree_insert(&loan->it, &owner->loans);
		count_lent(loan, loan->npages);
	}
	/*
	 * The next chunk is checked against recalls from its own first pin on. Without memory,
	 * this one is tried again with the pins that it has.
	 */
	if (ret != -ENOMEM)
		borrow->epoch = 0;
	mutex_unlock(&owner->loans_lock);
	mutex_unlock(&domain->lock);
	if (ret)
		kfree(loan);
}

/* ---- ending, a piece at a time -------------------------------------- */

/* The last piece is gone, and the loan is not in the tree any more */
static void loan_free(struct pviommu_loan *loan)
{
	struct pviommu_grant *grant = loan->grant;

	/* From here on the domain may be freed, see pviommu_loans_settle() */
	atomic_dec(&loan->domain->nr_loans);
	wake_up_all(&loan_wait);
	kfree(loan);
	pviommu_grant_release(grant);
}

/*
 * Unpin a piece that was flushed, and that the caller has taken off all lists. This must not
 * wait for the borrower's VMM, as the owner may be waiting for it.
 */
static void piece_unpin(const struct pviommu_mapping *map)
{
	struct pviommu_vm *borrower = map->loan->domain->vm;
	bool dirty = map->prot & PVIOMMU_PROT_WRITE;
	u32 i;

	for (i = 0; i < map->nr_runs; i++)
		pviommu_unpin_pfns(borrower, map->runs[i].hpfn,
				   map->runs[i].npages, dirty);
	pviommu_uncharge_later(borrower, map->npages);
	count_lent(map->loan, -(s64)map->npages);
}

/**
 * pviommu_loan_take() - keep a recall from taking a piece that the borrower gives back
 * @map: a flushed piece, being taken off its domain's list, with the domain locked
 */
void pviommu_loan_take(struct pviommu_mapping *map)
{
	lockdep_assert_held(&map->loan->domain->lock);

	list_del(&map->lent);
	atomic_inc(&map->loan->taken);
}

/**
 * pviommu_loan_return() - unpin a piece that the borrower gives back
 * @map: the piece, after pviommu_loan_take(); on return it has no loan any more
 *
 * The borrower's VMM is not credited before the next pviommu_uncharge().
 *
 * Context: process; takes the owner's loans_lock for the last piece; domain not locked.
 */
void pviommu_loan_return(struct pviommu_mapping *map)
{
	struct pviommu_loan *loan = map->loan;
	struct pviommu_vm *owner = loan->grant->from;

	piece_unpin(map);
	map->loan = NULL;
	/* A recall that waits for this has loans_lock, which keeps the loan */
	if (!atomic_dec_return(&loan->taken))
		wake_up_all(&loan_wait);
	if (!refcount_dec_and_test(&loan->pieces))
		return;
	mutex_lock(&owner->loans_lock);
	interval_tree_remove(&loan->it, &owner->loans);
	mutex_unlock(&owner->loans_lock);
	loan_free(loan);
}

/**
 * pviommu_loans_settle() - wait until a domain that is being freed has no loans
 * @domain: the domain, all its mappings removed, flushed and released
 */
void pviommu_loans_settle(struct pviommu_domain *domain)
{
	wait_event(loan_wait, !atomic_read(&domain->nr_loans));
}

/* ---- recall --------------------------------------------------------- */

/**
 * pviommu_domain_lock() - lock a domain to work for the VM whose it is
 * @domain: the domain
 *
 * While pages are recalled that the domain maps, the recall goes first: its VM, and others,
 * wait for it, and it takes this lock several times for each loan. After a tenth of a second
 * the lock is taken all the same, so that a VM that recalls pages endlessly does not stop this
 * one. The lock has to be dropped after PVIOMMU_HOLD steps.
 *
 * Context: process; no loans_lock held, of any VM. On return domain->lock is held.
 */
void pviommu_domain_lock(struct pviommu_domain *domain)
{
	if (atomic_read(&domain->recalls))
		wait_event_timeout(recall_wait, !atomic_read(&domain->recalls), RECALL_WAIT);
	mutex_lock(&domain->lock);
}

/* Have the borrower's threads give way, until gate_open() has been called as many times */
static bool gate_close(struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	atomic_inc(&loan->domain->recalls);
	return false;
}

static bool gate_open(struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	if (atomic_dec_and_test(&loan->domain->recalls))
		wake_up_all(&recall_wait);
	return false;
}

/* Take a loan's pieces, all of which were flushed, off the borrower's list */
static void take_flushed(struct pviommu_loan *loan, struct list_head *pieces)
{
	struct pviommu_mapping *map, *next;

	lockdep_assert_held(&loan->domain->lock);

	list_for_each_entry_safe(map, next, &loan->limbo, lent) {
		list_del(&map->lent);
		list_move_tail(&map->limbo, pieces);
	}
}

/* Unpin and free pieces; true if they were the last ones of the loan */
static bool return_pieces(struct pviommu_loan *loan, struct list_head *pieces)
{
	struct pviommu_domain *domain = loan->domain;
	struct pviommu_mapping *map, *next;
	u32 n = 0;

	list_for_each_entry(map, pieces, limbo)
		piece_unpin(map);
	mutex_lock(&domain->lock);
	list_for_each_entry_safe(map, next, pieces, limbo) {
		pviommu_mapping_free(domain, map);
		n++;
	}
	mutex_unlock(&domain->lock);
	pviommu_count(domain->vm, PVIOMMU_NR_MAPPINGS, -(s64)n);
	return refcount_sub_and_test(n, &loan->pieces);
}

/* Unmap what a loan maps of these frames; loan_settle() flushes and unpins it */
static bool loan_unmap(struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	mutex_lock(&loan->domain->lock);
	pviommu_domain_recall(loan, frames);
	mutex_unlock(&loan->domain->lock);
	return false;
}

/*
 * Flush and unpin all pieces of a loan that are unmapped, and free the loan if no piece is
 * left. The loan has a list of its own for these pieces, as the borrower's limbo may be as
 * long as the borrower likes.
 */
static bool loan_settle(struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	struct pviommu_domain *domain = loan->domain;
	struct pviommu_vm *owner = loan->grant->from;
	LIST_HEAD(pieces);
	bool last;

	lockdep_assert_held(&owner->loans_lock);

	mutex_lock(&domain->lock);
	/* The first one flushes for all loans of the domain, as all have been unmapped */
	if (!list_empty(&loan->limbo))
		pviommu_flush(domain, 0, U64_MAX);
	take_flushed(loan, &pieces);
	mutex_unlock(&domain->lock);

	last = !list_empty(&pieces) && return_pieces(loan, &pieces);
	/* Before the domain may be freed */
	gate_open(loan, frames);
	if (last) {
		interval_tree_remove(&loan->it, &owner->loans);
		loan_free(loan);
	} else {
		wait_event(loan_wait, !atomic_read(&loan->taken));
	}
	return false;
}

/* Whether a loan may be of any of these frames */
static bool loan_has(const struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	u64 lo, hi;

	return pviommu_frames_next(frames, loan->it.start >> PAGE_SHIFT,
				   loan->it.last >> PAGE_SHIFT, &lo, &hi);
}

/*
 * Call @fn, which may free the loan, for each loan (by one grant, or by any) of some frames.
 * As loans_lock is held, these are the same loans each time, but for those that @fn frees.
 * Return: whether @fn has returned true for any of them.
 */
static bool each_loan(struct pviommu_vm *owner, struct pviommu_grant *grant,
		      const struct pviommu_frames *frames,
		      bool (*fn)(struct pviommu_loan *loan,
				 const struct pviommu_frames *frames))
{
	u64 first = frames->first << PAGE_SHIFT;
	u64 last = (frames->last << PAGE_SHIFT) + (PAGE_SIZE - 1);
	struct interval_tree_node *node, *next;
	bool any = false;

	lockdep_assert_held(&owner->loans_lock);

	for (node = interval_tree_iter_first(&owner->loans, first, last); node;
	     node = next) {
		struct pviommu_loan *loan = container_of(node, struct pviommu_loan,
							 it);

		next = interval_tree_iter_next(node, first, last);
		if ((!grant || loan->grant == grant) && loan_has(loan, frames))
			any |= fn(loan, frames);
		cond_resched();
	}
	return any;
}

/**
 * pviommu_loans_recall() - take pages back from all VMs that map them
 * @owner: the VM whose pages they are, loans_lock held; the caller prevents that they are
 *	lent again
 * @grant: only what is lent by this grant; NULL for all
 * @frames: the pages
 *
 * On return the pages are unmapped, flushed and unpinned in all other VMs, and these got
 * events that name them. Pages that are being pinned at this time will not be mapped.
 *
 * Context: process; takes locks of the borrowers, from domain->lock on. May sleep.
 */
void pviommu_loans_recall(struct pviommu_vm *owner, struct pviommu_grant *grant,
			  const struct pviommu_frames *frames)
{
	lockdep_assert_held(&owner->loans_lock);

	owner->epoch++;
	/* All gates first: then each thread of a borrower is in the way of one loan at most */
	each_loan(owner, grant, frames, gate_close);
	each_loan(owner, grant, frames, loan_unmap);
	each_loan(owner, grant, frames, loan_settle);
}

/**
 * pviommu_loans_announce() - ask all borrowers to unmap pages that will leave
 * @owner: the VM whose pages they are, loans_lock held
 * @frames: the pages
 *
 * Context: process; takes domain->lock of the borrowers.
 * Return: whether any other VM maps any of them.
 */
bool pviommu_loans_announce(struct pviommu_vm *owner,
			    const struct pviommu_frames *frames)
{
	bool any;

	lockdep_assert_held(&owner->loans_lock);

	each_loan(owner, NULL, frames, gate_close);
	any = each_loan(owner, NULL, frames, pviommu_loan_announce);
	each_loan(owner, NULL, frames, gate_open);
	return any;
}

/**
 * pviommu_loans_end() - end a grant, and take back what was lent by it
 * @grant: the grant; the caller keeps both its VMs
 *
 * On return nothing is mapped by it, and nothing can be.
 *
 * Context: process; takes the owner's loans_lock. May sleep.
 */
void pviommu_loans_end(struct pviommu_grant *grant)
{
	const struct pviommu_frames frames = {
		.first = grant->gpa >> PAGE_SHIFT,
		.last = grant->last >> PAGE_SHIFT,
	};
	struct pviommu_vm *owner = grant->from;

	mutex_lock(&owner->loans_lock);
	grant->dead = true;
	pviommu_loans_recall(owner, grant, &frames);
	mutex_unlock(&owner->loans_lock);
}
