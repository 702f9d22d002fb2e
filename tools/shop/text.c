/* See text.h. */
#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BUFFERS 16

static char buffer[BUFFERS][32];
static unsigned turn;
static bool ascii;

static char *next(void)
{
	return buffer[turn++ % BUFFERS];
}

void text_ascii_only(void)
{
	ascii = true;
}

const char *text_count(double count)
{
	char digits[24], *out = next(), *to = out;
	int size = snprintf(digits, sizeof(digits), "%.0f", count < 1e15 ? count : 1e15);

	for (int i = 0; i < size; i++) {
		*to++ = digits[i];
		if ((size - 1 - i) % 3 == 0 && i < size - 1 && digits[i] != '-')
			*to++ = ',';
	}
	*to = '\0';
	return out;
}

const char *text_time(uint64_t ns)
{
	static const struct {
		double unit;
		const char *name, *ascii_name;
	} scale[] = { { 1e3, "µs", "us" }, { 1e6, "ms", "ms" }, { 1e9, "s", "s" } };
	char *out = next();
	int i = ns < 1000000 ? 0 : ns < 1000000000 ? 1 : 2;
	double value = (double)ns / scale[i].unit;

	if (ns == 0)
		snprintf(out, sizeof(buffer[0]), "0");
	else
		snprintf(out, sizeof(buffer[0]), value < 10 ? "%.1f %s" : "%.0f %s", value < 0.1 ? 0.1 : value,
		         ascii ? scale[i].ascii_name : scale[i].name);
	return out;
}

const char *text_percent(double part, double all)
{
	char *out = next();

	snprintf(out, sizeof(buffer[0]), "%.1f %%", all > 0 ? 100 * part / all : 0);
	return out;
}

const char *text_bytes(double bytes)
{
	char *out = next();

	if (bytes < 1048576)
		snprintf(out, sizeof(buffer[0]), "%.1f KiB", bytes / 1024);
	else
		snprintf(out, sizeof(buffer[0]), "%.1f MiB", bytes / 1048576);
	return out;
}

size_t text_columns(const char *text)
{
	size_t columns = 0;

	for (; *text != '\0'; text++)
		columns += ((unsigned char)*text & 0xc0) != 0x80;
	return columns;
}
