// SPDX-License-Identifier: GPL-2.0-only
/*
 * What devices really reach: DMA by edu devices, to and from what is mapped.
 *
 * An edu device does not tell that DMA was refused, so each test looks at the data. It
 * never expects a refusal without having seen the same DMA succeed, or the device itself
 * work, in the same test.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>

#include "lib/edu.h"
#include "lib/pv_edu.h"
#include "lib/pv_test.h"

/* Below 256 MiB, as far as an edu device reaches by default */
#define IOVA		0x8000000ULL
#define TARGET		(PV_DATA + 0x100000)	/* GPA */
#define LEN		256
#define BACK		1024	/* where in the device's buffer data from memory goes */

FIXTURE(dma)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 dom;
};

/*
 * A page for each device, by which data gets into and out of the device's buffer. It is
 * mapped at its GPA, so that it can be used in bypass, too.
 */
static __u64 scratch(int dev)
{
	return PV_DATA + dev * PV_PAGE;
}

/* A new domain with @dev in it, where its scratch page is mapped; 0 on failure */
static __u32 new_domain(struct pv_ring *r, int dev)
{
	__u32 ep = r->vm->dev[dev].id, dom = pv_new_domain(r, ep);

	if (!dom || __pv_map(r, dom, scratch(dev), scratch(dev), PV_PAGE, PV_RW) ||
	    __pv_attach(r, ep, dom))
		return 0;
	return dom;
}

FIXTURE_SETUP(dma)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 2, PV_LOW_SIZE);
	if (!pv_edu_all(&self->vm))
		SKIP(return, "needs edu devices");
	self->r = &self->vm.ring[0];
	pv_start(&self->vm, 1, 6);
	self->dom = new_domain(self->r, 0);
	ASSERT_NE(0, self->dom);
}

FIXTURE_TEARDOWN(dma)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* ---- attempts at DMA ------------------------------------------------ */

/* Data that has not been used before */
static void fresh(__u64 *data)
{
	static __u64 count;
	unsigned int i;

	for (i = 0; i < LEN / sizeof(*data); i++)
		data[i] = (++count << 20 | (unsigned int)getpid()) * 0x9e3779b97f4a7c15ULL;
}

struct attempt {
	__u64 out[LEN / 8];	/* in the device; to be written to memory */
	__u64 in[LEN / 8];	/* in memory; to be read by the device */
};

/* Put fresh data into the device and at @gpa. The device must reach its scratch page */
static bool attempt_begin(struct pv_vm *vm, int dev, __u64 gpa, struct attempt *a)
{
	void *page = pv_mem(vm, scratch(dev));

	fresh(a->out);
	fresh(a->in);
	memset(page, 0x55, PV_PAGE);
	if (!edu_from_ram(&vm->dev[dev].vfio, scratch(dev), 0, EDU_BUFFER_SIZE))
		return false;
	memcpy(page, a->out, LEN);
	if (!edu_from_ram(&vm->dev[dev].vfio, scratch(dev), 0, LEN))
		return false;
	memcpy(pv_mem(vm, gpa), a->in, LEN);
	memset(page, 0x77, PV_PAGE);
	return true;
}

/* The device reads @iova first, then writes it */
static bool attempt_run(struct pv_vm *vm, int dev, __u64 iova)
{
	return edu_from_ram(&vm->dev[dev].vfio, iova, BACK, LEN) &&
	       edu_to_ram(&vm->dev[dev].vfio, iova, 0, LEN);
}

static bool found(const struct pv_region *region, const void *data)
{
	return memmem(region->hva, region->size, data, LEN);
}

