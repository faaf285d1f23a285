// SPDX-License-Identifier: GPL-2.0-only
/*
 * While this is loaded at the host level, the IOMMU takes no group into any domain: the function
 * of the engine that asks it to fails with EIO, and does nothing. It is one that fault injection
 * may make fail; this works on kernels without.
 */
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include <asm/ibt.h>
#include <asm/linkage.h>

#define REFUSED "hw_move_group"

/* What the function is replaced by: a return, with the value that the probe has put in place */
asmlinkage void refuse_return(void);

asm(".pushsection .text\n"
	".type refuse_return, @function\n"
	".globl refuse_return\n"
	"refuse_return:\n"
	ASM_ENDBR
	ASM_RET
	".size refuse_return, .-refuse_return\n"
	".popsection\n");

static int refuse_handle(struct kprobe *probe, struct pt_regs *regs)
{
	regs_set_return_value(regs, -EIO);
	instruction_pointer_set(regs, (unsigned long)refuse_return);
	return 1;
}

/* That there is one keeps the kernel from a probe that can't change where the CPU goes on */
static void refuse_after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe refuse_probe = {
	.symbol_name = REFUSED,
	.pre_handler = refuse_handle,
	.post_handler = refuse_after,
};

static int __init refuse_init(void)
{
	return register_kprobe(&refuse_probe);
}

static void __exit refuse_exit(void)
{
	unregister_kprobe(&refuse_probe);
	/* A task that was interrupted in refuse_return() leaves it */
	synchronize_rcu_tasks();
}

module_init(refuse_init);
module_exit(refuse_exit);

MODULE_DESCRIPTION("Test of the paravirtual IOMMU: a host that attaches nothing");
MODULE_LICENSE("GPL");
