/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtual capabilities in the config space of a paravirtual IOMMU endpoint: the interface's
 * own, and a PASID capability if the endpoint has PASIDs.
 */
#ifndef _PVIOMMU_VCAP_H
#define _PVIOMMU_VCAP_H

#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/types.h>

struct pci_dev;
struct pviommu_endpoint;
struct vfio_pci_core_device;

/**
 * struct pv_vcap_pasid - the virtual PASID capability
 * @pos: offset in config space; 0: there is none
 * @bits: the width of PASIDs
 * @ctrl: what was written to its control register; has no effect
 *
 * @pos and @bits change in open and close only.
 */
struct pv_vcap_pasid {
	u16 pos;
	u8 bits;
	u16 ctrl;
};

/**
 * struct pv_vcap - the virtual capabilities of an open device
 * @lock: protects @gpa
 * @gpa: the GPA registers
 * @pos: offset in config space; from 256 on it is an extended capability
 * @len: size in bytes; 0 if the device has no capability
 * @next: offset of the capability that follows it in the list
 * @pasid: the other capability
 * @filled: a bit for each dword of config space that did not read 0 when the device was bound
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
	DECLARE_BITMAP(filled, PCI_CFG_SPACE_EXP_SIZE / 4);
};

void pv_vcap_find_filled(struct pv_vcap *cap, struct pci_dev *pdev);
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
