// SPDX-License-Identifier: GPL-2.0-only
/*
 * One VM maps memory of another: only by a grant, only for as long as that, the
 * memory and both VMs last; and whoever ends it, nothing stays mapped or pinned.
 *
 * The owner is another process with a device of its own; the borrower is this one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/edu.h"
#include "lib/pv_ctl.h"
#include "lib/pv_late.h"
#include "lib/pv_peer.h"
#include "lib/pv_test.h"

#define IOVA		0x10000000ULL
#define NOBODY		12345
#define LEN		1024
/* What an owner answers */
#define DONE		PV_PEER_DONE
#define UNABLE		's'
/* Pages of the owner: that come late, and of a file that somebody writes to for long */
#define LATE		(PV_DATA + 32 * PV_PAGE)
#define FILED		(PV_DATA + 48 * PV_PAGE)

FIXTURE(foreign)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct vfio_dev *edu;
	__u32 id, dom;
	/* The owner */
	pid_t pid;
	__u32 owner;
	int to, from;
};

/* ---- the owner ------------------------------------------------------- */

static bool owner_released(struct pv_vm *vm, __u64 size)
{
	struct pviommu_event ev = {};
	int i;

	for (i = 0; i < 1000 && !pv_event_next(vm, &ev); i++)
		usleep(5000);
	return ev.type == PVIOMMU_EV_RELEASED && ev.size == size;
}

static bool owner_begins_release(struct pv_vm *vm, __u32 count)
{
	return !__pv_start(vm, 1, 6) && !__pv_exec(&vm->ring[0], pv_op_release(count, 0));
}

static bool owner_releases(struct pv_vm *vm)
{
	pv_list(vm)[0] = PV_DATA >> 12;
	pv_list(vm)[1] = (PV_DATA >> 12) + 2;
	return owner_begins_release(vm, 2) && owner_released(vm, 2 * PV_PAGE);
}

/* Who touches the page from now on waits until bring_in(); -1 if it can't be */
static int page_comes_late(void *page)
{
	int fd = pv_late_open();

	if (fd >= 0 && pv_late_begin(fd, page))
		return fd;
	close(fd);
	return -1;
}

static bool bring_in(int fd, void *page)
{
	return pv_late_end(fd, page, NULL) && !close(fd);
}

