/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE side of lossy_fs.h: a process with one thread that serves the file system and one that takes orders.
 *
 * Nothing is cached by the kernel: contents are read and written directly, names and sizes are asked for each time.  So
 * nobody sees behind a cut what is lost.  (With its cache dropped at each open the kernel may read a page between
 * unlocking it in a write and sending that write, and then keeps the old page: readers of the log met zeros where
 * durable frames were.)
 */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/thread.h"
#include "support/lossy_int.h"

enum power {
    POWER_ON = 1,
    POWER_FROZEN, /* nothing is answered */
    POWER_OFF,    /* everything fails */
};

enum order {
    ORDER_ARM = 1,
    ORDER_FREEZE,
    ORDER_RELEASE,
    ORDER_POWER,
    ORDER_WIPE,
    ORDER_STOP,
    NOTE_FROZEN, /* from the server */
    NOTE_READY,
    NOTE_REFUSED, /* it cannot be mounted */
};

struct message {
    uint64_t order, a, b;
};

/* Of the parent. */
struct lossy_fs {
    pid_t server;
    int orders; /* socket */
    bool frozen;
    char folder[400];
};

/* Of the server process; one. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum power power;
    uint64_t armed; /* operations left; 0: not armed */
    struct lossy_image image;
    int orders;
    struct fuse_session *session;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .power = POWER_ON};

static void send_message(int to, enum order order, uint64_t a, uint64_t b)
{
    struct message message = {order, a, b};

    if (send(to, &message, sizeof(message), MSG_NOSIGNAL) != (ssize_t)sizeof(message))
        return; /* the other end is gone, and notices that elsewhere */
}

/* ---- operations ---- */

/* With the lock. */
static void freeze(void)
{
    server.armed = 0;
    server.power = POWER_FROZEN;
    send_message(server.orders, NOTE_FROZEN, 0, 0);
}

/* Begin an operation; false when the power is off: the request is answered. */
static bool begin(fuse_req_t request, bool changes)
{
    (void)pthread_mutex_lock(&server.lock);
    if (changes && server.power == POWER_ON && server.armed > 0 && --server.armed == 0)
        freeze();
    while (server.power == POWER_FROZEN)
        (void)pthread_cond_wait(&server.changed, &server.lock);
    if (server.power == POWER_ON)
        return true;
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_err(request, EIO);
    return false;
}

static void end(fuse_req_t request, int code)
{
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_err(request, code);
}

static struct stat facts_of(uint64_t number, const struct lossy_node *node)
{
    return (struct stat){
        .st_ino = number,
        .st_mode = node->folder ? S_IFDIR | S_IRWXU : S_IFREG | S_IRUSR | S_IWUSR,
        .st_nlink = 1,
        .st_uid = getuid(),
        .st_gid = getgid(),
        .st_size = (off_t)node->now.size,
        .st_blksize = 4096,
        .st_blocks = (blkcnt_t)(node->now.size / 512),
    };
}

static struct fuse_entry_param entry_of(uint64_t number)
{
    return (struct fuse_entry_param){
        .ino = number, .generation = 1, .attr = facts_of(number, lossy_node(&server.image, number))};
}

/* With the lock; answers ENOENT itself. */
static struct lossy_node *node_or_end(fuse_req_t request, uint64_t number)
{
    struct lossy_node *node = lossy_node(&server.image, number);

    if (node == NULL)
        end(request, ENOENT);
    return node;
}

static void do_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry;
    struct lossy_node *folder;
    uint64_t number;

    if (!begin(request, false) || (folder = node_or_end(request, parent)) == NULL)
        return;
    number = lossy_find(folder, name);
    if (number == 0) {
        end(request, ENOENT);
        return;
    }
    entry = entry_of(number);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_entry(request, &entry);
}

static void do_getattr(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
    struct lossy_node *node;
    struct stat facts;

    (void)info;
    if (!begin(request, false) || (node = node_or_end(request, number)) == NULL)
        return;
    facts = facts_of(number, node);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_attr(request, &facts, 0);
}

