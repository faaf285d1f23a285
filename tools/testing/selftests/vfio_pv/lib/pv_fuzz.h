/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A generator of op streams, as correct and broken guests may send them. A stream depends on the
 * seed and the state of the model only.
 */
#ifndef PV_FUZZ_H
#define PV_FUZZ_H

#include "pv_model.h"
#include "pv_vm.h"

/* Pages for lists, and places for the answers of PROBE, STATS and DIRTY_READ */
#define FUZZ_LISTS		0x200000ULL
#define FUZZ_MAX_LISTS		512
#define FUZZ_REPLIES		0x180000ULL
#define FUZZ_REPLY_SIZE		128
#define FUZZ_MAX_REPLIES	4000

/* Pages of guest-owned tables, in low memory; some are elsewhere */
#define FUZZ_TABLES		(PV_DATA + 0x800000)
#define FUZZ_MAX_TABLES		32

/* A page that is used as a table of this level, or of a lower one, but of no higher one */
struct fuzz_table {
	__u64 gpa;
	int level;
};

/* An entry to write to a table, and where */
struct fuzz_entry {
	__u64 gpa;
	__u64 value;
};

struct fuzz {
	__u64 state;		/* of the random numbers */
	struct model *model;
	struct pv_vm *vm;
	__u64 hot;		/* an IOVA around which much happens */
	bool small_doorbells;	/* ops that take many doorbells should be rare */
	unsigned int lists;	/* used since fuzz_batch() */
	unsigned int replies;
	struct fuzz_table tables[FUZZ_MAX_TABLES];
	unsigned int nr_tables;
};

/* Begin a stream: guest memory that older ops point to may be reused */
void fuzz_batch(struct fuzz *f);
/* The next op; the model can predict its outcome */
struct pviommu_op fuzz_op(struct fuzz *f);
/* A number below @n */
__u64 fuzz_below(struct fuzz *f, __u64 n);
/* Whether such a number is 0 */
bool fuzz_one_in(struct fuzz *f, __u64 n);
/* An address in the VM's memory, in another VM's, or in none */
__u64 fuzz_gpa(struct fuzz *f, __u32 vm);
/* An IOVA of the arenas; a domain that may or may not exist */
__u64 fuzz_iova(struct fuzz *f);
__u32 fuzz_domain(struct fuzz *f);

/* ---- guest-owned tables: pv_fuzz_table.c -------------------------------- */

/* Add a page for tables, which the model is told about if it can be a root */
void fuzz_add_table(struct fuzz *f, __u64 gpa, int level);
/* Does a range overlap a page of a table? */
bool fuzz_is_table(const struct fuzz *f, __u64 gpa, __u64 size);
/*
 * Does an entry, which may be made of halves of others, link a page as a table that is not one,
 * and so may change while the host reads it, or that is one of another level?
 */
bool fuzz_leads_astray(const struct fuzz *f, const struct fuzz_entry *entry);
/* A new value for an entry: valid, bad, or a hole */
struct fuzz_entry fuzz_entry(struct fuzz *f);
/* An IOVA that a table may translate; ops about tables */
__u64 fuzz_table_iova(struct fuzz *f);
struct pviommu_op fuzz_alloc_table(struct fuzz *f, __u32 endpoint);
struct pviommu_op fuzz_look(struct fuzz *f, __u32 domain);

#endif /* PV_FUZZ_H */
