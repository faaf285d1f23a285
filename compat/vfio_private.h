/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of drivers/vfio/vfio.h that a container backend needs.
 *
 * The functions are exported to modules but their declarations are in no
 * header package, so they are repeated here for building out of tree. A wrong
 * member order would compile and then crash: only kernels whose vfio.h was
 * compared with this file are let through, and tools/build/check-vfio-private
 * repeats the comparison wherever there is a kernel source.
 */
#ifndef _PVIOMMU_COMPAT_VFIO_PRIVATE_H
#define _PVIOMMU_COMPAT_VFIO_PRIVATE_H

#include <linux/types.h>
#include <linux/version.h>
#include <linux/vfio.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
/* compared */
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0) && \
	LINUX_VERSION_CODE < KERNEL_VERSION(7, 4, 0)
/* compared */
#else
#error "the VFIO declarations in compat/ were not compared with this kernel"
#endif

#if !IS_ENABLED(CONFIG_VFIO_CONTAINER)
#error "this kernel has no VFIO containers (CONFIG_VFIO_CONTAINER is off)"
#endif

struct iommu_domain;
struct iommu_group;
struct module;
struct page;

/* What stands behind the group that a backend is asked to take. */
enum vfio_group_type {
	VFIO_IOMMU,		/* a device behind a physical IOMMU */
	VFIO_EMULATED_IOMMU,	/* a mediated device, DMA done by its driver */
	VFIO_NO_IOMMU,		/* an unprotected device, by opt-in */
};

/*
 * One container backend. @open is called with the type that user space asked
 * for and its result is handed to all the other calls as iommu_data.
 */
struct vfio_iommu_driver_ops {
	char		*name;
	struct module	*owner;
	void		*(*open)(unsigned long arg);
	void		(*release)(void *iommu_data);
	long		(*ioctl)(void *iommu_data, unsigned int cmd,
				 unsigned long arg);
	int		(*attach_group)(void *iommu_data,
					struct iommu_group *group,
					enum vfio_group_type);
	void		(*detach_group)(void *iommu_data,
					struct iommu_group *group);
	int		(*pin_pages)(void *iommu_data,
				     struct iommu_group *group,
				     dma_addr_t user_iova,
				     int npage, int prot,
				     struct page **pages);
	void		(*unpin_pages)(void *iommu_data,
				       dma_addr_t user_iova, int npage);
	void		(*register_device)(void *iommu_data,
					   struct vfio_device *vdev);
	void		(*unregister_device)(void *iommu_data,
					     struct vfio_device *vdev);
	int		(*dma_rw)(void *iommu_data, dma_addr_t user_iova,
				  void *data, size_t count, bool write);
	struct iommu_domain *(*group_iommu_domain)(void *iommu_data,
						   struct iommu_group *group);
};

int vfio_register_iommu_driver(const struct vfio_iommu_driver_ops *ops);
void vfio_unregister_iommu_driver(const struct vfio_iommu_driver_ops *ops);

#endif /* _PVIOMMU_COMPAT_VFIO_PRIVATE_H */
