/* Help that teaches: what there is, then each command and each topic at more length. */
#include <string.h>
#include "cli.h"

static const char head[] =
	"nearcache: a coherent two-tier cache, from the command line\n"
	"\n"
	"  nearcache [--json] [--base64] [--wait MS] COMMAND [ARGUMENT]... [name=value]...\n"
	"\n"
	"Commands\n";

static const char tail[] =
	"\n"
	"  nearcache help COMMAND     more on one of them\n"
	"  nearcache help shell       the language of the shell: quoting, answers, an example\n"
	"  nearcache help exit        how the command ends\n"
	"\n"
	"Flags\n"
	"  --json          answer with one JSON object, as in the shell\n"
	"  --prometheus    with stats: Prometheus text\n"
	"  --base64        keys and values in JSON always as base64\n"
	"  --raw           with get and load: the value's bytes alone, without a newline behind them\n"
	"  --wait MS       how long to wait for Redis before the first command (default 2000)\n"
	"  A VALUE of - is read from standard input.\n"
	"\n"
	"Settings come from the environment, as in every program that uses the library: NEARCACHE_REDIS_URL says where Redis\n"
	"is, NEARCACHE_NAMESPACE which keys are meant; `nearcache config` lists them all. Without NEARCACHE_REDIS_URL a cache\n"
	"lives in its process alone: of use in a shell, while a single command's cache ends with it.\n"
	"\n"
	"  export NEARCACHE_REDIS_URL=redis://127.0.0.1:6379 NEARCACHE_NAMESPACE=shop\n"
	"  nearcache put product:1 '{\"name\":\"lamp\"}' ttl_ms=60000 tags=lamps,home\n"
	"  nearcache get product:1\n"
	"  nearcache invalidate_tag lamps\n";

static const char shell[] =
	"nearcache shell: one command a line from standard input, one JSON object a line on standard output\n"
	"\n"
	"Every answer is flushed and carries\n"
	"  op           the command\n"
	"  key          its key (or tag); null where there is none\n"
	"  status       OK MISS STALE QUEUED EXISTS CONFLICT, or the name of an error: E_USAGE, E_TIMEOUT, ...\n"
	"  value        the value; null where there is none\n"
	"  source       where the value came from: l1, l2, loader, none\n"
	"  elapsed_us   how long the call took\n"
	"and, where it applies, value_size, version, ttl_ms (remaining; 0 or less: stale), error (in words), stats, lease,\n"
	"config (objects).\n"
	"\n"
	"A value or key that is not valid UTF-8 is given as base64, with \"value_encoding\":\"base64\" or\n"
	"\"key_encoding\":\"base64\" beside it; with --base64 that is always so.\n"
	"\n"
	"Words are separated by blanks. A word that contains blanks or bytes that cannot be typed is written as a string of\n"
	"JSON: \"two words\", \"a\\nb\", \"\\u00e4\", and beyond JSON \"\\xff\" for any byte. The same goes for what follows the = of\n"
	"an option: tags=\"a b,c\". Quotes inside a word are ordinary, so JSON needs no quoting: put k {\"id\":1}\n"
	"Empty lines and lines that begin with # are passed over. A bad line is answered with E_USAGE and an error in words,\n"
	"nothing is done, and the shell goes on. It ends with quit or with its input, and then the exit status is 0.\n"
	"\n"
	"Example, with two shells on one Redis (A and B):\n"
	"  A  put user:1 Ada                {\"op\":\"put\",\"key\":\"user:1\",\"status\":\"OK\",\"value\":null,...}\n"
	"  B  get user:1                    {\"op\":\"get\",...,\"status\":\"OK\",\"value\":\"Ada\",\"source\":\"l2\",...}\n"
	"  B  get user:1                    ... \"source\":\"l1\"\n"
	"  A  invalidate user:1             ... \"status\":\"OK\": acknowledged\n"
	"  B  get user:1                    ... \"status\":\"MISS\"\n"
	"  B  load user:1 Eve cost_ms=50    ... \"value\":\"Eve\",\"source\":\"loader\"\n"
	"  A  load user:1 Ida cost_ms=50    ... \"value\":\"Eve\",\"source\":\"l2\"\n"
	"\n"
	"Commands inside the shell: all of `nearcache help` but shell, and sleep MS, help, quit.\n";

