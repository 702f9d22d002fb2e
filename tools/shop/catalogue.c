/* See catalogue.h. Writers of several processes queue for the database's one write lock; the waiting is done here, in
 * short random steps, as SQLite's own busy timeout sleeps in steps that suit people rather than servers. */
#include "catalogue.h"

#include "goods.h"
#include "random.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRONT_ARTICLES 30000
#define LOCK_WAIT_MAX (5 * SHOP_SECOND)

enum { PAGE, REVIEWS, RELATED, RANK, FRONT, VERSION, WRITE, BEGIN, COMMIT, ROLLBACK, STATEMENTS };

struct catalogue {
	sqlite3 *db;
	sqlite3_stmt *statement[STATEMENTS];
	uint64_t seed;
	uint32_t articles;
	struct random random;
	uint64_t waiting_since;
	char trouble[160];
};

static const char *const text_of[STATEMENTS] = {
	[PAGE] = "SELECT a.version, a.price_cents, a.stock, a.name, c.name, a.brand, a.description, a.category_id, a.sold,"
	         " (SELECT count(*) FROM review WHERE article_id = a.id),"
	         " (SELECT avg(rating) FROM review WHERE article_id = a.id)"
	         " FROM article a JOIN category c ON c.id = a.category_id WHERE a.id = ?1",
	[REVIEWS] = "SELECT title, rating FROM review WHERE article_id = ?1 ORDER BY n DESC LIMIT 3",
	[RELATED] = "SELECT a.name FROM related r JOIN article a ON a.id = r.other_id WHERE r.article_id = ?1 ORDER BY r.n",
	[RANK] = "SELECT count(*) + 1 FROM article WHERE category_id = ?1 AND sold > ?2",
	[FRONT] = "SELECT c.name, count(*), sum(a.stock), min(a.price_cents), avg(a.price_cents), max(a.sold)"
	          " FROM article a JOIN category c ON c.id = a.category_id WHERE a.id > ?1 GROUP BY c.id",
	[VERSION] = "SELECT version FROM article WHERE id = ?1",
	[WRITE] = "UPDATE article SET version = version + 1, price_cents = ?2, stock = ?3,"
	          " changed_ms = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) WHERE id = ?1",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

static const char schema[] =
	"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
	"CREATE TABLE category (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
	"CREATE TABLE article (id INTEGER PRIMARY KEY, category_id INTEGER NOT NULL, name TEXT NOT NULL, brand TEXT NOT NULL,"
	" description TEXT NOT NULL, price_cents INTEGER NOT NULL, stock INTEGER NOT NULL, sold INTEGER NOT NULL,"
	" version INTEGER NOT NULL, changed_ms INTEGER NOT NULL);"
	"CREATE TABLE review (article_id INTEGER NOT NULL, n INTEGER NOT NULL, rating INTEGER NOT NULL, title TEXT NOT NULL,"
	" PRIMARY KEY (article_id, n)) WITHOUT ROWID;"
	"CREATE TABLE related (article_id INTEGER NOT NULL, n INTEGER NOT NULL, other_id INTEGER NOT NULL,"
	" PRIMARY KEY (article_id, n)) WITHOUT ROWID;"
	"BEGIN;";

/* ------------------------------------------------------------------ filling */

enum { INTO_ARTICLE, INTO_REVIEW, INTO_RELATED, INTO };

static const char *const insert_text[INTO] = {
	[INTO_ARTICLE] = "INSERT INTO article VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0)",
	[INTO_REVIEW] = "INSERT INTO review VALUES (?, ?, ?, ?)",
	[INTO_RELATED] = "INSERT INTO related VALUES (?, ?, ?)",
};

static bool inserted(sqlite3_stmt *insert)
{
	bool done = sqlite3_step(insert) == SQLITE_DONE;

	sqlite3_reset(insert);
	return done;
}

static bool article_insert(sqlite3_stmt *insert, uint64_t seed, const struct article *article)
{
	sqlite3_bind_int64(insert, 1, article->id);
	sqlite3_bind_int64(insert, 2, article->category);
	sqlite3_bind_text(insert, 3, article->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(insert, 4, article->brand, -1, SQLITE_STATIC);
	sqlite3_bind_text(insert, 5, article->description, -1, SQLITE_STATIC);
	sqlite3_bind_int64(insert, 6, goods_price(seed, article->id, 1));
	sqlite3_bind_int64(insert, 7, goods_stock(seed, article->id, 1));
	sqlite3_bind_int64(insert, 8, (sqlite3_int64)(mix64(seed + article->id) % 5000));
	return inserted(insert);
}

static bool companions_insert(sqlite3_stmt *const insert[INTO], uint64_t seed, const struct article *article,
                              uint32_t articles)
{
	char title[GOODS_TITLE_MAX];

	for (uint32_t n = 0; n < article->reviews; n++) {
		sqlite3_bind_int64(insert[INTO_REVIEW], 1, article->id);
		sqlite3_bind_int64(insert[INTO_REVIEW], 2, n);
		sqlite3_bind_int64(insert[INTO_REVIEW], 3, goods_review(seed, article->id, n, title));
		sqlite3_bind_text(insert[INTO_REVIEW], 4, title, -1, SQLITE_STATIC);
		if (!inserted(insert[INTO_REVIEW]))
			return false;
	}
	for (uint32_t n = 0; n < GOODS_RELATED; n++) {
		sqlite3_bind_int64(insert[INTO_RELATED], 1, article->id);
		sqlite3_bind_int64(insert[INTO_RELATED], 2, n);
		sqlite3_bind_int64(insert[INTO_RELATED], 3, goods_related(seed, article->id, n, articles));
		if (!inserted(insert[INTO_RELATED]))
			return false;
	}
	return true;
}

static bool fill(sqlite3 *db, uint64_t seed, uint32_t articles)
{
	sqlite3_stmt *insert[INTO] = { NULL };
	struct article article;
	char line[128];
	bool filled = sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK;

	for (uint32_t i = 0; i < GOODS_CATEGORIES && filled; i++) {
		snprintf(line, sizeof(line), "INSERT INTO category VALUES (%u, '%s')", i, goods_category(i));
		filled = sqlite3_exec(db, line, NULL, NULL, NULL) == SQLITE_OK;
	}
	for (int i = 0; i < INTO && filled; i++)
		filled = sqlite3_prepare_v2(db, insert_text[i], -1, &insert[i], NULL) == SQLITE_OK;
	for (uint32_t id = 1; id <= articles && filled; id++) {
		goods_article(seed, id, &article);
		filled = article_insert(insert[INTO_ARTICLE], seed, &article) &&
		         companions_insert(insert, seed, &article, articles);
	}
	for (int i = 0; i < INTO; i++)
		sqlite3_finalize(insert[i]);
	return filled && sqlite3_exec(db, "COMMIT; CREATE INDEX article_by_sales ON article (category_id, sold); ANALYZE;"
	                                  " PRAGMA journal_mode = WAL;", NULL, NULL, NULL) == SQLITE_OK;
}

bool catalogue_create(const char *path, uint64_t seed, uint32_t articles, char *why, size_t why_size)
{
	static const char *const also[] = { "", "-wal", "-shm", "-journal" };
	char name[SHOP_PATH_MAX + 16];
	sqlite3 *db = NULL;
	bool created;

	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s%s", path, also[i]);
		unlink(name);
	}
	created = sqlite3_open(path, &db) == SQLITE_OK && fill(db, seed, articles);
	if (!created)
		snprintf(why, why_size, "%s: %s", path, db != NULL ? sqlite3_errmsg(db) : "no memory");
	sqlite3_close(db);
	return created;
}

/* ------------------------------------------------------------------ opening */

static int lock_wait(void *ctx, int times)
{
	struct catalogue *catalogue = ctx;
	uint64_t now = now_ns();

	if (times == 0)
		catalogue->waiting_since = now;
	if (now - catalogue->waiting_since > LOCK_WAIT_MAX)
		return 0;
	pause_ns(20000 + random_below(&catalogue->random, 180000));
	return 1;
}

static bool troubled(struct catalogue *catalogue)
{
	snprintf(catalogue->trouble, sizeof(catalogue->trouble), "%s", sqlite3_errmsg(catalogue->db));
	return false;
}

static bool prepare(struct catalogue *catalogue)
{
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(catalogue->db, text_of[i], -1, SQLITE_PREPARE_PERSISTENT, &catalogue->statement[i],
		                       NULL) != SQLITE_OK)
			return troubled(catalogue);
	return true;
}

