// SPDX-License-Identifier: GPL-2.0-only
/*
 * One VM, A, is a burden for the host; another VM, B, must not suffer from it. A uses up its
 * quotas, keeps the host busy, or stalls in the middle of an op. Meanwhile B can do all that
 * it could do before, and its doorbells take hardly longer. Needs two edu devices and KVM.
 *
 * A is a process of its own, as locked memory and CPU time are a process's own: see
 * lib/pv_load.h. B is this process. For what else keeps two VMs apart see two_vms_test.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/edu.h"
#include "lib/now.h"
#include "lib/pv_load.h"
#include "lib/pv_server.h"
#include "lib/pv_test.h"

#define IOVA		PV_LOAD_IOVA
#define TARGET		PV_LOAD_TARGET

FIXTURE(apart)
{
	struct pv_usage before;
	struct pv_load_vm b;
	struct pv_load_told *told;
	struct pv_state state;	/* of B */
	char max_watched[32];	/* as it was */
	pid_t pid;		/* of A */
	int to, from, server_a, server_b;
};

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
	/* Not all of A's memory is pinned then, so that locked memory can be used up */
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	self->pid = pv_load_start(&self->b, self->told, &self->to, &self->from);
	ASSERT_LT(0, self->pid);
	answer = pv_peer_ask(self->to, self->from, 0);
	if (answer == PV_LOAD_UNABLE)
		SKIP(return, "needs two devices bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(PV_PEER_DONE, answer);
	self->server_a = pv_server_claim(pv_newest_vm());
	ret = pv_load_open(&self->b, 1);
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
	pv_load_close(&self->b);
	pv_params_restore();
	pv_write_file(MAX_WATCHED, self->max_watched);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

/* End A, and begin anew with another A */
#define restart_a() do {								\
	int __status;									\
											\
	kill(self->pid, SIGKILL);							\
	waitpid(self->pid, &__status, 0);						\
	close(self->server_a);								\
	close(self->to);								\
	close(self->from);								\
	self->pid = pv_load_start(&self->b, self->told, &self->to, &self->from);	\
	ASSERT_LT(0, self->pid);							\
	ASSERT_EQ(PV_PEER_DONE, pv_peer_ask(self->to, self->from, 0));			\
	self->server_a = pv_server_claim(pv_newest_vm());				\
	ASSERT_LE(0, self->server_a);							\
} while (0)

/* Have B do everything that a VM can do. "", or what it fails to do */
static const char *does_all(struct pv_load_vm *b, const struct pv_state *before)
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
	if (__pv_exec(b->r, pv_op_type_set(PV_LOAD_TYPED, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER)) ||
	    __pv_exec(b->r, pv_op_type_set(PV_LOAD_TYPED, PV_PAGE, PVIOMMU_MEM_RAM_RW)))
		return "TYPE_SET";
	if (__pv_exec(b->r, pv_load_release(&b->vm, PV_DATA, 8)) || !pv_load_is_released(&b->vm))
		return "RELEASE";
	if (pv_events(&b->vm)->lost)
		return "events";
	if (pv_region_unmap(&b->vm, &b->vm.high) || pv_region_map(&b->vm, &b->vm.high))
		return "UNMAP_DMA and MAP_DMA";
	if (!edu_round_trip(&b->vm.dev[0].vfio, IOVA, pv_mem(&b->vm, TARGET)))
		return "DMA";
	now = pv_state(b->r);
	return pv_state_same(before, &now) ? "" : "STATS";
}

/* Set a parameter of pviommu_host or of pviommu_kvm, if there is a name */
static bool set_param(const char *name, const char *value)
{
	if (!name)
		return true;
	if (!strcmp(name, "max_watched"))
		return !pv_write_file(MAX_WATCHED, value);
	return pv_param_set(name, value);
}

