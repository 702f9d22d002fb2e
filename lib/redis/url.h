/* Where Redis is: parsing of redis://[user[:password]@]host[:port][/db] and unix://[user[:password]@]path, both with
 * ?db=N if wanted and with percent-encoding, IPv6 in brackets. rediss:// (TLS), lists (Cluster) and sentinel:// are recognised and answered
 * with a clear "not supported by this build" until their room is there. */
#ifndef NEAR_REDIS_URL_H
#define NEAR_REDIS_URL_H

#include <nearcache/nearcache.h>

typedef struct near__url {
	char host[256]; /* or the path of a unix socket */
	char user[128], password[512];
	uint16_t port;
	uint16_t db;
	bool is_unix;
} near__url;

/* NEAR_OK or NEAR_E_CONFIG; `error` gets what is wrong and what would be right (never the password). */
near_status near__url_parse(const char *text, near__url *url, near_error *error);
/* The URL without its password, for words. */
void near__url_show(const near__url *url, char *buf, size_t buf_size);

#endif
