#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# init of the host level: set up, run the host's commands, run the guest.

LEVEL=host
STAGES=/ctl/stages.log
OUTPUT=/ctl/host-output.log

. /pvvm/config
. /pvvm/common.sh
MODPARAMS=$HOST_MODPARAMS

# isa-debug-exit of the outer QEMU is faster than a power-off by ACPI.
power_off() {
	printf '\001' | dd of=/dev/port bs=1 seek=1281 2>/dev/null
	poweroff -f
}

# A count that goes up as long as this level's processor works: see watch_beat. It goes on
# after the end of all other programs.
beat() {
	local n=0

	while :; do
		n=$((n + 1))
		echo $n >/ctl/beat
		sleep 20
	done
}

fail() {
	echo "host level: $*" >/ctl/error
	dmesg >/ctl/host-dmesg.log
	power_off
}

finish() {
	stop_pump
	stage "ended with status $1"
	dmesg >/ctl/host-dmesg.log
	log_leaks /ctl/host-dmesg.log
	echo "$1" >/ctl/status
	power_off
}

set_up() {
	set_up_kernel || power_off
	stage "kernel and modules up"
	beat &
	BEAT=$!
	start_cpus
	build_root
	set_environment
	mkdir -p /root/run/pvvm/root
	mount -o bind /lower /root/run/pvvm/root
	for guest in $(seq "$GUESTS"); do
		mkdir "/root/run/pvvm/guest${guest#1}"
		mount -o bind "/ctl/guest${guest#1}" "/root/run/pvvm/guest${guest#1}"
	done
	start_pump
}

bind_devices() {
	local driver=vfio-pci device

	[ "$VIOMMU" != pv ] || driver=pviommu_vfio_pci
	find_devices || fail "not all of the devices ($DEVICES) are on the PCI bus"
	for device in $PVVM_DEVICES; do
		check_group "${device#*:}"
		in_root pvvm-bind $driver "${device#*:}" >/ctl/bind.log 2>&1 ||
			fail "binding $device to $driver failed: $(cat /ctl/bind.log)"
	done
}

# A device that shares its isolation group with others than functions of its own slot could
# not be passed through.
check_group() {
	local group=/sys/bus/pci/devices/$1/iommu_group other

	[ -d "$group" ] || fail "$1 is in no isolation group: the IOMMU is not in use"
	for other in "$group"/devices/*; do
		[ "${other##*/}" = "$1" ] || is_with "$1" "${other##*/}" ||
			fail "$1 is not alone in its isolation group"
	done
}

# Are both functions of one slot, and meant to be?
is_with() {
	[ "${1%.*}" = "${2%.*}" ] || return 1
	case " $PVVM_DEVICES " in *":$2 "*) return 0 ;; esac
	return 1
}

. /pvvm/guest-run.sh

main() {
	local status=0 after=0

	set_up
	load_own
	bind_devices
	stage "devices bound"
	if [ -f /ctl/host-cmd ]; then
		stage "host command"
		run_file /ctl/host-cmd
		status=$?
		stage "host command ended with status $status"
		[ $status = 0 ] || finish $status
	fi
	[ "$HOST_ONLY" = 0 ] || finish 0
	run_guests
	status=$GUEST_STATUS
	if [ -f /ctl/host-after ]; then
		stage "host command after the guest"
		run_file /ctl/host-after
		after=$?
	fi
	[ "$status" != 0 ] || status=$after
	finish "$status"
}

main
