/* The file driver, through its node, on real files. */
#include "node_rig.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[40];
static char path[64], options[256];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/var/tmp/sluice-file-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/image", folder);
    signal(SIGXFSZ, SIG_IGN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void make_image(uint64_t bytes, char fill)
{
    char *data = malloc(bytes + 1);
    memset(data, fill, bytes);
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
    free(data);
}

static const char *with(const char *more)
{
    snprintf(options, sizeof(options), "filename=%s %s", path, more);
    return options;
}

static actor_addr open_image(const char *more)
{
    return rig_open("f", "file", 0, with(more));
}

/* Whether the file itself has these bytes. */
static bool file_holds(int64_t offset, uint64_t bytes, char value)
{
    char *data = malloc(bytes);
    int fd = open(path, O_RDONLY);
    ssize_t n = pread(fd, data, bytes, offset);
    bool same = n == (ssize_t)bytes && rig_all(data, bytes, (unsigned char)value);
    close(fd);
    free(data);
    return same;
}

static struct stat file_stat(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st;
}

static void it_reads_and_writes_the_file(void **state)
{
    (void)state;
    char data[1000];
    make_image(10000, 'i');
    actor_addr node = open_image("");
    assert_int_equal(rig.facts.length, 10000);
    assert_int_equal(rig.facts.alignment, 1);
    assert_int_equal(rig_io(node, OP_READ, 9000, data, 1000, 0), 0);
    assert_true(rig_all(data, 1000, 'i'));
    memset(data, 'w', 1000);
    assert_int_equal(rig_io(node, OP_WRITE, 77, data, 1000, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 5000, data, 1000, OP_FUA), 0);
    assert_int_equal(rig_io(node, OP_FLUSH, 0, NULL, 0, 0), 0);
    assert_true(file_holds(0, 77, 'i') && file_holds(77, 1000, 'w') && file_holds(1077, 100, 'i'));
    assert_true(file_holds(5000, 1000, 'w'));
    assert_int_equal(rig_io(node, OP_READ, 9001, data, 1000, 0), -EIO);
    rig_close(node);
}

static void vectors_land_in_order(void **state)
{
    (void)state;
    char data[3][100], back[300];
    struct rig_op op;
    make_image(10000, 0);
    actor_addr node = open_image("");
    for (int i = 0; i < 3; i++) {
        memset(data[i], 'a' + i, 100);
        op.iov[i] = (struct iovec){data[i], 100};
    }
    assert_int_equal(rig_io_v(&op, node, OP_WRITE, 5, 3, 0), 0);
    assert_int_equal(rig_io(node, OP_READ, 5, back, 300, 0), 0);
    assert_memory_equal(data, back, 300);
    rig_close(node);
}

static void zeroes_make_the_range_read_as_zeroes(void **state)
{
    (void)state;
    make_image(1 << 20, 'z');
    actor_addr node = open_image("");
    assert_int_equal(rig_io(node, OP_ZEROES, 1000, NULL, 300000, 0), 0);
    assert_true(file_holds(0, 1000, 'z') && file_holds(1000, 300000, 0) &&
                file_holds(301000, 100, 'z'));
    assert_int_equal(rig_io(node, OP_ZEROES, 400000, NULL, 300000, OP_FUA), 0);
    assert_true(file_holds(400000, 300000, 0));
    blkcnt_t before = file_stat().st_blocks;
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 1 << 20, OP_MAY_UNMAP), 0);
    assert_true(file_holds(0, 1 << 20, 0));
    assert_true(file_stat().st_blocks < before);
    assert_int_equal(file_stat().st_size, 1 << 20);
    rig_close(node);
}

static void a_discard_frees_space_unless_discard_is_off(void **state)
{
    (void)state;
    make_image(1 << 20, 'd');
    actor_addr node = open_image("discard=off");
    blkcnt_t before = file_stat().st_blocks;
    assert_int_equal(rig.facts.can & (DRIVER_CAN_DISCARD | DRIVER_CAN_UNMAP), 0);
    assert_int_equal(rig_io(node, OP_DISCARD, 0, NULL, 1 << 20, 0), -ENOTSUP);
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 1 << 19, OP_MAY_UNMAP), 0);
    assert_int_equal(file_stat().st_blocks, before);
    rig_close(node);
    node = open_image("");
    assert_int_equal(rig_io(node, OP_DISCARD, 0, NULL, 1 << 20, 0), 0);
    assert_true(file_stat().st_blocks < before);
    assert_int_equal(file_stat().st_size, 1 << 20);
    rig_close(node);
}

