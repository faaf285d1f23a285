// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-owned page tables. INVALIDATE makes the host look at a table in the guest's memory and
 * mirror it; LOOKUP and DMA by an edu device show where an IOVA leads then. For tables that the
 * host watches, which need no INVALIDATE, see hypercall_watch_test.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/edu.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"

/* Below 256 MiB, as far as an edu device reaches by default */
#define IOVA		0x8000000ULL
#define TARGET		(PV_DATA + 0x100000)
#define TABLES		(PV_DATA + 0x800000)
#define MSI		0xfee00000ULL

FIXTURE(table)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct pv_table t;
	__u32 ep;
	__u32 dom;
};

FIXTURE_VARIANT(table)
{
	int levels;
};

FIXTURE_VARIANT_ADD(table, four_levels)
{
	.levels = 4,
};

FIXTURE_VARIANT_ADD(table, five_levels)
{
	.levels = 5,
};

FIXTURE_SETUP(table)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	pv_setup_table(&self->vm, &self->t, variant->levels, TABLES);
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	ASSERT_EQ(PVIOMMU_OK, __pv_alloc_table(self->r, self->ep, pv_table_format(&self->t),
					       self->t.root));
	self->dom = self->r->last.result;
	pv_attach(self->r, self->ep, self->dom);
}

FIXTURE_TEARDOWN(table)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* ---- events -------------------------------------------------------- */

/* Expect an event about a bad entry, and no other one */
#define expect_bad(...) \
	pv_expect_bad(&self->vm, self->dom, __VA_ARGS__)

#define expect_no_event() \
	pv_expect_no_event(&self->vm)

/* ---- the interface ------------------------------------------------- */

TEST_F(table, alloc_refuses)
{
	pv_err_alloc_table(PVIOMMU_EOPNOTSUPP, self->r, self->ep, PVIOMMU_TABLE_NONE, self->t.root);
	pv_err_alloc_table(PVIOMMU_EOPNOTSUPP, self->r, self->ep, 3, self->t.root);
	pv_err_alloc_table(PVIOMMU_EINVAL, self->r, self->ep, 1, self->t.root + 8);
	pv_err_alloc_table(PVIOMMU_EFAULT, self->r, self->ep, 1, PV_NOWHERE);
	pv_err_alloc_table(PVIOMMU_EFAULT, self->r, self->ep, 1, ~0xfffULL);
	pv_err_alloc_table(PVIOMMU_ENOENT, self->r, 999, 1, self->t.root);
	EXPECT_EQ(1, pv_state(self->r).domains);
}

TEST_F(table, alloc_needs_the_feature)
{
	struct pviommu_start *start;

	pv_reset(&self->vm);
	start = pv_start_prepare(&self->vm, 1, 6);
	start->features &= ~PVIOMMU_F_TABLES;
	ASSERT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	pv_err_alloc_table(PVIOMMU_EOPNOTSUPP, self->r, self->ep, 1, self->t.root);
}

/* Without KVM, pages can't be watched */
TEST_F(table, watch_needs_kvm)
{
	struct pviommu_op op = pv_op_alloc_table(self->ep, pv_table_format(&self->t),
						 self->t.root);

	op.flags = PVIOMMU_ALLOC_F_WATCH;
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, op);
	op.flags = PVIOMMU_ALLOC_F_WATCH << 1;
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, op);
	EXPECT_EQ(1, pv_state(self->r).domains);
}

TEST_F(table, takes_no_mappings)
{
	pv_list(&self->vm)[0] = TARGET / PV_PAGE;
	pv_err_map(PVIOMMU_EOPNOTSUPP, self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_err_map_list(PVIOMMU_EOPNOTSUPP, self->r, self->dom, IOVA, PV_AT_LIST, 1, PV_RW);
	pv_err_unmap(PVIOMMU_EOPNOTSUPP, self->r, self->dom, IOVA, PV_PAGE);
}

/* ---- entries are added, changed and removed -------------------------- */

TEST_F(table, is_seen_by_invalidate)
{
	struct pv_state empty = pv_state(self->r), now;

	pv_table_map(&self->t, IOVA, TARGET, PV_ENTRY_RW);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET));
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, IOVA));
	pv_inv(self->r, self->dom);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
	EXPECT_EQ(TARGET + 5, pv_leads_to(self->r, self->dom, IOVA + 5));
	now = pv_state(self->r);
	EXPECT_EQ(empty.pages_pinned + 2, now.pages_pinned);
	EXPECT_EQ(2, now.pages_mapped);
	expect_no_event();
}

