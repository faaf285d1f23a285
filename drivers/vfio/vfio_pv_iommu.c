// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, VFIO backend: putting mappings into IOMMU domains, and
 * removing them.
 *
 * Maps are queued run by run and made effective by one call at the end of a
 * request. Removals of a request are flushed by one call. Only these calls cause VM
 * exits, so their number does not depend on how scattered the memory is.
 *
 * The container's tree is the only record of what is mapped. In a restart, when the
 * host has forgotten everything (the VM was suspended), mappings in state
 * VFIO_PV_MAPPED or VFIO_PV_TAKEN are replayed from it. Mappings in other states are
 * being changed by a thread, which finds out by vfio_pv_restarts().
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/mm.h>
#include <linux/sched.h>

#include "vfio_pv_priv.h"

static void vfio_pv_clear_and_flush(struct vfio_pv_dma *dma,
				    struct iommu_domain *domain)
{
	if (pv_iommu_unmap(domain, dma->node.start, vfio_pv_dma_size(dma)))
		dma->stuck = true;
}

static int vfio_pv_queue_run(const struct vfio_pv_dma *dma,
			     struct iommu_domain *domain,
			     struct pv_iommu_batch *batch, unsigned long iova,
			     const struct vfio_pv_run *run, bool may_sleep)
{
	size_t size = (size_t)run->npages << PAGE_SHIFT;
	int prot = dma->prot | IOMMU_CACHE;

	if (dma->mem.vm)
		return pv_iommu_map_foreign_nosync(domain, batch, iova, dma->mem.vm,
						   PFN_PHYS(run->pfn), size, prot,
						   may_sleep);
	return pv_iommu_map_nosync(domain, batch, iova, PFN_PHYS(run->pfn), size,
				   prot, may_sleep);
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
			ret = vfio_pv_queue_run(dma, domain, batch, iova, run,
						may_sleep);
			if (ret)
				return ret;
			iova += (size_t)run->npages << PAGE_SHIFT;
		}
		if (may_sleep && chunk->next)
			cond_resched();
	}
	return 0;
}

/* Map memory that is one run, such as a single page; -EAGAIN if it is not */
static int vfio_pv_map_run(struct vfio_pv_dma *dma, struct iommu_domain *domain)
{
	const struct vfio_pv_chunk *chunk = &dma->mem.first;

	if (chunk->nr != 1 || chunk->next || dma->mem.vm)
		return -EAGAIN;
	return pv_iommu_map(domain, dma->node.start,
			    PFN_PHYS(chunk->runs[0].pfn), vfio_pv_dma_size(dma),
			    dma->prot | IOMMU_CACHE);
}

static int vfio_pv_map_domain(struct vfio_pv_dma *dma,
			      struct iommu_domain *domain)
{
	struct pv_iommu_batch batch = {};
	int ret, err;

	ret = vfio_pv_map_run(dma, domain);
	if (ret == -EAGAIN) {
		ret = vfio_pv_queue_runs(dma, domain, &batch, true);
		err = pv_iommu_sync_map(domain, &batch, dma->node.start,
					vfio_pv_dma_size(dma));
		ret = ret ?: err;
	}
	if (ret)
		vfio_pv_clear_and_flush(dma, domain);
	return ret;
}

/**
 * vfio_pv_queue_domains() - queue a mapping for all domains
 * @c: the container, locked
 * @dma: busy, its memory pinned
 * @batch: the batch that the maps belong to; valid until vfio_pv_sync_domains()
 *
 * Context: process, may sleep.
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
 * @batch: the batch that they belong to; not used any more on return
 *
 * Context: process, may sleep.
 * Return: 0; or a negative errno if any of them is not mapped in some domain.
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
 * vfio_pv_all_stuck() - mark mappings as stuck, as a flush has failed
 * @dmas: the mappings that the flush was for, all busy
 *
 * It is not known which of them devices still reach, so none will ever be unpinned.
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

	if (flush && list_is_singular(dmas))
		return vfio_pv_clear_and_flush(list_first_entry(dmas, struct vfio_pv_dma,
								link), domain);
	list_for_each_entry(dma, dmas, link) {
		if (pv_iommu_unmap_nosync(domain, dma->node.start,
					  vfio_pv_dma_size(dma)))
			dma->stuck = true;
		start = min(start, dma->node.start);
		last = max(last, dma->node.last);
		if (!list_is_last(&dma->link, dmas))
			cond_resched();
	}
	if (flush && pv_iommu_invalidate(domain, PVIOMMU_INV_PAGE,
					 PVIOMMU_PASID_NONE, start,
					 last - start + 1, 0))
		vfio_pv_all_stuck(dmas);
}

/**
 * vfio_pv_clear_domains() - remove mappings from all domains
 * @c: the container, locked
 * @dmas: the mappings, at least one, all busy
 * @flush: flush them, so that no device reaches them on return
 *
 * Mappings that devices may still reach are marked as stuck.
 *
 * Context: process, may sleep.
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
 * vfio_pv_flush_domains() - flush removals in all domains
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
 * vfio_pv_restarts() - how often all mappings have been replayed to the host
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

/**
 * vfio_pv_broken() - is it known that the host does nothing any more
 * @c: the container, locked
 *
 * Return: true if it is; then nothing is to be pinned for it, as it would stay pinned for good.
 */
