// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that leaves a VM: mappings of it are announced to the guest, which may then
 * unmap them itself, or are removed, and the guest gets an event for each.
 *
 * A mapping records which frames it maps, but there is no reverse map. So the tree of a
 * domain is searched once for each set of frames that leaves.
 */
#include "pviommu_private.h"

/* Post an event that names pages of a mapping */
static void post_pages(struct pviommu_domain *domain, u16 type,
		       const struct pviommu_mapping *map, u64 page, u64 npages)
{
	u32 vm = map->loan ? map->loan->grant->from->id : PVIOMMU_VM_SELF;
	u64 iova = map->it.start + (page << PAGE_SHIFT), offset;
	const struct pviommu_run *run = pviommu_mapping_run(map, page, &offset);
	struct pviommu_event ev = {
		.type = cpu_to_le16(type),
		.domain = cpu_to_le32(domain->id),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.addr = cpu_to_le64(iova),
		.gpa = cpu_to_le64((run->gfn + offset) << PAGE_SHIFT),
		.size = cpu_to_le64(npages << PAGE_SHIFT),
		.vm = cpu_to_le32(vm),
	};

	pviommu_event_post(domain->vm, &ev);
}

/* Unmap pages of a mapping, and tell the guest. Return: their last IOVA */
static u64 revoke_pages(struct pviommu_domain *domain, struct pviommu_mapping *map,
			u64 page, u64 npages)
{
	u64 iova = map->it.start + (page << PAGE_SHIFT);
	u64 last = iova + (npages << PAGE_SHIFT) - 1;

	post_pages(domain, PVIOMMU_EV_REVOKED, map, page, npages);
	pviommu_domain_unmap(domain, iova, last, NULL);
	return last;
}

/* How many of @npages from @page on make up whole pages of the mapping's page size */
static u64 whole_pages_of(const struct pviommu_mapping *map, u64 page, u64 npages)
{
	u64 size = 1ULL << (map->pgshift - PAGE_SHIFT);

	return IS_ALIGNED(page, size) ? round_down(npages, size) : 0;
}

/*
 * Split the large page that holds a page of a mapping. If that fails, all of the large
 * page is revoked.
 */
static void split_large_page(struct pviommu_domain *domain, struct pviommu_mapping *map, u64 page)
{
	u64 mask = (1ULL << map->pgshift) - 1;
	u64 iova = (map->it.start + (page << PAGE_SHIFT)) & ~mask;

	map = pviommu_domain_cut(domain, map, iova, iova | mask);
	/* The guest's table may still have a large page: INVALIDATE must look at all of it */
	if (domain->table) {
		domain->table->has_split = true;
		map->was_large = true;
	}
	if (!pviommu_hw_split_large(domain, map))
		return;
	post_pages(domain, PVIOMMU_EV_REVOKED, map, 0, map->npages);
	pviommu_domain_drop(domain, map);
}

/*
 * The first mapping in [pos, end]. Once in PVIOMMU_HOLD steps the lock is dropped before, unless
 * this is for a loan: these have few mappings.
 */
static struct pviommu_mapping *next_mapping(struct pviommu_domain *domain,
					    struct pviommu_loan *loan, u64 pos, u64 end,
					    u32 *steps)
{
	if (!loan && *steps >= PVIOMMU_HOLD) {
		mutex_unlock(&domain->lock);
		cond_resched();
		pviommu_domain_lock(domain);
		*steps = 0;
	}
	return pviommu_mapping_first(domain, pos, end);
}

/* Unmap in [pos, end] what maps any of these frames, of a loan or (NULL) of the VM itself */
static void revoke_range(struct pviommu_domain *domain, struct pviommu_loan *loan,
			 u64 pos, u64 end, const struct pviommu_frames *frames)
{
	struct pviommu_mapping *map;
	u64 page, npages, done;
	u32 steps = 0;

	lockdep_assert_held(&domain->lock);

	while ((map = next_mapping(domain, loan, pos, end, &steps))) {
		steps += map->nr_runs;
		done = map->it.last;
		if (map->loan == loan &&
		    pviommu_mapping_leads_to(map, 0, frames, &page, &npages)) {
			npages = whole_pages_of(map, page, npages);
			if (!npages) {
				split_large_page(domain, map, page);
				steps += PVIOMMU_HOLD;
				cond_resched();
				continue;
			}
			done = revoke_pages(domain, map, page, npages);
			steps += npages;
		}
		if (done >= end)
			break;
		pos = done + 1;
		cond_resched();
	}
}

