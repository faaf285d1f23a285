// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a VM from the first open to the last close, in every order, by an orderly end or
 * by a kill: no pinned pages, domains or references are left. What is charged to the VMM, and
 * the limit to that.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include <linux/vfio.h>

#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define ALL_PAGES	((PV_LOW_SIZE + PV_HIGH_SIZE + PV_ROM_SIZE) / PV_PAGE)
/* The host charges some pages ahead */
#define CREDIT_KB	(2 * 512 * 4)

FIXTURE(life)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
};

FIXTURE_SETUP(life)
{
	int ret;

	self->before = pv_begin();
	ret = pv_vm_init(&self->vm, 2, PV_LOW_SIZE);
	if (ret == -ENODEV)
		SKIP(return, "needs a device bound to " PV_DRIVER);
	ASSERT_EQ(0, ret);
	self->r = &self->vm.ring[0];
	ASSERT_EQ(0, pv_vm_count());
}

FIXTURE_TEARDOWN(life)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

#define open_all(vm) do {				\
	ASSERT_EQ(0, pv_vm_open_container(vm));		\
	ASSERT_EQ(0, pv_vm_add_memory(vm));		\
	ASSERT_EQ(0, pv_vm_open_devices(vm));		\
} while (0)

/*
 * A guest at work: pages that are mapped, pages that wait for a flush, and an op that is half
 * done. NULL, or what failed.
 */
static const char *guest_at_work(struct pv_vm *vm)
{
	struct pv_ring *r = &vm->ring[0];
	__u32 dom = 0;
	int i;

	if (__pv_start(vm, 2, 6))
		return "START";
	for (i = 0; i < vm->nr_devs; i++) {
		dom = pv_new_domain(r, vm->dev[i].id);
		if (!dom || __pv_attach(r, vm->dev[i].id, dom))
			return "ATTACH";
		if (__pv_map(r, dom, IOVA, PV_DATA, 0x20000, PV_RW) ||
		    __pv_unmap(r, dom, IOVA, 0x8000))
			return "MAP";
	}
	if (!pv_param_set("doorbell_pages", "1"))
		return "parameter";
	pv_push(r, pv_op_map(dom, IOVA * 2, PV_DATA, PV_LOW_SIZE - PV_DATA, PV_RW));
	pv_kick(r);
	return r->hdr->cons == r->hdr->prod ? "MAP was not interrupted" : NULL;
}

/* ---- counts -------------------------------------------------------- */

TEST_F(life, what_is_pinned_and_charged)
{
	struct pv_vm *vm = &self->vm;
	long locked, iface;
	__u32 dom;
	int i;

	ASSERT_EQ(0, pv_vm_open_container(vm));
	EXPECT_EQ(1, pv_vm_count());
	EXPECT_EQ(0, pv_total("pages_pinned"));
	ASSERT_EQ(0, pv_vm_add_memory(vm));
	ASSERT_EQ(0, pv_vm_open_devices(vm));

	/* Two devices share one bypass domain, so each page is pinned once */
	EXPECT_EQ(ALL_PAGES, pv_total("pages_pinned"));
	EXPECT_EQ(1, pv_total("domains"));
	locked = pv_status_kb(0, "VmLck");
	EXPECT_LE(ALL_PAGES * 4, locked);
	EXPECT_GE(ALL_PAGES * 4 + CREDIT_KB, locked);

	pv_start(vm, 1, 6);
	dom = pv_new_domain(self->r, vm->dev[0].id);
	for (i = 0; i < vm->nr_devs; i++)
		pv_attach(self->r, vm->dev[i].id, dom);
	iface = pv_iface_pages(vm);
	EXPECT_EQ(iface, pv_total("pages_pinned"));
	EXPECT_EQ(1, pv_total("domains"));
	EXPECT_GE(iface * 4 + CREDIT_KB, pv_status_kb(0, "VmLck"));
	pv_map(self->r, dom, IOVA, PV_DATA, 0x200000, PV_RW);
	EXPECT_EQ(iface + 512, pv_total("pages_pinned"));
	EXPECT_EQ(512, pv_total("pages_mapped"));
	EXPECT_LE((iface + 512) * 4, pv_status_kb(0, "VmLck"));
	EXPECT_GE((iface + 512) * 4 + CREDIT_KB, pv_status_kb(0, "VmLck"));
}

