/* From words to a request: the command, its arguments, its name=value options. Whatever is wrong is said with the word
 * that is wrong, and nothing has been done then. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

typedef struct pair {
	word name, value;
} pair;

bool number_of(word w, uint64_t *value)
{
	uint64_t n = 0;
	if (w.size == 0)
		return false;
	for (size_t i = 0; i < w.size; i++) {
		if (w.bytes[i] < '0' || w.bytes[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(w.bytes[i] - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*value = n;
	return true;
}

static bool real_of(word w, double *value)
{
	char *end;
	if (w.size == 0 || memchr(w.bytes, '\0', w.size) != NULL)
		return false;
	*value = strtod(w.bytes, &end);
	return end == w.bytes + w.size && *value == *value;
}

static bool set_flag(request *r, word value, uint32_t flag)
{
	if (word_is(value, "1"))
		r->call.flags |= flag;
	else if (word_is(value, "0"))
		r->call.flags &= ~flag;
	else
		return false;
	return true;
}

static bool set_bool(word value, bool *to)
{
	*to = word_is(value, "1");
	return *to || word_is(value, "0");
}

/* a,b: the bytes are copied, because the library takes tags as strings. */
static bool set_tags(request *r, word value)
{
	if (memchr(value.bytes, '\0', value.size) != NULL)
		return false;
	text_clear(&r->tag_bytes);
	text_add(&r->tag_bytes, value.bytes, value.size);
	r->call.tag_count = 0;
	for (char *at = r->tag_bytes.bytes; at != NULL;) {
		char *comma = strchr(at, ',');
		if (comma != NULL)
			*comma++ = '\0';
		if (*at == '\0' || strlen(at) > NEAR_TAG_MAX || r->call.tag_count == NEAR_TAGS_MAX)
			return false;
		r->tags[r->call.tag_count++] = at;
		at = comma;
	}
	r->call.tags = r->tags;
	return true;
}

static bool set_deadline(request *r, word value)
{
	uint64_t n;
	if (!number_of(value, &n) || n == 0 || n > UINT32_MAX)
		return false;
	r->call.deadline_ms = (uint32_t)n;
	return true;
}

static bool set_stale(request *r, word value)
{
	if (!number_of(value, &r->call.stale_ms))
		return false;
	if (r->call.stale_ms == 0)
		r->call.stale_ms = NEAR_NO_STALE; /* to the library 0 means: as configured */
	return true;
}

static bool set_ttl(request *r, word value)
{
	return number_of(value, &r->call.ttl_ms) && r->call.ttl_ms > 0;
}

static bool set_beta(request *r, word value)
{
	double beta;
	if (!real_of(value, &beta) || beta < 0)
		return false;
	r->call.beta = beta == 0 ? -1 : beta; /* to the library 0 means: as configured, below: never early */
	return true;
}

/* NULL, or what the value should have been. */
static const char *set_option(request *r, pair p)
{
	if (word_is(p.name, "ttl_ms"))
		return set_ttl(r, p.value) ? NULL : "milliseconds above 0";
	if (word_is(p.name, "stale_ms"))
		return set_stale(r, p.value) ? NULL : "milliseconds, 0 for none";
	if (word_is(p.name, "version"))
		return number_of(p.value, &r->call.version) ? NULL : "a number";
	if (word_is(p.name, "expected"))
		return number_of(p.value, &r->expected) ? NULL : "a number";
	if (word_is(p.name, "cost_ms"))
		return number_of(p.value, &r->cost_ms) ? NULL : "milliseconds";
	if (word_is(p.name, "deadline_ms"))
		return set_deadline(r, p.value) ? NULL : "milliseconds, 1 to 4294967295";
	if (word_is(p.name, "beta"))
		return set_beta(r, p.value) ? NULL : "a number, 0 for never early";
	if (word_is(p.name, "tags"))
		return set_tags(r, p.value) ? NULL : "up to 16 tags of 1 to 128 bytes with commas between them";
	if (word_is(p.name, "stale_ok"))
		return set_flag(r, p.value, NEAR_STALE_ALLOWED) ? NULL : "0 or 1";
	if (word_is(p.name, "no_l1"))
		return set_flag(r, p.value, NEAR_NO_L1) ? NULL : "0 or 1";
	if (word_is(p.name, "no_l2"))
		return set_flag(r, p.value, NEAR_NO_L2) ? NULL : "0 or 1";
	if (word_is(p.name, "refresh"))
		return set_flag(r, p.value, NEAR_REFRESH) ? NULL : "0 or 1";
	if (word_is(p.name, "fail"))
		return set_bool(p.value, &r->fails) ? NULL : "0 or 1";
	return set_bool(p.value, &r->misses) ? NULL : "0 or 1"; /* miss */
}

