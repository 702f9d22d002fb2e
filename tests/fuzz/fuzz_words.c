/* The shell's line against hostile bytes: splitting stays inside the line, in order, and ends each word with a NUL. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	word words[WORDS_MAX];
	size_t count = 0;
	char *line = malloc(size + 1);
	if (line == NULL)
		return 0;
	memcpy(line, data, size);
	(void)words_split(line, size, words, &count);
	const char *least = line;
	for (size_t i = 0; i < count; i++) {
		if (words[i].bytes < least || words[i].bytes + words[i].size > line + size || words[i].bytes[words[i].size] != '\0')
			abort();
		least = words[i].bytes + words[i].size + 1;
	}
	free(line);
	return 0;
}
