#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_unplug_test, run beside the guest: plugs memory in and
# takes it out when the guest asks for that. The guest's QEMU has a slot for it.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

asked() {
	until [ -e "$PVVM_SHARE/unplug-$1" ]; do
		pause 0.2
	done
}

# Each file is one request
done_with() {
	rm "$PVVM_SHARE/unplug-$1"
	touch "$PVVM_SHARE/unplug-$2"
}

while :; do
	asked plug
	pvvm-qmp "hmp object_add memory-backend-ram,id=unplug,size=128M" >/dev/null
	pvvm-qmp "hmp device_add pc-dimm,id=dimm0,memdev=unplug" >/dev/null
	done_with plug plugged
	asked del
	pvvm-qmp "hmp device_del dimm0" >/dev/null
	while pvvm-qmp query-memory-devices | grep -q dimm0; do
		pause 0.2
	done
	pvvm-qmp "hmp object_del unplug" >/dev/null
	done_with del gone
done
