/* The shell: a line in, a JSON object out, flushed, so that a program at the other end of a pipe can wait for each answer.
 *
 * Lines may be of any length up to LINE_BYTES_MAX and hold any bytes; a longer one is read to its end, answered with
 * E_USAGE, and the shell goes on. So it does after every other mistake: a shell ends with `quit` or with its input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "json.h"

#define LINE_BYTES_MAX ((size_t)1 << 30)

const char *source_name(near_source source)
{
	switch (source) {
	case NEAR_FROM_L1:
		return "l1";
	case NEAR_FROM_L2:
		return "l2";
	case NEAR_FROM_LOADER:
		return "loader";
	case NEAR_FROM_NONE:
		break;
	}
	return "none";
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* What went wrong, with what Redis said where it is about Redis. */
static void add_reason(const session *s, answer *a)
{
	char last[512] = "";
	if (a->status >= 0 || a->error.size > 0)
		return;
	text_put(&a->error, near_status_text(a->status));
	if (a->status == NEAR_E_UNAVAILABLE || a->status == NEAR_E_REDIS || a->status == NEAR_E_TIMEOUT)
		(void)near_last_error(s->cache, last, sizeof(last));
	if (last[0] != '\0')
		text_format(&a->error, ": %s", last);
}

void request_run(session *s, const request *r, answer *a)
{
	a->op = word_of(r->command->name);
	if (r->argument_count > 0 && !word_is(a->op, "sleep"))
		a->key = r->argument[0];
	double before = now_us();
	r->command->run(s, r, a);
	a->elapsed_us = now_us() - before;
	add_reason(s, a);
}

void answer_json(const session *s, const answer *a, text *out)
{
	text_put(out, "{\"op\":");
	if (utf8_valid(a->op.bytes, a->op.size))
		json_string(out, a->op.bytes, a->op.size);
	else
		json_base64(out, a->op.bytes, a->op.size);
	json_member(out, "key", a->key.bytes, a->key.size, s->base64);
	text_format(out, ",\"status\":\"%s\"", near_status_name(a->status));
	/* An empty value is a value: the pin of one may have no bytes to point at. */
	json_member(out, "value", a->has_value ? (a->value.value_size > 0 ? a->value.value : "") : NULL, a->value.value_size,
	            s->base64);
	text_format(out, ",\"source\":\"%s\",\"elapsed_us\":%.1f",
	            source_name(a->has_value ? a->value.item.source : NEAR_FROM_NONE), a->elapsed_us);
	if (a->members.size > 0)
		text_add(out, a->members.bytes, a->members.size);
	if (a->error.size > 0)
		json_member(out, "error", a->error.bytes, a->error.size, false);
	text_put(out, "}\n");
}

void answer_clear(answer *a)
{
	text error = a->error, members = a->members, words = a->words;
	if (a->has_value)
		near_unpin(&a->value);
	text_clear(&error);
	text_clear(&members);
	text_clear(&words);
	*a = (answer){ .error = error, .members = members, .words = words };
}

typedef enum line_read { LINE_READ, LINE_TOO_LONG, LINE_NONE } line_read;

static line_read read_line(text *line)
{
	char chunk[4096];
	size_t n = 0;
	bool any = false, too_long = false;
	int c;
	text_clear(line);
	text_put(line, "");
	while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
		any = true;
		chunk[n++] = (char)c;
		if (n < sizeof(chunk))
			continue;
		too_long = too_long || line->size + n > LINE_BYTES_MAX;
		if (!too_long)
			text_add(line, chunk, n);
		n = 0;
	}
	if (c == EOF && !any)
		return LINE_NONE;
	if (too_long)
		return LINE_TOO_LONG;
	text_add(line, chunk, n);
	if (line->size > 0 && line->bytes[line->size - 1] == '\r')
		line->size--;
	return LINE_READ;
}

/* What the line says, done; false: nothing was said (blank, or a comment). */
static bool answer_line(session *s, text *line, request *r, answer *a)
{
	word words[WORDS_MAX];
	size_t count;
	text wrong = { 0 };
	const char *said = words_split(line->bytes, line->size, words, &count);
	if (count > 0 && words[0].size > 0 && words[0].bytes[0] == '#')
		return false;
	if (said == NULL && count == 0)
		return false;
	if (said == NULL)
		said = request_read(r, words, count, &wrong);
	if (said == NULL && r->command->where == ONCE_ONLY)
		said = "not inside a shell";
	if (said == NULL) {
		request_run(s, r, a);
	} else {
		a->op = count > 0 ? words[0] : word_of("");
		a->key = count > 1 ? words[1] : (word){ NULL, 0 };
		a->status = NEAR_E_USAGE;
		text_put(&a->error, said);
	}
	text_free(&wrong);
	return true;
}

int shell_run(session *s)
{
	text line = { 0 }, out = { 0 };
	request r = { 0 };
	answer a = { 0 };
	bool prompts = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	int end = EXIT_DONE;
	while (!s->wants_quit) {
		if (prompts)
			fputs("near> ", stderr);
		line_read got = read_line(&line);
		if (got == LINE_NONE)
			break;
		answer_clear(&a);
		text_clear(&out);
		if (got == LINE_TOO_LONG) {
			a.op = word_of("");
			a.status = NEAR_E_USAGE;
			text_format(&a.error, "the line is longer than %zu bytes", LINE_BYTES_MAX);
		} else if (!answer_line(s, &line, &r, &a)) {
			continue;
		}
		answer_json(s, &a, &out);
		if (fwrite(out.bytes, 1, out.size, stdout) != out.size || fflush(stdout) != 0) {
			end = EXIT_TROUBLE; /* nobody reads any more */
			break;
		}
	}
	answer_clear(&a);
	request_clear(&r);
	text_free(&a.error);
	text_free(&a.members);
	text_free(&a.words);
	text_free(&r.tag_bytes);
	text_free(&line);
	text_free(&out);
	return end;
}
