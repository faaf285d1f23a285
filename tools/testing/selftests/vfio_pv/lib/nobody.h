/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What somebody without any rights is told.
 */
#ifndef NOBODY_H
#define NOBODY_H

#include <sys/wait.h>
#include <unistd.h>

#define NOBODY	65534

/*
 * Is @what true for a process that is a copy of this one, with all files that are open
 * and no rights? False also if there is no such process to be had.
 */
#define nobody_sees(what) ({						\
	int __status = -1;						\
	pid_t __pid = fork();						\
									\
	if (!__pid)							\
		_exit(setuid(NOBODY) || !(what));			\
	__pid > 0 && waitpid(__pid, &__status, 0) == __pid && !__status; \
})

#endif /* NOBODY_H */
