// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading guest-owned page tables.
 *
 * Each entry is read once, by a single access, and the copy is checked. A walk goes down
 * at most as many levels as the format has, so it ends whatever the guest has linked.
 * Nothing is written to the table.
 *
 * The format is that of the CPU. The host uses the bits P, R/W, PS, XD and the address of
 * an entry. It ignores U/S, the memory type, A, D, G, protection keys and the bits that
 * are left to software.
 */
#include "pviommu_private.h"

#define ENTRY_P		BIT_ULL(0)
#define ENTRY_W		BIT_ULL(1)
#define ENTRY_PS	BIT_ULL(7)
#define ENTRY_PAT	BIT_ULL(12)	/* of large pages; part of the address of others */
#define ENTRY_XD	BIT_ULL(63)
#define ENTRY_ADDR	GENMASK_ULL(51, 12)

#define ENTRIES		512
#define MAX_LEVELS	5

static_assert(ENTRIES <= PVIOMMU_CHUNK && ENTRIES <= PVIOMMU_LIST_MAX);

/* A walk from the root to the entries that translate an IOVA */
struct walk {
	struct pviommu_op_ctx *ctx;
	struct pviommu_domain *domain;
	u64 iova;
	u64 last;		/* end of the range that the caller asks for */
	u64 tables[MAX_LEVELS];	/* GPAs of the tables on the way: [0] is the root */
	u32 depth;		/* how many of them there are */
	bool write;		/* all entries on the way permit it */
	bool noexec;
};

static u32 level_index(u64 iova, u32 level)
{
	return (iova >> pviommu_level_shift(level)) % ENTRIES;
}

static u64 current_table(const struct walk *walk)
{
	return walk->tables[walk->depth - 1];
}

static u64 entry_gpa(const struct walk *walk, u32 index)
{
	return current_table(walk) + index * sizeof(u64);
}

static int read_entries(struct walk *walk, u32 index, u32 n, u64 *entries)
{
	pviommu_spend(walk->ctx->budget, DIV_ROUND_UP(n, PVIOMMU_LOOK_ENTRIES));
	return pviommu_guest_read_words(walk->ctx->vm, entry_gpa(walk, index),
					entries, n);
}

/* How many entries of the table at @level, from the IOVA on, the caller asks for */
static u32 entries_wanted(const struct walk *walk, u32 level)
{
	u32 shift = pviommu_level_shift(level);
	u64 more = (walk->last >> shift) - (walk->iova >> shift);

	return min_t(u64, more + 1, ENTRIES - level_index(walk->iova, level));
}

static void set_view(struct pviommu_view *view, enum pviommu_view_kind kind,
		     const struct walk *walk, u32 level, u32 entries)
{
	u32 shift = pviommu_level_shift(level);

	view->kind = kind;
	view->level = level;
	view->iova = walk->iova;
	view->last = min(walk->last, (((walk->iova >> shift) + entries) << shift) - 1);
	view->entry = entry_gpa(walk, level_index(walk->iova, level));
}

static void set_bad(struct pviommu_view *view, const struct walk *walk, u32 level,
		    u32 entries, u16 reason)
{
	set_view(view, PVIOMMU_VIEW_BAD, walk, level, entries);
	view->reason = reason;
}

/*
 * Have the current table watched before it is read, so that no later store is missed. A
 * table that can't be watched is bad, with all below. Return: 1, it may be read; 0, the
 * view says that it is bad; or a negative errno.
 */
static int watch_table(struct walk *walk, u32 level, struct pviommu_view *view)
{
	u64 iova = walk->iova >> pviommu_level_shift(level + 1) << pviommu_level_shift(level + 1);
	int ret;

	if (!walk->domain->table->scratch)
		return 1;
	ret = pviommu_watch_table(walk->ctx, walk->domain, current_table(walk), iova, level);
	if (ret != -EBUSY && ret != -ENOSPC)
		return ret ?: 1;
	set_bad(view, walk, level, entries_wanted(walk, level), PVIOMMU_BAD_WATCH);
	return 0;
}

static u8 walk_prot(const struct walk *walk, u64 entry)
{
	return PVIOMMU_PROT_READ |
	       (walk->write && entry & ENTRY_W ? PVIOMMU_PROT_WRITE : 0) |
	       (walk->noexec || entry & ENTRY_XD ? PVIOMMU_PROT_NOEXEC : 0);
}

/* An entry that is not present, and those after it that are not present either */
static void view_hole(struct walk *walk, u32 level, struct pviommu_view *view)
{
	u32 index = level_index(walk->iova, level), n = 1;
	u32 more = entries_wanted(walk, level) - 1;

	if (more && !read_entries(walk, index + 1, more, view->gfns))
		while (n <= more && !(view->gfns[n - 1] & ENTRY_P))
			n++;
	set_view(view, PVIOMMU_VIEW_NOTHING, walk, level, n);
}

