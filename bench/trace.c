/* See trace.h. */
#include "trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <nearcache/nearcache.h>
#include "base/hash.h"

#define WINDOW_LOG_MAX 27

void bench_trace_init(bench_trace *trace)
{
	*trace = (bench_trace){.part_size = 0};
}

void bench_trace_free(bench_trace *trace)
{
	free(trace->requests);
	free(trace->keys);
	free(trace->rank_next);
	free(trace->places);
	bench_trace_init(trace);
}

static uint32_t read_u32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t read_u64(const unsigned char *p)
{
	return read_u32(p) | (uint64_t)read_u32(p + 4) << 32;
}

__attribute__((format(printf, 3, 4))) static bool fail(bench_trace_error *error, const bench_trace *trace,
                                                       const char *format, ...)
{
	va_list list;
	int used = snprintf(error->text, sizeof(error->text), "record %" PRIu64 ": ", trace->request_count);
	va_start(list, format);
	(void)vsnprintf(error->text + used, sizeof(error->text) - (size_t)used, format, list);
	va_end(list);
	return false;
}

/* Room for one more element in a growing array; false without memory. */
static bool make_room(void **array, uint64_t count, uint64_t *room, size_t element_size)
{
	if (count < *room)
		return true;
	uint64_t more = *room == 0 ? 4096 : *room * 2;
	void *grown = realloc(*array, more * element_size);
	if (grown == NULL)
		return false;
	*array = grown;
	*room = more;
	return true;
}

/* How many distinct keys of this size there can be, as far as 32 bits tell. */
static uint64_t distinct_keys(uint32_t key_size)
{
	return key_size >= 4 ? UINT32_MAX : UINT64_C(1) << (8 * key_size);
}

/* Where the id stands in the table of places, or would. */
static uint32_t *place_of(const bench_trace *trace, uint64_t id)
{
	uint64_t at = id; /* mixed by one step of the generator */
	at = near__random_next(&at);
	while (trace->places[at & trace->place_mask] != 0 && trace->keys[trace->places[at & trace->place_mask] - 1].id != id)
		at++; /* ends: half of the places are empty */
	return &trace->places[at & trace->place_mask];
}

/* Keeps the table of places at most half full. */
static bool places_grow(bench_trace *trace)
{
	uint64_t count = trace->places == NULL ? 0 : trace->place_mask + 1;
	if (((uint64_t)trace->key_count + 1) * 2 <= count)
		return true;
	count = count == 0 ? 8192 : count * 2;
	uint32_t *places = calloc(count, sizeof(*places));
	if (places == NULL)
		return false;
	free(trace->places);
	trace->places = places;
	trace->place_mask = count - 1;
	for (uint32_t key = 0; key < trace->key_count; key++)
		*place_of(trace, trace->keys[key].id) = key + 1;
	return true;
}

static bool add_key(bench_trace *trace, const bench_trace_key *key, bench_trace_error *error)
{
	uint32_t key_size = key->key_size;
	if (key_size < 1 || key_size > NEAR_KEY_MAX)
		return fail(error, trace, "key_size %" PRIu32 " is not within 1..%d", key_size, NEAR_KEY_MAX);
	if (key->value_size > BENCH_VALUE_MAX)
		return fail(error, trace, "value_size %" PRIu32 " is above %" PRIu32, key->value_size, BENCH_VALUE_MAX);
	if (trace->rank_next == NULL)
		trace->rank_next = calloc(NEAR_KEY_MAX + 1, sizeof(*trace->rank_next));
	if (trace->rank_next == NULL || trace->key_count == UINT32_MAX - 1 ||
	    !make_room((void **)&trace->keys, trace->key_count, &trace->key_room, sizeof(*trace->keys)))
		return fail(error, trace, "out of memory");
	if (trace->rank_next[key_size] >= distinct_keys(key_size))
		return fail(error, trace, "more keys of %" PRIu32 " bytes than there can be", key_size);
	bench_trace_key *k = &trace->keys[trace->key_count];
	*k = *key;
	k->rank = trace->rank_next[key_size]++;
	*place_of(trace, k->id) = ++trace->key_count;
	trace->working_set_bytes += (uint64_t)key_size + k->value_size;
	if (key_size > trace->key_size_max)
		trace->key_size_max = key_size;
	if (k->value_size > trace->value_size_max)
		trace->value_size_max = k->value_size;
	return true;
}

/* The key's number, whether it is known or new. */
static bool find_key(bench_trace *trace, const bench_trace_key *key, uint32_t *number, bench_trace_error *error)
{
	if (!places_grow(trace))
		return fail(error, trace, "out of memory");
	uint32_t place = *place_of(trace, key->id);
	if (place == 0) {
		*number = trace->key_count;
		return add_key(trace, key, error);
	}
	const bench_trace_key *k = &trace->keys[place - 1];
	if (k->key_size != key->key_size || k->value_size != key->value_size)
		return fail(error, trace, "the sizes of key %" PRIu64 " have changed", key->id);
	*number = place - 1;
	return true;
}

