// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: calls for mediated devices.
 *
 * All pages of a mapping are pinned for as long as it exists. So a mediated
 * device needs no pin of its own. It is only counted how often each page is held by
 * one, and before a mapping is removed the devices are told to unpin it.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/overflow.h>

#include "vfio_pv_priv.h"

/* How often devices are told to unpin a mapping */
#define VFIO_PV_UNPIN_TRIES	10

/* Return: the mapping at an IOVA, with *offset set to the byte offset in it; or NULL. */
static struct vfio_pv_dma *vfio_pv_lookup(struct vfio_pv_container *c,
					  dma_addr_t iova, unsigned long *offset)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->tree_lock);
	if (iova != (unsigned long)iova)
		return NULL;
	dma = vfio_pv_first(c, iova, iova, VFIO_PV_MAPPED | VFIO_PV_TAKEN |
			    VFIO_PV_UNMAPPING);
	if (dma)
		*offset = iova - dma->node.start;
	return dma;
}

/* Hold a page, with the memory that @xas has: the caller looks at xas_error(), too */
static int vfio_pv_hold_locked(struct vfio_pv_container *c, dma_addr_t iova,
			       int prot, struct page **page, struct xa_state *xas)
{
	unsigned long offset;
	struct vfio_pv_dma *dma;
	void *old;

	if (list_empty(&c->devices))
		return -EINVAL;
	dma = vfio_pv_lookup(c, iova, &offset);
	if (!dma || dma->state != VFIO_PV_MAPPED)
		return -EINVAL;
	if ((dma->prot & prot) != prot)
		return -EPERM;
	*page = vfio_pv_mem_page(&dma->mem, offset >> PAGE_SHIFT);
	if (!*page)
		return -EINVAL;
	xas->xa = &dma->holds;
	xas_set(xas, offset >> PAGE_SHIFT);
	xas_lock(xas);
	old = xas_load(xas);
	xas_store(xas, xa_mk_value(old ? xa_to_value(old) + 1 : 1));
	xas_unlock(xas);
	if (!xas_error(xas))
		dma->nr_held += !old;
	return 0;
}

static int vfio_pv_hold(struct vfio_pv_container *c, dma_addr_t iova, int prot,
			struct page **page)
{
	static DEFINE_XARRAY(none);
	XA_STATE(xas, &none, 0);
	int ret;

	do {
		spin_lock(&c->tree_lock);
		ret = vfio_pv_hold_locked(c, iova, prot, page, &xas);
		spin_unlock(&c->tree_lock);
		/* The mapping may be gone by now, and xas_nomem() accesses the xarray */
		xas.xa = &none;
	} while (xas_nomem(&xas, GFP_KERNEL_ACCOUNT));
	return ret ?: xas_error(&xas);
}

static void vfio_pv_unhold(struct vfio_pv_container *c, dma_addr_t iova)
{
	unsigned long offset, index, count;
	struct vfio_pv_dma *dma;
	void *old;

	dma = vfio_pv_lookup(c, iova, &offset);
	if (!dma)
		return;
	index = offset >> PAGE_SHIFT;
	old = xa_load(&dma->holds, index);
	if (!old)
		return;
	count = xa_to_value(old) - 1;
	if (count) {
		/* Replaces what is there, so it needs no memory. */
		xa_store(&dma->holds, index, xa_mk_value(count), 0);
	} else {
		xa_erase(&dma->holds, index);
		dma->nr_held--;
	}
}

/**
 * vfio_pv_pin_pages() - hold pages for a mediated device
 * @c: the container
 * @iova: of the first page
 * @npage: number of pages
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @pages: filled with the pages
 *
 * Context: process; takes c->tree_lock.
 * Return: @npage; -EACCES version 1 of the interface; -EINVAL an IOVA without
 * pages, or no device that could be told to unpin; -COMPAT_EWRAPS a range that
 * wraps; -EPERM; -ENOMEM. After an error no page is held.
 */
int vfio_pv_pin_pages(struct vfio_pv_container *c, dma_addr_t iova, int npage,
		      int prot, struct page **pages)
{
	unsigned long last;
	int i, ret = 0;

	if (!pages || npage <= 0)
		return -EINVAL;
	if (!c->v2)
		return -EACCES;
	if (check_add_overflow(iova, npage * PAGE_SIZE - 1, &last))
		return -COMPAT_EWRAPS;

	for (i = 0; !ret && i < npage; i++)
		ret = vfio_pv_hold(c, iova + i * PAGE_SIZE, prot, &pages[i]);
	/* The page that failed, number i - 1, is not held. */
	if (ret && i > 1)
		vfio_pv_unpin_pages(c, iova, i - 1);
	return ret ?: npage;
}

