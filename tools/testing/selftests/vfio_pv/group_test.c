// SPDX-License-Identifier: GPL-2.0-only
/*
 * An isolation group of two devices: wherever one of them is moved the other is, too, and
 * an error cuts both off. A third device, of another group, notices nothing.
 *
 * Needs edu devices, the last two of them functions of one slot behind a root port, and
 * pvvm-qmp for the errors.
 */
#include <pthread.h>
#include <sys/ioctl.h>

#include <linux/vfio.h>

#include "lib/edu.h"
#include "lib/pv_aer.h"
#include "lib/pv_edu.h"
#include "lib/pv_test.h"

#define DEVS	3
#define OTHER	0
#define ONE	1
#define TWIN	2
#define IOVA	0x10000000ULL
#define TARGET	(PV_DATA + 0x10000)
#define WAIT_MS	30000

FIXTURE(group)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 one, twin, other, dom;
	int port;
};

static __u32 where(struct pv_ring *r, __u32 ep)
{
	return pv_probe(r, ep).domain;
}

/* A domain in which IOVA leads to @gpa; 0 on failure */
static __u32 domain_to(struct pv_ring *r, __u32 ep, __u64 gpa)
{
	__u32 dom = pv_new_domain(r, ep);

	return dom && !__pv_map(r, dom, IOVA, gpa, PV_PAGE, PV_RW) ? dom : 0;
}

#define wake_all() do {								\
	EXPECT_EQ(0, vfio_dev_enable(&self->vm.dev[ONE].vfio, true, true));	\
	EXPECT_EQ(0, vfio_dev_enable(&self->vm.dev[TWIN].vfio, true, true));	\
} while (0)

FIXTURE_SETUP(group)
{
	struct pviommu_probe one, twin;

	self->before = pv_begin();
	pv_setup_vm(&self->vm, DEVS, DEVS, PV_LOW_SIZE);
	if (!pv_edu_all(&self->vm))
		SKIP(return, "needs edu devices");
	self->port = pv_aer_port(self->vm.dev[ONE].vfio.bdf);
	self->r = &self->vm.ring[0];
	self->one = self->vm.dev[ONE].id;
	self->twin = self->vm.dev[TWIN].id;
	self->other = self->vm.dev[OTHER].id;
	pv_start(&self->vm, 1, 6);
	one = pv_probe(self->r, self->one);
	twin = pv_probe(self->r, self->twin);
	if (one.group != twin.group)
		SKIP(return, "needs two devices in one isolation group");
	ASSERT_NE(one.group, pv_probe(self->r, self->other).group);
	ASSERT_NE(self->one, self->twin);
	self->dom = domain_to(self->r, self->one, TARGET);
	ASSERT_NE(0, self->dom);
}

FIXTURE_TEARDOWN(group)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* Either one's ATTACH and DETACH are both's */
TEST_F(group, moves_as_a_whole)
{
	__u32 second = domain_to(self->r, self->twin, TARGET + PV_PAGE);

	ASSERT_NE(0, second);
	pv_attach(self->r, self->one, self->dom);
	EXPECT_EQ(self->dom, where(self->r, self->twin));
	EXPECT_EQ(PVIOMMU_DOMAIN_BYPASS, where(self->r, self->other));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, IOVA, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
	EXPECT_FALSE(pv_edu_lands(&self->vm, TWIN, TARGET, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, OTHER, TARGET, TARGET));

	/* It is there: nothing to do */
	pv_attach(self->r, self->twin, self->dom);
	pv_attach(self->r, self->twin, second);
	EXPECT_EQ(second, where(self->r, self->one));
	EXPECT_FALSE(pv_edu_lands(&self->vm, ONE, IOVA, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, IOVA, TARGET + PV_PAGE));
	pv_err_detach(PVIOMMU_EINVAL, self->r, self->one, self->dom);
	pv_free(self->r, self->dom);
	pv_err_free(PVIOMMU_EBUSY, self->r, second);

	pv_detach(self->r, self->one, second);
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED, where(self->r, self->twin));
	EXPECT_FALSE(pv_edu_lands(&self->vm, TWIN, IOVA, TARGET + PV_PAGE));
	pv_err_detach(PVIOMMU_EINVAL, self->r, self->twin, second);
	pv_free(self->r, second);
	pv_attach(self->r, self->twin, PVIOMMU_DOMAIN_BYPASS);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, TARGET, TARGET));
}

