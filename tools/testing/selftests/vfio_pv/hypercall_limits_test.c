// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits: the quotas of a VM, the bound on what one doorbell does, and that there is no other
 * bound on the number of mappings. An op that takes several doorbells must look to the guest
 * like one that takes one.
 */
#include "lib/pv_test.h"

#define IOVA		0x100000000ULL
#define LARGE_SIZE	(64ULL << 20)

FIXTURE(limits)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct pv_state idle;
	__u32 dom;
};

FIXTURE_VARIANT(limits)
{
	const char *doorbell_pages;	/* NULL: as it is */
};

FIXTURE_VARIANT_ADD(limits, budget_default) { .doorbell_pages = NULL };
/* Smaller than the chunks that the host works on, so that each chunk takes a doorbell */
FIXTURE_VARIANT_ADD(limits, budget_small) { .doorbell_pages = "16" };

FIXTURE_SETUP(limits)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, LARGE_SIZE);
	self->r = &self->vm.ring[0];
	if (variant->doorbell_pages)
		ASSERT_TRUE(pv_param_set("doorbell_pages", variant->doorbell_pages));
	pv_start(&self->vm, 2, PVIOMMU_RING_ORDER_MAX);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->vm.dev[0].id, self->dom);
	self->idle = pv_state(self->r);
}

FIXTURE_TEARDOWN(limits)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

#define expect_idle() do {					\
	struct pv_state __now = pv_state(self->r);		\
								\
	EXPECT_TRUE(pv_state_same(&self->idle, &__now));	\
} while (0)

/* ---- the bound of a doorbell --------------------------------------- */

TEST_F(limits, huge_map_takes_more_than_one_doorbell)
{
	__u64 size = LARGE_SIZE - PV_DATA, off;

	self->r->kicks = 0;
	pv_map(self->r, self->dom, IOVA, PV_DATA, size, PV_RW);
	EXPECT_LT(1, self->r->kicks);
	EXPECT_EQ(size, self->r->last.result);
	EXPECT_EQ(size / PV_PAGE, pv_state(self->r).pages_mapped);
	for (off = 0; off < size; off += PV_2M - PV_PAGE) {
		pv_lookup(self->r, self->dom, IOVA + off);
		EXPECT_EQ(PV_DATA + off, self->r->last.lookup.gpa);
	}

	pv_unmap(self->r, self->dom, IOVA, size);
	EXPECT_EQ(size, self->r->last.result);
	EXPECT_EQ(0, pv_state(self->r).pages_mapped);
	EXPECT_EQ(size / PV_2M, pv_state(self->r).mappings);
	pv_inv(self->r, self->dom);
	expect_idle();
}

TEST_F(limits, huge_list)
{
	struct pviommu_op op = pv_op_map_list(self->dom, IOVA, PV_AT_LIST, 64, PV_RW);
	unsigned int i;

	op.list.pgshift = 21;
	for (i = 0; i < 64; i++)
		pv_list(&self->vm)[i] = i % 32;
	self->r->kicks = 0;
	pv_exec(self->r, op);
	EXPECT_LT(1, self->r->kicks);
	EXPECT_EQ(64 * PV_2M, self->r->last.result);
	for (i = 0; i < 64; i++) {
		pv_lookup(self->r, self->dom, IOVA + i * PV_2M + 0x100);
		EXPECT_EQ((i % 32) * PV_2M + 0x100, self->r->last.lookup.gpa);
	}
	pv_unmap_all(self->r, self->dom);
	EXPECT_EQ(64 * PV_2M, self->r->last.result);
	pv_inv(self->r, self->dom);
	expect_idle();
}

TEST_F(limits, failure_late_undoes_all)
{
	/* The last page is not RAM */
	pv_err_map(PVIOMMU_EFAULT, self->r, self->dom, IOVA, PV_DATA,
		   LARGE_SIZE - PV_DATA + PV_PAGE, PV_RW);
	expect_idle();
	/* The last page is mapped */
	pv_map(self->r, self->dom, IOVA + 0x2ff0000, PV_DATA, PV_PAGE, PV_RW);
	pv_err_map(PVIOMMU_EEXIST, self->r, self->dom, IOVA, PV_DATA, 0x3000000, PV_RW);
	pv_lookup(self->r, self->dom, IOVA + 0x2ff0000);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA);
	EXPECT_EQ(1, pv_state(self->r).pages_mapped);
}