static void it_grows_and_truncates(void **state)
{
    (void)state;
    char data[100];
    memset(data, 'g', 100);
    make_image(1000, 'x');
    actor_addr node = open_image("");
    assert_int_equal(rig_io(node, OP_WRITE, 950, data, 100, 0), -EIO);
    assert_int_equal(rig_io(node, OP_WRITE, 950, data, 100, OP_BEYOND_END), 0);
    assert_int_equal(file_stat().st_size, 1050);
    assert_int_equal(rig_io(node, OP_READ, 950, data, 100, 0), 0);
    assert_int_equal(rig_io(node, OP_ZEROES, 2000, NULL, 100, OP_BEYOND_END), 0);
    assert_int_equal(file_stat().st_size, 2100);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 500, NULL, 0, 0), 0);
    assert_int_equal(file_stat().st_size, 500);
    assert_int_equal(rig_io(node, OP_READ, 450, data, 100, 0), -EIO);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 1 << 20, NULL, 0, 0), 0);
    assert_int_equal(file_stat().st_size, 1 << 20);
    assert_int_equal(rig_io(node, OP_READ, 450, data, 100, 0), 0);
    assert_true(rig_all(data, 50, 'x') && rig_all(data + 50, 50, 0));
    rig_close(node);
}

static void preallocation_reserves_space(void **state)
{
    (void)state;
    static const unsigned ways[] = {OP_PREALLOC_METADATA, OP_PREALLOC_FALLOC, OP_PREALLOC_FULL};
    for (int i = 0; i < 3; i++) {
        make_image(0, 0);
        actor_addr node = open_image("");
        assert_int_equal(rig_io(node, OP_TRUNCATE, 1 << 20, NULL, 0, ways[i]), 0);
        assert_int_equal(file_stat().st_size, 1 << 20);
        rig_close(node);
        sync();
        assert_true(file_stat().st_blocks * 512 >= 1 << 20);
        assert_true(file_holds(0, 1 << 20, 0));
    }
}

static void direct_io_bounces_what_is_not_aligned(void **state)
{
    (void)state;
    char *data = malloc(20000);
    make_image(65536, 'o');
    actor_addr node = open_image("direct=on");
    assert_true(rig.facts.alignment >= 512);
    memset(data, 'n', 20000);
    assert_int_equal(rig_io(node, OP_WRITE, 777, data + 1, 10001, 0), 0);
    assert_true(file_holds(0, 777, 'o') && file_holds(777, 10001, 'n') &&
                file_holds(10778, 65536 - 10778, 'o'));
    memset(data, 0, 20000);
    assert_int_equal(rig_io(node, OP_READ, 777, data + 3, 10001, 0), 0);
    assert_true(rig_all(data + 3, 10001, 'n'));
    assert_int_equal(data[2], 0);
    assert_int_equal(data[10004], 0);
    rig_close(node);
    free(data);
}

static void direct_io_rounds_an_odd_length_up_and_reads_zeroes_there(void **state)
{
    (void)state;
    char data[512];
    make_image(1000, 'o');
    actor_addr node = open_image("direct=on");
    int64_t length = rig.facts.length;
    assert_true(length >= 1024 && length % rig.facts.alignment == 0);
    assert_int_equal(rig_io(node, OP_READ, 900, data, 124, 0), 0);
    assert_true(rig_all(data, 100, 'o') && rig_all(data + 100, 24, 0));
    memset(data, 'p', 124);
    assert_int_equal(rig_io(node, OP_WRITE, 900, data, 110, 0), 0);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 512, 0), 0);
    assert_true(rig_all(data, 512, 'o'));
    rig_close(node);
    assert_true(file_holds(0, 900, 'o') && file_holds(900, 110, 'p'));
}

static void a_file_that_somebody_cut_reads_as_zeroes_there(void **state)
{
    (void)state;
    char data[1000];
    make_image(10000, 'c');
    actor_addr node = open_image("");
    assert_int_equal(truncate(path, 5500), 0);
    assert_int_equal(rig_io(node, OP_READ, 5000, data, 1000, 0), 0);
    assert_true(rig_all(data, 500, 'c') && rig_all(data + 500, 500, 0));
    assert_int_equal(rig_io(node, OP_READ, 9000, data, 1000, 0), 0);
    assert_true(rig_all(data, 1000, 0));
    rig_close(node);
}

