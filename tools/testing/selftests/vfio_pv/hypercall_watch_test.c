// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that the host watches: guest-owned page tables, where entries that a CPU adds take
 * effect without an INVALIDATE; pages of a server's type; the doorbell page. KVM has one CPU
 * here, which stores what the test tells it to. The host does not notice what this process
 * writes to the same memory.
 */
#include <pthread.h>
#include <stdlib.h>

#include "lib/pv_ctl.h"
#include "lib/pv_kvm.h"
#include "lib/pv_server.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"

/* Below 256 MiB, as far as an edu device reaches by default */
#define IOVA		0x8000000ULL
#define TARGET		(PV_DATA + 0x100000)
#define TABLES		(PV_DATA + 0x800000)
#define SPARE		(PV_DATA + 0xa00000)	/* pages to link as tables */
#define SPAN		0x40000000ULL		/* of a table whose entries are of 2 MiB */

#define MAX_WATCHED	"/sys/module/pviommu_kvm/parameters/max_watched"

FIXTURE(watch)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_vcpu cpu;
	struct pv_ring *r;
	struct pv_table t;
	__u32 ep;
	__u32 dom;
	char max_watched[32];	/* as it was */
};

FIXTURE_VARIANT(watch)
{
	int levels;
};

FIXTURE_VARIANT_ADD(watch, four_levels)
{
	.levels = 4,
};

FIXTURE_VARIANT_ADD(watch, five_levels)
{
	.levels = 5,
};

static int open_with_kvm(struct pv_vm *vm, struct pv_kvm *kvm, struct pv_vcpu *cpu)
{
	return pv_vm_init(vm, 1, PV_LOW_SIZE) ?: pv_kvm_open_rest(kvm, vm) ?:
	       pv_vcpu_open(cpu, kvm, vm);
}

static __u32 alloc(struct pv_ring *r, __u32 ep, const struct pv_table *t)
{
	struct pviommu_op op = pv_op_alloc_table(ep, pv_table_format(t), t->root);

	op.flags = PVIOMMU_ALLOC_F_WATCH;
	return __pv_exec(r, op) ? 0 : r->last.result;
}

/* A watched table with one page mapped, which has been looked at once */
FIXTURE_SETUP(watch)
{
	int ret;

	self->kvm = (struct pv_kvm) { -1, -1 };
	self->cpu = (struct pv_vcpu) { .fd = -1, .run = MAP_FAILED };
	self->vm.container = -1;
	self->before = pv_begin();
	self->max_watched[0] = 0;
	ret = open_with_kvm(&self->vm, &self->kvm, &self->cpu);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(0, ret);
	ASSERT_LT(0, pv_read_file(MAX_WATCHED, self->max_watched, sizeof(self->max_watched)));
	pv_setup_table(&self->vm, &self->t, variant->levels, TABLES);
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	pv_entry(&self->t, IOVA, 1);
	self->dom = alloc(self->r, self->ep, &self->t);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->ep, self->dom);
	pv_inv(self->r, self->dom);
}

FIXTURE_TEARDOWN(watch)
{
	pv_params_restore();
	if (self->max_watched[0])
		pv_write_file(MAX_WATCHED, self->max_watched);
	pv_vcpu_close(&self->cpu);
	pv_vm_close(&self->vm);
	pv_kvm_close(&self->kvm);
	pv_expect_unchanged(&self->before);
}

/* ---- stores and types ---------------------------------------------------- */

/* The CPU writes an entry */
#define store(iova, level, value) do {						\
	__u64 __entry = value;							\
										\
	ASSERT_EQ(0, pv_vcpu_store(&self->cpu, pv_entry_gpa(&self->t, iova, level), \
				   &__entry, sizeof(__entry)));			\
} while (0)

static int type_of(struct pv_ring *r, __u64 gpa)
{
	return __pv_exec(r, pv_op_type_get(gpa & ~0xfffULL)) ? -1 : (int)r->last.result;
}

static __u32 set_type(struct pv_ring *r, __u64 gpa, __u32 type)
{
	return __pv_exec(r, pv_op_type_set(gpa & ~0xfffULL, PV_PAGE, type));
}

#define expect_bad(...) \
	pv_expect_bad(&self->vm, self->dom, __VA_ARGS__)

#define expect_no_event() \
	pv_expect_no_event(&self->vm)

/* ---- the interface -------------------------------------------------------- */

TEST_F(watch, is_for_tables)
{
	struct pviommu_op op = pv_op_alloc(self->ep);

	op.flags = PVIOMMU_ALLOC_F_WATCH;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op.flags = PVIOMMU_ALLOC_F_WATCH << 1;
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, op);
	op = pv_op_alloc_table(self->ep, 3, self->t.root);
	op.flags = PVIOMMU_ALLOC_F_WATCH;
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, op);
	EXPECT_EQ(1, pv_state(self->r).domains);
}

