// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: groups and their IOMMU domains.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/interval_tree.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Give devices to user space even if the host does not isolate their interrupts");

static struct vfio_pv_group *vfio_pv_find_on(struct list_head *groups,
					     struct iommu_group *group)
{
	struct vfio_pv_group *g;

	list_for_each_entry(g, groups, link)
		if (g->group == group)
			return g;
	return NULL;
}

/* Return: the domain, and the group's entry on its list; or NULL. */
static struct vfio_pv_domain *vfio_pv_find_group(struct vfio_pv_container *c,
						 struct iommu_group *group,
						 struct vfio_pv_group **entry)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link) {
		*entry = vfio_pv_find_on(&d->groups, group);
		if (*entry)
			return d;
	}
	return NULL;
}

static bool vfio_pv_is_attached(struct vfio_pv_container *c,
				struct iommu_group *group)
{
	struct vfio_pv_group *entry;

	return vfio_pv_find_on(&c->emulated, group) ||
	       vfio_pv_find_group(c, group, &entry);
}

static bool vfio_pv_interrupts_safe(struct iommu_group *group)
{
	if (pv_iommu_msi_isolated(group) || iommu_group_has_isolated_msi(group))
		return true;
	if (allow_unsafe_interrupts)
		return true;
	pr_warn_ratelimited("the host does not isolate the interrupts of group %d; parameter allow_unsafe_interrupts overrides\n",
			    iommu_group_id(group));
	return false;
}

/* ------------------------------------------------------------------ */
/* Domains */

/* Called for each device of a group: allocates for the first one, which stands for all. */
static int vfio_pv_alloc_for(struct device *dev, void *data)
{
	struct iommu_domain **domain = data;

	*domain = iommu_paging_domain_alloc(dev);
	return 1;
}

/* Create a domain, attached to a group, which is on no list yet */
static struct vfio_pv_domain *vfio_pv_domain_create(struct vfio_pv_container *c,
						    struct iommu_group *group)
{
	struct iommu_domain *domain = ERR_PTR(-ENODEV);
	struct vfio_pv_domain *d;
	int ret;

	d = kzalloc(sizeof(*d), GFP_KERNEL_ACCOUNT);
	if (!d)
		return ERR_PTR(-ENOMEM);
	d->container = c;
	INIT_LIST_HEAD(&d->groups);
	iommu_group_for_each_dev(group, &domain, vfio_pv_alloc_for);
	if (IS_ERR(domain)) {
		ret = PTR_ERR(domain);
		goto err_free;
	}
	d->domain = domain;
	ret = pv_iommu_own(domain, &vfio_pv_owner_ops, d);
	if (ret)
		goto err_domain;
	/* Before the attach, so that no event is missed */
	vfio_pv_events_watch(c, domain);
	ret = iommu_attach_group(domain, group);
	if (ret)
		goto err_watch;
	if (domain->ops->enforce_cache_coherency)
		d->coherent = domain->ops->enforce_cache_coherency(domain);
	return d;

err_watch:
	vfio_pv_events_unwatch(c, domain);
err_domain:
	iommu_domain_free(domain);
err_free:
	kfree(d);
	return ERR_PTR(ret);
}

static void vfio_pv_domain_destroy(struct vfio_pv_container *c,
				   struct vfio_pv_domain *d)
{
	vfio_pv_abandon_domain(d);
	vfio_pv_events_unwatch(c, d->domain);
	list_del(&d->link);
	iommu_domain_free(d->domain);
	kfree(d);
}

/* Attach a group to an existing domain, or else to a new one, which is put on the list. */
static struct vfio_pv_domain *vfio_pv_enter_domain(struct vfio_pv_container *c,
						   struct iommu_group *group)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held_write(&c->lock);
	list_for_each_entry(d, &c->domains, link) {
		if (!iommu_attach_group(d->domain, group))
			return d;
		/* With a table there can't be a second domain, which would have no mappings */
		if (d->table)
			return ERR_PTR(-EINVAL);
	}
	d = vfio_pv_domain_create(c, group);
	if (!IS_ERR(d)) {
		list_add_tail(&d->link, &c->domains);
		if (c->dirty)
			pv_iommu_dirty_start(d->domain);
	}
	return d;
}

/* ------------------------------------------------------------------ */
/* Attach */

/* Whether everything that is mapped would be allowed by a new layout */
static bool vfio_pv_layout_fits(struct vfio_pv_container *c,
				const struct vfio_pv_layout *layout)
{
	unsigned long mask = vfio_pv_min_pgsize(layout) - 1;
	struct interval_tree_node *node;
	bool fits = true;

	/* With c->lock for writing nobody changes the tree */
	lockdep_assert_held_write(&c->lock);
	for (node = interval_tree_iter_first(&c->tree, 0, ULONG_MAX); node && fits;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		fits = vfio_pv_layout_allows(layout, node->start, node->last) &&
		       !((node->start | (node->last + 1)) & mask);
		cond_resched();
	}
	return fits;
}

