#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# MAP_DMA and UNMAP_DMA must be handled by the host kernel, without QEMU. KVM counts
# how often it returns to QEMU: 10,000 pairs must not take more returns than 100.
# host_exits.sh reads KVM's counters at the host level when this script asks for it, by
# pvvm's --share.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

[ "$PVVM_SHARE" ] || skip_all "needs --share"

FEW=100 MANY=10000

# sample NAME: have the host level read its counters
sample() {
	echo "$1" >"$PVVM_SHARE/exits-ask.new"
	mv "$PVVM_SHARE/exits-ask.new" "$PVVM_SHARE/exits-ask"
	until_true 60 test -s "$PVVM_SHARE/exits-$1"
}

# counted NAME COUNTER
counted() {
	awk -v name="$2" '$1 == name { print $2 }' "$PVVM_SHARE/exits-$1"
}

# grown COUNTER FROM TO
grown() {
	echo $(($(counted "$3" "$1") - $(counted "$2" "$1")))
}

# What the pairs cost, without starting the program
beyond() {
	echo $(($(grown "$1" few many) - $(grown "$1" start few)))
}

to_qemu() {
	local counter n

	for counter in userspace mmio_exits io_exits; do
		n=$(beyond $counter)
		echo "$counter: $n more for $((MANY - FEW)) more pairs"
		[ "$n" -lt $((MANY / 20)) ] || return 1
	done
}

# The test means something only if the pairs were made, and the guest exited for them.
to_kvm() {
	echo "exits: $(beyond exits) more"
	[ "$(beyond exits)" -ge $((MANY - FEW)) ]
}

by_doorbell() {
	local n=$(($(stat_of kicks_tracked) - $1))

	echo "$n doorbells by write tracking"
	[ $n -ge $((2 * MANY)) ]
}

none_by_config() {
	[ "$(stat_of kicks_config)" = "$1" ]
}

plan 8
bdf=$(device edu) && check "device" pvvm-bind vfio-pci "$bdf"
config=$(stat_of kicks_config)
check "counters at the start" sample start
check "$FEW pairs" guest_map_load $FEW
check "counters" sample few
tracked=$(stat_of kicks_tracked)
check "$MANY pairs" guest_map_load $MANY
check "doorbells rung" by_doorbell "$tracked"
sample many
check "KVM was entered" to_kvm
check "QEMU was not" to_qemu
none_by_config "$config" || say "some doorbells went through QEMU"
finish
