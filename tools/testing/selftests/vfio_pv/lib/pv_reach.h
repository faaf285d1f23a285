/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device can reach, by the tables of the host's IOMMU (pv_vtd.h), in a form that can be
 * compared: which pages of guest memory it finds at which IOVAs, with which rights. How large the
 * entries are, and tables without entries, make no difference.
 */
#ifndef PV_REACH_H
#define PV_REACH_H

#include "pv_vm.h"

struct pv_reach {
	bool known;		/* the tables could be read */
	__u64 pages;		/* that the device reaches */
	__u64 strange;		/* pages among them that are no memory of the VM or its lender */
	__u64 digest;		/* of all the pages, with their IOVAs and rights */
};

/* What @dev of @vm reaches. Needs pv_vtd_readable(), else it is not known */
struct pv_reach pv_reach(const struct pv_vm *vm, const struct pv_dev *dev);

/* Not so if they are not known, or there is a page that nobody could have mapped */
bool pv_reach_same(const struct pv_reach *a, const struct pv_reach *b);

#endif /* PV_REACH_H */
