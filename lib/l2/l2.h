/* L2: how values lie in Redis. Names of keys, and the envelope around a value. It sends nothing itself.
 *
 * Names     data   <namespace>:v<version>:<key>        readable: redis-cli get prod:v3:user:profile:123
 *           token  <namespace>:v<version>~t:<key>      (a namespace has neither ':' nor '~')
 *
 * Envelope, little endian, fixed part NEAR__ENVELOPE_HEAD bytes, then tags, then the payload:
 *
 *   0  4  magic "NRC1"
 *   4  1  layout version (1)
 *   5  1  flags: 1 negative
 *   6  1  mark: 0 fresh, 1 stale; the one byte that Redis changes in place, and the one the checksum leaves out
 *   7  1  number of tags
 *   8  8  incarnation
 *  16  8  created, ms of Redis's clock
 *  24  8  fresh until, ms of Redis's clock
 *  32  8  as-of: the shard's sequence that the value is at least as new as
 *  40  8  version of the value, 0 none
 *  48  4  delta: measured cost of the load in us, 0 none
 *  52  4  payload size
 *  56  8  XXH3 of bytes 0..55 with the mark taken as 0, tags, payload, seeded with the shared hash of the key, so
 *         that a value that was moved under another key does not decode
 *  64  8n tags: shared hash of each
 */
#ifndef NEAR_L2_L2_H
#define NEAR_L2_L2_H

#include <nearcache/nearcache.h>

#define NEAR__ENVELOPE_HEAD 64
#define NEAR__ENVELOPE_MARK_AT 6
#define NEAR__ENVELOPE_INC_AT 8
#define NEAR__ENVELOPE_CREATED_AT 16
#define NEAR__ENVELOPE_FRESH_AT 24
#define NEAR__ENVELOPE_VERSION_AT 40
#define NEAR__ENVELOPE_SUM_AT 56

enum { NEAR__ENVELOPE_NEGATIVE = 1 };

typedef struct near__envelope {
	uint64_t incarnation, created_ms, fresh_until_ms, asof, version;
	uint32_t delta_us, flags;
	bool marked_stale;
	uint32_t tag_count;
	const uint64_t *tags; /* encode: the caller's; decode: unaligned bytes of the input, see near__envelope_tag */
	const void *payload;
	size_t payload_size;
} near__envelope;

size_t near__envelope_size(const near__envelope *envelope);
/* Writes near__envelope_size bytes to `out`. */
void near__envelope_write(const near__envelope *envelope, const void *key, size_t key_size, void *out);
/* Points into `bytes`. False: not an envelope of ours, of another version, damaged, or another key's. Any bytes are
 * safe. */
bool near__envelope_read(const void *bytes, size_t size, const void *key, size_t key_size, near__envelope *envelope);
uint64_t near__envelope_tag(const near__envelope *envelope, uint32_t i);
/* The checksum that the bytes carry, unchecked: names the bytes that the token step ('x') or a touch is about; 0 when
 * they are shorter than a head. */
uint64_t near__envelope_sum(const void *bytes, size_t size);

/* "<namespace>:v<version>"; at most NEAR__PREFIX_MAX with the NUL. */
#define NEAR__PREFIX_MAX 80
#define NEAR__NAME_MAX (NEAR__PREFIX_MAX + 4 + NEAR_KEY_MAX)
void near__l2_prefix(const char *name_space, uint64_t version, char out[NEAR__PREFIX_MAX]);
size_t near__l2_data_name(const char *prefix, const void *key, size_t key_size, char out[NEAR__NAME_MAX]);
size_t near__l2_token_name(const char *prefix, const void *key, size_t key_size, char out[NEAR__NAME_MAX]);

#endif
