/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Paravirtual IOMMU: interface for the administrator of a host; pvctl uses it.
 *
 * It is a generic netlink family in the initial network namespace. Every command
 * needs CAP_SYS_ADMIN there (EPERM). Numbers are in the byte order of the machine.
 *
 * The *_GET commands are dumps: they answer with one message for each object, with
 * the attributes listed below. With PVIOMMU_ADMIN_A_VM in the request only objects
 * of that VM are listed. A dump is not a snapshot: each object is shown as it is
 * when its turn comes. Ignore unknown attributes of an answer: more may be added.
 */
#ifndef _UAPI_LINUX_PV_IOMMU_ADMIN_H
#define _UAPI_LINUX_PV_IOMMU_ADMIN_H

#define PVIOMMU_ADMIN_GENL_NAME		"pviommu"
#define PVIOMMU_ADMIN_GENL_VERSION	1

/**
 * enum pviommu_admin_cmd - commands
 * @PVIOMMU_ADMIN_CMD_UNSPEC: never used
 * @PVIOMMU_ADMIN_CMD_VM_GET: list VMs: VM, PID, NAME of the VMM, one COUNTER for
 *	each counter
 * @PVIOMMU_ADMIN_CMD_ENDPOINT_GET: list opened devices: VM, ENDPOINT, NAME on the
 *	host's bus, GROUP, DOMAIN, PASIDS, FLAGS (PVIOMMU_PROBE_*), and ISOLATED if the
 *	device was cut off after an error
 * @PVIOMMU_ADMIN_CMD_DOMAIN_GET: list domains: VM, DOMAIN, NAME of its kind, GROUPS,
 *	PASIDS
 * @PVIOMMU_ADMIN_CMD_GRANT_GET: list grants: GRANT, VM that the memory belongs to, TO,
 *	GPA, LAST, FLAGS (PVIOMMU_PROT_READ, PVIOMMU_PROT_WRITE), VALUE: number of 4 KiB
 *	pages that are mapped by the grant
 * @PVIOMMU_ADMIN_CMD_GRANT_NEW: let one VM map memory of another: VM, TO, GPA, LAST,
 *	FLAGS; answers with GRANT. ENOENT no such VM; EINVAL a bad value; ENOSPC the VM
 *	that the grant is given to has too many. Not a dump
 * @PVIOMMU_ADMIN_CMD_TYPE_GET: list memory types: VM, TYPE, one COUNTER for each
 *	number; for PVIOMMU_MEM_IOREQ_SERVER also PID and NAME of the server. A VM has an
 *	object for PVIOMMU_MEM_IOREQ_SERVER if the type is claimed or a claim was taken
 *	from a server, and one for PVIOMMU_MEM_TABLE if tables are watched
 * @PVIOMMU_ADMIN_CMD_GRANT_DEL: take GRANT back. When the answer arrives, everything
 *	that was mapped by it is unmapped, flushed and unpinned. ENOENT no such grant.
 *	Not a dump
 */
enum pviommu_admin_cmd {
	PVIOMMU_ADMIN_CMD_UNSPEC,
	PVIOMMU_ADMIN_CMD_VM_GET,
	PVIOMMU_ADMIN_CMD_ENDPOINT_GET,
	PVIOMMU_ADMIN_CMD_DOMAIN_GET,
	PVIOMMU_ADMIN_CMD_GRANT_GET,
	PVIOMMU_ADMIN_CMD_GRANT_NEW,
	PVIOMMU_ADMIN_CMD_GRANT_DEL,
	PVIOMMU_ADMIN_CMD_TYPE_GET,
};

/**
 * enum pviommu_admin_attr - attributes
 * @PVIOMMU_ADMIN_A_UNSPEC: never used
 * @PVIOMMU_ADMIN_A_PAD: padding, to align numbers
 * @PVIOMMU_ADMIN_A_VM: u32, number of a VM; not reused soon
 * @PVIOMMU_ADMIN_A_PID: u32, process id of the VMM or server; 0 when it is gone
 * @PVIOMMU_ADMIN_A_NAME: string
 * @PVIOMMU_ADMIN_A_COUNTER: nested, NAME and VALUE; one for each counter
 * @PVIOMMU_ADMIN_A_VALUE: u64
 * @PVIOMMU_ADMIN_A_ENDPOINT: u32, endpoint id
 * @PVIOMMU_ADMIN_A_GROUP: u32, number of the host's isolation group
 * @PVIOMMU_ADMIN_A_DOMAIN: u32, domain id of the VM, or PVIOMMU_DOMAIN_*
 * @PVIOMMU_ADMIN_A_FLAGS: u32
 * @PVIOMMU_ADMIN_A_GROUPS: u32, number of isolation groups that are attached
 * @PVIOMMU_ADMIN_A_GRANT: u32, number of a grant; not reused soon
 * @PVIOMMU_ADMIN_A_TO: u32, number of the VM that a grant is given to
 * @PVIOMMU_ADMIN_A_GPA: u64, first guest physical address, page aligned
 * @PVIOMMU_ADMIN_A_LAST: u64, last guest physical address, inclusive
 * @PVIOMMU_ADMIN_A_TYPE: u32, PVIOMMU_MEM_*
 * @PVIOMMU_ADMIN_A_ISOLATED: flag; the endpoint is in PVIOMMU_DOMAIN_BLOCKED, and its
 *	PASIDs are blocked, until the guest recovers it or the VMM resets it
 * @PVIOMMU_ADMIN_A_PASIDS: u32; for an endpoint, the number of PASIDs of its isolation
 *	group at which domains are attached; for a domain, the number of PASIDs, of all
 *	groups, at which it is attached
 */
enum pviommu_admin_attr {
	PVIOMMU_ADMIN_A_UNSPEC,
	PVIOMMU_ADMIN_A_PAD,
	PVIOMMU_ADMIN_A_VM,
	PVIOMMU_ADMIN_A_PID,
	PVIOMMU_ADMIN_A_NAME,
	PVIOMMU_ADMIN_A_COUNTER,
	PVIOMMU_ADMIN_A_VALUE,
	PVIOMMU_ADMIN_A_ENDPOINT,
	PVIOMMU_ADMIN_A_GROUP,
	PVIOMMU_ADMIN_A_DOMAIN,
	PVIOMMU_ADMIN_A_FLAGS,
	PVIOMMU_ADMIN_A_GROUPS,
	PVIOMMU_ADMIN_A_GRANT,
	PVIOMMU_ADMIN_A_TO,
	PVIOMMU_ADMIN_A_GPA,
	PVIOMMU_ADMIN_A_LAST,
	PVIOMMU_ADMIN_A_TYPE,
	PVIOMMU_ADMIN_A_ISOLATED,
	PVIOMMU_ADMIN_A_PASIDS,
	/* private: */
	__PVIOMMU_ADMIN_A_MAX
};

#define PVIOMMU_ADMIN_A_MAX	(__PVIOMMU_ADMIN_A_MAX - 1)

#endif /* _UAPI_LINUX_PV_IOMMU_ADMIN_H */
