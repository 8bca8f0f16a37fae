/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for the server: 1.2 at least, one certificate chain and key in PEM files. */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "http/http_int.h"

static enum banyan_status tls_error(struct banyan_error *err, const char *path)
{
    char text[256];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    banyan_error_set(err, BANYAN_CONFIG, "%s: %s", path, text);
    banyan_error_hint(err, "http.certificate_file is a PEM chain, http.key_file its PEM key without a password");
    return BANYAN_CONFIG;
}

/* A key with a password would be asked for at the terminal: refuse it instead. */
static int no_password(char *to, int size, int rwflag, void *context)
{
    (void)to, (void)size, (void)rwflag, (void)context;
    return -1;
}

enum banyan_status http_tls_open(const char *certificate_file, const char *key_file, struct ssl_ctx_st **ret,
                                 struct banyan_error *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    enum banyan_status st = BANYAN_OK;
    if (context == NULL)
        return tls_error(err, "TLS");
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION); /* known to every OpenSSL 3 */
    (void)SSL_CTX_set_options(context,
                              SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_default_passwd_cb(context, no_password);
    if (SSL_CTX_use_certificate_chain_file(context, certificate_file) != 1)
        st = tls_error(err, certificate_file);
    else if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        st = tls_error(err, key_file);
    if (st == BANYAN_OK)
        *ret = context;
    else
        SSL_CTX_free(context);
    return st;
}
