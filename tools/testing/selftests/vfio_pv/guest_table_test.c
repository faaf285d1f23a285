// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO_PV_IOMMU_BIND_TABLE in a guest: a page table that a privileged program has in its own
 * memory. DMA by an edu device shows where it leads.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include <linux/pv_iommu.h>
#include <linux/vfio_pv.h>

#include "lib/guest_balloon.h"
#include "lib/guest_iface.h"
#include "lib/guest_ram.h"
#include "lib/guest_test.h"
#include "lib/nobody.h"

#define P	1ULL
#define RW	3ULL
#define TABLES	4	/* pages: a table of each level */
#define DATA	4

FIXTURE(table)
{
	struct guest_vfio g;
	struct dma_window window;
	unsigned char *pages;	/* the tables, then data */
	__u64 gpa[TABLES + DATA];
};

static int bind_flags(const struct guest_vfio *g, __u32 flags, __u32 format, __u64 root)
{
	struct vfio_pv_iommu_bind_table bind = {
		.argsz = sizeof(bind),
		.flags = flags,
		.format = format,
		.root = root,
	};

	return guest_ioctl(g->container, VFIO_PV_IOMMU_BIND_TABLE, &bind);
}

static int bind_table(const struct guest_vfio *g, __u32 format, __u64 root)
{
	return bind_flags(g, 0, format, root);
}

/* The entry of the lowest table for page @nr from GUEST_IOVA_WINDOW on */
static __u64 *leaf(unsigned char *pages, unsigned int nr)
{
	return (__u64 *)(pages + 3 * GUEST_PAGE) + GUEST_IOVA_WINDOW / GUEST_PAGE % 512 + nr;
}

FIXTURE_SETUP(table)
{
	__u64 *entry;
	int i;

	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	ASSERT_TRUE(keep_locked_in_place());
	self->pages = mmap(NULL, (TABLES + DATA) * GUEST_PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	ASSERT_NE(MAP_FAILED, self->pages);
	for (i = 0; i < TABLES + DATA; i++) {
		self->gpa[i] = ram_gpa_of(self->pages + i * GUEST_PAGE);
		ASSERT_NE(0, self->gpa[i]);
	}
	for (i = 0; i < TABLES - 1; i++) {
		entry = (__u64 *)(self->pages + i * GUEST_PAGE);
		entry[GUEST_IOVA_WINDOW >> (39 - 9 * i) & 511] = self->gpa[i + 1] | RW;
	}
	/* The first data page is for looking at the device's buffer */
	self->window.iova = GUEST_IOVA_WINDOW;
	self->window.memory = self->pages + TABLES * GUEST_PAGE;
	*leaf(self->pages, 0) = self->gpa[TABLES] | RW;
}

FIXTURE_TEARDOWN(table)
{
	guest_vfio_close(&self->g);
	munmap(self->pages, (TABLES + DATA) * GUEST_PAGE);
}

#define DATA_PAGE(n)	(self->pages + (TABLES + (n)) * GUEST_PAGE)
#define IOVA(n)		(GUEST_IOVA_WINDOW + (n) * GUEST_PAGE)

TEST_F(table, refusals)
{
	struct vfio_pv_iommu_bind_table bind = { .argsz = sizeof(bind) - 8 };
	__u64 root = self->gpa[0];

	EXPECT_EQ(-EINVAL, guest_ioctl(self->g.container, VFIO_PV_IOMMU_BIND_TABLE, &bind));
	bind.argsz = sizeof(bind);
	bind.flags = 2;
	EXPECT_EQ(-EOPNOTSUPP, guest_ioctl(self->g.container, VFIO_PV_IOMMU_BIND_TABLE, &bind));
	EXPECT_EQ(-EOPNOTSUPP, bind_table(&self->g, PVIOMMU_TABLE_NONE, root));
	EXPECT_EQ(-EOPNOTSUPP, bind_table(&self->g, 99, root));
	EXPECT_EQ(-EINVAL, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, root + 8));
	EXPECT_EQ(-EFAULT, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, 1ULL << 46));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, IOVA(1), DATA_PAGE(1), GUEST_PAGE, true));
	EXPECT_EQ(-EBUSY, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, root));
	EXPECT_EQ(0, guest_unmap(&self->g, IOVA(1), GUEST_PAGE, 0, NULL));
	/* None of that has changed the container */
	ASSERT_EQ(0, vfio_map_dma(self->g.container, IOVA(0), DATA_PAGE(0), GUEST_PAGE, true));
	ASSERT_EQ(0, vfio_map_dma(self->g.container, IOVA(1), DATA_PAGE(1), GUEST_PAGE, true));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
}