/* Check a group that is on its domain's list, and adapt the container to it. */
static int vfio_pv_admit(struct vfio_pv_container *c, struct vfio_pv_domain *d,
			 struct iommu_group *group)
{
	bool is_new = list_is_singular(&d->groups);
	struct vfio_pv_layout layout;
	int ret;

	ret = vfio_pv_layout_build(c, &layout);
	if (ret)
		return ret;
	if (!vfio_pv_layout_fits(c, &layout))
		ret = -EINVAL;
	else if (!vfio_pv_interrupts_safe(group))
		ret = -EPERM;
	else if (is_new)
		ret = vfio_pv_fill_domain(d);
	if (ret)
		kfree(layout.ranges);
	else
		vfio_pv_layout_replace(c, &layout);
	return ret;
}

static int vfio_pv_attach_real(struct vfio_pv_container *c,
			       struct vfio_pv_group *g)
{
	struct vfio_pv_domain *d;
	int ret;

	lockdep_assert_held_write(&c->lock);
	d = vfio_pv_enter_domain(c, g->group);
	if (IS_ERR(d))
		return PTR_ERR(d);
	list_add(&g->link, &d->groups);
	ret = vfio_pv_admit(c, d, g->group);
	if (!ret)
		return 0;

	list_del(&g->link);
	iommu_detach_group(d->domain, g->group);
	if (list_empty(&d->groups))
		vfio_pv_domain_destroy(c, d);
	return ret;
}

/*
 * Mediated devices have no IOMMU. With one of type1's types, a container that has nothing
 * else is left to type1: so the first group has to be a real one. VFIO_PV_IOMMU can only be
 * meant for this backend.
 */
static int vfio_pv_attach_emulated(struct vfio_pv_container *c,
				   struct vfio_pv_group *g)
{
	lockdep_assert_held_write(&c->lock);
	if (!c->pv && list_empty(&c->domains) && list_empty(&c->emulated))
		return -ENODEV;
	list_add(&g->link, &c->emulated);
	return 0;
}

/*
 * Log why a group is refused. The core does not tell which ioctl this is: VFIO_SET_IOMMU
 * attaches all groups that the container has, VFIO_GROUP_SET_CONTAINER each later one. With
 * one of type1's types, VFIO_SET_IOMMU tries type1 next, so for a group that is not @ours
 * this is no refusal, and not logged.
 */
static int vfio_pv_refuse_group(struct vfio_pv_container *c, int error, const char *why,
				struct iommu_group *group, bool ours)
{
	bool in_use = READ_ONCE(c->in_use), first;
	const char *what = "SET_CONTAINER";

	down_read(&c->lock);
	first = list_empty(&c->domains) && list_empty(&c->emulated);
	up_read(&c->lock);
	if (!in_use && !first) {
		what = "SET_IOMMU or SET_CONTAINER";
	} else if (!in_use) {
		if (!c->pv && !ours)
			return error;
		what = c->pv ? "SET_IOMMU" : "SET_IOMMU (type 1 is next)";
	}
	return vfio_pv_refuse(error, what, why, iommu_group_id(group));
}

/**
 * vfio_pv_attach_group() - take a group into the container
 * @c: the container
 * @group: the group
 * @type: what kind of group
 *
 * A refusal is logged, unless the group is not ours and type1 is tried next.
 *
 * Context: process, may sleep; takes c->lock for writing.
 * Return: 0; -ENODEV if it is not ours, or the host has no such device; -EBUSY if a
 * mapping has no user address; -EINVAL if it is attached already, or if a mapping overlaps
 * one of its reserved regions; -EPERM if its interrupts are not isolated; -EACCES, -EFAULT if
 * memory that is mapped can't be mapped again in its domain; -ENOENT; -ENOSPC; -ENOMEM; -EIO.
 * After an error it is not attached.
 */
int vfio_pv_attach_group(struct vfio_pv_container *c, struct iommu_group *group,
			 enum vfio_group_type type)
{
	const char *why = "can't have its devices, group";
	struct vfio_pv_group *g;
	int ret;

