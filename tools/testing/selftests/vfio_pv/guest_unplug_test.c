// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's memory is unplugged while a device can reach it: the mapping ends with it, the guest
 * is told, and DMA does not reach memory that takes its place. Other mappings stay.
 *
 * This program is the guest, beside the kernel: it has the interface in a huge page of its own,
 * and uses the device's registers by sysfs. See guest_unplug.sh.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/edu.h"
#include "lib/guest_ram.h"
#include "lib/pv_test.h"

#define MEMORY		"/sys/devices/system/memory"
#define IOVA		0x10000000ULL	/* leads to memory that stays */
#define GONE		0x20000000ULL	/* leads to memory that is unplugged */
/* Offset in the huge page of the memory that stays, which devices use */
#define STAYS		0x180000ULL
#define LEN		256
#define WAIT_MS		60000
#define MAX_BLOCKS	4096
#define TAKE		(120UL << 20)

FIXTURE(unplug)
{
	struct pv_vm vm;
	struct pv_ring *r;
	struct vfio_dev *edu;
	__u64 base;		/* GPA of the huge page */
	__u32 dom;
};

/* ---- memory ------------------------------------------------------------ */

/* Which blocks of memory there are, by number */
static void list_blocks(bool *there)
{
	DIR *dir = opendir(MEMORY);
	struct dirent *entry;
	unsigned int nr;

	memset(there, 0, MAX_BLOCKS);
	while (dir && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "memory%u", &nr) == 1 && nr < MAX_BLOCKS)
			there[nr] = true;
	if (dir)
		closedir(dir);
}

/* The first block that is there now and was not before, or -1 */
static int new_block(const bool *before)
{
	static bool now[MAX_BLOCKS];
	int nr;

	list_blocks(now);
	for (nr = 0; nr < MAX_BLOCKS; nr++)
		if (now[nr] && !before[nr])
			return nr;
	return -1;
}

static __u64 block_size(void)
{
	char text[32];

	return pv_read_file(MEMORY "/block_size_bytes", text, sizeof(text)) > 0 ?
	       strtoull(text, NULL, 16) : 0;
}

static bool offline(int block)
{
	char path[64];

	snprintf(path, sizeof(path), MEMORY "/memory%d/state", block);
	return !pv_write_file(path, "offline");
}

static bool is_online(int block)
{
	char path[64], state[32];

	snprintf(path, sizeof(path), MEMORY "/memory%d/state", block);
	return pv_read_file(path, state, sizeof(state)) > 0 && !strncmp(state, "online", 6);
}

/* Have host_unplug.sh do something, and wait for its answer */
static bool ask(const char *what, const char *answer)
{
	const char *share = getenv("PVVM_SHARE");
	char path[128];
	int fd, ms;

	snprintf(path, sizeof(path), "%s/unplug-%s", share, what);
	fd = open(path, O_WRONLY | O_CREAT, 0666);
	if (fd < 0)
		return false;
	close(fd);
	snprintf(path, sizeof(path), "%s/unplug-%s", share, answer);
	for (ms = 0; ms < WAIT_MS && access(path, F_OK); ms += 100)
		usleep(100000);
	return !unlink(path);
}

