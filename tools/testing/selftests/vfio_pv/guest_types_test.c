// SPDX-License-Identifier: GPL-2.0-only
/*
 * Types of memory: what a server on the host hears of writes by the guest's CPUs, and how slow
 * and dying servers affect them. The server is the example "pvshadow", to which host_shadow.sh
 * passes the commands of this test.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "lib/guest_ask.h"
#include "lib/guest_balloon.h"
#include "lib/guest_iface.h"
#include "lib/guest_shadow.h"
#include "lib/now.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define THREADS		4
/* The longest that a store may take which waits for nobody, on a machine that is busy otherwise */
#define STORE_MS	2000
/* The same for a store that waits for a server: twice as long as a server is given */
#define WAIT_MS		8000

/* ---- memory ------------------------------------------------------------- */

static void store8(unsigned char *p, unsigned char value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static void store16(unsigned char *p, unsigned short value)
{
	__atomic_store_n((unsigned short *)p, value, __ATOMIC_RELAXED);
}

/* Set the type of a page, have the server do @command unless NULL; the type then, or an errno */
static int type_after(__u64 gpa, unsigned int type, const char *command)
{
	char line[64];
	int fd = open(MEM_TYPE, O_RDWR), ret;

	snprintf(line, sizeof(line), "%llx 1000 %u", (unsigned long long)gpa, type);
	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		return -errno;
	if (command)
		shadow_ask(command);
	memset(line, 0, sizeof(line));
	ret = read(fd, line, sizeof(line) - 1) > 0 ? atoi(line) : -errno;
	close(fd);
	return ret;
}

FIXTURE(types)
{
	struct memory mem;
};

FIXTURE_SETUP(types)
{
	if (access(MEM_TYPE, F_OK))
		SKIP(return, "needs debugfs of pviommu_guest");
	ASSERT_TRUE(memory_open(&self->mem));
	shadow_ask("drop");
	must_ask("take");
}

FIXTURE_TEARDOWN(types)
{
	EXPECT_EQ(0, set_all(&self->mem, 0));
	shadow_ask("drop");
	shadow_ask("timeout");
	memory_close(&self->mem);
}

/* ---- setting types -------------------------------------------------------- */

TEST_F(types, refusals)
{
	__u64 gpa = self->mem.gpa[0];

	EXPECT_EQ(-EOPNOTSUPP, set_type(gpa, PAGE, 2));
	EXPECT_EQ(-EINVAL, set_type(gpa + 1, PAGE, 1));
	EXPECT_EQ(-EINVAL, set_type(gpa, 0, 1));
	EXPECT_EQ(-ERANGE, set_type(~0xfffULL, 2 * PAGE, 1));
	EXPECT_EQ(-EFAULT, set_type(1ULL << 45, PAGE, 1));
	EXPECT_EQ(-EFAULT, set_type(1ULL << 45, PAGE, 0));
	EXPECT_EQ(-EFAULT, set_type(0, 1ULL << 62, 0));
	EXPECT_EQ(0, set_type(gpa, PAGE, 1));
	EXPECT_EQ(0, set_type(gpa, PAGE, 1));
	EXPECT_EQ(0, set_type(gpa, PAGE, 0));
	EXPECT_STREQ("error: Device or resource busy", shadow_ask("take"));
	must_ask("drop");
	EXPECT_STREQ("error: Permission denied", shadow_ask("drop"));
	EXPECT_EQ(-ENOENT, set_type(gpa, PAGE, 1));
	EXPECT_EQ(0, set_type(gpa, PAGE, 0));
	must_ask("take");
}

TEST_F(types, end_with_the_claim)
{
	struct heard heard[1];

	EXPECT_EQ(1, type_after(self->mem.gpa[0], 1, NULL));
	EXPECT_EQ(0, type_after(self->mem.gpa[0], 0, NULL));
	EXPECT_EQ(0, type_after(self->mem.gpa[0], 1, "drop"));
	must_ask("take");
	/* Pages of an old claim do not belong to a new one */
	EXPECT_EQ(1, type_after(self->mem.gpa[1], 1, NULL));
	store8(self->mem.pages, 2);
	EXPECT_EQ(0, hear(heard, 1));
}

/* When the interface stops and starts, pages become plain RAM, and the server is told */
TEST_F(types, lost_with_the_interface)
{
	unsigned int i;

	ASSERT_EQ(0, set_all(&self->mem, 1));
	ASSERT_TRUE(mirrored(&self->mem));
	ASSERT_EQ(0, iface_restart());
	for (i = 0; i < 50 && mirror_pages(); i++)
		usleep(100000);
	EXPECT_EQ(0, mirror_pages());
	/* The claim is still there */
	ASSERT_EQ(0, set_all(&self->mem, 1));
	store8(self->mem.pages, 9);
	EXPECT_TRUE(mirrored(&self->mem));
}

/* ---- what the server hears --------------------------------------------------- */

#define expect_heard(at, bytes, text) do {					\
	ASSERT_LT(i, n);							\
	EXPECT_EQ(at, heard[i].gpa);						\
	EXPECT_EQ(bytes, heard[i].size);					\
	EXPECT_STREQ(text, heard[i].data);					\
	i++;									\
} while (0)

