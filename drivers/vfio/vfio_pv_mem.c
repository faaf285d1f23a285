// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: pinning and accounting of user memory, which
 * is recorded as runs of page frames.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

#define VFIO_PV_CHUNK_RUNS \
	((PAGE_SIZE - sizeof(struct vfio_pv_chunk)) / sizeof(struct vfio_pv_run))

/* How many pages to pin at a time, with pointers on the stack, and with a page of pointers */
#define VFIO_PV_BATCH_SMALL	16
#define VFIO_PV_BATCH		(PAGE_SIZE / sizeof(struct page *))

/* How often to retry a fault that dropped the lock */
#define VFIO_PV_FAULT_TRIES	16

/*
 * RLIMIT_MEMLOCK is tested against the process that maps, which is current.
 */
static int vfio_pv_try_account(struct vfio_pv_mem *mem, unsigned long npages,
			       bool unlimited)
{
	int ret = mmap_write_lock_killable(mem->mm);

	if (ret)
		return ret;
	ret = __account_locked_vm(mem->mm, npages, true, current, unlimited);
	mmap_write_unlock(mem->mm);
	if (!ret)
		mem->locked += npages;
	return ret;
}

/* Ask for the capability only if the limit is exceeded, as that may be audited. */
static int vfio_pv_account(struct vfio_pv_mem *mem, unsigned long npages)
{
	int ret = vfio_pv_try_account(mem, npages, false);

	if (ret == -ENOMEM && capable(CAP_IPC_LOCK))
		ret = vfio_pv_try_account(mem, npages, true);
	return ret;
}

/* Whoever unmaps, the pages go back to the address space that mapped them. */
static void vfio_pv_unaccount(struct vfio_pv_mem *mem)
{
	bool own = mem->mm == current->mm;

	if (!mem->locked || (!own && !mmget_not_zero(mem->mm)))
		return;
	mmap_write_lock(mem->mm);
	__account_locked_vm(mem->mm, mem->locked, false, current, true);
	mmap_write_unlock(mem->mm);
	if (!own)
		mmput(mem->mm);
	mem->locked = 0;
}

static void vfio_pv_init_chunk(struct vfio_pv_mem *mem,
			       struct vfio_pv_chunk *chunk,
			       struct vfio_pv_run *runs, unsigned int max)
{
	chunk->npages = 0;
	chunk->nr = 0;
	chunk->max = max;
	chunk->runs = runs;
	chunk->next = NULL;
	mem->last = chunk;
}

/*
 * Append @chunk after @prev. If the last two jumps on the way back from @prev have the same
 * length, @chunk jumps over both, else to @prev. So jumps have lengths 1, 3, 7 and so on,
 * like the digits of a skew binary number. This needs no memory, and constant time.
 */
static void vfio_pv_link_chunk(struct vfio_pv_chunk *prev, struct vfio_pv_chunk *chunk)
{
	struct vfio_pv_chunk *jump = prev->jump;

	prev->next = chunk;
	chunk->prev = prev;
	chunk->depth = prev->depth + 1;
	chunk->start = prev->start + prev->npages;
	if (prev->depth - jump->depth == jump->depth - jump->jump->depth)
		chunk->jump = jump->jump;
	else
		chunk->jump = prev;
}

/* Append a chunk: a page that holds the chunk and its runs */
static struct vfio_pv_chunk *vfio_pv_add_chunk(struct vfio_pv_mem *mem)
{
	struct vfio_pv_chunk *chunk = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);

	if (!chunk)
		return NULL;
	vfio_pv_link_chunk(mem->last, chunk);
	vfio_pv_init_chunk(mem, chunk, (struct vfio_pv_run *)(chunk + 1),
			   VFIO_PV_CHUNK_RUNS);
	return chunk;
}

