/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the model have in common.
 */
#ifndef PV_MODEL_PRIV_H
#define PV_MODEL_PRIV_H

#include "pv_model.h"
#include "pv_sys.h"

#define PAGE		MODEL_PAGE
#define CHUNK		512	/* pages of a mapping of the host, at most */
#define LARGE		(CHUNK * PAGE)
#define ALL		(~0ULL)

/* ---- pv_model.c -------------------------------------------------------- */

/* The page has no server's type any more */
void model_set_plain(struct model *m, __u64 gpa);

/* model_ram() for all of [gpa, gpa + len) of the VM itself */
bool model_all_ram(const struct model *m, __u64 gpa, __u64 len, bool write);
/* The domain of an op; NULL if it does not exist */
struct model_domain *model_domain_of(struct model *m, __u32 id);
/* Check the domain of an op that changes it: EINVAL, ENOENT */
__u32 model_check_domain(struct model *m, __u32 id);

/* ---- pv_model_map.c ---------------------------------------------------- */

struct model_page *model_page_make(struct model_domain *d, __u64 iova);
const struct model_region *model_page_region(const struct model *m,
					     const struct model_page *page);
bool model_reserved(const struct model *m, __u64 iova, __u64 last);

/* Remove all of [iova, last]; returns how many bytes were mapped */
__u64 model_remove(struct model *m, struct model_domain *d, __u64 iova, __u64 last);
/* Flush and unpin all that waits for that; or unpin what was flushed */
void model_flush(struct model_domain *d);
void model_finish(struct model_domain *d);
/* Free the domain */
void model_forget(struct model *m, struct model_domain *d);

__u32 model_map(struct model *m, struct pviommu_op *op);
__u32 model_map_list(struct model *m, struct pviommu_op *op);
__u32 model_unmap(struct model *m, struct pviommu_op *op);
__u32 model_lookup(struct model *m, struct pviommu_op *op);
__u32 model_release(const struct model *m, const struct pviommu_op *op);

/* ---- pv_model_table.c -------------------------------------------------- */

__u32 model_check_table(const struct model *m, const struct pviommu_op *op);
/* INVALIDATE looks at [iova, last]. @result: where it failed */
__u32 model_look(struct model *m, __u32 domain, __u64 iova, __u64 last, __u64 *result);
/* The pages of a domain's table are not watched any more */
void model_unwatch(struct model *m, __u32 domain);

#endif /* PV_MODEL_PRIV_H */
