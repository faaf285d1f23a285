// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's kernel asks for what it can't have: a mapping of device memory (IOMMU_MMIO), as
 * dma_map_resource() and iommufd ask for it, beside a page that is mapped. The page must stay as
 * it is, in the domain's own record and at the host, whichever of two neighbours it is.
 *
 * The domain is attached nowhere. The checks run when the module is loaded, which fails with
 * EINVAL if one of them does; parameter "device" names a PCI device that has an IOMMU.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sizes.h>

#define STORE_IOVA	SZ_1M	/* the first of two pages that 8 KiB could hold */

static char *device;
module_param(device, charp, 0400);
MODULE_PARM_DESC(device, "PCI device that a domain is made for, as in 0000:00:10.0");

static bool store_is(struct iommu_domain *domain, unsigned long iova, phys_addr_t want,
		     const char *what)
{
	phys_addr_t is = iommu_iova_to_phys(domain, iova);

	if (is == want)
		return true;
	pr_err("%s: %lx leads to %pa instead of %pa\n", what, iova, &is, &want);
	return false;
}

/* @used is mapped, and device memory at @free is refused */
static bool store_check(struct iommu_domain *domain, unsigned long used, unsigned long free,
			phys_addr_t page)
{
	bool good = true;
	size_t size;
	int ret;

	ret = iommu_map(domain, used, page, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
	if (ret) {
		pr_err("can't map: %d\n", ret);
		return false;
	}
	ret = iommu_map(domain, free, page, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE | IOMMU_MMIO,
			GFP_KERNEL);
	if (ret != -EOPNOTSUPP) {
		pr_err("device memory: %d\n", ret);
		good = false;
	}
	good &= store_is(domain, used, page, "after device memory was refused");
	good &= store_is(domain, free, 0, "where it was refused");

	/* There is room for a page, and both can be unmapped one by one */
	ret = iommu_map(domain, free, page, PAGE_SIZE, IOMMU_READ, GFP_KERNEL);
	if (ret) {
		pr_err("can't map where device memory was refused: %d\n", ret);
		good = false;
	}
	size = iommu_unmap(domain, used, PAGE_SIZE);
	if (size != PAGE_SIZE) {
		pr_err("unmapped %zu bytes\n", size);
		good = false;
	}
	good &= store_is(domain, free, page, "after its neighbour was unmapped");
	iommu_unmap(domain, free, PAGE_SIZE);
	return good;
}

static int store_run(struct device *dev, struct page *page)
{
	struct iommu_domain *domain = iommu_paging_domain_alloc(dev);
	bool good;

	if (IS_ERR(domain))
		return PTR_ERR(domain);
	good = store_check(domain, STORE_IOVA, STORE_IOVA + PAGE_SIZE, page_to_phys(page));
	good &= store_check(domain, STORE_IOVA + PAGE_SIZE, STORE_IOVA, page_to_phys(page));
	iommu_domain_free(domain);
	return good ? 0 : -EINVAL;
}

static struct pci_dev *store_device(void)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (device && !strcmp(pci_name(pdev), device))
			return pdev;
	}
	return NULL;
}

static int __init store_init(void)
{
	struct pci_dev *pdev = store_device();
	struct page *page;
	int ret = -ENOMEM;

	if (!pdev)
		return -ENODEV;
	page = alloc_page(GFP_KERNEL);
	if (page)
		ret = store_run(&pdev->dev, page);
	if (page)
		__free_page(page);
	pci_dev_put(pdev);
	return ret;
}

static void __exit store_exit(void)
{
}

module_init(store_init);
module_exit(store_exit);

MODULE_DESCRIPTION("Test of the paravirtual IOMMU: device memory beside mapped pages");
MODULE_LICENSE("GPL");
