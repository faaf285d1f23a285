// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches of ops, and comparing ops and events with the model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pv_op.h"
#include "pv_run.h"
#include "pv_sys.h"

/* ---- events ------------------------------------------------------------ */

#define EVENT_FORMAT "# event %u flags %x domain %u vm %u addr %llx gpa %llx size %llx\n"
#define WANTED_FORMAT "# wanted: number %u of %u, reason %u domain %u addr %llx gpa %llx " \
		      "size %llx\n"

static void strange_event(struct run *run, const struct pviommu_event *ev)
{
	printf("# batch %u, seed %llu\n" EVENT_FORMAT, run->batches, run->seed, ev->type,
	       ev->flags, ev->domain, ev->vm, ev->addr, ev->gpa, ev->size);
	run->strange = true;
}

/* Events about bad entries come in the order of the ops; some may find no room */
static void see_bad(struct run *run, const struct pviommu_event *ev)
{
	const struct model_bad *want = &run->model.bad[run->bad_seen];

	if (run->bad_seen < run->model.nr_bad && ev->domain == want->domain &&
	    PVIOMMU_EV_REASON(ev->flags) == want->reason && ev->addr == want->iova &&
	    ev->size == want->size && ev->gpa == want->gpa) {
		run->bad_seen++;
		return;
	}
	strange_event(run, ev);
	if (run->bad_seen < run->model.nr_bad)
		printf(WANTED_FORMAT, run->bad_seen, run->model.nr_bad, want->reason,
		       want->domain, want->iova, want->gpa, want->size);
}

static int compare_gone(const void *a, const void *b)
{
	const struct model_gone *x = a, *y = b;

	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	return x->iova < y->iova ? -1 : x->iova > y->iova;
}

/* Each page that an event names must have been mapped there until now */
static void see_gone(struct run *run, const struct pviommu_event *ev)
{
	struct model *m = &run->model;
	__u64 at;

	if (run->gone_sorted != m->nr_gone)
		qsort(m->gone, m->nr_gone, sizeof(*m->gone), compare_gone);
	run->gone_sorted = m->nr_gone;
	for (at = 0; at < ev->size; at += PV_PAGE) {
		const struct model_gone key = { .domain = ev->domain, .iova = ev->addr + at };
		const struct model_gone *gone = bsearch(&key, m->gone, m->nr_gone, sizeof(*gone),
							compare_gone);

		if (!gone || gone->vm != ev->vm || gone->gfn != (ev->gpa + at) / PV_PAGE) {
			strange_event(run, ev);
			return;
		}
		run->gone_seen++;
	}
}

/* Take all events; true if none was lost since the last call */
bool run_drain_events(struct run *run)
{
	unsigned int kicks = run->vm.ring[0].kicks;
	__u32 lost = run->events_lost;
	struct pviommu_event ev;

	while (pv_event_next(&run->vm, &ev)) {
		if (ev.type == PVIOMMU_EV_FAULT && ev.flags & PVIOMMU_EV_F_ENTRY) {
			see_bad(run, &ev);
		} else if (ev.type == PVIOMMU_EV_REVOKED) {
			see_gone(run, &ev);
		} else if (ev.type == PVIOMMU_EV_RELEASED) {
			run->done_seen = true;
			run->done_token = ev.addr;
		} else if (ev.type == PVIOMMU_EV_ISOLATED) {
			if (run->isolated_seen)
				strange_event(run, &ev);
			run->isolated_seen = ev.endpoint;
		}
	}
	/* Events that wait for room are delivered with doorbells */
	run->kicks += run->vm.ring[0].kicks - kicks;
	run->events_lost = pv_events(&run->vm)->lost;
	return run->events_lost == lost;
}

