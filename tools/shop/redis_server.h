/* The run's own redis-server: on a unix socket in the run's private directory, no port, nothing kept on disk. A killed one
 * comes back empty, which is the harder case: every process has to notice that nothing it knew still counts. */
#ifndef SHOP_REDIS_SERVER_H
#define SHOP_REDIS_SERVER_H

#include "shop.h"

#include <sys/types.h>

struct redis_server {
	char directory[SHOP_PATH_MAX], socket[SHOP_PATH_MAX + 16];
	pid_t pid; /* 0: none runs */
};

/* `directory` must exist. */
void redis_server_init(struct redis_server *server, const char *directory);
/* Starts it, not waiting. False: it cannot be started at all. */
bool redis_server_start(struct redis_server *server);
/* Does it answer PING now? Waits 100 ms at most. */
bool redis_server_answers(const struct redis_server *server);
/* SIGKILL, and waits for its end. */
void redis_server_kill(struct redis_server *server);
/* Its own figures: value of `name` in INFO, 0 without an answer. */
double redis_server_info(const struct redis_server *server, const char *name);

#endif
