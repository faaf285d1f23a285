// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of other machines through VFIO_PV_IOMMU, as the host's administrator has
 * granted it: a device of this guest reads and writes it, and every way in which it ends
 * is told by an event that names it. Two other guests run guest_lender, and the host level
 * host_lend.sh, which makes grants and ends machines. The last tests end them.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <fcntl.h>

#include <linux/pv_iommu.h>

#include "lib/edu.h"
#include "lib/guest_ask.h"
#include "lib/guest_lent.h"
#include "lib/guest_test.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define READ		VFIO_DMA_MAP_FLAG_READ
#define WRITE		VFIO_DMA_MAP_FLAG_WRITE
#define LEN		1024
#define RESTART		"/sys/kernel/debug/pv-iommu/restart"
#define EVENT_MS	60000
#define SOME		64
#define MANY		200

FIXTURE(lent)
{
	struct guest_vfio g;
	struct vfiopv c;
	struct dma_window window;
	struct guest_stats before;
	int eventfd;
	unsigned int vm;	/* guest 2 */
	__u64 gpa;
	unsigned char *content;
};

static unsigned long long ask_number(const char *who, const char *question)
{
	return strtoull(share_ask(who, "%s", question) ?: "0", NULL, 0);
}

static bool ask_ok(const char *who, const char *question)
{
	const char *answer = share_ask(who, "%s", question);

	if (answer && !strcmp(answer, "ok"))
		return true;
	fprintf(stderr, "# %s: %s: %s\n", who, question, answer ?: "no answer");
	return false;
}

/* From another guest to this one; the grant's number, 0 for none */
static unsigned int grant(unsigned int guest, const char *access, __u64 gpa, __u64 size)
{
	return strtoul(share_ask("host", "grant %u %s %llu %llu", guest, access,
				 (unsigned long long)gpa, (unsigned long long)size) ?: "0",
		       NULL, 0);
}

static bool ungrant(unsigned int id)
{
	const char *answer = share_ask("host", "ungrant %u", id);

	return answer && !strcmp(answer, "ok");
}

FIXTURE_SETUP(lent)
{
	if (!getenv("PVVM_GUEST") || !getenv("PVVM_SHARE"))
		SKIP(return, "needs other guests");
	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	guest_setup_window(&self->g, &self->window);
	self->c = (struct vfiopv) { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	self->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_EQ(0, vfiopv_set_eventfd(&self->c, self->eventfd));
	self->vm = ask_number("host", "vm 2");
	ASSERT_NE(0, self->vm);
	self->gpa = ask_number("guest2", "where");
	ASSERT_NE(0, self->gpa);
	self->content = malloc(LENT_SIZE);
	ASSERT_NE(NULL, self->content);
	lent_fill(self->content, LENT_SIZE, 7);
	ASSERT_TRUE(ask_ok("guest2", "fill 7"));
	ASSERT_EQ(0, guest_stats(&self->before));
}

FIXTURE_TEARDOWN(lent)
{
	free(self->content);
	close(self->eventfd);
	guest_vfio_close(&self->g);
}

/* Does the device get at @iova what is in @content? -EIO if the device doesn't work */
static int dma_reads(struct guest_vfio *g, const struct dma_window *window, __u64 iova,
		     const unsigned char *content)
{
	memset(window->memory, 0x5a, LEN);
	if (!edu_from_ram(&g->dev, window->iova, 0, LEN) ||
	    !edu_from_ram(&g->dev, iova, 0, LEN) || !edu_to_ram(&g->dev, window->iova, 0, LEN))
		return -EIO;
	return !memcmp(window->memory, content, LEN);
}

static int dma_writes(struct guest_vfio *g, const struct dma_window *window, __u64 iova,
		      const unsigned char *content)
{
	memcpy(window->memory, content, LEN);
	return edu_from_ram(&g->dev, window->iova, 0, LEN) && edu_to_ram(&g->dev, iova, 0, LEN) ?
	       0 : -EIO;
}

/* Is the other guest's memory what we think it is? */
static bool holds(const unsigned char *content)
{
	return strtoull(share_ask("guest2", "sum") ?: "", NULL, 16) ==
	       lent_sum(content, LENT_SIZE);
}

static bool is_signalled(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* Take events until [iova, iova + size) of that memory is said to be gone */
static bool hear_of(const struct vfiopv *c, int eventfd, unsigned int type, __u64 iova,
		    __u64 size, unsigned int vm, __u64 gpa)
{
	struct vfio_pv_event event[SOME];
	__u64 told = 0, end = iova + size;
	eventfd_t ticks;
	int i, n;

	while (told < size) {
		if (!is_signalled(eventfd, EVENT_MS) || eventfd_read(eventfd, &ticks))
			return false;
		n = vfiopv_read_events(c, event, SOME);
		for (i = 0; i < n; i++) {
			if (event[i].type != type)
				continue;
			if (event[i].vm != vm || event[i].iova < iova ||
			    event[i].iova + event[i].size > end ||
			    event[i].gpa != gpa + (event[i].iova - iova) ||
			    event[i].group != VFIO_PV_NO_GROUP)
				return false;
			told += event[i].size;
		}
	}
	return told == size;
}

#define map_lent(flags)								\
	vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm, self->gpa, LENT_SIZE, flags)

/* ------------------------------------------------------------------ */

TEST_F(lent, as_far_as_granted)
{
	unsigned int id;

	EXPECT_EQ(-EACCES, map_lent(READ));
	id = grant(2, "r", self->gpa, LENT_SIZE / 2);
	ASSERT_NE(0, id);
	EXPECT_EQ(-EACCES, map_lent(READ));
	EXPECT_EQ(-EACCES, vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm, self->gpa,
					      GUEST_PAGE, WRITE));
	EXPECT_EQ(-EACCES, vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm,
					      self->gpa - GUEST_PAGE, GUEST_PAGE, READ));
	EXPECT_EQ(-EACCES, vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm + 1000, self->gpa,
					      GUEST_PAGE, READ));
	EXPECT_EQ(0, vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm, self->gpa, LENT_SIZE / 2,
					READ));
	EXPECT_EQ(-EEXIST, vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm, self->gpa,
					      GUEST_PAGE, READ));
	EXPECT_TRUE(ungrant(id));
}

