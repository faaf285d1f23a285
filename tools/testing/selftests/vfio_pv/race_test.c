// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that use the same VM at the same time, as vCPUs and the VMM of a real VM do. Ops may
 * fail in such a race, with a status that makes sense; the host must survive, and nothing may
 * be left when all threads have stopped.
 */
#include <pthread.h>
#include <sys/ioctl.h>
#include <time.h>

#include <linux/vfio.h>

#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define SLOTS		16
#define SECONDS		2	/* unless PV_RACE_SECONDS says otherwise */

/* What the threads share */
struct game {
	struct pv_vm vm;
	bool stop;
	__u32 dom[2];
};

/* One of the threads */
struct player {
	struct game *game;
	pthread_t thread;
	unsigned int rounds;
};

FIXTURE(race)
{
	struct pv_usage before;
	struct game game;
};

FIXTURE_SETUP(race)
{
	int i;

	self->before = pv_begin();
	pv_setup_vm(&self->game.vm, 1, 2, PV_LOW_SIZE);
	pv_start(&self->game.vm, 4, 6);
	for (i = 0; i < 2; i++) {
		self->game.dom[i] = pv_new_domain(&self->game.vm.ring[0], self->game.vm.dev[0].id);
		ASSERT_NE(0, self->game.dom[i]);
	}
}

FIXTURE_TEARDOWN(race)
{
	pv_params_restore();
	pv_vm_close(&self->game.vm);
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
}

static bool stopped(struct game *game)
{
	return __atomic_load_n(&game->stop, __ATOMIC_RELAXED);
}

/* The statuses that a valid op may have in a race; any other one is a bug */
static bool expected(__u32 status)
{
	switch (status) {
	case PVIOMMU_OK:
	case PVIOMMU_ENOENT:
	case PVIOMMU_EEXIST:
	case PVIOMMU_EFAULT:
	case PVIOMMU_EBUSY:
	case PVIOMMU_EINVAL:
	case PVIOMMU_ENOMEM:
	case PVIOMMU_ENOSPC:
		return true;
	default:
		return false;
	}
}

/* Map, unmap and flush in both domains, partly memory that leaves and comes back */
static void *map_and_unmap(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_ring *r = &game->vm.ring[1];
	unsigned int n;
	bool good = true;

	for (n = 0; good && !stopped(game); n++) {
		__u32 dom = game->dom[n & 1];
		__u64 iova = IOVA + n % SLOTS * PV_2M;
		__u64 gpa = n % 3 ? PV_HIGH + n % 64 * PV_PAGE : PV_DATA;

		good = expected(__pv_map(r, dom, iova, gpa, n % 512 * PV_PAGE + PV_PAGE, PV_RW)) &&
		       expected(__pv_map_2m(r, dom, iova + 0x40000000, PV_HIGH, PV_2M, PV_R)) &&
		       expected(__pv_unmap(r, dom, iova, PV_2M)) &&
		       expected(__pv_inv_page(r, dom, iova, PV_2M)) &&
		       expected(__pv_unmap_all(r, dom)) && expected(__pv_inv(r, dom));
	}
	me->rounds = n;
	return good ? NULL : "map and unmap";
}

/* Unmap and flush what map_and_unmap() has mapped, has not, or is just mapping */
static void *unmap_of_others(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_ring *r = &game->vm.ring[3];
	unsigned int n;
	bool good = true;

	for (n = 0; good && !stopped(game); n++) {
		__u32 dom = game->dom[n / 2 & 1];
		__u64 iova = IOVA + n % SLOTS * PV_2M;

		good = expected(__pv_unmap(r, dom, iova + n % 512 * PV_PAGE, PV_PAGE)) &&
		       expected(__pv_unmap(r, dom, iova, 2 * PV_2M)) &&
		       expected(__pv_unmap(r, dom, iova + 0x40000000, PV_2M)) &&
		       expected(__pv_inv_page(r, dom, iova, PV_PAGE)) &&
		       (n % 4 || expected(__pv_unmap_all(r, dom))) &&
		       (n % 3 || expected(__pv_inv(r, dom)));
	}
	me->rounds = n;
	return good ? NULL : "unmap of others";
}

