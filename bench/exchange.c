/* exchange.c — the bare exchange: how fast two threads can pass requests and completions as Frames
 * (proto/lane.proto) over inproc ZeroMQ, with nothing else done. It is the ceiling that the engine
 * is held against (bench/compare).
 *
 * A submitter keeps `depth` requests outstanding, in frames of up to 32. A server unpacks each
 * frame, reads every row and answers with a frame of completions. Both are pinned and poll. A link
 * counts the frames sent, and the receiver takes exactly those: reading a pipe until it is empty
 * would put the next message on ZeroMQ's slow path. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "lane.pb-c.h"

enum { FRAME_ROWS = 32, MAX_DEPTH = 4096, ARENA_BYTES = 16384 };

static void die(const char *what, int error)
{
    fprintf(stderr, "exchange: %s: %s\n", what, zmq_strerror(error));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* --- Unpacking without allocation: a bump arena, reset for each frame. */

struct arena {
    size_t used;
    _Alignas(16) unsigned char bytes[ARENA_BYTES];
};

static void *arena_alloc(void *data, size_t size)
{
    struct arena *arena = data;
    size_t at = arena->used;
    if (size > ARENA_BYTES - at)
        return NULL;
    arena->used = (at + size + 15) & ~(size_t)15;
    return arena->bytes + at;
}

static void arena_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

/* --- A link, seen from one of its ends. */

struct end {
    void *socket;
    struct arena arena;
    ProtobufCAllocator allocator;
    _Alignas(64) atomic_ullong *sent, *arriving; /* frames, counted by their sender */
    uint64_t sends, takes;
};

static void end_open(struct end *end, void *zmq, bool bind, atomic_ullong counts[2][8])
{
    end->socket = zmq_socket(zmq, ZMQ_PAIR);
    if (!end->socket)
        die("cannot make a socket", errno);
    int none = 0;
    zmq_setsockopt(end->socket, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(end->socket, ZMQ_RCVHWM, &none, sizeof none);
    zmq_setsockopt(end->socket, ZMQ_LINGER, &none, sizeof none);
    if (bind ? zmq_bind(end->socket, "inproc://exchange")
             : zmq_connect(end->socket, "inproc://exchange"))
        die("cannot link the threads", errno);
    end->sent = counts[bind];
    end->arriving = counts[!bind];
    end->allocator = (ProtobufCAllocator){arena_alloc, arena_free, &end->arena};
    end->sends = end->takes = 0;
}

static void end_send(struct end *end, const Sluice__Frame *frame)
{
    zmq_msg_t msg;
    if (zmq_msg_init_size(&msg, sluice__frame__get_packed_size(frame)))
        die("cannot make a message", errno);
    sluice__frame__pack(frame, zmq_msg_data(&msg));
    if (zmq_msg_send(&msg, end->socket, ZMQ_DONTWAIT) < 0)
        die("cannot send", errno);
    atomic_store_explicit(end->sent, ++end->sends, memory_order_release);
}

static bool end_ready(const struct end *end)
{
    return atomic_load_explicit(end->arriving, memory_order_acquire) != end->takes;
}

/* The frame stays valid until the next one is taken. */
static const Sluice__Frame *end_take(struct end *end)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    if (zmq_msg_recv(&msg, end->socket, ZMQ_DONTWAIT) < 0)
        die("a counted frame is not there", errno);
    end->takes++;
    end->arena.used = 0;
    const Sluice__Frame *frame =
        sluice__frame__unpack(&end->allocator, zmq_msg_size(&msg), zmq_msg_data(&msg));
    zmq_msg_close(&msg);
    if (!frame) {
        fprintf(stderr, "exchange: a frame cannot be unpacked\n");
        exit(1);
    }
    return frame;
}

/* --- The two threads. */

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (error)
        die("cannot pin a thread", error);
}

struct server {
    void *zmq;
    int cpu;
    atomic_ullong (*counts)[8];
    pthread_barrier_t *ready;
    uint64_t checksum; /* of all that was read, so that no reading is optimised away */
};

/* Answers until a frame without requests comes. */
static void *serve(void *opaque)
{
    struct server *server = opaque;
    static struct end end;
    pin(server->cpu);
    end_open(&end, server->zmq, false, server->counts);
    pthread_barrier_wait(server->ready);

    uint64_t done[FRAME_ROWS];
    int64_t result[FRAME_ROWS];
    for (;;) {
        while (!end_ready(&end))
            relax();
        const Sluice__Frame *frame = end_take(&end);
        size_t n = frame->n_to;
        if (n == 0)
            break;
        for (size_t i = 0; i < n; i++) {
            server->checksum += frame->to[i] ^ frame->op[i] ^ frame->offset[i] ^ frame->buffer[i];
            done[i] = frame->tag[i];
            result[i] = (int64_t)frame->bytes[i];
        }
        Sluice__Frame reply = SLUICE__FRAME__INIT;
        reply.n_done = reply.n_result = n;
        reply.done = done;
        reply.result = result;
        end_send(&end, &reply);
    }
    zmq_close(end.socket);
    return NULL;
}

