// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/pv_iommu.h>

#include "guest_iface.h"
#include "guest_vfio.h"
#include "pv_sys.h"

#define COOKIE		"/sys/module/pviommu_guest/parameters/cookie"

static unsigned long long cookie(void)
{
	FILE *file = fopen(COOKIE, "re");
	unsigned long long value = 0;

	if (file && fscanf(file, "%llu", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	return value;
}

bool iface_stop(const struct vfio_dev *dev)
{
	unsigned int cap = guest_find_capability(dev);
	unsigned long long secret = cookie();
	__u32 control;

	vfio_config_write32(dev, cap + PVIOMMU_CAP_GPA_LO_OFF, secret);
	vfio_config_write32(dev, cap + PVIOMMU_CAP_GPA_HI_OFF, secret >> 32);
	vfio_config_write32(dev, cap + PVIOMMU_CAP_CONTROL_OFF, PVIOMMU_CMD_RESET);
	control = vfio_config_read32(dev, cap + PVIOMMU_CAP_CONTROL_OFF);
	return cap && secret && PVIOMMU_CONTROL_STATE(control) == PVIOMMU_STATE_STOPPED;
}

int iface_restart(void)
{
	return pv_write_file(IFACE_RESTART, "1");
}

int iface_inject(int type, __u64 iova, unsigned int count, __u64 gpa)
{
	char text[64];

	snprintf(text, sizeof(text), "%d %llx %u %llx", type, (unsigned long long)iova, count,
		 (unsigned long long)gpa);
	return pv_write_file(IFACE_INJECT, text);
}

bool host_limit(const char *name, const char *value)
{
	const char *share = getenv("PVVM_SHARE");
	char ask[256], tmp[256];
	FILE *file;
	int i;

	if (!share || !*share)
		return false;
	snprintf(ask, sizeof(ask), "%s/limit-ask", share);
	snprintf(tmp, sizeof(tmp), "%s/limit-ask.new", share);
	file = fopen(tmp, "we");
	if (!file)
		return false;
	fprintf(file, "%s %s\n", name, value);
	fclose(file);
	if (rename(tmp, ask))
		return false;
	/* The host level removes the file when the limit is set */
	for (i = 0; i < 3000 && !access(ask, F_OK); i++)
		usleep(100000);
	/* If it is still there, it must not be set later, for another test */
	return unlink(ask) != 0;
}
