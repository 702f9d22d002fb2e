/* Writing JSON: see json.h. */
#include "json.h"

#include <string.h>

/* Length of the UTF-8 sequence at `p`, 0 when it is none. The table is that of RFC 3629, section 4. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (left < n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool utf8_valid(const void *bytes, size_t size)
{
	const unsigned char *p = bytes;
	for (size_t i = 0, n; i < size; i += n) {
		n = utf8_length(p + i, size - i);
		if (n == 0)
			return false;
	}
	return true;
}

static void add_escaped(text *out, unsigned char c)
{
	static const char short_from[] = "\"\\\b\f\n\r\t", short_to[] = "\"\\bfnrt";
	const char *at = c != 0 ? strchr(short_from, c) : NULL;
	if (at != NULL)
		text_format(out, "\\%c", short_to[at - short_from]);
	else
		text_format(out, "\\u%04x", c);
}

void json_string(text *out, const void *bytes, size_t size)
{
	const unsigned char *p = bytes;
	size_t plain = 0;
	text_put(out, "\"");
	for (size_t i = 0; i < size; i++) {
		if (p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f)
			continue;
		text_add(out, p + plain, i - plain);
		add_escaped(out, p[i]);
		plain = i + 1;
	}
	text_add(out, p + plain, size - plain);
	text_put(out, "\"");
}

void json_base64(text *out, const void *bytes, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = bytes;
	text_put(out, "\"");
	for (size_t i = 0; i < size; i += 3) {
		uint32_t three = (uint32_t)p[i] << 16;
		if (i + 1 < size)
			three |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < size)
			three |= p[i + 2];
		char four[4] = { digits[three >> 18], digits[three >> 12 & 63], digits[three >> 6 & 63], digits[three & 63] };
		if (i + 1 >= size)
			four[2] = '=';
		if (i + 2 >= size)
			four[3] = '=';
		text_add(out, four, 4);
	}
	text_put(out, "\"");
}

void json_member(text *out, const char *name, const void *bytes, size_t size, bool base64)
{
	text_format(out, ",\"%s\":", name);
	if (bytes == NULL) {
		text_put(out, "null");
	} else if (!base64 && utf8_valid(bytes, size)) {
		json_string(out, bytes, size);
	} else {
		json_base64(out, bytes, size);
		text_format(out, ",\"%s_encoding\":\"base64\"", name);
	}
}
