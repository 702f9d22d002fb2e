/* The page: verdict, the figures that matter most, pictures with what they show and how it was measured, tables. See
 * report.h. Nothing of it is loaded from elsewhere, and nothing is written into it that a user typed but numbers and a
 * path, which is escaped. */
#include "report.h"

#include "page_style.h"
#include "pictures.h"
#include "text.h"

#include <stdarg.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ULL(x) ((unsigned long long)(x))

static double per_second(const struct stage_figures *figures, uint64_t count)
{
	double seconds = (double)(figures->end - figures->begin) / (double)SHOP_SECOND;

	return seconds > 0 ? (double)count / seconds : 0;
}

static void escaped(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		const char *as = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : NULL;

		if (as != NULL)
			fputs(as, out);
		else
			putc(*text, out);
	}
}

/* One row of a table, its cells ended by NULL. */
static void row(FILE *out, const char *tag, ...)
{
	const char *cell;
	va_list list;

	va_start(list, tag);
	fprintf(out, "<tr>");
	while ((cell = va_arg(list, const char *)) != NULL)
		fprintf(out, "<%s>%s</%s>", tag, cell, tag);
	fprintf(out, "</tr>\n");
	va_end(list);
}

static void table_begin(FILE *out)
{
	fprintf(out, "<div class=\"wide\"><table>\n");
}

static void table_end(FILE *out)
{
	fprintf(out, "</table></div>\n");
}

static const char *quantile(const struct spread *spread, double share)
{
	return spread->count > 0 ? text_time(spread_quantile(spread, share)) : "&ndash;";
}

static double requests_per_second(const struct run *run, int stage)
{
	const struct stage_figures *figures = &run->figures[stage];
	const struct sum *sum = &figures->sum;

	return per_second(figures, sum->reads + sum->bare_reads + sum->front_reads + sum->writes);
}

/* ------------------------------------------------------------------ the head */

static void head(const struct run *run, FILE *out, bool kept)
{
	const struct shop_config *config = &run->config;
	struct utsname system;
	char when[64];
	time_t now = time(NULL);

	strftime(when, sizeof(when), "%Y-%m-%d %H:%M", localtime(&now));
	fprintf(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
	        "content=\"width=device-width,initial-scale=1\"><title>nearcache "
	        "demo</title><style>\n%s</style></head><body>\n<h1>nearcache: a shop's catalogue under load</h1>\n", page_style);
	fprintf(out, "<p class=\"soft\">%u worker processes with %u serving threads each answer article pages out of a "
	        "SQLite database of %s articles (%s) through nearcache %s: L1 of %s in each process, one Redis behind "
	        "them, freshness lease %llu ms. Popularity is Zipf-distributed (s = %.2f), %.3g %% of the requests "
	        "write. Seed %llu, %ld processors, %s, %s.</p>\n",
	        config->workers, config->threads, text_count(config->rows), text_bytes((double)run->database_bytes),
	        near_version(), text_bytes((double)config->memory_bytes), ULL(config->lease_ms), config->zipf, config->writes_percent,
	        ULL(config->seed), sysconf(_SC_NPROCESSORS_ONLN), uname(&system) == 0 ? system.machine : "", when);
	if (config->forget)
		fprintf(out, "<p><b>Run with --forget: every 50th invalidation was left out on purpose.</b></p>\n");
	fprintf(out, "<div class=\"verdict %s\">%s</div>\n", kept ? "good" : "bad",
	        kept ? "All promises were kept" : "A promise was broken");
}

