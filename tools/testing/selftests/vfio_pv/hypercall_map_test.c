// SPDX-License-Identifier: GPL-2.0-only
/*
 * What successful ops do, as far as it shows without DMA: queries, domains, MAP, MAP_LIST,
 * UNMAP and INVALIDATE, LOOKUP, and events about memory that leaves. For DMA see
 * hypercall_dma_test.
 */
#include "lib/pv_test.h"

#define IOVA	0x10000000ULL

FIXTURE(map)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct pv_state idle;	/* an empty domain, attached */
	__u32 ep;
	__u32 dom;
};

FIXTURE_SETUP(map)
{
	self->before = pv_begin();
	pv_setup_vm(&self->vm, 1, 1, PV_LOW_SIZE);
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[0].id;
	pv_start(&self->vm, 2, 6);
	self->dom = pv_new_domain(self->r, self->ep);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->ep, self->dom);
	self->idle = pv_state(self->r);
}

FIXTURE_TEARDOWN(map)
{
	pv_params_restore();
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

/* What the counters say; pages pinned beyond those of the empty domain */
#define expect_state(mapped, pinned, nr_mappings) do {				\
	struct pv_state __now = pv_state(self->r);				\
										\
	EXPECT_EQ(mapped, __now.pages_mapped);					\
	EXPECT_EQ(pinned, __now.pages_pinned - self->idle.pages_pinned);	\
	EXPECT_EQ(nr_mappings, __now.mappings);					\
} while (0)

/* LOOKUP leads to @_gpa, in a page that has @_size bytes from there to its end */
#define expect_lookup(_iova, _gpa, _size, _pgshift, _prot) do {			\
	EXPECT_EQ(PVIOMMU_OK, __pv_lookup(self->r, self->dom, _iova));		\
	EXPECT_EQ(_gpa, self->r->last.lookup.gpa);				\
	EXPECT_EQ(_size, self->r->last.lookup.size);				\
	EXPECT_EQ(_pgshift, self->r->last.lookup.pgshift);			\
	EXPECT_EQ(_prot, self->r->last.lookup.prot);				\
} while (0)

/* ---- queries ------------------------------------------------------- */

static struct pviommu_probe *probe(struct pv_ring *r, __u32 ep, __u32 size, __u32 *status)
{
	memset(pv_mem(r->vm, PV_AT_REPLY), 0xee, PV_PAGE);
	*status = __pv_exec(r, pv_op_buf(PVIOMMU_OP_PROBE, ep, PV_AT_REPLY, size));
	return pv_mem(r->vm, PV_AT_REPLY);
}

TEST_F(map, probe)
{
	struct pviommu_region *region;
	struct pviommu_probe *p;
	bool msi = false;
	__u32 status, i;

	p = probe(self->r, self->ep, PV_PAGE, &status);
	ASSERT_EQ(PVIOMMU_OK, status);
	EXPECT_EQ(sizeof(*p) + p->nr_regions * sizeof(*region), self->r->last.result);
	EXPECT_EQ(self->ep, p->endpoint);
	EXPECT_NE(0, p->group);
	EXPECT_EQ(0, p->flags & ~(PVIOMMU_PROBE_MSI_ISOLATED | PVIOMMU_PROBE_COHERENT |
				  PVIOMMU_PROBE_NOEXEC));
	EXPECT_EQ(PV_PAGE | PV_2M, p->pgsizes);
	EXPECT_EQ(0, p->window_start);
	EXPECT_LE((1ULL << 39) - 1, p->window_last);
	EXPECT_EQ(0, p->pasid_bits);
	EXPECT_EQ(self->dom, p->domain);
	EXPECT_EQ(0, p->reserved[0] | p->reserved[1]);

	region = (struct pviommu_region *)(p + 1);
	for (i = 0; i < p->nr_regions; i++, region++) {
		EXPECT_LE(region->start, region->last);
		EXPECT_LE(region->type, PVIOMMU_REGION_MSI);
		EXPECT_EQ(0, region->reserved);
		if (region->type == PVIOMMU_REGION_MSI && region->start <= 0xfee00000)
			msi = region->last >= 0xfeefffff;
		pv_err_map(PVIOMMU_ERANGE, self->r, self->dom, region->start, PV_DATA, PV_PAGE,
			   PV_RW);
	}
	EXPECT_TRUE(msi);

	/* All of the window can be mapped, and nothing beyond it */
	pv_map(self->r, self->dom, p->window_start, PV_DATA, PV_PAGE, PV_RW);
	pv_map(self->r, self->dom, p->window_last - PV_PAGE + 1, PV_DATA, PV_PAGE, PV_RW);
	pv_err_map(PVIOMMU_ERANGE, self->r, self->dom, p->window_last - PV_PAGE + 1, PV_DATA,
		   2 * PV_PAGE, PV_RW);
	pv_err_map(PVIOMMU_ERANGE, self->r, self->dom, p->window_last + 1, PV_DATA, PV_PAGE,
		   PV_RW);
}

