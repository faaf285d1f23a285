#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_restart.sh, run beside the guest: has its QEMU
# reset it whenever it asks for that.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

while :; do
	until [ -f "$PVVM_SHARE/reset-ask" ]; do
		pause 0.5
	done
	rm "$PVVM_SHARE/reset-ask"
	pvvm-qmp system_reset
done
