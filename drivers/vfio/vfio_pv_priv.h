/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO container backend of the paravirtual IOMMU: what its files share.
 *
 * A container holds mappings. A mapping is made by one VFIO_IOMMU_MAP_DMA: a
 * range of IOVAs and the user memory behind it, which is recorded as runs,
 * that is pieces of consecutive page frames. A mapping keeps its pages pinned
 * from before it is put into the first IOMMU domain until after its removal
 * has been flushed from all of them: unmap, flush, then unpin.
 *
 * The ranges of all mappings of a container are in one interval tree and
 * never overlap, whatever the state of the mappings:
 *
 *   MAPPING -> MAPPED -> UNMAPPING -> (gone) or UNFLUSHED
 *                                               UNFLUSHED <-> FLUSHING -> (gone)
 *
 * To unmap several mappings, a thread makes them TAKEN one after the other, which
 * can be undone, and then UNMAPPING, which can't.
 *
 * In state TAKEN, and in those that end in -ING, a mapping is busy: it belongs to the
 * thread that has set the state and works on it without the tree lock. Others that need
 * its range wait. So maps and unmaps of different ranges run in parallel.
 *
 * The tree is the only record of what is mapped in the IOMMU domains: the
 * container is their owner, see <linux/pv_iommu.h>. It may be read without a
 * lock when no other CPU runs, as no thread sleeps with the tree lock held.
 *
 * Lock order, outermost first:
 *
 *   container->lock          what is attached; read side for map and unmap
 *     container->devices_lock  list of devices; held while they are called
 *     mmap_lock of the user    pinning and accounting
 *       container->tree_lock     the tree and the states; a spinlock, innermost
 *
 * Devices may call pin_pages, unpin_pages and dma_rw from callbacks that are called
 * here. So these take tree_lock only and don't wait.
 *
 * The IOMMU driver delivers events with its own lock held, which comes after
 * container->lock. The handler takes only the locks of vfio_pv_event.c and does not
 * wait.
 */
#ifndef _VFIO_PV_PRIV_H
#define _VFIO_PV_PRIV_H

#include <linux/completion.h>
#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/pv_iommu.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include <uapi/linux/vfio_pv.h>

#include "vfio.h"

#ifdef CONFIG_PREEMPT_RT
#error "the tree must not be in between when other CPUs are stopped: see tree_lock"
#endif

struct mm_struct;
struct vfio_pv_events;

/* Whether a request is about another VM's memory; without this flag its @vm is ignored */
static inline bool vfio_pv_map_is_foreign(const struct vfio_pv_dma_map *map)
{
	return map->flags & VFIO_PV_MAP_FLAG_FOREIGN;
}

/* Entries of a batch that share hypercalls and flushes */
#define VFIO_PV_BATCH_GROUP	128

/*
 * Events of a container that can wait to be read: enough for a RELEASE of a full list of
 * pages, with two events for each
 */
#define VFIO_PV_MAX_EVENTS	1024

/* Bits, so that a set of states can be named */
enum vfio_pv_state {
	VFIO_PV_MAPPING = 1 << 0,	/* being pinned and mapped */
	VFIO_PV_MAPPED = 1 << 1,
	VFIO_PV_UNMAPPING = 1 << 2,	/* being taken out of the domains */
	VFIO_PV_UNFLUSHED = 1 << 3,	/* out of the domains, IOTLB not flushed */
	VFIO_PV_FLUSHING = 1 << 4,	/* an invalidation covers it */
	VFIO_PV_TAKEN = 1 << 5,		/* MAPPED, but a thread is about to change it */
};

#define VFIO_PV_CLAIMED	(VFIO_PV_MAPPING | VFIO_PV_TAKEN | VFIO_PV_UNMAPPING)

/* Mappings of a container that are not charged to anybody; as many as type1 allows at all */
#define VFIO_PV_MAX_UNCHARGED	U16_MAX

/* Mappings handled without letting the tree lock go */
#define VFIO_PV_TREE_BATCH	256

/**
 * struct vfio_pv_pick - which mappings a thread wants to take
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @low: not those that begin before this
 * @high: not those that end after this
 * @from: those in this state
 * @to: the state that they get
 * @busy: wait for those in one of these states
 * @wait: if false, return -EAGAIN instead of waiting
 */