/* What has arrived: PV_R in the device, PV_W at @gpa; ~0 if there is other data than expected */
static unsigned int attempt_end(struct pv_vm *vm, int dev, __u64 gpa, struct attempt *a)
{
	unsigned int access = 0;
	bool elsewhere;

	if (!memcmp(pv_mem(vm, gpa), a->out, LEN))
		access |= PV_W;
	else if (memcmp(pv_mem(vm, gpa), a->in, LEN))
		return ~0;
	/* The data must not have arrived anywhere else in memory */
	memset(pv_mem(vm, gpa), 0, LEN);
	elsewhere = found(&vm->low, a->out) || found(&vm->high, a->out) ||
		    found(&vm->rom, a->out);
	if (elsewhere || !edu_to_ram(&vm->dev[dev].vfio, scratch(dev), BACK, LEN))
		return ~0;
	if (!memcmp(pv_mem(vm, scratch(dev)), a->in, LEN))
		access |= PV_R;
	else if (memmem(pv_mem(vm, scratch(dev)), LEN, a->in, 8))
		return ~0;
	/* The device still has the data that it was to write */
	if (!edu_to_ram(&vm->dev[dev].vfio, scratch(dev), 0, LEN) ||
	    memcmp(pv_mem(vm, scratch(dev)), a->out, LEN))
		return ~0;
	return access;
}

/* What @dev can do at @iova to the memory at @gpa */
static unsigned int dma(struct pv_vm *vm, int dev, __u64 iova, __u64 gpa)
{
	struct attempt a;

	if (!attempt_begin(vm, dev, gpa, &a) || !attempt_run(vm, dev, iova))
		return ~0;
	return attempt_end(vm, dev, gpa, &a);
}

/*
 * The same for an endpoint that is in @domain for the attempt, and in @home before and after,
 * as the scratch page need not be mapped in @domain.
 */
static unsigned int dma_in(struct pv_ring *r, int dev, __u32 domain, __u32 home, __u64 iova,
			   __u64 gpa)
{
	__u32 ep = r->vm->dev[dev].id;
	struct attempt a;

	if (!attempt_begin(r->vm, dev, gpa, &a) || __pv_attach(r, ep, domain) ||
	    !attempt_run(r->vm, dev, iova) || __pv_attach(r, ep, home))
		return ~0;
	return attempt_end(r->vm, dev, gpa, &a);
}

/* ---- mapped and unmapped ------------------------------------------- */

TEST_F(dma, map)
{
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA, TARGET));
	pv_map(self->r, self->dom, IOVA, TARGET, 0x4000, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x3f00, TARGET + 0x3f00));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x0f80, TARGET + 0x0f80));
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA + 0x4000, TARGET + 0x4000));
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA - 0x1000, TARGET));
	EXPECT_EQ(0, dma(&self->vm, 0, TARGET, TARGET));
}

TEST_F(dma, map_high_memory)
{
	pv_map(self->r, self->dom, IOVA, PV_HIGH + PV_2M, 0x1000, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, PV_HIGH + PV_2M));
}

TEST_F(dma, map_large_page)
{
	pv_map_2m(self->r, self->dom, IOVA, PV_HIGH, PV_HIGH_SIZE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x12300, PV_HIGH + 0x12300));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + PV_HIGH_SIZE - LEN,
			     PV_HIGH + PV_HIGH_SIZE - LEN));
}

TEST_F(dma, map_list)
{
	const unsigned int pages[] = { 9, 3, 4, 700 };
	unsigned int i, half;
	__u64 *from, *next;

	for (i = 0; i < 4; i++)
		pv_list(&self->vm)[i] = (TARGET >> 12) + pages[i];
	pv_map_list(self->r, self->dom, IOVA, PV_AT_LIST, 4, PV_RW);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + i * PV_PAGE,
				     TARGET + pages[i] * PV_PAGE));

	/* A transfer across a page boundary: the IOVAs are adjacent, the pages are not */
	half = EDU_BUFFER_SIZE / 2;
	from = pv_mem(&self->vm, TARGET + 10 * PV_PAGE - half);
	fresh(from);
	fresh(from + (half - LEN) / 8);
	next = pv_mem(&self->vm, TARGET + 3 * PV_PAGE);
	fresh(next);
	fresh(next + (half - LEN) / 8);
	ASSERT_TRUE(edu_from_ram(&self->vm.dev[0].vfio, IOVA + PV_PAGE - half, 0, 2 * half));
	ASSERT_TRUE(edu_to_ram(&self->vm.dev[0].vfio, IOVA + 3 * PV_PAGE - half, 0, 2 * half));
	EXPECT_EQ(0, memcmp(pv_mem(&self->vm, TARGET + 5 * PV_PAGE - half), from, half));
	EXPECT_EQ(0, memcmp(pv_mem(&self->vm, TARGET + 700 * PV_PAGE), next, half));
}

