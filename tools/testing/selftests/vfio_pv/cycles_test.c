// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that can end an interface, a VMM or a device in the middle of work, many times
 * over. Counters and references are compared each time, so nothing leaks. PV_CYCLES in the
 * environment says how often.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <linux/vfio.h>

#include "lib/edu.h"
#include "lib/now.h"
#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define TARGET		(PV_DATA + 0x10000)
#define BUSY_SIZE	(2ULL << 20)
#define SYS_DRIVER	"/sys/bus/pci/drivers/" PV_DRIVER
#define CYCLES		100
#define LONG		1800

FIXTURE(cycles)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	int nr;
};

FIXTURE_SETUP(cycles)
{
	const char *env = getenv("PV_CYCLES");
	int ret;

	self->before = pv_begin();
	self->nr = env ? atoi(env) : CYCLES;
	ret = pv_vm_init(&self->vm, 1, PV_LOW_SIZE);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	self->r = &self->vm.ring[0];
}

FIXTURE_TEARDOWN(cycles)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

static bool busy_once(struct pv_vm *vm, __u32 dom)
{
	struct pv_ring *r = &vm->ring[0];

	return !__pv_map(r, dom, IOVA * 2, PV_DATA, BUSY_SIZE, PV_RW) &&
	       !__pv_unmap(r, dom, IOVA * 2, BUSY_SIZE) && !__pv_inv(r, dom);
}

static void *do_dma(void *data)
{
	struct pv_vm *vm = data;

	for (;;)
		edu_to_ram(&vm->dev[0].vfio, IOVA, 0, 64);
	return NULL;
}

/* A VMM and its guest at work, until the process is killed */
static void live(struct pv_vm *vm, int ready)
{
	pthread_t thread;
	__u32 dom;

	if (pv_vm_open_rest(vm))
		_exit(1);
	dom = __pv_start_mapped(vm, IOVA, TARGET);
	if (!dom || pthread_create(&thread, NULL, do_dma, vm) || write(ready, "", 1) != 1)
		_exit(1);
	while (busy_once(vm, dom))
		;
	_exit(2);
}

/* A process that does live(); its id, or -1 */
static pid_t spawn(struct pv_vm *vm)
{
	int pipes[2];
	char byte;
	pid_t pid;

	if (pipe(pipes))
		return -1;
	pid = fork();
	if (!pid)
		live(vm, pipes[1]);
	close(pipes[1]);
	if (pid > 0 && read(pipes[0], &byte, 1) != 1)
		pid = -1;
	close(pipes[0]);
	return pid;
}

