/* What is asked for: key strings, the choice of keys, the mix of operations. All of it is drawn before a clock starts.
 *
 *   item 42          -> "user:profile:000000000042", BENCH_KEY_SIZE bytes, no NUL
 *   uniform, zipf:S  -> ranks by inversion with rejection (Hoermann, Derflinger: "Rejection-inversion to generate variates
 *                       from monotone discrete distributions", ACM TOMACS 6(3), 1996): exact for any S > 0 and any number of
 *                       items, no table, about 1.1 draws each; ranks are then spread over the items by a bijection, so
 *                       that popular items are not neighbours in order of insertion
 *   get:95,put:5     -> whole weights
 */
#ifndef NEAR_BENCH_KEYS_H
#define NEAR_BENCH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_KEY_SIZE 25
#define BENCH_ITEMS_MAX UINT64_C(1000000000)

void bench_key_write(uint64_t item, char out[BENCH_KEY_SIZE]);
/* False: not such a key. */
bool bench_key_read(const void *key, size_t size, uint64_t *item);

typedef struct bench_draw {
	uint64_t items, random;
	double exponent; /* 0: uniform */
	double integral_first, integral_last, shortcut;
	uint64_t stride; /* of the bijection rank -> item */
} bench_draw;

/* "uniform" or "zipf:S" with 0 < S <= 10. */
bool bench_draw_parse(const char *text, double *exponent);
void bench_draw_init(bench_draw *draw, double exponent, uint64_t items, uint64_t seed);
uint64_t bench_draw_rank(bench_draw *draw); /* 0 is the most popular */
uint64_t bench_draw_item(bench_draw *draw);
uint64_t bench_draw_rank_to_item(const bench_draw *draw, uint64_t rank);

typedef enum bench_op { BENCH_GET, BENCH_PUT, BENCH_DEL, BENCH_LOAD, BENCH_OPS } bench_op;
typedef struct bench_mix {
	uint64_t weight[BENCH_OPS], sum;
} bench_mix;

/* "get:95,put:5": names out of get, put, del, load, each once, weights 0..1000000, not all 0. */
bool bench_mix_parse(const char *text, bench_mix *mix);
bench_op bench_mix_pick(const bench_mix *mix, uint64_t random);

#endif