TEST_F(map, probe_of_a_short_buffer)
{
	__u32 status, total, size;
	__u8 *bytes;

	probe(self->r, self->ep, PV_PAGE, &status);
	ASSERT_EQ(PVIOMMU_OK, status);
	total = self->r->last.result;
	for (size = 0; size <= total + 8; size += 4) {
		bytes = (__u8 *)probe(self->r, self->ep, size, &status);
		ASSERT_EQ(PVIOMMU_OK, status);
		EXPECT_EQ(total, self->r->last.result);
		EXPECT_EQ(0xee, bytes[size < total ? size : total]);
	}
	bytes = (__u8 *)probe(self->r, self->ep, 8, &status);
	EXPECT_EQ(0, memcmp(bytes, &self->ep, 4));
}

TEST_F(map, probe_follows_the_endpoint)
{
	__u32 status;

	pv_detach(self->r, self->ep, self->dom);
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED, probe(self->r, self->ep, PV_PAGE, &status)->domain);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BYPASS);
	EXPECT_EQ(PVIOMMU_DOMAIN_BYPASS, probe(self->r, self->ep, PV_PAGE, &status)->domain);
	pv_attach(self->r, self->ep, self->dom);
	EXPECT_EQ(self->dom, probe(self->r, self->ep, PV_PAGE, &status)->domain);
}

TEST_F(map, stats_of_a_short_buffer)
{
	__u8 *bytes = pv_mem(&self->vm, PV_AT_REPLY);

	memset(bytes, 0xee, PV_PAGE);
	pv_exec(self->r, pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, 12));
	EXPECT_EQ(sizeof(struct pviommu_stats), self->r->last.result);
	EXPECT_EQ(0, bytes[11]);
	EXPECT_EQ(0xee, bytes[12]);
	pv_exec(self->r, pv_op_buf(PVIOMMU_OP_STATS, 0, PV_AT_REPLY, PV_PAGE));
	EXPECT_EQ(0xee, bytes[sizeof(struct pviommu_stats)]);
}

/* ---- domains ------------------------------------------------------- */

TEST_F(map, attach_to_where_it_is)
{
	pv_attach(self->r, self->ep, self->dom);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BYPASS);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BYPASS);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
	pv_detach(self->r, self->ep, PVIOMMU_DOMAIN_BLOCKED);
}

/* Entering bypass pins all of the guest's memory, leaving it unpins that */
TEST_F(map, bypass_pins_all_memory)
{
	__u64 all = (PV_LOW_SIZE + PV_HIGH_SIZE + PV_ROM_SIZE) / PV_PAGE;
	struct pv_state bypass;

	EXPECT_EQ(pv_iface_pages(&self->vm), self->idle.pages_pinned);
	pv_attach(self->r, self->ep, PVIOMMU_DOMAIN_BYPASS);
	bypass = pv_state(self->r);
	EXPECT_EQ(self->idle.pages_pinned + all, bypass.pages_pinned);
	EXPECT_EQ(0, bypass.pages_mapped);
	pv_attach(self->r, self->ep, self->dom);
	bypass = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&self->idle, &bypass));
}