TEST_F(types, stores_of_each_size)
{
	unsigned char *p = self->mem.pages;
	__u64 gpa = self->mem.gpa[0];
	struct heard heard[16];
	unsigned int n, i = 0;

	ASSERT_EQ(0, set_type(gpa, PAGE, 1));
	ASSERT_EQ(0, hear(heard, 16));
	asm volatile("movb $0x11, (%0)" : : "r"(p) : "memory");
	asm volatile("movw $0x2222, 2(%0)" : : "r"(p) : "memory");
	asm volatile("movl $0x33333333, 4(%0)" : : "r"(p) : "memory");
	asm volatile("movq %1, 8(%0)" : : "r"(p), "r"(0x4444444444444444ULL) : "memory");
	asm volatile("pcmpeqd %%xmm0, %%xmm0; movups %%xmm0, 17(%0)" : : "r"(p) : "xmm0", "memory");
	n = hear(heard, 16);
	EXPECT_EQ(5, n);
	expect_heard(gpa, 1, "11");
	expect_heard(gpa + 2, 2, "2222");
	expect_heard(gpa + 4, 4, "33333333");
	expect_heard(gpa + 8, 8, "4444444444444444");
	expect_heard(gpa + 17, 16, "ffffffffffffffffffffffffffffffff");
}

TEST_F(types, read_modify_write)
{
	unsigned char *p = self->mem.pages;
	__u64 gpa = self->mem.gpa[0];
	struct heard heard[16];
	unsigned int n, i = 0, old;

	memset(p, 0, PAGE);
	ASSERT_EQ(0, set_type(gpa, PAGE, 1));
	ASSERT_EQ(0, hear(heard, 16));
	asm volatile("incl (%0)" : : "r"(p) : "memory");
	asm volatile("lock; addl $0x10, (%0)" : : "r"(p) : "memory");
	old = 0x99;
	asm volatile("xchgl %1, (%0)" : : "r"(p), "r"(old) : "memory");
	old = 1;
	asm volatile("lock; xaddl %1, (%0)" : "+r"(p), "+r"(old) : : "memory");
	EXPECT_EQ(0x99, old);
	EXPECT_TRUE(__sync_bool_compare_and_swap((unsigned long long *)(p + 8), 0, 0x77));
	asm volatile("orb $0x80, 16(%0)" : : "r"(p) : "memory");
	n = hear(heard, 16);
	EXPECT_EQ(6, n);
	expect_heard(gpa, 4, "01000000");
	expect_heard(gpa, 4, "11000000");
	expect_heard(gpa, 4, "99000000");
	expect_heard(gpa, 4, "9a000000");
	expect_heard(gpa + 8, 8, "7700000000000000");
	expect_heard(gpa + 16, 1, "80");
}

