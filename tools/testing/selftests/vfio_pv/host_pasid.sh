#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_pasid.sh, run beside the guest: answers what it asks.
#   present   is there an entry for PASID 1 in the tables of the host's IOMMU?
#   enabled   are PASIDs enabled in the device itself?
#   error     tell the driver of an error of the device, and that it is over

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

ACTION=/sys/module/pviommu_test_pasid/parameters/action

# peek ADDRESS: a word of the machine's memory, which its emulator reads
peek() {
	pvvm-qmp -m "hmp xp /1gx $1" | sed -n 's/.*: \(0x[0-9a-f]*\).*/\1/p'
}

# The address of the next table in an entry
next() {
	echo $(($(peek "$1") & 0xffffffffff000))
}

# The entry of the device in slot 0x10 of bus 0, in the second half of the bus's functions
present() {
	local table

	table=$(next 0xfed90020)
	table=$(next $((table + 8)))
	table=$(next "$table")
	table=$(next "$table")
	[ $(($(peek $((table + 64))) & 1)) = 1 ]
}

answer() {
	case $1 in
	present) present && echo yes || echo no ;;
	enabled) [ "$(setpci -s 00:10.0 ECAP001b+6.w)" = 0001 ] && echo yes || echo no ;;
	error) echo error >$ACTION && sleep 1 && echo resume >$ACTION ;;
	esac
}

while :; do
	if [ -f "$PVVM_SHARE/pasid-ask" ]; then
		read -r what <"$PVVM_SHARE/pasid-ask"
		rm "$PVVM_SHARE/pasid-ask"
		answer "$what" >"$PVVM_SHARE/pasid-answer.new"
		mv "$PVVM_SHARE/pasid-answer.new" "$PVVM_SHARE/pasid-answer"
	fi
	pause 0.2
done
