/* Parsing of the one URL that says where Redis is.
 *
 *   redis://[user[:password]@]host[:port][/db]      unix://[user[:password]@]path[?db=N]
 *           '---- userinfo ---'                             '-- userinfo ---'
 *
 * The text is cut from the left: scheme, then userinfo (up to the last '@' before the first '/', '?' or '#', so that a
 * password that somebody forgot to encode still works as long as it has none of those), then the place. Each part is
 * percent-decoded on its own after the cut, so an encoded delimiter is never taken for one. A NUL, encoded or not,
 * cannot be in any part, because all parts end up as C strings.
 *
 * Errors name the part that is wrong and show only the parts that hold no secret: the userinfo is never printed.
 * Sources: RFC 3986 (3.2, 2.1); the provisional registration of the "redis" scheme at IANA.
 */
#include "redis/url.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define PORT_DEFAULT 6379

/* A part of the text, not yet decoded. */
typedef struct span {
	const char *at;
	size_t size;
} span;

static near_status refuse(near_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static near_status refuse(near_error *error, const char *format, ...)
{
	if (error != NULL) {
		va_list args;
		va_start(args, format);
		(void)vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return NEAR_E_CONFIG;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Percent-decodes `in` into `out` with a NUL. */
static near_status decode(span in, char *out, size_t out_size, const char *part, near_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < in.size; i++) {
		int byte = (unsigned char)in.at[i];
		if (byte == '%') {
			int high = i + 2 < in.size ? hex_digit(in.at[i + 1]) : -1;
			int low = i + 2 < in.size ? hex_digit(in.at[i + 2]) : -1;
			if (high < 0 || low < 0)
				return refuse(error, "Redis URL: a '%%' in the %s lacks its two hex digits", part);
			byte = high * 16 + low;
			i += 2;
		}
		if (byte == 0)
			return refuse(error, "Redis URL: the %s contains a zero byte", part);
		if (n + 1 >= out_size)
			return refuse(error, "Redis URL: the %s is longer than %zu bytes", part, out_size - 1);
		out[n++] = (char)byte;
	}
	out[n] = '\0';
	return NEAR_OK;
}

/* A decimal number of at most `most`, digits only. */
static bool number(span in, unsigned most, unsigned *value)
{
	unsigned n = 0;
	if (in.size == 0 || in.size > 5)
		return false;
	for (size_t i = 0; i < in.size; i++) {
		if (in.at[i] < '0' || in.at[i] > '9')
			return false;
		n = n * 10 + (unsigned)(in.at[i] - '0');
	}
	if (n > most)
		return false;
	*value = n;
	return true;
}

/* The first of `set` in `in`, or its end. */
static size_t find_any(span in, const char *set)
{
	for (size_t i = 0; i < in.size; i++)
		if (in.at[i] != '\0' && strchr(set, in.at[i]) != NULL)
			return i;
	return in.size;
}

static span cut(span *rest, size_t n)
{
	span head = { rest->at, n };
	rest->at += n;
	rest->size -= n;
	return head;
}

static near_status parse_db(span text, near__url *url, near_error *error)
{
	unsigned db;
	if (!number(text, UINT16_MAX, &db))
		return refuse(error, "Redis URL: the database \"%.*s\" is not a number from 0 to %u",
		              (int)(text.size > 40 ? 40 : text.size), text.at, UINT16_MAX);
	url->db = (uint16_t)db;
	return NEAR_OK;
}

/* "db=N", the only setting that is known. */
static near_status parse_query(span query, near__url *url, near_error *error)
{
	if (query.size >= 3 && memcmp(query.at, "db=", 3) == 0) {
		(void)cut(&query, 3);
		return parse_db(query, url, error);
	}
	return refuse(error, "Redis URL: after '?' only db=N is known");
}

/* Takes "user:password@" off the front, if it is there. */
static near_status parse_userinfo(span *rest, near__url *url, near_error *error)
{
	span authority = { rest->at, find_any(*rest, "/?#") };
	size_t end = authority.size;
	while (end > 0 && authority.at[end - 1] != '@')
		end--;
	if (end == 0)
		return NEAR_OK;
	span info = cut(rest, end);
	info.size--; /* the '@' */
	span user = cut(&info, find_any(info, ":"));
	near_status status = decode(user, url->user, sizeof(url->user), "user name", error);
	if (status != NEAR_OK || info.size == 0)
		return status;
	(void)cut(&info, 1); /* the ':' */
	return decode(info, url->password, sizeof(url->password), "password", error);
}

static near_status check_host(const near__url *url, bool bracketed, near_error *error)
{
	if (url->host[0] == '\0')
		return refuse(error, "Redis URL: the host is missing (redis://user:password@host:port/db)");
	if (!bracketed) {
		for (const char *c = url->host; *c != '\0'; c++)
			if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("[]:@\\", *c) != NULL)
				return refuse(error, "Redis URL: the host holds a character that no name has (IPv6 in "
				                     "brackets: redis://[::1]:6379)");
		return NEAR_OK;
	}
	char address[sizeof(url->host)];
	size_t size = strcspn(url->host, "%"); /* a zone may follow: fe80::1%eth0 */
	memcpy(address, url->host, size);
	address[size] = '\0';
	struct in6_addr parsed;
	if (inet_pton(AF_INET6, address, &parsed) != 1)
		return refuse(error, "Redis URL: \"%s\" in brackets is not an IPv6 address", address);
	return NEAR_OK;
}

static near_status parse_port(span text, near__url *url, near_error *error)
{
	unsigned port;
	if (!number(text, UINT16_MAX, &port) || port == 0)
		return refuse(error, "Redis URL: the port \"%.*s\" is not a number from 1 to %u",
		              (int)(text.size > 40 ? 40 : text.size), text.at, UINT16_MAX);
	url->port = (uint16_t)port;
	return NEAR_OK;
}

static near_status parse_place(span rest, near__url *url, near_error *error)
{
	bool bracketed = rest.size > 0 && rest.at[0] == '[';
	size_t close = bracketed ? find_any(rest, "]") : 0;
	if (bracketed && close == rest.size)
		return refuse(error, "Redis URL: the bracket of the IPv6 address is not closed");
	span host = bracketed ? (span){ rest.at + 1, close - 1 } : (span){ rest.at, find_any(rest, ":/?#") };
	(void)cut(&rest, bracketed ? close + 1 : host.size);
	near_status status = decode(host, url->host, sizeof(url->host), "host", error);
	if (status == NEAR_OK)
		status = check_host(url, bracketed, error);
	if (status == NEAR_OK && rest.size > 0 && rest.at[0] == ':') {
		(void)cut(&rest, 1);
		status = parse_port(cut(&rest, find_any(rest, "/?#")), url, error);
	}
	if (status != NEAR_OK || rest.size == 0)
		return status;
	if (rest.at[0] == '/') {
		(void)cut(&rest, 1);
		span db = cut(&rest, find_any(rest, "?#"));
		if (db.size > 0)
			status = parse_db(db, url, error);
		if (status != NEAR_OK || rest.size == 0)
			return status;
	}
	if (rest.at[0] == '?')
		return parse_query((span){ rest.at + 1, rest.size - 1 }, url, error);
	return refuse(error, "Redis URL: something follows host and port that is neither /db nor ?db=N");
}

static near_status parse_path(span rest, near__url *url, near_error *error)
{
	span path = cut(&rest, find_any(rest, "?"));
	near_status status = decode(path, url->host, sizeof(url->host), "path", error);
	if (status != NEAR_OK)
		return status;
	size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	if (url->host[0] == '\0')
		return refuse(error, "Redis URL: the path is missing (unix:///run/redis.sock)");
	if (strlen(url->host) > most)
		return refuse(error, "Redis URL: the path of a unix socket is at most %zu bytes long", most);
	return rest.size > 0 ? parse_query((span){ rest.at + 1, rest.size - 1 }, url, error) : NEAR_OK;
}

static bool scheme_is(const char *text, size_t size, const char *scheme)
{
	return strlen(scheme) == size && strncasecmp(text, scheme, size) == 0;
}

near_status near__url_parse(const char *text, near__url *url, near_error *error)
{
	const char *mark = strstr(text, "://");
	size_t size = mark != NULL ? (size_t)(mark - text) : 0;
	bool is_redis = scheme_is(text, size, "redis");
	if (scheme_is(text, size, "rediss"))
		return refuse(error, "Redis URL: rediss:// (TLS) is not supported by this build");
	if (scheme_is(text, size, "sentinel"))
		return refuse(error, "Redis URL: sentinel:// is not supported by this build; use redis:// or unix://");
	if (!is_redis && !scheme_is(text, size, "unix"))
		return refuse(error, "Redis URL: it must begin with redis:// or unix://");

	near__url parsed = { .port = is_redis ? PORT_DEFAULT : 0, .is_unix = !is_redis };
	span rest = { mark + 3, strlen(mark + 3) };
	near_status status = parse_userinfo(&rest, &parsed, error);
	if (status != NEAR_OK)
		return status;
	if (is_redis && memchr(rest.at, ',', rest.size) != NULL)
		return refuse(error, "Redis URL: a list of servers (Cluster) is not supported by this build");
	status = is_redis ? parse_place(rest, &parsed, error) : parse_path(rest, &parsed, error);
	if (status == NEAR_OK)
		*url = parsed;
	return status;
}

void near__url_show(const near__url *url, char *buf, size_t buf_size)
{
	bool bracketed = !url->is_unix && strchr(url->host, ':') != NULL;
	const char *hidden = url->password[0] != '\0' ? ":***" : "";
	const char *at = url->user[0] != '\0' || url->password[0] != '\0' ? "@" : "";
	if (buf_size == 0)
		return;
	if (url->is_unix)
		(void)snprintf(buf, buf_size, "unix://%s%s%s%s?db=%u", url->user, hidden, at, url->host, url->db);
	else
		(void)snprintf(buf, buf_size, "redis://%s%s%s%s%s%s:%u/%u", url->user, hidden, at,
		               bracketed ? "[" : "", url->host, bracketed ? "]" : "", url->port, url->db);
}
