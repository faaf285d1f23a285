// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "pv_model.h"
#include "pv_sys.h"

#define PAGE		0x1000ULL
#define CHUNK		512	/* pages of one of the host's mappings, at most */
#define ALL		(~0ULL)

/* ---- state --------------------------------------------------------- */

bool model_init(struct model *m)
{
	unsigned int i;

	m->pages_per_domain = 0;
	for (i = 0; i < MODEL_ARENAS; i++) {
		m->arenas[i].first = m->pages_per_domain;
		m->pages_per_domain += m->arenas[i].npages;
	}
	for (i = 0; i < MODEL_DOMAINS; i++) {
		m->domains[i].pages = calloc(m->pages_per_domain, sizeof(struct model_page));
		if (!m->domains[i].pages)
			return false;
	}
	return true;
}

void model_exit(struct model *m)
{
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++)
		free(m->domains[i].pages);
}

struct model_page *model_page(const struct model *m, const struct model_domain *d, __u64 iova)
{
	unsigned int i;

	for (i = 0; i < MODEL_ARENAS; i++) {
		const struct model_arena *a = &m->arenas[i];

		if (iova >= a->iova && (iova - a->iova) / PAGE < a->npages)
			return &d->pages[a->first + (iova - a->iova) / PAGE];
	}
	return NULL;
}

const struct model_region *model_region(const struct model *m, __u32 vm, __u64 gpa)
{
	unsigned int i;

	for (i = 0; i < m->nr_regions; i++)
		if (m->regions[i].present && m->regions[i].vm == vm && gpa >= m->regions[i].gpa &&
		    gpa - m->regions[i].gpa < m->regions[i].size)
			return &m->regions[i];
	return NULL;
}

static bool ram(const struct model *m, __u32 vm, __u64 gpa, bool write)
{
	const struct model_region *region = model_region(m, vm, gpa);

	return region && region->ram && (!write || region->writable);
}

/* All of [gpa, gpa + len) */
static bool all_ram(const struct model *m, __u64 gpa, __u64 len, bool write)
{
	__u64 i, n;

	for (i = 0; i < len; i += n) {
		if (gpa + i < gpa || !ram(m, PVIOMMU_VM_SELF, gpa + i, write))
			return false;
		n = PAGE - (gpa + i) % PAGE;
	}
	return true;
}

/* The domain of an op; NULL if there is none */
static struct model_domain *domain_of(struct model *m, __u32 id)
{
	if (id < PVIOMMU_DOMAIN_FIRST || id >= MODEL_DOMAINS || !m->domains[id].exists)
		return NULL;
	return &m->domains[id];
}

static struct model_endpoint *endpoint_of(struct model *m, __u32 id)
{
	unsigned int i;

	for (i = 0; id && i < m->nr_endpoints; i++)
		if (m->endpoints[i].id == id)
			return &m->endpoints[i];
	return NULL;
}

static bool in_use(const struct model *m, __u32 domain)
{
	unsigned int i, p;

	for (i = 0; i < m->nr_endpoints; i++) {
		if (m->endpoints[i].domain == domain)
			return true;
		for (p = 1; p < MODEL_PASIDS; p++)
			if (m->endpoints[i].pasids[p] == domain)
				return true;
	}
	return false;
}

bool model_in_bypass(const struct model *m)
{
	return in_use(m, PVIOMMU_DOMAIN_BYPASS);
}

__u64 model_nr_domains(const struct model *m)
{
	__u64 n = in_use(m, PVIOMMU_DOMAIN_BYPASS);
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++)
		n += m->domains[i].exists;
	return n;
}

__u64 model_pinned(const struct model *m)
{
	bool bypass = in_use(m, PVIOMMU_DOMAIN_BYPASS);
	__u64 n = m->iface_pages + m->pages_mapped;
	unsigned int i, r;

	for (r = 0; r < m->nr_regions; r++) {
		if (bypass && m->regions[r].present && m->regions[r].ram && !m->regions[r].vm)
			n += m->regions[r].size / PAGE;
		for (i = 0; i < MODEL_DOMAINS; i++)
			n += m->domains[i].limbo[r];
	}
	return n;
}

__u64 model_nr_mappings(const struct model *m)
{
	__u64 n = m->mappings;
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++)
		n += m->domains[i].limbo_mappings;
	return n;
}

void model_attach(struct model *m, unsigned int ep, __u32 domain)
{
	unsigned int i;

	for (i = 0; i < m->nr_endpoints; i++)
		if (m->endpoints[i].group == m->endpoints[ep].group)
			m->endpoints[i].domain = domain;
}