TEST_F(dma, prot)
{
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_R);
	EXPECT_EQ(PV_R, dma(&self->vm, 0, IOVA, TARGET));
	pv_map(self->r, self->dom, IOVA + PV_PAGE, TARGET, PV_PAGE, PV_W);
	/* Linux' driver for VT-d lets devices read whatever is mapped */
	EXPECT_EQ(PV_W, dma(&self->vm, 0, IOVA + PV_PAGE, TARGET) & ~PV_R);
	pv_map(self->r, self->dom, IOVA + 2 * PV_PAGE, PV_ROM, PV_PAGE, PV_R);
	EXPECT_EQ(PV_R, dma(&self->vm, 0, IOVA + 2 * PV_PAGE, PV_ROM));
}

/* The device has just used the page, so the IOMMU may cache it: the flush must end that */
TEST_F(dma, unmap_and_invalidate)
{
	struct pv_state before, after;

	pv_map(self->r, self->dom, IOVA, TARGET, 0x4000, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x1000, TARGET + 0x1000));
	before = pv_state(self->r);
	pv_unmap(self->r, self->dom, IOVA + 0x1000, 0x2000);
	after = pv_state(self->r);
	EXPECT_EQ(before.pages_mapped - 2, after.pages_mapped);
	EXPECT_EQ(before.pages_pinned, after.pages_pinned);
	pv_inv_page(self->r, self->dom, IOVA + 0x1000, 0x2000);
	EXPECT_EQ(before.pages_pinned - 2, pv_state(self->r).pages_pinned);
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA + 0x1000, TARGET + 0x1000));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x3000, TARGET + 0x3000));
}

TEST_F(dma, remap_elsewhere)
{
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_inv(self->r, self->dom);
	pv_map(self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, PV_HIGH));
}

/* One small page of contiguous memory, which the IOMMU's driver might map as a large page */
TEST_F(dma, unmap_one_page_of_many)
{
	pv_map(self->r, self->dom, IOVA, PV_HIGH, PV_HIGH_SIZE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x123000, PV_HIGH + 0x123000));
	pv_unmap(self->r, self->dom, IOVA + 0x123000, PV_PAGE);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA + 0x123000, PV_HIGH + 0x123000));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x122000, PV_HIGH + 0x122000));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x124000, PV_HIGH + 0x124000));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + PV_2M, PV_HIGH + PV_2M));
}

TEST_F(dma, unmap_all_of_a_large_area)
{
	pv_map(self->r, self->dom, IOVA, TARGET, 2 * PV_2M, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x345000, TARGET + 0x345000));
	pv_unmap(self->r, self->dom, IOVA, 2 * PV_2M);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA + 0x345000, TARGET + 0x345000));
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA, TARGET));
}

/* ---- domains ------------------------------------------------------- */

TEST_F(dma, two_endpoints_two_domains)
{
	__u32 other;

	if (self->vm.nr_devs < 2)
		SKIP(return, "needs two devices");
	other = new_domain(self->r, 1);
	ASSERT_NE(0, other);
	/* The same IOVA leads to two places; another one leads nowhere for device 0 */
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_map(self->r, other, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	pv_map(self->r, other, IOVA + PV_PAGE, PV_HIGH + PV_PAGE, PV_PAGE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	EXPECT_EQ(PV_RW, dma(&self->vm, 1, IOVA, PV_HIGH));
	EXPECT_EQ(PV_RW, dma(&self->vm, 1, IOVA + PV_PAGE, PV_HIGH + PV_PAGE));
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA + PV_PAGE, PV_HIGH + PV_PAGE));
	EXPECT_EQ(0, dma(&self->vm, 0, scratch(1), TARGET));

	/* Unmapping in one domain does not affect the other */
	pv_unmap_all(self->r, other);
	pv_inv(self->r, other);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
}

