#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Modules of the host can't be unloaded while they are in use; otherwise they can be unloaded and
# loaded again, as often as PV_CYCLES says. Needs pvvm-load and pvvm-bind, so a machine of
# pvvm.

set -u

DRIVER=/sys/bus/pci/drivers/pviommu-vfio-pci
MODULES=(pviommu_vfio_pci pviommu_kvm pviommu_host)
N=0
TIMES=${PV_CYCLES:-20}

result() {
	local verdict=ok

	[ "$1" = 0 ] || verdict="not ok"
	N=$((N + 1))
	echo "$verdict $N $2"
}

# refused MODULE: it can't be unloaded, because it is in use, and it stays
refused() {
	local why

	loaded "$1" || return
	why=$(rmmod "$1" 2>&1) && return 1
	echo "# $why"
	loaded "$1" && [[ $why == *"is in use"* ]]
}

all() {
	local one

	for one in "${@:2}"; do
		"$1" "$one" || return
	done
}

loaded() {
	[ -d "/sys/module/$1" ]
}

unloaded() {
	! loaded "$1"
}

unbind() {
	pvvm-bind none "$1"
}

bind() {
	pvvm-bind pviommu_vfio_pci "$1"
}

come_and_go() {
	all unbind "${DEVICES[@]}" && rmmod "${MODULES[@]}" &&
		all pvvm-load "${MODULES[@]}" && all bind "${DEVICES[@]}"
}

again_and_again() {
	local n

	for ((n = 1; n <= TIMES; n++)); do
		come_and_go || { echo "# time $n"; return 1; }
	done
	echo "# unloaded and loaded $TIMES times"
}

if ! command -v pvvm-load >/dev/null; then
	echo "1..0 # SKIP needs a machine of pvvm"
	exit 4
fi
mapfile -t DEVICES < <(cd "$DRIVER" 2>/dev/null && ls -d 0000:* 2>/dev/null)
if [ ${#DEVICES[@]} = 0 ]; then
	echo "1..0 # SKIP needs a device bound to pviommu-vfio-pci"
	exit 4
fi

echo "TAP version 13"
echo "1..10"

refused pviommu_host
result $? "host_modules.engine_stays_while_it_has_users"

all unbind "${DEVICES[@]}"
result $? "host_modules.devices_are_unbound"

rmmod "${MODULES[@]}"
result $? "host_modules.modules_are_unloaded"
all unloaded "${MODULES[@]}"
result $? "host_modules.modules_are_gone"
[ ! -e /sys/kernel/debug/pviommu ]
result $? "host_modules.debugfs_is_gone"

all pvvm-load "${MODULES[@]}" && all loaded "${MODULES[@]}"
result $? "host_modules.modules_are_loaded_again"
all bind "${DEVICES[@]}"
result $? "host_modules.devices_are_bound_again"
[ "$(grep -vc ' 0$' /sys/kernel/debug/pviommu/totals)" = 0 ]
result $? "host_modules.counters_start_at_zero"

again_and_again
result $? "host_modules.unloaded_and_loaded_again_and_again"
[ "$(grep -vc ' 0$' /sys/kernel/debug/pviommu/totals)" = 0 ]
result $? "host_modules.counters_start_at_zero_again"
