/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: who may read, append, administer.
 *
 * The file has a line a token:   name role created-at sha256-of-the-token-in-hex
 * A token is 32 random bytes, so that its plain SHA-256 is enough: there is nothing to guess.  The secret is printed
 * once, by who makes it, and is neither stored nor logged.  A server looks at the file's time once a second and reads
 * it again when it changed, so that a revoked token ends soon.
 *
 * The file is replaced as a whole, under a lock of its own, so that two who change it do not lose each other's change.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"
#include "os/random.h"

enum {
    HASH_SIZE = 32,
    TOKENS_MAX = 10000,
    LINE_MAX_SIZE = 256,
    LOOK_AGAIN_US = 1000 * 1000,
};

struct token {
    struct http_token_info info;
    uint8_t hash[HASH_SIZE];
};

struct token_list {
    struct token *tokens; /* owned */
    size_t count;
};

struct http_tokens {
    char *path;
    struct token_list list;
    struct stat seen;
    int64_t looked_us;
};

/* ---- the file ---- */

static bool parse_hex(const char *text, uint8_t *ret)
{
    for (size_t i = 0; i < HASH_SIZE; i++) {
        unsigned byte;
        if (strspn(text + 2 * i, "0123456789abcdef") < 2 || sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        ret[i] = (uint8_t)byte;
    }
    return text[2 * HASH_SIZE] == '\0';
}

static enum http_role role_of(const char *text)
{
    for (int role = HTTP_ROLE_READ; role < HTTP_ROLE_COUNT; role++)
        if (strcmp(text, http_role_name((enum http_role)role)) == 0)
            return (enum http_role)role;
    return HTTP_ROLE_NONE;
}

static bool is_token_name(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= HTTP_TOKEN_NAME_MAX &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

static bool parse_line(const char *line, struct token *ret)
{
    char role[16], created[40], hash[80];
    if (sscanf(line, "%63s %15s %39s %79s", ret->info.name, role, created, hash) != 4)
        return false;
    ret->info.role = role_of(role);
    return is_token_name(ret->info.name) && ret->info.role != HTTP_ROLE_NONE &&
           http_parse_time(created, &ret->info.created_at) && parse_hex(hash, ret->hash);
}

/* NOT_FOUND when there is no file. */
static enum banyan_status read_tokens(const char *path, struct token_list *ret, struct stat *ret_stat,
                                      struct banyan_error *err)
{
    char line[LINE_MAX_SIZE];
    enum banyan_status st = BANYAN_OK;
    struct token_list list = {NULL, 0};
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT) {
        banyan_error_set(err, BANYAN_NOT_FOUND, "there is no %s", path);
        banyan_error_hint(err, "`banyan token create` makes it");
        return BANYAN_NOT_FOUND;
    }
    if (file == NULL)
        return banyan_error_errno(err, errno, "cannot open %s", path);
    if (fstat(fileno(file), ret_stat) != 0)
        st = banyan_error_errno(err, errno, "cannot look at %s", path);
    for (unsigned number = 1; st == BANYAN_OK && fgets(line, sizeof(line), file) != NULL; number++) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        list.tokens = alloc_resized(list.tokens, list.count + 1, sizeof(*list.tokens));
        memset(&list.tokens[list.count], 0, sizeof(*list.tokens));
        if (list.count == TOKENS_MAX)
            st = banyan_error_set(err, BANYAN_LIMIT, "%s: more than %d tokens", path, TOKENS_MAX);
        else if (!parse_line(line, &list.tokens[list.count++]))
            st = banyan_error_set(err, BANYAN_CONFIG, "%s:%u: not a token: name, role, time, hash", path, number);
    }
    (void)fclose(file); /* it was only read */
    if (st == BANYAN_OK)
        *ret = list;
    else
        free(list.tokens);
    return st;
}

