// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving pages of a VMM back to the host, as madvise() does: MADV_DONTNEED for private
 * memory, MADV_REMOVE for shared memory. The VMM is not involved.
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
 * Memory of which not only page tables keep track: it is left alone. So are files that are not
 * of shmem: their file system may be a process (FUSE), which could block the hole punch for ever.
 */
#define KEPT	(VM_LOCKED | VM_HUGETLB | VM_PFNMAP | VM_MIXEDMAP | VM_IO)

/* A part of a shared file to punch a hole into, once mmap_lock is dropped */
struct hole {
	struct file *file;
	loff_t offset;
};

/*
 * The part of a range that is in one VMA: discard it, or fill in @hole for the caller to do
 * that. mmap_lock is held. Return: its size in bytes, 0 if nothing is mapped there.
 */
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
 * The addresses stay mapped and read as zeroes. Anonymous memory is freed, and shared memory of
 * shmem (memfd, tmpfs). Memory that is locked or from hugetlbfs, private mappings of files, and
 * files of other file systems are left alone.
 *
 * Context: process; takes mmap_lock of the VMM. May sleep for long.
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
