// SPDX-License-Identifier: GPL-2.0-only
/*
 * RELEASE: a guest gives pages back to the host. Whoever has mapped a page is asked to let go,
 * then the page is unmapped, then it is free memory of the host. Other pages are not affected.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/pv_iommu_server.h>

#include "lib/edu.h"
#include "lib/now.h"
#include "lib/pv_kvm.h"
#include "lib/pv_server.h"
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

static struct pviommu_op release_range(struct pv_vm *vm, __u64 gpa, __u32 count)
{
	__u32 i;

	for (i = 0; i < count; i++)
		pv_list(vm)[i] = (gpa >> 12) + i;
	return pv_op_release(count, TOKEN);
}

#define expect_event(kind, iova, at, bytes) do {		\
	struct pviommu_event __ev = {};				\
								\
	ASSERT_TRUE(pv_event_wait(&self->vm, &__ev, 10000));	\
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

/* ---- the memory is freed ---------------------------------------------- */

TEST_F(release, memory_of_the_vmm_shrinks)
{
	long with, without;

	fill(&self->vm, PV_DATA, 514 * PV_PAGE);
	with = pv_status_kb(0, "RssAnon");
	pv_exec(self->r, release_range(&self->vm, PV_DATA + PV_PAGE, 512));
	expect_released(512 * PV_PAGE);
	without = pv_status_kb(0, "RssAnon");
	/* The kernel updates RssAnon in batches, so it is not exact */
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
	/* The last four pages of the file, and the page behind the file's mapping */
	pv_exec(self->r, release_range(&self->vm, PV_DATA + 12 * PV_PAGE, 5));
	expect_released(5 * PV_PAGE);
	ASSERT_EQ(0, fstat(fd, &less));
	EXPECT_EQ(4 * PV_PAGE, (full.st_blocks - less.st_blocks) * 512);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 11 * PV_PAGE, 0x5a));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 12 * PV_PAGE, 0));
	EXPECT_TRUE(page_is(&self->vm, PV_DATA + 16 * PV_PAGE, 0));
	close(fd);
}

/* Every other page, in descending order: the pages between them are kept */
TEST_F(release, scattered_pages)
{
	int i;

	fill(&self->vm, PV_DATA, 64 * PV_PAGE);
	for (i = 0; i < 32; i++)
		pv_list(&self->vm)[i] = (PV_DATA >> 12) + (62 - 2 * i);
	pv_exec(self->r, pv_op_release(32, TOKEN));
	expect_released(32 * PV_PAGE);
	for (i = 0; i < 64; i++)
		EXPECT_TRUE(page_is(&self->vm, PV_DATA + i * PV_PAGE, i % 2 ? 0x5a : 0));
}

/* ---- pages that are mapped -------------------------------------------- */