/* While somebody waits for the page, the VMM's address space can be changed */
static bool owner_brings_in(int fd, void *page)
{
	void *any;

	if (!pv_late_is_waited_for(fd))
		return false;
	any = mmap(NULL, PV_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return any != MAP_FAILED && !munmap(any, PV_PAGE) && bring_in(fd, page);
}

/* A write that has the file locked and does not come to its end before bring_in() */
struct slow_write {
	int file, fault;
	void *page;
	pthread_t thread;
};

static void *write_slowly(void *arg)
{
	struct slow_write *slow = arg;

	return pwrite(slow->file, slow->page, 16, 0) == 16 ? arg : NULL;
}

/* To free a page of the file waits for the write */
static char owner_begins_slow_release(struct pv_vm *vm, struct slow_write *slow)
{
	struct pviommu_event ev;

	slow->file = memfd_create("guest", 0);
	slow->page = mmap(NULL, PV_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	slow->fault = page_comes_late(slow->page);
	if (slow->fault < 0)
		return UNABLE;
	if (ftruncate(slow->file, PV_PAGE) ||
	    mmap(pv_mem(vm, FILED), PV_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 slow->file, 0) == MAP_FAILED ||
	    pthread_create(&slow->thread, NULL, write_slowly, slow) ||
	    !pv_late_is_waited_for(slow->fault))
		return 'n';
	pv_list(vm)[0] = FILED >> 12;
	if (!owner_begins_release(vm, 1))
		return 'n';
	usleep(300000);
	return pv_event_next(vm, &ev) ? 'n' : DONE;
}

static bool owner_ends_slow_release(struct pv_vm *vm, struct slow_write *slow)
{
	void *ret;

	return bring_in(slow->fault, slow->page) && !pthread_join(slow->thread, &ret) && ret &&
	       owner_released(vm, PV_PAGE);
}

/* What has the VM's memory stays */
static void *owner_closes(void *arg)
{
	struct pv_vm *vm = arg;

	pv_vm_close_devices(vm);
	pv_vm_close_groups(vm);
	pv_vm_close_container(vm);
	return NULL;
}

static char owner_does(struct pv_vm *vm, char what)
{
	static struct slow_write slow;
	static pthread_t closer;
	static int late;
	char *data = pv_mem(vm, PV_DATA);
	int i;

	switch (what) {
	case 'f':	/* fill its memory */
		for (i = 0; i < LEN; i++)
			data[i] = i * 7 + 3;
		return DONE;
	case 'c':	/* has what the borrower's device wrote arrived? */
		for (i = 0; i < LEN; i++)
			if (data[i] != (char)(i * 5 + 1))
				return 'n';
		return DONE;
	case 'z':	/* is the memory as it was at first? */
		for (i = 0; i < LEN; i++)
			if (data[i])
				return 'n';
		return DONE;
	case 'u':	/* unplug memory */
		return pv_region_unmap(vm, &vm->low) ? 'n' : DONE;
	case 'r':	/* give pages back: every other one of four */
		return owner_releases(vm) ? DONE : 'n';
	case 'l':	/* have a page that comes late */
		late = page_comes_late(pv_mem(vm, LATE));
		return late < 0 ? UNABLE : DONE;
	case 'b':	/* bring it in, when somebody waits for it */
		return owner_brings_in(late, pv_mem(vm, LATE)) ? DONE : 'n';
	case 'k':	/* be gone, which lasts as long as somebody waits for the page */
		return pthread_create(&closer, NULL, owner_closes, vm) ? 'n' : DONE;
	case 's':	/* give a page back, which takes its time */
		return owner_begins_slow_release(vm, &slow);
	case 'e':	/* let that come to its end */
		return owner_ends_slow_release(vm, &slow) ? DONE : 'n';
	default:
		return 'n';
	}
}

static void owner_main(int dev, int in, int out)
{
	struct pv_vm vm;
	char what, answer = DONE;

	if (pv_vm_init_from(&vm, dev, 1, PV_LOW_SIZE))
		_exit(1);
	if (!pv_param_set("default_blocked", "1") || pv_vm_open_container(&vm) ||
	    pv_vm_add_memory(&vm) || pv_vm_open_devices(&vm))
		answer = 'n';
	while (write(out, &answer, 1) == 1 && read(in, &what, 1) == 1 && what != 'x')
		answer = owner_does(&vm, what);
	pv_vm_close(&vm);
	_exit(0);
}

#define ask(what)	ASSERT_EQ(DONE, pv_peer_ask(self->to, self->from, what))

/* The same, of what not every kernel can do */
#define ask_or_skip(what) do {							\
	char __answer = pv_peer_ask(self->to, self->from, what);			\
										\
	if (__answer == UNABLE)							\
		SKIP(return, "needs userfaultfd");				\
	ASSERT_EQ(DONE, __answer);						\
} while (0)

static pid_t owner_start(int dev, int *to, int *from)
{
	pid_t pid = pv_peer_fork(to, from);

	if (!pid)
		owner_main(dev, *from, *to);
	return pid;
}

static void owner_end(pid_t *pid, int sig)
{
	int status;

	if (*pid > 0) {
		kill(*pid, sig);
		waitpid(*pid, &status, 0);
	}
	*pid = 0;
}

/* ---- the borrower ---------------------------------------------------- */

FIXTURE_SETUP(foreign)
{
	signal(SIGPIPE, SIG_IGN);
	self->before = pv_begin();
	if (!pv_ctl_found())
		SKIP(return, "needs pvctl");
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	ASSERT_EQ(0, pv_vm_init(&self->vm, 2, PV_LOW_SIZE));
	if (self->vm.nr_devs < 2)
		SKIP(return, "needs two devices");
	self->pid = owner_start(1, &self->to, &self->from);
	ASSERT_LT(0, self->pid);
	ask(0);
	self->vm.nr_devs = 1;
	ASSERT_EQ(0, pv_vm_open_container(&self->vm));
	ASSERT_EQ(0, pv_vm_add_memory(&self->vm));
	ASSERT_EQ(0, pv_vm_open_devices(&self->vm));
	self->edu = &self->vm.dev[0].vfio;
	self->r = &self->vm.ring[0];
	self->id = pv_ctl_vm_of(getpid());
	self->owner = pv_ctl_vm_of(self->pid);
	ASSERT_NE(0, self->id);
	ASSERT_NE(0, self->owner);
	pv_start(&self->vm, 1, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->vm.dev[0].id, self->dom);
}

FIXTURE_TEARDOWN(foreign)
{
	char text[256];

	owner_end(&self->pid, SIGTERM);
	pv_vm_close(&self->vm);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
	EXPECT_EQ(0, pv_vm_count());
	/* Grants went with the VMs */
	EXPECT_EQ(0, pv_ctl(text, sizeof(text), "grant"));
	EXPECT_STREQ("", text);
}

static struct pviommu_op foreign_map(__u32 vm, __u32 dom, __u64 iova, __u64 gpa, __u64 size,
				     __u32 prot)
{
	struct pviommu_op op = pv_op_map(dom, iova, gpa, size, prot);

	op.vm = vm;
	return op;
}

/* The list is ours, the frames are the other's */
static struct pviommu_op foreign_list(struct pv_vm *own, __u32 vm, __u32 dom, __u64 iova,
				      __u64 gpa, __u64 size, __u32 prot)
{
	struct pviommu_op op = pv_op_map_list(dom, iova, PV_AT_LIST, size / PV_PAGE, prot);
	__u64 i;

	for (i = 0; i < size / PV_PAGE; i++)
		pv_list(own)[i] = gpa / PV_PAGE + i;
	op.vm = vm;
	return op;
}

static long long grant_add(__u32 from, __u32 to, __u64 gpa, __u64 size, const char *access)
{
	char text[256];

	if (pv_ctl(text, sizeof(text), "grant add from %u to %u gpa %llu size %llu access %s",
		   from, to, gpa, size, access))
		return -1;
	return pv_ctl_value(text, NULL, "grant");
}

#define let(gpa, size, access) ({						\
	long long __grant = grant_add(self->owner, self->id, gpa, size, access);	\
										\
	ASSERT_LT(0, __grant);							\
	__grant;								\
})