/* After ops and stores: all events about bad entries have come, as far as there was room */
bool run_bad_are_good(struct run *run)
{
	bool all = run_drain_events(run), good;

	good = !run->strange && (!all || run->bad_seen == run->model.nr_bad);
	if (!good && !run->strange)
		printf("# batch %u, seed %llu: %u events about bad entries, wanted %u\n",
		       run->batches, run->seed, run->bad_seen, run->model.nr_bad);
	run->bad += run->bad_seen;
	run->bad_seen = 0;
	run->model.nr_bad = 0;
	return good;
}

/* After memory has gone: all events about pages that devices could reach have come */
bool run_gone_are_good(struct run *run)
{
	bool all = run_drain_events(run), good;

	good = !run->strange && (!all || run->gone_seen == run->model.nr_gone);
	if (!good && !run->strange)
		printf("# batch %u, seed %llu: events name %u pages that have gone, wanted %u\n",
		       run->batches, run->seed, run->gone_seen, run->model.nr_gone);
	run->gone_seen = 0;
	run->gone_sorted = 0;
	run->model.nr_gone = 0;
	return good;
}

/* ---- batches ----------------------------------------------------------- */

#define OP_FORMAT "# %s code %04x flags %04x status %u domain %u endpoint %u pasid %x vm %u " \
		  "args %llx %llx %llx %llx result %llx\n"

static void print_op(const char *what, const struct pviommu_op *op)
{
	printf(OP_FORMAT, what, op->code, op->flags, op->status, op->domain, op->endpoint,
	       op->pasid, op->vm, op->raw[0], op->raw[1], op->raw[2], op->raw[3], op->result);
}

__u64 *run_entry_at(const struct run *run, __u64 gpa)
{
	const struct model *m = &run->model;
	unsigned int i;

	for (i = 0; i < m->nr_regions; i++)
		if (!m->regions[i].vm && gpa - m->regions[i].gpa < m->regions[i].size)
			return (__u64 *)(m->regions[i].hva + (gpa - m->regions[i].gpa));
	return NULL;
}

/* Print the entries that translate an IOVA */
static void print_walk(const struct run *run, const struct model_domain *d, __u64 iova)
{
	__u64 gpa = d->root, *entry;
	int level;

	for (level = d->levels; level; level--) {
		gpa = (gpa & 0x000ffffffffff000ULL) + (iova >> (12 + 9 * (level - 1))) % 512 * 8;
		entry = run_entry_at(run, gpa);
		printf("# level %d: at %llx entry %llx\n", level, gpa, entry ? *entry : 0);
		if (!entry || !(*entry & 1) || (level < 4 && *entry & 0x80))
			return;
		gpa = *entry;
	}
}

/* Print the ops before it in the same domain; if counters differ, in any domain */
static bool may_matter(const struct pviommu_op *op, const struct pviommu_op *bad)
{
	if (bad->code == PVIOMMU_OP_STATS)
		return op->code != PVIOMMU_OP_LOOKUP && (!op->status || op->result);
	return op->domain == bad->domain && (!op->status || op->result);
}

static void complain(const struct run *run, unsigned int bad)
{
	const struct pviommu_op *op = &run->batch[bad].sent;
	unsigned int i;

	printf("# batch %u, op %u of %u, seed %llu\n", run->batches, bad, run->nr, run->seed);
	for (i = bad > 400 ? bad - 400 : 0; i < bad; i++)
		if (may_matter(&run->batch[i].want, &run->batch[bad].sent))
			print_op("before", &run->batch[i].want);
	print_op("sent  ", &run->batch[bad].sent);
	print_op("wanted", &run->batch[bad].want);
	print_op("got   ", run->batch[bad].slot);
	if (op->code == PVIOMMU_OP_LOOKUP && op->domain < MODEL_DOMAINS &&
	    run->model.domains[op->domain].levels)
		print_walk(run, &run->model.domains[op->domain], op->lookup.iova);
}

void run_add(struct run *run, unsigned int ring, struct pviommu_op op)
{
	struct entry *entry = &run->batch[run->nr++];

	op.status = PVIOMMU_STATUS_PENDING;
	entry->sent = op;
	entry->want = op;
	model_execute(&run->model, ring, &entry->want, &entry->reply);
	entry->slot = pv_push(&run->vm.ring[ring], op);
	run->in_ring[ring]++;
}

