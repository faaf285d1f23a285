// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM maps memory of another VM, which needs a grant. A mapping lasts no longer than the
 * grant, the memory and both VMs last. Whichever of them ends, nothing stays mapped or
 * pinned. For the same under load, and for who waits for whom, see foreign_load_test.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>

#include "lib/foreign.h"

/* Nothing of the owner is mapped or pinned any more; @pinned pages are the borrower's own */
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

/* Have the device write to IOVA what PV_OWNER_CHECK looks for */
static bool write_there(struct pv_vm *vm, struct pv_ring *r, __u32 dom)
{
	struct vfio_dev *edu = &vm->dev[0].vfio;
	char *own = pv_mem(vm, PV_DATA);
	bool ok;
	int i;

	for (i = 0; i < PV_OWNER_LEN; i++)
		own[i] = PV_OWNER_WRITTEN(i);
	ok = !__pv_map(r, dom, IOVA * 4, PV_DATA, PV_PAGE, PV_R) &&
	     edu_from_ram(edu, IOVA * 4, 0, PV_OWNER_LEN) && edu_to_ram(edu, IOVA, 0, PV_OWNER_LEN);
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
	/* A grant is for its memory and its access only */
	let(PV_DATA, 4 * PV_PAGE, "r");
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_RW);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_W);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA - PV_PAGE, 2 * PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, 5 * PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_NOWHERE, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, NOBODY, PV_DATA, PV_PAGE, PV_R);
	err_borrow(PVIOMMU_EACCES, UINT32_MAX, PV_DATA, PV_PAGE, PV_R);
	/* A grant the other way is no grant of the owner */
	EXPECT_LT(0, grant_add(self->id, self->owner, PV_DATA, PV_PAGE, "rw"));
	err_borrow(PVIOMMU_EACCES, self->id, PV_DATA, PV_PAGE, PV_R);
	after = pv_state(self->r);
	EXPECT_TRUE(pv_state_same(&before, &after));
	borrow(IOVA, PV_DATA, 4 * PV_PAGE, PV_R);
}

/* A grant may name addresses without memory, or read-only memory: MAP checks that */
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

/* ---- use ------------------------------------------------------------- */

TEST_F(foreign, device_writes_into_the_other_vm)
{
	if (!edu_is(self->edu))
		SKIP(return, "needs edu");
	ask(PV_OWNER_IS_ZERO);
	let(PV_DATA, PV_PAGE, "w");
	borrow(IOVA, PV_DATA, PV_PAGE, PV_W);
	ASSERT_TRUE(write_there(&self->vm, self->r, self->dom));
	ask(PV_OWNER_CHECK);
}

TEST_F(foreign, device_reads_the_other_vm)
{
	char *own = pv_mem(&self->vm, PV_DATA);
	struct pviommu_op op;
	int i;

	if (!edu_is(self->edu))
		SKIP(return, "needs edu");
	ask(PV_OWNER_FILL);
	let(PV_LOW, PV_LOW_SIZE, "r");
	pv_list(&self->vm)[0] = PV_DATA >> 12;
	pv_list(&self->vm)[1] = PV_PAGE >> 12;
	/* The list is in memory of the borrower, the frames are the owner's */
	op = pv_op_map_list(self->dom, IOVA, PV_AT_LIST, 2, PV_R);
	op.vm = self->owner;
	pv_exec(self->r, op);
	pv_map(self->r, self->dom, IOVA * 2, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_TRUE(edu_from_ram(self->edu, IOVA, 0, PV_OWNER_LEN));
	ASSERT_TRUE(edu_to_ram(self->edu, IOVA * 2, 0, PV_OWNER_LEN));
	for (i = 0; i < PV_OWNER_LEN; i++)
		ASSERT_EQ(PV_OWNER_FILLED(i), own[i]);
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
	/* Only the flush unpins, not the unmap */
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

/* ---- how a loan ends --------------------------------------------------- */

/*
 * Scattered pages take an event each. No event is lost, though the borrower reads the ring
 * only after all of them.
 */
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
	/* The mapping is now in three parts, of which the middle one waits for a flush */
	pv_unmap(self->r, self->dom, IOVA + 4 * PV_PAGE, PV_PAGE);
	pv_map(self->r, self->dom, IOVA * 8, PV_DATA, PV_PAGE, PV_RW);
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", id));
	expect_revoked(IOVA, PV_DATA, 4 * PV_PAGE);
	expect_revoked(IOVA + 5 * PV_PAGE, PV_DATA + 5 * PV_PAGE, 11 * PV_PAGE);
	/* The borrower's own memory stays mapped */
	pv_lookup(self->r, self->dom, IOVA * 8);
	EXPECT_EQ(1, pv_total("pages_mapped"));
	pv_unmap(self->r, self->dom, IOVA * 8, PV_PAGE);
	pv_inv(self->r, self->dom);
	expect_all_gone(pinned);
	err_borrow(PVIOMMU_EACCES, self->owner, PV_DATA, PV_PAGE, PV_R);
	if (edu_is(self->edu)) {
		/* The device does not reach it any more */
		write_there(&self->vm, self->r, self->dom);
		ask(PV_OWNER_IS_ZERO);
	}
}

/* What is mapped by another grant stays */
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
	ask(PV_OWNER_UNPLUG);
	expect_revoked(IOVA, PV_DATA, 16 * PV_PAGE);
	expect_all_gone(pinned);
	/* The grant remains, without memory */
	err_borrow(PVIOMMU_EFAULT, self->owner, PV_DATA, PV_PAGE, PV_R);
}

