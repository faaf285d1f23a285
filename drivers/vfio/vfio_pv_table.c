// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: page tables that the user keeps.
 *
 * Their entries are physical addresses of this VM, which the host looks up in the VM's
 * memory. This protects other VMs, but not this one: by a table devices can reach any of
 * its memory. So binding a table needs a capability. Other users have to map memory, whose
 * pages are then looked up in their own address space, and pinned.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/capability.h>
#include <linux/interval_tree.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

struct vfio_pv_table_request {
	const struct vfio_pv_iommu_bind_table *bind;
	struct iommu_domain *domain;
};

/* Called for each device of a group: allocates for the first one */
static int vfio_pv_table_alloc_for(struct device *dev, void *data)
{
	struct vfio_pv_table_request *req = data;
	struct iommu_domain *domain = iommu_paging_domain_alloc(dev);
	int ret;

	req->domain = domain;
	if (IS_ERR(domain))
		return 1;
	ret = pv_iommu_make_table(domain, dev, req->bind->format, req->bind->root,
				  req->bind->flags & VFIO_PV_BIND_FLAG_WATCH);
	if (ret) {
		iommu_domain_free(domain);
		req->domain = ERR_PTR(ret);
	}
	return 1;
}

static struct iommu_domain *vfio_pv_table_alloc(struct iommu_group *group,
						const struct vfio_pv_iommu_bind_table *bind)
{
	struct vfio_pv_table_request req = {
		.bind = bind,
		.domain = ERR_PTR(-ENODEV),
	};

	iommu_group_for_each_dev(group, &req, vfio_pv_table_alloc_for);
	return req.domain;
}

/*
 * Move all groups from one domain to another. On failure they are moved back. A group that
 * the host does not take back is in no domain, and can't do DMA.
 */
static int vfio_pv_move_groups(struct vfio_pv_domain *d, struct iommu_domain *from,
			       struct iommu_domain *to)
{
	struct vfio_pv_group *g, *undo;
	int ret;

	list_for_each_entry(g, &d->groups, link) {
		iommu_detach_group(from, g->group);
		ret = iommu_attach_group(to, g->group);
		if (ret)
			goto err_back;
	}
	return 0;

err_back:
	iommu_attach_group(from, g->group);
	list_for_each_entry(undo, &d->groups, link) {
		if (undo == g)
			break;
		iommu_detach_group(to, undo->group);
		iommu_attach_group(from, undo->group);
	}
	return ret;
}

/**
 * vfio_pv_has_table() - does the container take no mappings
 * @c: the container, locked
 *
 * Return: true if a table is bound.
 */
bool vfio_pv_has_table(struct vfio_pv_container *c)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held(&c->lock);
	d = list_first_entry_or_null(&c->domains, struct vfio_pv_domain, link);
	return d && d->table;
}

/* Whether anything is mapped, or unmapped but not flushed */
static bool vfio_pv_has_mappings(struct vfio_pv_container *c)
{
	bool has;

	spin_lock(&c->tree_lock);
	has = interval_tree_iter_first(&c->tree, 0, ULONG_MAX) || !list_empty(&c->unflushed);
	spin_unlock(&c->tree_lock);
	return has;
}

static int vfio_pv_bind(struct vfio_pv_container *c,
			const struct vfio_pv_iommu_bind_table *bind)
{
	struct iommu_domain *domain, *old;
	struct vfio_pv_domain *d;
	int ret;

	lockdep_assert_held_write(&c->lock);
	if (!list_is_singular(&c->domains) || !list_empty(&c->emulated) ||
	    vfio_pv_has_mappings(c))
		return vfio_pv_refuse(-EBUSY, "BIND_TABLE",
				      "not devices of one kind alone, or mappings, root",
				      bind->root);
	d = list_first_entry(&c->domains, struct vfio_pv_domain, link);
	if (d->table)
		return vfio_pv_refuse(-EBUSY, "BIND_TABLE", "a table is bound, root",
				      bind->root);
	domain = vfio_pv_table_alloc(list_first_entry(&d->groups, struct vfio_pv_group,
						      link)->group, bind);
	if (IS_ERR(domain))
		return vfio_pv_refuse(PTR_ERR(domain), "BIND_TABLE",
				      "no such table, or the host refuses, root", bind->root);
	old = d->domain;
	/* Before the attach, so that no event is missed */
	vfio_pv_events_watch(c, domain);
	ret = vfio_pv_move_groups(d, old, domain);
	if (ret) {
		vfio_pv_events_unwatch(c, domain);
		iommu_domain_free(domain);
		return vfio_pv_refuse(ret, "BIND_TABLE", "the host refuses, root", bind->root);
	}
	vfio_pv_events_unwatch(c, old);
	d->domain = domain;
	d->table = true;
	d->coherent = domain->ops->enforce_cache_coherency(domain);
	if (c->dirty)
		pv_iommu_dirty_start(domain);
	/* The container was its owner, but as nothing was mapped there is nothing to replay */
	iommu_domain_free(old);
	return 0;
}

/**
 * vfio_pv_bind_table() - VFIO_PV_IOMMU_BIND_TABLE
 * @c: the container
 * @arg: user address of the argument
 *
 * Return: 0 or a negative errno, as said at the ioctl; then nothing has changed.
 */
long vfio_pv_bind_table(struct vfio_pv_container *c, unsigned long arg)
{
	struct vfio_pv_iommu_bind_table bind;
	int ret = vfio_pv_copy_arg(&bind, sizeof(bind), arg, "BIND_TABLE");

	if (ret)
		return ret;
	if (!capable(CAP_SYS_ADMIN))
		return vfio_pv_refuse(-EPERM, "BIND_TABLE", "needs CAP_SYS_ADMIN, root",
				      bind.root);
	if (bind.flags & ~VFIO_PV_BIND_FLAG_WATCH)
		return vfio_pv_refuse(-EOPNOTSUPP, "BIND_TABLE", "unknown flag in", bind.flags);
	if (bind.reserved)
		return vfio_pv_refuse(-EINVAL, "BIND_TABLE", "reserved is", bind.reserved);
	if (down_write_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_bind(c, &bind);
	up_write(&c->lock);
	return ret;
}