static void submit(struct end *end, const uint64_t *tags, size_t n)
{
    static uint64_t to[FRAME_ROWS], tag[FRAME_ROWS], op[FRAME_ROWS], offset[FRAME_ROWS],
        bytes[FRAME_ROWS], buffer[FRAME_ROWS];
    static uint64_t position;
    for (size_t i = 0; i < n; i++) {
        to[i] = 1;
        tag[i] = tags[i];
        op[i] = SLUICE__OP_KIND__OP_READ | 1u << 20 | position << 32;
        offset[i] = position++ << 12;
        bytes[i] = 4096;
        buffer[i] = (uintptr_t)&buffer[i];
    }
    Sluice__Frame frame = SLUICE__FRAME__INIT;
    frame.n_to = frame.n_tag = frame.n_op = n;
    frame.n_offset = frame.n_bytes = frame.n_buffer = n;
    frame.to = to;
    frame.tag = tag;
    frame.op = op;
    frame.offset = offset;
    frame.bytes = bytes;
    frame.buffer = buffer;
    end_send(end, &frame);
}

/* Requests per second with `depth` outstanding: a completion frame is answered by as many new
 * requests. */
static double measure(struct end *end, unsigned depth, double seconds)
{
    uint64_t tags[FRAME_ROWS], completed = 0, start = now_ns();
    uint64_t deadline = start + (uint64_t)(seconds * 1e9), now = start;
    unsigned outstanding = 0, sent = 0;
    while (sent < depth) {
        unsigned n = depth - sent < FRAME_ROWS ? depth - sent : FRAME_ROWS;
        for (unsigned i = 0; i < n; i++)
            tags[i] = sent++;
        submit(end, tags, n);
        outstanding++;
    }
    for (unsigned turn = 1; outstanding; turn++) {
        while (!end_ready(end))
            relax();
        const Sluice__Frame *frame = end_take(end);
        size_t n = frame->n_done;
        completed += n;
        for (size_t i = 0; i < n; i++) {
            if (frame->result[i] != 4096) {
                fprintf(stderr, "exchange: a completion is wrong\n");
                exit(1);
            }
            tags[i] = frame->done[i] + (UINT64_C(1) << 32);
        }
        if (turn % 64 == 0)
            now = now_ns();
        if (now < deadline)
            submit(end, tags, n);
        else
            outstanding--;
    }
    return (double)completed * 1e9 / (double)(now_ns() - start);
}

/* --- The program. */

static int usable_cpu(unsigned nth)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        die("cannot read the CPU set", errno);
    unsigned seen = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set) && seen++ == nth)
            return cpu;
    return -1;
}

static const char help[] =
    "usage: exchange [--depth N]... [--seconds S] [--json]\n"
    "Passes requests and completions between two pinned, polling threads: frames of 32,\n"
    "packed columns, inproc ZeroMQ with counted links, and nothing else.\n\n"
    "  --depth N    requests outstanding, 1 to 4096; repeatable (1, 32, 64 and 256)\n"
    "  --seconds S  how long each depth is measured (1)\n"
    "  --json       print one JSON object instead of a table\n"
    "  --help       print this\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"depth", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    unsigned depths[16] = {1, 32, 64, 256}, given = 0;
    double seconds = 1;
    bool json = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        if (c == 'd' && given < 16) {
            unsigned long depth = strtoul(optarg, &end, 10);
            if (*end || depth < 1 || depth > MAX_DEPTH) {
                fprintf(stderr, "exchange: --depth %s: 1 to %d is possible\n", optarg, MAX_DEPTH);
                return 2;
            }
            depths[given++] = (unsigned)depth;
        } else if (c == 's') {
            seconds = strtod(optarg, &end);
            if (*end || !(seconds > 0 && seconds <= 3600)) {
                fprintf(stderr, "exchange: --seconds %s: up to 3600 is possible\n", optarg);
                return 2;
            }
        } else if (c == 'j') {
            json = true;
        } else {
            fputs(help, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    unsigned count = given ? given : 4;
    int here = usable_cpu(1), there = usable_cpu(0);
    if (here < 0) {
        fprintf(stderr, "exchange: two CPUs are needed, one for each thread\n");
        return 1;
    }

    void *zmq = zmq_ctx_new();
    if (!zmq)
        die("cannot start ZeroMQ", errno);
    static _Alignas(64) atomic_ullong counts[2][8]; /* a cache line each */
    static struct end end;
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, 2);
    struct server server = {zmq, there, counts, &ready, 0};
    pthread_t thread;
    end_open(&end, zmq, true, counts);
    int error = pthread_create(&thread, NULL, serve, &server);
    if (error)
        die("cannot start a thread", error);
    pin(here);
    pthread_barrier_wait(&ready);
    measure(&end, 64, 0.05); /* warms up */

    if (json)
        printf("{\"exchange\": [");
    else
        printf("%8s %16s %12s\n", "depth", "requests/s", "us/round");
    for (unsigned i = 0; i < count; i++) {
        double rate = measure(&end, depths[i], seconds);
        double round = depths[i] * 1e6 / rate;
        if (json)
            printf("%s{\"depth\": %u, \"iops\": %.0f, \"round_us\": %.3f}", i ? ", " : "",
                   depths[i], rate, round);
        else
            printf("%8u %16.0f %12.2f\n", depths[i], rate, round);
        fflush(stdout);
    }
    if (json)
        printf("]}\n");

    Sluice__Frame last = SLUICE__FRAME__INIT;
    end_send(&end, &last);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&ready);
    zmq_close(end.socket);
    zmq_ctx_term(zmq);
    return 0;
}
