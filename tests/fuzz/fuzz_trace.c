/* Any bytes as a trace, decoded in one piece and in pieces whose lengths the input chooses: both must agree, and what is
 * accepted keeps the invariants that a replay rests on. The same bytes also go through the reader of compressed files. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace.h"

static bool decode(bench_trace *trace, const uint8_t *bytes, size_t size, size_t piece)
{
	bench_trace_error error;
	bench_trace_init(trace);
	for (size_t at = 0; at < size; at += piece)
		if (!bench_trace_feed(trace, bytes + at, size - at < piece ? size - at : piece, &error))
			return false;
	return bench_trace_finish(trace, &error);
}

static void check(const bench_trace *t)
{
	char key[1024];
	uint64_t bytes = 0;
	for (uint32_t k = 0; k < t->key_count; k++) {
		assert(t->keys[k].key_size >= 1 && t->keys[k].key_size <= sizeof(key));
		bytes += (uint64_t)t->keys[k].key_size + t->keys[k].value_size;
		bench_trace_key_write(t, k, key);
	}
	assert(bytes == t->working_set_bytes && t->gets + t->sets + t->deletes == t->request_count);
	for (uint64_t i = 0; i < t->request_count; i++) {
		assert(t->requests[i].key < t->key_count && t->requests[i].op <= 2);
		assert(i == 0 || t->requests[i].time_s >= t->requests[i - 1].time_s);
	}
}

/* Times equal, few ids, sizes that follow from the id, operations within range: so that many records in a row are accepted. */
static void repair(uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + BENCH_RECORD_SIZE <= size; at += BENCH_RECORD_SIZE) {
		uint8_t *r = bytes + at;
		memset(r, 0, 4);
		memset(r + 5, 0, 7);
		memset(r + 12, 0, 8);
		r[12] = (uint8_t)(1 + r[4] % 9);
		r[16] = r[4];
		r[24] %= 4;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bench_trace whole, pieces, packed;
	bench_trace_error error;
	if (size < 2)
		return 0;
	size_t piece = 1 + data[0] % 60;
	bool repaired = (data[1] & 1) != 0;
	size -= 2;
	uint8_t *bytes = malloc(size + 1);
	if (bytes == NULL)
		return 0;
	memcpy(bytes, data + 2, size);
	if (repaired)
		repair(bytes, size);
	bool accepted = decode(&whole, bytes, size, size + 1);
	assert(decode(&pieces, bytes, size, piece) == accepted && pieces.request_count == whole.request_count);
	check(&whole);
	bench_trace_free(&whole);
	bench_trace_free(&pieces);
	FILE *file = size > 0 ? fmemopen(bytes, size, "r") : NULL;
	bench_trace_init(&packed);
	if (file != NULL) {
		(void)bench_trace_read(&packed, file, NULL, &error);
		(void)fclose(file);
	}
	check(&packed);
	bench_trace_free(&packed);
	free(bytes);
	return 0;
}
