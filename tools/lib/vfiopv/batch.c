// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvfiopv: many ranges in one call.
 */
#include <errno.h>
#include <limits.h>
#include <sys/ioctl.h>

#include "vfiopv.h"

static void cancel(struct vfio_pv_batch_entry *entries, unsigned int from, unsigned int count)
{
	for (; from < count; from++)
		entries[from].result = -ECANCELED;
}

/*
 * A batch may be larger than one call allows. What earlier calls have done is done, so the error
 * of a later one must not hide it.
 */
static int batch(const struct vfiopv *c, unsigned long request,
		 struct vfio_pv_batch_entry *entries, unsigned int count, __u32 flags)
{
	struct vfio_pv_iommu_batch arg = {
		.argsz = sizeof(arg),
		.flags = flags,
	};
	unsigned int done = 0, pos = 0;
	int error = 0;

	while (pos < count && !error) {
		arg.entries = (unsigned long)(entries + pos);
		arg.count = count - pos < VFIO_PV_BATCH_MAX ? count - pos : VFIO_PV_BATCH_MAX;
		arg.done = UINT_MAX;
		if (ioctl(c->fd, request, &arg))
			error = -errno;
		/* The kernel sets it when it has set the results, also if it fails then */
		if (arg.done == UINT_MAX)
			break;
		done += arg.done;
		pos += arg.count;
		if (arg.done < arg.count && !(flags & VFIO_PV_BATCH_FLAG_CONTINUE))
			break;
	}
	/* If a part of the array is not there, the rest may not be either */
	if (error != -EFAULT)
		cancel(entries, pos, count);
	return done ? (int)done : error;
}

/* On type 1: call @one for each entry, which takes effect at once */
static int one_by_one(const struct vfiopv *c,
		      int (*one)(const struct vfiopv *c, struct vfio_pv_batch_entry *entry),
		      struct vfio_pv_batch_entry *entries, unsigned int count, __u32 flags)
{
	unsigned int done = 0, i;
	bool stop = false;

	for (i = 0; i < count; i++) {
		entries[i].result = stop ? -ECANCELED : one(c, &entries[i]);
		done += !entries[i].result;
		if (entries[i].result && !(flags & VFIO_PV_BATCH_FLAG_CONTINUE))
			stop = true;
	}
	return done;
}

static int map_one(const struct vfiopv *c, struct vfio_pv_batch_entry *entry)
{
	if (entry->flags & VFIO_PV_MAP_FLAG_FOREIGN)
		return -EOPNOTSUPP;
	return vfiopv_map(c, entry->iova, (void *)(unsigned long)entry->vaddr, entry->size,
			  entry->flags);
}

static int unmap_one(const struct vfiopv *c, struct vfio_pv_batch_entry *entry)
{
	__u64 removed = 0;
	int ret;

	/* As with VFIO_PV_IOMMU, this flag is one of the batch, not of an entry */
	if (entry->flags)
		return -EOPNOTSUPP;
	if (entry->vaddr)
		return -EINVAL;
	ret = vfiopv_unmap(c, entry->iova, entry->size, 0, &removed);
	if (!ret)
		entry->size = removed;
	return ret;
}

int vfiopv_map_many(const struct vfiopv *c, struct vfio_pv_batch_entry *entries,
		    unsigned int count, __u32 flags)
{
	if (flags & ~VFIO_PV_BATCH_FLAG_CONTINUE)
		return -EOPNOTSUPP;
	if (c->type != VFIO_PV_IOMMU)
		return one_by_one(c, map_one, entries, count, flags);
	return batch(c, VFIO_PV_IOMMU_MAP, entries, count, flags);
}

int vfiopv_unmap_many(const struct vfiopv *c, struct vfio_pv_batch_entry *entries,
		      unsigned int count, __u32 flags)
{
	if (flags & ~(VFIO_PV_BATCH_FLAG_CONTINUE | VFIO_PV_BATCH_FLAG_NO_FLUSH))
		return -EOPNOTSUPP;
	if (c->type != VFIO_PV_IOMMU)
		return one_by_one(c, unmap_one, entries, count, flags);
	return batch(c, VFIO_PV_IOMMU_UNMAP, entries, count, flags);
}
