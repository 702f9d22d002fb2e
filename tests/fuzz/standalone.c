/* Runs a fuzz target without libFuzzer: every file of a corpus, then inputs made from it by seeded mutation.
 *
 *   fuzz_NAME [-runs=N] [-seed=S] [-max_len=L] [FILE or FOLDER]...      the options of libFuzzer that it shares
 *
 * The mutations are blind: no coverage guides them, so the corpus should hold one valid input of each kind. The same seed,
 * runs and corpus (in the order of names) give the same inputs on every machine. Before each run the input stands in
 * `current`; when the process dies, it is written to crash-SEED-RUN in the working folder, and the file name to standard
 * error.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/hash.h"

#define CORPUS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

typedef struct input {
	uint8_t *bytes;
	size_t size;
} input;

static input corpus[CORPUS_MAX];
static size_t corpus_count;
static size_t max_len = 4096;
static uint64_t seed = 1, state;
static const uint8_t *current;
static size_t current_size;
static unsigned long run;

/* ------------------------------------------------------------- the end */

static void save_current(void)
{
	char name[64];
	snprintf(name, sizeof(name), "crash-%llu-%lu", (unsigned long long)seed, run);
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size)
		fprintf(stderr, "the input is in %s\n", name);
}

static void on_signal(int number)
{
	save_current();
	signal(number, SIG_DFL);
	raise(number);
}

/* ------------------------------------------------------------- the corpus */

static void corpus_add(const uint8_t *bytes, size_t size)
{
	if (corpus_count == CORPUS_MAX)
		return;
	uint8_t *copy = malloc(size + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, bytes, size);
	corpus[corpus_count++] = (input){ copy, size };
}

static void read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = malloc(max_len);
	if (f == NULL || bytes == NULL) {
		perror(path);
		exit(2);
	}
	corpus_add(bytes, fread(bytes, 1, max_len, f));
	free(bytes);
	fclose(f);
}

static void read_folder(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			char file[4096];
			snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
			read_file(file);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/* ------------------------------------------------------------- mutation */

static size_t below(size_t n)
{
	return (size_t)(near__random_next(&state) % n);
}

/* Numbers at which parsers go wrong, little and big endian in 1, 2, 4 or 8 bytes. */
static void put_number(uint8_t *at, size_t room)
{
	static const uint64_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		                          INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
	uint64_t value = edges[below(sizeof(edges) / sizeof(edges[0]))];
	size_t width = (size_t)1 << below(4);
	int big = (int)below(2);
	for (size_t i = 0; i < width && i < room; i++)
		at[i] = (uint8_t)(value >> (8 * (big ? width - 1 - i : i)));
}

static size_t mutate_once(uint8_t *bytes, size_t size)
{
	if (size == 0) {
		bytes[0] = (uint8_t)below(256);
		return 1;
	}
	size_t at = below(size), n = 1 + below(16);
	switch (below(8)) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << below(8));
		return size;
	case 1:
		bytes[at] = (uint8_t)below(256);
		return size;
	case 2:
		put_number(bytes + at, size - at);
		return size;
	case 3: /* cut the end off */
		return at;
	case 4: /* take some out */
		if (n > size - at)
			n = size - at;
		memmove(bytes + at, bytes + at + n, size - at - n);
		return size - n;
	case 5: /* put some in, random or a repetition */
		if (n > max_len - size)
			return size;
		memmove(bytes + at + n, bytes + at, size - at);
		for (size_t i = 0; i < n; i++)
			bytes[at + i] = below(2) ? (uint8_t)below(256) : bytes[at];
		return size + n;
	case 6: { /* the end of another input */
		const input *other = &corpus[below(corpus_count)];
		size_t from = other->size == 0 ? 0 : below(other->size);
		size_t take = other->size - from;
		if (take > max_len - at)
			take = max_len - at;
		memcpy(bytes + at, other->bytes + from, take);
		return at + take;
	}
	default: { /* one part over another */
		size_t from = below(size);
		if (n > size - at)
			n = size - at;
		if (n > size - from)
			n = size - from;
		memmove(bytes + at, bytes + from, n);
		return size;
	}
	}
}

static void run_one(const uint8_t *bytes, size_t size)
{
	/* An allocation of exactly this size, so that a read past the end is seen. */
	uint8_t *exact = malloc(size > 0 ? size : 1);
	if (exact == NULL)
		abort();
	memcpy(exact, bytes, size);
	current = exact;
	current_size = size;
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	run++;
}

int main(int argc, char **argv)
{
	unsigned long runs = 20000;
	for (int i = 1; i < argc; i++) {
		struct stat info;
		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = strtoul(argv[i] + 6, NULL, 10);
		else if (strncmp(argv[i], "-seed=", 6) == 0)
			seed = strtoull(argv[i] + 6, NULL, 10);
		else if (strncmp(argv[i], "-max_len=", 9) == 0)
			max_len = strtoul(argv[i] + 9, NULL, 10);
		else if (argv[i][0] != '-' && stat(argv[i], &info) == 0)
			(S_ISDIR(info.st_mode) ? read_folder : read_file)(argv[i]);
	}
	state = seed;
	corpus_add((const uint8_t *)"", 0);
	signal(SIGSEGV, on_signal);
	signal(SIGABRT, on_signal);
	signal(SIGBUS, on_signal);
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(save_current);

	uint8_t *bytes = malloc(max_len + 16);
	if (bytes == NULL || max_len == 0)
		return 2;
	for (size_t i = 0; i < corpus_count; i++)
		run_one(corpus[i].bytes, corpus[i].size);
	for (unsigned long i = 0; i < runs; i++) {
		const input *from = &corpus[below(corpus_count)];
		size_t size = from->size;
		memcpy(bytes, from->bytes, size);
		for (size_t n = 1 + below(6); n > 0; n--)
			size = mutate_once(bytes, size);
		run_one(bytes, size);
	}
	free(bytes);
	printf("%zu inputs of the corpus, %lu mutations, seed %llu\n", corpus_count, runs, (unsigned long long)seed);
	for (size_t i = 0; i < corpus_count; i++)
		free(corpus[i].bytes);
	return 0;
}