static void tile(FILE *out, const char *figure, const char *meaning)
{
	fprintf(out, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n", figure, meaning);
}

static void tiles(const struct run *run, FILE *out)
{
	const struct sum *steady = &run->figures[STEADY].sum, *bare = &run->figures[BARE].sum;
	char figure[96], meaning[160];
	double full = requests_per_second(run, FULL), bare_full = requests_per_second(run, BARE_FULL);

	fprintf(out, "<div class=\"tiles\">\n");
	snprintf(meaning, sizeof(meaning), "requests per second at full speed; %s without the cache", text_count(bare_full));
	tile(out, text_count(full), meaning);
	snprintf(meaning, sizeof(meaning), "median read under the steady load; %s without the cache",
	         text_time(spread_quantile(&bare->bare, 0.5)));
	tile(out, text_time(spread_quantile(&steady->read, 0.5)), meaning);
	tile(out, text_percent((double)(steady->from_l1 + steady->from_l2), (double)steady->reads),
	     "of the steady load's reads answered without the database");
	tile(out, text_time(spread_quantile(&run->figures[STEADY].all, 0.5)),
	     "median time from an invalidation's answer until it was gone from every other process");
	snprintf(meaning, sizeof(meaning), "of %s fresh reads older than the lease allows",
	         text_count((double)(run->total.from_l1 + run->total.from_l2 + run->total.from_loader)));
	tile(out, text_count((double)run->total.beyond), meaning);
	if (run->works_at != 0)
		snprintf(figure, sizeof(figure), "%.2f s", (double)(run->works_at - run->answered_at) / (double)SHOP_SECOND);
	else
		snprintf(figure, sizeof(figure), "never");
	tile(out, figure, "from Redis's first answer after the restart until every worker worked with it again");
	fprintf(out, "</div>\n");
}

static void promises(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>Promises</h2><div class=\"wide\"><table><tr><th></th><th class=\"text\">promise</th>"
	        "<th class=\"text\">figure</th></tr>\n");
	for (size_t i = 0; i < run->promises; i++) {
		fprintf(out, "<tr><td class=\"%s\">%s</td><td class=\"text\">%s</td><td class=\"text soft\">",
		        run->promise[i].kept ? "good" : "bad", run->promise[i].kept ? "kept" : "broken", run->promise[i].text);
		escaped(out, run->promise[i].figure);
		fprintf(out, "</td></tr>\n");
	}
	fprintf(out, "</table></div>\n");
}

/* ------------------------------------------------------------------ pictures */

static void requests_section(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>Who answers</h2><p>Reads per second, by the tier that answered. Outside the full-speed stages the load "
	        "is %s requests per second for all workers together, so a dip would be requests that waited. When Redis is "
	        "killed, L1 goes on for one lease; then pages come from the database, each served for one lease at most.</p>\n",
	        text_count((double)run->config.rate));
	picture_requests(run, out);
	fprintf(out, "<div class=\"key\"><i class=\"l1\"></i>L1, in the process <i class=\"l2\"></i>Redis "
	        "<i class=\"db\"></i>load from the database, run or shared <i class=\"stale\"></i>flagged NEAR_STALE, as one "
	        "read in eight allows <i class=\"front\"></i>front page (see below) "
	        "<i class=\"bare\"></i>database, without the cache</div>\n");
	fprintf(out, "<h2>What the database has to do</h2><p>Article pages read from the database per second, counted in "
	        "the loader. While Redis is there, a page is loaded once when it is first asked for by anyone, and once "
	        "after each invalidation.</p>\n");
	picture_loads(run, out);
	fprintf(out, "<div class=\"key\"><i class=\"db\"></i>loads by the cache <i class=\"bare\"></i>reads without the "
	        "cache</div>\n");
}

static void latency_section(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>How long a read takes</h2><p>Each call is timed by the caller, from call to return, writes not "
	        "included; every quarter of a second gives a point. At full speed there are more busy threads than "
	        "processors, and the longest reads are those that were waiting for one.</p>\n");
	picture_latency(run, out);
	fprintf(out, "<div class=\"key\"><i class=\"l1\"></i>median <i class=\"l2\"></i>99th percentile <i "
	        "class=\"db\"></i>longest</div>\n");
	fprintf(out, "<h2>With and without the cache, by percentile</h2><p>The further right, the rarer: at 1 %% stands "
	        "the time that the slowest hundredth of the reads took at least. All three under the same paced "
	        "load.</p>\n");
	picture_percentiles(run, out);
	fprintf(out, "<div class=\"key\"><i class=\"bare\"></i>without the cache <i class=\"l1\"></i>steady load through "
	        "the cache <i class=\"db\"></i>through the cache while Redis is away</div>\n");
}

