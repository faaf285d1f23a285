// SPDX-License-Identifier: GPL-2.0-only
/*
 * PASIDs. The first device has some, which the module pviommu_test_pasid gave it.
 *
 * After each op the test looks at the tables of the host's IOMMU, which the emulator can read
 * (lib/pv_vtd.c): each IOVA must lead to the very page of this process that the op named, and
 * to no other. Besides, the IOMMU treats all requests of the device as requests with PASID 1,
 * so DMA must agree.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <linux/pci_regs.h>

#include "lib/edu.h"
#include "lib/pv_ctl.h"
#include "lib/pv_fault.h"
#include "lib/pv_table.h"
#include "lib/pv_test.h"
#include "lib/pv_vtd.h"

#define ACTION	"/sys/module/pviommu_test_pasid/parameters/action"
#define IOVA	0x8000000ULL
#define TARGET	(PV_DATA + 0x100000)
#define TABLES	(PV_DATA + 0x800000)
#define PASID	1

FIXTURE(pasid)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	const char *bdf;
	__u32 ep;
	__u32 other;	/* an endpoint without PASIDs */
	__u32 dom;
};

FIXTURE_SETUP(pasid)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 2, 2, PV_LOW_SIZE);
	/* Before the device does any DMA, or the IOMMU would have to be told of the change */
	if (pv_write_file(ACTION, "redirect"))
		SKIP(return, "needs pviommu_test_pasid");
	if (!pv_vtd_usable())
		SKIP(return, "needs an emulated VT-d in scalable mode");
	self->r = &self->vm.ring[0];
	self->bdf = self->vm.dev[0].vfio.bdf;
	self->ep = self->vm.dev[0].id;
	self->other = self->vm.dev[1].id;
	pv_start(&self->vm, 2, 6);
	self->dom = pv_new_domain(self->r, self->ep);
	ASSERT_NE(0, self->dom);
	pv_map(self->r, self->dom, PV_SOURCE, PV_FROM, PV_PAGE, PV_R);
}

FIXTURE_TEARDOWN(pasid)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* ---- ops with a PASID ---- */

static struct pviommu_op with(struct pviommu_op op, __u32 pasid)
{
	op.pasid = pasid;
	return op;
}

static struct pviommu_op attach(__u32 ep, __u32 dom, __u32 pasid)
{
	return with(pv_op_attach(ep, dom), pasid);
}

static struct pviommu_op detach(__u32 ep, __u32 dom, __u32 pasid)
{
	return with(pv_op_detach(ep, dom), pasid);
}

static struct pviommu_op inv(__u32 dom, __u32 pasid)
{
	struct pviommu_op op = with(pv_op_inv(dom), pasid);

	op.inv.granularity = PVIOMMU_INV_PASID;
	return op;
}

static struct pviommu_op inv_page(__u32 dom, __u32 pasid, __u64 addr, __u64 size)
{
	return with(pv_op_inv_page(dom, addr, size), pasid);
}

/* ---- what the tables of the host's IOMMU say ---- */

/* Nothing is attached at PASID 1 */
#define expect_blocked() do {							\
	struct pv_vtd_pasid __e;						\
										\
	ASSERT_EQ(0, pv_vtd_pasid(self->bdf, PASID, &__e));			\
	EXPECT_FALSE(__e.present);						\
} while (0)

/* At @at_pasid, @iova leads to the page at @gpa_at with @rights; nowhere if @gpa_at is -1 */
#define expect_leads(at_pasid, iova, gpa_at, rights) do {				\
	__u64 __gpa = gpa_at, __hpa = PV_VTD_NOWHERE;				\
	struct pv_vtd_pasid __e;						\
	__u32 __prot;								\
										\
	ASSERT_EQ(0, pv_vtd_pasid(self->bdf, at_pasid, &__e));			\
	ASSERT_TRUE(__e.present);						\
	EXPECT_EQ(2, __e.type);							\
	if (__gpa != ~0ULL) {							\
		__hpa = pv_vtd_hpa(pv_mem(&self->vm, __gpa));			\
		ASSERT_NE(PV_VTD_NOWHERE, __hpa);				\
	}									\
	EXPECT_EQ(__hpa, pv_vtd_walk(&__e, iova, &__prot));			\
	if (__gpa != ~0ULL)							\
		EXPECT_EQ(rights, __prot);					\
} while (0)

