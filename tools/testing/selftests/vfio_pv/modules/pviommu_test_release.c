// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gives memory back to the host when it is loaded, as a balloon does, but memory that the test
 * chooses. It stays the test's: the host provides other pages when it is touched again.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/pfn.h>
#include <linux/pv_iommu.h>

static unsigned long long gpa;
module_param(gpa, ullong, 0400);
MODULE_PARM_DESC(gpa, "guest physical address of the memory");

static unsigned int pages;
module_param(pages, uint, 0400);
MODULE_PARM_DESC(pages, "how many pages it has");

static unsigned long pfns[PV_IOMMU_RELEASE_MAX];

static int __init release_init(void)
{
	unsigned int i;
	u64 freed = 0;
	int ret;

	if (pages > PV_IOMMU_RELEASE_MAX)
		return -EINVAL;
	for (i = 0; i < pages; i++)
		pfns[i] = PHYS_PFN(gpa) + i;
	ret = pv_iommu_release(pfns, pages, &freed);
	if (ret)
		return ret;
	if (freed == (u64)pages << PAGE_SHIFT)
		return 0;
	pr_err("the host freed %llu bytes of %u pages\n", freed, pages);
	return -EIO;
}

static void __exit release_exit(void)
{
}

module_init(release_init);
module_exit(release_exit);

MODULE_DESCRIPTION("Test of the paravirtual IOMMU: memory that is given back");
MODULE_LICENSE("GPL");
