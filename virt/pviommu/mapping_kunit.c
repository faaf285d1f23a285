// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test of the tree of mappings against a model: an array with an entry for each page.
 *
 * Host pages are only numbers here, and are never accessed.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

/* The engine does not export what is tested, so the test has a copy of it */
#include "mapping.c"

#define NR_PAGES	2048
#define IOVA(page)	((u64)(page) << PAGE_SHIFT)
#define MAX_PAGES	40	/* of a mapping */
#define MAX_LIST	60	/* frames of a set */
#define ROUNDS		20000

atomic64_t pviommu_totals[PVIOMMU_NR_COUNTERS];

struct model_page {
	u64 gfn;	/* 0: not mapped */
	u64 hpfn;
	u32 mapping;	/* changes where a mapping begins */
	u8 pgshift;
};

struct mapping_test {
	struct pviommu_vm vm;
	struct pviommu_domain domain;
	struct rnd_state rnd;
	u32 mappings;
	struct model_page model[NR_PAGES];
	u64 gfns[MAX_PAGES];
	struct page *pages[MAX_PAGES];
	u64 list[MAX_LIST];
};

static int mapping_test_init(struct kunit *test)
{
	struct mapping_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	mutex_init(&t->domain.lock);
	t->domain.vm = &t->vm;
	t->domain.mappings = RB_ROOT_CACHED;
	prandom_seed_state(&t->rnd, 1);
	test->priv = t;
	return 0;
}

static void mapping_test_exit(struct kunit *test)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;

	if (!t)
		return;
	/* Another thread than the test's, which may have died with the lock */
	mutex_init(&t->domain.lock);
	mutex_lock(&t->domain.lock);
	while ((map = pviommu_mapping_first(&t->domain, 0, U64_MAX))) {
		interval_tree_remove(&map->it, &t->domain.mappings);
		pviommu_mapping_free(&t->domain, map);
	}
	mutex_unlock(&t->domain.lock);
	pviommu_mapping_drop_spare(&t->domain);
}

static u32 below(struct mapping_test *t, u32 n)
{
	return prandom_u32_state(&t->rnd) % n;
}

/* Frames that follow each other, or don't, in the guest, the host or both */
static void make_frames(struct mapping_test *t, u32 n)
{
	u64 gfn = 1 + below(t, 1000), hpfn = 1 + below(t, 1000);
	u32 i;

	for (i = 0; i < n; i++) {
		gfn = below(t, 4) ? gfn + 1 : 1 + below(t, 1000);
		hpfn = below(t, 4) ? hpfn + 1 : 1 + below(t, 1000);
		t->gfns[i] = gfn;
		t->pages[i] = pfn_to_page(hpfn);
	}
}

static void insert(struct kunit *test, u32 page, u32 n)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;
	u32 i;

	make_frames(t, n);
	map = pviommu_mapping_make(&t->domain, IOVA(page), t->gfns, 0, t->pages, n, NULL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	map->pgshift = PAGE_SHIFT;
	map->prot = PVIOMMU_PROT_READ;
	interval_tree_insert(&map->it, &t->domain.mappings);
	t->mappings++;
	for (i = 0; i < n; i++)
		t->model[page + i] = (struct model_page) {
			.gfn = t->gfns[i], .hpfn = page_to_pfn(t->pages[i]),
			.mapping = t->mappings, .pgshift = PAGE_SHIFT,
		};
}

/* The first page of [page, last] that is mapped; NR_PAGES for none */
static u32 model_first(const struct mapping_test *t, u32 page, u32 last)
{
	for (; page <= last; page++)
		if (t->model[page].gfn)
			return page;
	return NR_PAGES;
}