/* Pages of a watched table have a type of their own, which TYPE_SET can't change */
TEST_F(watch, type_of_tables)
{
	int level;

	for (level = 1; level <= self->t.levels; level++) {
		__u64 gpa = pv_entry_gpa(&self->t, IOVA, level);

		EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, gpa));
		EXPECT_EQ(PVIOMMU_EEXIST, set_type(self->r, gpa, PVIOMMU_MEM_RAM_RW));
	}
	EXPECT_EQ(PVIOMMU_EOPNOTSUPP, set_type(self->r, SPARE, PVIOMMU_MEM_TABLE));
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, SPARE));
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
	pv_free(self->r, self->dom);
	for (level = 1; level <= self->t.levels; level++)
		EXPECT_EQ(PVIOMMU_MEM_RAM_RW,
			  type_of(self->r, pv_entry_gpa(&self->t, IOVA, level)));
}

/* ---- entries that are added -------------------------------------------------- */

TEST_F(watch, added_page)
{
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET));
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
	EXPECT_EQ(2, pv_state(self->r).pages_mapped);
	store(IOVA + PV_PAGE, 1, (TARGET + PV_PAGE) | PV_ENTRY_P);
	EXPECT_EQ(TARGET + PV_PAGE, pv_leads_to(self->r, self->dom, IOVA + PV_PAGE));
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA + PV_PAGE, TARGET + PV_PAGE));
}

TEST_F(watch, added_large_page)
{
	store(IOVA + PV_2M, 2, PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_2M + 0x1ff000, PV_HIGH + 0x1ff000));
	EXPECT_EQ(513, pv_state(self->r).pages_mapped);
	expect_no_event();
}

/* Linking a table maps what it contains; entries added to it later are mapped, too */
TEST_F(watch, added_table)
{
	__u64 *table = pv_mem(&self->vm, SPARE);

	memset(table, 0, PV_PAGE);
	table[3] = TARGET | PV_ENTRY_RW;
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, SPARE));
	store(IOVA + PV_2M, 2, SPARE | PV_ENTRY_RW);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, SPARE));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_2M + 3 * PV_PAGE, TARGET));
	store(IOVA + PV_2M, 1, (TARGET + PV_PAGE) | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_2M, TARGET + PV_PAGE));
	EXPECT_EQ(3, pv_state(self->r).pages_mapped);
}

/* Tables of all levels, each empty when it is linked, from the root down */
TEST_F(watch, added_levels)
{
	__u64 iova = 1ULL << 39, next = SPARE;
	int level;

	for (level = self->t.levels; level > 1; level--) {
		__u64 entry = next | PV_ENTRY_RW, gpa = pv_entry_gpa(&self->t, iova, level);

		if (*pv_entry(&self->t, iova, level) & PV_ENTRY_P)
			continue;
		memset(pv_mem(&self->vm, next), 0, PV_PAGE);
		ASSERT_EQ(0, pv_vcpu_store(&self->cpu, gpa, &entry, sizeof(entry)));
		EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, next));
		next += PV_PAGE;
	}
	store(iova, 1, TARGET | PV_ENTRY_RW);
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, iova));
	expect_no_event();
}

TEST_F(watch, many_at_once)
{
	__u64 entries[512];
	unsigned int i;

	for (i = 0; i < 512; i++)
		entries[i] = i % 5 ? (TARGET + (i ^ 1) * PV_PAGE) | PV_ENTRY_RW : 0;
	ASSERT_EQ(0, pv_vcpu_store(&self->cpu, pv_entry_gpa(&self->t, IOVA, 1), entries,
				   sizeof(entries)));
	for (i = 0; i < 512; i++)
		EXPECT_EQ(i % 5 ? TARGET + (i ^ 1) * PV_PAGE : ~0ULL,
			  pv_leads_to(self->r, self->dom, IOVA + i * PV_PAGE));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + 511 * PV_PAGE, TARGET + 510 * PV_PAGE));
	expect_no_event();
}

/* ---- entries that are removed or changed ---------------------------------------- */

