/* Reading the library's own JSON, flat objects of strings: see json.h. */
#include "json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_blanks(const char *p)
{
	while (*p != '\0' && isspace((unsigned char)*p))
		p++;
	return p;
}

/* A character below U+0800 as UTF-8: the library escapes control characters only. */
static void add_code(text *out, unsigned code)
{
	if (code < 0x80) {
		text_add(out, &(char){ (char)code }, 1);
	} else {
		char two[2] = { (char)(0xc0 | (code >> 6 & 0x1f)), (char)(0x80 | (code & 0x3f)) };
		text_add(out, two, 2);
	}
}

/* *at stands on the opening quote; behind the closing one afterwards. False: no string. */
static bool read_string(const char **at, text *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = *at;
	text_clear(out);
	text_put(out, "");
	if (*p++ != '"')
		return false;
	for (; *p != '"'; p++) {
		if (*p == '\0')
			return false;
		if (*p != '\\') {
			text_add(out, p, 1);
			continue;
		}
		p++;
		const char *escape = *p != '\0' ? strchr(from, *p) : NULL;
		if (escape != NULL) {
			text_add(out, to + (escape - from), 1);
		} else if (*p == 'u' && strnlen(p + 1, 4) == 4) {
			char hex[5] = { p[1], p[2], p[3], p[4], 0 };
			add_code(out, (unsigned)strtoul(hex, NULL, 16));
			p += 4;
		} else {
			return false;
		}
	}
	*at = p + 1;
	return true;
}

/* Behind a number, a word, or a nested object or array. */
static const char *skip_value(const char *p)
{
	int depth = 0;
	text scratch = { 0 };
	for (; *p != '\0'; p++) {
		if (depth == 0 && (*p == ',' || *p == '}' || *p == ']'))
			break;
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (*p == '"' && read_string(&p, &scratch))
			p--;
	}
	text_free(&scratch);
	return p;
}

bool json_next_string(const char **at, text *name, text *value)
{
	const char *p = *at;
	for (;;) {
		p = skip_blanks(p);
		if (*p == '{' || *p == ',')
			p = skip_blanks(p + 1);
		if (*p == '}')
			p++;
		if (*p != '"' || !read_string(&p, name))
			break;
		p = skip_blanks(p);
		if (*p != ':')
			break;
		p = skip_blanks(p + 1);
		if (*p == '"') {
			bool good = read_string(&p, value);
			*at = p;
			return good;
		}
		p = skip_value(p);
	}
	*at = p;
	return false;
}

const char *json_find(const char *json, const char *name)
{
	text pattern = { 0 };
	text_format(&pattern, "\"%s\":", name);
	const char *at = strstr(json, pattern.bytes);
	if (at != NULL)
		at = skip_blanks(at + pattern.size);
	text_free(&pattern);
	return at;
}
