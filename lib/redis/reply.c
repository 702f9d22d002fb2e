/* Replies: hiredis's reader over object functions of our own.
 *
 *   near__reply   one block per node:  [kind, depth, size][ bytes and a NUL | integer | pointers to children ]
 *
 * Why not hiredis's own objects: they cost two blocks per string, and their destructor recurses as deep as the server
 * nested its arrays, so four megabytes of "*1\r\n" overflow the stack of whoever frees the reply. Here a node knows its
 * depth and NEAR__REPLY_DEPTH_MAX ends it; every node is charged against one budget per reply, so neither
 * "*1048576\r\n" eight deep nor a million empty arrays take more memory than the largest honest value; and a bulk
 * length near 2^63, with which the reader's own sum wraps round, is refused before anything is copied.
 *
 * The reader looks for the end of a line from its start at every feed; a line without an end would cost the square of
 * its length, so a pending line past LINE_MAX_SIZE breaks the stream. A bulk string whose announced length is past the
 * budget does so before the bytes are waited for; so what is pending never exceeds the budget by more than a chunk.
 *
 * A broken stream stays broken: the connection is dropped, nothing after the first bad byte is believed.
 *
 * Threads: a parser belongs to one thread; a finished reply to whoever holds it.
 * Sources: RESP (redis.io/docs/reference/protocol-spec); hiredis read.h, "Reply parsing API" of its README.
 */
#include "redis/reply.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* An error message or a status of Redis's own; keys and values never travel in lines. */
#define LINE_MAX_SIZE ((size_t)64 << 10)
/* "$" and the digits of a length. */
#define LENGTH_MAX_SIZE 32

struct near__reply {
	uint8_t kind;  /* near__reply_kind */
	bool aggregate; /* has children, of whatever kind */
	bool push;
	uint16_t depth; /* of an aggregate: 1 for the outermost */
	size_t size;    /* bytes or children */
};

struct near__parser {
	redisReader *reader;
	size_t bytes_max, bytes; /* of the reply under construction */
	const char *refused;     /* why an object function said no */
};

static const char too_large[] = "a reply larger than any that was asked for";
static const char endless[] = "a line that does not end";

static_assert(sizeof(struct near__reply) == 16, "what follows the head is aligned for a pointer");

/* What follows the head. */
static char *bytes_of(const near__reply *node)
{
	return (char *)(uintptr_t)(node + 1);
}
static near__reply **children_of(const near__reply *node)
{
	return (near__reply **)(uintptr_t)(node + 1);
}
static int64_t *integer_of(const near__reply *node)
{
	return (int64_t *)(uintptr_t)(node + 1);
}

/* A node with room for `extra` bytes of content, charged against the reply's budget; NULL breaks the stream. */
static near__reply *node_make(const redisReadTask *task, near__reply_kind kind, size_t extra)
{
	near__parser *parser = task->privdata;
	if (task->parent == NULL)
		parser->bytes = 0;
	size_t left = parser->bytes_max - parser->bytes;
	if (left < sizeof(near__reply) || extra > left - sizeof(near__reply)) {
		parser->refused = too_large;
		return NULL;
	}
	size_t bytes = sizeof(near__reply) + extra;
	near__reply *node = malloc(bytes);
	if (node == NULL) {
		parser->refused = "no memory for a reply";
		return NULL;
	}
	parser->bytes += bytes;
	*node = (near__reply){ .kind = (uint8_t)kind };
	return node;
}

static void *node_attach(const redisReadTask *task, near__reply *node)
{
	if (node != NULL && task->parent != NULL) {
		near__reply *parent = task->parent->obj;
		children_of(parent)[task->idx] = node;
	}
	return node;
}

static void *make_string(const redisReadTask *task, char *bytes, size_t size)
{
	near__reply_kind kind = NEAR__REPLY_OTHER;
	if (task->type == REDIS_REPLY_STRING)
		kind = NEAR__REPLY_STRING;
	else if (task->type == REDIS_REPLY_STATUS)
		kind = NEAR__REPLY_STATUS;
	else if (task->type == REDIS_REPLY_ERROR)
		kind = NEAR__REPLY_ERROR;
	if (size > PTRDIFF_MAX)
		size = PTRDIFF_MAX; /* past every budget; the sum below must not wrap */
	near__reply *node = node_make(task, kind, size + 1);
	if (node == NULL)
		return NULL;
	memcpy(bytes_of(node), bytes, size);
	bytes_of(node)[size] = '\0';
	node->size = size;
	return node_attach(task, node);
}

static void *make_array(const redisReadTask *task, size_t count)
{
	near__parser *parser = task->privdata;
	unsigned depth = task->parent != NULL ? ((near__reply *)task->parent->obj)->depth + 1U : 1;
	if (depth > NEAR__REPLY_DEPTH_MAX) {
		parser->refused = "a reply nested too deep";
		return NULL;
	}
	near__reply_kind kind = task->type == REDIS_REPLY_ARRAY ? NEAR__REPLY_ARRAY : NEAR__REPLY_OTHER;
	near__reply *node = node_make(task, kind, count * sizeof(near__reply *));
	if (node == NULL)
		return NULL;
	node->aggregate = true;
	node->push = task->type == REDIS_REPLY_PUSH;
	node->depth = (uint16_t)depth;
	node->size = count;
	memset(children_of(node), 0, count * sizeof(near__reply *));
	return node_attach(task, node);
}

static void *make_integer(const redisReadTask *task, long long value)
{
	near__reply *node = node_make(task, NEAR__REPLY_INTEGER, sizeof(int64_t));
	if (node != NULL)
		*integer_of(node) = value;
	return node_attach(task, node);
}

