#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_stop_test and guest_refused.sh, run beside the guests: sets a
# limit of the host, "NAME VALUE", whenever the guest asks for it. "attach refuse" has the host
# refuse to attach devices to domains, until "attach allow". What can't be set stays asked for,
# which the guest's test does not wait for for ever.

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

attach() {
	case $1 in
	refuse) pvvm-load pviommu_test_refuse ;;
	allow) rmmod pviommu_test_refuse ;;
	esac
}

while :; do
	if [ -f "$PVVM_SHARE/limit-ask" ]; then
		read -r name value <"$PVVM_SHARE/limit-ask"
		case $name in
		attach) attach "$value" ;;
		*) echo "$value" >"/sys/module/pviommu_host/parameters/$name" ;;
		esac && rm "$PVVM_SHARE/limit-ask"
	fi
	pause 0.2
done
