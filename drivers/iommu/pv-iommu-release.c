// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: giving pages back to the host.
 *
 * The host takes a list, has everyone unmap the pages, frees the memory, and then
 * sends an event. Until that has come, or the host has forgotten the list in a
 * restart, it may take the pages at any moment.
 */
#include <linux/completion.h>
#include <linux/io.h>
#include <linux/slab.h>

#include "pv-iommu.h"

/* Longer than the host's administrator can make the host wait for users of a page */
#define RELEASE_TIMEOUT	(60 * HZ)
#define RELEASE_POLL	max(HZ / 100, 1)

/* A list that was given to the host, which has not finished it */
struct release {
	struct list_head node;		/* in pviommu.releases; pviommu.lock */
	u64 token;
	u64 freed;
	struct completion done;
};

/*
 * The interface is broken. If it was stopped by a RESET, or even started again since, the host
 * has forgotten the list; else nobody knows.
 */
static int release_lost(struct pviommu *pv, u64 cookie)
{
	bool lost;

	mutex_lock(&pv->lock);
	lost = pv->started && pv->cookie == cookie;
	mutex_unlock(&pv->lock);
	return lost ? -EIO : -EAGAIN;
}

/* There is no interrupt for an event: poll */
static int release_wait(struct pviommu *pv, struct release *rel, u64 cookie)
{
	unsigned long end = jiffies + RELEASE_TIMEOUT;

	while (!wait_for_completion_timeout(&rel->done, RELEASE_POLL)) {
		if (READ_ONCE(pv->cookie) != cookie)
			return -EAGAIN;
		if (READ_ONCE(pv->broken))
			return release_lost(pv, cookie);
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		pviommu_events_check(pv);
	}
	return 0;
}

/*
 * Have the host take the list. *cookie is set to that of the interface that took it: with the
 * lock held there is no restart in between.
 */
static int release_ask(struct pviommu *pv, struct release *rel, __le64 *list,
		       unsigned int count, u64 *cookie)
{
	struct pviommu_op op;

	lockdep_assert_held(&pv->lock);
	rel->token = ++pv->last_token;
	list_add(&rel->node, &pv->releases);
	*cookie = pv->cookie;
	pviommu_op_init(&op, PVIOMMU_OP_RELEASE);
	op.release.list = cpu_to_le64(virt_to_phys(list));
	op.release.count = cpu_to_le32(count);
	op.release.token = cpu_to_le64(rel->token);
	return pviommu_request_long(pv, &op, NULL);
}

/**
 * pviommu_release_done() - complete a list that the host has finished
 * @pv: the interface, its lock held
 * @token: of the list; unknown ones are ignored
 * @freed: bytes that the host has freed
 */
void pviommu_release_done(struct pviommu *pv, u64 token, u64 freed)
{
	struct release *rel;

	lockdep_assert_held(&pv->lock);
	list_for_each_entry(rel, &pv->releases, node) {
		if (rel->token != token)
			continue;
		rel->freed = freed;
		complete(&rel->done);
	}
}

int pv_iommu_release(const unsigned long *pfns, unsigned int count, u64 *freed)
{
	struct pviommu *pv = pviommu_instance;
	struct release rel = {};
	unsigned int i;
	__le64 *list;
	u64 cookie;
	int ret;

	if (!pv || !(pv->features & PVIOMMU_F_RELEASE))
		return -EOPNOTSUPP;
	if (!count || count > PV_IOMMU_RELEASE_MAX)
		return -EINVAL;
	list = (__le64 *)__get_free_page(GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		list[i] = cpu_to_le64(pfns[i]);
	init_completion(&rel.done);
	INIT_LIST_HEAD(&rel.node);

	mutex_lock(&pv->lock);
	/* Else -EIO would say that the host may have the list, and its pages would be lost */
	ret = READ_ONCE(pv->broken) ? -ENODEV :
	      release_ask(pv, &rel, list, count, &cookie);
	mutex_unlock(&pv->lock);
	if (!ret)
		ret = release_wait(pv, &rel, cookie);
	mutex_lock(&pv->lock);
	list_del(&rel.node);
	mutex_unlock(&pv->lock);

	*freed = rel.freed;
	/* A host that does not answer may still read the list */
	if (ret != -EIO)
		free_page((unsigned long)list);
	return ret;
}
EXPORT_SYMBOL_GPL(pv_iommu_release);
