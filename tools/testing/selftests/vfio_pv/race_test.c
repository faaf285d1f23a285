// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that get in each other's way, as vCPUs and the VMM of a real VM do.
 * Whatever each op's status is, the host must survive and nothing may be left.
 */
#include <pthread.h>
#include <time.h>

#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define SLOTS		16
#define SECONDS		5

FIXTURE(race)
{
	struct pv_usage before;
	struct pv_vm vm;
	bool stop;
	__u32 dom[2];
	unsigned int rounds[4];
};

FIXTURE_SETUP(race)
{
	int i;

	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 2, PV_LOW_SIZE);
	pv_start(&self->vm, 4, 6);
	for (i = 0; i < 2; i++) {
		self->dom[i] = pv_new_domain(&self->vm.ring[0], self->vm.dev[0].id);
		ASSERT_NE(0, self->dom[i]);
	}
}

FIXTURE_TEARDOWN(race)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

typedef struct _test_data_race race_t;

static bool stopped(race_t *self)
{
	return __atomic_load_n(&self->stop, __ATOMIC_RELAXED);
}

/* The statuses that a race may give; all else is a bug */
static bool expected(__u32 status)
{
	switch (status) {
	case PVIOMMU_OK:
	case PVIOMMU_ENOENT:
	case PVIOMMU_EEXIST:
	case PVIOMMU_EFAULT:
	case PVIOMMU_EBUSY:
	case PVIOMMU_EINVAL:
	case PVIOMMU_ENOMEM:
	case PVIOMMU_ENOSPC:
		return true;
	default:
		return false;
	}
}

/* Map, unmap and flush in both domains; much of the memory comes and goes */
static void *map_and_unmap(void *arg)
{
	race_t *self = arg;
	struct pv_ring *r = &self->vm.ring[1];
	unsigned int n;
	bool good = true;

	for (n = 0; good && !stopped(self); n++) {
		__u32 dom = self->dom[n & 1];
		__u64 iova = IOVA + n % SLOTS * PV_2M;
		__u64 gpa = n % 3 ? PV_HIGH + n % 64 * PV_PAGE : PV_DATA;

		good = expected(__pv_map(r, dom, iova, gpa, n % 512 * PV_PAGE + PV_PAGE, PV_RW)) &&
		       expected(__pv_map_2m(r, dom, iova + 0x40000000, PV_HIGH, PV_2M, PV_R)) &&
		       expected(__pv_unmap(r, dom, iova, PV_2M)) &&
		       expected(__pv_inv_page(r, dom, iova, PV_2M)) &&
		       expected(__pv_unmap_all(r, dom)) && expected(__pv_inv(r, dom));
	}
	self->rounds[0] = n;
	return good ? NULL : "map and unmap";
}

/* Move the endpoints about, and have domains come and go */
static void *attach_and_detach(void *arg)
{
	race_t *self = arg;
	struct pv_ring *r = &self->vm.ring[2];
	unsigned int n;
	bool good = true;

	for (n = 0; good && !stopped(self); n++) {
		__u32 ep = self->vm.dev[n % self->vm.nr_devs].id;
		__u32 dom = pv_new_domain(r, ep);

		good = expected(__pv_attach(r, ep, self->dom[n & 1])) &&
		       expected(__pv_map(r, dom, IOVA, PV_HIGH, 0x20000, PV_RW)) &&
		       expected(__pv_attach(r, ep, dom)) &&
		       expected(__pv_free(r, dom)) &&
		       expected(__pv_detach(r, ep, dom)) &&
		       expected(__pv_free(r, dom)) &&
		       (n % 8 || expected(__pv_attach(r, ep, PVIOMMU_DOMAIN_BYPASS)));
	}
	self->rounds[1] = n;
	return good ? NULL : "attach and detach";
}

/* Take memory away and bring it back */
static void *memory_comes_and_goes(void *arg)
{
	race_t *self = arg;
	unsigned int n;

	for (n = 0; !stopped(self); n++)
		if (pv_region_unmap(&self->vm, &self->vm.high) ||
		    pv_region_map(&self->vm, &self->vm.high))
			return "memory";
	self->rounds[2] = n;
	return NULL;
}

/* One ring, kicked by two threads: the ops are put there by one only */
static void *kick_others(void *arg)
{
	race_t *self = arg;
	unsigned int n;

	for (n = 0; !stopped(self); n++)
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_DOORBELL_OFF,
			     PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL));
	self->rounds[3] = n;
	return NULL;
}

/* Stop and start while others are at it: their rings die, the host does not */
static void *restart(void *arg)
{
	race_t *self = arg;
	unsigned int n;

	for (n = 0; !stopped(self); n++)
		if (__pv_reset(&self->vm) ||
		    pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START))
			return "restart";
	self->rounds[1] = n;
	return NULL;
}

