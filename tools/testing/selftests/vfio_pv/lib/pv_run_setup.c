// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opens the VMs of a run, and describes them to the model.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pv_ctl.h"
#include "pv_op.h"
#include "pv_run.h"
#include "pv_sys.h"

static void add_region(struct run *run, __u64 gpa, __u64 size, void *hva, bool writable, bool ram)
{
	run->model.regions[run->model.nr_regions++] = (struct model_region) {
		.gpa = gpa, .size = size, .hva = hva, .writable = writable, .ram = ram,
		.present = true,
	};
}

static const struct {
	__u64 gpa, size;
	__u32 prot;
} grants[LENT_GRANTS] = {
	{ 0, PV_2M, PV_R },
	{ PV_2M, PV_2M, PV_RW },
	{ PV_ROM, PV_ROM_SIZE, PV_RW },
	{ PV_HIGH, PV_HIGH_SIZE, PV_RW },
};

bool run_add_grant(struct run *run, unsigned int i, __u32 from)
{
	char text[256];

	run->model.grants[i] = (struct model_grant) {
		.vm = from, .gpa = grants[i].gpa, .last = grants[i].gpa + grants[i].size - 1,
		.prot = grants[i].prot, .present = true,
	};
	if (pv_ctl(text, sizeof(text), "grant add from %u to %u gpa %llu size %llu access %s",
		   from, run->self, grants[i].gpa, grants[i].size,
		   grants[i].prot == PV_RW ? "rw" : "r"))
		return false;
	run->grants[i] = pv_ctl_value(text, NULL, "grant");
	return run->grants[i] > 0;
}

/* After the slots: lent memory, with a hole, and read-only in two ways */
bool run_borrow(struct run *run, __u32 from)
{
	struct pv_region *lent[] = { &run->owner.low, &run->owner.high, &run->owner.rom };
	unsigned int i;

	run->model.nr_regions = FIRST_LENT;
	for (i = 0; i < LENT; i++) {
		add_region(run, lent[i]->gpa, lent[i]->size, lent[i]->hva, lent[i]->writable, true);
		run->model.regions[FIRST_LENT + i].vm = from;
	}
	run->model.nr_grants = ARRAY_SIZE(grants);
	for (i = 0; i < ARRAY_SIZE(grants); i++)
		if (!run_add_grant(run, i, from))
			return false;
	return true;
}

/* Regions that are there from the start, and slots, which are not */
static bool add_memory(struct run *run)
{
	struct pv_region *fixed[] = { &run->vm.low, &run->vm.high, &run->vm.rom, &run->vm.bar };
	unsigned int i;

	for (i = 0; i < FIRST_SLOT; i++)
		add_region(run, fixed[i]->gpa, fixed[i]->size, fixed[i]->hva, fixed[i]->writable,
			   fixed[i] != &run->vm.bar);
	/* The regions that pv_kvm_open() has told KVM of */
	run->model.regions[0].kvm = run->kvm.vm >= 0;
	run->model.regions[1].kvm = run->kvm.vm >= 0;
	run->slots = mmap(NULL, SLOTS * SLOT_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (run->slots == MAP_FAILED)
		return false;
	/* So that some large pages are made of scattered pages */
	madvise(run->slots, SLOTS * SLOT_SIZE / 2, MADV_NOHUGEPAGE);
	for (i = 0; i < SLOTS; i++) {
		add_region(run, SLOTS_GPA + i * SLOT_SIZE, SLOT_SIZE, run->slots + i * SLOT_SIZE,
			   i != 5, true);
		run->model.regions[FIRST_SLOT + i].present = false;
	}
	return true;
}

/* Describe the machine to the model; what depends on it comes from PROBE */
static bool learn(struct run *run, unsigned int dev)
{
	struct model_endpoint *ep = &run->model.endpoints[dev];
	struct pviommu_region *regions;
	struct pviommu_probe *probe = pv_mem(&run->vm, PV_AT_REPLY);
	__u32 i;

	if (__pv_exec(&run->vm.ring[0],
		      pv_op_buf(PVIOMMU_OP_PROBE, run->vm.dev[dev].id, PV_AT_REPLY, PV_PAGE)))
		return false;
	run->model.ops++;
	ep->id = probe->endpoint;
	ep->group = probe->group;
	ep->domain = probe->domain;
	ep->pasid_bits = probe->pasid_bits;
	ep->pasids[1] = PVIOMMU_DOMAIN_BLOCKED;
	if (ep->pasid_bits > 1) {
		printf("# PASIDs of %u bits are more than the model knows\n", ep->pasid_bits);
		return false;
	}
	run->model.window_start = probe->window_start;
	run->model.window_last = probe->window_last;
	run->model.nr_reserved = probe->nr_regions;
	regions = (void *)(probe + 1);
	for (i = 0; i < probe->nr_regions; i++) {
		run->model.reserved[i].start = regions[i].start;
		run->model.reserved[i].last = regions[i].last;
	}
	return true;
}

static void set_arenas(struct model *m)
{
	m->arenas[0] = (struct model_arena) { MAIN_IOVA, MAIN_PAGES };
	m->arenas[1] = (struct model_arena) { 0, 1024 };
	m->arenas[2] = (struct model_arena) { 0xfee00000 - 0x200000, 512 };
	m->arenas[3] = (struct model_arena) { m->window_last + 1 - 0x400000, 1024 };
}

/* Pages for tables of each level, some in memory that is unplugged or read-only */
static void add_tables(struct run *run)
{
	const struct { int level; unsigned int low, high, slots; } pools[] = {
		{ 5, 1, 0, 1 }, { 4, 2, 0, 1 }, { 3, 2, 1, 1 }, { 2, 3, 1, 2 }, { 1, 7, 2, 2 },
	};
	__u64 low = FUZZ_TABLES, high = PV_HIGH + PV_2M, slot = SLOTS_GPA;
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(pools); i++) {
		for (n = 0; n < pools[i].low; n++, low += PV_PAGE)
			fuzz_add_table(&run->fuzz, low, pools[i].level);
		for (n = 0; n < pools[i].high; n++, high += PV_PAGE)
			fuzz_add_table(&run->fuzz, high, pools[i].level);
		for (n = 0; n < pools[i].slots; n++, slot += SLOT_SIZE)
			fuzz_add_table(&run->fuzz, slot, pools[i].level);
	}
	/* This table stays empty, as CPUs can't write there */
	fuzz_add_table(&run->fuzz, PV_ROM, 5);
}