TEST_F(watch, removal_and_change_take_an_invalidate)
{
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	store(IOVA + PV_PAGE, 1, TARGET | PV_ENTRY_RW);
	store(IOVA, 1, 0);
	store(IOVA + PV_PAGE, 1, (TARGET + PV_PAGE) | PV_ENTRY_RW);
	/* The entry was cleared and set again without an INVALIDATE: the old page stays mapped */
	store(IOVA, 1, (TARGET + 2 * PV_PAGE) | PV_ENTRY_RW);
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA));
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA + PV_PAGE));
	pv_inv_page(self->r, self->dom, IOVA, 2 * PV_PAGE);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET + 2 * PV_PAGE));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_PAGE, TARGET + PV_PAGE));
	store(IOVA, 1, 0);
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, TARGET + 2 * PV_PAGE));
	EXPECT_EQ(2, pv_state(self->r).pages_mapped);
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
}

/* A page is plain RAM again when a look finds that it is not linked as a table any more */
TEST_F(watch, unlinked_table)
{
	__u64 low = pv_entry_gpa(&self->t, IOVA, 1), middle = pv_entry_gpa(&self->t, IOVA, 2);

	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	store(IOVA, 2, 0);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, low));
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, low));
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, middle));
	/* A large page takes the place of a table; then a higher table is unlinked */
	store(IOVA, 2, low | PV_ENTRY_RW);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, low));
	*pv_entry(&self->t, IOVA, 2) = PV_HIGH | PV_ENTRY_RW | PV_ENTRY_PS;
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, low));
	*pv_entry(&self->t, IOVA, 3) = 0;
	pv_inv(self->r, self->dom);
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, middle));
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, self->t.root));
	EXPECT_EQ(0, pv_state(self->r).pages_mapped);
}

/* Another table takes the place of one: the old page is plain RAM, the new one is watched */
TEST_F(watch, replaced_table)
{
	__u64 old = pv_entry_gpa(&self->t, IOVA, 1);

	memset(pv_mem(&self->vm, SPARE), 0, PV_PAGE);
	store(IOVA, 2, SPARE | PV_ENTRY_RW);
	pv_inv_page(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, old));
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, SPARE));
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
}

/* ---- bad entries ------------------------------------------------------------------ */

#define try_bad(level, value, why, at_iova, bytes) do {				\
	store(IOVA - PV_PAGE, 1, TARGET | PV_ENTRY_RW);				\
	expect_no_event();							\
	store(at_iova, level, value);						\
	expect_bad(why, (__u64)(at_iova), bytes,				\
		   pv_entry_gpa(&self->t, at_iova, level));			\
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, at_iova));		\
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA - PV_PAGE, TARGET));		\
	EXPECT_EQ(2, pv_state(self->r).pages_mapped);				\
} while (0)

TEST_F(watch, bad_page)
{
	pv_entry(&self->t, IOVA - PV_PAGE, 1);
	pv_inv(self->r, self->dom);
	try_bad(1, PV_NOWHERE | PV_ENTRY_RW, PVIOMMU_BAD_PAGE, IOVA, PV_PAGE);
	/* A bad entry is not mirrored, so a good one in its place counts as added */
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
}

TEST_F(watch, bad_large_page)
{
	pv_entry(&self->t, IOVA - PV_PAGE, 1);
	pv_inv(self->r, self->dom);
	try_bad(2, PV_HIGH | 1ULL << 13 | PV_ENTRY_RW | PV_ENTRY_PS, PVIOMMU_BAD_RESERVED,
		IOVA + PV_2M, PV_2M);
}

TEST_F(watch, bad_table)
{
	pv_entry(&self->t, IOVA - PV_PAGE, 1);
	pv_inv(self->r, self->dom);
	try_bad(2, PV_NOWHERE | PV_ENTRY_RW, PVIOMMU_BAD_TABLE, IOVA + PV_2M, PV_2M);
}

TEST_F(watch, loop)
{
	pv_entry(&self->t, IOVA - PV_PAGE, 1);
	pv_inv(self->r, self->dom);
	try_bad(3, self->t.root | PV_ENTRY_RW, PVIOMMU_BAD_LOOP, SPAN, SPAN);
}

/* ---- pages in several places -------------------------------------------------------- */

/* A store to such a page is looked at in each place, so their number is limited */
TEST_F(watch, page_in_many_places)
{
	__u64 at = IOVA + PV_2M;
	unsigned int i;

	memset(pv_mem(&self->vm, SPARE), 0, PV_PAGE);
	for (i = 0; i < 8; i++)
		store(at + i * PV_2M, 2, SPARE | PV_ENTRY_RW);
	expect_no_event();
	store(at, 1, TARGET | PV_ENTRY_RW);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, at + i * PV_2M));
	store(at + 8 * PV_2M, 2, SPARE | PV_ENTRY_RW);
	expect_bad(PVIOMMU_BAD_WATCH, at + 8 * PV_2M, PV_2M, SPARE);
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, at + 8 * PV_2M));
	/* With fewer places, it is watched still */
	for (i = 1; i < 8; i++)
		store(at + i * PV_2M, 2, 0);
	pv_inv_page(self->r, self->dom, at + PV_2M, 7 * PV_2M);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, SPARE));
	store(at + PV_PAGE, 1, (TARGET + PV_PAGE) | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, at + PV_PAGE, TARGET + PV_PAGE));
}

