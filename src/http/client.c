/* SPDX-License-Identifier: Apache-2.0 */
/* The client: blocking sockets, OpenSSL for https, and the parser of the server for the answers. */
#include "banyan/client.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "banyan/uuid.h"
#include "base/alloc.h"
#include "base/jtext.h"
#include "http/wire.h"
#include "os/random.h"

enum {
    CODE_REFUSED = 422, /* of a command */
    TIMEOUT_MS_DEFAULT = 30000,
    ANSWER_BYTES_MAX = 512 * 1024 * 1024,
    PAGE_EVENTS = 500,
    BLOCK = 64 * 1024,
};

struct banyan_client {
    char *host, *port, *token;
    char host_header[300];
    bool bracketed;
    int64_t timeout_ms;
    SSL_CTX *tls; /* NULL: plain */
    SSL *ssl;
    int fd;                  /* -1: not connected */
    bool reused;             /* an answer came on this connection before */
    struct banyan_buf input; /* received, from *at* on not looked at */
    size_t at;
};

/* ---- the address ---- */

static enum banyan_status parse_url(struct banyan_client *client, const char *url, bool *ret_tls,
                                    struct banyan_error *err)
{
    *ret_tls = strncmp(url, "https://", 8) == 0;
    const char *host = *ret_tls ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
    const char *end = host == NULL ? NULL : host + strcspn(host, "/?#");
    const char *bracket = host != NULL && host[0] == '[' ? strchr(host, ']') : NULL;
    const char *colon = host == NULL ? NULL : strchr(bracket != NULL ? bracket : host, ':');
    if (host == NULL || (end[0] != '\0' && strcmp(end, "/") != 0) || end == host || end - host > 255)
        return banyan_error_set(err, BANYAN_INVALID, "\"%.200s\" is no address such as http://127.0.0.1:7070", url);
    if (colon != NULL && colon > end)
        colon = NULL;
    client->bracketed = bracket != NULL;
    struct banyan_buf text = BANYAN_BUF_INIT(1024);
    const char *from = bracket != NULL ? host + 1 : host;
    const char *to = bracket != NULL ? bracket : colon != NULL ? colon : end;
    banyan_buf_add(&text, from, (size_t)(to - from));
    client->host = alloc_text(text.data == NULL ? "" : text.data);
    banyan_buf_reset(&text);
    banyan_buf_add(&text, colon == NULL ? "" : colon + 1, colon == NULL ? 0 : (size_t)(end - colon - 1));
    client->port = alloc_text(text.size == 0 ? (*ret_tls ? "443" : "80") : text.data);
    (void)snprintf(client->host_header, sizeof(client->host_header), "%.*s", (int)(end - host), host); /* 255 at most */
    banyan_buf_release(&text);
    return BANYAN_OK;
}

enum banyan_status banyan_client_open(const struct banyan_client_options *options, struct banyan_client **ret,
                                      struct banyan_error *err)
{
    struct banyan_client *client = alloc_zeroed(1, sizeof(*client));
    bool tls = false;
    client->fd = -1;
    client->timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : options->timeout_ms;
    client->token = options->token == NULL ? NULL : alloc_text(options->token);
    client->input = (struct banyan_buf)BANYAN_BUF_INIT(ANSWER_BYTES_MAX);
    enum banyan_status st = parse_url(client, options->url, &tls, err);
    if (st == BANYAN_OK && client->token != NULL && strpbrk(client->token, "\r\n") != NULL)
        st = banyan_error_set(err, BANYAN_INVALID, "the token holds a line end");
    if (st == BANYAN_OK && tls) {
        client->tls = SSL_CTX_new(TLS_client_method());
        if (client->tls == NULL || SSL_CTX_set_min_proto_version(client->tls, TLS1_2_VERSION) != 1 ||
            (options->ca_file != NULL ? SSL_CTX_load_verify_locations(client->tls, options->ca_file, NULL)
                                      : SSL_CTX_set_default_verify_paths(client->tls)) != 1)
            st = banyan_error_set(err, BANYAN_CONFIG, "cannot use %s",
                                  options->ca_file == NULL ? "the system's certificates" : options->ca_file);
        else
            SSL_CTX_set_verify(client->tls, SSL_VERIFY_PEER, NULL);
        ERR_clear_error();
    }
    if (st == BANYAN_OK)
        *ret = client;
    else
        banyan_client_close(client);
    return st;
}

