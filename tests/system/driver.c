/* A serial driver and a GPIO chip for processes that have none: preloaded, it answers for pseudo terminals what
   those do not know. What it holds stands in the file $DRIVER (struct held), what is done to it in $DRIVER.log:
   seconds, what, value. As real drivers it takes of an RS-485 mode only what it can. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <linux/serial.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <asm/ioctls.h>
#include <asm/termbits.h>

#define CHIP "/dev/gpiochip9"

static struct held {
    struct serial_rs485 rs485;
    struct serial_icounter_struct counts;
    unsigned rate; /* what TCGETS2 tells; 0: what was set */
    unsigned inputs; /* the modem lines that the device raises */
} *held;
static unsigned outputs; /* those that we raise */
static FILE *log_file;
static int chip = -1, line = -1;

__attribute__((constructor)) static void begin(void) {
    char name[4096];
    int fd = open(getenv("DRIVER"), O_RDWR | O_CLOEXEC);
    held = mmap(NULL, sizeof *held, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    snprintf(name, sizeof name, "%s.log", getenv("DRIVER"));
    log_file = fopen(name, "ae");
}

static void tell(const char *what, long value) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(log_file, "%ld.%09ld %s %ld\n", (long)now.tv_sec, now.tv_nsec, what, value);
    fflush(log_file);
}

static int on_a_line(int fd) {
    char path[64], name[64];
    ssize_t size;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    size = readlink(path, name, sizeof name - 1);
    return size > 9 && !strncmp(name, "/dev/pts/", 9);
}

static void take(const struct serial_rs485 *asked) {
    held->rs485 = *asked;
    held->rs485.flags &= ~SER_RS485_RX_DURING_TX;
    if (held->rs485.delay_rts_before_send > 5) held->rs485.delay_rts_before_send = 5;
    tell("rs485", held->rs485.flags & SER_RS485_ENABLED);
}

int ioctl(int fd, unsigned long request, ...) {
    static int (*real)(int, unsigned long, void *);
    va_list more;
    void *argument;
    int result;
    va_start(more, request);
    argument = va_arg(more, void *);
    va_end(more);
    if (!real) real = dlsym(RTLD_NEXT, "ioctl");
    if (fd == chip && request == GPIO_V2_GET_LINE_IOCTL) {
        struct gpio_v2_line_request *wanted = argument;
        tell("line", wanted->offsets[0]);
        return wanted->fd = line = dup(fd), 0;
    }
    if (fd == line && request == GPIO_V2_LINE_SET_VALUES_IOCTL)
        return tell("gpio", ((struct gpio_v2_line_values *)argument)->bits), 0;
    if (!on_a_line(fd)) return real(fd, request, argument);
    switch ((unsigned)request) {
    case TIOCGRS485: return *(struct serial_rs485 *)argument = held->rs485, 0;
    case TIOCSRS485: return take(argument), 0;
    case TIOCGICOUNT: return *(struct serial_icounter_struct *)argument = held->counts, 0;
    case TIOCSBRK: case TIOCCBRK: tell("break", request == TIOCSBRK); return real(fd, request, argument);
    case TIOCSERGETLSR: return *(int *)argument = TIOCSER_TEMT, 0;
    case TIOCMGET: return *(unsigned *)argument = outputs | held->inputs, 0;
    case TIOCMBIS: case TIOCMBIC:
        outputs = request == TIOCMBIS ? outputs | *(unsigned *)argument : outputs & ~*(unsigned *)argument;
        if (*(int *)argument & 2) tell("dtr", request == TIOCMBIS); /* TIOCM_DTR */
        if (*(int *)argument & 4) tell("rts", request == TIOCMBIS); /* TIOCM_RTS */
        return 0;
    case TCGETS2:
        result = real(fd, request, argument);
        if (held->rate) ((struct termios2 *)argument)->c_ospeed = held->rate;
        return result;
    }
    return real(fd, request, argument);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (held && on_a_line(fd)) tell("write", (long)size);
    return real(fd, data, size);
}

static int opened(const char *symbol, const char *path, int flags, int mode) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, symbol);
    if (strcmp(path, CHIP)) return real(path, flags, mode);
    return chip = memfd_create("gpiochip", MFD_CLOEXEC);
}

#define MODE(flags) va_list more; int mode; va_start(more, flags); mode = va_arg(more, int); va_end(more)
int open(const char *path, int flags, ...) { MODE(flags); return opened("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags); return opened("open64", path, flags, mode); }