static void do_setattr(fuse_req_t request, fuse_ino_t number, struct stat *to, int which, struct fuse_file_info *info)
{
    bool resizes = (which & FUSE_SET_ATTR_SIZE) != 0;
    struct lossy_node *node;
    struct stat facts;

    (void)info;
    if (!begin(request, resizes) || (node = node_or_end(request, number)) == NULL)
        return;
    if (resizes)
        lossy_resize(&server.image, node, (uint64_t)to->st_size);
    facts = facts_of(number, node);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_attr(request, &facts, 0);
}

/* A new node in *parent*; 0 when the request was answered with an error. */
static uint64_t make(fuse_req_t request, fuse_ino_t parent, const char *name, bool folder)
{
    struct lossy_node *in;
    uint64_t number;

    if (!begin(request, true) || (in = node_or_end(request, parent)) == NULL)
        return 0;
    if (lossy_find(in, name) != 0) {
        end(request, EEXIST);
        return 0;
    }
    number = lossy_make(&server.image, folder);
    lossy_set_name(&server.image, in, name, number);
    return number;
}

static void do_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    uint64_t number = make(request, parent, name, true);
    struct fuse_entry_param entry;

    (void)mode;
    if (number == 0)
        return;
    entry = entry_of(number);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_entry(request, &entry);
}

static void do_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *info)
{
    uint64_t number = make(request, parent, name, false);
    struct fuse_entry_param entry;

    (void)mode;
    if (number == 0)
        return;
    entry = entry_of(number);
    (void)pthread_mutex_unlock(&server.lock);
    info->direct_io = 1;
    (void)fuse_reply_create(request, &entry, info);
}

/* The node itself stays as long as a cut may bring its name back. */
static void do_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct lossy_node *folder;

    if (!begin(request, true) || (folder = node_or_end(request, parent)) == NULL)
        return;
    if (lossy_find(folder, name) == 0) {
        end(request, ENOENT);
        return;
    }
    lossy_unset_name(&server.image, folder, name);
    end(request, 0);
}

static void do_link(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry;
    struct lossy_node *folder;

    if (!begin(request, true) || (folder = node_or_end(request, parent)) == NULL ||
        node_or_end(request, number) == NULL)
        return;
    lossy_set_name(&server.image, folder, name, number);
    entry = entry_of(number);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_entry(request, &entry);
}

static void do_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                      const char *new_name, unsigned flags)
{
    struct lossy_node *from, *to;
    uint64_t number;

    (void)flags;
    if (!begin(request, true) || (from = node_or_end(request, parent)) == NULL ||
        (to = node_or_end(request, new_parent)) == NULL)
        return;
    number = lossy_find(from, name);
    if (number == 0) {
        end(request, ENOENT);
        return;
    }
    if (from == to) {
        lossy_rename(&server.image, from, name, new_name);
    } else {
        lossy_set_name(&server.image, to, new_name, number);
        lossy_unset_name(&server.image, from, name);
    }
    end(request, 0);
}

static void do_open(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
    struct lossy_node *node;

    if (!begin(request, false) || (node = node_or_end(request, number)) == NULL)
        return;
    if ((info->flags & O_TRUNC) != 0)
        lossy_resize(&server.image, node, 0);
    (void)pthread_mutex_unlock(&server.lock);
    info->direct_io = 1;
    (void)fuse_reply_open(request, info);
}

static void do_read(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *info)
{
    struct lossy_node *node;
    char *copy;

    (void)info;
    if (!begin(request, false) || (node = node_or_end(request, number)) == NULL)
        return;
    if ((uint64_t)offset >= node->now.size)
        size = 0;
    else if (size > node->now.size - (uint64_t)offset)
        size = node->now.size - (uint64_t)offset;
    copy = alloc_zeroed(size, 1);
    if (size > 0)
        memcpy(copy, node->now.data + offset, size);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_buf(request, copy, size);
    free(copy);
}

static void do_write(fuse_req_t request, fuse_ino_t number, const char *data, size_t size, off_t offset,
                     struct fuse_file_info *info)
{
    struct lossy_node *node;

    (void)info;
    if (!begin(request, true) || (node = node_or_end(request, number)) == NULL)
        return;
    lossy_write(&server.image, node, (uint64_t)offset, data, size);
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_write(request, size);
}

static void do_fsync(fuse_req_t request, fuse_ino_t number, int data_only, struct fuse_file_info *info)
{
    struct lossy_node *node;

    (void)data_only; /* the size is needed to find the data: fdatasync keeps it, too */
    (void)info;
    if (!begin(request, true) || (node = node_or_end(request, number)) == NULL)
        return;
    lossy_flush(node);
    end(request, 0);
}

