/* LD_PRELOAD: a disk whose fsync takes 300 to 600 ms. SLOW_FSYNC names a file that grows by a byte as each one begins. */
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

static void late(void) {
    int mark = open(getenv("SLOW_FSYNC"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)!write(mark, ".", 1);
    close(mark);
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
