/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures to order, on kernels built for it (FAULT_INJECTION): one after the other, of
 * two kinds that are counted apart.
 */
#ifndef PV_FAULT_H
#define PV_FAULT_H

#include <stdbool.h>

/* Why there is nothing to order here; NULL if there is */
const char *pv_fault_missing(void);

/* Make all failures possible, and stop that. False if the kernel refuses. */
bool pv_fault_begin(void);
void pv_fault_end(void);
/* Those of PV_FAULT_KERNEL alone, for where there is no host engine; nothing to stop */
bool pv_fault_begin_kernel(void);

enum pv_fault_kind {
	PV_FAULT_KERNEL,	/* allocations, copies from and to user space, of this thread */
	PV_FAULT_ENGINE,	/* charge, pin, map and attach, of all threads */
	PV_FAULT_KINDS
};

/* The @nth thing of its kind that can fail from here on does, once (from 1) */
bool pv_fault_arm(enum pv_fault_kind kind, unsigned int nth);
/* No more; was there one? */
bool pv_fault_disarm(void);

/*
 * To try each failure in turn: for (sweep = {}; pv_fault_next(&sweep);), and in the loop
 * pv_fault_arm(sweep.kind, sweep.nth), what is tried, sweep.was = pv_fault_disarm().
 */
struct pv_fault_sweep {
	enum pv_fault_kind kind;
	unsigned int nth;	/* 0 before the first */
	bool was;
	unsigned int count[PV_FAULT_KINDS];	/* of failures that there were */
};

bool pv_fault_next(struct pv_fault_sweep *sweep);

/* Print how many failures of each kind there were; all of them */
unsigned int pv_fault_report(const char *what, const struct pv_fault_sweep *sweep);

#endif /* PV_FAULT_H */
