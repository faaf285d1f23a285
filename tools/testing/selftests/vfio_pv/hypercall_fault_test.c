// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures inside the host while it executes START, RESET and what a VMM calls. Each
 * allocation, user copy, charge, pin, map and attach on the way is made to fail once, one
 * after the other. Nothing may be left of what was begun, neither in what the engine counts
 * nor in the IOMMU's tables, which tell what the device reaches. For ops see
 * hypercall_fault_ops_test. Needs pviommu_test_memory.
 */
#include <sys/ioctl.h>

#include <linux/vfio.h>

#include "lib/guest_ram.h"
#include "lib/pv_fault.h"
#include "lib/pv_snap.h"
#include "lib/pv_test.h"
#include "lib/pv_vtd.h"

#define LOW_SIZE	(PV_DATA + (1ULL << 20))

FIXTURE(fault)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 ep;
};

FIXTURE_SETUP(fault)
{
	const char *missing = pv_fault_missing();

	if (missing)
		SKIP(return, "%s", missing);
	if (!pv_vtd_readable())
		SKIP(return, "needs pviommu_test_memory, and VT-d");
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, LOW_SIZE);
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	ASSERT_TRUE(pv_fault_begin());
	pv_start(&self->vm, 1, 7);
}

FIXTURE_TEARDOWN(fault)
{
	pv_fault_end();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* pv_usage_diff(), but for pages that the host has charged in advance */
static const char *usage_diff(const struct pv_usage *a, struct pv_usage b)
{
	if (labs(a->locked_kb - b.locked_kb) <= 2 * 512 * 4)
		b.locked_kb = a->locked_kb;
	return pv_usage_diff(a, &b);
}

static struct pv_reach reach(const struct pv_vm *vm)
{
	return pv_reach(vm, &vm->dev[0]);
}

/* The device reaches what it did */
#define expect_reach(want) do {								\
	struct pv_reach __now = reach(&self->vm);					\
											\
	ASSERT_TRUE(pv_reach_same(want, &__now)) {					\
		TH_LOG("the device reaches %llu pages instead of %llu, %llu unknown",	\
		       __now.pages, (want)->pages, __now.strange);			\
	}										\
} while (0)

/* ---- start and stop ---------------------------------------------------------- */

TEST_F_TIMEOUT(fault, start, 3600)
{
	struct pv_usage stopped, now;
	struct pv_fault_sweep sweep;
	struct pv_reach all;

	pv_reset(&self->vm);
	stopped = pv_usage_get();
	all = reach(&self->vm);
	ASSERT_EQ((LOW_SIZE + PV_HIGH_SIZE + PV_ROM_SIZE) / PV_PAGE, all.pages);
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		__pv_start(&self->vm, 1, 7);
		sweep.was = pv_fault_disarm();
		ASSERT_TRUE(sweep.was || pv_running(&self->vm));
		if (pv_running(&self->vm))
			pv_reset(&self->vm);
		expect_reach(&all);
		now = pv_usage_get();
		ASSERT_EQ(NULL, usage_diff(&stopped, now)) {
			TH_LOG("failure %d/%u: %s", sweep.kind, sweep.nth,
			       usage_diff(&stopped, now));
		}
	}
	EXPECT_LT(0, pv_fault_report("START", &sweep));
	pv_start(&self->vm, 1, 7);
}

/* It can't fail. If bypass fails, it is tried again when the guest's domains are gone */
TEST_F_TIMEOUT(fault, reset, 3600)
{
	struct pv_usage stopped, now;
	struct pv_fault_sweep sweep;
	struct pv_reach all;

	pv_reset(&self->vm);
	stopped = pv_usage_get();
	all = reach(&self->vm);
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		pv_start(&self->vm, 1, 7);
		ASSERT_TRUE(pv_snap_home(self->r, self->ep));
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_GPA_LO_OFF, self->vm.cookie);
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_GPA_HI_OFF, 0);
		pv_cap_write(&self->vm, 0, PVIOMMU_CAP_CONTROL_OFF, PVIOMMU_CMD_RESET);
		sweep.was = pv_fault_disarm();
		/* If a register could not be written, there was no RESET */
		if (pv_running(&self->vm))
			pv_reset(&self->vm);
		expect_reach(&all);
		now = pv_usage_get();
		ASSERT_EQ(0, now.pages_mapped);
		ASSERT_EQ(0, now.mappings);
		ASSERT_EQ(NULL, usage_diff(&stopped, now)) {
			TH_LOG("failure %d/%u: %s", sweep.kind, sweep.nth,
			       usage_diff(&stopped, now));
		}
	}
	pv_fault_report("RESET", &sweep);
	/* In the middle of RESET each chunk of 2 MiB at most is charged, pinned and mapped */
	EXPECT_LT(3 * (LOW_SIZE + PV_HIGH_SIZE) / PV_2M, sweep.count[PV_FAULT_ENGINE]);
	pv_start(&self->vm, 1, 7);
}

