// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits on what one VM may use of the host. Pinned memory is limited by RLIMIT_MEMLOCK
 * of the VMM instead (pin.c); memory for bookkeeping also by the VMM's memory cgroup.
 */
#include <linux/moduleparam.h>

#include "pviommu_private.h"

static uint max_domains = 1024;
module_param(max_domains, uint, 0644);
MODULE_PARM_DESC(max_domains, "Number of domains that one VM may have");

static uint max_pasids = 1024;
module_param(max_pasids, uint, 0644);
MODULE_PARM_DESC(max_pasids, "Number of PASIDs at which one VM may have domains attached");

static ulong max_mappings = 64UL << 20;
module_param(max_mappings, ulong, 0644);
MODULE_PARM_DESC(max_mappings, "Number of mappings that one VM may have, including unflushed ones");

/* As many as type1 allows */
static uint max_slots = U16_MAX;
module_param(max_slots, uint, 0644);
MODULE_PARM_DESC(max_slots, "Number of memory ranges that one VM may have, one for each MAP_DMA");

static uint doorbell_pages = 8192;
module_param(doorbell_pages, uint, 0644);
MODULE_PARM_DESC(doorbell_pages, "Number of pages (4 KiB) that one doorbell may map");

static uint max_events = 4096;
module_param(max_events, uint, 0644);
MODULE_PARM_DESC(max_events,
		 "Number of events kept for one VM while its event ring is full, from its next START on");

/**
 * pviommu_max_domains() - how many domains a VM may have
 *
 * Return: the number.
 */
u32 pviommu_max_domains(void)
{
	return READ_ONCE(max_domains);
}

/**
 * pviommu_doorbell_budget() - how much work one doorbell may do
 *
 * Return: the work, in units of PVIOMMU_COST_*; enough for one page at least.
 */
u32 pviommu_doorbell_budget(void)
{
	return clamp(READ_ONCE(doorbell_pages), 1U, 1U << 20) * PVIOMMU_COST_MAP;
}

/**
 * pviommu_max_events() - how many events wait for room in the event ring
 *
 * Return: the number, at most 65536 (4 MiB of events). Room for the events that end a
 * release comes on top.
 */
u32 pviommu_max_events(void)
{
	return min(READ_ONCE(max_events), 1U << 16);
}

/**
 * pviommu_quota_mappings() - may the VM have more mappings
 * @vm: the VM
 * @nr: how many more
 *
 * A mapping that was unmapped counts until it has been flushed and freed, as it keeps its
 * pins and its record until then.
 *
 * Return: 0 or -ENOSPC.
 */
int pviommu_quota_mappings(struct pviommu_vm *vm, u32 nr)
{
	u64 now = atomic64_read(&vm->counters[PVIOMMU_NR_MAPPINGS]);

	return now + nr > READ_ONCE(max_mappings) ? -ENOSPC : 0;
}

/**
 * pviommu_quota_domains() - may the VM have one more domain
 * @vm: the VM
 *
 * Return: 0 or -ENOSPC.
 */
int pviommu_quota_domains(struct pviommu_vm *vm)
{
	u64 now = atomic64_read(&vm->counters[PVIOMMU_NR_DOMAINS]);

	return now >= READ_ONCE(max_domains) ? -ENOSPC : 0;
}

/**
 * pviommu_slots_left() - how many more ranges of memory the VM may have
 * @vm: the VM
 *
 * Return: the number, which is stable only with mem_lock held.
 */
u32 pviommu_slots_left(const struct pviommu_vm *vm)
{
	u32 now = READ_ONCE(vm->nr_slots), max = READ_ONCE(max_slots);

	return now < max ? max - now : 0;
}

/**
 * pviommu_quota_pasids() - may the VM have a domain attached at one more PASID
 * @vm: the VM, cfg_lock held
 *
 * Return: 0 or -ENOSPC.
 */
int pviommu_quota_pasids(struct pviommu_vm *vm)
{
	lockdep_assert_held(&vm->cfg_lock);

	return vm->nr_pasids >= READ_ONCE(max_pasids) ? -ENOSPC : 0;
}
