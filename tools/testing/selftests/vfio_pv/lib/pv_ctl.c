// SPDX-License-Identifier: GPL-2.0-only
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pv_ctl.h"

static const char *tool(void)
{
	static char path[4096];
	ssize_t len;

	if (*path)
		return path;
	len = readlink("/proc/self/exe", path, sizeof(path) - 32);
	if (len < 0)
		return "pvctl";
	path[len] = 0;
	dirname(path);
	strcat(path, "/../pvctl/pvctl");
	if (access(path, X_OK))
		strcpy(path, "pvctl");
	return path;
}

int pv_ctl(char *out, size_t size, const char *format, ...)
{
	char command[8192];
	size_t len, n;
	va_list args;
	FILE *pipe;
	int status;

	len = snprintf(command, sizeof(command), "'%s' ", tool());
	va_start(args, format);
	vsnprintf(command + len, sizeof(command) - len, format, args);
	va_end(args);
	/* Nothing that is still in our buffer is printed twice */
	fflush(stdout);
	if (!out)
		strcat(command, " >/dev/null");
	pipe = popen(command, "r");
	if (!pipe)
		return -1;
	if (out) {
		n = fread(out, 1, size - 1, pipe);
		out[n] = 0;
	}
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool pv_ctl_json(const char *command, const char *format, ...)
{
	char expression[4096], seen[4096];
	va_list args;
	int ret;

	va_start(args, format);
	vsnprintf(expression, sizeof(expression), format, args);
	va_end(args);
	setenv("PV_JSON", expression, 1);
	/* If pvctl fails there is nothing to parse */
	ret = pv_ctl(seen, sizeof(seen),
		     "-o json %s 2>&1 | python3 -I -S -c 'import json, os, sys; "
		     "t = sys.stdin.read(); print(t[:2000]); a = json.loads(t); "
		     "sys.exit(not eval(os.environ[\"PV_JSON\"]))' 2>&1", command);
	if (ret)
		printf("# not so: %s\n# of: %s\n", expression, seen);
	return !ret;
}

bool pv_ctl_found(void)
{
	return !pv_ctl(NULL, 0, "-h");
}

long long pv_ctl_value(const char *text, const char *from, const char *name)
{
	const char *at = from ? strstr(text, from) : text;
	size_t len = strlen(name);

	for (; at && (at = strstr(at, name)); at += len)
		if (at[len] == ' ')
			return strtoll(at + len + 1, NULL, 0);
	return -1;
}

__u32 pv_ctl_vm_of(int pid)
{
	char text[16384];
	__u32 found = 0, vm;
	int its_pid;
	char *line;

	if (pv_ctl(text, sizeof(text), "vm"))
		return 0;
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (sscanf(line, "vm %u pid %d", &vm, &its_pid) == 2 && its_pid == pid &&
		    vm > found)
			found = vm;
	return found;
}
