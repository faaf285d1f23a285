#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Devices are removed and come back while others are in use. The first one to be removed
# is the one by whose capability the interface was started: another one takes the commands
# and doorbells then.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

disk=$(device nvme) || skip_all "no nvme device"
first=$(device edu 0) && second=$(device edu 1) || skip_all "needs two edu devices"

remove() {
	echo 1 >"/sys/bus/pci/devices/$1/remove" && [ ! -e "/sys/bus/pci/devices/$1" ]
}

rescan() {
	echo 1 >/sys/bus/pci/rescan
	[ -e "/sys/bus/pci/devices/$1/iommu_group" ]
}

# A restart gives commands by the capability, and makes all domains again
restart() {
	echo 1 >/sys/kernel/debug/pv-iommu/restart
}

mapped_by() {
	pvvm-bind vfio-pci "$1" && guest_map_load 20 1 && unbind "$1"
}

plan 13
failed=$(stat_of host_ops_failed)
check "disk bound" nvme_up "$disk"
check "the first device is removed" remove "$first"
check "the disk works" disk_check 1
check "restart" restart
check "the disk works" disk_check 1
check "the second device is removed" remove "$second"
check "the disk works" disk_check 1
check "the first device is found again" rescan "$first"
check "the second device too" test -e "/sys/bus/pci/devices/$second/iommu_group"
check "mapped and unmapped by the first" mapped_by "$first"
check "mapped and unmapped by the second" mapped_by "$second"
check "the disk is unbound" unbind "$disk"
check "no operation has failed" test "$(stat_of host_ops_failed)" = "$failed"
finish
