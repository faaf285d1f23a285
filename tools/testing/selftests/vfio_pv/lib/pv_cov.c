// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kcov.h>

#include "pv_cov.h"
#include "pv_sys.h"

/* More words than one doorbell writes; a power of two, for a table that is never half full */
#define TRACE	0x100000UL
#define SEEN	0x10000UL

bool pv_cov_open(struct pv_cov *cov)
{
	*cov = (struct pv_cov) { .fd = -1 };
	pv_total("ops");	/* mounts debugfs */
	cov->fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (cov->fd < 0)
		return false;
	cov->seen = calloc(SEEN, sizeof(*cov->seen));
	cov->trace = MAP_FAILED;
	if (!ioctl(cov->fd, KCOV_INIT_TRACE, TRACE))
		cov->trace = mmap(NULL, TRACE * sizeof(*cov->trace), PROT_READ | PROT_WRITE,
				  MAP_SHARED, cov->fd, 0);
	if (cov->seen && cov->trace != MAP_FAILED && !ioctl(cov->fd, KCOV_ENABLE, KCOV_TRACE_PC))
		return true;
	pv_cov_close(cov);
	return false;
}

void pv_cov_close(struct pv_cov *cov)
{
	if (cov->fd < 0)
		return;
	ioctl(cov->fd, KCOV_DISABLE, 0);
	if (cov->trace != MAP_FAILED)
		munmap(cov->trace, TRACE * sizeof(*cov->trace));
	free(cov->seen);
	close(cov->fd);
	cov->fd = -1;
}

static bool is_new(struct pv_cov *cov, __u64 place)
{
	unsigned long at = place * 0x9e3779b97f4a7c15ULL >> 48;

	while (cov->seen[at] && cov->seen[at] != place)
		at = (at + 1) % SEEN;
	if (cov->seen[at] || cov->nr >= SEEN / 2)
		return false;
	cov->seen[at] = place;
	cov->nr++;
	return true;
}

void pv_cov_drop(struct pv_cov *cov)
{
	if (cov->fd >= 0)
		__atomic_store_n(&cov->trace[0], 0, __ATOMIC_RELEASE);
}

unsigned int pv_cov_take(struct pv_cov *cov)
{
	unsigned int new = 0;
	__u64 i, nr;

	if (cov->fd < 0)
		return 0;
	nr = __atomic_load_n(&cov->trace[0], __ATOMIC_ACQUIRE);
	for (i = 1; i <= nr; i++)
		new += is_new(cov, cov->trace[i]);
	pv_cov_drop(cov);
	return new;
}
