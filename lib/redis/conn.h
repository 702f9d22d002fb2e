/* One connection to Redis: connecting, sending, receiving, and the questions that wait for their answers.
 *
 *   CLOSED --open--> CONNECTING --writable--> HELLO --answers good--> OPEN
 *     ^                  |                      |                      |
 *     '---- near__conn_close, once the loop sees `doomed` -------------'
 *
 *   out [r5 r6 r7]  --sendmsg, many requests at once-->  awaiting [r1 r2 r3 r4]  --one reply each, in order-->  end()
 *
 * Nothing is closed in the middle of something: whoever finds a reason dooms the connection, and the loop closes it
 * when no callback runs. A silent request leaves when it is sent. All of it belongs to the I/O thread.
 */
#ifndef NEAR_REDIS_CONN_H
#define NEAR_REDIS_CONN_H

#include "redis/reply.h"
#include "redis/request.h"

typedef enum near__conn_state {
	NEAR__CONN_CLOSED,
	NEAR__CONN_CONNECTING,
	NEAR__CONN_HELLO,
	NEAR__CONN_OPEN
} near__conn_state;

typedef struct near__conn near__conn;
struct near__conn {
	near__redis *redis;
	const char *name; /* for words */
	/* The hello is done: `run_id` is known. */
	void (*opened)(near__conn *conn);
	/* A reply that no request awaits; the callee's to free. */
	void (*stray)(near__conn *conn, near__reply *reply);

	near__conn_state state;
	void *context; /* hiredis's, while not CLOSED */
	int fd;
	near__parser *parser;
	near__request_list out, awaiting;
	size_t out_sent; /* bytes of out.head that are gone */
	bool wants_out;  /* epoll tells when it is writable */
	int64_t deadline_ns; /* the present phase ends by then; INT64_MAX: no phase runs */
	char run_id[41];

	unsigned attempts; /* in a row that came to nothing */
	int64_t opened_ns; /* OPEN since; 0: never reached */
	int64_t retry_ns;  /* CLOSED: when to try again */
	bool doomed;
	char why[192];
};

/* CLOSED -> CONNECTING, to the address of `peer` if there is one (the same machine whatever the name resolves to by
 * now). A failure dooms. A name is resolved by getaddrinfo, which may block the I/O thread; an address is not looked
 * up. */
void near__conn_open(near__conn *conn, const near__conn *peer);
/* Frees the socket and ends all requests with `status`. */
void near__conn_close(near__conn *conn, near_status status);
void near__conn_doom(near__conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
void near__conn_event(near__conn *conn, uint32_t events);
void near__conn_send(near__conn *conn, near__request *request);
/* Writes as much as the socket takes. */
void near__conn_flush(near__conn *conn);
/* Sets when to try again: doubling from 10 ms to the longest pause, by a random factor from 1/2 to 1. */
void near__conn_back_off(near__conn *conn);
/* When the oldest unanswered question makes the connection suspect; INT64_MAX without one. */
int64_t near__conn_suspect_ns(const near__conn *conn);

/* Sends a command whose answer goes to end(conn, reply) unless the connection is lost before. For the room's own. */
void near__conn_ask(near__conn *conn, int argc, const char **argv,
                    void (*end)(near__conn *conn, const near__reply *reply));
/* AUTH, SELECT, INFO, PING as needed; ends in conn->opened or dooms. */
void near__hello_begin(near__conn *conn);
/* Does this INFO reply (section "server") name a run_id and a version that will do? Else `why` says what is wrong. */
bool near__hello_read_info(const char *info, size_t size, char run_id[41], char *why, size_t why_size);

#endif