TEST_F(map, free_implies_unmap_and_flush)
{
	__u32 dom = pv_new_domain(self->r, self->ep);

	ASSERT_NE(0, dom);
	pv_map(self->r, dom, IOVA, PV_DATA, 0x10000, PV_RW);
	pv_unmap(self->r, dom, IOVA, 0x4000);
	expect_state(12, 16, 2);
	pv_free(self->r, dom);
	expect_state(0, 0, 0);
	pv_err_free(PVIOMMU_ENOENT, self->r, dom);
	pv_err_map(PVIOMMU_ENOENT, self->r, dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_err_attach(PVIOMMU_ENOENT, self->r, self->ep, dom);
}

TEST_F(map, busy_domain_is_not_freed)
{
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_err_free(PVIOMMU_EBUSY, self->r, self->dom);
	/* It takes mappings as before */
	expect_lookup(IOVA, PV_DATA, PV_PAGE, 12, PV_RW);
	pv_map(self->r, self->dom, IOVA + PV_PAGE, PV_DATA, PV_PAGE, PV_RW);
	pv_detach(self->r, self->ep, self->dom);
	pv_free(self->r, self->dom);
}

/* ---- MAP ----------------------------------------------------------- */

TEST_F(map, map_and_look_up)
{
	pv_map(self->r, self->dom, IOVA, PV_DATA, 0x5000, PV_RW);
	EXPECT_EQ(0x5000, self->r->last.result);
	expect_state(5, 5, 1);
	expect_lookup(IOVA, PV_DATA, PV_PAGE, 12, PV_RW);
	expect_lookup(IOVA + 0x4fff, PV_DATA + 0x4fff, 1, 12, PV_RW);
	expect_lookup(IOVA + 0x2345, PV_DATA + 0x2345, 0xcbb, 12, PV_RW);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + 0x5000);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA - 1);
}

TEST_F(map, prot)
{
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_R);
	expect_lookup(IOVA, PV_DATA, PV_PAGE, 12, PV_R);
	pv_map(self->r, self->dom, IOVA + 0x1000, PV_DATA, PV_PAGE, PV_W);
	expect_lookup(IOVA + 0x1000, PV_DATA, PV_PAGE, 12, PV_W);
	pv_map(self->r, self->dom, IOVA + 0x2000, PV_DATA, PV_PAGE, PV_RW | PVIOMMU_PROT_NOEXEC);
	expect_lookup(IOVA + 0x2000, PV_DATA, PV_PAGE, 12, PV_RW | PVIOMMU_PROT_NOEXEC);
	pv_map(self->r, self->dom, IOVA + 0x3000, PV_ROM, PV_PAGE, PV_R);
	expect_lookup(IOVA + 0x3000, PV_ROM, PV_PAGE, 12, PV_R);
	pv_err_map(PVIOMMU_EACCES, self->r, self->dom, IOVA + 0x4000, PV_ROM, PV_PAGE, PV_W);
}

TEST_F(map, same_page_at_many_iovas)
{
	unsigned int i;

	for (i = 0; i < 100; i++)
		pv_map(self->r, self->dom, IOVA + i * 0x2000, PV_DATA, PV_PAGE, PV_RW);
	expect_state(100, 100, 100);
	pv_unmap_all(self->r, self->dom);
	EXPECT_EQ(100 * PV_PAGE, self->r->last.result);
	pv_inv(self->r, self->dom);
	expect_state(0, 0, 0);
}

TEST_F(map, map_over_the_end_of_a_region)
{
	/* Adjacent regions are one memory */
	struct pv_region next = {
		.gpa = PV_HIGH + PV_HIGH_SIZE, .size = PV_2M, .hva = self->vm.low.hva,
		.writable = true,
	};

	ASSERT_EQ(0, pv_region_map(&self->vm, &next));
	pv_map(self->r, self->dom, IOVA, next.gpa - 0x2000, 0x4000, PV_RW);
	expect_lookup(IOVA + 0x1000, next.gpa - 0x1000, PV_PAGE, 12, PV_RW);
	expect_lookup(IOVA + 0x2000, next.gpa, PV_PAGE, 12, PV_RW);
	pv_err_map(PVIOMMU_EFAULT, self->r, self->dom, IOVA + 0x10000, next.gpa + PV_2M - 0x1000,
		   0x2000, PV_RW);
	expect_state(4, 4, 1);
}