/* ---- the connection ---- */

static void hang_up(struct banyan_client *client)
{
    SSL_free(client->ssl);
    client->ssl = NULL;
    if (client->fd >= 0)
        (void)close(client->fd); /* whatever was not sent is lost anyway */
    client->fd = -1;
    client->reused = false;
    client->at = 0;
    banyan_buf_reset(&client->input);
}

void banyan_client_close(struct banyan_client *client)
{
    if (client == NULL)
        return;
    hang_up(client);
    SSL_CTX_free(client->tls);
    banyan_buf_release(&client->input);
    if (client->token != NULL)
        explicit_bzero(client->token, strlen(client->token));
    free(client->token);
    free(client->host);
    free(client->port);
    free(client);
}

static enum banyan_status unavailable(struct banyan_client *client, const char *why, struct banyan_error *err)
{
    bool late = errno == EAGAIN || errno == EWOULDBLOCK;
    banyan_error_set(err, late ? BANYAN_TIMEOUT : BANYAN_UNAVAILABLE, "%s:%s: %s", client->host, client->port,
                     late ? "no answer in time" : why);
    if (!late)
        banyan_error_hint(err, "is `banyan serve` running there?");
    hang_up(client);
    return late ? BANYAN_TIMEOUT : BANYAN_UNAVAILABLE;
}

static enum banyan_status shake_hands(struct banyan_client *client, struct banyan_error *err)
{
    client->ssl = SSL_new(client->tls);
    if (client->ssl == NULL || SSL_set_tlsext_host_name(client->ssl, client->host) != 1 ||
        SSL_set1_host(client->ssl, client->host) != 1 || SSL_set_fd(client->ssl, client->fd) != 1)
        return unavailable(client, "cannot prepare TLS", err);
    X509_VERIFY_PARAM *param = SSL_get0_param(client->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, client->host) == 1) /* an address: the name does not have to fit */
        (void)X509_VERIFY_PARAM_set1_host(param, NULL, 0);
    errno = 0;
    if (SSL_connect(client->ssl) == 1)
        return BANYAN_OK;
    long verify = SSL_get_verify_result(client->ssl);
    ERR_clear_error();
    if (verify != X509_V_OK) {
        hang_up(client);
        return banyan_error_set(err, BANYAN_AUTH, "%s: the certificate is not good: %s", client->host,
                                X509_verify_cert_error_string(verify));
    }
    return unavailable(client, "no TLS there", err);
}

static enum banyan_status dial(struct banyan_client *client, struct banyan_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval limit = {client->timeout_ms / 1000, client->timeout_ms % 1000 * 1000};
    int on = 1, code = getaddrinfo(client->host, client->port, &hints, &found);
    if (code != 0) {
        errno = 0;
        return unavailable(client, gai_strerror(code), err);
    }
    for (const struct addrinfo *address = found; address != NULL && client->fd < 0; address = address->ai_next) {
        client->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (client->fd < 0)
            continue;
        (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)); /* else it waits for longer */
        (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(client->fd, address->ai_addr, address->ai_addrlen) == 0)
            break;
        (void)close(client->fd); /* it is not connected */
        client->fd = -1;
    }
    freeaddrinfo(found);
    if (client->fd < 0)
        return unavailable(client, "nothing answers", err);
    return client->tls == NULL ? BANYAN_OK : shake_hands(client, err);
}

