#include "broker/service/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "broker/base/thread_name.h"

namespace spillway::service {
namespace {

constexpr int kBacklog = 1024;
constexpr int kSweepMillis = 1'000;

Error CannotListen(const std::string& listen, const std::string& why) {
  return {.kind = ErrorKind::kUnavailable,
          .message = "cannot listen on " + listen + ": " + why,
          .field = "listen"};
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

std::string AddressOf(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
  } else if (peer.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr, text, sizeof text);
  }
  return text;
}

uint64_t InodeOf(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

int PortOf(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

// A listening socket, or -1 with errno.
int ListenOn(const addrinfo& address, int port) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Accepted sockets inherit it.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (address.ai_family == AF_INET6) {
    // So that [::] takes IPv4 as well.
    const int off = 0;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  sockaddr_storage name{};
  std::memcpy(&name, address.ai_addr, address.ai_addrlen);
  if (address.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(name).sin6_port = htons(static_cast<uint16_t>(port));
  } else {
    reinterpret_cast<sockaddr_in&>(name).sin_port = htons(static_cast<uint16_t>(port));
  }
  if (bind(fd, reinterpret_cast<sockaddr*>(&name), address.ai_addrlen) == 0 &&
      listen(fd, kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::Listen(const AcceptorOptions& options) {
  auto acceptor = std::unique_ptr<Acceptor>(new Acceptor(options));
  if (std::optional<Error> error = acceptor->Bind()) return std::move(*error);
  acceptor->stop_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  acceptor->spare_ = OpenSpare();
  return acceptor;
}

Acceptor::~Acceptor() {
  Stop();
  for (const int fd : listeners_) close(fd);
  if (stop_ >= 0) close(stop_);
  if (spare_ >= 0) close(spare_);
}

std::optional<Error> Acceptor::Bind() {
  const std::string& listen = options_.listen;
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos) return CannotListen(listen, "it is not host:port");
  std::string host = listen.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  const std::string port = listen.substr(colon + 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return CannotListen(listen, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, &freeaddrinfo);
  if (!absl::SimpleAtoi(port, &port_)) return CannotListen(listen, "the port is no number");
  int failed = 0;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int fd = ListenOn(*address, port_);
    if (fd < 0) {
      failed = errno;
      // In use is never right; a family that the machine has not got is.
      if (failed == EADDRINUSE) return CannotListen(listen, "the address is in use");
      continue;
    }
    listeners_.push_back(fd);
    if (port_ == 0) port_ = PortOf(fd);
  }
  if (listeners_.empty()) return CannotListen(listen, std::generic_category().message(failed));
  return std::nullopt;
}

void Acceptor::Start(std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> to) {
  to_ = std::move(to);
  thread_ = std::thread([this] { Run(); });
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  if (write(stop_, &one, sizeof one) < 0) return;
  thread_.join();
}

void Acceptor::Run() {
  NameThread("accept");
  std::vector<pollfd> fds;
  fds.reserve(listeners_.size() + 1);
  for (const int fd : listeners_) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  fds.push_back({.fd = stop_, .events = POLLIN, .revents = 0});
  while (true) {
    const int ready = poll(fds.data(), fds.size(), kSweepMillis);
    if (fds.back().revents != 0) return;
    if (ready <= 0) {
      Sweep();
      continue;
    }
    for (const pollfd& fd : fds) {
      if (fd.revents != 0) AcceptAll(fd.fd);
    }
  }
}

void Acceptor::AcceptAll(int listener) {
  while (true) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int fd =
        accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Take(fd, listener, AddressOf(peer));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE) return TurnAwayWithSpare(listener);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    // A connection that broke while it waited, or no memory for now.
    if (errno != ECONNABORTED && errno != EINTR) return;
  }
}

void Acceptor::TurnAwayWithSpare(int listener) {
  if (spare_ >= 0) close(spare_);
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    ++refused_;
  }
  spare_ = OpenSpare();
  // Whoever else waits stays in the backlog meanwhile.
  poll(nullptr, 0, 10);
}

void Acceptor::Take(int fd, int listener, const std::string& address) {
  // The number was another connection's until gRPC closed that.
  Forget(fd);
  const auto over = [&] {
    return open_.size() >= options_.max_connections ||
           by_address_[address] >= options_.max_connections_per_address;
  };
  if (over()) Sweep();
  if (over()) {
    ++refused_;
    close(fd);
    if (by_address_[address] == 0) by_address_.erase(address);
    return;
  }
  open_[fd] = {.inode = InodeOf(fd), .address = address};
  ++by_address_[address];
  open_count_ = open_.size();
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener;
  parameters.fd = fd;
  to_->HandleNewConnection(&parameters);
}

void Acceptor::Forget(int fd) {
  const auto it = open_.find(fd);
  if (it == open_.end()) return;
  const auto count = by_address_.find(it->second.address);
  if (count != by_address_.end() && --count->second == 0) by_address_.erase(count);
  open_.erase(it);
  open_count_ = open_.size();
}

void Acceptor::Sweep() {
  std::vector<int> gone;
  for (const auto& [fd, connection] : open_) {
    if (InodeOf(fd) != connection.inode) gone.push_back(fd);
  }
  for (const int fd : gone) Forget(fd);
}

}  // namespace spillway::service