TEST_F(types, across_pages)
{
	struct heard heard[4];
	unsigned int n, i = 0;

	ASSERT_EQ(0, set_type(self->mem.gpa[0], PAGE, 1));
	ASSERT_EQ(0, set_type(self->mem.gpa[1], PAGE, 1));
	ASSERT_EQ(0, hear(heard, 4));
	asm volatile("movq %1, (%0)" : : "r"(self->mem.pages + PAGE - 3),
		     "r"(0x0807060504030201ULL) : "memory");
	n = hear(heard, 4);
	EXPECT_EQ(2, n);
	expect_heard(self->mem.gpa[0] + PAGE - 3, 3, "010203");
	expect_heard(self->mem.gpa[1], 5, "0405060708");
	/* Only the first of the two pages has the type */
	ASSERT_EQ(0, set_type(self->mem.gpa[1], PAGE, 0));
	asm volatile("movq %1, (%0)" : : "r"(self->mem.pages + PAGE - 3),
		     "r"(0x1807060504030211ULL) : "memory");
	n = hear(heard, 4);
	i = 0;
	EXPECT_EQ(1, n);
	expect_heard(self->mem.gpa[0] + PAGE - 3, 3, "110203");
}

static void *toggler(void *arg)
{
	struct memory *mem = arg;
	unsigned int i;
	long ret = 0;

	for (i = 0; i < 64 && !ret; i++)
		ret = set_type(mem->gpa[i % 4], PAGE, i / 4 % 2);
	return (void *)ret;
}

/* CPUs set types of the same pages at the same time: the server must agree with the outcome */
TEST_F(types, told_in_the_order_of_changes)
{
	struct heard heard[8];
	pthread_t thread[THREADS];
	unsigned int round, i;
	void *ret;

	for (round = 0; round < 8; round++) {
		for (i = 0; i < THREADS; i++)
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, toggler, &self->mem));
		for (i = 0; i < THREADS; i++) {
			ASSERT_EQ(0, pthread_join(thread[i], &ret));
			EXPECT_EQ(NULL, ret);
		}
		/* The server hears of writes to just the pages that it believes to have */
		ASSERT_EQ(0, hear(heard, 8));
		for (i = 0; i < 4; i++)
			store8(self->mem.pages + i * PAGE, round);
		EXPECT_EQ(hear(heard, 8), mirror_pages());
	}
}

TEST_F(types, plain_again)
{
	struct heard heard[4];

	ASSERT_EQ(0, set_type(self->mem.gpa[0], PAGE, 1));
	ASSERT_EQ(0, set_type(self->mem.gpa[0], PAGE, 0));
	store8(self->mem.pages, 1);
	EXPECT_EQ(0, hear(heard, 4));
}

/* ---- many CPUs ------------------------------------------------------------------ */

struct writer {
	pthread_t thread;
	struct memory *mem;
	unsigned int seed;
	unsigned int limit;	/* writes, or until told to stop */
	bool stop;
	unsigned long longest;	/* microseconds for one write */
	unsigned long adds;	/* to the counter that all share */
	unsigned long last;	/* written to the word that is its own */
	unsigned int nr;
};

/* The last page has a counter that all threads add to, then a word for each thread */
static unsigned long *shared_word(struct memory *mem, unsigned int nr)
{
	return (unsigned long *)(mem->pages + (PAGES - 1) * PAGE + 64 * nr);
}

