// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "edu.h"
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

__u64 pv_entry_gpa(struct pv_table *table, __u64 iova, int level)
{
	return (__u64)((char *)pv_entry(table, iova, level) - (char *)pv_mem(table->vm, 0));
}

void pv_table_map(struct pv_table *table, __u64 iova, __u64 gpa, __u64 flags)
{
	*pv_entry(table, iova, 1) = gpa | flags;
}

bool pv_reaches(struct pv_vm *vm, __u64 iova, __u64 gpa)
{
	static __u64 count;
	__u64 *from = pv_mem(vm, PV_FROM), *to = pv_mem(vm, gpa);
	unsigned int i;

	for (i = 0; i < PV_REACH_LEN / sizeof(*from); i++)
		from[i] = (++count << 20 | i) * 0x9e3779b97f4a7c15ULL;
	memset(to, 0x55, PV_REACH_LEN);
	return edu_from_ram(&vm->dev[0].vfio, PV_SOURCE, 0, PV_REACH_LEN) &&
	       edu_to_ram(&vm->dev[0].vfio, iova, 0, PV_REACH_LEN) &&
	       !memcmp(from, to, PV_REACH_LEN);
}

__u64 pv_leads_to(struct pv_ring *ring, __u32 dom, __u64 iova)
{
	return __pv_lookup(ring, dom, iova) ? ~0ULL : ring->last.lookup.gpa;
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
