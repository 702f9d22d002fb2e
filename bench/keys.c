/* See keys.h. */
#include "keys.h"

#include <math.h>
#include <string.h>
#include "args.h"
#include "base/hash.h"

static const char key_head[] = "user:profile:";
#define HEAD_SIZE (sizeof(key_head) - 1)
#define DIGITS (BENCH_KEY_SIZE - HEAD_SIZE)
_Static_assert(DIGITS == 12, "keys are as users have them");

void bench_key_write(uint64_t item, char out[BENCH_KEY_SIZE])
{
	memcpy(out, key_head, HEAD_SIZE);
	for (size_t i = BENCH_KEY_SIZE; i-- > HEAD_SIZE; item /= 10)
		out[i] = (char)('0' + item % 10);
}

bool bench_key_read(const void *key, size_t size, uint64_t *item)
{
	const char *p = key;
	uint64_t v = 0;
	if (size != BENCH_KEY_SIZE || memcmp(p, key_head, HEAD_SIZE) != 0)
		return false;
	for (size_t i = HEAD_SIZE; i < BENCH_KEY_SIZE; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	*item = v;
	return true;
}

bool bench_draw_parse(const char *text, double *exponent)
{
	double s;
	if (strcmp(text, "uniform") == 0) {
		*exponent = 0;
		return true;
	}
	if (strncmp(text, "zipf:", 5) != 0 || !bench_parse_real(text + 5, &s) || s <= 0 || s > 10)
		return false;
	*exponent = s;
	return true;
}

/* log(1+x)/x and (exp(x)-1)/x, also near 0, where S is near 1. */
static double log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x * (0.5 - x / 3);
}

static double expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2 * (1 + x / 3);
}

static double density(const bench_draw *draw, double x)
{
	return exp(-draw->exponent * log(x));
}

/* The integral of the density from 1 to x, and its inverse. */
static double integral(const bench_draw *draw, double x)
{
	double l = log(x);
	return expm1_over((1 - draw->exponent) * l) * l;
}

static double integral_inverse(const bench_draw *draw, double y)
{
	double t = y * (1 - draw->exponent);
	if (t < -1)
		t = -1; /* rounding at the far end */
	return exp(log1p_over(t) * y);
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

void bench_draw_init(bench_draw *draw, double exponent, uint64_t items, uint64_t seed)
{
	*draw = (bench_draw){.items = items, .random = seed, .exponent = exponent};
	draw->stride = items < 3 ? 1 : (uint64_t)((double)items * 0.6180339887498949) | 1;
	while (greatest_divisor(draw->stride, items) != 1)
		draw->stride += 2; /* ends: a prime below 2 * items that does not divide it is odd or items is tiny */
	if (exponent > 0) {
		draw->integral_first = integral(draw, 1.5) - 1;
		draw->integral_last = integral(draw, (double)items + 0.5);
		draw->shortcut = 2 - integral_inverse(draw, integral(draw, 2.5) - density(draw, 2));
	}
}

static double unit_real(bench_draw *draw)
{
	return (double)(near__random_next(&draw->random) >> 11) * 0x1p-53;
}

uint64_t bench_draw_rank(bench_draw *draw)
{
	if (draw->exponent == 0)
		return (uint64_t)(((unsigned __int128)near__random_next(&draw->random) * draw->items) >> 64);
	for (;;) { /* each round accepts with a probability above 0.8 */
		double u = draw->integral_last + unit_real(draw) * (draw->integral_first - draw->integral_last);
		double x = integral_inverse(draw, u);
		double k = floor(x + 0.5);
		if (k < 1)
			k = 1;
		else if (k > (double)draw->items)
			k = (double)draw->items;
		if (k - x <= draw->shortcut || u >= integral(draw, k + 0.5) - density(draw, k))
			return (uint64_t)k - 1;
	}
}

uint64_t bench_draw_rank_to_item(const bench_draw *draw, uint64_t rank)
{
	return (uint64_t)((unsigned __int128)rank * draw->stride % draw->items);
}

uint64_t bench_draw_item(bench_draw *draw)
{
	return bench_draw_rank_to_item(draw, bench_draw_rank(draw));
}

static bool mix_take(bench_mix *mix, const char *part, size_t size, bool seen[BENCH_OPS])
{
	static const char *const names[BENCH_OPS] = {"get", "put", "del", "load"};
	const char *colon = memchr(part, ':', size);
	char number[16];
	uint64_t weight;
	if (colon == NULL || size - (size_t)(colon + 1 - part) >= sizeof(number))
		return false;
	size_t digits = size - (size_t)(colon + 1 - part);
	memcpy(number, colon + 1, digits);
	number[digits] = '\0';
	if (!bench_parse_count(number, &weight) || weight > 1000000)
		return false;
	for (unsigned op = 0; op < BENCH_OPS; op++) {
		if (strlen(names[op]) != (size_t)(colon - part) || memcmp(names[op], part, strlen(names[op])) != 0)
			continue;
		if (seen[op])
			return false;
		seen[op] = true;
		mix->weight[op] = weight;
		mix->sum += weight;
		return true;
	}
	return false;
}

bool bench_mix_parse(const char *text, bench_mix *mix)
{
	bench_mix m = {.sum = 0};
	bool seen[BENCH_OPS] = {false};
	for (;;) {
		size_t size = strcspn(text, ",");
		if (!mix_take(&m, text, size, seen))
			return false;
		if (text[size] == '\0')
			break;
		text += size + 1;
	}
	if (m.sum == 0)
		return false;
	*mix = m;
	return true;
}

bench_op bench_mix_pick(const bench_mix *mix, uint64_t random)
{
	uint64_t at = random % mix->sum;
	unsigned op = BENCH_GET;
	while (at >= mix->weight[op])
		at -= mix->weight[op++];
	return (bench_op)op;
}
