// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving pages of a VMM back to the host: what madvise(MADV_DONTNEED) does to private
 * memory, and MADV_REMOVE to shared memory. The VMM has no part in it.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/types.h>
/* Needs the types above */
#include <linux/falloc.h>

#include "pviommu_private.h"

/*
 * Memory that others than the page tables know of. Nor is a hole punched into a file that is
 * not of shmem: its file system may be a process, which could have us wait for ever.
 */
#define KEPT	(VM_LOCKED | VM_HUGETLB | VM_PFNMAP | VM_MIXEDMAP | VM_IO)

/* A shared file's part that is to be punched out, when mmap_lock is not held */
struct hole {
	struct file *file;
	loff_t offset;
};

/* One VMA's part of a range: bytes of it, 0 if there is nothing. mmap_lock held */
static u64 discard_vma(struct mm_struct *mm, unsigned long hva, u64 size,
		       struct hole *hole, bool *done)
{
	struct vm_area_struct *vma = vma_lookup(mm, hva);

	*done = false;
	if (!vma)
		return 0;
	size = min_t(u64, size, vma->vm_end - hva);
	if (vma->vm_flags & KEPT)
		return size;
	if (vma_is_anonymous(vma)) {
		compat_zap_vma(vma, hva, size);
		*done = true;
	} else if (vma->vm_file && (vma->vm_flags & VM_SHARED) &&
		   shmem_mapping(vma->vm_file->f_mapping)) {
		hole->file = get_file(vma->vm_file);
		hole->offset = ((loff_t)vma->vm_pgoff << PAGE_SHIFT) +
			       (hva - vma->vm_start);
	}
	return size;
}

static bool punch(const struct hole *hole, u64 size)
{
	int ret = vfs_fallocate(hole->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				hole->offset, size);

	fput(hole->file);
	return !ret;
}

/**
 * pviommu_discard() - free memory of the VMM
 * @vm: the VM
 * @hva: start, page aligned
 * @size: bytes, page aligned
 *
 * The addresses stay mapped and read as zeroes. What is freed is anonymous memory and shared
 * memory of shmem (memfd, tmpfs). Memory that is locked, of huge pages of hugetlbfs, a private
 * mapping of a file, or that of another file system is left as it is.
 *
 * Return: bytes that were freed.
 */
u64 pviommu_discard(struct pviommu_vm *vm, unsigned long hva, u64 size)
{
	u64 freed = 0, n;
	bool done;

	if (!mmget_not_zero(vm->mm))
		return 0;
	for (; size; size -= n, hva += n) {
		struct hole hole = {};

		mmap_read_lock(vm->mm);
		n = discard_vma(vm->mm, hva, size, &hole, &done);
		mmap_read_unlock(vm->mm);
		if (!n)
			break;
		if (hole.file)
			done = punch(&hole, n);
		if (done)
			freed += n;
	}
	mmput_async(vm->mm);
	return freed;
}
