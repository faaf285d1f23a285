// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is refused says why: each way to be refused leaves one line in the kernel's log
 * at debug level, which names the ioctl and the error.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <linux/pv_iommu.h>

#include "lib/guest_iface.h"
#include "lib/guest_test.h"

#define PAGE		GUEST_PAGE
#define RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define MSI_PAGE	0xfee00000ULL
#define NOBODY		65534
#define CONTROL		"/sys/kernel/debug/dynamic_debug/control"
#define MDEV		"/sys/devices/platform/vfio-pv-test"
#define ENTRY_LIMIT	"/sys/module/vfio_pv/parameters/dma_entry_limit"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -EIO : 0;
}

FIXTURE(refusals)
{
	struct guest_vfio g;
	char *buffer;		/* 16 pages */
	int log;
};

FIXTURE_VARIANT(refusals)
{
	unsigned int type;
};

FIXTURE_VARIANT_ADD(refusals, pv)
{
	.type = VFIO_PV_IOMMU,
};

FIXTURE_SETUP(refusals)
{
	if (write_text(CONTROL, "module vfio_pv +p"))
		SKIP(return, "needs the module vfio_pv, and dynamic debug");
	guest_setup(&self->g, variant->type, 0);
	self->buffer = guest_memory(16 * PAGE);
	ASSERT_NE(NULL, self->buffer);
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->log);
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA, self->buffer, 4 * PAGE, true));
}

FIXTURE_TEARDOWN(refusals)
{
	close(self->log);
	guest_vfio_close(&self->g);
	write_text(CONTROL, "module vfio_pv -p");
}

/* ------------------------------------------------------------------ */
/* The log */

/*
 * Read all that has come since the last time. Return: how many lines of the module say
 * that @what was refused with @error; -1 if one says that something else was.
 */
static int lines(int log, const char *what, int error)
{
	char want[64], line[1024];
	const char *found;
	int count = 0;
	ssize_t n;

	snprintf(want, sizeof(want), "vfio_pv: %s refused, error %d: ", what, error);
	while ((n = read(log, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (n <= 0)
			continue;
		line[n] = 0;
		found = strstr(line, "vfio_pv: ");
		if (!found || count < 0 || !strstr(found, "refused"))
			continue;
		count = strncmp(found, want, strlen(want)) ? -1 : count + 1;
		if (count < 0)
			printf("# \"%.80s\" instead of \"%s\"\n", found, want);
	}
	return count;
}

#define refused(what, ret, cmd, arg) do {					\
	lseek(self->log, 0, SEEK_END);						\
	EXPECT_EQ(ret, guest_ioctl(self->g.container, cmd, arg));		\
	EXPECT_EQ(1, lines(self->log, what, -(ret)));				\
} while (0)

/* The same by a process that may do nothing special */
static int ioctl_of_nobody(int fd, unsigned long cmd, void *arg, size_t limit)
{
	struct rlimit rlimit = { limit, limit };
	int status;
	pid_t child = fork();

	if (!child) {
		if (setrlimit(RLIMIT_MEMLOCK, &rlimit) || setuid(NOBODY))
			_exit(255);
		_exit(-guest_ioctl(fd, cmd, arg));
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -ECHILD;
	return -WEXITSTATUS(status);
}

#define refused_nobody(what, ret, cmd, arg) do {				\
	lseek(self->log, 0, SEEK_END);						\
	EXPECT_EQ(ret, ioctl_of_nobody(self->g.container, cmd, arg, 2 * PAGE));	\
	EXPECT_EQ(1, lines(self->log, what, -(ret)));				\
} while (0)

/* A good argument but for one field */
#define refused_field(what, ret, cmd, good, field, value) do {			\
	typeof(good) __bad = good;						\
										\
	__bad.field = value;							\
	refused(what, ret, cmd, &__bad);					\
} while (0)

/* ------------------------------------------------------------------ */

