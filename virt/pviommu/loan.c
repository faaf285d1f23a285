// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loans: pages of one VM (the owner) that another (the borrower) maps.
 *
 * A loan is made with a mapping, and holds what the mapping and the pieces that
 * it is cut into later have in common. It is in the owner's tree of loans, by
 * GPA, until the last of its pages has been unpinned; so an owner finds whoever
 * maps its pages without looking at any other VM.
 *
 * Either side may end a piece of a loan: the borrower by unmapping it, the owner
 * by a recall. Whoever takes the piece off the borrower's list of flushed ones
 * unpins it. A recall waits for those that the borrower has taken, which are
 * unpinned without waiting for anybody; a borrower that frees a domain waits for
 * those that a recall has taken. Nobody is asked.
 */
#include <linux/slab.h>
#include <linux/wait.h>

#include "pviommu_private.h"

/* One for all: who waits here does so seldom and briefly */
static DECLARE_WAIT_QUEUE_HEAD(loan_wait);

/* ---- making -------------------------------------------------------- */

/* Where memory of the owner is in its VMM, and how many pages from there on */
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
	if (!slot->ram)
		return -EFAULT;
	if (write && !slot->writable)
		return -EACCES;
	*hva = slot->hva + (gpa - slot->it.start);
	*room = (slot->it.last - gpa + 1) >> PAGE_SHIFT;
	return 0;
}

/* The same, if nothing was recalled since the first pin: then all is pinned anew */
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
 * @borrow: by which grant, which covers the pages
 * @gfn: first frame
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * No lock of the owner is held while its pages are brought in; pviommu_loan_begin()
 * finds out what has changed meanwhile, and whether the grant is still one.
 *
 * Return: 0; -EACCES read-only memory; -EFAULT not RAM of the owner (any more);
 * -ENOMEM; -EAGAIN the owner's memory changes, try again. On failure nothing is
 * pinned or charged.
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

/**
 * pviommu_loan_begin() - make a loan of pages that are pinned
 * @borrow: how they were pinned
 * @domain: where they will be mapped
 * @iova: at which IOVA
 * @npages: how many
 * @first: the lowest of their frames
 * @last: the highest
 *
 * When it succeeds, pviommu_loan_end() has to follow, and nothing can be recalled
 * between the two.
 *
 * Return: the loan, the owner's loans_lock held; -EACCES the grant was taken back;
 * -EAGAIN something was recalled, pin anew; -ENOMEM.
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

	mutex_lock(&owner->loans_lock);
	if (!borrow->grant->dead && borrow->epoch == owner->epoch)
		return loan;
	ret = borrow->grant->dead ? -EACCES : -EAGAIN;
	mutex_unlock(&owner->loans_lock);
	kfree(loan);
	return ERR_PTR(ret);
}

static void count_lent(struct pviommu_loan *loan, s64 npages)
{
	pviommu_count(loan->grant->from, PVIOMMU_NR_PAGES_LENT, npages);
	atomic64_add(npages, &loan->grant->pages);
}

/**
 * pviommu_loan_end() - the pages are mapped, or can't be
 * @borrow: as in pviommu_loan_begin()
 * @loan: what that returned; it is gone if @ret is not 0
 * @ret: 0 if they are mapped, with the loan as the mapping's
 *
 * Unlocks the owner's loans_lock.
 */
void pviommu_loan_end(struct pviommu_borrow *borrow, struct pviommu_loan *loan,
		      int ret)
{
	struct pviommu_vm *owner = borrow->grant->from;

	lockdep_assert_held(&owner->loans_lock);

	if (!ret) {
		pviommu_grant_hold(loan->grant);
		atomic_inc(&loan->domain->nr_loans);
		interval_tree_insert(&loan->it, &owner->loans);
		count_lent(loan, loan->npages);
	}
	/* What is pinned next begins anew; for want of memory it is tried again with these pins */
	if (ret != -ENOMEM)
		borrow->epoch = 0;
	mutex_unlock(&owner->loans_lock);
	if (ret)
		kfree(loan);
}

/* ---- ending, a piece at a time -------------------------------------- */

/* The last piece is gone, and the loan is in no tree */
static void loan_free(struct pviommu_loan *loan)
{
	struct pviommu_grant *grant = loan->grant;

	/* From here on the domain may go */
	atomic_dec(&loan->domain->nr_loans);
	wake_up_all(&loan_wait);
	kfree(loan);
	pviommu_grant_release(grant);
}

/*
 * Unpin a piece that was flushed, and that the caller has taken off all lists. The
 * borrower's VMM is not waited for, as the owner is waiting for us.
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
 * pviommu_loan_take() - the borrower will give back a piece
 * @map: a flushed piece, which is being taken off its domain's list; locked
 */
void pviommu_loan_take(struct pviommu_mapping *map)
{
	lockdep_assert_held(&map->loan->domain->lock);

	list_del(&map->lent);
	atomic_inc(&map->loan->taken);
}

