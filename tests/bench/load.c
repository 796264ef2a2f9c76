/* Closed-loop load generator: N connections in one thread, one request in flight on each.
 *
 *   load ws     HOST PORT CONNECTIONS WARMUP_S SECONDS
 *   load health HOST PORT CONNECTIONS WARMUP_S SECONDS     GET /health
 *   load step   HOST PORT CONNECTIONS WARMUP_S SECONDS     POST /step
 *
 * It prints one JSON object: requests, wall seconds, its own CPU seconds, latency in
 * microseconds (mean, p50, p99, max) of every request that was answered after the warm-up. Every reply is
 * checked: the text and the length that come back must be those that this connection sent last. On
 * the first wrong reply it prints it and ends with status 1.
 *
 * Why C: the fastest server here answers more than 100,000 steps a second on its core, and a generator that
 * is written in Python is full before that. Requests are prepared before the clock starts; WebSocket
 * frames are masked with random keys, as RFC 6455 asks for, so the server has to unmask each of them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGES = 1024, BUFFER = 16384, EVENTS = 256 };

typedef struct {
    char request[512];
    int request_length;
    char expected[64]; /* the message, in its quotes */
    char expected_length[16];
} Message;

typedef struct {
    int fd;
    int used;
    unsigned next; /* index of the message in flight */
    int64_t sent_at;
    char buffer[BUFFER + 1];
} Connection;

static Message messages[MESSAGES];
static enum { WS, HEALTH, STEP } mode;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fail(const char *what, const char *text) {
    printf("{\"error\": \"%s\"}\n", what);
    fprintf(stderr, "load: %s: %s\n", what, text);
    exit(1);
}

