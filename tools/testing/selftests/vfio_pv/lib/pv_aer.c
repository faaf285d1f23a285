// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pv_aer.h"

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
