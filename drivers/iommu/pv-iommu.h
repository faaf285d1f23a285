/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Paravirtual IOMMU, guest driver: what its files share.
 *
 * One struct pviommu stands for the interface of this VM. It has endpoints
 * (PCI devices with our capability), domains and rings. A domain has a record
 * of what is mapped (the store), unless it has an owner who keeps one. Changes
 * are queued in the rings as ops for the host, and stay there until somebody
 * needs them done.
 *
 * Terms:
 *   store    xarray of a domain, index IOVA >> 12, one value entry per page of
 *            the size that it was mapped with
 *   failed   a store entry whose mapping the host refused or revoked. Devices
 *            reach nothing there. But it counts as mapped for unmap, so that the
 *            unmap of a range does not stop there, and for iova_to_phys, as users
 *            learn from that which page to unpin.
 *   owner    a module that keeps the record of a domain instead of the store
 *   batch    maps of an owner, whose outcome it asks for together
 *   queued   of an op: in a ring, and the host has not finished it
 *   drain    ring the doorbell until the host has finished what is queued
 *
 * Lock order, outermost first:
 *
 *   pviommu_balloon.lock	the balloon; held while the host is asked
 *   pci_rescan_remove_lock	PCI hot-plug, and module load and unload
 *   device_lock(endpoint)	the driver core, and module load and unload
 *     iommu_probe_device_lock
 *       group->mutex		both of the IOMMU core
 *         pviommu.lock		endpoints, their domains, list of domains
 *           pviommu_ring.lock	one ring; never two at a time
 *             store.xa_lock	one domain's store
 *             report.lock	what is to be printed later
 *
 * Locks from pviommu_ring.lock on are taken with interrupts disabled, as the DMA
 * API maps and unmaps in any context.
 */
#ifndef _PV_IOMMU_H
#define _PV_IOMMU_H

#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pv_iommu.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

/*
 * Ops of a ring, 32 KiB of them. More than the entries of a flush queue of the
 * DMA API (256), so that deferred unmaps wait in the ring for their one flush.
 */
#define PVIOMMU_RING_SHIFT	9
#define PVIOMMU_RING_SIZE	BIT(PVIOMMU_RING_SHIFT)

/* List pages for MAP_LIST that a ring owns: enough for 32 MiB in 4 KiB pages */
#define PVIOMMU_RING_LISTS	16

/* The store counts in pages of this size, whatever the host's smallest size is */
#define PVIOMMU_PAGE_SHIFT	12

/* How long an op may take before that is reported */
#define PVIOMMU_SLOW_SECONDS	10

#define PVIOMMU_WANTED_FEATURES \
	(PVIOMMU_F_MAP_LIST | PVIOMMU_F_EVENTS | PVIOMMU_F_BYPASS | \
	 PVIOMMU_F_STATS | PVIOMMU_F_TABLES | PVIOMMU_F_MEM_TYPES | \
	 PVIOMMU_F_DIRTY | PVIOMMU_F_RECOVER | PVIOMMU_F_FOREIGN | \
	 PVIOMMU_F_RELEASE | PVIOMMU_F_PASID)

/* As many as PCI allows; how many a device has is in its capability */
#define PVIOMMU_MAX_PASIDS	BIT(20)

struct dentry;
struct pviommu;

/**
 * struct pviommu_door - a device through whose capability the host is reached
 * @pdev: the device
 * @regs: where PVIOMMU_CAP_ID_OFF is in its config space
 */
struct pviommu_door {
	struct pci_dev *pdev;
	u16 regs;
};

