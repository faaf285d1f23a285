/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel tells about the host engine (counters, references), and its parameters.
 */
#ifndef PV_SYS_H
#define PV_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

/* What must be the same before and after a test, summed over all VMs of the machine */
struct pv_usage {
	long long pages_mapped;
	long long pages_pinned;
	long long domains;
	long long mappings;
	int refs_host;		/* references to pviommu_host */
	int refs_vfio;		/* references to pviommu_vfio_pci */
	long locked_kb;		/* VmLck of this process */
	long pinned_kb;		/* VmPin of this process */
};

/* A counter in debugfs, the sum of all VMs; -1 on failure */
long long pv_total(const char *name);
/* The number of VMs in debugfs */
int pv_vm_count(void);

/* The number of the newest VM, 0 if there is none; and one of its counters */
int pv_newest_vm(void);
long long pv_newest_vm_counter(const char *name);

/* A value in KiB of /proc/PID/status, -1 if there is none; @pid 0 is this process */
long pv_status_kb(int pid, const char *name);

/* References to a module, -1 if it is not loaded */
int pv_refcnt(const char *module);

/* Unload a module. Returns 0 or a negative errno, -EWOULDBLOCK if the module is in use */
int pv_unload(const char *module);

struct pv_usage pv_usage_get(void);
/* The difference, in words; NULL if there is none */
const char *pv_usage_diff(const struct pv_usage *a, const struct pv_usage *b);
/* What still differs from @before after some seconds; NULL if nothing does */
const char *pv_usage_settle(const struct pv_usage *before);

/*
 * Parameters of pviommu_host. Their values when the program started are put back by
 * pv_params_restore(), and when the program ends.
 */
long pv_param_get(const char *name);
bool pv_param_set(const char *name, const char *value);
void pv_params_restore(void);

/* Limit what this process may lock to @bytes, whatever rights it has. 0, or -1 on failure */
int pv_limit_locked(unsigned long bytes);

int pv_write_file(const char *path, const char *text);
int pv_read_file(const char *path, char *buf, size_t size);

#endif /* PV_SYS_H */
