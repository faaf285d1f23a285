// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: a balloon, for a VM whose VMM has none that takes
 * devices into account. The administrator writes its size into a file in debugfs. To
 * grow, it takes pages from the kernel and gives them back to the host; to shrink, it
 * gives them back to the kernel. It also shrinks when the kernel is out of memory, before a
 * process is killed for that.
 */
#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "pv-iommu.h"

/* As many pages as one release takes; also the host's large page size */
#define BLOCK_ORDER	9

/* How many pages the kernel gets at a time when it is out of memory: 4 MiB */
#define OOM_PAGES	1024L

/* How many available pages the balloon leaves to the kernel when it grows: 16 MiB */
#define LEFT_PAGES	4096L

/* Pages of the balloon that were allocated together */
struct block {
	struct list_head node;
	struct page *page;
	unsigned int order;
};

/* The blocks of one release */
struct load {
	struct list_head blocks;
	unsigned int count;
	unsigned long pfns[PV_IOMMU_RELEASE_MAX];
};

static void block_free(struct block *block)
{
	__free_pages(block->page, block->order);
	list_del(&block->node);
	kfree(block);
}

/* Allocate a block of at most @max pages, without reclaiming memory for it */
static struct block *block_alloc(unsigned int max)
{
	struct block *block = kmalloc(sizeof(*block), GFP_KERNEL);

	if (!block)
		return NULL;
	block->order = min_t(unsigned int, ilog2(max), BLOCK_ORDER);
	for (;;) {
		block->page = alloc_pages(GFP_HIGHUSER | __GFP_NOWARN | __GFP_NORETRY |
					  __GFP_NOMEMALLOC, block->order);
		if (block->page)
			return block;
		if (!block->order--)
			break;
	}
	kfree(block);
	return NULL;
}

/* Allocate blocks of up to @max pages in all. Return: how many pages they have */
static unsigned int load_fill(struct load *load, unsigned long max)
{
	struct block *block;
	unsigned int i;

	INIT_LIST_HEAD(&load->blocks);
	load->count = 0;
	max = min(max, PV_IOMMU_RELEASE_MAX);
	while (load->count < max) {
		block = block_alloc(max - load->count);
		if (!block)
			break;
		list_add(&block->node, &load->blocks);
		for (i = 0; i < 1U << block->order; i++)
			load->pfns[load->count++] = page_to_pfn(block->page) + i;
	}
	return load->count;
}

static void load_give_back(struct load *load)
{
	struct block *block, *next;

	list_for_each_entry_safe(block, next, &load->blocks, node)
		block_free(block);
}

/* Leak the pages: the host may take them at any time, so they can't be used any more */
static void load_forget(struct load *load)
{
	struct block *block, *next;

	pr_err("the host does not say what has become of %u pages, they are lost\n",
	       load->count);
	list_for_each_entry_safe(block, next, &load->blocks, node)
		kfree(block);
}

static int balloon_grow(struct pviommu_balloon *balloon, struct load *load,
			unsigned long npages)
{
	u64 freed;
	int ret;

	lockdep_assert_held(&balloon->lock);
	if (si_mem_available() < LEFT_PAGES || !load_fill(load, npages))
		return -ENOMEM;
	ret = pv_iommu_release(load->pfns, load->count, &freed);
	if (ret == -EIO || ret == -ETIMEDOUT) {
		load_forget(load);
	} else if (ret) {
		load_give_back(load);
	} else {
		list_splice(&load->blocks, &balloon->blocks);
		balloon->npages += load->count;
		balloon->freed += freed;
	}
	return ret;
}

/* Shrink to @npages or less, as only whole blocks are freed */
static void balloon_shrink(struct pviommu_balloon *balloon, unsigned long npages)
{
	struct block *block;

	lockdep_assert_held(&balloon->lock);
	while (balloon->npages > npages) {
		block = list_first_entry(&balloon->blocks, struct block, node);
		balloon->npages -= 1UL << block->order;
		block_free(block);
		cond_resched();
	}
	/* What it has freed of each block is not known, but no more than all of what is left */
	balloon->freed = min_t(u64, balloon->freed, (u64)balloon->npages << PAGE_SHIFT);
}

