/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * VFIO container interface of the paravirtual IOMMU.
 *
 * A container whose groups are behind the paravirtual IOMMU can have the type
 * VFIO_TYPE1_IOMMU or VFIO_TYPE1v2_IOMMU, and then works as with type 1, or the
 * type VFIO_PV_IOMMU, which is type 1 v2 with the additions of this header. The
 * reference is Documentation/userspace-api/vfio_pv.rst.
 *
 * Errors: ENOTTY unknown command; EOPNOTSUPP unknown flag or granularity, or one
 * that this domain does not support; EINVAL bad value, or argsz too small;
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
 * The range is unmapped, but the IOTLB is not flushed: the pages stay pinned,
 * and a device may reach them, until a VFIO_PV_IOMMU_INVALIDATE that covers
 * them. Mapping the same IOVA again before that fails with EBUSY.
 */
#define VFIO_PV_UNMAP_FLAG_NO_FLUSH	(1U << 31)

/**
 * VFIO_PV_MAP_FLAG_FOREIGN: flag of VFIO_IOMMU_MAP_DMA, whose argument is then a
 * struct vfio_pv_dma_map, and of struct vfio_pv_batch_entry.
 *
 * Maps memory of another machine instead of memory of the process. The host's
 * administrator must have granted that memory to this machine. Needs
 * CAP_SYS_ADMIN.
 */
#define VFIO_PV_MAP_FLAG_FOREIGN	(1U << 31)

/**
 * struct vfio_pv_dma_map - extended argument of VFIO_IOMMU_MAP_DMA
 * @argsz: size of this structure
 * @flags: VFIO_PV_MAP_FLAG_FOREIGN, and VFIO_DMA_MAP_FLAG_READ, _WRITE or both
 * @vaddr: first guest physical address of the memory in the other machine, page
 *	aligned
 * @iova: first IOVA
 * @size: bytes
 * @vm: the host's number of the other machine, not 0
 * @reserved: 0
 *
 * No memory of this machine is pinned or counts against RLIMIT_MEMLOCK; the host
 * charges the memory to this machine. The mapping ends without asking anybody when
 * the grant is taken back or the memory leaves the other machine. There is a
 * VFIO_PV_EVENT_REVOKED then, and the IOVAs stay taken until they are unmapped.
 *
 * Errors, besides those of VFIO_IOMMU_MAP_DMA: EPERM no CAP_SYS_ADMIN; EOPNOTSUPP the
 * host has no such mappings, or the container has mediated devices only; EACCES there
 * is no grant, whatever the reason.
 */
struct vfio_pv_dma_map {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 vaddr;
	__aligned_u64 iova;
	__aligned_u64 size;
	__u32 vm;
	__u32 reserved;
};

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
 * VFIO_PV_IOMMU_INVALIDATE - make earlier unmaps effective
 *
 * When it returns 0, no device of the container reaches any page that was unmapped
 * before the call and that the call covers, and these pages are unpinned.
 *
 * Return: 0; EOPNOTSUPP unknown flag or granularity, or a PASID where there
 * are none; EINVAL alignment, size 0, or a bad argsz; EOVERFLOW @addr + @size
 * wraps; E2BIG; EFAULT; EINTR; EIO the host did not do it, or the interface is
 * stopped, and nothing is unpinned.
 */
#define VFIO_PV_IOMMU_INVALIDATE	_IO(VFIO_TYPE, VFIO_BASE + 64)

/* ------------------------------------------------------------------ */
/* Many ranges in one call                                             */

/** VFIO_PV_BATCH_MAX: largest number of entries of a batch */
#define VFIO_PV_BATCH_MAX	65536

/**
 * VFIO_PV_BATCH_FLAG_CONTINUE: continue after an entry that failed.
 *
 * Without it no further entries are tried once one has failed. As several entries
 * are processed at a time, a few after the failed one may have been carried out, too.
 */
#define VFIO_PV_BATCH_FLAG_CONTINUE	(1U << 0)

/** VFIO_PV_BATCH_FLAG_NO_FLUSH: unmap as with VFIO_PV_UNMAP_FLAG_NO_FLUSH */
#define VFIO_PV_BATCH_FLAG_NO_FLUSH	(1U << 1)