TEST_F(life, default_blocked_pins_nothing)
{
	struct pv_vm *vm = &self->vm;

	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	open_all(vm);
	EXPECT_EQ(0, pv_total("pages_pinned"));
	EXPECT_EQ(0, pv_total("domains"));
	EXPECT_EQ(0, pv_status_kb(0, "VmLck"));
	pv_start(vm, 1, 6);
	EXPECT_EQ(pv_iface_pages(vm), pv_total("pages_pinned"));
	/* The guest may enter bypass explicitly */
	pv_attach(self->r, vm->dev[0].id, PVIOMMU_DOMAIN_BYPASS);
	EXPECT_EQ(ALL_PAGES + pv_iface_pages(vm), pv_total("pages_pinned"));
	pv_reset(vm);
	EXPECT_EQ(0, pv_total("pages_pinned"));
	EXPECT_EQ(0, pv_status_kb(0, "VmLck"));
}

TEST_F(life, references)
{
	struct pv_vm *vm = &self->vm;

	open_all(vm);
	EXPECT_LT(self->before.refs_host, pv_refcnt("pviommu_host"));
	EXPECT_EQ(self->before.refs_vfio + vm->nr_devs, pv_refcnt("pviommu_vfio_pci"));
	/* Neither can be unloaded now */
	EXPECT_EQ(-EWOULDBLOCK, pv_unload("pviommu_vfio_pci"));
	EXPECT_EQ(-EWOULDBLOCK, pv_unload("pviommu_host"));
	pv_vm_close_devices(vm);
	EXPECT_EQ(self->before.refs_vfio, pv_refcnt("pviommu_vfio_pci"));
	EXPECT_LT(self->before.refs_host, pv_refcnt("pviommu_host"));
}

/* ---- closing ------------------------------------------------------- */

/* Closing the last device ends the interface */
TEST_F(life, last_device_closes)
{
	struct pv_vm *vm = &self->vm;

	open_all(vm);
	ASSERT_EQ(NULL, guest_at_work(vm));
	EXPECT_LT(0, pv_total("pages_mapped"));
	pv_vm_close_devices(vm);
	EXPECT_EQ(0, pv_total("pages_mapped"));
	EXPECT_EQ(0, pv_total("pages_pinned"));
	EXPECT_EQ(0, pv_total("domains"));

	/* After opening it again, everything begins anew */
	ASSERT_EQ(0, pv_vm_open_devices(vm));
	EXPECT_EQ(ALL_PAGES, pv_total("pages_pinned"));
	EXPECT_FALSE(pv_running(vm));
	ASSERT_EQ(NULL, guest_at_work(vm));
}

TEST_F(life, one_of_two_devices_closes)
{
	struct pv_vm *vm = &self->vm;
	struct pviommu_event ev;
	__u32 gone, dom;

	if (vm->nr_devs < 2)
		SKIP(return, "needs two devices");
	open_all(vm);
	pv_start(vm, 1, 6);
	gone = vm->dev[1].id;
	dom = pv_new_domain(self->r, gone);
	ASSERT_NE(0, dom);
	pv_attach(self->r, gone, dom);
	pv_map(self->r, dom, IOVA, PV_DATA, PV_PAGE, PV_RW);

	vfio_dev_close(&vm->dev[1].vfio);
	EXPECT_TRUE(pv_running(vm));
	ASSERT_TRUE(pv_event_next(vm, &ev));
	EXPECT_EQ(PVIOMMU_EV_GONE, ev.type);
	EXPECT_EQ(gone, ev.endpoint);
	pv_err_attach(PVIOMMU_ENOENT, self->r, gone, dom);
	pv_err_alloc(PVIOMMU_ENOENT, self->r, gone);
	/* Its domain remains, for the guest to free */
	pv_free(self->r, dom);

	/* It may come back */
	ASSERT_EQ(0, vfio_dev_open(&vm->dev[1].vfio));
	vm->dev[1].id = pv_cap_read(vm, 1, PVIOMMU_CAP_ENDPOINT_OFF);
	dom = pv_new_domain(self->r, vm->dev[1].id);
	ASSERT_NE(0, dom);
	pv_attach(self->r, vm->dev[1].id, dom);
}

