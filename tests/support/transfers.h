/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small domain with a process, for tests: money goes from account to account.
 *
 *   account-<key>   Opened, Withdrawn, Deposited, Frozen, Thawed     commands Open, Withdraw, Deposit, Freeze, Thaw
 *   transfer-<key>  TransferAsked                                    command  Ask
 *   mover-<key>     MoveStarted, MoveWaiting, MoveEnded              process "mover", an instance a transfer
 *
 *   asked ─▶ withdraw ─refused─▶ ended "poor"
 *               └─▶ Withdrawn seen ─▶ deposit ─▶ ended "done"
 *                                       ├─frozen─▶ waiting, again when its time is over; the third time: paid back
 *                                       └─else───▶ paid back: ended "back"
 *
 * While money is under way it is nowhere, so that the sum of all balances tells a transfer that was done half or twice.
 */
#ifndef SUPPORT_TRANSFERS_H
#define SUPPORT_TRANSFERS_H

#include "banyan/domain.h"

enum transfers_event {
    TRANSFERS_OPENED,
    TRANSFERS_WITHDRAWN,
    TRANSFERS_DEPOSITED,
    TRANSFERS_FROZEN,
    TRANSFERS_ASKED,
    TRANSFERS_STARTED,
    TRANSFERS_WAITING,
    TRANSFERS_ENDED,
    TRANSFERS_EVENTS,
};

enum {
    TRANSFERS_WAIT_US = 10 * 1000 * 1000,
    TRANSFERS_TRIES = 3,
    TRANSFERS_BAD_AMOUNT = 666, /* its withdrawal is emitted without a time while transfers_broken is set */
};

struct transfers_opened {
    int64_t balance;
};
struct transfers_withdrawn {
    int64_t transfer, amount;
};
struct transfers_deposited {
    int64_t transfer, amount;
    bool back; /* to where it came from */
};
struct transfers_frozen {
    bool frozen;
};
struct transfers_asked {
    int64_t from, to, amount;
};
struct transfers_started {
    int64_t from, to, amount;
};
struct transfers_waiting {
    struct banyan_time until;
};
struct transfers_ended {
    struct banyan_str outcome; /* "done", "back", or why it was refused */
};

struct transfers_account {
    bool open, frozen;
    int64_t balance, withdrawals, deposits;
};
struct transfers_transfer {
    int64_t from, to, amount;
};
enum {
    TRANSFERS_STAGE_NONE,
    TRANSFERS_STAGE_STARTED,
    TRANSFERS_STAGE_WAITING,
    TRANSFERS_STAGE_ENDED,
};
struct transfers_mover {
    int64_t stage, from, to, amount, tries;
    struct banyan_time until; /* optional */
    struct banyan_str outcome;
};

/* Fields of commands: Open takes opened, Withdraw withdrawn, Deposit deposited, Freeze frozen, Ask asked. */
extern const struct banyan_domain transfers_domain;
extern bool transfers_broken; /* atomic */
/* Called once, in the middle of the next decision on a withdrawal; NULL: nothing is. */
extern void (*transfers_interfere)(void);

#endif