/* A uses up one of its quotas, each time another one; B still gets all that it asks for */
TEST_F(apart, quotas_are_used_up)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pv_load_quotas); i++) {
		EXPECT_TRUE(set_param(pv_load_quotas[i].param, pv_load_quotas[i].value));
		if (i)
			restart_a();
		EXPECT_EQ(PV_PEER_DONE, pv_peer_ask(self->to, self->from, PV_LOAD_FILL + i)) {
			TH_LOG("%s: A cannot use it up", pv_load_quotas[i].name);
		}
		EXPECT_STREQ("", does_all(&self->b, &self->state)) {
			TH_LOG("%s", pv_load_quotas[i].name);
		}
		pv_params_restore();
		ASSERT_TRUE(pv_param_set("default_blocked", "1"));
		ASSERT_EQ(0, pv_write_file(MAX_WATCHED, self->max_watched));
	}
}

/* ---- time ---------------------------------------------------------------------------- */

#define SAMPLES		100000
#define TRIES		10
#define WAITED		MS
/* Measure for at least this long, and until A has completed two rounds; but no longer than MAX */
#define MEASURE		(500 * MS)
#define MEASURE_MAX	(60000 * MS)
/* What no doorbell may take, on the slowest machine; one that waits for A takes longer */
#define FOR_EVER	(PV_LOAD_STALL_MS * MS / 6)

struct delay {
	__u64 median, max;	/* of B's doorbells, in ns */
	__u64 most;		/* all but one in a thousand take at most this long */
	__u64 wait;		/* the median of those that took longer than WAITED */
	unsigned int waits;	/* how many took longer than WAITED */
};

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/*
 * B maps, unmaps and flushes, with a doorbell for each. @rounds: the rounds that A has
 * completed, if it is at work. 0; the status of an op that failed; -EAGAIN if A does not get
 * two rounds done.
 */
static int measure(struct pv_load_vm *b, const unsigned int *rounds, struct delay *delay)
{
	unsigned int i, before = rounds ? __atomic_load_n(rounds, __ATOMIC_RELAXED) : 0;
	const struct pviommu_op turns[] = {
		pv_op_map(b->dom, IOVA * 2, PV_DATA, 16 * PV_PAGE, PV_RW),
		pv_op_unmap(b->dom, IOVA * 2, 16 * PV_PAGE),
		pv_op_inv(b->dom),
	};
	static __u64 took[ARRAY_SIZE(turns) * SAMPLES];
	__u64 start = now_ns(), time = 0;
	int status;

	memset(took, 0, sizeof(took));
	for (i = 0; i < ARRAY_SIZE(took) && time < MEASURE_MAX; i++) {
		status = pv_load_timed(b->r, turns[i % ARRAY_SIZE(turns)], &took[i]);
		if (status)
			return status;
		time = now_ns() - start;
		if (time > MEASURE && i % ARRAY_SIZE(turns) == ARRAY_SIZE(turns) - 1 &&
		    (!rounds || __atomic_load_n(rounds, __ATOMIC_RELAXED) - before > 1))
			break;
	}
	qsort(took, i, sizeof(took[0]), compare);
	delay->median = took[i / 2];
	delay->max = took[i - 1];
	delay->most = took[i - 1 - i / 1000];
	for (delay->waits = 0; delay->waits < i && took[i - 1 - delay->waits] > WAITED;)
		delay->waits++;
	delay->wait = delay->waits ? took[i - 1 - delay->waits / 2] : 0;
	return !rounds || __atomic_load_n(rounds, __ATOMIC_RELAXED) - before > 1 ? 0 : -EAGAIN;
}

/*
 * What A may cost B, whatever A does and however long that takes. A CPU that both run on is
 * shared: B gets half of it, and waits for its turn. Besides, B may wait for host code that
 * cannot be interrupted, which takes less than a doorbell of A. An emulated machine adds
 * noise to all times, and stands still for a moment now and then, so one doorbell in a thousand
 * does not count, and the caller tries several times and takes the best.
 */
static bool within(const struct delay *alone, const struct delay *now, __u64 doorbell)
{
	return now->median <= 3 * alone->median + MS / 5 &&
	       now->most <= 2 * alone->most + 2 * doorbell + 50 * MS && now->max < FOR_EVER;
}

#define log_delay(what, delay, a) \
	TH_LOG("%s: %llu us, at most %llu us, %u over 1 ms: %llu us; of A at most %llu us", \
	       what, (delay).median / 1000, (delay).max / 1000, (delay).waits, \
	       (delay).wait / 1000, (__u64)(a) / 1000)