/* The guest is asked by RELEASE events and does nothing: REVOKED events follow */
TEST_F(release, revoked_if_not_unmapped)
{
	struct pv_state state;

	fill(&self->vm, PV_DATA, 8 * PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, 8 * PV_PAGE, PV_RW);
	pv_list(&self->vm)[0] = (PV_DATA >> 12) + 5;
	pv_list(&self->vm)[1] = (PV_DATA >> 12) + 2;
	pv_list(&self->vm)[2] = (PV_DATA >> 12) + 3;
	pv_exec(self->r, pv_op_release(3, TOKEN));
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

/* Does DMA work in this page of the memory at @gpa, which is mapped at IOVA? */
static bool goes_through(struct pv_vm *vm, __u64 gpa, int page)
{
	struct vfio_dev *edu = &vm->dev[0].vfio;
	char *mem = pv_mem(vm, gpa + page * PV_PAGE), data[LEN];

	memset(data, page + 1, LEN);
	memcpy(mem, data, LEN);
	if (!edu_from_ram(edu, IOVA + page * PV_PAGE, 0, LEN))
		return false;
	memset(mem, 0, LEN);
	return edu_to_ram(edu, IOVA + page * PV_PAGE, 0, LEN) && !memcmp(mem, data, LEN);
}

/* Two small pages out of a page that is one entry of the IOMMU's table: the rest stays mapped */
TEST_F(release, parts_of_a_large_page)
{
	__u64 huge = PV_HIGH + PV_2M;

	fill(&self->vm, huge, PV_2M);
	pv_exec(self->r, pv_op_map_2m(self->dom, IOVA, huge, PV_2M, PV_RW));
	pv_exec(self->r, pv_op_map_2m(self->dom, 2 * IOVA, PV_HIGH, 2 * PV_2M, PV_R));
	pv_list(&self->vm)[0] = (huge >> 12) + 2;
	pv_list(&self->vm)[1] = (huge >> 12) + 10;
	pv_exec(self->r, pv_op_release(2, TOKEN));
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 2 * PV_PAGE, huge + 2 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 10 * PV_PAGE, huge + 10 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_RELEASE, 2 * IOVA + PV_2M + 2 * PV_PAGE, huge + 2 * PV_PAGE,
		     PV_PAGE);
	expect_event(PVIOMMU_EV_RELEASE, 2 * IOVA + PV_2M + 10 * PV_PAGE, huge + 10 * PV_PAGE,
		     PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 2 * PV_PAGE, huge + 2 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 10 * PV_PAGE, huge + 10 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, 2 * IOVA + PV_2M + 2 * PV_PAGE, huge + 2 * PV_PAGE,
		     PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, 2 * IOVA + PV_2M + 10 * PV_PAGE, huge + 10 * PV_PAGE,
		     PV_PAGE);
	expect_released(2 * PV_PAGE);
	EXPECT_EQ(3 * 512 - 4, pv_state(self->r).pages_mapped);
	pv_lookup(self->r, self->dom, IOVA);
	EXPECT_EQ(12, self->r->last.lookup.pgshift);
	/* A large page of the same mapping that is not concerned stays large */
	pv_lookup(self->r, self->dom, 2 * IOVA + PV_PAGE);
	EXPECT_EQ(21, self->r->last.lookup.pgshift);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + 10 * PV_PAGE);
	if (!edu_is(&self->vm.dev[0].vfio))
		SKIP(return, "needs edu");
	EXPECT_TRUE(goes_through(&self->vm, huge, 1));
	EXPECT_FALSE(goes_through(&self->vm, huge, 2));
	EXPECT_TRUE(goes_through(&self->vm, huge, 3));
	EXPECT_TRUE(goes_through(&self->vm, huge, 9));
	EXPECT_FALSE(goes_through(&self->vm, huge, 10));
	EXPECT_TRUE(goes_through(&self->vm, huge, 511));
	/* The small pages that are left can be unmapped one by one, and all at once */
	pv_unmap(self->r, self->dom, IOVA + 3 * PV_PAGE, PV_PAGE);
	pv_inv(self->r, self->dom);
	EXPECT_FALSE(goes_through(&self->vm, huge, 3));
	EXPECT_TRUE(goes_through(&self->vm, huge, 4));
	pv_exec(self->r, pv_op_unmap(self->dom, IOVA, PV_2M));
	EXPECT_EQ(509 * PV_PAGE, self->r->last.result);
}

/* Adjacent pages share an event */
TEST_F(release, neighbours_in_a_large_page)
{
	pv_exec(self->r, pv_op_map_2m(self->dom, IOVA, PV_HIGH, PV_2M, PV_RW));
	pv_list(&self->vm)[0] = (PV_HIGH >> 12) + 2;
	pv_list(&self->vm)[1] = (PV_HIGH >> 12) + 9;
	pv_list(&self->vm)[2] = (PV_HIGH >> 12) + 10;
	pv_exec(self->r, pv_op_release(3, TOKEN));
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 2 * PV_PAGE, PV_HIGH + 2 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_RELEASE, IOVA + 9 * PV_PAGE, PV_HIGH + 9 * PV_PAGE, 2 * PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 2 * PV_PAGE, PV_HIGH + 2 * PV_PAGE, PV_PAGE);
	expect_event(PVIOMMU_EV_REVOKED, IOVA + 9 * PV_PAGE, PV_HIGH + 9 * PV_PAGE, 2 * PV_PAGE);
	expect_released(3 * PV_PAGE);
	EXPECT_EQ(509, pv_state(self->r).pages_mapped);
}

