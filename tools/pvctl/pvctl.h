/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pvctl: the tool of the administrator of a host with paravirtual IOMMUs.
 *
 * netlink.c talks to the kernel, output.c prints, the other files are commands.
 */
#ifndef PVCTL_H
#define PVCTL_H

#include <stdbool.h>
#include <stdint.h>

#include <libmnl/libmnl.h>
#include <linux/pv_iommu_admin.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

/* Exit codes */
#define PVCTL_FAILED	1
#define PVCTL_USAGE	2

/* ---- pvctl.c -------------------------------------------------------- */

/* Print what is wrong and exit */
void die(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* Parse a number of the command line, at most @max; exits if it is anything else */
uint64_t to_number(const char *what, const char *text, uint64_t max);

/*
 * Words "NAME VALUE" of a command line. Each name may be there once; words that no
 * command takes are an error.
 */
struct words {
	int nr;
	char **word;
};

/* Take @name out; returns its value, or NULL */
const char *word_take(struct words *words, const char *name);
/* The same; exits if there is no such word */
const char *word_need(struct words *words, const char *name);
void words_end(const struct words *words);

/* ---- netlink.c ------------------------------------------------------ */

typedef void (*nl_message_fn)(struct nlattr **attrs, const struct nlmsghdr *nlh);

/* Begin a request for @cmd, to which attributes can be added */
struct nlmsghdr *nl_request(uint8_t cmd, bool dump);
/* Send it, and call @fn for each message of the answer. 0 or a negative errno */
int nl_talk(struct nlmsghdr *nlh, nl_message_fn fn);
#define NL_ALL	(-1)	/* of all VMs */
/* Dump the objects of VM @vm, or NL_ALL; exits on errors */
void nl_dump(uint8_t cmd, int64_t vm, nl_message_fn fn);

uint32_t nl_u32(struct nlattr **attrs, int type);
uint64_t nl_u64(struct nlattr **attrs, int type);
const char *nl_str(struct nlattr **attrs, int type);
/* The attributes nested in an attribute */
void nl_nested(const struct nlattr *nest, struct nlattr **attrs);

/* ---- output.c ------------------------------------------------------- */

/*
 * Output is text or, after out_json(), an array of objects. out_end() prints all of it; if the
 * command fails before that, nothing is printed.
 */
void out_json(void);
void out_begin(void);
void out_end(void);
void out_object(void);
void out_object_end(void);
void out_u64(const char *name, uint64_t value);
void out_hex(const char *name, uint64_t value);
void out_str(const char *name, const char *value);
void out_bool(const char *name, bool value);
/* A nested object; in text, lines of their own */
void out_map(const char *name);
void out_map_end(void);

/* ---- commands, called between out_begin() and out_end(); @words follow the name -- */

void cmd_vm(struct words *words);
void cmd_endpoint(struct words *words);
void cmd_domain(struct words *words);
void cmd_type(struct words *words);
void cmd_grant(struct words *words);

#endif /* PVCTL_H */
