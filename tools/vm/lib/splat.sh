# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Looks for reports of kernel bugs in the logs of both levels.

# Extended regular expressions, each as narrow as its message allows.
SPLAT_PATTERNS=(
	'BUG: '
	'kernel BUG at '
	'BUG [a-zA-Z0-9_-]+ \((Not t|T)ainted'
	'WARNING: CPU: [0-9]+ PID: '
	'WARNING: [^ ]+:[0-9]+ at '
	'WARNING: (possible|inconsistent|suspicious|bad unlock|lock held|held lock|Nested lock|.* still has locks held|.*-safe -> )'
	'DEBUG_LOCKS_WARN_ON'
	'INFO: (trying to register non-static key|task .* blocked for more than|rcu_.* detected)'
	'rcu: INFO: '
	'Oops: '
	'general protection fault'
	'(invalid opcode|stack segment|double fault|divide error): [0-9]'
	'Unable to handle kernel'
	'KASAN: '
	'KCSAN: '
	'KFENCE: '
	'UBSAN: '
	'ODEBUG: '
	'DMA-API: .*(device driver|cpu touching|exceeded|not mapped)'
	'unreferenced object (0x|\(percpu\))'
	'refcount_t: '
	'list_(add|del) corruption'
	'usercopy: Kernel memory'
	'enqueued on deprecated workqueue'
	'Kernel panic'
)

# Lines that are not our fault: lib/splat-allow, one expression per line.
allowed_lines() {
	grep -v -e '^#' -e '^$' "$PVVM_DIR/lib/splat-allow"
	# A guest that may die may panic; what led to that is still reported.
	[[ "$1 $GUEST_MAY_DIE" != guest*" 1" ]] || echo 'Kernel panic'
}

# Numbers of the lines of file $2 (level $1) that start a report.
splat_lines() {
	local patterns

	patterns=$(IFS='|'; echo "${SPLAT_PATTERNS[*]}")
	grep -anE "$patterns" "$2" | grep -avE -f <(allowed_lines "$1") | cut -d: -f1
}

# Do the lines from $2 on of file $1, up to the next report, show that a maskable interrupt came
# while interrupts were disabled (bit 9 of EFLAGS)? No processor does that, but QEMU's emulation
# of a processor that runs guests does once in some hundred boots: it delivers an interrupt twice,
# and the second comes as the first enters the kernel. (KVM on Intel calls handlers like that, so
# this is for emulation only.)
impossible_interrupt() {
	[ "$ACCEL" = tcg ] || return 1
	tail -n +"$2" "$1" | awk '
		/asm_(sysvec_[a-z_]*|common_interrupt)\+0x[0-9a-f]+\/0x/ && !/RIP:/ { entry = 1; next }
		entry == 1 && /RIP: 0010:/ { entry = 2; next }
		entry == 2 && match($0, /EFLAGS: [0-9a-f]+/) {
			digit = substr($0, RSTART + RLENGTH - 3, 1)
			if (index("014589cd", digit)) { found = 1; exit }
			entry = 0; next
		}
		entry == 2 && /(Code|RSP): / { next }
		/end trace/ || NR > 1 && /(BUG|WARNING|KASAN|KCSAN|UBSAN|INFO|refcount_t): / { exit }
		{ entry = 0 }
		END { exit !found }
	'
}

# Do the lines from $2 on of file $1, up to the next report, show flags that no processor has?
# Bits 22 to 31 of EFLAGS are always 0, but in the emulation they can become part of another
# register, once in some hundred boots.
impossible_flags() {
	[ "$ACCEL" = tcg ] || return 1
	tail -n +"$2" "$1" | awk '
		match($0, /EFLAGS: 0*[0-9a-f]+/) {
			flags = substr($0, RSTART + 8, RLENGTH - 8)
			sub(/^0+/, "", flags)
			if (length(flags) > 6 || length(flags) == 6 && flags "" >= "400000") {
				found = 1; exit
			}
		}
		/end trace/ || NR > 1 && /(BUG|WARNING|KASAN|KCSAN|UBSAN|INFO|refcount_t): / { exit }
		END { exit !found }
	'
}

# The first reports, with the lines around them; the log has all.
print_splats() {
	local level=$1 file=$2 lines=$3

	say "kernel splat at the $level level (${file##*/}):"
	awk -v list="$(tr '\n' ' ' <<<"$lines")" '
		BEGIN { n = split(list, at, " "); for (i = 1; i <= n; i++)
				for (l = at[i] - 3; l <= at[i] + 45; l++) show[l] = 1 }
		FNR in show { print; if (++printed >= 150) { print "[...]"; exit } }
	' "$file" >&2
	if [ "${HOST_CPUS:-1}" -gt 1 ] && has_translation_race && grep -q 'Oops: int3' "$file"; then
		say "this may be QEMU's own fault: before 8.1 it is not safe with --host-cpus $HOST_CPUS"
	fi
}

# The console has early messages, and those of a dying kernel. The kernel log, which is
# saved at the end, has those that the console's log level leaves out.
report_level() {
	local level=$1 file lines

	shift
	for file; do
		[ -s "$file" ] || continue
		lines=$(splat_lines "$level" "$file")
		[ -n "$lines" ] || continue
		print_splats "$level" "$file" "$lines"
		impossible_interrupt "$file" "${lines%%$'\n'*}" ||
			impossible_flags "$file" "${lines%%$'\n'*}" || OWN_SPLATS=1
		return 1
	done
}

# Sets HOST_SPLAT if the host level has reported something, and OWN_SPLATS if anything that is
# reported may have to do with us.
report_splats() {
	local bad=0 name

	HOST_SPLAT=0 OWN_SPLATS=0
	report_level host "$TMP/host-console.log" "$CTL/host-dmesg.log" || bad=1 HOST_SPLAT=1
	for name in $(guest_names); do
		report_level "$name" "$CTL/$name-console.log" "$CTL/$name/guest-dmesg.log" || bad=1
	done
	return $bad
}
