/* Random numbers: splitmix64 (Steele, Lea, Flood, OOPSLA 2014), small, seedable and good enough for a load. `mix64` alone
 * makes a number out of a name, which is how the goods get their properties without being stored anywhere. */
#ifndef SHOP_RANDOM_H
#define SHOP_RANDOM_H

#include <stdint.h>

static inline uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
	random->state += UINT64_C(0x9e3779b97f4a7c15);
	return mix64(random->state);
}

/* 0 <= x < 1 */
static inline double random_unit(struct random *random)
{
	return (double)(random_next(random) >> 11) * 0x1.0p-53;
}

static inline uint32_t random_below(struct random *random, uint32_t count)
{
	return (uint32_t)(((random_next(random) >> 32) * count) >> 32);
}

#endif
