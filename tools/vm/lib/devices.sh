# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The devices to pass through, as the outer QEMU emulates them.
#
# Device number i sits in slot 0x10+i of the root bus, at both levels: itself if
# it is a conventional PCI device (unless "port" is said), else behind a root port of
# its own in that slot.
# Either way it is alone in its isolation group, and its place is known.

FIRST_SLOT=16
MAX_DEVICES=14

is_conventional() {
	case $1 in
	edu | e1000 | e1000-* | rtl8139 | pcnet | AC97 | ES1370 | pci-testdev | pci-bridge) return 0 ;;
	esac
	return 1
}

is_nic() {
	case $1 in
	igb | e1000 | e1000-* | e1000e | rtl8139 | vmxnet3 | pcnet | virtio-net-pci*) return 0 ;;
	esac
	return 1
}

# The first QEMU release with a device, for the error message.
device_since() {
	case $1 in
	igb) echo 8.0 ;;
	e1000e) echo 2.7 ;;
	nvme) echo 1.6 ;;
	esac
}

check_devices() {
	local device known version since

	[ ${#DEVICES[@]} -le $MAX_DEVICES ] || usage_error "at most $MAX_DEVICES devices, not ${#DEVICES[@]}"
	[ ${#DEVICES[@]} -gt 0 ] || return 0
	known=$("$QEMU" -device help 2>&1)
	for device in "${DEVICES[@]}"; do
		device=${device%%:*}
		grep -Eq "(name|alias) \"$device\".*" <<<"$known" && continue
		version=$(qemu_version)
		since=$(device_since "$device")
		setup_error "QEMU $version has no device \"$device\"${since:+ (it needs QEMU $since or later)}"
	done
}

# Arguments of the outer QEMU for all devices, into OUTER_DEVICES.
outer_devices() {
	local i=0 device

	OUTER_DEVICES=()
	for device in "${DEVICES[@]}"; do
		outer_device $i "$device"
		i=$((i + 1))
	done
}

outer_device() {
	local i=$1 name=${2%%:*} props='' slot bus port=0

	case $2 in *:*) props=,${2#*:} ;; esac
	props=${props//:/,}
	case $props, in *,port,*) port=1 props=,${props//,port/} props=${props#,} ;; esac
	slot=$(printf '0x%x' $((FIRST_SLOT + i)))
	if [ $port = 0 ] && is_conventional "$name"; then
		bus=pcie.0,addr=$slot
	else
		# A faster link never comes up again after a reset of the bus, the kernel finds
		OUTER_DEVICES+=(-device "pcie-root-port,id=rp$i,bus=pcie.0,addr=$slot,chassis=$((i + 1)),slot=$((i + 1)),x-speed=5")
		bus=rp$i
	fi
	device_back_end "$i" "$name"
	OUTER_DEVICES+=(-device "$name,id=dev$i,bus=$bus$BACK_END$props")
}

# The back end of device $1 of type $2: sets BACK_END to its properties.
device_back_end() {
	BACK_END=
	case $2 in
	edu)
		# The default mask of 28 bits would leave out most of a guest's RAM.
		BACK_END=,dma_mask=0xffffffffffffffff
		;;
	nvme)
		truncate -s 64M "$TMP/nvme$1.img"
		OUTER_DEVICES+=(-drive "if=none,id=drive$1,format=raw,cache=unsafe,file=$TMP/nvme$1.img")
		BACK_END=,drive=drive$1,serial=pvvm$1
		;;
	esac
	is_nic "$2" || return 0
	# All NICs and a gateway (10.0.2.2, which answers ARP, DHCP and ping) on one hub.
	if [ "${HAVE_HUB:-0}" = 0 ]; then
		OUTER_DEVICES+=(-netdev "user,id=gateway,restrict=on"
			-netdev "hubport,id=hubgw,hubid=0,netdev=gateway")
		HAVE_HUB=1
	fi
	OUTER_DEVICES+=(-netdev "hubport,id=net$1,hubid=0")
	BACK_END=,netdev=net$1,romfile=
}