/*
 * The kernel is out of memory. If the balloon is growing at the time, the kernel does without it:
 * the grower, which holds the lock, may itself be waiting for memory.
 */
static int balloon_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	struct pviommu_balloon *balloon = container_of(nb, struct pviommu_balloon, oom);
	long before;

	if (!mutex_trylock(&balloon->lock))
		return NOTIFY_OK;
	before = balloon->npages;
	balloon_shrink(balloon, max(0L, before - OOM_PAGES));
	if (before != balloon->npages)
		pr_info_ratelimited("out of memory, the balloon shrinks to %lu pages\n",
				    balloon->npages);
	*(unsigned long *)freed += before - balloon->npages;
	mutex_unlock(&balloon->lock);
	return NOTIFY_OK;
}

static int balloon_set(struct pviommu_balloon *balloon, unsigned long npages)
{
	struct load *load = kmalloc(sizeof(*load), GFP_KERNEL);
	int ret = 0;

	if (!load)
		return -ENOMEM;
	ret = mutex_lock_interruptible(&balloon->lock);
	if (ret)
		goto out_free;
	balloon_shrink(balloon, npages);
	while (!ret && balloon->npages < npages) {
		ret = signal_pending(current) ? -EINTR :
		      balloon_grow(balloon, load, npages - balloon->npages);
		cond_resched();
	}
	mutex_unlock(&balloon->lock);
out_free:
	kfree(load);
	return ret;
}

/* Write: its new size in bytes. Read: its size, and how many bytes of it the host has freed. */
static ssize_t balloon_write(struct file *file, const char __user *from, size_t len,
			     loff_t *pos)
{
	struct pviommu_balloon *balloon = file->private_data;
	unsigned long long size;
	int ret;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	ret = kstrtoull_from_user(from, len, 0, &size);
	if (ret)
		return ret;
	if (!PAGE_ALIGNED(size))
		return -EINVAL;
	ret = balloon_set(balloon, size >> PAGE_SHIFT);
	return ret ?: len;
}

static ssize_t balloon_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct pviommu_balloon *balloon = file->private_data;
	char text[64];
	int n;

	mutex_lock(&balloon->lock);
	n = scnprintf(text, sizeof(text), "%llu %llu\n", (u64)balloon->npages << PAGE_SHIFT,
		      balloon->freed);
	mutex_unlock(&balloon->lock);
	return simple_read_from_buffer(to, len, pos, text, n);
}

static const struct file_operations balloon_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = balloon_write,
	.read = balloon_read,
};

/**
 * pviommu_balloon_init() - set up an empty balloon
 * @balloon: the balloon
 */
void pviommu_balloon_init(struct pviommu_balloon *balloon)
{
	mutex_init(&balloon->lock);
	INIT_LIST_HEAD(&balloon->blocks);
	balloon->oom.notifier_call = balloon_oom;
}

/**
 * pviommu_balloon_add() - create its file
 * @balloon: the balloon
 * @dir: our folder in debugfs
 *
 * From here on until pviommu_balloon_empty() the kernel can have its pages back.
 */
void pviommu_balloon_add(struct pviommu_balloon *balloon, struct dentry *dir)
{
	register_oom_notifier(&balloon->oom);
	debugfs_create_file("balloon", 0600, dir, balloon, &balloon_fops);
}

/**
 * pviommu_balloon_empty() - give all its pages back to the kernel
 * @balloon: the balloon, which has no file any more
 */
void pviommu_balloon_empty(struct pviommu_balloon *balloon)
{
	unregister_oom_notifier(&balloon->oom);
	mutex_lock(&balloon->lock);
	balloon_shrink(balloon, 0);
	mutex_unlock(&balloon->lock);
}
