// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program on the host whose device reads or writes memory of a VM, which the administrator
 * must have granted. To the host's engine this program is a VM, too: it has a container, some
 * of its memory is guest memory, and there is a ring for ops in it. See "A program on the
 * host" in Documentation/userspace-api/vfio_pv.rst.
 *
 *	pvborrow [-w] BDF VM GPA SIZE
 *
 * BDF is an edu device bound to pviommu-vfio-pci. Memory at GPA in the VM is copied to
 * standard output. With -w, standard input is copied there, read back and compared. The
 * program waits for the grant, which must be to the VM that "pvctl vm" shows with the
 * program's pid.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/pv_iommu.h>

#include "edu.h"

#if BYTE_ORDER != LITTLE_ENDIAN
#error "fields of the ABI are used as they are"
#endif

#define PAGE		4096ULL
/* Guest physical addresses of our memory: from 0 on, a page for each use */
#define AT_START	0ULL
#define AT_DESC		256ULL
#define AT_HDR		512ULL
#define AT_OPS		(1 * PAGE)
#define AT_DATA		(2 * PAGE)	/* where the device brings and fetches data */
#define MEM_SIZE	(3 * PAGE)
/* IOVAs, below the 256 MiB that the device can address */
#define IOVA_DATA	0x1000000ULL
#define IOVA_THEIRS	0x2000000ULL
#define MAX_SIZE	0x8000000ULL
#define PIECE		EDU_BUFFER_SIZE	/* that the device takes at a time */

struct borrow {
	struct vfiopv container;
	struct vfiopv_dev dev;
	unsigned int regs;	/* the capability's registers in config space */
	char *mem;		/* MEM_SIZE */
	__u32 domain;
	/* From the command line */
	__u32 vm;
	__u64 gpa, size;
	bool write;
};

/* @err: 0, or an errno */
static void check(const char *what, int err)
{
	if (!err)
		return;
	fprintf(stderr, "pvborrow: %s: %s\n", what, strerror(abs(err)));
	exit(1);
}

/* ---- the capability ---------------------------------------------------- */

static __u32 reg_read(const struct borrow *b, unsigned int reg)
{
	return vfio_config_read32(&b->dev, b->regs + reg);
}

static void reg_write(const struct borrow *b, unsigned int reg, __u32 value)
{
	check("config space", vfio_config_write32(&b->dev, b->regs + reg, value));
}

/* The capability may be in extended config space: see the ABI */
static bool find_registers(struct borrow *b)
{
	unsigned int pos = vfio_config_read32(&b->dev, PCI_CAPABILITY_LIST) & 0xfc, left = 64;

	for (; pos && left; left--, pos = vfio_config_read32(&b->dev, pos) >> 8 & 0xfc) {
		b->regs = pos;
		if ((vfio_config_read32(&b->dev, pos) & 0xff) == PCI_CAP_ID_VNDR &&
		    reg_read(b, PVIOMMU_CAP_SIGNATURE_OFF) == PVIOMMU_CAP_SIGNATURE)
			return true;
	}
	return false;
}

/* ---- ops --------------------------------------------------------------- */

static void start(struct borrow *b)
{
	struct pviommu_start *start = (void *)(b->mem + AT_START);
	struct pviommu_ring_desc *desc = (void *)(b->mem + AT_DESC);
	struct pviommu_ring_hdr *hdr = (void *)(b->mem + AT_HDR);

	/* Only KVM can watch a doorbell page. Without it, the register is the doorbell. */
	*start = (struct pviommu_start) {
		.magic = PVIOMMU_START_MAGIC,
		.version = PVIOMMU_ABI_VERSION,
		.nrings = 1,
		.features = PVIOMMU_F_FOREIGN,
		.rings = AT_DESC,
	};
	if (getrandom(&start->cookie, sizeof(start->cookie), 0) < 0)
		check("getrandom", errno);
	hdr->cookie = start->cookie;
	desc->hdr = AT_HDR;
	desc->ops = AT_OPS;
	desc->order = PVIOMMU_RING_ORDER_MIN;
	reg_write(b, PVIOMMU_CAP_GPA_LO_OFF, AT_START);
	reg_write(b, PVIOMMU_CAP_GPA_HI_OFF, 0);
	reg_write(b, PVIOMMU_CAP_CONTROL_OFF, PVIOMMU_CMD_START);
	check("START", PVIOMMU_CONTROL_ERROR(reg_read(b, PVIOMMU_CAP_CONTROL_OFF)));
}

/* Execute an op. Its status, which is an errno of Linux; *op then has the result */
static int exec(const struct borrow *b, struct pviommu_op *op)
{
	struct pviommu_ring_hdr *hdr = (void *)(b->mem + AT_HDR);
	struct pviommu_op *ops = (void *)(b->mem + AT_OPS);
	struct pviommu_op *slot = &ops[hdr->prod % (1 << PVIOMMU_RING_ORDER_MIN)];

	op->status = PVIOMMU_STATUS_PENDING;
	op->pasid = PVIOMMU_PASID_NONE;
	*slot = *op;
	__atomic_store_n(&hdr->prod, hdr->prod + 1, __ATOMIC_RELEASE);
	/* A doorbell does a bounded amount of work: an op may take several */
	while (__atomic_load_n(&hdr->cons, __ATOMIC_ACQUIRE) != hdr->prod) {
		check("the ring has stopped", hdr->error);
		reg_write(b, PVIOMMU_CAP_DOORBELL_OFF, PVIOMMU_DOORBELL(0));
	}
	*op = *slot;
	return op->status;
}

