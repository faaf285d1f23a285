// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "pv_sys.h"
#include "pv_vtd.h"

/* Where QEMU has its VT-d unit, and the register with the root table's address */
#define UNIT		0xfed90000ULL
#define RTADDR		0x20
#define RTADDR_SCALABLE	0x400ULL

#define PRESENT		1ULL
#define ADDRESS		0x000ffffffffff000ULL
#define LARGE		0x80ULL
#define RW		3ULL

#define MEMORY		"/sys/kernel/debug/pviommu_test_memory"
#define ENTRIES		512
/* Fields of a context entry without PASIDs */
#define PASSTHROUGH	2	/* kind of translation */
#define WIDTH_LEVELS	2	/* how many levels a table has more than its width says */

/* ---- physical memory, as the emulator reads it ------------------------- */

/* A line to the monitor of the QEMU that emulates the machine */
static int monitor = -1;
static unsigned int commands;

static bool say(const char *line)
{
	return write(monitor, line, strlen(line)) == (ssize_t)strlen(line);
}

/* Skip lines up to the one that contains @id */
static bool hear(const char *id, char *line, size_t size)
{
	struct pollfd pfd = { .fd = monitor, .events = POLLIN };
	size_t n = 0;

	while (poll(&pfd, 1, 30000) == 1 && read(monitor, line + n, 1) == 1) {
		if (line[n] != '\n' && n + 2 < size) {
			n++;
			continue;
		}
		line[n] = 0;
		if (strstr(line, id))
			return true;
		n = 0;
	}
	return false;
}

static bool ask(const char *command, char *line, size_t size)
{
	char buf[256], id[32];

	snprintf(id, sizeof(id), "vtd-%d-%u", getpid(), ++commands);
	snprintf(buf, sizeof(buf), "{%s, \"id\": \"%s\"}\n", command, id);
	return say(buf) && hear(id, line, size);
}

static bool monitor_open(void)
{
	struct termios tty;
	char line[512];

	if (monitor >= 0)
		return true;
	monitor = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (monitor < 0 || tcgetattr(monitor, &tty))
		return false;
	cfmakeraw(&tty);
	tty.c_cflag |= CLOCAL | CREAD;
	tcsetattr(monitor, TCSANOW, &tty);
	/* This is no JSON: it ends what may be half a command */
	return say("\xff") && ask("\"execute\": \"qmp_capabilities\"", line, sizeof(line));
}

/* Read words of physical memory */
static bool ask_for_words(__u64 hpa, __u64 *words, unsigned int n)
{
	char command[160], line[1024], *at;
	unsigned int i;

	if (!monitor_open())
		return false;
	snprintf(command, sizeof(command),
		 "\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"xp /%ugx 0x%llx\"}",
		 n, hpa);
	if (!ask(command, line, sizeof(line)))
		return false;
	at = strchr(line, ':');
	for (i = 0; at && i < n; i++) {
		at = strstr(at, " 0x");
		if (!at)
			return false;
		words[i] = strtoull(at, &at, 16);
	}
	return i == n;
}

/* ---- physical memory, as pviommu_test_memory reads it -------------------- */

static int memory_open(void)
{
	static int fd = -1;

	if (fd < 0) {
		pv_total("ops");	/* mounts debugfs */
		fd = open(MEMORY, O_RDONLY | O_CLOEXEC);
	}
	return fd;
}

/* Read words of a page of physical memory. False on failure */
static bool read_words(__u64 hpa, __u64 *words, unsigned int n)
{
	ssize_t size = n * sizeof(*words);
	int fd = memory_open();

	return fd < 0 ? ask_for_words(hpa, words, n) : pread(fd, words, size, hpa) == size;
}

/* ---- tables -------------------------------------------------------------- */

static bool any_root_table(__u64 *root)
{
	return read_words(UNIT + RTADDR, root, 1) && (*root & ADDRESS) && *root != ~0ULL;
}

static bool root_table(__u64 *root)
{
	return any_root_table(root) && (*root & RTADDR_SCALABLE);
}

bool pv_vtd_usable(void)
{
	__u64 root;

	return root_table(&root);
}

bool pv_vtd_readable(void)
{
	__u64 root;

	return memory_open() >= 0 && any_root_table(&root);
}

/* The address of the next table in an entry */
static int follow(__u64 *table, unsigned int offset)
{
	__u64 entry;

	if (!read_words((*table & ADDRESS) + offset, &entry, 1))
		return -EIO;
	*table = entry;
	return entry & PRESENT ? 0 : -ENOENT;
}

/* The numbers of @bdf's bus, and of the device on it */
static bool numbers_of(const char *bdf, unsigned int *bus, unsigned int *devfn)
{
	unsigned int slot, func;

	if (sscanf(bdf, "%*x:%x:%x.%x", bus, &slot, &func) != 3)
		return false;
	*devfn = slot * 8 + func;
	return true;
}