static enum banyan_status write_tokens(const char *path, const struct token_list *list, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(TOKENS_MAX * LINE_MAX_SIZE), temporary = BANYAN_BUF_INIT(8192);
    enum banyan_status st = BANYAN_OK;
    banyan_buf_add_text(&text, "# Tokens of banyan serve: name, role, made at, SHA-256.  `banyan token` changes it.\n");
    for (size_t i = 0; i < list->count; i++) {
        const struct token *token = &list->tokens[i];
        banyan_buf_printf(&text, "%s %s ", token->info.name, http_role_name(token->info.role));
        size_t before = text.size;
        http_add_time(&text, token->info.created_at); /* in quotes */
        memmove(text.data + before, text.data + before + 1, text.size - before - 1);
        text.size -= 2;
        banyan_buf_add_char(&text, ' ');
        for (size_t b = 0; b < HASH_SIZE; b++)
            banyan_buf_printf(&text, "%02x", token->hash[b]);
        banyan_buf_add_char(&text, '\n');
    }
    banyan_buf_printf(&temporary, "%s.new", path);
    int fd = open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.data, text.size) != (ssize_t)text.size || fsync(fd) != 0 ||
        rename(temporary.data, path) != 0)
        st = banyan_error_errno(err, errno, "cannot write %s", path);
    if (fd >= 0)
        (void)close(fd); /* it is flushed */
    banyan_buf_release(&temporary);
    banyan_buf_release(&text);
    return st;
}

/* Lock, read, change, write. */
static enum banyan_status change(const char *path,
                                 enum banyan_status (*apply)(struct token_list *, void *, struct banyan_error *),
                                 void *context, struct banyan_error *err)
{
    struct banyan_buf name = BANYAN_BUF_INIT(8192);
    struct token_list list = {NULL, 0};
    struct stat seen;
    banyan_buf_printf(&name, "%s.lock", path);
    int fd = open(name.data, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    enum banyan_status st = BANYAN_OK;
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        st = banyan_error_errno(err, errno, "cannot lock %s", name.data);
        goto out;
    }
    st = read_tokens(path, &list, &seen, NULL);
    if (st == BANYAN_NOT_FOUND)
        st = BANYAN_OK;
    else if (st != BANYAN_OK)
        st = read_tokens(path, &list, &seen, err); /* to say why */
    if (st == BANYAN_OK)
        st = apply(&list, context, err);
    if (st == BANYAN_OK)
        st = write_tokens(path, &list, err);
out:
    if (fd >= 0)
        (void)close(fd); /* gives the lock back */
    free(list.tokens);
    banyan_buf_release(&name);
    return st;
}

/* ---- making and revoking ---- */

static void hash_token(struct banyan_str token, uint8_t ret[HASH_SIZE])
{
    (void)EVP_Digest(token.data, token.size, ret, NULL, EVP_sha256(), NULL); /* of memory: cannot fail */
}

static enum banyan_status add_token(struct token_list *list, void *context, struct banyan_error *err)
{
    const struct token *fresh = context;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->tokens[i].info.name, fresh->info.name) != 0)
            continue;
        banyan_error_set(err, BANYAN_CONFLICT, "there is a token %s already", fresh->info.name);
        banyan_error_hint(err, "`banyan token revoke %s` ends it", fresh->info.name);
        return BANYAN_CONFLICT;
    }
    if (list->count == TOKENS_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "there are %d tokens already", TOKENS_MAX);
    list->tokens = alloc_resized(list->tokens, list->count + 1, sizeof(*list->tokens));
    list->tokens[list->count++] = *fresh;
    return BANYAN_OK;
}

enum banyan_status http_token_create(const char *path, const char *name, enum http_role role,
                                     char ret[HTTP_TOKEN_TEXT_SIZE], struct banyan_error *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct token fresh = {.info.role = role, .info.created_at = os_clock_now(os_clock_real())};
    uint8_t bits[43];
    if (!is_token_name(name))
        return banyan_error_set(err, BANYAN_INVALID, "\"%s\" is no name: 1 to %d letters, digits, dots, dashes", name,
                                HTTP_TOKEN_NAME_MAX);
    (void)snprintf(fresh.info.name, sizeof(fresh.info.name), "%s", name); /* its size was checked */
    os_random_bytes(bits, sizeof(bits));                                  /* six bits of each are used: 258 in all */
    (void)snprintf(ret, HTTP_TOKEN_TEXT_SIZE, "bny_");                    /* fits */
    for (size_t i = 0; i < sizeof(bits); i++)
        ret[4 + i] = digits[bits[i] & 63];
    ret[4 + sizeof(bits)] = '\0';
    hash_token(banyan_str_of(ret), fresh.hash);
    return change(path, add_token, &fresh, err);
}

