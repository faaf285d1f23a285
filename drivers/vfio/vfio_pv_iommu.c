// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: mappings into and out of IOMMU domains.
 *
 * Maps are queued run by run and made effective by one call at the end of a
 * request, removals of a request are flushed by one call: that is what leaves
 * the guest, so its number does not depend on how scattered the memory is.
 *
 * The container's tree is the only record of what is mapped. When the host has
 * forgotten everything (the machine was suspended) and is told anew, the
 * mappings in state VFIO_PV_MAPPED or VFIO_PV_TAKEN are brought back from it.
 * Others are being changed by a thread that finds out by vfio_pv_restarts().
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/mm.h>
#include <linux/sched.h>

#include "vfio_pv_priv.h"

/* Return: false if devices may still reach what was unmapped. */
static bool vfio_pv_flush(struct iommu_domain *domain, unsigned long start,
			  unsigned long last)
{
	return !pv_iommu_invalidate(domain, PVIOMMU_INV_PAGE,
				    PVIOMMU_PASID_NONE, start, last - start + 1,
				    0);
}

static void vfio_pv_clear_and_flush(struct vfio_pv_dma *dma,
				    struct iommu_domain *domain)
{
	if (pv_iommu_unmap_nosync(domain, dma->node.start,
				  vfio_pv_dma_size(dma)) ||
	    !vfio_pv_flush(domain, dma->node.start, dma->node.last))
		dma->stuck = true;
}

/* Queue all runs. On failure a part may be queued. */
static int vfio_pv_queue_runs(const struct vfio_pv_dma *dma,
			      struct iommu_domain *domain,
			      struct pv_iommu_batch *batch, bool may_sleep)
{
	unsigned long iova = dma->node.start;
	const struct vfio_pv_chunk *chunk;
	const struct vfio_pv_run *run;
	int ret;

	for (chunk = &dma->mem.first; chunk; chunk = chunk->next) {
		for (run = chunk->runs; run < chunk->runs + chunk->nr; run++) {
			size_t size = (size_t)run->npages << PAGE_SHIFT;

			ret = pv_iommu_map_nosync(domain, batch, iova,
						  PFN_PHYS(run->pfn), size,
						  dma->prot | IOMMU_CACHE,
						  may_sleep);
			if (ret)
				return ret;
			iova += size;
		}
		if (may_sleep && chunk->next)
			cond_resched();
	}
	return 0;
}

static int vfio_pv_map_domain(struct vfio_pv_dma *dma,
			      struct iommu_domain *domain)
{
	struct pv_iommu_batch batch = {};
	int ret, err;

	ret = vfio_pv_queue_runs(dma, domain, &batch, true);
	err = pv_iommu_sync_map(domain, &batch, dma->node.start,
				vfio_pv_dma_size(dma));
	ret = ret ?: err;
	if (ret)
		vfio_pv_clear_and_flush(dma, domain);
	return ret;
}

/**
 * vfio_pv_queue_domains() - queue a mapping for all domains
 * @c: the container, locked
 * @dma: busy, its memory pinned
 * @batch: what the maps belong to; stays until vfio_pv_sync_domains()
 *
 * Return: 0 or a negative errno; then it is in none of the domains, or stuck.
 */
int vfio_pv_queue_domains(struct vfio_pv_container *c, struct vfio_pv_dma *dma,
			  struct pv_iommu_batch *batch)
{
	struct vfio_pv_domain *d;
	int ret = 0;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link) {
		ret = vfio_pv_queue_runs(dma, d->domain, batch, true);
		if (ret)
			break;
	}
	if (!ret)
		return 0;
	vfio_pv_sync_domains(c, dma->node.start, dma->node.last, batch);
	list_for_each_entry(d, &c->domains, link)
		vfio_pv_clear_and_flush(dma, d->domain);
	return ret;
}

/**
 * vfio_pv_sync_domains() - make queued mappings effective in all domains
 * @c: the container, locked
 * @start: first IOVA of a range that covers them
 * @last: its last IOVA
 * @batch: what they belong to; not used any more on return
 *
 * Return: 0; or a negative errno: some of them are not mapped in some domain.
 */
int vfio_pv_sync_domains(struct vfio_pv_container *c, unsigned long start,
			 unsigned long last, struct pv_iommu_batch *batch)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link)
		pv_iommu_sync_map(d->domain, batch, start, last - start + 1);
	return batch->error;
}

/**
 * vfio_pv_map_domains() - put a mapping into all domains
 * @c: the container, locked
 * @dma: busy, its memory pinned
 *
 * Return: 0 or a negative errno; then it is in none of them, or stuck.
 */
int vfio_pv_map_domains(struct vfio_pv_container *c, struct vfio_pv_dma *dma)
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
		vfio_pv_clear_and_flush(dma, d->domain);
	return ret;
}

/**
 * vfio_pv_all_stuck() - a flush has failed
 * @dmas: busy mappings that it was for
 *
 * It can't be said which of them devices still reach: none is ever unpinned.
 */
void vfio_pv_all_stuck(struct list_head *dmas)
{
	struct vfio_pv_dma *dma;

	list_for_each_entry(dma, dmas, link)
		dma->stuck = true;
}

static void vfio_pv_clear_domain(struct iommu_domain *domain,
				 struct list_head *dmas, bool flush)
{
	unsigned long start = ULONG_MAX, last = 0;
	struct vfio_pv_dma *dma;