TEST_F(table, change_and_removal)
{
	pv_table_map(&self->t, IOVA, TARGET, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	ASSERT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
	pv_table_map(&self->t, IOVA, TARGET + PV_PAGE, PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET + PV_PAGE));
	*pv_entry(&self->t, IOVA, 1) = 0;
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET + PV_PAGE));
	EXPECT_EQ(1, pv_state(self->r).pages_mapped);
	EXPECT_EQ(pv_iface_pages(&self->vm) + 1, pv_state(self->r).pages_pinned);
}

/* INVALIDATE of a range looks at no entries outside of it */
TEST_F(table, range)
{
	struct pviommu_op op;
	unsigned int i;

	for (i = 0; i < 8; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, TARGET + i * PV_PAGE, PV_ENTRY_RW);
	op = pv_op_inv_page(self->dom, IOVA + 2 * PV_PAGE, 3 * PV_PAGE);
	op.flags = PVIOMMU_INV_F_LEAF;
	pv_exec(self->r, op);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(i >= 2 && i < 5 ? TARGET + i * PV_PAGE : ~0ULL,
			  pv_leads_to(self->r, self->dom, IOVA + i * PV_PAGE));
	for (i = 0; i < 8; i++)
		*pv_entry(&self->t, IOVA + i * PV_PAGE, 1) = 0;
	pv_inv_page(self->r, self->dom, IOVA, 4 * PV_PAGE);
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, IOVA + 3 * PV_PAGE));
	EXPECT_EQ(TARGET + 4 * PV_PAGE, pv_leads_to(self->r, self->dom, IOVA + 4 * PV_PAGE));
	/* Clear an entry of a higher level: only what INVALIDATE names is unmapped */
	*pv_entry(&self->t, IOVA, 3) = 0;
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_EQ(TARGET + 4 * PV_PAGE, pv_leads_to(self->r, self->dom, IOVA + 4 * PV_PAGE));
	pv_inv(self->r, self->dom);
	EXPECT_EQ(0, pv_state(self->r).pages_mapped);
	/* A range that the table can't translate */
	pv_inv_page(self->r, self->dom, 1ULL << 60, PV_PAGE);
}

/* Entries that lead to the same page as before are not unmapped and mapped again */
TEST_F(table, keeps_what_is_the_same)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, TARGET + (i ^ 1) * PV_PAGE, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(513, pv_state(self->r).pages_mapped);
	/* Change bits that have no meaning to the host, and two entries */
	for (i = 0; i < 512; i++)
		*pv_entry(&self->t, IOVA + i * PV_PAGE, 1) |= PV_ENTRY_A | 0xe00;
	pv_table_map(&self->t, IOVA + 100 * PV_PAGE, TARGET, PV_ENTRY_RW);
	pv_table_map(&self->t, IOVA + 511 * PV_PAGE, TARGET, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(513, pv_state(self->r).pages_mapped);
	for (i = 0; i < 512; i++)
		EXPECT_EQ(i == 100 || i == 511 ? TARGET : TARGET + (i ^ 1) * PV_PAGE,
			  pv_leads_to(self->r, self->dom, IOVA + i * PV_PAGE));
}

TEST_F(table, protection)
{
	pv_table_map(&self->t, IOVA, TARGET, PV_ENTRY_P);
	pv_table_map(&self->t, IOVA + PV_PAGE, TARGET, PV_ENTRY_RW | PV_ENTRY_XD);
	pv_inv(self->r, self->dom);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_PAGE, TARGET));
	pv_lookup(self->r, self->dom, IOVA);
	EXPECT_EQ(PV_R, self->r->last.lookup.prot);
	pv_lookup(self->r, self->dom, IOVA + PV_PAGE);
	EXPECT_EQ(PV_RW | PVIOMMU_PROT_NOEXEC, self->r->last.lookup.prot);
	/* Clearing the write bit at any level makes the pages below read-only */
	*pv_entry(&self->t, IOVA, 3) &= ~PV_ENTRY_W;
	pv_inv_page(self->r, self->dom, IOVA, 2 * PV_PAGE);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA + PV_PAGE, TARGET));
}

