// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fields of each op. Tables list ops with one or two invalid fields, which must fail with
 * the status that the ABI gives and change nothing, and ops that are just valid, which must
 * succeed with the given result.
 *
 * Another table says which fields an op takes. Each of these must have a row, and each bit of
 * all other fields is tested without one. An op that is not in the table must be unknown.
 * TYPE_SET is tested with KVM only.
 */
#include <unistd.h>

#include "lib/pv_kvm.h"
#include "lib/pv_server.h"
#include "lib/pv_snap.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"

/* IOVAs of domain D where the fixture has mapped pages, and where it has not */
#define MAPPED		PV_SNAP_HOME
#define MAPPED_SIZE	PV_SNAP_HOME_SIZE
#define FREE		PV_SNAP_FREE
#define FREE_2M		(FREE + 0x400000)
#define D		PV_SNAP_D	/* has the endpoint, and a dirty log */
#define SPARE		PV_SNAP_E	/* empty */
#define NONE		77		/* the number of no domain or endpoint */
#define MSI		0xfee00000ULL
#define MSI_SIZE	0x100000ULL
#define TABLE		(PV_DATA + 0x300000)
#define TOKEN		1

FIXTURE(op)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_ring *r;
	__u32 ep;
	int server;
};

/* With KVM if there is one */
static int open_vm(struct pv_vm *vm, struct pv_kvm *kvm)
{
	int ret = pv_vm_init(vm, 1, PV_LOW_SIZE);

	if (ret)
		return ret;
	return access("/dev/kvm", R_OK | W_OK) ? pv_vm_open_rest(vm) : pv_kvm_open_rest(kvm, vm);
}

FIXTURE_SETUP(op)
{
	int ret;

	self->kvm = (struct pv_kvm) { -1, -1 };
	self->vm.container = -1;
	self->server = -1;
	self->before = pv_begin();
	ret = open_vm(&self->vm, &self->kvm);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	self->server = pv_server_claim(pv_newest_vm());
	ASSERT_LE(0, self->server);
	ASSERT_EQ(0, pv_vm_add_bar(&self->vm, 0));
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	pv_start(&self->vm, 1, 6);
	ASSERT_EQ(D, pv_new_domain(self->r, self->ep));
	ASSERT_EQ(SPARE, pv_new_domain(self->r, self->ep));
	pv_attach(self->r, self->ep, D);
	pv_map(self->r, D, MAPPED, PV_DATA, MAPPED_SIZE, PV_RW);
	pv_exec(self->r, pv_op_dirty_start(D));
	pv_list(&self->vm)[0] = PV_DATA >> 12;
	pv_list(&self->vm)[1] = (PV_DATA + 0x5000) >> 12;
	pv_list(&self->vm)[2] = (PV_DATA + 0x3000) >> 12;
	pv_list(&self->vm)[3] = PV_HIGH >> 12;
}

FIXTURE_TEARDOWN(op)
{
	close(self->server);
	pv_vm_close(&self->vm);
	pv_kvm_close(&self->kvm);
	pv_expect_unchanged(&self->before);
}

/* The bytes of a field, a bit each */
#define LEN(field)	sizeof(((struct pviommu_op){ 0 }).field)
#define BYTES(field)	(((1ULL << LEN(field)) - 1) << offsetof(struct pviommu_op, field))

enum kind {
	NOP, FEATURES, PROBE, STATS, ALLOC, ALLOC_TABLE, RECOVER, ATTACH, MAP, MAP_2M, MAP_LIST,
	LOOKUP, UNMAP, UNMAP_ALL, INVALIDATE, INV_DOMAIN, TYPE_SET, TYPE_GET, DIRTY_START,
	DIRTY_READ, DIRTY_STOP, RELEASE, DETACH, FREE_OP, KINDS
};

/* The kinds of valid ops, with the flags and fields that they take; all others are refused */
static const struct {
	const char *name;
	__u16 code;
	__u16 flags;
	__u64 takes;
	__u64 any;	/* takes, and whatever the value is, it is valid */
} kinds[KINDS] = {
	[NOP] = { "NOP", PVIOMMU_OP_NOP },
	[FEATURES] = { "FEATURES", PVIOMMU_OP_FEATURES },
	[PROBE] = { "PROBE", PVIOMMU_OP_PROBE, 0,
		    BYTES(endpoint) | BYTES(buf.gpa) | BYTES(buf.size) },
	[STATS] = { "STATS", PVIOMMU_OP_STATS, 0, BYTES(buf.gpa) | BYTES(buf.size) },
	[ALLOC] = { "ALLOC", PVIOMMU_OP_ALLOC, PVIOMMU_ALLOC_F_WATCH,
		    BYTES(endpoint) | BYTES(alloc.type) },
	[ALLOC_TABLE] = { "ALLOC, table", PVIOMMU_OP_ALLOC, PVIOMMU_ALLOC_F_WATCH,
			  BYTES(endpoint) | BYTES(alloc.type) | BYTES(alloc.format) |
			  BYTES(alloc.root) },
	[RECOVER] = { "RECOVER", PVIOMMU_OP_RECOVER, 0, BYTES(endpoint) },
	[ATTACH] = { "ATTACH", PVIOMMU_OP_ATTACH, 0,
		     BYTES(domain) | BYTES(endpoint) | BYTES(pasid) },
	[MAP] = { "MAP", PVIOMMU_OP_MAP, 0,
		  BYTES(domain) | BYTES(vm) | BYTES(map.iova) | BYTES(map.gpa) |
		  BYTES(map.size) | BYTES(map.prot) | BYTES(map.pgshift) },
	[MAP_2M] = { "MAP, 2 MiB", PVIOMMU_OP_MAP, 0,
		     BYTES(domain) | BYTES(vm) | BYTES(map.iova) | BYTES(map.gpa) |
		     BYTES(map.size) | BYTES(map.prot) | BYTES(map.pgshift) },
	[MAP_LIST] = { "MAP_LIST", PVIOMMU_OP_MAP_LIST, 0,
		       BYTES(domain) | BYTES(vm) | BYTES(list.iova) | BYTES(list.list) |
		       BYTES(list.count) | BYTES(list.prot) | BYTES(list.pgshift) },
	[LOOKUP] = { "LOOKUP", PVIOMMU_OP_LOOKUP, 0, BYTES(domain) | BYTES(lookup.iova) },
	[UNMAP] = { "UNMAP", PVIOMMU_OP_UNMAP, PVIOMMU_UNMAP_F_ALL,
		    BYTES(domain) | BYTES(unmap.iova) | BYTES(unmap.size) },
	[UNMAP_ALL] = { "UNMAP, all", PVIOMMU_OP_UNMAP, PVIOMMU_UNMAP_F_ALL, BYTES(domain) },
	[INVALIDATE] = { "INVALIDATE", PVIOMMU_OP_INVALIDATE, PVIOMMU_INV_F_LEAF,
			 BYTES(domain) | BYTES(pasid) | BYTES(inv.addr) | BYTES(inv.size) |
			 BYTES(inv.granularity) },
	[INV_DOMAIN] = { "INVALIDATE, domain", PVIOMMU_OP_INVALIDATE, PVIOMMU_INV_F_LEAF,
			 BYTES(domain) | BYTES(pasid) | BYTES(inv.granularity) },
	[TYPE_SET] = { "TYPE_SET", PVIOMMU_OP_TYPE_SET, 0,
		       BYTES(mem.gpa) | BYTES(mem.size) | BYTES(mem.type) },
	[TYPE_GET] = { "TYPE_GET", PVIOMMU_OP_TYPE_GET, 0, BYTES(mem.gpa) },
	[DIRTY_START] = { "DIRTY_START", PVIOMMU_OP_DIRTY_START, 0, BYTES(domain) },
	[DIRTY_READ] = { "DIRTY_READ", PVIOMMU_OP_DIRTY_READ, 0,
			 BYTES(domain) | BYTES(dirty.iova) | BYTES(dirty.gpa) |
			 BYTES(dirty.size) | BYTES(dirty.pgshift) },
	[DIRTY_STOP] = { "DIRTY_STOP", PVIOMMU_OP_DIRTY_STOP, 0, BYTES(domain) },
	[RELEASE] = { "RELEASE", PVIOMMU_OP_RELEASE, 0,
		      BYTES(release.list) | BYTES(release.count), BYTES(release.token) },
	[DETACH] = { "DETACH", PVIOMMU_OP_DETACH, 0,
		     BYTES(domain) | BYTES(endpoint) | BYTES(pasid) },
	[FREE_OP] = { "FREE", PVIOMMU_OP_FREE, 0, BYTES(domain) },
};

