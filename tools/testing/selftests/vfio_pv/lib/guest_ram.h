/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel tells about memory: of a page of this process, and of the guest.
 */
#ifndef GUEST_RAM_H
#define GUEST_RAM_H

#include <linux/types.h>

/* The guest physical address of a page of this process; 0 on failure */
__u64 ram_gpa_of(const void *page);

/* Free memory, in KiB; 0 on failure */
unsigned long ram_free_kb(void);

/* How many pages are pinned for DMA and the like; -1 if the kernel does not count them */
long long ram_pinned(void);

#endif /* GUEST_RAM_H */
