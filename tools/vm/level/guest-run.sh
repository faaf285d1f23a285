# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# The guest as the host level runs it: QEMU's command line and what came of it.

# The virtual IOMMU. pv has none: the guest finds it in the devices themselves.
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
	local i=0 device slot

	for device in $PVVM_DEVICES; do
		slot=$(printf '0x%x' $((16 + i)))
		case ${device#*:} in
		0000:00:*) echo "-device vfio-pci,host=${device#*:},id=dev$i,bus=pcie.0,addr=$slot" ;;
		*)
			echo "-device pcie-root-port,id=rp$i,bus=pcie.0,addr=$slot,chassis=$((i + 1)),slot=$((i + 1))"
			echo "-device vfio-pci,host=${device#*:},id=dev$i,bus=rp$i"
			;;
		esac
		i=$((i + 1))
	done
}

guest_9p() {
	# One file system of the host level each: inode numbers need no remapping,
	# which would cost a stat of every entry of a directory that is read.
	echo "-fsdev local,id=fs_$1,path=$2,security_model=none,multidevs=warn$3"
	echo "-device virtio-9p-pci,fsdev=fs_$1,mount_tag=$1"
}

guest_arguments() {
	echo "-nodefaults -no-user-config -display none -vga none"
	echo "-accel kvm -cpu host -m $GUEST_MEM -smp $GUEST_CPUS"
	guest_machine
	guest_9p root /run/pvvm/root ,readonly=on
	guest_9p ctl /run/pvvm/guest
	[ -z "$SHARE" ] || guest_9p share /share
	guest_devices
	echo "-kernel /run/pvvm/guest/kernel -initrd /run/pvvm/guest/initramfs"
	echo "-chardev file,id=console,path=/run/pvvm/guest-console.log -serial chardev:console"
	echo "-qmp unix:/run/pvvm/qmp.sock,server=on,wait=off -pidfile /run/pvvm/qemu.pid"
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

run_guest() {
	local qemu_status

	BACKGROUND=
	: >/ctl/guest-console.log
	: >/root/run/pvvm/guest-console.log
	mount -o bind /ctl/guest-console.log /root/run/pvvm/guest-console.log
	start_background
	stage "starting the guest"
	eval "set -- $QEMU_ARGS"
	# shellcheck disable=SC2046 # none of these arguments holds a blank
	in_root "$QEMU" $(guest_arguments) -append "$GUEST_KERNEL_ARGS intel_iommu=on $GUEST_ARGS" "$@" \
		</dev/null >/root/run/pvvm/qemu-guest.log 2>&1
	qemu_status=$?
	cp /root/run/pvvm/qemu-guest.log /ctl/
	stop_background
	stage "guest ended, its QEMU with status $qemu_status"
	guest_status $qemu_status
}

# Sets GUEST_STATUS from what the guest left behind and from QEMU's own status.
guest_status() {
	if [ -s /ctl/guest/status ]; then
		GUEST_STATUS=$(cat /ctl/guest/status)
	elif [ -s /ctl/guest/error ]; then
		fail "$(cat /ctl/guest/error)"
	elif [ "$GUEST_MAY_DIE" = 1 ]; then
		GUEST_STATUS=0
	elif [ "$1" -ge 128 ]; then
		GUEST_STATUS=$1
	elif [ "$1" != 0 ]; then
		fail "the guest's QEMU failed: $(cat /ctl/qemu-guest.log)"
	else
		GUEST_STATUS=125
	fi
}