/* Refused, both are where they were */
TEST_F(group, refused_as_a_whole)
{
	__u32 full = pv_new_domain(self->r, self->one);
	struct pviommu_region *region;
	struct pviommu_probe p = pv_probe(self->r, self->one);
	__u32 i;

	pv_attach(self->r, self->one, self->dom);
	pv_err_attach(PVIOMMU_ENOENT, self->r, self->twin, full + 100);
	EXPECT_EQ(self->dom, where(self->r, self->one));
	pv_err_attach(PVIOMMU_ENOENT, self->r, self->twin + 100, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
	/* Regions of the group are told of once, not for each device */
	region = pv_mem(&self->vm, PV_AT_REPLY) + sizeof(p);
	for (i = 0; i + 1 < p.nr_regions && i < 64; i++)
		if (region[i].type == PVIOMMU_REGION_MSI)
			EXPECT_EQ(0xfee00000, region[i].start);
}

/* A device that is closed leaves the group where it is; the last one does not */
TEST_F(group, closed_one_by_one)
{
	struct pviommu_event ev;

	pv_attach(self->r, self->one, self->dom);
	vfio_dev_close(&self->vm.dev[ONE].vfio);
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, WAIT_MS));
	EXPECT_EQ(PVIOMMU_EV_GONE, ev.type);
	EXPECT_EQ(self->one, ev.endpoint);
	pv_err_attach(PVIOMMU_ENOENT, self->r, self->one, self->dom);
	EXPECT_EQ(self->dom, where(self->r, self->twin));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
	pv_err_free(PVIOMMU_EBUSY, self->r, self->dom);

	/* Opened anew it is where its group is, under another number */
	ASSERT_EQ(0, vfio_dev_open(&self->vm.dev[ONE].vfio));
	EXPECT_EQ(0, vfio_dev_enable(&self->vm.dev[ONE].vfio, true, true));
	pv_dev_find_cap(&self->vm.dev[ONE]);
	self->one = pv_cap_read(&self->vm, ONE, PVIOMMU_CAP_ENDPOINT_OFF);
	EXPECT_NE(ev.endpoint, self->one);
	EXPECT_EQ(self->dom, where(self->r, self->one));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, IOVA, TARGET));

	vfio_dev_close(&self->vm.dev[ONE].vfio);
	vfio_dev_close(&self->vm.dev[TWIN].vfio);
	pv_free(self->r, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, OTHER, TARGET, TARGET));
}

/* RESET has both in bypass again */
TEST_F(group, reset)
{
	pv_attach(self->r, self->one, self->dom);
	pv_reset(&self->vm);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, TARGET, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, TARGET, TARGET));
}

/* ---- errors ------------------------------------------------------------ */

static void *work_on(void *data)
{
	struct pv_vm *vm = data;
	long i, bad = 0;

	for (i = 0; i < 8; i++)
		bad += !pv_edu_goes_through(vm, OTHER, TARGET + PV_PAGE, TARGET + PV_PAGE);
	return (void *)bad;
}

#define needs_a_port() do {							\
	if (self->port < 0)							\
		SKIP(return, "needs a root port, and pvvm");			\
} while (0)

