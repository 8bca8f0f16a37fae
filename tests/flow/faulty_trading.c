/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program `banyan` with a trading domain that goes wrong when it is told to: the byte in the file that
 * BANYAN_TEST_FAULT names.  Only for tests of the guards; no such thing is in the product.
 *
 *   -   nothing
 *   s   slow: a command takes 100 ms longer to decide
 *   h   hangs: a command takes 5 s to decide
 *   f   fails: every twentieth answer of the façade is a 500
 *   l   lies: a read's answer has another price
 *
 * The file is mapped: write the byte where it is (dd conv=notrunc), never truncate it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/main.h"
#include "trading/trading.h"

enum {
    SLOW_MS = 100,
    HANG_SECONDS = 5,
    FAILS_EVERY = 20,
    AGGREGATES_MAX = 8,
};

static const char *fault; /* mapped */
static unsigned answers;  /* atomic */
static const struct banyan_facade *good;

static bool is_told(char what)
{
    return __atomic_load_n(fault, __ATOMIC_RELAXED) == what;
}

static bool decide(const void *state, bool exists, const struct banyan_command *command, struct banyan_emitter *out,
                   struct banyan_refusal *ret)
{
    if (is_told('s'))
        (void)nanosleep(&(struct timespec){.tv_nsec = SLOW_MS * 1000000L}, NULL); /* shorter is as good */
    if (is_told('h'))
        (void)nanosleep(&(struct timespec){.tv_sec = HANG_SECONDS}, NULL);
    return banyan_domain_trading.aggregates[0].decide(state, exists, command, out, ret);
}

/* Every twentieth. */
static bool fails(struct banyan_response *ret)
{
    if (!is_told('f') || __atomic_add_fetch(&answers, 1, __ATOMIC_RELAXED) % FAILS_EVERY != 0)
        return false;
    *ret = (struct banyan_response){500, "application/json", BANYAN_STR("{\"error\": \"injected\"}")};
    return true;
}

/* Another digit where a price begins. */
static void lie(struct banyan_arena *arena, struct banyan_response *ret)
{
    static const char before[] = "\"price\"";
    struct banyan_str body = banyan_arena_str(arena, ret->body);
    char *at = body.size == 0 ? NULL : memmem(body.data, body.size, before, sizeof(before) - 1);
    if (!is_told('l') || at == NULL)
        return;
    at += sizeof(before) - 1;
    at += strcspn(at, "0123456789");
    if (*at != '\0')
        *at = *at == '9' ? '1' : *at + 1;
    ret->body = body;
}

static void answer(const struct banyan_request *request, const struct banyan_route *route,
                   const struct banyan_outcome *outcomes, struct banyan_arena *arena, struct banyan_response *ret)
{
    if (!fails(ret))
        good->answer(request, route, outcomes, arena, ret);
}

static void read_rows(const struct banyan_request *request, const struct banyan_route *route,
                      struct banyan_reader *reader, struct banyan_arena *arena, struct banyan_response *ret)
{
    if (fails(ret))
        return;
    good->read(request, route, reader, arena, ret);
    lie(arena, ret);
}

static void read_state(const struct banyan_request *request, const struct banyan_route *route, const void *state,
                       bool exists, struct banyan_arena *arena, struct banyan_response *ret)
{
    if (fails(ret))
        return;
    good->read_state(request, route, state, exists, arena, ret);
    lie(arena, ret);
}

static const char *map_fault(void)
{
    static const char nothing = '-';
    const char *path = getenv("BANYAN_TEST_FAULT");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return &nothing;
    const char *ret = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd); /* the mapping stays */
    if (ret == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return ret;
}

int main(int argc, char **argv)
{
    struct banyan_domain domain = banyan_domain_trading;
    struct banyan_aggregate aggregate = domain.aggregates[0];
    struct banyan_legacy_mapping mappings[AGGREGATES_MAX];
    struct banyan_facade facade = *domain.facade;
    fault = map_fault();
    good = domain.facade;
    if (domain.aggregate_count != 1 || domain.mapping_count > AGGREGATES_MAX)
        return 1; /* the domain has grown: so has this to */
    aggregate.decide = decide;
    for (size_t i = 0; i < domain.mapping_count; i++) {
        mappings[i] = domain.mappings[i];
        mappings[i].aggregate = &aggregate;
    }
    facade.answer = answer;
    facade.read = read_rows;
    facade.read_state = facade.read_state == NULL ? NULL : read_state;
    domain.aggregates = &aggregate;
    domain.mappings = mappings;
    domain.facade = &facade;
    const struct banyan_domain *const domains[] = {&domain};
    return banyan_main(argc, argv, domains, 1);
}
