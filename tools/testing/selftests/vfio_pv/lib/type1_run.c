// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run a program of type1_calls.h in a container of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edu.h"
#include "guest_vfio.h"
#include "type1_calls.h"

#define PAGE		GUEST_PAGE
#define WINDOW		0x1000000ULL	/* to look at the device's buffer by */
#define BITMAP_SIZE	(2 * PAGE)
#define WATCHED_PAGES	(2 * CALLS_IOVA_PAGES)
#define STAMP		0x7079740000000000ULL
#define NOT_REACHED	0x656e6f6eULL

struct runner {
	const struct calls_run *run;
	struct guest_vfio g;
	int second;		/* its group, always open */
	bool joined;
	bool mapped[WATCHED_PAGES]; /* which pages from CALLS_IOVA on; version 2 only */
	char *window;		/* memory */
	char *bitmap;		/* BITMAP_SIZE bytes, then nothing */
	char *read_only;	/* a page */
	char *cliff;		/* where memory ends */
	__u32 avail;		/* mappings that an empty container may have */
};

static int answer_of(int ret)
{
	return ret < 0 ? -errno : ret;
}

static __u64 digest(__u64 sum, const void *data, size_t len)
{
	const unsigned char *byte = data;

	while (len--)
		sum = (sum ^ *byte++) * 0x100000001b3ULL;
	return sum;
}

/* ------------------------------------------------------------------ */
/* Memory */

/* What identifies a page, whoever reads it */
static void stamp(__u64 page, __u64 generation)
{
	*(__u64 *)(CALLS_POOL + page * PAGE) = STAMP | generation << 16 | page;
}

static void *put_memory(__u64 page, __u64 pages, int prot, int flags, int fd)
{
	void *memory = mmap((void *)(CALLS_POOL + page * PAGE), pages * PAGE, prot,
			    flags | MAP_FIXED, fd, 0);

	if (memory == MAP_FAILED)
		return NULL;
	if (flags & MAP_ANONYMOUS)
		madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	return memory;
}

/* Registers of a device, which are memory without pages while the device is open */
#define REGISTERS	((void *)(CALLS_POOL + (CALLS_PLAIN_PAGES + 32) * PAGE))

static bool put_registers(const struct vfio_dev *dev)
{
	return mmap(REGISTERS, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    dev->fd, dev->bar0) != MAP_FAILED;
}

/* Ordinary memory, followed by 8 pages each of other kinds of memory */
static bool set_up_pool(void)
{
	const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	int file = memfd_create("calls", MFD_CLOEXEC), self = open("/proc/self/exe", O_RDONLY);
	__u64 at = CALLS_PLAIN_PAGES, i;
	bool good;

	good = file >= 0 && self >= 0 && !ftruncate(file, 8 * PAGE) &&
	       put_memory(0, at, PROT_READ | PROT_WRITE, anonymous, -1) &&
	       put_memory(at, 8, PROT_READ, anonymous, -1) &&
	       put_memory(at + 8, 8, PROT_NONE, anonymous, -1) &&
	       put_memory(at + 16, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file) &&
	       put_memory(at + 24, 4, PROT_READ, MAP_PRIVATE, self);
	/* No memory in 4 pages, then registers */
	for (i = 0; good && i < at; i++)
		stamp(i, 0);
	for (i = at + 16; good && i < at + 24; i++)
		stamp(i, 0);
	close(file);
	close(self);
	return good;
}

static bool set_up_memory(struct runner *r)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *huge = (char *)CALLS_HUGE;

	r->window = guest_memory(PAGE);
	r->bitmap = mmap(NULL, BITMAP_SIZE + 2 * PAGE, prot, flags, -1, 0);
	r->read_only = mmap(NULL, PAGE, prot, flags, -1, 0);
	if (!r->window || r->bitmap == MAP_FAILED || r->read_only == MAP_FAILED)
		return false;
	r->cliff = r->bitmap + BITMAP_SIZE + PAGE;
	memset(r->cliff - PAGE, 0xff, PAGE);
	munmap(r->cliff, PAGE);
	*(__u32 *)r->read_only = 4096;
	mprotect(r->read_only, PAGE, PROT_READ);
	/* Without huge pages, no run has memory here */
	if (mmap(huge, CALLS_HUGE_SIZE, prot, flags | MAP_FIXED | MAP_HUGETLB, -1, 0) != MAP_FAILED)
		memset(huge, 1, CALLS_HUGE_SIZE);
	return set_up_pool() && put_registers(&r->g.dev);
}