TEST_F(watch, table_of_two_domains)
{
	__u32 other = alloc(self->r, self->ep, &self->t);

	ASSERT_NE(0, other);
	/* The second domain mirrors nothing before its first look */
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, other, IOVA));
	pv_inv(self->r, other);
	store(IOVA + PV_PAGE, 1, TARGET | PV_ENTRY_RW);
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA + PV_PAGE));
	EXPECT_EQ(TARGET, pv_leads_to(self->r, other, IOVA + PV_PAGE));
	pv_free(self->r, other);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, self->t.root));
	store(IOVA + 2 * PV_PAGE, 1, TARGET | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + 2 * PV_PAGE, TARGET));
}

/* ---- servers -------------------------------------------------------------------------- */

TEST_F(watch, page_of_a_server)
{
	int server = pv_server_claim(pv_newest_vm());
	__u64 low = pv_entry_gpa(&self->t, IOVA, 1);

	ASSERT_LE(0, server);
	EXPECT_EQ(PVIOMMU_EEXIST, set_type(self->r, low, PVIOMMU_MEM_IOREQ_SERVER));
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, low));
	memset(pv_mem(&self->vm, SPARE), 0, PV_PAGE);
	*(__u64 *)pv_mem(&self->vm, SPARE) = TARGET | PV_ENTRY_RW;
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, PVIOMMU_MEM_IOREQ_SERVER));
	store(IOVA + PV_2M, 2, SPARE | PV_ENTRY_RW);
	expect_bad(PVIOMMU_BAD_WATCH, IOVA + PV_2M, PV_2M, SPARE);
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, IOVA + PV_2M));
	EXPECT_EQ(PVIOMMU_MEM_IOREQ_SERVER, type_of(self->r, SPARE));
	/* When the claim has ended, the page can be linked as a table */
	close(server);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, SPARE));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + PV_2M, TARGET));
}

/* What pvctl shows of types, and of a server that does not keep up */
TEST_F(watch, administrator)
{
	__u32 page[PV_PAGE / 4] = {}, id, i;
	char text[1024];
	int server;

	if (!pv_ctl_found())
		SKIP(return, "needs pvctl");
	id = pv_ctl_vm_of(getpid());
	server = pv_server_claim(id);
	ASSERT_LE(0, server);
	ASSERT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, PVIOMMU_MEM_IOREQ_SERVER));
	ASSERT_EQ(PVIOMMU_OK, set_type(self->r, SPARE + PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER));
	ASSERT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, PVIOMMU_MEM_RAM_RW));
	ASSERT_EQ(0, pv_vcpu_store(&self->cpu, SPARE + PV_PAGE, page, 8));
	ASSERT_EQ(0, pv_ctl(text, sizeof(text), "type vm %u", id));
	EXPECT_EQ(1, pv_ctl_value(text, "ioreq_server", "pages"));
	/* Three pages that were given a type, two stores of four bytes */
	EXPECT_EQ(5, pv_ctl_value(text, "ioreq_server", "waiting"));
	EXPECT_EQ(5, pv_ctl_value(text, "ioreq_server", "records"));
	EXPECT_EQ(self->t.levels + (PV_SOURCE >> 21 != IOVA >> 21),
		  pv_ctl_value(text, "type table", "pages"));
	/* Fill the ring, of which the server takes nothing: it loses the claim */
	ASSERT_TRUE(pv_param_set("server_timeout_ms", "10"));
	for (i = 0; i < PV_SERVER_RECORDS; i += ARRAY_SIZE(page))
		ASSERT_EQ(0, pv_vcpu_store(&self->cpu, SPARE + PV_PAGE, page, sizeof(page)));
	ASSERT_EQ(0, pv_ctl(text, sizeof(text), "type vm %u", id));
	EXPECT_EQ(1, pv_ctl_value(text, "ioreq_server", "claims_dropped"));
	EXPECT_EQ(0, pv_ctl_value(text, "ioreq_server", "pid"));
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, SPARE + PV_PAGE));
	close(server);
}

/* ---- bounds ------------------------------------------------------------------------------ */

