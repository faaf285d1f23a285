# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# What the init of both levels does alike. Run by busybox in the initramfs.

export PATH=/bin
/bin/busybox --install -s /bin

# stage TEXT: how far this level has got, for pvvm and for a reader of the log.
stage() {
	echo "$LEVEL: $*" >>"$STAGES"
}

mount_kernel_fs() {
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs dev /dev
}

# /mod/list: a module and its parameters per line, in load order.
load_stock() {
	local file params

	while read -r file params; do
		# shellcheck disable=SC2086 # one word per parameter
		insmod "/mod/$file" $params || echo "pvvm: insmod $file failed" >/dev/kmsg
	done </mod/list
}

# See kernel_args.
start_cpus() {
	local cpu

	for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
		[ "$(cat "$cpu")" != 0 ] || echo 1 >"$cpu"
	done
}

mount_9p() {
	mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"
}

# The machine's root read-only at $LOWER, and at /root a directory of mounts:
# each top-level directory bound there, with our own /dev, /proc, /tmp and so on.
build_root() {
	local entry name

	mkdir -p "$LOWER"
	mount_9p root "$LOWER" ro,cache=loose || return 1
	mount -t tmpfs -o mode=755 root /root
	for entry in "$LOWER"/* "$LOWER"/.[!.]*; do
		name=${entry##*/}
		if [ -L "$entry" ]; then
			ln -s "$(readlink "$entry")" "/root/$name"
		elif [ -d "$entry" ]; then
			mkdir -p "/root/$name"
			case $name in
			proc | sys | dev | tmp | run | share) ;;
			*) mount -o bind "$entry" "/root/$name" ;;
			esac
		fi
	done
	own_mounts
	show_hidden "$CALLER_DIR"
	show_hidden "$OWN_DIR"
	show_hidden "$KERNEL_DIR"
	show_modules
	mount -o remount,ro /root
}

own_mounts() {
	mkdir -p /root/proc /root/sys /root/dev /root/tmp /root/run
	mount -o bind /proc /root/proc
	mount -o bind /sys /root/sys
	mount -o bind /dev /root/dev
	mkdir -p /dev/shm /dev/pts /dev/hugepages
	mount -t tmpfs -o mode=1777 shm /root/dev/shm
	mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
	mount -t hugetlbfs hugetlbfs /root/dev/hugepages
	ln -sf /proc/self/fd /dev/fd
	ln -sf fd/0 /dev/stdin
	ln -sf fd/1 /dev/stdout
	ln -sf fd/2 /dev/stderr
	mount -t debugfs debugfs /root/sys/kernel/debug
	mount -t tracefs tracefs /root/sys/kernel/tracing
	mount -t tmpfs -o mode=1777 tmp /root/tmp
	mount -t tmpfs -o mode=755 run /root/run
	mkdir -p /root/run/pvvm/bin
	cp /pvvm/pvvm-* /root/run/pvvm/bin
	if [ -n "$SHARE" ]; then
		mkdir -p /root/share
		mount_9p share /root/share rw,cache=mmap
	fi
}

# A directory of the machine that one of our own mounts covers is shown again.
show_hidden() {
	case $1 in
	/tmp/* | /run/* | /dev/shm/*) ;;
	*) return ;;
	esac
	[ -d "$LOWER$1" ] || return
	mkdir -p "/root$1"
	mount -o bind "$LOWER$1" "/root$1"
}

# Programs that look for modules in the usual place find this kernel's.
show_modules() {
	[ ! -d /root/usr/lib/modules ] ||
		mount -o bind "$LOWER$KERNEL_DIR/lib/modules" /root/usr/lib/modules
}

# The environment of all commands; they are started from here by in_root.
set_environment() {
	export PVVM_LEVEL=$LEVEL PVVM_VIOMMU="$VIOMMU" PVVM_RELEASE="$RELEASE"
	export PVVM_MODULES="$OWN_DIR" PVVM_KERNEL_DIR="$KERNEL_DIR" PVVM_RUN=/run/pvvm
	export PVVM_DIR PVVM_MODPARAMS="$MODPARAMS" PVVM_SHARE=
	[ -z "$SHARE" ] || PVVM_SHARE=/share
	export HOME=/tmp TERM=dumb LC_ALL=C.UTF-8
	export MODPROBE_OPTIONS="-d $KERNEL_DIR"
	ROOT_PATH=/run/pvvm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# in_root PROGRAM [ARG..]: run it in the machine's root, in the caller's directory.
# shellcheck disable=SC2016 # the inner shell expands
in_root() {
	chroot /root /bin/sh -c 'PATH=$1; cd "$2" 2>/dev/null || cd /; shift 2; exec "$@"' \
		sh "$ROOT_PATH" "$CALLER_DIR" "$@"
}

# run_file FILE: the command in it, with its output to the pump.
run_file() {
	in_root /bin/bash -c "$(cat "$1")" </dev/null >/pump 2>&1
}

# All output goes through one pipe: a program may reopen its stdout, and need not
# wait for the file behind it. The pump ends when the last writer has.
start_pump() {
	mkfifo /pump
	cat </pump >>"$OUTPUT" &
	PUMP=$!
	exec 9>/pump
}

# Programs that are left would hold the pipe open, and devices too.
end_programs() {
	local dir pid

	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		case $pid in 1 | "$PUMP") continue ;; esac
		[ -e "$dir/exe" ] && kill -9 "$pid" 2>/dev/null
	done
}

stop_pump() {
	end_programs
	exec 9>&-
	wait "$PUMP"
}

# Where device number $1 is: in its slot, or behind the root port in its slot.
device_address() {
	local place

	place=$(printf '/sys/bus/pci/devices/0000:00:%02x.0' $((16 + $1)))
	set -- "$place"/????:??:??.?
	[ ! -e "$1" ] || place=$1
	[ ! -e "$place" ] || echo "${place##*/}"
}

# PVVM_DEVICES: name and address of each device at this level.
find_devices() {
	local i=0 name address

	PVVM_DEVICES=
	for name in $DEVICES; do
		address=$(device_address $i)
		[ -n "$address" ] || return 1
		PVVM_DEVICES="${PVVM_DEVICES:+$PVVM_DEVICES }$name:$address"
		i=$((i + 1))
	done
	export PVVM_DEVICES
}
