/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two VMs of one process, for tests of failures: the owner, which has the first device,
 * can lend memory to the other VM, which has the next devices, KVM and a CPU.
 */
#ifndef PV_PAIR_H
#define PV_PAIR_H

#include "pv_kvm.h"

/* Low RAM of each VM */
#define PV_PAIR_LOW_SIZE	(8ULL << 20)

struct pv_pair {
	struct pv_vm owner, vm;
	struct pv_kvm kvm;	/* of vm */
	struct pv_vcpu cpu;	/* of vm */
	__u32 owner_id, id;	/* the numbers of the VMs */
};

/* Nothing is open: pv_pair_close() may be called from now on */
void pv_pair_init(struct pv_pair *pair);

/*
 * Open both VMs, the second one with up to @max_devs devices. Returns 0 or a negative
 * errno; -ENODEV without two devices, or without KVM. Needs pvctl.
 */
int pv_pair_open(struct pv_pair *pair, int max_devs);
void pv_pair_close(struct pv_pair *pair);

#endif /* PV_PAIR_H */
