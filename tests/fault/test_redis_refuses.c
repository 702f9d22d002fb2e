/* Redis answers, and refuses: read-only, out of memory, a password that nobody knows. */
#include "fault/crew.h"

#include <sys/socket.h>
#include <sys/un.h>

static void task_read_all(void)
{
	uint64_t version;
	for (int k = 0; k < all->o.keys; k++)
		(void)judged_read(k, 0, &version);
}

static void task_write(void)
{
	static char big[4096];
	int64_t begun_ns = near__now_ns();
	me->status[0] = (int)near_put(cache, "put", 3, big, sizeof big, NULL);
	me->took_ms[0] = ms_since(begun_ns);
	begun_ns = near__now_ns();
	me->status[1] = (int)judged_write(1, false);
	me->took_ms[1] = ms_since(begun_ns);
	begun_ns = near__now_ns();
	me->status[2] = (int)near_add(cache, "added", 5, big, sizeof big, NULL);
	me->took_ms[2] = ms_since(begun_ns);
}

static void expect_writes(near_status put, near_status other_put, near_status invalidate)
{
	for (int i = 0; i < CREW_SIZE; i++) {
		const crew_child *c = &all->child[i];
		print_message("process %d: put %s, invalidate %s, add %s\n", i, near_status_name((near_status)c->status[0]),
		              near_status_name((near_status)c->status[1]), near_status_name((near_status)c->status[2]));
		assert_true(c->status[0] == (int)put || c->status[0] == (int)other_put);
		assert_int_equal(c->status[1], invalidate);
		assert_true(c->status[2] == NEAR_E_UNAVAILABLE || c->status[2] == NEAR_E_REDIS ||
		            c->status[2] == NEAR_E_TIMEOUT);
		for (int at = 0; at < 3; at++)
			assert_true(c->took_ms[at] <= 2 * DEADLINE_MS + SLACK_MS);
	}
}

static void redis_read_only__writes_are_queued_and_loads_go_on(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_read_all);
	atomic_store(&all->running, true);
	nap_ms(500);
	TELL_REDIS("REPLICAOF 127.0.0.1 1");
	nap_ms(2 * LEASE_MS);
	crew_pause();
	order_all(task_write);
	expect_writes(NEAR_QUEUED, NEAR_QUEUED, NEAR_QUEUED);
	order_all(task_report);
	for (int i = 0; i < CREW_SIZE; i++)
		assert_true(all->child[i].trouble[0] != '\0');
	print_message("\"%s\"\n", all->child[0].trouble);
	atomic_store(&all->running, true);
	uint64_t loads = atomic_load(&all->loads);
	assert_true(WITHIN(SOON_MS, atomic_load(&all->loads) > loads + 20));
	TELL_REDIS("REPLICAOF NO ONE");
	expect_well();
	nap_ms(300);
	expect_rest();
	expect_history();
	crew_end();
}

static void redis_out_of_memory__invalidations_still_take_effect_everywhere(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_read_all);
	atomic_store(&all->running, true);
	nap_ms(500);
	TELL_REDIS("CONFIG SET maxmemory-policy noeviction");
	TELL_REDIS("CONFIG SET maxmemory 1mb");
	char *answer = redis_server_command(redis, "SET stranger %s", "x");
	assert_non_null(strstr(answer, "OOM"));
	free(answer);
	uint64_t writes = atomic_load(&all->writes), queued = atomic_load(&all->queued);
	nap_ms(4 * LEASE_MS);
	assert_true(atomic_load(&all->writes) > writes + 20);
	assert_int_equal(atomic_load(&all->queued), queued);
	expect_rest(); /* in the midst of it nothing is old anywhere */
	order_all(task_write);
	expect_writes(NEAR_OK, NEAR_QUEUED, NEAR_OK);
	TELL_REDIS("CONFIG SET maxmemory 0");
	atomic_store(&all->running, true);
	expect_well();
	uint64_t from_l2 = atomic_load(&all->from_l2);
	assert_true(WITHIN(SOON_MS, atomic_load(&all->from_l2) > from_l2 + 20)); /* fills go in again */
	expect_rest();
	expect_history();
	crew_end();
}

/* Commands on one connection, one per line. Needed where a new connection could not even ask. */
static void tell_inline(const char *lines)
{
	char answer[512];
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s", redis_server_socket(redis));
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
	size_t used = 0;
	for (ssize_t n; used < sizeof answer - 1 && (n = read(fd, answer + used, sizeof answer - 1 - used)) > 0;)
		used += (size_t)n;
	answer[used] = '\0';
	close(fd);
	if (used == 0 || answer[0] == '-' || strstr(answer, "\n-") != NULL)
		fail_msg("Redis answered %s", answer);
}

static void password_appears__serves_degraded_says_so_and_recovers(void **state)
{
	(void)state;
	crew_start(NULL, NULL);
	order_all(task_read_all);
	atomic_store(&all->running, true);
	nap_ms(500);
	tell_inline("CONFIG SET requirepass secret\r\nCLIENT KILL TYPE normal\r\nCLIENT KILL TYPE pubsub\r\nQUIT\r\n");
	nap_ms(2 * LEASE_MS);
	uint64_t loads = atomic_load(&all->loads);
	assert_true(WITHIN(SOON_MS, atomic_load(&all->loads) > loads + 20));
	crew_pause();
	order_all(task_write);
	expect_writes(NEAR_QUEUED, NEAR_QUEUED, NEAR_QUEUED);
	order_all(task_report);
	print_message("\"%s\"\n", all->child[0].trouble);
	for (int i = 0; i < CREW_SIZE; i++)
		assert_non_null(strstr(all->child[i].trouble, "NOAUTH"));
	atomic_store(&all->running, true);
	tell_inline("AUTH secret\r\nCONFIG SET requirepass \"\"\r\nQUIT\r\n");
	expect_well();
	nap_ms(300);
	expect_rest();
	expect_history();
	crew_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CREW_TEST(redis_read_only__writes_are_queued_and_loads_go_on),
		CREW_TEST(redis_out_of_memory__invalidations_still_take_effect_everywhere),
		CREW_TEST(password_appears__serves_degraded_says_so_and_recovers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
