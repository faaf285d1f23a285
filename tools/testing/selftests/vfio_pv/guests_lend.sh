#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Three guests: the first one has devices that read into memory which the other two lend. With
# host_lend.sh beside them. The result is in the file "verdict" of the shared folder, as the
# other guests may be killed.

# shellcheck source=lib/guest.sh
. "$(dirname "$(readlink -f "$0")")/lib/guest.sh"

here=$(dirname "$(readlink -f "$0")")
nvme=${NVME:-$here/../../../../build/user/nvme/nvme}

# ask WHO QUESTION..: prints the answer
ask() {
	local who=$1 i

	shift
	echo "$*" >"$PVVM_SHARE/$who.ask.new"
	mv "$PVVM_SHARE/$who.ask.new" "$PVVM_SHARE/$who.ask"
	for i in $(seq 1200); do
		if [ -f "$PVVM_SHARE/$who.answer" ]; then
			cat "$PVVM_SHARE/$who.answer"
			rm "$PVVM_SHARE/$who.answer"
			return
		fi
		pause 0.1
	done
	return 1
}

find_memory() {
	VM=$(ask host vm 2)
	GPA=$(ask guest2 where)
	echo "VM $VM, $GPA"
	[ "$VM" ] && [ "$GPA" ]
}

# The other guest finds the disk's data, which never was in this guest's memory
read_over() {
	local sum

	"$nvme" -f "$VM:$GPA" "$DISK_BDF" 16 >/tmp/nvme.log
	status=$?
	cat /tmp/nvme.log
	[ $status = 0 ] || return
	sum=$(ask guest2 sum)
	echo "there it is $sum"
	grep -q "checksum $sum\$" /tmp/nvme.log
}

reads_on() {
	grep -q 'reading on' /tmp/nvme.log
}

# Until the grant is taken back
read_until_gone() {
	local pid

	"$nvme" -f "$VM:$GPA" -w "$DISK_BDF" 16 >/tmp/nvme.log 2>&1 &
	pid=$!
	until_true 60 reads_on && [ "$(ask host ungrant "$GRANT")" = ok ] && wait $pid
	status=$?
	cat /tmp/nvme.log
	[ $status = 0 ] && grep -q "gone: 0x200000 bytes .* of VM $VM\$" /tmp/nvme.log
}

grant() {
	GRANT=$(ask host grant 2 w "$GPA" $((2 << 20)))
	echo "grant $GRANT"
	[ "$GRANT" ]
}

refused() {
	! "$nvme" -f "$VM:$GPA" "$DISK_BDF" 16 >/tmp/nvme.log 2>&1
	status=$?
	cat /tmp/nvme.log
	[ $status = 0 ] && grep -q 'Permission denied' /tmp/nvme.log
}

borrow() {
	DISK_BDF=$(device nvme)
	plan 6
	check "the other guest has memory" find_memory
	check "nothing is read into it without a grant" refused
	check "a grant" grant
	check "a disk of one guest read into memory of another" read_over
	check "it goes on until the grant is taken back" read_until_gone
	check "then nothing is" refused
	echo $FAILED >"$PVVM_SHARE/verdict"
}

if [ "$PVVM_GUEST" != 1 ]; then
	exec guest_lender "guest$PVVM_GUEST"
fi
pvvm-bind vfio-pci "$(device nvme)" "$(device edu)"
borrow
guest_lent_test
status=$?
[ $status = 0 ] && [ $FAILED = 0 ] && echo good >"$PVVM_SHARE/verdict"
exit $status
