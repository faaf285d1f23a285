// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only file that reads or writes guest memory.
 *
 * Guest memory is hostile: other vCPUs change it at any time. Callers copy
 * what they need once, with these functions, and check the copy.
 *
 * Access goes through the VMM's page tables, so it works only in threads of
 * the VMM. Doorbells arrive in these; in any other thread it is -EFAULT.
 */
#include <linux/highmem.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "pviommu_private.h"

/* The user address of a GPA, and how many bytes from there on are in the slot */
static void __user *guest_uaddr(struct pviommu_vm *vm, u64 gpa, bool write,
				u64 *room)
{
	struct pviommu_slot *slot = pviommu_slot_find(vm, gpa);

	if (!slot || !slot->ram || (write && !slot->writable))
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
 * Return: 0, or -EFAULT when part of the source is not RAM of the guest; then
 * @buf is undefined.
 */
int pviommu_guest_read(struct pviommu_vm *vm, u64 gpa, void *buf, size_t len)
{
	return guest_copy(vm, gpa, buf, len, false);
}

/**
 * pviommu_guest_write() - copy to guest memory
 * @vm: the VM, mem_lock held
 * @gpa: destination
 * @buf: source
 * @len: bytes
 *
 * Return: 0, or -EFAULT when part of the destination is not writable RAM of
 * the guest; then a part of it may have been written.
 */
int pviommu_guest_write(struct pviommu_vm *vm, u64 gpa, const void *buf,
			size_t len)
{
	return guest_copy(vm, gpa, (void *)buf, len, true);
}

/**
 * pviommu_guest_check() - is this writable RAM of the guest
 * @vm: the VM, mem_lock held
 * @gpa: start
 * @len: bytes, not 0
 *
 * Return: 0 or -EFAULT.
 */
int pviommu_guest_check(struct pviommu_vm *vm, u64 gpa, u64 len)
{
	u64 room;

	if (gpa + len - 1 < gpa)
		return -EFAULT;
	for (; len; gpa += room, len -= room) {
		if (!guest_uaddr(vm, gpa, true, &room))
			return -EFAULT;
		room = min(room, len);
	}
	return 0;
}

/**
 * pviommu_guest_pin_page() - pin one page of guest memory for the kernel's use
 * @vm: the VM, mem_lock held
 * @gpa: page aligned
 *
 * Return: the page, to be given back by pviommu_guest_unpin_page(); or -EFAULT,
 * -ENOMEM.
 */
struct page *pviommu_guest_pin_page(struct pviommu_vm *vm, u64 gpa)
{
	struct page *page;
	int ret;

	ret = pviommu_pin_guest(vm, gpa >> PAGE_SHIFT, 1, true, &page);
	return ret ? ERR_PTR(ret) : page;
}

/**
 * pviommu_guest_unpin_page() - undo pviommu_guest_pin_page()
 * @vm: the VM, mem_lock held
 * @gpa: as given to it
 * @page: the page
 */
void pviommu_guest_unpin_page(struct pviommu_vm *vm, u64 gpa,
			      struct page *page)
{
	set_page_dirty_lock(page);
	pviommu_slot_put_pins(vm, gpa >> PAGE_SHIFT, 1);
	pviommu_unpin_pages(vm, &page, 1);
}

/**
 * pviommu_guest_page_read() - copy from a pinned page of guest memory
 * @page: from pviommu_guest_pin_page()
 * @offset: source, an offset in the page
 * @buf: destination
 * @len: bytes, all within the page
 *
 * Context: any.
 */
void pviommu_guest_page_read(struct page *page, size_t offset, void *buf,
			     size_t len)
{
	memcpy_from_page(buf, page, offset, len);
}

/**
 * pviommu_guest_page_write() - copy to a pinned page of guest memory
 * @page: from pviommu_guest_pin_page()
 * @offset: destination, an offset in the page
 * @buf: source
 * @len: bytes, all within the page
 *
 * Context: any.
 */
void pviommu_guest_page_write(struct page *page, size_t offset, const void *buf,
			      size_t len)
{
	memcpy_to_page(page, offset, buf, len);
}
