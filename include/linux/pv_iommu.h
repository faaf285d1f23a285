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
 * pv_iommu_group() - is this group behind the paravirtual IOMMU
 * @group: the group
 *
 * Return: true if all its devices are.
 */
bool pv_iommu_group(struct iommu_group *group);

/**
 * pv_iommu_msi_isolated() - does the host isolate the group's interrupts
 * @group: a group for which pv_iommu_group() is true
 *
 * Return: true if it does.
 */
bool pv_iommu_msi_isolated(struct iommu_group *group);

/**
 * struct pv_iommu_batch - maps of which is asked together whether they were done
 * @error: 0, or the error with which the host refused one of them
 *
 * Initialized to 0. It has to stay where it is until pv_iommu_sync_map() of all
 * that was queued with it.
 */
struct pv_iommu_batch {
	int error;
};

/* Maps of different batches are never joined: one is not refused for another */
#define PV_IOMMU_REPLAY_BATCHES	2

/**
 * struct pv_iommu_owner_ops - what the owner of a domain does
 * @replay: put into the domain all that was mapped, with pv_iommu_map_nosync()
 *	and these batches, PV_IOMMU_REPLAY_BATCHES, in turn: the host has
 *	forgotten it. Called with interrupts disabled and all other CPUs stopped:
 *	what they hold is at most a mutex or the like. Returns 0 or a negative
 *	errno.
 * @iova_to_phys: where an IOVA leads; 0 if nothing is mapped there
 */
struct pv_iommu_owner_ops {
	int (*replay)(void *owner, struct pv_iommu_batch *batches);
	phys_addr_t (*iova_to_phys)(void *owner, unsigned long iova);
};

/**
 * pv_iommu_own() - keep the record of a domain's mappings
 * @domain: a domain just made, in which nothing is mapped
 * @ops: what the owner does
 * @owner: passed to them; stays until the domain is freed
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
 * pv_iommu_restarts() - how often the host has been told anew of all mappings
 * @domain: a domain of the caller
 *
 * When that changes between the first map of a batch and the moment from which
 * on the owner would replay it, part of it may be lost: the owner unmaps all of
 * it and maps it again. It does not change while preemption is disabled.
 *
 * Return: a count.
 */
u32 pv_iommu_restarts(struct iommu_domain *domain);

/**
 * pv_iommu_map() - map a range of which the memory is contiguous
 * @domain: a domain of the caller
 * @iova: page aligned
 * @paddr: guest physical address, page aligned
 * @size: bytes, page aligned, not 0; the range does not wrap
 * @prot: IOMMU_READ and so on
 *
 * What was mapped in the range before must have been flushed. May sleep.
 *
 * Return: 0; -EAGAIN if it takes pages of several sizes, and several ops: use
 * pv_iommu_map_nosync(); another negative errno: the caller unmaps the range.
 */
int pv_iommu_map(struct iommu_domain *domain, unsigned long iova,
		 phys_addr_t paddr, size_t size, int prot);

/**
 * pv_iommu_make_table() - have a domain translate what a page table says
 * @domain: a paging domain of pv-iommu that was never attached nor used, and has no
 *	owner
 * @dev: the device that it was made for
 * @format: PVIOMMU_TABLE_*
 * @root: guest physical address of the table's first page
 * @watch: have the host watch the table's pages, so that what CPUs add to them needs no
 *	pv_iommu_invalidate() once the host has looked at the table
 *
 * It takes no mappings any more, nor an owner: what brings it back after the host has
 * forgotten it is the table. pv_iommu_invalidate() makes the host look at the
 * table. May sleep.
 *
 * Return: 0; -EOPNOTSUPP the host has no such domains or formats, or can't watch; -EINVAL @root is
 * not aligned; -EFAULT it is not RAM; -ENOMEM; -EIO. After an error the domain can
 * only be freed.
 */
int pv_iommu_make_table(struct iommu_domain *domain, struct device *dev, u32 format,
			u64 root, bool watch);

/**
 * pv_iommu_map_nosync() - queue a mapping without leaving the guest
 * @domain: a domain of the caller
 * @batch: what it belongs to
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
 * pv_iommu_features() - what the host offers, and this machine uses
 * @domain: a domain of pv-iommu
 *
 * Return: PVIOMMU_F_*; the same until the domain is freed.
 */
u64 pv_iommu_features(struct iommu_domain *domain);

