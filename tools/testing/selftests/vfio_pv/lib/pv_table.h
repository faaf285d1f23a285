/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest-owned page tables, built as a guest builds them.
 */
#ifndef PV_TABLE_H
#define PV_TABLE_H

#include "edu.h"
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
	__u64 next;		/* GPA of the next page to use for a table */
};

/* An empty table of 4 or 5 levels, whose pages are taken from @at on */
struct pv_table pv_table(struct pv_vm *vm, int levels, __u64 at);

/* The entry for @iova at @level, where 1 is that of 4 KiB pages; higher tables are added */
__u64 *pv_entry(struct pv_table *table, __u64 iova, int level);

/* Map one page of 4 KiB */
void pv_table_map(struct pv_table *table, __u64 iova, __u64 gpa, __u64 flags);

/* GPA of an entry */
__u64 pv_entry_gpa(struct pv_table *table, __u64 iova, int level);

/*
 * Does data that the first device writes to @iova arrive at @gpa? The device reads the data at
 * PV_SOURCE, from where the table must lead to PV_FROM.
 */
bool pv_reaches(struct pv_vm *vm, __u64 iova, __u64 gpa);

#define PV_SOURCE	0x7000000ULL
#define PV_FROM		PV_DATA
#define PV_REACH_LEN	256

/*
 * Start the interface of @vm, and build a table at @at that maps PV_SOURCE for pv_reaches().
 * Skips the test if the device is no edu device.
 */
#define pv_setup_table(vm, table, levels, at) do {				\
	if (!edu_is(&(vm)->dev[0].vfio))					\
		SKIP(return, "needs edu devices");				\
	pv_start(vm, 2, 6);							\
	*(table) = pv_table(vm, levels, at);					\
	pv_table_map(table, PV_SOURCE, PV_FROM, PV_ENTRY_P);			\
} while (0)

/* Where @iova leads, as LOOKUP says; ~0 if nowhere */
__u64 pv_leads_to(struct pv_ring *ring, __u32 dom, __u64 iova);

#define pv_expect_no_event(vm) do {						\
	struct pviommu_event __none;						\
										\
	EXPECT_FALSE(pv_event_next(vm, &__none));				\
} while (0)

/* Expect an event about a bad entry, and no other one */
#define pv_expect_bad(vm, dom, why, iova, bytes, at) do {			\
	struct pviommu_event __ev = {};						\
										\
	EXPECT_TRUE(pv_event_next(vm, &__ev));					\
	EXPECT_EQ(PVIOMMU_EV_FAULT, __ev.type);					\
	EXPECT_EQ(PVIOMMU_EV_F_ENTRY, __ev.flags & 0xff);			\
	EXPECT_EQ(why, PVIOMMU_EV_REASON(__ev.flags));				\
	EXPECT_EQ(dom, __ev.domain);						\
	EXPECT_EQ(iova, __ev.addr);						\
	EXPECT_EQ(bytes, __ev.size);						\
	EXPECT_EQ(at, __ev.gpa);						\
	pv_expect_no_event(vm);							\
} while (0)

struct pviommu_op pv_op_alloc_table(__u32 endpoint, __u32 format, __u64 root);
__u32 pv_table_format(const struct pv_table *table);

#define __pv_alloc_table(ring, ...)	__pv_exec(ring, pv_op_alloc_table(__VA_ARGS__))
#define pv_err_alloc_table(status, ...)	EXPECT_EQ(status, __pv_alloc_table(__VA_ARGS__))

#endif /* PV_TABLE_H */
