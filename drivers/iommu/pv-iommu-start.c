// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual IOMMU, guest driver: memory of the interface, start and stop.
 *
 * All memory that the host looks at is allocated once and stays for the life
 * of the module, so that the interface can be started again where nothing can
 * be allocated.
 */
#define pr_fmt(fmt) "pv-iommu: " fmt

#include <linux/io.h>
#include <linux/kmemleak.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>

#include "pv-iommu.h"

static int ring_create(struct pviommu *pv, unsigned int id)
{
	struct pviommu_ring *ring = &pv->rings[id];
	int node = cpu_to_node(id);
	struct page *page;
	unsigned int i;

	spin_lock_init(&ring->lock);
	ring->pv = pv;
	ring->id = id;
	ring->free_lists = GENMASK(PVIOMMU_RING_LISTS - 1, 0);

	page = alloc_pages_node(node, GFP_KERNEL | __GFP_ZERO,
				get_order(PVIOMMU_RING_SIZE *
					  sizeof(*ring->ops)));
	if (!page)
		return -ENOMEM;
	ring->ops = page_address(page);

	for (i = 0; i < PVIOMMU_RING_LISTS; i++) {
		page = alloc_pages_node(node, GFP_KERNEL, 0);
		if (!page)
			return -ENOMEM;
		ring->lists[i] = page_address(page);
	}

	ring->slots = kvcalloc_node(PVIOMMU_RING_SIZE, sizeof(*ring->slots),
				    GFP_KERNEL, node);
	return ring->slots ? 0 : -ENOMEM;
}

static void ring_destroy(struct pviommu_ring *ring)
{
	unsigned int i;

	kvfree(ring->slots);
	for (i = 0; i < PVIOMMU_RING_LISTS; i++)
		free_page((unsigned long)ring->lists[i]);
	free_pages((unsigned long)ring->ops,
		   get_order(PVIOMMU_RING_SIZE * sizeof(*ring->ops)));
}

/**
 * pviommu_destroy() - free the memory of the interface
 * @pv: the interface, stopped or never started; may be only half made
 */
void pviommu_destroy(struct pviommu *pv)
{
	unsigned int i;

	pviommu_recover_destroy(pv);
	for (i = 0; i < pv->nr_rings; i++)
		ring_destroy(&pv->rings[i]);
	pviommu_door_first(pv, NULL, 0);
	free_page((unsigned long)pv->events);
	free_page((unsigned long)pv->probe);
	free_page((unsigned long)pv->doorbell);
	kfree(pv->start);
	mutex_destroy(&pv->lock);
	kmemleak_free(pv);
	free_pages_exact(pv, struct_size(pv, rings, pv->nr_rings));
}

/* Allocate what all rings share; freed by pviommu_destroy() */
static int create_shared(struct pviommu *pv, bool doorbell)
{
	size_t descs = pv->nr_rings * sizeof(struct pviommu_ring_desc);

	BUILD_BUG_ON(sizeof(struct pviommu_ring_hdr) != 64);
	BUILD_BUG_ON(sizeof(struct pviommu_op) != 64);
	BUILD_BUG_ON(sizeof(struct pviommu_event_ring) != SZ_4K);

	pv->start = kzalloc(sizeof(*pv->start) + descs, GFP_KERNEL);
	pv->events = (void *)get_zeroed_page(GFP_KERNEL);
	pv->probe = (void *)get_zeroed_page(GFP_KERNEL);
	if (doorbell)
		pv->doorbell = (void *)get_zeroed_page(GFP_KERNEL);
	if (!pv->start || !pv->events || !pv->probe ||
	    (doorbell && !pv->doorbell))
		return -ENOMEM;
	return 0;
}

/**
 * pviommu_create() - allocate the memory of the interface
 * @nr_rings: how many rings, 1 to PVIOMMU_MAX_RINGS
 * @doorbell: whether to offer the host a doorbell page
 *
 * Return: the interface, or NULL without memory.
 */
struct pviommu *pviommu_create(unsigned int nr_rings, bool doorbell)
{
	struct pviommu *pv;
	unsigned int i;

	/* Whole pages, as the host gets access to a part of it: the headers */
	pv = alloc_pages_exact(struct_size(pv, rings, nr_rings),
			       GFP_KERNEL | __GFP_ZERO);
	if (!pv)
		return NULL;
	/* kmemleak does not look for pointers in pages unless it is told of them */
	kmemleak_alloc(pv, struct_size(pv, rings, nr_rings), 1, GFP_KERNEL);
	pv->nr_rings = nr_rings;
	mutex_init(&pv->lock);
	INIT_LIST_HEAD(&pv->endpoints);
	INIT_LIST_HEAD(&pv->domains);
	INIT_LIST_HEAD(&pv->releases);
	pviommu_balloon_init(&pv->balloon);
	pviommu_events_init(pv);

