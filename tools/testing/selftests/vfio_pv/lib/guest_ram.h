/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a process in a guest can find out about the guest's memory.
 */
#ifndef GUEST_RAM_H
#define GUEST_RAM_H

#include <linux/types.h>

/* The guest physical address of a page of ours; 0 if that can't be found out */
__u64 ram_gpa_of(const void *page);

/* What nobody uses, in KiB; 0 if that can't be found out */
unsigned long ram_free_kb(void);

/* Pages that are pinned in this machine, for DMA and the like; -1: it does not count them */
long long ram_pinned(void);

#endif /* GUEST_RAM_H */