/* Make the last run longer, if these page frames continue it. */
static bool vfio_pv_extend_run(struct vfio_pv_mem *mem, unsigned long pfn,
			       u32 npages, bool pinned)
{
	struct vfio_pv_chunk *chunk = mem->last;
	struct vfio_pv_run *run;
	u32 sum;

	if (!chunk->nr)
		return false;
	run = &chunk->runs[chunk->nr - 1];
	if (run->pfn + run->npages != pfn || run->pinned != pinned)
		return false;
	if (check_add_overflow(run->npages, npages, &sum))
		return false;
	run->npages = sum;
	chunk->npages += npages;
	return true;
}

/* Record page frames that follow those recorded so far. */
static int vfio_pv_add_run(struct vfio_pv_mem *mem, unsigned long pfn,
			   u32 npages, bool pinned)
{
	struct vfio_pv_chunk *chunk = mem->last;

	if (vfio_pv_extend_run(mem, pfn, npages, pinned))
		return 0;
	if (chunk->nr == chunk->max)
		chunk = vfio_pv_add_chunk(mem);
	if (!chunk)
		return -ENOMEM;
	chunk->runs[chunk->nr++] = (struct vfio_pv_run){
		.pfn = pfn,
		.npages = npages,
		.pinned = pinned,
	};
	chunk->npages += npages;
	return 0;
}

/* Return: how many of the pages were recorded; less than all if there is no memory. */
static unsigned long vfio_pv_add_pages(struct vfio_pv_mem *mem,
				       struct page **pages, unsigned long npages)
{
	unsigned long done = 0, n, pfn;

	while (done < npages) {
		pfn = page_to_pfn(pages[done]);
		for (n = 1; done + n < npages; n++)
			if (page_to_pfn(pages[done + n]) != pfn + n)
				break;
		if (vfio_pv_add_run(mem, pfn, n, true))
			break;
		done += n;
	}
	return done;
}

/* Return: 0 and the page frame; -EAGAIN when the lock was dropped meanwhile. */
static int vfio_pv_follow(struct vm_area_struct *vma, unsigned long vaddr,
			  bool write, unsigned long *pfn)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = vaddr };
	bool unlocked = false;
	int ret;

	ret = follow_pfnmap_start(&args);
	if (ret) {
		ret = fixup_user_fault(vma->vm_mm, vaddr,
				       write ? FAULT_FLAG_WRITE : 0, &unlocked);
		if (unlocked)
			return -EAGAIN;
		if (!ret)
			ret = follow_pfnmap_start(&args);
		if (ret)
			return ret;
	}
	if (write && !args.writable)
		ret = -EFAULT;
	*pfn = args.pfn;
	follow_pfnmap_end(&args);
	return ret;
}

/* Only page frames without reference counts can be mapped without a pin. */
static bool vfio_pv_unpinnable(unsigned long pfn)
{
	return !pfn_valid(pfn) || PageReserved(pfn_to_page(pfn));
}

/*
 * Record a page of memory that has no pages, such as a BAR that is mapped into the process.
 * It is neither pinned nor accounted, so it is up to its owner that it stays valid.
 *
 * Return: 1, or a negative errno.
 */
static long vfio_pv_take_pfnmap(struct vfio_pv_mem *mem, unsigned long vaddr)
{
	struct vm_area_struct *vma;
	int ret = -EAGAIN, tries;
	unsigned long pfn;

	mmap_read_lock(mem->mm);
	vaddr = untagged_addr_remote(mem->mm, vaddr);
	for (tries = 0; ret == -EAGAIN && tries < VFIO_PV_FAULT_TRIES; tries++) {
		vma = vma_lookup(mem->mm, vaddr);
		if (!vma || !(vma->vm_flags & VM_PFNMAP))
			ret = -EFAULT;
		else
			ret = vfio_pv_follow(vma, vaddr, mem->write, &pfn);
	}
	mmap_read_unlock(mem->mm);

	/* Whoever has mapped it takes it away again as fast as it comes */
	if (ret == -EAGAIN || (!ret && !vfio_pv_unpinnable(pfn)))
		ret = -EFAULT;
	if (!ret)
		ret = vfio_pv_add_run(mem, pfn, 1, false);
	return ret ?: 1;
}

