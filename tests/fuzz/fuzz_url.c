/* Any text as a URL: it is refused, or understood with all parts in range, and shown without its password. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	near__url url;
	near_error error = { "" };
	char shown[1024], again[1024], *text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	near_status status = near__url_parse(text, &url, &error);
	NEAR_ASSERT(status == NEAR_OK || (status == NEAR_E_CONFIG && error.text[0] != '\0'));
	if (status == NEAR_OK) {
		NEAR_ASSERT(url.host[0] != '\0' && (url.is_unix ? strlen(url.host) <= 107 : url.port > 0));
		near__url_show(&url, shown, sizeof(shown));
		if (url.password[0] != '\0') { /* what is shown does not depend on it */
			memcpy(url.password, "another", 8);
			near__url_show(&url, again, sizeof(again));
			NEAR_ASSERT(strcmp(shown, again) == 0);
		}
		near__url_show(&url, shown, 1);
		NEAR_ASSERT(shown[0] == '\0');
	}
	free(text);
	return 0;
}
