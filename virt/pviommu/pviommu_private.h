/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host engine of the paravirtual IOMMU: data model and locking.
 *
 * A struct pviommu_vm stands for one VFIO container, that is for one VM. It has the VM's
 * memory (slots, from MAP_DMA), the isolation groups that the VM was given, the endpoints
 * in them (open devices), the domains that the guest has made, and, while the guest
 * driver runs, the interface (rings, doorbell, event ring).
 *
 * A mapping is made by a MAP or MAP_LIST, for up to PVIOMMU_CHUNK pages, and may be split
 * by an UNMAP. It owns one pin for each of its pages. Unmapping removes it from the page
 * table and the tree and puts it into the domain's limbo. There it keeps its pins until
 * the IOTLB has been flushed: unmap, flush, then unpin. A mapping of another VM's pages
 * has a loan, by which that VM can end it.
 *
 * Terms: GPA is a guest physical address, GFN its frame number; HVA an address in the
 * VMM; HPA a host physical address; IOVA an address that a device uses. `last' is
 * inclusive, `end' exclusive. Pages have 4 KiB unless said otherwise. "Context of the op"
 * is the struct pviommu_op_ctx.
 *
 * Lock order, outermost first:
 *
 *   pviommu_groups_lock     list of all groups
 *   vm->control_lock        START and RESET, one at a time; never in a doorbell
 *   vm->iface_lock          read: a doorbell is being served; write: start/stop
 *   ring->lock              one server of a ring at a time
 *   vm->mem_lock            read: slots and groups are used; write: they change
 *   vm->cfg_lock            endpoints, domains, which domain a group is in
 *   pviommu_grants_lock     all grants; never in a doorbell; waits for no VM
 *   owner->loans_lock       what other VMs map of this VM's memory
 *   table->lock             one look at a guest-owned table at a time
 *   domain->lock            mappings, limbo, page table
 *   vm->attach_lock         what is attached in the IOMMU, and flushes; taken without any
 *                           other lock to cut a group off
 *   vm->account_lock        what is charged to the VMM; never taken by another VM
 *   mmap_lock of the VMM    taken by pinning and accounting
 *   vm->types.change_lock   a page gets a type, and the server is told; which pages
 *                           of tables are watched; never waits
 *   vm->types.lock          spinlock: who is the server
 *   server->lock            spinlock: a server's ring
 *   vm->release_lock        list of releases; takes nothing
 *   vm->grants_lock         spinlock: grants to this VM; takes nothing
 *   vm->events.lock         irq-safe spinlock, innermost
 *
 * Two VMs: the one that maps (the borrower) may hold its own locks down to mem_lock when
 * it takes the owner's loans_lock. With an owner's loans_lock held, a borrower's locks
 * may be taken from domain->lock on. In no other case are locks of two VMs held. To make a
 * loan, the borrower holds domain->lock when it tries to take loans_lock, and does not wait.
 * Recalls go before the borrower's own threads: see pviommu_domain_lock().
 *
 * A doorbell through a tracked page is served under KVM's SRCU read lock. Of these locks
 * only control_lock is held while a doorbell is destroyed, which waits for SRCU.
 */
#ifndef _PVIOMMU_PRIVATE_H
#define _PVIOMMU_PRIVATE_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pv_iommu_host.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/pv_iommu.h>
#include <uapi/linux/pv_iommu_server.h>

#include "frames.h"

/* Page sizes that MAP takes: with these, every page can be unmapped again on its own */
#define PVIOMMU_PGSIZES	(SZ_4K | SZ_2M)

/* More than any device can address. One past it does not wrap. */
#define PVIOMMU_IOVA_MAX	GENMASK_ULL(56, 0)

/* Pages that are pinned and mapped at a time; one mapping has no more */
#define PVIOMMU_CHUNK	512

/*
 * Pages that are mapped or unmapped, or mappings that are looked at, before domain->lock is
 * dropped: an owner of memory that is lent may wait for it
 */
#define PVIOMMU_HOLD	512U

/*
 * Make IOMMU drivers leave all flushing to pviommu_hw_sync(). Those of x86 then flush the
 * range that it names. Others, such as SMMUv2's, would flush nothing then.
 */
#define PVIOMMU_GATHER_QUEUED	IS_ENABLED(CONFIG_X86)

/* ---- memory of the VM (memory.c) ---------------------------------- */

/* A range of guest memory, as given by VFIO_IOMMU_MAP_DMA */
struct pviommu_slot {
	struct interval_tree_node it;	/* GPAs */
	unsigned long hva;
	u8 prot;			/* PVIOMMU_PROT_READ, PVIOMMU_PROT_WRITE */
	bool ram;			/* pages can be pinned */
	atomic64_t pins;		/* of its pages, by mappings and windows of this VM */
};

/*
 * Is it RAM of the guest? Memory that devices may not read is not: they reach it in bypass, for
 * writing, and that is all.
 */
static inline bool pviommu_slot_is_ram(const struct pviommu_slot *slot)
{
	return slot->ram && slot->prot & PVIOMMU_PROT_READ;
}

