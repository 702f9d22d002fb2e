/* Waiting and waking: a futex word for a thread that waits for one thing, with a deadline on the near clock. */
#ifndef NEAR_SYNC_WAKE_H
#define NEAR_SYNC_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleeps while *word == expected. False when deadline_ns (near clock) has passed; spurious returns are true. */
bool near__wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline_ns);
void near__wake_all(_Atomic(uint32_t) *word);
void near__wake_one(_Atomic(uint32_t) *word);

#endif
