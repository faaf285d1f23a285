// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every op: what is wrong with its fields is told by the status that the ABI
 * gives, and changes nothing.
 */
#include "lib/pv_test.h"

/* Where the fixture has mapped pages of domain D, and where there is nothing */
#define MAPPED		0x10000000ULL
#define MAPPED_SIZE	0x10000ULL
#define FREE		0x20000000ULL
#define D		PVIOMMU_DOMAIN_FIRST		/* has the endpoint */
#define SPARE		(PVIOMMU_DOMAIN_FIRST + 1)	/* empty */
#define NONE		77				/* names nothing */
#define MSI		0xfee00000ULL

FIXTURE(op)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 ep;
};

FIXTURE_SETUP(op)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	ASSERT_EQ(0, pv_vm_add_bar(&self->vm, 0));
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	pv_start(&self->vm, 1, 6);
	ASSERT_EQ(D, pv_new_domain(self->r, self->ep));
	ASSERT_EQ(SPARE, pv_new_domain(self->r, self->ep));
	pv_attach(self->r, self->ep, D);
	pv_map(self->r, D, MAPPED, PV_DATA, MAPPED_SIZE, PV_RW);
	pv_list(&self->vm)[0] = PV_DATA >> 12;
	pv_list(&self->vm)[1] = (PV_DATA + 0x5000) >> 12;
	pv_list(&self->vm)[2] = (PV_DATA + 0x3000) >> 12;
	pv_list(&self->vm)[3] = PV_HIGH >> 12;
}

FIXTURE_TEARDOWN(op)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* A good op of each kind, and which common fields and flags it takes */
#define TAKES_DOMAIN	1
#define TAKES_ENDPOINT	2
#define TAKES_PASID	4	/* to say that PASIDs are not supported */
#define TAKES_VM	8	/* to say that there is no access */

enum kind {
	NOP, FEATURES, PROBE, STATS, ALLOC, RECOVER, ATTACH, MAP, MAP_LIST, LOOKUP, UNMAP,
	UNMAP_ALL, INVALIDATE, INV_DOMAIN, DETACH, FREE_OP, KINDS
};

static const struct {
	const char *name;
	unsigned int takes;
	__u16 flags;
} kinds[KINDS] = {
	[NOP] = { "NOP", 0, 0 },
	[FEATURES] = { "FEATURES", 0, 0 },
	[PROBE] = { "PROBE", TAKES_ENDPOINT, 0 },
	[STATS] = { "STATS", 0, 0 },
	[ALLOC] = { "ALLOC", TAKES_ENDPOINT, PVIOMMU_ALLOC_F_WATCH },
	[RECOVER] = { "RECOVER", TAKES_ENDPOINT, 0 },
	[ATTACH] = { "ATTACH", TAKES_DOMAIN | TAKES_ENDPOINT | TAKES_PASID, 0 },
	[MAP] = { "MAP", TAKES_DOMAIN | TAKES_VM, 0 },
	[MAP_LIST] = { "MAP_LIST", TAKES_DOMAIN | TAKES_VM, 0 },
	[LOOKUP] = { "LOOKUP", TAKES_DOMAIN, 0 },
	[UNMAP] = { "UNMAP", TAKES_DOMAIN, PVIOMMU_UNMAP_F_ALL },
	[UNMAP_ALL] = { "UNMAP, all", TAKES_DOMAIN, PVIOMMU_UNMAP_F_ALL },
	[INVALIDATE] = { "INVALIDATE", TAKES_DOMAIN | TAKES_PASID, PVIOMMU_INV_F_LEAF },
	[INV_DOMAIN] = { "INVALIDATE, domain", TAKES_DOMAIN | TAKES_PASID, PVIOMMU_INV_F_LEAF },
	[DETACH] = { "DETACH", TAKES_DOMAIN | TAKES_ENDPOINT | TAKES_PASID, 0 },
	[FREE_OP] = { "FREE", TAKES_DOMAIN, 0 },
};