static void attach_pasid(struct model *m, const struct model_endpoint *ep, __u32 pasid,
			 __u32 domain)
{
	unsigned int i;

	for (i = 0; i < m->nr_endpoints; i++)
		if (m->endpoints[i].group == ep->group)
			m->endpoints[i].pasids[pasid] = domain;
}

static void block_pasids(struct model *m, const struct model_endpoint *ep)
{
	__u32 p;

	for (p = 0; p < MODEL_PASIDS; p++)
		attach_pasid(m, ep, p, PVIOMMU_DOMAIN_BLOCKED);
}

void model_close(struct model *m, unsigned int ep)
{
	unsigned int i;

	m->endpoints[ep].id = 0;
	for (i = 0; i < m->nr_endpoints; i++)
		if (m->endpoints[i].group == m->endpoints[ep].group && m->endpoints[i].id)
			return;
	model_attach(m, ep, PVIOMMU_DOMAIN_BLOCKED);
	block_pasids(m, &m->endpoints[ep]);
}

/* ---- removing and flushing ----------------------------------------- */

static const struct model_region *page_region(const struct model *m,
					      const struct model_page *page)
{
	return model_region(m, page->vm, page->gfn * PAGE);
}

static void flush(struct model_domain *d)
{
	memset(d->limbo, 0, sizeof(d->limbo));
	d->limbo_first = ALL;
	d->limbo_last = 0;
	d->limbo_mappings = 0;
	d->flushes++;
}

static void flush_range(struct model_domain *d, __u64 iova, __u64 last)
{
	if (iova <= d->limbo_last && last >= d->limbo_first)
		flush(d);
}

/*
 * One page; what is left of the host's mapping is a mapping again. Whether the page
 * after it was of the same.
 */
static bool remove_page(struct model *m, struct model_domain *d, __u64 iova)
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
	d->limbo[page_region(m, page) - m->regions]++;
	if (iova < d->limbo_first)
		d->limbo_first = iova;
	if (iova + PAGE - 1 > d->limbo_last)
		d->limbo_last = iova + PAGE - 1;
	page->prot = 0;
	page->first = false;
	page->stale = d->flushes;
	return more;
}