/* One store links more than a doorbell may do: an event asks the guest for an INVALIDATE */
TEST_F(watch, too_much_for_one_store)
{
	__u64 *tables = pv_mem(&self->vm, SPARE);
	struct pviommu_event ev = {};
	unsigned int i;

	memset(tables, 0, 5 * PV_PAGE);
	for (i = 0; i < 4; i++)
		tables[i] = (SPARE + (i + 1) * PV_PAGE) | PV_ENTRY_RW;
	for (i = 0; i < 4 * 512; i++)
		tables[512 + i] = (TARGET + (i & ~1) % 512 * PV_PAGE) | PV_ENTRY_RW;
	ASSERT_TRUE(pv_param_set("doorbell_pages", "600"));
	store(SPAN, 3, SPARE | PV_ENTRY_RW);
	ASSERT_TRUE(pv_event_next(&self->vm, &ev));
	EXPECT_EQ(PVIOMMU_EV_FAULT, ev.type);
	EXPECT_EQ(PVIOMMU_EV_F_ENTRY, ev.flags & 0xff);
	EXPECT_EQ(PVIOMMU_BAD_UNSEEN, PVIOMMU_EV_REASON(ev.flags));
	EXPECT_LT(SPAN, ev.addr);
	EXPECT_EQ(2 * SPAN, ev.addr + ev.size);
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, SPAN));
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, ev.addr));
	pv_inv_page(self->r, self->dom, ev.addr, ev.size);
	EXPECT_EQ(1 + 4 * 512, pv_state(self->r).pages_mapped);
	expect_no_event();
}

/* With the smallest budget, tables are linked and unlinked over many doorbells */
TEST_F(watch, small_doorbells)
{
	__u64 *tables = pv_mem(&self->vm, SPARE);
	unsigned int i;

	ASSERT_TRUE(pv_param_set("doorbell_pages", "1"));
	memset(tables, 0, 33 * PV_PAGE);
	for (i = 0; i < 32; i++) {
		tables[i] = (SPARE + (i + 1) * PV_PAGE) | PV_ENTRY_RW;
		tables[512 * (i + 1) + i] = TARGET | PV_ENTRY_RW;
	}
	*pv_entry(&self->t, SPAN, 3) = SPARE | PV_ENTRY_RW;
	pv_inv(self->r, self->dom);
	EXPECT_EQ(33, pv_state(self->r).pages_mapped);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, SPARE + 32 * PV_PAGE));
	*pv_entry(&self->t, SPAN, 3) = 0;
	self->r->kicks = 0;
	pv_inv(self->r, self->dom);
	EXPECT_LT(8, self->r->kicks);
	for (i = 0; i < 33; i++)
		EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, SPARE + i * PV_PAGE));
	EXPECT_EQ(1, pv_state(self->r).pages_mapped);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
	pv_free(self->r, self->dom);
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, self->t.root));
}

TEST_F(watch, no_more_mappings)
{
	ASSERT_TRUE(pv_param_set("max_mappings", "1"));
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	expect_bad(PVIOMMU_BAD_UNSEEN, IOVA, PV_PAGE, 0);
	EXPECT_EQ(PVIOMMU_ENOSPC, __pv_inv(self->r, self->dom));
	pv_params_restore();
	pv_inv(self->r, self->dom);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
}

/* ---- memory that leaves, interfaces that end -------------------------------- */

TEST_F(watch, table_leaves_and_comes_back)
{
	__u64 *far = pv_mem(&self->vm, PV_HIGH);

	memset(far, 0, PV_PAGE);
	far[0] = TARGET | PV_ENTRY_RW;
	store(IOVA + PV_2M, 2, PV_HIGH | PV_ENTRY_RW);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, PV_HIGH));
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA + PV_2M));
	ASSERT_EQ(0, pv_kvm_set_memory(&self->kvm, 1, &self->vm.high, 0));
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, PV_HIGH));
	ASSERT_EQ(0, pv_kvm_set_memory(&self->kvm, 1, &self->vm.high, self->vm.high.size));
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, PV_HIGH));
	pv_inv_page(self->r, self->dom, IOVA + PV_2M, PV_PAGE);
	EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, PV_HIGH));
	ASSERT_EQ(0, pv_kvm_set_memory(&self->kvm, 1, &self->vm.high, 0));
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	pv_inv(self->r, self->dom);
	expect_bad(PVIOMMU_BAD_TABLE, IOVA + PV_2M, PV_2M,
		   pv_entry_gpa(&self->t, IOVA + PV_2M, 2));
	EXPECT_EQ(~0ULL, pv_leads_to(self->r, self->dom, IOVA + PV_2M));
}

