// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvfiopv: the properties of a container, and its events.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vfiopv.h"

/* The whole answer of VFIO_IOMMU_GET_INFO, which the caller frees; or NULL and errno */
static struct vfio_iommu_type1_info *get_info(const struct vfiopv *c)
{
	struct vfio_iommu_type1_info ask, *info;

	/* The answer may have grown in between, if a device was added */
	for (;;) {
		__u32 size;

		memset(&ask, 0, sizeof(ask));
		ask.argsz = sizeof(ask);
		if (ioctl(c->fd, VFIO_IOMMU_GET_INFO, &ask))
			return NULL;
		size = ask.argsz;
		info = calloc(1, size);
		if (!info)
			return NULL;
		info->argsz = size;
		if (ioctl(c->fd, VFIO_IOMMU_GET_INFO, info)) {
			free(info);
			return NULL;
		}
		if (info->argsz <= size)
			return info;
		free(info);
	}
}

static const void *find_cap(const struct vfio_iommu_type1_info *info, __u16 id)
{
	const struct vfio_info_cap_header *cap;
	__u32 at;

	if (!(info->flags & VFIO_IOMMU_INFO_CAPS))
		return NULL;
	for (at = info->cap_offset; at; at = cap->next) {
		cap = (const void *)((const char *)info + at);
		if (cap->id == id)
			return cap;
	}
	return NULL;
}

int vfiopv_ranges(const struct vfiopv *c, struct vfio_iova_range *ranges, unsigned int max)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct vfio_iommu_type1_info *info = get_info(c);
	int n = 0;

	if (!info)
		return -errno;
	cap = find_cap(info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	if (cap) {
		n = cap->nr_iovas;
		memcpy(ranges, cap->iova_ranges,
		       (cap->nr_iovas < max ? cap->nr_iovas : max) * sizeof(*ranges));
	}
	free(info);
	return n;
}

int vfiopv_limits(const struct vfiopv *c, struct vfio_pv_info_cap_limits *limits)
{
	struct vfio_iommu_type1_info *info = get_info(c);
	const struct vfio_pv_info_cap_limits *cap;

	if (!info)
		return -errno;
	cap = find_cap(info, VFIO_PV_INFO_CAP_LIMITS);
	if (cap)
		*limits = *cap;
	free(info);
	return cap ? 0 : -ENOENT;
}

int vfiopv_set_eventfd(const struct vfiopv *c, int fd)
{
	struct vfio_pv_iommu_eventfd arg = { .argsz = sizeof(arg), .fd = fd };

	return ioctl(c->fd, VFIO_PV_IOMMU_EVENTFD, &arg) ? -errno : 0;
}

int vfiopv_read_events(const struct vfiopv *c, struct vfio_pv_event *events, unsigned int max)
{
	struct vfio_pv_iommu_events arg = {
		.argsz = sizeof(arg),
		.events = (unsigned long)events,
		.count = max,
	};

	return ioctl(c->fd, VFIO_PV_IOMMU_READ_EVENTS, &arg) ? -errno : (int)arg.count;
}
