# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For scripts that run in a guest: TAP, devices and their drivers, IOMMU domains,
# data written to a disk and read back. To start a program takes long there, so what is
# called often has none.

# shellcheck source=lib/pause.sh
. "${BASH_SOURCE[0]%/*}/pause.sh"

# The programs of the tests, if they are not in PATH already
PATH=$PATH:$(dirname "$(readlink -f "$0")")
STATS=/sys/kernel/debug/pv-iommu/stats
CHECK_LOG=/tmp/check.$$
TESTS=0 FAILED=0

# plan N: how many calls of "check" there will be
plan() {
	echo "TAP version 13"
	echo "1..$1"
}

say() {
	echo "# $*"
}

skip_all() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

# check NAME COMMAND..: the test passes if the command succeeds. It does not run in a
# subshell, so variables that it sets stay, and it can wait for jobs of the script.
check() {
	local name=$1 start=$SECONDS verdict=ok

	shift
	TESTS=$((TESTS + 1))
	"$@" >"$CHECK_LOG" 2>&1 || verdict="not ok"
	[ $((SECONDS - start)) -lt 3 ] || say "took $((SECONDS - start)) s"
	sed -e 's/^/# /' -e '$a\' "$CHECK_LOG"
	echo "$verdict $TESTS $name"
	[ "$verdict" = ok ] || FAILED=$((FAILED + 1))
}

# skip NAME WHY: in the place of a check
skip() {
	TESTS=$((TESTS + 1))
	echo "ok $TESTS $1 # SKIP $2"
}

finish() {
	say "$((TESTS - FAILED)) of $TESTS passed"
	[ $FAILED = 0 ]
	exit
}

# device NAME [N]: address of the Nth (0) device that pvvm has passed through
device() {
	local word n=${2:-0}

	for word in $PVVM_DEVICES; do
		[ "${word%%:*}" = "$1" ] || continue
		if [ "$n" = 0 ]; then
			echo "${word#*:}"
			return
		fi
		n=$((n - 1))
	done
	return 1
}

# unbind BDF: take a device from its driver
unbind() {
	pvvm-bind none "$@"
}

# domain_type BDF: the type of its group's default domain: DMA, DMA-FQ or identity
domain_type() {
	echo "$(<"/sys/bus/pci/devices/$1/iommu_group/type")"
}

# type_is BDF TYPE
type_is() {
	[ "$(domain_type "$1")" = "$2" ] || { domain_type "$1"; return 1; }
}

# The type of domain that the kernel's command line asks for
expected_type() {
	case " $(cat /proc/cmdline) " in
	*" iommu.passthrough=1 "*) echo identity ;;
	*" iommu.strict=1 "*) echo DMA ;;
	*) echo DMA-FQ ;;
	esac
}

# set_domain_type BDF TYPE: the device must have no driver
set_domain_type() {
	echo "$2" >"/sys/bus/pci/devices/$1/iommu_group/type" &&
		[ "$(domain_type "$1")" = "$2" ]
}

# stat_of NAME: one of the counters of the guest's IOMMU driver
stat_of() {
	local line
	local -a lines

	mapfile -t lines <$STATS
	for line in "${lines[@]}"; do
		[ "${line% *}" != "$1" ] || echo "${line#* }"
	done
}

# The host's counters for this VM
host_has() {
	local name

	for name in domains mappings pages_pinned; do
		echo "$name $(stat_of host_$name)"
	done
}

# host_has_as_in FILE: the counters are as they were at "host_has >FILE". Waits a moment, as
# what is unmapped may be flushed later
host_has_as_in() {
	until_true 10 host_same "$1" || host_has | diff "$1" -
}

host_same() {
	[ "$(host_has)" = "$(<"$1")" ]
}

# stays_loaded MODULE: it can't be unloaded, because it is in use
stays_loaded() {
	local why

	[ -d "/sys/module/$1" ] || { echo "$1 is not loaded"; return 1; }
	why=$(rmmod "$1" 2>&1) && { echo "$1 was unloaded"; return 1; }
	echo "$why"
	[ -d "/sys/module/$1" ] && [[ $why == *"is in use"* ]]
}

# host_limit NAME VALUE: have host_limits.sh set a limit of the host
host_limit() {
	echo "$1 $2" >"$PVVM_SHARE/limit-ask.new"
	mv "$PVVM_SHARE/limit-ask.new" "$PVVM_SHARE/limit-ask"
	until_true 60 test ! -e "$PVVM_SHARE/limit-ask" && return
	# It must not be set later, for another test
	rm -f "$PVVM_SHARE/limit-ask"
	return 1
}

# until_true SECONDS COMMAND..: try until it succeeds. A busy emulated machine has ten times as
# long.
until_true() {
	local end=$((SECONDS + $1 * 10))

	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		pause 0.2
	done
}

# nvme_up BDF: bind the driver; sets DISK to the block device
nvme_up() {
	modprobe nvme || return
	pvvm-bind nvme "$1" || return
	until_true 30 nvme_disk "$1"
}

nvme_disk() {
	local dir

	for dir in "/sys/bus/pci/devices/$1"/nvme/nvme*/nvme*n1; do
		DISK=/dev/${dir##*/}
		[ -b "$DISK" ] && return
	done
	return 1
}

# disk_check MIB: write random data to DISK in requests of several sizes, read it, compare. A
# quarter of it in the smallest requests, of which there would be very many.
disk_check() {
	local size block dir status=1

	dir=$(mktemp -d) || return
	for block in 4096 65536 524288; do
		status=1
		size=$(($1 << (block == 4096 ? 18 : 20)))
		head -c $size /dev/urandom >"$dir/data"
		dd if="$dir/data" of="$DISK" bs=$block oflag=direct 2>"$dir/log" || break
		dd if="$DISK" of="$dir/back" bs=$((block * 2)) iflag=direct \
			count=$((size / block / 2)) 2>"$dir/log" || break
		cmp "$dir/data" "$dir/back" || break
		rm "$dir/back"
		status=0
	done
	[ $status = 0 ] || cat "$dir/log"
	rm -r "$dir"
	return $status
}
