// Writes every connection that a process opens or a name that it looks up to the file CONNECTIONS, one a line.
// Loaded before all other libraries (LD_PRELOAD), it sees what Python, FFmpeg and every other C and C++ library does.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

namespace {

void note(const char* call, const char* target, unsigned port) {
    const char* path = std::getenv("CONNECTIONS");
    if (FILE* file = path ? std::fopen(path, "a") : nullptr) {
        std::fprintf(file, "%s %s %u\n", call, target, port);
        std::fclose(file);
    }
}

// Sockets of this machine's own processes (AF_UNIX) are no connections.
void note_address(const char* call, const sockaddr* address) {
    char text[INET6_ADDRSTRLEN] = "";
    if (address && address->sa_family == AF_INET) {
        const auto* ip4 = reinterpret_cast<const sockaddr_in*>(address);
        note(call, inet_ntop(AF_INET, &ip4->sin_addr, text, sizeof text), ntohs(ip4->sin_port));
    } else if (address && address->sa_family == AF_INET6) {
        const auto* ip6 = reinterpret_cast<const sockaddr_in6*>(address);
        note(call, inet_ntop(AF_INET6, &ip6->sin6_addr, text, sizeof text), ntohs(ip6->sin6_port));
    }
}

template <typename Function>
Function* original(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int connect(int socket, const sockaddr* address, socklen_t length) {
    note_address("connect", address);
    return original<int(int, const sockaddr*, socklen_t)>("connect")(socket, address, length);
}

ssize_t sendto(int socket, const void* data, size_t size, int flags, const sockaddr* address, socklen_t length) {
    note_address("sendto", address);
    return original<ssize_t(int, const void*, size_t, int, const sockaddr*, socklen_t)>("sendto")(
        socket, data, size, flags, address, length);
}

ssize_t sendmsg(int socket, const msghdr* message, int flags) {
    note_address("sendmsg", static_cast<const sockaddr*>(message->msg_name));
    return original<ssize_t(int, const msghdr*, int)>("sendmsg")(socket, message, flags);
}

int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** result) {
    note("getaddrinfo", name ? name : "", 0);
    return original<int(const char*, const char*, const addrinfo*, addrinfo**)>("getaddrinfo")(
        name, service, hints, result);
}
}
