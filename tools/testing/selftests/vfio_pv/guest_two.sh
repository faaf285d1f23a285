#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Two guests at the same time, with an edu device each. The first one maps and unmaps until
# host_two.sh kills its QEMU; the second one uses its device meanwhile and afterwards. Needs
# pvvm's --guests 2, --guest-may-die and --share. What the first one does is told by the host's
# counters: host_two.sh makes "two-busy" when it is at work, and "two-killed" if it still was.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

[ "$PVVM_SHARE" ] || skip_all "needs --share"
bdf=$(device edu) || skip_all "no edu device"

# The first guest prints no test results: it is killed before it could end
if [ "$PVVM_GUEST" = 1 ]; then
	pvvm-bind vfio-pci "$bdf"
	guest_map_load 0 16
	sleep 600
fi

killed() {
	touch "$PVVM_SHARE/two-kill"
	until_true 60 test -e "$PVVM_SHARE/two-killed"
}

# Some ops of the test are meant to fail. The other guest must not add to them: no op has
# failed before the test, and in its second run as many fail as in the first.
failed() {
	stat_of host_ops_failed
}

same_ops_fail() {
	local now
	now=$(failed)
	[ "$at_start" = 0 ] && [ "$now" = $((2 * once)) ] && return
	echo "ops failed: $at_start at the start, $once after one run, $now after two"
	return 1
}

# All but a test that is long
flushes() {
	guest_flush_test -T no_vaddr_for_unflushed
}

plan 6
check "device" pvvm-bind vfio-pci "$bdf"
check "the other guest is at work" until_true 120 test -e "$PVVM_SHARE/two-busy"
at_start=$(failed)
check "pages flushed and not, beside it" flushes
once=$(failed)
check "the other guest's QEMU is killed in the midst of its work" killed
check "pages flushed and not, after that" flushes
check "the other guest's work makes no operation fail" same_ops_fail
[ $FAILED != 0 ] || echo good >"$PVVM_SHARE/verdict"
finish
