/* See measure.h. */
#include "measure.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"

uint64_t bench_rss_bytes(void)
{
	unsigned long total, resident;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file == NULL)
		return 0;
	int got = fscanf(file, "%lu %lu", &total, &resident);
	(void)fclose(file);
	return got == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

bool bench_pin(unsigned index)
{
	cpu_set_t allowed, one;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return false;
	unsigned wanted = index % (unsigned)CPU_COUNT(&allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || wanted-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return sched_setaffinity(0, sizeof(one), &one) == 0;
	}
	return false;
}

int64_t bench_clock_cost_ns(void)
{
	int64_t least = INT64_MAX;
	for (int i = 0; i < 10000; i++) {
		int64_t a = near__now_ns(), b = near__now_ns();
		if (b - a < least)
			least = b - a;
	}
	return least;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

void bench_sort(int64_t *samples, size_t count)
{
	if (count > 1)
		qsort(samples, count, sizeof(*samples), by_value);
}

int64_t bench_quantile(const int64_t *sorted, size_t count, double quantile)
{
	if (count == 0)
		return 0;
	size_t at = (size_t)(quantile * (double)count);
	return sorted[at < count ? at : count - 1];
}

void bench_sleep_us(uint64_t us)
{
	struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
	(void)nanosleep(&t, NULL);
}

static void *need(void *memory, size_t size)
{
	if (memory != NULL && memory != MAP_FAILED)
		return memory;
	(void)fprintf(stderr, "nearbench: no memory for %zu bytes\n", size);
	exit(1);
}

void *bench_alloc(size_t count, size_t size)
{
	return need(calloc(count, size), count * size);
}

void *bench_alloc_shared(size_t size)
{
	return need(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), size);
}
