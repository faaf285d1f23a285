// SPDX-License-Identifier: GPL-2.0-only
/*
 * The administrator's interface, by generic netlink.
 *
 * A dump looks at one VM at a time, and holds a reference on it meanwhile. As a VMM may
 * hold up the locks that it waits for, it can be killed while it waits, and the family uses
 * parallel_ops, so that it does not wait under the lock of all of generic netlink.
 */
#include <linux/capability.h>
#include <linux/sched/task.h>
#include <net/genetlink.h>
#include <uapi/linux/pv_iommu_admin.h>

#include "pviommu_private.h"

static struct genl_family admin_family;

/* Puts messages about a VM into @skb, from item number *@item on */
typedef int (*dump_fn)(struct sk_buff *skb, struct netlink_callback *cb,
		       struct pviommu_vm *vm, long *item);

static int admin_pre_doit(const struct genl_split_ops *ops, struct sk_buff *skb,
			  struct genl_info *info)
{
	return netlink_capable(skb, CAP_SYS_ADMIN) ? 0 : -EPERM;
}

static int admin_dump_start(struct netlink_callback *cb)
{
	return netlink_capable(cb->skb, CAP_SYS_ADMIN) ? 0 : -EPERM;
}

static void *admin_put(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd)
{
	return genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			   &admin_family, NLM_F_MULTI, cmd);
}

/* Finish a message, or cancel it if @ret is not 0 */
static int admin_end(struct sk_buff *skb, void *msg, int ret)
{
	if (ret)
		genlmsg_cancel(skb, msg);
	else
		genlmsg_end(skb, msg);
	return ret;
}

/*
 * A message of a dump. @attrs is an expression that puts its attributes. This is a macro, as
 * that has to be evaluated after the header was put, and not at all if there was no room.
 */
#define admin_message(skb, cb, cmd, attrs) ({					\
	struct sk_buff *__skb = (skb);						\
	void *__msg = admin_put(__skb, cb, cmd);				\
										\
	__msg ? admin_end(__skb, __msg, attrs) : -EMSGSIZE;			\
})

/*
 * Dump all VMs, or the one that is asked for. The dump goes on with VM number cb->args[0],
 * and in it with item number cb->args[1].
 */
static int admin_dump(struct sk_buff *skb, struct netlink_callback *cb, dump_fn fn)
{
	struct nlattr *only = genl_dumpit_info(cb)->info.attrs[PVIOMMU_ADMIN_A_VM];
	unsigned long id = cb->args[0];
	struct pviommu_vm *vm;
	int ret = 0;

	if (only && !id)
		id = nla_get_u32(only);
	while (!ret && (vm = pviommu_vm_next(&id))) {
		if (id != cb->args[0])
			cb->args[1] = 0;
		cb->args[0] = id;
		if (only && id != nla_get_u32(only)) {
			pviommu_vm_put(vm);
			break;
		}
		ret = fn(skb, cb, vm, &cb->args[1]);
		pviommu_vm_put(vm);
		if (!ret) {
			cb->args[0] = ++id;
			cb->args[1] = 0;
		}
	}
	return ret == -EMSGSIZE || !ret ? skb->len : ret;
}

/* ---- VMs ------------------------------------------------------------ */

static int put_counter(struct sk_buff *skb, const char *name, u64 value)
{
	struct nlattr *nest = nla_nest_start(skb, PVIOMMU_ADMIN_A_COUNTER);

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_string(skb, PVIOMMU_ADMIN_A_NAME, name) ||
	    nla_put_u64_64bit(skb, PVIOMMU_ADMIN_A_VALUE, value,
			      PVIOMMU_ADMIN_A_PAD))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int put_counters(struct sk_buff *skb, struct pviommu_vm *vm)
{
	u32 i;
	int ret = 0;

	for (i = 0; i < PVIOMMU_NR_COUNTERS && !ret; i++)
		ret = put_counter(skb, pviommu_counter_names[i],
				  atomic64_read(&vm->counters[i]));
	return ret;
}

static int put_process(struct sk_buff *skb, struct pid *pid)
{
	struct task_struct *task = get_pid_task(pid, PIDTYPE_TGID);
	char name[TASK_COMM_LEN] = "";

	if (task) {
		get_task_comm(name, task);
		put_task_struct(task);
	}
	return nla_put_u32(skb, PVIOMMU_ADMIN_A_PID, task ? pid_nr(pid) : 0) ?:
	       nla_put_string(skb, PVIOMMU_ADMIN_A_NAME, name);
}

