// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every failure that there can be, one after the other: each allocation, copy, charge,
 * pin, map and attach on the way of each op is made to fail once. The op either fails, and
 * everything is as it was before, or is done, and everything is as if nothing had failed;
 * then it goes on to the next failure, until there is none left.
 *
 * Two VMs, of which one maps memory of the other, and KVM beside the first one, for the
 * pages that a server watches. Needs two devices; for RECOVER a third, behind a root port.
 * With PV_FAULT_OPS=TEXT in the environment only those whose names have the text in them.
 */
#include <sys/mman.h>

#include "lib/pv_aer.h"
#include "lib/pv_ctl.h"
#include "lib/pv_fault.h"
#include "lib/pv_kvm.h"
#include "lib/pv_server.h"
#include "lib/pv_snap.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"

#define LOW_SIZE	(8ULL << 20)
#define HOME		PV_SNAP_HOME
#define HOME_SIZE	PV_SNAP_HOME_SIZE
#define FREE		PV_SNAP_FREE
#define D		PV_SNAP_D
#define E		PV_SNAP_E
#define F		PV_SNAP_F
#define TABLES		(PV_DATA + 0x200000)
#define SPARE		(PV_DATA + 0x300000)	/* a page that becomes a table */
#define WAIT_MS		60000

/* The VM whose memory is mapped: its number, and its own ring */
static __u32 owner_id;
static struct pv_ring *owner_ring;

/* A CPU of the other one, and the guest-owned table that was made last */
static struct pv_vcpu *vcpu;
static struct pv_table last_table;

FIXTURE(ops)
{
	struct pv_usage before;
	struct pv_vm owner, vm;
	struct pv_kvm kvm;
	struct pv_vcpu cpu;
	struct pv_ring *r;
	__u32 ep;
	int server;
};

static bool lend(__u32 from, __u32 to, const struct pv_region *region)
{
	return !pv_ctl(NULL, 0, "grant add from %u to %u gpa %llu size %llu access rw", from, to,
		       region->gpa, region->size);
}

static int open_owner(struct pv_vm *vm)
{
	return pv_vm_open(vm, 1, LOW_SIZE);
}

static int open_with_kvm(struct pv_vm *vm, struct pv_kvm *kvm, struct pv_vcpu *cpu)
{
	return pv_vm_init_from(vm, 1, 2, LOW_SIZE) ?: pv_kvm_open_rest(kvm, vm) ?:
	       pv_vcpu_open(cpu, kvm, vm);
}

