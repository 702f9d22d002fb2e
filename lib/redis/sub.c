/* The subscription: its own connection, because a subscribed RESP2 connection answers hardly any other command.
 *
 * It is made after the data connection has said hello, to the same address, and only counts if the server has the same
 * run_id: behind a name or a balancer two connections may end at two servers, and messages of another server prove
 * nothing about the data.
 *
 * Replies here answer nothing in particular; they are told apart by their first word. What cannot be understood is
 * passed over if it is a message of an unknown kind (a newer server may have more) or an error (a server whose script
 * hangs answers BUSY even to the ping: then no pong comes, and the owner draws its conclusion), and is a reason to
 * start again otherwise, because then the stream is not what we think it is.
 * Sources: redis.io/docs/interact/pubsub ("Format of pushed messages").
 */
#include "redis/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"

void near__sub_opened(near__conn *conn)
{
	near__redis *redis = conn->redis;
	const near__redis_config *config = &redis->config;
	if (memcmp(conn->run_id, redis->data.run_id, sizeof(conn->run_id)) != 0) {
		near__conn_doom(conn, "the subscription reached another server than the data connection");
		return;
	}
	const char **argv = malloc((config->channel_count + 1) * sizeof(*argv));
	if (argv == NULL) {
		near__conn_doom(conn, "no memory for a command");
		return;
	}
	argv[0] = "SUBSCRIBE";
	memcpy(argv + 1, config->channels, config->channel_count * sizeof(*argv));
	redis->confirmed = 0;
	conn->deadline_ns = redis->now_ns + (int64_t)config->connect_ms * NEAR__MS_NS;
	near__conn_ask(conn, (int)config->channel_count + 1, argv, NULL);
	free(argv);
}

static bool is_word(const near__reply *reply, const char *word)
{
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	return bytes != NULL && size == strlen(word) && memcmp(bytes, word, size) == 0;
}

/* One channel confirmed: they come in the order we named them. */
static void confirm(near__conn *conn, const near__reply *channel)
{
	near__redis *redis = conn->redis;
	const near__redis_config *config = &redis->config;
	if (redis->confirmed >= config->channel_count || !is_word(channel, config->channels[redis->confirmed])) {
		near__conn_doom(conn, "Redis confirmed a channel that was not asked for");
		return;
	}
	if (++redis->confirmed < config->channel_count)
		return;
	conn->deadline_ns = INT64_MAX;
	redis->subscribed = true;
	if (redis->was_subscribed)
		near__count(config->stats, NEAR__STAT_reconnects);
	redis->was_subscribed = true;
	if (config->on.subscribed != NULL)
		config->on.subscribed(config->on.ctx);
}

static void hand_out(near__conn *conn, const near__reply *reply)
{
	const near__redis_handlers *on = &conn->redis->config.on;
	size_t channel_size, size;
	const char *channel = near__reply_bytes(near__reply_at(reply, 1), &channel_size);
	const char *bytes = near__reply_bytes(near__reply_at(reply, 2), &size);
	if (channel == NULL || bytes == NULL)
		near__conn_doom(conn, "Redis sent a message without channel or text");
	else if (on->message != NULL)
		on->message(on->ctx, channel, channel_size, bytes, size);
}

static void read_array(near__conn *conn, const near__reply *reply)
{
	const near__redis_handlers *on = &conn->redis->config.on;
	const near__reply *kind = near__reply_at(reply, 0);
	if (is_word(kind, "message")) {
		hand_out(conn, reply);
	} else if (is_word(kind, "subscribe")) {
		confirm(conn, near__reply_at(reply, 1));
	} else if (is_word(kind, "pong")) {
		if (on->pong != NULL)
			on->pong(on->ctx);
	} else if (is_word(kind, "unsubscribe")) {
		near__conn_doom(conn, "Redis ended the subscription of a channel");
	} else {
		near__log_write(&conn->redis->config.log, NEAR_LOG_DEBUG, "a message of an unknown kind came");
	}
}

void near__sub_stray(near__conn *conn, near__reply *reply)
{
	size_t size;
	const char *text = near__reply_bytes(reply, &size);
	int shown = (int)(size < 120 ? size : 120);
	if (near__reply_is(reply) == NEAR__REPLY_ARRAY)
		read_array(conn, reply);
	else if (near__reply_is(reply) == NEAR__REPLY_ERROR && !conn->redis->subscribed)
		near__conn_doom(conn, "Redis refused SUBSCRIBE: %.*s", shown, text);
	else if (near__reply_is(reply) == NEAR__REPLY_ERROR)
		near__log_write(&conn->redis->config.log, NEAR_LOG_WARN, "subscription: %.*s", shown, text);
	else
		near__conn_doom(conn, "an answer of an unexpected kind on the subscription");
	near__reply_free(reply);
}

void near__sub_lost(near__redis *redis)
{
	near__conn *conn = &redis->sub;
	const near__redis_handlers *on = &redis->config.on;
	char why[sizeof(conn->why)];
	bool told = redis->subscribed;
	memcpy(why, conn->why, sizeof(why));
	redis->subscribed = false;
	if (redis->data.state == NEAR__CONN_OPEN) /* else the data connection's own trouble is what counts */
		near__redis_trouble(redis, told || conn->attempts <= 1 ? NEAR_LOG_WARN : NEAR_LOG_DEBUG,
		                    "subscription: %s", why);
	near__conn_close(conn, NEAR_E_UNAVAILABLE);
	near__conn_back_off(conn);
	if (told && on->unsubscribed != NULL)
		on->unsubscribed(on->ctx, why);
}

void near__redis_sub_ping(near__redis *redis)
{
	NEAR_ASSERT(near__io_is_self(redis));
	/* With the last one still unsent a further one would tell nothing more. */
	if (redis->subscribed && redis->sub.out.head == NULL)
		near__conn_ask(&redis->sub, 1, (const char *[]){ "PING" }, NULL);
}

void near__redis_sub_restart(near__redis *redis, const char *why)
{
	NEAR_ASSERT(near__io_is_self(redis));
	near__conn_doom(&redis->sub, "%s", why);
}
