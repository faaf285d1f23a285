// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings: taking ops from guest memory, and writing back their outcome.
 *
 * Each doorbell has a budget of work. An op that exceeds it stays at the head of its
 * ring, and is resumed by the next doorbell. Then the host's own copy of the op counts,
 * as does its own index; what the guest has written to the ring meanwhile does not.
 */
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "pviommu_private.h"

/* The part of a ring's header that is read, in one go */
struct ring_head {
	__le64 cookie;
	__le32 prod;
	__le32 cons;
};

/* Offset of the op at cons in the ring's memory */
static size_t op_offset(const struct pviommu_ring *ring)
{
	return (ring->cons & (ring->nr - 1)) * sizeof(struct pviommu_op);
}

/* Size of an op in words, from a field of it on */
#define OP_WORDS(from)	((sizeof(struct pviommu_op) - (from)) / sizeof(u64))

/* Give up a ring that can't be used, and say so in its header if that is still there */
static void ring_stop(struct pviommu_ring *ring, u32 status)
{
	ring->dead = true;
	pviommu_window_publish(&ring->hdr,
			       offsetof(struct pviommu_ring_hdr, error),
			       cpu_to_le32(status));
}

/* Status last: it tells the guest that the rest is there */
static int op_write_back(const struct pviommu_ring *ring,
			 const struct pviommu_op *op, bool args)
{
	size_t from = args ? offsetof(struct pviommu_op, raw) :
			     offsetof(struct pviommu_op, result);
	size_t at = op_offset(ring);

	return pviommu_window_write(&ring->ops, at + from, (void *)op + from,
				    OP_WORDS(from)) ?:
	       pviommu_window_publish(&ring->ops,
				      at + offsetof(struct pviommu_op, status),
				      op->status);
}

/* Execute ring->op; -EINPROGRESS when the budget is used up */
static int op_run(struct pviommu_vm *vm, struct pviommu_iface *iface,
		  struct pviommu_ring *ring, u32 *budget)
{
	struct pviommu_op_ctx ctx = {
		.vm = vm,
		.scratch = ring->scratch,
		.budget = budget,
		.done = ring->done,
		.failed = ring->failed,
		.resumed = ring->begun,
	};
	struct pviommu_op *op = &ring->op;
	bool chain = le16_to_cpu(op->flags) & PVIOMMU_OP_F_CHAIN;
	u64 result = 0;
	int ret;

	pviommu_spend(budget, 1);
	if (ring->cancel)
		ret = -ECANCELED;
	else
		ret = pviommu_op_execute(&ctx, iface->features, op, &result);
	ring->begun = ret == -EINPROGRESS;
	ring->done = ring->begun ? ctx.done : 0;
	ring->failed = ring->begun ? ctx.failed : 0;
	if (ring->begun)
		return ret;
	ring->cancel = ret && chain;
	pviommu_count(vm, PVIOMMU_NR_OPS, 1);
	if (ret)
		pviommu_count(vm, PVIOMMU_NR_OPS_FAILED, 1);
	op->result = cpu_to_le64(result);
	op->status = cpu_to_le32(pviommu_status(ret));
	return op_write_back(ring, op, !ret && ctx.answered);
}

static int ring_run(struct pviommu_vm *vm, struct pviommu_iface *iface,
		    struct pviommu_ring *ring, u32 prod, u32 *budget)
{
	int ret;

	while (ring->cons != prod && *budget && !fatal_signal_pending(current)) {
		if (!ring->begun) {
			ret = pviommu_window_read(&ring->ops, op_offset(ring),
						  &ring->op, OP_WORDS(0));
			if (ret)
				return ret;
		}
		ret = op_run(vm, iface, ring, budget);
		if (ret == -EINPROGRESS)
			return 0;
		if (ret)
			return ret;
		if (++ring->cons != prod)
			cond_resched();
	}
	return 0;
}

/* Publish in the header how many events there are, so that the guest need not look for them */
static void publish_events(struct pviommu_vm *vm, struct pviommu_ring *ring)
{
	/* Pairs with ring_publish_prod(): the guest can see as many */
	u32 events = smp_load_acquire(&vm->events.prod);

	if (events == ring->events)
		return;
	ring->events = events;
	pviommu_window_publish(&ring->hdr,
			       offsetof(struct pviommu_ring_hdr, events),
			       cpu_to_le32(events));
}

/* Publish that the ring was served: the guest tells a doorbell that works by that */
static void publish_served(struct pviommu_ring *ring)
{
	pviommu_window_publish(&ring->hdr,
			       offsetof(struct pviommu_ring_hdr, served),
			       cpu_to_le32(++ring->served));
}