TEST_F(table, is_not_for_everybody)
{
	EXPECT_TRUE(nobody_sees(bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]) ==
				-EPERM));
}

TEST_F(table, devices_reach_what_it_says)
{
	ASSERT_EQ(0, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]));
	EXPECT_EQ(-EBUSY, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]));
	EXPECT_EQ(-EOPNOTSUPP, vfio_map_dma(self->g.container, IOVA(2), DATA_PAGE(2), GUEST_PAGE,
					    true));
	*leaf(self->pages, 1) = self->gpa[TABLES + 1] | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	/* Another page, a hole, a bad entry: each takes effect with the INVALIDATE */
	*leaf(self->pages, 1) = self->gpa[TABLES + 2] | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, IOVA(1), GUEST_PAGE));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(2), &self->window));
	*leaf(self->pages, 1) = 0;
	ASSERT_EQ(0, guest_invalidate(&self->g, IOVA(1), GUEST_PAGE));
	EXPECT_EQ(1, dma_refused(&self->g.dev, IOVA(1), DATA_PAGE(2), &self->window));
	*leaf(self->pages, 1) = 1ULL << 46 | RW;
	*leaf(self->pages, 2) = self->gpa[TABLES + 3] | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, IOVA(1), 2 * GUEST_PAGE));
	EXPECT_EQ(1, dma_refused(&self->g.dev, IOVA(1), DATA_PAGE(2), &self->window));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(2), DATA_PAGE(3), &self->window));
}

/* Entries that are added take effect at once; removing or changing one takes an INVALIDATE */
TEST_F(table, added_entries_need_no_invalidate)
{
	__u64 *table = (__u64 *)(self->pages + 2 * GUEST_PAGE);
	unsigned int at = GUEST_IOVA_WINDOW >> 21 & 511;
	volatile __u64 *entry = leaf(self->pages, 1);

	ASSERT_EQ(0, bind_flags(&self->g, VFIO_PV_BIND_FLAG_WATCH, PVIOMMU_TABLE_X86_64_4,
				self->gpa[0]));
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	*entry = self->gpa[TABLES + 1] | RW;
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	*entry = self->gpa[TABLES + 2] | RW;
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	*entry = 0;
	ASSERT_EQ(0, guest_invalidate(&self->g, IOVA(1), GUEST_PAGE));
	EXPECT_EQ(1, dma_refused(&self->g.dev, IOVA(1), DATA_PAGE(2), &self->window));
	/* Also if the entry is stored by an instruction that reads it, too */
	__atomic_exchange_n(leaf(self->pages, 1), self->gpa[TABLES + 2] | RW, __ATOMIC_SEQ_CST);
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(2), &self->window));
	/* Link the same table once more, 2 MiB further on */
	__atomic_store_n(&table[(at + 1) % 512], self->gpa[3] | RW, __ATOMIC_SEQ_CST);
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(512 + 1), DATA_PAGE(2), &self->window));
	__atomic_store_n(leaf(self->pages, 3), self->gpa[TABLES + 3] | RW, __ATOMIC_SEQ_CST);
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(512 + 3), DATA_PAGE(3), &self->window));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(3), DATA_PAGE(3), &self->window));
}

/* The table is bound again with the same flag */
TEST_F(table, is_watched_after_a_restart)
{
	ASSERT_EQ(0, bind_flags(&self->g, VFIO_PV_BIND_FLAG_WATCH, PVIOMMU_TABLE_X86_64_4,
				self->gpa[0]));
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	ASSERT_EQ(0, iface_restart());
	__atomic_store_n(leaf(self->pages, 1), self->gpa[TABLES + 1] | RW, __ATOMIC_SEQ_CST);
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
}

/* The driver binds the table again, and the host looks at it again */
TEST_F(table, comes_back_after_a_restart)
{
	ASSERT_EQ(0, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]));
	*leaf(self->pages, 1) = self->gpa[TABLES + 1] | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	ASSERT_EQ(0, iface_restart());
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	*leaf(self->pages, 1) = self->gpa[TABLES + 2] | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, IOVA(1), GUEST_PAGE));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(2), &self->window));
}

