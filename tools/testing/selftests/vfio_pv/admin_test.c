// SPDX-License-Identifier: GPL-2.0-only
/*
 * What pvctl shows the administrator of a host: VMs, endpoints, domains, types of memory,
 * grants and counters, as text and as JSON. Without CAP_SYS_ADMIN it shows nothing.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "lib/nobody.h"
#include "lib/pv_aer.h"
#include "lib/pv_ctl.h"
#include "lib/pv_late.h"
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

/* More domains than fit into one netlink message */
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
	snprintf(line, sizeof(line), "vm %u domain %u type paging groups 0 pasids 0\n",
		 self->id, dom);
	EXPECT_STREQ(line, self->text);
}

#define json(command, ...)	EXPECT_TRUE(pv_ctl_json(command, __VA_ARGS__))

TEST_F(admin, json_of_what_is_listed)
{
	struct pv_vm *vm = &self->vm;
	__u32 dom;
	int server;

	pv_start(vm, 1, 6);
	dom = pv_new_domain(self->r, vm->dev[0].id);
	pv_attach(self->r, vm->dev[0].id, dom);
	pv_map(self->r, dom, IOVA, PV_DATA, 7 * PV_PAGE, PV_RW);
	json("vm", "a[0].pop('counters')['pages_mapped'] == 7 and len(a) == 1");
	json("vm", "a[0].pop('counters') and a == [{'vm': %u, 'pid': %d, 'name': 'admin_test'}]",
	     self->id, getpid());
	json("endpoint", "len(a) == %d and len(a[0]) == 9", vm->nr_devs);
	json("endpoint", "(a[0]['vm'], a[0]['endpoint'], a[0]['domain']) == (%u, %u, %u)",
	     self->id, vm->dev[0].id, dom);
	json("endpoint", "(a[0]['device'], a[0]['pasids']) == ('%s', 0)", vm->dev[0].vfio.bdf);
	json("endpoint", "a[0]['isolated'] is False and a[0]['msi_isolated'] is True");
	json("endpoint", "type(a[0]['coherent']) is bool and type(a[0]['group']) is int");
	json("domain", "{'vm': %u, 'domain': %u, 'type': 'paging', 'groups': 1, 'pasids': 0} in a",
	     self->id, dom);
	json("domain", "len(a) == %d", vm->nr_devs);
	json("type", "a == []");
	server = pv_server_claim(self->id);
	ASSERT_LE(0, server);
	json("type", "len(a) == 1 and len(a[0]) == 5 and len(a[0]['counters']) == 5");
	json("type", "(a[0]['vm'], a[0]['type'], a[0]['pid']) == (%u, 'ioreq_server', %d)",
	     self->id, getpid());
	json("type", "(a[0]['name'], a[0]['counters']['entries']) == ('admin_test', %u)",
	     PV_SERVER_RECORDS);
	close(server);
	json("grant", "a == []");
	json("vm vm 4000000", "a == []");
}

/* A process can give itself any name */
TEST_F(admin, json_of_any_name)
{
	ASSERT_EQ(0, prctl(PR_SET_NAME, "a\"\\b\n\t\177", 0, 0, 0));
	json("vm", "a[0]['name'] == 'a\"\\\\b\\n\\t\\x7f'");
}

/* More domains than fit into one netlink message */
TEST_F(admin, json_of_many)
{
	int i;

	pv_start(&self->vm, 1, 6);
	for (i = 0; i < 600; i++)
		ASSERT_NE(0, pv_new_domain(self->r, self->vm.dev[0].id));
	json("domain", "sum(d['type'] == 'paging' for d in a) == 600");
}

TEST_F(admin, json_of_grants)
{
	struct pv_vm other = {};
	char command[128];
	__u32 id;

	/* The fixture's VM may have both devices: open it again with one */
	pv_vm_close(&self->vm);
	ASSERT_EQ(0, pv_vm_open(&self->vm, 1, PV_LOW_SIZE));
	self->id = pv_newest_vm();
	if (pv_vm_init_from(&other, 1, 1, PV_LOW_SIZE))
		SKIP(return, "needs two devices");
	ASSERT_EQ(0, pv_vm_open_rest(&other));
	id = pv_newest_vm();
	ASSERT_NE(self->id, id);

	snprintf(command, sizeof(command),
		 "grant add from %u to %u gpa 0x1000 size 0x3000 access r", self->id, id);
	json(command, "len(a) == 1 and list(a[0]) == ['grant'] and a[0]['grant'] > 0");
	ASSERT_EQ(0, ctl("grant"));
	json("grant", "(a[0]['grant'], a[0]['from'], a[0]['to']) == (%lld, %u, %u)",
	     pv_ctl_value(self->text, NULL, "grant"), self->id, id);
	json("grant", "(a[0]['gpa'], a[0]['size'], a[0]['access']) == (4096, 12288, 'r')");
	json("grant", "a[0]['pages'] == 0 and len(a[0]) == 7 and len(a) == 1");
	snprintf(command, sizeof(command), "grant del grant %lld",
		 pv_ctl_value(self->text, NULL, "grant"));
	json(command, "a == []");
	json("grant", "a == []");
	pv_vm_close(&other);
}

