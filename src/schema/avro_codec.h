/* SPDX-License-Identifier: Apache-2.0 */
/* Compression of the blocks of Avro container files. */
#ifndef SCHEMA_AVRO_CODEC_H
#define SCHEMA_AVRO_CODEC_H

#include "banyan/buf.h"
#include "banyan/error.h"
#include "schema/avro_file.h"

/* Replace the content of *ret* by *data*, packed.  LIMIT when it does not fit. */
BANYAN_MUST_CHECK enum banyan_status avro_codec_pack(enum avro_codec codec, struct banyan_str data,
                                                     struct banyan_buf *ret, struct banyan_error *err);
/* Replace the content of *ret* by *data*, unpacked.  LIMIT at ret->size_max; CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status avro_codec_unpack(enum avro_codec codec, struct banyan_str data,
                                                       struct banyan_buf *ret, struct banyan_error *err);

#endif
