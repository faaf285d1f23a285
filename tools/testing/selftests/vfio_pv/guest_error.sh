#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host sees PCIe errors of the guest's disk, which host_error.sh raises when this
# script asks for them: the disk is cut off, the guest hears of it, resets it, and its
# driver goes on where it was, as often as PV_ERRORS says. Needs pvvm's --share for the
# two to meet.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

[ "$PVVM_SHARE" ] || skip_all "needs --share"
bdf=$(device nvme) || skip_all "no nvme device"

TIMES=${PV_ERRORS:-3}

# The disk's number among all devices is that of its root port
port() {
	local i=0 word

	for word in $PVVM_DEVICES; do
		[ "${word#*:}" != "$bdf" ] || echo $i
		i=$((i + 1))
	done
}

# ask NAME ERROR: have an error raised
ask() {
	echo "$1 rp$(port) $2" >"$PVVM_SHARE/error-ask.new"
	mv "$PVVM_SHARE/error-ask.new" "$PVVM_SHARE/error-ask"
	until_true 60 test -e "$PVVM_SHARE/error-$1"
}

# said TEXT TIMES: the kernel's log has it so often
said() {
	[ "$(dmesg | grep -c "$1")" -ge "$2" ]
}

back() {
	until_true 120 said "back in its domain after an error, with its mappings" "$1" &&
		until_true 60 nvme_disk "$bdf"
}

# An error in the midst of work: what was asked for before comes to its end
under_load() {
	disk_check 4 &
	load=$!
	sleep 0.5
	ask "load" SDN || return
	back $((TIMES + 1)) || return
	wait $load || echo "the work that was under way has failed, as it may"
	disk_check 1
}

# The next user finds a disk that works
vfio_user() {
	unbind "$bdf" && pvvm-bind vfio-pci "$bdf" || return
	ERROR_DEVICE=$bdf ERROR_PORT=$(port) guest_error_test
}

disk_again() {
	unbind "$bdf" && nvme_up "$bdf"
}

no_warning() {
	! dmesg | grep -E -A 5 'WARNING: '
}

plan $((2 * TIMES + 9))
check "bound" nvme_up "$bdf"
for n in $(seq "$TIMES"); do
	check "error $n: cut off and back" eval "ask $n SDN && back $n"
	check "error $n: written and read back" disk_check 1
done
check "an error under load" under_load
check "an error that is not fatal" eval "ask minor COMP_TIME && back $((TIMES + 2))"
check "an error that is not fatal: written and read back" disk_check 1
check "told each time" said "has cut this device off" $((TIMES + 2))
check "a user of VFIO hears of each error" vfio_user
check "the disk has its driver again" disk_again
check "and is written and read back" disk_check 1
check "no kernel warning" no_warning
dmesg | grep -E "pv-iommu|$bdf" | tail -n 30 | sed 's/^/# /'
finish