struct vfio_pv_pick {
	unsigned long start;
	unsigned long last;
	unsigned long low;
	unsigned long high;
	enum vfio_pv_state from;
	enum vfio_pv_state to;
	unsigned int busy;
	bool wait;
};

/* A valid range of IOVAs */
struct vfio_pv_range {
	u64 start;
	u64 last;
};

/**
 * struct vfio_pv_layout - IOVAs and page sizes that a container's domains and groups allow
 * @ranges: usable IOVAs, ascending and disjoint; NULL when there is no domain,
 *	and then all IOVAs are usable
 * @nr: number of @ranges
 * @pgsizes: page sizes that all domains support
 */
struct vfio_pv_layout {
	struct vfio_pv_range *ranges;
	unsigned int nr;
	unsigned long pgsizes;
};

/**
 * struct vfio_pv_group - an attached group
 * @link: on the list of its domain, or on that of the emulated groups
 * @group: the group
 */
struct vfio_pv_group {
	struct list_head link;
	struct iommu_group *group;
};

/**
 * struct vfio_pv_domain - an IOMMU domain that holds all mappings
 * @link: on the list of the container
 * @container: the container
 * @live: it has all mappings in state VFIO_PV_MAPPED; tree_lock
 * @groups: groups attached to it, at least one
 * @domain: the domain
 * @coherent: DMA is made to snoop even if it asks not to
 * @table: it translates what a table of the user says, and has no mappings. Then the
 *	container has no other domain, and is not the owner of this one.
 */
struct vfio_pv_domain {
	struct list_head link;
	struct vfio_pv_container *container;
	bool live;
	struct list_head groups;
	struct iommu_domain *domain;
	bool coherent;
	bool table;
};

/**
 * struct vfio_pv_container - one VFIO container
 * @id: the number by which the VFIO core knows it, never 0
 * @entry: on the list of containers
 * @users: calls that are inside, and one until it is released
 * @idle: completed when @users has become 0
 * @rcu: for freeing
 * @v2: unmaps follow the rules of VFIO_TYPE1v2_IOMMU
 * @pv: opened as VFIO_PV_IOMMU
 * @in_use: VFIO_SET_IOMMU has succeeded, as other calls than for groups have come; only
 *	used for the wording of log messages
 * @events: events for the user to read; NULL unless @pv
 * @max_mappings: how many mappings it may have
 * @lock: see the lock order; protects @domains, @emulated and @layout
 * @domains: list of struct vfio_pv_domain
 * @emulated: list of struct vfio_pv_group of mediated devices
 * @layout: what can be mapped
 * @dirty: dirty page logging is on; changes with @lock for writing
 * @tree_lock: see the lock order; protects what follows, and each mapping's
 *	state and holds
 * @tree: the mappings, by IOVA
 * @unflushed: the mappings in state VFIO_PV_UNFLUSHED
 * @spare: unused struct vfio_pv_dma, kept so that mapping and unmapping in turn
 *	need not allocate
 * @nr_spare: number of @spare
 * @nr_flushing: number of mappings in state VFIO_PV_FLUSHING
 * @sweeping: a thread is taking all that are unflushed, and no other may take any
 * @avail: number of mappings that may still be made
 * @nr_uncharged: number of mappings that are @uncharged
 * @nr_vaddr_invalid: number of mappings with @vaddr_invalid
 * @settled: counts the times that a mapping ceased to be busy
 * @wait: woken when @settled changes
 * @devices_lock: see the lock order; with it or @tree_lock @devices can be
 *	read, a change needs both
 * @devices: devices that want to know of unmaps
 */
struct vfio_pv_container {
	unsigned long id;
	struct hlist_node entry;
	refcount_t users;
	struct completion idle;
	struct rcu_head rcu;
	bool v2;
	bool pv;
	bool in_use;
	u32 max_mappings;
	struct vfio_pv_events *events;

	struct rw_semaphore lock;
	struct list_head domains;
	struct list_head emulated;
	struct vfio_pv_layout layout;
	bool dirty;

	spinlock_t tree_lock; /* see the lock order */
	struct rb_root_cached tree;
	struct list_head unflushed;
	struct hlist_head spare;
	unsigned int nr_spare;
	unsigned int nr_flushing;
	bool sweeping;
	unsigned int avail;
	unsigned int nr_uncharged;
	unsigned int nr_vaddr_invalid;
	unsigned int settled;
	wait_queue_head_t wait;

