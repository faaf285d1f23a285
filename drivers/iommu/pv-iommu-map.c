// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: the store, a domain's own record of what is
 * mapped where. With it iova_to_phys needs no VM exit, and unmap knows how much
 * it removes before the host has been asked.
 *
 * An entry is a value of these bits:
 *
 *    0      failed
 *    1-3    PVIOMMU_PROT_*
 *    4-8    order of the page, in units of 4 KiB
 *    9-15   the errno of a failed entry
 *    16-62  frame number: addresses of up to 59 bits
 *
 * A page that is larger than 4 KiB is one entry that spans its indexes. No
 * entry is ever split: an unmap takes whole pages or stops.
 *
 * A failed entry keeps its frame. Users of a domain may have no other record of
 * what they have mapped: they ask by iova_to_phys which page it is, unmap it, and
 * unpin that page.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/sched.h>

#include "pv-iommu.h"

#define ENTRY_FAILED		BIT(0)
#define ENTRY_PROT_SHIFT	1
#define ENTRY_PROT_MASK		GENMASK(3, 1)
#define ENTRY_ORDER_SHIFT	4
#define ENTRY_ORDER_MASK	GENMASK(8, 4)
#define ENTRY_ERRNO_SHIFT	9
#define ENTRY_ERRNO_MASK	GENMASK(15, 9)
#define ENTRY_FRAME_SHIFT	16

static_assert(!((PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE | PVIOMMU_PROT_NOEXEC) <<
		ENTRY_PROT_SHIFT & ~ENTRY_PROT_MASK));

/* Entries handled in one go with interrupts disabled */
#define STORE_BATCH	512

static void *entry_make(u64 gpa, unsigned int order, u8 prot)
{
	return xa_mk_value((gpa >> PVIOMMU_PAGE_SHIFT) << ENTRY_FRAME_SHIFT |
			   order << ENTRY_ORDER_SHIFT |
			   prot << ENTRY_PROT_SHIFT);
}

/* All errors of ops have numbers that fit */
static void *entry_make_failed(void *entry, int error)
{
	return xa_mk_value(xa_to_value(entry) | ENTRY_FAILED |
			   ((unsigned long)-error << ENTRY_ERRNO_SHIFT &
			    ENTRY_ERRNO_MASK));
}

static bool entry_failed(void *entry)
{
	return xa_to_value(entry) & ENTRY_FAILED;
}

static int entry_error(void *entry)
{
	return -(int)((xa_to_value(entry) & ENTRY_ERRNO_MASK) >> ENTRY_ERRNO_SHIFT);
}

static unsigned int entry_order(void *entry)
{
	return (xa_to_value(entry) & ENTRY_ORDER_MASK) >> ENTRY_ORDER_SHIFT;
}

static u8 entry_prot(void *entry)
{
	return (xa_to_value(entry) & ENTRY_PROT_MASK) >> ENTRY_PROT_SHIFT;
}

static u64 entry_size(void *entry)
{
	return 1ULL << (entry_order(entry) + PVIOMMU_PAGE_SHIFT);
}

static u64 entry_gpa(void *entry)
{
	return (u64)(xa_to_value(entry) >> ENTRY_FRAME_SHIFT) <<
	       PVIOMMU_PAGE_SHIFT;
}

/* One page; returns 0 (look at xas_error() too) or -EEXIST */
static int store_one(struct xa_state *xas, u64 iova, unsigned int order,
		     void *entry)
{
	xas_set_order(xas, iova >> PVIOMMU_PAGE_SHIFT, order);
	if (order ? xas_find_conflict(xas) : xas_load(xas))
		return -EEXIST;
	xas_store(xas, entry);
	return 0;
}

/**
 * pviommu_store_insert() - enter contiguous pages
 * @run: the pages; its batch is not used
 * @gfp: how to allocate memory for the store
 * @stored: set to how many pages were entered, from the first on, also on failure
 *
 * Context: any that @gfp allows.
 * Return: 0; -EEXIST a page is there already; -ENOMEM.
 */
