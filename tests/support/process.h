/* A program under test, run as a child: lines in, lines out, every wait with a deadline.
 *
 * As with redis_server.h nothing outlives the test (PR_SET_PDEATHSIG), and where the child does not do what is needed to go
 * on (no line in time, no end in time) the call says so and aborts the test.
 *
 * Threads: a process is used by one thread at a time.
 */
#ifndef NEAR_TESTS_PROCESS_H
#define NEAR_TESTS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct process process;

/* argv and environment end with NULL; `environment` holds "NAME=value" that are set beside the test's own, of which
 * NEARCACHE_* are taken out. Standard error goes to the test's. */
process *process_start(const char *const argv[], const char *const environment[]);
/* Any bytes to its standard input. */
void process_write(process *p, const void *bytes, size_t size);
/* One line, without its newline, valid until the next call; NULL at the end of its output. */
const char *process_line(process *p);
/* Is a line there within `ms`? */
bool process_has_line(process *p, int ms);
/* Writes a line and its newline, gives the next line of output; aborts when there is none. */
const char *process_ask(process *p, const char *line);
/* Closes its input, reads the rest of its output, waits; its exit status (128 + signal). Frees. */
int process_end(process *p);
void process_kill(process *p); /* SIGKILL and free */

/* Runs it to its end with `input` (or NULL); its output goes to *output (freed by the caller; may be NULL), errors too when
 * `both`. Its exit status. */
int process_run(const char *const argv[], const char *const environment[], const char *input, bool both, char **output);

/* Is this text exactly one value of JSON (RFC 8259)? */
bool json_is_valid(const char *text, size_t size);

#endif
