// SPDX-License-Identifier: GPL-2.0-only
/*
 * Offset and size of each field of the guest interface, checked at build time. Guests that were
 * built with an older header must find each field there: rows are added, but never changed.
 */
#include <assert.h>
#include <stddef.h>
#include <linux/types.h>
#include <linux/pv_iommu.h>

#define SIZE(type, bytes)						\
	static_assert(sizeof(struct type) == (bytes), "size of " #type)
#define FIELD(type, field, at, bytes)					\
	static_assert(offsetof(struct type, field) == (at) &&		\
		      sizeof(((struct type *)0)->field) == (bytes), #type "." #field)

SIZE(pviommu_start, 64);
FIELD(pviommu_start, magic, 0, 4);
FIELD(pviommu_start, version, 4, 2);
FIELD(pviommu_start, nrings, 6, 2);
FIELD(pviommu_start, features, 8, 8);
FIELD(pviommu_start, cookie, 16, 8);
FIELD(pviommu_start, doorbell, 24, 8);
FIELD(pviommu_start, events, 32, 8);
FIELD(pviommu_start, rings, 40, 8);
FIELD(pviommu_start, out_flags, 48, 4);
FIELD(pviommu_start, out_max_domains, 52, 4);
FIELD(pviommu_start, reserved, 56, 8);

SIZE(pviommu_ring_desc, 24);
FIELD(pviommu_ring_desc, hdr, 0, 8);
FIELD(pviommu_ring_desc, ops, 8, 8);
FIELD(pviommu_ring_desc, order, 16, 4);
FIELD(pviommu_ring_desc, reserved, 20, 4);

SIZE(pviommu_ring_hdr, 64);
FIELD(pviommu_ring_hdr, cookie, 0, 8);
FIELD(pviommu_ring_hdr, prod, 8, 4);
FIELD(pviommu_ring_hdr, cons, 12, 4);
FIELD(pviommu_ring_hdr, error, 16, 4);
FIELD(pviommu_ring_hdr, events, 20, 4);
FIELD(pviommu_ring_hdr, served, 24, 4);
FIELD(pviommu_ring_hdr, reserved, 28, 36);

SIZE(pviommu_op, 64);
FIELD(pviommu_op, code, 0, 2);
FIELD(pviommu_op, flags, 2, 2);
FIELD(pviommu_op, status, 4, 4);
FIELD(pviommu_op, domain, 8, 4);
FIELD(pviommu_op, endpoint, 12, 4);
FIELD(pviommu_op, pasid, 16, 4);
FIELD(pviommu_op, vm, 20, 4);
FIELD(pviommu_op, raw, 24, 32);
FIELD(pviommu_op, result, 56, 8);
FIELD(pviommu_op, map.iova, 24, 8);
FIELD(pviommu_op, map.gpa, 32, 8);
FIELD(pviommu_op, map.size, 40, 8);
FIELD(pviommu_op, map.prot, 48, 4);
FIELD(pviommu_op, map.pgshift, 52, 1);
FIELD(pviommu_op, map.reserved, 53, 3);
FIELD(pviommu_op, list.iova, 24, 8);
FIELD(pviommu_op, list.list, 32, 8);
FIELD(pviommu_op, list.count, 40, 4);
FIELD(pviommu_op, list.reserved0, 44, 4);
FIELD(pviommu_op, list.prot, 48, 4);
FIELD(pviommu_op, list.pgshift, 52, 1);
FIELD(pviommu_op, list.reserved, 53, 3);
FIELD(pviommu_op, unmap.iova, 24, 8);
FIELD(pviommu_op, unmap.size, 32, 8);
FIELD(pviommu_op, unmap.reserved, 40, 16);
FIELD(pviommu_op, lookup.iova, 24, 8);
FIELD(pviommu_op, lookup.gpa, 32, 8);
FIELD(pviommu_op, lookup.size, 40, 8);
FIELD(pviommu_op, lookup.prot, 48, 4);
FIELD(pviommu_op, lookup.pgshift, 52, 1);
FIELD(pviommu_op, lookup.reserved, 53, 3);
FIELD(pviommu_op, inv.addr, 24, 8);
FIELD(pviommu_op, inv.size, 32, 8);
FIELD(pviommu_op, inv.granularity, 40, 4);
FIELD(pviommu_op, inv.reserved0, 44, 4);
FIELD(pviommu_op, inv.reserved, 48, 8);
FIELD(pviommu_op, alloc.type, 24, 4);
FIELD(pviommu_op, alloc.format, 28, 4);
FIELD(pviommu_op, alloc.root, 32, 8);
FIELD(pviommu_op, alloc.reserved, 40, 16);
FIELD(pviommu_op, buf.gpa, 24, 8);
FIELD(pviommu_op, buf.size, 32, 4);
FIELD(pviommu_op, buf.reserved0, 36, 4);
FIELD(pviommu_op, buf.reserved, 40, 16);
FIELD(pviommu_op, mem.gpa, 24, 8);
FIELD(pviommu_op, mem.size, 32, 8);
FIELD(pviommu_op, mem.type, 40, 4);
FIELD(pviommu_op, mem.reserved0, 44, 4);
FIELD(pviommu_op, mem.reserved, 48, 8);
FIELD(pviommu_op, release.list, 24, 8);
FIELD(pviommu_op, release.count, 32, 4);
FIELD(pviommu_op, release.reserved0, 36, 4);
FIELD(pviommu_op, release.token, 40, 8);
FIELD(pviommu_op, release.reserved, 48, 8);
FIELD(pviommu_op, dirty.iova, 24, 8);
FIELD(pviommu_op, dirty.gpa, 32, 8);
FIELD(pviommu_op, dirty.size, 40, 8);
FIELD(pviommu_op, dirty.pgshift, 48, 1);
FIELD(pviommu_op, dirty.reserved, 49, 7);

SIZE(pviommu_probe, 64);
FIELD(pviommu_probe, endpoint, 0, 4);
FIELD(pviommu_probe, group, 4, 4);
FIELD(pviommu_probe, flags, 8, 4);
FIELD(pviommu_probe, nr_regions, 12, 4);
FIELD(pviommu_probe, pgsizes, 16, 8);
FIELD(pviommu_probe, window_start, 24, 8);
FIELD(pviommu_probe, window_last, 32, 8);
FIELD(pviommu_probe, pasid_bits, 40, 4);
FIELD(pviommu_probe, domain, 44, 4);
FIELD(pviommu_probe, reserved, 48, 16);

SIZE(pviommu_region, 24);
FIELD(pviommu_region, start, 0, 8);
FIELD(pviommu_region, last, 8, 8);
FIELD(pviommu_region, type, 16, 4);
FIELD(pviommu_region, reserved, 20, 4);

SIZE(pviommu_stats, 128);
FIELD(pviommu_stats, kicks_tracked, 0, 8);
FIELD(pviommu_stats, kicks_config, 8, 8);
FIELD(pviommu_stats, ops, 16, 8);
FIELD(pviommu_stats, ops_failed, 24, 8);
FIELD(pviommu_stats, pages_mapped, 32, 8);
FIELD(pviommu_stats, pages_pinned, 40, 8);
FIELD(pviommu_stats, domains, 48, 8);
FIELD(pviommu_stats, mappings, 56, 8);
FIELD(pviommu_stats, faults, 64, 8);
FIELD(pviommu_stats, events_lost, 72, 8);
FIELD(pviommu_stats, pages_lent, 80, 8);
FIELD(pviommu_stats, reserved, 88, 40);

SIZE(pviommu_event, 64);
FIELD(pviommu_event, type, 0, 2);
FIELD(pviommu_event, flags, 2, 2);
FIELD(pviommu_event, endpoint, 4, 4);
FIELD(pviommu_event, domain, 8, 4);
FIELD(pviommu_event, pasid, 12, 4);
FIELD(pviommu_event, seq, 16, 8);
FIELD(pviommu_event, addr, 24, 8);
FIELD(pviommu_event, gpa, 32, 8);
FIELD(pviommu_event, size, 40, 8);
FIELD(pviommu_event, vm, 48, 4);
FIELD(pviommu_event, reserved0, 52, 4);
FIELD(pviommu_event, reserved, 56, 8);

SIZE(pviommu_event_ring, 4096);
FIELD(pviommu_event_ring, cookie, 0, 8);
FIELD(pviommu_event_ring, prod, 8, 4);
FIELD(pviommu_event_ring, cons, 12, 4);
FIELD(pviommu_event_ring, lost, 16, 4);
FIELD(pviommu_event_ring, waiting, 20, 4);
FIELD(pviommu_event_ring, reserved, 24, 40);
FIELD(pviommu_event_ring, ev, 64, 4032);