#define expect_reaches(gpa)	EXPECT_TRUE(pv_reaches(&self->vm, IOVA, gpa))
#define expect_no_reach(gpa)	EXPECT_FALSE(pv_reaches(&self->vm, IOVA, gpa))

/* Another domain, in which IOVA leads to another page than TARGET */
static __u32 second_domain(struct pv_ring *r, __u32 ep)
{
	__u32 dom = pv_new_domain(r, ep);

	if (!dom || __pv_map(r, dom, PV_SOURCE, PV_FROM, PV_PAGE, PV_R) ||
	    __pv_map(r, dom, IOVA, TARGET + 7 * PV_PAGE, PV_PAGE, PV_RW))
		return 0;
	return dom;
}

/* ---- what the guest is told ---- */

/* The IOMMU supports PASIDs of one bit, the device larger ones */
TEST_F(pasid, probe)
{
	EXPECT_EQ(1, pv_probe(self->r, self->ep).pasid_bits);
	EXPECT_EQ(0, pv_probe(self->r, self->other).pasid_bits);
	pv_exec(self->r, pv_op(PVIOMMU_OP_FEATURES));
	EXPECT_NE(0, self->r->last.result & PVIOMMU_F_PASID);
}

/* The feature is not offered to a VM whose devices have no PASIDs */
TEST_F(pasid, not_offered_without)
{
	struct pviommu_start *start;
	struct pv_vm vm;

	pv_vm_close(&self->vm);
	ASSERT_EQ(0, pv_vm_init_from(&vm, 1, 1, PV_LOW_SIZE) ?: pv_vm_open_rest(&vm));
	EXPECT_EQ(0, pv_cap_read(&vm, 0, PVIOMMU_CAP_FEATURES_OFF) & PVIOMMU_F_PASID);
	start = pv_start_prepare(&vm, 1, 6);
	start->features |= PVIOMMU_F_PASID;
	EXPECT_EQ(PVIOMMU_EOPNOTSUPP, pv_command(&vm, PVIOMMU_CMD_START, PV_AT_START));
	pv_vm_close(&vm);
}

TEST_F(pasid, not_accepted)
{
	struct pviommu_start *start;

	pv_reset(&self->vm);
	start = pv_start_prepare(&self->vm, 1, 6);
	start->features &= ~PVIOMMU_F_PASID;
	ASSERT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	self->dom = pv_new_domain(self->r, self->ep);
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, attach(self->ep, self->dom, PASID));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, detach(self->ep, self->dom, PASID));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, inv(self->dom, PASID));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, inv(self->dom, PVIOMMU_PASID_NONE));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, inv_page(self->dom, PASID, 0, PV_PAGE));
	expect_blocked();
}

TEST_F(pasid, attach_refuses)
{
	struct pviommu_op op = attach(self->ep, self->dom, PASID);

	op.raw[2] = 1;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, attach(self->ep, PVIOMMU_DOMAIN_BYPASS, PASID));
	pv_err_exec(PVIOMMU_ENOENT, self->r, attach(999, self->dom, PASID));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, attach(self->other, self->dom, PASID));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, attach(self->other, self->dom, 77));
	pv_err_exec(PVIOMMU_ERANGE, self->r, attach(self->ep, self->dom, 0));
	pv_err_exec(PVIOMMU_ERANGE, self->r, attach(self->ep, self->dom, 2));
	pv_err_exec(PVIOMMU_ERANGE, self->r, attach(self->ep, 999, 1U << 20));
	pv_err_exec(PVIOMMU_ENOENT, self->r, attach(self->ep, 999, PASID));
	expect_blocked();
	/* Blocking can't fail, and nothing is attached anyway */
	pv_exec(self->r, attach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
}

