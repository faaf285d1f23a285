// SPDX-License-Identifier: GPL-2.0-only
/*
 * Endpoints: the open devices of a VM, and the ops that are about them.
 *
 * A guest knows endpoints by numbers that it is given, never by host address (BDF).
 * Attaching an endpoint moves its whole group.
 */
#include <linux/slab.h>
#include <linux/vfio.h>

#include "pviommu_private.h"

/* Reserved regions in the answer of PROBE, at most */
#define PROBE_MAX_REGIONS	64

struct probe_reply {
	struct pviommu_probe head;
	struct pviommu_region regions[PROBE_MAX_REGIONS];
};

struct pviommu_endpoint *pviommu_endpoint_open(struct vfio_device *vdev)
{
	struct iommu_group *group = iommu_group_get(vdev->dev);
	struct pviommu_endpoint *ep;
	struct pviommu_group *grp;
	int ret = 0;

	grp = group ? pviommu_group_find(group) : NULL;
	iommu_group_put(group);
	if (!grp)
		return NULL;

	ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);
	if (!ep)
		return ERR_PTR(-ENOMEM);
	ep->vm = grp->vm;
	ep->group = grp;
	ep->dev = vdev->dev;
	ep->kvm = vdev->kvm;
	pviommu_endpoint_learn_pasids(ep);
	down_read(&ep->vm->mem_lock);
	mutex_lock(&ep->vm->cfg_lock);
	/* It may have been blocked when the last device was closed */
	if (!grp->domain && !READ_ONCE(ep->vm->iface))
		ret = pviommu_group_default(grp);
	if (!ret)
		ret = min(xa_alloc_cyclic(&ep->vm->endpoints, &ep->id, ep,
					  XA_LIMIT(1, U16_MAX),
					  &ep->vm->next_endpoint,
					  GFP_KERNEL_ACCOUNT), 0);
	mutex_unlock(&ep->vm->cfg_lock);
	up_read(&ep->vm->mem_lock);
	if (ret) {
		kfree(ep);
		return ERR_PTR(ret);
	}
	return ep;
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_open);

static bool post_endpoint_event(struct pviommu_endpoint *ep, u16 type)
{
	struct pviommu_event ev = {
		.type = cpu_to_le16(type),
		.endpoint = cpu_to_le32(ep->id),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
	};

	return pviommu_event_post(ep->vm, &ev);
}

static bool is_last_of_group(const struct pviommu_endpoint *closing)
{
	struct pviommu_endpoint *ep;
	unsigned long id;

	xa_for_each(&closing->vm->endpoints, id, ep)
		if (ep != closing && ep->group == closing->group)
			return false;
	return true;
}

/* Whether the host is still handling an error of any device of a group */
static bool group_in_error(const struct pviommu_group *grp)
{
	struct pviommu_endpoint *ep;
	unsigned long id;

	lockdep_assert_held(&grp->vm->cfg_lock);
	xa_for_each(&grp->vm->endpoints, id, ep)
		if (ep->group == grp && READ_ONCE(ep->in_error))
			return true;
	return false;
}

void pviommu_endpoint_close(struct pviommu_endpoint *ep)
{
	struct pviommu_vm *vm = ep->vm;
	bool none_left;

	/* The error handler of this device does not run any more, but its work may be queued */
	flush_work(&ep->group->cut_work);
	down_read(&vm->mem_lock);
	mutex_lock(&vm->cfg_lock);
	/* Without an open device the guest has no way to move the group any more */
	if (is_last_of_group(ep)) {
		pviommu_pasids_end(ep->group);
		pviommu_group_attach(ep->group, NULL);
		/* It need not be recovered: the next open of a device resets it */
		ep->group->held = false;
	}
	xa_erase(&vm->endpoints, ep->id);
	none_left = xa_empty(&vm->endpoints);
	mutex_unlock(&vm->cfg_lock);
	up_read(&vm->mem_lock);
	post_endpoint_event(ep, PVIOMMU_EV_GONE);
	if (none_left)
		pviommu_iface_stop(vm, true);
	kfree_rcu(ep, rcu);
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_close);

u32 pviommu_endpoint_id(const struct pviommu_endpoint *ep)
{
	return ep->id;
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_id);

u32 pviommu_endpoint_features(const struct pviommu_endpoint *ep)
{
	return lower_32_bits(pviommu_features(ep->vm));
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_features);

static void unquiesce(struct pviommu_vm *vm)
{
	struct pviommu_endpoint *ep;
	unsigned long id;

	mutex_lock(&vm->cfg_lock);
	xa_for_each(&vm->endpoints, id, ep)
		ep->quiesced = false;
	mutex_unlock(&vm->cfg_lock);
}

