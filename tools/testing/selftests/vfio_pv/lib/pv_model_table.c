// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-owned tables: what a look at a range of IOVAs finds, entry by entry, from the root down;
 * what it changes in the domain; and at which places pages are watched.
 *
 * A domain has what the last INVALIDATE of each IOVA has found, and what CPUs have added to
 * watched tables since. Other changes of entries make no difference.
 */
#include <string.h>

#include "pv_model_priv.h"

#define ENTRIES		512
#define ENTRY_P		0x1ULL
#define ENTRY_W		0x2ULL
#define ENTRY_PS	0x80ULL
#define ENTRY_PAT	0x1000ULL
#define ENTRY_XD	0x8000000000000000ULL
#define ENTRY_ADDR	0x000ffffffffff000ULL

#define MAX_PLACES	8	/* at which a page is watched */

/* A look, and how far it has got */
struct look {
	struct model *m;
	struct model_domain *d;
	__u32 domain;
	__u64 iova, last;
	bool add;		/* only add: what is mapped stays */
	__u64 *count;		/* if set, only count the pages of entries */
	__u64 at;		/* the IOVA up to which it is done */
	__u32 status;
};

/* A table on the path of a look, with the ones above it */
struct table {
	const struct table *above;
	int level;
	__u64 gpa;
	__u64 iova;		/* first IOVA that it translates */
	bool write, noexec;	/* by the entries of the path */
};

/* Entries of the same kind, as far as the look goes */
struct stretch {
	const struct table *t;
	unsigned int first, nr;
	__u64 iova, last;	/* what they translate of the look's range */
};

static __u64 span(int level)
{
	return PAGE << 9 * (level - 1);
}

static __u64 entry_gpa(const struct table *t, unsigned int i)
{
	return t->gpa + i * sizeof(__u64);
}

static __u64 entry(const struct look *l, const struct table *t, unsigned int i)
{
	const struct model_region *r = model_region(l->m, PVIOMMU_VM_SELF, t->gpa);

	return *(const __u64 *)(r->hva + (entry_gpa(t, i) - r->gpa));
}

static struct stretch stretch(const struct look *l, const struct table *t, unsigned int i,
			      unsigned int nr)
{
	__u64 iova = t->iova + i * span(t->level);
	__u64 last = iova + nr * span(t->level) - 1;

	return (struct stretch) {
		.t = t, .first = i, .nr = nr,
		.iova = iova < l->iova ? l->iova : iova,
		.last = last > l->last ? l->last : last,
	};
}

/* Of the first of these entries on, which of the table are looked at */
static bool wanted(const struct look *l, const struct table *t, unsigned int i)
{
	__u64 iova = t->iova + i * span(t->level);

	return iova <= l->last && iova + (span(t->level) - 1) >= l->iova;
}

/* ---- watching ----------------------------------------------------------- */

static unsigned int find_place(const struct model *m, __u32 domain, int level, __u64 iova)
{
	unsigned int i;

	for (i = 0; i < m->nr_places; i++)
		if (m->places[i].domain == domain && m->places[i].level == level &&
		    m->places[i].iova == iova)
			break;
	return i;
}

static void drop_place(struct model *m, unsigned int i)
{
	m->nr_places--;
	memmove(m->places + i, m->places + i + 1, (m->nr_places - i) * sizeof(*m->places));
}

static unsigned int places_of(const struct model *m, __u64 gfn)
{
	unsigned int i, n = 0;

	for (i = 0; i < m->nr_places; i++)
		n += m->places[i].gfn == gfn;
	return n;
}

bool model_watched(const struct model *m, __u64 gpa)
{
	return places_of(m, gpa / PAGE);
}

void model_unwatch(struct model *m, __u32 domain)
{
	unsigned int i = 0;

	while (i < m->nr_places)
		if (m->places[i].domain == domain)
			drop_place(m, i);
		else
			i++;
}

