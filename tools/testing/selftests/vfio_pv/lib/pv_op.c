// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "pv_op.h"

/* An op of a whole VM's memory takes some dozens */
#define MAX_KICKS	100000

/* ---- building ------------------------------------------------------ */

struct pviommu_op pv_op(__u16 code)
{
	return (struct pviommu_op) {
		.code = code,
		.status = PVIOMMU_STATUS_PENDING,
		.pasid = PVIOMMU_PASID_NONE,
	};
}

struct pviommu_op pv_op_buf(__u16 code, __u32 endpoint, __u64 gpa, __u32 size)
{
	struct pviommu_op op = pv_op(code);

	op.endpoint = endpoint;
	op.buf.gpa = gpa;
	op.buf.size = size;
	return op;
}

struct pviommu_op pv_op_alloc(__u32 endpoint)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_ALLOC);

	op.endpoint = endpoint;
	op.alloc.type = PVIOMMU_TYPE_PAGING;
	return op;
}

struct pviommu_op pv_op_free(__u32 domain)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_FREE);

	op.domain = domain;
	return op;
}

struct pviommu_op pv_op_attach(__u32 endpoint, __u32 domain)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_ATTACH);

	op.endpoint = endpoint;
	op.domain = domain;
	return op;
}

struct pviommu_op pv_op_recover(__u32 endpoint)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RECOVER);

	op.endpoint = endpoint;
	return op;
}

struct pviommu_op pv_op_detach(__u32 endpoint, __u32 domain)
{
	struct pviommu_op op = pv_op_attach(endpoint, domain);

	op.code = PVIOMMU_OP_DETACH;
	return op;
}

struct pviommu_op pv_op_map(__u32 domain, __u64 iova, __u64 gpa, __u64 size, __u32 prot)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_MAP);

	op.domain = domain;
	op.map.iova = iova;
	op.map.gpa = gpa;
	op.map.size = size;
	op.map.prot = prot;
	op.map.pgshift = 12;
	return op;
}

struct pviommu_op pv_op_map_2m(__u32 domain, __u64 iova, __u64 gpa, __u64 size, __u32 prot)
{
	struct pviommu_op op = pv_op_map(domain, iova, gpa, size, prot);

	op.map.pgshift = 21;
	return op;
}

struct pviommu_op pv_op_map_list(__u32 domain, __u64 iova, __u64 list, __u32 count, __u32 prot)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_MAP_LIST);

	op.domain = domain;
	op.list.iova = iova;
	op.list.list = list;
	op.list.count = count;
	op.list.prot = prot;
	op.list.pgshift = 12;
	return op;
}

struct pviommu_op pv_op_unmap(__u32 domain, __u64 iova, __u64 size)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_UNMAP);

	op.domain = domain;
	op.unmap.iova = iova;
	op.unmap.size = size;
	return op;
}

struct pviommu_op pv_op_unmap_all(__u32 domain)
{
	struct pviommu_op op = pv_op_unmap(domain, 0, 0);

	op.flags = PVIOMMU_UNMAP_F_ALL;
	return op;
}

struct pviommu_op pv_op_lookup(__u32 domain, __u64 iova)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_LOOKUP);

	op.domain = domain;
	op.lookup.iova = iova;
	return op;
}

struct pviommu_op pv_op_inv(__u32 domain)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_INVALIDATE);

	op.domain = domain;
	op.inv.granularity = PVIOMMU_INV_DOMAIN;
	return op;
}

struct pviommu_op pv_op_inv_page(__u32 domain, __u64 addr, __u64 size)
{
	struct pviommu_op op = pv_op_inv(domain);

	op.inv.granularity = PVIOMMU_INV_PAGE;
	op.inv.addr = addr;
	op.inv.size = size;
	return op;
}

struct pviommu_op pv_op_dirty_start(__u32 domain)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_DIRTY_START);

	op.domain = domain;
	return op;
}

struct pviommu_op pv_op_dirty_stop(__u32 domain)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_DIRTY_STOP);

	op.domain = domain;
	return op;
}

struct pviommu_op pv_op_dirty_read(__u32 domain, __u64 iova, __u64 size)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_DIRTY_READ);

	op.domain = domain;
	op.dirty.iova = iova;
	op.dirty.size = size;
	op.dirty.gpa = PV_AT_REPLY;
	op.dirty.pgshift = 12;
	return op;
}