static struct pviommu_op good(enum kind kind, __u32 ep)
{
	switch (kind) {
	case NOP:
	case KINDS:
		break;
	case FEATURES:
		return pv_op(PVIOMMU_OP_FEATURES);
	case PROBE:
		return pv_op_buf(PVIOMMU_OP_PROBE, ep, PV_AT_REPLY, PV_PAGE);
	case STATS:
		return pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, PV_PAGE);
	case ALLOC:
		return pv_op_alloc(ep);
	case ALLOC_TABLE:
		return pv_op_alloc_table(ep, PVIOMMU_TABLE_X86_64_4, TABLE);
	case RECOVER:
		return pv_op_recover(ep);
	case ATTACH:
		return pv_op_attach(ep, SPARE);
	case MAP:
		return pv_op_map(D, FREE, PV_DATA, 0x4000, PV_RW);
	case MAP_2M:
		return pv_op_map_2m(D, FREE_2M, PV_HIGH, PV_HIGH_SIZE, PV_RW);
	case MAP_LIST:
		return pv_op_map_list(D, FREE + PV_2M, PV_AT_LIST, 4, PV_RW);
	case LOOKUP:
		return pv_op_lookup(D, MAPPED + 8);
	case UNMAP:
		return pv_op_unmap(D, MAPPED, 0x2000);
	case UNMAP_ALL:
		return pv_op_unmap_all(D);
	case INVALIDATE:
		return pv_op_inv_page(D, MAPPED, 0x2000);
	case INV_DOMAIN:
		return pv_op_inv(D);
	case TYPE_SET:
		return pv_op_type_set(PV_SNAP_TYPED, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER);
	case TYPE_GET:
		return pv_op_type_get(PV_DATA);
	case DIRTY_START:
		return pv_op_dirty_start(D);
	case DIRTY_READ:
		return pv_op_dirty_read(D, MAPPED, MAPPED_SIZE);
	case DIRTY_STOP:
		return pv_op_dirty_stop(D);
	case RELEASE:
		return pv_op_release(2, TOKEN);
	case DETACH:
		return pv_op_detach(ep, SPARE);
	case FREE_OP:
		return pv_op_free(SPARE);
	}
	return pv_op(PVIOMMU_OP_NOP);
}

/* The endpoint is in D, so that is where a good DETACH takes it from */
static struct pviommu_op good_here(enum kind kind, __u32 ep)
{
	return kind == DETACH ? pv_op_detach(ep, D) : good(kind, ep);
}

/* Pages get a type only where KVM tells the host of stores */
static bool is_possible(enum kind kind, struct pv_vm *vm)
{
	const struct pviommu_start *start = pv_mem(vm, PV_AT_START);

	return kind != TYPE_SET || start->out_flags & PVIOMMU_START_TRACKED;
}

/* The ops that the tables below start from succeed, so only what they change is wrong */
TEST_F(op, good_ops_succeed)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		struct pviommu_op op = good(kind, self->ep);

		ASSERT_NE(NULL, kinds[kind].name);
		EXPECT_EQ(kinds[kind].code, op.code);
		EXPECT_EQ(is_possible(kind, &self->vm) ? PVIOMMU_OK : PVIOMMU_EOPNOTSUPP,
			  __pv_exec(self->r, op)) {
			TH_LOG("%s", kinds[kind].name);
		}
	}
}

/* The host writes status and result of an op, and nothing else */
static bool as_it_was(const struct pviommu_op *sent, struct pviommu_op now)
{
	now.status = sent->status;
	now.result = sent->result;
	return !memcmp(sent, &now, sizeof(now));
}

/* An op that must fail with @status and change nothing, itself included */
#define refused(status, op, ...) do {					\
	struct pv_snap __before = pv_snap(self->r, self->ep), __after;	\
	struct pviommu_op __op = op;					\
									\
	EXPECT_EQ(status, __pv_exec(self->r, __op)) {			\
		TH_LOG(__VA_ARGS__);					\
	}								\
	EXPECT_EQ(0, self->r->last.result) {				\
		TH_LOG(__VA_ARGS__);					\
	}								\
	EXPECT_TRUE(as_it_was(&__op, self->r->last)) {			\
		TH_LOG(__VA_ARGS__);					\
	}								\
	__after = pv_snap(self->r, self->ep);				\
	EXPECT_TRUE(pv_snap_same(&__before, &__after)) {		\
		TH_LOG(__VA_ARGS__);					\
	}								\
} while (0)

static bool is_known(__u32 code)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++)
		if (kinds[kind].code == code)
			return true;
	return false;
}

/* All numbers but those of the table, so an op that is added there must be added here */
TEST_F(op, all_other_codes)
{
	struct pv_snap before = pv_snap(self->r, self->ep), after;
	struct pviommu_op *slot[64];
	unsigned int i, n;
	__u32 code = 0;

	ASSERT_LE(ARRAY_SIZE(slot), self->r->slots);
	while (code <= 0xffff) {
		for (n = 0; n < ARRAY_SIZE(slot) && code <= 0xffff; code++)
			if (!is_known(code))
				slot[n++] = pv_push(self->r, pv_op(code));
		ASSERT_TRUE(pv_run(self->r));
		for (i = 0; i < n; i++)
			EXPECT_EQ(PVIOMMU_EOPNOTSUPP, slot[i]->status) {
				TH_LOG("code 0x%x", slot[i]->code);
			}
	}
	after = pv_snap(self->r, self->ep);
	EXPECT_TRUE(pv_snap_same(&before, &after));
}

TEST_F(op, unknown_flags)
{
	int kind, bit;

	for (kind = 0; kind < KINDS; kind++) {
		for (bit = 0; bit < 16 && is_possible(kind, &self->vm); bit++) {
			struct pviommu_op op = good_here(kind, self->ep);

			if ((1 << bit) & (kinds[kind].flags | PVIOMMU_OP_F_CHAIN))
				continue;
			op.flags |= 1 << bit;
			refused(PVIOMMU_EOPNOTSUPP, op, "%s, bit %d", kinds[kind].name, bit);
		}
	}
}

/* The fields that an op may take are those from domain on, up to its result */
#define FIRST_BYTE	offsetof(struct pviommu_op, domain)
#define END_BYTE	offsetof(struct pviommu_op, result)

/* Each bit of all fields that an op does not take, be they reserved or another op's */
TEST_F(op, fields_that_it_does_not_take)
{
	struct pv_snap before = pv_snap(self->r, self->ep), after;
	unsigned int bit;
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		__u64 takes = kinds[kind].takes | kinds[kind].any;

		for (bit = FIRST_BYTE * 8; bit < END_BYTE * 8; bit++) {
			struct pviommu_op op = good_here(kind, self->ep);

			if (takes & 1ULL << bit / 8 || !is_possible(kind, &self->vm))
				continue;
			((__u8 *)&op)[bit / 8] ^= 1 << bit % 8;
			EXPECT_EQ(PVIOMMU_EINVAL, __pv_exec(self->r, op)) {
				TH_LOG("%s, byte %u, bit %u", kinds[kind].name, bit / 8, bit % 8);
			}
			EXPECT_EQ(0, self->r->last.result);
			EXPECT_TRUE(as_it_was(&op, self->r->last));
		}
		after = pv_snap(self->r, self->ep);
		EXPECT_TRUE(pv_snap_same(&before, &after)) {
			TH_LOG("%s", kinds[kind].name);
		}
		before = after;
	}
}

/* PASIDs differ in many bits from the number that stands for none */
TEST_F(op, pasids_that_it_does_not_take)
{
	const __u32 pasids[] = { 0, 1, 0xfffff, PVIOMMU_PASID_NONE - 1 };
	unsigned int i;
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		for (i = 0; i < ARRAY_SIZE(pasids) && is_possible(kind, &self->vm); i++) {
			struct pviommu_op op = good_here(kind, self->ep);

			op.pasid = pasids[i];
			if (!(kinds[kind].takes & BYTES(pasid)))
				refused(PVIOMMU_EINVAL, op, "%s, PASID 0x%x", kinds[kind].name,
					op.pasid);
		}
	}
}

/* A field, with its width in bits */
#define F8(field)	.len = 1, .off = offsetof(struct pviommu_op, field)
#define F16(field)	.len = 2, .off = offsetof(struct pviommu_op, field)
#define F32(field)	.len = 4, .off = offsetof(struct pviommu_op, field)
#define F64(field)	.len = 8, .off = offsetof(struct pviommu_op, field)
#define TOP		(-PV_PAGE)	/* the last page of the address space */

