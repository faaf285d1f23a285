// SPDX-License-Identifier: GPL-2.0-only
/*
 * Servers: processes of the host that are told what VMs write. The control
 * device, claims, and the rings.
 *
 * A ring has one producer at a time (server->lock) and our own count is the one
 * that matters. A CPU that writes and finds it full waits for room, asleep, and
 * looks again now and then: servers make room by writing to memory. An op, which
 * has locks, does not wait: it has room kept before it changes anything.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "pviommu_private.h"

static uint server_timeout_ms = 1000;
module_param(server_timeout_ms, uint, 0644);
MODULE_PARM_DESC(server_timeout_ms,
		 "How long a server may leave its ring full before it is dropped");

/* How often one that waits looks for room */
#define LOOK_US		200

/* So many records taken in the time-out, or half of the ring, are work */
#define WORTH_WAITING	64U

/* A write waits so many times the time-out for a server that works, but for others */
#define PATIENCE	4

/* So often the guest may make pages plain while one is read */
#define MAX_TRIES	100

struct pviommu_server {
	struct kref kref;		/* its file, the VM, who tells it */
	u32 vm_id;
	struct pid *pid;		/* who made the claim */
	u32 entries;
	size_t size;			/* of the ring */
	struct pviommu_server_ring *ring;
	struct eventfd_ctx *eventfd;	/* NULL for none */

	spinlock_t lock;		/* the rest */
	u32 prod;
	u32 kept;			/* room that is kept for records to come */
	u64 seq;
	ktime_t full_from;		/* when it was full; 0: the server has worked since */
	u32 full_cons;			/* what the server had taken then */
	bool ended;
};

/* An open control device */
struct server_file {
	struct mutex lock;		/* the rest */
	struct pviommu_server *server;	/* NULL: no claim was made */
	u32 vm_id;			/* of the first claim; 0: none was made */
};

/* ---- the ring -------------------------------------------------------- */

/**
 * pviommu_server_get() - hold a server
 * @server: the server
 */
void pviommu_server_get(struct pviommu_server *server)
{
	kref_get(&server->kref);
}

static void server_release(struct kref *kref)
{
	struct pviommu_server *server = container_of(kref, struct pviommu_server, kref);

	if (server->eventfd)
		eventfd_ctx_put(server->eventfd);
	put_pid(server->pid);
	vfree(server->ring);
	kfree(server);
}

/**
 * pviommu_server_put() - let go of a server
 * @server: the server
 *
 * Context: process.
 */
void pviommu_server_put(struct pviommu_server *server)
{
	kref_put(&server->kref, server_release);
}

static void signal_server(struct pviommu_server *server)
{
	if (server->eventfd)
		eventfd_signal(server->eventfd);
}

/**
 * pviommu_server_end() - the claim is no more
 * @server: the server, which is told
 */
void pviommu_server_end(struct pviommu_server *server)
{
	spin_lock(&server->lock);
	server->ended = true;
	/* Who sees it sees the last record, too */
	smp_store_release(&server->ring->state, PVIOMMU_SERVER_ENDED);
	spin_unlock(&server->lock);
	signal_server(server);
}

/*
 * Has the server taken as much since the ring was full as one that works takes in that
 * time? An entry now and then would do for each write, but not for one instruction
 * that makes a thousand of them; nor does a count that only pretends to move.
 */
static bool has_worked(const struct pviommu_server *server, u32 cons)
{
	return server->prod - cons <= server->entries &&
	       cons - server->full_cons >= min(server->entries / 2, WORTH_WAITING);
}

/* -EAGAIN: no room; -ETIMEDOUT: the server does not work, or not enough */
static int find_room(struct pviommu_server *server)
{
	u32 cons = READ_ONCE(server->ring->cons);
	ktime_t now;

	lockdep_assert_held(&server->lock);

	if (server->ended)
		return -ESHUTDOWN;
	if (server->full_from && has_worked(server, cons))
		server->full_from = 0;
	if (server->prod - cons < server->entries - server->kept)
		return 0;
	now = ktime_get();
	if (!server->full_from) {
		server->full_from = now;
		server->full_cons = cons;
	}
	return ktime_ms_delta(now, server->full_from) > READ_ONCE(server_timeout_ms) ?
	       -ETIMEDOUT : -EAGAIN;
}

