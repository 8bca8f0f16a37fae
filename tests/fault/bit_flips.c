/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any single bit of any file of a store, and any truncation of any of them: verification finds it.
 *
 * A small store with everything in it (large batch, large record, cursors, metadata, closed frames, index, marks,
 * signed heads and their roots) is copied; then one bit is flipped, the copy verified in this process, the bit put
 * back, and so on.  Half of the flips are spread over all bytes, half over the files evenly, so that small ones get
 * their share. FLIPS (100,000) and TRUNCATIONS (5,000) say how many; BANYAN_TEST_SEED repeats a run.
 *
 * Every flip must be found.  Some truncations cannot be, and are counted by reason:
 *
 *     zeros       of a segment, only zeros behind its last frame are gone: no information was there
 *     head_line   heads.jsonl ends behind another line: a head fewer; a copy that was kept elsewhere has it (--heads)
 *     derived     roots or marks end where fewer of them, or an empty file, are as good: they are made anew
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/log/folder.h"
#include "log/frame.h"
#include "os/random.h"
#include "store/sign.h"
#include "store/verify.h"
#include "support/store_content.h"

enum {
    FILES_MAX = 256,
    KINDS_MAX = 64,
    FLIPS = 100000,
    TRUNCATIONS = 5000,
};

struct file {
    char name[300]; /* in the store's folder */
    char path[2 * FOLDER_PATH_MAX];
    char *data;
    size_t size;
    int fd;
    const char *kind;
    uint64_t flips, found[4]; /* by class of the first finding */
};

struct tally {
    char kind[32];
    uint64_t count;
};

static struct file files[FILES_MAX];
static size_t file_count;
static uint64_t bytes_total;
static struct tally tallies[KINDS_MAX];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "bit_flips: %s\n", what);
    exit(1);
}

/* ---- the store ---- */

static void sign_store(const char *folder, const struct banyan_buf *key)
{
    struct store_sign_options options = {.folder = folder, .private_key = banyan_buf_str(key)};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct signed_head head;

    must(store_sign(&options, &head, &err) == BANYAN_OK, err.message);
}

static void make_store(const char *folder, uint64_t seed)
{
    const struct store_content content = STORE_CONTENT_SMALL, more = {48 * 1024, 2, 30, 0, 0, 0};
    struct banyan_buf key = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX), public_key = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);

    must(signed_keys_new(&key, &public_key, NULL) == BANYAN_OK, "a key");
    store_content_build(folder, &content, seed);
    sign_store(folder, &key);
    store_content_build(folder, &more, seed + 1);
    sign_store(folder, &key);
    banyan_buf_release(&key);
    banyan_buf_release(&public_key); /* heads name their key: reading PEM takes longer than verifying this store */
}

static const char *kind_of(const char *name)
{
    if (strstr(name, ".seg") != NULL)
        return "segment";
    if (strstr(name, ".idx") != NULL)
        return "marks";
    if (strstr(name, ".run") != NULL)
        return "run";
    if (strstr(name, "manifest") != NULL)
        return "manifest";
    if (strcmp(name, "blocks") == 0)
        return "blocks";
    return strcmp(name, SIGNED_HEADS_FILE) == 0 ? "heads" : strcmp(name, SIGNED_ROOTS_FILE) == 0 ? "roots" : NULL;
}

