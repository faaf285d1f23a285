// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest gives pages back: who maps them is told, then cut off, then they are free
 * memory of the host; and nothing happens to other pages.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/edu.h"
#include "lib/pv_test.h"

#define IOVA	0x8000000ULL
#define TOKEN	0x1234567890ULL
#define LEN	256

FIXTURE(release)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 dom;
};

FIXTURE_SETUP(release)
{
	self->before = pv_begin();
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->r = &self->vm.ring[0];
	pv_start(&self->vm, 1, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->vm.dev[0].id, self->dom);
}

FIXTURE_TEARDOWN(release)
{
	pv_vm_close(&self->vm);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
}

/* The frames are in the list */
static struct pviommu_op release(__u32 count, __u64 token)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RELEASE);

	op.release.list = PV_AT_LIST;
	op.release.count = count;
	op.release.token = token;
	return op;
}

static struct pviommu_op release_range(struct pv_vm *vm, __u64 gpa, __u32 count)
{
	__u32 i;

	for (i = 0; i < count; i++)
		pv_list(vm)[i] = (gpa >> 12) + i;
	return release(count, TOKEN);
}

/* The next event, which may take its time */
static bool wait_event(struct pv_vm *vm, struct pviommu_event *ev)
{
	int i;

	for (i = 0; i < 2000; i++) {
		if (pv_event_next(vm, ev))
			return true;
		usleep(5000);
	}
	memset(ev, 0, sizeof(*ev));
	return false;
}

#define expect_event(kind, iova, at, bytes) do {		\
	struct pviommu_event __ev;				\
								\
	ASSERT_TRUE(wait_event(&self->vm, &__ev));		\
	EXPECT_EQ(kind, __ev.type);				\
	EXPECT_EQ(iova, __ev.addr);				\
	EXPECT_EQ(at, __ev.gpa);				\
	EXPECT_EQ(bytes, __ev.size);				\
} while (0)

#define expect_released(bytes)	expect_event(PVIOMMU_EV_RELEASED, TOKEN, 0, bytes)

static void fill(struct pv_vm *vm, __u64 gpa, __u64 size)
{
	memset(pv_mem(vm, gpa), 0x5a, size);
}

/* Are all bytes of a page this? */
static bool page_is(struct pv_vm *vm, __u64 gpa, char what)
{
	char *page = pv_mem(vm, gpa);

	return page[0] == what && !memcmp(page, page + 1, PV_PAGE - 1);
}

/* ---- what is freed --------------------------------------------------- */

TEST_F(release, memory_of_the_vmm_shrinks)
{
	long with, without;

	fill(&self->vm, PV_DATA, 514 * PV_PAGE);
	with = pv_status_kb(0, "RssAnon");
	pv_exec(self->r, release_range(&self->vm, PV_DATA + PV_PAGE, 512));
	expect_released(512 * PV_PAGE);
	without = pv_status_kb(0, "RssAnon");
	/* The kernel counts in batches */
	EXPECT_LE(512 * 4 - 300, with - without);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0x5a));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 513 * PV_PAGE, 0x5a));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + PV_PAGE, 0));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 512 * PV_PAGE, 0));
}

TEST_F(release, shared_memory_shrinks)
{
	void *hva = pv_mem(&self->vm, PV_DATA);
	struct stat full, less;
	int fd = memfd_create("guest", 0);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 16 * PV_PAGE));
	ASSERT_EQ(hva, mmap(hva, 16 * PV_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			    fd, 0));
	fill(&self->vm, PV_DATA, 17 * PV_PAGE);
	ASSERT_EQ(0, fstat(fd, &full));
	/* Of the file, and of what lies beside it */
	pv_exec(self->r, release_range(&self->vm, PV_DATA + 12 * PV_PAGE, 5));
	expect_released(5 * PV_PAGE);
	ASSERT_EQ(0, fstat(fd, &less));
	EXPECT_EQ(4 * PV_PAGE, (full.st_blocks - less.st_blocks) * 512);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 11 * PV_PAGE, 0x5a));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 12 * PV_PAGE, 0));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 16 * PV_PAGE, 0));
	close(fd);
}

