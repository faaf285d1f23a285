/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM for the host engine, without a virtual machine: this process is both the VMM and the
 * guest. Some of its memory is guest RAM, which MAP_DMA tells the host; devices are opened in the
 * same container; what a guest would store to config space is written by pwrite().
 *
 * Little-endian machines only: fields of the ABI are used as they are.
 */
#ifndef PV_VM_H
#define PV_VM_H

#include <endian.h>
#include <stdbool.h>
#include <linux/types.h>
#include <linux/pv_iommu.h>

#include "vfio_dev.h"

#if BYTE_ORDER != LITTLE_ENDIAN
#error "the tests store fields of the ABI as they are"
#endif

#define PV_PAGE		0x1000ULL
#define PV_2M		0x200000ULL
#define PV_DRIVER	"pviommu-vfio-pci"

/* The guest physical address space */
#define PV_LOW		0x0ULL		/* RAM, pv_vm.low_size bytes, scattered pages on the host */
#define PV_HIGH		0x100000000ULL	/* RAM, PV_HIGH_SIZE bytes, large pages on the host */
#define PV_HIGH_SIZE	0x400000ULL
#define PV_ROM		0x90000000ULL	/* RAM that devices may not write to */
#define PV_ROM_SIZE	0x200000ULL
#define PV_NOWHERE	0x40000000ULL	/* no memory */
#define PV_BAR		0x60000000ULL	/* the BAR of a device, after pv_vm_add_bar() */

/* The interface in low RAM. From PV_DATA on, RAM is for the test to use */
#define PV_AT_START	0x1000ULL
#define PV_AT_DESCS	0x2000ULL
#define PV_AT_HDRS	0x4000ULL
#define PV_AT_EVENTS	0x8000ULL
#define PV_AT_DOORBELL	0x9000ULL
#define PV_AT_REPLY	0xa000ULL
#define PV_AT_LIST	0xb000ULL
#define PV_AT_CODE	0xc000ULL	/* for a vCPU, and in the next page what it stores */
#define PV_AT_OPS	0x100000ULL
#define PV_DATA		0x400000ULL

struct pv_region {
	__u64 gpa;
	__u64 size;
	void *hva;
	bool writable;
	bool mapped;		/* by MAP_DMA */
};

struct pv_vm;

struct pv_ring {
	struct pv_vm *vm;
	__u32 nr;		/* its number */
	__u32 slots;
	struct pviommu_ring_hdr *hdr;
	struct pviommu_op *ops;
	struct pviommu_op last;	/* the op that __pv_exec() executed last, with its result */
	unsigned int kicks;	/* doorbells so far; set by tests to count from there */
};

struct pv_dev {
	struct vfio_dev vfio;
	unsigned int cap;	/* where the capability is in config space; 0 if there is none */
	unsigned int shift;	/* what to add to a register's offset */
	__u32 id;		/* endpoint id */
};

struct pv_vm {
	int container;
	__u64 low_size;
	const struct pv_vm *lender;	/* whose memory may be mapped too; NULL if nobody's */
	struct pv_region low, high, rom, bar;
	int nr_devs;
	struct pv_dev dev[VFIO_DEV_MAX];
	__u32 nr_rings;
	struct pv_ring ring[PVIOMMU_MAX_RINGS];
	__u64 cookie;
};

/*
 * Open a VM with up to @max_devs devices and all of the memory. Returns 0 or a negative errno;
 * -ENODEV if no device is bound to the variant driver.
 */
int pv_vm_open(struct pv_vm *vm, int max_devs, __u64 low_size);
void pv_vm_close(struct pv_vm *vm);

/* The same in steps */
int pv_vm_init(struct pv_vm *vm, int max_devs, __u64 low_size);
/* With devices from number @first on, for a second VM */
int pv_vm_init_from(struct pv_vm *vm, int first, int max_devs, __u64 low_size);
/* All that follows pv_vm_init(): the next three, in this order */
int pv_vm_open_rest(struct pv_vm *vm);
int pv_vm_open_container(struct pv_vm *vm);
int pv_vm_add_memory(struct pv_vm *vm);
int pv_vm_open_devices(struct pv_vm *vm);
void pv_vm_close_devices(struct pv_vm *vm);
void pv_vm_close_groups(struct pv_vm *vm);
void pv_vm_close_container(struct pv_vm *vm);
void pv_vm_free(struct pv_vm *vm);

/* Find the capability by the lists of config space, as a guest does; sets cap and shift */
void pv_dev_find_cap(struct pv_dev *dev);

int pv_region_map(struct pv_vm *vm, struct pv_region *region);
int pv_region_unmap(struct pv_vm *vm, struct pv_region *region);
/* Add the BAR of a device as a region, which can't be pinned */
int pv_vm_add_bar(struct pv_vm *vm, int dev);

/* The address in this process of guest memory at @gpa */
void *pv_mem(struct pv_vm *vm, __u64 gpa);

/* ---- the interface ------------------------------------------------- */

__u32 pv_cap_read(struct pv_vm *vm, int dev, unsigned int reg);
void pv_cap_write(struct pv_vm *vm, int dev, unsigned int reg, __u32 value);

/* How many pages the host pins for the interface: rings, their headers, events */
__u64 pv_iface_pages(const struct pv_vm *vm);

/* Write a valid start block, descriptors and rings to memory; gives no command */
struct pviommu_start *pv_start_prepare(struct pv_vm *vm, __u32 nr_rings, __u32 order);
struct pviommu_ring_desc *pv_start_descs(struct pv_vm *vm);
/* Give a command. Returns the error in the control register */
__u32 pv_command(struct pv_vm *vm, __u32 cmd, __u64 gpa);
bool pv_running(struct pv_vm *vm);

__u32 __pv_start(struct pv_vm *vm, __u32 nr_rings, __u32 order);
#define pv_start(vm, nr_rings, order) \
	ASSERT_EQ(PVIOMMU_OK, __pv_start(vm, nr_rings, order))
__u32 __pv_reset(struct pv_vm *vm);
#define pv_reset(vm) ASSERT_EQ(PVIOMMU_OK, __pv_reset(vm))

/* ---- events -------------------------------------------------------- */

struct pviommu_event_ring *pv_events(struct pv_vm *vm);
/* Take the next event. False if there is none */
bool pv_event_next(struct pv_vm *vm, struct pviommu_event *ev);
/* The same, but wait up to @ms for it */
bool pv_event_wait(struct pv_vm *vm, struct pviommu_event *ev, int ms);

#endif /* PV_VM_H */
