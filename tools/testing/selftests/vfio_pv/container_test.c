// SPDX-License-Identifier: GPL-2.0-only
/*
 * The container as a VMM uses it: the ioctls of TYPE1v2, with valid and with invalid
 * arguments.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/vfio.h>

#include "lib/pv_test.h"

#define AT	0x200000000ULL	/* IOVAs (GPAs) that the fixture leaves free */

FIXTURE(container)
{
	struct pv_usage before;
	struct pv_vm vm;
	char *mem;		/* 1 MiB */
	long long pinned;
};

FIXTURE_SETUP(container)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->mem = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	self->pinned = pv_total("pages_pinned");
}

FIXTURE_TEARDOWN(container)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

static int call(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* ---- MAP_DMA ------------------------------------------------------- */

#define RW	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define MAPSZ	sizeof(struct vfio_iommu_type1_dma_map)

TEST_F(container, map_dma_bad_arguments)
{
	const struct {
		const char *what;
		__u32 argsz, flags;
		__u64 vaddr;	/* added to the memory's address */
		__u64 iova, size;
		int error;
	} rows[] = {
		{ "argsz 0", 0, RW, 0, AT, 0x1000, -EINVAL },
		{ "argsz short", MAPSZ - 1, RW, 0, AT, 0x1000, -EINVAL },
		{ "no access", MAPSZ, 0, 0, AT, 0x1000, -EINVAL },
		{ "vaddr flag", MAPSZ, VFIO_DMA_MAP_FLAG_VADDR, 0, AT, 0x1000, -EINVAL },
		{ "unknown flag", MAPSZ, RW | 1U << 31, 0, AT, 0x1000, -EINVAL },
		{ "size 0", MAPSZ, RW, 0, AT, 0, -EINVAL },
		{ "size misaligned", MAPSZ, RW, 0, AT, 0x1800, -EINVAL },
		{ "iova misaligned", MAPSZ, RW, 0, AT + 0x800, 0x1000, -EINVAL },
		{ "vaddr misaligned", MAPSZ, RW, 0x800, AT, 0x1000, -EINVAL },
		{ "iova wraps", MAPSZ, RW, 0, -0x1000ULL, 0x2000, -EINVAL },
		{ "size huge", MAPSZ, RW, 0, AT, -0x1000ULL, -EINVAL },
		{ "vaddr of the kernel", MAPSZ, RW, 1ULL << 63, AT, 0x1000, -EINVAL },
		{ "the same again", MAPSZ, RW, 0, PV_HIGH, PV_HIGH_SIZE, -EEXIST },
		{ "overlaps the head", MAPSZ, RW, 0, PV_HIGH - 0x1000, 0x2000, -EEXIST },
		{ "overlaps the tail", MAPSZ, RW, 0, PV_HIGH + PV_HIGH_SIZE - 0x1000, 0x2000,
		  -EEXIST },
		{ "the last page of all", MAPSZ, RW, 0, -0x1000ULL, 0x1000, -EFAULT },
		{ "within another", MAPSZ, RW, 0, PV_HIGH + 0x10000, 0x1000, -EEXIST },
		{ "around another", MAPSZ, RW, 0, PV_ROM - 0x10000, PV_ROM_SIZE + 0x20000,
		  -EEXIST },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vfio_iommu_type1_dma_map map = {
			.argsz = rows[i].argsz,
			.flags = rows[i].flags,
			.vaddr = (unsigned long)self->mem + rows[i].vaddr,
			.iova = rows[i].iova,
			.size = rows[i].size,
		};

		EXPECT_EQ(rows[i].error, call(self->vm.container, VFIO_IOMMU_MAP_DMA, &map)) {
			TH_LOG("%s", rows[i].what);
		}
		EXPECT_EQ(self->pinned, pv_total("pages_pinned"));
	}
	EXPECT_EQ(-EFAULT, call(self->vm.container, VFIO_IOMMU_MAP_DMA, NULL));
	EXPECT_EQ(-EFAULT, call(self->vm.container, VFIO_IOMMU_MAP_DMA, (void *)-1L));
}

/* An argument that is longer than we know, as of a newer program: its tail is ignored */
TEST_F(container, map_dma_long_argument)
{
	struct {
		struct vfio_iommu_type1_dma_map map;
		__u8 tail[64];
	} arg = { .map = {
		.argsz = sizeof(arg), .flags = RW, .vaddr = (unsigned long)self->mem,
		.iova = AT, .size = 0x4000,
	} };

	memset(arg.tail, 0xff, sizeof(arg.tail));
	EXPECT_EQ(0, call(self->vm.container, VFIO_IOMMU_MAP_DMA, &arg));
	EXPECT_EQ(self->pinned + 4, pv_total("pages_pinned"));
}

/* What can't be pinned may be another device's BAR: no error, but no memory either */
TEST_F(container, map_dma_of_what_is_no_memory)
{
	ASSERT_EQ(0, pv_vm_add_bar(&self->vm, 0));
	EXPECT_EQ(self->pinned, pv_total("pages_pinned"));
	EXPECT_EQ(0, pv_region_unmap(&self->vm, &self->vm.bar));
}

/* In bypass, all memory is pinned by MAP_DMA: where a page is missing, it fails as a whole */
TEST_F(container, map_dma_of_memory_with_a_hole)
{
	ASSERT_EQ(0, munmap(self->mem + 0x80000, 0x1000));
	EXPECT_EQ(-EFAULT, vfio_map_dma(self->vm.container, AT, self->mem, 0x100000, true));
	EXPECT_EQ(self->pinned, pv_total("pages_pinned"));
	EXPECT_EQ(0, vfio_map_dma(self->vm.container, AT, self->mem, 0x80000, true));
}

TEST_F(container, map_dma_of_read_only_memory)
{
	ASSERT_EQ(0, mprotect(self->mem, 1 << 20, PROT_READ));
	EXPECT_EQ(0, vfio_map_dma(self->vm.container, AT, self->mem, 0x100000, false));
	EXPECT_EQ(self->pinned + 256, pv_total("pages_pinned"));
}

TEST_F(container, map_dma_by_another_process)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(-vfio_map_dma(self->vm.container, AT, self->mem, 0x1000, true));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
}

