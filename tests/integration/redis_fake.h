/* A server that says what a test tells it to: for bytes that no Redis would send. Everything else is tested with a real one.
 *
 * It answers the hello (AUTH, SELECT, INFO, PING), ECHO and SUBSCRIBE as Redis does, and to GET it answers `script` if
 * there is one. The other fields bend the hello and the subscription. Fields are changed under `lock`. */
#ifndef NEAR_TESTS_REDIS_FAKE_H
#define NEAR_TESTS_REDIS_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "redis/reply.h"

#define FAKE_CONNECTIONS_MAX 512
#define FAKE_RUN_ID "0123456789abcdef0123456789abcdef01234567"

typedef struct fake {
	int listener;
	char path[64], url[80];
	pthread_t acceptor;
	pthread_t threads[FAKE_CONNECTIONS_MAX];
	int sockets[FAKE_CONNECTIONS_MAX]; /* -1: closed */
	unsigned count;
	pthread_mutex_t lock; /* what follows, and sockets and count */
	const char *script;   /* answer to GET; NULL: nil */
	size_t script_size;
	size_t drip;          /* bytes per send; 0: all at once */
	const char *greeting; /* sent before anything is asked */
	const char *info;     /* instead of the INFO of a good server */
	const char *sub_script; /* answer to SUBSCRIBE */
	bool mute;            /* accepts and says nothing */
	bool other_sub_id;    /* each connection but the first has another run_id */
} fake;

typedef struct fake_connection {
	fake *server;
	unsigned index;
} fake_connection;

static void fake_say(fake *f, int fd, const char *bytes, size_t size)
{
	size_t step = f->drip != 0 ? f->drip : size;
	for (size_t sent = 0; sent < size;) {
		size_t n = size - sent < step ? size - sent : step;
		ssize_t done = send(fd, bytes + sent, n, MSG_NOSIGNAL);
		if (done <= 0)
			return;
		sent += (size_t)done;
	}
}

static void fake_bulk(fake *f, int fd, const char *text, size_t size)
{
	char *out = malloc(size + 40);
	int head = snprintf(out, 40, "$%zu\r\n", size);
	memcpy(out + head, text, size);
	memcpy(out + head + size, "\r\n", 2);
	fake_say(f, fd, out, (size_t)head + size + 2);
	free(out);
}

static void fake_info(fake *f, int fd, unsigned index)
{
	char text[256];
	if (f->info != NULL) {
		fake_bulk(f, fd, f->info, strlen(f->info));
		return;
	}
	int n = snprintf(text, sizeof(text), "# Server\r\nredis_version:7.0.15\r\nrun_id:%s%x\r\nos:none\r\n", &FAKE_RUN_ID[1],
	                 f->other_sub_id ? index & 15 : 0);
	fake_bulk(f, fd, text, (size_t)n);
}

static void fake_subscribe(fake *f, int fd, const near__reply *command)
{
	char text[512];
	if (f->sub_script != NULL) {
		fake_say(f, fd, f->sub_script, strlen(f->sub_script));
		return;
	}
	for (size_t i = 1; i < near__reply_count(command); i++) {
		size_t size;
		const char *channel = near__reply_bytes(near__reply_at(command, i), &size);
		int n = snprintf(text, sizeof(text), "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:%zu\r\n", size, channel, i);
		fake_say(f, fd, text, (size_t)n);
	}
}

static void fake_answer(fake *f, int fd, unsigned index, const near__reply *command)
{
	size_t size;
	const char *word = near__reply_bytes(near__reply_at(command, 0), &size);
	(void)pthread_mutex_lock(&f->lock);
	if (f->mute || word == NULL) {
		/* says nothing */
	} else if (strcasecmp(word, "INFO") == 0) {
		fake_info(f, fd, index);
	} else if (strcasecmp(word, "PING") == 0) {
		fake_say(f, fd, "+PONG\r\n", 7);
	} else if (strcasecmp(word, "ECHO") == 0) {
		word = near__reply_bytes(near__reply_at(command, 1), &size);
		fake_bulk(f, fd, word, size);
	} else if (strcasecmp(word, "SUBSCRIBE") == 0) {
		fake_subscribe(f, fd, command);
	} else if (strcasecmp(word, "GET") == 0 && f->script != NULL) {
		fake_say(f, fd, f->script, f->script_size);
	} else if (strcasecmp(word, "GET") == 0) {
		fake_say(f, fd, "$-1\r\n", 5);
	} else {
		fake_say(f, fd, "+OK\r\n", 5);
	}
	(void)pthread_mutex_unlock(&f->lock);
}

static void *fake_serve(void *arg)
{
	fake_connection *c = arg;
	fake *f = c->server;
	int fd = f->sockets[c->index];
	char chunk[4096];
	ssize_t got;
	near__parser *parser = near__parser_create(1 << 20);
	if (f->greeting != NULL)
		fake_say(f, fd, f->greeting, strlen(f->greeting));
	while ((got = recv(fd, chunk, sizeof(chunk), 0)) > 0) {
		near__reply *command = NULL;
		if (!near__parser_feed(parser, chunk, (size_t)got))
			break;
		while (near__parser_next(parser, &command) && command != NULL) {
			fake_answer(f, fd, c->index, command);
			near__reply_free(command);
		}
	}
	near__parser_free(parser);
	(void)shutdown(fd, SHUT_RDWR);
	free(c);
	return NULL;
}

static void *fake_accept(void *arg)
{
	fake *f = arg;
	for (;;) {
		int fd = accept(f->listener, NULL, NULL);
		if (fd < 0)
			return NULL;
		(void)pthread_mutex_lock(&f->lock);
		fake_connection *c = malloc(sizeof(*c));
		*c = (fake_connection){ f, f->count };
		f->sockets[f->count] = fd;
		bool full = f->count + 1 == FAKE_CONNECTIONS_MAX ||
		            pthread_create(&f->threads[f->count], NULL, fake_serve, c) != 0;
		f->count += !full;
		(void)pthread_mutex_unlock(&f->lock);
		if (full) {
			(void)close(fd);
			free(c);
		}
	}
}

static fake *fake_start(void)
{
	fake *f = calloc(1, sizeof(*f));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)snprintf(f->path, sizeof(f->path), "/tmp/near-fake-%ld.sock", (long)getpid());
	(void)snprintf(f->url, sizeof(f->url), "unix://%s", f->path);
	(void)unlink(f->path);
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(f->listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(f->listener, 64) != 0 ||
	    pthread_create(&f->acceptor, NULL, fake_accept, f) != 0)
		abort();
	return f;
}

static void fake_stop(fake *f)
{
	(void)shutdown(f->listener, SHUT_RDWR);
	(void)pthread_join(f->acceptor, NULL);
	for (unsigned i = 0; i < f->count; i++) {
		(void)shutdown(f->sockets[i], SHUT_RDWR);
		(void)pthread_join(f->threads[i], NULL);
		(void)close(f->sockets[i]);
	}
	(void)close(f->listener);
	(void)unlink(f->path);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Changes what it says, between two answers. */
#define FAKE_SET(f, field, value) \
	do { \
		(void)pthread_mutex_lock(&(f)->lock); \
		(f)->field = (value); \
		(void)pthread_mutex_unlock(&(f)->lock); \
	} while (0)

#endif