static inline bool pviommu_slot_writable(const struct pviommu_slot *slot)
{
	return slot->prot & PVIOMMU_PROT_WRITE;
}

/* Guest memory that is pinned for the kernel's own use (guest_mem.c) */
struct pviommu_window {
	struct list_head entry;		/* entry of vm->windows */
	u64 gpa;
	u32 npages;
	struct page **pages;		/* NULL: not open */
};

/* ---- mappings (mapping.c) ------------------------------------------ */

/* Pages that are contiguous in guest and host physical memory */
struct pviommu_run {
	u64 gfn;
	u64 hpfn;
	u32 npages;
};

struct pviommu_mapping {
	union {
		struct interval_tree_node it; /* IOVAs; not in limbo */
		struct list_head lent;	/* in limbo: entry of loan->limbo */
	};
	union {
		struct list_head limbo;	/* entry of pviommu_domain.limbo */
		struct hlist_node spare; /* entry of pviommu_domain.spare */
	};
	u64 npages;
	u32 nr_runs;
	u8 pgshift : 7;			/* log2 of the page size: UNMAP may cut at multiples */
	u8 was_large : 1;		/* in a mirror: part of a large page that was split */
	u8 prot;			/* PVIOMMU_PROT_* */
	u16 room;			/* how many runs there is memory for */
	struct pviommu_loan *loan;	/* another VM's pages; NULL: our own */
	struct pviommu_run runs[] __counted_by(nr_runs);
};

/* ---- memory of other VMs (grant.c, loan.c) -------------------------- */

/* The administrator's permission for a VM to map memory of another */
struct pviommu_grant {
	refcount_t refs;
	u32 id;
	struct pviommu_vm *from;	/* valid until the grant has ended, and while it is held */
	struct pviommu_vm *to;		/* valid until the grant has ended */
	struct list_head entry;		/* entry of to->grants; to->grants_lock */
	u64 gpa;			/* of @from */
	u64 last;
	u8 prot;			/* PVIOMMU_PROT_READ, PVIOMMU_PROT_WRITE */
	bool dead;			/* taken back; from->loans_lock */
	atomic64_t pages;		/* how many are mapped by it */
};

/* A grant, as described to the administrator */
struct pviommu_grant_info {
	u32 id;
	u32 from;
	u32 to;
	u8 prot;
	u64 gpa;
	u64 last;
	u64 pages;
};

/* State of an op that maps another VM's pages */
struct pviommu_borrow {
	struct pviommu_grant *grant;
	u64 epoch;			/* of the owner, at the first pin; 0 before */
};

/* Another VM's pages that one mapping, and the pieces it was split into, hold */
struct pviommu_loan {
	struct interval_tree_node it;	/* GPAs of the owner; in owner->loans */
	struct pviommu_grant *grant;	/* held; grant->from is the owner */
	struct pviommu_domain *domain;	/* valid while domain->nr_loans counts this one */
	u64 iova;			/* where it was mapped */
	u64 npages;			/* how much was mapped */
	struct list_head limbo;		/* pieces that are unmapped; domain->lock */
	refcount_t pieces;		/* mappings that have it as their loan */
	atomic_t taken;			/* how many of these the borrower is giving back */
};

/* ---- domains (domain.c) -------------------------------------------- */

enum pviommu_domain_kind {
	PVIOMMU_KIND_GUEST,	/* filled by MAP and MAP_LIST */
	PVIOMMU_KIND_BYPASS,	/* all slots, IOVA is GPA; has no mappings */
	PVIOMMU_KIND_TABLE,	/* mirrors a guest-owned table */
};

/* A guest-owned table; the domain's mappings are the mirror of what was seen of it */
struct pviommu_table {
	struct mutex lock;		/* one look at a time, until what it saw is mapped */
	u64 root;			/* GPA */
	u8 levels;
	struct pviommu_scratch *scratch; /* NULL: its pages are not watched */
	struct xarray places;		/* watched pages; vm->types.change_lock */
	bool ended;			/* no page may be watched any more; as places */
	bool has_split;			/* a large page was split, once; domain->lock */
};

struct pviommu_domain {
	struct kref kref;
	struct pviommu_vm *vm;
	struct list_head bypass_entry;	/* entry of vm->bypass; vm->cfg_lock */
	enum pviommu_domain_kind kind;
	u32 id;
	u32 nr_groups;			/* vm->cfg_lock */
	u32 nr_pasids;			/* at which it is attached; vm->cfg_lock */
	struct iommu_domain *hw;
	atomic_t nr_loans;		/* see pviommu_loans_settle() */
	atomic_t recalls;		/* loans that are being recalled: pviommu_domain_lock() */
	struct pviommu_table *table;	/* of PVIOMMU_KIND_TABLE, else NULL */

	struct mutex lock;		/* protects the rest */
	struct rb_root_cached mappings;
	struct list_head limbo;		/* unmapped, not flushed */
	struct list_head flushed;	/* flushed, not unpinned */
	struct hlist_head spare;	/* unused mappings of one run, for reuse */
	u32 nr_spare;
	bool dead;			/* being freed: takes no mappings */
	bool dirty;			/* the guest has switched the log on */
	struct iommu_iotlb_gather gather;
	u64 gather_start;		/* IOVAs to flush: start > last if there are none */
	u64 gather_last;
};