/* The longest doorbell of A while B is idle */
static bool longest_doorbell(struct pv_load_told *told, int to, int from, __u64 *longest)
{
	told->stop = false;
	if (pv_peer_ask(to, from, PV_LOAD_WORK) != PV_PEER_DONE)
		return false;
	usleep(500000);
	__atomic_store_n(&told->stop, true, __ATOMIC_RELAXED);
	if (pv_peer_ask(to, from, 0) != PV_PEER_DONE)
		return false;
	*longest = told->longest;
	return true;
}

TEST_F_TIMEOUT(apart, doorbells_beside_a_busy_one, 1800)
{
	struct delay alone, beside = {};
	__u64 doorbell;
	unsigned int i, try;
	char answer;
	int ret;

	ASSERT_TRUE(longest_doorbell(self->told, self->to, self->from, &doorbell));
	for (i = 0; i < ARRAY_SIZE(pv_load_jobs); i++) {
		for (try = 0; try < TRIES; try++) {
			ASSERT_EQ(0, measure(&self->b, NULL, &alone));
			log_delay("alone", alone, doorbell);
			self->told->stop = false;
			answer = pv_peer_ask(self->to, self->from, PV_LOAD_WORK + i);
			ASSERT_EQ(PV_PEER_DONE, answer) {
				TH_LOG("A %s", pv_load_jobs[i].name);
			}
			ret = measure(&self->b, &self->told->rounds, &beside);
			EXPECT_GE(0, ret);
			__atomic_store_n(&self->told->stop, true, __ATOMIC_RELAXED);
			ASSERT_EQ(PV_PEER_DONE, pv_peer_ask(self->to, self->from, 0)) {
				TH_LOG("A %s", pv_load_jobs[i].name);
			}
			log_delay(pv_load_jobs[i].name, beside, self->told->longest);
			if (!ret && within(&alone, &beside, doorbell))
				break;
		}
		EXPECT_GT(TRIES, try) {
			TH_LOG("A %s", pv_load_jobs[i].name);
		}
	}
	EXPECT_STREQ("", does_all(&self->b, &self->state));
}

/*
 * A stalls in an op, because its VMM does not provide a page. B does not wait for it, and can
 * even be closed and opened again.
 */
TEST_F_TIMEOUT(apart, one_stands_still, 1800)
{
	struct delay alone, beside = {};
	unsigned int i, try;
	char answer;

	ASSERT_EQ(0, measure(&self->b, NULL, &alone));
	for (i = 0; i < ARRAY_SIZE(pv_load_stalls); i++) {
		answer = pv_peer_ask(self->to, self->from, PV_LOAD_STALL + i);
		if (answer == PV_LOAD_UNABLE)
			SKIP(return, "needs userfaultfd");
		ASSERT_EQ(PV_PEER_DONE, answer) {
			TH_LOG("A in %s", pv_load_stalls[i].name);
		}
		for (try = 0; try < TRIES; try++) {
			EXPECT_EQ(0, measure(&self->b, NULL, &beside));
			EXPECT_GT(FOR_EVER, beside.max);
			log_delay(pv_load_stalls[i].name, beside, 0);
			if (within(&alone, &beside, 0))
				break;
		}
		EXPECT_GT(TRIES, try) {
			TH_LOG("A in %s", pv_load_stalls[i].name);
		}
		EXPECT_STREQ("", does_all(&self->b, &self->state)) {
			TH_LOG("A in %s", pv_load_stalls[i].name);
		}
		close(self->server_b);
		pv_load_close(&self->b);
		ASSERT_EQ(0, pv_load_open(&self->b, 1));
		self->server_b = pv_server_claim(pv_newest_vm());
		ASSERT_LE(0, self->server_b);
		EXPECT_STREQ("", does_all(&self->b, &self->state)) {
			TH_LOG("B opened again, A in %s", pv_load_stalls[i].name);
		}
		EXPECT_EQ(PV_PEER_DONE, pv_peer_ask(self->to, self->from, PV_LOAD_GO_ON)) {
			TH_LOG("A in %s", pv_load_stalls[i].name);
		}
		/* This A may have no interface or no memory any more */
		restart_a();
	}
}

TEST_HARNESS_MAIN
