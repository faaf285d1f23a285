// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pv_fault.h"
#include "pv_sys.h"

#define DEBUGFS	"/sys/kernel/debug"
#define FUNCTION	DEBUGFS "/fail_function"
#define NTH	"/proc/thread-self/fail-nth"

/*
 * What the host engine calls to use the world, and how it fails there. To map fails for a reason
 * that is final: without memory it is tried again.
 */
static const struct {
	const char *function;
	int error;
} functions[] = {
	{ "pviommu_charge", -ENOMEM },
	{ "pviommu_pin_hva", -ENOMEM },
	{ "hw_map_piece", -EIO },
	{ "hw_move_group", -EIO },
	{ "hw_attach_pasid", -EIO },
};

const char *pv_fault_missing(void)
{
	pv_total("ops");	/* mounts debugfs */
	if (access(NTH, F_OK) || access(DEBUGFS "/failslab", F_OK))
		return "this kernel has no fault injection";
	if (access(DEBUGFS "/fail_function/inject", F_OK))
		return "this kernel can't make functions fail";
	return NULL;
}

static bool order(const char *function, int error)
{
	char path[128], value[32];

	if (pv_write_file(DEBUGFS "/fail_function/inject", function))
		return false;
	snprintf(path, sizeof(path), DEBUGFS "/fail_function/%s/retval", function);
	snprintf(value, sizeof(value), "0x%llx", (unsigned long long)error);
	return !pv_write_file(path, value);
}

void pv_fault_end(void)
{
	pv_write_file(DEBUGFS "/fail_function/inject", "\n");
}

bool pv_fault_begin_kernel(void)
{
	const char * const kinds[] = {
		"failslab", "fail_page_alloc", "fail_usercopy", "fail_function",
	};
	char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), DEBUGFS "/%s/verbose", kinds[i]);
		if (pv_write_file(path, "0"))
			return false;
	}
	/* Also those who would rather wait */
	return !pv_write_file(DEBUGFS "/failslab/ignore-gfp-wait", "N") &&
	       !pv_write_file(DEBUGFS "/fail_page_alloc/ignore-gfp-wait", "N") &&
	       !pv_write_file(DEBUGFS "/fail_page_alloc/ignore-gfp-highmem", "N") &&
	       !pv_write_file(DEBUGFS "/fail_page_alloc/min-order", "0");
}

bool pv_fault_begin(void)
{
	unsigned int i;

	if (!pv_fault_begin_kernel())
		return false;
	pv_fault_end();
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		if (!order(functions[i].function, functions[i].error))
			return false;
	return true;
}

/*
 * A breakpoint is what makes a function fail, and in there the kernel does not look at
 * what was ordered for the thread. So: times 1, after a space of so many calls.
 */
static bool arm_engine(unsigned int nth)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", nth);
	return !pv_write_file(FUNCTION "/space", value) &&
	       !pv_write_file(FUNCTION "/times", "1") &&
	       !pv_write_file(FUNCTION "/probability", "100");
}

static bool disarm_engine(void)
{
	char value[16] = "";

	if (pv_read_file(FUNCTION "/times", value, sizeof(value)) < 0 ||
	    pv_write_file(FUNCTION "/probability", "0"))
		abort();
	return !atoi(value);
}

static enum pv_fault_kind armed;
static int nth_fd = -1;

bool pv_fault_arm(enum pv_fault_kind kind, unsigned int nth)
{
	char value[16];
	int len = snprintf(value, sizeof(value), "%u", nth);

	armed = kind;
	if (kind == PV_FAULT_ENGINE)
		return arm_engine(nth);
	nth_fd = open(NTH, O_RDWR | O_CLOEXEC);
	return nth_fd >= 0 && pwrite(nth_fd, value, len, 0) == len;
}

/*
 * To ask, and to say that it is over, may be what fails: then all that was meant to be
 * tried has gone well.
 */
static bool disarm_kernel(void)
{
	char value[16] = "";
	bool was = pread(nth_fd, value, sizeof(value) - 1, 0) > 0 && !atoi(value);

	if (!was && pwrite(nth_fd, "0", 1, 0) != 1 && pwrite(nth_fd, "0", 1, 0) != 1)
		abort();
	close(nth_fd);
	nth_fd = -1;
	return was;
}

bool pv_fault_disarm(void)
{
	return armed == PV_FAULT_ENGINE ? disarm_engine() : disarm_kernel();
}

bool pv_fault_next(struct pv_fault_sweep *sweep)
{
	if (sweep->was) {
		sweep->count[sweep->kind]++;
	} else if (sweep->nth) {
		if (++sweep->kind == PV_FAULT_KINDS)
			return false;
		sweep->nth = 0;
	}
	sweep->nth++;
	sweep->was = false;
	return true;
}

unsigned int pv_fault_report(const char *what, const struct pv_fault_sweep *sweep)
{
	printf("# %-30s %4u allocations and copies, %4u calls\n", what,
	       sweep->count[PV_FAULT_KERNEL], sweep->count[PV_FAULT_ENGINE]);
	return sweep->count[PV_FAULT_KERNEL] + sweep->count[PV_FAULT_ENGINE];
}
