// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every failure that there can be in the guest's kernel, one after the other: each allocation
 * and each copy on the way of what a container and its groups are told is made to fail once.
 * What fails leaves all as it was, at the host too; of a batch, each range has the result that it
 * says. What iommufd is told, see
 * guest_iommufd_test; needs a kernel that can be made to fail.
 */
#include <stdint.h>
#include <sys/eventfd.h>

#include <linux/pv_iommu.h>

#include "lib/guest_fault.h"
#include "lib/guest_iface.h"
#include "lib/guest_ram.h"

#define PAGE	GUEST_PAGE
#define SIZE	(200 * PAGE)
#define LONG	600

FIXTURE(fault)
{
	struct guest_vfio g;
	struct dma_window window;
	char *buffer;
};

FIXTURE_SETUP(fault)
{
	const char *missing = pv_fault_missing();

	if (missing)
		SKIP(return, "%s", missing);
	guest_setup(&self->g, VFIO_PV_IOMMU, 0);
	guest_setup_window(&self->g, &self->window);
	self->buffer = guest_scattered(SIZE);
	ASSERT_NE(NULL, self->buffer);
	ASSERT_TRUE(pv_fault_begin_kernel());
}

FIXTURE_TEARDOWN(fault)
{
	guest_vfio_close(&self->g);
}

#define map()	vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, SIZE, true)
#define unmap()	vfio_unmap_dma(self->g.container, GUEST_IOVA, SIZE, NULL)
#define works()	dma_works(&self->g.dev, GUEST_IOVA + SIZE - PAGE, self->buffer + SIZE - PAGE, \
			  &self->window)

TEST_F_TIMEOUT(fault, map, LONG)
{
	guest_each_failure("MAP_DMA", 1, map(), EXPECT_EQ(0, unmap()));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
	ASSERT_EQ(0, map());
	EXPECT_EQ(1, works());
}

/* There is nothing in it that can fail */
TEST_F_TIMEOUT(fault, unmap, LONG)
{
	ASSERT_EQ(0, map());
	guest_each_failure("UNMAP_DMA", 0, unmap(), EXPECT_EQ(0, map()));
	EXPECT_EQ(1, works());
}

/* The group of the second device, which is in no container */
static int second_group(char bdf[16])
{
	return guest_find_edu(1, bdf) ? -ENODEV : vfio_group_open(bdf);
}

static int leave(int group)
{
	return guest_ioctl(group, VFIO_GROUP_UNSET_CONTAINER, NULL);
}

/* A second device is attached to what is mapped already */
TEST_F_TIMEOUT(fault, join, LONG)
{
	struct guest_vfio second;
	char bdf[16];
	int group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	ASSERT_EQ(0, map());
	guest_each_failure("SET_CONTAINER", 5,
			   vfio_group_set_container(group, self->g.container),
			   EXPECT_EQ(0, leave(group)));
	close(group);
	EXPECT_EQ(1, works());
	ASSERT_EQ(0, guest_vfio_join(&second, &self->g, bdf));
	EXPECT_EQ(1, dma_works(&second.dev, GUEST_IOVA, self->buffer, &self->window));
	guest_vfio_close(&second);
}

/* To leave is done whatever fails */
TEST_F_TIMEOUT(fault, leave, LONG)
{
	char bdf[16];
	int group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	ASSERT_EQ(0, map());
	ASSERT_EQ(0, vfio_group_set_container(group, self->g.container));
	guest_each_failure("UNSET_CONTAINER", 0, leave(group), {
		EXPECT_EQ(0, vfio_group_set_container(group, self->g.container));
	});
	close(group);
	EXPECT_EQ(1, works());
}