/* One event for each device that is open, and no more */
#define hear_of(...) do {							\
	__u32 __eps[] = { __VA_ARGS__ };					\
	unsigned int __i, __j, __told = 0;					\
	struct pviommu_event __ev;						\
										\
	for (__i = 0; __i < ARRAY_SIZE(__eps); __i++) {				\
		ASSERT_TRUE(pv_event_wait(&self->vm, &__ev, WAIT_MS));		\
		EXPECT_EQ(PVIOMMU_EV_ISOLATED, __ev.type);			\
		EXPECT_EQ(PVIOMMU_PASID_NONE, __ev.pasid);			\
		for (__j = 0; __j < ARRAY_SIZE(__eps); __j++)			\
			__told |= (__ev.endpoint == __eps[__j]) << __j;		\
	}									\
	EXPECT_EQ((1U << ARRAY_SIZE(__eps)) - 1, __told);			\
} while (0)

TEST_F(group, error_cuts_off_both)
{
	struct pviommu_event ev;
	pthread_t other;
	void *bad;

	needs_a_port();
	pv_attach(self->r, self->one, self->dom);
	ASSERT_EQ(0, pthread_create(&other, NULL, work_on, &self->vm));
	ASSERT_EQ(0, pv_aer_inject(self->port, "SDN"));
	hear_of(self->one, self->twin);
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED, where(self->r, self->one));
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED, where(self->r, self->twin));
	pv_err_attach(PVIOMMU_EACCES, self->r, self->one, self->dom);
	pv_err_attach(PVIOMMU_EACCES, self->r, self->twin, self->dom);
	pv_err_attach(PVIOMMU_EACCES, self->r, self->twin, PVIOMMU_DOMAIN_BYPASS);
	pv_attach(self->r, self->twin, PVIOMMU_DOMAIN_BLOCKED);

	/* What one recovers is the group */
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->twin));
	EXPECT_EQ(PVIOMMU_OK, __pv_recover(self->r, self->one));
	wake_all();
	EXPECT_FALSE(pv_edu_lands(&self->vm, ONE, IOVA, TARGET));
	EXPECT_FALSE(pv_edu_lands(&self->vm, TWIN, IOVA, TARGET));
	pv_attach(self->r, self->one, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, IOVA, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
	pthread_join(other, &bad);
	EXPECT_EQ(NULL, bad);
	EXPECT_EQ(PVIOMMU_DOMAIN_BYPASS, where(self->r, self->other));
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));
}

/* Only what is open is an endpoint, of which events tell; the group is cut off all the same */
TEST_F(group, error_with_one_open)
{
	struct pviommu_event ev;

	needs_a_port();
	pv_attach(self->r, self->one, self->dom);
	vfio_dev_close(&self->vm.dev[ONE].vfio);
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, WAIT_MS));
	ASSERT_EQ(0, pv_aer_inject(self->port, "SDN"));
	hear_of(self->twin);
	/* One that is opened now is in a group that is cut off */
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->twin));
	ASSERT_EQ(0, pv_aer_inject(self->port, "SDN"));
	hear_of(self->twin);
	ASSERT_EQ(0, vfio_dev_open(&self->vm.dev[ONE].vfio));
	self->one = pv_cap_read(&self->vm, ONE, PVIOMMU_CAP_ENDPOINT_OFF);
	pv_err_attach(PVIOMMU_EACCES, self->r, self->one, self->dom);
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->one));
	wake_all();
	pv_attach(self->r, self->one, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, IOVA, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
}

/* The close of one does not end what the group is held for; that of the last one does */
TEST_F(group, error_then_closed)
{
	struct pviommu_event ev;

	needs_a_port();
	pv_attach(self->r, self->one, self->dom);
	ASSERT_EQ(0, pv_aer_inject(self->port, "SDN"));
	hear_of(self->one, self->twin);
	vfio_dev_close(&self->vm.dev[ONE].vfio);
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, WAIT_MS));
	EXPECT_EQ(PVIOMMU_EV_GONE, ev.type);
	pv_err_attach(PVIOMMU_EACCES, self->r, self->twin, self->dom);
	vfio_dev_close(&self->vm.dev[TWIN].vfio);
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, WAIT_MS));
	ASSERT_EQ(0, vfio_dev_open(&self->vm.dev[ONE].vfio));
	ASSERT_EQ(0, vfio_dev_open(&self->vm.dev[TWIN].vfio));
	self->one = pv_cap_read(&self->vm, ONE, PVIOMMU_CAP_ENDPOINT_OFF);
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED, where(self->r, self->one));
	wake_all();
	pv_attach(self->r, self->one, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
}