TEST_F(pasid, detach_refuses)
{
	__u32 dom = second_domain(self->r, self->ep);
	struct pviommu_op op = detach(self->ep, self->dom, PASID);

	ASSERT_NE(0, dom);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	op.raw[0] = 1;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	pv_err_exec(PVIOMMU_ENOENT, self->r, detach(999, self->dom, PASID));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, detach(self->other, self->dom, PASID));
	pv_err_exec(PVIOMMU_ERANGE, self->r, detach(self->ep, self->dom, 0));
	pv_err_exec(PVIOMMU_EINVAL, self->r, detach(self->ep, dom, PASID));
	pv_err_exec(PVIOMMU_EINVAL, self->r, detach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
	expect_leads(PASID, PV_SOURCE, PV_FROM, PV_R);
	pv_exec(self->r, detach(self->ep, self->dom, PASID));
	pv_err_exec(PVIOMMU_EINVAL, self->r, detach(self->ep, self->dom, PASID));
	pv_exec(self->r, detach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
}

TEST_F(pasid, invalidate_refuses)
{
	__u32 dom = second_domain(self->r, self->ep);
	struct pviommu_op op = inv(self->dom, PASID);

	ASSERT_NE(0, dom);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	op.inv.reserved = 1;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	op = inv(self->dom, PASID);
	op.inv.size = PV_PAGE;
	pv_err_exec(PVIOMMU_EINVAL, self->r, op);
	pv_err_exec(PVIOMMU_EINVAL, self->r, inv(self->dom, PVIOMMU_PASID_NONE));
	pv_err_exec(PVIOMMU_EINVAL, self->r, with(pv_op_inv(self->dom), PASID));
	pv_err_exec(PVIOMMU_EINVAL, self->r, inv_page(self->dom, PASID, 1, PV_PAGE));
	pv_err_exec(PVIOMMU_ERANGE, self->r, inv_page(self->dom, PASID, -PV_PAGE, 2 * PV_PAGE));
	pv_err_exec(PVIOMMU_ENOENT, self->r, inv(999, PASID));
	pv_err_exec(PVIOMMU_EINVAL, self->r, inv(dom, PASID));
	pv_err_exec(PVIOMMU_EINVAL, self->r, inv(self->dom, 0));
	pv_err_exec(PVIOMMU_EINVAL, self->r, inv_page(dom, PASID, 0, PV_PAGE));
	pv_exec(self->r, inv(PVIOMMU_DOMAIN_BLOCKED, PASID));
	pv_exec(self->r, inv(self->dom, PASID));
}

/* ---- what devices reach ---- */

TEST_F(pasid, attach_and_detach)
{
	pv_map(self->r, self->dom, IOVA, TARGET, 4 * PV_PAGE, PV_RW);
	expect_blocked();
	expect_no_reach(TARGET);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_leads(PASID, PV_SOURCE, PV_FROM, PV_R);
	expect_leads(PASID, IOVA, TARGET, PV_RW);
	expect_leads(PASID, IOVA + 3 * PV_PAGE, TARGET + 3 * PV_PAGE, PV_RW);
	expect_leads(PASID, IOVA + 4 * PV_PAGE, ~0ULL, 0);
	expect_leads(PASID, IOVA - PV_PAGE, ~0ULL, 0);
	expect_reaches(TARGET);
	/* Attaching where it is attached already changes nothing */
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	pv_exec(self->r, detach(self->ep, self->dom, PASID));
	expect_blocked();
	expect_no_reach(TARGET);
}

/* The endpoint without a PASID is attached and detached independently of the PASID */
TEST_F(pasid, apart_from_the_endpoint)
{
	__u32 dom = second_domain(self->r, self->ep);
	struct pv_vtd_pasid rid, pasid;

	ASSERT_NE(0, dom);
	pv_attach(self->r, self->ep, dom);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	expect_leads(0, IOVA, TARGET + 7 * PV_PAGE, PV_RW);
	expect_leads(PASID, IOVA, TARGET, PV_RW);
	ASSERT_EQ(0, pv_vtd_pasid(self->bdf, 0, &rid));
	ASSERT_EQ(0, pv_vtd_pasid(self->bdf, PASID, &pasid));
	EXPECT_NE(rid.did, pasid.did);
	EXPECT_NE(rid.table, pasid.table);
	EXPECT_EQ(dom, pv_probe(self->r, self->ep).domain);
	pv_detach(self->r, self->ep, dom);
	expect_leads(PASID, IOVA, TARGET, PV_RW);
	expect_reaches(TARGET);
	/* Both in the same domain */
	pv_attach(self->r, self->ep, self->dom);
	expect_leads(0, IOVA, TARGET, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_inv(self->r, self->dom);
	expect_leads(0, IOVA, ~0ULL, 0);
	expect_leads(PASID, IOVA, ~0ULL, 0);
	pv_exec(self->r, detach(self->ep, self->dom, PASID));
	expect_leads(0, PV_SOURCE, PV_FROM, PV_R);
}

TEST_F(pasid, move)
{
	__u32 dom = second_domain(self->r, self->ep);

	ASSERT_NE(0, dom);
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_reaches(TARGET);
	pv_exec(self->r, attach(self->ep, dom, PASID));
	expect_leads(PASID, IOVA, TARGET + 7 * PV_PAGE, PV_RW);
	expect_no_reach(TARGET);
	expect_reaches(TARGET + 7 * PV_PAGE);
	pv_free(self->r, self->dom);
	pv_err_free(PVIOMMU_EBUSY, self->r, dom);
	pv_exec(self->r, attach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
	expect_blocked();
	pv_free(self->r, dom);
}

/* ---- flushing ---- */

TEST_F(pasid, unmap_and_invalidate)
{
	__u64 pinned;

	pv_map(self->r, self->dom, IOVA, TARGET, 2 * PV_PAGE, PV_RW);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_reaches(TARGET);
	pinned = pv_state(self->r).pages_pinned;

	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	EXPECT_EQ(pinned, pv_state(self->r).pages_pinned);
	/* A flush of other pages unpins nothing */
	pv_exec(self->r, inv_page(self->dom, PASID, IOVA + 64 * PV_PAGE, PV_PAGE));
	EXPECT_EQ(pinned, pv_state(self->r).pages_pinned);
	pv_exec(self->r, inv_page(self->dom, PASID, IOVA, PV_PAGE));
	EXPECT_EQ(pinned - 1, pv_state(self->r).pages_pinned);
	expect_leads(PASID, IOVA, ~0ULL, 0);
	expect_leads(PASID, IOVA + PV_PAGE, TARGET + PV_PAGE, PV_RW);
	expect_no_reach(TARGET);

	pv_unmap(self->r, self->dom, IOVA + PV_PAGE, PV_PAGE);
	pv_exec(self->r, inv(self->dom, PASID));
	EXPECT_EQ(pinned - 2, pv_state(self->r).pages_pinned);
	expect_leads(PASID, IOVA + PV_PAGE, ~0ULL, 0);
	expect_leads(PASID, PV_SOURCE, PV_FROM, PV_R);
}

/* The PASID is attached to a domain with a guest-owned table */
TEST_F(pasid, guest_owned_table)
{
	struct pv_table t = pv_table(&self->vm, 4, TABLES);
	__u32 dom;

	pv_table_map(&t, PV_SOURCE, PV_FROM, PV_ENTRY_P);
	ASSERT_EQ(PVIOMMU_OK, __pv_alloc_table(self->r, self->ep, pv_table_format(&t), t.root));
	dom = self->r->last.result;
	pv_exec(self->r, attach(self->ep, dom, PASID));
	expect_leads(PASID, PV_SOURCE, ~0ULL, 0);
	pv_exec(self->r, inv(dom, PASID));
	expect_leads(PASID, PV_SOURCE, PV_FROM, PV_R);
	pv_table_map(&t, IOVA, TARGET, PV_ENTRY_RW);
	pv_table_map(&t, IOVA + PV_PAGE, TARGET + PV_PAGE, PV_ENTRY_RW);
	expect_no_reach(TARGET);
	pv_exec(self->r, inv_page(dom, PASID, IOVA, PV_PAGE));
	expect_leads(PASID, IOVA, TARGET, PV_RW);
	expect_leads(PASID, IOVA + PV_PAGE, ~0ULL, 0);
	expect_reaches(TARGET);
	*pv_entry(&t, IOVA, 1) = 0;
	pv_exec(self->r, inv(dom, PASID));
	expect_leads(PASID, IOVA, ~0ULL, 0);
	expect_leads(PASID, IOVA + PV_PAGE, TARGET + PV_PAGE, PV_RW);
	expect_no_reach(TARGET);
}

/* INVALIDATE of a table that takes several doorbells */
TEST_F(pasid, invalidate_in_pieces)
{
	struct pv_table t = pv_table(&self->vm, 4, TABLES);
	unsigned int i;

	for (i = 0; i < 512; i++)
		pv_table_map(&t, IOVA + i * PV_PAGE, TARGET + (i ^ 1) * PV_PAGE, PV_ENTRY_RW);
	ASSERT_EQ(PVIOMMU_OK, __pv_alloc_table(self->r, self->ep, pv_table_format(&t), t.root));
	self->dom = self->r->last.result;
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	ASSERT_TRUE(pv_param_set("doorbell_pages", "16"));
	self->r->kicks = 0;
	pv_exec(self->r, inv(self->dom, PASID));
	EXPECT_LT(1, self->r->kicks);
	expect_leads(PASID, IOVA, TARGET + PV_PAGE, PV_RW);
	expect_leads(PASID, IOVA + 500 * PV_PAGE, TARGET + 501 * PV_PAGE, PV_RW);
}

/* ---- limits ---- */

TEST_F(pasid, quota)
{
	__u32 dom = second_domain(self->r, self->ep);

	ASSERT_TRUE(pv_param_set("max_pasids", "0"));
	pv_err_exec(PVIOMMU_ENOSPC, self->r, attach(self->ep, self->dom, PASID));
	expect_blocked();
	ASSERT_TRUE(pv_param_set("max_pasids", "1"));
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	/* Moving a PASID takes no more of the quota */
	pv_exec(self->r, attach(self->ep, dom, PASID));
	pv_exec(self->r, detach(self->ep, dom, PASID));
}

/* ---- ends ---- */

TEST_F(pasid, reset)
{
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_leads(PASID, PV_SOURCE, PV_FROM, PV_R);
	pv_reset(&self->vm);
	expect_blocked();
	/* The next interface begins without it */
	pv_start(&self->vm, 1, 6);
	self->dom = pv_new_domain(self->r, self->ep);
	pv_err_exec(PVIOMMU_EINVAL, self->r, detach(self->ep, self->dom, PASID));
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
}

/* The VMM resets its VM */
TEST_F(pasid, devices_are_reset)
{
	int i;

	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	for (i = 0; i < self->vm.nr_devs; i++)
		vfio_dev_enable(&self->vm.dev[i].vfio, true, false);
	EXPECT_FALSE(pv_running(&self->vm));
	expect_blocked();
}

TEST_F(pasid, close)
{
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	vfio_dev_close(&self->vm.dev[0].vfio);
	expect_blocked();
}

/* A VM that has attached a PASID, and waits to be killed */
static void attach_and_wait(struct pv_vm *vm, int ready)
{
	struct pv_ring *r = &vm->ring[0];
	__u32 dom;

	if (pv_vm_open(vm, 2, PV_LOW_SIZE) || __pv_start(vm, 1, 6))
		_exit(1);
	dom = pv_new_domain(r, vm->dev[0].id);
	if (!dom || __pv_map(r, dom, IOVA, TARGET, PV_PAGE, PV_RW) ||
	    __pv_exec(r, attach(vm->dev[0].id, dom, PASID)) || write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

TEST_F(pasid, killed)
{
	char bdf[16], byte;
	int pipes[2], status;
	pid_t pid;

	strcpy(bdf, self->bdf);
	pv_vm_close(&self->vm);
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		attach_and_wait(&self->vm, pipes[1]);
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	close(pipes[0]);
	self->bdf = bdf;
	/* Attached: where there is no mapping, the PASID leads nowhere */
	expect_leads(PASID, IOVA + PV_PAGE, ~0ULL, 0);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	expect_blocked();
}

/* ---- errors of devices ---- */

TEST_F(pasid, isolation)
{
	struct pviommu_event ev = {};

	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	pv_attach(self->r, self->ep, self->dom);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_reaches(TARGET);
	ASSERT_EQ(0, pv_write_file(ACTION, "error"));
	EXPECT_TRUE(pv_event_wait(&self->vm, &ev, 30000));
	EXPECT_EQ(PVIOMMU_EV_ISOLATED, ev.type);
	expect_blocked();
	expect_no_reach(TARGET);
	pv_err_exec(PVIOMMU_EACCES, self->r, attach(self->ep, self->dom, PASID));
	pv_err_exec(PVIOMMU_EBUSY, self->r, pv_op_recover(self->ep));
	/* Isolation has detached the PASID. Blocking can't fail */
	pv_err_exec(PVIOMMU_EINVAL, self->r, detach(self->ep, self->dom, PASID));
	pv_exec(self->r, attach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
	ASSERT_EQ(0, pv_write_file(ACTION, "resume"));
	pv_exec(self->r, pv_op_recover(self->ep));
	/* RECOVER brings nothing back */
	expect_blocked();
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_leads(PASID, IOVA, TARGET, PV_RW);
	expect_reaches(TARGET);
}

/* The host has detached the PASID: the domain can be freed at once */
TEST_F(pasid, isolation_frees_the_domain)
{
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	ASSERT_EQ(0, pv_write_file(ACTION, "error"));
	pv_exec(self->r, attach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
	pv_free(self->r, self->dom);
	ASSERT_EQ(0, pv_write_file(ACTION, "resume"));
}

/* ---- the administrator ---- */

#define expect_shown(of_ep, isolated, of_dom) do {				\
	EXPECT_TRUE(pv_ctl_json("endpoint",					\
		"('%s', %u, %s) in [(e['device'], e['pasids'], e['isolated']) for e in a]", \
		self->bdf, of_ep, isolated));					\
	EXPECT_TRUE(pv_ctl_json("domain",					\
		"(%u, 0, %u) in [(d['domain'], d['groups'], d['pasids']) for d in a]", \
		self->dom, of_dom));						\
} while (0)

TEST_F(pasid, shown_to_the_administrator)
{
	struct pviommu_event ev;

	if (!pv_ctl_found())
		SKIP(return, "needs pvctl");
	expect_shown(0, "False", 0);
	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	expect_shown(1, "False", 1);
	/* The PASID keeps the domain busy */
	pv_err_free(PVIOMMU_EBUSY, self->r, self->dom);
	pv_exec(self->r, detach(self->ep, self->dom, PASID));
	expect_shown(0, "False", 0);

	pv_exec(self->r, attach(self->ep, self->dom, PASID));
	ASSERT_EQ(0, pv_write_file(ACTION, "error"));
	EXPECT_TRUE(pv_event_wait(&self->vm, &ev, 30000));
	/* An op makes the host update its records of the domain */
	pv_exec(self->r, attach(self->ep, PVIOMMU_DOMAIN_BLOCKED, PASID));
	expect_shown(0, "True", 0);
	ASSERT_EQ(0, pv_write_file(ACTION, "resume"));
	pv_exec(self->r, pv_op_recover(self->ep));
	expect_shown(0, "False", 0);
}

/* ---- config space ---- */

#define PLACE	"/sys/module/pviommu_vfio_pci/parameters/place"

FIXTURE(space)
{
	struct pv_vm vm;
	const struct vfio_dev *dev;
	unsigned int pos;	/* of the PASID capability */
};

FIXTURE_VARIANT(space)
{
	const char *place;
};

/* Where pviommu_vfio_pci puts the interface's capability */
FIXTURE_VARIANT_ADD(space, std)
{
	.place = "std",
};

FIXTURE_VARIANT_ADD(space, ext)
{
	.place = "ext",
};

/* The PASID capability; 0 if there is none, or more than one */
static unsigned int find_pasid(const struct vfio_dev *dev)
{
	unsigned int pos = 0x100, found = 0, ttl = 960;
	__u32 head;

	for (; pos && ttl; ttl--, pos = head >> 20) {
		head = vfio_config_read32(dev, pos);
		if ((head & 0xffff) != PCI_EXT_CAP_ID_PASID)
			continue;
		if (found)
			return 0;
		found = pos;
	}
	return ttl ? found : 0;
}

FIXTURE_SETUP(space)
{
	if (pv_write_file(ACTION, "redirect"))
		SKIP(return, "needs pviommu_test_pasid");
	/* Only the device with PASIDs has extended config space */
	ASSERT_EQ(0, pv_write_file(PLACE, variant->place));
	ASSERT_EQ(0, pv_vm_open(&self->vm, 1, PV_LOW_SIZE));
	self->dev = &self->vm.dev[0].vfio;
	self->pos = find_pasid(self->dev);
}

FIXTURE_TEARDOWN(space)
{
	pv_vm_close(&self->vm);
	pv_write_file(PLACE, "auto");
}

static __u16 ctrl(const struct vfio_dev *dev, unsigned int pos)
{
	return vfio_config_read32(dev, pos + 4) >> 16;
}

/* The control register that the device itself has */
static __u16 own_ctrl(const char *bdf)
{
	char path[64];
	__u16 val = 0xdead;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDONLY);
	if (pread(fd, &val, sizeof(val), 0x106) != sizeof(val))
		val = 0xdead;
	close(fd);
	return val;
}

TEST_F(space, shown)
{
	EXPECT_EQ(!strcmp(variant->place, "ext"), self->vm.dev[0].shift != 0);
	ASSERT_NE(0, self->pos);
	EXPECT_EQ(1 << 8, vfio_config_read32(self->dev, self->pos + 4));
}

/* A read of any size gives the same bytes */
TEST_F(space, read_at_once)
{
	__u8 all[4096], part[16];
	unsigned int i;

	ASSERT_EQ(0, vfio_config_read(self->dev, 0, all, sizeof(all)));
	for (i = 0x40; i < sizeof(all); i += 4) {
		__u32 word;

		memcpy(&word, all + i, sizeof(word));
		EXPECT_EQ(vfio_config_read32(self->dev, i), word);
	}
	for (i = self->pos - 8; i < self->pos + 8 && i + 5 <= sizeof(all); i++) {
		ASSERT_EQ(0, vfio_config_read(self->dev, i, part, 5));
		EXPECT_EQ(0, memcmp(part, all + i, 5));
	}
}

/* The guest has a control register of its own: the device's does not change */
TEST_F(space, control)
{
	__u16 half = 0xffff;
	__u8 byte = 0;

	EXPECT_EQ(0, ctrl(self->dev, self->pos));
	EXPECT_EQ(1, own_ctrl(self->dev->bdf));
	ASSERT_EQ(0, vfio_config_write(self->dev, self->pos + 6, &half, sizeof(half)));
	EXPECT_EQ(1, ctrl(self->dev, self->pos));
	ASSERT_EQ(0, vfio_config_write32(self->dev, self->pos + 4, 0xffff));
	EXPECT_EQ(0, ctrl(self->dev, self->pos));
	ASSERT_EQ(0, vfio_config_write32(self->dev, self->pos + 4, 0x10000));
	EXPECT_EQ(1, ctrl(self->dev, self->pos));
	ASSERT_EQ(0, vfio_config_write(self->dev, self->pos + 7, &byte, sizeof(byte)));
	EXPECT_EQ(1, ctrl(self->dev, self->pos));
	ASSERT_EQ(0, vfio_config_write(self->dev, self->pos + 6, &byte, sizeof(byte)));
	EXPECT_EQ(0, ctrl(self->dev, self->pos));
	ASSERT_EQ(0, vfio_config_write32(self->dev, self->pos, ~0U));
	EXPECT_EQ(1 << 8, vfio_config_read32(self->dev, self->pos + 4));
	EXPECT_EQ(self->pos, find_pasid(self->dev));
	EXPECT_EQ(1, own_ctrl(self->dev->bdf));
}

/* A VMM may restore all of config space: this is no command */
TEST_F(space, written_at_once)
{
	__u8 all[4096];

	pv_start(&self->vm, 1, 6);
	ASSERT_EQ(0, vfio_config_read(self->dev, 0, all, sizeof(all)));
	ASSERT_EQ(0, vfio_config_write(self->dev, 0x100, all + 0x100, sizeof(all) - 0x100));
	ASSERT_EQ(0, vfio_config_write(self->dev, 0x40, all + 0x40, 0xc0));
	EXPECT_TRUE(pv_running(&self->vm));
	EXPECT_EQ(self->pos, find_pasid(self->dev));
	EXPECT_EQ(1, own_ctrl(self->dev->bdf));
}

/* ---- every failure ---- */

/*
 * ATTACH of a PASID that moves it from domain @from to @to, with each failure in turn. It is
 * then either moved or where it was.
 */
#define every_failure(what, from, to, from_gpa, to_gpa) do {			\
	struct pv_fault_sweep __sweep = {};					\
										\
	while (pv_fault_next(&__sweep)) {					\
		struct pv_state __was, __is;					\
		__u32 __status;							\
		__u64 __leads;							\
										\
		pv_exec(self->r, attach(self->ep, from, PASID));		\
		__was = pv_state(self->r);					\
		ASSERT_TRUE(pv_fault_arm(__sweep.kind, __sweep.nth));		\
		__status = __pv_exec(self->r, attach(self->ep, to, PASID));	\
		__sweep.was = pv_fault_disarm();				\
		__is = pv_state(self->r);					\
		EXPECT_TRUE(pv_state_same(&__was, &__is));			\
		__leads = __status ? (from_gpa) : (to_gpa);			\
		if (__status && !__sweep.was)					\
			TH_LOG("%s: %u and nothing failed", what, __status);	\
		EXPECT_TRUE(!__status || __sweep.was);				\
		if (__leads == ~0ULL)						\
			expect_blocked();					\
		else								\
			expect_leads(PASID, IOVA, __leads, PV_RW);		\
	}									\
	EXPECT_LT(0, pv_fault_report(what, &__sweep));				\
} while (0)

/* INVALIDATE with each failure in turn: it has flushed and unpinned the page, or the next does */
#define every_failure_of_inv(what, op) do {					\
	struct pv_fault_sweep __sweep = {};					\
										\
	pv_exec(self->r, attach(self->ep, self->dom, PASID));			\
	while (pv_fault_next(&__sweep)) {					\
		struct pv_state __without = pv_state(self->r), __with, __is;	\
		__u32 __status;							\
										\
		pv_map(self->r, self->dom, IOVA + PV_PAGE, TARGET + PV_PAGE, PV_PAGE, PV_RW); \
		pv_unmap(self->r, self->dom, IOVA + PV_PAGE, PV_PAGE);		\
		__with = pv_state(self->r);					\
		ASSERT_EQ(__without.pages_pinned + 1, __with.pages_pinned);	\
		ASSERT_TRUE(pv_fault_arm(__sweep.kind, __sweep.nth));		\
		__status = __pv_exec(self->r, op);				\
		__sweep.was = pv_fault_disarm();				\
		EXPECT_TRUE(!__status || __sweep.was);				\
		__is = pv_state(self->r);					\
		EXPECT_TRUE(pv_state_same(&__is, __status ? &__with : &__without)); \
		if (__status)							\
			pv_exec(self->r, op);					\
		__is = pv_state(self->r);					\
		ASSERT_TRUE(pv_state_same(&__is, &__without));			\
	}									\
	EXPECT_LT(0, pv_fault_report(what, &__sweep));				\
} while (0)

TEST_F_TIMEOUT(pasid, every_failure, 1200)
{
	const char *missing = pv_fault_missing();
	__u32 dom;

	if (missing)
		SKIP(return, "%s", missing);
	dom = second_domain(self->r, self->ep);
	ASSERT_NE(0, dom);
	pv_map(self->r, self->dom, IOVA, TARGET, PV_PAGE, PV_RW);
	ASSERT_TRUE(pv_fault_begin());
	every_failure("ATTACH by PASID", PVIOMMU_DOMAIN_BLOCKED, dom, ~0ULL,
		      TARGET + 7 * PV_PAGE);
	every_failure("moving a PASID", self->dom, dom, TARGET, TARGET + 7 * PV_PAGE);
	every_failure("blocking a PASID", dom, PVIOMMU_DOMAIN_BLOCKED, 0, ~0ULL);
	every_failure_of_inv("INVALIDATE by PASID", inv(self->dom, PASID));
	every_failure_of_inv("INVALIDATE of pages by PASID",
			     inv_page(self->dom, PASID, IOVA + PV_PAGE, PV_PAGE));
	pv_fault_end();
}

TEST_HARNESS_MAIN
