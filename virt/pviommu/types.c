// SPDX-License-Identifier: GPL-2.0-only
/*
 * Types of a VM's pages: plain memory, or memory of which a server on the host
 * is told each write.
 *
 * Which pages are of the server's type is known to the doorbell transport, which
 * watches them: each has a tag, the number of the claim under which it got its
 * type. When a claim ends its tag is stale, and the pages are plain from then
 * on. They are let go of lazily: by a work item, and by whoever writes to them.
 *
 * Pages of guest-owned tables may be watched, too, by the engine itself
 * (table_watch.c). No claim has their tag, and they are not the guest's to change.
 *
 * Pages also cease to be watched when memory or the interface goes. Who does that
 * can't wait for a server; the work item tells it where to look.
 */
#include <linux/overflow.h>
#include <linux/slab.h>

#include "pviommu_private.h"

static unsigned long current_tag(struct pviommu_vm *vm)
{
	unsigned long tag;

	spin_lock(&vm->types.lock);
	tag = vm->types.server ? vm->types.tag : 0;
	spin_unlock(&vm->types.lock);
	return tag;
}

/* Who claimed under @tag, referenced; NULL if that claim has ended */
static struct pviommu_server *claimant(struct pviommu_vm *vm, unsigned long tag)
{
	struct pviommu_server *server = NULL;

	spin_lock(&vm->types.lock);
	if (vm->types.server && vm->types.tag == tag) {
		server = vm->types.server;
		pviommu_server_get(server);
	}
	spin_unlock(&vm->types.lock);
	return server;
}

static void disclaim_slow(struct pviommu_vm *vm, struct pviommu_server *server)
{
	pr_warn_ratelimited("VM %u: the server of its memory does not keep up, disclaimed\n",
			    vm->id);
	if (pviommu_types_disclaim(vm, server))
		atomic_inc(&vm->types.dropped);
}

/* Tell the server that claimed under @tag; false if that claim has ended */
static bool tell(struct pviommu_vm *vm, unsigned long tag,
		 const struct pviommu_server_record *rec, ktime_t end)
{
	struct pviommu_server *server = claimant(vm, tag);
	int ret;

	if (!server)
		return false;
	ret = pviommu_server_tell(server, rec, end, &vm->types.hurry);
	if (ret == -ETIMEDOUT)
		disclaim_slow(vm, server);
	pviommu_server_put(server);
	return !ret;
}

/* Let go of some stale pages from *@gpa on, true if there may be more */
static bool sweep_some(struct pviommu_vm *vm, u64 *gpa)
{
	struct pviommu_iface *iface;
	bool more = false;

	down_read(&vm->iface_lock);
	iface = vm->iface;
	if (iface && iface->doorbell)
		more = iface->doorbell_ops->unwatch_stale(iface->doorbell, gpa);
	up_read(&vm->iface_lock);
	return more;
}

static void no_lost(struct pviommu_types *types)
{
	types->lost_first = U64_MAX;
	types->lost_last = 0;
}

/* The record of lost pages and under which claim they were lost; false: none were */
static bool take_lost(struct pviommu_types *types, struct pviommu_server_record *rec,
		      unsigned long *tag)
{
	bool any;

	spin_lock(&types->lock);
	any = types->server && types->lost_first <= types->lost_last;
	if (any) {
		*rec = (struct pviommu_server_record) {
			.type = PVIOMMU_REC_LOST,
			.gpa = types->lost_first,
			.last = types->lost_last,
		};
		*tag = types->tag;
		no_lost(types);
	}
	spin_unlock(&types->lock);
	return any;
}

static void types_work(struct work_struct *work)
{
	struct pviommu_vm *vm = container_of(work, struct pviommu_vm, types.work);
	struct pviommu_server_record rec;
	unsigned long tag;
	u64 gpa = 0;

	while (sweep_some(vm, &gpa))
		cond_resched();
	if (take_lost(&vm->types, &rec, &tag))
		tell(vm, tag, &rec, pviommu_server_patience());
}

/**
 * pviommu_types_init() - a VM without a server
 * @vm: the VM
 */
void pviommu_types_init(struct pviommu_vm *vm)
{
	spin_lock_init(&vm->types.lock);
	mutex_init(&vm->types.change_lock);
	xa_init_flags(&vm->types.tables, XA_FLAGS_ACCOUNT);
	no_lost(&vm->types);
	INIT_WORK(&vm->types.work, types_work);
}

/**
 * pviommu_types_exit() - the VM goes
 * @vm: the VM, which nobody can look up any more
 */
