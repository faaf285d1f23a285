#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Programs that know VFIO's type 1 and nothing of us run unchanged, on devices
# whose interrupts need no special permission: QEMU, which passes a device on to
# a further guest; an NVMe driver in user space; DPDK, if it is installed.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

PROGRAMS=$(dirname "$(command -v guest_container_test)")
QEMU_GOOD=33

no_permission_given() {
	local module

	for module in vfio_pv vfio_iommu_type1; do
		[ "$(cat /sys/module/$module/parameters/allow_unsafe_interrupts)" = N ] || return
	done
}

# The further guest's RAM is QEMU's memory; its software finds the device, has it
# copy data in that RAM, and compares.
nested_guest() {
	pvvm-bind vfio-pci "$1" || return
	timeout 120 qemu-system-x86_64 -nodefaults -no-user-config -display none \
		-accel tcg -machine "$2" -m "$3" -bios "$PROGRAMS/nested_edu.rom" \
		-device vfio-pci,host="$1",addr=0x5 -debugcon stdio \
		-device isa-debug-exit,iobase=0xf4,iosize=4
	[ $? = $QEMU_GOOD ]
}

user_nvme() {
	pvvm-bind vfio-pci "$1" && "$PROGRAMS/../nvme/nvme" "$1" 24
}

disk_again() {
	nvme_up "$1" && disk_check 1 && unbind "$1"
}

# Two ports on one wire, each sends on what the other receives
dpdk_forwards() {
	local nr=0

	pvvm-bind vfio-pci "$1" "$2" || return
	mkdir -p /tmp/dpdk && XDG_RUNTIME_DIR=/tmp/dpdk \
		timeout 60 dpdk-testpmd -l 0,1 --no-huge --iova-mode=va -m 64 -a "$1" -a "$2" -- \
		--total-num-mbufs=2048 --tx-first --no-mlockall --stats-period 3 \
		>/tmp/dpdk/log 2>&1 < <(sleep 8)
	nr=$(grep -c 'RX-packets: [1-9]' /tmp/dpdk/log)
	[ "$nr" -gt 0 ] || { tail -n 40 /tmp/dpdk/log; return 1; }
}

nothing_left() {
	local name n

	for name in host_mappings host_pages_mapped; do
		n=$(stat_of $name)
		[ "$n" = 0 ] || { echo "$name $n"; return 1; }
	done
}

edu=$(device edu) nvme=$(device nvme) nic=$(device e1000) nic2=$(device e1000e)
plan 7
check "no permission for unsafe interrupts is given" no_permission_given
if [ "$edu" ]; then
	check "QEMU passes the device on (pc, 64 MiB)" nested_guest "$edu" pc 64
	check "QEMU passes the device on (q35, 100 MiB)" nested_guest "$edu" q35 100
else
	skip "QEMU passes the device on (pc)" "no edu device"
	skip "QEMU passes the device on (q35)" "no edu device"
fi
if [ "$nvme" ]; then
	check "NVMe driver in user space" user_nvme "$nvme"
else
	skip "NVMe driver in user space" "no nvme device"
fi
if command -v dpdk-testpmd >/dev/null && [ "$nic" ] && [ "$nic2" ]; then
	check "DPDK forwards packets" dpdk_forwards "$nic" "$nic2"
else
	skip "DPDK forwards packets" "no dpdk-testpmd, or no e1000 and e1000e"
fi
check "nothing is left mapped" until_true 10 nothing_left
if [ "$nvme" ]; then
	check "the disk is the kernel's again" disk_again "$nvme"
else
	skip "the disk is the kernel's again" "no nvme device"
fi
finish
