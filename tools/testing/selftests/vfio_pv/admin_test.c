// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the administrator of a host sees: VMs, endpoints, domains, counters, and
 * who is no administrator sees nothing.
 */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <linux/capability.h>

#include "lib/pv_ctl.h"
#include "lib/pv_server.h"
#include "lib/pv_test.h"

#define IOVA	0x10000000ULL

FIXTURE(admin)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	__u32 id;
	char text[16384];
};

FIXTURE_SETUP(admin)
{
	self->before = pv_begin();
	if (!pv_ctl_found())
		SKIP(return, "needs pvctl");
	pv_setup_vm(&self->vm, 1, 2, PV_LOW_SIZE);
	self->r = &self->vm.ring[0];
	self->id = pv_ctl_vm_of(getpid());
	ASSERT_NE(0, self->id);
}

FIXTURE_TEARDOWN(admin)
{
	pv_vm_close(&self->vm);
	pv_expect_unchanged(&self->before);
}

#define ctl(...)	pv_ctl(self->text, sizeof(self->text), __VA_ARGS__)

TEST_F(admin, vm_has_its_counters)
{
	struct pv_vm *vm = &self->vm;
	char line[64];
	__u32 dom;

	pv_start(vm, 1, 6);
	dom = pv_new_domain(self->r, vm->dev[0].id);
	pv_map(self->r, dom, IOVA, PV_DATA, 7 * PV_PAGE, PV_RW);

	ASSERT_EQ(0, ctl("vm vm %u", self->id));
	snprintf(line, sizeof(line), "vm %u pid %d name admin_test\n", self->id, getpid());
	EXPECT_EQ(0, strncmp(self->text, line, strlen(line)));
	EXPECT_EQ(pv_total("pages_pinned"), pv_ctl_value(self->text, NULL, "pages_pinned"));
	EXPECT_EQ(7, pv_ctl_value(self->text, NULL, "pages_mapped"));
	EXPECT_EQ(1, pv_ctl_value(self->text, NULL, "mappings"));
	EXPECT_LE(2, pv_ctl_value(self->text, NULL, "ops"));
}

TEST_F(admin, endpoints_and_where_they_are)
{
	struct pv_vm *vm = &self->vm;
	__u32 dom;
	int i;

	ASSERT_EQ(0, ctl("endpoint"));
	for (i = 0; i < vm->nr_devs; i++) {
		EXPECT_NE(NULL, strstr(self->text, vm->dev[i].vfio.bdf));
		EXPECT_EQ(PVIOMMU_DOMAIN_BYPASS,
			  pv_ctl_value(self->text, vm->dev[i].vfio.bdf, "domain"));
	}
	pv_start(vm, 1, 6);
	dom = pv_new_domain(self->r, vm->dev[0].id);
	pv_attach(self->r, vm->dev[0].id, dom);
	ASSERT_EQ(0, ctl("endpoint vm %u", self->id));
	EXPECT_EQ(dom, pv_ctl_value(self->text, vm->dev[0].vfio.bdf, "domain"));
	pv_attach(self->r, vm->dev[0].id, PVIOMMU_DOMAIN_BLOCKED);
	ASSERT_EQ(0, ctl("endpoint vm %u", self->id));
	EXPECT_EQ(PVIOMMU_DOMAIN_BLOCKED,
		  pv_ctl_value(self->text, vm->dev[0].vfio.bdf, "domain"));
}

/* More than one message of the kernel's holds */
TEST_F(admin, many_domains)
{
	char line[64];
	__u32 dom;
	int i;

	pv_start(&self->vm, 1, 6);
	for (i = 0; i < 600; i++) {
		dom = pv_new_domain(self->r, self->vm.dev[0].id);
		ASSERT_NE(0, dom);
	}
	ASSERT_EQ(0, pv_ctl(NULL, 0, "domain | grep -c paging | grep -qx 600"));
	ASSERT_EQ(0, ctl("domain | tail -n 1"));
	snprintf(line, sizeof(line), "vm %u domain %u type paging groups 0\n", self->id, dom);
	EXPECT_STREQ(line, self->text);
}

