/* The hello of a connection: who we are, which database, who the server is.
 *
 *   AUTH [user] password   if the URL has any
 *   SELECT db              if it is not 0
 *   INFO server            -> run_id (40 hex digits) and redis_version (7.0 or newer)
 *   PING                   refuses while the server loads its data or has lost its primary, which INFO does not
 *
 * All in one write; the first refusal gives the reason. Both connections do it: the subscription must reach the same
 * server process as the data connection, and only the run_id tells.
 * Sources: redis.io/commands/info, /auth, /select; version 7.0 because the steps above use functions and flags of it.
 */
#include "redis/room.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_ID_SIZE 40
#define VERSION_LEAST 7

/* The text of an error, without what would break a line of a log. */
static void error_text(const near__reply *reply, char *out, size_t out_size)
{
	size_t size;
	const char *bytes = near__reply_bytes(reply, &size);
	size_t n = 0;
	for (size_t i = 0; i < size && n + 1 < out_size; i++)
		out[n++] = isprint((unsigned char)bytes[i]) ? bytes[i] : '?';
	out[n] = '\0';
	if (bytes == NULL)
		(void)snprintf(out, out_size, "an answer of an unexpected kind");
}

static bool refused(near__conn *conn, const near__reply *reply, const char *what)
{
	char text[120];
	if (near__reply_is(reply) == NEAR__REPLY_STATUS)
		return false;
	error_text(reply, text, sizeof(text));
	near__conn_doom(conn, "Redis refused %s: %s", what, text);
	return true;
}

static void auth_end(near__conn *conn, const near__reply *reply)
{
	(void)refused(conn, reply, "user and password");
}

static void select_end(near__conn *conn, const near__reply *reply)
{
	(void)refused(conn, reply, "the database number");
}

/* The value of "name:" at the start of a line. */
static const char *info_field(const char *info, size_t size, const char *name, size_t *value_size)
{
	size_t name_size = strlen(name);
	const char *line = info, *end = info + size;
	while (line < end) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		size_t line_size = (size_t)((next != NULL ? next : end) - line);
		if (line_size > name_size && memcmp(line, name, name_size) == 0 && line[name_size] == ':') {
			const char *value = line + name_size + 1;
			size_t n = line_size - name_size - 1;
			if (n > 0 && value[n - 1] == '\r')
				n--;
			*value_size = n;
			return value;
		}
		if (next == NULL)
			break;
		line = next + 1;
	}
	return NULL;
}

bool near__hello_read_info(const char *info, size_t size, char run_id[41], char *why, size_t why_size)
{
	size_t n = 0;
	const char *version = info_field(info, size, "redis_version", &n);
	unsigned major = 0;
	if (version == NULL || n == 0 || n > 32) {
		(void)snprintf(why, why_size, "this is not Redis: INFO names no redis_version");
		return false;
	}
	for (size_t i = 0; i < n && i < 4 && isdigit((unsigned char)version[i]); i++)
		major = major * 10 + (unsigned)(version[i] - '0');
	if (major < VERSION_LEAST) {
		(void)snprintf(why, why_size, "Redis is too old: major version %u where 7.0 or newer is needed", major);
		return false;
	}
	const char *id = info_field(info, size, "run_id", &n);
	bool whole = id != NULL && n == RUN_ID_SIZE;
	for (size_t i = 0; whole && i < RUN_ID_SIZE; i++)
		whole = isxdigit((unsigned char)id[i]) != 0;
	if (!whole) {
		(void)snprintf(why, why_size, "INFO names no run_id of 40 hex digits");
		return false;
	}
	memcpy(run_id, id, RUN_ID_SIZE);
	run_id[RUN_ID_SIZE] = '\0';
	return true;
}

static void info_end(near__conn *conn, const near__reply *reply)
{
	char why[120];
	size_t size;
	const char *info = near__reply_bytes(reply, &size);
	if (near__reply_is(reply) != NEAR__REPLY_STRING) {
		if (near__reply_is(reply) == NEAR__REPLY_STATUS)
			near__conn_doom(conn, "Redis answered INFO with something unexpected");
		else
			(void)refused(conn, reply, "INFO");
	} else if (!near__hello_read_info(info, size, conn->run_id, why, sizeof(why))) {
		near__conn_doom(conn, "%s", why);
	}
}

static void ping_end(near__conn *conn, const near__reply *reply)
{
	if (conn->doomed || refused(conn, reply, "to serve"))
		return;
	conn->state = NEAR__CONN_OPEN;
	conn->opened_ns = conn->redis->now_ns;
	conn->deadline_ns = INT64_MAX;
	conn->opened(conn);
}

void near__hello_begin(near__conn *conn)
{
	const near__url *url = &conn->redis->config.url;
	char db[8];
	if (url->user[0] != '\0')
		near__conn_ask(conn, 3, (const char *[]){ "AUTH", url->user, url->password }, auth_end);
	else if (url->password[0] != '\0')
		near__conn_ask(conn, 2, (const char *[]){ "AUTH", url->password }, auth_end);
	if (url->db != 0) {
		(void)snprintf(db, sizeof(db), "%u", (unsigned)url->db);
		near__conn_ask(conn, 2, (const char *[]){ "SELECT", db }, select_end);
	}
	near__conn_ask(conn, 2, (const char *[]){ "INFO", "server" }, info_end);
	near__conn_ask(conn, 1, (const char *[]){ "PING" }, ping_end);
}
