// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: mappings, from being made to being gone.
 *
 * The tree lock is a spinlock. Whoever works on many mappings lets it go now and
 * then, and goes on behind the last one.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

/* What a container keeps of mappings that are gone */
#define VFIO_PV_MAX_SPARE	64

/* Mappings handled without letting the tree lock go */
#define VFIO_PV_TREE_BATCH	256

/* To walk over all mappings that overlap [start, last], in ascending order */
static struct vfio_pv_dma *vfio_pv_walk(struct vfio_pv_container *c,
					unsigned long start, unsigned long last)
{
	lockdep_assert_held(&c->tree_lock);
	return vfio_pv_dma_of(interval_tree_iter_first(&c->tree, start, last));
}

static struct vfio_pv_dma *vfio_pv_next(struct vfio_pv_dma *dma,
					unsigned long start, unsigned long last)
{
	return vfio_pv_dma_of(interval_tree_iter_next(&dma->node, start, last));
}

/**
 * vfio_pv_first() - the first mapping in a range that is in one of these states
 * @c: the container
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @states: one or more of enum vfio_pv_state
 *
 * The caller holds the tree lock.
 *
 * Return: the mapping or NULL.
 */
struct vfio_pv_dma *vfio_pv_first(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last,
				  unsigned int states)
{
	struct vfio_pv_dma *dma;

	for (dma = vfio_pv_walk(c, start, last); dma;
	     dma = vfio_pv_next(dma, start, last))
		if (dma->state & states)
			return dma;
	return NULL;
}

static void vfio_pv_set_state(struct vfio_pv_container *c,
			      struct vfio_pv_dma *dma, enum vfio_pv_state state)
{
	lockdep_assert_held(&c->tree_lock);
	c->nr_flushing += (state == VFIO_PV_FLUSHING) -
			  (dma->state == VFIO_PV_FLUSHING);
	dma->state = state;
}

static void vfio_pv_wake(struct vfio_pv_container *c)
{
	lockdep_assert_held(&c->tree_lock);
	WRITE_ONCE(c->settled, c->settled + 1);
	if (wq_has_sleeper(&c->wait))
		wake_up_all(&c->wait);
}

/*
 * Wait until some mapping is not busy any more. Drops the tree lock to sleep.
 * Nobody who is waited for waits for us: who makes several mappings busy does
 * so in ascending order, or does not wait but gets -EAGAIN.
 */
static int vfio_pv_settle(struct vfio_pv_container *c, bool wait)
	__must_hold(&c->tree_lock)
{
	unsigned int seen = c->settled;
	int ret;

	lockdep_assert_held(&c->tree_lock);
	if (!wait)
		return -EAGAIN;
	spin_unlock(&c->tree_lock);
	ret = wait_event_killable(c->wait, READ_ONCE(c->settled) != seen);
	spin_lock(&c->tree_lock);
	return ret ? -EINTR : 0;
}

/* The mapping at an IOVA, when nobody is making or removing it */
static int vfio_pv_at(struct vfio_pv_container *c, unsigned long iova, bool wait,
		      struct vfio_pv_dma **dma)
{
	int ret = 0;

	while (!ret) {
		*dma = vfio_pv_walk(c, iova, iova);
		if (!*dma || !((*dma)->state & VFIO_PV_CLAIMED))
			break;
		ret = vfio_pv_settle(c, wait);
	}
	return ret;
}

/*
 * Which mappings to collect: those in state @from that overlap [start, last] and
 * do not reach beyond [low, high]. They get state @to. Others in one of the states
 * @busy are waited for, or with @wait false are -EAGAIN.
 */
struct vfio_pv_pick {
	unsigned long start;
	unsigned long last;
	unsigned long low;
	unsigned long high;
	enum vfio_pv_state from;
	enum vfio_pv_state to;
	unsigned int busy;
	bool wait;
};

static void vfio_pv_pick_one(struct vfio_pv_container *c,
			     const struct vfio_pv_pick *pick,
			     struct vfio_pv_dma *dma, struct list_head *taken)
{
	if (dma->state != pick->from || dma->node.start < pick->low ||
	    dma->node.last > pick->high)
		return;
	vfio_pv_set_state(c, dma, pick->to);
	list_move_tail(&dma->link, taken);
}

