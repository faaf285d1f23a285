// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pv_iommu.h>

#include "edu.h"
#include "guest_vfio.h"

#define STATS		"/sys/kernel/debug/pv-iommu/stats"

static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	text[n] = 0;
	return 0;
}

/* ------------------------------------------------------------------ */
/* Devices and containers */

static bool has_id(const char *bdf, const char *which, unsigned long id)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, which);
	return !read_text(path, text, sizeof(text)) && strtoul(text, NULL, 0) == id;
}

int guest_find_edu(unsigned int nr, char bdf[16])
{
	char found[VFIO_DEV_MAX][16];
	int n = vfio_find_devices("vfio-pci", found, VFIO_DEV_MAX), i;

	for (i = 0; i < n; i++) {
		if (!has_id(found[i], "vendor", 0x1234) ||
		    !has_id(found[i], "device", 0x11e8) || nr--)
			continue;
		strcpy(bdf, found[i]);
		return 0;
	}
	return -ENODEV;
}

int guest_open_group_of(const char *device)
{
	char path[128], link[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/iommu_group", device);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

unsigned int guest_find_capability(const struct vfio_dev *dev)
{
	unsigned int pos = vfio_config_read32(dev, 0x34) & 0xfc;

	while (pos && vfio_config_read32(dev, pos + PVIOMMU_CAP_SIGNATURE_OFF) !=
		      PVIOMMU_CAP_SIGNATURE)
		pos = vfio_config_read32(dev, pos) >> 8 & 0xfc;
	return pos;
}

static int open_edu(struct guest_vfio *g, struct vfiopv *c, const char *bdf)
{
	int ret = vfiopv_dev_open(c, &g->dev, bdf);

	if (!ret)
		ret = vfiopv_dev_enable(&g->dev, true, true);
	return ret ?: edu_is(&g->dev) ? 0 : -ENODEV;
}

int guest_vfio_open(struct guest_vfio *g, unsigned int type, const char *bdf)
{
	struct vfiopv c;
	int ret;

	g->dev = (struct vfio_dev) { .group = -1, .fd = -1 };
	ret = vfiopv_open(&c, type);
	g->container = c.fd;
	if (!ret)
		ret = open_edu(g, &c, bdf);
	if (ret)
		guest_vfio_close(g);
	return ret;
}

int guest_vfio_join(struct guest_vfio *g, const struct guest_vfio *first, const char *bdf)
{
	struct vfiopv c = { .fd = first->container };
	int ret;

	g->container = -1;
	ret = open_edu(g, &c, bdf);
	if (ret)
		guest_vfio_close(g);
	return ret;
}

void guest_vfio_close(struct guest_vfio *g)
{
	vfiopv_dev_close(&g->dev);
	if (g->container >= 0)
		close(g->container);
	g->container = -1;
}

/* ------------------------------------------------------------------ */
/* Unmapping in two steps */

int guest_unmap(const struct guest_vfio *g, __u64 iova, __u64 size, __u32 flags, __u64 *removed)
{
	struct vfiopv c = { .fd = g->container };

	return vfiopv_unmap(&c, iova, size, flags, removed);
}

int guest_invalidate(const struct guest_vfio *g, __u64 iova, __u64 size)
{
	struct vfiopv c = { .fd = g->container };

	return vfiopv_invalidate(&c, iova, size);
}

/* ------------------------------------------------------------------ */
/* Memory */

static void *reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* Fails if the kernel has no huge pages, which is fine */
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

void *guest_memory(size_t size)
{
	void *memory = reserve(size);

	if (memory)
		memset(memory, 0x5a, size);
	return memory;
}

/* The kernel takes a page when it is touched: in random order, pages are scattered. */
void *guest_scattered(size_t size)
{
	size_t n = size / GUEST_PAGE, i, j, swap;
	size_t *order = calloc(n, sizeof(*order));
	char *memory = reserve(size);

	for (i = 0; order && i < n; i++)
		order[i] = i;
	for (i = n; order && memory && i; i--) {
		j = random() % i;
		swap = order[j];
		order[j] = order[i - 1];
		memory[swap * GUEST_PAGE] = 1;
	}
	if (!order && memory) {
		guest_memory_free(memory, size);
		memory = NULL;
	}
	free(order);
	return memory;
}

void guest_memory_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

/* The number behind "@name" and a colon or blank, at the start of a line; else -1 */
static long long find_number(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *line;

	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && (line[len] == ' ' || line[len] == ':'))
			return strtoll(line + len + 1, NULL, 0);
	}
	return -1;
}

long guest_locked_kb(void)
{
	char text[4096];

	if (read_text("/proc/self/status", text, sizeof(text)))
		return -1;
	return find_number(text, "VmLck") + find_number(text, "VmPin");
}

/* ------------------------------------------------------------------ */
/* Counters */

int guest_stats(struct guest_stats *stats)
{
	char text[4096];
	int ret = read_text(STATS, text, sizeof(text));

	if (ret)
		return ret;
	stats->kicks_tracked = find_number(text, "kicks_tracked");
	stats->kicks_config = find_number(text, "kicks_config");
	stats->ops = find_number(text, "ops_queued");
	stats->ops_failed = find_number(text, "host_ops_failed");
	stats->pages_mapped = find_number(text, "host_pages_mapped");
	stats->pages_pinned = find_number(text, "host_pages_pinned");
	stats->domains = find_number(text, "host_domains");
	stats->mappings = find_number(text, "host_mappings");
	stats->faults = find_number(text, "host_faults");
	return 0;
}

long long guest_kicks(const struct guest_stats *from, const struct guest_stats *to)
{
	return to->kicks_tracked + to->kicks_config - from->kicks_tracked -
	       from->kicks_config - 1;
}

bool guest_stay_here(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	return !sched_setaffinity(0, sizeof(cpus), &cpus);
}