static bool send_all(struct banyan_client *client, struct banyan_str data)
{
    while (data.size > 0) {
        size_t piece = data.size > 1 << 20 ? 1 << 20 : data.size;
        ssize_t sent = client->ssl != NULL ? SSL_write(client->ssl, data.data, (int)piece)
                                           : send(client->fd, data.data, piece, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data.data += sent;
        data.size -= (size_t)sent;
    }
    return true;
}

/* More input; 0: the end, -1: errno says why. */
static ssize_t receive(struct banyan_client *client)
{
    if (client->at > 0 && client->at == client->input.size) {
        client->at = 0;
        client->input.size = 0;
    }
    char *to = banyan_buf_extend(&client->input, BLOCK);
    if (to == NULL) {
        errno = EMSGSIZE;
        return -1;
    }
    errno = 0;
    ssize_t got = client->ssl != NULL ? SSL_read(client->ssl, to, BLOCK) : recv(client->fd, to, BLOCK, 0);
    client->input.size -= BLOCK - (got > 0 ? (size_t)got : 0);
    ERR_clear_error();
    return got;
}

static struct banyan_str unread(const struct banyan_client *client)
{
    return (struct banyan_str){client->input.data + client->at, client->input.size - client->at};
}

/* ---- a request ---- */

static void add_head(struct banyan_client *client, struct banyan_buf *text, const char *method, const char *path,
                     const char *header, struct banyan_str body)
{
    banyan_buf_printf(text, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, client->host_header);
    if (client->token != NULL)
        banyan_buf_printf(text, "Authorization: Bearer %s\r\n", client->token);
    if (header != NULL)
        banyan_buf_add_text(text, header);
    if (body.data != NULL)
        banyan_buf_printf(text, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.size);
    banyan_buf_add_text(text, "\r\n");
}

/* Send, and read the head of the answer; its bytes are left out of the input. */
static enum banyan_status exchange(struct banyan_client *client, const char *method, const char *path,
                                   const char *header, struct banyan_str body, struct wire_head *ret,
                                   struct banyan_error *err)
{
    struct banyan_buf head = BANYAN_BUF_INIT(64 * 1024);
    enum banyan_status st = BANYAN_OK;
    const char *fault = NULL;
    add_head(client, &head, method, path, header, body);
    if (head.overflow)
        st = banyan_error_set(err, BANYAN_INVALID, "the path or a header is too long");
    for (bool again = true; again && st == BANYAN_OK;) {
        again = client->reused; /* the server may have ended an idle connection: once more on a new one */
        if (client->fd < 0)
            st = dial(client, err);
        if (st != BANYAN_OK)
            break;
        bool sent = send_all(client, banyan_buf_str(&head)) && (body.size == 0 || send_all(client, body));
        enum wire_result result = WIRE_MORE;
        ssize_t got = 1; /* an answer may be there although not everything was taken */
        while (result == WIRE_MORE && got > 0) {
            got = receive(client);
            result = got <= 0 ? WIRE_MORE : wire_answer(unread(client), ret, &fault);
            if (result == WIRE_OK && ret->code == 100) {
                client->at += ret->size;
                result = WIRE_MORE;
            }
        }
        if (result == WIRE_OK)
            break;
        bool empty = client->input.size == client->at && (got == 0 || errno == ECONNRESET || errno == EPIPE);
        if (again && empty)
            hang_up(client);
        else if (result != WIRE_MORE)
            st = banyan_error_set(err, BANYAN_PROTOCOL, "%s: %s", client->host, fault);
        else
            st = unavailable(client, sent ? "it ended the connection" : "the connection broke", err);
    }
    if (st == BANYAN_OK)
        client->at += ret->size;
    else
        hang_up(client);
    banyan_buf_release(&head);
    return st;
}

/* The body of an answer that ends: by its length, by chunks, or with the connection. */
static enum banyan_status read_body(struct banyan_client *client, const struct wire_head *head, struct banyan_buf *ret,
                                    struct banyan_error *err)
{
    struct wire_chunks chunks = {.state = WIRE_CHUNK_SIZE};
    uint64_t left = head->length;
    for (;;) {
        struct banyan_str data = unread(client), piece = data;
        size_t used = 0;
        if (head->chunked) {
            enum wire_result result = wire_chunk(&chunks, data, &used, &piece);
            if (result == WIRE_BAD)
                return banyan_error_set(err, BANYAN_PROTOCOL, "%s: an answer is not chunked as it has to be",
                                        client->host);
        } else {
            used = head->has_length && data.size > left ? (size_t)left : data.size;
            piece.size = used;
            left -= head->has_length ? used : 0;
        }
        banyan_buf_add_str(ret, piece);
        client->at += used;
        if (ret->overflow)
            return banyan_error_set(err, BANYAN_LIMIT, "the answer is longer than %d bytes", ANSWER_BYTES_MAX);
        if (head->chunked ? chunks.state == WIRE_CHUNK_DONE : head->has_length && left == 0)
            return BANYAN_OK;
        if (used > 0 && head->chunked)
            continue;
        ssize_t got = receive(client);
        if (got == 0 && !head->has_length && !head->chunked)
            return BANYAN_OK;
        if (got <= 0)
            return unavailable(client, "the answer was cut", err);
    }
}

enum banyan_status banyan_client_request(struct banyan_client *client, const char *method, const char *path,
                                         const char *header, struct banyan_str body, struct banyan_client_answer *ret,
                                         struct banyan_error *err)
{
    struct banyan_client_answer answer = {.body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX)};
    struct wire_head *head = alloc_zeroed(1, sizeof(*head));
    enum banyan_status st = exchange(client, method, path, header, body, head, err);
    bool keep = false;
    if (st == BANYAN_OK) {
        answer.code = head->code;
        /* The head's spans are in the input, which moves from here on. */
        keep = head->keep_alive && (head->has_length || head->chunked || head->code == 304);
        if (head->code != 304 && strcmp(method, "HEAD") != 0)
            st = read_body(client, head, &answer.body, err);
    }
    if (st != BANYAN_OK || !keep)
        hang_up(client);
    client->reused = client->fd >= 0;
    if (st == BANYAN_OK)
        *ret = answer;
    else
        banyan_buf_release(&answer.body);
    free(head);
    return st;
}