static void coherence_section(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>How fast an invalidation spreads</h2><p>Some twenty times a second one worker writes an "
	        "article that all others hold in L1, and invalidates it. Each of the others looks at its own L1 every 20 "
	        "&micro;s until the old version is no longer given back as fresh. A dot is the slowest of them, counted "
	        "from the writer's answer. A dot on the lower edge: gone everywhere before the writer had its "
	        "answer.</p>\n");
	picture_propagation(run, out);
	fprintf(out, "<h2>How old a fresh read can be</h2><p>Every read is compared with the version history: for each "
	        "article, when each version was committed and when its invalidation was acknowledged (NEAR_OK). Blue: "
	        "the oldest read in a quarter of a second that missed an acknowledged invalidation, and for how long; "
	        "above the red line the promise is broken. Pink: the same counted from the commit, acknowledged or not. "
	        "While Redis is away invalidations are queued, and nobody has been told that they are done.</p>\n");
	picture_staleness(run, out);
	fprintf(out, "<div class=\"key\"><i class=\"l2\"></i>since the acknowledgement <i class=\"stale\"></i>since the "
	        "commit <i class=\"bad\"></i>freshness lease</div>\n");
}

static void expiry_figures(const struct run *run, FILE *out, const char *title, const struct expiry *expiry, int stage)
{
	const struct sum *sum = &run->figures[stage].sum;
	char per_life[16];

	snprintf(per_life, sizeof(per_life), "%.2f", expiry->loads_per_life);
	row(out, "td", title, text_count((double)sum->front_reads), text_count(expiry->lives), text_count(expiry->loads),
	    per_life, text_count(expiry->background), text_count((double)sum->front_waited), quantile(&sum->front, 0.5),
	    quantile(&sum->front, 0.999), text_time(sum->front.max), NULL);
}

static void expiry_section(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>When the hottest key expires</h2><p>A quarter of the requests wants the front page, which sums "
	        "up 30,000 articles and takes the database %.0f ms. It lives for %llu ms. Drawn is the longest read of "
	        "it in each 20 ms; the bars at the bottom are its loads in whichever process. Above as the cache does it "
	        "by default: one process loads it in the background before it expires, everybody goes on with the page "
	        "that is there. Below with early refresh switched off: at each expiry one process loads, and everyone "
	        "waits.</p>\n", run->early.load_ms,
	        ULL(run->config.home_ttl_ms));
	picture_expiry(run, EXPIRY, out);
	picture_expiry(run, EXPIRY_LATE, out);
	fprintf(out, "<div class=\"key\"><i class=\"l1\"></i>load in the background <i class=\"db\"></i>load that a caller "
	        "waits for</div>\n");
	table_begin(out);
	row(out, "th", "", "reads", "lives", "loads", "loads per life", "loads in background", "reads that waited", "median",
	    "99.9 %", "longest", NULL);
	expiry_figures(run, out, "refreshed early", &run->early, EXPIRY);
	expiry_figures(run, out, "not early", &run->late, EXPIRY_LATE);
	fprintf(out, "</table></div>\n");
}

/* ------------------------------------------------------------------ tables */

static void load_row(const struct run *run, FILE *out, int stage)
{
	const struct stage_figures *figures = &run->figures[stage];
	const struct sum *sum = &figures->sum;
	const struct spread *reads = stages[stage].bare ? &sum->bare : &sum->read;
	double all = (double)(sum->reads + sum->bare_reads);
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%.1f", (double)(figures->end - figures->begin) / (double)SHOP_SECOND);
	row(out, "td", stages[stage].title, seconds, text_count(requests_per_second(run, stage)),
	    text_percent((double)sum->from_l1, all), text_percent((double)sum->from_l2, all),
	    text_percent((double)sum->from_loader, all), text_percent((double)sum->flagged, all),
	    text_count(per_second(figures, sum->loads + sum->bare_reads)), quantile(reads, 0.5), quantile(reads, 0.99),
	    quantile(reads, 0.999), text_time(reads->max), NULL);
}

static void load_table(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>By stage: reads</h2>");
	table_begin(out);
	row(out, "th", "stage", "seconds", "requests /s", "L1", "Redis", "load", "flagged stale", "pages from DB /s", "median",
	    "99 %", "99.9 %", "longest", NULL);
	for (int i = 0; i < STAGES; i++)
		load_row(run, out, i);
	table_end(out);
}

static void coherence_row(const struct run *run, FILE *out, int stage)
{
	const struct stage_figures *figures = &run->figures[stage];
	const struct sum *sum = &figures->sum;

	row(out, "td", stages[stage].title, text_count(per_second(figures, sum->writes)), text_count((double)sum->queued),
	    quantile(&sum->invalidate, 0.5), quantile(&sum->invalidate, 0.99), quantile(&figures->all, 0.5),
	    quantile(&figures->all, 0.99), quantile(&figures->all, 1), text_count((double)sum->older), text_time(sum->age.max),
	    text_count((double)sum->beyond), text_count((double)sum->flagged), NULL);
}

