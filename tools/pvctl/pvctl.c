// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pvctl.h"

struct command {
	const char *name;
	const char *usage;
	void (*fn)(struct words *words);	/* NULL: see the command above */
};

static const struct command commands[] = {
	{ "vm", "[vm ID]", cmd_vm },
	{ "endpoint", "[vm ID]", cmd_endpoint },
	{ "domain", "[vm ID]", cmd_domain },
	{ "type", "[vm ID]", cmd_type },
	{ "grant", "[vm ID]", cmd_grant },
	{ "grant add", "from ID to ID gpa ADDRESS size BYTES access r|w|rw", NULL },
	{ "grant del", "grant ID", NULL },
};

void die(int code, const char *format, ...)
{
	va_list args;

	fputs("pvctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(code);
}

uint64_t to_number(const char *what, const char *text, uint64_t max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || text[strspn(text, " \t")] == '-' || value > max)
		die(PVCTL_USAGE, "%s: \"%s\" is no number up to %llu", what, text,
		    (unsigned long long)max);
	return value;
}

const char *word_take(struct words *words, const char *name)
{
	int i;

	for (i = 0; i + 1 < words->nr; i += 2) {
		char **at = words->word + i;
		const char *value = at[1];

		if (strcmp(at[0], name))
			continue;
		words->nr -= 2;
		memmove(at, at + 2, (words->nr - i) * sizeof(*at));
		return value;
	}
	return NULL;
}

const char *word_need(struct words *words, const char *name)
{
	const char *value = word_take(words, name);

	if (!value)
		die(PVCTL_USAGE, "\"%s VALUE\" is missing", name);
	return value;
}

void words_end(const struct words *words)
{
	if (words->nr)
		die(PVCTL_USAGE, "\"%s\" is not understood here", words->word[0]);
}

static void print_usage(FILE *to)
{
	size_t i;

	fputs("usage: pvctl [-o json] COMMAND\n", to);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %s %s\n", commands[i].name, commands[i].usage);
}

/* Parse options; returns how many arguments they are */
static int options(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			print_usage(stdout);
			exit(0);
		}
		if (strcmp(argv[i], "-o") || i + 1 == argc || strcmp(argv[i + 1], "json"))
			die(PVCTL_USAGE, "unknown option \"%s\": there is -o json", argv[i]);
		out_json();
		i++;
	}
	return i;
}

int main(int argc, char **argv)
{
	int first = options(argc, argv);
	struct words words = { argc - first - 1, argv + first + 1 };
	size_t i;

	if (first >= argc) {
		print_usage(stderr);
		return PVCTL_USAGE;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!commands[i].fn || strcmp(argv[first], commands[i].name))
			continue;
		out_begin();
		commands[i].fn(&words);
		out_end();
		return 0;
	}
	die(PVCTL_USAGE, "unknown command \"%s\": pvctl -h lists them", argv[first]);
}
