// SPDX-License-Identifier: GPL-2.0-only
#include "pv_snap.h"
#include "pv_sys.h"

static __u64 type_of_page(struct pv_ring *ring)
{
	return __pv_exec(ring, pv_op_type_get(PV_SNAP_TYPED)) ? ~0ULL : ring->last.result;
}

static struct pv_reach reach_of(const struct pv_vm *vm, __u32 endpoint)
{
	int i;

	for (i = 0; i < vm->nr_devs; i++)
		if (vm->dev[i].id == endpoint)
			return pv_reach(vm, &vm->dev[i]);
	return (struct pv_reach) {};
}

struct pv_snap pv_snap(struct pv_ring *ring, __u32 endpoint)
{
	const __u64 home = PV_SNAP_HOME, free = PV_SNAP_FREE;
	const __u64 iovas[PV_SNAP_LOOKUPS] = {
		home, home + 0x5000, home + PV_SNAP_HOME_SIZE - 1, home + PV_SNAP_HOME_SIZE,
		free - 1, free, free + 0x3000, free + 0x27fff, free + 0x100000, free + PV_2M,
		free + 0x3ff000, free + 0x400000,
	};
	const struct pviommu_probe *probe = pv_mem(ring->vm, PV_AT_REPLY);
	struct pviommu_op *slot[ARRAY_SIZE(((struct pv_snap *)0)->seen)];
	struct pv_snap snap = { .state = pv_state(ring), .lent = pv_total("pages_lent") };
	unsigned int i;

	snap.type = type_of_page(ring);
	__pv_exec(ring, pv_op_buf(PVIOMMU_OP_PROBE, endpoint, PV_AT_REPLY, sizeof(*probe)));
	snap.domain = probe->domain;
	for (i = 0; i < ARRAY_SIZE(slot); i++)
		slot[i] = pv_push(ring, pv_op_lookup(PV_SNAP_D + i % PV_SNAP_DOMAINS,
						     iovas[i / PV_SNAP_DOMAINS]));
	pv_run(ring);
	for (i = 0; i < ARRAY_SIZE(slot); i++) {
		snap.seen[i].status = slot[i]->status;
		snap.seen[i].gpa = slot[i]->lookup.gpa;
	}
	snap.reach = reach_of(ring->vm, endpoint);
	return snap;
}

bool pv_snap_same(const struct pv_snap *a, const struct pv_snap *b)
{
	unsigned int i;

	if ((a->reach.known || b->reach.known) && !pv_reach_same(&a->reach, &b->reach))
		return false;
	for (i = 0; i < ARRAY_SIZE(a->seen); i++)
		if (a->seen[i].status != b->seen[i].status || a->seen[i].gpa != b->seen[i].gpa)
			return false;
	return pv_state_same(&a->state, &b->state) && a->domain == b->domain &&
	       a->lent == b->lent && a->type == b->type;
}

/* Only who has a server has pages with a type */
static bool all_plain(struct pv_ring *ring)
{
	__u32 status = __pv_exec(ring, pv_op_type_set(PV_SNAP_TYPED, PV_PAGE, PVIOMMU_MEM_RAM_RW));

	return !status || status == PVIOMMU_EOPNOTSUPP;
}

bool pv_snap_home(struct pv_ring *ring, __u32 endpoint)
{
	__u32 dom;

	if (__pv_attach(ring, endpoint, PVIOMMU_DOMAIN_BLOCKED) || !all_plain(ring))
		return false;
	for (dom = PV_SNAP_D; dom < PV_SNAP_D + 4; dom++) {
		__u32 status = __pv_free(ring, dom);

		if (status && status != PVIOMMU_ENOENT)
			return false;
	}
	return pv_new_domain(ring, endpoint) == PV_SNAP_D &&
	       pv_new_domain(ring, endpoint) == PV_SNAP_E &&
	       !__pv_map(ring, PV_SNAP_D, PV_SNAP_HOME, PV_DATA, PV_SNAP_HOME_SIZE, PV_RW) &&
	       !__pv_map(ring, PV_SNAP_E, PV_SNAP_HOME, PV_HIGH, PV_SNAP_HOME_SIZE, PV_R) &&
	       !__pv_attach(ring, endpoint, PV_SNAP_D);
}
