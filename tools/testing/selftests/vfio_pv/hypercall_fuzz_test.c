// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams of random ops, and a model that foretells what becomes of each.
 *
 *   hypercall_fuzz_test [--seed N] [--ops N] [--seconds N] [--guided 0] [--sweep N]
 *			[harness options]
 *
 * PV_FUZZ_OPS in the environment is another default for --ops.
 *
 * With two devices or more, the last one's VM lends memory to the other VM. With KVM,
 * there is a CPU that stores to tables.
 *
 * Batches of ops go to four rings with one doorbell. Every op must end as the model
 * says, to the last bit: status, result, answer. Then LOOKUP and, now and then, DMA
 * must see what the model sees. Between batches entries of tables change, memory comes and
 * goes, or is given back page by page, grants too, and the VM that they are from, devices
 * are closed and opened, quotas and the doorbell's budget change, the interface restarts.
 *
 * Where the kernel tells what was reached in the host's modules, streams that reached
 * something new are kept, and every other one is a variation of one of these.
 *
 * The seed, which is printed, decides everything, together with what such streams
 * reach. What fails is printed with the ops of the same domain before it in the batch.
 */
#include <sys/mman.h>
#include <time.h>

#include "lib/edu.h"
#include "lib/pv_cov.h"
#include "lib/pv_ctl.h"
#include "lib/pv_fuzz.h"
#include "lib/pv_kvm.h"
#include "lib/pv_test.h"

#define RINGS		MODEL_RINGS
#define ORDER		PVIOMMU_RING_ORDER_MAX
#define RING_OPS	1024
#define MAX_KICKS	200000

/* Below 256 MiB, where edu devices reach, and below MSIs, and the end of the window */
#define MAIN_IOVA	0x4000000ULL
#define MAIN_PAGES	4096
#define SCRATCH_IOVA	(MAIN_IOVA + (MAIN_PAGES - 1) * PV_PAGE)
#define SCRATCH		(PV_DATA + 0x1000)	/* GPA; reached in bypass as well */

#define OWNER_SIZE	(8ULL << 20)

/* Memory that comes and goes: slots that touch, so that large pages span them */
#define SLOTS		8
#define SLOT_SIZE	0x100000ULL
#define SLOTS_GPA	0x200000000ULL
#define FIRST_SLOT	4			/* among the regions of the model */
#define FIRST_LENT	(FIRST_SLOT + SLOTS)
#define LENT		3

#define MAX_DOMAINS	14
#define TAG		64			/* bytes of a transfer */
#define EDU_REACH	0x10000000ULL

static struct {
	__u64 seed;
	__u64 ops;
	__u64 seconds;
	__u64 guided;
	__u64 sweep;		/* after so many rounds */
} options = { .ops = 1000000, .guided = 1, .sweep = 200 };

/* An op, and what must become of it */
struct entry {
	struct pviommu_op sent, want;
	struct model_reply reply;
	struct pviommu_op *slot;
};

struct run {
	struct pv_vm owner;	/* of memory that the other VM may map */
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_vcpu cpu;
	__u32 self;		/* the VM's number */
	int owner_dev;		/* its number among all; 0: there is no owner */
	long long grants[MODEL_GRANTS];
	struct model model;
	struct fuzz fuzz;
	struct pv_cov cov;
	char *slots;		/* memory of the slots */
	unsigned int nr;	/* ops in the batch */
	unsigned int in_ring[RINGS];
	unsigned int batches, lookups, transfers, memory, released, restarts;
	unsigned int entries, stores, bad, recalls;
	unsigned int new_places;	/* that the batch has reached */
	__u64 kicks;
	const char *doorbell_pages;
	/* How often an op was done and refused, by the bytes of its number */
	unsigned int done[10][4], refused[10][4];
	/* Events: what has come since it was last asked for */
	__u32 events_lost;
	unsigned int bad_seen, gone_seen, gone_sorted;
	bool look_where;	/* counters differ, which does not tell where */
	bool strange;		/* one that should not have come */
	bool done_seen;
	__u64 done_token;
	struct entry batch[RINGS * RING_OPS];
};

FIXTURE(fuzz)
{
	struct pv_usage before;
	struct run *run;
};

/* ---- setting up ------------------------------------------------------ */

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
} grants[] = {
	{ 0, PV_2M, PV_R },
	{ PV_2M, PV_2M, PV_RW },
	{ PV_ROM, PV_ROM_SIZE, PV_RW },
	{ PV_HIGH, PV_HIGH_SIZE, PV_RW },
};

static bool add_grant(struct run *run, unsigned int i, __u32 from)
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

/* After the slots: what is lent, some of it with a hole, some read-only in two ways */
static bool borrow(struct run *run, __u32 from)
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
		if (!add_grant(run, i, from))
			return false;
	return true;
}

/* What is there from the start, and slots that are not */
static bool add_memory(struct run *run)
{
	struct pv_region *fixed[] = { &run->vm.low, &run->vm.high, &run->vm.rom, &run->vm.bar };
	unsigned int i;

	for (i = 0; i < FIRST_SLOT; i++)
		add_region(run, fixed[i]->gpa, fixed[i]->size, fixed[i]->hva, fixed[i]->writable,
			   fixed[i] != &run->vm.bar);
	/* As pv_kvm_open() has told it */
	run->model.regions[0].kvm = run->kvm.vm >= 0;
	run->model.regions[1].kvm = run->kvm.vm >= 0;
	run->slots = mmap(NULL, SLOTS * SLOT_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (run->slots == MAP_FAILED)
		return false;
	/* So that large pages are made of scattered ones, in part */
	madvise(run->slots, SLOTS * SLOT_SIZE / 2, MADV_NOHUGEPAGE);
	for (i = 0; i < SLOTS; i++) {
		add_region(run, SLOTS_GPA + i * SLOT_SIZE, SLOT_SIZE, run->slots + i * SLOT_SIZE,
			   i != 5, true);
		run->model.regions[FIRST_SLOT + i].present = false;
	}
	return true;
}

/* What the model has to be told: all that depends on the machine comes from PROBE */
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

/* So many pages of each level, some where memory comes and goes or is read-only */
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
	/* Empty for good, as nobody but a device could write there */
	fuzz_add_table(&run->fuzz, PV_ROM, 5);
}

