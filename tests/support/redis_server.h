/* A private, real redis-server for a test: own folder, own unix socket, if wanted a free port of the loopback.
 *
 *   redis_server *redis = redis_server_start(NULL);
 *   options.redis_url = redis_server_url(redis);
 *   ...
 *   redis_server_free(redis);
 *
 * Nothing of it outlives the test: the child is told by the kernel to die with the thread that started it
 * (PR_SET_PDEATHSIG; so start it from the main thread, or one that lives as long), an exit handler of the starting process
 * ends it and removes its folder. A forked child of the test may use the server but never ends it.
 *
 * Where a server cannot be started, or does not answer in time, the call prints its log and aborts the test: a test
 * needs no branch for it.
 *
 * Threads: start, free and what changes the process from one thread at a time; commands from any thread.
 */
#ifndef NEAR_TESTS_REDIS_SERVER_H
#define NEAR_TESTS_REDIS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct redis_server redis_server;

typedef struct redis_server_options {
	bool tcp;     /* listen on a free port of 127.0.0.1 as well, the same over restarts */
	bool persist; /* append-only file, synced on each write: a kill loses nothing */
	/* More of redis-server's command line, as pairs "--maxmemory", "1mb", ended by NULL; the strings are copied. */
	const char *const *arguments;
} redis_server_options;

/* NULL: a unix socket only, no persistence. Returns when it answers PING. */
redis_server *redis_server_start(const redis_server_options *options);
/* Ends it, if need be by force, and removes its folder. NULL is allowed. */
void redis_server_free(redis_server *server);

/* "unix:///tmp/.../redis.sock", valid until free. */
const char *redis_server_url(const redis_server *server);
/* "redis://127.0.0.1:PORT"; only with options.tcp. */
const char *redis_server_tcp_url(const redis_server *server);
const char *redis_server_socket(const redis_server *server);
uint16_t redis_server_port(const redis_server *server);  /* 0 without tcp */
pid_t redis_server_pid(const redis_server *server);      /* 0 while it does not run */
const char *redis_server_folder(const redis_server *server);

/* Ends it with SIGKILL and waits until it is gone. */
void redis_server_kill(redis_server *server);
/* Ends it in order (SHUTDOWN: with NOSAVE unless it persists) and waits until it is gone. */
void redis_server_stop(redis_server *server);
/* Starts it again after kill or stop, on the same socket and port; a running one is killed first. `keep_data`: with the
 * files that it left (those of `persist`, or of a SAVE); otherwise empty. Returns when it answers PING. */
void redis_server_restart(redis_server *server, bool keep_data);
/* SIGSTOP and SIGCONT: connections stay, nothing is answered. */
void redis_server_pause(redis_server *server);
void redis_server_resume(redis_server *server);

/* Runs one command, on a connection of its own, and returns its answer as text: strings and statuses as they are,
 * integers in decimal, nil as "(nil)", errors as "(error) ...", arrays one element a line. The caller frees it. The
 * format is that of hiredis: %s, %b (pointer, size_t), words split at blanks. Aborts when the server does not answer
 * within 10 s. */
char *redis_server_command(redis_server *server, const char *format, ...);
/* The same for commands that answer an integer, or a string that is one. */
long long redis_server_integer(redis_server *server, const char *format, ...);

#endif
