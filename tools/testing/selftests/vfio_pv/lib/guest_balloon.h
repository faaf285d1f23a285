/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The balloon of the guest's IOMMU driver, and a piece of memory for it to find.
 */
#ifndef GUEST_BALLOON_H
#define GUEST_BALLOON_H

#include <stdbool.h>
#include <linux/types.h>

#define BALLOON		"/sys/kernel/debug/pv-iommu/balloon"
#define HUGE_SIZE	(2ULL << 20)

/* How large it is to be; 0 or a negative errno */
int balloon_set(__u64 size);
/* How large it is and how much of it the host has freed; 0 or a negative errno */
int balloon_get(__u64 *size, __u64 *freed);

/* A huge page, its physical address in *gpa; NULL */
void *huge_page(__u64 *gpa);
/*
 * Locked memory stays where it is: the kernel does not move it to make room for larger
 * pages, as it does when the balloon wants some. False if that can't be had.
 */
bool keep_locked_in_place(void);
/* The kernel has it again */
void huge_page_free(void *page);

#endif /* GUEST_BALLOON_H */
