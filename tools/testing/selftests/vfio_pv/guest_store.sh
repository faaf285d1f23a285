#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest's kernel that asks for a mapping of device memory is refused, and pages that are
# mapped beside it stay (see modules/pviommu_test_store.c). Needs an edu device.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

edu=$(device edu) || skip_all "no edu device"

plan 2
failed=$(stat_of host_ops_failed)
check "device memory is refused, pages beside it stay" pvvm-load pviommu_test_store "device=$edu"
check "no operation has failed" test "$(stat_of host_ops_failed)" = "$failed"
rmmod pviommu_test_store 2>/dev/null
finish
