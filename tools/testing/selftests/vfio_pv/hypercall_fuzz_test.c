// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams of random ops, and a model that foretells what becomes of each.
 *
 *   hypercall_fuzz_test [--seed N] [--ops N] [--seconds N] [--guided 0] [harness options]
 *
 * PV_FUZZ_OPS in the environment is another default for --ops.
 *
 * With two devices or more, the last one's VM lends memory to the other VM.
 *
 * Batches of ops go to four rings with one doorbell. Every op must end as the model
 * says, to the last bit: status, result, answer. Then LOOKUP and, now and then, DMA
 * must see what the model sees. Between batches memory comes and goes, or is given back
 * page by page, devices are closed and opened, quotas and the doorbell's budget change,
 * the interface restarts.
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

#define MAX_DOMAINS	14
#define TAG		64			/* bytes of a transfer */

static struct {
	__u64 seed;
	__u64 ops;
	__u64 seconds;
	__u64 guided;
} options = { .ops = 1000000, .guided = 1 };

/* An op, and what must become of it */
struct entry {
	struct pviommu_op sent, want;
	struct model_reply reply;
	struct pviommu_op *slot;
};

struct run {
	struct pv_vm owner;	/* of memory that the other VM may map */
	struct pv_vm vm;
	struct model model;
	struct fuzz fuzz;
	struct pv_cov cov;
	char *slots;		/* memory of the slots */
	unsigned int nr;	/* ops in the batch */
	unsigned int in_ring[RINGS];
	unsigned int batches, lookups, transfers, memory, released, restarts;
	unsigned int new_places;	/* that the batch has reached */
	__u64 kicks;
	/* How often an op was done and refused, by the bytes of its number */
	unsigned int done[10][4], refused[10][4];
	__u64 events_lost;
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

static bool add_grant(struct run *run, __u32 from, __u32 to, __u64 gpa, __u64 size, __u32 prot)
{
	run->model.grants[run->model.nr_grants++] = (struct model_grant) {
		.vm = from, .gpa = gpa, .last = gpa + size - 1, .prot = prot,
	};
	return !pv_ctl(NULL, 0, "grant add from %u to %u gpa %llu size %llu access %s", from, to,
		       gpa, size, prot == PV_RW ? "rw" : "r");
}

/* After the slots: what is lent, some of it with a hole, some read-only in two ways */
static bool borrow(struct run *run, __u32 from)
{
	struct pv_region *lent[] = { &run->owner.low, &run->owner.high, &run->owner.rom };
	__u32 to = pv_ctl_vm_of(getpid());
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lent); i++) {
		add_region(run, lent[i]->gpa, lent[i]->size, lent[i]->hva, lent[i]->writable, true);
		run->model.regions[run->model.nr_regions - 1].vm = from;
	}
	return add_grant(run, from, to, 0, PV_2M, PV_R) &&
	       add_grant(run, from, to, PV_2M, PV_2M, PV_RW) &&
	       add_grant(run, from, to, PV_ROM, PV_ROM_SIZE, PV_RW) &&
	       add_grant(run, from, to, PV_HIGH, PV_HIGH_SIZE, PV_RW);
}

