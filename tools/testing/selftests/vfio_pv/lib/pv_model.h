/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of the host engine, as the ABI describes it: slow and obvious. Every
 * page of every domain is an entry of an array, every check is a line in the
 * order of the documented list of errors, and nothing is shared with the engine
 * but the constants of the ABI.
 *
 * MAP and MAP_LIST are for the IOVAs of a few arenas. Ops that would map anything
 * beside them are not for the model (model_can_tell()). What a guest-owned table
 * leads to may be anywhere.
 */
#ifndef PV_MODEL_H
#define PV_MODEL_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/pv_iommu.h>

#define MODEL_ARENAS	4
#define MODEL_REGIONS	16
#define MODEL_GRANTS	4
#define MODEL_DOMAINS	64	/* ids that ALLOC may give, and some more */
#define MODEL_ENDPOINTS	4
#define MODEL_PASIDS	2	/* 0 stands for none */
#define MODEL_RINGS	4
#define MODEL_RESERVED	64
#define MODEL_ROOTS	16
#define MODEL_PLACES	65536	/* more than there can be */
#define MODEL_PAGE	0x1000ULL
#define MODEL_BLOCK	512	/* pages, 2 MiB */
#define MODEL_TYPED	4096	/* pages of a region that CPUs can store to */

/* IOVAs that are looked at; base and size are multiples of 2 MiB */
struct model_arena {
	__u64 iova;
	__u32 npages;
};

/* Guest memory: what MAP_DMA has told, or will; the VM's own or another one's */
struct model_region {
	__u32 vm;		/* PVIOMMU_VM_SELF, or who lends it */
	__u64 gpa;
	__u64 size;
	char *hva;
	bool writable;
	bool ram;		/* can be pinned */
	bool present;
	bool kvm;		/* CPUs can store there, and the host watch it */
};

/* Memory of another VM that may be mapped, whether there is any or not */
struct model_grant {
	__u32 vm;
	__u64 gpa;
	__u64 last;
	__u32 prot;
	bool present;
};

/* Pages of another VM that were mapped at once, as one of the host's mappings */
struct model_loan {
	__u32 vm;
	__u64 first, last;	/* GPAs that it is between, there */
	__u64 pages;		/* not unpinned yet */
};

struct model_page {
	__u32 vm;		/* whose page it is */
	struct model_loan *loan;
	__u64 gfn;
	__u64 stale;		/* devices may reach an old page: when the domain's flushes are */
	__u8 prot;		/* 0: nothing is mapped */
	__u8 pgshift;
	bool first;		/* one of the host's mappings begins here */
	bool was_large;		/* in a mirror, of a page that the host has taken apart */
};

/* All pages of an aligned range of 2 MiB */
struct model_block {
	__u64 iova;
	struct model_page pages[MODEL_BLOCK];
};

/* Pages that were unmapped and are not unpinned yet */
struct model_waiting {
	unsigned int region;
	struct model_loan *loan;
	__u64 pages, mappings;
	bool flushed;
};

struct model_domain {
	bool exists;
	bool log;		/* of dirty pages */
	int levels;		/* of the guest's table; 0: there is none */
	__u64 root;
	bool watch;
	/* Where anything is or was mapped, by IOVA */
	struct model_block **blocks;
	unsigned int nr_blocks;
	__u64 flushes;		/* counts from 1 */
	/* What was unmapped, in this order; its pages by region, and how many mappings it was */
	struct model_waiting *waiting;
	unsigned int nr_waiting;
	__u64 limbo[MODEL_REGIONS];
	__u64 limbo_mappings;
	__u64 limbo_first;	/* IOVAs of what is not flushed */
	__u64 limbo_last;
};

struct model_endpoint {
	__u32 id;		/* 0: closed */
	__u32 group;
	__u32 domain;		/* of its group: the same in all endpoints of it */
	__u32 pasid_bits;
	__u32 pasids[MODEL_PASIDS];	/* the domain of each, as @domain */
	bool cut;		/* its group was, after an error; until RECOVER */
};

/* A table that would be taken for what it is by whoever names it */
struct model_root {
	__u64 gpa;
	int levels;
};

/* Where a look at a watched table has found one: it is watched there */
struct model_place {
	__u32 domain;
	int level;
	__u64 iova;		/* the first that it translates */
	__u64 gfn;
};

