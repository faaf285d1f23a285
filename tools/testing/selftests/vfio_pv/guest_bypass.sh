#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that begins without our drivers, and reboots. The disk works in the host's
# bypass, and still works when the driver is loaded later. It can be moved to a domain of
# its own and back. It is in bypass again when the driver is unloaded, or when the guest
# restarts, in whatever state it was.
#
# Run with pvvm's --no-guest-drivers --guest-reboots 2 --guest-may-die.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

bdf=$(device nvme) || skip_all "no nvme device"

no_group() {
	[ ! -e "/sys/bus/pci/devices/$bdf/iommu_group" ]
}

# Load and unload the IOMMU driver while the disk has its own driver
late() {
	check "the disk keeps its driver when pviommu_guest is loaded" pvvm-load pviommu_guest
	check "its domain is identity" type_is "$bdf" identity
	check "written and read back" disk_check 1
}

own_domain() {
	check "unbound" unbind "$bdf"
	check "domain set to DMA-FQ" set_domain_type "$bdf" DMA-FQ
	check "bound" nvme_up "$bdf"
	check "written and read back" disk_check 1
}

first_boot() {
	plan 15
	check "no IOMMU" no_group
	check "bound" nvme_up "$bdf"
	check "bypass: written and read back" disk_check 1
	late
	own_domain
	check "unbound" unbind "$bdf"
	check "the driver goes" rmmod pviommu_guest
	check "no IOMMU again" no_group
	check "bound" nvme_up "$bdf"
	check "bypass: written and read back" disk_check 1
}

# Each later boot begins like the first one, and ends in the middle of DMA.
next_boot() {
	plan 10
	check "no IOMMU" no_group
	check "bound" nvme_up "$bdf"
	check "bypass: written and read back" disk_check 1
	late
	own_domain
}

# Requests are under way when the guest restarts.
busy() {
	dd if=/dev/zero of="$DISK" bs=64k oflag=direct count=200 2>/dev/null &
	sleep 1
}

say "boot number $PVVM_BOOT"
[ -z "$PVVM_SHARE" ] || echo $((PVVM_BOOT + 1)) >"$PVVM_SHARE/boots"
case $PVVM_BOOT in
0)
	first_boot
	pvvm-load pviommu_guest
	unbind "$bdf"
	set_domain_type "$bdf" DMA-FQ
	nvme_up "$bdf"
	say "reboot"
	[ $FAILED = 0 ] || exit 1
	busy
	busybox reboot -f
	;;
1)
	next_boot
	say "crash"
	[ $FAILED = 0 ] || exit 1
	busy
	echo c >/proc/sysrq-trigger
	;;
*)
	next_boot
	say "end"
	;;
esac
finish