/* ---- large pages ----------------------------------------------------- */

TEST_F(table, page_of_2m)
{
	*pv_entry(&self->t, IOVA, 2) = PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS | 1ULL << 12;
	/* INVALIDATE of a part of a large page is of all of it */
	pv_inv_page(self->r, self->dom, IOVA + 7 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(512, pv_state(self->r).pages_mapped);
	pv_inv(self->r, self->dom);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + 0x1ff000, PV_HIGH + 0x1ff000));
	pv_lookup(self->r, self->dom, IOVA + 0x1000);
	EXPECT_EQ(21, self->r->last.lookup.pgshift);
	EXPECT_EQ(PV_HIGH + 0x1000, self->r->last.lookup.gpa);
}

TEST_F(table, large_page_becomes_small_ones_and_large_again)
{
	unsigned int i;

	*pv_entry(&self->t, IOVA, 2) = PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS;
	pv_inv(self->r, self->dom);
	*pv_entry(&self->t, IOVA, 2) = 0;
	for (i = 0; i < 512; i += 2)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, PV_HIGH + i * PV_PAGE, PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, IOVA + 4 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(1 + 256, pv_state(self->r).pages_mapped - 0);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + 510 * PV_PAGE, PV_HIGH + 510 * PV_PAGE));
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, IOVA + PV_PAGE));
	*pv_entry(&self->t, IOVA, 2) = (PV_HIGH + PV_2M) | PV_ENTRY_RW | PV_ENTRY_PS;
	pv_inv(self->r, self->dom);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_PAGE, PV_HIGH + PV_2M + PV_PAGE));
	expect_no_event();
}

/* A large page takes the place of a small one; INVALIDATE names another part of it */
TEST_F(table, large_page_for_a_small_one_beside)
{
	pv_table_map(&self->t, IOVA + 100 * PV_PAGE, TARGET, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	ASSERT_TRUE(pv_reaches(&self->vm, IOVA + 100 * PV_PAGE, TARGET));
	*pv_entry(&self->t, IOVA, 2) = PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS;
	pv_inv_page(self->r, self->dom, IOVA + 7 * PV_PAGE, PV_PAGE);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA + 100 * PV_PAGE, TARGET));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + 100 * PV_PAGE, PV_HIGH + 100 * PV_PAGE));
	EXPECT_EQ(pv_iface_pages(&self->vm) + 1 + 512, pv_state(self->r).pages_pinned);
}

/* RELEASE of a page, until it is complete */
static bool give_back(struct pv_vm *vm, __u64 gpa)
{
	struct pviommu_event ev = {};

	pv_list(vm)[0] = gpa / PV_PAGE;
	if (__pv_exec(&vm->ring[0], pv_op_release(1, 0)))
		return false;
	while (ev.type != PVIOMMU_EV_RELEASED)
		if (!pv_event_wait(vm, &ev, 10000))
			return false;
	return ev.size == PV_PAGE;
}

/*
 * The host has to map a large page by small ones, as one of them was released. In the guest's
 * table it is still one entry. pages_mapped also counts the page of pv_reaches().
 */
#define take_large_page_apart() do {						\
	*pv_entry(&self->t, IOVA, 2) = PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS;	\
	pv_inv(self->r, self->dom);						\
	ASSERT_TRUE(give_back(&self->vm, PV_HIGH + 2 * PV_PAGE));		\
	ASSERT_EQ(511, pv_state(self->r).pages_mapped - 1);			\
	ASSERT_EQ(PV_HIGH, pv_leads_to(self->r, self->dom, IOVA));		\
} while (0)

TEST_F(table, large_page_in_parts_goes_as_one)
{
	take_large_page_apart();
	*pv_entry(&self->t, IOVA, 2) = 0;
	pv_inv_page(self->r, self->dom, IOVA + 4 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(0, pv_state(self->r).pages_mapped - 1);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA + 510 * PV_PAGE, PV_HIGH + 510 * PV_PAGE));
}

