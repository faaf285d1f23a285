/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Paravirtual IOMMU: the interface between a guest and its host.
 *
 * A guest finds its endpoints by a vendor-specific PCI capability, starts the
 * interface through it, and from then on writes fixed-size ops into rings in
 * its own memory and rings a doorbell. The host executes the ops of a ring in
 * order and writes a status into each. All fields are little-endian; reserved
 * fields must be zero. No field ever holds a host address. The reference is
 * Documentation/virt/pv-iommu/hypercalls.rst.
 *
 * This header may be used by any guest operating system.
 */
#ifndef _UAPI_LINUX_PV_IOMMU_H
#define _UAPI_LINUX_PV_IOMMU_H

#include <linux/types.h>

#define PVIOMMU_ABI_VERSION	1

/* ------------------------------------------------------------------ */
/* Capability: how an endpoint is found and the interface is started   */

/** PVIOMMU_CAP_SIGNATURE: "PVIO", distinguishes it from other vendors' capabilities */
#define PVIOMMU_CAP_SIGNATURE	0x4f495650
/** PVIOMMU_CAP_LEN: bytes of the capability in the first 256 bytes of config space */
#define PVIOMMU_CAP_LEN		32
/** PVIOMMU_VSEC_ID: VSEC id of the capability in extended config space */
#define PVIOMMU_VSEC_ID		0x5056
/**
 * PVIOMMU_VSEC_LEN: bytes of the extended capability.
 *
 * Four bytes of extended capability header and four of VSEC header (id,
 * revision 1, length) come first; the registers from PVIOMMU_CAP_SIGNATURE_OFF
 * on follow, so that a register is at (offset + 4) there.
 */
#define PVIOMMU_VSEC_LEN	36

/*
 * Register offsets within the capability. Registers are read at any width and
 * written as naturally aligned 32-bit words; other writes are ignored.
 */
#define PVIOMMU_CAP_ID_OFF	0	/* u8 0x09, u8 next, u8 length, u8 ABI version */
#define PVIOMMU_CAP_SIGNATURE_OFF	4	/* RO: PVIOMMU_CAP_SIGNATURE */
#define PVIOMMU_CAP_ENDPOINT_OFF	8	/* RO: endpoint id, 0 when there is no interface */
#define PVIOMMU_CAP_FEATURES_OFF	12	/* RO: low 32 bits of the offered features */
#define PVIOMMU_CAP_GPA_LO_OFF	16	/* RW: argument of a control command */
#define PVIOMMU_CAP_GPA_HI_OFF	20	/* RW */
#define PVIOMMU_CAP_CONTROL_OFF	24	/* W: command, R: state and error */
#define PVIOMMU_CAP_DOORBELL_OFF	28	/* W: doorbell value; R: 0 */

/*
 * Commands for the control register. Their argument is in the GPA registers,
 * which read 0 when the command has been executed.
 *
 * A program in the guest that was given an endpoint can write its registers,
 * too. So stopping a running interface requires the cookie that it was started
 * with (EACCES).
 */
#define PVIOMMU_CMD_RESET	0	/* argument: the cookie; stop, free domains */
#define PVIOMMU_CMD_START	1	/* argument: GPA of a struct pviommu_start */

/* Reading the control register: PVIOMMU_STATE_* | error of the last command << 16 */
#define PVIOMMU_STATE_STOPPED	0
#define PVIOMMU_STATE_RUNNING	1
#define PVIOMMU_CONTROL_STATE(v)	((v) & 0xff)
#define PVIOMMU_CONTROL_ERROR(v)	(((v) >> 16) & 0xffff)

/* ------------------------------------------------------------------ */
/* Status values: the numbers of Linux, named so that any OS can use them */