/* Move the endpoints between domains that are allocated and freed all the time */
static void *attach_and_detach(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_ring *r = &game->vm.ring[2];
	unsigned int n;
	bool good = true;

	for (n = 0; good && !stopped(game); n++) {
		__u32 ep = game->vm.dev[n % game->vm.nr_devs].id;
		__u32 dom = pv_new_domain(r, ep);

		good = expected(__pv_attach(r, ep, game->dom[n & 1])) &&
		       expected(__pv_map(r, dom, IOVA, PV_HIGH, 0x20000, PV_RW)) &&
		       expected(__pv_attach(r, ep, dom)) &&
		       expected(__pv_free(r, dom)) &&
		       expected(__pv_detach(r, ep, dom)) &&
		       expected(__pv_free(r, dom)) &&
		       (n % 8 || expected(__pv_attach(r, ep, PVIOMMU_DOMAIN_BYPASS)));
	}
	me->rounds = n;
	return good ? NULL : "attach and detach";
}

/* The VMM takes memory away and brings it back */
static void *memory_comes_and_goes(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	unsigned int n;

	for (n = 0; !stopped(game); n++)
		if (pv_region_unmap(&game->vm, &game->vm.high) ||
		    pv_region_map(&game->vm, &game->vm.high))
			return "memory";
	me->rounds = n;
	return NULL;
}

/* Ring the doorbell of all rings; other threads fill them */
static void *kick_others(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	unsigned int n;

	for (n = 0; !stopped(game); n++)
		pv_cap_write(&game->vm, 0, PVIOMMU_CAP_DOORBELL_OFF,
			     PVIOMMU_DOORBELL(PVIOMMU_DOORBELL_ALL));
	me->rounds = n;
	return NULL;
}

/* Stop and start the interface: the rings of the other threads stop */
static void *restart(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	unsigned int n;

	for (n = 0; !stopped(game); n++)
		if (__pv_reset(&game->vm) ||
		    pv_command(&game->vm, PVIOMMU_CMD_START, PV_AT_START))
			return "restart";
	me->rounds = n;
	return NULL;
}

/* A guest that sends ops with random contents */
static void *random_ops(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_ring *r = &game->vm.ring[3];
	const __u16 codes[] = {
		PVIOMMU_OP_ALLOC, PVIOMMU_OP_FREE, PVIOMMU_OP_ATTACH, PVIOMMU_OP_DETACH,
		PVIOMMU_OP_MAP, PVIOMMU_OP_MAP_LIST, PVIOMMU_OP_UNMAP, PVIOMMU_OP_INVALIDATE,
		PVIOMMU_OP_LOOKUP, PVIOMMU_OP_PROBE,
	};
	unsigned int n, seed = 1;

	for (n = 0; !stopped(game); n++) {
		struct pviommu_op op = pv_op(codes[rand_r(&seed) % ARRAY_SIZE(codes)]);

		if (op.code == PVIOMMU_OP_PROBE)
			op = pv_op_buf(op.code, game->vm.dev[0].id, PV_AT_REPLY, PV_PAGE);
		else if (op.code == PVIOMMU_OP_ALLOC)
			op.endpoint = game->vm.dev[0].id;
		else
			op.domain = PVIOMMU_DOMAIN_FIRST + rand_r(&seed) % 8;
		if (op.code == PVIOMMU_OP_ATTACH || op.code == PVIOMMU_OP_DETACH)
			op.endpoint = game->vm.dev[rand_r(&seed) % game->vm.nr_devs].id;
		if (op.code >= PVIOMMU_OP_MAP && op.code <= PVIOMMU_OP_INVALIDATE) {
			op.map.iova = IOVA + rand_r(&seed) % 1024 * PV_PAGE;
			op.map.gpa = PV_DATA + rand_r(&seed) % 2048 * PV_PAGE;
			op.map.size = (1 + rand_r(&seed) % 700) * PV_PAGE;
			op.map.prot = PV_RW;
			op.map.pgshift = 12;
		}
		if (op.code == PVIOMMU_OP_MAP_LIST)
			op = pv_op_map_list(op.domain, op.map.iova, PV_AT_LIST,
					    1 + rand_r(&seed) % 512, PV_RW);
		if (op.code == PVIOMMU_OP_UNMAP)
			op = pv_op_unmap(op.domain, op.map.iova, op.map.size);
		if (op.code == PVIOMMU_OP_INVALIDATE)
			op = pv_op_inv(op.domain);
		if (op.code == PVIOMMU_OP_LOOKUP)
			op = pv_op_lookup(op.domain, op.map.iova);
		/* A list changes while the host may be reading it */
		pv_list(&game->vm)[rand_r(&seed) % 512] = rand_r(&seed) % 5000;
		if (!expected(__pv_exec(r, op)))
			return "random ops";
	}
	me->rounds = n;
	return NULL;
}