static void take_files(const char *folder, const char *below)
{
    char path[FOLDER_PATH_MAX + 300];
    DIR *dir;
    struct dirent *entry;

    (void)snprintf(path, sizeof(path), "%.390s/%.290s", folder, below);
    dir = opendir(path);
    must(dir != NULL, path);
    while ((entry = readdir(dir)) != NULL) {
        struct file *file = &files[file_count];

        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0)
            continue;
        if (entry->d_type == DT_DIR) {
            take_files(folder, entry->d_name);
            continue;
        }
        must(file_count < FILES_MAX, "too many files");
        (void)snprintf(file->name, sizeof(file->name), "%.40s%s%.255s", below, below[0] == '\0' ? "" : "/",
                       entry->d_name);
        (void)snprintf(file->path, sizeof(file->path), "%.390s/%.255s", path, entry->d_name);
        file->kind = kind_of(file->name);
        must(file->kind != NULL, file->name); /* a file that this test does not know */
        file->data = file_load(file->path, &file->size);
        file->fd = open(file->path, O_RDWR | O_CLOEXEC);
        must(file->fd >= 0, file->path);
        bytes_total += file->size;
        file_count++;
    }
    (void)closedir(dir);
}

/* ---- verifying ---- */

struct seen {
    enum log_finding_class class; /* of the worst one */
    char kind[32];
};

static void on_finding(void *context, const struct log_finding *finding)
{
    struct seen *seen = context;

    if (seen->class != 0 && finding->class >= seen->class)
        return;
    seen->class = finding->class;
    (void)snprintf(seen->kind, sizeof(seen->kind), "%s", finding->kind);
}

static struct seen verify(const char *folder)
{
    struct seen seen = {.class = 0};
    struct store_verify_options options = {
        .folder = folder, .one_thread = true, .context = &seen, .finding = on_finding};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_verify_report report;

    if (store_verify(&options, &report, &err) != BANYAN_OK) {
        (void)fprintf(stderr, "bit_flips: verification failed: %s\n", err.message);
        exit(1);
    }
    return seen;
}

static void count(const char *kind)
{
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (tallies[i].kind[0] == '\0')
            (void)snprintf(tallies[i].kind, sizeof(tallies[i].kind), "%s", kind);
        if (strcmp(tallies[i].kind, kind) == 0) {
            tallies[i].count++;
            return;
        }
    }
}

static void print_tallies(const char *what)
{
    (void)printf("# %s:", what);
    for (size_t i = 0; i < KINDS_MAX && tallies[i].kind[0] != '\0'; i++)
        (void)printf(" %s %" PRIu64, tallies[i].kind, tallies[i].count);
    (void)printf("\n");
    memset(tallies, 0, sizeof(tallies));
}

/* ---- flips ---- */

static uint64_t flip_all(const char *folder, struct os_random *random, uint64_t flips)
{
    uint64_t missed = 0;

    for (uint64_t i = 0; i < flips; i++) {
        struct file *file = &files[os_random_below(random, file_count)];
        uint64_t byte = os_random_below(random, file->size);
        struct seen seen;
        char changed;

        if (i % 2 == 0) { /* over all bytes */
            byte = os_random_below(random, bytes_total);
            for (file = files; byte >= file->size; file++)
                byte -= file->size;
        }
        changed = (char)(file->data[byte] ^ (1 << os_random_below(random, 8)));
        must(pwrite(file->fd, &changed, 1, (off_t)byte) == 1, "writing");
        seen = verify(folder);
        must(pwrite(file->fd, &file->data[byte], 1, (off_t)byte) == 1, "writing");
        file->flips++;
        file->found[seen.class]++;
        if (seen.class != 0) {
            count(seen.kind);
            continue;
        }
        missed++;
        (void)printf("# not found: %s byte %" PRIu64 " %#x -> %#x\n", file->name, byte, (unsigned char)file->data[byte],
                     (unsigned char)changed);
    }
    return missed;
}

static void print_flips(void)
{
    static const char *const kinds[] = {"segment", "marks", "run", "manifest", "blocks", "heads", "roots"};

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        uint64_t flips = 0, found[4] = {0}, number = 0;

        for (size_t i = 0; i < file_count; i++) {
            if (strcmp(files[i].kind, kinds[k]) != 0)
                continue;
            number++;
            flips += files[i].flips;
            for (int class = 0; class < 4; class ++)
                found[class] += files[i].found[class];
        }
        (void)printf("# %-8s %3" PRIu64 " files, %6" PRIu64 " flips: %6" PRIu64 " damage, %6" PRIu64
                     " derived, %5" PRIu64 " note, %" PRIu64 " not found\n",
                     kinds[k], number, flips, found[LOG_FINDING_DAMAGE], found[LOG_FINDING_DERIVED],
                     found[LOG_FINDING_NOTE], found[0]);
    }
}