#define PVIOMMU_OK		0
#define PVIOMMU_ENOENT		2	/* no such domain, endpoint or mapping */
#define PVIOMMU_EIO		5	/* the physical IOMMU refused */
#define PVIOMMU_ENOMEM		12	/* host memory or RLIMIT_MEMLOCK exhausted */
#define PVIOMMU_EACCES		13	/* not permitted: read-only memory, foreign VM */
#define PVIOMMU_EFAULT		14	/* GPA is not (pinnable) guest RAM */
#define PVIOMMU_EBUSY		16	/* in use, or already started */
#define PVIOMMU_EEXIST		17	/* overlaps an existing mapping */
#define PVIOMMU_EINVAL		22	/* bad value: alignment, reserved field, size 0 */
#define PVIOMMU_ENOSPC		28	/* a quota of the VM is used up */
#define PVIOMMU_ERANGE		34	/* outside the window, reserved, or a sum overflows */
#define PVIOMMU_EOPNOTSUPP	95	/* unknown op, flag, type or granularity */
#define PVIOMMU_ECANCELED	125	/* an earlier op of the chain failed */
/** PVIOMMU_STATUS_PENDING: what the guest writes before it submits an op */
#define PVIOMMU_STATUS_PENDING	0xffffffff

/* ------------------------------------------------------------------ */
/* Features                                                            */

#define PVIOMMU_F_MAP_LIST	(1ULL << 0)	/* MAP_LIST */
#define PVIOMMU_F_EVENTS	(1ULL << 1)	/* event ring */
#define PVIOMMU_F_BYPASS	(1ULL << 2)	/* the bypass domain may be attached */
#define PVIOMMU_F_STATS		(1ULL << 3)	/* STATS */
#define PVIOMMU_F_PASID		(1ULL << 8)	/* ATTACH, DETACH, INVALIDATE with a PASID */
#define PVIOMMU_F_TABLES	(1ULL << 9)	/* guest-owned I/O page tables */
#define PVIOMMU_F_MEM_TYPES	(1ULL << 10)	/* memory types and servers */
#define PVIOMMU_F_FOREIGN	(1ULL << 11)	/* the vm field of MAP and MAP_LIST */
#define PVIOMMU_F_DIRTY		(1ULL << 12)	/* dirty page logging */
#define PVIOMMU_F_RELEASE	(1ULL << 13)	/* release of specific pages */
#define PVIOMMU_F_RECOVER	(1ULL << 14)	/* isolation on error holds until RECOVER */

/* ------------------------------------------------------------------ */
/* Start block, rings, doorbell                                        */

#define PVIOMMU_START_MAGIC	0x54525453	/* "STRT" */
#define PVIOMMU_MAX_RINGS	256
#define PVIOMMU_RING_ORDER_MIN	3	/* 8 ops */
#define PVIOMMU_RING_ORDER_MAX	10	/* 1024 ops */

/**
 * struct pviommu_start - start block; START reads it once, at the GPA in the registers
 * @magic: PVIOMMU_START_MAGIC
 * @version: PVIOMMU_ABI_VERSION
 * @nrings: number of rings, 1 to PVIOMMU_MAX_RINGS
 * @features: features that the guest accepts, a subset of those offered
 * @cookie: a random number other than zero, chosen by the guest for this start
 *          and kept secret. The header of each ring and of the event ring must
 *          contain it, so that memory that was a ring before a reboot is never
 *          taken for one. It is also the argument of PVIOMMU_CMD_RESET
 * @doorbell: GPA of the doorbell page, page aligned, plain guest RAM that is
 *          not used for anything else; 0 for none
 * @events: GPA of the event ring, one page, page aligned; 0 for none
 * @rings: GPA of an array of @nrings struct pviommu_ring_desc, 8-byte aligned
 * @out_flags: written by the host: PVIOMMU_START_TRACKED
 * @out_max_domains: written by the host: number of domains that the VM may have
 * @reserved: must be zero
 *
 * Errors, in the control register: EBUSY already running, and keeps running; EFAULT
 * the block, a ring, the doorbell page or the event ring is not writable guest
 * RAM; EINVAL a bad value; ENOMEM; EOPNOTSUPP unknown features or version;
 * ERANGE @nrings or an order. After any error but EBUSY the interface is stopped.
 */
struct pviommu_start {
	__le32 magic;
	__le16 version;
	__le16 nrings;
	__le64 features;
	__le64 cookie;
	__le64 doorbell;
	__le64 events;
	__le64 rings;
	__le32 out_flags;
	__le32 out_max_domains;
	__le64 reserved;
};