TEST_F(map, high_memory)
{
	pv_map(self->r, self->dom, 1ULL << 38, PV_HIGH, PV_HIGH_SIZE, PV_RW);
	expect_lookup((1ULL << 38) + PV_HIGH_SIZE - 1, PV_HIGH + PV_HIGH_SIZE - 1, 1, 12, PV_RW);
}

/* ---- MAP_LIST ------------------------------------------------------ */

TEST_F(map, list_of_scattered_pages)
{
	unsigned int i;

	/* In descending order, but for two pages, and with one page twice */
	for (i = 0; i < PVIOMMU_LIST_MAX; i++)
		pv_list(&self->vm)[i] = (PV_DATA >> 12) + 1000 - i;
	pv_list(&self->vm)[7] = pv_list(&self->vm)[6] + 1;
	pv_list(&self->vm)[511] = pv_list(&self->vm)[0];

	pv_map_list(self->r, self->dom, IOVA, PV_AT_LIST, PVIOMMU_LIST_MAX, PV_RW);
	EXPECT_EQ(PVIOMMU_LIST_MAX * PV_PAGE, self->r->last.result);
	for (i = 0; i < PVIOMMU_LIST_MAX; i++)
		expect_lookup(IOVA + i * PV_PAGE + 0x123,
			      (pv_list(&self->vm)[i] << 12) + 0x123, 0xedd, 12, PV_RW);
	expect_state(512, 512, 1);
	pv_unmap(self->r, self->dom, IOVA, PVIOMMU_LIST_MAX * PV_PAGE);
	EXPECT_EQ(PVIOMMU_LIST_MAX * PV_PAGE, self->r->last.result);
	pv_inv(self->r, self->dom);
	expect_state(0, 0, 0);
}

TEST_F(map, list_in_read_only_memory)
{
	*(__u64 *)pv_mem(&self->vm, PV_ROM) = PV_HIGH >> 12;
	pv_map_list(self->r, self->dom, IOVA, PV_ROM, 1, PV_RW);
	expect_lookup(IOVA, PV_HIGH, PV_PAGE, 12, PV_RW);
}

TEST_F(map, list_of_large_pages)
{
	struct pviommu_op op = pv_op_map_list(self->dom, 0x40000000, PV_AT_LIST, 3, PV_RW);

	pv_list(&self->vm)[0] = 3;
	pv_list(&self->vm)[1] = PV_HIGH >> 21;
	pv_list(&self->vm)[2] = 2;
	op.list.pgshift = 21;
	pv_exec(self->r, op);
	EXPECT_EQ(3 * PV_2M, self->r->last.result);
	expect_lookup(0x40000000, 3 * PV_2M, PV_2M, 21, PV_RW);
	expect_lookup(0x40000000 + PV_2M + 0x12345, PV_HIGH + 0x12345, PV_2M - 0x12345, 21, PV_RW);
	expect_lookup(0x40000000 + 3 * PV_2M - 1, 3 * PV_2M - 1, 1, 21, PV_RW);
	expect_state(1536, 1536, 3);
}

/* ---- UNMAP and INVALIDATE ------------------------------------------ */

TEST_F(map, unmap_keeps_pins_until_the_flush)
{
	pv_map(self->r, self->dom, IOVA, PV_DATA, 0x8000, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, 0x8000);
	EXPECT_EQ(0x8000, self->r->last.result);
	/* Until the flush it still counts as a mapping */
	expect_state(0, 8, 1);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA);
	/* A flush of another range or domain does not unpin it */
	pv_inv_page(self->r, self->dom, IOVA + 0x8000, 0x1000);
	pv_inv_page(self->r, self->dom, IOVA - 0x1000, 0x1000);
	pv_inv(self->r, PVIOMMU_DOMAIN_BYPASS);
	expect_state(0, 8, 1);
	pv_inv_page(self->r, self->dom, IOVA, 0x8000);
	expect_state(0, 0, 0);
}