enum banyan_status banyan_client_status(const struct banyan_client_answer *answer, struct banyan_error *err)
{
    struct jtext_input in = jtext_input(banyan_buf_str(&answer->body));
    struct banyan_buf code = BANYAN_BUF_INIT(64), detail = BANYAN_BUF_INIT(4096), hint = BANYAN_BUF_INIT(4096);
    struct banyan_str name, raw;
    enum banyan_status st = answer->code >= 500 ? BANYAN_UNAVAILABLE : BANYAN_INVALID;
    if (answer->code >= 200 && answer->code < 300)
        return BANYAN_OK;
    if (jtext_object(&in)) {
        while (jtext_member(&in, &name)) {
            struct banyan_buf *to = jtext_is(name, "code")     ? &code
                                    : jtext_is(name, "detail") ? &detail
                                    : jtext_is(name, "hint")   ? &hint
                                                               : NULL;
            if (to != NULL && to->size == 0 && jtext_peek(&in) == JTEXT_STRING && jtext_string(&in, &raw))
                jtext_unescape(raw, to);
            else
                (void)jtext_skip(&in, &raw); /* a fault ends the loop */
        }
    }
    for (int i = 1; i < BANYAN_STATUS_COUNT && code.data != NULL; i++)
        if (strcmp(code.data, banyan_status_name((enum banyan_status)i)) == 0)
            st = (enum banyan_status)i;
    if (answer->code == 404)
        st = BANYAN_NOT_FOUND;
    banyan_error_set(err, st, "%s", detail.data == NULL ? "the server refused" : detail.data);
    if (hint.data != NULL)
        banyan_error_hint(err, "%s", hint.data);
    banyan_buf_release(&code);
    banyan_buf_release(&detail);
    banyan_buf_release(&hint);
    return st;
}

/* ---- append ---- */

static void add_escaped(struct banyan_buf *path, struct banyan_str name)
{
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.';
        if (plain)
            banyan_buf_add_char(path, (char)c);
        else
            banyan_buf_printf(path, "%%%02X", c);
    }
}

static void add_event(struct banyan_buf *body, const struct banyan_client_event *event)
{
    banyan_buf_add_text(body, "{\"type\":");
    banyan_buf_add_json(body, event->type);
    if (event->id.size > 0) {
        banyan_buf_add_text(body, ",\"id\":");
        banyan_buf_add_json(body, event->id);
    }
    if (event->meta.size > 0) {
        banyan_buf_add_text(body, ",\"meta\":");
        banyan_buf_add_str(body, event->meta);
    }
    banyan_buf_add_text(body, ",\"payload\":");
    banyan_buf_add_str(body, event->payload.size > 0 ? event->payload : BANYAN_STR("{}"));
    banyan_buf_add_char(body, '}');
}

/* What a request says of repeats and of the version that it expects. */
static void add_conditions(struct banyan_buf *header, const char *key, enum banyan_client_expect expect,
                           struct banyan_version version)
{
    char made[BANYAN_UUID_TEXT_SIZE];
    banyan_uuid_format(os_uuid_new(), made);
    banyan_buf_printf(header, "Idempotency-Key: %s\r\n", key == NULL ? made : key);
    if (expect == BANYAN_CLIENT_VERSION)
        banyan_buf_printf(header, "If-Match: \"%" PRIu64 "\"\r\n", version.value);
    else if (expect != BANYAN_CLIENT_ANY)
        banyan_buf_add_text(header, expect == BANYAN_CLIENT_EXISTS ? "If-Match: *\r\n" : "If-None-Match: *\r\n");
}