/* INVALIDATE names only the page that was released, where nothing is mapped */
TEST_F(table, large_page_in_parts_is_asked_for_at_its_hole)
{
	take_large_page_apart();
	*pv_entry(&self->t, IOVA, 2) = (PV_HIGH + PV_2M) | PV_ENTRY_RW | PV_ENTRY_PS;
	pv_inv_page(self->r, self->dom, IOVA + 2 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(512, pv_state(self->r).pages_mapped - 1);
	EXPECT_EQ(PV_HIGH + PV_2M, pv_leads_to(self->r, self->dom, IOVA));
	take_large_page_apart();
	*pv_entry(&self->t, IOVA, 2) = 0;
	pv_inv_page(self->r, self->dom, IOVA - PV_PAGE, 4 * PV_PAGE);
	EXPECT_EQ(0, pv_state(self->r).pages_mapped - 1);
}

/* The guest replaces the entry by small pages, which are looked at one by one then */
TEST_F(table, large_page_in_parts_is_small_ones_then)
{
	unsigned int i;

	take_large_page_apart();
	*pv_entry(&self->t, IOVA, 2) = 0;
	for (i = 0; i < 512; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, PV_HIGH + i * PV_PAGE,
			     i < 100 ? PV_ENTRY_RW : PV_ENTRY_P);
	pv_inv_page(self->r, self->dom, IOVA + 4 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(512, pv_state(self->r).pages_mapped - 1);
	pv_lookup(self->r, self->dom, IOVA + 511 * PV_PAGE);
	EXPECT_EQ(PV_R, self->r->last.lookup.prot);
	for (i = 0; i < 512; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, TARGET, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	*pv_entry(&self->t, IOVA + 5 * PV_PAGE, 1) = 0;
	*pv_entry(&self->t, IOVA + 6 * PV_PAGE, 1) = 0;
	pv_inv_page(self->r, self->dom, IOVA + 5 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(511, pv_state(self->r).pages_mapped - 1);
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA + 6 * PV_PAGE));
}

/* A page of 1 GiB of which only the first 4 MiB are RAM */
TEST_F(table, page_of_1g)
{
	const __u64 iova = 0x40000000;

	*pv_entry(&self->t, iova, 3) = PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS;
	pv_inv_page(self->r, self->dom, iova, 2 * PV_2M);
	EXPECT_EQ(1024, pv_state(self->r).pages_mapped);
	EXPECT_EQ(PV_HIGH + 0x3ff000, pv_leads_to(self->r, self->dom, iova + 0x3ff000));
	expect_no_event();
	pv_inv_page(self->r, self->dom, iova + 5 * PV_2M + PV_PAGE, PV_PAGE);
	expect_bad(PVIOMMU_BAD_PAGE, iova + 5 * PV_2M, PV_2M, pv_entry_gpa(&self->t, iova, 3));
	EXPECT_EQ(PV_HIGH, pv_leads_to(self->r, self->dom, iova));
}

/* ---- bad entries ------------------------------------------------------ */

/* A bad entry between two good ones, which must be mapped all the same */
#define try_bad(level, value, why, at_iova, bytes) do {				\
	pv_table_map(&self->t, IOVA - PV_PAGE, TARGET, PV_ENTRY_RW);		\
	pv_table_map(&self->t, IOVA + (2ULL << 30), TARGET + PV_PAGE, PV_ENTRY_RW); \
	*pv_entry(&self->t, at_iova, level) = value;				\
	pv_inv(self->r, self->dom);						\
	expect_bad(why, (__u64)(at_iova), bytes, pv_entry_gpa(&self->t, at_iova, level)); \
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, at_iova));		\
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA - PV_PAGE, TARGET));		\
	EXPECT_EQ(TARGET + PV_PAGE,						\
		  pv_leads_to(self->r, self->dom, IOVA + (2ULL << 30)));		\
	EXPECT_EQ(3, pv_state(self->r).pages_mapped);				\
} while (0)

TEST_F(table, page_outside_ram)
{
	try_bad(1, PV_NOWHERE | PV_ENTRY_RW, PVIOMMU_BAD_PAGE, IOVA, PV_PAGE);
}

TEST_F(table, page_beyond_all_addresses)
{
	try_bad(1, 0x000ffffffffff000ULL | PV_ENTRY_RW, PVIOMMU_BAD_PAGE, IOVA, PV_PAGE);
}

