/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Types of a guest's memory, and the server at the host level that shadows it: the
 * example "pvshadow", to which host_shadow.sh gives our commands.
 */
#ifndef GUEST_SHADOW_H
#define GUEST_SHADOW_H

#include <stdbool.h>
#include <linux/types.h>

#define PAGE		4096UL
#define PAGES		16
#define MEM_TYPE	"/sys/kernel/debug/pv-iommu/mem_type"

/* Have the server do something; NULL for no answer */
const char *shadow_ask(const char *command);

#define must_ask(command)	ASSERT_STREQ("ok", shadow_ask(command) ?: "no answer")

/* 0 or a negative errno */
int set_type(__u64 gpa, __u64 size, unsigned int type);

/* Pages that stay where they are */
struct memory {
	unsigned char *pages;
	__u64 gpa[PAGES];
};

bool memory_open(struct memory *mem);
void memory_close(struct memory *mem);
/* set_type() of all of them */
int set_all(const struct memory *mem, unsigned int type);

/* Is what the server has of our pages what they hold? */
bool mirrored(const struct memory *mem);
/* How many pages the server has; all ones if it does not say */
unsigned int mirror_pages(void);

/* A write, as the server heard of it */
struct heard {
	unsigned long long gpa;
	unsigned int size;
	char data[40];		/* hexadecimal, in the order of addresses */
	unsigned int thread;
	unsigned long long seq;
};

/* What it heard since it was last asked; @n if there is more, all ones if it does not say */
unsigned int hear(struct heard *heard, unsigned int n);

#endif /* GUEST_SHADOW_H */
