/* SPDX-License-Identifier: Apache-2.0 */
/* What file_real.c and file_test.c share: the file itself. */
#ifndef OS_FILE_INT_H
#define OS_FILE_INT_H

#include "os/file.h"

struct os_file {
    int fd;
    char *path;                   /* owned; for messages */
    struct os_files_test *faults; /* borrowed; NULL when opened through os_files_real() */
};

#endif
