// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of another VM under load: who may have to wait for whom, many loans, grants and
 * owners that end while the borrower maps, and what the time of a refusal tells. For what
 * grants allow see foreign_test.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "lib/foreign.h"
#include "lib/now.h"

/* ---- who waits for whom ---------------------------------------------- */

/* An op that a thread executes, as it may take long */
struct one_op {
	struct pv_ring *r;
	struct pviommu_op op;
	__u32 status;
	volatile bool done;
	pthread_t thread;
};

static void *run_op(void *arg)
{
	struct one_op *one = arg;

	one->status = __pv_exec(one->r, one->op);
	one->done = true;
	return NULL;
}

static bool done_within(const struct one_op *one, int ms)
{
	for (; ms > 0 && !one->done; ms -= 5)
		usleep(5000);
	return one->done;
}

/*
 * A MAP needs a page that the owner's VMM has yet to bring in. The MAP waits for it; the
 * owner's VMM does not wait for the MAP.
 */
TEST_F(foreign, owner_brings_the_page_in)
{
	struct one_op one = { .r = self->r };

	ask_or_skip(PV_OWNER_MAKE_LATE);
	let(PV_OWNER_LATE, PV_PAGE, "rw");
	one.op = foreign_map(self->owner, self->dom, IOVA, PV_OWNER_LATE, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, run_op, &one));
	ask(PV_OWNER_AWAIT_USER);
	ask(PV_OWNER_BRING_IN);
	ASSERT_EQ(0, pthread_join(one.thread, NULL));
	EXPECT_EQ(PVIOMMU_OK, one.status);
	EXPECT_EQ(1, pv_total("pages_lent"));
}

/*
 * The owner's VM has begun to end, which takes long as an op still waits for its memory.
 * From then on there is no such VM, and its grants allow nothing.
 */
TEST_F(foreign, owner_is_ending)
{
	struct one_op one = { .r = self->r };
	struct pv_ring *r = &self->vm.ring[1];
	int i;

	pv_reset(&self->vm);
	pv_start(&self->vm, 2, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	ask_or_skip(PV_OWNER_MAKE_LATE);
	let(PV_DATA, 64 * PV_PAGE, "rw");
	one.op = foreign_map(self->owner, self->dom, IOVA * 2, PV_OWNER_LATE, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, run_op, &one));
	ask(PV_OWNER_AWAIT_USER);
	ask(PV_OWNER_CLOSE);
	for (i = 0; i < 1000 && pv_ctl_vm_of(self->pid); i++)
		usleep(10000);
	EXPECT_EQ(0, pv_ctl_vm_of(self->pid));
	self->r = r;
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_NOWHERE, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, NOBODY, PV_DATA, PV_PAGE, PV_R);
	/* All of that was while the op waited */
	EXPECT_FALSE(one.done);
	ask(PV_OWNER_BRING_IN);
	ASSERT_EQ(0, pthread_join(one.thread, NULL));
	EXPECT_NE(PVIOMMU_OK, one.status);
	for (i = 0; i < 1000 && pv_vm_count() > 1; i++)
		usleep(10000);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	EXPECT_EQ(0, pv_total("pages_lent"));
}

/*
 * The owner's VMM holds up a RELEASE of its own. Neither the borrower nor the administrator
 * waits for that.
 */
TEST_F(foreign, release_that_takes_long)
{
	struct one_op one = { .r = self->r };
	long long id = let(PV_DATA, 16 * PV_PAGE, "rw");

	ask_or_skip(PV_OWNER_SLOW_RELEASE);
	one.op = foreign_map(self->owner, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, run_op, &one));
	EXPECT_TRUE(done_within(&one, 20000));
	/* If the op waits, the administrator would do so, too, for ever */
	if (one.done)
		EXPECT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	ask(PV_OWNER_END_RELEASE);
	ASSERT_EQ(0, pthread_join(one.thread, NULL));
	EXPECT_EQ(PVIOMMU_OK, one.status);
}

#define MANY	60000	/* mappings that wait for a flush, and of the same page of the owner */

/* Execute @op, a MAP of a page, @n times at consecutive IOVAs. False if one of them fails */
static bool map_many(struct pv_ring *r, struct pviommu_op op, unsigned int n)
{
	const struct pviommu_op *slot;
	unsigned int i;

	for (i = 0; i < n; i++) {
		slot = pv_push(r, op);
		op.map.iova += PV_PAGE;
		if ((i + 1) % r->slots && i + 1 < n)
			continue;
		if (!pv_run(r) || slot->status)
			return false;
	}
	return true;
}

