// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of a VM: which host virtual address is behind a guest physical address.
 *
 * The VMM registers each range ("slot") by VFIO_IOMMU_MAP_DMA, and the slots are the
 * only record of it here. When memory leaves the VM, every mapping of its pages is
 * removed, in any domain of any VM.
 */
#include <linux/overflow.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/**
 * pviommu_slot_find() - the slot that holds a guest physical address
 * @vm: the VM, mem_lock held
 * @gpa: the address
 *
 * Return: the slot or NULL.
 */
struct pviommu_slot *pviommu_slot_find(struct pviommu_vm *vm, u64 gpa)
{
	struct pviommu_slot *slot = READ_ONCE(vm->last_slot);
	struct interval_tree_node *node;

	lockdep_assert_held(&vm->mem_lock);

	/* Nearly all of a VM's memory is in one or two slots */
	if (slot && gpa >= slot->it.start && gpa <= slot->it.last)
		return slot;
	node = interval_tree_iter_first(&vm->slots, gpa, gpa);
	if (!node)
		return NULL;
	slot = container_of(node, struct pviommu_slot, it);
	WRITE_ONCE(vm->last_slot, slot);
	return slot;
}

/*
 * Whether the pages of a range can be pinned: 1, 0, or a negative errno. A range that can't,
 * such as the BAR of another device, is part of the guest's address space but not RAM.
 */
static int slot_is_ram(struct pviommu_vm *vm, unsigned long hva, bool writable)
{
	struct page *page;
	long ret;

	ret = pviommu_pin_hva(vm, hva, 1, writable, &page);
	if (ret < 0)
		return ret == -EFAULT ? 0 : ret;
	unpin_user_page(page);
	return 1;
}

static int bypass_map_slot(struct pviommu_vm *vm, struct pviommu_slot *slot)
{
	struct pviommu_domain *domain;
	int ret;

	list_for_each_entry(domain, &vm->bypass, bypass_entry) {
		ret = pviommu_bypass_map(domain, slot);
		if (ret)
			goto err_unmap;
	}
	return 0;

err_unmap:
	list_for_each_entry_continue_reverse(domain, &vm->bypass, bypass_entry)
		pviommu_bypass_unmap(domain, slot);
	return ret;
}

/**
 * pviommu_memory_add() - add a slot to the memory of a VM
 * @vm: the VM
 * @gpa: where in the VM, page aligned
 * @hva: the address in the VMM, page aligned
 * @size: bytes, page aligned, @gpa + @size - 1 and @hva + @size - 1 don't wrap
 * @prot: what devices may do, PVIOMMU_PROT_READ, PVIOMMU_PROT_WRITE or both
 *
 * On return endpoints in bypass reach it.
 *
 * Context: process, a thread of the VMM; takes mem_lock for writing, cfg_lock and
 * loans_lock. May pin all of it.
 * Return: 0; -EEXIST overlap; -ENOSPC there are too many slots; -ENOMEM no memory, or
 * RLIMIT_MEMLOCK; -EFAULT it has to be mapped in bypass, but a part of it can't be pinned or
 * is beyond the IOMMU's aperture; -EIO; or another errno from pinning. On failure nothing has
 * changed.
 */
int pviommu_memory_add(struct pviommu_vm *vm, u64 gpa, unsigned long hva,
		       u64 size, u8 prot)
{
	struct pviommu_slot *slot;
	int ret;

	ret = slot_is_ram(vm, hva, prot & PVIOMMU_PROT_WRITE);
	if (ret < 0)
		return ret;
	slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);
	if (!slot)
		return -ENOMEM;
	slot->it.start = gpa;
	slot->it.last = gpa + size - 1;
	slot->hva = hva;
	slot->prot = prot;
	slot->ram = ret;

	down_write(&vm->mem_lock);
	mutex_lock(&vm->cfg_lock);
	ret = -EEXIST;
	if (interval_tree_iter_first(&vm->slots, slot->it.start, slot->it.last))
		goto err_unlock;
	/* A limit also for what is not RAM: it is not charged, but its record takes memory */
	ret = -ENOSPC;
	if (!pviommu_slots_left(vm))
		goto err_unlock;
	ret = bypass_map_slot(vm, slot);
	if (ret)
		goto err_unlock;
	mutex_lock(&vm->loans_lock);
	interval_tree_insert(&slot->it, &vm->slots);
	WRITE_ONCE(vm->nr_slots, vm->nr_slots + 1);
	mutex_unlock(&vm->loans_lock);
	mutex_unlock(&vm->cfg_lock);
	up_write(&vm->mem_lock);
	return 0;

