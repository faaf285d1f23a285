/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM beside a VM without a VM: one without CPUs, that knows its memory and its devices.
 * It is enough for the host to watch pages: the doorbell, and those of a server.
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

#endif /* PV_KVM_H */
