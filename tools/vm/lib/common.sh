# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Messages, temporary files, clean-up.

EXIT_USAGE=2
EXIT_SETUP=4

say() {
	printf 'pvvm: %s\n' "$*" >&2
}

usage_error() {
	say "$*"
	say "see pvvm --help"
	exit $EXIT_USAGE
}

setup_error() {
	say "$*"
	exit $EXIT_SETUP
}

# Single-quote $1 for a POSIX shell (printf %q may give $'..').
quote() {
	printf "'%s'" "${1//\'/\'\\\'\'}"
}

TMP=
OUTER_PID=

cleanup() {
	trap - EXIT
	if [ -n "$OUTER_PID" ]; then
		kill -KILL "$OUTER_PID" 2>/dev/null
		wait "$OUTER_PID" 2>/dev/null
	fi
	stop_helpers
	if [ -n "$TMP" ]; then
		save_logs
		rm -rf "$TMP"
	fi
}

# The trap on EXIT does the work; a signal only has to end the script.
make_tmp() {
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	TMP=$(mktemp -d "${TMPDIR:-/tmp}/pvvm.XXXXXXXX") ||
		setup_error "cannot make a temporary directory in ${TMPDIR:-/tmp}"
	CTL=$TMP/ctl
	mkdir -p "$TMP/empty"
	for _part in $(guest_names); do
		mkdir -p "$CTL/$_part"
	done
	if [ -n "$LOG_DIR" ]; then
		mkdir -p "$LOG_DIR" || setup_error "cannot make the log directory $LOG_DIR"
	fi
}

# The logs are copied at the end: LOG_DIR may be on the file system that the machine under
# test sees, where a log that is still being written could confuse.
save_logs() {
	local f

	[ -n "$LOG_DIR" ] || return 0
	for f in "$CTL"/*.log "$CTL"/guest/*.log "$TMP"/*.log; do
		[ -f "$f" ] && cp "$f" "$LOG_DIR/"
	done
	# guest2/guest-dmesg.log becomes guest2-dmesg.log
	for f in "$CTL"/guest[2-9]*/guest-*.log; do
		[ -f "$f" ] && cp "$f" "$LOG_DIR/$(basename "$(dirname "$f")")-${f##*/guest-}"
	done
	return 0
}

need() {
	command -v "$1" >/dev/null || setup_error "$1 is missing; install $2"
}

find_tools() {
	need "$QEMU" qemu-system-x86
	need modprobe kmod
	need busybox busybox-static
	need xz xz-utils
	BUSYBOX=$(command -v busybox)
	# The initramfs has no libc, so busybox must be static.
	if LC_ALL=C ldd "$BUSYBOX" >/dev/null 2>&1; then
		setup_error "$BUSYBOX is not a static program; install busybox-static"
	fi
}

qemu_version() {
	"$QEMU" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p'
}

version_at_least() {
	[ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