/* The statuses that the ABI defines */
static bool of_the_abi(__u32 status)
{
	return expected(status) || status == PVIOMMU_EACCES || status == PVIOMMU_ERANGE ||
	       status == PVIOMMU_EOPNOTSUPP || status == PVIOMMU_ECANCELED;
}

/*
 * Double fetch. This thread fills ring 3 with valid ops and rings the doorbell; the thread of
 * change_ops() changes ops, lists and the header of the event ring while the host reads them.
 * Whatever the host reads, each op must end with a status of the ABI.
 */
static void *ops_that_change(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_ring *r = &game->vm.ring[3];
	unsigned int n, i;

	for (n = 0; !stopped(game); n++) {
		__u32 first = r->hdr->prod;

		for (i = 0; i < r->slots; i++)
			pv_push(r, i % 3 ? pv_op_map_list(game->dom[i & 1], IOVA + i * PV_2M,
							  PV_AT_LIST, 1 + i, PV_RW) :
					   pv_op_unmap_all(game->dom[n & 1]));
		pv_kick(r);
		if (!pv_run(r))
			return "ops that change: the ring has stopped";
		for (i = 0; i < r->slots; i++)
			if (!of_the_abi(r->ops[(first + i) & (r->slots - 1)].status))
				return "ops that change";
	}
	me->rounds = n;
	return NULL;
}

/*
 * What an op is changed to. Not FREE, after which no domain would be left to work on, and none of
 * those that write to guest memory or release it: that could be the rings'.
 */
static const __u16 other_codes[] = {
	PVIOMMU_OP_MAP, PVIOMMU_OP_MAP_LIST, PVIOMMU_OP_UNMAP, PVIOMMU_OP_LOOKUP,
	PVIOMMU_OP_MAP, PVIOMMU_OP_MAP_LIST, PVIOMMU_OP_UNMAP, PVIOMMU_OP_INVALIDATE,
	PVIOMMU_OP_ATTACH, PVIOMMU_OP_DETACH, PVIOMMU_OP_TABLE_BIND, PVIOMMU_OP_TYPE_GET,
	PVIOMMU_OP_DIRTY_START, PVIOMMU_OP_DIRTY_STOP, PVIOMMU_OP_RECOVER, PVIOMMU_OP_NOP,
};

/* Another value of a field that says what an op is about */
static void change_head(struct pviommu_op *op, const struct pv_vm *vm, unsigned int *seed)
{
	unsigned int value = rand_r(seed);

	switch (rand_r(seed) % 8) {
	case 0 ... 2:
		__atomic_store_n(&op->domain, value % 6, __ATOMIC_RELAXED);
		break;
	case 3 ... 4:
		__atomic_store_n(&op->code, other_codes[value % ARRAY_SIZE(other_codes)],
				 __ATOMIC_RELAXED);
		break;
	case 5:
		__atomic_store_n(&op->endpoint, value % 3 ? vm->dev[0].id : value % 64,
				 __ATOMIC_RELAXED);
		break;
	case 6:
		__atomic_store_n(&op->flags, value % 4 ? 0 : 1U << value / 4 % 10,
				 __ATOMIC_RELAXED);
		break;
	default:
		__atomic_store_n(&op->pasid, value % 4 ? PVIOMMU_PASID_NONE : value % 64,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&op->vm, value % 5 ? PVIOMMU_VM_SELF : value % 8,
				 __ATOMIC_RELAXED);
	}
}