/* ---- groups and endpoints (endpoint.c) ----------------------------- */

/* An error cuts a group off at once; its record is updated when the VM's locks are free */
enum pviommu_cut {
	PVIOMMU_CUT_NONE,
	PVIOMMU_CUT_BEGUN,	/* may be cut off already or not */
	PVIOMMU_CUT_DONE,	/* is cut off, but its record (grp->domain) is out of date */
};

struct pviommu_group {
	struct list_head global_entry;	/* pviommu_groups_lock */
	struct list_head entry;		/* entry of vm->groups; vm->cfg_lock */
	struct pviommu_vm *vm;
	struct iommu_group *group;
	struct pviommu_domain *domain;	/* NULL: blocked; vm->cfg_lock */
	/* What the kernel has for the current domain, and will have for the next one */
	struct iommu_attach_handle handles[2];
	u32 next_handle;		/* vm->cfg_lock */
	atomic_t cut;			/* enum pviommu_cut; can't be attached unless NONE */
	struct work_struct cut_work;	/* settles it */
	bool held;			/* was cut off: must be recovered first; vm->cfg_lock */
	u32 id;				/* for the guest; counts from 1 in each VM */
	u32 flags;			/* PVIOMMU_PROBE_* */
	u64 window_start;		/* IOVAs that its domains can translate */
	u64 window_last;
	u32 pasid_bits;			/* 0: no PASIDs */
	struct xarray pasids;		/* struct pviommu_pasid; vm->cfg_lock, and attach_lock */
	struct list_head regions;	/* of struct iommu_resv_region */
};

struct pviommu_endpoint {
	struct rcu_head rcu;
	struct pviommu_vm *vm;
	struct pviommu_group *group;
	struct device *dev;
	u32 id;
	u32 pasid_bits;			/* 0: no PASIDs */
	struct kvm *kvm;		/* NULL without KVM; VFIO holds it */
	bool quiesced;			/* the VMM switched bus mastering off; vm->cfg_lock */
	bool in_error;			/* the host is handling one; no lock */
};

/* ---- ops (hypercall.c) --------------------------------------------- */

/* Context of an op: what its handler is given besides the op */
struct pviommu_op_ctx {
	struct pviommu_vm *vm;
	struct pviommu_scratch *scratch;
	u64 features;			/* PVIOMMU_F_* that the guest has accepted */
	u32 *budget;			/* work left in this doorbell */
	u64 done;			/* bytes done by the op so far */
	int failed;			/* negative errno: the op fails, and is being undone */
	bool resumed;			/* the op has used up a doorbell before */
	bool answered;			/* the op's arguments hold an answer */
};

/*
 * A handler returns 0; a negative errno, and then nothing has changed unless the
 * op's description says otherwise; or -EINPROGRESS when the budget is used up. Then it
 * is called again with the same op, ctx->done and ctx->failed by the next doorbell.
 */
typedef int (*pviommu_op_fn)(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			     u64 *result);

/* What the work on a page costs of a doorbell's budget */
#define PVIOMMU_COST_MAP	4
#define PVIOMMU_COST_UNMAP	1
#define PVIOMMU_COST_UNPIN	1
/* KVM flushes TLBs each time */
#define PVIOMMU_COST_WATCH	64
/* Reading so many entries of a guest-owned table costs 1 */
#define PVIOMMU_LOOK_ENTRIES	8

static inline void pviommu_spend(u32 *budget, u64 cost)
{
	if (budget)
		*budget -= min_t(u64, cost, *budget);
}

/* ---- rings (ring.c) ------------------------------------------------ */

/* Memory that an op may use, so that it need not allocate any */
struct pviommu_scratch {
	struct page *pages[PVIOMMU_CHUNK];
	__le64 list[PVIOMMU_LIST_MAX];
};

struct pviommu_ring {
	struct mutex lock;		/* serializes service of the ring */
	struct pviommu_window hdr;
	struct pviommu_window ops;
	u32 nr;				/* number of ops, a power of two */
	u32 cons;			/* our own copy is the one that counts */
	u32 events;			/* as published in the header */
	u32 served;			/* as published in the header */
	u64 done;			/* ctx->done of an op that is begun */
	int failed;			/* ctx->failed of an op that is begun */
	bool begun;			/* the op at cons has used up a doorbell */
	bool cancel;			/* the op before failed and was chained */
	bool dead;
	struct pviommu_op op;		/* our copy of the op at cons, if begun */
	struct pviommu_scratch *scratch;
};

/* The interface between START and RESET */
struct pviommu_iface {
	struct pviommu_vm *vm;
	u64 cookie;
	u64 features;
	void *doorbell;			/* of doorbell_ops, NULL without */
	const struct pviommu_doorbell_ops *doorbell_ops;
	u32 nr_rings;
	struct pviommu_ring rings[] __counted_by(nr_rings);
};

/* ---- events (event.c) ---------------------------------------------- */

