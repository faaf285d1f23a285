// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures inside the host while it executes an op. Each allocation, user copy, charge,
 * pin, map and attach that an op makes is made to fail once, one after the other. After
 * each of these failures, either the op has failed and everything is as it was before, or
 * the op has succeeded and everything is as if nothing had failed. "Everything" is what the
 * guest can see, and what the IOMMU's tables let the device reach. The test goes on to the next
 * failure until there is none left.
 *
 * There are two VMs. One maps memory of the other, and has KVM, for pages that the host
 * watches. Needs two devices and pviommu_test_memory; for RECOVER a third device, behind a root
 * port. With
 * PV_FAULT_OPS=TEXT in the environment, only the ops whose names contain TEXT are tried.
 */
#include "lib/pv_aer.h"
#include "lib/pv_ctl.h"
#include "lib/pv_fault.h"
#include "lib/pv_pair.h"
#include "lib/pv_server.h"
#include "lib/pv_snap.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"
#include "lib/pv_vtd.h"

#define HOME		PV_SNAP_HOME
#define HOME_SIZE	PV_SNAP_HOME_SIZE
#define FREE		PV_SNAP_FREE
#define D		PV_SNAP_D
#define E		PV_SNAP_E
#define F		PV_SNAP_F
#define TABLES		(PV_DATA + 0x200000)
#define SPARE		(PV_DATA + 0x300000)	/* a page that is linked as a table */
#define WAIT_MS		60000

/* The VM whose memory is mapped: its number, and its ring */
static __u32 owner_id;
static struct pv_ring *owner_ring;

/* The CPU of the other VM, and the guest-owned table that was built last */
static struct pv_vcpu *vcpu;
static struct pv_table last_table;

FIXTURE(ops)
{
	struct pv_usage before;
	struct pv_pair pair;
	struct pv_ring *r;
	__u32 ep;
	int server;
};

static bool lend(const struct pv_pair *pair, const struct pv_region *region)
{
	return !pv_ctl(NULL, 0, "grant add from %u to %u gpa %llu size %llu access rw",
		       pair->owner_id, pair->id, region->gpa, region->size);
}

