// SPDX-License-Identifier: GPL-2.0-only
/*
 * Release of pages: a guest gives pages back, and they become free memory of the host.
 *
 * The op only takes the list. A work item then tells everyone who maps the pages, in this
 * VM and in others, and the server that watches them. Some time later those who still map
 * them are cut off, the VMM's pages are discarded, and the guest gets an event. Whoever
 * accesses such a page after that, guest or device, gets a new one, of zeroes.
 */
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "pviommu_private.h"

static uint release_ms = 100;
module_param(release_ms, uint, 0644);
MODULE_PARM_DESC(release_ms,
		 "Milliseconds that users of pages have before a RELEASE cuts them off");

/* The guest driver gives up after a minute, and then does not know what became of its pages */
#define MAX_RELEASE_MS	30000U

/*
 * For the same reason, whatever server_timeout_ms is: how long to wait for servers to take
 * all records about a list. It may be a quarter more if announcing the pages took most of it.
 */
#define MAX_SERVER_MS	20000

/* A list of pages that is being released */
struct release {
	struct delayed_work work;
	struct list_head entry;		/* of vm->releases; vm->release_lock */
	struct pviommu_vm *vm;
	u64 token;
	bool told;			/* those who map or watch the pages know */
	ktime_t server_time;		/* how long to wait for the server, once @told */
	ktime_t servers_time;		/* the same, for those that claim later */
	struct pviommu_frames frames;
	u64 gfns[];
};

static void release_free(struct release *rel)
{
	mutex_lock(&rel->vm->release_lock);
	list_del(&rel->entry);
	rel->vm->nr_releases--;
	mutex_unlock(&rel->vm->release_lock);
	kvfree(rel);
}

static void post_released(struct release *rel, u64 size)
{
	struct pviommu_event ev = {
		.type = cpu_to_le16(PVIOMMU_EV_RELEASED),
		.pasid = cpu_to_le32(PVIOMMU_PASID_NONE),
		.addr = cpu_to_le64(rel->token),
		.size = cpu_to_le64(size),
	};

	pviommu_event_post(rel->vm, &ev);
}

/*
 * Whether a mapping or window of this VM may hold a page of the list: any page of its slot is
 * pinned. The mappings themselves are not searched for this.
 */
static bool may_be_mapped(struct pviommu_vm *vm, const struct pviommu_frames *frames)
{
	u32 i;

	for (i = 0; i < frames->nr; i++) {
		struct pviommu_slot *slot;

		slot = pviommu_slot_find(vm, frames->gfns[i] << PAGE_SHIFT);
		if (slot && atomic64_read(&slot->pins))
			return true;
	}
	return false;
}

/* Ask everyone who maps the pages to unmap them; false if nobody does */
static bool tell_all(struct pviommu_vm *vm, const struct pviommu_frames *frames)
{
	struct pviommu_domain *domain;
	unsigned long id = 0;
	bool any = false;

	lockdep_assert_held(&vm->mem_lock);

	if (may_be_mapped(vm, frames)) {
		for (; (domain = pviommu_domain_next(vm, &id)); id++) {
			any |= pviommu_domain_announce(domain, frames);
			pviommu_domain_put(domain);
		}
	}
	mutex_lock(&vm->loans_lock);
	any |= pviommu_loans_announce(vm, frames);
	mutex_unlock(&vm->loans_lock);
	return any;
}

/* Discard contiguous pages, which nobody maps any more. Return: bytes that were freed */
static u64 discard(struct pviommu_vm *vm, u64 gfn, u64 npages)
{
	u64 gpa = gfn << PAGE_SHIFT, done = 0, n;
	struct pviommu_slot *slot;

	for (; npages; npages -= n, gpa += n << PAGE_SHIFT) {
		slot = pviommu_slot_find(vm, gpa);
		n = 1;
		/* It may be another slot than when the guest asked */
		if (!slot || !pviommu_slot_is_ram(slot) || !pviommu_slot_writable(slot))
			continue;
		n = min((slot->it.last - gpa + 1) >> PAGE_SHIFT, npages);
		done += pviommu_discard(vm, slot->hva + (gpa - slot->it.start),
					n << PAGE_SHIFT);
	}
	return done;
}

