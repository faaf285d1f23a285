// SPDX-License-Identifier: GPL-2.0-only
/*
 * Servers: processes of the host that are told what VMs write. This is the control
 * device, with claims and rings.
 *
 * A ring has one producer at a time (server->lock), whose own count is the one that
 * matters. A vCPU that writes and finds the ring full sleeps and polls for room, as a
 * server makes room by just writing to memory. An op, which holds locks, does not wait:
 * it reserves room before it changes anything.
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
		 "Milliseconds that a server may leave its ring full before its claim ends");

/* How often a vCPU that waits polls for room */
#define LOOK_US		200

/* A server works if it takes so many records, or half of its ring, within the timeout */
#define WORTH_WAITING	64U

/* A write waits so many timeouts for a server that works, but makes room for others first */
#define WRITE_TIMEOUTS	4

/* How often a read is tried again because the guest made some page plain meanwhile */
#define MAX_TRIES	100

struct pviommu_server {
	struct kref kref;		/* held by its file, its VM, and calls that use it */
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
	ktime_t full_from;		/* since when it is full; 0: the server works */
	u32 full_cons;			/* cons at that time */
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
 * pviommu_server_get() - take a reference on a server
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
 * pviommu_server_put() - drop a reference on a server
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
 * pviommu_server_end() - tell a server that its claim has ended
 * @server: the server; gets no records any more
 */
void pviommu_server_end(struct pviommu_server *server)
{
	spin_lock(&server->lock);
	server->ended = true;
	/* A server that sees the state also sees the last record */
	smp_store_release(&server->ring->state, PVIOMMU_SERVER_ENDED);
	spin_unlock(&server->lock);
	signal_server(server);
}

/*
 * Whether the server has taken as many records since the ring was full as one that works
 * takes in the timeout. It is not enough to take one now and then: a single instruction may
 * make a thousand records. Nor is a cons that is beyond prod.
 */
static bool has_worked(const struct pviommu_server *server, u32 cons)
{
	return server->prod - cons <= server->entries &&
	       cons - server->full_cons >= min(server->entries / 2, WORTH_WAITING);
}

/* -EAGAIN: no room now; -ETIMEDOUT: the server takes no records, or too few */
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
	/* A server that sees the count also sees the record */
	smp_store_release(&ring->prod, ++server->prod);
}

static int put_record(struct pviommu_server *server, const struct pviommu_server_record *rec)
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
 * pviommu_server_keep_room() - reserve room for one record
 * @server: the server
 *
 * If it succeeds, pviommu_server_use_room() has to follow.
 *
 * Context: any in which spinlocks may be taken; does not wait.
 * Return: 0; -EAGAIN no room now, and the server was signalled; -ETIMEDOUT the server has
 * not made enough room for server_timeout_ms; -ESHUTDOWN the claim has ended.
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
 * pviommu_server_use_room() - put a record into room that was reserved
 * @server: the server
 * @rec: the record; its number and thread are filled in here. NULL gives the room back.
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
 * pviommu_server_deadline() - until when a write that begins now may wait for a server
 *
 * Return: the time, for pviommu_server_tell() of all records of this write.
 */
ktime_t pviommu_server_deadline(void)
{
	return ktime_add_ms(ktime_get(), (u64)WRITE_TIMEOUTS * READ_ONCE(server_timeout_ms));
}

/**
 * pviommu_server_tell() - put a record into a server's ring
 * @server: the server
 * @rec: the record; its number and thread are filled in here
 * @end: from pviommu_server_deadline()
 * @hurry: may be set at any time: stop waiting
 *
 * Waits while the ring is full. Records of one thread arrive in the order of the
 * calls.
 *
 * Context: process; may sleep until @end.
 * Return: 0; -ESHUTDOWN the claim has ended; -ETIMEDOUT the server has not made
 * enough room for server_timeout_ms, or none for this record until @end; -EINTR the thread
 * is being killed, or @hurry was set. After an error the record is not in the ring.
 */
int pviommu_server_tell(struct pviommu_server *server, const struct pviommu_server_record *rec,
			ktime_t end, const bool *hurry)
{
	int ret;

	while ((ret = put_record(server, rec)) == -EAGAIN) {
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

/* Memory for a ring. It is charged to the caller's cgroup for as long as anybody maps it. */
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
 * pviommu_server_info() - describe a server to the administrator
 * @server: the server
 * @info: pid, entries, waiting and records are filled in; the caller puts @info->pid
 */
void pviommu_server_info(struct pviommu_server *server, struct pviommu_types_info *info)
{
	info->pid = get_pid(server->pid);
	info->entries = server->entries;
	spin_lock(&server->lock);
	info->records = server->seq;
	/* The server may have written nonsense to cons */
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
	/* If the VM is gone, the claim has ended with it */
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
	/* A process that was passed the file may claim the same VM again, but no other */
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
 * References on the VM are held for one page at a time, as releasing the VM waits for them:
 * copying to the server's memory may take as long as the server likes.
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

/* A mapped ring is a mapping of such a file, instead of the control device */
static const struct file_operations ring_fops = {
	.owner = THIS_MODULE,
};

/*
 * The mapping holds references on the pages, so it may outlive the server. It must not hold
 * one on the control device's file, as the last close of that ends the claim.
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
