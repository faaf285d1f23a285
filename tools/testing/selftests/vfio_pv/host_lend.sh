#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_lent_test, run beside the guests: does what guest 1 asks
# for. Grants are to guest 1.
#
#   vm GUEST                         the number of its VM
#   grant GUEST r|w|rw GPA SIZE      the number of the grant
#   ungrant GRANT, ungrant_all
#   plug GUEST                       plug 128 MiB of memory in; prints where they are
#   unplug GUEST                     unplug them
#   kill GUEST                       kill its QEMU
#   resident GUEST                   resident memory of its QEMU, KiB

# shellcheck source=lib/host.sh
. "$(dirname "$(readlink -f "$0")")/lib/host.sh"

plug() {
	{
		pvvm-qmp -g "$1" 'hmp object_add memory-backend-ram,id=mem,size=128M'
		pvvm-qmp -g "$1" 'hmp device_add pc-dimm,id=dimm,memdev=mem'
	} >&2 || return
	pvvm-qmp -g "$1" query-memory-devices | grep -o '"addr": [0-9]*' | grep -o '[0-9]*$'
}

# The guest is asked to release it, which takes a moment, and may refuse at first
unplug() {
	local i

	for i in $(seq 300); do
		[ $((i % 50)) != 1 ] || pvvm-qmp -g "$1" 'hmp device_del dimm' >&2
		pause 0.2
		pvvm-qmp -g "$1" query-memory-devices | grep -q '"dimm"' && continue
		pvvm-qmp -g "$1" 'hmp object_del mem' >&2
		echo ok
		return
	done
	return 1
}

ungrant_all() {
	local id

	for id in $(pvctl grant | awk '$1 == "grant" { print $2 }'); do
		pvctl grant del grant "$id" || return
	done
}

carry_out() {
	case $1 in
	vm) vm_of "$2" ;;
	grant)
		pvctl grant add from "$(vm_of "$2")" to "$(vm_of 1)" gpa "$4" size "$5" \
			access "$3" | awk '{ print $2 }'
		;;
	ungrant) pvctl grant del grant "$2" && echo ok ;;
	ungrant_all) ungrant_all && echo ok ;;
	plug) plug "$2" ;;
	unplug) unplug "$2" ;;
	kill) kill -9 "$(pid_of "$2")" && echo ok ;;
	resident) awk '$1 == "VmRSS:" { print $2 }' "/proc/$(pid_of "$2")/status" ;;
	esac
}

while :; do
	if [ -f "$PVVM_SHARE/host.ask" ]; then
		read -ra words <"$PVVM_SHARE/host.ask"
		rm "$PVVM_SHARE/host.ask"
		carry_out "${words[@]}" >"$PVVM_SHARE/host.answer.new" 2>>/tmp/host_lend.log ||
			sed 's/^/# /' /tmp/host_lend.log
		mv "$PVVM_SHARE/host.answer.new" "$PVVM_SHARE/host.answer"
	fi
	pause 0.1
done
