# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For scripts that wait and look again: to start a program, as sleep is one, costs an emulated
# machine more than most of what it waits for.

# Nothing is ever written to it
exec {_NOTHING}<> <(:)

# pause SECONDS, which may be a fraction
pause() {
	read -rt "$1" -u "$_NOTHING" _
	return 0
}
