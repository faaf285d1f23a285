// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings: the pages of domains, how MAP and MAP_LIST add them, and all the ways in which they
 * are removed.
 */
#include <stdlib.h>
#include <string.h>

#include "pv_model_priv.h"

/* ---- pages ----------------------------------------------------------- */

/* The number of the first block that ends behind @iova */
static unsigned int block_at(const struct model_domain *d, __u64 iova)
{
	unsigned int lo = 0, hi = d->nr_blocks, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (d->blocks[mid]->iova + (LARGE - 1) < iova)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct model_page *model_page(const struct model *m, const struct model_domain *d, __u64 iova)
{
	unsigned int at = block_at(d, iova);

	if (at == d->nr_blocks || iova < d->blocks[at]->iova)
		return NULL;
	return &d->blocks[at]->pages[iova % LARGE / PAGE];
}

struct model_page *model_page_make(struct model_domain *d, __u64 iova)
{
	unsigned int at = block_at(d, iova);

	if (at == d->nr_blocks || iova < d->blocks[at]->iova) {
		struct model_block *block = calloc(1, sizeof(*block));

		d->blocks = realloc(d->blocks, (d->nr_blocks + 1) * sizeof(*d->blocks));
		if (!block || !d->blocks)
			abort();
		memmove(d->blocks + at + 1, d->blocks + at,
			(d->nr_blocks++ - at) * sizeof(*d->blocks));
		block->iova = iova - iova % LARGE;
		d->blocks[at] = block;
	}
	return &d->blocks[at]->pages[iova % LARGE / PAGE];
}

const struct model_region *model_page_region(const struct model *m,
					     const struct model_page *page)
{
	return model_region(m, page->vm, page->gfn * PAGE);
}

/* ---- removing and flushing ----------------------------------------- */

/* Memory of a region, of a grant, or frames of the VM's own, that is leaving */
struct leaving {
	const struct model_region *region;
	const struct model_grant *grant;
	const __u64 *gfns;
	unsigned int nr;
};

/* Does a loan end, because of its memory or of its grant? */
static bool is_recalled(const struct model_loan *loan, const struct leaving *what)
{
	const struct model_region *r = what->region;
	const struct model_grant *g = what->grant;

	if (!loan)
		return false;
	if (r)
		return loan->vm == r->vm && loan->first < r->gpa + r->size && loan->last >= r->gpa;
	return g && loan->vm == g->vm && loan->first >= g->gpa && loan->last <= g->last;
}

/* Unpin pages that were flushed: all, or those of loans that end */
static void free_flushed(struct model_domain *d, const struct leaving *what)
{
	unsigned int i, left = 0;

	for (i = 0; i < d->nr_waiting; i++) {
		const struct model_waiting w = d->waiting[i];

		if (!w.flushed || (what && !is_recalled(w.loan, what))) {
			d->waiting[left++] = w;
			continue;
		}
		d->limbo[w.region] -= w.pages;
		d->limbo_mappings -= w.mappings;
		if (w.loan)
			w.loan->pages -= w.pages;
		if (w.loan && !w.loan->pages)
			free(w.loan);
	}
	d->nr_waiting = left;
}

static void sync_domain(struct model_domain *d)
{
	unsigned int i;

	for (i = 0; i < d->nr_waiting; i++)
		d->waiting[i].flushed = true;
	d->limbo_first = ALL;
	d->limbo_last = 0;
	d->flushes++;
}

void model_flush(struct model_domain *d)
{
	sync_domain(d);
	free_flushed(d, NULL);
}

void model_finish(struct model_domain *d)
{
	free_flushed(d, NULL);
}

/* Add a page; pages of the same kind are counted together */
static void wait_for_flush(struct model_domain *d, unsigned int region, struct model_loan *loan,
			   bool begins)
{
	struct model_waiting *w = d->waiting + d->nr_waiting - 1;

	if (!d->nr_waiting || w->region != region || w->loan != loan || w->flushed) {
		/* Grow by a hundred at a time */
		if (!(d->nr_waiting % 100)) {
			d->waiting = realloc(d->waiting, (d->nr_waiting + 100) * sizeof(*w));
			if (!d->waiting)
				abort();
		}
		w = &d->waiting[d->nr_waiting++];
		*w = (struct model_waiting) { .region = region, .loan = loan };
	}
	w->pages++;
	w->mappings += begins;
	d->limbo[region]++;
	d->limbo_mappings += begins;
}

/*
 * Remove a page, which may be the first one of a piece of a host's mapping; the rest of that is
 * a mapping again. Returns whether the next page is part of the same mapping.
 */
static bool remove_page(struct model *m, struct model_domain *d, __u64 iova, bool begins)
{
	struct model_page *page = model_page(m, d, iova);
	struct model_page *next = model_page(m, d, iova + PAGE);
	bool more = next && next->prot && !next->first;

	if (more) {
		next->first = true;
		m->mappings++;
	}
	if (page->first)
		m->mappings--;
	m->pages_mapped--;
	wait_for_flush(d, model_page_region(m, page) - m->regions, page->loan, begins);
	if (iova < d->limbo_first)
		d->limbo_first = iova;
	if (iova + PAGE - 1 > d->limbo_last)
		d->limbo_last = iova + PAGE - 1;
	page->prot = 0;
	page->first = false;
	page->loan = NULL;
	page->stale = d->flushes;
	return more;
}

__u64 model_remove(struct model *m, struct model_domain *d, __u64 iova, __u64 last)
{
	__u64 removed = 0, at, goes_on = ALL;
	unsigned int b, n;

	for (b = block_at(d, iova); b < d->nr_blocks && d->blocks[b]->iova <= last; b++) {
		for (n = 0; n < MODEL_BLOCK; n++) {
			at = d->blocks[b]->iova + n * PAGE;
			if (at < iova || at > last || !d->blocks[b]->pages[n].prot)
				continue;
			goes_on = remove_page(m, d, at, at != goes_on) ? at + PAGE : ALL;
			removed += PAGE;
		}
	}
	return removed;
}

static bool cuts_page(const struct model *m, const struct model_domain *d, __u64 iova)
{
	const struct model_page *page = model_page(m, d, iova);

	return page && page->prot && iova & ((1ULL << page->pgshift) - 1);
}

void model_forget(struct model *m, struct model_domain *d)
{
	model_remove(m, d, 0, ALL);
	while (d->nr_blocks)
		free(d->blocks[--d->nr_blocks]);
	free(d->blocks);
	d->blocks = NULL;
	model_flush(d);
	free(d->waiting);
	d->waiting = NULL;
	d->exists = false;
}

/* ---- memory that leaves ------------------------------------------------ */

static bool is_listed(const struct leaving *what, __u64 gfn)
{
	unsigned int i;

	for (i = 0; i < what->nr; i++)
		if (what->gfns[i] == gfn)
			return true;
	return false;
}

static bool leads_there(const struct model *m, const struct model_page *page,
			const struct leaving *what)
{
	const struct model_grant *g = what->grant;
	__u64 gpa = page->gfn * PAGE;

	if (!page->prot)
		return false;
	if (what->region)
		return model_page_region(m, page) == what->region;
	if (g)
		return page->vm == g->vm && gpa >= g->gpa && gpa <= g->last;
	return !page->vm && is_listed(what, page->gfn);
}

static void note_gone(struct model *m, __u32 domain, const struct model_page *page, __u64 iova)
{
	/* Grow by a thousand at a time */
	if (!(m->nr_gone % 1000)) {
		m->gone = realloc(m->gone, (m->nr_gone + 1000) * sizeof(*m->gone));
		if (!m->gone)
			abort();
	}
	m->gone[m->nr_gone++] = (struct model_gone) {
		.domain = domain, .vm = page->vm, .iova = iova, .gfn = page->gfn,
	};
}

/* Let a mapping begin here, if the page is mapped */
static void begin_mapping(struct model *m, struct model_page *page)
{
	if (!page || !page->prot || page->first)
		return;
	page->first = true;
	m->mappings++;
}

/* If only part of a large page leaves, the host makes small pages of it, in a mapping of its own */
static void take_apart(struct model *m, struct model_domain *d, struct model_block *block,
		       const struct leaving *what)
{
	unsigned int n, leave = 0;

	for (n = 0; n < MODEL_BLOCK; n++)
		leave += block->pages[n].pgshift == 21 && leads_there(m, &block->pages[n], what);
	if (!leave || leave == MODEL_BLOCK)
		return;
	begin_mapping(m, &block->pages[0]);
	begin_mapping(m, model_page(m, d, block->iova + LARGE));
	for (n = 0; n < MODEL_BLOCK; n++) {
		block->pages[n].pgshift = 12;
		block->pages[n].was_large = d->levels;
	}
}

/* Events name each page that goes */
static void revoke(struct model *m, __u32 domain, const struct leaving *what)
{
	struct model_domain *d = &m->domains[domain];
	unsigned int b, n;

	for (b = 0; d->exists && b < d->nr_blocks; b++)
		for (n = 0; n < MODEL_BLOCK; n++)
			if (leads_there(m, &d->blocks[b]->pages[n], what))
				note_gone(m, domain, &d->blocks[b]->pages[n],
					  d->blocks[b]->iova + n * PAGE);
	for (b = 0; d->exists && b < d->nr_blocks; b++) {
		take_apart(m, d, d->blocks[b], what);
		for (n = 0; n < MODEL_BLOCK; n++) {
			__u64 iova = d->blocks[b]->iova + n * PAGE;

			if (leads_there(m, &d->blocks[b]->pages[n], what))
				model_remove(m, d, iova, iova + PAGE - 1);
		}
	}
}

static void flush_all(struct model *m)
{
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++)
		if (m->domains[i].exists)
			model_flush(&m->domains[i]);
}