/* Watch the page of a table, before it is read. False if it can't be */
static bool watch(struct look *l, const struct table *t)
{
	const struct model_region *r = model_region(l->m, PVIOMMU_VM_SELF, t->gpa);
	unsigned int at = find_place(l->m, l->domain, t->level, t->iova);

	if (!l->d->watch || l->count)
		return true;
	if (at < l->m->nr_places && l->m->places[at].gfn == t->gpa / PAGE)
		return true;
	if (at < l->m->nr_places)
		drop_place(l->m, at);
	/* CPUs can't store there */
	if (!r || !r->kvm)
		return true;
	if (places_of(l->m, t->gpa / PAGE) >= MAX_PLACES || l->m->nr_places == MODEL_PLACES)
		return false;
	if (model_typed(l->m, t->gpa))
		return false;
	l->m->places[l->m->nr_places++] = (struct model_place) {
		.domain = l->domain, .level = t->level, .iova = t->iova, .gfn = t->gpa / PAGE,
	};
	return true;
}

/* These entries link no tables (any more): stop watching what was below. Not after a store */
static void unwatch_below(struct look *l, const struct stretch *s)
{
	__u64 iova = s->iova - s->iova % span(s->t->level);
	__u64 last = s->last | (span(s->t->level) - 1);
	unsigned int i = 0;

	if (l->add)
		return;
	while (i < l->m->nr_places) {
		const struct model_place *p = &l->m->places[i];

		if (p->domain == l->domain && p->level < s->t->level && p->iova >= iova &&
		    p->iova <= last)
			drop_place(l->m, i);
		else
			i++;
	}
}

/* ---- changing the domain -------------------------------------------------- */

static void tell_bad(struct look *l, __u64 iova, __u64 last, __u64 gpa, unsigned int reason)
{
	if (l->m->nr_bad < MODEL_BAD)
		l->m->bad[l->m->nr_bad] = (struct model_bad) {
			.domain = l->domain, .reason = reason, .iova = iova,
			.size = last - iova + 1, .gpa = gpa,
		};
	l->m->nr_bad++;
}

/* Extend a range to the bounds of the pages that are mapped at its ends */
static void whole_pages(const struct look *l, __u64 *iova, __u64 *last)
{
	const struct model_page *first = model_page(l->m, l->d, *iova);
	const struct model_page *end = model_page(l->m, l->d, *last);

	if (first && first->prot)
		*iova &= -(1ULL << first->pgshift);
	if (end && end->prot)
		*last |= (1ULL << end->pgshift) - 1;
}

static bool was_large(const struct look *l, __u64 iova)
{
	const struct model_page *page = model_page(l->m, l->d, iova - iova % LARGE);
	unsigned int n;

	for (n = 0; page && n < MODEL_BLOCK; n++)
		if (page[n].prot && page[n].was_large)
			return true;
	return false;
}

/* The same for large pages that the host has split */
static void once_large_pages(const struct look *l, __u64 *iova, __u64 *last)
{
	if (was_large(l, *iova))
		*iova &= -LARGE;
	if (was_large(l, *last))
		*last |= LARGE - 1;
}

static void clear(struct look *l, __u64 iova, __u64 last)
{
	whole_pages(l, &iova, &last);
	model_remove(l->m, l->d, iova, last);
}

static bool mapped(const struct look *l, __u64 iova)
{
	const struct model_page *page = model_page(l->m, l->d, iova);

	return page && page->prot;
}

static bool any_mapped(const struct look *l, __u64 iova, __u64 last)
{
	unsigned int b, n;

	for (b = 0; b < l->d->nr_blocks; b++)
		for (n = 0; n < MODEL_BLOCK; n++) {
			__u64 at = l->d->blocks[b]->iova + n * PAGE;

			if (at >= iova && at <= last && l->d->blocks[b]->pages[n].prot)
				return true;
		}
	return false;
}

/* The pages of an entry, or of adjacent entries */
struct pages {
	__u64 iova;
	const __u64 *gfns;
	unsigned int nr;
	__u32 prot;
	__u8 pgshift;
	__u64 gpa;		/* of the first entry */
};

static bool is_there(const struct look *l, const struct pages *p, unsigned int i)
{
	const struct model_page *page = model_page(l->m, l->d, p->iova + i * PAGE);

	return page && page->prot == p->prot && page->pgshift == p->pgshift &&
	       page->gfn == p->gfns[i];
}

