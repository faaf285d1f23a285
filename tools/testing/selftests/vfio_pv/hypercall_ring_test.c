// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings, the event ring and the doorbell register: indices, wrapping, and what stops a ring.
 * A ring that has stopped stays so until RESET, and other rings go on.
 */
#include "lib/pv_test.h"

FIXTURE(ring)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_dev *dev;
};

FIXTURE_SETUP(ring)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->dev = &self->vm.dev[0];
}

FIXTURE_TEARDOWN(ring)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

TEST_F(ring, wraps)
{
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];
	unsigned int i;

	pv_start(vm, 1, PVIOMMU_RING_ORDER_MIN);
	for (i = 0; i < 50; i++)
		pv_exec(r, pv_op(i % 3 ? PVIOMMU_OP_NOP : PVIOMMU_OP_FEATURES));
	for (i = 0; i < r->slots; i++)
		pv_push(r, pv_op(PVIOMMU_OP_NOP));
	r->kicks = 0;
	ASSERT_TRUE(pv_run(r));
	EXPECT_EQ(1, r->kicks);
	for (i = 0; i < r->slots; i++)
		EXPECT_EQ(PVIOMMU_OK, r->ops[i].status);
	EXPECT_EQ(50 + r->slots, r->hdr->cons);
}

/* hdr->served counts the doorbells that reached the ring, also if no op is finished */
TEST_F(ring, served)
{
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];
	__u32 domain, served;

	pv_start(vm, 2, 3);
	EXPECT_EQ(0, r->hdr->served);
	pv_kick(r);
	EXPECT_EQ(1, r->hdr->served);
	EXPECT_EQ(0, vm->ring[1].hdr->served);
	domain = pv_new_domain(r, self->dev->id);
	ASSERT_NE(0, domain);

	/* One op that takes several doorbells */
	ASSERT_TRUE(pv_param_set("doorbell_pages", "512"));
	served = r->hdr->served;
	r->kicks = 0;
	pv_map(r, domain, PV_HIGH, PV_LOW, PV_LOW_SIZE, PV_RW);
	pv_params_restore();
	EXPECT_LE(4, r->kicks);
	EXPECT_EQ(served + r->kicks, r->hdr->served);

	/* The host keeps the count: the guest's store has no effect. START begins with 0 */
	r->hdr->served = 77;
	served += r->kicks;
	pv_exec(r, pv_op(PVIOMMU_OP_NOP));
	EXPECT_EQ(served + 1, r->hdr->served);
	pv_reset(vm);
	pv_start(vm, 1, 3);
	pv_exec(r, pv_op(PVIOMMU_OP_NOP));
	EXPECT_EQ(1, r->hdr->served);

	/* A stopped ring is not served */
	r->hdr->prod = 100;
	pv_kick(r);
	served = r->hdr->served;
	EXPECT_EQ(PVIOMMU_EINVAL, r->hdr->error);
	pv_kick(r);
	EXPECT_EQ(served, r->hdr->served);
}