/*
 * Other VMs lose lent memory. A flush of a domain is for everything in its limbo, but then only
 * pages of the loans are unpinned, also those that were unmapped before.
 */
static void recall(struct model *m, const struct leaving *what)
{
	unsigned int i, k;
	bool any;

	for (i = 0; i < MODEL_DOMAINS; i++) {
		struct model_domain *d = &m->domains[i];

		revoke(m, i, what);
		for (any = false, k = 0; k < d->nr_waiting; k++)
			any |= is_recalled(d->waiting[k].loan, what);
		if (any) {
			sync_domain(d);
			free_flushed(d, what);
		}
	}
}

void model_region_leaves(struct model *m, unsigned int region)
{
	const struct leaving what = { .region = &m->regions[region] };
	unsigned int i;
	bool held = false;

	if (m->regions[region].vm)
		recall(m, &what);
	for (i = 0; i < MODEL_DOMAINS && !m->regions[region].vm; i++) {
		revoke(m, i, &what);
		held |= m->domains[i].limbo[region] > 0;
	}
	if (held)
		flush_all(m);
	m->regions[region].present = false;
}

void model_grant_ends(struct model *m, unsigned int grant)
{
	const struct leaving what = { .grant = &m->grants[grant] };

	recall(m, &what);
	m->grants[grant].present = false;
}

