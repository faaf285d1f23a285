# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The initramfs of each level: busybox, modules, the scripts of level/, and the directory
# that becomes the root of the commands. As much as possible is prepared here, as starting
# a program in the guest takes a tenth of a second.

# A file for each command, and the logs that the levels write.
write_control() {
	local name

	for name in HOST_CMD HOST_BG HOST_AFTER GUEST_CMD; do
		[ -z "${!name}" ] || printf '%s\n' "${!name}" >"$CTL/$(tr 'A-Z_' 'a-z-' <<<"$name")"
	done
	[ ! -f "$CTL/guest-cmd" ] || mv "$CTL/guest-cmd" "$CTL/guest/"
	touch "$CTL/host-output.log" "$CTL/stages.log"
	for name in $(guest_names); do
		touch "$CTL/$name-console.log" "$CTL/$name/guest-output.log" "$CTL/$name/guest-stages.log"
		[ ! -f "$CTL/guest/guest-cmd" ] || [ "$name" = guest ] || cp "$CTL/guest/guest-cmd" "$CTL/$name/"
	done
}

# Files of a guest have its name: guest, guest2, guest3, ..
guest_names() {
	local n

	for n in $(seq "$GUESTS"); do
		echo "guest${n#1}"
	done
}

# at_guest COMMAND..: run it if there is a guest
at_guest() {
	[ "$HOST_ONLY" = 1 ] || (at_level guest; "$@")
}

# Settings that the scripts of level/ read.
write_config() {
	local name

	for name in VIOMMU HOST_ONLY GUESTS GUEST_MEM GUEST_CPUS GUEST_ARGS QEMU_ARGS \
		GUEST_REBOOTS GUEST_MAY_DIE QEMU RELEASE KERNEL_DIR OWN_DIR SHARE \
		HOST_MODPARAMS GUEST_MODPARAMS PVVM_DIR; do
		printf '%s=%s\n' "$name" "$(quote "${!name}")"
	done
	printf 'CALLER_DIR=%s\n' "$(quote "$(pwd -P)")"
	printf 'DEVICES=%s\n' "$(quote "${DEVICES[*]%%:*}")"
	printf 'PLACES=%s\n' "$(quote "${PLACES[*]}")"
	printf 'GUEST_KERNEL_ARGS=%s\n' "$(quote "$(at_guest kernel_args) $(place_args guest)")"
	printf 'STOCK_MODULES=%s\n' "$(quote "$1")"
	printf 'OWN_MODULES=%s\n' "$(quote "$2")"
}

# The parameters that the options give, as busybox's modprobe reads them.
write_modprobe_conf() {
	local word params=$GUEST_MODPARAMS

	[ "$1" = guest ] || params=$HOST_MODPARAMS
	for word in $params; do
		echo "options ${word%%.*} ${word#*.}"
	done
}

# Modules are decompressed here, once and by a real CPU.
unpack_module() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -qdc "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac || setup_error "cannot read the module $1"
}

