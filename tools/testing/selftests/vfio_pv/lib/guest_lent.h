/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest that lends memory and the guest that borrows it agree on: how much it is, and
 * what it contains.
 */
#ifndef GUEST_LENT_H
#define GUEST_LENT_H

#include <stddef.h>

#define LENT_SIZE	(2UL << 20)	/* a huge page */

/* Random bytes, the same for the same seed */
static inline void lent_fill(unsigned char *memory, size_t size, unsigned int seed)
{
	size_t i;

	for (i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		memory[i] = seed >> 24;
	}
}

/* FNV-1a, as examples/nvme */
static inline unsigned long long lent_sum(const unsigned char *memory, size_t size)
{
	unsigned long long sum = 0xcbf29ce484222325ULL;

	while (size--)
		sum = (sum ^ *memory++) * 0x100000001b3ULL;
	return sum;
}

#endif /* GUEST_LENT_H */