static bool is_ram(const struct look *l, const struct pages *p)
{
	unsigned int i;

	for (i = 0; i < p->nr; i++)
		if (!model_ram(l->m, PVIOMMU_VM_SELF, p->gfns[i] * PAGE,
			       p->prot & PVIOMMU_PROT_WRITE))
			return false;
	return true;
}

/* Map them as one mapping of the host; returns the reason if they are bad, or 0 */
static unsigned int map_together(struct look *l, const struct pages *p)
{
	struct model_page *page;
	unsigned int i;

	if (model_reserved(l->m, p->iova, p->iova + p->nr * PAGE - 1))
		return PVIOMMU_BAD_IOVA;
	if (model_nr_mappings(l->m) + 1 > l->m->max_mappings) {
		l->status = PVIOMMU_ENOSPC;
		return 0;
	}
	if (!is_ram(l, p))
		return PVIOMMU_BAD_PAGE;
	for (i = 0; i < p->nr; i++) {
		page = model_page_make(l->d, p->iova + i * PAGE);
		*page = (struct model_page) {
			.gfn = p->gfns[i], .prot = p->prot, .pgshift = p->pgshift,
			.first = !i, .stale = page->stale,
		};
	}
	l->m->mappings++;
	l->m->pages_mapped += p->nr;
	return 0;
}

static struct pages some_pages(const struct pages *p, unsigned int first, unsigned int nr)
{
	struct pages some = *p;

	some.iova += first * PAGE;
	some.gfns += first;
	some.nr = nr;
	some.gpa += p->pgshift == 12 ? first * sizeof(__u64) : 0;
	return some;
}

static void tell_bad_pages(struct look *l, const struct pages *p, unsigned int reason)
{
	tell_bad(l, p->iova, p->iova + p->nr * PAGE - 1, p->gpa, reason);
}

/* Map them one by one; adjacent bad ones share an event */
static void map_singly(struct look *l, const struct pages *p)
{
	unsigned int reason[CHUNK] = {}, i, n;

	for (i = 0; i < p->nr && !l->status; i++) {
		struct pages one = some_pages(p, i, 1);

		reason[i] = map_together(l, &one);
	}
	for (i = 0; i < p->nr; i += n) {
		struct pages bad;

		for (n = 1; i + n < p->nr && reason[i + n] == reason[i]; n++)
			;
		bad = some_pages(p, i, n);
		if (reason[i])
			tell_bad_pages(l, &bad, reason[i]);
	}
}

static void map_alike(struct look *l, const struct pages *p)
{
	unsigned int reason = map_together(l, p);

	if (reason && p->nr > 1 && p->pgshift == 12)
		map_singly(l, p);
	else if (reason)
		tell_bad_pages(l, p, reason);
}

/* Must this page be mapped: is it another page, or is none mapped if it is only added? */
static bool is_new(const struct look *l, const struct pages *p, unsigned int i)
{
	return l->add ? !mapped(l, p->iova + i * PAGE) : !is_there(l, p, i);
}

static void map_new(struct look *l, const struct pages *p)
{
	struct pages some;
	unsigned int i, n;

	if (l->count)
		*l->count += p->nr;
	for (i = 0; i < p->nr && !l->status && !l->count; i += n) {
		bool new = is_new(l, p, i);

		for (n = 1; i + n < p->nr && is_new(l, p, i + n) == new; n++)
			;
		/* A large page is one mapping */
		if (p->pgshift != 12 && n < p->nr) {
			if (l->add)
				return;
			new = true;
			n = p->nr;
		}
		if (!new)
			continue;
		some = some_pages(p, i, n);
		if (!l->add)
			clear(l, some.iova, some.iova + n * PAGE - 1);
		map_alike(l, &some);
	}
}

static void nothing_there(struct look *l, const struct stretch *s)
{
	unwatch_below(l, s);
	if (!l->add)
		clear(l, s->iova, s->last);
	l->at = s->last + 1;
}

