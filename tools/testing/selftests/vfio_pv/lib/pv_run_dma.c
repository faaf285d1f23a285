// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA: devices must reach what the model says, and nothing else.
 */
#include <stdio.h>
#include <string.h>

#include "edu.h"
#include "pv_op.h"
#include "pv_run.h"

#define NOWHERE		((char *)0)
#define EVERYWHERE	((char *)-1)

/* Find the page of guest memory that has @tag at @off */
static char *find_tag(struct run *run, unsigned int off, const void *tag)
{
	char *found = NOWHERE;
	unsigned int i;
	__u64 at;

	for (i = 0; i < run->model.nr_regions; i++) {
		const struct model_region *r = &run->model.regions[i];

		for (at = 0; r->ram && r->hva && at < r->size; at += PV_PAGE) {
			if (memcmp(r->hva + at + off, tag, TAG))
				continue;
			memset(r->hva + at + off, 0, TAG);
			found = found ? EVERYWHERE : r->hva + at;
		}
	}
	return found;
}

static void make_tag(struct run *run, __u64 *tag)
{
	unsigned int i;

	for (i = 0; i < TAG / sizeof(*tag); i++)
		tag[i] = fuzz_below(&run->fuzz, ~0ULL);
}

static char *target_page(const struct model_target *target)
{
	return target->region->hva + ((target->gpa & -PV_PAGE) - target->region->gpa);
}

/* Rings and answers are not for devices to write to */
static bool target_is_free(const struct model_target *target)
{
	return target->region->vm || target->gpa >= PV_DATA;
}

/* A page that a device reaches, for bringing tags into the device and out of it */
struct home {
	__u64 iova;
	char *page;
};

/* What a device writes to @iova must arrive where the model says, or nowhere */
static bool dma_write(struct run *run, unsigned int dev, __u64 iova, const struct home *home)
{
	const struct vfio_dev *vfio = &run->vm.dev[dev].vfio;
	struct model_target target;
	char *found, *want;
	__u64 tag[TAG / 8];
	enum model_reach reach;

	reach = model_dma(&run->model, dev, iova, &target);
	if (reach == MODEL_EITHER || (reach == MODEL_MEMORY && !target_is_free(&target)))
		return true;
	want = reach == MODEL_MEMORY && target.prot & PV_W ? target_page(&target) : NOWHERE;
	make_tag(run, tag);
	memcpy(home->page, tag, TAG);
	if (!edu_from_ram(vfio, home->iova, 0, TAG) || !edu_to_ram(vfio, iova + 0x100, 0, TAG))
		return false;
	run->transfers += 2;
	if (want)
		run->allowed++;
	else
		run->blocked++;
	found = find_tag(run, 0x100, tag);
	if (found == want)
		return true;
	printf("# DMA of device %u to 0x%llx in domain %u: reached %p, wanted %p\n", dev, iova,
	       run->model.endpoints[dev].domain, found, want);
	return false;
}

/* A device must be able to read the contents of a page */
static bool dma_read(struct run *run, unsigned int dev, __u64 iova, const struct home *home)
{
	const struct vfio_dev *vfio = &run->vm.dev[dev].vfio;
	struct model_target target;
	__u64 tag[TAG / 8];

	if (model_dma(&run->model, dev, iova, &target) != MODEL_MEMORY ||
	    !target_is_free(&target) || !(target.prot & PV_R))
		return true;
	make_tag(run, tag);
	memcpy(target_page(&target) + 0x200, tag, TAG);
	if (!edu_from_ram(vfio, iova + 0x200, 512, TAG) ||
	    !edu_to_ram(vfio, home->iova + 0x400, 512, TAG))
		return false;
	run->transfers += 2;
	run->allowed++;
	if (!memcmp(home->page + 0x400, tag, TAG))
		return true;
	printf("# DMA of device %u from 0x%llx in domain %u: not what is at 0x%llx of %u\n", dev,
	       iova, run->model.endpoints[dev].domain, target.gpa, target.region->vm);
	return false;
}

