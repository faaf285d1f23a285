// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include "pv_peer.h"

pid_t pv_peer_fork(int *to, int *from)
{
	int in[2], out[2];
	pid_t pid;

	if (pipe(in) || pipe(out))
		return -1;
	pid = fork();
	close(pid ? in[0] : in[1]);
	close(pid ? out[1] : out[0]);
	*to = pid ? in[1] : out[1];
	*from = pid ? out[0] : in[0];
	return pid;
}

char pv_peer_ask(int to, int from, char what)
{
	char answer = PV_PEER_FAILED;

	if (what && write(to, &what, 1) != 1)
		return PV_PEER_FAILED;
	return read(from, &answer, 1) == 1 ? answer : PV_PEER_FAILED;
}
