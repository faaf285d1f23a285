/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests at the host level have in common: a VM for each test, and that nothing is left
 * of it afterwards.
 */
#ifndef PV_TEST_H
#define PV_TEST_H

#include "kselftest_harness.h"

#include "pv_op.h"
#include "pv_sys.h"
#include "pv_vm.h"

/* An edu device takes 0.1 s for a copy, and the emulated lab kernel is slow */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900

#define PV_LOW_SIZE	(16ULL << 20)

/* At the begin of a test: parameters may be left of a test that was cut short */
static inline struct pv_usage pv_begin(void)
{
	pv_params_restore();
	return pv_usage_get();
}

/*
 * At the end of a test: everything is as before it. The address space of a killed process, with
 * the files that are mapped there, may go a moment later.
 */
#define pv_expect_unchanged(before) do {					\
	const char *__diff = pv_usage_settle(before);				\
										\
	EXPECT_EQ(NULL, __diff) {						\
		TH_LOG("changed: %s", __diff);					\
	}									\
} while (0)

/* Open @vm with at least @min and up to @max devices, or skip the test */
#define pv_setup_vm(vm, min, max, low_size) do {				\
	int __ret = pv_vm_open(vm, max, low_size);				\
										\
	if (__ret == -ENODEV || (!__ret && (vm)->nr_devs < (min)))		\
		SKIP(return, "needs %d device(s) bound to " PV_DRIVER, min);	\
	ASSERT_EQ(0, __ret) {							\
		TH_LOG("cannot set up: %s", strerror(-__ret));			\
	}									\
} while (0)

#endif /* PV_TEST_H */
