// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server of the VM's memory type, which is started and ended at times. The pages with the type
 * that it is told of are compared with the model.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pv_iommu_server.h>

#include "pv_op.h"
#include "pv_run.h"
#include "pv_server.h"
#include "pv_sys.h"

#define RING_SIZE	(sizeof(struct pviommu_server_ring) + \
			 PV_SERVER_RECORDS * sizeof(struct pviommu_server_record))

void run_server_close(struct run *run)
{
	struct run_server *server = &run->server;

	if (server->ring)
		munmap(server->ring, RING_SIZE);
	server->ring = NULL;
	if (server->fd > 0)
		close(server->fd);
	server->fd = 0;
	model_claim(&run->model, false);
}

static bool claim(struct run *run)
{
	struct run_server *server = &run->server;

	*server = (struct run_server) { .fd = pv_server_claim(run->self) };
	if (server->fd <= 0)
		return false;
	server->ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, server->fd, 0);
	if (server->ring == MAP_FAILED) {
		server->ring = NULL;
		return false;
	}
	model_claim(&run->model, true);
	run->claims++;
	return true;
}

/* The server's note of whether a page has the type; NULL if the page can have none */
static bool *noted(struct run *run, __u64 gpa)
{
	const struct model *m = &run->model;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(run->server.typed); i++)
		if (m->regions[i].kvm && gpa - m->regions[i].gpa < m->regions[i].size)
			return &run->server.typed[i][(gpa - m->regions[i].gpa) / PV_PAGE];
	return NULL;
}

static bool can_read(const struct run *run, __u64 gpa)
{
	char byte;
	struct pviommu_server_read req = {
		.argsz = sizeof(req),
		.gpa = gpa,
		.addr = (unsigned long)&byte,
		.size = sizeof(byte),
	};

	return !ioctl(run->server.fd, PVIOMMU_SERVER_READ, &req);
}

/* Drop pages that can't be read any more */
static void look_at_range(struct run *run, __u64 gpa, __u64 last)
{
	const struct model *m = &run->model;
	unsigned int i, p;

	for (i = 0; i < ARRAY_SIZE(run->server.typed); i++)
		for (p = 0; p < m->regions[i].size / PV_PAGE && p < MODEL_TYPED; p++) {
			__u64 at = m->regions[i].gpa + p * PV_PAGE;

			if (run->server.typed[i][p] && at >= gpa && at <= last)
				run->server.typed[i][p] = can_read(run, at);
		}
}

static void take(struct run *run, const struct pviommu_server_record *rec)
{
	bool *note = noted(run, rec->gpa);

	run->records++;
	if (rec->type == PVIOMMU_REC_LOST)
		look_at_range(run, rec->gpa, rec->last);
	else if (rec->type == PVIOMMU_REC_WRITE)
		run->writes++;
	else if (note && rec->type == PVIOMMU_REC_PAGE)
		*note = true;
	else if (note && rec->type == PVIOMMU_REC_NO_PAGE)
		*note = false;
}

void run_server_drain(struct run *run)
{
	struct pviommu_server_ring *ring = run->server.ring;
	__u32 cons;

	if (!ring)
		return;
	cons = ring->cons;
	while (cons != __atomic_load_n(&ring->prod, __ATOMIC_ACQUIRE)) {
		struct pviommu_server_record rec = ring->rec[cons % PV_SERVER_RECORDS];

		__atomic_store_n(&ring->cons, ++cons, __ATOMIC_RELEASE);
		take(run, &rec);
	}
}

/*
 * The server must know of all pages of the model. It may know of more pages if the interface
 * has ended and the record of that has not come yet: those can't be read.
 */
bool run_server_is_good(struct run *run)
{
	const struct model *m = &run->model;
	unsigned int i, p;

	if (!run->server.ring || run->server.to_be_told)
		return true;
	run_server_drain(run);
	if (run->server.ring->state != PVIOMMU_SERVER_ACTIVE) {
		printf("# batch %u, seed %llu: the claim has ended\n", run->batches, run->seed);
		return false;
	}
	for (i = 0; i < ARRAY_SIZE(run->server.typed); i++)
		for (p = 0; p < MODEL_TYPED; p++) {
			__u64 at = m->regions[i].gpa + p * PV_PAGE;

			if (run->server.typed[i][p] == m->typed[i][p])
				continue;
			if (!m->typed[i][p] && run->server.interface_went && !can_read(run, at))
				continue;
			printf("# batch %u, seed %llu: page %llx %s of the server's type\n",
			       run->batches, run->seed, at, m->typed[i][p] ? "is" : "is not");
			return false;
		}
	return true;
}

bool run_change_server(struct run *run)
{
	if (run->kvm.vm < 0)
		return true;
	if (!run->server.ring)
		return claim(run);
	run_server_close(run);
	return true;
}
