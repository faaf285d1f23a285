# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The outer QEMU: its command line, running it, and what to report when it stalls.

TIMED_OUT=0
STOOD_STILL=0
# Seconds without a sign of life from the host level
STILL_MAX=${PVVM_STILL_MAX:-300}
HELPERS=()

stop_helpers() {
	[ ${#HELPERS[@]} = 0 ] || kill "${HELPERS[@]}" 2>/dev/null
	HELPERS=()
}

# No XSAVE: TCG does not report a guest's XSETBV to KVM, so the guest's kernel finds its
# FPU state inconsistent. No ERMS and FSRM: the kernel takes "rep stosb" for fast, but TCG
# stores byte by byte, so that clearing a guest's RAM takes eight times as long.
TCG_CPU=EPYC-Milan,+svm,+npt,-xsave,-erms,-fsrm

# In QEMU before 8.1, an emulated CPU may translate code while another CPU is patching
# it, and keep the int3 that was there for a moment: sooner or later the kernel dies of it,
# or a guest hangs. The busier this machine is, the sooner it happens.
has_translation_race() {
	[ "$ACCEL" = tcg ] && ! version_at_least "$(qemu_version)" 8.1
}

default_host_cpus() {
	if has_translation_race; then
		echo 1
	else
		echo $((GUEST_CPUS > 2 ? GUEST_CPUS : 2))
	fi
}

outer_machine() {
	local cpus=$HOST_CPUS

	[ -n "$cpus" ] || cpus=$(default_host_cpus)
	OUTER=("$QEMU" -nodefaults -no-user-config -display none -vga none -no-reboot
		-name pvvm-host -machine "q35,kernel-irqchip=split"
		-m "$HOST_MEM" -smp "$cpus")
	if [ "$ACCEL" = kvm ]; then
		OUTER+=(-accel kvm -cpu host)
	else
		OUTER+=(-accel "tcg,thread=multi" -cpu "$TCG_CPU")
	fi
	case $HOST_IOMMU in
	intel) OUTER+=(-device "intel-iommu,intremap=on,aw-bits=48$HOST_IOMMU_PROPS") ;;
	# Linux 7 looks for a southbridge where QEMU says that its IOAPIC is
	amd) OUTER+=(-blockdev "driver=null-co,node-name=southbridge"
		-device "virtio-blk-pci,drive=southbridge,addr=0x14,class=0x0601"
		-device "amd-iommu,intremap=on$HOST_IOMMU_PROPS") ;;
	esac
}

# share_9p TAG DIR [MORE]: DIR for the host level under the name TAG.
share_9p() {
	OUTER+=(-fsdev "local,id=fs_$1,path=${2//,/,,},security_model=none,multidevs=remap${3:-}"
		-device "virtio-9p-pci,fsdev=fs_$1,mount_tag=$1")
}

outer_command() {
	outer_machine
	at_level host
	OUTER+=(-kernel "$KERNEL_IMAGE" -initrd "$TMP/host.cpio" -append "$(kernel_args) $(place_args host) intel_iommu=on $HOST_ARGS"
		-chardev "file,id=console,path=$TMP/host-console.log"
		-serial chardev:console
		-device "isa-debug-exit,iobase=0x501,iosize=2")
	# QEMU's monitor is on the other end of the second serial port: see pvvm-qmp.
	OUTER+=(-chardev "socket,id=monitor,path=$TMP/monitor.sock,server=on,wait=off"
		-mon "chardev=monitor,mode=control"
		-chardev "socket,id=ttyS1,path=$TMP/monitor.sock" -serial chardev:ttyS1)
	OUTER+=(-qmp "unix:$TMP/qmp.sock,server=on,wait=off")
	share_9p root / ,readonly=on
	share_9p ctl "$CTL"
	[ -z "$SHARE" ] || share_9p share "$SHARE"
	outer_devices
	OUTER+=("${OUTER_DEVICES[@]}")
}

# Stage lines get a time, in seconds since the start.
follow_stages() {
	local line

	tail -q -f -n +1 -s 0.1 --pid="$OUTER_PID" "$CTL/stages.log" "$CTL"/guest*/guest-stages.log |
		while read -r line; do
			line=$(printf '%4d.%d s  %s' $(((${EPOCHREALTIME/./} - START) / 1000000)) \
				$((((${EPOCHREALTIME/./} - START) / 100000) % 10)) "$line")
			printf '%s\n' "$line" >>"$TMP/stages-timed.log"
			[ "$VERBOSE" = 0 ] || say "$line"
		done
}

# The output of commands goes through files, so that a reader that is slow, or has gone,
# does not hold up the machine.
run_outer() {
	outer_command
	printf '%q ' "${OUTER[@]}" >"$TMP/qemu-host-command.log"
	START=${EPOCHREALTIME/./}
	"${OUTER[@]}" </dev/null >"$TMP/qemu-host.log" 2>&1 &
	OUTER_PID=$!
	tail -q -f -c +1 -s 0.1 --pid="$OUTER_PID" \
		"$CTL/host-output.log" "$CTL"/guest*/guest-output.log 8>&- &
	HELPERS+=($!)
	follow_stages 8>&- &
	HELPERS+=($!)
	wait_outer
	# Both end when they have copied all that QEMU wrote.
	wait "${HELPERS[@]}" 2>/dev/null
	HELPERS=()
	OUTER_PID=
	printf '%d\n' $(((${EPOCHREALTIME/./} - START) / 1000)) >"$TMP/run-ms.log"
}

