/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of public functions.  The only macros that shape a declaration. */
#ifndef BANYAN_ATTRIBUTES_H
#define BANYAN_ATTRIBUTES_H

#define BANYAN_API __attribute__((visibility("default")))
/* The result must be looked at. */
#define BANYAN_MUST_CHECK __attribute__((warn_unused_result))
/* The arguments at the given places (from 1) are checked as those of printf. */
#define BANYAN_PRINTF_LIKE(text_at, first_at) __attribute__((format(printf, text_at, first_at)))

#endif
