#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# init of the guest: set up, load the drivers, run the guest's command.

LEVEL=guest
LOWER=/lower
STAGES=/ctl/guest-stages.log
OUTPUT=/ctl/guest-output.log

. /pvvm/config
. /pvvm/common.sh
MODPARAMS=$GUEST_MODPARAMS

fail() {
	echo "guest: $*" >/ctl/error
	dmesg >/ctl/guest-dmesg.log
	poweroff -f
}

# Each boot counts itself, in a file at the host level.
count_boot() {
	PVVM_BOOT=$(cat /ctl/boots 2>/dev/null || echo 0)
	export PVVM_BOOT
	echo $((PVVM_BOOT + 1)) >/ctl/boots
	[ "$PVVM_BOOT" -le "$GUEST_REBOOTS" ] ||
		fail "rebooted more than $GUEST_REBOOTS times"
}

set_up() {
	mount_kernel_fs
	load_stock
	mount_9p ctl /ctl rw,cache=none || poweroff -f
	stage "kernel and initramfs up, uptime $(cut -d' ' -f1 /proc/uptime) s"
	count_boot
	build_root || fail "cannot mount the machine's root by 9p"
	start_cpus
	set_environment
	cp /ctl/own-modules /root/run/pvvm/
	start_pump
	find_devices || fail "not all of the devices ($DEVICES) are on the PCI bus"
}

load_own() {
	local name

	for name in $GUEST_OWN; do
		in_root pvvm-load "$name" >/ctl/load.log 2>&1 ||
			fail "loading $name failed: $(cat /ctl/load.log)"
	done
}

main() {
	local status=0

	set_up
	load_own
	if [ -f /ctl/guest-cmd ]; then
		stage "guest command"
		run_file /ctl/guest-cmd
		status=$?
		stage "guest command ended with status $status"
	fi
	stop_pump
	dmesg >/ctl/guest-dmesg.log
	echo $status >/ctl/status
	poweroff -f
}

main
