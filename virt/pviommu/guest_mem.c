// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only file that reads or writes guest memory.
 *
 * Other vCPUs may change guest memory at any time. Callers copy what they need once,
 * with these functions, and check the copy.
 *
 * Memory that is used now and then is accessed through the VMM's page tables. That works
 * only in threads of the VMM, in which doorbells arrive; any other thread gets -EFAULT.
 * Memory that every doorbell uses is accessed through a window, that is pinned pages.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "pviommu_private.h"

/* The user address of a GPA, and how many bytes from there on are in the same slot; or NULL */
static void __user *guest_uaddr(struct pviommu_vm *vm, u64 gpa, bool write,
				u64 *room)
{
	struct pviommu_slot *slot = pviommu_slot_find(vm, gpa);

	if (!slot || !pviommu_slot_is_ram(slot) || (write && !pviommu_slot_writable(slot)))
		return NULL;
	*room = slot->it.last - gpa + 1;
	return (void __user *)(slot->hva + (gpa - slot->it.start));
}

static int guest_copy(struct pviommu_vm *vm, u64 gpa, void *buf, size_t len,
		      bool write)
{
	lockdep_assert_held(&vm->mem_lock);

	if (current->mm != vm->mm)
		return -EFAULT;

	while (len) {
		void __user *uaddr;
		unsigned long left;
		u64 room;

		uaddr = guest_uaddr(vm, gpa, write, &room);
		if (!uaddr)
			return -EFAULT;
		room = min_t(u64, room, len);
		left = write ? copy_to_user(uaddr, buf, room) :
			       copy_from_user(buf, uaddr, room);
		if (left)
			return -EFAULT;
		gpa += room;
		buf += room;
		len -= room;
	}
	return 0;
}

/**
 * pviommu_guest_read() - copy from guest memory
 * @vm: the VM, mem_lock held
 * @gpa: source
 * @buf: destination
 * @len: bytes
 *
 * Context: process, a thread of the VMM, may sleep.
 * Return: 0; -EFAULT part of the source is not RAM of the guest, or this is another
 * thread; then @buf is undefined.
 */
int pviommu_guest_read(struct pviommu_vm *vm, u64 gpa, void *buf, size_t len)
{
	return guest_copy(vm, gpa, buf, len, false);
}

/**
 * pviommu_guest_read_words() - copy words from guest memory, each by a single access
 * @vm: the VM, mem_lock held
 * @gpa: source, aligned to 8 bytes
 * @buf: destination
 * @words: words of 8 bytes, all within a page
 *
 * If the guest writes to a word meanwhile, the copy is its old or its new value, never
 * a mixture of both.
 *
 * Context: process, a thread of the VMM, may sleep.
 * Return: 0; -EFAULT the source is not RAM of the guest, or this is another thread.
 */
int pviommu_guest_read_words(struct pviommu_vm *vm, u64 gpa, u64 *buf, u32 words)
{
	const u64 __user *from;
	u64 room;
	u32 i;

	lockdep_assert_held(&vm->mem_lock);

	if (current->mm != vm->mm)
		return -EFAULT;
	from = guest_uaddr(vm, gpa, false, &room);
	if (!from || !user_read_access_begin(from, words * sizeof(*buf)))
		return -EFAULT;
	for (i = 0; i < words; i++)
		unsafe_get_user(buf[i], from + i, err_fault);
	user_read_access_end();
	return 0;

err_fault:
	user_read_access_end();
	return -EFAULT;
}

/**
 * pviommu_guest_write() - copy to guest memory
 * @vm: the VM, mem_lock held
 * @gpa: destination
 * @buf: source
 * @len: bytes
 *
 * Context: process, a thread of the VMM, may sleep.
 * Return: 0; -EFAULT part of the destination is not writable RAM of the guest, or this is
 * another thread; then a part of it may have been written.
 */
int pviommu_guest_write(struct pviommu_vm *vm, u64 gpa, const void *buf,
			size_t len)
{
	return guest_copy(vm, gpa, (void *)buf, len, true);
}

