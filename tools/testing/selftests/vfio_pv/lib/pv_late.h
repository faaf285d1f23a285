/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that come late: whoever touches one, also the host's kernel, waits until the test brings
 * it in. Needs userfaultfd, with the right to handle faults of the kernel.
 */
#ifndef PV_LATE_H
#define PV_LATE_H

#include <stdbool.h>
#include <sys/types.h>

/* A file for the calls below, or -1 */
int pv_late_open(void);

/* Drop the page, of private anonymous memory and not pinned, and let it come late from now on */
bool pv_late_begin(int fd, void *page);

/* Wait until somebody waits for the page. False if nobody does within some seconds */
bool pv_late_is_waited_for(int fd);

/*
 * Wait until a thread of this process, whose number is in *@tid once it runs, sleeps in the kernel,
 * or has ended. False if it does neither within some seconds
 */
bool pv_thread_waits(const pid_t *tid);

/* Bring the page in: zeroes, changed by @fill unless NULL */
bool pv_late_end(int fd, void *page, void (*fill)(void *page));

#endif /* PV_LATE_H */