/* After RESET, stores have no effect; the next interface may watch the same pages */
TEST_F(watch, interface_ends)
{
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	pv_reset(&self->vm);
	store(IOVA, 1, (TARGET + PV_PAGE) | PV_ENTRY_RW);
	store(IOVA + PV_PAGE, 1, TARGET | PV_ENTRY_RW);
	pv_start(&self->vm, 1, 6);
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, self->t.root));
	EXPECT_EQ(0, pv_state(self->r).pages_mapped);
	self->dom = alloc(self->r, self->ep, &self->t);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->ep, self->dom);
	pv_inv(self->r, self->dom);
	store(IOVA + 2 * PV_PAGE, 1, TARGET | PV_ENTRY_RW);
	EXPECT_EQ(TARGET + PV_PAGE, pv_leads_to(self->r, self->dom, IOVA));
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA + 2 * PV_PAGE, TARGET));
}

/* The module that tells of stores is in use while there is a doorbell page or a watched page */
TEST_F(watch, module_stays)
{
	EXPECT_LT(0, pv_refcnt("pviommu_kvm"));
	EXPECT_EQ(-EWOULDBLOCK, pv_unload("pviommu_kvm"));
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_EQ(TARGET, pv_leads_to(self->r, self->dom, IOVA));
	pv_reset(&self->vm);
	EXPECT_EQ(0, pv_refcnt("pviommu_kvm"));
}

/* ---- TYPE_SET ---------------------------------------------------------------------- */

#define LAST		(PV_LOW_SIZE - PV_PAGE)
#define SERVER		PVIOMMU_MEM_IOREQ_SERVER

/*
 * TYPE_SET stops at a bad page; @result is how far it got. For its fields see
 * hypercall_abi_test.
 */
static const struct {
	const char *what;
	__u64 gpa, size;
	__u32 type, status;
	__u64 result;
} type_sets[] = {
	{ "a page beyond RAM", LAST, 2 * PV_PAGE, SERVER, PVIOMMU_EFAULT, PV_PAGE },
	{ "a page beyond RAM, plain", LAST, 2 * PV_PAGE, PVIOMMU_MEM_RAM_RW, PVIOMMU_EFAULT,
	  PV_PAGE },
	{ "a page of a table, the first", TABLES, 2 * PV_PAGE, SERVER, PVIOMMU_EEXIST },
	{ "a page of a table", TABLES - PV_PAGE, 2 * PV_PAGE, SERVER, PVIOMMU_EEXIST, PV_PAGE },
};

TEST_F(watch, type_set_that_is_refused)
{
	int server = pv_server_claim(pv_newest_vm());
	struct pv_state before = pv_state(self->r), after;
	unsigned int i;

	ASSERT_LE(0, server);
	ASSERT_EQ(0, pv_vm_add_bar(&self->vm, 0));
	for (i = 0; i < ARRAY_SIZE(type_sets); i++) {
		struct pviommu_op op = pv_op_type_set(type_sets[i].gpa, type_sets[i].size,
						      type_sets[i].type);
		__u64 done = type_sets[i].result;

		EXPECT_EQ(type_sets[i].status, __pv_exec(self->r, op)) {
			TH_LOG("%s", type_sets[i].what);
		}
		EXPECT_EQ(done, self->r->last.result) {
			TH_LOG("%s", type_sets[i].what);
		}
		EXPECT_EQ(0, memcmp(op.raw, self->r->last.raw, sizeof(op.raw)));
		/* Undo as much as the result says; then nothing else must have changed */
		if (done) {
			EXPECT_EQ((int)type_sets[i].type, type_of(self->r, op.mem.gpa));
			pv_exec(self->r, pv_op_type_set(op.mem.gpa, done, PVIOMMU_MEM_RAM_RW));
		}
		EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, SPARE));
		EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, LAST));
		EXPECT_EQ(PVIOMMU_MEM_TABLE, type_of(self->r, TABLES));
	}
	after = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&before, &after));
	close(server);
	/* The claim has ended */
	EXPECT_EQ(PVIOMMU_ENOENT, set_type(self->r, SPARE, SERVER));
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, PVIOMMU_MEM_RAM_RW));
}