/* Change memory that may be mapped; mappings do not follow the change */
static void change_memory(__u32 what)
{
	__u64 page = what & 0xffff;
	void *memory = (void *)(CALLS_POOL + page * PAGE);

	switch (what >> 16) {
	case 0:
		munmap(memory, PAGE);
		break;
	case 1:
		mprotect(memory, PAGE, PROT_READ);
		break;
	default:
		if (put_memory(page, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1))
			stamp(page, what >> 16);
	}
}

/* ------------------------------------------------------------------ */
/* Groups */

static int join_second(struct runner *r)
{
	int ret = r->joined ? ioctl(r->second, VFIO_GROUP_UNSET_CONTAINER) :
			      ioctl(r->second, VFIO_GROUP_SET_CONTAINER, &r->g.container);

	if (!ret)
		r->joined = !r->joined;
	return answer_of(ret);
}

static int renew(struct runner *r)
{
	struct vfio_dev *dev = &r->g.dev;
	int ret = 0;

	if (r->joined)
		ret = join_second(r);
	munmap(REGISTERS, 8 * PAGE);
	vfio_dev_close(dev);
	if (!ret)
		ret = answer_of(ioctl(dev->group, VFIO_GROUP_UNSET_CONTAINER)) ?:
		      vfio_group_set_container(dev->group, r->g.container) ?:
		      answer_of(ioctl(r->g.container, VFIO_SET_IOMMU, r->run->type)) ?:
		      vfio_dev_open(dev) ?: vfio_dev_enable(dev, true, true);
	return ret ?: put_registers(dev) ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------ */
/* Calls */

static int do_map(struct runner *r, const struct call *c)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = c->argsz ?: sizeof(map),
		.flags = c->flags,
		.vaddr = c->vaddr,
		.iova = c->iova,
		.size = c->size,
	};

	return answer_of(ioctl(r->g.container, VFIO_IOMMU_MAP_DMA, &map));
}

static void fill_bitmap(struct runner *r, const struct call *c, struct vfio_bitmap *bitmap)
{
	memset(r->bitmap, 0, BITMAP_SIZE);
	bitmap->pgsize = c->pgsize;
	bitmap->size = c->bitmap_size;
	bitmap->data = (void *)(r->bitmap + c->bitmap_off);
}

static void do_unmap(struct runner *r, const struct call *c, struct answer *answer)
{
	union {
		struct vfio_iommu_type1_dma_unmap unmap;
		char space[sizeof(struct vfio_iommu_type1_dma_unmap) + sizeof(struct vfio_bitmap)];
	} arg = {};

	arg.unmap.argsz = c->argsz ?: sizeof(arg);
	arg.unmap.flags = c->flags;
	arg.unmap.iova = c->iova;
	arg.unmap.size = c->size;
	if (c->kind == CALL_UNMAP_DIRTY)
		fill_bitmap(r, c, (struct vfio_bitmap *)arg.unmap.data);
	answer->ret = answer_of(ioctl(r->g.container, VFIO_IOMMU_UNMAP_DMA, &arg));
	answer->value = arg.unmap.size;
}

static void do_dirty(struct runner *r, const struct call *c, struct answer *answer)
{
	union {
		struct vfio_iommu_type1_dirty_bitmap dirty;
		char space[sizeof(struct vfio_iommu_type1_dirty_bitmap) +
			   sizeof(struct vfio_iommu_type1_dirty_bitmap_get)];
	} arg = {};
	struct vfio_iommu_type1_dirty_bitmap_get *get = (void *)arg.dirty.data;

	arg.dirty.argsz = c->argsz ?: sizeof(arg);
	arg.dirty.flags = c->flags;
	get->iova = c->iova;
	get->size = c->size;
	fill_bitmap(r, c, &get->bitmap);
	answer->ret = answer_of(ioctl(r->g.container, VFIO_IOMMU_DIRTY_PAGES, &arg));
}

