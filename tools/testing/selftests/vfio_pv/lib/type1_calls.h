/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random programs of calls to a VFIO container, good ones and bad ones. What a
 * program is depends on its seed alone, so that two containers can be given the
 * same one and their answers be compared, call by call.
 */
#ifndef TYPE1_CALLS_H
#define TYPE1_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/types.h>

/* The IOVAs that most calls are about: few, so that calls get in each other's way */
#define CALLS_IOVA	0x4000000ULL
#define CALLS_IOVA_PAGES	56

/*
 * Memory that is mapped, at the same address in every run. Its pages are of many
 * kinds, see set_up_memory(); the first ones are ordinary memory. A huge page follows.
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
	CALL_BAD_POINTER,	/* @what: which ioctl, and which pointer */
	CALL_MEMORY,		/* no call: something happens to page @what of the pool */
	CALL_GROUP,		/* a second group comes, or goes */
	CALL_RENEW,		/* all groups go, and one comes back */
	CALL_PROBE,		/* where does DMA land: @iova */
};

/**
 * struct call - one call
 * @kind: which; the fields are those of its argument, as far as it has them
 * @argsz: 0: the right one
 * @child: a child process calls, and ends
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
 * struct answer - what came of it
 * @ret: 0, a positive value, or a negative errno
 * @value: size unmapped; a digest of a bitmap, of what the container tells about
 *	itself; what DMA has found
 * @stray: bits of a bitmap that are set for pages which are not mapped
 * @bits: the first ones of a bitmap, for who looks at a difference
 * @locked: by how many KiB it changed what this process has locked
 */
struct answer {
	int ret;
	__u64 value;
	unsigned int stray;
	__u64 bits[2];
	long locked;
};

/**
 * struct calls_run - who runs a program
 * @type: of the container
 * @uid: user, 0 for who may do everything
 * @locked_pages: RLIMIT_MEMLOCK
 * @bdf: two edu devices, bound to vfio-pci
 */
struct calls_run {
	unsigned int type;
	uid_t uid;
	unsigned int locked_pages;
	char bdf[2][16];
};

/* Fill @calls; @dirty: with logs of dirty pages, and devices may write to all that is mapped */
void calls_make(struct call *calls, unsigned int n, __u64 seed, bool dirty);

/* A process of its own runs them. 0, or a negative errno if it could not begin */
int calls_run(const struct calls_run *run, const struct call *calls, unsigned int n,
	      struct answer *answers);

/* For who looks at a difference */
void call_describe(const struct call *call, char *text, size_t size);

#endif /* TYPE1_CALLS_H */