TEST_F(refusals, map)
{
	struct vfio_iommu_type1_dma_map good = {
		sizeof(good), RW, (uintptr_t)self->buffer, GUEST_IOVA * 2, PAGE,
	};
	struct vfio_iommu_type1_dma_map large = good;

	refused("MAP_DMA", -EFAULT, VFIO_IOMMU_MAP_DMA, NULL);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, argsz, 31);
	refused_field("MAP_DMA", -EOPNOTSUPP, VFIO_IOMMU_MAP_DMA, good, flags, RW | 1 << 20);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, flags, 0);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, size, 0);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, size, PAGE + 8);
	refused_field("MAP_DMA", guest_wrap_error(), VFIO_IOMMU_MAP_DMA, good, size, -PAGE);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, iova, MSI_PAGE);
	refused_field("MAP_DMA", -EEXIST, VFIO_IOMMU_MAP_DMA, good, iova, GUEST_IOVA);
	refused_field("MAP_DMA", -EFAULT, VFIO_IOMMU_MAP_DMA, good, vaddr, PAGE);
	/* Has no pages; the host finds out */
	refused_field("MAP_DMA", -EFAULT, VFIO_IOMMU_MAP_DMA, good, vaddr,
		      (uintptr_t)self->g.dev.mmio);
	large.size = 8 * PAGE;
	refused_nobody("MAP_DMA", -ENOMEM, VFIO_IOMMU_MAP_DMA, &large);
	ASSERT_EQ(0, guest_unmap(&self->g, GUEST_IOVA, 4 * PAGE, VFIO_PV_UNMAP_FLAG_NO_FLUSH,
				 NULL));
	refused_field("MAP_DMA", -EBUSY, VFIO_IOMMU_MAP_DMA, good, iova, GUEST_IOVA);
}

TEST_F(refusals, map_of_another_machine)
{
	struct vfio_pv_dma_map good = {
		.argsz = sizeof(good),
		.flags = RW | VFIO_PV_MAP_FLAG_FOREIGN,
		.iova = GUEST_IOVA * 2,
		.size = PAGE,
		.vm = 9999,
	};
	struct vfio_pv_dma_map arg = good;

	refused("MAP_DMA", -EACCES, VFIO_IOMMU_MAP_DMA, &arg);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, vm, 0);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, reserved, 1);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, argsz, 32);
	refused_field("MAP_DMA", -E2BIG, VFIO_IOMMU_MAP_DMA, good, argsz, PAGE + 1);
	refused_nobody("MAP_DMA", -EPERM, VFIO_IOMMU_MAP_DMA, &arg);
}

TEST_F(refusals, vaddr)
{
	struct vfio_iommu_type1_dma_map good = {
		sizeof(good), VFIO_DMA_MAP_FLAG_VADDR, (uintptr_t)self->buffer, GUEST_IOVA,
		4 * PAGE,
	};
	struct vfio_iommu_type1_dma_unmap drop = {
		sizeof(drop), VFIO_DMA_UNMAP_FLAG_VADDR, GUEST_IOVA, 4 * PAGE,
	};
	struct guest_vfio second;
	char bdf[16];

	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, size, 4 * PAGE);
	refused_field("MAP_DMA", -ENOENT, VFIO_IOMMU_MAP_DMA, good, iova, GUEST_IOVA * 2);
	refused_field("MAP_DMA", -EINVAL, VFIO_IOMMU_MAP_DMA, good, flags,
		      RW | VFIO_DMA_MAP_FLAG_VADDR);
	ASSERT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_UNMAP_DMA, &drop));
	refused("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, &drop);
	/* Several that are in the way are told of once */
	ASSERT_EQ(0, vfio_map_dma(self->g.container, GUEST_IOVA * 2, self->buffer, PAGE, true));
	drop.iova = GUEST_IOVA * 2;
	drop.size = PAGE;
	ASSERT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_UNMAP_DMA, &drop));
	drop.flags |= VFIO_DMA_UNMAP_FLAG_ALL;
	drop.iova = 0;
	drop.size = 0;
	refused("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, &drop);
	if (guest_find_edu(1, bdf))
		return;
	lseek(self->log, 0, SEEK_END);
	EXPECT_EQ(-EBUSY, guest_vfio_join(&second, &self->g, bdf));
	EXPECT_EQ(1, lines(self->log, "SET_CONTAINER", EBUSY));
}

