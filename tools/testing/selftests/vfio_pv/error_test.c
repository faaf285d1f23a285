// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCIe error of a device: its isolation group is cut off at once, the guest is told,
 * and nothing but its own RECOVER, or a reset by the VMM, lets it attach the device
 * again. What was mapped is still there then, and other groups notice nothing.
 *
 * The errors are real ones to this kernel: the emulator raises them at the root port above
 * the last device, and the AER driver handles them. Needs edu devices, the last of them
 * behind a root port, and pvvm-qmp.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include <linux/vfio.h>

#include "lib/edu.h"
#include "lib/pv_aer.h"
#include "lib/pv_edu.h"
#include "lib/pv_test.h"

#define DEVS	3
#define VICTIM	2
#define OTHER	0
#define BESIDE	1	/* in the domain of the victim */
#define IOVA	0x10000000ULL
#define TARGET	(PV_DATA + 0x10000)
#define LEN	64
#define WAIT_MS	30000

FIXTURE(error)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct vfio_dev *victim;
	__u32 ep, dom, other;
	int port;
};

static __u32 domain_with(struct pv_ring *r, int dev, __u64 iova, __u64 gpa)
{
	__u32 ep = r->vm->dev[dev].id, dom = pv_new_domain(r, ep);

	if (!dom || __pv_map(r, dom, iova, gpa, PV_PAGE, PV_RW) || __pv_attach(r, ep, dom))
		return 0;
	return dom;
}

/* A device at work all the time */
struct worker {
	struct pv_vm *vm;
	int dev;
	__u64 iova, gpa;
	pthread_t thread;
	bool stop;
	int good, bad;
};

/* One of another group */
static void *stand_by(void *data)
{
	struct worker *w = data;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		if (pv_edu_goes_through(w->vm, w->dev, w->iova, w->gpa))
			w->good++;
		else
			w->bad++;
	}
	return NULL;
}

/* The victim, as a driver that does not know yet: it writes, and each time may fail */
static void *write_on(void *data)
{
	struct worker *w = data;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		if (edu_to_ram(&w->vm->dev[w->dev].vfio, w->iova, 0, LEN))
			__atomic_add_fetch(&w->good, 1, __ATOMIC_RELAXED);
		else
			usleep(1000);
	}
	return NULL;
}

static bool start_work(struct worker *w, struct pv_vm *vm, void *(*work)(void *), int dev,
		       __u64 iova, __u64 gpa)
{
	*w = (struct worker) { .vm = vm, .dev = dev, .iova = iova, .gpa = gpa };
	return !pthread_create(&w->thread, NULL, work, w);
}

static void end_work(struct worker *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pthread_join(w->thread, NULL);
}

/* Wait until the device has done so much more */
static bool works_on(struct worker *w, int more)
{
	int want = __atomic_load_n(&w->good, __ATOMIC_RELAXED) + more, ms;

	for (ms = 0; ms < WAIT_MS; ms += 10) {
		if (__atomic_load_n(&w->good, __ATOMIC_RELAXED) >= want)
			return true;
		poll(NULL, 0, 10);
	}
	return false;
}

/* What a device that writes has not touched */
static void wipe(struct pv_vm *vm, __u64 gpa)
{
	memset(pv_mem(vm, gpa), 0x55, LEN);
}

static bool is_wiped(struct pv_vm *vm, __u64 gpa)
{
	const unsigned char *mem = pv_mem(vm, gpa);
	int i;

	for (i = 0; i < LEN && mem[i] == 0x55; i++)
		;
	return i == LEN;
}

/*
 * A device that nobody has open is asleep. The AER driver wakes it with pci_bus_sem held,
 * vfio-pci's core then takes memory_lock, and with that held it resets other devices, for
 * which the PCI core takes pci_bus_sem. No device is both asleep and being reset, but a
 * kernel that proves the order of locks can't know that, and after one report it proves
 * nothing any more: there the device stays awake.
 */
static void stay_awake(const struct vfio_dev *dev, bool awake)
{
	char path[80];

	if (access("/proc/lockdep", F_OK))
		return;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/power/control", dev->bdf);
	pv_write_file(path, awake ? "on" : "auto");
}

#define set_up_domains() do {							\
	self->dom = domain_with(self->r, VICTIM, IOVA, TARGET);			\
	self->other = domain_with(self->r, OTHER, IOVA, TARGET + PV_PAGE);	\
	ASSERT_NE(0, self->dom);						\
	ASSERT_NE(0, self->other);						\
} while (0)

