/* A private redis-server as a child process: see redis_server.h.
 *
 * The server's folder lies under $TMPDIR (else /tmp), with a short name because the path of a unix socket has at most
 * 107 bytes. A port is found by binding port 0 and letting it go again; if another process takes it in between, the
 * server ends at once and the start is tried again with the next one.
 *
 * Every wait polls something real (the process's end, the answer to PING) against a deadline.
 */
#include "support/redis_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define ANSWER_MS 10000
#define END_MS 10000
#define STARTS_MAX 5

struct redis_server {
	pid_t pid, owner;
	bool tcp, persist;
	uint16_t port;
	char folder[64], socket[80], url[96], tcp_url[48];
	char *more[ARGUMENTS_MAX];
	size_t more_count;
	redis_server *next;
};

static redis_server *servers; /* all that are not freed, for the exit handler */

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_briefly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static void print_log(const redis_server *s)
{
	char path[128], line[512];
	snprintf(path, sizeof(path), "%s/redis.log", s->folder);
	FILE *log = fopen(path, "r");
	if (log == NULL)
		return;
	while (fgets(line, sizeof(line), log) != NULL)
		fprintf(stderr, "  redis-server: %s", line);
	fclose(log);
}

_Noreturn static void give_up(const redis_server *s, const char *what)
{
	fprintf(stderr, "redis_server: %s (%s)\n", what, s->folder);
	print_log(s);
	abort();
}

/* ------------------------------------------------------------- files */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info;
	(void)kind;
	(void)where;
	return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_data(const redis_server *s)
{
	const char *const names[] = { "dump.rdb", "appendonlydir" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", s->folder, names[i]);
		remove_tree(path);
	}
}

static void make_folder(redis_server *s)
{
	const char *base = getenv("TMPDIR");
	if (base == NULL || strlen(base) > 40)
		base = "/tmp";
	snprintf(s->folder, sizeof(s->folder), "%s/near-redis-XXXXXX", base);
	if (mkdtemp(s->folder) == NULL)
		give_up(s, "no folder can be made");
	snprintf(s->socket, sizeof(s->socket), "%s/s", s->folder);
	snprintf(s->url, sizeof(s->url), "unix://%s", s->socket);
}

static uint16_t free_port(const redis_server *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || getsockname(fd, (struct sockaddr *)&at, &size) != 0)
		give_up(s, "no free port");
	close(fd);
	return ntohs(at.sin_port);
}

/* ------------------------------------------------------------- the process */

/* In the child; never returns. */
_Noreturn static void run_server(const redis_server *s, pid_t parent)
{
	char port[8];
	const char *argv[ARGUMENTS_MAX + 32];
	size_t n = 0;
	snprintf(port, sizeof(port), "%u", s->tcp ? s->port : 0);
	const char *const fixed[] = { "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", s->socket,
		                      "--dir", s->folder, "--daemonize", "no", "--save", "", "--logfile", "",
		                      "--enable-debug-command", "yes", "--appendfsync", "always", "--appendonly" };
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		argv[n++] = fixed[i];
	argv[n++] = s->persist ? "yes" : "no";
	for (size_t i = 0; i < s->more_count; i++)
		argv[n++] = s->more[i];
	argv[n] = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || chdir(s->folder) != 0)
		_exit(127);
	int out = open("redis.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
	int in = open("/dev/null", O_RDONLY);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	/* The test may block signals or ignore them; the server gets them as usual. */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], (char *const *)argv);
	perror("redis-server cannot be run");
	_exit(127);
}

/* True when the child is gone; it is then forgotten. */
static bool reaped(redis_server *s, int options)
{
	pid_t got;
	do
		got = waitpid(s->pid, NULL, options);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return false;
	s->pid = 0;
	return true;
}

static bool answers(const redis_server *s)
{
	redisContext *c = redisConnectUnixWithTimeout(s->socket, (struct timeval){ .tv_usec = 500000 });
	bool yes = false;
	if (c != NULL && c->err == 0) {
		redisSetTimeout(c, (struct timeval){ .tv_usec = 500000 });
		redisReply *r = redisCommand(c, "PING");
		/* A password may be set: that it asks for one is an answer too. Loading is none. */
		yes = r != NULL && (r->type != REDIS_REPLY_ERROR || strncmp(r->str, "NOAUTH", 6) == 0);
		freeReplyObject(r);
	}
	if (c != NULL)
		redisFree(c);
	return yes;
}

/* False: it ended by itself. */
static bool launch(redis_server *s)
{
	if (s->tcp)
		snprintf(s->tcp_url, sizeof(s->tcp_url), "redis://127.0.0.1:%u", s->port);
	unlink(s->socket);
	pid_t parent = getpid();
	s->pid = fork();
	if (s->pid < 0)
		give_up(s, "fork failed");
	if (s->pid == 0)
		run_server(s, parent);
	for (int64_t deadline = now_ms() + ANSWER_MS; now_ms() < deadline; pause_briefly()) {
		if (answers(s))
			return true;
		if (reaped(s, WNOHANG))
			return false;
	}
	redis_server_kill(s);
	give_up(s, "it does not answer");
}

