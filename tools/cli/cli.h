/* nearcache, the command: its parts and how they hang together.
 *
 *   argv --main--> request --\                        /--> words for people      one command: nearcache get KEY
 *                             >--> command --> answer <
 *   line --words-> request --/                        \--> one JSON object       shell, and --json
 *
 * A request is a command's name, its words and its name=value options; both ways of asking fill the same request and run
 * the same command on the same public API that any program has. An answer says what happened; whoever asked prints it.
 *
 * Threads: one, and those of the cache, which call the loader only (loader.h).
 */
#ifndef NEAR_CLI_CLI_H
#define NEAR_CLI_CLI_H

#include <stdbool.h>
#include <nearcache/nearcache.h>
#include "text.h"
#include "words.h"

/* How the command ends. Part of its interface: `nearcache help exit` tells them. */
enum {
	EXIT_DONE = 0,
	EXIT_NO = 1,      /* MISS, EXISTS, CONFLICT: asked and answered, the answer is no */
	EXIT_USAGE = 2,   /* the command line, or an argument outside its range */
	EXIT_CONFIG = 3,  /* an option or an environment variable */
	EXIT_REDIS = 4,   /* Redis away or in trouble: QUEUED, E_UNAVAILABLE, E_TIMEOUT, E_BUSY, E_REDIS */
	EXIT_TROUBLE = 5  /* all else */
};

#define ARGUMENTS_MAX 2

typedef struct session {
	near_cache *cache;
	bool base64;       /* values and keys always as base64 */
	bool wants_quit;
} session;

/* What was asked. Everything in it points into the line or the arguments. */
typedef struct request {
	const struct command *command;
	word argument[ARGUMENTS_MAX];
	size_t argument_count;
	near_call call;
	const char *tags[NEAR_TAGS_MAX];
	text tag_bytes;
	uint64_t cost_ms, expected;
	bool fails, misses; /* the loader: in the source's stead */
} request;

typedef struct answer {
	word op;
	word key;            /* bytes NULL: none */
	near_status status;
	near_pin value;      /* held NULL: none */
	bool has_value;
	double elapsed_us;
	text error;          /* why, for people; empty: the status says it */
	text members;        /* more JSON members of the object, each with its comma in front */
	text words;          /* what one command prints instead of its status */
} answer;

typedef struct command {
	const char *name;
	const char *arguments; /* "KEY VALUE" */
	const char *options;   /* names it takes, one blank between them */
	const char *summary;
	const char *more;      /* the rest of its help, lines ended by \n */
	size_t argument_count;
	enum { ANYWHERE, SHELL_ONLY, ONCE_ONLY } where;
	bool needs_redis;      /* alone, its answer means something only when Redis answers first */
	void (*run)(session *s, const request *r, answer *a);
} command;

extern const command commands[]; /* ended by a NULL name */
const command *command_find(word name);

/* Fills the request from words (the first is the command's name). NULL, or what is wrong. The request is to be cleared
 * with request_clear in either case, and may be used again. */
const char *request_read(request *r, const word *words, size_t count, text *wrong);
void request_clear(request *r);
/* Parses all of `w` as a number. */
bool number_of(word w, uint64_t *value);

/* Runs it, timing the call. */
void request_run(session *s, const request *r, answer *a);
void answer_json(const session *s, const answer *a, text *out);
void answer_clear(answer *a);
const char *source_name(near_source source);

/* Reads commands until the end of the input or `quit`. */
int shell_run(session *s);

/* Help: of everything, of one command or topic; false: there is no such topic. */
void help_all(text *out);
bool help_topic(const char *topic, text *out);

/* Tables for people. */
void show_config(near_cache *cache, text *out);
void show_stats(near_cache *cache, text *out);

/* What the library writes into a buffer of any size, whole. */
void text_of(near_cache *cache, size_t (*writer)(near_cache *cache, char *buf, size_t buf_size), text *out);

#endif
