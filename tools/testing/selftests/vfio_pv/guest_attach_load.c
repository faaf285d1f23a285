// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load for guest_error.sh: users of VFIO who come and go.
 *
 *	guest_attach_load BDF SECONDS
 *
 * The group of BDF, which is bound to vfio-pci, is put into a container and taken out
 * again until one has been refused, because the host has cut the device off and is not
 * done, and a later one accepted. Says "ready" when the first was accepted; fails when
 * SECONDS are over.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include <linux/vfio.h>

static int group_open(const char *bdf)
{
	char link[128], target[PATH_MAX], path[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return -1;
	target[len] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%.32s", basename(target));
	return open(path, O_RDWR);
}

/* A user who comes and goes; 0, or why it could not be attached */
static int visit(const char *bdf)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group = group_open(bdf), ret = 0;

	if (container < 0 || group < 0 ||
	    ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		ret = errno;
	close(group);
	close(container);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned int accepted = 0, refused = 0;
	bool again = false;
	time_t end;
	int ret;

	if (argc != 3)
		return 2;
	end = time(NULL) + atoi(argv[2]);
	while (!again && time(NULL) < end) {
		ret = visit(argv[1]);
		if (ret == EBUSY) {
			refused++;
		} else if (ret) {
			fprintf(stderr, "guest_attach_load: %s\n", strerror(ret));
			return 1;
		} else if (!accepted++) {
			printf("ready\n");
			fflush(stdout);
		}
		again = !ret && refused;
	}
	printf("%u accepted, %u refused\n", accepted, refused);
	return !again;
}