/* How many more ranges can be mapped, as GET_INFO says; -1 if it does not say so */
static long ranges_left(int fd)
{
	struct {
		struct vfio_iommu_type1_info info;
		__u8 caps[4096];
	} arg = { .info.argsz = sizeof(arg) };
	const struct vfio_iommu_type1_info_dma_avail *cap;
	unsigned int off;

	if (call(fd, VFIO_IOMMU_GET_INFO, &arg))
		return -1;
	for (off = arg.info.cap_offset; off; off = cap->header.next) {
		cap = (void *)((char *)&arg + off);
		if (cap->header.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)
			return cap->avail;
	}
	return -1;
}

/* A range takes memory of the kernel even if nothing is at its address, so there is a quota */
TEST_F(container, map_dma_too_often)
{
	int fd = self->vm.container;

	EXPECT_EQ(65535 - 3, ranges_left(fd));
	ASSERT_TRUE(pv_param_set("max_slots", "5"));
	EXPECT_EQ(2, ranges_left(fd));
	ASSERT_EQ(0, munmap(self->mem, 1 << 20));
	EXPECT_EQ(0, vfio_map_dma(fd, AT, self->mem, 0x1000, true));
	EXPECT_EQ(0, vfio_map_dma(fd, AT + 0x1000, self->mem, 0x1000, true));
	EXPECT_EQ(0, ranges_left(fd));
	EXPECT_EQ(-ENOSPC, vfio_map_dma(fd, AT + 0x2000, self->mem, 0x1000, true));
	EXPECT_EQ(-EEXIST, vfio_map_dma(fd, AT, self->mem, 0x1000, true));
	EXPECT_EQ(0, vfio_unmap_dma(fd, AT, 0x1000, NULL));
	EXPECT_EQ(1, ranges_left(fd));
	EXPECT_EQ(0, vfio_map_dma(fd, AT + 0x2000, self->mem, 0x1000, true));
	/* The quota is lowered below what there is */
	ASSERT_TRUE(pv_param_set("max_slots", "1"));
	EXPECT_EQ(0, ranges_left(fd));
}

