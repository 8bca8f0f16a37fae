/* SPDX-License-Identifier: Apache-2.0 */
/* Writers and their ledger: see cutover_kill.h. */
#include "cutover_kill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/clock.h"
#include "pg/conn.h"
#include "support/cutover_rig.h"

enum {
    CREATE_EVERY = 50,
    AGAIN_US = 5000,
};

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void pass(int64_t us)
{
    if (us > 0)
        os_clock_real()->sleep_us(os_clock_real(), us);
}

int kill_connect(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

bool kill_ask(int fd, const char *line, char answer[LINE_MAX_BYTES])
{
    size_t size = strlen(line), got = 0;

    if (send(fd, line, size, MSG_NOSIGNAL) != (ssize_t)size)
        return false;
    while (got < LINE_MAX_BYTES - 1) {
        ssize_t more = recv(fd, answer + got, LINE_MAX_BYTES - 1 - got, 0);

        if (more <= 0)
            return false;
        got += (size_t)more;
        if (answer[got - 1] == '\n') {
            answer[got - 1] = '\0';
            return true;
        }
    }
    return false;
}

/* ---- the ledger ---- */

struct writer {
    struct kill_load *load;
    unsigned number;
    int fd;               /* to the door; -1: none */
    struct pg_conn *conn; /* of a direct writer */
    unsigned turn;
};

/* False: the load ends. */
static bool begin_write(struct kill_load *load)
{
    bool go;

    pthread_mutex_lock(&load->shared.lock);
    while (load->shared.paused && !__atomic_load_n(&load->stop, __ATOMIC_RELAXED))
        (void)os_cond_wait(&load->shared.changed, &load->shared.lock, 100000); /* looked at again */
    go = !load->shared.paused;
    if (go)
        load->shared.writing++;
    pthread_mutex_unlock(&load->shared.lock);
    return go;
}

static void end_write(struct kill_load *load)
{
    pthread_mutex_lock(&load->shared.lock);
    if (--load->shared.writing == 0)
        pthread_cond_broadcast(&load->shared.changed);
    pthread_mutex_unlock(&load->shared.lock);
}

static enum rig_wrote wrote_of(const char *answer)
{
    if (strncmp(answer, "ok", 2) == 0)
        return RIG_WROTE;
    if (strncmp(answer, "held", 4) == 0)
        return RIG_HELD;
    return strncmp(answer, "refused", 7) == 0 ? RIG_REFUSED : RIG_UNKNOWN;
}

static void note(struct kill_load *load, unsigned key, bool direct, enum rig_wrote wrote, const char *text)
{
    pthread_mutex_lock(&load->shared.lock);
    switch (wrote) {
    case RIG_WROTE:
        load->shared.told[key]++;
        load->shared.pending[key] = false;
        load->shared.written++;
        load->shared.direct += direct;
        if (direct)
            load->shared.direct_us = now_us();
        break;
    case RIG_HELD:
    case RIG_MOVED:
        load->shared.held++;
        break;
    case RIG_REFUSED:
        load->shared.fenced += direct;
        load->shared.refused += !direct;
        if (!direct)
            (void)snprintf(load->shared.refusal, sizeof(load->shared.refusal), "key %u: %s", key, text);
        break;
    case RIG_UNKNOWN:
        load->shared.pending[key] = true;
        load->shared.unknown++;
        break;
    }
    pthread_mutex_unlock(&load->shared.lock);
}

/* ---- writers ---- */

static bool ask_door(struct writer *writer, const char *line, char answer[LINE_MAX_BYTES])
{
    if (writer->fd < 0)
        writer->fd = kill_connect(writer->load->socket_path);
    if (writer->fd >= 0 && kill_ask(writer->fd, line, answer))
        return true;
    if (writer->fd >= 0)
        (void)close(writer->fd);
    writer->fd = -1;
    return false;
}

static bool through_the_door(struct writer *writer, unsigned key)
{
    struct kill_load *load = writer->load;
    char line[80], answer[LINE_MAX_BYTES] = "unknown";
    enum rig_wrote wrote;

    (void)snprintf(line, sizeof(line), "write %u %lld\n", key, (long long)load->shared.told[key] + 1);
    wrote = ask_door(writer, line, answer) ? wrote_of(answer) : RIG_UNKNOWN;
    note(load, key, false, wrote, answer);
    return wrote == RIG_WROTE;
}

static void create(struct writer *writer)
{
    struct kill_load *load = writer->load;
    char answer[LINE_MAX_BYTES] = "unknown";
    long long key;

    if (!ask_door(writer, "create\n", answer) || sscanf(answer, "ok %lld", &key) != 1)
        return; /* it may be there or not: nobody was told */
    pthread_mutex_lock(&load->shared.lock);
    if (load->shared.created_count < CREATED_MAX)
        load->shared.created[load->shared.created_count++] = key;
    pthread_mutex_unlock(&load->shared.lock);
}

static bool past_the_door(struct writer *writer, unsigned key)
{
    struct pg_options options = {.conninfo = writer->load->conninfo, .application_name = "direct"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum rig_wrote wrote = RIG_UNKNOWN;

    if (writer->conn != NULL || pg_connect(&options, &writer->conn, &err) == BANYAN_OK)
        wrote = rig_legacy_write(writer->conn, key, writer->load->shared.told[key] + 1, &err);
    note(writer->load, key, true, wrote, err.message);
    if (wrote == RIG_UNKNOWN) {
        pg_close(writer->conn);
        writer->conn = NULL;
    }
    return wrote == RIG_WROTE;
}

static void write_main(void *argument)
{
    struct writer *writer = argument;
    struct kill_load *load = writer->load;
    bool direct = writer->number >= DOOR_WRITERS;
    int64_t every_us = INT64_C(1000000) * (DOOR_WRITERS + DIRECT_WRITERS) / load->rate, due_us = now_us();
    unsigned key, at = 0;
    bool done;

    while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
        pass(due_us - now_us());
        if (!begin_write(load))
            break;
        key = writer->number * KEYS_EACH + at + 1;
        if (!direct && ++writer->turn % CREATE_EVERY == 0)
            create(writer);
        done = direct ? past_the_door(writer, key) : through_the_door(writer, key);
        end_write(load);
        if (done)
            at = (at + 1) % KEYS_EACH; /* else the same step again */
        else
            pass(AGAIN_US);
        due_us += every_us;
        if (due_us < now_us() - 100000)
            due_us = now_us();
    }
    /* What nobody knows is asked until it is known. */
    for (unsigned i = 1; i <= KEYS_EACH; i++)
        for (key = writer->number * KEYS_EACH + i; load->shared.pending[key];)
            if (!(direct ? past_the_door(writer, key) : through_the_door(writer, key)))
                pass(AGAIN_US);
    if (writer->fd >= 0)
        (void)close(writer->fd);
    pg_close(writer->conn);
    free(writer);
}

void kill_load_start(struct kill_load *load)
{
    pthread_mutex_init(&load->shared.lock, NULL);
    os_cond_init(&load->shared.changed);
    for (unsigned i = 1; i <= KEYS; i++)
        load->shared.told[i] = 1;
    for (unsigned i = 0; i < DOOR_WRITERS + DIRECT_WRITERS; i++) {
        struct writer *writer = calloc(1, sizeof(*writer));

        if (writer == NULL)
            abort();
        *writer = (struct writer){.load = load, .number = i, .fd = -1};
        os_thread_start(&load->threads[i], "writer", write_main, writer);
    }
}

void kill_load_pause(struct kill_load *load)
{
    pthread_mutex_lock(&load->shared.lock);
    load->shared.paused = true;
    while (load->shared.writing > 0)
        (void)os_cond_wait(&load->shared.changed, &load->shared.lock, 100000); /* looked at again */
    pthread_mutex_unlock(&load->shared.lock);
}

void kill_load_resume(struct kill_load *load)
{
    pthread_mutex_lock(&load->shared.lock);
    load->shared.paused = false;
    pthread_cond_broadcast(&load->shared.changed);
    pthread_mutex_unlock(&load->shared.lock);
}

void kill_load_stop(struct kill_load *load)
{
    __atomic_store_n(&load->stop, 1, __ATOMIC_RELAXED);
    kill_load_resume(load);
    for (unsigned i = 0; i < DOOR_WRITERS + DIRECT_WRITERS; i++)
        os_thread_join(&load->threads[i]);
}
