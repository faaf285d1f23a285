#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_exits.sh, run beside the guest: reads KVM's
# counters of the VM whenever the guest asks for it.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

# A trace of its own, of which only the number of events is used
TRACE=/sys/kernel/tracing/instances/exits

mkdir -p $TRACE
echo 1 >$TRACE/events/kvm/kvm_userspace_exit/enable

# Exits to user space of all vCPUs of all VMs, and the counters of each VM
counters() {
	local name

	# Those that are in the buffer, and those that had to go for them
	cat $TRACE/per_cpu/cpu*/stats |
		awk '$1 == "entries:" || $1 == "overrun:" { n += $2 } END { print "userspace", n }'
	for name in exits mmio_exits io_exits; do
		cat /sys/kernel/debug/kvm/*-*/$name |
			awk -v name=$name '{ n += $1 } END { print name, n }'
	done
}

while :; do
	if [ -f "$PVVM_SHARE/exits-ask" ]; then
		name=$(cat "$PVVM_SHARE/exits-ask")
		rm "$PVVM_SHARE/exits-ask"
		counters >"$PVVM_SHARE/exits.new"
		mv "$PVVM_SHARE/exits.new" "$PVVM_SHARE/exits-$name"
	fi
	pause 0.2
done
