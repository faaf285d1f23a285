/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM beside a VM without a VM, that knows its memory and its devices. It is enough for
 * the host to watch pages: the doorbell, and those of a server. A CPU can be had, which
 * stores to guest memory below 4 GiB and does nothing else.
 */
#ifndef PV_KVM_H
#define PV_KVM_H

#include "pv_vm.h"

struct pv_kvm {
	int vm;
	int devices;	/* KVM's list of VFIO groups */
};

/*
 * For a container that is open and devices that are not yet. Returns 0 or a negative
 * errno; -ENODEV without KVM. pv_kvm_close() is for either case.
 */
int pv_kvm_open(struct pv_kvm *kvm, struct pv_vm *vm);
void pv_kvm_close(struct pv_kvm *kvm);
/* The same, and all of a VM that pv_vm_open_rest() opens */
int pv_kvm_open_rest(struct pv_kvm *kvm, struct pv_vm *vm);

/* Tell KVM of memory, or that it has left: what is region 0 or 1 of the VM */
int pv_kvm_set_memory(struct pv_kvm *kvm, unsigned int slot, const struct pv_region *region,
		      __u64 size);

struct pv_vcpu {
	struct pv_vm *vm;
	int fd;
	void *run;		/* what KVM and we share */
	unsigned long run_size;
};

/* 0 or a negative errno; pv_vcpu_close() is for either case */
int pv_vcpu_open(struct pv_vcpu *cpu, struct pv_kvm *kvm, struct pv_vm *vm);
void pv_vcpu_close(struct pv_vcpu *cpu);

/*
 * Have the CPU store @len bytes, a multiple of 4 up to a page's, with instructions of
 * 4 bytes from the highest address to the lowest: of an entry of a page table, what says
 * that it is present comes last. 0 or a negative errno.
 */
int pv_vcpu_store(struct pv_vcpu *cpu, __u64 gpa, const void *data, __u32 len);

/* The same with a single instruction: @width is 1, 2, 4 or 8 */
int pv_vcpu_store_once(struct pv_vcpu *cpu, __u64 gpa, __u64 value, unsigned int width);

#endif /* PV_KVM_H */