static void *make_nil(const redisReadTask *task)
{
	return node_attach(task, node_make(task, NEAR__REPLY_NIL, 0));
}

/* Doubles and booleans are RESP3: nobody here asks for them, so their content is not kept. */
static void *make_double(const redisReadTask *task, double value, char *text, size_t size)
{
	(void)value;
	(void)text;
	(void)size;
	return node_attach(task, node_make(task, NEAR__REPLY_OTHER, 0));
}

static void *make_bool(const redisReadTask *task, int value)
{
	(void)value;
	return node_attach(task, node_make(task, NEAR__REPLY_OTHER, 0));
}

/* Recursion as deep as NEAR__REPLY_DEPTH_MAX. */
void near__reply_free(near__reply *reply)
{
	if (reply == NULL)
		return;
	if (reply->aggregate)
		for (size_t i = 0; i < reply->size; i++)
			near__reply_free(children_of(reply)[i]);
	free(reply);
}

static void free_object(void *object)
{
	near__reply_free(object);
}

static redisReplyObjectFunctions functions = {
	.createString = make_string,
	.createArray = make_array,
	.createInteger = make_integer,
	.createDouble = make_double,
	.createNil = make_nil,
	.createBool = make_bool,
	.freeObject = free_object,
};

near__parser *near__parser_create(size_t reply_bytes_max)
{
	near__parser *parser = calloc(1, sizeof(*parser));
	if (parser == NULL)
		return NULL;
	parser->bytes_max = reply_bytes_max;
	parser->reader = redisReaderCreateWithFunctions(&functions);
	if (parser->reader == NULL) {
		free(parser);
		return NULL;
	}
	parser->reader->privdata = parser;
	parser->reader->maxelements = NEAR__REPLY_ELEMENTS_MAX;
	return parser;
}

void near__parser_free(near__parser *parser)
{
	if (parser == NULL)
		return;
	redisReaderFree(parser->reader);
	free(parser);
}

size_t near__parser_pending(const near__parser *parser)
{
	return parser->reader->len - parser->reader->pos;
}

const char *near__parser_error(const near__parser *parser)
{
	return parser->refused != NULL ? parser->refused : parser->reader->errstr;
}

bool near__parser_feed(near__parser *parser, const char *bytes, size_t size)
{
	return parser->refused == NULL && redisReaderFeed(parser->reader, bytes, size) == REDIS_OK;
}

/* The reader has read the type of a bulk string and waits for its rest: what is wrong with its length, if anything? */
static const char *judge_bulk(const near__parser *parser, const char *at, size_t pending)
{
	uint64_t size = 0;
	size_t i = 0;
	for (; i < pending && i < LENGTH_MAX_SIZE && at[i] >= '0' && at[i] <= '9' && size <= parser->bytes_max; i++)
		size = size * 10 + (uint64_t)(at[i] - '0');
	if (size > parser->bytes_max)
		return too_large;
	return i == LENGTH_MAX_SIZE ? endless : NULL;
}

/* Will what is pending never become a reply that we take? Then there is no point in waiting for the rest of it. */
static const char *judge_pending(const near__parser *parser)
{
	const redisReader *reader = parser->reader;
	size_t pending = reader->len - reader->pos;
	if (reader->ridx < 0)
		return NULL;
	int type = reader->task[reader->ridx]->type;
	if (type == REDIS_REPLY_STRING || type == REDIS_REPLY_VERB)
		return judge_bulk(parser, reader->buf + reader->pos, pending);
	return pending > LINE_MAX_SIZE ? endless : NULL;
}

bool near__parser_next(near__parser *parser, near__reply **reply)
{
	void *object = NULL;
	if (parser->refused != NULL || redisReaderGetReply(parser->reader, &object) != REDIS_OK)
		return false;
	*reply = object;
	if (object == NULL)
		parser->refused = judge_pending(parser);
	return parser->refused == NULL;
}

near__reply_kind near__reply_is(const near__reply *reply)
{
	return reply != NULL ? (near__reply_kind)reply->kind : NEAR__REPLY_NIL;
}

const char *near__reply_bytes(const near__reply *reply, size_t *size)
{
	near__reply_kind kind = near__reply_is(reply);
	bool has = kind == NEAR__REPLY_STRING || kind == NEAR__REPLY_STATUS || kind == NEAR__REPLY_ERROR;
	if (size != NULL)
		*size = has ? reply->size : 0;
	return has ? bytes_of(reply) : NULL;
}

int64_t near__reply_integer(const near__reply *reply)
{
	return near__reply_is(reply) == NEAR__REPLY_INTEGER ? *integer_of(reply) : 0;
}

size_t near__reply_count(const near__reply *reply)
{
	return near__reply_is(reply) == NEAR__REPLY_ARRAY ? reply->size : 0;
}

const near__reply *near__reply_at(const near__reply *reply, size_t i)
{
	return i < near__reply_count(reply) ? children_of(reply)[i] : NULL;
}

near__reply *near__reply_take(near__reply *reply, size_t i)
{
	if (i >= near__reply_count(reply))
		return NULL;
	near__reply *taken = children_of(reply)[i];
	children_of(reply)[i] = NULL;
	return taken;
}

bool near__reply_error_is(const near__reply *reply, const char *code)
{
	size_t size = strlen(code);
	return near__reply_is(reply) == NEAR__REPLY_ERROR && reply->size >= size &&
	       memcmp(bytes_of(reply), code, size) == 0 && (reply->size == size || bytes_of(reply)[size] == ' ');
}

bool near__reply_is_push(const near__reply *reply)
{
	return reply != NULL && reply->push;
}
