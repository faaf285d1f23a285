#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A user of VFIO ends while the host takes no device into any domain. The guest's kernel, which
# must not fail at that, goes on: the device is blocked, and works again when a driver is bound
# and the host takes it. Needs host_limits.sh at the host level and pvvm's --share.

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

said() {
	dmesg | grep "$disk: is blocked until a driver is bound" && return
	dmesg | tail -n 20
	return 1
}

works() {
	nvme_up "$disk" && disk_check 1
}

[ "$PVVM_SHARE" ] || skip_all "needs --share"
plan 3
check "a user of VFIO ends" user_ends_refused
check "the guest's kernel says so" said
check "the disk works again" works
finish
