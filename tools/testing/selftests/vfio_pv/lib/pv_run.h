/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run of random ops against the model: the VMs, the batch of ops, and counters.
 *
 * The functions compare what happens with the model. They return false if something differs or
 * fails, after printing what.
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

/* Below 256 MiB, which edu devices reach; just below the MSIs; at the end of the window */
#define MAIN_IOVA	0x4000000ULL
#define MAIN_PAGES	4096
#define SCRATCH_IOVA	(MAIN_IOVA + (MAIN_PAGES - 1) * PV_PAGE)
#define SCRATCH		(PV_DATA + 0x1000)	/* GPA; devices reach it in bypass, too */

#define OWNER_SIZE	(8ULL << 20)

/* Memory that is unplugged and plugged: adjacent slots, so that large pages span them */
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

/* An op, and what the model says of its outcome */
struct entry {
	struct pviommu_op sent, want;
	struct model_reply reply;
	struct pviommu_op *slot;
};

/* A server of the VM's memory type, with the pages that it was told of, by the model's region */
struct run_server {
	int fd;				/* 0: no server */
	struct pviommu_server_ring *ring;	/* NULL: no server */
	bool typed[2][MODEL_TYPED];
	bool interface_went;		/* the server is told of a RESET late */
	bool to_be_told;		/* of pages that are about to be released */
};

struct run {
	struct pv_vm owner;	/* lends memory to the other VM */
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_vcpu cpu;
	__u32 self;		/* the VM's number */
	int owner_dev;		/* number of the owner's device; 0: no owner */
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
	/* Accesses of devices that led to memory, and that had to lead nowhere */
	unsigned int allowed, blocked;
	/* Calls of run_dma(), and those that found nothing to access */
	unsigned int dmas, dmas_idle;
	unsigned int entries, stores, bad, recalls;
	unsigned int claims, records, writes;
	unsigned int errors;
	__u64 kicks;
	const char *doorbell_pages;
	/* How many times each op was done and refused, by the bytes of its number */
	unsigned int done[10][4], refused[10][4];
	/* Events since the last call of run_drain_events() */
	__u32 events_lost;
	unsigned int bad_seen, gone_seen, gone_sorted;
	bool look_where;	/* only counters differ: look for the place */
	bool strange;		/* an event came that should not */
	__u32 isolated_seen;	/* the endpoint that the last EV_ISOLATED named */
	bool done_seen;
	__u64 done_token;
	struct entry batch[RINGS * RING_OPS];
};

/* ---- the VMs: pv_run_setup.c ------------------------------------------- */

/* The last of several devices is the owner's. Returns 0, or -ENODEV without any device */
int run_open(struct run *run, __u64 low_size, __u32 *owner);
int run_open_owner(struct run *run, __u32 *id);
/* After they are open, and the first device's BAR has been added as memory */
bool run_set_up(struct run *run, __u32 owner);
/* START, without some features */
bool run_start(struct run *run, __u64 without);
/* Grants by the owner: one of them, or all, with the owner's memory */
bool run_add_grant(struct run *run, unsigned int i, __u32 from);
bool run_borrow(struct run *run, __u32 from);

/* ---- ops and events: pv_run.c ------------------------------------------- */

/* Add an op to the batch, and have the model say what becomes of it */
void run_add(struct run *run, unsigned int ring, struct pviommu_op op);
/* Execute the batch and compare; empties it */
bool run_submit(struct run *run);
bool run_submit_one(struct run *run, struct pviommu_op op, __u32 *status);
/* LOOKUP of these IOVAs; IOVAs that the batch was about; LOOKUP of every page there is */
bool run_look_up(struct run *run, const __u64 *iovas, const __u32 *domains, unsigned int n);
unsigned int run_suspects(struct run *run, __u64 *iovas, __u32 *domains, unsigned int max);
bool run_sweep(struct run *run);

/* Take all events. True if none was lost since the last call */
bool run_drain_events(struct run *run);
/* After ops and stores: all events about bad entries have come, as far as there was room */
bool run_bad_are_good(struct run *run);
/* After memory has gone: all events about pages that devices could reach have come */
bool run_gone_are_good(struct run *run);

bool run_same_stats(const struct pviommu_stats *got, const struct pviommu_stats *want);
void run_print_stats(const char *what, const struct pviommu_stats *stats);
/* The table entry at @gpa; NULL if there is none */
__u64 *run_entry_at(const struct run *run, __u64 gpa);

/* ---- pv_run_server.c ------------------------------------------------------ */

/* Start or end the server */
bool run_change_server(struct run *run);
void run_server_close(struct run *run);
/* Take all of its records, so that its ring is never full */
void run_server_drain(struct run *run);
/* Does the server know of the same pages as the model? */
bool run_server_is_good(struct run *run);

/* ---- pv_run_dma.c, pv_run_change.c --------------------------------------- */

/*
 * Some transfers by a device, in a domain that it is attached to for that. None if no edu device
 * was found that is open, and a domain where it reaches anything.
 */
bool run_dma(struct run *run);
/* A random change between batches */
bool run_change(struct run *run);
/* Unplug these slots, if they are there */
bool run_memory_leaves(struct run *run, unsigned int first, unsigned int n);

#endif /* PV_RUN_H */
