// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes between batches: of memory, devices, limits, tables, and the VM that lends memory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pv_aer.h"
#include "pv_ctl.h"
#include "pv_op.h"
#include "pv_run.h"
#include "pv_sys.h"

/* ---- memory, devices, limits -------------------------------------------- */

bool run_memory_leaves(struct run *run, unsigned int first, unsigned int n)
{
	__u64 gpa = SLOTS_GPA + first * SLOT_SIZE, removed = ~0ULL, want = 0;
	unsigned int i;
	int ret;

	ret = vfio_unmap_dma(run->vm.container, gpa, n * SLOT_SIZE, &removed);
	for (i = first; i < first + n; i++) {
		if (!run->model.regions[FIRST_SLOT + i].present)
			continue;
		want += SLOT_SIZE;
		model_region_leaves(&run->model, FIRST_SLOT + i);
	}
	if (!ret && removed == want)
		return run_gone_are_good(run);
	printf("# slots %u to %u: %d, removed 0x%llx of 0x%llx\n", first, first + n - 1, ret,
	       removed, want);
	return false;
}

static bool memory_comes(struct run *run, unsigned int i)
{
	struct model_region *r = &run->model.regions[FIRST_SLOT + i];
	int ret = vfio_map_dma(run->vm.container, r->gpa, r->hva, r->size, r->writable);
	int want = r->present ? -EEXIST : 0;

	r->present = true;
	if (ret == want)
		return true;
	printf("# slot %u comes: %d\n", i, ret);
	return false;
}

/* UNMAP_DMA must not cut a slot */
static bool memory_is_cut(struct run *run, unsigned int i)
{
	int want = run->model.regions[FIRST_SLOT + i].present ? -EINVAL : 0;
	int ret = vfio_unmap_dma(run->vm.container, SLOTS_GPA + i * SLOT_SIZE + PV_PAGE,
				 SLOT_SIZE - 2 * PV_PAGE, NULL);

	if (ret == want)
		return true;
	printf("# slot %u is cut: %d\n", i, ret);
	return false;
}

static bool change_memory(struct run *run)
{
	unsigned int slot = fuzz_below(&run->fuzz, SLOTS);

	run->memory++;
	switch (fuzz_below(&run->fuzz, 8)) {
	case 0:
		return memory_is_cut(run, slot);
	case 1 ... 3:
		return run_memory_leaves(run, slot, 1 + fuzz_below(&run->fuzz, SLOTS - slot));
	default:
		return memory_comes(run, slot);
	}
}

/* Devices but the first one are closed, and opened again, with another endpoint id */
static bool change_devices(struct run *run)
{
	unsigned int dev = fuzz_below(&run->fuzz, run->model.nr_endpoints);
	struct model_endpoint *ep = &run->model.endpoints[dev];
	struct vfio_dev *vfio = &run->vm.dev[dev].vfio;

	if (!dev)
		return true;
	if (ep->id) {
		vfio_dev_close(vfio);
		model_close(&run->model, dev);
		return true;
	}
	if (vfio_dev_open(vfio) || vfio_dev_enable(vfio, true, true))
		return false;
	ep->id = pv_cap_read(&run->vm, dev, PVIOMMU_CAP_ENDPOINT_OFF);
	run->vm.dev[dev].id = ep->id;
	return ep->id;
}

#define ISOLATED_MS	30000

static bool wait_isolated(struct run *run, __u32 ep)
{
	unsigned int ms;

	for (ms = 0; ms < ISOLATED_MS && !run->isolated_seen; ms += 10) {
		run_drain_events(run);
		usleep(10000);
	}
	if (run->isolated_seen == ep)
		return true;
	printf("# endpoint %u was to be isolated, not %u\n", ep, run->isolated_seen);
	return false;
}

/* A device that is open and may have errors, and its root port; 0 if there is none */
static unsigned int victim(const struct run *run, int *port)
{
	unsigned int dev;

	for (dev = run->model.nr_endpoints - 1; dev; dev--) {
		*port = pv_aer_port(run->vm.dev[dev].vfio.bdf);
		if (*port >= 0 && run->model.endpoints[dev].id)
			break;
	}
	return dev;
}

/*
 * A PCIe error. What the host does about it takes about a second, in which a RECOVER would
 * be refused: that is waited for.
 */
