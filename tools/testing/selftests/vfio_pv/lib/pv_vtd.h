/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables of the host's VT-d unit in scalable mode, as they are in physical memory. The
 * emulator reads them, so neither the kernel nor the engine is involved.
 */
#ifndef PV_VTD_H
#define PV_VTD_H

#include <stdbool.h>
#include <linux/types.h>

#define PV_VTD_NOWHERE	(~0ULL)

/* An entry of a device's PASID table */
struct pv_vtd_pasid {
	bool present;
	unsigned int type;	/* 2: translated by a second-level table */
	unsigned int levels;
	__u64 table;		/* HPA of the root of that table */
	__u32 did;
};

/* Is there an emulator to ask, and a unit in scalable mode? */
bool pv_vtd_usable(void);

/* 0, or a negative errno if there are no tables for the device */
int pv_vtd_pasid(const char *bdf, __u32 pasid, struct pv_vtd_pasid *entry);

/* Where @iova leads: an HPA, or PV_VTD_NOWHERE. @prot as in PVIOMMU_PROT_* */
__u64 pv_vtd_walk(const struct pv_vtd_pasid *entry, __u64 iova, __u32 *prot);

/* HPA of a page of this process */
__u64 pv_vtd_hpa(const void *hva);

#endif /* PV_VTD_H */