static void prepare_messages(const char *host) {
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    srandom(20261122);
    for (int i = 0; i < MESSAGES; i++) {
        Message *m = &messages[i];
        char text[40], body[128];
        int length = 8 + (int)(random() % 25); /* 8 to 32 characters, the first four unique */
        snprintf(text, sizeof text, "%04d", i);
        for (int j = 4; j < length; j++) text[j] = alphabet[random() % (sizeof alphabet - 1)];
        text[length] = 0;
        snprintf(m->expected, sizeof m->expected, "\"%s\"", text);
        snprintf(m->expected_length, sizeof m->expected_length, "%d", length);
        if (mode == HEALTH) {
            m->request_length = snprintf(m->request, sizeof m->request,
                                         "GET /health HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", host);
        } else if (mode == STEP) {
            int n = snprintf(body, sizeof body, "{\"action\":{\"message\":\"%s\"}}", text);
            m->request_length = snprintf(m->request, sizeof m->request,
                                         "POST /step HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n"
                                         "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                                         host, n, body);
        } else {
            int n = snprintf(body, sizeof body, "{\"type\":\"step\",\"data\":{\"message\":\"%s\"}}", text);
            uint8_t *frame = (uint8_t *)m->request, key[4];
            for (int j = 0; j < 4; j++) key[j] = (uint8_t)(random() >> 8);
            frame[0] = 0x81;
            frame[1] = (uint8_t)(0x80 | n); /* n < 126 by construction */
            memcpy(frame + 2, key, 4);
            for (int j = 0; j < n; j++) frame[6 + j] = (uint8_t)body[j] ^ key[j & 3];
            m->request_length = 6 + n;
        }
    }
}

static void send_all(Connection *c, const char *data, int length) {
    ssize_t n = send(c->fd, data, (size_t)length, MSG_NOSIGNAL);
    if (n != length) fail("short send", strerror(errno)); /* one small request never fills a buffer */
}

static void send_next(Connection *c, int64_t now) {
    c->next = (c->next + 1) % MESSAGES;
    c->sent_at = now;
    send_all(c, messages[c->next].request, messages[c->next].request_length);
}

/* The value after "key": or NULL; upstream writes a space after the colon, others do not. */
static const char *value_of(const char *text, const char *key) {
    const char *at = strstr(text, key);
    if (!at) return NULL;
    at += strlen(key);
    while (*at == ' ' || *at == ':') at++;
    return at;
}

static void check_observation(const Connection *c, const char *text) {
    const Message *m = &messages[c->next];
    const char *echoed = value_of(text, "\"echoed_message\""), *length = value_of(text, "\"message_length\"");
    if (!echoed || strncmp(echoed, m->expected, strlen(m->expected)) != 0) fail("wrong echo", text);
    if (!length || strtol(length, NULL, 10) != strtol(m->expected_length, NULL, 10))
        fail("wrong length", text);
    if (!value_of(text, "\"reward\"") || !value_of(text, "\"done\"")) fail("reward or done is missing", text);
}

/* Bytes of the whole frame at the start of the buffer, 0 if it is not all there yet. */
static int whole_frame(const Connection *c, int *head) {
    const uint8_t *b = (const uint8_t *)c->buffer;
    if (c->used < 4) return 0; /* none that we expect is shorter */
    int length = b[1];
    *head = 2;
    if (length == 126) {
        *head = 4;
        length = b[2] << 8 | b[3];
    }
    if (length == 127 || (b[0] != 0x81 && b[0] != 0x89)) fail("not a short text or ping frame", c->buffer);
    return c->used < *head + length ? 0 : *head + length;
}

/* Bytes of one whole reply at the start of the buffer, 0 if it is not all there yet, negative if it
 * was a ping and has been answered. Checks what came. */
static int take_ws_reply(Connection *c) {
    int head, total = whole_frame(c, &head);
    if (total == 0) return 0;
    if ((uint8_t)c->buffer[0] == 0x89) {
        char pong[6 + 125] = {(char)0x8a, (char)(0x80 | (total - head))};
        memcpy(pong + 6, c->buffer + head, (size_t)(total - head)); /* a mask of zeros changes nothing */
        send_all(c, pong, 6 + total - head);
        return -total;
    }
    char after = c->buffer[total];
    c->buffer[total] = 0;
    const char *text = c->buffer + head, *type = value_of(text, "\"type\"");
    if (!type || strncmp(type, "\"observation\"", 13) != 0) fail("not an observation", text);
    check_observation(c, text);
    c->buffer[total] = after;
    return total;
}

static int take_http_reply(Connection *c) {
    char *end = strstr(c->buffer, "\r\n\r\n");
    if (!end) return 0;
    char *field = strcasestr(c->buffer, "content-length:");
    if (!field || field > end) fail("no content-length", c->buffer);
    int total = (int)(end - c->buffer) + 4 + (int)strtol(field + 15, NULL, 10);
    if (total > BUFFER) fail("reply is too long", c->buffer);
    if (c->used < total) return 0;
    if (strncmp(c->buffer, "HTTP/1.1 200", 12) != 0) fail("status is not 200", c->buffer);
    char after = c->buffer[total];
    c->buffer[total] = 0;
    if (mode == STEP)
        check_observation(c, end + 4);
    else if (!value_of(end, "\"status\"") || !strstr(end, "\"healthy\""))
        fail("not healthy", end);
    c->buffer[total] = after;
    return total;
}

static int take_reply(Connection *c) { return mode == WS ? take_ws_reply(c) : take_http_reply(c); }

static void receive(Connection *c) {
    ssize_t n = recv(c->fd, c->buffer + c->used, (size_t)(BUFFER - c->used), 0);
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        fail("connection lost", n ? strerror(errno) : "end of stream");
    }
    c->used += (int)n;
    c->buffer[c->used] = 0;
}

static void drop(Connection *c, int length) {
    c->used -= length;
    memmove(c->buffer, c->buffer + length, (size_t)c->used + 1);
}