/** PVIOMMU_START_TRACKED: stores to the doorbell page reach the host kernel directly */
#define PVIOMMU_START_TRACKED	(1U << 0)

/**
 * struct pviommu_ring_desc - the location of one ring
 * @hdr: GPA of its struct pviommu_ring_hdr, 64-byte aligned
 * @ops: GPA of its ops, page aligned, (64 << @order) bytes, contiguous
 * @order: log2 of the number of ops
 * @reserved: must be zero
 */
struct pviommu_ring_desc {
	__le64 hdr;
	__le64 ops;
	__le32 order;
	__le32 reserved;
};

/**
 * struct pviommu_ring_hdr - indexes of a ring
 * @cookie: the cookie of the start block
 * @prod: free-running count of ops that the guest has submitted
 * @cons: free-running count of ops that the host has finished
 * @error: written by the host: status that stopped this ring, 0 while it runs.
 *         EINVAL: @prod - @cons exceeds the ring or @cookie is wrong. EFAULT:
 *         the ring's memory has left the VM. Only RESET starts it again.
 * @events: written by the host before @cons: value of the event ring's prod
 *         when the host last served this ring, so that a guest need not read
 *         the event ring after each doorbell; 0 without an event ring
 * @served: written by the host before @cons: free-running count of the times
 *          that it has served this ring, even if no op was finished
 * @reserved: must be zero; the host does not check it
 *
 * Op number n (from 0) is in slot n modulo the ring's size. The guest writes
 * the op, then @prod, then rings the doorbell. When the store to the doorbell
 * has returned, the host has done at least one doorbell's worth of work; while
 * @cons differs from @prod the guest rings again. A doorbell that changes
 * none of @cons, @error and @served had no effect.
 */
struct pviommu_ring_hdr {
	__le64 cookie;
	__le32 prod;
	__le32 cons;
	__le32 error;
	__le32 events;
	__le32 served;
	__le32 reserved[9];
};

/*
 * Doorbell: a 32-bit store of this value at offset 0 of the doorbell page, or
 * to the doorbell register of any endpoint's capability. Any other store to
 * the page makes the host take the doorbell down (the register still works).
 */
#define PVIOMMU_DOORBELL_MAGIC	0x50560000
#define PVIOMMU_DOORBELL_ALL	0xffff
#define PVIOMMU_DOORBELL(ring)	(PVIOMMU_DOORBELL_MAGIC | (ring))

/* ------------------------------------------------------------------ */
/* Ops                                                                 */

/* Query */
#define PVIOMMU_OP_NOP		0x0000
#define PVIOMMU_OP_FEATURES	0x0100
#define PVIOMMU_OP_PROBE	0x0101
#define PVIOMMU_OP_STATS	0x0102
/* Domains */
#define PVIOMMU_OP_ALLOC	0x0200
#define PVIOMMU_OP_FREE		0x0201
#define PVIOMMU_OP_ATTACH	0x0202
#define PVIOMMU_OP_DETACH	0x0203
/* Mappings */
#define PVIOMMU_OP_MAP		0x0300
#define PVIOMMU_OP_MAP_LIST	0x0301
#define PVIOMMU_OP_UNMAP	0x0302
#define PVIOMMU_OP_LOOKUP	0x0303
/* Flush */
#define PVIOMMU_OP_INVALIDATE	0x0400
/* Guest-owned tables: TABLE_BIND is reserved, ALLOC names the table */
#define PVIOMMU_OP_TABLE_BIND	0x0500
/* Memory types */
#define PVIOMMU_OP_TYPE_SET	0x0600
#define PVIOMMU_OP_TYPE_GET	0x0601
#define PVIOMMU_OP_TYPE_CLAIM	0x0602
/* Pages that other VMs may hold */
#define PVIOMMU_OP_RELEASE	0x0700
#define PVIOMMU_OP_RELEASE_ACK	0x0701
/* Dirty pages */
#define PVIOMMU_OP_DIRTY_START	0x0800
#define PVIOMMU_OP_DIRTY_STOP	0x0801
#define PVIOMMU_OP_DIRTY_READ	0x0802
/* Isolation on error */
#define PVIOMMU_OP_RECOVER	0x0900

