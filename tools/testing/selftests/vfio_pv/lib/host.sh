# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For scripts that run at the host level beside guests: which QEMU and which VM are a guest's,
# and how much it has done. The first guest is number 1.

# shellcheck source=lib/pause.sh
. "${BASH_SOURCE[0]%/*}/pause.sh"

# If the tests are run from the source tree, the program is elsewhere
pvctl() {
	"${PVCTL:-${BASH_SOURCE[0]%/*}/../../../../../build/user/pvctl/pvctl}" "$@"
}

# pid_of GUEST: its QEMU
pid_of() {
	cat "$PVVM_RUN/qemu${1#1}.pid"
}

# vm_of GUEST: the number of its VM, nothing if it has none
vm_of() {
	local pid

	pid=$(pid_of "$1" 2>/dev/null) || return
	pvctl vm | awk -v pid="$pid" '$1 == "vm" && $3 == "pid" && $4 == pid { print $2 }'
}

# counter_of VM NAME
counter_of() {
	awk -v name="$2" '$1 == name { print $2 }' "/sys/kernel/debug/pviommu/vm$1/stats"
}

# is_at_work VM: does it map and unmap, and have something mapped? guest_map_load does.
is_at_work() {
	[ "$(counter_of "$1" mappings)" -ge 8 ] && [ "$(counter_of "$1" ops)" -ge 2000 ]
}

# work_of VM: in words
work_of() {
	echo "$(counter_of "$1" mappings) mappings, $(counter_of "$1" pages_pinned) pages pinned," \
		"after $(counter_of "$1" ops) operations"
}
