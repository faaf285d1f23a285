#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# init of the guest: set up, load the drivers, run the guest's command.

LEVEL=guest
STAGES=/ctl/guest-stages.log
OUTPUT=/ctl/guest-output.log

. /pvvm/config
. /pvvm/common.sh
MODPARAMS=$GUEST_MODPARAMS
# The kernel passes it from its command line.
export PVVM_GUEST

fail() {
	echo "guest: $*" >/ctl/error
	dmesg >/ctl/guest-dmesg.log
	poweroff -f
}

# Each boot is counted, in a file at the host level.
count_boot() {
	PVVM_BOOT=$(cat /ctl/boots 2>/dev/null || echo 0)
	export PVVM_BOOT
	echo $((PVVM_BOOT + 1)) >/ctl/boots
	[ "$PVVM_BOOT" -le "$GUEST_REBOOTS" ] ||
		fail "rebooted more than $GUEST_REBOOTS times"
}

set_up() {
	set_up_kernel || poweroff -f
	stage "kernel and modules up"
	count_boot
	start_cpus
	build_root
	set_environment
	start_pump
	load_own
	find_devices || fail "not all of the devices ($DEVICES) are on the PCI bus"
}

main() {
	local status=0

	set_up
	if [ -f /ctl/guest-cmd ]; then
		stage "guest command"
		run_file /ctl/guest-cmd
		status=$?
		stage "guest command ended with status $status"
	fi
	stop_pump
	dmesg >/ctl/guest-dmesg.log
	log_leaks /ctl/guest-dmesg.log
	echo $status >/ctl/status
	poweroff -f
}

main
