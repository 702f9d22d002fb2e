/* One connection: see conn.h for the states and the two queues.
 *
 * Sending gathers the blocks of many requests into one sendmsg, so nothing is copied into a buffer first, and what
 * waits to be sent is bounded by what workers may have waiting at all. hiredis connects (and will bring TLS when that
 * room is built) and parses; the socket itself is written here, because its own write raises SIGPIPE and moves the rest
 * of its buffer down after every partial write.
 *
 * Costs: one sendmsg per 256 requests or socket buffer, one recv per 16 KiB of answers (256 KiB inside a large value),
 * one copy into the reader and one out of it.
 * Sources: connect(2) on EINPROGRESS, sendmsg(2), epoll(7); hiredis README.
 */
#include "redis/room.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "base/clock.h"
#include "base/hash.h"

#define GATHER_MAX 256
#define CHUNK_SMALL ((size_t)16 << 10)
#define CHUNK_LARGE NEAR__CHUNK_SIZE
/* Reads in a row before the loop looks at the other connection and the timers. */
#define READS_MAX 32
#define BACKOFF_FIRST_MS 10
/* A connection that held this long was a good one: the next attempt starts with the shortest pause. */
#define STEADY_NS (1000 * NEAR__MS_NS)

void near__conn_doom(near__conn *conn, const char *format, ...)
{
	if (conn->doomed || conn->state == NEAR__CONN_CLOSED)
		return; /* the first reason is the one that counts */
	va_list args;
	va_start(args, format);
	(void)vsnprintf(conn->why, sizeof(conn->why), format, args);
	va_end(args);
	conn->doomed = true;
}

/* The address that `peer` is connected to, as digits. */
static bool peer_host(const near__conn *peer, char *host, size_t host_size)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	if (getpeername(peer->fd, (struct sockaddr *)&address, &size) != 0)
		return false;
	return getnameinfo((struct sockaddr *)&address, size, host, (socklen_t)host_size, NULL, 0, NI_NUMERICHOST) == 0;
}

static redisContext *dial(const near__conn *conn, const near__conn *peer)
{
	const near__url *url = &conn->redis->config.url;
	char host[NI_MAXHOST];
	if (url->is_unix)
		return redisConnectUnixNonBlock(url->host);
	if (peer != NULL && peer_host(peer, host, sizeof(host)))
		return redisConnectNonBlock(host, url->port);
	return redisConnectNonBlock(url->host, url->port);
}