/* ---- truncations ---- */

static bool zeros_only(const struct file *file, uint64_t from)
{
    for (uint64_t i = from; i < file->size; i++)
        if (file->data[i] != 0)
            return false;
    return true;
}

/* Why nobody can find that *file* ends at *size*; NULL: there is no reason. */
static const char *harmless(const struct file *file, uint64_t size)
{
    if (strcmp(file->kind, "segment") == 0)
        return zeros_only(file, size) ? "zeros" : NULL;
    if (strcmp(file->kind, "heads") == 0)
        return size == 0 || file->data[size - 1] == '\n' ? "head_line" : NULL;
    if (strcmp(file->kind, "blocks") == 0)
        return size == 0 ? "derived" : NULL;
    if (strcmp(file->kind, "roots") == 0)
        return size % sizeof(struct signed_root) == 0 ? "derived" : NULL;
    return NULL;
}

static uint64_t truncate_all(const char *folder, struct os_random *random, uint64_t rounds)
{
    uint64_t missed = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        struct file *file = &files[os_random_below(random, file_count)];
        uint64_t size = os_random_below(random, file->size);
        const char *reason;
        struct seen seen;

        if (i % 16 == 0)
            size = 0;
        must(ftruncate(file->fd, (off_t)size) == 0, "truncating");
        seen = verify(folder);
        must(pwrite(file->fd, file->data + size, file->size - size, (off_t)size) == (ssize_t)(file->size - size),
             "writing");
        reason = seen.class == 0 ? harmless(file, size) : NULL;
        count(seen.class != 0 ? seen.kind : reason != NULL ? reason : "NOT FOUND");
        if (seen.class != 0 || reason != NULL)
            continue;
        missed++;
        (void)printf("# not found: %s of %zu bytes cut to %" PRIu64 "\n", file->name, file->size, size);
    }
    return missed;
}

static uint64_t setting(const char *name, uint64_t usual)
{
    const char *given = getenv(name);

    return given == NULL ? usual : strtoull(given, NULL, 10);
}

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

int main(void)
{
    char folder[FOLDER_PATH_MAX];
    uint64_t seed = test_seed(), flips = setting("FLIPS", FLIPS), missed, cut_missed;
    struct os_random random;
    int64_t started;

    os_random_seed(&random, seed);
    folder_make_quick(folder);
    make_store(folder, os_random_next(&random));
    take_files(folder, "");
    (void)printf("1..3\n# %zu files, %" PRIu64 " bytes\n", file_count, bytes_total);
    must(verify(folder).class == 0, "the store has findings before anything was done to it");
    started = now_us();
    missed = flip_all(folder, &random, flips);
    (void)printf("# %.2f ms a flip\n", (double)(now_us() - started) / 1e3 / (double)(flips > 0 ? flips : 1));
    print_flips();
    print_tallies("kinds");
    (void)printf("%s 1 - each of %" PRIu64 " flipped bits is found\n", missed == 0 ? "ok" : "not ok", flips);
    cut_missed = truncate_all(folder, &random, setting("TRUNCATIONS", TRUNCATIONS));
    print_tallies("truncations");
    (void)printf("%s 2 - each truncation is found, or had nothing to lose\n", cut_missed == 0 ? "ok" : "not ok");
    missed += cut_missed;
    cut_missed = verify(folder).class != 0;
    (void)printf("%s 3 - nothing is found when all is put back\n", cut_missed == 0 ? "ok" : "not ok");
    folder_remove(folder);
    return missed + cut_missed == 0 ? 0 : 1;
}
