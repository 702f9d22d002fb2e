/* The shop's database and its goods: what is written can be read, and damage is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "catalogue.h"
#include "goods.h"

#define SEED 42
#define ARTICLES 500

static char directory[] = "catalogue-XXXXXX", path[64];
static struct catalogue *catalogue, *other;

static int open_all(void **state)
{
	char why[256];

	(void)state;
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/shop.db", directory);
	if (!catalogue_create(path, SEED, ARTICLES, why, sizeof(why)))
		return 1;
	catalogue = catalogue_open(path, SEED, ARTICLES);
	other = catalogue_open(path, SEED, ARTICLES);
	return catalogue == NULL || other == NULL;
}

static int close_all(void **state)
{
	(void)state;
	catalogue_close(catalogue);
	catalogue_close(other);
	unlink(path);
	return rmdir(directory); /* the last connection has taken the write-ahead log away */
}

static void page__of_each_article__is_whole_and_of_version_one(void **state)
{
	char page[GOODS_PAGE_MAX];
	uint32_t version;

	(void)state;
	for (uint32_t id = 1; id <= ARTICLES; id++) {
		int size = catalogue_page(catalogue, id, page);

		assert_true(size > 200);
		assert_true(goods_check(SEED, id, page, (size_t)size, &version));
		assert_int_equal(version, 1);
	}
	assert_int_equal(catalogue_page(catalogue, ARTICLES + 1, page), 0);
}

static void check__any_bit_changed__is_noticed(void **state)
{
	char page[GOODS_PAGE_MAX];
	int size = catalogue_page(catalogue, 3, page);
	uint32_t version;

	(void)state;
	for (int bit = 0; bit < size * 8; bit++) {
		page[bit / 8] ^= (char)(1 << bit % 8);
		assert_false(goods_check(SEED, 3, page, (size_t)size, &version));
		page[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_true(goods_check(SEED, 3, page, (size_t)size, &version));
	assert_false(goods_check(SEED, 4, page, (size_t)size, &version)); /* another article's */
	assert_false(goods_check(SEED, 3, page, (size_t)size - 1, &version));
	assert_false(goods_check(SEED, 3, page, 0, &version));
}

/* Seals a page anew after changing a figure: the sum is right, but no such thing was ever in the database. */
static void check__a_sealed_page_with_another_price__is_noticed(void **state)
{
	char page[GOODS_PAGE_MAX], *price;
	int size = catalogue_page(catalogue, 3, page);
	uint32_t version;

	(void)state;
	price = strstr(page, "\"price_cents\":") + strlen("\"price_cents\":");
	*price = *price == '9' ? '1' : (char)(*price + 1);
	goods_seal(page, (size_t)size);
	assert_true(goods_sealed(page, (size_t)size));
	assert_false(goods_check(SEED, 3, page, (size_t)size, &version));
}

static void write__is_seen_by_another_connection_and_by_the_history(void **state)
{
	struct history *history = history_create(ARTICLES, 10);
	char page[GOODS_PAGE_MAX];
	uint32_t version, event, seen;
	uint64_t begin = now_ns();

	(void)state;
	assert_true(catalogue_write(catalogue, history, 9, &version, &event));
	assert_int_equal(version, 2);
	assert_int_equal(history_newest(history, 9), 2);
	int size = catalogue_page(other, 9, page);

	assert_true(goods_check(SEED, 9, page, (size_t)size, &seen));
	assert_int_equal(seen, 2);
	assert_int_equal(history_judge(history, 9, 1, begin, 1).overtaken_ns, 0);
	assert_true(history_judge(history, 9, 1, now_ns(), 1).overtaken_ns > 0);
}

static void write__history_full__leaves_the_database_as_it_was(void **state)
{
	struct history *history = history_create(ARTICLES, 1);
	char page[GOODS_PAGE_MAX];
	uint32_t version, event, seen;

	(void)state;
	assert_true(catalogue_write(catalogue, history, 11, &version, &event));
	assert_false(catalogue_write(catalogue, history, 12, &version, &event));
	int size = catalogue_page(other, 12, page);

	assert_true(goods_check(SEED, 12, page, (size_t)size, &seen));
	assert_int_equal(seen, 1);
	assert_non_null(strstr(catalogue_trouble(catalogue), "history"));
}

static void front__is_sealed_and_carries_its_serial(void **state)
{
	char page[GOODS_PAGE_MAX];
	int size = catalogue_front(catalogue, 77, page);

	(void)state;
	assert_true(size > 0);
	assert_true(goods_sealed(page, (size_t)size));
	assert_non_null(strstr(page, "\"serial\":77,"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page__of_each_article__is_whole_and_of_version_one),
		cmocka_unit_test(check__any_bit_changed__is_noticed),
		cmocka_unit_test(check__a_sealed_page_with_another_price__is_noticed),
		cmocka_unit_test(write__is_seen_by_another_connection_and_by_the_history),
		cmocka_unit_test(write__history_full__leaves_the_database_as_it_was),
		cmocka_unit_test(front__is_sealed_and_carries_its_serial),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
