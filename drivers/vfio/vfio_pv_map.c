// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: mappings, from being made to being gone.
 *
 * Maps are queued run by run and made effective by one call at the end of a
 * request, removals of a request are flushed by one call: that is what leaves
 * the guest, so its number does not depend on how scattered the memory is.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "vfio_pv_priv.h"

/* What a container keeps of mappings that are gone */
#define VFIO_PV_MAX_SPARE	64

static struct vfio_pv_dma *vfio_pv_dma_of(struct interval_tree_node *node)
{
	return node ? container_of(node, struct vfio_pv_dma, node) : NULL;
}

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
	if (dma->state & VFIO_PV_BUSY)
		c->nr_busy--;
	if (state & VFIO_PV_BUSY)
		c->nr_busy++;
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
 * Wait until nothing in the range is in one of these busy states, which are
 * left by threads that do not wait for us. Drops the tree lock to sleep. Who
 * has made something busy must not wait: -EAGAIN then.
 */
static int vfio_pv_settle(struct vfio_pv_container *c, unsigned long start,
			  unsigned long last, unsigned int states, bool wait)
{
	lockdep_assert_held(&c->tree_lock);
	while (c->nr_busy && vfio_pv_first(c, start, last, states)) {
		unsigned int seen = c->settled;
		int ret;

		if (!wait)
			return -EAGAIN;
		mutex_unlock(&c->tree_lock);
		ret = wait_event_killable(c->wait,
					  READ_ONCE(c->settled) != seen);
		mutex_lock(&c->tree_lock);
		if (ret)
			return -EINTR;
	}
	return 0;
}

/* ------------------------------------------------------------------ */
/* In and out of IOMMU domains */

/*
 * Take a range out of a domain. What is not mapped is skipped, which after a
 * map that failed half-way is to be expected.
 *
 * Return: false if something can't be removed.
 */
static bool vfio_pv_clear(struct iommu_domain *domain, unsigned long iova,
			  size_t size, struct iommu_iotlb_gather *gather)
{
	size_t step = max(PAGE_SIZE, 1UL << __ffs(domain->pgsize_bitmap));
	size_t done = 0;

	while (done < size) {
		done += pv_iommu_unmap_nosync(domain, iova + done, size - done,
					      gather);
		if (done >= size)
			break;
		if (iommu_iova_to_phys(domain, iova + done))
			return false;
		done += step;
		cond_resched();
	}
	return true;
}

/* Return: false if devices may still reach what was gathered. */
static bool vfio_pv_flush(struct iommu_domain *domain,
			  const struct iommu_iotlb_gather *gather)
{
	if (gather->start > gather->end)
		return true; /* nothing was mapped */
	return !pv_iommu_invalidate(domain, PVIOMMU_INV_PAGE,
				    PVIOMMU_PASID_NONE, gather->start,
				    gather->end - gather->start + 1, 0);
}

static void vfio_pv_clear_and_flush(struct vfio_pv_dma *dma,
				    struct iommu_domain *domain, size_t size)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	if (!vfio_pv_clear(domain, dma->node.start, size, &gather))
		dma->stuck = true;
	if (!vfio_pv_flush(domain, &gather))
		dma->stuck = true;
}

/* Queue all runs; @queued is how far that came, also on failure. */
static int vfio_pv_queue_runs(const struct vfio_pv_dma *dma,
			      struct iommu_domain *domain, size_t *queued)
{
	const struct vfio_pv_chunk *chunk;
	const struct vfio_pv_run *run;
	int ret;

	*queued = 0;
	for (chunk = &dma->mem.first; chunk; chunk = chunk->next) {
		for (run = chunk->runs; run < chunk->runs + chunk->nr; run++) {
			size_t size = (size_t)run->npages << PAGE_SHIFT;

			ret = pv_iommu_map_nosync(domain,
						  dma->node.start + *queued,
						  PFN_PHYS(run->pfn), size,
						  dma->prot | IOMMU_CACHE,
						  GFP_KERNEL_ACCOUNT);
			if (ret)
				return ret;
			*queued += size;
		}
		if (chunk != &dma->mem.first)
			cond_resched();
	}
	return 0;
}