bool run_start(struct run *run, __u64 without)
{
	struct pviommu_start *start = pv_start_prepare(&run->vm, RINGS, ORDER);

	/* Other features are for other tests */
	start->features &= PVIOMMU_F_MAP_LIST | PVIOMMU_F_EVENTS | PVIOMMU_F_BYPASS |
			   PVIOMMU_F_STATS | PVIOMMU_F_MEM_TYPES | PVIOMMU_F_FOREIGN |
			   PVIOMMU_F_DIRTY | PVIOMMU_F_RELEASE | PVIOMMU_F_RECOVER |
			   PVIOMMU_F_TABLES | PVIOMMU_F_PASID;
	if (!run->tables)
		without |= PVIOMMU_F_TABLES;
	start->features &= ~without;
	model_start(&run->model, start->features);
	run->model.iface_pages = pv_iface_pages(&run->vm);
	run->events_lost = 0;
	if (pv_command(&run->vm, PVIOMMU_CMD_START, PV_AT_START))
		return false;
	run->model.tracked = start->out_flags & PVIOMMU_START_TRACKED;
	return true;
}

int run_open_owner(struct run *run, __u32 *id)
{
	int ret = pv_vm_init_from(&run->owner, run->owner_dev, 1, OWNER_SIZE) ?:
		  pv_vm_open_container(&run->owner) ?: pv_vm_add_memory(&run->owner) ?:
		  pv_vm_open_devices(&run->owner);

	*id = ret ? 0 : pv_ctl_vm_of(getpid());
	return ret;
}

/* Open the VM with KVM, if there is KVM */
static int open_rest(struct run *run)
{
	int ret = pv_kvm_open_rest(&run->kvm, &run->vm);

	if (ret != -ENODEV || run->kvm.vm >= 0)
		return ret ?: pv_vcpu_open(&run->cpu, &run->kvm, &run->vm);
	return pv_vm_add_memory(&run->vm) ?: pv_vm_open_devices(&run->vm);
}

/* The last of several devices is the owner's. 0, or -ENODEV without any device */
int run_open(struct run *run, __u64 low_size, __u32 *owner)
{
	int ret;

	ret = pv_vm_init(&run->vm, MODEL_ENDPOINTS, low_size);
	if (ret)
		return ret;
	if (run->vm.nr_devs > 1 && pv_ctl_found()) {
		run->owner_dev = --run->vm.nr_devs;
		ret = run_open_owner(run, owner);
	}
	ret = ret ?: open_rest(run);
	if (!ret && run->owner_dev)
		run->self = pv_ctl_vm_of(getpid());
	return ret;
}

bool run_set_up(struct run *run, __u32 owner)
{
	int i;

	if (!run->self)
		run->self = pv_newest_vm();
	run->model.max_domains = MAX_DOMAINS;
	run->model.max_mappings = pv_param_get("max_mappings");
	run->doorbell_pages = "8192";
	if (!pv_param_set("max_domains", "14") || !pv_param_set("release_ms", "1") ||
	    !add_memory(run) || (owner && !run_borrow(run, owner)) || !run_start(run, 0))
		return false;
	run->fuzz.model = &run->model;
	add_tables(run);
	run->model.nr_endpoints = run->vm.nr_devs;
	for (i = 0; i < run->vm.nr_devs; i++)
		if (!learn(run, i))
			return false;
	if (__pv_exec(&run->vm.ring[0], pv_op(PVIOMMU_OP_FEATURES)))
		return false;
	run->model.ops++;
	run->model.features = run->vm.ring[0].last.result;
	run->kicks = run->vm.ring[0].kicks;
	set_arenas(&run->model);
	run->fuzz.state = run->seed;
	run->fuzz.vm = &run->vm;
	pv_cov_open(&run->cov);
	return true;
}

