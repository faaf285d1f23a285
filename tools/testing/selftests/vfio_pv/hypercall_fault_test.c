// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every failure that there can be, one after the other: each allocation, copy, charge,
 * pin, map and attach on the way of each op and call is made to fail once. An op either
 * fails, and everything is as it was before, or is done, and everything is as if nothing
 * had failed; then it goes on to the next failure, until there is none left.
 */
#include <sys/ioctl.h>

#include <linux/vfio.h>

#include "lib/pv_fault.h"
#include "lib/pv_test.h"

#define LOW_SIZE	(8ULL << 20)
#define HOME		0x10000000ULL	/* IOVAs: what is always mapped */
#define HOME_SIZE	0x10000ULL
#define FREE		0x20000000ULL	/* what is not */
#define D		PVIOMMU_DOMAIN_FIRST
#define E		(PVIOMMU_DOMAIN_FIRST + 1)

FIXTURE(fault)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 ep;
};

FIXTURE_SETUP(fault)
{
	const char *missing = pv_fault_missing();

	if (missing)
		SKIP(return, "%s", missing);
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, LOW_SIZE);
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	ASSERT_TRUE(pv_fault_begin());
	pv_start(&self->vm, 1, 7);
}

FIXTURE_TEARDOWN(fault)
{
	pv_fault_end();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* ---- where everything is ------------------------------------------------ */

#define LOOKUPS	12

struct snapshot {
	struct pv_state state;
	__u32 domain;		/* of the endpoint */
	struct { __u32 status; __u64 gpa; } seen[2 * LOOKUPS];
};

static struct snapshot snapshot(struct pv_ring *r, __u32 ep)
{
	const __u64 iovas[LOOKUPS] = {
		HOME, HOME + 0x5000, HOME + HOME_SIZE - 1, HOME + HOME_SIZE, FREE - 1, FREE,
		FREE + 0x3000, FREE + 0x27fff, FREE + 0x100000, FREE + PV_2M, FREE + 0x3ff000,
		FREE + 0x400000,
	};
	const struct pviommu_probe *probe = pv_mem(r->vm, PV_AT_REPLY);
	struct pviommu_op *slot[2 * LOOKUPS];
	struct snapshot snap = { .state = pv_state(r) };
	unsigned int i;

	__pv_exec(r, pv_op_buf(PVIOMMU_OP_PROBE, ep, PV_AT_REPLY, sizeof(*probe)));
	snap.domain = probe->domain;
	for (i = 0; i < 2 * LOOKUPS; i++)
		slot[i] = pv_push(r, pv_op_lookup(D + i % 2, iovas[i / 2]));
	pv_run(r);
	for (i = 0; i < 2 * LOOKUPS; i++) {
		snap.seen[i].status = slot[i]->status;
		snap.seen[i].gpa = slot[i]->lookup.gpa;
	}
	return snap;
}

static bool same(const struct snapshot *a, const struct snapshot *b)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(a->seen); i++)
		if (a->seen[i].status != b->seen[i].status || a->seen[i].gpa != b->seen[i].gpa)
			return false;
	return pv_state_same(&a->state, &b->state) && a->domain == b->domain;
}

/* From wherever an op has left things: two domains, with the endpoint in D */
static bool go_home(struct pv_ring *r, __u32 ep)
{
	__u32 dom;

	if (__pv_attach(r, ep, PVIOMMU_DOMAIN_BLOCKED))
		return false;
	for (dom = D; dom < D + 4; dom++) {
		__u32 status = __pv_free(r, dom);

		if (status && status != PVIOMMU_ENOENT)
			return false;
	}
	return pv_new_domain(r, ep) == D && pv_new_domain(r, ep) == E &&
	       !__pv_map(r, D, HOME, PV_DATA, HOME_SIZE, PV_RW) &&
	       !__pv_map(r, E, HOME, PV_HIGH, HOME_SIZE, PV_R) && !__pv_attach(r, ep, D);
}

/* ---- ops ------------------------------------------------------------------ */

/* What an op needs besides go_home(), and the op */
struct act {
	const char *name;
	bool (*prepare)(struct pv_ring *r, __u32 ep);
	struct pviommu_op (*op)(struct pv_ring *r, __u32 ep);
};

