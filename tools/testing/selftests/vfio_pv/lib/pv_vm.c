// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "pv_op.h"
#include "pv_sys.h"
#include "pv_vm.h"

/* ---- memory -------------------------------------------------------- */

/* @advice: MADV_HUGEPAGE for memory that is made of large pages if possible */
static int region_alloc(struct pv_region *region, __u64 gpa, __u64 size, bool writable,
			int advice)
{
	/* Aligned, or it could not be made of large pages */
	char *hva = mmap(NULL, size + PV_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t skip;

	if (hva == MAP_FAILED)
		return -ENOMEM;
	skip = -(unsigned long)hva & (PV_2M - 1);
	if (skip)
		munmap(hva, skip);
	munmap(hva + skip + size, PV_2M - skip);
	madvise(hva + skip, size, advice);
	*region = (struct pv_region) {
		.gpa = gpa, .size = size, .hva = hva + skip, .writable = writable,
	};
	return 0;
}

static void region_free(struct pv_region *region)
{
	if (region->hva)
		munmap(region->hva, region->size);
	memset(region, 0, sizeof(*region));
}

int pv_region_map(struct pv_vm *vm, struct pv_region *region)
{
	int ret = vfio_map_dma(vm->container, region->gpa, region->hva, region->size,
			       region->writable);

	if (!ret)
		region->mapped = true;
	return ret;
}

int pv_region_unmap(struct pv_vm *vm, struct pv_region *region)
{
	__u64 removed = 0;
	int ret = vfio_unmap_dma(vm->container, region->gpa, region->size, &removed);

	if (!ret)
		region->mapped = false;
	return ret ?: removed == region->size ? 0 : -EIO;
}

int pv_vm_add_memory(struct pv_vm *vm)
{
	return pv_region_map(vm, &vm->low) ?: pv_region_map(vm, &vm->high) ?:
	       pv_region_map(vm, &vm->rom);
}

int pv_vm_add_bar(struct pv_vm *vm, int dev)
{
	struct vfio_dev *vfio = &vm->dev[dev].vfio;

	if (!vfio->mmio)
		return -ENODEV;
	vm->bar = (struct pv_region) {
		.gpa = PV_BAR, .size = vfio->bar0_size, .hva = vfio->mmio, .writable = true,
	};
	return pv_region_map(vm, &vm->bar);
}

void *pv_mem(struct pv_vm *vm, __u64 gpa)
{
	const struct pv_region *regions[] = { &vm->low, &vm->high, &vm->rom };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(regions); i++)
		if (gpa >= regions[i]->gpa && gpa - regions[i]->gpa < regions[i]->size)
			return regions[i]->hva + (gpa - regions[i]->gpa);
	fprintf(stderr, "# test uses GPA 0x%llx, which is no memory\n", gpa);
	return NULL;
}

/* ---- container and devices ----------------------------------------- */

int pv_vm_init(struct pv_vm *vm, int max_devs, __u64 low_size)
{
	return pv_vm_init_from(vm, 0, max_devs, low_size);
}

int pv_vm_init_from(struct pv_vm *vm, int first, int max_devs, __u64 low_size)
{
	char bdfs[VFIO_DEV_MAX][16];
	int i;

	memset(vm, 0, sizeof(*vm));
	vm->container = -1;
	vm->low_size = low_size;
	vm->nr_devs = vfio_find_devices(PV_DRIVER, bdfs, VFIO_DEV_MAX) - first;
	if (vm->nr_devs < 0)
		vm->nr_devs = 0;
	if (vm->nr_devs > max_devs)
		vm->nr_devs = max_devs;
	for (i = 0; i < vm->nr_devs; i++) {
		strcpy(vm->dev[i].vfio.bdf, bdfs[first + i]);
		vm->dev[i].vfio.group = -1;
		vm->dev[i].vfio.fd = -1;
	}
	if (!vm->nr_devs)
		return -ENODEV;
	return region_alloc(&vm->low, PV_LOW, low_size, true, MADV_NOHUGEPAGE) ?:
	       region_alloc(&vm->high, PV_HIGH, PV_HIGH_SIZE, true, MADV_HUGEPAGE) ?:
	       region_alloc(&vm->rom, PV_ROM, PV_ROM_SIZE, false, MADV_NOHUGEPAGE);
}

static bool same_group(const char *bdf, const char *other)
{
	char path[2][80], link[2][128];
	ssize_t len[2];
	int i;

	for (i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "/sys/bus/pci/devices/%s/iommu_group",
			 i ? other : bdf);
		len[i] = readlink(path[i], link[i], sizeof(link[i]));
	}
	return len[0] > 0 && len[0] == len[1] && !memcmp(link[0], link[1], len[0]);
}

