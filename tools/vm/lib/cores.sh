# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Emulation keeps a core busy. Runs that shared a core would take so much longer that
# their time limits would mean nothing, so a run waits until it has a core of its own.
#
# A core is a lock file, which descriptor 8 of pvvm and of its outer QEMU holds. No other
# child of pvvm may inherit it, or it would keep the core when both have ended. The file
# "turn" makes waiting runs go in the order in which they came.

wait_for_core() {
	local dir

	[ "$ACCEL" = tcg ] || return 0
	dir=${TMPDIR:-/tmp}/pvvm-cores-$(id -u)
	mkdir -p "$dir" || return 0
	exec 7>"$dir/turn"
	if ! { flock -n 7 && take_core "$dir"; }; then
		say "waiting for other runs to end"
		# In the background, for a signal to end the wait.
		flock 7 8>&- &
		HELPERS+=($!)
		wait $!
		HELPERS=()
		until take_core "$dir"; do
			sleep 0.5 7>&- 8>&-
		done
	fi
	exec 7>&-
}

take_core() {
	local i

	for ((i = 0; i < $(nproc); i++)); do
		exec 8>"$1/core-$i"
		! flock -n 8 || return 0
	done
	exec 8>&-
	return 1
}