void pviommu_types_exit(struct pviommu_vm *vm)
{
	pviommu_types_disclaim(vm, NULL);
	cancel_work_sync(&vm->types.work);
	xa_destroy(&vm->types.tables);
	mutex_destroy(&vm->types.change_lock);
}

/**
 * pviommu_types_claim() - a server wants the type
 * @vm: the VM
 * @server: the server; the VM holds a reference until the claim ends
 *
 * Return: 0, or -EBUSY: there is one.
 */
int pviommu_types_claim(struct pviommu_vm *vm, struct pviommu_server *server)
{
	int ret = -EBUSY;

	spin_lock(&vm->types.lock);
	if (!vm->types.server) {
		pviommu_server_get(server);
		vm->types.server = server;
		/* Small enough for the transport, and no claim's in living memory */
		vm->types.tag = vm->types.tag % (PVIOMMU_TAG_TABLE - 1) + 1;
		no_lost(&vm->types);
		ret = 0;
	}
	spin_unlock(&vm->types.lock);
	return ret;
}

/**
 * pviommu_types_disclaim() - a claim ends
 * @vm: the VM
 * @server: whose claim; NULL for whoever has it
 *
 * All pages of the type are plain memory when this returns. The server is told
 * by its ring. Nothing happens if it has no claim (any more).
 *
 * Context: process; takes spinlocks only, so all but these may be held.
 * Return: whether there was such a claim.
 */
bool pviommu_types_disclaim(struct pviommu_vm *vm, struct pviommu_server *server)
{
	struct pviommu_server *was;

	spin_lock(&vm->types.lock);
	was = vm->types.server;
	if (server && was != server)
		was = NULL;
	if (was)
		vm->types.server = NULL;
	spin_unlock(&vm->types.lock);
	if (!was)
		return false;
	pviommu_server_end(was);
	pviommu_server_put(was);
	schedule_work(&vm->types.work);
	return true;
}

/**
 * pviommu_types_hurry() - whether writes may wait for the server
 * @vm: the VM, control_lock held
 * @hurry: they may not: all pages are about to become plain, of which the server
 *	will be told, and that waits for those who write
 */
void pviommu_types_hurry(struct pviommu_vm *vm, bool hurry)
{
	lockdep_assert_held(&vm->control_lock);
	WRITE_ONCE(vm->types.hurry, hurry);
}

/* Who has the claim, referenced, and its tag; NULL for nobody */
static struct pviommu_server *claimant_now(struct pviommu_vm *vm, unsigned long *tag)
{
	*tag = current_tag(vm);
	return *tag ? claimant(vm, *tag) : NULL;
}

/**
 * pviommu_types_info() - what there is to tell of the types of a VM's memory
 * @vm: the VM
 * @info: set to it
 *
 * Context: process; no lock of the VM held.
 * Return: 0, or -EINTR the thread is being killed.
 */
int pviommu_types_info(struct pviommu_vm *vm, struct pviommu_types_info *info)
{
	struct pviommu_server *server;
	struct pviommu_iface *iface;
	unsigned long tag;

	*info = (struct pviommu_types_info) { .dropped = atomic_read(&vm->types.dropped) };
	if (down_read_killable(&vm->iface_lock))
		return -EINTR;
	mutex_lock(&vm->types.change_lock);
	info->tables = vm->types.nr_tables;
	mutex_unlock(&vm->types.change_lock);
	iface = vm->iface;
	server = claimant_now(vm, &tag);
	if (server) {
		pviommu_server_info(server, info);
		pviommu_server_put(server);
		if (iface && iface->doorbell)
			info->pages = iface->doorbell_ops->count(iface->doorbell, tag);
	}
	up_read(&vm->iface_lock);
	return 0;
}

bool pviommu_page_written(void *ctx, unsigned long tag, u64 gpa, const u8 *data, int len)
{
	struct pviommu_server_record rec = { .type = PVIOMMU_REC_WRITE };
	ktime_t end = pviommu_server_patience();

	if (tag == PVIOMMU_TAG_TABLE) {
		pviommu_table_written(ctx, gpa, len);
		return true;
	}
	while (len > 0) {
		rec.gpa = gpa;
		rec.size = min(len, PVIOMMU_REC_DATA);
		memset(rec.data, 0, sizeof(rec.data));
		memcpy(rec.data, data, rec.size);
		if (!tell(ctx, tag, &rec, end))
			return false;
		gpa += rec.size;
		data += rec.size;
		len -= rec.size;
	}
	return true;
}
EXPORT_SYMBOL_GPL(pviommu_page_written);

