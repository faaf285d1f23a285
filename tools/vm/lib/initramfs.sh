# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the levels boot from: busybox, the modules that reach the file systems,
# and the scripts of level/. Also the settings that those scripts read.

# Settings as a shell file; the commands in files of their own.
write_control() {
	local name

	for name in HOST_CMD HOST_BG HOST_AFTER GUEST_CMD; do
		[ -z "${!name}" ] || printf '%s\n' "${!name}" >"$CTL/$(tr 'A-Z_' 'a-z-' <<<"$name")"
	done
	[ ! -f "$CTL/guest-cmd" ] || mv "$CTL/guest-cmd" "$CTL/guest/"
	: >"$CTL/host-output.log"
	: >"$CTL/guest/guest-output.log"
	: >"$CTL/stages.log"
	: >"$CTL/guest/guest-stages.log"
	: >"$CTL/guest-console.log"
	cp "$CTL/own-modules" "$CTL/guest/"
	chmod a+rx "$TMP" "$CTL" "$CTL/guest"
}

write_config() {
	local name

	for name in VIOMMU HOST_ONLY GUEST_MEM GUEST_CPUS GUEST_ARGS QEMU_ARGS \
		GUEST_REBOOTS GUEST_MAY_DIE QEMU RELEASE KERNEL_DIR OWN_DIR SHARE; do
		printf '%s=%s\n' "$name" "$(quote "${!name}")"
	done
	printf 'CALLER_DIR=%s\n' "$(quote "$PWD")"
	printf 'DEVICES=%s\n' "$(quote "${DEVICES[*]%%:*}")"
	printf 'HOST_OWN=%s\n' "$(quote "${HOST_OWN[*]}")"
	printf 'GUEST_OWN=%s\n' "$(quote "${GUEST_OWN[*]}")"
	printf 'HOST_MODPARAMS=%s\n' "$(quote "$HOST_MODPARAMS")"
	printf 'GUEST_MODPARAMS=%s\n' "$(quote "$GUEST_MODPARAMS")"
	printf 'KERNEL_ARGS=%s\n' "$(quote "$(kernel_args)")"
	printf 'PVVM_DIR=%s\n' "$(quote "$PVVM_DIR")"
}

# What the options and the kernel arguments of level $1 say about module $2.
# An insmod of busybox does not look there itself.
module_params() {
	local word module

	if [ "$1" = host ]; then
		set -- "$2" "$HOST_MODPARAMS $HOST_ARGS"
	else
		set -- "$2" "$GUEST_MODPARAMS $GUEST_ARGS"
	fi
	for word in $2; do
		module=${word%%.*}
		[ "${module//-/_}" != "$1" ] || printf ' %s' "${word#*.}"
	done
}

# Decompressed here, once and by a real CPU.
unpack_module() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -qdc "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# put_modules LEVEL DIR NAME..: the modules and mod/list, in load order.
put_modules() {
	local level=$1 dir=$2 file name

	shift 2
	while read -r file; do
		name=${file##*/}
		name=${name%%.ko*}
		unpack_module "$file" >"$dir/$name.ko" || setup_error "cannot read the module $file"
		echo "$name.ko$(module_params "$level" "${name//-/_}")"
	done < <(stock_files "$@") >"$dir/list"
}

make_initramfs() {
	local level=$1 out=$2 dir=$TMP/initramfs-$1

	shift 2
	mkdir -p "$dir"/{bin,proc,sys,dev,root,ctl,mod,pvvm}
	cp "$BUSYBOX" "$dir/bin/busybox"
	ln -s busybox "$dir/bin/sh"
	cp "$PVVM_DIR"/level/*.sh "$PVVM_DIR"/level/pvvm-* "$dir/pvvm/"
	ln -s "pvvm/$level-init.sh" "$dir/init"
	write_config >"$dir/pvvm/config"
	put_modules "$level" "$dir/mod" "$@"
	(cd "$dir" && find . | "$BUSYBOX" cpio -o -H newc 2>/dev/null) >"$out" ||
		setup_error "cannot write the initramfs of the $level level"
}
