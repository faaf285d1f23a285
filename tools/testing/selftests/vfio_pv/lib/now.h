/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A clock for tests that measure time.
 */
#ifndef NOW_H
#define NOW_H

#include <time.h>
#include <linux/types.h>

#define MS	1000000ULL	/* in ns */

/* CLOCK_MONOTONIC, in ns */
static inline __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

#endif /* NOW_H */