bool pviommu_page_wanted(void *ctx, unsigned long tag)
{
	return tag == PVIOMMU_TAG_TABLE || tag == current_tag(ctx);
}
EXPORT_SYMBOL_GPL(pviommu_page_wanted);

/* 0 if the claim of @server has not ended and the page is of its type */
static int check_type(struct pviommu_vm *vm, const struct pviommu_server *server, u64 gpa)
{
	struct pviommu_iface *iface;
	unsigned long tag = 0;
	bool is;

	if (down_read_killable(&vm->iface_lock))
		return -EINTR;
	iface = vm->iface;
	if (iface && iface->doorbell)
		tag = iface->doorbell_ops->watched(iface->doorbell, gpa);
	spin_lock(&vm->types.lock);
	is = tag && vm->types.server == server && vm->types.tag == tag;
	spin_unlock(&vm->types.lock);
	up_read(&vm->iface_lock);
	return is ? 0 : -EACCES;
}

/**
 * pviommu_types_read() - copy from a page of the server's type
 * @vm: the VM
 * @server: the server
 * @gpa: where
 * @buf: destination
 * @len: bytes, all within a page
 *
 * The page was of the type all the time until it had been read: to bring it in may
 * take long, and what the guest writes after it has made the page plain is not for
 * the server.
 *
 * Context: process, sleeps as long as the VMM likes; no lock of the VM held.
 * Return: 0; -EACCES the page is not of the type, or the claim has ended; -EAGAIN
 * some page has become plain meanwhile; -EFAULT; -EINTR the thread is being killed.
 * After an error @buf may hold anything.
 */
int pviommu_types_read(struct pviommu_vm *vm, const struct pviommu_server *server, u64 gpa,
		       void *buf, size_t len)
{
	u64 page = round_down(gpa, PAGE_SIZE);
	int plain = atomic_read_acquire(&vm->types.plain);
	int ret;

	ret = check_type(vm, server, page);
	if (!ret)
		ret = pviommu_guest_peek(vm, gpa, buf, len);
	if (!ret)
		ret = check_type(vm, server, page);
	if (ret)
		return ret;
	/* Pairs with who makes pages plain */
	smp_rmb();
	return atomic_read(&vm->types.plain) == plain ? 0 : -EAGAIN;
}

void pviommu_pages_lost(void *ctx, u64 gpa, u64 last)
{
	struct pviommu_vm *vm = ctx;
	struct pviommu_types *types = &vm->types;

	atomic_inc(&types->plain);
	spin_lock(&types->lock);
	if (types->server) {
		types->lost_first = min(types->lost_first, gpa);
		types->lost_last = max(types->lost_last, last);
		schedule_work(&types->work);
	}
	spin_unlock(&types->lock);
}
EXPORT_SYMBOL_GPL(pviommu_pages_lost);

/* ---- ops ------------------------------------------------------------ */

/*
 * Ops run with the locks of a doorbell, which a server that reads memory may need
 * before it makes room: they don't wait for it. What is to be told has its room
 * kept before a page changes, so that an op that fails has not changed it.
 */

/* -ENOENT: the claim has ended; -EAGAIN: there is no room now */
static int keep_room(struct pviommu_vm *vm, unsigned long tag, struct pviommu_server **server)
{
	int ret;

	*server = claimant(vm, tag);
	if (!*server)
		return -ENOENT;
	ret = pviommu_server_keep_room(*server);
	if (!ret)
		return 0;
	if (ret == -ETIMEDOUT)
		disclaim_slow(vm, *server);
	pviommu_server_put(*server);
	return ret == -EAGAIN ? ret : -ENOENT;
}

/* After keep_room(); @type 0: nothing is to be told */
static void use_room(struct pviommu_server *server, u16 type, u64 gpa)
{
	struct pviommu_server_record rec = {
		.type = type,
		.size = PAGE_SIZE,
		.gpa = gpa,
	};

	pviommu_server_use_room(server, type ? &rec : NULL);
	pviommu_server_put(server);
}

static int set_plain(struct pviommu_vm *vm, struct pviommu_iface *iface, u64 gpa)
{
	unsigned long tag = iface->doorbell_ops->watched(iface->doorbell, gpa);
	struct pviommu_server *server;
	int ret;

	lockdep_assert_held(&vm->types.change_lock);

	if (!tag)
		return 0;
	if (tag == PVIOMMU_TAG_TABLE)
		return -EEXIST;
	ret = keep_room(vm, tag, &server);
	if (ret == -EAGAIN)
		return ret;
	atomic_inc(&vm->types.plain);
	/* Who reads the page and does not see that sees what it held before */
	smp_mb__after_atomic();
	iface->doorbell_ops->unwatch(iface->doorbell, gpa);
	if (!ret)
		use_room(server, PVIOMMU_REC_NO_PAGE, gpa);
	return 0;
}

