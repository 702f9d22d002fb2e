/* The HTML page of a run: self-contained, readable without a network, in a light and a dark dress. */
#ifndef SHOP_REPORT_H
#define SHOP_REPORT_H

#include "run.h"

/* False: it cannot be written (errno). */
bool report_write(const struct run *run, const char *path);

#endif