void pviommu_endpoint_control(struct pviommu_endpoint *ep, u32 cmd, u64 arg)
{
	struct pviommu_vm *vm = ep->vm;
	int ret = 0;

	switch (cmd) {
	case PVIOMMU_CMD_RESET:
		ret = pviommu_iface_reset(vm, arg);
		break;
	case PVIOMMU_CMD_START:
		unquiesce(vm);
		ret = pviommu_iface_start(vm, ep->kvm, arg);
		break;
	default:
		ret = -EOPNOTSUPP;
	}
	WRITE_ONCE(vm->control_error, pviommu_status(ret));
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_control);

u32 pviommu_endpoint_status(const struct pviommu_endpoint *ep)
{
	u32 state = READ_ONCE(ep->vm->iface) ? PVIOMMU_STATE_RUNNING :
					       PVIOMMU_STATE_STOPPED;

	return state | (u32)READ_ONCE(ep->vm->control_error) << 16;
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_status);

void pviommu_endpoint_kick(struct pviommu_endpoint *ep, u32 value)
{
	pviommu_iface_kick(ep->vm, PVIOMMU_KICK_CONFIG, value);
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_kick);

void pviommu_endpoint_command(struct pviommu_endpoint *ep, bool master)
{
	struct pviommu_vm *vm = ep->vm;
	struct pviommu_endpoint *other;
	bool all_quiet = true;
	unsigned long id;

	mutex_lock(&vm->cfg_lock);
	ep->quiesced = !master;
	xa_for_each(&vm->endpoints, id, other)
		all_quiet &= other->quiesced;
	mutex_unlock(&vm->cfg_lock);
	if (all_quiet)
		pviommu_iface_stop(vm, false);
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_command);

void pviommu_endpoint_reset(struct pviommu_endpoint *ep)
{
	flush_work(&ep->group->cut_work);
	mutex_lock(&ep->vm->cfg_lock);
	if (!group_in_error(ep->group))
		ep->group->held = false;
	mutex_unlock(&ep->vm->cfg_lock);
	pviommu_endpoint_command(ep, false);
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_reset);

bool pviommu_endpoint_isolate(struct pviommu_endpoint *ep)
{
	WRITE_ONCE(ep->in_error, true);
	pviommu_group_cut(ep->group, ep->dev);
	return post_endpoint_event(ep, PVIOMMU_EV_ISOLATED) && READ_ONCE(ep->vm->recovers);
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_isolate);

bool pviommu_endpoint_handled(struct pviommu_endpoint *ep)
{
	bool was = READ_ONCE(ep->in_error);

	WRITE_ONCE(ep->in_error, false);
	return was;
}
EXPORT_SYMBOL_GPL(pviommu_endpoint_handled);

/**
 * pviommu_endpoint_by_dev() - the endpoint id of a device
 * @vm: the VM
 * @dev: the device
 *
 * Context: any.
 * Return: the endpoint id, or 0.
 */
u32 pviommu_endpoint_by_dev(struct pviommu_vm *vm, struct device *dev)
{
	struct pviommu_endpoint *ep;
	unsigned long index;
	u32 id = 0;

	rcu_read_lock();
	xa_for_each(&vm->endpoints, index, ep)
		if (ep->dev == dev)
			id = ep->id;
	rcu_read_unlock();
	return id;
}

static int attach(struct pviommu_vm *vm, struct pviommu_group *grp, u32 id)
{
	struct pviommu_domain *domain;
	int ret;

	if (id == PVIOMMU_DOMAIN_BYPASS)
		return pviommu_group_bypass(grp);
	if (id == PVIOMMU_DOMAIN_BLOCKED)
		return pviommu_group_attach(grp, NULL);
	domain = pviommu_domain_get(vm, id);
	if (!domain)
		return -ENOENT;
	ret = pviommu_group_attach(grp, domain);
	pviommu_domain_put(domain);
	return ret;
}

static bool in_bypass(const struct pviommu_group *grp)
{
	return grp->domain && grp->domain->kind == PVIOMMU_KIND_BYPASS;
}

/* A guest driver that does not know RECOVER recovers a group by attaching it */
static bool must_recover(const struct pviommu_group *grp, u32 id)
{
	return id != PVIOMMU_DOMAIN_BLOCKED && pviommu_group_isolated(grp) &&
	       READ_ONCE(grp->vm->recovers);
}