FIXTURE_SETUP(ops)
{
	const char *missing = pv_fault_missing();
	__u32 id;
	int ret;

	self->kvm = (struct pv_kvm) { -1, -1 };
	self->cpu = (struct pv_vcpu) { .fd = -1, .run = MAP_FAILED };
	self->server = -1;
	self->owner.container = -1;
	self->vm.container = -1;
	if (missing)
		SKIP(return, "%s", missing);
	self->before = pv_begin();
	ASSERT_TRUE(pv_ctl_found());
	ASSERT_TRUE(pv_param_set("release_ms", "1"));
	ret = open_owner(&self->owner);
	if (ret == -ENODEV)
		SKIP(return, "needs devices bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	owner_id = pv_ctl_vm_of(getpid());
	ret = open_with_kvm(&self->vm, &self->kvm, &self->cpu);
	if (ret == -ENODEV)
		SKIP(return, "needs two devices bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(0, ret);
	id = pv_ctl_vm_of(getpid());
	ASSERT_NE(owner_id, id);
	ASSERT_TRUE(lend(owner_id, id, &self->owner.low));
	ASSERT_TRUE(lend(owner_id, id, &self->owner.high));
	self->server = pv_server_claim(id);
	ASSERT_LE(0, self->server);
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	vcpu = &self->cpu;
	owner_ring = &self->owner.ring[0];
	ASSERT_TRUE(pv_fault_begin());
	pv_start(&self->vm, 1, 7);
	/* In bypass it could give nothing back */
	pv_start(&self->owner, 1, 7);
	pv_attach(owner_ring, self->owner.dev[0].id, PVIOMMU_DOMAIN_BLOCKED);
}

FIXTURE_TEARDOWN(ops)
{
	pv_fault_end();
	if (self->server >= 0)
		close(self->server);
	pv_vcpu_close(&self->cpu);
	pv_vm_close(&self->vm);
	pv_kvm_close(&self->kvm);
	pv_vm_close(&self->owner);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
}

/* ---- what is tried --------------------------------------------------------- */

/* An op; what has to be done before, from home; and what one should know of it */
struct act {
	const char *name;
	bool (*prepare)(struct pv_ring *r, __u32 ep);
	struct pviommu_op (*op)(struct pv_ring *r, __u32 ep);
	/* What is done instead of an op of the ring; then @op is what brings it to an end */
	__u32 (*deed)(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep);
	bool told;		/* it is done when an event says so */
	bool bit_by_bit;	/* when something fails, some of it may be done */
	bool unseen;		/* the guest is told of what is not */
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

/* Another VM's memory */

static struct pviommu_op foreign(struct pviommu_op op)
{
	op.vm = owner_id;
	return op;
}

static struct pviommu_op op_borrow(struct pv_ring *r, __u32 ep)
{
	return foreign(op_map(r, ep));
}

static struct pviommu_op op_borrow_much(struct pv_ring *r, __u32 ep)
{
	return foreign(op_map_much(r, ep));
}

static struct pviommu_op op_borrow_list(struct pv_ring *r, __u32 ep)
{
	return foreign(op_map_list(r, ep));
}

/* Also into the domain where no endpoint is */
static bool borrow(struct pv_ring *r, __u32 ep)
{
	struct pviommu_op op = op_borrow(r, ep), other = op;

	other.domain = E;
	return !__pv_exec(r, op) && !__pv_exec(r, other);
}

static bool borrow_and_unmap(struct pv_ring *r, __u32 ep)
{
	return borrow(r, ep) && !__pv_unmap(r, D, FREE + 0x3000, 0x4000);
}

static struct pviommu_op op_unmap_borrowed(struct pv_ring *r, __u32 ep)
{
	return pv_op_unmap(D, FREE + 0x3000, 0x4000);
}

/* Tables of the guest's own */

static struct pv_table fill_table(struct pv_ring *r, __u64 step)
{
	struct pv_table table = pv_table(r->vm, 4, TABLES);
	unsigned int i;

	for (i = 0; i < 40; i++)
		pv_table_map(&table, FREE + i * PV_PAGE, PV_DATA + i * step % 41 * PV_PAGE,
			     PV_ENTRY_RW);
	last_table = table;
	return table;
}

static struct pviommu_op op_alloc_table(struct pv_ring *r, __u32 ep)
{
	struct pv_table table = fill_table(r, 7);

	return pv_op_alloc_table(ep, pv_table_format(&table), table.root);
}

static bool new_table(struct pv_ring *r, __u32 ep)
{
	return !__pv_exec(r, op_alloc_table(r, ep)) && r->last.result == F;
}

static bool seen_table(struct pv_ring *r, __u32 ep)
{
	return new_table(r, ep) && !__pv_inv(r, F);
}

static bool changed_table(struct pv_ring *r, __u32 ep)
{
	if (!seen_table(r, ep))
		return false;
	fill_table(r, 11);
	return true;
}

/* and tables whose pages the host watches */

static struct pviommu_op op_alloc_watched(struct pv_ring *r, __u32 ep)
{
	struct pviommu_op op = op_alloc_table(r, ep);

	op.flags = PVIOMMU_ALLOC_F_WATCH;
	return op;
}

static bool new_watched(struct pv_ring *r, __u32 ep)
{
	return !__pv_exec(r, op_alloc_watched(r, ep)) && r->last.result == F;
}

static bool seen_watched(struct pv_ring *r, __u32 ep)
{
	return new_watched(r, ep) && !__pv_inv(r, F);
}

/* Written by nobody whom the host would hear */
static bool changed_watched(struct pv_ring *r, __u32 ep)
{
	if (!seen_watched(r, ep))
		return false;
	fill_table(r, 11);
	return true;
}

/* A table that is not part of another yet, with pages at its beginning and its end */
static bool spare_table(struct pv_ring *r, __u32 ep)
{
	__u64 *table = pv_mem(r->vm, SPARE);

	memset(table, 0, PV_PAGE);
	table[0] = (PV_DATA + 3 * PV_PAGE) | PV_ENTRY_RW;
	table[511] = (PV_DATA + 5 * PV_PAGE) | PV_ENTRY_RW;
	return seen_watched(r, ep);
}

static struct pviommu_op op_look(struct pv_ring *r, __u32 ep)
{
	return pv_op_inv(F);
}

static struct pviommu_op op_attach_table(struct pv_ring *r, __u32 ep)
{
	return pv_op_attach(ep, F);
}

static struct pviommu_op op_free_table(struct pv_ring *r, __u32 ep)
{
	return pv_op_free(F);
}

/* Types of memory */

static struct pviommu_op op_watch(struct pv_ring *r, __u32 ep)
{
	return pv_op_type_set(PV_SNAP_TYPED, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER);
}

static struct pviommu_op op_unwatch(struct pv_ring *r, __u32 ep)
{
	return pv_op_type_set(PV_SNAP_TYPED, PV_PAGE, PVIOMMU_MEM_RAM_RW);
}

static struct pviommu_op op_type(struct pv_ring *r, __u32 ep)
{
	return pv_op_type_get(PV_SNAP_TYPED);
}

static bool watch(struct pv_ring *r, __u32 ep)
{
	return !__pv_exec(r, op_watch(r, ep));
}

/* Dirty pages, pages given back */

static struct pviommu_op op_log(struct pv_ring *r, __u32 ep)
{
	return pv_op_dirty_start(D);
}

static bool start_log(struct pv_ring *r, __u32 ep)
{
	return !__pv_exec(r, op_log(r, ep));
}

static struct pviommu_op op_read_log(struct pv_ring *r, __u32 ep)
{
	return pv_op_dirty_read(D, HOME, HOME_SIZE);
}

static struct pviommu_op op_release(struct pv_ring *r, __u32 ep)
{
	unsigned int i;

	/* Some that are mapped and some that are not */
	for (i = 0; i < 12; i++)
		pv_list(r->vm)[i] = (PV_DATA >> 12) + 2 * i;
	return pv_op_release(12, 0);
}

static struct pviommu_op op_stop_log(struct pv_ring *r, __u32 ep)
{
	return pv_op_dirty_stop(D);
}

/* ---- how it is tried -------------------------------------------------------- */

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

static bool wait_for(struct pv_vm *vm, __u16 type)
{
	struct pviommu_event ev;

	while (pv_event_wait(vm, &ev, WAIT_MS))
		if (ev.type == type)
			return true;
	return false;
}

/* The CPU adds the spare table to one that is watched */
static __u32 store_entry(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep)
{
	__u64 at = pv_entry_gpa(&last_table, FREE + PV_2M, 2), entry = SPARE | PV_ENTRY_RW;
	int ret;

	if (sweep && !pv_fault_arm(sweep->kind, sweep->nth))
		return PV_RING_STUCK;
	ret = pv_vcpu_store(vcpu, at, &entry, sizeof(entry));
	if (sweep)
		sweep->was = pv_fault_disarm();
	/* It was KVM that failed: then the CPU has not made the store */
	if (ret && (!sweep || pv_vcpu_store(vcpu, at, &entry, sizeof(entry))))
		return PV_RING_STUCK;
	return PVIOMMU_OK;
}

/* The owner gives back pages that it has lent */
static __u32 release_lent(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep)
{
	__u32 status = execute(owner_ring, op_release(owner_ring, ep), sweep);

	if (!status && !wait_for(owner_ring->vm, PVIOMMU_EV_RELEASED))
		return PV_RING_STUCK;
	return status;
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
	{ "MAP of another VM's", NULL, op_borrow },
	{ "MAP of another VM's, chunks", NULL, op_borrow_much },
	{ "MAP_LIST of another VM's", NULL, op_borrow_list },
	{ "UNMAP of another VM's", borrow, op_unmap_borrowed },
	{ "INVALIDATE of another VM's", borrow_and_unmap, op_invalidate },
	{ "FREE with another VM's", borrow, op_free },
	{ "ALLOC of a table", NULL, op_alloc_table },
	{ "ATTACH to a table", seen_table, op_attach_table },
	{ "FREE of a table", seen_table, op_free_table },
	{ "first look at a table", new_table, op_look, .bit_by_bit = true },
	{ "look at a changed table", changed_table, op_look, .bit_by_bit = true },
	{ "ALLOC of a watched table", NULL, op_alloc_watched },
	{ "FREE of a watched table", seen_watched, op_free_table },
	{ "first look at a watched table", new_watched, op_look, .bit_by_bit = true },
	{ "look at a changed watched table", changed_watched, op_look, .bit_by_bit = true },
	{ "a CPU's store to a watched table", spare_table, op_look, store_entry,
	  .bit_by_bit = true, .unseen = true },
	{ "TYPE_SET", NULL, op_watch },
	{ "TYPE_SET back", watch, op_unwatch },
	{ "TYPE_GET", watch, op_type },
	{ "DIRTY_START", NULL, op_log },
	{ "DIRTY_READ", start_log, op_read_log },
	{ "DIRTY_STOP", start_log, op_stop_log },
	{ "RELEASE", NULL, op_release, .told = true },
	{ "RELEASE of what is lent", borrow, NULL, release_lent },
};

static bool may_fail_with(__u32 status)
{
	return status == PVIOMMU_ENOMEM || status == PVIOMMU_EIO || status == PVIOMMU_EFAULT;
}

static void forget_events(struct pv_vm *vm)
{
	struct pviommu_event ev;

	while (pv_event_next(vm, &ev))
		;
}

/* How often the guest was told that not all has been looked at: a look of its own does it */
static unsigned int times_unseen;

static bool told_unseen(struct pv_vm *vm)
{
	struct pviommu_event ev;
	bool told = false;

	while (pv_event_next(vm, &ev))
		told |= ev.type == PVIOMMU_EV_FAULT &&
			PVIOMMU_EV_REASON(ev.flags) == PVIOMMU_BAD_UNSEEN;
	times_unseen += told;
	return told;
}

static __u32 perform(struct pv_ring *r, __u32 ep, const struct act *act,
		     struct pv_fault_sweep *sweep)
{
	return act->deed ? act->deed(r, ep, sweep) : execute(r, act->op(r, ep), sweep);
}

/* Go home, prepare, execute; what there was before and is after */
static __u32 attempt(struct pv_ring *r, __u32 ep, const struct act *act,
		     struct pv_fault_sweep *sweep, struct pv_snap *home,
		     struct pv_snap *before, struct pv_snap *after)
{
	__u32 status;

	if (!pv_snap_home(r, ep))
		return PV_RING_STUCK;
	*home = pv_snap(r, ep);
	if (act->prepare && !act->prepare(r, ep))
		return PV_RING_STUCK;
	*before = pv_snap(r, ep);
	forget_events(r->vm);
	status = perform(r, ep, act, sweep);
	if (act->told && !status && !wait_for(r->vm, PVIOMMU_EV_RELEASED))
		return PV_RING_STUCK;
	*after = pv_snap(r, ep);
	return status;
}

/* What may stop anywhere goes on from there, and comes to the same end */
static bool gets_done(struct pv_ring *r, __u32 ep, const struct act *act,
		      const struct pv_snap *after)
{
	struct pv_snap now;

	if (act->unseen && !told_unseen(r->vm))
		return false;
	if (execute(r, act->op(r, ep), NULL))
		return false;
	now = pv_snap(r, ep);
	return pv_snap_same(&now, after);
}

TEST_F_TIMEOUT(ops, every_failure, 3600)
{
	struct pv_snap home, before, after, home_now, now;
	struct pv_fault_sweep sweep;
	const char *only = getenv("PV_FAULT_OPS");
	unsigned int i, total = 0;
	__u32 status, usual;

	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		const struct act *act = &acts[i];

		if (only && !strstr(act->name, only))
			continue;
		usual = attempt(self->r, self->ep, act, NULL, &home, &before, &after);
		ASSERT_NE(PV_RING_STUCK, usual) {
			TH_LOG("%s", act->name);
		}
		for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
			status = attempt(self->r, self->ep, act, &sweep, &home_now, &before, &now);
			ASSERT_TRUE(pv_snap_same(&home, &home_now)) {
				TH_LOG("%s: what was before %d/%u has left something", act->name,
				       sweep.kind, sweep.nth);
			}
			ASSERT_TRUE(status == usual || may_fail_with(status)) {
				TH_LOG("%s: failure %d/%u: status %u", act->name, sweep.kind,
				       sweep.nth, status);
			}
			ASSERT_TRUE(pv_snap_same(&now, status == usual ? &after : &before) ||
				    (act->bit_by_bit &&
				     gets_done(self->r, self->ep, act, &after))) {
				TH_LOG("%s: failure %d/%u: status %u, and not as it should be",
				       act->name, sweep.kind, sweep.nth, status);
			}
		}
		EXPECT_TRUE(!act->unseen || times_unseen);
		total += pv_fault_report(act->name, &sweep);
	}
	printf("# %u failures of ops\n", total);
}

/* RECOVER until the host has dealt with the error, each time with this failure */
static __u32 recover(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep)
{
	__u32 status;
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 50) {
		status = execute(r, pv_op_recover(ep), sweep);
		if (status != PVIOMMU_EBUSY)
			return status;
		usleep(50000);
	}
	return PVIOMMU_EBUSY;
}

