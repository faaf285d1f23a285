/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A page of this process that is not there until the test wants it (userfaultfd): who
 * touches it before, the kernel too, waits.
 */
#ifndef PV_LATE_H
#define PV_LATE_H

#include <stdbool.h>

/* Make @page, which nobody has touched, such a page. A file descriptor, -1 if it can't be */
int pv_page_late(void *page);
/* Somebody waits for it; within @ms */
bool pv_page_wanted(int fd, int ms);
/* Bring it in, all zeroes, and close @fd */
bool pv_page_comes(int fd, void *page);

#endif /* PV_LATE_H */
