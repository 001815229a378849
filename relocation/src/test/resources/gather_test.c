/*
 * A program whose memory lies in small pages, as after a move. Says "ready", waits for a line, and says then
 * how many KiB of its 8 MiB lie in huge pages, or "damaged".
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define HUGE (2ul << 20)
#define BYTES (4 * HUGE)

int main(void)
{
    char line[256];
    unsigned long from, kib = 0;
    char *all = mmap(NULL, BYTES + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0)
        return 1;
    uint64_t *memory = (uint64_t *)(((uintptr_t)all + HUGE - 1) / HUGE * HUGE);
    for (size_t i = 0; i < BYTES / 8; i++)
        memory[i] = i * 0x9e3779b97f4a7c15;
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    for (size_t i = 0; i < BYTES / 8; i++)
        if (memory[i] != i * 0x9e3779b97f4a7c15)
            puts("damaged");
    FILE *smaps = fopen("/proc/self/smaps", "re");
    while (smaps && fgets(line, sizeof line, smaps))
        if (sscanf(line, "AnonHugePages: %lu", &from) == 1)
            kib += from;
    printf("%lu\n", kib);
    return 0;
}
