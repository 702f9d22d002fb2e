/* The course of a run, from filling the database to the last worker's end.
 *
 *   prepare:  database, board, history, Redis, workers, until every worker holds its freshness lease
 *   stages:   the table below; each gives its orders, waits, and takes its figures
 *   finish:   order to stop, wait for the workers, end Redis, remove the private directory
 *
 * The orchestrator is one thread that turns every 5 ms: looks after children and hanging calls, the probe's rounds, Redis's
 * return, samples, and the screen. */
#include "run.h"
#include "catalogue.h"
#include "screen.h"
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN_NS (5 * SHOP_MS)
#define READY_MAX_NS (20 * SHOP_SECOND)
#define END_MAX_NS (8 * SHOP_SECOND)
#define HANG_NS (10 * SHOP_SECOND)
#define EVENTS_PER_SECOND 40000 /* room in the history: more than SQLite commits */

const struct stage stages[STAGES] = {
	[BARE] = { .name = "bare", .title = "without the cache", .seconds = 4, .lead_seconds = 0.5, .bare = true },
	[BARE_FULL] = { .name = "bare_full", .title = "without the cache, full speed", .seconds = 3, .lead_seconds = 0.5,
	                .bare = true, .full = true },
	[COLD] = { .name = "cold", .title = "cold start", .seconds = 5 },
	[FULL] = { .name = "full", .title = "full speed", .seconds = 5, .lead_seconds = 0.5, .full = true },
	[STEADY] = { .name = "steady", .title = "steady load", .seconds = 8, .lead_seconds = 0.5 },
	[EXPIRY] = { .name = "expiry", .title = "hottest key expires", .seconds = 9, .lead_seconds = 1.5, .front = true,
	             .early = true },
	[EXPIRY_LATE] = { .name = "expiry_late", .title = "the same, not refreshed early", .seconds = 5, .lead_seconds = 1.5,
	                  .front = true },
	[AWAY] = { .name = "away", .title = "Redis killed", .seconds = 6 },
	[BACK] = { .name = "back", .title = "Redis is back", .seconds = 7 },
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static bool say(char *why, size_t size, const char *what, const char *detail)
{
	snprintf(why, size, "%s%s%s", what, detail[0] != '\0' ? ": " : "", detail);
	return false;
}

/* ------------------------------------------------------------------ looking after children */

static void child_ended(struct run *run, pid_t pid, int status)
{
	char how[64];

	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(status));
	if (pid == run->redis.pid) {
		run->redis.pid = 0;
		run->crashed++;
		snprintf(run->crash, sizeof(run->crash), "redis-server ended by itself: %s", how);
	}
	for (unsigned w = 0; w < run->config.workers; w++) {
		struct worker_board *worker = &run->board->worker[w];

		if (pid != run->worker[w])
			continue;
		run->worker[w] = 0;
		if (status == 0 && atomic_load(&worker->state) == WORKER_ENDED)
			continue;
		run->crashed++;
		snprintf(run->crash, sizeof(run->crash), "worker %u: %s%s%.80s", w, how, worker->why[0] != '\0' ? ", " : "",
		         worker->why);
		run_event(run, NULL, "%s", run->crash);
	}
}

static void children_look(struct run *run)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		child_ended(run, pid, status);
}

static void calls_look(struct run *run, uint64_t now)
{
	for (unsigned w = 0; w < run->config.workers; w++)
		for (unsigned t = 0; t < run->config.threads; t++) {
			struct thread_board *thread = &run->board->worker[w].thread[t];
			uint64_t since = atomic_load_explicit(&thread->busy_since, memory_order_relaxed);

			if (since != 0 && now > since + HANG_NS && run->hung == 0) {
				run->hung = 1;
				run_event(run, NULL, "worker %u, thread %u: a call has not come back for %.0f s", w, t,
				          (double)(now - since) / (double)SHOP_SECOND);
			}
		}
}

/* Something that ends the run. */
static bool broken_off(const struct run *run)
{
	return interrupted != 0 || run->crashed > 0 || run->hung > 0;
}

/* ------------------------------------------------------------------ Redis away and back */

static void redis_kill(struct run *run)
{
	run->redis_memory = redis_server_info(&run->redis, "used_memory");
	redis_server_kill(&run->redis);
	run->killed_at = now_ns();
	run_event(run, "Redis killed", "redis-server killed (SIGKILL)");
}