static void many_requests_are_in_flight_at_once(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct rig_op ops[N];
    static char data[N][512];
    make_image(N * 512, 0);
    actor_addr node = open_image("");
    for (int i = 0; i < N; i++) {
        memset(data[i], i, 512);
        rig_start(&ops[i], node, OP_WRITE, i * 512, data[i], 512, 0);
    }
    for (int i = 0; i < N; i++) {
        rig_until(&ops[i].done);
        assert_int_equal(ops[i].ret, 0);
        assert_true(file_holds(i * 512, 512, (char)i));
    }
    rig_close(node);
}

static void it_goes_on_after_a_move_to_another_reactor(void **state)
{
    (void)state;
    char data[100];
    make_image(1000, 'm');
    actor_addr node = open_image("");
    rig_move(node);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 100, 0), 0);
    assert_true(rig_all(data, 100, 'm'));
    rig_move(node);
    assert_int_equal(rig_io(node, OP_WRITE, 5, data, 100, OP_FUA), 0);
    assert_int_equal(rig_try("g", "file", 0, with("")), 0); /* it is still locked */
    rig_close(node);
}

/* Which ring knows the memory shows when the process itself may not touch it. */
static void registered_memory_goes_with_a_move(void **state)
{
    (void)state;
    char *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(data, MAP_FAILED);
    make_image(4096, 'm');
    actor_addr node = open_image("");
    Sluice__Buffer *told = MAIL_NEW(sluice__buffer);
    told->address = (uint64_t)(uintptr_t)data;
    told->bytes = 4096;
    told->on = true;
    if (rig_ask(node, MAIL_BUFFER, told).kind == MAIL_FAULT)
        skip(); /* memory may not be locked here */
    for (int i = 0; i < 3; i++) {
        memset(data, 0, 4096);
        assert_int_equal(mprotect(data, 4096, PROT_NONE), 0);
        assert_int_equal(rig_io(node, OP_READ, 0, data, 4096, 0), 0);
        assert_int_equal(mprotect(data, 4096, PROT_READ | PROT_WRITE), 0);
        assert_true(rig_all(data, 4096, 'm'));
        rig_move(node);
    }
    rig_close(node);
    node = open_image("");
    assert_int_equal(mprotect(data, 4096, PROT_NONE), 0);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 4096, 0),
                     -EFAULT); /* closing unregistered it */
    munmap(data, 4096);
    rig_close(node);
}

static void a_second_writer_is_refused_and_readers_share(void **state)
{
    (void)state;
    make_image(1000, 'l');
    actor_addr first = open_image("");
    assert_int_equal(rig_try("g", "file", 0, with("")), 0);
    assert_int_equal(rig.err.code, -EBUSY);
    assert_non_null(strstr(rig.err.text, path));
    assert_int_equal(rig_try("g", "file", 0, with("read-only=on")), 0);
    assert_int_equal(rig.err.code, -EBUSY);
    actor_addr second = open_image("locking=off");
    rig_close(second);
    rig_close(first);
    first = open_image("read-only=on");
    second = open_image("read-only=on");
    assert_int_equal(rig_try("g", "file", 0, with("")), 0);
    assert_int_equal(rig.err.code, -EBUSY);
    rig_close(first);
    rig_close(second);
    first = open_image("");
    rig_close(first);
}

static int lock_byte(int fd, int type, off_t byte)
{
    struct flock range = {.l_type = (short)type, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &range);
}

/* The kernel lets go of a killed process's files a little after its end. */
static void a_lock_that_goes_soon_is_waited_for(void **state)
{
    (void)state;
    make_image(1000, 'l');
    int fd = open(path, O_RDWR);
    lock_byte(fd, F_WRLCK, 0);
    actor_addr node = rig_spawn(&node_type, "f");
    struct rig_answer answer = {0};
    rig_post(&answer, node, MAIL_NODE_OPEN, rig_spec("f", "file", 0, with("")));
    rig_run();
    assert_false(answer.came);
    close(fd);
    rig_advance(100 * NS_PER_MS);
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_NODE_FACTS);
    rig_close(node);
}

/* What an opening as QEMU does it finds: nobody has a lock on this byte. */
static bool is_free(int fd, off_t byte)
{
    struct flock range = {.l_type = F_WRLCK, .l_start = byte, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_GETLK, &range), 0);
    return range.l_type == F_UNLCK;
}

