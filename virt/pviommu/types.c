// SPDX-License-Identifier: GPL-2.0-only
/*
 * Types of a VM's pages: plain memory, or memory of which a server on the host is told
 * each write.
 *
 * The doorbell transport watches the pages of the server's type, and its record of them
 * is the only one. Each has a tag: the number of the claim under which it got its type.
 * When a claim ends, its tag is stale and its pages are plain memory at once. They are
 * unwatched lazily, by a work item and by whoever writes to them.
 *
 * Pages of guest-owned tables may be watched as well, for the engine itself
 * (table_watch.c). They have a tag that no claim has, and the guest can't change their
 * type.
 *
 * Watching also ends when memory leaves or the interface is stopped. That must not wait
 * for a server, so the work item tells it later which pages it has lost.
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

/* The server that claimed under @tag, referenced; NULL if that claim has ended */
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

/* Send a record to the server that claimed under @tag; false if that claim has ended */
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

/* Unwatch some stale pages, from *@gpa on; true if there may be more */
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

/* Take the record of lost pages, and the tag of their claim; false if none were lost */
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
		tell(vm, tag, &rec, pviommu_server_deadline());
}

/**
 * pviommu_types_init() - set up the memory types of a VM; it has no server
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
 * pviommu_types_exit() - end the claim, if there is one, and undo pviommu_types_init()
 * @vm: the VM, which can't be looked up any more
 *
 * Context: process; may sleep.
 */
void pviommu_types_exit(struct pviommu_vm *vm)
{
	pviommu_types_disclaim(vm, NULL);
	cancel_work_sync(&vm->types.work);
	xa_destroy(&vm->types.tables);
	mutex_destroy(&vm->types.change_lock);
}

/**
 * pviommu_types_claim() - claim the type for a server
 * @vm: the VM
 * @server: the server; the VM holds a reference until the claim ends
 *
 * Context: any in which spinlocks may be taken.
 * Return: 0, or -EBUSY if another server has the claim.
 */
int pviommu_types_claim(struct pviommu_vm *vm, struct pviommu_server *server)
{
	int ret = -EBUSY;

	spin_lock(&vm->types.lock);
	if (!vm->types.server) {
		pviommu_server_get(server);
		vm->types.server = server;
		/* From 1 to PVIOMMU_MAX_TAG - 1, so that a tag is not reused soon */
		vm->types.tag = vm->types.tag % (PVIOMMU_TAG_TABLE - 1) + 1;
		no_lost(&vm->types);
		ret = 0;
	}
	spin_unlock(&vm->types.lock);
	return ret;
}

/**
 * pviommu_types_disclaim() - end a claim
 * @vm: the VM
 * @server: the server that has the claim; NULL for any
 *
 * On return all pages of the type are plain memory. The server is told by the state in its
 * ring. Nothing happens if it has no claim (any more).
 *
 * Context: process; takes spinlocks only, so any other lock may be held.
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
 * pviommu_types_hurry() - switch whether vCPUs that write wait for the server
 * @vm: the VM, control_lock held
 * @hurry: they don't: the doorbell is being destroyed, which has to wait for them. The
 *	server will be told that all pages have become plain.
 */
void pviommu_types_hurry(struct pviommu_vm *vm, bool hurry)
{
	lockdep_assert_held(&vm->control_lock);
	WRITE_ONCE(vm->types.hurry, hurry);
}

/* The server that has the claim, referenced, and the tag of the claim; NULL if there is none */
static struct pviommu_server *claimant_now(struct pviommu_vm *vm, unsigned long *tag)
{
	*tag = current_tag(vm);
	return *tag ? claimant(vm, *tag) : NULL;
}

/**
 * pviommu_types_info() - describe the types of a VM's memory to the administrator
 * @vm: the VM
 * @info: filled in; the caller puts @info->pid
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
	ktime_t end = pviommu_server_deadline();

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
 * @gpa: where to copy from
 * @buf: destination
 * @len: bytes, all within a page
 *
 * On success the page was of the type until it had been read. Faulting it in may take long,
 * and what the guest writes to a page after it has made it plain is not for the server.
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
	/* Pairs with the barrier in set_plain() */
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
 * Ops run with the locks of a doorbell held, and a server that reads memory may need these
 * before it makes room in its ring. So ops don't wait for the server. They reserve room for
 * a record before they change the page, so that an op that fails has changed nothing.
 */

/* Reserve room for a record. -ENOENT: the claim has ended; -EAGAIN: there is no room now */
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

