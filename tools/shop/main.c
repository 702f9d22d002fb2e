/* The shop's arguments, and its end: tables, promises, page, exit status.
 *
 *   0    every promise was kept
 *   1    a promise was broken; the last lines say which
 *   2    it could not be carried out (no redis-server, no room, wrong arguments), or was broken off */
#include "report.h"
#include "run.h"
#include "screen.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
	"usage: tools/demo [OPTION]...\n"
	"\n"
	"Worker processes serve a shop's catalogue out of a SQLite database through nearcache, under a Zipf-distributed load\n"
	"with some writes. In about a minute: without the cache, cold start, steady load, full speed, the expiry of the hottest\n"
	"key, Redis killed and Redis back. Every read is checked against the version history of the database.\n"
	"\n"
	"  --seconds N       length of the whole course                     default 60, at least 15\n"
	"  --workers N       worker processes                               default 4\n"
	"  --threads N       serving threads of each                        default 2\n"
	"  --rows N          articles in the database                       default 100000\n"
	"  --writes PERCENT  share of the requests that write               default 2\n"
	"  --rate N          requests per second of all workers together,\n"
	"                    where the load is not at full speed            default 10000\n"
	"  --zipf S          skew of the popularity; 0: uniform             default 0.99\n"
	"  --memory SIZE     L1 of each worker, MiB                         default 32, at least 16\n"
	"  --lease MS        freshness lease: the bound that reads are checked against   default 1000\n"
	"  --life MS         life of the hottest key while its expiry is shown           default 1000\n"
	"  --seed N          of the goods and of the load                   default 1\n"
	"  --out DIR         where database, page, figures and log go        default build/demo\n"
	"  --json FILE       the figures as JSON here\n"
	"  --plain           lines instead of a picture, also on a terminal\n"
	"  --forget          breaks coherence on purpose: every 50th invalidation is left out and yet taken as acknowledged.\n"
	"                    The run must end with broken promises; if it does not, the checking is worth nothing\n"
	"  --help            this text\n"
	"\n"
	"Exit status: 0 every promise kept, 1 a promise broken (the last lines say which), 2 not carried out.\n"
	"NO_COLOR is honoured. NEARCACHE_* variables are not: the page says what was set.\n";

static _Noreturn void wrong(const char *option, const char *value, const char *right)
{
	fprintf(stderr, "demo: --%s %s: %s\n", option, value, right);
	exit(2);
}

static double number(const char *option, const char *value, double least, double most)
{
	char *end, right[96];
	double result;

	errno = 0;
	result = strtod(value, &end);
	if (errno == 0 && end != value && *end == '\0' && result >= least && result <= most)
		return result;
	snprintf(right, sizeof(right), "a number from %.10g to %.10g is wanted", least, most);
	wrong(option, value, right);
}

enum { HELP = 256, SECONDS, WORKERS, THREADS, ROWS, WRITES, RATE, ZIPF, MEMORY, LEASE, LIFE, SEED, OUT, JSON, PLAIN, FORGET };

static const struct option option[] = {
	{ "help", no_argument, NULL, HELP },           { "seconds", required_argument, NULL, SECONDS },
	{ "workers", required_argument, NULL, WORKERS }, { "threads", required_argument, NULL, THREADS },
	{ "rows", required_argument, NULL, ROWS },     { "writes", required_argument, NULL, WRITES },
	{ "rate", required_argument, NULL, RATE },     { "zipf", required_argument, NULL, ZIPF },
	{ "memory", required_argument, NULL, MEMORY }, { "lease", required_argument, NULL, LEASE },
	{ "life", required_argument, NULL, LIFE },     { "seed", required_argument, NULL, SEED },
	{ "out", required_argument, NULL, OUT },       { "json", required_argument, NULL, JSON },
	{ "plain", no_argument, NULL, PLAIN },         { "forget", no_argument, NULL, FORGET },
	{ NULL, 0, NULL, 0 },
};