TEST_F(dma, two_endpoints_one_domain)
{
	if (self->vm.nr_devs < 2)
		SKIP(return, "needs two devices");
	pv_map(self->r, self->dom, scratch(1), scratch(1), PV_PAGE, PV_RW);
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_attach(self->r, self->vm.dev[1].id, self->dom);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	EXPECT_EQ(PV_RW, dma(&self->vm, 1, IOVA, TARGET));
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_inv(self->r, self->dom);
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA, TARGET));
	EXPECT_EQ(0, dma(&self->vm, 1, IOVA, TARGET));
	/* One endpoint leaves, the other one stays */
	EXPECT_EQ(0, dma_in(self->r, 1, PVIOMMU_DOMAIN_BLOCKED, self->dom, IOVA, TARGET));
	pv_err_free(PVIOMMU_EBUSY, self->r, self->dom);
}

TEST_F(dma, move_between_domains)
{
	__u32 ep = self->vm.dev[0].id, other;

	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	other = new_domain(self->r, 0);
	ASSERT_NE(0, other);
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA, TARGET));
	pv_map(self->r, other, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, PV_HIGH));
	pv_attach(self->r, ep, self->dom);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
	pv_free(self->r, other);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
}

TEST_F(dma, blocked)
{
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	EXPECT_EQ(PV_RW, dma_in(self->r, 0, self->dom, self->dom, IOVA, TARGET));
	EXPECT_EQ(0, dma_in(self->r, 0, PVIOMMU_DOMAIN_BLOCKED, self->dom, IOVA, TARGET));
	EXPECT_EQ(0, dma_in(self->r, 0, PVIOMMU_DOMAIN_BLOCKED, self->dom, TARGET, TARGET));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA, TARGET));
}

/* ---- bypass -------------------------------------------------------- */

TEST_F(dma, bypass)
{
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, TARGET, TARGET));
	EXPECT_EQ(PV_R, dma(&self->vm, 0, PV_ROM, PV_ROM));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, PV_HIGH, PV_HIGH));
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA, TARGET));
}

/* Without a driver in the guest, there seems to be no IOMMU */
TEST_F(dma, bypass_without_interface)
{
	pv_reset(&self->vm);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, TARGET, TARGET));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, PV_HIGH + PV_HIGH_SIZE - LEN,
			     PV_HIGH + PV_HIGH_SIZE - LEN));
	EXPECT_EQ(0, dma(&self->vm, 0, PV_NOWHERE, TARGET));
}

TEST_F(dma, bypass_follows_the_memory)
{
	pv_reset(&self->vm);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, PV_HIGH, PV_HIGH));
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	EXPECT_EQ(0, dma(&self->vm, 0, PV_HIGH, PV_HIGH));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, TARGET, TARGET));
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, PV_HIGH, PV_HIGH));
}

/*
 * Memory that the VMM lets devices write to, but not read: no op reaches it. Whether reads are
 * blocked in bypass depends on the IOMMU.
 */
TEST_F(dma, memory_to_write_only)
{
	const struct pv_region *high = &self->vm.high;
	struct vfiopv c = { .fd = self->vm.container };

	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	ASSERT_EQ(0, vfiopv_map(&c, high->gpa, high->hva, high->size, VFIO_DMA_MAP_FLAG_WRITE));
	pv_err_map(PVIOMMU_EFAULT, self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_R);
	pv_err_map(PVIOMMU_EFAULT, self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_W);
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	EXPECT_EQ(PV_W, dma(&self->vm, 0, PV_HIGH, PV_HIGH) & ~PV_R);
	EXPECT_EQ(PVIOMMU_OK, __pv_lookup(self->r, PVIOMMU_DOMAIN_BYPASS, PV_HIGH));
	EXPECT_EQ(PV_W, self->r->last.lookup.prot);
}