/* The first group of a container, for which a domain is made */
TEST_F_TIMEOUT(fault, set_iommu, LONG)
{
	char bdf[16];
	int container, group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	container = vfio_container_open();
	ASSERT_LE(0, container);
	ASSERT_EQ(0, vfio_group_set_container(group, container));
	guest_each_failure("SET_IOMMU", 5,
			   guest_ioctl(container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU), {
		EXPECT_EQ(0, leave(group));
		EXPECT_EQ(0, vfio_group_set_container(group, container));
	});
	EXPECT_EQ(0, guest_ioctl(container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU));
	close(group);
	close(container);
}

static int log_dirty(int container, __u32 flag)
{
	struct vfio_iommu_type1_dirty_bitmap arg = { sizeof(arg), flag };

	return guest_ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

TEST_F_TIMEOUT(fault, dirty_log, LONG)
{
	ASSERT_EQ(0, map());
	guest_each_failure("DIRTY_PAGES", 1,
			   log_dirty(self->g.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START),
			   EXPECT_EQ(0, log_dirty(self->g.container,
						  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP)));
	EXPECT_EQ(1, works());
}

/* ------------------------------------------------------------------ */
/* What VFIO_PV_IOMMU adds: <linux/vfio_pv.h> */

/* Map, and unmap without a flush, so that there is something to flush */
static int leave_unflushed(const struct guest_vfio *g, void *buffer)
{
	return vfio_map_dma(g->container, GUEST_IOVA, buffer, SIZE, true) ?:
	       guest_unmap(g, GUEST_IOVA, SIZE, VFIO_PV_UNMAP_FLAG_NO_FLUSH, NULL);
}

/* What is not flushed stays pinned, and its IOVAs stay taken */
TEST_F_TIMEOUT(fault, invalidate, LONG)
{
	ASSERT_EQ(0, leave_unflushed(&self->g, self->buffer));
	guest_each_failure_settled("INVALIDATE", 1,
				   guest_invalidate(&self->g, GUEST_IOVA, SIZE),
				   EXPECT_EQ(-EBUSY, map()),
				   EXPECT_EQ(0, leave_unflushed(&self->g, self->buffer)));
	ASSERT_EQ(0, guest_invalidate(&self->g, 0, 0));
	EXPECT_EQ(1, dma_refused(&self->g.dev, GUEST_IOVA, self->buffer, &self->window));
}

#define RANGES	16
#define RANGE(i) (GUEST_IOVA + 2 * (i) * PAGE)
#define RW	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define UNTOLD	0x7fffffff

/* A batch of single pages with holes between them, to be mapped; unmapped if @buffer is NULL */
static void fill_batch(struct vfio_pv_batch_entry *entry, const char *buffer)
{
	unsigned int i;

	for (i = 0; i < RANGES; i++)
		entry[i] = (struct vfio_pv_batch_entry) {
			.iova = RANGE(i),
			.vaddr = buffer ? (uintptr_t)buffer + i * PAGE : 0,
			.size = PAGE,
			.flags = buffer ? RW : 0,
			.result = UNTOLD,
		};
}

/* 0, or what is said of the whole, or of the first range that has failed */
static int do_batch(int container, struct vfio_pv_batch_entry *entry, const char *buffer)
{
	struct vfio_pv_iommu_batch arg = {
		.argsz = sizeof(arg),
		.entries = (uintptr_t)entry,
		.count = RANGES,
	};
	unsigned int i;
	int ret;

	fill_batch(entry, buffer);
	ret = guest_ioctl(container, buffer ? VFIO_PV_IOMMU_MAP : VFIO_PV_IOMMU_UNMAP, &arg);
	for (i = 0; i < RANGES && !ret; i++)
		ret = entry[i].result;
	return ret;
}

/*
 * Each range is mapped, or unmapped, if and only if its result says so. If the results could not
 * be written, either may be, but then the call has failed.
 */
static bool as_told(int container, const struct vfio_pv_batch_entry *entry, int error, bool to_map)
{
	struct vfio_pv_iommu_lookup look;
	unsigned int i;
	bool done;

	if (error == UNTOLD)
		return false;
	for (i = 0; i < RANGES; i++) {
		done = to_map == !guest_look_up(container, &look, entry[i].iova);
		if (entry[i].result == UNTOLD ? done && error != -EFAULT :
						done != !entry[i].result)
			return false;
	}
	return true;
}

static int map_what_is_missing(int container, char *buffer)
{
	struct vfio_pv_iommu_lookup look;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < RANGES && !ret; i++)
		if (guest_look_up(container, &look, RANGE(i)))
			ret = vfio_map_dma(container, RANGE(i), buffer + i * PAGE, PAGE, true);
	return ret;
}

