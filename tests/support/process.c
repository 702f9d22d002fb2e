/* Children with pipes: see process.h. */
#include "support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 30000

struct process {
	pid_t pid;
	int in, out;
	char *bytes; /* read and not yet given: bytes[from .. used) */
	size_t from, used, room;
	bool ended;
};

extern char **environ;

_Noreturn static void give_up(const process *p, const char *what)
{
	fprintf(stderr, "process %d: %s; unread: %.*s\n", (int)p->pid, what, (int)(p->used - p->from), p->bytes + p->from);
	kill(p->pid, SIGKILL);
	abort();
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

_Noreturn static void run_child(const char *const argv[], const char *const environment[], int in, int out, bool both,
                                pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	for (char **e = environ; *e != NULL;) {
		char name[256];
		size_t n = strcspn(*e, "=");
		if (strncmp(*e, "NEARCACHE_", 10) == 0 && n < sizeof(name)) {
			memcpy(name, *e, n);
			name[n] = '\0';
			unsetenv(name); /* moves the rest up */
		} else {
			e++;
		}
	}
	for (const char *const *e = environment; e != NULL && *e != NULL; e++)
		putenv(strdup(*e));
	dup2(in, 0);
	dup2(out, 1);
	if (both)
		dup2(out, 2);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	execv(argv[0], (char *const *)argv);
	perror(argv[0]);
	_exit(127);
}

static process *start(const char *const argv[], const char *const environment[], bool both)
{
	process *p = calloc(1, sizeof(*p));
	int in[2], out[2];
	if (p == NULL || pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		abort();
	signal(SIGPIPE, SIG_IGN); /* a child that ends early shows in its answers */
	pid_t parent = getpid();
	p->pid = fork();
	if (p->pid < 0)
		abort();
	if (p->pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		run_child(argv, environment, in[0], out[1], both, parent);
	}
	close(in[0]);
	close(out[1]);
	p->in = in[1];
	p->out = out[0];
	fcntl(p->in, F_SETFL, O_NONBLOCK);
	return p;
}

process *process_start(const char *const argv[], const char *const environment[])
{
	return start(argv, environment, false);
}

/* Takes what is there into the buffer; false when nothing came within `ms`. */
static bool take(process *p, int ms)
{
	struct pollfd fd = { .fd = p->out, .events = POLLIN };
	if (p->ended)
		return true;
	if (poll(&fd, 1, ms) <= 0)
		return false;
	if (p->used + 65536 > p->room) {
		p->room = p->room * 2 + 65536;
		p->bytes = realloc(p->bytes, p->room);
		if (p->bytes == NULL)
			abort();
	}
	ssize_t n = read(p->out, p->bytes + p->used, p->room - p->used - 1);
	if (n > 0)
		p->used += (size_t)n;
	else if (n == 0 || errno != EINTR)
		p->ended = true;
	return true;
}

/* The child may fill its output before it reads on, so both directions are served. */
void process_write(process *p, const void *bytes, size_t size)
{
	const char *at = bytes;
	int64_t deadline = now_ms() + WAIT_MS;
	while (size > 0) {
		ssize_t n = write(p->in, at, size);
		if (n > 0) {
			at += n;
			size -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return; /* it has closed its input: its answers will be missing */
		if (now_ms() > deadline)
			give_up(p, "it does not read");
		take(p, 10);
	}
}

bool process_has_line(process *p, int ms)
{
	int64_t deadline = now_ms() + ms;
	for (;;) {
		if (p->used > p->from && memchr(p->bytes + p->from, '\n', p->used - p->from) != NULL)
			return true;
		int64_t left = deadline - now_ms();
		if (p->ended || left < 0 || !take(p, (int)left))
			return false;
	}
}

const char *process_line(process *p)
{
	if (p->from > 0) { /* the last line has been used */
		memmove(p->bytes, p->bytes + p->from, p->used - p->from);
		p->used -= p->from;
		p->from = 0;
	}
	if (!process_has_line(p, WAIT_MS)) {
		if (!p->ended)
			give_up(p, "it says nothing");
		return NULL;
	}
	char *end = memchr(p->bytes, '\n', p->used);
	*end = '\0';
	p->from = (size_t)(end - p->bytes) + 1;
	return p->bytes;
}

const char *process_ask(process *p, const char *line)
{
	process_write(p, line, strlen(line));
	process_write(p, "\n", 1);
	const char *answer = process_line(p);
	if (answer == NULL)
		give_up(p, "it ended without an answer");
	return answer;
}

static int wait_end(process *p)
{
	int status;
	int64_t deadline = now_ms() + WAIT_MS;
	while (waitpid(p->pid, &status, WNOHANG) == 0) {
		if (now_ms() > deadline)
			give_up(p, "it does not end");
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void release(process *p)
{
	close(p->out);
	free(p->bytes);
	free(p);
}

static void drain(process *p)
{
	close(p->in);
	while (!p->ended)
		if (!take(p, WAIT_MS))
			give_up(p, "it neither speaks nor ends");
}

int process_end(process *p)
{
	drain(p);
	int status = wait_end(p);
	release(p);
	return status;
}

void process_kill(process *p)
{
	kill(p->pid, SIGKILL);
	close(p->in);
	wait_end(p);
	release(p);
}

int process_run(const char *const argv[], const char *const environment[], const char *input, bool both, char **output)
{
	process *p = start(argv, environment, both);
	if (input != NULL)
		process_write(p, input, strlen(input));
	drain(p);
	int status = wait_end(p);
	if (output != NULL) {
		*output = malloc(p->used + 1);
		if (*output == NULL)
			abort();
		memcpy(*output, p->used > 0 ? p->bytes : "", p->used);
		(*output)[p->used] = '\0';
	}
	release(p);
	return status;
}