int pviommu_store_insert(const struct pviommu_map_run *run, gfp_t gfp,
			 size_t *stored)
{
	XA_STATE(xas, &run->dom->store, 0);
	unsigned int order = run->pgshift - PVIOMMU_PAGE_SHIFT;
	size_t count = run->count;
	unsigned long flags;
	size_t done = 0, batch;
	int ret = 0;

	do {
		xas_lock_irqsave(&xas, flags);
		for (batch = 0; done < count && batch < STORE_BATCH; batch++) {
			u64 offset = (u64)done << run->pgshift;

			ret = store_one(&xas, run->iova + offset, order,
					entry_make(run->gpa + offset, order,
						   run->prot));
			if (ret || xas_error(&xas))
				break;
			done++;
		}
		xas_unlock_irqrestore(&xas, flags);
		if (batch == STORE_BATCH && gfpflags_allow_blocking(gfp))
			cond_resched();
	} while (xas_nomem(&xas, gfp) ||
		 (!ret && !xas_error(&xas) && done < count));

	*stored = done;
	return ret ?: xas_error(&xas);
}

/**
 * pviommu_store_erase() - remove consecutive pages that have all failed, or all not failed
 * @dom: the domain
 * @iova: where to begin
 * @size: bytes; the last page may reach beyond them
 * @failed: set to whether they were failed ones
 *
 * Stops at a hole, at a page of the other kind, or after @size bytes. A page that begins
 * before @iova counts as a hole, as the host can't split it.
 *
 * Context: any.
 * Return: bytes removed.
 */
size_t pviommu_store_erase(struct pviommu_domain *dom, u64 iova, size_t size,
			   bool *failed)
{
	XA_STATE(xas, &dom->store, 0);
	unsigned int batch = 0;
	unsigned long flags;
	size_t done = 0;
	void *entry;

	xas_lock_irqsave(&xas, flags);
	while (done < size) {
		xas_set(&xas, (iova + done) >> PVIOMMU_PAGE_SHIFT);
		entry = xas_load(&xas);
		if (!entry || !IS_ALIGNED(iova + done, entry_size(entry)))
			break;
		if (!done)
			*failed = entry_failed(entry);
		else if (*failed != entry_failed(entry))
			break;

		xas_store(&xas, NULL);
		if (*failed)
			dom->nr_failed--;
		done += entry_size(entry);

		if (++batch == STORE_BATCH) {
			xas_unlock_irqrestore(&xas, flags);
			batch = 0;
			xas_lock_irqsave(&xas, flags);
		}
	}
	xas_unlock_irqrestore(&xas, flags);
	return done;
}

/*
 * Turn the entries of a range that map any of the addresses [first, last] into failed
 * ones. An entry that is partly in the range is turned as a whole.
 */
static void store_turn(struct pviommu_domain *dom, u64 iova, u64 size,
		       u64 first, u64 last, int error)
{
	unsigned long end = (iova + size - 1) >> PVIOMMU_PAGE_SHIFT;
	XA_STATE(xas, &dom->store, iova >> PVIOMMU_PAGE_SHIFT);
	unsigned long flags, next, start;
	unsigned int order, batch = 0;
	void *entry;

	xas_lock_irqsave(&xas, flags);
	for (entry = xas_find(&xas, end); entry; entry = xas_find(&xas, end)) {
		order = entry_order(entry);
		start = round_down(xas.xa_index, 1UL << order);
		next = start + (1UL << order);
		if (!entry_failed(entry) && entry_gpa(entry) <= last &&
		    entry_gpa(entry) + (entry_size(entry) - 1) >= first) {
			/* Same index and order: needs no memory, can't fail */
			xas_set_order(&xas, next - 1, order);
			xas_store(&xas, entry_make_failed(entry, error));
			dom->nr_failed++;
			if (start < iova >> PVIOMMU_PAGE_SHIFT || next - 1 > end)
				WRITE_ONCE(dom->revoked_in_part, true);
		}
		if (next > end)
			break;
		xas_set_order(&xas, next, 0);

		if (++batch == STORE_BATCH) {
			xas_unlock_irqrestore(&xas, flags);
			batch = 0;
			xas_lock_irqsave(&xas, flags);
		}
	}
	xas_unlock_irqrestore(&xas, flags);
}