TEST_F(watch, quota_of_watched_pages)
{
	/* Room for the pages of the fixture's table, and for one more */
	int server = pv_server_claim(pv_newest_vm()), pages;
	char now[32];

	ASSERT_LE(0, server);
	pages = self->t.levels + (PV_SOURCE >> 21 != IOVA >> 21);
	snprintf(now, sizeof(now), "%d", pages + 1);
	ASSERT_EQ(0, pv_write_file(MAX_WATCHED, now));
	EXPECT_EQ(PVIOMMU_ENOSPC, __pv_exec(self->r, pv_op_type_set(SPARE, 2 * PV_PAGE, SERVER)));
	EXPECT_EQ(PV_PAGE, self->r->last.result);
	EXPECT_EQ(SERVER, type_of(self->r, SPARE));
	EXPECT_EQ(PVIOMMU_MEM_RAM_RW, type_of(self->r, SPARE + PV_PAGE));
	/* There is no room for a table either; a watched page may be given its type again */
	memset(pv_mem(&self->vm, SPARE + 0x10000), 0, PV_PAGE);
	store(IOVA + PV_2M, 2, (SPARE + 0x10000) | PV_ENTRY_RW);
	expect_bad(PVIOMMU_BAD_WATCH, IOVA + PV_2M, PV_2M, SPARE + 0x10000);
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, SERVER));
	/* A page that is plain again makes room for another one */
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, PVIOMMU_MEM_RAM_RW));
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, SPARE + PV_PAGE, SERVER));
	EXPECT_EQ(0, pv_write_file(MAX_WATCHED, self->max_watched));
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, SPARE, SERVER));
	close(server);
}

/* ---- the doorbell page ---------------------------------------------------------------- */

/* Push an op and have the CPU ring the doorbell: does the host notice? */
static bool rings(struct pv_vcpu *cpu, struct pv_ring *r)
{
	__u64 before = pv_stats(r).kicks_tracked;
	struct pviommu_op *slot = pv_push(r, pv_op(PVIOMMU_OP_NOP));
	bool done;

	if (pv_vcpu_store_once(cpu, PV_AT_DOORBELL, PVIOMMU_DOORBELL(r->nr), 4))
		return false;
	done = slot->status == PVIOMMU_OK;
	/* The count agrees with that; the doorbell register works in either case */
	return pv_run(r) && slot->status == PVIOMMU_OK &&
	       pv_stats(r).kicks_tracked == before + done && done;
}

TEST_F(watch, doorbell_of_a_cpu)
{
	const struct pviommu_start *start = pv_mem(&self->vm, PV_AT_START);

	EXPECT_EQ(PVIOMMU_START_TRACKED, start->out_flags);
	EXPECT_TRUE(rings(&self->cpu, self->r));
	EXPECT_TRUE(rings(&self->cpu, &self->vm.ring[1]));
	/* Rings that do not exist, and stores next to the doorbell page */
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL, PVIOMMU_DOORBELL(2), 4));
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL, PVIOMMU_DOORBELL(0xfffe), 4));
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL - 4, 1, 4));
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL + PV_PAGE, 1, 8));
	/* All of them */
	pv_push(self->r, pv_op(PVIOMMU_OP_NOP));
	pv_push(&self->vm.ring[1], pv_op(PVIOMMU_OP_NOP));
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL,
					PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL), 4));
	EXPECT_EQ(self->r->hdr->prod, self->r->hdr->cons);
	EXPECT_EQ(self->vm.ring[1].hdr->prod, self->vm.ring[1].hdr->cons);
	EXPECT_TRUE(rings(&self->cpu, self->r));
}

/*
 * A store of any other kind shows that the guest uses the page for something else: from then
 * on it is plain memory, until RESET.
 */
TEST_F(watch, doorbell_given_up)
{
	const struct {
		const char *what;
		__u64 gpa, value;
		unsigned int width;
	} stores[] = {
		{ "a byte", PV_AT_DOORBELL, PVIOMMU_DOORBELL(0), 1 },
		{ "two bytes", PV_AT_DOORBELL, PVIOMMU_DOORBELL(0), 2 },
		{ "its upper half", PV_AT_DOORBELL + 2, PVIOMMU_DOORBELL(0) >> 16, 2 },
		{ "eight bytes", PV_AT_DOORBELL, PVIOMMU_DOORBELL(0), 8 },
		{ "elsewhere", PV_AT_DOORBELL + 4, PVIOMMU_DOORBELL(0), 4 },
		{ "misaligned", PV_AT_DOORBELL + 1, PVIOMMU_DOORBELL(0), 4 },
		{ "at its end", PV_AT_DOORBELL + PV_PAGE - 4, PVIOMMU_DOORBELL(0), 4 },
		{ "into it", PV_AT_DOORBELL - 2, PVIOMMU_DOORBELL(0), 4 },
		{ "out of it", PV_AT_DOORBELL + PV_PAGE - 2, PVIOMMU_DOORBELL(0), 4 },
		{ "no magic", PV_AT_DOORBELL, 0, 4 },
		{ "another magic", PV_AT_DOORBELL, PVIOMMU_DOORBELL(0) + 0x10000, 4 },
		{ "all ones", PV_AT_DOORBELL, 0xffffffff, 4 },
	};
	struct pviommu_event ev;
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(stores); i++) {
		EXPECT_TRUE(rings(&self->cpu, self->r));
		ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, stores[i].gpa, stores[i].value,
						stores[i].width)) {
			TH_LOG("%s", stores[i].what);
		}
		for (n = 0; n < 2; n++)
			EXPECT_FALSE(rings(&self->cpu, &self->vm.ring[n])) {
				TH_LOG("%s", stores[i].what);
			}
		pv_exec(self->r, pv_op(PVIOMMU_OP_NOP));
		EXPECT_FALSE(pv_event_next(&self->vm, &ev));
		pv_reset(&self->vm);
		pv_start(&self->vm, 2, 6);
	}
	EXPECT_TRUE(rings(&self->cpu, self->r));
}

