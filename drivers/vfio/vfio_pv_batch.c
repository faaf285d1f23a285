// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: many ranges in one call.
 *
 * A batch is processed in groups of entries. All maps of a group are queued, then
 * made effective together; all its removals are made, then flushed together. So the
 * thread has several mappings in a busy state at once, and must not wait for others
 * that may be waiting for one of these. If a range is busy, what has been begun is
 * finished first, and only then the thread waits for that range.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

/**
 * struct vfio_pv_batch - a batch that is being processed
 * @c: the container
 * @flags: VFIO_PV_BATCH_FLAG_*
 * @count: entries of the whole batch
 * @first: number of the first one of this group
 * @nr: entries in this group
 * @done: how many have succeeded
 * @failed: one has failed
 * @entries: our copy of the group's
 * @maps: the batch of the IOMMU driver that queued maps belong to
 * @restarts: vfio_pv_restarts() from before the first map was queued
 * @dmas: of each entry its mapping, while that is queued; or NULL
 */
struct vfio_pv_batch {
	struct vfio_pv_container *c;
	u32 flags;
	u32 count;
	u32 first;
	u32 nr;
	u32 done;
	bool failed;
	struct vfio_pv_batch_entry entries[VFIO_PV_BATCH_GROUP];
	struct pv_iommu_batch maps;
	u32 restarts;
	struct vfio_pv_dma *dmas[VFIO_PV_BATCH_GROUP];
};

static void vfio_pv_batch_result(struct vfio_pv_batch *b, u32 i, int ret)
{
	b->entries[i].result = ret;
	if (ret)
		b->failed = true;
	else
		b->done++;
}

static bool vfio_pv_batch_stops(const struct vfio_pv_batch *b)
{
	return b->failed && !(b->flags & VFIO_PV_BATCH_FLAG_CONTINUE);
}

/* ------------------------------------------------------------------ */
/* Map */

static void vfio_pv_batch_restart(struct vfio_pv_batch *b)
{
	b->maps = (struct pv_iommu_batch){};
	b->restarts = vfio_pv_restarts(b->c);
}

/* Make what is queued effective: entries @from up to @to. */
static void vfio_pv_batch_sync(struct vfio_pv_batch *b, u32 from, u32 to)
{
	unsigned long start = ULONG_MAX, last = 0;
	bool good;
	u32 i;

	for (i = from; i < to; i++) {
		if (!b->dmas[i])
			continue;
		start = min(start, b->dmas[i]->node.start);
		last = max(last, b->dmas[i]->node.last);
	}
	good = start > last ||
	       !vfio_pv_sync_domains(b->c, start, last, &b->maps);
	for (i = from; i < to; i++) {
		if (!b->dmas[i])
			continue;
		vfio_pv_batch_result(b, i,
				     vfio_pv_map_finish(b->c, b->dmas[i],
							b->restarts, good));
		b->dmas[i] = NULL;
	}
	vfio_pv_batch_restart(b);
}

static int vfio_pv_batch_check_map(struct vfio_pv_container *c,
				   const struct vfio_pv_dma_map *map)
{
	if (map->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE |
			   VFIO_PV_MAP_FLAG_FOREIGN))
		return vfio_pv_refuse(-EOPNOTSUPP, "MAP", "an entry has unknown flags,",
				      map->flags);
	return vfio_pv_map_check(c, map);
}

static void vfio_pv_batch_map_group(struct vfio_pv_batch *b)
{
	u32 i, queued = 0;
	int ret;

	vfio_pv_batch_restart(b);
	for (i = 0; i < b->nr && !vfio_pv_batch_stops(b); i++) {
		struct vfio_pv_dma_map map = {
			.flags = b->entries[i].flags,
			.vaddr = b->entries[i].vaddr,
			.iova = b->entries[i].iova,
			.size = b->entries[i].size,
			.vm = b->entries[i].vm,
		};

		b->entries[i].result = -ECANCELED;
		ret = vfio_pv_batch_check_map(b->c, &map);
		if (!ret)
			ret = vfio_pv_map_begin(b->c, &map, false, &b->maps,
						&b->dmas[i]);
		if (ret == -EAGAIN) {
			vfio_pv_batch_sync(b, queued, i);
			queued = i;
			ret = vfio_pv_map_begin(b->c, &map, true, &b->maps,
						&b->dmas[i]);
		}
		if (ret)
			vfio_pv_batch_result(b, i, ret);
		cond_resched();
	}
	vfio_pv_batch_sync(b, queued, i);
	for (; i < b->nr; i++)
		b->entries[i].result = -ECANCELED;
}