static void end_all(void)
{
	for (redis_server *s = servers; s != NULL; s = s->next) {
		if (s->owner != getpid())
			continue;
		if (s->pid > 0)
			kill(s->pid, SIGKILL);
		remove_tree(s->folder);
	}
}

redis_server *redis_server_start(const redis_server_options *options)
{
	static bool registered;
	redis_server *s = calloc(1, sizeof(*s));
	if (s == NULL)
		abort();
	s->owner = getpid();
	if (options != NULL) {
		s->tcp = options->tcp;
		s->persist = options->persist;
		for (const char *const *a = options->arguments; a != NULL && *a != NULL && s->more_count < ARGUMENTS_MAX; a++)
			s->more[s->more_count++] = strdup(*a);
	}
	make_folder(s);
	if (!registered)
		registered = atexit(end_all) == 0;
	s->next = servers;
	servers = s;
	for (int i = 0; i < STARTS_MAX; i++) {
		if (s->tcp)
			s->port = free_port(s);
		if (launch(s))
			return s;
	}
	give_up(s, "it ended at once");
}

void redis_server_free(redis_server *s)
{
	if (s == NULL)
		return;
	if (s->owner == getpid()) {
		redis_server_kill(s);
		remove_tree(s->folder);
	}
	for (redis_server **at = &servers; *at != NULL; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	for (size_t i = 0; i < s->more_count; i++)
		free(s->more[i]);
	free(s);
}

void redis_server_kill(redis_server *s)
{
	if (s->pid == 0)
		return;
	kill(s->pid, SIGKILL);
	reaped(s, 0);
}

void redis_server_stop(redis_server *s)
{
	if (s->pid == 0)
		return;
	redisContext *c = redisConnectUnixWithTimeout(s->socket, (struct timeval){ .tv_sec = 1 });
	if (c != NULL && c->err == 0)
		freeReplyObject(redisCommand(c, s->persist ? "SHUTDOWN" : "SHUTDOWN NOSAVE"));
	if (c != NULL)
		redisFree(c);
	for (int64_t deadline = now_ms() + END_MS; now_ms() < deadline; pause_briefly())
		if (reaped(s, WNOHANG))
			return;
	give_up(s, "it does not stop");
}

void redis_server_restart(redis_server *s, bool keep_data)
{
	redis_server_kill(s);
	if (!keep_data)
		remove_data(s);
	if (!launch(s))
		give_up(s, "it ended at once after a restart");
}

void redis_server_pause(redis_server *s)
{
	kill(s->pid, SIGSTOP);
	int status;
	waitpid(s->pid, &status, WUNTRACED); /* it stands still when this returns */
}

void redis_server_resume(redis_server *s)
{
	kill(s->pid, SIGCONT);
}

/* ------------------------------------------------------------- what is known of it */

const char *redis_server_url(const redis_server *s)
{
	return s->url;
}

const char *redis_server_tcp_url(const redis_server *s)
{
	return s->tcp_url;
}

const char *redis_server_socket(const redis_server *s)
{
	return s->socket;
}

uint16_t redis_server_port(const redis_server *s)
{
	return s->port;
}

pid_t redis_server_pid(const redis_server *s)
{
	return s->pid;
}

const char *redis_server_folder(const redis_server *s)
{
	return s->folder;
}

/* ------------------------------------------------------------- commands */

static void print_reply(FILE *out, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_NIL:
		fputs("(nil)", out);
		break;
	case REDIS_REPLY_INTEGER:
		fprintf(out, "%lld", r->integer);
		break;
	case REDIS_REPLY_ERROR:
		fprintf(out, "(error) %s", r->str);
		break;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < r->elements; i++) {
			if (i > 0)
				fputc('\n', out);
			print_reply(out, r->element[i]);
		}
		break;
	default:
		fwrite(r->str, 1, r->len, out);
	}
}

static char *command(redis_server *s, const char *format, va_list arguments)
{
	redisContext *c = redisConnectUnixWithTimeout(s->socket, (struct timeval){ .tv_sec = ANSWER_MS / 1000 });
	if (c == NULL || c->err != 0)
		give_up(s, "no connection for a command");
	redisSetTimeout(c, (struct timeval){ .tv_sec = ANSWER_MS / 1000 });
	redisReply *r = redisvCommand(c, format, arguments);
	if (r == NULL)
		give_up(s, c->errstr);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	print_reply(out, r);
	fclose(out);
	freeReplyObject(r);
	redisFree(c);
	return text;
}

char *redis_server_command(redis_server *s, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = command(s, format, arguments);
	va_end(arguments);
	return text;
}

long long redis_server_integer(redis_server *s, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = command(s, format, arguments), *end;
	va_end(arguments);
	long long value = strtoll(text, &end, 10);
	if (end == text || *end != '\0')
		give_up(s, text);
	free(text);
	return value;
}