TEST_F_TIMEOUT(fault, map_batch, LONG)
{
	struct vfio_pv_batch_entry entry[RANGES];
	int fd = self->g.container, error;

	guest_each_failure_settled("MAP", 5, (error = do_batch(fd, entry, self->buffer)), {
		EXPECT_TRUE(as_told(fd, entry, error, true));
		EXPECT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, RANGE(RANGES) - GUEST_IOVA, 0,
					 NULL));
	}, {
		EXPECT_TRUE(as_told(fd, entry, 0, true));
		EXPECT_EQ(0, do_batch(fd, entry, NULL));
	});
	ASSERT_EQ(0, do_batch(fd, entry, self->buffer));
	EXPECT_EQ(1, dma_works(&self->g.dev, RANGE(RANGES - 1), self->buffer + (RANGES - 1) * PAGE,
			       &self->window));
}

TEST_F_TIMEOUT(fault, unmap_batch, LONG)
{
	struct vfio_pv_batch_entry entry[RANGES];
	int fd = self->g.container, error;

	ASSERT_EQ(0, do_batch(fd, entry, self->buffer));
	guest_each_failure_settled("UNMAP", 4, (error = do_batch(fd, entry, NULL)), {
		EXPECT_TRUE(as_told(fd, entry, error, false));
		EXPECT_EQ(0, map_what_is_missing(fd, self->buffer));
	}, {
		EXPECT_TRUE(as_told(fd, entry, 0, false));
		EXPECT_EQ(0, do_batch(fd, entry, self->buffer));
	});
	ASSERT_EQ(0, do_batch(fd, entry, NULL));
	EXPECT_EQ(1, dma_refused(&self->g.dev, RANGE(RANGES - 1), self->buffer, &self->window));
}

TEST_F_TIMEOUT(fault, lookup, LONG)
{
	struct vfio_pv_iommu_lookup look;
	const __u64 gpa = ram_gpa_of(self->buffer + 5 * PAGE);

	ASSERT_EQ(0, map());
	guest_each_failure("LOOKUP", 2,
			   guest_look_up(self->g.container, &look, GUEST_IOVA + 5 * PAGE), {
		EXPECT_EQ(GUEST_IOVA, look.start);
		EXPECT_EQ(SIZE, look.size);
		EXPECT_EQ(gpa, look.phys);
	});
}