static bool error_comes(struct run *run)
{
	bool fatal = fuzz_below(&run->fuzz, 2), good;
	int port, log;
	unsigned int dev = victim(run, &port);

	if (!dev)
		return true;
	log = pv_aer_log();
	run->errors++;
	run->isolated_seen = 0;
	good = log >= 0 && !pv_aer_inject(port, fatal ? "SDN" : "COMP_TIME") &&
	       wait_isolated(run, run->model.endpoints[dev].id) && pv_aer_done(log);
	close(log);
	run->isolated_seen = 0;
	model_cut(&run->model, dev);
	return good && !vfio_dev_enable(&run->vm.dev[dev].vfio, true, true);
}

static bool change_limits(struct run *run)
{
	const char * const pages[] = { "1", "3", "100", "513", "8192", "8192" };
	char text[32];

	run->doorbell_pages = pages[fuzz_below(&run->fuzz, ARRAY_SIZE(pages))];

	run->fuzz.small_doorbells = strtoul(run->doorbell_pages, NULL, 0) < 100;
	run->model.max_mappings = model_nr_mappings(&run->model) + 100 +
				  fuzz_below(&run->fuzz, 100000);
	snprintf(text, sizeof(text), "%llu", run->model.max_mappings);
	return pv_param_set("max_mappings", text) &&
	       pv_param_set("doorbell_pages", run->doorbell_pages);
}

static bool restart(struct run *run)
{
	const __u64 without[] = {
		0, 0, PVIOMMU_F_MAP_LIST, PVIOMMU_F_STATS, PVIOMMU_F_BYPASS,
	};

	run->restarts++;
	run->server.interface_went = true;
	model_reset(&run->model);
	return !__pv_reset(&run->vm) &&
	       run_start(run, without[fuzz_below(&run->fuzz, ARRAY_SIZE(without))]);
}

#define RELEASE_PAGES	8
#define RELEASE_MS	30000

static bool wait_released(struct run *run, __u64 token)
{
	unsigned int ms;

	for (ms = 0; ms < RELEASE_MS && !run->done_seen; ms += 10) {
		/* The event may have found no room; after a reset there is none */
		if (!run_drain_events(run) && !run->done_seen) {
			run->model.nr_gone = 0;
			run->gone_seen = 0;
			return !run->strange && restart(run);
		}
		if (!run->done_seen)
			usleep(10000);
	}
	return run->done_seen && run->done_token == token && run_gone_are_good(run);
}

/* RELEASE of pages of the region that is always there */
static bool release(struct run *run)
{
	struct pviommu_op op = pv_op(PVIOMMU_OP_RELEASE);
	__u64 *list = pv_mem(&run->vm, PV_AT_LIST);
	unsigned int i;

	if (model_in_bypass(&run->model))
		return true;
	op.release.list = PV_AT_LIST;
	op.release.count = RELEASE_PAGES;
	op.release.token = fuzz_below(&run->fuzz, ~0ULL);
	/* Pages of tables are not released */
	list[0] = fuzz_below(&run->fuzz, 4) ? PV_DATA / PV_PAGE + fuzz_below(&run->fuzz, 1024) :
					      FUZZ_TABLES / PV_PAGE;
	for (i = 1; i < RELEASE_PAGES; i++)
		list[i] = list[i - 1] + 1 + fuzz_below(&run->fuzz, 16);
	run->done_seen = false;
	run_add(run, 0, op);
	model_pages_go(&run->model, list, RELEASE_PAGES);
	/* The server is told before the guest, which is told later */
	run->server.to_be_told = true;
	if (!run_submit(run))
		return false;
	run->server.to_be_told = false;
	run->released += RELEASE_PAGES;
	return wait_released(run, op.release.token) && run_server_is_good(run);
}

/* ---- tables change ---------------------------------------------------------- */

/* The budget of a doorbell while CPUs store, in pages; and half of it */
#define STORE_DOORBELL	"1000000"
#define STORE_PAGES	500000

/* A CPU stores an entry, the upper half first; the host looks at it after each half */
static bool store(struct run *run, const struct fuzz_entry *entry)
{
	__u64 *at = run_entry_at(run, entry->gpa), was = *at;
	const __u64 values[] = {
		(entry->value & ~0xffffffffULL) | (was & 0xffffffff), entry->value,
	};
	const struct fuzz_entry half = { .gpa = entry->gpa, .value = values[0] };
	unsigned int i;
	__u64 work = 0;

	if (fuzz_leads_astray(&run->fuzz, &half))
		return true;
	/* What exceeds the budget is left out; the guest may be told of that */
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		*at = values[i];
		work += model_work(&run->model, entry->gpa);
	}
	for (i = 0; i < ARRAY_SIZE(values) && work < STORE_PAGES; i++) {
		*at = values[i];
		model_written(&run->model, entry->gpa);
	}
	*at = was;
	if (work >= STORE_PAGES)
		return true;
	run->stores++;
	run_server_drain(run);
	return !pv_vcpu_store(&run->cpu, entry->gpa, &entry->value, sizeof(*at)) &&
	       *at == entry->value && run_bad_are_good(run);
}

