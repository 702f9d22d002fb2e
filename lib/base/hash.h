/* Hashes, all XXH3.
 *
 *   near__hash_local   keyed by a secret drawn per process: places keys in L1, so that nobody outside can aim at a set
 *   near__hash_shared  the same in every process and on every machine: chooses the coherence shard and the stripe
 *   near__hash_sum     checksum of stored bytes
 */
#ifndef NEAR_BASE_HASH_H
#define NEAR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t near__hash_local(const void *bytes, size_t size);
uint64_t near__hash_shared(const void *bytes, size_t size);
uint64_t near__hash_sum(const void *bytes, size_t size, uint64_t seed);
/* Fills `bytes` from getrandom(2). */
void near__random_bytes(void *bytes, size_t size);

/* splitmix64: one step of a generator whose state the caller keeps. */
static inline uint64_t near__random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

#endif
