/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libvfiopv: VFIO for device drivers in user space.
 *
 * A container with devices in it, the registers of the devices, and memory that they may
 * reach. With the paravirtual IOMMU (see <linux/vfio_pv.h>), besides, many ranges in one call,
 * flushes when the driver wants them, memory of other machines, and events. With another IOMMU,
 * the same calls use type 1, where each range is mapped by a call and unmaps are flushed at
 * once; memory of other machines and events are not available.
 *
 * Functions return 0 (or a file descriptor, or a count) or a negative errno. All state is in
 * the structures, which belong to the caller. Any number of threads may use a container at
 * the same time.
 */
#ifndef VFIOPV_H
#define VFIOPV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/types.h>
#include <linux/vfio.h>
#include <linux/vfio_pv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A type for vfiopv_open(): VFIO_PV_IOMMU if the devices have it, else type 1 version 2 */
#define VFIOPV_BEST	0

/**
 * struct vfiopv - a container
 * @fd: its file descriptor, -1 when closed
 * @type: VFIO_PV_IOMMU, VFIO_TYPE1v2_IOMMU or VFIO_TYPE1_IOMMU once a device has been
 *	opened in it; before that, the same as @asked
 * @asked: the type that was asked for
 *
 * vfiopv_open() fills it in. A caller that makes one from a file descriptor sets @type if
 * the container has a type already, and @asked if devices are to be opened in it.
 *
 * When the last device of a container is closed, the kernel drops all mappings, and the type:
 * it is set again by the next device.
 */
struct vfiopv {
	int fd;
	unsigned int type;
	unsigned int asked;
};

/**
 * struct vfiopv_dev - a device
 * @bdf: its address, as in "0000:01:00.0"
 * @group: file descriptor of its group, -1 when closed
 * @fd: its file descriptor, -1 when closed
 * @config: offset of config space in @fd
 * @bar0: offset of BAR 0 in @fd
 * @bar0_size: bytes of BAR 0
 * @mmio: BAR 0, mapped; NULL if it can't be
 */
struct vfiopv_dev {
	char bdf[16];
	int group;
	int fd;
	off_t config;
	off_t bar0;
	size_t bar0_size;
	void *mmio;
};

/* ------------------------------------------------------------------ */
/* Containers and devices                                              */

/* Open a container that is to have this type, or VFIOPV_BEST */
int vfiopv_open(struct vfiopv *c, unsigned int type);
/* All of its devices must be closed before */
void vfiopv_close(struct vfiopv *c);

/*
 * Open a device that is bound to vfio-pci, and put its group into the container; the first
 * device decides the type. Returns -EINVAL if the container has another type than was asked
 * for, or can't have that type, as with iommufd in its place; -EPERM if the device's
 * interrupts are not isolated; -ENODEV if the container's IOMMU does not take the device;
 * -EBUSY if its group is open already. If the group has more devices, open them by
 * vfiopv_dev_get() with the same @group.
 */
int vfiopv_dev_open(struct vfiopv *c, struct vfiopv_dev *dev, const char *bdf);
void vfiopv_dev_close(struct vfiopv_dev *dev);

/*
 * The same without the group: @bdf and @group must be set, and the group must be in a
 * container that has its type. It stays there after vfiopv_dev_put().
 */
int vfiopv_group_open(const char *bdf);
int vfiopv_dev_get(struct vfiopv_dev *dev);
void vfiopv_dev_put(struct vfiopv_dev *dev);

/* Find the devices bound to @driver, in ascending order; returns how many there are */
int vfiopv_find(const char *driver, char bdfs[][16], int max);

int vfiopv_config_read(const struct vfiopv_dev *dev, unsigned int off, void *buf, size_t len);
int vfiopv_config_write(const struct vfiopv_dev *dev, unsigned int off, const void *buf,
			size_t len);
/* Enable or disable memory space and bus mastering */
int vfiopv_dev_enable(const struct vfiopv_dev *dev, bool memory, bool master);

/* ------------------------------------------------------------------ */
/* One range                                                           */

/* Map. @flags: VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE: what devices may do */
int vfiopv_map(const struct vfiopv *c, __u64 iova, void *vaddr, __u64 size, __u32 flags);

/*
 * Map memory of another machine: @vm is its number, @gpa the address in it. -EACCES if the
 * host's administrator has not granted it; -EOPNOTSUPP on type 1.
 */
int vfiopv_map_foreign(const struct vfiopv *c, __u64 iova, __u32 vm, __u64 gpa, __u64 size,
		       __u32 flags);

/*
 * Unmap. @flags: VFIO_DMA_UNMAP_FLAG_ALL, VFIO_PV_UNMAP_FLAG_NO_FLUSH; type 1 flushes in any
 * case. @removed, if not NULL, is set to the number of bytes that were mapped there.
 */
int vfiopv_unmap(const struct vfiopv *c, __u64 iova, __u64 size, __u32 flags, __u64 *removed);

/*
 * Flush what was unmapped without a flush: in the range, or everything if @size is 0. On type
 * 1, which has flushed it already, this does nothing and returns 0.
 */
int vfiopv_invalidate(const struct vfiopv *c, __u64 iova, __u64 size);

/* ------------------------------------------------------------------ */
/* Many ranges                                                         */

/*
 * Map or unmap many ranges. Each of @entries gets a result; the return value is how many have
 * succeeded. It is a negative errno if the kernel refuses the call and none has succeeded. If it
 * does so later, the rest has the result -ECANCELED; but if it can't read or write a part of
 * @entries, what is VFIO_PV_BATCH_MAX entries and more behind that part is as it was.
 * @flags: VFIO_PV_BATCH_FLAG_*. Type 1 has no batches: entries are done one after
 * the other, and flushed also with VFIO_PV_BATCH_FLAG_NO_FLUSH.
 */
int vfiopv_map_many(const struct vfiopv *c, struct vfio_pv_batch_entry *entries,
		    unsigned int count, __u32 flags);
int vfiopv_unmap_many(const struct vfiopv *c, struct vfio_pv_batch_entry *entries,
		      unsigned int count, __u32 flags);

/* ------------------------------------------------------------------ */
/* Properties                                                          */

/* The ranges of IOVAs that can be mapped, ascending, with inclusive ends; how many there are */
int vfiopv_ranges(const struct vfiopv *c, struct vfio_iova_range *ranges, unsigned int max);

/* The limits of the paravirtual IOMMU; -ENOENT on type 1 */
int vfiopv_limits(const struct vfiopv *c, struct vfio_pv_info_cap_limits *limits);

/* ------------------------------------------------------------------ */
/* Events; -ENOTTY on type 1                                           */

/* Set an eventfd to be signalled for each event; -1 for none */
int vfiopv_set_eventfd(const struct vfiopv *c, int fd);

/* Take at most @max events that have arrived; returns how many. Does not wait. */
int vfiopv_read_events(const struct vfiopv *c, struct vfio_pv_event *events, unsigned int max);

#ifdef __cplusplus
}
#endif

#endif /* VFIOPV_H */
