/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See signed_head.h.  A line has one form only: what is read is formatted again and compared, so that no byte of it can
 * change unseen, whether or not it is under the signature.
 */
#include "store/signed_head.h"

#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static const char domain[] = "banyan signed head 1\n"; /* in front of what is signed */

/* ---- the tree ---- */

struct merkle_hash signed_frame_leaf(const uint8_t chain[LOG_CHAIN_BYTES])
{
    return merkle_leaf(chain, LOG_CHAIN_BYTES);
}

struct merkle_hash signed_segment_leaf(uint64_t first_position, uint64_t frames, const struct merkle_hash *root)
{
    char data[16 + MERKLE_BYTES];

    memcpy(data, &first_position, 8);
    memcpy(data + 8, &frames, 8);
    memcpy(data + 16, root->bytes, MERKLE_BYTES);
    return merkle_leaf(data, sizeof(data));
}

void signed_tree_add(struct signed_tree *tree, const struct frame_header *frame)
{
    struct merkle_hash leaf = signed_frame_leaf(frame->chain);

    if (tree->frames.count == 0)
        tree->first_position = frame->first_position;
    merkle_add(&tree->frames, &leaf);
}

void signed_tree_seal(struct signed_tree *tree, uint64_t first_position)
{
    struct merkle_hash root = merkle_root(&tree->frames);
    struct merkle_hash leaf = signed_segment_leaf(first_position, tree->frames.count, &root);

    merkle_add(&tree->segments, &leaf);
    tree->frames.count = 0;
}

struct merkle_hash signed_tree_root(const struct signed_tree *tree)
{
    struct signed_tree whole = *tree;

    if (whole.frames.count > 0)
        signed_tree_seal(&whole, whole.first_position);
    return merkle_root(&whole.segments);
}

/* ---- text ---- */

static void format_content(const struct signed_head *head, struct banyan_buf *buf)
{
    banyan_buf_add_text(buf, "{\"format\":1,\"log\":\"");
    line_add_hex(buf, head->log_id.bytes, sizeof(head->log_id.bytes));
    banyan_buf_printf(buf,
                      "\",\"position\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"segments\":%" PRIu64 ",\"frames\":%" PRIu64
                      ",\"chain\":\"",
                      head->position, head->offset, head->segments, head->frames);
    line_add_hex(buf, head->chain, sizeof(head->chain));
    banyan_buf_add_text(buf, "\",\"root\":\"");
    line_add_hex(buf, head->root.bytes, sizeof(head->root.bytes));
    banyan_buf_printf(buf, "\",\"time_us\":%" PRId64 ",\"key\":\"", head->time.us);
    line_add_hex(buf, head->key, sizeof(head->key));
    banyan_buf_add_text(buf, "\"");
}

void signed_head_format(const struct signed_head *head, struct banyan_buf *buf)
{
    format_content(head, buf);
    banyan_buf_add_text(buf, ",\"signature\":\"");
    line_add_hex(buf, head->signature, sizeof(head->signature));
    banyan_buf_add_text(buf, "\"}");
}

/* The bytes that are signed: the line up to the signature, closed, behind the domain. */
static void format_signed(const struct signed_head *head, struct banyan_buf *buf)
{
    banyan_buf_add_text(buf, domain);
    format_content(head, buf);
    banyan_buf_add_text(buf, "}");
}

void signed_head_read(struct line *line, struct signed_head *ret)
{
    line_expect(line, "{\"format\":1,\"log\":\"");
    line_hex(line, ret->log_id.bytes, sizeof(ret->log_id.bytes));
    line_expect(line, "\",\"position\":");
    ret->position = line_number(line);
    line_expect(line, ",\"offset\":");
    ret->offset = line_number(line);
    line_expect(line, ",\"segments\":");
    ret->segments = line_number(line);
    line_expect(line, ",\"frames\":");
    ret->frames = line_number(line);
    line_expect(line, ",\"chain\":\"");
    line_hex(line, ret->chain, sizeof(ret->chain));
    line_expect(line, "\",\"root\":\"");
    line_hex(line, ret->root.bytes, sizeof(ret->root.bytes));
    line_expect(line, "\",\"time_us\":");
    ret->time.us = line_signed(line);
    line_expect(line, ",\"key\":\"");
    line_hex(line, ret->key, sizeof(ret->key));
    line_expect(line, "\",\"signature\":\"");
    line_hex(line, ret->signature, sizeof(ret->signature));
    line_expect(line, "\"}");
}

