/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The administrator's netlink interface, used by the calling thread itself, for failures that
 * are injected for a thread (see pv_fault.h). For all else use pv_ctl.h.
 */
#ifndef PV_ADMIN_H
#define PV_ADMIN_H

#include <linux/types.h>

/* A socket, or -1 if there is no such interface */
int pv_admin_open(void);

/*
 * Send a request, which the kernel has handled when this returns. 0 or a negative errno; if 0,
 * then take the answer.
 */
int pv_admin_grant_new(int fd, __u32 from, __u32 to, __u64 gpa, __u64 last);
int pv_admin_grant_del(int fd, __u32 grant);

/* The answer: 0 or a negative errno; 1 if there is none, as the kernel could not send it */
int pv_admin_answer(int fd);

/* What a dump has listed */
struct pv_admin_list {
	unsigned int objects;
	__u64 digest;		/* of their attributes */
};

/*
 * All that a *_GET command lists, or what it lists of @vm unless that is 0. 0 or a negative errno;
 * then the socket is good for nothing else, as the dump may not have come to its end.
 */
int pv_admin_dump(int fd, __u8 cmd, __u32 vm, struct pv_admin_list *list);

#endif /* PV_ADMIN_H */
