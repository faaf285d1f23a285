/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCIe errors, which the emulator raises at the root port above a device; to the kernel they are
 * real. Needs pvvm, and a device that pvvm has put behind a root port.
 */
#ifndef PV_AER_H
#define PV_AER_H

#include <stdbool.h>

#include "pv_op.h"

/* The number of the root port above a device, or -1 */
int pv_aer_port(const char *bdf);

/* Raise an error, by its name in QEMU: "SDN" is fatal, "COMP_TIME" is not. 0 on success */
int pv_aer_inject(int port, const char *error);

/*
 * The kernel's log from now on, or -1; wait until it says there that it is done with an
 * error
 */
int pv_aer_log(void);
bool pv_aer_done(int log);

/* RECOVER, as often as the host says that it is not done; the last status */
__u32 pv_aer_recover(struct pv_ring *ring, __u32 endpoint);

#endif /* PV_AER_H */
