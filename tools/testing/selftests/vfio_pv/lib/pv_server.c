// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/pv_iommu.h>
#include <linux/pv_iommu_server.h>

#include "pv_server.h"

int pv_server_claim(__u32 vm)
{
	struct pviommu_server_claim req = {
		.argsz = sizeof(req),
		.flags = PVIOMMU_CLAIM_WRITES,
		.vm = vm,
		.type = PVIOMMU_MEM_IOREQ_SERVER,
		.entries = PV_SERVER_RECORDS,
		.eventfd = -1,
	};
	int fd = open("/dev/pv-iommu", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, PVIOMMU_SERVER_CLAIM, &req)) {
		close(fd);
		return -1;
	}
	return fd;
}
