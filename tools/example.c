/* example.c — a block device inside a program: 16 writes at once, then one of them read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice.h>

static void check(int failed, const char *error)
{
    if (failed) {
        fprintf(stderr, "sluice-example: %s\n", error ? error : "a request failed");
        exit(1);
    }
}

static void written(void *opaque, int ret)
{
    check(ret < 0, strerror(-ret));
    ++*(unsigned *)opaque;
}

int main(void)
{
    static char blocks[16][4096], block[4096];
    unsigned done = 0;
    char *error = NULL;
    sluice *engine;
    blk_context *context;
    blk *disk;
    check(sluice_start(&(struct sluice_options){.threads = 1}, &engine, &error), error);
    check(blk_context_open(engine, 0, &context, &error), error);
    check(sluice_request(context, "node-add driver=memory name=ram size=64M", NULL, &error), error);
    check(sluice_request(context, "backend-add name=disk node=ram", NULL, &error), error);
    check(blk_open(context, "disk", BLK_WRITABLE, &disk, &error), error);

    for (int i = 0; i < 16; i++) {
        memset(blocks[i], 'a' + i, sizeof blocks[i]);
        check(blk_aio_pwrite(disk, i * 4096, 4096, blocks[i], 0, written, &done), NULL);
    }
    while (done < 16)
        blk_wait(context, -1);
    check(blk_flush(disk), NULL);
    check(blk_pread(disk, 5 * 4096, 4096, block, 0) != 4096, NULL);
    printf("block 5 of %lld bytes holds %.8s...\n", (long long)blk_getlength(disk), block);
    check(memcmp(block, blocks[5], sizeof block), "block 5 holds something else");

    blk_close(&disk);
    blk_context_close(&context);
    sluice_stop(&engine);
    return 0;
}