static int dirty_pages(const struct guest_vfio *g, __u32 flags, __u64 iova, __u64 *bits)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} arg = {
		.head = { .argsz = sizeof(arg), .flags = flags },
		.get = { iova, 64 * GUEST_PAGE, { GUEST_PAGE, sizeof(*bits), bits } },
	};

	return guest_ioctl(g->container, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

/* Pages that devices can write to by the table are in the dirty log */
TEST_F(table, writes_are_logged)
{
	__u64 bits = 0;

	ASSERT_EQ(0, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]));
	*leaf(self->pages, 1) = self->gpa[TABLES + 1] | RW;
	*leaf(self->pages, 2) = self->gpa[TABLES + 2] | P;
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	ASSERT_EQ(0, dirty_pages(&self->g, VFIO_IOMMU_DIRTY_PAGES_FLAG_START, 0, NULL));
	ASSERT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	ASSERT_EQ(0, dirty_pages(&self->g, VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, IOVA(0),
				 &bits));
	EXPECT_EQ(1 << 0 | 1 << 1, bits);
	EXPECT_EQ(0, dirty_pages(&self->g, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, 0, NULL));
}

/* Wait for an event of this type; 1 if its IOVA is in the range, 0 if none came */
static int hear_of(struct guest_vfio *g, unsigned int type, __u64 iova, __u64 size)
{
	struct vfiopv c = { .fd = g->container, .type = VFIO_PV_IOMMU };
	struct vfio_pv_event event;
	int tries;

	for (tries = 0; tries < 600; tries++, usleep(100000))
		while (vfiopv_read_events(&c, &event, 1) == 1)
			if (event.type == type)
				return event.iova - iova < size && !event.vm && !event.gpa ?
				       1 : -EINVAL;
	return 0;
}

/* The event about a bad entry names the IOVA, the reason, and where the entry is */
TEST_F(table, bad_entry_is_told)
{
	struct vfiopv c = { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	struct vfio_pv_event event = {};
	int tries;

	ASSERT_EQ(0, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]));
	*leaf(self->pages, 1) = self->gpa[TABLES + 1] | RW;
	*leaf(self->pages, 2) = 1ULL << 51 | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	for (tries = 0; tries < 600 && vfiopv_read_events(&c, &event, 1) != 1; tries++)
		usleep(100000);
	EXPECT_EQ(VFIO_PV_EVENT_FAULT, event.type);
	EXPECT_EQ(VFIO_PV_EVENT_FLAG_ENTRY, event.flags & 0xff);
	EXPECT_EQ(PVIOMMU_BAD_PAGE, VFIO_PV_EVENT_REASON(event.flags));
	EXPECT_EQ(IOVA(2), event.iova);
	EXPECT_EQ(GUEST_PAGE, event.size);
	EXPECT_EQ(self->gpa[TABLES - 1] + ((__u8 *)leaf(self->pages, 2) - self->pages) % GUEST_PAGE,
		  event.gpa);
	EXPECT_EQ(0, event.vm);
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	EXPECT_EQ(1, dma_refused(&self->g.dev, IOVA(2), DATA_PAGE(2), &self->window));
}

/*
 * Free memory goes back to the host while the table still leads to it, which mappings of a user
 * could not do. The user is told, the device is cut off from that memory, and from no other.
 */
TEST_F(table, released_memory_is_cut_off)
{
	__u64 gpa = 0;
	void *huge = huge_page(&gpa);
	int i;

	ASSERT_NE(NULL, huge);
	ASSERT_EQ(0, bind_table(&self->g, PVIOMMU_TABLE_X86_64_4, self->gpa[0]));
	*leaf(self->pages, 1) = self->gpa[TABLES + 1] | RW;
	for (i = 2; i < 6; i++)
		*leaf(self->pages, i) = (gpa + i * GUEST_PAGE) | RW;
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(3), huge + 3 * GUEST_PAGE, &self->window));
	ASSERT_TRUE(release_memory(gpa, HUGE_SIZE));
	EXPECT_EQ(1, hear_of(&self->g, VFIO_PV_EVENT_RELEASE, IOVA(2), 4 * GUEST_PAGE));
	EXPECT_EQ(1, hear_of(&self->g, VFIO_PV_EVENT_REVOKED, IOVA(2), 4 * GUEST_PAGE));
	EXPECT_EQ(1, dma_refused(&self->g.dev, IOVA(3), DATA_PAGE(3), &self->window));
	EXPECT_EQ(1, dma_works(&self->g.dev, IOVA(1), DATA_PAGE(1), &self->window));
	huge_page_free(huge);
}

TEST_HARNESS_MAIN