/* Flags of every op; flags of a specific op start at bit 8 */
/** PVIOMMU_OP_F_CHAIN: if this op fails, the next one is cancelled (and so on) */
#define PVIOMMU_OP_F_CHAIN	(1U << 0)
#define PVIOMMU_UNMAP_F_ALL	(1U << 8)	/* UNMAP: the whole domain; iova and size are 0 */
#define PVIOMMU_INV_F_LEAF	(1U << 8)	/* INVALIDATE: no intermediate table was changed */
/*
 * ALLOC of PVIOMMU_TYPE_TABLE: the host watches the pages of the table, and mirrors
 * added entries without an INVALIDATE
 */
#define PVIOMMU_ALLOC_F_WATCH	(1U << 8)

/** PVIOMMU_DIRTY_PAGES: most pages in one DIRTY_READ, which is 4 KiB of bits */
#define PVIOMMU_DIRTY_PAGES	32768

/* Domain ids */
#define PVIOMMU_DOMAIN_BYPASS	0	/* IOVA is GPA for all guest RAM */
#define PVIOMMU_DOMAIN_BLOCKED	1	/* no DMA */
#define PVIOMMU_DOMAIN_FIRST	2	/* the first id that ALLOC returns */

/* Types for ALLOC */
#define PVIOMMU_TYPE_PAGING	0	/* filled by MAP and MAP_LIST */
#define PVIOMMU_TYPE_TABLE	1	/* guest-owned table; PVIOMMU_F_TABLES */

/* Formats of guest-owned tables: those of the CPU, with 4 or 5 levels */
#define PVIOMMU_TABLE_NONE	0	/* not a table */
#define PVIOMMU_TABLE_X86_64_4	1	/* IOVAs of 48 bits */
#define PVIOMMU_TABLE_X86_64_5	2	/* IOVAs of 57 bits */

/* Types of memory, for TYPE_SET */
#define PVIOMMU_MEM_RAM_RW	0	/* plain */
#define PVIOMMU_MEM_IOREQ_SERVER	1	/* a server on the host is told of writes by CPUs */
#define PVIOMMU_MEM_TABLE	2	/* TYPE_GET only: watched by the host as a table */

#define PVIOMMU_PASID_NONE	0xffffffff
#define PVIOMMU_VM_SELF		0

/* prot of MAP and MAP_LIST */
#define PVIOMMU_PROT_READ	(1U << 0)
#define PVIOMMU_PROT_WRITE	(1U << 1)
#define PVIOMMU_PROT_NOEXEC	(1U << 2)
#define PVIOMMU_PROT_MMIO	(1U << 3)	/* reserved: EOPNOTSUPP */
/* Additional prot in the answer of LOOKUP */
#define PVIOMMU_PROT_FOREIGN	(1U << 31)	/* gpa is an address of another VM */

/** PVIOMMU_LIST_MAX: most frames in one MAP_LIST, which fill one 4 KiB page */
#define PVIOMMU_LIST_MAX	512

enum pviommu_granularity {
	PVIOMMU_INV_DOMAIN = 0,
	PVIOMMU_INV_PASID = 1,
	PVIOMMU_INV_PAGE = 2,
};

