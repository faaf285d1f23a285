/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pvctl: the paravirtual IOMMU as the administrator of a host sees it.
 *
 * A file for each job: netlink.c talks to the kernel, output.c prints, the
 * others are commands.
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

/* Say what is wrong and exit */
void die(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* A number of the command line, up to @max; dies of anything else */
uint64_t to_number(const char *what, const char *text, uint64_t max);

/*
 * Words "NAME VALUE" of a command line. Each name may be there once; those that are
 * left over are a mistake.
 */
struct words {
	int nr;
	char **word;
};

/* The value of @name, or NULL; it is taken out */
const char *word_take(struct words *words, const char *name);
/* The same, of a word that must be there */
const char *word_need(struct words *words, const char *name);
void words_end(const struct words *words);

/* ---- netlink.c ------------------------------------------------------ */

typedef void (*nl_message_fn)(struct nlattr **attrs, const struct nlmsghdr *nlh);

/* A request for @cmd that attributes can be put into */
struct nlmsghdr *nl_request(uint8_t cmd, bool dump);
/* Send it; @fn is called for each message of the answer. 0 or a negative errno */
int nl_talk(struct nlmsghdr *nlh, nl_message_fn fn);
/* All objects of a dump, or those of VM @vm unless that is 0; dies of errors */
void nl_dump(uint8_t cmd, uint32_t vm, nl_message_fn fn);

uint32_t nl_u32(struct nlattr **attrs, int type);
uint64_t nl_u64(struct nlattr **attrs, int type);
const char *nl_str(struct nlattr **attrs, int type);
/* The attributes within one */
void nl_nested(const struct nlattr *nest, struct nlattr **attrs);

/* ---- output.c ------------------------------------------------------- */

/*
 * Text for people or, after out_json(), an array of objects. It is printed by out_end(),
 * all or, if the command dies before that, nothing.
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
/* An object in the object: in text, lines of their own */
void out_map(const char *name);
void out_map_end(void);

/* ---- commands: their words, after the name; between out_begin() and out_end() -- */

void cmd_vm(struct words *words);
void cmd_endpoint(struct words *words);
void cmd_domain(struct words *words);
void cmd_type(struct words *words);
void cmd_grant(struct words *words);

#endif /* PVCTL_H */
