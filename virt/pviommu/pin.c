// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning and accounting of guest memory.
 *
 * Every pinned page is charged to the VMM (RLIMIT_MEMLOCK) once for each pin.
 * Charging takes the VMM's mmap_lock, so it is done for some hundred pages at
 * a time and the VM keeps a small credit: used <= charged. As the VMM may hold
 * mmap_lock for as long as it likes, only threads that work for this VM wait for it.
 * Another VM that takes its own pages back only lowers @used, and leaves it to the next
 * charge or uncharge of this VM to give the credit back.
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

	/* If the address space is gone, so is its account */
	if (!mmget_not_zero(vm->mm))
		return inc ? -ESRCH : 0;
	mmap_write_lock(vm->mm);
	ret = __account_locked_vm(vm->mm, npages, inc, current,
				  inc && capable(CAP_IPC_LOCK));
	mmap_write_unlock(vm->mm);
	/* Async: tearing down a whole address space may wait, and locks are held here */
	mmput_async(vm->mm);
	return ret;
}

/* Give back the credit, but for a small one */
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
 * pviommu_charge() - charge pages to the VMM before they are pinned
 * @vm: the VM
 * @npages: how many
 *
 * Context: process; takes account_lock and mmap_lock of the VMM.
 * Return: 0; -ENOMEM when RLIMIT_MEMLOCK is exhausted or the VMM's memory is gone, then
 * nothing is charged.
 */
noinline __noclone int pviommu_charge(struct pviommu_vm *vm, u64 npages)
{
	u64 need, credit;
	int ret = 0;

	mutex_lock(&vm->account_lock);
	/* Another VM may lower @used meanwhile: the credit may grow, but not shrink */
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
 * pviommu_uncharge_later() - as pviommu_uncharge(), but without waiting for the VMM
 * @vm: the VM
 * @npages: how many
 *
 * The VMM's account is credited by the next pviommu_charge() or pviommu_uncharge().
 *
 * Context: any.
 */
void pviommu_uncharge_later(struct pviommu_vm *vm, u64 npages)
{
	atomic64_sub(npages, &vm->used);
	pviommu_count(vm, PVIOMMU_NR_PAGES_PINNED, -(s64)npages);
}

/**
 * pviommu_uncharge() - give pages back to the VMM's account
 * @vm: the VM
 * @npages: how many; 0: only what pviommu_uncharge_later() has left
 *
 * Context: process; takes account_lock and mmap_lock of the VMM, which may hold that for
 * long. So no lock of another VM may be held, and no other VM may wait for the caller.
 */
void pviommu_uncharge(struct pviommu_vm *vm, u64 npages)
{
	pviommu_uncharge_later(vm, npages);
	mutex_lock(&vm->account_lock);
	give_back(vm);
	mutex_unlock(&vm->account_lock);
}

/**
 * pviommu_pin_hva() - pin pages of the VMM, without charging them
 * @vm: the VM
 * @hva: page aligned
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * Context: process; takes mmap_lock of the VMM; sleeps until the pages are there.
 * Return: number of pages pinned, at least 1; or a negative errno, -EFAULT if
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
		/* With @locked, mmap_lock is dropped while it waits; a fatal signal ends that */
		ret = pin_user_pages_remote(vm->mm, hva, npages, flags, pages, &locked);
		if (locked)
			mmap_read_unlock(vm->mm);
	}
	mmput_async(vm->mm);
	return ret ?: -EFAULT;
}
ALLOW_ERROR_INJECTION(pviommu_pin_hva, ERRNO);

/*
 * Whether the reference count of a page is near its limit: a pin may add 1024 to it
 * (GUP_PIN_COUNTING_BIAS), and the kernel warns if it overflows.
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
 * pviommu_pin_ram() - pin pages of the VMM that are RAM, without charging them
 * @vm: whose VMM
 * @hva: page aligned
 * @npages: how many
 * @write: whether devices may write to them
 * @pages: filled with the pages
 *
 * Context: as pviommu_pin_hva().
 * Return: number of pages pinned, at least 1; -EFAULT they can't be pinned; -ENOMEM, also
 * if one of them is pinned too often.
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

	if (!slot || !pviommu_slot_is_ram(slot))
		return -EFAULT;
	if (write && !pviommu_slot_writable(slot))
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
 * pviommu_unpin_pages() - unpin and uncharge pages, without marking them dirty
 * @vm: the VM
 * @pages: the pages
 * @npages: how many
 *
 * The caller has dropped the pins of their slots.
 *
 * Context: as pviommu_uncharge().
 */
void pviommu_unpin_pages(struct pviommu_vm *vm, struct page **pages, u32 npages)
{
	unpin_user_pages(pages, npages);
	pviommu_uncharge(vm, npages);
}

/**
 * pviommu_unpin_pfns() - unpin contiguous pages, without uncharging them
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
 * pviommu_slot_put_pins() - drop pins of pages in the count of their slots
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

		/* Removing a slot first ends all mappings and windows that pin its pages */
		if (WARN_ON_ONCE(!slot))
			return;
		n = min((slot->it.last - gpa + 1) >> PAGE_SHIFT, npages);
		atomic64_sub(n, &slot->pins);
		gfn += n;
		npages -= n;
	}
}
