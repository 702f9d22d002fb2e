/* See chart.h. */
#include "chart.h"

#include "text.h"

#include <math.h>

#define LEFT 76.0
#define RIGHT 16.0
#define TOP 24.0
#define BOTTOM 34.0

double chart_x(const struct chart *chart, double x)
{
	double share = (x - chart->x_from) / (chart->x_to - chart->x_from);

	return LEFT + (share < 0 ? 0 : share > 1 ? 1 : share) * (chart->width - LEFT - RIGHT);
}

double chart_y(const struct chart *chart, double y)
{
	double share;

	if (chart->y_log)
		share = y <= chart->y_from ? 0 : log10(y / chart->y_from) / log10(chart->y_to / chart->y_from);
	else
		share = (y - chart->y_from) / (chart->y_to - chart->y_from);
	share = share < 0 ? 0 : share > 1 ? 1 : share;
	return chart->height - BOTTOM - share * (chart->height - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten: the least that is not below `least` */
static double round_step(double least)
{
	double power = pow(10, floor(log10(least)));

	for (int i = 0; i < 3; i++) {
		static const double step[] = { 1, 2, 5 };

		if (step[i] * power >= least * 0.999999)
			return step[i] * power;
	}
	return 10 * power;
}

void chart_scale(struct chart *chart, double lowest, double highest)
{
	if (chart->y_log) {
		chart->y_from = pow(10, floor(log10(lowest > 0 ? lowest : 1)));
		chart->y_to = pow(10, ceil(log10(highest > chart->y_from ? highest : chart->y_from * 10)));
		if (chart->y_to <= chart->y_from)
			chart->y_to = chart->y_from * 10;
		return;
	}
	double step = round_step((highest > 0 ? highest : 1) / 5);

	chart->y_from = 0;
	chart->y_to = step * ceil((highest > 0 ? highest : 1) / step);
}

/* ------------------------------------------------------------------ axes */

static const char *y_text(const struct chart *chart, double y)
{
	static char text[32];

	if (chart->y_unit == CHART_COUNT)
		return text_count(y);
	if (y < 1000)
		snprintf(text, sizeof(text), "%.0f ns", y);
	else if (y < 1e6)
		snprintf(text, sizeof(text), "%.4g µs", y / 1e3);
	else if (y < 1e9)
		snprintf(text, sizeof(text), "%.4g ms", y / 1e6);
	else
		snprintf(text, sizeof(text), "%.4g s", y / 1e9);
	return text;
}

static void y_tick(const struct chart *chart, double y)
{
	double at = chart_y(chart, y);

	fprintf(chart->out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
	        "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
	        LEFT, chart->width - RIGHT, at, at, LEFT - 8, at + 4, y_text(chart, y));
}

static void y_axis(const struct chart *chart)
{
	if (chart->y_log) {
		for (double y = chart->y_from; y <= chart->y_to * 1.001; y *= 10)
			y_tick(chart, y);
	} else {
		double step = round_step((chart->y_to - chart->y_from) / 5);

		for (double y = chart->y_from; y <= chart->y_to + step / 1000; y += step)
			y_tick(chart, y);
	}
	fprintf(chart->out, "<text class=\"name\" transform=\"translate(13 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
	        TOP + (chart->height - TOP - BOTTOM) / 2, chart->y_name);
}

void chart_x_label(const struct chart *chart, double x, const char *text)
{
	double at = chart_x(chart, x), base = chart->height - BOTTOM;

	fprintf(chart->out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
	        "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
	        at, at, base, base + 4, at, base + 16, at > chart->width - RIGHT - 8 ? "end" : "middle", text);
}

static void x_axis(const struct chart *chart)
{
	double base = chart->height - BOTTOM, step = round_step((chart->x_to - chart->x_from) / 14);
	char text[24];

	for (double x = ceil(chart->x_from / step) * step; x <= chart->x_to + step / 1000 && !chart->x_none; x += step) {
		snprintf(text, sizeof(text), "%.6g", x);
		chart_x_label(chart, x, text);
	}
	fprintf(chart->out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
	        "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
	        LEFT, chart->width - RIGHT, base, base, chart->width - RIGHT, chart->height - 4, chart->x_name);
}

void chart_begin(struct chart *chart)
{
	chart->marks = 0;
	fprintf(chart->out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", chart->width, chart->height,
	        chart->label);
}

void chart_end(const struct chart *chart)
{
	y_axis(chart);
	x_axis(chart);
	fprintf(chart->out, "</svg>\n");
}

/* ------------------------------------------------------------------ what is drawn into it */

void chart_area(const struct chart *chart, const struct point *point, size_t count, const char *style)
{
	if (count < 2)
		return;
	fprintf(chart->out, "<path class=\"area %s\" d=\"", style);
	for (size_t i = 0; i < count; i++)
		fprintf(chart->out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', chart_x(chart, point[i].x), chart_y(chart, point[i].y));
	for (size_t i = count; i-- > 0;)
		fprintf(chart->out, "L%.1f %.1f", chart_x(chart, point[i].x), chart_y(chart, point[i].low));
	fprintf(chart->out, "Z\"/>\n");
}

void chart_line(const struct chart *chart, const struct point *point, size_t count, const char *style)
{
	bool drawing = false;

	fprintf(chart->out, "<path class=\"line %s\" d=\"", style);
	for (size_t i = 0; i < count; i++) {
		if (point[i].y < 0) {
			drawing = false;
			continue;
		}
		fprintf(chart->out, "%c%.1f %.1f", drawing ? 'L' : 'M', chart_x(chart, point[i].x), chart_y(chart, point[i].y));
		drawing = true;
	}
	fprintf(chart->out, "\"/>\n");
}

void chart_dots(const struct chart *chart, const struct point *point, size_t count, const char *style)
{
	for (size_t i = 0; i < count; i++)
		if (point[i].y >= 0)
			fprintf(chart->out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>", style, chart_x(chart, point[i].x),
			        chart_y(chart, point[i].y));
	fprintf(chart->out, "\n");
}

void chart_level(const struct chart *chart, double y, const char *style, const char *text)
{
	double at = chart_y(chart, y);

	fprintf(chart->out, "<line class=\"level %s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
	        "<text class=\"word %s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
	        style, LEFT, chart->width - RIGHT, at, at, style, LEFT + 6, at - 5, text);
}

void chart_mark(struct chart *chart, double x, const char *style, const char *text)
{
	double at = chart_x(chart, x), y = TOP + 12 + 14 * (chart->marks++ % 4);
	bool left = at > chart->width - 110;

	fprintf(chart->out, "<line class=\"mark %s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
	        "<text class=\"word %s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
	        style, at, at, TOP, chart->height - BOTTOM, style, left ? at - 4 : at + 4, y, left ? "end" : "start", text);
}

void chart_band(const struct chart *chart, double from, double to, bool shaded, const char *name, const char *title)
{
	double left = chart_x(chart, from), right = chart_x(chart, to);

	fprintf(chart->out, "<g><title>%s</title><rect class=\"%s\" x=\"%.1f\" y=\"4\" width=\"%.1f\" height=\"%.1f\"/>"
	        "<text class=\"tick\" x=\"%.1f\" y=\"16\" text-anchor=\"middle\">%s</text></g>\n",
	        title, shaded ? "band shaded" : "band", left, right - left, chart->height - BOTTOM - 4, (left + right) / 2, name);
}

void chart_span(const struct chart *chart, double from, double to, const char *style)
{
	double left = chart_x(chart, from), right = chart_x(chart, to);

	fprintf(chart->out, "<rect class=\"span %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"8\"/>\n", style, left,
	        chart->height - BOTTOM - 9, right - left < 2 ? 2 : right - left);
}