TEST_F(refusals, entry_limit)
{
	struct vfio_iommu_type1_dma_map map = {
		sizeof(map), RW, (uintptr_t)self->buffer, GUEST_IOVA, PAGE,
	};

	guest_vfio_close(&self->g);
	ASSERT_EQ(0, write_text(ENTRY_LIMIT, "1"));
	guest_setup(&self->g, variant->type, 0);
	EXPECT_EQ(0, write_text(ENTRY_LIMIT, "4294967295"));
	ASSERT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_MAP_DMA, &map));
	map.iova *= 2;
	refused("MAP_DMA", -ENOSPC, VFIO_IOMMU_MAP_DMA, &map);
}

TEST_F(refusals, unmap)
{
	struct vfio_iommu_type1_dma_unmap good = {
		sizeof(good), 0, GUEST_IOVA, 4 * PAGE,
	};
	struct vfio_iommu_type1_dma_unmap *fixed;

	refused("UNMAP_DMA", -EFAULT, VFIO_IOMMU_UNMAP_DMA, NULL);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, argsz, 23);
	refused_field("UNMAP_DMA", -EOPNOTSUPP, VFIO_IOMMU_UNMAP_DMA, good, flags, 1 << 20);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, flags,
		      VFIO_DMA_UNMAP_FLAG_ALL);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, flags,
		      VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, flags,
		      VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, size, 0);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, size, PAGE - 1);
	refused_field("UNMAP_DMA", guest_wrap_error(), VFIO_IOMMU_UNMAP_DMA, good, size, -PAGE);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, size, PAGE);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, good, iova, GUEST_IOVA + PAGE);

	fixed = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, fixed);
	*fixed = good;
	ASSERT_EQ(0, mprotect(fixed, PAGE, PROT_READ));
	refused("UNMAP_DMA", -EFAULT, VFIO_IOMMU_UNMAP_DMA, fixed);
}

TEST_F(refusals, batch)
{
	struct vfio_pv_batch_entry entry = {
		.flags = RW,
		.vaddr = (uintptr_t)self->buffer,
		.iova = GUEST_IOVA,
		.size = PAGE,
	};
	struct vfio_pv_iommu_batch good = {
		.argsz = sizeof(good),
		.entries = (uintptr_t)&entry,
		.count = 1,
	};
	struct vfio_pv_iommu_batch arg = good;
	struct {
		struct vfio_pv_iommu_batch head;
		struct vfio_pv_batch_entry entry;
	} *fixed;

	refused("MAP", -EFAULT, VFIO_PV_IOMMU_MAP, NULL);
	refused("UNMAP", -EFAULT, VFIO_PV_IOMMU_UNMAP, NULL);
	refused_field("MAP", -EINVAL, VFIO_PV_IOMMU_MAP, good, argsz, 8);
	refused_field("UNMAP", -EOPNOTSUPP, VFIO_PV_IOMMU_UNMAP, good, flags, 1 << 20);
	refused_field("MAP", -EINVAL, VFIO_PV_IOMMU_MAP, good, count, 0);
	refused_field("MAP", -EINVAL, VFIO_PV_IOMMU_MAP, good, entries, good.entries + 1);
	refused_field("MAP", -EFAULT, VFIO_PV_IOMMU_MAP, good, entries, PAGE);

	/* An entry that is refused is told of too, though the ioctl is good */
	lseek(self->log, 0, SEEK_END);
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_PV_IOMMU_MAP, &arg));
	EXPECT_EQ(-EEXIST, entry.result);
	EXPECT_EQ(1, lines(self->log, "MAP_DMA", EEXIST));
	entry.flags = 1 << 20;
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_PV_IOMMU_MAP, &arg));
	EXPECT_EQ(1, lines(self->log, "MAP", EOPNOTSUPP));
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_PV_IOMMU_UNMAP, &arg));
	EXPECT_EQ(1, lines(self->log, "UNMAP", EOPNOTSUPP));
	entry.flags = 0;
	EXPECT_EQ(0, guest_ioctl(self->g.container, VFIO_PV_IOMMU_UNMAP, &arg));
	EXPECT_EQ(1, lines(self->log, "UNMAP", EINVAL));

	/* Neither the array nor the argument can be written: that is one refusal */
	fixed = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)fixed);
	fixed->head = good;
	fixed->head.entries = (uintptr_t)&fixed->entry;
	fixed->entry.iova = GUEST_IOVA * 4;
	fixed->entry.size = PAGE;
	ASSERT_EQ(0, mprotect(fixed, PAGE, PROT_READ));
	refused("UNMAP", -EFAULT, VFIO_PV_IOMMU_UNMAP, fixed);
}

