// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "pv_model_priv.h"

/* ---- state --------------------------------------------------------- */

void model_exit(struct model *m)
{
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++)
		model_forget(m, &m->domains[i]);
	free(m->gone);
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

bool model_ram(const struct model *m, __u32 vm, __u64 gpa, bool write)
{
	const struct model_region *region = model_region(m, vm, gpa);

	return region && region->ram && (!write || region->writable);
}

/* All of [gpa, gpa + len) */
bool model_all_ram(const struct model *m, __u64 gpa, __u64 len, bool write)
{
	__u64 i, n;

	for (i = 0; i < len; i += n) {
		if (gpa + i < gpa || !model_ram(m, PVIOMMU_VM_SELF, gpa + i, write))
			return false;
		n = PAGE - (gpa + i) % PAGE;
	}
	return true;
}

/* The domain of an op; NULL if it does not exist */
struct model_domain *model_domain_of(struct model *m, __u32 id)
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

static void set_cut(struct model *m, const struct model_endpoint *ep, bool cut)
{
	unsigned int i;

	for (i = 0; i < m->nr_endpoints; i++)
		if (m->endpoints[i].group == ep->group)
			m->endpoints[i].cut = cut;
}

void model_cut(struct model *m, unsigned int ep)
{
	set_cut(m, &m->endpoints[ep], true);
	model_attach(m, ep, PVIOMMU_DOMAIN_BLOCKED);
	block_pasids(m, &m->endpoints[ep]);
}

void model_close(struct model *m, unsigned int ep)
{
	unsigned int i;

	m->endpoints[ep].id = 0;
	for (i = 0; i < m->nr_endpoints; i++)
		if (m->endpoints[i].group == m->endpoints[ep].group && m->endpoints[i].id)
			return;
	set_cut(m, &m->endpoints[ep], false);
	model_attach(m, ep, PVIOMMU_DOMAIN_BLOCKED);
	block_pasids(m, &m->endpoints[ep]);
}

/* ---- start and end ------------------------------------------------ */

void model_reset(struct model *m)
{
	unsigned int i;

	for (i = 0; i < MODEL_DOMAINS; i++) {
		model_unwatch(m, i);
		if (m->domains[i].exists)
			model_forget(m, &m->domains[i]);
	}
	for (i = 0; i < m->nr_endpoints; i++) {
		m->endpoints[i].domain = m->endpoints[i].cut ? PVIOMMU_DOMAIN_BLOCKED :
							       PVIOMMU_DOMAIN_BYPASS;
		block_pasids(m, &m->endpoints[i]);
	}
	m->iface_pages = 0;
	memset(m->typed, 0, sizeof(m->typed));
}

void model_start(struct model *m, __u64 features)
{
	m->accepted = features;
	memset(m->cancel, 0, sizeof(m->cancel));
}

/* ---- the other ops ---------------------------------------------------- */

__u32 model_check_domain(struct model *m, __u32 id)
{
	if (id < PVIOMMU_DOMAIN_FIRST)
		return PVIOMMU_EINVAL;
	return model_domain_of(m, id) ? PVIOMMU_OK : PVIOMMU_ENOENT;
}

static bool no_args(const struct pviommu_op *op)
{
	return !(op->raw[0] | op->raw[1] | op->raw[2] | op->raw[3]);
}

static __u32 flush_range(struct model *m, const struct pviommu_op *op, __u64 iova, __u64 last)
{
	struct model_domain *d = model_domain_of(m, op->domain);

	if (iova <= d->limbo_last && last >= d->limbo_first)
		model_flush(d);
	else
		model_finish(d);
	return PVIOMMU_OK;
}

/* What a look removes is flushed, also at the ends of large pages */
static __u32 look_and_flush(struct model *m, struct pviommu_op *op, __u64 iova, __u64 last)
{
	__u32 status = model_look(m, op->domain, iova, last, &op->result);

	model_flush(model_domain_of(m, op->domain));
	return status;
}

/* Is the domain attached at the PASID, for any endpoint? */
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
	if (!model_domain_of(m, op->domain))
		return PVIOMMU_ENOENT;
	if (has_pasid && !leads_to(m, op->pasid, op->domain))
		return PVIOMMU_EINVAL;
	return model_domain_of(m, op->domain)->levels ?
	       look_and_flush(m, op, addr, last) : flush_range(m, op, addr, last);
}