/* Most of a memory block. The kernel prefers memory that can be moved, if there is any; or NULL */
static char *take_memory(void)
{
	char *mem = mmap(NULL, TAKE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* The page of @mem that is at @gpa, or NULL */
static char *page_at(char *mem, __u64 gpa)
{
	unsigned long off;

	for (off = 0; off < TAKE; off += PV_PAGE)
		if (ram_gpa_of(mem + off) == gpa)
			return mem + off;
	return NULL;
}

/* Plug memory in and wait until it is online; its block, or -1 */
static int plug(void)
{
	static bool before[MAX_BLOCKS];
	int block, ms;

	list_blocks(before);
	if (!ask("plug", "plugged"))
		return -1;
	for (ms = 0; ms < WAIT_MS; ms += 100) {
		block = new_block(before);
		if (block >= 0 && is_online(block))
			return block;
		usleep(100000);
	}
	return -1;
}

/* ---- the interface ------------------------------------------------------- */

static const char *edu_address(void)
{
	static char bdf[16];
	const char *at = strstr(getenv("PVVM_DEVICES") ?: "", "edu:");

	return at && sscanf(at, "edu:%15s", bdf) == 1 ? bdf : NULL;
}

static int open_in_sysfs(const char *bdf, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, file);
	return open(path, O_RDWR | O_SYNC | O_CLOEXEC);
}

/* Config space and BAR 0 */
static bool open_device(struct pv_dev *dev, const char *bdf)
{
	int bar = open_in_sysfs(bdf, "resource0");

	dev->vfio = (struct vfio_dev) {
		.group = -1, .fd = open_in_sysfs(bdf, "config"), .bar0 = -1, .bar0_size = 1 << 20,
	};
	if (bar < 0 || dev->vfio.fd < 0)
		return false;
	dev->vfio.mmio = mmap(NULL, dev->vfio.bar0_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			      bar, 0);
	close(bar);
	if (dev->vfio.mmio == MAP_FAILED || vfio_dev_enable(&dev->vfio, true, true))
		return false;
	pv_dev_find_cap(dev);
	return dev->cap;
}

/* The library's addresses are offsets in the huge page: add where that is */
static void start(struct pv_vm *vm, __u64 base)
{
	struct pviommu_start *start = pv_start_prepare(vm, 1, 6);
	struct pviommu_ring_desc *desc = pv_start_descs(vm);

	start->doorbell += base;
	start->events += base;
	start->rings += base;
	desc->hdr += base;
	desc->ops += base;
}

FIXTURE_SETUP(unplug)
{
	struct pv_dev *dev = &self->vm.dev[0];
	const char *bdf = edu_address();
	void *huge;

	if (!bdf || !getenv("PVVM_SHARE"))
		SKIP(return, "needs pvvm with an edu device and --share");
	huge = mmap(NULL, PV_2M, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, huge);
	self->base = ram_gpa_of(huge);
	ASSERT_NE(0, self->base);
	ASSERT_TRUE(open_device(dev, bdf));
	self->edu = &dev->vfio;
	self->vm.low = (struct pv_region) { .size = PV_2M, .hva = huge, .writable = true };
	self->vm.nr_devs = 1;
	self->vm.cookie = (__u64)getpid() << 32;
	dev->id = pv_cap_read(&self->vm, 0, PVIOMMU_CAP_ENDPOINT_OFF);
	start(&self->vm, self->base);
	ASSERT_EQ(0, pv_command(&self->vm, PVIOMMU_CMD_START, self->base + PV_AT_START));
	self->r = &self->vm.ring[0];
	self->dom = pv_new_domain(self->r, dev->id);
	ASSERT_NE(0, self->dom);
	pv_map(self->r, self->dom, IOVA, self->base + STAYS, PV_PAGE, PV_RW);
	pv_attach(self->r, dev->id, self->dom);
}

FIXTURE_TEARDOWN(unplug)
{
	EXPECT_EQ(0, __pv_reset(&self->vm));
}

/* ---- DMA --------------------------------------------------------------------- */

/* Copy new data from the page that stays to @iova; the data, or NULL on failure */
static const char *dma(const struct vfio_dev *edu, struct pv_vm *vm, __u64 iova)
{
	static unsigned int count;
	char *from = pv_mem(vm, STAYS);
	int i;

	count++;
	for (i = 0; i < LEN; i++)
		from[i] = i * 7 + count * 31;
	return edu_from_ram(edu, IOVA, 0, LEN) && edu_to_ram(edu, iova, 0, LEN) ? from : NULL;
}

/* Is the device kept from reading @page by @iova? Its own buffer holds other data before. */
static bool cant_read(const struct vfio_dev *edu, struct pv_vm *vm, __u64 iova, const char *page)
{
	char *stays = pv_mem(vm, STAYS);

	memset(stays, ~page[0], LEN);
	if (!edu_from_ram(edu, IOVA, 0, LEN) || !edu_from_ram(edu, iova, 0, LEN) ||
	    !edu_to_ram(edu, IOVA, 0, LEN))
		return false;
	return memcmp(stays, page, LEN);
}

static bool wait_for(struct pv_vm *vm, __u16 type, struct pviommu_event *ev)
{
	while (pv_event_wait(vm, ev, WAIT_MS))
		if (ev->type == type)
			return true;
	return false;
}

TEST_F_TIMEOUT(unplug, memory_goes_and_its_mapping_with_it, 1800)
{
	char *mem, *page, seen[LEN];
	struct pviommu_event ev;
	const char *data;
	__u64 gpa;
	int block;

	block = plug();
	ASSERT_LE(0, block);
	mem = take_memory();
	ASSERT_NE(NULL, mem);
	/* In the middle: what others take of the block meanwhile is at its ends */
	page = mem + TAKE / 2;
	gpa = ram_gpa_of(page);
	ASSERT_EQ(block, gpa / block_size());

	pv_map(self->r, self->dom, GONE, gpa, PV_PAGE, PV_RW);
	data = dma(self->edu, &self->vm, GONE);
	ASSERT_NE(NULL, data);
	EXPECT_EQ(0, memcmp(data, page, LEN));
	ASSERT_EQ(gpa, ram_gpa_of(page));

	munmap(mem, TAKE);
	ASSERT_TRUE(offline(block));
	ASSERT_TRUE(ask("del", "gone"));

	ASSERT_TRUE(wait_for(&self->vm, PVIOMMU_EV_REVOKED, &ev));
	EXPECT_EQ(self->dom, ev.domain);
	EXPECT_EQ(GONE, ev.addr);
	EXPECT_EQ(gpa, ev.gpa);
	EXPECT_EQ(PV_PAGE, ev.size);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, GONE);
	pv_err_map(PVIOMMU_EFAULT, self->r, self->dom, GONE, gpa, PV_PAGE, PV_RW);
	ASSERT_NE(NULL, dma(self->edu, &self->vm, GONE));

	/* Other memory is plugged in at the same place: the device does not reach that either */
	ASSERT_EQ(block, plug());
	mem = take_memory();
	ASSERT_NE(NULL, mem);
	page = page_at(mem, gpa);
	ASSERT_NE(NULL, page);
	memset(page, 0x5a, LEN);
	memset(seen, 0x5a, LEN);
	ASSERT_NE(NULL, dma(self->edu, &self->vm, GONE));
	EXPECT_EQ(0, memcmp(seen, page, LEN));
	EXPECT_TRUE(cant_read(self->edu, &self->vm, GONE, page));
	/* cant_read() finds what can be read */
	pv_map(self->r, self->dom, GONE, gpa, PV_PAGE, PV_RW);
	EXPECT_FALSE(cant_read(self->edu, &self->vm, GONE, page));
	/* The other mapping works as before */
	data = dma(self->edu, &self->vm, IOVA + PV_PAGE / 2);
	ASSERT_NE(NULL, data);
	EXPECT_EQ(0, memcmp(data, data + PV_PAGE / 2, LEN));
	munmap(mem, TAKE);
}

TEST_HARNESS_MAIN
