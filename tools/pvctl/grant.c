// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/pv_iommu.h>

#include "pvctl.h"

static const struct {
	const char *name;
	uint32_t prot;
} accesses[] = {
	{ "r", PVIOMMU_PROT_READ },
	{ "w", PVIOMMU_PROT_WRITE },
	{ "rw", PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE },
};

static const char *access_name(uint32_t prot)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(accesses); i++)
		if (accesses[i].prot == prot)
			return accesses[i].name;
	return "?";
}

static uint32_t access_prot(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(accesses); i++)
		if (!strcmp(accesses[i].name, name))
			return accesses[i].prot;
	die(PVCTL_USAGE, "access: \"%s\" is none of r, w, rw", name);
}

static void show_grant(struct nlattr **attrs, const struct nlmsghdr *nlh)
{
	uint64_t gpa = nl_u64(attrs, PVIOMMU_ADMIN_A_GPA);

	(void)nlh;
	out_object();
	out_u64("grant", nl_u32(attrs, PVIOMMU_ADMIN_A_GRANT));
	out_u64("from", nl_u32(attrs, PVIOMMU_ADMIN_A_VM));
	out_u64("to", nl_u32(attrs, PVIOMMU_ADMIN_A_TO));
	out_hex("gpa", gpa);
	out_hex("size", nl_u64(attrs, PVIOMMU_ADMIN_A_LAST) - gpa + 1);
	out_str("access", access_name(nl_u32(attrs, PVIOMMU_ADMIN_A_FLAGS)));
	out_u64("pages", nl_u64(attrs, PVIOMMU_ADMIN_A_VALUE));
	out_object_end();
}

static void show_new(struct nlattr **attrs, const struct nlmsghdr *nlh)
{
	(void)nlh;
	out_object();
	out_u64("grant", nl_u32(attrs, PVIOMMU_ADMIN_A_GRANT));
	out_object_end();
}

static void check(int ret, const char *nothing)
{
	if (ret)
		die(PVCTL_FAILED, "%s", ret == -ENOENT ? nothing : strerror(-ret));
}

static void grant_add(struct words *words)
{
	uint64_t from = to_number("from", word_need(words, "from"), UINT32_MAX);
	uint64_t to = to_number("to", word_need(words, "to"), UINT32_MAX);
	uint64_t gpa = to_number("gpa", word_need(words, "gpa"), UINT64_MAX);
	uint64_t size = to_number("size", word_need(words, "size"), UINT64_MAX);
	uint32_t prot = access_prot(word_need(words, "access"));
	struct nlmsghdr *nlh;

	words_end(words);
	if (!size || gpa + size - 1 < gpa)
		die(PVCTL_USAGE, "there is no such range");
	nlh = nl_request(PVIOMMU_ADMIN_CMD_GRANT_NEW, false);
	mnl_attr_put_u32(nlh, PVIOMMU_ADMIN_A_VM, from);
	mnl_attr_put_u32(nlh, PVIOMMU_ADMIN_A_TO, to);
	mnl_attr_put_u64(nlh, PVIOMMU_ADMIN_A_GPA, gpa);
	mnl_attr_put_u64(nlh, PVIOMMU_ADMIN_A_LAST, gpa + size - 1);
	mnl_attr_put_u32(nlh, PVIOMMU_ADMIN_A_FLAGS, prot);
	check(nl_talk(nlh, show_new), "there is no such VM");
}

static void grant_del(struct words *words)
{
	uint64_t id = to_number("grant", word_need(words, "grant"), UINT32_MAX);
	struct nlmsghdr *nlh;

	words_end(words);
	nlh = nl_request(PVIOMMU_ADMIN_CMD_GRANT_DEL, false);
	mnl_attr_put_u32(nlh, PVIOMMU_ADMIN_A_GRANT, id);
	check(nl_talk(nlh, NULL), "there is no such grant");
}

static void grant_list(struct words *words)
{
	const char *vm = word_take(words, "vm");

	words_end(words);
	nl_dump(PVIOMMU_ADMIN_CMD_GRANT_GET, vm ? (int64_t)to_number("vm", vm, UINT32_MAX) : NL_ALL,
		show_grant);
}

void cmd_grant(struct words *words)
{
	const char *what = words->nr ? words->word[0] : "";
	struct words rest = { words->nr - 1, words->word + 1 };

	if (!strcmp(what, "add"))
		grant_add(&rest);
	else if (!strcmp(what, "del"))
		grant_del(&rest);
	else
		grant_list(words);
}