void near__conn_open(near__conn *conn, const near__conn *peer)
{
	near__redis *redis = conn->redis;
	NEAR_ASSERT(conn->state == NEAR__CONN_CLOSED && conn->context == NULL && conn->out.head == NULL);
	conn->state = NEAR__CONN_CONNECTING;
	conn->doomed = false;
	conn->opened_ns = 0;
	conn->attempts++;
	conn->deadline_ns = redis->now_ns + (int64_t)redis->config.connect_ms * NEAR__MS_NS;
	redisContext *context = dial(conn, peer);
	conn->context = context;
	conn->fd = context != NULL ? context->fd : -1;
	conn->parser = near__parser_create(redis->config.reply_bytes_max);
	if (context == NULL || conn->parser == NULL) {
		near__conn_doom(conn, "no memory for a connection");
		return;
	}
	if (context->err != 0) {
		near__conn_doom(conn, "%s", context->errstr);
		return;
	}
	(void)fcntl(conn->fd, F_SETFD, FD_CLOEXEC);
	conn->wants_out = true;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = conn };
	if (epoll_ctl(redis->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
		near__conn_doom(conn, "epoll_ctl: %s", strerror(errno));
}

static void end_all(near__conn *conn, near__request_list *list, near_status status)
{
	near__request *request;
	while ((request = near__list_take(list)) != NULL)
		request->end(conn->redis, request, status, NULL);
}

void near__conn_close(near__conn *conn, near_status status)
{
	if (conn->context != NULL)
		redisFree(conn->context); /* closes the socket, which leaves epoll by that */
	near__parser_free(conn->parser);
	conn->context = NULL;
	conn->parser = NULL;
	conn->fd = -1;
	conn->state = NEAR__CONN_CLOSED;
	conn->doomed = false;
	conn->deadline_ns = INT64_MAX;
	conn->out_sent = 0;
	end_all(conn, &conn->awaiting, status);
	end_all(conn, &conn->out, status);
}

void near__conn_back_off(near__conn *conn)
{
	near__redis *redis = conn->redis;
	if (conn->opened_ns != 0 && redis->now_ns - conn->opened_ns > STEADY_NS)
		conn->attempts = 0;
	unsigned doublings = conn->attempts < 10 ? conn->attempts : 10;
	int64_t pause = (int64_t)(BACKOFF_FIRST_MS << doublings) * NEAR__MS_NS;
	int64_t most = (int64_t)redis->config.backoff_max_ms * NEAR__MS_NS;
	if (pause > most)
		pause = most;
	pause = pause / 2 + (int64_t)(near__random_next(&redis->random) % (uint64_t)(pause / 2 + 1));
	conn->retry_ns = redis->now_ns + pause;
}

static void watch(near__conn *conn, bool wants_out)
{
	if (conn->wants_out == wants_out)
		return;
	struct epoll_event event = { .events = EPOLLIN | (wants_out ? EPOLLOUT : 0U), .data.ptr = conn };
	if (epoll_ctl(conn->redis->epoll, EPOLL_CTL_MOD, conn->fd, &event) != 0)
		near__conn_doom(conn, "epoll_ctl: %s", strerror(errno));
	conn->wants_out = wants_out;
}

/* No delay, because a write is a whole pipeline already; keepalive, so that a dead peer of an idle connection shows. */
static void tune(const near__conn *conn)
{
	int on = 1, idle_s = 15, interval_s = 5, probes = 3;
	if (conn->redis->config.url.is_unix)
		return;
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void connected(near__conn *conn)
{
	int error = 0;
	socklen_t size = sizeof(error);
	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		error = errno;
	if (error != 0) {
		near__conn_doom(conn, "%s", strerror(error));
		return;
	}
	tune(conn);
	conn->state = NEAR__CONN_HELLO;
	conn->deadline_ns = conn->redis->now_ns + (int64_t)conn->redis->config.connect_ms * NEAR__MS_NS;
	near__hello_begin(conn);
}

static void take_reply(near__conn *conn, near__reply *reply)
{
	if (near__reply_is_push(reply) || conn->awaiting.head == NULL) {
		conn->stray(conn, reply);
		return;
	}
	near__request *request = near__list_take(&conn->awaiting);
	request->end(conn->redis, request, NEAR_OK, reply);
}

/* Hands out all whole replies. */
static void parse(near__conn *conn)
{
	while (!conn->doomed) {
		near__reply *reply;
		if (!near__parser_next(conn->parser, &reply)) {
			near__conn_doom(conn, "broken bytes from Redis: %s", near__parser_error(conn->parser));
			return;
		}
		if (reply == NULL)
			return;
		take_reply(conn, reply);
	}
}

static void receive(near__conn *conn)
{
	char *chunk = conn->redis->chunk;
	for (int reads = 0; reads < READS_MAX && !conn->doomed; reads++) {
		size_t most = near__parser_pending(conn->parser) >= CHUNK_SMALL ? CHUNK_LARGE : CHUNK_SMALL;
		ssize_t got = recv(conn->fd, chunk, most, MSG_DONTWAIT);
		if (got == 0) {
			near__conn_doom(conn, "Redis closed the connection");
			return;
		}
		if (got < 0) {
			if (errno != EAGAIN && errno != EINTR)
				near__conn_doom(conn, "recv: %s", strerror(errno));
			return;
		}
		if (!near__parser_feed(conn->parser, chunk, (size_t)got)) {
			near__conn_doom(conn, "broken bytes from Redis: %s", near__parser_error(conn->parser));
			return;
		}
		parse(conn);
		if ((size_t)got < most)
			return;
	}
}

void near__conn_event(near__conn *conn, uint32_t events)
{
	if (conn->state == NEAR__CONN_CLOSED || conn->doomed)
		return;
	if (conn->state == NEAR__CONN_CONNECTING) {
		if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
			connected(conn);
		return;
	}
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
		receive(conn);
}

void near__conn_send(near__conn *conn, near__request *request)
{
	NEAR_ASSERT(conn->state >= NEAR__CONN_HELLO && request->wire_size > 0);
	request->queued_ns = conn->redis->now_ns;
	near__list_append(&conn->out, request);
}

static int gather(const near__conn *conn, struct iovec *parts)
{
	int count = 0;
	NEAR_ASSERT(conn->out.head != NULL && conn->out_sent < conn->out.head->wire_size);
	for (const near__request *r = conn->out.head; r != NULL && count < GATHER_MAX; r = r->next)
		parts[count++] = (struct iovec){ .iov_base = (void *)(uintptr_t)r->wire, .iov_len = r->wire_size };
	parts[0].iov_base = (char *)parts[0].iov_base + conn->out_sent;
	parts[0].iov_len -= conn->out_sent;
	return count;
}

/* Moves what has been sent whole from `out` to `awaiting`. */
static void settle(near__conn *conn, size_t sent)
{
	sent += conn->out_sent;
	while (conn->out.head != NULL && sent >= conn->out.head->wire_size) {
		near__request *request = near__list_take(&conn->out);
		sent -= request->wire_size;
		if (request->silent)
			request->end(conn->redis, request, NEAR_OK, NULL);
		else
			near__list_append(&conn->awaiting, request);
	}
	conn->out_sent = sent;
}

void near__conn_flush(near__conn *conn)
{
	if (conn->state < NEAR__CONN_HELLO)
		return;
	while (conn->out.head != NULL && !conn->doomed) {
		struct iovec parts[GATHER_MAX];
		struct msghdr message = { .msg_iov = parts };
		message.msg_iovlen = (size_t)gather(conn, parts);
		ssize_t sent = sendmsg(conn->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				near__conn_doom(conn, "send: %s", strerror(errno));
			break;
		}
		settle(conn, (size_t)sent);
	}
	watch(conn, conn->out.head != NULL);
}

int64_t near__conn_suspect_ns(const near__conn *conn)
{
	const near__request *oldest = conn->awaiting.head != NULL ? conn->awaiting.head : conn->out.head;
	if (oldest == NULL)
		return INT64_MAX;
	int64_t patience = oldest->queued_ns + (int64_t)conn->redis->config.command_ms_max * NEAR__MS_NS;
	return oldest->deadline_ns > patience ? oldest->deadline_ns : patience;
}

/* --- questions of the room's own */

typedef struct question {
	near__request request;
	near__conn *conn;
	void (*end)(near__conn *conn, const near__reply *reply);
} question;

static void question_end(near__redis *redis, near__request *request, near_status status, near__reply *reply)
{
	question *q = (question *)request;
	(void)redis;
	if (status == NEAR_OK && q->end != NULL)
		q->end(q->conn, reply);
	near__reply_free(reply);
	free(q);
}

void near__conn_ask(near__conn *conn, int argc, const char **argv,
                    void (*end)(near__conn *conn, const near__reply *reply))
{
	size_t sizes[8];
	size_t *all = argc <= 8 ? sizes : malloc((size_t)argc * sizeof(*all));
	if (all == NULL) {
		near__conn_doom(conn, "no memory for a command");
		return;
	}
	for (int i = 0; i < argc; i++)
		all[i] = strlen(argv[i]);
	near__command command = { argc, argv, all };
	size_t size = near__wire_size(&command);
	question *q = malloc(sizeof(*q) + size);
	if (q != NULL) {
		char *wire = (char *)(q + 1);
		(void)near__wire_write(&command, wire);
		*q = (question){ .conn = conn, .end = end };
		q->request = (near__request){ .wire = wire, .wire_size = size, .end = question_end };
		q->request.silent = end == NULL;
		near__conn_send(conn, &q->request);
	} else {
		near__conn_doom(conn, "no memory for a command");
	}
	if (all != sizes)
		free(all);
}
