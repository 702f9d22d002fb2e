/* The tests' own redis-server: what other tests rely on when they break it on purpose. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "support/redis_server.h"

static void expect_text(redis_server *redis, const char *command, const char *expected)
{
	char *text = redis_server_command(redis, command);
	assert_string_equal(text, expected);
	free(text);
}

static void start__a_server__answers_and_leaves_nothing(void **state)
{
	(void)state;
	redis_server *redis = redis_server_start(NULL);
	char folder[128];
	struct stat info;
	strcpy(folder, redis_server_folder(redis));
	pid_t pid = redis_server_pid(redis);
	expect_text(redis, "SET a 1", "OK");
	expect_text(redis, "GET a", "1");
	expect_text(redis, "GET b", "(nil)");
	assert_int_equal(redis_server_integer(redis, "INCRBY a 41"), 42);
	assert_int_equal(stat(folder, &info), 0);
	redis_server_free(redis);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(stat(folder, &info), -1);
}

static void restart__of_a_persisting_server__keeps_or_drops_its_data(void **state)
{
	(void)state;
	redis_server *redis = redis_server_start(&(redis_server_options){ .tcp = true, .persist = true });
	uint16_t port = redis_server_port(redis);
	expect_text(redis, "SET a 1", "OK");
	redis_server_kill(redis);
	assert_int_equal(redis_server_pid(redis), 0);
	redis_server_restart(redis, true);
	assert_int_equal(redis_server_port(redis), port);
	expect_text(redis, "GET a", "1");
	redis_server_stop(redis);
	redis_server_restart(redis, false);
	expect_text(redis, "GET a", "(nil)");
	redis_server_free(redis);
}

static void restart__of_a_server_without_persistence__is_empty(void **state)
{
	(void)state;
	redis_server *redis = redis_server_start(NULL);
	expect_text(redis, "SET a 1", "OK");
	redis_server_restart(redis, true);
	expect_text(redis, "GET a", "(nil)");
	redis_server_free(redis);
}

static void start__with_arguments__hands_them_on(void **state)
{
	(void)state;
	const char *const arguments[] = { "--maxmemory", "12345678", NULL };
	redis_server *redis = redis_server_start(&(redis_server_options){ .arguments = arguments });
	expect_text(redis, "CONFIG GET maxmemory", "maxmemory\n12345678");
	redis_server_free(redis);
}

static void pause__until_resume__nothing_is_answered(void **state)
{
	(void)state;
	redis_server *redis = redis_server_start(NULL);
	redis_server_pause(redis);
	pid_t child = fork();
	if (child == 0) {
		alarm(20);
		free(redis_server_command(redis, "SET a 1"));
		_exit(0);
	}
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
	redis_server_resume(redis);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	expect_text(redis, "GET a", "1");
	redis_server_free(redis);
}

static void exit__of_a_forked_child__leaves_the_server_running(void **state)
{
	(void)state;
	redis_server *redis = redis_server_start(NULL);
	pid_t child = fork();
	if (child == 0)
		exit(0); /* runs the exit handlers */
	waitpid(child, NULL, 0);
	expect_text(redis, "PING", "PONG");
	redis_server_free(redis);
}

static void crash__of_the_test__takes_the_server_along(void **state)
{
	(void)state;
	int pipe_fds[2];
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t child = fork();
	if (child == 0) {
		redis_server *redis = redis_server_start(NULL);
		pid_t pid = redis_server_pid(redis);
		char folder[64] = "";
		strcpy(folder, redis_server_folder(redis));
		if (write(pipe_fds[1], &pid, sizeof(pid)) != sizeof(pid) ||
		    write(pipe_fds[1], folder, sizeof(folder)) != sizeof(folder))
			_exit(1);
		raise(SIGKILL);
	}
	pid_t server = 0;
	char folder[64], remove[96];
	assert_int_equal(read(pipe_fds[0], &server, sizeof(server)), sizeof(server));
	assert_int_equal(read(pipe_fds[0], folder, sizeof(folder)), sizeof(folder));
	waitpid(child, NULL, 0);
	for (int i = 0; i < 1000 && kill(server, 0) == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	char path[64], text[16] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)server);
	FILE *f = fopen(path, "r"); /* gone, or a zombie that init has not collected yet */
	if (f != NULL) {
		assert_int_equal(fscanf(f, "%*d %*s %15s", text), 1);
		fclose(f);
		assert_string_equal(text, "Z");
	}
	snprintf(remove, sizeof(remove), "rm -rf '%s'", folder); /* which nobody was left to remove */
	assert_int_equal(system(remove), 0);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start__a_server__answers_and_leaves_nothing),
		cmocka_unit_test(restart__of_a_persisting_server__keeps_or_drops_its_data),
		cmocka_unit_test(restart__of_a_server_without_persistence__is_empty),
		cmocka_unit_test(start__with_arguments__hands_them_on),
		cmocka_unit_test(pause__until_resume__nothing_is_answered),
		cmocka_unit_test(exit__of_a_forked_child__leaves_the_server_running),
		cmocka_unit_test(crash__of_the_test__takes_the_server_along),
	};
	return cmocka_run_group_tests_name("support/redis_server", tests, NULL, NULL);
}
