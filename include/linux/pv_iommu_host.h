/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host engine of the paravirtual IOMMU: what transports and device drivers
 * call, and what they provide.
 *
 * The engine (pviommu_host) has one struct pviommu_vm for each VFIO container.
 * The variant driver reports open devices and forwards accesses to the capability;
 * a doorbell transport reports stores to the doorbell page.
 */
#ifndef _LINUX_PV_IOMMU_HOST_H
#define _LINUX_PV_IOMMU_HOST_H

#include <linux/types.h>

struct device_driver;
struct kvm;
struct module;
struct pviommu_endpoint;
struct vfio_device;

/** PVIOMMU_MAX_TAG: the highest tag of a watched page */
#define PVIOMMU_MAX_TAG		0xfffffff
/** PVIOMMU_TAG_TABLE: the tag of pages of guest-owned tables; no claim has it */
#define PVIOMMU_TAG_TABLE	PVIOMMU_MAX_TAG

/* How a doorbell arrived; also the index of the counter */
enum pviommu_kick_source {
	PVIOMMU_KICK_TRACKED,
	PVIOMMU_KICK_CONFIG,
};

/**
 * pviommu_host_register_driver() - register the driver whose devices the engine serves
 * @drv: the variant driver
 *
 * From now on the container backend accepts groups whose devices are bound to
 * @drv. There is one variant driver at a time.
 *
 * Return: 0, or -EBUSY if there is one already.
 */
int pviommu_host_register_driver(struct device_driver *drv);
/**
 * pviommu_host_unregister_driver() - undo pviommu_host_register_driver()
 * @drv: the variant driver, which has left its bus
 */
void pviommu_host_unregister_driver(struct device_driver *drv);

/**
 * pviommu_endpoint_open() - create the endpoint of a device that is being opened
 * @vdev: the device; its kvm, if it has one, is used for the doorbell
 *
 * Context: process, may sleep; from the open_device callback, after the core
 * device is enabled.
 * Return: the endpoint; NULL if the device's group is not in a container of the engine, and
 * the device is to be plain vfio-pci; or ERR_PTR.
 */
struct pviommu_endpoint *pviommu_endpoint_open(struct vfio_device *vdev);

/**
 * pviommu_endpoint_close() - free the endpoint of a device that is being closed
 * @ep: from pviommu_endpoint_open(), not NULL
 *
 * If it is the last endpoint of its group, the group is blocked. If it is the last one of the
 * VM, the interface is stopped.
 *
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
 * pviommu_endpoint_control() - handle a write to the control register
 * @ep: the endpoint
 * @cmd: PVIOMMU_CMD_*; others set EOPNOTSUPP in the control register
 * @arg: value of the GPA registers
 *
 * Context: process, may sleep, a thread of the VMM.
 */
void pviommu_endpoint_control(struct pviommu_endpoint *ep, u32 cmd, u64 arg);

