/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects that the server writes of itself. */
#include <inttypes.h>

#include "http/http_int.h"
#include "pg/conn.h"

void http_json_text(struct banyan_buf *ret, const char *key, const char *text)
{
    banyan_buf_printf(ret, ",\"%s\":", key);
    banyan_buf_add_json(ret, banyan_str_of(text));
}

void http_json_count(struct banyan_buf *ret, const char *key, uint64_t value)
{
    banyan_buf_printf(ret, ",\"%s\":%" PRIu64, key, value);
}

void http_json_ms(struct banyan_buf *ret, const char *key, int64_t us)
{
    banyan_buf_printf(ret, ",\"%s\":%.3f", key, (double)us / 1e3);
}

/* Seconds; null when not known. */
void http_json_seconds(struct banyan_buf *ret, const char *key, int64_t us)
{
    if (us == INT64_MAX)
        banyan_buf_printf(ret, ",\"%s\":null", key);
    else
        banyan_buf_printf(ret, ",\"%s\":%.3f", key, us > 0 && us < 1000 ? 0.001 : (double)us / 1e6); /* not over yet */
}

void http_json_lsn(struct banyan_buf *ret, const char *key, uint64_t lsn)
{
    char text[PG_LSN_TEXT_SIZE];
    pg_lsn_format(lsn, text);
    banyan_buf_printf(ret, ",\"%s\":\"%s\"", key, text);
}

void http_json_error(struct banyan_buf *ret, const struct banyan_error *err)
{
    if (err->status == BANYAN_OK) {
        banyan_buf_add_text(ret, ",\"error\":null");
        return;
    }
    banyan_buf_printf(ret, ",\"error\":{\"status\":\"%s\"", banyan_status_name(err->status));
    http_json_text(ret, "message", err->message);
    http_json_text(ret, "detail", err->detail);
    http_json_text(ret, "hint", err->hint);
    banyan_buf_add_char(ret, '}');
}

void http_json_time(struct banyan_buf *ret, const char *key, struct banyan_time time)
{
    banyan_buf_printf(ret, ",\"%s\":", key);
    http_add_time(ret, time);
}