/**
 * pviommu_loan_return() - the borrower gives back a piece
 * @map: a piece, after pviommu_loan_take(); no loan's any more on return
 *
 * What the VMM was charged for it is left to the next pviommu_uncharge().
 */
void pviommu_loan_return(struct pviommu_mapping *map)
{
	struct pviommu_loan *loan = map->loan;
	struct pviommu_vm *owner = loan->grant->from;

	piece_unpin(map);
	map->loan = NULL;
	/* Who waits for that keeps the loan, the count does not */
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
 * pviommu_loans_settle() - wait until a domain has no loans
 * @domain: a domain without mappings, all of them flushed and released
 */
void pviommu_loans_settle(struct pviommu_domain *domain)
{
	wait_event(loan_wait, !atomic_read(&domain->nr_loans));
}

/* ---- recall --------------------------------------------------------- */

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

/* Give back pieces; true if the loan has none any more */
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

/* End what a loan has of these frames; they wait for loan_settle() */
static void loan_unmap(struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	mutex_lock(&loan->domain->lock);
	pviommu_domain_recall(loan, frames);
	mutex_unlock(&loan->domain->lock);
}

/*
 * Flush and unpin what a loan has unmapped, now or before. Frees the loan if nothing
 * is left of it. Who borrows decides how long its limbo is, so nobody looks through that.
 */
static void loan_settle(struct pviommu_loan *loan, const struct pviommu_frames *frames)
{
	struct pviommu_domain *domain = loan->domain;
	struct pviommu_vm *owner = loan->grant->from;
	LIST_HEAD(pieces);

	lockdep_assert_held(&owner->loans_lock);

	mutex_lock(&domain->lock);
	/* One flush for all loans of the domain, as they have all been unmapped */
	if (!list_empty(&loan->limbo))
		pviommu_flush(domain, 0, U64_MAX);
	take_flushed(loan, &pieces);
	mutex_unlock(&domain->lock);

	if (!list_empty(&pieces) && return_pieces(loan, &pieces)) {
		interval_tree_remove(&loan->it, &owner->loans);
		loan_free(loan);
		return;
	}
	wait_event(loan_wait, !atomic_read(&loan->taken));
}

/* Do something with each loan of these frames (by a grant), which may free it */
static void each_loan(struct pviommu_vm *owner, struct pviommu_grant *grant,
		      const struct pviommu_frames *frames,
		      void (*fn)(struct pviommu_loan *loan,
				 const struct pviommu_frames *frames))
{
	u64 first = frames->first << PAGE_SHIFT;
	u64 last = (frames->last << PAGE_SHIFT) + (PAGE_SIZE - 1);
	struct interval_tree_node *node, *next;

	lockdep_assert_held(&owner->loans_lock);

	for (node = interval_tree_iter_first(&owner->loans, first, last); node;
	     node = next) {
		struct pviommu_loan *loan = container_of(node, struct pviommu_loan,
							 it);

		next = interval_tree_iter_next(node, first, last);
		if (!grant || loan->grant == grant)
			fn(loan, frames);
		cond_resched();
	}
}

/**
 * pviommu_loans_recall() - nobody else shall map these pages
 * @owner: whose pages they are, loans_lock held; the caller sees to it that
 *	they are not lent again
 * @grant: only loans by this one, or NULL
 * @frames: the pages
 *
 * On return the pages that others had mapped are unmapped, flushed and unpinned,
 * and the borrowers got events that name them. What was being pinned meanwhile
 * will not be mapped.
 */
void pviommu_loans_recall(struct pviommu_vm *owner, struct pviommu_grant *grant,
			  const struct pviommu_frames *frames)
{
	lockdep_assert_held(&owner->loans_lock);

	owner->epoch++;
	each_loan(owner, grant, frames, loan_unmap);
	each_loan(owner, grant, frames, loan_settle);
}

/**
 * pviommu_loans_announce() - tell all borrowers that they should unmap
 * @owner: whose pages they are, loans_lock held
 * @frames: the pages
 *
 * Return: whether anybody maps any of them.
 */
bool pviommu_loans_announce(struct pviommu_vm *owner,
			    const struct pviommu_frames *frames)
{
	u64 first = frames->first << PAGE_SHIFT;
	u64 last = (frames->last << PAGE_SHIFT) + (PAGE_SIZE - 1);
	struct interval_tree_node *node;
	bool any = false;

	lockdep_assert_held(&owner->loans_lock);

	for (node = interval_tree_iter_first(&owner->loans, first, last); node;
	     node = interval_tree_iter_next(node, first, last))
		any |= pviommu_loan_announce(container_of(node, struct pviommu_loan,
							  it), frames);
	return any;
}

/**
 * pviommu_loans_end() - a grant is taken back
 * @grant: the grant, whose VMs are there
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
