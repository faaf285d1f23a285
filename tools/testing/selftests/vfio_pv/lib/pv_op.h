/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ops: building, submitting, and checking the status.
 *
 * There are three forms of each: __pv_x() returns the status, pv_x() must succeed, pv_err_x()
 * must fail with the given status. ring->last is the op as the host left it, with its result.
 */
#ifndef PV_OP_H
#define PV_OP_H

#include "pv_vm.h"

/* What __pv_exec() returns if the op has no status */
#define PV_RING_STOPPED	0xfffffffe
#define PV_RING_STUCK	0xfffffffd

#define PV_R	PVIOMMU_PROT_READ
#define PV_W	PVIOMMU_PROT_WRITE
#define PV_RW	(PV_R | PV_W)

/* ---- building ------------------------------------------------------ */

struct pviommu_op pv_op(__u16 code);
struct pviommu_op pv_op_buf(__u16 code, __u32 endpoint, __u64 gpa, __u32 size);
struct pviommu_op pv_op_alloc(__u32 endpoint);
struct pviommu_op pv_op_free(__u32 domain);
struct pviommu_op pv_op_attach(__u32 endpoint, __u32 domain);
struct pviommu_op pv_op_recover(__u32 endpoint);
struct pviommu_op pv_op_detach(__u32 endpoint, __u32 domain);
struct pviommu_op pv_op_map(__u32 domain, __u64 iova, __u64 gpa, __u64 size, __u32 prot);
struct pviommu_op pv_op_map_2m(__u32 domain, __u64 iova, __u64 gpa, __u64 size, __u32 prot);
struct pviommu_op pv_op_map_list(__u32 domain, __u64 iova, __u64 list, __u32 count, __u32 prot);
struct pviommu_op pv_op_unmap(__u32 domain, __u64 iova, __u64 size);
struct pviommu_op pv_op_unmap_all(__u32 domain);
struct pviommu_op pv_op_lookup(__u32 domain, __u64 iova);
struct pviommu_op pv_op_inv(__u32 domain);
struct pviommu_op pv_op_inv_page(__u32 domain, __u64 addr, __u64 size);
struct pviommu_op pv_op_dirty_start(__u32 domain);
struct pviommu_op pv_op_dirty_stop(__u32 domain);
/* Small pages; the bitmap goes to PV_AT_REPLY */
struct pviommu_op pv_op_dirty_read(__u32 domain, __u64 iova, __u64 size);
struct pviommu_op pv_op_type_get(__u64 gpa);
struct pviommu_op pv_op_type_set(__u64 gpa, __u64 size, __u32 type);
/* The frame numbers are at PV_AT_LIST */
struct pviommu_op pv_op_release(__u32 count, __u64 token);

/* ---- submitting ---------------------------------------------------- */

void pv_kick(struct pv_ring *ring);
/* Put an op into the ring, visible to the host; its slot */
struct pviommu_op *pv_push(struct pv_ring *ring, struct pviommu_op op);
/* Ring the doorbell until all is done; false if the ring stopped or is stuck */
bool pv_run(struct pv_ring *ring);

__u32 __pv_exec(struct pv_ring *ring, struct pviommu_op op);
#define pv_exec(ring, op)		ASSERT_EQ(PVIOMMU_OK, __pv_exec(ring, op))
#define pv_err_exec(status, ring, op)	EXPECT_EQ(status, __pv_exec(ring, op))

/* ---- one by one ---------------------------------------------------- */

#define __pv_alloc(ring, ...)		__pv_exec(ring, pv_op_alloc(__VA_ARGS__))
#define __pv_free(ring, ...)		__pv_exec(ring, pv_op_free(__VA_ARGS__))
#define __pv_attach(ring, ...)		__pv_exec(ring, pv_op_attach(__VA_ARGS__))
#define __pv_recover(ring, ...)		__pv_exec(ring, pv_op_recover(__VA_ARGS__))
#define __pv_detach(ring, ...)		__pv_exec(ring, pv_op_detach(__VA_ARGS__))
#define __pv_map(ring, ...)		__pv_exec(ring, pv_op_map(__VA_ARGS__))
#define __pv_map_2m(ring, ...)		__pv_exec(ring, pv_op_map_2m(__VA_ARGS__))
#define __pv_map_list(ring, ...)	__pv_exec(ring, pv_op_map_list(__VA_ARGS__))
#define __pv_unmap(ring, ...)		__pv_exec(ring, pv_op_unmap(__VA_ARGS__))
#define __pv_unmap_all(ring, ...)	__pv_exec(ring, pv_op_unmap_all(__VA_ARGS__))
#define __pv_lookup(ring, ...)		__pv_exec(ring, pv_op_lookup(__VA_ARGS__))
#define __pv_inv(ring, ...)		__pv_exec(ring, pv_op_inv(__VA_ARGS__))
#define __pv_inv_page(ring, ...)	__pv_exec(ring, pv_op_inv_page(__VA_ARGS__))