/**
 * pviommu_store_fail() - mark a mapping that the host has refused
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes, not 0
 * @error: negative errno
 *
 * Callable in any context, with a ring's lock held.
 */
void pviommu_store_fail(struct pviommu_domain *dom, u64 iova, u64 size,
			int error)
{
	store_turn(dom, iova, size, 0, U64_MAX, error);
}

/**
 * pviommu_store_revoke() - mark mappings that the host has revoked
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes, not 0
 * @gpa: start of the memory that was mapped there
 *
 * If other memory is mapped there by now, that is not marked. If the same memory has been
 * mapped there again, that is marked too: the host still maps it until the page is unmapped,
 * as it does the rest of a larger page.
 *
 * Context: any.
 */
void pviommu_store_revoke(struct pviommu_domain *dom, u64 iova, u64 size,
			  u64 gpa)
{
	/* First: who unmaps a failed page must not miss that the host may have it */
	WRITE_ONCE(dom->revoked, true);
	store_turn(dom, iova, size, gpa, gpa + size - 1, -EFAULT);
}

/**
 * pviommu_store_error() - is there a failed page in a range
 * @dom: the domain
 * @iova: start of the range
 * @size: bytes
 *
 * Return: the negative errno of the first one, or 0.
 */
int pviommu_store_error(struct pviommu_domain *dom, u64 iova, u64 size)
{
	unsigned long last = (iova + size - 1) >> PVIOMMU_PAGE_SHIFT;
	XA_STATE(xas, &dom->store, iova >> PVIOMMU_PAGE_SHIFT);
	void *entry;
	int ret = 0;

	/* The common case. The caller has drained, and so sees the count of what has failed. */
	if (!size || !READ_ONCE(dom->nr_failed))
		return 0;

	rcu_read_lock();
	xas_for_each(&xas, entry, last) {
		if (xas_retry(&xas, entry) || !entry_failed(entry))
			continue;
		ret = entry_error(entry);
		break;
	}
	rcu_read_unlock();
	return ret;
}

/**
 * pviommu_store_lookup() - look up the memory that is mapped at an IOVA
 * @dom: the domain
 * @iova: any address
 *
 * Also finds what the host has refused or revoked, as the caller is likely to unmap it and
 * unpin the page.
 *
 * Return: guest physical address, 0 if it is not mapped.
 */
phys_addr_t pviommu_store_lookup(struct pviommu_domain *dom, u64 iova)
{
	void *entry = xa_load(&dom->store, iova >> PVIOMMU_PAGE_SHIFT);

	if (!entry)
		return 0;
	return entry_gpa(entry) | (iova & (entry_size(entry) - 1));
}

/**
 * pviommu_store_replay() - queue all mappings in a restart
 * @dom: the domain, of which the host has nothing; nobody else changes it
 *
 * Failed entries are not mapped again. If a part of a large page was revoked, the store does
 * not know which one, so the rest of the page is lost as well; this is reported.
 *
 * Context: nothing else runs, interrupts are disabled.
 */
void pviommu_store_replay(struct pviommu_domain *dom)
{
	XA_STATE(xas, &dom->store, 0);
	struct pviommu_map_run run = { .dom = dom, .count = 1 };
	unsigned int order;
	void *entry;

	rcu_read_lock();
	xas_for_each(&xas, entry, ULONG_MAX) {
		if (xas_retry(&xas, entry))
			continue;
		order = entry_order(entry);
		if (entry_failed(entry)) {
			if (order && READ_ONCE(dom->revoked_in_part))
				pviommu_report_lost(dom, entry_error(entry));
			continue;
		}
		run.iova = (u64)round_down(xas.xa_index, 1UL << order) <<
			   PVIOMMU_PAGE_SHIFT;
		run.gpa = entry_gpa(entry);
		run.pgshift = order + PVIOMMU_PAGE_SHIFT;
		run.prot = entry_prot(entry);
		if (pviommu_queue_map(&run, false))
			break;
	}
	rcu_read_unlock();
}

/**
 * pviommu_store_destroy() - free the store of a domain
 * @dom: the domain, no longer in use
 */
void pviommu_store_destroy(struct pviommu_domain *dom)
{
	xa_destroy(&dom->store);
}
