// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "pv_fuzz.h"
#include "pv_op.h"
#include "pv_sys.h"

/* The arena where most happens, by its place in the list of the test */
#define MAIN_ARENA	0

/* ---- choices --------------------------------------------------------- */

static __u64 next(struct fuzz *f)
{
	__u64 z = f->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

__u64 fuzz_below(struct fuzz *f, __u64 n)
{
	return next(f) % n;
}

bool fuzz_one_in(struct fuzz *f, __u64 n)
{
	return !fuzz_below(f, n);
}

__u32 fuzz_domain(struct fuzz *f)
{
	unsigned int i;
	__u32 id = 0;

	switch (fuzz_below(f, 40)) {
	case 0:
		return PVIOMMU_DOMAIN_BYPASS;
	case 1:
		return PVIOMMU_DOMAIN_BLOCKED;
	case 2:
		return next(f) >> fuzz_below(f, 64);
	}
	for (i = 0; i < 8; i++) {
		id = PVIOMMU_DOMAIN_FIRST + fuzz_below(f, f->model->max_domains);
		if (f->model->domains[id % MODEL_DOMAINS].exists)
			break;
	}
	return id;
}

static bool has_table(const struct fuzz *f, __u32 domain)
{
	return domain < MODEL_DOMAINS && f->model->domains[domain].levels;
}

/* A domain, nearly always one that takes mappings */
static __u32 fillable_domain(struct fuzz *f)
{
	__u32 id = fuzz_domain(f);
	unsigned int i;

	for (i = 0; i < 8 && has_table(f, id) && fuzz_below(f, 50); i++)
		id = fuzz_domain(f);
	return id;
}

static __u32 endpoint(struct fuzz *f)
{
	if (fuzz_one_in(f, 20))
		return fuzz_below(f, 8);
	return f->model->endpoints[fuzz_below(f, f->model->nr_endpoints)].id;
}

__u64 fuzz_iova(struct fuzz *f)
{
	unsigned int a = fuzz_below(f, 10);
	const struct model_arena *arena = &f->model->arenas[a < MODEL_ARENAS ? a : MAIN_ARENA];

	if (fuzz_one_in(f, 100) || !f->hot)
		f->hot = arena->iova + fuzz_below(f, arena->npages) * PV_PAGE;
	if (fuzz_below(f, 2))
		return f->hot + fuzz_below(f, 64) * PV_PAGE;
	return arena->iova + fuzz_below(f, arena->npages) * PV_PAGE;
}

/* The VM whose memory an op maps: sometimes another VM, if there is one */
static __u32 owner(struct fuzz *f)
{
	if (fuzz_one_in(f, 400))
		return fuzz_below(f, 1000);
	return f->model->nr_grants && fuzz_one_in(f, 12) ? f->model->grants[0].vm : PVIOMMU_VM_SELF;
}

__u64 fuzz_gpa(struct fuzz *f, __u32 vm)
{
	const struct model_region *r;
	unsigned int tries = 0;

	if (fuzz_one_in(f, 100))
		return next(f) >> fuzz_below(f, 64) & -PV_PAGE;
	do {
		r = &f->model->regions[fuzz_below(f, f->model->nr_regions)];
	} while (r->vm != vm && ++tries < 64);
	/* Half of them in the region that is always there */
	if (!vm && fuzz_below(f, 2))
		r = &f->model->regions[0];
	return r->gpa + fuzz_below(f, r->size / PV_PAGE) * PV_PAGE;
}

static __u64 gpa(struct fuzz *f)
{
	return fuzz_gpa(f, PVIOMMU_VM_SELF);
}

static __u64 npages(struct fuzz *f)
{
	switch (fuzz_below(f, 60)) {
	case 0:
		return 1 + fuzz_below(f, 1500);
	case 1 ... 5:
		return 1 + fuzz_below(f, 80);
	default:
		return 1 + fuzz_below(f, 6);
	}
}

static __u32 prot(struct fuzz *f)
{
	const __u32 prots[] = { PV_RW, PV_RW, PV_RW, PV_R, PV_W, PV_RW | PVIOMMU_PROT_NOEXEC };

	return prots[fuzz_below(f, ARRAY_SIZE(prots))];
}

/* ---- ops that are valid, or nearly so --------------------------------- */

static struct pviommu_op op_map(struct fuzz *f)
{
	bool large = fuzz_one_in(f, 25);
	__u64 mask = large ? -PV_2M : -PV_PAGE;
	__u32 vm = owner(f);
	struct pviommu_op op;

	op = pv_op_map(fillable_domain(f), fuzz_iova(f) & mask, fuzz_gpa(f, vm) & mask,
		       large ? PV_2M << fuzz_one_in(f, 3) : npages(f) * PV_PAGE, prot(f));
	op.map.pgshift = large ? 21 : 12;
	op.vm = vm;
	return op;
}

/* Fill a page of its own with the list of an op; returns its address */
static __u64 fill_list(struct fuzz *f, __u32 vm, __u32 count, __u8 pgshift)
{
	__u64 frame = 0, where, i, *list;

	if (f->lists < FUZZ_MAX_LISTS)
		f->lists++;
	where = FUZZ_LISTS + (f->lists - 1) * PV_PAGE;
	/* When all pages are in use, the rest share one that does not change */
	if (f->lists == FUZZ_MAX_LISTS)
		return where;
	list = pv_mem(f->vm, where);
	for (i = 0; i < count && i < PVIOMMU_LIST_MAX; i++) {
		frame = i && fuzz_below(f, 3) ? frame + 1 :
						fuzz_gpa(f, vm) >> pgshift % 64;
		list[i] = fuzz_one_in(f, 2000) ? next(f) : frame;
	}
	return where;
}

static struct pviommu_op op_map_list(struct fuzz *f)
{
	bool large = fuzz_one_in(f, 25);
	__u64 count = npages(f);
	struct pviommu_op op;

	if (large || count > PVIOMMU_LIST_MAX + 1)
		count = 1 + fuzz_below(f, 3);
	op = pv_op_map_list(fillable_domain(f), fuzz_iova(f) & (large ? -PV_2M : -PV_PAGE), 0,
			    count, prot(f));
	op.list.pgshift = large ? 21 : 12;
	op.vm = owner(f);
	op.list.list = fill_list(f, op.vm, count, op.list.pgshift);
	return op;
}

static struct pviommu_op op_unmap(struct fuzz *f)
{
	__u32 domain = fillable_domain(f);

	if (fuzz_one_in(f, 200))
		return pv_op_unmap_all(domain);
	if (fuzz_one_in(f, 200))
		return pv_op_unmap(domain, fuzz_iova(f), PV_PAGE << fuzz_below(f, 50));
	if (fuzz_one_in(f, 10))
		return pv_op_unmap(domain, fuzz_iova(f) & -PV_2M, PV_2M);
	return pv_op_unmap(domain, fuzz_iova(f), npages(f) * PV_PAGE);
}

/* With PASIDs, some ops have one, mostly one that exists; without, none has */
static __u32 pasid(struct fuzz *f)
{
	if (!(f->model->features & PVIOMMU_F_PASID) || fuzz_below(f, 3))
		return PVIOMMU_PASID_NONE;
	return fuzz_one_in(f, 16) ? fuzz_below(f, 4) : 1;
}

static struct pviommu_op op_invalidate(struct fuzz *f)
{
	__u32 with = pasid(f), domain = fuzz_domain(f);
	struct pviommu_op op;

	if (with == 1 && fuzz_below(f, 4))
		domain = f->model->endpoints[0].pasids[1];
	if (has_table(f, domain))
		op = fuzz_look(f, domain);
	else if (fuzz_one_in(f, 4))
		op = pv_op_inv(domain);
	else
		op = pv_op_inv_page(domain, fuzz_iova(f), npages(f) * PV_PAGE);
	op.pasid = with;
	if (with != PVIOMMU_PASID_NONE && op.inv.granularity == PVIOMMU_INV_DOMAIN &&
	    fuzz_below(f, 16))
		op.inv.granularity = PVIOMMU_INV_PASID;
	return op;
}

static struct pviommu_op op_attach(struct fuzz *f)
{
	struct pviommu_op op = pv_op_attach(endpoint(f), fuzz_domain(f));

	/* Entering and leaving bypass takes long, so it is rare */
	if (op.domain == PVIOMMU_DOMAIN_BYPASS && fuzz_below(f, 8))
		op.domain = PVIOMMU_DOMAIN_BLOCKED;
	op.pasid = pasid(f);
	return op;
}

static struct pviommu_op op_detach(struct fuzz *f)
{
	const struct model_endpoint *ep;
	struct pviommu_op op;

	ep = &f->model->endpoints[fuzz_below(f, f->model->nr_endpoints)];
	op = pv_op_detach(ep->id, fuzz_one_in(f, 3) ? fuzz_domain(f) : ep->domain);
	op.pasid = pasid(f);
	if (op.pasid == 1 && op.domain == ep->domain)
		op.domain = ep->pasids[1];
	return op;
}

/* A place of its own for the answer of an op */
static struct pviommu_op op_reply(struct fuzz *f, __u16 code)
{
	__u32 size = fuzz_one_in(f, 4) ? fuzz_below(f, FUZZ_REPLY_SIZE) : FUZZ_REPLY_SIZE;

	if (f->replies == FUZZ_MAX_REPLIES)
		return pv_op(PVIOMMU_OP_NOP);
	return pv_op_buf(code, code == PVIOMMU_OP_PROBE ? endpoint(f) : 0,
			 FUZZ_REPLIES + f->replies++ * FUZZ_REPLY_SIZE, size);
}

/* How many pages' dirty bits fit into such a place */
static struct pviommu_op op_dirty_read(struct fuzz *f)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_DIRTY_READ);

	if (f->replies == FUZZ_MAX_REPLIES)
		return pv_op(PVIOMMU_OP_NOP);
	op.domain = fuzz_domain(f);
	op.dirty.iova = fuzz_iova(f);
	op.dirty.size = (1 + fuzz_below(f, MODEL_DIRTY_PAGES)) * PV_PAGE;
	op.dirty.gpa = FUZZ_REPLIES + f->replies++ * FUZZ_REPLY_SIZE;
	op.dirty.pgshift = 12;
	return op;
}

