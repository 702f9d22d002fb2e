/* Words to numbers; see the header. Written out here and not left to strtoull and strtod, which take blanks, signs, hex,
 * "nan" and the locale's decimal comma, and turn -1 into 18446744073709551615. */
#include "base/words.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The digits at *text, as a number; moves *text past them. */
static bool digits(const char **text, uint64_t *out)
{
	uint64_t n = 0;
	const char *at = *text;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return false;
	if (at == *text)
		return false;
	*text = at;
	*out = n;
	return true;
}

bool near__word_count(const char *text, uint64_t *out)
{
	uint64_t n;
	if (!digits(&text, &n) || *text != '\0')
		return false;
	*out = n;
	return true;
}

typedef struct unit {
	const char *name;
	uint64_t times;
} unit;

static bool with_unit(const char *text, const unit *units, size_t count, int (*compare)(const char *, const char *),
                      uint64_t *out)
{
	uint64_t n;
	if (!digits(&text, &n))
		return false;
	for (size_t i = 0; i < count; i++)
		if (compare(text, units[i].name) == 0)
			return !__builtin_mul_overflow(n, units[i].times, out);
	return false;
}

bool near__word_size(const char *text, uint64_t *out)
{
	static const unit units[] = {
		{ "", 1 },
		{ "B", 1 },
#define POWER(letter, shift) \
	{ letter, UINT64_C(1) << (shift) }, { letter "B", UINT64_C(1) << (shift) }, { letter "iB", UINT64_C(1) << (shift) }
		POWER("K", 10),
		POWER("M", 20),
		POWER("G", 30),
		POWER("T", 40),
#undef POWER
	};
	uint64_t n;
	if (!with_unit(text, units, sizeof(units) / sizeof(*units), strcasecmp, &n))
		return false;
	*out = n;
	return true;
}

bool near__word_millis(const char *text, uint64_t *out)
{
	static const unit units[] = { { "", 1 },       { "ms", 1 },       { "s", 1000 },
		                      { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	uint64_t n;
	if (!with_unit(text, units, sizeof(units) / sizeof(*units), strcmp, &n))
		return false;
	*out = n;
	return true;
}

/* Up to 15 digits in all, so that digits and power of ten are exact and one division rounds correctly. */
bool near__word_real(const char *text, double *out)
{
	double n = 0, scale = 1;
	unsigned count = 0;
	bool point = false, digit = false;
	for (; *text != '\0'; text++) {
		if (*text == '.' && !point && digit) {
			point = true;
			digit = false; /* one must follow */
			continue;
		}
		if (*text < '0' || *text > '9' || ++count > 15)
			return false;
		n = n * 10 + (*text - '0');
		scale *= point ? 10 : 1;
		digit = true;
	}
	if (!digit)
		return false;
	*out = n / scale;
	return true;
}

static bool one_of(const char *text, const char *const *words, size_t count, uint64_t *at)
{
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*at = i;
			return true;
		}
	}
	return false;
}

bool near__word_flag(const char *text, uint64_t *out)
{
	static const char *const words[] = { "0", "1", "no", "yes", "off", "on", "false", "true" };
	uint64_t at;
	if (!one_of(text, words, sizeof(words) / sizeof(*words), &at))
		return false;
	*out = at % 2;
	return true;
}

static const char *const evict_words[] = { "objects", "balanced", "bytes" };

bool near__word_evict(const char *text, uint64_t *out)
{
	return one_of(text, evict_words, 3, out);
}

const char *near__evict_word(uint64_t evict)
{
	return evict < 3 ? evict_words[evict] : "?";
}

void near__word_url_shown(const char *url, char *buf, size_t buf_size)
{
	const char *host = strrchr(url, '@');
	const char *user = strstr(url, "://");
	user = user == NULL || (host != NULL && user > host) ? url : user + 3;
	const char *colon = host == NULL ? NULL : memchr(user, ':', (size_t)(host - user));
	if (colon == NULL)
		(void)snprintf(buf, buf_size, "%s", url);
	else
		(void)snprintf(buf, buf_size, "%.*s:***%s", (int)(colon - url), url, host);
}
