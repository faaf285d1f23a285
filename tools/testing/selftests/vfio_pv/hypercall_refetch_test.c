// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host reads an op once. It is stopped in the middle of each op that reads guest memory,
 * writes it, or faults it in: the page is missing, and userfaultfd makes the host wait for it.
 * Meanwhile the guest changes the op in its ring. The op must do what it said when it was sent.
 */
#include <pthread.h>

#include "lib/pv_late.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define D		PVIOMMU_DOMAIN_FIRST		/* where things are mapped */
#define SPARE		(PVIOMMU_DOMAIN_FIRST + 1)	/* where nothing is */
#define T		(PVIOMMU_DOMAIN_FIRST + 2)	/* with a guest-owned table */
#define DATA		(PV_DATA + 0x100000)
#define TABLES		(PV_DATA + 0x200000)
#define TOKEN		0x123456789abcdefULL
#define PAGES		3
#define KEPT		(IOVA * 2)	/* a page that is always mapped in D */
#define WORDS		(sizeof(struct pviommu_op) / sizeof(__u64))

FIXTURE(refetch)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct pv_table t;
	__u32 ep;
	int late;	/* userfaultfd */
};

/* Frames for MAP_LIST and RELEASE: at each place another one than the last time */
static void fill_list(void *page)
{
	static __u64 turn;
	__u64 *list = page;
	int i;

	turn++;
	for (i = 0; i < PAGES; i++)
		list[i] = (DATA >> 12) + (turn + 7 * i) % 128;
}

static void fill_table(void *page)
{
	((__u64 *)page)[(IOVA >> 12) % 512] = DATA | PV_ENTRY_RW;
}

/* ---- the ops, and what each must have done --------------------------------------- */

static struct pviommu_op op_map_list(__u32 ep)
{
	return pv_op_map_list(D, IOVA, PV_AT_LIST, PAGES, PV_R);
}

static bool list_is_mapped(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	struct pv_ring *r = &vm->ring[0];
	int i;

	for (i = 0; i < PAGES; i++)
		if (__pv_lookup(r, D, IOVA + i * PV_PAGE) || r->last.lookup.pgshift != 12 ||
		    r->last.lookup.prot != PV_R ||
		    r->last.lookup.gpa >> 12 != pv_list(vm)[i])
			return false;
	return slot->result == PAGES * PV_PAGE && pv_state(r).pages_mapped == 1 + PAGES;
}

static struct pviommu_op op_map(__u32 ep)
{
	return pv_op_map(D, IOVA, DATA, PAGES * PV_PAGE, PV_R);
}

static bool is_mapped(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	struct pv_ring *r = &vm->ring[0];
	int i;

	for (i = 0; i < PAGES; i++)
		if (__pv_lookup(r, D, IOVA + i * PV_PAGE) || r->last.lookup.pgshift != 12 ||
		    r->last.lookup.prot != PV_R || r->last.lookup.gpa != DATA + i * PV_PAGE)
			return false;
	return slot->result == PAGES * PV_PAGE && pv_state(r).pages_mapped == 1 + PAGES;
}

static struct pviommu_op op_release(__u32 ep)
{
	return pv_op_release(PAGES, TOKEN);
}

static bool is_released(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	struct pviommu_event ev = {};

	return pv_event_wait(vm, &ev, 10000) && ev.type == PVIOMMU_EV_RELEASED &&
	       ev.addr == TOKEN && ev.size == PAGES * PV_PAGE && !slot->result;
}

static struct pviommu_op op_probe(__u32 ep)
{
	return pv_op_buf(PVIOMMU_OP_PROBE, ep, PV_AT_REPLY, sizeof(struct pviommu_probe));
}

static bool is_probed(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	const struct pviommu_probe *probe = pv_mem(vm, PV_AT_REPLY);
	const struct pviommu_region *behind = (const void *)(probe + 1);

	return probe->endpoint == ep && probe->domain == D && !behind->last &&
	       slot->result == sizeof(*probe) + probe->nr_regions * sizeof(*behind);
}

static struct pviommu_op op_stats(__u32 ep)
{
	return pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, 8 * sizeof(__u64));
}

