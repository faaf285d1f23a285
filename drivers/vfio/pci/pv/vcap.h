/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a paravirtual IOMMU endpoint shows in its config space: its capability, and that of
 * PASIDs, if it has any.
 */
#ifndef _PVIOMMU_VCAP_H
#define _PVIOMMU_VCAP_H

#include <linux/mutex.h>
#include <linux/types.h>

struct pviommu_endpoint;
struct vfio_pci_core_device;

/**
 * struct pv_vcap_pasid - the PASID capability, as a guest sees it
 * @pos: where in config space; 0: there is none
 * @bits: the width of PASIDs
 * @ctrl: what was written to its control register, which has no effect
 *
 * @pos and @bits change in open and close only.
 */
struct pv_vcap_pasid {
	u16 pos;
	u8 bits;
	u16 ctrl;
};

/**
 * struct pv_vcap - the capability of one opened device
 * @lock: protects @gpa
 * @gpa: the GPA registers
 * @pos: where in config space; at or above 256 it is an extended capability
 * @len: how many bytes; 0 when the device has no capability
 * @next: the capability that follows it in the list
 * @pasid: another capability
 *
 * @pos, @len and @next change in open and close only.
 */
struct pv_vcap {
	struct mutex lock; /* for gpa */
	u64 gpa;
	u16 pos;
	u16 len;
	u16 next;
	struct pv_vcap_pasid pasid;
};

bool pv_vcap_place(struct pv_vcap *cap, struct vfio_pci_core_device *core, u32 pasid_bits);
void pv_vcap_remove(struct pv_vcap *cap);
bool pv_vcap_covers(const struct pv_vcap *cap, loff_t ppos, size_t count);
ssize_t pv_vcap_read(struct pv_vcap *cap, struct vfio_pci_core_device *core,
		     struct pviommu_endpoint *ep, char __user *buf,
		     size_t count, loff_t *ppos);
ssize_t pv_vcap_write(struct pv_vcap *cap, struct vfio_pci_core_device *core,
		      struct pviommu_endpoint *ep, const char __user *buf,
		      size_t count, loff_t *ppos);

#endif /* _PVIOMMU_VCAP_H */
