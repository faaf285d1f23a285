/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host engine of the paravirtual IOMMU: what transports and device drivers
 * call, and what they provide.
 *
 * The engine (pviommu_host) owns one struct pviommu_vm for each VFIO container.
 * The variant driver tells it of opened devices and forwards accesses to the
 * capability; a doorbell transport tells it of stores to the doorbell page.
 */
#ifndef _LINUX_PV_IOMMU_HOST_H
#define _LINUX_PV_IOMMU_HOST_H

#include <linux/types.h>

struct device_driver;
struct kvm;
struct module;
struct pviommu_endpoint;
struct vfio_device;

/** PVIOMMU_MAX_TAG: the greatest tag of a watched page */
#define PVIOMMU_MAX_TAG		0xfffffff
/** PVIOMMU_TAG_TABLE: the tag of pages of guest-owned tables; no claim's */
#define PVIOMMU_TAG_TABLE	PVIOMMU_MAX_TAG

/* How a doorbell arrived; also the index of the counter */
enum pviommu_kick_source {
	PVIOMMU_KICK_TRACKED,
	PVIOMMU_KICK_CONFIG,
};

/**
 * pviommu_host_register_driver() - name the driver whose devices we serve
 * @drv: the variant driver
 *
 * From now on the container backend accepts groups whose devices are bound to
 * @drv. There is one variant driver at a time.
 *
 * Return: 0, or -EBUSY if there is one already.
 */
int pviommu_host_register_driver(struct device_driver *drv);
/** pviommu_host_unregister_driver() - undo it; after @drv has left its bus */
void pviommu_host_unregister_driver(struct device_driver *drv);

/**
 * pviommu_endpoint_open() - a device of a container has been opened
 * @vdev: the device; its kvm is taken when it has one
 *
 * Context: process, may sleep; from the open_device callback, after the core
 * device is enabled.
 * Return: the endpoint; NULL if the device's group is not in a container of
 * ours (then the device is plain vfio-pci); or ERR_PTR.
 */
struct pviommu_endpoint *pviommu_endpoint_open(struct vfio_device *vdev);

/**
 * pviommu_endpoint_close() - the device is being closed
 * @ep: from pviommu_endpoint_open(), not NULL
 *
 * When the last endpoint of the VM is closed its interface is stopped.
 * Context: process, may sleep; from the close_device callback.
 */
void pviommu_endpoint_close(struct pviommu_endpoint *ep);