/* ---- UNMAP_DMA ----------------------------------------------------- */

#define UNMAPSZ	sizeof(struct vfio_iommu_type1_dma_unmap)

TEST_F(container, unmap_dma_bad_arguments)
{
	const struct {
		const char *what;
		__u32 argsz, flags;
		__u64 iova, size;
	} rows[] = {
		{ "argsz 0", 0, 0, AT, 0x4000 },
		{ "argsz short", UNMAPSZ - 1, 0, AT, 0x4000 },
		{ "unknown flag", UNMAPSZ, 1U << 31, AT, 0x4000 },
		{ "dirty bitmap", UNMAPSZ, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, AT, 0x4000 },
		{ "vaddr flag", UNMAPSZ, VFIO_DMA_UNMAP_FLAG_VADDR, AT, 0x4000 },
		{ "all, with a size", UNMAPSZ, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0x4000 },
		{ "all, with an iova", UNMAPSZ, VFIO_DMA_UNMAP_FLAG_ALL, AT, 0 },
		{ "size 0", UNMAPSZ, 0, AT, 0 },
		{ "size misaligned", UNMAPSZ, 0, AT, 0x3800 },
		{ "iova misaligned", UNMAPSZ, 0, AT + 0x800, 0x4000 },
		{ "wraps", UNMAPSZ, 0, AT, -0x1000ULL },
		{ "cuts the tail off", UNMAPSZ, 0, AT + 0x1000, 0x3000 },
		{ "cuts the head off", UNMAPSZ, 0, AT, 0x3000 },
		{ "cuts out the middle", UNMAPSZ, 0, AT + 0x1000, 0x1000 },
		{ "ends in it", UNMAPSZ, 0, AT - 0x1000, 0x2000 },
		{ "begins in it", UNMAPSZ, 0, AT + 0x3000, 0x2000 },
	};
	unsigned int i;

	ASSERT_EQ(0, vfio_map_dma(self->vm.container, AT, self->mem, 0x4000, true));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vfio_iommu_type1_dma_unmap unmap = {
			.argsz = rows[i].argsz,
			.flags = rows[i].flags,
			.iova = rows[i].iova,
			.size = rows[i].size,
		};

		EXPECT_EQ(-EINVAL, call(self->vm.container, VFIO_IOMMU_UNMAP_DMA, &unmap)) {
			TH_LOG("%s", rows[i].what);
		}
		EXPECT_EQ(self->pinned + 4, pv_total("pages_pinned"));
	}
	EXPECT_EQ(-EFAULT, call(self->vm.container, VFIO_IOMMU_UNMAP_DMA, NULL));
}

TEST_F(container, unmap_dma_tells_what_it_removed)
{
	__u64 removed = 1;

	/* Nothing there */
	EXPECT_EQ(0, vfio_unmap_dma(self->vm.container, AT, 0x4000, &removed));
	EXPECT_EQ(0, removed);
	/* Three regions with holes between them */
	ASSERT_EQ(0, vfio_map_dma(self->vm.container, AT, self->mem, 0x1000, true));
	ASSERT_EQ(0, vfio_map_dma(self->vm.container, AT + 0x4000, self->mem, 0x2000, true));
	ASSERT_EQ(0, vfio_map_dma(self->vm.container, AT + 0x8000, self->mem, 0x1000, false));
	EXPECT_EQ(0, vfio_unmap_dma(self->vm.container, AT - 0x1000, 0x20000, &removed));
	EXPECT_EQ(0x4000, removed);
	EXPECT_EQ(self->pinned, pv_total("pages_pinned"));
}

