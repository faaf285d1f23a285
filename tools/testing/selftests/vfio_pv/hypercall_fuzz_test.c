// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams of random ops, and a model that predicts the outcome of each.
 *
 *   hypercall_fuzz_test [--seed N] [--ops N] [--seconds N] [--sweep N] [--tables 0]
 *	[harness options]
 *
 * PV_FUZZ_OPS in the environment is another default for --ops.
 *
 * With two devices or more, the last one's VM lends memory to the other VM. With KVM, there is a
 * CPU that stores to tables, and a server that claims the type of the VM's memory and drops it.
 *
 * Batches of ops go to four rings with one doorbell. Every op must end as the model says, to the
 * last bit: status, result, answer. Then LOOKUP and, at times, DMA must agree with the model.
 * Between batches, entries of tables change, memory is unplugged and plugged, or released page
 * by page, grants are made and end, the VM that lends is replaced, devices are closed and opened,
 * quotas and the doorbell's budget change, and the interface is restarted. A device below a root
 * port at which the emulator can inject PCIe errors has some, and is cut off until a RECOVER.
 *
 * If the kernel has kcov, the places that were reached in the host's modules are counted.
 *
 * At the end edu devices must have had DMA that was allowed, and DMA that was blocked; in a run of
 * 50,000 ops or more, each op must have been done, and refused. If chance has left out one of
 * these, the run goes on for a while.
 *
 * The seed, which is printed, determines everything. A failing op is printed with the ops of the
 * same domain before it in the batch.
 */
#include <sys/mman.h>
#include <time.h>

#include "lib/edu.h"
#include "lib/pv_run.h"
#include "lib/pv_test.h"

static struct {
	__u64 seed;
	__u64 ops;
	__u64 seconds;
	__u64 sweep;		/* LOOKUP of every page after so many rounds */
	__u64 tables;		/* domains may have guest-owned tables */
} options = { .seed = 305, .ops = 1000000, .sweep = 200, .tables = 1 };

FIXTURE(fuzz)
{
	struct pv_usage before;
	struct run *run;
};

FIXTURE_SETUP(fuzz)
{
	__u32 owner = 0;
	int ret;

	self->before = pv_begin();
	self->run = mmap(NULL, sizeof(*self->run), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->run);
	self->run->seed = options.seed;
	self->run->tables = options.tables;
	self->run->owner.container = -1;
	self->run->kvm = (struct pv_kvm) { -1, -1 };
	self->run->cpu = (struct pv_vcpu) { .fd = -1, .run = MAP_FAILED };
	ret = run_open(self->run, PV_LOW_SIZE, &owner);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pv_vm_add_bar(&self->run->vm, 0));
	ASSERT_TRUE(run_set_up(self->run, owner));
}

FIXTURE_TEARDOWN(fuzz)
{
	pv_params_restore();
	pv_cov_close(&self->run->cov);
	run_server_close(self->run);
	model_exit(&self->run->model);
	pv_vcpu_close(&self->run->cpu);
	pv_vm_close(&self->run->vm);
	pv_kvm_close(&self->run->kvm);
	pv_vm_close(&self->run->owner);
	munmap(self->run->slots, SLOTS * SLOT_SIZE);
	munmap(self->run, sizeof(*self->run));
	pv_expect_unchanged(&self->before);
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
			run_add(run, ring, fuzz_op(&run->fuzz));
	nr = run_suspects(run, iovas, domains, LOOKUPS);
	return run_submit(run) && run_look_up(run, iovas, domains, nr) && run_change(run);
}

/* Reset: everything is freed, and the counters agree */
static bool finish(struct run *run)
{
	struct pviommu_stats got, want = {};
	unsigned int i;

	model_reset(&run->model);
	if (__pv_reset(&run->vm) || !run_start(run, 0))
		return false;
	want.ops = run->model.ops;
	want.ops_failed = run->model.ops_failed;
	want.pages_pinned = model_pinned(&run->model);
	want.domains = model_nr_domains(&run->model);
	want.kicks_config = run->kicks + 1;
	got = pv_stats(&run->vm.ring[0]);
	run_print_stats("at the end", &got);
	for (i = 0; i < SLOTS; i++)
		if (run->model.regions[FIRST_SLOT + i].present && !run_memory_leaves(run, i, 1))
			return false;
	return run_same_stats(&got, &want) && got.kicks_config == want.kicks_config;
}

static const struct {
	const char *name;
	__u16 code;
} ops[] = {
	{ "MAP", PVIOMMU_OP_MAP }, { "MAP_LIST", PVIOMMU_OP_MAP_LIST },
	{ "UNMAP", PVIOMMU_OP_UNMAP }, { "INVALIDATE", PVIOMMU_OP_INVALIDATE },
	{ "LOOKUP", PVIOMMU_OP_LOOKUP }, { "ATTACH", PVIOMMU_OP_ATTACH },
	{ "DETACH", PVIOMMU_OP_DETACH }, { "ALLOC", PVIOMMU_OP_ALLOC },
	{ "FREE", PVIOMMU_OP_FREE }, { "PROBE", PVIOMMU_OP_PROBE },
	{ "STATS", PVIOMMU_OP_STATS }, { "DIRTY_START", PVIOMMU_OP_DIRTY_START },
	{ "DIRTY_STOP", PVIOMMU_OP_DIRTY_STOP }, { "DIRTY_READ", PVIOMMU_OP_DIRTY_READ },
	{ "TYPE_SET", PVIOMMU_OP_TYPE_SET }, { "TYPE_GET", PVIOMMU_OP_TYPE_GET },
	{ "RELEASE", PVIOMMU_OP_RELEASE }, { "RECOVER", PVIOMMU_OP_RECOVER },
	{ "FEATURES", PVIOMMU_OP_FEATURES }, { "NOP", PVIOMMU_OP_NOP },
};