struct catalogue *catalogue_open(const char *path, uint64_t seed, uint32_t articles)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));

	if (catalogue == NULL)
		return NULL;
	catalogue->seed = seed;
	catalogue->articles = articles;
	catalogue->random.state = now_ns() ^ (uint64_t)(uintptr_t)catalogue;
	if (sqlite3_open_v2(path, &catalogue->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
		sqlite3_busy_handler(catalogue->db, lock_wait, catalogue);
		if (sqlite3_exec(catalogue->db, "PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
		                 "PRAGMA mmap_size = 1073741824;", NULL, NULL, NULL) == SQLITE_OK && prepare(catalogue))
			return catalogue;
	}
	catalogue_close(catalogue);
	return NULL;
}

void catalogue_close(struct catalogue *catalogue)
{
	if (catalogue == NULL)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(catalogue->statement[i]);
	sqlite3_close(catalogue->db);
	free(catalogue);
}

const char *catalogue_trouble(const struct catalogue *catalogue)
{
	return catalogue->trouble;
}

/* ------------------------------------------------------------------ reading */

/* Appends to a page; the vocabulary holds nothing that JSON would have to escape. */
static int append(char *page, int size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int append(char *page, int size, const char *format, ...)
{
	va_list list;
	int more;

	va_start(list, format);
	more = vsnprintf(page + size, (size_t)(GOODS_PAGE_MAX - size), format, list);
	va_end(list);
	return size + more < GOODS_PAGE_MAX ? size + more : GOODS_PAGE_MAX - 1;
}

static int companions_append(struct catalogue *catalogue, uint32_t id, char *page, int size)
{
	sqlite3_stmt *reviews = catalogue->statement[REVIEWS], *related = catalogue->statement[RELATED];
	const char *comma = "";

	sqlite3_bind_int64(reviews, 1, id);
	size = append(page, size, ",\"latest\":[");
	for (; sqlite3_step(reviews) == SQLITE_ROW; comma = ",")
		size = append(page, size, "%s{\"title\":\"%s\",\"rating\":%d}", comma,
		              (const char *)sqlite3_column_text(reviews, 0), sqlite3_column_int(reviews, 1));
	sqlite3_reset(reviews);
	sqlite3_bind_int64(related, 1, id);
	size = append(page, size, "],\"also\":[");
	for (comma = ""; sqlite3_step(related) == SQLITE_ROW; comma = ",")
		size = append(page, size, "%s\"%s\"", comma, (const char *)sqlite3_column_text(related, 0));
	sqlite3_reset(related);
	return append(page, size, "]}");
}

static int rank_append(struct catalogue *catalogue, int64_t category, int64_t sold, char *page, int size)
{
	sqlite3_stmt *rank = catalogue->statement[RANK];

	sqlite3_bind_int64(rank, 1, category);
	sqlite3_bind_int64(rank, 2, sold);
	if (sqlite3_step(rank) == SQLITE_ROW)
		size = append(page, size, ",\"sales_rank\":%lld", sqlite3_column_int64(rank, 0));
	sqlite3_reset(rank);
	return size;
}

int catalogue_page(struct catalogue *catalogue, uint32_t id, char *page)
{
	sqlite3_stmt *row = catalogue->statement[PAGE];
	int size = -1, step;

	sqlite3_bind_int64(row, 1, id);
	step = sqlite3_step(row);
	if (step == SQLITE_ROW) {
		size = append(page, 0, "%s\"id\":%u,\"version\":%lld,\"price_cents\":%lld,\"stock\":%lld,\"name\":\"%s\","
		              "\"category\":\"%s\",\"brand\":\"%s\",\"description\":\"%s\",\"reviews\":%d,\"rating\":%.2f", PAGE_HEAD,
		              (unsigned)id, sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1), sqlite3_column_int64(row, 2),
		              (const char *)sqlite3_column_text(row, 3), (const char *)sqlite3_column_text(row, 4),
		              (const char *)sqlite3_column_text(row, 5), (const char *)sqlite3_column_text(row, 6),
		              sqlite3_column_int(row, 9), sqlite3_column_double(row, 10));
		size = rank_append(catalogue, sqlite3_column_int64(row, 7), sqlite3_column_int64(row, 8), page, size);
		size = companions_append(catalogue, id, page, size);
		goods_seal(page, (size_t)size);
	} else if (step == SQLITE_DONE) {
		size = 0;
	} else {
		troubled(catalogue);
	}
	sqlite3_reset(row);
	return size;
}