static enum banyan_status remove_token(struct token_list *list, void *context, struct banyan_error *err)
{
    const char *name = context;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->tokens[i].info.name, name) == 0) {
            memmove(&list->tokens[i], &list->tokens[i + 1], (list->count - i - 1) * sizeof(*list->tokens));
            list->count--;
            return BANYAN_OK;
        }
    }
    return banyan_error_set(err, BANYAN_NOT_FOUND, "there is no token %s", name);
}

enum banyan_status http_token_revoke(const char *path, const char *name, struct banyan_error *err)
{
    return change(path, remove_token, (void *)name, err);
}

enum banyan_status http_token_list(const char *path, struct http_token_info **ret, size_t *ret_count,
                                   struct banyan_error *err)
{
    struct token_list list = {NULL, 0};
    struct stat seen;
    enum banyan_status st = read_tokens(path, &list, &seen, err);
    if (st != BANYAN_OK)
        return st;
    struct http_token_info *infos = alloc_zeroed(list.count + 1, sizeof(*infos));
    for (size_t i = 0; i < list.count; i++)
        infos[i] = list.tokens[i].info;
    *ret = infos;
    *ret_count = list.count;
    free(list.tokens);
    return BANYAN_OK;
}

/* ---- in the server ---- */

enum banyan_status http_tokens_open(const char *path, struct http_tokens **ret, struct banyan_error *err)
{
    struct http_tokens *tokens = alloc_zeroed(1, sizeof(*tokens));
    enum banyan_status st = read_tokens(path, &tokens->list, &tokens->seen, err);
    if (st != BANYAN_OK) {
        free(tokens);
        return st;
    }
    tokens->path = alloc_text(path);
    *ret = tokens;
    return BANYAN_OK;
}

void http_tokens_close(struct http_tokens *tokens)
{
    if (tokens == NULL)
        return;
    free(tokens->list.tokens);
    free(tokens->path);
    free(tokens);
}

/* A file that cannot be read leaves the tokens as they were; one that was taken away ends them all. */
static void look_again(struct http_tokens *tokens)
{
    int64_t now = os_clock_monotonic_us(os_clock_real());
    struct stat there, seen;
    struct token_list fresh = {NULL, 0};
    if (now - tokens->looked_us < LOOK_AGAIN_US)
        return;
    tokens->looked_us = now;
    if (stat(tokens->path, &there) != 0) {
        tokens->list.count = errno == ENOENT ? 0 : tokens->list.count;
        tokens->seen = (struct stat){.st_ino = 0};
        return;
    }
    if (there.st_ino == tokens->seen.st_ino && there.st_size == tokens->seen.st_size &&
        there.st_mtim.tv_sec == tokens->seen.st_mtim.tv_sec && there.st_mtim.tv_nsec == tokens->seen.st_mtim.tv_nsec)
        return;
    if (read_tokens(tokens->path, &fresh, &seen, NULL) != BANYAN_OK)
        return;
    free(tokens->list.tokens);
    tokens->list = fresh;
    tokens->seen = seen;
}

enum http_role http_tokens_role(struct http_tokens *tokens, struct banyan_str token,
                                char ret_name[HTTP_TOKEN_NAME_MAX + 1])
{
    uint8_t hash[HASH_SIZE];
    int role = HTTP_ROLE_NONE;
    look_again(tokens);
    hash_token(token, hash);
    memset(ret_name, 0, HTTP_TOKEN_NAME_MAX + 1);
    for (size_t i = 0; i < tokens->list.count; i++) { /* all of them: the time tells nothing */
        const struct http_token_info *info = &tokens->list.tokens[i].info;
        int same = -(CRYPTO_memcmp(hash, tokens->list.tokens[i].hash, HASH_SIZE) == 0);
        role |= same & (int)info->role;
        for (size_t c = 0; c < sizeof(info->name); c++)
            ret_name[c] = (char)(ret_name[c] | (same & info->name[c]));
    }
    return (enum http_role)role;
}