/* A page of 2 MiB, or a part of that size of one of 1 GiB */
static void view_large(struct walk *walk, u32 level, u64 entry, struct pviommu_view *view)
{
	u64 mask = (1ULL << pviommu_level_shift(level)) - 1, gfn;
	u32 i;

	if (level > 3 || entry & ENTRY_ADDR & mask & ~ENTRY_PAT) {
		set_bad(view, walk, level, 1, PVIOMMU_BAD_RESERVED);
		return;
	}
	set_view(view, PVIOMMU_VIEW_PAGES, walk, level, 1);
	view->iova = walk->iova & ~(u64)(SZ_2M - 1);
	view->last = view->iova + SZ_2M - 1;
	view->pgshift = ilog2(SZ_2M);
	view->prot = walk_prot(walk, entry);
	gfn = ((entry & ENTRY_ADDR & ~mask) | (view->iova & mask)) >> PAGE_SHIFT;
	for (i = 0; i < SZ_2M / PAGE_SIZE; i++)
		view->gfns[i] = gfn + i;
}

/* Entries for pages of 4 KiB, as many as agree in presence and protection */
static int view_small(struct walk *walk, struct pviommu_view *view)
{
	u32 wanted = entries_wanted(walk, 1), n;
	u64 *entries = view->gfns, first;
	int ret = watch_table(walk, 1, view);

	if (ret <= 0)
		return ret;
	if (read_entries(walk, level_index(walk->iova, 1), wanted, entries)) {
		set_bad(view, walk, 1, wanted, PVIOMMU_BAD_TABLE);
		return 0;
	}
	first = entries[0];
	for (n = 1; n < wanted; n++)
		if ((entries[n] ^ first) & ENTRY_P ||
		    (first & ENTRY_P && walk_prot(walk, entries[n]) != walk_prot(walk, first)))
			break;
	if (!(first & ENTRY_P)) {
		set_view(view, PVIOMMU_VIEW_NOTHING, walk, 1, n);
		return 0;
	}
	set_view(view, PVIOMMU_VIEW_PAGES, walk, 1, n);
	view->pgshift = PAGE_SHIFT;
	view->prot = walk_prot(walk, first);
	while (n--)
		view->gfns[n] = (entries[n] & ENTRY_ADDR) >> PAGE_SHIFT;
	return 0;
}

static bool in_walk(const struct walk *walk, u64 table)
{
	u32 i;

	for (i = 0; i < walk->depth; i++)
		if (walk->tables[i] == table)
			return true;
	return false;
}

/* Read an entry above the last level. Return: 1 there is a table below; 0 the view is set */
static int descend(struct walk *walk, u32 level, struct pviommu_view *view)
{
	u64 entry, next, probe;
	int ret = watch_table(walk, level, view);

	if (ret <= 0)
		return ret;
	if (read_entries(walk, level_index(walk->iova, level), 1, &entry)) {
		set_bad(view, walk, level, entries_wanted(walk, level), PVIOMMU_BAD_TABLE);
		return 0;
	}
	next = entry & ENTRY_ADDR;
	if (!(entry & ENTRY_P)) {
		view_hole(walk, level, view);
	} else if (entry & ENTRY_PS) {
		view_large(walk, level, entry, view);
	} else if (in_walk(walk, next)) {
		set_bad(view, walk, level, 1, PVIOMMU_BAD_LOOP);
	} else if (pviommu_guest_read_words(walk->ctx->vm, next, &probe, 1)) {
		set_bad(view, walk, level, 1, PVIOMMU_BAD_TABLE);
	} else {
		walk->write &= !!(entry & ENTRY_W);
		walk->noexec |= !!(entry & ENTRY_XD);
		walk->tables[walk->depth++] = next;
		return 1;
	}
	return 0;
}

/**
 * pviommu_table_view() - read what a table says from an IOVA on
 * @ctx: context of the op; reading entries spends its budget
 * @domain: whose table it is; table->lock is held until the view has been made effective
 * @iova: the IOVA, page aligned
 * @last: the last IOVA that the caller cares for, the end of a page
 * @view: filled in; @view->gfns has room for PVIOMMU_CHUNK frames
 *
 * A view covers @iova and the entries after it, in the same table, that are of the same
 * kind. It does not end within a page. Frames are what the table says, and need not be
 * RAM. If a table, or the root, is not RAM (any more), all its entries are bad.
 *
 * Context: vm->mem_lock held; a thread of the VMM, for others no table is RAM.
 * Return: 0. If the table is watched also -EAGAIN a page can't be watched now, perhaps not
 * before this thread has left KVM; -ENOMEM; -ENOENT the domain is being freed.
 */
int pviommu_table_view(struct pviommu_op_ctx *ctx, struct pviommu_domain *domain,
		       u64 iova, u64 last, struct pviommu_view *view)
{
	const struct pviommu_table *table = domain->table;
	struct walk walk = {
		.ctx = ctx,
		.domain = domain,
		.iova = iova,
		.last = last,
		.tables = { table->root },
		.depth = 1,
		.write = true,
	};
	u32 level;
	int ret;

	lockdep_assert_held(&table->lock);

	for (level = table->levels; level > 1; level--) {
		ret = descend(&walk, level, view);
		if (ret <= 0)
			return ret;
	}
	return view_small(&walk, view);
}