/**
 * struct pviommu_endpoint - a device that the host lets us translate for
 * @pv: its interface
 * @dev: the device
 * @door: the host can be reached through it
 * @node: in pviommu.endpoints; read with pviommu.lock held, or under RCU
 * @domain: the domain that it is attached to at the host; if the host can't be asked, the
 *	one that the IOMMU core has attached; NULL if not known; pviommu.lock
 * @wanted: the domain that the IOMMU core has attached last, even if the host has cut the
 *	endpoint off since; NULL for none; pviommu.lock
 * @left: if @wanted is the blocked domain: what @wanted was before, to which the core may
 *	bring it back, as it does after a reset; else NULL; pviommu.lock
 * @pasids: by PASID, the domains that the IOMMU core has attached; pviommu.lock
 * @id: the host's number for it
 * @group: the host's number of its isolation group
 * @flags: PVIOMMU_PROBE_*
 * @pgsizes: page sizes, a bit each
 * @window_start: first usable IOVA
 * @window_last: last usable IOVA
 * @pasid_bits: width of its PASIDs, 0 if it has none
 * @pasids_on: pci_enable_pasid() was called for it
 * @pasids_lost: the host has detached what is in @pasids; pviommu.lock
 * @gone: the host has taken it away: it can't be moved any more, and its number may belong
 *	to another device by now; pviommu.lock
 * @isolated: the host has cut it off after an error and holds it in the blocked
 *	domain; pviommu.lock
 * @stale: it had a driver when it was cut off, which does not know of that; pviommu.lock
 * @restoring: it is being put back after a reset, which must fail if it was cut off again
 *	since that; pviommu.lock
 * @to_recover: isolated, and @recover_work has not dealt with it yet; pviommu.lock
 * @recover_again: to be @to_recover again after the host has had some time; pviommu.lock
 * @recover_until: when to give up asking the host, in jiffies; pviommu.lock
 * @recovering: devices of its group are being reset: it stays in the blocked domain
 *	until all of them have been; pviommu.lock
 * @frozen: we have set its device's error_state; pviommu.lock
 * @told: its driver was told of an error and waits for slot_reset(), and the device is kept
 *	awake; the device's lock
 * @able: that driver can recover after a reset; the device's lock
 * @adopted: its driver was bound before it was an endpoint, and uses the DMA
 *	API; pviommu.lock
 * @pinned: it holds a reference on this module, see pviommu_pin(); pviommu.lock
 * @nr_regions: how many @regions
 * @regions: IOVAs that cannot be mapped
 */
struct pviommu_endpoint {
	struct pviommu *pv;
	struct device *dev;
	struct pviommu_door door;
	struct list_head node;
	struct iommu_domain *domain;
	struct iommu_domain *wanted;
	struct iommu_domain *left;
	struct xarray pasids;
	unsigned long recover_until;
	u32 id;
	u32 group;
	u32 flags;
	u64 pgsizes;
	u64 window_start;
	u64 window_last;
	u32 pasid_bits;
	bool pasids_on;
	bool pasids_lost;
	bool gone;
	bool isolated;
	bool stale;
	bool restoring;
	bool to_recover;
	bool recover_again;
	bool recovering;
	bool frozen;
	bool told;
	bool able;
	bool adopted;
	bool pinned;
	u32 nr_regions;
	struct pviommu_region regions[] __counted_by(nr_regions);
};

/**
 * struct pviommu_pending - how many ops of a domain are queued in one ring
 * @maps: MAP and MAP_LIST
 * @unmaps: UNMAP
 *
 * Written under the lock of that ring, but read without it: a thread that has queued an op
 * sees it counted, and a reader that does not see it counted any more sees its outcome in
 * the store.
 */
struct pviommu_pending {
	u16 maps;
	u16 unmaps;
};

/**
 * struct pviommu_domain - a paging domain
 * @domain: for the IOMMU core
 * @pv: its interface
 * @node: in pviommu.domains
 * @id: the host's number for it, U32_MAX if the host does not have it
 * @table_format: PVIOMMU_TABLE_*; unless it is _NONE the domain has no mappings, and
 *	translates what a table says that its user keeps
 * @table_root: GPA of that table
 * @table_watch: the host is to watch the pages of the table
 * @coherent: DMA of all its endpoints snoops
 * @noexec: all its endpoints support PVIOMMU_PROT_NOEXEC
 * @enforced: enforce_cache_coherency() has succeeded: endpoints that don't snoop are refused
 * @pinned: it holds a reference on this module, see domain_unpin()
 * @unmap_refused: the host has refused to unmap something, so that no flush can
 *	promise that devices reach only what is mapped
 * @revoked: the host may still map a page whose store entry has failed
 * @revoked_in_part: the host may still map a part of a large page whose store entry has failed
 * @lost_error: why the host has not mapped all again after a restart, of which the owner
 *	has not been told yet; negative errno, or 0
 * @event_fn: handler of its events, or NULL; pviommu.lock
 * @event_token: passed to @event_fn
 * @dirty: its log of dirty pages is on
 * @store: what is mapped
 * @nr_failed: failed entries in @store; store.xa_lock
 * @owner_ops: callbacks of its owner, NULL if it has none; set before anything is
 *	mapped, and never changed after that
 * @owner: passed to @owner_ops
 * @nr_pending: how many @pending, that is rings
 * @pending: queued ops, by ring
 */