TEST_F(map, leaf_flag)
{
	struct pviommu_op op = pv_op_inv_page(self->dom, IOVA, 0x1000);

	op.flags = PVIOMMU_INV_F_LEAF;
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_exec(self->r, op);
	expect_state(0, 0, 0);
	op = pv_op_inv(self->dom);
	op.flags = PVIOMMU_INV_F_LEAF;
	pv_exec(self->r, op);
}

TEST_F(map, unmap_skips_holes)
{
	pv_map(self->r, self->dom, IOVA, PV_DATA, 0x2000, PV_RW);
	pv_map(self->r, self->dom, IOVA + 0x5000, PV_DATA, 0x1000, PV_RW);
	pv_map(self->r, self->dom, IOVA + 0x9000, PV_DATA, 0x4000, PV_RW);
	pv_unmap(self->r, self->dom, IOVA - 0x10000, 0x1a000);
	EXPECT_EQ(0x4000, self->r->last.result);
	expect_lookup(IOVA + 0xa000, PV_DATA + 0x1000, PV_PAGE, 12, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, 0x9000);
	EXPECT_EQ(0, self->r->last.result);
	pv_unmap(self->r, self->dom, 0, 1ULL << 38);
	EXPECT_EQ(0x3000, self->r->last.result);
	pv_inv(self->r, self->dom);
	expect_state(0, 0, 0);
}

TEST_F(map, unmap_in_the_middle)
{
	unsigned int i;

	pv_map(self->r, self->dom, IOVA, PV_DATA, 0x10000, PV_RW);
	for (i = 1; i < 16; i += 2)
		pv_unmap(self->r, self->dom, IOVA + i * PV_PAGE, PV_PAGE);
	for (i = 0; i < 16; i++) {
		if (i % 2) {
			pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + i * PV_PAGE);
		} else {
			expect_lookup(IOVA + i * PV_PAGE, PV_DATA + i * PV_PAGE, PV_PAGE, 12,
				      PV_RW);
		}
	}
	expect_state(8, 16, 16);
	pv_inv_page(self->r, self->dom, IOVA, 0x10000);
	expect_state(8, 8, 8);
	/* The holes can be mapped again */
	pv_map(self->r, self->dom, IOVA + PV_PAGE, PV_HIGH, PV_PAGE, PV_R);
	expect_lookup(IOVA + PV_PAGE, PV_HIGH, PV_PAGE, 12, PV_R);
}

/* The same with pages that are scattered */
TEST_F(map, unmap_in_the_middle_of_a_list)
{
	unsigned int i;

	for (i = 0; i < 16; i++)
		pv_list(&self->vm)[i] = (PV_DATA >> 12) + (i / 3) * 7 + i % 3;
	pv_map_list(self->r, self->dom, IOVA, PV_AT_LIST, 16, PV_RW);
	pv_unmap(self->r, self->dom, IOVA + 4 * PV_PAGE, 5 * PV_PAGE);
	pv_unmap(self->r, self->dom, IOVA + 14 * PV_PAGE, PV_PAGE);
	for (i = 0; i < 16; i++) {
		if ((i >= 4 && i < 9) || i == 14) {
			pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + i * PV_PAGE);
		} else {
			expect_lookup(IOVA + i * PV_PAGE, pv_list(&self->vm)[i] << 12, PV_PAGE,
				      12, PV_RW);
		}
	}
	expect_state(10, 16, 5);
	pv_inv(self->r, self->dom);
	expect_state(10, 10, 3);
}

TEST_F(map, large_pages_are_not_cut)
{
	pv_map_2m(self->r, self->dom, 0x40000000, PV_DATA, 2 * PV_2M, PV_RW);
	expect_lookup(0x40000000 + 0x12345, PV_DATA + 0x12345, PV_2M - 0x12345, 21, PV_RW);

	pv_err_unmap(PVIOMMU_EINVAL, self->r, self->dom, 0x40000000, PV_PAGE);
	pv_err_unmap(PVIOMMU_EINVAL, self->r, self->dom, 0x40000000, PV_2M + PV_PAGE);
	pv_err_unmap(PVIOMMU_EINVAL, self->r, self->dom, 0x40000000 - PV_PAGE, PV_2M);
	pv_err_unmap(PVIOMMU_EINVAL, self->r, self->dom, 0x40000000 + PV_PAGE, PV_2M);
	expect_state(1024, 1024, 2);

	pv_unmap(self->r, self->dom, 0x40000000 + PV_2M, PV_2M);
	EXPECT_EQ(PV_2M, self->r->last.result);
	expect_lookup(0x40000000, PV_DATA, PV_2M, 21, PV_RW);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, 0x40000000 + PV_2M);
}