static bool start(struct run *run, __u64 without)
{
	struct pviommu_start *start = pv_start_prepare(&run->vm, RINGS, ORDER);

	/* What ops of other features do is for other tests to say */
	start->features &= PVIOMMU_F_MAP_LIST | PVIOMMU_F_EVENTS | PVIOMMU_F_BYPASS |
			   PVIOMMU_F_STATS | PVIOMMU_F_MEM_TYPES | PVIOMMU_F_FOREIGN |
			   PVIOMMU_F_DIRTY | PVIOMMU_F_RELEASE | PVIOMMU_F_RECOVER |
			   PVIOMMU_F_TABLES;
	start->features &= ~without;
	model_start(&run->model, start->features);
	run->model.iface_pages = pv_iface_pages(&run->vm);
	run->events_lost = 0;
	if (pv_command(&run->vm, PVIOMMU_CMD_START, PV_AT_START))
		return false;
	run->model.tracked = start->out_flags & PVIOMMU_START_TRACKED;
	return true;
}

static int open_owner(struct run *run, __u32 *id)
{
	int ret = pv_vm_init_from(&run->owner, run->owner_dev, 1, OWNER_SIZE) ?:
		  pv_vm_open_container(&run->owner) ?: pv_vm_add_memory(&run->owner) ?:
		  pv_vm_open_devices(&run->owner);

	*id = ret ? 0 : pv_ctl_vm_of(getpid());
	return ret;
}

/* With KVM if there is one */
static int open_rest(struct run *run)
{
	int ret = pv_kvm_open_rest(&run->kvm, &run->vm);

	if (ret != -ENODEV || run->kvm.vm >= 0)
		return ret ?: pv_vcpu_open(&run->cpu, &run->kvm, &run->vm);
	return pv_vm_add_memory(&run->vm) ?: pv_vm_open_devices(&run->vm);
}

/* The last of several devices is the owner's; 0, or -ENODEV without any device */
static int open_vms(struct run *run, __u32 *owner)
{
	int ret;

	ret = pv_vm_init(&run->vm, MODEL_ENDPOINTS, PV_LOW_SIZE);
	if (ret)
		return ret;
	if (run->vm.nr_devs > 1 && pv_ctl_found()) {
		run->owner_dev = --run->vm.nr_devs;
		ret = open_owner(run, owner);
	}
	ret = ret ?: open_rest(run);
	if (!ret && run->owner_dev)
		run->self = pv_ctl_vm_of(getpid());
	return ret;
}

static bool set_up(struct run *run, __u32 owner)
{
	int i;

	run->model.max_domains = MAX_DOMAINS;
	run->model.max_mappings = pv_param_get("max_mappings");
	run->doorbell_pages = "8192";
	if (!pv_param_set("max_domains", "14") || !pv_param_set("release_ms", "1") ||
	    !add_memory(run) || (owner && !borrow(run, owner)) || !start(run, 0))
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
	run->fuzz.state = options.seed;
	run->fuzz.vm = &run->vm;
	pv_cov_open(&run->cov);
	return true;
}

FIXTURE_SETUP(fuzz)
{
	__u32 owner = 0;
	int ret;

	self->before = pv_begin();
	self->run = mmap(NULL, sizeof(*self->run), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->run);
	self->run->owner.container = -1;
	self->run->kvm = (struct pv_kvm) { -1, -1 };
	self->run->cpu = (struct pv_vcpu) { .fd = -1, .run = MAP_FAILED };
	ret = open_vms(self->run, &owner);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pv_vm_add_bar(&self->run->vm, 0));
	ASSERT_TRUE(set_up(self->run, owner));
}

FIXTURE_TEARDOWN(fuzz)
{
	pv_params_restore();
	pv_cov_close(&self->run->cov);
	model_exit(&self->run->model);
	pv_vcpu_close(&self->run->cpu);
	pv_vm_close(&self->run->vm);
	pv_kvm_close(&self->run->kvm);
	pv_vm_close(&self->run->owner);
	munmap(self->run->slots, SLOTS * SLOT_SIZE);
	munmap(self->run, sizeof(*self->run));
	pv_expect_unchanged(&self->before);
}

/* ---- events ------------------------------------------------------------ */

static void strange_event(struct run *run, const struct pviommu_event *ev)
{
	printf("# batch %u, seed %llu: event %u flags %x domain %u vm %u addr %llx gpa %llx size %llx\n",
	       run->batches, options.seed, ev->type, ev->flags, ev->domain, ev->vm, ev->addr,
	       ev->gpa, ev->size);
	run->strange = true;
}

/* Those about bad entries come in the order of the ops; there may be more than find room */
static void see_bad(struct run *run, const struct pviommu_event *ev)
{
	const struct model_bad *want = &run->model.bad[run->bad_seen];

	if (run->bad_seen < run->model.nr_bad && ev->domain == want->domain &&
	    PVIOMMU_EV_REASON(ev->flags) == want->reason && ev->addr == want->iova &&
	    ev->size == want->size && ev->gpa == want->gpa) {
		run->bad_seen++;
		return;
	}
	strange_event(run, ev);
	if (run->bad_seen < run->model.nr_bad)
		printf("# wanted: number %u of %u, reason %u domain %u addr %llx gpa %llx size %llx\n",
		       run->bad_seen, run->model.nr_bad, want->reason, want->domain, want->iova,
		       want->gpa, want->size);
}

static int compare_gone(const void *a, const void *b)
{
	const struct model_gone *x = a, *y = b;

	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	return x->iova < y->iova ? -1 : x->iova > y->iova;
}

/* Each page that is named must have been mapped so until now */
static void see_gone(struct run *run, const struct pviommu_event *ev)
{
	struct model *m = &run->model;
	__u64 at;

	if (run->gone_sorted != m->nr_gone)
		qsort(m->gone, m->nr_gone, sizeof(*m->gone), compare_gone);
	run->gone_sorted = m->nr_gone;
	for (at = 0; at < ev->size; at += PV_PAGE) {
		const struct model_gone key = { .domain = ev->domain, .iova = ev->addr + at };
		const struct model_gone *gone = bsearch(&key, m->gone, m->nr_gone, sizeof(*gone),
							compare_gone);

		if (!gone || gone->vm != ev->vm || gone->gfn != (ev->gpa + at) / PV_PAGE) {
			strange_event(run, ev);
			return;
		}
		run->gone_seen++;
	}
}