static bool is_counted(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	const struct pviommu_stats *stats = pv_mem(vm, PV_AT_REPLY);

	return stats->ops && stats->domains == 3 && !stats->faults && !stats->pages_lent &&
	       slot->result == sizeof(*stats);
}

static struct pviommu_op op_dirty_read(__u32 ep)
{
	return pv_op_dirty_read(D, KEPT - PV_PAGE, 2 * PV_PAGE);
}

static bool is_dirty(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	const __u64 *bits = pv_mem(vm, PV_AT_REPLY);

	return bits[0] == 2 && !bits[1] && slot->result == 1;
}

static struct pviommu_op op_alloc(__u32 ep)
{
	return pv_op_alloc_table(ep, PVIOMMU_TABLE_X86_64_4, PV_AT_REPLY);
}

/* A domain with an empty table, as its look finds; MAP is refused, so it is no PAGING domain */
static bool is_allocated(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	struct pv_ring *r = &vm->ring[0];
	__u32 dom = slot->result;

	return dom == T + 1 && !__pv_inv(r, dom) &&
	       __pv_map(r, dom, IOVA, DATA, PV_PAGE, PV_R) == PVIOMMU_EOPNOTSUPP &&
	       !__pv_free(r, dom);
}

/* Look at one entry, of the page that comes late */
static struct pviommu_op op_look(__u32 ep)
{
	return pv_op_inv_page(T, IOVA, PV_PAGE);
}

static bool is_mirrored(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot)
{
	struct pv_ring *r = &vm->ring[0];

	return pv_leads_to(r, T, IOVA) == DATA && !slot->result &&
	       pv_state(r).pages_mapped == 2;
}

/* ---- the table ------------------------------------------------------------------- */

#define AT_TABLE	0	/* stands for the last page of the table */

static const struct {
	const char *name;
	struct pviommu_op (*op)(__u32 ep);
	__u64 gpa;			/* of the page that comes late */
	void (*fill)(void *page);	/* what is in it, NULL for zeroes */
	bool (*good)(struct pv_vm *vm, __u32 ep, const struct pviommu_op *slot);
} ops[] = {
	{ "MAP", op_map, DATA + PV_PAGE, NULL, is_mapped },
	{ "MAP_LIST", op_map_list, PV_AT_LIST, fill_list, list_is_mapped },
	{ "RELEASE", op_release, PV_AT_LIST, fill_list, is_released },
	{ "PROBE", op_probe, PV_AT_REPLY, NULL, is_probed },
	{ "STATS", op_stats, PV_AT_REPLY, NULL, is_counted },
	{ "DIRTY_READ", op_dirty_read, PV_AT_REPLY, NULL, is_dirty },
	{ "ALLOC, table", op_alloc, PV_AT_REPLY, NULL, is_allocated },
	{ "INVALIDATE, table", op_look, AT_TABLE, fill_table, is_mirrored },
};

/* ---- the test ----------------------------------------------------------------------- */

FIXTURE_SETUP(refetch)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->late = pv_late_open();
	if (self->late < 0)
		SKIP(return, "needs userfaultfd");
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	pv_start(&self->vm, 1, 3);
	ASSERT_EQ(D, pv_new_domain(self->r, self->ep));
	ASSERT_EQ(SPARE, pv_new_domain(self->r, self->ep));
	self->t = pv_table(&self->vm, 4, TABLES);
	pv_entry(&self->t, IOVA, 1);
	pv_exec(self->r, pv_op_alloc_table(self->ep, PVIOMMU_TABLE_X86_64_4, self->t.root));
	ASSERT_EQ(T, self->r->last.result);
	/* Out of bypass, so that guest memory is not pinned and pages can be made to come late */
	pv_attach(self->r, self->ep, D);
	pv_exec(self->r, pv_op_dirty_start(D));
	pv_map(self->r, D, KEPT, PV_DATA, PV_PAGE, PV_RW);
}