/* Does any domain map a page of the region, or have one that waits for a flush? */
static bool region_held(const struct model *m, const struct model_region *r)
{
	const struct leaving what = { .region = r };
	unsigned int i, b, n;

	for (i = 0; i < MODEL_DOMAINS; i++) {
		const struct model_domain *d = &m->domains[i];

		if (d->limbo[r - m->regions])
			return true;
		for (b = 0; d->exists && b < d->nr_blocks; b++)
			for (n = 0; n < MODEL_BLOCK; n++)
				if (leads_there(m, &d->blocks[b]->pages[n], &what))
					return true;
	}
	return false;
}

void model_pages_go(struct model *m, const __u64 *gfns, unsigned int nr)
{
	const struct leaving what = { .gfns = gfns, .nr = nr };
	const struct model_region *r;
	unsigned int i, d;
	bool held = false;

	for (i = 0; i < nr; i++)
		model_set_plain(m, gfns[i] * PAGE);
	/* The rings are in the first region */
	for (i = 0; i < nr; i++) {
		r = model_region(m, PVIOMMU_VM_SELF, gfns[i] * PAGE);
		held |= r == m->regions || region_held(m, r);
	}
	for (d = 0; held && d < MODEL_DOMAINS; d++)
		revoke(m, d, &what);
	if (held)
		flush_all(m);
}

