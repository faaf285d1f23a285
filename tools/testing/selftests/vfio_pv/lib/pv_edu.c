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
	static __u64 count;
	__u64 data, *mem = pv_mem(vm, gpa);

	data = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15ULL;
	*mem = data;
	if (!edu_from_ram(&vm->dev[dev].vfio, iova, 0, sizeof(data)))
		return false;
	*mem = 0;
	return edu_to_ram(&vm->dev[dev].vfio, iova, 0, sizeof(data)) && *mem == data;
}