/* A large page is released as a whole: the next large page of the mapping stays large */
TEST_F(release, whole_large_page)
{
	struct pv_state state;

	pv_exec(self->r, pv_op_map_2m(self->dom, IOVA, PV_HIGH, 2 * PV_2M, PV_RW));
	pv_exec(self->r, release_range(&self->vm, PV_HIGH, 512));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_HIGH, PV_2M);
	expect_event(PVIOMMU_EV_REVOKED, IOVA, PV_HIGH, PV_2M);
	expect_released(PV_2M);
	state = pv_state(self->r);
	EXPECT_EQ(512, state.pages_mapped);
	EXPECT_EQ(1, state.mappings);
	pv_lookup(self->r, self->dom, IOVA + PV_2M);
	EXPECT_EQ(21, self->r->last.lookup.pgshift);
}

/* The guest unmaps the page when it is asked: nothing is revoked */
TEST_F(release, unmapped_in_time)
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

/* A page that is unmapped but not flushed, so that a device may reach it: flushed first */
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

/* When the page is used again, device and CPU see the same new page */
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

/* ---- a guest that does not read its events ----------------------------- */

#define MANY	512

/* Page @i of many, no two of which are adjacent in memory */
static __u64 scattered(int i)
{
	return PV_DATA + 2 * i * PV_PAGE;
}

static void list_scattered(struct pv_vm *vm)
{
	int i;

	for (i = 0; i < MANY; i++)
		pv_list(vm)[i] = scattered(i) >> 12;
}

static bool wait_waiting(struct pviommu_event_ring *ring, __u32 n)
{
	int i;

	for (i = 0; i < 2000 && __atomic_load_n(&ring->waiting, __ATOMIC_ACQUIRE) != n; i++)
		usleep(5000);
	return i < 2000;
}

/* Two events for each page and the last one, RELEASED, wait until the guest reads them */
TEST_F(release, many_pages_and_nobody_looks)
{
	struct pviommu_event_ring *ring = pv_events(&self->vm);
	int i;

	list_scattered(&self->vm);
	pv_map_list(self->r, self->dom, IOVA, PV_AT_LIST, MANY, PV_RW);
	pv_exec(self->r, pv_op_release(MANY, TOKEN));
	ASSERT_TRUE(wait_waiting(ring, 2 * MANY + 1 - PVIOMMU_EVENT_SLOTS));
	for (i = 0; i < MANY; i++)
		expect_event(PVIOMMU_EV_RELEASE, IOVA + i * PV_PAGE, scattered(i), PV_PAGE);
	for (i = 0; i < MANY; i++)
		expect_event(PVIOMMU_EV_REVOKED, IOVA + i * PV_PAGE, scattered(i), PV_PAGE);
	expect_released(MANY * PV_PAGE);
	EXPECT_EQ(0, ring->lost);
}