TEST_F(table, page_that_is_read_only)
{
	try_bad(1, PV_ROM | PV_ENTRY_RW, PVIOMMU_BAD_PAGE, IOVA, PV_PAGE);
}

TEST_F(table, large_page_with_reserved_bit)
{
	try_bad(2, PV_HIGH | 1ULL << 13 | PV_ENTRY_RW | PV_ENTRY_PS, PVIOMMU_BAD_RESERVED, IOVA,
		PV_2M);
}

TEST_F(table, large_page_partly_outside_ram)
{
	try_bad(2, (PV_HIGH + 2 * PV_2M) | PV_ENTRY_RW | PV_ENTRY_PS, PVIOMMU_BAD_PAGE, IOVA,
		PV_2M);
}

TEST_F(table, page_where_no_level_has_pages)
{
	try_bad(4, PV_ENTRY_PS | PV_ENTRY_RW, PVIOMMU_BAD_RESERVED, 1ULL << 39, 1ULL << 39);
}

TEST_F(table, table_outside_ram)
{
	try_bad(2, PV_NOWHERE | PV_ENTRY_RW, PVIOMMU_BAD_TABLE, IOVA, PV_2M);
}

TEST_F(table, table_that_leads_to_itself)
{
	try_bad(2, (pv_entry_gpa(&self->t, IOVA, 2) & ~0xfffULL) | PV_ENTRY_RW, PVIOMMU_BAD_LOOP,
		IOVA, PV_2M);
}

TEST_F(table, table_that_leads_back_to_the_root)
{
	try_bad(3, self->t.root | PV_ENTRY_RW, PVIOMMU_BAD_LOOP, 1ULL << 30, 1ULL << 30);
}

TEST_F(table, iova_that_is_reserved)
{
	try_bad(1, TARGET | PV_ENTRY_RW, PVIOMMU_BAD_IOVA, MSI, PV_PAGE);
}

TEST_F(table, bad_entries_between_good_ones)
{
	struct pviommu_event ev;
	unsigned int i, events = 0;

	for (i = 0; i < 64; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE,
			     i % 7 ? TARGET + i * PV_PAGE : PV_NOWHERE, PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, IOVA, 64 * PV_PAGE);
	for (i = 0; i < 64; i++)
		EXPECT_EQ(i % 7 ? TARGET + i * PV_PAGE : ~0ULL,
			  pv_leads_to(self->r, self->dom, IOVA + i * PV_PAGE));
	while (pv_event_next(&self->vm, &ev))
		EXPECT_EQ(IOVA + 7 * events++ * PV_PAGE, ev.addr);
	EXPECT_EQ(10, events);
	EXPECT_EQ(10, pv_stats(self->r).faults);
}

/* Expect an event about a bad entry of the lowest level; others may follow */
#define expect_bad_next(why, iova, bytes) do {					\
	struct pviommu_event __ev = {};						\
										\
	EXPECT_TRUE(pv_event_next(&self->vm, &__ev));				\
	EXPECT_EQ(PVIOMMU_EV_FAULT, __ev.type);					\
	EXPECT_EQ(why, PVIOMMU_EV_REASON(__ev.flags));				\
	EXPECT_EQ(iova, __ev.addr);						\
	EXPECT_EQ(bytes, __ev.size);						\
	EXPECT_EQ(pv_entry_gpa(&self->t, iova, 1), __ev.gpa);			\
} while (0)

/* Adjacent entries that are bad for the same reason share an event */
TEST_F(table, leaf_of_bad_entries)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, PV_NOWHERE + i * 2 * PV_PAGE,
			     PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, IOVA, PV_2M);
	expect_bad(PVIOMMU_BAD_PAGE, IOVA, PV_2M, pv_entry_gpa(&self->t, IOVA, 1));
	EXPECT_EQ(1, pv_stats(self->r).faults);
	/* A good entry between them: two events */
	pv_table_map(&self->t, IOVA + 100 * PV_PAGE, TARGET, PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, IOVA, PV_2M);
	expect_bad_next(PVIOMMU_BAD_PAGE, IOVA, 100 * PV_PAGE);
	expect_bad(PVIOMMU_BAD_PAGE, IOVA + 101 * PV_PAGE, 411 * PV_PAGE,
		   pv_entry_gpa(&self->t, IOVA + 101 * PV_PAGE, 1));
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA + 100 * PV_PAGE));
}