TEST_F(lent, a_device_reads_and_writes_it)
{
	unsigned int id = grant(2, "rw", self->gpa, LENT_SIZE);
	struct guest_stats after;
	__u64 removed = 0;
	size_t at;

	ASSERT_NE(0, id);
	ASSERT_EQ(0, map_lent(READ | WRITE));
	for (at = 0; at < LENT_SIZE; at += LENT_SIZE / 4 + GUEST_PAGE)
		EXPECT_EQ(1, dma_reads(&self->g, &self->window, GUEST_IOVA + at,
				       self->content + at));
	EXPECT_TRUE(holds(self->content));
	lent_fill(self->content + 3 * GUEST_PAGE, LEN, 99);
	EXPECT_EQ(0, dma_writes(&self->g, &self->window, GUEST_IOVA + 3 * GUEST_PAGE,
				self->content + 3 * GUEST_PAGE));
	EXPECT_TRUE(holds(self->content));
	/* Charged to this machine, at the host, and to nobody here */
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(self->before.pages_pinned + LENT_SIZE / GUEST_PAGE, after.pages_pinned);
	ASSERT_EQ(0, vfiopv_unmap(&self->c, GUEST_IOVA, LENT_SIZE, 0, &removed));
	EXPECT_EQ(LENT_SIZE, removed);
	EXPECT_EQ(0, dma_reads(&self->g, &self->window, GUEST_IOVA, self->content));
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(self->before.pages_pinned, after.pages_pinned);
	EXPECT_TRUE(ungrant(id));
	EXPECT_EQ(0, vfiopv_read_events(&self->c, (struct vfio_pv_event[1]) {}, 1));
}

