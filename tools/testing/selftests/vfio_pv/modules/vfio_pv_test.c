// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device without an IOMMU, like a mediated device: it reaches memory of its container by pinning
 * pages, or by asking for a copy, and unpins pages when they are unmapped. A program tells it
 * what to do, see guest_mdev_test.
 */
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "vfio_pv_test.h"

/**
 * struct pv_test_held - a page that the device has pinned
 * @iova: of the page
 * @page: the page; NULL in a free slot
 */
struct pv_test_held {
	u64 iova;
	struct page *page;
};

/**
 * struct pv_test - the device
 * @vdev: for VFIO
 * @lock: protects the fields below
 * @keep: do not unpin pages that are unmapped
 * @state: for the program
 * @held: pages that are pinned
 */
struct pv_test {
	struct vfio_device vdev;
	struct mutex lock; /* the fields below */
	bool keep;
	struct pv_test_state state;
	struct pv_test_held held[PV_TEST_MAX_PAGES];
};

static struct pv_test *pv_test_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct pv_test, vdev);
}

static void pv_test_let_go(struct pv_test *t, u64 first, u64 last)
{
	struct pv_test_held *held;

	lockdep_assert_held(&t->lock);
	for (held = t->held; held < t->held + PV_TEST_MAX_PAGES; held++) {
		if (!held->page || held->iova < first || held->iova > last)
			continue;
		vfio_unpin_pages(&t->vdev, held->iova, 1);
		held->page = NULL;
		t->state.held--;
	}
}

static void pv_test_keep_pages(struct pv_test *t, u64 iova, struct page **pages,
			       u32 npage)
{
	struct pv_test_held *held = t->held;
	u32 i;

	lockdep_assert_held(&t->lock);
	for (i = 0; i < npage; i++, held++) {
		while (held->page)
			held++;
		held->iova = iova + i * PAGE_SIZE;
		held->page = pages[i];
	}
	t->state.held += npage;
}

static int pv_test_pin(struct pv_test *t, const struct pv_test_pages *arg)
{
	struct page **pages;
	int ret;

	lockdep_assert_held(&t->lock);
	if (arg->npage > PV_TEST_MAX_PAGES - t->state.held)
		return -ENOSPC;
	pages = kcalloc(PV_TEST_MAX_PAGES, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	ret = vfio_pin_pages(&t->vdev, arg->iova, arg->npage, arg->prot, pages);
	if (ret > 0)
		pv_test_keep_pages(t, arg->iova, pages, ret);
	kfree(pages);
	return ret;
}

static struct page *pv_test_find(struct pv_test *t, u64 iova)
{
	u32 i;

	lockdep_assert_held(&t->lock);
	for (i = 0; i < PV_TEST_MAX_PAGES; i++)
		if (t->held[i].page && t->held[i].iova == (iova & PAGE_MASK))
			return t->held[i].page;
	return NULL;
}

static int pv_test_copy_pinned(struct pv_test *t, const struct pv_test_copy *arg, void *data)
{
	size_t offset = offset_in_page(arg->iova);
	struct page *page = pv_test_find(t, arg->iova);

	if (!page)
		return -ENOENT;
	if (arg->len > PAGE_SIZE - offset)
		return -EINVAL;
	if (arg->flags & PV_TEST_WRITE)
		memcpy_to_page(page, offset, data, arg->len);
	else
		memcpy_from_page(data, page, offset, arg->len);
	return 0;
}

static int pv_test_copy(struct pv_test *t, const struct pv_test_copy *arg)
{
	bool write = arg->flags & PV_TEST_WRITE;
	void __user *user = u64_to_user_ptr(arg->data);
	void *data;
	int ret;

	if (arg->len > PV_TEST_MAX_PAGES * PAGE_SIZE)
		return -EINVAL;
	data = write ? memdup_user(user, arg->len) : kzalloc(arg->len, GFP_KERNEL);
	if (IS_ERR_OR_NULL(data))
		return data ? PTR_ERR(data) : -ENOMEM;
	if (arg->flags & PV_TEST_PINNED)
		ret = pv_test_copy_pinned(t, arg, data);
	else
		ret = vfio_dma_rw(&t->vdev, arg->iova, data, arg->len, write);
	if (!ret && !write && copy_to_user(user, data, arg->len))
		ret = -EFAULT;
	kfree(data);
	return ret;
}

static int pv_test_ioctl_pages(struct pv_test *t, unsigned int cmd, unsigned long arg)
{
	struct pv_test_pages pages;

	if (copy_from_user(&pages, (void __user *)arg, sizeof(pages)))
		return -EFAULT;
	if (cmd == PV_TEST_PIN)
		return pv_test_pin(t, &pages);
	pv_test_let_go(t, pages.iova, pages.iova + pages.npage * PAGE_SIZE - 1);
	return 0;
}

static int pv_test_do_ioctl(struct pv_test *t, unsigned int cmd, unsigned long arg)
{
	struct pv_test_copy copy;

	lockdep_assert_held(&t->lock);
	switch (cmd) {
	case PV_TEST_PIN:
	case PV_TEST_UNPIN:
		return pv_test_ioctl_pages(t, cmd, arg);
	case PV_TEST_COPY:
		if (copy_from_user(&copy, (void __user *)arg, sizeof(copy)))
			return -EFAULT;
		return pv_test_copy(t, &copy);
	case PV_TEST_STATE:
		return copy_to_user((void __user *)arg, &t->state, sizeof(t->state)) ?
			-EFAULT : 0;
	case PV_TEST_KEEP:
		t->keep = arg;
		return 0;
	default:
		return -ENOTTY;
	}
}

static long pv_test_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	struct pv_test *t = pv_test_of(vdev);
	int ret;

	mutex_lock(&t->lock);
	ret = pv_test_do_ioctl(t, cmd, arg);
	mutex_unlock(&t->lock);
	return ret;
}

