/* Hashes: XXH3 in three uses, and random bytes.
 *
 * The local hash places keys in L1. With a hash that anybody can compute, somebody who chooses keys could fill one set of
 * the table and push out what a victim keeps there; so it is keyed by 192 random bytes drawn once per process, before
 * main (a constructor: no branch on the path of a get, and no lock that a stopped thread could hold). XXH3 is no
 * cryptographic hash: who can measure collisions in this very process may learn some in time, and then gains what 16
 * slots are worth, because a lookup never looks further than its set.
 *
 * The shared hash must be the same in every process, version and machine: it is XXH3_64bits without a key, whose output is
 * fixed by its specification since xxHash 0.8.0 (on big-endian machines, too).
 *
 * Sources: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md; getrandom(2).
 */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/base.h"

#define SECRET_SIZE 192
static_assert(SECRET_SIZE >= XXH3_SECRET_SIZE_MIN, "XXH3 reads that much of its secret");
static_assert(XXH_VERSION_NUMBER >= 800, "XXH3 has had a fixed output since 0.8.0");

static unsigned char NEAR_ALIGNED_LINE secret[SECRET_SIZE];

__attribute__((constructor(110))) static void draw_secret(void)
{
	near__random_bytes(secret, sizeof(secret));
}

uint64_t near__hash_local(const void *bytes, size_t size)
{
	return XXH3_64bits_withSecret(bytes, size, secret, sizeof(secret));
}

uint64_t near__hash_shared(const void *bytes, size_t size)
{
	return XXH3_64bits(bytes, size);
}

uint64_t near__hash_sum(const void *bytes, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, size, seed);
}

/* For a sandbox that forbids getrandom(2). False: not there either. */
static bool random_from_device(unsigned char *at, size_t size)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (size > 0) {
		ssize_t n = read(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += n;
		size -= (size_t)n;
	}
	(void)close(fd);
	return size == 0;
}

void near__random_bytes(void *bytes, size_t size)
{
	unsigned char *at = bytes;
	while (size > 0) {
		ssize_t n = getrandom(at, size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += n;
		size -= (size_t)n;
	}
	/* Load tokens and incarnations rest on these bytes being unlike any other process's: no weaker source will do. */
	if (size > 0 && !random_from_device(at, size))
		near__assert_failed("the system has random bytes", __FILE__, __LINE__);
}