/* A VMM that resets its VM turns off bus mastering of all devices: that ends the interface */
TEST_F(life, vmm_takes_bus_mastering_of_all)
{
	struct pv_vm *vm = &self->vm;

	if (vm->nr_devs < 2)
		SKIP(return, "needs two devices");
	open_all(vm);
	pv_start(vm, 1, 6);
	ASSERT_EQ(0, vfio_dev_enable(&vm->dev[0].vfio, true, false));
	EXPECT_TRUE(pv_running(vm));
	ASSERT_EQ(0, vfio_dev_enable(&vm->dev[0].vfio, true, true));
	ASSERT_EQ(0, vfio_dev_enable(&vm->dev[1].vfio, true, false));
	EXPECT_TRUE(pv_running(vm));
	ASSERT_EQ(0, vfio_dev_enable(&vm->dev[0].vfio, true, false));
	EXPECT_FALSE(pv_running(vm));
	EXPECT_EQ(ALL_PAGES, pv_total("pages_pinned"));
}

FIXTURE(order)
{
	struct pv_usage before;
	struct pv_vm vm;
};

FIXTURE_VARIANT(order)
{
	void (*close[3])(struct pv_vm *vm);
};

FIXTURE_VARIANT_ADD(order, devices_groups_container)
{
	.close = { pv_vm_close_devices, pv_vm_close_groups, pv_vm_close_container },
};

FIXTURE_VARIANT_ADD(order, devices_container_groups)
{
	.close = { pv_vm_close_devices, pv_vm_close_container, pv_vm_close_groups },
};

FIXTURE_VARIANT_ADD(order, groups_devices_container)
{
	.close = { pv_vm_close_groups, pv_vm_close_devices, pv_vm_close_container },
};

FIXTURE_VARIANT_ADD(order, groups_container_devices)
{
	.close = { pv_vm_close_groups, pv_vm_close_container, pv_vm_close_devices },
};

FIXTURE_VARIANT_ADD(order, container_devices_groups)
{
	.close = { pv_vm_close_container, pv_vm_close_devices, pv_vm_close_groups },
};

FIXTURE_VARIANT_ADD(order, container_groups_devices)
{
	.close = { pv_vm_close_container, pv_vm_close_groups, pv_vm_close_devices },
};

FIXTURE_SETUP(order)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 2, PV_LOW_SIZE);
}

FIXTURE_TEARDOWN(order)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

TEST_F(order, close)
{
	unsigned int i;

	ASSERT_EQ(NULL, guest_at_work(&self->vm));
	for (i = 0; i < 3; i++)
		variant->close[i](&self->vm);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

TEST_F(order, close_in_bypass)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		variant->close[i](&self->vm);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

/* ---- sudden death -------------------------------------------------- */

/* A VMM whose guest maps and unmaps until it is killed */
static void map_forever(struct pv_vm *vm, int ready)
{
	struct pv_ring *r = &vm->ring[0];
	__u32 dom;

	if (pv_vm_open_rest(vm) || __pv_start(vm, 1, 6))
		_exit(1);
	dom = pv_new_domain(r, vm->dev[0].id);
	if (!dom || __pv_attach(r, vm->dev[0].id, dom) || write(ready, "", 1) != 1)
		_exit(1);
	for (;;) {
		if (__pv_map(r, dom, IOVA, PV_DATA, PV_LOW_SIZE - PV_DATA, PV_RW) ||
		    __pv_unmap_all(r, dom) || __pv_inv(r, dom))
			_exit(1);
	}
}

TEST_F(life, killed_while_it_maps)
{
	int i, pipes[2], status;
	char byte;
	pid_t pid;

	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, pipe(pipes));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			map_forever(&self->vm, pipes[1]);
		close(pipes[1]);
		ASSERT_EQ(1, read(pipes[0], &byte, 1));
		close(pipes[0]);
		usleep(1000 + 13000 * i);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		pv_expect_unchanged(&self->before);
		EXPECT_EQ(0, pv_vm_count());
	}
}

/*
 * A process that has the descriptors of a VMM that has exited. The guest's memory can't be
 * reached any more; all ends with the last close.
 */
