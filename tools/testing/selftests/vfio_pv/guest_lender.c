// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that lends memory: the other side of guest_lent_test, in another VM. It has
 * some memory in one piece, tells by the share where that is, and what is in it.
 *
 *	guest_lender NAME
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/guest_ask.h"
#include "lib/guest_lent.h"

static uint64_t gpa_of(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)p / 4096 * 8) != 8)
		entry = 0;
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * 4096;
}

/* One huge page; NULL */
static void *one_piece(void)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", "w");
	void *p;

	if (!file || fputs("1\n", file) < 0 || fclose(file))
		return NULL;
	p = mmap(NULL, LENT_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void serve(const char *name, unsigned char *memory)
{
	char question[128];
	unsigned long arg;

	for (;;) {
		share_hear(name, question, sizeof(question));
		if (sscanf(question, "fill %lu", &arg) == 1) {
			lent_fill(memory, LENT_SIZE, arg);
			share_answer(name, "ok");
		} else if (!strcmp(question, "sum")) {
			share_answer(name, "%016llx", lent_sum(memory, LENT_SIZE));
		} else if (!strcmp(question, "where")) {
			share_answer(name, "%llu", (unsigned long long)gpa_of(memory));
		} else if (!strcmp(question, "exit")) {
			share_answer(name, "ok");
			return;
		} else {
			share_answer(name, "what is \"%s\"?", question);
		}
	}
}

int main(int argc, char **argv)
{
	void *memory = one_piece();

	if (argc != 2 || !memory || !gpa_of(memory)) {
		fprintf(stderr, "guest_lender: no huge page, or usage: guest_lender NAME\n");
		return 1;
	}
	serve(argv[1], memory);
	return 0;
}