/* Return: 0, -EAGAIN or -EINTR; then some may be on the list. */
static int vfio_pv_collect(struct vfio_pv_container *c,
			   const struct vfio_pv_pick *pick,
			   struct list_head *taken)
{
	unsigned long start = pick->start;
	struct vfio_pv_dma *dma;
	unsigned int n = 0;
	int ret;

	while ((dma = vfio_pv_walk(c, start, pick->last))) {
		if (dma->state & pick->busy) {
			start = max(start, dma->node.start);
			ret = vfio_pv_settle(c, pick->wait);
			if (ret)
				return ret;
			continue;
		}
		vfio_pv_pick_one(c, pick, dma, taken);
		if (dma->node.last >= pick->last)
			break;
		start = dma->node.last + 1;
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	return 0;
}

/* ------------------------------------------------------------------ */
/* Life of a mapping */

static struct vfio_pv_dma *vfio_pv_take_spare(struct vfio_pv_container *c)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->tree_lock);
	dma = hlist_entry_safe(c->spare.first, struct vfio_pv_dma, spare);
	if (dma) {
		hlist_del(&dma->spare);
		c->nr_spare--;
	}
	return dma;
}

/* Take what stands for nothing any more. */
static void vfio_pv_dma_put(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	lockdep_assert_held(&c->tree_lock);
	if (c->nr_spare < VFIO_PV_MAX_SPARE) {
		hlist_add_head(&dma->spare, &c->spare);
		c->nr_spare++;
	} else {
		kfree(dma);
	}
}

/**
 * vfio_pv_drop_spare() - free what is kept for mappings to come
 * @c: the container, about to be freed
 */
void vfio_pv_drop_spare(struct vfio_pv_container *c)
{
	struct vfio_pv_dma *dma;
	struct hlist_node *next;

	hlist_for_each_entry_safe(dma, next, &c->spare, spare)
		kfree(dma);
}

static void vfio_pv_dma_init(struct vfio_pv_dma *dma,
			     const struct vfio_pv_dma_map *map)
{
	bool write = map->flags & VFIO_DMA_MAP_FLAG_WRITE;

	vfio_pv_mem_init(&dma->mem, vfio_pv_map_is_foreign(map) ? map->vm : 0,
			 map->vaddr, map->size, write);
	dma->node.start = map->iova;
	dma->node.last = map->iova + map->size - 1;
	dma->prot = map->flags & VFIO_DMA_MAP_FLAG_READ ? IOMMU_READ : 0;
	if (write)
		dma->prot |= IOMMU_WRITE;
	dma->state = 0;
	dma->vaddr_invalid = false;
	dma->stuck = false;
	dma->nr_held = 0;
	INIT_LIST_HEAD(&dma->link);
	xa_init(&dma->holds);
}

/* Give back all that a mapping has but itself. */
static void vfio_pv_dma_empty(struct vfio_pv_dma *dma)
{
	if (dma->stuck)
		pr_err_ratelimited("%lu pages at IOVA %#lx stay pinned, they may still be in use\n",
				   dma->mem.npages, dma->node.start);
	vfio_pv_mem_release(&dma->mem, !dma->stuck);
}

/*
 * The caller, whose mappings these are, has flushed them or never mapped them.
 * Their IOVAs are free when their pages are.
 */
