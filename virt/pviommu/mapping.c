// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tree of a domain's mappings: bookkeeping only. Pages are pinned, and page tables
 * changed, elsewhere.
 *
 * Mappings don't overlap. A mapping holds the pages of [it.start, it.last] as runs, in
 * ascending order of IOVA. It can be split at any multiple of its page size, and the
 * parts have room for no more than twice the runs that they hold. IOVAs are aligned to
 * 4 KiB, and pages counted in that unit.
 */
#include <linux/slab.h>

#include "pviommu_private.h"

/* How many freed mappings a domain keeps, so that map and unmap in turn need no allocator */
#define MAX_SPARE	64

static struct pviommu_mapping *take_spare(struct pviommu_domain *domain)
{
	struct pviommu_mapping *map;

	map = hlist_entry(domain->spare.first, struct pviommu_mapping, spare);
	hlist_del(&map->spare);
	domain->nr_spare--;
	return map;
}

static struct pviommu_mapping *mapping_init(struct pviommu_mapping *map, u64 iova, u64 npages,
					    u32 nr_runs)
{
	RB_CLEAR_NODE(&map->it.rb);
	map->it.start = iova;
	map->it.last = iova + (npages << PAGE_SHIFT) - 1;
	INIT_LIST_HEAD(&map->limbo);
	map->npages = npages;
	map->nr_runs = nr_runs;
	map->room = nr_runs;
	map->was_large = false;
	map->loan = NULL;
	return map;
}

/**
 * pviommu_mapping_alloc() - make a mapping that is in no tree yet
 * @domain: the domain that it will be in, locked
 * @iova: first IOVA, page aligned
 * @npages: pages, not 0
 * @nr_runs: room for that many runs
 * @gfp: how to allocate
 *
 * Return: the mapping, or NULL (never with __GFP_NOFAIL).
 */
struct pviommu_mapping *pviommu_mapping_alloc(struct pviommu_domain *domain,
					      u64 iova, u64 npages, u32 nr_runs,
					      gfp_t gfp)
{
	struct pviommu_mapping *map;

	lockdep_assert_held(&domain->lock);

	if (nr_runs == 1 && domain->nr_spare)
		map = take_spare(domain);
	else
		map = kvmalloc(struct_size(map, runs, nr_runs), gfp);
	return map ? mapping_init(map, iova, npages, nr_runs) : NULL;
}

static u32 count_runs(const u64 *gfns, struct page **pages, u32 n)
{
	u32 runs = 1, i;

	for (i = 1; i < n; i++)
		if (page_to_pfn(pages[i]) != page_to_pfn(pages[i - 1]) + 1 ||
		    (gfns && gfns[i] != gfns[i - 1] + 1))
			runs++;
	return runs;
}

/**
 * pviommu_mapping_room() - allocate the memory of a mapping ahead of pviommu_mapping_make()
 * @gfns: as there
 * @pages: as there
 * @n: as there
 *
 * Context: process, none of the locks held that PVIOMMU_GFP_LOCKED names.
 * Return: the memory, for pviommu_mapping_make() or kvfree(); or NULL.
 */
struct pviommu_mapping *pviommu_mapping_room(const u64 *gfns, struct page **pages, u32 n)
{
	struct pviommu_mapping *map;

	return kvmalloc(struct_size(map, runs, count_runs(gfns, pages, n)), GFP_KERNEL_ACCOUNT);
}

/**
 * pviommu_mapping_make() - make a mapping of pinned pages, that is in no tree yet
 * @domain: the domain that it will be in, locked
 * @iova: first IOVA, page aligned
 * @gfns: the pages' guest frames, or NULL
 * @gfn: the first of them if they follow each other
 * @pages: the pages
 * @n: how many, not 0
 * @room: from pviommu_mapping_room(), becomes the mapping; or NULL
 *
 * The caller fills in the rest: page size, protection, loan.
 *
 * Return: the mapping, or NULL without @room and memory, see PVIOMMU_GFP_LOCKED.
 */
