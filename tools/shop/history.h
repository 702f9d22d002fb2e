/* The version history: what the database held when, so that every read can be judged.
 *
 *   newest[article] --> event {version 7, committed, acknowledged} --> {version 6, ...} --> ... --> {version 2, ...}
 *
 * A writer appends an event inside its transaction, so under the database's write lock: events of an article are in the
 * order of their versions. After the commit it notes when; after its invalidation was answered NEAR_OK it notes that.
 * Version 1 is what the database was filled with and has no event.
 *
 * A read of version v that began at `asked` and came back as fresh is judged by the events newer than v:
 *   age          asked - (the earliest moment at which one of them was acknowledged), if that lies before `asked`
 *   beyond       age is greater than the freshness lease: the promise is broken
 *   overtaken    one was committed before `asked`, though not yet acknowledged: allowed (nobody was told that it is done)
 * As an acknowledgement is noted after the call came back, and `asked` is taken before the read begins, both errors of
 * measuring are in favour of the cache by the time between two instructions, and there is no further tolerance.
 *
 * Threads: any, of any process that shares the mapping. A read costs one load when the value is the newest.
 */
#ifndef SHOP_HISTORY_H
#define SHOP_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

struct history;

struct judgement {
	bool unknown;             /* a version that the database never held */
	bool beyond;
	uint64_t age_ns;          /* 0: not older than what was acknowledged */
	uint64_t overtaken_ns;    /* 0: not older than what was committed */
};

/* Shared with all children forked later. NULL: no memory. */
struct history *history_create(uint32_t articles, uint32_t events_max);
/* Under the database's write lock, before the commit. 0: the history is full. */
uint32_t history_append(struct history *history, uint32_t article, uint32_t version);
void history_committed(struct history *history, uint32_t event, uint64_t now);
void history_acknowledged(struct history *history, uint32_t event, uint64_t now);
struct judgement history_judge(const struct history *history, uint32_t article, uint32_t version, uint64_t asked,
                               uint64_t lease_ns);
uint32_t history_newest(const struct history *history, uint32_t article);
uint32_t history_events(const struct history *history);

#endif
