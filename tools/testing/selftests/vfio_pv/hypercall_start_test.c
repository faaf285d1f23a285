// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface's capability in config space, START with valid and invalid start blocks,
 * negotiation of features, RESET, and what else stops the interface.
 */
#include <pthread.h>

#include <linux/pci_regs.h>

#include "lib/pv_test.h"

FIXTURE(start)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_dev *dev;
};

FIXTURE_SETUP(start)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->dev = &self->vm.dev[0];
}

FIXTURE_TEARDOWN(start)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* ---- capability ---------------------------------------------------- */

TEST_F(start, capability_layout)
{
	__u8 bytes[PVIOMMU_CAP_LEN];

	if (self->dev->shift)
		SKIP(return, "the capability is in extended config space");
	ASSERT_EQ(0, vfio_config_read(&self->dev->vfio, self->dev->cap, bytes, sizeof(bytes)));
	EXPECT_EQ(0, self->dev->cap % 4);
	EXPECT_GE(self->dev->cap, PCI_STD_HEADER_SIZEOF);
	EXPECT_LE(self->dev->cap + PVIOMMU_CAP_LEN, 256);
	EXPECT_EQ(PCI_CAP_ID_VNDR, bytes[0]);
	EXPECT_EQ(PVIOMMU_CAP_LEN, bytes[2]);
	EXPECT_EQ(PVIOMMU_ABI_VERSION, bytes[3]);
	EXPECT_EQ(0, memcmp(bytes + PVIOMMU_CAP_SIGNATURE_OFF, "PVIO", 4));
}

TEST_F(start, capability_registers)
{
	__u32 offered = PVIOMMU_F_MAP_LIST | PVIOMMU_F_EVENTS | PVIOMMU_F_BYPASS |
			PVIOMMU_F_STATS | PVIOMMU_F_RECOVER;
	struct pv_vm *vm = &self->vm;

	EXPECT_EQ(PVIOMMU_CAP_SIGNATURE, pv_cap_read(vm, 0, PVIOMMU_CAP_SIGNATURE_OFF));
	EXPECT_NE(0, pv_cap_read(vm, 0, PVIOMMU_CAP_ENDPOINT_OFF));
	EXPECT_EQ(offered, pv_cap_read(vm, 0, PVIOMMU_CAP_FEATURES_OFF) & offered);
	EXPECT_EQ(PVIOMMU_STATE_STOPPED, pv_cap_read(vm, 0, PVIOMMU_CAP_CONTROL_OFF));
	EXPECT_EQ(0, pv_cap_read(vm, 0, PVIOMMU_CAP_DOORBELL_OFF));

	pv_cap_write(vm, 0, PVIOMMU_CAP_GPA_LO_OFF, 0x12345678);
	pv_cap_write(vm, 0, PVIOMMU_CAP_GPA_HI_OFF, 0x9abcdef0);
	EXPECT_EQ(0x12345678, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_LO_OFF));
	EXPECT_EQ(0x9abcdef0, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_HI_OFF));

	/* Writes to read-only registers have no effect */
	pv_cap_write(vm, 0, PVIOMMU_CAP_SIGNATURE_OFF, 0);
	pv_cap_write(vm, 0, PVIOMMU_CAP_ENDPOINT_OFF, 0);
	pv_cap_write(vm, 0, PVIOMMU_CAP_FEATURES_OFF, 0);
	EXPECT_EQ(PVIOMMU_CAP_SIGNATURE, pv_cap_read(vm, 0, PVIOMMU_CAP_SIGNATURE_OFF));
	EXPECT_EQ(self->dev->id, pv_cap_read(vm, 0, PVIOMMU_CAP_ENDPOINT_OFF));
	EXPECT_EQ(offered, pv_cap_read(vm, 0, PVIOMMU_CAP_FEATURES_OFF) & offered);
}

TEST_F(start, capability_reads_of_any_width)
{
	const size_t widths[] = { 1, 2, 4, 3, 8, 5 };
	__u8 whole[256], part[8];
	unsigned int i, off;

	ASSERT_EQ(0, vfio_config_read(&self->dev->vfio, 0, whole, sizeof(whole)));
	for (i = 0; i < ARRAY_SIZE(widths); i++) {
		for (off = 0; off + widths[i] <= sizeof(whole); off++) {
			ASSERT_EQ(0, vfio_config_read(&self->dev->vfio, off, part, widths[i]));
			EXPECT_EQ(0, memcmp(part, whole + off, widths[i])) {
				TH_LOG("%zu bytes at 0x%x", widths[i], off);
			}
		}
	}
}