static struct pviommu_op good(enum kind kind, __u32 ep)
{
	switch (kind) {
	case FEATURES:
		return pv_op(PVIOMMU_OP_FEATURES);
	case PROBE:
		return pv_op_buf(PVIOMMU_OP_PROBE, ep, PV_AT_REPLY, PV_PAGE);
	case STATS:
		return pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, PV_PAGE);
	case ALLOC:
		return pv_op_alloc(ep);
	case RECOVER:
		return pv_op_recover(ep);
	case ATTACH:
		return pv_op_attach(ep, SPARE);
	case MAP:
		return pv_op_map(D, FREE, PV_DATA, 0x4000, PV_RW);
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
	case DETACH:
		return pv_op_detach(ep, SPARE);
	case FREE_OP:
		return pv_op_free(SPARE);
	default:
		return pv_op(PVIOMMU_OP_NOP);
	}
}

/* What the tables below change is all that is wrong there */
TEST_F(op, good_ops_are_good)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		EXPECT_EQ(PVIOMMU_OK, __pv_exec(self->r, good(kind, self->ep))) {
			TH_LOG("%s", kinds[kind].name);
		}
	}
}

/* An op that must fail with @status and change nothing */
#define refused(status, op, ...) do {					\
	struct pv_state __before = pv_state(self->r), __after;		\
									\
	EXPECT_EQ(status, __pv_exec(self->r, op)) {			\
		TH_LOG(__VA_ARGS__);					\
	}								\
	EXPECT_EQ(0, self->r->last.result) {				\
		TH_LOG(__VA_ARGS__);					\
	}								\
	__after = pv_state(self->r);					\
	EXPECT_TRUE(pv_state_same(&__before, &__after)) {		\
		TH_LOG(__VA_ARGS__);					\
	}								\
} while (0)

TEST_F(op, unknown_codes)
{
	const __u16 codes[] = {
		0x0001, 0x00ff, 0x0103, 0x01ff, 0x0204, 0x0304, 0x0401, 0x7fff, 0x8000, 0xffff,
		PVIOMMU_OP_TABLE_BIND, PVIOMMU_OP_TYPE_CLAIM, PVIOMMU_OP_RELEASE_ACK,
		0x0803,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(codes); i++)
		refused(PVIOMMU_EOPNOTSUPP, pv_op(codes[i]), "code 0x%x", codes[i]);
}

TEST_F(op, unknown_flags)
{
	int kind, bit;

	for (kind = 0; kind < KINDS; kind++) {
		for (bit = 0; bit < 16; bit++) {
			struct pviommu_op op = good(kind, self->ep);

			if ((1 << bit) & (kinds[kind].flags | PVIOMMU_OP_F_CHAIN))
				continue;
			op.flags |= 1 << bit;
			refused(PVIOMMU_EOPNOTSUPP, op, "%s, bit %d", kinds[kind].name, bit);
		}
	}
}

TEST_F(op, fields_that_it_does_not_take)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		struct pviommu_op op = good(kind, self->ep);
		unsigned int takes = kinds[kind].takes;

		op.domain = SPARE;
		if (!(takes & TAKES_DOMAIN))
			refused(PVIOMMU_EINVAL, op, "%s, domain", kinds[kind].name);
		op = good(kind, self->ep);
		op.endpoint = self->ep;
		if (!(takes & TAKES_ENDPOINT))
			refused(PVIOMMU_EINVAL, op, "%s, endpoint", kinds[kind].name);
		op = good(kind, self->ep);
		op.pasid = 0;
		refused(takes & TAKES_PASID ? PVIOMMU_EOPNOTSUPP : PVIOMMU_EINVAL, op,
			"%s, PASID 0", kinds[kind].name);
		op.pasid = 1;
		refused(takes & TAKES_PASID ? PVIOMMU_EOPNOTSUPP : PVIOMMU_EINVAL, op,
			"%s, PASID 1", kinds[kind].name);
		/* The greatest one, and what is none */
		op.pasid = 0xfffff;
		refused(takes & TAKES_PASID ? PVIOMMU_EOPNOTSUPP : PVIOMMU_EINVAL, op,
			"%s, PASID 0xfffff", kinds[kind].name);
		op.pasid = PVIOMMU_PASID_NONE - 1;
		refused(takes & TAKES_PASID ? PVIOMMU_EOPNOTSUPP : PVIOMMU_EINVAL, op,
			"%s, PASID beyond all", kinds[kind].name);
		op = good(kind, self->ep);
		op.vm = 1;
		refused(takes & TAKES_VM ? PVIOMMU_EACCES : PVIOMMU_EINVAL, op, "%s, VM",
			kinds[kind].name);
	}
}

