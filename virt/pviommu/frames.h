/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of guest frames: a range, or a list in ascending order.
 */
#ifndef _PVIOMMU_FRAMES_H
#define _PVIOMMU_FRAMES_H

#include <linux/minmax.h>
#include <linux/types.h>

struct pviommu_frames {
	u64 first;
	u64 last;
	const u64 *gfns;	/* NULL: all from @first to @last */
	u32 nr;
};

/* How many frames of a list are lower than @gfn */
static inline u32 pviommu_frames_below(const struct pviommu_frames *f, u64 gfn)
{
	u32 lo = 0, hi = f->nr;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (f->gfns[mid] < gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/**
 * pviommu_frames_next() - find the first contiguous frames of a set in a range
 * @f: the set
 * @from: first frame of the range
 * @to: last frame of the range
 * @lo: set to the first of the frames found
 * @hi: set to the last of them
 *
 * Return: false if there is none.
 */
static inline bool pviommu_frames_next(const struct pviommu_frames *f, u64 from,
				       u64 to, u64 *lo, u64 *hi)
{
	u32 i;

	*lo = max(from, f->first);
	*hi = min(to, f->last);
	if (*lo > *hi)
		return false;
	if (!f->gfns)
		return true;
	i = pviommu_frames_below(f, *lo);
	if (i == f->nr || f->gfns[i] > *hi)
		return false;
	to = *hi;
	*lo = f->gfns[i];
	*hi = *lo;
	while (++i < f->nr && f->gfns[i] == *hi + 1 && *hi < to)
		(*hi)++;
	return true;
}

#endif /* _PVIOMMU_FRAMES_H */