FIXTURE_SETUP(error)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, DEVS, DEVS, PV_LOW_SIZE);
	if (!pv_edu_all(&self->vm))
		SKIP(return, "needs edu devices");
	self->victim = &self->vm.dev[VICTIM].vfio;
	stay_awake(self->victim, true);
	self->port = pv_aer_port(self->victim->bdf);
	if (self->port < 0)
		SKIP(return, "needs an edu device behind a root port, and pvvm");
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[VICTIM].id;
	pv_start(&self->vm, 1, 6);
	set_up_domains();
	ASSERT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, IOVA, TARGET));
}

FIXTURE_TEARDOWN(error)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	if (self->victim)
		stay_awake(self->victim, false);
	pv_expect_unchanged(&self->before);
}

#define cut_off(error) do {						\
	struct pviommu_event __ev;					\
									\
	ASSERT_EQ(0, pv_aer_inject(self->port, error));			\
	ASSERT_TRUE(pv_event_wait(&self->vm, &__ev, WAIT_MS));			\
	EXPECT_EQ(PVIOMMU_EV_ISOLATED, __ev.type);			\
	EXPECT_EQ(self->ep, __ev.endpoint);				\
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));	\
} while (0)

FIXTURE_VARIANT(error)
{
	const char *error;
};

/* The link below the root port is reset */
FIXTURE_VARIANT_ADD(error, fatal)
{
	.error = "SDN",
};

FIXTURE_VARIANT_ADD(error, non_fatal)
{
	.error = "COMP_TIME",
};

/* The victim is at work when it happens, another in its domain, and one in another */
TEST_F(error, cut_off_and_recovered)
{
	struct worker victim, other, beside;
	struct pv_state before, after;
	struct pviommu_event ev;

	pv_map(self->r, self->dom, IOVA + PV_PAGE, TARGET + 2 * PV_PAGE, PV_PAGE, PV_RW);
	pv_attach(self->r, self->vm.dev[BESIDE].id, self->dom);
	before = pv_state(self->r);
	ASSERT_TRUE(start_work(&other, &self->vm, stand_by, OTHER, IOVA, TARGET + PV_PAGE));
	ASSERT_TRUE(start_work(&beside, &self->vm, stand_by, BESIDE, IOVA + PV_PAGE,
			       TARGET + 2 * PV_PAGE));
	wipe(&self->vm, TARGET);
	ASSERT_TRUE(start_work(&victim, &self->vm, write_on, VICTIM, IOVA, TARGET));
	EXPECT_TRUE(works_on(&victim, 2));
	EXPECT_FALSE(is_wiped(&self->vm, TARGET));

	/* As soon as one can know of it, nothing arrives any more */
	ASSERT_EQ(0, pv_aer_inject(self->port, variant->error));
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, WAIT_MS));
	wipe(&self->vm, TARGET);
	EXPECT_EQ(PVIOMMU_EV_ISOLATED, ev.type);
	EXPECT_EQ(self->ep, ev.endpoint);
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));
	EXPECT_TRUE(works_on(&victim, 5));
	EXPECT_TRUE(is_wiped(&self->vm, TARGET));
	end_work(&victim);
	EXPECT_FALSE(pv_edu_lands(&self->vm, VICTIM, IOVA, TARGET));

	/* Until it says that it knows, the guest can't attach it, only leave it blocked */
	pv_err_attach(PVIOMMU_EACCES, self->r, self->ep, self->dom);
	pv_err_attach(PVIOMMU_EACCES, self->r, self->ep, PVIOMMU_DOMAIN_BYPASS);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->ep));
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));
	EXPECT_FALSE(pv_edu_lands(&self->vm, VICTIM, IOVA, TARGET));

	/* Its mappings are what they were */
	pv_attach(self->r, self->ep, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, IOVA, TARGET));
	pv_lookup(self->r, self->dom, IOVA);
	EXPECT_EQ(TARGET, self->r->last.lookup.gpa);
	after = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&before, &after));

	end_work(&other);
	end_work(&beside);
	EXPECT_EQ(0, other.bad);
	EXPECT_LT(0, other.good);
	EXPECT_EQ(0, beside.bad);
	EXPECT_LT(0, beside.good);
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));
}

static bool wait_count(__le32 *count, __u32 wanted)
{
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 10) {
		if (__atomic_load_n(count, __ATOMIC_ACQUIRE) == wanted)
			return true;
		poll(NULL, 0, 10);
	}
	return false;
}

/* A guest whose event ring had no room learns of it when it attaches */
TEST_F(error, event_lost)
{
	struct pviommu_event_ring *ring = pv_events(&self->vm);
	struct pviommu_event ev;

	ASSERT_TRUE(pv_param_set("max_events", "0"));
	pv_reset(&self->vm);
	pv_start(&self->vm, 1, 6);
	set_up_domains();
	ring->cons = ring->prod - PVIOMMU_EVENT_SLOTS;
	ASSERT_EQ(0, pv_aer_inject(self->port, variant->error));
	ASSERT_TRUE(wait_count(&ring->lost, 1));
	ring->cons = ring->prod;
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));

	pv_err_attach(PVIOMMU_EACCES, self->r, self->ep, self->dom);
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->ep));
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));
	pv_attach(self->r, self->ep, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, IOVA, TARGET));
}