/* All that have come; true if none was lost since it was last asked */
static bool drain_events(struct run *run)
{
	__u32 lost = run->events_lost;
	struct pviommu_event ev;

	while (pv_event_next(&run->vm, &ev)) {
		if (ev.type == PVIOMMU_EV_FAULT && ev.flags & PVIOMMU_EV_F_ENTRY) {
			see_bad(run, &ev);
		} else if (ev.type == PVIOMMU_EV_REVOKED) {
			see_gone(run, &ev);
		} else if (ev.type == PVIOMMU_EV_RELEASED) {
			run->done_seen = true;
			run->done_token = ev.addr;
		}
	}
	run->events_lost = pv_events(&run->vm)->lost;
	return run->events_lost == lost;
}

/* After ops and stores: all events about bad entries that found room must have come */
static bool bad_are_good(struct run *run)
{
	bool all = drain_events(run), good;

	good = !run->strange && (!all || run->bad_seen == run->model.nr_bad);
	if (!good && !run->strange)
		printf("# batch %u, seed %llu: %u events about bad entries, wanted %u\n",
		       run->batches, options.seed, run->bad_seen, run->model.nr_bad);
	run->bad += run->bad_seen;
	run->bad_seen = 0;
	run->model.nr_bad = 0;
	return good;
}

/* After memory has gone: the same about pages that could be reached until then */
static bool gone_are_good(struct run *run)
{
	bool all = drain_events(run), good;

	good = !run->strange && (!all || run->gone_seen == run->model.nr_gone);
	if (!good && !run->strange)
		printf("# batch %u, seed %llu: events name %u pages that have gone, wanted %u\n",
		       run->batches, options.seed, run->gone_seen, run->model.nr_gone);
	run->gone_seen = 0;
	run->gone_sorted = 0;
	run->model.nr_gone = 0;
	return good;
}

/* ---- batches ----------------------------------------------------------- */

#define OP_FORMAT "# %s code %04x flags %04x status %u domain %u endpoint %u pasid %x vm %u " \
		  "args %llx %llx %llx %llx result %llx\n"

static void print_op(const char *what, const struct pviommu_op *op)
{
	printf(OP_FORMAT, what, op->code, op->flags, op->status, op->domain, op->endpoint,
	       op->pasid, op->vm, op->raw[0], op->raw[1], op->raw[2], op->raw[3], op->result);
}

static __u64 *entry_at(const struct run *run, __u64 gpa)
{
	const struct model *m = &run->model;
	unsigned int i;

	for (i = 0; i < m->nr_regions; i++)
		if (!m->regions[i].vm && gpa - m->regions[i].gpa < m->regions[i].size)
			return (__u64 *)(m->regions[i].hva + (gpa - m->regions[i].gpa));
	return NULL;
}

/* The entries that translate an IOVA, as they are now */
static void print_walk(const struct run *run, const struct model_domain *d, __u64 iova)
{
	__u64 gpa = d->root, *entry;
	int level;

	for (level = d->levels; level; level--) {
		gpa = (gpa & 0x000ffffffffff000ULL) + (iova >> (12 + 9 * (level - 1))) % 512 * 8;
		entry = entry_at(run, gpa);
		printf("# level %d: at %llx entry %llx\n", level, gpa, entry ? *entry : 0);
		if (!entry || !(*entry & 1) || (level < 4 && *entry & 0x80))
			return;
		gpa = *entry;
	}
}

/* What was done in the same domain; of counters, in any */
static bool may_matter(const struct pviommu_op *op, const struct pviommu_op *bad)
{
	if (bad->code == PVIOMMU_OP_STATS)
		return op->code != PVIOMMU_OP_LOOKUP && (!op->status || op->result);
	return op->domain == bad->domain && (!op->status || op->result);
}

static void complain(const struct run *run, unsigned int bad)
{
	const struct pviommu_op *op = &run->batch[bad].sent;
	unsigned int i;

	printf("# batch %u, op %u of %u, seed %llu\n", run->batches, bad, run->nr, options.seed);
	for (i = bad > 400 ? bad - 400 : 0; i < bad; i++)
		if (may_matter(&run->batch[i].want, &run->batch[bad].sent))
			print_op("before", &run->batch[i].want);
	print_op("sent  ", &run->batch[bad].sent);
	print_op("wanted", &run->batch[bad].want);
	print_op("got   ", run->batch[bad].slot);
	if (op->code == PVIOMMU_OP_LOOKUP && op->domain < MODEL_DOMAINS &&
	    run->model.domains[op->domain].levels)
		print_walk(run, &run->model.domains[op->domain], op->lookup.iova);
}

static void add(struct run *run, unsigned int ring, struct pviommu_op op)
{
	struct entry *entry = &run->batch[run->nr++];

	op.status = PVIOMMU_STATUS_PENDING;
	entry->sent = op;
	entry->want = op;
	model_execute(&run->model, ring, &entry->want, &entry->reply);
	entry->slot = pv_push(&run->vm.ring[ring], op);
	run->in_ring[ring]++;
}

static bool all_done(const struct run *run)
{
	unsigned int i;

	for (i = 0; i < RINGS; i++)
		if (__atomic_load_n(&run->vm.ring[i].hdr->cons, __ATOMIC_ACQUIRE) !=
		    run->vm.ring[i].hdr->prod)
			return false;
	return true;
}

/* Rings are served in order, so all ops are executed in the order of the batch */
static bool kick(struct run *run)
{
	unsigned int i;

	pv_cov_drop(&run->cov);
	for (i = 0; i < MAX_KICKS && !all_done(run); i++) {
		pv_cap_write(&run->vm, 0, PVIOMMU_CAP_DOORBELL_OFF,
			     PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL));
		run->new_places += pv_cov_take(&run->cov);
	}
	run->kicks += i;
	for (i = 0; i < RINGS; i++)
		if (run->vm.ring[i].hdr->error)
			printf("# ring %u stopped: %u\n", i, run->vm.ring[i].hdr->error);
	return all_done(run);
}

static bool same_stats(const struct pviommu_stats *got, const struct pviommu_stats *want)
{
	return got->ops == want->ops && got->ops_failed == want->ops_failed &&
	       got->pages_mapped == want->pages_mapped &&
	       got->pages_pinned == want->pages_pinned && got->domains == want->domains &&
	       got->mappings == want->mappings;
}