/*
 * Undoing a failed MAP takes doorbells, too. What another ring maps meanwhile, where it has
 * been undone already, stays.
 */
TEST_F(limits, failure_late_is_undone_bit_by_bit)
{
	__u64 size = LARGE_SIZE - PV_DATA, most = 0, now, last;
	struct pv_ring *other = &self->vm.ring[1];
	struct pviommu_op *op;
	unsigned int kicks;
	bool mapped = false;

	self->r->kicks = 0;
	pv_map(self->r, self->dom, IOVA, PV_DATA, size, PV_RW);
	kicks = self->r->kicks;
	pv_unmap_all(self->r, self->dom);
	pv_inv(self->r, self->dom);

	self->r->kicks = 0;
	last = IOVA + size - PV_PAGE;
	op = pv_push(self->r, pv_op_map(self->dom, IOVA, PV_DATA, size + PV_PAGE, PV_RW));
	for (pv_kick(self->r); op->status == PVIOMMU_STATUS_PENDING; pv_kick(self->r)) {
		now = pv_state(other).pages_mapped;
		most = now > most ? now : most;
		if (now < most && !mapped)
			mapped = !__pv_map(other, self->dom, last, PV_DATA, PV_PAGE, PV_RW);
	}
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_EFAULT, op->status);
	EXPECT_LT(kicks, self->r->kicks);
	if (variant->doorbell_pages)
		EXPECT_TRUE(mapped);
	EXPECT_EQ(mapped, pv_state(self->r).pages_mapped);
	if (mapped)
		pv_lookup(self->r, self->dom, last);
	pv_unmap_all(self->r, self->dom);
	pv_inv(self->r, self->dom);
	expect_idle();
}

/* Another ring gets its turn while an op goes on */
TEST_F(limits, other_rings_go_on)
{
	struct pviommu_op *op;

	op = pv_push(self->r, pv_op_map(self->dom, IOVA, PV_DATA, LARGE_SIZE - PV_DATA, PV_RW));
	pv_kick(self->r);
	EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
	self->vm.ring[1].kicks = 0;
	pv_exec(&self->vm.ring[1], pv_op(PVIOMMU_OP_NOP));
	EXPECT_EQ(1, self->vm.ring[1].kicks);
	EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_OK, op->status);
}

/* The host has copied the op when it begins: changing the slot has no effect */
TEST_F(limits, begun_op_is_not_read_again)
{
	struct pviommu_op *op;

	op = pv_push(self->r, pv_op_map(self->dom, IOVA, PV_DATA, LARGE_SIZE - PV_DATA, PV_RW));
	pv_kick(self->r);
	*op = pv_op_free(self->dom);
	op->map.size = -PV_PAGE;
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_OK, op->status);
	EXPECT_EQ(LARGE_SIZE - PV_DATA, op->result);
	EXPECT_EQ((LARGE_SIZE - PV_DATA) / PV_PAGE, pv_state(self->r).pages_mapped);
}

TEST_F(limits, reset_in_the_middle_of_a_map)
{
	pv_push(self->r, pv_op_map(self->dom, IOVA, PV_DATA, LARGE_SIZE - PV_DATA, PV_RW));
	pv_kick(self->r);
	EXPECT_LT(0, pv_newest_vm_counter("pages_mapped"));
	pv_reset(&self->vm);
	EXPECT_EQ(0, pv_newest_vm_counter("pages_mapped"));
	EXPECT_EQ(0, pv_newest_vm_counter("mappings"));
}

TEST_F(limits, memory_leaves_in_the_middle_of_a_map)
{
	struct pviommu_op *op;

	self->vm.high.size = PV_HIGH_SIZE;
	op = pv_push(self->r, pv_op_map(self->dom, IOVA, PV_DATA, LARGE_SIZE - PV_DATA, PV_RW));
	pv_kick(self->r);
	EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
	/* The ring is in this memory, too, so the guest does not see the op end */
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.low));
	EXPECT_EQ(0, pv_newest_vm_counter("pages_pinned"));
	pv_kick(self->r);
	EXPECT_EQ(0, pv_newest_vm_counter("pages_mapped"));
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.low));
	pv_kick(self->r);
	EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
}

