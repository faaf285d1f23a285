/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * VFIO container interface of the paravirtual IOMMU.
 *
 * A container whose groups are behind the paravirtual IOMMU may be asked for
 * as VFIO_TYPE1_IOMMU or VFIO_TYPE1v2_IOMMU, and is then all that type1 is, or
 * as VFIO_PV_IOMMU, which is type1 v2 and what stands here besides.
 *
 * Errors: ENOTTY unknown command; EOPNOTSUPP unknown flag or granularity,
 * known to nobody or not to this domain; EINVAL bad value, or argsz too small;
 * EFAULT memory that can't be read; E2BIG argsz is larger than this kernel
 * knows and the rest is not zero.
 */
#ifndef _UAPI_LINUX_VFIO_PV_H
#define _UAPI_LINUX_VFIO_PV_H

#include <linux/types.h>
#include <linux/ioctl.h>
#include <linux/vfio.h>

/**
 * VFIO_PV_IOMMU: for VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU.
 *
 * VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA work as
 * under VFIO_TYPE1v2_IOMMU, with the additions below.
 */
#define VFIO_PV_IOMMU		0x5056

/**
 * VFIO_PV_UNMAP_FLAG_NO_FLUSH: flag of struct vfio_iommu_type1_dma_unmap.
 *
 * The range is unmapped but the IOTLB is not flushed: the pages stay pinned,
 * and a device may reach them, until a VFIO_PV_IOMMU_INVALIDATE that covers
 * them. Mapping the same IOVA again before that is refused with EBUSY.
 */
#define VFIO_PV_UNMAP_FLAG_NO_FLUSH	(1U << 31)

/**
 * enum vfio_pv_granularity - how much an invalidation covers
 * @VFIO_PV_INV_DOMAIN: the whole container; addr and size must be 0
 * @VFIO_PV_INV_PASID: all of one PASID
 * @VFIO_PV_INV_PAGE: the pages of [addr, addr + size)
 */
enum vfio_pv_granularity {
	VFIO_PV_INV_DOMAIN = 0,
	VFIO_PV_INV_PASID = 1,
	VFIO_PV_INV_PAGE = 2,
};

#define VFIO_PV_INV_FLAG_LEAF	(1U << 0)	/* no intermediate table was changed */
#define VFIO_PV_PASID_NONE	0xffffffffU

/**
 * struct vfio_pv_iommu_invalidate - argument of VFIO_PV_IOMMU_INVALIDATE
 * @argsz: size of this structure
 * @flags: VFIO_PV_INV_FLAG_*
 * @granularity: enum vfio_pv_granularity
 * @pasid: VFIO_PV_PASID_NONE, or the PASID with VFIO_PV_INV_PASID and _PAGE
 * @addr: first IOVA, page aligned; 0 with VFIO_PV_INV_DOMAIN
 * @size: bytes, page aligned, not 0; 0 with VFIO_PV_INV_DOMAIN
 */
struct vfio_pv_iommu_invalidate {
	__u32 argsz;
	__u32 flags;
	__u32 granularity;
	__u32 pasid;
	__aligned_u64 addr;
	__aligned_u64 size;
};

/**
 * VFIO_PV_IOMMU_INVALIDATE - make earlier removals effective
 *
 * When it returns, no device of the container reaches pages that were unmapped
 * before the call and that it covers, and these pages are unpinned.
 *
 * Return: 0; EOPNOTSUPP unknown flag or granularity, or a PASID where there
 * are none; EINVAL alignment, size 0, or a bad argsz; EOVERFLOW @addr + @size
 * wraps; EIO the host stopped the interface.
 */
#define VFIO_PV_IOMMU_INVALIDATE	_IO(VFIO_TYPE, VFIO_BASE + 64)

#endif /* _UAPI_LINUX_VFIO_PV_H */