static int dump_vm(struct sk_buff *skb, struct netlink_callback *cb,
		   struct pviommu_vm *vm, long *item)
{
	if (*item)
		return 0;
	return admin_message(skb, cb, PVIOMMU_ADMIN_CMD_VM_GET,
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_VM, vm->id) ?:
			     put_process(skb, vm->pid) ?: put_counters(skb, vm));
}

static int admin_vm_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	return admin_dump(skb, cb, dump_vm);
}

/* ---- endpoints ------------------------------------------------------ */

static int put_endpoint(struct sk_buff *skb, struct netlink_callback *cb,
			const struct pviommu_endpoint *ep)
{
	bool isolated = pviommu_group_isolated(ep->group);

	lockdep_assert_held(&ep->vm->cfg_lock);

	return admin_message(skb, cb, PVIOMMU_ADMIN_CMD_ENDPOINT_GET,
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_VM, ep->vm->id) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_ENDPOINT, ep->id) ?:
			     nla_put_string(skb, PVIOMMU_ADMIN_A_NAME,
					    dev_name(ep->dev)) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_GROUP,
					 iommu_group_id(ep->group->group)) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_DOMAIN,
					 pviommu_group_domain_id(ep->group)) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_PASIDS,
					 pviommu_pasids_attached(ep->group)) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_FLAGS, ep->group->flags) ?:
			     (isolated ? nla_put_flag(skb, PVIOMMU_ADMIN_A_ISOLATED) : 0));
}

static int dump_endpoints(struct sk_buff *skb, struct netlink_callback *cb,
			  struct pviommu_vm *vm, long *item)
{
	struct pviommu_endpoint *ep;
	unsigned long id;
	int ret = 0;

	if (mutex_lock_killable(&vm->cfg_lock))
		return -EINTR;
	xa_for_each_start(&vm->endpoints, id, ep, *item) {
		ret = put_endpoint(skb, cb, ep);
		if (ret)
			break;
		*item = id + 1;
	}
	mutex_unlock(&vm->cfg_lock);
	return ret;
}

static int admin_endpoint_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	return admin_dump(skb, cb, dump_endpoints);
}

/* ---- domains -------------------------------------------------------- */

static const char *const domain_kinds[] = {
	[PVIOMMU_KIND_GUEST] = "paging",
	[PVIOMMU_KIND_BYPASS] = "bypass",
	[PVIOMMU_KIND_TABLE] = "table",
};

static int put_domain(struct sk_buff *skb, struct netlink_callback *cb,
		      const struct pviommu_domain *domain)
{
	lockdep_assert_held(&domain->vm->cfg_lock);

	return admin_message(skb, cb, PVIOMMU_ADMIN_CMD_DOMAIN_GET,
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_VM, domain->vm->id) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_DOMAIN, domain->id) ?:
			     nla_put_string(skb, PVIOMMU_ADMIN_A_NAME,
					    domain_kinds[domain->kind]) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_GROUPS, domain->nr_groups) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_PASIDS, domain->nr_pasids));
}

/* All bypass domains of a VM have the id 0. There are few of them: they are one item. */
static int dump_bypass(struct sk_buff *skb, struct netlink_callback *cb,
		       struct pviommu_vm *vm)
{
	struct pviommu_domain *domain;
	int ret;

	list_for_each_entry(domain, &vm->bypass, bypass_entry) {
		ret = put_domain(skb, cb, domain);
		if (ret)
			return ret;
	}
	return 0;
}

static int dump_made_domains(struct sk_buff *skb, struct netlink_callback *cb,
			     struct pviommu_vm *vm, long *item)
{
	struct pviommu_domain *domain;
	unsigned long id = *item;
	int ret = 0;

	/* cfg_lock does not keep FREE from erasing them, hence the references */
	for (; !ret && (domain = pviommu_domain_next(vm, &id)); id++) {
		ret = put_domain(skb, cb, domain);
		pviommu_domain_put(domain);
		if (!ret)
			*item = id + 1;
	}
	return ret;
}

static int dump_domains(struct sk_buff *skb, struct netlink_callback *cb,
			struct pviommu_vm *vm, long *item)
{
	int ret = 0;