/*
 * To allocate with domain->lock, an owner's loans_lock or attach_lock held: other VMs, and the
 * handler of PCIe errors, wait for these. When a thread whose cgroup is over memory.high is
 * charged, it is put to sleep for seconds at a time. An allocation that may not sleep defers
 * that until the thread returns to user space. It fails more easily: see pviommu_try_again().
 */
#define PVIOMMU_GFP_LOCKED	(GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN)

/*
 * The same, charged also beyond the limit of the cgroup, for what must not fail because of that:
 * others have taken away the memory that has to be unmapped. It fails if the machine is short of
 * memory.
 */
#define PVIOMMU_GFP_FORCED	(PVIOMMU_GFP_LOCKED | __GFP_HIGH | __GFP_NOMEMALLOC)

/* Releases of one VM that are under way, or whose last event is in the backlog */
#define PVIOMMU_MAX_RELEASES	64
/* Of these, how many may be at work, or wait for the VMM, at a time */
#define PVIOMMU_RELEASE_WORKERS	4

struct pviommu_events {
	spinlock_t lock;		/* irq-safe; the rest */
	bool on;
	struct pviommu_window ring;	/* open while @on */
	u64 cookie;
	u32 prod;
	u32 lost;
	u64 seq;
	struct pviommu_event *backlog;	/* circular buffer of what the ring has no room for */
	u32 room;			/* entries of @backlog */
	u32 first;			/* the oldest one */
	u32 waiting;			/* how many are in use */
	u32 waiting_told;		/* @waiting, as published in the ring */
	u32 ends_waiting;		/* how many of those in use are EV_RELEASED */
};

/* ---- memory types (types.c) ---------------------------------------- */

struct pviommu_types {
	spinlock_t lock;		/* server, tag, lost_* */
	struct pviommu_server *server;	/* has the claim; NULL: there is none */
	unsigned long tag;		/* of the claim's pages; each claim has another one */
	u64 lost_first;			/* GPAs that have to be reported to the server as lost */
	u64 lost_last;			/* first > last if there are none */
	atomic_t plain;			/* changes before pages of the type become plain */
	bool hurry;			/* writes don't wait for the server; control_lock */
	atomic_t dropped;		/* claims ended because the server did not keep up */
	u32 nr_tables;			/* entries of @tables; change_lock */
	struct mutex change_lock;	/* see lock order; the transport's locks nest inside */
	struct xarray tables;		/* watched pages of tables by GFN; change_lock */
	struct work_struct work;	/* stale and lost pages */
};

/* ---- the VM -------------------------------------------------------- */

enum pviommu_counter {
	PVIOMMU_NR_KICKS_TRACKED = PVIOMMU_KICK_TRACKED,
	PVIOMMU_NR_KICKS_CONFIG = PVIOMMU_KICK_CONFIG,
	PVIOMMU_NR_OPS,
	PVIOMMU_NR_OPS_FAILED,
	PVIOMMU_NR_PAGES_MAPPED,
	PVIOMMU_NR_PAGES_PINNED,
	PVIOMMU_NR_DOMAINS,
	PVIOMMU_NR_MAPPINGS,
	PVIOMMU_NR_FAULTS,
	PVIOMMU_NR_EVENTS_LOST,
	PVIOMMU_NR_PAGES_LENT,
	PVIOMMU_NR_COUNTERS
};

struct pviommu_vm {
	u32 id;
	refcount_t users;		/* the container, and calls that use it */
	struct completion unused;
	struct rcu_head rcu;		/* for pviommu_vm_get(), which takes no lock */
	struct mm_struct *mm;		/* of the VMM, mmgrab()ed */
	struct pid *pid;		/* its process */

	struct mutex control_lock;	/* serializes START and RESET */
	bool kvm_asked_for;		/* the module for the doorbell page; control_lock */
	struct rw_semaphore iface_lock;
	struct pviommu_iface *iface;	/* NULL: stopped */
	bool recovers;			/* the guest gets events and knows RECOVER; as iface */
	u16 control_error;

	struct mutex cfg_lock;		/* groups, endpoints, domains */
	struct list_head groups;
	u32 last_group;			/* number of the group that came last */
	struct list_head bypass;	/* domains of PVIOMMU_KIND_BYPASS */
	struct xarray endpoints;
	u32 next_endpoint;		/* ids are not used again soon */
	u32 nr_pasids;			/* at which domains are attached */
	u32 nr_pasid_groups;		/* groups that have PASIDs; read without lock */
	struct xarray domains;		/* guest's, by id */

	struct rw_semaphore mem_lock;
	struct rb_root_cached slots;
	u32 nr_slots;
	struct pviommu_slot *last_slot;	/* found last; one of @slots, or NULL */
	struct list_head windows;	/* changes with control_lock or mem_lock for writing */

	struct mutex loans_lock;	/* with mem_lock for writing, @slots too */
	struct rb_root_cached loans;	/* to other VMs */
	u64 epoch;			/* counts recalls */

	spinlock_t grants_lock;		/* the list */
	struct list_head grants;	/* to this VM */