/* A MAP of small pages can be unmapped page by page, though the memory is contiguous */
TEST_F(map, small_pages_of_a_large_area)
{
	pv_map(self->r, self->dom, 0x40000000, PV_DATA, 2 * PV_2M, PV_RW);
	pv_unmap(self->r, self->dom, 0x40000000 + 0x1ff000, 0x2000);
	EXPECT_EQ(0x2000, self->r->last.result);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, 0x401ff000);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, 0x40200000);
	expect_lookup(0x401fe000, PV_DATA + 0x1fe000, PV_PAGE, 12, PV_RW);
	expect_lookup(0x40201000, PV_DATA + 0x201000, PV_PAGE, 12, PV_RW);
	pv_inv(self->r, self->dom);
	expect_state(1022, 1022, 2);
}

TEST_F(map, map_again_before_the_flush)
{
	pv_map(self->r, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, PV_PAGE);
	pv_map(self->r, self->dom, IOVA, PV_DATA + PV_PAGE, PV_PAGE, PV_RW);
	expect_lookup(IOVA, PV_DATA + PV_PAGE, PV_PAGE, 12, PV_RW);
	expect_state(1, 2, 2);
	pv_inv(self->r, self->dom);
	expect_state(1, 1, 1);
}

TEST_F(map, look_up_in_bypass)
{
	pv_exec(self->r, pv_op_lookup(PVIOMMU_DOMAIN_BYPASS, PV_DATA + 0x10));
	EXPECT_EQ(PV_DATA + 0x10, self->r->last.lookup.gpa);
	EXPECT_EQ(PV_RW, self->r->last.lookup.prot);
	pv_exec(self->r, pv_op_lookup(PVIOMMU_DOMAIN_BYPASS, PV_ROM));
	EXPECT_EQ(PV_R, self->r->last.lookup.prot);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, PVIOMMU_DOMAIN_BYPASS, PV_NOWHERE);
}

/* ---- memory that leaves -------------------------------------------- */

TEST_F(map, revoked_memory)
{
	struct pviommu_event ev;
	__u64 seq;

	pv_map(self->r, self->dom, IOVA, PV_DATA, 0x4000, PV_RW);
	pv_map(self->r, self->dom, IOVA + 0x10000, PV_HIGH + 0x3000, 0x2000, PV_RW);
	pv_map(self->r, self->dom, IOVA + 0x20000, PV_HIGH, 0x1000, PV_R);
	pv_list(&self->vm)[0] = PV_DATA >> 12;
	pv_list(&self->vm)[1] = (PV_HIGH >> 12) + 9;
	pv_list(&self->vm)[2] = (PV_DATA >> 12) + 1;
	pv_map_list(self->r, self->dom, IOVA + 0x30000, PV_AT_LIST, 3, PV_RW);
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));

	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	/* Their mappings are gone, flushed and unpinned; other memory stays mapped */
	expect_state(6, 6, 3);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + 0x10000);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + 0x20000);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA + 0x31000);
	expect_lookup(IOVA, PV_DATA, PV_PAGE, 12, PV_RW);
	expect_lookup(IOVA + 0x30000, PV_DATA, PV_PAGE, 12, PV_RW);
	expect_lookup(IOVA + 0x32000, PV_DATA + 0x1000, PV_PAGE, 12, PV_RW);

