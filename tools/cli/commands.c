/* The commands: each a few lines around one call of the library. The table at the end is also the help. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli.h"
#include "json.h"
#include "loader.h"

#define KEY(r) (r)->argument[0].bytes, (r)->argument[0].size
#define VALUE(r) (r)->argument[1].bytes, (r)->argument[1].size

static uint64_t deadline_of(const request *r)
{
	return r->call.deadline_ms > 0 ? r->call.deadline_ms : 1000;
}

/* ------------------------------------------------------------- values */

static void took_pin(answer *a)
{
	a->has_value = a->status == NEAR_OK || a->status == NEAR_STALE;
	if (!a->has_value)
		return;
	text_format(&a->members, ",\"value_size\":%zu,\"version\":%llu,\"ttl_ms\":%lld", a->value.value_size,
	            (unsigned long long)a->value.item.version, (long long)a->value.item.ttl_ms);
}

static void run_get(session *s, const request *r, answer *a)
{
	a->status = near_get_pinned(s->cache, KEY(r), &r->call, &a->value);
	took_pin(a);
}

static void run_load(session *s, const request *r, answer *a)
{
	loader_plan(&(plan){ r->argument[0], r->argument[1], r->cost_ms, r->fails, r->misses });
	a->status = near_load_pinned(s->cache, KEY(r), loader_run, NULL, &r->call, &a->value);
	took_pin(a);
}

static void run_put(session *s, const request *r, answer *a)
{
	a->status = near_put(s->cache, KEY(r), VALUE(r), &r->call);
}

static void run_add(session *s, const request *r, answer *a)
{
	a->status = near_add(s->cache, KEY(r), VALUE(r), &r->call);
}

static void run_replace(session *s, const request *r, answer *a)
{
	a->status = near_replace(s->cache, KEY(r), VALUE(r), &r->call);
}

static void run_cas(session *s, const request *r, answer *a)
{
	a->status = near_put_if_version(s->cache, KEY(r), VALUE(r), r->expected, &r->call);
}

static void run_invalidate(session *s, const request *r, answer *a)
{
	a->status = near_invalidate(s->cache, KEY(r), &r->call);
}

static void run_remove(session *s, const request *r, answer *a)
{
	a->status = near_remove(s->cache, KEY(r), &r->call);
}

static void run_invalidate_tag(session *s, const request *r, answer *a)
{
	/* A tag is a string to the library: a NUL would silently cut it. */
	if (memchr(r->argument[0].bytes, '\0', r->argument[0].size) != NULL)
		a->status = NEAR_E_USAGE;
	else
		a->status = near_invalidate_tag(s->cache, r->argument[0].bytes, &r->call);
}

static void run_exists(session *s, const request *r, answer *a)
{
	a->status = near_exists(s->cache, KEY(r), &r->call);
}

static void run_ttl(session *s, const request *r, answer *a)
{
	uint64_t ttl_ms = 0;
	a->status = near_ttl(s->cache, KEY(r), &r->call, &ttl_ms);
	if (a->status != NEAR_OK)
		return;
	text_format(&a->members, ",\"ttl_ms\":%llu", (unsigned long long)ttl_ms);
	text_format(&a->words, "%llu ms\n", (unsigned long long)ttl_ms);
}

static void run_touch(session *s, const request *r, answer *a)
{
	uint64_t ttl_ms;
	if (!number_of(r->argument[1], &ttl_ms) || ttl_ms == 0) {
		a->status = NEAR_E_USAGE;
		text_put(&a->error, "TTL_MS should be milliseconds above 0");
		return;
	}
	a->status = near_touch(s->cache, KEY(r), ttl_ms, &r->call);
}

/* ------------------------------------------------------------- the process */

void text_of(near_cache *cache, size_t (*writer)(near_cache *cache, char *buf, size_t buf_size), text *out)
{
	/* Figures change between two calls, so the need is asked for until it fits; each try has room to spare. */
	for (size_t room = 16384;;) {
		char *buf = must_alloc(room);
		size_t need = writer(cache, buf, room);
		if (need < room)
			text_add(out, buf, need);
		free(buf);
		if (need < room)
			return;
		room = need + 1024;
	}
}

/* "name":<the library's JSON>, brought onto one line: a raw newline in JSON is never part of a string. */
static void embed(session *s, answer *a, const char *name, size_t (*writer)(near_cache *, char *, size_t))
{
	text_format(&a->members, ",\"%s\":", name);
	size_t from = a->members.size;
	text_of(s->cache, writer, &a->members);
	for (size_t i = from; i < a->members.size; i++)
		if (a->members.bytes[i] == '\n' || a->members.bytes[i] == '\r')
			a->members.bytes[i] = ' ';
	text_add(&a->words, a->members.bytes + from, a->members.size - from);
	text_put(&a->words, "\n");
}

static void run_stats(session *s, const request *r, answer *a)
{
	(void)r;
	embed(s, a, "stats", near_stats_json);
}

static void run_lease(session *s, const request *r, answer *a)
{
	(void)r;
	embed(s, a, "lease", near_lease_json);
}

static void run_config(session *s, const request *r, answer *a)
{
	(void)r;
	embed(s, a, "config", near_config_json);
}

static void run_ping(session *s, const request *r, answer *a)
{
	a->status = near_ping(s->cache, deadline_of(r));
}

static void run_ready(session *s, const request *r, answer *a)
{
	a->status = near_wait_ready(s->cache, deadline_of(r));
}

static void run_version(session *s, const request *r, answer *a)
{
	(void)s;
	(void)r;
	text_format(&a->members, ",\"version\":\"%s\"", near_version());
	text_format(&a->words, "nearcache %s\n", near_version());
}

