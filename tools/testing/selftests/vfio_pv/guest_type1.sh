#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Without vfio_pv, stock vfio_iommu_type1 works on the paravirtual IOMMU, as on
# any other. vfio_pv does not go while a container is in its care, and comes back.

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=lib/guest.sh
. "$here/lib/guest.sh"

container=${GUEST_CONTAINER_TEST:-$here/guest_container_test}
load=${GUEST_MAP_LOAD:-$here/guest_map_load}
type1=/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts

stays_in_use() {
	local pid

	"$load" 0 16 &
	pid=$!
	until_true 20 test "$(stat_of host_mappings)" != 0 || return
	if rmmod vfio_pv; then
		echo "it was removed"
		kill -9 $pid
		return 1
	fi
	kill -9 $pid
	wait $pid 2>/dev/null
	until_true 10 nothing_mapped
}

nothing_mapped() {
	[ "$(stat_of host_mappings)" = 0 ]
}

plan 6
check "device" pvvm-bind vfio-pci "$(device edu)"
check "vfio_pv stays while it is in use" stays_in_use
check "vfio_pv goes" rmmod vfio_pv
echo 1 >$type1
check "container test on stock type1" "$container" -v type1v2
check "vfio_pv comes back" pvvm-load vfio_pv
check "and is asked first" "$container" -v pv -t dma_both_ways
finish
