/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests use of iommufd and of VFIO's device files, which the headers of
 * an older system do not have. Names are ours, numbers and layouts the kernel's.
 */
#ifndef LIB_IOMMUFD_H
#define LIB_IOMMUFD_H

#include <linux/types.h>
#include <linux/vfio.h>

#define FD_IOCTL(nr)		_IO(';', nr)
#define FD_DESTROY		FD_IOCTL(0x80)
#define FD_IOAS_ALLOC		FD_IOCTL(0x81)
#define FD_IOAS_RANGES		FD_IOCTL(0x84)
#define FD_IOAS_MAP		FD_IOCTL(0x85)
#define FD_IOAS_UNMAP		FD_IOCTL(0x86)
#define FD_HWPT_ALLOC		FD_IOCTL(0x89)
#define FD_HW_INFO		FD_IOCTL(0x8a)
#define FD_SET_DIRTY		FD_IOCTL(0x8b)
#define FD_GET_DIRTY		FD_IOCTL(0x8c)

#define FD_MAP_FIXED		0x1
#define FD_MAP_WRITEABLE	0x2
#define FD_MAP_READABLE		0x4
#define FD_HWPT_NEST_PARENT	0x1
#define FD_HWPT_DIRTY		0x2
#define FD_DIRTY_ENABLE		1
#define FD_CAP_DIRTY		0x1

struct fd_destroy {
	__u32 size;
	__u32 id;
};

struct fd_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_id;
};

struct fd_ioas_ranges {
	__u32 size;
	__u32 ioas;
	__u32 count;
	__u32 reserved;
	__aligned_u64 ranges;
	__aligned_u64 out_alignment;
};

struct fd_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas;
	__u32 reserved;
	__aligned_u64 vaddr;
	__aligned_u64 length;
	__aligned_u64 iova;
};

struct fd_ioas_unmap {
	__u32 size;
	__u32 ioas;
	__aligned_u64 iova;
	__aligned_u64 length;
};

struct fd_hwpt_alloc {
	__u32 size;
	__u32 flags;
	__u32 dev;
	__u32 pt;
	__u32 out_id;
	__u32 reserved;
	__u32 data_type;
	__u32 data_len;
	__aligned_u64 data;
	__u32 fault;
	__u32 reserved2;
};

struct fd_hw_info {
	__u32 size;
	__u32 flags;
	__u32 dev;
	__u32 data_len;
	__aligned_u64 data;
	__u32 out_type;
	__u8 out_pasid_bits;
	__u8 reserved[3];
	__aligned_u64 out_capabilities;
};

struct fd_set_dirty {
	__u32 size;
	__u32 flags;
	__u32 hwpt;
	__u32 reserved;
};

struct fd_get_dirty {
	__u32 size;
	__u32 hwpt;
	__u32 flags;
	__u32 reserved;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 page_size;
	__aligned_u64 data;
};

#define CDEV_BIND	_IO(VFIO_TYPE, VFIO_BASE + 18)
#define CDEV_ATTACH	_IO(VFIO_TYPE, VFIO_BASE + 19)
#define CDEV_DETACH	_IO(VFIO_TYPE, VFIO_BASE + 20)

struct cdev_bind {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_dev;
};

struct cdev_attach {
	__u32 argsz;
	__u32 flags;
	__u32 pt;
};

#endif /* LIB_IOMMUFD_H */