TEST_F(start, capability_writes_of_other_widths_do_nothing)
{
	unsigned int gpa = self->dev->cap + self->dev->shift + PVIOMMU_CAP_GPA_LO_OFF;
	unsigned int control = gpa - PVIOMMU_CAP_GPA_LO_OFF + PVIOMMU_CAP_CONTROL_OFF;
	const __u8 ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	const struct {
		unsigned int off;
		size_t len;
	} rows[] = {
		{ 0, 1 }, { 1, 1 }, { 3, 1 }, { 0, 2 }, { 2, 2 }, { 1, 2 }, { 0, 3 },
		{ 1, 4 }, { 2, 4 }, { 3, 4 }, { 0, 8 }, { 4, 8 },
	};
	struct pv_vm *vm = &self->vm;
	unsigned int i;

	pv_start_prepare(vm, 1, 6);
	pv_cap_write(vm, 0, PVIOMMU_CAP_GPA_LO_OFF, PV_AT_START);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ASSERT_EQ(0, vfio_config_write(&self->dev->vfio, gpa + rows[i].off, ones,
					       rows[i].len));
		EXPECT_EQ(PV_AT_START, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_LO_OFF));
		EXPECT_EQ(0, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_HI_OFF));
		/* 1 is START */
		if (rows[i].len < 8)
			vfio_config_write(&self->dev->vfio, control + rows[i].off, ones,
					  rows[i].len == 4 ? 3 : rows[i].len);
		EXPECT_FALSE(pv_running(vm));
	}
	EXPECT_EQ(PVIOMMU_OK, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
}

/* A VMM may save and restore the whole of config space: this is no command */
TEST_F(start, capability_survives_restore)
{
	struct pv_vm *vm = &self->vm;
	__u8 before[256], after[256];

	pv_start(vm, 1, 6);
	pv_cap_write(vm, 0, PVIOMMU_CAP_GPA_LO_OFF, 0x1000);
	ASSERT_EQ(0, vfio_config_read(&self->dev->vfio, 0, before, sizeof(before)));
	ASSERT_EQ(0, vfio_config_write(&self->dev->vfio, 0, before, sizeof(before)));
	ASSERT_EQ(0, vfio_config_read(&self->dev->vfio, 0, after, sizeof(after)));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	EXPECT_TRUE(pv_running(vm));

	/* Nor is a write of all zeroes or all ones */
	memset(before + self->dev->cap, 0, PVIOMMU_CAP_LEN);
	ASSERT_EQ(0, vfio_config_write(&self->dev->vfio, 0, before, sizeof(before)));
	EXPECT_TRUE(pv_running(vm));
	memset(before + self->dev->cap, 0xff, PVIOMMU_CAP_LEN);
	ASSERT_EQ(0, vfio_config_write(&self->dev->vfio, 0, before, sizeof(before)));
	EXPECT_TRUE(pv_running(vm));
	EXPECT_EQ(0x1000, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_LO_OFF));
}

/* ---- START --------------------------------------------------------- */

/* A field of the start block, or of a ring's descriptor, with its width in bits */
#define DESC		0x1000
#define BLOCK16(field)	.len = 2, .off = offsetof(struct pviommu_start, field)
#define BLOCK32(field)	.len = 4, .off = offsetof(struct pviommu_start, field)
#define BLOCK64(field)	.len = 8, .off = offsetof(struct pviommu_start, field)
#define DESC32(field)	.len = 4, .off = DESC + offsetof(struct pviommu_ring_desc, field)
#define DESC64(field)	.len = 8, .off = DESC + offsetof(struct pviommu_ring_desc, field)