static bool same_probe(const struct pviommu_probe *got, const struct pviommu_probe *want)
{
	return got->endpoint == want->endpoint && got->group == want->group &&
	       got->domain == want->domain && got->nr_regions == want->nr_regions &&
	       got->window_start == want->window_start && got->window_last == want->window_last;
}

/* Answers of full length, at their places */
static bool reply_is_good(struct run *run, const struct entry *entry)
{
	const struct pviommu_op *op = &entry->sent;

	if (entry->reply.code == PVIOMMU_OP_DIRTY_READ)
		return op->dirty.gpa >= PV_DATA ||
		       !memcmp(pv_mem(&run->vm, op->dirty.gpa), entry->reply.dirty,
			       (op->dirty.size / PV_PAGE + 63) / 64 * 8);
	if (!entry->reply.code || op->buf.gpa >= PV_DATA)
		return true;
	if (entry->reply.code == PVIOMMU_OP_STATS && op->buf.size >= sizeof(struct pviommu_stats))
		return same_stats(pv_mem(&run->vm, op->buf.gpa), &entry->reply.stats);
	if (entry->reply.code == PVIOMMU_OP_PROBE && op->buf.size >= sizeof(struct pviommu_probe))
		return same_probe(pv_mem(&run->vm, op->buf.gpa), &entry->reply.probe);
	return true;
}

static void print_stats(const char *what, const struct pviommu_stats *stats)
{
	printf("# %s: ops %llu failed %llu mapped %llu pinned %llu domains %llu mappings %llu\n",
	       what, stats->ops, stats->ops_failed, stats->pages_mapped, stats->pages_pinned,
	       stats->domains, stats->mappings);
}

static void count(struct run *run, const struct pviommu_op *op)
{
	unsigned int group = op->code >> 8, nr = op->code & 0xff;

	if (group >= ARRAY_SIZE(run->done) || nr >= ARRAY_SIZE(run->done[0]))
		return;
	if (op->status)
		run->refused[group][nr]++;
	else
		run->done[group][nr]++;
}

static bool batch_is_good(struct run *run)
{
	unsigned int i;

	for (i = 0; i < run->nr; i++) {
		struct entry *entry = &run->batch[i];

		count(run, &entry->want);
		if (!memcmp(entry->slot, &entry->want, sizeof(entry->want)) &&
		    reply_is_good(run, entry))
			continue;
		complain(run, i);
		if (entry->reply.code == PVIOMMU_OP_STATS) {
			print_stats("wanted", &entry->reply.stats);
			print_stats("got", pv_mem(&run->vm, entry->sent.buf.gpa));
			run->look_where = true;
		}
		return false;
	}
	return true;
}

/* A stream that came to new places will be varied */
static void keep_if_new(struct run *run)
{
	struct fuzz_stream *stream;
	unsigned int i;

	if (!run->new_places || !options.guided)
		return;
	stream = fuzz_keep(&run->fuzz);
	for (i = 0; i < run->nr && i < FUZZ_STREAM; i++)
		stream->ops[stream->nr++] = run->batch[i].sent;
}

/* Have the batch executed and compared; then it is empty again */
static bool submit(struct run *run)
{
	bool good;

	run->new_places = 0;
	good = kick(run) && batch_is_good(run) && bad_are_good(run);
	keep_if_new(run);
	run->batches++;
	run->nr = 0;
	memset(run->in_ring, 0, sizeof(run->in_ring));
	return good;
}

static bool submit_one(struct run *run, struct pviommu_op op, __u32 *status)
{
	add(run, 0, op);
	*status = run->batch[0].want.status;
	return submit(run);
}

/* ---- comparing ----------------------------------------------------------- */

/* Where the ops of the last batch began and ended, and anywhere */
static bool look_up(struct run *run, const __u64 *iovas, const __u32 *domains, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		add(run, i * RINGS / n, pv_op_lookup(domains[i], iovas[i]));
	run->lookups += n;
	return submit(run);
}

/* Remember some of the batch's addresses before it is gone */
static unsigned int suspects(struct run *run, __u64 *iovas, __u32 *domains, unsigned int max)
{
	unsigned int n = 0, i;

	for (i = 0; i < run->nr && n + 5 < max; i += 1 + fuzz_below(&run->fuzz, 8)) {
		const struct pviommu_op *op = &run->batch[i].sent;
		__u64 size = op->code == PVIOMMU_OP_UNMAP ? op->unmap.size : op->map.size;
		__u64 at[] = { 0, size - 1, size, -1ULL, size / 2 };
		unsigned int k;

		if (op->code == PVIOMMU_OP_INVALIDATE)
			size = op->inv.size;
		else if (op->code != PVIOMMU_OP_MAP && op->code != PVIOMMU_OP_UNMAP)
			continue;
		for (k = 0; k < ARRAY_SIZE(at); k++, n++) {
			domains[n] = op->domain;
			iovas[n] = op->raw[0] + at[k];
		}
	}
	for (i = 0; i < 64 && n < max; i++, n++) {
		domains[n] = fuzz_domain(&run->fuzz);
		iovas[n] = run->model.domains[domains[n] % MODEL_DOMAINS].levels ?
			   fuzz_table_iova(&run->fuzz) : fuzz_iova(&run->fuzz);
	}
	return n;
}

static bool sweep_range(struct run *run, __u32 domain, __u64 iova, unsigned int npages)
{
	unsigned int p;

	for (p = 0; p < npages; p++) {
		add(run, run->nr * RINGS / RING_OPS, pv_op_lookup(domain, iova + p * PV_PAGE));
		if (run->nr == RING_OPS && !submit(run))
			return false;
	}
	run->lookups += npages;
	return true;
}

#define SWEEP_BLOCKS	6

static bool sweep_domain(struct run *run, __u32 domain)
{
	const struct model_domain *d = &run->model.domains[domain];
	unsigned int i;

	for (i = 0; !d->levels && i < MODEL_ARENAS; i++)
		if (!sweep_range(run, domain, run->model.arenas[i].iova,
				 run->model.arenas[i].npages))
			return false;
	/* A table may lead to much more than that, to a part of which it is enough to look */
	for (i = 0; d->levels && i < d->nr_blocks; i++)
		if ((i < SWEEP_BLOCKS || !fuzz_below(&run->fuzz, d->nr_blocks / SWEEP_BLOCKS)) &&
		    !sweep_range(run, domain, d->blocks[i]->iova, MODEL_BLOCK))
			return false;
	return true;
}