static int map(const struct borrow *b, __u32 vm, __u64 iova, __u64 gpa, __u64 size, __u32 prot)
{
	struct pviommu_op op = {
		.code = PVIOMMU_OP_MAP, .domain = b->domain, .vm = vm,
		.map = { .iova = iova, .gpa = gpa, .size = size, .prot = prot, .pgshift = 12 },
	};

	return exec(b, &op);
}

/* Unmap; returns how much was still mapped */
static __u64 unmap(const struct borrow *b, __u64 iova, __u64 size)
{
	struct pviommu_op op = {
		.code = PVIOMMU_OP_UNMAP, .domain = b->domain,
		.unmap = { .iova = iova, .size = size },
	};
	struct pviommu_op inv = {
		.code = PVIOMMU_OP_INVALIDATE, .domain = b->domain,
		.inv = { .granularity = PVIOMMU_INV_DOMAIN },
	};

	check("UNMAP", exec(b, &op) ?: exec(b, &inv));
	return op.result;
}

static void make_domain(struct borrow *b)
{
	__u32 endpoint = reg_read(b, PVIOMMU_CAP_ENDPOINT_OFF);
	struct pviommu_op op = { .code = PVIOMMU_OP_ALLOC, .endpoint = endpoint };
	int err = exec(b, &op);

	b->domain = op.result;
	op = (struct pviommu_op) {
		.code = PVIOMMU_OP_ATTACH, .endpoint = endpoint, .domain = b->domain,
	};
	err = err ?: exec(b, &op) ?: map(b, PVIOMMU_VM_SELF, IOVA_DATA, AT_DATA, PAGE,
					 PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE);
	check("a domain for the device", err);
}

/* EACCES is for no grant, a grant of something else, and no such VM alike */
static void map_theirs(const struct borrow *b)
{
	__u32 prot = PVIOMMU_PROT_READ | (b->write ? PVIOMMU_PROT_WRITE : 0);
	int err = map(b, b->vm, IOVA_THEIRS, b->gpa, b->size, prot);

	if (err == PVIOMMU_EACCES)
		fprintf(stderr, "pid %d waits for a grant from %u gpa 0x%llx size 0x%llx %s\n",
			getpid(), b->vm, b->gpa, b->size, b->write ? "rw" : "r");
	for (; err == PVIOMMU_EACCES; usleep(200000))
		err = map(b, b->vm, IOVA_THEIRS, b->gpa, b->size, prot);
	check("MAP", err);
}

/* ---- the device -------------------------------------------------------- */

static void through_device(const struct borrow *b, __u64 from, __u64 to)
{
	if (!edu_from_ram(&b->dev, from, 0, PIECE) || !edu_to_ram(&b->dev, to, 0, PIECE))
		check("the device", EIO);
}

static void copy(const struct borrow *b, char *buf, bool to_them)
{
	char *data = b->mem + AT_DATA;
	__u64 at;

	for (at = 0; at < b->size; at += PIECE) {
		if (to_them) {
			memcpy(data, buf + at, PIECE);
			through_device(b, IOVA_DATA, IOVA_THEIRS + at);
		} else {
			through_device(b, IOVA_THEIRS + at, IOVA_DATA);
			memcpy(buf + at, data, PIECE);
		}
	}
}

static void run(const struct borrow *b)
{
	char *buf = malloc(b->size), *again = malloc(b->size);

	if (!buf || !again || (b->write && fread(buf, 1, b->size, stdin) != b->size))
		check("standard input", EIO);
	map_theirs(b);
	if (b->write)
		copy(b, buf, true);
	copy(b, again, false);
	/* The device does not know whether its DMA succeeded. It has, if all is mapped still. */
	check("the memory or the grant was taken back",
	      unmap(b, IOVA_THEIRS, b->size) == b->size ? 0 : EACCES);
	check("what is there is not what was written",
	      b->write && memcmp(buf, again, b->size) ? EIO : 0);
	if (!b->write && (fwrite(again, 1, b->size, stdout) != b->size || fflush(stdout)))
		check("standard output", errno);
	free(buf);
	free(again);
}

int main(int argc, char **argv)
{
	struct borrow b = { .write = argc > 1 && !strcmp(argv[1], "-w") };
	int first = 1 + b.write, ret;

	if (argc == first + 4) {
		b.vm = strtoul(argv[first + 1], NULL, 0);
		b.gpa = strtoull(argv[first + 2], NULL, 0);
		b.size = strtoull(argv[first + 3], NULL, 0);
	}
	if (!b.vm || !b.size || b.size > MAX_SIZE || (b.gpa | b.size) % PAGE) {
		fprintf(stderr, "usage: pvborrow [-w] BDF VM GPA SIZE (whole pages)\n");
		return 2;
	}
	check(argv[first], vfiopv_open(&b.container, VFIO_TYPE1v2_IOMMU) ?:
			   vfiopv_dev_open(&b.container, &b.dev, argv[first]));
	b.mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.mem == MAP_FAILED)
		check("memory", errno);
	check("MAP_DMA", vfiopv_map(&b.container, 0, b.mem, MEM_SIZE,
				    VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	check("no capability: is it bound to pviommu-vfio-pci?", find_registers(&b) ? 0 : ENODEV);
	start(&b);
	make_domain(&b);
	ret = vfiopv_dev_enable(&b.dev, true, true);
	check("not an edu device", ret ?: edu_is(&b.dev) ? 0 : ENODEV);
	run(&b);
	vfiopv_dev_close(&b.dev);
	vfiopv_close(&b.container);
	return 0;
}
