// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only file that programs the page tables of the physical IOMMU. It uses nothing
 * but the generic IOMMU API.
 *
 * Unmapped ranges are gathered, and flushed together by pviommu_hw_sync(). Their pages may
 * be unpinned only after that.
 */
#include <linux/error-injection.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/* Physically contiguous pages of a bypass domain */
struct hw_run {
	u64 hpfn;
	u64 npages;
};

/* Attempts to map a piece when memory is short; each has reclaimed some before the next */
#define MAX_TRIES	16

/* As much as the page tables of a piece may need: a page for each level */
#define RECLAIMED	(4 * PAGE_SIZE)

#define HW_RUNS		(PAGE_SIZE / sizeof(struct hw_run))

static int hw_prot(u8 prot)
{
	return IOMMU_CACHE |
	       (prot & PVIOMMU_PROT_READ ? IOMMU_READ : 0) |
	       (prot & PVIOMMU_PROT_WRITE ? IOMMU_WRITE : 0) |
	       (prot & PVIOMMU_PROT_NOEXEC ? IOMMU_NOEXEC : 0);
}

/**
 * pviommu_hw_alloc() - make a domain of the physical IOMMU
 * @dev: a device that will be attached
 * @flags: PVIOMMU_PROBE_COHERENT is set or cleared in it; may be NULL
 *
 * Return: the domain, to be freed by iommu_domain_free(), or ERR_PTR.
 */
struct iommu_domain *pviommu_hw_alloc(struct device *dev, u32 *flags)
{
	struct iommu_domain *hw = iommu_paging_domain_alloc(dev);
	bool coherent = false;

	if (IS_ERR(hw))
		return hw;
	/*
	 * KVM assumes coherent DMA of every device that is capable of it. The domain has
	 * no device yet, and VT-d then claims coherency for any: so ask the device, too.
	 */
	if (hw->ops->enforce_cache_coherency &&
	    device_iommu_capable(dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY))
		coherent = hw->ops->enforce_cache_coherency(hw);
	if (flags)
		*flags = coherent ? *flags | PVIOMMU_PROBE_COHERENT :
				    *flags & ~PVIOMMU_PROBE_COHERENT;
	return hw;
}

/**
 * pviommu_try_again() - decide whether to repeat what has failed with locks held
 * @ret: how it ended
 * @tries: counts the tries; 0 at first
 *
 * After -ENOMEM this reclaims some memory, of the VMM's cgroup or of the machine.
 *
 * Context: process, with none of the locks that PVIOMMU_GFP_LOCKED names. May sleep, for seconds
 * if the cgroup is over its limit.
 * Return: true to try again.
 */
bool pviommu_try_again(int ret, u32 *tries)
{
	void *mem;

	if (ret != -ENOMEM || ++*tries == MAX_TRIES)
		return false;
	mem = kvmalloc(RECLAIMED, GFP_KERNEL_ACCOUNT);
	kvfree(mem);
	return mem;
}

/*
 * The only caller of iommu_map(); fault injection can make it fail. A large entry may
 * replace a page table, which makes the driver flush and free that table: for why this
 * needs attach_lock see gather_sync(). A map that fails is undone by the IOMMU core, with a
 * flush. That may miss a group that is just being detached, so wait until it is.
 */
static noinline __noclone int hw_map_piece(struct pviommu_domain *domain, u64 iova,
					   u64 hpa, u64 size, u8 prot, gfp_t gfp)
{
	struct mutex *lock = &domain->vm->attach_lock;
	int ret;

	if (size >= SZ_2M) {
		mutex_lock(lock);
		ret = iommu_map(domain->hw, iova, hpa, size, hw_prot(prot), gfp);
		mutex_unlock(lock);
		return ret;
	}
	ret = iommu_map(domain->hw, iova, hpa, size, hw_prot(prot), gfp);
	if (ret) {
		mutex_lock(lock);
		mutex_unlock(lock);
	}
	return ret;
}
ALLOW_ERROR_INJECTION(hw_map_piece, ERRNO);

/*
 * Undo a failed map of [iova, end): unmap the part at its start that was mapped, and no
 * more. Given an address that it has no table for, VT-d clears everything that such a
 * table would cover, even beyond @end.
 */
