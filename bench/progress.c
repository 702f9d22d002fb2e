/* See progress.h. */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"

#define BAR_WIDTH 30
#define REDRAW_NS (100 * NEAR__MS_NS)
#define LINE_NS (10000 * NEAR__MS_NS)

static struct {
	const char *what;
	uint64_t total;
	int64_t begun_ns, shown_ns;
	bool terminal, color;
} stage;

static unsigned percent(uint64_t done)
{
	if (stage.total == 0 || done >= stage.total)
		return 100;
	return (unsigned)((double)done * 100 / (double)stage.total);
}

static void draw_bar(uint64_t done)
{
	unsigned full = percent(done) * BAR_WIDTH / 100;
	(void)fprintf(stderr, "\r%-22s %s", stage.what, stage.color ? "\033[36m" : "");
	for (unsigned i = 0; i < BAR_WIDTH; i++)
		(void)fputc(i < full ? '#' : '.', stderr);
	(void)fprintf(stderr, "%s %3u %%", stage.color ? "\033[0m" : "", percent(done));
	(void)fflush(stderr);
}

void bench_progress_begin(const char *what, uint64_t total)
{
	bench_progress_end();
	stage.terminal = isatty(STDERR_FILENO) == 1;
	stage.color = stage.terminal && getenv("NO_COLOR") == NULL;
	stage.what = what;
	stage.total = total;
	stage.begun_ns = stage.shown_ns = near__now_ns();
	if (stage.terminal)
		draw_bar(0);
}

void bench_progress_at(uint64_t done)
{
	int64_t now_ns = near__now_ns();
	if (stage.what == NULL || now_ns - stage.shown_ns < (stage.terminal ? REDRAW_NS : LINE_NS))
		return;
	stage.shown_ns = now_ns;
	if (stage.terminal)
		draw_bar(done);
	else
		(void)fprintf(stderr, "nearbench: %s, %u %%\n", stage.what, percent(done));
}

void bench_progress_end(void)
{
	if (stage.what == NULL)
		return;
	double seconds = (double)(near__now_ns() - stage.begun_ns) / 1e9;
	if (stage.terminal)
		(void)fputs("\r\033[K", stderr);
	else
		(void)fprintf(stderr, "nearbench: %s done in %.1f s\n", stage.what, seconds);
	stage.what = NULL;
}
