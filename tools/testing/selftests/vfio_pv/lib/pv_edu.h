/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An edu device of a VM: does what it copies get to where it is meant to?
 */
#ifndef PV_EDU_H
#define PV_EDU_H

#include "pv_vm.h"

/* Bytes of guest memory that are used */
#define PV_EDU_LEN	64

/* Does what device number @dev writes to @iova arrive at @gpa? */
bool pv_edu_lands(struct pv_vm *vm, int dev, __u64 iova, __u64 gpa);

/* The same of edu_round_trip(), by the address of guest memory */
bool pv_edu_goes_through(struct pv_vm *vm, int dev, __u64 iova, __u64 gpa);

/* Are all devices of the VM edu devices? */
bool pv_edu_all(struct pv_vm *vm);

#endif /* PV_EDU_H */