static struct pviommu_op op_dirty(struct fuzz *f)
{
	struct pviommu_op op;

	if (fuzz_below(f, 3))
		return op_dirty_read(f);
	op = pv_op(fuzz_one_in(f, 4) ? PVIOMMU_OP_DIRTY_STOP : PVIOMMU_OP_DIRTY_START);
	op.domain = fuzz_domain(f);
	return op;
}

static struct pviommu_op op_release(struct fuzz *f)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RELEASE);

	op.release.count = 1 + fuzz_below(f, 40);
	op.release.token = next(f);
	op.release.list = fill_list(f, PVIOMMU_VM_SELF, op.release.count, 12);
	return op;
}

static struct pviommu_op op_type(struct fuzz *f)
{
	struct pviommu_op op;

	op = pv_op(fuzz_one_in(f, 2) ? PVIOMMU_OP_TYPE_GET : PVIOMMU_OP_TYPE_SET);
	op.mem.gpa = fuzz_one_in(f, 2) ? gpa(f) :
		     f->tables[fuzz_below(f, f->nr_tables)].gpa;
	if (op.code == PVIOMMU_OP_TYPE_SET) {
		op.mem.size = npages(f) * PV_PAGE;
		op.mem.type = fuzz_below(f, 3);
	}
	return op;
}

