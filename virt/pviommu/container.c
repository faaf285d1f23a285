// SPDX-License-Identifier: GPL-2.0-only
/*
 * The container backend: the engine's face to the VMM.
 *
 * It implements VFIO_TYPE1v2_IOMMU, as type1 does. The VFIO core asks it before type1,
 * because it was registered later. It refuses groups whose devices are not bound to the
 * variant driver, and for these the core goes on to type1.
 */
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "pviommu_private.h"
#include "vfio.h"

/*
 * The VFIO core calls ioctl() without a lock: meanwhile another thread may take away the
 * last group, which frees the VM. So the core is given the VM's number, which is looked up
 * for each call, and a VM is freed only when no call uses it.
 */
static struct pviommu_vm *vm_get(void *data)
{
	return pviommu_vm_get((unsigned long)data);
}

static void *container_open(unsigned long arg)
{
	struct pviommu_vm *vm;

	if (arg != VFIO_TYPE1v2_IOMMU)
		return ERR_PTR(-EINVAL);
	vm = pviommu_vm_create(current->mm);
	return vm ? (void *)(unsigned long)vm->id : ERR_PTR(-ENOMEM);
}

static void container_release(void *data)
{
	struct pviommu_vm *vm = pviommu_vm_withdraw((unsigned long)data);
	u64 removed;

	pviommu_memory_remove(vm, 0, 0, true, &removed);
	pviommu_vm_destroy(vm);
}

static int container_attach_group(void *data, struct iommu_group *group,
				  enum vfio_group_type type)
{
	struct pviommu_vm *vm;
	int ret;

	if (type != VFIO_IOMMU)
		return -ENODEV;
	vm = vm_get(data);
	ret = pviommu_group_add(vm, group);
	pviommu_vm_put(vm);
	return ret;
}

static void container_detach_group(void *data, struct iommu_group *group)
{
	struct pviommu_vm *vm = vm_get(data);

	pviommu_group_remove(vm, group);
	pviommu_vm_put(vm);
}

static bool container_coherent(struct pviommu_vm *vm)
{
	struct pviommu_group *grp;
	bool coherent = true;

	mutex_lock(&vm->cfg_lock);
	list_for_each_entry(grp, &vm->groups, entry)
		coherent &= !!(grp->flags & PVIOMMU_PROBE_COHERENT);
	mutex_unlock(&vm->cfg_lock);
	return coherent;
}

static long check_extension(struct pviommu_vm *vm, unsigned long arg)
{
	switch (arg) {
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return vm && container_coherent(vm);
	default:
		return 0;
	}
}

static int info_add_avail(struct pviommu_vm *vm, struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_dma_avail cap = {
		.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
		.header.version = 1,
		.avail = pviommu_slots_left(vm),
	};

	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

static long get_info(struct pviommu_vm *vm, unsigned long arg)
{
	unsigned long minsz = offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	unsigned long capsz = offsetofend(struct vfio_iommu_type1_info, cap_offset);
	void __user *uarg = (void __user *)arg;
	struct vfio_iommu_type1_info info = {};
	struct vfio_info_cap caps = {};
	u32 argsz;
	int ret;

	if (copy_from_user(&info, uarg, minsz))
		return -EFAULT;
	argsz = info.argsz;
	if (argsz < minsz)
		return -EINVAL;
	minsz = min_t(unsigned long, argsz, capsz);
	info.flags = VFIO_IOMMU_INFO_PGSIZES;
	info.iova_pgsizes = PVIOMMU_PGSIZES;
	ret = info_add_avail(vm, &caps);
	if (ret)
		return ret;
	info.flags |= VFIO_IOMMU_INFO_CAPS;
	info.cap_offset = 0;
	if (argsz < sizeof(info) + caps.size) {
		info.argsz = sizeof(info) + caps.size;
	} else {
		vfio_info_cap_shift(&caps, sizeof(info));
		info.cap_offset = sizeof(info);
		if (copy_to_user(uarg + sizeof(info), caps.buf, caps.size))
			ret = -EFAULT;
	}
	kfree(caps.buf);
	if (!ret && copy_to_user(uarg, &info, minsz))
		ret = -EFAULT;
	return ret;
}

static long map_dma(struct pviommu_vm *vm, unsigned long arg)
{
	unsigned long minsz = offsetofend(struct vfio_iommu_type1_dma_map, size);
	struct vfio_iommu_type1_dma_map map;

	if (copy_from_user(&map, (void __user *)arg, minsz))
		return -EFAULT;
	if (map.argsz < minsz ||
	    map.flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) ||
	    !map.flags || !map.size || !PAGE_ALIGNED(map.iova | map.vaddr | map.size))
		return -EINVAL;
	if (map.iova + map.size - 1 < map.iova ||
	    map.vaddr + map.size - 1 < map.vaddr || map.vaddr > ULONG_MAX ||
	    !access_ok((void __user *)(unsigned long)map.vaddr, map.size))
		return -EINVAL;
	if (current->mm != vm->mm)
		return -EPERM;
	return pviommu_memory_add(vm, map.iova, map.vaddr, map.size,
				  (map.flags & VFIO_DMA_MAP_FLAG_READ ? PVIOMMU_PROT_READ : 0) |
				  (map.flags & VFIO_DMA_MAP_FLAG_WRITE ? PVIOMMU_PROT_WRITE : 0));
}

static long unmap_dma(struct pviommu_vm *vm, unsigned long arg)
{
	unsigned long minsz = offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	bool all;
	u64 removed;
	int ret;

	if (copy_from_user(&unmap, (void __user *)arg, minsz))
		return -EFAULT;
	all = unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL;
	if (unmap.argsz < minsz || unmap.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (all ? unmap.iova || unmap.size :
		  !unmap.size || !PAGE_ALIGNED(unmap.iova | unmap.size) ||
		  unmap.iova + unmap.size - 1 < unmap.iova)
		return -EINVAL;
	ret = pviommu_memory_remove(vm, unmap.iova, unmap.size, all, &removed);
	if (ret)
		return ret;
	unmap.size = removed;
	return copy_to_user((void __user *)arg, &unmap, minsz) ? -EFAULT : 0;
}

static long vm_ioctl(struct pviommu_vm *vm, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case VFIO_CHECK_EXTENSION:
		return check_extension(vm, arg);
	case VFIO_IOMMU_GET_INFO:
		return get_info(vm, arg);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(vm, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(vm, arg);
	default:
		return -ENOTTY;
	}
}

/* Without data the core asks what we would support */
static long container_ioctl(void *data, unsigned int cmd, unsigned long arg)
{
	struct pviommu_vm *vm;
	long ret;

	if (!data)
		return cmd == VFIO_CHECK_EXTENSION ? check_extension(NULL, arg) : -ENOTTY;
	vm = vm_get(data);
	if (!vm)
		return -EINVAL;
	ret = vm_ioctl(vm, cmd, arg);
	pviommu_vm_put(vm);
	return ret;
}

static const struct vfio_iommu_driver_ops container_ops = {
	.name = "pviommu-host",
	.owner = THIS_MODULE,
	.open = container_open,
	.release = container_release,
	.ioctl = container_ioctl,
	.attach_group = container_attach_group,
	.detach_group = container_detach_group,
};

/**
 * pviommu_container_init() - offer the backend to the VFIO core
 *
 * Return: 0 or a negative errno.
 */
int pviommu_container_init(void)
{
	return vfio_register_iommu_driver(&container_ops);
}

/**
 * pviommu_container_exit() - undo pviommu_container_init()
 */
void pviommu_container_exit(void)
{
	vfio_unregister_iommu_driver(&container_ops);
}