/*
 * How long it takes to end a grant depends on how much was lent by it, not on what else the
 * borrower has: here, as much again that is unmapped and waits for a flush.
 */
TEST_F_TIMEOUT(foreign, many_loans_and_a_long_limbo, 1800)
{
	long long id = let(PV_DATA, PV_PAGE, "rw");
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = self->r;
	double made, gone;	/* seconds */
	__u64 begin;

	pv_reset(vm);
	pv_start(vm, 1, PVIOMMU_RING_ORDER_MAX);
	self->dom = pv_new_domain(r, vm->dev[0].id);
	ASSERT_NE(0, self->dom);
	begin = now_ns();
	ASSERT_TRUE(map_many(r, pv_op_map(self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW), MANY));
	pv_unmap_all(r, self->dom);
	ASSERT_TRUE(map_many(r, foreign_map(self->owner, self->dom, IOVA, PV_DATA, PV_PAGE,
					    PV_RW), MANY));
	EXPECT_EQ(MANY, pv_total("pages_lent"));
	made = (now_ns() - begin) / 1e9;
	begin = now_ns();
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	gone = (now_ns() - begin) / 1e9;
	TH_LOG("made in %.1f s, gone in %.1f s", made, gone);
	EXPECT_EQ(0, pv_total("pages_lent"));
	EXPECT_LT(gone, 2 * made + 5);
	pv_inv(r, self->dom);
	EXPECT_EQ(0, pv_total("pages_mapped"));
}

/* ---- a borrower that keeps its domain busy ---------------------------- */

#define LOANS	80000
#define LOOKERS	7
#define OWN	PVIOMMU_DIRTY_PAGES	/* the borrower's own mappings, of a page each */

/* A thread that has the host look at all mappings of the domain, over and over */
struct looker {
	struct pv_ring *r;
	__u32 dom;
	bool stop;
	unsigned int strange;
	pthread_t thread;
};

static void *read_the_log(void *arg)
{
	struct looker *l = arg;

	while (!__atomic_load_n(&l->stop, __ATOMIC_RELAXED))
		if (__pv_exec(l->r, pv_op_dirty_read(l->dom, IOVA * 4, OWN * PV_PAGE)))
			l->strange++;
	return NULL;
}

/*
 * How long it takes to end a grant by which @map has been executed many times, in seconds, while
 * threads read the log. -1: something failed
 */
static double time_recall(struct pv_vm *vm, long long grant, struct pviommu_op map,
			  struct looker *lookers, int nr)
{
	double gone = -1;
	__u64 begin;
	int i;

