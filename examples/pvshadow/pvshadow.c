// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvshadow: a server that shadows a table which a guest keeps in its memory, as an
 * emulator of a GPU shadows the GPU's page tables.
 *
 *   pvshadow VM
 *
 * It claims the type of the VM's memory. It reads each page that the guest gives the type, and
 * reads it again where a CPU has written to it. Records of writes contain the data, but if two
 * CPUs write the same bytes at the same time, they do not tell which data stayed. Reading the
 * memory is always right, as a record is made after the write.
 *
 * Each line of standard input is a command, and is answered by a line "ok" or "error: why":
 *
 *   take, drop    claim, disclaim
 *   mirror FILE   write all pages to FILE: 8 bytes of GPA, 4096 bytes, and so on
 *   writes FILE   write the writes under this claim since the last time to FILE, a line
 *                 for each: GPA, bytes, data, the thread that wrote, and the number of the
 *                 record; an error if there were more than the program can keep
 *   sleep MS      do nothing, like a server that is too slow
 *   quit
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pv_iommu.h>
#include <linux/pv_iommu_server.h>

#define PAGE		4096UL
#define ENTRIES		64	/* of the ring; few, so that a full one is seen */
#define MAX_PAGES	1024
#define MAX_WRITES	65536
#define READ_TRIES	50	/* a millisecond each: the host does not wait long for a server */

struct page {
	__u64 gpa;
	unsigned char data[PAGE];
};

static struct {
	int fd;
	int eventfd;
	__u32 vm;
	struct pviommu_server_ring *ring;	/* NULL: no claim */
	struct page *pages[MAX_PAGES];
	unsigned int nr_pages;
	struct pviommu_server_record writes[MAX_WRITES];
	unsigned int nr_writes;		/* if more than MAX_WRITES, some were not kept */
} server;

static size_t ring_size(void)
{
	return sizeof(*server.ring) + ENTRIES * sizeof(server.ring->rec[0]);
}

/* ---- the shadow ------------------------------------------------------ */

static unsigned int find_page(__u64 gpa)
{
	unsigned int i;

	for (i = 0; i < server.nr_pages && server.pages[i]->gpa != (gpa & ~(PAGE - 1)); i++)
		;
	return i;
}

static void drop_page(unsigned int i)
{
	free(server.pages[i]);
	server.pages[i] = server.pages[--server.nr_pages];
}

/* Read memory again; drop a page that does not have our type any more */
static void look(unsigned int i, __u64 gpa, __u64 size)
{
	struct pviommu_server_read req = {
		.argsz = sizeof(req),
		.gpa = gpa,
		.addr = (unsigned long)server.pages[i]->data + gpa % PAGE,
		.size = size,
	};
	unsigned int tries;

	/* The guest is changing types, or the host is short of memory: neither lasts */
	for (tries = 0; ioctl(server.fd, PVIOMMU_SERVER_READ, &req); tries++) {
		if ((errno != EAGAIN && errno != ENOMEM) || tries == READ_TRIES) {
			drop_page(i);
			return;
		}
		poll(NULL, 0, 1);
	}
}

static void new_page(__u64 gpa)
{
	unsigned int i = find_page(gpa);

	if (i == server.nr_pages) {
		if (i == MAX_PAGES)
			return;
		server.pages[i] = calloc(1, sizeof(struct page));
		if (!server.pages[i])
			return;
		server.pages[i]->gpa = gpa;
		server.nr_pages++;
	}
	look(i, gpa, PAGE);
}

/* Pages of a range may not have our type any more */
static void look_at_range(__u64 gpa, __u64 last)
{
	unsigned int i;

	/* From the end, as the last page takes the place of one that is dropped */
	for (i = server.nr_pages; i-- > 0;)
		if (server.pages[i]->gpa >= gpa && server.pages[i]->gpa <= last)
			look(i, server.pages[i]->gpa, PAGE);
}

static void take_record(const struct pviommu_server_record *rec)
{
	unsigned int i = find_page(rec->gpa);

	switch (rec->type) {
	case PVIOMMU_REC_PAGE:
		new_page(rec->gpa);
		break;
	case PVIOMMU_REC_RELEASE:
		/* The page has the type until NO_PAGE says otherwise */
		break;
	case PVIOMMU_REC_NO_PAGE:
		if (i < server.nr_pages)
			drop_page(i);
		break;
	case PVIOMMU_REC_LOST:
		look_at_range(rec->gpa, rec->last);
		break;
	case PVIOMMU_REC_WRITE:
		/* A CPU may write so soon that the record of the page itself comes later */
		if (i < server.nr_pages)
			look(i, rec->gpa, rec->size);
		if (server.nr_writes < MAX_WRITES)
			server.writes[server.nr_writes] = *rec;
		server.nr_writes++;
		break;
	}
}

