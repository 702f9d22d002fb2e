/* Words to numbers: what people write into environment variables, read strictly. No sign, no blank, no rounding, no
 * locale; a number that does not fit is refused. Each returns false and leaves *out alone when the text is not that kind. */
#ifndef NEAR_BASE_WORDS_H
#define NEAR_BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool near__word_count(const char *text, uint64_t *out);  /* 123 */
bool near__word_size(const char *text, uint64_t *out);   /* 123, 64K, 64KB, 64KiB, ... T, in any case; powers of 1024 */
bool near__word_millis(const char *text, uint64_t *out); /* 123, 123ms, 5s, 5m, 5h, 5d */
bool near__word_real(const char *text, double *out);     /* 1, 0.5, 12.25 */
bool near__word_flag(const char *text, uint64_t *out);   /* 0 1 no yes off on false true, in any case */
bool near__word_evict(const char *text, uint64_t *out);  /* objects balanced bytes, in any case */
const char *near__evict_word(uint64_t evict);

/* A URL without its password: whatever stands between the first ':' of the user part and the last '@' becomes "***". */
void near__word_url_shown(const char *url, char *buf, size_t buf_size);

#endif