/* A domain can't be used any more from the moment that FREE begins */
TEST_F(limits, free_of_a_huge_domain)
{
	__u32 ep = self->vm.dev[0].id;
	struct pv_ring *other = &self->vm.ring[1];
	struct pviommu_op *op;

	pv_map(self->r, self->dom, IOVA, PV_DATA, LARGE_SIZE - PV_DATA, PV_RW);
	pv_detach(self->r, ep, self->dom);
	op = pv_push(self->r, pv_op_free(self->dom));
	pv_kick(self->r);
	if (variant->doorbell_pages)
		EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
	if (op->status == PVIOMMU_STATUS_PENDING) {
		pv_err_map(PVIOMMU_ENOENT, other, self->dom, IOVA << 2, PV_DATA, PV_PAGE, PV_RW);
		pv_err_attach(PVIOMMU_ENOENT, other, ep, self->dom);
	}
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_OK, op->status);
	EXPECT_EQ(self->idle.pages_pinned, pv_state(self->r).pages_pinned);
	EXPECT_EQ(0, pv_state(self->r).domains);
}

/* Two rings free the same domain at the same time, each of them piece by piece */
TEST_F(limits, free_twice_at_once)
{
	struct pv_ring *other = &self->vm.ring[1];
	struct pviommu_op *op[2];

	pv_map(self->r, self->dom, IOVA, PV_DATA, LARGE_SIZE - PV_DATA, PV_RW);
	pv_detach(self->r, self->vm.dev[0].id, self->dom);
	op[0] = pv_push(self->r, pv_op_free(self->dom));
	op[1] = pv_push(other, pv_op_free(self->dom));
	pv_kick(self->r);
	pv_kick(other);
	ASSERT_TRUE(pv_run(other));
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_TRUE(op[0]->status == PVIOMMU_OK || op[0]->status == PVIOMMU_ENOENT);
	EXPECT_TRUE(op[1]->status == PVIOMMU_OK || op[1]->status == PVIOMMU_ENOENT);
	EXPECT_TRUE(op[0]->status == PVIOMMU_OK || op[1]->status == PVIOMMU_OK);
	EXPECT_EQ(0, pv_state(self->r).domains);
}

/* ---- quotas -------------------------------------------------------- */

TEST_F(limits, quota_of_mappings)
{
	unsigned int i;

	ASSERT_TRUE(pv_param_set("max_mappings", "4"));
	for (i = 0; i < 4; i++)
		pv_map(self->r, self->dom, IOVA + i * PV_PAGE, PV_DATA, PV_PAGE, PV_RW);
	pv_err_map(PVIOMMU_ENOSPC, self->r, self->dom, IOVA + PV_2M, PV_DATA, PV_PAGE, PV_RW);
	pv_list(&self->vm)[0] = PV_DATA >> 12;
	pv_err_map_list(PVIOMMU_ENOSPC, self->r, self->dom, IOVA + PV_2M, PV_AT_LIST, 1, PV_RW);
	EXPECT_EQ(4, pv_state(self->r).mappings);
	/* Until it is flushed, an unmapped page is pinned and the mapping counts */
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_err_map(PVIOMMU_ENOSPC, self->r, self->dom, IOVA + PV_2M, PV_DATA, PV_PAGE, PV_RW);
	pv_inv(self->r, self->dom);
	pv_map(self->r, self->dom, IOVA + PV_2M, PV_DATA, PV_PAGE, PV_RW);
	pv_unmap_all(self->r, self->dom);
	pv_inv(self->r, self->dom);
	/* A MAP that would exceed the quota leaves nothing */
	pv_err_map(PVIOMMU_ENOSPC, self->r, self->dom, IOVA, PV_DATA, 5 * PV_2M, PV_RW);
	expect_idle();
	pv_map(self->r, self->dom, IOVA, PV_DATA, 4 * PV_2M, PV_RW);
}

