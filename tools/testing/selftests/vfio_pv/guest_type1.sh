#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Without vfio_pv, stock vfio_iommu_type1 works on the paravirtual IOMMU as on any other.
# vfio_pv can't be unloaded while it has a container, nor can pviommu_guest; vfio_pv can be loaded
# again.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

type1=/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts

stays_in_use() {
	local pid status=0

	guest_map_load 0 16 >/dev/null 2>&1 &
	pid=$!
	until_true 20 something_mapped || status=1
	stays_loaded vfio_pv && stays_loaded pviommu_guest || status=1
	kill -9 $pid
	wait $pid 2>/dev/null
	until_true 10 nothing_mapped || status=1
	return $status
}

something_mapped() {
	[ "$(stat_of host_mappings)" != 0 ]
}

nothing_mapped() {
	[ "$(stat_of host_mappings)" = 0 ]
}

plan 9
check "device" pvvm-bind vfio-pci "$(device edu)"
check "vfio_pv and pviommu_guest stay while they are in use" stays_in_use
check "vfio_pv goes" rmmod vfio_pv
echo 1 >$type1
check "container test on stock type1" guest_container_test -v type1v2
check "dirty pages and user addresses on stock type1" guest_dirty_test -v type1v2
check "mediated devices on stock type1" guest_mdev_test
check "what leads nowhere is unpinned by stock type1" \
	guest_stop_test -V pv -t revoked_is_unpinned -t refused_is_unpinned
check "vfio_pv comes back" pvvm-load vfio_pv
check "and is asked first" guest_container_test -t dma_both_ways
finish