/* The capabilities that both backends have. DMA_AVAIL is counted from the limit. */
static __u64 digest_cap(struct runner *r, const struct vfio_info_cap_header *cap)
{
	const struct vfio_iommu_type1_info_cap_iova_range *ranges = (const void *)cap;
	const struct vfio_iommu_type1_info_cap_migration *migration = (const void *)cap;
	const struct vfio_iommu_type1_info_dma_avail *avail = (const void *)cap;

	switch (cap->id) {
	case VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE:
		return digest(1, ranges->iova_ranges,
			      ranges->nr_iovas * sizeof(ranges->iova_ranges[0]));
	case VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION:
		return digest(2, &migration->pgsize_bitmap, 2 * sizeof(__u64));
	case VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL:
		if (!r->avail)
			r->avail = avail->avail;
		return (__u64)(r->avail - avail->avail) << 32;
	default:
		return 0;
	}
}

static void do_info(struct runner *r, __u32 argsz, struct answer *answer)
{
	static union {
		struct vfio_iommu_type1_info info;
		char space[8192];
	} arg;
	__u32 at;

	memset(&arg, 0, sizeof(arg));
	arg.info.argsz = argsz;
	answer->ret = answer_of(ioctl(r->g.container, VFIO_IOMMU_GET_INFO, &arg));
	answer->value = arg.info.flags ^ arg.info.iova_pgsizes;
	for (at = arg.info.cap_offset; at && at < sizeof(arg) - 64;
	     at = ((struct vfio_info_cap_header *)&arg.space[at])->next)
		answer->value += digest_cap(r, (void *)&arg.space[at]);
}

/* Keep track of what is mapped, which a program can know with version 2 */
static void watch(struct runner *r, const struct call *c, const struct answer *answer)
{
	bool unmap = c->kind == CALL_UNMAP || c->kind == CALL_UNMAP_DIRTY;
	__u64 i, at;

	if (answer->ret || c->flags & VFIO_DMA_UNMAP_FLAG_VADDR)
		return;
	if (c->kind == CALL_RENEW || (unmap && c->flags & VFIO_DMA_UNMAP_FLAG_ALL))
		memset(r->mapped, 0, sizeof(r->mapped));
	else if (c->kind == CALL_MAP || unmap)
		for (i = 0; i < WATCHED_PAGES; i++) {
			at = CALLS_IOVA + i * PAGE;
			if (at >= c->iova && at - c->iova < c->size)
				r->mapped[i] = !unmap;
		}
}

/* Type 1 may set bits for pages behind a mapping, which are not mapped */
static void judge_bitmap(struct runner *r, const struct call *c, struct answer *answer)
{
	__u64 i, at, pages = c->size / PAGE;
	unsigned char *byte, bit;

	if (answer->ret || c->iova < CALLS_IOVA)
		return;
	for (i = 0; i / 8 < c->bitmap_size + 8 && i / 8 < BITMAP_SIZE - 8; i++) {
		at = (c->iova - CALLS_IOVA) / PAGE + i;
		byte = (unsigned char *)r->bitmap + c->bitmap_off + i / 8;
		bit = 1 << i % 8;
		if (i < pages && (at >= WATCHED_PAGES || r->mapped[at]))
			continue;
		if (!(*byte & bit))
			continue;
		*byte &= ~bit;
		answer->stray++;
	}
	memcpy(answer->bits, r->bitmap + c->bitmap_off, sizeof(answer->bits));
	answer->value = digest(answer->value, r->bitmap, BITMAP_SIZE);
}

static int do_bad_pointer(struct runner *r, __u32 what)
{
	static const unsigned long calls[] = {
		VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_GET_INFO,
		VFIO_IOMMU_DIRTY_PAGES,
	};
	void *pointers[] = { NULL, r->cliff - 8, r->read_only, (void *)-4096L };

	return answer_of(ioctl(r->g.container, calls[what % 4], pointers[what / 4]));
}

/* ------------------------------------------------------------------ */
/* DMA */

