// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container behind the paravirtual IOMMU against stock type1, which works on the same devices
 * while vfio_pv is unloaded. Both run the same random program. Call by call, errno, the size
 * unmapped, the bitmap and the memory accounted must be the same, and DMA must arrive at the
 * same place. No call tries the differences that Documentation/userspace-api/vfio_pv.rst
 * describes.
 *
 * DIFF_SEED in the environment gives another program, DIFF_CALLS another length.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/guest_test.h"
#include "lib/nobody.h"
#include "lib/pv_sys.h"
#include "lib/type1_calls.h"

#define CALLS_DEFAULT	1000
#define HUGE_PAGES	"/proc/sys/vm/nr_hugepages"
#define PERMISSION	"/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
#define MAX_REPORTS	8

static unsigned int nr_calls = CALLS_DEFAULT;
static __u64 seed = 1;

/* Without these variables, the program is always the same */
__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("DIFF_SEED");

	if (text)
		seed = strtoull(text, NULL, 0);
	text = getenv("DIFF_CALLS");
	if (text)
		nr_calls = strtoul(text, NULL, 0);
}

FIXTURE(diff)
{
	struct calls_run run;
	struct call *calls;
	struct answer *stock;
	struct answer *ours;
};

FIXTURE_VARIANT(diff)
{
	unsigned int type;
	unsigned int ours;
	bool dirty;
	uid_t uid;
};

FIXTURE_VARIANT_ADD(diff, type1)
{
	.type = VFIO_TYPE1_IOMMU,
	.ours = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(diff, type1_user)
{
	.type = VFIO_TYPE1_IOMMU,
	.ours = VFIO_TYPE1_IOMMU,
	.uid = NOBODY,
};

FIXTURE_VARIANT_ADD(diff, type1v2)
{
	.type = VFIO_TYPE1v2_IOMMU,
	.ours = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(diff, type1v2_user_dirty)
{
	.type = VFIO_TYPE1v2_IOMMU,
	.ours = VFIO_TYPE1v2_IOMMU,
	.dirty = true,
	.uid = NOBODY,
};

FIXTURE_VARIANT_ADD(diff, pv_user)
{
	.type = VFIO_TYPE1v2_IOMMU,
	.ours = VFIO_PV_IOMMU,
	.uid = NOBODY,
};

FIXTURE_VARIANT_ADD(diff, pv_dirty)
{
	.type = VFIO_TYPE1v2_IOMMU,
	.ours = VFIO_PV_IOMMU,
	.dirty = true,
};

static struct answer *new_answers(void)
{
	void *memory = mmap(NULL, nr_calls * sizeof(struct answer), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

FIXTURE_SETUP(diff)
{
	struct calls_run *run = &self->run;

	if (guest_find_edu(0, run->bdf[0]) || guest_find_edu(1, run->bdf[1]))
		SKIP(return, "needs 2 edu devices bound to vfio-pci");
	if (!guest_has_backend())
		SKIP(return, "needs the module vfio_pv");
	run->uid = variant->uid;
	run->locked_pages = 64;
	self->calls = calloc(nr_calls, sizeof(*self->calls));
	self->stock = new_answers();
	self->ours = new_answers();
	ASSERT_TRUE(self->calls && self->stock && self->ours);
	calls_make(self->calls, nr_calls, seed * 100 + variant->ours + variant->uid,
		   variant->dirty);

	ASSERT_EQ(0, system("rmmod vfio_pv"));
	ASSERT_EQ(0, pv_write_file(PERMISSION, "1"));
	/* If there are no huge pages, maps of them fail on both sides */
	pv_write_file(HUGE_PAGES, "2");
}

FIXTURE_TEARDOWN(diff)
{
	pv_write_file(PERMISSION, "0");
	pv_write_file(HUGE_PAGES, "0");
	if (!guest_has_backend() && system("pvvm-load vfio_pv"))
		TH_LOG("vfio_pv does not come back");
}

/* VFIO_PV_IOMMU has an errno of its own for unknown flags */
static bool may_differ(unsigned int type, const struct answer *stock, const struct answer *ours)
{
	return type == VFIO_PV_IOMMU && stock->ret == -EINVAL && ours->ret == -EOPNOTSUPP &&
	       stock->locked == ours->locked;
}

/* @b: the answer of our container, whose stray writes are looked for, too */
static bool same(const struct answer *a, const struct answer *b)
{
	return !b->stray && a->ret == b->ret && a->value == b->value && a->locked == b->locked;
}

TEST_F(diff, same_as_stock)
{
	unsigned int i, different = 0, good = 0;
	char text[200];

	self->run.type = variant->type;
	ASSERT_EQ(0, calls_run(&self->run, self->calls, nr_calls, self->stock));
	ASSERT_EQ(0, pv_write_file(PERMISSION, "0"));
	ASSERT_EQ(0, system("pvvm-load vfio_pv"));
	self->run.type = variant->ours;
	ASSERT_EQ(0, calls_run(&self->run, self->calls, nr_calls, self->ours));

	for (i = 0; i < nr_calls; i++) {
		const struct answer *stock = &self->stock[i], *ours = &self->ours[i];

		good += !stock->ret;
		/* If the container did not get its groups back, later calls mean nothing */
		EXPECT_FALSE(self->calls[i].kind == CALL_RENEW && stock->ret) {
			TH_LOG("call %u: %d", i, stock->ret);
		}
		if (same(stock, ours) || may_differ(variant->ours, stock, ours) ||
		    different++ >= MAX_REPORTS)
			continue;
		call_describe(&self->calls[i], text, sizeof(text));
		TH_LOG("seed %llu, call %u: %s", seed, i, text);
		TH_LOG("stock %d, %#llx, %016llx%016llx, %ld KiB", stock->ret, stock->value,
		       stock->bits[1], stock->bits[0], stock->locked);
		TH_LOG("ours  %d, %#llx, %016llx%016llx, %ld KiB", ours->ret, ours->value,
		       ours->bits[1], ours->bits[0], ours->locked);
	}
	EXPECT_EQ(0, different);
	/* Enough of the calls must have succeeded */
	EXPECT_LT(nr_calls / 4, good);
}

TEST_HARNESS_MAIN