TEST_F(table, neighbours_that_are_bad_for_two_reasons)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		pv_table_map(&self->t, MSI + i * PV_PAGE, PV_NOWHERE + i * PV_PAGE,
			     PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, MSI, PV_2M);
	expect_bad_next(PVIOMMU_BAD_IOVA, MSI, PV_2M / 2);
	expect_bad(PVIOMMU_BAD_PAGE, MSI + PV_2M / 2, PV_2M / 2,
		   pv_entry_gpa(&self->t, MSI + PV_2M / 2, 1));
}

/* ---- memory that leaves ------------------------------------------------ */

TEST_F(table, memory_leaves)
{
	struct pviommu_event ev;

	pv_table_map(&self->t, IOVA, PV_HIGH, PV_ENTRY_RW);
	pv_table_map(&self->t, IOVA + PV_PAGE, TARGET, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	ASSERT_TRUE(pv_reaches(&self->vm, IOVA, PV_HIGH));
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	ASSERT_TRUE(pv_event_next(&self->vm, &ev));
	EXPECT_EQ(PVIOMMU_EV_REVOKED, ev.type);
	EXPECT_EQ(IOVA, ev.addr);
	EXPECT_EQ(PV_HIGH, ev.gpa);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, PV_HIGH));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_PAGE, TARGET));
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, PV_HIGH));
	pv_inv(self->r, self->dom);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, PV_HIGH));
}

/* The host does not pin the tables themselves: a page of a table can leave */
TEST_F(table, table_leaves)
{
	__u64 *far = pv_mem(&self->vm, PV_HIGH);

	far[0] = TARGET | PV_ENTRY_RW;
	*pv_entry(&self->t, IOVA, 2) = PV_HIGH | PV_ENTRY_RW;
	pv_inv(self->r, self->dom);
	ASSERT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
	pv_inv(self->r, self->dom);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET));
	expect_bad(PVIOMMU_BAD_TABLE, IOVA, PV_2M, pv_entry_gpa(&self->t, IOVA, 2));
}

/* ---- bounds ------------------------------------------------------------ */

TEST_F(table, small_doorbells)
{
	unsigned int i;

	ASSERT_TRUE(pv_param_set("doorbell_pages", "1"));
	for (i = 0; i < 1024; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, TARGET + (i & ~1) * PV_PAGE,
			     PV_ENTRY_RW);
	self->r->kicks = 0;
	pv_inv(self->r, self->dom);
	EXPECT_LT(3, self->r->kicks);
	EXPECT_EQ(1025, pv_state(self->r).pages_mapped);
	*pv_entry(&self->t, IOVA, 3) = 0;
	self->r->kicks = 0;
	pv_inv(self->r, self->dom);
	EXPECT_LT(3, self->r->kicks);
	EXPECT_EQ(0, pv_state(self->r).pages_mapped);
	EXPECT_EQ(pv_iface_pages(&self->vm), pv_state(self->r).pages_pinned);
}

/*
 * A look first removes a mapping and then fails. What it has removed counts until the look
 * ends, and is unpinned then, however many doorbells the look takes.
 */
