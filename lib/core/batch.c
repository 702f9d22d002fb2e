/* Batches: L1 under one section with prefetching, then all that is missing in one round trip to Redis. Each key is judged,
 * fenced and counted as in read.c; a batch is no transaction. */
#include <stdlib.h>
#include "core/core.h"

enum { BATCH = 64 };

/* One batch in L1 under one section. Sets the status of every lookup: NEAR_OK, NEAR_MISS, NEAR_E_NOSPACE are final,
 * NEAR_E_UNAVAILABLE is for L2. Returns how many those are. */
static size_t batch_from_l1(near_cache *cache, near_lookup *lookups, near__key *keys, size_t count)
{
	near__l1_query queries[BATCH];
	near__l1_view views[BATCH];
	int64_t now_ns = near__coarse_ns();
	near__thread *self = near__self();
	bool leased[BATCH];
	size_t missing = 0, hits = 0;
	for (size_t i = 0; i < count; i++) {
		keys[i] = near__key_make(lookups[i].key, lookups[i].key_size);
		leased[i] = near__leased(cache, &keys[i], now_ns);
		queries[i] = (near__l1_query){ .hash = keys[i].local, .key = keys[i].bytes, .key_size = keys[i].size };
	}
	near__epoch_enter(self);
	near__l1_find_many(cache->l1, queries, count, now_ns, views);
	for (size_t i = 0; i < count; i++) {
		near_lookup *l = &lookups[i];
		l->item = (near_item){ .source = NEAR_FROM_NONE };
		if (views[i].entry == NULL || near__judge(cache, &keys[i], leased[i], now_ns, &views[i]) != NEAR__FRESH) {
			l->status = NEAR_E_UNAVAILABLE;
			missing++;
			continue;
		}
		near__sink sink = { .buf = l->buf, .buf_size = l->buf_size, .item = &l->item };
		hits++;
		l->status = views[i].flags & NEAR__ENTRY_NEGATIVE ? NEAR_MISS
		                                                   : near__sink_view(cache, &sink, &views[i], now_ns, NEAR_OK);
	}
	near__epoch_exit(self);
	near__count_by(cache->stats, self, NEAR__STAT_l1_hits, hits);
	near__count_by(cache->stats, self, NEAR__STAT_l1_misses, missing);
	return missing;
}

/* What one turn asks of Redis: up to KEYS keys in as few commands as answers of bounded size allow (an answer that is too
 * large would be refused as a whole), all of them in one round trip. */
enum { KEYS = 1024 };
#define ANSWER_BYTES_MAX (UINT64_C(256) << 20)

typedef struct mget {
	size_t count;
	size_t per_command;
	near_lookup *lookup[KEYS];
	near__before before[KEYS];
	size_t size[KEYS];           /* of each name */
	const char *argv[2 * KEYS];  /* "MGET" before the keys of each command */
	size_t sizes[2 * KEYS];
	near__command command[KEYS];
	near_status status[KEYS];
	near__reply *reply[KEYS];
	char *names;                 /* one after the other */
	size_t names_size, names_max;
} mget;

static size_t mget_commands(mget *m)
{
	const char *name = m->names;
	size_t commands = 0, at = 0;
	for (size_t i = 0; i < m->count; i++) {
		if (i % m->per_command == 0) {
			m->command[commands++] = (near__command){ .argc = 1, .argv = &m->argv[at], .sizes = &m->sizes[at] };
			m->argv[at] = "MGET";
			m->sizes[at++] = 4;
		}
		m->argv[at] = name;
		m->sizes[at++] = m->size[i];
		m->command[commands - 1].argc++;
		name += m->size[i];
	}
	return commands;
}

/* The answer to the command whose first key is `first`. */
static void mget_answer(near_cache *cache, mget *m, const near__terms *terms, size_t first, size_t count,
                        const near__reply *reply)
{
	for (size_t i = 0; i < count; i++) {
		near_lookup *l = m->lookup[first + i];
		near__key key = near__key_make(l->key, l->key_size);
		near__sink sink = { .buf = l->buf, .buf_size = l->buf_size, .item = &l->item };
		size_t size;
		const char *bytes = near__reply_bytes(near__reply_at(reply, i), &size);
		if (bytes != NULL)
			l->status = near__take(cache, &key, terms, &sink, &m->before[first + i], bytes, size);
		else
			near__count(cache->stats, NEAR__STAT_l2_misses);
	}
}