/* All that is known of the mapping at a page must be so in the model */
static void check_mapping(struct kunit *test, const struct pviommu_mapping *map)
{
	const struct mapping_test *t = test->priv;
	u64 page = map->it.start >> PAGE_SHIFT, offset, i, pages = 0;
	const struct pviommu_run *run;

	KUNIT_EXPECT_EQ(test, map->it.last + 1 - map->it.start, IOVA(map->npages));
	KUNIT_EXPECT_LE(test, map->nr_runs, map->room);
	for (i = 0; i < map->nr_runs; i++) {
		KUNIT_EXPECT_GT(test, map->runs[i].npages, 0);
		pages += map->runs[i].npages;
	}
	KUNIT_ASSERT_EQ(test, pages, map->npages);
	for (i = 0; i < map->npages; i++) {
		run = pviommu_mapping_run(map, i, &offset);
		KUNIT_EXPECT_EQ(test, run->gfn + offset, t->model[page + i].gfn);
		KUNIT_EXPECT_EQ(test, run->hpfn + offset, t->model[page + i].hpfn);
		KUNIT_EXPECT_EQ(test, t->model[page].mapping, t->model[page + i].mapping);
	}
	if (page)
		KUNIT_EXPECT_NE(test, t->model[page].mapping, t->model[page - 1].mapping);
	if (page + map->npages < NR_PAGES)
		KUNIT_EXPECT_NE(test, t->model[page].mapping,
				t->model[page + map->npages].mapping);
}

static void check_range(struct kunit *test, u32 page, u32 last)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;
	u32 first = model_first(t, page, last);

	map = pviommu_mapping_first(&t->domain, IOVA(page), IOVA(last + 1) - 1);
	KUNIT_ASSERT_EQ(test, !map, first == NR_PAGES);
	if (!map)
		return;
	KUNIT_EXPECT_EQ(test, max(map->it.start, IOVA(page)), IOVA(first));
	check_mapping(test, map);
}

/* Whether a frame is in a set, by looking at each of the set's */
static bool in_frames(const struct pviommu_frames *f, u64 gfn)
{
	u32 i;

	if (!f->gfns)
		return gfn >= f->first && gfn <= f->last;
	for (i = 0; i < f->nr; i++)
		if (f->gfns[i] == gfn)
			return true;
	return false;
}

/* A range of frames, or as many as there are in it of a list */
static struct pviommu_frames make_set(struct mapping_test *t)
{
	u64 gfn = 1 + below(t, 1000);
	struct pviommu_frames f = { .first = gfn, .last = gfn + below(t, 200) };
	u32 i;

	if (below(t, 2))
		return f;
	f.gfns = t->list;
	f.nr = 1 + below(t, MAX_LIST);
	for (i = 0; i < f.nr; i++) {
		t->list[i] = gfn;
		gfn += 1 + (below(t, 3) ? 0 : below(t, 20));
	}
	f.last = t->list[f.nr - 1];
	return f;
}

/* The pages of @map that lead to a set of frames, as the model finds them one by one */
static void check_leads_to(struct kunit *test, const struct pviommu_mapping *map)
{
	struct mapping_test *t = test->priv;
	const struct model_page *m = &t->model[map->it.start >> PAGE_SHIFT];
	struct pviommu_frames frames = make_set(t);
	u64 from = below(t, map->npages), i = from, n = 0, page, npages;
	bool any;

	any = pviommu_mapping_leads_to(map, from, &frames, &page, &npages);
	while (i < map->npages && !in_frames(&frames, m[i].gfn))
		i++;
	KUNIT_ASSERT_EQ(test, any, i < map->npages);
	if (!any)
		return;
	while (i + n < map->npages && m[i + n].gfn == m[i].gfn + n &&
	       in_frames(&frames, m[i + n].gfn))
		n++;
	KUNIT_EXPECT_EQ(test, page, i);
	KUNIT_EXPECT_EQ(test, npages, n);
}

static void split(struct kunit *test, struct pviommu_mapping *map)
{
	struct mapping_test *t = test->priv;
	u32 page = map->it.start >> PAGE_SHIFT, end = page + map->npages, at;
	struct pviommu_mapping *tail;

	if (map->npages < 2)
		return;
	at = page + 1 + below(t, map->npages - 1);
	map = pviommu_mapping_split(&t->domain, map, IOVA(at), &tail);
	t->mappings++;
	while (end-- > at)
		t->model[end].mapping = t->mappings;
	KUNIT_EXPECT_EQ(test, tail->it.start, IOVA(at));
	KUNIT_EXPECT_EQ(test, tail->prot, map->prot);
	KUNIT_EXPECT_TRUE(test, tail->pgshift == map->pgshift);
	check_mapping(test, map);
	check_mapping(test, tail);
}

static void remove(struct mapping_test *t, struct pviommu_mapping *map)
{
	u32 page = map->it.start >> PAGE_SHIFT, i;

	for (i = 0; i < map->npages; i++)
		t->model[page + i] = (struct model_page) {};
	interval_tree_remove(&map->it, &t->domain.mappings);
	pviommu_mapping_free(&t->domain, map);
}

