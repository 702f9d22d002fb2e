/* Is it JSON? A reader of RFC 8259 that keeps nothing; what it takes any other reader takes. */
#include <string.h>
#include "support/process.h"

#define DEPTH_MAX 64

typedef struct reader {
	const char *at, *end;
} reader;

static bool value(reader *r, int depth);

static void blanks(reader *r)
{
	while (r->at < r->end && memchr(" \t\n\r", *r->at, 4) != NULL)
		r->at++;
}

static bool literal(reader *r, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

static bool is_digit(const reader *r)
{
	return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

static bool digits(reader *r)
{
	if (!is_digit(r))
		return false;
	while (is_digit(r))
		r->at++;
	return true;
}

static bool number(reader *r)
{
	(void)literal(r, "-");
	if (!literal(r, "0") && !digits(r))
		return false;
	if (literal(r, ".") && !digits(r))
		return false;
	if (literal(r, "e") || literal(r, "E")) {
		if (!literal(r, "+"))
			(void)literal(r, "-");
		return digits(r);
	}
	return true;
}

static bool hex4(reader *r)
{
	for (int i = 0; i < 4; i++, r->at++)
		if (r->at == r->end || memchr("0123456789abcdefABCDEF", *r->at, 22) == NULL)
			return false;
	return true;
}

static bool string(reader *r)
{
	if (!literal(r, "\""))
		return false;
	while (r->at < r->end && *r->at != '"') {
		if ((unsigned char)*r->at < 0x20)
			return false;
		if (*r->at++ != '\\')
			continue;
		if (r->at == r->end || memchr("\"\\/bfnrtu", *r->at, 9) == NULL)
			return false;
		if (*r->at++ == 'u' && !hex4(r))
			return false;
	}
	return literal(r, "\"");
}

static bool member(reader *r, int depth)
{
	blanks(r);
	if (!string(r))
		return false;
	blanks(r);
	return literal(r, ":") && value(r, depth);
}

static bool items(reader *r, const char *close, bool (*item)(reader *r, int depth), int depth)
{
	if (depth > DEPTH_MAX)
		return false;
	blanks(r);
	if (literal(r, close))
		return true;
	do
		if (!item(r, depth))
			return false;
	while (literal(r, ","));
	return literal(r, close);
}

static bool value(reader *r, int depth)
{
	bool good;
	blanks(r);
	if (literal(r, "{"))
		good = items(r, "}", member, depth + 1);
	else if (literal(r, "["))
		good = items(r, "]", value, depth + 1);
	else if (r->at < r->end && *r->at == '"')
		good = string(r);
	else
		good = literal(r, "true") || literal(r, "false") || literal(r, "null") || number(r);
	blanks(r);
	return good;
}

bool json_is_valid(const char *text, size_t size)
{
	reader r = { text, text + size };
	return value(&r, 0) && r.at == r.end;
}
