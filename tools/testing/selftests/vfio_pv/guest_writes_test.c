// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a server hears when several CPUs write to its pages: each write once, the writes of one
 * CPU in order, and both writes if two CPUs write the same bytes at the same time. Besides,
 * writes that cross pages, or are large. The server is as in guest_types_test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "lib/guest_shadow.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define CPUS		4
#define STEPS		600	/* writes of each CPU */
#define ROUNDS		500	/* races of two CPUs, each for a word of the same page */
#define MAX_HEARD	(CPUS * STEPS + 16)

FIXTURE(writes)
{
	struct memory mem;
	struct heard *heard;
};

FIXTURE_SETUP(writes)
{
	if (access(MEM_TYPE, F_OK))
		SKIP(return, "needs debugfs of pviommu_guest");
	self->heard = calloc(MAX_HEARD, sizeof(*self->heard));
	ASSERT_NE(NULL, self->heard);
	ASSERT_TRUE(memory_open(&self->mem));
	memset(self->mem.pages, 0, PAGES * PAGE);
	shadow_ask("drop");
	must_ask("take");
	ASSERT_EQ(0, set_all(&self->mem, 1));
	ASSERT_EQ(0, hear(self->heard, MAX_HEARD));
}

FIXTURE_TEARDOWN(writes)
{
	EXPECT_EQ(0, set_all(&self->mem, 0));
	shadow_ask("drop");
	memory_close(&self->mem);
	free(self->heard);
}

/* ---- many CPUs --------------------------------------------------------- */

/* A write that a CPU has made */
struct made {
	__u64 gpa;
	unsigned int size;
	char data[40];
};

struct cpu {
	pthread_t thread;
	unsigned int nr;
	struct memory *mem;
	struct made made[STEPS];
	unsigned int heard;	/* how many of these have been heard */
	unsigned int told_by;	/* the VMM's thread that made the records; 0: not known yet */
};

static bool stay_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void note(struct cpu *cpu, unsigned int step, const unsigned char *at, const void *data,
		 unsigned int size)
{
	const unsigned char *bytes = data;
	struct made *made = &cpu->made[step];
	size_t offset = at - cpu->mem->pages;
	unsigned int i;

	made->gpa = cpu->mem->gpa[offset / PAGE] + offset % PAGE;
	made->size = size;
	for (i = 0; i < size; i++)
		sprintf(made->data + 2 * i, "%02x", bytes[i]);
}

/* A store of 4, 8 or 16 bytes, or an addition to the counter in the last page */
static void write_step(struct cpu *cpu, unsigned int step, unsigned int *seed)
{
	unsigned long *counter = (unsigned long *)(cpu->mem->pages + (PAGES - 1) * PAGE);
	__u64 value[2] = { (__u64)(cpu->nr + 1) << 32 | step, ~(__u64)step };
	unsigned char *p = cpu->mem->pages + rand_r(seed) % ((PAGES - 1) * PAGE / 16) * 16;

	switch (step % 4) {
	case 0:
		__atomic_store_n((__u64 *)p, value[0], __ATOMIC_RELAXED);
		note(cpu, step, p, value, 8);
		break;
	case 1:
		__atomic_store_n((__u32 *)p, step, __ATOMIC_RELAXED);
		note(cpu, step, p, value, 4);
		break;
	case 2:
		asm volatile("movups (%1), %%xmm0; movups %%xmm0, (%0)" : : "r"(p), "r"(value)
			     : "xmm0", "memory");
		note(cpu, step, p, value, 16);
		break;
	default:
		value[0] = __sync_fetch_and_add(counter, 1) + 1;
		note(cpu, step, (unsigned char *)counter, value, 8);
	}
}

static void *write_all(void *arg)
{
	struct cpu *cpu = arg;
	unsigned int seed = cpu->nr + 1, step;

	if (!stay_on(cpu->nr))
		return "can't stay on a CPU";
	for (step = 0; step < STEPS; step++)
		write_step(cpu, step, &seed);
	return NULL;
}

static bool is_next(const struct cpu *cpu, const struct heard *heard)
{
	const struct made *made = &cpu->made[cpu->heard];

	return cpu->heard < STEPS && made->gpa == heard->gpa && made->size == heard->size &&
	       !strcmp(made->data, heard->data);
}

/* The CPU that made a record, known by the VMM's thread; the first write of each CPU is unique */
static struct cpu *writer_of(struct cpu *cpus, const struct heard *heard)
{
	unsigned int i;