TEST_F(refusals, invalidate)
{
	struct vfio_pv_iommu_invalidate good = {
		.argsz = sizeof(good),
		.granularity = VFIO_PV_INV_PAGE,
		.pasid = VFIO_PV_PASID_NONE,
		.addr = GUEST_IOVA,
		.size = PAGE,
	};

	refused("INVALIDATE", -EFAULT, VFIO_PV_IOMMU_INVALIDATE, NULL);
	refused_field("INVALIDATE", -EINVAL, VFIO_PV_IOMMU_INVALIDATE, good, argsz, 8);
	refused_field("INVALIDATE", -E2BIG, VFIO_PV_IOMMU_INVALIDATE, good, argsz, PAGE + 8);
	refused_field("INVALIDATE", -EOPNOTSUPP, VFIO_PV_IOMMU_INVALIDATE, good, flags, 1 << 20);
	refused_field("INVALIDATE", -EOPNOTSUPP, VFIO_PV_IOMMU_INVALIDATE, good, granularity,
		      VFIO_PV_INV_PASID);
	refused_field("INVALIDATE", -EOPNOTSUPP, VFIO_PV_IOMMU_INVALIDATE, good, pasid, 1);
	refused_field("INVALIDATE", -EINVAL, VFIO_PV_IOMMU_INVALIDATE, good, granularity,
		      VFIO_PV_INV_DOMAIN);
	refused_field("INVALIDATE", -EINVAL, VFIO_PV_IOMMU_INVALIDATE, good, size, 0);
	refused_field("INVALIDATE", -EINVAL, VFIO_PV_IOMMU_INVALIDATE, good, size, 8);
	refused_field("INVALIDATE", -EOVERFLOW, VFIO_PV_IOMMU_INVALIDATE, good, size, -PAGE);
}

TEST_F(refusals, dirty)
{
	__u64 bits = 0;
	struct get {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	};
	struct get good = {
		{ sizeof(good), VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP },
		{ GUEST_IOVA, 4 * PAGE, { PAGE, sizeof(bits), &bits } },
	};
	struct vfio_iommu_type1_dirty_bitmap start = {
		sizeof(start), VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	};
	struct {
		struct vfio_iommu_type1_dma_unmap head;
		struct vfio_bitmap bitmap;
	} drop = {
		{ sizeof(drop), VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, GUEST_IOVA, 4 * PAGE },
		{ PAGE, sizeof(bits), &bits },
	};
	struct get arg = good;

	refused("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, &arg);	/* not started */
	refused("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, &drop);
	ASSERT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_DIRTY_PAGES, &start));
	refused("DIRTY_PAGES", -EFAULT, VFIO_IOMMU_DIRTY_PAGES, NULL);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good, head.argsz, 7);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good, head.argsz, 8);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good, head.flags, 0);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good, range.size, 0);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good, range.size, PAGE);
	refused_field("DIRTY_PAGES", guest_wrap_error(), VFIO_IOMMU_DIRTY_PAGES, good,
		      range.size, -PAGE);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good,
		      range.bitmap.pgsize, 2 * PAGE);
	refused_field("DIRTY_PAGES", -EINVAL, VFIO_IOMMU_DIRTY_PAGES, good,
		      range.bitmap.size, 0);
	refused_field("DIRTY_PAGES", -EFAULT, VFIO_IOMMU_DIRTY_PAGES, good,
		      range.bitmap.data, (void *)PAGE);
	refused_field("UNMAP_DMA", -EFAULT, VFIO_IOMMU_UNMAP_DMA, drop,
		      bitmap.data, (void *)PAGE);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, drop, bitmap.size, 0);
	refused_field("UNMAP_DMA", -EINVAL, VFIO_IOMMU_UNMAP_DMA, drop, head.argsz,
		      sizeof(drop.head));
}

