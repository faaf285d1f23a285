// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "now.h"
#include "pv_late.h"
#include "pv_load.h"
#include "pv_sys.h"

#define IOVA		PV_LOAD_IOVA
#define TARGET		PV_LOAD_TARGET
#define LOW_SIZE	(16ULL << 20)
#define BUSY_SIZE	(8ULL << 20)
#define MAY_LOCK	(8ULL << 20)	/* bytes that this VM may lock, to use up locked memory */
#define LATE		(PV_DATA + 0x400000)	/* the page that the VM stalls at */

__u32 pv_load_timed(struct pv_ring *r, struct pviommu_op op, __u64 *longest)
{
	struct pviommu_op *slot = pv_push(r, op);
	__u64 start, took;

	while (r->hdr->cons != r->hdr->prod && !r->hdr->error) {
		start = now_ns();
		pv_kick(r);
		took = now_ns() - start;
		*longest = took > *longest ? took : *longest;
	}
	r->last = *slot;
	return r->hdr->error ? PV_RING_STOPPED : slot->status;
}

struct pviommu_op pv_load_release(struct pv_vm *vm, __u64 gpa, __u32 count)
{
	__u32 i;

	for (i = 0; i < count; i++)
		pv_list(vm)[i] = (gpa >> 12) + i;
	return pv_op_release(count, 0);
}

bool pv_load_is_released(struct pv_vm *vm)
{
	struct pviommu_event ev = {};

	while (ev.type != PVIOMMU_EV_RELEASED)
		if (!pv_event_wait(vm, &ev, 10000))
			return false;
	return ev.size;
}

/* ---- quotas to use up ------------------------------------------------- */

static bool fill_memory(struct pv_load_vm *g)
{
	__u64 size, iova = IOVA * 2;
	__u32 status = 0;

	if (pv_limit_locked(MAY_LOCK))
		return false;
	for (size = PV_2M; size >= PV_PAGE; size /= 2)
		while (!(status = __pv_map(g->r, g->dom, iova, PV_DATA, size, PV_RW)))
			iova += size;
	return status == PVIOMMU_ENOMEM && iova - IOVA * 2 > MAY_LOCK / 2;
}

static bool fill_mappings(struct pv_load_vm *g)
{
	__u64 iova = IOVA * 2;

	while (!__pv_map(g->r, g->dom, iova, PV_DATA, PV_PAGE, PV_R))
		iova += PV_2M;
	return g->r->last.status == PVIOMMU_ENOSPC;
}

static bool fill_domains(struct pv_load_vm *g)
{
	while (pv_new_domain(g->r, g->vm.dev[0].id))
		;
	return g->r->last.status == PVIOMMU_ENOSPC;
}

static bool fill_watched(struct pv_load_vm *g)
{
	__u64 gpa = PV_LOAD_TYPED;

	while (!__pv_exec(g->r, pv_op_type_set(gpa, PV_PAGE, PVIOMMU_MEM_IOREQ_SERVER)))
		gpa += PV_PAGE;
	return g->r->last.status == PVIOMMU_ENOSPC && gpa > PV_LOAD_TYPED;
}

static bool fill_releases(struct pv_load_vm *g)
{
	int i = 0;

	if (__pv_map(g->r, g->dom, IOVA * 2, PV_DATA, PV_PAGE, PV_RW))
		return false;
	while (!__pv_exec(g->r, pv_load_release(&g->vm, PV_DATA, 1)))
		i++;
	return g->r->last.status == PVIOMMU_ENOSPC && i == 64;
}

/* An event for each mapping of a page that is released, more than there is room for */
static bool fill_events(struct pv_load_vm *g)
{
	int i;

	for (i = 0; i < 2 * PVIOMMU_EVENT_SLOTS; i++)
		if (__pv_map(g->r, g->dom, (IOVA + i * PV_PAGE) * 2, PV_DATA, PV_PAGE, PV_R))
			return false;
	if (__pv_exec(g->r, pv_load_release(&g->vm, PV_DATA, 1)))
		return false;
	for (i = 0; i < 1000 && !pv_events(&g->vm)->lost; i++)
		usleep(10000);
	return pv_events(&g->vm)->lost;
}

static bool fill_slots(struct pv_load_vm *g)
{
	struct pv_region extra = { .gpa = 0x200000000ULL, .size = PV_PAGE, .writable = true };
	int ret;

	extra.hva = pv_mem(&g->vm, PV_DATA);
	while (!(ret = pv_region_map(&g->vm, &extra)))
		extra.gpa += PV_2M;
	return ret == -ENOSPC && extra.gpa > 0x200000000ULL;
}