static const char exits[] =
	"How nearcache ends\n"
	"  0   done; for the shell: its input has ended\n"
	"  1   asked and answered, the answer is no: MISS, EXISTS, CONFLICT\n"
	"  2   the command line, or an argument outside its range: E_USAGE\n"
	"  3   an option or an environment variable is not valid: E_CONFIG\n"
	"  4   Redis is away or in trouble: QUEUED, E_UNAVAILABLE, E_TIMEOUT, E_BUSY, E_REDIS. A write that ends so has not\n"
	"      reached the other processes: one command's process cannot keep it until Redis is back\n"
	"  5   anything else: E_LOADER, E_TOO_LARGE, E_NOMEM, E_SYSTEM, output that cannot be written\n";

static void add_usage(const command *c, text *out)
{
	const char *at = c->options;
	text_format(out, "%s%s%s", c->name, *c->arguments ? " " : "", c->arguments);
	while (*at != '\0') {
		size_t n = strcspn(at, " ");
		text_format(out, " [%.*s=...]", (int)n, at);
		at += n + (at[n] == ' ');
	}
}

static const char *option_meaning(const char *name, size_t size)
{
	static const struct {
		const char *name, *meaning;
	} options[] = {
		{ "ttl_ms", "life of the value" },
		{ "stale_ms", "its stale window; 0 for none" },
		{ "version", "version of the value; a lower or equal one changes nothing" },
		{ "expected", "the version that has to be there" },
		{ "tags", "up to 16 tags with commas between them: a,b" },
		{ "cost_ms", "how long the source takes" },
		{ "fail", "1: the source fails" },
		{ "miss", "1: the source has no such thing" },
		{ "beta", "eagerness of the refresh before expiry; 0: never early" },
		{ "stale_ok", "1: a stale value is welcome, as STALE" },
		{ "refresh", "1: load although a fresh value is there" },
		{ "no_l1", "1: neither look in L1 nor fill it" },
		{ "no_l2", "1: do not ask Redis for data" },
		{ "deadline_ms", "how long to wait" },
	};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strlen(options[i].name) == size && memcmp(options[i].name, name, size) == 0)
			return options[i].meaning;
	return "";
}

static void help_command(const command *c, text *out)
{
	text_put(out, c->where == SHELL_ONLY ? "in a shell: " : "nearcache ");
	add_usage(c, out);
	text_format(out, "\n  %s\n%s", c->summary, c->more);
	for (const char *at = c->options; *at != '\0';) {
		size_t n = strcspn(at, " ");
		text_format(out, "    %-12.*s %s\n", (int)n, at, option_meaning(at, n));
		at += n + (at[n] == ' ');
	}
}

void help_all(text *out)
{
	text_put(out, head);
	for (const command *c = commands; c->name != NULL; c++) {
		text left = { 0 };
		text_format(&left, "%s%s%s", c->name, *c->arguments ? " " : "", c->arguments);
		text_format(out, "  %-22s %s%s\n", left.bytes, c->summary, c->where == SHELL_ONLY ? " (in a shell)" : "");
		text_free(&left);
	}
	text_put(out, tail);
}

bool help_topic(const char *topic, text *out)
{
	if (strcmp(topic, "shell") == 0) {
		text_put(out, shell);
		return true;
	}
	if (strcmp(topic, "exit") == 0) {
		text_put(out, exits);
		return true;
	}
	const command *c = command_find(word_of(topic));
	if (c == NULL)
		return false;
	help_command(c, out);
	return true;
}
