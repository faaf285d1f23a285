// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: counters and types of memory in debugfs.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/* How many events one write may make up */
#define INJECT_MAX	4096

struct host_counter {
	const char *name;
	size_t offset;
};

#define HOST_COUNTER(field) \
	{ "host_" #field, offsetof(struct pviommu_stats, field) }

static const struct host_counter host_counters[] = {
	HOST_COUNTER(kicks_tracked),
	HOST_COUNTER(kicks_config),
	HOST_COUNTER(ops),
	HOST_COUNTER(ops_failed),
	HOST_COUNTER(pages_mapped),
	HOST_COUNTER(pages_pinned),
	HOST_COUNTER(domains),
	HOST_COUNTER(mappings),
	HOST_COUNTER(faults),
	HOST_COUNTER(events_lost),
	HOST_COUNTER(pages_lent),
};

static void show_guest(struct seq_file *s, struct pviommu *pv)
{
	u64 tracked = 0, config = 0, ops = 0, coalesced = 0;
	unsigned int i;

	for (i = 0; i < pv->nr_rings; i++) {
		struct pviommu_ring *ring = &pv->rings[i];

		tracked += READ_ONCE(ring->nr_tracked);
		config += READ_ONCE(ring->nr_config);
		ops += READ_ONCE(ring->nr_ops);
		coalesced += READ_ONCE(ring->nr_coalesced);
	}
	seq_printf(s, "rings %u\n", pv->nr_rings);
	seq_printf(s, "tracked %u\n", READ_ONCE(pv->tracked));
	seq_printf(s, "broken %u\n", READ_ONCE(pv->broken));
	seq_printf(s, "max_domains %u\n", pv->max_domains);
	seq_printf(s, "kicks_tracked %llu\n", tracked);
	seq_printf(s, "kicks_config %llu\n", config);
	seq_printf(s, "ops_queued %llu\n", ops);
	seq_printf(s, "coalesced %llu\n", coalesced);
}

/* Without an endpoint the host can't be reached */
static bool is_there(struct pviommu *pv)
{
	return !READ_ONCE(pv->broken) && !list_empty(&pv->endpoints);
}

static int show_host(struct seq_file *s, struct pviommu *pv)
{
	struct pviommu_stats *stats;
	struct pviommu_op op;
	unsigned int i;
	int ret;

	/* The host writes by physical address: kmalloc() memory is contiguous */
	stats = kzalloc(sizeof(*stats), GFP_KERNEL);
	if (!stats)
		return -ENOMEM;
	pviommu_op_init(&op, PVIOMMU_OP_STATS);
	op.buf.gpa = cpu_to_le64(virt_to_phys(stats));
	op.buf.size = cpu_to_le32(sizeof(*stats));
	ret = pviommu_request(pv, &op, NULL);
	for (i = 0; !ret && i < ARRAY_SIZE(host_counters); i++) {
		__le64 *value = (void *)stats + host_counters[i].offset;

		seq_printf(s, "%s %llu\n", host_counters[i].name,
			   le64_to_cpu(*value));
	}
	kfree(stats);
	return ret;
}

/* The guest's own numbers first: those of STATS include the doorbell for STATS itself */
static int stats_show(struct seq_file *s, void *unused)
{
	struct pviommu *pv = s->private;

	show_guest(s, pv);
	if (!(pv->features & PVIOMMU_F_STATS) || !is_there(pv))
		return 0;
	return show_host(s, pv);
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* ---- types of memory ------------------------------------------------ */

/* How much to change by one op, and how long to wait before it is tried again */
#define TYPE_PART	SZ_2M
#define TYPE_WAIT_MS	5

/* An open file, and the page that was written to it last */
struct mem_type_file {
	struct pviommu *pv;
	u64 gpa;
};

static int mem_type_open(struct inode *inode, struct file *filp)
{
	struct mem_type_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	file->pv = inode->i_private;
	filp->private_data = file;
	return 0;
}

static int mem_type_release(struct inode *inode, struct file *filp)
{
	kfree(filp->private_data);
	return 0;
}

/*
 * Set the type of a part, small enough that others don't wait long. On -EBUSY some of it may
 * be done: the host's server has made no room yet, or its memory map is changing.
 */
static int set_type_of(struct pviommu *pv, u64 gpa, u64 size, u32 type, u64 *done)
{
	struct pviommu_op op;
	int ret;

	pviommu_op_init(&op, PVIOMMU_OP_TYPE_SET);
	op.mem.gpa = cpu_to_le64(gpa);
	op.mem.size = cpu_to_le64(size);
	op.mem.type = cpu_to_le32(type);
	ret = pviommu_request_long(pv, &op, done);
	if (ret != -EBUSY)
		return ret;
	return msleep_interruptible(TYPE_WAIT_MS) ? -ERESTARTSYS : 0;
}

static int set_type(struct pviommu *pv, u64 gpa, u64 size, u32 type)
{
	u64 done = 0, at;
	int ret = 0;

	for (at = 0; !ret && at < size; at += done) {
		ret = is_there(pv) ? set_type_of(pv, gpa + at, min_t(u64, size - at, TYPE_PART),
						 type, &done) : -ENODEV;
		cond_resched();
	}
	return ret;
}

/* Write "GPA SIZE TYPE", the first two in hexadecimal: set the type of pages */
static ssize_t mem_type_write(struct file *filp, const char __user *ubuf, size_t len,
			      loff_t *pos)
{
	struct mem_type_file *file = filp->private_data;
	u64 gpa, size, last;
	char buf[64];
	u32 type;
	int ret;

	if (len >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, len))
		return -EFAULT;
	buf[len] = 0;
	if (sscanf(buf, "%llx %llx %u", &gpa, &size, &type) != 3)
		return -EINVAL;
	/* Checked here, so that it is refused as a whole and not from some part on */
	if (!size || !PAGE_ALIGNED(gpa | size))
		return -EINVAL;
	if (check_add_overflow(gpa, size - 1, &last))
		return -ERANGE;
	ret = set_type(file->pv, gpa, size, type);
	if (ret)
		return ret;
	file->gpa = gpa;
	return len;
}

/* Read: the type of the first of the pages that were written last */
static ssize_t mem_type_read(struct file *filp, char __user *ubuf, size_t len, loff_t *pos)
{
	struct mem_type_file *file = filp->private_data;
	struct pviommu_op op;
	char buf[24];
	u64 type;
	int ret;

	pviommu_op_init(&op, PVIOMMU_OP_TYPE_GET);
	op.mem.gpa = cpu_to_le64(file->gpa);
	if (!is_there(file->pv))
		return -ENODEV;
	ret = pviommu_request(file->pv, &op, &type);
	if (ret)
		return ret;
	return simple_read_from_buffer(ubuf, len, pos, buf,
				       scnprintf(buf, sizeof(buf), "%llu\n", type));
}

static const struct file_operations mem_type_fops = {
	.owner = THIS_MODULE,
	.open = mem_type_open,
	.release = mem_type_release,
	.write = mem_type_write,
	.read = mem_type_read,
};

/* Restart as after a sleep, which also repairs an interface that is broken. For tests. */
static int restart_set(void *data, u64 unused)
{
	struct pviommu *pv = data;
	int ret;

	mutex_lock(&pv->lock);
	pviommu_events_flush(pv);
	ret = pviommu_restart_live(pv);
	mutex_unlock(&pv->lock);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(restart_fops, NULL, restart_set, "%llu\n");

/* Write "TYPE IOVA COUNT [GPA]": handle events as if the host had sent them. For tests. */
static ssize_t inject_write(struct file *file, const char __user *from,
			    size_t len, loff_t *pos)
{
	unsigned int count;
	char text[64];
	u16 type;
	u64 addr, gpa = 0;
	int ret;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, len))
		return -EFAULT;
	text[len] = 0;
	if (sscanf(text, "%hu %llx %u %llx", &type, &addr, &count, &gpa) < 3 ||
	    count > INJECT_MAX)
		return -EINVAL;
	ret = pviommu_events_inject(file->private_data, type, addr, count, gpa);
	return ret ?: len;
}

static const struct file_operations inject_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = inject_write,
};

/**
 * pviommu_debugfs_add() - make our files in debugfs
 * @pv: the interface, started
 */
void pviommu_debugfs_add(struct pviommu *pv)
{
	pv->debugfs = debugfs_create_dir("pv-iommu", NULL);
	debugfs_create_file("stats", 0444, pv->debugfs, pv, &stats_fops);
	debugfs_create_file("mem_type", 0600, pv->debugfs, pv, &mem_type_fops);
	debugfs_create_file_unsafe("restart", 0200, pv->debugfs, pv,
				   &restart_fops);
	debugfs_create_file("inject", 0200, pv->debugfs, pv, &inject_fops);
	pviommu_balloon_add(&pv->balloon, pv->debugfs);
}

/**
 * pviommu_debugfs_remove() - undo pviommu_debugfs_add()
 * @pv: the interface
 */
void pviommu_debugfs_remove(struct pviommu *pv)
{
	debugfs_remove(pv->debugfs);
	pviommu_balloon_empty(&pv->balloon);
}
