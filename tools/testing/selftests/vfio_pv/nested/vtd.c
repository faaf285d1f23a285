// SPDX-License-Identifier: GPL-2.0-only
/*
 * All the software of a small machine with an IOMMU, the VT-d that QEMU emulates. Page by page,
 * in no particular order, it maps RAM for an edu device on the PCI bus, has data copied from page
 * to page, moves pages to other places, and unmaps them. QEMU makes a call to map or unmap of
 * each page.
 */
#include "machine.h"

#define VTD(reg)	(*(volatile unsigned int *)(0xfed90000u + (reg)))
#define GCMD		0x18
#define GSTS		0x1c
#define RTADDR		0x20
#define CCMD_HI		0x2c
#define IVA		0xf0
#define IOTLB_HI	0xfc
#define SET_ROOT	0x40000000u
#define TRANSLATE	0x80000000u
#define BUSY		0x80000000u
#define CCMD_ALL	0xa0000000u
#define IOTLB_ALL	0x90000000u
#define IOTLB_PAGE	(0xb0000000u | DOMAIN)
#define DOMAIN		1

#define TABLE(address)	((volatile unsigned long long *)(address))
#define ENTRIES		512
#define ROOT		TABLE(0x200000)
#define CONTEXT		TABLE(0x201000)
#define LEVEL3		TABLE(0x202000)
#define LEVEL2		TABLE(0x203000)
#define LEVEL1		TABLE(0x204000)
#define POINTER(t)	((unsigned int)(t) | 3)	/* to read and to write */
#define LEVELS_3	1

/* The device has addresses of 28 bits */
#define IOVA		0x8000000u
#define PAGE		0x1000u
#define PAGES		256
#define RAM		0x1000000u
#define SPARE		0x1400000u	/* pages are moved to here */
#define ROUNDS		6

static unsigned int frame(unsigned int page, unsigned int round)
{
	return RAM + (page * 73 + round) % PAGES * PAGE;
}

static void clear(volatile unsigned long long *table)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		table[i] = 0;
}

static void wait_until(unsigned int reg, unsigned int mask, unsigned int value)
{
	while ((VTD(reg) & mask) != value)
		;
}

static void look_again(unsigned int page)
{
	VTD(IVA) = IOVA + page * PAGE;
	VTD(IVA + 4) = 0;
	VTD(IOTLB_HI) = IOTLB_PAGE;
	wait_until(IOTLB_HI, BUSY, 0);
}

static void map(unsigned int page, unsigned int to)
{
	LEVEL1[page] = to | 3;
	look_again(page);
}

static void unmap(unsigned int page)
{
	LEVEL1[page] = 0;
	look_again(page);
}

/* All devices of bus 0 use the page table, which is empty */
static void turn_on(void)
{
	unsigned int i;

	clear(ROOT);
	clear(CONTEXT);
	clear(LEVEL3);
	clear(LEVEL2);
	clear(LEVEL1);
	LEVEL3[0] = POINTER(LEVEL2);
	LEVEL2[IOVA >> 21] = POINTER(LEVEL1);
	for (i = 0; i < ENTRIES; i += 2) {
		CONTEXT[i] = (unsigned int)LEVEL3 | 1;
		CONTEXT[i + 1] = DOMAIN << 8 | LEVELS_3;
	}
	ROOT[0] = (unsigned int)CONTEXT | 1;
	VTD(RTADDR) = (unsigned int)ROOT;
	VTD(RTADDR + 4) = 0;
	VTD(GCMD) = SET_ROOT;
	wait_until(GSTS, SET_ROOT, SET_ROOT);
	VTD(CCMD_HI) = CCMD_ALL;
	wait_until(CCMD_HI, BUSY, 0);
	VTD(IOTLB_HI) = IOTLB_ALL;
	wait_until(IOTLB_HI, BUSY, 0);
	VTD(GCMD) = TRANSLATE;
	wait_until(GSTS, TRANSLATE, TRANSLATE);
}

/* A byte of the device's buffer, read by the CPU */
static unsigned char *at(unsigned int offset, unsigned int round)
{
	return (unsigned char *)(frame(offset / PAGE, round) + offset % PAGE);
}

/* Copy across the boundary of two pages that are not adjacent in RAM */
static int copies(unsigned int page, unsigned int round)
{
	unsigned int from = page * PAGE + 0x800, to = from + 4 * PAGE, i;

	for (i = 0; i < LENGTH; i++) {
		*at(from + i, round) = pattern(i, round);
		*at(to + i, round) = ~pattern(i, round);
	}
	dma(IOVA + from, EDU_BUFFER, 0);
	dma(EDU_BUFFER, IOVA + to, EDU_TO_RAM);
	for (i = 0; i < LENGTH; i++)
		if (*at(to + i, round) != pattern(i, round))
			return 0;
	return 1;
}

/* Data written to a page that was moved is at its new place, and not at the old one */
static int moves(unsigned int page, unsigned int round)
{
	unsigned char *old = at(page * PAGE, round), *new = (unsigned char *)SPARE;
	unsigned int i;

	for (i = 0; i < LENGTH; i++) {
		old[i] = ~pattern(i, round);
		new[i] = ~pattern(i, round);
	}
	map(page, SPARE);
	dma(EDU_BUFFER, IOVA + page * PAGE, EDU_TO_RAM);
	for (i = 0; i < LENGTH; i++)
		if (old[i] == pattern(i, round) || new[i] != pattern(i, round))
			return 0;
	return 1;
}

static int refused(unsigned int page)
{
	unsigned char *was = (unsigned char *)SPARE;
	unsigned int i;

	for (i = 0; i < LENGTH; i++)
		was[i] = 0x5a;
	unmap(page);
	dma(EDU_BUFFER, IOVA + page * PAGE, EDU_TO_RAM);
	for (i = 0; i < LENGTH; i++)
		if (was[i] != 0x5a)
			return 0;
	return 1;
}

static int once(unsigned int round)
{
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		map(page, frame(page, round));
	for (page = 0; page + 8 < PAGES; page += 60)
		if (!copies(page, round))
			return 0;
	if (!moves(7, round) || !refused(7))
		return 0;
	for (page = 0; page < PAGES; page++)
		unmap(page);
	return 1;
}

void main(void)
{
	unsigned int round;

	if (!find_device())
		return end("no edu device", EXIT_BAD);
	turn_on();
	for (round = 0; round < ROUNDS; round++)
		if (!once(round))
			return end("the device did not reach what is mapped, or reached more",
				   EXIT_BAD);
	end("6 times 256 pages mapped, reached and unmapped", EXIT_GOOD);
}
