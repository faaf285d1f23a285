// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/types.h>
#include <linux/userfaultfd.h>

#include "pv_late.h"
#include "pv_sys.h"

#define PAGE	0x1000UL
#define WAIT_MS	60000

int pv_late_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api))
		return fd;
	close(fd);
	return -1;
}

bool pv_late_begin(int fd, void *page)
{
	struct uffdio_register reg = {
		.range = { .start = (unsigned long)page, .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return !madvise(page, PAGE, MADV_DONTNEED) && !ioctl(fd, UFFDIO_REGISTER, &reg);
}

bool pv_late_is_waited_for(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	return poll(&poll_fd, 1, WAIT_MS) == 1 && read(fd, &msg, sizeof(msg)) == sizeof(msg);
}

bool pv_thread_waits(const pid_t *tid)
{
	char path[64], stat[256];
	const char *name_end;
	pid_t nr;
	int ms;

	for (ms = 0; ms < WAIT_MS; ms++, usleep(1000)) {
		nr = __atomic_load_n(tid, __ATOMIC_RELAXED);
		if (!nr)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", nr);
		if (pv_read_file(path, stat, sizeof(stat)) < 0)
			return true;
		name_end = strrchr(stat, ')');
		if (name_end && strchr("SD", name_end[2]))
			return true;
	}
	return false;
}

bool pv_late_end(int fd, void *page, void (*fill)(void *page))
{
	static __u64 content[PAGE / sizeof(__u64)] __attribute__((aligned(PAGE)));
	struct uffdio_range range = { .start = (unsigned long)page, .len = PAGE };
	struct uffdio_copy copy = {
		.dst = (unsigned long)page, .src = (unsigned long)content, .len = PAGE,
	};

	memset(content, 0, sizeof(content));
	if (fill)
		fill(content);
	return !ioctl(fd, UFFDIO_COPY, &copy) && !ioctl(fd, UFFDIO_UNREGISTER, &range);
}