/* A page that the guest's table maps somewhere, readable and writable, if there is one */
static bool home_in_table(const struct run *run, unsigned int dev, struct home *home)
{
	const struct model_domain *d = &run->model.domains[run->model.endpoints[dev].domain];
	struct model_target target;
	unsigned int i, n;

	for (i = 0; i < d->nr_blocks && d->blocks[i]->iova < EDU_REACH; i++) {
		for (n = 0; n < MODEL_BLOCK; n++) {
			home->iova = d->blocks[i]->iova + n * PV_PAGE;
			if (model_dma(&run->model, dev, home->iova, &target) != MODEL_MEMORY ||
			    !target_is_free(&target) || (target.prot & PV_RW) != PV_RW)
				continue;
			home->page = target_page(&target);
			return true;
		}
	}
	return false;
}

static bool home_is_mapped(struct run *run, __u32 dom, bool *able)
{
	__u32 status;

	if (!run_submit_one(run, pv_op_unmap(dom, SCRATCH_IOVA, PV_PAGE), &status) ||
	    !run_submit_one(run, pv_op_inv(dom), &status) ||
	    !run_submit_one(run, pv_op_map(dom, SCRATCH_IOVA, SCRATCH, PV_PAGE, PV_RW), &status))
		return false;
	*able = !status;
	return true;
}

/* Attach the device to a domain where it reaches such a page; @able: there is one */
static bool dma_prepare(struct run *run, unsigned int dev, struct home *home, bool *able)
{
	struct model_endpoint *ep = &run->model.endpoints[dev];
	__u32 dom, status;

	*home = (struct home) { SCRATCH, pv_mem(&run->vm, SCRATCH) };
	*able = ep->domain == PVIOMMU_DOMAIN_BYPASS;
	if (*able)
		return true;
	for (dom = MODEL_DOMAINS - 1; dom >= PVIOMMU_DOMAIN_FIRST; dom--)
		if (run->model.domains[dom].exists && fuzz_below(&run->fuzz, 2))
			break;
	if (dom < PVIOMMU_DOMAIN_FIRST)
		return true;
	if (!run_submit_one(run, pv_op_attach(ep->id, dom), &status))
		return false;
	/* Where it was cut off it is recovered, now and then */
	if (status)
		return fuzz_below(&run->fuzz, 2) ||
		       run_submit_one(run, pv_op_recover(ep->id), &status);
	if (run->model.domains[dom].levels) {
		*able = home_in_table(run, dev, home);
		return true;
	}
	home->iova = SCRATCH_IOVA;
	return home_is_mapped(run, dom, able);
}

static __u64 dma_iova(struct run *run, unsigned int dev)
{
	__u32 domain = run->model.endpoints[dev].domain;
	const struct model_domain *d = &run->model.domains[domain];

	/* The arenas have little memory that devices may write to */
	if (domain == PVIOMMU_DOMAIN_BYPASS && fuzz_below(&run->fuzz, 2))
		return fuzz_gpa(&run->fuzz, PVIOMMU_VM_SELF);
	if (!d->levels)
		return fuzz_iova(&run->fuzz);
	return d->blocks[fuzz_below(&run->fuzz, d->nr_blocks)]->iova +
	       fuzz_below(&run->fuzz, MODEL_BLOCK) * PV_PAGE;
}

static bool dma_by(struct run *run, unsigned int dev)
{
	unsigned int tries, done = 0;
	struct home home;
	bool able;

	if (!dma_prepare(run, dev, &home, &able))
		return false;
	for (tries = 0; able && done < 3 && tries < 1000; tries++) {
		unsigned int before = run->transfers;
		struct model_target target;
		__u64 iova = dma_iova(run, dev);

		/* Most pages are not mapped: prefer mapped ones at times */
		if (iova >= EDU_REACH - PV_PAGE || iova == home.iova ||
		    (done < 2 && model_dma(&run->model, dev, iova, &target) != MODEL_MEMORY))
			continue;
		if (!dma_write(run, dev, iova, &home) || !dma_read(run, dev, iova, &home))
			return false;
		done += run->transfers != before;
	}
	return true;
}

/* Devices and domains to try, until there is one where the device reaches something */
#define ATTEMPTS	8

bool run_dma(struct run *run)
{
	unsigned int before = run->transfers, i;

	for (i = 0; i < ATTEMPTS && run->transfers == before; i++) {
		unsigned int dev = fuzz_below(&run->fuzz, run->model.nr_endpoints);

		if (run->model.endpoints[dev].id && edu_is(&run->vm.dev[dev].vfio) &&
		    !dma_by(run, dev))
			return false;
	}
	run->dmas++;
	run->dmas_idle += run->transfers == before;
	return true;
}