int catalogue_front(struct catalogue *catalogue, uint64_t serial, char *page)
{
	sqlite3_stmt *row = catalogue->statement[FRONT];
	const char *comma = "";
	int size, step;

	sqlite3_bind_int64(row, 1, catalogue->articles > FRONT_ARTICLES ? catalogue->articles - FRONT_ARTICLES : 0);
	size = append(page, 0, "%s\"serial\":%llu,\"categories\":[", PAGE_HEAD, (unsigned long long)serial);
	while ((step = sqlite3_step(row)) == SQLITE_ROW) {
		size = append(page, size, "%s{\"name\":\"%s\",\"articles\":%lld,\"stock\":%lld,\"from_cents\":%lld,"
		              "\"mean_cents\":%.0f,\"sold_most\":%lld}", comma, (const char *)sqlite3_column_text(row, 0),
		              sqlite3_column_int64(row, 1), sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3),
		              sqlite3_column_double(row, 4), sqlite3_column_int64(row, 5));
		comma = ",";
	}
	size = append(page, size, "]}");
	if (step != SQLITE_DONE) {
		troubled(catalogue);
		size = -1;
	}
	sqlite3_reset(row);
	if (size > 0)
		goods_seal(page, (size_t)size);
	return size;
}

/* ------------------------------------------------------------------ writing */