/* There is room */
static void fill(struct pviommu_server *server, const struct pviommu_server_record *rec)
{
	struct pviommu_server_ring *ring = server->ring;
	struct pviommu_server_record *slot;

	lockdep_assert_held(&server->lock);

	slot = &ring->rec[server->prod & (server->entries - 1)];
	*slot = *rec;
	slot->seq = server->seq++;
	slot->thread = current->flags & PF_KTHREAD ? 0 : task_pid_nr(current);
	/* Who sees the count sees the record */
	smp_store_release(&ring->prod, ++server->prod);
}

static int ring_put(struct pviommu_server *server, const struct pviommu_server_record *rec)
{
	int ret;

	spin_lock(&server->lock);
	ret = find_room(server);
	if (!ret)
		fill(server, rec);
	spin_unlock(&server->lock);
	return ret;
}

/**
 * pviommu_server_keep_room() - have room for one record kept
 * @server: the server
 *
 * To be followed by pviommu_server_use_room().
 *
 * Context: any in which spinlocks may be taken; does not wait.
 * Return: 0; -EAGAIN no room now, the server is reminded; -ETIMEDOUT nor has it
 * made enough for server_timeout_ms; -ESHUTDOWN the claim has ended.
 */
int pviommu_server_keep_room(struct pviommu_server *server)
{
	int ret;

	spin_lock(&server->lock);
	ret = find_room(server);
	if (!ret)
		server->kept++;
	spin_unlock(&server->lock);
	if (ret == -EAGAIN)
		signal_server(server);
	return ret;
}

/**
 * pviommu_server_use_room() - put a record where room was kept for it
 * @server: the server
 * @rec: the record, but for number and thread; NULL: there is none after all
 *
 * Context: as pviommu_server_keep_room().
 */
void pviommu_server_use_room(struct pviommu_server *server,
			     const struct pviommu_server_record *rec)
{
	spin_lock(&server->lock);
	server->kept--;
	if (server->ended)
		rec = NULL;
	if (rec)
		fill(server, rec);
	spin_unlock(&server->lock);
	if (rec)
		signal_server(server);
}

/**
 * pviommu_server_patience() - until when a write may wait
 *
 * Return: the time for pviommu_server_tell(), the same for all records of a write.
 */
ktime_t pviommu_server_patience(void)
{
	return ktime_add_ms(ktime_get(), (u64)PATIENCE * READ_ONCE(server_timeout_ms));
}

/**
 * pviommu_server_tell() - put a record into a server's ring
 * @server: the server
 * @rec: the record, but for number and thread
 * @end: from pviommu_server_patience()
 * @hurry: set when it can't be waited for
 *
 * Waits while the ring is full. Records of one thread arrive in the order of the
 * calls.
 *
 * Context: process; may sleep until @end.
 * Return: 0; -ESHUTDOWN the claim has ended; -ETIMEDOUT the server has not made
 * enough room for server_timeout_ms, or none for us until @end; -EINTR the thread
 * is being killed, or @hurry.
 */
int pviommu_server_tell(struct pviommu_server *server, const struct pviommu_server_record *rec,
			ktime_t end, const bool *hurry)
{
	int ret;

	while ((ret = ring_put(server, rec)) == -EAGAIN) {
		if (ktime_after(ktime_get(), end))
			return -ETIMEDOUT;
		if (fatal_signal_pending(current) || READ_ONCE(*hurry))
			return -EINTR;
		signal_server(server);
		usleep_range(LOOK_US, 2 * LOOK_US);
	}
	if (!ret)
		signal_server(server);
	return ret;
}

/* ---- claims ----------------------------------------------------------- */