/**
 * struct vfio_pv_batch_entry - one range of a batch
 * @iova: first IOVA
 * @vaddr: map: user address, or guest physical address with
 *	VFIO_PV_MAP_FLAG_FOREIGN; unmap: 0
 * @size: bytes; unmap: on return, how many were mapped there
 * @flags: map: VFIO_DMA_MAP_FLAG_READ and _WRITE, VFIO_PV_MAP_FLAG_FOREIGN;
 *	unmap: 0
 * @vm: with VFIO_PV_MAP_FLAG_FOREIGN: the host's number of the other machine
 * @result: on return, in place of @vm: 0, or the negative errno that the ioctl for this
 *	range alone would have given; -ECANCELED for an entry that was not tried
 */
struct vfio_pv_batch_entry {
	__aligned_u64 iova;
	__aligned_u64 vaddr;
	__aligned_u64 size;
	__u32 flags;
	union {
		__u32 vm;
		__s32 result;
	};
};

/**
 * struct vfio_pv_iommu_batch - argument of VFIO_PV_IOMMU_MAP and _UNMAP
 * @argsz: size of this structure
 * @flags: VFIO_PV_BATCH_FLAG_*
 * @entries: user address of an array of struct vfio_pv_batch_entry
 * @count: number of entries, 1 to VFIO_PV_BATCH_MAX
 * @done: on return, number of entries with the result 0
 */
struct vfio_pv_iommu_batch {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 entries;
	__u32 count;
	__u32 done;
};

/**
 * VFIO_PV_IOMMU_MAP - map many ranges; VFIO_PV_IOMMU_UNMAP unmaps them
 *
 * Each entry has the effect of a VFIO_IOMMU_MAP_DMA or _UNMAP_DMA, in the
 * order of the array, but many entries share a hypercall and a flush. When the
 * call returns, all entries with the result 0 are in effect.
 *
 * Return: 0 even if entries have failed: compare @done with @count; EOPNOTSUPP
 * unknown flag; EINVAL a bad argsz, count or alignment of @entries; E2BIG; EFAULT an
 * entry can't be read or written; EINTR; ENOMEM; ENODEV (map only) there is no
 * group any more. After EFAULT, EINTR and ENODEV the results of the entries are
 * valid as far as they could be written.
 */
#define VFIO_PV_IOMMU_MAP	_IO(VFIO_TYPE, VFIO_BASE + 65)
#define VFIO_PV_IOMMU_UNMAP	_IO(VFIO_TYPE, VFIO_BASE + 66)

/* ------------------------------------------------------------------ */
/* Events                                                              */

/**
 * enum vfio_pv_event_type - what has happened
 * @VFIO_PV_EVENT_FAULT: a device used an IOVA that it must not use: @iova,
 *	@group. A host may report only one of several similar faults.
 * @VFIO_PV_EVENT_REVOKED: memory has left this machine, or the other machine that it
 *	belongs to, or the grant for it was taken back: mappings of it lead
 *	nowhere any more: @iova, @size, @vm, @gpa
 * @VFIO_PV_EVENT_ISOLATED: the host has cut a group off after an error: @group
 * @VFIO_PV_EVENT_GONE: the host has taken a device away: @group
 * @VFIO_PV_EVENT_LOST: events were lost because there was no room: @size is
 *	their number, or 0 if it is not known, or after a restart in which the host
 *	did not accept everything that was mapped
 * @VFIO_PV_EVENT_RELEASE: the owner of the memory gives it back to the host, which
 *	will cut off mappings of it: unmap it now: @iova, @size, @vm, @gpa
 */
enum vfio_pv_event_type {
	VFIO_PV_EVENT_FAULT = 1,
	VFIO_PV_EVENT_REVOKED = 2,
	VFIO_PV_EVENT_ISOLATED = 3,
	VFIO_PV_EVENT_GONE = 4,
	VFIO_PV_EVENT_LOST = 5,
	VFIO_PV_EVENT_RELEASE = 6,
};

#define VFIO_PV_EVENT_FLAG_WRITE	(1U << 0)	/* FAULT: it was a write */
/*
 * FAULT: no device has used the IOVA yet, but the host found a bad entry in the table
 * that VFIO_PV_IOMMU_BIND_TABLE has bound: accesses to @size bytes at @iova fault, the
 * entry is at @gpa, and VFIO_PV_EVENT_REASON() of the flags is PVIOMMU_BAD_* of
 * <linux/pv_iommu.h>
 */
#define VFIO_PV_EVENT_FLAG_ENTRY	(1U << 1)
#define VFIO_PV_EVENT_REASON(flags)	(((flags) >> 8) & 0xff)
#define VFIO_PV_NO_GROUP		0xffffffffU

