/* A server that lets its first connections wait: it listens on port 7000 at once, and begins to accept
 * when there is a file argv[1]. Whoever sends a line gets the release of the kernel that serves him. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

static void answer(int connection)
{
    char line[64];
    struct utsname kernel;

    if (read(connection, line, sizeof line) <= 0)
        return;
    uname(&kernel);
    strcat(kernel.release, "\n");
    if (write(connection, kernel.release, strlen(kernel.release)) < 0)
        perror("write");
}

int main(int argc, char **argv)
{
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(7000)};

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (argc != 2 || bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 16))
        return 1;
    puts("listening");
    fflush(stdout);
    while (access(argv[1], F_OK))
        usleep(20000);
    for (;;) {
        int connection = accept(listener, NULL, NULL);

        if (connection < 0)
            return 1;
        /* They stay open as long as the program lives, and each is served by a process of its own. */
        if (fork() == 0) {
            answer(connection);
            pause();
        }
        close(connection);
    }
}
