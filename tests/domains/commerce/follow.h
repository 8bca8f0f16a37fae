/* SPDX-License-Identifier: Apache-2.0 */
/* All read models of the commerce domain by the real engine, over a store that others have filled. */
#ifndef TEST_COMMERCE_FOLLOW_H
#define TEST_COMMERCE_FOLLOW_H

struct aggregates;
struct store;

/* Follow the store to its end, in memory and in files of *folder*: nothing may be put aside, the mirrors must have the
 * rows that the aggregates' states have, and a rebuild must come to the same rows (but for what its policy drops). */
void follow_all(struct store *store, struct aggregates *aggregates, const char *folder);

#endif