/* With no room to wait in, other events are lost, but RELEASED never is */
TEST_F(release, released_event_is_never_lost)
{
	struct pviommu_event_ring *ring = pv_events(&self->vm);
	struct pviommu_event ev;
	int i;

	ASSERT_TRUE(pv_param_set("max_events", "3"));
	pv_reset(&self->vm);
	pv_start(&self->vm, 1, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->vm.dev[0].id, self->dom);
	list_scattered(&self->vm);
	pv_map_list(self->r, self->dom, IOVA, PV_AT_LIST, MANY, PV_RW);
	pv_exec(self->r, pv_op_release(MANY, TOKEN));
	ASSERT_TRUE(wait_waiting(ring, 4));
	/* A RELEASE counts as under way until the guest has its event */
	for (i = 1; i < 64; i++) {
		pv_exec(self->r, pv_op_release(MANY, TOKEN + i));
		ASSERT_TRUE(wait_waiting(ring, 4 + i));
	}
	pv_err_exec(PVIOMMU_ENOSPC, self->r, pv_op_release(MANY, TOKEN + i));
	EXPECT_EQ(2 * MANY - PVIOMMU_EVENT_SLOTS - 3, ring->lost);
	for (i = 0; i < PVIOMMU_EVENT_SLOTS + 3; i++) {
		ASSERT_TRUE(pv_event_next(&self->vm, &ev));
		EXPECT_EQ(PVIOMMU_EV_RELEASE, ev.type);
	}
	for (i = 0; i < 64; i++)
		expect_event(PVIOMMU_EV_RELEASED, TOKEN + i, 0, MANY * PV_PAGE);
	pv_exec(self->r, pv_op_release(MANY, TOKEN));
	expect_released(MANY * PV_PAGE);
}

/* ---- refusals, and what happens before the end ------------------------- */

TEST_F(release, refused)
{
	struct pviommu_op op = release_range(&self->vm, PV_DATA, 1);

	op.release.count = 0;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op.release.count = 513;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = pv_op_release(1, TOKEN);
	op.release.list += 8;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = pv_op_release(1, TOKEN);
	op.release.reserved = 1;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = pv_op_release(1, TOKEN);
	op.release.list = PV_NOWHERE;
	pv_err_exec(PVIOMMU_EFAULT, self->r, op);
	pv_list(&self->vm)[1] = pv_list(&self->vm)[0];
	pv_err_exec(PVIOMMU_EINVAL, self->r, pv_op_release(2, TOKEN));
	pv_list(&self->vm)[1] = PV_NOWHERE >> 12;
	pv_err_exec(PVIOMMU_EFAULT, self->r, pv_op_release(2, TOKEN));
	pv_list(&self->vm)[1] = PV_ROM >> 12;
	pv_err_exec(PVIOMMU_EFAULT, self->r, pv_op_release(2, TOKEN));
	pv_list(&self->vm)[1] = ~0ULL;
	pv_err_exec(PVIOMMU_EFAULT, self->r, pv_op_release(2, TOKEN));
	/* Pages of the interface, which the host uses itself */
	pv_list(&self->vm)[1] = PV_AT_EVENTS >> 12;
	pv_err_exec(PVIOMMU_EBUSY, self->r, pv_op_release(2, TOKEN));
	pv_list(&self->vm)[1] = PV_AT_OPS >> 12;
	pv_err_exec(PVIOMMU_EBUSY, self->r, pv_op_release(2, TOKEN));
	/* In bypass, single pages can't be given up */
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	pv_err_exec(PVIOMMU_EBUSY, self->r, pv_op_release(1, TOKEN));
	EXPECT_EQ(0, pv_events(&self->vm)->prod);
}

/* There is a limit for releases that are under way */
TEST_F(release, too_many)
{
	int i;

	ASSERT_TRUE(pv_param_set("release_ms", "30000"));
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	for (i = 0; i < 64; i++)
		pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	pv_err_exec(PVIOMMU_ENOSPC, self->r, release_range(&self->vm, PV_DATA, 1));
	/* RESET drops them at once, and the page is kept */
	fill(&self->vm, PV_DATA, PV_PAGE);
	pv_reset(&self->vm);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0x5a));
}