/**
 * struct pviommu_op - one operation
 * @code: PVIOMMU_OP_*
 * @flags: PVIOMMU_OP_F_* and the op's own
 * @status: PVIOMMU_STATUS_PENDING when submitted; 0 or an error when done
 * @domain: domain id; 0 if the op takes none
 * @endpoint: endpoint id; 0 if the op takes none
 * @pasid: PVIOMMU_PASID_NONE; or the PASID for ATTACH, DETACH and INVALIDATE, with
 *	PVIOMMU_F_PASID. A domain that is attached at a PASID translates the requests
 *	of the group of @endpoint that carry this PASID; the group's own domain does
 *	not change
 * @vm: PVIOMMU_VM_SELF, or another VM's id (PVIOMMU_F_FOREIGN). Then the GPAs,
 *	except that of a list, are addresses of the other VM. EACCES without a grant
 *	of the host's administrator that covers all of them and @prot, whatever the
 *	reason. The guest learns ids from the administrator
 * @map: MAP maps [iova, iova + size) to guest memory at gpa in pages of
 *	(1 << pgshift) bytes, to which iova, gpa and size are aligned; UNMAP may
 *	later remove any of these pages. All or nothing.
 * @list: MAP_LIST maps @count pages from iova on. Their frame numbers (GPA >>
 *	pgshift) are an array of __le64 at the page-aligned GPA @list.list.
 *	All or nothing.
 * @unmap: UNMAP removes all mappings in [iova, iova + size); holes are
 *	skipped. EINVAL, and nothing is changed, if a bound would cut a page.
 *	The pages stay pinned until an INVALIDATE that covers them.
 * @lookup: LOOKUP returns the gpa that iova leads to, its pgshift and prot, and in
 *	size for how many bytes from iova on (within its page) this holds. ENOENT.
 * @inv: INVALIDATE makes the removals before it effective: when it is done,
 *	no device reaches the removed pages and they are unpinned. In a domain
 *	with a guest-owned table the host first looks at the entries of the
 *	range: devices then reach what these entries map, and nothing else. With a
 *	PASID, @domain must be attached there (EINVAL), unless it is bypass or
 *	blocked: for those there is nothing to do, and the answer is OK.
 * @alloc: ALLOC makes a domain of this type for use with @endpoint; result is
 *	its id. FREE: EBUSY while an endpoint is attached; implies unmap and flush.
 *	PVIOMMU_TYPE_TABLE takes a format and the page-aligned GPA of the table's
 *	first page; otherwise both are 0.
 *	RECOVER: acknowledges that @endpoint was cut off; its group can then be
 *	attached again. EBUSY while the host is still handling the error.
 * @release: RELEASE gives @count pages of 4 KiB back to the host. Their frame numbers
 *	are an array of __le64 at the page-aligned GPA @release.list. It is complete
 *	when the event with @release.token comes. EBUSY while an endpoint is in bypass
 * @buf: PROBE and STATS write a struct pviommu_probe (and its regions), or a
 *	struct pviommu_stats, to guest memory at gpa, at most size bytes;
 *	result is the size of the whole answer in bytes.
 * @mem: TYPE_SET gives [gpa, gpa + size) a type, page by page; result is the number
 *	of bytes that have it. TYPE_GET takes only gpa; result is the type.
 * @dirty: DIRTY_START and DIRTY_STOP switch the log of a domain on and off, and
 *	take no arguments. DIRTY_READ writes one bit for each page of (1 << pgshift)
 *	bytes in [iova, iova + size), at most PVIOMMU_DIRTY_PAGES, to guest memory at
 *	the 8-byte aligned gpa, as an array of __le64. A bit is set if a device may
 *	have written to the page since it was mapped. EINVAL if the log is off.
 * @raw: the arguments as words
 * @result: written by the host: MAP, MAP_LIST: bytes mapped; UNMAP: bytes
 *	unmapped; ALLOC: domain id; FEATURES: feature bits; PROBE, STATS: bytes;
 *	TYPE_SET: bytes that have the type; TYPE_GET: type; DIRTY_READ: dirty pages;
 *	INVALIDATE: if a guest-owned table could not be mirrored, the first IOVA that
 *	was not looked at
 */