struct pviommu_domain {
	struct iommu_domain domain;
	struct pviommu *pv;
	struct list_head node;
	u32 id;
	u32 table_format;
	u64 table_root;
	bool table_watch;
	bool coherent;
	bool noexec;
	bool enforced;
	bool pinned;
	bool unmap_refused;
	bool revoked;
	bool revoked_in_part;
	int lost_error;
	pv_iommu_event_fn event_fn;
	void *event_token;
	bool dirty;
	struct xarray store;
	unsigned long nr_failed;
	const struct pv_iommu_owner_ops *owner_ops;
	void *owner;
	unsigned int nr_pending;
	struct pviommu_pending pending[] __counted_by(nr_pending);
};

/**
 * struct pviommu_req - an op that somebody waits for
 * @status: PVIOMMU_STATUS_PENDING, then what the host answered
 * @result: of the op
 * @answer: where to copy the op, of which the host has answered in the
 *	arguments, or NULL
 */
struct pviommu_req {
	u32 status;
	u64 result;
	struct pviommu_op *answer;
};

/**
 * struct pviommu_slot - the driver's side of an op in a ring
 * @dom: the domain that it is about, or NULL
 * @req: the request that waits for it, or NULL
 * @batch: where to report that a map failed; NULL: in the store
 * @iova: where it maps or unmaps
 * @size: bytes
 * @gpa: of a MAP
 * @vm: of MAP and MAP_LIST, whose memory it is
 * @code: PVIOMMU_OP_*
 * @prot: PVIOMMU_PROT_*
 * @pgshift: of MAP and MAP_LIST
 * @list: index of its list page, -1 for none
 */
struct pviommu_slot {
	struct pviommu_domain *dom;
	struct pviommu_req *req;
	struct pv_iommu_batch *batch;
	u64 iova;
	u64 size;
	u64 gpa;
	u32 vm;
	u16 code;
	u8 prot;
	u8 pgshift;
	s8 list;
};

/**
 * struct pviommu_map_run - contiguous pages that are to be mapped
 * @dom: the domain
 * @batch: where to report a failure, valid until the op is done; NULL if the domain has no
 *	owner
 * @iova: where
 * @gpa: the first page
 * @count: how many
 * @vm: whose memory it is, PVIOMMU_VM_SELF or another's
 * @pgshift: log2 of the page size
 * @prot: PVIOMMU_PROT_*
 */
struct pviommu_map_run {
	struct pviommu_domain *dom;
	struct pv_iommu_batch *batch;
	u64 iova;
	u64 gpa;
	size_t count;
	u32 vm;
	unsigned int pgshift;
	u8 prot;
};

/**
 * struct pviommu_hold - how a ring is locked by a thread
 * @flags: interrupt flags from before
 * @may_sleep: the thread may sleep when the lock is dropped between two doorbells
 */
struct pviommu_hold {
	unsigned long flags;
	bool may_sleep;
};

