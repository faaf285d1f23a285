/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Paravirtual IOMMU, guest side: what pv-iommu offers beyond the IOMMU API.
 */
#ifndef _LINUX_PV_IOMMU_H
#define _LINUX_PV_IOMMU_H

#include <linux/types.h>
#include <uapi/linux/pv_iommu.h>

struct device;
struct iommu_domain;
struct iommu_group;

/**
 * pv_iommu_group() - is a group behind the paravirtual IOMMU
 * @group: the group
 *
 * Return: true if all its devices are.
 */
bool pv_iommu_group(struct iommu_group *group);

/**
 * pv_iommu_msi_isolated() - does the host isolate interrupts of a group
 * @group: a group for which pv_iommu_group() is true
 *
 * Return: true if it does.
 */
bool pv_iommu_msi_isolated(struct iommu_group *group);

/**
 * struct pv_iommu_batch - maps whose outcome is asked for together
 * @error: 0, or the negative errno with which the host refused one of them
 *
 * Initialize it to 0. It must stay in place until pv_iommu_sync_map() has been called for
 * everything that was queued with it.
 */
struct pv_iommu_batch {
	int error;
};

/* Maps of different batches never share an op, so that one is not refused for another */
#define PV_IOMMU_REPLAY_BATCHES	2

/**
 * struct pv_iommu_owner_ops - callbacks of the owner of a domain
 * @replay: map everything again, as the host has forgotten it: with pv_iommu_map_nosync()
 *	and the batches given (PV_IOMMU_REPLAY_BATCHES of them), in turn. Called with
 *	interrupts disabled and all other CPUs stopped, at a point where no thread
 *	holds a spinlock. Returns 0 or a negative errno.
 * @iova_to_phys: look up the physical address that is mapped at an IOVA; 0 for none
 */
struct pv_iommu_owner_ops {
	int (*replay)(void *owner, struct pv_iommu_batch *batches);
	phys_addr_t (*iova_to_phys)(void *owner, unsigned long iova);
};

/**
 * pv_iommu_own() - become the owner of a domain, who keeps the record of its mappings
 * @domain: a domain that was just allocated, with nothing mapped
 * @ops: callbacks
 * @owner: passed to the callbacks; must be valid until the domain is freed
 *
 * From then on, mappings are changed by the functions below, not by iommu_map()
 * and iommu_unmap().
 *
 * Return: 0; -EINVAL if it is not a paging domain of pv-iommu, or has an owner or
 * a table.
 */
int pv_iommu_own(struct iommu_domain *domain,
		 const struct pv_iommu_owner_ops *ops, void *owner);

/**
 * pv_iommu_restarts() - how often all mappings have been replayed to the host
 * @domain: a domain of the caller
 *
 * If this changes between the first map of a batch and the time from which on the owner
 * would replay it, a part of it may be lost: the owner has to unmap all of it and map it
 * again. It does not change while preemption is disabled.
 *
 * Return: a count.
 */
u32 pv_iommu_restarts(struct iommu_domain *domain);

/**
 * pv_iommu_broken() - is it known that the host does nothing any more
 * @domain: a domain of pv-iommu
 *
 * Until there is a restart, nothing can be mapped then, and of what is mapped it is not certain
 * that devices don't reach it.
 *
 * Context: any.
 * Return: true if it is; the host may stop answering right after this has returned false.
 */
bool pv_iommu_broken(struct iommu_domain *domain);

/**
 * pv_iommu_map() - map contiguous memory
 * @domain: a domain of the caller
 * @iova: page aligned
 * @paddr: guest physical address, page aligned
 * @size: bytes, page aligned, not 0; the range does not wrap
 * @prot: IOMMU_READ and so on
 *
 * What was mapped in the range before must have been flushed.
 *
 * Context: process, may sleep.
 * Return: 0; -EAGAIN if that takes several ops, as for pages of several sizes: nothing is
 * mapped, use pv_iommu_map_nosync(); -EINVAL; or another negative errno, then a part may be
 * mapped and the caller unmaps the range.
 */
