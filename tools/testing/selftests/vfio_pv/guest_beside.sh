#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest with an emulated VT-d beside the paravirtual IOMMU, which is in charge of
# another device. The kernel asks Intel's driver only: ours has to refuse to be
# loaded and say why, and the device goes on without an IOMMU.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

OTHER=0000:21:00.0
edu=$(device edu)

has_group() {
	[ -e "/sys/bus/pci/devices/$1/iommu_group" ]
}

refused() {
	! pvvm-load pviommu_guest && ! grep -q '^pviommu_guest ' /proc/modules &&
		dmesg | grep -q "pv-iommu: the kernel asks the driver of another IOMMU.*intel_iommu=off"
}

left_alone() {
	! has_group "$edu" && [ ! -e /sys/class/iommu/pv-iommu ] &&
		[ ! -e /sys/kernel/debug/pv-iommu ]
}

plan 5
check "the other device is behind VT-d, ours is not" eval "has_group $OTHER && ! has_group $edu"
check "the driver refuses, and says why" refused
check "nothing is left of it" left_alone
check "the same again" refused
check "nothing is left of it" left_alone
finish
