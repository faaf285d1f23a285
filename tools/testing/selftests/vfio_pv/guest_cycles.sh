#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The IOMMU's driver can't be unloaded while the disk uses it. The disk is unbound from its driver
# while it writes, and the IOMMU's driver is unloaded and loaded again; then everything works as
# before. PV_CYCLES says how often. The host's counters are the same each time. Run it after
# guest_bypass.sh, without vfio_pv.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

bdf=$(device nvme) || skip_all "no nvme device"
rounds=${PV_CYCLES:-5}
# The host's counters when the driver has just been loaded
FIRST=/tmp/cycles-host-has

# The device is in a group if the IOMMU's driver is loaded
has_group() {
	[ -e "/sys/bus/pci/devices/$bdf/iommu_group" ]
}

# The device is unbound in the middle of a write, and the writer gets an error
unbind_at_work() {
	dd if=/dev/zero of="$DISK" bs=64k oflag=direct count=2000 2>/dev/null &
	pause 0.2
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

plan 4
check "the disk is there" nvme_disk "$bdf"
check "the driver stays while it translates for the disk" stays_loaded pviommu_guest
check "unbound while it writes, driver unloaded and loaded" all_rounds
check "unbound" unbind "$bdf"
finish