/* ---- ioctls of the VMM ---------------------------------------------------------- */

/* MAP_DMA, with the endpoint in @domain */
#define sweep_map_dma(domain) do {							\
	struct pv_region *high = &self->vm.high;					\
	struct pv_usage __without, __now;						\
	struct pv_reach __reach, __with;						\
	struct pv_fault_sweep __sweep;							\
	__u64 __removed;								\
	int __ret;									\
											\
	pv_attach(self->r, self->ep, domain);						\
	__with = reach(&self->vm);							\
	ASSERT_EQ(0, pv_region_unmap(&self->vm, high));					\
	__without = pv_usage_get();							\
	__reach = reach(&self->vm);							\
	for (__sweep = (struct pv_fault_sweep) {}; pv_fault_next(&__sweep);) {		\
		ASSERT_TRUE(pv_fault_arm(__sweep.kind, __sweep.nth));			\
		__ret = pv_region_map(&self->vm, high);					\
		__sweep.was = pv_fault_disarm();					\
		expect_reach(__ret ? &__reach : &__with);				\
		__removed = 0;								\
		ASSERT_EQ(0, vfio_unmap_dma(self->vm.container, high->gpa, high->size,	\
					    &__removed));				\
		ASSERT_EQ(__ret ? 0 : high->size, __removed);				\
		expect_reach(&__reach);							\
		ASSERT_TRUE(!__ret || __sweep.was);					\
		__now = pv_usage_get();							\
		ASSERT_EQ(NULL, usage_diff(&__without, __now)) {			\
			TH_LOG("failure %d/%u: %s", __sweep.kind, __sweep.nth,		\
			       usage_diff(&__without, __now));				\
		}									\
	}										\
	EXPECT_LT(0, pv_fault_report("MAP_DMA", &__sweep));				\
	ASSERT_EQ(0, pv_region_map(&self->vm, high));					\
} while (0)

TEST_F_TIMEOUT(fault, map_dma, 3600)
{
	sweep_map_dma(PVIOMMU_DOMAIN_BLOCKED);
	sweep_map_dma(PVIOMMU_DOMAIN_BYPASS);
}

/*
 * UNMAP_DMA of memory that is mapped in two domains, with the next failure of @sweep unless that
 * has not begun. @before and @after are what the guest sees.
 */
#define unmap_dma(sweep, before, after) do {						\
	struct pv_region *__high = &self->vm.high;					\
	struct pv_fault_sweep *__s = sweep;						\
											\
	ASSERT_TRUE(pv_snap_home(self->r, self->ep));					\
	pv_map(self->r, PV_SNAP_D, PV_SNAP_FREE, PV_HIGH, 0x28000, PV_RW);	\
	pv_map_2m(self->r, PV_SNAP_E, PV_SNAP_FREE, PV_HIGH, PV_2M, PV_RW);	\
	*(before) = pv_snap(self->r, self->ep);					\
	ASSERT_EQ(0x28 + PV_SNAP_HOME_SIZE / PV_PAGE, (before)->reach.pages);		\
	ASSERT_TRUE(!__s->nth || pv_fault_arm(__s->kind, __s->nth));			\
	vfio_unmap_dma(self->vm.container, __high->gpa, __high->size, NULL);		\
	if (__s->nth)									\
		__s->was = pv_fault_disarm();						\
	*(after) = pv_snap(self->r, self->ep);						\
	vfio_unmap_dma(self->vm.container, __high->gpa, __high->size, NULL);		\
	ASSERT_EQ(0, pv_region_map(&self->vm, __high));					\
} while (0)

TEST_F_TIMEOUT(fault, unmap_dma, 3600)
{
	struct pv_snap before, after, now;
	struct pv_fault_sweep sweep = {};

	unmap_dma(&sweep, &before, &after);
	while (pv_fault_next(&sweep)) {
		unmap_dma(&sweep, &before, &now);
		ASSERT_TRUE(pv_snap_same(&now, &after) ||
			    (sweep.was && pv_snap_same(&now, &before))) {
			TH_LOG("failure %d/%u", sweep.kind, sweep.nth);
		}
	}
	EXPECT_LT(0, pv_fault_report("UNMAP_DMA", &sweep));
}

static bool is_one_large_page(const char *hva)
{
	__u64 first = ram_gpa_of(hva), at;

	for (at = 0; at < PV_2M && first + at == ram_gpa_of(hva + at); at += PV_PAGE)
		;
	return at == PV_2M && !(first % PV_2M);
}

/*
 * Half of a large page leaves. The other half stays mapped by small pages. If the IOMMU's table
 * could not be changed, all of the page is unmapped, and the event names all of it.
 */