static int set_server(struct pviommu_vm *vm, struct pviommu_iface *iface, u64 gpa)
{
	unsigned long tag = current_tag(vm), was;
	struct pviommu_server *server;
	int ret;

	lockdep_assert_held(&vm->types.change_lock);

	if (!tag)
		return -ENOENT;
	was = iface->doorbell_ops->watched(iface->doorbell, gpa);
	if (was == tag)
		return 0;
	if (was == PVIOMMU_TAG_TABLE)
		return -EEXIST;
	ret = pviommu_guest_check(vm, gpa, PAGE_SIZE) ?: keep_room(vm, tag, &server);
	if (ret)
		return ret;
	ret = iface->doorbell_ops->watch(iface->doorbell, gpa, tag);
	use_room(server, ret ? 0 : PVIOMMU_REC_PAGE, gpa);
	if (ret)
		return ret == -EINVAL ? -EFAULT : ret;
	/* Who lets go of the pages of a claim that has ended may have been through */
	if (!pviommu_page_wanted(vm, tag)) {
		iface->doorbell_ops->unwatch(iface->doorbell, gpa);
		return -ENOENT;
	}
	return 0;
}

/*
 * One page at a time: the server hears of changes by other rings in the order in
 * which they were made, and no page gets the tag of a claim that another has
 * followed already.
 */
static int set_page(struct pviommu_vm *vm, u32 type, u64 gpa)
{
	int ret;

	mutex_lock(&vm->types.change_lock);
	if (type == PVIOMMU_MEM_RAM_RW)
		ret = set_plain(vm, vm->iface, gpa);
	else
		ret = set_server(vm, vm->iface, gpa);
	mutex_unlock(&vm->types.change_lock);
	return ret;
}

/* Tell the server that a page will be taken from it; 1: there is somebody to tell */
static int announce_page(struct pviommu_vm *vm, struct pviommu_iface *iface, u64 gpa)
{
	unsigned long tag = iface->doorbell_ops->watched(iface->doorbell, gpa);
	struct pviommu_server *server;
	int ret;

	lockdep_assert_held(&vm->types.change_lock);

	if (!tag || tag == PVIOMMU_TAG_TABLE)
		return 0;
	ret = keep_room(vm, tag, &server);
	if (ret)
		return ret == -EAGAIN ? ret : 0;
	use_room(server, PVIOMMU_REC_RELEASE, gpa);
	return 1;
}

/*
 * Do something with a page of which the server is told. Nobody's locks are held here, so
 * that it can wait for the server to make room; a server that makes none in its time is
 * disclaimed, and then there is nothing to wait for.
 */
static int do_patiently(struct pviommu_vm *vm, u64 gpa, ktime_t end,
			int (*fn)(struct pviommu_vm *vm, struct pviommu_iface *iface, u64 gpa))
{
	int ret;

	do {
		down_read(&vm->iface_lock);
		ret = 0;
		if (vm->iface && vm->iface->doorbell) {
			mutex_lock(&vm->types.change_lock);
			ret = fn(vm, vm->iface, gpa);
			mutex_unlock(&vm->types.change_lock);
		}
		up_read(&vm->iface_lock);
		if (ret != -EAGAIN)
			return ret;
		if (ktime_after(ktime_get(), end))
			disclaim_slow(vm, NULL);
		else
			schedule_timeout_uninterruptible(1);
	} while (true);
}

/**
 * pviommu_types_announce() - pages will be given back to the host
 * @vm: the VM
 * @frames: the pages, a list
 * @end: until when it may wait for the server to make room, for all of the pages
 *
 * The server is told of each of its pages, which remain of its type until
 * pviommu_types_released().
 *
 * Context: process, no lock of the VM held. A server that makes none is disclaimed.
 * Return: whether any is of a server's type.
 */
bool pviommu_types_announce(struct pviommu_vm *vm, const struct pviommu_frames *frames,
			    ktime_t end)
{
	bool any = false;
	u32 i;

	for (i = 0; i < frames->nr && current_tag(vm); i++)
		any |= do_patiently(vm, frames->gfns[i] << PAGE_SHIFT, end,
				    announce_page) == 1;
	return any;
}

