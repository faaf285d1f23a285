// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dispatch of ops, and the only file that knows their numbers: a table says for each op
 * which flags and common fields it takes, which feature it belongs to, and its handler.
 *
 * An op is checked in this order: its number and feature, flags, common fields that it
 * does not take, then what its handler checks.
 */
#include <linux/errno.h>

#include "pviommu_private.h"

/* Common fields that an op takes; the others must have their neutral value */
#define TAKES_DOMAIN	BIT(0)
#define TAKES_ENDPOINT	BIT(1)
#define TAKES_PASID	BIT(2)
#define TAKES_VM	BIT(3)

struct op_desc {
	u16 code;
	u16 flags;		/* allowed, besides CHAIN */
	u8 takes;
	u64 feature;		/* must have been accepted */
	pviommu_op_fn fn;
};

/**
 * pviommu_op_no_args() - check an op that takes nothing but common fields
 * @op: the op
 *
 * Return: 0, or -EINVAL if there is anything in its arguments.
 */
int pviommu_op_no_args(const struct pviommu_op *op)
{
	return memchr_inv(op->raw, 0, sizeof(op->raw)) ? -EINVAL : 0;
}

/**
 * pviommu_op_check_buf() - check the arguments of an op that takes a buffer for its answer
 * @op: the op
 *
 * Return: 0, or -EINVAL if there is anything in reserved fields.
 */
int pviommu_op_check_buf(const struct pviommu_op *op)
{
	if (op->buf.reserved0 ||
	    memchr_inv(op->buf.reserved, 0, sizeof(op->buf.reserved)))
		return -EINVAL;
	return 0;
}

/**
 * pviommu_op_fill_buf() - write the answer of an op into the buffer that it takes
 * @ctx: context of the op
 * @op: the op
 * @answer: the answer; a buffer that is too small gets the beginning of it
 * @size: its size in bytes
 * @result: on success set to @size
 *
 * Context: as pviommu_guest_write().
 * Return: 0, or -EFAULT: then a part may have been written.
 */
int pviommu_op_fill_buf(struct pviommu_op_ctx *ctx, const struct pviommu_op *op,
			const void *answer, u64 size, u64 *result)
{
	int ret = pviommu_guest_write(ctx->vm, le64_to_cpu(op->buf.gpa), answer,
				      min_t(u64, size, le32_to_cpu(op->buf.size)));

	if (!ret)
		*result = size;
	return ret;
}

static int op_nop(struct pviommu_op_ctx *ctx, struct pviommu_op *op, u64 *result)
{
	return pviommu_op_no_args(op);
}

static int op_features(struct pviommu_op_ctx *ctx, struct pviommu_op *op,
		       u64 *result)
{
	int ret = pviommu_op_no_args(op);

	if (!ret)
		*result = pviommu_features(ctx->vm);
	return ret;
}

