// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "pv_sys.h"

#define DEBUGFS		"/sys/kernel/debug"
#define PARAMETERS	"/sys/module/pviommu_host/parameters"

int pv_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = 0;
	return n;
}

int pv_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The number after "NAME " or "NAME:" at the start of a line */
static long long find_number(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *line;

	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && strchr(" :", line[len]))
			return strtoll(line + len + 1, NULL, 0);
	}
	return -1;
}

static bool debugfs_there(void)
{
	return !access(DEBUGFS "/pviommu", F_OK) ||
	       (!mount("debugfs", DEBUGFS, "debugfs", 0, NULL) &&
		!access(DEBUGFS "/pviommu", F_OK));
}

static long long counter(const char *file, const char *name)
{
	char path[128], text[1024];

	snprintf(path, sizeof(path), DEBUGFS "/pviommu/%s", file);
	if (!debugfs_there() || pv_read_file(path, text, sizeof(text)) < 0)
		return -1;
	return find_number(text, name);
}

long long pv_total(const char *name)
{
	return counter("totals", name);
}

static int scan_vms(int *newest)
{
	struct dirent *entry;
	int count = 0, id;
	DIR *dir;

	*newest = 0;
	if (!debugfs_there())
		return -1;
	dir = opendir(DEBUGFS "/pviommu");
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (sscanf(entry->d_name, "vm%d", &id) != 1)
			continue;
		count++;
		if (id > *newest)
			*newest = id;
	}
	closedir(dir);
	return count;
}

int pv_newest_vm(void)
{
	int newest;

	return scan_vms(&newest) < 1 ? 0 : newest;
}

int pv_vm_count(void)
{
	int newest;

	return scan_vms(&newest);
}

long long pv_newest_vm_counter(const char *name)
{
	char file[32];
	int newest;

	if (scan_vms(&newest) < 1)
		return -1;
	snprintf(file, sizeof(file), "vm%d/stats", newest);
	return counter(file, name);
}

long pv_status_kb(int pid, const char *name)
{
	char path[64] = "/proc/self/status", text[4096];

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (pv_read_file(path, text, sizeof(text)) < 0)
		return -1;
	return find_number(text, name);
}

int pv_refcnt(const char *module)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	if (pv_read_file(path, text, sizeof(text)) < 0)
		return -1;
	return atoi(text);
}

int pv_unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

struct pv_usage pv_usage_get(void)
{
	return (struct pv_usage) {
		.pages_mapped = pv_total("pages_mapped"),
		.pages_pinned = pv_total("pages_pinned"),
		.domains = pv_total("domains"),
		.mappings = pv_total("mappings"),
		.refs_host = pv_refcnt("pviommu_host"),
		.refs_vfio = pv_refcnt("pviommu_vfio_pci"),
		.locked_kb = pv_status_kb(0, "VmLck"),
		.pinned_kb = pv_status_kb(0, "VmPin"),
	};
}

const char *pv_usage_diff(const struct pv_usage *a, const struct pv_usage *b)
{
	static char text[128];
	const struct {
		const char *name;
		long long a, b;
	} rows[] = {
		{ "pages mapped", a->pages_mapped, b->pages_mapped },
		{ "pages pinned", a->pages_pinned, b->pages_pinned },
		{ "domains", a->domains, b->domains },
		{ "mappings", a->mappings, b->mappings },
		{ "pviommu_host references", a->refs_host, b->refs_host },
		{ "pviommu_vfio_pci references", a->refs_vfio, b->refs_vfio },
		{ "VmLck", a->locked_kb, b->locked_kb },
		{ "VmPin", a->pinned_kb, b->pinned_kb },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].a == rows[i].b && rows[i].a >= 0)
			continue;
		snprintf(text, sizeof(text), "%s: %lld, then %lld", rows[i].name,
			 rows[i].a, rows[i].b);
		return text;
	}
	return NULL;
}

const char *pv_usage_settle(const struct pv_usage *before)
{
	const char *diff;
	int i;

	for (i = 0; i < 3000; i++) {
		struct pv_usage now = pv_usage_get();

		diff = pv_usage_diff(before, &now);
		if (!diff)
			break;
		usleep(10000);
	}
	return diff;
}

int pv_limit_locked(unsigned long bytes)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	data[0].permitted &= ~(1U << CAP_IPC_LOCK);
	return syscall(SYS_capset, &head, data);
}

/* Parameters that tests change, with their values before that */
static struct {
	const char *name;
	char value[32];
} params[] = {
	{ "default_blocked", "" },
	{ "doorbell_pages", "" },
	{ "max_domains", "" },
	{ "max_events", "" },
	{ "max_mappings", "" },
	{ "max_pasids", "" },
	{ "max_slots", "" },
	{ "release_ms", "" },
	{ "server_timeout_ms", "" },
};

static int param_path(char *path, size_t size, const char *name)
{
	return snprintf(path, size, PARAMETERS "/%s", name);
}

long pv_param_get(const char *name)
{
	char path[128], text[32];

	param_path(path, sizeof(path), name);
	if (pv_read_file(path, text, sizeof(text)) < 0)
		return -1;
	return strtol(text, NULL, 0);
}

bool pv_param_set(const char *name, const char *value)
{
	char path[128];

	param_path(path, sizeof(path), name);
	return !pv_write_file(path, value);
}

void pv_params_restore(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(params); i++)
		if (params[i].value[0])
			pv_param_set(params[i].name, params[i].value);
}

/* Tests run in child processes, which may end without atexit(): this process restores them */
static void __attribute__((constructor)) params_save(void)
{
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(params); i++) {
		param_path(path, sizeof(path), params[i].name);
		if (pv_read_file(path, params[i].value, sizeof(params[i].value)) < 0)
			params[i].value[0] = 0;
	}
	atexit(pv_params_restore);
}
