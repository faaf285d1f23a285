// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_ask.h"

#define POLL_US		100000
#define POLLS		1200

void share_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", getenv("PVVM_SHARE") ?: "/share", name);
}

static void file_of(char *path, size_t size, const char *who, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%s", who, what);
	share_path(path, size, name);
}

/* The file appears with all of its contents */
static bool put_line(const char *who, const char *what, const char *format, va_list args)
{
	char path[128], new[160];
	FILE *file;

	file_of(path, sizeof(path), who, what);
	snprintf(new, sizeof(new), "%s.new", path);
	file = fopen(new, "w");
	if (!file)
		return false;
	vfprintf(file, format, args);
	fputc('\n', file);
	return !fclose(file) && !rename(new, path);
}

static bool take_line(const char *who, const char *what, char *line, size_t size)
{
	char path[128];
	FILE *file;

	file_of(path, sizeof(path), who, what);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(line, size, file))
		line[0] = 0;
	fclose(file);
	unlink(path);
	line[strcspn(line, "\n")] = 0;
	return true;
}

const char *share_ask(const char *who, const char *format, ...)
{
	static char answer[256];
	unsigned int i;
	va_list args;
	bool put;

	va_start(args, format);
	put = put_line(who, "ask", format, args);
	va_end(args);
	for (i = 0; put && i < POLLS; i++, usleep(POLL_US))
		if (take_line(who, "answer", answer, sizeof(answer)))
			return answer;
	return NULL;
}

void share_hear(const char *me, char *question, size_t size)
{
	while (!take_line(me, "ask", question, size))
		usleep(POLL_US);
}

bool share_answer(const char *me, const char *format, ...)
{
	va_list args;
	bool put;

	va_start(args, format);
	put = put_line(me, "answer", format, args);
	va_end(args);
	return put;
}

bool share_raise_error(int port, const char *name)
{
	char path[128], new[128], file_name[64];
	FILE *file;
	int i;

	share_path(new, sizeof(new), "error-ask.new");
	share_path(path, sizeof(path), "error-ask");
	file = fopen(new, "we");
	if (!file)
		return false;
	fprintf(file, "%s rp%d SDN\n", name, port);
	if (fclose(file) || rename(new, path))
		return false;
	snprintf(file_name, sizeof(file_name), "error-%s", name);
	share_path(path, sizeof(path), file_name);
	for (i = 0; i < POLLS && access(path, F_OK); i++)
		usleep(POLL_US);
	return i < POLLS;
}