/* Pages in any order, here and there */
TEST_F(release, just_these_pages)
{
	int i;

	fill(&self->vm, PV_DATA, 64 * PV_PAGE);
	for (i = 0; i < 32; i++)
		pv_list(&self->vm)[i] = (PV_DATA >> 12) + (62 - 2 * i);
	pv_exec(self->r, release(32, TOKEN));
	expect_released(32 * PV_PAGE);
	for (i = 0; i < 64; i++)
		EXPECT_TRUE(page_is(&self->vm, PV_DATA + i * PV_PAGE, i % 2 ? 0x5a : 0));
}

/* ---- who maps them --------------------------------------------------- */

TEST_F(release, who_does_not_let_go_is_cut_off)
{
	struct pv_state state;

	fill(&self->vm, PV_DATA, 8 * PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, 8 * PV_PAGE, PV_RW);
	pv_list(&self->vm)[0] = (PV_DATA >> 12) + 5;
	pv_list(&self->vm)[1] = (PV_DATA >> 12) + 2;
	pv_list(&self->vm)[2] = (PV_DATA >> 12) + 3;
	pv_exec(self->r, release(3, TOKEN));
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 2 * PV_PAGE, PV_DATA + 2 * PV_PAGE, 2 * PV_PAGE);
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 5 * PV_PAGE, PV_DATA + 5 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 2 * PV_PAGE, PV_DATA + 2 * PV_PAGE, 2 * PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 5 * PV_PAGE, PV_DATA + 5 * PV_PAGE, PV_PAGE);
	expect_released(3 * PV_PAGE);
	state = pv_state(self->r);
	EXPECT_EQ(5, state.pages_mapped);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + 3 * PV_PAGE);
	pv_lookup(self->r, self->dom, IOVA + 4 * PV_PAGE);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 3 * PV_PAGE, 0));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 4 * PV_PAGE, 0x5a));
}

/* It goes as a whole, and events name each part of it that was released */
TEST_F(release, parts_of_a_large_page)
{
	pv_exec(self->r, pv_op_map_2m(self->dom, IOVA, PV_HIGH, PV_2M, PV_RW));
	pv_list(&self->vm)[0] = (PV_HIGH >> 12) + 2;
	pv_list(&self->vm)[1] = (PV_HIGH >> 12) + 9;
	pv_list(&self->vm)[2] = (PV_HIGH >> 12) + 10;
	pv_exec(self->r, release(3, TOKEN));
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 2 * PV_PAGE, PV_HIGH + 2 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 9 * PV_PAGE, PV_HIGH + 9 * PV_PAGE, 2 * PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 2 * PV_PAGE, PV_HIGH + 2 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 9 * PV_PAGE, PV_HIGH + 9 * PV_PAGE, 2 * PV_PAGE);
	expect_released(3 * PV_PAGE);
	EXPECT_EQ(0, pv_state(self->r).pages_mapped);
}

TEST_F(release, who_lets_go_in_time_is_not_cut_off)
{
	ASSERT_TRUE(pv_param_set("release_ms", "3000"));
	pv_map(self->r, self->dom, IOVA, PV_DATA, 2 * PV_PAGE, PV_RW);
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_DATA, PV_PAGE);
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_inv(self->r, self->dom);
	expect_released(PV_PAGE);
	pv_lookup(self->r, self->dom, IOVA + PV_PAGE);
}

/* Unmapped, but a device may still reach it: that is flushed first */
TEST_F(release, what_waits_for_a_flush)
{
	__u64 pinned = pv_state(self->r).pages_pinned;

	fill(&self->vm, PV_DATA, PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_EQ(pinned + 1, pv_state(self->r).pages_pinned);
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	expect_released(PV_PAGE);
	EXPECT_EQ(pinned, pv_state(self->r).pages_pinned);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0));
}

