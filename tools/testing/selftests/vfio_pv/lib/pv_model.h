/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of the host engine, as the ABI describes it: slow and obvious. Each page of each
 * domain is an array entry, each check is a line, in the documented order of errors. The model
 * shares nothing with the engine but the constants of the ABI.
 *
 * MAP and MAP_LIST are for the IOVAs of a few arenas: model_can_tell() is false of ops that would
 * map anything else. A guest-owned table may map any IOVA.
 */
#ifndef PV_MODEL_H
#define PV_MODEL_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/pv_iommu.h>

#define MODEL_ARENAS	4
#define MODEL_REGIONS	16
#define MODEL_GRANTS	4
#define MODEL_DOMAINS	64	/* more ids than ALLOC gives */
#define MODEL_ENDPOINTS	4
#define MODEL_PASIDS	2	/* 0 stands for none */
#define MODEL_RINGS	4
#define MODEL_RESERVED	64
#define MODEL_ROOTS	16
#define MODEL_PLACES	65536	/* never reached */
#define MODEL_PAGE	0x1000ULL
#define MODEL_BLOCK	512	/* pages, 2 MiB */
#define MODEL_TYPED	4096	/* pages of a region that CPUs can store to */

/* IOVAs to map; base and size are multiples of 2 MiB */
struct model_arena {
	__u64 iova;
	__u32 npages;
};

/* Guest memory that MAP_DMA adds, now or later: of the VM itself, or of another one */
struct model_region {
	__u32 vm;		/* PVIOMMU_VM_SELF, or the VM that lends it */
	__u64 gpa;
	__u64 size;
	char *hva;
	bool writable;
	bool ram;		/* can be pinned */
	bool present;
	bool kvm;		/* CPUs can store there, and the host can watch it */
};

/* A grant of memory of another VM, whether or not there is memory */
struct model_grant {
	__u32 vm;
	__u64 gpa;
	__u64 last;
	__u32 prot;
	bool present;
};

/* Pages of another VM that were mapped together, as one mapping of the host */
struct model_loan {
	__u32 vm;
	__u64 first, last;	/* the range of GPAs in that VM */
	__u64 pages;		/* that are still pinned */
};

struct model_page {
	__u32 vm;		/* the VM that has the page */
	struct model_loan *loan;
	__u64 gfn;
	__u64 stale;		/* at this number of flushes, a device may reach an old page */
	__u8 prot;		/* 0: not mapped */
	__u8 pgshift;
	bool first;		/* the first page of a mapping of the host */
	bool was_large;		/* in a mirror: part of a large page that the host has split */
};

/* All pages of an aligned range of 2 MiB */
struct model_block {
	__u64 iova;
	struct model_page pages[MODEL_BLOCK];
};

/* Pages that are unmapped but still pinned */
struct model_waiting {
	unsigned int region;
	struct model_loan *loan;
	__u64 pages, mappings;
	bool flushed;
};

struct model_domain {
	bool exists;
	bool log;		/* dirty log */
	int levels;		/* of the guest-owned table; 0: none */
	__u64 root;
	bool watch;
	/* All that is or was mapped, by IOVA */
	struct model_block **blocks;
	unsigned int nr_blocks;
	__u64 flushes;		/* counted from 1 */
	/* What was unmapped, in order; its pages by region, and its number of mappings */
	struct model_waiting *waiting;
	unsigned int nr_waiting;
	__u64 limbo[MODEL_REGIONS];
	__u64 limbo_mappings;
	__u64 limbo_first;	/* range of IOVAs that are not flushed */
	__u64 limbo_last;
};

struct model_endpoint {
	__u32 id;		/* 0: closed */
	__u32 group;
	__u32 domain;		/* of its group, so all endpoints of a group have the same */
	__u32 pasid_bits;
	__u32 pasids[MODEL_PASIDS];	/* the domain of each, as @domain */
};

/* A table that ALLOC may name as a root */
struct model_root {
	__u64 gpa;
	int levels;
};

/* A page of a watched table, at one of its places in the table */
struct model_place {
	__u32 domain;
	int level;
	__u64 iova;		/* first IOVA that it translates there */
	__u64 gfn;
};

/* Events EV_FAULT with EV_F_ENTRY */
#define MODEL_BAD	(PVIOMMU_EVENT_SLOTS + 4096)

struct model_bad {
	__u32 domain;
	unsigned int reason;
	__u64 iova, size, gpa;
};

/* A page that a device can't reach any more, as its memory or the grant has gone */
struct model_gone {
	__u32 domain;
	__u32 vm;
	__u64 iova, gfn;
};

