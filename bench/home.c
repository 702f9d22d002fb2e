/* See home.h. */
#include "home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/hash.h"

static bool program_is_there(const char *name)
{
	char at[4096];
	const char *path = getenv("PATH");
	while (path != NULL && *path != '\0') {
		size_t size = strcspn(path, ":");
		if (size > 0 && snprintf(at, sizeof(at), "%.*s/%s", (int)size, path, name) < (int)sizeof(at) &&
		    access(at, X_OK) == 0)
			return true;
		path += size + (path[size] == ':');
	}
	return false;
}

bool bench_home_open(bench_home *home, const char *url, near_error *error)
{
	uint64_t random;
	near__random_bytes(&random, sizeof(random));
	*home = (bench_home){.url = url};
	(void)snprintf(home->name_space, sizeof(home->name_space), "nearbench-%08x", (unsigned)random);
	if (url == NULL) {
		if (!program_is_there("redis-server")) {
			(void)snprintf(error->text, sizeof(error->text),
			               "there is no redis-server in PATH to start a private one; install it or give --redis URL");
			return false;
		}
		home->own = redis_server_start(NULL);
		home->url = redis_server_url(home->own);
	}
	if (near__url_parse(home->url, &home->at, error) != NEAR_OK)
		return false;
	redisContext *redis = bench_home_connect(home, error);
	if (redis == NULL)
		return false;
	redisFree(redis);
	return true;
}

static bool answer_is_good(redisContext *redis, redisReply *reply, near_error *error)
{
	bool good = reply != NULL && reply->type != REDIS_REPLY_ERROR;
	if (!good)
		(void)snprintf(error->text, sizeof(error->text), "Redis: %s", reply != NULL ? reply->str : redis->errstr);
	if (reply != NULL)
		freeReplyObject(reply);
	return good;
}

static bool greet(redisContext *redis, const near__url *at, near_error *error)
{
	bool good = true;
	if (at->user[0] != '\0')
		good = answer_is_good(redis, redisCommand(redis, "AUTH %s %s", at->user, at->password), error);
	else if (at->password[0] != '\0')
		good = answer_is_good(redis, redisCommand(redis, "AUTH %s", at->password), error);
	if (good && at->db != 0)
		good = answer_is_good(redis, redisCommand(redis, "SELECT %u", (unsigned)at->db), error);
	return good && answer_is_good(redis, redisCommand(redis, "PING"), error);
}

redisContext *bench_home_connect(const bench_home *home, near_error *error)
{
	const near__url *at = &home->at;
	struct timeval patience = {.tv_sec = 5};
	redisContext *redis = at->is_unix ? redisConnectUnixWithTimeout(at->host, patience)
	                                  : redisConnectWithTimeout(at->host, at->port, patience);
	if (redis == NULL || redis->err != 0) {
		(void)snprintf(error->text, sizeof(error->text), "Redis: %s", redis != NULL ? redis->errstr : "no memory");
	} else if (greet(redis, at, error)) {
		return redis;
	}
	if (redis != NULL)
		redisFree(redis);
	return NULL;
}

void bench_home_options(const bench_home *home, near_options *options)
{
	near_options_init(options);
	options->ignore_environment = 1;
	options->redis_url = home->url;
	options->name_space = home->name_space;
	options->deadline_ms = 5000; /* a harness wants the answer, not the way around it */
}

/* Unlinks one page of a SCAN; false when it was the last, or Redis fails. */
static bool sweep_page(const bench_home *home, redisContext *redis, char *cursor, size_t cursor_room)
{
	redisReply *page = redisCommand(redis, "SCAN %s MATCH %s:* COUNT 1000", cursor, home->name_space);
	bool more = page != NULL && page->type == REDIS_REPLY_ARRAY && page->elements == 2;
	for (size_t i = 0; more && i < page->element[1]->elements; i++) {
		redisReply *key = page->element[1]->element[i];
		redisReply *gone = redisCommand(redis, "UNLINK %b", key->str, key->len);
		if (gone != NULL)
			freeReplyObject(gone);
	}
	if (more) {
		(void)snprintf(cursor, cursor_room, "%s", page->element[0]->str);
		more = strcmp(cursor, "0") != 0;
	}
	if (page != NULL)
		freeReplyObject(page);
	return more;
}

void bench_home_close(bench_home *home)
{
	near_error error;
	char cursor[32] = "0";
	redisContext *redis = home->own == NULL ? bench_home_connect(home, &error) : NULL;
	if (redis != NULL) {
		while (sweep_page(home, redis, cursor, sizeof(cursor)))
			;
		redisFree(redis);
	}
	redis_server_free(home->own);
}