/* ---- the checks of MAP and MAP_LIST --------------------------------- */

struct range {
	__u64 iova, last, npages;
	__u32 vm;
	__u32 prot;
	__u8 pgshift;
};

static __u32 check_prot(const struct range *range)
{
	if (range->prot & ~(PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE | PVIOMMU_PROT_NOEXEC))
		return PVIOMMU_EOPNOTSUPP;
	if (!(range->prot & (PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE)))
		return PVIOMMU_EINVAL;
	return range->pgshift == 12 || range->pgshift == 21 ? PVIOMMU_OK : PVIOMMU_EINVAL;
}

/* A domain with a guest-owned table takes no MAP */
static __u32 check_fillable(struct model *m, __u32 id)
{
	return model_check_domain(m, id) ?:
	       model_domain_of(m, id)->levels ? PVIOMMU_EOPNOTSUPP : PVIOMMU_OK;
}

bool model_reserved(const struct model *m, __u64 iova, __u64 last)
{
	unsigned int i;

	for (i = 0; i < m->nr_reserved; i++)
		if (iova <= m->reserved[i].last && last >= m->reserved[i].start)
			return true;
	return false;
}

static __u32 check_window(const struct model *m, const struct range *range)
{
	if (range->iova < m->window_start || range->last > m->window_last)
		return PVIOMMU_ERANGE;
	return model_reserved(m, range->iova, range->last) ? PVIOMMU_ERANGE : PVIOMMU_OK;
}

/* A range of another VM must be within one grant */
static __u32 check_grant(const struct model *m, const struct range *range, __u64 gpa, __u64 last)
{
	__u32 prot = range->prot & (PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE);
	unsigned int i;

	for (i = 0; range->vm && i < m->nr_grants; i++)
		if (m->grants[i].present && m->grants[i].vm == range->vm &&
		    gpa >= m->grants[i].gpa && last <= m->grants[i].last &&
		    !(prot & ~m->grants[i].prot))
			return PVIOMMU_OK;
	return range->vm ? PVIOMMU_EACCES : PVIOMMU_OK;
}

static __u32 map_args(const struct model *m, const struct pviommu_op *op, struct range *range)
{
	__u64 iova = op->map.iova, gpa = op->map.gpa, size = op->map.size;
	__u32 status;

	*range = (struct range) {
		.iova = iova, .last = iova + size - 1, .npages = size / PAGE,
		.prot = op->map.prot, .pgshift = op->map.pgshift, .vm = op->vm,
	};
	if (op->vm && !(m->accepted & PVIOMMU_F_FOREIGN))
		return PVIOMMU_EACCES;
	status = check_prot(range);
	if (status)
		return status;
	if (op->map.reserved[0] || op->map.reserved[1] || op->map.reserved[2] || !size ||
	    (iova | gpa | size) & ((1ULL << range->pgshift) - 1))
		return PVIOMMU_EINVAL;
	if (iova + (size - 1) < iova || gpa + (size - 1) < gpa)
		return PVIOMMU_ERANGE;
	return PVIOMMU_OK;
}

