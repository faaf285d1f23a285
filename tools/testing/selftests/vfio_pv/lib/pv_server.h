/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A claim of a VM's memory type by this process.
 */
#ifndef PV_SERVER_H
#define PV_SERVER_H

#include <linux/types.h>

/* Records that fit into the ring */
#define PV_SERVER_RECORDS	4096

/* Claim the type of a VM. Returns a file, whose closing ends the claim, or -1 */
int pv_server_claim(__u32 vm);

#endif /* PV_SERVER_H */