/* All of [iova, last]; how many bytes that was */
static __u64 remove_range(struct model *m, struct model_domain *d, __u64 iova, __u64 last)
{
	__u64 removed = 0, at, goes_on = ALL;
	unsigned int i, n;

	for (i = 0; i < MODEL_ARENAS; i++) {
		for (n = 0; n < m->arenas[i].npages; n++) {
			at = m->arenas[i].iova + n * PAGE;
			if (at < iova || at > last || !d->pages[m->arenas[i].first + n].prot)
				continue;
			d->limbo_mappings += at != goes_on;
			goes_on = remove_page(m, d, at) ? at + PAGE : ALL;
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

static void forget(struct model *m, struct model_domain *d)
{
	remove_range(m, d, 0, ALL);
	memset(d->pages, 0, m->pages_per_domain * sizeof(*d->pages));
	flush(d);
	d->exists = false;
}

void model_region_leaves(struct model *m, unsigned int region)
{
	struct model_region *r = &m->regions[region];
	unsigned int i, a, n;
	bool held = false;

	m->revoked = 0;
	for (i = 0; i < MODEL_DOMAINS; i++) {
		struct model_domain *d = &m->domains[i];

		for (a = 0; d->exists && a < MODEL_ARENAS; a++) {
			for (n = 0; n < m->arenas[a].npages; n++) {
				struct model_page *page = &d->pages[m->arenas[a].first + n];
				__u64 iova = m->arenas[a].iova + n * PAGE, mask;

				if (!page->prot || page_region(m, page) != r)
					continue;
				/* A large page goes as a whole; events name the part */
				mask = (1ULL << page->pgshift) - 1;
				for (; n < m->arenas[a].npages; n++, page++, iova += PAGE) {
					if (page_region(m, page) == r)
						m->revoked += PAGE;
					if ((iova & mask) + PAGE > mask)
						break;
				}
				remove_range(m, d, iova & ~mask, iova | mask);
			}
		}
		held |= d->limbo[region] > 0;
	}
	for (i = 0; held && i < MODEL_DOMAINS; i++)
		if (m->domains[i].exists && m->domains[i].limbo_first != ALL)
			flush(&m->domains[i]);
	r->present = false;
}

/* Does any domain hold a page of the region, be it one that waits for a flush? */
static bool region_held(const struct model *m, const struct model_region *r)
{
	unsigned int i, n;

	for (i = 0; i < MODEL_DOMAINS; i++) {
		const struct model_domain *d = &m->domains[i];

		if (d->limbo[r - m->regions])
			return true;
		for (n = 0; d->exists && n < m->pages_per_domain; n++)
			if (d->pages[n].prot && page_region(m, &d->pages[n]) == r)
				return true;
	}
	return false;
}

static void remove_gfn(struct model *m, struct model_domain *d, __u64 gfn)
{
	unsigned int a, n;

	for (a = 0; a < MODEL_ARENAS; a++) {
		for (n = 0; n < m->arenas[a].npages; n++) {
			const struct model_page *page = &d->pages[m->arenas[a].first + n];
			__u64 iova = m->arenas[a].iova + n * PAGE;
			__u64 mask = (1ULL << page->pgshift) - 1;

			if (page->prot && !page->vm && page->gfn == gfn)
				remove_range(m, d, iova & ~mask, iova | mask);
		}
	}
}

void model_pages_go(struct model *m, const __u64 *gfns, unsigned int nr)
{
	const struct model_region *r;
	unsigned int i, d;
	bool held = false;

	/* The rings are in the first region */
	for (i = 0; i < nr; i++) {
		r = model_region(m, PVIOMMU_VM_SELF, gfns[i] * PAGE);
		held |= r == m->regions || region_held(m, r);
	}
	for (d = 0; held && d < MODEL_DOMAINS; d++) {
		for (i = 0; m->domains[d].exists && i < nr; i++)
			remove_gfn(m, &m->domains[d], gfns[i]);
		if (m->domains[d].exists && m->domains[d].limbo_first != ALL)
			flush(&m->domains[d]);
	}
}

void model_reset(struct model *m)
{
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++)
		if (m->domains[i].exists)
			forget(m, &m->domains[i]);
	for (i = 0; i < m->nr_endpoints; i++) {
		m->endpoints[i].domain = PVIOMMU_DOMAIN_BYPASS;
		block_pasids(m, &m->endpoints[i]);
	}
	m->iface_pages = 0;
}

void model_start(struct model *m, __u64 features)
{
	m->accepted = features;
	memset(m->cancel, 0, sizeof(m->cancel));
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

static __u32 check_domain(struct model *m, __u32 id)
{
	if (id < PVIOMMU_DOMAIN_FIRST)
		return PVIOMMU_EINVAL;
	return domain_of(m, id) ? PVIOMMU_OK : PVIOMMU_ENOENT;
}

static __u32 check_window(const struct model *m, const struct range *range)
{
	unsigned int i;

	if (range->iova < m->window_start || range->last > m->window_last)
		return PVIOMMU_ERANGE;
	for (i = 0; i < m->nr_reserved; i++)
		if (range->iova <= m->reserved[i].last && range->last >= m->reserved[i].start)
			return PVIOMMU_ERANGE;
	return PVIOMMU_OK;
}

/* Of another VM, all of it has to be within one grant */
static __u32 check_grant(const struct model *m, const struct range *range, __u64 gpa, __u64 last)
{
	__u32 prot = range->prot & (PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE);
	unsigned int i;

	for (i = 0; range->vm && i < m->nr_grants; i++)
		if (m->grants[i].vm == range->vm && gpa >= m->grants[i].gpa &&
		    last <= m->grants[i].last && !(prot & ~m->grants[i].prot))
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

/* A list as the host reads it; NULL if it can't */
static const __u64 *list_at(const struct model *m, __u64 gpa, __u32 count)
{
	const struct model_region *region = model_region(m, PVIOMMU_VM_SELF, gpa);

	if (!all_ram(m, gpa, count * sizeof(__u64), false))
		return NULL;
	return (const __u64 *)(region->hva + (gpa - region->gpa));
}

/* RELEASE, up to where it is accepted */
static __u32 check_release(const struct model *m, const struct pviommu_op *op)
{
	const __u64 *list;
	__u32 i, k;

	if (op->release.reserved0 || op->release.reserved || !op->release.count ||
	    op->release.count > PVIOMMU_LIST_MAX || op->release.list % PAGE)
		return PVIOMMU_EINVAL;
	if (in_use(m, PVIOMMU_DOMAIN_BYPASS))
		return PVIOMMU_EBUSY;
	list = list_at(m, op->release.list, op->release.count);
	if (!list)
		return PVIOMMU_EFAULT;
	for (i = 0; i < op->release.count; i++)
		for (k = 0; k < i; k++)
			if (list[i] == list[k])
				return PVIOMMU_EINVAL;
	for (i = 0; i < op->release.count; i++)
		if (list[i] >> 52 || !ram(m, PVIOMMU_VM_SELF, list[i] * PAGE, true))
			return PVIOMMU_EFAULT;
	return PVIOMMU_OK;
}

bool model_can_tell(const struct model *m, const struct pviommu_op *op)
{
	struct range range;
	__u64 iova;

	/* What was accepted happens at some time, or is refused for what the host uses */
	if (op->code == PVIOMMU_OP_RELEASE)
		return check_release(m, op);
	if (op->code == PVIOMMU_OP_MAP ? map_args(m, op, &range) :
	    op->code == PVIOMMU_OP_MAP_LIST ? list_args(m, op, &range) : 1)
		return true;
	if (check_window(m, &range))
		return true;
	if (range.npages > m->pages_per_domain)
		return false;
	for (iova = range.iova; iova < range.last; iova += PAGE)
		if (!model_page(m, &m->domains[0], iova))
			return false;
	return true;
}

/* ---- MAP, MAP_LIST --------------------------------------------------- */

/* Pages of one of the host's mappings; frames are @gfns[] or from @gfn on */
static __u32 map_pages(struct model *m, struct model_domain *d, const struct range *range,
		       __u64 iova, const __u64 *gfns, __u64 gfn, __u64 n)
{
	bool write = range->prot & PVIOMMU_PROT_WRITE;
	struct model_page *page;
	__u64 i;

	if (model_nr_mappings(m) + 1 > m->max_mappings)
		return PVIOMMU_ENOSPC;
	for (i = 0; i < n; i++) {
		__u64 gpa = (gfns ? gfns[i] : gfn + i) * PAGE;

		if (!ram(m, range->vm, gpa, false))
			return PVIOMMU_EFAULT;
		if (!ram(m, range->vm, gpa, write))
			return PVIOMMU_EACCES;
	}
	for (i = 0; i < n; i++)
		if (model_page(m, d, iova + i * PAGE)->prot)
			return PVIOMMU_EEXIST;
	for (i = 0; i < n; i++) {
		page = model_page(m, d, iova + i * PAGE);
		page->gfn = gfns ? gfns[i] : gfn + i;
		page->vm = range->vm;
		page->prot = range->prot;
		page->pgshift = range->pgshift;
		page->first = !i;
	}
	m->mappings++;
	m->pages_mapped += n;
	return PVIOMMU_OK;
}

/* All or nothing: what was mapped is removed, flushed and unpinned */
static __u32 undo(struct model *m, struct model_domain *d, __u64 iova, __u64 npages,
		  __u32 status)
{
	if (npages) {
		remove_range(m, d, iova, iova + npages * PAGE - 1);
		flush(d);
	}
	return status;
}

static __u32 map(struct model *m, struct pviommu_op *op)
{
	struct model_domain *d;
	struct range range;
	__u64 done, n;
	__u32 status;

	status = map_args(m, op, &range) ?: check_domain(m, op->domain) ?:
		 check_window(m, &range) ?:
		 check_grant(m, &range, op->map.gpa, op->map.gpa + op->map.size - 1);
	if (status)
		return status;
	d = domain_of(m, op->domain);
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

/* All frames can be addresses; then the grant, for all that is between them */
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

static __u32 map_list(struct model *m, struct pviommu_op *op)
{
	const __u64 *list;
	struct model_domain *d;
	struct range range;
	__u32 status, i;

	status = list_args(m, op, &range) ?: check_domain(m, op->domain) ?: check_window(m, &range);
	if (status)
		return status;
	if (model_nr_mappings(m) + 1 > m->max_mappings)
		return PVIOMMU_ENOSPC;
	d = domain_of(m, op->domain);
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

/* ---- the other ops ---------------------------------------------------- */

static bool no_args(const struct pviommu_op *op)
{
	return !(op->raw[0] | op->raw[1] | op->raw[2] | op->raw[3]);
}

static __u32 unmap(struct model *m, struct pviommu_op *op)
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
	if (check_domain(m, op->domain))
		return check_domain(m, op->domain);
	d = domain_of(m, op->domain);
	if (cuts_page(m, d, iova) || (last != ALL && cuts_page(m, d, last + 1)))
		return PVIOMMU_EINVAL;
	op->result = remove_range(m, d, iova, last);
	return PVIOMMU_OK;
}

static __u32 lookup(struct model *m, struct pviommu_op *op)
{
	__u64 iova = op->lookup.iova, mask = PAGE - 1;
	const struct model_domain *d = domain_of(m, op->domain);
	const struct model_page *page;

	if (op->lookup.gpa || op->lookup.size || op->lookup.prot || op->lookup.pgshift ||
	    op->lookup.reserved[0] || op->lookup.reserved[1] || op->lookup.reserved[2])
		return PVIOMMU_EINVAL;
	if (op->domain == PVIOMMU_DOMAIN_BYPASS) {
		if (!ram(m, PVIOMMU_VM_SELF, iova, false))
			return PVIOMMU_ENOENT;
		op->lookup.gpa = iova;
		op->lookup.prot = PVIOMMU_PROT_READ;
		if (ram(m, PVIOMMU_VM_SELF, iova, true))
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

/* The domain is attached at the PASID, of any endpoint */
static bool leads_to(const struct model *m, __u32 pasid, __u32 domain)
{
	unsigned int i;

	if (!pasid || pasid >= MODEL_PASIDS)
		return false;
	for (i = 0; i < m->nr_endpoints; i++)
		if (m->endpoints[i].pasids[pasid] == domain)
			return true;
	return false;
}

static __u32 invalidate(struct model *m, struct pviommu_op *op)
{
	__u64 addr = op->inv.addr, size = op->inv.size, last = ALL;
	bool has_pasid = op->pasid != PVIOMMU_PASID_NONE;

	if (!(m->accepted & PVIOMMU_F_PASID) &&
	    (has_pasid || op->inv.granularity == PVIOMMU_INV_PASID))
		return PVIOMMU_EOPNOTSUPP;
	if (op->inv.reserved0 || op->inv.reserved)
		return PVIOMMU_EINVAL;
	switch (op->inv.granularity) {
	case PVIOMMU_INV_DOMAIN:
		if (addr || size || has_pasid)
			return PVIOMMU_EINVAL;
		break;
	case PVIOMMU_INV_PASID:
		if (addr || size || !has_pasid)
			return PVIOMMU_EINVAL;
		break;
	case PVIOMMU_INV_PAGE:
		if (!size || (addr | size) % PAGE)
			return PVIOMMU_EINVAL;
		last = addr + (size - 1);
		if (last < addr)
			return PVIOMMU_ERANGE;
		break;
	default:
		return PVIOMMU_EOPNOTSUPP;
	}
	if (op->domain < PVIOMMU_DOMAIN_FIRST)
		return PVIOMMU_OK;
	if (!domain_of(m, op->domain))
		return PVIOMMU_ENOENT;
	if (has_pasid && !leads_to(m, op->pasid, op->domain))
		return PVIOMMU_EINVAL;
	flush_range(domain_of(m, op->domain), addr, last);
	return PVIOMMU_OK;
}

static __u32 alloc(struct model *m, struct pviommu_op *op)
{
	__u32 id;

	if (op->alloc.reserved[0] || op->alloc.reserved[1])
		return PVIOMMU_EINVAL;
	if (op->alloc.type != PVIOMMU_TYPE_PAGING)
		return PVIOMMU_EOPNOTSUPP;
	if (op->alloc.format || op->alloc.root || op->flags & PVIOMMU_ALLOC_F_WATCH)
		return PVIOMMU_EINVAL;
	if (model_nr_domains(m) >= m->max_domains)
		return PVIOMMU_ENOSPC;
	if (!endpoint_of(m, op->endpoint))
		return PVIOMMU_ENOENT;
	for (id = PVIOMMU_DOMAIN_FIRST; m->domains[id].exists; id++)
		;
	m->domains[id].exists = true;
	m->domains[id].log = false;
	flush(&m->domains[id]);
	op->result = id;
	return PVIOMMU_OK;
}

static __u32 free_op(struct model *m, struct pviommu_op *op)
{
	if (!no_args(op) || op->domain < PVIOMMU_DOMAIN_FIRST)
		return PVIOMMU_EINVAL;
	if (!domain_of(m, op->domain))
		return PVIOMMU_ENOENT;
	if (in_use(m, op->domain))
		return PVIOMMU_EBUSY;
	forget(m, domain_of(m, op->domain));
	return PVIOMMU_OK;
}

/* What ATTACH and DETACH have in common, which then differ in what has no PASID */
static __u32 check_pasid(const struct model *m, const struct model_endpoint *ep,
			 const struct pviommu_op *op)
{
	if (!ep)
		return PVIOMMU_ENOENT;
	if (op->pasid == PVIOMMU_PASID_NONE)
		return PVIOMMU_OK;
	if (!ep->pasid_bits)
		return PVIOMMU_EOPNOTSUPP;
	return !op->pasid || op->pasid >> ep->pasid_bits ? PVIOMMU_ERANGE : PVIOMMU_OK;
}

static __u32 attach(struct model *m, struct pviommu_op *op)
{
	struct model_endpoint *ep = endpoint_of(m, op->endpoint);
	bool has_pasid = op->pasid != PVIOMMU_PASID_NONE;
	__u32 status;

	if (has_pasid && !(m->accepted & PVIOMMU_F_PASID))
		return PVIOMMU_EOPNOTSUPP;
	if (!no_args(op))
		return PVIOMMU_EINVAL;
	if (op->domain == PVIOMMU_DOMAIN_BYPASS &&
	    (has_pasid || !(m->accepted & PVIOMMU_F_BYPASS)))
		return PVIOMMU_EOPNOTSUPP;
	status = check_pasid(m, ep, op);
	if (status)
		return status;
	if (op->domain >= PVIOMMU_DOMAIN_FIRST && !domain_of(m, op->domain))
		return PVIOMMU_ENOENT;
	if (has_pasid)
		attach_pasid(m, ep, op->pasid, op->domain);
	else
		model_attach(m, ep - m->endpoints, op->domain);
	return PVIOMMU_OK;
}

static __u32 detach(struct model *m, struct pviommu_op *op)
{
	struct model_endpoint *ep = endpoint_of(m, op->endpoint);
	bool has_pasid = op->pasid != PVIOMMU_PASID_NONE;
	__u32 status;

	if (has_pasid && !(m->accepted & PVIOMMU_F_PASID))
		return PVIOMMU_EOPNOTSUPP;
	if (!no_args(op))
		return PVIOMMU_EINVAL;
	status = check_pasid(m, ep, op);
	if (status)
		return status;
	if ((has_pasid ? ep->pasids[op->pasid] : ep->domain) != op->domain)
		return PVIOMMU_EINVAL;
	if (has_pasid)
		attach_pasid(m, ep, op->pasid, PVIOMMU_DOMAIN_BLOCKED);
	else
		model_attach(m, ep - m->endpoints, PVIOMMU_DOMAIN_BLOCKED);
	return PVIOMMU_OK;
}

static __u32 buf_args(struct model *m, const struct pviommu_op *op, __u64 total)
{
	__u64 len = op->buf.size < total ? op->buf.size : total;

	return all_ram(m, op->buf.gpa, len, true) ? PVIOMMU_OK : PVIOMMU_EFAULT;
}

static __u32 probe(struct model *m, struct pviommu_op *op, struct model_reply *reply)
{
	struct model_endpoint *ep = endpoint_of(m, op->endpoint);
	__u64 total = sizeof(struct pviommu_probe) +
		      m->nr_reserved * sizeof(struct pviommu_region);

	if (op->buf.reserved0 || op->buf.reserved[0] || op->buf.reserved[1])
		return PVIOMMU_EINVAL;
	if (!ep)
		return PVIOMMU_ENOENT;
	if (buf_args(m, op, total))
		return PVIOMMU_EFAULT;
	op->result = total;
	*reply = (struct model_reply) {
		.code = op->code,
		.probe = {
			.endpoint = ep->id, .group = ep->group, .domain = ep->domain,
			.nr_regions = m->nr_reserved, .pasid_bits = ep->pasid_bits,
			.window_start = m->window_start, .window_last = m->window_last,
		},
	};
	return PVIOMMU_OK;
}

static __u32 stats(struct model *m, struct pviommu_op *op, struct model_reply *reply)
{
	if (op->buf.reserved0 || op->buf.reserved[0] || op->buf.reserved[1])
		return PVIOMMU_EINVAL;
	if (buf_args(m, op, sizeof(reply->stats)))
		return PVIOMMU_EFAULT;
	op->result = sizeof(reply->stats);
	*reply = (struct model_reply) {
		.code = op->code,
		.stats = {
			.ops = m->ops, .ops_failed = m->ops_failed,
			.pages_mapped = m->pages_mapped, .pages_pinned = model_pinned(m),
			.domains = model_nr_domains(m), .mappings = model_nr_mappings(m),
		},
	};
	return PVIOMMU_OK;
}

static __u32 recover(struct model *m, struct pviommu_op *op)
{
	if (!no_args(op))
		return PVIOMMU_EINVAL;
	return endpoint_of(m, op->endpoint) ? PVIOMMU_OK : PVIOMMU_ENOENT;
}

/* The VM has no page that writes to it are seen of: its doorbell is in config space */
static __u32 type_set(struct pviommu_op *op)
{
	__u64 gpa = op->mem.gpa, size = op->mem.size;

	if (op->mem.reserved0 || op->mem.reserved)
		return PVIOMMU_EINVAL;
	if (op->mem.type != PVIOMMU_MEM_RAM_RW && op->mem.type != PVIOMMU_MEM_IOREQ_SERVER)
		return PVIOMMU_EOPNOTSUPP;
	if (!size || (gpa | size) % PAGE)
		return PVIOMMU_EINVAL;
	return gpa + (size - 1) < gpa ? PVIOMMU_ERANGE : PVIOMMU_EOPNOTSUPP;
}

static __u32 type_get(struct model *m, struct pviommu_op *op)
{
	if (op->mem.size || op->mem.type || op->mem.reserved0 || op->mem.reserved ||
	    op->mem.gpa % PAGE)
		return PVIOMMU_EINVAL;
	op->result = PVIOMMU_MEM_RAM_RW;
	return ram(m, PVIOMMU_VM_SELF, op->mem.gpa, true) ? PVIOMMU_OK : PVIOMMU_EFAULT;
}

static __u32 dirty_log(struct model *m, struct pviommu_op *op, bool on)
{
	if (!no_args(op))
		return PVIOMMU_EINVAL;
	if (check_domain(m, op->domain))
		return check_domain(m, op->domain);
	domain_of(m, op->domain)->log = on;
	return PVIOMMU_OK;
}

static __u32 dirty_args(struct model *m, const struct pviommu_op *op)
{
	__u64 iova = op->dirty.iova, size = op->dirty.size;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(op->dirty.reserved); i++)
		if (op->dirty.reserved[i])
			return PVIOMMU_EINVAL;
	if (op->dirty.pgshift != 12 || !size || (iova | size) % PAGE || op->dirty.gpa % 8)
		return PVIOMMU_EINVAL;
	if (size / PAGE > PVIOMMU_DIRTY_PAGES || iova + (size - 1) < iova)
		return PVIOMMU_ERANGE;
	if (check_domain(m, op->domain))
		return check_domain(m, op->domain);
	return domain_of(m, op->domain)->log ? PVIOMMU_OK : PVIOMMU_EINVAL;
}

/* A page that a device could write to is dirty */
static __u32 dirty_read(struct model *m, struct pviommu_op *op, struct model_reply *reply)
{
	__u64 npages = op->dirty.size / PAGE, found = 0, i;
	const struct model_page *page;
	__u32 status;

	status = dirty_args(m, op);
	if (!status && !all_ram(m, op->dirty.gpa, (npages + 63) / 64 * 8, true))
		status = PVIOMMU_EFAULT;
	if (status)
		return status;
	*reply = (struct model_reply) { .code = op->code };
	for (i = 0; i < npages; i++) {
		page = model_page(m, domain_of(m, op->domain), op->dirty.iova + i * PAGE);
		if (!page || !(page->prot & PVIOMMU_PROT_WRITE))
			continue;
		found++;
		if (i < MODEL_DIRTY_PAGES)
			reply->dirty[i / 64] |= 1ULL << i % 64;
	}
	op->result = found;
	return PVIOMMU_OK;
}

/* ---- what all ops have in common ---------------------------------------- */

#define DOMAIN		1
#define ENDPOINT	2
#define PASID		4
#define VM		8

static const struct {
	__u16 code;
	__u16 flags;
	unsigned int takes;
	__u64 feature;
} known[] = {
	{ PVIOMMU_OP_NOP, 0, 0, 0 },
	{ PVIOMMU_OP_FEATURES, 0, 0, 0 },
	{ PVIOMMU_OP_PROBE, 0, ENDPOINT, 0 },
	{ PVIOMMU_OP_STATS, 0, 0, PVIOMMU_F_STATS },
	{ PVIOMMU_OP_ALLOC, PVIOMMU_ALLOC_F_WATCH, ENDPOINT, 0 },
	{ PVIOMMU_OP_FREE, 0, DOMAIN, 0 },
	{ PVIOMMU_OP_ATTACH, 0, DOMAIN | ENDPOINT | PASID, 0 },
	{ PVIOMMU_OP_DETACH, 0, DOMAIN | ENDPOINT | PASID, 0 },
	{ PVIOMMU_OP_MAP, 0, DOMAIN | VM, 0 },
	{ PVIOMMU_OP_MAP_LIST, 0, DOMAIN | VM, PVIOMMU_F_MAP_LIST },
	{ PVIOMMU_OP_UNMAP, PVIOMMU_UNMAP_F_ALL, DOMAIN, 0 },
	{ PVIOMMU_OP_LOOKUP, 0, DOMAIN, 0 },
	{ PVIOMMU_OP_INVALIDATE, PVIOMMU_INV_F_LEAF, DOMAIN | PASID, 0 },
	{ PVIOMMU_OP_TYPE_SET, 0, 0, PVIOMMU_F_MEM_TYPES },
	{ PVIOMMU_OP_TYPE_GET, 0, 0, PVIOMMU_F_MEM_TYPES },
	{ PVIOMMU_OP_RELEASE, 0, 0, PVIOMMU_F_RELEASE },
	{ PVIOMMU_OP_DIRTY_START, 0, DOMAIN, PVIOMMU_F_DIRTY },
	{ PVIOMMU_OP_DIRTY_STOP, 0, DOMAIN, PVIOMMU_F_DIRTY },
	{ PVIOMMU_OP_DIRTY_READ, 0, DOMAIN, PVIOMMU_F_DIRTY },
	{ PVIOMMU_OP_RECOVER, 0, ENDPOINT, PVIOMMU_F_RECOVER },
};

static __u32 check_common(const struct model *m, const struct pviommu_op *op)
{
	unsigned int i, takes;

	for (i = 0; i < ARRAY_SIZE(known) && known[i].code != op->code; i++)
		;
	if (i == ARRAY_SIZE(known) || (known[i].feature & ~m->accepted))
		return PVIOMMU_EOPNOTSUPP;
	if (op->flags & ~(known[i].flags | PVIOMMU_OP_F_CHAIN))
		return PVIOMMU_EOPNOTSUPP;
	takes = known[i].takes;
	if ((op->domain && !(takes & DOMAIN)) || (op->endpoint && !(takes & ENDPOINT)) ||
	    (op->vm && !(takes & VM)) ||
	    (op->pasid != PVIOMMU_PASID_NONE && !(takes & PASID)))
		return PVIOMMU_EINVAL;
	return PVIOMMU_OK;
}

static __u32 execute(struct model *m, struct pviommu_op *op, struct model_reply *reply)
{
	__u32 status = check_common(m, op);

	if (status)
		return status;
	switch (op->code) {
	case PVIOMMU_OP_FEATURES:
		if (no_args(op))
			op->result = m->features;
		return no_args(op) ? PVIOMMU_OK : PVIOMMU_EINVAL;
	case PVIOMMU_OP_PROBE:
		return probe(m, op, reply);
	case PVIOMMU_OP_STATS:
		return stats(m, op, reply);
	case PVIOMMU_OP_ALLOC:
		return alloc(m, op);
	case PVIOMMU_OP_FREE:
		return free_op(m, op);
	case PVIOMMU_OP_ATTACH:
		return attach(m, op);
	case PVIOMMU_OP_DETACH:
		return detach(m, op);
	case PVIOMMU_OP_MAP:
		return map(m, op);
	case PVIOMMU_OP_MAP_LIST:
		return map_list(m, op);
	case PVIOMMU_OP_UNMAP:
		return unmap(m, op);
	case PVIOMMU_OP_LOOKUP:
		return lookup(m, op);
	case PVIOMMU_OP_INVALIDATE:
		return invalidate(m, op);
	case PVIOMMU_OP_TYPE_SET:
		return type_set(op);
	case PVIOMMU_OP_TYPE_GET:
		return type_get(m, op);
	case PVIOMMU_OP_RELEASE:
		return check_release(m, op);
	case PVIOMMU_OP_DIRTY_START:
	case PVIOMMU_OP_DIRTY_STOP:
		return dirty_log(m, op, op->code == PVIOMMU_OP_DIRTY_START);
	case PVIOMMU_OP_DIRTY_READ:
		return dirty_read(m, op, reply);
	case PVIOMMU_OP_RECOVER:
		return recover(m, op);
	default:
		return no_args(op) ? PVIOMMU_OK : PVIOMMU_EINVAL;
	}
}

void model_execute(struct model *m, unsigned int ring, struct pviommu_op *op,
		   struct model_reply *reply)
{
	reply->code = 0;
	op->result = 0;
	op->status = m->cancel[ring] ? PVIOMMU_ECANCELED : execute(m, op, reply);
	m->cancel[ring] = op->status && op->flags & PVIOMMU_OP_F_CHAIN;
	m->ops++;
	m->ops_failed += !!op->status;
}

enum model_reach model_dma(const struct model *m, unsigned int ep, __u64 iova,
			   struct model_target *target)
{
	__u32 id = m->endpoints[ep].domain;
	const struct model_domain *d = &m->domains[id];
	const struct model_page *page;

	*target = (struct model_target) {
		.region = model_region(m, PVIOMMU_VM_SELF, iova),
		.gpa = iova,
		.prot = PVIOMMU_PROT_READ,
	};
	if (id == PVIOMMU_DOMAIN_BLOCKED)
		return MODEL_NOTHING;
	if (id == PVIOMMU_DOMAIN_BYPASS) {
		if (ram(m, PVIOMMU_VM_SELF, iova, true))
			target->prot |= PVIOMMU_PROT_WRITE;
		return ram(m, PVIOMMU_VM_SELF, iova, false) ? MODEL_MEMORY : MODEL_NOTHING;
	}
	page = model_page(m, d, iova);
	if (!page || page->stale == d->flushes)
		return MODEL_EITHER;
	*target = (struct model_target) {
		.region = page_region(m, page),
		.gpa = page->gfn * PAGE + iova % PAGE,
		.prot = page->prot,
	};
	return page->prot ? MODEL_MEMORY : MODEL_NOTHING;
}