/* Every page of every domain */
static bool sweep(struct run *run)
{
	__u32 d;

	for (d = PVIOMMU_DOMAIN_FIRST; d < MODEL_DOMAINS; d++)
		if (run->model.domains[d].exists && !sweep_domain(run, d))
			return false;
	return submit(run);
}

/* ---- DMA ------------------------------------------------------------------ */

#define NOWHERE		((char *)0)
#define EVERYWHERE	((char *)-1)

/* Which page of guest memory has @tag at @off */
static char *find_tag(struct run *run, unsigned int off, const void *tag)
{
	char *found = NOWHERE;
	unsigned int i;
	__u64 at;

	for (i = 0; i < run->model.nr_regions; i++) {
		const struct model_region *r = &run->model.regions[i];

		for (at = 0; r->ram && r->hva && at < r->size; at += PV_PAGE) {
			if (memcmp(r->hva + at + off, tag, TAG))
				continue;
			memset(r->hva + at + off, 0, TAG);
			found = found ? EVERYWHERE : r->hva + at;
		}
	}
	return found;
}

static void make_tag(struct run *run, __u64 *tag)
{
	unsigned int i;

	for (i = 0; i < TAG / sizeof(*tag); i++)
		tag[i] = fuzz_below(&run->fuzz, ~0ULL);
}

static char *target_page(const struct model_target *target)
{
	return target->region->hva + ((target->gpa & -PV_PAGE) - target->region->gpa);
}

/* Rings and answers are not for devices to write to */
static bool target_is_free(const struct model_target *target)
{
	return target->region->vm || target->gpa >= PV_DATA;
}

/* A page that a device reaches, by which tags come and go */
struct home {
	__u64 iova;
	char *page;
};

/* What a device writes to @iova must arrive where the model says, or nowhere */
static bool dma_write(struct run *run, unsigned int dev, __u64 iova, const struct home *home)
{
	const struct vfio_dev *vfio = &run->vm.dev[dev].vfio;
	struct model_target target;
	char *found, *want;
	__u64 tag[TAG / 8];
	enum model_reach reach;

	reach = model_dma(&run->model, dev, iova, &target);
	if (reach == MODEL_EITHER || (reach == MODEL_MEMORY && !target_is_free(&target)))
		return true;
	want = reach == MODEL_MEMORY && target.prot & PV_W ? target_page(&target) : NOWHERE;
	make_tag(run, tag);
	memcpy(home->page, tag, TAG);
	if (!edu_from_ram(vfio, home->iova, 0, TAG) || !edu_to_ram(vfio, iova + 0x100, 0, TAG))
		return false;
	run->transfers += 2;
	found = find_tag(run, 0x100, tag);
	if (found == want)
		return true;
	printf("# DMA of device %u to 0x%llx in domain %u: reached %p, wanted %p\n", dev, iova,
	       run->model.endpoints[dev].domain, found, want);
	return false;
}

/* What is at a page, a device must be able to read there */
static bool dma_read(struct run *run, unsigned int dev, __u64 iova, const struct home *home)
{
	const struct vfio_dev *vfio = &run->vm.dev[dev].vfio;
	struct model_target target;
	__u64 tag[TAG / 8];

	if (model_dma(&run->model, dev, iova, &target) != MODEL_MEMORY ||
	    !target_is_free(&target) || !(target.prot & PV_R))
		return true;
	make_tag(run, tag);
	memcpy(target_page(&target) + 0x200, tag, TAG);
	if (!edu_from_ram(vfio, iova + 0x200, 512, TAG) ||
	    !edu_to_ram(vfio, home->iova + 0x400, 512, TAG))
		return false;
	run->transfers += 2;
	if (!memcmp(home->page + 0x400, tag, TAG))
		return true;
	printf("# DMA of device %u from 0x%llx in domain %u: not what is at 0x%llx of %u\n", dev,
	       iova, run->model.endpoints[dev].domain, target.gpa, target.region->vm);
	return false;
}

/* A page that is somewhere in the guest's table, for reading and writing; or none */
static bool home_in_table(const struct run *run, unsigned int dev, struct home *home)
{
	const struct model_domain *d = &run->model.domains[run->model.endpoints[dev].domain];
	struct model_target target;
	unsigned int i, n;

	for (i = 0; i < d->nr_blocks && d->blocks[i]->iova < EDU_REACH; i++) {
		for (n = 0; n < MODEL_BLOCK; n++) {
			home->iova = d->blocks[i]->iova + n * PV_PAGE;
			if (model_dma(&run->model, dev, home->iova, &target) != MODEL_MEMORY ||
			    !target_is_free(&target) || (target.prot & PV_RW) != PV_RW)
				continue;
			home->page = target_page(&target);
			return true;
		}
	}
	return false;
}

static bool home_is_mapped(struct run *run, __u32 dom, bool *able)
{
	__u32 status;

	if (!submit_one(run, pv_op_unmap(dom, SCRATCH_IOVA, PV_PAGE), &status) ||
	    !submit_one(run, pv_op_inv(dom), &status) ||
	    !submit_one(run, pv_op_map(dom, SCRATCH_IOVA, SCRATCH, PV_PAGE, PV_RW), &status))
		return false;
	*able = !status;
	return true;
}

/* Attach the device where it reaches such a page; @able: it does */
static bool dma_prepare(struct run *run, unsigned int dev, struct home *home, bool *able)
{
	struct model_endpoint *ep = &run->model.endpoints[dev];
	__u32 dom, status;

	*home = (struct home) { SCRATCH, pv_mem(&run->vm, SCRATCH) };
	*able = ep->domain == PVIOMMU_DOMAIN_BYPASS;
	if (*able)
		return true;
	for (dom = MODEL_DOMAINS - 1; dom >= PVIOMMU_DOMAIN_FIRST; dom--)
		if (run->model.domains[dom].exists && fuzz_below(&run->fuzz, 2))
			break;
	if (dom < PVIOMMU_DOMAIN_FIRST)
		return true;
	if (!submit_one(run, pv_op_attach(ep->id, dom), &status))
		return false;
	if (run->model.domains[dom].levels) {
		*able = home_in_table(run, dev, home);
		return true;
	}
	home->iova = SCRATCH_IOVA;
	return home_is_mapped(run, dom, able);
}

