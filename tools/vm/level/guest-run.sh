# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# How the host level runs the guests: QEMU's command line, and the exit status. In file
# names, guest number N is guestN, but the first one is just guest.

# The virtual IOMMU. For pv, QEMU has none: the guest finds it in the devices.
guest_machine() {
	case $VIOMMU in
	intel)
		echo -machine q35,kernel-irqchip=split
		echo -device intel-iommu,intremap=on,caching-mode=on,aw-bits=48
		;;
	virtio)
		echo -machine q35
		echo -device virtio-iommu-pci,addr=0x2
		;;
	*) echo -machine q35 ;;
	esac
	# With reboots allowed, the guest's init counts them.
	[ "$GUEST_REBOOTS" != 0 ] || echo -no-reboot
}

# Same places as at the host level: see device_address.
guest_devices() {
	local i=-1 device slot

	for device in $PVVM_DEVICES; do
		i=$((i + 1))
		is_dealt $i "$1" || continue
		slot=$(printf '0x%x' $((16 + i)))
		case ${device#*:} in
		0000:00:*) echo "-device vfio-pci,host=${device#*:},id=dev$i,bus=pcie.0,addr=$slot" ;;
		*)
			echo "-device pcie-root-port,id=rp$i,bus=pcie.0,addr=$slot,chassis=$((i + 1)),slot=$((i + 1))"
			echo "-device vfio-pci,host=${device#*:},id=dev$i,bus=rp$i"
			;;
		esac
	done
}

guest_9p() {
	# One file system of the host level each: inode numbers need no remapping,
	# which would cost a stat of every entry of a directory that is read.
	echo "-fsdev local,id=fs_$1,path=$2,security_model=none,multidevs=warn$3"
	echo "-device virtio-9p-pci,fsdev=fs_$1,mount_tag=$1"
}

# Of guest number $1
guest_arguments() {
	local tag=${1#1}

	echo "-nodefaults -no-user-config -display none -vga none"
	echo "-accel kvm -cpu host -m $GUEST_MEM -smp $GUEST_CPUS"
	guest_machine
	guest_9p root /run/pvvm/root ,readonly=on
	guest_9p ctl "/run/pvvm/guest$tag"
	[ -z "$SHARE" ] || guest_9p share /share
	guest_devices "$1"
	echo "-kernel /run/pvvm/guest/kernel -initrd /run/pvvm/guest/initramfs"
	echo "-chardev file,id=console,path=/run/pvvm/guest$tag-console.log -serial chardev:console"
	echo "-qmp unix:/run/pvvm/qmp$tag.sock,server=on,wait=off -pidfile /run/pvvm/qemu$tag.pid"
}

start_background() {
	[ -f /ctl/host-bg ] || return 0
	# A session of its own, so that all of it can be killed.
	PATH=$ROOT_PATH /bin/setsid /bin/chroot /root /bin/bash -c "$ENTER" \
		"$CALLER_DIR" "$(cat /ctl/host-bg)" </dev/null >/pump 2>&1 &
	BACKGROUND=$!
}

stop_background() {
	[ -z "$BACKGROUND" ] || kill -9 -- "-$BACKGROUND" 2>/dev/null
}

# Log what guest $1 is doing, to find out why it hangs. Twice, to tell a loop from a halt.
tell_guest() {
	local name=guest${1#1} ask

	cp "/root/run/pvvm/qemu-$name.log" /ctl/
	for ask in query-status "hmp info registers -a" "hmp info registers -a" "hmp info lapic" "hmp info pic"; do
		echo "$ask:"
		in_root pvvm-qmp -g "$1" "$ask" 2>&1 | sed 's/\\r\\n/\n/g; s/\\t/\t/g'
	done >"/ctl/$name-stalled.log"
}

# pvvm makes a file when the time is up, and waits for our answer before it ends the machine.
watch_for_stall() {
	local n

	until [ -e /ctl/stalled ]; do
		sleep 10
	done
	for n in $(seq "$GUESTS"); do
		tell_guest "$n"
	done
	: >/ctl/stall-told
}

# run_qemu N: until the guest ends
run_qemu() {
	local number=$1

	eval "set -- $QEMU_ARGS"
	# shellcheck disable=SC2046 # none of these arguments holds a blank
	in_root "$QEMU" $(guest_arguments "$number") \
		-append "$GUEST_KERNEL_ARGS intel_iommu=on PVVM_GUEST=$number $GUEST_ARGS" "$@" \
		</dev/null >"/root/run/pvvm/qemu-guest${number#1}.log" 2>&1
}

# run_guest N: run the guest, and write the status of its QEMU to a file
run_guest() {
	local name=guest${1#1}

	: >"/ctl/$name-console.log"
	: >"/root/run/pvvm/$name-console.log"
	mount -o bind "/ctl/$name-console.log" "/root/run/pvvm/$name-console.log"
	run_qemu "$1"
	echo $? >"/qemu-$name.status"
	cp "/root/run/pvvm/qemu-$name.log" /ctl/
}

# Sets GUEST_STATUS to the status of the first guest that failed, or 0
run_guests() {
	local n pids='' status watcher

	BACKGROUND=
	start_background
	watch_for_stall &
	watcher=$!
	stage "starting the guest"
	for n in $(seq "$GUESTS"); do
		run_guest "$n" &
		pids="$pids $!"
	done
	# shellcheck disable=SC2086 # a list
	wait $pids
	stop_background
	kill $watcher
	GUEST_STATUS=0
	for n in $(seq "$GUESTS"); do
		status=$(cat "/qemu-guest${n#1}.status")
		stage "guest${n#1} ended, its QEMU with status $status"
		guest_status "guest${n#1}" "$status"
	done
}

# guest_status NAME STATUS: from what the guest left behind and from QEMU's own status
guest_status() {
	local status=0

	if [ -s "/ctl/$1/status" ]; then
		status=$(cat "/ctl/$1/status")
	elif [ -s "/ctl/$1/error" ]; then
		fail "$1: $(cat "/ctl/$1/error")"
	elif [ "$GUEST_MAY_DIE" = 1 ]; then
		status=0
	elif [ "$2" -ge 128 ]; then
		status=$2
	elif [ "$2" != 0 ]; then
		fail "the $1's QEMU failed: $(cat "/ctl/qemu-$1.log")"
	else
		status=125
	fi
	[ "$GUEST_STATUS" != 0 ] || GUEST_STATUS=$status
}