	if (down_read_killable(&vm->mem_lock))
		return -EINTR;
	if (mutex_lock_killable(&vm->cfg_lock)) {
		up_read(&vm->mem_lock);
		return -EINTR;
	}
	if (!*item) {
		ret = dump_bypass(skb, cb, vm);
		if (!ret)
			*item = PVIOMMU_DOMAIN_FIRST;
	}
	if (!ret)
		ret = dump_made_domains(skb, cb, vm, item);
	mutex_unlock(&vm->cfg_lock);
	up_read(&vm->mem_lock);
	return ret;
}

static int admin_domain_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	return admin_dump(skb, cb, dump_domains);
}

/* ---- grants --------------------------------------------------------- */

static int put_grant(struct sk_buff *skb, struct netlink_callback *cb,
		     const struct pviommu_grant_info *info)
{
	return admin_message(skb, cb, PVIOMMU_ADMIN_CMD_GRANT_GET,
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_GRANT, info->id) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_VM, info->from) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_TO, info->to) ?:
			     nla_put_u64_64bit(skb, PVIOMMU_ADMIN_A_GPA, info->gpa,
					       PVIOMMU_ADMIN_A_PAD) ?:
			     nla_put_u64_64bit(skb, PVIOMMU_ADMIN_A_LAST, info->last,
					       PVIOMMU_ADMIN_A_PAD) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_FLAGS, info->prot) ?:
			     nla_put_u64_64bit(skb, PVIOMMU_ADMIN_A_VALUE, info->pages,
					       PVIOMMU_ADMIN_A_PAD));
}

static int admin_grant_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct nlattr *only = genl_dumpit_info(cb)->info.attrs[PVIOMMU_ADMIN_A_VM];
	unsigned long id = cb->args[0];
	struct pviommu_grant_info info;

	for (; pviommu_grant_next(&id, &info); id++) {
		if ((!only || info.from == nla_get_u32(only)) &&
		    put_grant(skb, cb, &info))
			break;
		cb->args[0] = id + 1;
	}
	return skb->len;
}

static int admin_grant_new(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *reply;
	void *msg;
	u32 id;
	int ret;

	if (GENL_REQ_ATTR_CHECK(info, PVIOMMU_ADMIN_A_VM) ||
	    GENL_REQ_ATTR_CHECK(info, PVIOMMU_ADMIN_A_TO) ||
	    GENL_REQ_ATTR_CHECK(info, PVIOMMU_ADMIN_A_GPA) ||
	    GENL_REQ_ATTR_CHECK(info, PVIOMMU_ADMIN_A_LAST) ||
	    GENL_REQ_ATTR_CHECK(info, PVIOMMU_ADMIN_A_FLAGS))
		return -EINVAL;
	reply = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	ret = pviommu_grant_add(nla_get_u32(info->attrs[PVIOMMU_ADMIN_A_VM]),
				nla_get_u32(info->attrs[PVIOMMU_ADMIN_A_TO]),
				nla_get_u64(info->attrs[PVIOMMU_ADMIN_A_GPA]),
				nla_get_u64(info->attrs[PVIOMMU_ADMIN_A_LAST]),
				nla_get_u32(info->attrs[PVIOMMU_ADMIN_A_FLAGS]), &id);
	if (ret)
		goto err_free;
	/* Can't fail: a new skb has room for this */
	msg = genlmsg_put_reply(reply, info, &admin_family, 0,
				PVIOMMU_ADMIN_CMD_GRANT_NEW);
	nla_put_u32(reply, PVIOMMU_ADMIN_A_GRANT, id);
	genlmsg_end(reply, msg);
	return genlmsg_reply(reply, info);

err_free:
	nlmsg_free(reply);
	return ret;
}

static int admin_grant_del(struct sk_buff *skb, struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, PVIOMMU_ADMIN_A_GRANT))
		return -EINVAL;
	return pviommu_grant_remove(nla_get_u32(info->attrs[PVIOMMU_ADMIN_A_GRANT]));
}

/* ---- memory types --------------------------------------------------- */

static int put_server(struct sk_buff *skb, struct netlink_callback *cb, u32 vm,
		      const struct pviommu_types_info *info)
{
	return admin_message(skb, cb, PVIOMMU_ADMIN_CMD_TYPE_GET,
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_VM, vm) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_TYPE, PVIOMMU_MEM_IOREQ_SERVER) ?:
			     put_process(skb, info->pid) ?:
			     put_counter(skb, "pages", info->pages) ?:
			     put_counter(skb, "entries", info->entries) ?:
			     put_counter(skb, "waiting", info->waiting) ?:
			     put_counter(skb, "records", info->records) ?:
			     put_counter(skb, "claims_dropped", info->dropped));
}

