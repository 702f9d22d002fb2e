/* Hashes: what must be the same everywhere, what must differ in every process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/hash.h"

static void hash_shared__known_texts__are_those_of_xxh3(void **state)
{
	(void)state;
	/* From xxHash's own tests and specification; the shard of a key depends on them. */
	assert_true(near__hash_shared("", 0) == UINT64_C(0x2d06800538d394c2));
	assert_true(near__hash_shared("a", 1) == UINT64_C(0xe6c632b61e964e1f));
	assert_true(near__hash_shared("abc", 3) == UINT64_C(0x78af5f94892f3950));
}

static void hash_sum__depends_on_bytes_and_seed(void **state)
{
	(void)state;
	char bytes[300] = { 0 };
	uint64_t sum = near__hash_sum(bytes, sizeof(bytes), 1);
	assert_true(sum == near__hash_sum(bytes, sizeof(bytes), 1));
	assert_true(sum != near__hash_sum(bytes, sizeof(bytes), 2));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] ^= 1;
		assert_true(sum != near__hash_sum(bytes, sizeof(bytes), 1));
		bytes[i] ^= 1;
	}
}

static char own_path[4096];

static void hash_local__another_process__places_keys_elsewhere(void **state)
{
	(void)state;
	char command[4200];
	(void)snprintf(command, sizeof(command), "'%s' --local", own_path);
	uint64_t other[2] = { 0, 0 };
	for (unsigned i = 0; i < 2; i++) {
		FILE *p = popen(command, "r");
		assert_non_null(p);
		assert_int_equal(fscanf(p, "%" SCNu64, &other[i]), 1);
		assert_int_equal(pclose(p), 0);
	}
	uint64_t ours = near__hash_local("user:profile:1", 14);
	assert_true(ours == near__hash_local("user:profile:1", 14));
	assert_true(ours != other[0] && other[0] != other[1]);
}

/* Buckets of 65536 keys in 256: the worst far from the mean would show a bad key schedule. */
static void hash_local__many_keys__spread_evenly(void **state)
{
	(void)state;
	unsigned low[256] = { 0 }, high[256] = { 0 };
	for (unsigned i = 0; i < 65536; i++) {
		char key[32];
		int size = snprintf(key, sizeof(key), "user:profile:%012u", i);
		uint64_t h = near__hash_local(key, (size_t)size);
		low[h & 255]++;
		high[h >> 56]++;
	}
	for (unsigned i = 0; i < 256; i++) {
		assert_in_range(low[i], 256 - 112, 256 + 112); /* 7 standard deviations */
		assert_in_range(high[i], 256 - 112, 256 + 112);
	}
}

static void random_bytes__twice__differ_everywhere(void **state)
{
	(void)state;
	unsigned char a[4096] = { 0 }, b[4096] = { 0 };
	near__random_bytes(a, sizeof(a));
	near__random_bytes(b, sizeof(b));
	unsigned same = 0;
	for (unsigned i = 0; i < sizeof(a); i++)
		same += a[i] == b[i];
	assert_true(same < 80); /* 16 expected */
	uint64_t state_a = 1, state_b = 1;
	assert_true(near__random_next(&state_a) == near__random_next(&state_b));
	assert_true(near__random_next(&state_a) != near__random_next(&state_a));
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--local") == 0) {
		printf("%" PRIu64 "\n", near__hash_local("user:profile:1", 14));
		return 0;
	}
	(void)snprintf(own_path, sizeof(own_path), "%s", argv[0]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_shared__known_texts__are_those_of_xxh3),
		cmocka_unit_test(hash_sum__depends_on_bytes_and_seed),
		cmocka_unit_test(hash_local__another_process__places_keys_elsewhere),
		cmocka_unit_test(hash_local__many_keys__spread_evenly),
		cmocka_unit_test(random_bytes__twice__differ_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
