/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Paravirtual IOMMU: servers of memory types, on the host.
 *
 * A server is a process that is told what a VM's CPUs write to some of the VM's
 * pages. It opens /dev/pv-iommu, which needs CAP_SYS_ADMIN (or is given the open
 * file by a process that has it), and claims a memory type of a VM. The VM's guest
 * then gives pages this type. Numbers are in the byte order of the host's CPU. See
 * Documentation/admin-guide/pv-iommu-servers.rst.
 */
#ifndef _UAPI_LINUX_PV_IOMMU_SERVER_H
#define _UAPI_LINUX_PV_IOMMU_SERVER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PVIOMMU_SERVER_MAGIC	0xd7

/** PVIOMMU_CLAIM_WRITES: claim, to be told of writes; without it, disclaim */
#define PVIOMMU_CLAIM_WRITES	(1U << 0)

#define PVIOMMU_SERVER_MIN_ENTRIES	16
#define PVIOMMU_SERVER_MAX_ENTRIES	65536

/**
 * struct pviommu_server_claim - argument of PVIOMMU_SERVER_CLAIM
 * @argsz: size of this structure; may be larger, up to a page, if the rest is zero
 * @flags: PVIOMMU_CLAIM_WRITES to claim, 0 to disclaim
 * @vm: number of the VM
 * @type: PVIOMMU_MEM_IOREQ_SERVER
 * @entries: number of records that the ring has room for, a power of two between
 *           PVIOMMU_SERVER_MIN_ENTRIES and _MAX_ENTRIES; 0 to disclaim
 * @eventfd: signalled when there are records, and when the claim ends; -1 for none,
 *           and to disclaim
 *
 * Errors: EINVAL a bad value; E2BIG @argsz is larger than the structure and what follows is
 * not zero, or it is larger than a page; EOPNOTSUPP flags or type; EPERM the caller has no
 * CAP_SYS_ADMIN, and the file's last claim was not of this VM; ENOENT no such VM;
 * EBUSY the VM's type has a server, or this file has a claim; EACCES disclaiming
 * what this file has not claimed; EBADF @eventfd; ENOMEM.
 */
struct pviommu_server_claim {
	__u32 argsz;
	__u32 flags;
	__u32 vm;
	__u32 type;
	__u32 entries;
	__s32 eventfd;
};

/**
 * PVIOMMU_SERVER_CLAIM: claim or disclaim.
 *
 * A claim also ends when everybody who has the file open has closed it, even if the
 * ring is still mapped, when the VM ends, or when the server does not make enough room
 * in a full ring in the time that the host waits.
 */
#define PVIOMMU_SERVER_CLAIM	_IO(PVIOMMU_SERVER_MAGIC, 0)

/**
 * struct pviommu_server_read - argument of PVIOMMU_SERVER_READ
 * @argsz: as of struct pviommu_server_claim
 * @flags: must be zero
 * @gpa: guest physical address to read from; all pages must have the claimed type
 * @addr: user address to write to
 * @size: bytes, 1 to PVIOMMU_SERVER_READ_MAX
 *
 * Errors: EINVAL a bad value; E2BIG as for a claim; EOPNOTSUPP flags; ENOENT no claim (any
 * more); EACCES pages that are not of the type; EAGAIN the guest keeps changing types; EFAULT;
 * ENOMEM; EINTR a fatal signal. After an error a part may have been read.
 */
struct pviommu_server_read {
	__u32 argsz;
	__u32 flags;
	__u64 gpa;
	__u64 addr;
	__u64 size;
};

/** PVIOMMU_SERVER_READ_MAX: largest size of one PVIOMMU_SERVER_READ */
#define PVIOMMU_SERVER_READ_MAX	0x1000000

/** PVIOMMU_SERVER_READ: read pages as they are now, with all reported writes */
#define PVIOMMU_SERVER_READ	_IO(PVIOMMU_SERVER_MAGIC, 1)

#define PVIOMMU_REC_WRITE	1	/* gpa, size and data of a write, after it was made */
#define PVIOMMU_REC_PAGE	2	/* a page got the type: writes are reported from now on */
#define PVIOMMU_REC_NO_PAGE	3	/* a page got another type, or went back to the host */
#define PVIOMMU_REC_LOST	4	/* pages from gpa to last may have lost the type */

#define PVIOMMU_REC_RELEASE	5	/* a page is about to go back to the host */

#define PVIOMMU_REC_DATA	16

/**
 * struct pviommu_server_record - one entry of the ring
 * @type: PVIOMMU_REC_*
 * @size: bytes; up to PVIOMMU_REC_DATA, all in one page, for a write; 0 for LOST
 * @thread: the VMM's thread that caused the record, for a write that of the CPU; 0 if
 *	there is none, as for a page that goes back to the host
 * @seq: free-running number of the record
 * @gpa: guest physical address
 * @data: what was written, in the order of addresses
 * @last: last byte of the range for LOST, otherwise 0
 * @reserved: zero
 *
 * A write of more than PVIOMMU_REC_DATA bytes, which KVM of some kernels can emulate,
 * is reported in several consecutive records.
 *
 * A PVIOMMU_REC_WRITE may come after the PVIOMMU_REC_NO_PAGE of its page, and even after
 * a new PVIOMMU_REC_PAGE: use PVIOMMU_SERVER_READ to get the page's contents.
 *
 * PVIOMMU_REC_RELEASE precedes the PVIOMMU_REC_NO_PAGE of a page that the guest gives
 * back to the host, by the time release_ms of pviommu_host. During this time the page
 * keeps its type and contents, writes to it are reported, and PVIOMMU_SERVER_READ reads
 * it.
 *
 * PVIOMMU_REC_LOST comes some time after memory has left the VM, or after the guest's
 * IOMMU driver has stopped the interface. Pages of the range may have kept the type,
 * or have it again: PVIOMMU_SERVER_READ gives EACCES for those that have lost it.
 */
struct pviommu_server_record {
	__u16 type;
	__u16 size;
	__u32 thread;
	__u64 seq;
	__u64 gpa;
	__u8 data[PVIOMMU_REC_DATA];
	__u64 last;
	__u64 reserved[2];
};

#define PVIOMMU_SERVER_ACTIVE	0
#define PVIOMMU_SERVER_ENDED	1	/* the claim has ended; no more records will come */

/**
 * struct pviommu_server_ring - the ring, mapped by mmap() of the file after a claim
 * @prod: free-running count of records that the host has written
 * @cons: free-running count of records that the server has taken
 * @entries: number of records that there is room for
 * @state: PVIOMMU_SERVER_*
 * @reserved: zero
 * @rec: record number n is at n modulo @entries
 *
 * The server reads @prod, then the records, then writes @cons. A CPU that writes
 * to a page of the type when the ring is full waits.
 */
struct pviommu_server_ring {
	__u32 prod;
	__u32 cons;
	__u32 entries;
	__u32 state;
	__u64 reserved[6];
	struct pviommu_server_record rec[];
};

#endif /* _UAPI_LINUX_PV_IOMMU_SERVER_H */