	struct mutex devices_lock; /* see the lock order */
	struct list_head devices;
};

/**
 * struct vfio_pv_run - consecutive page frames
 * @pfn: the first one; of the other VM, if it is another VM's memory
 * @npages: how many
 * @pinned: they are pinned pages; if false, memory that has no pages here
 */
struct vfio_pv_run {
	unsigned long pfn;
	u32 npages;
	bool pinned;
};

/**
 * struct vfio_pv_chunk - some runs of a mapping
 * @next: the chunk that follows, or NULL
 * @prev: the one before; the first one has itself
 * @jump: one further before, such that any earlier chunk can be reached in O(log n) steps,
 *	see vfio_pv_link_chunk()
 * @depth: number of chunks before this one
 * @start: number of the first page
 * @npages: pages in all runs of this chunk
 * @nr: number of runs
 * @max: number of runs that there is room for
 * @runs: the runs
 */
struct vfio_pv_chunk {
	struct vfio_pv_chunk *next;
	struct vfio_pv_chunk *prev;
	struct vfio_pv_chunk *jump;
	unsigned long depth;
	unsigned long start;
	unsigned long npages;
	unsigned int nr;
	unsigned int max;
	struct vfio_pv_run *runs;
};

/* Runs that a mapping has room for in itself */
#define VFIO_PV_FIRST_RUNS	4

/**
 * struct vfio_pv_mem - the memory behind a mapping
 * @mm: address space that it was pinned in and is accounted to; mmgrab()ed. NULL for
 *	memory of another VM, which the host pins and accounts
 * @vm: number of that VM, 0 for this one
 * @vaddr: where it starts; for another VM's memory a guest physical address there
 * @npages: number of pages
 * @write: devices may write to it
 * @locked: number of pages accounted
 * @first: the first of the chunks that hold the runs in order; the others are allocated
 * @first_runs: its runs
 * @last: the last chunk
 *
 * Only the thread that has made the mapping busy may change it.
 */
struct vfio_pv_mem {
	struct mm_struct *mm;
	u32 vm;
	unsigned long vaddr;
	unsigned long npages;
	bool write;
	unsigned long locked;
	struct vfio_pv_chunk first;
	struct vfio_pv_run first_runs[VFIO_PV_FIRST_RUNS];
	struct vfio_pv_chunk *last;
};

/**
 * struct vfio_pv_dma - a mapping
 * @node: its IOVAs, and its place in the tree
 * @link: on a list of the thread that has made it busy, or on @unflushed of the container
 * @spare: on @spare of the container
 * @state: see above
 * @vaddr_invalid: the user has given up its address (VFIO_DMA_UNMAP_FLAG_VADDR); tree_lock
 * @uncharged: it has no page that counts against RLIMIT_MEMLOCK; tree_lock
 * @stuck: a device may still reach it, so it must never be unpinned
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @mem: the memory behind it
 * @holds: how often each page is held by a mediated device, by page number
 * @nr_held: number of pages in @holds
 */
struct vfio_pv_dma {
	struct interval_tree_node node;
	struct list_head link;
	struct hlist_node spare;
	enum vfio_pv_state state;
	bool vaddr_invalid;
	bool uncharged;
	bool stuck;
	int prot;
	struct vfio_pv_mem mem;
	struct xarray holds;
	unsigned long nr_held;
};

static inline struct vfio_pv_dma *vfio_pv_dma_of(struct interval_tree_node *node)
{
	return node ? container_of(node, struct vfio_pv_dma, node) : NULL;
}

static inline size_t vfio_pv_dma_size(const struct vfio_pv_dma *dma)
{
	return dma->mem.npages << PAGE_SHIFT;
}

static inline unsigned long vfio_pv_min_pgsize(const struct vfio_pv_layout *layout)
{
	return 1UL << __ffs(layout->pgsizes);
}

/*
 * Log at debug level why an ioctl is refused. The value of this is @error, a negative errno.
 * @what is the ioctl, without its prefix; @why what is wrong, and @value the value that is.
 * Each place has a rate limit of its own. There is one line for each refusal, from where it is
 * found: callers that pass an error on log nothing. An entry of a batch is logged as the ioctl
 * that it stands for, MAP_DMA or UNMAP_DMA, unless that could not fail in this way. -EINTR is
 * not logged, as the process is being killed.
 */