/* Values of the capability's read-only registers */
u32 pviommu_endpoint_id(const struct pviommu_endpoint *ep);
u32 pviommu_endpoint_features(const struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_pasid_bits() - the width of an endpoint's PASIDs
 * @ep: the endpoint
 *
 * Return: 0 if it has none, or can't use them here.
 */
u32 pviommu_endpoint_pasid_bits(const struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_control() - a write to the control register
 * @ep: the endpoint
 * @cmd: PVIOMMU_CMD_*; others set EOPNOTSUPP in the control register
 * @arg: what stands in the GPA registers
 *
 * Context: process, may sleep, a thread of the VMM.
 */
void pviommu_endpoint_control(struct pviommu_endpoint *ep, u32 cmd, u64 arg);

/* Value of the control register when read */
u32 pviommu_endpoint_status(const struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_kick() - a write to the doorbell register
 * @ep: the endpoint
 * @value: what was written
 *
 * Context: process, may sleep, a thread of the VMM.
 */
void pviommu_endpoint_kick(struct pviommu_endpoint *ep, u32 value);

/**
 * pviommu_endpoint_command() - the VMM's own thread wrote the command register
 * @ep: the endpoint
 * @master: whether bus mastering is on after the write
 *
 * A VMM that resets its VM takes bus mastering away from each device. When it
 * did so to all endpoints of the VM, the interface is stopped as by
 * PVIOMMU_CMD_RESET. Writes by vCPU threads (the guest) must not be reported.
 */
void pviommu_endpoint_command(struct pviommu_endpoint *ep, bool master);

/**
 * pviommu_endpoint_reset() - the VMM reset the device by a VFIO ioctl
 * @ep: the endpoint; counts as pviommu_endpoint_command() with @master off
 *
 * If no device of its group is in error any more, the guest need not recover it: an error
 * that this reset was for has to be ended before, by pviommu_endpoint_handled().
 */
void pviommu_endpoint_reset(struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_isolate() - cut the endpoint's group off, now
 * @ep: the endpoint
 *
 * The group is cut off, without waiting for the VM, moves to the blocked domain when the VM
 * can be waited for, and the guest gets an event. It is held there
 * until the guest recovers it, the VMM resets the device, or its last device is
 * closed.
 * Context: process, may sleep; from the PCI error handler.
 * Return: true if the guest's driver recovers devices itself and was told, so that the
 * VMM need not hear of the error (it would stop the VM).
 */
bool pviommu_endpoint_isolate(struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_handled() - the host is done with the error, or has given up
 * @ep: an endpoint that was isolated
 *
 * From now on, if no other device of the group is in error, the guest may recover it.
 * Context: process, may sleep.
 * Return: true if the error was being handled until now.
 */
bool pviommu_endpoint_handled(struct pviommu_endpoint *ep);

/**
 * struct pviommu_doorbell_ops - a way to hear of stores to a guest page
 * @owner: the transport's module, referenced while a doorbell exists
 * @create: start to watch the page at @gpa of @kvm; stores call
 *          pviommu_doorbell_write(@ctx, ...). Process context, a thread of the
 *          VMM, with no lock held that pviommu_doorbell_write() or
 *          pviommu_doorbell_gone() takes. Both may be called before it returns.
 *          Returns an ERR_PTR on failure.
 * @take_down: stop to watch the page. May be called from within
 *             pviommu_doorbell_write(), so it must not wait for it. Idempotent.
 * @watch: report stores to another page too, by pviommu_page_written() with a
 *         tag from 1 to PVIOMMU_MAX_TAG; of a page that is watched already only
 *         the tag changes. Returns 0; -EAGAIN: again, after the thread has let
 *         go of all locks of KVM; -EINVAL: there is no memory; -ENOSPC; -ENOMEM.
 * @unwatch: stop to do so. Idempotent.
 * @watched: the tag of a page, 0 if it is not watched.
 * @count: how many pages have a tag, which may change meanwhile.
 * @unwatch_stale: look at some pages from *@gpa on and stop to watch those whose
 *                 tags pviommu_page_wanted() says are not wanted; it is asked when
 *                 no page can get another tag. True if there are more, from *@gpa on.
 * @destroy: take down, unwatch all, wait until no call of pviommu_doorbell_write() for it
 *           is under way, free. Called with no lock held that
 *           pviommu_doorbell_write() takes.
 *
 * All but @create and @destroy may be called from within
 * pviommu_doorbell_write() and pviommu_page_written().
 */
struct pviommu_doorbell_ops {
	struct module *owner;
	void *(*create)(struct kvm *kvm, u64 gpa, void *ctx);
	void (*take_down)(void *doorbell);
	int (*watch)(void *doorbell, u64 gpa, unsigned long tag);
	void (*unwatch)(void *doorbell, u64 gpa);
	unsigned long (*watched)(void *doorbell, u64 gpa);
	unsigned long (*count)(void *doorbell, unsigned long tag);
	bool (*unwatch_stale)(void *doorbell, u64 *gpa);
	void (*destroy)(void *doorbell);
};

/**
 * pviommu_register_doorbell() - offer a doorbell transport
 * @ops: the transport; one at a time
 *
 * Return: 0, or -EBUSY if there is one already.
 */
int pviommu_register_doorbell(const struct pviommu_doorbell_ops *ops);
/** pviommu_unregister_doorbell() - undo it; no doorbell exists any more */
void pviommu_unregister_doorbell(const struct pviommu_doorbell_ops *ops);

/**
 * pviommu_doorbell_write() - a vCPU stored to the doorbell page
 * @ctx: what @create was given
 * @offset: offset in the page
 * @data: what was stored
 * @len: bytes stored
 *
 * Executes the ops of the ring that the store names. A store that is no
 * doorbell takes the doorbell down.
 * Context: process, may sleep, the vCPU's thread, under KVM's SRCU read lock.
 */
void pviommu_doorbell_write(void *ctx, unsigned int offset, const u8 *data,
			    int len);

/**
 * pviommu_page_written() - a vCPU stored to a page that is watched
 * @ctx: what @create was given
 * @tag: the page's tag
 * @gpa: where
 * @data: what was stored
 * @len: bytes stored, all in one page
 *
 * What comes of a store to a guest-owned table is there on return.
 *
 * Context: as pviommu_doorbell_write(); sleeps while the server has no room.
 * Return: false if nobody wants to know any more: the transport unwatches it.
 */
bool pviommu_page_written(void *ctx, unsigned long tag, u64 gpa, const u8 *data,
			  int len);

/**
 * pviommu_page_wanted() - does anybody want to know of writes to pages
 * @ctx: what @create was given
 * @tag: the pages' tag
 *
 * Context: any in which spinlocks may be taken.
 * Return: false if the claim has ended; it does not come back.
 */
bool pviommu_page_wanted(void *ctx, unsigned long tag);

/**
 * pviommu_pages_lost() - pages are not watched any more because their memory left
 * @ctx: what @create was given
 * @gpa: start of a range that holds them all
 * @last: its last byte
 *
 * Who wanted to know of writes is told later. Not to be called after @unwatch.
 * Context: any in which spinlocks may be taken.
 */
void pviommu_pages_lost(void *ctx, u64 gpa, u64 last);

/**
 * pviommu_doorbell_gone() - the memory of the doorbell page has left the guest
 * @ctx: what @create was given
 *
 * Context: as pviommu_doorbell_write(). From now on only the doorbell register
 * works.
 */
void pviommu_doorbell_gone(void *ctx);

#endif /* _LINUX_PV_IOMMU_HOST_H */