	if (type != VFIO_EMULATED_IOMMU &&
	    (type != VFIO_IOMMU || !pv_iommu_group(group)))
		return vfio_pv_refuse_group(c, -ENODEV, "behind another IOMMU, group", group,
					    false);
	g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);
	if (!g)
		return vfio_pv_refuse_group(c, -ENOMEM, "no memory for group", group, true);
	g->group = group;

	down_write(&c->lock);
	/* Mediated devices need user addresses at any time; type1 refuses all groups then */
	if (c->nr_vaddr_invalid) {
		ret = -EBUSY;
		why = "a mapping has no vaddr, group";
	} else if (vfio_pv_is_attached(c, group)) {
		ret = -EINVAL;
		why = "attached already, group";
	} else if (type == VFIO_EMULATED_IOMMU) {
		ret = vfio_pv_attach_emulated(c, g);
	} else {
		ret = vfio_pv_attach_real(c, g);
	}
	up_write(&c->lock);
	if (!ret)
		return 0;
	kfree(g);
	/* The host may refuse a group that is ours with -ENODEV, too: that has to be logged */
	return vfio_pv_refuse_group(c, ret, why, group,
				    type != VFIO_EMULATED_IOMMU || ret != -ENODEV);
}

/* ------------------------------------------------------------------ */
/* Detach */

/*
 * Without a group more IOVAs may be usable. If there is no memory to work that out the old
 * layout stays, which allows no more than the new one would.
 */
static void vfio_pv_relax_layout(struct vfio_pv_container *c)
{
	struct vfio_pv_layout layout;

	if (!vfio_pv_layout_build(c, &layout))
		vfio_pv_layout_replace(c, &layout);
}

/* Mappings exist only while the container has a group: unmap all with the last one. */
static void vfio_pv_check_last(struct vfio_pv_container *c)
{
	if (list_empty(&c->domains) && list_empty(&c->emulated))
		vfio_pv_drop_all(c);
}

/*
 * Free a domain that no device is attached to any more. If it is the last one, everything is
 * unmapped; unless there are mediated devices, for which mappings stay pinned.
 */
static void vfio_pv_leave_domain(struct vfio_pv_container *c,
				 struct vfio_pv_domain *d)
{
	lockdep_assert_held_write(&c->lock);
	if (list_is_singular(&c->domains)) {
		if (list_empty(&c->emulated))
			vfio_pv_drop_all(c);
		else
			vfio_pv_drop_unflushed(c);
	}
	vfio_pv_domain_destroy(c, d);
}

static void vfio_pv_detach_locked(struct vfio_pv_container *c,
				  struct iommu_group *group)
{
	struct vfio_pv_domain *d;
	struct vfio_pv_group *g;

	lockdep_assert_held_write(&c->lock);
	g = vfio_pv_find_on(&c->emulated, group);
	if (g) {
		list_del(&g->link);
		kfree(g);
		vfio_pv_check_last(c);
		return;
	}
	d = vfio_pv_find_group(c, group, &g);
	if (!d)
		return;
	iommu_detach_group(d->domain, group);
	list_del(&g->link);
	kfree(g);
	if (list_empty(&d->groups))
		vfio_pv_leave_domain(c, d);
	vfio_pv_relax_layout(c);
}

/**
 * vfio_pv_detach_group() - take a group out of the container
 * @c: the container
 * @group: the group; nothing happens if it is not attached
 *
 * With the last group everything is unmapped and unpinned.
 *
 * Context: process, may sleep; takes c->lock for writing.
 */
void vfio_pv_detach_group(struct vfio_pv_container *c, struct iommu_group *group)
{
	down_write(&c->lock);
	vfio_pv_detach_locked(c, group);
	up_write(&c->lock);
}

/**
 * vfio_pv_detach_all() - take all groups out of the container, and unmap everything
 * @c: the container, which nobody else uses any more
 *
 * Context: process, may sleep; takes c->lock for writing.
 */
void vfio_pv_detach_all(struct vfio_pv_container *c)
{
	struct vfio_pv_domain *d;

	down_write(&c->lock);
	while (!list_empty(&c->emulated))
		vfio_pv_detach_locked(c, list_first_entry(&c->emulated,
							  struct vfio_pv_group,
							  link)->group);
	while ((d = list_first_entry_or_null(&c->domains, struct vfio_pv_domain,
					     link)))
		vfio_pv_detach_locked(c, list_first_entry(&d->groups,
							  struct vfio_pv_group,
							  link)->group);
	vfio_pv_drop_all(c);
	kfree(c->layout.ranges);
	c->layout = (struct vfio_pv_layout){};
	up_write(&c->lock);
}

/**
 * vfio_pv_group_domain() - the domain that a group is attached to
 * @c: the container
 * @group: the group
 *
 * Return: the domain, or ERR_PTR(-ENODEV).
 */
struct iommu_domain *vfio_pv_group_domain(struct vfio_pv_container *c,
					  struct iommu_group *group)
{
	struct vfio_pv_domain *d;
	struct vfio_pv_group *g;

	down_read(&c->lock);
	d = vfio_pv_find_group(c, group, &g);
	up_read(&c->lock);
	return d ? d->domain : ERR_PTR(-ENODEV);
}