static __u64 dma_iova(struct run *run, unsigned int dev)
{
	const struct model_domain *d = &run->model.domains[run->model.endpoints[dev].domain];

	if (!d->levels)
		return fuzz_iova(&run->fuzz);
	return d->blocks[fuzz_below(&run->fuzz, d->nr_blocks)]->iova +
	       fuzz_below(&run->fuzz, MODEL_BLOCK) * PV_PAGE;
}

static bool dma(struct run *run)
{
	unsigned int dev = fuzz_below(&run->fuzz, run->model.nr_endpoints), tries, done = 0;
	struct home home;
	bool able;
	__u64 iova;

	if (!run->model.endpoints[dev].id || !edu_is(&run->vm.dev[dev].vfio))
		return true;
	if (!dma_prepare(run, dev, &home, &able))
		return false;
	for (tries = 0; able && done < 3 && tries < 1000; tries++) {
		struct model_target target;

		iova = dma_iova(run, dev);
		/* Most pages are not mapped; see to it that some that are have their turn */
		if (iova >= EDU_REACH - PV_PAGE || iova == home.iova ||
		    (done < 2 && model_dma(&run->model, dev, iova, &target) != MODEL_MEMORY))
			continue;
		if (!dma_write(run, dev, iova, &home) || !dma_read(run, dev, iova, &home))
			return false;
		done++;
	}
	return true;
}

/* ---- what happens between batches ------------------------------------------- */

static bool memory_leaves(struct run *run, unsigned int first, unsigned int n)
{
	__u64 gpa = SLOTS_GPA + first * SLOT_SIZE, removed = ~0ULL, want = 0;
	unsigned int i;
	int ret;

	ret = vfio_unmap_dma(run->vm.container, gpa, n * SLOT_SIZE, &removed);
	for (i = first; i < first + n; i++) {
		if (!run->model.regions[FIRST_SLOT + i].present)
			continue;
		want += SLOT_SIZE;
		model_region_leaves(&run->model, FIRST_SLOT + i);
	}
	if (!ret && removed == want)
		return gone_are_good(run);
	printf("# slots %u to %u: %d, removed 0x%llx of 0x%llx\n", first, first + n - 1, ret,
	       removed, want);
	return false;
}

static bool memory_comes(struct run *run, unsigned int i)
{
	struct model_region *r = &run->model.regions[FIRST_SLOT + i];
	int ret = vfio_map_dma(run->vm.container, r->gpa, r->hva, r->size, r->writable);
	int want = r->present ? -EEXIST : 0;

	r->present = true;
	if (ret == want)
		return true;
	printf("# slot %u comes: %d\n", i, ret);
	return false;
}

/* No slot may be cut */
static bool memory_is_cut(struct run *run, unsigned int i)
{
	int want = run->model.regions[FIRST_SLOT + i].present ? -EINVAL : 0;
	int ret = vfio_unmap_dma(run->vm.container, SLOTS_GPA + i * SLOT_SIZE + PV_PAGE,
				 SLOT_SIZE - 2 * PV_PAGE, NULL);

	if (ret == want)
		return true;
	printf("# slot %u is cut: %d\n", i, ret);
	return false;
}

static bool change_memory(struct run *run)
{
	unsigned int slot = fuzz_below(&run->fuzz, SLOTS);

	run->memory++;
	switch (fuzz_below(&run->fuzz, 8)) {
	case 0:
		return memory_is_cut(run, slot);
	case 1 ... 3:
		return memory_leaves(run, slot, 1 + fuzz_below(&run->fuzz, SLOTS - slot));
	default:
		return memory_comes(run, slot);
	}
}

/* All but the first device may be closed, and come back with another number */
static bool change_devices(struct run *run)
{
	unsigned int dev = fuzz_below(&run->fuzz, run->model.nr_endpoints);
	struct model_endpoint *ep = &run->model.endpoints[dev];
	struct vfio_dev *vfio = &run->vm.dev[dev].vfio;

	if (!dev)
		return true;
	if (ep->id) {
		vfio_dev_close(vfio);
		model_close(&run->model, dev);
		return true;
	}
	if (vfio_dev_open(vfio) || vfio_dev_enable(vfio, true, true))
		return false;
	ep->id = pv_cap_read(&run->vm, dev, PVIOMMU_CAP_ENDPOINT_OFF);
	run->vm.dev[dev].id = ep->id;
	return ep->id;
}

static bool change_limits(struct run *run)
{
	const char * const pages[] = { "1", "3", "100", "513", "8192", "8192" };
	char text[32];

	run->doorbell_pages = pages[fuzz_below(&run->fuzz, ARRAY_SIZE(pages))];

	run->fuzz.small_doorbells = strtoul(run->doorbell_pages, NULL, 0) < 100;
	run->model.max_mappings = run->model.mappings + 100 + fuzz_below(&run->fuzz, 100000);
	snprintf(text, sizeof(text), "%llu", run->model.max_mappings);
	return pv_param_set("max_mappings", text) &&
	       pv_param_set("doorbell_pages", run->doorbell_pages);
}

static bool restart(struct run *run)
{
	const __u64 without[] = {
		0, 0, PVIOMMU_F_MAP_LIST, PVIOMMU_F_STATS, PVIOMMU_F_BYPASS,
	};

	run->restarts++;
	model_reset(&run->model);
	return !__pv_reset(&run->vm) &&
	       start(run, without[fuzz_below(&run->fuzz, ARRAY_SIZE(without))]);
}

#define RELEASE_PAGES	8
#define RELEASE_MS	30000

static bool wait_released(struct run *run, __u64 token)
{
	unsigned int ms;

	for (ms = 0; ms < RELEASE_MS && !run->done_seen; ms += 10) {
		/* It may be among those for which there was no room; after a reset none is due */
		if (!drain_events(run) && !run->done_seen) {
			run->model.nr_gone = 0;
			run->gone_seen = 0;
			return !run->strange && restart(run);
		}
		if (!run->done_seen)
			usleep(10000);
	}
	return run->done_seen && run->done_token == token && gone_are_good(run);
}

