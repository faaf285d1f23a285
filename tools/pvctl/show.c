// SPDX-License-Identifier: GPL-2.0-only
#include <linux/genetlink.h>
#include <linux/pv_iommu.h>

#include "pvctl.h"

static void show_counter(const struct nlattr *nest)
{
	struct nlattr *attrs[PVIOMMU_ADMIN_A_MAX + 1];

	nl_nested(nest, attrs);
	out_u64(nl_str(attrs, PVIOMMU_ADMIN_A_NAME), nl_u64(attrs, PVIOMMU_ADMIN_A_VALUE));
}

static void show_counters(const struct nlmsghdr *nlh)
{
	const struct nlattr *attr;

	out_map("counters");
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(attr) == PVIOMMU_ADMIN_A_COUNTER)
			show_counter(attr);
	out_map_end();
}

static void show_vm(struct nlattr **attrs, const struct nlmsghdr *nlh)
{
	out_object();
	out_u64("vm", nl_u32(attrs, PVIOMMU_ADMIN_A_VM));
	out_u64("pid", nl_u32(attrs, PVIOMMU_ADMIN_A_PID));
	out_str("name", nl_str(attrs, PVIOMMU_ADMIN_A_NAME));
	show_counters(nlh);
	out_object_end();
}

static void show_endpoint(struct nlattr **attrs, const struct nlmsghdr *nlh)
{
	uint32_t flags = nl_u32(attrs, PVIOMMU_ADMIN_A_FLAGS);

	(void)nlh;
	out_object();
	out_u64("vm", nl_u32(attrs, PVIOMMU_ADMIN_A_VM));
	out_u64("endpoint", nl_u32(attrs, PVIOMMU_ADMIN_A_ENDPOINT));
	out_str("device", nl_str(attrs, PVIOMMU_ADMIN_A_NAME));
	out_u64("group", nl_u32(attrs, PVIOMMU_ADMIN_A_GROUP));
	out_u64("domain", nl_u32(attrs, PVIOMMU_ADMIN_A_DOMAIN));
	out_bool("isolated", attrs[PVIOMMU_ADMIN_A_ISOLATED]);
	out_u64("pasids", nl_u32(attrs, PVIOMMU_ADMIN_A_PASIDS));
	out_bool("msi_isolated", flags & PVIOMMU_PROBE_MSI_ISOLATED);
	out_bool("coherent", flags & PVIOMMU_PROBE_COHERENT);
	out_object_end();
}

static void show_domain(struct nlattr **attrs, const struct nlmsghdr *nlh)
{
	(void)nlh;
	out_object();
	out_u64("vm", nl_u32(attrs, PVIOMMU_ADMIN_A_VM));
	out_u64("domain", nl_u32(attrs, PVIOMMU_ADMIN_A_DOMAIN));
	out_str("type", nl_str(attrs, PVIOMMU_ADMIN_A_NAME));
	out_u64("groups", nl_u32(attrs, PVIOMMU_ADMIN_A_GROUPS));
	out_u64("pasids", nl_u32(attrs, PVIOMMU_ADMIN_A_PASIDS));
	out_object_end();
}

static void show_type(struct nlattr **attrs, const struct nlmsghdr *nlh)
{
	uint32_t type = nl_u32(attrs, PVIOMMU_ADMIN_A_TYPE);

	out_object();
	out_u64("vm", nl_u32(attrs, PVIOMMU_ADMIN_A_VM));
	out_str("type", type == PVIOMMU_MEM_TABLE ? "table" : "ioreq_server");
	if (type == PVIOMMU_MEM_IOREQ_SERVER) {
		out_u64("pid", nl_u32(attrs, PVIOMMU_ADMIN_A_PID));
		out_str("name", nl_str(attrs, PVIOMMU_ADMIN_A_NAME));
	}
	show_counters(nlh);
	out_object_end();
}

static void show(struct words *words, uint8_t cmd, nl_message_fn fn)
{
	const char *vm = word_take(words, "vm");

	words_end(words);
	nl_dump(cmd, vm ? (int64_t)to_number("vm", vm, UINT32_MAX) : NL_ALL, fn);
}

void cmd_vm(struct words *words)
{
	show(words, PVIOMMU_ADMIN_CMD_VM_GET, show_vm);
}

void cmd_endpoint(struct words *words)
{
	show(words, PVIOMMU_ADMIN_CMD_ENDPOINT_GET, show_endpoint);
}

void cmd_domain(struct words *words)
{
	show(words, PVIOMMU_ADMIN_CMD_DOMAIN_GET, show_domain);
}

void cmd_type(struct words *words)
{
	show(words, PVIOMMU_ADMIN_CMD_TYPE_GET, show_type);
}