/**
 * struct pviommu_ring - a ring and its bookkeeping
 * @lock: all of it, and the ring's memory up to @prod
 * @pv: its interface
 * @id: its index
 * @base: what @prod and @cons were when the counts in the header were 0
 * @prod: count of ops queued
 * @pub: prod as published in the header; ops from here to @prod can be changed
 * @cons: count of ops whose outcome has been taken
 * @events: the header's count of events when it was read last
 * @free_lists: bit map of list pages not in use
 * @hdr: the header that the host sees; in this struct, as it is used whenever the
 *	rest is
 * @ops: the ops that the host sees
 * @slots: the driver's side of @ops
 * @lists: pages for MAP_LIST
 * @nr_tracked: doorbells by the tracked page
 * @nr_config: doorbells by config space
 * @nr_ops: ops queued
 * @nr_coalesced: requests that went into an op which was queued already
 */
struct pviommu_ring {
	spinlock_t lock; /* all of this */
	struct pviommu *pv;
	u16 id;
	u32 base;
	u32 prod;
	u32 pub;
	u32 cons;
	u32 events;
	unsigned long free_lists;
	struct pviommu_ring_hdr hdr __aligned(64);
	struct pviommu_op *ops;
	struct pviommu_slot *slots;
	__le64 *lists[PVIOMMU_RING_LISTS];
	u64 nr_tracked;
	u64 nr_config;
	u64 nr_ops;
	u64 nr_coalesced;
} ____cacheline_aligned_in_smp;

/**
 * struct pviommu_report - what is to be printed when no ring is locked
 *
 * The console may use a device that is behind this IOMMU.
 *
 * @lock: all of it; innermost
 * @broken: the host has stopped answering
 * @no_page: the doorbell page does not work
 * @slow: the host answers, but has been at one op for long
 * @dropped: a restart has dropped events
 * @ring: which ring found it @broken
 * @error: what that ring's header said
 * @nr_removals: how many UNMAPs and INVALIDATEs have failed, or were not complete, since the
 *	last report; what follows is about the first of them
 * @domain: its domain
 * @iova: where
 * @size: bytes
 * @done: bytes that were unmapped
 * @removal_error: negative errno
 */
struct pviommu_report {
	spinlock_t lock; /* all of this */
	bool broken;
	bool no_page;
	bool slow;
	bool dropped;
	u16 ring;
	u32 error;
	unsigned int nr_removals;
	u32 domain;
	u64 iova;
	u64 size;
	u64 done;
	int removal_error;
};

/**
 * struct pviommu_balloon - memory that the administrator has given back to the host
 * @lock: all of it; held while the host is asked, so it comes before pviommu.lock
 * @blocks: its pages
 * @npages: how many
 * @freed: bytes that the host has freed of them
 * @oom: called when the kernel is out of memory
 */
struct pviommu_balloon {
	struct mutex lock; /* all of it */
	struct list_head blocks;
	unsigned long npages;
	u64 freed;
	struct notifier_block oom;
};

/**
 * struct pviommu - the interface of this VM
 * @iommu: for the IOMMU core
 * @ops: the copy of our iommu_ops that is registered, see pviommu_copy_ops()
 * @features: PVIOMMU_F_* in use
 * @cookie: of the last start; whoever knows it can stop the interface
 * @max_domains: how many domains the host allows
 * @tracked: the doorbell page works
 * @asked: the IOMMU core has asked us for a device, whatever we said
 * @started: the host may use our memory
 * @broken: no op can be done: the host has stopped answering, or been stopped
 * @restarts: how often all mappings have been replayed to the host
 * @lock: see the top of this file
 * @endpoints: list of struct pviommu_endpoint; written under @lock, read there
 *	or under RCU
 * @domains: list of struct pviommu_domain; @lock
 * @first: the door when there is no endpoint yet; its device is referenced
 * @door: the device whose config space is used, @first or an endpoint's; NULL for none.
 *	If it does not answer, any context may set it to one that does.
 * @doorbell: the doorbell page, or NULL
 * @start: the start block with its ring descriptors
 * @probe: a page for PROBE in a restart, when none can be allocated
 * @events: the event ring, or NULL
 * @events_seen: the event ring's prod when the work was scheduled last
 * @events_lost: the event ring's lost when it was reported last
 * @report: what @event_work is to print
 * @event_work: takes events now
 * @event_poll: takes events now and then
 * @recover_worker: a thread, frozen while the system sleeps, for @recover_work
 * @recover_work: brings isolated endpoints back
 * @releases: RELEASEs that the host has not finished; @lock
 * @last_token: token of the last one; @lock
 * @balloon: pages that the administrator has given back to the host
 * @debugfs: our folder
 * @nr_rings: how many @rings
 * @rings: the rings
 */