static void hw_undo(struct pviommu_domain *domain, u64 iova, u64 end)
{
	u64 size = 0;

	while (iova + size != end && iommu_iova_to_phys(domain->hw, iova + size))
		size += PAGE_SIZE;
	if (!size)
		return;
	/* iommu_unmap() flushes, which needs attach_lock: see gather_sync() */
	mutex_lock(&domain->vm->attach_lock);
	iommu_unmap(domain->hw, iova, size);
	mutex_unlock(&domain->vm->attach_lock);
}

/*
 * Map one run. Small pages are mapped in pieces of 1 MiB, so that the driver makes no large
 * entry of them: the guest may unmap any single page, and drivers can't split an entry.
 */
static int hw_map_run(struct pviommu_domain *domain, u64 iova,
		      const struct pviommu_run *run, const struct pviommu_mapping *map,
		      gfp_t gfp)
{
	u64 piece = map->pgshift == PAGE_SHIFT ? SZ_1M : SZ_2M;
	u64 hpa = run->hpfn << PAGE_SHIFT, left = (u64)run->npages << PAGE_SHIFT;
	int ret;

	while (left) {
		u64 n = min(left, piece);

		ret = hw_map_piece(domain, iova, hpa, n, map->prot, gfp);
		if (ret)
			return ret;
		iova += n;
		hpa += n;
		left -= n;
	}
	return 0;
}

static int hw_map(struct pviommu_domain *domain, const struct pviommu_mapping *map, gfp_t gfp)
{
	u64 iova = map->it.start;
	u32 i;
	int ret;

	lockdep_assert_held(&domain->lock);

	for (i = 0; i < map->nr_runs; i++) {
		ret = hw_map_run(domain, iova, &map->runs[i], map, gfp);
		if (ret)
			goto err_unmap;
		iova += (u64)map->runs[i].npages << PAGE_SHIFT;
	}
	return 0;

err_unmap:
	/* The run that failed may have been mapped in part */
	hw_undo(domain, map->it.start, map->it.last + 1);
	return ret == -ENOMEM ? -ENOMEM : -EIO;
}

/**
 * pviommu_hw_map() - put a mapping into the page table
 * @domain: the domain, locked
 * @map: the mapping
 *
 * Return: 0; -ENOMEM, see PVIOMMU_GFP_LOCKED; -EIO. On failure the page table is as it was,
 * and flushed.
 */
int pviommu_hw_map(struct pviommu_domain *domain, struct pviommu_mapping *map)
{
	return hw_map(domain, map, PVIOMMU_GFP_LOCKED);
}

static void gather_unmap(struct pviommu_domain *domain, u64 iova, u64 size)
{
	iommu_unmap_fast(domain->hw, iova, size, &domain->gather);
	domain->gather_start = min(domain->gather_start, iova);
	domain->gather_last = max(domain->gather_last, iova + size - 1);
}

static void gather_sync(struct pviommu_domain *domain)
{
	if (domain->gather_start > domain->gather_last)
		return;
	domain->gather.start = domain->gather_start;
	domain->gather.end = domain->gather_last;
	/* Drivers compute end - start + 1, which would be 0 for the whole address space */
	if (!domain->gather.start && domain->gather_last == U64_MAX)
		domain->gather.end--;
	compat_gather_set_pgsize(domain->hw, &domain->gather, PAGE_SIZE);
	domain->gather.queued = false;
	/*
	 * While a group is being detached, it may be off the driver's list of devices to
	 * flush but not yet off the IOMMU's tables. So a flush must not run at the same time.
	 */
	mutex_lock(&domain->vm->attach_lock);
	iommu_iotlb_sync(domain->hw, &domain->gather);
	mutex_unlock(&domain->vm->attach_lock);
	domain->gather.queued = PVIOMMU_GATHER_QUEUED;
	domain->gather_start = U64_MAX;
	domain->gather_last = 0;
}

/**
 * pviommu_hw_unmap() - take a mapping out of the page table
 * @domain: the domain, locked
 * @map: the mapping
 *
 * Devices may reach the pages until pviommu_hw_sync().
 */
void pviommu_hw_unmap(struct pviommu_domain *domain,
		      struct pviommu_mapping *map)
{
	lockdep_assert_held(&domain->lock);

	gather_unmap(domain, map->it.start, map->npages << PAGE_SHIFT);
}