static void *writes(void *arg)
{
	struct writer *w = arg;
	unsigned long before, took;
	unsigned int n;

	for (n = 0; n < w->limit && !__atomic_load_n(&w->stop, __ATOMIC_RELAXED); n++) {
		unsigned int at = rand_r(&w->seed) % ((PAGES - 1) * PAGE - 16);
		unsigned char *p = w->mem->pages + at;

		before = now_ns();
		switch (rand_r(&w->seed) % 8) {
		case 0:
			store8(p, n);
			break;
		case 1:
			asm volatile("movq %1, (%0)" : : "r"(p), "r"((__u64)n * 0x01010101ULL)
				     : "memory");
			break;
		case 2:
			asm volatile("movd %1, %%xmm0; movups %%xmm0, (%0)" : : "r"(p), "r"(n)
				     : "xmm0", "memory");
			break;
		case 3:
			asm volatile("addl %1, (%0)" : : "r"(w->mem->pages + at / 4 * 4), "r"(n)
				     : "memory");
			break;
		case 4:
			__atomic_exchange_n((unsigned long *)(w->mem->pages + at / 8 * 8), n,
					    __ATOMIC_SEQ_CST);
			break;
		case 5:
			w->last++;
			__atomic_store_n(shared_word(w->mem, w->nr + 1), w->last, __ATOMIC_RELAXED);
			break;
		default:
			__sync_fetch_and_add(shared_word(w->mem, 0), 1);
			w->adds++;
		}
		took = (now_ns() - before) / 1000;
		if (took > w->longest)
			w->longest = took;
	}
	return NULL;
}

static bool start(struct writer *w, struct memory *mem, unsigned int limit)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		w[i].mem = mem;
		w[i].nr = i;
		w[i].seed += i + 1;
		w[i].limit = limit;
		w[i].stop = false;
		w[i].longest = 0;
		if (pthread_create(&w[i].thread, NULL, writes, &w[i]))
			return false;
	}
	return true;
}

static void stop(struct writer *w)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		__atomic_store_n(&w[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
}

/* The longest time that one write took, in milliseconds */
static unsigned long longest_ms(const struct writer *w, const char *what)
{
	unsigned long us = 0;
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		us = w[i].longest > us ? w[i].longest : us;
	printf("# the longest write %s: %lu us\n", what, us);
	return us / 1000;
}

/* There were writes, and none was lost in memory, whether or not the server heard of it */
static bool all_there(const struct writer *w, struct memory *mem)
{
	unsigned long adds = 0;
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		adds += w[i].adds;
		if (w[i].last != *shared_word(mem, i + 1))
			return false;
	}
	return adds && adds == *shared_word(mem, 0);
}

TEST_F(types, mirror_of_four_writers)
{
	struct writer w[THREADS] = {};
	unsigned int round;

	ASSERT_EQ(0, set_all(&self->mem, 1));
	for (round = 0; round < 4; round++) {
		ASSERT_TRUE(start(w, &self->mem, ~0U));
		usleep(500000);
		stop(w);
		EXPECT_TRUE(mirrored(&self->mem));
		EXPECT_TRUE(all_there(w, &self->mem));
	}
}

TEST_F(types, claim_taken_and_dropped_under_writers)
{
	struct writer w[THREADS] = {};
	unsigned int round;

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, set_all(&self->mem, 1));
		ASSERT_TRUE(start(w, &self->mem, ~0U));
		usleep(200000);
		must_ask(round % 2 ? "quit" : "drop");
		EXPECT_EQ(-ENOENT, set_type(self->mem.gpa[3], PAGE, 1));
		must_ask("take");
		ASSERT_EQ(0, set_all(&self->mem, 1));
		usleep(200000);
		stop(w);
		EXPECT_TRUE(mirrored(&self->mem));
		EXPECT_TRUE(all_there(w, &self->mem));
	}
}

/*
 * A claim of many pages ends while CPUs write. Returns the longest that a write took, in
 * milliseconds: one of theirs, or the first to each page of @huge.
 */
static unsigned long end_of_claim_ms(struct writer *w, struct memory *mem, unsigned char *huge)
{
	unsigned long first_us = 0, longest;
	unsigned int i;

	start(w, mem, ~0U);
	usleep(200000);
	shadow_ask("drop");
	for (i = 0; i < HUGE_SIZE / PAGE; i++) {
		unsigned long before = now_ns(), took;

		store16(huge + i * PAGE, i);
		took = (now_ns() - before) / 1000;
		first_us = took > first_us ? took : first_us;
	}
	usleep(200000);
	stop(w);
	printf("# the longest first write to a page of a claim that has ended: %lu us\n", first_us);
	longest = longest_ms(w, "while a claim ended");
	return longest > first_us / 1000 ? longest : first_us / 1000;
}

