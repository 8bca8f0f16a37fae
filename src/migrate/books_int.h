/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of books.h share. */
#ifndef MIGRATE_BOOKS_INT_H
#define MIGRATE_BOOKS_INT_H

#include "migrate/books.h"

/* *why*, that a caller looked into first, becomes the error (which may be NULL); gives *st*. */
enum banyan_status books_tell(struct banyan_error *err, const struct banyan_error *why, enum banyan_status st);

#endif
