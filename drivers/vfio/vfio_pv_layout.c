// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: which IOVAs and page sizes a container's
 * domains and groups allow.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

/**
 * vfio_pv_layout_allows() - can a range of IOVAs be mapped
 * @layout: the layout
 * @start: first IOVA
 * @last: last IOVA, inclusive
 *
 * Return: true if all of it is usable.
 */
bool vfio_pv_layout_allows(const struct vfio_pv_layout *layout, u64 start,
			   u64 last)
{
	unsigned int i;

	if (!layout->ranges)
		return true;
	for (i = 0; i < layout->nr; i++)
		if (start >= layout->ranges[i].start &&
		    last <= layout->ranges[i].last)
			return true;
	return false;
}

/* Remove [start, last] from the ranges; there is room for one more range. */
static void vfio_pv_carve(struct vfio_pv_layout *layout, u64 start, u64 last)
{
	struct vfio_pv_range *r = layout->ranges;
	unsigned int i = 0;

	while (i < layout->nr) {
		struct vfio_pv_range old = r[i];
		unsigned int keep = 0;

		if (last < old.start || start > old.last) {
			i++;
			continue;
		}
		if (start > old.start)
			keep++;
		if (last < old.last)
			keep++;
		memmove(r + i + keep, r + i + 1,
			(layout->nr - i - 1) * sizeof(*r));
		layout->nr += keep - 1;
		if (start > old.start)
			r[i++] = (struct vfio_pv_range){ old.start, start - 1 };
		if (last < old.last)
			r[i++] = (struct vfio_pv_range){ last + 1, old.last };
	}
}

static void vfio_pv_free_regions(struct list_head *regions)
{
	struct iommu_resv_region *region, *next;

	list_for_each_entry_safe(region, next, regions, list)
		kfree(region);
}

/* Return: number of regions on the list, or a negative errno. */
static int vfio_pv_all_regions(struct vfio_pv_container *c,
			       struct list_head *regions)
{
	struct vfio_pv_domain *d;
	struct vfio_pv_group *g;
	int ret;

	list_for_each_entry(d, &c->domains, link) {
		list_for_each_entry(g, &d->groups, link) {
			ret = iommu_get_group_resv_regions(g->group, regions);
			if (ret)
				return ret;
		}
	}
	return list_count_nodes(regions);
}

static void vfio_pv_carve_regions(struct vfio_pv_layout *layout,
				  struct list_head *regions)
{
	struct iommu_resv_region *region;

	list_for_each_entry(region, regions, list)
		if (region->type != IOMMU_RESV_DIRECT_RELAXABLE && region->length)
			vfio_pv_carve(layout, region->start,
				      region->start + region->length - 1);
}

/* The page sizes that all domains have. Sizes below the CPU's page size are replaced by that. */
static unsigned long vfio_pv_common_pgsizes(struct vfio_pv_container *c)
{
	unsigned long pgsizes = ULONG_MAX;
	struct vfio_pv_domain *d;

	list_for_each_entry(d, &c->domains, link)
		pgsizes &= d->domain->pgsize_bitmap;
	if (pgsizes & ~PAGE_MASK)
		pgsizes = (pgsizes & PAGE_MASK) | PAGE_SIZE;
	return pgsizes;
}

/**
 * vfio_pv_layout_build() - work out the layout from what is attached
 * @c: the container, locked for writing
 * @layout: filled in; to be passed to vfio_pv_layout_replace(), or its ranges kfree()d
 *
 * Return: 0; -EINVAL if nothing could be mapped; -ENOMEM.
 */
int vfio_pv_layout_build(struct vfio_pv_container *c,
			 struct vfio_pv_layout *layout)
{
	struct vfio_pv_range all = { 0, ULONG_MAX };
	struct vfio_pv_domain *d;
	LIST_HEAD(regions);
	int ret;

	lockdep_assert_held_write(&c->lock);
	*layout = (struct vfio_pv_layout){ .pgsizes = vfio_pv_common_pgsizes(c) };
	if (list_empty(&c->domains))
		return 0;

	list_for_each_entry(d, &c->domains, link) {
		all.start = max_t(u64, all.start, d->domain->geometry.aperture_start);
		all.last = min_t(u64, all.last, d->domain->geometry.aperture_end);
	}
	ret = vfio_pv_all_regions(c, &regions);
	if (ret >= 0)
		layout->ranges = kcalloc(ret + 1, sizeof(all), GFP_KERNEL);
	if (layout->ranges) {
		layout->ranges[0] = all;
		layout->nr = all.start <= all.last;
		vfio_pv_carve_regions(layout, &regions);
	}
	vfio_pv_free_regions(&regions);

	if (ret < 0)
		return ret;
	if (!layout->ranges)
		return -ENOMEM;
	if (layout->nr && layout->pgsizes)
		return 0;
	kfree(layout->ranges);
	return -EINVAL;
}

/**
 * vfio_pv_layout_replace() - set the layout of a container
 * @c: the container, locked for writing
 * @layout: its ranges belong to the container from now on
 */
void vfio_pv_layout_replace(struct vfio_pv_container *c,
			    struct vfio_pv_layout *layout)
{
	lockdep_assert_held_write(&c->lock);
	kfree(c->layout.ranges);
	c->layout = *layout;
}
