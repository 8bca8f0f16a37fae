/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_rows FOLDER CONNINFO [DOMAIN]   the legacy tables against the fold of the log (domain trading unless told);
 * prints what differs, and fails then.  The store may be in use: what was durable at the start is compared.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commerce/commerce.h"
#include "support/log_rows.h"
#include "trading/trading.h"

int main(int argc, char **argv)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf report = BANYAN_BUF_INIT((size_t)1 << 28);
    struct pg_conn *conn = NULL;
    struct store *store = NULL;
    uint64_t rows = 0, differences = 0;
    if (argc < 3 || argc > 4) {
        fputs("usage: compare_rows FOLDER CONNINFO [DOMAIN]\n", stderr);
        return 2;
    }
    bool commerce = argc == 4 && strcmp(argv[3], "commerce") == 0;
    struct store_options options = {.folder = argv[1], .read_only = true};
    enum banyan_status status = store_open(&options, &store, &err);
    if (status == BANYAN_OK)
        status = pg_connect(&(struct pg_options){.conninfo = argv[2], .application_name = "compare"}, &conn, &err);
    if (status == BANYAN_OK)
        status = log_rows_compare(store, commerce ? &banyan_domain_commerce : &banyan_domain_trading, conn, &report,
                                  &rows, &differences, &err);
    pg_close(conn);
    store_close(store);
    if (status != BANYAN_OK) {
        fprintf(stderr, "compare_rows: %s\n", err.message);
        return 1;
    }
    fwrite(report.data, 1, report.size, stdout);
    printf("%" PRIu64 " rows, %" PRIu64 " differences\n", rows, differences);
    banyan_buf_release(&report);
    return differences == 0 ? 0 : 1;
}
