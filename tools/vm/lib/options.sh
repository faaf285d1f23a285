# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The command line.

VIOMMU=pv
DEVICES=()
PLACES=()
HOST_IOMMU=intel
HOST_IOMMU_PROPS=
HOST_CMD=''
HOST_BG=''
HOST_AFTER=''
GUEST_CMD=''
HOST_ONLY=0
HOST_ARGS=''
GUEST_ARGS=''
HOST_MEM=2560
HOST_CPUS=''
GUEST_MEM=512
GUESTS=1
GUEST_CPUS=2
HOST_MODPARAMS=''
GUEST_MODPARAMS=''
GUEST_DRIVERS=1
GUEST_REBOOTS=0
GUEST_MAY_DIE=0
QEMU_ARGS=
SHARE=
TIMEOUT=300
LOG_DIR=
ACCEL=tcg
HOST_KERNEL=${PVVM_KERNEL:-6.12}
GUEST_KERNEL=${PVVM_KERNEL:-6.12}
QEMU=${PVVM_QEMU:-qemu-system-x86_64}
VERBOSE=0

usage() {
	cat <<'END'
usage: pvvm [options]

Boots an emulated machine (the host level) with an IOMMU and devices, starts a
guest in it with the installed QEMU, passes the devices through, and runs your
commands. Their output goes to stdout; pvvm's exit status is theirs.

What is emulated
  --host-iommu intel|amd[:PROP=VAL..]
                              IOMMU of the host level (intel)
  --device NAME[:PROP=VAL..]  device to pass through: edu, nvme, igb, e1000e, or
                              another PCI device of QEMU; repeat it or give a list.
                              NAME:port puts a device that is not PCIe behind a root
                              port; NAME:with makes it a further function of the
                              device before it, with which it shares an isolation
                              group
  --viommu pv|virtio|intel|none
                              IOMMU that the guest sees (pv)
  --accel tcg|kvm             run the host level emulated (tcg) or with real
                              nested virtualization
  --kernel 6.12|lab|DIR       kernel of both levels: Debian's 6.12 (default), the
                              lab kernel, with KASAN, lockdep and the like (tools/
                              build/lab-kernel; the first run that uses it builds it),
                              or one in DIR, with boot/vmlinuz-* and lib/modules/*
  --host-kernel, --guest-kernel 6.12|lab|DIR
                              kernel of one level
  --guests N                  number of guests at a time (1). Devices are dealt to them
                              in turn: with 2, the first and third go to guest 1, the
                              second and fourth to guest 2, each to the same slot as
                              at the host level
  --guest-mem MiB             memory of each guest (512)
  --guest-cpus N              CPUs of each guest (2)
  --host-mem MiB              memory of the host level (2560)
  --host-cpus N               CPUs of the host level (as many as the guest has, at
                              least 2; but 1 if the emulating QEMU is older than 8.1,
                              which is not safe with more: see outer.sh)
  --host-args ARGS            more kernel arguments for the host level
  --guest-args ARGS           more kernel arguments for the guest
  --qemu-args ARGS            more arguments for the guest's QEMU
  --host-modparams "MOD.PARAM=VAL ..."
  --guest-modparams "MOD.PARAM=VAL ..."
                              parameters for modules that pvvm loads
  --no-guest-drivers          do not load the pv-iommu modules in the guest

What is run
  --host-cmd CMD              at the host level, before the guest starts
  --host-bg CMD               at the host level, while the guest runs; killed when it
                              has ended
  --guest-cmd CMD             in each guest; PVVM_GUEST is the guest's number
  --host-after CMD            at the host level, after the guest has ended
  --host-only                 no guest
  --guest-reboots N           the guest may reboot N times; the guest command is
                              run on each boot, with PVVM_BOOT=0,1,..
  --guest-may-die             a guest that ends early or panics is no failure
  --share DIR                 DIR is /share at both levels, read-write
  --timeout S                 give up after S seconds (300)
  --log DIR                   keep the logs there
  -v, --verbose               report each stage when it is reached

Each level sees this machine's files read-only, with its own /tmp, /run, /dev.
Commands start in the current directory and have in their environment
  PVVM_LEVEL     host or guest           PVVM_VIOMMU   the --viommu option
  PVVM_DEVICES   "edu:0000:00:10.0 .."   PVVM_SHARE    /share, or nothing
  PVVM_MODULES   pv-iommu's modules      PVVM_RELEASE  kernel release
  PVVM_GUEST     in a guest: 1, or 2, ..; all guests share the files of PVVM_SHARE
  PVVM_RUN       a directory; at the host level with qemu.pid and qmp.sock of the
                 guest, qemu2.pid and qmp2.sock of the second, ..;
                 in the guest with kernel and initramfs, for kexec
and on their PATH
  pvvm-load MODULE [PARAM=VAL..]         load a module and those that it needs
  pvvm-bind DRIVER|none BDF..            bind devices to a driver
  pvvm-qmp [-g GUEST|-m] COMMAND         at the host level: send a command to the guest's
                                         QEMU, or (-m) to the one that emulates the
                                         machine, where device i is dev<i> and its root
                                         port rp<i>

Exit status: that of the guest command, or of the host command that failed; with several
  guests, that of the first one that failed;
  2 usage, 3 kernel splat at either level, 4 setup failed,
  5 a kernel hung or died before it had loaded a module of pv-iommu,
  6 a guest in suspend to RAM was not woken before the timeout,
  7 a kernel died of an interrupt that the emulated processor delivered twice, or with
    flags that no processor has,
  8 the host level gave no sign of life for minutes, and its kernel had nothing to say,
  124 any other timeout,
  125 the guest ended before its command, 128+N its QEMU was killed by signal N.

Examples
  pvvm --device edu --guest-cmd 'ls /sys/kernel/iommu_groups'
  pvvm --viommu virtio --device nvme --share /tmp/out \
       --guest-cmd 'pvvm-bind nvme ${PVVM_DEVICES#*:}; cat /proc/partitions'
  pvvm --host-only --device edu,nvme --host-cmd ./run-host-tests
END
}

# A list may be separated by commas or spaces.
add_devices() {
	local name

	for name in ${1//,/ }; do
		DEVICES+=("$name")
	done
}

one_of() {
	local option=$1 value=$2 allowed

	shift 2
	for allowed; do
		[ "$value" = "$allowed" ] && return 0
	done
	usage_error "$option does not take \"$value\"; it takes one of: $*"
}

# "my-mod.some-param=1" to "my_mod.some-param=1"
canonical_params() {
	local word out=''

	for word in $1; do
		case $word in
		?*.?*=*) ;;
		*) usage_error "\"$word\" is not MODULE.PARAMETER=VALUE" ;;
		esac
		out="$out${out:+ }$(tr - _ <<<"${word%%.*}").${word#*.}"
	done
	echo "$out"
}

# "intel:x-scalable-mode=on" into its two parts, the second as QEMU has it
set_host_iommu() {
	HOST_IOMMU=${1%%:*}
	HOST_IOMMU_PROPS=${1#"$HOST_IOMMU"}
	HOST_IOMMU_PROPS=${HOST_IOMMU_PROPS//:/,}
}

number() {
	case $2 in
	'' | *[!0-9]*) usage_error "$1 takes a number, not \"$2\"" ;;
	esac
	[ "$2" -ge "$3" ] || usage_error "$1 must be at least $3"
}

set_option() {
	case $1 in
	--viommu) VIOMMU=$2 ;;
	--device) add_devices "$2" ;;
	--host-iommu) set_host_iommu "$2" ;;
	--host-cmd) HOST_CMD=$2 ;;
	--host-bg) HOST_BG=$2 ;;
	--host-after) HOST_AFTER=$2 ;;
	--guest-cmd) GUEST_CMD=$2 ;;
	--host-args) HOST_ARGS=$2 ;;
	--guest-args) GUEST_ARGS=$2 ;;
	--host-mem) HOST_MEM=$2 ;;
	--host-cpus) HOST_CPUS=$2 ;;
	--guests) GUESTS=$2 ;;
	--guest-mem) GUEST_MEM=$2 ;;
	--guest-cpus) GUEST_CPUS=$2 ;;
	--host-modparams) HOST_MODPARAMS=$2 ;;
	--guest-modparams) GUEST_MODPARAMS=$2 ;;
	--guest-reboots) GUEST_REBOOTS=$2 ;;
	--qemu-args) QEMU_ARGS=$2 ;;
	--share) SHARE=$2 ;;
	--timeout) TIMEOUT=$2 ;;
	--log) LOG_DIR=$2 ;;
	--accel) ACCEL=$2 ;;
	--kernel) HOST_KERNEL=$2 GUEST_KERNEL=$2 ;;
	--host-kernel) HOST_KERNEL=$2 ;;
	--guest-kernel) GUEST_KERNEL=$2 ;;
	*) usage_error "unknown option $1" ;;
	esac
}

set_flag() {
	case $1 in
	--host-only) HOST_ONLY=1 ;;
	--no-guest-drivers) GUEST_DRIVERS=0 ;;
	--guest-may-die) GUEST_MAY_DIE=1 ;;
	-v | --verbose) VERBOSE=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	*) return 1 ;;
	esac
}

parse_options() {
	while [ $# -gt 0 ]; do
		if set_flag "$1"; then
			shift
			continue
		fi
		case $1 in
		--*=*)
			set_option "${1%%=*}" "${1#*=}"
			shift
			;;
		--*)
			# An unknown name is told as such, even as the last word.
			if [ $# = 1 ]; then
				(set_option "$1" "") && usage_error "$1 needs a value"
				exit "$EXIT_USAGE"
			fi
			set_option "$1" "$2"
			shift 2
			;;
		*) usage_error "\"$1\" is not an option; quote a command as one word" ;;
		esac
	done
	check_options
}

check_options() {
	one_of --viommu "$VIOMMU" pv virtio intel none
	one_of --host-iommu "$HOST_IOMMU" intel amd
	one_of --accel "$ACCEL" tcg kvm
	number --host-mem "$HOST_MEM" 512
	[ -z "$HOST_CPUS" ] || number --host-cpus "$HOST_CPUS" 1
	number --guests "$GUESTS" 1
	[ "$GUESTS" -le 9 ] || usage_error "--guests takes no more than 9"
	number --guest-mem "$GUEST_MEM" 128
	number --guest-cpus "$GUEST_CPUS" 1
	number --guest-reboots "$GUEST_REBOOTS" 0
	number --timeout "$TIMEOUT" 1
	HOST_MODPARAMS=$(canonical_params "$HOST_MODPARAMS") || exit
	GUEST_MODPARAMS=$(canonical_params "$GUEST_MODPARAMS") || exit
	check_guest_options
	if [ -n "$SHARE" ]; then
		[ -d "$SHARE" ] || usage_error "--share: no directory $SHARE"
		[ -w "$SHARE" ] || usage_error "--share: cannot write to $SHARE"
		SHARE=$(cd "$SHARE" && pwd -P)
	fi
	case $LOG_DIR in
	'' | /*) ;;
	*) LOG_DIR=$PWD/$LOG_DIR ;;
	esac
}

check_guest_options() {
	if [ "$HOST_ONLY" = 1 ]; then
		[ -z "$GUEST_CMD$HOST_BG$HOST_AFTER" ] ||
			usage_error "--host-only has no guest: it takes --host-cmd only"
		[ -n "$HOST_CMD" ] || usage_error "--host-only needs a --host-cmd"
		return
	fi
	[ -n "$GUEST_CMD$HOST_CMD" ] || usage_error "nothing to run: give --guest-cmd or --host-cmd"
	[ $((GUESTS * GUEST_MEM)) -le $((HOST_MEM - 512)) ] ||
		usage_error "--guest-mem $GUEST_MEM needs --host-mem $((GUESTS * GUEST_MEM + 512)) or more"
}