/* Change anything of an op but its status, which the host writes; the list; the event ring */
static void *change_ops(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_ring *r = &game->vm.ring[3];
	unsigned int n, seed = 7;

	for (n = 0; !stopped(game); n++) {
		struct pviommu_op *op = &r->ops[rand_r(&seed) % r->slots];
		__u64 *word = &op->raw[rand_r(&seed) % 4];

		pv_list(&game->vm)[rand_r(&seed) % 512] = rand_r(&seed) % 4 ?
			(PV_DATA >> 12) + rand_r(&seed) % 2048 : -1ULL << rand_r(&seed) % 64;
		__atomic_fetch_xor(word, 1ULL << rand_r(&seed) % 64, __ATOMIC_RELAXED);
		if (!(n % 3))
			change_head(op, &game->vm, &seed);
		if (!(n % 11))
			pv_events(&game->vm)->cons = rand_r(&seed);
	}
	me->rounds = n;
	return NULL;
}

/* Change ring headers, which may stop the rings for good; restart now and then */
static void *change_headers(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	unsigned int n, i, seed = 9;

	for (n = 0; !stopped(game); n++) {
		struct pviommu_ring_hdr *hdr = game->vm.ring[n % 4].hdr;

		__atomic_fetch_add(&hdr->prod, rand_r(&seed) % 3, __ATOMIC_RELAXED);
		__atomic_store_n(&hdr->cons, rand_r(&seed), __ATOMIC_RELAXED);
		if (!(n % 1000))
			__atomic_fetch_xor(&hdr->cookie, rand_r(&seed) % 2, __ATOMIC_RELAXED);
		if (n % 5000)
			continue;
		if (__pv_reset(&game->vm))
			return "change headers: stop";
		for (i = 0; i < 4; i++) {
			game->vm.ring[i].hdr->cookie = game->vm.cookie;
			game->vm.ring[i].hdr->prod = 0;
		}
		if (pv_command(&game->vm, PVIOMMU_CMD_START, PV_AT_START))
			return "change headers: start";
	}
	me->rounds = n;
	return NULL;
}

/* The VMM closes the last device and opens it again */
static void *close_and_open(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	unsigned int last = game->vm.nr_devs - 1, n;
	struct vfio_dev *dev = &game->vm.dev[last].vfio;

	for (n = 0; !stopped(game); n++) {
		vfio_dev_close(dev);
		if (vfio_dev_open(dev) || vfio_dev_enable(dev, true, true))
			return "close and open";
		game->vm.dev[last].id = pv_cap_read(&game->vm, last, PVIOMMU_CAP_ENDPOINT_OFF);
	}
	me->rounds = n;
	return NULL;
}

