// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two VMs, with a device each: what one does, the other does not notice. It can neither
 * see nor change the other's domains and mappings, nor use up what the other may have,
 * nor hold it up, nor take it along when it dies. Needs two edu devices.
 *
 * For what is a process's own both are in one; where that counts (locked memory, time),
 * A is a process of its own.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/edu.h"
#include "lib/pv_kvm.h"
#include "lib/pv_late.h"
#include "lib/pv_peer.h"
#include "lib/pv_server.h"
#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define TARGET		(PV_DATA + 0x10000)
#define BUSY_SIZE	(8ULL << 20)
#define ROUNDS		50

FIXTURE(two)
{
	struct pv_usage before;
	struct pv_vm a, b;
	struct pv_ring *ra, *rb;
	__u32 dom_a, dom_b;
};

static int open_vm(struct pv_vm *vm, int first)
{
	return pv_vm_init_from(vm, first, 1, PV_LOW_SIZE) ?: pv_vm_open_rest(vm);
}

/* Data of its own through a VM's device */
static bool works(struct pv_vm *vm)
{
	static __u64 count;
	__u64 data, *mem = pv_mem(vm, TARGET);

	data = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15ULL;
	*mem = data;
	if (!edu_from_ram(&vm->dev[0].vfio, IOVA, 0, sizeof(data)))
		return false;
	*mem = 0;
	return edu_to_ram(&vm->dev[0].vfio, IOVA, 0, sizeof(data)) && *mem == data;
}

