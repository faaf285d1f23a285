#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run at the host level beside a guest that maps and unmaps all the time: kills its QEMU
# in the middle of that, once the guest has made the file "kill". host_clean.sh checks that
# nothing is left.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

# The counters of the only VM
counter() {
	awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/pviommu/vm*/stats
}

enough() {
	[ -e "$PVVM_SHARE/kill" ] && [ "$(counter mappings)" -ge 8 ] && [ "$(counter ops)" -ge 2000 ]
}

until enough 2>/dev/null; do
	pause 0.5
done
echo "# killed with $(counter mappings) mappings, $(counter pages_pinned) pages pinned, after $(counter ops) operations"
kill -9 "$(cat "$PVVM_RUN/qemu.pid")"
