/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The administrator's tool, pvctl, as tests use it.
 */
#ifndef PV_CTL_H
#define PV_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

/* Is the tool there: beside the tests, as the tree builds them, or in PATH? */
bool pv_ctl_found(void);

/*
 * Run "pvctl ARGUMENTS" with what it prints in @out (NULL: nobody cares). Its exit
 * code, or -1.
 */
int pv_ctl(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Does "pvctl -o json COMMAND" succeed and print JSON of which the expression in Python
 * is true? The array is a.
 */
bool pv_ctl_json(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The number of the VM that this process made last, 0 if there is none */
__u32 pv_ctl_vm_of(int pid);

/* The number that follows "@name " in @text, from @from on; -1 if there is none */
long long pv_ctl_value(const char *text, const char *from, const char *name);

#endif /* PV_CTL_H */
