// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO container backend for devices behind the paravirtual IOMMU.
 *
 * The VFIO core asks backends from the newest to the oldest. This one is registered
 * after type1, implements the same types, and takes only groups behind the
 * paravirtual IOMMU. A container with any other group goes to type1.
 */
#define pr_fmt(fmt) "vfio_pv: " fmt

#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfio_pv_priv.h"

static unsigned int dma_entry_limit = U32_MAX;
module_param(dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit, "Largest number of mappings in a container");

/*
 * The VFIO core calls ioctl() without a lock: meanwhile the last group may be taken
 * from the container, and the container released. So the core is not given a pointer but
 * a number, which is not reused, and which is looked up for each call.
 */
#define VFIO_PV_HASH_BITS	6

static DEFINE_HASHTABLE(vfio_pv_containers, VFIO_PV_HASH_BITS);
static DEFINE_SPINLOCK(vfio_pv_containers_lock);
static unsigned long vfio_pv_last_id;

static void *vfio_pv_add_container(struct vfio_pv_container *c)
{
	spin_lock(&vfio_pv_containers_lock);
	c->id = ++vfio_pv_last_id;
	hash_add_rcu(vfio_pv_containers, &c->entry, c->id);
	spin_unlock(&vfio_pv_containers_lock);
	return (void *)c->id;
}

static void vfio_pv_remove_container(struct vfio_pv_container *c)
{
	spin_lock(&vfio_pv_containers_lock);
	hash_del_rcu(&c->entry);
	spin_unlock(&vfio_pv_containers_lock);
}

static struct vfio_pv_container *vfio_pv_get(void *iommu_data)
{
	unsigned long id = (unsigned long)iommu_data;
	struct vfio_pv_container *c, *found = NULL;

	rcu_read_lock();
	hash_for_each_possible_rcu(vfio_pv_containers, c, entry, id) {
		if (c->id != id)
			continue;
		if (refcount_inc_not_zero(&c->users))
			found = c;
		break;
	}
	rcu_read_unlock();
	return found;
}

static void vfio_pv_put(struct vfio_pv_container *c)
{
	if (refcount_dec_and_test(&c->users))
		complete(&c->idle);
}

/* ------------------------------------------------------------------ */
/* ioctls */

/**
 * vfio_pv_copy_arg() - copy a structure that begins with argsz
 * @to: copied here
 * @size: of the structure that we know
 * @arg: user address
 * @what: which ioctl, for vfio_pv_refuse()
 *
 * A larger structure, of a newer version, is accepted if the part that is not known here is
 * zero.
 *
 * Return: 0, -EINVAL, -E2BIG, -EFAULT.
 */
int vfio_pv_copy_arg(void *to, size_t size, unsigned long arg, const char *what)
{
	void __user *uarg = (void __user *)arg;
	u32 argsz;
	int ret;

	if (get_user(argsz, (u32 __user *)uarg))
		return vfio_pv_refuse(-EFAULT, what, "can't read its argument at", arg);
	if (argsz < size)
		return vfio_pv_refuse(-EINVAL, what, "argsz is too small,", argsz);
	if (argsz > PAGE_SIZE)
		return vfio_pv_refuse(-E2BIG, what, "argsz is too large,", argsz);
	ret = copy_struct_from_user(to, size, uarg, argsz);
	if (ret)
		return vfio_pv_refuse(ret, what, "can't take all of its argument, argsz",
				      argsz);
	return 0;
}

/* Unknown flags are EINVAL as with type1; for VFIO_PV_IOMMU they are distinct from bad values */
static int vfio_pv_check_flags(struct vfio_pv_container *c, const char *what,
			       u32 flags, u32 known)
{
	if (!(flags & ~known))
		return 0;
	return vfio_pv_refuse(c->pv ? -EOPNOTSUPP : -EINVAL, what, "unknown flag in",
			      flags);
}