/* A valid start block and descriptors, but for one field */
static const struct {
	const char *what;
	size_t len, off;
	__u64 value;
	__u32 error;
} bad_starts[] = {
	{ "magic", BLOCK32(magic), PVIOMMU_START_MAGIC + 1, PVIOMMU_EINVAL },
	{ "version 0", BLOCK16(version), 0, PVIOMMU_EOPNOTSUPP },
	{ "version 2", BLOCK16(version), 2, PVIOMMU_EOPNOTSUPP },
	{ "version huge", BLOCK16(version), 0xffff, PVIOMMU_EOPNOTSUPP },
	{ "all features", BLOCK64(features), ~0ULL, PVIOMMU_EOPNOTSUPP },
	{ "feature not offered", BLOCK64(features), PVIOMMU_F_PASID, PVIOMMU_EOPNOTSUPP },
	{ "feature unknown", BLOCK64(features), 1ULL << 63, PVIOMMU_EOPNOTSUPP },
	{ "no rings", BLOCK16(nrings), 0, PVIOMMU_ERANGE },
	{ "too many rings", BLOCK16(nrings), PVIOMMU_MAX_RINGS + 1, PVIOMMU_ERANGE },
	{ "as many rings as can be named", BLOCK16(nrings), 0xffff, PVIOMMU_ERANGE },
	{ "no cookie", BLOCK64(cookie), 0, PVIOMMU_EINVAL },
	{ "reserved", BLOCK64(reserved), 1, PVIOMMU_EINVAL },
	{ "reserved, high", BLOCK64(reserved), 1ULL << 63, PVIOMMU_EINVAL },
	{ "doorbell misaligned", BLOCK64(doorbell), PV_AT_DOORBELL + 8, PVIOMMU_EINVAL },
	{ "doorbell misaligned by 1", BLOCK64(doorbell), 1, PVIOMMU_EINVAL },
	{ "doorbell nowhere", BLOCK64(doorbell), PV_NOWHERE, PVIOMMU_EFAULT },
	{ "doorbell at the top", BLOCK64(doorbell), -PV_PAGE, PVIOMMU_EFAULT },
	{ "doorbell read-only", BLOCK64(doorbell), PV_ROM, PVIOMMU_EFAULT },
	{ "doorbell not RAM", BLOCK64(doorbell), PV_BAR, PVIOMMU_EFAULT },
	{ "events misaligned", BLOCK64(events), PV_AT_EVENTS + 8, PVIOMMU_EINVAL },
	{ "events nowhere", BLOCK64(events), PV_NOWHERE, PVIOMMU_EFAULT },
	{ "events at the top", BLOCK64(events), -PV_PAGE, PVIOMMU_EFAULT },
	{ "events read-only", BLOCK64(events), PV_ROM, PVIOMMU_EFAULT },
	{ "events not RAM", BLOCK64(events), PV_BAR, PVIOMMU_EFAULT },
	{ "descriptors misaligned", BLOCK64(rings), PV_AT_DESCS + 4, PVIOMMU_EINVAL },
	{ "descriptors nowhere", BLOCK64(rings), PV_NOWHERE, PVIOMMU_EFAULT },
	{ "descriptors at the top", BLOCK64(rings), -8ULL, PVIOMMU_EFAULT },
	{ "descriptors not RAM", BLOCK64(rings), PV_BAR, PVIOMMU_EFAULT },
	{ "header misaligned", DESC64(hdr), PV_AT_HDRS + 0x20, PVIOMMU_EINVAL },
	{ "header nowhere", DESC64(hdr), PV_NOWHERE, PVIOMMU_EFAULT },
	{ "header at the top", DESC64(hdr), -64ULL, PVIOMMU_EFAULT },
	{ "header not RAM", DESC64(hdr), PV_BAR, PVIOMMU_EFAULT },
	{ "header read-only", DESC64(hdr), PV_ROM, PVIOMMU_EFAULT },
	{ "ops misaligned", DESC64(ops), PV_AT_OPS + 0x40, PVIOMMU_EINVAL },
	{ "ops nowhere", DESC64(ops), PV_NOWHERE, PVIOMMU_EFAULT },
	{ "ops beyond RAM", DESC64(ops), PV_LOW_SIZE - PV_PAGE, PVIOMMU_EFAULT },
	{ "ops at the top", DESC64(ops), -PV_PAGE, PVIOMMU_EFAULT },
	{ "ops up to the top", DESC64(ops), -(64ULL << 7), PVIOMMU_EFAULT },
	{ "ops read-only", DESC64(ops), PV_ROM, PVIOMMU_EFAULT },
	{ "ops not RAM", DESC64(ops), PV_BAR, PVIOMMU_EFAULT },
	{ "order 0", DESC32(order), 0, PVIOMMU_ERANGE },
	{ "order too small", DESC32(order), PVIOMMU_RING_ORDER_MIN - 1, PVIOMMU_ERANGE },
	{ "order too large", DESC32(order), PVIOMMU_RING_ORDER_MAX + 1, PVIOMMU_ERANGE },
	{ "order huge", DESC32(order), 0xffffffff, PVIOMMU_ERANGE },
	{ "descriptor reserved", DESC32(reserved), 1, PVIOMMU_EINVAL },
	{ "descriptor reserved, high", DESC32(reserved), 1U << 31, PVIOMMU_EINVAL },
};