/* A command that fails prints the reason to stderr, and nothing to stdout */
TEST_F(admin, nothing_is_printed_of_what_fails)
{
	const char *const commands[] = {
		"grant add from 4000000 to 4000001 gpa 0 size 4096 access r",
		"grant add from 1 to 1 gpa 1 size 1 access r",
		"grant del grant 4000000",
		"grant del",
		"vm vm x",
		"endpoint pid 1",
	};
	char why[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		EXPECT_LT(0, ctl("%s 2>/dev/null", commands[i]));
		EXPECT_STREQ("", self->text);
		EXPECT_LT(0, ctl("-o json %s 2>/dev/null", commands[i]));
		EXPECT_STREQ("", self->text);
		EXPECT_LT(0, pv_ctl(why, sizeof(why), "-o json %s 2>&1 >/dev/null", commands[i]));
		EXPECT_EQ(0, strncmp(why, "pvctl: ", 7));
	}
	EXPECT_EQ(1, ctl("-o json vm 2>&1 >/dev/full"));
	EXPECT_STREQ("pvctl: standard output: No space left on device\n", self->text);
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
	/* No VM has this number */
	ASSERT_EQ(0, ctl("vm vm 0"));
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

TEST_F(admin, needs_cap_sys_admin)
{
	const char *const commands[] = { "vm", "endpoint", "domain", "type", "grant" };
	size_t i;

	ASSERT_EQ(0, drop_sys_admin());
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		EXPECT_EQ(1, ctl("%s 2>&1", commands[i]));
		EXPECT_STREQ("pvctl: Operation not permitted\n", self->text);
		EXPECT_EQ(1, ctl("-o json %s 2>/dev/null", commands[i]));
		EXPECT_STREQ("", self->text);
	}
}

/* ---- a device that the host has isolated ------------------------------- */

#define PORTED	2
#define WAIT_MS	30000

FIXTURE(cut)
{
	struct pv_usage before;
	struct pv_vm vm;
	struct pv_ring *r;
	struct vfio_dev *victim;
	__u32 ep, dom;
	int port;
};

FIXTURE_SETUP(cut)
{
	self->before = pv_begin();
	if (!pv_ctl_found())
		SKIP(return, "needs pvctl");
	/* Nothing is pinned at first, so that a page can be made to come late */
	ASSERT_TRUE(pv_param_set("default_blocked", "1"));
	pv_setup_vm(&self->vm, PORTED + 1, PORTED + 1, PV_LOW_SIZE);
	self->victim = &self->vm.dev[PORTED].vfio;
	self->port = pv_aer_port(self->victim->bdf);
	if (self->port < 0)
		SKIP(return, "needs a device behind a root port, and pvvm");
	self->r = &self->vm.ring[0];
	self->ep = self->vm.dev[PORTED].id;
	pv_start(&self->vm, 2, 6);
	self->dom = pv_new_domain(self->r, self->ep);
	ASSERT_NE(0, self->dom);
	pv_attach(self->r, self->ep, self->dom);
}

FIXTURE_TEARDOWN(cut)
{
	pv_vm_close(&self->vm);
	pv_params_restore();
	pv_expect_unchanged(&self->before);
}

#define json_of_victim(domain, isolated)					\
	json("endpoint",							\
	     "('%s', %u, %s) in [(e['device'], e['domain'], e['isolated']) for e in a]", \
	     self->victim->bdf, domain, isolated)

/* A MAP that waits for a page of the VMM, and a MAP_DMA that waits for the MAP */
struct waiters {
	struct pv_vm *vm;
	__u32 dom;
	void *page;
	__u32 status;
	pid_t plugger;
	int ret;
};

#define LATE	(PV_DATA + 32 * PV_PAGE)

static void *map_late(void *arg)
{
	struct waiters *w = arg;

	w->status = __pv_map(&w->vm->ring[1], w->dom, IOVA, LATE, PV_PAGE, PV_RW);
	return NULL;
}

static void *plug(void *arg)
{
	struct waiters *w = arg;

	__atomic_store_n(&w->plugger, gettid(), __ATOMIC_RELAXED);
	w->ret = vfio_map_dma(w->vm->container, PV_NOWHERE, w->page, PV_PAGE, true);
	return NULL;
}

/* Isolation is shown at once, even while the locks are held that its records need */
TEST_F(cut, shown_at_once)
{
	struct waiters w = { .vm = &self->vm, .dom = self->dom, .ret = -1 };
	pthread_t mapper, plugger;
	struct pviommu_event ev;
	int fd;

	w.page = mmap(NULL, PV_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, w.page);
	fd = pv_late_open();
	if (fd < 0 || !pv_late_begin(fd, pv_mem(&self->vm, LATE)))
		SKIP(return, "needs userfaultfd");
	json_of_victim(self->dom, "False");
	ASSERT_EQ(0, pthread_create(&mapper, NULL, map_late, &w));
	ASSERT_TRUE(pv_late_is_waited_for(fd));
	ASSERT_EQ(0, pthread_create(&plugger, NULL, plug, &w));
	ASSERT_TRUE(pv_thread_waits(&w.plugger));

	ASSERT_EQ(0, pv_aer_inject(self->port, "COMP_TIME"));
	ASSERT_TRUE(pv_event_wait(&self->vm, &ev, WAIT_MS));
	EXPECT_EQ(PVIOMMU_EV_ISOLATED, ev.type);
	json_of_victim(PVIOMMU_DOMAIN_BLOCKED, "True");
	/* The MAP_DMA must have waited all the time, or this would have tested nothing */
	EXPECT_EQ(-1, w.ret);

	ASSERT_TRUE(pv_late_end(fd, pv_mem(&self->vm, LATE), NULL));
	close(fd);
	pthread_join(mapper, NULL);
	pthread_join(plugger, NULL);
	EXPECT_EQ(PVIOMMU_OK, w.status);
	EXPECT_EQ(0, w.ret);
	json_of_victim(PVIOMMU_DOMAIN_BLOCKED, "True");
	while (__pv_recover(self->r, self->ep) == PVIOMMU_EBUSY)
		usleep(50000);
	json_of_victim(PVIOMMU_DOMAIN_BLOCKED, "False");
	pv_attach(self->r, self->ep, self->dom);
	json_of_victim(self->dom, "False");
}

TEST_HARNESS_MAIN