static u64 discard_all(struct pviommu_vm *vm, const struct pviommu_frames *frames)
{
	u64 from = frames->first, lo, hi, done = 0;

	while (pviommu_frames_next(frames, from, frames->last, &lo, &hi)) {
		done += discard(vm, lo, hi - lo + 1);
		from = hi + 1;
	}
	return done;
}

/* Cut other VMs off from the pages */
static void recall(struct pviommu_vm *vm, const struct pviommu_frames *frames)
{
	mutex_lock(&vm->loans_lock);
	pviommu_loans_recall(vm, NULL, frames);
	mutex_unlock(&vm->loans_lock);
}

/*
 * Cut everyone off and free the pages. This VM can't map them again in between, as mem_lock
 * is held for writing. Other VMs can: freeing may take as long as the VMM likes, and they
 * must not wait for that. They may have pinned a page that is not the VMM's any more, so it
 * is taken from them once more at the end.
 */
static u64 release_now(struct pviommu_vm *vm, const struct pviommu_frames *frames)
{
	struct pviommu_domain *domain;
	unsigned long id = 0;
	u64 size = 0;

	down_write(&vm->mem_lock);
	mutex_lock(&vm->cfg_lock);
	/* A bypass domain can't give up single pages */
	if (!list_empty(&vm->bypass))
		goto out_unlock;
	if (may_be_mapped(vm, frames)) {
		for (; (domain = pviommu_domain_next(vm, &id)); id++) {
			pviommu_domain_revoke(domain, frames);
			pviommu_domain_put(domain);
		}
	}
	recall(vm, frames);
	size = discard_all(vm, frames);
	recall(vm, frames);
out_unlock:
	mutex_unlock(&vm->cfg_lock);
	up_write(&vm->mem_lock);
	return size;
}

/* What is left of a time after @begun, or a quarter of it */
static ktime_t time_left(ktime_t time, ktime_t begun)
{
	return max(ktime_sub(time, ktime_sub(ktime_get(), begun)), time / 4);
}

/* Announce the pages to the server, if it watches any of them; whether it does */
static bool tell_server(struct release *rel)
{
	ktime_t most = ms_to_ktime(MAX_SERVER_MS), begun = ktime_get(), all;
	bool any;

	all = min(ktime_sub(pviommu_server_deadline(), begun), most);
	any = pviommu_types_announce(rel->vm, &rel->frames, ktime_add(begun, all),
				     ktime_add(begun, most));
	rel->server_time = time_left(all, begun);
	rel->servers_time = time_left(most, begun);
	return any;
}

static void release_work(struct work_struct *work)
{
	struct release *rel = container_of(to_delayed_work(work), struct release,
					   work);
	struct pviommu_vm *vm = rel->vm;
	ktime_t now;
	bool any;

	if (!rel->told) {
		rel->told = true;
		down_read(&vm->mem_lock);
		any = tell_all(vm, &rel->frames);
		up_read(&vm->mem_lock);
		any |= tell_server(rel);
		if (any) {
			queue_delayed_work(vm->release_wq, &rel->work,
					   msecs_to_jiffies(min(READ_ONCE(release_ms),
								MAX_RELEASE_MS)));
			return;
		}
	}
	now = ktime_get();
	pviommu_types_released(vm, &rel->frames, ktime_add(now, rel->server_time),
			       ktime_add(now, rel->servers_time));
	post_released(rel, release_now(vm, &rel->frames));
	release_free(rel);
}

/**
 * pviommu_releases_stop() - cancel the releases that are under way
 * @vm: the VM, control_lock held; no doorbell is being served
 *
 * The pages of releases that are cancelled stay. Waits for one that can't be cancelled any
 * more.
 *
 * Context: process; may sleep for long.
 */
void pviommu_releases_stop(struct pviommu_vm *vm)
{
	struct release *rel, *next;

	lockdep_assert_held(&vm->control_lock);

	for (;;) {
		mutex_lock(&vm->release_lock);
		rel = list_first_entry_or_null(&vm->releases, struct release, entry);
		next = rel;
		/* If its work runs and can't be cancelled, the work frees it */
		if (rel && !cancel_delayed_work(&rel->work))
			rel = NULL;
		mutex_unlock(&vm->release_lock);
		if (!next)
			return;
		if (rel)
			release_free(rel);
		else
			schedule_timeout_uninterruptible(1);
	}
}