static bool number_of(struct jtext_input *in, uint64_t *ret)
{
    struct banyan_str text;
    return jtext_number(in, &text) && wire_number(text, ret);
}

static enum banyan_status read_appended(struct banyan_str body, struct banyan_client_appended *ret,
                                        struct banyan_error *err)
{
    struct jtext_input in = jtext_input(body);
    struct banyan_str name, raw;
    bool good = true;
    if (jtext_object(&in))
        while (good && jtext_member(&in, &name))
            good = jtext_is(name, "first")      ? number_of(&in, &ret->first.value)
                   : jtext_is(name, "last")     ? number_of(&in, &ret->last.value)
                   : jtext_is(name, "version")  ? number_of(&in, &ret->version.value)
                   : jtext_is(name, "repeated") ? jtext_boolean(&in, &ret->repeated)
                                                : jtext_skip(&in, &raw);
    if (good && jtext_end(&in) && ret->last.value > 0)
        return BANYAN_OK;
    return banyan_error_set(err, BANYAN_PROTOCOL, "the server answered what is no answer to an append");
}

enum banyan_status banyan_client_append(struct banyan_client *client, const struct banyan_client_append *append,
                                        struct banyan_client_appended *ret, struct banyan_error *err)
{
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX), path = BANYAN_BUF_INIT(8192),
                      header = BANYAN_BUF_INIT(1024);
    struct banyan_client_answer answer = {.body = BANYAN_BUF_INIT(0)};
    struct banyan_client_appended appended = {.repeated = false};
    enum banyan_status st = BANYAN_OK;
    banyan_buf_add_text(&path, "/streams/");
    add_escaped(&path, append->stream);
    add_conditions(&header, append->key, append->expect, append->version);
    for (size_t i = 0; i < append->event_count; i++) {
        banyan_buf_add_char(&body, i > 0 ? ',' : '[');
        add_event(&body, &append->events[i]);
    }
    banyan_buf_add_char(&body, ']');
    if (body.overflow || path.overflow || header.overflow || append->event_count == 0 ||
        (append->key != NULL && strpbrk(append->key, "\r\n") != NULL))
        st = banyan_error_set(err, BANYAN_INVALID, "the append is empty, too large, or its key holds a line end");
    if (st == BANYAN_OK)
        st = banyan_client_request(client, "POST", path.data, header.data, banyan_buf_str(&body), &answer, err);
    if (st == BANYAN_OK)
        st = banyan_client_status(&answer, err);
    if (st == BANYAN_OK)
        st = read_appended(banyan_buf_str(&answer.body), &appended, err);
    if (st == BANYAN_OK)
        *ret = appended;
    banyan_buf_release(&answer.body);
    banyan_buf_release(&header);
    banyan_buf_release(&path);
    banyan_buf_release(&body);
    return st;
}

/* ---- command ---- */

/* A JSON string into room for *size* bytes; what does not fit is cut. */
static bool text_of(struct jtext_input *in, char *to, size_t size)
{
    struct banyan_buf text = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);
    struct banyan_str raw;
    if (!jtext_string(in, &raw))
        return false;
    jtext_unescape(raw, &text);
    (void)snprintf(to, size, "%s", text.data == NULL ? "" : text.data); /* cut on purpose */
    banyan_buf_release(&text);
    return true;
}

static enum banyan_status read_decided(struct banyan_str body, bool accepted, struct banyan_client_decided *ret,
                                       struct banyan_error *err)
{
    struct jtext_input in = jtext_input(body);
    struct banyan_str name, raw;
    bool good = true;
    ret->accepted = accepted;
    if (jtext_object(&in))
        while (good && jtext_member(&in, &name))
            good = jtext_is(name, "position")   ? number_of(&in, &ret->position.value)
                   : jtext_is(name, "version")  ? number_of(&in, &ret->version.value)
                   : jtext_is(name, "events")   ? number_of(&in, &ret->events)
                   : jtext_is(name, "repeated") ? jtext_boolean(&in, &ret->repeated)
                   : jtext_is(name, "refusal")  ? text_of(&in, ret->refusal, sizeof(ret->refusal))
                   : jtext_is(name, "detail")   ? text_of(&in, ret->text, sizeof(ret->text))
                                                : jtext_skip(&in, &raw);
    if (good && jtext_end(&in) && (accepted || ret->refusal[0] != '\0'))
        return BANYAN_OK;
    return banyan_error_set(err, BANYAN_PROTOCOL, "the server answered what is no answer to a command");
}

