/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What root in a guest can do to the interface: have it started anew, have events made
 * up; and, with host_limits.sh at the host level, set limits of the host.
 */
#ifndef GUEST_IFACE_H
#define GUEST_IFACE_H

#include <stdbool.h>
#include <linux/types.h>

#include "vfio_dev.h"

#define IFACE_RESTART	"/sys/kernel/debug/pv-iommu/restart"
#define IFACE_INJECT	"/sys/kernel/debug/pv-iommu/inject"

/* Stop it behind the driver's back, through any device of ours; is it stopped */
bool iface_stop(const struct vfio_dev *dev);
/* What waking up does; 0 or a negative errno */
int iface_restart(void);
/* @count events of @type for each device; of PVIOMMU_EV_REVOKED @gpa is where it led */
int iface_inject(int type, __u64 iova, unsigned int count, __u64 gpa);

/* Have the host level set a parameter of pviommu_host; is it done */
bool host_limit(const char *name, const char *value);

#endif /* GUEST_IFACE_H */
