/* SPDX-License-Identifier: Apache-2.0 */
/* The version that commands and HTTP answers show; meson.build's project version is the same (make check). */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

#define CLI_VERSION "0.1.0"

#endif
