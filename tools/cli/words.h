/* A line of the shell, split into words.
 *
 *   put user:1 {"id":1} ttl_ms=5000        a word ends at a blank (space, tab); quotes inside it are ordinary
 *   put "a key" "line\nline" tags="a b"    a word, or what follows an option's =, may be a quoted string
 *   put bin "\x00\xff\u00e4"               with JSON's escapes, and \xNN for any byte
 *
 * Unquoted bytes are taken as they are, whatever they are; a NUL is an ordinary byte. A quoted string ends the word: only
 * a blank may follow it. Surrogate pairs become one character; a lone surrogate, which no UTF-8 can hold, is an error.
 */
#ifndef NEAR_CLI_WORDS_H
#define NEAR_CLI_WORDS_H

#include <stdbool.h>
#include "text.h"

#define WORDS_MAX 64

typedef struct word {
	const char *bytes; /* into the line, which the splitting writes over; NUL behind it */
	size_t size;
} word;

/* Splits line[0..size) in place; line[size] must be writable. At most WORDS_MAX words. NULL, or what is wrong, for
 * people: then *count is what had been read before. */
const char *words_split(char *line, size_t size, word words[WORDS_MAX], size_t *count);

/* For words that come from the program's arguments. */
word word_of(const char *string);
bool word_is(word w, const char *string);

#endif
