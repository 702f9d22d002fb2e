/* Options: defaults, the environment, checks, printing. All of it is driven by nearcache/options.def. The public
 * near_options_init_sized lives here, too. */
#ifndef NEAR_BASE_OPTIONS_H
#define NEAR_BASE_OPTIONS_H

#include <nearcache/nearcache.h>

typedef enum near__option_source { NEAR__BY_DEFAULT, NEAR__BY_PROGRAM, NEAR__BY_ENVIRONMENT } near__option_source;

/* The number of options, and the place of each: NEAR__OPT_memory_bytes, ... */
enum {
#define NEAR_OPTION(kind, field, env, def, least, most, unit, sentence) NEAR__OPT_##field,
#include <nearcache/options.def>
#undef NEAR_OPTION
	NEAR__OPT_COUNT
};

/* A checked copy: strings owned, every value in range. */
typedef struct near__settings {
	near_options o;
	near__option_source source[NEAR__OPT_COUNT];
} near__settings;

/* Built-in default, then `program` (may be NULL; may be an older, shorter struct), then the environment.
 * Returns NEAR_OK, NEAR_E_CONFIG (error names option or variable, value, and what would be right), NEAR_E_NOMEM. */
near_status near__settings_make(const near_options *program, near__settings *settings, near_error *error);
void near__settings_free(near__settings *settings);

/* One option for people: name, variable, value as text, source, default, range, unit, sentence. */
typedef struct near__option_view {
	const char *field, *env, *unit, *sentence, *kind;
	char value[128], fallback[128], range[96];
	near__option_source source;
} near__option_view;
/* `index` below NEAR__OPT_COUNT. The password of a URL is never shown. */
void near__settings_view(const near__settings *settings, unsigned index, near__option_view *view);

#endif
