/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions to others who have the same shared folder: the host level, or another guest. A
 * question is a line in the file WHO.ask, its answer a line in WHO.answer.
 */
#ifndef GUEST_ASK_H
#define GUEST_ASK_H

#include <stdbool.h>
#include <stddef.h>

/* The path of a file in the shared folder */
void share_path(char *path, size_t size, const char *name);

/* The answer, which is valid until the next question; NULL if none comes within two minutes */
const char *share_ask(const char *who, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The other side: wait for a question, which is returned without its end of line */
void share_hear(const char *me, char *question, size_t size);
bool share_answer(const char *me, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Have host_error.sh raise a PCIe error at root port number @port; each has a @name */
bool share_raise_error(int port, const char *name);

#endif /* GUEST_ASK_H */
