/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that come late: who touches one waits, be it the host's kernel, until it is
 * brought in. Needs userfaultfd, and the right to stop the kernel by it.
 */
#ifndef PV_LATE_H
#define PV_LATE_H

#include <stdbool.h>

/* A file for the calls below, or -1 */
int pv_late_open(void);

/* The page, in private anonymous memory and not pinned, is lost, and comes late from now on */
bool pv_late_begin(int fd, void *page);

/* Wait until somebody waits for it */
bool pv_late_is_waited_for(int fd);

/* Bring it in: as @fill makes it of a page of zeroes, if there is one */
bool pv_late_end(int fd, void *page, void (*fill)(void *page));

#endif /* PV_LATE_H */
