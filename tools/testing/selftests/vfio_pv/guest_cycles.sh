#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The same again and again: the disk is taken from its driver while it writes, the IOMMU's
# driver is unloaded and loaded, and all works as before, as often as PV_CYCLES says. The
# host has as much for each as for the first. Run it after guest_bypass.sh, without vfio_pv.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

bdf=$(device nvme) || skip_all "no nvme device"
rounds=${PV_CYCLES:-10}
# What the host has when the driver has just been loaded
FIRST=/tmp/cycles-host-has

# Whether it is in a group tells whether the driver is there
has_group() {
	[ -e "/sys/bus/pci/devices/$bdf/iommu_group" ]
}

# The device goes in the midst of it, and the writer is told
unbind_at_work() {
	dd if=/dev/zero of="$DISK" bs=64k oflag=direct count=2000 2>/dev/null &
	sleep 0.2
	unbind "$bdf"
	wait $!
	[ ! -e "/sys/bus/pci/devices/$bdf/driver" ]
}

one_round() {
	unbind_at_work || return
	[ "$(stat_of host_ops_failed)" = 0 ] || return
	rmmod pviommu_guest && ! has_group || return
	pvvm-load pviommu_guest && has_group || return
	[ -e "$FIRST" ] || host_has >"$FIRST"
	host_has_as_in "$FIRST" || return
	set_domain_type "$bdf" DMA-FQ && nvme_up "$bdf" && disk_check 1
}

all_rounds() {
	local n

	for ((n = 1; n <= rounds; n++)); do
		one_round || { echo "round $n"; return 1; }
	done
	echo "$rounds times"
}

plan 3
check "the disk is there" nvme_disk "$bdf"
check "unbound while it writes, driver unloaded and loaded" all_rounds
check "unbound" unbind "$bdf"
finish