static void outlive(struct pv_vm *vm, int wait_fd, int done_fd)
{
	char byte;

	if (read(wait_fd, &byte, 1) < 0)
		_exit(1);
	/* A doorbell finds no memory of the VMM; pages that are pinned still exist */
	pv_cap_write(vm, 0, PVIOMMU_CAP_DOORBELL_OFF, PVIOMMU_DOORBELL(0));
	if (__pv_reset(vm))
		_exit(3);
	if (pv_total("pages_mapped") || pv_total("mappings"))
		_exit(2);
	if (write(done_fd, "", 1) != 1)
		_exit(1);
	pv_vm_close_container(vm);
	pv_vm_close_devices(vm);
	pv_vm_close_groups(vm);
	_exit(0);
}

TEST_F(life, descriptors_outlive_the_vmm)
{
	int gate[2], done[2], status;
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(gate));
	ASSERT_EQ(0, pipe(done));
	/* So that the child's child can be waited for, too */
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (pv_vm_open_rest(&self->vm) || guest_at_work(&self->vm))
			_exit(1);
		close(gate[1]);
		if (!fork())
			outlive(&self->vm, gate[0], done[1]);
		_exit(0);
	}
	close(done[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(1, pv_vm_count());
	EXPECT_LT(0, pv_total("pages_mapped"));
	EXPECT_EQ(1, write(gate[1], "", 1));
	EXPECT_EQ(1, read(done[0], &byte, 1));
	EXPECT_LT(0, wait(&status));
	EXPECT_EQ(0, status);
}

/* ---- RLIMIT_MEMLOCK ------------------------------------------------ */

TEST_F(life, memlock_limits_mappings)
{
	struct pv_vm *vm = &self->vm;
	struct pv_state before, after;
	__u32 ep, dom;
	__u64 room;
	int i;

	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	open_all(vm);
	ASSERT_EQ(0, pv_limit_locked(4 << 20));
	pv_start(vm, 1, 6);
	ep = vm->dev[0].id;
	dom = pv_new_domain(self->r, ep);
	ASSERT_NE(0, dom);

	/* The limit, less what is pinned for the interface */
	room = (4 << 20) - pv_iface_pages(vm) * PV_PAGE;
	before = pv_state(self->r);
	pv_err_map(PVIOMMU_ENOMEM, self->r, dom, IOVA, PV_DATA, room + PV_PAGE, PV_RW);
	after = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&before, &after));
	pv_map(self->r, dom, IOVA, PV_DATA, room, PV_RW);
	pv_err_map(PVIOMMU_ENOMEM, self->r, dom, IOVA * 2, PV_DATA, PV_PAGE, PV_RW);
	for (i = 0; i < 4; i++)
		pv_list(vm)[i] = (PV_DATA >> 12) + 10 * i;
	pv_err_map_list(PVIOMMU_ENOMEM, self->r, dom, IOVA * 2, PV_AT_LIST, 4, PV_RW);

	/* Only the flush unpins, not the unmap */
	pv_unmap(self->r, dom, IOVA, 4 * PV_PAGE);
	pv_err_map(PVIOMMU_ENOMEM, self->r, dom, IOVA * 2, PV_DATA, PV_PAGE, PV_RW);
	pv_inv(self->r, dom);
	pv_map_list(self->r, dom, IOVA * 2, PV_AT_LIST, 4, PV_RW);
	pv_err_map(PVIOMMU_ENOMEM, self->r, dom, IOVA * 3, PV_DATA, PV_PAGE, PV_RW);
}

/* Bypass needs more than the limit: ATTACH fails, and the endpoint stays where it was */
TEST_F(life, memlock_limits_bypass)
{
	struct pv_vm *vm = &self->vm;
	struct pv_state before, after;
	__u32 ep, dom;

	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	open_all(vm);
	ASSERT_EQ(0, pv_limit_locked(8 << 20));
	pv_start(vm, 1, 6);
	ep = vm->dev[0].id;
	dom = pv_new_domain(self->r, ep);
	pv_attach(self->r, ep, dom);
	before = pv_state(self->r);
	pv_err_attach(PVIOMMU_ENOMEM, self->r, ep, PVIOMMU_DOMAIN_BYPASS);
	after = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&before, &after));
	EXPECT_EQ(dom, pv_probe(self->r, ep).domain);

	/* With bypass at first, the device can't even be opened */
	ASSERT_TRUE(pv_param_set("default_blocked", "0"));
	pv_vm_close_devices(vm);
	EXPECT_NE(0, pv_vm_open_devices(vm));
	EXPECT_EQ(0, pv_total("pages_pinned"));
}