TEST_F(container, unmap_dma_all)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};

	EXPECT_EQ(0, call(self->vm.container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_EQ(PV_LOW_SIZE + PV_HIGH_SIZE + PV_ROM_SIZE, unmap.size);
	EXPECT_EQ(self->before.pages_pinned, pv_total("pages_pinned"));
	EXPECT_EQ(self->before.locked_kb, pv_status_kb(0, "VmLck"));
	ASSERT_EQ(0, pv_vm_add_memory(&self->vm));
}

/* ---- the others ---------------------------------------------------- */

TEST_F(container, get_info)
{
	struct {
		struct vfio_iommu_type1_info info;
		__u8 caps[4096];
	} arg;
	const struct vfio_info_cap_header *cap;
	__u32 minsz = offsetof(struct vfio_iommu_type1_info, cap_offset), argsz;
	unsigned int off, n = 0;

	for (argsz = 0; argsz < minsz; argsz++) {
		arg.info.argsz = argsz;
		EXPECT_EQ(-EINVAL, call(self->vm.container, VFIO_IOMMU_GET_INFO, &arg));
	}
	EXPECT_EQ(-EFAULT, call(self->vm.container, VFIO_IOMMU_GET_INFO, NULL));

	/* An old user's struct ends before cap_offset */
	memset(&arg, 0xee, sizeof(arg));
	arg.info.argsz = minsz;
	ASSERT_EQ(0, call(self->vm.container, VFIO_IOMMU_GET_INFO, &arg));
	EXPECT_EQ(PV_PAGE | PV_2M, arg.info.iova_pgsizes);
	EXPECT_TRUE(arg.info.flags & VFIO_IOMMU_INFO_PGSIZES);
	EXPECT_EQ(0xeeeeeeee, arg.info.cap_offset);
	EXPECT_LT(sizeof(arg.info), arg.info.argsz);

	/* With room for the header only, GET_INFO says how much room it takes */
	memset(&arg, 0xee, sizeof(arg));
	arg.info.argsz = sizeof(arg.info);
	ASSERT_EQ(0, call(self->vm.container, VFIO_IOMMU_GET_INFO, &arg));
	EXPECT_EQ(0, arg.info.cap_offset);
	EXPECT_EQ(0xee, arg.caps[0]);

	argsz = arg.info.argsz;
	memset(&arg, 0xee, sizeof(arg));
	arg.info.argsz = argsz;
	ASSERT_EQ(0, call(self->vm.container, VFIO_IOMMU_GET_INFO, &arg));
	EXPECT_TRUE(arg.info.flags & VFIO_IOMMU_INFO_CAPS);
	for (off = arg.info.cap_offset; off; off = cap->next) {
		ASSERT_LE(sizeof(arg.info), off);
		ASSERT_LE(off + sizeof(*cap), argsz);
		cap = (void *)((char *)&arg + off);
		n += cap->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
	}
	EXPECT_EQ(1, n);
	EXPECT_EQ(0xee, ((__u8 *)&arg)[argsz]);
}

TEST_F(container, check_extension)
{
	const unsigned long absent[] = {
		VFIO_TYPE1_IOMMU, VFIO_SPAPR_TCE_IOMMU, VFIO_UPDATE_VADDR, 0, 9999, -1UL,
	};
	int fd = self->vm.container;
	unsigned int i;

	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL));
	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		EXPECT_EQ(0, ioctl(fd, VFIO_CHECK_EXTENSION, absent[i])) {
			TH_LOG("extension %lu", absent[i]);
		}
	}
	EXPECT_LE(0, ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU));
}