#define borrow(iova, gpa, size, prot) \
	pv_exec(self->r, foreign_map(self->owner, self->dom, iova, gpa, size, prot))
#define err_borrow(status, number, gpa, size, prot) do {				\
	pv_err_exec(status, self->r,						\
		    foreign_map(number, self->dom, IOVA, gpa, size, prot));	\
	pv_err_exec(status, self->r,						\
		    foreign_list(&self->vm, number, self->dom, IOVA, gpa, size, prot));	\
} while (0)

/* Nothing of the owner's is mapped or pinned, at whoever's hand that was */
#define expect_all_gone(pinned) do {						\
	EXPECT_EQ(0, pv_total("pages_lent"));					\
	EXPECT_EQ(pinned, pv_total("pages_pinned"));				\
	EXPECT_EQ(0, pv_total("pages_mapped"));					\
	EXPECT_EQ(0, pv_total("mappings"));					\
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA);		\
} while (0)

#define expect_revoked(iova, at, bytes) \
	expect_told(PVIOMMU_EV_REVOKED, iova, at, bytes)

#define expect_told(kind, iova, at, bytes) do {					\
	struct pviommu_event __ev = {};						\
										\
	ASSERT_TRUE(pv_event_next(&self->vm, &__ev));				\
	EXPECT_EQ(kind, __ev.type);						\
	EXPECT_EQ(self->owner, __ev.vm);					\
	EXPECT_EQ(self->dom, __ev.domain);					\
	EXPECT_EQ(iova, __ev.addr);						\
	EXPECT_EQ(at, __ev.gpa);						\
	EXPECT_EQ(bytes, __ev.size);						\
} while (0)

/* Have the device write what the owner looks for, at IOVA */
static bool write_there(struct pv_vm *vm, struct pv_ring *r, __u32 dom)
{
	struct vfio_dev *edu = &vm->dev[0].vfio;
	char *own = pv_mem(vm, PV_DATA);
	bool ok;
	int i;

	for (i = 0; i < LEN; i++)
		own[i] = i * 5 + 1;
	ok = !__pv_map(r, dom, IOVA * 4, PV_DATA, PV_PAGE, PV_R) &&
	     edu_from_ram(edu, IOVA * 4, 0, LEN) && edu_to_ram(edu, IOVA, 0, LEN);
	return !__pv_unmap(r, dom, IOVA * 4, PV_PAGE) && !__pv_inv(r, dom) && ok;
}

/* ---- who may --------------------------------------------------------- */

TEST_F(foreign, refused_alike_without_a_grant)
{
	struct pv_state before = pv_state(self->r), after;

	err_borrow(PVIOMMU_EACCES, NOBODY, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_NOWHERE, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->id, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, UINT32_MAX, PV_DATA, PV_PAGE, PV_R);
	/* A grant is for what it says and no more */
	let(PV_DATA, 4 * PV_PAGE, "r");
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_RW);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_W);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA - PV_PAGE, 2 * PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, 5 * PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_NOWHERE, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, NOBODY, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, UINT32_MAX, PV_DATA, PV_PAGE, PV_R);
	/* Nor is it for the way back */
	EXPECT_LT(0, grant_add(self->id, self->owner, PV_DATA, PV_PAGE, "rw"));
	err_borrow(PVIOMMU_EACCES, self->id, PV_DATA, PV_PAGE, PV_R);
	after = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&before, &after));
	borrow(IOVA, PV_DATA, 4 * PV_PAGE, PV_R);
}

TEST_F(foreign, granted_but_no_memory)
{
	let(PV_NOWHERE, PV_PAGE, "rw");
	let(PV_ROM, PV_PAGE, "rw");
	err_borrow(PVIOMMU_EFAULT, self->owner, PV_NOWHERE, PV_PAGE, PV_RW);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_ROM, PV_PAGE, PV_RW);
	borrow(IOVA, PV_ROM, PV_PAGE, PV_R);
}

TEST_F(foreign, grants_that_make_no_sense)
{
	EXPECT_EQ(-1, grant_add(self->owner, self->owner, 0, PV_PAGE, "rw"));
	EXPECT_EQ(-1, grant_add(self->owner, NOBODY, 0, PV_PAGE, "rw"));
	EXPECT_EQ(-1, grant_add(NOBODY, self->id, 0, PV_PAGE, "rw"));
	EXPECT_EQ(-1, grant_add(self->owner, self->id, 1, PV_PAGE, "rw"));
	EXPECT_EQ(-1, grant_add(self->owner, self->id, 0, 100, "rw"));
	EXPECT_EQ(-1, grant_add(self->owner, self->id, 0, PV_PAGE, "x"));
	EXPECT_EQ(1, pv_ctl(NULL, 0, "grant del grant %d 2>/dev/null", NOBODY));
}

/* ---- what it is good for --------------------------------------------- */

