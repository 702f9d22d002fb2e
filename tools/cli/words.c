/* Splitting in place: an unescaped string is never longer than what it was written as, so each word is moved down over
 * the line that it came from. See words.h. */
#include "words.h"

#include <string.h>

typedef struct cursor {
	const unsigned char *at, *end;
	char *out; /* never past `at` */
} cursor;

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* `digits` hex digits at the cursor, or -1 and nothing taken. */
static long hex(cursor *c, int digits)
{
	long value = 0;
	if (c->end - c->at < digits)
		return -1;
	for (int i = 0; i < digits; i++) {
		int digit = hex_digit(c->at[i]);
		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	c->at += digits;
	return value;
}

static void put_utf8(cursor *c, unsigned long code)
{
	if (code < 0x80) {
		*c->out++ = (char)code;
	} else if (code < 0x800) {
		*c->out++ = (char)(0xc0 | code >> 6);
		*c->out++ = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		*c->out++ = (char)(0xe0 | code >> 12);
		*c->out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*c->out++ = (char)(0x80 | (code & 0x3f));
	} else {
		*c->out++ = (char)(0xf0 | code >> 18);
		*c->out++ = (char)(0x80 | (code >> 12 & 0x3f));
		*c->out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*c->out++ = (char)(0x80 | (code & 0x3f));
	}
}

/* Behind "\u". */
static const char *read_unicode(cursor *c)
{
	long code = hex(c, 4);
	if (code < 0)
		return "\\u wants four hex digits";
	if (code >= 0xd800 && code <= 0xdbff) {
		if (c->end - c->at < 6 || c->at[0] != '\\' || c->at[1] != 'u')
			return "\\u of a high surrogate wants a low one behind it";
		c->at += 2;
		long low = hex(c, 4);
		if (low < 0xdc00 || low > 0xdfff)
			return "\\u of a high surrogate wants a low one behind it";
		put_utf8(c, 0x10000 + (unsigned long)((code - 0xd800) << 10) + (unsigned long)(low - 0xdc00));
		return NULL;
	}
	if (code >= 0xdc00 && code <= 0xdfff)
		return "\\u of a low surrogate without a high one";
	put_utf8(c, (unsigned long)code);
	return NULL;
}

/* Behind the backslash. */
static const char *read_escape(cursor *c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (c->at == c->end)
		return "the quoted string does not end";
	unsigned char kind = *c->at++;
	if (kind == 'u')
		return read_unicode(c);
	if (kind == 'x') {
		long byte = hex(c, 2);
		if (byte < 0)
			return "\\x wants two hex digits";
		*c->out++ = (char)byte;
		return NULL;
	}
	const char *at = kind != 0 ? strchr(from, kind) : NULL;
	if (at == NULL)
		return "unknown escape: it is one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uNNNN \\xNN";
	*c->out++ = to[at - from];
	return NULL;
}

/* Behind the opening quote; behind the closing one afterwards. */
static const char *read_quoted(cursor *c)
{
	while (c->at < c->end && *c->at != '"') {
		if (*c->at != '\\') {
			*c->out++ = (char)*c->at++;
			continue;
		}
		c->at++;
		const char *wrong = read_escape(c);
		if (wrong != NULL)
			return wrong;
	}
	if (c->at == c->end)
		return "the quoted string does not end";
	c->at++;
	return NULL;
}

static bool is_blank(unsigned char byte)
{
	return byte == ' ' || byte == '\t';
}

/* name= : letters and underscores so far, so that what follows may be quoted. */
static bool is_option(const char *start, const char *end)
{
	if (start == end)
		return false;
	for (; start < end; start++)
		if (!((*start >= 'a' && *start <= 'z') || *start == '_'))
			return false;
	return true;
}

static const char *read_word(cursor *c)
{
	char *start = c->out;
	bool may_quote = true; /* at the start, or behind name= */
	while (c->at < c->end && !is_blank(*c->at)) {
		if (*c->at == '"' && may_quote) {
			c->at++;
			const char *wrong = read_quoted(c);
			if (wrong != NULL)
				return wrong;
			if (c->at < c->end && !is_blank(*c->at))
				return "a blank must follow a quoted string";
			return NULL;
		}
		may_quote = *c->at == '=' && is_option(start, c->out);
		*c->out++ = (char)*c->at++;
	}
	return NULL;
}

const char *words_split(char *line, size_t size, word words[WORDS_MAX], size_t *count)
{
	cursor c = { (const unsigned char *)line, (const unsigned char *)line + size, line };
	*count = 0;
	for (;;) {
		while (c.at < c.end && is_blank(*c.at))
			c.at++;
		if (c.at == c.end)
			return NULL;
		if (*count == WORDS_MAX)
			return "too many words";
		char *start = c.out;
		const char *wrong = read_word(&c);
		if (wrong != NULL)
			return wrong;
		words[(*count)++] = (word){ start, (size_t)(c.out - start) };
		/* The byte behind the word has been read: it was a blank, a quote or the end. */
		if (c.at < c.end)
			c.at++;
		*c.out++ = '\0';
	}
}

word word_of(const char *string)
{
	return (word){ string, strlen(string) };
}

bool word_is(word w, const char *string)
{
	return w.size == strlen(string) && memcmp(w.bytes, string, w.size) == 0;
}
