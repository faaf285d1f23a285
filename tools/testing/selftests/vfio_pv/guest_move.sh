#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Endpoints move between domains while others are at work. One edu device does DMA all
# the time, another one enters and leaves containers, and the NVMe disk is unbound from
# its driver, gets another type of domain, and is bound again, with data written and read
# in between. Needs two edu devices bound to vfio-pci.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

disk=$(device nvme) || skip_all "no nvme device"

move_disk() {
	local type

	while kill -0 "$1" 2>/dev/null; do
		for type in DMA identity DMA-FQ; do
			set_domain_type "$disk" $type && nvme_up "$disk" &&
				disk_check 1 && unbind "$disk" || return
			rounds=$((rounds + 1))
		done
	done
	echo "the disk moved $rounds times"
}

at_work() {
	wait $load
	status=$?
	grep -v '^TAP\|^1\.\.\|^ok' /tmp/move.log
	return $status
}

plan 4
failed=$(stat_of host_ops_failed)
check "devices" pvvm-bind vfio-pci "$(device edu 0)" "$(device edu 1)"
guest_isolation_test -t move_under_load >/tmp/move.log 2>&1 &
load=$!
rounds=0
check "disk in and out of its driver" move_disk $load
check "edu devices, one at work and one in and out of containers" at_work
check "no operation has failed" test "$(stat_of host_ops_failed)" = "$failed"
finish
