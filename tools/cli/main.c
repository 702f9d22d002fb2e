/* nearcache: one command from the program's arguments, or a shell. See cli.h for the parts.
 *
 * A single command first waits for Redis, because the library does not: a get that comes before the connection is a miss,
 * and here there is no second try. Where Redis does not answer, a command whose answer would mean nothing then (get,
 * exists) says so instead of MISS.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "loader.h"

#define WORDS_ONCE_MAX (1 + ARGUMENTS_MAX + 32)

typedef struct flags {
	bool json, prometheus, base64, raw, help;
	uint64_t wait_ms;
} flags;

static int say_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int say_usage(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("nearcache: ", stderr);
	vfprintf(stderr, format, arguments);
	fputs("\nnearcache: see nearcache --help\n", stderr);
	va_end(arguments);
	return EXIT_USAGE;
}

static int print(const text *out)
{
	if ((out->size > 0 && fwrite(out->bytes, 1, out->size, stdout) != out->size) || fflush(stdout) != 0) {
		fprintf(stderr, "nearcache: cannot write: %s\n", strerror(errno));
		return EXIT_TROUBLE;
	}
	return EXIT_DONE;
}

static int help(const char *topic)
{
	text out = { 0 };
	int end;
	if (topic == NULL)
		help_all(&out);
	else if (!help_topic(topic, &out))
		return say_usage("there is no command or topic '%s'", topic);
	end = print(&out);
	text_free(&out);
	return end;
}

/* Takes the flags out of argv, wherever they stand before `--`; the rest moves up. -1: go on, else how to end. */
static int read_flags(int *argc, char **argv, flags *f)
{
	int kept = 1;
	bool ended = false;
	for (int i = 1; i < *argc; i++) {
		const char *a = argv[i];
		if (ended || strncmp(a, "--", 2) != 0) {
			if (!ended && strcmp(a, "-h") == 0)
				f->help = true;
			else
				argv[kept++] = argv[i];
		} else if (a[2] == '\0') {
			ended = true;
		} else if (strcmp(a, "--json") == 0) {
			f->json = true;
		} else if (strcmp(a, "--prometheus") == 0) {
			f->prometheus = true;
		} else if (strcmp(a, "--base64") == 0) {
			f->base64 = true;
		} else if (strcmp(a, "--raw") == 0) {
			f->raw = true;
		} else if (strcmp(a, "--help") == 0) {
			f->help = true;
		} else if (strcmp(a, "--version") == 0) {
			printf("nearcache %s\n", near_version());
			return EXIT_DONE;
		} else if (strcmp(a, "--wait") == 0 && i + 1 < *argc && number_of(word_of(argv[i + 1]), &f->wait_ms)) {
			i++;
		} else if (strcmp(a, "--wait") == 0) {
			return say_usage("--wait wants milliseconds");
		} else {
			return say_usage("there is no flag '%s'", a);
		}
	}
	*argc = kept;
	argv[kept] = NULL;
	return -1;
}

static int exit_of(near_status status)
{
	switch (status) {
	case NEAR_OK:
	case NEAR_STALE:
		return EXIT_DONE;
	case NEAR_MISS:
	case NEAR_EXISTS:
	case NEAR_CONFLICT:
		return EXIT_NO;
	case NEAR_E_USAGE:
		return EXIT_USAGE;
	case NEAR_E_CONFIG:
		return EXIT_CONFIG;
	case NEAR_QUEUED:
	case NEAR_E_UNAVAILABLE:
	case NEAR_E_TIMEOUT:
	case NEAR_E_BUSY:
	case NEAR_E_REDIS:
		return EXIT_REDIS;
	case NEAR_E_NOSPACE:
	case NEAR_E_NOMEM:
	case NEAR_E_TOO_LARGE:
	case NEAR_E_LOADER:
	case NEAR_E_SYSTEM:
		break;
	}
	return EXIT_TROUBLE;
}

/* A VALUE of "-": standard input to its end. */
static int read_value(request *r, text *bytes)
{
	char chunk[65536];
	size_t n;
	if (strcmp(r->command->arguments, "KEY VALUE") != 0 || !word_is(r->argument[1], "-"))
		return EXIT_DONE;
	text_put(bytes, "");
	while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		text_add(bytes, chunk, n);
	if (ferror(stdin)) {
		fprintf(stderr, "nearcache: cannot read the value: %s\n", strerror(errno));
		return EXIT_TROUBLE;
	}
	r->argument[1] = (word){ bytes->bytes, bytes->size };
	return EXIT_DONE;
}