/* The page of the pool that has @token behind its stamp; pages may be unreadable */
static __u64 find_token(__u64 token)
{
	__u64 page, seen;

	for (page = 0; page < CALLS_POOL_PAGES - 8; page++) {
		struct iovec to = { &seen, sizeof(seen) };
		struct iovec from = { (void *)(CALLS_POOL + page * PAGE + 8), sizeof(seen) };

		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) == sizeof(seen) &&
		    seen == token)
			return page;
	}
	return NOT_REACHED;
}

/* What the device reads at an IOVA, and where data that it writes there arrives */
static void probe(struct runner *r, const struct call *c, struct answer *answer)
{
	__u64 *window = (__u64 *)r->window, token = c->what;
	const struct vfio_dev *dev = &r->g.dev;
	bool good;

	answer->ret = vfio_map_dma(r->g.container, WINDOW, r->window, PAGE, true);
	if (answer->ret == -EEXIST)
		answer->ret = 0;
	if (answer->ret)
		return;
	window[0] = NOT_REACHED;
	window[1] = token;
	good = edu_from_ram(dev, WINDOW, 0, 16) && edu_to_ram(dev, c->iova + 8, 8, 8) &&
	       edu_from_ram(dev, c->iova, 0, 8) && edu_to_ram(dev, WINDOW, 0, 8);
	if (!good)
		answer->ret = -EIO;
	answer->value = digest(find_token(token), window, sizeof(*window));
}

/* ------------------------------------------------------------------ */
/* The program */

static void do_call(struct runner *r, const struct call *c, struct answer *answer)
{
	switch (c->kind) {
	case CALL_MAP:
		answer->ret = do_map(r, c);
		break;
	case CALL_UNMAP:
	case CALL_UNMAP_DIRTY:
		do_unmap(r, c, answer);
		break;
	case CALL_DIRTY:
	case CALL_GET_DIRTY:
		do_dirty(r, c, answer);
		break;
	case CALL_INFO:
		do_info(r, c->argsz, answer);
		break;
	case CALL_EXTENSION:
		answer->ret = answer_of(ioctl(r->g.container, VFIO_CHECK_EXTENSION, c->what));
		break;
	case CALL_BAD_POINTER:
		answer->ret = do_bad_pointer(r, c->what);
		break;
	case CALL_MEMORY:
		change_memory(c->what);
		break;
	case CALL_GROUP:
		answer->ret = join_second(r);
		break;
	case CALL_RENEW:
		answer->ret = renew(r);
		break;
	case CALL_PROBE:
		probe(r, c, answer);
		break;
	}
}

static void in_child(struct runner *r, const struct call *c, struct answer *answer)
{
	pid_t pid = fork();

	if (!pid) {
		do_call(r, c, answer);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void run_all(struct runner *r, const struct call *calls, unsigned int n,
		    struct answer *answers)
{
	long locked = guest_locked_kb(), now;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (calls[i].child)
			in_child(r, &calls[i], &answers[i]);
		else
			do_call(r, &calls[i], &answers[i]);
		if (calls[i].kind == CALL_UNMAP_DIRTY || calls[i].kind == CALL_GET_DIRTY)
			judge_bitmap(r, &calls[i], &answers[i]);
		watch(r, &calls[i], &answers[i]);
		now = guest_locked_kb();
		answers[i].locked = now - locked;
		locked = now;
	}
}

static int become(const struct calls_run *run)
{
	struct rlimit limit = { run->locked_pages * PAGE, run->locked_pages * PAGE };

	if (!run->uid)
		return 0;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(run->uid, run->uid, run->uid))
		return -errno;
	return 0;
}

static int begin(struct runner *r)
{
	struct answer first = {};
	int ret;

	ret = guest_vfio_open(&r->g, r->run->type, r->run->bdf[0]);
	if (ret)
		return ret;
	r->second = vfio_group_open(r->run->bdf[1]);
	if (r->second < 0)
		return r->second;
	do_info(r, 4096, &first);
	if (!set_up_memory(r))
		return -ENOMEM;
	return become(r->run);
}

int calls_run(const struct calls_run *run, const struct call *calls, unsigned int n,
	      struct answer *answers)
{
	struct runner r = { .run = run };
	int status;
	pid_t pid = fork();

	if (!pid) {
		status = begin(&r);
		if (!status)
			run_all(&r, calls, n, answers);
		_exit(-status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}