static void run_sleep(session *s, const request *r, answer *a)
{
	(void)s;
	uint64_t ms;
	if (!number_of(r->argument[0], &ms)) {
		a->status = NEAR_E_USAGE;
		text_put(&a->error, "MS should be milliseconds");
		return;
	}
	struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	while (nanosleep(&left, &left) != 0)
		continue;
}

static void run_quit(session *s, const request *r, answer *a)
{
	(void)r;
	(void)a;
	s->wants_quit = true;
}

static void run_help(session *s, const request *r, answer *a)
{
	(void)s;
	(void)r;
	help_all(&a->words);
	text_put(&a->members, ",\"help\":");
	json_string(&a->members, a->words.bytes, a->words.size);
}

/* ------------------------------------------------------------- the table */

#define READ_OPTIONS "stale_ok no_l1 no_l2 deadline_ms"
#define WRITE_OPTIONS "ttl_ms stale_ms version tags no_l1 no_l2 deadline_ms"

const command commands[] = {
	{ "get", "KEY", READ_OPTIONS, "look a value up in L1, then in Redis",
	  "  With stale_ok=1 a value that cannot be vouched for is given too, with the status STALE.\n", 1, ANYWHERE, true,
	  run_get },
	{ "put", "KEY VALUE", WRITE_OPTIONS, "put a value here and in Redis; other processes drop theirs",
	  "  With version=N nothing is done when the same or a higher version is there (CONFLICT).\n"
	  "  After a write to a database prefer invalidate: two writers' puts may arrive in another order than\n"
	  "  their commits did.\n",
	  2, ANYWHERE, false, run_put },
	{ "add", "KEY VALUE", WRITE_OPTIONS, "put only if there is no fresh value (else EXISTS)", "", 2, ANYWHERE, false,
	  run_add },
	{ "replace", "KEY VALUE", WRITE_OPTIONS, "put only if there is a fresh value (else MISS)", "", 2, ANYWHERE, false,
	  run_replace },
	{ "cas", "KEY VALUE", "expected " WRITE_OPTIONS, "put version=N only if the version there is expected=M", "", 2,
	  ANYWHERE, false, run_cas },
	{ "load", "KEY VALUE", "cost_ms fail miss ttl_ms stale_ms version tags beta stale_ok refresh no_l1 no_l2 deadline_ms",
	  "get; where nothing is found, load: one process and one thread at a time",
	  "  The source is played: it sleeps cost_ms, then gives VALUE, or fails (fail=1), or has none (miss=1).\n"
	  "  refresh=1 loads although a fresh value is there. beta=0: no refresh before expiry.\n"
	  "  A refresh in the background gives what the newest load of the key says.\n",
	  2, ANYWHERE, false, run_load },
	{ "invalidate", "KEY", "deadline_ms", "the source has changed: nobody serves the old value as fresh any more",
	  "  OK: Redis has acknowledged it. Within its stale window the value may still stand in for a source that fails.\n",
	  1, ANYWHERE, false, run_invalidate },
	{ "invalidate_tag", "TAG", "deadline_ms", "invalidate all values that carry the tag", "", 1, ANYWHERE, false,
	  run_invalidate_tag },
	{ "remove", "KEY", "deadline_ms", "the value is gone for good, also as a stale one", "", 1, ANYWHERE, false,
	  run_remove },
	{ "exists", "KEY", READ_OPTIONS, "is there a fresh value?", "", 1, ANYWHERE, true, run_exists },
	{ "ttl", "KEY", READ_OPTIONS, "the remaining life of a value", "", 1, ANYWHERE, true, run_ttl },
	{ "touch", "KEY TTL_MS", "deadline_ms", "give a fresh value a new life", "", 2, ANYWHERE, true, run_touch },
	{ "stats", "", "", "all figures of this process",
	  "  One command's process has just begun; in a shell the figures are those of the session.\n"
	  "  nearcache --prometheus stats prints them as Prometheus text, --json as JSON.\n",
	  0, ANYWHERE, false, run_stats },
	{ "lease", "", "", "the freshness lease: per shard incarnation, applied sequence, time left", "", 0, ANYWHERE, false,
	  run_lease },
	{ "config", "", "", "every option with value, source (default, program, environment) and meaning",
	  "  Also prints the ACL rule that the library's user in Redis needs. Does not talk to Redis.\n", 0, ANYWHERE, false,
	  run_config },
	{ "ping", "", "deadline_ms", "does Redis answer?", "", 0, ANYWHERE, false, run_ping },
	{ "ready", "", "deadline_ms", "wait until this process holds its freshness lease, so that L1 serves", "", 0, ANYWHERE,
	  false, run_ready },
	{ "version", "", "", "the version of the library", "", 0, ANYWHERE, false, run_version },
	{ "shell", "", "", "read one command a line from standard input, answer one JSON object a line",
	  "  See: nearcache help shell\n", 0, ONCE_ONLY, false, NULL },
	{ "sleep", "MS", "", "wait", "", 1, SHELL_ONLY, false, run_sleep },
	{ "help", "", "", "this text", "", 0, SHELL_ONLY, false, run_help },
	{ "quit", "", "", "end the shell; so does the end of the input", "", 0, SHELL_ONLY, false, run_quit },
	{ NULL, "", "", "", "", 0, ANYWHERE, false, NULL },
};

const command *command_find(word name)
{
	for (const command *c = commands; c->name != NULL; c++)
		if (word_is(name, c->name))
			return c;
	return NULL;
}