/* Entering or leaving bypass may pin or unpin all memory, so it ends the doorbell */
static int move_group(struct pviommu_op_ctx *ctx, struct pviommu_group *grp, u32 id)
{
	bool was = in_bypass(grp);
	int ret;

	pviommu_group_settle(grp);
	if (must_recover(grp, id))
		return -EACCES;
	ret = attach(ctx->vm, grp, id);
	if (ret && must_recover(grp, id))
		ret = -EACCES;
	if (!ret && id != PVIOMMU_DOMAIN_BLOCKED)
		grp->held = false;
	if (was != in_bypass(grp) || (ret && id == PVIOMMU_DOMAIN_BYPASS))
		*ctx->budget = 0;
	return ret;
}

static bool has_pasid(const struct pviommu_op *op)
{
	return le32_to_cpu(op->pasid) != PVIOMMU_PASID_NONE;
}

/* ATTACH and DETACH take a PASID if that feature is in use, and have no arguments else */
static int check_fields(const struct pviommu_op_ctx *ctx, const struct pviommu_op *op)
{
	if (has_pasid(op) && !(ctx->features & PVIOMMU_F_PASID))
		return -EOPNOTSUPP;
	return pviommu_op_no_args(op);
}

/* Check a PASID that an op names, and bring the records of its group up to date */
static int settle_pasid(struct pviommu_endpoint *ep, u32 pasid)
{
	int ret = pviommu_pasid_check(ep, pasid);

	if (!ret)
		pviommu_group_settle(ep->group);
	return ret;
}

/*
 * As move_group(), for a PASID: which can't be in bypass. Attaching one does not end
 * the isolation of a group; RECOVER and move_group() do.
 */
static int move_pasid(struct pviommu_endpoint *ep, u32 pasid, u32 id)
{
	struct pviommu_domain *domain;
	int ret = settle_pasid(ep, pasid);

	if (ret)
		return ret;
	if (id == PVIOMMU_DOMAIN_BLOCKED)
		return pviommu_pasid_attach(ep, pasid, NULL);
	if (pviommu_group_isolated(ep->group))
		return -EACCES;
	domain = pviommu_domain_get(ep->vm, id);
	if (!domain)
		return -ENOENT;
	ret = pviommu_pasid_attach(ep, pasid, domain);
	pviommu_domain_put(domain);
	return ret;
}

/**
 * pviommu_op_attach() - ATTACH
 * @ctx: context of the op
 * @op: the op
 * @result: unused
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOENT, -EACCES, -EBUSY, -ERANGE, -ENOSPC, -ENOMEM,
 * -EFAULT, -EIO; on failure the endpoint is where it was, or has been cut off, or is blocked as
 * after pviommu_group_attach().
 */
int pviommu_op_attach(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		      u64 *result)
{
	struct pviommu_vm *vm = ctx->vm;
	struct pviommu_endpoint *ep;
	int ret = check_fields(ctx, op);

	if (ret)
		return ret;
	if (le32_to_cpu(op->domain) == PVIOMMU_DOMAIN_BYPASS &&
	    (has_pasid(op) || !(ctx->features & PVIOMMU_F_BYPASS)))
		return -EOPNOTSUPP;
	mutex_lock(&vm->cfg_lock);
	ep = xa_load(&vm->endpoints, le32_to_cpu(op->endpoint));
	if (ep) {
		/* The VMM may have reset the device before it plugged it in: now it is in use */
		ep->quiesced = false;
		if (has_pasid(op))
			ret = move_pasid(ep, le32_to_cpu(op->pasid), le32_to_cpu(op->domain));
		else
			ret = move_group(ctx, ep->group, le32_to_cpu(op->domain));
	} else {
		ret = -ENOENT;
	}
	mutex_unlock(&vm->cfg_lock);
	return ret;
}

static int detach(struct pviommu_op_ctx *ctx, struct pviommu_endpoint *ep, u32 id)
{
	if (pviommu_group_domain_id(ep->group) != id)
		return -EINVAL;
	return move_group(ctx, ep->group, PVIOMMU_DOMAIN_BLOCKED);
}

static int detach_pasid(struct pviommu_endpoint *ep, u32 pasid, u32 id)
{
	struct pviommu_domain *domain;
	int ret = settle_pasid(ep, pasid);

	if (ret)
		return ret;
	domain = pviommu_pasid_domain(ep->group, pasid);
	if (id != (domain ? domain->id : PVIOMMU_DOMAIN_BLOCKED))
		return -EINVAL;
	return pviommu_pasid_attach(ep, pasid, NULL);
}

/**
 * pviommu_op_detach() - DETACH: move an endpoint to the blocked domain
 * @ctx: context of the op
 * @op: the op; its domain must be the one that the endpoint is attached to
 * @result: unused
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOENT, -ERANGE.
 */