static int put_tables(struct sk_buff *skb, struct netlink_callback *cb, u32 vm,
		      const struct pviommu_types_info *info)
{
	return admin_message(skb, cb, PVIOMMU_ADMIN_CMD_TYPE_GET,
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_VM, vm) ?:
			     nla_put_u32(skb, PVIOMMU_ADMIN_A_TYPE, PVIOMMU_MEM_TABLE) ?:
			     put_counter(skb, "pages", info->tables));
}

static int dump_types(struct sk_buff *skb, struct netlink_callback *cb,
		      struct pviommu_vm *vm, long *item)
{
	struct pviommu_types_info info;
	int ret = pviommu_types_info(vm, &info);

	if (ret)
		return ret;
	if (!*item && (info.pid || info.dropped))
		ret = put_server(skb, cb, vm->id, &info);
	put_pid(info.pid);
	if (ret)
		return ret;
	*item = 1;
	return info.tables ? put_tables(skb, cb, vm->id, &info) : 0;
}

static int admin_type_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	return admin_dump(skb, cb, dump_types);
}

/* ---- the family ----------------------------------------------------- */

static const struct nla_policy only_vm_policy[] = {
	[PVIOMMU_ADMIN_A_VM] = { .type = NLA_U32 },
};

static const struct nla_policy grant_policy[] = {
	[PVIOMMU_ADMIN_A_VM] = { .type = NLA_U32 },
	[PVIOMMU_ADMIN_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, PVIOMMU_PROT_READ |
							   PVIOMMU_PROT_WRITE),
	[PVIOMMU_ADMIN_A_GRANT] = { .type = NLA_U32 },
	[PVIOMMU_ADMIN_A_TO] = { .type = NLA_U32 },
	[PVIOMMU_ADMIN_A_GPA] = { .type = NLA_U64 },
	[PVIOMMU_ADMIN_A_LAST] = { .type = NLA_U64 },
};

#define ADMIN_DO(_cmd, _fn) {				\
	.cmd = (_cmd),					\
	.doit = (_fn),					\
	.policy = grant_policy,				\
	.maxattr = ARRAY_SIZE(grant_policy) - 1,	\
}

#define ADMIN_DUMP(_cmd, _fn) {				\
	.cmd = (_cmd),					\
	.start = admin_dump_start,			\
	.dumpit = (_fn),				\
	.policy = only_vm_policy,			\
	.maxattr = ARRAY_SIZE(only_vm_policy) - 1,	\
}

static const struct genl_ops admin_ops[] = {
	ADMIN_DUMP(PVIOMMU_ADMIN_CMD_VM_GET, admin_vm_get),
	ADMIN_DUMP(PVIOMMU_ADMIN_CMD_ENDPOINT_GET, admin_endpoint_get),
	ADMIN_DUMP(PVIOMMU_ADMIN_CMD_DOMAIN_GET, admin_domain_get),
	ADMIN_DUMP(PVIOMMU_ADMIN_CMD_GRANT_GET, admin_grant_get),
	ADMIN_DUMP(PVIOMMU_ADMIN_CMD_TYPE_GET, admin_type_get),
	ADMIN_DO(PVIOMMU_ADMIN_CMD_GRANT_NEW, admin_grant_new),
	ADMIN_DO(PVIOMMU_ADMIN_CMD_GRANT_DEL, admin_grant_del),
};

static struct genl_family admin_family __ro_after_init = {
	.name = PVIOMMU_ADMIN_GENL_NAME,
	.version = PVIOMMU_ADMIN_GENL_VERSION,
	.module = THIS_MODULE,
	.parallel_ops = true,
	.pre_doit = admin_pre_doit,
	.ops = admin_ops,
	.n_ops = ARRAY_SIZE(admin_ops),
	.resv_start_op = PVIOMMU_ADMIN_CMD_VM_GET,
};

/**
 * pviommu_admin_init() - offer the administrator's interface
 *
 * Return: 0 or a negative errno.
 */
int __init pviommu_admin_init(void)
{
	return genl_register_family(&admin_family);
}

/**
 * pviommu_admin_exit() - undo pviommu_admin_init()
 */
void pviommu_admin_exit(void)
{
	genl_unregister_family(&admin_family);
}
