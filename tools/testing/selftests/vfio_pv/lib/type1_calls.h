/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random programs of calls to a VFIO container, valid and invalid ones. A program depends on its
 * seed only, so two containers can be given the same program, and their answers be compared call
 * by call.
 */
#ifndef TYPE1_CALLS_H
#define TYPE1_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/types.h>

/* The IOVAs of most calls: few, so that calls affect each other */
#define CALLS_IOVA	0x4000000ULL
#define CALLS_IOVA_PAGES	56

/*
 * Memory to map, at the same address in every run. Its pages are of many kinds, see
 * set_up_memory(); the first pages are ordinary memory. A huge page follows.
 */
#define CALLS_POOL	0x100000000000ULL
#define CALLS_POOL_PAGES	96
#define CALLS_PLAIN_PAGES	56
#define CALLS_HUGE	(CALLS_POOL + 0x40000000ULL)
#define CALLS_HUGE_SIZE	0x200000ULL

enum call_kind {
	CALL_MAP,
	CALL_UNMAP,
	CALL_UNMAP_DIRTY,	/* VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP */
	CALL_DIRTY,		/* VFIO_IOMMU_DIRTY_PAGES: start, stop */
	CALL_GET_DIRTY,
	CALL_INFO,
	CALL_EXTENSION,
	CALL_BAD_POINTER,	/* @what: which ioctl, and which of its pointers */
	CALL_MEMORY,		/* no call: page @what of the pool is changed */
	CALL_GROUP,		/* a second group joins, or leaves */
	CALL_RENEW,		/* all groups leave, and one joins again */
	CALL_PROBE,		/* no call: find out where DMA to @iova arrives */
};

/**
 * struct call - one call
 * @kind: which call; the other fields are those of its argument, if it has them
 * @argsz: 0 for the right size
 * @child: made by a child process, which ends then
 */
struct call {
	enum call_kind kind;
	__u32 argsz;
	__u32 flags;
	__u32 what;
	__u64 iova;
	__u64 vaddr;
	__u64 size;
	__u64 pgsize;
	__u64 bitmap_size;
	__u64 bitmap_off;
	bool child;
};

/**
 * struct answer - the outcome of a call
 * @ret: 0, a positive value, or a negative errno
 * @value: the size unmapped; or a digest of a bitmap, of the container's info, of
 *	what DMA has found
 * @stray: how many bits of a bitmap are set for pages which are not mapped
 * @bits: the first words of a bitmap, for reports of a difference
 * @locked: by how many KiB the call changed the memory that this process has locked
 */
struct answer {
	int ret;
	__u64 value;
	unsigned int stray;
	__u64 bits[2];
	long locked;
};

/**
 * struct calls_run - how to run a program
 * @type: of the container
 * @uid: of the process that runs it; 0 is root
 * @locked_pages: its RLIMIT_MEMLOCK
 * @bdf: two edu devices, bound to vfio-pci
 */
struct calls_run {
	unsigned int type;
	uid_t uid;
	unsigned int locked_pages;
	char bdf[2][16];
};

/* Fill @calls. @dirty: with dirty logs; then devices may write to everything that is mapped */
void calls_make(struct call *calls, unsigned int n, __u64 seed, bool dirty);

/* Run them in a process of its own. 0, or a negative errno if it could not begin */
int calls_run(const struct calls_run *run, const struct call *calls, unsigned int n,
	      struct answer *answers);

/* A call in words, for reports of a difference */
void call_describe(const struct call *call, char *text, size_t size);

#endif /* TYPE1_CALLS_H */