/* A VMM resets all devices of the slot at once, as it does when it resets its VM */
TEST_F(group, error_then_reset_by_the_vmm)
{
	char buffer[sizeof(struct vfio_pci_hot_reset) + sizeof(__s32)] = {};
	struct vfio_pci_hot_reset *reset = (void *)buffer;

	needs_a_port();
	pv_attach(self->r, self->one, self->dom);
	ASSERT_EQ(0, pv_aer_inject(self->port, "SDN"));
	hear_of(self->one, self->twin);
	/* One at a time they can't be reset: the bus that does it is both's */
	EXPECT_NE(0, ioctl(self->vm.dev[ONE].vfio.fd, VFIO_DEVICE_RESET));
	pv_err_attach(PVIOMMU_EACCES, self->r, self->one, self->dom);
	reset->argsz = sizeof(buffer);
	reset->count = 1;
	reset->group_fds[0] = self->vm.dev[ONE].vfio.group;
	ASSERT_EQ(0, ioctl(self->vm.dev[TWIN].vfio.fd, VFIO_DEVICE_PCI_HOT_RESET, reset));
	wake_all();
	pv_attach(self->r, self->twin, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, IOVA, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, TWIN, IOVA, TARGET));
}

/* ---- who is in the group ------------------------------------------------ */

/* The group's last device, which is closed, gets another driver, or none */
static bool bind_twin(struct pv_vm *vm, const char *driver)
{
	char command[128];

	snprintf(command, sizeof(command), "pvvm-bind %s %s", driver, vm->dev[TWIN].vfio.bdf);
	return !system(command);
}

FIXTURE(members)
{
	struct pv_usage before;
	struct pv_vm vm;
};

FIXTURE_SETUP(members)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, DEVS, DEVS, PV_LOW_SIZE);
	if (pv_aer_port(self->vm.dev[TWIN].vfio.bdf) < 0)
		SKIP(return, "needs a root port, and pvvm");
	pv_start(&self->vm, 1, 6);
	if (pv_probe(&self->vm.ring[0], self->vm.dev[ONE].id).group !=
	    pv_probe(&self->vm.ring[0], self->vm.dev[TWIN].id).group)
		SKIP(return, "needs two devices in one isolation group");
	pv_vm_close(&self->vm);
}

FIXTURE_TEARDOWN(members)
{
	struct pv_vm vm;

	pv_vm_close(&self->vm);
	/* It may have lost its driver */
	if (!pv_vm_init(&vm, DEVS, PV_LOW_SIZE) && vm.nr_devs < DEVS) {
		strcpy(vm.dev[TWIN].vfio.bdf, vm.dev[ONE].vfio.bdf);
		vm.dev[TWIN].vfio.bdf[11] = '1';
		EXPECT_TRUE(bind_twin(&vm, PV_DRIVER));
	}
	pv_vm_free(&vm);
	pv_expect_unchanged(&self->before);
}

TEST_F(members, without_a_driver)
{
	ASSERT_TRUE(bind_twin(&self->vm, "none"));
	ASSERT_EQ(0, pv_vm_open(&self->vm, DEVS, PV_LOW_SIZE));
	EXPECT_EQ(DEVS - 1, self->vm.nr_devs);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, ONE, TARGET, TARGET));
}

/* With another driver in the group it is not ours: no capability, and type 1 is asked */
TEST_F(members, with_another_driver)
{
	ASSERT_TRUE(bind_twin(&self->vm, "vfio-pci"));
	EXPECT_NE(0, pv_vm_open(&self->vm, DEVS, PV_LOW_SIZE));
	EXPECT_EQ(0, self->vm.dev[ONE].cap);
}

TEST_HARNESS_MAIN