static void locks_as_qemu_s_programs_take_them_are_respected_and_taken(void **state)
{
    (void)state;
    make_image(1000, 'l');
    int fd = open(path, O_RDWR);
    lock_byte(fd, F_RDLCK, 100); /* it reads */
    rig_close(open_image(""));
    lock_byte(fd, F_RDLCK, 201); /* and wants nobody to write */
    assert_int_equal(rig_try("f", "file", 0, with("")), 0);
    assert_int_equal(rig.err.code, -EBUSY);
    rig_close(open_image("read-only=on"));
    lock_byte(fd, F_UNLCK, 201);
    lock_byte(fd, F_RDLCK, 101); /* it writes */
    assert_int_equal(rig_try("f", "file", 0, with("")), 0);
    assert_int_equal(rig_try("f", "file", 0, with("read-only=on")), 0);
    assert_int_equal(rig.err.code, -EBUSY);
    lock_byte(fd, F_UNLCK, 101);
    lock_byte(fd, F_UNLCK, 100);

    actor_addr writer = open_image("");
    assert_false(is_free(fd, 101) || is_free(fd, 201));
    assert_true(is_free(fd, 200));
    rig_close(writer);
    actor_addr reader = open_image("read-only=on");
    assert_true(is_free(fd, 101));
    assert_false(is_free(fd, 201));
    rig_close(reader);
    assert_true(is_free(fd, 0) && is_free(fd, 101) && is_free(fd, 201));
    close(fd);
}

static void read_only_refuses_writes(void **state)
{
    (void)state;
    char data[100] = "";
    make_image(1000, 'r');
    chmod(path, 0400);
    actor_addr node = open_image("read-only=on");
    assert_true(rig.facts.read_only);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 100, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, 100, 0), -EPERM);
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 100, 0), -EPERM);
    assert_int_equal(rig_io(node, OP_DISCARD, 0, NULL, 100, 0), -EPERM);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 0, NULL, 0, 0), -EACCES);
    assert_int_equal(rig_io(node, OP_FLUSH, 0, NULL, 0, 0), 0);
    rig_close(node);
}

static void check_refused(const char *text, int code, const char *part)
{
    assert_int_equal(rig_try("f", "file", 0, text), 0);
    assert_int_equal(rig.err.code, code);
    if (!strstr(rig.err.text, part))
        print_error("'%s' lacks '%s'\n", rig.err.text, part);
    assert_non_null(strstr(rig.err.text, part));
}

static void what_can_t_be_opened_has_its_own_sentence(void **state)
{
    (void)state;
    char text[200];
    unlink(path);
    check_refused(with(""), -ENOENT, "there is no file");
    assert_non_null(strstr(rig.err.text, path));
    assert_string_equal(rig.err.field, "filename");
    check_refused("", -EINVAL, "driver file needs the option filename");
    check_refused("filename=", -ENOENT, "there is no file ''");
    snprintf(text, sizeof(text), "filename=%s", folder);
    check_refused(text, -EISDIR, "is a directory");
    snprintf(text, sizeof(text), "filename=%s read-only=on", folder);
    check_refused(text, -EISDIR, "is a directory");
    check_refused("filename=/dev/null", -EINVAL, "is a character device");
    snprintf(text, sizeof(text), "filename=%s/image/below", folder);
    make_image(10, 'x');
    check_refused(text, -ENOTDIR, "can't be opened: Not a directory");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(with(""), -EINVAL, "is a pipe");
    check_refused(with("read-only=on"), -EINVAL, "is a pipe");
    unlink(path);
}

static void without_permission_the_sentence_says_so(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    make_image(1000, 'p');
    chmod(path, 0444);
    chmod(folder, 0755);
    /* The ring acts with the rights that this thread has when it submits. */
    assert_int_equal(seteuid(65534), 0);
    actor_addr node = rig_try("f", "file", 0, with(""));
    struct err err = rig.err;
    actor_addr reader = rig_try("f", "file", 0, with("read-only=on"));
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(node, 0);
    assert_int_equal(err.code, -EACCES);
    assert_non_null(strstr(err.text, "permission denied; if reading is enough, give read-only=on"));
    assert_true(reader != 0);
    rig_close(reader);
}

/* Makes the folder a file system of 1 MiB, seen by this process alone. */
static void mount_small(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=1m") < 0)
        skip();
}

