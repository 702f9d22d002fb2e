/* The room in words: the lease as JSON, and the least that a user in Redis must be allowed.
 *
 * ACL. Inside a function Redis checks the rights of whoever called it, so the rule names what the steps use as well:
 *
 *   ~<prefix>:*  ~<prefix>~*   data; tokens, hashes and logs of this namespace and version, and no other's
 *   &<prefix>~c:*              the shards' channels
 *   fcall function|load        the steps
 *   hmget hget hgetall hset del xadd xrange publish get getrange set setrange pttl time      what they do
 *   get subscribe ping info select                                                           what the connections do
 *
 * AUTH and HELLO need no right. Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/ */
#include "coherence/room.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
	char *buf;
	size_t size, used; /* used: what it would take without the NUL */
} writer;

__attribute__((format(printf, 2, 3))) static void say(writer *w, const char *format, ...)
{
	va_list args;
	size_t left = w->used < w->size ? w->size - w->used : 0;
	va_start(args, format);
	int n = vsnprintf(left != 0 ? w->buf + w->used : NULL, left, format, args);
	va_end(args);
	w->used += n > 0 ? (size_t)n : 0;
}

static int64_t left_ms(int64_t until_ns, int64_t now_ns)
{
	return until_ns > now_ns ? (until_ns - now_ns) / NEAR__MS_NS : 0;
}

size_t near__coherence_lease_json(near__coherence *c, char *buf, size_t buf_size)
{
	writer w = { buf, buf_size, 0 };
	int64_t now_ns = near__coarse_ns();
	if (buf_size != 0)
		buf[0] = '\0';
	say(&w, "{\"lease_ms\":%" PRIu64 ",\"left_ms\":%" PRId64 ",\"connected\":%s,\"subscribed\":%s,\"shards\":[",
	    c->config.lease_ms, left_ms(near__coherence_lease_until(c), now_ns), atomic_load(&c->ready) ? "true" : "false",
	    atomic_load(&c->subscribed) ? "true" : "false");
	for (unsigned i = 0; i < c->shards; i++) {
		near__pos pos = near__coherence_pos(c, i);
		say(&w,
		    "%s{\"shard\":%u,\"incarnation\":\"%016" PRIx64 "\",\"generation\":%" PRIu64 ",\"applied\":%" PRIu64
		    ",\"left_ms\":%" PRId64 "}",
		    i != 0 ? "," : "", i, near__coherence_incarnation(c, i), pos >> NEAR__SEQ_BITS, pos & NEAR__SEQ_MASK,
		    left_ms(near__coherence_shard_lease_until(c, i), now_ns));
	}
	say(&w, "]}");
	return w.used;
}

/* The prefix as a pattern that matches itself alone. */
static void say_literal(writer *w, const char *prefix)
{
	for (; *prefix != '\0'; prefix++)
		say(w, "%s%c", strchr("*?[]^\\", *prefix) != NULL ? "\\" : "", *prefix);
}

size_t near__coherence_acl(const char *prefix, char *buf, size_t buf_size)
{
	writer w = { buf, buf_size, 0 };
	if (buf_size != 0)
		buf[0] = '\0';
	say(&w, "resetkeys resetchannels -@all ~");
	say_literal(&w, prefix);
	say(&w, ":* ~");
	say_literal(&w, prefix);
	say(&w, "~* &");
	say_literal(&w, prefix);
	say(&w, "~c:* +fcall +function|load +hmget +hget +hgetall +hset +del +xadd +xrange +publish +get +getrange +set "
	        "+setrange +pttl +time +subscribe +ping +info +select");
	return w.used;
}
