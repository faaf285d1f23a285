// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_ask.h"
#include "guest_balloon.h"
#include "guest_ram.h"
#include "guest_shadow.h"

const char *shadow_ask(const char *command)
{
	return share_ask("server", "%s", command);
}

/* Send a command whose output goes to a file; returns the file */
static FILE *ask_file(const char *command)
{
	char line[256], path[128];

	share_path(path, sizeof(path), "file");
	snprintf(line, sizeof(line), "%s %s", command, path);
	if (strcmp(shadow_ask(line) ?: "", "ok"))
		return NULL;
	return fopen(path, "r");
}

int set_type(__u64 gpa, __u64 size, unsigned int type)
{
	char line[64];
	int fd = open(MEM_TYPE, O_RDWR), ret = 0;

	snprintf(line, sizeof(line), "%llx %llx %u", (unsigned long long)gpa,
		 (unsigned long long)size, type);
	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

bool memory_open(struct memory *mem)
{
	unsigned int i;

	mem->pages = MAP_FAILED;
	if (!keep_locked_in_place())
		return false;
	mem->pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	if (mem->pages == MAP_FAILED)
		return false;
	for (i = 0; i < PAGES; i++) {
		mem->gpa[i] = ram_gpa_of(mem->pages + i * PAGE);
		if (!mem->gpa[i])
			return false;
	}
	return true;
}

void memory_close(struct memory *mem)
{
	if (mem->pages != MAP_FAILED)
		munmap(mem->pages, PAGES * PAGE);
	mem->pages = MAP_FAILED;
}

int set_all(const struct memory *mem, unsigned int type)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < PAGES && !ret; i++)
		ret = set_type(mem->gpa[i], PAGE, type);
	return ret;
}

bool mirrored(const struct memory *mem)
{
	FILE *file = ask_file("mirror");
	unsigned char page[8 + PAGE];
	unsigned int found = 0, i;
	bool good = true;
	__u64 gpa;

	if (!file)
		return false;
	while (fread(page, sizeof(page), 1, file) == 1) {
		memcpy(&gpa, page, sizeof(gpa));
		for (i = 0; i < PAGES; i++) {
			if (mem->gpa[i] != gpa)
				continue;
			found++;
			good &= !memcmp(mem->pages + i * PAGE, page + 8, PAGE);
		}
	}
	fclose(file);
	return good && found == PAGES;
}

unsigned int mirror_pages(void)
{
	FILE *file = ask_file("mirror");
	unsigned int n = 0;
	char page[8 + PAGE];

	if (!file)
		return ~0U;
	while (fread(page, sizeof(page), 1, file) == 1)
		n++;
	fclose(file);
	return n;
}

unsigned int hear(struct heard *heard, unsigned int n)
{
	FILE *file = ask_file("writes");
	unsigned int i;

	if (!file)
		return ~0U;
	for (i = 0; i < n; i++, heard++)
		if (fscanf(file, "%llx %u %39s %u %llu", &heard->gpa, &heard->size, heard->data,
			   &heard->thread, &heard->seq) != 5)
			break;
	fclose(file);
	return i;
}