static void redis_return(struct run *run)
{
	run->started_at = now_ns();
	run_event(run, NULL, "redis-server started again, with nothing in it");
	redis_server_start(&run->redis);
	atomic_store(&run->board->orders.revival, run->started_at);
}

static void redis_look(struct run *run)
{
	uint64_t latest = 0;

	if (run->started_at == 0 || run->works_at != 0)
		return;
	if (run->answered_at == 0 && redis_server_answers(&run->redis)) {
		run->answered_at = now_ns();
		run_event(run, "Redis back", "redis-server answers again, %.1f s after it was killed",
		          (double)(run->answered_at - run->killed_at) / (double)SHOP_SECOND);
	}
	for (unsigned w = 0; w < run->config.workers; w++) {
		struct revival *revival = &run->board->worker[w].revival;
		uint64_t part[] = { revival->ping, revival->lease, revival->value, revival->invalidation, revival->drained };

		for (int i = 0; i < 5; i++) {
			if (part[i] == 0)
				return;
			latest = part[i] > latest ? part[i] : latest;
		}
	}
	if (run->answered_at == 0)
		return;
	run->works_at = latest > run->answered_at ? latest : run->answered_at;
	run_event(run, "works again", "every worker works with Redis again, queues delivered, %.2f s after its first answer",
	          (double)(run->works_at - run->answered_at) / (double)SHOP_SECOND);
}

/* ------------------------------------------------------------------ stages */

static void turns(struct run *run, uint64_t until)
{
	uint64_t now, sampled = run->samples > 0 ? run->sample[run->samples - 1].at : run->begin;

	while ((now = now_ns()) < until && !broken_off(run)) {
		children_look(run);
		calls_look(run, now);
		redis_look(run);
		run_probe(run);
		if (now - sampled >= RUN_SAMPLE_NS) {
			run_sample(run);
			sampled = now;
			screen_update(run);
		}
		pause_ns(TURN_NS);
	}
	run_sample(run);
}

static void orders_give(struct run *run, const struct stage *stage)
{
	struct orders *orders = &run->board->orders;
	uint64_t rate = run->config.rate / run->config.workers / run->config.threads;

	atomic_store(&orders->bare, stage->bare);
	atomic_store(&orders->front_permille, stage->front ? 250 : 0);
	atomic_store(&orders->front_early, stage->early);
	atomic_store(&orders->rate, stage->full ? 0 : rate > 0 ? rate : 1);
}

static void stage_run(struct run *run, int which, double stretch)
{
	const struct stage *stage = &stages[which];
	struct stage_figures *figures = &run->figures[which];

	run->stage = which;
	run->stage_begin = now_ns();
	run->stage_end = run->stage_begin + (uint64_t)((stage->lead_seconds + stage->seconds * stretch) * (double)SHOP_SECOND);
	orders_give(run, stage);
	if (which == AWAY)
		redis_kill(run);
	else if (which == BACK)
		redis_return(run);
	else
		run_event(run, NULL, "%s", stage->title);
	if (stage->lead_seconds > 0)
		turns(run, run->stage_begin + (uint64_t)(stage->lead_seconds * (double)SHOP_SECOND));
	figures->begun = true;
	figures->begin = now_ns();
	turns(run, run->stage_end);
	figures->end = now_ns();
	figures->over = true;
}

static void stages_run(struct run *run)
{
	double usual = 0, lead = 0, stretch;

	for (int i = 0; i < STAGES; i++) {
		usual += stages[i].seconds;
		lead += stages[i].lead_seconds;
	}
	stretch = (run->config.seconds - lead) / usual;
	board_sum(run->board, &run->last, true); /* what came before counts for nothing */
	run->begin = run->board->begin = now_ns();
	run->end = run->begin + (uint64_t)(run->config.seconds * (double)SHOP_SECOND);
	for (int i = 0; i < STAGES && !broken_off(run); i++)
		stage_run(run, i, stretch);
}

/* ------------------------------------------------------------------ before and after */

static bool worker_start(struct run *run, unsigned index)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		signal(SIGTERM, SIG_DFL);
		signal(SIGHUP, SIG_DFL);
		if (getppid() != parent)
			_exit(1);
		_exit(worker_run(&run->config, run->board, run->history, index));
	}
	run->worker[index] = pid > 0 ? pid : 0;
	return pid > 0;
}