/* Pages are given back, one by one, from the region that is always there */
static bool release(struct run *run)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RELEASE);
	__u64 *list = pv_mem(&run->vm, PV_AT_LIST);
	unsigned int i;

	if (model_in_bypass(&run->model))
		return true;
	op.release.list = PV_AT_LIST;
	op.release.count = RELEASE_PAGES;
	op.release.token = fuzz_below(&run->fuzz, ~0ULL);
	/* Tables are among what is there */
	list[0] = fuzz_below(&run->fuzz, 4) ? PV_DATA / PV_PAGE + fuzz_below(&run->fuzz, 1024) :
					      FUZZ_TABLES / PV_PAGE;
	for (i = 1; i < RELEASE_PAGES; i++)
		list[i] = list[i - 1] + 1 + fuzz_below(&run->fuzz, 16);
	run->done_seen = false;
	add(run, 0, op);
	model_pages_go(&run->model, list, RELEASE_PAGES);
	if (!submit(run))
		return false;
	run->released += RELEASE_PAGES;
	return wait_released(run, op.release.token);
}

/* ---- tables change ---------------------------------------------------------- */

/* What a doorbell may do while CPUs store, in pages; and half of it */
#define STORE_DOORBELL	"1000000"
#define STORE_PAGES	500000

/* By a CPU, which stores the upper half first; the host looks at either store */
static bool store(struct run *run, const struct fuzz_entry *entry)
{
	__u64 *at = entry_at(run, entry->gpa), was = *at;
	const __u64 values[] = {
		(entry->value & ~0xffffffffULL) | (was & 0xffffffff), entry->value,
	};
	unsigned int i;
	__u64 work = 0;

	/* What is too much for a doorbell is left out, of which the guest may be told */
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		*at = values[i];
		work += model_work(&run->model, entry->gpa);
	}
	for (i = 0; i < ARRAY_SIZE(values) && work < STORE_PAGES; i++) {
		*at = values[i];
		model_written(&run->model, entry->gpa);
	}
	*at = was;
	if (work >= STORE_PAGES)
		return true;
	run->stores++;
	return !pv_vcpu_store(&run->cpu, entry->gpa, &entry->value, sizeof(*at)) &&
	       *at == entry->value && bad_are_good(run);
}

static bool change_by_cpu(struct run *run)
{
	unsigned int n = 1 + fuzz_below(&run->fuzz, 8);
	bool good = pv_param_set("doorbell_pages", STORE_DOORBELL);

	while (good && n) {
		struct fuzz_entry entry = fuzz_entry(&run->fuzz);

		/* Of what CPUs could write to without the host's being told there is enough */
		if (run->model.places[0].domain && !model_watched(&run->model, entry.gpa) &&
		    fuzz_below(&run->fuzz, 8))
			continue;
		n--;
		if (entry.gpa < PV_LOW_SIZE)
			good = store(run, &entry);
	}
	return good && pv_param_set("doorbell_pages", run->doorbell_pages);
}

/* Without anybody's being told */
static void change_tables(struct run *run)
{
	unsigned int n = fuzz_below(&run->fuzz, 40);

	run->entries += n;
	while (n--) {
		const struct fuzz_entry entry = fuzz_entry(&run->fuzz);

		*entry_at(run, entry.gpa) = entry.value;
	}
}

/* ---- the owner of what is lent changes its mind ----------------------------------- */

/* What goes with it is flushed and unpinned at once. More may be; so see that all is */
static bool recalled(struct run *run)
{
	__u32 d;

	run->recalls++;
	if (!gone_are_good(run) || (fuzz_below(&run->fuzz, 2) && !dma(run)))
		return false;
	for (d = PVIOMMU_DOMAIN_FIRST; d < MODEL_DOMAINS; d++)
		if (run->model.domains[d].exists)
			add(run, 0, pv_op_inv(d));
	return submit(run);
}

static bool lent_memory_changes(struct run *run)
{
	struct pv_region *lent[] = { &run->owner.low, &run->owner.high, &run->owner.rom };
	unsigned int i = fuzz_below(&run->fuzz, LENT);
	struct model_region *r = &run->model.regions[FIRST_LENT + i];

	if (!r->present) {
		r->present = true;
		return !pv_region_map(&run->owner, lent[i]);
	}
	model_region_leaves(&run->model, FIRST_LENT + i);
	return !pv_region_unmap(&run->owner, lent[i]) && recalled(run);
}

static bool grant_changes(struct run *run)
{
	unsigned int i = fuzz_below(&run->fuzz, ARRAY_SIZE(grants));
	struct model_grant *grant = &run->model.grants[i];

	if (!grant->present)
		return add_grant(run, i, grant->vm);
	model_grant_ends(&run->model, i);
	return !pv_ctl(NULL, 0, "grant del grant %lld", run->grants[i]) && recalled(run);
}

/* Another VM, of the same device, comes in its place */
static bool owner_dies(struct run *run)
{
	unsigned int i;
	__u32 id;

	for (i = 0; i < ARRAY_SIZE(grants); i++)
		model_grant_ends(&run->model, i);
	for (i = 0; i < LENT; i++) {
		run->model.regions[FIRST_LENT + i].present = false;
		run->model.regions[FIRST_LENT + i].hva = NULL;
	}
	pv_vm_close(&run->owner);
	if (pv_total("pages_lent")) {
		printf("# the owner is gone, and %lld pages are still lent\n",
		       pv_total("pages_lent"));
		return false;
	}
	return recalled(run) && !open_owner(run, &id) && borrow(run, id);
}

static bool change_owner(struct run *run)
{
	if (!run->owner_dev)
		return true;
	switch (fuzz_below(&run->fuzz, 10)) {
	case 0:
		return owner_dies(run);
	case 1 ... 3:
		return grant_changes(run);
	default:
		return lent_memory_changes(run);
	}
}