static void option_take(struct shop_config *config, int which, const char *name, const char *value)
{
	switch (which) {
	case SECONDS: config->seconds = number(name, value, 15, 3600); break;
	case WORKERS: config->workers = (unsigned)number(name, value, 1, SHOP_WORKERS_MAX); break;
	case THREADS: config->threads = (unsigned)number(name, value, 1, SHOP_THREADS_MAX); break;
	case ROWS: config->rows = (uint32_t)number(name, value, 1000, 20000000); break;
	case WRITES: config->writes_percent = number(name, value, 0.01, 50); break;
	case RATE: config->rate = (uint64_t)number(name, value, 100, 10000000); break;
	case ZIPF: config->zipf = number(name, value, 0, 3); break;
	case MEMORY: config->memory_bytes = (uint64_t)(number(name, value, 16, 65536) * 1048576); break;
	case LEASE: config->lease_ms = (uint64_t)number(name, value, 50, 60000); break;
	case LIFE: config->home_ttl_ms = (uint64_t)number(name, value, 100, 60000); break;
	case SEED: config->seed = (uint64_t)number(name, value, 0, 9e15); break;
	case OUT: config->out_dir = value; break;
	case JSON: config->json_path = value; break;
	case PLAIN: config->plain = true; break;
	case FORGET: config->forget = true; break;
	case HELP: fputs(help, stdout); exit(0);
	default: fputs("demo: see --help\n", stderr); exit(2);
	}
}

static void arguments(struct shop_config *config, int argc, char **argv)
{
	int which, index = 0;

	*config = (struct shop_config){ .workers = 4, .threads = 2, .rows = 100000, .writes_percent = 2, .zipf = 0.99,
		.seconds = 60, .seed = 1, .rate = 10000, .memory_bytes = UINT64_C(32) << 20, .lease_ms = 1000, .home_ttl_ms = 1000,
		.deadline_ms = 250, .load_deadline_ms = 2000, .out_dir = "build/demo" };
	while ((which = getopt_long(argc, argv, "", option, &index)) != -1)
		option_take(config, which, option[index].name, optarg != NULL ? optarg : "");
	if (optind < argc)
		wrong("", argv[optind], "options only; see --help");
}

/* Makes `path` and the folders above it. */
static bool folder_make(const char *path)
{
	char part[SHOP_PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *at = part + 1; *at != '\0'; at++)
		if (*at == '/') {
			*at = '\0';
			if (mkdir(part, 0777) != 0 && errno != EEXIST)
				return false;
			*at = '/';
		}
	return mkdir(part, 0777) == 0 || errno == EEXIST;
}

static void paths(struct shop_config *config)
{
	const char *temporary = getenv("TMPDIR");

	if (temporary == NULL || strlen(temporary) > 60) /* a unix socket's path is short */
		temporary = "/tmp";
	snprintf(config->database, sizeof(config->database), "%.480s/catalogue.db", config->out_dir);
	snprintf(config->log, sizeof(config->log), "%.480s/workers.log", config->out_dir);
	snprintf(config->run_dir, sizeof(config->run_dir), "%s/nearcache-demo-XXXXXX", temporary);
	if (strlen(config->out_dir) > 480 || !folder_make(config->out_dir))
		wrong("out", config->out_dir, strerror(errno));
}

static void files_write(const struct run *run)
{
	char page[SHOP_PATH_MAX + 32], json[SHOP_PATH_MAX + 32];
	const char *also = run->config.json_path;

	snprintf(page, sizeof(page), "%s/report.html", run->config.out_dir);
	snprintf(json, sizeof(json), "%s/report.json", run->config.out_dir);
	if (!report_write(run, page))
		fprintf(stderr, "demo: cannot write %s: %s\n", page, strerror(errno));
	else
		printf("\nPictures and explanations: %s\n", page);
	if (!run_document(run, also != NULL ? also : json))
		fprintf(stderr, "demo: cannot write %s: %s\n", also != NULL ? also : json, strerror(errno));
	else
		printf("Figures as JSON:           %s\n", also != NULL ? also : json);
}

static int verdict_print(const struct run *run, bool kept)
{
	printf("\n");
	if (kept) {
		printf("%sAll %zu promises were kept.%s\n", paint.green, run->promises, paint.plain);
		return 0;
	}
	for (unsigned w = 0; w < run->config.workers; w++)
		if (atomic_load(&run->board->worker[w].trouble_told))
			printf("worker %u, the first of %u troubles: %s\n", w, run->board->worker[w].troubles,
			       run->board->worker[w].trouble);
	for (size_t i = 0; i < run->promises; i++)
		if (!run->promise[i].kept)
			printf("%sBROKEN: %s: %s%s\n", paint.red, run->promise[i].text, run->promise[i].figure, paint.plain);
	return 1;
}

int main(int argc, char **argv)
{
	static struct run run;
	char why[512] = "";
	bool carried, kept;

	arguments(&run.config, argc, argv);
	paths(&run.config);
	screen_open(run.config.plain);
	carried = run_course(&run, why, sizeof(why));
	screen_end(&run);
	run_cleanup(&run);
	if (!carried) {
		fprintf(stderr, "demo: %s\n", why);
		return 2;
	}
	kept = run_judge(&run);
	table_print(&run);
	promises_print(&run);
	files_write(&run);
	return verdict_print(&run, kept);
}