enum banyan_status banyan_client_command(struct banyan_client *client, const struct banyan_client_command *command,
                                         struct banyan_client_decided *ret, struct banyan_error *err)
{
    const char *key = command->idempotency_key;
    struct banyan_buf path = BANYAN_BUF_INIT(8192), header = BANYAN_BUF_INIT(1024);
    struct banyan_client_answer answer = {.body = BANYAN_BUF_INIT(0)};
    struct banyan_client_decided decided = {.accepted = false};
    enum banyan_status st = BANYAN_OK;
    banyan_buf_add_text(&path, "/commands/");
    add_escaped(&path, command->category);
    banyan_buf_add_char(&path, '/');
    add_escaped(&path, command->key);
    banyan_buf_add_char(&path, '/');
    add_escaped(&path, command->name);
    add_conditions(&header, key, command->expect, command->version);
    if (path.overflow || header.overflow || (key != NULL && strpbrk(key, "\r\n") != NULL))
        st = banyan_error_set(err, BANYAN_INVALID, "the command is too large, or its key holds a line end");
    if (st == BANYAN_OK)
        st = banyan_client_request(client, "POST", path.data, header.data,
                                   command->fields.size > 0 ? command->fields : BANYAN_STR("{}"), &answer, err);
    if (st == BANYAN_OK && answer.code != CODE_REFUSED)
        st = banyan_client_status(&answer, err);
    if (st == BANYAN_OK)
        st = read_decided(banyan_buf_str(&answer.body), answer.code != CODE_REFUSED, &decided, err);
    if (st == BANYAN_OK)
        *ret = decided;
    banyan_buf_release(&answer.body);
    banyan_buf_release(&header);
    banyan_buf_release(&path);
    return st;
}

/* ---- read and follow ---- */

static bool read_seen(struct banyan_str json, struct banyan_client_seen *ret)
{
    struct jtext_input in = jtext_input(json);
    struct banyan_str name, raw;
    bool good = jtext_object(&in);
    *ret = (struct banyan_client_seen){.json = json};
    while (good && jtext_member(&in, &name))
        good = jtext_is(name, "position")      ? number_of(&in, &ret->position.value)
               : jtext_is(name, "version")     ? number_of(&in, &ret->version.value)
               : jtext_is(name, "stream")      ? jtext_string(&in, &ret->stream)
               : jtext_is(name, "type")        ? jtext_string(&in, &ret->type)
               : jtext_is(name, "id")          ? jtext_string(&in, &ret->id)
               : jtext_is(name, "at")          ? jtext_string(&in, &ret->at)
               : jtext_is(name, "recorded_at") ? jtext_string(&in, &ret->recorded_at)
               : jtext_is(name, "payload")     ? jtext_skip(&in, &ret->payload)
               : jtext_is(name, "meta")        ? jtext_skip(&in, &ret->meta)
                                               : jtext_skip(&in, &raw);
    return good && jtext_end(&in);
}

static enum banyan_status not_an_event(struct banyan_client *client, struct banyan_error *err)
{
    hang_up(client);
    return banyan_error_set(err, BANYAN_PROTOCOL, "%s sent what is no event", client->host);
}

enum banyan_status banyan_client_read(struct banyan_client *client, struct banyan_str stream,
                                      struct banyan_version from, banyan_client_see see, void *context,
                                      struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    uint64_t next = from.value == 0 ? 1 : from.value;
    bool more = true;
    while (st == BANYAN_OK && more) {
        struct banyan_client_answer answer = {.body = BANYAN_BUF_INIT(0)};
        struct banyan_buf path = BANYAN_BUF_INIT(8192);
        size_t count = 0;
        banyan_buf_add_text(&path, "/streams/");
        add_escaped(&path, stream);
        banyan_buf_printf(&path, "?from=%" PRIu64 "&limit=%d", next, PAGE_EVENTS);
        st = banyan_client_request(client, "GET", path.data, "Accept: application/x-ndjson\r\n",
                                   (struct banyan_str){NULL, 0}, &answer, err);
        if (st == BANYAN_OK)
            st = banyan_client_status(&answer, err);
        const char *at = answer.body.data, *end = at == NULL ? NULL : at + answer.body.size;
        while (st == BANYAN_OK && at != NULL && at < end && more) {
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            struct banyan_client_seen seen;
            stop = stop == NULL ? end : stop;
            if (!read_seen((struct banyan_str){at, (size_t)(stop - at)}, &seen))
                st = not_an_event(client, err);
            else
                more = see(context, &seen);
            next = seen.version.value + 1;
            at = stop + 1;
            count++;
        }
        more = more && count > 0; /* an empty page is the end */
        banyan_buf_release(&answer.body);
        banyan_buf_release(&path);
    }
    return st;
}

