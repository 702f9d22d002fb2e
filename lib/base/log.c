/* Words to the program.
 *
 * With a callback every line goes there: the program knows best what to do with it. Without one, errors and warnings go to
 * standard error, and each place in the code that speaks is heard at most once a second, so that a dead Redis does not
 * fill a disk. A place is known by the address of its format string; the number of lines it had to swallow is added to the
 * next one that is let through.
 *
 *   places   [ format | last ns | swallowed ]  * 128, open addressing, only ever filled
 *
 * Lock-free: a place is claimed by one CAS of `format`, a turn to speak by one CAS of `last_ns`. When all places are taken
 * (the library has fewer) the rest share the last one.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "base/base.h"
#include "base/clock.h"

#define LINE_MAX_BYTES 1024
#define PLACES 128
#define PAUSE_NS (INT64_C(1000) * NEAR__MS_NS)

typedef struct place {
	_Atomic(const char *) format;
	_Atomic(int64_t) last_ns; /* 0: never */
	_Atomic(uint32_t) swallowed;
} place;

static place places[PLACES];

static place *place_of(const char *format)
{
	size_t start = ((uintptr_t)format >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 57;
	static_assert(PLACES == 128, "57 = 64 - log2(PLACES)");
	for (size_t i = 0; i < PLACES; i++) {
		place *p = &places[(start + i) % PLACES];
		const char *there = atomic_load_explicit(&p->format, memory_order_relaxed);
		if (there == NULL && atomic_compare_exchange_strong_explicit(&p->format, &there, format, memory_order_relaxed,
		                                                             memory_order_relaxed))
			return p;
		if (there == format)
			return p;
	}
	return &places[PLACES - 1];
}

/* May this place speak now? relaxed: only the limit itself depends on it. */
static bool may_speak(place *p, int64_t now_ns)
{
	int64_t last_ns = atomic_load_explicit(&p->last_ns, memory_order_relaxed);
	if (last_ns != 0 && now_ns - last_ns < PAUSE_NS)
		return false;
	return atomic_compare_exchange_strong_explicit(&p->last_ns, &last_ns, now_ns, memory_order_relaxed,
	                                               memory_order_relaxed);
}

static void to_standard_error(near_log_level level, const char *format, const char *text)
{
	if (level > NEAR_LOG_WARN)
		return;
	place *p = place_of(format);
	if (!may_speak(p, near__now_ns())) {
		atomic_fetch_add_explicit(&p->swallowed, 1, memory_order_relaxed);
		return;
	}
	uint32_t swallowed = atomic_exchange_explicit(&p->swallowed, 0, memory_order_relaxed);
	const char *word = level == NEAR_LOG_ERROR ? "error" : "warning";
	char line[LINE_MAX_BYTES + 96];
	int n = swallowed == 0 ? snprintf(line, sizeof(line), "nearcache: %s: %s\n", word, text)
	                       : snprintf(line, sizeof(line), "nearcache: %s: %s (and %u like it before)\n", word, text,
	                                  (unsigned)swallowed);
	if (n <= 0)
		return;
	/* One write, so that lines of several threads do not mix. */
	ssize_t written = write(STDERR_FILENO, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
	(void)written; /* a closed standard error is the program's choice */
}

void near__log_write(const near__log *log, near_log_level level, const char *format, ...)
{
	bool called_back = log != NULL && log->write != NULL;
	if (!called_back && level > NEAR_LOG_WARN)
		return;
	char text[LINE_MAX_BYTES];
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (n < 0)
		return;
	if (called_back)
		log->write(log->ctx, level, text);
	else
		to_standard_error(level, format, text);
}