TEST_F(release, memory_is_unplugged_meanwhile)
{
	ASSERT_TRUE(pv_param_set("release_ms", "2500"));
	pv_map(self->r, self->dom, IOVA, PV_HIGH, 2 * PV_PAGE, PV_RW);
	pv_exec(self->r, release_range(&self->vm, PV_HIGH, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_HIGH, PV_PAGE);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	expect_event(PVIOMMU_EV_REVOKED, IOVA, PV_HIGH, 2 * PV_PAGE);
	expect_released(0);
}

/* The memory becomes a ROM, whose contents stay */
TEST_F(release, memory_becomes_read_only_meanwhile)
{
	ASSERT_TRUE(pv_param_set("release_ms", "3000"));
	fill(&self->vm, PV_HIGH, PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	pv_exec(self->r, release_range(&self->vm, PV_HIGH, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_HIGH, PV_PAGE);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	self->vm.high.writable = false;
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	expect_event(PVIOMMU_EV_REVOKED, IOVA, PV_HIGH, PV_PAGE);
	expect_released(0);
	EXPECT_TRUE(page_is(&self->vm, PV_HIGH, 0x5a));
}

TEST_F(release, endpoint_enters_bypass_meanwhile)
{
	ASSERT_TRUE(pv_param_set("release_ms", "2500"));
	fill(&self->vm, PV_DATA, PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	expect_event(PVIOMMU_EV_RELEASE, IOVA, PV_DATA, PV_PAGE);
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	expect_released(0);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0x5a));
}

/* A device that uses pages which stay, next to pages that are given back */
struct neighbour {
	struct pv_vm *vm;
	pthread_t thread;
	bool stop;
	int round;	/* in which 32 pages */
	int good, bad;
};

/* Does DMA from the page and back to it work? What the page holds is kept */
static bool is_lived_in(struct pv_vm *vm, int page)
{
	__u64 *mem = pv_mem(vm, PV_DATA + page * PV_PAGE), was = *mem;
	bool good = edu_round_trip(&vm->dev[0].vfio, IOVA + page * PV_PAGE, mem);

	*mem = was;
	return good;
}

static void *live_next_door(void *data)
{
	struct neighbour *n = data;
	int i;

	for (i = 1; !__atomic_load_n(&n->stop, __ATOMIC_RELAXED); i += 2) {
		int page = 32 * __atomic_load_n(&n->round, __ATOMIC_RELAXED) + i % 32;

		if (is_lived_in(n->vm, page))
			__atomic_add_fetch(&n->good, 1, __ATOMIC_RELAXED);
		else
			__atomic_add_fetch(&n->bad, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * Pages are released while other memory is mapped and unmapped all the time, and a device does
 * DMA to the pages next to them, before, during and after the release.
 */
TEST_F_TIMEOUT(release, under_load, 1800)
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
		pv_exec(self->r, pv_op_release(16, TOKEN));
		do {
			pv_map(self->r, self->dom, IOVA * 2, PV_HIGH, PV_HIGH_SIZE, PV_RW);
			pv_unmap(self->r, self->dom, IOVA * 2, PV_HIGH_SIZE);
			pv_inv(self->r, self->dom);
			while (ev.type != PVIOMMU_EV_RELEASED && pv_event_next(&self->vm, &ev))
				;
		} while (ev.type != PVIOMMU_EV_RELEASED);
		EXPECT_EQ(16 * PV_PAGE, ev.size);
		/* Wait for the DMA that is under way, and for one that has begun since */
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

/* ---- pages that a server watches --------------------------------------- */

FIXTURE(watched)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_ring *r;
	struct pviommu_server_ring *ring;
	size_t size;
	int server;
};

/* A page that a server watches, at PV_DATA, and the next page, which it does not watch */
FIXTURE_SETUP(watched)
{
	int ret;

	self->kvm = (struct pv_kvm) { -1, -1 };
	self->vm.container = -1;
	self->server = -1;
	self->ring = MAP_FAILED;
	self->size = sizeof(*self->ring) +
		     PV_SERVER_RECORDS * sizeof(struct pviommu_server_record);
	self->before = pv_begin();
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	ret = pv_vm_init(&self->vm, 1, PV_LOW_SIZE) ?: pv_kvm_open_rest(&self->kvm, &self->vm);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(0, ret);
	self->r = &self->vm.ring[0];
	pv_start(&self->vm, 1, 6);
	self->server = pv_server_claim(pv_newest_vm());
	ASSERT_LE(0, self->server);
	self->ring = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, self->server, 0);
	ASSERT_NE(MAP_FAILED, self->ring);
	pv_exec(self->r, pv_op_type_set(PV_DATA, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER));
	fill(&self->vm, PV_DATA, 2 * PV_PAGE);
}

FIXTURE_TEARDOWN(watched)
{
	pv_params_restore();
	munmap(self->ring, self->size);
	if (self->server >= 0)
		close(self->server);
	pv_vm_close(&self->vm);
	pv_kvm_close(&self->kvm);
	pv_expect_unchanged(&self->before);
}

static bool wait_record(struct pviommu_server_ring *ring, struct pviommu_server_record *rec)
{
	int i;

	for (i = 0; i < 2000; i++) {
		if (__atomic_load_n(&ring->prod, __ATOMIC_ACQUIRE) != ring->cons) {
			*rec = ring->rec[ring->cons % ring->entries];
			__atomic_store_n(&ring->cons, ring->cons + 1, __ATOMIC_RELEASE);
			return true;
		}
		usleep(5000);
	}
	return false;
}

#define expect_record(kind, at) do {					\
	struct pviommu_server_record __rec = {};			\
									\
	ASSERT_TRUE(wait_record(self->ring, &__rec));			\
	EXPECT_EQ(kind, __rec.type);					\
	EXPECT_EQ(at, __rec.gpa);					\
	EXPECT_EQ(PV_PAGE, __rec.size);					\
} while (0)

static int server_read(int fd, __u64 gpa, void *buf, size_t size)
{
	struct pviommu_server_read req = {
		.argsz = sizeof(req),
		.gpa = gpa,
		.addr = (unsigned long)buf,
		.size = size,
	};

	return ioctl(fd, PVIOMMU_SERVER_READ, &req) ? -errno : 0;
}

/* The server gets time to read the contents of the page, before they are gone */
TEST_F(watched, server_has_time)
{
	struct pviommu_event ev;
	__u64 begun = now_ns();
	char page[PV_PAGE];

	ASSERT_TRUE(pv_param_set("release_ms", "3000"));
	expect_record(PVIOMMU_REC_PAGE, PV_DATA);
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 2));
	expect_record(PVIOMMU_REC_RELEASE, PV_DATA);
	ASSERT_EQ(0, server_read(self->server, PV_DATA, page, sizeof(page)));
	EXPECT_EQ(0x5a, page[0]);
	EXPECT_EQ(0, memcmp(page, page + 1, sizeof(page) - 1));
	if (now_ns() - begun < 2000 * MS)
		EXPECT_FALSE(pv_event_next(&self->vm, &ev));
	expect_record(PVIOMMU_REC_NO_PAGE, PV_DATA);
	EXPECT_LE(2900 * MS, now_ns() - begun);
	EXPECT_EQ(-EACCES, server_read(self->server, PV_DATA, page, sizeof(page)));
	expect_released(2 * PV_PAGE);
	EXPECT_TRUE(page_is(&self->vm, PV_DATA, 0));
}

/* There is no wait for pages that no server watches, or whose server has gone */
TEST_F(watched, no_wait_without_a_server)
{
	__u64 begun = now_ns();

	ASSERT_TRUE(pv_param_set("release_ms", "20000"));
	pv_exec(self->r, release_range(&self->vm, PV_DATA + PV_PAGE, 1));
	expect_released(PV_PAGE);
	munmap(self->ring, self->size);
	self->ring = MAP_FAILED;
	close(self->server);
	self->server = -1;
	pv_exec(self->r, release_range(&self->vm, PV_DATA, 1));
	expect_released(PV_PAGE);
	EXPECT_GT(15000 * MS, now_ns() - begun);
}

TEST_HARNESS_MAIN