/* Mapping and unmapping over and over without a flush meets the quota */
TEST_F(limits, quota_of_unflushed_mappings)
{
	unsigned int i;

	ASSERT_TRUE(pv_param_set("max_mappings", "100"));
	for (i = 0; i < 100; i++) {
		pv_map(self->r, self->dom, IOVA, PV_DATA, 2 * PV_PAGE, PV_RW);
		pv_unmap(self->r, self->dom, IOVA, 2 * PV_PAGE);
	}
	EXPECT_EQ(100, pv_state(self->r).mappings);
	pv_err_map(PVIOMMU_ENOSPC, self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_inv(self->r, self->dom);
	expect_idle();
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
}

TEST_F(limits, quota_of_domains)
{
	__u32 ep = self->vm.dev[0].id, dom;
	unsigned int i;

	ASSERT_TRUE(pv_param_set("max_domains", "4"));
	for (i = 1; i < 4; i++)
		ASSERT_NE(0, pv_new_domain(self->r, ep));
	pv_err_alloc(PVIOMMU_ENOSPC, self->r, ep);
	EXPECT_EQ(4, pv_state(self->r).domains);
	pv_free(self->r, self->dom + 1);
	dom = pv_new_domain(self->r, ep);
	EXPECT_NE(0, dom);
	pv_err_alloc(PVIOMMU_ENOSPC, self->r, ep);
}

/* ---- many ---------------------------------------------------------- */

FIXTURE(many)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct pv_state idle;
	__u32 dom;
};

FIXTURE_SETUP(many)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, LARGE_SIZE);
	self->r = &self->vm.ring[0];
	pv_start(&self->vm, 1, PVIOMMU_RING_ORDER_MAX);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	self->idle = pv_state(self->r);
}

FIXTURE_TEARDOWN(many)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* More mappings than type1 allows, of one page each */
TEST_F_TIMEOUT(many, more_than_65535_mappings, 1800)
{
	const unsigned int total = 70000;
	unsigned int i, n, failed = 0;

	for (i = 0; i < total; i += n) {
		for (n = 0; n < self->r->slots && i + n < total; n++)
			pv_push(self->r, pv_op_map(self->dom, IOVA + (i + n) * 0x2000ULL,
						   PV_DATA + (i + n) % 4096 * PV_PAGE, PV_PAGE,
						   PV_RW));
		ASSERT_TRUE(pv_run(self->r));
		for (n = 0; n < self->r->slots && i + n < total; n++)
			failed += !!self->r->ops[(self->r->hdr->prod - 1 - n) %
						 self->r->slots].status;
	}
	EXPECT_EQ(0, failed);
	EXPECT_EQ(total, pv_state(self->r).mappings);
	EXPECT_EQ(total, pv_state(self->r).pages_pinned - self->idle.pages_pinned);
	pv_lookup(self->r, self->dom, IOVA + (total - 1) * 0x2000ULL);
	EXPECT_EQ(PV_DATA + (total - 1) % 4096 * PV_PAGE, self->r->last.lookup.gpa);
	pv_unmap_all(self->r, self->dom);
	EXPECT_EQ(total * PV_PAGE, self->r->last.result);
	pv_inv(self->r, self->dom);
	expect_idle();
}

TEST_F(many, more_than_65535_pages_in_lists)
{
	const unsigned int lists = 140;
	unsigned int i;

	for (i = 0; i < PVIOMMU_LIST_MAX; i++)
		pv_list(&self->vm)[i] = (PV_DATA >> 12) + i * 7;
	for (i = 0; i < lists; i++)
		pv_map_list(self->r, self->dom, IOVA + i * PV_2M, PV_AT_LIST, PVIOMMU_LIST_MAX,
			    PV_RW);
	EXPECT_EQ(lists * PVIOMMU_LIST_MAX, pv_state(self->r).pages_mapped);
	pv_unmap_all(self->r, self->dom);
	pv_inv(self->r, self->dom);
	expect_idle();
}

/* The number of domains is limited by the quota only */
TEST_F(many, hundreds_of_domains)
{
	__u32 first = self->dom + 1, i;

	for (i = 0; i < 300; i++) {
		ASSERT_EQ(first + i, pv_new_domain(self->r, self->vm.dev[0].id));
		pv_map(self->r, first + i, IOVA, PV_DATA + i * PV_PAGE, PV_PAGE, PV_RW);
	}
	EXPECT_EQ(self->idle.domains + 300, pv_state(self->r).domains);
	for (i = 0; i < 300; i++) {
		pv_lookup(self->r, first + i, IOVA);
		EXPECT_EQ(PV_DATA + i * PV_PAGE, self->r->last.lookup.gpa);
		pv_free(self->r, first + i);
	}
	expect_idle();
}

TEST_HARNESS_MAIN
