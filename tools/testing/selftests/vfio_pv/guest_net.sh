#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The DMA API on the paravirtual IOMMU: a network card with the guest's own driver gets
# an address by DHCP, and exchanges packets of all sizes with pvvm's gateway.
#
#   guest_net.sh [MODEL]     e1000e (the default), e1000 or igb

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

model=${1:-e1000e}
gateway=10.0.2.2
bdf=$(device "$model") || skip_all "no $model device"

nic_up() {
	modprobe "$model" && pvvm-bind "$model" "$bdf" && until_true 10 find_nic &&
		busybox ip link set "$nic" up && until_true 20 has_carrier
}

find_nic() {
	local dir

	for dir in "/sys/bus/pci/devices/$bdf"/net/*; do
		nic=${dir##*/}
		[ -d "$dir" ] && return
	done
	return 1
}

has_carrier() {
	[ "$(cat "/sys/class/net/$nic/carrier" 2>/dev/null)" = 1 ]
}

dhcp() {
	busybox udhcpc -t 30 -n -q -f -i "$nic" -s /bin/true 2>&1 | grep "lease of 10.0.2."
}

set_address() {
	busybox ip addr add 10.0.2.77/24 dev "$nic"
}

# How many answers the kernel has got
replies() {
	awk '$1 == "Icmp:" { if (n) print $n; else for (n = NF; $n != "InEchoReps"; n--); }' \
		/proc/net/snmp
}

replies_are() {
	[ "$(replies)" = "$1" ]
}

# All packets must be answered. The program does not wait long for the last answer.
ping_gateway() {
	local size all

	for size in 1 64 700 1472 8000; do
		all=$(($(replies) + 20))
		busybox ping -c 20 -i 0.05 -s $size $gateway >/dev/null
		until_true 10 replies_are $all || { echo "size $size"; return 1; }
	done
}

counted() {
	cat "/sys/class/net/$nic/statistics/$1"
}

# The card's own counters
packets_moved() {
	echo "sent $(counted tx_packets), received $(counted rx_packets)"
	[ "$(counted tx_packets)" -ge 100 ] && [ "$(counted rx_packets)" -ge 100 ] &&
		[ "$(counted tx_errors)" = 0 ] && [ "$(counted rx_errors)" = 0 ]
}

# The driver must not just use buffers that stay mapped: each packet takes ops
mappings_made() {
	local n=$(($(stat_of ops_queued) - $1))

	echo "$n operations"
	[ "$(domain_type "$bdf")" = identity ] || [ $n -ge 100 ]
}

plan 9
ops=$(stat_of ops_queued)
type=$(expected_type)
check "$model is in a $type domain" type_is "$bdf" "$type"
check "the link comes up" nic_up
check "DHCP" dhcp
check "an address" set_address
check "echo of packets, all sizes" ping_gateway
check "packets counted by the card" packets_moved
check "operations of the IOMMU" mappings_made "$ops"
check "the driver goes" unbind "$bdf"
check "no operation has failed" test "$(stat_of host_ops_failed)" = 0
finish
