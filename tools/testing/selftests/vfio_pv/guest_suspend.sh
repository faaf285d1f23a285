#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Suspend to RAM with a disk in use in a domain of its own. Files on 9p can't be used
# afterwards, as Linux can't suspend 9p: guest_asleep.sh goes on without them, and writes
# its results to the console. host_suspend.sh passes them on.
#
# Run with pvvm's --guest-may-die.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

disk=$(device nvme) || skip_all "no nvme device"
grep -q deep /sys/power/mem_sleep || skip_all "no suspend to RAM"

plan 3
check "the disk is in a DMA-FQ domain" type_is "$disk" DMA-FQ
check "the disk has its driver" nvme_up "$disk"
check "written and read back" disk_check 1
[ $FAILED = 0 ] || finish

mkdir /tmp/bin
"$PVVM_RUN/busybox" --install -s /tmp/bin
cp "$(dirname "$(readlink -f "$0")")/guest_asleep.sh" /tmp
cd /tmp || exit
PATH=/tmp/bin exec "$PVVM_RUN/busybox" sh /tmp/guest_asleep.sh "$DISK" "${PV_CYCLES:-20}" "${PV_SLEEPS:-1}"