/* A group is opened once, for all of its devices. 1: it is in the container already */
static int open_group(struct pv_vm *vm, int i)
{
	struct vfio_dev *dev = &vm->dev[i].vfio;
	int j;

	for (j = 0; j < i; j++) {
		if (!same_group(dev->bdf, vm->dev[j].vfio.bdf))
			continue;
		dev->group = dup(vm->dev[j].vfio.group);
		return dev->group < 0 ? -errno : 1;
	}
	dev->group = vfio_group_open(dev->bdf);
	return dev->group < 0 ? dev->group : 0;
}

int pv_vm_open_container(struct pv_vm *vm)
{
	int i, ret;

	vm->container = vfio_container_open();
	if (vm->container < 0)
		return vm->container;
	for (i = 0; i < vm->nr_devs; i++) {
		ret = open_group(vm, i);
		if (ret > 0)
			continue;
		ret = ret ?: vfio_group_set_container(vm->dev[i].vfio.group, vm->container);
		if (ret)
			return ret;
		/* The type can be set when there is a group, which decides the driver */
		if (!i && ioctl(vm->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
			return -errno;
	}
	return 0;
}

void pv_dev_find_cap(struct pv_dev *dev)
{
	unsigned int pos = vfio_config_read32(&dev->vfio, PCI_CAPABILITY_LIST) & 0xfc;
	unsigned int ttl = 64;
	__u32 head;

	dev->cap = 0;
	dev->shift = 0;
	for (; pos && ttl; ttl--, pos = (head >> 8) & 0xfc) {
		head = vfio_config_read32(&dev->vfio, pos);
		if ((head & 0xff) == PCI_CAP_ID_VNDR &&
		    vfio_config_read32(&dev->vfio, pos + PVIOMMU_CAP_SIGNATURE_OFF) ==
		    PVIOMMU_CAP_SIGNATURE) {
			dev->cap = pos;
			return;
		}
	}
	for (pos = 0x100, ttl = 960; pos && ttl; ttl--, pos = head >> 20) {
		head = vfio_config_read32(&dev->vfio, pos);
		if (head == 0xffffffff || head == 0xdeadbeef)
			return;
		if ((head & 0xffff) == PCI_EXT_CAP_ID_VNDR &&
		    (vfio_config_read32(&dev->vfio, pos + 4) & 0xffff) == PVIOMMU_VSEC_ID) {
			dev->cap = pos;
			dev->shift = PVIOMMU_VSEC_LEN - PVIOMMU_CAP_LEN;
			return;
		}
	}
}

int pv_vm_open_devices(struct pv_vm *vm)
{
	int i, ret;

	for (i = 0; i < vm->nr_devs; i++) {
		struct pv_dev *dev = &vm->dev[i];

		ret = vfio_dev_open(&dev->vfio);
		if (ret)
			return ret;
		pv_dev_find_cap(dev);
		if (!dev->cap)
			return -ENOENT;
		dev->id = pv_cap_read(vm, i, PVIOMMU_CAP_ENDPOINT_OFF);
		ret = vfio_dev_enable(&dev->vfio, true, true);
		if (ret)
			return ret;
	}
	return 0;
}

int pv_vm_open_rest(struct pv_vm *vm)
{
	return pv_vm_open_container(vm) ?: pv_vm_add_memory(vm) ?: pv_vm_open_devices(vm);
}

int pv_vm_open(struct pv_vm *vm, int max_devs, __u64 low_size)
{
	return pv_vm_init(vm, max_devs, low_size) ?: pv_vm_open_rest(vm);
}

void pv_vm_close_devices(struct pv_vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_devs; i++)
		vfio_dev_close(&vm->dev[i].vfio);
}

void pv_vm_close_groups(struct pv_vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_devs; i++) {
		if (vm->dev[i].vfio.group >= 0)
			close(vm->dev[i].vfio.group);
		vm->dev[i].vfio.group = -1;
	}
}

void pv_vm_close_container(struct pv_vm *vm)
{
	if (vm->container >= 0)
		close(vm->container);
	vm->container = -1;
}

void pv_vm_free(struct pv_vm *vm)
{
	region_free(&vm->low);
	region_free(&vm->high);
	region_free(&vm->rom);
}

void pv_vm_close(struct pv_vm *vm)
{
	pv_vm_close_devices(vm);
	pv_vm_close_groups(vm);
	pv_vm_close_container(vm);
	pv_vm_free(vm);
}

/* ---- the interface ------------------------------------------------- */

__u32 pv_cap_read(struct pv_vm *vm, int dev, unsigned int reg)
{
	return vfio_config_read32(&vm->dev[dev].vfio,
				  vm->dev[dev].cap + vm->dev[dev].shift + reg);
}

void pv_cap_write(struct pv_vm *vm, int dev, unsigned int reg, __u32 value)
{
	vfio_config_write32(&vm->dev[dev].vfio, vm->dev[dev].cap + vm->dev[dev].shift + reg,
			    value);
}