TEST_F_TIMEOUT(fault, info, LONG)
{
	struct vfiopv c = { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	struct vfio_pv_info_cap_limits limits;

	guest_each_failure("GET_INFO", 3, vfiopv_limits(&c, &limits), {
		EXPECT_LE(1, limits.max_mappings);
	});
}

/* How often an event that comes now is signalled to the eventfd; it is read */
static int signals(const struct vfiopv *c, int fd)
{
	struct vfio_pv_event event;
	eventfd_t n = 0;

	if (iface_inject(PVIOMMU_EV_FAULT, GUEST_IOVA, 1, 0) ||
	    vfiopv_read_events(c, &event, 1) != 1)
		return -1;
	eventfd_read(fd, &n);
	return n;
}

/* Until a new eventfd is set, events are signalled to the old one */
TEST_F_TIMEOUT(fault, eventfd, LONG)
{
	struct vfiopv c = { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	int old = eventfd(0, EFD_NONBLOCK), new = eventfd(0, EFD_NONBLOCK);

	ASSERT_LE(0, old);
	ASSERT_LE(0, new);
	ASSERT_EQ(0, vfiopv_set_eventfd(&c, old));
	guest_each_failure_settled("EVENTFD", 1, vfiopv_set_eventfd(&c, new), {
		EXPECT_EQ(1, signals(&c, old));
		EXPECT_EQ(0, signals(&c, new));
	}, {
		EXPECT_EQ(1, signals(&c, new));
		EXPECT_EQ(0, vfiopv_set_eventfd(&c, old));
	});
	close(new);
	close(old);
}

#define EVENTS	20

/* All events that were not read, in order, from number @next on */
static bool rest_is_read(const struct vfiopv *c, __u64 next, unsigned int count)
{
	struct vfio_pv_event event[EVENTS + 1];
	unsigned int i;

	if (vfiopv_read_events(c, event, EVENTS + 1) != (int)count)
		return false;
	for (i = 0; i < count; i++)
		if (event[i].seq != next + i || event[i].iova != GUEST_IOVA)
			return false;
	return true;
}

/* An event is either read or still there */
TEST_F_TIMEOUT(fault, read_events, LONG)
{
	struct vfiopv c = { .fd = self->g.container, .type = VFIO_PV_IOMMU };
	struct vfio_pv_event event[EVENTS];
	__u64 next = 1;
	int n;

	ASSERT_EQ(0, iface_inject(PVIOMMU_EV_FAULT, GUEST_IOVA, EVENTS, 0));
	guest_each_failure_settled("READ_EVENTS", 3,
				   (n = vfiopv_read_events(&c, event, EVENTS)) < 0 ? n : 0, {
		EXPECT_TRUE(rest_is_read(&c, next, EVENTS));
		next += EVENTS;
		ASSERT_EQ(0, iface_inject(PVIOMMU_EV_FAULT, GUEST_IOVA, EVENTS, 0));
	}, {
		EXPECT_TRUE(!n || event[0].seq == next);
		EXPECT_TRUE(rest_is_read(&c, next + n, EVENTS - n));
		next += EVENTS;
		ASSERT_EQ(0, iface_inject(PVIOMMU_EV_FAULT, GUEST_IOVA, EVENTS, 0));
	});
}

/* A container of the group, of our type, which has no mappings */
static int make_container(int group, int container)
{
	return vfio_group_set_container(group, container) ?:
	       guest_ioctl(container, VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU);
}

static int bind_table(int container, const void *root)
{
	struct vfio_pv_iommu_bind_table bind = {
		.argsz = sizeof(bind),
		.format = PVIOMMU_TABLE_X86_64_4,
		.root = ram_gpa_of(root),
	};

	return guest_ioctl(container, VFIO_PV_IOMMU_BIND_TABLE, &bind);
}

/* Without a table, the container takes mappings as before */
static bool takes_mappings(int container, void *buffer)
{
	return !vfio_map_dma(container, GUEST_IOVA, buffer, PAGE, true) &&
	       !vfio_unmap_dma(container, GUEST_IOVA, PAGE, NULL);
}

TEST_F_TIMEOUT(fault, bind_table, LONG)
{
	char *root = guest_memory(PAGE), bdf[16];
	int container, group = second_group(bdf);

	if (group < 0)
		SKIP(return, "needs two edu devices bound to vfio-pci");
	ASSERT_NE(NULL, root);
	memset(root, 0, PAGE);
	container = vfio_container_open();
	ASSERT_LE(0, container);
	ASSERT_EQ(0, make_container(group, container));
	guest_each_failure_settled("BIND_TABLE", 5, bind_table(container, root),
				   EXPECT_TRUE(takes_mappings(container, self->buffer)), {
		EXPECT_FALSE(takes_mappings(container, self->buffer));
		EXPECT_EQ(0, leave(group));
		EXPECT_EQ(0, make_container(group, container));
	});
	close(group);
	close(container);
	guest_memory_free(root, PAGE);
}

TEST_HARNESS_MAIN