static void bad_there(struct look *l, const struct stretch *s, unsigned int reason)
{
	bool tell = !l->count && (!l->add || !any_mapped(l, s->iova, s->last));

	nothing_there(l, s);
	if (tell)
		tell_bad(l, s->iova, s->last, entry_gpa(s->t, s->first), reason);
}

/* ---- entries ---------------------------------------------------------------- */

static __u32 rights(const struct table *t, __u64 value)
{
	return PVIOMMU_PROT_READ |
	       (t->write && value & ENTRY_W ? PVIOMMU_PROT_WRITE : 0) |
	       (t->noexec || value & ENTRY_XD ? PVIOMMU_PROT_NOEXEC : 0);
}

/* Adjacent entries of 4 KiB with the same rights, or holes */
static void look_at_pages(struct look *l, const struct table *t)
{
	unsigned int i, n, k;
	__u64 gfns[ENTRIES];

	for (i = 0; i < ENTRIES && !l->status; i += n) {
		__u64 value = entry(l, t, i);
		struct stretch s;

		n = 1;
		if (!wanted(l, t, i))
			continue;
		while (i + n < ENTRIES && wanted(l, t, i + n) &&
		       (entry(l, t, i + n) & ENTRY_P) == (value & ENTRY_P) &&
		       (!(value & ENTRY_P) || rights(t, entry(l, t, i + n)) == rights(t, value)))
			n++;
		s = stretch(l, t, i, n);
		if (!(value & ENTRY_P)) {
			nothing_there(l, &s);
			continue;
		}
		for (k = 0; k < n; k++)
			gfns[k] = (entry(l, t, i + k) & ENTRY_ADDR) / PAGE;
		map_new(l, &(struct pages) {
			.iova = s.iova, .gfns = gfns, .nr = n, .prot = rights(t, value),
			.pgshift = 12, .gpa = entry_gpa(t, i),
		});
		if (!l->status)
			l->at = s.last + 1;
	}
}

/* A page of 2 MiB, or of 1 GiB: those of its large pages that the look touches */
static void look_at_large_page(struct look *l, const struct table *t, unsigned int i, __u64 value)
{
	struct stretch s = stretch(l, t, i, 1);
	__u64 base = t->iova + i * span(t->level), iova, gpa;
	__u64 gfns[CHUNK];
	unsigned int k;

	if (t->level > 3 || value & ENTRY_ADDR & (span(t->level) - 1) & ~ENTRY_PAT) {
		bad_there(l, &s, PVIOMMU_BAD_RESERVED);
		return;
	}
	unwatch_below(l, &s);
	for (iova = s.iova - s.iova % LARGE; iova < s.last && !l->status; iova += LARGE) {
		gpa = (value & ENTRY_ADDR & -span(t->level)) + (iova - base);
		for (k = 0; k < CHUNK; k++)
			gfns[k] = gpa / PAGE + k;
		map_new(l, &(struct pages) {
			.iova = iova, .gfns = gfns, .nr = CHUNK, .prot = rights(t, value),
			.pgshift = 21, .gpa = entry_gpa(t, i),
		});
		if (!l->status)
			l->at = iova + LARGE;
	}
}

static bool is_above(const struct table *t, __u64 gpa)
{
	for (; t; t = t->above)
		if (t->gpa == gpa)
			return true;
	return false;
}

static void look_at_table(struct look *l, const struct table *t);

static void look_at_entry(struct look *l, const struct table *t, unsigned int i)
{
	struct stretch s = stretch(l, t, i, 1);
	__u64 value = entry(l, t, i);

	if (!(value & ENTRY_P))
		nothing_there(l, &s);
	else if (value & ENTRY_PS)
		look_at_large_page(l, t, i, value);
	else if (is_above(t, value & ENTRY_ADDR))
		bad_there(l, &s, PVIOMMU_BAD_LOOP);
	else if (!model_ram(l->m, PVIOMMU_VM_SELF, value & ENTRY_ADDR, false))
		bad_there(l, &s, PVIOMMU_BAD_TABLE);
	else
		look_at_table(l, &(struct table) {
			.above = t, .level = t->level - 1, .gpa = value & ENTRY_ADDR,
			.iova = t->iova + i * span(t->level),
			.write = t->write && value & ENTRY_W,
			.noexec = t->noexec || value & ENTRY_XD,
		});
}

