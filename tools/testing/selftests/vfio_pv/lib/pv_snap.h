/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest can see of its domains and its memory, and what the endpoint can reach, to tell
 * whether an op has changed anything. Before an op, there are two domains, D and E, with something
 * mapped; the op may add a third one, F.
 */
#ifndef PV_SNAP_H
#define PV_SNAP_H

#include "pv_op.h"
#include "pv_reach.h"

#define PV_SNAP_HOME		0x10000000ULL	/* IOVAs that are mapped before an op */
#define PV_SNAP_HOME_SIZE	0x10000ULL
#define PV_SNAP_FREE		0x20000000ULL	/* IOVAs that are not */
#define PV_SNAP_D		PVIOMMU_DOMAIN_FIRST
#define PV_SNAP_E		(PVIOMMU_DOMAIN_FIRST + 1)
#define PV_SNAP_F		(PVIOMMU_DOMAIN_FIRST + 2)
/* The page whose type is looked up */
#define PV_SNAP_TYPED		(PV_DATA + 0x3f0000)

#define PV_SNAP_LOOKUPS		12
#define PV_SNAP_DOMAINS		3

struct pv_snap {
	struct pv_state state;
	long long lent;		/* pages of other VMs that are mapped */
	__u32 domain;		/* of the endpoint */
	__u64 type;		/* of the page; all ones if there are no memory types */
	struct pv_reach reach;	/* by the IOMMU's tables; where those can't be read, not known */
	struct { __u32 status; __u64 gpa; } seen[PV_SNAP_DOMAINS * PV_SNAP_LOOKUPS];
};

struct pv_snap pv_snap(struct pv_ring *ring, __u32 endpoint);
bool pv_snap_same(const struct pv_snap *a, const struct pv_snap *b);

/*
 * Return to the state before an op, whatever an op has done: D and E with something mapped, and
 * the endpoint in D. False on failure.
 */
bool pv_snap_home(struct pv_ring *ring, __u32 endpoint);

#endif /* PV_SNAP_H */
