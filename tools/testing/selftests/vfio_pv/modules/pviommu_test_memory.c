// SPDX-License-Identifier: GPL-2.0-only
/*
 * Physical memory, to be read by root at the host level, for a look at the tables of the IOMMU
 * (see lib/pv_vtd.c). The monitor of the emulator can read it too, but takes a while for it.
 *
 * The offset in /sys/kernel/debug/pviommu_test_memory is the physical address. RAM is read a
 * page at most at a time, a device's registers 64 bits at a time.
 */
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#define MEMORY_NAME "pviommu_test_memory"

static struct dentry *memory_file;

static ssize_t memory_read_ram(char __user *to, size_t size, u64 addr)
{
	size = min_t(size_t, size, PAGE_SIZE - offset_in_page(addr));
	return copy_to_user(to, phys_to_virt(addr), size) ? -EFAULT : size;
}

static ssize_t memory_read_register(char __user *to, size_t size, u64 addr)
{
	void __iomem *reg;
	u64 word;

	if (size != sizeof(word) || !IS_ALIGNED(addr, sizeof(word)))
		return -EINVAL;
	reg = ioremap(addr, sizeof(word));
	if (!reg)
		return -ENOMEM;
	word = readq(reg);
	iounmap(reg);
	return copy_to_user(to, &word, sizeof(word)) ? -EFAULT : sizeof(word);
}

static ssize_t memory_read(struct file *file, char __user *to, size_t size, loff_t *ppos)
{
	u64 addr = *ppos;

	return page_is_ram(PHYS_PFN(addr)) ? memory_read_ram(to, size, addr) :
					     memory_read_register(to, size, addr);
}

static const struct file_operations memory_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = memory_read,
	.llseek = default_llseek,
};

static int __init memory_init(void)
{
	memory_file = debugfs_create_file(MEMORY_NAME, 0400, NULL, NULL, &memory_fops);
	return PTR_ERR_OR_ZERO(memory_file);
}

static void __exit memory_exit(void)
{
	debugfs_remove(memory_file);
}

module_init(memory_init);
module_exit(memory_exit);

MODULE_DESCRIPTION("Physical memory to read, for tests of the paravirtual IOMMU");
MODULE_LICENSE("GPL");
