// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "pvctl.h"

static bool json;
static bool first = true;	/* nothing stands before it, here in the list */
static int depth;

void out_json(void)
{
	json = true;
}

/* What stands between two things */
static void separate(void)
{
	if (!first)
		fputs(json ? "," : depth > 1 ? "\n" : " ", stdout);
	if (!json && depth > 1)
		fputs("    ", stdout);
	first = false;
}

static void put_string(const char *text)
{
	const unsigned char *c;

	putchar('"');
	for (c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20 || *c >= 0x7f)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

static void put_name(const char *name)
{
	separate();
	if (json) {
		put_string(name);
		putchar(':');
	} else {
		printf("%s ", name);
	}
}

void out_begin(void)
{
	if (json)
		putchar('[');
}

void out_end(void)
{
	if (json)
		puts("]");
}

void out_object(void)
{
	if (json) {
		if (!first)
			putchar(',');
		putchar('{');
	}
	first = true;
	depth = 1;
}

void out_object_end(void)
{
	putchar(json ? '}' : '\n');
	first = false;
	depth = 0;
}

void out_u64(const char *name, uint64_t value)
{
	put_name(name);
	printf("%llu", (unsigned long long)value);
}

void out_hex(const char *name, uint64_t value)
{
	put_name(name);
	/* JSON knows no other numbers than decimal ones */
	printf(json ? "%llu" : "0x%llx", (unsigned long long)value);
}

/* A line in the terminal of an administrator is no place for control characters */
void out_str(const char *name, const char *value)
{
	put_name(name);
	if (json) {
		put_string(value);
		return;
	}
	for (; *value; value++)
		putchar(*value > 0x20 && *value < 0x7f ? *value : '_');
}

void out_bool(const char *name, bool value)
{
	put_name(name);
	fputs(json ? (value ? "true" : "false") : (value ? "yes" : "no"), stdout);
}

void out_map(const char *name)
{
	if (json) {
		put_name(name);
		putchar('{');
	} else {
		putchar('\n');
	}
	first = true;
	depth++;
}

void out_map_end(void)
{
	if (json)
		putchar('}');
	first = false;
	depth--;
}
