#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_stop_test and guest_refused.sh, run beside the guest: sets a
# limit of the host, "NAME VALUE", whenever the guest asks for it. "attach refuse" has the host
# refuse to attach devices to domains, until "attach allow"; on a kernel without fault injection
# the file "limit-unable" says that it can't.

FAIL=/sys/kernel/debug/fail_function

attach() {
	mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
	[ -e $FAIL ] || { touch "$PVVM_SHARE/limit-unable"; return; }
	case $1 in
	refuse)
		echo hw_move_group >$FAIL/inject
		echo 0xfffffffffffffffb >$FAIL/hw_move_group/retval	# -EIO
		echo -1 >$FAIL/times
		echo 0 >$FAIL/verbose
		echo 100 >$FAIL/probability
		;;
	allow)
		echo 0 >$FAIL/probability
		echo >$FAIL/inject
		;;
	esac
}

while :; do
	if [ -f "$PVVM_SHARE/limit-ask" ]; then
		read -r name value <"$PVVM_SHARE/limit-ask"
		case $name in
		attach) attach "$value" ;;
		*) echo "$value" >"/sys/module/pviommu_host/parameters/$name" ;;
		esac
		rm "$PVVM_SHARE/limit-ask"
	fi
	sleep 0.2
done
