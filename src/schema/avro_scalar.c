/* SPDX-License-Identifier: Apache-2.0 */
/* Values that contain no other: reading, checking, promoting, writing in their one form. */
#include <assert.h>
#include <math.h>

#include "banyan/decimal.h"
#include "banyan/uuid.h"
#include "schema/avro_value.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are stored as they lie in memory");

enum {
    DAY_SECONDS = 86400,
};

/* The one NaN of the stored form. */
static const uint32_t nan_single = 0x7FC00000;
static const uint64_t nan_number = 0x7FF8000000000000;

/* ---- checking ---- */

static const char *integer_fault(const struct avro_type *type, int64_t value)
{
    if (type->logical == AVRO_TIME_MILLIS && (value < 0 || value >= INT64_C(1000) * DAY_SECONDS))
        return "the time is not within a day";
    if (type->logical == AVRO_TIME_MICROS && (value < 0 || value >= INT64_C(1000000) * DAY_SECONDS))
        return "the time is not within a day";
    return NULL;
}

static const char *decimal_fault(const struct avro_type *type, const struct avro_scalar *value)
{
    if (value->bytes.size == 0) /* the record codec's "not a number" */
        return type->kind == AVRO_BYTES ? NULL : "the decimal has no bytes";
    if (!banyan_decimal_fits((struct banyan_decimal){value->units, 0}, (int32_t)type->precision))
        return "the decimal has more digits than its precision";
    return NULL;
}

const char *avro_scalar_fault(const struct avro_type *type, const struct avro_scalar *value)
{
    struct banyan_uuid uuid;
    switch (type->logical) {
    case AVRO_TIME_MILLIS:
    case AVRO_TIME_MICROS:
        return integer_fault(type, value->integer);
    case AVRO_DECIMAL:
        return decimal_fault(type, value);
    case AVRO_UUID:
        return banyan_uuid_parse(value->bytes, &uuid) ? NULL : "the text is not a UUID";
    case AVRO_PLAIN:
    case AVRO_DATE:
    case AVRO_TIMESTAMP_MILLIS:
    case AVRO_TIMESTAMP_MICROS:
    case AVRO_LOCAL_TIMESTAMP_MILLIS:
    case AVRO_LOCAL_TIMESTAMP_MICROS:
    case AVRO_LOGICALS:
        break;
    }
    return NULL;
}

/* ---- reading ---- */

static const char *read_single(struct wire_input *in, float *ret)
{
    struct banyan_str bytes;
    uint32_t bits;
    const char *fault = wire_get_raw(in, sizeof(bits), &bytes);
    if (fault != NULL)
        return fault;
    memcpy(&bits, bytes.data, sizeof(bits));
    memcpy(ret, &bits, sizeof(bits));
    if (isnan(*ret) && bits != nan_single)
        in->irregular = "the NaN is not the one of the stored form";
    return NULL;
}

static const char *read_number(struct wire_input *in, double *ret)
{
    struct banyan_str bytes;
    uint64_t bits;
    const char *fault = wire_get_raw(in, sizeof(bits), &bytes);
    if (fault != NULL)
        return fault;
    memcpy(&bits, bytes.data, sizeof(bits));
    memcpy(ret, &bits, sizeof(bits));
    if (isnan(*ret) && bits != nan_number)
        in->irregular = "the NaN is not the one of the stored form";
    return NULL;
}

/* Units from the bytes.  In a fixed the sign fills the bytes: that is its one form. */
static const char *read_units(struct wire_input *in, const struct avro_type *type, struct avro_scalar *value)
{
    const char *before = in->irregular;
    value->units = 0;
    const char *fault = value->bytes.size == 0 ? NULL : wire_units(in, value->bytes, &value->units);
    if (type->kind == AVRO_FIXED)
        in->irregular = before;
    return fault != NULL ? fault : decimal_fault(type, value);
}

static const char *read_kind(struct wire_input *in, const struct avro_type *type, struct avro_scalar *ret)
{
    const char *fault;
    bool truth = false;
    switch (type->kind) {
    case AVRO_NULL:
        return NULL;
    case AVRO_BOOLEAN:
        fault = wire_get_boolean(in, &truth);
        ret->integer = truth;
        return fault;
    case AVRO_INT:
        fault = wire_get_long(in, &ret->integer);
        if (fault == NULL && ret->integer != (int32_t)ret->integer)
            fault = "the integer has more than 32 bits";
        return fault;
    case AVRO_ENUM:
        fault = wire_get_long(in, &ret->integer);
        if (fault == NULL && (ret->integer < 0 || (uint64_t)ret->integer >= type->symbol_count))
            fault = "the enum has no such symbol";
        return fault;
    case AVRO_LONG:
        return wire_get_long(in, &ret->integer);
    case AVRO_FLOAT:
        return read_single(in, &ret->single);
    case AVRO_DOUBLE:
        return read_number(in, &ret->number);
    case AVRO_BYTES:
    case AVRO_STRING:
        return wire_get_bytes(in, &ret->bytes);
    case AVRO_FIXED:
        return wire_get_raw(in, type->size, &ret->bytes);
    case AVRO_NONE:
    case AVRO_RECORD:
    case AVRO_ARRAY:
    case AVRO_MAP:
    case AVRO_UNION:
    case AVRO_KINDS:
        break;
    }
    return "the type is no scalar";
}