#define vfio_pv_refuse(error, what, why, value) ({				\
	int __error = (error);							\
										\
	if (__error != -EINTR)							\
		pr_debug_ratelimited("%s refused, error %d: %s %#llx\n", what,	\
				     -__error, why, (u64)(value));		\
	__error;								\
})

/* vfio_iommu_pv.c */
int vfio_pv_copy_arg(void *to, size_t size, unsigned long arg, const char *what);

/* vfio_pv_mem.c */
void vfio_pv_mem_init(struct vfio_pv_mem *mem, u32 vm, unsigned long vaddr,
		      size_t size, bool write);
int vfio_pv_mem_pin(struct vfio_pv_mem *mem);
void vfio_pv_mem_release(struct vfio_pv_mem *mem, bool unpin);
int vfio_pv_mem_move(struct vfio_pv_mem *mem, unsigned long vaddr);
struct page *vfio_pv_mem_page(const struct vfio_pv_mem *mem, unsigned long index);
unsigned long vfio_pv_mem_pfn(const struct vfio_pv_mem *mem, unsigned long index);

/* vfio_pv_tree.c */
struct vfio_pv_dma *vfio_pv_walk(struct vfio_pv_container *c,
				 unsigned long start, unsigned long last);
struct vfio_pv_dma *vfio_pv_first(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last,
				  unsigned int states);
void vfio_pv_set_state(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
		       enum vfio_pv_state state);
void vfio_pv_wake(struct vfio_pv_container *c);
int vfio_pv_settle(struct vfio_pv_container *c, bool wait);
int vfio_pv_pick_all(struct vfio_pv_container *c,
		     const struct vfio_pv_pick *pick, struct list_head *taken);
void vfio_pv_give_back(struct vfio_pv_container *c, struct list_head *dmas,
		       enum vfio_pv_state state);

/* vfio_pv_dma.c */
struct vfio_pv_dma *vfio_pv_take_spare(struct vfio_pv_container *c);
void vfio_pv_drop_spare(struct vfio_pv_container *c);
void vfio_pv_dma_init(struct vfio_pv_dma *dma,
		      const struct vfio_pv_dma_map *map);
void vfio_pv_forget(struct vfio_pv_container *c, struct list_head *dmas);

/* vfio_pv_map.c */
int vfio_pv_map(struct vfio_pv_container *c,
		const struct vfio_pv_dma_map *map);
int vfio_pv_map_check(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map);
int vfio_pv_map_begin(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map, bool wait,
		      struct pv_iommu_batch *batch, struct vfio_pv_dma **begun);
int vfio_pv_map_finish(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
		       u32 restarts, bool good);

/* vfio_pv_unmap.c */
int vfio_pv_unmap_check(struct vfio_pv_container *c,
			const struct vfio_iommu_type1_dma_unmap *unmap);
int vfio_pv_unmap(struct vfio_pv_container *c,
		  const struct vfio_iommu_type1_dma_unmap *unmap, u64 *unmapped);
int vfio_pv_take(struct vfio_pv_container *c, unsigned long start,
		 unsigned long last, bool wait, struct list_head *taken, u64 *size);
void vfio_pv_untake(struct vfio_pv_container *c, struct list_head *taken);
struct vfio_pv_dma *vfio_pv_claim(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last);
void vfio_pv_unmap_taken(struct vfio_pv_container *c, struct list_head *taken,
			 bool flush);
void vfio_pv_drop_all(struct vfio_pv_container *c);

/* vfio_pv_flush.c */
int vfio_pv_invalidate(struct vfio_pv_container *c,
		       const struct vfio_pv_iommu_invalidate *inv);
void vfio_pv_drop_unflushed(struct vfio_pv_container *c);

/* vfio_pv_iommu.c */
extern const struct pv_iommu_owner_ops vfio_pv_owner_ops;
int vfio_pv_queue_domains(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
			  struct pv_iommu_batch *batch);
int vfio_pv_sync_domains(struct vfio_pv_container *c, unsigned long start,
			 unsigned long last, struct pv_iommu_batch *batch);