/* Searched from the start, so the frequent ones come first */
static const struct op_desc ops[] = {
	{ PVIOMMU_OP_MAP, 0, TAKES_DOMAIN | TAKES_VM, 0, pviommu_op_map },
	{ PVIOMMU_OP_MAP_LIST, 0, TAKES_DOMAIN | TAKES_VM, PVIOMMU_F_MAP_LIST,
	  pviommu_op_map_list },
	{ PVIOMMU_OP_UNMAP, PVIOMMU_UNMAP_F_ALL, TAKES_DOMAIN, 0, pviommu_op_unmap },
	{ PVIOMMU_OP_INVALIDATE, PVIOMMU_INV_F_LEAF, TAKES_DOMAIN | TAKES_PASID, 0,
	  pviommu_op_invalidate },
	{ PVIOMMU_OP_NOP, 0, 0, 0, op_nop },
	{ PVIOMMU_OP_FEATURES, 0, 0, 0, op_features },
	{ PVIOMMU_OP_PROBE, 0, TAKES_ENDPOINT, 0, pviommu_op_probe },
	{ PVIOMMU_OP_STATS, 0, 0, PVIOMMU_F_STATS, pviommu_op_stats },
	{ PVIOMMU_OP_ALLOC, PVIOMMU_ALLOC_F_WATCH, TAKES_ENDPOINT, 0, pviommu_op_alloc },
	{ PVIOMMU_OP_FREE, 0, TAKES_DOMAIN, 0, pviommu_op_free },
	{ PVIOMMU_OP_ATTACH, 0, TAKES_DOMAIN | TAKES_ENDPOINT | TAKES_PASID, 0,
	  pviommu_op_attach },
	{ PVIOMMU_OP_DETACH, 0, TAKES_DOMAIN | TAKES_ENDPOINT | TAKES_PASID, 0,
	  pviommu_op_detach },
	{ PVIOMMU_OP_LOOKUP, 0, TAKES_DOMAIN, 0, pviommu_op_lookup },
	{ PVIOMMU_OP_TYPE_SET, 0, 0, PVIOMMU_F_MEM_TYPES, pviommu_op_type_set },
	{ PVIOMMU_OP_TYPE_GET, 0, 0, PVIOMMU_F_MEM_TYPES, pviommu_op_type_get },
	{ PVIOMMU_OP_RELEASE, 0, 0, PVIOMMU_F_RELEASE, pviommu_op_release },
	{ PVIOMMU_OP_DIRTY_START, 0, TAKES_DOMAIN, PVIOMMU_F_DIRTY,
	  pviommu_op_dirty_start },
	{ PVIOMMU_OP_DIRTY_STOP, 0, TAKES_DOMAIN, PVIOMMU_F_DIRTY,
	  pviommu_op_dirty_stop },
	{ PVIOMMU_OP_DIRTY_READ, 0, TAKES_DOMAIN, PVIOMMU_F_DIRTY,
	  pviommu_op_dirty_read },
	{ PVIOMMU_OP_RECOVER, 0, TAKES_ENDPOINT, PVIOMMU_F_RECOVER, pviommu_op_recover },
};

static const struct op_desc *find_op(u16 code)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i].code == code)
			return &ops[i];
	return NULL;
}

static int check_common(const struct op_desc *desc, const struct pviommu_op *op)
{
	if (le16_to_cpu(op->flags) & ~(desc->flags | PVIOMMU_OP_F_CHAIN))
		return -EOPNOTSUPP;
	if ((op->domain && !(desc->takes & TAKES_DOMAIN)) ||
	    (op->endpoint && !(desc->takes & TAKES_ENDPOINT)) ||
	    (op->vm && !(desc->takes & TAKES_VM)) ||
	    (le32_to_cpu(op->pasid) != PVIOMMU_PASID_NONE &&
	     !(desc->takes & TAKES_PASID)))
		return -EINVAL;
	return 0;
}

/**
 * pviommu_op_execute() - execute one op
 * @ctx: context of the op
 * @features: PVIOMMU_F_* that the guest has accepted
 * @op: the host's copy of the op; LOOKUP puts its answer there
 * @result: set to the op's result
 *
 * Context: process, a thread of the VMM, vm->iface_lock and vm->mem_lock held.
 * Return: as pviommu_op_fn.
 */
int pviommu_op_execute(struct pviommu_op_ctx *ctx, u64 features,
		       struct pviommu_op *op, u64 *result)
{
	const struct op_desc *desc = find_op(le16_to_cpu(op->code));
	int ret;

	lockdep_assert_held(&ctx->vm->mem_lock);

	if (!desc || (desc->feature & ~features))
		return -EOPNOTSUPP;
	ctx->features = features;
	ret = check_common(desc, op);
	return ret ?: desc->fn(ctx, op, result);
}

/**
 * pviommu_status() - the status that the guest gets for an errno
 * @err: 0 or a negative errno
 *
 * Return: PVIOMMU_OK or PVIOMMU_E*; PVIOMMU_EIO for an errno that the ABI does not have.
 */
u32 pviommu_status(int err)
{
	switch (err) {
	case 0:
	case -ENOENT:
	case -EIO:
	case -ENOMEM:
	case -EACCES:
	case -EFAULT:
	case -EBUSY:
	case -EEXIST:
	case -EINVAL:
	case -ENOSPC:
	case -ERANGE:
	case -EOPNOTSUPP:
	case -ECANCELED:
		return -err;
	default:
		return PVIOMMU_EIO;
	}
}
