// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-owned tables, of valid and invalid entries.
 *
 * Each page has a level. An entry links a page of the level below or, wrongly, of a level above
 * that: then entries for tables are read as entries for pages. So whatever links what, only
 * these pages are read as tables, and they don't change while ops are executed.
 */
#include "pv_fuzz.h"
#include "pv_op.h"
#include "pv_sys.h"
#include "pv_table.h"

/* Bits that the host ignores: hardware or software may use them */
#define IGNORED		0x7ff0000000000e7cULL

void fuzz_add_table(struct fuzz *f, __u64 gpa, int level)
{
	struct model *m = f->model;

	f->tables[f->nr_tables++] = (struct fuzz_table) { .gpa = gpa, .level = level };
	if (level >= 4)
		m->roots[m->nr_roots++] = (struct model_root) { .gpa = gpa, .levels = level };
}

bool fuzz_is_table(const struct fuzz *f, __u64 gpa, __u64 size)
{
	unsigned int i;

	for (i = 0; i < f->nr_tables; i++)
		if (gpa < f->tables[i].gpa + PV_PAGE && gpa + size > f->tables[i].gpa)
			return true;
	return false;
}

/* The level of a page; 0 if it is no table */
static int level_of(const struct fuzz *f, __u64 gpa)
{
	unsigned int i;

	for (i = 0; i < f->nr_tables; i++)
		if (f->tables[i].gpa == gpa - gpa % PV_PAGE)
			return f->tables[i].level;
	return 0;
}

bool fuzz_leads_astray(const struct fuzz *f, const struct fuzz_entry *entry)
{
	const __u64 table = entry->value & 0x000ffffffffff000ULL;
	int level = level_of(f, entry->gpa);

	return level > 1 && entry->value & PV_ENTRY_P && !(entry->value & PV_ENTRY_PS) &&
	       model_ram(f->model, PVIOMMU_VM_SELF, table, false) &&
	       level_of(f, table) != level - 1;
}

/* ---- where ---------------------------------------------------------------- */

/*
 * Few IOVAs, so that entries affect each other: the arenas, of which devices reach some, more
 * often than others, and both ends of the address space.
 */
static unsigned int pick_index(struct fuzz *f, int level)
{
	const unsigned int upper[] = { 0, 0, 0, 0, 0, 1, 511 };
	const unsigned int third[] = { 0, 0, 0, 0, 3, 511 };
	const unsigned int second[] = { 0, 1, 502, 503, 510, 511 };

	if (fuzz_one_in(f, 60))
		return fuzz_below(f, 512);
	switch (level) {
	case 1:
		return fuzz_below(f, 2) ? fuzz_below(f, 24) : fuzz_below(f, 512);
	case 2:
		return fuzz_one_in(f, 3) ? second[fuzz_below(f, ARRAY_SIZE(second))] :
					   32 + fuzz_below(f, 5);
	case 3:
		return third[fuzz_below(f, ARRAY_SIZE(third))];
	default:
		return upper[fuzz_below(f, ARRAY_SIZE(upper))];
	}
}

__u64 fuzz_table_iova(struct fuzz *f)
{
	__u64 iova = 0;
	int level;

	for (level = fuzz_one_in(f, 20) ? 5 : 4; level; level--)
		iova |= (__u64)pick_index(f, level) << (12 + 9 * (level - 1));
	return iova;
}

/* ---- what ------------------------------------------------------------------- */

static __u64 table_of(struct fuzz *f, int level)
{
	const struct fuzz_table *t;

	do {
		t = &f->tables[fuzz_below(f, f->nr_tables)];
	} while (t->level != level);
	return t->gpa;
}

/*
 * Of this level or of a higher one, but none that can be watched, nor one that leads to such
 * as tables: of one that is at two levels of a table, in as many places as there may be, it
 * depends on what a doorbell may do whether the one above finds a place.
 */
static __u64 table_above(struct fuzz *f, int level)
{
	const struct fuzz_table *t;

	/* That domain is empty */
	if (level > 1 && f->model->regions[0].kvm)
		return PV_ROM;
	do {
		t = &f->tables[fuzz_below(f, f->nr_tables)];
	} while (t->level < level || t->gpa < PV_LOW + f->vm->low_size ||
		 t->gpa - PV_HIGH < PV_HIGH_SIZE);
	return t->gpa;
}