#define expect_event(_addr, _gpa, _size) do {				\
	ASSERT_TRUE(pv_event_next(&self->vm, &ev));			\
	EXPECT_EQ(PVIOMMU_EV_REVOKED, ev.type);				\
	EXPECT_EQ(self->dom, ev.domain);				\
	EXPECT_EQ(PVIOMMU_PASID_NONE, ev.pasid);			\
	EXPECT_EQ(_addr, ev.addr);					\
	EXPECT_EQ(_gpa, ev.gpa);					\
	EXPECT_EQ(_size, ev.size);					\
} while (0)
	expect_event(IOVA + 0x10000, PV_HIGH + 0x3000, 0x2000);
	seq = ev.seq;
	expect_event(IOVA + 0x20000, PV_HIGH, 0x1000);
	EXPECT_EQ(seq + 1, ev.seq);
	expect_event(IOVA + 0x31000, PV_HIGH + 0x9000, 0x1000);
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));

	/* Memory that has left can't be mapped until it is back */
	pv_err_map(PVIOMMU_EFAULT, self->r, self->dom, IOVA + 0x10000, PV_HIGH, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	pv_map(self->r, self->dom, IOVA + 0x10000, PV_HIGH, PV_PAGE, PV_RW);
}

TEST_F(map, revoked_memory_that_waits_for_a_flush)
{
	pv_map(self->r, self->dom, IOVA, PV_HIGH, 0x8000, PV_RW);
	pv_unmap(self->r, self->dom, IOVA, 0x8000);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	expect_state(0, 0, 0);
	pv_inv(self->r, self->dom);
}

/* Half of a large page leaves: the other half stays mapped, as small pages */
TEST_F(map, revoked_part_of_a_large_page)
{
	char *hva = pv_mem(&self->vm, PV_DATA);
	struct pv_region half = {
		.gpa = 0x30000000, .size = PV_2M / 2, .hva = hva, .writable = true,
	};
	struct pv_region rest = {
		.gpa = half.gpa + half.size, .size = PV_2M / 2, .hva = hva + half.size,
		.writable = true,
	};
	struct pviommu_event ev;
	unsigned int i;

	/* Touch the pages in another order, so that they are not contiguous on the host */
	for (i = 0; i < 512; i++)
		hva[(i * 5 % 512) * PV_PAGE] = 1;
	ASSERT_EQ(0, pv_region_map(&self->vm, &half));
	ASSERT_EQ(0, pv_region_map(&self->vm, &rest));
	pv_map_2m(self->r, self->dom, 0x40000000, half.gpa, PV_2M, PV_RW);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &rest));
	expect_lookup(0x40000000, half.gpa, PV_PAGE, 12, PV_RW);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, 0x40000000 + half.size);
	expect_state(256, 256, 1);
	expect_event(0x40000000 + half.size, rest.gpa, rest.size);
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));
	/* Small pages can be unmapped one by one */
	pv_unmap(self->r, self->dom, 0x40000000 + 7 * PV_PAGE, PV_PAGE);
	expect_lookup(0x40000000 + 8 * PV_PAGE, half.gpa + 8 * PV_PAGE, PV_PAGE, 12, PV_RW);
}

/* Start the interface anew, with room for @max_events waiting events */
#define restart(max_events) do {						\
	ASSERT_TRUE(pv_param_set("max_events", max_events));			\
	pv_reset(&self->vm);							\
	pv_start(&self->vm, 2, 6);						\
	self->dom = pv_new_domain(self->r, self->ep);				\
	ASSERT_NE(0, self->dom);						\
} while (0)

/* Map a page @n times and take it away, which gives an event for each mapping */
#define provoke_events(n) do {							\
	unsigned int __i;							\
										\
	for (__i = 0; __i < (n); __i++)						\
		pv_map(self->r, self->dom, IOVA + __i * 0x2000, PV_HIGH,	\
		       PV_PAGE, PV_RW);						\
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));		\
	EXPECT_EQ(PVIOMMU_EVENT_SLOTS, pv_events(&self->vm)->prod);		\
} while (0)