static int vfio_pv_map_domain(struct vfio_pv_dma *dma,
			      struct iommu_domain *domain)
{
	size_t queued;
	int ret;

	ret = vfio_pv_queue_runs(dma, domain, &queued);
	if (!ret)
		ret = pv_iommu_sync_map(domain, dma->node.start, queued);
	if (ret && queued)
		vfio_pv_clear_and_flush(dma, domain, queued);
	if (ret == -ENOTRECOVERABLE) {
		dma->stuck = true;
		ret = -EIO;
	}
	return ret;
}

static int vfio_pv_map_domains(struct vfio_pv_container *c,
			       struct vfio_pv_dma *dma)
{
	struct vfio_pv_domain *d;
	int ret = 0;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link) {
		ret = vfio_pv_map_domain(dma, d->domain);
		if (ret)
			break;
	}
	if (!ret)
		return 0;
	list_for_each_entry_continue_reverse(d, &c->domains, link)
		vfio_pv_clear_and_flush(dma, d->domain, vfio_pv_dma_size(dma));
	return ret;
}

/* It can't be said which of them: none is ever unpinned. */
static void vfio_pv_all_stuck(struct list_head *dmas)
{
	struct vfio_pv_dma *dma;

	list_for_each_entry(dma, dmas, link)
		dma->stuck = true;
}

/* Take all mappings of a list out of all domains. */
static void vfio_pv_clear_domains(struct vfio_pv_container *c,
				  struct list_head *dmas, bool flush)
{
	struct iommu_iotlb_gather gather;
	struct vfio_pv_domain *d;
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->lock);
	if (list_empty(dmas))
		return;
	list_for_each_entry(d, &c->domains, link) {
		iommu_iotlb_gather_init(&gather);
		list_for_each_entry(dma, dmas, link) {
			if (!vfio_pv_clear(d->domain, dma->node.start,
					   vfio_pv_dma_size(dma), &gather))
				dma->stuck = true;
			if (!list_is_last(&dma->link, dmas))
				cond_resched();
		}
		if (flush && !vfio_pv_flush(d->domain, &gather))
			vfio_pv_all_stuck(dmas);
	}
}

static int vfio_pv_flush_domains(struct vfio_pv_container *c,
				 enum pviommu_granularity granularity, u64 addr,
				 u64 size, u32 flags)
{
	struct vfio_pv_domain *d;
	int ret;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link) {
		ret = pv_iommu_invalidate(d->domain, granularity,
					  PVIOMMU_PASID_NONE, addr, size, flags);
		if (ret)
			return ret;
	}
	return 0;
}

/* ------------------------------------------------------------------ */
/* Life of a mapping */

static struct vfio_pv_dma *vfio_pv_dma_alloc(struct vfio_pv_container *c)
{
	struct vfio_pv_dma *dma;

