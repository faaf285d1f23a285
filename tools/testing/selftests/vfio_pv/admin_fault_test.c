// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures inside the host while it serves someone other than the guest and its VMM: a
 * server of a memory type, and the administrator who lists what there is and grants memory. Each
 * allocation and copy is made to fail once, one after the other. A request that fails has changed
 * nothing, and succeeds when it is repeated. For ops see hypercall_fault_ops_test.
 *
 * There are two VMs. The owner can lend memory to the other one, which has KVM. Needs
 * pviommu_test_memory, to tell what a device reaches.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/pv_iommu_admin.h>
#include <linux/pv_iommu_server.h>

#include "lib/pv_admin.h"
#include "lib/pv_ctl.h"
#include "lib/pv_fault.h"
#include "lib/pv_pair.h"
#include "lib/pv_reach.h"
#include "lib/pv_test.h"
#include "lib/pv_vtd.h"

#define ENTRIES		64
#define RING_SIZE	(sizeof(struct pviommu_server_ring) + \
			 ENTRIES * sizeof(struct pviommu_server_record))
#define TYPED		(PV_DATA + 0x100000)
#define IOVA		0x10000000ULL
#define PAGES		20

FIXTURE(failures)
{
	struct pv_usage before;
	struct pv_pair pair;
	struct pv_ring *r;
	__u32 owner_id, id, dom;
	int server, event, admin;
};

