/* SPDX-License-Identifier: Apache-2.0 */
/* Signed heads and proofs: what was signed is found again, what was changed behind right checksums is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "store/proof.h"
#include "store/sign.h"
#include "store/verify.h"
#include "support/store_content.h"

/* The pair of RFC 8032, section 7.1, test 1: its secret in the form of RFC 8410. */
static const char private_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                                  "-----END PRIVATE KEY-----\n";
static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                 "-----END PUBLIC KEY-----\n";

/* A head of fixed content: *signature* was computed over the documented bytes with another program. */
static const char known_line[] =
    "{\"format\":1,\"log\":\"000102030405060708090a0b0c0d0e0f\",\"position\":1000,\"offset\":65536,\"segments\":2,"
    "\"frames\":3,\"chain\":\"1111111111111111111111111111111111111111111111111111111111111111\",\"root\":"
    "\"2222222222222222222222222222222222222222222222222222222222222222\",\"time_us\":1700000000000000,\"key\":"
    "\"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\",\"signature\":"
    "\"cd2184c2ba746463744a5209a601c573f833b8412fad494c3114b03b880dac49"
    "56877abf3fa6a550eb41c8903ba8a006cd4823243cd013d017c3f1a0a9bbc904\"}";

struct seen {
    struct store_verify_report report;
    char kinds[512];
};

static void on_finding(void *context, const struct log_finding *finding)
{
    struct seen *seen = context;
    size_t used = strlen(seen->kinds);

    (void)snprintf(seen->kinds + used, sizeof(seen->kinds) - used, "%s%s", used > 0 ? " " : "", finding->kind);
}