static void look_at_table(struct look *l, const struct table *t)
{
	unsigned int i, first = 0, nr = 0;
	struct stretch all;

	for (i = 0; i < ENTRIES; i++)
		if (wanted(l, t, i) && !nr++)
			first = i;
	all = stretch(l, t, first, nr);
	if (!watch(l, t)) {
		bad_there(l, &all, PVIOMMU_BAD_WATCH);
	} else if (!model_ram(l->m, PVIOMMU_VM_SELF, t->gpa, false)) {
		bad_there(l, &all, PVIOMMU_BAD_TABLE);
	} else if (t->level == 1) {
		look_at_pages(l, t);
	} else {
		for (i = first; i < first + nr && !l->status; i++)
			look_at_entry(l, t, i);
	}
}

/* ---- looks ------------------------------------------------------------------- */

static void look_from_root(struct look *l)
{
	look_at_table(l, &(struct table) {
		.level = l->d->levels, .gpa = l->d->root, .write = true,
	});
}

/* Limit a range to the window and the format. False if nothing is left */
static bool clip(struct look *l)
{
	__u64 last = span(l->d->levels + 1) - 1;

	if (l->iova < l->m->window_start)
		l->iova = l->m->window_start;
	if (l->last > l->m->window_last)
		l->last = l->m->window_last;
	if (l->last > last)
		l->last = last;
	l->at = l->iova;
	return l->iova <= l->last;
}

__u32 model_look(struct model *m, __u32 domain, __u64 iova, __u64 last, __u64 *result)
{
	struct look l = {
		.m = m, .d = &m->domains[domain], .domain = domain, .iova = iova, .last = last,
	};

	if (!clip(&l))
		return PVIOMMU_OK;
	/* If a large page is mapped, look at all of it */
	whole_pages(&l, &l.iova, &l.last);
	once_large_pages(&l, &l.iova, &l.last);
	l.at = l.iova;
	look_from_root(&l);
	if (l.status)
		*result = l.at;
	return l.status;
}

/* Look at each place of the page that was stored to */
static void look_at_places(struct model *m, __u64 gpa, __u64 *count)
{
	struct model_place places[MAX_PLACES];
	unsigned int i, n = 0;

	for (i = 0; i < m->nr_places; i++)
		if (m->places[i].gfn == gpa / PAGE)
			places[n++] = m->places[i];
	for (i = 0; i < n; i++) {
		const struct model_place *p = &places[i];
		struct look l = {
			.m = m, .d = &m->domains[p->domain], .domain = p->domain, .add = true,
			.iova = p->iova + gpa % PAGE / 8 * span(p->level), .count = count,
		};

		l.last = l.iova + (span(p->level) - 1);
		if (!clip(&l))
			continue;
		look_from_root(&l);
		if (l.status)
			tell_bad(&l, l.at, l.last, 0, PVIOMMU_BAD_UNSEEN);
	}
}

void model_written(struct model *m, __u64 gpa)
{
	look_at_places(m, gpa, NULL);
}

__u64 model_work(struct model *m, __u64 gpa)
{
	__u64 count = 0;

	look_at_places(m, gpa, &count);
	return count;
}

__u32 model_check_table(const struct model *m, const struct pviommu_op *op)
{
	if (!(m->accepted & PVIOMMU_F_TABLES))
		return PVIOMMU_EOPNOTSUPP;
	if (op->flags & PVIOMMU_ALLOC_F_WATCH && !m->tracked)
		return PVIOMMU_EOPNOTSUPP;
	if (op->alloc.format != PVIOMMU_TABLE_X86_64_4 &&
	    op->alloc.format != PVIOMMU_TABLE_X86_64_5)
		return PVIOMMU_EOPNOTSUPP;
	if (op->alloc.root % PAGE)
		return PVIOMMU_EINVAL;
	return model_ram(m, PVIOMMU_VM_SELF, op->alloc.root, false) ? PVIOMMU_OK : PVIOMMU_EFAULT;
}
