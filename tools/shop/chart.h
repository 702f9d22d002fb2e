/* A chart: one inline SVG picture with axes, units, a grid, and whatever is drawn into it. Colours are classes of the page's
 * style sheet ("l1", "l2", "db", ...), so that the page's dress decides.
 *
 *   chart_begin, then areas, lines, dots, levels and marks in data coordinates, then chart_end
 *
 * The y axis is linear from 0, or logarithmic; logarithmic values are times in nanoseconds or plain counts. */
#ifndef SHOP_CHART_H
#define SHOP_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum chart_unit { CHART_COUNT, CHART_TIME };

struct chart {
	FILE *out;
	const char *label; /* for those who do not see it */
	double x_from, x_to, y_from, y_to;
	bool y_log;
	enum chart_unit y_unit;
	const char *y_name, *x_name;
	double width, height; /* of the whole picture, in its own units */
	bool x_none;          /* the caller draws the x axis itself */
	unsigned marks;
};

struct point {
	double x, y, low; /* low: lower edge, for areas */
};

/* Fills in y_to (and y_from on a logarithmic axis) so that `highest` fits on a round value. */
void chart_scale(struct chart *chart, double lowest, double highest);
void chart_begin(struct chart *chart);
double chart_x(const struct chart *chart, double x);
double chart_y(const struct chart *chart, double y);
void chart_area(const struct chart *chart, const struct point *point, size_t count, const char *style);
/* A new line begins after a point whose y is below zero (nothing was measured there). */
void chart_line(const struct chart *chart, const struct point *point, size_t count, const char *style);
void chart_dots(const struct chart *chart, const struct point *point, size_t count, const char *style);
void chart_level(const struct chart *chart, double y, const char *style, const char *text);
/* A vertical line with a word on it; several words close together step down. */
void chart_mark(struct chart *chart, double x, const char *style, const char *text);
/* A band from x to x with a name above the plot; every second one is shaded. */
void chart_band(const struct chart *chart, double from, double to, bool shaded, const char *name, const char *title);
/* A bar along the bottom of the plot. */
void chart_span(const struct chart *chart, double from, double to, const char *style);
void chart_x_label(const struct chart *chart, double x, const char *text);
void chart_end(const struct chart *chart);

#endif