/* Pages in any order, between pages of our own; unmapped without a flush at first */
TEST_F(lent, in_a_batch)
{
	unsigned int id = grant(2, "r", self->gpa, LENT_SIZE), i;
	unsigned char *own = guest_memory(GUEST_PAGE);
	struct vfio_pv_batch_entry entry[32] = {};

	ASSERT_NE(0, id);
	ASSERT_NE(NULL, own);
	for (i = 0; i < 32; i++)
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = GUEST_IOVA + i * GUEST_PAGE,
			.vaddr = self->gpa + (31 - i) * 3 * GUEST_PAGE,
			.size = GUEST_PAGE,
			.flags = VFIO_PV_MAP_FLAG_FOREIGN | READ,
			.vm = self->vm,
		};
	entry[5].vaddr = (uintptr_t)own;
	entry[5].flags = READ | WRITE;
	ASSERT_EQ(32, vfiopv_map_many(&self->c, entry, 32, 0));
	EXPECT_EQ(1, dma_works(&self->g.dev, entry[5].iova, own, &self->window));
	EXPECT_EQ(1, dma_reads(&self->g, &self->window, entry[4].iova,
			       self->content + 27 * 3 * GUEST_PAGE));
	EXPECT_EQ(1, dma_reads(&self->g, &self->window, entry[31].iova, self->content));
	for (i = 0; i < 32; i++) {
		entry[i].vaddr = 0;
		entry[i].flags = 0;
	}
	EXPECT_EQ(32, vfiopv_unmap_many(&self->c, entry, 32, VFIO_PV_BATCH_FLAG_NO_FLUSH));
	EXPECT_EQ(0, vfiopv_invalidate(&self->c, 0, 0));
	EXPECT_EQ(0, dma_reads(&self->g, &self->window, entry[31].iova, self->content));
	EXPECT_TRUE(ungrant(id));
}

/* More than the host's ring of events has room for, and no two that one event could name */
TEST_F(lent, many_pages)
{
	unsigned int id = grant(2, "r", self->gpa, LENT_SIZE), i, told = 0;
	struct vfio_pv_batch_entry entry[MANY] = {};
	struct vfio_pv_event event;
	eventfd_t ticks;

	ASSERT_NE(0, id);
	for (i = 0; i < MANY; i++)
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = GUEST_IOVA + i * GUEST_PAGE,
			.vaddr = self->gpa + 2 * i * GUEST_PAGE,
			.size = GUEST_PAGE,
			.flags = VFIO_PV_MAP_FLAG_FOREIGN | READ,
			.vm = self->vm,
		};
	ASSERT_EQ(MANY, vfiopv_map_many(&self->c, entry, MANY, 0));
	EXPECT_TRUE(ungrant(id));
	while (told < MANY) {
		while (vfiopv_read_events(&self->c, &event, 1) != 1) {
			ASSERT_TRUE(is_signalled(self->eventfd, EVENT_MS));
			ASSERT_EQ(0, eventfd_read(self->eventfd, &ticks));
		}
		ASSERT_EQ(VFIO_PV_EVENT_REVOKED, event.type);
		EXPECT_EQ(entry[told].iova, event.iova);
		EXPECT_EQ(entry[told].vaddr, event.gpa);
		EXPECT_EQ(GUEST_PAGE, event.size);
		told++;
	}
}

TEST_F(lent, lookup)
{
	unsigned int id = grant(2, "r", self->gpa, LENT_SIZE);
	struct vfio_pv_iommu_lookup look;

	ASSERT_NE(0, id);
	ASSERT_EQ(0, map_lent(READ));
	ASSERT_EQ(0, guest_look_up(self->g.container, &look, GUEST_IOVA + 5 * GUEST_PAGE + 9));
	EXPECT_EQ(0, look.flags);
	EXPECT_EQ(self->vm, look.vm);
	EXPECT_EQ(self->gpa, look.vaddr);
	EXPECT_EQ(self->gpa + 5 * GUEST_PAGE + 9, look.phys);
	EXPECT_EQ(READ, look.prot);
	ASSERT_EQ(0, guest_look_up(self->g.container, &look, GUEST_IOVA_WINDOW));
	EXPECT_EQ(0, look.vm);
	EXPECT_TRUE(ungrant(id));
	ASSERT_TRUE(hear_of(&self->c, self->eventfd, VFIO_PV_EVENT_REVOKED, GUEST_IOVA, LENT_SIZE,
			    self->vm, self->gpa));
	ASSERT_EQ(0, guest_look_up(self->g.container, &look, GUEST_IOVA));
	EXPECT_EQ(VFIO_PV_LOOKUP_REVOKED, look.flags);
}

