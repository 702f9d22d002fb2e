/* The tables and the promises at the end. See screen.h. */
#include "screen.h"
#include "text.h"

struct paint paint = { "", "", "", "", "", "", "", "", false };

static const char *const short_title[STAGES] = {
	[BARE] = "no cache", [BARE_FULL] = "no cache, full", [COLD] = "cold start", [FULL] = "full speed", [STEADY] = "steady",
	[EXPIRY] = "hot key expires", [EXPIRY_LATE] = "  not early", [AWAY] = "Redis killed", [BACK] = "Redis back",
};

static double per_second(const struct stage_figures *figures, uint64_t count)
{
	double seconds = (double)(figures->end - figures->begin) / (double)SHOP_SECOND;

	return seconds > 0 ? (double)count / seconds : 0;
}

/* Right-aligned in `width` columns, whatever bytes the text takes. */
static void cell(const char *text, unsigned width)
{
	size_t columns = text_columns(text);

	printf("%*s%s", columns < width ? (int)(width - columns) : 0, "", text);
}

static void load_row(const struct run *run, int stage)
{
	const struct stage_figures *figures = &run->figures[stage];
	const struct sum *sum = &figures->sum;
	const struct spread *reads = stages[stage].bare ? &sum->bare : &sum->read;
	double all = (double)(sum->reads + sum->bare_reads);

	printf("%-16s", short_title[stage]);
	cell(text_count(per_second(figures, sum->reads + sum->bare_reads + sum->front_reads + sum->writes)), 9);
	cell(text_percent((double)sum->from_l1, all), 8);
	cell(text_percent((double)sum->from_l2, all), 8);
	cell(text_count(per_second(figures, sum->loads + sum->bare_reads)), 9);
	cell(text_time(spread_quantile(reads, 0.5)), 9);
	cell(text_time(spread_quantile(reads, 0.99)), 8);
	cell(text_time(spread_quantile(reads, 0.999)), 8);
	printf("\n");
}

static void coherence_row(const struct run *run, int stage)
{
	const struct stage_figures *figures = &run->figures[stage];
	const struct sum *sum = &figures->sum;

	printf("%-16s", short_title[stage]);
	cell(text_count(per_second(figures, sum->writes)), 7);
	cell(text_count((double)sum->queued), 8);
	cell(text_time(spread_quantile(&sum->invalidate, 0.5)), 8);
	cell(text_time(spread_quantile(&sum->invalidate, 0.99)), 8);
	cell(figures->all.count > 0 ? text_time(spread_quantile(&figures->all, 0.5)) : "-", 9);
	cell(figures->all.count > 0 ? text_time(spread_quantile(&figures->all, 0.99)) : "-", 9);
	cell(text_count((double)sum->older), 9);
	cell(sum->age.max > 0 ? text_time(sum->age.max) : "-", 8);
	printf("\n");
}

static void expiry_row(const char *title, const struct run *run, const struct expiry *expiry, int stage)
{
	const struct sum *sum = &run->figures[stage].sum;

	printf("%-16s", title);
	cell(text_count((double)sum->front_reads), 10);
	cell(text_count(expiry->lives), 7);
	cell(text_count(expiry->loads), 7);
	cell(text_count((double)sum->front_waited), 9);
	cell(text_time(spread_quantile(&sum->front, 0.5)), 9);
	cell(text_time(spread_quantile(&sum->front, 0.999)), 9);
	cell(text_time(sum->front.max), 9);
	printf("\n");
}

void table_print(const struct run *run)
{
	int last = 0;

	for (int i = 0; i < STAGES; i++)
		if (run->figures[i].over)
			last = i + 1;
	printf("\n%s%-16s%9s%8s%8s%9s%9s%8s%8s%s\n", paint.bold, "READS", "req/s", "L1", "Redis", "db/s", "p50", "p99", "p99.9",
	       paint.plain);
	for (int i = 0; i < last; i++)
		load_row(run, i);
	printf("\n%s%-16s%7s%8s%16s%18s%17s%s\n", paint.bold, "INVALIDATIONS", "/s", "queued", "acknowledged in", "gone everywhere",
	       "served old", paint.plain);
	printf("%s%-16s%7s%8s%8s%8s%9s%9s%9s%8s%s\n", paint.dim, "", "", "", "p50", "p99", "p50", "p99", "reads", "oldest",
	       paint.plain);
	for (int i = COLD; i < last; i++)
		coherence_row(run, i);
	if (last > EXPIRY) {
		printf("\n%s%-16s%10s%7s%7s%9s%9s%9s%9s%s\n", paint.bold, "HOTTEST KEY", "reads", "lives", "loads", "waited", "p50",
		       "p99.9", "longest", paint.plain);
		expiry_row("refreshed early", run, &run->early, EXPIRY);
		if (last > EXPIRY_LATE)
			expiry_row("not early", run, &run->late, EXPIRY_LATE);
	}
}

void promises_print(const struct run *run)
{
	const char *tick = paint.utf8 ? "✓" : "ok", *cross = paint.utf8 ? "✗" : "BROKEN";

	printf("\n%sPROMISES%s\n", paint.bold, paint.plain);
	for (size_t i = 0; i < run->promises; i++)
		printf("%s%s%s %s\n    %s%s%s\n", run->promise[i].kept ? paint.green : paint.red, run->promise[i].kept ? tick : cross,
		       paint.plain, run->promise[i].text, paint.dim, run->promise[i].figure, paint.plain);
}