	struct mutex release_lock;	/* innermost but for spinlocks */
	struct list_head releases;	/* pages that are being given back */
	struct workqueue_struct *release_wq;	/* a VMM may have its works wait for ever */
	u32 nr_releases;

	struct mutex attach_lock;	/* attached at the IOMMU; flushes */
	struct mutex account_lock;	/* charged; not taken by other VMs */
	u64 charged;			/* pages charged to the VMM */
	atomic64_t used;		/* of these, pages in use; may fall at any time */

	struct pviommu_events events;
	struct pviommu_types types;
	atomic64_t counters[PVIOMMU_NR_COUNTERS];
	struct dentry *debugfs;
};

/* main.c */
extern atomic64_t pviommu_totals[PVIOMMU_NR_COUNTERS];
extern bool pviommu_default_blocked;
extern const char *const pviommu_counter_names[PVIOMMU_NR_COUNTERS];
struct pviommu_vm *pviommu_vm_get(u32 id);
struct pviommu_vm *pviommu_vm_next(unsigned long *id);
void pviommu_vm_put(struct pviommu_vm *vm);
struct pviommu_vm *pviommu_vm_create(struct mm_struct *mm);
struct pviommu_vm *pviommu_vm_withdraw(u32 id);
void pviommu_vm_destroy(struct pviommu_vm *vm);

static inline void pviommu_count(struct pviommu_vm *vm, enum pviommu_counter c,
				 s64 n)
{
	atomic64_add(n, &vm->counters[c]);
	atomic64_add(n, &pviommu_totals[c]);
}

/* admin.c */
int pviommu_admin_init(void);
void pviommu_admin_exit(void);

/* container.c */
int pviommu_container_init(void);
void pviommu_container_exit(void);

/* memory.c */
struct pviommu_slot *pviommu_slot_find(struct pviommu_vm *vm, u64 gpa);
int pviommu_memory_add(struct pviommu_vm *vm, u64 gpa, unsigned long hva,
		       u64 size, u8 prot);
int pviommu_memory_remove(struct pviommu_vm *vm, u64 gpa, u64 size, bool all,
			  u64 *removed);

/* guest_mem.c */
int pviommu_guest_read(struct pviommu_vm *vm, u64 gpa, void *buf, size_t len);
int pviommu_guest_write(struct pviommu_vm *vm, u64 gpa, const void *buf,
			size_t len);
int pviommu_guest_read_words(struct pviommu_vm *vm, u64 gpa, u64 *buf, u32 words);
int pviommu_guest_peek(struct pviommu_vm *vm, u64 gpa, void *buf, size_t len);
int pviommu_guest_check(struct pviommu_vm *vm, u64 gpa, u64 len);
int pviommu_window_open(struct pviommu_vm *vm, struct pviommu_window *win,
			u64 gpa, u64 len);
void pviommu_window_close(struct pviommu_vm *vm, struct pviommu_window *win);
void pviommu_windows_leave(struct pviommu_vm *vm, struct pviommu_slot *slot);
int pviommu_window_read(const struct pviommu_window *win, size_t offset,
			void *buf, u32 words);
int pviommu_window_write(const struct pviommu_window *win, size_t offset,
			 const void *buf, u32 words);
int pviommu_window_publish(const struct pviommu_window *win, size_t offset,
			   __le32 value);

/* mapping.c */
struct pviommu_mapping *pviommu_mapping_alloc(struct pviommu_domain *domain,
					      u64 iova, u64 npages, u32 nr_runs,
					      gfp_t gfp);
struct pviommu_mapping *pviommu_mapping_room(const u64 *gfns, struct page **pages, u32 n);
struct pviommu_mapping *pviommu_mapping_make(struct pviommu_domain *domain, u64 iova,
					     const u64 *gfns, u64 gfn, struct page **pages,
					     u32 n, struct pviommu_mapping *room);
void pviommu_mapping_free(struct pviommu_domain *domain,
			  struct pviommu_mapping *map);
void pviommu_mapping_drop_spare(struct pviommu_domain *domain);
struct pviommu_mapping *pviommu_mapping_first(struct pviommu_domain *domain,
					      u64 iova, u64 last);
bool pviommu_mapping_cuts_page(struct pviommu_domain *domain, u64 iova);
bool pviommu_mapping_leads_to(const struct pviommu_mapping *map, u64 from,
			      const struct pviommu_frames *frames, u64 *page,
			      u64 *npages);
struct pviommu_mapping *pviommu_mapping_split(struct pviommu_domain *domain,
					      struct pviommu_mapping *map, u64 iova,
					      struct pviommu_mapping **tail);
const struct pviommu_run *pviommu_mapping_run(const struct pviommu_mapping *map,
					      u64 page, u64 *offset);

/* pin.c */
int pviommu_charge(struct pviommu_vm *vm, u64 npages);
void pviommu_uncharge(struct pviommu_vm *vm, u64 npages);
void pviommu_uncharge_later(struct pviommu_vm *vm, u64 npages);
long pviommu_pin_ram(struct pviommu_vm *vm, unsigned long hva,
		     unsigned long npages, bool write, struct page **pages);