FIXTURE_SETUP(two)
{
	int ret;

	self->before = pv_begin();
	ret = open_vm(&self->a, 0) ?: open_vm(&self->b, 1);
	if (ret == -ENODEV)
		SKIP(return, "needs two devices bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	if (!edu_is(&self->a.dev[0].vfio) || !edu_is(&self->b.dev[0].vfio))
		SKIP(return, "needs edu devices");
	self->ra = &self->a.ring[0];
	self->rb = &self->b.ring[0];
	self->dom_a = __pv_start_mapped(&self->a, IOVA, TARGET);
	self->dom_b = __pv_start_mapped(&self->b, IOVA, TARGET);
	ASSERT_NE(0, self->dom_a);
	ASSERT_NE(0, self->dom_b);
}

FIXTURE_TEARDOWN(two)
{
	pv_params_restore();
	pv_vm_close(&self->a);
	pv_vm_close(&self->b);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

#define expect_b(state) do {						\
	struct pv_state __now = pv_state(self->rb);			\
									\
	EXPECT_TRUE(pv_state_same(state, &__now));			\
	EXPECT_TRUE(works(&self->b));					\
} while (0)

/* What the VM is told of the group of its device */
static __u32 group_number(struct pv_vm *vm)
{
	const struct pviommu_probe *probe = pv_mem(vm, PV_AT_REPLY);

	if (__pv_exec(&vm->ring[0], pv_op_buf(PVIOMMU_OP_PROBE, vm->dev[0].id, PV_AT_REPLY,
					      PV_PAGE)))
		return 0;
	return probe->group;
}

/* The same numbers in both VMs are two things */
TEST_F(two, numbers_are_each_vms_own)
{
	struct pv_state b = pv_state(self->rb);
	struct pviommu_event ev;

	EXPECT_EQ(self->a.dev[0].id, self->b.dev[0].id);
	EXPECT_EQ(self->dom_a, self->dom_b);
	EXPECT_EQ(1, group_number(&self->a));
	EXPECT_EQ(1, group_number(&self->b));
	EXPECT_TRUE(works(&self->a));
	EXPECT_TRUE(works(&self->b));

	pv_err_map(PVIOMMU_EEXIST, self->ra, self->dom_a, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_unmap(self->ra, self->dom_a, IOVA, PV_PAGE);
	pv_inv(self->ra, self->dom_a);
	expect_b(&b);
	pv_detach(self->ra, self->a.dev[0].id, self->dom_a);
	pv_free(self->ra, self->dom_a);
	expect_b(&b);
	pv_lookup(self->rb, self->dom_b, IOVA);
	EXPECT_EQ(TARGET, self->rb->last.lookup.gpa);
	EXPECT_FALSE(pv_event_next(&self->b, &ev));
}

/* The same address of both devices is two places */
TEST_F(two, memory_is_each_vms_own)
{
	__u64 *at_a = pv_mem(&self->a, TARGET), *at_b = pv_mem(&self->b, TARGET);

	EXPECT_TRUE(works(&self->b));
	*at_b = ~0ULL;
	EXPECT_TRUE(works(&self->a));
	EXPECT_EQ(~0ULL, *at_b);
	*at_a = ~0ULL;
	EXPECT_TRUE(works(&self->b));
	EXPECT_EQ(~0ULL, *at_a);
}

/* A reaches only its own numbers, whatever it tries */
TEST_F(two, numbers_of_others_lead_nowhere)
{
	struct pv_state b = pv_state(self->rb);
	__u32 id, more = pv_new_domain(self->rb, self->b.dev[0].id);

	ASSERT_NE(0, more);
	pv_err_map(PVIOMMU_ENOENT, self->ra, more, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_err_exec(PVIOMMU_ENOENT, self->ra, pv_op_inv(more));
	pv_err_free(PVIOMMU_ENOENT, self->ra, more);
	pv_err_unmap(PVIOMMU_ENOENT, self->ra, more, IOVA, PV_PAGE);
	pv_err_exec(PVIOMMU_ENOENT, self->ra, pv_op_unmap_all(more));
	pv_err_map_list(PVIOMMU_ENOENT, self->ra, more, IOVA, PV_AT_LIST, 1, PV_RW);
	pv_err_lookup(PVIOMMU_ENOENT, self->ra, more, IOVA);
	pv_err_attach(PVIOMMU_ENOENT, self->ra, self->a.dev[0].id, more);
	pv_err_detach(PVIOMMU_EINVAL, self->ra, self->a.dev[0].id, more);
	pv_err_exec(PVIOMMU_ENOENT, self->ra, pv_op_dirty_start(more));
	pv_err_exec(PVIOMMU_ENOENT, self->ra, pv_op_dirty_stop(more));
	pv_err_exec(PVIOMMU_ENOENT, self->ra, pv_op_dirty_read(more, 0, PV_PAGE));
	for (id = 0; id < 64; id++) {
		if (id == self->a.dev[0].id)
			continue;
		pv_err_detach(PVIOMMU_ENOENT, self->ra, id, self->dom_a);
		pv_err_exec(PVIOMMU_ENOENT, self->ra, pv_op_recover(id));
		pv_err_alloc(PVIOMMU_ENOENT, self->ra, id);
		pv_err_exec(PVIOMMU_ENOENT, self->ra,
			    pv_op_buf(PVIOMMU_OP_PROBE, id, PV_AT_REPLY, PV_PAGE));
	}
	for (id = 0; id < 64; id++)
		if (id != self->a.dev[0].id)
			pv_err_attach(PVIOMMU_ENOENT, self->ra, id, self->dom_a);
	pv_free(self->rb, more);
	expect_b(&b);
}

/* A has all that it may have, and B as much as before */
TEST_F(two, quotas_are_each_vms_own)
{
	struct pv_state b;
	__u32 status, dom;
	int i;

	ASSERT_TRUE(pv_param_set("max_domains", "4"));
	ASSERT_TRUE(pv_param_set("max_mappings", "16"));
	for (i = 0; i < 8; i++)
		status = __pv_alloc(self->ra, self->a.dev[0].id);
	EXPECT_EQ(PVIOMMU_ENOSPC, status);
	for (i = 1; i < 32; i++)
		status = __pv_map(self->ra, self->dom_a, IOVA + i * PV_2M, TARGET, PV_PAGE, PV_R);
	EXPECT_EQ(PVIOMMU_ENOSPC, status);

	b = pv_state(self->rb);
	dom = pv_new_domain(self->rb, self->b.dev[0].id);
	EXPECT_NE(0, dom);
	for (i = 1; i < 8; i++)
		pv_map(self->rb, dom, IOVA + i * PV_2M, TARGET, PV_PAGE, PV_R);
	pv_free(self->rb, dom);
	expect_b(&b);
}

struct busy {
	struct pv_vm *vm;
	__u32 dom;
	bool stop;
	unsigned int rounds, bad;
};

static void *be_busy(void *data)
{
	struct busy *busy = data;
	struct pv_ring *r = &busy->vm->ring[0];

	while (!__atomic_load_n(&busy->stop, __ATOMIC_RELAXED)) {
		if (__pv_map(r, busy->dom, IOVA * 2, PV_DATA, BUSY_SIZE, PV_RW) ||
		    __pv_unmap(r, busy->dom, IOVA * 2, BUSY_SIZE) || __pv_inv(r, busy->dom))
			busy->bad++;
		__atomic_add_fetch(&busy->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* A maps, unmaps and flushes as much as it can, all the time; B goes on */
TEST_F(two, one_is_busy)
{
	struct busy busy = { .vm = &self->a, .dom = self->dom_a };
	struct pv_state b = pv_state(self->rb);
	pthread_t thread;
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, be_busy, &busy));
	for (i = 0; i < ROUNDS; i++) {
		pv_map(self->rb, self->dom_b, IOVA * 2, PV_DATA, 16 * PV_PAGE, PV_RW);
		pv_unmap(self->rb, self->dom_b, IOVA * 2, 16 * PV_PAGE);
		pv_inv(self->rb, self->dom_b);
	}
	for (i = 0; i < 3 || !__atomic_load_n(&busy.rounds, __ATOMIC_RELAXED); i++)
		EXPECT_TRUE(works(&self->b));
	__atomic_store_n(&busy.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, busy.bad);
	expect_b(&b);
}

/* A is no more, with all that it had */
TEST_F(two, one_dies)
{
	struct pv_state b = pv_state(self->rb);
	int i;

	for (i = 0; i < 3; i++) {
		pv_vm_close(&self->a);
		expect_b(&b);
		ASSERT_EQ(0, open_vm(&self->a, 0));
		ASSERT_NE(0, __pv_start_mapped(&self->a, IOVA, TARGET));
		EXPECT_TRUE(works(&self->a));
	}
	expect_b(&b);
}

/* What A's memory is, and that it goes, is nothing to B */
TEST_F(two, memory_of_one_leaves)
{
	struct pv_state b = pv_state(self->rb);
	struct pviommu_event ev;

	pv_map(self->ra, self->dom_a, IOVA * 2, PV_HIGH, PV_2M, PV_RW);
	pv_map(self->rb, self->dom_b, IOVA * 2, PV_HIGH, PV_2M, PV_RW);
	ASSERT_EQ(0, pv_region_unmap(&self->a, &self->a.high));
	ASSERT_TRUE(pv_event_next(&self->a, &ev));
	EXPECT_EQ(PVIOMMU_EV_REVOKED, ev.type);
	EXPECT_FALSE(pv_event_next(&self->b, &ev));
	pv_lookup(self->rb, self->dom_b, IOVA * 2);
	EXPECT_EQ(PV_HIGH, self->rb->last.lookup.gpa);
	pv_unmap(self->rb, self->dom_b, IOVA * 2, PV_2M);
	pv_inv(self->rb, self->dom_b);
	expect_b(&b);
}

/* ---- A in a process of its own --------------------------------------------------- */

#define A_MEMORY	(8ULL << 20)	/* what A may lock, once it is told */
#define TYPED		(PV_DATA + 0x300000)
#define LATE		(PV_DATA + 0x400000)

/* What A tells of itself while it is busy */
struct told {
	bool stop;
	unsigned int rounds;
	__u64 longest;		/* doorbell, in ns */
};

struct guest {
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_ring *r;
	__u32 dom;
	struct told *told;
	int late;
};

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* An op with the longest of its doorbells, in ns */
static __u32 timed(struct pv_ring *r, struct pviommu_op op, __u64 *longest)
{
	struct pviommu_op *slot = pv_push(r, op);
	__u64 start, took;

	while (r->hdr->cons != r->hdr->prod && !r->hdr->error) {
		start = now_ns();
		pv_kick(r);
		took = now_ns() - start;
		*longest = took > *longest ? took : *longest;
	}
	r->last = *slot;
	return r->hdr->error ? PV_RING_STOPPED : slot->status;
}

/* @count pages from @gpa on */
static struct pviommu_op op_release(struct pv_vm *vm, __u64 gpa, __u32 count)
{
	__u32 i;

	for (i = 0; i < count; i++)
		pv_list(vm)[i] = (gpa >> 12) + i;
	return pv_op_release(count, 0);
}

static bool is_released(struct pv_vm *vm)
{
	struct pviommu_event ev = {};

	while (ev.type != PVIOMMU_EV_RELEASED)
		if (!pv_event_wait(vm, &ev, 10000))
			return false;
	return ev.size;
}

/* ---- what A may have, to the last of it ------------------------------------------- */

static bool fill_memory(struct guest *g)
{
	__u64 size, iova = IOVA * 2;
	__u32 status = 0;

	if (pv_limit_locked(A_MEMORY))
		return false;
	for (size = PV_2M; size >= PV_PAGE; size /= 2)
		while (!(status = __pv_map(g->r, g->dom, iova, PV_DATA, size, PV_RW)))
			iova += size;
	return status == PVIOMMU_ENOMEM && iova - IOVA * 2 > A_MEMORY / 2;
}

static bool fill_mappings(struct guest *g)
{
	__u64 iova = IOVA * 2;

	while (!__pv_map(g->r, g->dom, iova, PV_DATA, PV_PAGE, PV_R))
		iova += PV_2M;
	return g->r->last.status == PVIOMMU_ENOSPC;
}

static bool fill_domains(struct guest *g)
{
	while (pv_new_domain(g->r, g->vm.dev[0].id))
		;
	return g->r->last.status == PVIOMMU_ENOSPC;
}

static bool fill_watched(struct guest *g)
{
	__u64 gpa = TYPED;

	while (!__pv_exec(g->r, pv_op_type_set(gpa, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER)))
		gpa += PV_PAGE;
	return g->r->last.status == PVIOMMU_ENOSPC && gpa > TYPED;
}

static bool fill_releases(struct guest *g)
{
	int i = 0;

	if (__pv_map(g->r, g->dom, IOVA * 2, PV_DATA, PV_PAGE, PV_RW))
		return false;
	while (!__pv_exec(g->r, op_release(&g->vm, PV_DATA, 1)))
		i++;
	return g->r->last.status == PVIOMMU_ENOSPC && i == 64;
}

/* One for each mapping of a page that is given back */
static bool fill_events(struct guest *g)
{
	int i;

	for (i = 0; i < 2 * PVIOMMU_EVENT_SLOTS; i++)
		if (__pv_map(g->r, g->dom, (IOVA + i * PV_PAGE) * 2, PV_DATA, PV_PAGE, PV_R))
			return false;
	if (__pv_exec(g->r, op_release(&g->vm, PV_DATA, 1)))
		return false;
	for (i = 0; i < 1000 && !pv_events(&g->vm)->lost; i++)
		usleep(10000);
	return pv_events(&g->vm)->lost;
}

static bool fill_slots(struct guest *g)
{
	struct pv_region extra = { .gpa = 0x200000000ULL, .size = PV_PAGE, .writable = true };
	int ret;

	extra.hva = pv_mem(&g->vm, PV_DATA);
	while (!(ret = pv_region_map(&g->vm, &extra)))
		extra.gpa += PV_2M;
	return ret == -ENOSPC && extra.gpa > 0x200000000ULL;
}

/* Of each, what has to be set for all VMs so that there is not much of it */
static const struct {
	const char *name;
	bool (*fill)(struct guest *g);
	const char *param, *value;
} quotas[] = {
	{ "locked memory", fill_memory },
	{ "mappings", fill_mappings, "max_mappings", "64" },
	{ "domains", fill_domains, "max_domains", "8" },
	{ "watched pages", fill_watched, "max_watched", "16" },
	{ "releases", fill_releases, "release_ms", "30000" },
	{ "events", fill_events, "max_events", "0" },
	{ "slots", fill_slots, "max_slots", "16" },
};

/* ---- what keeps A busy ---------------------------------------------------------------- */

static bool busy_with_maps(struct guest *g, __u64 *longest)
{
	return !timed(g->r, pv_op_map(g->dom, IOVA * 2, PV_DATA, BUSY_SIZE, PV_RW), longest) &&
	       !timed(g->r, pv_op_unmap(g->dom, IOVA * 2, BUSY_SIZE), longest) &&
	       !timed(g->r, pv_op_inv(g->dom), longest);
}

static bool busy_with_a_domain(struct guest *g, __u64 *longest)
{
	__u32 dom = pv_new_domain(g->r, g->vm.dev[0].id);
	int i;

	for (i = 0; i < 4; i++)
		if (timed(g->r, pv_op_map(dom, IOVA * 2 + i * BUSY_SIZE, PV_DATA, BUSY_SIZE, PV_R),
			  longest))
			return false;
	return !timed(g->r, pv_op_free(dom), longest);
}

static bool busy_with_bypass(struct guest *g, __u64 *longest)
{
	__u32 ep = g->vm.dev[0].id;

	return !timed(g->r, pv_op_attach(ep, PVIOMMU_DOMAIN_BYPASS), longest) &&
	       !timed(g->r, pv_op_attach(ep, g->dom), longest);
}

static bool busy_with_starts(struct guest *g, __u64 *longest)
{
	return !__pv_reset(&g->vm) && (g->dom = __pv_start_mapped(&g->vm, IOVA, TARGET));
}

static bool busy_with_releases(struct guest *g, __u64 *longest)
{
	return !timed(g->r, op_release(&g->vm, PV_DATA + PV_2M, PVIOMMU_LIST_MAX), longest) &&
	       is_released(&g->vm);
}

static bool busy_with_memory(struct guest *g, __u64 *longest)
{
	struct pviommu_event ev;

	if (timed(g->r, pv_op_map(g->dom, IOVA * 2, PV_HIGH, PV_HIGH_SIZE, PV_RW), longest) ||
	    pv_region_unmap(&g->vm, &g->vm.high) || pv_region_map(&g->vm, &g->vm.high))
		return false;
	while (pv_event_next(&g->vm, &ev))
		;
	return true;
}

static const struct {
	const char *name;
	bool (*work)(struct guest *g, __u64 *longest);
} jobs[] = {
	{ "maps", busy_with_maps },
	{ "frees domains", busy_with_a_domain },
	{ "goes to bypass and back", busy_with_bypass },
	{ "starts anew", busy_with_starts },
	{ "releases pages", busy_with_releases },
	{ "loses memory", busy_with_memory },
};

/* ---- where A stands still, as long as its VMM likes ------------------------------------ */

static void *stuck_in_map(void *arg)
{
	struct guest *g = arg;

	return __pv_map(g->r, g->dom, IOVA * 2, LATE, PV_PAGE, PV_RW) ? NULL : arg;
}

static void *stuck_in_answer(void *arg)
{
	struct guest *g = arg;

	return __pv_exec(g->r, pv_op_buf(PVIOMMU_OP_STATS, 0, LATE, PV_PAGE)) ? NULL : arg;
}

static void *stuck_in_bypass(void *arg)
{
	struct guest *g = arg;

	return __pv_attach(g->r, g->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS) ? NULL : arg;
}

/* Its block is no good, as it is all zeroes */
static void *stuck_in_start(void *arg)
{
	struct guest *g = arg;

	return !__pv_reset(&g->vm) &&
	       pv_command(&g->vm, PVIOMMU_CMD_START, LATE) == PVIOMMU_EINVAL ? arg : NULL;
}

static void *lose_memory(void *arg)
{
	struct guest *g = arg;

	return pv_region_unmap(&g->vm, &g->vm.high) ? NULL : arg;
}

static const struct {
	const char *name;
	void *(*work)(void *g);
	void *(*behind)(void *g);	/* what waits for that */
} stalls[] = {
	{ "MAP", stuck_in_map },
	{ "STATS", stuck_in_answer },
	{ "bypass", stuck_in_bypass },
	{ "START", stuck_in_start },
	{ "MAP, and UNMAP_DMA behind it", stuck_in_map, lose_memory },
	{ "bypass, and UNMAP_DMA behind it", stuck_in_bypass, lose_memory },
};

/* ---- what is asked of A ------------------------------------------------------------------ */

#define DONE		PV_PEER_DONE
#define FAILED		PV_PEER_FAILED
#define UNABLE		's'
enum { FILL = 'a', WORK = 'k', STALL = 's', GO_ON = 'z' };

static char work_until_told(struct guest *g, unsigned int job, int out)
{
	struct told *told = g->told;
	char begun = DONE;

	told->rounds = 0;
	told->longest = 0;
	do {
		if (!jobs[job].work(g, &told->longest))
			return FAILED;
		/* A round has been made before it is said that it works */
		if (!told->rounds && write(out, &begun, 1) != 1)
			_exit(1);
		__atomic_add_fetch(&told->rounds, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&told->stop, __ATOMIC_RELAXED));
	return DONE;
}

/* If B waits for A after all, it can't say so, and would do that for ever */
#define STILL_MS	60000

static bool told_to_go_on(int in)
{
	struct pollfd poll_fd = { .fd = in, .events = POLLIN };
	char what;

	return poll(&poll_fd, 1, STILL_MS) == 1 && read(in, &what, 1) == 1 && what == GO_ON;
}

static char stand_still(struct guest *g, unsigned int nr, int in, int out)
{
	void *page = pv_mem(&g->vm, LATE), *ret, *behind = g;
	pthread_t first, second;
	char begun = DONE;
	bool in_time;

	g->late = pv_late_open();
	if (g->late < 0)
		return UNABLE;
	if (!pv_late_begin(g->late, page) ||
	    pthread_create(&first, NULL, stalls[nr].work, g) || !pv_late_is_waited_for(g->late))
		return FAILED;
	if (stalls[nr].behind) {
		if (pthread_create(&second, NULL, stalls[nr].behind, g))
			return FAILED;
		usleep(50000);
	}
	if (write(out, &begun, 1) != 1)
		_exit(1);
	in_time = told_to_go_on(in);
	if (!pv_late_end(g->late, page, NULL))
		return FAILED;
	pthread_join(first, &ret);
	if (stalls[nr].behind)
		pthread_join(second, &behind);
	close(g->late);
	return in_time && ret && behind ? DONE : FAILED;
}

static int open_guest(struct guest *g, int first)
{
	int ret;

	g->kvm = (struct pv_kvm) { -1, -1 };
	ret = pv_vm_init_from(&g->vm, first, 1, PV_LOW_SIZE) ?: pv_kvm_open_rest(&g->kvm, &g->vm);
	if (ret)
		return ret;
	g->r = &g->vm.ring[0];
	g->dom = __pv_start_mapped(&g->vm, IOVA, TARGET);
	return g->dom ? 0 : -EIO;
}

static void close_guest(struct guest *g)
{
	pv_vm_close(&g->vm);
	pv_kvm_close(&g->kvm);
}

static void a_main(struct told *told, int in, int out)
{
	struct guest g = { .told = told };
	int ret = open_guest(&g, 0);
	char what, answer = ret == -ENODEV ? UNABLE : ret ? FAILED : DONE;

	while (write(out, &answer, 1) == 1 && read(in, &what, 1) == 1) {
		if (what == GO_ON)
			answer = FAILED;
		else if (what >= STALL)
			answer = stand_still(&g, what - STALL, in, out);
		else if (what >= WORK)
			answer = work_until_told(&g, what - WORK, out);
		else
			answer = quotas[what - FILL].fill(&g) ? DONE : FAILED;
	}
	_exit(0);
}

FIXTURE(apart)
{
	struct pv_usage before;
	struct guest b;
	struct told *told;
	struct pv_state state;
	char max_watched[32];
	pid_t pid;
	int to, from, server_a, server_b;
};

/* @b: what this process has of B, which A shall not keep open */
static pid_t start_a(struct guest *b, struct told *told, int *to, int *from)
{
	pid_t pid = pv_peer_fork(to, from);

	if (!pid) {
		close_guest(b);
		a_main(told, *from, *to);
	}
	return pid;
}

#define MAX_WATCHED	"/sys/module/pviommu_kvm/parameters/max_watched"

FIXTURE_SETUP(apart)
{
	char answer;
	int ret;

	signal(SIGPIPE, SIG_IGN);
	self->b.vm.container = -1;
	self->b.kvm = (struct pv_kvm) { -1, -1 };
	self->server_a = -1;
	self->server_b = -1;
	self->before = pv_begin();
	self->told = mmap(NULL, PV_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->told);
	if (pv_read_file(MAX_WATCHED, self->max_watched, sizeof(self->max_watched)) < 0)
		SKIP(return, "needs pviommu_kvm");
	/* A's memory is not all pinned, then */
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	self->pid = start_a(&self->b, self->told, &self->to, &self->from);
	ASSERT_LT(0, self->pid);
	answer = pv_peer_ask(self->to, self->from, 0);
	if (answer == UNABLE)
		SKIP(return, "needs two devices bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(DONE, answer);
	self->server_a = pv_server_claim(pv_newest_vm());
	ret = open_guest(&self->b, 1);
	if (ret == -ENODEV)
		SKIP(return, "needs two devices bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	self->server_b = pv_server_claim(pv_newest_vm());
	ASSERT_LE(0, self->server_a);
	ASSERT_LE(0, self->server_b);
	if (!edu_is(&self->b.vm.dev[0].vfio))
		SKIP(return, "needs edu devices");
	self->state = pv_state(self->b.r);
}

FIXTURE_TEARDOWN(apart)
{
	int status;

	if (self->pid > 0) {
		kill(self->pid, SIGKILL);
		waitpid(self->pid, &status, 0);
	}
	close(self->server_a);
	close(self->server_b);
	close_guest(&self->b);
	pv_params_restore();
	pv_write_file(MAX_WATCHED, self->max_watched);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

/* What B does first fails; "" if it does all that it did before */
static const char *does_all(struct guest *b, const struct pv_state *before)
{
	struct pv_state now;
	__u32 dom = pv_new_domain(b->r, b->vm.dev[0].id);
	int i;

	if (!dom)
		return "ALLOC";
	for (i = 0; i < 32; i++)
		if (__pv_map(b->r, dom, IOVA * 2 + i * PV_2M, PV_DATA, PV_2M / 8, PV_RW))
			return "MAP";
	if (__pv_unmap_all(b->r, dom) || __pv_inv(b->r, dom) || __pv_free(b->r, dom))
		return "UNMAP";
	if (__pv_exec(b->r, pv_op_type_set(TYPED, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER)) ||
	    __pv_exec(b->r, pv_op_type_set(TYPED, PV_PAGE, PVIOMMU_MEM_RAM_RW)))
		return "TYPE_SET";
	if (__pv_exec(b->r, op_release(&b->vm, PV_DATA, 8)) || !is_released(&b->vm))
		return "RELEASE";
	if (pv_events(&b->vm)->lost)
		return "events";
	if (pv_region_unmap(&b->vm, &b->vm.high) || pv_region_map(&b->vm, &b->vm.high))
		return "UNMAP_DMA and MAP_DMA";
	if (!works(&b->vm))
		return "DMA";
	now = pv_state(b->r);
	return pv_state_same(before, &now) ? "" : "STATS";
}

/* Of either module; NULL is none */
static bool set_param(const char *name, const char *value)
{
	if (!name)
		return true;
	if (!strcmp(name, "max_watched"))
		return !pv_write_file(MAX_WATCHED, value);
	return pv_param_set(name, value);
}

/* Whatever A has the last of */
TEST_F(apart, quotas_are_used_up)
{
	unsigned int i;

	/* Each with an A of its own: what it has, it keeps */
	for (i = 0; i < ARRAY_SIZE(quotas); i++) {
		int status;

		EXPECT_TRUE(set_param(quotas[i].param, quotas[i].value));
		if (i) {
			kill(self->pid, SIGKILL);
			waitpid(self->pid, &status, 0);
			close(self->server_a);
			close(self->to);
			close(self->from);
			self->pid = start_a(&self->b, self->told, &self->to, &self->from);
			ASSERT_LT(0, self->pid);
			ASSERT_EQ(DONE, pv_peer_ask(self->to, self->from, 0));
			self->server_a = pv_server_claim(pv_newest_vm());
		}
		EXPECT_EQ(DONE, pv_peer_ask(self->to, self->from, FILL + i)) {
			TH_LOG("%s: A can't use it up", quotas[i].name);
		}
		EXPECT_STREQ("", does_all(&self->b, &self->state)) {
			TH_LOG("%s", quotas[i].name);
		}
		pv_params_restore();
		ASSERT_TRUE(pv_param_set("default_blocked", "1"));
		pv_write_file(MAX_WATCHED, self->max_watched);
	}
}

/* ---- time ---------------------------------------------------------------------------- */

#define SAMPLES		100000
#define TRIES		5
#define MS		1000000ULL
#define WAITED		MS
/* For so long at least, and until A has been on twice; but no longer than this */
#define MEASURE		(500 * MS)
#define MEASURE_MAX	(10000 * MS)

struct delay {
	__u64 median, max;	/* of B's doorbells, in ns */
	__u64 wait;		/* the median of those that took longer than WAITED */
	unsigned int waits;	/* and how many these are */
};

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* B maps, unmaps and flushes, a doorbell for each. @rounds: of A, if it is at work */
static bool measure(struct guest *b, const unsigned int *rounds, struct delay *delay)
{
	unsigned int i, before = rounds ? __atomic_load_n(rounds, __ATOMIC_RELAXED) : 0;
	const struct pviommu_op turns[] = {
		pv_op_map(b->dom, IOVA * 2, PV_DATA, 16 * PV_PAGE, PV_RW),
		pv_op_unmap(b->dom, IOVA * 2, 16 * PV_PAGE),
		pv_op_inv(b->dom),
	};
	static __u64 took[ARRAY_SIZE(turns) * SAMPLES];
	__u64 start = now_ns(), time = 0;

	memset(took, 0, sizeof(took));
	for (i = 0; i < ARRAY_SIZE(took) && time < MEASURE_MAX; i++) {
		if (timed(b->r, turns[i % ARRAY_SIZE(turns)], &took[i]))
			return false;
		time = now_ns() - start;
		if (time > MEASURE && i % ARRAY_SIZE(turns) == ARRAY_SIZE(turns) - 1 &&
		    (!rounds || __atomic_load_n(rounds, __ATOMIC_RELAXED) - before > 1))
			break;
	}
	qsort(took, i, sizeof(took[0]), compare);
	delay->median = took[i / 2];
	delay->max = took[i - 1];
	for (delay->waits = 0; delay->waits < i && took[i - 1 - delay->waits] > WAITED;)
		delay->waits++;
	delay->wait = delay->waits ? took[i - 1 - delay->waits / 2] : 0;
	return !rounds || __atomic_load_n(rounds, __ATOMIC_RELAXED) - before > 1;
}

/*
 * What A may cost B: of a CPU that both are on, half, and until its turn comes again; of
 * what the host can't be interrupted in, less than a doorbell. Not more, that is, whatever
 * A does and however long that takes. Times of an emulated machine are what they are: it
 * is the best of a few tries.
 */
static bool within(const struct delay *alone, const struct delay *now, __u64 doorbell)
{
	return now->median <= 3 * alone->median + MS / 5 &&
	       now->max <= 2 * alone->max + 2 * doorbell + 50 * MS;
}

#define log_delay(what, delay, a) \
	TH_LOG("%s: %llu us, at most %llu us, %u over 1 ms: %llu us; of A at most %llu us", \
	       what, (delay).median / 1000, (delay).max / 1000, (delay).waits, \
	       (delay).wait / 1000, (__u64)(a) / 1000)

/* A's longest doorbell, with nothing beside it */
static bool longest_doorbell(struct told *told, int to, int from, __u64 *longest)
{
	told->stop = false;
	if (pv_peer_ask(to, from, WORK) != DONE)
		return false;
	usleep(500000);
	__atomic_store_n(&told->stop, true, __ATOMIC_RELAXED);
	if (pv_peer_ask(to, from, 0) != DONE)
		return false;
	*longest = told->longest;
	return true;
}

TEST_F_TIMEOUT(apart, doorbells_beside_a_busy_one, 600)
{
	struct delay alone, beside;
	__u64 doorbell;
	unsigned int i, try;

	ASSERT_TRUE(longest_doorbell(self->told, self->to, self->from, &doorbell));
	ASSERT_TRUE(measure(&self->b, NULL, &alone));
	log_delay("alone", alone, doorbell);
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		for (try = 0; try < TRIES; try++) {
			self->told->stop = false;
			ASSERT_EQ(DONE, pv_peer_ask(self->to, self->from, WORK + i)) {
				TH_LOG("A %s", jobs[i].name);
			}
			EXPECT_TRUE(measure(&self->b, &self->told->rounds, &beside));
			__atomic_store_n(&self->told->stop, true, __ATOMIC_RELAXED);
			ASSERT_EQ(DONE, pv_peer_ask(self->to, self->from, 0)) {
				TH_LOG("A %s", jobs[i].name);
			}
			log_delay(jobs[i].name, beside, self->told->longest);
			if (within(&alone, &beside, doorbell))
				break;
		}
		EXPECT_GT(TRIES, try) {
			TH_LOG("A %s", jobs[i].name);
		}
	}
	EXPECT_STREQ("", does_all(&self->b, &self->state));
}

/* Nobody waits for A's VMM but A; and B may come and go */
TEST_F_TIMEOUT(apart, one_stands_still, 600)
{
	struct delay alone, beside;
	unsigned int i, try;
	char answer;

	ASSERT_TRUE(measure(&self->b, NULL, &alone));
	for (i = 0; i < ARRAY_SIZE(stalls); i++) {
		int status;

		answer = pv_peer_ask(self->to, self->from, STALL + i);
		if (answer == UNABLE)
			SKIP(return, "needs userfaultfd");
		ASSERT_EQ(DONE, answer) {
			TH_LOG("A in %s", stalls[i].name);
		}
		for (try = 0; try < TRIES; try++) {
			EXPECT_TRUE(measure(&self->b, NULL, &beside));
			log_delay(stalls[i].name, beside, 0);
			if (within(&alone, &beside, 0))
				break;
		}
		EXPECT_GT(TRIES, try) {
			TH_LOG("A in %s", stalls[i].name);
		}
		EXPECT_STREQ("", does_all(&self->b, &self->state)) {
			TH_LOG("A in %s", stalls[i].name);
		}
		close(self->server_b);
		close_guest(&self->b);
		ASSERT_EQ(0, open_guest(&self->b, 1));
		self->server_b = pv_server_claim(pv_newest_vm());
		EXPECT_STREQ("", does_all(&self->b, &self->state)) {
			TH_LOG("B anew, A in %s", stalls[i].name);
		}
		EXPECT_EQ(DONE, pv_peer_ask(self->to, self->from, GO_ON)) {
			TH_LOG("A in %s", stalls[i].name);
		}
		/* Another A, as the last one may have no interface or no memory */
		kill(self->pid, SIGKILL);
		waitpid(self->pid, &status, 0);
		close(self->to);
		close(self->from);
		self->pid = start_a(&self->b, self->told, &self->to, &self->from);
		ASSERT_LT(0, self->pid);
		ASSERT_EQ(DONE, pv_peer_ask(self->to, self->from, 0));
	}
}

TEST_HARNESS_MAIN
