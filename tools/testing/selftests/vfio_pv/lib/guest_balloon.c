// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_balloon.h"
#include "guest_ram.h"

#define HUGE_PAGES	"/proc/sys/vm/nr_hugepages"

int balloon_set(__u64 size)
{
	int fd = open(BALLOON, O_WRONLY | O_CLOEXEC), ret = 0;
	char text[32];
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)size);

	if (fd < 0 || write(fd, text, len) != len)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

int balloon_get(__u64 *size, __u64 *freed)
{
	FILE *file = fopen(BALLOON, "r");
	unsigned long long a, b;
	int n;

	if (!file)
		return -errno;
	n = fscanf(file, "%llu %llu", &a, &b);
	fclose(file);
	if (n != 2)
		return -EIO;
	*size = a;
	*freed = b;
	return 0;
}

static bool set_vm(const char *path, const char *digit)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool set = fd >= 0 && write(fd, digit, 1) == 1;

	if (fd >= 0)
		close(fd);
	return set;
}

bool keep_locked_in_place(void)
{
	return set_vm("/proc/sys/vm/compact_unevictable_allowed", "0");
}

void *huge_page(__u64 *gpa)
{
	void *page;

	if (!set_vm(HUGE_PAGES, "1"))
		return NULL;
	page = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	if (page == MAP_FAILED)
		return NULL;
	*gpa = ram_gpa_of(page);
	return page;
}

void huge_page_free(void *page)
{
	munmap(page, HUGE_SIZE);
	set_vm(HUGE_PAGES, "0");
}

bool release_memory(__u64 gpa, __u64 size)
{
	char command[128];
	bool released;

	snprintf(command, sizeof(command), "pvvm-load pviommu_test_release gpa=0x%llx pages=%llu",
		 (unsigned long long)gpa, (unsigned long long)size / 4096);
	released = !system(command);
	if (released)
		system("rmmod pviommu_test_release");
	return released;
}
