/* SPDX-License-Identifier: Apache-2.0 */
/* See proof.h: the form of a proof, and checking one.  Nothing that it says is believed but through the signature. */
#include "store/proof.h"

#include <inttypes.h>
#include <string.h>

#include "base/base64.h"
#include "log/verify.h"

void proof_init(struct proof *proof)
{
    memset(proof, 0, sizeof(*proof));
    proof->bytes.size_max = LOG_RECORD_BYTES_MAX + LOG_RECORD_BYTES_MAX / 2;
}

void proof_release(struct proof *proof)
{
    banyan_buf_release(&proof->bytes);
}

static void format_path(const struct merkle_hash *path, size_t count, struct banyan_buf *buf)
{
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(buf, i == 0 ? "\"" : ",\"");
        line_add_hex(buf, path[i].bytes, sizeof(path[i].bytes));
        banyan_buf_add_text(buf, "\"");
    }
}

/* All but the frame's bytes, which are large: before them and behind them. */
static void format_begin(const struct proof *proof, struct banyan_buf *buf)
{
    banyan_buf_printf(buf, "{\"proof\":1,\"position\":%" PRIu64 ",\"head\":", proof->position);
    signed_head_format(&proof->head, buf);
    banyan_buf_printf(buf,
                      ",\"segment\":%" PRIu64 ",\"segment_position\":%" PRIu64 ",\"segment_frames\":%" PRIu64
                      ",\"segment_path\":[",
                      proof->segment, proof->segment_position, proof->segment_frames);
    format_path(proof->segment_path, proof->segment_path_count, buf);
    banyan_buf_printf(buf, "],\"frame\":%" PRIu64 ",\"frame_path\":[", proof->frame);
    format_path(proof->frame_path, proof->frame_path_count, buf);
    banyan_buf_add_text(buf, "],\"chain_before\":\"");
    line_add_hex(buf, proof->chain_before, sizeof(proof->chain_before));
    banyan_buf_add_text(buf, "\",\"bytes\":\"");
}

void proof_format(const struct proof *proof, struct banyan_buf *buf)
{
    format_begin(proof, buf);
    base64_add(buf, banyan_buf_str(&proof->bytes));
    banyan_buf_add_text(buf, "\"}");
}

static size_t read_path(struct line *line, struct merkle_hash path[MERKLE_PATH_MAX])
{
    size_t count = 0;

    while (!line->bad && count < MERKLE_PATH_MAX && line->next < line->end && *line->next != ']') {
        line_expect(line, count == 0 ? "\"" : ",\"");
        line_hex(line, path[count].bytes, sizeof(path[count].bytes));
        line_expect(line, "\"");
        count++;
    }
    return count;
}

enum banyan_status proof_parse(struct banyan_str text, struct proof *ret, struct banyan_error *err)
{
    struct banyan_buf again = BANYAN_BUF_INIT(PROOF_BYTES_MAX);
    struct line line = {text.data, text.data + text.size, text.size > PROOF_BYTES_MAX};
    struct banyan_str bytes;

    proof_init(ret);
    line_expect(&line, "{\"proof\":1,\"position\":");
    ret->position = line_number(&line);
    line_expect(&line, ",\"head\":");
    signed_head_read(&line, &ret->head);
    line_expect(&line, ",\"segment\":");
    ret->segment = line_number(&line);
    line_expect(&line, ",\"segment_position\":");
    ret->segment_position = line_number(&line);
    line_expect(&line, ",\"segment_frames\":");
    ret->segment_frames = line_number(&line);
    line_expect(&line, ",\"segment_path\":[");
    ret->segment_path_count = read_path(&line, ret->segment_path);
    line_expect(&line, "],\"frame\":");
    ret->frame = line_number(&line);
    line_expect(&line, ",\"frame_path\":[");
    ret->frame_path_count = read_path(&line, ret->frame_path);
    line_expect(&line, "],\"chain_before\":\"");
    line_hex(&line, ret->chain_before, sizeof(ret->chain_before));
    line_expect(&line, "\",\"bytes\":\"");
    bytes = line_text(&line);
    line_expect(&line, "\"}");
    if (!line.bad && line.next < line.end && *line.next == '\n')
        line.next++;
    if (!line.bad && line.next == line.end && line_from_base64(bytes, &ret->bytes)) {
        proof_format(ret, &again);
        line.bad = again.overflow || again.size > text.size || memcmp(again.data, text.data, again.size) != 0 ||
                   text.size - again.size > 1;
    } else {
        line.bad = true;
    }
    banyan_buf_release(&again);
    if (!line.bad)
        return BANYAN_OK;
    proof_release(ret);
    return banyan_error_set(err, BANYAN_INVALID, "not a proof of format 1");
}

static enum banyan_status refuse(const struct proof *proof, const char *why, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_MISMATCH, "this does not prove the event at position %" PRIu64 ": %s",
                            proof->position, why);
}

enum banyan_status proof_check(const struct proof *proof, struct banyan_str public_key, struct envelope *ret,
                               struct log_record *ret_record, struct banyan_error *err)
{
    const struct signed_head *head = &proof->head;
    uint8_t key[SIGNED_KEY_BYTES];
    struct merkle_hash leaf, root;
    struct frame_header frame;
    struct log_record record;
    struct envelope envelope;
    enum banyan_status status = signed_key_of(public_key, key, err);

    if (status == BANYAN_OK && memcmp(key, head->key, sizeof(key)) != 0)
        status = refuse(proof, "the head was signed with another key", err);
    if (status == BANYAN_OK)
        status = signed_head_check(head, err);
    if (status != BANYAN_OK)
        return status;
    if (proof->position == 0 || proof->position > head->position)
        return refuse(proof, "the head does not reach it", err);
    if (!log_frame_follows(proof->bytes.data, proof->bytes.size, proof->chain_before))
        return refuse(proof, "the frame is damaged, or does not follow the chain before it", err);
    memcpy(&frame, proof->bytes.data, sizeof(frame));
    leaf = signed_frame_leaf(frame.chain);
    if (!merkle_follow(&leaf, proof->segment_frames, proof->frame, proof->frame_path, proof->frame_path_count, &root))
        return refuse(proof, "the path of the frame has a wrong length", err);
    leaf = signed_segment_leaf(proof->segment_position, proof->segment_frames, &root);
    if (!merkle_follow(&leaf, head->segments, proof->segment, proof->segment_path, proof->segment_path_count, &root))
        return refuse(proof, "the path of the segment has a wrong length", err);
    if (memcmp(root.bytes, head->root.bytes, sizeof(root.bytes)) != 0)
        return refuse(proof, "the paths do not lead to what was signed", err);
    if (!log_frame_record(proof->bytes.data, proof->position, &record))
        return refuse(proof, "the frame does not hold it", err);
    if (!envelope_decode(record.data, proof->position, &envelope))
        return refuse(proof, "the record is no event", err);
    *ret = envelope;
    *ret_record = record;
    return BANYAN_OK;
}