	mutex_lock(&c->tree_lock);
	dma = hlist_entry_safe(c->spare.first, struct vfio_pv_dma, spare);
	if (dma) {
		hlist_del(&dma->spare);
		c->nr_spare--;
	}
	mutex_unlock(&c->tree_lock);
	return dma ?: kmalloc(sizeof(*dma), GFP_KERNEL_ACCOUNT);
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

static struct vfio_pv_dma *vfio_pv_dma_make(struct vfio_pv_container *c,
					    const struct vfio_iommu_type1_dma_map *map)
{
	bool write = map->flags & VFIO_DMA_MAP_FLAG_WRITE;
	struct vfio_pv_dma *dma = vfio_pv_dma_alloc(c);
	int ret;

	if (!dma)
		return ERR_PTR(-ENOMEM);
	ret = vfio_pv_mem_init(&dma->mem, map->vaddr, map->size, write);
	if (ret) {
		kfree(dma);
		return ERR_PTR(ret);
	}
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
	return dma;
}

/* Give back all that a mapping has but itself. */
static void vfio_pv_dma_empty(struct vfio_pv_dma *dma)
{
	if (dma->stuck)
		pr_err_ratelimited("%lu pages at IOVA %#lx stay pinned, they may still be in use\n",
				   dma->mem.npages, dma->node.start);
	vfio_pv_mem_release(&dma->mem, !dma->stuck);
	if (!xa_empty(&dma->holds))
		xa_destroy(&dma->holds);
}

/*
 * The caller, whose mappings these are, has flushed them or never mapped them.
 * Their IOVAs are free when their pages are.
 */
static void vfio_pv_forget(struct vfio_pv_container *c, struct list_head *dmas)
{
	struct vfio_pv_dma *dma, *next;

	list_for_each_entry(dma, dmas, link)
		vfio_pv_dma_empty(dma);

	mutex_lock(&c->tree_lock);
	list_for_each_entry_safe(dma, next, dmas, link) {
		interval_tree_remove(&dma->node, &c->tree);
		if (dma->state & VFIO_PV_BUSY)
			c->nr_busy--;
		c->avail++;
		c->nr_vaddr_invalid -= dma->vaddr_invalid;
		vfio_pv_dma_put(c, dma);
	}
	vfio_pv_wake(c);
	mutex_unlock(&c->tree_lock);
}

/* Put mappings that the caller made busy aside until they are flushed. */
static void vfio_pv_park(struct vfio_pv_container *c, struct list_head *dmas)
{
	struct vfio_pv_dma *dma;

	mutex_lock(&c->tree_lock);
	list_for_each_entry(dma, dmas, link)
		vfio_pv_set_state(c, dma, VFIO_PV_UNFLUSHED);
	list_splice_init(dmas, &c->unflushed);
	vfio_pv_wake(c);
	mutex_unlock(&c->tree_lock);
}

/* ------------------------------------------------------------------ */
/* VFIO_IOMMU_MAP_DMA */

static int vfio_pv_check_map(struct vfio_pv_container *c,
			     const struct vfio_iommu_type1_dma_map *map)
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

static int vfio_pv_check_words(const struct vfio_iommu_type1_dma_map *map)
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

static int vfio_pv_may_map(struct vfio_pv_container *c,
			   const struct vfio_pv_dma *dma)
{
	unsigned long start = dma->node.start, last = dma->node.last;

	if (vfio_pv_first(c, start, last, VFIO_PV_MAPPED | VFIO_PV_UNFLUSHED))
		return vfio_pv_refuse(vfio_pv_first(c, start, last, VFIO_PV_MAPPED) ?
				      -EEXIST : -EBUSY, "MAP",
				      "overlaps what is there, IOVA", start);
	if (!c->avail)
		return vfio_pv_refuse(-ENOSPC, "MAP", "dma_entry_limit reached, IOVA",
				      start);
	if (!vfio_pv_layout_allows(&c->layout, start, last))
		return vfio_pv_refuse(-EINVAL, "MAP", "no such IOVA, or reserved",
				      start);
	return 0;
}

/* Make the range ours, or -EAGAIN if it is busy and @wait is not wanted. */
static int vfio_pv_reserve(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
			   bool wait)
{
	int ret;

	mutex_lock(&c->tree_lock);
	ret = vfio_pv_settle(c, dma->node.start, dma->node.last, VFIO_PV_BUSY,
			     wait);
	if (!ret)
		ret = vfio_pv_may_map(c, dma);
	if (!ret) {
		interval_tree_insert(&dma->node, &c->tree);
		vfio_pv_set_state(c, dma, VFIO_PV_MAPPING);
		c->avail--;
	}
	mutex_unlock(&c->tree_lock);
	return ret;
}

/**
 * vfio_pv_publish() - a mapping that the caller was busy with is mapped
 * @c: the container
 * @dma: the mapping
 */
void vfio_pv_publish(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	mutex_lock(&c->tree_lock);
	vfio_pv_set_state(c, dma, VFIO_PV_MAPPED);
	vfio_pv_wake(c);
	mutex_unlock(&c->tree_lock);
}

static int vfio_pv_map_dma(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	LIST_HEAD(failed);
	int ret;

	ret = vfio_pv_reserve(c, dma, true);
	if (ret) {
		vfio_pv_dma_empty(dma);
		kfree(dma);
		return ret;
	}
	ret = vfio_pv_mem_pin(&dma->mem);
	if (!ret)
		ret = vfio_pv_map_domains(c, dma);
	if (ret) {
		list_add(&dma->link, &failed);
		vfio_pv_forget(c, &failed);
		return ret;
	}
	vfio_pv_publish(c, dma);
	return 0;
}

/**
 * vfio_pv_map() - VFIO_IOMMU_MAP_DMA
 * @c: the container
 * @map: from the user; flags are known ones, other fields are unchecked
 *
 * Return: 0; the errors of type1; -EBUSY if the range overlaps one that waits
 * to be flushed; -ENODEV if the last group is being detached.
 */
int vfio_pv_map(struct vfio_pv_container *c,
		const struct vfio_iommu_type1_dma_map *map)
{
	struct vfio_pv_dma *dma;
	int ret;

	ret = vfio_pv_check_words(map);
	if (ret)
		return ret;
	if (down_read_killable(&c->lock))
		return -EINTR;
	ret = vfio_pv_check_map(c, map);
	if (!ret && list_empty(&c->domains) && list_empty(&c->emulated))
		ret = -ENODEV;
	if (!ret) {
		dma = vfio_pv_dma_make(c, map);
		ret = IS_ERR(dma) ? PTR_ERR(dma) : vfio_pv_map_dma(c, dma);
	}
	up_read(&c->lock);
	return ret;
}

/**
 * vfio_pv_map_check() - what vfio_pv_map() checks of its arguments
 * @c: the container, locked for reading
 * @map: flags are known ones, other fields are unchecked
 *
 * Return: 0 or -EINVAL.
 */
int vfio_pv_map_check(struct vfio_pv_container *c,
		      const struct vfio_iommu_type1_dma_map *map)
{
	lockdep_assert_held(&c->lock);
	return vfio_pv_check_words(map) ?: vfio_pv_check_map(c, map);
}

static void vfio_pv_forget_one(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	LIST_HEAD(failed);

	list_add(&dma->link, &failed);
	vfio_pv_forget(c, &failed);
}

/* Queue a mapping for a domain; on failure nothing of it is there. */
static int vfio_pv_queue_domain(struct vfio_pv_dma *dma,
				struct iommu_domain *domain)
{
	size_t queued;
	int ret = vfio_pv_queue_runs(dma, domain, &queued);