TEST_F(container, unknown_ioctls)
{
	struct vfio_iommu_type1_dirty_bitmap dirty = {
		.argsz = sizeof(dirty), .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	};

	EXPECT_EQ(-ENOTTY, call(self->vm.container, VFIO_IOMMU_DIRTY_PAGES, &dirty));
	EXPECT_EQ(-ENOTTY, call(self->vm.container, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(-ENOTTY, call(self->vm.container, _IO(VFIO_TYPE, VFIO_BASE + 99), NULL));
	EXPECT_EQ(-EINVAL, ioctl(self->vm.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) ?
			   -errno : 0);
}

/* A container of type 1 is left to the stock driver; it has no endpoints */
FIXTURE(type1)
{
	struct pv_usage before;
	struct pv_vm vm;
};

FIXTURE_SETUP(type1)
{
	self->before = pv_begin();
	if (pv_vm_init(&self->vm, 1, PV_LOW_SIZE))
		SKIP(return, "needs a device bound to " PV_DRIVER);
}

FIXTURE_TEARDOWN(type1)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

TEST_F(type1, version_1)
{
	struct vfio_dev *dev = &self->vm.dev[0].vfio;

	self->vm.container = vfio_container_open();
	ASSERT_LE(0, self->vm.container);
	dev->group = vfio_group_open(dev->bdf);
	ASSERT_LE(0, dev->group);
	/* Before there is an IOMMU */
	EXPECT_NE(0, pv_region_map(&self->vm, &self->vm.high));
	ASSERT_EQ(0, vfio_group_set_container(dev->group, self->vm.container));
	EXPECT_NE(0, pv_region_map(&self->vm, &self->vm.high));

	ASSERT_EQ(0, ioctl(self->vm.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(0, pv_vm_count());
	EXPECT_EQ(0, pv_total("domains"));
	EXPECT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	EXPECT_EQ(0, pv_total("pages_pinned"));
	/* The device is plain vfio-pci then, without our capability */
	EXPECT_EQ(-ENOENT, pv_vm_open_devices(&self->vm));
	EXPECT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
}

/* Until pv_vm_close_devices() and the other two */
static int open_plainly(struct pv_vm *vm)
{
	struct vfio_dev *dev = &vm->dev[0].vfio;

	vm->container = vfio_container_open();
	dev->group = vfio_group_open(dev->bdf);
	return vfio_group_set_container(dev->group, vm->container) ?:
	       call(vm->container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU) ?: vfio_dev_open(dev);
}

static void close_again(struct pv_vm *vm)
{
	pv_vm_close_devices(vm);
	pv_vm_close_groups(vm);
	pv_vm_close_container(vm);
}

#define FREE	0x40	/* from here on, what is 0 in edu's config space belongs to nothing */

/* Replace dwords of @from by @to; return: how many */
static int replace(const struct vfio_dev *dev, __u32 from, __u32 to)
{
	unsigned int pos;
	int n = 0;

	for (pos = FREE; pos < 256; pos += 4) {
		if (vfio_config_read32(dev, pos) != from)
			continue;
		vfio_config_write32(dev, pos, to);
		n += vfio_config_read32(dev, pos) == to;
	}
	return n;
}

/* What a user leaves in config space, where the capability would be, is not in its way */
TEST_F(type1, does_not_hide_the_capability_from_the_next)
{
	const struct vfio_dev *dev = &self->vm.dev[0].vfio;

	ASSERT_EQ(0, open_plainly(&self->vm));
	EXPECT_LT(0, replace(dev, 0, ~0U));
	EXPECT_EQ(0, replace(dev, 0, ~0U));
	close_again(&self->vm);

	EXPECT_EQ(0, pv_vm_open_container(&self->vm));
	EXPECT_EQ(0, pv_vm_open_devices(&self->vm));
	EXPECT_EQ(PVIOMMU_CAP_SIGNATURE, pv_cap_read(&self->vm, 0, PVIOMMU_CAP_SIGNATURE_OFF));
	close_again(&self->vm);

	ASSERT_EQ(0, open_plainly(&self->vm));
	EXPECT_LT(0, replace(dev, ~0U, 0));
	close_again(&self->vm);
}

TEST_HARNESS_MAIN
