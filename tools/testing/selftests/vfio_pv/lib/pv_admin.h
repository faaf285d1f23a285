/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The administrator's interface, asked by this very thread: for what is ordered of a
 * thread (see pv_fault.h). Who only wants to ask uses pv_ctl.h.
 */
#ifndef PV_ADMIN_H
#define PV_ADMIN_H

#include <linux/types.h>

/* A socket, or -1: there is no such interface */
int pv_admin_open(void);

/*
 * Send a request: the kernel has done it when this returns. 0 or a negative errno; then
 * take the answer, if there is one.
 */
int pv_admin_grant_new(int fd, __u32 from, __u32 to, __u64 gpa, __u64 last);
int pv_admin_grant_del(int fd, __u32 grant);

/* What it said: 0 or a negative errno; 1: nothing, as when it could not */
int pv_admin_answer(int fd);

#endif /* PV_ADMIN_H */
