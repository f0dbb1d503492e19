#include "acts_rig.h"

#include <stdio.h>

#include "engine/random.h"

struct acts acts;

uint64_t acts_draw(uint64_t n)
{
    return random_next(&acts.random) % n;
}

bool acts_chance(unsigned percent)
{
    return acts_draw(100) < percent;
}

void acts_trace(const char *what, const char *text, int64_t code)
{
    static int on = -1;
    if (on < 0)
        on = getenv("STACK_TRACE") != NULL;
    if (on)
        fprintf(stderr, "%12.6f %s %s %lld\n", (double)engine_now(stack_engine()) / NS_PER_S, what,
                text, (long long)code);
}

/* --- Control requests, of words that are drawn for each '$' */

static const char *const words[][17] = {
    ['a' - 'a'] = {"a", "b"},
    ['b' - 'a'] = {"a", "b", "c", "d", "e"},
    ['c' - 'a'] = {"c", "c", "d", "e"},
    ['d' - 'a'] = {"d", "d", "e"},
    ['e' - 'a'] = {"0", "0", "5", "28"},
    ['g' - 'a'] = {"g0", "g1", "g2"},
    ['j' - 'a'] = {"a", "b", "j"},
    ['k' - 'a'] = {"resize", "eject", "change", "move", "commit-source", "drive-del"},
    ['l' - 'a'] = {"0", "50", "1000", "100000"},
    ['m' - 'a'] = {"m0", "m0", "m1", "x0", "x1"},
    ['n' - 'a'] = {"raw", "thr", "cor", "flt", "wt", "top", "two", "base", "m0", "m1", "rm", "x0",
                   "x1", "x2"},
    ['o' - 'a'] = {"on", "off"},
    ['p' - 'a'] = {"report", "stop", "enospc", "stop"},
    ['r' - 'a'] = {"0", "1", "2"},
    ['s' - 'a'] = {"64K", "1M", "0"},
    ['u' - 'a'] = {"", "write errno=EIO once", "any delay=1ms probability=0.5",
                   "write errno=ENOSPC probability=0.3", "read errno=EIO nth=2",
                   "write torn=512 once", "flush errno=EIO once", "any delay=10ms once"},
    ['x' - 'a'] = {"x0", "x1", "x2"},
    ['z' - 'a'] = {"768K", "1M", "2M"},
};