static __u32 alloc_args(const struct model *m, const struct pviommu_op *op)
{
	if (op->alloc.reserved[0] || op->alloc.reserved[1])
		return PVIOMMU_EINVAL;
	if (op->alloc.type == PVIOMMU_TYPE_TABLE)
		return model_check_table(m, op);
	if (op->alloc.type != PVIOMMU_TYPE_PAGING)
		return PVIOMMU_EOPNOTSUPP;
	if (op->alloc.format || op->alloc.root || op->flags & PVIOMMU_ALLOC_F_WATCH)
		return PVIOMMU_EINVAL;
	return PVIOMMU_OK;
}

static __u32 alloc(struct model *m, struct pviommu_op *op)
{
	const int levels[] = { 0, 4, 5 };
	struct model_domain *d;
	__u32 id;

	if (alloc_args(m, op))
		return alloc_args(m, op);
	if (model_nr_domains(m) >= m->max_domains)
		return PVIOMMU_ENOSPC;
	if (!endpoint_of(m, op->endpoint))
		return PVIOMMU_ENOENT;
	for (id = PVIOMMU_DOMAIN_FIRST; m->domains[id].exists; id++)
		;
	d = &m->domains[id];
	d->exists = true;
	d->log = false;
	d->levels = levels[op->alloc.format];
	d->root = op->alloc.root;
	d->watch = op->flags & PVIOMMU_ALLOC_F_WATCH;
	model_flush(d);
	op->result = id;
	return PVIOMMU_OK;
}

static __u32 free_op(struct model *m, struct pviommu_op *op)
{
	if (!no_args(op) || op->domain < PVIOMMU_DOMAIN_FIRST)
		return PVIOMMU_EINVAL;
	if (!model_domain_of(m, op->domain))
		return PVIOMMU_ENOENT;
	if (in_use(m, op->domain))
		return PVIOMMU_EBUSY;
	model_unwatch(m, op->domain);
	model_forget(m, model_domain_of(m, op->domain));
	return PVIOMMU_OK;
}

/* The checks that ATTACH and DETACH have in common */
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
	if (ep->cut && op->domain != PVIOMMU_DOMAIN_BLOCKED)
		return PVIOMMU_EACCES;
	if (op->domain >= PVIOMMU_DOMAIN_FIRST && !model_domain_of(m, op->domain))
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

	return model_all_ram(m, op->buf.gpa, len, true) ? PVIOMMU_OK : PVIOMMU_EFAULT;
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
	struct model_endpoint *ep = endpoint_of(m, op->endpoint);

	if (!no_args(op))
		return PVIOMMU_EINVAL;
	if (!ep)
		return PVIOMMU_ENOENT;
	set_cut(m, ep, false);
	return PVIOMMU_OK;
}

/* The note of whether a page has the server's type; NULL where CPUs can't store */
static bool *type_at(struct model *m, __u64 gpa)
{
	const struct model_region *r = model_region(m, PVIOMMU_VM_SELF, gpa);

	return r && r->kvm ? &m->typed[r - m->regions][(gpa - r->gpa) / PAGE] : NULL;
}

bool model_typed(const struct model *m, __u64 gpa)
{
	bool *type = type_at((struct model *)m, gpa);

	return type && *type;
}

void model_set_plain(struct model *m, __u64 gpa)
{
	bool *type = type_at(m, gpa);

	if (type)
		*type = false;
}

void model_claim(struct model *m, bool claimed)
{
	m->server = claimed;
	memset(m->typed, 0, sizeof(m->typed));
}

/* TYPE_SET can't change the type of tables */
static __u32 type_of_page(struct model *m, const struct pviommu_op *op, __u64 gpa)
{
	bool server = op->mem.type == PVIOMMU_MEM_IOREQ_SERVER, *type = type_at(m, gpa);

	if (server && !m->server)
		return PVIOMMU_ENOENT;
	if (model_watched(m, gpa))
		return PVIOMMU_EEXIST;
	if (!model_ram(m, PVIOMMU_VM_SELF, gpa, true) || (server && !type))
		return PVIOMMU_EFAULT;
	if (type)
		*type = server;
	return PVIOMMU_OK;
}

