/* Messages of a shard's channel, as text:
 *
 *   <version> <inc16hex> <seq> <writer16hex> <kind> <key>
 *   1 8c6f0a51e2d94b37 1234 00f1c2a5d4e3b697 i user:profile:123
 *
 *   kind  p, i, r, t  a change, see near__change; seq >= 1; the key of t is the 8 bytes of the tag's hash
 *         f           somebody's load of the key ended; seq 0: it is news, no change, and is in no log
 *         v           a new incarnation began; seq 0, no key
 *
 * The key comes last and may hold any bytes. An entry of the log is the kind and the key without a blank between. */
#ifndef NEAR_COHERENCE_MESSAGE_H
#define NEAR_COHERENCE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEAR__HEX 16 /* digits of a 64-bit number */

typedef enum near__message_kind {
	NEAR__MESSAGE_MALFORMED, /* not ours: ignore it */
	NEAR__MESSAGE_UNKNOWN,   /* of a later version: it may mean a change that we do not understand */
	NEAR__MESSAGE_CHANGE,
	NEAR__MESSAGE_FILLED,
	NEAR__MESSAGE_VOID
} near__message_kind;

typedef struct near__message {
	near__message_kind kind;
	char change; /* a near__change, when kind says so */
	uint64_t incarnation, seq, writer;
	const char *key; /* inside the bytes parsed */
	size_t key_size;
} near__message;

/* Any bytes are safe. Fields beyond `kind` are set for CHANGE, FILLED and VOID. */
near__message near__message_read(const char *bytes, size_t size);
/* The same for an entry of the log: kind, change and key. */
near__message near__message_read_entry(const char *bytes, size_t size);
/* "<prefix>~c:<shard>" of this prefix and below `shards`: true and the number. */
bool near__message_read_channel(const char *prefix, unsigned shards, const char *channel, size_t size, unsigned *shard);

/* 16 lower-case hex digits, exactly. */
bool near__hex_read(const char *bytes, size_t size, uint64_t *value);
/* A decimal of one spelling (no sign, no leading zeros), at most `most`. */
bool near__decimal_read(const char *bytes, size_t size, uint64_t most, uint64_t *value);
void near__hex_write(uint64_t value, char out[NEAR__HEX]);

#endif