FIXTURE_SETUP(failures)
{
	const char *missing = pv_fault_missing();
	int ret;

	pv_pair_init(&self->pair);
	self->server = -1;
	self->event = -1;
	self->admin = -1;
	if (missing)
		SKIP(return, "%s", missing);
	if (!pv_vtd_readable())
		SKIP(return, "needs pviommu_test_memory, and VT-d");
	self->before = pv_begin();
	ASSERT_TRUE(pv_ctl_found());
	ret = pv_pair_open(&self->pair, 1);
	if (ret == -ENODEV)
		SKIP(return, "needs two devices bound to " PV_DRIVER ", and KVM");
	ASSERT_EQ(0, ret);
	self->owner_id = self->pair.owner_id;
	self->id = self->pair.id;
	self->r = &self->pair.vm.ring[0];
	pv_start(&self->pair.vm, 1, 7);
	self->dom = pv_new_domain(self->r, self->pair.vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	self->event = eventfd(0, 0);
	ASSERT_LE(0, self->event);
	self->server = open("/dev/pv-iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->server);
	self->admin = pv_admin_open();
	ASSERT_LE(0, self->admin);
	ASSERT_TRUE(pv_fault_begin());
}

FIXTURE_TEARDOWN(failures)
{
	pv_fault_end();
	close(self->server);
	close(self->event);
	close(self->admin);
	pv_pair_close(&self->pair);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
}

static bool may_fail_with(int ret)
{
	return ret == -ENOMEM || ret == -EFAULT || ret == -ENOBUFS;
}

/* ---- servers ----------------------------------------------------------------- */

static int claim(int fd, __u32 vm, __u32 flags, int event)
{
	struct pviommu_server_claim req = {
		.argsz = sizeof(req),
		.flags = flags,
		.vm = vm,
		.type = PVIOMMU_MEM_IOREQ_SERVER,
		.entries = flags ? ENTRIES : 0,
		.eventfd = flags ? event : -1,
	};

	return ioctl(fd, PVIOMMU_SERVER_CLAIM, &req) ? -errno : 0;
}

static struct pviommu_server_ring *map_ring(int fd)
{
	return mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static __u32 set_type(struct pv_ring *r, __u32 type, __u64 size)
{
	return __pv_exec(r, pv_op_type_set(TYPED, size, type));
}

TEST_F_TIMEOUT(failures, of_a_claim, 1200)
{
	struct pv_fault_sweep sweep;
	int ret;

	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = claim(self->server, self->id, PVIOMMU_CLAIM_WRITES, self->event);
		sweep.was = pv_fault_disarm();
		ASSERT_TRUE(!ret || (sweep.was && may_fail_with(ret))) {
			TH_LOG("failure %d/%u: %d", sweep.kind, sweep.nth, ret);
		}
		/* Either nobody has the claim, or this file has it */
		EXPECT_EQ(ret ? PVIOMMU_ENOENT : PVIOMMU_OK,
			  set_type(self->r, PVIOMMU_MEM_IOREQ_SERVER, PV_PAGE));
		EXPECT_EQ(ret ? 0 : -EBUSY, claim(self->server, self->id, PVIOMMU_CLAIM_WRITES,
						  self->event));
		ASSERT_EQ(0, claim(self->server, self->id, 0, -1));
	}
	pv_fault_report("claim", &sweep);
	EXPECT_LT(4, sweep.count[PV_FAULT_KERNEL]);
}

TEST_F_TIMEOUT(failures, of_a_disclaim, 1200)
{
	struct pv_fault_sweep sweep;
	int ret;

	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_EQ(0, claim(self->server, self->id, PVIOMMU_CLAIM_WRITES, self->event));
		ASSERT_EQ(PVIOMMU_OK, set_type(self->r, PVIOMMU_MEM_IOREQ_SERVER, PV_PAGE));
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = claim(self->server, self->id, 0, -1);
		sweep.was = pv_fault_disarm();
		ASSERT_TRUE(!ret || (sweep.was && may_fail_with(ret)));
		EXPECT_EQ(ret ? 0 : -EACCES, claim(self->server, self->id, 0, -1));
	}
	EXPECT_LT(0, pv_fault_report("disclaim", &sweep));
}

/* A failed mmap() has mapped nothing and has left the claim as it was */
TEST_F_TIMEOUT(failures, of_mapping_the_ring, 1200)
{
	struct pviommu_server_ring *ring;
	struct pv_fault_sweep sweep;

	ASSERT_EQ(0, claim(self->server, self->id, PVIOMMU_CLAIM_WRITES, self->event));
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ring = map_ring(self->server);
		sweep.was = pv_fault_disarm();
		ASSERT_TRUE(ring != MAP_FAILED || sweep.was);
		if (ring == MAP_FAILED)
			ring = map_ring(self->server);
		ASSERT_NE(MAP_FAILED, ring);
		EXPECT_EQ(ENTRIES, ring->entries);
		EXPECT_EQ(PVIOMMU_SERVER_ACTIVE, ring->state);
		munmap(ring, RING_SIZE);
	}
	EXPECT_LT(0, pv_fault_report("mapping the ring", &sweep));
	EXPECT_EQ(0, claim(self->server, self->id, 0, -1));
}

TEST_F_TIMEOUT(failures, of_a_read, 1200)
{
	static unsigned char seen[3 * PV_PAGE];
	struct pviommu_server_read req = {
		.argsz = sizeof(req),
		.gpa = TYPED,
		.addr = (unsigned long)seen,
		.size = sizeof(seen),
	};
	unsigned char *held = pv_mem(&self->pair.vm, TYPED);
	struct pv_fault_sweep sweep;
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(seen); i++)
		held[i] = i * 7 + i / PV_PAGE;
	ASSERT_EQ(0, claim(self->server, self->id, PVIOMMU_CLAIM_WRITES, self->event));
	ASSERT_EQ(PVIOMMU_OK, set_type(self->r, PVIOMMU_MEM_IOREQ_SERVER, sizeof(seen)));
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		memset(seen, 0, sizeof(seen));
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = ioctl(self->server, PVIOMMU_SERVER_READ, &req) ? -errno : 0;
		sweep.was = pv_fault_disarm();
		ASSERT_TRUE(!ret || (sweep.was && may_fail_with(ret))) {
			TH_LOG("failure %d/%u: %d", sweep.kind, sweep.nth, ret);
		}
		if (ret)
			ASSERT_EQ(0, ioctl(self->server, PVIOMMU_SERVER_READ, &req));
		ASSERT_EQ(0, memcmp(held, seen, sizeof(seen)));
	}
	pv_fault_report("read", &sweep);
	EXPECT_LT(3, sweep.count[PV_FAULT_KERNEL]);
	EXPECT_EQ(0, claim(self->server, self->id, 0, -1));
}

