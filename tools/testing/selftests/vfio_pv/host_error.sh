#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_error.sh, run beside the guest. What it is asked for is
# "NAME PORT ERROR", and what it says is in the file error-NAME:
#
#   x rp2 SDN        have a PCIe error raised at this root port of the machine
#   x rp2 where      the host's domain of the device below it, and whether it is cut off

# shellcheck source=lib/pause.sh
. "$(dirname "$(readlink -f "$0")")/lib/pause.sh"

# Run from the source, it is not beside the programs that were built
pvctl=${PVCTL:-$(dirname "$0")/../../../../build/user/pvctl/pvctl}

# where PORT: "DOMAIN yes|no"
where() {
	local -a devices

	read -ra devices <<<"$PVVM_DEVICES"
	"$pvctl" endpoint | awk -v bdf="${devices[${1#rp}]#*:}" '$5 == "device" && $6 == bdf {
		for (i = 7; i < NF; i += 2)
			of[$i] = $(i + 1)
		print of["domain"], of["isolated"]
	}'
}

answer() {
	case $3 in
	where) where "$2" ;;
	*) pvvm-qmp -m "hmp pcie_aer_inject_error $2 $3" ;;
	esac
}

while :; do
	if [ -f "$PVVM_SHARE/error-ask" ]; then
		read -r name port error <"$PVVM_SHARE/error-ask"
		rm "$PVVM_SHARE/error-ask"
		answer "$name" "$port" "$error" >"$PVVM_SHARE/error-new"
		mv "$PVVM_SHARE/error-new" "$PVVM_SHARE/error-$name"
	fi
	pause 0.2
done
