// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two VMs of the same process, A and B, with a device each: what A does has no effect on B. A
 * can neither see nor change domains, mappings and memory of B, nor use up what B may have,
 * nor hold it up, nor take it along when it dies. Needs two edu devices. For a VM that is a
 * burden for the host see two_vms_load_test.
 */
#include <pthread.h>

#include "lib/edu.h"
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

/* Does the device of the VM reach TARGET at IOVA? */
static bool works(struct pv_vm *vm)
{
	return edu_round_trip(&vm->dev[0].vfio, IOVA, pv_mem(vm, TARGET));
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

/* B has what it had, and its device works */
#define expect_b(state) do {						\
	struct pv_state __now = pv_state(self->rb);			\
									\
	EXPECT_TRUE(pv_state_same(state, &__now));			\
	EXPECT_TRUE(works(&self->b));					\
} while (0)

/* Both VMs use the same numbers, which name different things in each of them */
TEST_F(two, numbers_are_each_vms_own)
{
	struct pv_state b = pv_state(self->rb);
	struct pviommu_event ev;

	EXPECT_EQ(2, pv_vm_count());
	EXPECT_EQ(self->a.dev[0].id, self->b.dev[0].id);
	EXPECT_EQ(self->dom_a, self->dom_b);
	EXPECT_EQ(1, pv_probe(self->ra, self->a.dev[0].id).group);
	EXPECT_EQ(1, pv_probe(self->rb, self->b.dev[0].id).group);
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

/* The same IOVA leads each device to the memory of its own VM */
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

/* Numbers that only B has name nothing for A */
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

/* A has used up what it may have; B may have as much as before */
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

/* A maps, unmaps and flushes without end; B makes progress */
TEST_F(two, one_is_busy)
{
	struct busy busy = { .vm = &self->a, .dom = self->dom_a };
	struct pv_state b = pv_state(self->rb);
	pthread_t thread;
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, be_busy, &busy));
	for (i = 0; i < ROUNDS || !__atomic_load_n(&busy.rounds, __ATOMIC_RELAXED); i++) {
		pv_map(self->rb, self->dom_b, IOVA * 2, PV_DATA, 16 * PV_PAGE, PV_RW);
		pv_unmap(self->rb, self->dom_b, IOVA * 2, 16 * PV_PAGE);
		pv_inv(self->rb, self->dom_b);
	}
	for (i = 0; i < 3; i++)
		EXPECT_TRUE(works(&self->b));
	__atomic_store_n(&busy.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, busy.bad);
	expect_b(&b);
}

/* A is closed, with all that it has, and opened again */
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

/* Memory of A is unplugged: B has other memory at that address, and keeps it */
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

TEST_HARNESS_MAIN