static bool killed(pid_t pid)
{
	int status;

	return !kill(pid, SIGKILL) && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

TEST_F_TIMEOUT(cycles, vmm_is_killed, LONG)
{
	pid_t pid;
	int i;

	for (i = 0; i < self->nr; i++) {
		pid = spawn(&self->vm);
		ASSERT_LT(0, pid);
		/* Modules that are in use can't be unloaded */
		EXPECT_EQ(-EWOULDBLOCK, pv_unload("pviommu_vfio_pci"));
		EXPECT_EQ(-EWOULDBLOCK, pv_unload("pviommu_host"));
		usleep(i % 16 * 2000);
		ASSERT_TRUE(killed(pid));
		pv_expect_unchanged(&self->before);
		EXPECT_EQ(0, pv_vm_count());
	}
	TH_LOG("%d times", i);
}

/* Unbind the device from its driver while it does DMA; waits until the VMM has closed it */
static void *take_from_driver(void *data)
{
	struct pv_vm *vm = data;

	return (void *)(long)pv_write_file(SYS_DRIVER "/unbind", vm->dev[0].vfio.bdf);
}

TEST_F_TIMEOUT(cycles, device_is_unbound, LONG)
{
	pthread_t thread;
	void *ret;
	pid_t pid;
	int i;

	for (i = 0; i < self->nr; i++) {
		pid = spawn(&self->vm);
		ASSERT_LT(0, pid);
		ASSERT_EQ(0, pthread_create(&thread, NULL, take_from_driver, &self->vm));
		usleep(i % 16 * 2000);
		ASSERT_TRUE(killed(pid));
		pthread_join(thread, &ret);
		EXPECT_EQ(NULL, ret);
		ASSERT_EQ(0, pv_write_file(SYS_DRIVER "/bind", self->vm.dev[0].vfio.bdf));
		pv_expect_unchanged(&self->before);
	}
	TH_LOG("%d times", i);
}

/* An op that takes several doorbells, so that RESET comes in the middle of it */
static struct pviommu_op op_under_way(int turn, __u32 dom)
{
	struct pviommu_op op = pv_op_map_list(dom, IOVA * 4, PV_AT_LIST, 4, PV_R);

	switch (turn % 3) {
	case 0:
		return pv_op_map(dom, IOVA * 4, PV_DATA, 2 * BUSY_SIZE, PV_RW);
	case 1:
		/* It will fail: its end is not RAM */
		return pv_op_map(dom, IOVA * 4, PV_LOW_SIZE - BUSY_SIZE, 2 * BUSY_SIZE, PV_RW);
	default:
		op.list.pgshift = 21;
		return op;
	}
}

/* A guest that panics or executes kexec starts the interface again without an orderly end */
TEST_F_TIMEOUT(cycles, interface_is_restarted, LONG)
{
	struct pv_usage idle;
	struct pviommu_op *op;
	__u32 dom;
	int i;

	ASSERT_EQ(0, pv_vm_open_rest(&self->vm));
	idle = pv_usage_get();
	/* So small a budget that one doorbell begins the op and does not finish it */
	ASSERT_TRUE(pv_param_set("doorbell_pages", "1"));
	for (i = 0; i < self->nr; i++) {
		dom = __pv_start_mapped(&self->vm, IOVA, TARGET);
		ASSERT_NE(0, dom);
		ASSERT_TRUE(busy_once(&self->vm, dom));
		op = pv_push(self->r, op_under_way(i, dom));
		pv_push(self->r, pv_op(PVIOMMU_OP_NOP));
		pv_kick(self->r);
		EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
		EXPECT_EQ(self->r->hdr->prod - 2, self->r->hdr->cons);
		pv_reset(&self->vm);
		EXPECT_EQ(PVIOMMU_STATUS_PENDING, op->status);
		pv_expect_unchanged(&idle);
	}
	pv_params_restore();
	TH_LOG("%d times", i);
}

/*
 * A VMM resets its VM, with DMA under way. A device that can't be reset, as edu can't, loses
 * its bus mastering instead. The DMA must not reach what was mapped.
 */
TEST_F_TIMEOUT(cycles, device_is_reset, LONG)
{
	struct vfio_dev *dev = &self->vm.dev[0].vfio;
	__u64 *mem = pv_mem(&self->vm, TARGET);
	struct pv_usage idle;
	int i, resets = 0, quick = 0;
	__u64 begun, took;
	__u32 dom;
	bool busy;

	ASSERT_EQ(0, pv_vm_open_rest(&self->vm));
	if (!edu_is(dev))
		SKIP(return, "needs an edu device");
	for (i = 0; i < self->nr; i++) {
		ASSERT_EQ(0, vfio_dev_enable(dev, true, true));
		dom = __pv_start_mapped(&self->vm, IOVA, TARGET);
		ASSERT_NE(0, dom);
		*mem = 0;
		ASSERT_TRUE(edu_to_ram(dev, IOVA, 0, 64));
		*mem = ~0ULL;
		ASSERT_TRUE(busy_once(&self->vm, dom));
		begun = now_ns();
		ASSERT_TRUE(edu_to_ram_begin(dev, IOVA, 0, 64));
		busy = edu_is_busy(dev);
		if (!ioctl(dev->fd, VFIO_DEVICE_RESET))
			resets++;
		else
			ASSERT_EQ(0, vfio_dev_enable(dev, true, false));
		took = now_ns() - begun;
		EXPECT_FALSE(pv_running(&self->vm));
		EXPECT_TRUE(edu_wait(dev));
		/* The device takes 100 ms. If we were slower, it was done before. */
		if (took < 80 * MS) {
			quick++;
			EXPECT_TRUE(busy);
			EXPECT_EQ(~0ULL, *mem);
		}
		/* The first START has changed how much is charged in advance */
		if (!i)
			idle = pv_usage_get();
		pv_expect_unchanged(&idle);
	}
	EXPECT_LT(0, quick);
	TH_LOG("%d times, %d in the midst of DMA, %d by a reset, the others by bus mastering", i,
	       quick, resets);
}

TEST_HARNESS_MAIN