static void do_fallocate(fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t size,
                         struct fuse_file_info *info)
{
    struct lossy_node *node;

    (void)info;
    if (!begin(request, true) || (node = node_or_end(request, number)) == NULL)
        return;
    if (mode != 0) {
        end(request, EOPNOTSUPP);
        return;
    }
    if ((uint64_t)(offset + size) > node->now.size)
        lossy_resize(&server.image, node, (uint64_t)(offset + size));
    end(request, 0);
}

static void do_readdir(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *info)
{
    struct lossy_node *folder;
    size_t used = 0;
    char *out;

    (void)info;
    if (!begin(request, false) || (folder = node_or_end(request, number)) == NULL)
        return;
    out = alloc_zeroed(size, 1);
    for (size_t i = (size_t)offset; i < folder->names.count; i++) {
        const struct lossy_entry *entry = &folder->names.items[i];
        struct lossy_node *node = lossy_node(&server.image, entry->node);
        struct stat facts = {.st_ino = entry->node};
        size_t needs;

        if (node != NULL)
            facts = facts_of(entry->node, node);
        needs = fuse_add_direntry(request, out + used, size - used, entry->name, &facts, (off_t)i + 1);
        if (needs > size - used)
            break;
        used += needs;
    }
    (void)pthread_mutex_unlock(&server.lock);
    (void)fuse_reply_buf(request, out, used);
    free(out);
}

static void do_statfs(fuse_req_t request, fuse_ino_t number)
{
    struct statvfs facts = {
        .f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 1 << 20, .f_bavail = 1 << 20, .f_namemax = LOSSY_NAME_MAX - 1};

    (void)number;
    (void)fuse_reply_statfs(request, &facts);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = do_lookup,
    .getattr = do_getattr,
    .setattr = do_setattr,
    .mkdir = do_mkdir,
    .create = do_create,
    .unlink = do_unlink,
    .rmdir = do_unlink,
    .link = do_link,
    .rename = do_rename,
    .open = do_open,
    .read = do_read,
    .write = do_write,
    .fsync = do_fsync,
    .fsyncdir = do_fsync,
    .fallocate = do_fallocate,
    .readdir = do_readdir,
    .statfs = do_statfs,
};

/* ---- the server ---- */

/* False: the file system is to end. */
static bool obey(const struct message *message)
{
    struct lossy_report report = {.lost = 0};

    (void)pthread_mutex_lock(&server.lock);
    switch ((enum order)message->order) {
    case ORDER_ARM:
        server.armed = message->a;
        break;
    case ORDER_FREEZE:
        if (server.power == POWER_ON)
            freeze();
        break;
    case ORDER_RELEASE:
        server.power = POWER_OFF;
        break;
    case ORDER_POWER:
        report = lossy_survive(&server.image, (enum lossy_cut)message->a, message->b);
        server.power = POWER_ON;
        break;
    case ORDER_WIPE:
        lossy_empty(&server.image);
        break;
    default:
        server.power = POWER_OFF;
        (void)pthread_cond_broadcast(&server.changed);
        (void)pthread_mutex_unlock(&server.lock);
        return false;
    }
    (void)pthread_cond_broadcast(&server.changed);
    (void)pthread_mutex_unlock(&server.lock);
    send_message(server.orders, message->order, report.lost, report.dirty);
    return true;
}

static void take_orders(void *argument)
{
    struct message message;

    (void)argument;
    while (recv(server.orders, &message, sizeof(message), MSG_WAITALL) == (ssize_t)sizeof(message) && obey(&message))
        ;
    message.order = ORDER_STOP; /* also when the parent has died */
    (void)obey(&message);
    fuse_session_exit(server.session);
    fuse_session_unmount(server.session); /* wakes the other thread */
}

