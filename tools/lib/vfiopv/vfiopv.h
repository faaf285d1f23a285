/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libvfiopv: VFIO for device drivers in user space.
 *
 * A container with devices in it, their registers, memory that they may reach,
 * and where the paravirtual IOMMU is what there is (see <linux/vfio_pv.h>),
 * many ranges in one call, flushes when the driver wants them, and events.
 * Where it is not, the same calls work on type 1, one range after the other and flushed
 * at once, but for memory of other machines and events.
 *
 * Functions return 0 (or a file descriptor, or a count) or a negative errno.
 * They keep nothing but what stands in the structures, which belong to the
 * caller; any number of threads may use one container at a time.
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
 * @type: VFIO_PV_IOMMU, VFIO_TYPE1v2_IOMMU or VFIO_TYPE1_IOMMU, since a device was
 *	in it; before, what was asked for
 * @asked: what was asked for
 *
 * It comes from vfiopv_open(). Who makes one of a file descriptor fills in @type if the
 * container has one already, and @asked if devices are to be opened in it.
 *
 * When its last device is closed the kernel drops what is mapped, and the type: the
 * next device that is opened decides anew.
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

/* A container that is to be of this type, or VFIOPV_BEST */
int vfiopv_open(struct vfiopv *c, unsigned int type);
/* All its devices have to be closed before, or are lost to it */
void vfiopv_close(struct vfiopv *c);

/*
 * Open a device that is bound to vfio-pci, and put its group into the
 * container; the first one decides the type. -EINVAL if the container has another type
 * than was asked for, or can't have that one, as iommufd in its place; -EPERM if the
 * device's interrupts are not isolated, -ENODEV if the container's IOMMU does not take it,
 * -EBUSY if its group is open. Of a group of several devices the others are opened by
 * vfiopv_dev_get(), with the same @group.
 */
int vfiopv_dev_open(struct vfiopv *c, struct vfiopv_dev *dev, const char *bdf);
void vfiopv_dev_close(struct vfiopv_dev *dev);

/*
 * The steps of it, for who does them otherwise: @bdf and @group are set, the
 * group is in a container that has its type, and remains there after the put.
 */
int vfiopv_group_open(const char *bdf);
int vfiopv_dev_get(struct vfiopv_dev *dev);
void vfiopv_dev_put(struct vfiopv_dev *dev);

/* Addresses of the devices bound to @driver, ascending; how many */
int vfiopv_find(const char *driver, char bdfs[][16], int max);

int vfiopv_config_read(const struct vfiopv_dev *dev, unsigned int off, void *buf, size_t len);
int vfiopv_config_write(const struct vfiopv_dev *dev, unsigned int off, const void *buf,
			size_t len);
/* Memory space and bus mastering, on or off */
int vfiopv_dev_enable(const struct vfiopv_dev *dev, bool memory, bool master);

/* ------------------------------------------------------------------ */
/* One range                                                           */

/* @flags: VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE: what devices may do */
int vfiopv_map(const struct vfiopv *c, __u64 iova, void *vaddr, __u64 size, __u32 flags);

/*
 * Memory of another machine, of which @vm is the number and @gpa the address there, as
 * far as the host's administrator has granted it; -EACCES if not. -EOPNOTSUPP on type 1.
 */
int vfiopv_map_foreign(const struct vfiopv *c, __u64 iova, __u32 vm, __u64 gpa, __u64 size,
		       __u32 flags);

/*
 * @flags: VFIO_DMA_UNMAP_FLAG_ALL, VFIO_PV_UNMAP_FLAG_NO_FLUSH, which type 1 has not: there
 * it is flushed all the same. @removed, if not NULL, is how many bytes were mapped there.
 */
int vfiopv_unmap(const struct vfiopv *c, __u64 iova, __u64 size, __u32 flags, __u64 *removed);

/*
 * Make unmaps without a flush effective: those in the range, or all (size 0). On type 1,
 * where none waits for it, there is nothing to do: 0.
 */
int vfiopv_invalidate(const struct vfiopv *c, __u64 iova, __u64 size);

/* ------------------------------------------------------------------ */
/* Many ranges                                                         */

/*
 * Each of @entries says what became of it; the return value is how many have
 * succeeded. @flags: VFIO_PV_BATCH_FLAG_*. On type 1, which has no batches, they are
 * done one after the other, and flushed also with VFIO_PV_BATCH_FLAG_NO_FLUSH.
 */
int vfiopv_map_many(const struct vfiopv *c, struct vfio_pv_batch_entry *entries,
		    unsigned int count, __u32 flags);
int vfiopv_unmap_many(const struct vfiopv *c, struct vfio_pv_batch_entry *entries,
		      unsigned int count, __u32 flags);

/* ------------------------------------------------------------------ */
/* What there is                                                       */

/* IOVAs that can be mapped, first and last inclusive, ascending; how many there are */
int vfiopv_ranges(const struct vfiopv *c, struct vfio_iova_range *ranges, unsigned int max);

/* -ENOENT on type 1 */
int vfiopv_limits(const struct vfiopv *c, struct vfio_pv_info_cap_limits *limits);

/* ------------------------------------------------------------------ */
/* Events; -ENOTTY on type 1                                           */

/* An eventfd that is signalled for each; -1 for none any more */
int vfiopv_set_eventfd(const struct vfiopv *c, int fd);

/* Take at most @max of those that have come; how many. Does not wait. */
int vfiopv_read_events(const struct vfiopv *c, struct vfio_pv_event *events, unsigned int max);

#ifdef __cplusplus
}
#endif

#endif /* VFIOPV_H */