struct pviommu {
	struct iommu_device iommu;
	struct iommu_ops *ops;
	u64 features;
	u64 cookie;
	u32 max_domains;
	bool tracked;
	bool asked;
	bool started;
	bool broken;
	u32 restarts;
	struct mutex lock; /* endpoints, their domains, list of domains */
	struct list_head endpoints;
	struct list_head domains;
	struct pviommu_door first;
	struct pviommu_door __rcu *door;
	__le32 *doorbell;
	struct pviommu_start *start;
	struct pviommu_probe *probe;
	struct pviommu_event_ring *events;
	u32 events_seen;
	u32 events_lost;
	struct pviommu_report report;
	struct work_struct event_work;
	struct delayed_work event_poll;
	struct kthread_worker *recover_worker;
	struct kthread_delayed_work recover_work;
	struct list_head releases;
	u64 last_token;
	struct pviommu_balloon balloon;
	struct dentry *debugfs;
	unsigned int nr_rings;
	struct pviommu_ring rings[] __counted_by(nr_rings);
};

/* pv-iommu-endpoint.c */
extern const struct iommu_ops pviommu_ops;
extern struct pviommu *pviommu_instance;
bool pviommu_candidate(struct pci_dev *pdev);
struct pviommu_endpoint *pviommu_find_endpoint(struct pviommu *pv,
					       struct device *dev);
extern struct iommu_domain pviommu_identity_domain;
extern struct iommu_domain pviommu_blocked_domain;

int pviommu_attach(struct pviommu_endpoint *ep, struct iommu_domain *domain);
int pviommu_attach_errno(int error);
int pviommu_attach_wanted(struct pviommu_endpoint *ep);
void pviommu_forget_domain(struct pviommu *pv, struct iommu_domain *domain);
int pviommu_recover_endpoint(struct pviommu_endpoint *ep);
void pviommu_isolated(struct pviommu_endpoint *ep);
void pviommu_leave(struct pviommu_endpoint *ep);
void pviommu_endpoint_again(struct pviommu_endpoint *ep);
int pviommu_reattach(struct pviommu_endpoint *ep);
bool pviommu_manages_dma(struct device *dev);

/* pv-iommu-pasid.c */
int pviommu_pasid_request(struct pviommu_endpoint *ep, u16 code, u32 domain, u32 pasid);
int pviommu_pasid_attach(struct pviommu_endpoint *ep, struct iommu_domain *domain, u32 pasid,
			 const struct iommu_domain *from);
void pviommu_pasid_detach(struct pviommu_endpoint *ep, u32 pasid);
int pviommu_pasids_reattach(struct pviommu_endpoint *ep);
bool pviommu_pasids_find(struct pviommu_endpoint *ep, const struct iommu_domain *domain);
void pviommu_pasids_forget(struct pviommu_endpoint *ep, const struct iommu_domain *domain);
void pviommu_pasids_leave(struct pviommu_endpoint *ep, bool last);
void pviommu_pasids_enable(struct pviommu_endpoint *ep);
void pviommu_pasids_disable(struct pviommu_endpoint *ep);

/* pv-iommu-cap.c */
u16 pviommu_cap_find(struct pci_dev *pdev);
u32 pviommu_cap_read(struct pci_dev *pdev, u16 regs, unsigned int reg);
int pviommu_cap_command(struct pviommu *pv, u32 command, u64 gpa);
bool pviommu_cap_stopped(struct pviommu *pv);
u32 pviommu_cap_offered(struct pviommu *pv);
void pviommu_cap_doorbell(struct pviommu *pv, u32 value);
void pviommu_door_first(struct pviommu *pv, struct pci_dev *pdev, u16 regs);
void pviommu_door_enter(struct pviommu *pv, struct pviommu_endpoint *ep);
void pviommu_door_leave(struct pviommu *pv, struct pviommu_endpoint *ep);