static bool change(struct run *run)
{
	if (fuzz_below(&run->fuzz, 3))
		change_tables(run);
	return (run->cpu.fd < 0 || fuzz_below(&run->fuzz, 3) || change_by_cpu(run)) &&
	       (fuzz_below(&run->fuzz, 2) || change_memory(run)) &&
	       (fuzz_below(&run->fuzz, 24) || change_owner(run)) &&
	       (fuzz_below(&run->fuzz, 20) || change_limits(run)) &&
	       (fuzz_below(&run->fuzz, 40) || change_devices(run)) &&
	       (fuzz_below(&run->fuzz, 80) || restart(run)) &&
	       (fuzz_below(&run->fuzz, 8) || release(run)) &&
	       (fuzz_below(&run->fuzz, 16) || dma(run));
}

/* ---- the test ------------------------------------------------------------------ */

#define LOOKUPS		512

static bool play_round(struct run *run)
{
	unsigned int max = fuzz_below(&run->fuzz, 2) ? RING_OPS : 100, ring, n, nr;
	__u64 iovas[LOOKUPS];
	__u32 domains[LOOKUPS];

	fuzz_batch(&run->fuzz);
	for (ring = 0; ring < RINGS; ring++)
		for (n = fuzz_below(&run->fuzz, max + 1); n; n--)
			add(run, ring, fuzz_op(&run->fuzz));
	nr = suspects(run, iovas, domains, LOOKUPS);
	return submit(run) && look_up(run, iovas, domains, nr) && change(run);
}

/* All is given back, and the counters agree */
static bool finish(struct run *run)
{
	struct pviommu_stats got, want = {};
	unsigned int i;

	model_reset(&run->model);
	if (__pv_reset(&run->vm) || !start(run, 0))
		return false;
	want.ops = run->model.ops;
	want.ops_failed = run->model.ops_failed;
	want.pages_pinned = model_pinned(&run->model);
	want.domains = model_nr_domains(&run->model);
	want.kicks_config = run->kicks + 1;
	got = pv_stats(&run->vm.ring[0]);
	print_stats("at the end", &got);
	for (i = 0; i < SLOTS; i++)
		if (run->model.regions[FIRST_SLOT + i].present && !memory_leaves(run, i, 1))
			return false;
	return same_stats(&got, &want) && got.kicks_config == want.kicks_config;
}

#define REPORT_FORMAT "# seed %llu: %llu ops, %u more LOOKUPs to compare, %u transfers, " \
		      "%u changes of memory, %u pages released, %u restarts, " \
		      "%llu doorbells, %ld s\n"
#define TABLES_FORMAT "# tables: %u entries changed, %u more by a CPU, %u events about bad " \
		      "ones; lent memory taken back %u times\n"

static void report(const struct run *run, time_t took)
{
	const struct { const char *name; __u16 code; } ops[] = {
		{ "MAP", PVIOMMU_OP_MAP }, { "MAP_LIST", PVIOMMU_OP_MAP_LIST },
		{ "UNMAP", PVIOMMU_OP_UNMAP }, { "INVALIDATE", PVIOMMU_OP_INVALIDATE },
		{ "LOOKUP", PVIOMMU_OP_LOOKUP }, { "ATTACH", PVIOMMU_OP_ATTACH },
		{ "DETACH", PVIOMMU_OP_DETACH }, { "ALLOC", PVIOMMU_OP_ALLOC },
		{ "FREE", PVIOMMU_OP_FREE }, { "PROBE", PVIOMMU_OP_PROBE },
		{ "STATS", PVIOMMU_OP_STATS }, { "DIRTY_START", PVIOMMU_OP_DIRTY_START },
		{ "DIRTY_STOP", PVIOMMU_OP_DIRTY_STOP }, { "DIRTY_READ", PVIOMMU_OP_DIRTY_READ },
		{ "TYPE_SET", PVIOMMU_OP_TYPE_SET }, { "TYPE_GET", PVIOMMU_OP_TYPE_GET },
		{ "RELEASE", PVIOMMU_OP_RELEASE }, { "RECOVER", PVIOMMU_OP_RECOVER },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		printf("# %-11s done %7u, refused %7u\n", ops[i].name,
		       run->done[ops[i].code >> 8][ops[i].code & 0xff],
		       run->refused[ops[i].code >> 8][ops[i].code & 0xff]);
	if (run->cov.fd >= 0)
		printf("# %u places reached by ops, %u streams kept\n", run->cov.nr,
		       run->fuzz.kept);
	printf(TABLES_FORMAT, run->entries, run->stores, run->bad, run->recalls);
	printf(REPORT_FORMAT, options.seed, run->model.ops - run->lookups, run->lookups,
	       run->transfers, run->memory, run->released, run->restarts, run->kicks, (long)took);
}

static bool time_is_up(const struct run *run, time_t begin)
{
	return options.seconds ? (__u64)(time(NULL) - begin) >= options.seconds :
				 run->model.ops - run->lookups >= options.ops;
}

TEST_F_TIMEOUT(fuzz, model, 100000)
{
	struct run *run = self->run;
	time_t begin = time(NULL);
	unsigned int rounds;

	for (rounds = 0; !time_is_up(run, begin); rounds++) {
		bool good = play_round(run);

		ASSERT_TRUE(good || (run->look_where && sweep(run)));
		ASSERT_TRUE(good);
		if (rounds % options.sweep == options.sweep - 1)
			ASSERT_TRUE(sweep(run));
	}
	ASSERT_TRUE(sweep(run));
	report(run, time(NULL) - begin);
	EXPECT_TRUE(finish(run));
}

/* Our options first; the rest is for the harness */
int main(int argc, char **argv)
{
	struct { const char *name; __u64 *value; } known[] = {
		{ "--seed", &options.seed }, { "--ops", &options.ops },
		{ "--seconds", &options.seconds }, { "--guided", &options.guided },
		{ "--sweep", &options.sweep },
	};
	const char *ops = getenv("PV_FUZZ_OPS");
	struct timespec now;
	unsigned int i;

	if (ops)
		options.ops = strtoull(ops, NULL, 0);
	clock_gettime(CLOCK_REALTIME, &now);
	options.seed = now.tv_sec * 1000000000ULL + now.tv_nsec;
	for (i = 0; i < ARRAY_SIZE(known) && argc > 2;) {
		if (strcmp(argv[1], known[i].name)) {
			i++;
			continue;
		}
		*known[i].value = strtoull(argv[2], NULL, 0);
		argv[2] = argv[0];
		argv += 2;
		argc -= 2;
		i = 0;
	}
	printf("# seed %llu\n", options.seed);
	return test_harness_run(argc, argv);
}