struct pviommu_op pv_op_type_get(__u64 gpa)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_TYPE_GET);

	op.mem.gpa = gpa;
	return op;
}

struct pviommu_op pv_op_type_set(__u64 gpa, __u64 size, __u32 type)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_TYPE_SET);

	op.mem.gpa = gpa;
	op.mem.size = size;
	op.mem.type = type;
	return op;
}

struct pviommu_op pv_op_release(__u32 count, __u64 token)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RELEASE);

	op.release.list = PV_AT_LIST;
	op.release.count = count;
	op.release.token = token;
	return op;
}

/* ---- submitting ---------------------------------------------------- */

void pv_kick(struct pv_ring *ring)
{
	ring->kicks++;
	pv_cap_write(ring->vm, 0, PVIOMMU_CAP_DOORBELL_OFF, PVIOMMU_DOORBELL(ring->nr));
}

struct pviommu_op *pv_push(struct pv_ring *ring, struct pviommu_op op)
{
	struct pviommu_op *slot = &ring->ops[ring->hdr->prod & (ring->slots - 1)];

	*slot = op;
	__atomic_store_n(&ring->hdr->prod, ring->hdr->prod + 1, __ATOMIC_RELEASE);
	return slot;
}

static bool ring_done(const struct pv_ring *ring)
{
	return __atomic_load_n(&ring->hdr->cons, __ATOMIC_ACQUIRE) == ring->hdr->prod;
}

bool pv_run(struct pv_ring *ring)
{
	unsigned int i;

	for (i = 0; i < MAX_KICKS && !ring_done(ring) && !ring->hdr->error; i++)
		pv_kick(ring);
	return ring_done(ring) && !ring->hdr->error;
}

__u32 __pv_exec(struct pv_ring *ring, struct pviommu_op op)
{
	struct pviommu_op *slot = pv_push(ring, op);

	if (!pv_run(ring))
		return ring->hdr->error ? PV_RING_STOPPED : PV_RING_STUCK;
	ring->last = *slot;
	return slot->status;
}

/* ---- conveniences -------------------------------------------------- */

__u32 pv_new_domain(struct pv_ring *ring, __u32 endpoint)
{
	return __pv_alloc(ring, endpoint) ? 0 : ring->last.result;
}

__u32 __pv_start_mapped(struct pv_vm *vm, __u64 iova, __u64 gpa)
{
	struct pv_ring *r = &vm->ring[0];
	__u32 dom;

	if (__pv_start(vm, 1, 6))
		return 0;
	dom = pv_new_domain(r, vm->dev[0].id);
	if (!dom || __pv_map(r, dom, iova, gpa, PV_PAGE, PV_RW) ||
	    __pv_attach(r, vm->dev[0].id, dom))
		return 0;
	return dom;
}

struct pviommu_probe pv_probe(struct pv_ring *ring, __u32 endpoint)
{
	struct pviommu_probe probe;

	memset(pv_mem(ring->vm, PV_AT_REPLY), 0xff, sizeof(probe));
	__pv_exec(ring, pv_op_buf(PVIOMMU_OP_PROBE, endpoint, PV_AT_REPLY, PV_PAGE));
	memcpy(&probe, pv_mem(ring->vm, PV_AT_REPLY), sizeof(probe));
	return probe;
}

struct pviommu_stats pv_stats(struct pv_ring *ring)
{
	struct pviommu_stats stats;

	memset(pv_mem(ring->vm, PV_AT_REPLY), 0xff, sizeof(stats));
	__pv_exec(ring, pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, sizeof(stats)));
	memcpy(&stats, pv_mem(ring->vm, PV_AT_REPLY), sizeof(stats));
	return stats;
}

struct pv_state pv_state(struct pv_ring *ring)
{
	struct pviommu_stats stats = pv_stats(ring);

	return (struct pv_state) {
		.pages_mapped = stats.pages_mapped,
		.pages_pinned = stats.pages_pinned,
		.domains = stats.domains,
		.mappings = stats.mappings,
	};
}

bool pv_state_same(const struct pv_state *a, const struct pv_state *b)
{
	return a->pages_mapped == b->pages_mapped && a->pages_pinned == b->pages_pinned &&
	       a->domains == b->domains && a->mappings == b->mappings &&
	       a->domains != ~0ULL;
}

__u64 *pv_list(struct pv_vm *vm)
{
	return pv_mem(vm, PV_AT_LIST);
}