	if (pviommu_recover_init(pv) || create_shared(pv, doorbell))
		goto err_destroy;
	for (i = 0; i < nr_rings; i++) {
		if (ring_create(pv, i))
			goto err_destroy;
	}
	return pv;

err_destroy:
	pviommu_destroy(pv);
	return NULL;
}

static void ring_prepare(struct pviommu_ring *ring, u64 cookie,
			 struct pviommu_ring_desc *desc)
{
	memset(&ring->hdr, 0, sizeof(ring->hdr));
	ring->hdr.cookie = cpu_to_le64(cookie);
	/* The header's counts begin at 0. Ours go on, as somebody may wait for one of them */
	ring->base = round_up(ring->prod, PVIOMMU_RING_SIZE);
	ring->prod = ring->base;
	ring->pub = ring->base;
	ring->cons = ring->base;
	ring->events = 0;

	desc->hdr = cpu_to_le64(virt_to_phys(&ring->hdr));
	desc->ops = cpu_to_le64(virt_to_phys(ring->ops));
	desc->order = cpu_to_le32(PVIOMMU_RING_SHIFT);
	desc->reserved = 0;
}

/*
 * The features to start with. The host offers PVIOMMU_F_PASID only while a device of the VM
 * has PASIDs, and that device may be gone since the last start. Other features don't change.
 */
static u64 start_features(struct pviommu *pv)
{
	u64 features = pv->features;

	if (!(pviommu_cap_offered(pv) & PVIOMMU_F_PASID))
		features &= ~PVIOMMU_F_PASID;
	return features;
}

static void start_prepare(struct pviommu *pv)
{
	struct pviommu_ring_desc *descs = (void *)(pv->start + 1);
	struct pviommu_start *start = pv->start;
	u64 cookie = pv->cookie;
	unsigned int i;

	for (i = 0; i < pv->nr_rings; i++)
		ring_prepare(&pv->rings[i], cookie, &descs[i]);

	memset(pv->events, 0, sizeof(*pv->events));
	pv->events->cookie = cpu_to_le64(cookie);
	pv->events_seen = 0;
	pv->events_lost = 0;

	memset(start, 0, sizeof(*start));
	start->magic = cpu_to_le32(PVIOMMU_START_MAGIC);
	start->version = cpu_to_le16(PVIOMMU_ABI_VERSION);
	start->nrings = cpu_to_le16(pv->nr_rings);
	start->features = cpu_to_le64(start_features(pv));
	start->cookie = cpu_to_le64(cookie);
	if (pv->doorbell)
		start->doorbell = cpu_to_le64(virt_to_phys(pv->doorbell));
	if (pv->features & PVIOMMU_F_EVENTS)
		start->events = cpu_to_le64(virt_to_phys(pv->events));
	start->rings = cpu_to_le64(virt_to_phys(descs));
}

/**
 * pviommu_start() - reset and start the interface
 * @pv: the interface, @features set; no op is queued
 *
 * Context: nobody else uses the interface; may be called with interrupts disabled.
 * Return: 0; or a negative errno, then the interface is stopped.
 */
int pviommu_start(struct pviommu *pv)
{
	u32 out;
	int ret;

	ret = pviommu_cap_command(pv, PVIOMMU_CMD_RESET, pv->cookie);
	if (ret)
		return ret;
	pv->started = false;

	pv->cookie = get_random_u64() | 1;
	start_prepare(pv);
	pv->started = true;
	ret = pviommu_cap_command(pv, PVIOMMU_CMD_START,
				  virt_to_phys(pv->start));
	if (ret) {
		pv->started = false;
		return ret;
	}

	out = le32_to_cpu(READ_ONCE(pv->start->out_flags));
	pv->max_domains = le32_to_cpu(READ_ONCE(pv->start->out_max_domains));
	WRITE_ONCE(pv->tracked, pv->doorbell && (out & PVIOMMU_START_TRACKED));
	WRITE_ONCE(pv->broken, false);
	return 0;
}

/**
 * pviommu_master_off() - disable bus mastering of a device
 * @pdev: the device
 *
 * Only in its command register: the PCI core does not know, and restores it when it wakes
 * the device up.
 */
void pviommu_master_off(struct pci_dev *pdev)
{
	u16 command;

	pci_read_config_word(pdev, PCI_COMMAND, &command);
	if (!PCI_POSSIBLE_ERROR(command) && (command & PCI_COMMAND_MASTER))
		pci_write_config_word(pdev, PCI_COMMAND,
				      command & ~PCI_COMMAND_MASTER);
}

/**
 * pviommu_silence() - stop DMA of all endpoints that are not in bypass
 * @pv: the interface, about to be stopped; nobody else uses it
 *
 * Nobody else stops a device that VFIO has given to user space. When the interface is
 * stopped, endpoints are in bypass, and DMA would go to other memory than it was meant for.
 */