static __u64 bits(struct fuzz *f)
{
	__u64 value = PV_ENTRY_P;

	if (fuzz_below(f, 5))
		value |= PV_ENTRY_W;
	if (fuzz_one_in(f, 12))
		value |= PV_ENTRY_XD;
	if (fuzz_one_in(f, 4))
		value |= fuzz_below(f, ~0ULL) & IGNORED;
	return value;
}

static __u64 small_page(struct fuzz *f)
{
	const __u64 bad[] = { PV_NOWHERE, PV_BAR, PV_ROM, 0x000ffffffffff000ULL };

	if (fuzz_one_in(f, 4))
		return fuzz_below(f, 2) ? 0 : fuzz_below(f, ~0ULL) & ~PV_ENTRY_P;
	if (fuzz_one_in(f, 20))
		return bad[fuzz_below(f, ARRAY_SIZE(bad))] | bits(f);
	return (fuzz_gpa(f, PVIOMMU_VM_SELF) & 0x000ffffffffff000ULL) | bits(f);
}

static __u64 large_page(struct fuzz *f, int level)
{
	__u64 size = PV_2M << 9 * (level - 2), gpa = fuzz_gpa(f, PVIOMMU_VM_SELF);

	if (level == 2 && fuzz_below(f, 2))
		gpa = PV_HIGH + fuzz_below(f, 3) * PV_2M;
	gpa &= -size & 0x000ffffffffff000ULL;
	if (fuzz_one_in(f, 5))
		gpa |= 1ULL << (12 + fuzz_below(f, 9 * (level - 1)));
	return gpa | PV_ENTRY_PS | bits(f);
}

static __u64 bad_table(struct fuzz *f, const struct fuzz_table *t)
{
	const __u64 bad[] = { PV_NOWHERE, PV_BAR, PV_ROM, 0x000ffffffffff000ULL, t->gpa };

	if (fuzz_one_in(f, 2))
		return table_above(f, t->level - 1) | bits(f);
	return bad[fuzz_below(f, ARRAY_SIZE(bad))] | bits(f);
}

static __u64 upper_entry(struct fuzz *f, const struct fuzz_table *t)
{
	int level = t->level;

	switch (fuzz_below(f, 20)) {
	case 0 ... 4:
		return fuzz_below(f, 2) ? 0 : fuzz_below(f, ~0ULL) & ~PV_ENTRY_P;
	case 5 ... 6:
		return bad_table(f, t);
	case 7 ... 9:
		/* A page of 1 GiB takes as long as 512 pages of 2 MiB */
		return level == 2 || fuzz_one_in(f, 40) ? large_page(f, level) : 0;
	default:
		return table_of(f, level - 1) | bits(f);
	}
}

struct fuzz_entry fuzz_entry(struct fuzz *f)
{
	const struct fuzz_table *t = &f->tables[fuzz_below(f, f->nr_tables)];

	return (struct fuzz_entry) {
		.gpa = t->gpa + pick_index(f, t->level) * sizeof(__u64),
		.value = t->level == 1 ? small_page(f) : upper_entry(f, t),
	};
}

/* ---- ops ---------------------------------------------------------------------- */

struct pviommu_op fuzz_alloc_table(struct fuzz *f, __u32 endpoint)
{
	const struct model *m = f->model;
	const struct model_root *root = &m->roots[fuzz_below(f, m->nr_roots)];
	struct pviommu_op op = pv_op_alloc_table(endpoint, root->levels == 5 ?
						 PVIOMMU_TABLE_X86_64_5 : PVIOMMU_TABLE_X86_64_4,
						 root->gpa);

	if (m->tracked ? fuzz_below(f, 2) : fuzz_one_in(f, 20))
		op.flags |= PVIOMMU_ALLOC_F_WATCH;
	return op;
}

struct pviommu_op fuzz_look(struct fuzz *f, __u32 domain)
{
	struct pviommu_op op = pv_op_inv_page(domain, fuzz_table_iova(f), PV_PAGE);

	/* With a small budget, this would take many doorbells */
	switch (fuzz_below(f, f->small_doorbells ? 1000 : 100)) {
	case 0 ... 1:
		op = pv_op_inv(domain);
		break;
	case 2 ... 3:
		op.inv.size = PV_PAGE << fuzz_below(f, 45);
		break;
	case 4 ... 29:
		op.inv.size = PV_2M << fuzz_below(f, 3);
		break;
	default:
		op.inv.size = PV_PAGE * (1 + fuzz_below(f, 24));
	}
	if (fuzz_below(f, 2))
		op.flags |= PVIOMMU_INV_F_LEAF;
	return op;
}