/* A field, by its width in bits */
#define F8(field)	.len = 1, .off = offsetof(struct pviommu_op, field)
#define F16(field)	.len = 2, .off = offsetof(struct pviommu_op, field)
#define F32(field)	.len = 4, .off = offsetof(struct pviommu_op, field)
#define F64(field)	.len = 8, .off = offsetof(struct pviommu_op, field)
#define TOP		(-PV_PAGE)	/* the last page of the address space */

/* A good op but for one field */
static const struct row {
	enum kind kind;
	const char *what;
	size_t len, off;
	__u64 value;
	__u32 status;
} rows[] = {
	{ NOP, "an argument", F64(raw[0]), 1, PVIOMMU_EINVAL },
	{ NOP, "an argument", F64(raw[3]), 1ULL << 63, PVIOMMU_EINVAL },
	{ FEATURES, "an argument", F64(raw[0]), 1, PVIOMMU_EINVAL },
	{ FEATURES, "an argument", F64(raw[3]), 1ULL << 63, PVIOMMU_EINVAL },

	{ PROBE, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ PROBE, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ PROBE, "no such endpoint", F32(endpoint), 0xffffffff, PVIOMMU_ENOENT },
	{ PROBE, "reserved0", F32(buf.reserved0), 1, PVIOMMU_EINVAL },
	{ PROBE, "reserved[0]", F64(buf.reserved[0]), 1, PVIOMMU_EINVAL },
	{ PROBE, "reserved[1]", F64(buf.reserved[1]), 1ULL << 63, PVIOMMU_EINVAL },
	{ PROBE, "to nowhere", F64(buf.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ PROBE, "to the top", F64(buf.gpa), -8ULL, PVIOMMU_EFAULT },
	{ PROBE, "beyond RAM", F64(buf.gpa), PV_LOW_SIZE - 8, PVIOMMU_EFAULT },
	{ PROBE, "to read-only memory", F64(buf.gpa), PV_ROM, PVIOMMU_EFAULT },
	{ PROBE, "to a BAR", F64(buf.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ STATS, "reserved0", F32(buf.reserved0), 1, PVIOMMU_EINVAL },
	{ STATS, "reserved[0]", F64(buf.reserved[0]), 1, PVIOMMU_EINVAL },
	{ STATS, "reserved[1]", F64(buf.reserved[1]), 1ULL << 63, PVIOMMU_EINVAL },
	{ STATS, "to nowhere", F64(buf.gpa), PV_NOWHERE, PVIOMMU_EFAULT },
	{ STATS, "to read-only memory", F64(buf.gpa), PV_ROM, PVIOMMU_EFAULT },

	{ ALLOC, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ ALLOC, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ ALLOC, "table without format", F32(alloc.type), PVIOMMU_TYPE_TABLE, PVIOMMU_EOPNOTSUPP },
	{ ALLOC, "type unknown", F32(alloc.type), 0xffffffff, PVIOMMU_EOPNOTSUPP },
	{ ALLOC, "format without table", F32(alloc.format), 1, PVIOMMU_EINVAL },
	{ ALLOC, "watch without table", F16(flags), PVIOMMU_ALLOC_F_WATCH, PVIOMMU_EINVAL },
	{ ALLOC, "root without table", F64(alloc.root), PV_DATA, PVIOMMU_EINVAL },
	{ ALLOC, "reserved[0]", F64(alloc.reserved[0]), 1, PVIOMMU_EINVAL },
	{ ALLOC, "reserved[1]", F64(alloc.reserved[1]), 1ULL << 63, PVIOMMU_EINVAL },

	{ FREE_OP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ FREE_OP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ FREE_OP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ FREE_OP, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ FREE_OP, "in use", F32(domain), D, PVIOMMU_EBUSY },
	{ FREE_OP, "an argument", F64(raw[0]), 1, PVIOMMU_EINVAL },
	{ FREE_OP, "an argument", F64(raw[3]), 1ULL << 63, PVIOMMU_EINVAL },

	{ ATTACH, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ ATTACH, "no such domain", F32(domain), 0xffffffff, PVIOMMU_ENOENT },
	{ ATTACH, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ ATTACH, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ ATTACH, "an argument", F64(raw[0]), 1, PVIOMMU_EINVAL },
	{ ATTACH, "an argument", F64(raw[3]), 1ULL << 63, PVIOMMU_EINVAL },
	{ DETACH, "not its domain", F32(domain), SPARE, PVIOMMU_EINVAL },
	{ DETACH, "not its domain", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ DETACH, "endpoint 0", F32(endpoint), 0, PVIOMMU_ENOENT },
	{ DETACH, "no such endpoint", F32(endpoint), NONE, PVIOMMU_ENOENT },
	{ DETACH, "an argument", F64(raw[0]), 1, PVIOMMU_EINVAL },
	{ DETACH, "an argument", F64(raw[3]), 1ULL << 63, PVIOMMU_EINVAL },

	{ MAP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ MAP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ MAP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
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
	{ MAP, "gpa in part beyond RAM", F64(map.gpa), PV_LOW_SIZE - 0x3000, PVIOMMU_EFAULT },
	{ MAP, "gpa read-only", F64(map.gpa), PV_ROM, PVIOMMU_EACCES },
	{ MAP, "gpa of a BAR", F64(map.gpa), PV_BAR, PVIOMMU_EFAULT },
	{ MAP, "size 0", F64(map.size), 0, PVIOMMU_EINVAL },
	{ MAP, "size misaligned", F64(map.size), 0x1001, PVIOMMU_EINVAL },
	{ MAP, "size overflows", F64(map.size), TOP, PVIOMMU_ERANGE },
	{ MAP, "no access", F32(map.prot), 0, PVIOMMU_EINVAL },
	{ MAP, "no access, no exec", F32(map.prot), PVIOMMU_PROT_NOEXEC, PVIOMMU_EINVAL },
	{ MAP, "MMIO", F32(map.prot), PV_RW | PVIOMMU_PROT_MMIO, PVIOMMU_EOPNOTSUPP },
	{ MAP, "prot unknown", F32(map.prot), PV_RW | 1U << 31, PVIOMMU_EOPNOTSUPP },
	{ MAP, "pgshift 0", F8(map.pgshift), 0, PVIOMMU_EINVAL },
	{ MAP, "pgshift 11", F8(map.pgshift), 11, PVIOMMU_EINVAL },
	{ MAP, "pgshift 13", F8(map.pgshift), 13, PVIOMMU_EINVAL },
	{ MAP, "pgshift 30", F8(map.pgshift), 30, PVIOMMU_EINVAL },
	{ MAP, "pgshift 63", F8(map.pgshift), 63, PVIOMMU_EINVAL },
	{ MAP, "pgshift 64", F8(map.pgshift), 64, PVIOMMU_EINVAL },
	{ MAP, "pgshift 76", F8(map.pgshift), 76, PVIOMMU_EINVAL },
	{ MAP, "pgshift 255", F8(map.pgshift), 255, PVIOMMU_EINVAL },
	{ MAP, "size less than a page", F8(map.pgshift), 21, PVIOMMU_EINVAL },
	{ MAP, "reserved[0]", F8(map.reserved[0]), 1, PVIOMMU_EINVAL },
	{ MAP, "reserved[2]", F8(map.reserved[2]), 0x80, PVIOMMU_EINVAL },

	{ MAP_LIST, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ MAP_LIST, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ MAP_LIST, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ MAP_LIST, "iova misaligned", F64(list.iova), FREE + 1, PVIOMMU_EINVAL },
	{ MAP_LIST, "iova + size overflows", F64(list.iova), TOP, PVIOMMU_ERANGE },
	{ MAP_LIST, "iova beyond the window", F64(list.iova), 1ULL << 60, PVIOMMU_ERANGE },
	{ MAP_LIST, "iova reserved for MSIs", F64(list.iova), MSI - 0x3000, PVIOMMU_ERANGE },
	{ MAP_LIST, "overlap", F64(list.iova), MAPPED - 0x3000, PVIOMMU_EEXIST },
	{ MAP_LIST, "list misaligned", F64(list.list), PV_AT_LIST + 8, PVIOMMU_EINVAL },
	{ MAP_LIST, "list nowhere", F64(list.list), PV_NOWHERE, PVIOMMU_EFAULT },
	{ MAP_LIST, "list at the top", F64(list.list), TOP, PVIOMMU_EFAULT },
	{ MAP_LIST, "list in a BAR", F64(list.list), PV_BAR, PVIOMMU_EFAULT },
	{ MAP_LIST, "count 0", F32(list.count), 0, PVIOMMU_EINVAL },
	{ MAP_LIST, "count 513", F32(list.count), PVIOMMU_LIST_MAX + 1, PVIOMMU_EINVAL },
	{ MAP_LIST, "count huge", F32(list.count), 0xffffffff, PVIOMMU_EINVAL },
	{ MAP_LIST, "reserved0", F32(list.reserved0), 1, PVIOMMU_EINVAL },
	{ MAP_LIST, "no access", F32(list.prot), 0, PVIOMMU_EINVAL },
	{ MAP_LIST, "prot unknown", F32(list.prot), PV_RW | 1U << 31, PVIOMMU_EOPNOTSUPP },
	{ MAP_LIST, "pgshift 0", F8(list.pgshift), 0, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 30", F8(list.pgshift), 30, PVIOMMU_EINVAL },
	{ MAP_LIST, "pgshift 255", F8(list.pgshift), 255, PVIOMMU_EINVAL },
	{ MAP_LIST, "frames not RAM as 2 MiB", F8(list.pgshift), 21, PVIOMMU_EFAULT },
	{ MAP_LIST, "reserved[0]", F8(list.reserved[0]), 1, PVIOMMU_EINVAL },
	{ MAP_LIST, "reserved[2]", F8(list.reserved[2]), 0x80, PVIOMMU_EINVAL },

	{ UNMAP, "bypass", F32(domain), PVIOMMU_DOMAIN_BYPASS, PVIOMMU_EINVAL },
	{ UNMAP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_EINVAL },
	{ UNMAP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ UNMAP, "iova misaligned", F64(unmap.iova), MAPPED + 8, PVIOMMU_EINVAL },
	{ UNMAP, "iova + size overflows", F64(unmap.iova), TOP, PVIOMMU_ERANGE },
	{ UNMAP, "size 0", F64(unmap.size), 0, PVIOMMU_EINVAL },
	{ UNMAP, "size misaligned", F64(unmap.size), 0x1800, PVIOMMU_EINVAL },
	{ UNMAP, "all, but with a range", F16(flags), PVIOMMU_UNMAP_F_ALL, PVIOMMU_EINVAL },
	{ UNMAP, "reserved[0]", F64(unmap.reserved[0]), 1, PVIOMMU_EINVAL },
	{ UNMAP, "reserved[1]", F64(unmap.reserved[1]), 1ULL << 63, PVIOMMU_EINVAL },
	{ UNMAP_ALL, "iova", F64(unmap.iova), MAPPED, PVIOMMU_EINVAL },
	{ UNMAP_ALL, "size", F64(unmap.size), 0x1000, PVIOMMU_EINVAL },
	{ UNMAP_ALL, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },

	{ LOOKUP, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ LOOKUP, "blocked", F32(domain), PVIOMMU_DOMAIN_BLOCKED, PVIOMMU_ENOENT },
	{ LOOKUP, "not mapped", F64(lookup.iova), FREE, PVIOMMU_ENOENT },
	{ LOOKUP, "one before", F64(lookup.iova), MAPPED - 1, PVIOMMU_ENOENT },
	{ LOOKUP, "one beyond", F64(lookup.iova), MAPPED + MAPPED_SIZE, PVIOMMU_ENOENT },
	{ LOOKUP, "gpa", F64(lookup.gpa), 1, PVIOMMU_EINVAL },
	{ LOOKUP, "size", F64(lookup.size), 1, PVIOMMU_EINVAL },
	{ LOOKUP, "prot", F32(lookup.prot), 1, PVIOMMU_EINVAL },
	{ LOOKUP, "pgshift", F8(lookup.pgshift), 12, PVIOMMU_EINVAL },
	{ LOOKUP, "reserved[0]", F8(lookup.reserved[0]), 1, PVIOMMU_EINVAL },

	{ INVALIDATE, "no such domain", F32(domain), NONE, PVIOMMU_ENOENT },
	{ INVALIDATE, "by PASID", F32(inv.granularity), PVIOMMU_INV_PASID, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "granularity unknown", F32(inv.granularity), 3, PVIOMMU_EOPNOTSUPP },
	{ INVALIDATE, "addr misaligned", F64(inv.addr), MAPPED + 8, PVIOMMU_EINVAL },
	{ INVALIDATE, "addr + size overflows", F64(inv.addr), TOP, PVIOMMU_ERANGE },
	{ INVALIDATE, "size 0", F64(inv.size), 0, PVIOMMU_EINVAL },
	{ INVALIDATE, "size misaligned", F64(inv.size), 0x1800, PVIOMMU_EINVAL },
	{ INVALIDATE, "reserved0", F32(inv.reserved0), 1, PVIOMMU_EINVAL },
	{ INVALIDATE, "reserved", F64(inv.reserved), 1ULL << 63, PVIOMMU_EINVAL },
	{ INV_DOMAIN, "addr", F64(inv.addr), MAPPED, PVIOMMU_EINVAL },
	{ INV_DOMAIN, "size", F64(inv.size), 0x1000, PVIOMMU_EINVAL },
};

TEST_F(op, one_bad_field)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct pviommu_op op = good(row->kind, self->ep);

		if (row->kind == DETACH)
			op.domain = D;
		memcpy((char *)&op + row->off, &row->value, row->len);
		refused(row->status, op, "%s: %s", kinds[row->kind].name, row->what);
	}
}

/* MAP_LIST is all or nothing: one bad frame at the end undoes the rest */
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
		{ "the last frame", TOP >> 12, 12, PVIOMMU_EFAULT },
		{ "beyond the last", 1ULL << 52, 12, PVIOMMU_EFAULT },
		{ "all ones", -1ULL, 12, PVIOMMU_EFAULT },
		{ "2 MiB nowhere", PV_NOWHERE >> 21, 21, PVIOMMU_EFAULT },
		{ "2 MiB read-only", PV_ROM >> 21, 21, PVIOMMU_EACCES },
		{ "2 MiB beyond the last", 1ULL << 43, 21, PVIOMMU_EFAULT },
	};
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(frames); i++) {
		struct pviommu_op op = pv_op_map_list(D, FREE, PV_AT_LIST, 3, PV_RW);

		op.list.pgshift = frames[i].pgshift;
		for (n = 0; n < 2; n++)
			pv_list(&self->vm)[n] = (PV_DATA >> frames[i].pgshift) + n;
		pv_list(&self->vm)[2] = frames[i].frame;
		refused(frames[i].status, op, "%s", frames[i].what);
		pv_err_lookup(PVIOMMU_ENOENT, self->r, D, FREE);
	}
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
	/* An open end is no failure of what comes next */
	pv_exec(self->r, pv_op(PVIOMMU_OP_NOP));
}

TEST_F(op, chain_reaches_over_doorbells)
{
	pv_err_exec(PVIOMMU_ENOENT, self->r, chained(pv_op_lookup(D, FREE)));
	pv_err_exec(PVIOMMU_ECANCELED, self->r, pv_op(PVIOMMU_OP_NOP));
	pv_exec(self->r, pv_op(PVIOMMU_OP_NOP));
}

/* Each op has a status of its own */
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
