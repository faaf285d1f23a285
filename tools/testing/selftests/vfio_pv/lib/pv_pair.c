// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pv_ctl.h"
#include "pv_pair.h"

void pv_pair_init(struct pv_pair *pair)
{
	*pair = (struct pv_pair) {
		.owner.container = -1,
		.vm.container = -1,
		.kvm = { -1, -1 },
		.cpu = { .fd = -1, .run = MAP_FAILED },
	};
}

static int open_vms(struct pv_pair *pair, int max_devs)
{
	int ret = pv_vm_open(&pair->owner, 1, PV_PAIR_LOW_SIZE);

	if (ret)
		return ret;
	pair->owner_id = pv_ctl_vm_of(getpid());
	ret = pv_vm_init_from(&pair->vm, 1, max_devs, PV_PAIR_LOW_SIZE) ?:
	      pv_kvm_open_rest(&pair->kvm, &pair->vm);
	if (ret)
		return ret;
	pair->vm.lender = &pair->owner;
	pair->id = pv_ctl_vm_of(getpid());
	return pair->owner_id && pair->id && pair->owner_id != pair->id ? 0 : -EIO;
}

int pv_pair_open(struct pv_pair *pair, int max_devs)
{
	return open_vms(pair, max_devs) ?: pv_vcpu_open(&pair->cpu, &pair->kvm, &pair->vm);
}

void pv_pair_close(struct pv_pair *pair)
{
	pv_vcpu_close(&pair->cpu);
	pv_vm_close(&pair->vm);
	pv_kvm_close(&pair->kvm);
	pv_vm_close(&pair->owner);
}
