// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "pv_table.h"

#define ENTRY_ADDR	0x000ffffffffff000ULL

static __u64 new_page(struct pv_table *table)
{
	__u64 gpa = table->next;

	table->next += PV_PAGE;
	memset(pv_mem(table->vm, gpa), 0, PV_PAGE);
	return gpa;
}

struct pv_table pv_table(struct pv_vm *vm, int levels, __u64 at)
{
	struct pv_table table = { .vm = vm, .levels = levels, .next = at };

	table.root = new_page(&table);
	return table;
}

__u64 *pv_entry(struct pv_table *table, __u64 iova, int level)
{
	__u64 page = table->root;
	__u64 *entry;
	int i;

	for (i = table->levels;; i--) {
		entry = (__u64 *)pv_mem(table->vm, page) +
			(iova >> (12 + 9 * (i - 1))) % 512;
		if (i == level)
			return entry;
		if (!(*entry & PV_ENTRY_P))
			*entry = new_page(table) | PV_ENTRY_RW;
		page = *entry & ENTRY_ADDR;
	}
}

void pv_table_map(struct pv_table *table, __u64 iova, __u64 gpa, __u64 flags)
{
	*pv_entry(table, iova, 1) = gpa | flags;
}

__u32 pv_table_format(const struct pv_table *table)
{
	return table->levels == 5 ? PVIOMMU_TABLE_X86_64_5 : PVIOMMU_TABLE_X86_64_4;
}

struct pviommu_op pv_op_alloc_table(__u32 endpoint, __u32 format, __u64 root)
{
	struct pviommu_op op = pv_op_alloc(endpoint);

	op.alloc.type = PVIOMMU_TYPE_TABLE;
	op.alloc.format = format;
	op.alloc.root = root;
	return op;
}