TEST_F(start, every_bad_field_is_refused)
{
	long long pinned = pv_total("pages_pinned");
	struct pv_vm *vm = &self->vm;
	unsigned int i;

	ASSERT_EQ(0, pv_vm_add_bar(vm, 0));
	/* Each field of a descriptor is tried in the first ring's and in the second one's */
	for (i = 0; i < ARRAY_SIZE(bad_starts) * 2; i++) {
		struct pviommu_start *start = pv_start_prepare(vm, 2, 7);
		size_t off = bad_starts[i / 2].off;
		char *field = (char *)start + off;

		if (off >= DESC)
			field = (char *)&pv_start_descs(vm)[i % 2] + off - DESC;
		memcpy(field, &bad_starts[i / 2].value, bad_starts[i / 2].len);
		EXPECT_EQ(bad_starts[i / 2].error,
			  pv_command(vm, PVIOMMU_CMD_START, PV_AT_START)) {
			TH_LOG("%s, ring %u", bad_starts[i / 2].what, i % 2);
		}
		EXPECT_FALSE(pv_running(vm));
		EXPECT_EQ(pinned, pv_total("pages_pinned"));
	}
	pv_start(vm, 2, 7);
	EXPECT_TRUE(pv_running(vm));
}

/* RAM ends behind the first descriptor: START of one ring succeeds, of two it fails */
TEST_F(start, descriptors_in_part_beyond_ram)
{
	const __u64 at = PV_LOW_SIZE - sizeof(struct pviommu_ring_desc);
	struct pviommu_start *start = pv_start_prepare(&self->vm, 2, 7);

	memcpy(pv_mem(&self->vm, at), pv_start_descs(&self->vm),
	       sizeof(struct pviommu_ring_desc));
	start->rings = at;
	EXPECT_EQ(PVIOMMU_EFAULT, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	start->nrings = 1;
	EXPECT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	pv_exec(&self->vm.ring[0], pv_op(PVIOMMU_OP_NOP));
}

/*
 * Parts of the interface that overlap. The ABI forbids it and the host does not check it:
 * it goes on, even if it reads what it wrote itself, and RESET cleans up.
 */
TEST_F(start, parts_that_overlap)
{
	const struct {
		size_t len, off;
		__u64 value;
	} rows[] = {
		{ BLOCK64(doorbell), PV_AT_EVENTS },
		{ BLOCK64(doorbell), PV_AT_OPS },
		{ BLOCK64(doorbell), PV_AT_HDRS },
		{ BLOCK64(events), PV_AT_OPS },
		{ BLOCK64(events), PV_AT_HDRS },
		{ BLOCK64(events), PV_AT_START },
		{ DESC64(ops), PV_AT_OPS },
		{ DESC64(ops), PV_AT_HDRS },
		{ DESC64(ops), PV_AT_DESCS },
		{ DESC64(hdr), PV_AT_HDRS },
		{ DESC64(hdr), PV_AT_OPS + 64 },
		{ DESC64(hdr), PV_AT_EVENTS + 64 },
	};
	struct pv_vm *vm = &self->vm;
	long long pinned, domains;
	unsigned int i, n;

	pv_reset(vm);
	pinned = pv_total("pages_pinned");
	domains = pv_total("domains");
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pviommu_start *start = pv_start_prepare(vm, 2, 7);
		char *field = (char *)start + rows[i].off;

		if (rows[i].off >= DESC)
			field = (char *)&pv_start_descs(vm)[1] + rows[i].off - DESC;
		memcpy(field, &rows[i].value, rows[i].len);
		pv_command(vm, PVIOMMU_CMD_START, PV_AT_START);
		for (n = 0; n < 20; n++) {
			pv_push(&vm->ring[n % 2], pv_op_attach(self->dev->id, n % 3));
			pv_cap_write(vm, 0, PVIOMMU_CAP_DOORBELL_OFF,
				     PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL));
		}
		pv_reset(vm);
		EXPECT_EQ(pinned, pv_total("pages_pinned"));
		EXPECT_EQ(domains, pv_total("domains"));
	}
	pv_start(vm, 2, 7);
	pv_exec(&vm->ring[1], pv_op(PVIOMMU_OP_NOP));
}

