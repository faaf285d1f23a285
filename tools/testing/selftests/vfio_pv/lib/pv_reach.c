// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <unistd.h>

#include "pv_reach.h"
#include "pv_sys.h"
#include "pv_vtd.h"

/* Pages of the host's memory, which is less than that */
#define FRAMES		0x200000
#define CHUNK		512

#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_FRAME	0x007fffffffffffffULL
/* Set in the name of a page of the lender; that of a page of the VM is its GPA */
#define OF_LENDER	0x8000000000000000ULL

/*
 * The name of each page of the host's memory that was given one in this round. The host may put
 * other pages into a VM at any time, so there is a new round for each look.
 */
static struct {
	__u64 name;
	__u64 round;
} frame[FRAMES];
static __u64 this_round;

static void name_chunk(const __u64 *words, unsigned int n, __u64 name)
{
	unsigned int i;
	__u64 at;

	for (i = 0; i < n; i++, name += PV_PAGE) {
		at = words[i] & PAGEMAP_FRAME;
		if (!(words[i] & PAGEMAP_PRESENT) || at >= FRAMES)
			continue;
		frame[at].name = name;
		frame[at].round = this_round;
	}
}

static bool name_region(int pagemap, const struct pv_region *region, __u64 flag)
{
	__u64 words[CHUNK], pos;
	off_t from = (unsigned long)region->hva / PV_PAGE * sizeof(*words);
	__u64 pages = region->size / PV_PAGE;
	unsigned int n;

	for (pos = 0; pos < pages; pos += n) {
		n = pages - pos < CHUNK ? pages - pos : CHUNK;
		if (pread(pagemap, words, n * sizeof(*words), from + pos * sizeof(*words)) !=
		    (ssize_t)(n * sizeof(*words)))
			return false;
		name_chunk(words, n, flag | (region->gpa + pos * PV_PAGE));
	}
	return true;
}

static bool name_memory(int pagemap, const struct pv_vm *vm, __u64 flag)
{
	return name_region(pagemap, &vm->low, flag) && name_region(pagemap, &vm->high, flag) &&
	       name_region(pagemap, &vm->rom, flag);
}

static bool name_all(const struct pv_vm *vm)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool done;

	this_round++;
	done = pagemap >= 0 && name_memory(pagemap, vm, 0) &&
	       (!vm->lender || name_memory(pagemap, vm->lender, OF_LENDER));
	close(pagemap);
	return done;
}

/* A number that is scattered */
static __u64 scatter(__u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static void add_page(struct pv_reach *reach, __u64 iova, __u64 at, __u32 prot)
{
	__u64 name = at;

	if (at < FRAMES && frame[at].round == this_round)
		name = frame[at].name;
	else
		reach->strange++;
	reach->pages++;
	/* A sum, so that the order makes no difference */
	reach->digest += scatter(scatter(scatter(iova) ^ name) ^ prot);
}

static void add_leaf(void *arg, __u64 iova, __u64 hpa, __u64 size, __u32 prot)
{
	__u64 pos;

	for (pos = 0; pos < size; pos += PV_PAGE)
		add_page(arg, iova + pos, (hpa + pos) / PV_PAGE, prot);
}

struct pv_reach pv_reach(const struct pv_vm *vm, const struct pv_dev *dev)
{
	struct pv_reach reach = {};
	struct pv_vtd_pasid entry;

	reach.known = pv_vtd_readable() && name_all(vm) &&
		      !pv_vtd_device(dev->vfio.bdf, &entry) &&
		      pv_vtd_each(&entry, add_leaf, &reach);
	return reach;
}

bool pv_reach_same(const struct pv_reach *a, const struct pv_reach *b)
{
	return a->known && b->known && !a->strange && !b->strange && a->pages == b->pages &&
	       a->digest == b->digest;
}