const struct pv_load_quota pv_load_quotas[PV_LOAD_QUOTAS] = {
	{ "locked memory", fill_memory },
	{ "mappings", fill_mappings, "max_mappings", "64" },
	{ "domains", fill_domains, "max_domains", "8" },
	{ "watched pages", fill_watched, "max_watched", "16" },
	{ "releases", fill_releases, "release_ms", "30000" },
	{ "events", fill_events, "max_events", "0" },
	{ "slots", fill_slots, "max_slots", "16" },
};

/* ---- jobs to keep the host busy with ---------------------------------- */

static bool busy_with_maps(struct pv_load_vm *g, __u64 *longest)
{
	struct pviommu_op map = pv_op_map(g->dom, IOVA * 2, PV_DATA, BUSY_SIZE, PV_RW);

	return !pv_load_timed(g->r, map, longest) &&
	       !pv_load_timed(g->r, pv_op_unmap(g->dom, IOVA * 2, BUSY_SIZE), longest) &&
	       !pv_load_timed(g->r, pv_op_inv(g->dom), longest);
}

static bool busy_with_a_domain(struct pv_load_vm *g, __u64 *longest)
{
	__u32 dom = pv_new_domain(g->r, g->vm.dev[0].id);
	int i;

	for (i = 0; i < 4; i++) {
		struct pviommu_op map = pv_op_map(dom, IOVA * 2 + i * BUSY_SIZE, PV_DATA, BUSY_SIZE,
						  PV_R);

		if (pv_load_timed(g->r, map, longest))
			return false;
	}
	return !pv_load_timed(g->r, pv_op_free(dom), longest);
}

static bool busy_with_bypass(struct pv_load_vm *g, __u64 *longest)
{
	__u32 ep = g->vm.dev[0].id;

	return !pv_load_timed(g->r, pv_op_attach(ep, PVIOMMU_DOMAIN_BYPASS), longest) &&
	       !pv_load_timed(g->r, pv_op_attach(ep, g->dom), longest);
}

static bool busy_with_starts(struct pv_load_vm *g, __u64 *longest)
{
	return !__pv_reset(&g->vm) && (g->dom = __pv_start_mapped(&g->vm, IOVA, TARGET));
}

static bool busy_with_releases(struct pv_load_vm *g, __u64 *longest)
{
	struct pviommu_op op = pv_load_release(&g->vm, PV_DATA + PV_2M, PVIOMMU_LIST_MAX);

	return !pv_load_timed(g->r, op, longest) && pv_load_is_released(&g->vm);
}

static bool busy_with_memory(struct pv_load_vm *g, __u64 *longest)
{
	struct pviommu_op map = pv_op_map(g->dom, IOVA * 2, PV_HIGH, PV_HIGH_SIZE, PV_RW);
	struct pviommu_event ev;

	if (pv_load_timed(g->r, map, longest) ||
	    pv_region_unmap(&g->vm, &g->vm.high) || pv_region_map(&g->vm, &g->vm.high))
		return false;
	while (pv_event_next(&g->vm, &ev))
		;
	return true;
}

const struct pv_load_job pv_load_jobs[PV_LOAD_JOBS] = {
	{ "maps", busy_with_maps },
	{ "frees domains", busy_with_a_domain },
	{ "goes to bypass and back", busy_with_bypass },
	{ "starts anew", busy_with_starts },
	{ "releases pages", busy_with_releases },
	{ "loses memory", busy_with_memory },
};

/* ---- where to stall --------------------------------------------------- */

static void *stuck_in_map(void *arg)
{
	struct pv_load_vm *g = arg;

	return __pv_map(g->r, g->dom, IOVA * 2, LATE, PV_PAGE, PV_RW) ? NULL : arg;
}

static void *stuck_in_answer(void *arg)
{
	struct pv_load_vm *g = arg;

	return __pv_exec(g->r, pv_op_buf(PVIOMMU_OP_STATS, 0, LATE, PV_PAGE)) ? NULL : arg;
}

static void *stuck_in_bypass(void *arg)
{
	struct pv_load_vm *g = arg;

	return __pv_attach(g->r, g->vm.dev[0].id, PVIOMMU_DOMAIN_BYPASS) ? NULL : arg;
}

/* The page, when it comes, is all zeroes, which is no valid start block */
static void *stuck_in_start(void *arg)
{
	struct pv_load_vm *g = arg;

	return !__pv_reset(&g->vm) &&
	       pv_command(&g->vm, PVIOMMU_CMD_START, LATE) == PVIOMMU_EINVAL ? arg : NULL;
}

static void *lose_memory(void *arg)
{
	struct pv_load_vm *g = arg;

	__atomic_store_n(&g->behind, gettid(), __ATOMIC_RELAXED);
	return pv_region_unmap(&g->vm, &g->vm.high) ? NULL : arg;
}

