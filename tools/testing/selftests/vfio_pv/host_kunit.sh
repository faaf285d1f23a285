#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The KUnit tests of the host engine. Needs pvvm-load, so a machine of pvvm.

set -u

MODULE=pviommu_mapping_kunit
RESULTS=/sys/kernel/debug/kunit/pviommu_mapping/results

skip() {
	echo "1..0 # SKIP $*"
	exit 4
}

grep -q "^$MODULE " /run/pvvm/own-modules || skip "this kernel has no KUnit"
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
# KUnit may be built to run nothing unless told
pvvm-load kunit enable=1 autorun=1 && pvvm-load "$MODULE" || exit 1
# Cases are indented below their suite
sed -n 's/^    \(1\.\.[0-9]*\)$/\1/p; s/^    \(\(not \)\?ok .*\)/\1/p' "$RESULTS"
grep -q '^ok' "$RESULTS" && ! grep -q 'not ok' "$RESULTS"
status=$?
rmmod "$MODULE"
exit $status