/* Device and CPU see the same page when it is used again */
TEST_F(release, used_again)
{
	struct vfio_dev *edu = &self->vm.dev[0].vfio;
	char *from = pv_mem(&self->vm, PV_DATA + PV_PAGE), *to = pv_mem(&self->vm, PV_DATA);
	int i;

	if (!edu_is(edu))
		SKIP(return, "needs edu");
	pv_map(self->r, self->dom, IOVA, PV_DATA, 2 * PV_PAGE, PV_RW);
	for (i = 0; i < LEN; i++)
		from[i] = i + 1;
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_DATA, PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA, PV_DATA, PV_PAGE);
	expect_released(PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_TRUE(edu_from_ram(edu, IOVA + PV_PAGE, 0, LEN));
	ASSERT_TRUE(edu_to_ram(edu, IOVA, 0, LEN));
	EXPECT_EQ(0, memcmp(from, to, LEN));
}

/* ---- what is refused, and what comes in between ---------------------- */

TEST_F(release, refused)
{
	struct pviommu_op op = release_range(&self->vm, PV_DATA, 1);

	op.release.count = 0;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op.release.count = 513;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = release(1, TOKEN);
	op.release.list += 8;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = release(1, TOKEN);
	op.release.reserved = 1;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = release(1, TOKEN);
	op.release.list = PV_NOWHERE;
	pv_err_exec(PVIOMMU_EFAULT, self->r, op);
	pv_list(&self->vm)[1] = pv_list(&self->vm)[0];
	pv_err_exec(PVIOMMU_EINVAL, self->r, release(2, TOKEN));
	pv_list(&self->vm)[1] = PV_NOWHERE >> 12;
	pv_err_exec(PVIOMMU_EFAULT, self->r, release(2, TOKEN));
	pv_list(&self->vm)[1] = PV_ROM >> 12;
	pv_err_exec(PVIOMMU_EFAULT, self->r, release(2, TOKEN));
	pv_list(&self->vm)[1] = ~0ULL;
	pv_err_exec(PVIOMMU_EFAULT, self->r, release(2, TOKEN));
	/* What the host uses itself */
	pv_list(&self->vm)[1] = PV_AT_EVENTS >> 12;
	pv_err_exec(PVIOMMU_EBUSY, self->r, release(2, TOKEN));
	pv_list(&self->vm)[1] = PV_AT_OPS >> 12;
	pv_err_exec(PVIOMMU_EBUSY, self->r, release(2, TOKEN));
	/* Bypass can't give up single pages */
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	pv_err_exec(PVIOMMU_EBUSY, self->r, release(1, TOKEN));
	EXPECT_EQ(0, pv_events(&self->vm)->prod);
}

TEST_F(release, not_without_end)
{
	int i;

	ASSERT_TRUE(pv_param_set("release_ms", "2000"));
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	for (i = 0; i < 64; i++)
		pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	pv_err_exec(PVIOMMU_ENOSPC, self->r, release_range(&self->vm, PV_DATA, 1));
	/* RESET forgets them, at once, and the page stays */
	fill(&self->vm, PV_DATA, PV_PAGE);
	pv_reset(&self->vm);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0x5a));
}

TEST_F(release, memory_is_unplugged_meanwhile)
{
	ASSERT_TRUE(pv_param_set("release_ms", "500"));
	pv_map(self->r, self->dom, IOVA, PV_HIGH, 2 * PV_PAGE, PV_RW);
	pv_exec(self->r, release_range(&self->vm, PV_HIGH, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_HIGH, PV_PAGE);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	expect_event(PVIOMMU_EV_REVOKED, IOVA, PV_HIGH, 2 * PV_PAGE);
	expect_released(0);
}

TEST_F(release, endpoint_enters_bypass_meanwhile)
{
	ASSERT_TRUE(pv_param_set("release_ms", "500"));
	fill(&self->vm, PV_DATA, PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_DATA, PV_PAGE);
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	expect_released(0);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0x5a));
}