/* The user address of a GPA, for a thread without any lock */
static int find_hva(struct pviommu_vm *vm, u64 gpa, unsigned long *hva)
{
	u64 room;

	/* Killable: a VMM that is stalled may hold it up */
	if (down_read_killable(&vm->mem_lock))
		return -EINTR;
	*hva = (unsigned long)guest_uaddr(vm, gpa, false, &room);
	up_read(&vm->mem_lock);
	return *hva ? 0 : -EFAULT;
}

/* Get the page at a user address of the VMM, faulting it in if need be; takes a reference */
static int get_page_of(struct mm_struct *mm, unsigned long hva, struct page **page)
{
	int locked = 1;
	long ret;

	if (!mmget_not_zero(mm))
		return -EFAULT;
	ret = mmap_read_lock_killable(mm);
	if (!ret) {
		ret = get_user_pages_remote(mm, hva, 1, 0, page, &locked);
		if (locked)
			mmap_read_unlock(mm);
	}
	mmput_async(mm);
	if (ret == 1)
		return 0;
	return fatal_signal_pending(current) ? -EINTR : -EFAULT;
}

/**
 * pviommu_guest_peek() - copy from guest memory in a thread that need not be the VMM's
 * @vm: the VM
 * @gpa: source
 * @buf: destination
 * @len: bytes, all within a page
 *
 * The page is faulted in with no lock of the VM held, as this may take as long as the VMM
 * likes. A page that has left the VM meanwhile is not read.
 *
 * Context: process, vm->mem_lock not held; may sleep for long.
 * Return: 0; -EFAULT it is not RAM of the guest; -EINTR the thread is being killed.
 */
int pviommu_guest_peek(struct pviommu_vm *vm, u64 gpa, void *buf, size_t len)
{
	unsigned long hva, now;
	struct page *page;
	int ret;

	ret = find_hva(vm, gpa, &hva) ?: get_page_of(vm->mm, hva, &page);
	if (ret)
		return ret;
	ret = find_hva(vm, gpa, &now);
	if (!ret && now != hva)
		ret = -EFAULT;
	if (!ret)
		memcpy_from_page(buf, page, offset_in_page(gpa), len);
	put_page(page);
	return ret;
}

/**
 * pviommu_guest_check() - check that a range is writable RAM of the guest
 * @vm: the VM, mem_lock held
 * @gpa: start
 * @len: bytes, not 0
 *
 * Return: 0 or -EFAULT.
 */
int pviommu_guest_check(struct pviommu_vm *vm, u64 gpa, u64 len)
{
	u64 room;

	lockdep_assert_held(&vm->mem_lock);

	if (gpa + len - 1 < gpa)
		return -EFAULT;
	for (; len; gpa += room, len -= room) {
		if (!guest_uaddr(vm, gpa, true, &room))
			return -EFAULT;
		room = min(room, len);
	}
	return 0;
}

static void window_unpin(struct pviommu_vm *vm, struct pviommu_window *win)
{
	u32 i;

	for (i = 0; i < win->npages; i++)
		set_page_dirty_lock(win->pages[i]);
	pviommu_slot_put_pins(vm, win->gpa >> PAGE_SHIFT, win->npages);
	pviommu_unpin_pages(vm, win->pages, win->npages);
}

/**
 * pviommu_window_open() - pin guest memory that the kernel will use often
 * @vm: the VM, mem_lock held; windows are opened and closed by one thread at a time
 * @win: the window, not open
 * @gpa: start
 * @len: bytes, not 0
 *
 * While it is open, it can be read and written in any context and without further checks.
 * Its pages are charged to the VMM. It is closed if its memory leaves the VM.
 *
 * Context: process, may sleep.
 * Return: 0; -EFAULT it is not writable RAM of the guest; -ENOMEM, also if the VMM may not
 * lock so much. On failure the window is not open.
 */