static void drain(void)
{
	struct pviommu_server_ring *ring = server.ring;
	__u32 cons;

	if (!ring)
		return;
	cons = ring->cons;
	while (cons != __atomic_load_n(&ring->prod, __ATOMIC_ACQUIRE)) {
		struct pviommu_server_record rec = ring->rec[cons % ENTRIES];

		/* Make room first: a CPU may be waiting for it */
		__atomic_store_n(&ring->cons, ++cons, __ATOMIC_RELEASE);
		take_record(&rec);
	}
}

/* ---- claims ----------------------------------------------------------- */

static void forget(void)
{
	while (server.nr_pages)
		drop_page(0);
	if (server.ring)
		munmap(server.ring, ring_size());
	server.ring = NULL;
}

static int claim(__u32 flags)
{
	struct pviommu_server_claim req = {
		.argsz = sizeof(req),
		.flags = flags,
		.vm = server.vm,
		.type = PVIOMMU_MEM_IOREQ_SERVER,
		.entries = flags ? ENTRIES : 0,
		.eventfd = flags ? server.eventfd : -1,
	};

	return ioctl(server.fd, PVIOMMU_SERVER_CLAIM, &req) ? -errno : 0;
}

static int take(void)
{
	int ret = claim(PVIOMMU_CLAIM_WRITES);

	if (ret)
		return ret;
	forget();
	server.nr_writes = 0;
	server.ring = mmap(NULL, ring_size(), PROT_READ | PROT_WRITE, MAP_SHARED, server.fd, 0);
	if (server.ring == MAP_FAILED) {
		server.ring = NULL;
		return -errno;
	}
	return 0;
}

static int drop(void)
{
	int ret = claim(0);

	forget();
	return ret;
}

/* ---- commands ----------------------------------------------------------- */

static int write_mirror(const char *name)
{
	FILE *file = fopen(name, "w");
	unsigned int i;

	if (!file)
		return -errno;
	for (i = 0; i < server.nr_pages; i++)
		fwrite(server.pages[i], sizeof(*server.pages[i]), 1, file);
	return fclose(file) ? -errno : 0;
}

static int write_writes(const char *name)
{
	unsigned int nr = server.nr_writes, i, j;
	FILE *file;

	server.nr_writes = 0;
	if (nr > MAX_WRITES)
		return -EOVERFLOW;
	file = fopen(name, "w");
	if (!file)
		return -errno;
	for (i = 0; i < nr; i++) {
		const struct pviommu_server_record *rec = &server.writes[i];

		fprintf(file, "%llx %u ", (unsigned long long)rec->gpa, rec->size);
		for (j = 0; j < rec->size; j++)
			fprintf(file, "%02x", rec->data[j]);
		fprintf(file, " %u %llu\n", rec->thread, (unsigned long long)rec->seq);
	}
	return fclose(file) ? -errno : 0;
}

static int run(char *line)
{
	char *arg = strchr(line, ' ');

	if (arg)
		*arg++ = 0;
	drain();
	if (!strcmp(line, "take"))
		return take();
	if (!strcmp(line, "drop"))
		return drop();
	if (!strcmp(line, "quit"))
		exit(0);
	if (arg && !strcmp(line, "mirror"))
		return write_mirror(arg);
	if (arg && !strcmp(line, "writes"))
		return write_writes(arg);
	if (arg && !strcmp(line, "sleep"))
		return usleep(atoi(arg) * 1000);
	return -EINVAL;
}

static void command(void)
{
	char line[256];
	ssize_t n = read(0, line, sizeof(line) - 1);
	int ret;

	if (n <= 0)
		exit(0);
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	ret = run(line);
	if (ret)
		printf("error: %s\n", strerror(-ret));
	else
		printf("ok\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct pollfd polls[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };
	__u64 count;

	if (argc != 2) {
		fprintf(stderr, "usage: pvshadow VM\n");
		return 2;
	}
	server.vm = atoi(argv[1]);
	server.fd = open("/dev/pv-iommu", O_RDWR | O_CLOEXEC);
	server.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (server.fd < 0 || server.eventfd < 0) {
		perror("pvshadow: /dev/pv-iommu");
		return 1;
	}
	polls[1].fd = server.eventfd;
	while (poll(polls, 2, -1) > 0) {
		/* Read the eventfd first: records that come later signal it again */
		if (polls[1].revents && read(server.eventfd, &count, sizeof(count)) > 0)
			drain();
		if (polls[0].revents)
			command();
	}
	return 1;
}
