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
struct iommu_iotlb_gather;

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
 * pv_iommu_map_nosync() - queue a mapping without leaving the guest
 * @domain: a paging domain of pv-iommu
 * @iova: page aligned
 * @paddr: guest physical address, page aligned
 * @size: bytes, page aligned
 * @prot: IOMMU_READ and so on
 * @gfp: for the driver's own tables; says whether it may sleep
 *
 * The mapping is in effect after pv_iommu_sync_map() of a range that covers it
 * returned 0.
 *
 * Return: 0 or a negative errno; on failure nothing is queued for the range, and
 * nothing is mapped there, but for -ENOTRECOVERABLE: then devices may reach part
 * of the memory.
 */
int pv_iommu_map_nosync(struct iommu_domain *domain, unsigned long iova,
			phys_addr_t paddr, size_t size, int prot, gfp_t gfp);

/**
 * pv_iommu_sync_map() - make queued mappings effective
 * @domain: the domain
 * @iova: start of a range
 * @size: its size in bytes
 *
 * May sleep.
 *
 * Return: 0, or the error with which the host refused a mapping in the range;
 * then the range may be mapped in part and the caller unmaps it.
 */
int pv_iommu_sync_map(struct iommu_domain *domain, unsigned long iova,
		      size_t size);

/**
 * pv_iommu_unmap_nosync() - queue a removal without leaving the guest
 * @domain: a paging domain of pv-iommu
 * @iova: page aligned
 * @size: bytes, page aligned
 * @gather: takes the range, for iommu_iotlb_sync() or pv_iommu_invalidate()
 *
 * May sleep.
 *
 * Return: how many bytes from @iova on were mapped and are not any more; it ends
 * at a hole, or at a page that the range would cut.
 */
size_t pv_iommu_unmap_nosync(struct iommu_domain *domain, unsigned long iova,
			     size_t size, struct iommu_iotlb_gather *gather);

/**
 * pv_iommu_invalidate() - the generic invalidation
 * @domain: a paging domain of pv-iommu
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

/**
 * struct pv_iommu_event - something that concerns a domain
 * @type: PVIOMMU_EV_FAULT, _REVOKED, _ISOLATED or _GONE; 0: so many events were
 *	lost, of this domain or others, as @size says
 * @write: of PVIOMMU_EV_FAULT: it was a write
 * @dev: the device, NULL where none is meant
 * @pasid: PVIOMMU_PASID_NONE or the PASID
 * @iova: of PVIOMMU_EV_FAULT and _REVOKED
 * @size: bytes, of PVIOMMU_EV_REVOKED
 */
struct pv_iommu_event {
	u16 type;
	bool write;
	struct device *dev;
	u32 pasid;
	u64 iova;
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
