#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host takes no device into any domain while a user of VFIO ends, and while a device is found.
# The guest's kernel, which must not fail at that, goes on: the device is blocked, and works again
# when a driver is bound and the host takes it. Needs host_limits.sh at the host level and pvvm's
# --share.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

NVME=$(dirname "$(command -v guest_container_test)")/../nvme/nvme
disk=$(device nvme) || skip_all "no nvme device"

has_device() {
	find "/proc/$1/fd" -lname '*vfio-device*' | grep -q .
}

user_ends_refused() {
	local status

	pvvm-bind vfio-pci "$disk" || return
	"$NVME" "$disk" 400 &
	until_true 30 has_device $! && kill -STOP $!
	status=$?
	host_limit attach refuse
	kill -KILL $!
	wait $!
	host_limit attach allow
	return $status
}

# Without its driver, which would wait for it for a minute
found_refused() {
	unbind "$disk" && modprobe -r nvme && echo 1 >"/sys/bus/pci/devices/$disk/remove" &&
		host_limit attach refuse || return
	echo 1 >/sys/bus/pci/rescan
	host_limit attach allow
	[ -e "/sys/bus/pci/devices/$disk/iommu_group" ]
}

# said TIMES: and the kernel has not warned
said() {
	[ "$(dmesg | grep -c "$disk: is blocked until a driver is bound")" = "$1" ] &&
		! dmesg | grep 'WARNING: ' && return
	dmesg | tail -n 20
	return 1
}

works() {
	nvme_up "$disk" && disk_check 1
}

[ "$PVVM_SHARE" ] || skip_all "needs --share"
plan 6
check "a user of VFIO ends" user_ends_refused
check "the guest's kernel says so" said 1
check "the disk works again" works
check "the disk is found anew" found_refused
check "the guest's kernel says so, again" said 2
check "the disk works again, as before" works
finish