/* EV_FAULT with EV_F_ENTRY */
#define MODEL_BAD	(PVIOMMU_EVENT_SLOTS + 4096)

struct model_bad {
	__u32 domain;
	unsigned int reason;
	__u64 iova, size, gpa;
};

/* A page that a device could reach, and can't any more: memory is gone, or a grant */
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
	bool cancel[MODEL_RINGS];	/* the last op of the ring failed and was chained */
	__u64 max_domains;
	__u64 max_mappings;
	__u64 iface_pages;	/* pinned for the interface */
	/* Counters, as in STATS */
	__u64 ops;
	__u64 ops_failed;
	__u64 mappings;
	__u64 pages_mapped;
	/* What the host can watch pages with */
	bool tracked;
	struct model_root roots[MODEL_ROOTS];
	unsigned int nr_roots;
	/* In the order in which they came to be */
	struct model_place places[MODEL_PLACES];
	unsigned int nr_places;
	/* Is there a server, and which pages are of its type, by region */
	bool server;
	bool typed[MODEL_REGIONS][MODEL_TYPED];
	/* Events about bad entries, the first that find room; and how many there are */
	struct model_bad bad[MODEL_BAD];
	unsigned int nr_bad;
	/* Pages that events must name, once memory or a grant is gone */
	struct model_gone *gone;
	unsigned int nr_gone;
};

/* Pages that DIRTY_READ is compared for; it may be asked for more */
#define MODEL_DIRTY_PAGES	1024

/* What STATS, PROBE and DIRTY_READ must have written, of what can be foretold */
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
 * Execute an op as the host should: @op becomes what the host must make of it,
 * and @reply what it must have written elsewhere.
 */
void model_execute(struct model *m, unsigned int ring, struct pviommu_op *op,
		   struct model_reply *reply);
/* Is the op within what the model knows? */
bool model_can_tell(const struct model *m, const struct pviommu_op *op);

/*
 * UNMAP_DMA of a region, by whose it is; it is set to be no longer present. And a grant is
 * taken back. Pages that events must name are added to those in @m->gone.
 */
void model_region_leaves(struct model *m, unsigned int region);
void model_grant_ends(struct model *m, unsigned int grant);
/* A RELEASE of pages of the VM's own that was accepted has come to its end */
void model_pages_go(struct model *m, const __u64 *gfns, unsigned int nr);

/* Is there RAM of a VM, which can be written to if that is asked for */
bool model_ram(const struct model *m, __u32 vm, __u64 gpa, bool write);
/* A CPU stores there, within an entry: call it once that is in memory */
void model_written(struct model *m, __u64 gpa);
/* How many pages entries lead to that the host then looks at, good or bad */
__u64 model_work(struct model *m, __u64 gpa);
/* Is the page watched as one of a table? */
bool model_watched(const struct model *m, __u64 gpa);

/* A server claims the type of the VM's memory, or its claim ends */
void model_claim(struct model *m, bool claimed);
/* Is the page of the server's type? */
bool model_typed(const struct model *m, __u64 gpa);

/* The group of an endpoint is cut off after an error */
void model_cut(struct model *m, unsigned int ep);
/* Move the group of an endpoint; closing it moves it to blocked if it was the last */
void model_attach(struct model *m, unsigned int ep, __u32 domain);
void model_close(struct model *m, unsigned int ep);

/* Is any endpoint in bypass? */
bool model_in_bypass(const struct model *m);
__u64 model_pinned(const struct model *m);
__u64 model_nr_domains(const struct model *m);
/* Those that wait for a flush, or to be unpinned, count, too */
__u64 model_nr_mappings(const struct model *m);

/* The entry of a page; NULL where nothing was mapped since the domain is there */
struct model_page *model_page(const struct model *m, const struct model_domain *d, __u64 iova);
/* Whose memory is at @gpa; NULL if there is none now */
const struct model_region *model_region(const struct model *m, __u32 vm, __u64 gpa);

enum model_reach { MODEL_NOTHING, MODEL_MEMORY, MODEL_EITHER };

struct model_target {
	const struct model_region *region;
	__u64 gpa;
	__u32 prot;
};

/* Where an endpoint's DMA to @iova goes, with which rights */
enum model_reach model_dma(const struct model *m, unsigned int ep, __u64 iova,
			   struct model_target *target);

#endif /* PV_MODEL_H */