int pv_iommu_map(struct iommu_domain *domain, unsigned long iova,
		 phys_addr_t paddr, size_t size, int prot);

/**
 * pv_iommu_make_table() - make a domain translate what a page table says
 * @domain: a paging domain of pv-iommu that was neither attached nor used, and has no
 *	owner
 * @dev: the device that it was made for
 * @format: PVIOMMU_TABLE_*
 * @root: guest physical address of the table's first page
 * @watch: have the host watch the table's pages: once it has looked at the table, entries
 *	that CPUs add need no pv_iommu_invalidate()
 *
 * From then on it takes neither mappings nor an owner. After the host has forgotten it, it is
 * restored from the table. pv_iommu_invalidate() makes the host look at the table.
 *
 * Context: process, may sleep.
 *
 * Return: 0; -EOPNOTSUPP the host has no such domains or formats, or can't watch; -EINVAL @root is
 * not aligned; -EFAULT it is not RAM; -ENOMEM; -EIO. After an error the domain can
 * only be freed.
 */
int pv_iommu_make_table(struct iommu_domain *domain, struct device *dev, u32 format,
			u64 root, bool watch);

/**
 * pv_iommu_map_nosync() - queue a mapping, as a rule without a VM exit
 * @domain: a domain of the caller
 * @batch: the batch that it belongs to
 * @iova: page aligned
 * @paddr: guest physical address, page aligned
 * @size: bytes, page aligned; the range does not wrap
 * @prot: IOMMU_READ and so on
 * @may_sleep: the caller may sleep
 *
 * What was mapped in the range before must have been flushed. The mapping is in
 * effect after pv_iommu_sync_map() of a range that covers it returned 0.
 *
 * Return: 0 or a negative errno; then part of it may be queued.
 */
int pv_iommu_map_nosync(struct iommu_domain *domain,
			struct pv_iommu_batch *batch, unsigned long iova,
			phys_addr_t paddr, size_t size, int prot,
			bool may_sleep);

/**
 * pv_iommu_features() - the features that the host offers and this VM uses
 * @domain: a domain of pv-iommu
 *
 * Return: PVIOMMU_F_*; the same until the domain is freed.
 */
u64 pv_iommu_features(struct iommu_domain *domain);

/**
 * pv_iommu_map_foreign_nosync() - queue a mapping of another VM's memory
 * @domain: a domain of the caller
 * @batch: the batch that it belongs to
 * @iova: page aligned
 * @vm: the host's number of the other VM
 * @gpa: guest physical address there, page aligned
 * @size: bytes, page aligned; neither range wraps
 * @prot: IOMMU_READ and so on
 * @may_sleep: the caller may sleep
 *
 * As pv_iommu_map_nosync(), and unmapped like any other mapping. The host's administrator
 * must have granted the memory to this VM: else pv_iommu_sync_map() returns -EACCES,
 * whatever the reason. Nothing has to be pinned here. The host pins the memory until the
 * grant is taken back, or the memory leaves the other VM. Then the host unmaps it without
 * asking, and the event handler of the domain gets PVIOMMU_EV_REVOKED.
 *
 * Return: 0; -EOPNOTSUPP the host has no such mappings; -EINVAL @vm is
 * PVIOMMU_VM_SELF, or alignment; another negative errno, then part of it may be
 * queued.
 */
int pv_iommu_map_foreign_nosync(struct iommu_domain *domain,
				struct pv_iommu_batch *batch, unsigned long iova,
				u32 vm, u64 gpa, size_t size, int prot,
				bool may_sleep);

/**
 * pv_iommu_sync_map() - make queued mappings effective
 * @domain: a domain of the caller
 * @batch: the batch that they belong to
 * @iova: start of a range that covers them
 * @size: its size in bytes, not 0
 *
 * On return the batch is not used any more, if all of it was in the range.
 *
 * Context: process, may sleep.
 * Return: 0, or the error with which the host refused one of them; then the range
 * may be mapped in part and the caller unmaps it.
 */
