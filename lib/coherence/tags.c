/* Invalidation of a tag. Entries of a tag lie in all shards, so the change is logged in all of them, one step each,
 * sent as one pipeline. Each shard then orders it among its own changes, and a value is valid if its as-of in *its*
 * shard is not below the tag's position *there*.
 *
 * What is remembered of tags is bounded: NEAR__TAG_STRIPES sequences per shard, here and in the shard's hash in Redis,
 * each the last invalidation of any tag of that stripe. Two tags of one stripe invalidate each other's older values,
 * which costs loads and is never wrong. A hash that is lost takes the incarnation with it, and every tagged value too,
 * so the tags need no guard of their own.
 *
 * When some shards answer and others do not, the status is the worst one, and the caller asks again: a tag invalidated
 * twice is invalidated. */
#include "coherence/room.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct tag_steps {
	near__args *args;
	near__command *commands;
	near_status *statuses;
	near__reply **replies;
	near__pos *before; /* the position before the steps were sent */
} tag_steps;

static void steps_free(tag_steps *t)
{
	free(t->args);
	free(t->commands);
	free(t->statuses);
	free(t->replies);
	free(t->before);
}

static bool steps_make(tag_steps *t, unsigned shards)
{
	t->args = calloc(shards, sizeof(*t->args));
	t->commands = calloc(shards, sizeof(*t->commands));
	t->statuses = calloc(shards, sizeof(*t->statuses));
	t->replies = calloc(shards, sizeof(*t->replies));
	t->before = calloc(shards, sizeof(*t->before));
	if (t->args != NULL && t->commands != NULL && t->statuses != NULL && t->replies != NULL && t->before != NULL)
		return true;
	steps_free(t);
	return false;
}

/* 2 meta log run nonce shards channel log_max writer t tag stripe */
static void build(near__coherence *c, const near__shard *s, near__args *a, const char tag_bytes[8], const char *stripe)
{
	near__args_begin(a, c, NEAR__F_TAG);
	near__args_text(a, "2");
	near__args_text(a, s->meta);
	near__args_text(a, s->log);
	near__args_enter(a, c);
	near__args_text(a, s->channel);
	near__args_text(a, c->log_max_text);
	near__args_add(a, c->writer_text, NEAR__HEX);
	near__args_text(a, "t");
	near__args_add(a, tag_bytes, 8);
	near__args_text(a, stripe);
}

/* Own gets see it at once, like those of others when the message comes. An answer of an incarnation that is not known here
 * (yet) has no position of ours: then all of the generation that was current before the step was sent is older. What has
 * an as-of of a later generation was read after this incarnation had ended, so after the step. */
static near_status take(near__coherence *c, unsigned shard, uint64_t tag, near__pos before, const near__reply *reply)
{
	uint64_t incarnation, seq;
	if (!near__step_read(reply, 0, &incarnation, &seq))
		return near__step_error(c, reply);
	near__pos pos = near__step_pos(c, shard, incarnation, seq);
	near__shard_raise(&c->shard[shard].tags[tag % NEAR__TAG_STRIPES], pos != 0 ? pos : before | NEAR__SEQ_MASK);
	return NEAR_OK;
}

/* A shard whose answer is missing or a refusal: alone and once more when the function was not there. */
static near_status take_or_repeat(near__coherence *c, tag_steps *t, unsigned shard, uint64_t tag, int64_t deadline_ns)
{
	near__reply *reply = t->replies[shard];
	near_status status = t->statuses[shard];
	if (status == NEAR_OK && near__library_is_missing(reply)) {
		near__reply *again = NULL;
		status = near__step_call(c, &t->args[shard], deadline_ns, &again);
		near__reply_free(reply);
		reply = again;
	}
	if (status == NEAR_OK)
		status = take(c, shard, tag, t->before[shard], reply);
	near__reply_free(reply);
	return status;
}

near_status near__coherence_invalidate_tag(near__coherence *c, uint64_t tag, int64_t deadline_ns)
{
	tag_steps t;
	char tag_bytes[8], stripe[16];
	near_status worst = NEAR_OK;
	int64_t begun_ns = near__now_ns();
	if (!steps_make(&t, c->shards))
		return NEAR_E_NOMEM;
	for (int i = 0; i < 8; i++)
		tag_bytes[i] = (char)(unsigned char)(tag >> (8 * i));
	(void)snprintf(stripe, sizeof(stripe), "%u", (unsigned)(tag % NEAR__TAG_STRIPES));
	for (unsigned i = 0; i < c->shards; i++) {
		t.before[i] = near__coherence_pos(c, i);
		build(c, &c->shard[i], &t.args[i], tag_bytes, stripe);
		t.commands[i] = (near__command){ t.args[i].argc, t.args[i].argv, t.args[i].sizes };
	}
	near__redis_call_many(c->redis, t.commands, c->shards, deadline_ns, t.statuses, t.replies);
	for (unsigned i = 0; i < c->shards; i++) {
		near_status status = take_or_repeat(c, &t, i, tag, deadline_ns);
		if (status != NEAR_OK)
			worst = status;
	}
	steps_free(&t);
	if (worst == NEAR_OK)
		near__histogram_add(c->config.redis.stats->latency[NEAR_LATENCY_INVALIDATE],
		                    (uint64_t)(near__now_ns() - begun_ns));
	return worst;
}
