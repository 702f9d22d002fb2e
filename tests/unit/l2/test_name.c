/* Names of keys in Redis: readable, distinct by kind and by namespace, any bytes in a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "l2/l2.h"

static void prefix__of_namespace_and_version__is_readable(void **state)
{
	(void)state;
	char prefix[NEAR__PREFIX_MAX];
	near__l2_prefix("prod", 3, prefix);
	assert_string_equal(prefix, "prod:v3");
}

static void prefix__of_longest_namespace_and_version__fits(void **state)
{
	(void)state;
	char name_space[65], prefix[NEAR__PREFIX_MAX];
	memset(name_space, 'n', 64);
	name_space[64] = '\0';
	near__l2_prefix(name_space, UINT32_MAX, prefix);
	assert_int_equal(strlen(prefix), 64 + 2 + 10);
}

static void data_name__of_key__is_prefix_colon_key(void **state)
{
	(void)state;
	char name[NEAR__NAME_MAX];
	size_t n = near__l2_data_name("prod:v3", "user:profile:123", 16, name);
	assert_int_equal(n, strlen("prod:v3:user:profile:123"));
	assert_memory_equal(name, "prod:v3:user:profile:123", n);
}

static void token_name__of_key__never_equals_a_data_name(void **state)
{
	(void)state;
	char token[NEAR__NAME_MAX], data[NEAR__NAME_MAX];
	size_t n = near__l2_token_name("prod:v3", "a", 1, token);
	assert_int_equal(n, strlen("prod:v3~t:a"));
	assert_memory_equal(token, "prod:v3~t:a", n);
	/* Whatever the key: the byte after the prefix differs. */
	(void)near__l2_data_name("prod:v3", "~t:a", 4, data);
	assert_int_not_equal(token[7], data[7]);
}

static void data_name__of_longest_binary_key__keeps_all_bytes(void **state)
{
	(void)state;
	char key[NEAR_KEY_MAX], name[NEAR__NAME_MAX];
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (char)i;
	size_t n = near__l2_data_name("p:v1", key, sizeof(key), name);
	assert_int_equal(n, 5 + sizeof(key));
	assert_memory_equal(name + 5, key, sizeof(key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefix__of_namespace_and_version__is_readable),
		cmocka_unit_test(prefix__of_longest_namespace_and_version__fits),
		cmocka_unit_test(data_name__of_key__is_prefix_colon_key),
		cmocka_unit_test(token_name__of_key__never_equals_a_data_name),
		cmocka_unit_test(data_name__of_longest_binary_key__keeps_all_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
