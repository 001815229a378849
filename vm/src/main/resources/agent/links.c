/* Network interfaces, and the links of two. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "answer.h"
#include "links.h"
#include "requests.h"
#include "text.h"
#include "verbs.h"

int attach_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int on_interface(const char *name, unsigned long call, struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    strncpy(request->ifr_name, name, IFNAMSIZ - 1);
    int done = ioctl(fd, call, request), error = errno;
    close(fd);
    errno = error;
    return done;
}

int set_up(const char *name)
{
    struct ifreq request = {0};
    if (on_interface(name, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return on_interface(name, SIOCSIFFLAGS, &request);
}

static int net_setting(const char *name, const char *setting, const char *value)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/class/net/%s/%s", sys_folder, name, setting);
    return spill(path, value);
}

/* Without addresses of its own an interface sends nothing by itself. */
static void silence(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    spill(path, "1"); /* absent in a kernel without IPv6 */
}

static bool net_has(const char *name, const char *entry)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/class/net/%.15s/%s", sys_folder, name, entry);
    return access(path, F_OK) == 0;
}

/* A bridge takes the address of its port over, so bridges do not count. */
bool find_interface(const char *mac, char *name)
{
    char path[PATH_MAX], address[64];
    bool found = false;
    snprintf(path, sizeof path, "%s/class/net", sys_folder);
    DIR *all = opendir(path);
    for (struct dirent *one; !found && all && (one = readdir(all));) {
        snprintf(path, sizeof path, "%s/class/net/%.15s/address", sys_folder, one->d_name);
        if (one->d_name[0] == '.' || slurp(path, address, sizeof address) <= 0
            || strcasecmp(mac, address) != 0 || net_has(one->d_name, "bridge")
            || net_has(one->d_name, "tun_flags"))
            continue;
        found = true;
        snprintf(name, IFNAMSIZ, "%.15s", one->d_name);
    }
    if (all)
        closedir(all);
    return found;
}

static int delete_interface(const char *name)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg info;
    } request = {
        .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_DELLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .info = {.ifi_index = (int)if_nametoindex(name)},
    };
    struct {
        struct nlmsghdr header;
        struct nlmsgerr result;
        char rest[1024];
    } reply = {0};
    if (request.info.ifi_index == 0)
        return -1;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    bool done = send(fd, &request, sizeof request, 0) == sizeof request
        && recv(fd, &reply, sizeof reply, 0) >= (ssize_t)(sizeof reply.header + sizeof reply.result);
    int error = done ? -reply.result.error : errno;
    close(fd);
    errno = error;
    return error ? -1 : 0;
}

static int add_to_bridge(const char *bridge, const char *name)
{
    struct ifreq request = {.ifr_ifindex = (int)if_nametoindex(name)};
    if (on_interface(bridge, SIOCBRADDIF, &request) < 0)
        return -1;
    /* Two ports: what comes in at one goes out at the other. A bridge that learns would hold back
     * frames for a guest that it heard on the outer side before that guest arrived here. */
    return net_setting(name, "brport/learning", "0");
}

static int make_bridge(const char *bridge)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int done = ioctl(fd, SIOCBRADDBR, bridge), error = errno;
    close(fd);
    errno = error;
    return done;
}

static int make_tap(const char *name)
{
    if (if_nametoindex(name) != 0) {
        errno = EEXIST;
        return -1;
    }
    int fd = attach_tap(name);
    if (fd < 0)
        return -1;
    int done = ioctl(fd, TUNSETPERSIST, 1), error = errno;
    close(fd);
    errno = error;
    return done;
}

/* The step that failed, or NULL. */
static const char *join(const char *name, const char *bridge, const char *tap)
{
    silence(bridge);
    silence(name);
    silence(tap);
    if (net_setting(bridge, "bridge/stp_state", "0") < 0) return "spanning tree";
    if (net_setting(bridge, "bridge/forward_delay", "0") < 0) return "forward delay";
    if (net_setting(bridge, "bridge/multicast_snooping", "0") < 0) return "snooping";
    /* Link-local groups too, apart from those that the kernel never forwards. */
    if (net_setting(bridge, "bridge/group_fwd_mask", "0xfff8") < 0) return "forwarded groups";
    if (add_to_bridge(bridge, name) < 0) return "interface";
    if (add_to_bridge(bridge, tap) < 0) return "tap";
    if (set_up(tap) < 0) return "tap up";
    if (set_up(bridge) < 0) return "bridge up";
    if (set_up(name) < 0) return "interface up";
    return NULL;
}

static void bridge_name(char *bridge, const char *tap)
{
    snprintf(bridge, IFNAMSIZ, "b-%.*s", TAP, tap);
}

void make_link(const char *id, const char *name, const char *tap)
{
    char bridge[IFNAMSIZ];
    bridge_name(bridge, tap);
    if (net_has(name, "brport")) {
        refuse(id, "%s is in a bridge already", name);
    } else if (make_bridge(bridge) < 0) {
        refuse(id, "bridge %s: %s", bridge, strerror(errno));
    } else if (make_tap(tap) < 0) {
        refuse(id, "tap %s: %s", tap, strerror(errno));
        delete_interface(bridge);
    } else {
        const char *step = join(name, bridge, tap);
        if (step) {
            refuse(id, "%s to %s, %s: %s", name, tap, step, strerror(errno));
            delete_interface(tap);
            delete_interface(bridge);
        } else {
            ok(id);
        }
    }
}

bool is_tap_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return length > 0 && length <= TAP && name[length] == 0;
}

void remove_link(const char *id)
{
    char bridge[IFNAMSIZ];
    if (!is_tap_name(field[2])) {
        refuse(id, "'%.40s' is no tap's name", field[2]);
        return;
    }
    bridge_name(bridge, field[2]);
    if (!net_has(bridge, "bridge") || !net_has(field[2], "tun_flags"))
        refuse(id, "there is no link %s", field[2]);
    else if (delete_interface(field[2]) < 0 || delete_interface(bridge) < 0)
        refuse(id, "%s: %s", field[2], strerror(errno));
    else
        ok(id);
}