	for (i = 0; i < CPUS; i++)
		if (cpus[i].told_by == heard->thread)
			return &cpus[i];
	for (i = 0; i < CPUS; i++)
		if (!cpus[i].told_by && is_next(&cpus[i], heard)) {
			cpus[i].told_by = heard->thread;
			return &cpus[i];
		}
	return NULL;
}

TEST_F(writes, each_once_and_in_order)
{
	struct cpu *cpus = calloc(CPUS, sizeof(*cpus)), *cpu;
	unsigned int n, i;
	void *why;

	ASSERT_NE(NULL, cpus);
	if (sysconf(_SC_NPROCESSORS_ONLN) < CPUS)
		SKIP(return, "needs 4 CPUs");
	for (i = 0; i < CPUS; i++) {
		cpus[i].nr = i;
		cpus[i].mem = &self->mem;
		ASSERT_EQ(0, pthread_create(&cpus[i].thread, NULL, write_all, &cpus[i]));
	}
	for (i = 0; i < CPUS; i++) {
		ASSERT_EQ(0, pthread_join(cpus[i].thread, &why));
		ASSERT_EQ(NULL, why);
	}
	n = hear(self->heard, MAX_HEARD);
	EXPECT_EQ(CPUS * STEPS, n);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(self->heard[0].seq + i, self->heard[i].seq);
		cpu = writer_of(cpus, &self->heard[i]);
		ASSERT_NE(NULL, cpu) {
			TH_LOG("record %u: of no CPU", i);
		}
		ASSERT_TRUE(is_next(cpu, &self->heard[i])) {
			TH_LOG("record %u, of CPU %u: %s at %llx is not its write %u", i, cpu->nr,
			       self->heard[i].data, self->heard[i].gpa, cpu->heard);
		}
		cpu->heard++;
	}
	for (i = 0; i < CPUS; i++)
		EXPECT_EQ(STEPS, cpus[i].heard);
	EXPECT_EQ(CPUS * (STEPS / 4), *(unsigned long *)(self->mem.pages + (PAGES - 1) * PAGE));
	EXPECT_TRUE(mirrored(&self->mem));
	free(cpus);
}

/* ---- two CPUs, the same bytes -------------------------------------------- */

struct racer {
	pthread_t thread;
	unsigned int nr;
	__u64 *words;
};

static unsigned int at_the_line;

static __u64 word_of(unsigned int racer, unsigned int round)
{
	return (__u64)(racer + 1) << 56 | (__u64)round << 32 | (round ^ 0xffff);
}

static void *race(void *arg)
{
	struct racer *racer = arg;
	unsigned int round;

	if (!stay_on(racer->nr))
		return "can't stay on a CPU";
	for (round = 0; round < ROUNDS; round++) {
		__atomic_add_fetch(&at_the_line, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&at_the_line, __ATOMIC_SEQ_CST) < 2 * (round + 1))
			;
		__atomic_store_n(&racer->words[round], word_of(racer->nr, round),
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

/* How many records say that this racer wrote its word of this round */
static unsigned int count_heard(const struct heard *heard, unsigned int n, __u64 gpa,
				unsigned int racer, unsigned int round)
{
	__u64 value = word_of(racer, round);
	unsigned int i, count = 0, j;
	char data[40];

	for (j = 0; j < sizeof(value); j++)
		sprintf(data + 2 * j, "%02x", ((unsigned char *)&value)[j]);
	for (i = 0; i < n; i++)
		count += heard[i].gpa == gpa && heard[i].size == 8 && !strcmp(heard[i].data, data);
	return count;
}

TEST_F(writes, both_of_a_race)
{
	__u64 *words = (__u64 *)self->mem.pages;
	struct racer racers[2];
	unsigned int i, n, won[2] = {};
	void *why;

	at_the_line = 0;
	for (i = 0; i < 2; i++) {
		racers[i] = (struct racer) { .nr = i, .words = words };
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, race, &racers[i]));
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(racers[i].thread, &why));
		ASSERT_EQ(NULL, why);
	}
	n = hear(self->heard, MAX_HEARD);
	EXPECT_EQ(2 * ROUNDS, n);
	for (i = 0; i < ROUNDS; i++) {
		__u64 gpa = self->mem.gpa[0] + 8 * i;

		EXPECT_EQ(1, count_heard(self->heard, n, gpa, 0, i));
		EXPECT_EQ(1, count_heard(self->heard, n, gpa, 1, i));
		EXPECT_TRUE(words[i] == word_of(0, i) || words[i] == word_of(1, i));
		won[words[i] == word_of(1, i)]++;
	}
	printf("# the value of the first stayed %u times, of the second %u\n", won[0], won[1]);
	/* The server's mirror, read when both records are there, has the value that stayed */
	EXPECT_TRUE(mirrored(&self->mem));
}

