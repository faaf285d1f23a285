#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Memory is unplugged while a device can reach it. Linux does not give up memory that it has
# mapped for devices, so our drivers are unloaded, and guest_unplug_test uses the interface
# itself. Needs pvvm's --share, and host_unplug.sh beside.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

[ "$PVVM_SHARE" ] || skip_all "needs --share"
bdf=$(device edu) || skip_all "no edu device"
[ -w /sys/devices/system/memory/auto_online_blocks ] || skip_all "no memory hot-plug"

unbind "$bdf"
rmmod vfio_pv pviommu_guest
echo 1 >"/sys/bus/pci/devices/$bdf/enable"
echo 1 >/proc/sys/vm/nr_hugepages
echo online_movable >/sys/devices/system/memory/auto_online_blocks
exec guest_unplug_test