/* Return: how many pages were pinned and recorded, or a negative errno. */
static long vfio_pv_pin_batch(struct vfio_pv_mem *mem, unsigned long vaddr,
			      struct page **pages, unsigned long max)
{
	unsigned int flags = FOLL_LONGTERM | (mem->write ? FOLL_WRITE : 0);
	unsigned long done;
	long n;
	int ret;

	n = pin_user_pages_fast(vaddr, max, flags, pages);
	/* The end of the range would wrap: these are the last addresses, and not user memory */
	if (n == -EOVERFLOW)
		return -EFAULT;
	if (n == -EFAULT)
		return vfio_pv_take_pfnmap(mem, vaddr);
	if (n <= 0)
		return n ?: -EFAULT;

	ret = vfio_pv_account(mem, n);
	done = ret ? 0 : vfio_pv_add_pages(mem, pages, n);
	if (done < n) {
		unpin_user_pages(pages + done, n - done);
		return ret ?: -ENOMEM;
	}
	return n;
}

/* Another VM's memory is not here: only its guest physical addresses are recorded */
static int vfio_pv_name_foreign(struct vfio_pv_mem *mem)
{
	unsigned long pfn = PHYS_PFN(mem->vaddr), left = mem->npages;
	u32 n;
	int ret = 0;

	for (; !ret && left; left -= n, pfn += n) {
		n = min_t(unsigned long, left, U32_MAX);
		ret = vfio_pv_add_run(mem, pfn, n, false);
	}
	return ret;
}

/**
 * vfio_pv_mem_pin() - pin and account all pages of a mapping
 * @mem: set up by vfio_pv_mem_init(), by this process
 *
 * Memory of another VM is not pinned here, but by the host. On failure the caller has
 * to call vfio_pv_mem_release(), which undoes what was done.
 *
 * Context: process, may sleep for as long as a page fault can.
 *
 * Return: 0; -ENOMEM also when RLIMIT_MEMLOCK is exceeded; -EFAULT; -EINTR.
 */
int vfio_pv_mem_pin(struct vfio_pv_mem *mem)
{
	struct page *few[VFIO_PV_BATCH_SMALL], **many = NULL;
	unsigned long max = ARRAY_SIZE(few), pos = 0;
	long n = 0;

	if (mem->vm)
		return vfio_pv_name_foreign(mem);
	if (mem->npages > max)
		many = (struct page **)__get_free_page(GFP_KERNEL | __GFP_NOWARN);
	if (many)
		max = VFIO_PV_BATCH;

	while (pos < mem->npages) {
		if (fatal_signal_pending(current)) {
			n = -EINTR;
			break;
		}
		n = vfio_pv_pin_batch(mem, mem->vaddr + (pos << PAGE_SHIFT),
				      many ?: few, min(max, mem->npages - pos));
		if (n < 0)
			break;
		pos += n;
		if (pos < mem->npages)
			cond_resched();
	}
	if (many)
		free_page((unsigned long)many);
	return n < 0 ? n : 0;
}

/**
 * vfio_pv_mem_init() - describe memory, of the current process or of another VM
 * @mem: filled in; nothing is pinned yet
 * @vm: number of the other VM, or 0
 * @vaddr: page aligned; for another VM's memory a guest physical address there
 * @size: page aligned
 * @write: devices may write to it
 *
 * Context: any; a thread that has user memory.
 */
void vfio_pv_mem_init(struct vfio_pv_mem *mem, u32 vm, unsigned long vaddr,
		      size_t size, bool write)
{
	mem->mm = vm ? NULL : current->mm;
	if (mem->mm)
		mmgrab(mem->mm);
	mem->vm = vm;
	mem->vaddr = vaddr;
	mem->npages = size >> PAGE_SHIFT;
	mem->write = write;
	mem->locked = 0;
	mem->first.prev = &mem->first;
	mem->first.jump = &mem->first;
	mem->first.depth = 0;
	mem->first.start = 0;
	vfio_pv_init_chunk(mem, &mem->first, mem->first_runs,
			   VFIO_PV_FIRST_RUNS);
}