TEST_F(foreign, device_writes_into_the_other_vm)
{
	if (!edu_is(self->edu))
		SKIP(return, "needs edu");
	ask('z');
	let(PV_DATA, PV_PAGE, "w");
	borrow(IOVA, PV_DATA, PV_PAGE, PV_W);
	ASSERT_TRUE(write_there(&self->vm, self->r, self->dom));
	ask('c');
}

TEST_F(foreign, device_reads_the_other_vm)
{
	char *own = pv_mem(&self->vm, PV_DATA);
	struct pviommu_op op;
	int i;

	if (!edu_is(self->edu))
		SKIP(return, "needs edu");
	ask('f');
	let(PV_LOW, PV_LOW_SIZE, "r");
	pv_list(&self->vm)[0] = PV_DATA >> 12;
	pv_list(&self->vm)[1] = PV_PAGE >> 12;
	/* The list is ours, the frames are the other's */
	op = pv_op_map_list(self->dom, IOVA, PV_AT_LIST, 2, PV_R);
	op.vm = self->owner;
	pv_exec(self->r, op);
	pv_map(self->r, self->dom, IOVA * 2, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_TRUE(edu_from_ram(self->edu, IOVA, 0, LEN));
	ASSERT_TRUE(edu_to_ram(self->edu, IOVA * 2, 0, LEN));
	for (i = 0; i < LEN; i++)
		ASSERT_EQ((char)(i * 7 + 3), own[i]);
	pv_lookup(self->r, self->dom, IOVA + PV_PAGE);
	EXPECT_EQ(PV_PAGE, self->r->last.lookup.gpa);
	EXPECT_EQ(PV_R | PVIOMMU_PROT_FOREIGN, self->r->last.lookup.prot);
}

/* The borrower is charged, the owner is not */
TEST_F(foreign, account)
{
	long mine = pv_status_kb(0, "VmLck"), its = pv_status_kb(self->pid, "VmLck");
	long long pinned = pv_total("pages_pinned");
	char text[512];

	let(PV_LOW, PV_LOW_SIZE, "rw");
	borrow(IOVA, 0, PV_LOW_SIZE, PV_RW);
	EXPECT_EQ(PV_LOW_SIZE / PV_PAGE, pv_total("pages_lent"));
	EXPECT_EQ(pinned + PV_LOW_SIZE / PV_PAGE, pv_total("pages_pinned"));
	EXPECT_LE(mine + PV_LOW_SIZE / 1024 - 4096, pv_status_kb(0, "VmLck"));
	EXPECT_EQ(its, pv_status_kb(self->pid, "VmLck"));
	ASSERT_EQ(0, pv_ctl(text, sizeof(text), "grant"));
	EXPECT_EQ(PV_LOW_SIZE / PV_PAGE, pv_ctl_value(text, NULL, "pages"));
	/* Unmapped is not unpinned; flushed is */
	pv_unmap(self->r, self->dom, IOVA, PV_LOW_SIZE / 2);
	EXPECT_EQ(PV_LOW_SIZE / PV_PAGE, pv_total("pages_lent"));
	pv_inv(self->r, self->dom);
	EXPECT_EQ(PV_LOW_SIZE / PV_PAGE / 2, pv_total("pages_lent"));
	pv_unmap_all(self->r, self->dom);
	pv_inv(self->r, self->dom);
	expect_all_gone(pinned);
}

TEST_F(foreign, large_pages)
{
	long long pinned = pv_total("pages_pinned"), id;
	struct pviommu_op op = pv_op_map_2m(self->dom, IOVA, PV_HIGH, PV_2M, PV_RW);

	id = let(PV_HIGH, PV_HIGH_SIZE, "rw");
	op.vm = self->owner;
	pv_exec(self->r, op);
	EXPECT_EQ(512, pv_total("pages_lent"));
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	expect_revoked(IOVA, PV_HIGH, PV_2M);
	expect_all_gone(pinned);
}

/* ---- how it ends ----------------------------------------------------- */

/* Pages that nothing can name together are named one by one, however late who had them looks */
TEST_F(foreign, many_pages_are_taken_back)
{
	long long pinned = pv_total("pages_pinned"), id = let(PV_DATA, 1024 * PV_PAGE, "rw");
	struct pviommu_op op = pv_op_map_list(self->dom, IOVA, PV_AT_LIST, 512, PV_RW);
	int i;

	for (i = 0; i < 512; i++)
		pv_list(&self->vm)[i] = (PV_DATA >> 12) + 2 * i;
	op.vm = self->owner;
	pv_exec(self->r, op);
	EXPECT_EQ(512, pv_total("pages_lent"));
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	EXPECT_EQ(512 - PVIOMMU_EVENT_SLOTS, pv_events(&self->vm)->waiting);
	for (i = 0; i < 512; i++)
		expect_revoked(IOVA + i * PV_PAGE, PV_DATA + 2 * i * PV_PAGE, PV_PAGE);
	EXPECT_EQ(0, pv_events(&self->vm)->lost);
	expect_all_gone(pinned);
}

TEST_F(foreign, grant_is_taken_back)
{
	long long pinned = pv_total("pages_pinned"), id = let(PV_DATA, 16 * PV_PAGE, "rw");

	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	/* Cut in three, of which one waits for a flush */
	pv_unmap(self->r, self->dom, IOVA + 4 * PV_PAGE, PV_PAGE);
	pv_map(self->r, self->dom, IOVA * 8, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	expect_revoked(IOVA, PV_DATA, 4 * PV_PAGE);
	expect_revoked(IOVA + 5 * PV_PAGE, PV_DATA + 5 * PV_PAGE, 11 * PV_PAGE);
	/* What is the borrower's own stays */
	pv_lookup(self->r, self->dom, IOVA * 8);
	EXPECT_EQ(1, pv_total("pages_mapped"));
	pv_unmap(self->r, self->dom, IOVA * 8, PV_PAGE);
	pv_inv(self->r, self->dom);
	expect_all_gone(pinned);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	if (edu_is(self->edu)) {
		/* The device does not reach it any more */
		write_there(&self->vm, self->r, self->dom);
		ask('z');
	}
}

/* By another grant, or to another place, it stays */
TEST_F(foreign, one_of_two_grants_is_taken_back)
{
	long long one = let(PV_DATA, PV_PAGE, "rw");

	borrow(IOVA, PV_DATA, PV_PAGE, PV_RW);
	let(PV_DATA + PV_PAGE, PV_PAGE, "rw");
	borrow(IOVA + PV_PAGE, PV_DATA + PV_PAGE, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", one));
	expect_revoked(IOVA, PV_DATA, PV_PAGE);
	EXPECT_EQ(1, pv_total("pages_lent"));
	pv_lookup(self->r, self->dom, IOVA + PV_PAGE);
}

TEST_F(foreign, owner_unplugs_the_memory)
{
	long long pinned = pv_total("pages_pinned");

	let(PV_DATA, 16 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	ask('u');
	expect_revoked(IOVA, PV_DATA, 16 * PV_PAGE);
	expect_all_gone(pinned);
	/* The grant is there, the memory is not */
	err_borrow(PVIOMMU_EFAULT, self->owner, PV_DATA, PV_PAGE, PV_R);
}

/* The borrower is asked, then cut off; what it maps besides stays */
TEST_F(foreign, owner_releases_pages)
{
	let(PV_DATA, 4 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 4 * PV_PAGE, PV_RW);
	ask('f');
	ask('r');
	expect_told(PVIOMMU_EV_RELEASE, IOVA, PV_DATA, PV_PAGE);
	expect_told(PVIOMMU_EV_RELEASE, IOVA + 2 * PV_PAGE, PV_DATA + 2 * PV_PAGE, PV_PAGE);
	expect_revoked(IOVA, PV_DATA, PV_PAGE);
	expect_revoked(IOVA + 2 * PV_PAGE, PV_DATA + 2 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(2, pv_total("pages_lent"));
	pv_lookup(self->r, self->dom, IOVA + PV_PAGE);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA);
	ask('z');
	/* The grant holds: the page that is there now may be mapped */
	borrow(IOVA, PV_DATA, PV_PAGE, PV_RW);
}

TEST_F(foreign, owner_exits)
{
	long long pinned = pv_total("pages_pinned");
	int status;

	let(PV_DATA, 16 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	ASSERT_EQ(1, write(self->to, "x", 1));
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
	self->pid = 0;
	expect_revoked(IOVA, PV_DATA, 16 * PV_PAGE);
	expect_all_gone(pinned);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
}

TEST_F(foreign, owner_is_killed)
{
	long long pinned = pv_total("pages_pinned");

	let(PV_DATA, 16 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	owner_end(&self->pid, SIGKILL);
	expect_revoked(IOVA, PV_DATA, 16 * PV_PAGE);
	expect_all_gone(pinned);
}

/* ---- who waits for whom ---------------------------------------------- */

/* An op in a thread, which is waited for as long as a limit says */
struct one_op {
	struct pv_ring *r;
	struct pviommu_op op;
	__u32 status;
	volatile bool done;
	pthread_t thread;
};

static void *run_op(void *arg)
{
	struct one_op *one = arg;

	one->status = __pv_exec(one->r, one->op);
	one->done = true;
	return NULL;
}

static bool done_within(const struct one_op *one, int ms)
{
	for (; ms > 0 && !one->done; ms -= 5)
		usleep(5000);
	return one->done;
}

/* The owner's VMM takes its time with a page, and goes on with its own affairs */
TEST_F(foreign, owner_brings_the_page_in)
{
	struct one_op one = { .r = self->r };

	ask_or_skip('l');
	let(LATE, PV_PAGE, "rw");
	one.op = foreign_map(self->owner, self->dom, IOVA, LATE, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, run_op, &one));
	ask('b');
	ASSERT_EQ(0, pthread_join(one.thread, NULL));
	EXPECT_EQ(PVIOMMU_OK, one.status);
	EXPECT_EQ(1, pv_total("pages_lent"));
}

/* A VM that is about to end is no VM any more, whatever it had granted */
TEST_F(foreign, owner_is_ending)
{
	struct one_op one = { .r = self->r };
	struct pv_ring *r = &self->vm.ring[1];
	int i;

	pv_reset(&self->vm);
	pv_start(&self->vm, 2, 6);
	self->dom = pv_new_domain(self->r, self->vm.dev[0].id);
	ASSERT_NE(0, self->dom);
	ask_or_skip('l');
	let(PV_DATA, 64 * PV_PAGE, "rw");
	one.op = foreign_map(self->owner, self->dom, IOVA * 2, LATE, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, run_op, &one));
	usleep(300000);
	ask('k');
	for (i = 0; i < 1000 && pv_ctl_vm_of(self->pid); i++)
		usleep(10000);
	EXPECT_EQ(0, pv_ctl_vm_of(self->pid));
	self->r = r;
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_NOWHERE, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, NOBODY, PV_DATA, PV_PAGE, PV_R);
	/* Or it had ended before */
	EXPECT_FALSE(one.done);
	ask('b');
	ASSERT_EQ(0, pthread_join(one.thread, NULL));
	EXPECT_NE(PVIOMMU_OK, one.status);
	for (i = 0; i < 1000 && pv_vm_count() > 1; i++)
		usleep(10000);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	EXPECT_EQ(0, pv_total("pages_lent"));
}

/* Pages that the owner gives back are freed as slowly as its VMM likes */
TEST_F(foreign, release_that_takes_long)
{
	struct one_op one = { .r = self->r };
	long long id = let(PV_DATA, 16 * PV_PAGE, "rw");

	ask_or_skip('s');
	one.op = foreign_map(self->owner, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pthread_create(&one.thread, NULL, run_op, &one));
	EXPECT_TRUE(done_within(&one, 20000));
	if (one.done)
		EXPECT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	ask('e');
	ASSERT_EQ(0, pthread_join(one.thread, NULL));
	EXPECT_EQ(PVIOMMU_OK, one.status);
}

/* What the borrower has without a flush, and how many times it maps a page */
#define MANY	60000

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Map a page @n times, one after the other; false if that failed once */
static bool map_many(struct pv_ring *r, struct pviommu_op op, unsigned int n)
{
	const struct pviommu_op *slot;
	unsigned int i;

	for (i = 0; i < n; i++) {
		slot = pv_push(r, op);
		op.map.iova += PV_PAGE;
		if ((i + 1) % r->slots && i + 1 < n)
			continue;
		if (!pv_run(r) || slot->status)
			return false;
	}
	return true;
}

/* How long that takes is up to how much was lent, not to what else the borrower has */
TEST_F_TIMEOUT(foreign, many_loans_and_a_long_limbo, 400)
{
	long long id = let(PV_DATA, PV_PAGE, "rw");
	struct pv_vm *vm = &self->vm;
	struct pv_ring *r = self->r;
	double begin, made, gone;

	pv_reset(vm);
	pv_start(vm, 1, PVIOMMU_RING_ORDER_MAX);
	self->dom = pv_new_domain(r, vm->dev[0].id);
	ASSERT_NE(0, self->dom);
	begin = seconds();
	ASSERT_TRUE(map_many(r, pv_op_map(self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW), MANY));
	pv_unmap_all(r, self->dom);
	ASSERT_TRUE(map_many(r, foreign_map(self->owner, self->dom, IOVA, PV_DATA, PV_PAGE,
					    PV_RW), MANY));
	EXPECT_EQ(MANY, pv_total("pages_lent"));
	made = seconds() - begin;
	begin = seconds();
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	gone = seconds() - begin;
	TH_LOG("made in %.1f s, gone in %.1f s", made, gone);
	EXPECT_EQ(0, pv_total("pages_lent"));
	EXPECT_LT(gone, 2 * made + 5);
	pv_inv(r, self->dom);
	EXPECT_EQ(0, pv_total("pages_mapped"));
}

/* ---- the borrower's own end ------------------------------------------ */

#define expect_none_lent() do {							\
	EXPECT_EQ(0, pv_total("pages_lent"));					\
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant | grep -q 'pages 0$'"));		\
} while (0)

TEST_F(foreign, borrower_frees_the_domain)
{
	let(PV_DATA, 16 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	pv_unmap(self->r, self->dom, IOVA + PV_PAGE, PV_PAGE);
	pv_detach(self->r, self->vm.dev[0].id, self->dom);
	pv_free(self->r, self->dom);
	expect_none_lent();
}

TEST_F(foreign, borrower_resets)
{
	let(PV_DATA, 16 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	pv_reset(&self->vm);
	expect_none_lent();
}

TEST_F(foreign, borrower_goes)
{
	let(PV_DATA, 16 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 16 * PV_PAGE, PV_RW);
	pv_vm_close(&self->vm);
	EXPECT_EQ(0, pv_total("pages_lent"));
	EXPECT_EQ(0, pv_total("pages_pinned"));
	/* The owner is as it was */
	ask('z');
}

/* ---- all at once ----------------------------------------------------- */

struct borrower {
	struct pv_ring *r;
	__u32 owner, dom;
	__u64 iova;
	unsigned int mapped, refused, strange;
	volatile bool stop;
};

static void *borrow_all_the_time(void *arg)
{
	struct borrower *b = arg;
	__u32 status;

	while (!b->stop) {
		status = __pv_exec(b->r, foreign_map(b->owner, b->dom, b->iova, PV_DATA,
						     1024 * PV_PAGE, PV_RW));
		b->mapped += status == PVIOMMU_OK;
		b->refused += status == PVIOMMU_EACCES;
		/* A part that was revoked already is no error */
		b->strange += status != PVIOMMU_OK && status != PVIOMMU_EACCES;
		__pv_unmap(b->r, b->dom, b->iova, 600 * PV_PAGE);
		__pv_unmap_all(b->r, b->dom);
		__pv_inv(b->r, b->dom);
	}
	return NULL;
}

TEST_F_TIMEOUT(foreign, grants_come_and_go_under_load, 120)
{
	struct borrower b = { .owner = self->owner, .iova = IOVA };
	struct pv_vm *vm = &self->vm;
	pthread_t thread;
	long long id;
	int i;

	pv_reset(vm);
	pv_start(vm, 2, 6);
	b.r = &vm->ring[0];
	b.dom = pv_new_domain(b.r, vm->dev[0].id);
	ASSERT_NE(0, b.dom);
	ASSERT_EQ(0, pthread_create(&thread, NULL, borrow_all_the_time, &b));
	for (i = 0; i < 10; i++) {
		id = let(PV_DATA, 1024 * PV_PAGE, "rw");
		usleep(10000 * i);
		ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
		EXPECT_EQ(0, pv_total("pages_lent"));
	}
	b.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	TH_LOG("mapped %u times, refused %u times", b.mapped, b.refused);
	EXPECT_LT(0, b.mapped);
	EXPECT_LT(0, b.refused);
	EXPECT_EQ(0, b.strange);
	EXPECT_EQ(0, pv_total("mappings"));
}

TEST_F(foreign, owner_is_killed_under_load)
{
	struct borrower b = { .r = self->r, .owner = self->owner, .dom = self->dom, .iova = IOVA };
	pthread_t thread;
	int i;

	let(PV_DATA, 1024 * PV_PAGE, "rw");
	ASSERT_EQ(0, pthread_create(&thread, NULL, borrow_all_the_time, &b));
	usleep(300000);
	owner_end(&self->pid, SIGKILL);
	/* What is being pinned just then keeps the owner's memory for as long as that */
	for (i = 0; i < 1000 && pv_total("pages_lent"); i++)
		usleep(10000);
	EXPECT_EQ(0, pv_total("pages_lent"));
	b.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_LT(0, b.mapped);
	EXPECT_EQ(0, pv_total("mappings"));
}

/* ---- what time tells ------------------------------------------------- */

#define OF_OTHERS	48	/* grants */
#define SAMPLES		101
#define A_SAMPLE	48	/* ops */
#define TRIES		5
/* What the machine's other work may make of it */
#define ALIKE		1.25

/* A VM that is asked for memory without a grant */
struct asked {
	const char *what;
	__u32 id;
	double sample[SAMPLES];		/* us for an op */
};

static int compare_double(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static double median(struct asked *asked)
{
	qsort(asked->sample, SAMPLES, sizeof(double), compare_double);
	return asked->sample[SAMPLES / 2];
}

/* How long it takes to be refused; -1 if it was anything else */
static double time_refusal(struct pv_ring *r, struct pviommu_op op)
{
	const struct pviommu_op *slot[A_SAMPLE];
	double before, us;
	int i;

	for (i = 0; i < A_SAMPLE; i++)
		slot[i] = pv_push(r, op);
	before = seconds();
	if (!pv_run(r))
		return -1;
	us = (seconds() - before) * 1e6 / A_SAMPLE;
	for (i = 0; i < A_SAMPLE; i++)
		if (slot[i]->status != PVIOMMU_EACCES)
			return -1;
	return us;
}

/* One after the other, round after round, so that what else goes on is the same for all */
static bool take_samples(struct pv_ring *r, struct pviommu_op op, struct asked *asked, int n)
{
	int i, round;

	for (round = 0; round < SAMPLES; round++) {
		for (i = 0; i < n; i++) {
			struct asked *one = &asked[(round + i) % n];

			op.vm = one->id;
			one->sample[round] = time_refusal(r, op);
			if (one->sample[round] < 0)
				return false;
		}
	}
	return true;
}

/* The longest by the shortest median; what they are goes to @text */
static double spread(struct asked *asked, int n, char *text, size_t size)
{
	double least = 1e9, most = 0, us;
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++) {
		us = median(&asked[i]);
		least = us < least ? us : least;
		most = us > most ? us : most;
		len += snprintf(text + len, size - len, "%s%s %.2f", i ? ", " : "",
				asked[i].what, us);
	}
	return most / least;
}

/* Who has no grant does not learn from the time either whether there is such a VM */
TEST_F_TIMEOUT(foreign, refusals_take_the_same_time, 400)
{
	struct pviommu_op ops[] = {
		foreign_map(0, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW),
		foreign_list(&self->vm, 0, self->dom, IOVA, PV_DATA, PV_PAGE, PV_RW),
	};
	const char *const names[] = { "MAP", "MAP_LIST" };
	struct asked asked[] = {
		{ "no VM" }, { "a VM" }, { "a VM with grants of other memory and to others" },
		{ "0xffffffff" },
	};
	int to = -1, from = -1, i, try;
	char text[256];
	double ratio;
	pid_t third;

	third = owner_start(2, &to, &from);
	ASSERT_LT(0, third);
	if (pv_peer_ask(to, from, 0) != DONE) {
		owner_end(&third, SIGTERM);
		SKIP(return, "needs three devices");
	}
	asked[0].id = NOBODY;
	asked[1].id = pv_ctl_vm_of(third);
	asked[2].id = self->owner;
	asked[3].id = UINT32_MAX;
	for (i = 0; i < OF_OTHERS; i++) {
		EXPECT_LT(0, grant_add(self->owner, asked[1].id, PV_DATA, PV_PAGE, "rw"));
		EXPECT_LT(0, grant_add(self->owner, self->id, PV_DATA + PV_PAGE, PV_PAGE, "rw"));
	}
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		ratio = 0;
		for (try = 0; try < TRIES && !(ratio && ratio <= ALIKE); try++) {
			ASSERT_TRUE(take_samples(self->r, ops[i], asked, ARRAY_SIZE(asked)));
			ratio = spread(asked, ARRAY_SIZE(asked), text, sizeof(text));
			TH_LOG("%s: median us: %s: within %.0f %%", names[i], text,
			       (ratio - 1) * 100);
		}
		EXPECT_GE(ALIKE, ratio);
	}
	owner_end(&third, SIGTERM);
	close(to);
	close(from);
}

/* ---- the example ------------------------------------------------------ */

/* examples/pvborrow, beside the tests as the tree builds it */
static bool example_path(char *path, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", path, size - 32);

	if (len < 0)
		return false;
	path[len] = 0;
	strcat(dirname(path), "/../pvborrow/pvborrow");
	return !access(path, X_OK);
}

static pid_t example_start(const char *path, const char *bdf, __u32 vm, __u64 size, bool to_them,
			   FILE *in, FILE *out)
{
	char id[16], gpa[24], bytes[24];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(id, sizeof(id), "%u", vm);
	snprintf(gpa, sizeof(gpa), "0x%llx", PV_DATA);
	snprintf(bytes, sizeof(bytes), "%llu", size);
	rewind(in);
	dup2(fileno(in), 0);
	dup2(fileno(out), 1);
	if (to_them)
		execl(path, path, "-w", bdf, id, gpa, bytes, NULL);
	else
		execl(path, path, bdf, id, gpa, bytes, NULL);
	_exit(99);
}

/* Grant it what it waits for; the grant, -1 if it came to an end before */
static long long example_let(pid_t pid, __u32 owner, __u64 size, const char *access)
{
	__u32 id = 0;
	int i;

	for (i = 0; i < 300 && !id; i++) {
		usleep(100000);
		id = pv_ctl_vm_of(pid);
	}
	usleep(500000);
	if (!id || waitpid(pid, &i, WNOHANG))
		return -1;
	return grant_add(owner, id, PV_DATA, size, access);
}

static int example_status(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(foreign, program_on_the_host)
{
	char path[4096], bdfs[VFIO_DEV_MAX][16], seen[PV_PAGE] = {};
	FILE *in = tmpfile(), *out = tmpfile();
	long long grant;
	pid_t pid;
	int i;

	ASSERT_TRUE(in && out);
	if (vfio_find_devices(PV_DRIVER, bdfs, VFIO_DEV_MAX) < 3 || !edu_is(self->edu))
		SKIP(return, "needs three edu devices");
	if (!example_path(path, sizeof(path)))
		SKIP(return, "needs examples/pvborrow");

	/* It reads */
	ask('f');
	pid = example_start(path, bdfs[2], self->owner, PV_PAGE, false, in, out);
	ASSERT_LT(0, example_let(pid, self->owner, PV_PAGE, "r"));
	EXPECT_EQ(0, example_status(pid));
	EXPECT_EQ(PV_PAGE, pread(fileno(out), seen, PV_PAGE, 0));
	for (i = 0; i < LEN; i++)
		ASSERT_EQ((char)(i * 7 + 3), seen[i]);
	EXPECT_EQ(0, seen[LEN]);

	/* It writes */
	for (i = 0; i < LEN; i++)
		seen[i] = i * 5 + 1;
	ASSERT_EQ(PV_PAGE, pwrite(fileno(in), seen, PV_PAGE, 0));
	pid = example_start(path, bdfs[2], self->owner, PV_PAGE, true, in, out);
	ASSERT_LT(0, example_let(pid, self->owner, PV_PAGE, "rw"));
	EXPECT_EQ(0, example_status(pid));
	ask('c');

	/* It knows when it was cut off in the midst of it */
	ASSERT_EQ(0, ftruncate(fileno(out), 0));
	pid = example_start(path, bdfs[2], self->owner, 16 * PV_PAGE, false, in, out);
	grant = example_let(pid, self->owner, 16 * PV_PAGE, "r");
	ASSERT_LT(0, grant);
	usleep(1000000);
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", grant));
	EXPECT_EQ(1, example_status(pid));
	EXPECT_EQ(0, lseek(fileno(out), 0, SEEK_END));
	fclose(in);
	fclose(out);
}

TEST_HARNESS_MAIN