/* The device's group joins the container and leaves it, over and over */
static void *join_and_leave(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	const char *bdf = game->vm.dev[0].vfio.bdf;
	unsigned int n;
	int group;

	for (n = 0; !stopped(game); n++) {
		group = vfio_group_open(bdf);
		if (group < 0 || vfio_group_set_container(group, game->vm.container) ||
		    ioctl(game->vm.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
			return "join";
		close(group);
	}
	me->rounds = n;
	return NULL;
}

/* Use the container while it may be without a group */
static void *ask_container(void *arg)
{
	struct player *me = arg;
	struct game *game = me->game;
	struct pv_region *high = &game->vm.high;
	unsigned int n;

	for (n = 0; !stopped(game); n++) {
		struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

		pv_region_map(&game->vm, high);
		ioctl(game->vm.container, VFIO_IOMMU_GET_INFO, &info);
		ioctl(game->vm.container, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU);
		pv_region_unmap(&game->vm, high);
	}
	me->rounds = n;
	return NULL;
}

/* Run these at the same time for some seconds. NULL, or the complaint of one of them */
static const char *play(struct game *game, void *(*const players[])(void *), unsigned int n)
{
	const char *seconds = getenv("PV_RACE_SECONDS");
	struct timespec time = { .tv_sec = seconds ? atoi(seconds) : SECONDS };
	const char *complaint = NULL;
	struct player all[8] = {};
	unsigned int i;
	void *ret;

	for (i = 0; i < n; i++) {
		all[i].game = game;
		if (pthread_create(&all[i].thread, NULL, players[i], &all[i]))
			return "no thread";
	}
	nanosleep(&time, NULL);
	__atomic_store_n(&game->stop, true, __ATOMIC_RELAXED);
	printf("# rounds:");
	for (i = 0; i < n; i++) {
		pthread_join(all[i].thread, &ret);
		printf(" %u", all[i].rounds);
		/* A thread that did not complete a round has not raced with anyone */
		complaint = complaint ?: ret;
		if (!all[i].rounds)
			complaint = complaint ?: "no round";
	}
	printf("\n");
	return complaint;
}

#define race(...) do {								\
	void *(*const __players[])(void *) = { __VA_ARGS__ };			\
	const char *__complaint = play(&self->game, __players, ARRAY_SIZE(__players)); \
										\
	EXPECT_EQ(NULL, __complaint) {						\
		TH_LOG("of %s: %s", #__VA_ARGS__, __complaint);			\
	}									\
} while (0)

/* With all threads stopped, free all domains: nothing else may be left */
#define expect_empty() do {							\
	struct pv_ring *__r = &self->game.vm.ring[0];				\
	struct pv_state __state;						\
	unsigned int __d;							\
										\
	for (__d = 0; __d < (unsigned int)self->game.vm.nr_devs; __d++)		\
		pv_attach(__r, self->game.vm.dev[__d].id, PVIOMMU_DOMAIN_BLOCKED);	\
	for (__d = PVIOMMU_DOMAIN_FIRST; __d < 1100; __d++) {			\
		__u32 __status = __pv_free(__r, __d);				\
										\
		EXPECT_TRUE(__status == PVIOMMU_OK || __status == PVIOMMU_ENOENT); \
	}									\
	__state = pv_state(__r);						\
	EXPECT_EQ(0, __state.domains);						\
	EXPECT_EQ(0, __state.mappings);						\
	EXPECT_EQ(0, __state.pages_mapped);					\
	EXPECT_EQ(pv_iface_pages(&self->game.vm), __state.pages_pinned);	\
} while (0)

TEST_F(race, map_against_attach)
{
	race(map_and_unmap, attach_and_detach);
	expect_empty();
}

TEST_F(race, map_against_unmap)
{
	race(map_and_unmap, unmap_of_others);
	expect_empty();
}

TEST_F(race, map_against_unmap_and_small_doorbells)
{
	ASSERT_TRUE(pv_param_set("doorbell_pages", "3"));
	race(map_and_unmap, unmap_of_others, attach_and_detach);
	expect_empty();
}

TEST_F(race, map_against_memory)
{
	race(map_and_unmap, memory_comes_and_goes);
	expect_empty();
}

TEST_F(race, all_against_all)
{
	race(map_and_unmap, attach_and_detach, memory_comes_and_goes, kick_others);
	expect_empty();
}

TEST_F(race, small_doorbells)
{
	ASSERT_TRUE(pv_param_set("doorbell_pages", "3"));
	race(map_and_unmap, attach_and_detach, memory_comes_and_goes, random_ops);
	expect_empty();
}

TEST_F(race, map_and_attach_against_memory_and_close)
{
	if (self->game.vm.nr_devs < 2)
		SKIP(return, "needs two devices");
	race(map_and_unmap, attach_and_detach, memory_comes_and_goes, close_and_open);
	expect_empty();
}

TEST_F(race, ops_that_change_while_they_are_read)
{
	race(ops_that_change, change_ops);
	expect_empty();
}

TEST_F(race, ops_that_change_and_small_doorbells)
{
	ASSERT_TRUE(pv_param_set("doorbell_pages", "3"));
	race(ops_that_change, change_ops, memory_comes_and_goes);
	expect_empty();
}

TEST_F(race, headers_that_change_while_they_are_read)
{
	race(kick_others, change_ops, change_headers);
}

TEST_F(race, restart_against_all)
{
	race(memory_comes_and_goes, kick_others, restart);
}

TEST_F(race, container_against_its_groups)
{
	pv_vm_close_devices(&self->game.vm);
	pv_vm_close_groups(&self->game.vm);
	race(join_and_leave, ask_container);
}

TEST_HARNESS_MAIN