/* Until every worker's cache is connected and holds its lease. */
static bool workers_wait(struct run *run, char *why, size_t why_size)
{
	uint64_t begin = now_ns();
	unsigned ready = 0;
	near_stats stats;

	while (ready < run->config.workers) {
		children_look(run);
		if (broken_off(run))
			return say(why, why_size, "a process ended while starting", run->crash);
		if (now_ns() - begin > READY_MAX_NS)
			return say(why, why_size, "the workers hold no freshness lease after 20 s", "");
		pause_ns(TURN_NS);
		ready = 0;
		for (unsigned w = 0; w < run->config.workers; w++)
			ready += atomic_load(&run->board->worker[w].state) == WORKER_READY &&
			         board_stats_read(&run->board->worker[w], &stats) && stats.connected == 1 && stats.lease_left_ms > 0;
	}
	return true;
}

static bool database_fill(struct run *run, char *why, size_t why_size)
{
	uint64_t begin = now_ns();
	struct stat about;

	screen_note(run, "filling the database: %u articles in %s", run->config.rows, run->config.database);
	if (!catalogue_create(run->config.database, run->config.seed, run->config.rows + run->config.workers, why, why_size))
		return false;
	run->database_seconds = (double)(now_ns() - begin) / (double)SHOP_SECOND;
	run->database_bytes = stat(run->config.database, &about) == 0 ? (uint64_t)about.st_size : 0;
	return true;
}

static bool redis_begin(struct run *run, char *why, size_t why_size)
{
	uint64_t begin = now_ns();

	redis_server_init(&run->redis, run->config.run_dir);
	snprintf(run->config.redis_url, sizeof(run->config.redis_url), "unix://%.480s", run->redis.socket);
	if (!redis_server_start(&run->redis))
		return say(why, why_size, "redis-server cannot be started", strerror(errno));
	while (!redis_server_answers(&run->redis)) {
		children_look(run);
		if (broken_off(run) || now_ns() - begin > 10 * SHOP_SECOND)
			return say(why, why_size, "redis-server (7.0 or newer, in the PATH) does not answer", run->crash);
		pause_ns(TURN_NS);
	}
	return true;
}

static bool prepare(struct run *run, char *why, size_t why_size)
{
	uint32_t articles = run->config.rows + run->config.workers;
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(run->config.run_dir) == NULL)
		return say(why, why_size, run->config.run_dir, strerror(errno));
	unlink(run->config.log);
	if (!database_fill(run, why, why_size))
		return false;
	run->board = board_create(run->config.workers, run->config.threads, articles);
	run->history = history_create(articles, (uint32_t)(run->config.seconds * EVENTS_PER_SECOND));
	if (run->board == NULL || run->history == NULL)
		return say(why, why_size, "no memory for the board", strerror(errno));
	if (!redis_begin(run, why, why_size))
		return false;
	orders_give(run, &stages[BARE]);
	fflush(NULL);
	for (unsigned w = 0; w < run->config.workers; w++)
		if (!worker_start(run, w))
			return say(why, why_size, "a worker cannot be started", strerror(errno));
	return workers_wait(run, why, why_size);
}

/* Orders the workers to stop and waits for them; one that does not end hangs, and is killed. */
static void workers_end(struct run *run)
{
	uint64_t begin = now_ns();
	unsigned left = run->config.workers;

	atomic_store(&run->board->orders.stop, 1);
	while (left > 0) {
		children_look(run);
		left = 0;
		for (unsigned w = 0; w < run->config.workers; w++)
			left += run->worker[w] != 0;
		if (left == 0 || now_ns() - begin > END_MAX_NS)
			break;
		pause_ns(TURN_NS);
	}
	if (left > 0) {
		run->hung += left;
		run_event(run, NULL, "%u workers did not end within 8 s of the order", left);
	}
}

void run_cleanup(struct run *run)
{
	static const char *const file[] = { "redis.sock", "redis.log" };
	char name[SHOP_PATH_MAX + 16];

	for (unsigned w = 0; w < run->config.workers; w++)
		if (run->worker[w] > 0) {
			kill(run->worker[w], SIGKILL);
			waitpid(run->worker[w], NULL, 0);
			run->worker[w] = 0;
		}
	redis_server_kill(&run->redis);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s/%s", run->config.run_dir, file[i]);
		unlink(name);
	}
	rmdir(run->config.run_dir);
}

bool run_course(struct run *run, char *why, size_t why_size)
{
	if (!prepare(run, why, why_size))
		return false;
	stages_run(run);
	run->redis_commands = redis_server_info(&run->redis, "total_commands_processed");
	workers_end(run);
	run_sample(run);
	screen_end(run);
	if (interrupted != 0)
		return say(why, why_size, "broken off", strsignal(interrupted));
	return true;
}