/* Memory for a ring: the caller's account, for as long as anybody maps it */
static void *ring_alloc(size_t size)
{
	unsigned int n = size >> PAGE_SHIFT, i;
	struct page **pages;
	void *ring = NULL;

	pages = kvcalloc(n, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return NULL;
	for (i = 0; i < n; i++) {
		pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!pages[i])
			break;
	}
	/* vfree() puts the pages, and frees the array */
	if (i == n)
		ring = vmap(pages, n, VM_MAP | VM_USERMAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (ring)
		return ring;
	while (i--)
		__free_page(pages[i]);
	kvfree(pages);
	return NULL;
}

static struct pviommu_server *server_create(const struct pviommu_server_claim *claim)
{
	struct pviommu_server *server;
	int ret = -ENOMEM;

	server = kzalloc(sizeof(*server), GFP_KERNEL_ACCOUNT);
	if (!server)
		return ERR_PTR(-ENOMEM);
	kref_init(&server->kref);
	spin_lock_init(&server->lock);
	server->vm_id = claim->vm;
	server->entries = claim->entries;
	server->size = PAGE_ALIGN(struct_size(server->ring, rec, claim->entries));
	server->ring = ring_alloc(server->size);
	if (!server->ring)
		goto err_free;
	server->ring->entries = claim->entries;
	server->pid = get_task_pid(current, PIDTYPE_TGID);
	if (claim->eventfd >= 0) {
		server->eventfd = eventfd_ctx_fdget(claim->eventfd);
		if (IS_ERR(server->eventfd)) {
			ret = PTR_ERR(server->eventfd);
			goto err_ring;
		}
	}
	return server;

err_ring:
	put_pid(server->pid);
	vfree(server->ring);
err_free:
	kfree(server);
	return ERR_PTR(ret);
}

/**
 * pviommu_server_info() - what there is to tell of a server
 * @server: the server
 * @info: its part of this is set
 */
void pviommu_server_info(struct pviommu_server *server, struct pviommu_types_info *info)
{
	info->pid = get_pid(server->pid);
	info->entries = server->entries;
	spin_lock(&server->lock);
	info->records = server->seq;
	/* The server may have written anything */
	info->waiting = min(server->prod - READ_ONCE(server->ring->cons), server->entries);
	spin_unlock(&server->lock);
}

static bool has_ended(struct pviommu_server *server)
{
	bool ended;

	spin_lock(&server->lock);
	ended = server->ended;
	spin_unlock(&server->lock);
	return ended;
}

/* End the claim of a file, if it has one (still) */
static void give_up(struct server_file *file)
{
	struct pviommu_vm *vm;

	lockdep_assert_held(&file->lock);

	if (!file->server)
		return;
	/* A VM that is gone has ended all claims */
	vm = pviommu_vm_get(file->server->vm_id);
	if (vm) {
		pviommu_types_disclaim(vm, file->server);
		pviommu_vm_put(vm);
	}
	pviommu_server_put(file->server);
	file->server = NULL;
}

static int do_claim(struct server_file *file, const struct pviommu_server_claim *claim)
{
	struct pviommu_server *server;
	struct pviommu_vm *vm;
	int ret;

	if (claim->entries < PVIOMMU_SERVER_MIN_ENTRIES ||
	    claim->entries > PVIOMMU_SERVER_MAX_ENTRIES ||
	    !is_power_of_2(claim->entries) || claim->eventfd < -1)
		return -EINVAL;
	/* Who is given the file is given one VM, and learns nothing of others */
	if (file->vm_id != claim->vm && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (file->server && !has_ended(file->server))
		return -EBUSY;
	vm = pviommu_vm_get(claim->vm);
	if (!vm)
		return -ENOENT;
	server = server_create(claim);
	ret = PTR_ERR_OR_ZERO(server);
	if (ret)
		goto out_put;
	ret = pviommu_types_claim(vm, server);
	if (ret) {
		pviommu_server_put(server);
		goto out_put;
	}
	give_up(file);
	file->server = server;
	file->vm_id = claim->vm;
out_put:
	pviommu_vm_put(vm);
	return ret;
}

static int do_disclaim(struct server_file *file, const struct pviommu_server_claim *claim)
{
	if (claim->entries || claim->eventfd != -1)
		return -EINVAL;
	if (!file->server || file->server->vm_id != claim->vm || has_ended(file->server))
		return -EACCES;
	give_up(file);
	return 0;
}

/* An argument, which may be longer than what is known here if nothing is said there */
static int get_arg(void *to, size_t size, unsigned long arg)
{
	u32 argsz;

	if (get_user(argsz, (u32 __user *)arg))
		return -EFAULT;
	if (argsz < size)
		return -EINVAL;
	if (argsz > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(to, size, (void __user *)arg, argsz);
}

static long ioctl_claim(struct server_file *file, unsigned long arg)
{
	struct pviommu_server_claim claim;
	int ret;

	ret = get_arg(&claim, sizeof(claim), arg);
	if (ret)
		return ret;
	if (claim.flags & ~PVIOMMU_CLAIM_WRITES || claim.type != PVIOMMU_MEM_IOREQ_SERVER)
		return -EOPNOTSUPP;
	mutex_lock(&file->lock);
	if (claim.flags)
		ret = do_claim(file, &claim);
	else
		ret = do_disclaim(file, &claim);
	mutex_unlock(&file->lock);
	return ret;
}

/* ---- reading ----------------------------------------------------------- */

/*
 * The VM is held for this page only: its end waits for whoever holds it, and to
 * write to the server's memory may take as long as the server likes.
 */
static int read_page(struct pviommu_server *server, u64 gpa, void *page, u32 len)
{
	struct pviommu_vm *vm = pviommu_vm_get(server->vm_id);
	unsigned int tries = 0;
	int ret;

	if (!vm)
		return -ENOENT;
	do {
		ret = fatal_signal_pending(current) ? -EINTR :
			pviommu_types_read(vm, server, gpa, page, len);
	} while (ret == -EAGAIN && ++tries < MAX_TRIES);
	pviommu_vm_put(vm);
	return ret;
}

static int read_pages(struct pviommu_server *server, const struct pviommu_server_read *req)
{
	u64 done, len;
	void *page;
	int ret = 0;

	page = (void *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	for (done = 0; done < req->size && !ret; done += len) {
		u64 gpa = req->gpa + done;

		len = min(PAGE_SIZE - offset_in_page(gpa), req->size - done);
		ret = read_page(server, gpa, page, len);
		if (!ret && copy_to_user(u64_to_user_ptr(req->addr + done), page, len))
			ret = -EFAULT;
		cond_resched();
	}
	free_page((unsigned long)page);
	return ret;
}

static long ioctl_read(struct server_file *file, unsigned long arg)
{
	struct pviommu_server_read req;
	struct pviommu_server *server;
	int ret;

	ret = get_arg(&req, sizeof(req), arg);
	if (ret)
		return ret;
	if (req.flags)
		return -EOPNOTSUPP;
	if (!req.size || req.size > PVIOMMU_SERVER_READ_MAX || req.gpa + req.size - 1 < req.gpa)
		return -EINVAL;
	mutex_lock(&file->lock);
	server = file->server;
	if (server)
		pviommu_server_get(server);
	mutex_unlock(&file->lock);
	if (!server)
		return -ENOENT;
	ret = has_ended(server) ? -ENOENT : read_pages(server, &req);
	pviommu_server_put(server);
	return ret;
}

/* ---- the control device -------------------------------------------------- */

static int server_open(struct inode *inode, struct file *filp)
{
	struct server_file *file;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	filp->private_data = file;
	return 0;
}

static int server_close(struct inode *inode, struct file *filp)
{
	struct server_file *file = filp->private_data;

	mutex_lock(&file->lock);
	give_up(file);
	mutex_unlock(&file->lock);
	mutex_destroy(&file->lock);
	kfree(file);
	return 0;
}

static long server_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case PVIOMMU_SERVER_CLAIM:
		return ioctl_claim(filp->private_data, arg);
	case PVIOMMU_SERVER_READ:
		return ioctl_read(filp->private_data, arg);
	default:
		return -ENOTTY;
	}
}

/* What a mapped ring is a mapping of, instead of the control device */
static const struct file_operations ring_fops = {
	.owner = THIS_MODULE,
};

/*
 * The mapping holds the pages, so that it outlives the server. It does not hold the file:
 * to close that ends the claim.
 */
static int map_ring(struct pviommu_server *server, struct vm_area_struct *vma)
{
	struct file *ring;
	int ret;

	ring = anon_inode_getfile("[pv-iommu-ring]", &ring_fops, NULL, O_RDWR);
	if (IS_ERR(ring))
		return PTR_ERR(ring);
	ret = remap_vmalloc_range(vma, server->ring, 0);
	if (!ret)
		vma_set_file(vma, ring);
	fput(ring);
	return ret;
}

static int server_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct server_file *file = filp->private_data;
	int ret = -ENOENT;

	if (vma->vm_pgoff)
		return -EINVAL;
	mutex_lock(&file->lock);
	if (file->server)
		ret = map_ring(file->server, vma);
	mutex_unlock(&file->lock);
	return ret;
}

static const struct file_operations server_fops = {
	.owner = THIS_MODULE,
	.open = server_open,
	.release = server_close,
	.unlocked_ioctl = server_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = server_mmap,
};

static struct miscdevice server_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pv-iommu",
	.fops = &server_fops,
	.mode = 0600,
};

/**
 * pviommu_servers_init() - make the control device
 *
 * Return: 0 or a negative errno.
 */
int pviommu_servers_init(void)
{
	return misc_register(&server_misc);
}

/**
 * pviommu_servers_exit() - undo pviommu_servers_init()
 */
void pviommu_servers_exit(void)
{
	misc_deregister(&server_misc);
}
