#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_types_test, run beside the guest: starts the
# example server for the VM and gives it the guest's commands.

debugfs=/sys/kernel/debug/pviommu
# Run from the source, it is not beside the programs that were built
server=${PVIOMMU_SHADOW:-$(dirname "$0")/../../../../build/user/pvshadow/pvshadow}

start_server() {
	coproc SERVER { exec "$server" "$vm"; }
}

answer() {
	echo "$1" >"$PVVM_SHARE/server.answer.new"
	mv "$PVVM_SHARE/server.answer.new" "$PVVM_SHARE/server.answer"
}

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
until vm=$(find $debugfs -maxdepth 1 -name 'vm*' 2>/dev/null | grep -o '[0-9]*$') && [ "$vm" ]; do
	sleep 0.5
done
start_server
while :; do
	if [ -f "$PVVM_SHARE/server.ask" ]; then
		read -r command <"$PVVM_SHARE/server.ask"
		rm "$PVVM_SHARE/server.ask"
		pid=$SERVER_PID
		echo "$command" >&"${SERVER[1]}"
		if [ "$command" = quit ]; then
			wait "$pid"
			start_server
			reply=ok
		else
			read -r reply <&"${SERVER[0]}"
		fi
		answer "$reply"
	fi
	sleep 0.1
done