/* Tables are watched on when the doorbell page is not */
TEST_F(watch, doorbell_given_up_beside_tables)
{
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL, 0, 4));
	EXPECT_FALSE(rings(&self->cpu, self->r));
	store(IOVA, 1, TARGET | PV_ENTRY_RW);
	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, TARGET));
}

/* Pages of the interface may have a type, too: a store to the doorbell page then does both */
TEST_F(watch, type_of_the_interface)
{
	const __u64 pages[] = { PV_AT_DOORBELL, PV_AT_OPS, PV_AT_HDRS, PV_AT_EVENTS };
	int server = pv_server_claim(pv_newest_vm());
	unsigned int i;

	ASSERT_LE(0, server);
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		EXPECT_EQ(PVIOMMU_OK, set_type(self->r, pages[i], SERVER));
		EXPECT_EQ(SERVER, type_of(self->r, pages[i]));
		EXPECT_TRUE(rings(&self->cpu, self->r));
	}
	/* The doorbell is given up, but its page keeps its type */
	ASSERT_EQ(0, pv_vcpu_store_once(&self->cpu, PV_AT_DOORBELL, 0, 4));
	EXPECT_FALSE(rings(&self->cpu, self->r));
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		EXPECT_EQ(SERVER, type_of(self->r, pages[i]));
	EXPECT_EQ(PVIOMMU_OK, set_type(self->r, PV_AT_DOORBELL, PVIOMMU_MEM_RAM_RW));
	EXPECT_FALSE(rings(&self->cpu, self->r));
	close(server);
}

/* ---- stores while others look ------------------------------------------------ */

#define PAGES	256

struct writer {
	struct pv_vcpu *cpu;
	__u64 gpa;
	bool go;
	bool failed;
	bool done;
};

static void *add_all(void *arg)
{
	struct writer *w = arg;
	unsigned int i;

	while (!__atomic_load_n(&w->go, __ATOMIC_RELAXED))
		;
	for (i = 0; i < PAGES && !w->failed; i++) {
		__u64 entry = (TARGET + (i ^ 1) * PV_PAGE) | PV_ENTRY_RW;

		w->failed = pv_vcpu_store(w->cpu, w->gpa + i * 8, &entry, sizeof(entry));
	}
	__atomic_store_n(&w->done, true, __ATOMIC_RELAXED);
	return NULL;
}

/* No entry that the CPU adds is lost while INVALIDATE looks at the table and links change */
TEST_F(watch, race)
{
	struct writer w = { .cpu = &self->cpu, .gpa = pv_entry_gpa(&self->t, IOVA, 1) };
	__u64 *link = pv_entry(&self->t, IOVA + PV_2M, 2);
	pthread_t thread;
	unsigned int i, beside = 0;

	memset(pv_mem(&self->vm, SPARE), 0, PV_PAGE);
	ASSERT_EQ(0, pthread_create(&thread, NULL, add_all, &w));
	for (i = 0; i < 100 || !__atomic_load_n(&w.done, __ATOMIC_RELAXED); i++) {
		beside += w.go && !__atomic_load_n(&w.done, __ATOMIC_RELAXED);
		*link = i % 2 ? 0 : SPARE | PV_ENTRY_RW;
		EXPECT_EQ(PVIOMMU_OK, i % 3 ? __pv_inv(&self->vm.ring[1], self->dom) :
			  __pv_inv_page(&self->vm.ring[1], self->dom, IOVA, 2 * PV_2M));
		__atomic_store_n(&w.go, true, __ATOMIC_RELAXED);
	}
	pthread_join(thread, NULL);
	EXPECT_FALSE(w.failed);
	/* Or there was no race */
	EXPECT_LT(0, beside);
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(TARGET + (i ^ 1) * PV_PAGE,
			  pv_leads_to(self->r, self->dom, IOVA + i * PV_PAGE));
	expect_no_event();
}

TEST_HARNESS_MAIN