bool avro_read_scalar(struct avro_walk *walk, const struct avro_type *type, struct avro_scalar *ret)
{
    const char *fault = read_kind(&walk->in, type, ret);
    if (fault == NULL && type->logical != AVRO_PLAIN)
        fault = type->logical == AVRO_DECIMAL ? read_units(&walk->in, type, ret) : avro_scalar_fault(type, ret);
    return avro_accept(walk, fault);
}

/* ---- promoting ---- */

bool avro_convert_scalar(struct avro_walk *walk, const struct avro_type *writer, const struct avro_type *reader,
                         struct avro_scalar *value)
{
    bool integer = writer->kind == AVRO_INT || writer->kind == AVRO_LONG;
    if (reader->kind == AVRO_FLOAT && integer)
        value->single = (float)value->integer;
    else if (reader->kind == AVRO_DOUBLE && integer)
        value->number = (double)value->integer;
    else if (reader->kind == AVRO_DOUBLE && writer->kind == AVRO_FLOAT)
        value->number = (double)value->single;
    const char *fault = NULL;
    const char *before = walk->in.irregular;
    if (reader->logical == AVRO_DECIMAL)
        fault = read_units(&walk->in, reader, value); /* the writer may not have known that it is one */
    else if (reader->logical != AVRO_PLAIN)
        fault = avro_scalar_fault(reader, value);
    walk->in.irregular = before;
    return fault == NULL || avro_fault_set(&walk->fault, BANYAN_CONFLICT, fault);
}

/* ---- writing ---- */

static bool put_single(struct avro_out *out, float value)
{
    return isnan(value) ? avro_out_add(out, &nan_single, sizeof(nan_single)) : avro_out_add(out, &value, sizeof(value));
}

static bool put_number(struct avro_out *out, double value)
{
    return isnan(value) ? avro_out_add(out, &nan_number, sizeof(nan_number)) : avro_out_add(out, &value, sizeof(value));
}

static bool put_bytes(struct avro_out *out, struct banyan_str bytes)
{
    return avro_out_long(out, (int64_t)bytes.size) && avro_out_str(out, bytes);
}

static bool put_units(struct avro_out *out, const struct avro_type *type, const struct avro_scalar *value)
{
    unsigned char bytes[1 + WIRE_DECIMAL_BYTES_MAX + 8];
    if (type->kind == AVRO_BYTES) {
        if (value->bytes.size == 0)
            return avro_out_char(out, 0);
        return avro_out_add(out, bytes, (size_t)(wire_put_units(bytes, value->units) - bytes));
    }
    const size_t size = type->size;
    for (size_t i = 0; i < size; i++) {
        size_t shift = 8 * (size - 1 - i);
        if (!avro_out_char(out, (char)(shift < 128 ? value->units >> shift : value->units >> 127)))
            return false;
    }
    return true;
}

bool avro_put_scalar(struct avro_out *out, const struct avro_type *type, const struct avro_scalar *value)
{
    switch (type->kind) {
    case AVRO_BOOLEAN:
        return avro_out_char(out, (char)value->integer);
    case AVRO_INT:
    case AVRO_LONG:
    case AVRO_ENUM:
        return avro_out_long(out, value->integer);
    case AVRO_FLOAT:
        return put_single(out, value->single);
    case AVRO_DOUBLE:
        return put_number(out, value->number);
    case AVRO_BYTES:
        return type->logical == AVRO_DECIMAL ? put_units(out, type, value) : put_bytes(out, value->bytes);
    case AVRO_STRING:
        return put_bytes(out, value->bytes);
    case AVRO_FIXED:
        return type->logical == AVRO_DECIMAL ? put_units(out, type, value) : avro_out_str(out, value->bytes);
    case AVRO_NULL:
    case AVRO_NONE:
    case AVRO_RECORD:
    case AVRO_ARRAY:
    case AVRO_MAP:
    case AVRO_UNION:
    case AVRO_KINDS:
        break;
    }
    return true;
}
