#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_types_test and guest_writes_test, run beside the guest:
# starts the example server for the VM and passes the guest's commands to it. Besides, there are
#   timeout  [MS] how long the host waits for the server; without a number as long as tests
#            need that do not want it dropped, on the slowest machine
#   die      the server sleeps, for which CPUs may wait a minute, and is killed
#   kernel   answers with the release of the host's kernel

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

debugfs=/sys/kernel/debug/pviommu
parameter=/sys/module/pviommu_host/parameters/server_timeout_ms
# If it is run from the source tree, the programs are elsewhere
server=${PVIOMMU_SHADOW:-$(dirname "$0")/../../../../build/user/pvshadow/pvshadow}

start_server() {
	coproc SERVER { exec "$server" "$vm"; }
}

set_timeout() {
	echo "${1:-20000}" >$parameter
}

# give COMMAND: pass it to the server; sets $reply to its answer
give() {
	echo "$1" >&"${SERVER[1]}"
	[[ $1 != sleep* ]] || touch "$PVVM_SHARE/server.sleeps"
	read -r reply <&"${SERVER[0]}"
}

let_die() {
	local pid=$SERVER_PID before

	before=$(cat $parameter)
	set_timeout 60000
	echo "sleep 60000" >&"${SERVER[1]}"
	touch "$PVVM_SHARE/server.sleeps"
	sleep 3
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	set_timeout "$before"
}

answer() {
	echo "$1" >"$PVVM_SHARE/server.answer.new"
	mv "$PVVM_SHARE/server.answer.new" "$PVVM_SHARE/server.answer"
}

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
until vm=$(find $debugfs -maxdepth 1 -name 'vm*' 2>/dev/null | grep -o '[0-9]*$') && [ "$vm" ]; do
	pause 0.5
done
set_timeout
start_server
while :; do
	if [ -f "$PVVM_SHARE/server.ask" ]; then
		read -r command <"$PVVM_SHARE/server.ask"
		rm "$PVVM_SHARE/server.ask"
		pid=$SERVER_PID
		reply=ok
		case $command in
		quit)
			echo quit >&"${SERVER[1]}"
			wait "$pid"
			start_server
			;;
		die)
			let_die
			start_server
			;;
		timeout) set_timeout ;;
		timeout*) set_timeout "${command#timeout }" ;;
		kernel) reply=$(uname -r) ;;
		*) give "$command" ;;
		esac
		answer "$reply"
	fi
	pause 0.1
done
