/* The live display. See screen.h.
 *
 * A picture is put together in one buffer and written at once, each line erasing the rest of its old self, after the cursor
 * has gone up by as many lines as the last picture had: no flicker, and what stood above stays in the scrollback. */
#include "screen.h"
#include "text.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MAX 200
#define LABEL 17

static bool live;
static unsigned drawn; /* lines of the last picture */
static char picture[65536];
static size_t filled;
static unsigned columns, rows, lines;
static size_t events_told;
static uint64_t line_told;

void screen_open(bool plain)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	bool terminal = isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;

	setlocale(LC_CTYPE, "");
	paint.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	if (!paint.utf8)
		text_ascii_only();
	live = terminal && !plain;
	paint.plain = paint.bold = paint.dim = paint.red = paint.green = paint.yellow = paint.cyan = paint.magenta = "";
	if (terminal && (no_color == NULL || no_color[0] == '\0')) {
		paint.plain = "\033[0m";
		paint.bold = "\033[1m";
		paint.dim = "\033[2m";
		paint.red = "\033[31m";
		paint.green = "\033[32m";
		paint.yellow = "\033[33m";
		paint.cyan = "\033[36m";
		paint.magenta = "\033[35m";
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
}

void screen_note(const struct run *run, const char *format, ...)
{
	va_list list;

	(void)run;
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	putchar('\n');
	fflush(stdout);
}

/* ------------------------------------------------------------------ putting a picture together */

static void put(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *format, ...)
{
	va_list list;
	int more;

	va_start(list, format);
	more = vsnprintf(picture + filled, sizeof(picture) - filled, format, list);
	va_end(list);
	if (more > 0 && filled + (size_t)more < sizeof(picture))
		filled += (size_t)more;
}

/* Ends a line; nothing of it goes past the last column (terminals then wrap, and the picture would climb). */
static void end_line(size_t from)
{
	size_t column = 0, at = from;

	while (at < filled && column < columns) {
		if (picture[at] == '\033') {
			while (at < filled && picture[at] != 'm')
				at++;
			at++;
			continue;
		}
		at++;
		while (at < filled && ((unsigned char)picture[at] & 0xc0) == 0x80)
			at++;
		column++;
	}
	filled = at < filled ? at : filled;
	put("%s\033[K\n", paint.plain);
	lines++;
}

#define LINE(...) \
	do { \
		size_t line_from = filled; \
		if (lines + 1 < rows) { \
			put(__VA_ARGS__); \
			end_line(line_from); \
		} \
	} while (0)

