/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process beside the test, which is asked to do things: a question is a letter, and so
 * is the answer.
 */
#ifndef PV_PEER_H
#define PV_PEER_H

#include <sys/types.h>

#define PV_PEER_DONE	'y'
#define PV_PEER_FAILED	'n'

/* As fork(); for either process, where to write to the other one, and where to read from it */
pid_t pv_peer_fork(int *to, int *from);

/* The answer; to 0, which is not sent, that which comes next. FAILED if there is none */
char pv_peer_ask(int to, int from, char what);

#endif /* PV_PEER_H */
