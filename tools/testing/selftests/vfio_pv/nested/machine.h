/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the ROMs of small machines have in common: the PCI bus, an edu device on it, output by
 * QEMU's debugcon, and ending QEMU by its isa-debug-exit.
 */
#ifndef NESTED_MACHINE_H
#define NESTED_MACHINE_H

#define PCI_ADDRESS	0xcf8
#define PCI_DATA	0xcfc
#define DEBUGCON	0xe9
#define EXIT		0xf4
#define EXIT_GOOD	0x10
#define EXIT_BAD	0x20

#define EDU_IDS		0x11e81234
#define EDU_BAR		0xe0000000u
#define EDU_ID		(*(volatile unsigned int *)(EDU_BAR + 0x00))
#define EDU_REG(n)	(*(volatile unsigned int *)(EDU_BAR + 0x80 + (n) * 4))
#define EDU_BUFFER	0x40000
#define EDU_RUN		1
#define EDU_TO_RAM	2

#define LENGTH		4000	/* the device has room for a byte less than it says */

static inline void port_write32(unsigned short port, unsigned int value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline unsigned int port_read32(unsigned short port)
{
	unsigned int value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void port_write8(unsigned short port, unsigned char value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void say(const char *text)
{
	while (*text)
		port_write8(DEBUGCON, *text++);
	port_write8(DEBUGCON, '\n');
}

static inline unsigned int config_read(unsigned int slot, unsigned int reg)
{
	port_write32(PCI_ADDRESS, 1u << 31 | slot << 11 | reg);
	return port_read32(PCI_DATA);
}

static inline void config_write(unsigned int slot, unsigned int reg, unsigned int value)
{
	port_write32(PCI_ADDRESS, 1u << 31 | slot << 11 | reg);
	port_write32(PCI_DATA, value);
}

/* There is no firmware, so the ROM has to give the device an address */
static inline int find_device(void)
{
	unsigned int slot;

	for (slot = 0; slot < 32; slot++) {
		if (config_read(slot, 0) != EDU_IDS)
			continue;
		config_write(slot, 0x10, EDU_BAR);
		config_write(slot, 0x04, 0x6);	/* memory, bus master */
		return (EDU_ID & 0xff) == 0xed;
	}
	return 0;
}

static inline void dma(unsigned int from, unsigned int to, unsigned int command)
{
	EDU_REG(0) = from;
	EDU_REG(1) = 0;
	EDU_REG(2) = to;
	EDU_REG(3) = 0;
	EDU_REG(4) = LENGTH;
	EDU_REG(5) = 0;
	EDU_REG(6) = command | EDU_RUN;
	EDU_REG(7) = 0;
	while (EDU_REG(6) & EDU_RUN)
		;
}

static inline unsigned char pattern(unsigned int i, unsigned int round)
{
	return (i * 2654435761u >> 13) + round * 37;
}

static inline void end(const char *text, unsigned int code)
{
	say(text);
	port_write32(EXIT, code);
}

#endif /* NESTED_MACHINE_H */