/* @c is NULL if the core asks before there is a container. */
static long vfio_pv_check_extension(struct vfio_pv_container *c, unsigned long arg)
{
	switch (arg) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_PV_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_UPDATE_VADDR:
		return c && !vfio_pv_has_emulated(c);
	case VFIO_DMA_CC_IOMMU:
		return c && vfio_pv_all_coherent(c);
	default:
		return 0;
	}
}

#define VFIO_PV_UNMAP_SPECIAL \
	(VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP)

/*
 * Copy some words from the user, each once. Not by copy_from_user(), whose cost is
 * noticeable when a single page is mapped.
 */
static __always_inline int vfio_pv_get_words(u64 *to, unsigned long arg,
					     const size_t size)
{
	const u64 __user *from = (const u64 __user *)arg;
	size_t i;

	if (!user_read_access_begin(from, size))
		return -EFAULT;
	for (i = 0; i < size / sizeof(u64); i++)
		unsafe_get_user(to[i], from + i, err_fault);
	user_read_access_end();
	return 0;

err_fault:
	user_read_access_end();
	return -EFAULT;
}

/* Get the rest of an argument that is longer than type1's */
static int vfio_pv_get_vm(struct vfio_pv_dma_map *map, unsigned long arg)
{
	struct vfio_pv_dma_map rest;
	int ret = vfio_pv_copy_arg(&rest, sizeof(rest), arg, "MAP_DMA");

	if (ret)
		return ret;
	if (rest.reserved)
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "reserved is", rest.reserved);
	map->vm = rest.vm;
	return 0;
}

static long vfio_pv_map_dma(struct vfio_pv_container *c, unsigned long arg)
{
	const size_t minsz = sizeof(struct vfio_iommu_type1_dma_map);
	u32 known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE |
		    VFIO_DMA_MAP_FLAG_VADDR;
	struct vfio_pv_dma_map map;
	int ret;

	static_assert(offsetof(struct vfio_pv_dma_map, vm) ==
		      sizeof(struct vfio_iommu_type1_dma_map));
	static_assert(sizeof(struct vfio_iommu_type1_dma_map) == 4 * sizeof(u64));
	if (c->pv)
		known |= VFIO_PV_MAP_FLAG_FOREIGN;
	if (vfio_pv_get_words((u64 *)&map, arg, minsz))
		return vfio_pv_refuse(-EFAULT, "MAP_DMA", "can't read its argument at", arg);
	if (map.argsz < minsz)
		return vfio_pv_refuse(-EINVAL, "MAP_DMA", "argsz is too small,", map.argsz);
	ret = vfio_pv_check_flags(c, "MAP_DMA", map.flags, known);
	if (unlikely(!ret && map.flags & VFIO_PV_MAP_FLAG_FOREIGN))
		ret = vfio_pv_get_vm(&map, arg);
	if (unlikely(ret))
		return ret;
	if (unlikely(map.flags & VFIO_DMA_MAP_FLAG_VADDR))
		return vfio_pv_vaddr_set(c, &map);
	return vfio_pv_map(c, &map);
}

/* UNMAP_DMA with flags for something else than unmapping alone; @unmap was read from @arg */
static int vfio_pv_unmap_special(struct vfio_pv_container *c,
				 const struct vfio_iommu_type1_dma_unmap *unmap,
				 unsigned long arg, u64 *unmapped)
{
	u32 special = unmap->flags & VFIO_PV_UNMAP_SPECIAL;
	u32 others = unmap->flags & ~special;

	if (special == VFIO_DMA_UNMAP_FLAG_VADDR &&
	    !(others & ~VFIO_DMA_UNMAP_FLAG_ALL))
		return vfio_pv_vaddr_drop(c, unmap, unmapped);
	if (special == VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP && !others)
		return vfio_pv_unmap_dirty(c, unmap, arg, unmapped);
	return vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "flags that exclude each other,",
			      unmap->flags);
}

