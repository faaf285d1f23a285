/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures to inject, on kernels built for it (FAULT_INJECTION). There are two kinds of them,
 * counted separately, and each is injected once, one after the other.
 */
#ifndef PV_FAULT_H
#define PV_FAULT_H

#include <stdbool.h>

/* Why nothing can be injected here; NULL if it can */
const char *pv_fault_missing(void);

/* Prepare the kernel for both kinds of failures, and undo that. False if the kernel refuses. */
bool pv_fault_begin(void);
void pv_fault_end(void);
/* Those of PV_FAULT_KERNEL alone, for where there is no host engine; nothing to stop */
bool pv_fault_begin_kernel(void);

enum pv_fault_kind {
	PV_FAULT_KERNEL,	/* allocations and user copies of this thread */
	PV_FAULT_ENGINE,	/* charge, pin, map and attach in the engine, of all threads */
	PV_FAULT_KINDS
};

/* Let the @nth call of this kind that can fail, counted from 1 from here on, fail once */
bool pv_fault_arm(enum pv_fault_kind kind, unsigned int nth);
/* Inject no more. Was the failure injected? */
bool pv_fault_disarm(void);

/*
 * All failures of both kinds, one after the other:
 *
 *	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
 *		pv_fault_arm(sweep.kind, sweep.nth);
 *		... what is tried
 *		sweep.was = pv_fault_disarm();
 *	}
 */
struct pv_fault_sweep {
	enum pv_fault_kind kind;
	unsigned int nth;	/* 0 before the first */
	bool was;		/* the failure was injected */
	unsigned int count[PV_FAULT_KINDS];	/* failures that were injected */
};

bool pv_fault_next(struct pv_fault_sweep *sweep);

/* Print how many failures of each kind were injected; returns their sum */
unsigned int pv_fault_report(const char *what, const struct pv_fault_sweep *sweep);

#endif /* PV_FAULT_H */