long pviommu_pin_hva(struct pviommu_vm *vm, unsigned long hva,
		     unsigned long npages, bool write, struct page **pages);
int pviommu_pin_guest(struct pviommu_vm *vm, u64 gfn, u32 npages, bool write,
		      struct page **pages);
void pviommu_unpin_pages(struct pviommu_vm *vm, struct page **pages, u32 npages);
void pviommu_unpin_pfns(struct pviommu_vm *vm, u64 hpfn, u64 npages, bool dirty);
void pviommu_slot_put_pins(struct pviommu_vm *vm, u64 gfn, u64 npages);

/* grant.c */
struct pviommu_grant *pviommu_grant_find(struct pviommu_vm *to, u32 from,
					 u64 gpa, u64 last, u8 prot);
void pviommu_grant_hold(struct pviommu_grant *grant);
void pviommu_grant_release(struct pviommu_grant *grant);
int pviommu_grant_add(u32 from, u32 to, u64 gpa, u64 last, u8 prot, u32 *id);
int pviommu_grant_remove(u32 id);
void pviommu_grants_end(struct pviommu_vm *vm);
bool pviommu_grant_next(unsigned long *id, struct pviommu_grant_info *info);

/* loan.c */
int pviommu_borrow_pin(struct pviommu_vm *vm, struct pviommu_borrow *borrow,
		       u64 gfn, u32 npages, bool write, struct page **pages);
struct pviommu_loan *pviommu_loan_begin(struct pviommu_borrow *borrow,
					struct pviommu_domain *domain, u64 iova,
					u32 npages, u64 first, u64 last);
void pviommu_loan_end(struct pviommu_borrow *borrow, struct pviommu_loan *loan,
		      int ret);
void pviommu_loan_take(struct pviommu_mapping *map);
void pviommu_loan_return(struct pviommu_mapping *map);
void pviommu_loans_settle(struct pviommu_domain *domain);
void pviommu_domain_lock(struct pviommu_domain *domain);
void pviommu_loans_recall(struct pviommu_vm *owner, struct pviommu_grant *grant,
			  const struct pviommu_frames *frames);
bool pviommu_loans_announce(struct pviommu_vm *owner,
			    const struct pviommu_frames *frames);
void pviommu_loans_end(struct pviommu_grant *grant);

/* release.c */
void pviommu_releases_stop(struct pviommu_vm *vm);
int pviommu_op_release(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		       u64 *result);

/* discard.c */
u64 pviommu_discard(struct pviommu_vm *vm, unsigned long hva, u64 size);

/* apply.c */
struct iommu_domain *pviommu_hw_alloc(struct device *dev, u32 *flags);
bool pviommu_try_again(int ret, u32 *tries);
int pviommu_hw_map(struct pviommu_domain *domain, struct pviommu_mapping *map);
void pviommu_hw_unmap(struct pviommu_domain *domain,
		      struct pviommu_mapping *map);
int pviommu_hw_split_large(struct pviommu_domain *domain, struct pviommu_mapping *map);
void pviommu_hw_sync(struct pviommu_domain *domain);
int pviommu_bypass_map(struct pviommu_domain *domain, struct pviommu_slot *slot);
void pviommu_bypass_unmap(struct pviommu_domain *domain,
			  struct pviommu_slot *slot);

/* invalidate.c */
void pviommu_limbo_add(struct pviommu_domain *domain,
		       struct pviommu_mapping *map);
void pviommu_flush(struct pviommu_domain *domain, u64 iova, u64 last);
bool pviommu_flush_finish(struct pviommu_domain *domain, u32 *budget);
int pviommu_op_invalidate(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			  u64 *result);

/* revoke.c */
void pviommu_domain_revoke(struct pviommu_domain *domain,
			   const struct pviommu_frames *frames);
bool pviommu_domain_announce(struct pviommu_domain *domain,
			     const struct pviommu_frames *frames);
void pviommu_domain_recall(struct pviommu_loan *loan,
			   const struct pviommu_frames *frames);
bool pviommu_loan_announce(struct pviommu_loan *loan,
			   const struct pviommu_frames *frames);

/* domain.c */
struct pviommu_domain *pviommu_domain_create(struct pviommu_vm *vm,
					     enum pviommu_domain_kind kind,
					     struct device *dev, u32 *flags);
struct pviommu_domain *pviommu_domain_get(struct pviommu_vm *vm, u32 id);
struct pviommu_domain *pviommu_domain_named(struct pviommu_vm *vm,
					    const struct pviommu_op *op);
struct pviommu_domain *pviommu_domain_next(struct pviommu_vm *vm,
					   unsigned long *id);
void pviommu_domain_put(struct pviommu_domain *domain);
u64 pviommu_domain_unmap(struct pviommu_domain *domain, u64 iova, u64 last,
			 u32 *budget);
u64 pviommu_domain_unmap_some(struct pviommu_domain *domain, u64 iova, u64 last, u32 *budget);
struct pviommu_mapping *pviommu_domain_cut(struct pviommu_domain *domain,
					   struct pviommu_mapping *map, u64 iova, u64 last);
