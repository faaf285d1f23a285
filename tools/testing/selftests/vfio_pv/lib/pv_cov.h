/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Coverage: which places in the host's modules the calling thread reaches, if the kernel has
 * kcov. Of the modules, those are instrumented that have KCOV_INSTRUMENT in their Kbuild.
 */
#ifndef PV_COV_H
#define PV_COV_H

#include <stdbool.h>
#include <linux/types.h>

struct pv_cov {
	int fd;			/* -1: no kcov */
	__u64 *trace;		/* shared with the kernel: a count, then as many places */
	__u64 *seen;		/* hash table of places; 0 is an empty slot */
	unsigned int nr;	/* different places reached */
};

/* For the calling thread. False without kcov; then the calls below do nothing */
bool pv_cov_open(struct pv_cov *cov);
void pv_cov_close(struct pv_cov *cov);

/* Forget what was reached since the last call */
void pv_cov_drop(struct pv_cov *cov);
/* Record what was reached since the last call; returns how many places are new */
unsigned int pv_cov_take(struct pv_cov *cov);

#endif /* PV_COV_H */
