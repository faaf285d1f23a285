// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interface of a VM: starting it (START), stopping it (RESET), and doorbells.
 *
 * Stopping frees everything that the guest has made. vm->control_lock is the outermost
 * lock and never taken while a doorbell is served. So a doorbell can be created and
 * destroyed with this lock held, although that may wait for doorbells that are being
 * served.
 */
#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "pviommu_private.h"

static DEFINE_MUTEX(doorbell_ops_lock);
static const struct pviommu_doorbell_ops *doorbell_ops;

int pviommu_register_doorbell(const struct pviommu_doorbell_ops *ops)
{
	int ret = 0;

	mutex_lock(&doorbell_ops_lock);
	if (doorbell_ops)
		ret = -EBUSY;
	else
		doorbell_ops = ops;
	mutex_unlock(&doorbell_ops_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(pviommu_register_doorbell);

void pviommu_unregister_doorbell(const struct pviommu_doorbell_ops *ops)
{
	mutex_lock(&doorbell_ops_lock);
	if (doorbell_ops == ops)
		doorbell_ops = NULL;
	mutex_unlock(&doorbell_ops_lock);
}
EXPORT_SYMBOL_GPL(pviommu_unregister_doorbell);

static const struct pviommu_doorbell_ops *get_doorbell_ops(void)
{
	const struct pviommu_doorbell_ops *ops;

	mutex_lock(&doorbell_ops_lock);
	ops = doorbell_ops;
	if (ops && !try_module_get(ops->owner))
		ops = NULL;
	mutex_unlock(&doorbell_ops_lock);
	return ops;
}

/**
 * pviommu_features() - the features that this host offers to a VM
 * @vm: the VM; whether PVIOMMU_F_PASID is offered depends on its devices
 *
 * Return: PVIOMMU_F_*.
 */
u64 pviommu_features(const struct pviommu_vm *vm)
{
	return (READ_ONCE(vm->nr_pasid_groups) ? PVIOMMU_F_PASID : 0) |
	       PVIOMMU_F_MAP_LIST | PVIOMMU_F_EVENTS | PVIOMMU_F_BYPASS |
	       PVIOMMU_F_STATS | PVIOMMU_F_TABLES | PVIOMMU_F_MEM_TYPES |
	       PVIOMMU_F_DIRTY | PVIOMMU_F_FOREIGN | PVIOMMU_F_RELEASE |
	       PVIOMMU_F_RECOVER;
}

static int check_start(const struct pviommu_vm *vm, const struct pviommu_start *start)
{
	if (le32_to_cpu(start->magic) != PVIOMMU_START_MAGIC)
		return -EINVAL;
	if (le16_to_cpu(start->version) != PVIOMMU_ABI_VERSION ||
	    le64_to_cpu(start->features) & ~pviommu_features(vm))
		return -EOPNOTSUPP;
	if (!start->nrings || le16_to_cpu(start->nrings) > PVIOMMU_MAX_RINGS)
		return -ERANGE;
	if (!start->cookie || start->reserved ||
	    !PAGE_ALIGNED(le64_to_cpu(start->doorbell) |
			  le64_to_cpu(start->events)) ||
	    !IS_ALIGNED(le64_to_cpu(start->rings), sizeof(__le64)))
		return -EINVAL;
	if (start->events &&
	    !(le64_to_cpu(start->features) & PVIOMMU_F_EVENTS))
		return -EOPNOTSUPP;
	return 0;
}

/* Called with control_lock and mem_lock held, when no doorbell is being served any more */
static void iface_exit_rings(struct pviommu_iface *iface)
{
	u32 i;

	lockdep_assert_held(&iface->vm->control_lock);

	for (i = 0; i < iface->nr_rings; i++)
		pviommu_ring_exit(iface->vm, &iface->rings[i]);
}

static int init_rings(struct pviommu_iface *iface, u64 descs)
{
	struct pviommu_ring_desc desc;
	u32 i;
	int ret;

	for (i = 0; i < iface->nr_rings; i++) {
		if (descs + i * sizeof(desc) < descs)
			return -EFAULT;
		ret = pviommu_guest_read(iface->vm, descs + i * sizeof(desc),
					 &desc, sizeof(desc));
		if (!ret)
			ret = pviommu_ring_init(iface->vm, &iface->rings[i], &desc);
		if (ret)
			return ret;
	}
	return 0;
}

/* Create the interface that START describes, except for its doorbell */
static struct pviommu_iface *iface_make(struct pviommu_vm *vm,
					const struct pviommu_start *start)
{
	u32 nr = le16_to_cpu(start->nrings), i;
	struct pviommu_iface *iface;
	int ret;

	iface = kvzalloc(struct_size(iface, rings, nr), GFP_KERNEL_ACCOUNT);
	if (!iface)
		return ERR_PTR(-ENOMEM);
	iface->nr_rings = nr;
	iface->vm = vm;
	iface->cookie = le64_to_cpu(start->cookie);
	iface->features = le64_to_cpu(start->features);
	for (i = 0; i < nr; i++)
		mutex_init(&iface->rings[i].lock);
	ret = init_rings(iface, le64_to_cpu(start->rings));
	if (!ret && start->doorbell)
		ret = pviommu_guest_check(vm, le64_to_cpu(start->doorbell), PAGE_SIZE);
	if (!ret && start->events)
		ret = pviommu_guest_check(vm, le64_to_cpu(start->events), PAGE_SIZE) ?:
		      pviommu_events_start(vm, le64_to_cpu(start->events),
					   iface->cookie);
	if (ret) {
		iface_exit_rings(iface);
		kvfree(iface);
		return ERR_PTR(ret);
	}
	return iface;
}

/* Have stores to the doorbell page reported. False: the guest has to use the register. */
static bool watch_doorbell(struct pviommu_vm *vm, struct kvm *kvm, u64 gpa)
{
	const struct pviommu_doorbell_ops *ops;
	void *doorbell;

	lockdep_assert_held(&vm->control_lock);

	if (!kvm || !gpa)
		return false;
	ops = get_doorbell_ops();
	/* Once for a VM: its guest could keep the host busy with it */
	if (!ops && !vm->kvm_asked_for) {
		vm->kvm_asked_for = true;
		if (!request_module("pviommu_kvm"))
			ops = get_doorbell_ops();
	}
	if (!ops)
		return false;
	doorbell = ops->create(kvm, gpa, vm);
	if (IS_ERR(doorbell)) {
		module_put(ops->owner);
		return false;
	}
	down_write(&vm->iface_lock);
	vm->iface->doorbell = doorbell;
	vm->iface->doorbell_ops = ops;
	up_write(&vm->iface_lock);
	return true;
}

static int write_start_reply(struct pviommu_vm *vm, u64 gpa, bool tracked)
{
	struct pviommu_start out = {
		.out_flags = cpu_to_le32(tracked ? PVIOMMU_START_TRACKED : 0),
		.out_max_domains = cpu_to_le32(pviommu_max_domains()),
	};
	int ret;

	down_read(&vm->mem_lock);
	ret = pviommu_guest_write(vm, gpa + offsetof(struct pviommu_start, out_flags),
				  &out.out_flags, sizeof(out.out_flags) +
				  sizeof(out.out_max_domains));
	up_read(&vm->mem_lock);
	return ret;
}

/* @closed: the last device was closed, so no group needs to be in bypass, with memory pinned */
static void iface_stop(struct pviommu_vm *vm, bool closed)
{
	struct pviommu_iface *iface;
	bool failed = false;

	lockdep_assert_held(&vm->control_lock);

	down_write(&vm->iface_lock);
	iface = vm->iface;
	vm->iface = NULL;
	WRITE_ONCE(vm->recovers, false);
	up_write(&vm->iface_lock);
	if (iface && iface->doorbell) {
		pviommu_types_hurry(vm, true);
		iface->doorbell_ops->destroy(iface->doorbell);
		pviommu_types_hurry(vm, false);
		module_put(iface->doorbell_ops->owner);
		pviommu_pages_lost(vm, 0, U64_MAX);
	}

	pviommu_releases_stop(vm);
	down_read(&vm->mem_lock);
	if (iface)
		iface_exit_rings(iface);
	kvfree(iface);
	pviommu_events_stop(vm);
	mutex_lock(&vm->cfg_lock);
	/* A device may have been opened again meanwhile: its group has to be in bypass */
	if (closed && xa_empty(&vm->endpoints))
		pviommu_groups_block(vm);
	else
		failed = pviommu_groups_default(vm, false);
	pviommu_domains_destroy(vm);
	/* The limit may have room for bypass only now that the guest's mappings are gone */
	if (failed)
		pviommu_groups_default(vm, true);
	mutex_unlock(&vm->cfg_lock);
	up_read(&vm->mem_lock);
}

/**
 * pviommu_iface_stop() - stop the interface because of what the VMM did
 * @vm: the VM
 * @closed: no device of the VM is open any more
 *
 * On return the guest's rings, domains and mappings are gone, and its endpoints are where
 * endpoints are without a guest driver; in the blocked domain if @closed.
 *
 * Context: process, not within a doorbell; no lock held. May wait for doorbells and servers.
 */
void pviommu_iface_stop(struct pviommu_vm *vm, bool closed)
{
	mutex_lock(&vm->control_lock);
	iface_stop(vm, closed);
	mutex_unlock(&vm->control_lock);
}

/**
 * pviommu_iface_reset() - stop the interface for the guest: RESET
 * @vm: the VM
 * @cookie: the cookie that it was started with, according to the guest
 *
 * Context: as pviommu_iface_stop().
 * Return: 0, also if it is not running; -EACCES the cookie is another one, and it runs on.
 */
int pviommu_iface_reset(struct pviommu_vm *vm, u64 cookie)
{
	int ret = 0;

	mutex_lock(&vm->control_lock);
	if (vm->iface && vm->iface->cookie != cookie)
		ret = -EACCES;
	else
		iface_stop(vm, false);
	mutex_unlock(&vm->control_lock);
	return ret;
}

/**
 * pviommu_iface_start() - start the interface: START
 * @vm: the VM
 * @kvm: its KVM, or NULL
 * @gpa: GPA of the struct pviommu_start
 *
 * Context: process, a thread of the VMM, not within a doorbell; no lock held.
 * Return: 0; -EBUSY it is running, and runs on; or as documented at struct pviommu_start,
 * then it is stopped.
 */
int pviommu_iface_start(struct pviommu_vm *vm, struct kvm *kvm, u64 gpa)
{
	struct pviommu_iface *iface;
	struct pviommu_start start;
	bool tracked;
	int ret;

	mutex_lock(&vm->control_lock);
	if (vm->iface) {
		ret = -EBUSY;
		goto out_unlock;
	}
	down_read(&vm->mem_lock);
	ret = pviommu_guest_read(vm, gpa, &start, sizeof(start)) ?:
	      check_start(vm, &start);
	iface = ret ? ERR_PTR(ret) : iface_make(vm, &start);
	up_read(&vm->mem_lock);
	if (IS_ERR(iface)) {
		ret = PTR_ERR(iface);
		goto out_unlock;
	}
	down_write(&vm->iface_lock);
	WRITE_ONCE(vm->iface, iface);
	WRITE_ONCE(vm->recovers, start.events && (iface->features & PVIOMMU_F_RECOVER));
	up_write(&vm->iface_lock);

	tracked = watch_doorbell(vm, kvm, le64_to_cpu(start.doorbell));
	ret = write_start_reply(vm, gpa, tracked);
	if (ret)
		iface_stop(vm, false);
out_unlock:
	mutex_unlock(&vm->control_lock);
	return ret;
}

/**
 * pviommu_iface_kick() - a doorbell rang
 * @vm: the VM
 * @source: how it arrived
 * @value: what was written; ignored unless it is a doorbell
 *
 * Serves the ring, or all rings, that @value names, within the budget of one doorbell.
 *
 * Context: process, a thread of the VMM; no lock of the engine held. May sleep.
 */
void pviommu_iface_kick(struct pviommu_vm *vm, enum pviommu_kick_source source,
			u32 value)
{
	if ((value & ~PVIOMMU_DOORBELL_ALL) != PVIOMMU_DOORBELL_MAGIC)
		return;
	down_read(&vm->iface_lock);
	if (vm->iface) {
		pviommu_count(vm, (enum pviommu_counter)source, 1);
		pviommu_events_serve(vm);
		pviommu_rings_serve(vm, vm->iface, value & PVIOMMU_DOORBELL_ALL);
	}
	up_read(&vm->iface_lock);
}

/* The guest uses the page for something else: the interface goes on without a tracked page */
static void take_doorbell_down(struct pviommu_vm *vm)
{
	down_read(&vm->iface_lock);
	if (vm->iface && vm->iface->doorbell)
		vm->iface->doorbell_ops->take_down(vm->iface->doorbell);
	up_read(&vm->iface_lock);
}

void pviommu_doorbell_write(void *ctx, unsigned int offset, const u8 *data,
			    int len)
{
	struct pviommu_vm *vm = ctx;
	u32 value = len == sizeof(__le32) ? get_unaligned_le32(data) : 0;

	if (offset || (value & ~PVIOMMU_DOORBELL_ALL) != PVIOMMU_DOORBELL_MAGIC)
		take_doorbell_down(vm);
	else
		pviommu_iface_kick(vm, PVIOMMU_KICK_TRACKED, value);
}
EXPORT_SYMBOL_GPL(pviommu_doorbell_write);

void pviommu_doorbell_gone(void *ctx)
{
	/* The transport has stopped watching it. The guest falls back to the register. */
	pr_debug("VM %u: the doorbell page has left\n",
		 ((struct pviommu_vm *)ctx)->id);
}
EXPORT_SYMBOL_GPL(pviommu_doorbell_gone);