/* False: Redis does not answer. */
static bool mget_run(near_cache *cache, mget *m, const near__terms *terms)
{
	size_t commands = mget_commands(m);
	bool answered = true;
	near__redis_call_many(cache->redis, m->command, commands, terms->deadline_ns, m->status, m->reply);
	for (size_t c = 0; c < commands; c++) {
		size_t count = (size_t)m->command[c].argc - 1;
		if (m->status[c] == NEAR_OK && near__reply_count(m->reply[c]) == count) {
			mget_answer(cache, m, terms, c * m->per_command, count, m->reply[c]);
		} else {
			near__count(cache->stats, NEAR__STAT_l2_errors);
			answered = false;
		}
		if (m->status[c] == NEAR_OK)
			near__reply_free(m->reply[c]);
	}
	return answered;
}

static bool mget_add(near_cache *cache, mget *m, near_lookup *lookup)
{
	if (m->names_max - m->names_size < NEAR__NAME_MAX) {
		size_t more = m->names_max * 2 + 8 * NEAR__NAME_MAX;
		char *names = realloc(m->names, more);
		if (names == NULL)
			return false;
		m->names = names;
		m->names_max = more;
	}
	near__key key = near__key_make(lookup->key, lookup->key_size);
	if (!near__l2_usable(cache, &key))
		return true;
	near__before_take(cache, &key, &m->before[m->count]);
	m->lookup[m->count] = lookup;
	m->size[m->count] = near__l2_data_name(cache->prefix, lookup->key, lookup->key_size, m->names + m->names_size);
	m->names_size += m->size[m->count++];
	return true;
}

/* Everything that is still NEAR_E_UNAVAILABLE, KEYS at a time. */
static void batch_from_l2(near_cache *cache, near_lookup *lookups, size_t count, const near__terms *terms)
{
	mget *m = malloc(sizeof *m);
	if (m == NULL)
		return;
	uint64_t each = cache->settings.o.value_max_bytes + NEAR__ENVELOPE_HEAD + NEAR_TAGS_MAX * sizeof(near__tag);
	m->per_command = each * KEYS <= ANSWER_BYTES_MAX ? KEYS : ANSWER_BYTES_MAX / each > 0 ? ANSWER_BYTES_MAX / each : 1;
	m->count = m->names_size = m->names_max = 0;
	m->names = NULL;
	for (size_t i = 0; i < count; i++) {
		if (lookups[i].status == NEAR_E_UNAVAILABLE && !mget_add(cache, m, &lookups[i]))
			break;
		if (m->count == 0 || (m->count < KEYS && i + 1 < count))
			continue;
		if (!mget_run(cache, m, terms))
			break;
		m->count = m->names_size = 0;
	}
	free(m->names);
	free(m);
}

void near__get_many(near_cache *cache, near_lookup *lookups, size_t count, const near__terms *terms)
{
	near__key keys[BATCH];
	size_t missing = 0;
	for (size_t i = 0; i < count; i += BATCH) {
		size_t n = count - i < BATCH ? count - i : BATCH;
		if (terms->flags & NEAR_NO_L1) {
			for (size_t j = i; j < i + n; j++)
				lookups[j].status = NEAR_E_UNAVAILABLE;
			missing += n;
		} else {
			missing += batch_from_l1(cache, lookups + i, keys, n);
		}
	}
	if (missing == 0)
		return;
	if (cache->coherence != NULL && !(terms->flags & NEAR_NO_L2))
		batch_from_l2(cache, lookups, count, terms);
	for (size_t i = 0; i < count; i++) {
		near_lookup *l = &lookups[i];
		if (l->status != NEAR_E_UNAVAILABLE)
			continue;
		near__key key = near__key_make(l->key, l->key_size);
		near__sink sink = { .buf = l->buf, .buf_size = l->buf_size, .item = &l->item };
		bool stale = terms->stale_allowed && !(terms->flags & NEAR_NO_L1);
		l->status = stale ? near__stale_from_l1(cache, &key, &sink) : NEAR_MISS;
		if (l->status == NEAR_E_UNAVAILABLE)
			l->status = NEAR_MISS;
	}
}