/**
 * pv_iommu_map_foreign_nosync() - queue a mapping of another machine's memory
 * @domain: a domain of the caller
 * @batch: what it belongs to
 * @iova: page aligned
 * @vm: the host's number of the other machine
 * @gpa: address there, page aligned
 * @size: bytes, page aligned; neither range wraps
 * @prot: IOMMU_READ and so on
 * @may_sleep: the caller may sleep
 *
 * As pv_iommu_map_nosync(), and unmapped as any other. The host's administrator
 * must have granted the memory to this machine: else pv_iommu_sync_map() says
 * -EACCES, whatever the reason. There is nothing to be pinned here: the host holds
 * the memory, until the grant is taken back or the memory leaves the other machine.
 * Then it is not mapped any more, nobody is asked, and the event handler of the
 * domain hears of PVIOMMU_EV_REVOKED.
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
 * @batch: what they belong to
 * @iova: start of a range that covers them
 * @size: its size in bytes, not 0
 *
 * May sleep. The batch is not used any more on return.
 *
 * Return: 0, or the error with which the host refused one of them; then the range
 * may be mapped in part and the caller unmaps it.
 */
int pv_iommu_sync_map(struct iommu_domain *domain,
		      const struct pv_iommu_batch *batch, unsigned long iova,
		      size_t size);

/**
 * pv_iommu_unmap_nosync() - queue a removal without leaving the guest
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

/** PV_IOMMU_DIRTY_PAGES: most pages of 4 KiB that are asked of at a time */
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
 * pv_iommu_dirty_stop() - end that
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

/** PV_IOMMU_RELEASE_MAX: most pages that are given back at a time */
#define PV_IOMMU_RELEASE_MAX	((unsigned long)PVIOMMU_LIST_MAX)

/**
 * pv_iommu_release() - give pages back to the host, as a balloon does
 * @pfns: page frames of 4 KiB, of pages that belong to the caller; none twice
 * @count: how many, 1 to PV_IOMMU_RELEASE_MAX
 * @freed: set to how many bytes the host has freed
 *
 * The pages stay the caller's, and what they hold is lost: who touches one later finds
 * a new page of zeroes. Who maps one for a device, in this machine or another, hears of
 * it (PVIOMMU_EV_RELEASE) and is cut off some time later (PVIOMMU_EV_REVOKED), which
 * is what this waits for. May sleep, with nothing held that an event handler needs.
 *
 * Return: 0; then @freed may still be less, as the host can't free all kinds of memory.
 * -EOPNOTSUPP the host can't; -EBUSY a device is in the bypass domain, or a page is the
 * IOMMU's; -EINVAL; -EFAULT no memory of this machine; -ENOSPC too many at a time;
 * -ENOMEM; -EAGAIN the interface was restarted meanwhile: what the pages hold may be
 * lost, and the host has forgotten of them. -EIO, -ETIMEDOUT: the host does not say what
 * has become of them: they may be taken at any time and must never be used again.
 */
int pv_iommu_release(const unsigned long *pfns, unsigned int count, u64 *freed);

/**
 * struct pv_iommu_event - something that concerns a domain
 * @type: PVIOMMU_EV_FAULT, _REVOKED, _RELEASE, _ISOLATED or _GONE; 0: so many
 *	events were lost, of this domain or others, as @size says; with @size 0
 *	some mapping of the domain was not brought back after the host had forgotten all
 * @write: of PVIOMMU_EV_FAULT: it was a write
 * @bad: of PVIOMMU_EV_FAULT: not 0 if there was no DMA yet, but the host found a bad
 *	entry when it looked at the domain's table: PVIOMMU_BAD_*
 * @dev: the device, NULL where none is meant
 * @pasid: PVIOMMU_PASID_NONE or the PASID
 * @vm: of PVIOMMU_EV_REVOKED and _RELEASE: whose memory, PVIOMMU_VM_SELF or another's
 * @iova: of PVIOMMU_EV_FAULT, _REVOKED and _RELEASE
 * @gpa: of PVIOMMU_EV_REVOKED and _RELEASE: the memory that it led to; with @bad:
 *	where the entry is
 * @size: bytes, of PVIOMMU_EV_REVOKED and _RELEASE; with @bad: that fault
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
 * typedef pv_iommu_event_fn - who wants to know of events
 * @token: as given to pv_iommu_set_event_handler()
 * @event: the event, valid during the call
 *
 * Called in process context with the lock of the IOMMU driver held: it must not
 * call the IOMMU API, nor wait for who does.
 */
typedef void (*pv_iommu_event_fn)(void *token, const struct pv_iommu_event *event);

/**
 * pv_iommu_set_event_handler() - be told of the events of a domain
 * @domain: a paging domain of pv-iommu
 * @fn: the handler, or NULL for none any more
 * @token: handed to it
 *
 * May sleep. When it returns the handler before is not running and will not be
 * called again.
 *
 * Return: 0, or -EINVAL for a domain that is another's.
 */
int pv_iommu_set_event_handler(struct iommu_domain *domain, pv_iommu_event_fn fn,
			       void *token);

#endif /* _LINUX_PV_IOMMU_H */
