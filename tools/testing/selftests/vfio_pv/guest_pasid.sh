#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A driver in the guest's kernel attaches domains by PASID, to a device that a test module of
# the host level has given PASIDs. host_pasid.sh, beside the guest, looks at the host's tables
# and raises errors when it is asked to. Needs pvvm's --share.
#
# guest_pasid_asleep.sh goes on with suspend to RAM, as guest_asleep.sh does.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

[ "$PVVM_SHARE" ] || skip_all "needs --share"
bdf=$(device edu) || skip_all "no edu device"
PARAMS=/sys/module/pviommu_test_user/parameters
CAP_PASID=001b

# ask WHAT: have the host level do something; prints its answer
ask() {
	rm -f "$PVVM_SHARE/pasid-answer"
	echo "$*" >"$PVVM_SHARE/pasid-ask.new"
	mv "$PVVM_SHARE/pasid-ask.new" "$PVVM_SHARE/pasid-ask"
	until_true 60 test -e "$PVVM_SHARE/pasid-answer" && cat "$PVVM_SHARE/pasid-answer"
}

host_says() {
	local answer

	answer=$(ask "$1")
	[ "$answer" = "$2" ] || { echo "$1: $answer, not $2"; return 1; }
}

# The capability in config space: PASIDs of one bit, enabled
shows_pasids() {
	lspci -vvs "$bdf" | grep -A 2 'Process Address Space ID' >/tmp/cap
	cat /tmp/cap
	grep -q 'Max PASID Width: 01' /tmp/cap && grep -q 'Enable+' /tmp/cap
}

other_shows_none() {
	! lspci -vvs "$(device edu 1)" | grep 'Process Address Space ID'
}

# The guest writes to the capability that it sees, not to the device's own
ctrl_is_not_the_devices() {
	setpci -s "$bdf" "ECAP$CAP_PASID+6.w=0" &&
		[ "$(setpci -s "$bdf" "ECAP$CAP_PASID+6.w")" = 0000 ] &&
		host_says enabled yes &&
		setpci -s "$bdf" "ECAP$CAP_PASID+6.w=ffff" &&
		[ "$(setpci -s "$bdf" "ECAP$CAP_PASID+6.w")" = 0001 ]
}

attach() {
	echo "$1" >$PARAMS/attach
}

reached() {
	local n

	n=$(cat $PARAMS/reached)
	[ "$n" = "$1" ] || { echo "reached $n, not $1"; return 1; }
}

attach_reach() {
	attach "$1" && reached "$1"
}

said() {
	[ "$(dmesg | grep -c "$1")" -ge "$2" ]
}

error_and_back() {
	ask error && until_true 10 said "has cut this device off" 1 &&
		until_true 60 said "back in its domain after an error" 1
}

unload_and_load() {
	attach 0 && rmmod pviommu_test_user && rmmod vfio_pv && rmmod pviommu_guest &&
		pvvm-load pviommu_guest && pvvm-load pviommu_test_user && attach_reach 1
}

plan 15
check "a PASID capability, switched on" shows_pasids
check "none without PASIDs" other_shows_none
check "its control register is the guest's" ctrl_is_not_the_devices
check "the driver takes the device" eval "pvvm-load pviommu_test_user && pvvm-bind pviommu_test_user $bdf"
check "nothing attached, nothing reached" reached 0
check "a domain" attach_reach 1
check "the host's tables have it" host_says present yes
check "detached" eval "attach 0 && reached 0"
check "the host's tables have nothing" host_says present no
check "the other domain" attach_reach 2
check "what is attached can't be attached" eval "! attach 1"
check "cut off and back" error_and_back
check "reached as before" reached 2
check "without the IOMMU driver, and with it again" unload_and_load
check "nothing that was attached is blocked" eval "! dmesg | grep 'PASID.*blocked'"
dmesg | grep -E "pv-iommu|$bdf" | tail -n 30 | sed 's/^/# /'
[ $FAILED = 0 ] || finish

mkdir /tmp/bin
"$PVVM_RUN/busybox" --install -s /tmp/bin
cp "$(dirname "$(readlink -f "$0")")/guest_pasid_asleep.sh" /tmp
cd /tmp || exit
PATH=/tmp/bin exec "$PVVM_RUN/busybox" sh /tmp/guest_pasid_asleep.sh
