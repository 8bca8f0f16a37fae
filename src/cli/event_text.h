/* SPDX-License-Identifier: Apache-2.0 */
/* An event on standard output, for people or for scripts. */
#ifndef CLI_EVENT_TEXT_H
#define CLI_EVENT_TEXT_H

#include <stdbool.h>

#include "banyan/types.h"

/* One line of an event as http_event_json() writes it: the object itself with *json*; else position and stream (with
 * *anywhere*), version, time, type, fields, and how it is known where that is not "exact".  Values of JSON are printed
 * as they are: no number is converted.  False when it is no JSON. */
bool event_text_print(struct banyan_str event, bool json, bool anywhere);

#endif