/**
 * vfio_pv_mem_move() - account memory to the current process, and change its address
 * @mem: pinned
 * @vaddr: the new address, page aligned
 *
 * What is pinned stays pinned.
 *
 * Return: 0; -ENODEV no user memory; -ENOMEM RLIMIT_MEMLOCK; -EINTR. Nothing is
 * changed on failure.
 */
int vfio_pv_mem_move(struct vfio_pv_mem *mem, unsigned long vaddr)
{
	struct vfio_pv_mem old = { .mm = mem->mm, .locked = mem->locked };
	int ret;

	if (!current->mm)
		return -ENODEV;
	if (mem->mm != current->mm) {
		mem->mm = current->mm;
		mem->locked = 0;
		ret = vfio_pv_account(mem, old.locked);
		if (ret) {
			mem->mm = old.mm;
			mem->locked = old.locked;
			return ret;
		}
		mmgrab(mem->mm);
		vfio_pv_unaccount(&old);
		mmdrop(old.mm);
	}
	mem->vaddr = vaddr;
	return 0;
}

/**
 * vfio_pv_mem_release() - undo vfio_pv_mem_init() and vfio_pv_mem_pin()
 * @mem: the memory
 * @unpin: false if a device may still reach the pages: they stay pinned forever, and
 *	accounted
 *
 * Context: process, may sleep.
 */
void vfio_pv_mem_release(struct vfio_pv_mem *mem, bool unpin)
{
	struct vfio_pv_chunk *chunk, *next;
	struct vfio_pv_run *run;

	for (chunk = &mem->first; chunk; chunk = next) {
		next = chunk->next;
		for (run = chunk->runs; run < chunk->runs + chunk->nr; run++)
			if (unpin && run->pinned)
				unpin_user_page_range_dirty_lock(pfn_to_page(run->pfn),
								 run->npages,
								 mem->write);
		if (chunk == &mem->first)
			continue;
		kfree(chunk);
		cond_resched();
	}
	if (unpin)
		vfio_pv_unaccount(mem);
	if (mem->mm)
		mmdrop(mem->mm);
}

/*
 * Find the run that holds page number *index, which is set to its number in the run; or NULL.
 * Called with the tree lock held, so it must be fast: some tens of steps to the chunk, however
 * scattered the memory is, and at most VFIO_PV_CHUNK_RUNS steps in it.
 */
static const struct vfio_pv_run *vfio_pv_find_run(const struct vfio_pv_mem *mem,
						  unsigned long *index)
{
	const struct vfio_pv_chunk *chunk = mem->last;
	const struct vfio_pv_run *run;

	if (*index >= chunk->start + chunk->npages)
		return NULL;
	while (chunk->start > *index)
		chunk = chunk->jump->start > *index ? chunk->jump : chunk->prev;
	*index -= chunk->start;
	for (run = chunk->runs; *index >= run->npages; run++)
		*index -= run->npages;
	return run;
}

/**
 * vfio_pv_mem_page() - find a page of a mapping
 * @mem: pinned
 * @index: number of the page, from the start of the mapping
 *
 * Return: the page, or NULL if there is none or it is not pinned.
 */
struct page *vfio_pv_mem_page(const struct vfio_pv_mem *mem, unsigned long index)
{
	const struct vfio_pv_run *run = vfio_pv_find_run(mem, &index);

	return run && run->pinned ? pfn_to_page(run->pfn + index) : NULL;
}

/**
 * vfio_pv_mem_pfn() - find a page frame of a mapping
 * @mem: pinned
 * @index: number of the page, from the start of the mapping
 *
 * Return: the frame, or 0 if there is none.
 */
unsigned long vfio_pv_mem_pfn(const struct vfio_pv_mem *mem, unsigned long index)
{
	const struct vfio_pv_run *run = vfio_pv_find_run(mem, &index);

	return run ? run->pfn + index : 0;
}
