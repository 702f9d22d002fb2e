/* Words to the program: one line per event, through the callback of its options; without one, errors and warnings go to
 * standard error at most once a second per call site. */
#ifndef NEAR_BASE_LOG_H
#define NEAR_BASE_LOG_H

#include <nearcache/nearcache.h>

typedef struct near__log {
	void (*write)(void *ctx, near_log_level level, const char *text);
	void *ctx;
} near__log;

void near__log_write(const near__log *log, near_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
