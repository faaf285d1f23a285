// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many mappings and much memory: no limit on their number, limits on locked memory, and how
 * many exits it takes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "lib/guest_test.h"
#include "lib/nobody.h"
#include "lib/now.h"

#define PAGE		GUEST_PAGE
#define SIZE_64M	(64ULL << 20)
#define SIZE_2M		(2ULL << 20)
#define MANY		70000		/* more than the 65,535 of type1 */
#define LIST_PAGES	512		/* by one op */

/* How many ops there were, without the one that asked for the count */
static long long ops(const struct guest_stats *from, const struct guest_stats *to)
{
	return to->ops - from->ops - 1;
}

FIXTURE(scale)
{
	struct guest_vfio g;
	struct dma_window window;
};

FIXTURE_SETUP(scale)
{
	guest_setup(&self->g, VFIO_TYPE1v2_IOMMU, 0);
	if (!guest_has_backend())
		SKIP(return, "needs the module vfio_pv");
	guest_setup_window(&self->g, &self->window);
}

static bool set_huge_pages(unsigned int nr)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && dprintf(fd, "%u", nr) > 0;

	close(fd);
	return good;
}

FIXTURE_TEARDOWN(scale)
{
	guest_vfio_close(&self->g);
	EXPECT_TRUE(set_huge_pages(0));
}

/* The same page MANY times, each 4 KiB mapping apart from the next one */
TEST_F_TIMEOUT(scale, more_mappings_than_type1, 1800)
{
	struct guest_stats before, full, after;
	char *page = guest_memory(PAGE);
	__u64 start = now_ns();
	__u64 removed;
	long i;

	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, guest_stats(&before));
	for (i = 0; i < MANY; i++) {
		ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA + 2 * i * PAGE, page,
					  PAGE, true)) {
			TH_LOG("mapping number %ld", i);
		}
	}
	TH_LOG("%d mappings in %.1f s", MANY, (now_ns() - start) / 1e9);
	ASSERT_EQ(0, guest_stats(&full));
	EXPECT_EQ(before.pages_mapped + MANY, full.pages_mapped);
	EXPECT_EQ(before.mappings + MANY, full.mappings);
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + 2 * (MANY - 1) * PAGE, page,
			       &self->window));

	start = now_ns();
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, 2 * MANY * PAGE, &removed));
	TH_LOG("unmapped in %.1f s", (now_ns() - start) / 1e9);
	EXPECT_EQ(MANY * PAGE, removed);
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(before.pages_mapped, after.pages_mapped);
	EXPECT_EQ(before.pages_pinned, after.pages_pinned);
	EXPECT_EQ(before.mappings, after.mappings);
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA + 2 * (MANY - 1) * PAGE, page,
				 &self->window));
}

/* How many pages are adjacent to the page before; 1 if that can't be told */
static size_t neighbours(const char *memory, size_t npages)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const __u64 frame = (1ULL << 55) - 1;
	__u64 *entry = calloc(npages, sizeof(*entry));
	size_t len = npages * sizeof(*entry), found = 0, i;

	if (fd < 0 || !entry || pread(fd, entry, len, (uintptr_t)memory / PAGE * sizeof(*entry)) !=
	    (ssize_t)len)
		found = 1;
	for (i = 1; !found && i < npages; i++)
		found += (entry[i] & frame) == (entry[i - 1] & frame) + 1;
	free(entry);
	close(fd);
	return found;
}

/* Scattered memory, if possible with no two adjacent pages: @alone tells */
static char *scattered_apart(size_t size, bool *alone)
{
	char *memory = guest_scattered(size);
	int tries;

	for (tries = 0; memory && tries < 20 && neighbours(memory, size / PAGE); tries++) {
		guest_memory_free(memory, size);
		memory = guest_scattered(size);
	}
	*alone = memory && !neighbours(memory, size / PAGE);
	return memory;
}

/*
 * The number of exits does not depend on how scattered memory is. 64 MiB take two doorbells, as
 * one maps 8192 pages, and as many lists as that takes. If pages are adjacent at the end of a
 * list, they don't fill it; then it may take a third doorbell. Unmapping takes one doorbell,
 * which flushes.
 */
TEST_F(scale, kicks_for_64m_scattered)
{
	struct guest_stats before, mapped, after;
	const size_t npages = SIZE_64M / PAGE;
	bool alone;
	char *memory = scattered_apart(SIZE_64M, &alone);
	int i;

	/* Each CPU has a ring of its own */
	ASSERT_TRUE(guest_stay_here());
	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, guest_stats(&before));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, memory, SIZE_64M, true));
	ASSERT_EQ(0, guest_stats(&mapped));
	TH_LOG("MAP_DMA, %s: %lld ops, %lld kicks", alone ? "no two neighbours" : "neighbours",
	       ops(&before, &mapped), guest_kicks(&before, &mapped));
	if (alone) {
		EXPECT_EQ(npages / LIST_PAGES, ops(&before, &mapped));
		EXPECT_GE(2, guest_kicks(&before, &mapped));
	}
	EXPECT_GE(npages / LIST_PAGES + 2, ops(&before, &mapped));
	EXPECT_GE(3, guest_kicks(&before, &mapped));
	EXPECT_LE(1, guest_kicks(&before, &mapped));
	EXPECT_EQ(before.pages_mapped + npages, mapped.pages_mapped);
	EXPECT_EQ(before.ops_failed, mapped.ops_failed);
	for (i = 0; i < 3; i++) {
		size_t at = random() % npages * PAGE;

		EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + at, memory + at, &self->window));
	}

	ASSERT_EQ(0, guest_stats(&mapped));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE_64M, NULL));
	ASSERT_EQ(0, guest_stats(&after));
	TH_LOG("UNMAP_DMA: %lld ops, %lld kicks", ops(&mapped, &after),
	       guest_kicks(&mapped, &after));
	/* One UNMAP, one INVALIDATE */
	EXPECT_EQ(2, ops(&mapped, &after));
	EXPECT_EQ(1, guest_kicks(&mapped, &after));
	EXPECT_EQ(before.pages_mapped, after.pages_mapped);
	EXPECT_EQ(before.pages_pinned, after.pages_pinned);
}

