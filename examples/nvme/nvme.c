// SPDX-License-Identifier: GPL-2.0-only
/*
 * An NVMe driver in user space, small enough to be read: it initializes the controller,
 * identifies it, writes to the disk, reads back and compares.
 *
 *	nvme [-f VM:GPA [-w]] BDF [TRANSFERS]
 *
 * The device must be bound to vfio-pci. The disk is overwritten from block 0 on.
 * With -f, the disk is read into memory of another machine, VM, from its guest physical
 * address GPA on, which the host's administrator must have granted; the program prints a
 * checksum of the data, to be compared there. With -w, it reads again and again, until that
 * memory is taken away.
 *
 * This is an ordinary VFIO program, which works behind any IOMMU. It maps the memory of each
 * transfer separately, at a new IOVA, and unmaps it when the transfer is done, as a driver
 * does that does not trust its device.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vfiopv.h>

#define PAGE		4096UL
#define DEPTH		16		/* entries of each queue */
#define TRANSFER	(128 * 1024UL)	/* bytes; the list of its pages fits one page */
#define TIMEOUT_S	30

/* Registers and their fields */
#define NVME_CAP	0x00
#define NVME_CC		0x14
#define NVME_CSTS	0x1c
#define NVME_AQA	0x24
#define NVME_ASQ	0x28
#define NVME_ACQ	0x30
#define NVME_DOORBELLS	0x1000
#define CC_ENABLE	(1 | 6 << 16 | 4 << 20)	/* entries of 64 and 16 bytes */
#define CSTS_READY	1

#define ADMIN_CREATE_SQ	0x01
#define ADMIN_CREATE_CQ	0x05
#define ADMIN_IDENTIFY	0x06
#define IO_WRITE	0x01
#define IO_READ		0x02

/* A program chooses its IOVAs itself */
#define IOVA_QUEUES	0x10000000ULL
#define IOVA_DATA	0x20000000ULL

struct command {
	__u32 opcode;			/* bits 16 on: the command's id */
	__u32 nsid;
	__u64 reserved[2];
	__u64 data[2];			/* PRP 1 and 2 */
	__u32 arg[6];			/* dwords 10 to 15 */
};

struct completion {
	__u32 result;
	__u32 reserved;
	__u16 sq_head;
	__u16 sq_id;
	__u16 id;
	__u16 status;			/* bit 0 is the phase */
};

struct queue {
	unsigned int id;
	struct command *sq;
	volatile struct completion *cq;
	unsigned int tail;
	unsigned int head;
	unsigned int phase;
};

/* Memory that the device uses all the time, mapped at IOVA_QUEUES */
struct shared {
	struct command sq[2][PAGE / sizeof(struct command)];
	struct completion cq[2][PAGE / sizeof(struct completion)];
	__u8 identity[PAGE];
	__u64 list[PAGE / sizeof(__u64)];	/* PRP list: the pages of a transfer */
};

struct nvme {
	struct vfiopv container;
	struct vfiopv_dev dev;
	struct shared *shared;
	struct queue admin;
	struct queue io;
	unsigned int stride;		/* between doorbells */
	unsigned int block;		/* bytes */
};

/* Memory of a transfer: of this machine, or of another one if vm is not 0 */
struct memory {
	void *data;
	__u32 vm;
	__u64 gpa;
};

/* ------------------------------------------------------------------ */
/* Registers */

static __u32 reg_read(const struct nvme *n, unsigned int reg)
{
	return *(volatile __u32 *)((char *)n->dev.mmio + reg);
}

static void reg_write(const struct nvme *n, unsigned int reg, __u32 value)
{
	*(volatile __u32 *)((char *)n->dev.mmio + reg) = value;
}

static void reg_write64(const struct nvme *n, unsigned int reg, __u64 value)
{
	reg_write(n, reg, value);
	reg_write(n, reg + 4, value >> 32);
}

