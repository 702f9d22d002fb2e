/* See zipf.h for the source. H is the integral of x^-s, written so that s near 1 loses no digits. */
#include "zipf.h"

#include <math.h>

/* log(1+x)/x and (exp(x)-1)/x, sound near 0 */
static double log_ratio(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x * (0.5 - x * (1.0 / 3));
}

static double exp_ratio(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x * 0.5 * (1 + x * (1.0 / 3));
}

static double integral(double s, double x)
{
	double log_x = log(x);

	return exp_ratio((1 - s) * log_x) * log_x;
}

static double integral_inverse(double s, double y)
{
	double t = y * (1 - s);

	if (t < -1)
		t = -1; /* rounding at the end of the range */
	return exp(log_ratio(t) * y);
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

void zipf_init(struct zipf *zipf, uint32_t count, double s, uint64_t seed)
{
	zipf->s = s;
	zipf->count = count;
	zipf->integral_first = integral(s, 1.5) - 1;
	zipf->integral_last = integral(s, count + 0.5);
	zipf->cut = 2 - integral_inverse(s, integral(s, 2.5) - pow(2, -s));
	zipf->stride = (mix64(seed) | 1) % count;
	while (zipf->stride == 0 || common_divisor(zipf->stride, count) != 1)
		zipf->stride++; /* ends: 1 and count + 1 divide nothing in common with count */
	zipf->offset = mix64(seed + 1) % count;
}

uint32_t zipf_rank(const struct zipf *zipf, struct random *random)
{
	for (;;) { /* accepted with a chance of more than 3 in 4 each time */
		double u = zipf->integral_last + random_unit(random) * (zipf->integral_first - zipf->integral_last);
		double x = integral_inverse(zipf->s, u);
		double k = floor(x + 0.5);

		if (k < 1)
			k = 1;
		else if (k > zipf->count)
			k = zipf->count;
		if (k - x <= zipf->cut || u >= integral(zipf->s, k + 0.5) - pow(k, -zipf->s))
			return (uint32_t)k;
	}
}

uint32_t zipf_article(const struct zipf *zipf, uint32_t rank)
{
	return (uint32_t)(((rank - 1) * zipf->stride + zipf->offset) % zipf->count) + 1;
}