/* prod is further ahead than the ring is long: this ring stops, the next one goes on */
TEST_F(ring, index_out_of_range)
{
	struct pv_vm *vm = &self->vm;

	pv_start(vm, 2, 3);
	__atomic_store_n(&vm->ring[0].hdr->prod, 9, __ATOMIC_RELEASE);
	pv_kick(&vm->ring[0]);
	EXPECT_EQ(PVIOMMU_EINVAL, vm->ring[0].hdr->error);
	EXPECT_EQ(0, vm->ring[0].hdr->cons);
	pv_exec(&vm->ring[1], pv_op(PVIOMMU_OP_NOP));

	/* Repairing the index does not start the ring again */
	vm->ring[0].hdr->prod = 0;
	vm->ring[0].hdr->error = 0;
	pv_push(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
	pv_kick(&vm->ring[0]);
	EXPECT_EQ(0, vm->ring[0].hdr->cons);
	pv_reset(vm);
	pv_start(vm, 2, 3);
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
}

TEST_F(ring, index_backwards)
{
	struct pv_vm *vm = &self->vm;

	pv_start(vm, 2, 3);
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
	vm->ring[0].hdr->prod = 0;
	pv_kick(&vm->ring[0]);
	EXPECT_EQ(PVIOMMU_EINVAL, vm->ring[0].hdr->error);
	pv_exec(&vm->ring[1], pv_op(PVIOMMU_OP_NOP));
}

TEST_F(ring, cookie_wrong)
{
	struct pv_vm *vm = &self->vm;

	pv_start(vm, 2, 3);
	vm->ring[0].hdr->cookie ^= 1;
	pv_push(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
	pv_kick(&vm->ring[0]);
	EXPECT_EQ(PVIOMMU_EINVAL, vm->ring[0].hdr->error);
	EXPECT_EQ(0, vm->ring[0].hdr->cons);
	EXPECT_EQ(PVIOMMU_STATUS_PENDING, vm->ring[0].ops[0].status);
	pv_exec(&vm->ring[1], pv_op(PVIOMMU_OP_NOP));
}

/* The host keeps its own cons: the guest's store to it has no effect */
TEST_F(ring, cons_is_the_hosts)
{
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];

	pv_start(vm, 1, 3);
	pv_exec(r, pv_op(PVIOMMU_OP_NOP));
	r->hdr->cons = 7;
	pv_push(r, pv_op(PVIOMMU_OP_NOP));
	pv_kick(r);
	EXPECT_EQ(2, r->hdr->cons);
	EXPECT_EQ(0, r->hdr->error);
	EXPECT_EQ(PVIOMMU_OK, r->ops[1].status);
}

TEST_F(ring, memory_leaves)
{
	struct pv_vm *vm = &self->vm;
	struct pviommu_ring_hdr *hdr = pv_mem(vm, PV_HIGH);
	struct pv_ring *r = &vm->ring[1];

	pv_start_prepare(vm, 3, 3);
	/* Ring 1 has its header in a region of its own, ring 2 its ops */
	*hdr = (struct pviommu_ring_hdr) { .cookie = vm->cookie };
	pv_start_descs(vm)[1].hdr = PV_HIGH;
	pv_start_descs(vm)[2].ops = PV_HIGH + 0x1000;
	ASSERT_EQ(PVIOMMU_OK, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
	r->hdr = hdr;
	pv_exec(r, pv_op(PVIOMMU_OP_NOP));

	ASSERT_EQ(0, pv_region_unmap(vm, &vm->high));
	pv_push(r, pv_op(PVIOMMU_OP_NOP));
	pv_kick(r);
	EXPECT_EQ(1, hdr->cons);
	vm->ring[2].hdr->prod = 1;
	pv_kick(&vm->ring[2]);
	EXPECT_EQ(0, vm->ring[2].hdr->cons);
	EXPECT_EQ(PVIOMMU_EFAULT, vm->ring[2].hdr->error);
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));

	/* They stay stopped when the memory is back */
	ASSERT_EQ(0, pv_region_map(vm, &vm->high));
	pv_kick(r);
	EXPECT_EQ(1, hdr->cons);
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
}