static void ring_serve(struct pviommu_vm *vm, struct pviommu_iface *iface,
		       struct pviommu_ring *ring, u32 *budget)
{
	struct ring_head head;
	u32 prod, before;
	int ret;

	lockdep_assert_held(&ring->lock);

	ret = pviommu_window_read(&ring->hdr, 0, &head,
				  sizeof(head) / sizeof(u64));
	if (ret)
		goto err_stop;
	prod = le32_to_cpu(head.prod);
	if (le64_to_cpu(head.cookie) != iface->cookie ||
	    prod - ring->cons > ring->nr) {
		ret = -EINVAL;
		goto err_stop;
	}
	/* The ops up to prod are read after it */
	smp_rmb();
	before = ring->cons;
	ret = ring_run(vm, iface, ring, prod, budget);
	publish_events(vm, ring);
	publish_served(ring);
	if (ring->cons != before)
		ret = pviommu_window_publish(&ring->hdr,
					     offsetof(struct pviommu_ring_hdr, cons),
					     cpu_to_le32(ring->cons)) ?: ret;
	if (ret)
		goto err_stop;
	return;

err_stop:
	ring_stop(ring, pviommu_status(ret));
}

/**
 * pviommu_rings_serve() - execute the ops of one ring, or of all
 * @vm: the VM
 * @iface: its interface; vm->iface_lock held for reading
 * @value: a ring's number, or PVIOMMU_DOORBELL_ALL; other values are ignored
 *
 * Stops when the budget of the doorbell is used up. A ring that can't be used any more is
 * given up, with an error in its header.
 *
 * Context: process, may sleep; a thread of the VMM. Nothing happens in other threads, as
 * they can't reach guest memory.
 */
void pviommu_rings_serve(struct pviommu_vm *vm, struct pviommu_iface *iface,
			 u32 value)
{
	u32 first = value, end = value + 1, i;
	u32 budget = pviommu_doorbell_budget();

	if (current->mm != vm->mm)
		return;
	if (value == PVIOMMU_DOORBELL_ALL) {
		first = 0;
		end = iface->nr_rings;
	}
	for (i = first; i < min(end, iface->nr_rings); i++) {
		struct pviommu_ring *ring;

		ring = &iface->rings[array_index_nospec(i, iface->nr_rings)];
		mutex_lock(&ring->lock);
		down_read(&vm->mem_lock);
		if (!ring->dead && budget)
			ring_serve(vm, iface, ring, &budget);
		up_read(&vm->mem_lock);
		mutex_unlock(&ring->lock);
	}
}

/**
 * pviommu_ring_init() - set up a ring as described by START
 * @vm: the VM, control_lock and mem_lock held
 * @ring: the ring
 * @desc: our copy of its description
 *
 * Return: 0; -EINVAL alignment or a reserved field; -ERANGE the size; -EFAULT it is not
 * writable RAM; -ENOMEM. pviommu_ring_exit() has to be called even after an error.
 */
int pviommu_ring_init(struct pviommu_vm *vm, struct pviommu_ring *ring,
		      const struct pviommu_ring_desc *desc)
{
	u64 hdr = le64_to_cpu(desc->hdr), ops = le64_to_cpu(desc->ops);
	u32 order = le32_to_cpu(desc->order);
	int ret;

	if (desc->reserved || !PAGE_ALIGNED(ops) ||
	    !IS_ALIGNED(hdr, sizeof(struct pviommu_ring_hdr)))
		return -EINVAL;
	if (order < PVIOMMU_RING_ORDER_MIN || order > PVIOMMU_RING_ORDER_MAX)
		return -ERANGE;
	ring->nr = 1U << order;
	ret = pviommu_window_open(vm, &ring->hdr, hdr,
				  sizeof(struct pviommu_ring_hdr)) ?:
	      pviommu_window_open(vm, &ring->ops, ops,
				  ring->nr * sizeof(struct pviommu_op));
	if (ret)
		return ret;
	ring->scratch = kvmalloc(sizeof(*ring->scratch), GFP_KERNEL_ACCOUNT);
	return ring->scratch ? 0 : -ENOMEM;
}

/**
 * pviommu_ring_exit() - undo pviommu_ring_init(), whether or not it succeeded
 * @vm: the VM, control_lock and mem_lock held
 * @ring: the ring, which nobody serves any more
 */
void pviommu_ring_exit(struct pviommu_vm *vm, struct pviommu_ring *ring)
{
	pviommu_window_close(vm, &ring->ops);
	pviommu_window_close(vm, &ring->hdr);
	kvfree(ring->scratch);
	mutex_destroy(&ring->lock);
}
