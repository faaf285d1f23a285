/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures in the guest's kernel, one after the other, and what must be the same before and
 * after each of them: what the host has of this guest, and what the process has locked.
 */
#ifndef GUEST_FAULT_H
#define GUEST_FAULT_H

#include "guest_test.h"
#include "pv_fault.h"

/* More than one call can have: a sweep that gets there does not end */
#define GUEST_FAILURES_MAX	500

struct guest_state {
	long long domains;
	long long mappings;
	long long pages_mapped;
	long long pages_pinned;
	long locked_kb;
};

static inline int guest_state(struct guest_state *state)
{
	struct guest_stats stats;
	int ret = guest_stats(&stats);

	*state = (struct guest_state) {
		stats.domains, stats.mappings, stats.pages_mapped, stats.pages_pinned,
		guest_locked_kb(),
	};
	return ret;
}

static inline void guest_state_print(const char *when, const struct guest_state *s)
{
	printf("# %s: %lld domains, %lld mappings, %lld pages mapped, %lld pinned, %ld KiB\n",
	       when, s->domains, s->mappings, s->pages_mapped, s->pages_pinned, s->locked_kb);
}

/* What is not as before is printed */
static inline bool guest_state_same(const struct guest_state *before)
{
	struct guest_state now;

	if (guest_state(&now))
		return false;
	if (!memcmp(before, &now, sizeof(now)))
		return true;
	guest_state_print("before", before);
	guest_state_print("now", &now);
	return false;
}

/*
 * @attempt, which says 0 or an error, with each allocation and each copy that it makes failing
 * once; there are @least of them. It fails for no other reason, and then all is as it was after
 * @settle; if it has not failed, all is so after @undo.
 */
#define guest_each_failure_settled(what, least, attempt, settle, undo) do {	\
	struct pv_fault_sweep __sweep = {};					\
	struct guest_state __before;						\
	unsigned int __failed = 0;						\
	int __ret;								\
										\
	ASSERT_EQ(0, guest_state(&__before));					\
	while (pv_fault_next(&__sweep) && __sweep.kind == PV_FAULT_KERNEL) {	\
		ASSERT_GT(GUEST_FAILURES_MAX, __sweep.nth);			\
		ASSERT_TRUE(pv_fault_arm(PV_FAULT_KERNEL, __sweep.nth));	\
		__ret = attempt;						\
		__sweep.was = pv_fault_disarm();				\
		if (__ret) {							\
			__failed++;						\
			EXPECT_TRUE(__sweep.was) {				\
				TH_LOG("%s: %s", what, strerror(-__ret));	\
			}							\
			settle;							\
		} else {							\
			undo;							\
		}								\
		EXPECT_TRUE(guest_state_same(&__before)) {			\
			TH_LOG("%s, failure %u", what, __sweep.nth);		\
		}								\
	}									\
	EXPECT_LE(least, pv_fault_report(what, &__sweep));			\
	TH_LOG("%s: %u of them told", what, __failed);				\
} while (0)

/* The same where a failure leaves nothing to settle */
#define guest_each_failure(what, least, attempt, undo) \
	guest_each_failure_settled(what, least, attempt, {}, undo)

#endif /* GUEST_FAULT_H */