TEST_F_TIMEOUT(ops, recover, 3600)
{
	struct pv_dev *victim = &self->vm.dev[1];
	int port = self->vm.nr_devs > 1 ? pv_aer_port(victim->vfio.bdf) : -1;
	struct pv_fault_sweep sweep;
	__u32 status;

	if (port < 0)
		SKIP(return, "needs a third device, behind a root port, and pvvm");
	ASSERT_TRUE(pv_snap_home(self->r, self->ep));
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		pv_attach(self->r, victim->id, E);
		forget_events(&self->vm);
		ASSERT_EQ(0, pv_aer_inject(port, "SDN"));
		ASSERT_TRUE(wait_for(&self->vm, PVIOMMU_EV_ISOLATED));
		ASSERT_EQ(0, vfio_dev_enable(&victim->vfio, true, true));
		status = recover(self->r, victim->id, &sweep);
		ASSERT_TRUE(!status || may_fail_with(status));
		if (status) {
			pv_err_attach(PVIOMMU_EACCES, self->r, victim->id, E);
			ASSERT_EQ(PVIOMMU_OK, recover(self->r, victim->id, NULL));
		}
		pv_attach(self->r, victim->id, D);
	}
	pv_fault_report("RECOVER", &sweep);
}

TEST_HARNESS_MAIN