/* Value of the control register when read */
u32 pviommu_endpoint_status(const struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_kick() - handle a write to the doorbell register
 * @ep: the endpoint
 * @value: what was written
 *
 * Context: process, may sleep, a thread of the VMM.
 */
void pviommu_endpoint_kick(struct pviommu_endpoint *ep, u32 value);

/**
 * pviommu_endpoint_command() - handle a write to the command register by the VMM itself
 * @ep: the endpoint
 * @master: whether bus mastering is on after the write
 *
 * A VMM that resets its VM switches bus mastering off in each device. When it has done so
 * for all endpoints of the VM, the interface is stopped as by PVIOMMU_CMD_RESET. Writes by
 * vCPU threads, that is by the guest, must not be reported.
 *
 * Context: process, may sleep.
 */
void pviommu_endpoint_command(struct pviommu_endpoint *ep, bool master);

/**
 * pviommu_endpoint_reset() - handle a reset of the device by the VMM, by a VFIO ioctl
 * @ep: the endpoint
 *
 * Has the effect of pviommu_endpoint_command() with bus mastering off. And unless the host
 * is still handling an error of a device of the group, the guest need not recover the group
 * any more. So if this reset has ended an error, call pviommu_endpoint_handled() first.
 *
 * Context: process, may sleep.
 */
void pviommu_endpoint_reset(struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_isolate() - cut an endpoint's group off at once, because of an error
 * @ep: the endpoint
 *
 * On return the group can't do DMA, and the guest got an event. This does not wait for the
 * VM. The group is in the blocked domain from then on, and held there until the guest
 * recovers it, the VMM resets the device, or its last device is closed.
 *
 * Context: process, may sleep; from the PCI error handler.
 * Return: true if the guest's driver recovers devices itself and was told. Then the VMM
 * should not be told of the error, as it would stop the VM.
 */
bool pviommu_endpoint_isolate(struct pviommu_endpoint *ep);

/**
 * pviommu_endpoint_handled() - note that the host has handled an error, or has given up
 * @ep: the endpoint that was isolated
 *
 * From now on, if no other device of the group is in error, the guest may recover it.
 * Context: process, may sleep.
 * Return: true if the error was being handled until now.
 */
bool pviommu_endpoint_handled(struct pviommu_endpoint *ep);

/**
 * struct pviommu_doorbell_ops - a transport, which reports stores to guest pages
 * @owner: the transport's module, referenced while a doorbell exists
 * @create: start watching the page at @gpa of @kvm; stores call
 *          pviommu_doorbell_write(@ctx, ...). Process context, a thread of the
 *          VMM, with no lock held that pviommu_doorbell_write() or
 *          pviommu_doorbell_gone() takes. Both may be called before it returns.
 *          Returns an ERR_PTR on failure.
 * @take_down: stop watching the page. May be called from within
 *             pviommu_doorbell_write(), so it must not wait for it. Idempotent.
 * @watch: also report stores to another page, by pviommu_page_written() with a
 *         tag from 1 to PVIOMMU_MAX_TAG. If the page is watched already only its
 *         tag changes. Returns 0; -EAGAIN try again, perhaps not before this thread
 *         has left KVM; -EINVAL there is no memory; -ENOSPC; -ENOMEM.
 * @unwatch: stop watching such a page. Idempotent.
 * @watched: the tag of a page, 0 if it is not watched.
 * @count: how many pages have a tag; may change at any time.
 * @unwatch_stale: look at some pages from *@gpa on, and stop watching those whose tag is
 *                 not wanted any more. pviommu_page_wanted() is called with a lock held
 *                 that keeps tags from changing. True if there are more, from *@gpa on.
 * @destroy: stop watching all pages, wait until no call of pviommu_doorbell_write() for it
 *           is under way, and free it. Called with no lock held that
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
 * pviommu_register_doorbell() - register a doorbell transport
 * @ops: the transport; one at a time
 *
 * Return: 0, or -EBUSY if there is one already.
 */
int pviommu_register_doorbell(const struct pviommu_doorbell_ops *ops);
/**
 * pviommu_unregister_doorbell() - undo pviommu_register_doorbell()
 * @ops: the transport; no doorbell exists any more
 */
void pviommu_unregister_doorbell(const struct pviommu_doorbell_ops *ops);

/**
 * pviommu_doorbell_write() - handle a store of a vCPU to the doorbell page
 * @ctx: as passed to @create
 * @offset: offset in the page
 * @data: what was stored
 * @len: bytes stored
 *
 * Executes the ops of the ring that the store names. Any other store takes the doorbell
 * down, as the page seems to be used for something else.
 *
 * Context: process, may sleep, the vCPU's thread, under KVM's SRCU read lock.
 */
void pviommu_doorbell_write(void *ctx, unsigned int offset, const u8 *data,
			    int len);

/**
 * pviommu_page_written() - handle a store of a vCPU to a page that is watched
 * @ctx: as passed to @create
 * @tag: the page's tag
 * @gpa: where
 * @data: what was stored
 * @len: bytes stored, all in one page
 *
 * The server gets a record of it. Of a store to a guest-owned table, devices see new entries
 * on return.
 *
 * Context: as pviommu_doorbell_write(); sleeps while the server's ring is full.
 * Return: false if stores to the page are not wanted any more: the transport unwatches it.
 */
bool pviommu_page_written(void *ctx, unsigned long tag, u64 gpa, const u8 *data,
			  int len);

/**
 * pviommu_page_wanted() - are stores to pages with a tag still wanted
 * @ctx: as passed to @create
 * @tag: the tag
 *
 * Context: any in which spinlocks may be taken.
 * Return: false if the claim of that tag has ended, which is final.
 */
bool pviommu_page_wanted(void *ctx, unsigned long tag);

/**
 * pviommu_pages_lost() - note that pages are not watched any more, as their memory has left
 * @ctx: as passed to @create
 * @gpa: start of a range that holds them all
 * @last: last byte of that range
 *
 * The server is told later. Not to be called for pages that were unwatched by @unwatch.
 *
 * Context: any in which spinlocks may be taken.
 */
void pviommu_pages_lost(void *ctx, u64 gpa, u64 last);

/**
 * pviommu_doorbell_gone() - note that the memory of the doorbell page has left the guest
 * @ctx: as passed to @create
 *
 * From now on only the doorbell register works.
 *
 * Context: as pviommu_doorbell_write().
 */
void pviommu_doorbell_gone(void *ctx);

#endif /* _LINUX_PV_IOMMU_HOST_H */
