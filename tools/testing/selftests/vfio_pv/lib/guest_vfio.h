/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO as a program in a guest uses it: an edu device in a container of its own, memory to map,
 * and the counters of the guest's IOMMU driver. Functions return 0 or a negative errno.
 */
#ifndef GUEST_VFIO_H
#define GUEST_VFIO_H

#include <stddef.h>
#include <linux/types.h>
#include <linux/vfio.h>
#include <linux/vfio_pv.h>

#include "vfio_dev.h"

#define GUEST_PAGE	4096ULL

struct guest_vfio {
	int container;
	struct vfio_dev dev;
};

/* The address of edu device number @nr among those bound to vfio-pci; or -ENODEV */
int guest_find_edu(unsigned int nr, char bdf[16]);

/* The group of a device that is not on PCI, by its folder in sysfs */
int guest_open_group_of(const char *device);

/* A container of this type, with @bdf in it */
int guest_vfio_open(struct guest_vfio *g, unsigned int type, const char *bdf);
/* Put @bdf into the container of @first. It is closed after @g. */
int guest_vfio_join(struct guest_vfio *g, const struct guest_vfio *first, const char *bdf);
void guest_vfio_close(struct guest_vfio *g);

/* Where the interface's capability is in config space; 0 if there is none */
unsigned int guest_find_capability(const struct vfio_dev *dev);

/* UNMAP_DMA with flags; VFIO_PV_IOMMU_INVALIDATE of a range, or of everything if @size is 0 */
int guest_unmap(const struct guest_vfio *g, __u64 iova, __u64 size, __u32 flags, __u64 *removed);
int guest_invalidate(const struct guest_vfio *g, __u64 iova, __u64 size);

/*
 * Memory whose 4 KiB pages are present. Pages of scattered memory are at random places of
 * physical memory. NULL on failure.
 */
void *guest_memory(size_t size);
void *guest_scattered(size_t size);
void guest_memory_free(void *memory, size_t size);

/* Memory that is accounted to this process as pinned, in KiB */
long guest_locked_kb(void);

/* The counters of the guest's IOMMU driver and of the host */
struct guest_stats {
	long long kicks_tracked;	/* doorbells by KVM's write tracking */
	long long kicks_config;		/* doorbells by config space, through QEMU */
	long long ops;			/* ops queued */
	long long ops_failed;
	long long pages_mapped;		/* by the host, in 4 KiB pages */
	long long pages_pinned;
	long long domains;
	long long mappings;
	long long faults;
};

/* -ENOENT if the guest's IOMMU is not ours */
int guest_stats(struct guest_stats *stats);
/* Doorbells from @from to @to, without the one that reading @from took */
long long guest_kicks(const struct guest_stats *from, const struct guest_stats *to);

/* Bind this thread to the CPU that it is on */
bool guest_stay_here(void);

#endif /* GUEST_VFIO_H */