static int restart(void)
{
	int fd = open(RESTART, O_WRONLY | O_CLOEXEC), ret;

	ret = fd >= 0 && write(fd, "1", 1) == 1 ? 0 : -1;
	close(fd);
	return ret;
}

TEST_F(lent, comes_back_after_a_restart)
{
	unsigned int id = grant(2, "rw", self->gpa, LENT_SIZE);
	struct vfio_pv_event event = {};

	ASSERT_NE(0, id);
	ASSERT_EQ(0, map_lent(READ | WRITE));
	ASSERT_EQ(0, restart());
	EXPECT_EQ(1, dma_reads(&self->g, &self->window, GUEST_IOVA, self->content));
	EXPECT_EQ(0, vfiopv_read_events(&self->c, &event, 1));

	/* What is not granted any more doesn't, and that is said */
	EXPECT_TRUE(ungrant(id));
	ASSERT_TRUE(hear_of(&self->c, self->eventfd, VFIO_PV_EVENT_REVOKED, GUEST_IOVA, LENT_SIZE,
			    self->vm, self->gpa));
	ASSERT_EQ(0, restart());
	EXPECT_TRUE(is_signalled(self->eventfd, EVENT_MS));
	ASSERT_EQ(1, vfiopv_read_events(&self->c, &event, 1));
	EXPECT_EQ(VFIO_PV_EVENT_LOST, event.type);
	EXPECT_EQ(0, event.size);
	EXPECT_EQ(0, dma_reads(&self->g, &self->window, GUEST_IOVA, self->content));
}

/*
 * [GUEST_IOVA, + size) is mapped: when it is gone we hear of it, the device doesn't
 * reach it, nothing of it is pinned, and what else is mapped stays so. The IOVAs are ours
 * until we unmap them.
 */
#define expect_end(vm, gpa, size, own) do {						\
	struct guest_stats __after;							\
	__u64 __removed = 0;								\
											\
	EXPECT_TRUE(hear_of(&self->c, self->eventfd, VFIO_PV_EVENT_REVOKED, GUEST_IOVA,	\
			    size, vm, gpa));						\
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, own, &self->window));	\
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA - GUEST_PAGE, own, &self->window)); \
	ASSERT_EQ(0, guest_stats(&__after));						\
	EXPECT_EQ(self->before.pages_pinned + 1, __after.pages_pinned);			\
	EXPECT_EQ(-EEXIST, vfio_map_dma(self->g.container, GUEST_IOVA, own, GUEST_PAGE, true)); \
	EXPECT_EQ(0, vfiopv_unmap(&self->c, GUEST_IOVA, size, 0, &__removed));		\
	EXPECT_EQ(size, __removed);							\
	EXPECT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, own, GUEST_PAGE, true)); \
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA, own, &self->window));		\
} while (0)

/* A page of our own, beside the other's */
static unsigned char *map_own(struct guest_vfio *g)
{
	unsigned char *own = guest_memory(GUEST_PAGE);

	if (own && vfio_map_dma(g->container, GUEST_IOVA - GUEST_PAGE, own, GUEST_PAGE, true))
		return NULL;
	return own;
}

TEST_F(lent, ends_with_the_grant)
{
	unsigned int id = grant(2, "rw", self->gpa, LENT_SIZE);
	unsigned char *own = map_own(&self->g);

	ASSERT_NE(NULL, own);
	ASSERT_NE(0, id);
	ASSERT_EQ(0, map_lent(READ | WRITE));
	EXPECT_EQ(1, dma_reads(&self->g, &self->window, GUEST_IOVA, self->content));
	ASSERT_TRUE(ungrant(id));
	EXPECT_EQ(0, dma_writes(&self->g, &self->window, GUEST_IOVA, own));
	EXPECT_TRUE(holds(self->content));
	expect_end(self->vm, self->gpa, LENT_SIZE, own);
	EXPECT_EQ(-EACCES, vfiopv_map_foreign(&self->c, GUEST_IOVA + LENT_SIZE, self->vm,
					      self->gpa, GUEST_PAGE, READ));
}

