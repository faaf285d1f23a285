// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/pv_iommu.h>
#include <linux/pv_iommu_admin.h>

#include "pv_admin.h"

static __u16 family;

struct request {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	char attrs[256];
};

static void begin(struct request *req, __u16 type, __u8 cmd, __u8 version)
{
	*req = (struct request) {
		.head = {
			.nlmsg_len = offsetof(struct request, attrs),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		},
		.genl = { .cmd = cmd, .version = version },
	};
}

static void add(struct request *req, __u16 type, const void *data, size_t len)
{
	char *at = (char *)req + req->head.nlmsg_len;
	struct nlattr attr = { .nla_type = type, .nla_len = NLA_HDRLEN + len };

	memcpy(at, &attr, sizeof(attr));
	memcpy(at + NLA_HDRLEN, data, len);
	req->head.nlmsg_len += NLA_ALIGN(attr.nla_len);
}

static int ask(int fd, const struct request *req)
{
	return send(fd, req, req->head.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* The family's number in the answer of the controller; 0 if there is none */
static __u16 take_family(int fd)
{
	char answer[4096];
	ssize_t len = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
	size_t at = NLMSG_HDRLEN + GENL_HDRLEN;
	struct nlattr attr;
	__u16 id;

	while (len > 0 && at + NLA_HDRLEN + sizeof(id) <= (size_t)len) {
		memcpy(&attr, answer + at, sizeof(attr));
		if (attr.nla_type == CTRL_ATTR_FAMILY_ID) {
			memcpy(&id, answer + at + NLA_HDRLEN, sizeof(id));
			return id;
		}
		at += NLA_ALIGN(attr.nla_len);
	}
	return 0;
}

int pv_admin_open(void)
{
	struct request req;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };

	begin(&req, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	add(&req, CTRL_ATTR_FAMILY_NAME, PVIOMMU_ADMIN_GENL_NAME,
	    sizeof(PVIOMMU_ADMIN_GENL_NAME));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    ask(fd, &req))
		goto err_close;
	family = take_family(fd);
	if (!family || pv_admin_answer(fd))
		goto err_close;
	return fd;

err_close:
	if (fd >= 0)
		close(fd);
	return -1;
}

int pv_admin_grant_new(int fd, __u32 from, __u32 to, __u64 gpa, __u64 last)
{
	__u32 prot = PVIOMMU_PROT_READ | PVIOMMU_PROT_WRITE;
	struct request req;

	begin(&req, family, PVIOMMU_ADMIN_CMD_GRANT_NEW, PVIOMMU_ADMIN_GENL_VERSION);
	add(&req, PVIOMMU_ADMIN_A_VM, &from, sizeof(from));
	add(&req, PVIOMMU_ADMIN_A_TO, &to, sizeof(to));
	add(&req, PVIOMMU_ADMIN_A_GPA, &gpa, sizeof(gpa));
	add(&req, PVIOMMU_ADMIN_A_LAST, &last, sizeof(last));
	add(&req, PVIOMMU_ADMIN_A_FLAGS, &prot, sizeof(prot));
	return ask(fd, &req);
}

int pv_admin_grant_del(int fd, __u32 grant)
{
	struct request req;

	begin(&req, family, PVIOMMU_ADMIN_CMD_GRANT_DEL, PVIOMMU_ADMIN_GENL_VERSION);
	add(&req, PVIOMMU_ADMIN_A_GRANT, &grant, sizeof(grant));
	return ask(fd, &req);
}

int pv_admin_answer(int fd)
{
	char answer[4096];
	struct nlmsghdr head;
	ssize_t len;
	int error = 1;

	/* All answers have arrived; one that was lost is reported as an error, once */
	while ((len = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0 || errno == ENOBUFS) {
		if (len < (ssize_t)sizeof(head))
			continue;
		memcpy(&head, answer, sizeof(head));
		if (head.nlmsg_type == NLMSG_ERROR)
			memcpy(&error, answer + NLMSG_HDRLEN, sizeof(error));
	}
	return error;
}

static __u64 digest(__u64 sum, const unsigned char *at, size_t len)
{
	for (; len; at++, len--)
		sum = (sum ^ *at) * 0x100000001b3ULL;
	return sum;
}

/* Take the messages of a buffer. 1: more is to come; 0 at the end; or a negative errno */
static int take_messages(const char *at, size_t len, struct pv_admin_list *list)
{
	struct nlmsghdr head;
	int error;

	for (; len >= sizeof(head); at += NLMSG_ALIGN(head.nlmsg_len)) {
		memcpy(&head, at, sizeof(head));
		if (head.nlmsg_len < NLMSG_HDRLEN + sizeof(error) || head.nlmsg_len > len)
			return -EPROTO;
		len -= NLMSG_ALIGN(head.nlmsg_len) < len ? NLMSG_ALIGN(head.nlmsg_len) : len;
		memcpy(&error, at + NLMSG_HDRLEN, sizeof(error));
		if (head.nlmsg_flags & NLM_F_DUMP_INTR)
			return -EINTR;
		if (head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR)
			return error;
		list->objects++;
		list->digest = digest(list->digest, (const unsigned char *)at + NLMSG_HDRLEN,
				      head.nlmsg_len - NLMSG_HDRLEN);
	}
	return 1;
}

int pv_admin_dump(int fd, __u8 cmd, __u32 vm, struct pv_admin_list *list)
{
	static char answer[32768];
	struct request req;
	ssize_t len;
	int ret;

	*list = (struct pv_admin_list) {};
	begin(&req, family, cmd, PVIOMMU_ADMIN_GENL_VERSION);
	req.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (vm)
		add(&req, PVIOMMU_ADMIN_A_VM, &vm, sizeof(vm));
	ret = ask(fd, &req);
	if (ret)
		return ret;
	/* The kernel has put the first messages, and puts the next ones when these are taken */
	do {
		len = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
		ret = len < 0 ? -errno : take_messages(answer, len, list);
	} while (ret == 1);
	return ret;
}