int pviommu_window_open(struct pviommu_vm *vm, struct pviommu_window *win,
			u64 gpa, u64 len)
{
	u64 first = gpa >> PAGE_SHIFT, last = (gpa + len - 1) >> PAGE_SHIFT;
	struct page **pages;
	int ret;

	lockdep_assert_held(&vm->mem_lock);

	ret = pviommu_guest_check(vm, gpa, len);
	if (ret)
		return ret;
	win->npages = last - first + 1;
	pages = kvmalloc_array(win->npages, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	ret = pviommu_pin_guest(vm, first, win->npages, true, pages);
	if (ret) {
		kvfree(pages);
		return ret;
	}
	win->gpa = gpa;
	win->pages = pages;
	list_add(&win->entry, &vm->windows);
	return 0;
}

/**
 * pviommu_window_close() - undo pviommu_window_open()
 * @vm: the VM, mem_lock held; windows are opened and closed by one thread at a time
 * @win: the window, not in use any more; nothing happens if it is not open
 */
void pviommu_window_close(struct pviommu_vm *vm, struct pviommu_window *win)
{
	lockdep_assert_held(&vm->mem_lock);

	if (!win->pages)
		return;
	list_del(&win->entry);
	window_unpin(vm, win);
	kvfree(win->pages);
	win->pages = NULL;
}

/**
 * pviommu_windows_leave() - close all windows that are in memory that leaves
 * @vm: the VM, mem_lock held for writing
 * @slot: the memory
 */
void pviommu_windows_leave(struct pviommu_vm *vm, struct pviommu_slot *slot)
{
	struct pviommu_window *win, *next;

	lockdep_assert_held_write(&vm->mem_lock);

	list_for_each_entry_safe(win, next, &vm->windows, entry) {
		u64 first = round_down(win->gpa, PAGE_SIZE);
		u64 last = first + ((u64)win->npages << PAGE_SHIFT) - 1;

		if (first <= slot->it.last && last >= slot->it.start)
			pviommu_window_close(vm, win);
	}
}

/* The address of an offset in an open window; good up to the end of its page */
static void *window_at(const struct pviommu_window *win, size_t offset)
{
	size_t at = offset_in_page(win->gpa) + offset;

	return page_address(win->pages[at >> PAGE_SHIFT]) + offset_in_page(at);
}

/**
 * pviommu_window_read() - copy from a window, each word by a single access
 * @win: the window
 * @offset: source, aligned to 8 bytes
 * @buf: destination
 * @words: words of 8 bytes, all within a page
 *
 * Context: any; the caller holds mem_lock, or a lock of its own that it also takes to close
 * the window.
 * Return: 0, or -EFAULT if the window is not open.
 */
int pviommu_window_read(const struct pviommu_window *win, size_t offset,
			void *buf, u32 words)
{
	const u64 *from;
	u64 *to = buf;
	u32 i;

	if (!win->pages)
		return -EFAULT;
	from = window_at(win, offset);
	for (i = 0; i < words; i++)
		to[i] = READ_ONCE(from[i]);
	return 0;
}

/**
 * pviommu_window_write() - copy to a window
 * @win: the window
 * @offset: destination, aligned to 8 bytes
 * @buf: source
 * @words: words of 8 bytes, all within a page
 *
 * Context: as pviommu_window_read().
 * Return: 0, or -EFAULT when it is not open.
 */
int pviommu_window_write(const struct pviommu_window *win, size_t offset,
			 const void *buf, u32 words)
{
	const u64 *from = buf;
	u64 *to;
	u32 i;

	if (!win->pages)
		return -EFAULT;
	to = window_at(win, offset);
	for (i = 0; i < words; i++)
		WRITE_ONCE(to[i], from[i]);
	return 0;
}

/**
 * pviommu_window_publish() - write a number, with release semantics
 * @win: the window
 * @offset: destination, aligned to 4 bytes
 * @value: the number, as the guest sees it
 *
 * A guest that reads the number, then has a read barrier, sees everything that was written
 * to windows before.
 *
 * Context: as pviommu_window_read().
 * Return: 0, or -EFAULT when it is not open.
 */
int pviommu_window_publish(const struct pviommu_window *win, size_t offset,
			   __le32 value)
{
	if (!win->pages)
		return -EFAULT;
	/* Pairs with the guest's barrier after it reads the number */
	smp_store_release((__le32 *)window_at(win, offset), value);
	return 0;
}
