/* Request traces: packed records of 25 bytes, little endian, in one zstd stream (long window 27).
 *
 *   u32 time_s; u64 key_id; u32 key_size; u32 value_size; u32 ttl_s (0: none); u8 op (0 get, 1 set, 2 delete)
 *
 * Invariants that the reader checks and a replay relies on: time never goes back; sizes are constant per key and within the
 * library's limits; the file ends at a record's end. The first record that breaks one is named in the error, nothing of the
 * trace is used then.
 *
 * Key ids may be any numbers; inside, keys count from 0 in order of first appearance. A trace is held decoded: 16 bytes per
 * request, 20 per key and a table of ids. The decoder takes its bytes in pieces of any length.
 */
#ifndef NEAR_BENCH_TRACE_H
#define NEAR_BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_RECORD_SIZE 25
#define BENCH_VALUE_MAX (UINT32_C(512) << 20)

typedef enum bench_trace_op { BENCH_TRACE_GET, BENCH_TRACE_SET, BENCH_TRACE_DELETE } bench_trace_op;

typedef struct bench_request {
	uint32_t key, time_s, ttl_s;
	uint8_t op;
} bench_request;

typedef struct bench_trace_key {
	uint64_t id;
	uint32_t key_size, value_size;
	uint32_t rank; /* among the keys of the same size: keeps short keys distinct */
} bench_trace_key;

typedef struct bench_trace {
	bench_request *requests;
	bench_trace_key *keys;
	uint64_t request_count;
	uint32_t key_count, key_size_max, value_size_max;
	uint64_t working_set_bytes; /* key and value bytes over the keys */
	uint64_t gets, sets, deletes, with_ttl;
	/* the decoder's */
	uint64_t request_room, key_room;
	unsigned char part[BENCH_RECORD_SIZE];
	size_t part_size;
	uint32_t *rank_next; /* per key size */
	uint32_t *places;    /* hash of an id -> its key + 1; at most half full */
	uint64_t place_mask;
} bench_trace;

typedef struct bench_trace_error {
	char text[256];
} bench_trace_error;

void bench_trace_init(bench_trace *trace);
void bench_trace_free(bench_trace *trace);

/* Decodes the next bytes. False: error->text names the record. */
bool bench_trace_feed(bench_trace *trace, const void *bytes, size_t size, bench_trace_error *error);
/* After the last bytes. False: they end inside a record, or there were none. */
bool bench_trace_finish(bench_trace *trace, bench_trace_error *error);
/* The whole of a compressed stream into an initialised trace. `tick` (may be NULL) hears of the input bytes read. */
bool bench_trace_read(bench_trace *trace, FILE *file, void (*tick)(uint64_t bytes), bench_trace_error *error);

/* The key's bytes: key_size of them, distinct for distinct keys. */
void bench_trace_key_write(const bench_trace *trace, uint32_t key, char *out);

#endif
