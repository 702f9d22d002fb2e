/* See history.h. Events are never reused, so a list can be walked without a lock while it grows. */
#include "history.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

struct commit {
	uint32_t version, older; /* index of the next older event of the article; 0: none */
	_Atomic uint64_t committed, acknowledged; /* 0: not yet */
};

struct history {
	struct commit *event;
	uint32_t events_max;
	_Atomic uint32_t events;
	_Atomic uint32_t newest[]; /* by article: index of its newest event; 0: none */
};

static void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

struct history *history_create(uint32_t articles, uint32_t events_max)
{
	struct history *history = shared(sizeof(*history) + (articles + UINT64_C(1)) * sizeof(history->newest[0]));

	if (history == NULL)
		return NULL;
	history->event = shared((events_max + UINT64_C(1)) * sizeof(struct commit));
	if (history->event == NULL)
		return NULL;
	history->events_max = events_max;
	return history;
}

uint32_t history_append(struct history *history, uint32_t article, uint32_t version)
{
	uint32_t index = atomic_fetch_add_explicit(&history->events, 1, memory_order_relaxed) + 1;

	if (index > history->events_max)
		return 0;
	history->event[index].version = version;
	history->event[index].older = atomic_load_explicit(&history->newest[article], memory_order_relaxed);
	/* HISTORY-EVENT, release: pairs with judge. The event is whole before its article leads to it. */
	atomic_store_explicit(&history->newest[article], index, memory_order_release);
	return index;
}

void history_committed(struct history *history, uint32_t event, uint64_t now)
{
	atomic_store_explicit(&history->event[event].committed, now, memory_order_relaxed);
}

void history_acknowledged(struct history *history, uint32_t event, uint64_t now)
{
	atomic_store_explicit(&history->event[event].acknowledged, now, memory_order_relaxed);
}

static void widen(uint64_t *age, uint64_t moment, uint64_t asked)
{
	if (moment != 0 && moment < asked && asked - moment > *age)
		*age = asked - moment;
}

struct judgement history_judge(const struct history *history, uint32_t article, uint32_t version, uint64_t asked,
                               uint64_t lease_ns)
{
	struct judgement judgement = { 0 };
	/* HISTORY-EVENT, acquire: pairs with history_append. */
	uint32_t index = atomic_load_explicit(&history->newest[article], memory_order_acquire);

	if (version > (index == 0 ? 1 : history->event[index].version) || version == 0)
		judgement.unknown = true;
	for (; index != 0 && history->event[index].version > version; index = history->event[index].older) {
		struct commit *event = &history->event[index];

		widen(&judgement.age_ns, atomic_load_explicit(&event->acknowledged, memory_order_relaxed), asked);
		widen(&judgement.overtaken_ns, atomic_load_explicit(&event->committed, memory_order_relaxed), asked);
	}
	judgement.beyond = judgement.age_ns > lease_ns;
	return judgement;
}

uint32_t history_newest(const struct history *history, uint32_t article)
{
	uint32_t index = atomic_load_explicit(&history->newest[article], memory_order_acquire);

	return index == 0 ? 1 : history->event[index].version;
}

uint32_t history_events(const struct history *history)
{
	uint32_t events = atomic_load_explicit(&history->events, memory_order_relaxed);

	return events < history->events_max ? events : history->events_max;
}
