/* Replies as trees, and the parser that builds them from bytes that nobody vouches for. The parser is hiredis's reader
 * with object functions of our own (see reply.c). */
#ifndef NEAR_REDIS_REPLY_H
#define NEAR_REDIS_REPLY_H

#include "redis/redis.h"

/* Deepest nesting and most elements of one array. What the library asks for is 3 deep and some thousands long. */
#define NEAR__REPLY_DEPTH_MAX 8
#define NEAR__REPLY_ELEMENTS_MAX (INT64_C(1) << 20)
/* Bytes of one reply where the owner names no bound: Redis's own limit on a string is 512 MiB. */
#define NEAR__REPLY_BYTES_MAX ((size_t)576 << 20)

typedef struct near__parser near__parser;

/* NULL without memory. `reply_bytes_max`: a reply that takes more is an error of the server's. */
near__parser *near__parser_create(size_t reply_bytes_max);
void near__parser_free(near__parser *parser);
/* Takes bytes in. False: the stream is broken (near__parser_error says how) and stays so. */
bool near__parser_feed(near__parser *parser, const char *bytes, size_t size);
/* The next whole reply, the caller's; NULL when there is none yet. False: the stream is broken. */
bool near__parser_next(near__parser *parser, near__reply **reply);
/* Bytes of a reply whose rest is still missing. */
size_t near__parser_pending(const near__parser *parser);
const char *near__parser_error(const near__parser *parser);

/* Does an ERROR reply begin with this code ("LOADING")? */
bool near__reply_error_is(const near__reply *reply, const char *code);
/* Out of band: answers no command. */
bool near__reply_is_push(const near__reply *reply);

#endif