static int run(struct catalogue *catalogue, int which)
{
	int step = sqlite3_step(catalogue->statement[which]);

	if (step != SQLITE_DONE && step != SQLITE_ROW)
		troubled(catalogue);
	sqlite3_reset(catalogue->statement[which]);
	return step;
}

static bool version_read(struct catalogue *catalogue, uint32_t id, uint32_t *version)
{
	sqlite3_stmt *row = catalogue->statement[VERSION];
	bool found;

	sqlite3_bind_int64(row, 1, id);
	found = sqlite3_step(row) == SQLITE_ROW;
	*version = found ? (uint32_t)sqlite3_column_int64(row, 0) : 0;
	sqlite3_reset(row);
	return found || troubled(catalogue);
}

bool catalogue_write(struct catalogue *catalogue, struct history *history, uint32_t id, uint32_t *version,
                     uint32_t *event)
{
	sqlite3_stmt *write = catalogue->statement[WRITE];
	uint32_t before;

	if (run(catalogue, BEGIN) != SQLITE_DONE)
		return false;
	if (!version_read(catalogue, id, &before))
		goto fail;
	sqlite3_bind_int64(write, 1, id);
	sqlite3_bind_int64(write, 2, goods_price(catalogue->seed, id, before + 1));
	sqlite3_bind_int64(write, 3, goods_stock(catalogue->seed, id, before + 1));
	if (run(catalogue, WRITE) != SQLITE_DONE)
		goto fail;
	*version = before + 1;
	*event = history_append(history, id, *version);
	if (*event == 0) {
		snprintf(catalogue->trouble, sizeof(catalogue->trouble), "the version history is full");
		goto fail;
	}
	if (run(catalogue, COMMIT) != SQLITE_DONE)
		goto fail;
	history_committed(history, *event, now_ns());
	return true;
fail:
	if (!sqlite3_get_autocommit(catalogue->db))
		sqlite3_step(catalogue->statement[ROLLBACK]);
	sqlite3_reset(catalogue->statement[ROLLBACK]);
	return false;
}