/* What is there from the start, and slots that are not */
static bool add_memory(struct run *run)
{
	struct pv_region *fixed[] = { &run->vm.low, &run->vm.high, &run->vm.rom, &run->vm.bar };
	unsigned int i;

	for (i = 0; i < FIRST_SLOT; i++)
		add_region(run, fixed[i]->gpa, fixed[i]->size, fixed[i]->hva, fixed[i]->writable,
			   fixed[i] != &run->vm.bar);
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

static bool start(struct run *run, __u64 without)
{
	struct pviommu_start *start = pv_start_prepare(&run->vm, RINGS, ORDER);

	/* What ops of other features do is for other tests to say */
	start->features &= PVIOMMU_F_MAP_LIST | PVIOMMU_F_EVENTS | PVIOMMU_F_BYPASS |
			   PVIOMMU_F_STATS | PVIOMMU_F_MEM_TYPES | PVIOMMU_F_FOREIGN |
			   PVIOMMU_F_DIRTY | PVIOMMU_F_RELEASE | PVIOMMU_F_RECOVER |
			   PVIOMMU_F_PASID;
	start->features &= ~without;
	model_start(&run->model, start->features);
	run->model.iface_pages = pv_iface_pages(&run->vm);
	run->events_lost = 0;
	return !pv_command(&run->vm, PVIOMMU_CMD_START, PV_AT_START);
}

/* The last of several devices is the owner's; 0, or -ENODEV without any device */
static int open_vms(struct run *run, __u32 *owner)
{
	int ret, nr;

	ret = pv_vm_init(&run->vm, MODEL_ENDPOINTS, PV_LOW_SIZE);
	if (ret)
		return ret;
	nr = run->vm.nr_devs;
	if (nr > 1 && pv_ctl_found()) {
		run->vm.nr_devs--;
		ret = pv_vm_init_from(&run->owner, nr - 1, 1, OWNER_SIZE) ?:
		      pv_vm_open_container(&run->owner) ?: pv_vm_add_memory(&run->owner) ?:
		      pv_vm_open_devices(&run->owner);
		*owner = pv_ctl_vm_of(getpid());
	}
	return ret ?: pv_vm_open_container(&run->vm) ?: pv_vm_add_memory(&run->vm) ?:
	       pv_vm_open_devices(&run->vm);
}

static bool set_up(struct run *run, __u32 owner)
{
	int i;

	run->model.max_domains = MAX_DOMAINS;
	run->model.max_mappings = pv_param_get("max_mappings");
	if (!pv_param_set("max_domains", "14") || !pv_param_set("release_ms", "1") ||
	    !add_memory(run) || (owner && !borrow(run, owner)) || !start(run, 0))
		return false;
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
	run->fuzz.model = &run->model;
	run->fuzz.vm = &run->vm;
	pv_cov_open(&run->cov);
	return model_init(&run->model);
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
	pv_vm_close(&self->run->vm);
	pv_vm_close(&self->run->owner);
	munmap(self->run->slots, SLOTS * SLOT_SIZE);
	munmap(self->run, sizeof(*self->run));
	pv_expect_unchanged(&self->before);
}

/* ---- batches ----------------------------------------------------------- */

#define OP_FORMAT "# %s code %04x flags %04x status %u domain %u endpoint %u pasid %x vm %u " \
		  "args %llx %llx %llx %llx result %llx\n"

static void print_op(const char *what, const struct pviommu_op *op)
{
	printf(OP_FORMAT, what, op->code, op->flags, op->status, op->domain, op->endpoint,
	       op->pasid, op->vm, op->raw[0], op->raw[1], op->raw[2], op->raw[3], op->result);
}

static void complain(const struct run *run, unsigned int bad)
{
	unsigned int i;

	printf("# batch %u, op %u of %u, seed %llu\n", run->batches, bad, run->nr, options.seed);
	for (i = bad > 400 ? bad - 400 : 0; i < bad; i++)
		if (run->batch[i].sent.domain == run->batch[bad].sent.domain &&
		    !run->batch[i].want.status)
			print_op("before", &run->batch[i].want);
	print_op("sent  ", &run->batch[bad].sent);
	print_op("wanted", &run->batch[bad].want);
	print_op("got   ", run->batch[bad].slot);
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
	       got->pasid_bits == want->pasid_bits &&
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
	good = kick(run) && batch_is_good(run);
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

		if (op->code != PVIOMMU_OP_MAP && op->code != PVIOMMU_OP_UNMAP)
			continue;
		for (k = 0; k < ARRAY_SIZE(at); k++, n++) {
			domains[n] = op->domain;
			iovas[n] = op->raw[0] + at[k];
		}
	}
	for (i = 0; i < 64 && n < max; i++, n++) {
		domains[n] = fuzz_domain(&run->fuzz);
		iovas[n] = fuzz_iova(&run->fuzz);
	}
	return n;
}