static void open_connection(Connection *c, const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (mode != WS) return;
    char head[256];
    int n = snprintf(head, sizeof head,
                     "GET /ws HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     host, port);
    send_all(c, head, n);
    char *end;
    while (!(end = strstr(c->buffer, "\r\n\r\n"))) receive(c);
    if (strncmp(c->buffer, "HTTP/1.1 101", 12) != 0) fail("no upgrade", c->buffer);
    drop(c, (int)(end - c->buffer) + 4);
    /* A session begins with a reset, masked with zeros and not counted. */
    static const char reset[] = "\x81\x90\0\0\0\0{\"type\":\"reset\"}";
    send_all(c, reset, sizeof reset - 1);
    int total, text_at;
    while (!(total = whole_frame(c, &text_at))) receive(c);
    if (!strstr(c->buffer + text_at, "\"observation\"")) fail("reset", c->buffer + text_at);
    drop(c, total);
}

static void close_connection(Connection *c) {
    static const char bye[] = "\x88\x82\0\0\0\0\x03\xe8"; /* close 1000, mask of zeros */
    if (mode == WS) {
        fcntl(c->fd, F_SETFL, 0);
        send(c->fd, bye, sizeof bye - 1, MSG_NOSIGNAL);
        struct timeval limit = {.tv_sec = 5};
        setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        while (recv(c->fd, c->buffer, BUFFER, 0) > 0) {}
    }
    close(c->fd);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc != 7) return fprintf(stderr, "usage: load ws|health|step HOST PORT N WARMUP_S SECONDS\n"), 2;
    mode = !strcmp(argv[1], "ws") ? WS : !strcmp(argv[1], "health") ? HEALTH : STEP;
    const char *host = argv[2];
    int port = atoi(argv[3]), n_connections = atoi(argv[4]);
    int64_t warmup = (int64_t)(atof(argv[5]) * 1e9), length = (int64_t)(atof(argv[6]) * 1e9);
    prepare_messages(host);

    Connection *connections = calloc((size_t)n_connections, sizeof *connections);
    size_t room = 1 << 20, n_done = 0;
    uint32_t *latency_ns = malloc(room * sizeof *latency_ns);
    int poll = epoll_create1(0);
    struct epoll_event events[EVENTS];
    for (int i = 0; i < n_connections; i++) {
        Connection *c = &connections[i];
        open_connection(c, host, port);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        c->next = (unsigned)(i * 37);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event);
    }
    for (int i = 0; i < n_connections; i++) send_next(&connections[i], now_ns());
    int64_t begin = now_ns() + warmup, end = begin + length, last = begin;
    double cpu = 0;
    int started = 0;
    while (last < end) {
        int n = epoll_wait(poll, events, EVENTS, 5000);
        if (n == 0) fail("no reply for 5 s", "");
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            receive(c);
            int taken;
            while ((taken = take_reply(c)) < 0) drop(c, -taken);
            if (taken == 0) continue;
            if (taken != c->used) fail("more than one reply", c->buffer);
            c->used = 0;
            c->buffer[0] = 0;
            last = now_ns();
            if (started) {
                if (n_done == room) latency_ns = realloc(latency_ns, (room *= 2) * sizeof *latency_ns);
                int64_t took = last - c->sent_at;
                latency_ns[n_done++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
            }
            send_next(c, last);
        }
        if (!started && last >= begin) {
            started = 1;
            begin = last;
            end = begin + length;
            cpu = cpu_s();
            printf("begin\n"); /* the parent reads /proc when it sees this, and again at "end" */
            fflush(stdout);
        }
    }
    cpu = cpu_s() - cpu;
    printf("end\n");
    fflush(stdout);

    double wall = (double)(last - begin) / 1e9, sum = 0;
    for (int i = 0; i < n_connections; i++) { /* the last reply of each, so that it can close in order */
        Connection *c = &connections[i];
        fcntl(c->fd, F_SETFL, 0);
        int taken;
        while ((taken = take_reply(c)) <= 0) {
            if (taken < 0) drop(c, -taken);
            else receive(c);
        }
    }
    for (int i = 0; i < n_connections; i++) close_connection(&connections[i]);
    if (n_done == 0) fail("no reply in time", "");
    for (size_t i = 0; i < n_done; i++) sum += latency_ns[i];
    qsort(latency_ns, n_done, sizeof *latency_ns, by_value);
    printf("{\"requests\": %zu, \"wall_s\": %.6f, \"per_s\": %.1f, \"cpu_s\": %.6f, \"mean_us\": %.2f, "
           "\"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n",
           n_done, wall, (double)n_done / wall, cpu, sum / (double)n_done / 1e3, latency_ns[n_done / 2] / 1e3,
           latency_ns[(size_t)((double)n_done * 0.99)] / 1e3, latency_ns[n_done - 1] / 1e3);
    return 0;
}