	list_for_each_entry(dma, dmas, link) {
		if (pv_iommu_unmap_nosync(domain, dma->node.start,
					  vfio_pv_dma_size(dma)))
			dma->stuck = true;
		start = min(start, dma->node.start);
		last = max(last, dma->node.last);
		if (!list_is_last(&dma->link, dmas))
			cond_resched();
	}
	if (flush && !vfio_pv_flush(domain, start, last))
		vfio_pv_all_stuck(dmas);
}

/**
 * vfio_pv_clear_domains() - take mappings out of all domains
 * @c: the container, locked
 * @dmas: busy ones, at least one
 * @flush: so that no device reaches them on return
 *
 * Those of which that can't be said are stuck.
 */
void vfio_pv_clear_domains(struct vfio_pv_container *c, struct list_head *dmas,
			   bool flush)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held(&c->lock);
	list_for_each_entry(d, &c->domains, link)
		vfio_pv_clear_domain(d->domain, dmas, flush);
}

/**
 * vfio_pv_flush_domains() - make removals effective in all domains
 * @c: the container, locked
 * @granularity: PVIOMMU_INV_*
 * @addr: first IOVA
 * @size: bytes
 * @flags: PVIOMMU_INV_F_*
 *
 * Return: as pv_iommu_invalidate().
 */
int vfio_pv_flush_domains(struct vfio_pv_container *c,
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

/**
 * vfio_pv_restarts() - how often the host has been told anew of all mappings
 * @c: the container, locked
 *
 * Return: a count, the same for all domains.
 */
u32 vfio_pv_restarts(struct vfio_pv_container *c)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held(&c->lock);
	d = list_first_entry_or_null(&c->domains, struct vfio_pv_domain, link);
	return d ? pv_iommu_restarts(d->domain) : 0;
}

/* ------------------------------------------------------------------ */
/* As the owner of domains */

/*
 * Nothing else runs, and nobody is preempted with the tree lock held: the tree
 * is whole.
 */
static int vfio_pv_owner_replay(void *owner, struct pv_iommu_batch *batches)
{
	struct vfio_pv_domain *d = owner;
	struct interval_tree_node *node;
	unsigned int n = 0;
	int ret = 0;

	if (!d->live)
		return 0;
	for (node = interval_tree_iter_first(&d->container->tree, 0, ULONG_MAX);
	     node && !ret;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		struct vfio_pv_dma *dma = vfio_pv_dma_of(node);

		if (dma->state & (VFIO_PV_MAPPED | VFIO_PV_TAKEN))
			ret = vfio_pv_queue_runs(dma, d->domain,
						 &batches[n++ % PV_IOMMU_REPLAY_BATCHES],
						 false);
	}
	return ret;
}

static phys_addr_t vfio_pv_owner_iova_to_phys(void *owner, unsigned long iova)
{
	struct vfio_pv_domain *d = owner;
	struct vfio_pv_container *c = d->container;
	struct vfio_pv_dma *dma;
	phys_addr_t phys = 0;

	spin_lock(&c->tree_lock);
	dma = vfio_pv_first(c, iova, iova, VFIO_PV_MAPPED | VFIO_PV_TAKEN);
	if (dma)
		phys = PFN_PHYS(vfio_pv_mem_pfn(&dma->mem,
						(iova - dma->node.start) >> PAGE_SHIFT)) |
		       offset_in_page(iova);
	spin_unlock(&c->tree_lock);
	return phys;
}

/* The owner is a struct vfio_pv_domain */
const struct pv_iommu_owner_ops vfio_pv_owner_ops = {
	.replay = vfio_pv_owner_replay,
	.iova_to_phys = vfio_pv_owner_iova_to_phys,
};

/* All mappings, which nobody changes, into a domain that has none of them */
static int vfio_pv_fill_once(struct vfio_pv_domain *d, unsigned long *start,
			     unsigned long *last)
{
	struct vfio_pv_container *c = d->container;
	struct pv_iommu_batch batch = {};
	struct interval_tree_node *node;
	int ret = 0, err = 0;

	*start = ULONG_MAX;
	*last = 0;
	for (node = interval_tree_iter_first(&c->tree, 0, ULONG_MAX);
	     node && !ret; node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		struct vfio_pv_dma *dma = vfio_pv_dma_of(node);

		if (dma->state != VFIO_PV_MAPPED)
			continue;
		*start = min(*start, node->start);
		*last = node->last;
		ret = vfio_pv_queue_runs(dma, d->domain, &batch, true);
		cond_resched();
	}
	if (*start < *last)
		err = pv_iommu_sync_map(d->domain, &batch, *start,
					*last - *start + 1);
	return ret ?: err;
}

/**
 * vfio_pv_fill_domain() - put all mappings into a domain that is new
 * @d: holds nothing yet
 *
 * On failure the caller frees the domain and with it what was put there.
 *
 * Return: 0 or a negative errno.
 */
int vfio_pv_fill_domain(struct vfio_pv_domain *d)
{
	struct vfio_pv_container *c = d->container;
	unsigned long start, last;
	u32 restarts;
	int ret;

	lockdep_assert_held_write(&c->lock);
	for (;;) {
		restarts = pv_iommu_restarts(d->domain);
		ret = vfio_pv_fill_once(d, &start, &last);
		if (ret)
			return ret;

		spin_lock(&c->tree_lock);
		d->live = restarts == pv_iommu_restarts(d->domain);
		spin_unlock(&c->tree_lock);
		if (d->live)
			return 0;
		if (start < last &&
		    (pv_iommu_unmap_nosync(d->domain, start, last - start + 1) ||
		     !vfio_pv_flush(d->domain, start, last)))
			return -EIO;
	}
}