/* The borrower is asked to unmap the pages, then they are revoked. Other pages stay mapped */
TEST_F(foreign, owner_releases_pages)
{
	let(PV_DATA, 4 * PV_PAGE, "rw");
	borrow(IOVA, PV_DATA, 4 * PV_PAGE, PV_RW);
	ask(PV_OWNER_FILL);
	ask(PV_OWNER_RELEASE);
	expect_told(PVIOMMU_EV_RELEASE, IOVA, PV_DATA, PV_PAGE);
	expect_told(PVIOMMU_EV_RELEASE, IOVA + 2 * PV_PAGE, PV_DATA + 2 * PV_PAGE, PV_PAGE);
	expect_revoked(IOVA, PV_DATA, PV_PAGE);
	expect_revoked(IOVA + 2 * PV_PAGE, PV_DATA + 2 * PV_PAGE, PV_PAGE);
	EXPECT_EQ(2, pv_total("pages_lent"));
	pv_lookup(self->r, self->dom, IOVA + PV_PAGE);
	pv_err_lookup(PVIOMMU_ENOENT, self->r, self->dom, IOVA);
	ask(PV_OWNER_IS_ZERO);
	/* The grant remains: the page that takes its place may be mapped */
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
	pv_owner_end(&self->pid, SIGKILL);
	expect_revoked(IOVA, PV_DATA, 16 * PV_PAGE);
	expect_all_gone(pinned);
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
	/* The owner's memory is as it was */
	ask(PV_OWNER_IS_ZERO);
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

/* Grant the example what it waits for. The grant, or -1 if the example has ended before */
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

/* The borrower is a program on the host: examples/pvborrow */
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
	ask(PV_OWNER_FILL);
	pid = example_start(path, bdfs[2], self->owner, PV_PAGE, false, in, out);
	ASSERT_LT(0, example_let(pid, self->owner, PV_PAGE, "r"));
	EXPECT_EQ(0, example_status(pid));
	EXPECT_EQ(PV_PAGE, pread(fileno(out), seen, PV_PAGE, 0));
	for (i = 0; i < PV_OWNER_LEN; i++)
		ASSERT_EQ(PV_OWNER_FILLED(i), seen[i]);
	EXPECT_EQ(0, seen[PV_OWNER_LEN]);

	/* It writes */
	for (i = 0; i < PV_OWNER_LEN; i++)
		seen[i] = PV_OWNER_WRITTEN(i);
	ASSERT_EQ(PV_PAGE, pwrite(fileno(in), seen, PV_PAGE, 0));
	pid = example_start(path, bdfs[2], self->owner, PV_PAGE, true, in, out);
	ASSERT_LT(0, example_let(pid, self->owner, PV_PAGE, "rw"));
	EXPECT_EQ(0, example_status(pid));
	ask(PV_OWNER_CHECK);

	/* It notices when the grant ends half-way */
	ASSERT_EQ(0, ftruncate(fileno(out), 0));
	pid = example_start(path, bdfs[2], self->owner, 16 * PV_PAGE, false, in, out);
	grant = example_let(pid, self->owner, 16 * PV_PAGE, "r");
	ASSERT_LT(0, grant);
	for (i = 0; i < 6000 && !pv_total("pages_lent"); i++)
		usleep(10000);
	ASSERT_EQ(0, pv_ctl(NULL, 0, "grant del grant %lld", grant));
	EXPECT_EQ(1, example_status(pid));
	EXPECT_EQ(0, lseek(fileno(out), 0, SEEK_END));
	fclose(in);
	fclose(out);
}

TEST_HARNESS_MAIN