static void a_full_disk_is_reported_as_such(void **state)
{
    (void)state;
    mount_small();
    char *data = malloc(1 << 20), small[4096];
    memset(data, 'f', 1 << 20);
    make_image(4096, 'x');
    actor_addr node = open_image("");
    assert_int_equal(rig_io(node, OP_TRUNCATE, 16 << 20, NULL, 0, 0), 0);
    assert_int_equal(rig_io(node, OP_WRITE, 8192, data, 1 << 20, 0), -ENOSPC);
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 4 << 20, 0), -ENOSPC);
    assert_int_equal(rig_io(node, OP_READ, 0, small, 4096, 0), 0);
    /* tmpfs has holes, but can't zero a range in place. */
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 16 << 20, OP_MAY_UNMAP | OP_NO_FALLBACK), 0);
    assert_int_equal(file_stat().st_blocks, 0);
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 4096, OP_NO_FALLBACK), -ENOTSUP);
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, 4096, 0), 0);
    assert_int_equal(rig_io(node, OP_ZEROES, 0, NULL, 4096, 0), 0);
    assert_true(file_holds(0, 4096, 0));

    assert_int_equal(rig_io(node, OP_TRUNCATE, 4096, NULL, 0, 0), 0);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 16 << 20, NULL, 0, OP_PREALLOC_FALLOC), -ENOSPC);
    assert_int_equal(file_stat().st_size, 4096);
    assert_int_equal(rig_io(node, OP_TRUNCATE, 16 << 20, NULL, 0, OP_PREALLOC_FULL), -ENOSPC);
    assert_int_equal(file_stat().st_size, 4096);
    assert_int_equal(rig_io(node, OP_WRITE, 4096, data, 100000, OP_BEYOND_END), 0);
    rig_close(node);
    unlink(path);
    umount(folder);
    free(data);
}

/* A block device on the image, or null. Its descriptor keeps it. */
static const char *make_device(int *fd, unsigned block)
{
    static char name[32];
    int image = open(path, O_RDWR | O_CLOEXEC), control = open("/dev/loop-control", O_RDWR);
    int number = control >= 0 ? ioctl(control, LOOP_CTL_GET_FREE) : -1;
    struct loop_config config = {
        .fd = (unsigned)image, .block_size = block, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    snprintf(name, sizeof(name), "/dev/loop%d", number);
    *fd = number >= 0 ? open(name, O_RDWR | O_CLOEXEC) : -1;
    bool made = *fd >= 0 && ioctl(*fd, LOOP_CONFIGURE, &config) == 0;
    close(control);
    close(image);
    return made ? name : NULL;
}

static void a_block_device_reads_writes_zeroes_and_discards(void **state)
{
    (void)state;
    char text[64], data[10000];
    int fd;
    make_image(1 << 20, 'd');
    const char *name = geteuid() == 0 ? make_device(&fd, 512) : NULL;
    if (!name)
        skip();
    static const char *const ways[] = {"", "direct=on"};
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "filename=%s %s", name, ways[i]);
        actor_addr node = rig_open("f", "file", 0, text);
        assert_int_equal(rig.facts.length, 1 << 20);
        assert_int_equal(rig.facts.alignment, i ? 512 : 1);
        assert_int_equal(rig.facts.can & (DRIVER_CAN_RESIZE | DRIVER_CAN_GROW), 0);
        memset(data, 'w', 10000);
        assert_int_equal(rig_io(node, OP_WRITE, 100, data, 10000, OP_FUA), 0);
        assert_int_equal(rig_io(node, OP_ZEROES, 700, NULL, 1000, 0), 0);
        assert_int_equal(rig_io(node, OP_ZEROES, 3000, NULL, 3000, OP_MAY_UNMAP), 0);
        assert_int_equal(rig_io(node, OP_DISCARD, 8000, NULL, 10, 0), 0);
        assert_int_equal(rig_io(node, OP_READ, 100, data, 10000, 0), 0);
        assert_true(rig_all(data, 600, 'w') && rig_all(data + 600, 1000, 0) &&
                    rig_all(data + 1600, 1300, 'w') && rig_all(data + 2900, 3000, 0) &&
                    rig_all(data + 5900, 4100, 'w'));
        assert_int_equal(rig_io(node, OP_DISCARD, 0, NULL, 1 << 20, 0), 0);
        assert_int_equal(rig_io(node, OP_TRUNCATE, 1 << 21, NULL, 0, 0), -ENOTSUP);
        assert_int_equal(rig_io(node, OP_FLUSH, 0, NULL, 0, 0), 0);
        rig_close(node);
    }
    close(fd);
}