	if (ret && queued)
		vfio_pv_clear_and_flush(dma, domain, queued);
	if (ret == -ENOTRECOVERABLE) {
		dma->stuck = true;
		ret = -EIO;
	}
	return ret;
}

static int vfio_pv_queue_domains(struct vfio_pv_container *c,
				 struct vfio_pv_dma *dma)
{
	struct vfio_pv_domain *d;
	int ret = 0;

	list_for_each_entry(d, &c->domains, link) {
		ret = vfio_pv_queue_domain(dma, d->domain);
		if (ret)
			break;
	}
	if (!ret)
		return 0;
	list_for_each_entry_continue_reverse(d, &c->domains, link)
		vfio_pv_clear_and_flush(dma, d->domain, vfio_pv_dma_size(dma));
	return ret;
}

/**
 * vfio_pv_map_begin() - first half of vfio_pv_map(): up to what leaves the guest
 * @c: the container, locked for reading
 * @map: passed vfio_pv_map_check()
 * @wait: wait while the range is busy; only for a caller that has begun nothing
 *	that is not finished
 * @begun: set to the mapping on success, for vfio_pv_map_finish()
 *
 * Return: 0, -EAGAIN if the range is busy and @wait is false, or the errors of
 * vfio_pv_map(); nothing is changed on failure.
 */
int vfio_pv_map_begin(struct vfio_pv_container *c,
		      const struct vfio_iommu_type1_dma_map *map, bool wait,
		      struct vfio_pv_dma **begun)
{
	struct vfio_pv_dma *dma = vfio_pv_dma_make(c, map);
	int ret;