/* pv-iommu-start.c */
struct pviommu *pviommu_create(unsigned int nr_rings, bool doorbell);
void pviommu_destroy(struct pviommu *pv);
int pviommu_start(struct pviommu *pv);
void pviommu_master_off(struct pci_dev *pdev);
void pviommu_silence(struct pviommu *pv);
int pviommu_stop(struct pviommu *pv);
int pviommu_restart(struct pviommu *pv);
int pviommu_restart_live(struct pviommu *pv);
int pviommu_domain_restart_live(struct pviommu_domain *dom, u32 endpoint);

/* pv-iommu-req.c */
int pviommu_request(struct pviommu *pv, const struct pviommu_op *op,
		    u64 *result);
int pviommu_request_long(struct pviommu *pv, const struct pviommu_op *op,
			 u64 *result);
int pviommu_ask(struct pviommu_domain *dom, struct pviommu_op *op, bool may_sleep);
void pviommu_doorbell_only(struct pviommu *pv);
void pviommu_ring_drain(struct pviommu_ring *ring, u32 end,
			struct pviommu_hold *hold);
void pviommu_ring_discard(struct pviommu_ring *ring, bool done);
struct pviommu_slot *pviommu_ring_append(struct pviommu_ring *ring, u16 code,
					 struct pviommu_domain *dom,
					 struct pviommu_hold *hold);
int pviommu_ring_request(struct pviommu_ring *ring, const struct pviommu_op *op,
			 struct pviommu_domain *dom, u64 *result,
			 struct pviommu_op *answer, struct pviommu_hold *hold);
void pviommu_drain_maps(struct pviommu_domain *dom, u64 iova, u64 size,
			bool may_sleep);
void pviommu_drain_unmaps(struct pviommu_domain *dom, u64 iova, u64 size,
			  bool may_sleep);
void pviommu_drain_domain(struct pviommu_domain *dom, bool may_sleep);
int pviommu_invalidate(struct pviommu_domain *dom, const struct pviommu_op *op,
		       bool may_sleep);

/* pv-iommu-queue.c */
int pviommu_queue_map(const struct pviommu_map_run *run, bool may_sleep);
int pviommu_map_now(const struct pviommu_map_run *run);
int pviommu_unmap_now(struct pviommu_domain *dom, u64 iova, u64 size);
int pviommu_queue_unmap(struct pviommu_domain *dom, u64 iova, u64 size,
			bool may_sleep);

/* pv-iommu-domain.c */
extern const struct iommu_domain_ops pviommu_paging_ops;
bool pviommu_domain_is_ours(struct iommu_domain *domain);
struct iommu_domain *pviommu_domain_alloc_paging(struct device *dev);
bool pviommu_domain_suits(struct pviommu_domain *dom,
			  struct pviommu_endpoint *ep);
int pviommu_domain_restart(struct pviommu_domain *dom, u32 endpoint);
int pviommu_domain_invalidate(struct pviommu_domain *dom, u32 granularity,
			      u32 pasid, u64 addr, u64 size, u16 flags,
			      bool may_sleep);
u8 pviommu_prot(struct pviommu_domain *dom, int prot);

/* pv-iommu-owned.c */
void pviommu_owned_restart(struct pviommu_domain *dom);

#ifdef PVIOMMU_HAVE_DIRTY_OPS
/* pv-iommu-dirty.c */
struct iommu_domain *
pviommu_domain_alloc_flags(struct device *dev, u32 flags,
			   const struct iommu_user_data *user_data);
#endif

/* pv-iommu-map.c */
int pviommu_store_insert(const struct pviommu_map_run *run, gfp_t gfp,
			 size_t *stored);
size_t pviommu_store_erase(struct pviommu_domain *dom, u64 iova, size_t size,
			   bool *failed);
void pviommu_store_fail(struct pviommu_domain *dom, u64 iova, u64 size,
			int error);
void pviommu_store_revoke(struct pviommu_domain *dom, u64 iova, u64 size,
			  u64 gpa);
