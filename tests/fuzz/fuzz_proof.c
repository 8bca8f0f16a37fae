/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of signed heads and proofs: the input is read as each.  What is read must be written as the same bytes
 * again (one form), and checking it must say why it proves nothing: nobody has a key here.
 */
#include <stdlib.h>
#include <string.h>

#include "store/proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                 "-----END PUBLIC KEY-----\n";

static void check_same(const struct banyan_buf *again, struct banyan_str text)
{
    if (again->overflow || again->size > text.size || text.size - again->size > 1 ||
        memcmp(again->data, text.data, again->size) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct banyan_buf again = BANYAN_BUF_INIT(2 * size + 4096);
    struct banyan_str text = {(const char *)data, size};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head;
    struct envelope envelope;
    struct log_record record;
    struct proof proof;

    if (signed_head_parse(text, &head, &err) == BANYAN_OK) {
        signed_head_format(&head, &again);
        check_same(&again, text);
        (void)signed_head_check(&head, NULL); /* an input may well be a head that somebody signed */
    } else if (err.status != BANYAN_INVALID || err.message[0] == '\0') {
        abort();
    }
    banyan_buf_reset(&again);
    banyan_error_clear(&err);
    if (proof_parse(text, &proof, &err) == BANYAN_OK) {
        proof_format(&proof, &again);
        check_same(&again, text);
        if (proof_check(&proof, BANYAN_STR(public_pem), &envelope, &record, &err) != BANYAN_OK &&
            err.message[0] == '\0')
            abort();
        /* The parts that the signature guards, too. */
        if (proof.bytes.size > sizeof(struct frame_header) &&
            log_frame_follows(proof.bytes.data, proof.bytes.size, proof.chain_before) &&
            log_frame_record(proof.bytes.data, proof.position, &record))
            (void)envelope_decode(record.data, proof.position, &envelope);
        proof_release(&proof);
    } else if (err.status != BANYAN_INVALID || err.message[0] == '\0') {
        abort();
    }
    banyan_buf_release(&again);
    return 0;
}
