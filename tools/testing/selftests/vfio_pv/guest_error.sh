#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host sees PCIe errors of the guest's disk, which host_error.sh raises when this
# script asks for them: the disk is cut off, the guest hears of it, resets it, and its
# driver goes on where it was, as often as PV_ERRORS says. When it can't be put back there
# the guest says so, and it stays cut off. host_limits.sh sees to that. Needs pvvm's --share
# for them to meet.

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

# is_at NAME WHERE: where the host has the disk
is_at() {
	ask "$1" where || return
	cat "$PVVM_SHARE/error-$1"
	[ "$(cat "$PVVM_SHARE/error-$1")" = "$2" ]
}

restart() {
	echo 1 >/sys/kernel/debug/pv-iommu/restart
}

# The interface begins anew, as after a suspend, and the host makes no domain again
no_domain() {
	host_limit max_domains 0 && { restart || echo "as the restart says"; } && is_at lost "1 no"
}

not_restored() {
	ask refused SDN &&
		until_true 120 said "remains cut off, its mappings were not restored: -28" 1
}

# A driver that is bound has its domain
room_again() {
	host_limit max_domains 1024 && unbind "$bdf" && nvme_up "$bdf"
}

# The other devices have no driver that would be bound; not while the disk is in use
others_again() {
	unbind "$bdf" && restart && nvme_up "$bdf"
}

no_warning() {
	! dmesg | grep -E -A 5 'WARNING: '
}

plan $((2 * TIMES + 18))
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
check "and so does the log: VFIO can't recover" said "remains cut off until a driver is bound again" 1
check "the disk has its driver again" disk_again
check "and is written and read back" disk_check 1
check "the host has no room for domains any more" no_domain
check "an error after that: said that its mappings are not back" not_restored
check "nor said that it is back" eval '! said "back in its domain after an error" $((TIMES + 3))'
check "the host has it in blocked" is_at refused-at "1 no"
check "it stays there" eval 'sleep 2; is_at still-at "1 no"'
check "room again: the disk has its driver" room_again
check "and is written and read back, once more" disk_check 1
check "the others have their domains again" others_again
check "no kernel warning" no_warning
dmesg | grep -E "pv-iommu|$bdf" | tail -n 30 | sed 's/^/# /'
finish