static __u32 list_args(const struct model *m, const struct pviommu_op *op, struct range *range)
{
	__u64 iova = op->list.iova, size = 0;
	__u32 status;

	*range = (struct range) {
		.iova = iova, .prot = op->list.prot, .pgshift = op->list.pgshift, .vm = op->vm,
	};
	if (op->vm && !(m->accepted & PVIOMMU_F_FOREIGN))
		return PVIOMMU_EACCES;
	status = check_prot(range);
	if (status)
		return status;
	if (op->list.reserved0 || op->list.reserved[0] || op->list.reserved[1] ||
	    op->list.reserved[2] || !op->list.count || op->list.count > PVIOMMU_LIST_MAX ||
	    op->list.list % PAGE || iova & ((1ULL << range->pgshift) - 1))
		return PVIOMMU_EINVAL;
	size = (__u64)op->list.count << range->pgshift;
	range->last = iova + size - 1;
	range->npages = size / PAGE;
	return iova + (size - 1) < iova ? PVIOMMU_ERANGE : PVIOMMU_OK;
}

/* A list, read as the host reads it; NULL if it can't be */
static const __u64 *list_at(const struct model *m, __u64 gpa, __u32 count)
{
	const struct model_region *region = model_region(m, PVIOMMU_VM_SELF, gpa);

	if (!model_all_ram(m, gpa, count * sizeof(__u64), false))
		return NULL;
	return (const __u64 *)(region->hva + (gpa - region->gpa));
}

/* The checks of RELEASE */
__u32 model_release(const struct model *m, const struct pviommu_op *op)
{
	const __u64 *list;
	__u32 i, k;

	if (op->release.reserved0 || op->release.reserved || !op->release.count ||
	    op->release.count > PVIOMMU_LIST_MAX || op->release.list % PAGE)
		return PVIOMMU_EINVAL;
	if (model_in_bypass(m))
		return PVIOMMU_EBUSY;
	list = list_at(m, op->release.list, op->release.count);
	if (!list)
		return PVIOMMU_EFAULT;
	for (i = 0; i < op->release.count; i++)
		for (k = 0; k < i; k++)
			if (list[i] == list[k])
				return PVIOMMU_EINVAL;
	for (i = 0; i < op->release.count; i++)
		if (list[i] >> 52 || !model_ram(m, PVIOMMU_VM_SELF, list[i] * PAGE, true))
			return PVIOMMU_EFAULT;
	return PVIOMMU_OK;
}

static bool in_arenas(const struct model *m, __u64 iova, __u64 last)
{
	unsigned int i;

	for (i = 0; i < MODEL_ARENAS; i++)
		if (iova >= m->arenas[i].iova &&
		    last - m->arenas[i].iova < m->arenas[i].npages * PAGE)
			return true;
	return false;
}

/* Any page could be a root, and lead anywhere. Pages made as tables lead to such pages only */
static bool is_known_table(const struct model *m, const struct pviommu_op *op)
{
	int levels = op->alloc.format == PVIOMMU_TABLE_X86_64_5 ? 5 : 4;
	unsigned int i;

	for (i = 0; i < m->nr_roots; i++)
		if (m->roots[i].gpa == op->alloc.root && m->roots[i].levels == levels)
			return true;
	return false;
}

bool model_can_tell(const struct model *m, const struct pviommu_op *op)
{
	struct range range;

	/* When an accepted RELEASE completes is open, and the host may refuse pages that it uses */
	if (op->code == PVIOMMU_OP_RELEASE)
		return model_release(m, op);
	if (op->code == PVIOMMU_OP_ALLOC && op->alloc.type == PVIOMMU_TYPE_TABLE)
		return model_check_table(m, op) || is_known_table(m, op);
	if (op->code == PVIOMMU_OP_MAP ? map_args(m, op, &range) :
	    op->code == PVIOMMU_OP_MAP_LIST ? list_args(m, op, &range) : 1)
		return true;
	return check_window(m, &range) || in_arenas(m, range.iova, range.last);
}

/* ---- MAP, MAP_LIST --------------------------------------------------- */