int pv_vtd_pasid(const char *bdf, __u32 pasid, struct pv_vtd_pasid *entry)
{
	unsigned int bus, devfn;
	__u64 table, words[2];
	int ret;

	if (!numbers_of(bdf, &bus, &devfn) || !root_table(&table))
		return -EINVAL;
	/* Each bus has two context tables, with an entry of 32 bytes for each of 128 functions */
	ret = follow(&table, bus * 16 + devfn / 128 * 8) ?: follow(&table, devfn % 128 * 32);
	if (!ret)
		ret = follow(&table, pasid / 64 * 8);
	if (ret)
		return ret;
	if (!read_words((table & ADDRESS) + pasid % 64 * 64, words, 2))
		return -EIO;
	*entry = (struct pv_vtd_pasid) {
		.present = words[0] & PRESENT,
		.type = words[0] >> 6 & 7,
		.levels = (words[0] >> 2 & 7) + 2,
		.table = words[0] & ADDRESS,
		.did = words[1] & 0xffff,
	};
	return 0;
}

/* The same of a device, for requests without a PASID, where the unit has no PASIDs */
static int context(const char *bdf, __u64 table, struct pv_vtd_pasid *entry)
{
	unsigned int bus, devfn;
	__u64 words[2];
	int ret;

	if (!numbers_of(bdf, &bus, &devfn))
		return -EINVAL;
	/* Each bus has a context table, with an entry of 16 bytes for each function */
	ret = follow(&table, bus * 16);
	if (ret)
		return ret;
	if (!read_words((table & ADDRESS) + devfn * 16, words, 2))
		return -EIO;
	*entry = (struct pv_vtd_pasid) {
		.present = words[0] & PRESENT,
		.type = (words[0] >> 2 & 3) == PASSTHROUGH ? PV_VTD_PASSTHROUGH : PV_VTD_SECOND,
		.levels = (words[1] & 7) + WIDTH_LEVELS,
		.table = words[0] & ADDRESS,
		.did = words[1] >> 8 & 0xffff,
	};
	return 0;
}

int pv_vtd_device(const char *bdf, struct pv_vtd_pasid *entry)
{
	__u64 root;
	int ret;

	if (!any_root_table(&root))
		return -EIO;
	ret = root & RTADDR_SCALABLE ? pv_vtd_pasid(bdf, 0, entry) : context(bdf, root, entry);
	if (ret != -ENOENT)
		return ret;
	*entry = (struct pv_vtd_pasid) {};
	return 0;
}

static bool each_below(__u64 table, unsigned int level, __u64 iova, __u32 prot, pv_vtd_fn fn,
		       void *arg)
{
	unsigned int i, shift = 12 + 9 * (level - 1);
	__u64 words[ENTRIES], at;

	if (!read_words(table & ADDRESS, words, ENTRIES))
		return false;
	for (i = 0; i < ENTRIES; i++) {
		if (!(words[i] & RW))
			continue;
		at = iova | (__u64)i << shift;
		if (level == 1 || (words[i] & LARGE))
			fn(arg, at, words[i] & ADDRESS, 1ULL << shift, words[i] & prot);
		else if (!each_below(words[i], level - 1, at, words[i] & prot, fn, arg))
			return false;
	}
	return true;
}

bool pv_vtd_each(const struct pv_vtd_pasid *entry, pv_vtd_fn fn, void *arg)
{
	if (!entry->present)
		return true;
	return entry->type == PV_VTD_SECOND && each_below(entry->table, entry->levels, 0, RW, fn,
							  arg);
}

__u64 pv_vtd_walk(const struct pv_vtd_pasid *entry, __u64 iova, __u32 *prot)
{
	__u64 word = entry->table, mask;
	unsigned int level, shift;

	*prot = RW;
	if (!entry->present)
		return PV_VTD_NOWHERE;
	for (level = entry->levels; level; level--) {
		shift = 12 + 9 * (level - 1);
		if (!read_words((word & ADDRESS) + (iova >> shift & 511) * 8, &word, 1))
			return PV_VTD_NOWHERE;
		*prot &= word;
		if (!(word & RW))
			return PV_VTD_NOWHERE;
		if (level == 1 || (word & LARGE)) {
			mask = (1ULL << shift) - 1;
			return (word & ADDRESS & ~mask) | (iova & mask);
		}
	}
	return PV_VTD_NOWHERE;
}

__u64 pv_vtd_hpa(const void *hva)
{
	unsigned long at = (unsigned long)hva;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	__u64 word = 0;

	if (fd < 0)
		return PV_VTD_NOWHERE;
	if (pread(fd, &word, sizeof(word), at / 4096 * sizeof(word)) != sizeof(word))
		word = 0;
	close(fd);
	if (!(word >> 63))
		return PV_VTD_NOWHERE;
	return (word & ((1ULL << 55) - 1)) * 4096 + at % 4096;
}