int vfio_pv_map_domains(struct vfio_pv_container *c, struct vfio_pv_dma *dma);
void vfio_pv_clear_domains(struct vfio_pv_container *c, struct list_head *dmas,
			   bool flush);
int vfio_pv_flush_domains(struct vfio_pv_container *c,
			  enum pviommu_granularity granularity, u64 addr,
			  u64 size, u32 flags);
void vfio_pv_all_stuck(struct list_head *dmas);
u32 vfio_pv_restarts(struct vfio_pv_container *c);
bool vfio_pv_broken(struct vfio_pv_container *c);
void vfio_pv_abandon_domain(struct vfio_pv_domain *d);
int vfio_pv_fill_domain(struct vfio_pv_domain *d);

/* vfio_pv_batch.c */
long vfio_pv_map_batch(struct vfio_pv_container *c, unsigned long arg);
long vfio_pv_unmap_batch(struct vfio_pv_container *c, unsigned long arg);

/* vfio_pv_dirty.c */
u64 vfio_pv_dirty_max(void);
long vfio_pv_dirty_pages(struct vfio_pv_container *c, unsigned long arg);
int vfio_pv_unmap_dirty(struct vfio_pv_container *c,
			const struct vfio_iommu_type1_dma_unmap *unmap,
			unsigned long arg, u64 *unmapped);

/* vfio_pv_vaddr.c */
int vfio_pv_vaddr_drop(struct vfio_pv_container *c,
		       const struct vfio_iommu_type1_dma_unmap *unmap, u64 *size);
int vfio_pv_vaddr_set(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map);

/* vfio_pv_event.c */
struct vfio_pv_events *vfio_pv_events_alloc(void);
void vfio_pv_events_free(struct vfio_pv_events *e);
void vfio_pv_events_watch(struct vfio_pv_container *c, struct iommu_domain *domain);
void vfio_pv_events_unwatch(struct vfio_pv_container *c, struct iommu_domain *domain);
long vfio_pv_set_eventfd(struct vfio_pv_container *c, unsigned long arg);
long vfio_pv_read_events(struct vfio_pv_container *c, unsigned long arg);

/* vfio_pv_layout.c */
int vfio_pv_layout_build(struct vfio_pv_container *c,
			 struct vfio_pv_layout *layout);
bool vfio_pv_layout_allows(const struct vfio_pv_layout *layout, u64 start,
			   u64 last);
void vfio_pv_layout_replace(struct vfio_pv_container *c,
			    struct vfio_pv_layout *layout);

/* vfio_pv_group.c */
int vfio_pv_attach_group(struct vfio_pv_container *c, struct iommu_group *group,
			 enum vfio_group_type type);
void vfio_pv_detach_group(struct vfio_pv_container *c, struct iommu_group *group);
void vfio_pv_detach_all(struct vfio_pv_container *c);
struct iommu_domain *vfio_pv_group_domain(struct vfio_pv_container *c,
					  struct iommu_group *group);

/* vfio_pv_info.c */
long vfio_pv_get_info(struct vfio_pv_container *c, unsigned long arg);
long vfio_pv_lookup_iova(struct vfio_pv_container *c, unsigned long arg);
bool vfio_pv_has_emulated(struct vfio_pv_container *c);
bool vfio_pv_all_coherent(struct vfio_pv_container *c);

/* vfio_pv_device.c */
int vfio_pv_pin_pages(struct vfio_pv_container *c, dma_addr_t iova, int npage,
		      int prot, struct page **pages);
void vfio_pv_unpin_pages(struct vfio_pv_container *c, dma_addr_t iova, int npage);
int vfio_pv_dma_rw(struct vfio_pv_container *c, dma_addr_t iova, void *data,
		   size_t count, bool write);
void vfio_pv_register_device(struct vfio_pv_container *c, struct vfio_device *vdev);
void vfio_pv_unregister_device(struct vfio_pv_container *c, struct vfio_device *vdev);
bool vfio_pv_make_devices_unpin(struct vfio_pv_container *c, struct vfio_pv_dma *dma);

/* vfio_pv_table.c */
bool vfio_pv_has_table(struct vfio_pv_container *c);
long vfio_pv_bind_table(struct vfio_pv_container *c, unsigned long arg);

#endif /* _VFIO_PV_PRIV_H */
