/* Statuses and the version in words.
 *
 * A status is a number that crosses the library's border, so any int may arrive here: an unknown one gets a name too,
 * and never NULL, so that callers may print what they got without looking at it first.
 *
 * The two texts of a status stand in one line of one table; the switch that a compiler checks for completeness
 * (-Wswitch, part of -Wall) is made from it.
 *
 * Threads: any; everything is constant.
 */
#include <nearcache/nearcache.h>

#define STATUS_TABLE(S) \
	S(NEAR_OK, "OK", "done") \
	S(NEAR_MISS, "MISS", "there is no value") \
	S(NEAR_STALE, "STALE", "a value that can not be vouched for") \
	S(NEAR_QUEUED, "QUEUED", "Redis is away: done here, the other processes learn of it when Redis is back") \
	S(NEAR_EXISTS, "EXISTS", "the key has a fresh value already") \
	S(NEAR_CONFLICT, "CONFLICT", "another version of the value is there") \
	S(NEAR_E_USAGE, "E_USAGE", "an argument is outside its range") \
	S(NEAR_E_CONFIG, "E_CONFIG", "an option or an environment variable is not valid") \
	S(NEAR_E_NOSPACE, "E_NOSPACE", "the buffer is too small for the value") \
	S(NEAR_E_NOMEM, "E_NOMEM", "the system gave no memory") \
	S(NEAR_E_TOO_LARGE, "E_TOO_LARGE", "the value is larger than NEARCACHE_VALUE_MAX") \
	S(NEAR_E_TIMEOUT, "E_TIMEOUT", "the deadline passed") \
	S(NEAR_E_BUSY, "E_BUSY", "too many commands wait for Redis already") \
	S(NEAR_E_UNAVAILABLE, "E_UNAVAILABLE", "Redis cannot be reached, or refuses") \
	S(NEAR_E_REDIS, "E_REDIS", "Redis answered with an error or with something unexpected") \
	S(NEAR_E_LOADER, "E_LOADER", "the loader failed and nothing stale could stand in") \
	S(NEAR_E_SYSTEM, "E_SYSTEM", "a system call failed")

const char *near_status_name(near_status status)
{
	switch (status) {
#define NAME_CASE(status, name, text) \
	case status: \
		return name;
		STATUS_TABLE(NAME_CASE)
	}
	return "E_UNKNOWN";
}

const char *near_status_text(near_status status)
{
	switch (status) {
#define TEXT_CASE(status, name, text) \
	case status: \
		return text;
		STATUS_TABLE(TEXT_CASE)
	}
	return "not a status of this library";
}

#define TEXT_OF(x) #x
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *near_version(void)
{
	return DOTTED(NEAR_VERSION_MAJOR, NEAR_VERSION_MINOR, NEAR_VERSION_PATCH);
}
