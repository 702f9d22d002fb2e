/* The inbox and the encoding of commands; request.h says why it is a stack. */
#include "redis/request.h"

#include <string.h>

/* Never dereferenced; no request has this address. */
#define SLEEPING ((near__request *)1)

bool near__inbox_push(near__inbox *inbox, near__request *newest, near__request *oldest)
{
	/* relaxed: the CAS below decides; the value is only linked to, never followed here. */
	near__request *old = atomic_load_explicit(&inbox->head, memory_order_relaxed);
	do {
		oldest->next = old == SLEEPING ? NULL : old;
		NEAR_YIELD("inbox_push");
		/* REDIS-INBOX, release: pairs with near__inbox_take. The requests are whole before the I/O thread can
		 * see them. Those linked behind were released by their own push; the chain of read-modify-writes keeps
		 * them so. */
	} while (!atomic_compare_exchange_weak_explicit(&inbox->head, &old, newest, memory_order_release,
	                                                memory_order_relaxed));
	return old == SLEEPING;
}

near__request *near__inbox_take(near__inbox *inbox)
{
	/* REDIS-INBOX, acquire: pairs with near__inbox_push. */
	near__request *newest = atomic_exchange_explicit(&inbox->head, NULL, memory_order_acquire);
	near__request *oldest = NULL;
	if (newest == SLEEPING)
		return NULL;
	while (newest != NULL) {
		near__request *older = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = older;
	}
	return oldest;
}

bool near__inbox_sleep(near__inbox *inbox)
{
	near__request *empty = NULL;
	/* relaxed: SLEEPING carries nothing; whoever replaces it rings, and the bell (a system call) wakes us. */
	return atomic_compare_exchange_strong_explicit(&inbox->head, &empty, SLEEPING, memory_order_relaxed,
	                                               memory_order_relaxed);
}

static unsigned digits(size_t n)
{
	unsigned count = 1;
	while (n >= 10) {
		n /= 10;
		count++;
	}
	return count;
}

size_t near__wire_size(const near__command *command)
{
	size_t size = 1 + digits((size_t)command->argc) + 2;
	for (int i = 0; i < command->argc; i++)
		size += 1 + digits(command->sizes[i]) + 2 + command->sizes[i] + 2;
	return size;
}

/* Writes "<type><n>\r\n". */
static char *write_length(char *out, char type, size_t n)
{
	unsigned count = digits(n);
	*out++ = type;
	for (unsigned i = count; i > 0; i--) {
		out[i - 1] = (char)('0' + n % 10);
		n /= 10;
	}
	out += count;
	*out++ = '\r';
	*out++ = '\n';
	return out;
}

char *near__wire_write(const near__command *command, char *out)
{
	out = write_length(out, '*', (size_t)command->argc);
	for (int i = 0; i < command->argc; i++) {
		out = write_length(out, '$', command->sizes[i]);
		if (command->sizes[i] > 0)
			memcpy(out, command->argv[i], command->sizes[i]);
		out += command->sizes[i];
		*out++ = '\r';
		*out++ = '\n';
	}
	return out;
}
