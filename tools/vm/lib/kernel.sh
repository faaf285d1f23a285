# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The kernels, their modules, our modules, and which of them each level loads.

declare -A LEVEL_KERNEL LEVEL_IMAGE LEVEL_RELEASE LEVEL_OWN_DIR

# kernel_dir KERNEL: what --kernel and its kind take, as a directory
kernel_dir() {
	local build=$PVVM_REPO/tools/build

	case $1 in
	6.12) "$build/kernel-fetch" image | tail -n 1 ;;
	lab) "$build/lab-kernel" image | tail -n 1 ;;
	*) printf '%s\n' "$1" ;;
	esac
}

find_kernel() {
	local level=$1 kernel=$2 dir image release

	dir=$(kernel_dir "$kernel")
	[ -n "$dir" ] || setup_error "there is no kernel $kernel to boot, see above"
	image=$(compgen -G "$dir/boot/vmlinuz-*" | sort -V | tail -n 1)
	[ -n "$image" ] ||
		setup_error "no kernel in $dir/boot; give --kernel 6.12, lab or such a directory"
	release=${image##*/vmlinuz-}
	[ -f "$dir/lib/modules/$release/modules.dep" ] ||
		setup_error "no modules.dep for $release in $dir; run depmod -b $dir $release"
	LEVEL_KERNEL[$level]=$(cd "$dir" && pwd -P)
	LEVEL_IMAGE[$level]=$image
	LEVEL_RELEASE[$level]=$release
}

# Our modules, one per line: "name file needs..".
find_own_modules() {
	local level=$1 release=${LEVEL_RELEASE[$1]} dir file name

	dir=${PVIOMMU_BUILD:-$PVVM_REPO/build/$release}
	[ ! -d "$dir/$release" ] || dir=$dir/$release
	LEVEL_OWN_DIR[$level]=$dir
	: >"$TMP/own-modules-$level"
	[ -d "$dir" ] || return 0
	dir=$(cd "$dir" && pwd -P)
	LEVEL_OWN_DIR[$level]=$dir
	while read -r file; do
		name=${file##*/}
		name=${name%%.ko*}
		printf '%s %s %s\n' "${name//-/_}" "$file" \
			"$(modinfo -F depends "$file" | tr ',-' ' _')"
	done < <(find "$dir" -name '*.ko' -o -name '*.ko.xz') >"$TMP/own-modules-$level"
}

find_kernels() {
	find_kernel host "$HOST_KERNEL"
	find_own_modules host
	[ "$HOST_ONLY" = 0 ] || return 0
	find_kernel guest "$GUEST_KERNEL"
	find_own_modules guest
}

# at_level LEVEL: from here on, the kernel and our modules are those of LEVEL.
at_level() {
	KERNEL_DIR=${LEVEL_KERNEL[$1]}
	KERNEL_IMAGE=${LEVEL_IMAGE[$1]}
	RELEASE=${LEVEL_RELEASE[$1]}
	OWN_DIR=${LEVEL_OWN_DIR[$1]}
	OWN_LIST=$TMP/own-modules-$1
}

is_own() {
	grep -q "^$1 " "$OWN_LIST"
}

own_needs_of() {
	awk -v n="$1" '$1 == n { $1 = $2 = ""; print }' "$OWN_LIST"
}

# A kernel that was built with our sources in its tree has our modules already.
in_kernel() {
	modprobe -d "$KERNEL_DIR" -S "$RELEASE" --show-depends "$1" >/dev/null 2>&1
}

# want_own LEVEL NAME..: modules of ours that a level needs. Adds each of them to
# LEVEL_OWN, or to LEVEL_STOCK if the kernel has it already.
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
			setup_error "$name.ko is not in $OWN_DIR; run make in $PVVM_REPO for this kernel, or set PVIOMMU_BUILD"
		fi
	done
	mapfile -t -O ${#stock[@]} stock < <(own_needs "${own[@]}")
}

# The stock modules that modules of ours need.
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
	# virtio-iommu first: the devices behind it wait for it.
	[ "$VIOMMU" != virtio ] || GUEST_STOCK=(virtio_iommu "${GUEST_STOCK[@]}")
	[ "$VIOMMU" = pv ] || return 0

	at_level host
	want_own HOST pviommu_host pviommu_kvm pviommu_vfio_pci
	if [ "$HOST_ONLY$GUEST_DRIVERS" = 01 ]; then
		at_level guest
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

# Arguments that turn on checks which a kernel has, but leaves off.
lab_args() {
	! grep -qs '^CONFIG_IOMMU_DEBUG_PAGEALLOC=y' "$KERNEL_DIR/boot/config-$RELEASE" ||
		echo " iommu.debug_pagealloc=1"
}

# Kernel arguments of both levels.
#
# Left out is what is slow in an emulated machine: timer check, mitigations,
# self-tests, security modules (which look at each ioctl). The stall detectors get more time.
# Warnings reach the console, so that a splat does. A dead kernel restarts at once, which
# ends its QEMU.
# One CPU boots and init starts the others: the kernel patches its code most while
# it boots; see has_translation_race.
# pci=lastbus=0: no search for root buses that ACPI has not told of, 8160 exits.
kernel_args() {
	echo "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic" \
		"tsc=reliable no_timer_check mitigations=off audit=0 lsm=capability" \
		"random.trust_cpu=on cryptomgr.notests" \
		"watchdog_thresh=30 sysctl.kernel.hung_task_timeout_secs=300" \
		"rcupdate.rcu_cpu_stall_timeout=90 maxcpus=1 noreplace-smp lpj=10000000" \
		"pci=lastbus=0$(lab_args)"
}

# Each time to the same place, but for a guest that restarts: emulation is slow to
# store into pages that code was run from, and to decompress a kernel over the last
# one takes tens of seconds, in which nothing is to be seen.
place_args() {
	[ "$1" = guest ] && [ "$GUEST_REBOOTS" != 0 ] || echo nokaslr
}