TEST_F(dma, default_blocked)
{
	struct attempt a;

	ASSERT_TRUE(attempt_begin(&self->vm, 0, TARGET, &a));
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	pv_reset(&self->vm);
	EXPECT_EQ(0, pv_newest_vm_counter("pages_pinned"));
	ASSERT_TRUE(attempt_run(&self->vm, 0, TARGET));
	pv_start(&self->vm, 1, 6);
	ASSERT_NE(0, new_domain(self->r, 0));
	EXPECT_EQ(0, attempt_end(&self->vm, 0, TARGET, &a));
}

/* ---- memory that leaves -------------------------------------------- */

TEST_F(dma, revoked_memory)
{
	struct pviommu_event ev;

	pv_map(self->r, self->dom, IOVA, PV_HIGH + 0x5000, 0x2000, PV_RW);
	pv_map(self->r, self->dom, IOVA + 0x10000, TARGET, 0x2000, PV_RW);
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x1000, PV_HIGH + 0x6000));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x10000, TARGET));

	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	EXPECT_EQ(0, dma(&self->vm, 0, IOVA + 0x1000, PV_HIGH + 0x6000));
	EXPECT_EQ(PV_RW, dma(&self->vm, 0, IOVA + 0x10000, TARGET));
	ASSERT_TRUE(pv_event_next(&self->vm, &ev));
	EXPECT_EQ(PVIOMMU_EV_REVOKED, ev.type);
	EXPECT_EQ(IOVA, ev.addr);
	EXPECT_EQ(PV_HIGH + 0x5000, ev.gpa);
	EXPECT_EQ(0x2000, ev.size);
}

/* ---- faults -------------------------------------------------------- */

/* Of the IOMMU drivers for PCs, only AMD's reports faults to us */
static bool is_amd(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/sys/class/iommu");
	bool amd = false;

	while (dir && (entry = readdir(dir)))
		amd |= !strncmp(entry->d_name, "ivhd", 4);
	if (dir)
		closedir(dir);
	return amd;
}

/*
 * An emulated IOMMU may not report faults at all. Try it in the blocked domain, whose faults
 * the driver logs itself.
 */
static bool faults_are_reported(struct pv_vm *vm)
{
	int i, fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	char line[1024];
	bool heard = false;
	ssize_t n;

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0 ||
	    !edu_to_ram(&vm->dev[0].vfio, IOVA, 0, 8))
		return false;
	for (i = 0; i < 100 && !heard; i++) {
		while ((n = read(fd, line, sizeof(line) - 1)) > 0) {
			line[n] = 0;
			heard |= !!strstr(line, "AMD-Vi: Event logged");
		}
		usleep(10000);
	}
	close(fd);
	return heard;
}

TEST_F(dma, fault_event)
{
	struct pviommu_event ev = {};
	unsigned int i;

	if (!is_amd())
		SKIP(return, "this IOMMU's driver passes no faults on");
	pv_attach(self->r, self->vm.dev[0].id, PVIOMMU_DOMAIN_BLOCKED);
	if (!faults_are_reported(&self->vm))
		SKIP(return, "this IOMMU, emulated perhaps, reports no faults");
	pv_attach(self->r, self->vm.dev[0].id, self->dom);
	ASSERT_TRUE(edu_to_ram(&self->vm.dev[0].vfio, IOVA, 0, 8));
	for (i = 0; i < 1000 && !pv_event_next(&self->vm, &ev); i++)
		usleep(10000);
	EXPECT_EQ(PVIOMMU_EV_FAULT, ev.type);
	EXPECT_EQ(0, ev.flags & ~PVIOMMU_EV_F_WRITE);
	EXPECT_EQ(self->vm.dev[0].id, ev.endpoint);
	EXPECT_EQ(self->dom, ev.domain);
	EXPECT_EQ(IOVA, ev.addr & ~0xfffULL);
	EXPECT_LE(1, pv_stats(self->r).faults);
}

TEST_HARNESS_MAIN