int pv_iommu_sync_map(struct iommu_domain *domain,
		      const struct pv_iommu_batch *batch, unsigned long iova,
		      size_t size);

/**
 * pv_iommu_unmap_nosync() - queue a removal, as a rule without a VM exit
 * @domain: a domain of the caller
 * @iova: page aligned
 * @size: bytes, page aligned, not 0; no page is cut
 *
 * Removes what is mapped in the range. If maps of it were queued they must have
 * been synced. May sleep. Devices may use the range until it has been flushed by
 * pv_iommu_invalidate(), which also tells if the host has refused to unmap.
 *
 * Return: 0; -EIO, then nothing is queued.
 */
int pv_iommu_unmap_nosync(struct iommu_domain *domain, unsigned long iova,
			  size_t size);

/**
 * pv_iommu_unmap() - unmap a range and flush it
 * @domain: a domain of the caller
 * @iova: page aligned
 * @size: bytes, page aligned, not 0; no page is cut
 *
 * Neither maps nor removals of the range are queued. May sleep.
 *
 * Return: 0; -EIO: it is not certain that no device reaches the range.
 */
int pv_iommu_unmap(struct iommu_domain *domain, unsigned long iova, size_t size);

/**
 * pv_iommu_lookup() - ask the host where an IOVA leads, for debugging
 * @domain: a domain of the caller
 * @iova: any address
 * @paddr: set to the guest physical address
 *
 * Leaves the guest. May sleep.
 *
 * Return: 0; -ENOENT: nowhere; -EIO.
 */
int pv_iommu_lookup(struct iommu_domain *domain, u64 iova, phys_addr_t *paddr);

/**
 * pv_iommu_invalidate() - the generic invalidation
 * @domain: a domain of the caller
 * @granularity: how much is covered
 * @pasid: PVIOMMU_PASID_NONE or a PASID
 * @addr: first IOVA, for PVIOMMU_INV_PAGE
 * @size: bytes, for PVIOMMU_INV_PAGE
 * @flags: PVIOMMU_INV_F_LEAF
 *
 * Queued removals are carried out first. May sleep.
 *
 * Return: 0, -EOPNOTSUPP, -EINVAL, -EIO. Only after 0 it is certain that no
 * device reaches what was removed.
 */
int pv_iommu_invalidate(struct iommu_domain *domain,
			enum pviommu_granularity granularity, u32 pasid,
			u64 addr, u64 size, u32 flags);

/** PV_IOMMU_DIRTY_PAGES: how many pages of 4 KiB can be asked about at a time */
#define PV_IOMMU_DIRTY_PAGES	PVIOMMU_DIRTY_PAGES

/**
 * pv_iommu_dirty_start() - log which pages devices write to
 * @domain: a paging domain of pv-iommu
 *
 * May sleep. A log that is on stays on.
 *
 * Return: 0; -EOPNOTSUPP when the host has no logs: then all pages that are
 * mapped writable are to be taken for dirty; -EIO.
 */
int pv_iommu_dirty_start(struct iommu_domain *domain);

/**
 * pv_iommu_dirty_stop() - stop logging
 * @domain: a paging domain of pv-iommu
 *
 * May sleep.
 *
 * Return: 0, -EOPNOTSUPP, -EIO.
 */
int pv_iommu_dirty_stop(struct iommu_domain *domain);

/**
 * pv_iommu_dirty_read() - which pages may devices have written to
 * @domain: a paging domain of pv-iommu whose log is on
 * @iova: of the first page, aligned to 4 KiB
 * @npages: pages of 4 KiB, 1 to PV_IOMMU_DIRTY_PAGES
 * @bits: a bit for each, of which those of dirty pages are set, others cleared;
 *	memory that is contiguous, such as kmalloc()'s, aligned to 8 bytes
 *
 * May sleep.
 *
 * Return: 0, -EOPNOTSUPP, -EINVAL the log is off, -EIO.
 */
int pv_iommu_dirty_read(struct iommu_domain *domain, unsigned long iova,
			size_t npages, __le64 *bits);