void pviommu_domain_drop(struct pviommu_domain *domain, struct pviommu_mapping *map);
void pviommu_domains_destroy(struct pviommu_vm *vm);
int pviommu_op_alloc(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result);
int pviommu_op_free(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		    u64 *result);

/* table_walk.c */

/* A view: consecutive entries of a guest-owned table that are of the same kind */
enum pviommu_view_kind {
	PVIOMMU_VIEW_NOTHING,	/* not present */
	PVIOMMU_VIEW_BAD,
	PVIOMMU_VIEW_PAGES,
};

struct pviommu_view {
	enum pviommu_view_kind kind;
	u64 iova;		/* for a large page, its start: may be below what was asked for */
	u64 last;
	u64 entry;		/* GPA of the first entry */
	u16 reason;		/* PVIOMMU_BAD_* */
	u8 level;		/* of the table that the entry is in; 1: of 4 KiB pages */
	u8 pgshift;		/* of PAGES; if they are of 2 MiB it is one page */
	u8 prot;
	u64 *gfns;		/* up to PVIOMMU_CHUNK */
};

int pviommu_table_view(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		       u64 iova, u64 last, struct pviommu_view *view);

/* table.c */
struct pviommu_table *pviommu_table_create(struct pviommu_vm *vm, u32 format, u64 root,
					   bool watch);
void pviommu_table_free(struct pviommu_table *table);
int pviommu_table_look(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		       struct pviommu_op *op, u64 *result);
void pviommu_table_add(struct pviommu_domain *domain, u64 iova, u64 last, u32 *budget,
		       u32 *tries);