TEST_F(table, removal_before_a_failure)
{
	unsigned int i;

	for (i = 0; i < 300; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, TARGET + (i ^ 1) * PV_PAGE, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	*pv_entry(&self->t, IOVA, 2) = 0;
	pv_table_map(&self->t, IOVA + PV_2M, TARGET, PV_ENTRY_RW);
	ASSERT_TRUE(pv_param_set("doorbell_pages", "1"));
	ASSERT_TRUE(pv_param_set("max_mappings", "2"));
	EXPECT_EQ(PVIOMMU_ENOSPC, __pv_inv(self->r, self->dom));
	EXPECT_EQ(IOVA + PV_2M, self->r->last.result);
	EXPECT_EQ(1, pv_state(self->r).pages_mapped);
	EXPECT_EQ(pv_iface_pages(&self->vm) + 1, pv_state(self->r).pages_pinned);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(2, pv_state(self->r).pages_mapped);
}

/*
 * Tables that link the same tables over and over, so that few pages describe a huge address
 * space. The quota of mappings ends the look.
 */
TEST_F(table, bomb)
{
	__u64 *pages[3];
	unsigned int i, level;

	ASSERT_TRUE(pv_param_set("max_mappings", "100"));
	for (level = 1; level <= 3; level++) {
		pages[level - 1] = pv_mem(&self->vm, TABLES + 0x100000 + level * PV_PAGE);
		for (i = 0; i < 512; i++)
			pages[level - 1][i] = (level == 1 ? TARGET :
					       TABLES + 0x100000 + (level - 1) * PV_PAGE) |
					      PV_ENTRY_RW;
	}
	*pv_entry(&self->t, 1ULL << 39, 4) = (TABLES + 0x100000 + 3 * PV_PAGE) | PV_ENTRY_RW;
	EXPECT_EQ(PVIOMMU_ENOSPC, __pv_inv(self->r, self->dom));
	EXPECT_LE(1ULL << 39, self->r->last.result);
	EXPECT_TRUE(pv_leads_to(self->r, self->dom, (1ULL << 39) + 7 * PV_PAGE) == TARGET);
	*pv_entry(&self->t, 1ULL << 39, 4) = 0;
	pv_inv(self->r, self->dom);
	pv_table_map(&self->t, IOVA, TARGET, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(2, pv_state(self->r).pages_mapped);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
}

TEST_F(table, reset_and_free)
{
	unsigned int i;

	for (i = 0; i < 300; i++)
		pv_table_map(&self->t, IOVA + i * PV_PAGE, TARGET + i * PV_PAGE, PV_ENTRY_RW);
	pv_inv(self->r, self->dom);
	pv_err_free(PVIOMMU_EBUSY, self->r, self->dom);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
	pv_free(self->r, self->dom);
	EXPECT_EQ(pv_iface_pages(&self->vm), pv_state(self->r).pages_pinned);
	ASSERT_EQ(PVIOMMU_OK, __pv_alloc_table(self->r, self->ep, pv_table_format(&self->t),
					       self->t.root));
	pv_inv(self->r, self->r->last.result);
	pv_reset(&self->vm);
}

/* ---- a guest that writes while the host looks --------------------------- */

#define RACE_PAGES	1024
#define GUARD		0x600000	/* offset from TARGET; no entry leads there */

struct race {
	struct pv_vm *vm;
	struct pv_table t;
	__u32 dom;
	bool stop;
	bool failed;
	unsigned int writes, looks;	/* of the threads */
};

static bool stopped(struct race *race)
{
	return __atomic_load_n(&race->stop, __ATOMIC_RELAXED);
}

/* Write valid and bad entries, holes, large pages, links and loops at random */
static void *rewrite(void *arg)
{
	struct race *race = arg;
	unsigned int seed = 1, n;

	for (n = 0; !stopped(race); n++) {
		__u64 iova = IOVA + rand_r(&seed) % RACE_PAGES * PV_PAGE;
		__u64 gpa = TARGET + rand_r(&seed) % 512 * PV_PAGE;
		__u64 *table = pv_mem(race->vm, TABLES + 0x200000);

		switch (rand_r(&seed) % 16) {
		case 0:
			table[rand_r(&seed) % 512] = PV_NOWHERE | PV_ENTRY_RW;
			break;
		case 1:
			*pv_entry(&race->t, IOVA + 2 * PV_2M, 2) =
				(TABLES + 0x200000) | PV_ENTRY_RW;
			break;
		case 2:
			*pv_entry(&race->t, IOVA + 2 * PV_2M, 2) =
				PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS;
			break;
		case 3:
			*pv_entry(&race->t, IOVA + 2 * PV_2M, 2) = race->t.root | PV_ENTRY_RW;
			break;
		case 4:
			table[rand_r(&seed) % 512] = gpa | PV_ENTRY_P;
			break;
		case 5 ... 7:
			*pv_entry(&race->t, iova, 1) = 0;
			break;
		default:
			*pv_entry(&race->t, iova, 1) = gpa | PV_ENTRY_RW;
		}
	}
	race->writes = n;
	return NULL;
}

static void *look_too(void *arg)
{
	struct race *race = arg;
	unsigned int n;

	for (n = 0; !stopped(race); n++)
		if (__pv_inv_page(&race->vm->ring[1], race->dom, IOVA + n % 5 * 0x180000, 0x200000))
			race->failed = true;
	race->looks = n;
	return NULL;
}

TEST_F(table, race)
{
	struct race race = { .vm = &self->vm, .t = self->t, .dom = self->dom };
	unsigned char *guard = pv_mem(&self->vm, TARGET + GUARD - PV_2M);
	pthread_t writer, looker;
	unsigned int i, n;

	memset(guard, 0xa5, PV_PAGE);
	pv_entry(&race.t, IOVA, 1);
	pv_entry(&race.t, IOVA + PV_2M, 1);
	ASSERT_EQ(0, pthread_create(&writer, NULL, rewrite, &race));
	ASSERT_EQ(0, pthread_create(&looker, NULL, look_too, &race));
	for (n = 0; n < 60; n++) {
		pv_inv(self->r, self->dom);
		edu_to_ram(&self->vm.dev[0].vfio, IOVA + n * 17 % RACE_PAGES * PV_PAGE, 0,
			   PV_REACH_LEN);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	pthread_join(looker, NULL);
	EXPECT_FALSE(race.failed);
	EXPECT_LT(0, race.writes);
	EXPECT_LT(0, race.looks);
	for (i = 0; i < PV_PAGE; i++)
		ASSERT_EQ(0xa5, guard[i]);
	/* After a last look the mirror agrees with the table */
	*pv_entry(&race.t, IOVA + 2 * PV_2M, 2) = 0;
	pv_inv(self->r, self->dom);
	for (i = 0; i < RACE_PAGES; i++) {
		__u64 entry = *pv_entry(&race.t, IOVA + i * PV_PAGE, 1);

		EXPECT_EQ(entry & PV_ENTRY_P ? entry & ~0xfffULL : ~0ULL,
			  pv_leads_to(self->r, self->dom, IOVA + i * PV_PAGE));
	}
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, IOVA + 2 * PV_2M));
}

/*
 * An INVALIDATE that needs several doorbells was begun in a domain that is freed meanwhile,
 * and a table's domain gets the same id: it goes on there, within the bounds of that table.
 */
static void begun_elsewhere(struct __test_metadata *_metadata, struct pv_vm *vm, __u32 ep,
			    struct pv_table *t, struct pviommu_op (*invalidate)(__u32 domain))
{
	struct pv_ring *r = &vm->ring[0], *slow = &vm->ring[1];
	struct pviommu_op *op;
	__u32 dom;

	pv_reset(vm);
	ASSERT_TRUE(pv_param_set("doorbell_pages", "16"));
	pv_start(vm, 2, 6);
	dom = pv_new_domain(r, ep);
	ASSERT_NE(0, dom);
	pv_map(r, dom, IOVA, PV_DATA, 2 * PV_2M, PV_RW);
	pv_unmap(r, dom, IOVA, 2 * PV_2M);
	op = pv_push(slow, invalidate(dom));
	pv_kick(slow);
	ASSERT_EQ(PVIOMMU_STATUS_PENDING, op->status);

	pv_free(r, dom);
	pv_table_map(t, IOVA, TARGET, PV_ENTRY_RW);
	ASSERT_EQ(PVIOMMU_OK, __pv_alloc_table(r, ep, pv_table_format(t), t->root));
	ASSERT_EQ(dom, r->last.result);
	ASSERT_TRUE(pv_run(slow));
	EXPECT_EQ(PVIOMMU_OK, op->status);
	/* Not where an index into the root table begins anew */
	EXPECT_EQ(~0ULL, pv_leads_to(r, dom, IOVA + (1ULL << 48)));
	EXPECT_EQ(~0ULL, pv_leads_to(r, dom, IOVA + (1ULL << 57)));
	EXPECT_EQ(TARGET, pv_leads_to(r, dom, IOVA));
	pv_expect_no_event(vm);
}

static struct pviommu_op all_pages(__u32 domain)
{
	return pv_op_inv_page(domain, 0, -PV_PAGE);
}

TEST_F(table, invalidate_begun_in_another_domain)
{
	begun_elsewhere(_metadata, &self->vm, self->ep, &self->t, pv_op_inv);
}

TEST_F(table, invalidate_of_pages_begun_in_another_domain)
{
	begun_elsewhere(_metadata, &self->vm, self->ep, &self->t, all_pages);
}

TEST_HARNESS_MAIN