/** PV_IOMMU_RELEASE_MAX: how many pages can be given back at a time */
#define PV_IOMMU_RELEASE_MAX	((unsigned long)PVIOMMU_LIST_MAX)

/**
 * pv_iommu_release() - give pages back to the host, as a balloon does
 * @pfns: page frames of 4 KiB, of pages that belong to the caller; none twice
 * @count: how many, 1 to PV_IOMMU_RELEASE_MAX
 * @freed: set to how many bytes the host has freed
 *
 * The pages still belong to the caller, but their contents are lost: an access later finds
 * a new page of zeroes. Whoever maps one for a device, in this VM or another, gets an event
 * (PVIOMMU_EV_RELEASE) and is cut off some time later (PVIOMMU_EV_REVOKED). This waits for
 * that.
 *
 * Context: process, may sleep for long; no lock held that an event handler needs.
 * Return: 0, but @freed may be less than all, as the host can't free all kinds of memory;
 * -EOPNOTSUPP the host can't do this; -EBUSY a device is in the bypass domain, or a page is
 * in use by the IOMMU; -EINVAL; -EFAULT not memory of this VM; -ENOSPC too many releases at
 * a time; -ENOMEM; -ENODEV the host does not answer, or no device is left to ask it by: it was
 * not asked; -EAGAIN the interface was stopped or restarted meanwhile: the contents of the pages
 * may be lost, but the host will not take them any more. -EIO, -ETIMEDOUT: the host does not
 * say what has become of them. It may take them at any time, so they must never be used
 * again.
 */
int pv_iommu_release(const unsigned long *pfns, unsigned int count, u64 *freed);

/**
 * struct pv_iommu_event - an event of a domain
 * @type: PVIOMMU_EV_FAULT, _REVOKED, _RELEASE, _ISOLATED or _GONE; 0: @size events were
 *	lost, of this domain or others; or, with @size 0, an unknown number of them, or some
 *	mapping of the domain was not restored after the host had forgotten everything
 * @write: of PVIOMMU_EV_FAULT: it was a write
 * @bad: of PVIOMMU_EV_FAULT: PVIOMMU_BAD_* if no DMA was refused, but the host has found a
 *	bad entry when it looked at the domain's table; else 0
 * @dev: the device, NULL if the event is not about one
 * @pasid: PVIOMMU_PASID_NONE or the PASID
 * @vm: of PVIOMMU_EV_REVOKED and _RELEASE: whose memory, PVIOMMU_VM_SELF or another's
 * @iova: of PVIOMMU_EV_FAULT, _REVOKED and _RELEASE
 * @gpa: of PVIOMMU_EV_REVOKED and _RELEASE: the memory that is mapped there; with @bad:
 *	where the entry is
 * @size: bytes, of PVIOMMU_EV_REVOKED and _RELEASE; with @bad: that are not translated
 */
struct pv_iommu_event {
	u16 type;
	bool write;
	u8 bad;
	struct device *dev;
	u32 pasid;
	u32 vm;
	u64 iova;
	u64 gpa;
	u64 size;
};

/**
 * typedef pv_iommu_event_fn - handler of a domain's events
 * @token: as given to pv_iommu_set_event_handler()
 * @event: the event, valid during the call
 *
 * Called in process context with the lock of the IOMMU driver held: it must neither call
 * the IOMMU API, nor wait for a thread that does.
 */
typedef void (*pv_iommu_event_fn)(void *token, const struct pv_iommu_event *event);

/**
 * pv_iommu_set_event_handler() - set or remove the event handler of a domain
 * @domain: a paging domain of pv-iommu
 * @fn: the handler, or NULL for none
 * @token: passed to it
 *
 * May sleep. When it returns the handler before is not running and will not be
 * called again.
 *
 * Return: 0, or -EINVAL for a domain that is another's.
 */
int pv_iommu_set_event_handler(struct iommu_domain *domain, pv_iommu_event_fn fn,
			       void *token);

#endif /* _LINUX_PV_IOMMU_H */