struct pviommu_op {
	__le16 code;
	__le16 flags;
	__le32 status;
	__le32 domain;
	__le32 endpoint;
	__le32 pasid;
	__le32 vm;
	union {
		struct {
			__le64 iova;
			__le64 gpa;
			__le64 size;
			__le32 prot;
			__u8 pgshift;
			__u8 reserved[3];
		} map;
		struct {
			__le64 iova;
			__le64 list;
			__le32 count;
			__le32 reserved0;
			__le32 prot;
			__u8 pgshift;
			__u8 reserved[3];
		} list;
		struct {
			__le64 iova;
			__le64 size;
			__le64 reserved[2];
		} unmap;
		struct {
			__le64 iova;
			__le64 gpa;
			__le64 size;
			__le32 prot;
			__u8 pgshift;
			__u8 reserved[3];
		} lookup;
		struct {
			__le64 addr;
			__le64 size;
			__le32 granularity;
			__le32 reserved0;
			__le64 reserved;
		} inv;
		struct {
			__le32 type;
			__le32 format;
			__le64 root;
			__le64 reserved[2];
		} alloc;
		struct {
			__le64 gpa;
			__le32 size;
			__le32 reserved0;
			__le64 reserved[2];
		} buf;
		struct {
			__le64 gpa;
			__le64 size;
			__le32 type;
			__le32 reserved0;
			__le64 reserved;
		} mem;
		struct {
			__le64 list;
			__le32 count;
			__le32 reserved0;
			__le64 token;
			__le64 reserved;
		} release;
		struct {
			__le64 iova;
			__le64 gpa;
			__le64 size;
			__u8 pgshift;
			__u8 reserved[7];
		} dirty;
		__le64 raw[4];
	};
	__le64 result;
};

/**
 * struct pviommu_probe - the answer of PROBE about an endpoint
 * @endpoint: its id
 * @group: isolation group; endpoints with the same number move together
 * @flags: PVIOMMU_PROBE_*
 * @nr_regions: number of struct pviommu_region that follow
 * @pgsizes: page sizes that MAP supports, one bit each
 * @window_start: first usable IOVA
 * @window_last: last usable IOVA, inclusive
 * @pasid_bits: width of PASIDs, which begin with 1; 0 for none
 * @domain: the domain that the endpoint is attached to, without a PASID
 * @reserved: zero
 */
struct pviommu_probe {
	__le32 endpoint;
	__le32 group;
	__le32 flags;
	__le32 nr_regions;
	__le64 pgsizes;
	__le64 window_start;
	__le64 window_last;
	__le32 pasid_bits;
	__le32 domain;
	__le64 reserved[2];
};

#define PVIOMMU_PROBE_MSI_ISOLATED	(1U << 0)	/* the host remaps interrupts */
#define PVIOMMU_PROBE_COHERENT		(1U << 1)	/* DMA snoops CPU caches */
#define PVIOMMU_PROBE_NOEXEC		(1U << 2)	/* PVIOMMU_PROT_NOEXEC has effect */

/**
 * struct pviommu_region - a range of IOVAs that can't be mapped
 * @start: first address
 * @last: last address, inclusive
 * @type: PVIOMMU_REGION_*
 * @reserved: zero
 */
struct pviommu_region {
	__le64 start;
	__le64 last;
	__le32 type;
	__le32 reserved;
};

#define PVIOMMU_REGION_RESERVED	0
#define PVIOMMU_REGION_MSI	1

/**
 * struct pviommu_stats - counters of this VM, since the VMM made its container
 * @kicks_tracked: doorbells through the tracked page
 * @kicks_config: doorbells through the capability, by way of the VMM
 * @ops: ops executed
 * @ops_failed: ops that ended with an error
 * @pages_mapped: 4 KiB pages mapped now, without those of bypass
 * @pages_pinned: 4 KiB pages pinned now, for any purpose
 * @domains: domains that exist now
 * @mappings: mappings that exist now, including those that wait for a flush
 * @faults: DMA faults reported by the physical IOMMU, and bad entries found in
 *	guest-owned tables
 * @events_lost: events that were dropped for lack of room
 * @pages_lent: 4 KiB pages of this VM that other VMs map now
 * @reserved: zero
 */
struct pviommu_stats {
	__le64 kicks_tracked;
	__le64 kicks_config;
	__le64 ops;
	__le64 ops_failed;
	__le64 pages_mapped;
	__le64 pages_pinned;
	__le64 domains;
	__le64 mappings;
	__le64 faults;
	__le64 events_lost;
	__le64 pages_lent;
	__le64 reserved[5];
};

/* ------------------------------------------------------------------ */
/* Events                                                              */