static bool unmap_a_part(struct pv_ring *r, __u32 ep)
{
	return !__pv_unmap(r, D, HOME + 0x3000, 0x4000);
}

static bool block(struct pv_ring *r, __u32 ep)
{
	return !__pv_attach(r, ep, PVIOMMU_DOMAIN_BLOCKED);
}

static bool bypass(struct pv_ring *r, __u32 ep)
{
	return !__pv_attach(r, ep, PVIOMMU_DOMAIN_BYPASS);
}

static struct pviommu_op op_alloc(struct pv_ring *r, __u32 ep)
{
	return pv_op_alloc(ep);
}

static struct pviommu_op op_free(struct pv_ring *r, __u32 ep)
{
	return pv_op_free(E);
}

static struct pviommu_op op_map(struct pv_ring *r, __u32 ep)
{
	return pv_op_map(D, FREE, PV_DATA, 0x28000, PV_RW);
}

/* Some chunks, over two slots' worth of large pages */
static struct pviommu_op op_map_much(struct pv_ring *r, __u32 ep)
{
	return pv_op_map(D, FREE, PV_HIGH, PV_HIGH_SIZE, PV_RW);
}

static struct pviommu_op op_map_2m(struct pv_ring *r, __u32 ep)
{
	return pv_op_map_2m(D, FREE, PV_HIGH, PV_HIGH_SIZE, PV_RW);
}

/* Read-only memory at the end, so that it fails by itself when nothing else does */
static struct pviommu_op op_map_refused(struct pv_ring *r, __u32 ep)
{
	unsigned int i;

	for (i = 0; i < 30; i++)
		pv_list(r->vm)[i] = (PV_DATA >> 12) + i * 7 % 31;
	pv_list(r->vm)[29] = PV_ROM >> 12;
	return pv_op_map_list(D, FREE, PV_AT_LIST, 30, PV_RW);
}

static struct pviommu_op op_map_list(struct pv_ring *r, __u32 ep)
{
	unsigned int i;

	for (i = 0; i < 40; i++)
		pv_list(r->vm)[i] = (PV_DATA >> 12) + i * 7 % 41;
	return pv_op_map_list(D, FREE, PV_AT_LIST, 40, PV_RW);
}

static struct pviommu_op op_map_list_2m(struct pv_ring *r, __u32 ep)
{
	struct pviommu_op op = pv_op_map_list(D, FREE, PV_AT_LIST, 2, PV_RW);

	pv_list(r->vm)[0] = (PV_HIGH >> 21) + 1;
	pv_list(r->vm)[1] = PV_HIGH >> 21;
	op.list.pgshift = 21;
	return op;
}

static struct pviommu_op op_unmap(struct pv_ring *r, __u32 ep)
{
	return pv_op_unmap(D, HOME + 0x3000, 0x4000);
}

static struct pviommu_op op_unmap_all(struct pv_ring *r, __u32 ep)
{
	return pv_op_unmap_all(D);
}

static struct pviommu_op op_invalidate(struct pv_ring *r, __u32 ep)
{
	return pv_op_inv(D);
}

static struct pviommu_op op_lookup(struct pv_ring *r, __u32 ep)
{
	return pv_op_lookup(D, HOME + 0x1234);
}

static struct pviommu_op op_attach(struct pv_ring *r, __u32 ep)
{
	return pv_op_attach(ep, E);
}

static struct pviommu_op op_attach_bypass(struct pv_ring *r, __u32 ep)
{
	return pv_op_attach(ep, PVIOMMU_DOMAIN_BYPASS);
}

static struct pviommu_op op_detach(struct pv_ring *r, __u32 ep)
{
	return pv_op_detach(ep, D);
}

static struct pviommu_op op_probe(struct pv_ring *r, __u32 ep)
{
	return pv_op_buf(PVIOMMU_OP_PROBE, ep, PV_AT_REPLY, PV_PAGE);
}

static struct pviommu_op op_stats(struct pv_ring *r, __u32 ep)
{
	return pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, PV_PAGE);
}

