/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernel versions that this tree supports.
 *
 * Force-included into every source file. Only files in this folder compare
 * kernel versions; sources test the features that are named here. A feature
 * stands for the newer shape of an interface unless its name says otherwise.
 *
 * Supported are 6.12 (long term) and 7.3.
 */
#ifndef _PVIOMMU_COMPAT_H
#define _PVIOMMU_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "pv-iommu needs Linux 6.12.x or 7.3.x; these headers are older"
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
#error "pv-iommu needs Linux 6.12.x or 7.3.x; these headers are in between"
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#error "pv-iommu needs Linux 6.12.x or 7.3.x; these headers are newer"
#endif

/*
 * Moving a group from one domain to another in one step is what iommufd does;
 * the functions are exported to it by name, and their declarations are private.
 */
struct iommu_attach_handle;
struct iommu_domain;
struct iommu_group;
int iommu_replace_group_handle(struct iommu_group *group,
			       struct iommu_domain *new_domain,
			       struct iommu_attach_handle *handle);
void iommu_detach_group_handle(struct iommu_domain *domain,
			       struct iommu_group *group);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)

#define COMPAT_IMPORT_IOMMUFD_INTERNAL MODULE_IMPORT_NS("IOMMUFD_INTERNAL")

/*
 * iommu_ops.domain_alloc_paging_flags() and the dirty log of domains, for
 * iommufd; without CONFIG_IOMMUFD_DRIVER there is nobody to write a bitmap for.
 */
#if IS_ENABLED(CONFIG_IOMMUFD_DRIVER)
#define PVIOMMU_HAVE_DIRTY_OPS
#define COMPAT_IMPORT_IOMMUFD MODULE_IMPORT_NS("IOMMUFD")
#endif

/* Domains of generic page tables use the same memory of the gather for something else */
#define compat_gather_set_pgsize(domain, gather, size) do {	\
	if (!(domain)->is_iommupt)				\
		(gather)->pgsize = (size);			\
} while (0)

#define compat_zap_vma(vma, address, size) zap_vma_range(vma, address, size)

/*
 * If the IOMMU's driver can't attach a device, the core leaves it to the driver where the device is
 * then, and takes it to be where it was. Before, it attached the device there again.
 */
#define COMPAT_ATTACH_MAY_BLOCK true

/* Moves a PASID from one domain to another in one step; for iommufd, too, as above */
#define PVIOMMU_HAVE_REPLACE_PASID
struct device;
int iommu_replace_device_pasid(struct iommu_domain *domain, struct device *dev,
			       unsigned int pasid, struct iommu_attach_handle *handle);

/* iommu_domain_ops.attach_dev() is also given the domain it moves from */
#define PVIOMMU_HAVE_ATTACH_OLD

/* A PASID is detached by attaching the blocked domain, not by iommu_ops.remove_dev_pasid() */
#define PVIOMMU_HAVE_BLOCKED_PASID

/* vfio_device_ops.get_region_info_caps() takes over part of ioctl() */
#define PVIOMMU_HAVE_GET_REGION_INFO_CAPS

/* type1's error for a range that wraps; and its bitmap may include the very last page */
#define COMPAT_EWRAPS	EOVERFLOW
#define COMPAT_BITMAP_OF_LAST	1

/* vfio_device_ops.match_token_uuid() is to be set by every driver */
#define PVIOMMU_HAVE_MATCH_TOKEN_UUID

#else /* 6.12 */

#define COMPAT_ATTACH_MAY_BLOCK false

#define COMPAT_EWRAPS	EINVAL
#define COMPAT_BITMAP_OF_LAST	0

#define COMPAT_IMPORT_IOMMUFD_INTERNAL MODULE_IMPORT_NS(IOMMUFD_INTERNAL)

#define compat_gather_set_pgsize(domain, gather, size) \
	((void)(domain), (gather)->pgsize = (size))

#define compat_zap_vma(vma, address, size) \
	zap_page_range_single(vma, address, size, NULL)

#endif

#endif /* _PVIOMMU_COMPAT_H */