/* The limit covers bypass, or what the guest maps. After a RESET there is bypass again */
TEST_F(life, memlock_covers_one_of_the_two)
{
	struct pv_vm *vm = &self->vm;
	__u32 dom;
	int i;

	ASSERT_EQ(0, pv_limit_locked(ALL_PAGES * PV_PAGE + (1 << 20)));
	open_all(vm);
	EXPECT_EQ(ALL_PAGES, pv_total("pages_pinned"));
	pv_start(vm, 1, 6);
	dom = pv_new_domain(self->r, vm->dev[0].id);
	ASSERT_NE(0, dom);
	for (i = 0; i < vm->nr_devs; i++)
		pv_attach(self->r, vm->dev[i].id, dom);
	pv_map(self->r, dom, IOVA, PV_DATA, PV_LOW_SIZE - PV_DATA, PV_RW);
	pv_reset(vm);
	EXPECT_EQ(ALL_PAGES, pv_total("pages_pinned"));
	pv_start(vm, 1, 6);
	for (i = 0; i < vm->nr_devs; i++)
		EXPECT_EQ(PVIOMMU_DOMAIN_BYPASS, pv_probe(self->r, vm->dev[i].id).domain);
}

TEST_F(life, memlock_limits_the_vmm)
{
	struct pv_vm *vm = &self->vm;

	ASSERT_EQ(0, pv_limit_locked(8 << 20));
	ASSERT_EQ(0, pv_vm_open_container(vm));
	EXPECT_EQ(-ENOMEM, pv_region_map(vm, &vm->low));
	EXPECT_EQ(0, pv_total("pages_pinned"));
	EXPECT_EQ(0, pv_status_kb(0, "VmLck"));
	EXPECT_EQ(0, pv_region_map(vm, &vm->high));
	EXPECT_EQ(PV_HIGH_SIZE / PV_PAGE, pv_total("pages_pinned"));
}

/* ---- other drivers ------------------------------------------------- */

static int rebind(const char *bdf, const char *from, const char *to)
{
	char path[128];
	int ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/unbind", from);
	ret = pv_write_file(path, bdf);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	ret = ret ?: pv_write_file(path, to);
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/bind", to);
	return ret ?: pv_write_file(path, bdf);
}

/* A device bound to stock vfio-pci works by stock type1, as if we were not there */
TEST_F(life, group_of_stock_vfio_pci)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };
	struct pv_vm *vm = &self->vm;
	char *bdf = vm->dev[vm->nr_devs - 1].vfio.bdf;
	struct vfio_dev stock;
	int container;

	vm->nr_devs--;
	stock = vm->dev[vm->nr_devs].vfio;
	ASSERT_EQ(0, rebind(bdf, PV_DRIVER, "vfio-pci"));

	container = vfio_container_open();
	ASSERT_LE(0, container);
	stock.group = vfio_group_open(bdf);
	EXPECT_LE(0, stock.group);
	EXPECT_EQ(0, vfio_group_set_container(stock.group, container));
	EXPECT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, pv_vm_count());
	EXPECT_EQ(0, ioctl(container, VFIO_IOMMU_GET_INFO, &info));
	EXPECT_EQ(0, vfio_map_dma(container, PV_HIGH, vm->high.hva, PV_HIGH_SIZE, true));
	EXPECT_EQ(0, vfio_dev_open(&stock));
	EXPECT_EQ(0, vfio_dev_enable(&stock, true, true));
	EXPECT_EQ(0, pv_total("pages_pinned"));
	EXPECT_LT(0, pv_status_kb(0, "VmLck"));
	vfio_dev_close(&stock);

	/* It can't join a container of ours */
	close(stock.group);
	close(container);
	stock.group = vfio_group_open(bdf);
	if (vm->nr_devs) {
		EXPECT_EQ(0, pv_vm_open_container(vm));
		EXPECT_NE(0, vfio_group_set_container(stock.group, vm->container));
		EXPECT_EQ(0, pv_vm_add_memory(vm));
		EXPECT_EQ(0, pv_vm_open_devices(vm));
		EXPECT_EQ(PVIOMMU_OK, __pv_start(vm, 1, 6));
	}
	close(stock.group);
	EXPECT_EQ(0, rebind(bdf, "vfio-pci", PV_DRIVER));
}

TEST_HARNESS_MAIN
