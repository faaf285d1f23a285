/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A generator of op streams: what good and bad guests may write. The stream
 * depends on nothing but the seed and the state of the model.
 */
#ifndef PV_FUZZ_H
#define PV_FUZZ_H

#include "pv_model.h"
#include "pv_vm.h"

/* Pages for the lists of MAP_LIST, and places for the answers of PROBE and STATS */
#define FUZZ_LISTS		0x200000ULL
#define FUZZ_MAX_LISTS		512
#define FUZZ_REPLIES		0x180000ULL
#define FUZZ_REPLY_SIZE		128
#define FUZZ_MAX_REPLIES	4000

struct fuzz {
	__u64 state;		/* of the random numbers */
	const struct model *model;
	struct pv_vm *vm;
	__u64 hot;		/* an IOVA around which much happens */
	unsigned int lists;	/* used since fuzz_batch() */
	unsigned int replies;
};

/* Guest memory that ops point to may be used anew */
void fuzz_batch(struct fuzz *f);
/* The next op; it is one that the model can foretell */
struct pviommu_op fuzz_op(struct fuzz *f);
/* A number below @n */
__u64 fuzz_below(struct fuzz *f, __u64 n);
/* An IOVA of the arenas; a domain that may or may not exist */
__u64 fuzz_iova(struct fuzz *f);
__u32 fuzz_domain(struct fuzz *f);

#endif /* PV_FUZZ_H */