/**
 * vfio_pv_unpin_pages() - undo vfio_pv_pin_pages()
 * @c: the container
 * @iova: of the first page
 * @npage: number of pages
 */
void vfio_pv_unpin_pages(struct vfio_pv_container *c, dma_addr_t iova, int npage)
{
	int i;

	for (i = 0; i < npage; i++) {
		spin_lock(&c->tree_lock);
		vfio_pv_unhold(c, iova + i * PAGE_SIZE);
		spin_unlock(&c->tree_lock);
	}
}

/* Copy up to the end of a page. Return: how many bytes, or a negative errno. */
static long vfio_pv_rw_page(struct vfio_pv_container *c, dma_addr_t iova,
			    void *data, size_t count, bool write)
{
	int prot = write ? IOMMU_WRITE : IOMMU_READ;
	struct vfio_pv_dma *dma;
	unsigned long offset;
	struct page *page;

	dma = vfio_pv_lookup(c, iova, &offset);
	if (!dma || dma->state != VFIO_PV_MAPPED)
		return -EINVAL;
	if (!(dma->prot & prot))
		return -EPERM;
	page = vfio_pv_mem_page(&dma->mem, offset >> PAGE_SHIFT);
	if (!page)
		return -EFAULT;
	offset = offset_in_page(offset);
	count = min_t(size_t, count, PAGE_SIZE - offset);
	if (write)
		memcpy_to_page(page, offset, data, count);
	else
		memcpy_from_page(data, page, offset, count);
	return count;
}

/**
 * vfio_pv_dma_rw() - read or write memory at an IOVA for a mediated device
 * @c: the container
 * @iova: where
 * @data: kernel memory to copy from or to
 * @count: number of bytes
 * @write: copy to the IOVA, not from it
 *
 * Return: 0; -EINVAL nothing is mapped; -EPERM; -EFAULT memory without pages.
 */
int vfio_pv_dma_rw(struct vfio_pv_container *c, dma_addr_t iova, void *data,
		   size_t count, bool write)
{
	long done = 0;

	while (count) {
		spin_lock(&c->tree_lock);
		done = vfio_pv_rw_page(c, iova, data, count, write);
		spin_unlock(&c->tree_lock);
		if (done < 0)
			break;
		iova += done;
		data += done;
		count -= done;
	}
	return done < 0 ? done : 0;
}

/**
 * vfio_pv_register_device() - add a device that was opened
 * @c: the container
 * @vdev: the device; ignored unless it wants to be told of unmaps
 */
void vfio_pv_register_device(struct vfio_pv_container *c, struct vfio_device *vdev)
{
	if (!vdev->ops->dma_unmap)
		return;
	mutex_lock(&c->devices_lock);
	spin_lock(&c->tree_lock);
	list_add(&vdev->iommu_entry, &c->devices);
	spin_unlock(&c->tree_lock);
	mutex_unlock(&c->devices_lock);
}

/**
 * vfio_pv_unregister_device() - remove a device that is being closed
 * @c: the container
 * @vdev: the device
 */
void vfio_pv_unregister_device(struct vfio_pv_container *c, struct vfio_device *vdev)
{
	if (!vdev->ops->dma_unmap)
		return;
	mutex_lock(&c->devices_lock);
	spin_lock(&c->tree_lock);
	list_del(&vdev->iommu_entry);
	spin_unlock(&c->tree_lock);
	mutex_unlock(&c->devices_lock);
}

static bool vfio_pv_held(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	bool held;

	spin_lock(&c->tree_lock);
	held = dma->nr_held;
	spin_unlock(&c->tree_lock);
	return held;
}

/**
 * vfio_pv_make_devices_unpin() - have mediated devices unpin a mapping
 * @c: the container
 * @dma: the mapping, being unmapped by the caller, so that it can't be pinned anew
 *
 * Context: process, may sleep; calls devices with c->devices_lock held.
 * Return: true if no device holds a page of it any more.
 */
bool vfio_pv_make_devices_unpin(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	struct vfio_device *vdev;
	int tries;

	/* Without the lock: in state UNMAPPING the count can't rise any more */
	if (!READ_ONCE(dma->nr_held))
		return true;
	for (tries = 0; tries < VFIO_PV_UNPIN_TRIES; tries++) {
		if (!vfio_pv_held(c, dma))
			return true;
		if (tries)
			msleep(tries);
		mutex_lock(&c->devices_lock);
		list_for_each_entry(vdev, &c->devices, iommu_entry)
			vdev->ops->dma_unmap(vdev, dma->node.start,
					     vfio_pv_dma_size(dma));
		mutex_unlock(&c->devices_lock);
	}
	pr_err_ratelimited("a device does not let go of pages that are unmapped\n");
	return false;
}
