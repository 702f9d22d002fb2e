/* What the user sees while it runs and at its end: on a terminal a picture that is drawn anew four times a second, in a pipe
 * one line a second; then the tables and the promises. NO_COLOR is honoured, and so are narrow terminals and a locale that
 * is not UTF-8. */
#ifndef SHOP_SCREEN_H
#define SHOP_SCREEN_H

#include "run.h"

void screen_open(bool plain);
/* A line by itself, before the stages. */
void screen_note(const struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void screen_update(const struct run *run);
/* Leaves the terminal as it was found. Also called when the run is broken off. */
void screen_end(const struct run *run);

/* --- table.c */
struct paint {
	const char *plain, *bold, *dim, *red, *green, *yellow, *cyan, *magenta;
	bool utf8;
};
extern struct paint paint;
void table_print(const struct run *run);
void promises_print(const struct run *run);

#endif