static long vfio_pv_unmap_dma(struct vfio_pv_container *c, unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	u32 known = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_PV_UNMAP_SPECIAL;
	struct vfio_iommu_type1_dma_unmap __user *user = (void __user *)arg;
	struct vfio_iommu_type1_dma_unmap unmap;
	u64 unmapped;
	int ret;

	if (c->pv)
		known |= VFIO_PV_UNMAP_FLAG_NO_FLUSH;
	if (vfio_pv_get_words((u64 *)&unmap, arg, minsz))
		return vfio_pv_refuse(-EFAULT, "UNMAP_DMA", "can't read its argument at", arg);
	if (unmap.argsz < minsz)
		return vfio_pv_refuse(-EINVAL, "UNMAP_DMA", "argsz is too small,", unmap.argsz);
	ret = vfio_pv_check_flags(c, "UNMAP_DMA", unmap.flags, known);
	if (unlikely(!ret && unmap.flags & VFIO_PV_UNMAP_SPECIAL))
		ret = vfio_pv_unmap_special(c, &unmap, arg, &unmapped);
	else if (!ret)
		ret = vfio_pv_unmap(c, &unmap, &unmapped);
	if (!ret && put_user(unmapped, &user->size))
		ret = vfio_pv_refuse(-EFAULT, "UNMAP_DMA", "is done, can't write its argument at",
				     arg);
	return ret;
}

static int vfio_pv_check_invalidate(const struct vfio_pv_iommu_invalidate *inv)
{
	u64 end;

	if (inv->flags & ~VFIO_PV_INV_FLAG_LEAF)
		return vfio_pv_refuse(-EOPNOTSUPP, "INVALIDATE", "unknown flag in", inv->flags);
	if (inv->granularity != VFIO_PV_INV_DOMAIN &&
	    inv->granularity != VFIO_PV_INV_PAGE)
		return vfio_pv_refuse(-EOPNOTSUPP, "INVALIDATE", "no such granularity,",
				      inv->granularity);
	if (inv->pasid != VFIO_PV_PASID_NONE)
		return vfio_pv_refuse(-EOPNOTSUPP, "INVALIDATE", "no PASIDs here,", inv->pasid);
	if (inv->granularity == VFIO_PV_INV_DOMAIN && (inv->addr || inv->size))
		return vfio_pv_refuse(-EINVAL, "INVALIDATE", "DOMAIN takes no range, address",
				      inv->addr);
	if (inv->granularity == VFIO_PV_INV_DOMAIN)
		return 0;
	if (!inv->size)
		return vfio_pv_refuse(-EINVAL, "INVALIDATE", "size 0, address", inv->addr);
	if (check_add_overflow(inv->addr, inv->size, &end) || end > ULONG_MAX)
		return vfio_pv_refuse(-EOVERFLOW, "INVALIDATE", "the range wraps, address",
				      inv->addr);
	return 0;
}

static long vfio_pv_invalidate_iotlb(struct vfio_pv_container *c, unsigned long arg)
{
	struct vfio_pv_iommu_invalidate inv;
	int ret = vfio_pv_copy_arg(&inv, sizeof(inv), arg, "INVALIDATE");

	if (!ret)
		ret = vfio_pv_check_invalidate(&inv);
	return ret ?: vfio_pv_invalidate(c, &inv);
}

static const struct vfio_pv_ioctl {
	unsigned int cmd;
	bool pv_only;
	long (*handler)(struct vfio_pv_container *c, unsigned long arg);
} vfio_pv_ioctls[] = {
	{ VFIO_CHECK_EXTENSION,		false,	vfio_pv_check_extension },
	{ VFIO_IOMMU_GET_INFO,		false,	vfio_pv_get_info },
	{ VFIO_IOMMU_MAP_DMA,		false,	vfio_pv_map_dma },
	{ VFIO_IOMMU_UNMAP_DMA,		false,	vfio_pv_unmap_dma },
	{ VFIO_IOMMU_DIRTY_PAGES,	false,	vfio_pv_dirty_pages },
	{ VFIO_PV_IOMMU_INVALIDATE,	true,	vfio_pv_invalidate_iotlb },
	{ VFIO_PV_IOMMU_MAP,		true,	vfio_pv_map_batch },
	{ VFIO_PV_IOMMU_UNMAP,		true,	vfio_pv_unmap_batch },
	{ VFIO_PV_IOMMU_EVENTFD,	true,	vfio_pv_set_eventfd },
	{ VFIO_PV_IOMMU_READ_EVENTS,	true,	vfio_pv_read_events },
	{ VFIO_PV_IOMMU_LOOKUP,		true,	vfio_pv_lookup_iova },
	{ VFIO_PV_IOMMU_BIND_TABLE,	true,	vfio_pv_bind_table },
};

