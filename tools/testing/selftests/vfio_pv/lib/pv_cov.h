/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which places in the host's modules this thread reaches, where the kernel tells (kcov;
 * of the modules, those are instrumented that have KCOV_INSTRUMENT in their Kbuild).
 */
#ifndef PV_COV_H
#define PV_COV_H

#include <stdbool.h>
#include <linux/types.h>

struct pv_cov {
	int fd;			/* -1: the kernel does not tell */
	__u64 *trace;		/* how many places, then the places; the kernel writes it */
	__u64 *seen;		/* a hash table, 0 where nothing is */
	unsigned int nr;	/* places that were reached */
};

/* For the calling thread alone. False, and all that follows does nothing, without kcov */
bool pv_cov_open(struct pv_cov *cov);
void pv_cov_close(struct pv_cov *cov);

/* Forget what was reached since the last call */
void pv_cov_drop(struct pv_cov *cov);
/* Take it; how much of it was new */
unsigned int pv_cov_take(struct pv_cov *cov);

#endif /* PV_COV_H */