static int compare_gfns(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* All must be writable RAM of the guest, and none in use by the host itself (a window) */
static int check_pages(struct pviommu_vm *vm, const struct release *rel)
{
	struct pviommu_window *win;
	struct pviommu_slot *slot;
	u64 lo, hi;
	u32 i;

	for (i = 0; i < rel->frames.nr; i++) {
		if (rel->gfns[i] >> (64 - PAGE_SHIFT))
			return -EFAULT;
		slot = pviommu_slot_find(vm, rel->gfns[i] << PAGE_SHIFT);
		if (!slot || !pviommu_slot_is_ram(slot) || !pviommu_slot_writable(slot))
			return -EFAULT;
	}
	list_for_each_entry(win, &vm->windows, entry)
		if (pviommu_frames_next(&rel->frames, win->gpa >> PAGE_SHIFT,
					(win->gpa >> PAGE_SHIFT) + win->npages - 1,
					&lo, &hi))
			return -EBUSY;
	return 0;
}

static int read_list(struct pviommu_op_ctx *ctx, const struct pviommu_op *op,
		     struct release *rel, u32 count)
{
	u32 i;
	int ret;

	ret = pviommu_guest_read(ctx->vm, le64_to_cpu(op->release.list),
				 ctx->scratch->list, count * sizeof(__le64));
	if (ret)
		return ret;
	for (i = 0; i < count; i++)
		rel->gfns[i] = le64_to_cpu(ctx->scratch->list[i]);
	sort(rel->gfns, count, sizeof(u64), compare_gfns, NULL);
	rel->frames = (struct pviommu_frames) {
		.first = rel->gfns[0],
		.last = rel->gfns[count - 1],
		.gfns = rel->gfns,
		.nr = count,
	};
	for (i = 1; i < count; i++)
		if (rel->gfns[i] == rel->gfns[i - 1])
			return -EINVAL;
	return check_pages(ctx->vm, rel);
}

/* A release counts towards the limit until the event that ends it is in the ring */
static int release_queue(struct release *rel)
{
	struct pviommu_vm *vm = rel->vm;
	int ret = 0;

	mutex_lock(&vm->release_lock);
	if (vm->nr_releases + READ_ONCE(vm->events.ends_waiting) >= PVIOMMU_MAX_RELEASES) {
		ret = -ENOSPC;
	} else {
		vm->nr_releases++;
		list_add_tail(&rel->entry, &vm->releases);
		queue_delayed_work(vm->release_wq, &rel->work, 0);
	}
	mutex_unlock(&vm->release_lock);
	return ret;
}

/**
 * pviommu_op_release() - RELEASE
 * @ctx: context of the op
 * @op: the op
 * @result: unused
 *
 * Return: 0, and the outcome will be told by an event; -EINVAL also if a page is there twice;
 * -EFAULT not writable RAM; -EBUSY a group is in bypass, or a page is in use by the host;
 * -ENOSPC too many releases; -ENOMEM.
 */
int pviommu_op_release(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		       u64 *result)
{
	u32 count = le32_to_cpu(op->release.count);
	struct pviommu_vm *vm = ctx->vm;
	struct release *rel;
	int ret;

	if (op->release.reserved0 || op->release.reserved || !count ||
	    count > PVIOMMU_LIST_MAX || !PAGE_ALIGNED(le64_to_cpu(op->release.list)))
		return -EINVAL;
	rel = kvzalloc(struct_size(rel, gfns, count), GFP_KERNEL_ACCOUNT);
	if (!rel)
		return -ENOMEM;
	rel->vm = vm;
	rel->token = le64_to_cpu(op->release.token);
	INIT_DELAYED_WORK(&rel->work, release_work);
	pviommu_spend(ctx->budget, PVIOMMU_COST_MAP * count);

	mutex_lock(&vm->cfg_lock);
	ret = list_empty(&vm->bypass) ? 0 : -EBUSY;
	mutex_unlock(&vm->cfg_lock);
	ret = ret ?: read_list(ctx, op, rel, count) ?: release_queue(rel);
	if (ret)
		kvfree(rel);
	return ret;
}