static long vfio_pv_dispatch(struct vfio_pv_container *c, unsigned int cmd,
			     unsigned long arg)
{
	const struct vfio_pv_ioctl *entry;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vfio_pv_ioctls); i++) {
		entry = &vfio_pv_ioctls[i];
		if (entry->cmd == cmd && (c->pv || !entry->pv_only))
			return entry->handler(c, arg);
	}
	return vfio_pv_refuse(-ENOTTY, "an ioctl", "unknown command", cmd);
}

/* Other calls than for groups come only after VFIO_SET_IOMMU has succeeded */
static void vfio_pv_mark_in_use(struct vfio_pv_container *c)
{
	if (unlikely(!READ_ONCE(c->in_use)))
		WRITE_ONCE(c->in_use, true);
}

static long vfio_pv_op_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct vfio_pv_container *c;
	long ret;

	if (!iommu_data)
		return cmd == VFIO_CHECK_EXTENSION ?
			vfio_pv_check_extension(NULL, arg) : -ENOTTY;
	c = vfio_pv_get(iommu_data);
	if (!c)
		return vfio_pv_refuse(-ENODEV, "an ioctl", "the container is gone, command",
				      cmd);
	vfio_pv_mark_in_use(c);
	ret = vfio_pv_dispatch(c, cmd, arg);
	vfio_pv_put(c);
	return ret;
}

/* ------------------------------------------------------------------ */
/* Containers */

static void vfio_pv_container_init(struct vfio_pv_container *c, unsigned long arg)
{
	refcount_set(&c->users, 1);
	init_completion(&c->idle);
	c->pv = arg == VFIO_PV_IOMMU;
	c->v2 = arg != VFIO_TYPE1_IOMMU;
	init_rwsem(&c->lock);
	INIT_LIST_HEAD(&c->domains);
	INIT_LIST_HEAD(&c->emulated);
	c->layout.pgsizes = PAGE_MASK;
	spin_lock_init(&c->tree_lock);
	c->tree = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&c->unflushed);
	INIT_HLIST_HEAD(&c->spare);
	c->max_mappings = READ_ONCE(dma_entry_limit);
	c->avail = c->max_mappings;
	init_waitqueue_head(&c->wait);
	mutex_init(&c->devices_lock);
	INIT_LIST_HEAD(&c->devices);
}

/* VFIO_SET_IOMMU. The core then attaches all groups that the container has. */
static void *vfio_pv_op_open(unsigned long arg)
{
	struct vfio_pv_container *c;

	if (arg != VFIO_TYPE1_IOMMU && arg != VFIO_TYPE1v2_IOMMU &&
	    arg != VFIO_PV_IOMMU)
		return ERR_PTR(-EINVAL);
	c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	if (!c)
		goto err_nomem;
	vfio_pv_container_init(c, arg);
	if (c->pv) {
		c->events = vfio_pv_events_alloc();
		if (!c->events)
			goto err_free;
	}
	return vfio_pv_add_container(c);

err_free:
	kfree(c);
err_nomem:
	return ERR_PTR(vfio_pv_refuse(-ENOMEM, "SET_IOMMU", "no memory, type", arg));
}

static void vfio_pv_op_release(void *iommu_data)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);

	if (!c)
		return;
	vfio_pv_remove_container(c);
	/* The reference just taken, and the first one */
	vfio_pv_put(c);
	vfio_pv_put(c);
	wait_for_completion(&c->idle);
	vfio_pv_detach_all(c);
	vfio_pv_drop_spare(c);
	vfio_pv_events_free(c->events);
	kfree_rcu(c, rcu);
}