FIXTURE_SETUP(ops)
{
	struct pv_pair *pair = &self->pair;
	const char *missing = pv_fault_missing();
	int ret;

	pv_pair_init(pair);
	self->server = -1;
	if (missing)
		SKIP(return, "%s", missing);
	if (!pv_vtd_readable())
		SKIP(return, "needs pviommu_test_memory, and VT-d");
	self->before = pv_begin();
	ASSERT_TRUE(pv_ctl_found());
	ASSERT_TRUE(pv_param_set("release_ms", "1"));
	ret = pv_pair_open(pair, 2);
	if (ret == -ENODEV)
		SKIP(return, "needs two devices bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(0, ret);
	ASSERT_TRUE(lend(pair, &pair->owner.low));
	ASSERT_TRUE(lend(pair, &pair->owner.high));
	self->server = pv_server_claim(pair->id);
	ASSERT_LE(0, self->server);
	self->r = &pair->vm.ring[0];
	self->ep = pair->vm.dev[0].id;
	owner_id = pair->owner_id;
	owner_ring = &pair->owner.ring[0];
	vcpu = &pair->cpu;
	ASSERT_TRUE(pv_fault_begin());
	pv_start(&pair->vm, 1, 7);
	/* The owner must not be in bypass, where the host refuses RELEASE */
	pv_start(&pair->owner, 1, 7);
	pv_attach(owner_ring, pair->owner.dev[0].id, PVIOMMU_DOMAIN_BLOCKED);
}

FIXTURE_TEARDOWN(ops)
{
	pv_fault_end();
	if (self->server >= 0)
		close(self->server);
	pv_pair_close(&self->pair);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
}

/* ---- the ops ---------------------------------------------------------------- */

/* An op, or something else that the host reacts to, in which failures are tried */
struct act {
	const char *name;
	/* What to do before the op, in the state that pv_snap_home() makes; may be NULL */
	bool (*prepare)(struct pv_ring *r, __u32 ep);
	struct pviommu_op (*op)(struct pv_ring *r, __u32 ep);
	/* If set, done instead of @op; then @op completes what a failure has left undone */
	__u32 (*perform)(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep);
	bool async;		/* complete only when RELEASED arrives */
	bool partial;		/* after a failure, part of it may be done */
	bool unseen;		/* after a failure, BAD_UNSEEN tells the guest to look again */
	const char *safe;	/* why nothing but the doorbell can fail; NULL if more can */
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

/* All of the memory made of large pages, which takes several chunks */
static struct pviommu_op op_map_much(struct pv_ring *r, __u32 ep)
{
	return pv_op_map(D, FREE, PV_HIGH, PV_HIGH_SIZE, PV_RW);
}

static struct pviommu_op op_map_2m(struct pv_ring *r, __u32 ep)
{
	return pv_op_map_2m(D, FREE, PV_HIGH, PV_HIGH_SIZE, PV_RW);
}

/* The last page is read-only, so the op is refused also when no failure is injected */
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

/* Memory of another VM */

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

/* Into the domain of the endpoint, and into one without an endpoint */
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

/* Guest-owned tables */

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

/* Attached, so that the tables of the IOMMU are seen to change */
static bool attached_table(struct pv_ring *r, __u32 ep)
{
	return new_table(r, ep) && !__pv_attach(r, ep, F);
}

static bool seen_table(struct pv_ring *r, __u32 ep)
{
	return new_table(r, ep) && !__pv_inv(r, F);
}

static bool changed_table(struct pv_ring *r, __u32 ep)
{
	if (!attached_table(r, ep) || __pv_inv(r, F))
		return false;
	fill_table(r, 11);
	return true;
}

/* Guest-owned tables whose pages the host watches */

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

static bool attached_watched(struct pv_ring *r, __u32 ep)
{
	return new_watched(r, ep) && !__pv_attach(r, ep, F);
}

static bool seen_watched(struct pv_ring *r, __u32 ep)
{
	return new_watched(r, ep) && !__pv_inv(r, F);
}

/* This process changes the table, which the host does not notice: only a look tells it */
static bool changed_watched(struct pv_ring *r, __u32 ep)
{
	if (!attached_watched(r, ep) || __pv_inv(r, F))
		return false;
	fill_table(r, 11);
	return true;
}

/* A page with a first and a last entry, which is not linked into the table yet */
static bool spare_table(struct pv_ring *r, __u32 ep)
{
	__u64 *table = pv_mem(r->vm, SPARE);

	memset(table, 0, PV_PAGE);
	table[0] = (PV_DATA + 3 * PV_PAGE) | PV_ENTRY_RW;
	table[511] = (PV_DATA + 5 * PV_PAGE) | PV_ENTRY_RW;
	return attached_watched(r, ep) && !__pv_inv(r, F);
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

/* Dirty logs, RELEASE */

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

	/* Some of these pages are mapped, some are not */
	for (i = 0; i < 12; i++)
		pv_list(r->vm)[i] = (PV_DATA >> 12) + 2 * i;
	return pv_op_release(12, 0);
}

static struct pviommu_op op_stop_log(struct pv_ring *r, __u32 ep)
{
	return pv_op_dirty_stop(D);
}

/* ---- execution -------------------------------------------------------------- */

/* Execute @op, with the next failure of @sweep unless that is NULL. Returns the status */
static __u32 execute(struct pv_ring *r, struct pviommu_op op, struct pv_fault_sweep *sweep)
{
	struct pviommu_op *slot = pv_push(r, op);

	if (sweep && !pv_fault_arm(sweep->kind, sweep->nth))
		return PV_RING_STUCK;
	pv_kick(r);
	if (sweep)
		sweep->was = pv_fault_disarm();
	/* The failure may have been in the doorbell itself; a long op takes several */
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

/* The CPU links the spare page into a watched table */
static __u32 store_entry(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep)
{
	__u64 at = pv_entry_gpa(&last_table, FREE + PV_2M, 2), entry = SPARE | PV_ENTRY_RW;
	int ret;

	if (sweep && !pv_fault_arm(sweep->kind, sweep->nth))
		return PV_RING_STUCK;
	ret = pv_vcpu_store(vcpu, at, &entry, sizeof(entry));
	if (sweep)
		sweep->was = pv_fault_disarm();
	/* If the failure was in KVM, the CPU has not made the store */
	if (ret && (!sweep || pv_vcpu_store(vcpu, at, &entry, sizeof(entry))))
		return PV_RING_STUCK;
	return PVIOMMU_OK;
}

/* The owner releases pages that it has lent */
static __u32 release_lent(struct pv_ring *r, __u32 ep, struct pv_fault_sweep *sweep)
{
	__u32 status = execute(owner_ring, op_release(owner_ring, ep), sweep);

	if (!status && !wait_for(owner_ring->vm, PVIOMMU_EV_RELEASED))
		return PV_RING_STUCK;
	return status;
}

/* Why nothing can fail */
#define GIVES_BACK	"what it gives back is in the records; blocked is always there"
#define READS		"the answer is in the ring"
#define SWITCHES	"a log is a flag of the domain"

static const struct act acts[] = {
	{ "ALLOC", NULL, op_alloc },
	{ "FREE", NULL, op_free, .safe = GIVES_BACK },
	{ "MAP", NULL, op_map },
	{ "MAP of several chunks", NULL, op_map_much },
	{ "MAP of large pages", NULL, op_map_2m },
	{ "MAP_LIST", NULL, op_map_list },
	{ "MAP_LIST of large pages", NULL, op_map_list_2m },
	{ "MAP_LIST that is refused", NULL, op_map_refused },
	{ "UNMAP of a part", NULL, op_unmap },
	{ "UNMAP of all", NULL, op_unmap_all, .safe = GIVES_BACK },
	{ "INVALIDATE", unmap_a_part, op_invalidate, .safe = GIVES_BACK },
	{ "LOOKUP", NULL, op_lookup, .safe = READS },
	{ "ATTACH", NULL, op_attach },
	{ "ATTACH from blocked", block, op_attach },
	{ "ATTACH from bypass", bypass, op_attach },
	{ "ATTACH to bypass", NULL, op_attach_bypass },
	{ "ATTACH to bypass from blocked", block, op_attach_bypass },
	{ "DETACH", NULL, op_detach, .safe = GIVES_BACK },
	{ "PROBE", NULL, op_probe },
	{ "STATS", NULL, op_stats },
	{ "MAP of another VM's", NULL, op_borrow },
	{ "MAP of another VM's, chunks", NULL, op_borrow_much },
	{ "MAP_LIST of another VM's", NULL, op_borrow_list },
	{ "UNMAP of another VM's", borrow, op_unmap_borrowed },
	{ "INVALIDATE of another VM's", borrow_and_unmap, op_invalidate, .safe = GIVES_BACK },
	{ "FREE with another VM's", borrow, op_free, .safe = GIVES_BACK },
	{ "ALLOC of a table", NULL, op_alloc_table },
	{ "ATTACH to a table", seen_table, op_attach_table },
	{ "FREE of a table", seen_table, op_free_table, .safe = GIVES_BACK },
	{ "first look at a table", attached_table, op_look, .partial = true },
	{ "look at a changed table", changed_table, op_look, .partial = true },
	{ "ALLOC of a watched table", NULL, op_alloc_watched },
	{ "FREE of a watched table", seen_watched, op_free_table, .safe = GIVES_BACK },
	{ "first look at a watched table", attached_watched, op_look, .partial = true },
	{ "look at a changed watched table", changed_watched, op_look, .partial = true },
	{ "a CPU's store to a watched table", spare_table, op_look, store_entry,
	  .partial = true, .unseen = true },
	{ "TYPE_SET", NULL, op_watch },
	{ "TYPE_SET back", watch, op_unwatch, .safe = GIVES_BACK },
	{ "TYPE_GET", watch, op_type, .safe = READS },
	{ "DIRTY_START", NULL, op_log, .safe = SWITCHES },
	{ "DIRTY_READ", start_log, op_read_log },
	{ "DIRTY_STOP", start_log, op_stop_log, .safe = SWITCHES },
	{ "RELEASE", NULL, op_release, .async = true },
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

/* How many times BAD_UNSEEN told the guest to look at its table by INVALIDATE */
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
	return act->perform ? act->perform(r, ep, sweep) : execute(r, act->op(r, ep), sweep);
}

/*
 * Return to the initial state, prepare, and execute with a failure. @home, @before and
 * @after are what the guest sees at each of these points.
 */
static __u32 attempt(struct pv_ring *r, __u32 ep, const struct act *act,
		     struct pv_fault_sweep *sweep, struct pv_snap *home,
		     struct pv_snap *before, struct pv_snap *after)
{
	__u32 status;

	if (!pv_snap_home(r, ep))
		return PV_RING_STUCK;
	*home = pv_snap(r, ep);
	/* The tables must be readable, and say what was mapped at home */
	if (home->reach.pages * PV_PAGE != HOME_SIZE)
		return PV_RING_STUCK;
	if (act->prepare && !act->prepare(r, ep))
		return PV_RING_STUCK;
	*before = pv_snap(r, ep);
	forget_events(r->vm);
	status = perform(r, ep, act, sweep);
	if (act->async && !status && !wait_for(r->vm, PVIOMMU_EV_RELEASED))
		return PV_RING_STUCK;
	*after = pv_snap(r, ep);
	return status;
}

/* What stopped part-way is completed by @op, with the same result as without a failure */
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

/* The failures of an op that needs nothing: those of ringing the doorbell */
static unsigned int doorbell_failures(struct pv_ring *r)
{
	struct pv_fault_sweep sweep = {};

	while (pv_fault_next(&sweep))
		execute(r, pv_op(PVIOMMU_OP_FEATURES), &sweep);
	return pv_fault_report("the doorbell", &sweep);
}

/* Each failure of @act, from @home on: what is then is as before, or @after if it is done */
#define try_each(r, ep, act, sweep, usual, home, after) do {				\
	struct pv_snap __home, __before, __now;						\
	__u32 __status;									\
											\
	while (pv_fault_next(sweep)) {							\
		__status = attempt(r, ep, act, sweep, &__home, &__before, &__now);	\
		ASSERT_TRUE(pv_snap_same(home, &__home)) {				\
			TH_LOG("%s: before failure %d/%u: not the initial state",	\
			       (act)->name, (sweep)->kind, (sweep)->nth);		\
		}									\
		ASSERT_TRUE(__status == (usual) || may_fail_with(__status)) {		\
			TH_LOG("%s: failure %d/%u: status %u", (act)->name,		\
			       (sweep)->kind, (sweep)->nth, __status);			\
		}									\
		ASSERT_TRUE(pv_snap_same(&__now, __status == (usual) ? after : &__before) || \
			    ((act)->partial && gets_done(r, ep, act, after))) {		\
			TH_LOG("%s: failure %d/%u: status %u, wrong state after it",	\
			       (act)->name, (sweep)->kind, (sweep)->nth, __status);	\
		}									\
	}										\
} while (0)

TEST_F_TIMEOUT(ops, every_failure, 3600)
{
	unsigned int i, failures, doorbell, total[PV_FAULT_KINDS] = {};
	const char *only = getenv("PV_FAULT_OPS");
	struct pv_snap home, before, after;
	__u32 usual;

	doorbell = doorbell_failures(self->r);
	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		const struct act *act = &acts[i];
		struct pv_fault_sweep sweep = {};

		if (only && !strstr(act->name, only))
			continue;
		usual = attempt(self->r, self->ep, act, NULL, &home, &before, &after);
		ASSERT_NE(PV_RING_STUCK, usual) {
			TH_LOG("%s", act->name);
		}
		try_each(self->r, self->ep, act, &sweep, usual, &home, &after);
		EXPECT_TRUE(!act->unseen || times_unseen);
		failures = pv_fault_report(act->name, &sweep);
		EXPECT_TRUE(act->safe ? failures == doorbell : failures > doorbell) {
			TH_LOG("%s: %u failures, %u of them of the doorbell", act->name, failures,
			       doorbell);
		}
		total[PV_FAULT_KERNEL] += sweep.count[PV_FAULT_KERNEL];
		total[PV_FAULT_ENGINE] += sweep.count[PV_FAULT_ENGINE];
	}
	printf("# %u failures of ops\n", total[PV_FAULT_KERNEL] + total[PV_FAULT_ENGINE]);
	/* Failures of both kinds must have happened, or nothing was tried */
	EXPECT_TRUE(only || total[PV_FAULT_KERNEL]);
	EXPECT_TRUE(only || total[PV_FAULT_ENGINE]);
}

/* Repeat RECOVER, each time with this failure, until the host has handled the error */
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

/* An error of the device in E cuts it off */
static bool cut_off(struct pv_ring *r, struct pv_dev *victim, int port)
{
	if (__pv_attach(r, victim->id, E))
		return false;
	forget_events(r->vm);
	return !pv_aer_inject(port, "SDN") && wait_for(r->vm, PVIOMMU_EV_ISOLATED) &&
	       !vfio_dev_enable(&victim->vfio, true, true);
}

/* The endpoint of @victim is as in @want */
#define expect_as(want) do {								\
	struct pv_snap __now = pv_snap(self->r, victim->id);				\
											\
	ASSERT_TRUE(pv_snap_same(&__now, want)) {					\
		TH_LOG("failure %d/%u: status %u", sweep.kind, sweep.nth, status);	\
	}										\
} while (0)