/* The last bytes of a page are no part of the next one, which leaves */
TEST_F(ring, neighbour_leaves)
{
	struct pv_region next = {
		.gpa = PV_HIGH + PV_HIGH_SIZE, .size = PV_2M, .hva = self->vm.rom.hva,
		.writable = true,
	};
	const __u64 at = next.gpa - sizeof(struct pviommu_ring_hdr);
	struct pv_vm *vm = &self->vm;
	struct pviommu_ring_hdr *hdr = pv_mem(vm, at);
	struct pv_ring *r = &vm->ring[0];

	ASSERT_EQ(0, pv_region_unmap(vm, &vm->rom));
	ASSERT_EQ(0, pv_region_map(vm, &next));
	pv_start_prepare(vm, 1, 3);
	*hdr = (struct pviommu_ring_hdr) { .cookie = vm->cookie };
	pv_start_descs(vm)[0].hdr = at;
	ASSERT_EQ(PVIOMMU_OK, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
	r->hdr = hdr;
	pv_exec(r, pv_op(PVIOMMU_OP_NOP));
	ASSERT_EQ(0, pv_region_unmap(vm, &next));
	pv_exec(r, pv_op(PVIOMMU_OP_NOP));
	EXPECT_EQ(2, hdr->cons);
}

TEST_F(ring, over_two_regions)
{
	struct pv_region next = {
		.gpa = PV_HIGH + PV_HIGH_SIZE, .size = PV_2M, .hva = self->vm.rom.hva,
		.writable = true,
	};
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];
	struct pviommu_op *second = (void *)next.hva;
	unsigned int i;

	ASSERT_EQ(0, pv_region_unmap(vm, &vm->rom));
	ASSERT_EQ(0, pv_region_map(vm, &next));
	/* 64 ops in the last page of one region, 64 in the first page of the next */
	pv_start_prepare(vm, 1, 7);
	pv_start_descs(vm)[0].ops = next.gpa - PV_PAGE;
	ASSERT_EQ(PVIOMMU_OK, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
	r->ops = pv_mem(vm, next.gpa - PV_PAGE);
	r->slots = 64;
	for (i = 0; i < 64; i++)
		pv_exec(r, pv_op(PVIOMMU_OP_FEATURES));
	second[0] = pv_op(PVIOMMU_OP_FEATURES);
	r->hdr->prod++;
	ASSERT_TRUE(pv_run(r));
	EXPECT_EQ(PVIOMMU_OK, second[0].status);
	EXPECT_NE(0, second[0].result);
}

TEST_F(ring, event_ring_leaves)
{
	struct pv_vm *vm = &self->vm;
	struct pviommu_start *start = pv_start_prepare(vm, 1, 3);
	struct pviommu_event_ring *events = pv_mem(vm, PV_HIGH);

	memcpy(events, pv_events(vm), PV_PAGE);
	start->events = PV_HIGH;
	ASSERT_EQ(PVIOMMU_OK, pv_command(vm, PVIOMMU_CMD_START, PV_AT_START));
	ASSERT_EQ(0, pv_region_unmap(vm, &vm->high));
	/* An event must not be written to memory that was taken away */
	ASSERT_NE(0, pv_new_domain(&vm->ring[0], self->dev->id));
	pv_map(&vm->ring[0], PVIOMMU_DOMAIN_FIRST, PV_2M, PV_ROM, PV_PAGE, PV_R);
	ASSERT_EQ(0, pv_region_unmap(vm, &vm->rom));
	EXPECT_EQ(0, events->prod);
	pv_exec(&vm->ring[0], pv_op(PVIOMMU_OP_NOP));
	EXPECT_EQ(0, pv_stats(&vm->ring[0]).events_lost);
}

/* Doorbell values that name no ring of this interface */
TEST_F(ring, doorbell_values)
{
	const __u32 values[] = {
		0, 1, 0xffffffff, PVIOMMU_DOORBELL(1), PVIOMMU_DOORBELL(0xfffe),
		PVIOMMU_DOORBELL(0) ^ 0x80000000,
	};
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];
	unsigned int i;

	pv_start(vm, 1, 3);
	pv_push(r, pv_op(PVIOMMU_OP_NOP));
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		pv_cap_write(vm, 0, PVIOMMU_CAP_DOORBELL_OFF, values[i]);
		EXPECT_EQ(0, r->hdr->cons);
	}
	pv_kick(r);
	EXPECT_EQ(1, r->hdr->cons);
}

/* A doorbell by another process than the VMM has no effect: it does not have the memory */
TEST_F(ring, doorbell_of_another_process)
{
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = &vm->ring[0];
	int status;
	pid_t pid;

	pv_start(vm, 1, 3);
	pv_push(r, pv_op(PVIOMMU_OP_NOP));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pv_kick(r);
		_exit(r->hdr->cons);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, r->hdr->cons);
	ASSERT_TRUE(pv_run(r));
}

TEST_HARNESS_MAIN