/* Whether a mapping of one large page may be a single page table entry */
static bool hw_may_be_large(const struct pviommu_domain *domain,
			    const struct pviommu_mapping *map)
{
	return domain->hw->pgsize_bitmap & SZ_2M && map->nr_runs == 1 &&
	       IS_ALIGNED(map->runs[0].hpfn, map->npages);
}

/*
 * Map again what was just unmapped. current need not be a thread of the VM: the VM's cgroup
 * is charged all the same. If the machine is short of memory, the second try may reclaim some
 * and is not charged, as that might sleep for the cgroup. __GFP_NORETRY keeps the OOM killer
 * out, as other VMs may be waiting for us.
 */
static int hw_map_back(struct pviommu_domain *domain, const struct pviommu_mapping *map)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(domain->vm->mm), *old;
	int ret;

	old = set_active_memcg(memcg);
	ret = hw_map(domain, map, PVIOMMU_GFP_FORCED);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	if (ret == -ENOMEM)
		ret = hw_map(domain, map, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	return ret;
}

/**
 * pviommu_hw_split_large() - replace a large page table entry by small ones
 * @domain: the domain, locked
 * @map: a mapping of one large page; its page size is set to PAGE_SHIFT
 *
 * The IOMMU API has no call for this, and drivers clear a whole large entry when a part
 * of it is unmapped. So the page is unmapped and mapped again in small pieces. Meanwhile
 * DMA of a device that does not have the page in its IOTLB is refused. IOMMUs whose
 * IOTLB must not hold both sizes at a time (SMMUv3) are flushed in between, which also
 * flushes everything else in limbo.
 *
 * Return: 0; -ENOMEM or -EIO: nothing of the mapping is left in the page table, and
 * devices may still reach its pages until pviommu_hw_sync().
 */
int pviommu_hw_split_large(struct pviommu_domain *domain, struct pviommu_mapping *map)
{
	bool large = hw_may_be_large(domain, map);

	lockdep_assert_held(&domain->lock);

	map->pgshift = PAGE_SHIFT;
	if (!large)
		return 0;
	pviommu_hw_unmap(domain, map);
	/* On x86 it may hold both, and devices that have the page in it are not disturbed */
	if (!PVIOMMU_GATHER_QUEUED)
		pviommu_flush(domain, 0, U64_MAX);
	return hw_map_back(domain, map);
}

/**
 * pviommu_hw_sync() - make all removals effective
 * @domain: the domain, locked
 *
 * One flush of the range that spans them all. All removals share one gather, as it also
 * holds the page table pages that they freed, which must not be reused before the flush.
 */
void pviommu_hw_sync(struct pviommu_domain *domain)
{
	lockdep_assert_held(&domain->lock);

	gather_sync(domain);
}

/* Map @n pinned pages, merging those that are contiguous */
static int bypass_map_pages(struct pviommu_domain *domain, u64 gpa,
			    struct page **pages, u32 n, u8 prot)
{
	u32 i, len, tries = 0;
	int ret;

	for (i = 0; i < n; i += len) {
		len = 1;
		while (i + len < n &&
		       page_to_pfn(pages[i + len]) == page_to_pfn(pages[i]) + len)
			len++;
		do {
			ret = hw_map_piece(domain, gpa + ((u64)i << PAGE_SHIFT),
					   page_to_phys(pages[i]),
					   (u64)len << PAGE_SHIFT, prot, PVIOMMU_GFP_LOCKED);
		} while (pviommu_try_again(ret, &tries));
		if (ret)
			goto err_unmap;
	}
	return 0;

err_unmap:
	hw_undo(domain, gpa, gpa + ((u64)n << PAGE_SHIFT));
	return ret;
}

static int bypass_map_chunk(struct pviommu_domain *domain,
			    struct pviommu_slot *slot, u64 gpa, u32 n,
			    struct page **pages)
{
	unsigned long hva = slot->hva + (gpa - slot->it.start);
	struct pviommu_vm *vm = domain->vm;
	u32 done = 0;
	long ret;

	ret = pviommu_charge(vm, n);
	if (ret)
		return ret;
	while (done < n) {
		ret = pviommu_pin_ram(vm, hva + ((u64)done << PAGE_SHIFT),
				      n - done, pviommu_slot_writable(slot), pages + done);
		if (ret < 0)
			goto err_unpin;
		done += ret;
	}
	ret = bypass_map_pages(domain, gpa, pages, n, slot->prot);
	if (ret)
		goto err_unpin;
	return 0;

err_unpin:
	unpin_user_pages(pages, done);
	pviommu_uncharge(vm, n);
	return ret;
}