static const char *const sentences[] = {
    "medium-remove $b",
    "medium-insert a raw",
    "medium-insert a raw",
    "medium-insert a raw",
    "medium-insert b wt",
    "medium-insert b wt",
    "medium-insert b wt",
    "medium-insert $c $n",
    "medium-insert $c $n",
    "medium-change $c $n",
    "medium-change $c $n force=on",
    "medium-eject $c",
    "medium-eject $c force=on",
    "medium-open-tray $c",
    "medium-open-tray $c force=on",
    "medium-close-tray $c",
    "medium-remove-all",
    "device-add $c id=cd removable=on tray=$o",
    "device-add $c id=cd removable=$o writable=$o",
    "device-set cd locked=$o",
    "device-set cd tray-open=$o",
    "device-set cd jammed=$o",
    "device-remove cd",
    "backend-move $b reactor=$r",
    "backend-move $b reactor=$r",
    "backend-move $b reactor=$r force=on",
    "backend-pause $b",
    "backend-resume $b",
    "backend-resume $b",
    "pause",
    "resume",
    "resume",
    "backend-add name=$d",
    "backend-add name=$d node=$n",
    "backend-add name=$d driver=raw child=$n",
    "backend-remove $d",
    "node-add driver=raw name=$x child=$n",
    "node-add driver=raw name=$x child=$n reactor=$r",
    "node-add driver=fault name=$x child=$n rules='$u'",
    "node-add driver=copy-on-read name=$x child=$n",
    "node-add driver=overlay name=$x child=$n backing=$n",
    "node-add driver=throttle name=$x child=$n throttle-group=$g",
    "node-add driver=mock name=$x size=1M hold=$o",
    "node-remove $x",
    "node-set $m hold=$o",
    "node-set $m hold=$o",
    "node-set $m error=$e",
    "node-set flt rules='$u'",
    "node-set thr throttle-group=$g",
    "backend-set $b werror=$p rerror=$p",
    "backend-set $b stop=engine",
    "backend-set $b stop=backend",
    "backend-set c werror=ignore rerror=ignore",
    "backend-set c detect-zeroes=unmap",
    "backend-set $b write-cache=$o",
    "backend-set $b throttle=$g",
    "backend-set $b throttle=",
    "throttle-add $g iops-total=$l",
    "throttle-add $g iops-total=$l parent=$g",
    "throttle-set $g iops-total=$l bps-total=0",
    "throttle-set $g bps-total=1M",
    "throttle-remove $g",
    "commit $a speed=$s on-error=$p",
    "commit $a speed=64K on-error=$p",
    "commit $b speed=$s on-error=$p",
    "commit $b id=j on-error=ignore",
    "commit-all",
    "job-pause $j",
    "job-resume $j",
    "job-cancel $j",
    "job-cancel $j force=on",
    "job-set $j speed=$s",
    "op-block node=$n op=$k reason=r",
    "op-unblock node=$n reason=r",
    "op-unblock node=$n reason=r",
    "inactivate",
    "activate",
    "backend-inactivate $b",
    "backend-activate $b",
    "invalidate-cache $n",
    "io-read $d offset=512K bytes=64K",
    "io-write $d offset=768K bytes=128K pattern=1",
    "io-zeroes $d offset=512K bytes=128K",
    "io-flush $d",
    "io-truncate $d size=$z",
    "export-add type=nbd backend=$c port=0 id=ex writable=$o",
    "export-add type=nbd node=$n port=0 id=ey",
    "export-remove ex",
    "export-remove ey",
    "status",
    "node-show $n",
    "backend-show $b",
    "throttle-show $g",
    "job-list",
    "node-list roots=on",
};

struct acts_ask *acts_ask(enum acts_what what, actor_addr to, const char *text)
{
    assert_true(acts.nasks < ASKS);
    struct acts_ask *ask = &acts.asks[acts.nasks++];
    ask->seen = false;
    ask->what = what;
    ask->to = to;
    snprintf(ask->text, sizeof ask->text, "%s", text);
    acts_trace("ask", text, 0);
    return ask;
}

void acts_say(const char *sentence)
{
    char line[sizeof acts.asks->text];
    size_t used = 0;
    for (; *sentence && used < sizeof line - 1; sentence++) {
        if (*sentence != '$') {
            line[used++] = *sentence;
            continue;
        }
        const char *const *of = words[*++sentence - 'a'];
        size_t n = 0;
        while (of[n])
            n++;
        used += (size_t)snprintf(line + used, sizeof line - used, "%s", of[acts_draw(n)]);
    }
    assert_true(used < sizeof line);
    line[used] = 0;
    stack_send(&acts_ask(ACTS_NOTHING, 0, line)->answer, "%s", line);
}

static void say_something(void)
{
    acts_say(sentences[acts_draw(sizeof sentences / sizeof *sentences)]);
}

/* --- Requests of a frontend */

actor_addr acts_somebody(void)
{
    const actor_addr known[] = {acts.a, acts.b, acts.c};
    uint64_t i = acts_draw(3 + acts.nclaims);
    return i < 3 ? known[i] : acts.claims[i - 3].to;
}

static bool has_data(actor_addr to)
{
    return to == acts.a || to == acts.b;
}

unsigned char acts_pattern(unsigned place)
{
    return (unsigned char)(1 + place % 251);
}

