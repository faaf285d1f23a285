/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a process without any rights may do.
 */
#ifndef NOBODY_H
#define NOBODY_H

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#define NOBODY	65534

/* This process loses CAP_SYS_ADMIN for good, also in programs that it starts. 0 on success */
static inline int drop_sys_admin(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) || syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~(1U << CAP_SYS_ADMIN);
	data[0].permitted &= ~(1U << CAP_SYS_ADMIN);
	return syscall(SYS_capset, &head, data);
}

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