/**
 * pviommu_types_released() - pages are about to be given back to the host
 * @vm: the VM
 * @frames: the pages, a list
 * @end: until when it may wait for the server to make room, for all of the pages
 *
 * What they hold will be gone without a write: they are plain memory on return, and the
 * server has been told of each. A page of a table remains one.
 *
 * Context: process, no lock of the VM held. A server that makes none is disclaimed.
 */
void pviommu_types_released(struct pviommu_vm *vm, const struct pviommu_frames *frames,
			    ktime_t end)
{
	u32 i;

	for (i = 0; i < frames->nr && current_tag(vm); i++)
		do_patiently(vm, frames->gfns[i] << PAGE_SHIFT, end, set_plain);
}

/* Can it become plain: a page that is watched may have left the VM */
static int check_page(struct pviommu_vm *vm, u32 type, u64 gpa)
{
	struct pviommu_iface *iface = vm->iface;

	if (type != PVIOMMU_MEM_RAM_RW || iface->doorbell_ops->watched(iface->doorbell, gpa))
		return 0;
	return pviommu_guest_check(vm, gpa, PAGE_SIZE);
}

static int set_pages(struct pviommu_op_ctx *ctx, u32 type, u64 gpa, u64 size)
{
	int ret;

	while (ctx->done < size) {
		if (!*ctx->budget)
			return -EINPROGRESS;
		pviommu_spend(ctx->budget, PVIOMMU_COST_WATCH);
		ret = check_page(ctx->vm, type, gpa + ctx->done) ?:
		      set_page(ctx->vm, type, gpa + ctx->done);
		/*
		 * Somebody waits for all CPUs to leave KVM, or the server has to
		 * make room. How long that takes is not for those to bear whose ops
		 * come after this one: the guest asks again.
		 */
		if (ret == -EAGAIN)
			return -EBUSY;
		if (ret)
			return ret;
		ctx->done += PAGE_SIZE;
	}
	return 0;
}

/**
 * pviommu_op_type_set() - TYPE_SET
 * @ctx: where and how much
 * @op: the op
 * @result: set to the bytes that have the type now
 *
 * Return: 0, -EINPROGRESS, -EINVAL, -EOPNOTSUPP, -ERANGE, -ENOENT, -EFAULT,
 * -EBUSY, -EEXIST, -ENOSPC, -ENOMEM.
 */
int pviommu_op_type_set(struct pviommu_op_ctx *ctx, struct pviommu_op *op, u64 *result)
{
	u64 gpa = le64_to_cpu(op->mem.gpa), size = le64_to_cpu(op->mem.size), sum;
	u32 type = le32_to_cpu(op->mem.type);
	int ret;

	if (op->mem.reserved0 || op->mem.reserved)
		return -EINVAL;
	if (type != PVIOMMU_MEM_RAM_RW && type != PVIOMMU_MEM_IOREQ_SERVER)
		return -EOPNOTSUPP;
	if (!size || !PAGE_ALIGNED(gpa | size))
		return -EINVAL;
	if (check_add_overflow(gpa, size - 1, &sum))
		return -ERANGE;
	lockdep_assert_held(&ctx->vm->iface_lock);
	/* Without a transport that watches pages there are no types */
	if (!ctx->vm->iface->doorbell)
		return -EOPNOTSUPP;
	ret = set_pages(ctx, type, gpa, size);
	*result = ctx->done;
	return ret;
}

/**
 * pviommu_op_type_get() - TYPE_GET
 * @ctx: where
 * @op: the op
 * @result: set to the type of the page
 *
 * Return: 0, -EINVAL, -EFAULT.
 */
int pviommu_op_type_get(struct pviommu_op_ctx *ctx, struct pviommu_op *op, u64 *result)
{
	struct pviommu_iface *iface = ctx->vm->iface;
	u64 gpa = le64_to_cpu(op->mem.gpa);
	unsigned long tag = 0;

	if (op->mem.size || op->mem.type || op->mem.reserved0 || op->mem.reserved ||
	    !PAGE_ALIGNED(gpa))
		return -EINVAL;
	if (pviommu_guest_check(ctx->vm, gpa, PAGE_SIZE))
		return -EFAULT;
	if (iface->doorbell)
		tag = iface->doorbell_ops->watched(iface->doorbell, gpa);
	*result = PVIOMMU_MEM_RAM_RW;
	if (tag == PVIOMMU_TAG_TABLE)
		*result = PVIOMMU_MEM_TABLE;
	else if (tag && tag == current_tag(ctx->vm))
		*result = PVIOMMU_MEM_IOREQ_SERVER;
	return 0;
}
