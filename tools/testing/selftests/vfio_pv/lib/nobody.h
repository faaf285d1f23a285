/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a process without any rights may do.
 */
#ifndef NOBODY_H
#define NOBODY_H

#include <sys/wait.h>
#include <unistd.h>

#define NOBODY	65534

/*
 * Is @what true in a copy of this process, with the same open files, but without any rights?
 * False also if there can be no such process.
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
