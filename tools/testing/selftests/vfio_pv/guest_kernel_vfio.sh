#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel's own VFIO selftests (tools/testing/selftests/vfio of Linux 7.3), which
# do not know this IOMMU: containers of type 1, and where the kernel has iommufd, also
# iommufd in the place of a container, and alone. tools/build/kernel-selftests builds
# them.
#
# usage: guest_kernel_vfio.sh [iommufd]
#   iommufd   only with iommufd alone

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

PROGRAMS=$(dirname "$(command -v guest_container_test)")/../vfio
UNSAFE=/sys/module/iommufd/parameters/allow_unsafe_interrupts

edu=$(device edu) || skip_all "no edu device"
nvme=$(device nvme)
[ -x "$PROGRAMS/vfio_dma_mapping_test" ] || skip_all "they are not built: make lab"

# run DEVICE PROGRAM TEST..: run these tests, all of which must pass. A test that the
# program skips, or does not know, has not passed.
run() {
	local bdf=$1 program=$2 one
	local -a names=()

	shift 2
	for one; do
		names+=(-r "$one")
	done
	timeout 120 "$PROGRAMS/$program" "${names[@]}" "$bdf" >/tmp/log 2>&1 &&
		grep -q "^# Totals: pass:$# fail:0 .*skip:0" /tmp/log && return
	cat /tmp/log
	return 1
}

huge_pages() {
	echo 1 >/proc/sys/vm/compact_memory
	echo 8 >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" = 8 ]
}

# iommufd can't be told of isolated interrupts, see Documentation/userspace-api/vfio_pv.rst
allow_iommufd() {
	modprobe iommufd && echo 1 >$UNSAFE
}

in_mode() {
	local mode=$1 map=vfio_dma_mapping_test limit=vfio_dma_map_limit_test.$1
	local -a last=("$limit.unmap_range" "$limit.unmap_all")

	# Linux before 7.3 returns EINVAL
	[ ! -e /dev/iommu ] || last+=("$limit.overflow")
	check "$mode: memory is mapped" run "$edu" $map $map."${mode}"_anonymous.dma_map_unmap
	check "$mode: huge pages are mapped" run "$edu" $map \
		$map."${mode}"_anonymous_hugetlb_2mb.dma_map_unmap
	check "$mode: the last IOVAs" run "$edu" $map "${last[@]}"
	check "$mode: a device is opened" run "$edu" vfio_pci_device_init_perf_test \
		vfio_pci_device_init_perf_test."$mode".init
}

of_iommufd() {
	local cdev=vfio_cdev

	check "iommufd: interrupts" allow_iommufd
	for mode in iommufd_compat_type1 iommufd_compat_type1v2 iommufd; do
		in_mode $mode
	done
	check "iommufd: a device's own file" run "$edu" vfio_iommufd_setup_test $cdev.bind \
		$cdev.get_info_without_bind_fails $cdev.bind_bad_iommufd_fails \
		$cdev.repeated_bind_fails $cdev.attach_detatch_pt $cdev.attach_invalid_pt_fails
	check "iommufd: what the device has" run "$edu" vfio_pci_device_test \
		vfio_pci_device_test.config_space_read_write vfio_pci_device_test.validate_bars \
		vfio_pci_irq_test.msi.enable_trigger_disable
	[ "$nvme" ] || { skip "iommufd: MSI-X and reset" "no nvme device"; return; }
	check "iommufd: MSI-X and reset" run "$nvme" vfio_pci_device_test \
		vfio_pci_device_test.reset vfio_pci_irq_test.msix.enable_trigger_disable
}

modes=(vfio_type1_iommu vfio_type1v2_iommu)
[ "${1:-}" != iommufd ] || modes=()
if [ -e /dev/iommu ]; then
	plan $((18 + 4 * ${#modes[@]}))
else
	plan $((2 + 4 * ${#modes[@]}))
fi
# shellcheck disable=SC2086 # there may be no second
check "devices" pvvm-bind vfio-pci "$edu" $nvme
check "huge pages" huge_pages
for mode in "${modes[@]}"; do
	in_mode $mode
done
[ ! -e /dev/iommu ] || of_iommufd
finish