/* log2 of the size of the IOVA range that an entry translates; level 1: of a 4 KiB page */
static inline u32 pviommu_level_shift(u32 level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

/* table_watch.c */
int pviommu_watch_table(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
			u64 gpa, u64 iova, u8 level);
bool pviommu_watch_forget(struct pviommu_domain *domain, u64 iova, u64 last, u8 level,
			  u32 *budget);
bool pviommu_watch_end(struct pviommu_domain *domain, u32 *budget);
void pviommu_table_written(struct pviommu_vm *vm, u64 gpa, int len);

/* map_ops.c */

/* Where pages are mapped, and how */
struct pviommu_map_args {
	u64 iova;
	u64 last;
	u64 npages;
	u8 pgshift;
	u8 prot;
	struct pviommu_borrow *borrow;	/* NULL: memory of this VM */
};

int pviommu_pin_list(struct pviommu_vm *vm, const struct pviommu_map_args *args,
		     const u64 *gfns, u32 count, struct page **pages);
int pviommu_map_pinned(struct pviommu_domain *domain, const struct pviommu_map_args *args,
		       u64 iova, const u64 *gfns, u64 gfn, struct page **pages, u32 n);
int pviommu_op_map(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		   u64 *result);
int pviommu_op_map_list(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			u64 *result);
int pviommu_op_unmap(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result);
int pviommu_op_lookup(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		      u64 *result);

/* dirty.c */
int pviommu_op_dirty_start(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			   u64 *result);
int pviommu_op_dirty_stop(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			  u64 *result);
int pviommu_op_dirty_read(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
			  u64 *result);

/* group.c */
int pviommu_group_add(struct pviommu_vm *vm, struct iommu_group *group);
void pviommu_group_remove(struct pviommu_vm *vm, struct iommu_group *group);
struct pviommu_group *pviommu_group_find(struct iommu_group *group);
int pviommu_group_attach(struct pviommu_group *grp,
			 struct pviommu_domain *domain);
int pviommu_group_bypass(struct pviommu_group *grp);
int pviommu_group_default(struct pviommu_group *grp);
void pviommu_group_cut(struct pviommu_group *grp, struct device *dev);
void pviommu_group_settle(struct pviommu_group *grp);
bool pviommu_group_is_cut(const struct pviommu_group *grp);
bool pviommu_group_isolated(const struct pviommu_group *grp);
u32 pviommu_group_domain_id(const struct pviommu_group *grp);
bool pviommu_domain_conflicts(struct pviommu_domain *domain,
			      const struct pviommu_group *grp);
bool pviommu_groups_default(struct pviommu_vm *vm, bool warn);
void pviommu_groups_block(struct pviommu_vm *vm);
bool pviommu_range_reserved(struct pviommu_vm *vm, u64 iova, u64 last);

/* pasid.c */
void pviommu_pasids_learn(struct pviommu_group *grp, struct iommu_domain *hw,
			  struct device *dev);
void pviommu_endpoint_learn_pasids(struct pviommu_endpoint *ep);
int pviommu_pasid_check(const struct pviommu_endpoint *ep, u32 pasid);
struct pviommu_domain *pviommu_pasid_domain(struct pviommu_group *grp, u32 pasid);
u32 pviommu_pasids_attached(struct pviommu_group *grp);
bool pviommu_pasid_leads_to(struct pviommu_vm *vm, u32 pasid,
			    const struct pviommu_domain *domain);
int pviommu_pasid_attach(struct pviommu_endpoint *ep, u32 pasid,
			 struct pviommu_domain *domain);
void pviommu_pasids_cut(struct pviommu_group *grp, struct device *dev);
void pviommu_pasids_end(struct pviommu_group *grp);

/* endpoint.c */
u32 pviommu_endpoint_by_dev(struct pviommu_vm *vm, struct device *dev);
int pviommu_op_attach(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		      u64 *result);
int pviommu_op_detach(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		      u64 *result);
int pviommu_op_recover(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		       u64 *result);
int pviommu_op_probe(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result);

/* types.c */

/* Types of a VM's memory, as described to the administrator */
struct pviommu_types_info {
	struct pid *pid;		/* of the server, referenced; NULL: there is none */
	u32 entries;			/* of its ring */
	u32 waiting;			/* records that it has not taken yet */
	u64 records;			/* how many it was sent */
	u32 dropped;			/* claims that were taken from servers */
	unsigned long pages;		/* of the server's type */
	u32 tables;			/* pages of tables that are watched */
};

int pviommu_types_info(struct pviommu_vm *vm, struct pviommu_types_info *info);
void pviommu_types_init(struct pviommu_vm *vm);
void pviommu_types_exit(struct pviommu_vm *vm);
int pviommu_types_claim(struct pviommu_vm *vm, struct pviommu_server *server);
bool pviommu_types_disclaim(struct pviommu_vm *vm, struct pviommu_server *server);
bool pviommu_types_announce(struct pviommu_vm *vm, const struct pviommu_frames *frames,
			    ktime_t end, ktime_t last);
void pviommu_types_released(struct pviommu_vm *vm, const struct pviommu_frames *frames,
			    ktime_t end, ktime_t last);
int pviommu_types_read(struct pviommu_vm *vm, const struct pviommu_server *server, u64 gpa,
		       void *buf, size_t len);
void pviommu_types_hurry(struct pviommu_vm *vm, bool hurry);
int pviommu_op_type_set(struct pviommu_op_ctx *ctx, struct pviommu_op *op, u64 *result);
int pviommu_op_type_get(struct pviommu_op_ctx *ctx, struct pviommu_op *op, u64 *result);

/* server.c */
void pviommu_server_get(struct pviommu_server *server);
void pviommu_server_put(struct pviommu_server *server);
void pviommu_server_end(struct pviommu_server *server);
void pviommu_server_info(struct pviommu_server *server, struct pviommu_types_info *info);
int pviommu_server_keep_room(struct pviommu_server *server);
void pviommu_server_use_room(struct pviommu_server *server,
			     const struct pviommu_server_record *rec);
ktime_t pviommu_server_deadline(void);
int pviommu_server_tell(struct pviommu_server *server, const struct pviommu_server_record *rec,
			ktime_t end, const bool *hurry);
int pviommu_servers_init(void);
void pviommu_servers_exit(void);

/* ring.c */
void pviommu_rings_serve(struct pviommu_vm *vm, struct pviommu_iface *iface,
			 u32 value);
int pviommu_ring_init(struct pviommu_vm *vm, struct pviommu_ring *ring,
		      const struct pviommu_ring_desc *desc);
void pviommu_ring_exit(struct pviommu_vm *vm, struct pviommu_ring *ring);

/* iface.c */
u64 pviommu_features(const struct pviommu_vm *vm);
int pviommu_iface_start(struct pviommu_vm *vm, struct kvm *kvm, u64 gpa);
void pviommu_iface_stop(struct pviommu_vm *vm, bool closed);
int pviommu_iface_reset(struct pviommu_vm *vm, u64 cookie);
void pviommu_iface_kick(struct pviommu_vm *vm, enum pviommu_kick_source source,
			u32 value);

/* hypercall.c */
int pviommu_op_no_args(const struct pviommu_op *op);
int pviommu_op_check_buf(const struct pviommu_op *op);
int pviommu_op_fill_buf(struct pviommu_op_ctx *ctx, const struct pviommu_op *op,
			const void *answer, u64 size, u64 *result);
int pviommu_op_execute(struct pviommu_op_ctx *ctx, u64 features,
		       struct pviommu_op *op, u64 *result);
u32 pviommu_status(int err);

/* limits.c */
u32 pviommu_max_domains(void);
u32 pviommu_doorbell_budget(void);
u32 pviommu_max_events(void);
int pviommu_quota_mappings(struct pviommu_vm *vm, u32 nr);
int pviommu_quota_domains(struct pviommu_vm *vm);
int pviommu_quota_pasids(struct pviommu_vm *vm);
u32 pviommu_slots_left(const struct pviommu_vm *vm);

/* event.c */
int pviommu_events_start(struct pviommu_vm *vm, u64 gpa, u64 cookie);
void pviommu_events_stop(struct pviommu_vm *vm);
void pviommu_events_leave(struct pviommu_vm *vm, struct pviommu_slot *slot);
bool pviommu_event_post(struct pviommu_vm *vm, const struct pviommu_event *ev);
void pviommu_events_serve(struct pviommu_vm *vm);
void pviommu_faults_watch(struct pviommu_domain *domain);
int pviommu_op_stats(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result);

#endif /* _PVIOMMU_PRIVATE_H */