/* ------------------------------------------------------------------ */
/* Unmap */

static int vfio_pv_batch_check_unmap(struct vfio_pv_container *c,
				     const struct vfio_pv_batch_entry *entry)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.iova = entry->iova,
		.size = entry->size,
	};

	if (entry->flags)
		return vfio_pv_refuse(-EOPNOTSUPP, "UNMAP", "an entry has unknown flags,",
				      entry->flags);
	if (entry->vaddr)
		return vfio_pv_refuse(-EINVAL, "UNMAP", "an entry has an address,",
				      entry->vaddr);
	return vfio_pv_unmap_check(c, &unmap);
}

static void vfio_pv_batch_drop(struct vfio_pv_batch *b, struct list_head *taken)
{
	if (list_empty(taken))
		return;
	vfio_pv_unmap_taken(b->c, taken,
			    !(b->flags & VFIO_PV_BATCH_FLAG_NO_FLUSH));
	INIT_LIST_HEAD(taken);
}

static int vfio_pv_batch_take(struct vfio_pv_batch *b, u32 i,
			      struct list_head *taken)
{
	struct vfio_pv_batch_entry *entry = &b->entries[i];
	unsigned long last = entry->iova + entry->size - 1;
	u64 size = 0;
	int ret;

	ret = vfio_pv_take(b->c, entry->iova, last, false, taken, &size);
	if (ret == -EAGAIN) {
		vfio_pv_batch_drop(b, taken);
		ret = vfio_pv_take(b->c, entry->iova, last, true, taken, &size);
	}
	if (!ret)
		entry->size = size;
	return ret;
}

static void vfio_pv_batch_unmap_group(struct vfio_pv_batch *b)
{
	LIST_HEAD(taken);
	u32 i;
	int ret;

	for (i = 0; i < b->nr && !vfio_pv_batch_stops(b); i++) {
		ret = vfio_pv_batch_check_unmap(b->c, &b->entries[i]);
		if (!ret)
			ret = vfio_pv_batch_take(b, i, &taken);
		vfio_pv_batch_result(b, i, ret);
	}
	vfio_pv_batch_drop(b, &taken);
	for (; i < b->nr; i++)
		b->entries[i].result = -ECANCELED;
}

/* ------------------------------------------------------------------ */
/* Both */

/* c->lock is dropped between groups of entries, so that attach and detach need not wait long. */
static int vfio_pv_batch_group(struct vfio_pv_batch *b, bool map)
{
	struct vfio_pv_container *c = b->c;
	int ret = 0;

	if (down_read_killable(&c->lock))
		return -EINTR;
	if (map && list_empty(&c->domains) && list_empty(&c->emulated))
		ret = vfio_pv_refuse(-ENODEV, "MAP", "no group is left, entry", b->first);
	else if (map)
		vfio_pv_batch_map_group(b);
	else
		vfio_pv_batch_unmap_group(b);
	up_read(&c->lock);
	return ret;
}

static const char *vfio_pv_batch_name(bool map)
{
	return map ? "MAP" : "UNMAP";
}

/*
 * Mark entries that were not reached, also if some of them can't be written. Return: the number of
 * the first one that can't, @b->count if there is none.
 */
static u32 vfio_pv_batch_cancel_rest(const struct vfio_pv_batch *b,
				     struct vfio_pv_batch_entry __user *user)
{
	u32 i, bad = b->count;

	for (i = b->first; i < b->count; i++) {
		if (put_user(-ECANCELED, &user[i].result) && bad == b->count)
			bad = i;
		cond_resched();
	}
	return bad;
}

/* A group of entries, from the user's array and back. Those behind it are @b->first on. */
static int vfio_pv_batch_step(struct vfio_pv_batch *b, bool map,
			      struct vfio_pv_batch_entry __user *user)
{
	const char *name = vfio_pv_batch_name(map);
	u32 first = b->first;
	int ret;

