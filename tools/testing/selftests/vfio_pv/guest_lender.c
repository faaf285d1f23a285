// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that lends memory, for guest_lent_test in another VM. It has a huge page, and answers
 * questions by the shared folder: where the page is, and what is in it.
 *
 *	guest_lender NAME
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/guest_ask.h"
#include "lib/guest_balloon.h"
#include "lib/guest_lent.h"
#include "lib/guest_ram.h"

#define SPARE_KB	(24 * 1024)

/* Touch almost all free memory, so that the host provides it */
static bool touch_free(void)
{
	unsigned long kb = ram_free_kb();
	size_t size;
	char *p;

	if (kb <= SPARE_KB)
		return false;
	size = (kb - SPARE_KB) * 1024 & -HUGE_SIZE;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return p != MAP_FAILED && !munmap(p, size);
}

static void serve(const char *name, unsigned char *memory, __u64 gpa)
{
	char question[128];
	unsigned long arg;

	for (;;) {
		share_hear(name, question, sizeof(question));
		if (!strcmp(question, "exit"))
			break;
		if (sscanf(question, "fill %lu", &arg) == 1) {
			lent_fill(memory, LENT_SIZE, arg);
			share_answer(name, "ok");
		} else if (!strcmp(question, "sum")) {
			share_answer(name, "%016llx", lent_sum(memory, LENT_SIZE));
		} else if (!strcmp(question, "where")) {
			share_answer(name, "%llu", gpa);
		} else if (!strcmp(question, "release")) {
			share_answer(name, release_memory(gpa, LENT_SIZE) ? "ok" : "no");
		} else if (sscanf(question, "balloon %lu", &arg) == 1) {
			share_answer(name, "%s", balloon_set(arg) ? "no" : "ok");
		} else if (!strcmp(question, "touch")) {
			share_answer(name, touch_free() ? "ok" : "no");
		} else {
			share_answer(name, "what is \"%s\"?", question);
		}
	}
	share_answer(name, "ok");
}

int main(int argc, char **argv)
{
	__u64 gpa = 0;
	void *memory = huge_page(&gpa);

	if (argc != 2 || !memory || !gpa) {
		fprintf(stderr, "guest_lender: no huge page, or usage: guest_lender NAME\n");
		return 1;
	}
	serve(argv[1], memory, gpa);
	return 0;
}