TEST_F(refusals, what_there_is)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };
	struct vfio_pv_iommu_lookup look = {
		.argsz = sizeof(look),
		.iova = GUEST_IOVA,
	};
	struct vfio_pv_iommu_lookup arg = look;

	refused("GET_INFO", -EFAULT, VFIO_IOMMU_GET_INFO, NULL);
	refused_field("GET_INFO", -EINVAL, VFIO_IOMMU_GET_INFO, info, argsz, 8);
	refused("LOOKUP", -EFAULT, VFIO_PV_IOMMU_LOOKUP, NULL);
	refused_field("LOOKUP", -EOPNOTSUPP, VFIO_PV_IOMMU_LOOKUP, look, flags, 1);
	refused_field("LOOKUP", -EINVAL, VFIO_PV_IOMMU_LOOKUP, look, vm, 1);
	refused_field("LOOKUP", -ENOENT, VFIO_PV_IOMMU_LOOKUP, look, iova, GUEST_IOVA * 2);
	refused_nobody("LOOKUP", -EPERM, VFIO_PV_IOMMU_LOOKUP, &arg);
	refused("an ioctl", -ENOTTY, _IO(VFIO_TYPE, VFIO_BASE + 99), NULL);
}

TEST_F(refusals, events)
{
	struct vfio_pv_iommu_eventfd set = { .argsz = sizeof(set), .fd = -1 };
	struct vfio_pv_iommu_events read = { .argsz = sizeof(read), .count = 1 };

	refused("EVENTFD", -EFAULT, VFIO_PV_IOMMU_EVENTFD, NULL);
	refused_field("EVENTFD", -EOPNOTSUPP, VFIO_PV_IOMMU_EVENTFD, set, flags, 1);
	refused_field("EVENTFD", -EINVAL, VFIO_PV_IOMMU_EVENTFD, set, reserved, 1);
	refused_field("EVENTFD", -EBADF, VFIO_PV_IOMMU_EVENTFD, set, fd, 999);
	refused_field("EVENTFD", -EINVAL, VFIO_PV_IOMMU_EVENTFD, set, fd, self->log);
	refused("READ_EVENTS", -EFAULT, VFIO_PV_IOMMU_READ_EVENTS, NULL);
	refused_field("READ_EVENTS", -EOPNOTSUPP, VFIO_PV_IOMMU_READ_EVENTS, read, flags, 1);
	refused_field("READ_EVENTS", -EINVAL, VFIO_PV_IOMMU_READ_EVENTS, read, events, 4);
}

TEST_F(refusals, table)
{
	struct vfio_pv_iommu_bind_table good = {
		.argsz = sizeof(good),
		.format = PVIOMMU_TABLE_X86_64_4,
	};
	struct vfio_pv_iommu_bind_table arg = good;

	refused("BIND_TABLE", -EFAULT, VFIO_PV_IOMMU_BIND_TABLE, NULL);
	refused_field("BIND_TABLE", -EOPNOTSUPP, VFIO_PV_IOMMU_BIND_TABLE, good, flags, 1 << 20);
	refused_field("BIND_TABLE", -EINVAL, VFIO_PV_IOMMU_BIND_TABLE, good, reserved, 1);
	refused("BIND_TABLE", -EBUSY, VFIO_PV_IOMMU_BIND_TABLE, &arg);
	refused_nobody("BIND_TABLE", -EPERM, VFIO_PV_IOMMU_BIND_TABLE, &arg);
	ASSERT_EQ(0, vfio_unmap_dma(self->g.container, GUEST_IOVA, 4 * PAGE, NULL));
	refused_field("BIND_TABLE", -EOPNOTSUPP, VFIO_PV_IOMMU_BIND_TABLE, good, format, 99);
}

