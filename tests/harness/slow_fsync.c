/* LD_PRELOAD: a disk whose fsync takes 300 to 600 ms. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

static void late(void) {
    struct timespec pause = {0, (300L + random() % 300) * 1000000L};
    nanosleep(&pause, NULL);
}

int fsync(int fd) {
    late();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    late();
    return (int)syscall(SYS_fdatasync, fd);
}