/* Set @run to the host pages that @iova and what follows it map to, up to @end; its bytes */
static u64 bypass_run(struct pviommu_domain *domain, u64 iova, u64 end,
		      struct hw_run *run)
{
	phys_addr_t hpa = iommu_iova_to_phys(domain->hw, iova);
	u64 len = PAGE_SIZE;

	run->hpfn = hpa >> PAGE_SHIFT;
	while (iova + len < end &&
	       iommu_iova_to_phys(domain->hw, iova + len) == hpa + len) {
		len += PAGE_SIZE;
		/* All of the VM's memory may be one run */
		if (IS_ALIGNED(len, SZ_2M))
			cond_resched();
	}
	run->npages = len >> PAGE_SHIFT;
	return len;
}

/* Unmap, flush, then unpin [gpa, end), all of which is mapped */
static void bypass_unmap_range(struct pviommu_domain *domain, u64 gpa, u64 end,
			       bool dirty)
{
	struct hw_run *runs = (struct hw_run *)__get_free_page(GFP_KERNEL |
							       __GFP_NOFAIL);
	u64 npages = (end - gpa) >> PAGE_SHIFT;
	u32 i, n;

	while (gpa < end) {
		for (n = 0; n < HW_RUNS && gpa < end; n++) {
			u64 len = bypass_run(domain, gpa, end, &runs[n]);

			gather_unmap(domain, gpa, len);
			gpa += len;
		}
		gather_sync(domain);
		for (i = 0; i < n; i++)
			pviommu_unpin_pfns(domain->vm, runs[i].hpfn,
					   runs[i].npages, dirty);
		cond_resched();
	}
	pviommu_uncharge(domain->vm, npages);
	free_page((unsigned long)runs);
}

/**
 * pviommu_bypass_map() - pin a slot and map it at its GPA
 * @domain: a bypass domain
 * @slot: the slot; ignored unless it is RAM
 *
 * Context: process; vm->cfg_lock and vm->mem_lock held.
 * Return: 0, -ENOMEM, -EFAULT, -EIO; on failure nothing of the slot is mapped.
 */
int pviommu_bypass_map(struct pviommu_domain *domain, struct pviommu_slot *slot)
{
	u64 gpa = slot->it.start, end = slot->it.last + 1;
	struct page **pages;
	int ret = 0;

	lockdep_assert_held(&domain->vm->mem_lock);
	lockdep_assert_held(&domain->vm->cfg_lock);

	if (!slot->ram)
		return 0;
	/* Not left to the driver, which logs each; and @end must not wrap */
	if (slot->it.start < domain->hw->geometry.aperture_start ||
	    slot->it.last > min(domain->hw->geometry.aperture_end, PVIOMMU_IOVA_MAX))
		return -EFAULT;
	pages = kmalloc_array(PVIOMMU_CHUNK, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	while (gpa < end && !ret) {
		/* Chunks end at 2 MiB boundaries, so that large pages can be used */
		u64 n = PVIOMMU_CHUNK - ((gpa >> PAGE_SHIFT) % PVIOMMU_CHUNK);

		n = min(n, (end - gpa) >> PAGE_SHIFT);
		ret = bypass_map_chunk(domain, slot, gpa, n, pages);
		if (!ret)
			gpa += n << PAGE_SHIFT;
		cond_resched();
	}
	if (ret)
		bypass_unmap_range(domain, slot->it.start, gpa, false);
	kfree(pages);
	return ret;
}

/**
 * pviommu_bypass_unmap() - undo pviommu_bypass_map()
 * @domain: a bypass domain
 * @slot: a slot that is mapped in it
 *
 * Context: process; vm->cfg_lock and vm->mem_lock held.
 */
void pviommu_bypass_unmap(struct pviommu_domain *domain,
			  struct pviommu_slot *slot)
{
	lockdep_assert_held(&domain->vm->mem_lock);
	lockdep_assert_held(&domain->vm->cfg_lock);

	if (slot->ram)
		bypass_unmap_range(domain, slot->it.start, slot->it.last + 1,
				   pviommu_slot_writable(slot));
}
