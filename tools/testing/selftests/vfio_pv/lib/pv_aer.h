/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCIe errors, raised by the emulator at the root port above a device: real ones to the
 * kernel. Needs pvvm, and a device that it has put behind a root port.
 */
#ifndef PV_AER_H
#define PV_AER_H

/* The number of the root port above a device, or -1 */
int pv_aer_port(const char *bdf);

/* @error as QEMU calls it: "SDN" is fatal, "COMP_TIME" is not. 0 if it was raised */
int pv_aer_inject(int port, const char *error);

#endif /* PV_AER_H */