	lockdep_assert_held(&c->lock);
	if (IS_ERR(dma))
		return PTR_ERR(dma);
	ret = vfio_pv_reserve(c, dma, wait);
	if (ret) {
		vfio_pv_dma_empty(dma);
		kfree(dma);
		return ret;
	}
	ret = vfio_pv_mem_pin(&dma->mem);
	if (!ret)
		ret = vfio_pv_queue_domains(c, dma);
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
 *
 * The first of several may leave the guest for all of them.
 *
 * Return: 0 or the errors of vfio_pv_map().
 */
int vfio_pv_map_finish(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
{
	size_t size = vfio_pv_dma_size(dma);
	struct vfio_pv_domain *d;
	int ret = 0;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link) {
		ret = pv_iommu_sync_map(d->domain, dma->node.start, size);
		if (ret)
			break;
	}
	if (!ret) {
		vfio_pv_publish(c, dma);
		return 0;
	}
	list_for_each_entry(d, &c->domains, link)
		vfio_pv_clear_and_flush(dma, d->domain, size);
	vfio_pv_forget_one(c, dma);
	return ret;
}

/**
 * vfio_pv_replay() - put all mappings into a domain that is new
 * @c: the container
 * @domain: holds nothing yet
 *
 * On failure the caller frees the domain and with it what was put there.
 *
 * Return: 0 or a negative errno.
 */
int vfio_pv_replay(struct vfio_pv_container *c, struct iommu_domain *domain)
{
	unsigned long start = ULONG_MAX, last = 0;
	struct vfio_pv_dma *dma;
	size_t queued;
	int ret = 0;

	lockdep_assert_held_write(&c->lock);
	mutex_lock(&c->tree_lock);
	for (dma = vfio_pv_walk(c, 0, ULONG_MAX); dma;
	     dma = vfio_pv_next(dma, 0, ULONG_MAX)) {
		if (dma->state != VFIO_PV_MAPPED)
			continue;
		ret = vfio_pv_queue_runs(dma, domain, &queued);
		if (ret)
			break;
		start = min(start, dma->node.start);
		last = dma->node.last;
	}
	if (!ret && start < last)
		ret = pv_iommu_sync_map(domain, start, last - start + 1);
	mutex_unlock(&c->tree_lock);
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
				unsigned long start, unsigned long last)
{
	struct vfio_pv_dma *dma;

	dma = vfio_pv_first(c, start, start, VFIO_PV_MAPPED);
	if (dma && dma->node.start != start)
		return c->v2 ? vfio_pv_refuse(-EINVAL, "UNMAP",
					      "cuts a mapping at IOVA", start) :
			       -ENOENT;
	dma = vfio_pv_first(c, last, last, VFIO_PV_MAPPED);
	if (dma && dma->node.last != last && c->v2)
		return vfio_pv_refuse(-EINVAL, "UNMAP", "cuts a mapping at IOVA", last);
	return 0;
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
	struct vfio_pv_dma *dma;
	int ret;

	*size = 0;
	mutex_lock(&c->tree_lock);
	ret = vfio_pv_settle(c, start, last, VFIO_PV_MAPPING | VFIO_PV_UNMAPPING,
			     wait);
	if (!ret)
		ret = vfio_pv_check_bounds(c, start, last);
	if (ret)
		goto out;
	for (dma = vfio_pv_walk(c, start, last); dma;
	     dma = vfio_pv_next(dma, start, last)) {
		if (dma->state != VFIO_PV_MAPPED)
			continue;
		vfio_pv_set_state(c, dma, VFIO_PV_UNMAPPING);
		list_add_tail(&dma->link, taken);
		*size += vfio_pv_dma_size(dma);
	}
out:
	mutex_unlock(&c->tree_lock);
	return ret == -ENOENT ? 0 : ret;
}

/**
 * vfio_pv_untake() - undo vfio_pv_take()
 * @c: the container
 * @taken: the mappings, which are as they were before
 */
void vfio_pv_untake(struct vfio_pv_container *c, struct list_head *taken)
{
	struct vfio_pv_dma *dma;

	mutex_lock(&c->tree_lock);
	list_for_each_entry(dma, taken, link)
		vfio_pv_set_state(c, dma, VFIO_PV_MAPPED);
	vfio_pv_wake(c);
	mutex_unlock(&c->tree_lock);
}

/**
 * vfio_pv_claim() - make the first mapping in a range the caller's, to be changed
 * @c: the container
 * @start: first IOVA
 * @last: last IOVA, inclusive
 *
 * Return: the mapping, for vfio_pv_publish(); NULL if there is none; -EINTR.
 */
struct vfio_pv_dma *vfio_pv_claim(struct vfio_pv_container *c,
				  unsigned long start, unsigned long last)
{
	struct vfio_pv_dma *dma = NULL;
	int ret;

	mutex_lock(&c->tree_lock);
	ret = vfio_pv_settle(c, start, last, VFIO_PV_MAPPING | VFIO_PV_UNMAPPING,
			     true);
	if (!ret)
		dma = vfio_pv_first(c, start, last, VFIO_PV_MAPPED);
	if (dma)
		vfio_pv_set_state(c, dma, VFIO_PV_UNMAPPING);
	mutex_unlock(&c->tree_lock);
	return ret ? ERR_PTR(ret) : dma;
}

/**
 * vfio_pv_unmap_taken() - unmap what vfio_pv_take() has taken
 * @c: the container, locked
 * @taken: the mappings; its entries are gone or on another list afterwards
 * @flush: make it effective and unpin; else they wait to be flushed
 */
void vfio_pv_unmap_taken(struct vfio_pv_container *c, struct list_head *taken,
			 bool flush)
{
	struct vfio_pv_dma *dma;

	lockdep_assert_held(&c->lock);
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
	if (!ret)
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
	int ret;

	mutex_lock(&c->tree_lock);
	ret = vfio_pv_settle(c, 0, ULONG_MAX, VFIO_PV_FLUSHING, true);
	if (!ret) {
		list_splice_init(&c->unflushed, taken);
		list_for_each_entry(dma, taken, link)
			vfio_pv_set_state(c, dma, VFIO_PV_FLUSHING);
	}
	mutex_unlock(&c->tree_lock);
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
	unsigned long from = *start, to = *last;
	struct vfio_pv_dma *dma;
	int ret;

	mutex_lock(&c->tree_lock);
	ret = vfio_pv_settle(c, from, to, VFIO_PV_FLUSHING, true);
	if (ret || list_empty(&c->unflushed))
		goto out;
	for (dma = vfio_pv_walk(c, from, to); dma;
	     dma = vfio_pv_next(dma, from, to)) {
		if (dma->state != VFIO_PV_UNFLUSHED)
			continue;
		vfio_pv_set_state(c, dma, VFIO_PV_FLUSHING);
		list_move_tail(&dma->link, taken);
		*start = min(*start, dma->node.start);
		*last = max(*last, dma->node.last);
	}
out:
	mutex_unlock(&c->tree_lock);
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
	mutex_lock(&c->tree_lock);
	list_splice_init(&c->unflushed, &taken);
	mutex_unlock(&c->tree_lock);
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
