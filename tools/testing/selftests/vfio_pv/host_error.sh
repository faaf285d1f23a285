#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_error.sh, run beside the guest: raises PCIe errors at a
# root port of the machine when it is asked for.

while :; do
	if [ -f "$PVVM_SHARE/error-ask" ]; then
		read -r name port error <"$PVVM_SHARE/error-ask"
		rm "$PVVM_SHARE/error-ask"
		pvvm-qmp -m "hmp pcie_aer_inject_error $port $error"
		touch "$PVVM_SHARE/error-$name"
	fi
	sleep 0.2
done