/* The guest at its worst: ops of random content, never waited for */
static void *random_ops(void *arg)
{
	race_t *self = arg;
	struct pv_ring *r = &self->vm.ring[3];
	const __u16 codes[] = {
		PVIOMMU_OP_ALLOC, PVIOMMU_OP_FREE, PVIOMMU_OP_ATTACH, PVIOMMU_OP_DETACH,
		PVIOMMU_OP_MAP, PVIOMMU_OP_MAP_LIST, PVIOMMU_OP_UNMAP, PVIOMMU_OP_INVALIDATE,
		PVIOMMU_OP_LOOKUP, PVIOMMU_OP_PROBE,
	};
	unsigned int n, seed = 1;

	for (n = 0; !stopped(self); n++) {
		struct pviommu_op op = pv_op(codes[rand_r(&seed) % ARRAY_SIZE(codes)]);

		if (op.code == PVIOMMU_OP_PROBE)
			op = pv_op_buf(op.code, self->vm.dev[0].id, PV_AT_REPLY, PV_PAGE);
		else if (op.code == PVIOMMU_OP_ALLOC)
			op.endpoint = self->vm.dev[0].id;
		else
			op.domain = PVIOMMU_DOMAIN_FIRST + rand_r(&seed) % 8;
		if (op.code == PVIOMMU_OP_ATTACH || op.code == PVIOMMU_OP_DETACH)
			op.endpoint = self->vm.dev[rand_r(&seed) % self->vm.nr_devs].id;
		if (op.code >= PVIOMMU_OP_MAP && op.code <= PVIOMMU_OP_INVALIDATE) {
			op.map.iova = IOVA + rand_r(&seed) % 1024 * PV_PAGE;
			op.map.gpa = PV_DATA + rand_r(&seed) % 2048 * PV_PAGE;
			op.map.size = (1 + rand_r(&seed) % 700) * PV_PAGE;
			op.map.prot = PV_RW;
			op.map.pgshift = 12;
		}
		if (op.code == PVIOMMU_OP_MAP_LIST)
			op = pv_op_map_list(op.domain, op.map.iova, PV_AT_LIST,
					    1 + rand_r(&seed) % 512, PV_RW);
		if (op.code == PVIOMMU_OP_UNMAP)
			op = pv_op_unmap(op.domain, op.map.iova, op.map.size);
		if (op.code == PVIOMMU_OP_INVALIDATE)
			op = pv_op_inv(op.domain);
		if (op.code == PVIOMMU_OP_LOOKUP)
			op = pv_op_lookup(op.domain, op.map.iova);
		/* The list changes under the host's eyes */
		pv_list(&self->vm)[rand_r(&seed) % 512] = rand_r(&seed) % 5000;
		if (!expected(__pv_exec(r, op)))
			return "random ops";
	}
	self->rounds[3] = n;
	return NULL;
}

/* Run these at the same time for a while; all must end without complaint */
#define race(...) do {								\
	void *(*__fn[])(void *) = { __VA_ARGS__ };				\
	pthread_t __threads[ARRAY_SIZE(__fn)];					\
	struct timespec __time = { .tv_sec = SECONDS };				\
	void *__ret;								\
	unsigned int __i;							\
										\
	for (__i = 0; __i < ARRAY_SIZE(__fn); __i++)				\
		ASSERT_EQ(0, pthread_create(&__threads[__i], NULL, __fn[__i], self)); \
	nanosleep(&__time, NULL);						\
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);			\
	for (__i = 0; __i < ARRAY_SIZE(__fn); __i++) {				\
		ASSERT_EQ(0, pthread_join(__threads[__i], &__ret));		\
		EXPECT_EQ(NULL, __ret) {					\
			TH_LOG("%s: unexpected status", (char *)__ret);		\
		}								\
	}									\
	TH_LOG("rounds: %u %u %u %u", self->rounds[0], self->rounds[1],		\
	       self->rounds[2], self->rounds[3]);				\
} while (0)

/* When all have stopped: only what the fixture made, and it can go */
#define expect_empty() do {							\
	struct pv_ring *__r = &self->vm.ring[0];				\
	struct pv_state __state;						\
	unsigned int __d;							\
										\
	for (__d = 0; __d < (unsigned int)self->vm.nr_devs; __d++)		\
		pv_attach(__r, self->vm.dev[__d].id, PVIOMMU_DOMAIN_BLOCKED);	\
	for (__d = PVIOMMU_DOMAIN_FIRST; __d < 1100; __d++) {			\
		__u32 __status = __pv_free(__r, __d);				\
										\
		EXPECT_TRUE(__status == PVIOMMU_OK || __status == PVIOMMU_ENOENT); \
	}									\
	__state = pv_state(__r);						\
	EXPECT_EQ(0, __state.domains);						\
	EXPECT_EQ(0, __state.mappings);						\
	EXPECT_EQ(0, __state.pages_mapped);					\
	EXPECT_EQ(1, __state.pages_pinned);					\
} while (0)

TEST_F(race, map_against_attach)
{
	race(map_and_unmap, attach_and_detach);
	expect_empty();
}

TEST_F(race, map_against_memory)
{
	race(map_and_unmap, memory_comes_and_goes);
	expect_empty();
}

TEST_F(race, all_against_all)
{
	race(map_and_unmap, attach_and_detach, memory_comes_and_goes, kick_others);
	expect_empty();
}

TEST_F(race, small_doorbells)
{
	ASSERT_TRUE(pv_param_set("doorbell_pages", "3"));
	race(map_and_unmap, attach_and_detach, memory_comes_and_goes, random_ops);
	expect_empty();
}

TEST_F(race, restart_against_all)
{
	race(memory_comes_and_goes, kick_others, restart);
}

TEST_HARNESS_MAIN
