// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: which pages may devices have written to?
 *
 * For each domain the host is asked. If it can't tell, and for mediated devices, every
 * page that is mapped writable counts as dirty. So more pages may be reported than were
 * written to, never fewer.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

/* As type1: 256 MiB of bits */
#define VFIO_PV_DIRTY_MAX_PAGES	((u64)INT_MAX)

static u64 vfio_pv_dirty_bytes(u64 npages)
{
	return DIV_ROUND_UP_ULL(npages, BITS_PER_TYPE(u64)) * sizeof(u64);
}

/**
 * vfio_pv_dirty_max() - how large a bitmap may be
 *
 * Return: bytes.
 */
u64 vfio_pv_dirty_max(void)
{
	return vfio_pv_dirty_bytes(VFIO_PV_DIRTY_MAX_PAGES);
}

/* ------------------------------------------------------------------ */
/* What is dirty */

/* Set the bits of everything that is mapped writable */
static void vfio_pv_dirty_writable(struct vfio_pv_container *c,
				   unsigned long iova, unsigned long last,
				   __le64 *bits)
{
	unsigned long start = iova, i, end;
	struct vfio_pv_dma *dma;

	spin_lock(&c->tree_lock);
	while (start <= last && start >= iova) {
		dma = vfio_pv_first(c, start, last,
				    VFIO_PV_MAPPED | VFIO_PV_CLAIMED);
		if (!dma)
			break;
		end = ((min(dma->node.last, last) - iova) >> PAGE_SHIFT) + 1;
		i = (max(dma->node.start, start) - iova) >> PAGE_SHIFT;
		for (; dma->prot & IOMMU_WRITE && i < end; i++)
			bits[i / 64] |= cpu_to_le64(1ULL << i % 64);
		start = dma->node.last + 1;
	}
	spin_unlock(&c->tree_lock);
}

/* Set the bits of all pages that may be dirty; with a table, what is mapped is not known here */
static void vfio_pv_dirty_guess(struct vfio_pv_container *c, unsigned long iova,
				unsigned long npages, __le64 *bits)
{
	unsigned long i;

	if (!vfio_pv_has_table(c)) {
		vfio_pv_dirty_writable(c, iova, iova + (npages << PAGE_SHIFT) - 1, bits);
		return;
	}
	for (i = 0; i < npages; i++)
		bits[i / 64] |= cpu_to_le64(1ULL << i % 64);
}

/* Collect the bits of all domains. @more is a second buffer of the same size as @bits. */
static void vfio_pv_dirty_collect(struct vfio_pv_container *c, unsigned long iova,
				  unsigned long npages, __le64 *bits, __le64 *more)
{
	bool guess = !list_empty(&c->emulated);
	struct vfio_pv_domain *d;
	unsigned long i;

	lockdep_assert_held(&c->lock);
	memset(bits, 0, vfio_pv_dirty_bytes(npages));
	list_for_each_entry(d, &c->domains, link) {
		if (guess)
			break;
		guess = pv_iommu_dirty_read(d->domain, iova, npages, more);
		for (i = 0; !guess && i < DIV_ROUND_UP(npages, 64); i++)
			bits[i] |= more[i];
	}
	if (guess)
		vfio_pv_dirty_guess(c, iova, npages, bits);
}

static bool vfio_pv_dirty_nothing_there(struct vfio_pv_container *c,
					unsigned long iova, unsigned long npages)
{
	bool nothing;

	if (vfio_pv_has_table(c))
		return false;
	spin_lock(&c->tree_lock);
	nothing = !vfio_pv_first(c, iova, iova + (npages << PAGE_SHIFT) - 1,
				 VFIO_PV_MAPPED | VFIO_PV_CLAIMED);
	spin_unlock(&c->tree_lock);
	return nothing;
}

/* Write the bits of a range to the user. @what: which ioctl, for vfio_pv_refuse() */
static int vfio_pv_dirty_write(struct vfio_pv_container *c, unsigned long iova,
			       u64 npages, u64 __user *to, __le64 *bits, __le64 *more,
			       const char *what)
{
	unsigned long n, i;
	bool failed;

	for (; npages; npages -= n) {
		n = min_t(u64, npages, PV_IOMMU_DIRTY_PAGES);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (vfio_pv_dirty_nothing_there(c, iova, n)) {
			failed = clear_user(to, vfio_pv_dirty_bytes(n));
		} else {
			vfio_pv_dirty_collect(c, iova, n, bits, more);
			for (i = 0; i < DIV_ROUND_UP(n, 64); i++)
				le64_to_cpus(&bits[i]);
			failed = copy_to_user(to, bits, vfio_pv_dirty_bytes(n));
		}
		if (failed)
			return vfio_pv_refuse(-EFAULT, what, "can't write the bits of IOVA",
					      iova);
		iova += n << PAGE_SHIFT;
		to += DIV_ROUND_UP(n, 64);
		cond_resched();
	}
	return 0;
}

