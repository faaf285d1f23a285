// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module, the list of VMs, and the counters in debugfs.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "pviommu_private.h"

bool pviommu_default_blocked;
module_param_named(default_blocked, pviommu_default_blocked, bool, 0644);
MODULE_PARM_DESC(default_blocked,
		 "Endpoints do no DMA, and nothing is pinned, until the guest attaches them");

atomic64_t pviommu_totals[PVIOMMU_NR_COUNTERS];
static DEFINE_IDA(vm_ids);
static struct dentry *debugfs_root;

static const char * const counter_names[PVIOMMU_NR_COUNTERS] = {
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
};

static int counters_show(struct seq_file *s, void *unused)
{
	atomic64_t *counters = s->private;
	u32 i;

	for (i = 0; i < PVIOMMU_NR_COUNTERS; i++)
		seq_printf(s, "%s %lld\n", counter_names[i],
			   atomic64_read(&counters[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

/**
 * pviommu_vm_create() - a container has come to be
 * @mm: of the VMM
 *
 * Return: the VM, or NULL.
 */
struct pviommu_vm *pviommu_vm_create(struct mm_struct *mm)
{
	struct pviommu_vm *vm;
	char name[16];
	int id;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return NULL;
	id = ida_alloc_min(&vm_ids, 1, GFP_KERNEL);
	if (id < 0) {
		kfree(vm);
		return NULL;
	}
	vm->id = id;
	refcount_set(&vm->users, 1);
	init_completion(&vm->unused);
	vm->mm = mm;
	mmgrab(mm);
	mutex_init(&vm->control_lock);
	init_rwsem(&vm->iface_lock);
	init_rwsem(&vm->mem_lock);
	INIT_LIST_HEAD(&vm->windows);
	mutex_init(&vm->cfg_lock);
	mutex_init(&vm->account_lock);
	spin_lock_init(&vm->events.lock);
	INIT_LIST_HEAD(&vm->groups);
	INIT_LIST_HEAD(&vm->bypass);
	xa_init_flags(&vm->endpoints, XA_FLAGS_ALLOC1);
	xa_init_flags(&vm->domains, XA_FLAGS_ALLOC1);
	vm->slots = RB_ROOT_CACHED;
	snprintf(name, sizeof(name), "vm%u", vm->id);
	vm->debugfs = debugfs_create_dir(name, debugfs_root);
	debugfs_create_file("stats", 0400, vm->debugfs, vm->counters, &counters_fops);
	return vm;
}

/**
 * pviommu_vm_destroy() - the container is gone
 * @vm: the VM, without groups and memory
 */
void pviommu_vm_destroy(struct pviommu_vm *vm)
{
	debugfs_remove_recursive(vm->debugfs);
	xa_destroy(&vm->endpoints);
	xa_destroy(&vm->domains);
	mmdrop(vm->mm);
	ida_free(&vm_ids, vm->id);
	kfree(vm);
}

static int __init pviommu_host_init(void)
{
	int ret;

	debugfs_root = debugfs_create_dir("pviommu", NULL);
	debugfs_create_file("totals", 0400, debugfs_root, pviommu_totals,
			    &counters_fops);
	ret = pviommu_container_init();
	if (ret)
		debugfs_remove_recursive(debugfs_root);
	return ret;
}

static void __exit pviommu_host_exit(void)
{
	pviommu_container_exit();
	/* Fault handlers and debugfs readers are through; endpoints are freed by RCU */
	rcu_barrier();
	debugfs_remove_recursive(debugfs_root);
	ida_destroy(&vm_ids);
}

module_init(pviommu_host_init);
module_exit(pviommu_host_exit);

COMPAT_IMPORT_IOMMUFD_INTERNAL;
MODULE_DESCRIPTION("Paravirtual IOMMU, host engine");
MODULE_LICENSE("GPL");
/* Registered later than type1, we are asked first */
MODULE_SOFTDEP("pre: vfio_iommu_type1");