TEST_F(refusals, version_1)
{
	struct vfio_iommu_type1_dirty_bitmap start = {
		sizeof(start), VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	};

	guest_vfio_close(&self->g);
	guest_setup(&self->g, VFIO_TYPE1_IOMMU, 0);
	refused("DIRTY_PAGES", -EACCES, VFIO_IOMMU_DIRTY_PAGES, &start);
	refused("an ioctl", -ENOTTY, VFIO_PV_IOMMU_READ_EVENTS, NULL);
}

/* ------------------------------------------------------------------ */
/* No memory, and user memory that fails: on a kernel that can be made to */

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define SILENCE		6	/* seconds, in which the limit of each place starts anew */
#define MAX_FAILURES	200

static bool can_fail(void)
{
	static const char * const files[] = {
		"failslab/verbose", "fail_page_alloc/verbose", "fail_usercopy/verbose",
		"failslab/ignore-gfp-wait", "fail_page_alloc/ignore-gfp-wait",
	};
	char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", files[i]);
		if (write_text(path, "0"))
			return false;
	}
	return !access(FAIL_NTH, F_OK);
}

/* The ioctl when what it asks for the @nth time fails; @was: there was such a time */
static int failing_ioctl(int fd, unsigned long cmd, void *arg, unsigned int nth, bool *was)
{
	int file = open(FAIL_NTH, O_RDWR | O_CLOEXEC), len, ret;
	char value[16];

	len = snprintf(value, sizeof(value), "%u", nth);
	if (file < 0 || pwrite(file, value, len, 0) != len)
		return -EBADF;
	ret = guest_ioctl(fd, cmd, arg);
	/* To ask, and to say that it is over, may be what fails: then the ioctl has not */
	memset(value, 0, sizeof(value));
	*was = pread(file, value, sizeof(value) - 1, 0) > 0 && !atoi(value);
	if (!*was && pwrite(file, "0", 1, 0) != 1 && pwrite(file, "0", 1, 0) != 1)
		abort();
	close(file);
	return ret;
}

/* Make each thing that it asks for fail in turn; @undo is what is done if it has not */
#define fails_with_a_word(name, cmd, arg, undo) do {				\
	unsigned int __nth, __failed = 0;					\
	bool __was = true;							\
	int __ret;								\
										\
	sleep(SILENCE);								\
	for (__nth = 1; __was && __nth < MAX_FAILURES; __nth++) {		\
		lseek(self->log, 0, SEEK_END);					\
		__ret = failing_ioctl(self->g.container, cmd, arg, __nth, &__was); \
		if (__ret < 0) {						\
			__failed++;						\
			EXPECT_EQ(1, lines(self->log, name, -__ret)) {		\
				TH_LOG("%s, failure %u", name, __nth);		\
			}							\
		} else {							\
			undo;							\
		}								\
	}									\
	TH_LOG("%s: %u failures", name, __failed);				\
	EXPECT_LT(0, __failed);							\
	EXPECT_GT(MAX_FAILURES, __nth);						\
} while (0)

