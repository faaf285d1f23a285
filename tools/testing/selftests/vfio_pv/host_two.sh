#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_two.sh, run beside the guests: kills the first guest's
# QEMU in the middle of its work, when the second guest asks for it. The first one has no end
# of its own: it is killed, too, when the second one has ended without asking.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

# Its QEMU removes the file with its number
second_has_ended() {
	[ "$second" ] || second=$(cat "$PVVM_RUN/qemu2.pid" 2>/dev/null)
	[ "$second" ] && ! kill -0 "$second" 2>/dev/null
}

second=

until [ -e "$PVVM_SHARE/two-kill" ] || second_has_ended; do
	pause 0.5
done
for stats in /sys/kernel/debug/pviommu/vm*/stats; do
	echo "# $stats: $(awk '/^(ops|mappings|pages_pinned) / { printf "%s %s ", $2, $1 }' "$stats")"
done
kill -9 "$(cat "$PVVM_RUN/qemu.pid")"
touch "$PVVM_SHARE/two-killed"