static bool change_by_cpu(struct run *run)
{
	unsigned int n = 1 + fuzz_below(&run->fuzz, 8);
	bool good = pv_param_set("doorbell_pages", STORE_DOORBELL);

	while (good && n) {
		struct fuzz_entry entry = fuzz_entry(&run->fuzz);

		/* Mostly watched tables: change_tables() changes others often enough */
		if (run->model.places[0].domain && !model_watched(&run->model, entry.gpa) &&
		    fuzz_below(&run->fuzz, 8))
			continue;
		n--;
		if (entry.gpa < run->vm.low_size)
			good = store(run, &entry);
	}
	return good && pv_param_set("doorbell_pages", run->doorbell_pages);
}

/* Store an entry without the host's noticing */
static void change_tables(struct run *run)
{
	unsigned int n = fuzz_below(&run->fuzz, 40);

	run->entries += n;
	while (n--) {
		const struct fuzz_entry entry = fuzz_entry(&run->fuzz);

		*run_entry_at(run, entry.gpa) = entry.value;
	}
}

/* ---- grants, and the owner of lent memory ------------------------------------------ */

/* What was mapped by the grant is flushed and unpinned at once */
static bool recalled(struct run *run)
{
	run->recalls++;
	return run_gone_are_good(run) && (fuzz_below(&run->fuzz, 2) || run_dma(run));
}

static bool lent_memory_changes(struct run *run)
{
	struct pv_region *lent[] = { &run->owner.low, &run->owner.high, &run->owner.rom };
	unsigned int i = fuzz_below(&run->fuzz, LENT);
	struct model_region *r = &run->model.regions[FIRST_LENT + i];

	if (!r->present) {
		r->present = true;
		return !pv_region_map(&run->owner, lent[i]);
	}
	model_region_leaves(&run->model, FIRST_LENT + i);
	return !pv_region_unmap(&run->owner, lent[i]) && recalled(run);
}

static bool grant_changes(struct run *run)
{
	unsigned int i = fuzz_below(&run->fuzz, LENT_GRANTS);
	struct model_grant *grant = &run->model.grants[i];

	if (!grant->present)
		return run_add_grant(run, i, grant->vm);
	model_grant_ends(&run->model, i);
	return !pv_ctl(NULL, 0, "grant del grant %lld", run->grants[i]) && recalled(run);
}

/* The owner's VM is replaced by another one with the same device */
static bool owner_dies(struct run *run)
{
	unsigned int i;
	__u32 id;

	for (i = 0; i < LENT_GRANTS; i++)
		model_grant_ends(&run->model, i);
	for (i = 0; i < LENT; i++) {
		run->model.regions[FIRST_LENT + i].present = false;
		run->model.regions[FIRST_LENT + i].hva = NULL;
	}
	pv_vm_close(&run->owner);
	if (pv_total("pages_lent")) {
		printf("# the owner is gone, and %lld pages are still lent\n",
		       pv_total("pages_lent"));
		return false;
	}
	return recalled(run) && !run_open_owner(run, &id) && run_borrow(run, id);
}

static bool change_owner(struct run *run)
{
	if (!run->owner_dev)
		return true;
	switch (fuzz_below(&run->fuzz, 10)) {
	case 0:
		return owner_dies(run);
	case 1 ... 3:
		return grant_changes(run);
	default:
		return lent_memory_changes(run);
	}
}

bool run_change(struct run *run)
{
	if (fuzz_below(&run->fuzz, 3))
		change_tables(run);
	return (run->cpu.fd < 0 || fuzz_below(&run->fuzz, 3) || change_by_cpu(run)) &&
	       (fuzz_below(&run->fuzz, 2) || change_memory(run)) &&
	       (fuzz_below(&run->fuzz, 12) || change_owner(run)) &&
	       (fuzz_below(&run->fuzz, 20) || change_limits(run)) &&
	       (fuzz_below(&run->fuzz, 40) || change_devices(run)) &&
	       (fuzz_below(&run->fuzz, 10) || error_comes(run)) &&
	       (fuzz_below(&run->fuzz, 80) || restart(run)) &&
	       (fuzz_below(&run->fuzz, 8) || release(run)) &&
	       (fuzz_below(&run->fuzz, 6) || run_change_server(run)) &&
	       (fuzz_below(&run->fuzz, 32) || run_dma(run));
}