TEST_F_TIMEOUT(refusals, memory_fails, 1800)
{
	struct vfio_iommu_type1_info *info = calloc(1, PAGE);
	struct vfio_iommu_type1_dma_map map = {
		sizeof(map), RW, (uintptr_t)self->buffer, GUEST_IOVA * 2, 8 * PAGE,
	};
	struct vfio_pv_batch_entry entry = { .iova = GUEST_IOVA * 4, .size = PAGE };
	struct vfio_pv_iommu_batch batch = {
		.argsz = sizeof(batch), .entries = (uintptr_t)&entry, .count = 1,
	};
	struct vfio_iommu_type1_dirty_bitmap start = {
		sizeof(start), VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	};
	__u64 bits = 0;
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	} get = {
		{ sizeof(get), VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP },
		{ GUEST_IOVA, 4 * PAGE, { PAGE, sizeof(bits), &bits } },
	};

	if (!can_fail())
		SKIP(return, "this kernel has no fault injection");
	ASSERT_NE(NULL, info);
	info->argsz = PAGE;
	fails_with_a_word("GET_INFO", VFIO_IOMMU_GET_INFO, info, info->argsz = PAGE);
	fails_with_a_word("MAP_DMA", VFIO_IOMMU_MAP_DMA, &map,
			  EXPECT_EQ(0, vfio_unmap_dma(self->g.container, map.iova, map.size,
						      NULL)));
	/* Nothing is there: an entry that can't fail */
	fails_with_a_word("UNMAP", VFIO_PV_IOMMU_UNMAP, &batch, entry.size = PAGE);
	ASSERT_EQ(0, guest_ioctl(self->g.container, VFIO_IOMMU_DIRTY_PAGES, &start));
	fails_with_a_word("DIRTY_PAGES", VFIO_IOMMU_DIRTY_PAGES, &get, bits = 0);
	free(info);
}

/* VFIO_SET_IOMMU of a container with a group; it is undone by letting the group go */
TEST_F_TIMEOUT(refusals, memory_fails_at_first, 1800)
{
	char bdf[16];
	int group;

	if (!can_fail())
		SKIP(return, "this kernel has no fault injection");
	guest_vfio_close(&self->g);
	ASSERT_EQ(0, guest_find_edu(0, bdf));
	group = vfio_group_open(bdf);
	self->g.container = vfio_container_open();
	ASSERT_EQ(0, vfio_group_set_container(group, self->g.container));
	fails_with_a_word("SET_IOMMU", VFIO_SET_IOMMU, (void *)VFIO_PV_IOMMU, {
		EXPECT_EQ(0, guest_ioctl(group, VFIO_GROUP_UNSET_CONTAINER, NULL));
		EXPECT_EQ(0, vfio_group_set_container(group, self->g.container));
	});
	close(group);
}

/* Many refusals of a kind do not fill the log */
TEST_F(refusals, are_few)
{
	int i;

	lseek(self->log, 0, SEEK_END);
	for (i = 0; i < 1000; i++)
		ASSERT_EQ(-ENOTTY, guest_ioctl(self->g.container,
					       _IO(VFIO_TYPE, VFIO_BASE + 99), NULL));
	EXPECT_GT(100, lines(self->log, "an ioctl", ENOTTY));
}

/* ------------------------------------------------------------------ */
/* Groups */

FIXTURE(groups)
{
	int container;
	int log;
};

FIXTURE_SETUP(groups)
{
	if (write_text(CONTROL, "module vfio_pv +p"))
		SKIP(return, "needs the module vfio_pv, and dynamic debug");
	self->container = vfio_container_open();
	ASSERT_LE(0, self->container);
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->log);
	lseek(self->log, 0, SEEK_END);
}

FIXTURE_TEARDOWN(groups)
{
	close(self->log);
	close(self->container);
	write_text(CONTROL, "module vfio_pv -p");
}