TEST_F(start, block_must_be_guest_ram)
{
	struct pv_vm *vm = &self->vm;

	ASSERT_EQ(0, pv_vm_add_bar(vm, 0));
	pv_start_prepare(vm, 1, 6);
	memcpy(pv_mem(vm, PV_ROM), pv_mem(vm, PV_AT_START), sizeof(struct pviommu_start));

	EXPECT_EQ(PVIOMMU_EFAULT, pv_command(vm, PVIOMMU_CMD_START, PV_NOWHERE));
	EXPECT_EQ(PVIOMMU_EFAULT, pv_command(vm, PVIOMMU_CMD_START, PV_BAR));
	EXPECT_EQ(PVIOMMU_EFAULT, pv_command(vm, PVIOMMU_CMD_START, PV_LOW_SIZE - 8));
	EXPECT_EQ(PVIOMMU_EFAULT, pv_command(vm, PVIOMMU_CMD_START, -8ULL));
	/* The host could not write its part of the block */
	EXPECT_EQ(PVIOMMU_EFAULT, pv_command(vm, PVIOMMU_CMD_START, PV_ROM));
	EXPECT_FALSE(pv_running(vm));
}

TEST_F(start, optional_parts_may_be_left_out)
{
	struct pviommu_start *start = pv_start_prepare(&self->vm, 1, 6);

	start->features = 0;
	start->doorbell = 0;
	start->events = 0;
	EXPECT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	pv_exec(&self->vm.ring[0], pv_op(PVIOMMU_OP_NOP));
}

/* For each feature an op that always fails: the status with the feature, and without it */
static const struct {
	__u64 feature;
	struct pviommu_op op;
	__u32 with, without;
} feature_ops[] = {
	{ PVIOMMU_F_MAP_LIST, { .code = PVIOMMU_OP_MAP_LIST }, PVIOMMU_EINVAL, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_BYPASS, { .code = PVIOMMU_OP_ATTACH, .domain = PVIOMMU_DOMAIN_BYPASS },
	  PVIOMMU_ENOENT, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_STATS, { .code = PVIOMMU_OP_STATS, .buf = { .gpa = PV_NOWHERE, .size = 8 } },
	  PVIOMMU_EFAULT, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_TABLES,
	  { .code = PVIOMMU_OP_ALLOC,
	    .alloc = { .type = PVIOMMU_TYPE_TABLE, .format = 1, .root = PV_NOWHERE } },
	  PVIOMMU_EFAULT, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_MEM_TYPES, { .code = PVIOMMU_OP_TYPE_SET }, PVIOMMU_EINVAL,
	  PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_MEM_TYPES, { .code = PVIOMMU_OP_TYPE_GET, .mem = { .gpa = PV_NOWHERE } },
	  PVIOMMU_EFAULT, PVIOMMU_EOPNOTSUPP },
	/* The order of checks tells: that of the feature comes before those that give EINVAL */
	{ PVIOMMU_F_FOREIGN, { .code = PVIOMMU_OP_MAP, .vm = 1 }, PVIOMMU_EINVAL,
	  PVIOMMU_EACCES },
	{ PVIOMMU_F_FOREIGN | PVIOMMU_F_MAP_LIST, { .code = PVIOMMU_OP_MAP_LIST, .vm = 1 },
	  PVIOMMU_EINVAL, PVIOMMU_EACCES },
	{ PVIOMMU_F_DIRTY, { .code = PVIOMMU_OP_DIRTY_START }, PVIOMMU_EINVAL, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_DIRTY, { .code = PVIOMMU_OP_DIRTY_STOP }, PVIOMMU_EINVAL, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_DIRTY, { .code = PVIOMMU_OP_DIRTY_READ }, PVIOMMU_EINVAL, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_RELEASE, { .code = PVIOMMU_OP_RELEASE }, PVIOMMU_EINVAL, PVIOMMU_EOPNOTSUPP },
	{ PVIOMMU_F_RECOVER, { .code = PVIOMMU_OP_RECOVER }, PVIOMMU_ENOENT, PVIOMMU_EOPNOTSUPP },
};

