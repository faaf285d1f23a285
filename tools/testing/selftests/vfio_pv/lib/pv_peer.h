/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process beside the test, which the test asks to do things. A request is a letter, and so is
 * an answer.
 */
#ifndef PV_PEER_H
#define PV_PEER_H

#include <sys/types.h>

#define PV_PEER_DONE	'y'
#define PV_PEER_FAILED	'n'

/* Like fork(). In both processes, @to and @from are pipes to and from the other one */
pid_t pv_peer_fork(int *to, int *from);

/* Send a request and wait for the answer. 0 is not sent. FAILED if no answer comes */
char pv_peer_ask(int to, int from, char what);

#endif /* PV_PEER_H */
