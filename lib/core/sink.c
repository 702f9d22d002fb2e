/* How a value reaches the caller: copied into a buffer, or pinned.
 *
 * A pin of an L1 entry is the entry's reference count. A value that is not in L1 (declined, overtaken, straight from a
 * loader) is pinned as a copy of its own on the heap; the lowest bit of `held` tells the two apart.
 */
#include <stdlib.h>
#include <string.h>
#include "core/core.h"

static void *held_copy(void *copy)
{
	NEAR_DEBUG_ASSERT(((uintptr_t)copy & 1) == 0);
	return (void *)((uintptr_t)copy | 1);
}

static void item_set(near_item *item, size_t value_size, uint64_t version, int64_t ttl_ms, near_source source)
{
	if (item != NULL)
		*item = (near_item){ .value_size = value_size, .version = version, .ttl_ms = ttl_ms, .source = source };
}

near_status near__sink_view(near_cache *cache, const near__sink *sink, const near__l1_view *view, int64_t now_ns,
                            near_status status)
{
	int64_t left = view->fresh_until_ns - now_ns;
	int64_t ttl_ms = status == NEAR_STALE && left > 0 ? 0 : left / NEAR__MS_NS;
	if (sink->pin != NULL) {
		near__pin *held = near__l1_pin(cache->l1, view);
		if (held == NULL)
			return near__sink_bytes(sink, view->value, view->value_size, view->version, ttl_ms, NEAR_FROM_L1, status);
		*sink->pin = (near_pin){ .value = view->value, .value_size = view->value_size, .held = held };
		item_set(&sink->pin->item, view->value_size, view->version, ttl_ms, NEAR_FROM_L1);
		return status;
	}
	item_set(sink->item, view->value_size, view->version, ttl_ms, NEAR_FROM_L1);
	if (NEAR_UNLIKELY(view->value_size > sink->buf_size))
		return NEAR_E_NOSPACE;
	if (view->value_size != 0)
		memcpy(sink->buf, view->value, view->value_size);
	return status;
}

near_status near__sink_bytes(const near__sink *sink, const void *value, size_t value_size, uint64_t version,
                             int64_t ttl_ms, near_source source, near_status status)
{
	if (sink->pin != NULL) {
		void *copy = malloc(value_size > 0 ? value_size : 1);
		if (copy == NULL)
			return NEAR_E_NOMEM;
		if (value_size > 0)
			memcpy(copy, value, value_size);
		*sink->pin = (near_pin){ .value = copy, .value_size = value_size, .held = held_copy(copy) };
		item_set(&sink->pin->item, value_size, version, ttl_ms, source);
		return status;
	}
	item_set(sink->item, value_size, version, ttl_ms, source);
	if (value_size > sink->buf_size)
		return NEAR_E_NOSPACE;
	if (value_size > 0)
		memcpy(sink->buf, value, value_size);
	return status;
}

void near__sink_unpin(near_pin *pin)
{
	uintptr_t held = (uintptr_t)pin->held;
	*pin = (near_pin){ .value = NULL };
	if (held == 0)
		return;
	if (held & 1)
		free((void *)(held & ~(uintptr_t)1));
	else
		near__l1_unpin((near__pin *)held);
}