/* ------------------------------------------------------------------ */
/* The other calls: find the container, do it */

static int vfio_pv_op_attach_group(void *iommu_data, struct iommu_group *group,
				   enum vfio_group_type type)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);
	int ret;

	if (!c)
		return -ENODEV;
	ret = vfio_pv_attach_group(c, group, type);
	vfio_pv_put(c);
	return ret;
}

static void vfio_pv_op_detach_group(void *iommu_data, struct iommu_group *group)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);

	if (!c)
		return;
	vfio_pv_detach_group(c, group);
	vfio_pv_put(c);
}

static int vfio_pv_op_pin_pages(void *iommu_data, struct iommu_group *group,
				dma_addr_t user_iova, int npage, int prot,
				struct page **pages)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);
	int ret;

	if (!c)
		return -EINVAL;
	ret = vfio_pv_pin_pages(c, user_iova, npage, prot, pages);
	vfio_pv_put(c);
	return ret;
}

static void vfio_pv_op_unpin_pages(void *iommu_data, dma_addr_t user_iova, int npage)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);

	if (!c)
		return;
	vfio_pv_unpin_pages(c, user_iova, npage);
	vfio_pv_put(c);
}

static void vfio_pv_op_register_device(void *iommu_data, struct vfio_device *vdev)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);

	if (!c)
		return;
	vfio_pv_mark_in_use(c);
	vfio_pv_register_device(c, vdev);
	vfio_pv_put(c);
}

static void vfio_pv_op_unregister_device(void *iommu_data, struct vfio_device *vdev)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);

	if (!c)
		return;
	vfio_pv_unregister_device(c, vdev);
	vfio_pv_put(c);
}

static int vfio_pv_op_dma_rw(void *iommu_data, dma_addr_t user_iova, void *data,
			     size_t count, bool write)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);
	int ret;

	if (!c)
		return -EINVAL;
	ret = vfio_pv_dma_rw(c, user_iova, data, count, write);
	vfio_pv_put(c);
	return ret;
}

static struct iommu_domain *vfio_pv_op_group_iommu_domain(void *iommu_data,
							  struct iommu_group *group)
{
	struct vfio_pv_container *c = vfio_pv_get(iommu_data);
	struct iommu_domain *domain;

	if (!c || !group)
		domain = ERR_PTR(-EINVAL);
	else
		domain = vfio_pv_group_domain(c, group);
	if (c)
		vfio_pv_put(c);
	return domain;
}

static const struct vfio_iommu_driver_ops vfio_pv_ops = {
	.name			= "vfio-iommu-pv",
	.owner			= THIS_MODULE,
	.open			= vfio_pv_op_open,
	.release		= vfio_pv_op_release,
	.ioctl			= vfio_pv_op_ioctl,
	.attach_group		= vfio_pv_op_attach_group,
	.detach_group		= vfio_pv_op_detach_group,
	.pin_pages		= vfio_pv_op_pin_pages,
	.unpin_pages		= vfio_pv_op_unpin_pages,
	.register_device	= vfio_pv_op_register_device,
	.unregister_device	= vfio_pv_op_unregister_device,
	.dma_rw			= vfio_pv_op_dma_rw,
	.group_iommu_domain	= vfio_pv_op_group_iommu_domain,
};

static int __init vfio_pv_init(void)
{
	return vfio_register_iommu_driver(&vfio_pv_ops);
}
module_init(vfio_pv_init);

static void __exit vfio_pv_exit(void)
{
	vfio_unregister_iommu_driver(&vfio_pv_ops);
}
module_exit(vfio_pv_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO container backend for the paravirtual IOMMU");
MODULE_ALIAS("vfio_iommu_pv");
/* The newest backend is asked first: type1 has to be there before us. */
MODULE_SOFTDEP("pre: vfio_iommu_type1");
