/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Types of a guest's memory, and the server at the host level that mirrors pages with a type:
 * the example "pvshadow", to which host_shadow.sh passes commands.
 */
#ifndef GUEST_SHADOW_H
#define GUEST_SHADOW_H

#include <stdbool.h>
#include <linux/types.h>

#define PAGE		4096UL
#define PAGES		16
#define MEM_TYPE	"/sys/kernel/debug/pv-iommu/mem_type"

/* Send a command to the server; its answer, or NULL */
const char *shadow_ask(const char *command);

#define must_ask(command)	ASSERT_STREQ("ok", shadow_ask(command) ?: "no answer")

/* 0 or a negative errno */
int set_type(__u64 gpa, __u64 size, unsigned int type);

/* Pages that the kernel does not move */
struct memory {
	unsigned char *pages;
	__u64 gpa[PAGES];
};

bool memory_open(struct memory *mem);
void memory_close(struct memory *mem);
/* set_type() for all of these pages */
int set_all(const struct memory *mem, unsigned int type);

/* Does the server's mirror have the contents of the pages? */
bool mirrored(const struct memory *mem);
/* How many pages the server mirrors; all ones if it does not answer */
unsigned int mirror_pages(void);

/* A write that the server has heard of */
struct heard {
	unsigned long long gpa;
	unsigned int size;
	char data[40];		/* hexadecimal, in the order of addresses */
	unsigned int thread;
	unsigned long long seq;
};

/* Writes since the last call; @n if there are more, all ones if it does not answer */
unsigned int hear(struct heard *heard, unsigned int n);

#endif /* GUEST_SHADOW_H */