static void *huge_memory(size_t size)
{
	void *memory;

	if (!set_huge_pages(size / SIZE_2M))
		return NULL;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

/* The number of pieces of contiguous memory; 0 if the kernel does not tell */
static int contiguous_pieces(const char *memory, size_t size)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), pieces = 0;
	__u64 entry, frame, expected = 0;
	size_t at;

	for (at = 0; at < size; at += SIZE_2M) {
		if (pread(fd, &entry, sizeof(entry),
			  (uintptr_t)(memory + at) / PAGE * sizeof(entry)) != sizeof(entry))
			break;
		frame = entry & ((1ULL << 55) - 1);
		pieces += frame != expected;
		expected = frame + SIZE_2M / PAGE;
	}
	close(fd);
	return at < size ? 0 : pieces;
}

/* An op for each piece of contiguous memory, of which there are at most as many as huge pages */
TEST_F(scale, ops_for_64m_of_huge_pages)
{
	struct guest_stats before, mapped, after;
	const size_t npages = SIZE_64M / PAGE;
	char *memory = huge_memory(SIZE_64M);
	int pieces;

	if (!memory)
		SKIP(return, "no huge pages are to be had");
	pieces = contiguous_pieces(memory, SIZE_64M);
	ASSERT_LT(0, pieces);
	ASSERT_EQ(0, guest_stats(&before));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, memory, SIZE_64M, true));
	ASSERT_EQ(0, guest_stats(&mapped));
	TH_LOG("%d pieces: %lld ops, %lld kicks", pieces, ops(&before, &mapped),
	       guest_kicks(&before, &mapped));
	EXPECT_LE(1, ops(&before, &mapped));
	EXPECT_GE(pieces, ops(&before, &mapped));
	EXPECT_EQ(before.pages_mapped + npages, mapped.pages_mapped);
	EXPECT_EQ(1, dma_works(&self->g.dev, GUEST_IOVA + SIZE_64M - PAGE,
			       memory + SIZE_64M - PAGE, &self->window));

	ASSERT_EQ(0, guest_stats(&mapped));
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE_64M, NULL));
	ASSERT_EQ(0, guest_stats(&after));
	TH_LOG("unmapped: %lld ops, %lld kicks", ops(&mapped, &after),
	       guest_kicks(&mapped, &after));
	/* One UNMAP, one INVALIDATE */
	EXPECT_EQ(2, ops(&mapped, &after));
	EXPECT_EQ(before.pages_mapped, after.pages_mapped);
	munmap(memory, SIZE_64M);
}

/* What this process and the host have pinned is what is mapped. */
TEST_F(scale, pinned_is_mapped)
{
	const size_t npages = 300;
	char *memory = guest_scattered(npages * PAGE);
	struct guest_stats before, mapped, after;
	long locked = guest_locked_kb();

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, guest_stats(&before));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, memory, npages * PAGE, true));
	EXPECT_EQ(locked + npages * 4, guest_locked_kb());
	ASSERT_EQ(0, guest_stats(&mapped));
	EXPECT_EQ(before.pages_mapped + npages, mapped.pages_mapped);
	EXPECT_EQ(before.pages_pinned + npages, mapped.pages_pinned);

	guest_vfio_close(&self->g);
	EXPECT_EQ(locked - 4, guest_locked_kb());	/* without the window */
	ASSERT_EQ(0, guest_stats(&after));
	EXPECT_EQ(before.pages_mapped - 1, after.pages_mapped);
	EXPECT_EQ(before.pages_pinned - 1, after.pages_pinned);
}

static int map_as_nobody(const struct guest_vfio *g, char *memory, size_t size, size_t limit)
{
	struct rlimit rlimit = { limit, limit };

	if (setrlimit(RLIMIT_MEMLOCK, &rlimit) || setuid(NOBODY))
		return 100;
	return -vfio_map_dma(g->container, GUEST_IOVA, memory, size, true);
}

/* What MAP_DMA says to a process that has no rights and may lock @limit bytes: 0 or an errno */
static int map_with_limit(const struct guest_vfio *g, char *memory, size_t size, size_t limit)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(map_as_nobody(g, memory, size, limit));
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ?
	       WEXITSTATUS(status) : -1;
}

/* A process without CAP_IPC_LOCK may pin what RLIMIT_MEMLOCK allows. */
TEST_F(scale, memlock_limit)
{
	const size_t size = 64 * PAGE;
	char *memory = guest_memory(size);

	ASSERT_NE(NULL, memory);
	EXPECT_EQ(ENOMEM, map_with_limit(&self->g, memory, size, size / 2));
	EXPECT_EQ(0, map_with_limit(&self->g, memory, size, 2 * size));
}

TEST_HARNESS_MAIN