static bool takes(const command *c, word name)
{
	for (const char *at = c->options; *at != '\0';) {
		size_t n = strcspn(at, " ");
		if (n == name.size && memcmp(at, name.bytes, n) == 0)
			return true;
		at += n + (at[n] == ' ');
	}
	return false;
}

static void add_shown(text *out, word w)
{
	/* Enough to recognise it; the bytes may be anything. */
	for (size_t i = 0; i < w.size && i < 40; i++) {
		unsigned char c = (unsigned char)w.bytes[i];
		if (c >= 0x20 && c < 0x7f)
			text_add(out, &w.bytes[i], 1);
		else
			text_format(out, "\\x%02x", c);
	}
	if (w.size > 40)
		text_put(out, "...");
}

static const char *complain(text *wrong, const char *before, word w, const char *after)
{
	text_clear(wrong);
	text_put(wrong, before);
	text_put(wrong, "'");
	add_shown(wrong, w);
	text_put(wrong, "'");
	text_put(wrong, after);
	return wrong->bytes;
}

static const char *usage(const command *c, text *wrong)
{
	text_clear(wrong);
	text_format(wrong, "usage: %s%s%s%s%s", c->name, *c->arguments ? " " : "", c->arguments, *c->options ? " with " : "",
	            c->options);
	return wrong->bytes;
}

static const char *read_option(request *r, word w, text *wrong)
{
	const char *equals = memchr(w.bytes, '=', w.size);
	if (equals == NULL)
		return complain(wrong, "what is ", w, " here? options are written name=value");
	pair p = { { w.bytes, (size_t)(equals - w.bytes) }, { equals + 1, w.size - (size_t)(equals - w.bytes) - 1 } };
	if (!takes(r->command, p.name)) {
		complain(wrong, "there is no option ", p.name, "; ");
		text_format(wrong, "%s takes: %s", r->command->name, *r->command->options ? r->command->options : "none");
		return wrong->bytes;
	}
	const char *should = set_option(r, p);
	if (should == NULL)
		return NULL;
	complain(wrong, "the value in ", w, " should be ");
	text_put(wrong, should);
	return wrong->bytes;
}

const char *request_read(request *r, const word *words, size_t count, text *wrong)
{
	request_clear(r);
	r->command = command_find(words[0]);
	if (r->command == NULL)
		return complain(wrong, "there is no command ", words[0], "; help lists them");
	if (count - 1 < r->command->argument_count)
		return usage(r->command, wrong);
	for (size_t i = 0; i < r->command->argument_count; i++)
		r->argument[i] = words[1 + i];
	r->argument_count = r->command->argument_count;
	for (size_t i = 1 + r->argument_count; i < count; i++) {
		const char *said = read_option(r, words[i], wrong);
		if (said != NULL)
			return said;
	}
	return NULL;
}

void request_clear(request *r)
{
	text tag_bytes = r->tag_bytes;
	*r = (request){ .call = NEAR_CALL_INIT, .tag_bytes = tag_bytes };
	text_clear(&r->tag_bytes);
}