static void a_block_device_tells_its_block_sizes_and_a_file_has_none(void **state)
{
    (void)state;
    char text[64];
    int fd;
    make_image(1 << 20, 'd');
    actor_addr node = open_image("");
    assert_int_equal(rig.facts.logical_block, 0);
    assert_int_equal(rig.facts.physical_block, 0);
    rig_close(node);
    const char *name = geteuid() == 0 ? make_device(&fd, 4096) : NULL;
    if (!name)
        skip();
    snprintf(text, sizeof(text), "filename=%s", name);
    node = rig_open("f", "file", 0, text);
    assert_int_equal(rig.facts.logical_block, 4096);
    assert_int_equal(rig.facts.physical_block, 4096);
    assert_int_equal(rig.facts.cylinders, 0); /* a loop device has no geometry */
    assert_int_equal(rig.facts.heads, 0);
    assert_false(rig.facts.sg);
    rig_close(node);
    close(fd);
}

static void after_a_flush_that_failed_none_succeeds(void **state)
{
    (void)state;
    static char data[1 << 20]; /* the test may be skipped at any point */
    char text[64];
    int fd;
    memset(data, 'f', sizeof(data));
    mount_small();
    make_image(1, 0);
    assert_int_equal(truncate(path, 4 << 20), 0);
    const char *name = make_device(&fd, 512);
    if (!name)
        skip();
    /* The page cache takes what the device's own disk has no room for. */
    snprintf(text, sizeof(text), "filename=%s", name);
    actor_addr node = rig_open("f", "file", 0, text);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_io(node, OP_WRITE, i << 20, data, 1 << 20, 0), 0);
    int64_t first = rig_io(node, OP_FLUSH, 0, NULL, 0, 0);
    assert_true(first < 0);
    assert_int_equal(rig_io(node, OP_FLUSH, 0, NULL, 0, 0), first);
    rig_close(node);
    close(fd);
    unlink(path);
    umount(folder);
}

static void a_file_size_limit_is_reported(void **state)
{
    (void)state;
    struct rlimit old, tight;
    char data[8192];
    memset(data, 'q', sizeof(data));
    make_image(4096, 'x');
    actor_addr node = open_image("");
    getrlimit(RLIMIT_FSIZE, &old);
    tight = (struct rlimit){10000, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    int64_t whole = rig_io(node, OP_WRITE, 12000, data, 8192, OP_BEYOND_END);
    int64_t partly = rig_io(node, OP_WRITE, 4096, data, 8192, OP_BEYOND_END);
    int64_t grown = rig_io(node, OP_TRUNCATE, 20000, NULL, 0, 0);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(whole, -EFBIG);
    assert_int_equal(partly, -EFBIG);
    assert_int_equal(grown, -EFBIG);
    rig_close(node);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(it_reads_and_writes_the_file),
        RIG_TEST(vectors_land_in_order),
        RIG_TEST(zeroes_make_the_range_read_as_zeroes),
        RIG_TEST(a_discard_frees_space_unless_discard_is_off),
        RIG_TEST(it_grows_and_truncates),
        RIG_TEST(preallocation_reserves_space),
        RIG_TEST(direct_io_bounces_what_is_not_aligned),
        RIG_TEST(direct_io_rounds_an_odd_length_up_and_reads_zeroes_there),
        RIG_TEST(a_file_that_somebody_cut_reads_as_zeroes_there),
        RIG_TEST(many_requests_are_in_flight_at_once),
        RIG_TEST(it_goes_on_after_a_move_to_another_reactor),
        RIG_TEST(registered_memory_goes_with_a_move),
        RIG_TEST(a_second_writer_is_refused_and_readers_share),
        RIG_TEST(a_lock_that_goes_soon_is_waited_for),
        RIG_TEST(locks_as_qemu_s_programs_take_them_are_respected_and_taken),
        RIG_TEST(read_only_refuses_writes),
        RIG_TEST(what_can_t_be_opened_has_its_own_sentence),
        RIG_TEST(without_permission_the_sentence_says_so),
        RIG_TEST(a_full_disk_is_reported_as_such),
        RIG_TEST(a_block_device_reads_writes_zeroes_and_discards),
        RIG_TEST(a_block_device_tells_its_block_sizes_and_a_file_has_none),
        RIG_TEST(after_a_flush_that_failed_none_succeeds),
        RIG_TEST(a_file_size_limit_is_reported),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, setup, teardown);
    return failed;
}