static const struct act acts[] = {
	{ "ALLOC", NULL, op_alloc },
	{ "FREE", NULL, op_free },
	{ "MAP", NULL, op_map },
	{ "MAP of several chunks", NULL, op_map_much },
	{ "MAP of large pages", NULL, op_map_2m },
	{ "MAP_LIST", NULL, op_map_list },
	{ "MAP_LIST of large pages", NULL, op_map_list_2m },
	{ "MAP_LIST that is refused", NULL, op_map_refused },
	{ "UNMAP of a part", NULL, op_unmap },
	{ "UNMAP of all", NULL, op_unmap_all },
	{ "INVALIDATE", unmap_a_part, op_invalidate },
	{ "LOOKUP", NULL, op_lookup },
	{ "ATTACH", NULL, op_attach },
	{ "ATTACH from blocked", block, op_attach },
	{ "ATTACH from bypass", bypass, op_attach },
	{ "ATTACH to bypass", NULL, op_attach_bypass },
	{ "ATTACH to bypass from blocked", block, op_attach_bypass },
	{ "DETACH", NULL, op_detach },
	{ "PROBE", NULL, op_probe },
	{ "STATS", NULL, op_stats },
};

static bool may_fail_with(__u32 status)
{
	return status == PVIOMMU_ENOMEM || status == PVIOMMU_EIO || status == PVIOMMU_EFAULT;
}

/* Execute with a failure, if there is a sweep. The status */
static __u32 execute(struct pv_ring *r, struct pviommu_op op, struct pv_fault_sweep *sweep)
{
	struct pviommu_op *slot = pv_push(r, op);

	if (sweep && !pv_fault_arm(sweep->kind, sweep->nth))
		return PV_RING_STUCK;
	pv_kick(r);
	if (sweep)
		sweep->was = pv_fault_disarm();
	/* Perhaps it was the doorbell that failed, or the op takes some more */
	return pv_run(r) ? slot->status : PV_RING_STUCK;
}

/* Go home, prepare, execute; what there was before and is after */
static __u32 attempt(struct pv_ring *r, __u32 ep, const struct act *act,
		     struct pv_fault_sweep *sweep, struct snapshot *home,
		     struct snapshot *before, struct snapshot *after)
{
	__u32 status;

	if (!go_home(r, ep))
		return PV_RING_STUCK;
	*home = snapshot(r, ep);
	if (act->prepare && !act->prepare(r, ep))
		return PV_RING_STUCK;
	*before = snapshot(r, ep);
	status = execute(r, act->op(r, ep), sweep);
	*after = snapshot(r, ep);
	return status;
}

static unsigned int report(const char *what, const struct pv_fault_sweep *sweep)
{
	printf("# %-30s %4u allocations and copies, %4u calls\n", what,
	       sweep->count[PV_FAULT_KERNEL], sweep->count[PV_FAULT_ENGINE]);
	return sweep->count[PV_FAULT_KERNEL] + sweep->count[PV_FAULT_ENGINE];
}

TEST_F_TIMEOUT(fault, ops, 3600)
{
	struct snapshot home, before, after, home_now, now;
	struct pv_fault_sweep sweep;
	unsigned int i, total = 0;
	__u32 status, usual;

	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		const struct act *act = &acts[i];

		usual = attempt(self->r, self->ep, act, NULL, &home, &before, &after);
		ASSERT_NE(PV_RING_STUCK, usual);
		for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
			status = attempt(self->r, self->ep, act, &sweep, &home_now, &before, &now);
			ASSERT_TRUE(same(&home, &home_now)) {
				TH_LOG("%s: what was before %d/%u has left something", act->name,
				       sweep.kind, sweep.nth);
			}
			ASSERT_TRUE(status == usual || may_fail_with(status)) {
				TH_LOG("%s: failure %d/%u: status %u", act->name, sweep.kind,
				       sweep.nth, status);
			}
			ASSERT_TRUE(same(&now, status == usual ? &after : &before)) {
				TH_LOG("%s: failure %d/%u: status %u, and not as it should be",
				       act->name, sweep.kind, sweep.nth, status);
			}
		}
		total += report(act->name, &sweep);
	}
	printf("# %u failures of ops\n", total);
}

/*
 * What differs. Of the pages that are charged, the host keeps some in hand for those
 * that come next.
 */
static const char *usage_diff(const struct pv_usage *a, struct pv_usage b)
{
	if (labs(a->locked_kb - b.locked_kb) <= 2 * 512 * 4)
		b.locked_kb = a->locked_kb;
	return pv_usage_diff(a, &b);
}