/* Events that found no room in the ring are delivered in order, with later doorbells */
TEST_F(map, events_that_wait)
{
	struct pviommu_event_ring *ring = pv_events(&self->vm);
	struct pviommu_event ev;
	unsigned int i;

	restart("5");
	provoke_events(PVIOMMU_EVENT_SLOTS + 7);
	EXPECT_EQ(5, ring->waiting);
	EXPECT_EQ(2, ring->lost);
	EXPECT_EQ(2, pv_stats(self->r).events_lost);
	/* As long as nothing is consumed and no doorbell rings, no event is delivered */
	EXPECT_EQ(PVIOMMU_EVENT_SLOTS, ring->prod);
	ring->cons += 2;
	EXPECT_EQ(PVIOMMU_EVENT_SLOTS, ring->prod);
	pv_kick(self->r);
	EXPECT_EQ(PVIOMMU_EVENT_SLOTS + 2, ring->prod);
	EXPECT_EQ(3, ring->waiting);
	EXPECT_EQ(ring->prod, self->r->hdr->events);
	for (i = 2; i < PVIOMMU_EVENT_SLOTS + 5; i++) {
		ASSERT_TRUE(pv_event_next(&self->vm, &ev));
		EXPECT_EQ(i, ev.seq);
		EXPECT_EQ(IOVA + i * 0x2000, ev.addr);
	}
	EXPECT_EQ(0, ring->waiting);
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));
	EXPECT_EQ(2, ring->lost);

	/* Events that wait when the interface ends are not delivered to the next one */
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	ring->cons -= PVIOMMU_EVENT_SLOTS;
	pv_map(self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	EXPECT_EQ(1, ring->waiting);
	pv_reset(&self->vm);
	pv_start(&self->vm, 2, 6);
	pv_kick(self->r);
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));
}

/* A new event is delivered behind those that were waiting */
TEST_F(map, events_in_order)
{
	struct pviommu_event ev;
	unsigned int i;

	provoke_events(PVIOMMU_EVENT_SLOTS + 2);
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	pv_map(self->r, self->dom, IOVA, PV_HIGH + PV_PAGE, PV_PAGE, PV_RW);
	EXPECT_EQ(2, pv_events(&self->vm)->waiting);
	pv_events(&self->vm)->cons += 3;
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	EXPECT_EQ(0, pv_events(&self->vm)->waiting);
	EXPECT_EQ(PVIOMMU_EVENT_SLOTS + 3, pv_events(&self->vm)->prod);
	for (i = 3; i < PVIOMMU_EVENT_SLOTS + 3; i++) {
		ASSERT_TRUE(pv_event_next(&self->vm, &ev));
		EXPECT_EQ(i, ev.seq);
	}
	EXPECT_EQ(PV_HIGH + PV_PAGE, ev.gpa);
}

TEST_F(map, events_that_find_no_room)
{
	struct pviommu_event ev;
	unsigned int i;

	restart("0");
	provoke_events(PVIOMMU_EVENT_SLOTS + 5);
	EXPECT_EQ(0, pv_events(&self->vm)->waiting);
	EXPECT_EQ(5, pv_events(&self->vm)->lost);
	EXPECT_EQ(5, pv_stats(self->r).events_lost);
	for (i = 0; i < PVIOMMU_EVENT_SLOTS; i++)
		ASSERT_TRUE(pv_event_next(&self->vm, &ev));
	EXPECT_FALSE(pv_event_next(&self->vm, &ev));

	/* The sequence number of the next event shows how many were lost */
	ASSERT_EQ(0, pv_region_map(&self->vm, &self->vm.high));
	pv_map(self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	ASSERT_TRUE(pv_event_next(&self->vm, &ev));
	EXPECT_EQ(PVIOMMU_EVENT_SLOTS + 5, ev.seq);
}

/* The host writes to the event ring only while the cookie is there */
TEST_F(map, events_without_the_cookie)
{
	pv_events(&self->vm)->cookie ^= 1;
	pv_map(self->r, self->dom, IOVA, PV_HIGH, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_region_unmap(&self->vm, &self->vm.high));
	EXPECT_EQ(0, pv_events(&self->vm)->prod);
	EXPECT_EQ(0, pv_events(&self->vm)->lost);
	EXPECT_EQ(1, pv_stats(self->r).events_lost);
}

TEST_HARNESS_MAIN