static void coherence_table(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>By stage: writes and coherence</h2>");
	table_begin(out);
	row(out, "th", "stage", "writes /s", "queued", "acknow&shy;ledged in, median", "99 %", "gone every&shy;where in, median",
	    "99 %", "longest", "reads older than acknow&shy;ledged", "oldest", "beyond the lease", "flagged stale", NULL);
	for (int i = COLD; i < STAGES; i++)
		coherence_row(run, out, i);
	table_end(out);
}

static void revival_row(const struct run *run, FILE *out, unsigned worker)
{
	struct revival *revival = &run->board->worker[worker].revival;
	uint64_t part[] = { revival->ping, revival->lease, revival->value, revival->invalidation, revival->drained };
	char cell[6][16];

	snprintf(cell[0], sizeof(cell[0]), "%u", worker);
	for (int i = 0; i < 5; i++) {
		uint64_t after = part[i] > run->answered_at ? part[i] - run->answered_at : 0;

		if (part[i] == 0 || run->answered_at == 0)
			snprintf(cell[i + 1], sizeof(cell[0]), "never");
		else
			snprintf(cell[i + 1], sizeof(cell[0]), "%.3f s", (double)after / (double)SHOP_SECOND);
	}
	row(out, "td", cell[0], cell[1], cell[2], cell[3], cell[4], cell[5], NULL);
}

static void revival_table(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>Redis's return</h2><p>Seconds from Redis's first answer after the restart (it came back empty), by "
	        "worker; each found out by the call that a user would make.</p>");
	table_begin(out);
	row(out, "th", "worker", "ping", "freshness lease", "value put and got from Redis", "invalidation acknowledged",
	    "all queued ones delivered", NULL);
	for (unsigned w = 0; w < run->config.workers; w++)
		revival_row(run, out, w);
	table_end(out);
}

static void stats_table(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>The library's own counters</h2><p>near_stats of all workers at the end, summed.</p><div "
	        "class=\"wide\"><table><tr><th>counter</th><th>value</th><th class=\"text\">meaning</th></tr>\n");
#define NEAR_STAT(kind, field, help) \
	fprintf(out, "<tr><td><code>" #field "</code></td><td>%s</td><td class=\"text soft\">", \
	        text_count((double)run->stats.field)); \
	escaped(out, help); \
	fprintf(out, "</td></tr>\n");
#include <nearcache/stats.def>
#undef NEAR_STAT
	fprintf(out, "</table></div>\n");
}

static void notes(const struct run *run, FILE *out)
{
	fprintf(out, "<h2>How it was measured</h2>\n<p>One clock (CLOCK_MONOTONIC) serves all processes. A read's moment "
	        "is taken before the call, an acknowledgement's after it: both favour the cache by the time between two "
	        "instructions, and no further tolerance is given. Every value's checksum, article, price and stock are "
	        "compared with what the database held in that version; %s of them in this run. An invalidation answered "
	        "NEAR_QUEUED is repeated by its writer until NEAR_OK, and counts as acknowledged only then.</p>\n",
	        text_count((double)(run->total.reads + run->total.bare_reads)));
	fprintf(out, "<p>The database is filled in one transaction (%.1f s) and runs in WAL mode, without waiting for "
	        "the disk; its file fits into the page cache, so \"without the cache\" means a database that answers "
	        "from memory in the same machine, without a network. Redis is a private redis-server on a unix socket, "
	        "without persistence. Workers, Redis and the database share %ld processors.</p>\n",
	        run->database_seconds, sysconf(_SC_NPROCESSORS_ONLN));
	fprintf(out, "</body></html>\n");
}

bool report_write(const struct run *run, const char *path)
{
	FILE *out = fopen(path, "w");
	bool kept = true;

	if (out == NULL)
		return false;
	for (size_t i = 0; i < run->promises; i++)
		kept = kept && run->promise[i].kept;
	head(run, out, kept);
	tiles(run, out);
	requests_section(run, out);
	latency_section(run, out);
	coherence_section(run, out);
	expiry_section(run, out);
	load_table(run, out);
	coherence_table(run, out);
	revival_table(run, out);
	promises(run, out);
	stats_table(run, out);
	notes(run, out);
	return fclose(out) == 0;
}
