#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The installed library: examples/pvdma, built on it by pkg-config, maps one range and many,
# reads events, and uses its container again. Then the same program on type 1.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

usr=$(dirname "$(command -v guest_batch_test)")/../installed/usr

installed_pvdma() {
	LD_LIBRARY_PATH=$usr/lib "$usr/bin/pvdma" "$@"
}

[ -x "$usr/bin/pvdma" ] ||
	skip_all "pvdma was not built on the library: run tools/build/deps check, make user"
plan 3
check "device" pvvm-bind vfio-pci "$(device edu)"
check "pvdma on the paravirtual IOMMU" installed_pvdma "$(device edu)"
check "pvdma on type 1" installed_pvdma --type1 "$(device edu)"
finish