TEST_F(admin, json)
{
	char start[64];

	ASSERT_EQ(0, ctl("-o json vm"));
	snprintf(start, sizeof(start),
		 "[{\"vm\":%u,\"pid\":%d,\"name\":\"admin_test\",\"counters\":{", self->id,
		 getpid());
	EXPECT_EQ(0, strncmp(self->text, start, strlen(start)));
	EXPECT_NE(NULL, strstr(self->text, "}}]\n"));
	ASSERT_EQ(0, ctl("-o json domain"));
	snprintf(start, sizeof(start),
		 "[{\"vm\":%u,\"domain\":0,\"type\":\"bypass\",\"groups\":%d}]\n", self->id,
		 self->vm.nr_devs);
	EXPECT_STREQ(start, self->text);
}

TEST_F(admin, servers_of_types)
{
	char start[128];
	int server;

	pv_start(&self->vm, 1, 6);
	ASSERT_EQ(0, ctl("type"));
	EXPECT_STREQ("", self->text);
	server = pv_server_claim(self->id);
	ASSERT_LE(0, server);
	ASSERT_EQ(0, ctl("type vm %u", self->id));
	snprintf(start, sizeof(start), "vm %u type ioreq_server pid %d name admin_test\n",
		 self->id, getpid());
	EXPECT_EQ(0, strncmp(self->text, start, strlen(start)));
	EXPECT_EQ(PV_SERVER_RECORDS, pv_ctl_value(self->text, NULL, "entries"));
	EXPECT_EQ(0, pv_ctl_value(self->text, NULL, "pages"));
	EXPECT_EQ(0, pv_ctl_value(self->text, NULL, "waiting"));
	EXPECT_EQ(0, pv_ctl_value(self->text, NULL, "claims_dropped"));
	ASSERT_EQ(0, ctl("-o json type"));
	snprintf(start, sizeof(start),
		 "[{\"vm\":%u,\"type\":\"ioreq_server\",\"pid\":%d,\"name\":\"admin_test\",\"counters\":{",
		 self->id, getpid());
	EXPECT_EQ(0, strncmp(self->text, start, strlen(start)));
	ASSERT_EQ(0, ctl("type vm %u", self->id + 1000));
	EXPECT_STREQ("", self->text);
	close(server);
	ASSERT_EQ(0, ctl("type"));
	EXPECT_STREQ("", self->text);
}

TEST_F(admin, unknown_vm_has_nothing)
{
	ASSERT_EQ(0, ctl("vm vm %u", self->id + 1000));
	EXPECT_STREQ("", self->text);
	ASSERT_EQ(0, ctl("endpoint vm %u", self->id + 1000));
	EXPECT_STREQ("", self->text);
}

TEST_F(admin, mistakes_on_the_command_line)
{
	EXPECT_EQ(2, ctl("2>&1"));
	EXPECT_EQ(2, ctl("nonsense 2>&1"));
	EXPECT_EQ(2, ctl("vm vm -1 2>&1"));
	EXPECT_EQ(2, ctl("vm vm 1 vm 2 2>&1"));
	EXPECT_EQ(2, ctl("vm pid 1 2>&1"));
	EXPECT_EQ(2, ctl("-o yaml vm 2>&1"));
}

static int drop_sys_admin(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	/* Or a program that root starts has it again */
	if (prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) || syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~(1U << CAP_SYS_ADMIN);
	data[0].permitted &= ~(1U << CAP_SYS_ADMIN);
	return syscall(SYS_capset, &head, data);
}

TEST_F(admin, needs_cap_sys_admin)
{
	const char *const commands[] = { "vm", "endpoint", "domain", "type", "grant" };
	size_t i;

	ASSERT_EQ(0, drop_sys_admin());
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		EXPECT_EQ(1, ctl("%s 2>&1", commands[i]));
		EXPECT_STREQ("pvctl: Operation not permitted\n", self->text);
	}
}

TEST_HARNESS_MAIN