/* A DIMM is put into the other guest, lent, and pulled out again. */
TEST_F(lent, ends_when_the_memory_is_unplugged)
{
	unsigned long long gpa = ask_number("host", "plug 2"), size = 128UL << 20;
	unsigned char *own = map_own(&self->g);

	ASSERT_NE(NULL, own);
	ASSERT_NE(0, gpa);
	ASSERT_NE(0, grant(2, "rw", gpa, size));
	ASSERT_EQ(0, vfiopv_map_foreign(&self->c, GUEST_IOVA, self->vm, gpa + size / 2,
					size / 4, READ | WRITE));
	ASSERT_TRUE(ask_ok("host", "unplug 2"));
	expect_end(self->vm, gpa + size / 2, size / 4, own);
	EXPECT_TRUE(ask_ok("host", "ungrant_all"));
}

/* The other gives its memory to its host; who maps it is told before it goes */
TEST_F(lent, ends_when_the_memory_is_released)
{
	unsigned char *own = map_own(&self->g);
	struct vfio_pv_event event = {};

	ASSERT_NE(NULL, own);
	ASSERT_NE(0, grant(2, "rw", self->gpa, LENT_SIZE));
	ASSERT_EQ(0, map_lent(READ | WRITE));
	ASSERT_TRUE(ask_ok("guest2", "release"));
	ASSERT_TRUE(is_signalled(self->eventfd, EVENT_MS));
	ASSERT_EQ(1, vfiopv_read_events(&self->c, &event, 1));
	EXPECT_EQ(VFIO_PV_EVENT_RELEASE, event.type);
	EXPECT_EQ(self->vm, event.vm);
	EXPECT_EQ(self->gpa + (event.iova - GUEST_IOVA), event.gpa);
	expect_end(self->vm, self->gpa, LENT_SIZE, own);
	EXPECT_TRUE(ask_ok("host", "ungrant_all"));
}

/* Memory of the other machine is memory of its VMM. */
TEST_F(lent, the_host_has_the_memory)
{
	long before, in, out;

	/* Most that is free is there: the balloon finds such pages */
	ASSERT_TRUE(ask_ok("guest2", "touch"));
	before = ask_number("host", "resident 2");
	ASSERT_TRUE(ask_ok("guest2", "balloon 67108864"));
	in = ask_number("host", "resident 2");
	ASSERT_TRUE(ask_ok("guest2", "balloon 0"));
	ASSERT_TRUE(ask_ok("guest2", "touch"));
	out = ask_number("host", "resident 2");
	TH_LOG("QEMU has %ld KiB, %ld with a balloon of 65536 KiB, %ld without", before, in, out);
	/* But for what was not there, see guest_lender, and what QEMU takes and frees itself */
	EXPECT_LT(in + 24000, before);
	EXPECT_LT(in + 24000, out);
}

TEST_F(lent, ends_when_the_machine_is_killed)
{
	unsigned int vm = ask_number("host", "vm 3");
	__u64 gpa = ask_number("guest3", "where");
	unsigned char *own = map_own(&self->g);

	ASSERT_NE(NULL, own);
	ASSERT_NE(0, grant(3, "rw", gpa, LENT_SIZE));
	ASSERT_EQ(0, vfiopv_map_foreign(&self->c, GUEST_IOVA, vm, gpa, LENT_SIZE, READ | WRITE));
	ASSERT_TRUE(ask_ok("guest3", "fill 7"));
	EXPECT_EQ(1, dma_reads(&self->g, &self->window, GUEST_IOVA, self->content));
	ASSERT_TRUE(ask_ok("host", "kill 3"));
	expect_end(vm, gpa, LENT_SIZE, own);
	EXPECT_EQ(-EACCES, vfiopv_map_foreign(&self->c, GUEST_IOVA + LENT_SIZE, vm, gpa,
					      GUEST_PAGE, READ));
}

TEST_F(lent, ends_when_the_machine_is_off)
{
	unsigned char *own = map_own(&self->g);

	ASSERT_NE(NULL, own);
	ASSERT_NE(0, grant(2, "rw", self->gpa, LENT_SIZE));
	ASSERT_EQ(0, map_lent(READ | WRITE));
	EXPECT_EQ(1, dma_reads(&self->g, &self->window, GUEST_IOVA, self->content));
	ASSERT_TRUE(ask_ok("guest2", "exit"));
	expect_end(self->vm, self->gpa, LENT_SIZE, own);
}

TEST_HARNESS_MAIN