/* Use the room that keep_room() has reserved; with @type 0 there is no record after all */
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
	/* Before the guest can store to the plain page: see pviommu_types_read() */
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
	/* If the claim has ended meanwhile, the work item may have missed this page */
	if (!pviommu_page_wanted(vm, tag)) {
		iface->doorbell_ops->unwatch(iface->doorbell, gpa);
		return -ENOENT;
	}
	return 0;
}

/*
 * change_lock makes the records in the server's ring have the order of the changes, whichever
 * ring they come by. And no page gets the tag of a claim that another one has followed.
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

/* Tell the server that a page will be taken from it. 1: it was told; 0: no server has it */
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

/* Until when to wait for servers to make room, for all pages of a list */
struct patience {
	unsigned long tag;	/* of the claim that there was at last */
	ktime_t end;		/* for the server of that claim */
	ktime_t last;		/* for any server */
};

/* The server that claimed under @tag has no room: wait, or disclaim it if its time is up */
static void wait_for_room(struct pviommu_vm *vm, unsigned long tag, struct patience *patience)
{
	struct pviommu_server *server;

	/* Each server has its own time, as far as there is some left */
	if (tag != patience->tag) {
		patience->tag = tag;
		patience->end = min(pviommu_server_deadline(), patience->last);
	}
	if (!ktime_after(ktime_get(), patience->end)) {
		schedule_timeout_uninterruptible(1);
		return;
	}
	server = claimant(vm, tag);
	if (!server)
		return;
	disclaim_slow(vm, server);
	pviommu_server_put(server);
}

/*
 * Call @fn for a page, and again while there is no room to tell the server. That may be
 * waited for here, as the caller holds no locks. A server that has made no room in time is
 * disclaimed, and then there is nothing to wait for.
 */
static int retry_until(struct pviommu_vm *vm, u64 gpa, struct patience *patience,
		       int (*fn)(struct pviommu_vm *vm, struct pviommu_iface *iface, u64 gpa))
{
	unsigned long tag = 0;
	int ret;

	do {
		down_read(&vm->iface_lock);
		ret = 0;
		if (vm->iface && vm->iface->doorbell) {
			mutex_lock(&vm->types.change_lock);
			tag = vm->iface->doorbell_ops->watched(vm->iface->doorbell, gpa);
			ret = fn(vm, vm->iface, gpa);
			mutex_unlock(&vm->types.change_lock);
		}
		up_read(&vm->iface_lock);
		if (ret == -EAGAIN)
			wait_for_room(vm, tag, patience);
	} while (ret == -EAGAIN);
	return ret;
}

/**
 * pviommu_types_announce() - tell the server that pages will be given back to the host
 * @vm: the VM
 * @frames: the pages, a list
 * @end: until when to wait for the server to make room, for all of the pages
 * @last: until when to wait for servers that claim meanwhile; not before @end
 *
 * The server gets a record for each of its pages, which keep their type until
 * pviommu_types_released(). A server that makes no room is disclaimed.
 *
 * Context: process, no lock of the VM held; may sleep until @last.
 * Return: whether any of the pages is of the server's type.
 */
bool pviommu_types_announce(struct pviommu_vm *vm, const struct pviommu_frames *frames,
			    ktime_t end, ktime_t last)
{
	struct patience patience = { .tag = current_tag(vm), .end = end, .last = last };
	bool any = false;
	u32 i;

	for (i = 0; i < frames->nr && current_tag(vm); i++)
		any |= retry_until(vm, frames->gfns[i] << PAGE_SHIFT, &patience,
				   announce_page) == 1;
	return any;
}

/**
 * pviommu_types_released() - make pages plain, as they are about to be given back to the host
 * @vm: the VM
 * @frames: the pages, a list
 * @end: until when to wait for the server to make room, for all of the pages
 * @last: until when to wait for servers that claim meanwhile; not before @end
 *
 * Their contents will be lost without a write. On return they are plain memory, and the
 * server got a record for each. A page of a table stays one. A server that makes no room is
 * disclaimed.
 *
 * Context: process, no lock of the VM held; may sleep until @last.
 */
void pviommu_types_released(struct pviommu_vm *vm, const struct pviommu_frames *frames,
			    ktime_t end, ktime_t last)
{
	struct patience patience = { .tag = current_tag(vm), .end = end, .last = last };
	u32 i;

	for (i = 0; i < frames->nr && current_tag(vm); i++)
		retry_until(vm, frames->gfns[i] << PAGE_SHIFT, &patience, set_plain);
}

/* Whether a page can become plain: it is RAM, or is watched although it has left the VM */
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
		 * Somebody waits for this CPU to leave KVM, or the server has to make
		 * room. The guest has to ask again, so that the ops behind this one in
		 * the ring need not wait.
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
 * @ctx: context of the op
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
 * @ctx: context of the op
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
