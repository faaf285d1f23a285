#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest with our drivers restarts in the middle of DMA, each time in another way: reboot,
# panic, reset by the VMM, kexec. The next kernel can start the interface, the disk has what
# the last kernel wrote, and an edu device works by VFIO. PV_REBOOTS says how often; of very
# many boots, most look at the counters only.
#
# Run with pvvm's --guest-reboots for as many and --guest-may-die, and host_reset.sh beside.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

disk=$(device nvme) || skip_all "no nvme device"
edu=$(device edu) || skip_all "no edu device"
WAYS=(reboot panic reset kexec)

doorbell_by_page() {
	dmesg | grep 'pv-iommu: .*doorbell by page'
}

# What the last boot has written to the disk's 9th MiB; each boot writes something else
kept_data() {
	if [ "$PVVM_BOOT" != 0 ]; then
		dd if="$DISK" of=/tmp/kept bs=1M skip=8 count=1 iflag=direct 2>&1 &&
			cmp /tmp/kept "$PVVM_SHARE/kept" || return
	fi
	head -c 1M /dev/urandom >/tmp/kept && cp /tmp/kept "$PVVM_SHARE/kept" &&
		dd if=/tmp/kept of="$DISK" seek=8 bs=1M oflag=direct 2>&1
}

edu_is_bound() {
	pvvm-bind vfio-pci "$edu"
}

edu_by_vfio() {
	edu_is_bound && guest_container_test -V type1 -V type1v2 -t dma_both_ways
}

# When a kernel has just started, the host's counters are as they were for the first one
host_has_no_more() {
	[ "$PVVM_BOOT" != 0 ] || host_has >"$PVVM_SHARE/host-has" || return
	host_has_as_in "$PVVM_SHARE/host-has"
}

no_op_failed() {
	[ "$(stat_of host_ops_failed)" = 0 ]
}

# Memory is mapped and unmapped, and requests are under way if the disk is in use, when the
# guest restarts.
busy() {
	guest_map_load 0 16 >/tmp/load.log &
	[ -z "${DISK:-}" ] ||
		dd if=/dev/zero of="$DISK" bs=64k oflag=direct seek=256 count=700 2>/dev/null &
	until_true 20 grep -q ready /tmp/load.log
}

# All of the checks take longer than the boot
only_counters() {
	[ "${PV_REBOOTS:-4}" -gt 40 ] && [ $((PVVM_BOOT % 9)) != 0 ]
}

check_counters() {
	plan 4
	check "the interface has started" doorbell_by_page
	check "the host has as much for it as for the first kernel" host_has_no_more
	check "edu has its driver" edu_is_bound
	check "no operation has failed" no_op_failed
}

check_all() {
	plan 8
	check "the interface has started" doorbell_by_page
	check "the host has as much for it as for the first kernel" host_has_no_more
	check "the disk is in a DMA-FQ domain" type_is "$disk" DMA-FQ
	check "the disk has its driver" nvme_up "$disk"
	check "what was written before is there" kept_data
	check "written and read back" disk_check 1
	check "edu by VFIO" edu_by_vfio
	check "no operation has failed" no_op_failed
}

restart() {
	say "$1"
	case $1 in
	reboot) busybox reboot -f ;;
	panic) echo c >/proc/sysrq-trigger ;;
	reset) touch "$PVVM_SHARE/reset-ask" ;;
	kexec) guest_kexec "$PVVM_RUN/kernel" "$PVVM_RUN/initramfs" "$(cat /proc/cmdline)" ;;
	esac
	sleep 60
	say "nothing has come of it"
}

way=
[ "$PVVM_BOOT" -ge "${PV_REBOOTS:-4}" ] || way=${WAYS[PVVM_BOOT % ${#WAYS[@]}]}
say "boot number $PVVM_BOOT"
echo $((PVVM_BOOT + 1)) >"$PVVM_SHARE/boots"
if only_counters; then
	check_counters
else
	check_all
fi
if [ $FAILED = 0 ] && [ "$way" ]; then
	busy
	restart "$way"
	exit 1
fi
finish
