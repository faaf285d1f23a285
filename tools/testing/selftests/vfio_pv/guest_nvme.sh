#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The DMA API on the paravirtual IOMMU: an NVMe disk with the guest's own driver, to which
# data is written, read back and compared, in each type of domain.
#
#   guest_nvme.sh            the disk gets the type that the kernel's command line asks
#                            for, and can be given the other types
#   guest_nvme.sh --boot     only the first of these

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

boot_only=${1:-}
bdf=$(device nvme) || skip_all "no nvme device"

no_op_failed() {
	local n

	n=$(stat_of host_ops_failed)
	[ "$n" = 0 ] || { echo "$n operations failed"; return 1; }
}

# Identity takes no mappings, the other types do.
mappings_made() {
	local ops=$1 type=$2 n

	n=$(($(stat_of ops_queued) - ops))
	echo "$n operations"
	if [ "$type" = identity ]; then
		[ $n -lt 20 ]
	else
		[ $n -gt 100 ]
	fi
}

in_type() {
	local type=$1 ops

	check "$type: bound" nvme_up "$bdf"
	ops=$(stat_of ops_queued)
	check "$type: written and read back" disk_check 2
	check "$type: operations of the IOMMU" mappings_made "$ops" "$type"
	check "$type: unbound" unbind "$bdf"
}

if [ "$boot_only" ]; then
	plan 6
else
	plan 21
fi
type=$(expected_type)
check "the device is in a $type domain" type_is "$bdf" "$type"
in_type "$type"
if [ ! "$boot_only" ]; then
	for type in DMA DMA-FQ identity; do
		check "$type: set" set_domain_type "$bdf" $type
		in_type $type
	done
fi
check "no operation has failed" no_op_failed
finish
