// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/genetlink.h>

#include "pvctl.h"

static struct mnl_socket *sock;
static uint16_t family;
static char request[MNL_NLMSG_HDRLEN + 4096];

static int take_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **attrs = data;
	int type = mnl_attr_get_type(attr);

	/* Attributes that our header does not know are skipped */
	if (type <= PVIOMMU_ADMIN_A_MAX)
		attrs[type] = attr;
	return MNL_CB_OK;
}

static int take_family(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
		*(uint16_t *)data = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int on_family(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), take_family, data);
}

static int on_message(const struct nlmsghdr *nlh, void *data)
{
	struct nlattr *attrs[PVIOMMU_ADMIN_A_MAX + 1] = {};
	nl_message_fn fn = *(nl_message_fn *)data;

	mnl_attr_parse(nlh, sizeof(struct genlmsghdr), take_attr, attrs);
	if (fn)
		fn(attrs, nlh);
	return MNL_CB_OK;
}

static struct nlmsghdr *make_request(uint16_t type, uint8_t cmd, uint8_t version, int flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = time(NULL);
	genl->cmd = cmd;
	genl->version = version;
	return nlh;
}

static int talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	unsigned int port = mnl_socket_get_portid(sock);
	char buf[32768];
	ssize_t len;
	int ret = MNL_CB_OK;

	if (mnl_socket_sendto(sock, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (ret > MNL_CB_STOP) {
		len = mnl_socket_recvfrom(sock, buf, sizeof(buf));
		if (len < 0)
			return -errno;
		ret = mnl_cb_run(buf, len, nlh->nlmsg_seq, port, cb, data);
	}
	return ret == MNL_CB_ERROR ? -errno : 0;
}

static void connect_kernel(void)
{
	struct nlmsghdr *nlh;

	if (family)
		return;
	sock = mnl_socket_open(NETLINK_GENERIC);
	if (!sock || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0)
		die(PVCTL_FAILED, "no netlink: %s", strerror(errno));
	nlh = make_request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, PVIOMMU_ADMIN_GENL_NAME);
	if (talk(nlh, on_family, &family) || !family)
		die(PVCTL_FAILED, "the kernel has no module pviommu_host");
}

struct nlmsghdr *nl_request(uint8_t cmd, bool dump)
{
	connect_kernel();
	return make_request(family, cmd, PVIOMMU_ADMIN_GENL_VERSION,
			    dump ? NLM_F_DUMP : NLM_F_ACK);
}

int nl_talk(struct nlmsghdr *nlh, nl_message_fn fn)
{
	return talk(nlh, on_message, &fn);
}

void nl_dump(uint8_t cmd, int64_t vm, nl_message_fn fn)
{
	struct nlmsghdr *nlh = nl_request(cmd, true);
	int ret;

	if (vm != NL_ALL)
		mnl_attr_put_u32(nlh, PVIOMMU_ADMIN_A_VM, vm);
	ret = nl_talk(nlh, fn);
	if (ret)
		die(PVCTL_FAILED, "%s", strerror(-ret));
}

uint32_t nl_u32(struct nlattr **attrs, int type)
{
	return attrs[type] ? mnl_attr_get_u32(attrs[type]) : 0;
}

uint64_t nl_u64(struct nlattr **attrs, int type)
{
	return attrs[type] ? mnl_attr_get_u64(attrs[type]) : 0;
}

const char *nl_str(struct nlattr **attrs, int type)
{
	return attrs[type] ? mnl_attr_get_str(attrs[type]) : "";
}

void nl_nested(const struct nlattr *nest, struct nlattr **attrs)
{
	memset(attrs, 0, (PVIOMMU_ADMIN_A_MAX + 1) * sizeof(*attrs));
	mnl_attr_parse_nested(nest, take_attr, attrs);
}
