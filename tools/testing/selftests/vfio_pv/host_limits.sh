#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_stop_test, run beside the guest: sets a limit
# of the host, "NAME VALUE", whenever the guest asks for it.

while :; do
	if [ -f "$PVVM_SHARE/limit-ask" ]; then
		read -r name value <"$PVVM_SHARE/limit-ask"
		echo "$value" >"/sys/module/pviommu_host/parameters/$name"
		rm "$PVVM_SHARE/limit-ask"
	fi
	sleep 0.2
done
