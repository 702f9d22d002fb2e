/* How far a run is, on standard error: a bar redrawn in place on a terminal, plain lines in a pipe (one when a stage
 * ends, and one every ten seconds while it lasts). Colour only on a terminal and without NO_COLOR. One thread only. */
#ifndef NEAR_BENCH_PROGRESS_H
#define NEAR_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* `what` is a short static text: "filling". Ends the stage before. */
void bench_progress_begin(const char *what, uint64_t total);
/* Cheap enough for every few thousand steps: looks at the clock and seldom writes. */
void bench_progress_at(uint64_t done);
void bench_progress_end(void);

#endif
