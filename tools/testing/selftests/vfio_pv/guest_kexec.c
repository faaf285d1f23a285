// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load another kernel and start it, without the firmware:
 *
 *	guest_kexec KERNEL INITRAMFS COMMAND-LINE
 *
 * Nothing is synced or ended before, but devices are shut down.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/reboot.h>

static int load(const char *kernel, const char *initramfs, const char *cmdline)
{
	int kernel_fd = open(kernel, O_RDONLY | O_CLOEXEC);
	int initramfs_fd = open(initramfs, O_RDONLY | O_CLOEXEC);
	long ret = -1;

	if (kernel_fd >= 0 && initramfs_fd >= 0)
		ret = syscall(SYS_kexec_file_load, kernel_fd, initramfs_fd,
			      strlen(cmdline) + 1, cmdline, 0UL);
	if (ret)
		fprintf(stderr, "guest_kexec: %s: %s\n", kernel, strerror(errno));
	if (kernel_fd >= 0)
		close(kernel_fd);
	if (initramfs_fd >= 0)
		close(initramfs_fd);
	return ret;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: guest_kexec KERNEL INITRAMFS COMMAND-LINE\n");
		return 2;
	}
	if (load(argv[1], argv[2], argv[3]))
		return 1;
	reboot(LINUX_REBOOT_CMD_KEXEC);
	perror("guest_kexec: cannot start the kernel");
	return 1;
}