# Have the host level log what its guests are doing, if it still can.
ask_stalled() {
	local n

	: >"$CTL/stalled"
	[ "$HOST_ONLY" = 0 ] || return 0
	for n in $(seq 60); do
		[ ! -e "$CTL/stall-told" ] && kill -0 "$OUTER_PID" 2>/dev/null || return 0
		sleep 1 8>&-
	done
}

# Is it about to come to its end, late?
ends_now() {
	local n

	[ -s "$CTL/status" ] || return 1
	for n in $(seq 20); do
		# This link is gone when the process has ended, though nobody has waited for it
		[ -e "/proc/$OUTER_PID/exe" ] || return 0
		sleep 1 8>&-
	done
	return 1
}

# Ends when the host level has not counted on for long. Its kernel would report a loop or a
# lock of its own, as long as its processor takes interrupts.
watch_beat() {
	local last="" now since=$SECONDS

	while sleep 10; do
		now=$(cat "$CTL/beat" 2>/dev/null)
		if [ "$now" != "$last" ]; then
			last=$now
			since=$SECONDS
		fi
		[ -z "$now" ] || [ $((SECONDS - since)) -lt "$STILL_MAX" ] || return
	done
}

# Log where the host level stands: twice, to tell whether it moves at all
log_still() {
	local i

	for i in 1 2; do
		PVVM_RUN=$TMP timeout 30 "$PVVM_DIR/level/pvvm-qmp" "hmp info registers -a"
		sleep 2
	done 2>&1 8>&- | sed 's/\\r\\n/\n/g' >"$TMP/host-still.log"
}

# end_outer WHY: the time is up, or nothing happens any more
end_outer() {
	case $1 in
	still) log_still ;;
	*) ask_stalled ;;
	esac
	if ! ends_now; then
		TIMED_OUT=1
		[ "$1" != still ] || [ -s "$CTL/status" ] || STOOD_STILL=1
	fi
	kill -KILL "$OUTER_PID" 2>/dev/null
}

wait_outer() {
	local timer beat ended

	# shellcheck disable=SC2153 # not TIMED_OUT
	sleep "$TIMEOUT" 8>&- &
	timer=$!
	watch_beat >/dev/null 2>&1 8>&- &
	beat=$!
	HELPERS+=("$timer" "$beat")
	wait -n -p ended "$OUTER_PID" "$timer" "$beat" 2>/dev/null
	case $ended in
	"$timer") end_outer time ;;
	"$beat") end_outer still ;;
	esac
	kill "$timer" "$beat" 2>/dev/null
	wait "$OUTER_PID" 2>/dev/null
}

# died_early SPLAT: did the host level, or a guest that was started, stop before it had loaded
# a module of ours? SPLAT is 1 if a kernel has reported something, HOST_SPLAT if the host's
# has: that may be our doing from when the modules are loaded there.
died_early() {
	local name

	[ "$VIOMMU" = pv ] && [ ! -s "$CTL/error" ] || return 1
	[ "$1$TIMED_OUT" != 00 ] || [ ! -s "$CTL/status" ] || return 1
	grep -q '^host: own modules loaded' "$CTL/stages.log" 2>/dev/null || return 0
	grep -q '^host: starting the guest' "$CTL/stages.log" || return 1
	[ "$GUEST_DRIVERS$HOST_SPLAT" = 10 ] || return 1
	for name in $(guest_names); do
		[ ! -s "$CTL/$name/error" ] || continue
		grep -q '^guest: own modules loaded' "$CTL/$name/guest-stages.log" 2>/dev/null ||
			return 0
	done
	return 1
}

# slept_on: has the run timed out only because a guest was not woken from suspend to RAM? Then
# its kernel has completed the suspend, with our modules in it, and the QEMU that should wake
# it still answers. The alarm of the emulated clock may have come before the guest slept, as a
# slow machine takes long for that.
slept_on() {
	[ "$TIMED_OUT" = 1 ] || return 1
	grep -qs '"status": "suspended"' "$CTL"/guest*-stalled.log || return 1
	! grep -qs '"status": "running"' "$CTL"/guest*-stalled.log
}

last_stage() {
	tail -q -n 1 "$TMP/stages-timed.log" 2>/dev/null
}

report_stall() {
	local log

	if [ $STOOD_STILL = 1 ]; then
		say "no sign of life for $STILL_MAX s; last stage: $(last_stage)"
		grep -ao 'RIP=.*\|^CPU#.*' "$TMP/host-still.log" >&2
	else
		say "no end after $TIMEOUT s; last stage: $(last_stage)"
	fi
	for log in "$TMP/host-console.log" "$CTL"/guest*-console.log; do
		[ -s "$log" ] || continue
		say "last lines of ${log##*/}:"
		tail -n 15 "$log" >&2
	done
	for log in "$CTL"/guest*-stalled.log; do
		[ -s "$log" ] || continue
		say "what its QEMU says, the whole is in ${log##*/}:"
		grep -aoE '"status": "[^"]*"|[RE]IP=.*|^CPU#.*' "$log" >&2
		tail -n 5 "$CTL/qemu-$(basename "$log" -stalled.log).log" >&2 2>/dev/null
	done
}

report_lost_host() {
	say "the host level ended without a result; last stage: $(last_stage)"
	if [ -s "$TMP/qemu-host.log" ]; then
		say "its QEMU said:"
		grep -v "TCG doesn't support requested feature" "$TMP/qemu-host.log" | tail -n 15 >&2
	fi
	tail -n 15 "$TMP/host-console.log" >&2 2>/dev/null
}
