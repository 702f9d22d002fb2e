/* The catalogue: the shop's database, a real SQLite file in WAL mode that all processes open for themselves.
 *
 *   category(id, name)    article(id, category_id, name, brand, description, price_cents, stock, sold, version, changed_ms)
 *   review(article_id, n, rating, title)    related(article_id, n, other_id)
 *
 * A page takes an article with its category, its rank by sales there (which counts a part of an index), the mean of its
 * ratings, its latest reviews and the names of what people also bought; the front page sums up the newest 30,000 articles
 * by category, which is what makes it dear. A write takes the write lock first, raises the version by one and sets the
 * price and the stock of that version.
 *
 * Threads: a catalogue belongs to one thread. */
#ifndef SHOP_CATALOGUE_H
#define SHOP_CATALOGUE_H

#include "history.h"
#include "shop.h"

struct catalogue;

/* Fills a new file with `articles` rows in one transaction. False: `why` says it. */
bool catalogue_create(const char *path, uint64_t seed, uint32_t articles, char *why, size_t why_size);
struct catalogue *catalogue_open(const char *path, uint64_t seed, uint32_t articles);
void catalogue_close(struct catalogue *catalogue);

/* Writes the page of an article to `page` (GOODS_PAGE_MAX); its size, 0 when there is no such article, -1 on an error. */
int catalogue_page(struct catalogue *catalogue, uint32_t id, char *page);
/* The front page. `serial` goes into it. */
int catalogue_front(struct catalogue *catalogue, uint64_t serial, char *page);
/* One write: version = version + 1, noted in `history`. The new version and the event; false on an error. */
bool catalogue_write(struct catalogue *catalogue, struct history *history, uint32_t id, uint32_t *version,
                     uint32_t *event);
const char *catalogue_trouble(const struct catalogue *catalogue);

#endif
