/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures to order, on kernels built for it (FAULT_INJECTION): allocations of any
 * kind, copies from and to user space, and those functions of the host engine that pin,
 * charge, map and attach. All of them are counted together, for this thread alone.
 */
#ifndef PV_FAULT_H
#define PV_FAULT_H

#include <stdbool.h>

/* Why there is nothing to order here; NULL if there is */
const char *pv_fault_missing(void);

/* Make all failures possible, and stop that. False if the kernel refuses. */
bool pv_fault_begin(void);
void pv_fault_end(void);

/* The @nth thing that can fail from here on does, once (from 1) */
bool pv_fault_arm(unsigned int nth);
/* No more; was there one? */
bool pv_fault_disarm(void);

#endif /* PV_FAULT_H */
