#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# Run by guest_pasid.sh in a busybox shell that is all in memory. A domain is attached by
# PASID. The machine is suspended to RAM, by which the host loses that, and woken by its clock;
# then the domain must be attached again.

params=/sys/module/pviommu_test_user/parameters
cookie=/sys/module/pviommu_guest/parameters/cookie
rtc=/sys/class/rtc/rtc0/wakealarm
tests=0

# By the kernel's log, as in guest_asleep.sh
check() {
	local name=$1 verdict=ok

	shift
	tests=$((tests + 1))
	"$@" >/dev/null 2>&1 || verdict="not ok"
	echo "<1>guest_asleep: $verdict $tests $name" >/dev/kmsg
}

sleep_and_wake() {
	cat $cookie >/tmp/cookie
	echo 0 >$rtc
	echo +6 >$rtc && echo mem >/sys/power/state &&
		[ "$(cat $cookie)" != "$(cat /tmp/cookie)" ]
}

reached() {
	[ "$(cat $params/reached)" = "$1" ]
}

detach() {
	echo 0 >$params/attach && reached 0
}

echo on >/proc/sys/kernel/printk_devkmsg
check "reached" reached 1
check "slept, and the interface has started anew" sleep_and_wake
check "reached as before" reached 1
check "detached" detach
echo b >/proc/sysrq-trigger
sleep 60
