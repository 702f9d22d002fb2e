/* The goods: everything about an article is a function of (seed, id, version), so that any process can tell whether what
 * it was given is what the database held. What a worker serves is an article's page as JSON:
 *
 *   {"sum":"<16 hex>","id":17,"version":3,"price_cents":1299,"stock":41,"name":"...","category":"...",...}
 *            |         ^ ------------------------- what the sum is taken of ------------------------- ^
 */
#ifndef SHOP_GOODS_H
#define SHOP_GOODS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOODS_CATEGORIES 16
#define GOODS_NAME_MAX 96
#define GOODS_BRAND_MAX 24
#define GOODS_DESCRIPTION_MAX 512
#define GOODS_TITLE_MAX 64
#define GOODS_PAGE_MAX 4096

struct article {
	uint32_t id, category, reviews;
	char name[GOODS_NAME_MAX], brand[GOODS_BRAND_MAX], description[GOODS_DESCRIPTION_MAX];
};

void goods_article(uint64_t seed, uint32_t id, struct article *article);
const char *goods_category(uint32_t category);
uint32_t goods_price(uint64_t seed, uint32_t id, uint32_t version);
uint32_t goods_stock(uint64_t seed, uint32_t id, uint32_t version);
/* Review `n` of an article; returns its rating, 1..5. */
unsigned goods_review(uint64_t seed, uint32_t id, uint32_t n, char title[GOODS_TITLE_MAX]);

/* The `n`th article that people also bought. */
uint32_t goods_related(uint64_t seed, uint32_t id, uint32_t n, uint32_t articles);
#define GOODS_RELATED 4

/* The sum of any bytes. */
uint64_t goods_sum(const void *bytes, size_t size);
/* `page` holds JSON text that begins with PAGE_HEAD, into which the sum of the rest is written. */
#define PAGE_HEAD "{\"sum\":\"0000000000000000\","
void goods_seal(char *page, size_t size);
bool goods_sealed(const char *page, size_t size);
/* Is this a page of the article, whole, with the price and the stock of its version? */
bool goods_check(uint64_t seed, uint32_t id, const char *page, size_t size, uint32_t *version);

#endif