/* As vfio_pv_dirty_write(), with buffers of its own. */
static int vfio_pv_dirty_report(struct vfio_pv_container *c, unsigned long iova,
				u64 npages, u64 __user *to, const char *what)
{
	size_t size = vfio_pv_dirty_bytes(PV_IOMMU_DIRTY_PAGES);
	__le64 *bits = kzalloc(2 * size, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!bits)
		return vfio_pv_refuse(-ENOMEM, what, "no memory for the bits of IOVA", iova);
	ret = vfio_pv_dirty_write(c, iova, npages, to, bits,
				  bits + size / sizeof(*bits), what);
	kfree(bits);
	return ret;
}

/* Whether a bitmap is large enough, and not too large, for so many pages */
static bool vfio_pv_dirty_bitmap_fits(const struct vfio_bitmap *bitmap, u64 npages)
{
	return npages && npages <= VFIO_PV_DIRTY_MAX_PAGES &&
	       bitmap->size <= vfio_pv_dirty_max() &&
	       bitmap->size >= vfio_pv_dirty_bytes(npages) &&
	       access_ok(bitmap->data, bitmap->size);
}

static int vfio_pv_dirty_check(struct vfio_pv_container *c, u64 iova, u64 size,
			       const struct vfio_bitmap *bitmap, const char *what)
{
	unsigned long pgsize = vfio_pv_min_pgsize(&c->layout);

	if (!c->dirty)
		return vfio_pv_refuse(-EINVAL, what, "not started, IOVA", iova);
	if (bitmap->pgsize != pgsize)
		return vfio_pv_refuse(-EINVAL, what, "wrong page size",
				      bitmap->pgsize);
	if (!size || (iova | size) & (pgsize - 1) || iova + size - 1 < iova ||
	    iova + size - 1 > ULONG_MAX)
		return vfio_pv_refuse(-EINVAL, what,
				      "size 0, misaligned or wraps, IOVA", iova);
	if (!vfio_pv_dirty_bitmap_fits(bitmap, size >> PAGE_SHIFT))
		return vfio_pv_refuse(-EINVAL, what, "bitmap of bytes",
				      bitmap->size);
	return 0;
}

/* ------------------------------------------------------------------ */
/* VFIO_IOMMU_DIRTY_PAGES */

static int vfio_pv_dirty_switch(struct vfio_pv_container *c, bool on)
{
	struct vfio_pv_domain *d;

	if (down_write_killable(&c->lock))
		return -EINTR;
	c->dirty = on;
	/* Errors are ignored: vfio_pv_dirty_collect() does without such a host */
	list_for_each_entry(d, &c->domains, link) {
		if (on)
			pv_iommu_dirty_start(d->domain);
		else
			pv_iommu_dirty_stop(d->domain);
	}
	up_write(&c->lock);
	return 0;
}

/* Whether an IOVA is within a mapping, and not at its start */
static bool vfio_pv_dirty_cuts(struct vfio_pv_container *c, unsigned long iova)
{
	struct vfio_pv_dma *dma;
	bool cuts;

	spin_lock(&c->tree_lock);
	dma = vfio_pv_first(c, iova, iova,
			    VFIO_PV_MAPPED | VFIO_PV_TAKEN);
	cuts = dma && dma->node.start != iova;
	spin_unlock(&c->tree_lock);
	return cuts;
}

static int vfio_pv_dirty_get(struct vfio_pv_container *c,
			     const struct vfio_iommu_type1_dirty_bitmap_get *get)
{
	u64 end = get->iova + get->size;
	int ret;

	if (get->size && get->iova + get->size - COMPAT_BITMAP_OF_LAST < get->iova)
		return vfio_pv_refuse(-COMPAT_EWRAPS, "DIRTY_PAGES", "the range wraps, IOVA",
				      get->iova);
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_dirty_check(c, get->iova, get->size, &get->bitmap,
				  "DIRTY_PAGES");
	if (!ret && (vfio_pv_dirty_cuts(c, get->iova) ||
		     (end && vfio_pv_dirty_cuts(c, end))))
		ret = vfio_pv_refuse(-EINVAL, "DIRTY_PAGES", "cuts a mapping, IOVA",
				     get->iova);
	if (!ret)
		ret = vfio_pv_dirty_report(c, get->iova, get->size >> PAGE_SHIFT,
					   get->bitmap.data, "DIRTY_PAGES");
	up_read(&c->lock);
	return ret;
}

