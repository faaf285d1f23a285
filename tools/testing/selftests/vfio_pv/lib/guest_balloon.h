/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The balloon of the guest's IOMMU driver, and memory of a test that is given back like its pages.
 */
#ifndef GUEST_BALLOON_H
#define GUEST_BALLOON_H

#include <stdbool.h>
#include <linux/types.h>

#define BALLOON		"/sys/kernel/debug/pv-iommu/balloon"
#define HUGE_SIZE	(2ULL << 20)

/* Set the size of the balloon; 0 or a negative errno */
int balloon_set(__u64 size);
/* Its size, and how much of it the host has freed; 0 or a negative errno */
int balloon_get(__u64 *size, __u64 *freed);

/* A huge page, with its physical address in *gpa; or NULL */
void *huge_page(__u64 *gpa);
/*
 * Have the kernel leave locked memory in place. Otherwise it moves it to make room for larger
 * pages, for example when the balloon wants some. False on failure.
 */
bool keep_locked_in_place(void);
/* Give the page back to the kernel */
void huge_page_free(void *page);

/*
 * Give memory back to the host: @size bytes, up to a huge page, of whole pages. The caller keeps
 * it, but its contents are lost. Waits for those who map it. False on failure.
 */
bool release_memory(__u64 gpa, __u64 size);

#endif /* GUEST_BALLOON_H */