const struct pv_load_stall pv_load_stalls[PV_LOAD_STALLS] = {
	{ "MAP", stuck_in_map },
	{ "STATS", stuck_in_answer },
	{ "bypass", stuck_in_bypass },
	{ "START", stuck_in_start },
	{ "MAP, and UNMAP_DMA behind it", stuck_in_map, lose_memory },
	{ "bypass, and UNMAP_DMA behind it", stuck_in_bypass, lose_memory },
};

/* ---- the process ------------------------------------------------------ */

static char work_until_told(struct pv_load_vm *g, unsigned int job, int out)
{
	struct pv_load_told *told = g->told;
	char begun = PV_PEER_DONE;

	told->rounds = 0;
	told->longest = 0;
	do {
		if (!pv_load_jobs[job].work(g, &told->longest))
			return PV_PEER_FAILED;
		/* The first answer comes only when a round is complete */
		if (!told->rounds && write(out, &begun, 1) != 1)
			_exit(1);
		__atomic_add_fetch(&told->rounds, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&told->stop, __ATOMIC_RELAXED));
	return PV_PEER_DONE;
}

static bool told_to_go_on(int in)
{
	struct pollfd poll_fd = { .fd = in, .events = POLLIN };
	char what;

	return poll(&poll_fd, 1, PV_LOAD_STALL_MS) == 1 && read(in, &what, 1) == 1 &&
	       what == PV_LOAD_GO_ON;
}

/* Stall until told to go on. Then all threads must succeed */
static char stand_still(struct pv_load_vm *g, unsigned int nr, int in, int out)
{
	void *page = pv_mem(&g->vm, LATE), *ret, *behind = g;
	const struct pv_load_stall *stall = &pv_load_stalls[nr];
	pthread_t first, second;
	char begun = PV_PEER_DONE;
	bool in_time;

	g->behind = 0;
	g->late = pv_late_open();
	if (g->late < 0)
		return PV_LOAD_UNABLE;
	if (!pv_late_begin(g->late, page) ||
	    pthread_create(&first, NULL, stall->work, g) || !pv_late_is_waited_for(g->late))
		return PV_PEER_FAILED;
	if (stall->behind && (pthread_create(&second, NULL, stall->behind, g) ||
			      !pv_thread_waits(&g->behind)))
		return PV_PEER_FAILED;
	if (write(out, &begun, 1) != 1)
		_exit(1);
	in_time = told_to_go_on(in);
	if (!pv_late_end(g->late, page, NULL))
		return PV_PEER_FAILED;
	pthread_join(first, &ret);
	if (stall->behind)
		pthread_join(second, &behind);
	close(g->late);
	return in_time && ret && behind ? PV_PEER_DONE : PV_PEER_FAILED;
}

int pv_load_open(struct pv_load_vm *g, int first)
{
	int ret;

	g->kvm = (struct pv_kvm) { -1, -1 };
	ret = pv_vm_init_from(&g->vm, first, 1, LOW_SIZE) ?: pv_kvm_open_rest(&g->kvm, &g->vm);
	if (ret)
		return ret;
	g->r = &g->vm.ring[0];
	g->dom = __pv_start_mapped(&g->vm, IOVA, TARGET);
	return g->dom ? 0 : -EIO;
}

void pv_load_close(struct pv_load_vm *g)
{
	pv_vm_close(&g->vm);
	pv_kvm_close(&g->kvm);
}

static void load_main(struct pv_load_told *told, int in, int out)
{
	struct pv_load_vm g = { .told = told };
	int ret = pv_load_open(&g, 0);
	char what, answer = ret == -ENODEV ? PV_LOAD_UNABLE : ret ? PV_PEER_FAILED : PV_PEER_DONE;

	while (write(out, &answer, 1) == 1 && read(in, &what, 1) == 1) {
		if (what == PV_LOAD_GO_ON)
			answer = PV_PEER_FAILED;
		else if (what >= PV_LOAD_STALL)
			answer = stand_still(&g, what - PV_LOAD_STALL, in, out);
		else if (what >= PV_LOAD_WORK)
			answer = work_until_told(&g, what - PV_LOAD_WORK, out);
		else
			answer = pv_load_quotas[what - PV_LOAD_FILL].fill(&g) ? PV_PEER_DONE :
										PV_PEER_FAILED;
	}
	_exit(0);
}

pid_t pv_load_start(struct pv_load_vm *other, struct pv_load_told *told, int *to, int *from)
{
	pid_t pid = pv_peer_fork(to, from);

	if (!pid) {
		pv_load_close(other);
		load_main(told, *from, *to);
	}
	return pid;
}
