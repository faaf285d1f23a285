#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run at the host level when a guest is gone, in whatever way: nothing of it is
# left, its devices can be given back, and the modules unloaded.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

counter() {
	awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/pviommu/totals
}

# Files of a process are closed a moment after it has ended.
comes_to_zero() {
	until_true 10 test_zero "$1" || { echo "$(counter "$1") $1"; return 1; }
}

test_zero() {
	[ "$(counter "$1")" = 0 ]
}

no_vm() {
	! ls -d /sys/kernel/debug/pviommu/vm* 2>/dev/null
}

worked() {
	echo "$(counter ops) operations"
	[ "$(counter ops)" -gt 0 ]
}

devices() {
	local word

	for word in $PVVM_DEVICES; do
		echo "${word#*:}"
	done
}

give_back() {
	local bdf

	for bdf in $(devices); do
		unbind "$bdf" || return
		[ ! -e "/sys/bus/pci/devices/$bdf/driver" ] || return
	done
}

plan 10
check "the guest had used the interface" worked
for name in pages_pinned pages_mapped domains mappings; do
	check "no $name" comes_to_zero $name
done
check "no VM" until_true 10 no_vm
check "devices given back" give_back
check "pviommu_vfio_pci goes" rmmod pviommu_vfio_pci
check "pviommu_kvm goes" rmmod pviommu_kvm
check "pviommu_host goes" rmmod pviommu_host
finish