/**
 * struct vfio_pv_event - an event
 * @seq: number of the event, from 1 on, without gaps except after a
 *	VFIO_PV_EVENT_LOST, which has the number of the first event that is lost
 * @type: enum vfio_pv_event_type
 * @flags: VFIO_PV_EVENT_FLAG_*, and a reason
 * @iova: see the types
 * @size: see the types
 * @pasid: VFIO_PV_PASID_NONE or the PASID of a fault
 * @group: number of the group in /dev/vfio, or VFIO_PV_NO_GROUP
 * @gpa: guest physical address in the machine @vm; if @vm is 0: that of a bad entry, or 0
 * @vm: the host's number of the other machine, 0 for memory of this one
 * @reserved: 0
 */
struct vfio_pv_event {
	__aligned_u64 seq;
	__u32 type;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 size;
	__u32 pasid;
	__u32 group;
	__aligned_u64 gpa;
	__u32 vm;
	__u32 reserved;
};

/**
 * struct vfio_pv_iommu_eventfd - argument of VFIO_PV_IOMMU_EVENTFD
 * @argsz: size of this structure
 * @flags: 0
 * @fd: an eventfd to be signalled for each event, -1 for none
 * @reserved: 0
 */
struct vfio_pv_iommu_eventfd {
	__u32 argsz;
	__u32 flags;
	__s32 fd;
	__u32 reserved;
};

/**
 * VFIO_PV_IOMMU_EVENTFD - set the eventfd that is signalled for each event
 *
 * Replaces the previous eventfd. If events are waiting, it is signalled at once.
 *
 * Return: 0; EOPNOTSUPP unknown flag; EINVAL a bad argsz, @reserved, or @fd is
 * no eventfd; EBADF @fd is not open; E2BIG; EFAULT.
 */
#define VFIO_PV_IOMMU_EVENTFD	_IO(VFIO_TYPE, VFIO_BASE + 67)

/**
 * struct vfio_pv_iommu_events - argument of VFIO_PV_IOMMU_READ_EVENTS
 * @argsz: size of this structure
 * @flags: 0
 * @events: user address of an array of struct vfio_pv_event
 * @count: number of events that there is room for; on return, number of events read
 * @left: on return, number of events that still wait to be read
 */
struct vfio_pv_iommu_events {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 events;
	__u32 count;
	__u32 left;
};

/**
 * VFIO_PV_IOMMU_READ_EVENTS - read events, the oldest first
 *
 * Does not wait. An event that can't be written to @events is kept.
 *
 * Return: 0; EOPNOTSUPP unknown flag; EINVAL a bad argsz or alignment of
 * @events; E2BIG; EFAULT; EINTR.
 */
#define VFIO_PV_IOMMU_READ_EVENTS	_IO(VFIO_TYPE, VFIO_BASE + 68)

/* ------------------------------------------------------------------ */
/* Debugging                                                           */

#define VFIO_PV_LOOKUP_UNFLUSHED	(1U << 0)	/* unmapped without a flush */
#define VFIO_PV_LOOKUP_BUSY		(1U << 1)	/* being mapped or unmapped */
#define VFIO_PV_LOOKUP_REVOKED		(1U << 2)	/* leads nowhere, see the event */

/**
 * struct vfio_pv_iommu_lookup - argument of VFIO_PV_IOMMU_LOOKUP
 * @argsz: size of this structure
 * @flags: 0; on return VFIO_PV_LOOKUP_*
 * @iova: any address
 * @start: on return, first IOVA of the mapping that contains @iova
 * @size: on return, size of that mapping in bytes
 * @vaddr: on return, user address that was mapped at @start, or its guest
 *	physical address in the other machine
 * @phys: on return, guest physical address that @iova leads to; 0 if it leads
 *	nowhere or is being mapped or unmapped
 * @prot: on return, VFIO_DMA_MAP_FLAG_READ and _WRITE
 * @vm: 0; on return, the host's number of the machine that the memory belongs to,
 *	0 for this one
 */
struct vfio_pv_iommu_lookup {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 start;
	__aligned_u64 size;
	__aligned_u64 vaddr;
	__aligned_u64 phys;
	__u32 prot;
	__u32 vm;
};

/**
 * VFIO_PV_IOMMU_LOOKUP - look up where an IOVA leads; needs CAP_SYS_ADMIN
 *
 * Return: 0; EPERM; ENOENT nothing is mapped there; EOPNOTSUPP unknown flag; EINVAL
 * a bad argsz, @vm or @iova; E2BIG; EFAULT; EINTR; EIO the host does not answer, or
 * the interface was restarted during the call.
 */
