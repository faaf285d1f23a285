/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What root in a guest can do to the interface by debugfs: restart it, and inject events. And
 * limits of the host, which host_limits.sh sets at the host level.
 */
#ifndef GUEST_IFACE_H
#define GUEST_IFACE_H

#include <stdbool.h>
#include <linux/types.h>

#include "vfio_dev.h"

#define IFACE_RESTART	"/sys/kernel/debug/pv-iommu/restart"
#define IFACE_INJECT	"/sys/kernel/debug/pv-iommu/inject"

/* Stop the interface without the driver, by the registers of any device. Has it stopped? */
bool iface_stop(const struct vfio_dev *dev);
/* Restart it, as waking up from suspend does; 0 or a negative errno */
int iface_restart(void);
/* Inject @count events of @type for each device; @gpa is that of a PVIOMMU_EV_REVOKED */
int iface_inject(int type, __u64 iova, unsigned int count, __u64 gpa);

/* Set a parameter of pviommu_host. Has it been set? */
bool host_limit(const char *name, const char *value);

#endif /* GUEST_IFACE_H */