struct pviommu_mapping *pviommu_mapping_make(struct pviommu_domain *domain, u64 iova,
					     const u64 *gfns, u64 gfn, struct page **pages,
					     u32 n, struct pviommu_mapping *room)
{
	u32 nr_runs = count_runs(gfns, pages, n), i;
	struct pviommu_mapping *map;
	struct pviommu_run *run;

	lockdep_assert_held(&domain->lock);

	if (room)
		map = mapping_init(room, iova, n, nr_runs);
	else
		map = pviommu_mapping_alloc(domain, iova, n, nr_runs, PVIOMMU_GFP_LOCKED);
	if (!map)
		return NULL;
	run = map->runs;
	for (i = 0; i < n; i++) {
		u64 frame = gfns ? gfns[i] : gfn + i;

		if (i && frame == run->gfn + run->npages &&
		    page_to_pfn(pages[i]) == run->hpfn + run->npages) {
			run->npages++;
			continue;
		}
		run += !!i;
		run->gfn = frame;
		run->hpfn = page_to_pfn(pages[i]);
		run->npages = 1;
	}
	return map;
}

/**
 * pviommu_mapping_free() - free a mapping that is in no tree and no list
 * @domain: the domain that it was made for, locked
 * @map: the mapping, or NULL
 */
void pviommu_mapping_free(struct pviommu_domain *domain,
			  struct pviommu_mapping *map)
{
	lockdep_assert_held(&domain->lock);

	if (map && map->room == 1 && domain->nr_spare < MAX_SPARE) {
		hlist_add_head(&map->spare, &domain->spare);
		domain->nr_spare++;
	} else {
		kvfree(map);
	}
}

/**
 * pviommu_mapping_drop_spare() - free the mappings that are kept for reuse
 * @domain: the domain, about to be freed
 */
void pviommu_mapping_drop_spare(struct pviommu_domain *domain)
{
	while (domain->nr_spare)
		kvfree(take_spare(domain));
}

/**
 * pviommu_mapping_first() - the first mapping in a range
 * @domain: the domain, locked
 * @iova: first IOVA of the range
 * @last: its last IOVA
 *
 * Return: the mapping with the lowest IOVA that has a page in the range, or
 * NULL.
 */
struct pviommu_mapping *pviommu_mapping_first(struct pviommu_domain *domain,
					      u64 iova, u64 last)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&domain->lock);

	node = interval_tree_iter_first(&domain->mappings, iova, last);
	return node ? container_of(node, struct pviommu_mapping, it) : NULL;
}

/**
 * pviommu_mapping_cuts_page() - does an IOVA lie within a mapped page
 * @domain: the domain, locked
 * @iova: the IOVA
 *
 * Return: true if @iova is mapped and not at the start of a page (of the size
 * that the page was mapped with).
 */
bool pviommu_mapping_cuts_page(struct pviommu_domain *domain, u64 iova)
{
	struct pviommu_mapping *map = pviommu_mapping_first(domain, iova, iova);

	return map && !IS_ALIGNED(iova, 1ULL << map->pgshift);
}

/**
 * pviommu_mapping_run() - the run that holds a page of a mapping
 * @map: the mapping
 * @page: number of the page, from 0, less than map->npages
 * @offset: set to the number of the page within the run
 *
 * Return: the run.
 */
const struct pviommu_run *pviommu_mapping_run(const struct pviommu_mapping *map,
					      u64 page, u64 *offset)
{
	const struct pviommu_run *run = map->runs;

	while (page >= run->npages) {
		page -= run->npages;
		run++;
	}
	*offset = page;
	return run;
}

/* How many pages from @gfn on, in run @i and those after it, are in @frames without a gap */
static u64 consecutive(const struct pviommu_mapping *map, u32 i, u64 gfn,
		       const struct pviommu_frames *frames)
{
	u64 first = gfn, lo, hi;

	for (; i < map->nr_runs; i++) {
		const struct pviommu_run *run = &map->runs[i];
		u64 run_last = run->gfn + run->npages - 1;

		if (gfn != max(run->gfn, first) ||
		    !pviommu_frames_next(frames, gfn, run_last, &lo, &hi) || lo != gfn)
			break;
		gfn = hi + 1;
		if (hi != run_last)
			break;
	}
	return gfn - first;
}

/**
 * pviommu_mapping_leads_to() - find the first pages of a mapping that map any of some frames
 * @map: the mapping, its domain locked or known to nobody else
 * @from: number of the page in the mapping to begin at, from 0
 * @frames: the frames
 * @page: set to the number of the first of these pages in the mapping
 * @npages: set to how many there are; they are contiguous in guest memory, but need not be
 *	in host memory
 *
 * Return: false if there is none; then @page and @npages are not set.
 */
