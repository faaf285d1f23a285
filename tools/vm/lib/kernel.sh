# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The kernel, its modules, our modules, and which of them each level loads.

CACHE=${PVIOMMU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pv-iommu}

find_kernel() {
	local fetch=$PVVM_REPO/tools/build/kernel-fetch

	if [ -z "$KERNEL_DIR" ] && [ -x "$fetch" ]; then
		KERNEL_DIR=$("$fetch" image | tail -n 1) ||
			setup_error "tools/build/kernel-fetch image failed, so there is no kernel to boot"
	fi
	[ -n "$KERNEL_DIR" ] || KERNEL_DIR=$CACHE/k
	KERNEL_IMAGE=$(compgen -G "$KERNEL_DIR/boot/vmlinuz-*" | sort -V | tail -n 1)
	[ -n "$KERNEL_IMAGE" ] ||
		setup_error "no kernel in $KERNEL_DIR/boot; run tools/build/kernel-fetch image, or give --kernel DIR"
	RELEASE=${KERNEL_IMAGE##*/vmlinuz-}
	KERNEL_DIR=$(cd "$KERNEL_DIR" && pwd -P)
	[ -f "$KERNEL_DIR/lib/modules/$RELEASE/modules.dep" ] ||
		setup_error "no modules.dep for $RELEASE in $KERNEL_DIR; run depmod -b $KERNEL_DIR $RELEASE"
}

# Our modules, one per line: "name file needs..".
find_own_modules() {
	local file name

	OWN_DIR=${PVIOMMU_BUILD:-$PVVM_REPO/build/$RELEASE}
	: >"$TMP/own-modules"
	[ -d "$OWN_DIR" ] || return 0
	OWN_DIR=$(cd "$OWN_DIR" && pwd -P)
	while read -r file; do
		name=${file##*/}
		name=${name%%.ko*}
		printf '%s %s %s\n' "${name//-/_}" "$file" \
			"$(modinfo -F depends "$file" | tr ',-' ' _')"
	done < <(find "$OWN_DIR" -name '*.ko' -o -name '*.ko.xz') >"$TMP/own-modules"
}

is_own() {
	grep -q "^$1 " "$TMP/own-modules"
}

own_needs_of() {
	awk -v n="$1" '$1 == n { $1 = $2 = ""; print }' "$TMP/own-modules"
}

# A kernel in whose tree our sources were put has our modules itself.
in_kernel() {
	modprobe -d "$KERNEL_DIR" -S "$RELEASE" --show-depends "$1" >/dev/null 2>&1
}

# want_own LEVEL NAME..: modules of ours that a level cannot do without. Adds each
# to LEVEL_OWN, or to LEVEL_STOCK when it comes with the kernel.
want_own() {
	local -n own=$1_OWN stock=$1_STOCK
	local name

	shift
	for name; do
		if is_own "$name"; then
			own+=("$name")
		elif in_kernel "$name"; then
			stock+=("$name")
		else
			setup_error "$name.ko is not in $OWN_DIR; run make in $PVVM_REPO, or set PVIOMMU_BUILD"
		fi
	done
	mapfile -t -O ${#stock[@]} stock < <(own_needs "${own[@]}")
}

# All that modules of ours need from the stock kernel.
own_needs() {
	local name dep

	for name; do
		for dep in $(own_needs_of "$name"); do
			if is_own "$dep"; then
				own_needs "$dep"
			else
				echo "$dep"
			fi
		done
	done
}

plan_modules() {
	local kvm=kvm_amd

	[ "$ACCEL" = kvm ] && grep -q '^vendor_id.*GenuineIntel' /proc/cpuinfo && kvm=kvm_intel
	HOST_OWN=() GUEST_OWN=()
	HOST_STOCK=(9p 9pnet_virtio virtio_pci vfio_iommu_type1 vfio_pci "$kvm")
	GUEST_STOCK=(9p 9pnet_virtio virtio_pci vfio_iommu_type1 vfio_pci)
	# virtio-iommu first: until it is there, the devices behind it wait.
	[ "$VIOMMU" != virtio ] || GUEST_STOCK=(virtio_iommu "${GUEST_STOCK[@]}")
	[ "$VIOMMU" = pv ] || return 0

	want_own HOST pviommu_host pviommu_kvm pviommu_vfio_pci
	if [ "$HOST_ONLY$GUEST_DRIVERS" = 01 ]; then
		want_own GUEST pviommu_guest vfio_pv
	fi
}

# Files of the stock modules $@ and of what they need, in load order.
stock_files() {
	local name kind file

	for name; do
		modprobe -d "$KERNEL_DIR" -S "$RELEASE" --ignore-install --show-depends "$name" ||
			say "the kernel $RELEASE has no module $name"
	done 2>&1 >"$TMP/depends" | grep -v '^modprobe:' >&2
	while read -r kind file _; do
		[ "$kind" = insmod ] && echo "$file"
	done <"$TMP/depends" | awk '!seen[$0]++'
}

# Kernel arguments of both levels.
#
# Left out is what is slow in an emulated machine: timer check, mitigations,
# self-tests. The stall detectors get more time. Warnings reach the console, so
# that a splat does. A dead kernel restarts at once, which ends its QEMU.
# One CPU boots and init starts the others: the kernel patches its code most while
# it boots; see has_translation_race.
# pci=lastbus=0: no search for root buses that ACPI has not told of, 8160 exits.
kernel_args() {
	echo "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic" \
		"tsc=reliable no_timer_check mitigations=off audit=0" \
		"random.trust_cpu=on cryptomgr.notests watchdog_thresh=30" \
		"rcupdate.rcu_cpu_stall_timeout=90 maxcpus=1 noreplace-smp lpj=10000000" \
		"pci=lastbus=0"
}

# Each time to the same place, but for a guest that restarts: emulation is slow to
# store into pages that code was run from, and to decompress a kernel over the last
# one takes tens of seconds, in which nothing is to be seen.
place_args() {
	[ "$1" = guest ] && [ "$GUEST_REBOOTS" != 0 ] || echo nokaslr
}
