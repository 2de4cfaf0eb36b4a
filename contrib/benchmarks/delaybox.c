/* The distance between two network namespaces: carries IP packets between a TUN device in each, a while later.
 *
 *   delaybox NAMESPACE DEVICE NAMESPACE DEVICE DELAY_US JITTER_US
 *
 * The namespaces are named by their files. DELAY_US is the delay each way; JITTER_US is the mean of an exponentially
 * distributed delay on top of it. Packets keep their order. Says "up" once both devices are there, and runs until
 * it is killed. (netem would do, but not every kernel has it.)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MOST 8192 /* packets under way each way: more than 100 Mbit/s hold in half a second */
#define MTU 1600

struct packet {
    int64_t due;
    int length;
    unsigned char bytes[MTU];
};

struct way {
    struct packet *packets; /* a ring */
    unsigned first, next;
    int64_t last_due;
};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int tun(const char *namespace, const char *device)
{
    struct ifreq request;
    int there = open(namespace, O_RDONLY | O_CLOEXEC), fd;
    if (there < 0 || setns(there, CLONE_NEWNET))
        fail(namespace);
    close(there);
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
        fail("/dev/net/tun");
    return fd;
}

/* Hands over what is due, and says when the next packet will be; -1 for never. */
static int64_t deliver(struct way *way, int to)
{
    for (; way->first != way->next; way->first++) {
        struct packet *packet = &way->packets[way->first % MOST];
        if (packet->due > now())
            return packet->due;
        if (write(to, packet->bytes, packet->length) < 0)
            continue; /* a device that is down loses what it is given */
    }
    return -1;
}

static void take(struct way *way, int from, int64_t delay, double jitter)
{
    while (way->next - way->first < MOST) {
        struct packet *packet = &way->packets[way->next % MOST];
        packet->length = read(from, packet->bytes, MTU);
        if (packet->length <= 0)
            return;
        packet->due = now() + delay;
        if (jitter > 0)
            packet->due += (int64_t)(-jitter * log((rand() + 1.0) / (RAND_MAX + 2.0)));
        if (packet->due < way->last_due)
            packet->due = way->last_due;
        way->last_due = packet->due;
        way->next++;
    }
}

int main(int count, char **words)
{
    struct way ways[2];
    int device[2], i;
    if (count != 7) {
        fprintf(stderr, "usage: delaybox NAMESPACE DEVICE NAMESPACE DEVICE DELAY_US JITTER_US\n");
        return 2;
    }
    int64_t delay = atoll(words[5]) * 1000;
    double jitter = atof(words[6]) * 1000;
    memset(ways, 0, sizeof ways);
    for (i = 0; i < 2; i++) {
        device[i] = tun(words[1 + 2 * i], words[2 + 2 * i]);
        ways[i].packets = malloc(sizeof(struct packet) * MOST);
        if (!ways[i].packets)
            fail("malloc");
    }
    prctl(PR_SET_TIMERSLACK, 1UL); /* 50 us unless said otherwise */
    printf("up\n");
    fflush(stdout);
    for (;;) {
        int64_t next = -1;
        for (i = 0; i < 2; i++) {
            int64_t due = deliver(&ways[i], device[1 - i]);
            if (due >= 0 && (next < 0 || due < next))
                next = due;
        }
        struct pollfd ready[2] = {{device[0], POLLIN, 0}, {device[1], POLLIN, 0}};
        struct timespec pause = {0, 0};
        int64_t left = next - now();
        if (next >= 0 && left > 0) {
            pause.tv_sec = left / SECOND;
            pause.tv_nsec = left % SECOND;
        }
        ppoll(ready, 2, next < 0 ? NULL : &pause, NULL);
        for (i = 0; i < 2; i++)
            if (ready[i].revents & POLLIN)
                take(&ways[i], device[i], delay, jitter);
    }
}
