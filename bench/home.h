/* The Redis that a command runs against: the one of --redis, or a private one of its own (a unix socket in a folder that
 * goes with it; the server is killed with this process). Everything lies in a namespace of this run alone, and is taken
 * out of a Redis of the user's again at the end.
 *
 * Open it from the main thread, before forking; only the process that opened it closes it.
 */
#ifndef NEAR_BENCH_HOME_H
#define NEAR_BENCH_HOME_H

#include <hiredis/hiredis.h>
#include <nearcache/nearcache.h>
#include "redis/url.h"
#include "support/redis_server.h"

typedef struct bench_home {
	redis_server *own;
	const char *url;
	near__url at;
	char name_space[32];
} bench_home;

/* NULL: a private server. False: error->text says why. */
bool bench_home_open(bench_home *home, const char *url, near_error *error);
void bench_home_close(bench_home *home);

/* A bare connection, as a program without the library would have it. NULL: no answer; `error` says why. */
redisContext *bench_home_connect(const bench_home *home, near_error *error);

/* Options of a cache on this Redis, the environment ignored. */
void bench_home_options(const bench_home *home, near_options *options);

#endif