	b->nr = min_t(u32, b->count - first, VFIO_PV_BATCH_GROUP);
	if (copy_from_user(b->entries, user + first, b->nr * sizeof(*b->entries)))
		return vfio_pv_refuse(-EFAULT, name, "can't read the array, entry", first);
	ret = vfio_pv_batch_group(b, map);
	if (ret)
		return ret;
	/* They are done, whether or not that can be told */
	b->first += b->nr;
	if (copy_to_user(user + first, b->entries, b->nr * sizeof(*b->entries)))
		return vfio_pv_refuse(-EFAULT, name, "can't write the array, entry", first);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static int vfio_pv_batch_run(struct vfio_pv_batch *b, bool map,
			     struct vfio_pv_batch_entry __user *user)
{
	u32 bad;
	int ret = 0;

	while (!ret && b->first < b->count && !vfio_pv_batch_stops(b))
		ret = vfio_pv_batch_step(b, map, user);
	/* An earlier error has been logged */
	bad = vfio_pv_batch_cancel_rest(b, user);
	if (bad < b->count && !ret)
		ret = vfio_pv_refuse(-EFAULT, vfio_pv_batch_name(map),
				     "can't write the array, entry", bad);
	return ret;
}

static int vfio_pv_batch_check(const struct vfio_pv_iommu_batch *arg, bool map)
{
	const char *name = vfio_pv_batch_name(map);
	u32 known = VFIO_PV_BATCH_FLAG_CONTINUE;

	if (!map)
		known |= VFIO_PV_BATCH_FLAG_NO_FLUSH;
	if (arg->flags & ~known)
		return vfio_pv_refuse(-EOPNOTSUPP, name, "unknown flag", arg->flags);
	if (!arg->count || arg->count > VFIO_PV_BATCH_MAX)
		return vfio_pv_refuse(-EINVAL, name, "bad count", arg->count);
	if (!IS_ALIGNED(arg->entries, sizeof(u64)))
		return vfio_pv_refuse(-EINVAL, name, "misaligned array", arg->entries);
	return 0;
}

static long vfio_pv_batch(struct vfio_pv_container *c, unsigned long uarg, bool map)
{
	struct vfio_pv_iommu_batch __user *user = (void __user *)uarg;
	struct vfio_pv_iommu_batch arg;
	struct vfio_pv_batch *b;
	int ret;

	ret = vfio_pv_copy_arg(&arg, sizeof(arg), uarg, vfio_pv_batch_name(map));
	if (!ret)
		ret = vfio_pv_batch_check(&arg, map);
	if (ret)
		return ret;
	b = kzalloc(sizeof(*b), GFP_KERNEL_ACCOUNT);
	if (!b)
		return vfio_pv_refuse(-ENOMEM, vfio_pv_batch_name(map),
				      "no memory for the call, entries", arg.count);
	b->c = c;
	b->flags = arg.flags;
	b->count = arg.count;
	ret = vfio_pv_batch_run(b, map, u64_to_user_ptr(arg.entries));
	if (put_user(b->done, &user->done) && !ret)
		ret = vfio_pv_refuse(-EFAULT, vfio_pv_batch_name(map),
				     "can't write its argument at", uarg);
	kfree(b);
	return ret;
}

/**
 * vfio_pv_map_batch() - VFIO_PV_IOMMU_MAP
 * @c: the container
 * @arg: user address of a struct vfio_pv_iommu_batch
 *
 * Return: 0, -ENODEV if the last group is being detached, or a negative errno
 * of the whole; see the entries for theirs.
 */
long vfio_pv_map_batch(struct vfio_pv_container *c, unsigned long arg)
{
	return vfio_pv_batch(c, arg, true);
}

/**
 * vfio_pv_unmap_batch() - VFIO_PV_IOMMU_UNMAP
 * @c: the container
 * @arg: user address of a struct vfio_pv_iommu_batch
 *
 * Return: 0, or a negative errno of the whole; see the entries for theirs.
 */
long vfio_pv_unmap_batch(struct vfio_pv_container *c, unsigned long arg)
{
	return vfio_pv_batch(c, arg, false);
}
