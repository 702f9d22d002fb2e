/* Requests on their way to the I/O thread, and the inbox that carries them.
 *
 *   worker A --push--.
 *   worker B --push---> inbox: one word --take all--> I/O thread: FIFO
 *   worker C --push--'    NULL       nobody waits
 *                         request    the newest; `next` leads to older ones
 *                         SLEEPING   empty, and the I/O thread sleeps: who replaces it rings the bell
 *
 * Why a stack taken whole and not a ring: a producer that stops between reserving a cell of a ring and filling it holds
 * up everybody behind it, and a full ring is a second bound beside the one on what waits for Redis, which is there
 * anyway (near__redis `load`). Here a push is one CAS on one word, and a stopped producer has either pushed or not.
 * Progress: push is lock-free, take is wait-free.
 *
 * Because "sleeping" lives in the same word as the requests, exactly one producer sees it per sleep and rings (one
 * eventfd write); under load the I/O thread does not sleep and nobody rings. There is no second variable, so no
 * store-before-load race to guard against.
 *
 * No ABA: only the consumer takes, and it takes all; a push that finds an address again still links to what is there.
 */
#ifndef NEAR_REDIS_REQUEST_H
#define NEAR_REDIS_REQUEST_H

#include <stdatomic.h>
#include "base/base.h"
#include "redis/redis.h"

typedef struct near__request near__request;
struct near__request {
	near__request *next;
	const char *wire; /* the command as it is sent; NULL for a function posted to the I/O thread */
	size_t wire_size;
	int64_t queued_ns;   /* when the connection took it */
	int64_t deadline_ns; /* the asker's */
	bool silent;         /* expects no answer */
	/* Called once on the I/O thread. `reply` becomes its own. `redis` outlives the call. */
	void (*end)(near__redis *redis, near__request *request, near_status status, near__reply *reply);
	/* Has the asker left? Then it is not sent. NULL: never. */
	bool (*is_void)(const near__request *request);
};

/* First in, first out; one thread. */
typedef struct near__request_list {
	near__request *head, *tail;
} near__request_list;

static inline void near__list_append(near__request_list *list, near__request *request)
{
	request->next = NULL;
	if (list->tail != NULL)
		list->tail->next = request;
	else
		list->head = request;
	list->tail = request;
}
static inline near__request *near__list_take(near__request_list *list)
{
	near__request *request = list->head;
	if (request != NULL) {
		list->head = request->next;
		if (list->head == NULL)
			list->tail = NULL;
	}
	return request;
}

typedef struct near__inbox {
	NEAR_ALIGNED_LINE _Atomic(near__request *) head;
} near__inbox;

/* Pushes the chain newest..oldest (linked by `next`, the oldest last). True: the I/O thread sleeps, ring the bell. */
bool near__inbox_push(near__inbox *inbox, near__request *newest, near__request *oldest);
/* Takes everything, oldest first; also ends the sleep. */
near__request *near__inbox_take(near__inbox *inbox);
/* Says that the consumer is about to sleep. False: something is there. */
bool near__inbox_sleep(near__inbox *inbox);

/* A command in RESP: an array of bulk strings. */
size_t near__wire_size(const near__command *command);
char *near__wire_write(const near__command *command, char *out); /* returns the end */

#endif