static bool add_record(bench_trace *trace, const unsigned char *p, bench_trace_error *error)
{
	bench_request r = {.time_s = read_u32(p), .ttl_s = read_u32(p + 20), .op = p[24]};
	bench_trace_key key = {.id = read_u64(p + 4), .key_size = read_u32(p + 12), .value_size = read_u32(p + 16)};
	if (r.op > BENCH_TRACE_DELETE)
		return fail(error, trace, "op %u is none of 0 get, 1 set, 2 delete", r.op);
	if (trace->request_count > 0 && r.time_s < trace->requests[trace->request_count - 1].time_s)
		return fail(error, trace, "time goes back to %" PRIu32, r.time_s);
	if (!find_key(trace, &key, &r.key, error))
		return false;
	if (!make_room((void **)&trace->requests, trace->request_count, &trace->request_room, sizeof(*trace->requests)))
		return fail(error, trace, "out of memory");
	trace->requests[trace->request_count++] = r;
	trace->gets += r.op == BENCH_TRACE_GET;
	trace->sets += r.op == BENCH_TRACE_SET;
	trace->deletes += r.op == BENCH_TRACE_DELETE;
	trace->with_ttl += r.ttl_s != 0;
	return true;
}

bool bench_trace_feed(bench_trace *trace, const void *bytes, size_t size, bench_trace_error *error)
{
	const unsigned char *p = bytes, *end = p + size;
	if (trace->part_size > 0) {
		size_t need = BENCH_RECORD_SIZE - trace->part_size;
		size_t take = need < size ? need : size;
		memcpy(trace->part + trace->part_size, p, take);
		trace->part_size += take;
		p += take;
		if (trace->part_size < BENCH_RECORD_SIZE)
			return true;
		trace->part_size = 0;
		if (!add_record(trace, trace->part, error))
			return false;
	}
	for (; end - p >= BENCH_RECORD_SIZE; p += BENCH_RECORD_SIZE)
		if (!add_record(trace, p, error))
			return false;
	trace->part_size = (size_t)(end - p);
	memcpy(trace->part, p, trace->part_size);
	return true;
}

bool bench_trace_finish(bench_trace *trace, bench_trace_error *error)
{
	if (trace->part_size != 0)
		return fail(error, trace, "the file ends after %zu of %d bytes", trace->part_size, BENCH_RECORD_SIZE);
	if (trace->request_count == 0)
		return fail(error, trace, "the trace is empty");
	return true;
}

/* What inflates: the stream and its two buffers. */
typedef struct inflater {
	ZSTD_DStream *stream;
	unsigned char *in, *out;
	size_t in_room, out_room;
} inflater;

static bool inflater_open(inflater *z)
{
	z->in_room = ZSTD_DStreamInSize();
	z->out_room = ZSTD_DStreamOutSize();
	z->stream = ZSTD_createDStream();
	z->in = malloc(z->in_room);
	z->out = malloc(z->out_room);
	return z->stream != NULL && z->in != NULL && z->out != NULL &&
	       !ZSTD_isError(ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX));
}

static void inflater_close(inflater *z)
{
	(void)ZSTD_freeDStream(z->stream);
	free(z->in);
	free(z->out);
}

/* Feeds what `size` input bytes inflate to. *more: the stream has not come to its end. */
static bool inflate_piece(inflater *z, size_t size, bool *more, bench_trace *trace, bench_trace_error *error)
{
	ZSTD_inBuffer in = {z->in, size, 0};
	bool full;
	do {
		ZSTD_outBuffer out = {z->out, z->out_room, 0};
		size_t left = ZSTD_decompressStream(z->stream, &out, &in);
		if (ZSTD_isError(left))
			return fail(error, trace, "not a sound zstd stream: %s", ZSTD_getErrorName(left));
		*more = left != 0;
		if (!bench_trace_feed(trace, z->out, out.pos, error))
			return false;
		full = out.pos == out.size;
	} while (in.pos < in.size || full); /* ends: each round takes input or fills the output */
	return true;
}

bool bench_trace_read(bench_trace *trace, FILE *file, void (*tick)(uint64_t bytes), bench_trace_error *error)
{
	inflater z;
	bool good = inflater_open(&z), more = false;
	uint64_t bytes = 0;
	if (!good)
		(void)fail(error, trace, "out of memory");
	while (good) {
		size_t size = fread(z.in, 1, z.in_room, file);
		if (size == 0)
			break;
		bytes += size;
		good = inflate_piece(&z, size, &more, trace, error);
		if (tick != NULL)
			tick(bytes);
	}
	if (good && ferror(file))
		good = fail(error, trace, "the file cannot be read");
	if (good && more)
		good = fail(error, trace, "the zstd stream is cut off");
	inflater_close(&z);
	return good && bench_trace_finish(trace, error);
}

void bench_trace_key_write(const bench_trace *trace, uint32_t key, char *out)
{
	const bench_trace_key *k = &trace->keys[key];
	uint64_t state = key, word;
	if (k->key_size < sizeof(word)) {
		/* An odd factor is a bijection modulo 2^(8 * key_size). */
		word = k->rank * UINT64_C(0x9e3779b97f4a7c15);
		memcpy(out, &word, k->key_size);
		return;
	}
	for (size_t at = 0; at < k->key_size; at += sizeof(word)) {
		size_t left = k->key_size - at;
		word = near__random_next(&state); /* the first word is a bijection of `key` */
		memcpy(out + at, &word, left < sizeof(word) ? left : sizeof(word));
	}
}
