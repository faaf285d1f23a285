# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Emulation keeps a core busy. Runs that share one take so much longer that their
# time limits mean nothing, so a run waits until it has one of its own.
#
# A core is a lock file, held by descriptor 8 of pvvm and of its outer QEMU; what
# else pvvm starts must not have it, lest it keep the core when both are gone.
# The file "turn" makes the waiting runs go in the order in which they came.

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