static void pv_test_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct pv_test *t = pv_test_of(vdev);

	mutex_lock(&t->lock);
	t->state.unmaps++;
	t->state.iova = iova;
	t->state.size = length;
	if (!t->keep)
		pv_test_let_go(t, iova, iova + length - 1);
	mutex_unlock(&t->lock);
}

static int pv_test_open(struct vfio_device *vdev)
{
	struct pv_test *t = pv_test_of(vdev);

	mutex_lock(&t->lock);
	t->keep = false;
	memset(&t->state, 0, sizeof(t->state));
	mutex_unlock(&t->lock);
	return 0;
}

static void pv_test_close(struct vfio_device *vdev)
{
	struct pv_test *t = pv_test_of(vdev);

	mutex_lock(&t->lock);
	pv_test_let_go(t, 0, U64_MAX);
	mutex_unlock(&t->lock);
}

static const struct vfio_device_ops pv_test_ops = {
	.name			= "vfio-pv-test",
	.open_device		= pv_test_open,
	.close_device		= pv_test_close,
	.ioctl			= pv_test_ioctl,
	.dma_unmap		= pv_test_dma_unmap,
	.bind_iommufd		= vfio_iommufd_emulated_bind,
	.unbind_iommufd		= vfio_iommufd_emulated_unbind,
	.attach_ioas		= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas		= vfio_iommufd_emulated_detach_ioas,
};

static int pv_test_probe(struct platform_device *pdev)
{
	struct pv_test *t;
	int ret;

	t = vfio_alloc_device(pv_test, vdev, &pdev->dev, &pv_test_ops);
	if (IS_ERR(t))
		return PTR_ERR(t);
	mutex_init(&t->lock);
	platform_set_drvdata(pdev, t);
	ret = vfio_register_emulated_iommu_dev(&t->vdev);
	if (ret)
		vfio_put_device(&t->vdev);
	return ret;
}

static void pv_test_remove(struct platform_device *pdev)
{
	struct pv_test *t = platform_get_drvdata(pdev);

	vfio_unregister_group_dev(&t->vdev);
	vfio_put_device(&t->vdev);
}

static struct platform_driver pv_test_driver = {
	.driver = { .name = "vfio-pv-test" },
	.probe = pv_test_probe,
	.remove = pv_test_remove,
	.driver_managed_dma = true,
};

static struct platform_device *pv_test_device;

static int __init pv_test_init(void)
{
	int ret = platform_driver_register(&pv_test_driver);

	if (ret)
		return ret;
	pv_test_device = platform_device_register_simple("vfio-pv-test", PLATFORM_DEVID_NONE,
							 NULL, 0);
	if (IS_ERR(pv_test_device)) {
		platform_driver_unregister(&pv_test_driver);
		return PTR_ERR(pv_test_device);
	}
	return 0;
}
module_init(pv_test_init);

static void __exit pv_test_exit(void)
{
	platform_device_unregister(pv_test_device);
	platform_driver_unregister(&pv_test_driver);
}
module_exit(pv_test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A device that pins pages of its container, for tests of vfio_pv");
