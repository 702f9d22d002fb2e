/* Figures as people read them. Each returns a pointer into a small ring of static buffers, good for 16 further calls; one
 * thread. */
#ifndef SHOP_TEXT_H
#define SHOP_TEXT_H

#include <stddef.h>
#include <stdint.h>

const char *text_count(double count);              /* 39,980 */
const char *text_time(uint64_t ns);                /* 0.8 µs, 61 µs, 3.4 ms, 1.2 s */
const char *text_percent(double part, double all); /* 93.2 % */
const char *text_bytes(double bytes);              /* 40.6 MiB */
/* Without the micro sign and other non-ASCII characters from now on. */
void text_ascii_only(void);
/* Number of terminal columns of UTF-8 text whose characters are one column wide each. */
size_t text_columns(const char *text);

#endif