/* It comes when the guest has made room */
TEST_F(error, event_waits)
{
	struct pviommu_event_ring *ring = pv_events(&self->vm);
	struct pviommu_event ev;

	ring->cons = ring->prod - PVIOMMU_EVENT_SLOTS;
	ASSERT_EQ(0, pv_aer_inject(self->port, variant->error));
	ASSERT_TRUE(wait_count(&ring->waiting, 1));
	EXPECT_EQ(0, ring->lost);
	ring->cons = ring->prod;
	ASSERT_TRUE(pv_event_next(&self->vm, &ev));
	EXPECT_EQ(PVIOMMU_EV_ISOLATED, ev.type);
	EXPECT_EQ(self->ep, ev.endpoint);
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->ep));
}

/* The host says that it is blocked as soon as the guest can know that it was cut off */
TEST_F(error, probe_says_blocked)
{
	cut_off(variant->error);
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED, pv_probe(self->r, self->ep).domain);
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->ep));
}

/* Again and again; PV_ERRORS says how often */
TEST_F_TIMEOUT(error, again, 1800)
{
	const char *env = getenv("PV_ERRORS");
	int i, nr = env ? atoi(env) : 10;
	struct pv_usage idle = pv_usage_get();

	for (i = 0; i < nr; i++) {
		cut_off(variant->error);
		ASSERT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->ep));
		ASSERT_EQ(0, vfio_dev_enable(self->victim, true, true));
		pv_attach(self->r, self->ep, self->dom);
		EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, IOVA, TARGET));
		pv_expect_unchanged(&idle);
	}
	TH_LOG("%d times", i);
}

/* A VMM that resets the device, as it does when it resets its VM */
TEST_F(error, reset_by_the_vmm)
{
	cut_off(variant->error);
	if (ioctl(self->victim->fd, VFIO_DEVICE_RESET))
		SKIP(return, "the device can't be reset");
	pv_attach(self->r, self->ep, self->dom);
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, IOVA, TARGET));
}

/* A guest that starts the interface anew does not find it in bypass */
TEST_F(error, held_across_a_restart)
{
	cut_off(variant->error);
	pv_reset(&self->vm);
	EXPECT_FALSE(pv_edu_lands(&self->vm, VICTIM, TARGET, TARGET));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, OTHER, TARGET + PV_PAGE, TARGET + PV_PAGE));

	pv_start(&self->vm, 1, 6);
	self->dom = pv_new_domain(self->r, self->ep);
	pv_err_attach(PVIOMMU_EACCES, self->r, self->ep, self->dom);
	EXPECT_EQ(PVIOMMU_OK, pv_aer_recover(self->r, self->ep));
	pv_attach(self->r, self->ep, self->dom);
}

/* Closed and opened, it is as new */
TEST_F(error, closed)
{
	cut_off(variant->error);
	pv_vm_close_devices(&self->vm);
	ASSERT_EQ(0, pv_vm_open_devices(&self->vm));
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, TARGET, TARGET));
}

/* A device that nobody has open when the link is reset works when it is opened */
TEST_F(error, while_closed)
{
	int log = pv_aer_log();

	ASSERT_LE(0, log);
	pv_vm_close_devices(&self->vm);
	ASSERT_EQ(0, pv_aer_inject(self->port, variant->error));
	EXPECT_TRUE(pv_aer_done(log));
	close(log);
	ASSERT_EQ(0, pv_vm_open_devices(&self->vm));
	EXPECT_EQ(0, vfio_dev_enable(self->victim, true, true));
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, TARGET, TARGET));
}

/* A guest that has not accepted RECOVER attaches to recover */
TEST_F(error, without_the_feature)
{
	struct pviommu_start *start;

	pv_reset(&self->vm);
	start = pv_start_prepare(&self->vm, 1, 6);
	start->features &= ~PVIOMMU_F_RECOVER;
	ASSERT_EQ(PVIOMMU_OK, pv_command(&self->vm, PVIOMMU_CMD_START, PV_AT_START));
	self->dom = domain_with(self->r, VICTIM, IOVA, TARGET);
	ASSERT_NE(0, self->dom);

	cut_off(variant->error);
	EXPECT_FALSE(pv_edu_lands(&self->vm, VICTIM, IOVA, TARGET));
	pv_err_exec(PVIOMMU_EOPNOTSUPP, self->r, pv_op_recover(self->ep));
	pv_attach(self->r, self->ep, self->dom);
	EXPECT_TRUE(pv_edu_goes_through(&self->vm, VICTIM, IOVA, TARGET));
}

TEST_HARNESS_MAIN
