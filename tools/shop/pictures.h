/* The pictures of a run, each an SVG chart written into the page. */
#ifndef SHOP_PICTURES_H
#define SHOP_PICTURES_H

#include "run.h"

void picture_requests(const struct run *run, FILE *out);
void picture_latency(const struct run *run, FILE *out);
void picture_percentiles(const struct run *run, FILE *out);
void picture_loads(const struct run *run, FILE *out);
void picture_propagation(const struct run *run, FILE *out);
void picture_staleness(const struct run *run, FILE *out);
/* The longest read of the front page in each 20 ms of the stage. */
void picture_expiry(const struct run *run, int stage, FILE *out);

#endif