static void test_random(struct kunit *test)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;
	u32 round, page, n;

	mutex_lock(&t->domain.lock);
	for (round = 0; round < ROUNDS; round++) {
		n = 1 + below(t, MAX_PAGES);
		page = below(t, NR_PAGES - n + 1);
		check_range(test, page, page + n - 1);
		map = pviommu_mapping_first(&t->domain, IOVA(page), IOVA(page + n) - 1);
		if (!map)
			insert(test, page, n);
		else if (below(t, 3))
			split(test, map);
		else
			remove(t, map);
		map = pviommu_mapping_first(&t->domain, IOVA(page), U64_MAX);
		if (map)
			check_leads_to(test, map);
		cond_resched();
	}
	check_range(test, 0, NR_PAGES - 1);
	mutex_unlock(&t->domain.lock);
}

/* Frames that follow each other in both memories make one run */
static void test_runs(struct kunit *test)
{
	static const struct {
		u64 gfn[4], hpfn[4];
		u32 runs;
	} rows[] = {
		{ { 1, 2, 3, 4 }, { 11, 12, 13, 14 }, 1 },
		{ { 1, 2, 3, 4 }, { 11, 12, 14, 15 }, 2 },
		{ { 1, 2, 4, 5 }, { 11, 12, 13, 14 }, 2 },
		{ { 1, 2, 4, 5 }, { 11, 12, 14, 15 }, 2 },
		{ { 4, 3, 2, 1 }, { 14, 13, 12, 11 }, 4 },
		{ { 1, 1, 1, 1 }, { 11, 11, 11, 11 }, 4 },
		{ { 1, 2, 1, 2 }, { 11, 12, 11, 12 }, 2 },
	};
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;
	u32 i, k;

	mutex_lock(&t->domain.lock);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		for (k = 0; k < 4; k++)
			t->pages[k] = pfn_to_page(rows[i].hpfn[k]);
		map = pviommu_mapping_make(&t->domain, 0, rows[i].gfn, 0, t->pages, 4, NULL);
		KUNIT_ASSERT_NOT_NULL(test, map);
		KUNIT_EXPECT_EQ(test, map->nr_runs, rows[i].runs);
		KUNIT_EXPECT_EQ(test, map->npages, 4);
		KUNIT_EXPECT_EQ(test, map->it.last, 4 * PAGE_SIZE - 1);
		pviommu_mapping_free(&t->domain, map);
	}
	mutex_unlock(&t->domain.lock);
}

