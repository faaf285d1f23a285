/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM in a process of its own which is a burden for its host: it uses up what it may have,
 * keeps the host busy, or stalls in the middle of an op. The test beside it asks for that
 * by the letters below, with pv_peer_ask().
 */
#ifndef PV_LOAD_H
#define PV_LOAD_H

#include <stdbool.h>
#include <sys/types.h>

#include "pv_kvm.h"
#include "pv_op.h"
#include "pv_peer.h"

#define PV_LOAD_IOVA	0x10000000ULL	/* where PV_LOAD_TARGET is mapped from the start */
#define PV_LOAD_TARGET	(PV_DATA + 0x10000)
#define PV_LOAD_TYPED	(PV_DATA + 0x300000)	/* pages that get a type */

/* What a VM in a process of its own tells the test */
struct pv_load_told {
	bool stop;		/* set by the test */
	unsigned int rounds;	/* of work that were done */
	__u64 longest;		/* doorbell, in ns */
};

/* A VM that has KVM, with its ring and its domain */
struct pv_load_vm {
	struct pv_vm vm;
	struct pv_kvm kvm;
	struct pv_ring *r;
	__u32 dom;
	struct pv_load_told *told;
	int late;		/* userfaultfd, while it stalls */
	pid_t behind;		/* the second thread of a stall */
};

/* With the device @first, at work. 0 or a negative errno; pv_load_close() is for either */
int pv_load_open(struct pv_load_vm *g, int first);
void pv_load_close(struct pv_load_vm *g);

/* RELEASE of @count pages from @gpa on, and whether an event tells that it is complete */
struct pviommu_op pv_load_release(struct pv_vm *vm, __u64 gpa, __u32 count);
bool pv_load_is_released(struct pv_vm *vm);

/*
 * How long a VM stands still unless it is told to go on, which a test that waits for that VM, as
 * it must not, never does
 */
#define PV_LOAD_STALL_MS	120000ULL

/* Execute @op. Raises @longest to the time that its longest doorbell took, in ns */
__u32 pv_load_timed(struct pv_ring *r, struct pviommu_op op, __u64 *longest);

/*
 * Requests, and answers besides those of pv_peer.h. The first answer of the process, which
 * tells that its VM is open, takes no request. WORK and STALL have a first answer when they
 * have begun, and a second one when they have ended.
 */
#define PV_LOAD_UNABLE	's'	/* the answer if there is no device, KVM or userfaultfd */
#define PV_LOAD_FILL	'a'	/* + n: use up pv_load_quotas[n], and keep it */
#define PV_LOAD_WORK	'k'	/* + n: do pv_load_jobs[n] over and over until told->stop */
#define PV_LOAD_STALL	's'	/* + n: stall in pv_load_stalls[n] until GO_ON */
#define PV_LOAD_GO_ON	'z'

/* A quota, and the parameter to set first for all VMs, so that the quota is small */
struct pv_load_quota {
	const char *name;
	bool (*fill)(struct pv_load_vm *g);
	const char *param, *value;
};

struct pv_load_job {
	const char *name;
	bool (*work)(struct pv_load_vm *g, __u64 *longest);
};

/* Where the VM waits for a page that its VMM does not provide */
struct pv_load_stall {
	const char *name;
	void *(*work)(void *g);
	void *(*behind)(void *g);	/* a second thread, which waits for the first; or NULL */
};

#define PV_LOAD_QUOTAS	7
#define PV_LOAD_JOBS	6
#define PV_LOAD_STALLS	6

extern const struct pv_load_quota pv_load_quotas[PV_LOAD_QUOTAS];
extern const struct pv_load_job pv_load_jobs[PV_LOAD_JOBS];
extern const struct pv_load_stall pv_load_stalls[PV_LOAD_STALLS];

/*
 * The process, with the first device. @other: a VM of the calling process, which the new
 * process must not keep open. Returns its id, or -1.
 */
pid_t pv_load_start(struct pv_load_vm *other, struct pv_load_told *told, int *to, int *from);

#endif /* PV_LOAD_H */
