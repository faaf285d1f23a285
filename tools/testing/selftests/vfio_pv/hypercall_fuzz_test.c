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
 * Batches of ops go to four rings with one doorbell. Every op must end as the model
 * says, to the last bit: status, result, answer. Then LOOKUP and, now and then, DMA
 * must see what the model sees. Between batches entries of tables change, memory comes and
 * goes, or is given back page by page, grants too, and the VM that they are from, devices
 * are closed and opened, quotas and the doorbell's budget change, the interface restarts.
 *
 * If the kernel has kcov, the places that were reached in the host's modules are counted.
 *
 * The seed, which is printed, determines everything. A failing op is printed with the ops of the
 * same domain before it in the batch.
 */
#include <sys/mman.h>
#include <time.h>

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

#define REPORT_FORMAT "# seed %llu: %llu ops, %u more LOOKUPs to compare, %u transfers, " \
		      "%u changes of memory, %u pages released, %u restarts, " \
		      "%llu doorbells, %ld s\n"
#define SERVER_FORMAT "# servers: %u claims, told of %u things, %u of them writes\n"
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
		printf("# %u places of the host's modules reached by ops\n", run->cov.nr);
	printf(TABLES_FORMAT, run->entries, run->stores, run->bad, run->recalls);
	printf(SERVER_FORMAT, run->claims, run->records, run->writes);
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

		ASSERT_TRUE(good || (run->look_where && run_sweep(run)));
		ASSERT_TRUE(good);
		if (rounds % options.sweep == options.sweep - 1)
			ASSERT_TRUE(run_sweep(run));
	}
	ASSERT_TRUE(run_sweep(run));
	report(run, time(NULL) - begin);
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