/* Announce what maps any of these frames, as above. Return: whether anything does */
static bool announce_range(struct pviommu_domain *domain, struct pviommu_loan *loan,
			   u64 pos, u64 end, const struct pviommu_frames *frames)
{
	struct pviommu_mapping *map;
	u64 page, npages, from;
	bool any = false;
	u32 steps = 0;

	lockdep_assert_held(&domain->lock);

	while ((map = next_mapping(domain, loan, pos, end, &steps))) {
		steps += map->nr_runs;
		from = 0;
		while (map->loan == loan &&
		       pviommu_mapping_leads_to(map, from, frames, &page, &npages)) {
			post_pages(domain, PVIOMMU_EV_RELEASE, map, page, npages);
			any = true;
			from = page + npages;
			steps++;
		}
		if (map->it.last >= end)
			break;
		pos = map->it.last + 1;
		cond_resched();
	}
	return any;
}

/**
 * pviommu_domain_revoke() - remove all mappings of memory that leaves
 * @domain: the domain
 * @frames: the VM's own memory that leaves
 *
 * On return nothing of it is mapped here, the IOTLB is flushed and the pages are unpinned.
 * The guest got an event (PVIOMMU_EV_REVOKED) for each range of IOVAs.
 *
 * Context: process, vm->mem_lock held for writing; domain->lock not held.
 */
void pviommu_domain_revoke(struct pviommu_domain *domain,
			   const struct pviommu_frames *frames)
{
	lockdep_assert_held_write(&domain->vm->mem_lock);

	pviommu_domain_lock(domain);
	revoke_range(domain, NULL, 0, U64_MAX, frames);
	pviommu_flush(domain, 0, U64_MAX);
	mutex_unlock(&domain->lock);
	pviommu_flush_finish(domain, NULL);
}

/**
 * pviommu_domain_announce() - ask the guest to unmap memory that will leave
 * @domain: the domain
 * @frames: the VM's own memory
 *
 * The guest gets an event (PVIOMMU_EV_RELEASE) for each range of IOVAs.
 *
 * Context: process, vm->mem_lock held; domain->lock not held.
 * Return: whether any of it is mapped here.
 */
bool pviommu_domain_announce(struct pviommu_domain *domain,
			     const struct pviommu_frames *frames)
{
	bool any;

	pviommu_domain_lock(domain);
	any = announce_range(domain, NULL, 0, U64_MAX, frames);
	mutex_unlock(&domain->lock);
	return any;
}

static u64 loan_last(const struct pviommu_loan *loan)
{
	return loan->iova + (loan->npages << PAGE_SHIFT) - 1;
}

/**
 * pviommu_domain_recall() - remove the mappings of a loan
 * @loan: the loan, its domain locked
 * @frames: memory of the owner
 *
 * The borrower got an event (PVIOMMU_EV_REVOKED) for each range of IOVAs. The pages stay
 * pinned until the caller has flushed the domain.
 */
void pviommu_domain_recall(struct pviommu_loan *loan,
			   const struct pviommu_frames *frames)
{
	lockdep_assert_held(&loan->domain->lock);

	revoke_range(loan->domain, loan, loan->iova, loan_last(loan), frames);
}

/**
 * pviommu_loan_announce() - ask a borrower to unmap memory that will leave
 * @loan: the loan; the owner's loans_lock held, its domain not locked
 * @frames: memory of the owner
 *
 * The borrower gets an event (PVIOMMU_EV_RELEASE) for each range of IOVAs.
 *
 * Context: process.
 * Return: whether any of it is mapped by the loan.
 */
bool pviommu_loan_announce(struct pviommu_loan *loan,
			   const struct pviommu_frames *frames)
{
	bool any;

	mutex_lock(&loan->domain->lock);
	any = announce_range(loan->domain, loan, loan->iova, loan_last(loan), frames);
	mutex_unlock(&loan->domain->lock);
	return any;
}