/* A valid op, but for one field */
static const struct row {
	enum kind kind;
	const char *what;
	size_t len, off;
	__u64 value;
	__u32 status;
} rows[] = {
	{ RECOVER, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ RECOVER, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ RECOVER, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },

	{ PROBE, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ PROBE, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ PROBE, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },
	{ PROBE, "to nowhere", F64(buf.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ PROBE, "to the top", F64(buf.gpa), -8ULL, PVIOMMU_EFAULT },
	{ PROBE, "beyond RAM", F64(buf.gpa), PV_LOW_SIZE - 8, PVIOMMU_EFAULT },
	{ PROBE, "to read-only memory", F64(buf.gpa), PV_ROM, PVIOMMU_EFAULT },
	{ PROBE, "to a BAR", F64(buf.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ STATS, "to nowhere", F64(buf.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ STATS, "to read-only memory", F64(buf.gpa), PV_ROM, PVIOMMU_EFAULT },
	{ STATS, "to the top", F64(buf.gpa), -8ULL, PVIOMMU_EFAULT },
	{ STATS, "beyond RAM", F64(buf.gpa), PV_LOW_SIZE - 8, PVIOMMU_EFAULT },
	{ STATS, "to a BAR", F64(buf.gpa), PV_BAR, PVIOMMU_EFAULT },

	{ ALLOC, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ ALLOC, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ ALLOC, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },
	{ ALLOC, "type unknown", F32(alloc.type), 2, PVIOMMU_EOPNOTSUPP },
	{ ALLOC, "table without format", F32(alloc.type), PVIOMMU_TYPE_TABLE, PVIOMMU_EOPNOTSUPP },
	{ ALLOC, "type unknown", F32(alloc.type), 0xffffffff, PVIOMMU_EOPNOTSUPP },
	{ ALLOC, "watch without table", F16(flags), PVIOMMU_ALLOC_F_WATCH, PVIOMMU_EINVAL },

	{ ALLOC_TABLE, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ ALLOC_TABLE, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ ALLOC_TABLE, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },
	{ ALLOC_TABLE, "format 0", F32(alloc.format), 0, PVIOMMU_EOPNOTSUPP },
	{ ALLOC_TABLE, "format unknown", F32(alloc.format), 3, PVIOMMU_EOPNOTSUPP },
	{ ALLOC_TABLE, "format unknown", F32(alloc.format), 0xffffffff, PVIOMMU_EOPNOTSUPP },
	{ ALLOC_TABLE, "root misaligned", F64(alloc.root), TABLE + 8, PVIOMMU_EINVAL },
	{ ALLOC_TABLE, "root nowhere", F64(alloc.root), PV_NOWHERE, PVIOMMU_EFAULT },
	{ ALLOC_TABLE, "root in a BAR", F64(alloc.root), PV_BAR, PVIOMMU_EFAULT },
	{ ALLOC_TABLE, "root beyond RAM", F64(alloc.root), PV_LOW_SIZE, PVIOMMU_EFAULT },
	{ ALLOC_TABLE, "root at the top", F64(alloc.root), TOP, PVIOMMU_EFAULT },

	{ FREE_OP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ FREE_OP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ FREE_OP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ FREE_OP, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ FREE_OP, "in use", F32(domain), D, PVIOMMU_EBUSY },

	{ ATTACH, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ ATTACH, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ ATTACH, "no such domain", F32(domain), 1 << 16, PVIOMMU_ENOENT },
	{ ATTACH, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },
	{ ATTACH, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ ATTACH, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ ATTACH, "PASID 0", F32(pasid), 0, PVIOMMU_EOPNOTSUPP },
	{ ATTACH, "PASID 1", F32(pasid), 1, PVIOMMU_EOPNOTSUPP },
	{ ATTACH, "the last PASID", F32(pasid), 0xfffff, PVIOMMU_EOPNOTSUPP },
	{ ATTACH, "PASID beyond all", F32(pasid), PVIOMMU_PASID_NONE - 1, PVIOMMU_EOPNOTSUPP },
	{ DETACH, "not its domain", F32(domain), SPARE, PVIOMMU_EINVAL },
	{ DETACH, "not its domain", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ DETACH, "not its domain", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ DETACH, "no such domain", F32(domain), NONE, PVIOMMU_EINVAL },
	{ DETACH, "no such domain", F32(domain), 0xffffffff, PVIOMMU_EINVAL },
	{ DETACH, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },
	{ DETACH, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ DETACH, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ DETACH, "PASID 0", F32(pasid), 0, PVIOMMU_EOPNOTSUPP },
	{ DETACH, "PASID 1", F32(pasid), 1, PVIOMMU_EOPNOTSUPP },
	{ DETACH, "the last PASID", F32(pasid), 0xfffff, PVIOMMU_EOPNOTSUPP },
	{ DETACH, "PASID beyond all", F32(pasid), PVIOMMU_PASID_NONE - 1, PVIOMMU_EOPNOTSUPP },

	{ MAP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ MAP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ MAP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ MAP, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ MAP, "nothing is granted", F32(vm), 1, PVIOMMU_EACCES },
	{ MAP, "no such VM", F32(vm), 0xffffffff, PVIOMMU_EACCES },
	{ MAP, "iova up to the top", F64(map.iova), -0x4000ULL, PVIOMMU_ERANGE },
	{ MAP, "iova of the last page for MSIs", F64(map.iova), MSI + MSI_SIZE - PV_PAGE,
	  PVIOMMU_ERANGE },
	{ MAP, "iova misaligned", F64(map.iova), FREE + 1, PVIOMMU_EINVAL },
	{ MAP, "iova misaligned", F64(map.iova), FREE + 0x800, PVIOMMU_EINVAL },
	{ MAP, "iova + size overflows", F64(map.iova), TOP, PVIOMMU_ERANGE },
	{ MAP, "iova beyond the window", F64(map.iova), 1ULL << 60, PVIOMMU_ERANGE },
	{ MAP, "iova reserved for MSIs", F64(map.iova), MSI, PVIOMMU_ERANGE },
	{ MAP, "iova range touches that", F64(map.iova), MSI - 0x3000, PVIOMMU_ERANGE },
	{ MAP, "overlap", F64(map.iova), MAPPED, PVIOMMU_EEXIST },
	{ MAP, "overlap of the last page", F64(map.iova), MAPPED - 0x3000, PVIOMMU_EEXIST },
	{ MAP, "overlap of the first page", F64(map.iova), MAPPED + MAPPED_SIZE - 0x1000,
	  PVIOMMU_EEXIST },
	{ MAP, "gpa misaligned", F64(map.gpa), PV_DATA + 1, PVIOMMU_EINVAL },
	{ MAP, "gpa + size overflows", F64(map.gpa), TOP, PVIOMMU_ERANGE },
	{ MAP, "gpa nowhere", F64(map.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ MAP, "gpa beyond any address", F64(map.gpa), 1ULL << 60, PVIOMMU_EFAULT },
	{ MAP, "gpa up to the top", F64(map.gpa), -0x4000ULL, PVIOMMU_EFAULT },
	{ MAP, "gpa beyond any RAM", F64(map.gpa), 1ULL << 52, PVIOMMU_EFAULT },
	{ MAP, "gpa in part beyond RAM", F64(map.gpa), PV_LOW_SIZE - 0x3000, PVIOMMU_EFAULT },
	{ MAP, "gpa read-only", F64(map.gpa), PV_ROM, PVIOMMU_EACCES },
	{ MAP, "gpa of a BAR", F64(map.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ MAP, "size 0", F64(map.size), 0, PVIOMMU_EINVAL },
	{ MAP, "size misaligned", F64(map.size), 0x1001, PVIOMMU_EINVAL },
	{ MAP, "size overflows", F64(map.size), TOP, PVIOMMU_ERANGE },
	{ MAP, "size of half of all", F64(map.size), 1ULL << 63, PVIOMMU_ERANGE },
	{ MAP, "no access", F32(map.prot), 0, PVIOMMU_EINVAL },
	{ MAP, "no access, no exec", F32(map.prot), PVIOMMU_PROT_NOEXEC, PVIOMMU_EINVAL },
	{ MAP, "MMIO", F32(map.prot), PV_RW | PVIOMMU_PROT_MMIO, PVIOMMU_EOPNOTSUPP },
	{ MAP, "MMIO alone", F32(map.prot), PVIOMMU_PROT_MMIO, PVIOMMU_EOPNOTSUPP },
	{ MAP, "prot unknown", F32(map.prot), PV_RW | 1U << 4, PVIOMMU_EOPNOTSUPP },
	{ MAP, "prot all ones", F32(map.prot), 0xffffffff, PVIOMMU_EOPNOTSUPP },
	{ MAP, "prot unknown", F32(map.prot), PV_RW | 1U << 31, PVIOMMU_EOPNOTSUPP },
	{ MAP, "pgshift 0", F8(map.pgshift), 0, PVIOMMU_EINVAL },
	{ MAP, "pgshift 11", F8(map.pgshift), 11, PVIOMMU_EINVAL },
	{ MAP, "pgshift 13", F8(map.pgshift), 13, PVIOMMU_EINVAL },
	{ MAP, "pgshift 20", F8(map.pgshift), 20, PVIOMMU_EINVAL },
	{ MAP, "pgshift 22", F8(map.pgshift), 22, PVIOMMU_EINVAL },
	{ MAP, "pgshift 31", F8(map.pgshift), 31, PVIOMMU_EINVAL },
	{ MAP, "pgshift 32", F8(map.pgshift), 32, PVIOMMU_EINVAL },
	{ MAP, "pgshift 30", F8(map.pgshift), 30, PVIOMMU_EINVAL },
	{ MAP, "pgshift 63", F8(map.pgshift), 63, PVIOMMU_EINVAL },
	{ MAP, "pgshift 64", F8(map.pgshift), 64, PVIOMMU_EINVAL },
	{ MAP, "pgshift 76", F8(map.pgshift), 76, PVIOMMU_EINVAL },
	{ MAP, "pgshift 255", F8(map.pgshift), 255, PVIOMMU_EINVAL },
	{ MAP, "size less than a page", F8(map.pgshift), 21, PVIOMMU_EINVAL },
	{ MAP_2M, "iova misaligned", F64(map.iova), FREE_2M + PV_PAGE, PVIOMMU_EINVAL },
	{ MAP_2M, "gpa misaligned", F64(map.gpa), PV_HIGH + PV_PAGE, PVIOMMU_EINVAL },
	{ MAP_2M, "gpa in part beyond RAM", F64(map.gpa), PV_HIGH + PV_2M, PVIOMMU_EFAULT },
	{ MAP_2M, "size misaligned", F64(map.size), PV_2M + PV_PAGE, PVIOMMU_EINVAL },

	{ MAP_LIST, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ MAP_LIST, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ MAP_LIST, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ MAP_LIST, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ MAP_LIST, "nothing is granted", F32(vm), 1, PVIOMMU_EACCES },
	{ MAP_LIST, "no such VM", F32(vm), 0xffffffff, PVIOMMU_EACCES },
	{ MAP_LIST, "iova up to the top", F64(list.iova), -0x4000ULL, PVIOMMU_ERANGE },
	{ MAP_LIST, "iova for MSIs", F64(list.iova), MSI, PVIOMMU_ERANGE },
	{ MAP_LIST, "iova of the last page for MSIs", F64(list.iova), MSI + MSI_SIZE - PV_PAGE,
	  PVIOMMU_ERANGE },
	{ MAP_LIST, "iova misaligned", F64(list.iova), FREE + 1, PVIOMMU_EINVAL },
	{ MAP_LIST, "iova + size overflows", F64(list.iova), TOP, PVIOMMU_ERANGE },
	{ MAP_LIST, "iova beyond the window", F64(list.iova), 1ULL << 60, PVIOMMU_ERANGE },
	{ MAP_LIST, "iova reserved for MSIs", F64(list.iova), MSI - 0x3000, PVIOMMU_ERANGE },
	{ MAP_LIST, "overlap", F64(list.iova), MAPPED - 0x3000, PVIOMMU_EEXIST },
	{ MAP_LIST, "list misaligned", F64(list.list), PV_AT_LIST + 8, PVIOMMU_EINVAL },
	{ MAP_LIST, "list misaligned", F64(list.list), PV_AT_LIST + 4, PVIOMMU_EINVAL },
	{ MAP_LIST, "list misaligned", F64(list.list), PV_AT_LIST + 0x800, PVIOMMU_EINVAL },
	{ MAP_LIST, "list beyond RAM", F64(list.list), PV_LOW_SIZE, PVIOMMU_EFAULT },
	{ MAP_LIST, "list nowhere", F64(list.list), PV_NOWHERE, PVIOMMU_EFAULT },
	{ MAP_LIST, "list at the top", F64(list.list), TOP, PVIOMMU_EFAULT },
	{ MAP_LIST, "list in a BAR", F64(list.list), PV_BAR, PVIOMMU_EFAULT },
	{ MAP_LIST, "count 0", F32(list.count), 0, PVIOMMU_EINVAL },
	{ MAP_LIST, "count 513", F32(list.count), PVIOMMU_LIST_MAX + 1, PVIOMMU_EINVAL },
	{ MAP_LIST, "count huge", F32(list.count), 0xffffffff, PVIOMMU_EINVAL },
	{ MAP_LIST, "no access, no exec", F32(list.prot), PVIOMMU_PROT_NOEXEC, PVIOMMU_EINVAL },
	{ MAP_LIST, "MMIO", F32(list.prot), PV_RW | PVIOMMU_PROT_MMIO, PVIOMMU_EOPNOTSUPP },
	{ MAP_LIST, "prot unknown", F32(list.prot), PV_RW | 1U << 4, PVIOMMU_EOPNOTSUPP },
	{ MAP_LIST, "no access", F32(list.prot), 0, PVIOMMU_EINVAL },
	{ MAP_LIST, "prot unknown", F32(list.prot), PV_RW | 1U << 31, PVIOMMU_EOPNOTSUPP },
	{ MAP_LIST, "pgshift 0", F8(list.pgshift), 0, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 11", F8(list.pgshift), 11, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 13", F8(list.pgshift), 13, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 20", F8(list.pgshift), 20, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 22", F8(list.pgshift), 22, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 63", F8(list.pgshift), 63, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 64", F8(list.pgshift), 64, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 76", F8(list.pgshift), 76, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 30", F8(list.pgshift), 30, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 255", F8(list.pgshift), 255, PVIOMMU_EINVAL },
	{ MAP_LIST, "frames not RAM as 2 MiB", F8(list.pgshift), 21, PVIOMMU_EFAULT },

	{ UNMAP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ UNMAP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ UNMAP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ UNMAP, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ UNMAP, "iova misaligned", F64(unmap.iova), MAPPED + 8, PVIOMMU_EINVAL },
	{ UNMAP, "iova + size overflows", F64(unmap.iova), TOP, PVIOMMU_ERANGE },
	{ UNMAP, "size 0", F64(unmap.size), 0, PVIOMMU_EINVAL },
	{ UNMAP, "size misaligned", F64(unmap.size), 0x1800, PVIOMMU_EINVAL },
	{ UNMAP, "all, but with a range", F16(flags), PVIOMMU_UNMAP_F_ALL, PVIOMMU_EINVAL },
	{ UNMAP_ALL, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ UNMAP_ALL, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ UNMAP_ALL, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ UNMAP_ALL, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },

	{ LOOKUP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ LOOKUP, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ LOOKUP, "the last address", F64(lookup.iova), -1ULL, PVIOMMU_ENOENT },
	{ LOOKUP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_ENOENT },
	{ LOOKUP, "not mapped", F64(lookup.iova), FREE, PVIOMMU_ENOENT },
	{ LOOKUP, "one before", F64(lookup.iova), MAPPED - 1, PVIOMMU_ENOENT },
	{ LOOKUP, "one beyond", F64(lookup.iova), MAPPED + MAPPED_SIZE, PVIOMMU_ENOENT },

	{ INVALIDATE, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ INVALIDATE, "PASID 0", F32(pasid), 0, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "PASID 1", F32(pasid), 1, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "the last PASID", F32(pasid), 0xfffff, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "PASID beyond all", F32(pasid), PVIOMMU_PASID_NONE - 1,
	  PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ INVALIDATE, "granularity unknown", F32(inv.granularity), 0xffffffff,
	  PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "by PASID", F32(inv.granularity), PVIOMMU_INV_PASID, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "granularity unknown", F32(inv.granularity), 3, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "addr misaligned", F64(inv.addr), MAPPED + 8, PVIOMMU_EINVAL },
	{ INVALIDATE, "addr + size overflows", F64(inv.addr), TOP, PVIOMMU_ERANGE },
	{ INVALIDATE, "size 0", F64(inv.size), 0, PVIOMMU_EINVAL },
	{ INVALIDATE, "size misaligned", F64(inv.size), 0x1800, PVIOMMU_EINVAL },
	{ INV_DOMAIN, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ INV_DOMAIN, "PASID 0", F32(pasid), 0, PVIOMMU_EOPNOTSUPP },
	{ INV_DOMAIN, "PASID 1", F32(pasid), 1, PVIOMMU_EOPNOTSUPP },
	{ INV_DOMAIN, "the last PASID", F32(pasid), 0xfffff, PVIOMMU_EOPNOTSUPP },
	{ INV_DOMAIN, "PASID beyond all", F32(pasid), PVIOMMU_PASID_NONE - 1,
	  PVIOMMU_EOPNOTSUPP },

	{ TYPE_SET, "type of the host", F32(mem.type), PVIOMMU_MEM_TABLE, PVIOMMU_EOPNOTSUPP },
	{ TYPE_SET, "type unknown", F32(mem.type), 3, PVIOMMU_EOPNOTSUPP },
	{ TYPE_SET, "type unknown", F32(mem.type), 0xffffffff, PVIOMMU_EOPNOTSUPP },
	{ TYPE_SET, "gpa misaligned", F64(mem.gpa), PV_DATA + 1, PVIOMMU_EINVAL },
	{ TYPE_SET, "gpa misaligned", F64(mem.gpa), PV_DATA + 0x800, PVIOMMU_EINVAL },
	{ TYPE_SET, "the last page", F64(mem.gpa), TOP, PVIOMMU_EFAULT },
	{ TYPE_SET, "nowhere", F64(mem.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ TYPE_SET, "beyond RAM", F64(mem.gpa), PV_LOW_SIZE, PVIOMMU_EFAULT },
	{ TYPE_SET, "read-only memory", F64(mem.gpa), PV_ROM, PVIOMMU_EFAULT },
	{ TYPE_SET, "a BAR", F64(mem.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ TYPE_SET, "size 0", F64(mem.size), 0, PVIOMMU_EINVAL },
	{ TYPE_SET, "size misaligned", F64(mem.size), PV_PAGE + 1, PVIOMMU_EINVAL },
	{ TYPE_SET, "size misaligned", F64(mem.size), 1, PVIOMMU_EINVAL },
	{ TYPE_SET, "size of all", F64(mem.size), TOP, PVIOMMU_ERANGE },
	{ TYPE_GET, "gpa misaligned", F64(mem.gpa), PV_DATA + 1, PVIOMMU_EINVAL },
	{ TYPE_GET, "nowhere", F64(mem.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ TYPE_GET, "read-only memory", F64(mem.gpa), PV_ROM, PVIOMMU_EFAULT },
	{ TYPE_GET, "a BAR", F64(mem.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ TYPE_GET, "the last page", F64(mem.gpa), TOP, PVIOMMU_EFAULT },

	{ DIRTY_START, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ DIRTY_START, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ DIRTY_START, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ DIRTY_START, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ DIRTY_STOP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ DIRTY_STOP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ DIRTY_STOP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ DIRTY_STOP, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ DIRTY_READ, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ DIRTY_READ, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ DIRTY_READ, "log is off", F32(domain), SPARE, PVIOMMU_EINVAL },
	{ DIRTY_READ, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ DIRTY_READ, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ DIRTY_READ, "pgshift 0", F8(dirty.pgshift), 0, PVIOMMU_EINVAL },
	{ DIRTY_READ, "pgshift 11", F8(dirty.pgshift), 11, PVIOMMU_EINVAL },
	{ DIRTY_READ, "pgshift 13", F8(dirty.pgshift), 13, PVIOMMU_EINVAL },
	{ DIRTY_READ, "pgshift 21", F8(dirty.pgshift), 21, PVIOMMU_EINVAL },
	{ DIRTY_READ, "pgshift 63", F8(dirty.pgshift), 63, PVIOMMU_EINVAL },
	{ DIRTY_READ, "pgshift 64", F8(dirty.pgshift), 64, PVIOMMU_EINVAL },
	{ DIRTY_READ, "pgshift 255", F8(dirty.pgshift), 255, PVIOMMU_EINVAL },
	{ DIRTY_READ, "iova misaligned", F64(dirty.iova), MAPPED + 8, PVIOMMU_EINVAL },
	{ DIRTY_READ, "size 0", F64(dirty.size), 0, PVIOMMU_EINVAL },
	{ DIRTY_READ, "size misaligned", F64(dirty.size), 0x1800, PVIOMMU_EINVAL },
	{ DIRTY_READ, "size too large", F64(dirty.size), (PVIOMMU_DIRTY_PAGES + 1) * PV_PAGE,
	  PVIOMMU_ERANGE },
	{ DIRTY_READ, "size of half of all", F64(dirty.size), 1ULL << 63, PVIOMMU_ERANGE },
	{ DIRTY_READ, "size of all", F64(dirty.size), TOP, PVIOMMU_ERANGE },
	{ DIRTY_READ, "iova + size overflows", F64(dirty.iova), TOP, PVIOMMU_ERANGE },
	{ DIRTY_READ, "gpa misaligned", F64(dirty.gpa), PV_AT_REPLY + 1, PVIOMMU_EINVAL },
	{ DIRTY_READ, "gpa misaligned", F64(dirty.gpa), PV_AT_REPLY + 4, PVIOMMU_EINVAL },
	{ DIRTY_READ, "to nowhere", F64(dirty.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ DIRTY_READ, "to read-only memory", F64(dirty.gpa), PV_ROM, PVIOMMU_EFAULT },
	{ DIRTY_READ, "to a BAR", F64(dirty.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ DIRTY_READ, "to the top", F64(dirty.gpa), -8ULL, PVIOMMU_EFAULT },

	{ RELEASE, "count 0", F32(release.count), 0, PVIOMMU_EINVAL },
	{ RELEASE, "count 513", F32(release.count), PVIOMMU_LIST_MAX + 1, PVIOMMU_EINVAL },
	{ RELEASE, "count huge", F32(release.count), 0xffffffff, PVIOMMU_EINVAL },
	{ RELEASE, "list misaligned", F64(release.list), PV_AT_LIST + 8, PVIOMMU_EINVAL },
	{ RELEASE, "list nowhere", F64(release.list), PV_NOWHERE, PVIOMMU_EFAULT },
	{ RELEASE, "list at the top", F64(release.list), TOP, PVIOMMU_EFAULT },
	{ RELEASE, "list in a BAR", F64(release.list), PV_BAR, PVIOMMU_EFAULT },
	{ RELEASE, "list beyond RAM", F64(release.list), PV_LOW_SIZE, PVIOMMU_EFAULT },
};

TEST_F(op, one_bad_field)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct pviommu_op op = good_here(row->kind, self->ep);

		memcpy((char *)&op + row->off, &row->value, row->len);
		if (is_possible(row->kind, &self->vm))
			refused(row->status, op, "%s: %s", kinds[row->kind].name, row->what);
	}
}

/* Up to two fields of an op */
struct fields {
	struct { size_t len, off; __u64 value; } a, b;
};

static struct pviommu_op changed(struct pviommu_op op, const struct fields *fields)
{
	memcpy((char *)&op + fields->a.off, &fields->a.value, fields->a.len);
	memcpy((char *)&op + fields->b.off, &fields->b.value, fields->b.len);
	return op;
}

/* Two fields that are invalid only together, or which of two errors is reported */
static const struct {
	enum kind kind;
	const char *what;
	struct fields fields;
	__u32 status;
} pairs[] = {
	{ MAP, "prot, size", { { F32(map.prot), 0x10 }, { F64(map.size), 0 } },
	  PVIOMMU_EOPNOTSUPP },
	{ MAP, "size, domain", { { F64(map.size), 0 }, { F32(domain), NONE } },
	  PVIOMMU_EINVAL },
	{ MAP, "overflow, domain", { { F64(map.size), TOP }, { F32(domain), NONE } },
	  PVIOMMU_ERANGE },
	{ MAP, "fixed domain, window", { { F32(domain), 1 }, { F64(map.iova), 1ULL << 60 } },
	  PVIOMMU_EINVAL },
	{ MAP, "domain, window", { { F32(domain), NONE }, { F64(map.iova), 1ULL << 60 } },
	  PVIOMMU_ENOENT },
	{ MAP, "window, gpa",
	  { { F64(map.iova), 1ULL << 60 }, { F64(map.gpa), PV_NOWHERE } },
	  PVIOMMU_ERANGE },
	{ MAP, "window, VM", { { F64(map.iova), 1ULL << 60 }, { F32(vm), 1 } },
	  PVIOMMU_ERANGE },
	{ MAP, "overlap, gpa", { { F64(map.iova), MAPPED }, { F64(map.gpa), PV_NOWHERE } },
	  PVIOMMU_EFAULT },
	{ MAP, "overlap, read-only", { { F64(map.iova), MAPPED }, { F64(map.gpa), PV_ROM } },
	  PVIOMMU_EACCES },
	{ MAP, "flags, domain that it takes",
	  { { F16(flags), 0x100 }, { F32(domain), NONE } }, PVIOMMU_EOPNOTSUPP },
	{ MAP, "endpoint, prot", { { F32(endpoint), 1 }, { F32(map.prot), 0x10 } },
	  PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift, iova",
	  { { F8(list.pgshift), 21 }, { F64(list.iova), FREE + PV_PAGE } },
	  PVIOMMU_EINVAL },
	{ MAP_LIST, "window, list",
	  { { F64(list.iova), 1ULL << 60 }, { F64(list.list), PV_NOWHERE } },
	  PVIOMMU_ERANGE },
	{ MAP_LIST, "list, VM", { { F64(list.list), PV_NOWHERE }, { F32(vm), 1 } },
	  PVIOMMU_EFAULT },
	{ MAP_LIST, "VM, overlap", { { F32(vm), 1 }, { F64(list.iova), MAPPED } },
	  PVIOMMU_EACCES },
	{ ALLOC, "watch, type", { { F16(flags), PVIOMMU_ALLOC_F_WATCH },
				  { F32(alloc.type), 2 } }, PVIOMMU_EOPNOTSUPP },
	{ ALLOC, "reserved, type",
	  { { F64(alloc.reserved[0]), 1 }, { F32(alloc.type), 2 } }, PVIOMMU_EINVAL },
	{ ALLOC_TABLE, "format, root",
	  { { F32(alloc.format), 0 }, { F64(alloc.root), 8 } }, PVIOMMU_EOPNOTSUPP },
	{ ALLOC_TABLE, "root, endpoint",
	  { { F64(alloc.root), PV_NOWHERE }, { F32(endpoint), NONE } }, PVIOMMU_EFAULT },
	{ ATTACH, "endpoint, domain", { { F32(endpoint), NONE }, { F32(domain), NONE } },
	  PVIOMMU_ENOENT },
	{ ATTACH, "argument, endpoint", { { F64(raw[1]), 1 }, { F32(endpoint), NONE } },
	  PVIOMMU_EINVAL },
	{ DETACH, "argument, endpoint", { { F64(raw[1]), 1 }, { F32(endpoint), NONE } },
	  PVIOMMU_EINVAL },
	{ DETACH, "endpoint, domain", { { F32(endpoint), NONE }, { F32(domain), SPARE } },
	  PVIOMMU_ENOENT },
	{ PROBE, "reserved, endpoint", { { F32(buf.reserved0), 1 }, { F32(endpoint), NONE } },
	  PVIOMMU_EINVAL },
	{ PROBE, "endpoint, buffer",
	  { { F32(endpoint), NONE }, { F64(buf.gpa), PV_NOWHERE } }, PVIOMMU_ENOENT },
	{ UNMAP, "size, overflow",
	  { { F64(unmap.iova), TOP }, { F64(unmap.size), 0x1800 } }, PVIOMMU_EINVAL },
	{ UNMAP, "overflow, domain",
	  { { F64(unmap.iova), TOP }, { F32(domain), NONE } }, PVIOMMU_ERANGE },
	{ LOOKUP, "gpa, domain", { { F64(lookup.gpa), 1 }, { F32(domain), NONE } },
	  PVIOMMU_EINVAL },
	{ LOOKUP, "bypass, no RAM",
	  { { F32(domain), PVIOMMU_DOMAIN_BYPASS }, { F64(lookup.iova), PV_NOWHERE } },
	  PVIOMMU_ENOENT },
	{ LOOKUP, "bypass, a BAR",
	  { { F32(domain), PVIOMMU_DOMAIN_BYPASS }, { F64(lookup.iova), PV_BAR } },
	  PVIOMMU_ENOENT },
	{ LOOKUP, "bypass, last address",
	  { { F32(domain), PVIOMMU_DOMAIN_BYPASS }, { F64(lookup.iova), -1ULL } },
	  PVIOMMU_ENOENT },
	{ INVALIDATE, "granularity, reserved",
	  { { F32(inv.granularity), 3 }, { F32(inv.reserved0), 1 } }, PVIOMMU_EINVAL },
	{ INVALIDATE, "by PASID, reserved",
	  { { F32(inv.granularity), PVIOMMU_INV_PASID }, { F32(inv.reserved0), 1 } },
	  PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "overflow, domain", { { F64(inv.addr), TOP }, { F32(domain), NONE } },
	  PVIOMMU_ERANGE },
	{ DIRTY_READ, "size, domain", { { F64(dirty.size), 0 }, { F32(domain), NONE } },
	  PVIOMMU_EINVAL },
	{ DIRTY_READ, "overflow, domain", { { F64(dirty.iova), TOP }, { F32(domain), 1 } },
	  PVIOMMU_ERANGE },
	{ DIRTY_READ, "log is off, buffer",
	  { { F32(domain), SPARE }, { F64(dirty.gpa), PV_NOWHERE } }, PVIOMMU_EINVAL },
	{ DIRTY_READ, "buffer in part beyond RAM",
	  { { F64(dirty.gpa), PV_LOW_SIZE - 8 }, { F64(dirty.size), 65 * PV_PAGE } },
	  PVIOMMU_EFAULT },
	{ RELEASE, "count, list", { { F32(release.count), 0 },
				    { F64(release.list), PV_NOWHERE } }, PVIOMMU_EINVAL },
	{ TYPE_SET, "type, size", { { F32(mem.type), 9 }, { F64(mem.size), 0 } },
	  PVIOMMU_EOPNOTSUPP },
	{ TYPE_SET, "reserved, type", { { F32(mem.reserved0), 1U << 31 }, { F32(mem.type), 9 } },
	  PVIOMMU_EINVAL },
	{ TYPE_SET, "overflow", { { F64(mem.gpa), TOP }, { F64(mem.size), 2 * PV_PAGE } },
	  PVIOMMU_ERANGE },
	{ TYPE_SET, "plain, the last page",
	  { { F32(mem.type), PVIOMMU_MEM_RAM_RW }, { F64(mem.gpa), TOP } }, PVIOMMU_EFAULT },
	{ TYPE_SET, "plain, nowhere",
	  { { F32(mem.type), PVIOMMU_MEM_RAM_RW }, { F64(mem.gpa), PV_NOWHERE } },
	  PVIOMMU_EFAULT },
	{ TYPE_SET, "plain, read-only memory",
	  { { F32(mem.type), PVIOMMU_MEM_RAM_RW }, { F64(mem.gpa), PV_ROM } }, PVIOMMU_EFAULT },
	{ TYPE_SET, "plain, a BAR",
	  { { F32(mem.type), PVIOMMU_MEM_RAM_RW }, { F64(mem.gpa), PV_BAR } }, PVIOMMU_EFAULT },
	{ TYPE_GET, "size, gpa", { { F64(mem.size), 1 }, { F64(mem.gpa), PV_NOWHERE } },
	  PVIOMMU_EINVAL },
};

TEST_F(op, two_bad_fields)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct pviommu_op op = changed(good_here(pairs[i].kind, self->ep),
					       &pairs[i].fields);

		if (is_possible(pairs[i].kind, &self->vm))
			refused(pairs[i].status, op, "%s: %s", kinds[pairs[i].kind].name,
				pairs[i].what);
	}
}

#define LAST_PAGE	(PV_LOW_SIZE - PV_PAGE)

/* Take back what a valid op has done beyond what the fixture made */
static void undo(struct pv_ring *r, __u32 ep)
{
	__pv_attach(r, ep, D);
	__pv_free(r, SPARE + 1);
	__pv_unmap(r, D, 0, MAPPED);
	__pv_unmap(r, D, MAPPED + MAPPED_SIZE, -(MAPPED + MAPPED_SIZE));
	__pv_inv(r, D);
	__pv_exec(r, pv_op_type_set(PV_SNAP_TYPED, 4 * PV_PAGE, PVIOMMU_MEM_RAM_RW));
	__pv_exec(r, pv_op_type_set(LAST_PAGE, PV_PAGE, PVIOMMU_MEM_RAM_RW));
	__pv_exec(r, pv_op_type_set(PV_HIGH, PV_HIGH_SIZE, PVIOMMU_MEM_RAM_RW));
}

#define PROBE_LEN	(~0ULL)		/* stands for the length of a whole answer to PROBE */

/* Ops at the edge of what is valid: they succeed, with this result */
static const struct edge {
	enum kind kind;
	const char *what;
	struct fields fields;
	__u64 result;
} edges[] = {
	{ PROBE, "size 0", { { F32(buf.size), 0 } }, PROBE_LEN },
	{ PROBE, "size huge", { { F32(buf.size), 0xffffffff } }, PROBE_LEN },
	{ PROBE, "nothing to nowhere",
	  { { F32(buf.size), 0 }, { F64(buf.gpa), PV_NOWHERE } }, PROBE_LEN },
	{ STATS, "size 0", { { F32(buf.size), 0 } }, sizeof(struct pviommu_stats) },
	{ STATS, "size huge", { { F32(buf.size), 0xffffffff } }, sizeof(struct pviommu_stats) },
	{ STATS, "nothing to nowhere",
	  { { F32(buf.size), 0 }, { F64(buf.gpa), PV_NOWHERE } }, sizeof(struct pviommu_stats) },
	{ ALLOC_TABLE, "root in read-only memory", { { F64(alloc.root), PV_ROM } },
	  SPARE + 1 },
	{ ALLOC_TABLE, "root in the last page", { { F64(alloc.root), LAST_PAGE } },
	  SPARE + 1 },
	{ MAP, "iova behind the MSIs", { { F64(map.iova), MSI + MSI_SIZE } }, 0x4000 },
	{ MAP, "iova before the MSIs", { { F64(map.iova), MSI - 0x4000 } }, 0x4000 },
	{ MAP, "iova 0", { { F64(map.iova), 0 } }, 0x4000 },
	{ MAP, "gpa of the last pages", { { F64(map.gpa), PV_LOW_SIZE - 0x4000 } }, 0x4000 },
	{ MAP, "iova behind what is mapped", { { F64(map.iova), MAPPED + MAPPED_SIZE } },
	  0x4000 },
	{ MAP, "iova before what is mapped", { { F64(map.iova), MAPPED - 0x4000 } }, 0x4000 },
	{ MAP_LIST, "list in the last page", { { F64(list.list), LAST_PAGE } }, 0x4000 },
	{ MAP_LIST, "count 512", { { F32(list.count), PVIOMMU_LIST_MAX } }, PV_2M },
	{ UNMAP, "the last page of all",
	  { { F64(unmap.iova), TOP }, { F64(unmap.size), PV_PAGE } } },
	{ UNMAP, "nothing mapped, all but a page",
	  { { F32(domain), SPARE }, { F64(unmap.size), -MAPPED - PV_PAGE } } },
	{ UNMAP_ALL, "nothing mapped", { { F32(domain), SPARE } } },
	{ LOOKUP, "the last byte", { { F64(lookup.iova), MAPPED + MAPPED_SIZE - 1 } } },
	{ INVALIDATE, "blocked", { { F32(domain), PVIOMMU_DOMAIN_BLOCKED } } },
	{ INVALIDATE, "bypass", { { F32(domain), PVIOMMU_DOMAIN_BYPASS } } },
	{ INVALIDATE, "the last page of all",
	  { { F64(inv.addr), TOP }, { F64(inv.size), PV_PAGE } } },
	{ INVALIDATE, "all but a page",
	  { { F64(inv.addr), 0 }, { F64(inv.size), TOP } } },
	{ INVALIDATE, "leaf", { { F16(flags), PVIOMMU_INV_F_LEAF } } },
	{ INV_DOMAIN, "leaf", { { F16(flags), PVIOMMU_INV_F_LEAF } } },
	{ INV_DOMAIN, "blocked", { { F32(domain), PVIOMMU_DOMAIN_BLOCKED } } },
	{ INV_DOMAIN, "bypass", { { F32(domain), PVIOMMU_DOMAIN_BYPASS } } },
	{ TYPE_SET, "plain", { { F32(mem.type), PVIOMMU_MEM_RAM_RW } }, PV_PAGE },
	{ TYPE_SET, "the last page", { { F64(mem.gpa), LAST_PAGE } }, PV_PAGE },
	{ TYPE_SET, "the last of all pages",
	  { { F64(mem.gpa), PV_HIGH + PV_HIGH_SIZE - PV_PAGE } }, PV_PAGE },
	{ TYPE_SET, "several pages", { { F64(mem.size), 4 * PV_PAGE } }, 4 * PV_PAGE },
	{ TYPE_GET, "the last page", { { F64(mem.gpa), LAST_PAGE } } },
	{ DIRTY_START, "another domain", { { F32(domain), SPARE } } },
	{ DIRTY_STOP, "another domain", { { F32(domain), SPARE } } },
	{ DIRTY_STOP, "what is off", { { F32(domain), SPARE } } },
	{ DIRTY_READ, "all that is mapped", {}, MAPPED_SIZE / PV_PAGE },
	{ DIRTY_READ, "beyond the window", { { F64(dirty.iova), 1ULL << 60 } } },
	{ DIRTY_READ, "the last pages of all", { { F64(dirty.iova), -MAPPED_SIZE } } },
	{ DIRTY_READ, "to the last word", { { F64(dirty.gpa), PV_LOW_SIZE - 8 } },
	  MAPPED_SIZE / PV_PAGE },
};

TEST_F(op, edge_of_what_is_valid)
{
	struct pv_snap before, after;
	__u64 probe_len;
	unsigned int i;

	pv_exec(self->r, good(PROBE, self->ep));
	probe_len = self->r->last.result;
	before = pv_snap(self->r, self->ep);
	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		const struct edge *edge = &edges[i];
		struct pviommu_op op = changed(good(edge->kind, self->ep), &edge->fields);

		if (!is_possible(edge->kind, &self->vm))
			continue;
		EXPECT_EQ(PVIOMMU_OK, __pv_exec(self->r, op)) {
			TH_LOG("%s: %s", kinds[edge->kind].name, edge->what);
		}
		EXPECT_EQ(edge->result == PROBE_LEN ? probe_len : edge->result,
			  self->r->last.result) {
			TH_LOG("%s: %s", kinds[edge->kind].name, edge->what);
		}
		EXPECT_TRUE(edge->kind == LOOKUP || as_it_was(&op, self->r->last)) {
			TH_LOG("%s: %s", kinds[edge->kind].name, edge->what);
		}
		undo(self->r, self->ep);
		after = pv_snap(self->r, self->ep);
		EXPECT_TRUE(pv_snap_same(&before, &after)) {
			TH_LOG("%s: %s", kinds[edge->kind].name, edge->what);
		}
	}
}

static bool is_about(const struct fields *fields, size_t byte)
{
	return byte - fields->a.off < fields->a.len || byte - fields->b.off < fields->b.len;
}

/* A row of any table in which a byte of an op has another value */
static bool has_row(__u16 code, size_t byte)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (kinds[rows[i].kind].code == code && byte - rows[i].off < rows[i].len)
			return true;
	for (i = 0; i < ARRAY_SIZE(pairs); i++)
		if (kinds[pairs[i].kind].code == code && is_about(&pairs[i].fields, byte))
			return true;
	for (i = 0; i < ARRAY_SIZE(edges); i++)
		if (kinds[edges[i].kind].code == code && is_about(&edges[i].fields, byte))
			return true;
	return false;
}

/* The tables are complete: what an op takes is wrong, or at its edge, in one of them */
TEST(each_field_has_a_row)
{
	size_t byte;
	int kind;

	for (kind = 0; kind < KINDS; kind++)
		for (byte = FIRST_BYTE; byte < END_BYTE; byte++)
			EXPECT_TRUE(!(kinds[kind].takes & 1ULL << byte) ||
				    has_row(kinds[kind].code, byte)) {
				TH_LOG("op 0x%x, byte %zu", kinds[kind].code, byte);
			}
}

/* A domain with a guest-owned table may have a dirty log: of what the host has mirrored */
TEST_F(op, dirty_log_of_a_table)
{
	struct pviommu_op op;
	__u32 dom;

	pv_exec(self->r, good(ALLOC_TABLE, self->ep));
	dom = self->r->last.result;
	op = pv_op_dirty_read(dom, MAPPED, MAPPED_SIZE);
	pv_exec(self->r, pv_op_dirty_start(dom));
	pv_exec(self->r, op);
	EXPECT_EQ(0, self->r->last.result);
	pv_exec(self->r, pv_op_dirty_stop(dom));
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
}

/* The host does not read status and result of an op */
TEST_F(op, status_and_result_are_output)
{
	const __u32 statuses[] = { PVIOMMU_OK, PVIOMMU_EINVAL, 0x12345678 };
	struct pviommu_op op;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(statuses); i++) {
		op = good(FEATURES, self->ep);
		op.status = statuses[i];
		op.result = ~0ULL;
		pv_exec(self->r, op);
		EXPECT_EQ(pv_cap_read(&self->vm, 0, PVIOMMU_CAP_FEATURES_OFF),
			  self->r->last.result);
		op = good(MAP, self->ep);
		op.map.iova = MAPPED;
		op.status = statuses[i];
		op.result = ~0ULL;
		pv_err_exec(PVIOMMU_EEXIST, self->r, op);
		EXPECT_EQ(0, self->r->last.result);
	}
}

/* MAP_LIST is all or nothing: one bad frame, at any place, and nothing is mapped */
TEST_F(op, one_bad_frame)
{
	const struct {
		const char *what;
		__u64 frame;
		__u8 pgshift;
		__u32 status;
	} frames[] = {
		{ "nowhere", PV_NOWHERE >> 12, 12, PVIOMMU_EFAULT },
		{ "read-only", PV_ROM >> 12, 12, PVIOMMU_EACCES },
		{ "a BAR", PV_BAR >> 12, 12, PVIOMMU_EFAULT },
		{ "just beyond RAM", PV_LOW_SIZE >> 12, 12, PVIOMMU_EFAULT },
		{ "the last frame", TOP >> 12, 12, PVIOMMU_EFAULT },
		{ "beyond the last", 1ULL << 52, 12, PVIOMMU_EFAULT },
		{ "all ones", -1ULL, 12, PVIOMMU_EFAULT },
		{ "2 MiB nowhere", PV_NOWHERE >> 21, 21, PVIOMMU_EFAULT },
		{ "2 MiB read-only", PV_ROM >> 21, 21, PVIOMMU_EACCES },
		{ "2 MiB, the last frame", (1ULL << 43) - 1, 21, PVIOMMU_EFAULT },
		{ "2 MiB beyond the last", 1ULL << 43, 21, PVIOMMU_EFAULT },
	};
	unsigned int i, at, n;

	for (i = 0; i < ARRAY_SIZE(frames) * 3; i++) {
		struct pviommu_op op = pv_op_map_list(D, FREE, PV_AT_LIST, 3, PV_RW);

		at = i / 3;
		op.list.pgshift = frames[at].pgshift;
		for (n = 0; n < 3; n++)
			pv_list(&self->vm)[n] = (PV_DATA >> frames[at].pgshift) + n;
		pv_list(&self->vm)[i % 3] = frames[at].frame;
		refused(frames[at].status, op, "%s, frame %u", frames[at].what, i % 3);
	}
}

TEST_F(op, one_bad_frame_of_a_release)
{
	const struct {
		const char *what;
		__u64 frame;
		__u32 status;
	} frames[] = {
		{ "nowhere", PV_NOWHERE >> 12, PVIOMMU_EFAULT },
		{ "read-only", PV_ROM >> 12, PVIOMMU_EFAULT },
		{ "a BAR", PV_BAR >> 12, PVIOMMU_EFAULT },
		{ "just beyond RAM", PV_LOW_SIZE >> 12, PVIOMMU_EFAULT },
		{ "the last frame", TOP >> 12, PVIOMMU_EFAULT },
		{ "beyond the last", 1ULL << 52, PVIOMMU_EFAULT },
		{ "all ones", -1ULL, PVIOMMU_EFAULT },
		{ "twice", (PV_DATA >> 12) + 1, PVIOMMU_EINVAL },
		{ "ring headers", PV_AT_HDRS >> 12, PVIOMMU_EBUSY },
		{ "ops", PV_AT_OPS >> 12, PVIOMMU_EBUSY },
		{ "events", PV_AT_EVENTS >> 12, PVIOMMU_EBUSY },
	};
	unsigned int i, at, n;

	for (i = 0; i < ARRAY_SIZE(frames) * 3; i++) {
		at = i / 3;
		for (n = 0; n < 3; n++)
			pv_list(&self->vm)[n] = (PV_DATA >> 12) + 1 + (n + 3 - i % 3) % 3;
		pv_list(&self->vm)[i % 3] = frames[at].frame;
		if (frames[at].status == PVIOMMU_EINVAL)
			pv_list(&self->vm)[(i + 1) % 3] = frames[at].frame;
		refused(frames[at].status, pv_op_release(3, TOKEN), "%s, frame %u",
			frames[at].what, i % 3);
	}
}

TEST_F(op, release_by_a_list_in_read_only_memory)
{
	struct pviommu_op op = pv_op_release(1, TOKEN);
	struct pviommu_event ev = {};

	*(__u64 *)pv_mem(&self->vm, PV_ROM) = (PV_DATA + 0x100000) >> 12;
	op.release.list = PV_ROM;
	pv_exec(self->r, op);
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, 10000));
	EXPECT_EQ(PVIOMMU_EV_RELEASED, ev.type);
	EXPECT_EQ(TOKEN, ev.addr);
}

/* ---- chains -------------------------------------------------------- */

static struct pviommu_op chained(struct pviommu_op op)
{
	op.flags |= PVIOMMU_OP_F_CHAIN;
	return op;
}

TEST_F(op, chain_is_cancelled_by_a_failure)
{
	struct pviommu_op *slot[5];
	struct pv_state before = pv_state(self->r), after;
	unsigned int i;

	slot[0] = pv_push(self->r, chained(pv_op_map(D, FREE, PV_DATA, PV_PAGE, PV_RW)));
	slot[1] = pv_push(self->r, chained(pv_op_map(D, FREE, PV_DATA, PV_PAGE, PV_RW)));
	slot[2] = pv_push(self->r, chained(pv_op_map(D, FREE + 0x1000, PV_DATA, PV_PAGE, PV_RW)));
	slot[3] = pv_push(self->r, pv_op_unmap(D, FREE, PV_PAGE));
	slot[4] = pv_push(self->r, pv_op_map(D, FREE + 0x2000, PV_DATA, PV_PAGE, PV_RW));
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_OK, slot[0]->status);
	EXPECT_EQ(PVIOMMU_EEXIST, slot[1]->status);
	EXPECT_EQ(PVIOMMU_ECANCELED, slot[2]->status);
	EXPECT_EQ(PVIOMMU_ECANCELED, slot[3]->status);
	EXPECT_EQ(PVIOMMU_OK, slot[4]->status);
	for (i = 1; i < 4; i++)
		EXPECT_EQ(0, slot[i]->result);
	after = pv_state(self->r);
	EXPECT_EQ(before.mappings + 2, after.mappings);
}

TEST_F(op, chain_of_successes_runs)
{
	struct pviommu_op *first, *last;

	first = pv_push(self->r, chained(pv_op_map(D, FREE, PV_DATA, PV_PAGE, PV_RW)));
	last = pv_push(self->r, chained(pv_op_unmap(D, FREE, PV_PAGE)));
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_OK, first->status);
	EXPECT_EQ(PVIOMMU_OK, last->status);
	/* The last op of a chain may have the flag: the next op runs if it succeeded */
	pv_exec(self->r, pv_op(PVIOMMU_OP_NOP));
}

TEST_F(op, chain_reaches_over_doorbells)
{
	pv_err_exec(PVIOMMU_ENOENT, self->r, chained(pv_op_lookup(D, FREE)));
	pv_err_exec(PVIOMMU_ECANCELED, self->r, pv_op(PVIOMMU_OP_NOP));
	pv_exec(self->r, pv_op(PVIOMMU_OP_NOP));
}

TEST_F(op, failures_without_chain_stop_nothing)
{
	struct pviommu_op *bad, *good;
	struct pviommu_stats before = pv_stats(self->r), after;

	bad = pv_push(self->r, pv_op_lookup(D, FREE));
	good = pv_push(self->r, pv_op(PVIOMMU_OP_FEATURES));
	ASSERT_TRUE(pv_run(self->r));
	EXPECT_EQ(PVIOMMU_ENOENT, bad->status);
	EXPECT_EQ(PVIOMMU_OK, good->status);
	EXPECT_EQ(pv_cap_read(&self->vm, 0, PVIOMMU_CAP_FEATURES_OFF),
		  good->result & 0xffffffff);
	after = pv_stats(self->r);
	EXPECT_EQ(before.ops + 3, after.ops);
	EXPECT_EQ(before.ops_failed + 1, after.ops_failed);
	EXPECT_EQ(before.kicks_config + 2, after.kicks_config);
	EXPECT_EQ(0, after.kicks_tracked);
}

TEST_HARNESS_MAIN