static int wait_ready(const struct nvme *n, __u32 ready)
{
	time_t end = time(NULL) + TIMEOUT_S;

	while ((reg_read(n, NVME_CSTS) & CSTS_READY) != ready) {
		if (time(NULL) > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return 0;
}

/* ------------------------------------------------------------------ */
/* Commands */

static __u64 iova_of(const struct nvme *n, const volatile void *p)
{
	return IOVA_QUEUES + ((const volatile char *)p - (const volatile char *)n->shared);
}

static void doorbell(const struct nvme *n, unsigned int nr, __u32 value)
{
	/* The command must be in memory before the doorbell rings */
	__sync_synchronize();
	reg_write(n, NVME_DOORBELLS + nr * n->stride, value);
}

/* Execute a command and wait for it; 0, -EIO if the device refused it, or -ETIMEDOUT */
static int execute(struct nvme *n, struct queue *q, const struct command *command)
{
	volatile struct completion *done = &q->cq[q->head];
	time_t end = time(NULL) + TIMEOUT_S;
	__u16 status;

	q->sq[q->tail] = *command;
	q->tail = (q->tail + 1) % DEPTH;
	doorbell(n, 2 * q->id, q->tail);

	while ((done->status & 1) != q->phase)
		if (time(NULL) > end)
			return -ETIMEDOUT;
	status = done->status >> 1;
	q->head = (q->head + 1) % DEPTH;
	q->phase ^= !q->head;
	doorbell(n, 2 * q->id + 1, q->head);
	return status ? -EIO : 0;
}

static int create_io_queues(struct nvme *n)
{
	struct command cq = {
		.opcode = ADMIN_CREATE_CQ,
		.data = { iova_of(n, n->io.cq) },
		.arg = { (DEPTH - 1) << 16 | 1, 1 },	/* contiguous, no interrupt */
	};
	struct command sq = {
		.opcode = ADMIN_CREATE_SQ,
		.data = { iova_of(n, n->io.sq) },
		.arg = { (DEPTH - 1) << 16 | 1, 1 << 16 | 1 },
	};

	return execute(n, &n->admin, &cq) ?: execute(n, &n->admin, &sq);
}

static int identify(struct nvme *n, __u32 what, __u32 nsid)
{
	struct command command = {
		.opcode = ADMIN_IDENTIFY,
		.nsid = nsid,
		.data = { iova_of(n, n->shared->identity) },
		.arg = { what },
	};

	return execute(n, &n->admin, &command);
}

/* Identify the controller, and get the size of its blocks */
static int get_acquainted(struct nvme *n)
{
	const __u8 *id = n->shared->identity;
	__u64 blocks;
	__u32 format;
	int ret;

	ret = identify(n, 1, 0);
	if (ret)
		return ret;
	printf("  %.40s, serial %.20s\n", id + 24, id + 4);
	ret = identify(n, 0, 1);
	if (ret)
		return ret;
	memcpy(&blocks, id, sizeof(blocks));
	memcpy(&format, id + 128 + 4 * (id[26] & 0xf), sizeof(format));
	n->block = 1u << (format >> 16 & 0xff);
	printf("  %llu blocks of %u bytes\n", (unsigned long long)blocks, n->block);
	return n->block < 512 || n->block > PAGE || blocks < TRANSFER / n->block ? -EINVAL : 0;
}

/* ------------------------------------------------------------------ */
/* Initialization */

static void init_queue(struct nvme *n, struct queue *q, unsigned int id)
{
	*q = (struct queue) { .id = id, .sq = n->shared->sq[id], .cq = n->shared->cq[id],
			      .phase = 1 };
}

static int enable(struct nvme *n)
{
	int ret;

	reg_write(n, NVME_CC, 0);
	ret = wait_ready(n, 0);
	if (ret)
		return ret;
	n->stride = 4 << (reg_read(n, NVME_CAP + 4) & 0xf);
	reg_write(n, NVME_AQA, (DEPTH - 1) << 16 | (DEPTH - 1));
	reg_write64(n, NVME_ASQ, iova_of(n, n->admin.sq));
	reg_write64(n, NVME_ACQ, iova_of(n, n->admin.cq));
	reg_write(n, NVME_CC, CC_ENABLE);
	return wait_ready(n, CSTS_READY);
}

static int bring_up(struct nvme *n, const char *bdf, unsigned int type)
{
	int ret;

	ret = vfiopv_open(&n->container, type) ?:
	      vfiopv_dev_open(&n->container, &n->dev, bdf) ?:
	      vfiopv_dev_enable(&n->dev, true, true);
	if (ret)
		return ret;
	if (!n->dev.mmio)
		return -ENODEV;
	n->shared = mmap(NULL, sizeof(*n->shared), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (n->shared == MAP_FAILED)
		return -ENOMEM;
	init_queue(n, &n->admin, 0);
	init_queue(n, &n->io, 1);
	ret = vfiopv_map(&n->container, IOVA_QUEUES, n->shared, sizeof(*n->shared),
			 VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
	return ret ?: enable(n) ?: get_acquainted(n) ?: create_io_queues(n);
}

/* ------------------------------------------------------------------ */
/* Transfers */

static int map(struct nvme *n, __u64 iova, const struct memory *memory, size_t size, __u32 flag)
{
	if (memory->vm)
		return vfiopv_map_foreign(&n->container, iova, memory->vm, memory->gpa, size, flag);
	return vfiopv_map(&n->container, iova, memory->data, size, flag);
}

static int access_disk(struct nvme *n, __u32 opcode, __u64 iova, __u64 block)
{
	struct command command = {
		.opcode = opcode,
		.nsid = 1,
		.data = { iova, iova_of(n, n->shared->list) },
		.arg = { block, block >> 32, TRANSFER / n->block - 1 },
	};
	size_t i;

	for (i = 1; i < TRANSFER / PAGE; i++)
		n->shared->list[i - 1] = iova + i * PAGE;
	return execute(n, &n->io, &command);
}

/* @flag: what the device does to the memory, which is all that it may do */
static int transfer(struct nvme *n, __u32 opcode, __u32 flag, const struct memory *memory,
		    __u64 block)
{
	__u64 iova = IOVA_DATA + block * n->block, removed = 0;
	int ret, ret2;

	ret = map(n, iova, memory, TRANSFER, flag);
	if (ret)
		return ret;
	ret = access_disk(n, opcode, iova, block);
	ret2 = vfiopv_unmap(&n->container, iova, TRANSFER, 0, &removed);
	return ret ?: ret2 ?: removed == TRANSFER ? 0 : -EIO;
}

static void fill(__u32 *data, __u32 seed)
{
	size_t i;

	for (i = 0; i < TRANSFER / sizeof(*data); i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = seed;
	}
}

/* FNV-1a, 64 bits */
static __u64 checksum(__u64 sum, const void *data, size_t size)
{
	const __u8 *byte = data;

	while (size--)
		sum = (sum ^ *byte++) * 0x100000001b3ULL;
	return sum;
}

static int write_all(struct nvme *n, __u32 *written, __u32 seed, unsigned int count)
{
	struct memory memory = { .data = written };
	__u64 blocks = TRANSFER / n->block, sum = 0xcbf29ce484222325ULL;
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < count; i++) {
		fill(written, seed + i);
		sum = checksum(sum, written, TRANSFER);
		ret = transfer(n, IO_WRITE, VFIO_DMA_MAP_FLAG_READ, &memory, i * blocks);
	}
	if (!ret)
		printf("  %u transfers of %lu KiB written, checksum %016llx\n", count,
		       TRANSFER / 1024, (unsigned long long)sum);
	return ret;
}

static int write_and_read(struct nvme *n, unsigned int count)
{
	__u32 *written = mmap(NULL, 2 * TRANSFER, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u32 *read = written + TRANSFER / sizeof(*written), seed = time(NULL);
	struct memory memory = { .data = read };
	__u64 blocks = TRANSFER / n->block;
	unsigned int i;
	int ret;

	if (written == MAP_FAILED)
		return -ENOMEM;
	ret = write_all(n, written, seed, count);
	for (i = 0; !ret && i < count; i++) {
		fill(written, seed + i);
		memset(read, 0, TRANSFER);
		ret = transfer(n, IO_READ, VFIO_DMA_MAP_FLAG_WRITE, &memory, i * blocks);
		if (!ret && memcmp(written, read, TRANSFER)) {
			fprintf(stderr, "nvme: transfer %u came back changed\n", i);
			ret = -EIO;
		}
	}
	if (!ret)
		printf("  read back and compared\n");
	munmap(written, 2 * TRANSFER);
	return ret;
}

/* ------------------------------------------------------------------ */
/* Transfers to another machine */

/* How many bytes of the range have been revoked since the last call */
static __u64 taken_away(struct nvme *n, __u64 iova, __u64 size)
{
	struct vfio_pv_event event;
	__u64 sum = 0;

	while (vfiopv_read_events(&n->container, &event, 1) == 1) {
		if (event.type != VFIO_PV_EVENT_REVOKED || event.iova < iova ||
		    event.iova - iova >= size)
			continue;
		printf("  gone: %#llx bytes at %#llx, %#llx of VM %u\n",
		       (unsigned long long)event.size, (unsigned long long)event.iova,
		       (unsigned long long)event.gpa, event.vm);
		sum += event.size;
	}
	return sum;
}

/* Read until all of the memory is revoked: not every disk reports that it could not write there */
static int read_on(struct nvme *n, __u64 iova, unsigned int count)
{
	__u64 blocks = TRANSFER / n->block, size = count * TRANSFER, gone = 0;
	unsigned int i;
	int ret;

	printf("  reading on\n");
	fflush(stdout);
	for (i = 0; gone < size; i++) {
		ret = access_disk(n, IO_READ, iova + i % count * TRANSFER, i % count * blocks);
		if (ret == -ETIMEDOUT)
			return ret;
		gone += taken_away(n, iova, size);
	}
	printf("  after %u transfers\n", i);
	return 0;
}

static int write_and_send(struct nvme *n, struct memory *to, unsigned int count, bool wait)
{
	__u32 *written = mmap(NULL, TRANSFER, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u64 blocks = TRANSFER / n->block, iova = IOVA_DATA + (1ULL << 30);
	unsigned int i;
	int ret;

	if (written == MAP_FAILED)
		return -ENOMEM;
	ret = write_all(n, written, time(NULL), count) ?:
	      map(n, iova, to, count * TRANSFER, VFIO_DMA_MAP_FLAG_WRITE);
	for (i = 0; !ret && i < count; i++)
		ret = access_disk(n, IO_READ, iova + i * TRANSFER, i * blocks);
	if (!ret)
		printf("  read into VM %u\n", to->vm);
	if (!ret && wait)
		ret = read_on(n, iova, count);
	munmap(written, TRANSFER);
	return ret ?: vfiopv_unmap(&n->container, iova, count * TRANSFER, 0, NULL);
}

static int print_usage(void)
{
	fprintf(stderr, "usage: nvme [-f VM:GPA [-w]] BDF [TRANSFERS]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct memory to = {};
	struct nvme n = {};
	unsigned int count;
	bool wait = false;
	char *end = "";
	int opt, ret;

	while ((opt = getopt(argc, argv, "f:w")) != -1) {
		if (opt == 'f') {
			to.vm = strtoul(optarg, &end, 0);
			if (!to.vm || *end != ':' || !end[1])
				return print_usage();
			to.gpa = strtoull(end + 1, &end, 0);
		} else if (opt == 'w') {
			wait = true;
		} else {
			return print_usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (argc < 1 || argc > 2 || *end || (wait && !to.vm))
		return print_usage();
	count = argc > 1 ? strtoul(argv[1], NULL, 0) : 16;
	ret = bring_up(&n, argv[0], to.vm ? VFIO_PV_IOMMU : VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = to.vm ? write_and_send(&n, &to, count, wait) : write_and_read(&n, count);
	if (n.dev.mmio)
		reg_write(&n, NVME_CC, 0);
	if (ret)
		fprintf(stderr, "nvme: %s: %s\n", argv[0], strerror(-ret));
	return ret != 0;
}