int pviommu_store_error(struct pviommu_domain *dom, u64 iova, u64 size);
phys_addr_t pviommu_store_lookup(struct pviommu_domain *dom, u64 iova);
void pviommu_store_replay(struct pviommu_domain *dom);
void pviommu_store_destroy(struct pviommu_domain *dom);

/* pv-iommu-event.c */
void pviommu_events_init(struct pviommu *pv);
void pviommu_events_start(struct pviommu *pv);
void pviommu_events_stop(struct pviommu *pv);
int pviommu_events_inject(struct pviommu *pv, u16 type, u64 addr,
			  unsigned int count, u64 gpa);
void pviommu_events_check(struct pviommu *pv);
void pviommu_events_flush(struct pviommu *pv);
void pviommu_events_drop(struct pviommu *pv);
void pviommu_report_broken(struct pviommu_ring *ring);
void pviommu_report_no_page(struct pviommu *pv);
void pviommu_report_slow(struct pviommu *pv);
void pviommu_report_lost(struct pviommu_domain *dom, int error);
void pviommu_report_removal(struct pviommu_domain *dom, u64 iova, u64 size,
			    u64 done, int error);

/* pv-iommu-release.c */
void pviommu_release_done(struct pviommu *pv, u64 token, u64 freed);

/* pv-iommu-balloon.c */
void pviommu_balloon_init(struct pviommu_balloon *balloon);
void pviommu_balloon_add(struct pviommu_balloon *balloon, struct dentry *dir);
void pviommu_balloon_empty(struct pviommu_balloon *balloon);

/* pv-iommu-debugfs.c */
void pviommu_debugfs_add(struct pviommu *pv);
void pviommu_debugfs_remove(struct pviommu *pv);

/* The ring to queue into: any will do, but that of this CPU is likely not locked */
static inline struct pviommu_ring *pviommu_ring_mine(struct pviommu *pv)
{
	return &pv->rings[raw_smp_processor_id() % pv->nr_rings];
}

static inline unsigned int pviommu_slot_index(u32 n)
{
	return n & (PVIOMMU_RING_SIZE - 1);
}

/* Its DMA reaches all memory of the machine */
static inline bool pviommu_in_bypass(const struct pviommu_endpoint *ep)
{
	return ep->domain && ep->domain->type == IOMMU_DOMAIN_IDENTITY;
}

/* The op that the host sees */
static inline struct pviommu_op *pviommu_slot_op(struct pviommu_ring *ring,
						 struct pviommu_slot *slot)
{
	return &ring->ops[slot - ring->slots];
}

/* An op with nothing in it */
static inline void pviommu_op_init(struct pviommu_op *op, u16 code)
{
	*op = (struct pviommu_op){
		.code = cpu_to_le16(code),
		.status = cpu_to_le32(PVIOMMU_STATUS_PENDING),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.vm = cpu_to_le32(PVIOMMU_VM_SELF),
	};
}

/* An INVALIDATE for all PASIDs; its domain is filled in when it is queued */
static inline void pviommu_op_invalidate(struct pviommu_op *op, u32 granularity,
					 u64 addr, u64 size)
{
	pviommu_op_init(op, PVIOMMU_OP_INVALIDATE);
	op->inv.granularity = cpu_to_le32(granularity);
	op->inv.addr = cpu_to_le64(addr);
	op->inv.size = cpu_to_le64(size);
}

#define to_pviommu_domain(d) \
	container_of(d, struct pviommu_domain, domain)

/* Whether [a, a + a_size) and [b, b + b_size) overlap; sizes are not 0 */
static inline bool pviommu_overlap(u64 a, u64 a_size, u64 b, u64 b_size)
{
	return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

/* pv-iommu-recover.c */
int pviommu_recover_init(struct pviommu *pv);
void pviommu_recover_stop(struct pviommu *pv);
void pviommu_recover_destroy(struct pviommu *pv);
void pviommu_recover_later(struct pviommu *pv, u32 group);
void pviommu_recover_bound(struct pviommu *pv, struct device *dev);
void pviommu_recover_unbound(struct pviommu *pv, struct device *dev);

#endif /* _PV_IOMMU_H */