/* No CPU waits for the end of a claim. An emulated machine may stand still, so it is tried again */
TEST_F(types, no_write_waits_for_the_end_of_a_claim)
{
	struct writer w[THREADS] = {};
	unsigned int try, i;
	__u64 gpa = 0;
	unsigned char *huge = huge_page(&gpa);

	ASSERT_NE(NULL, huge);
	for (try = 0; try < 5; try++) {
		if (try)
			must_ask("take");
		ASSERT_EQ(0, set_type(gpa, HUGE_SIZE, 1));
		ASSERT_EQ(0, set_all(&self->mem, 1));
		if (end_of_claim_ms(w, &self->mem, huge) < STORE_MS)
			break;
	}
	EXPECT_GT(5, try);
	EXPECT_TRUE(all_there(w, &self->mem));
	for (i = 0; i < HUGE_SIZE / PAGE; i++)
		EXPECT_EQ(i, *(unsigned short *)(huge + i * PAGE));
	huge_page_free(huge);
}

/* ---- a server that is slow --------------------------------------------------------- */

static void *sleeper(void *arg)
{
	shadow_ask(arg);
	return NULL;
}

/* Have the server sleep; a busy host takes its time to hear of it */
static void send_to_sleep(pthread_t *thread, const char *command)
{
	unsigned int tries;
	char path[128];

	share_path(path, sizeof(path), "server.sleeps");
	unlink(path);
	pthread_create(thread, NULL, sleeper, (void *)command);
	for (tries = 0; tries < 600 && access(path, F_OK); tries++)
		usleep(100000);
}

/* From here on until the end of the test, one that sleeps for a second is dropped */
static void be_impatient(void)
{
	shadow_ask("timeout 1000");
}

TEST_F(types, slow_server_slows_writers)
{
	unsigned char *p = self->mem.pages;
	__u64 gpa = self->mem.gpa[0];
	struct heard heard[512];
	pthread_t thread;
	unsigned int i, n;

	ASSERT_EQ(0, set_type(gpa, PAGE, 1));
	hear(heard, 512);
	send_to_sleep(&thread, "sleep 600");
	for (i = 0; i < 400; i++)
		store16(p + 2 * i, i);
	pthread_join(thread, NULL);
	n = hear(heard, 512);
	ASSERT_EQ(400, n);
	for (i = 0; i < n; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%02x%02x", i & 0xff, i >> 8);
		EXPECT_EQ(gpa + 2 * i, heard[i].gpa);
		EXPECT_STREQ(text, heard[i].data);
	}
}

/* Types are set while the ring is full: the op goes on when there is room */
TEST_F(types, slow_server_slows_types)
{
	unsigned int round;
	pthread_t thread;

	ASSERT_EQ(0, set_all(&self->mem, 1));
	send_to_sleep(&thread, "sleep 600");
	/* More records than there is room for; at the end all pages have type 1 */
	for (round = 0; round < 7; round++)
		ASSERT_EQ(0, set_all(&self->mem, round % 2));
	ASSERT_EQ(0, set_all(&self->mem, 1));
	pthread_join(thread, NULL);
	store8(self->mem.pages, 7);
	store8(self->mem.pages + (PAGES - 1) * PAGE, 8);
	EXPECT_TRUE(mirrored(&self->mem));
}

/* The server makes no room: the claim ends within a bounded time, by an op that needs room */
TEST_F(types, server_that_sleeps_is_dropped_by_an_op)
{
	unsigned int round, i;
	pthread_t thread;
	int ret = 0;

	be_impatient();
	ASSERT_EQ(0, set_all(&self->mem, 1));
	send_to_sleep(&thread, "sleep 15000");
	for (round = 0; round < 20 && !ret; round++)
		ret = set_all(&self->mem, round % 2);
	EXPECT_EQ(-ENOENT, ret);
	EXPECT_EQ(0, set_all(&self->mem, 0));
	for (i = 0; i < PAGES; i++)
		store8(self->mem.pages + i * PAGE, i);
	pthread_join(thread, NULL);
	must_ask("take");
	ASSERT_EQ(0, set_all(&self->mem, 1));
	EXPECT_TRUE(mirrored(&self->mem));
}

