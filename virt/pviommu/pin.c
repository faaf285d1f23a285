// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning of guest memory, and its account.
 *
 * Every pinned page is charged to the VMM (RLIMIT_MEMLOCK) once for each pin.
 * Charging takes the VMM's mmap_lock, so it is done for some hundred pages at
 * a time and the VM keeps a small credit: used <= charged. The VMM may hold that
 * lock for as long as it likes: only who works for this VM waits for it. Another
 * VM that takes its pages back leaves the credit to the next who does.
 */
#include <linux/capability.h>
#include <linux/error-injection.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "pviommu_private.h"

/* Charge in portions of this many pages, keep no more credit than twice that */
#define ACCOUNT_BATCH	512

static int account(struct pviommu_vm *vm, u64 npages, bool inc)
{
	int ret;

	/* A VMM that is gone takes its account along */
	if (!mmget_not_zero(vm->mm))
		return inc ? -ESRCH : 0;
	mmap_write_lock(vm->mm);
	ret = __account_locked_vm(vm->mm, npages, inc, current,
				  inc && capable(CAP_IPC_LOCK));
	mmap_write_unlock(vm->mm);
	/* Not here: to take a whole address space down may wait, and locks are held */
	mmput_async(vm->mm);
	return ret;
}

/* Give back what credit there is beyond a small one */
static void give_back(struct pviommu_vm *vm)
{
	u64 used = atomic64_read(&vm->used), keep = used ? ACCOUNT_BATCH : 0;
	u64 credit = vm->charged - used;

	lockdep_assert_held(&vm->account_lock);

	if (credit > 2 * keep) {
		account(vm, credit - keep, false);
		vm->charged -= credit - keep;
	}
}

/**
 * pviommu_charge() - reserve pages of the VMM's account before pinning them
 * @vm: the VM
 * @npages: how many
 *
 * Return: 0, or -ENOMEM when RLIMIT_MEMLOCK is exhausted.
 */
noinline __noclone int pviommu_charge(struct pviommu_vm *vm, u64 npages)
{
	u64 need, credit;
	int ret = 0;

	mutex_lock(&vm->account_lock);
	/* It may grow meanwhile, but not shrink */
	credit = vm->charged - atomic64_read(&vm->used);
	if (credit < npages) {
		need = npages - credit;
		ret = account(vm, need + ACCOUNT_BATCH, true);
		if (!ret) {
			vm->charged += need + ACCOUNT_BATCH;
		} else {
			ret = account(vm, need, true);
			if (!ret)
				vm->charged += need;
		}
	}
	if (!ret) {
		atomic64_add(npages, &vm->used);
		pviommu_count(vm, PVIOMMU_NR_PAGES_PINNED, npages);
		give_back(vm);
	}
	mutex_unlock(&vm->account_lock);
	return ret ? -ENOMEM : 0;
}
ALLOW_ERROR_INJECTION(pviommu_charge, ERRNO);

/**
 * pviommu_uncharge_later() - the same as pviommu_uncharge(), without waiting
 * @vm: the VM
 * @npages: how many
 *
 * They are given back by the next pviommu_charge() or pviommu_uncharge().
 */
void pviommu_uncharge_later(struct pviommu_vm *vm, u64 npages)
{
	atomic64_sub(npages, &vm->used);
	pviommu_count(vm, PVIOMMU_NR_PAGES_PINNED, -(s64)npages);
}

/**
 * pviommu_uncharge() - give pages back to the VMM's account
 * @vm: the VM
 * @npages: how many; 0: what was left by pviommu_uncharge_later()
 *
 * Context: takes mmap_lock of the VMM, which may hold it for long: with no lock
 * of another VM held, and nobody of another VM waiting.
 */
void pviommu_uncharge(struct pviommu_vm *vm, u64 npages)
{
	pviommu_uncharge_later(vm, npages);
	mutex_lock(&vm->account_lock);
	give_back(vm);
	mutex_unlock(&vm->account_lock);
}

/**
 * pviommu_pin_hva() - pin pages of the VMM, without an account
 * @vm: the VM
 * @hva: page aligned
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * Return: number of pages pinned, at least 1, or a negative errno: -EFAULT when
 * the first page is no memory that can be pinned.
 */
noinline __noclone long pviommu_pin_hva(struct pviommu_vm *vm, unsigned long hva,
					unsigned long npages, bool write,
					struct page **pages)
{
	unsigned int flags = FOLL_LONGTERM | (write ? FOLL_WRITE : 0);
	int locked = 1;
	long ret;

	if (current->mm == vm->mm) {
		ret = pin_user_pages_fast(hva, npages, flags, pages);
		return ret ?: -EFAULT;
	}

	if (!mmget_not_zero(vm->mm))
		return -EFAULT;
	ret = mmap_read_lock_killable(vm->mm);
	if (!ret) {
		/* Waits for pages without the lock, and only as long as we live */
		ret = pin_user_pages_remote(vm->mm, hva, npages, flags, pages, &locked);
		if (locked)
			mmap_read_unlock(vm->mm);
	}
	mmput_async(vm->mm);
	return ret ?: -EFAULT;
}
ALLOW_ERROR_INJECTION(pviommu_pin_hva, ERRNO);