/* ---- lists --------------------------------------------------------------------- */

/* By a socket of its own, as that of a dump that has failed is of no more use */
static int dump_once(__u8 cmd, __u32 vm, struct pv_fault_sweep *sweep, struct pv_admin_list *list)
{
	int fd = pv_admin_open(), ret = -EIO;

	if (fd >= 0 && (!sweep || pv_fault_arm(sweep->kind, sweep->nth)))
		ret = pv_admin_dump(fd, cmd, vm, list);
	if (sweep)
		sweep->was = pv_fault_disarm();
	close(fd);
	return ret;
}

/* What is listed is never a part that passes for all: a dump says everything, or an error */
#define sweep_dump(what, cmd, of, least) do {						\
	struct pv_admin_list __want, __list;						\
	struct pv_fault_sweep __sweep = {};						\
	int __ret;									\
											\
	ASSERT_EQ(0, dump_once(cmd, of, NULL, &__want));				\
	ASSERT_LE(least, __want.objects);						\
	while (pv_fault_next(&__sweep)) {						\
		__ret = dump_once(cmd, of, &__sweep, &__list);				\
		ASSERT_TRUE(!__ret || (__sweep.was && may_fail_with(__ret))) {		\
			TH_LOG("%s, failure %d/%u: %d", what, __sweep.kind, __sweep.nth, __ret); \
		}									\
		if (__ret)								\
			ASSERT_EQ(0, dump_once(cmd, of, NULL, &__list));		\
		ASSERT_EQ(__want.objects, __list.objects);				\
		ASSERT_EQ(__want.digest, __list.digest) {				\
			TH_LOG("%s, failure %d/%u: other attributes", what, __sweep.kind, \
			       __sweep.nth);						\
		}									\
	}										\
	pv_fault_report(what, &__sweep);						\
	EXPECT_LT(3, __sweep.count[PV_FAULT_KERNEL]);					\
} while (0)

/* At least: both VMs; the device of each; bypass of the owner, and a domain; a grant; a claim */
TEST_F_TIMEOUT(failures, of_a_list, 1200)
{
	ASSERT_EQ(0, claim(self->server, self->id, PVIOMMU_CLAIM_WRITES, self->event));
	ASSERT_EQ(0, pv_admin_grant_new(self->admin, self->owner_id, self->id, 0,
					PV_PAIR_LOW_SIZE - 1));
	ASSERT_EQ(0, pv_admin_answer(self->admin));
	sweep_dump("VM_GET", PVIOMMU_ADMIN_CMD_VM_GET, 0, 2);
	sweep_dump("VM_GET of one", PVIOMMU_ADMIN_CMD_VM_GET, self->id, 1);
	sweep_dump("ENDPOINT_GET", PVIOMMU_ADMIN_CMD_ENDPOINT_GET, 0, 2);
	sweep_dump("DOMAIN_GET", PVIOMMU_ADMIN_CMD_DOMAIN_GET, 0, 2);
	sweep_dump("GRANT_GET", PVIOMMU_ADMIN_CMD_GRANT_GET, 0, 1);
	sweep_dump("TYPE_GET", PVIOMMU_ADMIN_CMD_TYPE_GET, 0, 1);
	EXPECT_EQ(0, claim(self->server, self->id, 0, -1));
}

/* ---- grants -------------------------------------------------------------------- */

/* The id of the only grant; 0 if there is none, -1 on failure */
static long long the_grant(void)
{
	char text[4096] = "";
	long long id;

	if (pv_ctl(text, sizeof(text), "grant"))
		return -1;
	id = pv_ctl_value(text, NULL, "grant");
	return id < 0 ? 0 : id;
}

