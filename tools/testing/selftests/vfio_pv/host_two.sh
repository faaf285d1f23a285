#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The host level's part of guest_two.sh, run beside the guests: tells the second guest once the
# first one is at work, and kills the first guest's QEMU when the second guest asks for it, if it
# has worked all the time. The first one has no end of its own: it is killed, too, when the
# second one has ended without asking.

# shellcheck source=lib/host.sh
. "$(dirname "$(readlink -f "$0")")/lib/host.sh"

# Its QEMU removes the file with its number
second_has_ended() {
	[ "$second" ] || second=$(pid_of 2 2>/dev/null)
	[ "$second" ] && ! kill -0 "$second" 2>/dev/null
}

# at_work FILE: until the first guest is, for which FILE is made
at_work() {
	until vm=$(vm_of 1) && [ "$vm" ] && is_at_work "$vm" 2>/dev/null; do
		! second_has_ended || return
		pause 0.5
	done
	before=$(counter_of "$vm" ops)
	touch "$PVVM_SHARE/$1"
}

# has_done OPS: more than that, or it does so within half a minute
has_done() {
	local n

	for n in $(seq 60); do
		[ "$(counter_of "$vm" ops)" -le "$1" ] || return 0
		pause 0.5
	done
	return 1
}

# Has it gone on since it was found at work, and does it still?
has_worked() {
	has_done $((before + 2000)) && has_done "$(counter_of "$vm" ops)"
}

second='' vm='' before=0

at_work two-busy
until [ -e "$PVVM_SHARE/two-kill" ] || second_has_ended; do
	pause 0.5
done
echo "# the second guest: $(work_of "$(vm_of 2)")"
echo "# the first one: $(work_of "$vm"), of which $before before the second one began"
has_worked && killed=two-killed || killed=two-idle
kill -9 "$(pid_of 1)" && touch "$PVVM_SHARE/$killed"
