# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# What the init of both levels has in common. Run by busybox in the initramfs. A fork is
# expensive here, most of all in the guest, so builtins are used where possible.

export PATH=/bin
/bin/busybox --install -s /bin

# stage TEXT: log how far this level has got; pvvm reads it, too.
stage() {
	local up

	read -r up _ </proc/uptime
	echo "$LEVEL: $* (up $up s)" >>"$STAGES"
}

# Needs $STOCK_MODULES and $1, the 9p options of the control directory.
set_up_kernel() {
	mount -a
	# shellcheck disable=SC2086 # a list
	modprobe -a $STOCK_MODULES 2>/dev/kmsg
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none ctl /ctl
}

# See kernel_args.
start_cpus() {
	local cpu state

	for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
		[ -e "$cpu" ] || continue
		read -r state <"$cpu"
		[ "$state" = 1 ] || echo 1 >"$cpu"
	done
}

load_own() {
	[ -n "$OWN_MODULES" ] || return 0
	# shellcheck disable=SC2086 # a list
	modprobe -a $OWN_MODULES >/load.log 2>&1 ||
		fail "loading $OWN_MODULES failed: $(cat /load.log; dmesg | tail -n 5)"
	stage "own modules loaded"
}

# The root of the commands is /root; pvvm has written its fstab.
build_root() {
	mkdir -p /dev/shm /dev/pts /dev/hugepages
	mount -a -T /etc/fstab.root 2>/dev/kmsg
	[ -d "/lower/usr" ] || fail "cannot mount the machine's root by 9p"
	[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
	[ -e /dev/stdin ] || ln -s fd/0 /dev/stdin
	[ -e /dev/stdout ] || ln -s fd/1 /dev/stdout
	[ -e /dev/stderr ] || ln -s fd/2 /dev/stderr
	show_hidden "$CALLER_DIR"
	show_hidden "$OWN_DIR"
	show_hidden "$KERNEL_DIR"
}

# Show a directory of the machine again that one of our own mounts covers.
show_hidden() {
	case $1 in
	/tmp/* | /run/* | /dev/shm/*) ;;
	*) return ;;
	esac
	[ -d "/lower$1" ] || return
	mkdir -p "/root$1"
	mount -o bind "/lower$1" "/root$1"
}

# The environment of all commands, which in_root starts.
set_environment() {
	export PVVM_LEVEL=$LEVEL PVVM_VIOMMU="$VIOMMU" PVVM_RELEASE="$RELEASE"
	export PVVM_MODULES="$OWN_DIR" PVVM_KERNEL_DIR="$KERNEL_DIR" PVVM_RUN=/run/pvvm
	export PVVM_DIR PVVM_MODPARAMS="$MODPARAMS" PVVM_SHARE=
	[ -z "$SHARE" ] || PVVM_SHARE=/share
	export HOME=/tmp TERM=dumb LC_ALL=C
	export MODPROBE_OPTIONS="-d $KERNEL_DIR"
	ROOT_PATH=/run/pvvm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# in_root PROGRAM [ARG..]: run it in the machine's root, in the caller's directory.
# shellcheck disable=SC2016 # the inner shell expands
in_root() {
	PATH=$ROOT_PATH /bin/chroot /root /bin/sh -c \
		'cd "$0" 2>/dev/null || cd /; exec "$@"' "$CALLER_DIR" "$@"
}

# bash first changes to directory $0, then runs command $1.
# shellcheck disable=SC2016 # the inner shell expands
ENTER='cd "$0" 2>/dev/null || cd /; eval "$1"'

# run_file FILE: run the command in it, with its output to the pump.
run_file() {
	PATH=$ROOT_PATH /bin/chroot /root /bin/bash -c "$ENTER" "$CALLER_DIR" "$(cat "$1")" \
		</dev/null >/pump 2>&1
}

# All output goes through one pipe: so a program can reopen its stdout, and need not wait
# for the file behind it. The pump ends with the last writer.
start_pump() {
	mkfifo /pump
	cat </pump >>"$OUTPUT" &
	PUMP=$!
	exec 9>/pump
}

# Programs that still run would keep the pipe open, and devices, too.
end_programs() {
	local dir pid

	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		case $pid in 1 | "$PUMP" | "${BEAT:-}") continue ;; esac
		[ -e "$dir/exe" ] && kill -9 "$pid" 2>/dev/null
	done
}

stop_pump() {
	end_programs
	exec 9>&-
	wait "$PUMP"
}

# If the kernel has kmemleak, append its findings to the log, $1. It does not report objects
# younger than five seconds, and finds references to some objects only later, for example those
# that a moving stack or a register had: what has leaked is still there after some scans.
log_leaks() {
	local leaks=/root/sys/kernel/debug/kmemleak i

	[ -w $leaks ] || return 0
	stage "looking for memory leaks"
	for i in 1 2 3 4; do
		sleep 6
		echo scan >$leaks
		echo scan >$leaks
		[ "$(head -c 1 $leaks)" ] || return 0
	done
	cat $leaks >>"$1"
}

# Sets ADDRESS to that of the device at place $1, which is in its slot, or behind the root port
# in its slot.
device_address() {
	local place

	ADDRESS=
	place=/sys/bus/pci/devices/0000:00:$1
	set -- "${place%.*}.0"/????:??:??."${1#*.}"
	[ ! -e "$1" ] || place=$1
	[ ! -e "$place" ] || ADDRESS=${place##*/}
}

# Does device number $1 go to guest $2?
is_dealt() {
	[ $(($1 % GUESTS + 1)) = "$2" ]
}

# PVVM_DEVICES: name and address of each device at this level.
find_devices() {
	local i=-1 name place places="$PLACES"

	PVVM_DEVICES=
	for name in $DEVICES; do
		i=$((i + 1))
		place=${places%% *}
		places=${places#* }
		[ "$LEVEL" = host ] || is_dealt $i "$PVVM_GUEST" || continue
		device_address "$place"
		[ -n "$ADDRESS" ] || return 1
		PVVM_DEVICES="${PVVM_DEVICES:+$PVVM_DEVICES }$name:$ADDRESS"
	done
	export PVVM_DEVICES
}
