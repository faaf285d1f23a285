// SPDX-License-Identifier: GPL-2.0-only
/*
 * DIRTY_START, DIRTY_READ and DIRTY_STOP: the pages that are mapped writable are reported as
 * dirty, no others are, and the bitmap is written where the op says, and nowhere else.
 */
#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define PAGES		256

FIXTURE(dirty)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 dom;
};

FIXTURE_SETUP(dirty)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->r = &self->vm.ring[0];
	pv_start(&self->vm, 2, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
}

FIXTURE_TEARDOWN(dirty)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

static struct pviommu_op read_op(__u32 domain, __u64 iova, __u64 npages)
{
	return pv_op_dirty_read(domain, iova, npages * PV_PAGE);
}

static __u32 set(struct pv_ring *r, __u32 domain, bool on)
{
	return __pv_exec(r, on ? pv_op_dirty_start(domain) : pv_op_dirty_stop(domain));
}

static bool bit(struct pv_vm *vm, int i)
{
	__u64 *bits = pv_mem(vm, PV_AT_REPLY);

	return bits[i / 64] >> i % 64 & 1;
}

TEST_F(dirty, writable_pages)
{
	int i;

	pv_map(self->r, self->dom, IOVA + 3 * PV_PAGE, PV_DATA, 2 * PV_PAGE, PV_RW);
	pv_map(self->r, self->dom, IOVA + 7 * PV_PAGE, PV_DATA, PV_PAGE, PVIOMMU_PROT_READ);
	pv_map(self->r, self->dom, IOVA + 100 * PV_PAGE, PV_DATA, 50 * PV_PAGE,
	       PVIOMMU_PROT_WRITE);
	ASSERT_EQ(PVIOMMU_OK, set(self->r, self->dom, true));
	ASSERT_EQ(PVIOMMU_OK, set(self->r, self->dom, true));

	/* From the middle of a mapping to the middle of another. Old bits are overwritten */
	memset(pv_mem(&self->vm, PV_AT_REPLY), 0xff, PV_PAGE);
	ASSERT_EQ(PVIOMMU_OK, __pv_exec(self->r, read_op(self->dom, IOVA + 4 * PV_PAGE, 128)));
	EXPECT_EQ(1 + 32, self->r->last.result);
	for (i = 0; i < 128; i++)
		EXPECT_EQ(i == 0 || i >= 96, bit(&self->vm, i));
	EXPECT_TRUE(bit(&self->vm, 128));

	/* A page is dirty as long as it is mapped, however often that is read */
	ASSERT_EQ(PVIOMMU_OK, __pv_exec(self->r, read_op(self->dom, IOVA, 1)));
	EXPECT_EQ(0, self->r->last.result);
	ASSERT_EQ(PVIOMMU_OK, __pv_exec(self->r, read_op(self->dom, IOVA, PAGES)));
	EXPECT_EQ(52, self->r->last.result);
	pv_unmap(self->r, self->dom, IOVA, PAGES * PV_PAGE);
	ASSERT_EQ(PVIOMMU_OK, __pv_exec(self->r, read_op(self->dom, IOVA, PAGES)));
	EXPECT_EQ(0, self->r->last.result);
}

/* DIRTY_READ needs a log; stopping a log that is off is no error */
TEST_F(dirty, off)
{
	EXPECT_EQ(PVIOMMU_EINVAL, __pv_exec(self->r, read_op(self->dom, IOVA, 1)));
	ASSERT_EQ(PVIOMMU_OK, set(self->r, self->dom, true));
	EXPECT_EQ(PVIOMMU_OK, __pv_exec(self->r, read_op(self->dom, IOVA, 1)));
	ASSERT_EQ(PVIOMMU_OK, set(self->r, self->dom, false));
	EXPECT_EQ(PVIOMMU_EINVAL, __pv_exec(self->r, read_op(self->dom, IOVA, 1)));
	EXPECT_EQ(PVIOMMU_OK, set(self->r, self->dom, false));
}

/* The largest range that one op may read */
TEST_F(dirty, largest)
{
	ASSERT_EQ(PVIOMMU_OK, set(self->r, self->dom, true));
	pv_map(self->r, self->dom, IOVA + (PVIOMMU_DIRTY_PAGES - 1) * PV_PAGE, PV_DATA,
	       2 * PV_PAGE, PV_RW);
	EXPECT_EQ(PVIOMMU_OK, __pv_exec(self->r, read_op(self->dom, IOVA,
							 PVIOMMU_DIRTY_PAGES)));
	EXPECT_EQ(1, self->r->last.result);
	EXPECT_TRUE(bit(&self->vm, PVIOMMU_DIRTY_PAGES - 1));
	EXPECT_EQ(PVIOMMU_ERANGE, __pv_exec(self->r, read_op(self->dom, IOVA,
							     PVIOMMU_DIRTY_PAGES + 1)));
}

#define expect_read(status, field, value) do {					\
	struct pviommu_op __op = read_op(self->dom, IOVA, 1);			\
										\
	__op.field = value;							\
	EXPECT_EQ(status, __pv_exec(self->r, __op));				\
} while (0)

TEST_F(dirty, errors)
{
	struct pviommu_op op = pv_op_dirty_start(self->dom);

	op.raw[1] = 1;
	EXPECT_EQ(PVIOMMU_EINVAL, __pv_exec(self->r, op));
	EXPECT_EQ(PVIOMMU_EINVAL, set(self->r, PVIOMMU_DOMAIN_BYPASS, true));
	EXPECT_EQ(PVIOMMU_EINVAL, set(self->r, PVIOMMU_DOMAIN_BLOCKED, true));
	EXPECT_EQ(PVIOMMU_ENOENT, set(self->r, self->dom + 77, true));
	ASSERT_EQ(PVIOMMU_OK, set(self->r, self->dom, true));

	expect_read(PVIOMMU_EINVAL, dirty.size, 0);
	expect_read(PVIOMMU_EINVAL, dirty.size, 8);
	expect_read(PVIOMMU_EINVAL, dirty.iova, IOVA + 8);
	expect_read(PVIOMMU_EINVAL, dirty.gpa, PV_AT_REPLY + 4);
	expect_read(PVIOMMU_EINVAL, dirty.pgshift, 21);
	expect_read(PVIOMMU_EINVAL, dirty.reserved[6], 1);
	expect_read(PVIOMMU_EINVAL, domain, PVIOMMU_DOMAIN_BYPASS);
	expect_read(PVIOMMU_ENOENT, domain, self->dom + 77);
	expect_read(PVIOMMU_EOPNOTSUPP, flags, 1 << 8);
	expect_read(PVIOMMU_EFAULT, dirty.gpa, 1ULL << 40);
	/* The last page of the address space is valid, one page more overflows */
	expect_read(PVIOMMU_OK, dirty.iova, -PV_PAGE);
	op = read_op(self->dom, -PV_PAGE, 2);
	EXPECT_EQ(PVIOMMU_ERANGE, __pv_exec(self->r, op));
}

TEST_HARNESS_MAIN