#define VFIO_PV_IOMMU_LOOKUP	_IO(VFIO_TYPE, VFIO_BASE + 69)

/* ------------------------------------------------------------------ */
/* The caller's own page table                                         */

/** VFIO_PV_BIND_FLAG_WATCH: entries that CPUs add to the table need no INVALIDATE */
#define VFIO_PV_BIND_FLAG_WATCH	(1U << 0)

/**
 * struct vfio_pv_iommu_bind_table - argument of VFIO_PV_IOMMU_BIND_TABLE
 * @argsz: size of this structure
 * @flags: VFIO_PV_BIND_FLAG_WATCH
 * @format: PVIOMMU_TABLE_X86_64_4 or _5 of <linux/pv_iommu.h>
 * @reserved: 0
 * @root: physical address of the table's first page, page aligned
 */
struct vfio_pv_iommu_bind_table {
	__u32 argsz;
	__u32 flags;
	__u32 format;
	__u32 reserved;
	__aligned_u64 root;
};

/**
 * VFIO_PV_IOMMU_BIND_TABLE - make devices reach what a page table maps; needs
 * CAP_SYS_ADMIN
 *
 * Addresses of the table, and addresses in it, are physical addresses of this
 * machine. The kernel neither checks nor pins what they name, so devices can reach
 * all memory. The caller must make sure that the pages stay where they are.
 *
 * The container must have devices and no mappings, and takes none from then on
 * (EOPNOTSUPP), until its last group has left. VFIO_PV_IOMMU_INVALIDATE makes the
 * host look at the table; before the first one nothing is translated. A bad entry
 * is a hole, and causes an event. With VFIO_PV_BIND_FLAG_WATCH, an entry that a CPU
 * adds after the first look takes effect when it is stored; removing or changing
 * an entry still requires VFIO_PV_IOMMU_INVALIDATE.
 *
 * Return: 0; EPERM; EOPNOTSUPP unknown flag or format, or the host has no such
 * domains, or can't watch memory of this machine; EINVAL a bad argsz, @reserved or
 * @root; E2BIG; EFAULT @root is not RAM; EBUSY there are mappings, a table, no
 * devices or several kinds of them, or a device is being reset or was cut off after
 * an error; ENOSPC the host's limit on domains; ENODEV or ENOENT the host does not
 * move the devices; ENOMEM; EIO; EINTR.
 */
#define VFIO_PV_IOMMU_BIND_TABLE	_IO(VFIO_TYPE, VFIO_BASE + 72)

/* ------------------------------------------------------------------ */
/* VFIO_IOMMU_GET_INFO                                                 */

/** VFIO_PV_INFO_CAP_LIMITS: id of a capability in VFIO_IOMMU_GET_INFO */
#define VFIO_PV_INFO_CAP_LIMITS	0x5056

#define VFIO_PV_INFO_FOREIGN	(1ULL << 0)	/* VFIO_PV_MAP_FLAG_FOREIGN */
#define VFIO_PV_INFO_TABLES	(1ULL << 1)	/* VFIO_PV_IOMMU_BIND_TABLE */

/**
 * struct vfio_pv_info_cap_limits - what a container of VFIO_PV_IOMMU allows
 * @header: id VFIO_PV_INFO_CAP_LIMITS, version 2
 * @max_batch: largest number of entries of a batch
 * @group_batch: number of entries of a batch that share hypercalls and flushes
 * @max_mappings: largest number of mappings
 * @max_events: number of events that can wait to be read before events are lost
 * @granularities: bit n is set if VFIO_PV_IOMMU_INVALIDATE supports granularity n
 * @window_start: lowest IOVA that can be mapped
 * @window_last: highest IOVA that can be mapped, inclusive; for reserved ranges between
 *	the two see VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE
 * @features: VFIO_PV_INFO_* that the host of the devices supports; 0 without devices
 */
struct vfio_pv_info_cap_limits {
	struct vfio_info_cap_header header;
	__u32 max_batch;
	__u32 group_batch;
	__u32 max_mappings;
	__u32 max_events;
	__aligned_u64 granularities;
	__aligned_u64 window_start;
	__aligned_u64 window_last;
	__aligned_u64 features;
};

#endif /* _UAPI_LINUX_VFIO_PV_H */