static struct pviommu_op op_rare(struct fuzz *f)
{
	switch (fuzz_below(f, 5)) {
	case 0:
		return pv_op(PVIOMMU_OP_FEATURES);
	case 1:
		return pv_op_recover(endpoint(f));
	case 2:
		return op_type(f);
	case 3:
		return op_release(f);
	default:
		return pv_op(PVIOMMU_OP_NOP);
	}
}

static struct pviommu_op op_lookup(struct fuzz *f)
{
	__u32 domain = fuzz_domain(f);

	if (has_table(f, domain) && fuzz_below(f, 4))
		return pv_op_lookup(domain, fuzz_table_iova(f) + fuzz_below(f, PV_PAGE));
	return pv_op_lookup(domain, domain ? fuzz_iova(f) + fuzz_below(f, PV_PAGE) : gpa(f));
}

static struct pviommu_op good_op(struct fuzz *f)
{
	switch (fuzz_below(f, 1000)) {
	case 0 ... 279:
		return op_map(f);
	case 280 ... 359:
		return op_map_list(f);
	case 360 ... 619:
		return op_unmap(f);
	case 620 ... 759:
		return op_invalidate(f);
	case 760 ... 899:
		return op_lookup(f);
	case 900 ... 919:
		return op_attach(f);
	case 920 ... 925:
		return op_detach(f);
	case 926 ... 929:
		return fuzz_one_in(f, 3) ? fuzz_alloc_table(f, endpoint(f)) :
					   pv_op_alloc(endpoint(f));
	case 930 ... 931:
		return pv_op_free(fuzz_domain(f));
	case 932 ... 939:
		return op_reply(f, PVIOMMU_OP_PROBE);
	case 940 ... 964:
		return op_reply(f, PVIOMMU_OP_STATS);
	case 965 ... 979:
		return op_dirty(f);
	default:
		return op_rare(f);
	}
}

