// SPDX-License-Identifier: GPL-2.0-only
/*
 * All the software of a small machine, in its ROM: it finds an edu device on the PCI bus, has it
 * copy data from one place in RAM to another, compares, and prints the result. It does not
 * matter whether the device is emulated or passed through.
 */
#include "machine.h"

#define FROM		((unsigned char *)0x100800)
#define TO		((unsigned char *)0x2345800)

static int copies(unsigned int round)
{
	unsigned int i;

	for (i = 0; i < LENGTH; i++) {
		FROM[i] = pattern(i, round);
		TO[i] = ~FROM[i];
	}
	dma((unsigned int)FROM, EDU_BUFFER, 0);
	dma(EDU_BUFFER, (unsigned int)TO, EDU_TO_RAM);
	for (i = 0; i < LENGTH; i++)
		if (TO[i] != pattern(i, round))
			return 0;
	return 1;
}

void main(void)
{
	unsigned int round;

	if (!find_device())
		return end("no edu device", EXIT_BAD);
	for (round = 0; round < 4; round++)
		if (!copies(round))
			return end("what the device copied is not what was there", EXIT_BAD);
	end("4 copies made by the device and compared", EXIT_GOOD);
}