/* ---- across pages, and large ------------------------------------------------ */

#define expect_heard(at, bytes, text) do {					\
	ASSERT_LT(i, n);							\
	EXPECT_EQ(at, self->heard[i].gpa);					\
	EXPECT_EQ(bytes, self->heard[i].size);					\
	EXPECT_STREQ(text, self->heard[i].data);				\
	i++;									\
} while (0)

/* An instruction that writes to two pages is a record for each: with all of the new value */
TEST_F(writes, across_pages)
{
	unsigned char *p = self->mem.pages + PAGE, value[16];
	__u64 one = self->mem.gpa[0] + PAGE, two = self->mem.gpa[1];
	__u64 word = 0x0807060504030201ULL;
	unsigned int n, i = 0, old = 0x100;

	asm volatile("addl $0x01020304, -2(%0)" : : "r"(p) : "memory");
	asm volatile("lock; addl $0x10101010, -1(%0)" : : "r"(p) : "memory");
	asm volatile("lock; xaddl %0, -3(%1)" : "+r"(old) : "r"(p) : "memory");
	EXPECT_EQ(0x12130400, old);
	asm volatile("xchgq %0, -5(%1)" : "+r"(word) : "r"(p) : "memory");
	for (old = 0; old < sizeof(value); old++)
		value[old] = 0xa0 + old;
	asm volatile("movups (%1), %%xmm0; movups %%xmm0, -6(%0)" : : "r"(p), "r"(value)
		     : "xmm0", "memory");
	n = hear(self->heard, MAX_HEARD);
	EXPECT_EQ(10, n);
	expect_heard(one - 2, 2, "0403");
	expect_heard(two, 2, "0201");
	expect_heard(one - 1, 1, "13");
	expect_heard(two, 3, "121110");
	expect_heard(one - 3, 3, "000513");
	expect_heard(two, 1, "12");
	expect_heard(one - 5, 5, "0102030405");
	expect_heard(two, 3, "060708");
	expect_heard(one - 6, 6, "a0a1a2a3a4a5");
	expect_heard(two, 10, "a6a7a8a9aaabacadaeaf");
	EXPECT_EQ(0, memcmp(p - 6, value, sizeof(value)));
	EXPECT_TRUE(mirrored(&self->mem));
}

__attribute__((target("avx")))
static void store32(void *to, const void *from)
{
	asm volatile("vmovdqu (%1), %%ymm0; vmovdqu %%ymm0, (%0); vzeroupper" : : "r"(to), "r"(from)
		     : "xmm0", "memory");
}

/*
 * A store of 32 bytes is a record for each 16 bytes, if KVM can emulate the instruction. An
 * emulated machine has no AVX: this is for pvvm --accel kvm.
 */
TEST_F(writes, avx)
{
	unsigned char *p = self->mem.pages + PAGE, value[32];
	__u64 one = self->mem.gpa[0] + PAGE, two = self->mem.gpa[1];
	const char *kernel;
	unsigned int n, i;

	if (!__builtin_cpu_supports("avx"))
		SKIP(return, "needs AVX");
	kernel = shadow_ask("kernel");
	ASSERT_NE(NULL, kernel);
	if (atoi(kernel) < 7)
		SKIP(return, "KVM of the host can't emulate AVX: it would stop this VM");
	for (i = 0; i < sizeof(value); i++)
		value[i] = i;
	store32(p - 256, value);
	store32(p - 17, value);
	n = hear(self->heard, MAX_HEARD);
	i = 0;
	EXPECT_EQ(5, n);
	expect_heard(one - 256, 16, "000102030405060708090a0b0c0d0e0f");
	expect_heard(one - 240, 16, "101112131415161718191a1b1c1d1e1f");
	expect_heard(one - 17, 16, "000102030405060708090a0b0c0d0e0f");
	expect_heard(one - 1, 1, "10");
	expect_heard(two, 15, "1112131415161718191a1b1c1d1e1f");
	EXPECT_EQ(0, memcmp(p - 17, value, sizeof(value)));
	EXPECT_TRUE(mirrored(&self->mem));
}

TEST_HARNESS_MAIN