struct pviommu_ring_desc *pv_start_descs(struct pv_vm *vm)
{
	return pv_mem(vm, PV_AT_DESCS);
}

struct pviommu_event_ring *pv_events(struct pv_vm *vm)
{
	return pv_mem(vm, PV_AT_EVENTS);
}

static void prepare_ring(struct pv_vm *vm, __u32 nr, __u64 ops, __u32 order)
{
	struct pviommu_ring_desc *desc = &pv_start_descs(vm)[nr];
	struct pv_ring *ring = &vm->ring[nr];

	*desc = (struct pviommu_ring_desc) {
		.hdr = PV_AT_HDRS + nr * sizeof(*ring->hdr),
		.ops = ops,
		.order = order,
	};
	memset(ring, 0, sizeof(*ring));
	ring->vm = vm;
	ring->nr = nr;
	ring->slots = 1U << order;
	ring->hdr = pv_mem(vm, desc->hdr);
	ring->ops = pv_mem(vm, desc->ops);
	memset(ring->hdr, 0, sizeof(*ring->hdr));
	ring->hdr->cookie = vm->cookie;
}

__u64 pv_iface_pages(const struct pv_vm *vm)
{
	__u64 pages = 1;
	__u32 i;

	for (i = 0; i < vm->nr_rings; i++)
		pages += 1 + (vm->ring[i].slots * sizeof(struct pviommu_op) + PV_PAGE - 1) /
			     PV_PAGE;
	return pages;
}

struct pviommu_start *pv_start_prepare(struct pv_vm *vm, __u32 nr_rings, __u32 order)
{
	struct pviommu_start *start = pv_mem(vm, PV_AT_START);
	__u64 ops = PV_AT_OPS, step = sizeof(struct pviommu_op) << order;
	__u32 i;

	if (step < PV_PAGE)
		step = PV_PAGE;
	vm->cookie++;
	vm->nr_rings = nr_rings;
	for (i = 0; i < nr_rings; i++, ops += step)
		prepare_ring(vm, i, ops, order);
	memset(pv_events(vm), 0, PV_PAGE);
	pv_events(vm)->cookie = vm->cookie;
	*start = (struct pviommu_start) {
		.magic = PVIOMMU_START_MAGIC,
		.version = PVIOMMU_ABI_VERSION,
		.nrings = nr_rings,
		.features = pv_cap_read(vm, 0, PVIOMMU_CAP_FEATURES_OFF),
		.cookie = vm->cookie,
		.doorbell = PV_AT_DOORBELL,
		.events = PV_AT_EVENTS,
		.rings = PV_AT_DESCS,
	};
	return start;
}

__u32 pv_command(struct pv_vm *vm, __u32 cmd, __u64 gpa)
{
	pv_cap_write(vm, 0, PVIOMMU_CAP_GPA_LO_OFF, gpa);
	pv_cap_write(vm, 0, PVIOMMU_CAP_GPA_HI_OFF, gpa >> 32);
	pv_cap_write(vm, 0, PVIOMMU_CAP_CONTROL_OFF, cmd);
	return PVIOMMU_CONTROL_ERROR(pv_cap_read(vm, 0, PVIOMMU_CAP_CONTROL_OFF));
}

bool pv_running(struct pv_vm *vm)
{
	return PVIOMMU_CONTROL_STATE(pv_cap_read(vm, 0, PVIOMMU_CAP_CONTROL_OFF)) ==
	       PVIOMMU_STATE_RUNNING;
}

__u32 __pv_start(struct pv_vm *vm, __u32 nr_rings, __u32 order)
{
	pv_start_prepare(vm, nr_rings, order);
	return pv_command(vm, PVIOMMU_CMD_START, PV_AT_START);
}

__u32 __pv_reset(struct pv_vm *vm)
{
	return pv_command(vm, PVIOMMU_CMD_RESET, vm->cookie);
}

bool pv_event_next(struct pv_vm *vm, struct pviommu_event *ev)
{
	struct pviommu_event_ring *ring = pv_events(vm);

	/* Events that found no room are delivered with a doorbell */
	if (__atomic_load_n(&ring->prod, __ATOMIC_ACQUIRE) == ring->cons &&
	    __atomic_load_n(&ring->waiting, __ATOMIC_SEQ_CST))
		pv_kick(&vm->ring[0]);
	if (__atomic_load_n(&ring->prod, __ATOMIC_ACQUIRE) == ring->cons)
		return false;
	*ev = ring->ev[ring->cons % PVIOMMU_EVENT_SLOTS];
	__atomic_store_n(&ring->cons, ring->cons + 1, __ATOMIC_SEQ_CST);
	return true;
}

bool pv_event_wait(struct pv_vm *vm, struct pviommu_event *ev, int ms)
{
	for (; ms >= 0; ms -= 10) {
		if (pv_event_next(vm, ev))
			return true;
		usleep(10000);
	}
	return false;
}
