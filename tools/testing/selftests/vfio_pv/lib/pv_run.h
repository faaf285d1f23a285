/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run of random ops against the model: the VMs, the batch, and what was counted.
 *
 * All that is called here is held against the model; false: something was not as it says, or
 * did not work, and that was printed.
 */
#ifndef PV_RUN_H
#define PV_RUN_H

#include "pv_cov.h"
#include "pv_fuzz.h"
#include "pv_kvm.h"

#define RINGS		MODEL_RINGS
#define ORDER		PVIOMMU_RING_ORDER_MAX
#define RING_OPS	1024
#define MAX_KICKS	200000

/* Below 256 MiB, where edu devices reach, and below MSIs, and the end of the window */
#define MAIN_IOVA	0x4000000ULL
#define MAIN_PAGES	4096
#define SCRATCH_IOVA	(MAIN_IOVA + (MAIN_PAGES - 1) * PV_PAGE)
#define SCRATCH		(PV_DATA + 0x1000)	/* GPA; reached in bypass as well */

#define OWNER_SIZE	(8ULL << 20)

/* Memory that comes and goes: slots that touch, so that large pages span them */
#define SLOTS		8
#define SLOT_SIZE	0x100000ULL
#define SLOTS_GPA	0x200000000ULL
#define FIRST_SLOT	4			/* among the regions of the model */
#define FIRST_LENT	(FIRST_SLOT + SLOTS)
#define LENT		3

#define MAX_DOMAINS	14
#define TAG		64			/* bytes of a transfer */
#define EDU_REACH	0x10000000ULL

#define LENT_GRANTS	4

/* An op, and what must become of it */
struct entry {
	struct pviommu_op sent, want;
	struct model_reply reply;
	struct pviommu_op *slot;
};

/* A server of the VM's memory type: its pages, as it was told, by the model's region */
struct run_server {
	int fd;				/* 0: there is none */
	struct pviommu_server_ring *ring;	/* NULL: there is none */
	bool typed[2][MODEL_TYPED];
	bool interface_went;		/* which it is told late */
	bool to_be_told;		/* of pages that are about to go */
};

struct run {
	struct pv_vm owner;	/* of memory that the other VM may map */
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_vcpu cpu;
	__u32 self;		/* the VM's number */
	int owner_dev;		/* its number among all; 0: there is no owner */
	long long grants[MODEL_GRANTS];
	struct model model;
	struct fuzz fuzz;
	struct pv_cov cov;
	__u64 seed;
	struct run_server server;
	bool tables;		/* domains may have guest-owned tables */
	char *slots;		/* memory of the slots */
	unsigned int nr;	/* ops in the batch */
	unsigned int in_ring[RINGS];
	unsigned int batches, lookups, transfers, memory, released, restarts;
	unsigned int entries, stores, bad, recalls;
	unsigned int claims, records, writes;
	unsigned int errors;
	__u64 kicks;
	const char *doorbell_pages;
	/* How often an op was done and refused, by the bytes of its number */
	unsigned int done[10][4], refused[10][4];
	/* Events: what has come since it was last asked for */
	__u32 events_lost;
	unsigned int bad_seen, gone_seen, gone_sorted;
	bool look_where;	/* counters differ, which does not tell where */
	bool strange;		/* one that should not have come */
	__u32 isolated_seen;	/* the endpoint of which that was told last */
	bool done_seen;
	__u64 done_token;
	struct entry batch[RINGS * RING_OPS];
};

/* ---- the VMs: pv_run_setup.c ------------------------------------------- */

/* The last of several devices is the owner's; 0, or -ENODEV without any device */
int run_open(struct run *run, __u64 low_size, __u32 *owner);
int run_open_owner(struct run *run, __u32 *id);
/* Once they are open, and the first device's BAR is memory too */
bool run_set_up(struct run *run, __u32 owner);
/* START, without some features */
bool run_start(struct run *run, __u64 without);
/* Grants from the owner, one or all, and its memory */
bool run_add_grant(struct run *run, unsigned int i, __u32 from);
bool run_borrow(struct run *run, __u32 from);

/* ---- ops and events: pv_run.c ------------------------------------------- */

/* Add an op to the batch, and know what becomes of it */
void run_add(struct run *run, unsigned int ring, struct pviommu_op op);
/* Have the batch executed and compared; then it is empty again */
bool run_submit(struct run *run);
bool run_submit_one(struct run *run, struct pviommu_op op, __u32 *status);
/* LOOKUP of these; of what the batch was about; of all that there is */
bool run_look_up(struct run *run, const __u64 *iovas, const __u32 *domains, unsigned int n);
unsigned int run_suspects(struct run *run, __u64 *iovas, __u32 *domains, unsigned int max);
bool run_sweep(struct run *run);

/* All events that have come; true if none was lost since it was last asked */
bool run_drain_events(struct run *run);
/* After ops and stores: all events about bad entries that found room must have come */
bool run_bad_are_good(struct run *run);
/* After memory has gone: the same about pages that could be reached until then */
bool run_gone_are_good(struct run *run);

bool run_same_stats(const struct pviommu_stats *got, const struct pviommu_stats *want);
void run_print_stats(const char *what, const struct pviommu_stats *stats);
/* Where an entry of a table is; NULL for nowhere */
__u64 *run_entry_at(const struct run *run, __u64 gpa);

/* ---- pv_run_server.c ------------------------------------------------------ */

/* There comes a server, or it goes */
bool run_change_server(struct run *run);
void run_server_close(struct run *run);
/* It takes what it is told: a full ring is not for this test */
void run_server_drain(struct run *run);
/* Is what it was told what the model has? */
bool run_server_is_good(struct run *run);

/* ---- pv_run_dma.c, pv_run_change.c --------------------------------------- */

/* Some transfers of a device, in a domain that it is attached to for that */
bool run_dma(struct run *run);
/* What happens between batches */
bool run_change(struct run *run);
/* These slots, as far as they are there */
bool run_memory_leaves(struct run *run, unsigned int first, unsigned int n);

#endif /* PV_RUN_H */