/*
 * Whether a page is pinned so often that the count of its references, of which a
 * pin takes up to a thousand, may overflow soon. The kernel warns when it does.
 */
static bool pinned_too_often(struct page **pages, long n)
{
	long i;

	for (i = 0; i < n; i++)
		if (folio_ref_count(page_folio(pages[i])) > INT_MAX / 2)
			return true;
	return false;
}

/**
 * pviommu_pin_ram() - pin pages of a VMM that are known as RAM, without an account
 * @vm: whose VMM
 * @hva: page aligned
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * Return: number of pages pinned, at least 1; -EFAULT they can't be; -ENOMEM.
 */
long pviommu_pin_ram(struct pviommu_vm *vm, unsigned long hva,
		     unsigned long npages, bool write, struct page **pages)
{
	long ret = pviommu_pin_hva(vm, hva, npages, write, pages);

	if (ret < 0)
		return ret == -ENOMEM ? ret : -EFAULT;
	if (pinned_too_often(pages, ret)) {
		unpin_user_pages(pages, ret);
		return -ENOMEM;
	}
	return ret;
}

/* Pin part of one slot; how many pages were pinned, or an error */
static long pin_in_slot(struct pviommu_vm *vm, u64 gfn, u32 npages, bool write,
			struct page **pages)
{
	u64 gpa = gfn << PAGE_SHIFT, room;
	struct pviommu_slot *slot = pviommu_slot_find(vm, gpa);
	long ret;

	if (!slot || !slot->ram)
		return -EFAULT;
	if (write && !slot->writable)
		return -EACCES;
	room = (slot->it.last - gpa + 1) >> PAGE_SHIFT;
	ret = pviommu_pin_ram(vm, slot->hva + (gpa - slot->it.start),
			      min_t(u64, npages, room), write, pages);
	if (ret < 0)
		return ret;
	atomic64_add(ret, &slot->pins);
	return ret;
}

/**
 * pviommu_pin_guest() - charge and pin guest memory
 * @vm: the VM, mem_lock held
 * @gfn: first frame
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * Each page also counts as a pin of its slot until pviommu_slot_put_pins().
 *
 * Return: 0; -EFAULT not RAM of the guest; -EACCES read-only memory for
 * writing; -ENOMEM. On failure nothing is pinned or charged.
 */
int pviommu_pin_guest(struct pviommu_vm *vm, u64 gfn, u32 npages, bool write,
		      struct page **pages)
{
	u32 done = 0;
	long ret;

	lockdep_assert_held(&vm->mem_lock);

	ret = pviommu_charge(vm, npages);
	if (ret)
		return ret;
	while (done < npages) {
		ret = pin_in_slot(vm, gfn + done, npages - done, write,
				  pages + done);
		if (ret < 0)
			goto err_unpin;
		done += ret;
	}
	return 0;

err_unpin:
	pviommu_slot_put_pins(vm, gfn, done);
	unpin_user_pages(pages, done);
	pviommu_uncharge(vm, npages);
	return ret;
}

/**
 * pviommu_unpin_pages() - unpin and uncharge
 * @vm: the VM
 * @pages: the pages
 * @npages: how many
 *
 * The caller has dropped the pins of the slots.
 */
void pviommu_unpin_pages(struct pviommu_vm *vm, struct page **pages, u32 npages)
{
	unpin_user_pages(pages, npages);
	pviommu_uncharge(vm, npages);
}

/**
 * pviommu_unpin_pfns() - unpin contiguous pages, without the account
 * @vm: the VM
 * @hpfn: first frame
 * @npages: how many
 * @dirty: whether devices may have written to them
 *
 * No device may reach the pages any more.
 */
void pviommu_unpin_pfns(struct pviommu_vm *vm, u64 hpfn, u64 npages, bool dirty)
{
	unpin_user_page_range_dirty_lock(pfn_to_page(hpfn), npages, dirty);
}

/**
 * pviommu_slot_put_pins() - mappings no longer hold these pages of the guest
 * @vm: the VM, mem_lock held
 * @gfn: first frame
 * @npages: how many
 */
void pviommu_slot_put_pins(struct pviommu_vm *vm, u64 gfn, u64 npages)
{
	lockdep_assert_held(&vm->mem_lock);

	while (npages) {
		u64 gpa = gfn << PAGE_SHIFT, n;
		struct pviommu_slot *slot = pviommu_slot_find(vm, gpa);

		/* A slot stays for as long as a mapping holds one of its pages */
		if (WARN_ON_ONCE(!slot))
			return;
		n = min((slot->it.last - gpa + 1) >> PAGE_SHIFT, npages);
		atomic64_sub(n, &slot->pins);
		gfn += n;
		npages -= n;
	}
}