static void verify(const char *folder, const char *heads, struct banyan_str key, struct seen *seen)
{
    struct store_verify_options options = {
        .folder = folder, .heads_path = heads, .public_key = key, .context = seen, .finding = on_finding};
    struct banyan_error err = BANYAN_ERROR_INIT;

    memset(seen, 0, sizeof(*seen));
    if (store_verify(&options, &seen->report, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void sign(const char *folder, struct signed_head *ret)
{
    struct store_sign_options options = {.folder = folder, .private_key = BANYAN_STR(private_pem)};
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (store_sign(&options, ret, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void grow(const char *folder, uint64_t seed)
{
    const struct store_content more = {.segment_bytes = 48 * 1024, .rounds = 2, .batches = 60};

    store_content_build(folder, &more, seed);
}

static void make_store(char folder[FOLDER_PATH_MAX])
{
    const struct store_content content = STORE_CONTENT_SMALL;

    folder_make_quick(folder);
    store_content_build(folder, &content, 11);
}

static void path_in(char path[FOLDER_PATH_MAX + 64], const char *folder, const char *name)
{
    (void)snprintf(path, FOLDER_PATH_MAX + 64, "%.390s/%.60s", folder, name);
}

/* ---- the line ---- */

static void test_known_head(void **state)
{
    struct signed_head head, again;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf line = BANYAN_BUF_INIT(SIGNED_LINE_BYTES_MAX);

    (void)state;
    assert_int_equal(signed_head_parse(BANYAN_STR(known_line), &head, &err), BANYAN_OK);
    assert_int_equal(head.position, 1000);
    assert_int_equal(signed_head_check(&head, &err), BANYAN_OK);
    again = head;
    memset(again.signature, 0, sizeof(again.signature));
    memset(again.key, 0, sizeof(again.key));
    assert_int_equal(signed_head_sign(&again, BANYAN_STR(private_pem), &err), BANYAN_OK);
    signed_head_format(&again, &line);
    assert_string_equal(line.data, known_line);
    again.frames++;
    assert_int_equal(signed_head_check(&again, &err), BANYAN_MISMATCH);
    banyan_buf_release(&line);
}

/* Any byte of the line: refused when it is read, or by the signature. */
static void test_every_bit_of_a_line(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head;
    char line[sizeof(known_line)];

    (void)state;
    for (size_t bit = 0; bit < (sizeof(known_line) - 1) * 8; bit++) {
        memcpy(line, known_line, sizeof(line));
        line[bit / 8] ^= (char)(1 << bit % 8);
        banyan_error_clear(&err);
        if (signed_head_parse((struct banyan_str){line, sizeof(line) - 1}, &head, &err) == BANYAN_OK)
            assert_int_equal(signed_head_check(&head, &err), BANYAN_MISMATCH);
    }
    for (size_t size = 0; size < sizeof(line) - 1; size++)
        assert_int_equal(signed_head_parse((struct banyan_str){known_line, size}, &head, NULL), BANYAN_INVALID);
}

static void test_keys(void **state)
{
    struct banyan_buf private = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX), public = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head = {.position = 1};
    uint8_t key[SIGNED_KEY_BYTES];

    (void)state;
    assert_int_equal(signed_keys_new(&private, &public, &err), BANYAN_OK);
    assert_int_equal(signed_head_sign(&head, banyan_buf_str(&private), &err), BANYAN_OK);
    assert_int_equal(signed_key_of(banyan_buf_str(&public), key, &err), BANYAN_OK);
    assert_memory_equal(key, head.key, sizeof(key));
    assert_int_equal(signed_head_sign(&head, banyan_buf_str(&public), &err), BANYAN_INVALID);
    banyan_error_clear(&err);
    assert_int_equal(signed_key_of(banyan_buf_str(&private), key, &err), BANYAN_INVALID);
    banyan_error_clear(&err);
    assert_int_equal(signed_key_of(BANYAN_STR(""), key, &err), BANYAN_INVALID);
    banyan_buf_release(&private);
    banyan_buf_release(&public);
}

/* ---- signing ---- */

static void test_sign_and_grow(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct signed_head first, second, third;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct seen seen;

    (void)state;
    make_store(folder);
    sign(folder, &first);
    grow(folder, 12);
    sign(folder, &second);
    assert_true(second.position > first.position);
    assert_true(second.segments > first.segments);
    verify(folder, NULL, BANYAN_STR(public_pem), &seen);
    assert_string_equal(seen.kinds, "");
    assert_int_equal(seen.report.heads, 2);
    /* The roots file saves reading, and says nothing else than reading does. */
    path_in(path, folder, SIGNED_ROOTS_FILE);
    assert_int_equal(remove(path), 0);
    sign(folder, &third);
    assert_memory_equal(&third.root, &second.root, sizeof(third.root));
    assert_int_equal(access(path, F_OK), 0);
    /* An empty log, and a damaged one, are not signed. */
    folder_remove(folder);
    folder_make_quick(folder);
    path_in(path, folder, "log");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(store_sign(&(struct store_sign_options){.folder = folder, .private_key = BANYAN_STR(private_pem)},
                                &third, &err),
                     BANYAN_INVALID);
    folder_remove(folder);
}

static void test_damage_is_not_signed(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head;

    (void)state;
    make_store(folder);
    path_in(path, folder, "log/00000000000000000001.seg");
    file_flip(path, 5000);
    assert_int_equal(
        store_sign(&(struct store_sign_options){.folder = folder, .private_key = BANYAN_STR(private_pem)}, &head, &err),
        BANYAN_CORRUPT);
    path_in(path, folder, SIGNED_HEADS_FILE);
    assert_int_not_equal(access(path, F_OK), 0);
    folder_remove(folder);
}

/* A line whose writing was cut off is a note, and the next head does not become a part of it. */
static void test_torn_line(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct signed_head head;
    struct seen seen;
    size_t size;
    char *data;

    (void)state;
    make_store(folder);
    sign(folder, &head);
    sign(folder, &head);
    path_in(path, folder, SIGNED_HEADS_FILE);
    data = file_load(path, &size);
    file_save(path, data, size - 20);
    verify(folder, NULL, BANYAN_STR(public_pem), &seen);
    assert_string_equal(seen.kinds, "signed_head");
    assert_int_equal(seen.report.notes, 1);
    assert_int_equal(seen.report.damages, 0);
    assert_int_equal(seen.report.heads, 1);
    sign(folder, &head);
    verify(folder, NULL, BANYAN_STR(public_pem), &seen);
    assert_string_equal(seen.kinds, "");
    assert_int_equal(seen.report.heads, 2);
    free(data);
    folder_remove(folder);
}

/* ---- history that was rewritten ---- */

/* One bit of the payload of one event in segment 1. */
static void change_bit(void *context, char *segment, uint64_t size, uint64_t number)
{
    struct frame_header frame;

    (void)context;
    (void)size;
    memcpy(&frame, segment + sizeof(struct segment_header), sizeof(frame));
    if (number == 1)
        segment[sizeof(struct segment_header) + sizeof(frame) + frame.size - 1] ^= 1;
}

static void test_rewritten_history(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 64], heads[FOLDER_PATH_MAX + 64], kept[FOLDER_PATH_MAX + 64],
        roots[FOLDER_PATH_MAX + 64];
    struct signed_head head;
    struct proof proof;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct seen seen;
    size_t size;
    char *data;

    (void)state;
    make_store(folder);
    path_in(log, folder, "log");
    path_in(heads, folder, SIGNED_HEADS_FILE);
    path_in(roots, folder, SIGNED_ROOTS_FILE);
    (void)snprintf(kept, sizeof(kept), "%s.kept", folder);
    sign(folder, &head);
    data = file_load(heads, &size);
    file_save(kept, data, size);
    free(data);
    store_content_rewrite(log, change_bit, NULL);

    /* Who rewrites it takes the heads and the roots away; then nothing in the folder shows it. */
    assert_int_equal(remove(roots), 0);
    verify(folder, NULL, BANYAN_STR(public_pem), &seen);
    assert_string_equal(seen.kinds, "signed_head");
    assert_int_equal(store_prove(&(struct store_prove_options){.folder = folder, .position = 3}, &proof, &err),
                     BANYAN_MISMATCH);
    assert_int_equal(remove(heads), 0);
    verify(folder, NULL, BANYAN_STR(public_pem), &seen);
    assert_string_equal(seen.kinds, "");
    /* The head that was kept elsewhere does. */
    verify(folder, kept, BANYAN_STR(public_pem), &seen);
    assert_string_equal(seen.kinds, "signed_head");
    assert_int_equal(seen.report.damages, 1);
    assert_int_equal(seen.report.heads, 0);
    (void)remove(kept);
    folder_remove(folder);
}

/* Events that were taken away behind the signature, and a head of another key. */
static void test_shortened_history(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 64], path[FOLDER_PATH_MAX + 64];
    struct banyan_buf private = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX), public = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head;
    struct seen seen;
    char **names;

    (void)state;
    make_store(folder);
    sign(folder, &head);
    path_in(log, folder, "log");
    assert_int_equal(os_files_real()->list(os_files_real(), log, &names, &err), BANYAN_OK);
    path[0] = '\0';
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strstr(names[i], ".seg") != NULL)
            path_in(path, log, names[i]);
        free(names[i]);
    }
    free(names);
    assert_int_equal(remove(path), 0);
    verify(folder, NULL, BANYAN_STR(public_pem), &seen);
    assert_non_null(strstr(seen.kinds, "signed_head"));
    assert_true(seen.report.damages >= 1);
    assert_int_equal(signed_keys_new(&private, &public, &err), BANYAN_OK);
    verify(folder, NULL, banyan_buf_str(&public), &seen);
    assert_non_null(strstr(seen.kinds, "signed_head"));
    banyan_buf_release(&private);
    banyan_buf_release(&public);
    folder_remove(folder);
}

