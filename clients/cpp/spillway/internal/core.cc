#include "clients/cpp/spillway/internal/core.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "broker/base/version.h"

namespace spillway::client::internal {
namespace {

std::string FromEnvironment(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

}  // namespace

Result<std::shared_ptr<Core>> Core::Make(ClientOptions options) {
  if (options.address.empty()) options.address = FromEnvironment(registry::env::kAddress);
  if (options.address.empty()) options.address = defaults::kAddress;
  if (options.ca_file.empty()) options.ca_file = FromEnvironment(registry::env::kCaFile);
  std::string pem;
  if (!options.ca_file.empty()) {
    std::ifstream file(options.ca_file);
    std::stringstream text;
    text << file.rdbuf();
    pem = text.str();
    if (!file || pem.empty()) {
      return Error{.kind = ErrorKind::kInvalidArgument,
                   .message = "cannot read the certificate authorities in " + options.ca_file,
                   .field = "ca_file"};
    }
  }
  return std::shared_ptr<Core>(new Core(std::move(options), std::move(pem)));
}

Core::Core(ClientOptions options, std::string ca_pem)
    : options_(std::move(options)),
      ca_pem_(std::move(ca_pem)),
      client_name_((options_.name + " spillway-cpp/" + kVersion)
                       .substr(0, registry::limit::kMaxClientBytes)),
      tokens_(options_.retry_budget_tokens),
      random_(std::random_device{}()) {
  channel_ = Dial();
}

std::shared_ptr<grpc::Channel> Core::Dial() const {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);  // the credit bounds what comes
  args.SetMaxSendMessageSize(-1);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options_.keepalive_time.count()));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(options_.keepalive_timeout.count()));
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // One client, one connection.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (ca_pem_.empty()) {
    return grpc::CreateCustomChannel(options_.address, grpc::InsecureChannelCredentials(), args);
  }
  return grpc::CreateCustomChannel(options_.address,
                                   grpc::SslCredentials({.pem_root_certs = ca_pem_}), args);
}

std::shared_ptr<grpc::Channel> Core::channel() {
  const std::lock_guard lock(mu_);
  const grpc_connectivity_state state = channel_->GetState(false);
  if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) channel_ = Dial();
  return channel_;
}

bool Core::TakeRetry() {
  const std::lock_guard lock(mu_);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

void Core::Succeeded() {
  const std::lock_guard lock(mu_);
  tokens_ = std::min(options_.retry_budget_tokens, tokens_ + options_.retry_budget_per_success);
}

milliseconds Core::Jitter(milliseconds max) {
  const std::lock_guard lock(mu_);
  return milliseconds(std::uniform_int_distribution<int64_t>(0, max.count())(random_));
}

std::string Core::RandomId() {
  const std::lock_guard lock(mu_);
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(random_()));
  return text;
}

}  // namespace spillway::client::internal