#define pv_alloc(...)		ASSERT_EQ(PVIOMMU_OK, __pv_alloc(__VA_ARGS__))
#define pv_free(...)		ASSERT_EQ(PVIOMMU_OK, __pv_free(__VA_ARGS__))
#define pv_attach(...)		ASSERT_EQ(PVIOMMU_OK, __pv_attach(__VA_ARGS__))
#define pv_detach(...)		ASSERT_EQ(PVIOMMU_OK, __pv_detach(__VA_ARGS__))
#define pv_map(...)		ASSERT_EQ(PVIOMMU_OK, __pv_map(__VA_ARGS__))
#define pv_map_2m(...)		ASSERT_EQ(PVIOMMU_OK, __pv_map_2m(__VA_ARGS__))
#define pv_map_list(...)	ASSERT_EQ(PVIOMMU_OK, __pv_map_list(__VA_ARGS__))
#define pv_unmap(...)		ASSERT_EQ(PVIOMMU_OK, __pv_unmap(__VA_ARGS__))
#define pv_unmap_all(...)	ASSERT_EQ(PVIOMMU_OK, __pv_unmap_all(__VA_ARGS__))
#define pv_lookup(...)		ASSERT_EQ(PVIOMMU_OK, __pv_lookup(__VA_ARGS__))
#define pv_inv(...)		ASSERT_EQ(PVIOMMU_OK, __pv_inv(__VA_ARGS__))
#define pv_inv_page(...)	ASSERT_EQ(PVIOMMU_OK, __pv_inv_page(__VA_ARGS__))

#define pv_err_alloc(status, ...)	EXPECT_EQ(status, __pv_alloc(__VA_ARGS__))
#define pv_err_free(status, ...)	EXPECT_EQ(status, __pv_free(__VA_ARGS__))
#define pv_err_attach(status, ...)	EXPECT_EQ(status, __pv_attach(__VA_ARGS__))
#define pv_err_detach(status, ...)	EXPECT_EQ(status, __pv_detach(__VA_ARGS__))
#define pv_err_map(status, ...)		EXPECT_EQ(status, __pv_map(__VA_ARGS__))
#define pv_err_map_2m(status, ...)	EXPECT_EQ(status, __pv_map_2m(__VA_ARGS__))
#define pv_err_map_list(status, ...)	EXPECT_EQ(status, __pv_map_list(__VA_ARGS__))
#define pv_err_unmap(status, ...)	EXPECT_EQ(status, __pv_unmap(__VA_ARGS__))
#define pv_err_lookup(status, ...)	EXPECT_EQ(status, __pv_lookup(__VA_ARGS__))
#define pv_err_inv(status, ...)		EXPECT_EQ(status, __pv_inv(__VA_ARGS__))

/* A new domain for an endpoint; 0 on failure */
__u32 pv_new_domain(struct pv_ring *ring, __u32 endpoint);

/*
 * A guest at work: the interface with one ring, and the first device in a domain where
 * a page at @iova leads to @gpa. The domain; 0 on failure.
 */
__u32 __pv_start_mapped(struct pv_vm *vm, __u64 iova, __u64 gpa);

/* The answers to PROBE, whose regions are at PV_AT_REPLY too, and to STATS; all ones on failure */
struct pviommu_probe pv_probe(struct pv_ring *ring, __u32 endpoint);
struct pviommu_stats pv_stats(struct pv_ring *ring);

/* What no refused op may change */
struct pv_state {
	__u64 pages_mapped, pages_pinned, domains, mappings;
};

struct pv_state pv_state(struct pv_ring *ring);
bool pv_state_same(const struct pv_state *a, const struct pv_state *b);

/* Frame numbers for MAP_LIST at PV_AT_LIST */
__u64 *pv_list(struct pv_vm *vm);

#endif /* PV_OP_H */