TEST_F_TIMEOUT(fault, part_of_a_large_page, 3600)
{
	char *hva = pv_mem(&self->vm, PV_HIGH);
	struct pv_region half = {
		.gpa = 0x30000000, .size = PV_2M / 2, .hva = hva, .writable = true,
	};
	struct pv_region rest = {
		.gpa = half.gpa + half.size, .size = PV_2M / 2, .hva = hva + half.size,
		.writable = true,
	};
	unsigned int whole = 0, in_part = 0;
	struct pv_reach without, now;
	struct pv_fault_sweep sweep;
	struct pviommu_event ev;
	__u64 iova = PV_SNAP_FREE, left;
	bool large;

	memset(hva, 1, PV_2M);
	large = is_one_large_page(hva);
	ASSERT_EQ(0, pv_region_map(&self->vm, &half));
	ASSERT_EQ(0, pv_region_map(&self->vm, &rest));
	ASSERT_TRUE(pv_snap_home(self->r, self->ep));
	pv_attach(self->r, self->ep, PV_SNAP_E);
	without = reach(&self->vm);
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		left = pv_state(self->r).pages_mapped;
		pv_map_2m(self->r, PV_SNAP_E, iova, half.gpa, PV_2M, PV_RW);
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		vfio_unmap_dma(self->vm.container, rest.gpa, rest.size, NULL);
		sweep.was = pv_fault_disarm();
		/* The first call may have failed early */
		vfio_unmap_dma(self->vm.container, rest.gpa, rest.size, NULL);
		left = pv_state(self->r).pages_mapped - left;
		now = reach(&self->vm);
		ASSERT_EQ(without.pages + left, now.pages);
		ASSERT_TRUE(pv_event_next(&self->vm, &ev));
		EXPECT_EQ(PVIOMMU_EV_REVOKED, ev.type);
		if (left) {
			ASSERT_EQ(256, left);
			EXPECT_EQ(iova + half.size, ev.addr);
			EXPECT_EQ(rest.gpa, ev.gpa);
			EXPECT_EQ(rest.size, ev.size);
			in_part++;
		} else {
			EXPECT_EQ(iova, ev.addr);
			EXPECT_EQ(half.gpa, ev.gpa);
			EXPECT_EQ(PV_2M, ev.size);
			whole++;
		}
		EXPECT_FALSE(pv_event_next(&self->vm, &ev));
		pv_unmap(self->r, PV_SNAP_E, iova, PV_2M);
		pv_inv(self->r, PV_SNAP_E);
		expect_reach(&without);
		ASSERT_EQ(0, pv_region_map(&self->vm, &rest));
	}
	pv_fault_report("UNMAP_DMA of a part", &sweep);
	EXPECT_LT(0, in_part);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &rest));
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &half));
	/* Small pages can go one by one */
	if (!large)
		SKIP(return, "the kernel had no large page to give");
	EXPECT_LT(0, whole);
}

TEST_F(fault, get_info)
{
	struct {
		struct vfio_iommu_type1_info info;
		char caps[256];
	} arg;
	struct pv_usage before = pv_usage_get(), now;
	struct pv_fault_sweep sweep;
	int ret;

	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		memset(&arg, 0, sizeof(arg));
		arg.info.argsz = sizeof(arg);
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = ioctl(self->vm.container, VFIO_IOMMU_GET_INFO, &arg);
		sweep.was = pv_fault_disarm();
		EXPECT_TRUE(!ret || sweep.was);
	}
	now = pv_usage_get();
	EXPECT_EQ(NULL, usage_diff(&before, now));
	EXPECT_LT(0, pv_fault_report("GET_INFO", &sweep));
}

/* ---- opening a VM ----------------------------------------------------------------- */

/*
 * Joining a container, the first step of opening a VM. MAP_DMA, the next one, has a test of its
 * own. Opening a device can't be tested: it calls ACPI, which does not survive failures of its
 * allocations.
 */
TEST_F_TIMEOUT(fault, join, 3600)
{
	struct pv_usage before, now;
	struct pv_fault_sweep sweep;
	struct pv_vm vm;
	int ret;

	pv_vm_close(&self->vm);
	before = pv_usage_get();
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_EQ(0, pv_vm_init(&vm, 1, LOW_SIZE));
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = pv_vm_open_container(&vm);
		sweep.was = pv_fault_disarm();
		ASSERT_TRUE(!ret || sweep.was);
		pv_vm_close(&vm);
		now = pv_usage_get();
		ASSERT_EQ(NULL, pv_usage_diff(&before, &now)) {
			TH_LOG("failure %d/%u: %s", sweep.kind, sweep.nth,
			       pv_usage_diff(&before, &now));
		}
		ASSERT_EQ(0, pv_vm_count());
	}
	EXPECT_LT(0, pv_fault_report("joining a container", &sweep));
	ASSERT_EQ(0, pv_vm_open(&self->vm, 1, LOW_SIZE));
}

TEST_HARNESS_MAIN