/* ---- start and stop ---------------------------------------------------------- */

TEST_F_TIMEOUT(fault, start, 3600)
{
	struct pv_usage stopped, now;
	struct pv_fault_sweep sweep;

	pv_reset(&self->vm);
	stopped = pv_usage_get();
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		__pv_start(&self->vm, 1, 7);
		sweep.was = pv_fault_disarm();
		if (pv_running(&self->vm))
			pv_reset(&self->vm);
		now = pv_usage_get();
		ASSERT_EQ(NULL, usage_diff(&stopped, now)) {
			TH_LOG("failure %d/%u: %s", sweep.kind, sweep.nth,
			       usage_diff(&stopped, now));
		}
	}
	report("START", &sweep);
	pv_start(&self->vm, 1, 7);
}

/* It can't fail; at worst there is no memory for bypass and the group is blocked */
TEST_F_TIMEOUT(fault, reset, 3600)
{
	struct pv_usage stopped, now;
	struct pv_fault_sweep sweep;
	unsigned int blocked = 0;

	pv_reset(&self->vm);
	stopped = pv_usage_get();
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		pv_start(&self->vm, 1, 7);
		ASSERT_TRUE(go_home(self->r, self->ep));
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_GPA_LO_OFF, self->vm.cookie);
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_GPA_HI_OFF, 0);
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_CONTROL_OFF, PVIOMMU_CMD_RESET);
		sweep.was = pv_fault_disarm();
		/* A write to a register failed, and with it the VMM */
		if (pv_running(&self->vm))
			pv_reset(&self->vm);
		now = pv_usage_get();
		ASSERT_EQ(0, now.pages_mapped);
		ASSERT_EQ(0, now.mappings);
		if (!now.domains) {
			ASSERT_EQ(0, now.pages_pinned);
			blocked++;
			/* Again, with memory */
			pv_reset(&self->vm);
			now = pv_usage_get();
		}
		ASSERT_EQ(NULL, usage_diff(&stopped, now)) {
			TH_LOG("failure %d/%u: %s", sweep.kind, sweep.nth,
			       usage_diff(&stopped, now));
		}
	}
	report("RESET", &sweep);
	/* Which shows that there were some in the midst of it */
	EXPECT_GT(blocked, 0);
	pv_start(&self->vm, 1, 7);
}

/* ---- what a VMM calls ----------------------------------------------------------- */

/* MAP_DMA, with the endpoint in @domain */
#define sweep_map_dma(domain) do {							\
	struct pv_region *high = &self->vm.high;					\
	struct pv_usage __without, __now;						\
	struct pv_fault_sweep __sweep;							\
	__u64 __removed;								\
	int __ret;									\
											\
	pv_attach(self->r, self->ep, domain);						\
	ASSERT_EQ(0, pv_region_unmap(&self->vm, high));					\
	__without = pv_usage_get();							\
	for (__sweep = (struct pv_fault_sweep) {}; pv_fault_next(&__sweep);) {		\
		ASSERT_TRUE(pv_fault_arm(__sweep.kind, __sweep.nth));			\
		__ret = pv_region_map(&self->vm, high);					\
		__sweep.was = pv_fault_disarm();					\
		__removed = 0;								\
		ASSERT_EQ(0, vfio_unmap_dma(self->vm.container, high->gpa, high->size,	\
					    &__removed));				\
		ASSERT_EQ(__ret ? 0 : high->size, __removed);				\
		__now = pv_usage_get();							\
		ASSERT_EQ(NULL, usage_diff(&__without, __now)) {			\
			TH_LOG("failure %d/%u: %s", __sweep.kind, __sweep.nth,		\
			       usage_diff(&__without, __now));				\
		}									\
	}										\
	report("MAP_DMA", &__sweep);							\
	ASSERT_EQ(0, pv_region_map(&self->vm, high));					\
} while (0)

TEST_F_TIMEOUT(fault, map_dma, 3600)
{
	sweep_map_dma(PVIOMMU_DOMAIN_BLOCKED);
	sweep_map_dma(PVIOMMU_DOMAIN_BYPASS);
}