static void submit(void)
{
    static const enum op_kind kinds[] = {
        OP_STATUS, OP_IOCTL, OP_SAVE_VMSTATE, OP_LOAD_VMSTATE, OP_READ,   OP_READ,    OP_WRITE,
        OP_WRITE,  OP_WRITE, OP_WRITE,        OP_FLUSH,        OP_ZEROES, OP_DISCARD, OP_TRUNCATE};
    assert_true(acts.nrequests < REQUESTS);
    struct acts_request *request = &acts.requests[acts.nrequests++];
    actor_addr to = acts_somebody();
    enum op_kind kind = kinds[acts_draw(sizeof kinds / sizeof *kinds)];
    int64_t offset = HALF + (int64_t)acts_draw(HALF / 512 - 8) * 512;
    uint64_t bytes = (1 + acts_draw(8)) * 512;
    *request = (struct acts_request){.kind = kind, .to = to};
    if (has_data(to) && kind == OP_WRITE && acts.places < HALF / PLACE) {
        request->kept = true;
        request->place = acts.places++;
        request->bytes = (unsigned)bytes;
        offset = request->place * PLACE;
        memset(request->data, acts_pattern(request->place), bytes);
    } else if (has_data(to) && kind == OP_READ && acts.places) {
        unsigned place = (unsigned)acts_draw(acts.places);
        offset = place * PLACE;
        request->kept = acts.acknowledged[place]; /* of the others either is right */
        request->place = place;
        request->bytes = acts.bytes[place];
        if (request->kept)
            bytes = request->bytes;
    }
    if (kind == OP_FLUSH)
        bytes = 0;
    if (kind == OP_SAVE_VMSTATE || kind == OP_LOAD_VMSTATE)
        offset -= HALF; /* where it is kept by itself */
    if (kind == OP_TRUNCATE) {
        static const int64_t sizes[] = {3 * MIB / 4, MIB, 2 * MIB};
        offset = sizes[acts_draw(3)];
        bytes = 0;
    }
    char text[80];
    snprintf(text, sizeof text, "%d %lld+%llu at %llx, request", (int)kind, (long long)offset,
             (unsigned long long)bytes, (unsigned long long)to);
    acts_trace("submit", text, acts.nrequests - 1);
    unsigned flags = 0;
    if (acts_chance(20)) /* of somebody who holds a region, or says so */
        flags = OP_DRAINING | STACK_HOLDER(acts_draw(HOLDERS));
    else if (acts_chance(10) && (kind == OP_WRITE || kind == OP_ZEROES))
        flags = OP_FUA;
    stack_submit(&request->op, to, kind, offset, bytes, flags,
                 kind == OP_READ || kind == OP_WRITE ? request->data : NULL);
}

static void cancel(void)
{
    if (!acts.nrequests)
        return;
    unsigned last = acts.nrequests - 1, back = (unsigned)acts_draw(8);
    struct acts_request *request = &acts.requests[last - (back < last ? back : last)];
    if (request->op.came || request->kind == OP_CANCEL)
        return;
    if (acts_chance(50)) {
        Sluice__Cancel *mail = MAIL_NEW(sluice__cancel);
        mail->tags = malloc(sizeof *mail->tags);
        assert_non_null(mail->tags);
        mail->tags[0] = request->op.tag;
        mail->n_tags = 1;
        stack_tell(request->to, MAIL_CANCEL, mail);
        return;
    }
    assert_true(acts.nrequests < REQUESTS);
    struct acts_request *asked = &acts.requests[acts.nrequests++];
    *asked = (struct acts_request){.kind = OP_CANCEL, .to = request->to};
    acts_trace("cancel", "request", request - acts.requests);
    stack_submit(&asked->op, request->to, OP_CANCEL, (int64_t)request->op.tag, 0, 0, NULL);
}

/* --- All */

static void pass(void)
{
    stack_pass(acts_draw(20) * NS_PER_MS);
}

void acts_act(void)
{
    static const struct {
        unsigned weight;
        void (*act)(void);
    } all[] = {{34, submit},
               {6, cancel},
               {5, acts_drain},
               {5, acts_end_region},
               {36, say_something},
               {4, acts_claim},
               {2, acts_set_claim},
               {4, acts_end_claim},
               {2, acts_open_session},
               {2, acts_notify_session},
               {2, acts_close_session},
               {2, acts_callbacks},
               {2, acts_attach},
               {3, acts_device_does},
               {2, acts_device_is_asked},
               {5, acts_claim_does},
               {3, acts_buffer},
               {2, pass}};
    unsigned sum = 0, i = 0;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        sum += all[k].weight;
    for (uint64_t drawn = acts_draw(sum); drawn >= all[i].weight; i++)
        drawn -= all[i].weight;
    all[i].act();
}
