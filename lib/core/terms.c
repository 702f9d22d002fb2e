/* The settings of one call: what the call says, and the cache's own where it says nothing. A caller compiled against an
 * older header hands a shorter near_call; what it does not know of is left at zero. */
#include <string.h>
#include "core/core.h"

static near_status tags_take(const near_call *call, near__terms *terms)
{
	if (call->tag_count > NEAR_TAGS_MAX || (call->tag_count > 0 && call->tags == NULL))
		return NEAR_E_USAGE;
	for (size_t i = 0; i < call->tag_count; i++) {
		const char *tag = call->tags[i];
		size_t size = tag != NULL ? strnlen(tag, NEAR_TAG_MAX + 1) : 0;
		if (size == 0 || size > NEAR_TAG_MAX)
			return NEAR_E_USAGE;
		terms->tags[i] = near__hash_shared(tag, size);
	}
	terms->tag_count = (uint32_t)call->tag_count;
	return NEAR_OK;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

near_status near__terms_make(const near_cache *cache, const near_call *given, near__terms *terms)
{
	const near_options *o = &cache->settings.o;
	near_call call = { .struct_size = sizeof call };
	if (given != NULL) {
		if (given->struct_size < sizeof given->struct_size)
			return NEAR_E_USAGE;
		memcpy(&call, given, least(given->struct_size, sizeof call));
	}
	terms->flags = call.flags;
	terms->stale_allowed = o->stale_ok || (call.flags & NEAR_STALE_ALLOWED);
	terms->begun_ns = near__now_ns();
	uint64_t redis_ms = call.deadline_ms != 0 ? call.deadline_ms : o->deadline_ms;
	uint64_t wait_ms = call.deadline_ms != 0 ? call.deadline_ms : o->load_deadline_ms;
	terms->deadline_ns = terms->begun_ns + (int64_t)redis_ms * NEAR__MS_NS;
	terms->wait_deadline_ns = terms->begun_ns + (int64_t)wait_ms * NEAR__MS_NS;
	terms->ttl_ms = least(call.ttl_ms != 0 ? call.ttl_ms : o->ttl_ms, o->ttl_max_ms);
	terms->stale_ms = call.stale_ms == NEAR_NO_STALE ? 0 : call.stale_ms != 0 ? call.stale_ms : o->stale_ms;
	terms->stale_ms = least(terms->stale_ms, o->ttl_max_ms);
	terms->version = call.version;
	terms->beta = call.beta < 0 ? 0 : call.beta > 0 ? call.beta : o->beta;
	terms->tag_count = 0;
	return call.tag_count > 0 ? tags_take(&call, terms) : NEAR_OK;
}

uint64_t near__terms_jitter(const near_cache *cache, uint64_t ttl_ms)
{
	double share = cache->settings.o.ttl_jitter_percent / 100.0;
	double random = (double)(near__random_next(&near__self()->random) >> 11) * 0x1p-53;
	uint64_t less = (uint64_t)((double)ttl_ms * share * random);
	return less < ttl_ms ? ttl_ms - less : 1;
}
