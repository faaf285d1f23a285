// SPDX-License-Identifier: GPL-2.0-only
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