	if (!map_many(&vm->ring[0], map, LOANS))
		return -1;
	for (i = 0; i < nr; i++) {
		lookers[i] = (struct looker) { .r = &vm->ring[1 + i], .dom = map.domain };
		if (pthread_create(&lookers[i].thread, NULL, read_the_log, &lookers[i]))
			return -1;
	}
	usleep(100000);
	begin = now_ns();
	if (!pv_ctl(NULL, 0, "grant del grant %lld", grant))
		gone = (now_ns() - begin) / 1e9;
	for (i = 0; i < nr; i++) {
		__atomic_store_n(&lookers[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(lookers[i].thread, NULL);
		if (lookers[i].strange)
			gone = -1;
	}
	return gone;
}

/*
 * A recall takes the lock of the borrower's domain for each loan. The borrower can't stretch it
 * by having this lock taken all the time.
 */
TEST_F_TIMEOUT(foreign, recall_from_a_busy_domain, 1800)
{
	struct looker lookers[LOOKERS];
	struct pviommu_op map;
	double quiet, busy;
	int tries = 0;

	pv_reset(&self->vm);
	pv_start(&self->vm, 1 + LOOKERS, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	ASSERT_TRUE(map_many(self->r, pv_op_map(self->dom, IOVA * 4, PV_DATA, PV_PAGE, PV_RW),
			     OWN));
	pv_exec(self->r, pv_op_dirty_start(self->dom));
	map = foreign_map(self->owner, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	/* Somebody else may take the machine's time, but hardly thrice */
	do {
		quiet = time_recall(&self->vm, let(PV_DATA, PV_PAGE, "rw"), map, lookers, 0);
		ASSERT_LT(0, quiet);
		busy = time_recall(&self->vm, let(PV_DATA, PV_PAGE, "rw"), map, lookers, LOOKERS);
		ASSERT_LT(0, busy);
		TH_LOG("gone in %.2f s; while the log is read, in %.2f s", quiet, busy);
	} while (busy >= 3 * quiet + 0.5 && ++tries < 3);
	EXPECT_GT(3, tries);
	EXPECT_EQ(0, pv_total("pages_lent"));
	EXPECT_EQ(OWN, pv_total("pages_mapped"));
}

/* ---- grants and owners that end under load ---------------------------- */

struct borrower {
	struct pv_ring *r;
	__u32 owner, dom;
	__u64 iova;
	unsigned int mapped, refused, strange;	/* ops by their status */
	bool stop;
};

/* Map memory of the owner and unmap it, over and over */
static void *borrow_all_the_time(void *arg)
{
	struct borrower *b = arg;
	__u32 status;

	while (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED)) {
		status = __pv_exec(b->r, foreign_map(b->owner, b->dom, b->iova, PV_DATA,
						     1024 * PV_PAGE, PV_RW));
		if (status == PVIOMMU_OK)
			__atomic_add_fetch(&b->mapped, 1, __ATOMIC_RELAXED);
		else if (status == PVIOMMU_EACCES)
			__atomic_add_fetch(&b->refused, 1, __ATOMIC_RELAXED);
		else
			b->strange++;
		/* Part of it may be revoked already, which is no error */
		__pv_unmap(b->r, b->dom, b->iova, 600 * PV_PAGE);
		__pv_unmap_all(b->r, b->dom);
		__pv_inv(b->r, b->dom);
	}
	return NULL;
}

/* Wait until @count is greater than @before */
static bool wait_for_more(const unsigned int *count, unsigned int before)
{
	int ms;

	for (ms = 0; ms < 30000; ms++) {
		if (__atomic_load_n(count, __ATOMIC_RELAXED) > before)
			return true;
		usleep(1000);
	}
	return false;
}

TEST_F_TIMEOUT(foreign, grants_come_and_go_under_load, 1800)
{
	struct borrower b = { .owner = self->owner, .iova = IOVA };
	struct pv_vm *vm = &self->vm;
	unsigned int before;
	pthread_t thread;
	long long id;
	int i;

	pv_reset(vm);
	pv_start(vm, 2, 6);
	b.r = &vm->ring[0];
	b.dom = pv_new_domain(b.r, vm->dev[0].id);
	ASSERT_NE(0, b.dom);
	ASSERT_EQ(0, pthread_create(&thread, NULL, borrow_all_the_time, &b));
	for (i = 0; i < 10; i++) {
		before = __atomic_load_n(&b.mapped, __ATOMIC_RELAXED);
		id = let(PV_DATA, 1024 * PV_PAGE, "rw");
		/* At least one MAP by this grant; then end it at another point each time */
		EXPECT_TRUE(wait_for_more(&b.mapped, before));
		usleep(5000 * i);
		ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
		EXPECT_EQ(0, pv_total("pages_lent"));
	}
	__atomic_store_n(&b.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	TH_LOG("mapped %u times, refused %u times", b.mapped, b.refused);
	EXPECT_LT(0, b.refused);
	EXPECT_EQ(0, b.strange);
	EXPECT_EQ(0, pv_total("mappings"));
}

TEST_F(foreign, owner_is_killed_under_load)
{
	struct borrower b = { .r = self->r, .owner = self->owner, .dom = self->dom, .iova = IOVA };
	pthread_t thread;
	int i;

	let(PV_DATA, 1024 * PV_PAGE, "rw");
	ASSERT_EQ(0, pthread_create(&thread, NULL, borrow_all_the_time, &b));
	EXPECT_TRUE(wait_for_more(&b.mapped, 0));
	pv_owner_end(&self->pid, SIGKILL);
	/* Pages that are just being pinned stay lent until that op ends */
	for (i = 0; i < 1000 && pv_total("pages_lent"); i++)
		usleep(10000);
	EXPECT_EQ(0, pv_total("pages_lent"));
	__atomic_store_n(&b.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, pv_total("mappings"));
}

/* ---- the time that a refusal takes ------------------------------------ */

#define OTHER_GRANTS	48	/* of each kind */
#define SAMPLES		101
#define A_SAMPLE	48	/* ops */
#define TRIES		15
#define ALIKE		1.25	/* the medians differ by at most 25 %, in the best of the tries */

/* A VM that is asked for memory without a grant */
struct asked {
	const char *what;
	__u32 id;
	double sample[SAMPLES];		/* us for an op */
};

static int compare_double(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static double median(struct asked *asked)
{
	qsort(asked->sample, SAMPLES, sizeof(double), compare_double);
	return asked->sample[SAMPLES / 2];
}

/* How long it takes to refuse @op, in us; -1 if the status is not EACCES */
static double time_refusal(struct pv_ring *r, struct pviommu_op op)
{
	const struct pviommu_op *slot[A_SAMPLE];
	__u64 before;
	double us;
	int i;

	for (i = 0; i < A_SAMPLE; i++)
		slot[i] = pv_push(r, op);
	before = now_ns();
	if (!pv_run(r))
		return -1;
	us = (now_ns() - before) / 1e3 / A_SAMPLE;
	for (i = 0; i < A_SAMPLE; i++)
		if (slot[i]->status != PVIOMMU_EACCES)
			return -1;
	return us;
}

/* Take turns, so that whatever else runs on this machine affects all of them alike */
static bool take_samples(struct pv_ring *r, struct pviommu_op op, struct asked *asked, int n)
{
	int i, round;

	for (round = 0; round < SAMPLES; round++) {
		for (i = 0; i < n; i++) {
			struct asked *one = &asked[(round + i) % n];

			op.vm = one->id;
			one->sample[round] = time_refusal(r, op);
			if (one->sample[round] < 0)
				return false;
		}
	}
	return true;
}

/* The longest median divided by the shortest one. Prints the medians to @text */
static double spread(struct asked *asked, int n, char *text, size_t size)
{
	double least = 1e9, most = 0, us;
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++) {
		us = median(&asked[i]);
		least = us < least ? us : least;
		most = us > most ? us : most;
		len += snprintf(text + len, size - len, "%s%s %.2f", i ? ", " : "",
				asked[i].what, us);
	}
	return most / least;
}

/*
 * Without a grant, MAP is refused alike whether there is such a VM or not. The time that it
 * takes must not tell, either.
 */
TEST_F_TIMEOUT(foreign, refusals_take_the_same_time, 1800)
{
	struct pviommu_op ops[] = {
		foreign_map(0, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW),
		foreign_list(&self->vm, 0, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW),
	};
	const char *const names[] = { "MAP", "MAP_LIST" };
	struct asked asked[] = {
		{ "no VM" }, { "a VM" }, { "a VM with grants of other memory and to others" },
		{ "0xffffffff" },
	};
	int to = -1, from = -1, i, try;
	char text[256];
	double ratio;
	pid_t third;

	third = pv_owner_start(2, &to, &from);
	ASSERT_LT(0, third);
	if (pv_peer_ask(to, from, 0) != PV_PEER_DONE) {
		pv_owner_end(&third, SIGTERM);
		SKIP(return, "needs three devices");
	}
	asked[0].id = NOBODY;
	asked[1].id = pv_ctl_vm_of(third);
	asked[2].id = self->owner;
	asked[3].id = UINT32_MAX;
	for (i = 0; i < OTHER_GRANTS; i++) {
		EXPECT_LT(0, grant_add(self->owner, asked[1].id, PV_DATA, PV_PAGE, "rw"));
		EXPECT_LT(0, grant_add(self->owner, self->id, PV_DATA + PV_PAGE, PV_PAGE, "rw"));
	}
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		ratio = 0;
		for (try = 0; try < TRIES && !(ratio && ratio <= ALIKE); try++) {
			ASSERT_TRUE(take_samples(self->r, ops[i], asked, ARRAY_SIZE(asked)));
			ratio = spread(asked, ARRAY_SIZE(asked), text, sizeof(text));
			TH_LOG("%s: median us: %s: within %.0f %%", names[i], text,
			       (ratio - 1) * 100);
		}
		EXPECT_GE(ALIKE, ratio);
	}
	pv_owner_end(&third, SIGTERM);
	close(to);
	close(from);
}

TEST_HARNESS_MAIN
