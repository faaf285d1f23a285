// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module, the list of VMs, and the counters in debugfs.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "pviommu_private.h"

bool pviommu_default_blocked;
module_param_named(default_blocked, pviommu_default_blocked, bool, 0644);
MODULE_PARM_DESC(default_blocked,
		 "Endpoints do no DMA, and nothing is pinned, until the guest attaches them");

atomic64_t pviommu_totals[PVIOMMU_NR_COUNTERS];

/*
 * All VMs, by number, from when a container is opened until it is released. Numbers are not
 * reused soon.
 */
static DEFINE_XARRAY_ALLOC1(vms);
static u32 next_vm;
static struct dentry *debugfs_root;

const char *const pviommu_counter_names[PVIOMMU_NR_COUNTERS] = {
	[PVIOMMU_NR_KICKS_TRACKED] = "kicks_tracked",
	[PVIOMMU_NR_KICKS_CONFIG] = "kicks_config",
	[PVIOMMU_NR_OPS] = "ops",
	[PVIOMMU_NR_OPS_FAILED] = "ops_failed",
	[PVIOMMU_NR_PAGES_MAPPED] = "pages_mapped",
	[PVIOMMU_NR_PAGES_PINNED] = "pages_pinned",
	[PVIOMMU_NR_DOMAINS] = "domains",
	[PVIOMMU_NR_MAPPINGS] = "mappings",
	[PVIOMMU_NR_FAULTS] = "faults",
	[PVIOMMU_NR_EVENTS_LOST] = "events_lost",
	[PVIOMMU_NR_PAGES_LENT] = "pages_lent",
};

