/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of foreign memory have in common: the owner, which lends memory, is a
 * process of its own (see pv_owner.h); the borrower is the VM of the test.
 */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <signal.h>

#include "edu.h"
#include "pv_ctl.h"
#include "pv_owner.h"
#include "pv_test.h"

#define IOVA		0x10000000ULL
#define NOBODY		12345	/* the number of no VM */

FIXTURE(foreign)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct vfio_dev *edu;
	__u32 id, dom;		/* of the borrower: its number and its domain */
	pid_t pid;		/* of the owner */
	__u32 owner;		/* the owner's number */
	int to, from;		/* the owner */
};

/* Have the owner do something; it must succeed */
#define ask(what)	ASSERT_EQ(PV_PEER_DONE, pv_peer_ask(self->to, self->from, what))

/* The same, but skip the test where the kernel cannot do it */
#define ask_or_skip(what) do {						\
	char __answer = pv_peer_ask(self->to, self->from, what);	\
									\
	if (__answer == PV_OWNER_UNABLE)				\
		SKIP(return, "needs userfaultfd");			\
	ASSERT_EQ(PV_PEER_DONE, __answer);				\
} while (0)

FIXTURE_SETUP(foreign)
{
	int ret;

	signal(SIGPIPE, SIG_IGN);
	self->before = pv_begin();
	if (!pv_ctl_found())
		SKIP(return, "needs pvctl");
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	ret = pv_vm_init(&self->vm, 2, PV_LOW_SIZE);
	if (ret == -ENODEV || (!ret && self->vm.nr_devs < 2))
		SKIP(return, "needs two devices bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	self->pid = pv_owner_start(1, &self->to, &self->from);
	ASSERT_LT(0, self->pid);
	ask(0);
	self->vm.nr_devs = 1;
	ASSERT_EQ(0, pv_vm_open_rest(&self->vm));
	self->edu = &self->vm.dev[0].vfio;
	self->r = &self->vm.ring[0];
	self->id = pv_ctl_vm_of(getpid());
	self->owner = pv_ctl_vm_of(self->pid);
	ASSERT_NE(0, self->id);
	ASSERT_NE(0, self->owner);
	pv_start(&self->vm, 1, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->vm.dev[0].id, self->dom);
}

FIXTURE_TEARDOWN(foreign)
{
	char text[256];

	pv_owner_end(&self->pid, SIGTERM);
	pv_vm_close(&self->vm);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
	/* The grants have ended with the VMs */
	EXPECT_EQ(0, pv_ctl(text, sizeof(text), "grant"));
	EXPECT_STREQ("", text);
}

/* MAP of memory of @vm */
static inline struct pviommu_op foreign_map(__u32 vm, __u32 dom, __u64 iova, __u64 gpa,
					    __u64 size, __u32 prot)
{
	struct pviommu_op op = pv_op_map(dom, iova, gpa, size, prot);

	op.vm = vm;
	return op;
}

/* MAP_LIST by a list in memory of the borrower, with frame numbers of the owner */
static inline struct pviommu_op foreign_list(struct pv_vm *own, __u32 vm, __u32 dom, __u64 iova,
					     __u64 gpa, __u64 size, __u32 prot)
{
	struct pviommu_op op = pv_op_map_list(dom, iova, PV_AT_LIST, size / PV_PAGE, prot);
	__u64 i;

	for (i = 0; i < size / PV_PAGE; i++)
		pv_list(own)[i] = gpa / PV_PAGE + i;
	op.vm = vm;
	return op;
}

/* A new grant; its number, or -1 */
static inline long long grant_add(__u32 from, __u32 to, __u64 gpa, __u64 size, const char *access)
{
	char text[256];

	if (pv_ctl(text, sizeof(text), "grant add from %u to %u gpa %llu size %llu access %s",
		   from, to, gpa, size, access))
		return -1;
	return pv_ctl_value(text, NULL, "grant");
}

/* A grant from the owner to the borrower; its number */
#define let(gpa, size, access) ({						\
	long long __grant = grant_add(self->owner, self->id, gpa, size, access);	\
										\
	ASSERT_LT(0, __grant);							\
	__grant;								\
})

/* Map memory of the owner */
#define borrow(iova, gpa, size, prot) \
	pv_exec(self->r, foreign_map(self->owner, self->dom, iova, gpa, size, prot))

/* The same must fail, by MAP and by MAP_LIST */
#define err_borrow(status, number, gpa, size, prot) do {				\
	pv_err_exec(status, self->r,						\
		    foreign_map(number, self->dom, IOVA, gpa, size, prot));	\
	pv_err_exec(status, self->r,						\
		    foreign_list(&self->vm, number, self->dom, IOVA, gpa, size, prot));	\
} while (0)

#endif /* FOREIGN_H */
