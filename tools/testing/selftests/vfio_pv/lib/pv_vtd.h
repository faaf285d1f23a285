/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables of the host's VT-d unit, as they are in physical memory. The emulator reads them,
 * so neither the kernel nor the engine is involved; or, if it is loaded, pviommu_test_memory
 * does, which is faster.
 */
#ifndef PV_VTD_H
#define PV_VTD_H

#include <stdbool.h>
#include <linux/types.h>

#define PV_VTD_NOWHERE	(~0ULL)

#define PV_VTD_SECOND		2	/* translated by a second-level table */
#define PV_VTD_PASSTHROUGH	4

/* An entry of a device's PASID table */
struct pv_vtd_pasid {
	bool present;
	unsigned int type;	/* PV_VTD_* */
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

/* Is there pviommu_test_memory, and a unit that translates? */
bool pv_vtd_readable(void);

/* What requests of the device without a PASID are subject to, in scalable mode or not */
int pv_vtd_device(const char *bdf, struct pv_vtd_pasid *entry);

/*
 * Call @fn for each leaf, a page or a large page. False if tables can't be read. Needs
 * pv_vtd_readable().
 */
typedef void (*pv_vtd_fn)(void *arg, __u64 iova, __u64 hpa, __u64 size, __u32 prot);
bool pv_vtd_each(const struct pv_vtd_pasid *entry, pv_vtd_fn fn, void *arg);

/* HPA of a page of this process */
__u64 pv_vtd_hpa(const void *hva);

#endif /* PV_VTD_H */