/* A device that goes through pages that stay, next to those that are given back */
struct neighbour {
	struct pv_vm *vm;
	pthread_t thread;
	bool stop;
	int round;	/* where */
	int good, bad;
};

/* From the page and back to it, while all else in it remains */
static bool is_lived_in(struct pv_vm *vm, int page, __u64 value)
{
	struct vfio_dev *edu = &vm->dev[0].vfio;
	__u64 iova = IOVA + page * PV_PAGE, *mem = pv_mem(vm, PV_DATA + page * PV_PAGE);
	__u64 was = *mem;
	bool good;

	*mem = value;
	good = edu_from_ram(edu, iova, 0, sizeof(value));
	*mem = 0;
	good = good && edu_to_ram(edu, iova, 0, sizeof(value)) && *mem == value;
	*mem = was;
	return good;
}

static void *live_next_door(void *data)
{
	struct neighbour *n = data;
	int i;

	for (i = 1; !__atomic_load_n(&n->stop, __ATOMIC_RELAXED); i += 2) {
		int page = 32 * __atomic_load_n(&n->round, __ATOMIC_RELAXED) + i % 32;

		if (is_lived_in(n->vm, page, i * 0x9e3779b97f4a7c15ULL))
			__atomic_add_fetch(&n->good, 1, __ATOMIC_RELAXED);
		else
			__atomic_add_fetch(&n->bad, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * Other pages are mapped and unmapped all the time, and a device does DMA to the neighbours
 * of those that go, before, meanwhile and after.
 */
TEST_F_TIMEOUT(release, under_load, 240)
{
	struct neighbour n = { .vm = &self->vm };
	int i, j;

	if (!edu_is(&self->vm.dev[0].vfio))
		SKIP(return, "needs edu");
	fill(&self->vm, PV_DATA, 256 * PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, 256 * PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&n.thread, NULL, live_next_door, &n));
	for (i = 0; i < 8; i++) {
		int good = __atomic_load_n(&n.good, __ATOMIC_RELAXED), turns = 0;
		struct pviommu_event ev = {};

		__atomic_store_n(&n.round, i, __ATOMIC_RELAXED);
		for (j = 0; j < 16; j++)
			pv_list(&self->vm)[j] = (PV_DATA >> 12) + 32 * i + 2 * j;
		pv_exec(self->r, release(16, TOKEN));
		do {
			pv_map(self->r, self->dom, IOVA * 2, PV_HIGH, PV_HIGH_SIZE, PV_RW);
			pv_unmap(self->r, self->dom, IOVA * 2, PV_HIGH_SIZE);
			pv_inv(self->r, self->dom);
			while (ev.type != PVIOMMU_EV_RELEASED && pv_event_next(&self->vm, &ev))
				;
		} while (ev.type != PVIOMMU_EV_RELEASED);
		EXPECT_EQ(16 * PV_PAGE, ev.size);
		/* The one that is under way, and one that has begun since */
		while (__atomic_load_n(&n.good, __ATOMIC_RELAXED) < good + 2 && ++turns < 2000)
			usleep(5000);
	}
	__atomic_store_n(&n.stop, true, __ATOMIC_RELAXED);
	pthread_join(n.thread, NULL);
	EXPECT_EQ(0, n.bad);
	EXPECT_LE(16, n.good);
	for (i = 0; i < 256; i++) {
		bool gone = !(i % 2);

		EXPECT_EQ(gone ? PVIOMMU_ENOENT : PVIOMMU_OK,
			  __pv_lookup(self->r, self->dom, IOVA + i * PV_PAGE));
		EXPECT_TRUE(page_is(&self->vm, PV_DATA + i * PV_PAGE, gone ? 0 : 0x5a));
	}
}

TEST_HARNESS_MAIN
