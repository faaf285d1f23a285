#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# Run by guest_suspend.sh in a busybox shell, all of whose programs and files are
# in memory:
#
#   guest_asleep.sh DISK NAPS SLEEPS
#
# The clock's alarm wakes the machine. For a nap, all devices are suspended as for a sleep, but
# the kernel resumes at once; that takes little time, so there can be many. The host's counters
# for the machine must be the same afterwards.

disk=$1
naps=$2
sleeps=$3
pm=/sys/power
rtc=/sys/class/rtc/rtc0/wakealarm
cookie=/sys/module/pviommu_guest/parameters/cookie
stats=/sys/kernel/debug/pv-iommu/stats
pools=$(echo /sys/bus/pci/drivers/nvme/*:*/pools)
tests=0

# By the kernel's log: its own messages could break a line that is written to the console
tell() {
	echo "<1>guest_asleep: $*" >/dev/kmsg
}

check() {
	local name=$1 verdict=ok line

	shift
	tests=$((tests + 1))
	"$@" >/tmp/check.log 2>&1 || verdict="not ok"
	while read -r line; do
		tell "# $line"
	done </tmp/check.log
	tell "$verdict $tests $name"
}

# Data that is written to the disk now, and read when the machine has slept
write_data() {
	head -c 1048576 /dev/urandom >/tmp/data
	dd if=/tmp/data of="$disk" bs=64k seek=128 oflag=direct
}

read_data() {
	dd if="$disk" of=/tmp/back bs=64k skip=128 count=16 iflag=direct &&
		cmp /tmp/data /tmp/back
}

write_and_read() {
	write_data && read_data
}

go_to_sleep() {
	cat $cookie >/tmp/cookie
	echo 0 >$rtc
	echo +6 >$rtc && echo mem >/sys/power/state
}

started_anew() {
	[ "$(cat $cookie)" != "$(cat /tmp/cookie)" ]
}

# A process is frozen in the middle of its work, and goes on when the machine is awake again. It
# has no output: writing to a file on 9p, which does not answer any more, can't be frozen.
start_requests() {
	dd if=/dev/zero of="$disk" bs=64k seek=256 count=700 oflag=direct 2>/dev/null &
	requests=$!
}

sleep_at_work() {
	start_requests
	go_to_sleep && started_anew && wait $requests && read_data
}

take_sleeps() {
	local n=0

	while [ $n -lt "$sleeps" ]; do
		sleep_at_work || { echo "sleep $n"; return 1; }
		n=$((n + 1))
	done
	echo "$n times"
}

# The disk's driver has pools of pages for DMA. It takes one when a request first has its memory
# in many pieces, which is a matter of luck, and keeps it.
pool_pages() {
	local line n=0

	while read -r line; do
		[ "${line%% *}" = poolinfo ] || n=$((n + ${line##* }))
	done <$pools
	echo $n
}

# The number of mappings is not compared: several may be one when they are made again
host_has() {
	local name value in_pools

	in_pools=$(pool_pages)
	grep -E '^host_(domains|pages_mapped|pages_pinned) ' $stats | while read -r name value; do
		[ $name = host_domains ] || value=$((value - in_pools))
		echo "$name $value"
	done
}

# What was unmapped may be flushed a moment later: the same twice
host_has_settled() {
	host_has >/tmp/host-has
	until sleep 1 && host_has | cmp -s /tmp/host-has -; do
		host_has >/tmp/host-has
	done
}

host_has_as_before() {
	local n=0

	until host_has | cmp -s /tmp/host-has -; do
		n=$((n + 1))
		[ $n -lt 150 ] || { host_has; echo; cat /tmp/host-has $pools; return 1; }
		sleep 0.2
	done
}

can_nap() {
	grep -q core $pm/pm_test && echo 0 >/sys/module/suspend/parameters/pm_test_delay
}

take_a_nap() {
	cat $cookie >/tmp/cookie
	echo core >$pm/pm_test && echo mem >$pm/state && started_anew && read_data
}

# Requests are under way most of the time
take_naps() {
	local n=0

	while [ $n -lt "$naps" ]; do
		dd if=/dev/zero of="$disk" bs=64k seek=256 count=100 oflag=direct 2>/dev/null &
		take_a_nap || { echo "nap $n"; return 1; }
		wait $! || return
		n=$((n + 1))
	done
	echo none >$pm/pm_test
	echo "$n times"
}

no_op_failed() {
	grep 'host_ops_failed *0$' $stats
}

echo on >/proc/sys/kernel/printk_devkmsg
check "written" write_data
host_has_settled
check "slept" go_to_sleep
check "the interface has started anew" started_anew
check "what was written is there" read_data
check "the host has as much for it as before" host_has_as_before
check "written and read back" write_and_read
check "slept with requests under way" take_sleeps
check "the host has as much for it as before" host_has_as_before
check "the kernel can nap" can_nap
check "naps with requests under way" take_naps
check "the host has as much for it as before" host_has_as_before
check "written and read back" write_and_read
check "no operation has failed" no_op_failed
# This ends QEMU. No program is used for it, as the files on 9p do not answer any more.
echo b >/proc/sysrq-trigger
sleep 60
