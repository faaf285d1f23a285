// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pvctl.h"

/* Output is kept until it is complete: half an array is of no use */
static FILE *out;
static char *printed;
static size_t length;

static bool json;
static bool first = true;	/* nothing was printed before in this list */
static int depth;

void out_json(void)
{
	json = true;
}

/* Print the separator between two items */
static void separate(void)
{
	if (!first)
		fputs(json ? "," : depth > 1 ? "\n" : " ", out);
	if (!json && depth > 1)
		fputs("    ", out);
	first = false;
}

static void put_string(const char *text)
{
	const unsigned char *c;

	fputc('"', out);
	for (c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < 0x20 || *c >= 0x7f)
			fprintf(out, "\\u%04x", *c);
		else
			fputc(*c, out);
	}
	fputc('"', out);
}

static void put_name(const char *name)
{
	separate();
	if (json) {
		put_string(name);
		fputc(':', out);
	} else {
		fprintf(out, "%s ", name);
	}
}

void out_begin(void)
{
	out = open_memstream(&printed, &length);
	if (!out)
		die(PVCTL_FAILED, "%s", strerror(errno));
	if (json)
		fputc('[', out);
}

void out_end(void)
{
	if (json)
		fputs("]\n", out);
	/* If there was no memory for some of it, only the stream knows */
	if (ferror(out) | fclose(out))
		die(PVCTL_FAILED, "%s", strerror(errno));
	if (fwrite(printed, 1, length, stdout) != length || fflush(stdout))
		die(PVCTL_FAILED, "standard output: %s", strerror(errno));
	free(printed);
}

void out_object(void)
{
	if (json) {
		if (!first)
			fputc(',', out);
		fputc('{', out);
	}
	first = true;
	depth = 1;
}

void out_object_end(void)
{
	fputc(json ? '}' : '\n', out);
	first = false;
	depth = 0;
}

void out_u64(const char *name, uint64_t value)
{
	put_name(name);
	fprintf(out, "%llu", (unsigned long long)value);
}

void out_hex(const char *name, uint64_t value)
{
	put_name(name);
	/* JSON has only decimal numbers */
	fprintf(out, json ? "%llu" : "0x%llx", (unsigned long long)value);
}

/* Control characters must not reach the administrator's terminal */
void out_str(const char *name, const char *value)
{
	put_name(name);
	if (json) {
		put_string(value);
		return;
	}
	for (; *value; value++)
		fputc(*value > 0x20 && *value < 0x7f ? *value : '_', out);
}

void out_bool(const char *name, bool value)
{
	put_name(name);
	fputs(json ? (value ? "true" : "false") : (value ? "yes" : "no"), out);
}

void out_map(const char *name)
{
	if (json) {
		put_name(name);
		fputc('{', out);
	} else {
		fputc('\n', out);
	}
	first = true;
	depth++;
}

void out_map_end(void)
{
	if (json)
		fputc('}', out);
	first = false;
	depth--;
}