static int counters_show(struct seq_file *s, void *unused)
{
	atomic64_t *counters = s->private;
	u32 i;

	for (i = 0; i < PVIOMMU_NR_COUNTERS; i++)
		seq_printf(s, "%s %lld\n", pviommu_counter_names[i],
			   atomic64_read(&counters[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

/**
 * pviommu_vm_get() - look up a VM
 * @id: its number
 *
 * Return: the VM, which stays until pviommu_vm_put(), or NULL.
 */
struct pviommu_vm *pviommu_vm_get(u32 id)
{
	struct pviommu_vm *vm;

	rcu_read_lock();
	vm = xa_load(&vms, id);
	if (vm && !refcount_inc_not_zero(&vm->users))
		vm = NULL;
	rcu_read_unlock();
	return vm;
}

/**
 * pviommu_vm_next() - find the next VM
 * @id: lowest number to look for; set to that of the VM
 *
 * Return: the VM, which stays until pviommu_vm_put(), or NULL.
 */
struct pviommu_vm *pviommu_vm_next(unsigned long *id)
{
	struct pviommu_vm *vm;

	xa_lock(&vms);
	vm = xa_find(&vms, id, ULONG_MAX, XA_PRESENT);
	if (vm)
		refcount_inc(&vm->users);
	xa_unlock(&vms);
	return vm;
}

/**
 * pviommu_vm_put() - drop a reference on a VM
 * @vm: the VM
 */
void pviommu_vm_put(struct pviommu_vm *vm)
{
	if (refcount_dec_and_test(&vm->users))
		complete(&vm->unused);
}

/**
 * pviommu_vm_create() - create the VM of a container
 * @mm: of the VMM, the current process
 *
 * Return: the VM, which can be looked up from now on; or NULL without memory.
 */
struct pviommu_vm *pviommu_vm_create(struct mm_struct *mm)
{
	struct pviommu_vm *vm;
	char name[16];

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return NULL;
	vm->release_wq = alloc_workqueue("pviommu", WQ_UNBOUND, PVIOMMU_RELEASE_WORKERS);
	if (!vm->release_wq)
		goto err_free;
	if (xa_alloc_cyclic(&vms, &vm->id, NULL, xa_limit_31b, &next_vm,
			    GFP_KERNEL_ACCOUNT) < 0)
		goto err_wq;
	refcount_set(&vm->users, 1);
	init_completion(&vm->unused);
	vm->mm = mm;
	mmgrab(mm);
	vm->pid = get_task_pid(current, PIDTYPE_TGID);
	mutex_init(&vm->control_lock);
	init_rwsem(&vm->iface_lock);
	init_rwsem(&vm->mem_lock);
	INIT_LIST_HEAD(&vm->windows);
	mutex_init(&vm->cfg_lock);
	mutex_init(&vm->attach_lock);
	mutex_init(&vm->account_lock);
	mutex_init(&vm->loans_lock);
	vm->loans = RB_ROOT_CACHED;
	mutex_init(&vm->release_lock);
	INIT_LIST_HEAD(&vm->releases);
	vm->epoch = 1;
	spin_lock_init(&vm->grants_lock);
	INIT_LIST_HEAD(&vm->grants);
	spin_lock_init(&vm->events.lock);
	pviommu_types_init(vm);
	INIT_LIST_HEAD(&vm->groups);
	INIT_LIST_HEAD(&vm->bypass);
	xa_init_flags(&vm->endpoints, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&vm->domains, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	vm->slots = RB_ROOT_CACHED;
	snprintf(name, sizeof(name), "vm%u", vm->id);
	vm->debugfs = debugfs_create_dir(name, debugfs_root);
	debugfs_create_file("stats", 0400, vm->debugfs, vm->counters, &counters_fops);
	/* Can't fail, as the entry was reserved */
	xa_store(&vms, vm->id, vm, GFP_KERNEL);
	return vm;

err_wq:
	destroy_workqueue(vm->release_wq);
err_free:
	kfree(vm);
	return NULL;
}

/**
 * pviommu_vm_withdraw() - make sure that a VM can't be looked up, and is not used, any more
 * @id: its number
 *
 * Ends its grants, and waits until all references have been dropped.
 *
 * Context: process; may sleep.
 * Return: the VM.
 */
struct pviommu_vm *pviommu_vm_withdraw(u32 id)
{
	struct pviommu_vm *vm = xa_erase(&vms, id);

	/* Loans have references on the VM */
	pviommu_grants_end(vm);
	pviommu_vm_put(vm);
	wait_for_completion(&vm->unused);
	return vm;
}

/**
 * pviommu_vm_destroy() - free a VM
 * @vm: the VM, withdrawn, without groups and memory
 */
void pviommu_vm_destroy(struct pviommu_vm *vm)
{
	debugfs_remove_recursive(vm->debugfs);
	/* Give back what pviommu_uncharge_later() has left */
	pviommu_uncharge(vm, 0);
	pviommu_types_exit(vm);
	destroy_workqueue(vm->release_wq);
	xa_destroy(&vm->endpoints);
	xa_destroy(&vm->domains);
	mmdrop(vm->mm);
	put_pid(vm->pid);
	kfree_rcu(vm, rcu);
}

static int __init pviommu_host_init(void)
{
	int ret;

	debugfs_root = debugfs_create_dir("pviommu", NULL);
	debugfs_create_file("totals", 0400, debugfs_root, pviommu_totals,
			    &counters_fops);
	ret = pviommu_admin_init();
	if (ret)
		goto err_debugfs;
	ret = pviommu_servers_init();
	if (ret)
		goto err_admin;
	ret = pviommu_container_init();
	if (ret)
		goto err_servers;
	return 0;

err_servers:
	pviommu_servers_exit();
err_admin:
	pviommu_admin_exit();
err_debugfs:
	debugfs_remove_recursive(debugfs_root);
	return ret;
}

static void __exit pviommu_host_exit(void)
{
	pviommu_container_exit();
	pviommu_servers_exit();
	pviommu_admin_exit();
	/* No VM is left, so no fault handler runs; endpoints are freed by RCU */
	rcu_barrier();
	debugfs_remove_recursive(debugfs_root);
	xa_destroy(&vms);
}

module_init(pviommu_host_init);
module_exit(pviommu_host_exit);

COMPAT_IMPORT_IOMMUFD_INTERNAL;
MODULE_DESCRIPTION("Paravirtual IOMMU, host engine");
MODULE_LICENSE("GPL");
/* The VFIO core asks the newest backend first: type1 has to be registered before */
MODULE_SOFTDEP("pre: vfio_iommu_type1");
