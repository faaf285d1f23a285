// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest_ram.h"
#include "pv_sys.h"

__u64 ram_gpa_of(const void *page)
{
	const unsigned long size = sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (unsigned long)page / size * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	return entry >> 63 ? (entry & ((1ULL << 55) - 1)) * size : 0;
}

unsigned long ram_free_kb(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long kb = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemFree: %lu", &kb) == 1)
			break;
	if (file)
		fclose(file);
	return kb;
}

long long ram_pinned(void)
{
	long long acquired = -1, released = 0, value;
	char name[64];
	FILE *file;

	/* Each CPU has a count of its own; have the kernel add them up */
	pv_write_file("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/vmstat", "re");

	while (file && fscanf(file, "%63s %lld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	if (file)
		fclose(file);
	return acquired < 0 ? -1 : acquired - released;
}
