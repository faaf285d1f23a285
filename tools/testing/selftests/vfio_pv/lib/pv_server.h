/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A server of a VM's memory type, from this process.
 */
#ifndef PV_SERVER_H
#define PV_SERVER_H

#include <linux/types.h>

/* Records that the ring has room for */
#define PV_SERVER_RECORDS	4096

/* Claim the type of a VM; a file whose closing ends the claim, or -1 */
int pv_server_claim(__u32 vm);

#endif /* PV_SERVER_H */
