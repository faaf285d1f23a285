// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "edu.h"
#include "pv_edu.h"

bool pv_edu_lands(struct pv_vm *vm, int dev, __u64 iova, __u64 gpa)
{
	unsigned char *mem = pv_mem(vm, gpa), seen[PV_EDU_LEN];
	int i;

	/* What is in the device's buffer is never all 0x55 and all 0xaa */
	for (i = 0; i < 2; i++) {
		memset(mem, i ? 0xaa : 0x55, PV_EDU_LEN);
		memset(seen, i ? 0xaa : 0x55, PV_EDU_LEN);
		if (!edu_to_ram(&vm->dev[dev].vfio, iova, 0, PV_EDU_LEN))
			return false;
		if (memcmp(mem, seen, PV_EDU_LEN))
			return true;
	}
	return false;
}

bool pv_edu_goes_through(struct pv_vm *vm, int dev, __u64 iova, __u64 gpa)
{
	return edu_round_trip(&vm->dev[dev].vfio, iova, pv_mem(vm, gpa));
}

bool pv_edu_all(struct pv_vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_devs; i++)
		if (!edu_is(&vm->dev[i].vfio))
			return false;
	return true;
}