/* Bars of eighths of a column; '#' without UTF-8. */
static const char *bar(double share, unsigned width)
{
	static char text[COLUMNS_MAX * 3 + 1];
	static const char *const eighth[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned eighths = (unsigned)((share < 0 ? 0 : share > 1 ? 1 : share) * width * 8 + 0.5), i;
	char *to = text;

	for (i = 0; i < eighths / 8; i++)
		to += sprintf(to, "%s", paint.utf8 ? "█" : "#");
	if (paint.utf8)
		to += sprintf(to, "%s", eighth[eighths % 8]);
	*to = '\0';
	return text;
}

enum series { REQUESTS, LOADS, P99, AGE, SERIES };

static double series_value(const struct sample *sample, enum series series)
{
	switch (series) {
	case REQUESTS: return sample->requests;
	case LOADS: return sample->loads;
	case P99: return (double)sample->p99;
	case AGE: return (double)sample->age_max;
	default: return 0;
	}
}

/* The latest samples, two in a column if there are many; scaled to the highest shown. */
static const char *spark(const struct run *run, enum series series, unsigned width)
{
	static char text[SERIES][COLUMNS_MAX * 3 + 1];
	static const char *const step[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char ascii_step[] = " .-~+*%#";
	size_t count = run->samples < width ? run->samples : width, first = run->samples - count;
	double highest = 0;
	char *to = text[series];

	for (size_t i = first; i < run->samples; i++)
		if (series_value(&run->sample[i], series) > highest)
			highest = series_value(&run->sample[i], series);
	for (size_t i = first; i < run->samples; i++) {
		double value = series_value(&run->sample[i], series);
		int level = highest > 0 ? (int)(value / highest * 7.999) : 0;

		if (paint.utf8)
			to += sprintf(to, "%s", value > 0 ? step[level] : " ");
		else
			*to++ = value > 0 ? ascii_step[level] : ' ';
	}
	*to = '\0';
	return text[series];
}

/* ------------------------------------------------------------------ the picture */

static void draw_head(const struct run *run)
{
	const struct shop_config *config = &run->config;
	double done = run_seconds(run, now_ns()), all = run_seconds(run, run->end);
	unsigned width = columns > 60 ? (columns - 44 < 40 ? columns - 44 : 40) : 10;

	LINE("%snearcache demo%s  %u workers x %u threads, %s articles, Zipf %.2f, %.3g %% writes", paint.bold, paint.plain,
	     config->workers, config->threads, text_count(config->rows), config->zipf, config->writes_percent);
	LINE("%s[%d/%d] %-29s%s %s%s%s %.0f s of %.0f s", paint.bold, run->stage + 1, STAGES, stages[run->stage].title, paint.plain,
	     paint.dim, bar(all > 0 ? done / all : 0, width), paint.plain, done, all);
	LINE(" ");
}

static void draw_tier(const char *name, const char *colour, double part, double all, unsigned width)
{
	LINE("  %-*s %8s   %s%s", LABEL - 2, name, text_percent(part, all), colour, bar(all > 0 ? part / all : 0, width));
}

static void draw_requests(const struct run *run, const struct sample *now, unsigned width)
{
	double all = now->l1 + now->l2 + now->loader + now->flagged + now->bare;

	LINE("%-*s %8s   %s", LABEL, "requests/s", text_count(now->requests), spark(run, REQUESTS, width));
	draw_tier("L1", paint.green, now->l1, all, width);
	draw_tier("Redis", paint.cyan, now->l2, all, width);
	draw_tier("database", paint.yellow, now->loader + now->bare, all, width);
	draw_tier("flagged stale", paint.magenta, now->flagged, all, width);
	LINE("%-*s %8s   %s%s", LABEL, "database loads/s", text_count(now->loads + now->bare), paint.yellow,
	     spark(run, LOADS, width));
}

static void draw_latency(const struct run *run, const struct sample *now, unsigned width)
{
	const struct spread *bare = &run->figures[BARE].sum.bare;
	const struct stage_figures *figures = &run->figures[run->stage];

	LINE("%-*s p50 %-8s p99 %-8s longest %-8s", LABEL, "a read now", text_time(now->p50), text_time(now->p99),
	     text_time(now->max));
	LINE("%-*s %8s   %s", LABEL, "  p99", text_time(now->p99), spark(run, P99, width));
	if (run->stage > BARE)
		LINE("%-*s p50 %-8s p99 %-8s longest %-8s", LABEL, "  without cache", text_time(spread_quantile(bare, 0.5)),
		     text_time(spread_quantile(bare, 0.99)), text_time(bare->max));
	LINE("%-*s %8s /s, answered in %s, gone everywhere in %s", LABEL, "invalidations", text_count(now->writes),
	     text_time(spread_quantile(&figures->sum.invalidate, 0.5)),
	     figures->all.count > 0 ? text_time(spread_quantile(&figures->all, 0.5)) : "-");
}

static void draw_promises(const struct run *run, const struct sample *now)
{
	const struct sum *total = &run->total;

	LINE("%-*s %s%8s%s beyond the lease of %llu ms, %s wrong values", LABEL, "stale reads",
	     total->beyond > 0 ? paint.red : paint.green, text_count((double)total->beyond), paint.plain,
	     (unsigned long long)run->config.lease_ms, text_count((double)total->wrong));
	LINE("%-*s %8s oldest %s; flagged as stale: %s", LABEL, "  within it", text_count((double)total->older),
	     text_time(total->age.max), text_count((double)total->flagged));
	LINE("%-*s %s%8s%s connected: %u of %u workers; queued invalidations: %s", LABEL, "Redis",
	     now->redis_up ? paint.green : paint.red, now->redis_up ? "up" : "DOWN", paint.plain, now->connected,
	     run->config.workers, text_count((double)now->pending));
	LINE(" ");
}

static void draw_events(const struct run *run)
{
	size_t shown = rows > lines + 2 ? rows - lines - 2 : 0;
	size_t first = run->events > (shown < 10 ? shown : 10) ? run->events - (shown < 10 ? shown : 10) : 0;

	for (size_t i = first; i < run->events; i++)
		LINE("%s%6.1f s%s  %s", paint.dim, run_seconds(run, run->event[i].at), paint.plain, run->event[i].text);
}

static void draw(const struct run *run)
{
	const struct sample *now = &run->sample[run->samples - 1];
	struct winsize size = { 0 };
	unsigned width;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	columns = size.ws_col > 0 ? size.ws_col : 80;
	columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
	rows = size.ws_row > 0 ? size.ws_row : 24;
	width = columns > LABEL + 14 + 8 ? columns - LABEL - 14 : 8;
	filled = lines = 0;
	if (drawn > 0)
		put("\033[%uA\r", drawn);
	else
		put("\033[?25l");
	draw_head(run);
	draw_requests(run, now, width);
	draw_latency(run, now, width);
	draw_promises(run, now);
	draw_events(run);
	put("\033[J");
	drawn = lines;
	fwrite(picture, 1, filled, stdout);
	fflush(stdout);
}

/* ------------------------------------------------------------------ the line */

static void line(const struct run *run)
{
	const struct sample *now = &run->sample[run->samples - 1];
	double all = now->l1 + now->l2 + now->loader + now->flagged + now->bare;

	for (; events_told < run->events; events_told++)
		printf("%6.1f s  -- %s\n", run_seconds(run, run->event[events_told].at), run->event[events_told].text);
	if (now->at - line_told < SHOP_SECOND - RUN_SAMPLE_NS / 2)
		return;
	line_told = now->at;
	printf("%6.1f s  %9s req/s  l1 %7s  redis %7s  db %7s  %8s loads/s  p50 %-8s p99 %-8s stale %s+%s  redis %s\n",
	       run_seconds(run, now->at), text_count(now->requests), text_percent(now->l1, all), text_percent(now->l2, all),
	       text_percent(now->loader + now->bare, all), text_count(now->loads + now->bare), text_time(now->p50),
	       text_time(now->p99), text_count((double)run->total.older), text_count((double)run->total.beyond),
	       now->redis_up ? "up" : "DOWN");
	fflush(stdout);
}

void screen_update(const struct run *run)
{
	if (run->samples == 0)
		return;
	if (live)
		draw(run);
	else
		line(run);
}

void screen_end(const struct run *run)
{
	if (live && drawn > 0)
		fputs("\033[?25h", stdout);
	else if (!live && run->samples > 0)
		line(run);
	drawn = 0;
	fflush(stdout);
}
