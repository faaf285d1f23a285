#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Programs that use VFIO's type 1, and do not know this IOMMU, run unchanged, and need no
# permission for unsafe interrupts: QEMU, which passes a device on to a further guest; two
# NVMe drivers in user space, one of them QEMU's; DPDK, if it is installed.

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

# The further guest's RAM is memory of QEMU. Its software finds the device, has it copy
# data in that RAM, and compares.
nested_guest() {
	local bdf=$1 rom=$2 machine=$3 mem=$4

	shift 4
	pvvm-bind vfio-pci "$bdf" || return
	timeout 600 qemu-system-x86_64 -nodefaults -no-user-config -display none \
		-accel tcg -machine "$machine" -m "$mem" -bios "$PROGRAMS/$rom.rom" "$@" \
		-device vfio-pci,host="$bdf",addr=0x5 -debugcon stdio \
		-device isa-debug-exit,iobase=0xf4,iosize=4
	[ $? = $QEMU_GOOD ]
}

# Both devices in one container
nested_guest_two() {
	pvvm-bind vfio-pci "$2" &&
		nested_guest "$1" nested_edu q35 100 -device vfio-pci,host="$2",addr=0x6
}

user_nvme() {
	pvvm-bind vfio-pci "$1" && "$PROGRAMS/../nvme/nvme" "$1" 24
}

# With one emulated device in three levels of emulation, QEMU's driver waits for ever for
# a completion in one run of five, on stock type 1 behind an emulated VT-d as on ours. A run that
# is only slow has more time each time.
again() {
	local i

	for ((i = 0; i < 8; i++)); do
		timeout $((10 * (i + 1))) "$@" && return
	done
	return 1
}

qemu_nvme() {
	local url=nvme://$1/1 data=/tmp/disk

	pvvm-bind vfio-pci "$1" || return
	head -c 4M /dev/urandom >$data &&
		again qemu-img convert -n -f raw -O raw $data "$url" &&
		again qemu-img dd -f raw -O raw bs=64k count=64 if="$url" of=$data.back &&
		cmp $data $data.back &&
		again qemu-io -f raw -c "write -P 0x5a 1M 1M" -c "read -P 0x5a 1M 1M" "$url"
}

disk_again() {
	nvme_up "$1" && disk_check 1 && unbind "$1"
}

dpdk_receives() {
	grep -q 'RX-packets: [1-9]' /tmp/dpdk/log
}

# dpdk_receives_or_ends PID
dpdk_receives_or_ends() {
	dpdk_receives || ! kill -0 "$1" 2>/dev/null
}

# dpdk_forwards BDF BDF OPTION..: two ports on one wire; each sends what the other one
# receives
dpdk_forwards() {
	local bdf=$1 bdf2=$2 status=0 pid

	shift 2
	pvvm-bind vfio-pci "$bdf" "$bdf2" || return
	mkdir -p /tmp/dpdk && rm -f /tmp/dpdk/log
	# It ends with its standard input, which this one never does
	XDG_RUNTIME_DIR=/tmp/dpdk dpdk-testpmd -l 0,1 --iova-mode=va "$@" \
		-a "$bdf" -a "$bdf2" -- \
		--total-num-mbufs=2048 --tx-first --no-mlockall --stats-period 2 \
		>/tmp/dpdk/log 2>&1 <&"$_NOTHING" &
	pid=$!
	until_true 180 dpdk_receives_or_ends $pid
	dpdk_receives || { tail -n 40 /tmp/dpdk/log; status=1; }
	kill -9 $pid
	wait $pid 2>/dev/null
	return $status
}

# DPDK maps huge pages when it needs them, and unmaps them when it does not
dpdk_huge() {
	local status

	mkdir -p /tmp/huge && echo 64 >/proc/sys/vm/nr_hugepages &&
		mount -t hugetlbfs none /tmp/huge || return
	dpdk_forwards "$1" "$2" --huge-dir /tmp/huge
	status=$?
	umount /tmp/huge && echo 0 >/proc/sys/vm/nr_hugepages
	return $status
}

nothing_left() {
	local name n

	for name in host_mappings host_pages_mapped; do
		n=$(stat_of $name)
		[ "$n" = 0 ] || { echo "$name $n"; return 1; }
	done
}

edu=$(device edu) nvme=$(device nvme) nic=$(device e1000) nic2=$(device e1000e)
plan 11
check "no permission for unsafe interrupts is given" no_permission_given
if [ "$edu" ]; then
	check "QEMU passes the device on (pc, 64 MiB)" nested_guest "$edu" nested_edu pc 64
	check "QEMU passes the device on (q35, 100 MiB)" nested_guest "$edu" nested_edu q35 100
	check "QEMU passes the device on behind an IOMMU" \
		nested_guest "$edu" nested_vtd q35 100 -device intel-iommu,caching-mode=on
else
	skip "QEMU passes the device on (pc)" "no edu device"
	skip "QEMU passes the device on (q35)" "no edu device"
	skip "QEMU passes the device on behind an IOMMU" "no edu device"
fi
if [ "$edu" ] && [ "$nvme" ]; then
	check "QEMU passes two devices on" nested_guest_two "$edu" "$nvme"
else
	skip "QEMU passes two devices on" "no edu and nvme devices"
fi
if [ "$nvme" ]; then
	check "NVMe driver in user space" user_nvme "$nvme"
else
	skip "NVMe driver in user space" "no nvme device"
fi
if [ "$nvme" ] && command -v qemu-img >/dev/null; then
	check "QEMU's NVMe driver" qemu_nvme "$nvme"
else
	skip "QEMU's NVMe driver" "no nvme device, or no qemu-img"
fi
if command -v dpdk-testpmd >/dev/null && [ "$nic" ] && [ "$nic2" ]; then
	check "DPDK forwards packets" dpdk_forwards "$nic" "$nic2" --no-huge -m 64
	check "DPDK with huge pages" dpdk_huge "$nic" "$nic2"
else
	skip "DPDK forwards packets" "no dpdk-testpmd, or no e1000 and e1000e"
	skip "DPDK with huge pages" "no dpdk-testpmd, or no e1000 and e1000e"
fi
check "nothing is left mapped" until_true 10 nothing_left
if [ "$nvme" ]; then
	check "the disk is the kernel's again" disk_again "$nvme"
else
	skip "the disk is the kernel's again" "no nvme device"
fi
finish
