#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run at the host level beside a guest that maps and unmaps all the time: kills its QEMU
# in the middle of that, once the guest has made the file "kill". host_clean.sh checks that
# nothing is left.

# shellcheck source=lib/host.sh
. "$(dirname "$(readlink -f "$0")")/lib/host.sh"

until [ -e "$PVVM_SHARE/kill" ] && vm=$(vm_of 1) && [ "$vm" ]; do
	pause 0.5
done
until is_at_work "$vm" 2>/dev/null; do
	pause 0.5
done
echo "# killed with $(work_of "$vm")"
# Before: with its guest this script ends, too
touch "$PVVM_SHARE/killed"
kill -9 "$(pid_of 1)"
