// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pv_aer.h"

#define WAIT_MS		30000
#define AGAIN_MS	50

int pv_aer_port(const char *bdf)
{
	char list[1024], *word, *save;
	const char *env = getenv("PVVM_DEVICES");
	int i;

	if (!strncmp(bdf, "0000:00:", 8) || !env)
		return -1;
	snprintf(list, sizeof(list), "%s", env);
	word = strtok_r(list, " ", &save);
	for (i = 0; word; i++, word = strtok_r(NULL, " ", &save))
		if (strstr(word, bdf))
			return i;
	return -1;
}

int pv_aer_inject(int port, const char *error)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "pvvm-qmp -m 'hmp pcie_aer_inject_error rp%d %s' | grep -q 'OK id'", port, error);
	return system(command);
}

int pv_aer_log(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (log >= 0)
		lseek(log, 0, SEEK_END);
	return log;
}

bool pv_aer_done(int log)
{
	char line[1024];
	ssize_t n;
	int ms;

	for (ms = 0; ms < WAIT_MS;) {
		n = read(log, line, sizeof(line) - 1);
		if (n < 0 && errno != EAGAIN && errno != EPIPE)
			return false;
		if (n > 0) {
			line[n] = 0;
			if (strstr(line, "device recovery successful"))
				return true;
			continue;
		}
		usleep(AGAIN_MS * 1000);
		ms += AGAIN_MS;
	}
	return false;
}

__u32 pv_aer_recover(struct pv_ring *r, __u32 ep)
{
	__u32 status = PVIOMMU_EBUSY;
	int ms;

	for (ms = 0; status == PVIOMMU_EBUSY && ms < WAIT_MS; ms += AGAIN_MS) {
		status = __pv_recover(r, ep);
		if (status == PVIOMMU_EBUSY)
			usleep(AGAIN_MS * 1000);
	}
	return status;
}
