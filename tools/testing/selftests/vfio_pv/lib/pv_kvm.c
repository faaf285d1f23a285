// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
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

static int add_memory(int vm, unsigned int slot, const struct pv_region *region)
{
	struct kvm_userspace_memory_region arg = {
		.slot = slot,
		.guest_phys_addr = region->gpa,
		.memory_size = region->size,
		.userspace_addr = (unsigned long)region->hva,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &arg) ? -errno : 0;
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
	return add_memory(kvm->vm, 0, &vm->low) ?: add_memory(kvm->vm, 1, &vm->high) ?:
	       add_groups(kvm, vm);
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