static void vfio_pv_forget(struct vfio_pv_container *c, struct list_head *dmas)
{
	struct vfio_pv_dma *dma, *next;
	unsigned int n = 0;

	list_for_each_entry(dma, dmas, link) {
		vfio_pv_dma_empty(dma);
		if (!list_is_last(&dma->link, dmas))
			cond_resched();
	}

	spin_lock(&c->tree_lock);
	list_for_each_entry_safe(dma, next, dmas, link) {
		interval_tree_remove(&dma->node, &c->tree);
		/* A device that did not let go in time may have until now */
		if (!xa_empty(&dma->holds))
			xa_destroy(&dma->holds);
		vfio_pv_set_state(c, dma, 0);
		c->avail++;
		c->nr_vaddr_invalid -= dma->vaddr_invalid;
		vfio_pv_dma_put(c, dma);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	vfio_pv_wake(c);
	spin_unlock(&c->tree_lock);
}

/* What the caller made busy is so no more. */
static void vfio_pv_give_back(struct vfio_pv_container *c,
			      struct list_head *dmas, enum vfio_pv_state state)
{
	struct vfio_pv_dma *dma;
	unsigned int n = 0;

	spin_lock(&c->tree_lock);
	while ((dma = list_first_entry_or_null(dmas, struct vfio_pv_dma, link))) {
		vfio_pv_set_state(c, dma, state);
		if (state == VFIO_PV_UNFLUSHED)
			list_move_tail(&dma->link, &c->unflushed);
		else
			list_del_init(&dma->link);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	vfio_pv_wake(c);
	spin_unlock(&c->tree_lock);
}

/* Put mappings that the caller made busy aside until they are flushed. */
static void vfio_pv_park(struct vfio_pv_container *c, struct list_head *dmas)
{
	vfio_pv_give_back(c, dmas, VFIO_PV_UNFLUSHED);
}

/* ------------------------------------------------------------------ */
/* VFIO_IOMMU_MAP_DMA */

static int vfio_pv_check_map(struct vfio_pv_container *c,
			     const struct vfio_pv_dma_map *map)
{
	unsigned long mask = vfio_pv_min_pgsize(&c->layout) - 1;
	u64 last = map->iova + map->size - 1;

	if (!map->size || (map->size | map->iova | map->vaddr) & mask)
		return vfio_pv_refuse(-EINVAL, "MAP", "size 0 or misaligned, IOVA",
				      map->iova);
	if (last < map->iova || map->vaddr + map->size - 1 < map->vaddr)
		return vfio_pv_refuse(-EINVAL, "MAP", "a range wraps, IOVA", map->iova);
	return 0;
}

static int vfio_pv_check_words(const struct vfio_pv_dma_map *map)
{
	if (map->size != (size_t)map->size ||
	    map->vaddr != (unsigned long)map->vaddr ||
	    map->iova != (unsigned long)map->iova)
		return vfio_pv_refuse(-EINVAL, "MAP", "more than a word, IOVA",
				      map->iova);
	if (!(map->flags & (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE |
			    VFIO_DMA_MAP_FLAG_VADDR)))
		return vfio_pv_refuse(-EINVAL, "MAP", "neither READ nor WRITE, IOVA",
				      map->iova);
	return 0;
}

/*
 * Of whose memory? A grant is the machine's; who may use it here is who could have
 * got at the memory of anybody here.
 */
static int vfio_pv_check_foreign(struct vfio_pv_container *c,
				 const struct vfio_pv_dma_map *map)
{
	if (likely(!vfio_pv_map_is_foreign(map)))
		return 0;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (map->vm == PVIOMMU_VM_SELF)
		return vfio_pv_refuse(-EINVAL, "MAP", "VM 0, IOVA", map->iova);
	/* Only the host knows of the memory, and of mediated devices it does not */
	if (list_empty(&c->domains))
		return vfio_pv_refuse(-EOPNOTSUPP, "MAP", "no device to map for, IOVA",
				      map->iova);
	return 0;
}

static int vfio_pv_may_map(struct vfio_pv_container *c, unsigned long start,
			   unsigned long last, bool wait)
{
	struct vfio_pv_dma *dma;
	int ret;

	while ((dma = vfio_pv_walk(c, start, last))) {
		if (dma->state == VFIO_PV_MAPPED)
			return vfio_pv_refuse(-EEXIST, "MAP",
					      "overlaps a mapping, IOVA", start);
		if (dma->state == VFIO_PV_UNFLUSHED)
			return vfio_pv_refuse(-EBUSY, "MAP",
					      "overlaps what is not flushed, IOVA",
					      start);
		ret = vfio_pv_settle(c, wait);
		if (ret)
			return ret;
	}
	if (!c->avail)
		return vfio_pv_refuse(-ENOSPC, "MAP", "dma_entry_limit reached, IOVA",
				      start);
	if (!vfio_pv_layout_allows(&c->layout, start, last))
		return vfio_pv_refuse(-EINVAL, "MAP", "no such IOVA, or reserved",
				      start);
	return 0;
}

/*
 * Make the range ours. -ENOBUFS if that needs a mapping, *dma, which can't be
 * allocated here; -EAGAIN if it is busy and @wait is not wanted.
 */
static int vfio_pv_try_reserve(struct vfio_pv_container *c,
			       const struct vfio_pv_dma_map *map,
			       bool wait, struct vfio_pv_dma **dma)
{
	unsigned long start = map->iova, last = map->iova + map->size - 1;
	int ret;

	lockdep_assert_held(&c->tree_lock);
	ret = vfio_pv_may_map(c, start, last, wait);
	if (ret)
		return ret;
	if (!*dma)
		*dma = vfio_pv_take_spare(c);
	if (!*dma)
		return -ENOBUFS;
	vfio_pv_dma_init(*dma, map);
	interval_tree_insert(&(*dma)->node, &c->tree);
	vfio_pv_set_state(c, *dma, VFIO_PV_MAPPING);
	c->avail--;
	return 0;
}

static struct vfio_pv_dma *vfio_pv_reserve(struct vfio_pv_container *c,
					   const struct vfio_pv_dma_map *map,
					   bool wait)
{
	struct vfio_pv_dma *dma = NULL;
	int ret;

	if (vfio_pv_has_table(c))
		return ERR_PTR(-EOPNOTSUPP);
	for (;;) {
		spin_lock(&c->tree_lock);
		ret = vfio_pv_try_reserve(c, map, wait, &dma);
		spin_unlock(&c->tree_lock);
		if (!ret)
			return dma;
		if (ret == -ENOBUFS) {
			dma = kmalloc(sizeof(*dma), GFP_KERNEL_ACCOUNT);
			ret = dma ? 0 : -ENOMEM;
		}
		if (ret) {
			kfree(dma);
			return ERR_PTR(ret);
		}
	}
}

/* From now on it is replayed. False if it has to be mapped again before. */
static bool vfio_pv_publish(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
			    u32 restarts)
{
	bool good;

	spin_lock(&c->tree_lock);
	good = restarts == vfio_pv_restarts(c);
	if (good) {
		vfio_pv_set_state(c, dma, VFIO_PV_MAPPED);
		vfio_pv_wake(c);
	}
	spin_unlock(&c->tree_lock);
	return good;
}

/* Not all of it may have been lost */
static int vfio_pv_unmap_lost(struct vfio_pv_container *c,
			      struct vfio_pv_dma *dma)
{
	LIST_HEAD(lost);

	list_add(&dma->link, &lost);
	vfio_pv_clear_domains(c, &lost, true);
	list_del_init(&dma->link);
	return dma->stuck ? -EIO : 0;
}

static int vfio_pv_map_pinned(struct vfio_pv_container *c,
			      struct vfio_pv_dma *dma)
{
	u32 restarts;
	int ret;

	do {
		restarts = vfio_pv_restarts(c);
		ret = vfio_pv_map_domains(c, dma);
		if (ret)
			return ret;
		if (vfio_pv_publish(c, dma, restarts))
			return 0;
		ret = vfio_pv_unmap_lost(c, dma);
	} while (!ret);
	return ret;
}

static void vfio_pv_forget_one(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	LIST_HEAD(failed);

	list_add(&dma->link, &failed);
	vfio_pv_forget(c, &failed);
}

static int vfio_pv_map_reserved(struct vfio_pv_container *c,
				struct vfio_pv_dma *dma)
{
	int ret = vfio_pv_mem_pin(&dma->mem) ?: vfio_pv_map_pinned(c, dma);

	if (ret)
		vfio_pv_forget_one(c, dma);
	return ret;
}

/**
 * vfio_pv_map() - VFIO_IOMMU_MAP_DMA
 * @c: the container
 * @map: from the user; flags are known ones, other fields are unchecked
 *
 * Return: 0; the errors of type1; -EBUSY if the range overlaps one that waits
 * to be flushed; -ENODEV if the last group is being detached; -EOPNOTSUPP if a
 * table is bound.
 */
int vfio_pv_map(struct vfio_pv_container *c,
		const struct vfio_pv_dma_map *map)
{
	struct vfio_pv_dma *dma;
	int ret;

	ret = vfio_pv_check_words(map);
	if (ret)
		return ret;
	if (!current->mm)
		return -ENODEV;
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_check_map(c, map);
	if (!ret && list_empty(&c->domains) && list_empty(&c->emulated))
		ret = -ENODEV;
	if (!ret)
		ret = vfio_pv_check_foreign(c, map);
	if (!ret) {
		dma = vfio_pv_reserve(c, map, true);
		ret = IS_ERR(dma) ? PTR_ERR(dma) : vfio_pv_map_reserved(c, dma);
	}
	up_read(&c->lock);
	return ret;
}

/**
 * vfio_pv_map_check() - what vfio_pv_map() checks of its arguments
 * @c: the container, locked for reading
 * @map: flags are known ones, other fields are unchecked
 *
 * Return: 0, -EINVAL, or what is wrong with memory of another machine.
 */
int vfio_pv_map_check(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map)
{
	lockdep_assert_held(&c->lock);
	return vfio_pv_check_words(map) ?: vfio_pv_check_map(c, map) ?:
	       vfio_pv_check_foreign(c, map);
}

/**
 * vfio_pv_map_begin() - first half of vfio_pv_map(): up to what leaves the guest
 * @c: the container, locked for reading
 * @map: passed vfio_pv_map_check()
 * @wait: wait while the range is busy; only for a caller that has begun nothing
 *	that is not finished
 * @batch: what the maps belong to, for vfio_pv_sync_domains()
 * @begun: set to the mapping on success, for vfio_pv_map_finish()
 *
 * Return: 0, -EAGAIN if the range is busy and @wait is false, or the errors of
 * vfio_pv_map(); nothing is changed on failure.
 */
int vfio_pv_map_begin(struct vfio_pv_container *c,
		      const struct vfio_pv_dma_map *map, bool wait,
		      struct pv_iommu_batch *batch, struct vfio_pv_dma **begun)
{
	struct vfio_pv_dma *dma;
	int ret;

	lockdep_assert_held(&c->lock);
	if (!current->mm)
		return -ENODEV;
	dma = vfio_pv_reserve(c, map, wait);
	if (IS_ERR(dma))
		return PTR_ERR(dma);
	ret = vfio_pv_mem_pin(&dma->mem);
	if (!ret)
		ret = vfio_pv_queue_domains(c, dma, batch);
	if (ret)
		vfio_pv_forget_one(c, dma);
	else
		*begun = dma;
	return ret;
}

/**
 * vfio_pv_map_finish() - second half of vfio_pv_map()
 * @c: the container, locked for reading since vfio_pv_map_begin()
 * @dma: what that has begun; gone on failure
 * @restarts: what vfio_pv_restarts() said before that
 * @good: vfio_pv_sync_domains() has said that all of the batch is mapped; if not,
 *	this one is mapped again, alone
 *
 * Return: 0 or the errors of vfio_pv_map().
 */
int vfio_pv_map_finish(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
		       u32 restarts, bool good)
{
	int ret;

	lockdep_assert_held(&c->lock);
	if (good && vfio_pv_publish(c, dma, restarts))
		return 0;
	ret = vfio_pv_unmap_lost(c, dma) ?: vfio_pv_map_pinned(c, dma);
	if (ret)
		vfio_pv_forget_one(c, dma);
	return ret;
}

/* ------------------------------------------------------------------ */
/* VFIO_IOMMU_UNMAP_DMA */

static int vfio_pv_check_unmap(struct vfio_pv_container *c,
			       const struct vfio_iommu_type1_dma_unmap *unmap)
{
	unsigned long mask = vfio_pv_min_pgsize(&c->layout) - 1;

	if (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return !unmap->iova && !unmap->size ? 0 :
			vfio_pv_refuse(-EINVAL, "UNMAP", "ALL takes no range, IOVA",
				       unmap->iova);
	if (!unmap->size || (unmap->iova | unmap->size) & mask)
		return vfio_pv_refuse(-EINVAL, "UNMAP", "size 0 or misaligned, IOVA",
				      unmap->iova);
	if (unmap->iova + unmap->size - 1 < unmap->iova || unmap->size > SIZE_MAX)
		return vfio_pv_refuse(-EINVAL, "UNMAP", "the range wraps, IOVA",
				      unmap->iova);
	return 0;
}

/**
 * vfio_pv_unmap_check() - what vfio_pv_unmap() checks of its arguments
 * @c: the container, locked for reading
 * @unmap: flags are known ones, other fields are unchecked
 *
 * Return: 0 or -EINVAL.
 */
int vfio_pv_unmap_check(struct vfio_pv_container *c,
			const struct vfio_iommu_type1_dma_unmap *unmap)
{
	lockdep_assert_held(&c->lock);
	if (unmap->iova != (unsigned long)unmap->iova)
		return vfio_pv_refuse(-EINVAL, "UNMAP", "more than a word, IOVA",
				      unmap->iova);
	return vfio_pv_check_unmap(c, unmap);
}

/*
 * Version 2 of the interface refuses to cut a mapping. Version 1 takes every
 * range, but stops without an error at a mapping that begins before it, and
 * removes the whole of one that ends after it.
 */
static int vfio_pv_check_bounds(struct vfio_pv_container *c,
				unsigned long start, unsigned long last,
				bool wait)
{
	struct vfio_pv_dma *dma;
	int ret;

	ret = vfio_pv_at(c, start, wait, &dma);
	if (ret)
		return ret;
	if (dma && dma->state == VFIO_PV_MAPPED && dma->node.start != start)
		return c->v2 ? vfio_pv_refuse(-EINVAL, "UNMAP",
					      "cuts a mapping at IOVA", start) :
			       -ENOENT;
	if (!c->v2)
		return 0;
	ret = vfio_pv_at(c, last, wait, &dma);
	if (ret)
		return ret;
	if (dma && dma->state == VFIO_PV_MAPPED && dma->node.last != last)
		return vfio_pv_refuse(-EINVAL, "UNMAP", "cuts a mapping at IOVA", last);
	return 0;
}

/* What most programs do: unmap what was mapped. Is it that? */
static bool vfio_pv_take_one(struct vfio_pv_container *c, unsigned long start,
			     unsigned long last, struct list_head *taken)
{
	struct vfio_pv_dma *dma;
	bool good;

	spin_lock(&c->tree_lock);
	dma = vfio_pv_walk(c, start, last);
	good = dma && dma->state == VFIO_PV_MAPPED &&
	       dma->node.start == start && dma->node.last == last;
	if (good) {
		vfio_pv_set_state(c, dma, VFIO_PV_UNMAPPING);
		list_add(&dma->link, taken);
	}
	spin_unlock(&c->tree_lock);
	return good;
}

/* From here on they are not brought back any more, and will be gone. */
static void vfio_pv_commit(struct vfio_pv_container *c, struct list_head *taken)
{
	struct vfio_pv_dma *dma;
	unsigned int n = 0;

	spin_lock(&c->tree_lock);
	list_for_each_entry(dma, taken, link) {
		vfio_pv_set_state(c, dma, VFIO_PV_UNMAPPING);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	spin_unlock(&c->tree_lock);
}

/**
 * vfio_pv_take() - make all mappings in a range the caller's, to be unmapped
 * @c: the container, locked
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @wait: wait while others are busy with mappings in the range; only for a
 *	caller that has taken nothing
 * @taken: they are added here, for vfio_pv_unmap_taken()
 * @size: set to the sum of their sizes
 *
 * Return: 0; -EAGAIN if the range is busy and @wait is false; -EINVAL if the
 * range cuts a mapping; -EINTR. On failure nothing is taken.
 */
int vfio_pv_take(struct vfio_pv_container *c, unsigned long start,
		 unsigned long last, bool wait, struct list_head *taken, u64 *size)
{
	const struct vfio_pv_pick pick = {
		.start = start,
		.last = last,
		.low = start,
		.high = c->v2 ? last : ULONG_MAX,
		.from = VFIO_PV_MAPPED,
		.to = VFIO_PV_TAKEN,
		.busy = VFIO_PV_CLAIMED,
		.wait = wait,
	};
	struct vfio_pv_dma *dma;
	LIST_HEAD(mine);
	u64 sum = 0;
	int ret;

	spin_lock(&c->tree_lock);
	ret = vfio_pv_check_bounds(c, start, last, wait);
	if (!ret)
		ret = vfio_pv_collect(c, &pick, &mine);
	spin_unlock(&c->tree_lock);
	if (ret && !list_empty(&mine))
		vfio_pv_give_back(c, &mine, VFIO_PV_MAPPED);
	list_for_each_entry(dma, &mine, link)
		sum += vfio_pv_dma_size(dma);
	*size = sum;
	list_splice_tail(&mine, taken);
	return ret == -ENOENT ? 0 : ret;
}

/**
 * vfio_pv_untake() - undo vfio_pv_take()
 * @c: the container
 * @taken: the mappings, which are as they were before; empty on return
 */
void vfio_pv_untake(struct vfio_pv_container *c, struct list_head *taken)
{
	vfio_pv_give_back(c, taken, VFIO_PV_MAPPED);
}

/**
 * vfio_pv_claim() - make the first mapping in a range the caller's, to be changed
 * @c: the container
 * @start: first IOVA
 * @last: last IOVA, inclusive
 *
 * Return: the mapping, for vfio_pv_untake(); NULL if there is none; -EINTR.
 */
struct vfio_pv_dma *vfio_pv_claim(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last)
{
	struct vfio_pv_dma *dma;
	int ret = 0;

	spin_lock(&c->tree_lock);
	while ((dma = vfio_pv_first(c, start, last, VFIO_PV_MAPPED | VFIO_PV_CLAIMED)) &&
	       dma->state != VFIO_PV_MAPPED && !ret)
		ret = vfio_pv_settle(c, true);
	if (!ret && dma)
		vfio_pv_set_state(c, dma, VFIO_PV_TAKEN);
	spin_unlock(&c->tree_lock);
	return ret ? ERR_PTR(ret) : dma;
}

/**
 * vfio_pv_unmap_taken() - unmap what vfio_pv_take() has taken
 * @c: the container, locked
 * @taken: the mappings, at least one; its entries are gone or on another list
 *	afterwards
 * @flush: make it effective and unpin; else they wait to be flushed
 */
void vfio_pv_unmap_taken(struct vfio_pv_container *c, struct list_head *taken,
			 bool flush)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->lock);
	if (list_first_entry(taken, struct vfio_pv_dma, link)->state == VFIO_PV_TAKEN)
		vfio_pv_commit(c, taken);
	list_for_each_entry(dma, taken, link)
		if (!vfio_pv_make_devices_unpin(c, dma))
			dma->stuck = true;
	vfio_pv_clear_domains(c, taken, flush);
	if (flush)
		vfio_pv_forget(c, taken);
	else
		vfio_pv_park(c, taken);
}

/**
 * vfio_pv_unmap() - VFIO_IOMMU_UNMAP_DMA
 * @c: the container
 * @unmap: from the user; flags are known ones, other fields are unchecked
 * @unmapped: how many bytes were unmapped
 *
 * Unless the flags say not to flush, the pages are unpinned when it returns.
 *
 * Return: 0 or the errors of type1; nothing is changed on failure.
 */
int vfio_pv_unmap(struct vfio_pv_container *c,
		  const struct vfio_iommu_type1_dma_unmap *unmap, u64 *unmapped)
{
	bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
	unsigned long start = unmap->iova;
	unsigned long last = all ? ULONG_MAX : start + unmap->size - 1;
	LIST_HEAD(taken);
	int ret;

	if (unmap->iova != start)
		return -EINVAL;
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_check_unmap(c, unmap);
	if (!ret && vfio_pv_take_one(c, start, last, &taken))
		*unmapped = last - start + 1;
	else if (!ret)
		ret = vfio_pv_take(c, start, last, true, &taken, unmapped);
	if (!ret && !list_empty(&taken))
		vfio_pv_unmap_taken(c, &taken,
				    !(unmap->flags & VFIO_PV_UNMAP_FLAG_NO_FLUSH));
	up_read(&c->lock);
	return ret;
}

/* ------------------------------------------------------------------ */
/* VFIO_PV_IOMMU_INVALIDATE */

/* The whole container: its tree may be much larger than what is unflushed. */
static int vfio_pv_take_all_unflushed(struct vfio_pv_container *c,
				      struct list_head *taken)
{
	struct vfio_pv_dma *dma;
	unsigned int n = 0;
	int ret = 0;

	spin_lock(&c->tree_lock);
	while (!ret && c->nr_flushing)
		ret = vfio_pv_settle(c, true);
	while (!ret && (dma = list_first_entry_or_null(&c->unflushed,
						       struct vfio_pv_dma,
						       link))) {
		vfio_pv_set_state(c, dma, VFIO_PV_FLUSHING);
		list_move_tail(&dma->link, taken);
		if (!(++n % VFIO_PV_TREE_BATCH))
			cond_resched_lock(&c->tree_lock);
	}
	spin_unlock(&c->tree_lock);
	return ret;
}

/*
 * Make the unflushed mappings in the range ours, and the range as large as
 * they are: more may be flushed than was asked for, never less.
 */
static int vfio_pv_take_unflushed(struct vfio_pv_container *c,
				  unsigned long *start, unsigned long *last,
				  struct list_head *taken)
{
	const struct vfio_pv_pick pick = {
		.start = *start,
		.last = *last,
		.high = ULONG_MAX,
		.from = VFIO_PV_UNFLUSHED,
		.to = VFIO_PV_FLUSHING,
		.busy = VFIO_PV_FLUSHING,
		.wait = true,
	};
	struct vfio_pv_dma *dma;
	int ret = 0;

	spin_lock(&c->tree_lock);
	if (c->nr_flushing || !list_empty(&c->unflushed))
		ret = vfio_pv_collect(c, &pick, taken);
	spin_unlock(&c->tree_lock);
	list_for_each_entry(dma, taken, link) {
		*start = min(*start, dma->node.start);
		*last = max(*last, dma->node.last);
	}
	return ret;
}

static int vfio_pv_invalidate_all(struct vfio_pv_container *c, u32 flags,
				  struct list_head *taken)
{
	int ret = vfio_pv_take_all_unflushed(c, taken);

	return ret ?: vfio_pv_flush_domains(c, PVIOMMU_INV_DOMAIN, 0, 0, flags);
}

static int vfio_pv_invalidate_range(struct vfio_pv_container *c, u64 addr,
				    u64 size, u32 flags, struct list_head *taken)
{
	unsigned long start = addr, last = addr + size - 1;
	int ret = vfio_pv_take_unflushed(c, &start, &last, taken);

	return ret ?: vfio_pv_flush_domains(c, PVIOMMU_INV_PAGE, start,
					    last - start + 1, flags);
}

static int vfio_pv_do_invalidate(struct vfio_pv_container *c,
				 const struct vfio_pv_iommu_invalidate *inv)
{
	u32 flags = inv->flags & VFIO_PV_INV_FLAG_LEAF ? PVIOMMU_INV_F_LEAF : 0;
	LIST_HEAD(taken);
	int ret;

	if (inv->granularity == VFIO_PV_INV_PAGE)
		ret = vfio_pv_invalidate_range(c, inv->addr, inv->size, flags,
					       &taken);
	else
		ret = vfio_pv_invalidate_all(c, flags, &taken);
	if (list_empty(&taken))
		return ret;
	if (ret)
		vfio_pv_park(c, &taken);
	else
		vfio_pv_forget(c, &taken);
	return ret;
}

/**
 * vfio_pv_invalidate() - VFIO_PV_IOMMU_INVALIDATE
 * @c: the container
 * @inv: from the user; flags, granularity and PASID are good, and the range
 *	does not wrap
 *
 * Return: 0, -EINVAL for bad alignment, or what pv_iommu_invalidate() says;
 * then nothing is unpinned.
 */
int vfio_pv_invalidate(struct vfio_pv_container *c,
		       const struct vfio_pv_iommu_invalidate *inv)
{
	int ret;

	if (down_read_killable(&c->lock))
		return -EINTR;
	if ((inv->addr | inv->size) & (vfio_pv_min_pgsize(&c->layout) - 1))
		ret = -EINVAL;
	else
		ret = vfio_pv_do_invalidate(c, inv);
	up_read(&c->lock);
	return ret;
}

/* ------------------------------------------------------------------ */
/* When groups leave */

/**
 * vfio_pv_drop_unflushed() - release all mappings that wait to be flushed
 * @c: the container, with no device that could reach a domain
 */
void vfio_pv_drop_unflushed(struct vfio_pv_container *c)
{
	LIST_HEAD(taken);

	lockdep_assert_held_write(&c->lock);
	spin_lock(&c->tree_lock);
	list_splice_init(&c->unflushed, &taken);
	spin_unlock(&c->tree_lock);
	if (list_empty(&taken))
		return;

	/* A host that does not answer may not have let the devices leave, too */
	if (vfio_pv_flush_domains(c, PVIOMMU_INV_DOMAIN, 0, 0, 0))
		vfio_pv_all_stuck(&taken);
	vfio_pv_forget(c, &taken);
}

/**
 * vfio_pv_drop_all() - unmap and release everything
 * @c: the container, with no device that could reach a domain
 */
void vfio_pv_drop_all(struct vfio_pv_container *c)
{
	LIST_HEAD(taken);
	u64 size;

	lockdep_assert_held_write(&c->lock);
	vfio_pv_drop_unflushed(c);
	if (!vfio_pv_take(c, 0, ULONG_MAX, true, &taken, &size) && !list_empty(&taken))
		vfio_pv_unmap_taken(c, &taken, true);
}
