/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first instructions of a machine, up to where C can run: flat 32-bit
 * segments, a stack in RAM. For main() see edu.c.
 */
#define CODE	0x08
#define DATA	0x10
#define STACK	0x80000

	.section .first, "ax"
	.globl	rom
rom:
	.code16
start16:
	cli
	/* %cs begins at the ROM, and an offset into it has 16 bits */
	lgdtl	%cs:gdt_register - rom
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$CODE, $start32

	.code32
start32:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$STACK, %esp
	call	main
1:	hlt
	jmp	1b

	.balign 8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_register:
	.word	. - gdt - 1
	.long	gdt

	.section .reset, "ax"
	.code16
	jmp	start16