/* Every page of every domain */
static bool sweep(struct run *run)
{
	unsigned int d, a, p, n = 0;

	for (d = PVIOMMU_DOMAIN_FIRST; d < MODEL_DOMAINS; d++) {
		for (a = 0; run->model.domains[d].exists && a < MODEL_ARENAS; a++) {
			const struct model_arena *arena = &run->model.arenas[a];

			for (p = 0; p < arena->npages; p++, n++) {
				add(run, n % RING_OPS * RINGS / RING_OPS,
				    pv_op_lookup(d, arena->iova + p * PV_PAGE));
				if (run->nr == RING_OPS && !submit(run))
					return false;
			}
		}
	}
	run->lookups += n;
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

		for (at = 0; r->ram && at < r->size; at += PV_PAGE) {
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

/* What a device writes to @iova must arrive where the model says, or nowhere */
static bool dma_write(struct run *run, unsigned int dev, __u64 iova)
{
	const struct vfio_dev *vfio = &run->vm.dev[dev].vfio;
	__u64 home = run->model.endpoints[dev].domain ? SCRATCH_IOVA : SCRATCH;
	struct model_target target;
	char *found, *want;
	__u64 tag[TAG / 8];
	enum model_reach reach;

	reach = model_dma(&run->model, dev, iova, &target);
	if (reach == MODEL_EITHER || (reach == MODEL_MEMORY && !target_is_free(&target)))
		return true;
	want = reach == MODEL_MEMORY && target.prot & PV_W ? target_page(&target) : NOWHERE;
	make_tag(run, tag);
	memcpy(pv_mem(&run->vm, SCRATCH), tag, TAG);
	if (!edu_from_ram(vfio, home, 0, TAG) || !edu_to_ram(vfio, iova + 0x100, 0, TAG))
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
static bool dma_read(struct run *run, unsigned int dev, __u64 iova)
{
	const struct vfio_dev *vfio = &run->vm.dev[dev].vfio;
	__u64 home = run->model.endpoints[dev].domain ? SCRATCH_IOVA : SCRATCH;
	struct model_target target;
	__u64 tag[TAG / 8];

	if (model_dma(&run->model, dev, iova, &target) != MODEL_MEMORY ||
	    !target_is_free(&target) || !(target.prot & PV_R))
		return true;
	make_tag(run, tag);
	memcpy(target_page(&target) + 0x200, tag, TAG);
	if (!edu_from_ram(vfio, iova + 0x200, 512, TAG) ||
	    !edu_to_ram(vfio, home + 0x400, 512, TAG))
		return false;
	run->transfers += 2;
	if (!memcmp(pv_mem(&run->vm, SCRATCH + 0x400), tag, TAG))
		return true;
	printf("# DMA of device %u from 0x%llx in domain %u: not what is at 0x%llx of %u\n", dev,
	       iova, run->model.endpoints[dev].domain, target.gpa, target.region->vm);
	return false;
}

/* Make the device reach its scratch page; @able: it does */
static bool dma_prepare(struct run *run, unsigned int dev, bool *able)
{
	struct model_endpoint *ep = &run->model.endpoints[dev];
	__u32 dom, status;

	*able = ep->domain == PVIOMMU_DOMAIN_BYPASS;
	if (*able)
		return true;
	for (dom = MODEL_DOMAINS - 1; dom >= PVIOMMU_DOMAIN_FIRST; dom--)
		if (run->model.domains[dom].exists && fuzz_below(&run->fuzz, 2))
			break;
	if (dom < PVIOMMU_DOMAIN_FIRST)
		return true;
	if (!submit_one(run, pv_op_attach(ep->id, dom), &status) ||
	    !submit_one(run, pv_op_unmap(dom, SCRATCH_IOVA, PV_PAGE), &status) ||
	    !submit_one(run, pv_op_inv(dom), &status) ||
	    !submit_one(run, pv_op_map(dom, SCRATCH_IOVA, SCRATCH, PV_PAGE, PV_RW), &status))
		return false;
	*able = !status;
	return true;
}

static bool dma(struct run *run)
{
	unsigned int dev = fuzz_below(&run->fuzz, run->model.nr_endpoints), tries, done = 0;
	bool able;
	__u64 iova;

	if (!run->model.endpoints[dev].id || !edu_is(&run->vm.dev[dev].vfio))
		return true;
	if (!dma_prepare(run, dev, &able))
		return false;
	for (tries = 0; able && done < 3 && tries < 1000; tries++) {
		struct model_target target;

		iova = fuzz_iova(&run->fuzz);
		/* Most pages are not mapped; see to it that some that are have their turn */
		if (iova >= 0x10000000 - PV_PAGE || iova == SCRATCH_IOVA ||
		    (done < 2 && model_dma(&run->model, dev, iova, &target) != MODEL_MEMORY))
			continue;
		if (!dma_write(run, dev, iova) || !dma_read(run, dev, iova))
			return false;
		done++;
	}
	return true;
}

/* ---- what happens between batches ------------------------------------------- */

/* REVOKED events that have come; false if some were lost, so that they can't be counted */
static bool drain_events(struct run *run, __u64 *revoked)
{
	__u64 lost = run->events_lost;
	struct pviommu_event ev;

	*revoked = 0;
	while (pv_event_next(&run->vm, &ev))
		if (ev.type == PVIOMMU_EV_REVOKED)
			*revoked += ev.size;
	run->events_lost = pv_events(&run->vm)->lost;
	return run->events_lost == lost && run->model.accepted & PVIOMMU_F_EVENTS;
}

static bool memory_leaves(struct run *run, unsigned int first, unsigned int n)
{
	__u64 gpa = SLOTS_GPA + first * SLOT_SIZE, removed = ~0ULL, want = 0, named = 0, seen;
	unsigned int i;
	bool counted;
	int ret;

	drain_events(run, &seen);
	ret = vfio_unmap_dma(run->vm.container, gpa, n * SLOT_SIZE, &removed);
	for (i = first; i < first + n; i++) {
		if (!run->model.regions[FIRST_SLOT + i].present)
			continue;
		want += SLOT_SIZE;
		model_region_leaves(&run->model, FIRST_SLOT + i);
		named += run->model.revoked;
	}
	counted = drain_events(run, &seen);
	if (!ret && removed == want && (!counted || seen == named))
		return true;
	printf("# slots %u to %u: %d, removed 0x%llx of 0x%llx, events name 0x%llx of 0x%llx\n",
	       first, first + n - 1, ret, removed, want, seen, named);
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

	run->model.max_mappings = model_nr_mappings(&run->model) + 100 +
				  fuzz_below(&run->fuzz, 100000);
	snprintf(text, sizeof(text), "%llu", run->model.max_mappings);
	return pv_param_set("max_mappings", text) &&
	       pv_param_set("doorbell_pages",
			    pages[fuzz_below(&run->fuzz, ARRAY_SIZE(pages))]);
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
	struct pviommu_event ev;

	while (pv_event_wait(&run->vm, &ev, RELEASE_MS))
		if (ev.type == PVIOMMU_EV_RELEASED)
			return ev.addr == token;
	/* It may be among those for which there was no room; after a reset nothing is under way */
	return pv_events(&run->vm)->lost != run->events_lost && restart(run);
}

/* Pages are given back, one by one, from the region that is always there */
static bool release(struct run *run)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RELEASE);
	__u64 *list = pv_mem(&run->vm, PV_AT_LIST), seen;
	unsigned int i;

	if (model_in_bypass(&run->model))
		return true;
	drain_events(run, &seen);
	op.release.list = PV_AT_LIST;
	op.release.count = RELEASE_PAGES;
	op.release.token = fuzz_below(&run->fuzz, ~0ULL);
	list[0] = (PV_DATA >> 12) + fuzz_below(&run->fuzz, 1024);
	for (i = 1; i < RELEASE_PAGES; i++)
		list[i] = list[i - 1] + 1 + fuzz_below(&run->fuzz, 16);
	add(run, 0, op);
	if (!submit(run))
		return false;
	model_pages_go(&run->model, list, RELEASE_PAGES);
	run->released += RELEASE_PAGES;
	return wait_released(run, op.release.token);
}

static bool change(struct run *run)
{
	return (fuzz_below(&run->fuzz, 2) || change_memory(run)) &&
	       (fuzz_below(&run->fuzz, 20) || change_limits(run)) &&
	       (fuzz_below(&run->fuzz, 40) || change_devices(run)) &&
	       (fuzz_below(&run->fuzz, 80) || restart(run)) &&
	       (fuzz_below(&run->fuzz, 8) || release(run)) &&
	       (fuzz_below(&run->fuzz, 16) || dma(run));
}

/* ---- the test ------------------------------------------------------------------ */

#define LOOKUPS		512
#define SWEEP_EVERY	200	/* rounds */

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
		ASSERT_TRUE(play_round(run));
		if (rounds % SWEEP_EVERY == SWEEP_EVERY - 1)
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