enum banyan_status signed_head_parse(struct banyan_str text, struct signed_head *ret, struct banyan_error *err)
{
    struct banyan_buf again = BANYAN_BUF_INIT(SIGNED_LINE_BYTES_MAX);
    struct line line = {text.data, text.data + text.size, false};
    struct signed_head head = {.position = 0};

    signed_head_read(&line, &head);
    if (!line.bad)
        signed_head_format(&head, &again);
    line.bad = line.bad || again.size != text.size || memcmp(again.data, text.data, text.size) != 0;
    banyan_buf_release(&again);
    if (line.bad)
        return banyan_error_set(err, BANYAN_INVALID, "not a signed head of format 1");
    *ret = head;
    return BANYAN_OK;
}

/* ---- signatures ---- */

enum banyan_status signed_head_check(const struct signed_head *head, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SIGNED_LINE_BYTES_MAX);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, head->key, sizeof(head->key));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    enum banyan_status status = BANYAN_OK;

    format_signed(head, &text);
    if (key == NULL || context == NULL || EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestVerify(context, head->signature, sizeof(head->signature), (const uint8_t *)text.data, text.size) != 1)
        status = banyan_error_set(err, BANYAN_MISMATCH,
                                  "the signature of the head at position %" PRIu64 " is not that of its key",
                                  head->position);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    banyan_buf_release(&text);
    return status;
}

enum banyan_status signed_head_sign(struct signed_head *head, struct banyan_str pem, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SIGNED_LINE_BYTES_MAX);
    static char no_passphrase[] = ""; /* so that nobody is asked for one */
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    EVP_PKEY *key = pem.size <= SIGNED_PEM_BYTES_MAX && bio != NULL
                        ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase)
                        : NULL;
    size_t key_size = sizeof(head->key), size = sizeof(head->signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    enum banyan_status status = BANYAN_OK;

    if (key == NULL || EVP_PKEY_get_raw_public_key(key, head->key, &key_size) != 1 ||
        EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
        status = banyan_error_set(err, BANYAN_INVALID, "not an Ed25519 private key in PEM, without a passphrase");
        banyan_error_hint(err, "banyan store keygen makes one");
        goto out;
    }
    format_signed(head, &text);
    if (context == NULL || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, head->signature, &size, (const uint8_t *)text.data, text.size) != 1)
        status = banyan_error_set(err, BANYAN_BROKEN, "OpenSSL cannot sign with Ed25519");
out:
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    banyan_buf_release(&text);
    return status;
}

static void add_bio(struct banyan_buf *buf, BIO *bio)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);

    banyan_buf_add(buf, data, (size_t)size);
}

enum banyan_status signed_keys_new(struct banyan_buf *private, struct banyan_buf *public, struct banyan_error *err)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *secret = BIO_new(BIO_s_secmem()), *open = BIO_new(BIO_s_mem());
    enum banyan_status status = BANYAN_OK;

    if (key == NULL || secret == NULL || open == NULL ||
        PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1 || PEM_write_bio_PUBKEY(open, key) != 1)
        status = banyan_error_set(err, BANYAN_BROKEN, "OpenSSL cannot make an Ed25519 key");
    if (status == BANYAN_OK) {
        add_bio(private, secret);
        add_bio(public, open);
    }
    BIO_free(open);
    BIO_free(secret);
    EVP_PKEY_free(key);
    return status;
}

enum banyan_status signed_key_of(struct banyan_str pem, uint8_t ret[SIGNED_KEY_BYTES], struct banyan_error *err)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    EVP_PKEY *key = pem.size <= SIGNED_PEM_BYTES_MAX && bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    size_t size = SIGNED_KEY_BYTES;
    enum banyan_status status = BANYAN_OK;

    if (key == NULL || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 || EVP_PKEY_get_raw_public_key(key, ret, &size) != 1) {
        status = banyan_error_set(err, BANYAN_INVALID, "not an Ed25519 public key in PEM");
        banyan_error_hint(err, "banyan store keygen writes it beside the private key, as FILE.pub");
    }
    EVP_PKEY_free(key);
    BIO_free(bio);
    return status;
}