static void serve(const char *folder, int orders) __attribute__((noreturn));
static void serve(const char *folder, int orders)
{
    char program[] = "lossy_fs", flag[] = "-o", options[] = "fsname=lossy,default_permissions";
    char *argv[] = {program, flag, options, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, argv);
    struct os_thread thread = {.started = false};

    (void)setpgid(0, 0); /* Ctrl-C is for the tests: they end us by closing the socket */
    lossy_image_init(&server.image);
    server.orders = orders;
    server.session = fuse_session_new(&arguments, &operations, sizeof(operations), NULL);
    if (server.session == NULL || fuse_session_mount(server.session, folder) != 0) {
        send_message(orders, NOTE_REFUSED, (uint64_t)errno, 0);
        _exit(1);
    }
    send_message(orders, NOTE_READY, 0, 0);
    os_thread_start(&thread, "orders", take_orders, NULL);
    (void)fuse_session_loop(server.session); /* ends when it is unmounted */
    os_thread_join(&thread);
    _exit(0);
}

/* ---- the parent's side ---- */

/* The next message; false when the server is gone or silent. */
static bool receive(struct lossy_fs *fs, struct message *ret, int64_t timeout_us)
{
    struct pollfd waits = {.fd = fs->orders, .events = POLLIN};

    if (poll(&waits, 1, (int)(timeout_us / 1000)) != 1)
        return false;
    return recv(fs->orders, ret, sizeof(*ret), MSG_WAITALL) == (ssize_t)sizeof(*ret);
}

/* Give an order and wait until it is done. */
static struct message command(struct lossy_fs *fs, enum order order, uint64_t a, uint64_t b)
{
    struct message answer = {.order = 0};

    send_message(fs->orders, order, a, b);
    do {
        if (!receive(fs, &answer, 10000000)) {
            (void)fprintf(stderr, "the lossy file system does not answer order %d\n", (int)order);
            abort();
        }
        fs->frozen |= answer.order == NOTE_FROZEN;
    } while (answer.order != order);
    return answer;
}

struct lossy_fs *lossy_fs_start(const char *folder, char *why, size_t why_size)
{
    struct lossy_fs *fs = alloc_zeroed(1, sizeof(*fs));
    struct message message = {.order = 0};
    int ends[2];

    (void)snprintf(fs->folder, sizeof(fs->folder), "%s", folder);
    if (access("/dev/fuse", R_OK | W_OK) != 0) {
        (void)snprintf(why, why_size, "/dev/fuse: %s", strerror(errno));
        free(fs);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        abort();
    (void)fflush(NULL);
    fs->server = fork();
    if (fs->server == 0) {
        (void)close(ends[0]);
        serve(folder, ends[1]);
    }
    (void)close(ends[1]);
    fs->orders = ends[0];
    if (fs->server > 0 && receive(fs, &message, 10000000) && message.order == NOTE_READY)
        return fs;
    (void)snprintf(why, why_size, "mounting a FUSE file system is refused (%s); it takes root, or fusermount3",
                   strerror((int)message.a));
    lossy_fs_stop(fs);
    return NULL;
}

void lossy_fs_stop(struct lossy_fs *fs)
{
    if (fs == NULL)
        return;
    send_message(fs->orders, ORDER_STOP, 0, 0);
    (void)close(fs->orders);
    (void)waitpid(fs->server, NULL, 0);
    (void)umount2(fs->folder, MNT_DETACH); /* only where the server could not */
    free(fs);
}

void lossy_fs_arm(struct lossy_fs *fs, uint64_t operations_left)
{
    fs->frozen = false;
    (void)command(fs, ORDER_ARM, operations_left, 0);
}

void lossy_fs_freeze(struct lossy_fs *fs)
{
    (void)command(fs, ORDER_FREEZE, 0, 0);
}

bool lossy_fs_wait_frozen(struct lossy_fs *fs, int64_t timeout_us)
{
    struct message message;

    while (!fs->frozen) {
        if (!receive(fs, &message, timeout_us))
            return false;
        fs->frozen = message.order == NOTE_FROZEN;
    }
    return true;
}

void lossy_fs_release(struct lossy_fs *fs)
{
    (void)command(fs, ORDER_RELEASE, 0, 0);
}

struct lossy_report lossy_fs_power(struct lossy_fs *fs, enum lossy_cut cut, uint64_t seed)
{
    struct message answer = command(fs, ORDER_POWER, cut, seed);

    return (struct lossy_report){answer.a, answer.b};
}

void lossy_fs_wipe(struct lossy_fs *fs)
{
    (void)command(fs, ORDER_WIPE, 0, 0);
}