struct model {
	__u64 features;		/* offered */
	__u64 accepted;
	__u64 window_start;
	__u64 window_last;
	__u32 nr_reserved;
	struct { __u64 start, last; } reserved[MODEL_RESERVED];
	struct model_arena arenas[MODEL_ARENAS];
	struct model_region regions[MODEL_REGIONS];
	unsigned int nr_regions;
	struct model_grant grants[MODEL_GRANTS];
	unsigned int nr_grants;
	struct model_endpoint endpoints[MODEL_ENDPOINTS];
	unsigned int nr_endpoints;
	struct model_domain domains[MODEL_DOMAINS];
	bool cancel[MODEL_RINGS];	/* the ring's last op was chained and failed */
	__u64 max_domains;
	__u64 max_mappings;
	__u64 iface_pages;	/* pinned for the interface */
	/* Counters, as in STATS */
	__u64 ops;
	__u64 ops_failed;
	__u64 mappings;
	__u64 pages_mapped;
	/* The host can watch pages */
	bool tracked;
	struct model_root roots[MODEL_ROOTS];
	unsigned int nr_roots;
	/* In the order in which they were found */
	struct model_place places[MODEL_PLACES];
	unsigned int nr_places;
	/* Whether there is a server, and the pages of its type by region */
	bool server;
	bool typed[MODEL_REGIONS][MODEL_TYPED];
	/* Events about bad entries: the first ones, as many as find room; and their number */
	struct model_bad bad[MODEL_BAD];
	unsigned int nr_bad;
	/* Pages that events must name, as memory or a grant has gone */
	struct model_gone *gone;
	unsigned int nr_gone;
};

/* How many pages' bits of DIRTY_READ are compared; an op may ask for more */
#define MODEL_DIRTY_PAGES	1024

/* What STATS, PROBE and DIRTY_READ must have written, as far as it can be predicted */
struct model_reply {
	__u32 code;		/* 0: nothing */
	struct pviommu_stats stats;
	struct pviommu_probe probe;
	__u64 dirty[MODEL_DIRTY_PAGES / 64];
};

void model_exit(struct model *m);

/* START with these features, and RESET */
void model_start(struct model *m, __u64 features);
void model_reset(struct model *m);

/*
 * Execute an op: @op becomes what the host must make of it, and @reply what the host must have
 * written elsewhere.
 */
void model_execute(struct model *m, unsigned int ring, struct pviommu_op *op,
		   struct model_reply *reply);
/* Can the model predict the op's outcome? */
bool model_can_tell(const struct model *m, const struct pviommu_op *op);

/*
 * UNMAP_DMA of a region, which is set to be not present any more; and the end of a grant. Pages
 * that events must name are added to @m->gone.
 */
void model_region_leaves(struct model *m, unsigned int region);
void model_grant_ends(struct model *m, unsigned int grant);
/* A RELEASE of own pages, which was accepted, is complete */
void model_pages_go(struct model *m, const __u64 *gfns, unsigned int nr);

/* Is there RAM of a VM, which is writable if @write? */
bool model_ram(const struct model *m, __u32 vm, __u64 gpa, bool write);
/* A CPU has stored within a table entry; call it when the value is in memory */
void model_written(struct model *m, __u64 gpa);
/* How many pages are named by the entries that the host looks at after a store there */
__u64 model_work(struct model *m, __u64 gpa);
/* Is the page watched as a page of a table? */
bool model_watched(const struct model *m, __u64 gpa);

/* A server claims the type of the VM's memory, or its claim ends */
void model_claim(struct model *m, bool claimed);
/* Is the page of the server's type? */
bool model_typed(const struct model *m, __u64 gpa);

/* Move the group of an endpoint; closing it moves it to blocked if it was the last */
void model_attach(struct model *m, unsigned int ep, __u32 domain);
void model_close(struct model *m, unsigned int ep);

/* Is any endpoint in bypass? */
bool model_in_bypass(const struct model *m);
__u64 model_pinned(const struct model *m);
__u64 model_nr_domains(const struct model *m);
/* Mappings that wait for a flush, or to be unpinned, count, too */
__u64 model_nr_mappings(const struct model *m);

/* A page of a domain; NULL if nothing was ever mapped there */
struct model_page *model_page(const struct model *m, const struct model_domain *d, __u64 iova);
/* The region with @gpa; NULL if there is no memory now */
const struct model_region *model_region(const struct model *m, __u32 vm, __u64 gpa);

enum model_reach { MODEL_NOTHING, MODEL_MEMORY, MODEL_EITHER };

struct model_target {
	const struct model_region *region;
	__u64 gpa;
	__u32 prot;
};

/* Where DMA of an endpoint to @iova goes, and with which rights */
enum model_reach model_dma(const struct model *m, unsigned int ep, __u64 iova,
			   struct model_target *target);

#endif /* PV_MODEL_H */
