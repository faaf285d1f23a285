/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pvctl, the administrator's tool.
 */
#ifndef PV_CTL_H
#define PV_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

/* Is there pvctl, beside the tests as the tree builds it, or in PATH? */
bool pv_ctl_found(void);

/*
 * Run "pvctl ARGUMENTS". What it prints goes to @out, or nowhere if that is NULL. Its exit code,
 * or -1.
 */
int pv_ctl(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Does "pvctl -o json COMMAND" succeed, and is the Python expression true of its output, which is
 * the list a?
 */
bool pv_ctl_json(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The number of the newest VM of process @pid, 0 if there is none */
__u32 pv_ctl_vm_of(int pid);

/* The number behind "@name " in @text, from the first @from on; -1 if there is none */
long long pv_ctl_value(const char *text, const char *from, const char *name);

#endif /* PV_CTL_H */
