/* Zipf-distributed article ids: rank r is asked for in proportion to 1 / r^s.
 * Source: rejection-inversion, W. Hörmann and G. Derflinger, ACM TOMACS 6(3), 1996: constant time for any number of
 * ranks, no table. The ranks are spread over the ids by a fixed bijection, so that popular articles do not lie side by
 * side in the database. */
#ifndef SHOP_ZIPF_H
#define SHOP_ZIPF_H

#include "random.h"

struct zipf {
	double s, integral_first, integral_last, cut;
	uint32_t count;
	uint64_t stride, offset;
};

/* s >= 0; 0 is uniform. */
void zipf_init(struct zipf *zipf, uint32_t count, double s, uint64_t seed);
/* 1..count, 1 the most popular */
uint32_t zipf_rank(const struct zipf *zipf, struct random *random);
/* The article of a rank: 1..count, a bijection. */
uint32_t zipf_article(const struct zipf *zipf, uint32_t rank);

#endif