bool vfio_pv_broken(struct vfio_pv_container *c)
{
	struct vfio_pv_domain *d;

	lockdep_assert_held(&c->lock);
	d = list_first_entry_or_null(&c->domains, struct vfio_pv_domain, link);
	return d && pv_iommu_broken(d->domain);
}

/* ------------------------------------------------------------------ */
/* As the owner of domains */

/*
 * Queue all mappings, which nobody changes, for a domain that has none of them. The
 * PV_IOMMU_REPLAY_BATCHES batches take turns, so that neighbouring mappings don't become one
 * op: if they are of another VM's memory they may be covered by different grants.
 */
static int vfio_pv_queue_all(struct vfio_pv_domain *d,
			     struct pv_iommu_batch *batches, bool may_sleep)
{
	struct interval_tree_node *node;
	unsigned int n = 0;
	int ret = 0;

	for (node = interval_tree_iter_first(&d->container->tree, 0, ULONG_MAX);
	     node && !ret;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		struct vfio_pv_dma *dma = vfio_pv_dma_of(node);

		if (dma->state & (VFIO_PV_MAPPED | VFIO_PV_TAKEN))
			ret = vfio_pv_queue_runs(dma, d->domain,
						 &batches[n++ % PV_IOMMU_REPLAY_BATCHES],
						 may_sleep);
		if (may_sleep)
			cond_resched();
	}
	return ret;
}

/*
 * Nothing else runs, and no thread can be preempted with the tree lock held, so the tree is
 * consistent.
 */
static int vfio_pv_owner_replay(void *owner, struct pv_iommu_batch *batches)
{
	struct vfio_pv_domain *d = owner;

	return d->live ? vfio_pv_queue_all(d, batches, false) : 0;
}

static phys_addr_t vfio_pv_owner_iova_to_phys(void *owner, unsigned long iova)
{
	struct vfio_pv_domain *d = owner;
	struct vfio_pv_container *c = d->container;
	struct vfio_pv_dma *dma;
	phys_addr_t phys = 0;

	spin_lock(&c->tree_lock);
	dma = vfio_pv_first(c, iova, iova, VFIO_PV_MAPPED | VFIO_PV_TAKEN);
	/* Another VM's memory has no address here */
	if (dma && !dma->mem.vm)
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

static int vfio_pv_fill_once(struct vfio_pv_domain *d)
{
	struct pv_iommu_batch batches[PV_IOMMU_REPLAY_BATCHES] = {};
	unsigned int i;
	int ret, err;

	ret = vfio_pv_queue_all(d, batches, true);
	for (i = 0; i < ARRAY_SIZE(batches); i++) {
		err = pv_iommu_sync_map(d->domain, &batches[i], 0, SIZE_MAX);
		ret = ret ?: err;
	}
	return ret;
}

/* Unmap all mappings from one domain. Return: 0 if no device reaches them through it */
static int vfio_pv_empty_domain(struct vfio_pv_domain *d)
{
	struct vfio_pv_container *c = d->container;
	unsigned long aperture = d->domain->geometry.aperture_end, end;
	struct vfio_pv_dma *first, *last;

	first = vfio_pv_dma_of(interval_tree_iter_first(&c->tree, 0, aperture));
	if (!first)
		return 0;
	/* They do not overlap: the last one to start is the last one to end */
	last = rb_entry(rb_last(&c->tree.rb_root), struct vfio_pv_dma, node.rb);
	/* With mediated devices only, there may be some that no domain can have */
	end = min(last->node.last, aperture);
	return pv_iommu_unmap(d->domain, first->node.start, end - first->node.start + 1);
}

/**
 * vfio_pv_abandon_domain() - empty a domain that is about to be freed
 * @d: the domain, its groups detached; its container is locked for writing
 *
 * Detaching a group does not fail, even if the host did not do it. Mappings that stay in the
 * container are not unmapped from this domain later, so it is done now. If that fails devices
 * may keep access to them, and none of them is ever unpinned.
 *
 * Context: process, may sleep.
 */
void vfio_pv_abandon_domain(struct vfio_pv_domain *d)
{
	struct vfio_pv_container *c = d->container;
	struct interval_tree_node *node;

	lockdep_assert_held_write(&c->lock);
	if (!vfio_pv_empty_domain(d))
		return;
	for (node = interval_tree_iter_first(&c->tree, 0, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		vfio_pv_dma_of(node)->stuck = true;
		cond_resched();
	}
}

/**
 * vfio_pv_fill_domain() - put all mappings into a new domain
 * @d: the domain, with nothing mapped yet; its container is locked for writing
 *
 * On failure the caller has to free the domain, and with it what was mapped there.
 *
 * Context: process, may sleep.
 *
 * Return: 0 or a negative errno.
 */
int vfio_pv_fill_domain(struct vfio_pv_domain *d)
{
	struct vfio_pv_container *c = d->container;
	u32 restarts;
	int ret;

	lockdep_assert_held_write(&c->lock);
	do {
		restarts = pv_iommu_restarts(d->domain);
		ret = vfio_pv_fill_once(d);
		if (ret)
			return ret;

		spin_lock(&c->tree_lock);
		d->live = restarts == pv_iommu_restarts(d->domain);
		spin_unlock(&c->tree_lock);
		if (d->live)
			return 0;
		ret = vfio_pv_empty_domain(d);
	} while (!ret);
	return ret;
}