/* Memory leaves, and mappings of it, or the caller's structure can't be reached */
#define unmap_dma(sweep, before, after) do {						\
	struct pv_region *__high = &self->vm.high;					\
	struct pv_fault_sweep *__s = sweep;						\
											\
	ASSERT_TRUE(go_home(self->r, self->ep));					\
	pv_map(self->r, D, FREE, PV_HIGH, 0x28000, PV_RW);				\
	pv_map_2m(self->r, E, FREE, PV_HIGH, PV_2M, PV_RW);				\
	*(before) = snapshot(self->r, self->ep);					\
	ASSERT_TRUE(!__s->nth || pv_fault_arm(__s->kind, __s->nth));			\
	vfio_unmap_dma(self->vm.container, __high->gpa, __high->size, NULL);		\
	if (__s->nth)									\
		__s->was = pv_fault_disarm();						\
	*(after) = snapshot(self->r, self->ep);						\
	vfio_unmap_dma(self->vm.container, __high->gpa, __high->size, NULL);		\
	ASSERT_EQ(0, pv_region_map(&self->vm, __high));					\
} while (0)

TEST_F_TIMEOUT(fault, unmap_dma, 3600)
{
	struct snapshot before, after, now;
	struct pv_fault_sweep sweep = {};

	unmap_dma(&sweep, &before, &after);
	while (pv_fault_next(&sweep)) {
		unmap_dma(&sweep, &before, &now);
		ASSERT_TRUE(same(&now, &after) || (sweep.was && same(&now, &before))) {
			TH_LOG("failure %d/%u", sweep.kind, sweep.nth);
		}
	}
	report("UNMAP_DMA", &sweep);
}

TEST_F(fault, get_info)
{
	struct {
		struct vfio_iommu_type1_info info;
		char caps[256];
	} arg;
	struct pv_usage before = pv_usage_get(), now;
	struct pv_fault_sweep sweep;

	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		memset(&arg, 0, sizeof(arg));
		arg.info.argsz = sizeof(arg);
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ioctl(self->vm.container, VFIO_IOMMU_GET_INFO, &arg);
		sweep.was = pv_fault_disarm();
	}
	now = pv_usage_get();
	EXPECT_EQ(NULL, usage_diff(&before, now));
	report("GET_INFO", &sweep);
}

/* ---- a VM comes to be ------------------------------------------------------------- */

/* Each step in turn fails in each way; what there is of the VM can go */
static bool open_to(struct pv_vm *vm, unsigned int step, struct pv_fault_sweep *sweep)
{
	int (*const steps[])(struct pv_vm *vm) = {
		pv_vm_open_container, pv_vm_add_memory, pv_vm_open_devices,
	};
	unsigned int i;

	for (i = 0; i < step; i++)
		if (steps[i](vm))
			return false;
	if (!pv_fault_arm(sweep->kind, sweep->nth))
		return false;
	steps[step](vm);
	sweep->was = pv_fault_disarm();
	return true;
}

TEST_F_TIMEOUT(fault, open, 3600)
{
	const struct { const char *name; unsigned int step; } tried[] = {
		/*
		 * MAP_DMA, the next step, has a test of its own. To open a device calls
		 * ACPI, which does not survive that its allocations fail.
		 */
		{ "joining a container", 0 },
	};
	struct pv_usage before, now;
	struct pv_fault_sweep sweep;
	struct pv_vm vm;
	unsigned int i;

	pv_vm_close(&self->vm);
	before = pv_usage_get();
	for (i = 0; i < ARRAY_SIZE(tried); i++) {
		for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
			ASSERT_EQ(0, pv_vm_init(&vm, 1, LOW_SIZE));
			ASSERT_TRUE(open_to(&vm, tried[i].step, &sweep));
			pv_vm_close(&vm);
			now = pv_usage_get();
			ASSERT_EQ(NULL, pv_usage_diff(&before, &now)) {
				TH_LOG("%s, failure %d/%u: %s", tried[i].name, sweep.kind,
				       sweep.nth, pv_usage_diff(&before, &now));
			}
			ASSERT_EQ(0, pv_vm_count());
		}
		report(tried[i].name, &sweep);
	}
	ASSERT_EQ(0, pv_vm_open(&self->vm, 1, LOW_SIZE));
}

TEST_HARNESS_MAIN