err_unlock:
	mutex_unlock(&vm->cfg_lock);
	up_write(&vm->mem_lock);
	kfree(slot);
	return ret;
}

/* Cut every device of any VM off from a slot; on return none of its pages is pinned */
static void slot_remove(struct pviommu_vm *vm, struct pviommu_slot *slot)
{
	const struct pviommu_frames frames = {
		.first = slot->it.start >> PAGE_SHIFT,
		.last = slot->it.last >> PAGE_SHIFT,
	};
	struct pviommu_domain *domain;
	unsigned long id;

	lockdep_assert_held_write(&vm->mem_lock);

	pviommu_events_leave(vm, slot);
	pviommu_windows_leave(vm, slot);
	if (atomic64_read(&slot->pins))
		xa_for_each(&vm->domains, id, domain)
			pviommu_domain_revoke(domain, &frames);
	list_for_each_entry(domain, &vm->bypass, bypass_entry)
		pviommu_bypass_unmap(domain, slot);
	mutex_lock(&vm->loans_lock);
	pviommu_loans_recall(vm, NULL, &frames);
	interval_tree_remove(&slot->it, &vm->slots);
	WRITE_ONCE(vm->nr_slots, vm->nr_slots - 1);
	mutex_unlock(&vm->loans_lock);
	vm->last_slot = NULL;
	kfree(slot);
}

/* Would removing [first, last] cut a slot in two? */
static bool range_cuts_slot(struct pviommu_vm *vm, u64 first, u64 last)
{
	struct pviommu_slot *slot = pviommu_slot_find(vm, first);

	if (slot && slot->it.start != first)
		return true;
	slot = pviommu_slot_find(vm, last);
	return slot && slot->it.last != last;
}

/**
 * pviommu_memory_remove() - remove slots from the memory of a VM
 * @vm: the VM
 * @gpa: start of the range
 * @size: bytes, not 0 unless @all
 * @all: remove all slots, and ignore @gpa and @size
 * @removed: set to the bytes that were removed
 *
 * Mappings of these pages in any domain of any VM are removed and flushed, the
 * pages unpinned, and the guests get an event for each range of IOVAs.
 *
 * Context: process; takes mem_lock for writing, cfg_lock and loans_lock. May sleep for long.
 * Return: 0; -EINVAL a slot would be cut in two, then nothing has changed.
 */
int pviommu_memory_remove(struct pviommu_vm *vm, u64 gpa, u64 size, bool all,
			  u64 *removed)
{
	u64 first = all ? 0 : gpa, last = all ? U64_MAX : gpa + size - 1;
	struct interval_tree_node *node;
	int ret = 0;

	*removed = 0;
	down_write(&vm->mem_lock);
	mutex_lock(&vm->cfg_lock);
	if (!all && range_cuts_slot(vm, first, last)) {
		ret = -EINVAL;
		goto out_unlock;
	}
	while ((node = interval_tree_iter_first(&vm->slots, first, last))) {
		*removed += node->last - node->start + 1;
		slot_remove(vm, container_of(node, struct pviommu_slot, it));
	}
out_unlock:
	mutex_unlock(&vm->cfg_lock);
	up_write(&vm->mem_lock);
	return ret;
}
