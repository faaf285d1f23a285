/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests that run in a guest have in common: containers of all types,
 * each with an edu device in it.
 */
#ifndef GUEST_TEST_H
#define GUEST_TEST_H

#include <errno.h>
#include <string.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "guest_dma.h"
#include "guest_vfio.h"

/* The edu device takes 0.1 s for a copy; an emulated machine may be slow. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define GUEST_IOVA_WINDOW	0x1000000ULL
#define GUEST_IOVA		0x2000000ULL

/* The error of this kernel's type1 for a range that wraps */
static inline int guest_wrap_error(void)
{
	struct utsname name;

	return uname(&name) || atoi(name.release) < 7 ? -EINVAL : -EOVERFLOW;
}

/* Is our backend loaded? If so, no test of what it should do may be skipped. */
static inline bool guest_has_backend(void)
{
	return !access("/sys/module/vfio_pv", F_OK);
}

/* Open edu number @nr in a container of @type, or skip the test */
#define guest_setup(g, type, nr) do {						\
	char __bdf[16];								\
	int __ret;								\
										\
	if (guest_find_edu(nr, __bdf))						\
		SKIP(return, "needs %d edu device(s) bound to vfio-pci", (nr) + 1); \
	if ((type) == VFIO_PV_IOMMU && !guest_has_backend())			\
		SKIP(return, "needs the module vfio_pv");			\
	__ret = guest_vfio_open(g, type, __bdf);				\
	ASSERT_EQ(0, __ret) {							\
		TH_LOG("%s: %s", __bdf, strerror(-__ret));			\
	}									\
} while (0)

/* Map a page for good, for looking at the device's buffer */
#define guest_setup_window(g, window) do {					\
	(window)->iova = GUEST_IOVA_WINDOW;					\
	(window)->memory = guest_memory(GUEST_PAGE);				\
	ASSERT_NE(NULL, (window)->memory);					\
	ASSERT_EQ(0, vfio_map_dma((g)->container, (window)->iova,		\
				  (window)->memory, GUEST_PAGE, true));		\
} while (0)

/* An ioctl: 0 or more, or a negative errno */
static inline int guest_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

/* Where @iova leads, in @look: 0 or a negative errno */
static inline int guest_look_up(int fd, struct vfio_pv_iommu_lookup *look, __u64 iova)
{
	*look = (struct vfio_pv_iommu_lookup) { .argsz = sizeof(*look), .iova = iova };
	return guest_ioctl(fd, VFIO_PV_IOMMU_LOOKUP, look);
}

#endif /* GUEST_TEST_H */