/**
 * vfio_pv_dirty_pages() - VFIO_IOMMU_DIRTY_PAGES
 * @c: the container
 * @arg: user address of a struct vfio_iommu_type1_dirty_bitmap
 *
 * Return: 0; -EACCES version 1 of the interface; -EINVAL; -EFAULT; -ENOMEM;
 * -EINTR.
 */
long vfio_pv_dirty_pages(struct vfio_pv_container *c, unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dirty_bitmap, flags);
	struct vfio_iommu_type1_dirty_bitmap_get get;
	struct vfio_iommu_type1_dirty_bitmap dirty;

	if (!c->v2)
		return vfio_pv_refuse(-EACCES, "DIRTY_PAGES", "needs version 2, not", 1);
	if (copy_from_user(&dirty, (void __user *)arg, minsz))
		return vfio_pv_refuse(-EFAULT, "DIRTY_PAGES", "can't read its argument at",
				      arg);
	if (dirty.argsz < minsz)
		return vfio_pv_refuse(-EINVAL, "DIRTY_PAGES", "argsz is too small,",
				      dirty.argsz);
	switch (dirty.flags) {
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
		return vfio_pv_dirty_switch(c, true);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
		return vfio_pv_dirty_switch(c, false);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
		break;
	default:
		return vfio_pv_refuse(-EINVAL, "DIRTY_PAGES", "not one known flag,",
				      dirty.flags);
	}
	if (dirty.argsz - minsz < sizeof(get))
		return vfio_pv_refuse(-EINVAL, "DIRTY_PAGES", "argsz is too small,",
				      dirty.argsz);
	if (copy_from_user(&get, (void __user *)(arg + minsz), sizeof(get)))
		return vfio_pv_refuse(-EFAULT, "DIRTY_PAGES", "can't read the range at", arg);
	return vfio_pv_dirty_get(c, &get);
}

/* ------------------------------------------------------------------ */
/* VFIO_IOMMU_UNMAP_DMA with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP */

static int vfio_pv_unmap_and_report(struct vfio_pv_container *c,
				    const struct vfio_iommu_type1_dma_unmap *unmap,
				    const struct vfio_bitmap *bitmap, u64 *unmapped)
{
	unsigned long last = unmap->iova + unmap->size - 1;
	LIST_HEAD(taken);
	int ret;

	lockdep_assert_held(&c->lock);
	ret = vfio_pv_unmap_check(c, unmap);
	if (!ret)
		ret = vfio_pv_dirty_check(c, unmap->iova, unmap->size, bitmap,
					  "UNMAP_DMA");
	if (!ret)
		ret = vfio_pv_take(c, unmap->iova, last, true, &taken, unmapped);
	if (ret)
		return ret;
	ret = vfio_pv_dirty_report(c, unmap->iova, unmap->size >> PAGE_SHIFT,
				   bitmap->data, "UNMAP_DMA");
	if (list_empty(&taken))
		return ret;
	if (ret)
		vfio_pv_untake(c, &taken);
	else
		vfio_pv_unmap_taken(c, &taken, true);
	return ret;
}

/**
 * vfio_pv_unmap_dirty() - unmap, and report which pages were dirty
 * @c: the container
 * @unmap: from the user; flags are valid, other fields are unchecked
 * @arg: user address of the struct that @unmap was read from
 * @unmapped: set to how many bytes were unmapped
 *
 * Return: 0, the errors of vfio_pv_unmap(), -EINVAL for a bad bitmap; nothing is
 * unmapped on failure.
 */
int vfio_pv_unmap_dirty(struct vfio_pv_container *c,
			const struct vfio_iommu_type1_dma_unmap *unmap,
			unsigned long arg, u64 *unmapped)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_bitmap bitmap;
	int ret;

	if (unmap->argsz < minsz + sizeof(bitmap))
		return vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "argsz is too small,", unmap->argsz);
	if (copy_from_user(&bitmap, (void __user *)(arg + minsz), sizeof(bitmap)))
		return vfio_pv_refuse(-EFAULT, "UNMAP_DMA", "can't read its bitmap at", arg);
	/* As type1, before the range is looked at */
	if (!bitmap.pgsize ||
	    !vfio_pv_dirty_bitmap_fits(&bitmap, unmap->size >> __ffs64(bitmap.pgsize)))
		return vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "bitmap of bytes", bitmap.size);
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_unmap_and_report(c, unmap, &bitmap, unmapped);
	up_read(&c->lock);
	return ret;
}