FIXTURE_TEARDOWN(refetch)
{
	close(self->late);
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

static void *kick(void *arg)
{
	pv_kick(arg);
	return NULL;
}

/* Invert word @n of the op; if that is WORDS, all of them */
static void change(struct pviommu_op *op, unsigned int n)
{
	__u64 *words = (__u64 *)op;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		if (i == n || n == WORDS)
			__atomic_store_n(&words[i], ~words[i], __ATOMIC_RELAXED);
}

/* The host writes status and result, and nothing else */
static bool left_alone(const struct pviommu_op *changed, struct pviommu_op now)
{
	now.status = changed->status;
	now.result = changed->result;
	return !memcmp(&now, changed, sizeof(now));
}

/* The page that comes late, in this process */
static void *late_page(struct pv_vm *vm, struct pv_table *t, __u64 gpa)
{
	return gpa == AT_TABLE ? (void *)((unsigned long)pv_entry(t, IOVA, 1) & -PV_PAGE) :
				 pv_mem(vm, gpa);
}

static void undo(struct pv_ring *r, struct pv_table *t)
{
	*pv_entry(t, IOVA, 1) = 0;
	__pv_unmap(r, D, IOVA, PV_2M);
	__pv_inv(r, D);
	__pv_inv(r, T);
}

TEST_F(refetch, ops_that_change_while_the_host_waits)
{
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(ops) * (WORDS + 1); i++) {
		const typeof(ops[0]) *row = &ops[i / (WORDS + 1)];
		void *page = late_page(&self->vm, &self->t, row->gpa);
		struct pviommu_op *slot, *next, changed, now;
		pthread_t host;

		n = i % (WORDS + 1);
		slot = pv_push(self->r, row->op(self->ep));
		/* If the new flags were read as a chain, this one would be cancelled */
		next = pv_push(self->r, pv_op(PVIOMMU_OP_NOP));
		changed = *slot;
		change(&changed, n);
		ASSERT_TRUE(pv_late_begin(self->late, page));
		ASSERT_EQ(0, pthread_create(&host, NULL, kick, self->r));
		EXPECT_TRUE(pv_late_is_waited_for(self->late)) {
			TH_LOG("%s", row->name);
		}
		EXPECT_EQ(PVIOMMU_STATUS_PENDING, slot->status);
		change(slot, n);
		ASSERT_TRUE(pv_late_end(self->late, page, row->fill));
		pthread_join(host, NULL);
		ASSERT_TRUE(pv_run(self->r));
		now = *slot;
		EXPECT_EQ(PVIOMMU_OK, now.status) {
			TH_LOG("%s, word %u", row->name, n);
		}
		EXPECT_EQ(PVIOMMU_OK, next->status) {
			TH_LOG("%s, word %u", row->name, n);
		}
		EXPECT_TRUE(left_alone(&changed, now)) {
			TH_LOG("%s, word %u", row->name, n);
		}
		EXPECT_TRUE(row->good(&self->vm, self->ep, &now)) {
			TH_LOG("%s, word %u", row->name, n);
		}
		undo(self->r, &self->t);
		EXPECT_EQ(1, pv_state(self->r).pages_mapped);
	}
}

/*
 * The same with an op that takes several doorbells, and is changed between them, too: it goes
 * on from the host's copy.
 */
TEST_F(refetch, begun_op_that_changes)
{
	const __u64 size = 8 * PV_2M / 4;
	struct pviommu_op *slot, sent;
	pthread_t host;
	void *page = pv_mem(&self->vm, DATA + PV_PAGE);

	ASSERT_TRUE(pv_param_set("doorbell_pages", "1"));
	sent = pv_op_map(D, IOVA, DATA, size, PV_R);
	slot = pv_push(self->r, sent);
	ASSERT_TRUE(pv_late_begin(self->late, page));
	ASSERT_EQ(0, pthread_create(&host, NULL, kick, self->r));
	EXPECT_TRUE(pv_late_is_waited_for(self->late));
	change(slot, WORDS);
	ASSERT_TRUE(pv_late_end(self->late, page, NULL));
	pthread_join(host, NULL);
	EXPECT_NE(self->r->hdr->prod, self->r->hdr->cons);
	change(slot, 3);
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_OK, slot->status);
	EXPECT_EQ(size, slot->result);
	pv_lookup(self->r, D, IOVA + size - PV_PAGE);
	EXPECT_EQ(DATA + size - PV_PAGE, self->r->last.lookup.gpa);
	EXPECT_EQ(1 + size / PV_PAGE, pv_state(self->r).pages_mapped);
	pv_params_restore();
}

TEST_HARNESS_MAIN