static __u32 borrow(struct pv_ring *r, __u32 dom, __u32 owner)
{
	struct pviommu_op op = pv_op_map(dom, IOVA, PV_DATA, PAGES * PV_PAGE, PV_RW);

	op.vm = owner;
	return __pv_exec(r, op);
}

/*
 * The answer tells whether the grant was made. Where the answer itself was lost (1), both
 * are right.
 */
TEST_F_TIMEOUT(failures, of_a_grant, 1200)
{
	struct pv_fault_sweep sweep;
	long long grant;
	int ret;

	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_EQ(0, the_grant());
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = pv_admin_grant_new(self->admin, self->owner_id, self->id, 0,
					 PV_PAIR_LOW_SIZE - 1);
		sweep.was = pv_fault_disarm();
		ret = ret ?: pv_admin_answer(self->admin);
		grant = the_grant();
		ASSERT_LE(0, grant);
		ASSERT_TRUE(ret == 1 || !ret == !!grant) {
			TH_LOG("failure %d/%u: %d, and grant %lld", sweep.kind, sweep.nth, ret,
			       grant);
		}
		ASSERT_TRUE(!ret || (sweep.was && (ret == 1 || may_fail_with(ret))));
		EXPECT_EQ(grant ? PVIOMMU_OK : PVIOMMU_EACCES,
			  borrow(self->r, self->dom, self->owner_id));
		if (grant)
			ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", grant));
	}
	pv_fault_report("new grant", &sweep);
	EXPECT_LT(3, sweep.count[PV_FAULT_KERNEL]);
}

/* Either the grant and all that is mapped by it are gone, or all of that is still there */
TEST_F_TIMEOUT(failures, of_taking_a_grant_back, 1200)
{
	struct pv_fault_sweep sweep;
	struct pv_state without, with, now;
	__u32 ep = self->pair.vm.dev[0].id;
	struct pv_reach nothing, lent, reach;
	long long grant;
	int ret;

	pv_attach(self->r, ep, self->dom);
	without = pv_state(self->r);
	nothing = pv_reach(&self->pair.vm, &self->pair.vm.dev[0]);
	for (sweep = (struct pv_fault_sweep) {}; pv_fault_next(&sweep);) {
		ASSERT_EQ(0, pv_admin_grant_new(self->admin, self->owner_id, self->id, 0,
						PV_PAIR_LOW_SIZE - 1));
		ASSERT_EQ(0, pv_admin_answer(self->admin));
		grant = the_grant();
		ASSERT_LT(0, grant);
		ASSERT_EQ(PVIOMMU_OK, borrow(self->r, self->dom, self->owner_id));
		with = pv_state(self->r);
		lent = pv_reach(&self->pair.vm, &self->pair.vm.dev[0]);
		ASSERT_EQ(PAGES, lent.pages);
		ASSERT_TRUE(pv_fault_arm(sweep.kind, sweep.nth));
		ret = pv_admin_grant_del(self->admin, grant);
		sweep.was = pv_fault_disarm();
		ret = ret ?: pv_admin_answer(self->admin);
		grant = the_grant();
		ASSERT_TRUE(ret == 1 || !ret == !grant);
		ASSERT_TRUE(!ret || (sweep.was && (ret == 1 || may_fail_with(ret))));
		now = pv_state(self->r);
		EXPECT_TRUE(pv_state_same(&now, grant ? &with : &without));
		reach = pv_reach(&self->pair.vm, &self->pair.vm.dev[0]);
		EXPECT_TRUE(pv_reach_same(&reach, grant ? &lent : &nothing));
		EXPECT_EQ(grant ? PVIOMMU_OK : PVIOMMU_ENOENT,
			  __pv_lookup(self->r, self->dom, IOVA + 5 * PV_PAGE));
		EXPECT_EQ(grant ? PAGES : 0, pv_total("pages_lent"));
		if (grant)
			ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", grant));
		now = pv_state(self->r);
		ASSERT_TRUE(pv_state_same(&now, &without));
	}
	EXPECT_LT(0, pv_fault_report("taking a grant back", &sweep));
}

TEST_HARNESS_MAIN
