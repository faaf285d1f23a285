// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "pv_kvm.h"

static int create_vm(void)
{
	int vm, kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		return -ENODEV;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	vm = vm < 0 ? -errno : vm;
	close(kvm);
	return vm;
}

int pv_kvm_set_memory(struct pv_kvm *kvm, unsigned int slot, const struct pv_region *region,
		      __u64 size)
{
	struct kvm_userspace_memory_region arg = {
		.slot = slot,
		.guest_phys_addr = region->gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)region->hva,
	};

	return ioctl(kvm->vm, KVM_SET_USER_MEMORY_REGION, &arg) ? -errno : 0;
}

static int add_memory(struct pv_kvm *kvm, unsigned int slot, const struct pv_region *region)
{
	return pv_kvm_set_memory(kvm, slot, region, region->size);
}

static int add_groups(struct pv_kvm *kvm, struct pv_vm *vm)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };
	struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_GROUP,
		.attr = KVM_DEV_VFIO_GROUP_ADD,
	};
	int i;

	if (ioctl(kvm->vm, KVM_CREATE_DEVICE, &create))
		return -errno;
	kvm->devices = create.fd;
	for (i = 0; i < vm->nr_devs; i++) {
		attr.addr = (unsigned long)&vm->dev[i].vfio.group;
		if (ioctl(kvm->devices, KVM_SET_DEVICE_ATTR, &attr))
			return -errno;
	}
	return 0;
}

int pv_kvm_open(struct pv_kvm *kvm, struct pv_vm *vm)
{
	kvm->devices = -1;
	kvm->vm = create_vm();
	if (kvm->vm < 0)
		return kvm->vm;
	return add_memory(kvm, 0, &vm->low) ?: add_memory(kvm, 1, &vm->high) ?:
	       add_groups(kvm, vm);
}

int pv_kvm_open_rest(struct pv_kvm *kvm, struct pv_vm *vm)
{
	return pv_vm_open_container(vm) ?: pv_kvm_open(kvm, vm) ?: pv_vm_add_memory(vm) ?:
	       pv_vm_open_devices(vm);
}

void pv_kvm_close(struct pv_kvm *kvm)
{
	if (kvm->devices >= 0)
		close(kvm->devices);
	if (kvm->vm >= 0)
		close(kvm->vm);
	kvm->devices = -1;
	kvm->vm = -1;
}

/* ---- a CPU -------------------------------------------------------------- */

#define SOURCE	(PV_AT_CODE + PV_PAGE)

/* The instructions that the CPU can execute, each at a place of its own, followed by hlt */
#define CODE_LEN	4

static const unsigned char code[][CODE_LEN] = {
	{ 0xf3, 0xa5, 0xf4 },		/* rep movsd */
	{ 0x88, 0x07, 0xf4 },		/* mov %al, (%edi) */
	{ 0x66, 0x89, 0x07, 0xf4 },	/* mov %ax, (%edi) */
	{ 0x89, 0x07, 0xf4 },		/* mov %eax, (%edi) */
	{ 0x0f, 0xc7, 0x0f, 0xf4 },	/* cmpxchg8b (%edi) */
};

/* Flat protected mode without paging: addresses are GPAs */
static int set_mode(const struct pv_vcpu *cpu)
{
	struct kvm_segment data = {
		.limit = 0xffffffff, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1,
		.selector = 0x10,
	};
	struct kvm_sregs sregs;

	if (ioctl(cpu->fd, KVM_GET_SREGS, &sregs))
		return -errno;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	sregs.cs = data;
	sregs.cs.type = 0xb;
	sregs.cs.selector = 8;
	sregs.cr0 |= 1;
	return ioctl(cpu->fd, KVM_SET_SREGS, &sregs) ? -errno : 0;
}

int pv_vcpu_open(struct pv_vcpu *cpu, struct pv_kvm *kvm, struct pv_vm *vm)
{
	int dev = open("/dev/kvm", O_RDWR | O_CLOEXEC), size;

	*cpu = (struct pv_vcpu) { .vm = vm, .fd = -1, .run = MAP_FAILED };
	size = dev < 0 ? -1 : ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	close(dev);
	if (size < 0)
		return -ENODEV;
	cpu->run_size = size;
	cpu->fd = ioctl(kvm->vm, KVM_CREATE_VCPU, 0);
	if (cpu->fd < 0)
		return -errno;
	cpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED)
		return -errno;
	memcpy(pv_mem(vm, PV_AT_CODE), code, sizeof(code));
	return set_mode(cpu);
}

void pv_vcpu_close(struct pv_vcpu *cpu)
{
	if (cpu->run != MAP_FAILED)
		munmap(cpu->run, cpu->run_size);
	if (cpu->fd >= 0)
		close(cpu->fd);
	cpu->fd = -1;
	cpu->run = MAP_FAILED;
}

/* Run the CPU until it halts */
static int run_with(struct pv_vcpu *cpu, const struct kvm_regs *regs)
{
	struct kvm_run *run = cpu->run;

	if (ioctl(cpu->fd, KVM_SET_REGS, regs))
		return -errno;
	while (ioctl(cpu->fd, KVM_RUN, 0))
		if (errno != EINTR)
			return -errno;
	return run->exit_reason == KVM_EXIT_HLT ? 0 : -EIO;
}

int pv_vcpu_store(struct pv_vcpu *cpu, __u64 gpa, const void *data, __u32 len)
{
	struct kvm_regs regs = {
		.rip = PV_AT_CODE,
		.rsi = SOURCE + len - 4,
		.rdi = gpa + len - 4,
		.rcx = len / 4,
		.rflags = 0x402,	/* string instructions go downwards */
	};

	memcpy(pv_mem(cpu->vm, SOURCE), data, len);
	return run_with(cpu, &regs);
}

int pv_vcpu_store_once(struct pv_vcpu *cpu, __u64 gpa, __u64 value, unsigned int width)
{
	struct kvm_regs regs = {
		.rip = PV_AT_CODE + CODE_LEN * (1 + __builtin_ctz(width)),
		.rdi = gpa,
		.rax = (__u32)value,
		.rflags = 2,
	};
	__u64 old;

	if (width == 8) {
		/* cmpxchg8b stores if the old value is the expected one */
		memcpy(&old, pv_mem(cpu->vm, gpa), sizeof(old));
		regs.rax = (__u32)old;
		regs.rdx = old >> 32;
		regs.rbx = (__u32)value;
		regs.rcx = value >> 32;
	}
	return run_with(cpu, &regs);
}
