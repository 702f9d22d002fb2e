/* A program outside the tree, as a user writes it: a cache without Redis, a value put and read back. */
#include <stdio.h>
#include <string.h>
#include <nearcache/nearcache.h>

int main(void)
{
	near_cache *cache;
	near_error error;
	near_options options;
	char buf[16];
	near_item item;

	if (strcmp(near_version(), NEARCACHE_EXPECTED_VERSION) != 0)
		return 2;
	near_options_init(&options);
	options.memory_bytes = 32u << 20;
	options.ignore_environment = 1;
	if (near_open(&options, &cache, &error) != NEAR_OK) {
		fprintf(stderr, "%s\n", error.text);
		return 3;
	}
	if (near_put(cache, "key", 3, "value", 5, NULL) != NEAR_OK)
		return 4;
	if (near_get(cache, "key", 3, buf, sizeof(buf), &item) != NEAR_OK || item.value_size != 5 ||
	    memcmp(buf, "value", 5) != 0 || item.source != NEAR_FROM_L1)
		return 5;
	near_close(cache);
	return 0;
}
