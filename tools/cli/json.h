/* JSON: what the command writes, and the little that it reads.
 *
 * A string of any bytes becomes
 *   a JSON string                         when the bytes are valid UTF-8 (RFC 3629: no overlong forms, no surrogates)
 *   its base64 and "<name>_encoding":"base64" beside it       otherwise, or when asked
 * so that whoever reads it gets exactly the bytes that were stored.
 */
#ifndef NEAR_CLI_JSON_H
#define NEAR_CLI_JSON_H

#include <stdbool.h>
#include "text.h"

bool utf8_valid(const void *bytes, size_t size);
/* "..." with the quotes; `bytes` are valid UTF-8. */
void json_string(text *out, const void *bytes, size_t size);
void json_base64(text *out, const void *bytes, size_t size);
/* ,"name":... ; NULL bytes: null. */
void json_member(text *out, const char *name, const void *bytes, size_t size, bool base64);

/* Takes the next member `"name":"string"` of the object that stands at *at, unescaping the value into `value`; members of
 * other types are passed over. False at the end of the object, *at is then behind it. For JSON of the library's own:
 * anything malformed reads as the end. */
bool json_next_string(const char **at, text *name, text *value);
/* Finds `"name":` at any depth of `json` and returns what follows, or NULL. */
const char *json_find(const char *json, const char *name);

#endif