/* ---- proofs ---- */

static void check_all_events(const char *folder, uint64_t last, uint64_t step)
{
    for (uint64_t position = 1; position <= last; position += step) {
        struct store_prove_options options = {.folder = folder, .position = position};
        struct banyan_buf text = BANYAN_BUF_INIT(PROOF_BYTES_MAX);
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct envelope envelope;
        struct log_record record;
        struct proof proof, again;

        if (store_prove(&options, &proof, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        proof_format(&proof, &text);
        assert_int_equal(proof_parse(banyan_buf_str(&text), &again, &err), BANYAN_OK);
        if (proof_check(&again, BANYAN_STR(public_pem), &envelope, &record, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_int_equal(record.position.value, position);
        assert_true(banyan_str_equal(envelope.event.type, BANYAN_STR("Changed")));
        banyan_buf_release(&text);
        proof_release(&proof);
        proof_release(&again);
    }
}

static void test_proofs(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head first, second;
    struct proof proof;

    (void)state;
    make_store(folder);
    sign(folder, &first);
    grow(folder, 13);
    sign(folder, &second);
    check_all_events(folder, second.position, 7);
    path_in(path, folder, SIGNED_ROOTS_FILE);
    assert_int_equal(remove(path), 0);
    check_all_events(folder, second.position, 41);
    /* The head that is asked for; one that does not reach; none. */
    assert_int_equal(
        store_prove(&(struct store_prove_options){.folder = folder, .position = 3, .head_position = second.position},
                    &proof, &err),
        BANYAN_OK);
    assert_int_equal(proof.head.position, second.position);
    proof_release(&proof);
    assert_int_equal(store_prove(&(struct store_prove_options){.folder = folder,
                                                               .position = second.position,
                                                               .head_position = first.position},
                                 &proof, &err),
                     BANYAN_INVALID);
    banyan_error_clear(&err);
    assert_int_equal(
        store_prove(&(struct store_prove_options){.folder = folder, .position = second.position + 1}, &proof, &err),
        BANYAN_NOT_FOUND);
    folder_remove(folder);
}

/* Any bit of a proof: refused when it is read, or proves nothing.  Nothing but the whole is a proof. */
static void test_every_byte_of_a_proof(void **state)
{
    char folder[FOLDER_PATH_MAX];
    struct banyan_buf text = BANYAN_BUF_INIT(PROOF_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head;
    struct envelope envelope;
    struct log_record record;
    struct os_random random;
    struct proof proof;

    (void)state;
    os_random_seed(&random, test_seed());
    make_store(folder);
    sign(folder, &head);
    assert_int_equal(store_prove(&(struct store_prove_options){.folder = folder, .position = 250}, &proof, &err),
                     BANYAN_OK);
    proof_format(&proof, &text);
    proof_release(&proof);
    for (size_t i = 0; i < text.size; i++) {
        char was = text.data[i];

        text.data[i] = (char)(was ^ (1 << os_random_below(&random, 8)));
        if (proof_parse(banyan_buf_str(&text), &proof, NULL) == BANYAN_OK) {
            /* Another position of the same frame is proved by it as well. */
            if (proof.position != 250 &&
                proof_check(&proof, BANYAN_STR(public_pem), &envelope, &record, NULL) == BANYAN_OK) {
                assert_int_equal(record.position.value, proof.position);
                proof.position = 0;
            }
            assert_int_equal(proof_check(&proof, BANYAN_STR(public_pem), &envelope, &record, NULL), BANYAN_MISMATCH);
            proof_release(&proof);
        }
        text.data[i] = was;
        assert_int_equal(proof_parse((struct banyan_str){text.data, i}, &proof, NULL), BANYAN_INVALID);
    }
    banyan_buf_release(&text);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_head),
        cmocka_unit_test(test_every_bit_of_a_line),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_sign_and_grow),
        cmocka_unit_test(test_damage_is_not_signed),
        cmocka_unit_test(test_torn_line),
        cmocka_unit_test(test_rewritten_history),
        cmocka_unit_test(test_shortened_history),
        cmocka_unit_test(test_proofs),
        cmocka_unit_test(test_every_byte_of_a_proof),
    };

    return cmocka_run_group_tests_name("store sign", tests, NULL, NULL);
}