static __u32 type_set(struct model *m, struct pviommu_op *op)
{
	__u64 gpa = op->mem.gpa, size = op->mem.size;
	__u32 status = PVIOMMU_OK;

	if (op->mem.reserved0 || op->mem.reserved)
		return PVIOMMU_EINVAL;
	if (op->mem.type != PVIOMMU_MEM_RAM_RW && op->mem.type != PVIOMMU_MEM_IOREQ_SERVER)
		return PVIOMMU_EOPNOTSUPP;
	if (!size || (gpa | size) % PAGE)
		return PVIOMMU_EINVAL;
	if (gpa + (size - 1) < gpa)
		return PVIOMMU_ERANGE;
	if (!m->tracked)
		return PVIOMMU_EOPNOTSUPP;
	for (; op->result < size && !status; op->result += status ? 0 : PAGE)
		status = type_of_page(m, op, gpa + op->result);
	return status;
}

static __u32 type_get(struct model *m, struct pviommu_op *op)
{
	if (op->mem.size || op->mem.type || op->mem.reserved0 || op->mem.reserved ||
	    op->mem.gpa % PAGE)
		return PVIOMMU_EINVAL;
	if (!model_ram(m, PVIOMMU_VM_SELF, op->mem.gpa, true))
		return PVIOMMU_EFAULT;
	op->result = PVIOMMU_MEM_RAM_RW;
	if (model_watched(m, op->mem.gpa))
		op->result = PVIOMMU_MEM_TABLE;
	else if (model_typed(m, op->mem.gpa))
		op->result = PVIOMMU_MEM_IOREQ_SERVER;
	return PVIOMMU_OK;
}

static __u32 dirty_log(struct model *m, struct pviommu_op *op, bool on)
{
	if (!no_args(op))
		return PVIOMMU_EINVAL;
	if (model_check_domain(m, op->domain))
		return model_check_domain(m, op->domain);
	model_domain_of(m, op->domain)->log = on;
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
	if (model_check_domain(m, op->domain))
		return model_check_domain(m, op->domain);
	return model_domain_of(m, op->domain)->log ? PVIOMMU_OK : PVIOMMU_EINVAL;
}

/* A page is dirty if a device could write to it */
static __u32 dirty_read(struct model *m, struct pviommu_op *op, struct model_reply *reply)
{
	__u64 npages = op->dirty.size / PAGE, found = 0, i;
	const struct model_page *page;
	__u32 status;

	status = dirty_args(m, op);
	if (!status && !model_all_ram(m, op->dirty.gpa, (npages + 63) / 64 * 8, true))
		status = PVIOMMU_EFAULT;
	if (status)
		return status;
	*reply = (struct model_reply) { .code = op->code };
	for (i = 0; i < npages; i++) {
		page = model_page(m, model_domain_of(m, op->domain), op->dirty.iova + i * PAGE);
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
		return model_map(m, op);
	case PVIOMMU_OP_MAP_LIST:
		return model_map_list(m, op);
	case PVIOMMU_OP_UNMAP:
		return model_unmap(m, op);
	case PVIOMMU_OP_LOOKUP:
		return model_lookup(m, op);
	case PVIOMMU_OP_INVALIDATE:
		return invalidate(m, op);
	case PVIOMMU_OP_TYPE_SET:
		return type_set(m, op);
	case PVIOMMU_OP_TYPE_GET:
		return type_get(m, op);
	case PVIOMMU_OP_RELEASE:
		return model_release(m, op);
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
		if (model_ram(m, PVIOMMU_VM_SELF, iova, true))
			target->prot |= PVIOMMU_PROT_WRITE;
		return model_ram(m, PVIOMMU_VM_SELF, iova, false) ? MODEL_MEMORY : MODEL_NOTHING;
	}
	page = model_page(m, d, iova);
	if (!page)
		return MODEL_NOTHING;
	if (page->stale == d->flushes)
		return MODEL_EITHER;
	*target = (struct model_target) {
		.region = model_page_region(m, page),
		.gpa = page->gfn * PAGE + iova % PAGE,
		.prot = page->prot,
	};
	return page->prot ? MODEL_MEMORY : MODEL_NOTHING;
}