static __u32 status_of(unsigned int i, __u64 features)
{
	__u64 missing = feature_ops[i].feature & ~features;

	if (!missing)
		return feature_ops[i].with;
	return missing & PVIOMMU_F_MAP_LIST ? PVIOMMU_EOPNOTSUPP : feature_ops[i].without;
}

/* Accept all features but one, then that one alone, then none */
TEST_F(start, a_feature_that_was_not_accepted_is_not_there)
{
	struct pv_vm *vm = &self->vm;
	__u64 offered = pv_cap_read(vm, 0, PVIOMMU_CAP_FEATURES_OFF);
	unsigned int bit, i;

	for (bit = 0; bit < 64 * 3; bit++) {
		__u64 one = 1ULL << bit % 64 & offered, features;
		struct pviommu_start *start;

		if (!one)
			continue;
		features = bit < 64 ? offered & ~one : bit < 128 ? one : 0;
		start = pv_start_prepare(vm, 1, 6);
		start->features = features;
		start->events = features & PVIOMMU_F_EVENTS ? PV_AT_EVENTS : 0;
		ASSERT_EQ(PVIOMMU_OK, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
		for (i = 0; i < ARRAY_SIZE(feature_ops); i++) {
			struct pviommu_op op = feature_ops[i].op;

			op.pasid = PVIOMMU_PASID_NONE;
			EXPECT_EQ(status_of(i, features), __pv_exec(&vm->ring[0], op)) {
				TH_LOG("op 0x%x with features 0x%llx", op.code, features);
			}
		}
		pv_reset(vm);
	}
}

TEST_F(start, bypass_without_the_feature_is_refused)
{
	struct pviommu_start *start = pv_start_prepare(&self->vm, 1, 4);
	struct pv_ring *r = &self->vm.ring[0];
	__u32 ep = self->vm.dev[0].id;

	start->features &= ~PVIOMMU_F_BYPASS;
	ASSERT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	pv_attach(r, ep, PVIOMMU_DOMAIN_BLOCKED);
	pv_err_attach(PVIOMMU_EOPNOTSUPP, r, ep, PVIOMMU_DOMAIN_BYPASS);
	pv_detach(r, ep, PVIOMMU_DOMAIN_BLOCKED);
}

TEST_F(start, events_without_the_feature_are_refused)
{
	struct pviommu_start *start = pv_start_prepare(&self->vm, 1, 6);

	start->features &= ~PVIOMMU_F_EVENTS;
	EXPECT_EQ(PVIOMMU_EOPNOTSUPP, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
}

TEST_F(start, reply)
{
	struct pviommu_start *start = pv_start_prepare(&self->vm, 1, 6);

	start->out_flags = ~0U;
	start->out_max_domains = ~0U;
	ASSERT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	/* Without KVM the doorbell page is not write-tracked */
	EXPECT_EQ(0, start->out_flags);
	EXPECT_EQ(pv_param_get("max_domains"), start->out_max_domains);
	EXPECT_EQ(0, start->reserved);
}

TEST_F(start, all_rings_work)
{
	struct pv_vm *vm = &self->vm;
	unsigned int i;

	pv_start(vm, PVIOMMU_MAX_RINGS, PVIOMMU_RING_ORDER_MIN);
	for (i = 0; i < PVIOMMU_MAX_RINGS; i++)
		pv_exec(&vm->ring[i], pv_op(PVIOMMU_OP_NOP));

	/* All rings with one doorbell */
	for (i = 0; i < PVIOMMU_MAX_RINGS; i++)
		pv_push(&vm->ring[i], pv_op(PVIOMMU_OP_NOP));
	pv_cap_write(vm, 0, PVIOMMU_CAP_DOORBELL_OFF, PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL));
	for (i = 0; i < PVIOMMU_MAX_RINGS; i++)
		EXPECT_EQ(2, vm->ring[i].hdr->cons);
}

TEST_F(start, second_start_is_busy_and_changes_nothing)
{
	struct pv_vm *vm = &self->vm;

	pv_start(vm, 1, 6);
	EXPECT_EQ(PVIOMMU_EBUSY, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
	EXPECT_TRUE(pv_running(vm));
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
}

TEST_F(start, unknown_command_is_refused)
{
	struct pv_vm *vm = &self->vm;

	pv_start(vm, 1, 6);
	EXPECT_EQ(PVIOMMU_EOPNOTSUPP, pv_command(vm, 2, PV_AT_START));
	EXPECT_EQ(PVIOMMU_EOPNOTSUPP, pv_command(vm, 0xffffffff, PV_AT_START));
	EXPECT_TRUE(pv_running(vm));
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
}

TEST_F(start, reset_frees_everything)
{
	struct pv_vm *vm = &self->vm;
	struct pv_usage stopped = pv_usage_get();
	struct pv_ring *r = &vm->ring[0];
	__u32 domain;

	pv_reset(vm);
	pv_start(vm, 1, 6);
	domain = pv_new_domain(r, self->dev->id);
	ASSERT_EQ(PVIOMMU_DOMAIN_FIRST, domain);
	pv_attach(r, self->dev->id, domain);
	pv_map(r, domain, PV_2M, PV_DATA, 0x10000, PV_RW);

	pv_reset(vm);
	EXPECT_FALSE(pv_running(vm));
	EXPECT_EQ(stopped.pages_pinned, pv_total("pages_pinned"));
	EXPECT_EQ(stopped.domains, pv_total("domains"));
	EXPECT_EQ(0, pv_total("mappings"));

	/* A doorbell has no effect while the interface is stopped */
	pv_push(r, pv_op(PVIOMMU_OP_NOP));
	pv_kick(r);
	EXPECT_EQ(PVIOMMU_STATUS_PENDING, r->ops[(r->hdr->prod - 1) % r->slots].status);

	pv_start(vm, 1, 6);
	pv_err_lookup(PVIOMMU_ENOENT, r, domain, PV_2M);
	EXPECT_EQ(domain, pv_new_domain(r, self->dev->id));
}

/* A program that was given the device can write its registers, but does not know the cookie */
TEST_F(start, a_stranger_can_not_reset)
{
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];
	__u32 domain;

	pv_reset(vm);
	pv_start(vm, 1, 6);
	EXPECT_EQ(0, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_LO_OFF));
	EXPECT_EQ(0, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_HI_OFF));
	domain = pv_new_domain(r, self->dev->id);
	EXPECT_EQ(PVIOMMU_EACCES, pv_command(vm, PVIOMMU_CMD_RESET, 0));
	EXPECT_EQ(PVIOMMU_EACCES, pv_command(vm, PVIOMMU_CMD_RESET, ~vm->cookie));
	EXPECT_EQ(PVIOMMU_EBUSY, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
	EXPECT_TRUE(pv_running(vm));
	pv_map(r, domain, PV_2M, PV_DATA, 0x1000, PV_RW);

	/* RESET by the right cookie succeeds, and the registers do not keep the cookie */
	pv_reset(vm);
	EXPECT_EQ(0, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_LO_OFF));
	EXPECT_EQ(0, pv_cap_read(vm, 0, PVIOMMU_CAP_GPA_HI_OFF));
	pv_start(vm, 1, 6);
}

TEST_F(start, vmm_takes_bus_mastering)
{
	struct pv_vm *vm = &self->vm;

	pv_start(vm, 1, 6);
	ASSERT_EQ(0, vfio_dev_enable(&self->dev->vfio, true, false));
	EXPECT_FALSE(pv_running(vm));
	/* A guest driver starts the interface before any device is enabled */
	pv_start(vm, 1, 6);
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
	ASSERT_EQ(0, vfio_dev_enable(&self->dev->vfio, true, true));
	EXPECT_TRUE(pv_running(vm));
}

static void *take_bus_mastering(void *arg)
{
	struct pv_dev *dev = arg;

	return (void *)(long)vfio_dev_enable(&dev->vfio, true, false);
}

TEST_F(start, guest_takes_bus_mastering)
{
	struct pv_vm *vm = &self->vm;
	pthread_t vcpu;
	void *ret;

	pv_start(vm, 1, 6);
	ASSERT_EQ(0, pthread_create(&vcpu, NULL, take_bus_mastering, self->dev));
	ASSERT_EQ(0, pthread_join(vcpu, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_TRUE(pv_running(vm));
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
}

TEST_HARNESS_MAIN
