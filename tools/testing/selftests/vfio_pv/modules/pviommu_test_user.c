// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest driver that uses PASIDs: it allocates two domains, attaches one of them to an edu device
 * by PASID 1, and has the device copy data, to see where it arrives. The device itself can't
 * issue PASIDs; the host's IOMMU treats its requests as requests with a PASID, see
 * pviommu_test_pasid.
 *
 * Parameters, in /sys/module/pviommu_test_user/parameters: "attach" takes the number of a
 * domain, 1 or 2, or 0 to detach; "reached" tells in which domain's page the device's data
 * arrives, or 0 if in none.
 */
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>

#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_DMA_RUN	1
#define EDU_DMA_TO_RAM	2
#define EDU_BUFFER	0x40000
/* The device takes 0.1 s for a transfer */
#define EDU_WAIT_MS	5
#define EDU_TRIES	2000

#define USER_PASID	1
#define USER_DOMAINS	2
#define USER_FROM	0x100000	/* IOVAs */
#define USER_TO		0x200000
#define USER_LEN	256

static DEFINE_MUTEX(user_lock); /* all of this */
static struct pci_dev *user_pdev;
static void __iomem *user_regs;
static struct page *user_from;
static struct page *user_to[USER_DOMAINS];
static struct iommu_domain *user_domain[USER_DOMAINS];
static unsigned int user_attached;	/* 1 + index, 0: none */
static struct iommu_attach_handle user_handle;
static u8 user_round;

/* ---- DMA ---------------------------------------------------------------- */

static bool user_dma(u64 src, u64 dst, u32 cmd)
{
	unsigned int i;

	writeq(src, user_regs + EDU_DMA_SRC);
	writeq(dst, user_regs + EDU_DMA_DST);
	writeq(USER_LEN, user_regs + EDU_DMA_COUNT);
	writeq(cmd | EDU_DMA_RUN, user_regs + EDU_DMA_CMD);
	for (i = 0; i < EDU_TRIES; i++) {
		if (!(readq(user_regs + EDU_DMA_CMD) & EDU_DMA_RUN))
			return true;
		msleep(EDU_WAIT_MS);
	}
	return false;
}

/* Copy new data into the device, and from there to memory */
static int user_reached(void)
{
	unsigned int i;

	memset(page_address(user_from), ++user_round, USER_LEN);
	for (i = 0; i < USER_DOMAINS; i++)
		memset(page_address(user_to[i]), 0, USER_LEN);
	if (!user_dma(USER_FROM, EDU_BUFFER, 0) ||
	    !user_dma(EDU_BUFFER, USER_TO, EDU_DMA_TO_RAM))
		return -EIO;
	for (i = 0; i < USER_DOMAINS; i++)
		if (!memcmp(page_address(user_to[i]), page_address(user_from), USER_LEN))
			return i + 1;
	return 0;
}

/* ---- PASIDs --------------------------------------------------------------- */

static void user_detach(void)
{
	if (user_attached)
		iommu_detach_device_pasid(user_domain[user_attached - 1], &user_pdev->dev,
					  USER_PASID);
	user_attached = 0;
}

static int user_attach(unsigned int n)
{
	int ret;

	if (n > USER_DOMAINS)
		return -EINVAL;
	if (!n) {
		user_detach();
		return 0;
	}
	ret = iommu_attach_device_pasid(user_domain[n - 1], &user_pdev->dev, USER_PASID,
					&user_handle);
	if (!ret)
		user_attached = n;
	return ret;
}

static int attach_set(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int ret = kstrtouint(val, 0, &n);

	if (ret)
		return ret;
	mutex_lock(&user_lock);
	ret = user_pdev ? user_attach(n) : -ENODEV;
	mutex_unlock(&user_lock);
	return ret;
}

static int reached_get(char *buffer, const struct kernel_param *kp)
{
	int ret;

	mutex_lock(&user_lock);
	ret = user_pdev ? user_reached() : -ENODEV;
	mutex_unlock(&user_lock);
	return sysfs_emit(buffer, "%d\n", ret);
}

static const struct kernel_param_ops attach_ops = {
	.set = attach_set,
};

static const struct kernel_param_ops reached_ops = {
	.get = reached_get,
};

module_param_cb(attach, &attach_ops, NULL, 0200);
MODULE_PARM_DESC(attach, "Domain to attach by PASID, 0: detach");
module_param_cb(reached, &reached_ops, NULL, 0400);
MODULE_PARM_DESC(reached, "Domain in which the device's data arrives");

/* ---- driver --------------------------------------------------------------- */

static void user_free(void)
{
	unsigned int i;

	for (i = 0; i < USER_DOMAINS; i++) {
		if (user_domain[i])
			iommu_domain_free(user_domain[i]);
		if (user_to[i])
			__free_page(user_to[i]);
		user_domain[i] = NULL;
		user_to[i] = NULL;
	}
	if (user_from)
		__free_page(user_from);
	user_from = NULL;
}

static int user_make_domain(struct device *dev, unsigned int i)
{
	struct iommu_domain *domain = iommu_paging_domain_alloc(dev);

	if (IS_ERR(domain))
		return PTR_ERR(domain);
	user_domain[i] = domain;
	user_to[i] = alloc_page(GFP_KERNEL);
	if (!user_to[i])
		return -ENOMEM;
	return iommu_map(domain, USER_FROM, page_to_phys(user_from), PAGE_SIZE, IOMMU_READ,
			 GFP_KERNEL) ?:
	       iommu_map(domain, USER_TO, page_to_phys(user_to[i]), PAGE_SIZE,
			 IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
}

static int user_make(struct device *dev)
{
	unsigned int i;
	int ret = 0;

	user_from = alloc_page(GFP_KERNEL);
	if (!user_from)
		return -ENOMEM;
	for (i = 0; !ret && i < USER_DOMAINS; i++)
		ret = user_make_domain(dev, i);
	return ret;
}

static int user_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (user_pdev || !pdev->dev.iommu || pdev->dev.iommu->max_pasids <= USER_PASID)
		return -ENODEV;
	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = -ENOMEM;
	user_regs = pci_iomap(pdev, 0, 0);
	if (!user_regs)
		goto err_disable;
	ret = user_make(&pdev->dev);
	if (ret)
		goto err_free;
	pci_set_master(pdev);
	pci_save_state(pdev);
	user_pdev = pdev;
	return 0;

err_free:
	user_free();
	pci_iounmap(pdev, user_regs);
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void user_remove(struct pci_dev *pdev)
{
	mutex_lock(&user_lock);
	user_detach();
	pci_clear_master(pdev);
	user_free();
	pci_iounmap(pdev, user_regs);
	user_pdev = NULL;
	mutex_unlock(&user_lock);
	pci_disable_device(pdev);
}

static pci_ers_result_t user_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	return PCI_ERS_RESULT_NEED_RESET;
}

static pci_ers_result_t user_slot_reset(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	pci_save_state(pdev);
	return PCI_ERS_RESULT_RECOVERED;
}

static const struct pci_error_handlers user_err_handlers = {
	.error_detected = user_error_detected,
	.slot_reset = user_slot_reset,
};

static const struct pci_device_id user_table[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{}
};

static struct pci_driver user_driver = {
	.name = "pviommu_test_user",
	.id_table = user_table,
	.probe = user_probe,
	.remove = user_remove,
	.err_handler = &user_err_handlers,
};

module_pci_driver(user_driver);

MODULE_DESCRIPTION("A driver that uses a PASID, for tests");
MODULE_LICENSE("GPL");
