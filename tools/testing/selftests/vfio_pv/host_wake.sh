#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run at the host level beside a guest that sleeps: the alarm that should wake it may have come
# before it slept, as a slow machine takes long for that. Then its QEMU wakes it.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

sleeps() {
	[[ $(pvvm-qmp query-status 2>/dev/null) == *'"suspended"'* ]]
}

# In between, an alarm that is yet to come has come; a second sleep may begin, and be short
while :; do
	pause 10
	if sleeps && pause 10 && sleeps; then
		pvvm-qmp system_wakeup >/dev/null && echo "# woken by its QEMU"
	fi
done