/* An IOVA cuts a page if it is mapped, and no start of a page of that size */
static void test_cuts_page(struct kunit *test)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;

	mutex_lock(&t->domain.lock);
	t->pages[0] = pfn_to_page(1);
	map = pviommu_mapping_make(&t->domain, SZ_4M, NULL, 512, t->pages, 1, NULL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	map->pgshift = 21;
	map->npages = 512;
	map->runs[0].npages = 512;
	map->it.last = 3 * SZ_2M - 1;
	interval_tree_insert(&map->it, &t->domain.mappings);
	KUNIT_EXPECT_FALSE(test, pviommu_mapping_cuts_page(&t->domain, SZ_4M - PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, pviommu_mapping_cuts_page(&t->domain, SZ_4M));
	KUNIT_EXPECT_TRUE(test, pviommu_mapping_cuts_page(&t->domain, IOVA(1025)));
	KUNIT_EXPECT_TRUE(test, pviommu_mapping_cuts_page(&t->domain,
							  3 * SZ_2M - PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, pviommu_mapping_cuts_page(&t->domain, 3 * SZ_2M));
	KUNIT_EXPECT_FALSE(test, pviommu_mapping_cuts_page(&t->domain, 0));
	KUNIT_EXPECT_FALSE(test, pviommu_mapping_cuts_page(&t->domain, U64_MAX));
	mutex_unlock(&t->domain.lock);
}

/* The first and the last address are addresses as all others */
static void test_ends(struct kunit *test)
{
	struct mapping_test *t = test->priv;
	u64 top = U64_MAX - PAGE_SIZE + 1;
	struct pviommu_mapping *map, *tail;

	mutex_lock(&t->domain.lock);
	t->pages[0] = pfn_to_page(1);
	t->pages[1] = pfn_to_page(2);
	map = pviommu_mapping_make(&t->domain, top - PAGE_SIZE, NULL, 7, t->pages, 2, NULL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	KUNIT_EXPECT_EQ(test, map->it.last, U64_MAX);
	interval_tree_insert(&map->it, &t->domain.mappings);
	pviommu_mapping_split(&t->domain, map, top, &tail);
	KUNIT_EXPECT_EQ(test, tail->it.start, top);
	KUNIT_EXPECT_EQ(test, tail->it.last, U64_MAX);
	KUNIT_EXPECT_EQ(test, tail->runs[0].gfn, 8);
	KUNIT_EXPECT_EQ(test, tail->runs[0].hpfn, 2);
	KUNIT_EXPECT_PTR_EQ(test, tail, pviommu_mapping_first(&t->domain, U64_MAX, U64_MAX));
	KUNIT_EXPECT_NULL(test, pviommu_mapping_first(&t->domain, 0, top - PAGE_SIZE - 1));
	mutex_unlock(&t->domain.lock);
}

/* A mapping of as many runs as there can be, none of which continues another */
static struct pviommu_mapping *make_scattered(struct kunit *test)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map;
	u32 i;

	map = pviommu_mapping_alloc(&t->domain, 0, PVIOMMU_CHUNK, PVIOMMU_CHUNK, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, map);
	for (i = 0; i < PVIOMMU_CHUNK; i++)
		map->runs[i] = (struct pviommu_run) {
			.gfn = 1 + 2 * i, .hpfn = 1 + 3 * i, .npages = 1,
		};
	interval_tree_insert(&map->it, &t->domain.mappings);
	return map;
}

/* Runs that all mappings have room for */
static u32 total_room(struct mapping_test *t)
{
	struct interval_tree_node *node;
	u32 room = 0;

	for (node = interval_tree_iter_first(&t->domain.mappings, 0, U64_MAX); node;
	     node = interval_tree_iter_next(node, 0, U64_MAX))
		room += container_of(node, struct pviommu_mapping, it)->room;
	return room;
}

/* However a mapping is split, its parts don't take many times the memory that it took */
static void test_room(struct kunit *test)
{
	struct mapping_test *t = test->priv;
	struct pviommu_mapping *map, *tail;
	u32 way, i, at;

	mutex_lock(&t->domain.lock);
	for (way = 0; way < 3; way++) {
		map = make_scattered(test);
		for (i = 1; i < PVIOMMU_CHUNK; i++) {
			/* From the start, from the end, from the middle to both */
			at = way == 0 ? i : PVIOMMU_CHUNK - i;
			if (way == 2)
				at = (PVIOMMU_CHUNK / 2 + i) % PVIOMMU_CHUNK ?: PVIOMMU_CHUNK / 2;
			map = pviommu_mapping_first(&t->domain, IOVA(at), IOVA(at));
			map = pviommu_mapping_split(&t->domain, map, IOVA(at), &tail);
			KUNIT_EXPECT_EQ(test, tail->runs[0].gfn, 1 + 2 * at);
			KUNIT_EXPECT_LE(test, map->room, 2 * map->nr_runs);
			KUNIT_EXPECT_LE(test, tail->room, 2 * tail->nr_runs);
			KUNIT_EXPECT_LE(test, total_room(t), 2 * PVIOMMU_CHUNK);
		}
		KUNIT_EXPECT_EQ(test, total_room(t), PVIOMMU_CHUNK);
		mutex_unlock(&t->domain.lock);
		mapping_test_exit(test);
		mutex_lock(&t->domain.lock);
	}
	mutex_unlock(&t->domain.lock);
}

static struct kunit_case mapping_cases[] = {
	KUNIT_CASE_SLOW(test_random),
	KUNIT_CASE(test_runs),
	KUNIT_CASE(test_cuts_page),
	KUNIT_CASE(test_ends),
	KUNIT_CASE(test_room),
	{}
};

static struct kunit_suite mapping_suite = {
	.name = "pviommu_mapping",
	.init = mapping_test_init,
	.exit = mapping_test_exit,
	.test_cases = mapping_cases,
};

kunit_test_suite(mapping_suite);

MODULE_DESCRIPTION("Paravirtual IOMMU, tests of the tree of mappings");
MODULE_LICENSE("GPL");
