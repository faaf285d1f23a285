/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernel versions that this tree supports.
 *
 * Force-included into every source file. Only files in this folder compare
 * kernel versions; sources test the features that are named here. A feature
 * stands for the newer shape of an interface unless its name says otherwise.
 *
 * Supported is 6.12 (long term). Features of 7.x are named as far as they are
 * known; nothing has been built with it yet.
 */
#ifndef _PVIOMMU_COMPAT_H
#define _PVIOMMU_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "pv-iommu needs Linux 6.12.x; these headers are older"
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#error "pv-iommu needs Linux 6.12.x; these headers are newer"
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)

/* iommu_domain_ops.attach_dev() is also given the domain it moves from */
#define PVIOMMU_HAVE_ATTACH_OLD

/* vfio_device_ops.get_region_info_caps() takes over part of ioctl() */
#define PVIOMMU_HAVE_GET_REGION_INFO_CAPS

/* vfio_device_ops.match_token_uuid() is to be set by every driver */
#define PVIOMMU_HAVE_MATCH_TOKEN_UUID

#else /* 6.12 */

/*
 * Moving a group from one domain to another in one step is what iommufd does;
 * the function is exported to it by name, and its declaration is private.
 */
struct iommu_domain;
struct iommu_group;
int iommu_group_replace_domain(struct iommu_group *group,
			       struct iommu_domain *new_domain);
#define compat_iommu_replace_group(group, domain) \
	iommu_group_replace_domain(group, domain)
#define COMPAT_IMPORT_IOMMUFD_INTERNAL MODULE_IMPORT_NS(IOMMUFD_INTERNAL)

/* iommu_ops.pgsize_bitmap exists; later each domain sets its own */
#define PVIOMMU_HAVE_OPS_PGSIZE_BITMAP

#endif

#endif /* _PVIOMMU_COMPAT_H */
