/* See redis_server.h. PING and INFO are spoken over a socket of our own, beside the library under test. */
#include "redis_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MS 100

void redis_server_init(struct redis_server *server, const char *directory)
{
	memset(server, 0, sizeof(*server));
	snprintf(server->directory, sizeof(server->directory), "%s", directory);
	snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", directory);
}

static _Noreturn void run(const struct redis_server *server, pid_t parent)
{
	char log[SHOP_PATH_MAX + 16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	signal(SIGINT, SIG_IGN); /* an interrupt at the terminal is the orchestrator's to handle */
	snprintf(log, sizeof(log), "%s/redis.log", server->directory);
	execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->socket, "--save", "", "--appendonly", "no",
	       "--daemonize", "no", "--dir", server->directory, "--logfile", log, (char *)NULL);
	_exit(127);
}

bool redis_server_start(struct redis_server *server)
{
	pid_t parent = getpid();

	server->pid = fork();
	if (server->pid == 0)
		run(server, parent);
	if (server->pid < 0)
		server->pid = 0;
	return server->pid > 0;
}

/* Sends one inline command and reads what comes within the time, up to `size` bytes; 0: nothing. */
static size_t ask(const struct redis_server *server, const char *command, char *answer, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t got = 0;

	if (fd < 0 || strlen(server->socket) >= sizeof(address.sun_path))
		goto end;
	memcpy(address.sun_path, server->socket, strlen(server->socket) + 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    send(fd, command, strlen(command), MSG_NOSIGNAL) < 0)
		goto end;
	while (got < size - 1) { /* ends: each turn brings bytes, or the time is over */
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t more;

		if (poll(&ready, 1, got == 0 ? ANSWER_MS : 10) <= 0 || (more = read(fd, answer + got, size - 1 - got)) <= 0)
			break;
		got += (size_t)more;
		if (answer[0] == '+')
			break;
	}
end:
	if (fd >= 0)
		close(fd);
	answer[got] = '\0';
	return got;
}

bool redis_server_answers(const struct redis_server *server)
{
	char answer[64];

	return ask(server, "PING\r\n", answer, sizeof(answer)) > 0 && strncmp(answer, "+PONG", 5) == 0;
}

void redis_server_kill(struct redis_server *server)
{
	if (server->pid == 0)
		return;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

double redis_server_info(const struct redis_server *server, const char *name)
{
	char answer[16384], line[80];
	const char *at;

	snprintf(line, sizeof(line), "\n%s:", name);
	if (ask(server, "INFO\r\n", answer, sizeof(answer)) == 0 || (at = strstr(answer, line)) == NULL)
		return 0;
	return strtod(at + strlen(line), NULL);
}