TEST_F(types, server_that_sleeps_is_dropped)
{
	unsigned char *p = self->mem.pages;
	pthread_t thread;
	unsigned int i;

	be_impatient();
	ASSERT_EQ(0, set_all(&self->mem, 1));
	send_to_sleep(&thread, "sleep 15000");
	for (i = 0; i < 2000; i++)
		store16(p + 2 * i, i);
	EXPECT_EQ(-ENOENT, set_type(self->mem.gpa[1], PAGE, 1));
	for (i = 0; i < 2000; i++)
		EXPECT_EQ(i, __atomic_load_n((unsigned short *)(p + 2 * i), __ATOMIC_RELAXED));
	pthread_join(thread, NULL);
	must_ask("take");
	ASSERT_EQ(0, set_all(&self->mem, 1));
	EXPECT_TRUE(mirrored(&self->mem));
}

/* CPUs wait for a server that sleeps, but not longer than the host allows */
TEST_F(types, writes_wait_for_a_server_that_sleeps)
{
	struct writer w[THREADS] = {};
	pthread_t thread;

	be_impatient();
	ASSERT_EQ(0, set_all(&self->mem, 1));
	send_to_sleep(&thread, "sleep 15000");
	ASSERT_TRUE(start(w, &self->mem, ~0U));
	pthread_join(thread, NULL);
	stop(w);
	EXPECT_GT(WAIT_MS, longest_ms(w, "while the server slept"));
	EXPECT_TRUE(all_there(w, &self->mem));
	EXPECT_EQ(-ENOENT, set_type(self->mem.gpa[1], PAGE, 1));
}

/*
 * The server dies while its ring is full and CPUs wait for room, for which they would wait a
 * minute. They go on, and nothing that they wrote is lost.
 */
TEST_F(types, server_is_killed_with_a_full_ring)
{
	struct writer w[THREADS] = {};
	unsigned long longest;
	pthread_t thread;

	ASSERT_EQ(0, set_all(&self->mem, 1));
	ASSERT_TRUE(start(w, &self->mem, ~0U));
	send_to_sleep(&thread, "die");
	pthread_join(thread, NULL);
	usleep(200000);
	stop(w);
	longest = longest_ms(w, "while the server died");
	EXPECT_LT(500, longest);
	EXPECT_GT(20000, longest);
	EXPECT_TRUE(all_there(w, &self->mem));
	EXPECT_EQ(-ENOENT, set_type(self->mem.gpa[1], PAGE, 1));
	must_ask("take");
	ASSERT_EQ(0, set_all(&self->mem, 1));
	store8(self->mem.pages, 3);
	EXPECT_TRUE(mirrored(&self->mem));
}

/* Pages with a type are released: the server hears of each page before it changes */
TEST_F(types, released_pages_are_plain)
{
	__u64 gpa = 0;
	unsigned char *huge = huge_page(&gpa);
	struct heard heard[1];

	ASSERT_NE(NULL, huge);
	EXPECT_EQ(0, set_type(gpa + 2 * PAGE, 3 * PAGE, 1));
	EXPECT_EQ(0, set_type(self->mem.gpa[0], PAGE, 1));
	store8(huge + 2 * PAGE, 1);
	EXPECT_EQ(4, mirror_pages());
	EXPECT_TRUE(release_memory(gpa, HUGE_SIZE));
	EXPECT_EQ(1, mirror_pages());
	/* What the guest finds there now is another page, without a type */
	EXPECT_EQ(0, huge[2 * PAGE]);
	hear(heard, 1);
	store8(huge + 2 * PAGE, 2);
	EXPECT_EQ(0, hear(heard, 1));
	EXPECT_EQ(0, type_after(gpa + 2 * PAGE, 0, NULL));
	huge_page_free(huge);
}

TEST_HARNESS_MAIN