/* ---- the heads of a store ---- */

struct load {
    const struct signed_heads_options *options;
    uint8_t key[SIGNED_KEY_BYTES];
    struct signed_heads *heads;
    const char *path;
};

static void complain(const struct load *load, enum log_finding_class class, uint64_t byte, uint64_t position,
                     const char *text)
{
    struct log_finding finding = {
        .kind = "signed_head", .class = class, .path = load->path, .byte = byte, .position = position};

    (void)snprintf(finding.text, sizeof(finding.text), "%s", text); /* over-long texts are cut */
    if (load->options->finding != NULL)
        load->options->finding(load->options->context, &finding);
}

static void take_line(struct load *load, struct banyan_str line, uint64_t byte)
{
    struct signed_heads *heads = load->heads;
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct signed_head head;

    if (signed_head_parse(line, &head, &why) != BANYAN_OK || signed_head_check(&head, &why) != BANYAN_OK) {
        complain(load, LOG_FINDING_DAMAGE, byte, 0, why.message);
        return;
    }
    if (load->options->public_key.size > 0 && memcmp(head.key, load->key, sizeof(head.key)) != 0) {
        complain(load, LOG_FINDING_DAMAGE, byte, head.position, "the head was signed with another key");
        return;
    }
    head.path = load->path;
    head.byte = byte;
    heads->items = alloc_resized(heads->items, heads->count + 1, sizeof(*heads->items));
    heads->items[heads->count++] = head;
}

static enum banyan_status load_file(struct load *load, struct banyan_error *err)
{
    struct os_files *files = load->options->files;
    struct os_file *file = NULL;
    uint64_t bytes = 0;
    char *data = NULL;
    size_t size = 0;
    enum banyan_status status = files->open(files, load->path, false, &file, err);

    if (status == BANYAN_OK)
        status = files->size(file, &bytes, err);
    if (status == BANYAN_OK) {
        data = alloc_try((size_t)bytes + 1);
        status = data == NULL ? banyan_error_set(err, BANYAN_LIMIT, "%s is too long", load->path)
                              : files->read(file, 0, data, (size_t)bytes, &size, err);
    }
    for (size_t at = 0; status == BANYAN_OK && at < size;) {
        const char *end = memchr(data + at, '\n', size - at);

        if (end == NULL) {
            complain(load, LOG_FINDING_NOTE, at, 0, "the last line is not whole: its writing was cut off");
            break;
        }
        take_line(load, (struct banyan_str){data + at, (size_t)(end - data) - at}, at);
        at = (size_t)(end - data) + 1;
    }
    files->close(file);
    free(data);
    return status;
}

static int by_offset(const void *a, const void *b)
{
    const struct signed_head *left = a, *right = b;

    return (left->offset > right->offset) - (left->offset < right->offset);
}

enum banyan_status signed_heads_load(const struct signed_heads_options *options, struct signed_heads *ret,
                                     struct banyan_error *err)
{
    struct load load = {.options = options, .heads = ret};
    size_t size = strlen(options->folder) + sizeof("/" SIGNED_HEADS_FILE);
    struct banyan_error none = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;

    *ret = (struct signed_heads){.items = NULL};
    if (options->public_key.size > 0)
        status = signed_key_of(options->public_key, load.key, err);
    if (status != BANYAN_OK)
        return status;
    load.path = ret->paths[0] = alloc_zeroed(1, size);
    (void)snprintf(ret->paths[0], size, "%s/" SIGNED_HEADS_FILE, options->folder); /* fits: counted above */
    status = load_file(&load, &none);
    if (status == BANYAN_NOT_FOUND)
        status = BANYAN_OK;
    else if (status != BANYAN_OK && err != NULL)
        *err = none;
    if (status == BANYAN_OK && options->more_path != NULL) {
        load.path = ret->paths[1] = alloc_text(options->more_path);
        status = load_file(&load, err);
    }
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof(*ret->items), by_offset);
    return status;
}

void signed_heads_release(struct signed_heads *heads)
{
    free(heads->items);
    free(heads->paths[0]);
    free(heads->paths[1]);
    *heads = (struct signed_heads){.items = NULL};
}