#define PVIOMMU_EV_FAULT	1	/* a DMA was refused: endpoint, domain, addr = IOVA */
#define PVIOMMU_EV_REVOKED	2	/* memory left: domain, vm, addr = IOVA, gpa, size */
#define PVIOMMU_EV_ISOLATED	3	/* the endpoint was cut off after an error */
#define PVIOMMU_EV_GONE		4	/* the endpoint has left the VM */
#define PVIOMMU_EV_RELEASE	5	/* memory is about to leave, as in REVOKED: unmap it */
#define PVIOMMU_EV_RELEASED	6	/* a RELEASE is done: addr = token, size that was freed */

#define PVIOMMU_EV_F_WRITE	(1U << 0)	/* FAULT: the access was a write */
/*
 * FAULT: no DMA yet, but the host found a bad entry when it looked at a table:
 * addr and size are the IOVAs that fault, gpa is the address of the entry, or of the
 * first of several adjacent ones that are bad for the same reason
 */
#define PVIOMMU_EV_F_ENTRY	(1U << 1)
/** PVIOMMU_EV_REASON: what is bad about an entry, from the flags of its event */
#define PVIOMMU_EV_REASON(flags)	(((flags) >> 8) & 0xff)

#define PVIOMMU_BAD_RESERVED	1	/* a reserved bit is set */
#define PVIOMMU_BAD_TABLE	2	/* it names a table that is not guest RAM */
#define PVIOMMU_BAD_LOOP	3	/* it names a table that the walk has passed through */
#define PVIOMMU_BAD_PAGE	4	/* its page is not guest RAM, or not writable */
#define PVIOMMU_BAD_IOVA	5	/* its IOVA is in a reserved region */
#define PVIOMMU_BAD_WATCH	6	/* it is in a page that can't be watched */
/** PVIOMMU_BAD_UNSEEN: the host could not mirror an added entry at once: INVALIDATE */
#define PVIOMMU_BAD_UNSEEN	7

/**
 * struct pviommu_event - one entry of the event ring
 * @type: PVIOMMU_EV_*
 * @flags: PVIOMMU_EV_F_*
 * @endpoint: endpoint id, 0 if the event is not about one
 * @domain: domain id
 * @pasid: PVIOMMU_PASID_NONE or the PASID
 * @seq: free-running number of the event; a gap means that events were lost
 * @addr: IOVA
 * @gpa: guest physical address, 0 if the event is not about one
 * @size: bytes
 * @vm: PVIOMMU_VM_SELF, or the id of the VM that the memory belongs to
 * @reserved0: zero
 * @reserved: zero
 */
struct pviommu_event {
	__le16 type;
	__le16 flags;
	__le32 endpoint;
	__le32 domain;
	__le32 pasid;
	__le64 seq;
	__le64 addr;
	__le64 gpa;
	__le64 size;
	__le32 vm;
	__le32 reserved0;
	__le64 reserved;
};

/** PVIOMMU_EVENT_SLOTS: entries of the event ring, which is one 4 KiB page */
#define PVIOMMU_EVENT_SLOTS	63

/**
 * struct pviommu_event_ring - the event ring
 * @cookie: the cookie of the start block
 * @prod: free-running count of events that the host has written
 * @cons: free-running count of events that the guest has taken
 * @lost: free-running count of events that were dropped for lack of room
 * @waiting: number of events that the host keeps until there is room for them
 * @reserved: zero
 * @ev: event number n is at n modulo PVIOMMU_EVENT_SLOTS
 *
 * The host writes events without interrupting the guest, which looks at @prod
 * after each doorbell and from time to time. If the guest has taken all events and
 * written @cons, and then finds that @waiting is not 0, it rings a doorbell of any
 * ring: the host then writes the waiting events, in order, before it executes ops.
 */
struct pviommu_event_ring {
	__le64 cookie;
	__le32 prod;
	__le32 cons;
	__le32 lost;
	__le32 waiting;
	__le32 reserved[10];
	struct pviommu_event ev[PVIOMMU_EVENT_SLOTS];
};

#endif /* _UAPI_LINUX_PV_IOMMU_H */