/* ---- invalid ops --------------------------------------------------------- */

static __u64 edge(struct fuzz *f)
{
	const __u64 edges[] = {
		0, 1, 7, 12, 13, 21, 64, 512, 513, 0xfff, 0x1000, 0x1001, PV_2M, PV_NOWHERE,
		PV_BAR, PV_ROM, PV_HIGH, PV_HIGH + PV_HIGH_SIZE, PV_HIGH - PV_PAGE,
		f->vm->low_size, f->vm->low_size - 8, f->model->window_last,
		f->model->window_last + 1, f->model->window_last + 1 - PV_PAGE,
		0xfee00000, 0xfedff000, 0xfef00000, 0x7fffffff, 0x80000000, 0xffffffff,
		1ULL << 32, 1ULL << 52, 1ULL << 63, -8ULL, -PV_PAGE, -PV_2M, ~0ULL,
	};

	if (fuzz_one_in(f, 4))
		return next(f) >> fuzz_below(f, 64);
	return edges[fuzz_below(f, ARRAY_SIZE(edges))];
}

/* Change anything of the op */
static void spoil(struct fuzz *f, struct pviommu_op *op)
{
	unsigned int width = 1 << fuzz_below(f, 4);
	unsigned int at = fuzz_below(f, sizeof(*op) / width) * width;
	__u64 value = edge(f);

	if (fuzz_one_in(f, 4)) {
		((unsigned char *)op)[fuzz_below(f, sizeof(*op))] ^= 1 << fuzz_below(f, 8);
		return;
	}
	memcpy((unsigned char *)op + at, &value, width);
}

static struct pviommu_op garbage(struct fuzz *f)
{
	struct pviommu_op op;
	__u64 *word = (__u64 *)&op;
	unsigned int i;

	for (i = 0; i < sizeof(op) / sizeof(*word); i++)
		word[i] = fuzz_below(f, 2) ? edge(f) : 0;
	return op;
}

static bool list_is_free(const struct fuzz *f, __u64 list)
{
	return (list >= FUZZ_LISTS && list < FUZZ_LISTS + f->lists * PV_PAGE) ||
	       (list >= PV_ROM && list < PV_ROM + PV_ROM_SIZE) || list % PV_PAGE ||
	       !model_region(f->model, PVIOMMU_VM_SELF, list);
}

/* Answers and lists must not overlap what other ops, or the host, write meanwhile */
static bool memory_is_free(const struct fuzz *f, const struct pviommu_op *op)
{
	__u64 own = FUZZ_REPLIES + (f->replies - 1ULL) * FUZZ_REPLY_SIZE;

	switch (op->code) {
	case PVIOMMU_OP_PROBE:
	case PVIOMMU_OP_STATS:
		return (op->buf.gpa >= PV_DATA && !fuzz_is_table(f, op->buf.gpa, PV_PAGE)) ||
		       op->buf.gpa == own;
	case PVIOMMU_OP_DIRTY_READ:
		return (op->dirty.gpa >= PV_DATA && !fuzz_is_table(f, op->dirty.gpa, PV_PAGE)) ||
		       (op->dirty.gpa == own && op->dirty.size <= MODEL_DIRTY_PAGES * PV_PAGE);
	case PVIOMMU_OP_MAP_LIST:
		return list_is_free(f, op->list.list);
	case PVIOMMU_OP_RELEASE:
		return list_is_free(f, op->release.list);
	default:
		return true;
	}
}

/* ---- streams ------------------------------------------------------------- */

void fuzz_batch(struct fuzz *f)
{
	f->lists = 0;
	f->replies = 0;
}

struct pviommu_op fuzz_op(struct fuzz *f)
{
	struct pviommu_op op;
	unsigned int n;

	do {
		op = fuzz_one_in(f, 100) ? garbage(f) : good_op(f);
		for (n = fuzz_one_in(f, 8) ? 1 + fuzz_below(f, 3) : 0; n; n--)
			spoil(f, &op);
		if (fuzz_one_in(f, 6))
			op.flags |= PVIOMMU_OP_F_CHAIN;
	} while (!memory_is_free(f, &op) || !model_can_tell(f->model, &op));
	return op;
}