static unsigned int done(const struct run *run, __u16 code)
{
	return run->done[code >> 8][code & 0xff];
}

static unsigned int refused(const struct run *run, __u16 code)
{
	return run->refused[code >> 8][code & 0xff];
}

#define REPORT_FORMAT "# seed %llu: %llu ops, %u more LOOKUPs to compare, %u transfers, " \
		      "%u changes of memory, %u pages released, %u restarts, " \
		      "%llu doorbells, %ld s\n"
#define SERVER_FORMAT "# servers: %u claims, told of %u things, %u of them writes; " \
		      "%u PCIe errors\n"
#define DMA_FORMAT "# DMA: tried %u times, %u of them in vain; %u accesses allowed, %u blocked\n"
#define TABLES_FORMAT "# tables: %u entries changed, %u more by a CPU, %u events about bad " \
		      "ones; lent memory taken back %u times\n"

static void report(const struct run *run, time_t took)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		printf("# %-11s done %7u, refused %7u\n", ops[i].name,
		       done(run, ops[i].code), refused(run, ops[i].code));
	if (run->cov.fd >= 0)
		printf("# %u places of the host's modules reached by ops\n", run->cov.nr);
	printf(TABLES_FORMAT, run->entries, run->stores, run->bad, run->recalls);
	printf(DMA_FORMAT, run->dmas, run->dmas_idle, run->allowed, run->blocked);
	printf(SERVER_FORMAT, run->claims, run->records, run->writes, run->errors);
	printf(REPORT_FORMAT, options.seed, run->model.ops - run->lookups, run->lookups,
	       run->transfers, run->memory, run->released, run->restarts, run->kicks, (long)took);
}

/* So many ops that hardly one is left out by chance */
#define LONG_RUN	50000

/* What must happen in a run, and has not happened yet; NULL if there is nothing */
static const char *left_out(const struct run *run)
{
	bool is_edu = edu_is(&run->vm.dev[0].vfio), possible;
	unsigned int i;

	if (is_edu && !run->allowed)
		return "DMA that is allowed";
	if (is_edu && !run->blocked)
		return "DMA that is blocked";
	for (i = 0; i < ARRAY_SIZE(ops) && run->model.ops - run->lookups >= LONG_RUN; i++) {
		/* Only with KVM a page can get a type */
		possible = run->kvm.vm >= 0 || ops[i].code != PVIOMMU_OP_TYPE_SET;
		if ((possible && !done(run, ops[i].code)) || !refused(run, ops[i].code))
			return ops[i].name;
	}
	return NULL;
}

static bool time_is_up(const struct run *run, time_t begin)
{
	return options.seconds ? (__u64)(time(NULL) - begin) >= options.seconds :
				 run->model.ops - run->lookups >= options.ops;
}

/* What a run has left out by chance happens in some more rounds */
#define MORE_ROUNDS	100
/* So many that half of them can't be in vain by chance */
#define MANY_DMAS	10

TEST_F_TIMEOUT(fuzz, model, 100000)
{
	struct run *run = self->run;
	time_t begin = time(NULL);
	unsigned int rounds;

	for (rounds = 0; !time_is_up(run, begin); rounds++) {
		bool good = play_round(run);

		ASSERT_TRUE(good || (run->look_where && run_sweep(run)));
		ASSERT_TRUE(good);
		if (rounds % options.sweep == options.sweep - 1)
			ASSERT_TRUE(run_sweep(run));
	}
	for (rounds = 0; rounds < MORE_ROUNDS && left_out(run); rounds++)
		ASSERT_TRUE(play_round(run) && run_dma(run));
	ASSERT_TRUE(run_sweep(run));
	report(run, time(NULL) - begin);
	EXPECT_EQ(NULL, left_out(run)) {
		TH_LOG("never done, or never refused: %s", left_out(run));
	}
	EXPECT_TRUE(!run->allowed || run->dmas < MANY_DMAS || run->dmas_idle < run->dmas / 2);
	EXPECT_TRUE(finish(run));
}

/* Our options come first, the rest is for the harness */
int main(int argc, char **argv)
{
	struct { const char *name; __u64 *value; } known[] = {
		{ "--seed", &options.seed }, { "--ops", &options.ops },
		{ "--seconds", &options.seconds },
		{ "--sweep", &options.sweep }, { "--tables", &options.tables },
	};
	const char *ops = getenv("PV_FUZZ_OPS");
	struct timespec now;
	unsigned int i;

	if (ops)
		options.ops = strtoull(ops, NULL, 0);
	/* Without options, the ops are the same each time */
	if (ops || argc > 1) {
		clock_gettime(CLOCK_REALTIME, &now);
		options.seed = now.tv_sec * 1000000000ULL + now.tv_nsec;
	}
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
