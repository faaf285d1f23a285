/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a program tells the device of vfio_pv_test: ioctls of the device's file.
 */
#ifndef VFIO_PV_TEST_H
#define VFIO_PV_TEST_H

#include <linux/types.h>
#include <linux/vfio.h>

/* How many pages the device can have pinned at a time */
#define PV_TEST_MAX_PAGES	64

#define PV_TEST_WRITE		1	/* @flags: the device writes */
#define PV_TEST_PINNED		2	/* @flags: by pinned pages, not by vfio_dma_rw() */

/**
 * struct pv_test_pages - pin or unpin pages
 * @iova: of the first page
 * @npage: how many pages
 * @prot: IOMMU_READ (1), IOMMU_WRITE (2)
 */
struct pv_test_pages {
	__aligned_u64 iova;
	__u32 npage;
	__u32 prot;
};

/**
 * struct pv_test_copy - the device reads or writes memory by its IOVA
 * @iova: of the memory
 * @data: user address to copy to or from
 * @len: bytes, at most a page if @flags has PV_TEST_PINNED
 * @flags: PV_TEST_*
 */
struct pv_test_copy {
	__aligned_u64 iova;
	__aligned_u64 data;
	__u32 len;
	__u32 flags;
};

/**
 * struct pv_test_state - what has happened to the device
 * @unmaps: how many times it was told of an unmap
 * @held: how many pages are pinned
 * @iova: of the last unmap
 * @size: of the last unmap
 */
struct pv_test_state {
	__u32 unmaps;
	__u32 held;
	__aligned_u64 iova;
	__aligned_u64 size;
};

#define PV_TEST_PIN	_IO(VFIO_TYPE, VFIO_BASE + 80)
#define PV_TEST_UNPIN	_IO(VFIO_TYPE, VFIO_BASE + 81)
#define PV_TEST_COPY	_IO(VFIO_TYPE, VFIO_BASE + 82)
#define PV_TEST_STATE	_IO(VFIO_TYPE, VFIO_BASE + 83)
/* Argument not 0: from now on, do not unpin pages that are unmapped */
#define PV_TEST_KEEP	_IO(VFIO_TYPE, VFIO_BASE + 84)

#endif /* VFIO_PV_TEST_H */
