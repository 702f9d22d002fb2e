/* Reading of messages. Everything on a channel may have been sent by anybody who may publish there, so nothing is taken
 * for granted: each field has one spelling (lower-case hex of 16 digits, decimals without leading zeros, single blanks)
 * and whatever deviates is malformed.
 *
 * What is malformed is ignored, which is safe: a change whose message was garbled leaves a gap in the sequence. What is
 * well formed but of a later version, or of a kind that this version does not know, is not: it is reported as UNKNOWN
 * and the shard treats it as "anything may have changed".
 *
 * Pure functions; any thread. Cost: one pass over some 50 bytes. */
#include "coherence/room.h"

#include <string.h>

typedef struct reader {
	const char *at, *end;
} reader;

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool near__hex_read(const char *bytes, size_t size, uint64_t *value)
{
	uint64_t v = 0;
	if (size != NEAR__HEX)
		return false;
	for (size_t i = 0; i < NEAR__HEX; i++) {
		int d = hex_digit(bytes[i]);
		if (d < 0)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	*value = v;
	return true;
}

void near__hex_write(uint64_t value, char out[NEAR__HEX])
{
	for (int i = NEAR__HEX - 1; i >= 0; i--, value >>= 4)
		out[i] = "0123456789abcdef"[value & 15];
}

/* The bytes up to the next blank, which is taken, too. */
static bool read_word(reader *r, const char **word, size_t *size)
{
	const char *blank = memchr(r->at, ' ', (size_t)(r->end - r->at));
	if (blank == NULL)
		return false;
	*word = r->at;
	*size = (size_t)(blank - r->at);
	r->at = blank + 1;
	return true;
}

bool near__decimal_read(const char *bytes, size_t size, uint64_t most, uint64_t *value)
{
	uint64_t v = 0;
	if (size == 0 || size > 19 || (size > 1 && bytes[0] == '0'))
		return false;
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] < '0' || bytes[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(bytes[i] - '0');
	}
	*value = v;
	return v <= most;
}

static bool read_decimal(reader *r, uint64_t most, uint64_t *value)
{
	const char *word;
	size_t size;
	return read_word(r, &word, &size) && near__decimal_read(word, size, most, value);
}

static bool read_hex(reader *r, uint64_t *value)
{
	const char *word;
	size_t size;
	return read_word(r, &word, &size) && near__hex_read(word, size, value);
}

/* What a kind is and which keys and sequences go with it. */
static near__message_kind judge(char kind, size_t key_size, uint64_t seq)
{
	bool is_change = seq != 0, is_key = key_size >= 1 && key_size <= NEAR_KEY_MAX;
	switch (kind) {
	case NEAR__CHANGE_PUT:
	case NEAR__CHANGE_INVALIDATE:
	case NEAR__CHANGE_REMOVE:
		return is_change && is_key ? NEAR__MESSAGE_CHANGE : NEAR__MESSAGE_MALFORMED;
	case NEAR__CHANGE_TAG:
		return is_change && key_size == 8 ? NEAR__MESSAGE_CHANGE : NEAR__MESSAGE_MALFORMED;
	case 'f':
		return !is_change && is_key ? NEAR__MESSAGE_FILLED : NEAR__MESSAGE_MALFORMED;
	case 'v':
		return !is_change && key_size == 0 ? NEAR__MESSAGE_VOID : NEAR__MESSAGE_MALFORMED;
	default:
		return kind > ' ' && kind <= '~' ? NEAR__MESSAGE_UNKNOWN : NEAR__MESSAGE_MALFORMED;
	}
}

near__message near__message_read(const char *bytes, size_t size)
{
	near__message m = { .kind = NEAR__MESSAGE_MALFORMED };
	reader r = { bytes, bytes + size };
	uint64_t version, incarnation, seq, writer;
	const char *kind;
	size_t kind_size;
	if (!read_decimal(&r, UINT32_MAX, &version) || version == 0)
		return m;
	if (version != NEAR__PROTOCOL) {
		m.kind = NEAR__MESSAGE_UNKNOWN;
		return m;
	}
	if (!read_hex(&r, &incarnation) || incarnation == 0 || !read_decimal(&r, NEAR__SEQ_MASK, &seq) ||
	    !read_hex(&r, &writer) || !read_word(&r, &kind, &kind_size) || kind_size != 1)
		return m;
	size_t key_size = (size_t)(r.end - r.at);
	m.kind = judge(*kind, key_size, seq);
	if (m.kind == NEAR__MESSAGE_MALFORMED || m.kind == NEAR__MESSAGE_UNKNOWN)
		return m;
	m.change = *kind;
	m.incarnation = incarnation;
	m.seq = seq;
	m.writer = writer;
	m.key = r.at;
	m.key_size = key_size;
	return m;
}

near__message near__message_read_entry(const char *bytes, size_t size)
{
	near__message m = { .kind = NEAR__MESSAGE_MALFORMED };
	if (size == 0)
		return m;
	m.kind = judge(bytes[0], size - 1, 1);
	m.change = bytes[0];
	m.key = bytes + 1;
	m.key_size = size - 1;
	return m;
}

bool near__message_read_channel(const char *prefix, unsigned shards, const char *channel, size_t size, unsigned *shard)
{
	size_t n = strlen(prefix);
	uint64_t value;
	if (size < n + 3 || memcmp(channel, prefix, n) != 0 || memcmp(channel + n, "~c:", 3) != 0 ||
	    !near__decimal_read(channel + n + 3, size - n - 3, UINT32_MAX, &value) || value >= shards)
		return false;
	*shard = (unsigned)value;
	return true;
}