static bool all_done(const struct run *run)
{
	unsigned int i;

	for (i = 0; i < RINGS; i++)
		if (__atomic_load_n(&run->vm.ring[i].hdr->cons, __ATOMIC_ACQUIRE) !=
		    run->vm.ring[i].hdr->prod)
			return false;
	return true;
}

/* The host serves rings in order, so ops are executed in the order of the batch */
static bool kick(struct run *run)
{
	unsigned int i;

	pv_cov_drop(&run->cov);
	for (i = 0; i < MAX_KICKS && !all_done(run); i++) {
		pv_cap_write(&run->vm, 0, PVIOMMU_CAP_DOORBELL_OFF,
			     PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL));
		pv_cov_take(&run->cov);
		run_server_drain(run);
	}
	run->kicks += i;
	for (i = 0; i < RINGS; i++)
		if (run->vm.ring[i].hdr->error)
			printf("# ring %u stopped: %u\n", i, run->vm.ring[i].hdr->error);
	return all_done(run);
}

bool run_same_stats(const struct pviommu_stats *got, const struct pviommu_stats *want)
{
	return got->ops == want->ops && got->ops_failed == want->ops_failed &&
	       got->pages_mapped == want->pages_mapped &&
	       got->pages_pinned == want->pages_pinned && got->domains == want->domains &&
	       got->mappings == want->mappings;
}

static bool same_probe(const struct pviommu_probe *got, const struct pviommu_probe *want)
{
	return got->endpoint == want->endpoint && got->group == want->group &&
	       got->domain == want->domain && got->nr_regions == want->nr_regions &&
	       got->pasid_bits == want->pasid_bits &&
	       got->window_start == want->window_start && got->window_last == want->window_last;
}

/* Answers of full length, each at a place of its own */
static bool reply_is_good(struct run *run, const struct entry *entry)
{
	const struct pviommu_op *op = &entry->sent;

	if (entry->reply.code == PVIOMMU_OP_DIRTY_READ)
		return op->dirty.gpa >= PV_DATA ||
		       !memcmp(pv_mem(&run->vm, op->dirty.gpa), entry->reply.dirty,
			       (op->dirty.size / PV_PAGE + 63) / 64 * 8);
	if (!entry->reply.code || op->buf.gpa >= PV_DATA)
		return true;
	if (entry->reply.code == PVIOMMU_OP_STATS && op->buf.size >= sizeof(struct pviommu_stats))
		return run_same_stats(pv_mem(&run->vm, op->buf.gpa), &entry->reply.stats);
	if (entry->reply.code == PVIOMMU_OP_PROBE && op->buf.size >= sizeof(struct pviommu_probe))
		return same_probe(pv_mem(&run->vm, op->buf.gpa), &entry->reply.probe);
	return true;
}

void run_print_stats(const char *what, const struct pviommu_stats *stats)
{
	printf("# %s: ops %llu failed %llu mapped %llu pinned %llu domains %llu mappings %llu\n",
	       what, stats->ops, stats->ops_failed, stats->pages_mapped, stats->pages_pinned,
	       stats->domains, stats->mappings);
}

static void count(struct run *run, const struct pviommu_op *op)
{
	unsigned int group = op->code >> 8, nr = op->code & 0xff;

	if (group >= ARRAY_SIZE(run->done) || nr >= ARRAY_SIZE(run->done[0]))
		return;
	if (op->status)
		run->refused[group][nr]++;
	else
		run->done[group][nr]++;
}

static bool batch_is_good(struct run *run)
{
	unsigned int i;

	for (i = 0; i < run->nr; i++) {
		struct entry *entry = &run->batch[i];

		count(run, &entry->want);
		if (!memcmp(entry->slot, &entry->want, sizeof(entry->want)) &&
		    reply_is_good(run, entry))
			continue;
		complain(run, i);
		if (entry->reply.code == PVIOMMU_OP_STATS) {
			run_print_stats("wanted", &entry->reply.stats);
			run_print_stats("got", pv_mem(&run->vm, entry->sent.buf.gpa));
			run->look_where = true;
		}
		return false;
	}
	return true;
}