void pviommu_silence(struct pviommu *pv)
{
	struct pviommu_endpoint *ep;

	list_for_each_entry(ep, &pv->endpoints, node) {
		if (!pviommu_in_bypass(ep))
			pviommu_master_off(ep->door.pdev);
	}
}

/**
 * pviommu_stop() - stop the interface
 * @pv: the interface
 *
 * The host drops all domains, and does not access memory of the interface any more. Nothing
 * happens if it has been stopped.
 *
 * Return: 0; or a negative errno, then the host may still access that memory.
 */
int pviommu_stop(struct pviommu *pv)
{
	int ret;

	if (!pv->started)
		return 0;
	WRITE_ONCE(pv->broken, true);
	ret = pviommu_cap_command(pv, PVIOMMU_CMD_RESET, pv->cookie);
	if (!ret)
		pv->started = false;
	return ret;
}

/* The number of an endpoint that is attached to a domain; else of any endpoint, or 0 */
static u32 suitable_endpoint(struct pviommu *pv, struct pviommu_domain *dom)
{
	struct pviommu_endpoint *ep;
	u32 id = 0;

	list_for_each_entry(ep, &pv->endpoints, node) {
		if (ep->gone)
			continue;
		id = ep->id;
		if (ep->domain == &dom->domain || pviommu_pasids_find(ep, &dom->domain))
			break;
	}
	return id;
}

/**
 * pviommu_restart() - start the interface again, and restore everything at the host
 * @pv: the interface
 *
 * Domains are made again and their mappings replayed, then endpoints are attached. A
 * mapping that the host refuses becomes a failed one, as if it had been revoked. An
 * endpoint that can't be attached is blocked. Users of domains of which something is lost are
 * told.
 *
 * Context: no other CPU runs and interrupts are disabled, so no lock is taken.
 * Return: 0; or a negative errno, but what could be restored has been.
 */
int pviommu_restart(struct pviommu *pv)
{
	struct pviommu_endpoint *ep;
	struct pviommu_domain *dom;
	unsigned int i;
	int ret, err;

	pv->restarts++;
	ret = pviommu_cap_command(pv, PVIOMMU_CMD_RESET, pv->cookie);
	pviommu_events_drop(pv);
	for (i = 0; i < pv->nr_rings; i++)
		pviommu_ring_discard(&pv->rings[i], !ret);
	ret = ret ?: pviommu_start(pv);
	if (ret) {
		WRITE_ONCE(pv->broken, true);
		pviommu_silence(pv);
		list_for_each_entry(dom, &pv->domains, node)
			pviommu_report_lost(dom, ret);
		return ret;
	}
	list_for_each_entry(ep, &pv->endpoints, node) {
		ep->pasids_lost = true;
		pviommu_endpoint_again(ep);
	}
	list_for_each_entry(dom, &pv->domains, node) {
		err = pviommu_domain_restart(dom, suitable_endpoint(pv, dom));
		ret = ret ?: err;
	}
	list_for_each_entry(ep, &pv->endpoints, node) {
		err = pviommu_reattach(ep);
		ret = ret ?: err;
	}
	return ret;
}

static int restart_stopped(void *pv)
{
	return pviommu_restart(pv);
}

/**
 * pviommu_restart_live() - pviommu_restart() in a running system
 * @pv: the interface, its lock held
 *
 * Meanwhile endpoints are where they are without a guest driver, which may be bypass. A
 * thread that is just mapping something may get -EEXIST, because the restart has replayed
 * that.
 *
 * Context: process, may sleep; stops all other CPUs.
 * Return: as pviommu_restart().
 */
int pviommu_restart_live(struct pviommu *pv)
{
	lockdep_assert_held(&pv->lock);
	return stop_machine(restart_stopped, pv, NULL);
}

/* Arguments of domain_restart_stopped() */
struct domain_restart {
	struct pviommu_domain *dom;
	u32 endpoint;
};

static int domain_restart_stopped(void *data)
{
	struct domain_restart *args = data;

	args->dom->pv->restarts++;
	return pviommu_domain_restart(args->dom, args->endpoint);
}

/**
 * pviommu_domain_restart_live() - pviommu_domain_restart() in a running system
 * @dom: the domain, the lock of its interface held
 * @endpoint: the host's number of an endpoint that it suits
 *
 * Return: as pviommu_domain_restart().
 */
int pviommu_domain_restart_live(struct pviommu_domain *dom, u32 endpoint)
{
	struct domain_restart args = { .dom = dom, .endpoint = endpoint };

	lockdep_assert_held(&dom->pv->lock);
	return stop_machine(domain_restart_stopped, &args, NULL);
}
