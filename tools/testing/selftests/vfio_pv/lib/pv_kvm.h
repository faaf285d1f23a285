/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM for a pv_vm, which knows the VM's memory and its devices. That is enough for the host to
 * watch pages: the doorbell page, tables, and pages of a server. There may be a CPU, which can
 * store to guest memory below 4 GiB and do nothing else.
 */
#ifndef PV_KVM_H
#define PV_KVM_H

#include "pv_vm.h"

struct pv_kvm {
	int vm;
	int devices;	/* KVM's list of VFIO groups */
};

/*
 * Open KVM after the container and before the devices. Returns 0 or a negative errno; -ENODEV
 * without KVM. Call pv_kvm_close() in either case.
 */
int pv_kvm_open(struct pv_kvm *kvm, struct pv_vm *vm);
void pv_kvm_close(struct pv_kvm *kvm);
/* The same, and everything that pv_vm_open_rest() opens */
int pv_kvm_open_rest(struct pv_kvm *kvm, struct pv_vm *vm);

/* Tell KVM of region 0 (low) or 1 (high) of the VM; with a @size of 0, that it has left */
int pv_kvm_set_memory(struct pv_kvm *kvm, unsigned int slot, const struct pv_region *region,
		      __u64 size);

struct pv_vcpu {
	struct pv_vm *vm;
	int fd;
	void *run;		/* shared with KVM */
	unsigned long run_size;
};

/* Returns 0 or a negative errno. Call pv_vcpu_close() in either case */
int pv_vcpu_open(struct pv_vcpu *cpu, struct pv_kvm *kvm, struct pv_vm *vm);
void pv_vcpu_close(struct pv_vcpu *cpu);

/*
 * Have the CPU store @len bytes, a multiple of 4 and at most a page, by instructions of 4 bytes
 * from the highest address to the lowest. So the present bit of a page table entry is stored
 * last. 0 or a negative errno.
 */
int pv_vcpu_store(struct pv_vcpu *cpu, __u64 gpa, const void *data, __u32 len);

/* The same by a single instruction of @width 1, 2, 4 or 8 */
int pv_vcpu_store_once(struct pv_vcpu *cpu, __u64 gpa, __u64 value, unsigned int width);

#endif /* PV_KVM_H */