/* What a person gets to read on standard output; the rest goes to standard error. */
static void answer_words(const request *r, const answer *a, const flags *f, text *out)
{
	if (a->has_value) {
		text_add(out, a->value.value, a->value.value_size);
		if (!f->raw)
			text_put(out, "\n");
	} else if (a->words.size > 0) {
		text_add(out, a->words.bytes, a->words.size);
	} else if (a->status >= 0) {
		text_format(out, "%s\n", near_status_name(a->status));
	}
	if (a->status == NEAR_STALE)
		fprintf(stderr, "nearcache %s: STALE: %s\n", r->command->name, near_status_text(a->status));
	if (a->error.size > 0)
		fprintf(stderr, "nearcache %s: %s: %s\n", r->command->name, near_status_name(a->status), a->error.bytes);
	else if (a->status == NEAR_QUEUED)
		fprintf(stderr, "nearcache %s: Redis is away, and this process ends: no other process learns of it\n",
		        r->command->name);
}

static int show(session *s, const request *r, answer *a, const flags *f)
{
	text out = { 0 };
	bool stats = strcmp(r->command->name, "stats") == 0, config = strcmp(r->command->name, "config") == 0;
	if (f->json)
		answer_json(s, a, &out);
	else if (stats && f->prometheus)
		text_of(s->cache, near_stats_prometheus, &out);
	else if (stats)
		show_stats(s->cache, &out);
	else if (config)
		show_config(s->cache, &out);
	else
		answer_words(r, a, f, &out);
	int end = print(&out);
	text_free(&out);
	return end != EXIT_DONE ? end : exit_of(a->status);
}

static int run_once(session *s, request *r, const flags *f)
{
	answer a = { 0 };
	text value = { 0 };
	bool config = strcmp(r->command->name, "config") == 0;
	int end = read_value(r, &value);
	if (end != EXIT_DONE) {
		text_free(&value);
		return end;
	}
	near_status reached = config ? NEAR_OK : near_ping(s->cache, f->wait_ms);
	if (reached == NEAR_OK && strcmp(r->command->name, "lease") == 0)
		reached = near_wait_ready(s->cache, f->wait_ms);
	if (reached != NEAR_OK && r->command->needs_redis) {
		char last[512] = "";
		a.op = word_of(r->command->name);
		a.key = r->argument[0];
		a.status = NEAR_E_UNAVAILABLE;
		(void)near_last_error(s->cache, last, sizeof(last));
		text_format(&a.error, "Redis did not answer within %llu ms%s%s", (unsigned long long)f->wait_ms,
		            last[0] != '\0' ? ": " : "", last);
	} else {
		request_run(s, r, &a);
	}
	end = show(s, r, &a, f);
	answer_clear(&a);
	text_free(&a.error);
	text_free(&a.members);
	text_free(&a.words);
	text_free(&value);
	return end;
}

static int with_cache(request *r, const flags *f)
{
	session s = { .base64 = f->base64 };
	near_error error = { "" };
	near_status status = near_open(NULL, &s.cache, &error);
	int end;
	if (status != NEAR_OK) {
		fprintf(stderr, "nearcache: %s: %s\n", near_status_name(status),
		        error.text[0] != '\0' ? error.text : near_status_text(status));
		return status == NEAR_E_CONFIG ? EXIT_CONFIG : EXIT_TROUBLE;
	}
	if (r->command->run == NULL) { /* shell */
		/* So that a script's first lines find L1 at work. Without it the shell works too. */
		if (near_ping(s.cache, f->wait_ms) != NEAR_OK || near_wait_ready(s.cache, f->wait_ms) != NEAR_OK)
			fputs("nearcache: Redis does not answer yet\n", stderr);
		end = shell_run(&s);
	} else {
		end = run_once(&s, r, f);
	}
	near_close(s.cache);
	loader_forget();
	return end;
}

int main(int argc, char **argv)
{
	flags f = { .wait_ms = 2000 };
	word words[WORDS_ONCE_MAX];
	text wrong = { 0 };
	request r = { 0 };
	int end = read_flags(&argc, argv, &f);
	if (end >= 0)
		return end;
	if (argc == 1 && !f.help)
		return say_usage("what is to be done?");
	if (f.help || strcmp(argv[1], "help") == 0)
		return help(f.help ? argv[1] : argv[2]);
	if (argc - 1 > WORDS_ONCE_MAX)
		return say_usage("too many arguments");
	for (int i = 1; i < argc; i++)
		words[i - 1] = word_of(argv[i]);
	const char *said = request_read(&r, words, (size_t)(argc - 1), &wrong);
	if (said == NULL && r.command->where == SHELL_ONLY)
		said = "only inside a shell";
	if (said == NULL && (f.prometheus && strcmp(r.command->name, "stats") != 0))
		said = "--prometheus goes with stats";
	end = said != NULL ? say_usage("%s", said) : with_cache(&r, &f);
	text_free(&wrong);
	text_free(&r.tag_bytes);
	return end;
}