int pviommu_op_detach(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		      u64 *result)
{
	struct pviommu_vm *vm = ctx->vm;
	struct pviommu_endpoint *ep;
	int ret = check_fields(ctx, op);

	if (ret)
		return ret;
	mutex_lock(&vm->cfg_lock);
	ep = xa_load(&vm->endpoints, le32_to_cpu(op->endpoint));
	if (!ep)
		ret = -ENOENT;
	else if (has_pasid(op))
		ret = detach_pasid(ep, le32_to_cpu(op->pasid), le32_to_cpu(op->domain));
	else
		ret = detach(ctx, ep, le32_to_cpu(op->domain));
	mutex_unlock(&vm->cfg_lock);
	return ret;
}

static int recover(struct pviommu_group *grp)
{
	pviommu_group_settle(grp);
	if (!pviommu_group_isolated(grp))
		return 0;
	grp->held = group_in_error(grp);
	return pviommu_group_isolated(grp) ? -EBUSY : 0;
}

/**
 * pviommu_op_recover() - RECOVER: the guest knows that an endpoint was cut off
 * @ctx: context of the op
 * @op: the op
 * @result: unused
 *
 * The endpoint's group stays blocked, but can be attached from now on. A group that is
 * not cut off is left as it is.
 *
 * Return: 0; -EINVAL; -ENOENT; -EBUSY the host is still handling the error.
 */
int pviommu_op_recover(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		       u64 *result)
{
	struct pviommu_vm *vm = ctx->vm;
	struct pviommu_endpoint *ep;
	int ret = pviommu_op_no_args(op);

	if (ret)
		return ret;
	mutex_lock(&vm->cfg_lock);
	ep = xa_load(&vm->endpoints, le32_to_cpu(op->endpoint));
	ret = ep ? recover(ep->group) : -ENOENT;
	mutex_unlock(&vm->cfg_lock);
	return ret;
}

static u32 probe_regions(const struct pviommu_vm *vm, struct pviommu_region *out)
{
	const struct iommu_resv_region *region;
	const struct pviommu_group *grp;
	u32 n = 0;

	list_for_each_entry(grp, &vm->groups, entry) {
		list_for_each_entry(region, &grp->regions, list) {
			bool msi = region->type == IOMMU_RESV_MSI ||
				   region->type == IOMMU_RESV_SW_MSI;

			if (region->type == IOMMU_RESV_DIRECT_RELAXABLE ||
			    n == PROBE_MAX_REGIONS)
				continue;
			out[n].start = cpu_to_le64(region->start);
			out[n].last = cpu_to_le64(region->start + region->length - 1);
			out[n++].type = cpu_to_le32(msi ? PVIOMMU_REGION_MSI :
							  PVIOMMU_REGION_RESERVED);
		}
	}
	return n;
}

/* Return: how many regions the answer has */
static u32 probe_fill(struct pviommu_endpoint *ep, struct probe_reply *reply)
{
	struct pviommu_group *grp = ep->group;
	u32 n;

	reply->head.window_start = cpu_to_le64(grp->window_start);
	reply->head.window_last = cpu_to_le64(grp->window_last);
	reply->head.pgsizes = cpu_to_le64(PVIOMMU_PGSIZES);
	n = probe_regions(ep->vm, reply->regions);
	reply->head.endpoint = cpu_to_le32(ep->id);
	reply->head.group = cpu_to_le32(grp->id);
	reply->head.flags = cpu_to_le32(grp->flags);
	reply->head.nr_regions = cpu_to_le32(n);
	reply->head.pasid_bits = cpu_to_le32(ep->pasid_bits);
	reply->head.domain = cpu_to_le32(pviommu_group_domain_id(grp));
	return n;
}

/**
 * pviommu_op_probe() - PROBE
 * @ctx: context of the op
 * @op: the op
 * @result: set to the bytes that the answer has
 *
 * Return: 0, -EINVAL, -ENOENT, -EFAULT, -ENOMEM.
 */
int pviommu_op_probe(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		     u64 *result)
{
	struct pviommu_vm *vm = ctx->vm;
	struct pviommu_endpoint *ep;
	struct probe_reply *reply;
	int ret = pviommu_op_check_buf(op);
	u32 n = 0;

	if (ret)
		return ret;
	reply = kzalloc(sizeof(*reply), GFP_KERNEL_ACCOUNT);
	if (!reply)
		return -ENOMEM;
	mutex_lock(&vm->cfg_lock);
	ep = xa_load(&vm->endpoints, le32_to_cpu(op->endpoint));
	if (ep)
		n = probe_fill(ep, reply);
	mutex_unlock(&vm->cfg_lock);
	if (ep)
		ret = pviommu_op_fill_buf(ctx, op, reply,
					  offsetof(struct probe_reply, regions[n]), result);
	else
		ret = -ENOENT;
	kfree(reply);
	return ret;
}