# put_stock DIR NAME..: the modules with what they need into $1/lib/modules, and
# their names in load order into STOCK. modules.dep names no needs: the order has them.
put_stock() {
	local mods=$1/lib/modules/$RELEASE file name

	shift
	mkdir -p "$mods"
	STOCK=()
	while read -r file; do
		name=${file##*/}
		name=${name%%.ko*}
		unpack_module "$file" >"$mods/$name.ko"
		echo "$name.ko:" >>"$mods/modules.dep"
		STOCK+=("${name//-/_}")
	done < <(stock_files "$@")
}

# All of our modules, without debugging information; pvvm-load uses them, too.
put_own() {
	local dir=$1 own=$1/root/run/pvvm/own name file needs

	mkdir -p "$own"
	while read -r name file needs; do
		unpack_module "$file" >"$own/$name.ko"
		! command -v strip >/dev/null || strip --strip-debug "$own/$name.ko"
		echo "/root/run/pvvm/own/$name.ko:" >>"$dir/lib/modules/$RELEASE/modules.dep"
		echo "$name /run/pvvm/own/$name.ko $needs" >>"$dir/root/run/pvvm/own-modules"
	done <"$OWN_LIST"
}

# Names of our modules $@ in load order.
own_order() {
	local name dep

	for name; do
		for dep in $(own_needs_of "$name"); do
			! is_own "$dep" || own_order "$dep"
		done
		echo "$name"
	done | awk '!seen[$0]++'
}

fstab_line() {
	printf '%s %s %s %s 0 0\n' "${1// /\\040}" "${2// /\\040}" "$3" "$4"
}

fstab_9p() {
	fstab_line "$1" "$2" 9p "trans=virtio,version=9p2000.L,msize=512000,$3"
}

# The root of the commands has every directory of this machine's root, read-only, except
# those that each level has of its own. Makes the mount points in DIR, and prints the
# fstab.
plan_root() {
	local dir=$1 entry name

	fstab_9p root /lower ro,cache=loose
	fstab_line /root /root none bind
	for entry in /* /.[!.]*; do
		name=${entry#/}
		if [ -L "$entry" ]; then
			cp -P "$entry" "$dir/root/"
			continue
		fi
		[ -d "$entry" ] || continue
		mkdir -p "$dir/root/$name"
		case $name in
		proc | sys | dev | tmp | run | share) ;;
		*) fstab_line "/lower/$name" "/root/$name" none bind ;;
		esac
	done
	plan_own_mounts "$dir"
}

plan_own_mounts() {
	mkdir -p "$1"/root/{proc,sys,dev,tmp,run/pvvm/bin}
	fstab_line proc /root/proc proc defaults
	fstab_line sysfs /root/sys sysfs defaults
	fstab_line debugfs /root/sys/kernel/debug debugfs defaults
	fstab_line tracefs /root/sys/kernel/tracing tracefs defaults
	fstab_line dev /root/dev devtmpfs defaults
	fstab_line shm /root/dev/shm tmpfs mode=1777
	fstab_line devpts /root/dev/pts devpts mode=620,ptmxmode=666
	fstab_line hugetlbfs /root/dev/hugepages hugetlbfs defaults
	fstab_line tmp /root/tmp tmpfs mode=1777
	fstab_line /root/run /root/run none bind
	if [ -n "$SHARE" ]; then
		mkdir -p "$1/root/share"
		fstab_9p share /root/share rw,cache=none
	fi
	# Programs look for modules in the usual place: these are this kernel's.
	if [ -d /usr/lib/modules ]; then
		fstab_line "/lower$KERNEL_DIR/lib/modules" /root/usr/lib/modules none bind
	fi
	fstab_line /root /root none remount,bind,ro
}

# What must be loaded before a module.
early_fstab() {
	fstab_line proc /proc proc defaults
	fstab_line sysfs /sys sysfs defaults
	fstab_line dev /dev devtmpfs defaults
}

# make_initramfs LEVEL FILE OWN STOCK..: OWN is a list in one word.
make_initramfs() {
	local level=$1 out=$2 own=$3 dir=$TMP/initramfs-$1

	shift 3
	at_level "$level"
	mkdir -p "$dir"/{bin,etc,proc,sys,dev,root,lower,ctl,pvvm}
	cp "$BUSYBOX" "$dir/bin/busybox"
	ln -s busybox "$dir/bin/sh"
	cp "$PVVM_DIR"/level/*.sh "$dir/pvvm/"
	ln -s "pvvm/$level-init.sh" "$dir/init"
	early_fstab >"$dir/etc/fstab"
	plan_root "$dir" >"$dir/etc/fstab.root"
	cp "$PVVM_DIR"/level/pvvm-* "$dir/root/run/pvvm/bin/"
	[ "$level" = host ] || ln -s /proc/1/root/ctl/{kernel,initramfs} "$dir/root/run/pvvm/"
	ln "$dir/bin/busybox" "$dir/root/run/pvvm/busybox"
	write_modprobe_conf "$level" >"$dir/etc/modprobe.conf"
	put_stock "$dir" "$@"
	put_own "$dir"
	# shellcheck disable=SC2086 # a list
	write_config "${STOCK[*]}" "$(own_order $own | xargs)" >"$dir/pvvm/config"
	(cd "$dir" && find . | "$BUSYBOX" cpio -o -H newc 2>/dev/null) >"$out" ||
		setup_error "cannot write the initramfs of the $level level"
}