/* The loan of an op that maps memory of another VM */
static struct model_loan *make_loan(const struct range *range, const __u64 *gfns, __u64 gfn,
				    __u64 n)
{
	struct model_loan *loan = calloc(1, sizeof(*loan));
	__u64 i;

	if (!loan)
		abort();
	*loan = (struct model_loan) { .vm = range->vm, .first = ALL, .pages = n };
	for (i = 0; i < n; i++) {
		__u64 gpa = (gfns ? gfns[i] : gfn + i) * PAGE;

		if (gpa < loan->first)
			loan->first = gpa;
		if (gpa + PAGE - 1 > loan->last)
			loan->last = gpa + PAGE - 1;
	}
	return loan;
}

/* Map the pages of one mapping of the host: frames @gfns[], or from @gfn on */
static __u32 map_pages(struct model *m, struct model_domain *d, const struct range *range,
		       __u64 iova, const __u64 *gfns, __u64 gfn, __u64 n)
{
	bool write = range->prot & PVIOMMU_PROT_WRITE;
	struct model_loan *loan = NULL;
	struct model_page *page;
	__u64 i;

	if (model_nr_mappings(m) + 1 > m->max_mappings)
		return PVIOMMU_ENOSPC;
	for (i = 0; i < n; i++) {
		__u64 gpa = (gfns ? gfns[i] : gfn + i) * PAGE;

		if (!model_ram(m, range->vm, gpa, false))
			return PVIOMMU_EFAULT;
		if (!model_ram(m, range->vm, gpa, write))
			return PVIOMMU_EACCES;
	}
	for (i = 0; i < n; i++) {
		page = model_page(m, d, iova + i * PAGE);
		if (page && page->prot)
			return PVIOMMU_EEXIST;
	}
	if (range->vm)
		loan = make_loan(range, gfns, gfn, n);
	for (i = 0; i < n; i++) {
		page = model_page_make(d, iova + i * PAGE);
		page->gfn = gfns ? gfns[i] : gfn + i;
		page->vm = range->vm;
		page->prot = range->prot;
		page->pgshift = range->pgshift;
		page->first = !i;
		page->loan = loan;
	}
	m->mappings++;
	m->pages_mapped += n;
	return PVIOMMU_OK;
}

/* A failed op maps nothing: what it has mapped is removed, flushed and unpinned */
static __u32 undo(struct model *m, struct model_domain *d, __u64 iova, __u64 npages,
		  __u32 status)
{
	if (npages) {
		model_remove(m, d, iova, iova + npages * PAGE - 1);
		model_flush(d);
	}
	return status;
}

__u32 model_map(struct model *m, struct pviommu_op *op)
{
	struct model_domain *d;
	struct range range;
	__u64 done, n;
	__u32 status;

	status = map_args(m, op, &range) ?: check_fillable(m, op->domain) ?:
		 check_window(m, &range) ?:
		 check_grant(m, &range, op->map.gpa, op->map.gpa + op->map.size - 1);
	if (status)
		return status;
	d = model_domain_of(m, op->domain);
	for (done = 0; done < range.npages; done += n) {
		n = range.npages - done < CHUNK ? range.npages - done : CHUNK;
		status = map_pages(m, d, &range, range.iova + done * PAGE, NULL,
				   op->map.gpa / PAGE + done, n);
		if (status)
			return undo(m, d, range.iova, done, status);
	}
	op->result = op->map.size;
	return PVIOMMU_OK;
}

/* Check that all frames are addresses; then the grant, for the range that they span */
static __u32 check_list(const struct model *m, const struct range *range, const __u64 *list,
			__u32 count)
{
	__u64 first = ALL, last = 0;
	__u32 i;

	for (i = 0; i < count; i++) {
		if (list[i] >> (64 - range->pgshift))
			return PVIOMMU_EFAULT;
		first = list[i] < first ? list[i] : first;
		last = list[i] > last ? list[i] : last;
	}
	return check_grant(m, range, first << range->pgshift,
			   (last << range->pgshift) + ((1ULL << range->pgshift) - 1));
}