bool run_submit(struct run *run)
{
	bool good;

	good = kick(run) && batch_is_good(run) && run_bad_are_good(run) && run_server_is_good(run);
	run->batches++;
	run->nr = 0;
	memset(run->in_ring, 0, sizeof(run->in_ring));
	return good;
}

bool run_submit_one(struct run *run, struct pviommu_op op, __u32 *status)
{
	run_add(run, 0, op);
	*status = run->batch[0].want.status;
	return run_submit(run);
}

/* ---- comparing ----------------------------------------------------------- */

/* IOVAs where ops of the last batch began and ended, and random ones */
bool run_look_up(struct run *run, const __u64 *iovas, const __u32 *domains, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		run_add(run, i * RINGS / n, pv_op_lookup(domains[i], iovas[i]));
	run->lookups += n;
	return run_submit(run);
}

/* Keep some IOVAs of the batch, which will be emptied */
unsigned int run_suspects(struct run *run, __u64 *iovas, __u32 *domains, unsigned int max)
{
	unsigned int n = 0, i;

	for (i = 0; i < run->nr && n + 5 < max; i += 1 + fuzz_below(&run->fuzz, 8)) {
		const struct pviommu_op *op = &run->batch[i].sent;
		__u64 size = op->code == PVIOMMU_OP_UNMAP ? op->unmap.size : op->map.size;
		__u64 at[] = { 0, size - 1, size, -1ULL, size / 2 };
		unsigned int k;

		if (op->code == PVIOMMU_OP_INVALIDATE)
			size = op->inv.size;
		else if (op->code != PVIOMMU_OP_MAP && op->code != PVIOMMU_OP_UNMAP)
			continue;
		for (k = 0; k < ARRAY_SIZE(at); k++, n++) {
			domains[n] = op->domain;
			iovas[n] = op->raw[0] + at[k];
		}
	}
	for (i = 0; i < 64 && n < max; i++, n++) {
		domains[n] = fuzz_domain(&run->fuzz);
		iovas[n] = run->model.domains[domains[n] % MODEL_DOMAINS].levels ?
			   fuzz_table_iova(&run->fuzz) : fuzz_iova(&run->fuzz);
	}
	return n;
}

static bool sweep_range(struct run *run, __u32 domain, __u64 iova, unsigned int npages)
{
	unsigned int p;

	for (p = 0; p < npages; p++) {
		run_add(run, run->nr * RINGS / RING_OPS, pv_op_lookup(domain, iova + p * PV_PAGE));
		if (run->nr == RING_OPS && !run_submit(run))
			return false;
	}
	run->lookups += npages;
	return true;
}

#define SWEEP_BLOCKS	6

static bool sweep_domain(struct run *run, __u32 domain)
{
	const struct model_domain *d = &run->model.domains[domain];
	unsigned int i;

	for (i = 0; !d->levels && i < MODEL_ARENAS; i++)
		if (!sweep_range(run, domain, run->model.arenas[i].iova,
				 run->model.arenas[i].npages))
			return false;
	/* A table may map much more: a part of that is enough */
	for (i = 0; d->levels && i < d->nr_blocks; i++)
		if ((i < SWEEP_BLOCKS || !fuzz_below(&run->fuzz, d->nr_blocks / SWEEP_BLOCKS)) &&
		    !sweep_range(run, domain, d->blocks[i]->iova, MODEL_BLOCK))
			return false;
	return true;
}

/* Every page of every domain */
bool run_sweep(struct run *run)
{
	__u32 d;

	for (d = PVIOMMU_DOMAIN_FIRST; d < MODEL_DOMAINS; d++)
		if (run->model.domains[d].exists && !sweep_domain(run, d))
			return false;
	return run_submit(run);
}

