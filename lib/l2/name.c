/* Names of keys in Redis.
 *
 *   prefix  <namespace>:v<version>           prod:v3
 *   data    <prefix>:<key>                   prod:v3:user:profile:123    redis-cli get reads it as it stands
 *   token   <prefix>~t:<key>                 prod:v3~t:user:profile:123
 *
 * A namespace holds neither ':' nor '~' and a version is digits, so the character after the prefix tells a value from
 * everything else, and no key can be chosen so that its name collides with another kind of name or with another
 * namespace or version. Keys may hold any bytes; names are given with their size and carry no NUL.
 *
 * Pure functions; any thread. */
#include "l2/l2.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

void near__l2_prefix(const char *name_space, uint64_t version, char out[NEAR__PREFIX_MAX])
{
	int n = snprintf(out, NEAR__PREFIX_MAX, "%s:v%" PRIu64, name_space, version);
	/* The options' ranges (64 bytes, 32 bits) keep it in; a cut prefix would mix two namespaces. */
	NEAR_ASSERT(n > 0 && n < NEAR__PREFIX_MAX);
}

static size_t name_write(const char *prefix, const char *middle, const void *key, size_t key_size,
                         char out[NEAR__NAME_MAX])
{
	size_t prefix_size = strlen(prefix), middle_size = strlen(middle);
	NEAR_ASSERT(prefix_size < NEAR__PREFIX_MAX && key_size <= NEAR_KEY_MAX);
	memcpy(out, prefix, prefix_size);
	memcpy(out + prefix_size, middle, middle_size);
	memcpy(out + prefix_size + middle_size, key, key_size);
	return prefix_size + middle_size + key_size;
}

size_t near__l2_data_name(const char *prefix, const void *key, size_t key_size, char out[NEAR__NAME_MAX])
{
	return name_write(prefix, ":", key, key_size, out);
}

size_t near__l2_token_name(const char *prefix, const void *key, size_t key_size, char out[NEAR__NAME_MAX])
{
	return name_write(prefix, "~t:", key, key_size, out);
}