/* Is the paravirtual IOMMU what is responsible for the device? */
static bool is_ours(const char *bdf)
{
	char path[64], link[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.12s/iommu", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = 0;
	return strstr(link, "pv-iommu");
}

/* The group of a device bound to vfio-pci that is, or is not, ours; -ENODEV */
static int open_group(bool ours)
{
	char found[VFIO_DEV_MAX][16];
	int n = vfio_find_devices("vfio-pci", found, VFIO_DEV_MAX), i;

	for (i = 0; i < n; i++)
		if (is_ours(found[i]) == ours)
			return vfio_group_open(found[i]);
	return -ENODEV;
}

#define set_iommu(type)	guest_ioctl(self->container, VFIO_SET_IOMMU, (void *)(unsigned long)(type))

/* One that type 1 takes has not been refused */
TEST_F(groups, of_another_iommu)
{
	int other = open_group(false), ours = open_group(true);

	if (other < 0 || ours < 0)
		SKIP(return, "needs a device of ours and one of another IOMMU");
	ASSERT_EQ(0, vfio_group_set_container(other, self->container));
	EXPECT_EQ(-ENODEV, set_iommu(VFIO_PV_IOMMU));
	EXPECT_EQ(1, lines(self->log, "SET_IOMMU", ENODEV));
	set_iommu(VFIO_TYPE1v2_IOMMU);
	EXPECT_EQ(0, lines(self->log, "", 0));
	ASSERT_EQ(0, guest_ioctl(other, VFIO_GROUP_UNSET_CONTAINER, NULL));

	ASSERT_EQ(0, vfio_group_set_container(ours, self->container));
	ASSERT_EQ(0, set_iommu(VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, lines(self->log, "", 0));
	EXPECT_EQ(-ENODEV, vfio_group_set_container(other, self->container));
	EXPECT_EQ(1, lines(self->log, "SET_IOMMU or SET_CONTAINER", ENODEV));
	EXPECT_EQ(1, guest_ioctl(self->container, VFIO_CHECK_EXTENSION,
				 (void *)VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(-ENODEV, vfio_group_set_container(other, self->container));
	EXPECT_EQ(1, lines(self->log, "SET_CONTAINER", ENODEV));
	close(ours);
	close(other);
}

/* Interrupts that the host does not isolate */
TEST_F(groups, with_unsafe_interrupts)
{
	int ours = open_group(true), ret;

	if (ours < 0)
		SKIP(return, "needs a device bound to vfio-pci");
	ASSERT_EQ(0, vfio_group_set_container(ours, self->container));
	ret = set_iommu(VFIO_PV_IOMMU);
	if (!ret)
		SKIP(return, "needs a host that does not remap interrupts");
	EXPECT_EQ(-EPERM, ret);
	/* The other line is a warning, which is there without debugging, too */
	EXPECT_EQ(1, lines(self->log, "SET_IOMMU", EPERM));
	EXPECT_EQ(-EPERM, set_iommu(VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, lines(self->log, "SET_IOMMU (type 1 is next)", EPERM));
	close(ours);
}

/* One that is ours and can't be had is told of, though type 1 is asked next */
TEST_F(groups, that_the_host_refuses)
{
	struct guest_vfio g;
	int ours;

	if (access(IFACE_RESTART, W_OK))
		SKIP(return, "needs root, and pv-iommu with debugfs");
	guest_setup(&g, VFIO_PV_IOMMU, 0);
	ASSERT_TRUE(iface_stop(&g.dev));
	guest_vfio_close(&g);
	ours = open_group(true);
	ASSERT_LE(0, ours);
	ASSERT_EQ(0, vfio_group_set_container(ours, self->container));
	lseek(self->log, 0, SEEK_END);
	EXPECT_NE(0, set_iommu(VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, lines(self->log, "SET_IOMMU (type 1 is next)", EIO));
	close(ours);
	EXPECT_EQ(0, iface_restart());
}

/* Mediated devices alone are type 1's, but for the type that only we have */
TEST_F(groups, of_mediated_devices)
{
	int mdev, ours = open_group(true);

	if (access(MDEV, F_OK) && system("pvvm-load vfio_pv_test"))
		SKIP(return, "needs the module vfio_pv_test");
	if (ours < 0)
		SKIP(return, "needs a device bound to vfio-pci");
	mdev = guest_open_group_of(MDEV);
	ASSERT_LE(0, mdev);
	ASSERT_EQ(0, vfio_group_set_container(mdev, self->container));
	EXPECT_EQ(0, set_iommu(VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, lines(self->log, "", 0));
	/* type1 has it now, and wants permission for a device of ours */
	EXPECT_EQ(-EPERM, vfio_group_set_container(ours, self->container));
	EXPECT_EQ(0, lines(self->log, "", 0));
	close(ours);
	close(mdev);
}

TEST_HARNESS_MAIN