bool pviommu_mapping_leads_to(const struct pviommu_mapping *map, u64 from,
			      const struct pviommu_frames *frames, u64 *page,
			      u64 *npages)
{
	u64 pos = 0, lo, hi, skip;
	u32 i;

	for (i = 0; i < map->nr_runs; pos += map->runs[i++].npages) {
		const struct pviommu_run *run = &map->runs[i];

		skip = from > pos ? from - pos : 0;
		if (skip >= run->npages ||
		    !pviommu_frames_next(frames, run->gfn + skip,
					 run->gfn + run->npages - 1, &lo, &hi))
			continue;
		*page = pos + (lo - run->gfn);
		*npages = consecutive(map, i, lo, frames);
		return true;
	}
	return false;
}

/*
 * Make a mapping of a part of @map, with its runs from @first on: @map itself if @keep, else
 * a new one.
 */
static struct pviommu_mapping *make_part(struct pviommu_domain *domain,
					 struct pviommu_mapping *map, bool keep,
					 u64 iova, u64 npages, u32 first, u32 nr_runs)
{
	struct pviommu_mapping *part = map;

	if (!keep)
		part = pviommu_mapping_alloc(domain, iova, npages, nr_runs,
					     PVIOMMU_GFP_FORCED);
	/* The machine is short of memory. Not charged, as that might sleep for a cgroup */
	if (!part)
		part = pviommu_mapping_alloc(domain, iova, npages, nr_runs,
					     GFP_KERNEL | __GFP_NOFAIL);
	part->pgshift = map->pgshift;
	part->was_large = map->was_large;
	part->prot = map->prot;
	part->loan = map->loan;
	part->it.start = iova;
	part->it.last = iova + (npages << PAGE_SHIFT) - 1;
	part->npages = npages;
	/* Before nr_runs changes, which bounds what may be accessed */
	memmove(part->runs, map->runs + first, nr_runs * sizeof(*map->runs));
	part->nr_runs = nr_runs;
	return part;
}

/**
 * pviommu_mapping_split() - cut a mapping in two
 * @domain: the domain, locked
 * @map: a mapping in its tree; freed on return, unless it is one of the two
 * @iova: page aligned, within @map but not at its start
 * @tail: set to the mapping from @iova on, in the tree too
 *
 * Can't fail, as unmapping must not: memory is allocated with __GFP_NOFAIL. @map becomes
 * the part that has more runs, unless these would fill no more than half of its room.
 *
 * Return: the mapping of what is before @iova.
 */
struct pviommu_mapping *pviommu_mapping_split(struct pviommu_domain *domain,
					      struct pviommu_mapping *map, u64 iova,
					      struct pviommu_mapping **tail)
{
	u64 keep = (iova - map->it.start) >> PAGE_SHIFT, rest = map->npages - keep, offset;
	u32 first = pviommu_mapping_run(map, keep, &offset) - map->runs;
	u32 nr_head = first + !!offset, nr_tail = map->nr_runs - first;
	bool fits = 2 * max(nr_head, nr_tail) > map->room;
	struct pviommu_mapping *head;

	lockdep_assert_held(&domain->lock);

	interval_tree_remove(&map->it, &domain->mappings);
	/* @map may become the second part made: the first one copies from it before */
	if (nr_head < nr_tail) {
		head = make_part(domain, map, false, map->it.start, keep, 0, nr_head);
		*tail = make_part(domain, map, fits, iova, rest, first, nr_tail);
	} else {
		*tail = make_part(domain, map, false, iova, rest, first, nr_tail);
		head = make_part(domain, map, fits, map->it.start, keep, 0, nr_head);
	}
	if (offset)
		head->runs[first].npages = offset;
	(*tail)->runs[0].gfn += offset;
	(*tail)->runs[0].hpfn += offset;
	(*tail)->runs[0].npages -= offset;
	if (head->loan)
		refcount_inc(&head->loan->pieces);
	if (!fits)
		pviommu_mapping_free(domain, map);
	interval_tree_insert(&head->it, &domain->mappings);
	interval_tree_insert(&(*tail)->it, &domain->mappings);
	pviommu_count(domain->vm, PVIOMMU_NR_MAPPINGS, 1);
	return head;
}