/* Either the device is still cut off, or it is recovered, and then it can be attached */
TEST_F_TIMEOUT(ops, recover, 3600)
{
	struct pv_vm *vm = &self->pair.vm;
	struct pv_dev *victim = &vm->dev[1];
	int port = vm->nr_devs > 1 ? pv_aer_port(victim->vfio.bdf) : -1;
	struct pv_snap cut, recovered, attached;
	struct pv_fault_sweep sweep = {};
	__u32 status;

	if (port < 0)
		SKIP(return, "needs a third device, behind a root port, and pvvm");
	ASSERT_TRUE(pv_snap_home(self->r, self->ep));
	ASSERT_TRUE(cut_off(self->r, victim, port));
	cut = pv_snap(self->r, victim->id);
	ASSERT_EQ(PVIOMMU_OK, recover(self->r, victim->id, NULL));
	recovered = pv_snap(self->r, victim->id);
	pv_attach(self->r, victim->id, D);
	attached = pv_snap(self->r, victim->id);
	ASSERT_EQ(HOME_SIZE, attached.reach.pages * PV_PAGE);
	while (pv_fault_next(&sweep)) {
		ASSERT_TRUE(cut_off(self->r, victim, port));
		status = recover(self->r, victim->id, &sweep);
		ASSERT_TRUE(!status || may_fail_with(status));
		expect_as(status ? &cut : &recovered);
		if (status) {
			pv_err_attach(PVIOMMU_EACCES, self->r, victim->id, E);
			expect_as(&cut);
			ASSERT_EQ(PVIOMMU_OK, recover(self->r, victim->id, NULL));
			expect_as(&recovered);
		}
		pv_attach(self->r, victim->id, D);
		expect_as(&attached);
	}
	/* It has nothing of its own that can fail: it lifts a hold */
	EXPECT_EQ(doorbell_failures(self->r), pv_fault_report("RECOVER", &sweep));
}

TEST_HARNESS_MAIN