__u32 model_map_list(struct model *m, struct pviommu_op *op)
{
	const __u64 *list;
	struct model_domain *d;
	struct range range;
	__u32 status, i;

	status = list_args(m, op, &range) ?: check_fillable(m, op->domain) ?:
		 check_window(m, &range);
	if (status)
		return status;
	if (model_nr_mappings(m) + 1 > m->max_mappings)
		return PVIOMMU_ENOSPC;
	d = model_domain_of(m, op->domain);
	list = list_at(m, op->list.list, op->list.count);
	if (!list)
		return PVIOMMU_EFAULT;
	status = check_list(m, &range, list, op->list.count);
	if (status)
		return status;
	if (range.pgshift == 12)
		status = map_pages(m, d, &range, range.iova, list, 0, op->list.count);
	for (i = 0; range.pgshift != 12 && i < op->list.count && !status; i++) {
		status = map_pages(m, d, &range, range.iova + i * CHUNK * PAGE, NULL,
				   list[i] * CHUNK, CHUNK);
		if (status)
			undo(m, d, range.iova, (__u64)i * CHUNK, status);
	}
	if (!status)
		op->result = range.npages * PAGE;
	return status;
}

/* ---- UNMAP and LOOKUP ------------------------------------------------ */

__u32 model_unmap(struct model *m, struct pviommu_op *op)
{
	__u64 iova = op->unmap.iova, size = op->unmap.size, last = ALL;
	bool all = op->flags & PVIOMMU_UNMAP_F_ALL;
	struct model_domain *d;

	if (op->unmap.reserved[0] | op->unmap.reserved[1])
		return PVIOMMU_EINVAL;
	if (all ? iova || size : !size || (iova | size) % PAGE)
		return PVIOMMU_EINVAL;
	if (!all) {
		last = iova + (size - 1);
		if (last < iova)
			return PVIOMMU_ERANGE;
	}
	if (check_fillable(m, op->domain))
		return check_fillable(m, op->domain);
	d = model_domain_of(m, op->domain);
	if (cuts_page(m, d, iova) || (last != ALL && cuts_page(m, d, last + 1)))
		return PVIOMMU_EINVAL;
	op->result = model_remove(m, d, iova, last);
	return PVIOMMU_OK;
}

__u32 model_lookup(struct model *m, struct pviommu_op *op)
{
	__u64 iova = op->lookup.iova, mask = PAGE - 1;
	const struct model_domain *d = model_domain_of(m, op->domain);
	const struct model_page *page;

	if (op->lookup.gpa || op->lookup.size || op->lookup.prot || op->lookup.pgshift ||
	    op->lookup.reserved[0] || op->lookup.reserved[1] || op->lookup.reserved[2])
		return PVIOMMU_EINVAL;
	if (op->domain == PVIOMMU_DOMAIN_BYPASS) {
		if (!model_ram(m, PVIOMMU_VM_SELF, iova, false))
			return PVIOMMU_ENOENT;
		op->lookup.gpa = iova;
		op->lookup.prot = PVIOMMU_PROT_READ;
		if (model_ram(m, PVIOMMU_VM_SELF, iova, true))
			op->lookup.prot |= PVIOMMU_PROT_WRITE;
		op->lookup.pgshift = 12;
	} else {
		page = d ? model_page(m, d, iova) : NULL;
		if (!page || !page->prot)
			return PVIOMMU_ENOENT;
		op->lookup.gpa = page->gfn * PAGE + iova % PAGE;
		op->lookup.prot = page->prot | (page->vm ? PVIOMMU_PROT_FOREIGN : 0);
		op->lookup.pgshift = page->pgshift;
		mask = (1ULL << page->pgshift) - 1;
	}
	op->lookup.size = mask + 1 - (iova & mask);
	return PVIOMMU_OK;
}