/* One block of a subscription.  False: enough, or *ret_status is a failure. */
static bool take_block(struct banyan_client *client, struct banyan_str block, uint64_t *after, banyan_client_see see,
                       void *context, enum banyan_status *ret_status, struct banyan_error *err)
{
    struct banyan_str data = {NULL, 0}, name = {NULL, 0};
    struct banyan_client_seen seen;
    uint64_t id = *after;
    for (const char *at = block.data, *end = at + block.size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        struct banyan_str line = {at, (size_t)(stop - at)};
        if (line.size > 4 && memcmp(line.data, "id: ", 4) == 0)
            (void)wire_number((struct banyan_str){line.data + 4, line.size - 4}, &id); /* else it stays */
        else if (line.size > 6 && memcmp(line.data, "data: ", 6) == 0)
            data = (struct banyan_str){line.data + 6, line.size - 6};
        else if (line.size > 7 && memcmp(line.data, "event: ", 7) == 0)
            name = (struct banyan_str){line.data + 7, line.size - 7};
        at = stop + 1;
    }
    bool error = banyan_str_equal(name, BANYAN_STR("error"));
    if (error || (data.data != NULL && !read_seen(data, &seen))) {
        *ret_status = error ? banyan_error_set(err, BANYAN_UNAVAILABLE, "the server ended: %.*s",
                                               (int)(data.size > 500 ? 500 : data.size), data.data)
                            : not_an_event(client, err);
        return false;
    }
    if (data.data != NULL) {
        seen.caught_up = banyan_str_equal(name, BANYAN_STR("caught-up"));
        *after = id; /* the callback has it: whatever it says, it is given */
        return see(context, &seen);
    }
    *after = id;
    return true;
}

enum banyan_status banyan_client_follow(struct banyan_client *client, struct banyan_str stream, uint64_t *after,
                                        banyan_client_see see, void *context, struct banyan_error *err)
{
    struct banyan_buf path = BANYAN_BUF_INIT(8192);
    struct wire_head *head = alloc_zeroed(1, sizeof(*head));
    bool more = true;
    banyan_buf_add_text(&path, stream.data == NULL ? "/events/subscribe" : "/streams/");
    if (stream.data != NULL) {
        add_escaped(&path, stream);
        banyan_buf_add_text(&path, "/subscribe");
    }
    banyan_buf_printf(&path, "?after=%" PRIu64, *after);
    enum banyan_status st = exchange(client, "GET", path.data, NULL, (struct banyan_str){NULL, 0}, head, err);
    if (st == BANYAN_OK && head->code != 200) {
        struct banyan_client_answer answer = {.code = head->code, .body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX)};
        st = read_body(client, head, &answer.body, err);
        if (st == BANYAN_OK)
            st = banyan_client_status(&answer, err);
        banyan_buf_release(&answer.body);
        more = false;
    }
    size_t looked = 0; /* of the unread input, without the end of a block */
    while (st == BANYAN_OK && more) {
        struct banyan_str data = unread(client);
        const char *gap = data.size <= looked ? NULL : memmem(data.data + looked, data.size - looked, "\n\n", 2);
        if (gap != NULL) {
            struct banyan_str block = {data.data, (size_t)(gap - data.data)};
            more = take_block(client, block, after, see, context, &st, err);
            client->at += block.size + 2;
            looked = 0;
            continue;
        }
        looked = data.size > 0 ? data.size - 1 : 0;
        if (client->at > ANSWER_BYTES_MAX / 4) { /* what was given makes room */
            memmove(client->input.data, data.data, data.size);
            client->input.size = data.size;
            client->at = 0;
        }
        if (receive(client) <= 0)
            st = unavailable(client, "the subscription ended", err);
    }
    hang_up(client);
    banyan_buf_release(&path);
    free(head);
    return st;
}
