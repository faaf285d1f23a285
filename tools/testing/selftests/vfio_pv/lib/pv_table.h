/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest-owned page tables, made as a guest would make them.
 */
#ifndef PV_TABLE_H
#define PV_TABLE_H

#include "pv_op.h"

#define PV_ENTRY_P	0x1ULL
#define PV_ENTRY_W	0x2ULL
#define PV_ENTRY_A	0x20ULL
#define PV_ENTRY_PS	0x80ULL
#define PV_ENTRY_XD	0x8000000000000000ULL
#define PV_ENTRY_RW	(PV_ENTRY_P | PV_ENTRY_W)

struct pv_table {
	struct pv_vm *vm;
	int levels;
	__u64 root;		/* GPA */
	__u64 next;		/* GPA of the next page that becomes a table */
};

/* An empty table of 4 or 5 levels; its pages are taken from @at on */
struct pv_table pv_table(struct pv_vm *vm, int levels, __u64 at);

/* The entry for @iova at a level (1: of 4 KiB pages); tables above are made */
__u64 *pv_entry(struct pv_table *table, __u64 iova, int level);

/* Map one page of 4 KiB */
void pv_table_map(struct pv_table *table, __u64 iova, __u64 gpa, __u64 flags);

struct pviommu_op pv_op_alloc_table(__u32 endpoint, __u32 format, __u64 root);
__u32 pv_table_format(const struct pv_table *table);

#define __pv_alloc_table(ring, ...)	__pv_exec(ring, pv_op_alloc_table(__VA_ARGS__))
#define pv_err_alloc_table(status, ...)	EXPECT_EQ(status, __pv_alloc_table(__VA_ARGS__))

#endif /* PV_TABLE_H */
